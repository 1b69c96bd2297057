"""A pool of three shards, broken at every one of a request's calls; then the client asks again."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.new_pool import new_shards
from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import denial_partitions, seat_shard_key
from shared.dynamodb.requests import BatchGet, BatchPut, Query, Update
from shared.seats import activation
from shared.seats.cache import CachedPool, PoolCache
from shared.seats.encoding import activation_id, seat_key
from shared.seats.holder import Holder
from shared.seats.pending import ActivationResult
from shared.seats.placement import SLOTS, Place
from shared.seats.release import release_grant
from shared.seats.seat_usage import read_seat_usage
from shared.seats.shard import SeatShard
from tests.support.sampling import IS_SOAK
from tests.support.seats import NOW_MS, new_id, terms
from tests.support.tables import Crash, create_table, faulty_client, open_client

PAGES, CAP, LEASE = 3, 9, 600
_numbers = itertools.count(1)


class Bench:
    """A pool in which seats are asked for, with answers that may be lost."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.dynamodb = open_client(url, name)
        self.entitlement_id = new_id()
        self.now_ms = NOW_MS
        items = new_shards(self.entitlement_id, terms(CAP, CAP, lease=LEASE), PAGES, self.change())
        self.dynamodb.execute(BatchPut(tuple(items)))
        self.cached = CachedPool(PAGES, self.dynamodb.run(read_seat_usage(self.entitlement_id, 0)))

    def change(self) -> Change:
        return Change("key_test", f"req-{next(_numbers)}", self.now_ms)

    def take(
        self, seat_id: str, dynamodb: DynamoDBClient | None = None, *, knows: bool = True
    ) -> ActivationResult:
        change = self.change()
        cache = PoolCache()
        if knows:
            cache.note(self.entitlement_id, self.cached, self.now_ms)
        operation = activation.take(
            self.entitlement_id, Holder(seat_id), change, next(_numbers), cache=cache
        )
        grant: ActivationResult = (dynamodb or self.dynamodb).run(operation, lambda: self.now_ms)
        return grant

    def release(self, named: str, dynamodb: DynamoDBClient | None = None) -> bool:
        operation = release_grant(self.entitlement_id, named, self.change())
        released: bool = (dynamodb or self.dynamodb).run(operation, lambda: self.now_ms)
        return released

    def names(self, number: int) -> list[str]:
        """People whose seats are all on one shard."""
        wanted = number * (SLOTS // PAGES)
        return [
            name
            for name in (f"user{n}" for n in range(200))
            if Place.of(self.entitlement_id, seat_key(self.entitlement_id, name), PAGES).number
            == wanted
        ]

    def shard_count(self) -> list[SeatShard]:
        step = SLOTS // PAGES
        keys = tuple(seat_shard_key(self.entitlement_id, n * step) for n in range(PAGES))
        return [SeatShard.of(item) for item in self.dynamodb.execute(BatchGet(keys)).values()]

    def attempts(self) -> int:
        found = [
            self.dynamodb.execute(Query("pk = :pk", {":pk": pk}))
            for pk in denial_partitions(self.entitlement_id)
        ]
        return sum(item["attempts"] for each in found for item in each.items)

    def check(self, held: int) -> None:
        shard_count = self.shard_count()
        assert sum(shard.used for shard in shard_count) == held
        assert sum(shard.allocation or 0 for shard in shard_count) == CAP
        assert all(shard.used <= (shard.allocation or 0) for shard in shard_count)


def _within(bench: Bench) -> tuple[str, int]:
    bench.take(bench.names(0)[0])
    return bench.names(1)[0], 2


def _from_another_page(bench: Bench) -> tuple[str, int]:
    for name in bench.names(0)[:3]:
        bench.take(name)
    return bench.names(0)[3], 4


def _lease_elsewhere(bench: Bench) -> tuple[str, int]:
    for name in (*bench.names(1)[:3], *bench.names(2)[:3]):
        bench.take(name)
    bench.now_ms += (LEASE + 6) * 1000
    for name in bench.names(0)[:3]:
        bench.take(name)
    # The capacity index does not know of expired leases: it shows these shards as full.
    for number in (1, 2):
        shard_key = seat_shard_key(bench.entitlement_id, number * (SLOTS // PAGES))
        bench.dynamodb.execute(Update(shard_key, "REMOVE roomKey", "", {}, {}))
    return bench.names(0)[3], -1


def _denied(bench: Bench) -> tuple[str, int]:
    for number in range(PAGES):
        for name in bench.names(number)[:3]:
            bench.take(name)
    return bench.names(0)[3], CAP


@pytest.fixture(scope="module")
def name(engine: DynamoDBLocal) -> str:
    return create_table(engine.url)


@pytest.mark.parametrize("kind", ["after", "lost"])
@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize(
    "prepare",
    [_within, _from_another_page, _lease_elsewhere, _denied],
    ids=lambda each: each.__name__,
)
def test_taking_a_seat_broken_anywhere(
    engine: DynamoDBLocal,
    name: str,
    prepare: Callable[[Bench], tuple[str, int]],
    knows: bool,
    kind: str,
) -> None:
    first, step = (0, 1) if IS_SOAK else (2 * int(kind == "lost"), 4)
    for point in range(first, 30, step):
        bench = Bench(engine.url, name)
        seat_id, held = prepare(bench)
        dynamodb = faulty_client(engine.url, name)
        dynamodb.fault = (point, kind)
        outcomes: list[Any] = []
        for through in (dynamodb, bench.dynamodb):
            try:
                outcomes.append(bench.take(seat_id, through, knows=knows))
            except Crash:
                outcomes.append(None)
            except problems.HardCapReached as denied:
                outcomes.append(denied)
        if prepare is _denied:
            assert isinstance(outcomes[1], problems.HardCapReached)
            bench.check(held)
            answered = sum(isinstance(each, problems.HardCapReached) for each in outcomes)
            assert answered <= bench.attempts() <= 2, "a denial was answered and is not on record"
        else:
            assert isinstance(outcomes[1], ActivationResult), "denied although a seat was free"
            bench.check(held if held > 0 else sum(shard.used for shard in bench.shard_count()))
            grant_ids = {
                each.held.grant_id for each in outcomes if isinstance(each, ActivationResult)
            }
            assert len(grant_ids) == 1, "the same person was given another grant"
        if dynamodb.calls <= point:
            assert point > 0, "nothing was broken"
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("kind", ["after", "lost"])
def test_giving_back_broken_anywhere(engine: DynamoDBLocal, name: str, kind: str) -> None:
    for point in range(10):
        bench = Bench(engine.url, name)
        grants = [bench.take(each) for each in (*bench.names(1)[:2], bench.names(2)[0])]
        named = activation_id(grants[0].key, grants[0].held.grant_id)
        dynamodb = faulty_client(engine.url, name)
        dynamodb.fault = (point, kind)
        try:
            bench.release(named, dynamodb)
        except Crash:
            bench.release(named)
        bench.check(2)
        assert not bench.release(named)
        assert bench.take(bench.names(1)[0]).is_new
        assert not bench.release(named), "a late release freed a newer grant"
        bench.check(3)
        if dynamodb.calls <= point:
            assert point > 0, "nothing was broken"
            return
    pytest.fail("it never came to an end")
