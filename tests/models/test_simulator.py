"""The simulated DynamoDB says what Amazon's own engine says, and its time is what it claims."""

import random
import statistics
from typing import Any

import pytest
import simpy

from benchmarks.new_pool import new_shards
from benchmarks.scale import counting, run
from benchmarks.scale.designs import DESIGNS, OneShard, Shards, Textbook
from benchmarks.scale.engine import PLAIN, READ, TRANSACTION, Engine, GaveUp, units
from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key
from shared.dynamodb.requests import Get, Pause, Put, Query, Refused, Update
from shared.seats import activation
from shared.seats.cache import PoolCache
from shared.seats.encoding import GrantIds, activation_id
from shared.seats.holder import Holder
from shared.seats.release import release_grant
from shared.seats.terms import new_shard_put, shard_terms_update
from shared.usage import allocation, consumption, sharded
from shared.usage.counter import UsageTerms
from shared.usage.terms import new_counter
from tests.support.patching import patch_constant
from tests.support.sampling import IS_SOAK
from tests.support.seats import asked_in, new_id, terms
from tests.support.tables import create_table, open_client

NOW = 2_500_000_000_000
LIVES = range(4 if IS_SOAK else 1)


@pytest.fixture
def dynamodb(engine: DynamoDBLocal) -> DynamoDBClient:
    return open_client(engine.url, create_table(engine.url))


class Both:
    """Does every request on both engines, and fails when they differ."""

    def __init__(self, dynamodb: DynamoDBClient) -> None:
        self.dynamodb = dynamodb
        self.env = simpy.Environment()
        self.engine = Engine(self.env, random.Random(1))
        self.compared = 0

    def execute(self, request: Any) -> Any:
        answered = self.dynamodb.execute(request)
        request = asked_in(request)
        if isinstance(request, Query):
            # DynamoDB Local's indexes do not lag. What has equal sort keys has no order.
            found = self.engine.at_once(request)
            mine, theirs = (
                sorted(each.items, key=lambda item: str(item["pk"])) for each in (found, answered)
            )
            if len(theirs) < (request.limit or 2):
                assert mine == theirs, request
            assert len(mine) == len(theirs)
            self.compared += 1
            return answered
        self.engine._writes.clear()  # time is not what is compared
        self.engine._reads.clear()
        done = self.env.process(self.engine.send(request))
        assert self.env.run(done) == answered, request
        self.compared += 1
        return answered

    def run(self, operation: Any, now: int) -> Any:
        reply: Any = None
        while True:
            try:
                request = operation.send(reply)
            except StopIteration as stop:
                return stop.value
            reply = now if isinstance(request, Pause) else self.execute(request)


@pytest.mark.parametrize("seed", LIVES)
def test_random_lives_of_a_shard(dynamodb: DynamoDBClient, seed: int) -> None:
    chance = random.Random(seed)
    both, entitlement_id, now = Both(dynamodb), new_id(), NOW
    grant_ids = GrantIds(salt=seed)
    both.execute(new_shard_put(entitlement_id, terms(6, 9, lease=600), Change("k", "r", now)))
    held: list[str] = []
    outcomes = set()
    for number in range(300):
        now += chance.choice((1, 1_000, 20_000, 60_000))
        change = Change("k", f"r{number}", now)
        try:
            what = chance.random()
            if what < 0.6:
                holder = Holder(f"user{chance.randrange(14)}", "Name", {"device": "x"})
                operation = activation.take(
                    entitlement_id,
                    holder,
                    change,
                    grant_ids.next(now),
                    expect_overdraft=chance.random() < 0.5,
                )
                grant = both.run(operation, now)
                held.append(activation_id(grant.key, grant.held.grant_id))
                outcomes.add("overdraft" if grant.held.is_overdraft else "within")
            elif what < 0.9 and held:
                both.run(release_grant(entitlement_id, chance.choice(held), change), now)
            else:
                valid = terms(chance.randint(3, 7), chance.choice((7, 9, 9, None)), lease=600)
                both.execute(shard_terms_update(entitlement_id, valid, change, lease_changed=False))
        except problems.HardCapReached:
            outcomes.add("denied")
    assert outcomes == {"within", "overdraft", "denied"}
    assert both.compared > 300


@pytest.mark.parametrize("shard_count", [2, 3, 24 if IS_SOAK else 10])
def test_random_lives_of_a_pool(dynamodb: DynamoDBClient, shard_count: int) -> None:
    """With its indexes, transactions, and leases that expire."""
    chance = random.Random(shard_count)
    both, entitlement_id, now = Both(dynamodb), new_id(), NOW
    grant_ids = GrantIds(salt=shard_count)
    cap = shard_count * 4
    valid = terms(cap - 2, cap, lease=200)
    for key, item in new_shards(entitlement_id, valid, shard_count, Change("k", "r", now)):
        both.execute(Put(key, item))
    cache = PoolCache()
    held: list[str] = []
    outcomes = set()
    for number in range(60 + cap * 4):
        now += chance.choice((1, 500, 2_000))
        change = Change("k", f"r{number}", now)
        try:
            if chance.random() < 0.85:
                holder = Holder(f"user{chance.randrange(cap * 3)}", "Name", {"device": "x"})
                operation = activation.take(
                    entitlement_id, holder, change, grant_ids.next(now), cache=cache
                )
                grant = both.run(operation, now)
                held.append(activation_id(grant.key, grant.held.grant_id))
                outcomes.add("granted")
            elif held:
                both.run(
                    release_grant(entitlement_id, chance.choice(held), change, cache=cache), now
                )
        except problems.HardCapReached:
            outcomes.add("denied")
        assert both.engine.held <= cap
    assert outcomes == {"granted", "denied"}
    assert both.engine.transactions > 0


@pytest.mark.parametrize("seed", LIVES)
def test_random_lives_of_a_counter(dynamodb: DynamoDBClient, seed: int) -> None:
    chance = random.Random(seed)
    both, entitlement_id, now = Both(dynamodb), new_id(), NOW
    valid = UsageTerms(30, 40, "monthly", "Europe/Berlin", "active", 0, None)
    both.execute(new_counter(entitlement_id, "exports", valid, Change("k", "r", now)))
    denied = 0
    for number in range(120):
        now += chance.choice((1, 60_000, 86_400_000))
        key = f"{chance.randrange(60):016d}"
        change = Change("k", f"r{number}", now)
        try:
            both.run(
                consumption.consume(entitlement_id, "exports", key, chance.randint(1, 6), change),
                now,
            )
        except (problems.HardCapReached, problems.IdempotencyConflict):
            denied += 1
    assert denied
    assert both.compared > 100


@pytest.mark.parametrize("seed", LIVES)
def test_random_lives_of_a_sharded_limit(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    patch_constant(monkeypatch, "shared.usage", "SHARDS", 4)
    chance = random.Random(seed)
    both, limit, now = Both(dynamodb), (new_id(), "exports"), NOW
    valid = UsageTerms(100, 150, "monthly", "Europe/Berlin", "active", 0, None)
    both.execute(new_counter(*limit, valid, Change("k", "r", now)))
    both.execute(sharded.start_sharding(limit))
    denied = 0
    for number in range(120):
        now += chance.choice((1, 1, 60_000, 86_400_000))
        change = Change("k", f"r{number}", now)
        key, quantity = f"{chance.randrange(60):016d}", chance.randint(1, 20)
        try:
            if chance.random() < 0.1:
                both.run(allocation.reconcile(*limit, change), now)
            both.run(sharded.consume(*limit, key, quantity, change), now)
        except (problems.HardCapReached, problems.IdempotencyConflict):
            denied += 1
    assert denied
    assert both.engine.transactions > 3
    assert both.compared > 200


@pytest.mark.parametrize("seed", LIVES)
def test_random_transactions(dynamodb: DynamoDBClient, seed: int) -> None:
    chance = random.Random(seed)
    both = Both(dynamodb)
    book = Textbook(3, 5)
    [(key, item)] = book.items()
    both.execute(Put(key, item))
    outcomes = set()
    for number in range(80):
        person = chance.randrange(9)
        call = book.take if chance.random() < 0.6 else book.release
        outcomes.add(both.run(call(person, NOW + number), NOW + number))
        seats = sum(book._seat(n) in both.engine.items for n in range(9))
        assert seats == book.used(both.engine) <= 5
    assert outcomes == {"granted", "held", "denied", "released"}


def test_units_are_those_of_the_engine(engine: DynamoDBLocal) -> None:
    """Of shards of any size; what is charged is rounded up to a kilobyte."""
    name = create_table(engine.url)
    consumed: list[float] = []
    dynamodb = open_client(engine.url, name, lambda _, number: consumed.append(number))
    entitlement_id = new_id()
    env = simpy.Environment()
    simulated = Engine(env, random.Random(1))
    shard = new_shard_put(entitlement_id, terms(128, 128, lease=600), Change("k", "r", NOW))
    for each in (dynamodb.execute, simulated.write):
        each(shard)
    grant_ids = GrantIds(salt=1)
    differing = 0
    for number in range(128):
        operation = activation.take(
            entitlement_id,
            Holder(f"user{number}", "Name", {}),
            Change("k", "r", NOW),
            grant_ids.next(NOW),
        )
        request = asked_in(operation.send(None))
        assert isinstance(request, Update)
        dynamodb.execute(request)
        simulated.write(request)
        differing += units(simulated.get(shard.key)) != consumed[-1]
    assert differing <= 6, "at the borders of a kilobyte, and of an index of the first"


def test_latencies_are_the_published_ones() -> None:
    chance = random.Random(3)
    for latency in (PLAIN, TRANSACTION, READ):
        allocated = sorted(latency.draw(chance) for _ in range(40_000))
        assert statistics.median(allocated) == pytest.approx(latency.p50, rel=0.03)
        assert allocated[int(len(allocated) * 0.99)] == pytest.approx(latency.p99, rel=0.06)


def test_a_partition_takes_a_thousand_units_a_second() -> None:
    env = simpy.Environment()
    engine = Engine(env, random.Random(5))
    done: list[float] = []

    def one(number: int) -> Any:
        write = Update(Key("P", f"{number % 200}"), "ADD n :one", "", {}, {":one": 1})
        try:
            yield from engine.send(write)
        except GaveUp:
            return
        done.append(env.now)

    def arrive() -> Any:
        for number in range(12_000):
            env.process(one(number))
            yield env.timeout(1 / 3_000)

    env.process(arrive())
    env.run()
    in_the_middle = sum(1.5 <= at < 3.5 for at in done)
    assert 1_900 <= in_the_middle <= 2_100
    assert engine.throttled > 1_000


def test_a_transaction_and_a_write_that_meet_conflict() -> None:
    env = simpy.Environment()
    engine = Engine(env, random.Random(2))
    book = Textbook(50, 90)
    for key, item in book.items():
        engine.write(Put(key, item))
    load = [env.process(engine.send(next(book.take(person, NOW)))) for person in range(40)]
    env.run()
    assert engine.conflicts > 10
    granted = sum(type(each.value).__name__ == "Accepted" for each in load)
    assert granted == book.used(engine) == 40 - engine.conflicts
    refused = env.process(
        engine.send(Update(Key("x", "x"), "ADD n :one", "n = :one", {}, {":one": 1}))
    )
    assert env.run(refused) == Refused(None)
    assert env.run(env.process(engine.send(Get(Key("x", "x"))))) is None


@pytest.mark.parametrize("kind", DESIGNS)
@pytest.mark.parametrize("scenario", [run.steady, run.storm])
def test_no_design_exceeds_its_cap_and_runs_are_the_same_every_time(
    kind: Any, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SECONDS", 3.0)
    first, second = scenario(kind, 40, 120), scenario(kind, 40, 120)
    assert first == second
    assert first.most <= 40
    if kind is not Shards or scenario is run.storm:
        assert first.most == 40
    if kind is OneShard:
        assert first.conflicts == 0


@pytest.mark.parametrize(("kind", "rate"), [(OneShard, 3_000), (Shards, 8_000)])
def test_a_storm_of_denials_is_answered_and_on_record(kind: Any, rate: int) -> None:
    """Far more than its partitions take; `storm` compares the denials with those on record."""
    result = run.storm(kind, 100 if kind is OneShard else 400, rate, 1.0)
    assert result.throttled > 0
    assert result.failed == 0
    assert result.done > 0.95 * rate


@pytest.mark.parametrize("kind", [counting.OneCounter, counting.Parts])
def test_a_storm_on_a_used_up_limit_is_answered_and_on_record(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "STORM_SECONDS", 1.0)
    result = counting.storm(kind, 6_000)
    assert result.throttled > 0
    assert result.failed == 0
    assert result.done > 0.95 * 6_000


def test_moving_allocation_is_rare_while_there_is_free_capacity() -> None:
    """Fewer than 20 for each 1,000 grants, up to 90 percent of the cap, as the design says."""
    answered = {each.percent: each for each in run.moves(2_000)}
    assert answered[90].filling < 20
    assert answered[90].steady < 20
    assert answered[50].steady == 0
    assert answered[100].steady > 500, "it can be measured"


def test_a_denial_reads_little() -> None:
    cost = run.denial_cost(2_000)
    assert cost["read units"] < 20
    assert cost["calls"] <= 12


def test_a_rush_is_too_much_for_one_counter_and_not_for_its_shards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "RUSH_SECONDS", 1.0)
    one, parts = (counting.rush(kind, 1_000) for kind in (counting.OneCounter, counting.Parts))
    assert one.done < 500
    assert parts.done > 950
    assert parts.failed == 0


def test_a_limit_that_ends_in_a_rush_is_exact() -> None:
    answers = counting.end(400)
    assert answers["granted"] == 400 * run.SECONDS / 4
    assert answers["denied"] > 1_000
