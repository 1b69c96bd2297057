"""The graph: usage over time against the limits of that time, with denials.

The longer the period, the coarser the intervals: a graph reads a bounded number of items, however
long the history is. Days are those of the entitlement's time zone, to the hour.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import tzinfo
from itertools import pairwise
from typing import TypedDict

from functions.portal import status
from shared.api.request import Request, Response
from shared.clock import day_of, to_rfc3339, zone_of
from shared.dynamodb.keys import SEATS, usage_meter, usage_of
from shared.dynamodb.requests import Item, Operation
from shared.history import rollups
from shared.history.buckets import BUCKET_MS, DAY_MS, HOUR_MS
from shared.history.queries import Usage
from shared.history.rollups import BUCKETS, HOURS, DeniedHour
from shared.history.views import LimitsInForceView, limits_view
from shared.problems import InvalidRequest

DAY = 86_400
LONGEST_MS = 401 * DAY_MS
# The most intervals with changed limits that are shown by quarter-hour, the newest ones.
MOST_SECTIONED = 10
QUARTER, HOUR, WHOLE_DAY = "PT15M", "PT1H", "P1D"
# Up to this length, intervals of this size: at most 193, 1,105 and 402 of them. Days are made of
# hours, which are at most 9,650 items.
_SIZES = ((2 * DAY_MS, QUARTER), (45 * DAY_MS, HOUR), (LONGEST_MS, WHOLE_DAY))


PortalSectionView = TypedDict(
    "PortalSectionView", {"from": str, "highest": int, "overdraftSeconds": int}
)


PortalDenialMarkView = TypedDict(
    "PortalDenialMarkView", {"from": str, "to": str, "attempts": int, "people": int | None}
)


PortalGraphView = TypedDict(
    "PortalGraphView",
    {
        "usageKey": str | None,
        "from": str,
        "to": str,
        "interval": str,
        "asOf": str,
        "starts": list[str],
        "lowest": list[int | None],
        "highest": list[int | None],
        "closing": list[int | None],
        "overdraftSeconds": list[int | None],
        "demand": list[int | None],
        "sections": list[PortalSectionView],
        "limits": list[LimitsInForceView],
        "denials": list[PortalDenialMarkView],
    },
)


def meter_of(request: Request, item: Item) -> str:
    """The meter of a request.

    Raises:
        InvalidRequest: the entitlement has no such usage limit.
    """
    key = request.query.get("usageKey")
    if key is None:
        return SEATS
    if key not in [limit["key"] for limit in item["document"]["usageLimits"]]:
        raise InvalidRequest.at("/usageKey", "no usage limit has this key", place="query")
    return usage_meter(key)


def read(request: Request) -> Response:
    """Usage over time, by default of the last 24 hours."""
    return Response(200, request.dynamodb.run(_read(request)))


def period_of(request: Request, span: int) -> tuple[int, int]:
    """The period of a request, as far as it has begun and its history is stored.

    Raises:
        InvalidRequest.
    """
    since, until = request.period(span)
    if since >= until:
        raise InvalidRequest.at("/from", "must not lie ahead", place="query")
    if until - since > LONGEST_MS:
        raise InvalidRequest.at("/from", "at most 400 days are answered", place="query")
    return since, until


def _read(request: Request) -> Operation[PortalGraphView]:
    since, until = period_of(request, DAY)
    item, _ = yield from status.fetch(request)
    meter = meter_of(request, item)
    name = next(name for longest, name in _SIZES if until - since <= longest)
    bounds = _bounds(since, until, name, zone_of(item["document"]["timeZone"]))
    start, end = bounds[0], bounds[-1]
    entitlement_id, now = item["entitlementId"], request.now_ms
    size = BUCKETS if name == QUARTER else HOURS
    records = yield from rollups.records(entitlement_id, start, end, now, size, meter)
    hours = yield from rollups.denied_hours(entitlement_id, _hour_of(start), end, meter)
    intervals = [records.usage(at, until) for at, until in pairwise(bounds)]
    known = [usage if usage.is_known and usage.start < now else None for usage in intervals]
    sections: list[PortalSectionView] = []
    if name != QUARTER:
        # Usage before and after a change of limits must not be drawn as one.
        for usage in [each for each in known if each and _has_changed(each)][-MOST_SECTIONED:]:
            sections += yield from _sections(entitlement_id, meter, usage, now)
    return {
        "usageKey": usage_of(meter),
        "from": to_rfc3339(start),
        "to": to_rfc3339(end),
        "interval": name,
        "asOf": to_rfc3339(now),
        "starts": [to_rfc3339(at) for at in bounds[:-1]],
        "lowest": [usage and usage.lowest for usage in known],
        "highest": [usage and usage.highest for usage in known],
        "closing": [usage and usage.closing for usage in known],
        "overdraftSeconds": [usage and usage.overdraft_ms // 1000 for usage in known],
        "demand": [usage and _demand(usage, hours, meter) for usage in known],
        "sections": sections,
        "limits": _limits([usage for usage in known if usage]),
        "denials": _marks(hours, bounds if name == WHOLE_DAY else []),
    }


def _bounds(since: int, until: int, name: str, zone: tzinfo) -> list[int]:
    """The bounds of the intervals of a period, which they cover; the last is an end.

    Whole hours and days begin with a local day. Days begin with the hour in which it does.
    """
    if name == QUARTER:
        return list(range(since - since % BUCKET_MS, until + BUCKET_MS, BUCKET_MS))
    bounds = [_hour_of(day_of(since, zone))]
    while bounds[-1] < until:
        following = bounds[-1] + HOUR_MS
        if name == WHOLE_DAY:
            # A day has 23 to 25 hours: 36 hours after its beginning, the next one has begun.
            following = _hour_of(day_of(bounds[-1] + 36 * HOUR_MS, zone))
        bounds.append(following)
    return bounds


def _hour_of(at: int) -> int:
    """The beginning of the hour of a time."""
    return at - at % HOUR_MS


def _has_changed(usage: Usage) -> bool:
    return len({each[1:] for each in usage.limits}) > 1


def _sections(
    entitlement_id: str, meter: str, usage: Usage, now: int
) -> Operation[list[PortalSectionView]]:
    """The quarter-hours of an interval in which limits changed."""
    records = yield from rollups.records(
        entitlement_id, usage.start, usage.end, now, BUCKETS, meter
    )
    found: list[PortalSectionView] = []
    for at in range(usage.start, usage.end, BUCKET_MS):
        usage = records.usage(at, at + BUCKET_MS)
        if usage.is_known and at < now:
            found.append(
                {
                    "from": to_rfc3339(at),
                    "highest": usage.highest,
                    "overdraftSeconds": usage.overdraft_ms // 1000,
                }
            )
    return found


def _limits(intervals: Sequence[Usage]) -> list[LimitsInForceView]:
    """Both limits, with the times from which they hold."""
    shown: list[tuple[int, int, int | None]] = []
    for at, purchased, hard_cap in (each for usage in intervals for each in usage.limits):
        if not shown or shown[-1][1:] != (purchased, hard_cap):
            shown.append((at, purchased, hard_cap))
    return limits_view(shown)


def _demand(usage: Usage, hours: Sequence[DeniedHour], meter: str) -> int | None:
    """What people wanted at most: what was in use, and who was denied in one hour.

    None for a usage limit, whose denied requests are of any quantity.
    """
    if meter != SEATS:
        return None
    first = _hour_of(usage.start)
    return usage.highest + max(
        (each.people for each in hours if first <= each.start < usage.end), default=0
    )


def _marks(hours: Iterable[DeniedHour], days: Sequence[int]) -> list[PortalDenialMarkView]:
    """Denials by hour, or by day if there are `days`, the bounds of them.

    By day without persons, who would be counted once for each hour.
    """
    if not days:
        return [_mark(each.start, HOUR_MS, each.attempts, each.people) for each in hours]
    attempts: dict[int, int] = {}
    for each in hours:
        day = bisect_right(days, each.start) - 1
        attempts[day] = attempts.get(day, 0) + each.attempts
    return [
        _mark(days[day], days[day + 1] - days[day], number, None)
        for day, number in attempts.items()
    ]


def _mark(start: int, length: int, attempts: int, people: int | None) -> PortalDenialMarkView:
    return {
        "from": to_rfc3339(start),
        "to": to_rfc3339(start + length),
        "attempts": attempts,
        "people": people,
    }
