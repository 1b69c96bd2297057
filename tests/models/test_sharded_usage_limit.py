"""A sharded usage limit against a model of it: with faults, new terms and new periods."""

import contextlib
import itertools
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    consumption_key,
    denial_partitions,
    usage_key,
    usage_meter,
    usage_shard_key,
)
from shared.dynamodb.requests import Accepted, Get, Query, Transact
from shared.overdraft_clock import OverdraftPeriod
from shared.usage import allocation, sharded
from shared.usage.counter import Counter, UsageTerms
from shared.usage.periods import DAY, calendar_month
from shared.usage.shard import shard_of, terms_of
from shared.usage.sharded_clock import follow_clock
from shared.usage.terms import new_counter, terms_update, under_terms
from tests.support.machine import Lost, drive, run_machine
from tests.support.patching import patch_constant
from tests.support.seats import NOW, new_id, timed_key
from tests.support.tables import create_table, open_client, read_item

ZONE = "America/New_York"
CAPS = (25, 90, 200, 1000, 7, None)


class Answered(NamedTuple):
    at: int
    quantity: int


class ShardedLimitMachine(RuleBasedStateMachine):
    """Few shards, so that they often lack what others have."""

    dynamodb: DynamoDBClient

    def __init__(self) -> None:
        super().__init__()
        self.limit = (new_id(), "x")
        self.now = NOW
        self.valid = UsageTerms(20, 150, "monthly", ZONE, "active", 0, None)
        self.used = 0
        self.period = calendar_month(NOW, ZONE)
        self.answered: dict[str, Answered] = {}
        self.denials = 0
        self.numbers, self.requests = itertools.count(), itertools.count(1)
        self.cache = sharded.LimitCache()
        self.dynamodb.execute(new_counter(*self.limit, self.valid, self.change()))

    def change(self) -> Change:
        return Change("key_test", f"req-{next(self.requests)}", self.now * 1000)

    def drive(self, operation: Any, lose: int | None = None, crash: int | None = None) -> Any:
        return drive(self.dynamodb, operation, lambda: self.now, lose, crash)

    def counter(self) -> Counter:
        return Counter.of(read_item(self.dynamodb, usage_key(*self.limit)))

    def left(self) -> float:
        if self.period.end is not None and self.now >= self.period.end:
            self.period, self.used = calendar_month(self.now, ZONE), 0
        cap = self.valid.hard_cap
        return float("inf") if cap is None else cap - self.used

    def has_ended(self) -> bool:
        """Whether the period of an overdraft has, by the clock that is on record.

        When it started is not exact: it follows from what shards have reported.
        """
        clock = self.counter().as_of(self.now).clock_at(self.now)
        return clock is not None and clock.has_ended(self.now)

    # --- What can happen ------------------------------------------------------------------------

    @initialize(before=st.integers(0, 12))
    def is_sharded(self, before: int) -> None:
        """After some requests, whose retries are still to be known."""
        for number in range(before):
            self.ask(f"early{number:07d}", 1)
        self.dynamodb.execute(sharded.start_sharding(self.limit))

    def ask(
        self, key: str, quantity: int, lose: int | None = None, crash: int | None = None
    ) -> None:
        left, answered = self.left(), self.answered.get(key)
        had_ended, left_purchased = self.has_ended(), self.valid.purchased - self.used
        operation = sharded.consume(*self.limit, key, quantity, self.change(), cache=self.cache)
        try:
            outcome = self.drive(operation, lose, crash)
        except Lost:
            self.after_a_crash(key, quantity)
            return
        except problems.Contention:
            self.wait_until_the_lock_expires()
            self.after_a_crash(key, quantity)
            return
        except problems.OverdraftPeriodEnded:
            self.denials += 1
            assert answered is None
            assert had_ended or self.has_ended()
            assert left_purchased < quantity, "denied although enough of what was bought was left"
            return
        except problems.HardCapReached:
            self.denials += 1
            assert answered is None
            assert left < quantity, "denied although enough was left"
            return
        except problems.IdempotencyConflict:
            assert answered is not None
            assert answered.quantity != quantity
            return
        if answered is not None:
            assert outcome.is_replay
            assert outcome.consumed.quantity == answered.quantity
        elif key not in self.answered:
            assert left >= quantity, "more than the cap was consumed"
            assert not had_ended or left_purchased >= quantity, "consumed after the period"
            assert outcome.consumed.period == self.period
            self.answered[key] = Answered(self.now, quantity)
            self.used += quantity

    def wait_until_the_lock_expires(self) -> None:
        """A process that crashed holds the lock, and here no time passes while others try."""
        locked_ms = self.counter().locked_ms
        assert self.now * 1000 - locked_ms <= allocation.LOCK_MS
        self.now += 4

    def after_a_crash(self, key: str, quantity: int) -> None:
        """All of it took place or nothing; a retry shows which. Here is what is on record."""
        if key in self.answered:
            return
        part = usage_shard_key(*self.limit, shard_of(key))
        items = [self.dynamodb.execute(Get(k)) for k in (part, usage_key(*self.limit))]
        stands = any(key in item[log] for item in items if item for log in ("recent", "earlier"))
        stands |= bool(self.dynamodb.execute(Get(consumption_key(*self.limit, key))))
        if stands:
            self.left()
            self.answered[key] = Answered(self.now, quantity)
            self.used += quantity

    @rule(
        quantity=st.sampled_from([1, 1, 1, 2, 5, 30]),
        lose=st.one_of(st.none(), st.integers(0, 6)),
        tells=st.booleans(),
    )
    def new_request(self, quantity: int, lose: int | None, tells: bool) -> None:
        number = next(self.numbers)
        key = timed_key(self.now * 1000, number) if tells else f"request{number:05d}"
        self.ask(key, quantity, lose=lose)

    @rule(quantity=st.sampled_from([1, 3]), crash=st.integers(0, 14))
    def new_request_that_crashes(self, quantity: int, crash: int) -> None:
        self.ask(f"crashed{next(self.numbers):05d}", quantity, crash=crash)

    @rule(number=st.integers(0, 10**6), quantity=st.sampled_from([1, 1, 2]))
    def a_retry(self, number: int, quantity: int) -> None:
        if self.answered:
            keys = sorted(self.answered)
            self.ask(keys[number % len(keys)], quantity)

    @rule(many=st.integers(5, 70))
    def many_requests(self, many: int) -> None:
        for _ in range(many):
            self.ask(f"many{next(self.numbers):08d}", 1)

    @rule(seconds=st.sampled_from([1, 6, 61, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.forget()

    @rule()
    def a_month_passes(self) -> None:
        if self.period.end:
            self.now = max(self.now, self.period.end + 7)
        self.forget()

    def forget(self) -> None:
        day_ago = self.now - DAY
        self.answered = {key: each for key, each in self.answered.items() if each.at > day_ago}

    @rule(crash=st.one_of(st.none(), st.integers(0, 12)))
    def the_sweep_looks(self, crash: int | None) -> None:
        with contextlib.suppress(Lost):
            self.drive(allocation.reconcile(*self.limit, self.change()), crash=crash)
            self.drive(follow_clock(self.limit, self.counter(), self.change()), crash=crash)

    @rule(
        cap=st.sampled_from(CAPS),
        status=st.sampled_from(["active", "active", "suspended"]),
        timed=st.sampled_from([None, (60, 60), (120, 3600)]),
        crash=st.one_of(st.none(), st.none(), st.integers(0, 12)),
    )
    def terms_change(
        self, cap: int | None, status: str, timed: tuple[int, int] | None, crash: int | None
    ) -> None:
        period = OverdraftPeriod(*timed) if timed else None
        valid = self.valid._replace(
            hard_cap=cap, purchased=min(20, cap or 20), overdraft_period=period
        )
        try:
            counter = self.drive(allocation.lock(self.limit, self.change()), crash=crash)
        except Lost:
            self.now += 4  # whoever held it is gone
            return
        except problems.Contention:
            self.wait_until_the_lock_expires()
            return
        assert counter.allocated == 0
        self.left()
        new = under_terms(counter, valid, self.now, is_renewed=False)
        write = self.drive(terms_update(*self.limit, counter, new, self.change()))
        if write is None:
            self.now += 4
            return
        assert isinstance(self.dynamodb.execute(Transact((write,))), Accepted)
        self.valid = valid
        if status == "suspended":
            self.suspend_and_back()

    def suspend_and_back(self) -> None:
        for status in ("suspended", "active"):
            counter = self.drive(allocation.lock(self.limit, self.change()))
            new = counter._replace(status=status)
            write = self.drive(terms_update(*self.limit, counter, new, self.change()))
            assert write is not None
            assert isinstance(self.dynamodb.execute(Transact((write,))), Accepted)
            if status == "suspended":
                key = f"susp{next(self.numbers):08d}"
                with pytest.raises(problems.EntitlementSuspended):
                    self.drive(sharded.consume(*self.limit, key, 1, self.change()))

    @rule(quantity=st.sampled_from([-30, -3, -1, 1, 4]))
    def correct(self, quantity: int) -> None:
        left = self.left()
        key = f"correct{next(self.numbers):05d}"
        operation = sharded.correct(*self.limit, key, quantity, "a test", self.change())
        try:
            self.drive(operation)
        except problems.InvalidRequest:
            assert self.used + quantity < 0
        except problems.HardCapReached:
            assert quantity > max(0, left)
        except problems.Contention:
            self.wait_until_the_lock_expires()  # nothing was corrected, as the invariant shows
        else:
            assert self.used + quantity >= 0
            assert quantity <= max(0, left)
            self.used += quantity

    @rule(quantity=st.sampled_from([1, 5, 30]))
    def preview(self, quantity: int) -> None:
        left = self.left()
        if self.has_ended():
            left = min(left, self.valid.purchased - self.used)
        operation = sharded.preview(*self.limit, None, quantity, self.change())
        try:
            self.drive(operation)
        except problems.Denied:
            assert left < quantity
        else:
            assert left >= quantity

    # --- What must always hold ------------------------------------------------------------------

    @invariant()
    def it_adds_up(self) -> None:
        """What is allocated is what shards have left and have not reported; all of it is the model's."""
        counter = self.counter()
        parts = self.drive(allocation.read_shards(self.limit)).values()
        assert counter.allocated == sum(part.allocated for part in parts)
        assert all(part.unreported >= 0 for part in parts)
        if not counter.has_ended(self.now):
            self.left()
            assert counter.used + sum(part.unreported for part in parts) == self.used
        for part in parts:
            if part.counter.left:
                assert terms_of(part.counter) == terms_of(counter)

    def teardown(self) -> None:
        self.now += 4
        # A reader completes what was left half done.
        counter = self.drive(allocation.rebalance(self.limit, self.change()))
        assert counter.allocated == 0
        if not counter.has_ended(self.now):
            self.left()
            assert counter.used == self.used
        recorded = 0
        for pk in denial_partitions(self.limit[0], usage_meter("x")):
            found = self.dynamodb.execute(Query("pk = :pk", {":pk": pk}))
            recorded += sum(item["attempts"] for item in found.items)
        assert recorded >= self.denials


def test_a_sharded_limit_behaves_as_its_model(
    engine: DynamoDBLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_constant(monkeypatch, "shared.usage", "SHARDS", 5)
    ShardedLimitMachine.dynamodb = open_client(engine.url, create_table(engine.url))
    run_machine(ShardedLimitMachine, examples=5, steps=30)
