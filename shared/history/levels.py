"""Levels over time, from the coarsest evidence that is exact enough.

A day in which nothing above the purchased number was in use is read as one roll-up. Other days are
read by the quarter-hour. Where a quarter-hour is cut, or its limits changed, its change records
have the moments. Times are Unix milliseconds.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from shared.dynamodb.requests import Operation
from shared.history import rollups
from shared.history.buckets import BUCKET_MS, DAY_MS, UsageBucket, bucket_start
from shared.history.changes import DISORDER_MS, ChangeRecord, changes_between
from shared.history.level import Level
from shared.history.queries import Records, latest_bucket


class Moment(NamedTuple):
    """A level, and from when it held, or from when it may have held: its quarter-hour's beginning.

    `is_exact` is False in the second case.
    """

    at: int
    level: Level
    is_exact: bool = True


class Closing(NamedTuple):
    """The end of a usage period, and what was used then. `is_over`: it has ended."""

    at: int
    level: Level
    is_over: bool = True


class Levels:
    """What was in use over time. `details` has the moments of some quarter-hours.

    `last`: a level that history does not have, later than all that it has.
    """

    def __init__(
        self,
        records: Records,
        details: Mapping[int, Sequence[Moment]],
        last: Moment | None = None,
    ) -> None:
        self._records = records
        self._details = details
        self._last = last
        self._starts = [bucket.start for bucket in records.buckets]

    @property
    def detailed(self) -> frozenset[int]:
        """The quarter-hours of which the moments are known."""
        return frozenset(self._details)

    def bucket_at(self, at: int) -> UsageBucket | None:
        """The latest bucket that has begun by a time."""
        position = bisect_right(self._starts, at)
        return self._records.buckets[position - 1] if position else self._records.held

    def at(self, at: int) -> Level | None:
        """The level at a time; None before the first change. Within a quarter-hour: its moments."""
        if self._last is not None and self._last.at <= at:
            return self._last.level
        bucket = self.bucket_at(at)
        if bucket is None:
            return None
        if bucket.start not in self._details:
            return bucket.level
        known = [each.level for each in self._details[bucket.start] if each.at <= at]
        return known[-1] if known else None

    def between(self, start: int, end: int) -> list[Moment]:
        """The levels from `start` to before `end` that may have been the highest, in their order.

        The first is what was held at the beginning.
        """
        found: list[Moment] = []
        first = self.bucket_at(start)
        is_new = first is not None and first.start == start and start not in self._details
        held = self.at(start)
        if held is not None and not is_new:
            found.append(Moment(start, held))
        low = bisect_right(self._starts, start) - is_new
        if first is not None and first.start in self._details:
            found += [each for each in self._details[first.start] if start < each.at < end]
        for bucket in self._records.buckets[max(0, low) :]:
            if bucket.start >= end:
                break
            if bucket.start in self._details:
                found += [each for each in self._details[bucket.start] if each.at < end]
                continue
            _, purchased, cap = bucket.limits[0]
            highest = Level(bucket.highest, purchased, cap)
            found.append(Moment(bucket.start, highest, is_exact=False))
            if bucket.at < end and bucket.level != highest:
                found.append(Moment(bucket.at, bucket.level))
        if self._last is not None and start < self._last.at < end:
            found.append(self._last)
        return found

    def then(self, last: Moment) -> "Levels":
        """The same, and then this level."""
        return Levels(self._records, self._details, last)

    def closings(self, start: int, end: int) -> list[Closing]:
        """The usage periods that end after `start`, and not after `end`."""
        buckets = [*([self._records.held] if self._records.held else []), *self._records.buckets]
        found = [
            Closing(bucket.until, self._closing_level(bucket, following))
            for bucket, following in pairwise(buckets)
            if bucket.until is not None and _has_fallen(bucket.until, following)
        ]
        if buckets and buckets[-1].until is not None:
            found.append(Closing(buckets[-1].until, buckets[-1].level, is_over=False))
        return [each for each in found if start < each.at <= end]

    def _closing_level(self, bucket: UsageBucket, following: UsageBucket) -> Level:
        """The level at the end of a usage period, which may be within the following bucket."""
        assert bucket.until is not None
        if bucket.until <= following.start:
            return bucket.level
        return self.at(bucket.until - 1) or bucket.level

    def needs_moments(self, cuts: Iterable[int]) -> set[int]:
        """The quarter-hours of which the moments are needed: they are cut, or limits changed."""
        wanted = {
            bucket.start
            for bucket in self._records.buckets
            if len(bucket.limits) > 1 and _is_fine(bucket)
        }
        known = {*self._starts}
        for cut in cuts:
            start = bucket_start(cut)
            if cut != start and start in known:
                wanted.add(start)
        return wanted - self._details.keys()


def _has_fallen(until: int, following: UsageBucket) -> bool:
    """Whether a usage period ended at `until`: before the following bucket, or within it."""
    is_within = following.start < until < following.start + BUCKET_MS and following.until != until
    return until <= following.start or is_within


def _is_fine(bucket: UsageBucket) -> bool:
    """Whether it is of one quarter-hour, and not the sum of several."""
    return bucket.at < bucket.start + BUCKET_MS


def read(
    entitlement_id: str,
    meter: str,
    span: tuple[int, int],
    now: int,
    *,
    cuts: Iterable[int],
    fine_from: int,
) -> Operation[Levels]:
    """The levels of a span, which is cut at these times.

    Days with an overdraft are read by the quarter-hour from `fine_from` on, and so are days that
    are cut, in which limits changed, or in which a usage period ended. Times at which limits
    changed are known to the millisecond.
    """
    start, end = span
    cuts = sorted(cuts)
    first, last = _day(start), min(_day(end - 1) + DAY_MS, _day(now) + DAY_MS)
    if first >= last:
        held = yield from latest_bucket(entitlement_id, meter)
        return Levels(Records(held, (), (), now), {})
    coarse = yield from rollups.records(entitlement_id, first, last, now, rollups.DAYS, meter)
    buckets: list[UsageBucket] = []
    before = coarse.held
    for bucket in coarse.buckets:
        day = _day(bucket.start)
        following = day + DAY_MS
        is_cut = any(day < cut < following for cut in cuts)
        has_fallen = before is not None and before.until is not None and before.until < following
        is_over = bucket.highest > min(purchased for _, purchased, _ in bucket.limits)
        is_over_in_span = is_over and following > fine_from
        is_mixed = len(bucket.limits) > 1
        if not _is_fine(bucket) and (is_cut or has_fallen or is_over_in_span or is_mixed):
            fine = yield from rollups.records(
                entitlement_id, day, following, now, rollups.BUCKETS, meter
            )
            buckets += fine.buckets
        else:
            buckets.append(bucket)
        before = bucket
    levels = Levels(Records(coarse.held, tuple(buckets), (), now), {})
    return (yield from detailed(entitlement_id, meter, levels, levels.needs_moments(cuts)))


def detailed(
    entitlement_id: str, meter: str, levels: Levels, wanted: Iterable[int]
) -> Operation[Levels]:
    """The same with the moments of these quarter-hours."""
    records, details = levels._records, dict(levels._details)  # noqa: SLF001 - of this module
    buckets = {bucket.start: bucket for bucket in records.buckets}
    for start in sorted(wanted):
        before = levels.bucket_at(start - 1)
        changes = yield from changes_of(entitlement_id, meter, buckets[start], before)
        details[start] = _moments(buckets[start], before, changes)
    return Levels(records, details)


def _moments(
    bucket: UsageBucket, before: UsageBucket | None, changes: Sequence[ChangeRecord]
) -> list[Moment]:
    """The levels of a quarter-hour with their times, as history counts them."""
    held = held_into(bucket, before, changes)
    found = [Moment(bucket.start, held)] if held else []
    at, level, until = bucket.start, held, None
    if before is not None:
        level, until = before.level, before.until

    def add(when: int, now: Level) -> None:
        nonlocal at, level
        at, level = max(at, when), now  # never before the change that it follows
        found.append(Moment(at, level))

    for change in changes:
        if level is not None and until is not None and until <= change.at:
            add(until, level._replace(used=0))
        if change.before is not None and level != change.before:
            add(change.before_at, change.before)
        add(change.at, change.level)
        until = change.until
    has_fallen = until is not None and until < bucket.start + BUCKET_MS and bucket.until != until
    if level is not None and until is not None and has_fallen:
        add(until, level._replace(used=0))
    return found


def _day(at: int) -> int:
    """The beginning of the UTC day of a time."""
    return at - at % DAY_MS


def changes_of(
    entitlement_id: str, meter: str, bucket: UsageBucket, before: UsageBucket | None
) -> Operation[list[ChangeRecord]]:
    """The change records that were folded into one quarter-hour; `before` is the bucket before."""
    changes = yield from changes_between(
        entitlement_id, bucket.start - DISORDER_MS, bucket.start + BUCKET_MS, meter
    )
    known = before.seq if before else 0
    return [change for change in changes if known < change.seq <= bucket.seq]


def held_into(
    bucket: UsageBucket, before: UsageBucket | None, changes: Sequence[ChangeRecord]
) -> Level | None:
    """The level held into a quarter-hour, if it did not change or fall at its very beginning."""
    if before is None or (before.until is not None and before.until <= bucket.start):
        return None
    return None if changes and changes[0].at <= bucket.start else before.level
