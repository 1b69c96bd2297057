"""Requests for more seats: stored, sent as an event, e-mailed to the account owner."""

from typing import Any

from functions.manage import entitlements
from shared.api import idempotency, pagination
from shared.api.idempotency import replayed
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.seats import SeatRequestInput, SeatRequestPatch
from shared.audit import EVIDENCE_SECONDS, Subject, differences, entry_put
from shared.dynamodb.keys import ASKED, seat_request_key
from shared.dynamodb.paging import ResultPage, find_in
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import Item, Operation, Put, Query, Transact, Update, send
from shared.entitlements.model import has_seats, usage_terms
from shared.entitlements.queries import fetch_seat_usage
from shared.history.buckets import DAY_MS
from shared.ids import new_id
from shared.problems import InvalidRequest, NotFound, Throttled
from shared.sales.seat_requests import OPEN, SeatRequestView, view

# A portal link is passed around: this is the limit for all its holders together.
MOST_A_DAY = 10
# What an answer writes, and what it changes by default.
ANSWER = ("status", "note", "answeredAt", "answeredBy")
DEFAULTS = {"status": OPEN, "note": None}


def create(request: Request) -> Response:
    """Ask for more seats, or for more of a usage limit."""
    wanted = parse(SeatRequestInput, request.body)
    entitlement_id = request.path["entitlementId"]
    kept, _ = idempotency.kept_answer(request)
    if kept:
        return replayed(kept)
    what = request.dynamodb.run(_what(entitlement_id, wanted, request.now_ms))
    request.dynamodb.run(_check_rate(entitlement_id, request.now_ms))
    request_id = new_id("req")
    asked: Item = {
        "requestId": request_id,
        "entitlementId": entitlement_id,
        **what,
        "message": wanted.message,
        "requester": wanted.requester,
        "status": OPEN,
        "requestedAt": request.now_ms,
        "requestedBy": request.caller.actor,
        "ttl": request.now + EVIDENCE_SECONDS,
    }
    key = seat_request_key(entitlement_id, request.now_ms, request_id)
    names = ("seats", "usageKey", "quantity")
    writes = (
        Put(key, asked, "attribute_not_exists(pk)"),
        entry_put(
            request.change,
            "seat_request.created",
            entitlement_id,
            Subject(request_id),
            differences({}, {name: what[name] for name in names if name in what}),
        ),
    )
    response = Response(201, view(asked))
    kept, _ = idempotency.write_once(request, writes, response, nonce=request_id)
    return replayed(kept) if kept else response


def _what(entitlement_id: str, wanted: SeatRequestInput, now_ms: int) -> Operation[Item]:
    """What is requested, and how it stands now.

    Raises:
        NotFound, InvalidRequest.
    """
    item, seat_usage = yield from fetch_seat_usage(entitlement_id, now_ms // 1000)
    if item["status"] == "deleted":
        raise NotFound("The entitlement has been deleted.")
    if wanted.usage_key is None:
        if wanted.quantity is not None:
            raise InvalidRequest.at("/quantity", "goes with usageKey")
        if wanted.seats is None:
            raise InvalidRequest.at("/seats", "is required, or usageKey and quantity")
        if not has_seats(item):
            raise InvalidRequest.at("/seats", "this entitlement has no seats, only usage limits")
        return {
            "seats": wanted.seats,
            "used": seat_usage.used,
            "purchased": seat_usage.purchased,
            "hardCap": seat_usage.hard_cap,
        }
    if wanted.seats is not None:
        raise InvalidRequest.at("/seats", "cannot be combined with usageKey")
    if wanted.quantity is None:
        raise InvalidRequest.at("/quantity", "is required with usageKey")
    keys = list(usage_terms(item["document"]))
    if wanted.usage_key not in keys:
        known = f": there are {', '.join(keys)}" if keys else ""
        raise InvalidRequest.at("/usageKey", f"no usage limit has this key{known}")
    found = yield from entitlements.counters(entitlement_id, [wanted.usage_key])
    counter = found[wanted.usage_key].as_of(now_ms // 1000)
    return {
        "usageKey": wanted.usage_key,
        "quantity": wanted.quantity,
        "used": counter.used,
        "purchased": counter.purchased,
        "hardCap": counter.hard_cap,
    }


def _check_rate(entitlement_id: str, now_ms: int) -> Operation[None]:
    since = seat_request_key(entitlement_id, now_ms - DAY_MS, "")
    found = yield from send(
        Query("pk = :pk AND sk > :since", {":pk": since.pk, ":since": since.sk}, limit=MOST_A_DAY)
    )
    if len(found.items) == MOST_A_DAY:
        wait = (found.items[0]["requestedAt"] + DAY_MS - now_ms) // 1000 + 1
        raise Throttled(
            f"More was requested {MOST_A_DAY} times within a day; the vendor has been notified.",
            headers={"retry-after": str(wait)},
        )


def list_all(request: Request) -> Response:
    """List the requests for more seats, newest first."""
    return pagination.respond(request, _list(request))


def _list(request: Request) -> Operation[ResultPage]:
    entitlement_id = request.path["entitlementId"]
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    pk = seat_request_key(entitlement_id, 0, "").pk
    shown = _unnamed if request.caller.hides_names else view
    return (yield from pagination.newest_of(request, pk, ASKED, shown))


def _unnamed(item: Item) -> SeatRequestView:
    """A request without who made it, and without what they and the vendor wrote."""
    return {**view(item), "requester": None, "message": None, "note": None}


def update(request: Request) -> Response:
    """Answer or decline a request. The customer sees it in the portal."""
    model = parse(SeatRequestPatch, request.body)
    given = model.model_dump(include=model.model_fields_set)
    return Response(200, view(request.dynamodb.run(_update(request, given))))


def _update(request: Request, given: dict[str, Any]) -> Operation[Item]:
    """Change a request; its item."""
    entitlement_id = request.path["entitlementId"]
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    item = yield from _find(entitlement_id, request.path["requestId"])
    if all(item.get(name, DEFAULTS[name]) == value for name, value in given.items()):
        return item
    status = given.get("status", item.get("status", OPEN))
    changed: Item = {
        **item,
        **given,
        "status": status,
        "answeredAt": None if status == OPEN else request.now_ms,
        "answeredBy": None if status == OPEN else request.caller.actor,
    }
    # Of two answers at the same time, the later one stays.
    names = {f"#{name}": name for name in ANSWER}
    answer = Update(
        seat_request_key(entitlement_id, item["requestedAt"], item["requestId"]),
        f"SET {', '.join(f'#{name} = :{name}' for name in ANSWER)}",
        "attribute_exists(pk)",
        names,
        {f":{name}": changed.get(name) for name in ANSWER},
    )
    before = {name: item.get(name, DEFAULTS[name]) for name in given}
    on_record = entry_put(
        request.change,
        "seat_request.updated",
        entitlement_id,
        Subject(item["requestId"]),
        differences(before, given),
    )
    yield from write_with_conflict_retry(Transact((answer, on_record)))
    return changed


def _find(entitlement_id: str, request_id: str) -> Operation[Item]:
    """A request by its id, which does not say when it was made.

    Raises:
        NotFound.
    """
    pk = seat_request_key(entitlement_id, 0, "").pk
    found = yield from find_in(pk, "requestId", request_id)
    if found is None:
        raise NotFound("No request of this entitlement has this id.")
    return found
