"""A usage limit against a model of it: any order of events, with time, faults and retries.

The model is a list of what was consumed and the rules as the contract states them; the code under
test runs on Amazon's own engine. After every step counter, answers and record must agree.
"""

import itertools
from collections import Counter as Tally
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import denial_partitions, usage_key, usage_meter
from shared.dynamodb.requests import Accepted, Query, Transact
from shared.overdraft_clock import OverdraftClock, OverdraftPeriod
from shared.usage import consumption, corrections
from shared.usage.counter import Counter, UsageTerms
from shared.usage.periods import DAY, Period, calendar_month
from shared.usage.request_log import LOG_SIZE
from shared.usage.terms import new_counter, terms_update, under_terms
from shared.usage.views import consumption_view, period_view
from tests.support.machine import Lost, drive, run_machine
from tests.support.patching import patch_constant
from tests.support.seats import NOW, new_id, timed_key
from tests.support.tables import create_table, open_client, read_item

ZONE = "America/New_York"
# Half of them contain a time: earlier, now, or later.
KEYS = [f"request{number:05d}" for number in range(4)] + [
    timed_key((NOW + seconds) * 1000, number)
    for number, seconds in enumerate((-3 * DAY, 0, 700, 5 * DAY))
]


class Answered(NamedTuple):
    at: int
    quantity: int
    answer: Mapping[str, object]


class Clock(NamedTuple):
    """When the overdraft began, and when use fell to what was purchased."""

    since: int
    fell: int | None


class UsageMachine(RuleBasedStateMachine):
    """Rules are what can happen to a usage limit; each is checked against the model at once."""

    dynamodb: DynamoDBClient

    def __init__(self) -> None:
        super().__init__()
        self.entitlement_id = new_id()
        self.now = NOW
        self.valid = UsageTerms(20, 25, "monthly", ZONE, "active", 0, None)
        self.used = 0
        self.clock: Clock | None = None
        self.period = calendar_month(NOW, ZONE)
        self.answered: dict[str, Answered] = {}
        self.attempts: Tally[str] = Tally()
        self.seq = 1
        self.fillers = itertools.count()
        self.requests = itertools.count(1)
        self.log: int | None = None
        counter = new_counter(self.entitlement_id, "x", self.valid, self.change())
        assert isinstance(self.dynamodb.execute(counter), Accepted)

    def change(self) -> Change:
        return Change("key_test", f"req-{next(self.requests)}", self.now * 1000)

    def run(self, operation: Any, lose: int | None = None, crash: int | None = None) -> Any:
        return drive(self.dynamodb, operation, lambda: self.now, lose, crash)

    def counter(self) -> Counter:
        return Counter.of(read_item(self.dynamodb, usage_key(self.entitlement_id, "x")))

    # --- The model's own view -------------------------------------------------------------------

    def full(self) -> float:
        return float("inf") if self.valid.hard_cap is None else self.valid.hard_cap

    def begin_what_is_due(self) -> None:
        """The period of now, as every reader sees it."""
        if self.period.end is not None and self.now >= self.period.end:
            is_monthly = self.valid.schedule == "monthly"
            until = self.valid.valid_until
            if not is_monthly and until is not None and until <= self.period.end:
                return  # the limit itself is over
            renewed = Period(self.period.end, None)
            self.period, self.used = calendar_month(self.now, ZONE) if is_monthly else renewed, 0
            self.clock = None

    def clock_now(self) -> Clock | None:
        """The clock that runs or has ended, in the period of now."""
        self.begin_what_is_due()
        clock, period = self.clock, self.valid.overdraft_period
        if clock is None or period is None or self.refusal():
            return None
        is_over = clock.fell is not None and clock.fell + period.recovery <= self.now
        return None if is_over else clock

    def expected_clock(self) -> OverdraftClock | None:
        clock, period = self.clock_now(), self.valid.overdraft_period
        if clock is None or period is None:
            return None
        recovers = None if clock.fell is None else clock.fell + period.recovery
        return OverdraftClock(clock.since, clock.since + period.length, recovers)

    def most(self) -> float:
        """What may be used now."""
        clock, own = self.expected_clock(), self.valid.customer_cap
        most = self.valid.purchased if clock and clock.ends_at <= self.now else self.full()
        return most if own is None else min(own, most)

    def highest(self) -> Any:
        """The cap that an answer shows, which knows no clock here."""
        caps = (self.valid.hard_cap, self.valid.customer_cap)
        return min((cap for cap in caps if cap is not None), default=None)

    def use(self, quantity: int) -> None:
        """Count what was used, and move the clock."""
        clock, self.used = self.clock_now(), self.used + quantity
        if self.valid.overdraft_period is None:
            return
        if self.used > self.valid.purchased:
            self.clock = Clock(clock.since if clock else self.now, None)
        elif clock and clock.fell is None:
            self.clock = clock._replace(fell=self.now)

    def known(self, key: str) -> Answered | None:
        answered = self.answered.get(key)
        return answered if answered and answered.at > self.now - DAY else None

    def refusal(self) -> type[problems.Problem] | None:
        if self.valid.status == "suspended":
            return problems.EntitlementSuspended
        if self.valid.valid_until is not None and self.now >= self.valid.valid_until:
            return problems.EntitlementExpired
        return None

    def expect(self, quantity: int) -> dict[str, Any]:
        """What a request that fits is answered."""
        self.begin_what_is_due()
        used, purchased, cap = self.used + quantity, self.valid.purchased, self.valid.hard_cap
        over = max(0, used - max(purchased, self.used))
        return {
            "key": "x",
            "quantity": quantity,
            "isOverdraft": over > 0,
            "overdraftQuantity": over,
            "status": "overdraft"
            if used > purchased
            else "at_limit"
            if used == purchased
            else "within_limit",
            "usage": {
                "used": used,
                "purchased": purchased,
                "hardCap": cap,
                "overdraftUsed": max(0, used - purchased),
                "available": None if self.highest() is None else max(0, self.highest() - used),
            },
            "overdraft": None,
            **period_view(self.period),
        }

    def took_place(self, key: str, quantity: int, answer: Mapping[str, object]) -> None:
        self.begin_what_is_due()
        self.use(quantity)
        self.seq += 1
        self.answered[key] = Answered(self.now, quantity, answer)

    # --- What can happen ------------------------------------------------------------------------

    def outcome(self, key: str, quantity: int, run: Any) -> None:
        """Run something that consumes, and hold what it does against the model."""
        known, refusal = self.known(key), self.refusal()
        try:
            outcome = run()
        except problems.IdempotencyConflict:
            assert known is not None
            assert known.quantity != quantity
            return
        except problems.Denied as denied:
            assert known is None
            assert refusal is None
            self.begin_what_is_due()
            assert self.used + quantity > self.most(), "denied although it would have fitted"
            own = self.valid.customer_cap is not None and self.most() == self.valid.customer_cap
            if not own or self.valid.customer_cap != self.valid.purchased:
                assert isinstance(denied, problems.CustomerCapReached) == own
            is_hard = self.most() == self.full()
            assert isinstance(denied, problems.HardCapReached) == is_hard
            assert denied.extensions["usage"]["used"] == self.used
            self.attempts[key] += 1
            return
        except problems.Problem as problem:
            assert known is None
            assert type(problem) is refusal
            return
        answer = consumption_view("x", outcome.consumed, None)
        if known:
            assert known.quantity == quantity
            assert answer == known.answer, "not the first answer"
            return
        assert refusal is None
        expected = self.expect(quantity)
        assert self.used + quantity <= self.most(), "above the hard cap, or after the period"
        assert answer == expected
        self.took_place(key, quantity, answer)

    @rule(
        key=st.sampled_from(KEYS),
        quantity=st.sampled_from([1, 1, 2, 5, 26]),
        hint=st.booleans(),
        lose=st.one_of(st.none(), st.integers(0, 4)),
    )
    def consume(self, key: str, quantity: int, hint: bool, lose: int | None) -> None:
        log = self.log if hint else None
        operation = consumption.consume(
            self.entitlement_id, "x", key, quantity, self.change(), busy_log=log
        )
        self.outcome(key, quantity, lambda: self.run(operation, lose=lose))

    @rule(
        key=st.sampled_from(KEYS),
        quantity=st.sampled_from([1, 3]),
        hint=st.booleans(),
        crash=st.integers(0, 4),
    )
    def consume_crash_and_consume_again(
        self, key: str, quantity: int, hint: bool, crash: int
    ) -> None:
        """The process may end between any two requests; the client then asks again."""
        log = self.log if hint else None
        operation = consumption.consume(
            self.entitlement_id, "x", key, quantity, self.change(), busy_log=log
        )

        def crashing() -> Any:
            return self.run(operation, crash=crash)

        try:
            self.outcome(key, quantity, crashing)
        except Lost:
            self.follow_a_crash(key, quantity)
        again = consumption.consume(self.entitlement_id, "x", key, quantity, self.change())
        self.outcome(key, quantity, lambda: self.run(again))

    def follow_a_crash(self, key: str, quantity: int) -> None:
        """Bring the model to where the counter is: a crash leaves all of a change or nothing."""
        if self.counter().seq > self.seq:
            assert self.known(key) is None
            self.took_place(key, quantity, self.expect(quantity))
        self.attempts = self.attempts_on_record()

    @rule(count=st.sampled_from([1, 4, 8]))
    def others_consume(self, count: int) -> None:
        """Enough requests to fill logs, corrected at once so that more fit."""
        if self.refusal() or self.used + 1 > self.most():
            return
        for _ in range(count):
            key = self.filler()
            operation = consumption.consume(
                self.entitlement_id, "x", key, 1, self.change(), busy_log=self.log
            )
            self.outcome(key, 1, lambda operation=operation: self.run(operation))
            self.correct(-1, self.filler())
        self.log = self.counter().log_number

    def filler(self) -> str:
        number = next(self.fillers)
        return timed_key(self.now * 1000, 99 + number) if number % 3 else f"filler{number:06d}"

    def correct(self, quantity: int, key: str, lose: int | None = None) -> None:
        operation = corrections.correct(
            self.entitlement_id, "x", key, quantity, "a test", self.change()
        )
        refusal = self.refusal()
        known = self.known(key)
        try:
            outcome = self.run(operation, lose=lose)
        except problems.InvalidRequest:
            self.begin_what_is_due()
            assert self.used + quantity < 0
        except problems.HardCapReached:
            self.begin_what_is_due()
            assert quantity > 0
            assert self.used + quantity > self.full()
        except problems.IdempotencyConflict:
            assert known is not None
            assert known.quantity != quantity
        except problems.Problem as problem:
            assert type(problem) is refusal
        else:
            answer = consumption_view("x", outcome.consumed, None)
            if known:
                assert answer == known.answer
                return
            self.took_place(key, quantity, answer)
            assert outcome.consumed.used == self.used

    @rule(
        quantity=st.sampled_from([-7, -2, -1, 1, 4]),
        key=st.sampled_from(KEYS),
        lose=st.one_of(st.none(), st.integers(0, 3)),
    )
    def correction(self, quantity: int, key: str, lose: int | None) -> None:
        self.correct(quantity, key, lose)

    @rule(seconds=st.sampled_from([1, 600, DAY - 5, DAY, DAY + 1, 9 * DAY, 33 * DAY]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(
        limits=st.sampled_from([(20, 25), (0, 2), (5, 5), (30, 40), (10, None)]),
        schedule=st.sampled_from(["monthly", "monthly", "never", "on_renewal"]),
        status=st.sampled_from(["active", "active", "active", "suspended"]),
        ends_in=st.sampled_from([None, None, 500, 40 * DAY]),
        timed=st.sampled_from([None, (60, 600), (DAY, 60), (9 * DAY, DAY)]),
        own=st.sampled_from([None, None, 0, 3, 22]),
        lose=st.one_of(st.none(), st.just(0)),
    )
    def terms_change(
        self,
        limits: tuple[int, int | None],
        schedule: str,
        status: str,
        ends_in: int | None,
        timed: tuple[int, int] | None,
        own: int | None,
        lose: int | None,
    ) -> None:
        until = None if ends_in is None else self.now + ends_in
        old = self.valid.valid_until
        overdraft_period = OverdraftPeriod(*timed) if timed else None
        lower = own if own is not None and own < (limits[1] or 99) else None
        valid = UsageTerms(*limits, schedule, ZONE, status, 0, until, overdraft_period, lower)
        clock, used_before = self.clock_now(), self.used
        is_renewed = old is not None and (until is None or until > old)
        counter = self.counter()
        new = under_terms(counter, valid, self.now, is_renewed=is_renewed)
        write = self.run(
            terms_update(self.entitlement_id, "x", counter, new, self.change()), lose=lose
        )
        self.begin_what_is_due()
        if write:
            assert isinstance(self.dynamodb.execute(Transact((write,))), Accepted)
            self.seq += 1
        if schedule == "monthly":
            self.period = calendar_month(self.now, ZONE)
        elif schedule == "on_renewal":
            if is_renewed and old is not None and old <= self.now:
                self.period, self.used = Period(self.now, None), 0
            elif self.valid.schedule != "on_renewal" or self.period.end is None:
                self.period = self.period._replace(end=old if until != old else None)
        else:
            self.period = self.period._replace(end=None)
        before, self.valid = self.valid, valid
        self.clock = None
        if timed is None or status != "active" or self.used != used_before:
            return
        if self.used > valid.purchased:
            self.clock = Clock(clock.since if clock else self.now, None)
        elif clock and valid.purchased <= before.purchased:
            # Nothing was bought: the dip goes on.
            self.clock = Clock(clock.since, self.now if clock.fell is None else clock.fell)

    @rule(key=st.sampled_from(KEYS), again=st.sampled_from(KEYS))
    def consume_at_the_end(self, key: str, again: str) -> None:
        """At the second in which the period ends."""
        clock = self.expected_clock()
        if clock and clock.ends_at > self.now:
            self.now = clock.ends_at - 1
            self.consume_now(key)
            self.now += 1
            self.consume_now(again)

    def consume_now(self, key: str) -> None:
        operation = consumption.consume(self.entitlement_id, "x", key, 1, self.change())
        self.outcome(key, 1, lambda: self.run(operation))

    @rule(key=st.one_of(st.none(), st.sampled_from(KEYS)), quantity=st.sampled_from([1, 3, 26]))
    def preview(self, key: str | None, quantity: int) -> None:
        known = self.known(key) if key else None
        refusal = self.refusal()
        try:
            answered = self.run(
                consumption.preview(self.entitlement_id, "x", key, quantity, self.change())
            )
        except problems.IdempotencyConflict:
            assert known is not None
            assert known.quantity != quantity
        except problems.Denied:
            self.begin_what_is_due()
            assert self.used + quantity > self.most()
        except problems.Problem as problem:
            assert type(problem) is refusal
        else:
            answer = consumption_view("x", answered.consumed, None)
            assert answer == (known.answer if known else self.expect(quantity))

    # --- What must always hold ------------------------------------------------------------------

    def attempts_on_record(self) -> Tally[str]:
        recorded: Tally[str] = Tally()
        for pk in denial_partitions(self.entitlement_id, usage_meter("x")):
            for item in self.dynamodb.execute(Query("pk = :pk", {":pk": pk})).items:
                recorded[item["seatKey"]] += item["attempts"]
        return recorded

    @invariant()
    def counter_is_the_model(self) -> None:
        counter = self.counter()
        assert counter.seq == self.seq
        current = counter.as_of(self.now)
        self.begin_what_is_due()
        assert (current.used, current.period) == (self.used, self.period)
        assert current.clock_at(self.now) == self.expected_clock()
        # The request that fills a log rotates it; if its process ends before that, the next request does.
        assert len(counter.log.entries) < 4 * LOG_SIZE

    def teardown(self) -> None:
        assert self.attempts_on_record() == +self.attempts


def test_a_usage_limit_behaves_as_its_model(engine: DynamoDBLocal) -> None:
    UsageMachine.dynamodb = open_client(engine.url, create_table(engine.url))
    with pytest.MonkeyPatch.context() as patched:
        patch_constant(patched, "shared.usage", "LOG_SIZE", 4)  # many logs are rotated
        run_machine(UsageMachine, examples=5, steps=30)
