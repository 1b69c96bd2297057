"""Limits of a pool change while sixteen threads take and release its seats, on Amazon's engine."""

import contextlib
import itertools
import random
from collections.abc import Iterator

import pytest

from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import Pause, Transact, Update
from shared.seats import reconcile
from shared.seats.encoding import NEVER, activation_id
from shared.seats.resharding import lock_shard_update
from shared.seats.terms import request_reconcile_update, total_allocation
from tests.support.pools import PoolLife, shrink_shards
from tests.support.sampling import IS_SOAK
from tests.support.seats import terms
from tests.support.tables import create_table, delete_table, open_client
from tests.support.threads import SEEDS, THREADS, Grants, histories, together

# Each is a life of one pool: its hard caps one after another, None: unlimited.
LIVES = (
    (5, 30, 12, 60, 20, 8, 4, 50),
    (20, 4, None, 40, 7, None, 9),
    (200, 10, 200),
)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_shards(monkeypatch)


@pytest.fixture
def dynamodb(engine: DynamoDBLocal) -> Iterator[DynamoDBClient]:
    """A table for each: its whole stream is read."""
    name = create_table(engine.url)
    yield open_client(engine.url, name)
    delete_table(engine.url, name)


@pytest.mark.parametrize("seed", SEEDS[::8])  # each life is thousands of calls
@pytest.mark.parametrize("caps", LIVES if IS_SOAK else LIVES[1:2])
def test_limits_change_while_seats_come_and_go(
    engine: DynamoDBLocal, dynamodb: DynamoDBClient, caps: tuple[int | None, ...], seed: int
) -> None:
    """No seat above the higher one of both caps on the way, and then exactly the new one."""
    life = PoolLife(dynamodb, terms(3, caps[0], lease=3600))
    chance = random.Random(seed)
    people = [f"user{number}" for number in range(240)]
    grants = [Grants() for _ in range(THREADS)]
    for before, cap in itertools.pairwise(caps):
        start, most = life.held(), max(total_allocation(each) for each in (before, cap))
        seeds = [chance.randrange(10**9) for _ in range(THREADS)]

        def work(worker: int) -> None:
            local = random.Random(seeds[worker])  # noqa: B023 - used before the next round
            if worker == 0:
                life.set_terms(terms(3, cap, lease=3600))  # noqa: B023
                life.reconcile_all(local, step_ms=5)
                return
            for _ in range(8):
                if local.random() < 0.7 or not grants[worker]:
                    seat_id = people[worker * 15 + local.randrange(15)]
                    grants[worker].add(seat_id, life.take(worker, seat_id))
                else:
                    life.release(worker, grants[worker].any(local))

        together(work)
        life.reconcile_all(chance, step_ms=60_000)
        life.check()
        assert life.held() <= max(most, start)
        if cap is None:
            continue
        # Fill it up: exactly the cap, or nobody where more are held.
        held = life.held()
        new = 0
        for number in range(cap + 20):
            grant = life.take(number % 2, f"late-{number}-{cap}-{seed}")
            new += int(grant is not None and grant.is_new)
        assert new == max(0, cap - held), "more or fewer than the new cap"
        life.check()
    granted: dict[str, int] = {}
    for version in histories(engine, dynamodb, f"LEDGER#{life.entitlement_id}#"):
        old, new_image = version["old"], version["new"]
        if new_image.get("allowance") is not None:
            assert len(new_image["seats"]) <= new_image["allowance"]
        if old is None or old["seq"] == new_image["seq"]:
            continue
        kind = new_image["last"]["type"]
        assert new_image["seq"] > old["seq"]
        if kind != "moved":
            assert new_image["seq"] == old["seq"] + 1
        granted[kind] = granted.get(kind, 0) + 1
    assert granted["moved"] > 1


def test_a_pool_is_closed_and_opened_again(dynamodb: DynamoDBClient) -> None:
    life = PoolLife(dynamodb, terms(20, 40, lease=3600))
    for number in range(30):
        assert life.take(number % 2, f"user{number}")
    life.set_terms(terms(20, 10, lease=3600))
    assert life.reconcile_pool()
    life.check()
    assert life.state()["bank"] == -20
    life.set_terms(life.terms, "expired")
    assert life.reconcile_pool()
    assert life.held() == 0
    with pytest.raises(problems.EntitlementExpired):
        life.take(0, "user1")
    life.set_terms(terms(20, 12, lease=7200))
    assert life.reconcile_pool()
    life.check()
    assert sum(life.take(number % 2, f"user{number}") is not None for number in range(20)) == 12


def test_expired_leases_on_draining_shards_reduce_the_deficit(dynamodb: DynamoDBClient) -> None:
    life = PoolLife(dynamodb, terms(20, 40, lease=300))
    for number in range(40):
        assert life.take(number % 2, f"user{number}")
    life.set_terms(terms(20, 25, lease=300))
    assert life.reconcile_pool()
    life.check()
    assert life.take(0, "one too many") is None
    life.offset_ms += 306_000
    new = sum(life.take(number % 2, f"later{number}") is not None for number in range(40))
    assert new == 25
    assert life.reconcile_pool()
    life.check()


@pytest.mark.parametrize("cap", [11, 17, 23])
def test_seats_returned_by_expired_leases_can_be_found(dynamodb: DynamoDBClient, cap: int) -> None:
    """Lowered below use, then ended, then begun again: all of the new cap is there."""
    life = PoolLife(dynamodb, terms(20, 60, lease=3600))
    for number in range(40):
        assert life.take(number % 2, f"user{number}")
    life.set_terms(terms(10, cap, lease=3600))
    assert life.reconcile_pool()
    life.set_terms(life.terms, "expired")
    assert life.reconcile_pool()
    life.set_terms(terms(10, cap, lease=3600))
    assert life.reconcile_pool()
    life.check()
    new = sum(life.take(number % 2, f"later{number}") is not None for number in range(cap + 10))
    assert new == cap


def test_a_seat_taken_while_allowance_is_collected_strands_nothing(
    dynamodb: DynamoDBClient,
) -> None:
    """Activations find the unallocated capacity that remains in the end."""
    life = PoolLife(dynamodb, terms(20, 60, lease=3600))
    for number in range(30):
        assert life.take(number % 2, f"user{number}")
    life.set_terms(terms(20, 50, lease=3600))
    work = reconcile.reconcile_pool(life.entitlement_id, life.change(), life.now_ms() + 60_000)
    reply, newcomers = None, 0
    with contextlib.suppress(StopIteration):
        while True:
            request = work.send(reply)
            takes_back = isinstance(request, Transact) and any(
                "allowance = :left" in each.expression
                for each in request.actions
                if isinstance(each, Update)
            )
            if takes_back and newcomers < 12:  # somebody is faster than every attempt
                newcomers += 1
                assert life.take(0, f"faster{newcomers}")
            is_pause = isinstance(request, Pause)
            reply = life.now_ms() if is_pause else dynamodb.execute(request)
    assert life.reconcile_pool()
    life.check()
    held = life.held()
    new = sum(life.take(number % 2, f"late{number}") is not None for number in range(50))
    assert new == 50 - held


def test_a_cap_raised_while_a_shard_is_left_alone(dynamodb: DynamoDBClient) -> None:
    """The reconciler was about to say that it is done; it looks again."""
    life = PoolLife(dynamodb, terms(3, 12, lease=3600))
    life.set_terms(terms(3, 7, lease=3600))
    assert life.reconcile_pool()
    assert len(life.shard_count()) == 1
    life.set_terms(terms(3, 6, lease=3600))
    life.dynamodb.run(write_with_conflict_retry(request_reconcile_update(life.entitlement_id)))
    work = reconcile.reconcile_pool(life.entitlement_id, life.change(), life.now_ms() + 60_000)
    reply, is_raised = None, False
    with contextlib.suppress(StopIteration):
        while True:
            request = work.send(reply)
            if isinstance(request, Transact) and not is_raised:
                is_raised = True
                life.set_terms(terms(3, 40, lease=3600))
            is_pause = isinstance(request, Pause)
            reply = life.now_ms() if is_pause else dynamodb.execute(request)
    assert is_raised
    life.check()
    assert len(life.shard_count()) > 1


@pytest.mark.parametrize("kind", ["updated", "expired"])
def test_new_terms_reach_shards_that_change_all_the_time(
    dynamodb: DynamoDBClient, kind: str
) -> None:
    """A seat is released before every write of the reconciler, also while there is a deficit."""
    life = PoolLife(dynamodb, terms(20, 60, lease=3600))
    taken = [life.take(number % 2, f"user{number}") for number in range(60)]
    grants = [each for each in taken if each]
    life.set_terms(terms(20, 30, lease=3600))
    assert life.reconcile_pool()
    assert life.state()["isFrozen"]
    life.set_terms(terms(20, 30, lease=3600, status="suspended"), kind)
    work = reconcile.reconcile_pool(life.entitlement_id, life.change(), life.now_ms() + 60_000)
    reply, is_done, given_back = None, None, 0
    while is_done is None:
        try:
            request = work.send(reply)
        except StopIteration as stop:
            is_done = stop.value
            continue
        if isinstance(request, Transact) and grants and len(request.actions) > 1:
            grant = grants.pop()
            named = activation_id(grant.key, grant.held.grant_id)
            given_back += life.release(0, named)
        is_pause = isinstance(request, Pause)
        reply = life.now_ms() if is_pause else dynamodb.execute(request)
    assert is_done
    assert given_back > (2 if kind == "expired" else 0)
    assert {shard.status for _, shard in life.shard_count()} == {
        "suspended" if kind == "updated" else "expired"
    }
    assert life.held() == (60 - given_back if kind == "updated" else 0)
    life.check()


def test_a_pool_that_is_over_is_left_alone_by_the_sweep(dynamodb: DynamoDBClient) -> None:
    life = PoolLife(dynamodb, terms(20, 40, lease=3600))
    assert life.take(0, "user1")
    assert life.state()["earliest"] < NEVER
    life.set_terms(life.terms, "expired")
    assert life.reconcile_pool()
    assert life.state()["earliest"] == NEVER
    life.set_terms(terms(20, 40, lease=3600))
    assert life.reconcile_pool()
    assert life.state()["earliest"] < NEVER


def test_a_shard_whose_seats_stay_after_all_is_not_left_locked(
    dynamodb: DynamoDBClient,
) -> None:
    """The process that was to split it has ended, and it need not be split any more."""
    life = PoolLife(dynamodb, terms(3, 12, lease=3600))
    life.set_terms(terms(3, 6, lease=3600))
    assert life.reconcile_pool()
    [(key, _)] = life.shard_count()
    dynamodb.execute(lock_shard_update(key, life.now_ms()))
    life.dynamodb.run(write_with_conflict_retry(request_reconcile_update(life.entitlement_id)))
    assert life.reconcile_pool()
    [(_, shard)] = life.shard_count()
    assert shard.locked_at_ms is None
