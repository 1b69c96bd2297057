"""The current status of an entitlement: what is in use against both limits."""

import os
from collections.abc import Mapping
from typing import TypedDict

from shared.api import pagination
from shared.api.request import Request, Response
from shared.clock import to_rfc3339
from shared.dynamodb.keys import (
    SEATS,
    denied_day_key,
    unsubscribed_key,
    usage_key,
    usage_meter,
)
from shared.dynamodb.paging import ResultPage
from shared.dynamodb.requests import BatchGet, Item, Operation, send
from shared.entitlements.model import (
    has_seats,
    owner_for_requests,
    reached_by_requests,
    unsubscribed_hash,
    usage_terms,
)
from shared.entitlements.queries import fetch_entitlement, fetch_seat_usage
from shared.history.buckets import bucket_name
from shared.limits import UsedView
from shared.overdraft_clock import OverdraftView
from shared.sales.overdraft_price import is_priced
from shared.seats.held_seats import find_held_seats, held_seats
from shared.seats.seat_usage import PoolSeatsView, SeatUsage
from shared.usage.counter import Counter
from shared.usage.views import CurrentUsageView, current_view
from shared.validity import status_at

_sends_mail = bool(os.environ.get("EMAIL_SENDER"))
_has_recipients = bool(os.environ.get("REPORT_RECIPIENTS"))
_support = os.environ.get("SUPPORT_EMAIL") or None


class PortalView(TypedDict):
    """What a link's entitlement uses now."""

    entitlementId: str
    product: str
    sku: str | None
    customer: str
    accountOwner: str | None
    status: str
    validFrom: str | None
    validUntil: str | None
    timeZone: str
    leasePeriod: str | None
    requestsReach: str
    supportEmail: str | None
    seats: UsedView | PoolSeatsView | None
    overdraft: OverdraftView | None
    customerCap: int | None
    usage: list[CurrentUsageView]
    showsCharges: bool
    role: str
    hidesNames: bool
    expiresAt: str
    asOf: str
    version: str


def fetch(request: Request) -> Operation[tuple[Item, SeatUsage]]:
    """The entitlement of the path, or the one that the link opens, and its seat usage.

    Raises:
        NotFound.
    """
    entitlement_id = request.path.get("entitlementId") or str(request.caller.entitlement_id)
    return (yield from fetch_seat_usage(entitlement_id, request.now))


def read(request: Request) -> Response:
    """The status, in two round trips; a pool of several shards takes three."""
    return Response(200, request.dynamodb.run(_read(request)))


def _read(request: Request) -> Operation[PortalView]:
    item, seat_usage = yield from fetch(request)
    entitlement_id, document = item["entitlementId"], item["document"]
    keys = list(usage_terms(document))
    today = bucket_name(request.now_ms)[:10]
    counters = {key: usage_key(entitlement_id, key) for key in keys}
    denied = [
        denied_day_key(entitlement_id, today, meter) for meter in (SEATS, *map(usage_meter, keys))
    ]
    owner = owner_for_requests(document)
    gone = unsubscribed_key(entitlement_id, unsubscribed_hash(owner))
    found = yield from send(BatchGet((*counters.values(), *denied, gone)))
    limits = {key: Counter.of(found[each]) for key, each in counters.items() if each in found}
    contact = document["contacts"].get("accountOwner") or {}
    return {
        "entitlementId": entitlement_id,
        "product": document["product"],
        "sku": document["sku"],
        "customer": document["customer"]["name"],
        "accountOwner": contact.get("name"),
        "status": status_at(item["status"], item["validFrom"], item.get("validUntil"), request.now),
        "validFrom": document["validFrom"],
        "validUntil": document["validUntil"],
        "timeZone": document["timeZone"],
        "leasePeriod": document["leasePeriod"],
        "requestsReach": reached_by_requests(
            document,
            is_unsubscribed=gone in found,
            sends_mail=_sends_mail,
            has_recipients=_has_recipients,
        ),
        "supportEmail": _support,
        "seats": seat_usage.view() if has_seats(item) else None,
        "overdraft": seat_usage.overdraft_view() if has_seats(item) else None,
        "customerCap": seat_usage.customer_cap,
        "usage": [current_view(key, limit, request.now) for key, limit in limits.items()],
        "showsCharges": document.get("showCharges", False) and is_priced(document),
        "role": next(iter(request.caller.scopes)),
        "hidesNames": request.caller.hides_names,
        "expiresAt": to_rfc3339((request.caller.expires_at or 0) * 1000),
        "asOf": to_rfc3339(request.now_ms),
        "version": _version(
            item, seat_usage, limits, [found[key] for key in denied if key in found]
        ),
    }


def _version(
    item: Item, seat_usage: SeatUsage, limits: dict[str, Counter], denied: list[Item]
) -> str:
    """Version numbers that only grow, except for those of the day's denials."""
    attempts = sum(number for day in denied for name, number in day.items() if name[0] == "a")
    counts = sum(limit.seq for limit in limits.values())
    return f"{item['version']}.{seat_usage.seq}.{counts}.{attempts}"


def list_seats(request: Request) -> Response:
    """List who holds a seat."""
    return pagination.respond(request, _seats(request))


def _unnamed(seat: Mapping[str, object]) -> Mapping[str, object]:
    """A seat without the person."""
    return {**seat, "seatId": None, "seatName": None, "attributes": {}}


def _seats(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    entitlement_id = str(request.caller.entitlement_id)
    _, page = yield from fetch_entitlement(entitlement_id)
    if "search" in request.query:
        text = pagination.searched_id(request)
        return (yield from find_held_seats(entitlement_id, page, text, limit, start))
    result = yield from held_seats(entitlement_id, page, limit, start)
    if request.caller.hides_names:
        return result._replace(items=[_unnamed(each) for each in result.items])
    return result
