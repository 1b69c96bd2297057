"""Lists of entitlements and of activations."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

from functions.manage import external_ids
from functions.manage.entitlement_search import (
    MAX_SEARCHED,
    MONTHLY,
    Candidate,
    Candidates,
    found_by_customer,
    found_by_person,
    found_by_words,
    marked,
    ranked,
)
from shared.api.pagination import MAX_LIMIT, limit_of, respond, searched_id, start_of
from shared.api.request import Request, Response
from shared.api.schemas.base import MONTH
from shared.dynamodb.keys import (
    SEATS,
    denied_day_key,
    entitlement_id_of,
    entitlement_key,
    search_progress_key,
    usage_key,
    usage_meter,
)
from shared.dynamodb.paging import MAX_READS, ResultPage, list_query, position_of
from shared.dynamodb.requests import BatchGet, Get, Item, Operation, send
from shared.entitlements.model import LIST_KEY
from shared.entitlements.queries import fetch_entitlement, fetch_seat_usages
from shared.entitlements.search import is_complete, is_found_by, words_in, words_of
from shared.entitlements.views import EntitlementView, RankingView, entitlement_view
from shared.history.buckets import bucket_name, month_name
from shared.history.rankings import DENIALS
from shared.history.rollups import denied_on
from shared.problems import InvalidRequest
from shared.seats.held_seats import find_held_seats, held_seats
from shared.seats.seat_usage import SeatUsage
from shared.usage.counter import Counter
from shared.validity import IN_FORCE, status_at

NO_RANKING: RankingView = {"overdraftPercent": None, "deniedAttempts": None, "deniedToday": None}
# Reads candidates from a position on; None: from the beginning.
Source: TypeAlias = Callable[[list[str] | None], Operation[Candidates]]


def list_entitlements(request: Request) -> Response:
    """List entitlements with their seats in use: all, or those that are searched for, or ranked."""
    return respond(request, _listed(request, _source(request)))


def _source(request: Request) -> Source:
    """Where the entitlements come from that this request lists."""
    sources = ("overdraft", "search", "externalId", "seatId", "sort")
    chosen = [name for name in sources if name in request.query]
    if len(chosen) > 1:
        detail = f"cannot be combined with {chosen[0]}"
        raise InvalidRequest.at(f"/{chosen[1]}", detail, place="query")
    if "month" in request.query and request.query.get("sort") not in MONTHLY:
        detail = f"goes with sort={' or sort='.join(MONTHLY)}"
        raise InvalidRequest.at("/month", detail, place="query")
    if "search" in request.query:
        return partial(found_by_words, _wanted_words(request))
    if "externalId" in request.query:
        return partial(_found_by_external_id, request.query["externalId"])
    if "seatId" in request.query:
        return partial(found_by_person, request.query["seatId"])
    if "sort" in request.query:
        return partial(ranked, request.query["sort"], _month(request), request.now)
    if request.query.get("overdraft") and not _customer(request):
        return marked
    return partial(_of_customer if _customer(request) else _newest, request)


def _wanted_words(request: Request) -> list[str]:
    words = words_in(request.query["search"])
    if not words:
        raise InvalidRequest.at("/search", "must have a letter or a digit", place="query")
    return words[:MAX_SEARCHED]


def _month(request: Request) -> str:
    """The UTC month that is asked for; the present one by default."""
    month: str = request.query.get("month", month_name(request.now_ms))
    if not re.fullmatch(MONTH, month):
        raise InvalidRequest.at("/month", "must be a month, such as 2026-11", place="query")
    return month


def _listed(request: Request, source: Source) -> Operation[ResultPage]:
    """A page of the candidates that are as the request wants them now."""
    limit, start = limit_of(request), start_of(request)
    kept: list[EntitlementView] = []
    for _ in range(MAX_READS):
        found = yield from source(start)
        for first in range(0, len(found.found), limit):
            part = found.found[first : first + limit]
            views = yield from _shown(request, part)
            for each in part:
                start = each.position
                if view := views.get(each.entitlement_id):
                    kept.append(view)
                if len(kept) == limit:
                    is_last = each is found.found[-1] and found.next is None
                    return ResultPage(kept, None if is_last else start)
        if found.next is None:
            return ResultPage(kept, None)
        start = found.next
    return ResultPage(kept, start)


def _shown(request: Request, candidates: list[Candidate]) -> Operation[dict[str, EntitlementView]]:
    """Those candidates that are as the request wants them now."""
    items = yield from _read(candidates)
    seat_usages = yield from _standings(items.values(), request.now)
    wants_overdraft = request.query.get("overdraft")
    over = set[str]()
    if wants_overdraft is not None:
        over = yield from _overdrafts(items.values(), seat_usages, request.now)
    rankings = {each.entitlement_id: each.ranking for each in candidates}
    shown = {
        key: entitlement_view(item, seat_usages[key], request.now)
        for key, item in items.items()
        if _matches(request, item) and wants_overdraft in (None, key in over)
    }
    if "sort" in request.query:
        for key, view in shown.items():
            view["ranking"] = rankings[key]
    if request.query.get("sort") == DENIALS:
        today = yield from _denied_today(shown.values(), request.now_ms)
        for key, view in shown.items():
            view["ranking"] = {**(view["ranking"] or NO_RANKING), "deniedToday": today[key]}
    return shown


def _denied_today(views: Iterable[EntitlementView], now_ms: int) -> Operation[dict[str, int]]:
    """How many attempts were denied on this UTC day, of seats and of every usage limit."""
    day = bucket_name(now_ms)[:10]
    keys = {
        denied_day_key(view["entitlementId"], day, meter): view["entitlementId"]
        for view in views
        for meter in (SEATS, *(usage_meter(str(each["key"])) for each in view["usageLimits"]))
    }
    counts = dict.fromkeys(keys.values(), 0)
    found = (yield from send(BatchGet(tuple(keys)))) if keys else {}
    for key, item in found.items():
        counts[keys[key]] += denied_on(item)
    return counts


def views_of(entitlement_ids: Iterable[str], now: int) -> Operation[dict[str, EntitlementView]]:
    """The entitlements with these ids as the API answers them at `now`, Unix seconds."""
    items = yield from _read([Candidate(each, []) for each in entitlement_ids])
    seat_usages = yield from _standings(items.values(), now)
    return {key: entitlement_view(item, seat_usages[key], now) for key, item in items.items()}


def _read(candidates: Iterable[Candidate]) -> Operation[dict[str, Item]]:
    """The entitlements of these candidates, as far as they exist."""
    items = {each.entitlement_id: each.item for each in candidates}
    missing = {key: entitlement_key(key) for key, item in items.items() if item is None}
    found = (yield from send(BatchGet(tuple(missing.values())))) if missing else {}
    read = {key: found.get(where) for key, where in missing.items()}
    return {key: item for key, item in (items | read).items() if item is not None}


def _newest(request: Request, start: list[str] | None) -> Operation[Candidates]:
    """All entitlements, newest first; those of another status are left out while reading."""
    names, values, condition = _filter(request)
    is_filtered = not request.query.keys().isdisjoint(("overdraft", "customer", "status"))
    limit = MAX_LIMIT if is_filtered else min(limit_of(request) + 1, MAX_LIMIT)
    found = yield from send(
        list_query(LIST_KEY, limit, start, filter=condition, names=names, values=values)
    )
    return Candidates(
        [Candidate(item["entitlementId"], position_of(item), item) for item in found.items],
        position_of(found.next) if found.next else None,
    )


def _of_customer(request: Request, start: list[str] | None) -> Operation[Candidates]:
    """A customer's entitlements, newest first; of the newest, also what the stream has not brought.

    After an update, until all can be found by their customer, the whole list is read. A page token
    says which list it is of, also one of an earlier release.
    """
    if start and len(start) > 1:
        return (yield from _newest(request, start))
    if start and not start[0][0].isdigit():
        return (yield from marked(start))
    newest = yield from _newest(request, None)
    if start is None and (newest.next is None or not (yield from _is_findable(request))):
        return newest
    known = yield from found_by_customer(_customer(request), start)
    candidates = {each.position[0]: each for each in known.found}
    for each in newest.found:
        place = each.position[-1]
        candidates[place] = each._replace(position=[place])
    last = known.next[0] if known.next else ""
    places = (place for place in candidates if place >= last and (not start or place < start[0]))
    return Candidates([candidates[place] for place in sorted(places, reverse=True)], known.next)


def _is_findable(request: Request) -> Operation[bool]:
    """Whether all entitlements can be found by their customer."""
    return is_complete((yield from send(Get(search_progress_key()))), request.now_ms)


def _found_by_external_id(external_id: str, _: list[str] | None) -> Operation[Candidates]:
    """The entitlement with this `externalId`, if there is one."""
    found = yield from external_ids.find(external_id)
    return Candidates([Candidate(found, [found])] if found else [], None)


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


def _standings(items: Iterable[Item], now: int) -> Operation[dict[str, SeatUsage]]:
    return (yield from fetch_seat_usages((item["entitlementId"] for item in items), now))


def _matches(request: Request, item: Item) -> bool:
    customer, status = _customer(request), request.query.get("status")
    is_searched = "search" in request.query
    # What was found may be of an earlier version.
    if is_searched and not is_found_by(words_of(item["document"]), _wanted_words(request)):
        return False
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
    is_borrowed = request.query.get("borrowed")
    if "search" in request.query:
        if is_borrowed is not None:
            raise InvalidRequest.at("/borrowed", "cannot be combined with search", place="query")
        text = searched_id(request)
        return (yield from find_held_seats(entitlement_id, page, text, limit, start))
    listed = held_seats(entitlement_id, page, limit, start, is_borrowed=is_borrowed)
    return (yield from listed)
