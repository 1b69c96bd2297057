"""Pools of 100 to 100,000 seats on DynamoDB Local: what a grant and a release cost, and the totals.

Shards are filled as hashing fills them; nine tenths of the cap are held, or all of it.
"""

import itertools
from typing import Any

from benchmarks.new_pool import new_shards
from functions.notify import seat_totals
from shared import problems
from shared.audit import Change
from shared.clock import EPOCH
from shared.dynamodb.keys import Key
from shared.dynamodb.patterns import read_existing
from shared.dynamodb.requests import BatchPut
from shared.seats import activation, totals
from shared.seats.cache import PoolCache
from shared.seats.encoding import activation_id, encode_grant, seat_key
from shared.seats.holder import Holder
from shared.seats.pending import ActivationResult
from shared.seats.placement import SLOTS, Place, wanted_shard_count
from shared.seats.release import release_grant
from shared.seats.shard import SHARD_SEATS, SeatShard
from shared.seats.terms import SeatTerms, new_shard_put
from shared.seats.totals import ShardVersion

CAPS = (100, 10_000, 100_000)
LEASE = 8 * 3600
# Measured on so many people each: what it costs depends on how full their shard is.
PEOPLE = 20
# How often every shard has changed before.
AGE = 100_000
# Where changes are counted one by one, and in batches.
TOLD = (1, totals.CHANGES_PER_WRITE)


def measure(bench: Any) -> dict[str, float]:
    """Round trips and write units: of each operation, and of counting it into the totals."""
    results: dict[str, float] = {}
    for cap in CAPS:
        results |= {f"pool.{name}.{cap}": value for name, value in _measure(bench, cap).items()}
        if cap > SHARD_SEATS:
            results |= {f"pool.{name}.{cap}": value for name, value in _sum(bench, cap).items()}
    return results


class _Pool:
    """A pool of which so many seats are held, and a process that has seen it."""

    def __init__(self, bench: Any, cap: int, held: int) -> None:
        self.bench = bench
        self.cap = cap
        self.shard_count = wanted_shard_count(cap, cap, 0)
        self.entitlement_id = f"ent_benchpool{cap}of{held}"
        self.cache = PoolCache()
        change = bench.change()
        terms = SeatTerms(cap, cap, "active", 0, None, LEASE)
        seats: dict[Key, dict[str, int]] = {}
        grant_id = (change.now - EPOCH) * 100_000
        value = encode_grant(grant_id, is_overdraft=False, now=change.now) + LEASE
        for number in range(held):
            key = seat_key(self.entitlement_id, f"user{number}")
            seats.setdefault(self.place(key).key, {})[key] = value
        if self.shard_count == 1:
            new = new_shard_put(self.entitlement_id, terms, change)
            items: list[Any] = [(new.key, new.item)]
        else:
            items = new_shards(self.entitlement_id, terms, self.shard_count, change)
        puts = [(key, self._filled(key, item, seats, held)) for key, item in items]
        bench.dynamodb.execute(BatchPut(tuple(puts)))

    def place(self, key: str) -> Place:
        return Place.of(
            self.entitlement_id, key, self.shard_count if self.shard_count > 1 else None
        )

    def _filled(self, key: Key, item: Any, seats: Any, held: int) -> Any:
        if "seats" not in item:
            return {**item, "used": held}
        its = seats.get(key, {})
        item = {**item, "seats": its, "earliest": self.bench.change().now + LEASE}
        if self.shard_count > 1:
            room = max(0, item["allowance"] - len(its)) if held < self.cap else 0
            item["allowance"] = len(its) + room
            if not room:
                item.pop("roomKey", None)
        return {name: each for name, each in item.items() if each is not None}

    def shard(self, seat_id: str) -> SeatShard:
        place = self.place(seat_key(self.entitlement_id, seat_id))
        return SeatShard.of(self.bench.dynamodb.run(read_existing(place.key)))

    def take(self, seat_id: str, change: Change | None = None) -> Any:
        change = change or self.bench.change()
        holder = Holder(seat_id, "Alice Example", {"device": "mbp-13"})
        grant_id = self.bench.grant_ids.next(change.now_ms)
        return self.bench.dynamodb.run(
            activation.take(self.entitlement_id, holder, change, grant_id, cache=self.cache),
            lambda: change.now_ms,
        )

    def deny(self, seat_id: str) -> None:
        try:
            self.take(seat_id)
        except problems.HardCapReached:
            return
        raise AssertionError("all seats are held, and one was given")

    def release(self, grant: ActivationResult) -> Any:
        named = activation_id(grant.key, grant.held.grant_id)
        operation = release_grant(self.entitlement_id, named, self.bench.change(), cache=self.cache)
        return self.bench.dynamodb.run(operation)


def _measure(bench: Any, cap: int) -> dict[str, float]:
    busy = _Pool(bench, cap, cap * 9 // 10)
    # People on whose shard a seat is free: that is what is measured.
    names = [f"new{number}" for number in range(PEOPLE * 20)]
    names = [name for name in names if _has_room(busy.shard(name))][: min(PEOPLE, cap // 10)]
    busy.take("user0")  # a process knows the pool once it has seen it
    grants: list[ActivationResult] = []
    results = _most(
        bench, "grant", [lambda who=who: grants.append(busy.take(who)) for who in names]
    )
    held = [f"user{number}" for number in range(1, PEOPLE)]
    results |= _most(bench, "renewal", [lambda who=who: busy.take(who) for who in held])
    late = bench.change(bench.change().now_ms + 5 * 3600 * 1000)
    busy.take("user0", late)
    results |= _most(
        bench, "renewal.written", [lambda who=who: busy.take(who, late) for who in held]
    )
    results |= _most(bench, "release", [lambda each=each: busy.release(each) for each in grants])
    full = _Pool(bench, cap, cap)
    full.take("user0")
    turned_away = [lambda n=n: full.deny(f"new{n}") for n in range(PEOPLE)]
    return results | _most(bench, "denial", turned_away)


def _has_room(shard: SeatShard) -> bool:
    return shard.is_only_shard or shard.free > 0


def _most(bench: Any, name: str, works: list[Any]) -> dict[str, float]:
    """The most that any of some works cost."""
    counted = [bench.count(work) for work in works]
    return {
        f"{name}.round_trips": max(calls for calls, _ in counted),
        f"{name}.write_units": max(units for _, units in counted),
    }


def _sum(bench: Any, cap: int) -> dict[str, float]:
    """What counting a change into the totals costs: alone, and in a batch."""
    entitlement_id = f"ent_benchsum{cap}"
    shard_count = wanted_shard_count(cap, cap, 0)
    numbers = [index * (SLOTS // shard_count) for index in range(shard_count)]
    limits = {"seatCount": cap, "hardCap": cap, "terms": {"status": "active", "validFrom": 0}}
    terms = SeatTerms(cap, cap, "active", 0, None, LEASE)
    first = SeatShard.of(dict(new_shard_put(entitlement_id, terms, bench.change()).item))
    bench.dynamodb.execute(
        totals.first_totals(entitlement_id, first, 1, limits, bench.change().now_ms)
    )
    seqs = itertools.count(AGE)

    def count(changes: int) -> None:
        seq, made = next(seqs), bench.change()
        seat = {"kind": "activated", "key": "x" * 12, "overdraft": False, "at": made.now_ms}
        measured = made.record("activated") | {"seats": [seat]}
        before = seq - 1 if seq > AGE else 0
        bench.dynamodb.run(
            seat_totals.count(
                entitlement_id,
                [ShardVersion(shard, seq, before, 60, measured) for shard in numbers[:changes]],
            )
        )

    count(shard_count)
    results = {}
    for changes in TOLD:
        count(changes)  # a write is charged by the larger of the items before and after it
        _, units = bench.count(lambda changes=changes: count(changes))
        results[f"sum.write_units_per_change_of_{changes}"] = units / changes
    return results
