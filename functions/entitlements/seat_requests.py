"""The customer asks for more seats: kept, told as an event, and to the account owner by mail."""

from functions.entitlements import desk
from shared import entitlement, events, idempotency, lists, table
from shared.credentials import new_id
from shared.history import DAY_MS
from shared.http import Request, Response
from shared.idempotency import replayed
from shared.ledger import EVIDENCE_SECONDS
from shared.lists import Listed
from shared.models import SeatRequestInput, parse
from shared.problems import InvalidRequest, NotFound, Throttled
from shared.table import Item, Put, Query, Steps

# A portal link is handed around: so often its holders may ask, all together.
MOST_A_DAY = 10


def create(request: Request) -> Response:
    """Ask for more seats."""
    model = parse(SeatRequestInput, request.body)
    owner = request.path["entitlementId"]
    kept, _ = idempotency.kept_answer(request)
    if kept:
        return replayed(kept)
    item, standing = request.table.run(entitlement.fetch_standing(owner))
    if item["status"] == "deleted":
        raise NotFound("The entitlement has been deleted.")
    if not entitlement.has_seats(item):
        raise InvalidRequest.at("/seats", "this entitlement has no seats, only usage limits")
    request.table.run(_check_rate(owner, request.now_ms))
    request_id = new_id("req")
    asked: Item = {
        "requestId": request_id,
        "entitlementId": owner,
        "seats": model.seats,
        "message": model.message,
        "requestedAt": request.now_ms,
        "requestedBy": request.caller.key_id,
        "used": standing.used,
        "purchased": standing.seat_count,
        "hardCap": standing.hard_cap,
        "ttl": request.now + EVIDENCE_SECONDS,
    }
    key = table.seat_request_key(owner, request.now_ms, request_id)
    put = Put(key, asked, "attribute_not_exists(pk)")
    response = Response(201, events.seat_request_view(asked))
    kept, _ = idempotency.write_once(request, (put,), response, nonce=request_id)
    return replayed(kept) if kept else response


def _check_rate(owner: str, now_ms: int) -> Steps[None]:
    since = table.seat_request_key(owner, now_ms - DAY_MS, "")
    found = yield Query(
        "pk = :pk AND sk > :since", {":pk": since.pk, ":since": since.sk}, limit=MOST_A_DAY
    )
    if len(found.items) == MOST_A_DAY:
        wait = (found.items[0]["requestedAt"] + DAY_MS - now_ms) // 1000 + 1
        raise Throttled(
            f"More seats were asked for {MOST_A_DAY} times within a day; the vendor knows.",
            headers={"retry-after": str(wait)},
        )


def list_all(request: Request) -> Response:
    """What the customer asked for, newest first."""
    return lists.respond(request, _list(request))


def _list(request: Request) -> Steps[Listed]:
    owner = request.path["entitlementId"]
    yield from desk.require(owner, is_deleted_ok=True)
    pk = table.seat_request_key(owner, 0, "").pk
    return (yield from lists.newest_of(request, pk, table.ASKED, events.seat_request_view))
