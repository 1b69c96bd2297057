"""The graph: usage over time against the limits of that time, with denials.

The longer the period, the coarser the intervals: a graph reads a bounded number of items, however
long the history is.
"""

from collections.abc import Iterable, Sequence
from typing import TypedDict

from functions.portal import status
from shared.api.request import Request, Response
from shared.clock import to_rfc3339
from shared.dynamodb.keys import SEATS, usage_meter, usage_of
from shared.dynamodb.requests import Item, Operation
from shared.history import rollups
from shared.history.buckets import BUCKET_MS, DAY_MS, HOUR_MS
from shared.history.queries import Usage
from shared.history.rollups import BUCKETS, DAYS, HOURS, DeniedHour
from shared.history.views import LimitsInForceView, limits_view
from shared.problems import InvalidRequest

DAY = 86_400
LONGEST_MS = 401 * DAY_MS
# The most intervals with changed limits that are shown by quarter-hour, the newest ones.
MOST_SECTIONED = 10
# Up to this length, intervals of this size: at most 193, 1,081 and 402 of them.
_SIZES = (
    (2 * DAY_MS, BUCKETS, BUCKET_MS, "PT15M"),
    (45 * DAY_MS, HOURS, HOUR_MS, "PT1H"),
    (LONGEST_MS, DAYS, DAY_MS, "P1D"),
)


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
        "lowest": list[int | None],
        "highest": list[int | None],
        "closing": list[int | None],
        "overdraftSeconds": list[int | None],
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
    size, length, name = next(
        (size, length, name) for longest, size, length, name in _SIZES if until - since <= longest
    )
    start, end = since - since % length, until + -until % length
    entitlement_id, now = item["entitlementId"], request.now_ms
    records = yield from rollups.records(entitlement_id, start, end, now, size, meter)
    hours = yield from rollups.denied_hours(entitlement_id, start - start % HOUR_MS, end, meter)
    intervals = [records.usage(at, at + length) for at in range(start, end, length)]
    known = [usage if usage.is_known and usage.start < now else None for usage in intervals]
    sections: list[PortalSectionView] = []
    if size != BUCKETS:
        # Usage before and after a change of limits must not be drawn as one.
        for usage in [each for each in known if each and _has_changed(each)][-MOST_SECTIONED:]:
            sections += yield from _sections(entitlement_id, meter, usage, now)
    return {
        "usageKey": usage_of(meter),
        "from": to_rfc3339(start),
        "to": to_rfc3339(end),
        "interval": name,
        "asOf": to_rfc3339(now),
        "lowest": [usage and usage.lowest for usage in known],
        "highest": [usage and usage.highest for usage in known],
        "closing": [usage and usage.closing for usage in known],
        "overdraftSeconds": [usage and usage.overdraft_ms // 1000 for usage in known],
        "sections": sections,
        "limits": _limits([usage for usage in known if usage]),
        "denials": _marks(hours, max(length, HOUR_MS)),
    }


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


def _marks(hours: Iterable[DeniedHour], length: int) -> list[PortalDenialMarkView]:
    """Denials by hour; by day without persons, who would be counted once for each hour."""
    if length == HOUR_MS:
        return [_mark(each.start, length, each.attempts, each.people) for each in hours]
    days: dict[int, int] = {}
    for each in hours:
        day = each.start - each.start % length
        days[day] = days.get(day, 0) + each.attempts
    return [_mark(day, length, attempts, None) for day, attempts in days.items()]


def _mark(start: int, length: int, attempts: int, people: int | None) -> PortalDenialMarkView:
    return {
        "from": to_rfc3339(start),
        "to": to_rfc3339(start + length),
        "attempts": attempts,
        "people": people,
    }
