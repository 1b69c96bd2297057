"""The events of an entitlement, as its webhooks get them."""

from typing import Any, TypedDict

from functions.manage import entitlements
from shared.api import pagination
from shared.api.request import Request, Response
from shared.dynamodb.keys import event_key
from shared.dynamodb.paging import ResultPage
from shared.dynamodb.requests import BatchGet, Operation, send
from shared.events.builders import Event
from shared.events.enrichment import enrich, keys_of
from shared.events.event_log import event_of
from shared.webhooks.endpoints import delivery_id_of


class EventView(TypedDict):
    """An event of an entitlement."""

    id: str
    type: str
    timestamp: str
    data: dict[str, Any]
    deliveryId: str


def list_all(request: Request) -> Response:
    """List what happened to an entitlement, newest first, with the names of now."""
    return pagination.respond(request, _list(request))


def _list(request: Request) -> Operation[ResultPage]:
    entitlement_id = request.path["entitlementId"]
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    pk = event_key(entitlement_id, 0, "").pk
    page = yield from pagination.newest_of(request, pk, "", event_of)
    events = [dict(event) for event in page.items]
    keys = dict.fromkeys(key for event in events for key in keys_of(event))
    named = (yield from send(BatchGet(tuple(keys)))) if keys else {}
    return page._replace(items=[_view(enrich(event, named)) for event in events])


def _view(event: Event) -> EventView:
    return {
        "id": event["id"],
        "type": event["type"],
        "timestamp": event["timestamp"],
        "data": event["data"],
        "deliveryId": delivery_id_of(event),
    }
