"""Deliveries of events to webhook endpoints, as the vendor sees and repeats them."""

import json
import re
from typing import Any, TypedDict

from functions.manage.webhooks import ask, fetch, page_of
from shared.api import pagination
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.webhooks import ResendInput
from shared.clock import from_rfc3339, to_rfc3339
from shared.dynamodb.keys import Key, delivery_key
from shared.dynamodb.paging import ResultPage, read_filtered
from shared.dynamodb.requests import NO_NAMES, BatchGet, Get, Item, Operation, Query, send
from shared.events.enrichment import enrich, keys_of
from shared.problems import InvalidRequest, NotFound
from shared.webhooks.endpoints import delivery_id

_DELIVERY_ID = re.compile(r"dlv_(\d{13})_(evt_[a-z2-7]{24})", re.ASCII)


class AttemptView(TypedDict):
    """One attempt of a delivery."""

    at: str
    durationMs: int
    responseStatus: int | None
    error: str | None


class DeliveryView(TypedDict):
    """A delivery of an event to an endpoint."""

    deliveryId: str
    eventId: str
    type: str
    entitlementId: str | None
    isTest: bool
    status: str
    failure: str | None
    attempts: list[AttemptView]
    nextAttemptAt: str | None
    createdAt: str


class DeliveryDetailsView(DeliveryView):
    """A delivery with the event and the last answer."""

    event: dict[str, Any]
    answer: str | None


class EventDeliveryView(DeliveryView):
    """A delivery with its endpoint."""

    webhookId: str
    url: str


def _event_of(request: Request) -> tuple[int, str]:
    """The time and the id of the event in a delivery's id.

    Raises:
        NotFound.
    """
    match = _DELIVERY_ID.fullmatch(request.path["deliveryId"])
    if not match:
        raise NotFound("No delivery has this id.")
    return int(match.group(1)), match.group(2)


def read(request: Request) -> Response:
    """Read one delivery with its event, as it would be sent now."""
    return Response(200, request.dynamodb.run(_read(request)))


def _read(request: Request) -> Operation[DeliveryDetailsView]:
    yield from fetch(request.path["webhookId"])
    item = yield from send(Get(delivery_key(request.path["webhookId"], *_event_of(request))))
    if item is None:
        raise NotFound("No delivery has this id.")
    event = json.loads(item["event"])
    keys = tuple(keys_of(event))
    named = (yield from send(BatchGet(keys))) if keys else {}
    return {**_view(item), "event": enrich(event, named), "answer": item.get("answer") or None}


def list_all(request: Request) -> Response:
    """List the deliveries to an endpoint, newest event first."""
    request.dynamodb.run(fetch(request.path["webhookId"]))
    return pagination.respond(request, _list(request))


def _list(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    status = request.query.get("status")
    pk = delivery_key(request.path["webhookId"], 0, "").pk
    values: dict[str, Any] = {":pk": pk}
    query = Query(
        "pk = :pk",
        {**values, ":status": status} if status else values,
        {"#status": "status"} if status else NO_NAMES,
        filter="#status = :status" if status else "",
        limit=pagination.MAX_LIMIT if status else limit + 1,
        start={"pk": pk, "sk": start[0]} if start else None,
        descending=True,
    )
    shown, more = yield from read_filtered(query, limit)
    return ResultPage([_view(item) for item in shown], [more] if more else None)


def list_of_event(request: Request) -> Response:
    """List the deliveries of one event, in the order of their endpoints' ids."""
    return pagination.respond(request, _of_event(request))


def _of_event(request: Request) -> Operation[ResultPage]:
    """A page reads as many endpoints as it may have deliveries, and may have fewer, or none."""
    endpoints, start = yield from page_of(request)
    at_ms, event_id = _event_of(request)
    keys: dict[Key, Item] = {delivery_key(each["sk"], at_ms, event_id): each for each in endpoints}
    found = (yield from send(BatchGet(tuple(keys)))) if keys else {}
    items: list[EventDeliveryView] = [
        {**_view(found[key]), "webhookId": endpoint["sk"], "url": endpoint["url"]}
        for key, endpoint in keys.items()
        if key in found
    ]
    return ResultPage(items, start)


def resend(request: Request) -> Response:
    """Send one delivery again, whatever its status is."""
    webhook_id = request.path["webhookId"]
    key = delivery_key(webhook_id, *_event_of(request))
    if request.dynamodb.execute(Get(key)) is None:
        raise NotFound("No delivery has this id.")
    command = {"webhookId": webhook_id, "resend": {"delivery": key.sk}}
    return ask(request, command, {"deliveryId": request.path["deliveryId"]})


def resend_failed(request: Request) -> Response:
    """Send every failed delivery of events since a time again."""
    since = from_rfc3339(parse(ResendInput, request.body).since)
    if since > request.now:
        raise InvalidRequest.at("/since", "must not be in the future")
    command = {"webhookId": request.path["webhookId"], "resend": {"since": since * 1000}}
    return ask(request, command, {"since": to_rfc3339(since * 1000)})


def _view(item: Item) -> DeliveryView:
    at, _, event_id = item["sk"].partition("#")
    due = item.get("dueAt") if item["status"] == "pending" else None
    return {
        "deliveryId": delivery_id(int(at), event_id),
        "eventId": event_id,
        "type": item["type"],
        "entitlementId": item.get("entitlementId"),
        "isTest": item["isTest"],
        "status": item["status"],
        "failure": item.get("failure"),
        "attempts": [
            {
                "at": to_rfc3339(attempt["at"]),
                "durationMs": attempt["ms"],
                "responseStatus": attempt["code"],
                "error": attempt["error"] or None,
            }
            for attempt in item["attempts"]
        ],
        "nextAttemptAt": None if due is None else to_rfc3339(due * 1000),
        "createdAt": to_rfc3339(int(at)),
    }
