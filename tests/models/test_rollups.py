"""Roll-ups say what the records say from which they were made, whatever came late or twice."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from local.dynamodb import DynamoDBLocal
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import SEATS, rollup_key, usage_bucket_key
from shared.dynamodb.paging import all_of
from shared.dynamodb.requests import Item, Query
from shared.history import queries, rollups
from shared.history.buckets import BUCKET_MS, DAY_MS, HOUR_MS
from shared.history.queries import Usage
from shared.history.rollups import BUCKETS, DAYS, HOURS, DeniedHour
from tests.support.life import EXPORTS, START, Clean, Life
from tests.support.notifier import Notifier
from tests.support.sampling import IS_SOAK
from tests.support.tables import open_client

SIZES = {BUCKETS: BUCKET_MS, HOURS: HOUR_MS, DAYS: DAY_MS}
METERS = (SEATS, EXPORTS)


@pytest.fixture(scope="module")
def clean(engine: DynamoDBLocal) -> Clean:
    return Clean(Life(engine.url, 11, 120, is_deleted=False))


@pytest.fixture(scope="module")
def late(clean: Clean) -> DynamoDBClient:
    """Some records are given up and come after all others, a few of them twice."""
    life = clean.life
    chance = random.Random(5)
    missed = sorted(chance.sample(range(3, len(life.records)), len(life.records) // 5))
    dynamodb = open_client(life.url, life.copy())
    notifier = Notifier(dynamodb)
    notifier.deliver_all([r for n, r in enumerate(life.records) if n not in missed], 7)
    for number in missed:
        notifier.deliver_all([life.records[number]])
    for number in missed[::4]:
        notifier.deliver_all([life.records[number]])
    return dynamodb


def check(
    dynamodb: DynamoDBClient, life: Life, meter: str, size: str, start: int, end: int, now: int
) -> None:
    step = SIZES[size]
    fine = dynamodb.run(queries.records(life.id, start, end, now, meter))
    coarse = dynamodb.run(rollups.records(life.id, start, end, now, size, meter))
    for at in range(start, end, step):
        assert without_people(coarse.usage(at, at + step)) == without_people(
            fine.usage(at, at + step)
        ), (
            meter,
            size,
            at,
        )


def without_people(usage: Usage) -> Usage:
    """What roll-ups say: of denials and people, others do."""
    nobody = frozenset[str]()
    return usage._replace(
        counts={name: n for name, n in usage.counts.items() if n},
        denied_attempts=0,
        denied_seats=nobody,
        people=nobody,
        over=nobody,
    )


def windows(life: Life) -> Iterator[tuple[int, int]]:
    first = START - START % DAY_MS
    last = life.end - life.end % DAY_MS + 2 * DAY_MS
    yield first - 3 * DAY_MS, last
    middle = first + (last - first) // 2 // DAY_MS * DAY_MS
    yield first, middle
    yield middle, middle + DAY_MS
    yield last, last + DAY_MS


@pytest.mark.parametrize("is_late", [False, True], ids=["in order", "late"])
def test_hours_and_days_add_up_to_what_their_records_say(
    clean: Clean, late: DynamoDBClient, is_late: bool
) -> None:
    life = clean.life
    dynamodb = late if is_late else clean.dynamodb
    for meter in METERS:
        for size in SIZES:
            chosen = list(windows(life))
            # Each window either way in `make soak`, every second one in one way in `make test`.
            for start, end in chosen if IS_SOAK else chosen[2 * is_late :: 4]:
                check(dynamodb, life, meter, size, start, end, life.end + 5_000_000)


@pytest.mark.parametrize("is_late", [False, True], ids=["in order", "late"])
def test_denied_hours_count_what_callers_were_answered(
    clean: Clean, late: DynamoDBClient, is_late: bool
) -> None:
    life = clean.life
    dynamodb = late if is_late else clean.dynamodb
    for meter, answered in ((SEATS, life.denied), (EXPORTS, life.requests_denied)):
        assert answered, "some were denied"
        wanted: dict[int, list[str]] = {}
        for at, key in answered:
            wanted.setdefault(at - at % HOUR_MS, []).append(key)
        first, last = min(wanted), max(wanted) + HOUR_MS
        found = dynamodb.run(rollups.denied_hours(life.id, first, last, meter))
        assert found == [
            DeniedHour(at, len(keys), len(set(keys))) for at, keys in sorted(wanted.items())
        ]
        assert (
            dynamodb.run(rollups.denied_hours(life.id, first + HOUR_MS, last, meter)) == found[1:]
        )


def test_a_roll_up_is_stored_as_long_as_its_buckets(clean: Clean) -> None:
    """Until another record has been there for as long: it says what was held."""
    life = clean.life
    buckets = items_of(clean.dynamodb, usage_bucket_key(life.id, SEATS, "").pk)
    for size, length in SIZES.items():
        if size == BUCKETS:
            continue
        for item in items_of(clean.dynamodb, rollup_key(life.id, SEATS, size, "").pk):
            within = [
                q
                for q in buckets
                if item["start"] <= q["start"] < item["start"] // length * length + length
            ]
            assert item["ttl"] == within[-1]["ttl"], size


def items_of(dynamodb: DynamoDBClient, pk: str) -> list[Item]:
    return dynamodb.run(all_of(Query("pk = :pk", {":pk": pk})))


def test_a_year_is_read_in_a_bounded_number_of_items(clean: Clean) -> None:
    life = clean.life
    read = []
    execute = clean.dynamodb.execute

    def counted(request: Any) -> Any:
        reply = execute(request)
        if isinstance(request, Query):
            read.append(len(reply.items))
        return reply

    clean.dynamodb.execute = counted  # type: ignore[method-assign]
    try:
        end = life.end - life.end % DAY_MS + DAY_MS
        found = clean.dynamodb.run(
            rollups.records(life.id, end - 366 * DAY_MS, end, life.end, DAYS)
        )
    finally:
        clean.dynamodb.execute = execute  # type: ignore[method-assign]
    assert sum(read) <= 366 + 96 + 2
    assert len(read) <= 6, "round trips"
    assert found.buckets
