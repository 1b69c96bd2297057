"""Sixteen threads in the second in which the period of an overdraft ends, on Amazon's own engine."""

import itertools
import time
from typing import Any

import pytest

from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import seat_shard_key, usage_key
from shared.dynamodb.requests import Accepted
from shared.overdraft_clock import OverdraftPeriod
from shared.seats import activation
from shared.seats.encoding import GrantIds, activation_id, decode_grant
from shared.seats.holder import Holder
from shared.seats.pending import ActivationResult
from shared.seats.release import release_grant
from shared.usage import consumption
from shared.usage.counter import Counter, UsageTerms
from shared.usage.encoding import decode_entry
from shared.usage.terms import new_counter
from tests.support.seats import NOW, NOW_MS, make_shard, new_id, terms, timed_key
from tests.support.tables import create_table, open_client
from tests.support.threads import SEEDS, THREADS, history, run, together

PERIOD = 60


@pytest.fixture(scope="module")
def dynamodb(engine: DynamoDBLocal) -> DynamoDBClient:
    return open_client(engine.url, create_table(engine.url))


class Clock:
    """The time of a test: it begins two seconds before the end, and then goes on as time does.

    It stands still until `starts`, so that nothing depends on how long the preparation takes.
    """

    def __init__(self) -> None:
        self._started: float | None = None
        self.at_start_ms = NOW_MS + (PERIOD - 2) * 1000
        self.numbers = itertools.count()

    def start(self) -> None:
        self._started = time.monotonic()

    def now_ms(self) -> int:
        if self._started is None:
            return NOW_MS
        return self.at_start_ms + int((time.monotonic() - self._started) * 1000)

    def change(self) -> Change:
        return Change("key_test", f"req-{next(self.numbers)}", self.now_ms())


def seconds_on_both_sides(ends_at: int, times: list[int]) -> None:
    """The test says something only if there were requests before and after."""
    assert min(times) < ends_at <= max(times)


@pytest.mark.parametrize("seed", SEEDS)
def test_seats(engine: DynamoDBLocal, dynamodb: DynamoDBClient, seed: int) -> None:
    """Whoever came in time may have a seat, nobody else above what was purchased; all others stay."""
    entitlement_id, clock = new_id(), Clock()
    make_shard(dynamodb, entitlement_id, terms(20, 100, period=(PERIOD, 86_400)))
    ids = [GrantIds(salt) for salt in range(THREADS)]
    asked: list[int] = []
    denied: list[problems.Denied] = []

    def take(worker: int, seat_id: str, *, hint: bool = False) -> ActivationResult | None:
        change = clock.change()
        grant_id = ids[worker].next(change.now_ms)
        operation = activation.take(
            entitlement_id, Holder(seat_id), change, grant_id, expect_overdraft=hint
        )
        asked.append(change.now)
        try:
            grant: ActivationResult = run(dynamodb, operation, clock.now_ms)
        except problems.Denied as problem:
            denied.append(problem)
            return None
        except problems.Contention:
            return None
        return grant

    for number in range(21):
        take(0, f"first{number}")
    clock.start()

    def work(worker: int) -> None:
        number = 0
        while clock.now_ms() < NOW_MS + (PERIOD + 2) * 1000:
            number += 1
            seat_id = f"w{worker}-{number}"
            grant = take(worker, seat_id, hint=bool(worker % 2))
            if number % 3 and grant:
                assert take(worker, seat_id) is not None, "a holder was denied"
            if grant and number % 4:
                named = activation_id(grant.key, grant.held.grant_id)
                run(dynamodb, release_grant(entitlement_id, named, clock.change()), clock.now_ms)

    together(work)
    ends_at = NOW + PERIOD
    seconds_on_both_sides(ends_at, asked)
    assert any(isinstance(each, problems.OverdraftPeriodEnded) for each in denied)
    for version in history(engine, dynamodb, seat_shard_key(entitlement_id)):
        old, new = version["old"], version["new"]
        came = set(new["seats"]) - set(old["seats"] if old else ())
        for key in came:
            is_late = decode_grant(new["seats"][key]).activated_at_ms // 1000 >= ends_at
            # The id of a grant is of the first attempt; the time that counts is that of the write.
            written = new["last"]["at"] // 1000
            assert not (is_late or written >= ends_at) or len(new["seats"]) <= new["seatCount"]
            assert len(new["seats"]) <= new["hardCap"]
        if new.get("overdraftSince"):
            assert new["overdraftSince"] == NOW, "a dip has moved the clock"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_usage_limit(engine: DynamoDBLocal, dynamodb: DynamoDBClient, seed: int) -> None:
    entitlement_id, clock = new_id(), Clock()
    period = OverdraftPeriod(PERIOD, 86_400)
    valid = UsageTerms(30, 10_000, "never", "UTC", "active", 0, None, period)
    made = dynamodb.execute(new_counter(entitlement_id, "x", valid, clock.change()))
    assert isinstance(made, Accepted)
    asked: list[int] = []
    denied: list[problems.Denied] = []

    def consume(quantity: int) -> Any:
        change = clock.change()
        key = timed_key(change.now_ms, next(clock.numbers))
        asked.append(change.now)
        operation = consumption.consume(entitlement_id, "x", key, quantity, change)
        try:
            return run(dynamodb, operation, clock.now_ms)
        except problems.Denied as problem:
            denied.append(problem)
        except problems.Contention:
            pass
        return None

    assert consume(31)
    clock.start()

    def work(_: int) -> None:
        while clock.now_ms() < NOW_MS + (PERIOD + 2) * 1000:
            consume(1)

    together(work)
    ends_at = NOW + PERIOD
    seconds_on_both_sides(ends_at, asked)
    assert any(isinstance(each, problems.OverdraftPeriodEnded) for each in denied)
    for version in history(engine, dynamodb, usage_key(entitlement_id, "x")):
        counter = Counter.of(version["new"])
        assert counter.clock is None or counter.clock.since == NOW
        for entry in counter.log.entries.values():
            assert decode_entry(entry).at_ms // 1000 < ends_at, "consumed after the period"
