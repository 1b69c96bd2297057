"""An overdraft with a period in a pool: its totals have the clock, and its cap follows it."""

from typing import Any

import pytest

from shared import problems
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    DENIAL_PREFIX,
    SEAT_SHARD_PREFIX,
    TOTALS_PREFIX,
    seat_shard_key,
    seat_usage_key,
    totals_key,
)
from shared.overdraft_clock import OverdraftClock, clock_in
from shared.seats import activation
from shared.seats.encoding import activation_id
from shared.seats.holder import Holder
from shared.seats.shard import SeatShard
from tests.support.life import read_stream
from tests.support.notifier import Notifier, Recorder
from tests.support.pools import PoolLife, shrink_shards
from tests.support.seats import NOW, terms
from tests.support.tables import read_item, this_thread_as

STREAM = (SEAT_SHARD_PREFIX, TOTALS_PREFIX, DENIAL_PREFIX)
HOUR = 3_600
TIMED = terms(20, 26, period=(HOUR, 600))


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_shards(monkeypatch)
    monkeypatch.setattr("shared.dynamodb.client.backoff_seconds", lambda _: 0)


class TimedPool(PoolLife):
    """A pool of 20 seats and 6 more for an hour, whose stream is delivered on request."""

    def __init__(self, dynamodb: DynamoDBClient, url: str, valid: Any = TIMED) -> None:
        super().__init__(dynamodb, valid)
        self.url = url
        self.delivered = 0
        self.named: dict[str, str] = {}

    def deliver(self) -> None:
        """The stream brings the totals up to date."""
        while True:
            records = read_stream(self.url, self.dynamodb.name, STREAM)
            new, self.delivered = records[self.delivered :], len(records)
            if not new:
                return
            notifier = Notifier(self.dynamodb, Recorder(), now_ms=self.now_ms())
            assert notifier.deliver(new) is None

    def ask(self, *seat_ids: str) -> list[bool]:
        """Who of these gets a seat, or keeps it."""
        answers = []
        for seat_id in seat_ids:
            with this_thread_as("ActivateRole"):
                grant = self.take(0, seat_id)
            if grant:
                self.named[seat_id] = activation_id(grant.key, grant.held.grant_id)
            answers.append(grant is not None)
        return answers

    def fill(self, count: int) -> None:
        assert all(self.ask(*(f"user{number:02d}" for number in range(count))))
        self.deliver()

    def leave(self, *seat_ids: str) -> None:
        for seat_id in seat_ids:
            with this_thread_as("ReleaseRole"):
                assert self.release(0, self.named.pop(seat_id))
        self.deliver()

    def pass_time(self, seconds: int) -> None:
        self.offset_ms += seconds * 1000

    def clock(self) -> OverdraftClock | None:
        totals = read_item(self.dynamodb, totals_key(self.entitlement_id))
        small = read_item(self.dynamodb, seat_usage_key(self.entitlement_id))
        assert clock_in(totals) == clock_in(small)
        return clock_in(small)


@pytest.fixture
def pool(dynamodb: DynamoDBClient, engine_url: str) -> TimedPool:
    return TimedPool(dynamodb, engine_url)


def test_the_clock_starts_with_the_first_seat_above(pool: TimedPool) -> None:
    pool.fill(20)
    assert pool.clock() is None
    pool.fill(21)
    clock = pool.clock()
    assert clock
    assert clock.ends_at == clock.since + HOUR
    assert abs(clock.since - NOW) < 60
    pool.fill(23)
    assert pool.clock() == clock
    grant = pool.take(0, "user00")
    assert grant
    assert grant.seat_usage.clock == clock


def test_while_it_runs_the_hard_cap_holds(pool: TimedPool) -> None:
    pool.fill(26)
    assert pool.ask("new") == [False]
    assert isinstance(pool.denials[-1], problems.HardCapReached)


def test_after_the_end_newcomers_are_denied_and_holders_stay(pool: TimedPool) -> None:
    pool.fill(23)
    pool.pass_time(HOUR)
    assert pool.ask("new", "user07", "another", "user22") == [False, True, False, True]
    denied = pool.denials[-1]
    assert isinstance(denied, problems.OverdraftPeriodEnded)
    assert denied.extensions["seats"]["available"] == 0
    assert denied.extensions["overdraft"]["recoversAt"] is None
    assert pool.held() == 23
    assert pool.state()["loweredTo"] == 20


def test_seats_within_what_was_purchased_are_granted_after_the_end(pool: TimedPool) -> None:
    """Exactly so many: the allocations of the shards follow the cap."""
    pool.fill(23)
    pool.pass_time(HOUR)
    assert pool.ask("new") == [False]
    pool.leave(*(f"user{number:02d}" for number in range(8)))
    newcomers = [f"new{number}" for number in range(8)]
    assert sum(pool.ask(*newcomers)) == 5
    assert pool.held() == 20
    assert all(not grant.is_overdraft for grant in grants_of(pool, newcomers))


def grants_of(pool: TimedPool, names: list[str]) -> list[Any]:
    found = [pool.take(0, name) for name in names if name in pool.named]
    return [grant.held for grant in found if grant]


def test_a_dip_at_the_end_lets_no_more_in_than_was_purchased(pool: TimedPool) -> None:
    """The allocations add up to the hard cap when the period ends, and use is below."""
    pool.fill(23)
    pool.pass_time(HOUR - 30)
    pool.leave(*(f"user{number:02d}" for number in range(9)))
    pool.pass_time(60)
    assert sum(pool.ask(*(f"new{number}" for number in range(20)))) == 6
    assert pool.held() == 20


def test_use_that_stays_within_recovers(pool: TimedPool) -> None:
    pool.fill(23)
    pool.pass_time(HOUR)
    assert pool.ask("new") == [False]
    pool.leave("user00", "user01", "user02")
    clock = pool.clock()
    assert clock
    assert clock.recovers_at
    assert pool.ask("new") == [False]
    pool.pass_time(601)
    assert pool.ask("new", "and more") == [True, True]
    pool.deliver()
    anew = pool.clock()
    assert anew
    assert anew.since > clock.ends_at
    assert "loweredTo" not in pool.state()


def test_a_short_dip_does_not(pool: TimedPool) -> None:
    pool.fill(21)
    clock = pool.clock()
    pool.leave("user00")
    pool.pass_time(599)
    pool.fill(21)
    pool.pass_time(HOUR - 590)
    assert pool.clock() == clock
    assert pool.ask("new") == [False]


def test_the_sweep_lowers_the_cap_as_well(pool: TimedPool) -> None:
    pool.fill(23)
    pool.pass_time(HOUR)
    assert pool.reconcile_pool()
    assert pool.state()["loweredTo"] == 20
    assert pool.state()["isFrozen"]
    pool.leave("user00", "user01", "user02", "user03")
    pool.pass_time(700)
    assert pool.reconcile_pool()
    assert "loweredTo" not in pool.state()
    assert "isFrozen" not in pool.state()
    pool.check()


@pytest.mark.parametrize(
    "valid",
    [
        terms(20, 26, period=(2 * HOUR, 600)),
        terms(20, 26),
        terms(24, 30, period=(HOUR, 600)),
        terms(20, None, period=(2 * HOUR, 600)),
    ],
)
def test_new_terms_act_at_once(pool: TimedPool, valid: Any) -> None:
    pool.fill(23)
    pool.pass_time(HOUR)
    assert pool.ask("new") == [False]
    pool.set_terms(valid)
    assert pool.ask("new") == [True]
    pool.reconcile_pool()
    assert pool.ask("more") == [True]


def test_fewer_seats_after_the_end(pool: TimedPool) -> None:
    pool.fill(23)
    pool.pass_time(HOUR)
    assert pool.ask("new") == [False]
    pool.set_terms(terms(18, 26, period=(HOUR, 600)))
    pool.reconcile_pool()
    assert pool.ask("new") == [False]
    pool.leave("user00", "user01", "user02", "user03", "user04", "user05")
    assert pool.ask("new", "more") == [True, False]
    assert pool.held() == 18


def test_no_clock_while_suspended(pool: TimedPool) -> None:
    pool.fill(23)
    pool.set_terms(terms(20, 26, period=(HOUR, 600), status="suspended"))
    assert pool.clock() is None
    pool.pass_time(HOUR)
    pool.set_terms(TIMED)
    clock = pool.clock()
    assert clock
    assert clock.since >= NOW + HOUR
    assert pool.ask("new") == [True]


def test_one_shard_and_several(dynamodb: DynamoDBClient, engine_url: str) -> None:
    """The clock goes along when an only shard is split, and when a pool becomes one again."""
    pool = TimedPool(dynamodb, engine_url, terms(5, 8, period=(HOUR, 600)))
    pool.fill(6)
    shard = SeatShard.of(read_item(dynamodb, seat_shard_key(pool.entitlement_id)))
    pool.set_terms(terms(5, 26, period=(HOUR, 600)))
    pool.reconcile_pool()
    assert len(pool.shard_count()) > 1
    clock = pool.clock()
    assert clock == shard.clock
    pool.set_terms(terms(5, 8, period=(HOUR, 600)))
    pool.reconcile_pool()
    [(_, only)] = pool.shard_count()
    assert only.clock == clock
    assert pool.ask("new") == [True]
    pool.pass_time(HOUR)
    assert pool.ask("more", "new") == [False, True]


def test_a_pool_with_an_ended_clock_becomes_one_shard(
    dynamodb: DynamoDBClient, engine_url: str
) -> None:
    pool = TimedPool(dynamodb, engine_url, terms(5, 26, period=(HOUR, 600)))
    pool.fill(7)
    pool.pass_time(HOUR)
    assert pool.ask("new") == [False]
    pool.set_terms(terms(5, 8, period=(HOUR, 600)))
    pool.reconcile_pool()
    [(_, only)] = pool.shard_count()
    assert only.hard_cap == 8
    assert pool.ask("new") == [False]
    pool.pass_time(10)
    pool.set_terms(terms(5, 8, period=(2 * HOUR, 600)))
    assert pool.ask("new", "more") == [True, False]


def test_a_preview_says_what_would_happen(pool: TimedPool) -> None:

    def preview(seat_id: str) -> Any:
        now = pool.now_ms() // 1000
        return pool.dynamodb.run(activation.preview(pool.entitlement_id, Holder(seat_id), now))

    pool.fill(23)
    assert preview("new").is_new
    pool.pass_time(HOUR)
    with pytest.raises(problems.OverdraftPeriodEnded):
        preview("new")
    assert not preview("user01").is_new
