"""A pool whose limits change, its vendor and its clients: for the tests of several folders."""

import itertools
import random
from typing import Any

import pytest

from shared import problems
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key, pool_key, seat_shard_key
from shared.dynamodb.requests import Accepted, BatchGet, Get, Operation, Pause, Transact
from shared.seats import activation, reconcile
from shared.seats.cache import PoolCache
from shared.seats.encoding import GrantIds
from shared.seats.holder import Holder
from shared.seats.pending import ActivationResult
from shared.seats.placement import SLOTS, Place
from shared.seats.release import release_grant
from shared.seats.shard import SeatShard
from shared.seats.terms import (
    SeatTerms,
    closing_writes,
    needs_pool,
    new_pool_put,
    new_shard_put,
    terms_writes,
    total_allocation,
)
from tests.support.patching import patch_constant
from tests.support.seats import NOW_MS, new_id
from tests.support.tables import read_item, this_thread_as

CLIENTS = 16


def shrink_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use shards of 6 seats, and 8 on an only shard: those of 96 would need thousands of calls."""
    patch_constant(monkeypatch, "shared.seats", "SHARD_MEAN_SEATS", 6)
    patch_constant(monkeypatch, "shared.seats", "SHARD_SEATS", 8)


class PoolLife:
    """A pool, its vendor, and clients."""

    def __init__(self, dynamodb: DynamoDBClient, valid: SeatTerms) -> None:
        self.dynamodb, self.entitlement_id, self.terms = dynamodb, new_id(), valid
        self._numbers = itertools.count()
        self._grant_ids = [GrantIds(salt) for salt in range(CLIENTS)]
        self._memories = [PoolCache() for _ in range(CLIENTS)]
        self.offset_ms = 0
        self.errors: list[str] = []
        self.denials: list[problems.Denied] = []
        change = self.change()
        writes = [new_shard_put(self.entitlement_id, valid, change)]
        if needs_pool(valid):
            writes.append(new_pool_put(self.entitlement_id, change))
        dynamodb.execute(Transact(tuple(writes)))
        self.reconcile_pool()

    def now_ms(self) -> int:
        """A little later at every look: work that makes no progress runs out of time."""
        self.offset_ms += 1
        return NOW_MS + self.offset_ms

    def change(self) -> Change:
        return Change("key_test", f"req-{next(self._numbers)}", self.now_ms())

    def reconcile_pool(self, seconds: int = 60, dynamodb: DynamoDBClient | None = None) -> bool:
        until = self.now_ms() + seconds * 1000
        work = reconcile.reconcile_pool(self.entitlement_id, self.change(), until)
        with this_thread_as("ReleaseRole"):
            done: bool = (dynamodb or self.dynamodb).run(work, self.now_ms)
        return done

    def reconcile_all(self, chance: random.Random, step_ms: int) -> None:
        """Until it is done, with much time or little."""
        for _ in range(1000):
            if self.reconcile_pool(seconds=chance.choice((1, 60))):
                return
            self.offset_ms += step_ms
        pytest.fail("the work on a pool does not end")

    def set_terms(self, valid: SeatTerms, kind: str = "updated") -> None:
        self.dynamodb.run(self._set_terms(valid, kind), self.now_ms)

    def _set_terms(self, valid: SeatTerms, kind: str) -> Operation[None]:
        for attempt in range(1, 40):
            shard = SeatShard.of((yield Get(seat_shard_key(self.entitlement_id))))
            change = self.change()
            if kind == "updated":
                writes = yield from terms_writes(
                    self.entitlement_id,
                    shard,
                    valid,
                    change,
                    lease_changed=self.terms.lease != valid.lease,
                )
            else:
                writes = yield from closing_writes(self.entitlement_id, shard, valid, change, kind)
            if isinstance((yield Transact(tuple(writes))), Accepted):
                self.terms = valid
                return
            yield Pause(attempt)
        raise problems.Contention

    def take(self, worker: int, seat_id: str) -> ActivationResult | None:
        change = self.change()
        operation = activation.take(
            self.entitlement_id,
            Holder(seat_id),
            change,
            self._grant_ids[worker].next(change.now_ms),
            cache=self._memories[worker] if worker % 2 else None,
        )
        try:
            grant: ActivationResult = self.dynamodb.run(operation, self.now_ms)
        except problems.Denied as denied:
            self.denials.append(denied)
            return None
        return grant

    def release(self, worker: int, named: str) -> bool:
        cache = self._memories[worker] if worker % 2 else None
        operation = release_grant(self.entitlement_id, named, self.change(), cache=cache)
        released: bool = self.dynamodb.run(operation, self.now_ms)
        return released

    def state(self) -> dict[str, Any]:
        return self.dynamodb.execute(Get(pool_key(self.entitlement_id))) or {}

    def shard_count(self) -> list[tuple[Key, SeatShard]]:
        first = read_item(self.dynamodb, seat_shard_key(self.entitlement_id))
        count = first.get("pages") or 1
        step = SLOTS // count
        keys = tuple(seat_shard_key(self.entitlement_id, n * step) for n in range(count))
        found = self.dynamodb.execute(BatchGet(keys))
        return [(key, SeatShard.of(item)) for key, item in found.items()]

    def held(self) -> int:
        return sum(shard.used for _, shard in self.shard_count())

    def check(self) -> None:
        """What must hold when nothing is under way."""
        state, shard_count = self.state(), self.shard_count()
        cap = self.terms.hard_cap
        used = sum(shard.used for _, shard in shard_count)
        count = len(shard_count)
        keys = [key for _, shard in shard_count for key in shard.seats]
        assert len(keys) == len(set(keys))
        assert not state.get("isPending")
        assert not state.get("step")
        if count == 1:
            assert not state.get("pages")
            [(_, shard)] = shard_count
            assert (shard.purchased, shard.hard_cap) == (self.terms.purchased, cap)
            return
        assert state["pages"] == count
        allowed = sum(shard.allocation or 0 for _, shard in shard_count)
        assert allowed + state["bank"] == total_allocation(cap), "allowance was lost, or made"
        for key, shard in shard_count:
            assert shard.used <= (shard.allocation or 0)
            for held in shard.seats:
                assert Place.of(self.entitlement_id, held, count).key == key
        assert state["bank"] <= 0 or "roomKey" in state, "nobody finds what is in the bank"
        assert (state["bank"] < 0) == (cap is not None and used > cap)
        assert all(shard.is_draining == bool(state.get("isFrozen")) for _, shard in shard_count)
        assert bool(state.get("isFrozen")) == (state["bank"] < 0)
