"""Pools of 1, 3 and 48 shards against a model: any order of events, with faults and new limits."""

import itertools
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.clock import EPOCH
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key, denial_partitions, seat_shard_key
from shared.dynamodb.requests import BatchGet, Query
from shared.seats import activation, leases, reconcile
from shared.seats.cache import PoolCache
from shared.seats.encoding import activation_id, decode_grant, parse_activation_id, seat_key
from shared.seats.holder import Holder
from shared.seats.pending import ActivationResult
from shared.seats.placement import SLOTS, Place
from shared.seats.release import release_grant
from shared.seats.resharding import may_hold_seats
from shared.seats.shard import CLOCK_GRACE, SeatShard
from shared.seats.terms import total_allocation
from tests.support.machine import Lost, drive, run_machine
from tests.support.patching import patch_constant
from tests.support.pools import PoolLife
from tests.support.seats import terms
from tests.support.tables import create_table, open_client

LEASES = (None, 600, 3600)


class Held(NamedTuple):
    grant_id: int
    end: int | None

    def is_over(self, now: int) -> bool:
        return self.end is not None and self.end + CLOCK_GRACE <= now


class PoolMachine(RuleBasedStateMachine):
    """Rules are what can happen to a pool; `caps` are its hard caps, the first one to begin with.

    While a change of limits is under way, any cap may hold that did since it began.
    """

    dynamodb: DynamoDBClient
    caps: tuple[int | None, ...]
    activations = Bundle("activations")

    def __init__(self) -> None:
        super().__init__()
        self.lease: int | None = 600
        self.life = PoolLife(self.dynamodb, terms(2, self.caps[0], lease=self.lease))
        self.in_force: list[int | None] = [self.caps[0]]
        self.held: dict[str, Held] = {}
        self.grant_ids = itertools.count(1)
        self.names = itertools.count(1)
        self.cache = PoolCache()
        self.denials = 0
        self.people = set[str]()

    @property
    def now(self) -> int:
        return self.life.now_ms() // 1000

    def drive(self, operation: Any, lose: int | None = None, crash: int | None = None) -> Any:
        return drive(self.dynamodb, operation, lambda: self.now, lose, crash)

    def key_of(self, seat_id: str) -> str:
        return seat_key(self.life.entitlement_id, seat_id)

    def live(self) -> int:
        now = self.now
        return sum(not held.is_over(now) for held in self.held.values())

    # --- What can happen ------------------------------------------------------------------------

    @initialize(count=st.sampled_from([0, 3, 10**6]))
    def many_ask_at_first(self, count: int) -> None:
        self.many_ask(count)

    @rule(count=st.integers(1, 30))
    def many_ask(self, count: int) -> None:
        """New people; a million stands for: as many as fit."""
        for _ in range(min(count, (self.in_force[-1] or 60) + 3)):
            self.take(f"new{next(self.names)}")

    @rule(
        target=activations,
        seat_id=st.sampled_from([f"user{number}" for number in range(12)]),
        lose=st.one_of(st.none(), st.integers(0, 4)),
        knows=st.booleans(),
    )
    def ask(self, seat_id: str, lose: int | None, knows: bool) -> Any:
        named = self.take(seat_id, lose=lose, knows=knows)
        return multiple(named) if named else multiple()

    def take(self, seat_id: str, *, lose: int | None = None, knows: bool = True) -> str | None:
        self.people.add(seat_id)
        before, held = self.live(), self.held.get(self.key_of(seat_id))
        operation, grant_id = self.asking(seat_id, knows=knows)
        try:
            grant: ActivationResult = self.drive(operation, lose=lose)
        except problems.HardCapReached:
            self.denials += 1
            assert held is None or held.is_over(self.now), "who holds a seat was denied it"
            lowest = min(total_allocation(cap) for cap in self.in_force)
            assert before >= lowest, "denied although a seat was free"
            return None
        self.granted(seat_id, grant_id, grant, before)
        return activation_id(grant.key, grant.held.grant_id)

    def asking(self, seat_id: str, *, knows: bool = True) -> tuple[Any, int]:
        grant_id = (self.now - EPOCH) * 100_000 + next(self.grant_ids)
        cache = self.cache if knows else None
        change = self.life.change()
        return activation.take(
            self.life.entitlement_id, Holder(seat_id), change, grant_id, cache=cache
        ), grant_id

    def granted(self, seat_id: str, grant_id: int, grant: ActivationResult, before: int) -> None:
        held = self.held.get(self.key_of(seat_id))
        assert grant.is_new == (grant.held.grant_id == grant_id)
        if grant.is_new:
            assert held is None or held.is_over(self.now)
            most = max(total_allocation(cap) for cap in self.in_force)
            assert before < most, "more were granted than the cap"
        else:
            assert held is not None
            assert grant.held.grant_id == held.grant_id
        self.held[self.key_of(seat_id)] = Held(grant.held.grant_id, grant.held.lease_end)

    @rule(
        target=activations,
        seat_id=st.sampled_from([f"user{number}" for number in range(12)]),
        crash=st.integers(0, 4),
    )
    def ask_crash_and_ask_again(self, seat_id: str, crash: int) -> Any:
        operation, grant_id = self.asking(seat_id)
        before = self.live()
        try:
            grant = self.drive(operation, crash=crash)
        except Lost:
            on_shards = self.on_shards().get(self.key_of(seat_id))
            if on_shards and on_shards.grant_id == grant_id:
                self.held[self.key_of(seat_id)] = on_shards
        except problems.HardCapReached:
            self.denials += 1
        else:
            self.granted(seat_id, grant_id, grant, before)
        named = self.take(seat_id)
        return multiple(named) if named else multiple()

    @rule(named=activations, lose=st.sampled_from([None, 0, 1]), knows=st.booleans())
    def release(self, named: str, lose: int | None, knows: bool) -> None:
        """Any grant there ever was: the current one, a repeated or a late release."""
        key, grant_id = parse_activation_id(named)
        was = self.held.get(key)
        cache = self.cache if knows else None
        released = self.drive(
            release_grant(self.life.entitlement_id, named, self.life.change(), cache=cache),
            lose=lose,
        )
        if was and was.grant_id == grant_id:
            assert released or lose is not None or was.is_over(self.now)
            del self.held[key]
        else:
            assert not released, "a late release freed a newer grant"

    @rule(seconds=st.sampled_from([1, 6, 299, 606, 3606]))
    def time_passes(self, seconds: int) -> None:
        self.life.offset_ms += seconds * 1000

    @rule(number=st.integers(0, 47))
    def all_but_one_page_run_out(self, number: int) -> None:
        """Its people renew in time; then somebody comes whose shard is theirs."""
        if self.lease is None or len({*self.in_force}) > 1:
            return
        places = sorted(self.shard_count())
        key = places[number % len(places)]
        self.life.offset_ms += self.lease * 600
        for name in [name for name in sorted(self.people) if self.place(name) == key]:
            if self.key_of(name) in self.held:
                self.take(name)
        self.life.offset_ms += self.lease * 500
        self.take(next(n for n in map("late{}".format, self.names) if self.place(n) == key))

    def place(self, seat_id: str) -> Key:
        shard_count = self.life.state().get("pages")
        return Place.of(self.life.entitlement_id, self.key_of(seat_id), shard_count).key

    @rule()
    def free_what_ran_out(self) -> None:
        self.drive(leases.free_due(self.life.entitlement_id, self.life.change(), 10**15))

    @rule(number=st.integers(0, 20), lease=st.sampled_from(LEASES))
    def limits_change(self, number: int, lease: int | None) -> None:
        cap = self.caps[number % len(self.caps)]
        self.life.set_terms(terms(2, cap, lease=lease))
        self.in_force.append(cap)
        if lease != self.lease:
            self.lease = lease

    @rule(crash=st.one_of(st.none(), st.integers(0, 40)), lose=st.sampled_from([None, 1, 3]))
    def work_on_it(self, crash: int | None, lose: int | None) -> None:
        """The work that a change has left; it may end between any two of its calls."""
        change = self.life.change()
        work = reconcile.reconcile_pool(self.life.entitlement_id, change, change.now_ms + 60_000)
        try:
            is_done = self.drive(work, lose=lose, crash=crash)
        except Lost:
            self.life.offset_ms += reconcile.POOL_LOCK_MS + 1
            return
        if is_done or not self.life.state():
            self.in_force = [self.life.terms.hard_cap]

    # --- What must always hold ------------------------------------------------------------------

    def shard_count(self) -> dict[Key, SeatShard]:
        """All that may have seats, also halfway from one number of shards to another."""
        found: dict[Key, Any] = {}
        numbers = [n * (SLOTS // 48) for n in range(48)]
        numbers += [n * (SLOTS // 64) for n in range(64)]
        for part in (numbers[:50], numbers[50:]):
            keys = tuple({seat_shard_key(self.life.entitlement_id, number) for number in part})
            found |= self.dynamodb.execute(BatchGet(keys))
        return {k: SeatShard.of(item) for k, item in found.items() if may_hold_seats(k, item)}

    def on_shards(self) -> dict[str, Held]:
        seats: dict[str, Held] = {}
        for shard in self.shard_count().values():
            for key, value in shard.seats.items():
                assert key not in seats, "a seat is on two shards"
                seat = decode_grant(value)
                seats[key] = Held(seat.grant_id, seat.lease_end)
        return seats

    @invariant()
    def pages_are_the_model(self) -> None:
        now, seats = self.now, self.on_shards()
        for key, held in self.held.items():
            if not held.is_over(now):
                assert seats.get(key, held).grant_id == held.grant_id
                assert key in seats, "a seat that is held was lost"
        for key, seat in seats.items():
            assert key in self.held, "a seat is held that nobody was given"
            assert self.held[key].grant_id == seat.grant_id
        # What is gone expired; what a renewal has moved is as the shard says.
        self.held = {key: seats[key] for key in self.held if key in seats}

    @invariant()
    def allowances_are_the_cap(self) -> None:
        state, shard_count = self.life.state(), self.shard_count().values()
        if state.get("pages"):
            allowed = sum(shard.allocation or 0 for shard in shard_count)
            cap = self.life.terms.hard_cap
            assert allowed + state["bank"] == total_allocation(cap)
            assert all(shard.used <= (shard.allocation or 0) for shard in shard_count)

    def teardown(self) -> None:
        self.life.offset_ms += reconcile.POOL_LOCK_MS + 1
        assert self.life.reconcile_pool() or not self.life.state()
        self.life.check()
        recorded = 0
        for pk in denial_partitions(self.life.entitlement_id):
            found = self.dynamodb.execute(Query("pk = :pk", {":pk": pk}))
            recorded += sum(item["attempts"] for item in found.items)
        assert recorded >= self.denials, "a denial was answered that is not on record"


# Hard caps, seats of a shard on the average, of the only shard at most.
POOLS: dict[str, tuple[tuple[int | None, ...], int, int]] = {
    "one page": ((5, 3, 8), 6, 8),
    "three shards": ((18, 14, 17, 9), 6, 8),
    "48 shards": ((96, 90, 80), 2, 8),
    "from one to many and back": ((8, 18, 5, 40, None, 96, 3), 4, 8),
}


@pytest.mark.parametrize("shard_count", POOLS)
def test_a_pool_behaves_as_its_model(
    engine: DynamoDBLocal, monkeypatch: pytest.MonkeyPatch, shard_count: str
) -> None:
    caps, mean, alone = POOLS[shard_count]
    patch_constant(monkeypatch, "shared.seats", "SHARD_MEAN_SEATS", mean)
    patch_constant(monkeypatch, "shared.seats", "SHARD_SEATS", alone)
    dynamodb = open_client(engine.url, create_table(engine.url))
    machine = type("Machine", (PoolMachine,), {"dynamodb": dynamodb, "caps": caps})
    run_machine(machine, examples=1 if "48" in shard_count else 2, steps=30)
