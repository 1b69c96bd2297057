"""Sixteen threads on a pool of 1, 3 and 50 shards, on Amazon's own engine."""

import itertools
import random
import threading
from collections import defaultdict
from typing import Any

import pytest

from benchmarks.new_pool import new_shards
from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import CAPACITY_INDEX, seat_shard_key, seat_usage_key
from shared.dynamodb.requests import BatchGet, BatchPut, Pause, Put, Query
from shared.seats import activation
from shared.seats.cache import PoolCache
from shared.seats.encoding import GrantIds, activation_id, decode_grant, seat_key
from shared.seats.holder import Holder
from shared.seats.pending import ActivationResult
from shared.seats.placement import SLOTS, Place, capacity_partitions
from shared.seats.release import release_grant
from shared.seats.shard import SeatShard
from shared.seats.terms import SeatTerms
from tests.support.seats import NOW_MS, asked_in, new_id, terms
from tests.support.tables import create_table, open_client, read_item
from tests.support.threads import SEEDS, THREADS, Grants, histories, run, together

# Shards of 4 to 8 seats: small ones are full more often.
SIZES = ((1, 8), (3, 12), (3, 19), (50, 200))


@pytest.fixture(scope="module")
def dynamodb(engine: DynamoDBLocal) -> DynamoDBClient:
    return open_client(engine.url, create_table(engine.url))


class Clients:
    """Calls of many clients on one pool, and what came of them."""

    def __init__(self, dynamodb: DynamoDBClient, valid: SeatTerms, shard_count: int) -> None:
        self.dynamodb = dynamodb
        self.entitlement_id = new_id()
        self.shard_count = shard_count
        self._numbers = itertools.count()
        self._grant_ids = [GrantIds(salt) for salt in range(THREADS)]
        self._memories = [PoolCache() for _ in range(THREADS)]
        self._offset_ms = 0
        self.grants: list[ActivationResult] = []
        self.denied: list[str] = []
        self.contentions = 0
        self.errors: list[str] = []
        items = new_shards(self.entitlement_id, valid, shard_count, Change("t", "r", NOW_MS))
        dynamodb.execute(BatchPut(tuple(items)))

    def now_ms(self) -> int:
        return NOW_MS + self._offset_ms

    def pass_time(self, seconds: int) -> None:
        self._offset_ms += seconds * 1000

    def change(self) -> Change:
        return Change("key_test", f"req-{next(self._numbers)}", self.now_ms())

    def take(self, worker: int, seat_id: str) -> ActivationResult | None:
        change = self.change()
        # The others go by what the first shard says.
        cache = self._memories[worker] if worker % 2 else None
        grant_id = self._grant_ids[worker].next(change.now_ms)
        operation = activation.take(
            self.entitlement_id, Holder(seat_id), change, grant_id, cache=cache
        )
        try:
            grant: ActivationResult = run(self.dynamodb, operation, self.now_ms)
        except problems.HardCapReached:
            self.denied.append(seat_id)
            return None
        except problems.Contention:
            self.contentions += 1
            return None
        self.grants.append(grant)
        return grant

    def release(self, worker: int, named: str) -> bool:
        cache = self._memories[worker] if worker % 2 else None
        operation = release_grant(self.entitlement_id, named, self.change(), cache=cache)
        try:
            released: bool = run(self.dynamodb, operation, self.now_ms)
        except problems.Contention:
            self.contentions += 1
            return False
        return released

    def read_shards(self) -> list[SeatShard]:
        step = SLOTS // self.shard_count
        keys = tuple(seat_shard_key(self.entitlement_id, n * step) for n in range(self.shard_count))
        return [SeatShard.of(item) for item in self.dynamodb.execute(BatchGet(keys)).values()]


def check(engine: DynamoDBLocal, clients: Clients, cap: int) -> None:
    """Every version of every shard: allowances and seats, in the order in which they were made.

    A transaction of two shards is two records. Between them the allowances seem to add up to less,
    or to more by what is on its way: a shard's own limit must hold in every version, their sum at
    the end of each transaction.
    """
    seqs: dict[str, int] = {}
    for version in histories(engine, clients.dynamodb, f"LEDGER#{clients.entitlement_id}#"):
        old, new = version["old"], version["new"]
        assert len(new["seats"]) <= new["allowance"], "more seats than the page's allowance"
        assert new["seatCount"] == (old or new)["seatCount"]
        if old is None:
            seqs[new["pk"]] = new["seq"]
            continue
        assert new["seq"] - old["seq"] in (0, 1)
        assert seqs[new["pk"]] == old["seq"], "a version is missing, or counted twice"
        seqs[new["pk"]] = new["seq"]
        if new["seq"] == old["seq"]:
            assert old["seats"] == new["seats"], "seats changed without a new version"
            assert new["allowance"] <= old["allowance"], "allowance from nowhere"
    shard_count = clients.read_shards()
    assert len(shard_count) == clients.shard_count
    assert sum(shard.allocation or 0 for shard in shard_count) == cap, "allowance was lost, or made"
    held = [key for shard in shard_count for key in shard.seats]
    assert len(held) == len(set(held)) <= cap
    for shard in shard_count:
        for key in shard.seats:
            assert Place.of(clients.entitlement_id, key, clients.shard_count).number == shard.number


def shards_with_capacity(
    dynamodb: DynamoDBClient, entitlement_id: str, shard_count: int
) -> set[int]:
    shards = capacity_partitions(entitlement_id, shard_count)
    found = [
        dynamodb.execute(Query("roomKey = :shard", {":shard": shard}, index_name=CAPACITY_INDEX))
        for shard in shards
    ]
    return {item["page"] for each in found for item in each.items}


@pytest.mark.parametrize(("shard_count", "cap"), SIZES)
def test_a_rush_takes_every_seat_and_none_more(
    engine: DynamoDBLocal, dynamodb: DynamoDBClient, shard_count: int, cap: int
) -> None:
    """Uneven hashing never denies: exactly the cap is granted, wherever the keys fall."""
    clients = Clients(dynamodb, terms(cap, cap), shard_count)
    people = [f"user{number}" for number in range(cap + 24)]

    def work(worker: int) -> None:
        for seat_id in people[worker::THREADS]:
            clients.take(worker, seat_id)

    together(work)
    for seat_id in people:  # who met too much contention asks again
        if clients.contentions:
            clients.take(0, seat_id)
    held = [key for shard in clients.read_shards() for key in shard.seats]
    assert len(held) == cap
    assert clients.denied, "more people than seats"
    check(engine, clients, cap)
    assert shards_with_capacity(dynamodb, clients.entitlement_id, shard_count) == set(), (
        "the index still names full shards"
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("shard_count", "cap"), SIZES[:3])
def test_everything_at_once_near_the_cap(
    engine: DynamoDBLocal, dynamodb: DynamoDBClient, shard_count: int, cap: int, seed: int
) -> None:
    """Seats come and go at the cap, leases expire, and allocations move between shards."""
    clients = Clients(dynamodb, terms(cap, cap, lease=300), shard_count)
    counted: dict[str, int] = defaultdict(int)
    lock = threading.Lock()

    def work(worker: int) -> None:
        chance = random.Random(seed * 1000 + worker)
        mine = Grants()
        for _ in range(15):
            act = chance.random()
            if act < 0.6 or not mine:
                seat_id = f"w{worker}-{chance.randrange(3)}"
                mine.add(seat_id, clients.take(worker, seat_id))
            elif act < 0.93:
                if clients.release(worker, mine.any(chance)):
                    with lock:
                        counted["released"] += 1
            elif worker == 0:
                clients.pass_time(chance.choice([10, 160, 320]))

    together(work)
    check(engine, clients, cap)
    kinds: dict[str, int] = defaultdict(int)
    for version in histories(engine, dynamodb, f"LEDGER#{clients.entitlement_id}#"):
        old, new = version["old"], version["new"]
        if old and old["seq"] != new["seq"]:
            kinds[new["last"]["type"]] += 1
    new_grants = [grant for grant in clients.grants if grant.is_new]
    assert kinds["activated"] == len(new_grants), "a grant was written and nobody was told"
    assert kinds["released"] == counted["released"]


def test_a_lease_that_ran_out_anywhere_is_taken_before_anybody_is_denied(
    dynamodb: DynamoDBClient,
) -> None:
    clients = Clients(dynamodb, terms(19, 19, lease=300), 3)
    while len([grant for grant in clients.grants if grant.is_new]) < 19:
        clients.take(0, f"ghost{len(clients.grants)}")
    assert clients.take(0, "too many") is None
    clients.pass_time(306)
    for number in range(19):
        assert clients.take(number % 2, f"person{number}"), "denied although a lease had run out"
    assert clients.take(1, "person19") is None


def test_nobody_is_denied_while_capacity_is_being_moved(dynamodb: DynamoDBClient) -> None:
    """Between one's look at the index and at what it named, others bring its room elsewhere."""
    clients = Clients(dynamodb, terms(9, 9), 3)
    by_page: dict[int, list[str]] = defaultdict(list)
    for name in (f"user{number}" for number in range(60)):
        key = seat_key(clients.entitlement_id, name)
        by_page[Place.of(clients.entitlement_id, key, 3).number].append(name)
    first, second, third = (by_page[number] for number in sorted(by_page))
    grants = [clients.take(0, name) for name in (*first[:3], *second[:3], *third[:3])]
    assert clients.take(0, second[4]) is None, "which removes full shards from the index"
    for grant in grants[:3]:
        assert grant
        assert clients.release(0, activation_id(grant.key, grant.held.grant_id))
    operation = activation.take(clients.entitlement_id, Holder(second[3]), clients.change(), 77)
    request = next(operation)
    while not isinstance(asked_in(request), Query):
        request = operation.send(
            clients.now_ms() if isinstance(request, Pause) else dynamodb.execute(request)
        )
    looked = dynamodb.execute(request)
    assert clients.take(0, third[3]), "with half of the free capacity for its shard"
    assert clients.take(0, first[3]), "and the rest is taken"
    assert run(dynamodb, resumed(operation, looked), clients.now_ms).is_new


def resumed(operation: Any, reply: Any) -> Any:
    """The rest of an operation that was sent a reply."""
    try:
        request = operation.send(reply)
        while True:
            request = operation.send((yield request))
    except StopIteration as stop:
        return stop.value


@pytest.mark.parametrize(("shard_count", "cap"), SIZES)
def test_one_person_from_sixteen_threads_takes_one_seat(
    dynamodb: DynamoDBClient, shard_count: int, cap: int
) -> None:
    clients = Clients(dynamodb, terms(cap, cap, lease=3600), shard_count)
    together(lambda worker: [clients.take(worker, "alice") for _ in range(3)])
    assert clients.contentions + len(clients.grants) == 48
    assert len({grant.held.grant_id for grant in clients.grants}) == 1
    assert sum(grant.is_new for grant in clients.grants) == 1


def test_a_preview_says_what_taking_would(dynamodb: DynamoDBClient) -> None:
    clients = Clients(dynamodb, terms(19, 19, lease=300), 3)
    for number in range(40):
        holder = Holder(f"user{number}")
        expected: Any = True
        try:
            clients.dynamodb.run(
                activation.preview(clients.entitlement_id, holder, clients.now_ms() // 1000)
            )
        except problems.HardCapReached as denied:
            expected = None
            assert denied.extensions["seats"]["used"] == 19
        assert (clients.take(number % 2, holder.seat_id) is not None) == (expected is not None)
    clients.pass_time(306)
    shown = clients.dynamodb.run(
        activation.preview(clients.entitlement_id, Holder("new"), clients.now_ms() // 1000)
    )
    assert shown.is_new


def test_overdraft_follows_from_the_totals(dynamodb: DynamoDBClient) -> None:
    clients = Clients(dynamodb, terms(10, 12), 3)
    key = seat_usage_key(clients.entitlement_id)
    grant = clients.take(0, "a")
    assert grant
    assert not grant.held.is_overdraft
    assert grant.seat_usage.used == 1
    seat_usage = {**read_item(dynamodb, key), "used": 10}
    dynamodb.execute(Put(key, {n: v for n, v in seat_usage.items() if n not in ("pk", "sk")}))
    grant = clients.take(1, "b")
    assert grant
    assert grant.held.is_overdraft
    assert decode_grant(grant.shard.seats[grant.key]).is_overdraft
    assert grant.seat_usage.view()["overdraftUsed"] == 1
    assert "asOf" in grant.seat_usage.view()
