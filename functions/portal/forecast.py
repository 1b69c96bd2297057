"""When the limits will be reached, if demand goes on as before.

Demand is what was used and what was denied: usage alone cannot rise above the hard cap.

Seats: the demand of an hour is the highest use and the people who were denied in it. The trend is
that of the weekly peaks of the last 13 weeks by Theil and Sen (the median of the slopes between
every two of them, P. K. Sen 1968), which a single odd week cannot bend. Its range goes from the
slope that one in ten is below to the slope that one in ten is above.

Usage limits: what was consumed and denied per day in the last 28 days, each denied request once.
Its range goes from the leanest to the busiest seven days in a row.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import combinations
from statistics import median, quantiles
from typing import NamedTuple, TypedDict

from functions.portal import status
from functions.portal.denials import records_between
from functions.portal.graph import meter_of
from shared.api.request import Request, Response
from shared.clock import zone_of
from shared.dynamodb.keys import usage_key, usage_meter, usage_of
from shared.dynamodb.requests import Get, Item, Operation, send
from shared.entitlements.model import has_seats, usage_terms
from shared.history import rollups
from shared.history.buckets import DAY_MS
from shared.history.rollups import DAYS
from shared.overdraft_clock import OverdraftClock
from shared.usage.counter import Counter
from shared.validity import status_at

WEEKS = 13
FEWEST_WEEKS = 4
COUNTED_DAYS = 28
FEWEST_DAYS = 7
WEEK_DAYS = 7
# A date that is further ahead than this many days is not shown.
HORIZON_DAYS = 366
WITH_DENIED = ", with what was denied"


class Trend(NamedTuple):
    """The usage now, and its growth per day: expected, and its range."""

    now: float
    growth: float
    low: float
    high: float


def trend_of(peaks: Sequence[float]) -> Trend:
    """The trend of weekly peaks, the oldest first; at least three."""
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in combinations(enumerate(peaks), 2)
    ]
    growth = median(slopes)
    tenths = quantiles(slopes, n=10, method="inclusive")
    last = len(peaks) - 1
    now = median(peak + growth * (last - week) for week, peak in enumerate(peaks))
    return Trend(now, growth / WEEK_DAYS, tenths[0] / WEEK_DAYS, tenths[-1] / WEEK_DAYS)


def rate_of(used: int, consumed: Sequence[int]) -> Trend:
    """What is consumed per day; at least seven days, the oldest first."""
    weeks = [
        sum(consumed[at : at + WEEK_DAYS]) / WEEK_DAYS
        for at in range(len(consumed) - WEEK_DAYS + 1)
    ]
    return Trend(used, sum(consumed) / len(consumed), min(weeks), max(weeks))


def days_to(limit: int, now: float, growth: float, within: float) -> float | None:
    """In how many days usage reaches a limit; None: not within so many."""
    if now >= limit:
        return 0.0
    if growth <= 0:
        return None
    days = (limit - now) / growth
    return days if days <= within else None


class CrossingView(TypedDict):
    """When a limit will be reached."""

    limit: int
    status: str
    date: str | None
    earliest: str | None
    latest: str | None


class ForecastView(TypedDict):
    """When both limits will be reached."""

    usageKey: str | None
    status: str
    basis: str
    unit: str
    known: int
    needed: int
    includesDenied: bool
    perWeek: float | None
    perWeekLow: float | None
    perWeekHigh: float | None
    purchased: CrossingView | None
    hardCap: CrossingView | None


def read(request: Request) -> Response:
    """The forecast of the seats, or of a usage limit."""
    return Response(200, request.dynamodb.run(_read(request)))


def _read(request: Request) -> Operation[ForecastView]:
    item, seat_usage = yield from status.fetch(request)
    meter = meter_of(request, item)
    key = usage_of(meter)
    valid_until = item.get("validUntil")
    if status_at(item["status"], item["validFrom"], valid_until, request.now) != "active":
        return _thin(key, 0, "The license is not in force.")
    if key is not None:
        return (yield from _of_usage(request, item, key))
    if not has_seats(item):
        return _thin(None, 0, "The entitlement has no seats.")
    end = request.now_ms - request.now_ms % DAY_MS + DAY_MS
    start = end - WEEKS * WEEK_DAYS * DAY_MS
    records = yield from rollups.records(item["entitlementId"], start, end, request.now_ms, DAYS)
    hours = yield from rollups.denied_hours(item["entitlementId"], start, end)
    denied: dict[int, int] = {}
    for hour in hours:
        day = hour.start - hour.start % DAY_MS
        denied[day] = max(hour.people, denied.get(day, 0))
    days = [records.usage(at, at + DAY_MS) for at in range(start, end, DAY_MS)]
    known = [day.highest + denied.get(day.start, 0) if day.is_known else None for day in days]
    weeks = [known[first : first + WEEK_DAYS] for first in range(0, len(known), WEEK_DAYS)]
    # The first week with data may be incomplete.
    peaks = [max(each or 0 for each in week) for week in weeks if week[-1] is not None]
    if known[0] is None:
        peaks = peaks[1:]
    if len(peaks) < FEWEST_WEEKS:
        why = f"There are {len(peaks)} whole weeks so far; it takes {FEWEST_WEEKS}."
        return _thin(None, len(peaks), why)
    trend = trend_of(peaks)
    peak = max(seat_usage.used, peaks[-1])
    return _view(
        request,
        item,
        None,
        trend,
        peak,
        _limits(seat_usage.purchased, seat_usage.hard_cap, seat_usage.clock, request.now),
        _days_left(request, item),
        f"The peaks of the last {len(peaks)} weeks{WITH_DENIED if denied else ''}.",
        len(peaks),
        includes_denied=bool(denied),
    )


def _limits(
    purchased: int, hard_cap: int | None, clock: OverdraftClock | None, now: int
) -> tuple[int, int | None]:
    """What was purchased, and the cap: the same once the period of an overdraft has ended."""
    has_ended = clock is not None and clock.has_ended(now)
    return purchased, purchased if has_ended else hard_cap


def _days_left(request: Request, item: Item) -> float:
    """How far a forecast looks: to the end of the license, and at most a year."""
    valid_until: int | None = item.get("validUntil")
    if valid_until is None:
        return HORIZON_DAYS
    return min(HORIZON_DAYS, (valid_until - request.now) * 1_000 / DAY_MS)


def _of_usage(request: Request, item: Item, key: str) -> Operation[ForecastView]:
    entitlement_id, now = item["entitlementId"], request.now_ms
    found = yield from send(Get(usage_key(entitlement_id, key)))
    if found is None or key not in usage_terms(item["document"]):
        return _thin(key, 0, "Nothing is counted yet.")
    counter = Counter.of(found).as_of(request.now)
    today = now - now % DAY_MS
    start = today - COUNTED_DAYS * DAY_MS
    meter = usage_meter(key)
    records = yield from rollups.records(entitlement_id, start, today, now, DAYS, meter)
    days = [records.usage(at, at + DAY_MS) for at in range(start, today, DAY_MS)]
    denied = yield from _denied_quantities(entitlement_id, start, today, meter)
    wanted = [day.counts["consumed"] + denied.get(day.start, 0) for day in days if day.is_known]
    if len(wanted) < FEWEST_DAYS:
        why = f"There are {len(wanted)} whole days so far; it takes {FEWEST_DAYS}."
        return _thin(key, len(wanted), why)
    end = counter.period.end
    left = _days_left(request, item)
    within = left if end is None else min(left, max(0.0, (end * 1000 - now) / DAY_MS))
    return _view(
        request,
        item,
        key,
        rate_of(counter.used, wanted),
        counter.used,
        _limits(counter.purchased, counter.hard_cap, counter.clock_at(request.now), request.now),
        within,
        f"What was consumed in the last {len(wanted)} days{WITH_DENIED if denied else ''}.",
        len(wanted),
        includes_denied=bool(denied),
    )


def _denied_quantities(
    entitlement_id: str, start: int, end: int, meter: str
) -> Operation[dict[int, int]]:
    """What was denied on each UTC day; a request that was sent again counts once, on its first."""
    found, _ = yield from records_between(entitlement_id, start, end, meter)
    days: dict[int, int] = {}
    seen = set[str]()
    for record in sorted(found, key=lambda each: int(each["firstAt"])):
        if record["seatKey"] not in seen and start <= record["firstAt"] < end:
            seen.add(record["seatKey"])
            day = record["firstAt"] - record["firstAt"] % DAY_MS
            days[day] = days.get(day, 0) + record.get("quantity", 0)
    return days


def _thin(key: str | None, known: int, why: str) -> ForecastView:
    return {
        "usageKey": key,
        "status": "insufficient_data",
        "basis": why,
        **_needed(key, known),
        "includesDenied": False,
        "perWeek": None,
        "perWeekLow": None,
        "perWeekHigh": None,
        "purchased": None,
        "hardCap": None,
    }


class _Needed(TypedDict):
    unit: str
    known: int
    needed: int


def _needed(key: str | None, known: int) -> _Needed:
    if key is None:
        return {"unit": "weeks", "known": known, "needed": FEWEST_WEEKS}
    return {"unit": "days", "known": known, "needed": FEWEST_DAYS}


def _view(
    request: Request,
    item: Item,
    key: str | None,
    trend: Trend,
    peak: int,
    limits: tuple[int, int | None],
    within: float,
    basis: str,
    known: int,
    *,
    includes_denied: bool,
) -> ForecastView:
    zone = zone_of(item["document"]["timeZone"])

    def date(limit: int, growth: float) -> str | None:
        # A team that has fallen below its trend starts from where it is.
        days = days_to(limit, min(trend.now, peak), growth, within)
        if days is None:
            return None
        at = request.now_ms / 1000 + days * 86_400
        return datetime.fromtimestamp(at, zone).date().isoformat()

    def crossing(limit: int | None) -> CrossingView | None:
        if limit is None:
            return None
        if peak >= limit:
            return {"limit": limit, "status": "met", "date": None, "earliest": None, "latest": None}
        expected = date(limit, trend.growth)
        return {
            "limit": limit,
            "status": "expected" if expected else "not_expected",
            "date": expected,
            "earliest": date(limit, trend.high),
            "latest": date(limit, trend.low),
        }

    purchased, hard_cap = limits
    return {
        "usageKey": key,
        "status": "ready",
        "basis": basis,
        **_needed(key, known),
        "includesDenied": includes_denied,
        "perWeek": round(trend.growth * WEEK_DAYS, 2),
        "perWeekLow": round(trend.low * WEEK_DAYS, 2),
        "perWeekHigh": round(trend.high * WEEK_DAYS, 2),
        "purchased": crossing(purchased),
        "hardCap": None if hard_cap == purchased else crossing(hard_cap),
    }
