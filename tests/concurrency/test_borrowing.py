"""Sixteen threads that borrow, renew and give back seats, of an only shard and of a pool."""

import itertools
import random
from typing import Any

import pytest

from benchmarks.new_pool import new_shards
from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import SEAT_SHARD_PREFIX, borrowed_seats_key
from shared.dynamodb.requests import BatchPut
from shared.seats import activation
from shared.seats.cache import PoolCache
from shared.seats.encoding import GrantIds, decode_grant
from shared.seats.holder import Holder
from shared.seats.pending import ActivationResult
from shared.seats.release import release_grant
from shared.seats.terms import borrowing_writes
from tests.support.seats import NOW_MS, make_shard, new_id, terms
from tests.support.tables import create_table, open_client
from tests.support.threads import SEEDS, THREADS, Grants, histories, run, together

MOST = 4
WEEK = 7 * 86_400
PEOPLE = 30


@pytest.fixture(scope="module")
def dynamodb(engine: DynamoDBLocal) -> DynamoDBClient:
    return open_client(engine.url, create_table(engine.url))


@pytest.mark.parametrize("shard_count", [1, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_never_more_than_may_be(
    engine: DynamoDBLocal, dynamodb: DynamoDBClient, seed: int, shard_count: int
) -> None:
    """In every version of the items: at most so many, and exactly the seats that are borrowed."""
    entitlement_id, numbers = new_id(), itertools.count()
    valid = terms(12, 18, lease=3_600)._replace(longest_lease=2 * WEEK, most_borrowed=MOST)
    if shard_count == 1:
        make_shard(dynamodb, entitlement_id, valid)
    else:
        items = new_shards(entitlement_id, valid, shard_count, Change("t", "r", NOW_MS))
        dynamodb.execute(BatchPut(tuple(items)))
    for write in borrowing_writes(entitlement_id, None, valid):
        dynamodb.execute(write)
    ids = [GrantIds(salt) for salt in range(THREADS)]
    refused: list[type[problems.Problem]] = []
    granted: list[ActivationResult] = []

    def operate(operation: Any) -> Any:
        try:
            return run(dynamodb, operation, lambda: NOW_MS)
        except (problems.Denied, problems.BorrowLimitReached, problems.Contention) as problem:
            refused.append(type(problem))
            return None

    def work(worker: int) -> None:
        chance, grants, cache = random.Random(seed * 100 + worker), Grants(), PoolCache()
        for _ in range(14):
            change = Change("key_test", f"req-{next(numbers)}", NOW_MS)
            if grants and chance.random() < 0.3:
                operate(release_grant(entitlement_id, grants.any(chance), change, cache=cache))
                continue
            seat_id = f"user{chance.randrange(PEOPLE)}"
            borrows = WEEK if chance.random() < 0.6 else None
            taking = activation.take(
                entitlement_id,
                Holder(seat_id),
                change,
                ids[worker].next(NOW_MS),
                cache=cache,
                borrow_seconds=borrows,
            )
            grant = operate(taking)
            grants.add(seat_id, grant)
            if grant:
                granted.append(grant)

    together(work)
    assert problems.BorrowLimitReached in refused
    assert any(grant.held.is_borrowed for grant in granted)
    shard_versions = histories(engine, dynamodb, f"{SEAT_SHARD_PREFIX}{entitlement_id}")
    entries = [
        each["new"]["borrowed"]
        for each in histories(engine, dynamodb, borrowed_seats_key(entitlement_id).pk)
    ]
    assert max(map(len, entries)) == MOST
    last: dict[int, dict[str, int]] = {}
    for each in shard_versions:
        last[each["new"].get("page", 0)] = each["new"]["seats"]
    borrowed = {
        key: decode_grant(value).lease_end
        for seats in last.values()
        for key, value in seats.items()
        if decode_grant(value).is_borrowed
    }
    assert entries[-1] == borrowed
