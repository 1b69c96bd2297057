"""Lists of entitlements and of activations."""

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from shared.api.pagination import MAX_LIMIT, limit_of, respond, start_of
from shared.api.request import Request, Response
from shared.dynamodb.keys import (
    entitlement_id_of,
    entitlement_key,
    overdraft_key,
    parse_candidate,
    usage_key,
)
from shared.dynamodb.paging import MAX_READS, ResultPage, list_query, position_of
from shared.dynamodb.requests import BatchGet, Item, Operation, Query, send
from shared.entitlements.model import LIST_KEY
from shared.entitlements.queries import fetch_entitlement, fetch_seat_usages
from shared.entitlements.views import EntitlementView, entitlement_view
from shared.seats.held_seats import held_seats
from shared.seats.seat_usage import SeatUsage
from shared.usage.counter import Counter
from shared.validity import IN_FORCE, status_at


def list_entitlements(request: Request) -> Response:
    """List entitlements, newest first, with their seats in use."""
    if request.query.get("overdraft"):
        return respond(request, _in_overdraft(request))
    return respond(request, _entitlements(request))


def _entitlements(request: Request) -> Operation[ResultPage]:
    limit = limit_of(request)
    names, values, condition = _filter(request)
    start, kept = start_of(request), list[EntitlementView]()
    is_filtered = not request.query.keys().isdisjoint(("overdraft", "customer", "status"))
    count = MAX_LIMIT if is_filtered else min(limit + 1, MAX_LIMIT)
    for _ in range(MAX_READS):
        found = yield from send(
            list_query(
                LIST_KEY,
                count,
                start,
                filter=condition,
                names=names,
                values=values,
            )
        )
        seat_usages = yield from _standings(found.items)
        over = set[str]()
        if request.query.get("overdraft") is False:
            over = yield from _overdrafts(found.items, seat_usages, request.now)
        for item in found.items:
            seat_usage = seat_usages[item["entitlementId"]]
            start = position_of(item)
            if item["entitlementId"] in over:
                continue
            kept.append(entitlement_view(item, seat_usage, request.now))
            if len(kept) == limit:
                is_last = item is found.items[-1] and found.next is None
                return ResultPage(kept, None if is_last else start)
        if found.next is None:
            return ResultPage(kept, None)
        start = position_of(found.next)
    return ResultPage(kept, start)


def _in_overdraft(request: Request) -> Operation[ResultPage]:
    """The entitlements marked as in overdraft. Each is checked before it is listed."""
    limit = limit_of(request)
    start, kept = start_of(request), list[EntitlementView]()
    # There is a mark for the seats and one for each usage limit; an entitlement's are adjacent.
    looked_at = parse_candidate(start[1])[0] if start else ""
    for _ in range(MAX_READS):
        found = yield from send(
            Query(
                "pk = :pk",
                {":pk": overdraft_key("").pk},
                limit=MAX_LIMIT // 2,
                start=dict(zip(("pk", "sk"), start, strict=True)) if start else None,
            )
        )
        ids = dict.fromkeys(parse_candidate(item["sk"])[0] for item in found.items)
        items = yield from send(
            BatchGet(tuple(entitlement_key(entitlement_id) for entitlement_id in ids))
        )
        seat_usages = yield from _standings(items.values())
        over = yield from _overdrafts(items.values(), seat_usages, request.now)
        for marker in found.items:
            start, entitlement_id = [marker["pk"], marker["sk"]], parse_candidate(marker["sk"])[0]
            item = items.get(entitlement_key(entitlement_id))
            if entitlement_id == looked_at or entitlement_id not in over or item is None:
                continue
            looked_at = entitlement_id
            if not _matches(request, item):
                continue
            kept.append(entitlement_view(item, seat_usages[entitlement_id], request.now))
            if len(kept) == limit:
                is_last = marker is found.items[-1] and found.next is None
                return ResultPage(kept, None if is_last else start)
        if found.next is None:
            return ResultPage(kept, None)
    return ResultPage(kept, start)


def _overdrafts(
    items: Iterable[Item], seat_usages: Mapping[str, SeatUsage], now: int
) -> Operation[set[str]]:
    """The entitlements that use more seats, or more of a usage limit, than was purchased."""
    over = {
        entitlement_id for entitlement_id, each in seat_usages.items() if each.used > each.purchased
    }
    keys = [
        usage_key(item["entitlementId"], limit["key"])
        for item in items
        if item["entitlementId"] not in over
        for limit in item["document"]["usageLimits"]
    ]
    found = (yield from send(BatchGet(tuple(keys)))) if keys else {}
    for key, item in found.items():
        counter = Counter.of(item)
        if counter.in_use(now * 1000) > counter.purchased:
            over.add(entitlement_id_of(key.pk))
    return over


def _standings(items: Iterable[Item]) -> Operation[dict[str, SeatUsage]]:
    return (yield from fetch_seat_usages(item["entitlementId"] for item in items))


def _matches(request: Request, item: Item) -> bool:
    customer, status = _customer(request), request.query.get("status")
    shown = status_at(item["status"], item["validFrom"], item.get("validUntil"), request.now)
    if customer and customer not in (item["customerName"], item.get("customerExternalId")):
        return False
    return shown == status if status else shown != "deleted"


def _customer(request: Request) -> str:
    """The customer that is asked for, in the form in which names are stored."""
    return unicodedata.normalize("NFC", request.query.get("customer", ""))


def _filter(request: Request) -> tuple[dict[str, str], dict[str, Any], str]:
    """The conditions of `_matches` as a filter of DynamoDB."""
    status = request.query.get("status")
    names = {"#status": "status"}
    values: dict[str, Any] = {":now": request.now}
    active = "#status = :active"
    conditions = {
        "active": IN_FORCE,
        "not_yet_valid": f"{active} AND validFrom > :now",
        "expired": f"{active} AND validFrom <= :now AND validUntil <= :now",
    }
    if status in conditions:
        condition = conditions[status]
        values[":active"] = "active"
    else:
        condition = "#status = :status" if status else "#status <> :status"
        values[":status"] = status or "deleted"
        del values[":now"]
    if customer := _customer(request):
        condition += " AND (customerName = :customer OR customerExternalId = :customer)"
        values[":customer"] = customer
    return names, values, condition


def list_activations(request: Request) -> Response:
    """List who holds seats: the seats come from the shards, the persons from their records."""
    return respond(request, _activations(request))


def _activations(request: Request) -> Operation[ResultPage]:
    limit, start = limit_of(request), start_of(request)
    entitlement_id = request.path["entitlementId"]
    _, page = yield from fetch_entitlement(entitlement_id)
    return (yield from held_seats(entitlement_id, page, limit, start))
