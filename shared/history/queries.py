"""Queries: what was used over time."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from shared.dynamodb.keys import SEATS, usage_bucket_key
from shared.dynamodb.paging import all_of, key_range
from shared.dynamodb.requests import BatchGet, Operation, Query, send
from shared.history.aggregator import as_of
from shared.history.buckets import UsageBucket, bucket_name, bucket_start
from shared.history.changes import COUNTS
from shared.history.denials import denied_buckets
from shared.history.level import Level
from shared.history.thresholds import Triggered

# --- Reading --------------------------------------------------------------------------------------


class Usage(NamedTuple):
    """Usage between two times. `limits` hold from their time on; None before there were any.

    `is_known` is False before the first change.
    """

    start: int
    end: int
    is_known: bool = False
    lowest: int = 0
    highest: int = 0
    closing: int = 0
    seat_ms: int = 0
    overdraft_ms: int = 0
    overdraft_seat_ms: int = 0
    counts: Mapping[str, int] = {}
    denied_attempts: int = 0
    denied_seats: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()
    over: frozenset[str] = frozenset()
    limits: tuple[tuple[int, int, int | None], ...] = ()


def latest_bucket(
    entitlement_id: str, meter: str = SEATS, before: str | None = None
) -> Operation[UsageBucket | None]:
    """The latest bucket, or the latest one before the named quarter-hour."""
    pk = usage_bucket_key(entitlement_id, meter, "").pk
    found = yield from send(
        Query(
            "pk = :pk AND sk < :before" if before else "pk = :pk",
            {":pk": pk, **({":before": before} if before else {})},
            limit=1,
            descending=True,
        )
    )
    return UsageBucket.of(found.items[0]) if found.items else None


def latest_bucket_near(
    entitlement_id: str, meter: str, times: Iterable[int]
) -> Operation[UsageBucket | None]:
    """The latest bucket, which usually is that of one of these times (Unix milliseconds).

    They are read by name, because one call makes such reads for many entitlements. The latest
    bucket is the one without a time to live: it gets one when another follows it.
    """
    names = {bucket_name(bucket_start(at)) for at in times}
    found = yield from send(
        BatchGet(tuple(usage_bucket_key(entitlement_id, meter, name) for name in names))
    )
    latest = [item for item in found.values() if "ttl" not in item]
    if latest:
        return UsageBucket.of(max(latest, key=lambda item: str(item["sk"])))
    return (yield from latest_bucket(entitlement_id, meter))


class Records(NamedTuple):
    """The evidence of one meter in a period.

    `held` is the latest bucket when the period began, `buckets` are those within it, including what
    has fallen by itself since. `denied` has the beginning of each quarter-hour with denials, and
    the attempts in it by seat key. All are in the order of time; nothing after `now` is included.
    """

    held: UsageBucket | None
    buckets: tuple[UsageBucket, ...]
    denied: tuple[tuple[int, Mapping[str, int]], ...]
    now: int

    def level_at(self, start: int) -> UsageBucket | None:
        """The latest bucket when the quarter-hour `start` began."""
        position = bisect_left(self.buckets, start, key=lambda bucket: bucket.start)
        return self.buckets[position - 1] if position else self.held

    def within(self, start: int, end: int) -> tuple[UsageBucket, ...]:
        """The buckets of the quarter-hours from `start` to before `end`."""
        low = bisect_left(self.buckets, start, key=lambda bucket: bucket.start)
        high = bisect_left(self.buckets, end, key=lambda bucket: bucket.start)
        return self.buckets[low:high]

    def denied_within(self, start: int, end: int) -> tuple[tuple[int, Mapping[str, int]], ...]:
        """The denials of the quarter-hours from `start` to before `end`."""
        low = bisect_left(self.denied, start, key=lambda each: each[0])
        high = bisect_left(self.denied, end, key=lambda each: each[0])
        return self.denied[low:high]

    def usage(self, start: int, end: int) -> Usage:
        """Usage between the beginnings of two quarter-hours."""
        turned_away = [seats for _, seats in self.denied_within(start, end)]
        return _sum(
            start, end, self.now, self.level_at(start), self.within(start, end), turned_away
        )


def records(
    entitlement_id: str, start: int, end: int, now: int, meter: str = SEATS
) -> Operation[Records]:
    """The evidence from `start` to before `end`, which are beginnings of quarter-hours."""
    first, last = bucket_name(start), bucket_name(end - 1)
    held = yield from latest_bucket(entitlement_id, meter, first)
    found = yield from all_of(
        key_range(usage_bucket_key(entitlement_id, meter, "").pk, first, last)
    )
    denied = yield from denied_buckets(entitlement_id, start, end, meter)
    buckets = [UsageBucket.of(item) for item in found]
    return as_they_stand(held, buckets, tuple(sorted(denied.items())), start, end, now)


def as_they_stand(
    held: UsageBucket | None,
    buckets: Sequence[UsageBucket],
    denied: tuple[tuple[int, Mapping[str, int]], ...],
    start: int,
    end: int,
    now: int,
) -> Records:
    """The evidence that was read, including what has fallen by itself since the latest bucket."""
    fallen = as_of(buckets[-1] if buckets else held, min(now, end - 1))
    if fallen and fallen.start < start:
        held = fallen
    elif fallen:
        buckets = [*(each for each in buckets if each.start != fallen.start), fallen]
    return Records(held, tuple(buckets), denied, now)


def usage(
    entitlement_id: str, cuts: Sequence[int], now: int, meter: str = SEATS
) -> Operation[list[Usage]]:
    """Usage between each two of `cuts`, which are beginnings of quarter-hours in ascending order.

    Nothing after `now` is included.
    """
    found = yield from records(entitlement_id, cuts[0], cuts[-1], now, meter)
    return [found.usage(start, end) for start, end in pairwise(cuts)]


def _sum(
    start: int,
    end: int,
    now: int,
    held: UsageBucket | None,
    inside: Sequence[UsageBucket],
    denied: Sequence[Mapping[str, int]],
) -> Usage:
    """One interval: its own buckets, and between them the level that was carried forward."""
    until = max(start, min(end, now))
    total = Usage(start, end, counts=dict.fromkeys(COUNTS, 0))
    levels: list[int] = []
    reached = start
    # A bucket that begins here knows what was held.
    if held and not (inside and inside[0].start == start):
        levels.append(held.level.used)
        total = total._replace(limits=((start, held.level.purchased, held.level.hard_cap),))
    for bucket in inside:
        if held:
            total = _carry(total, held.level, bucket.start - reached)
        levels += [bucket.lowest, bucket.highest]
        total = _add(total, bucket)
        reached, held = bucket.at, bucket
    if held:
        total = _carry(total, held.level, until - reached)
    return total._replace(
        is_known=bool(levels),
        lowest=min(levels, default=0),
        highest=max(levels, default=0),
        closing=held.level.used if held else 0,
        denied_attempts=sum(sum(seats.values()) for seats in denied),
        denied_seats=frozenset(key for seats in denied for key in seats),
        people=frozenset(key for bucket in inside for key in bucket.people),
        over=frozenset(key for bucket in inside for key in bucket.over),
    )


def _carry(total: Usage, level: Level, spent: int) -> Usage:
    """A level that was held for a time."""
    spent = max(0, spent)
    return total._replace(
        seat_ms=total.seat_ms + spent * level.used,
        overdraft_ms=total.overdraft_ms + (spent if level.overdraft else 0),
        overdraft_seat_ms=total.overdraft_seat_ms + spent * level.overdraft,
    )


def _add(total: Usage, bucket: UsageBucket) -> Usage:
    """The contents of a bucket, up to its last change."""
    limits = total.limits
    for each in bucket.limits:
        if not limits or limits[-1][1:] != each[1:]:
            limits = (*limits, each)
    return total._replace(
        seat_ms=total.seat_ms + bucket.seat_ms,
        overdraft_ms=total.overdraft_ms + bucket.overdraft_ms,
        overdraft_seat_ms=total.overdraft_seat_ms + bucket.overdraft_seat_ms,
        counts={name: total.counts[name] + bucket.counts.get(name, 0) for name in COUNTS},
        limits=limits,
    )


def triggered_between(
    entitlement_id: str, start: int, end: int, meter: str
) -> Operation[Triggered]:
    """The thresholds that a meter triggered from `start` to before `end`."""
    pk = usage_bucket_key(entitlement_id, meter, "").pk
    first = bucket_name(bucket_start(start))
    items = yield from all_of(key_range(pk, first, bucket_name(end - 1)))
    triggered = {
        each for item in items for each in UsageBucket.of(item).triggered if start <= each[1] < end
    }
    return tuple(sorted(triggered, key=lambda each: each[1]))
