"""Requests of a customer for more seats, and what became of them."""

from typing import TypedDict

from shared.clock import to_rfc3339
from shared.dynamodb.keys import ASKED, seat_request_key
from shared.dynamodb.paging import all_of
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import Item, Operation, Query, Update, send

OPEN, ANSWERED, DECLINED = STATUSES = ("open", "answered", "declined")
# Who answered a request when the purchase did.
PURCHASE = "purchase"
IS_OPEN = "attribute_not_exists(#status) OR #status = :open"


class SeatRequestView(TypedDict):
    """A request for more seats, as the API and events show it."""

    requestId: str
    seats: int
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
        "seats": item["seats"],
        "message": item.get("message"),
        "requester": item.get("requester"),
        "requestedAt": to_rfc3339(item["requestedAt"]),
        "requestedBy": item["requestedBy"],
        "status": item.get("status") or OPEN,
        "note": item.get("note"),
        "answeredAt": None if answered_at is None else to_rfc3339(answered_at),
        "answeredBy": item.get("answeredBy"),
    }


def latest(entitlement_id: str) -> Operation[Item | None]:
    """The newest request of an entitlement."""
    key = seat_request_key(entitlement_id, 0, "")
    query = Query(
        "pk = :pk AND begins_with(sk, :asked)",
        {":pk": key.pk, ":asked": ASKED},
        descending=True,
        limit=1,
    )
    found = yield from send(query)
    return found.items[0] if found.items else None


def answer_by_purchase(entitlement_id: str, purchased: int, at: int) -> Operation[bool]:
    """Mark requests answered that a purchase covers; whether every one of that time is.

    `purchased` seats are the limit from `at` on, Unix milliseconds. A request is covered if the
    seats purchased when it was made, and those that it asked for, are. Safe to repeat.
    """
    key = seat_request_key(entitlement_id, at, "~")
    query = Query(
        "pk = :pk AND sk < :until",
        {":pk": key.pk, ":until": key.sk, ":open": OPEN},
        names={"#status": "status"},
        filter=IS_OPEN,
    )
    is_covered = True
    for item in (yield from all_of(query)):
        if purchased < item["purchased"] + item["seats"]:
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
