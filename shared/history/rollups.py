"""Roll-ups: usage by hour and by day, so that a year of it is read in a bounded number of items.

A roll-up is the sum of the buckets of a UTC hour or day, in the form of a bucket. `notify` writes
it when history goes on to another hour or day, and again when a late change alters it. An hour or a
day that is not over is read from the finer buckets. Denied attempts are counted by hour, in one
item a day. Times are Unix milliseconds.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from shared.audit import EVIDENCE_SECONDS
from shared.dynamodb.keys import (
    SEATS,
    denied_bucket_key,
    denied_day_key,
    rollup_key,
    usage_bucket_key,
)
from shared.dynamodb.paging import all_of
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import (
    Accepted,
    BatchGet,
    Get,
    Item,
    LostRace,
    Operation,
    Pause,
    Put,
    Query,
    Transact,
    Update,
    send,
)
from shared.history import queries, rankings
from shared.history.buckets import (
    BUCKET_MS,
    DAY_MS,
    HOUR_MS,
    UsageBucket,
    bucket_name,
    most_limits,
    parse_bucket_name,
)
from shared.history.queries import Records

BUCKETS, HOURS, DAYS = "quarters", "hours", "days"
# The sizes of roll-ups, with their length in milliseconds.
SIZES = {HOURS: HOUR_MS, DAYS: DAY_MS}
_ROUNDS = 8


def merge(parts: Sequence[UsageBucket]) -> UsageBucket:
    """One bucket for several that follow each other; between them the level was held."""
    whole = parts[0]._replace(people=(), over=(), triggered=(), missing=(), episode=None)
    for part in parts[1:]:
        held, spent = whole.level, max(0, part.start - whole.at)
        limits = whole.limits
        for each in part.limits:
            if each[1:] != limits[-1][1:]:
                limits = (*limits, each)
        whole = whole._replace(
            seq=part.seq,
            at=part.at,
            level=part.level,
            until=part.until,
            lowest=min(whole.lowest, part.lowest),
            highest=max(whole.highest, part.highest),
            seat_ms=whole.seat_ms + spent * held.used + part.seat_ms,
            overdraft_ms=whole.overdraft_ms + (spent if held.overdraft else 0) + part.overdraft_ms,
            overdraft_seat_ms=whole.overdraft_seat_ms
            + spent * held.overdraft
            + part.overdraft_seat_ms,
            counts={
                name: number + part.counts.get(name, 0) for name, number in whole.counts.items()
            },
            limits=most_limits(limits),
        )
    return whole


def write(entitlement_id: str, meter: str, start: int, following: int) -> Operation[None]:
    """Roll up the hour and the day of the bucket `start`, if `following` is in another one.

    To be called between the writes of the two: the latest bucket says where to go on, so everything
    before it is rolled up, however it came about.
    """
    for size, length in SIZES.items():
        begin = _floor(start, length)
        if begin == _floor(following, length):
            continue
        parts = yield from _read(_partition(entitlement_id, meter), begin, begin + length)
        if parts:
            whole = merge(parts)
            yield from send(
                Put(
                    rollup_key(entitlement_id, meter, size, bucket_name(begin)),
                    whole.to_item(following),
                    "attribute_not_exists(pk) OR seq <= :seq",  # a slower process has seen less
                    values={":seq": whole.seq},
                )
            )


def _partition(entitlement_id: str, meter: str, size: str = BUCKETS) -> str:
    if size == BUCKETS:
        return usage_bucket_key(entitlement_id, meter, "").pk
    return rollup_key(entitlement_id, meter, size, "").pk


def _floor(at: int, size: int) -> int:
    return at - at % size


def _read(pk: str, start: int, end: int) -> Operation[list[UsageBucket]]:
    """The buckets of one partition from `start` to before `end`."""
    if start >= end:
        return []
    low, high = bucket_name(start), bucket_name(end - 1)
    items = yield from all_of(
        Query("pk = :pk AND sk BETWEEN :low AND :high", {":pk": pk, ":low": low, ":high": high})
    )
    return [UsageBucket.of(item) for item in items]


def records(
    entitlement_id: str, start: int, end: int, now: int, size: str, meter: str = SEATS
) -> Operation[Records]:
    """Usage from `start` to before `end` in buckets of this size, without denials.

    Both are beginnings of quarter-hours, hours or days. It reads one item for each, and at most 96
    of what is not rolled up yet, however long the history is. What was before the first roll-up is
    not known.
    """
    latest = yield from queries.latest_bucket(entitlement_id, meter, bucket_name(end))
    if latest is None or latest.start < start:
        return queries.as_they_stand(latest, [], (), start, end, now)
    coarse = _partition(entitlement_id, meter, size)
    before = Query(
        "pk = :pk AND sk < :start",
        {":pk": coarse, ":start": bucket_name(start)},
        limit=1,
        descending=True,
    )
    earlier = (yield from send(before)).items
    over = _floor(latest.start, SIZES[size]) if size in SIZES else start
    found = yield from _read(coarse, start, min(end, over))
    found += yield from _read(_partition(entitlement_id, meter), max(start, over), end)
    return queries.as_they_stand(
        UsageBucket.of(earlier[0]) if earlier else None, found, (), start, end, now
    )


# --- Denials --------------------------------------------------------------------------------------


class DeniedHour(NamedTuple):
    """The denials of a UTC hour: attempts, and by how many persons (or requests)."""

    start: int
    attempts: int
    people: int


def count_denied(
    entitlement_id: str, meter: str, start: int, seat_key: str, number: int
) -> Operation[None]:
    """Count the denials of a seat key in the quarter-hour `start`; once, if called again.

    Records of one seat key and hour come one after the other.
    """
    key = denied_bucket_key(entitlement_id, bucket_name(start), seat_key, meter)
    hour = _floor(start, HOUR_MS)
    name = bucket_name(start)[11:13]
    for attempt in range(1, _ROUNDS + 1):
        item = yield from send(Get(key))
        seen = item["attempts"] if item else 0
        if number <= seen:
            return
        is_first = not seen and not (yield from _is_counted(entitlement_id, meter, hour, seat_key))
        ttl = _floor(start, DAY_MS) // 1000 + EVIDENCE_SECONDS
        condition, bound = "attribute_not_exists(pk)", dict[str, Any]()
        if item:
            condition, bound = "attempts = :seen", {":seen": seen}
        people = f", p{name} :one" if is_first else ""
        reply = yield from write_with_conflict_retry(
            Transact(
                (
                    Put(key, {"attempts": number, "ttl": ttl}, condition, values=bound),
                    Update(
                        denied_day_key(entitlement_id, bucket_name(start)[:10], meter),
                        f"SET #ttl = :ttl ADD a{name} :more{people}",
                        "",
                        {"#ttl": "ttl"},
                        {
                            ":ttl": ttl,
                            ":more": number - seen,
                            **({":one": 1} if is_first else {}),
                        },
                    ),
                    rankings.denied(entitlement_id, start, number - seen),
                )
            )
        )
        if isinstance(reply, Accepted):
            return
        yield from send(Pause(attempt))
    raise LostRace("denials of one day kept being counted")


def _is_counted(entitlement_id: str, meter: str, hour: int, seat_key: str) -> Operation[bool]:
    names = (bucket_name(hour + number * BUCKET_MS) for number in range(4))
    keys = tuple(denied_bucket_key(entitlement_id, name, seat_key, meter) for name in names)
    return bool((yield from send(BatchGet(keys))))


def denied_on(day: Item) -> int:
    """The denied attempts of a UTC day, by its item."""
    return sum(int(day.get(f"a{hour:02d}", 0)) for hour in range(24))


def denied_hours(
    entitlement_id: str, start: int, end: int, meter: str = SEATS
) -> Operation[list[DeniedHour]]:
    """The hours from `start` to before `end` with denials; it reads one item for each day."""
    pk = denied_day_key(entitlement_id, "", meter).pk
    low, high = bucket_name(start)[:10], bucket_name(end - 1)[:10]
    items = yield from all_of(
        Query("pk = :pk AND sk BETWEEN :low AND :high", {":pk": pk, ":low": low, ":high": high})
    )
    found = [
        DeniedHour(
            parse_bucket_name(f"{item['sk']}T{hour:02d}:00"),
            item[f"a{hour:02d}"],
            item.get(f"p{hour:02d}", 0),
        )
        for item in items
        for hour in range(24)
        if f"a{hour:02d}" in item
    ]
    return [each for each in found if start <= each.start < end]
