"""Requests of a customer for more seats, or for more of a usage limit, and what became of them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from shared.clock import from_rfc3339_ms, to_rfc3339
from shared.dynamodb.keys import ASKED, SEATS, seat_request_key, usage_meter
from shared.dynamodb.paging import all_of
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import Item, Operation, Query, Update

OPEN, ANSWERED, DECLINED = STATUSES = ("open", "answered", "declined")
# Who answered a request when the purchase did.
PURCHASE = "purchase"
IS_OPEN = "attribute_not_exists(#status) OR #status = :open"


class SeatRequestView(TypedDict):
    """A request for more, as the API and events show it: `seats`, or `usageKey` and `quantity`."""

    requestId: str
    seats: int | None
    usageKey: str | None
    quantity: int | None
    message: str | None
    requester: str | None
    requestedAt: str
    requestedBy: str
    status: str
    note: str | None
    answeredAt: str | None
    answeredBy: str | None


def view(item: Item) -> SeatRequestView:
    """A request as the API and events show it. Those of older releases have no status: open."""
    answered_at = item.get("answeredAt")
    return {
        "requestId": item["requestId"],
        "seats": item.get("seats"),
        "usageKey": item.get("usageKey"),
        "quantity": item.get("quantity"),
        "message": item.get("message"),
        "requester": item.get("requester"),
        "requestedAt": to_rfc3339(item["requestedAt"]),
        "requestedBy": item["requestedBy"],
        "status": item.get("status") or OPEN,
        "note": item.get("note"),
        "answeredAt": None if answered_at is None else to_rfc3339(answered_at),
        "answeredBy": item.get("answeredBy"),
    }


def meter_of(request: Mapping[str, Any]) -> str:
    """The meter of which more is requested, by an item or a view."""
    key = request.get("usageKey")
    return SEATS if key is None else usage_meter(key)


def wanted(request: Mapping[str, Any]) -> str:
    """What is requested, in words: `2 more seats`, `500 more 'exports'`."""
    if request.get("usageKey") is not None:
        return f"{request['quantity']:,} more '{request['usageKey']}'"
    return f"{request['seats']:,} more {'seat' if request['seats'] == 1 else 'seats'}"


def is_open(request: Mapping[str, Any]) -> bool:
    """Whether a request, an item or a view, awaits an answer."""
    return (request.get("status") or OPEN) == OPEN


def unanswered(requests: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of these requests that await an answer."""
    return [each for each in requests if is_open(each)]


def in_all(requests: Sequence[Mapping[str, Any]]) -> list[str]:
    """What these requests ask for, added up by meter, in words: `5 more seats`."""
    sums: dict[str, dict[str, Any]] = {}
    for each in requests:
        one = sums.setdefault(meter_of(each), {**each, "seats": 0, "quantity": 0})
        one["seats"] += each.get("seats") or 0
        one["quantity"] += each.get("quantity") or 0
    return [wanted(each) for each in sums.values()]


def open_or_since(entitlement_id: str, start: int) -> Operation[list[Item]]:
    """Requests that are open, and those made since `start` (Unix milliseconds), newest first."""
    key = seat_request_key(entitlement_id, start, "")
    query = Query(
        "pk = :pk AND begins_with(sk, :asked)",
        {":pk": key.pk, ":asked": ASKED, ":open": OPEN, ":start": start},
        names={"#status": "status"},
        filter=f"{IS_OPEN} OR requestedAt >= :start",
        descending=True,
    )
    return (yield from all_of(query))


def has_earlier(entitlement_id: str, request: Mapping[str, Any]) -> Operation[bool]:
    """Whether the same person has an earlier request that is open; `request` is a view."""
    key = seat_request_key(entitlement_id, from_rfc3339_ms(request["requestedAt"]), "")
    query = Query(
        "pk = :pk AND sk < :until",
        {":pk": key.pk, ":until": key.sk, ":open": OPEN, ":by": request["requestedBy"]},
        names={"#status": "status"},
        filter=f"({IS_OPEN}) AND requestedBy = :by",
    )
    found = yield from all_of(query)
    return any(each.get("requester") == request.get("requester") for each in found)


def answer_by_purchase(entitlement_id: str, meter: str, purchased: int, at: int) -> Operation[bool]:
    """Mark requests answered that a purchase covers; whether every one of that time is.

    `purchased` is the limit of the meter from `at` on, Unix milliseconds. What was bought is
    allotted to the requests of this meter, the oldest first: one is covered if what was purchased
    when it was made, what older ones asked for since and what it asked for itself is. Safe to
    repeat.
    """
    key = seat_request_key(entitlement_id, at, "~")
    query = Query(
        "pk = :pk AND sk < :until",
        {":pk": key.pk, ":until": key.sk, ":open": OPEN},
        names={"#status": "status"},
        filter=IS_OPEN,
    )
    is_covered = True
    allotted = 0  # up to here the limit is spoken for
    for item in (yield from all_of(query)):
        if meter_of(item) != meter:
            is_covered = False
            continue
        more = item.get("seats") or item.get("quantity") or 0
        allotted = max(allotted, item["purchased"]) + more
        if purchased < allotted:
            is_covered = False
            continue
        yield from write_with_conflict_retry(
            Update(
                seat_request_key(entitlement_id, item["requestedAt"], item["requestId"]),
                "SET #status = :answered, answeredAt = :at, answeredBy = :purchase",
                IS_OPEN,
                {"#status": "status"},
                {":answered": ANSWERED, ":at": at, ":purchase": PURCHASE, ":open": OPEN},
            )
        )
    return is_covered
