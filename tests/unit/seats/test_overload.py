"""A table that takes no more requests for an entitlement: who is denied by what was just seen."""

from typing import Any

import pytest

from shared import problems
from shared.clock import from_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import SWEEP_INDEX, denial_key
from shared.dynamodb.requests import Get, Query, Unavailable
from shared.overload import FULL_MS, OVERLOADED_MS
from shared.seats import activation
from shared.seats.cache import PoolCache
from shared.seats.encoding import activation_id, seat_key
from shared.seats.holder import Holder
from shared.seats.pending import ActivationResult
from shared.seats.placement import Place
from shared.seats.release import release_grant
from shared.seats.shard import CLOCK_GRACE
from tests.support.overloaded import OverloadedTable
from tests.support.pools import PoolLife, shrink_shards
from tests.support.seats import change, make_shard, new_id, read_shard_item, terms


class Software(OverloadedTable):
    """Licensed software whose calls one process answers; the table takes what it takes."""

    def __init__(self, dynamodb: DynamoDBClient, entitlement_id: str) -> None:
        super().__init__(dynamodb)
        self.entitlement_id = entitlement_id
        self.cache = PoolCache()
        self._grants = 0

    def take(self, seat_id: str) -> ActivationResult:
        self._grants += 1
        holder, made = Holder(seat_id), change(self.now_ms)
        self.seen = []
        operation = activation.take(
            self.entitlement_id, holder, made, self._grants * 1000, cache=self.cache
        )
        taken: ActivationResult = self.run(operation)
        return taken

    def release(self, seat_id: str) -> None:
        """A holder releases the seat."""
        held = self.take(seat_id)
        named = activation_id(held.key, held.held.grant_id)
        self.run(release_grant(self.entitlement_id, named, change(self.now_ms)))

    def attempts(self, seat_id: str) -> int:
        """The denials that are on record."""
        key = seat_key(self.entitlement_id, seat_id)
        found = self.dynamodb.execute(Get(denial_key(self.entitlement_id, key, "2049-03-22T04")))
        return found["attempts"] if found else 0


def of_shards(request: Any) -> bool:
    """Whether it reads or writes a seat shard."""
    return not isinstance(request, Query) and request.key.pk.startswith("LEDGER#")


def of_indexes(request: Any) -> bool:
    return isinstance(request, Query)


@pytest.fixture
def software(dynamodb: DynamoDBClient) -> Software:
    """Of an entitlement all of whose seats are held."""
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(2, 3, lease=3_600))
    software = Software(dynamodb, entitlement_id)
    for seat_id in ("a", "b", "c"):
        software.take(seat_id)
    return software


def test_who_has_no_seat_is_denied_by_what_was_just_seen(software: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        software.take("d")
    software.refuses = of_shards
    software.now_ms += FULL_MS - 20
    with pytest.raises(problems.HardCapReached) as denied:
        software.take("e")
    assert software.attempts("e") == 1, "on record before it is answered"
    assert denied.value.extensions["seats"]["used"] == 3
    assert denied.value.extensions["nextLeaseExpiry"] is not None
    # It asks less of the table from now on: not even the first write is tried.
    with pytest.raises(problems.HardCapReached):
        software.take("f")
    assert [each for each in software.seen if of_shards(each)] == []


def test_holders_are_always_tried(software: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        software.take("d")
    software.refuses = of_shards
    with pytest.raises(problems.HardCapReached):
        software.take("e")
    with pytest.raises(Unavailable):
        software.take("a")
    software.refuses = lambda _: False
    assert not software.take("a").is_new


def test_what_was_seen_holds_for_a_moment_only(software: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        software.take("d")
    software.refuses = of_shards
    software.now_ms += FULL_MS + 1
    with pytest.raises(Unavailable):
        software.take("e")
    assert software.attempts("e") == 0


def test_as_long_as_the_table_answers_it_decides(software: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        software.take("d")
    software.release("a")
    assert software.take("d").is_new


def test_after_an_overload_the_table_decides_again(software: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        software.take("d")
    software.refuses = of_shards
    with pytest.raises(problems.HardCapReached):
        software.take("e")
    software.refuses = lambda _: False
    software.release("a")
    software.now_ms += FULL_MS + 1
    # It is read first: still an overload by what this process knows.
    assert software.take("e").is_new
    assert isinstance(software.seen[0], Get)
    software.now_ms += OVERLOADED_MS
    with pytest.raises(problems.HardCapReached):
        software.take("d")
    assert not isinstance(software.seen[0], Get)


def test_a_lease_that_has_ended_since_is_no_reason_to_deny(dynamodb: DynamoDBClient) -> None:
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(1, 1, lease=60))
    software = Software(dynamodb, entitlement_id)
    software.take("a")
    software.now_ms += (60 + CLOCK_GRACE) * 1000 - 50  # leases end in whole seconds, after a grace
    with pytest.raises(problems.HardCapReached):
        software.take("b")
    software.refuses = of_shards
    software.now_ms += 100
    with pytest.raises(Unavailable):
        software.take("b")


def test_a_throttled_first_write_is_no_grant_and_no_denial(software: Software) -> None:
    software.release("a")
    refused = list[Any]()

    def first(request: Any) -> bool:
        if of_shards(request) and not refused:
            refused.append(request)
            return True
        return False

    software.refuses = first
    assert software.take("d").is_new
    assert len(refused) == 1
    assert len(read_shard_item(software.dynamodb, software.entitlement_id)["seats"]) == 3


# --- Of a pool ------------------------------------------------------------------------------------


@pytest.fixture
def pool(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> Software:
    """Of several shards, all of whose seats are held."""
    shrink_shards(monkeypatch)
    life = PoolLife(dynamodb, terms(20, 24, lease=3_600))
    software = Software(dynamodb, life.entitlement_id)
    software.now_ms = life.now_ms()
    for number in range(24):
        software.take(f"u{number}")
    return software


def test_of_a_pool_the_own_shard_is_asked_and_no_index(pool: Software) -> None:
    with pytest.raises(problems.HardCapReached) as first:
        pool.take("late0")
    pool.refuses = of_indexes
    with pytest.raises(problems.HardCapReached) as denied:
        pool.take("late1")
    assert denied.value.extensions["seats"]["available"] == 0
    assert (
        denied.value.extensions["nextLeaseExpiry"] == first.value.extensions["nextLeaseExpiry"]
    ), "as it was when the pool was searched"
    assert pool.attempts("late1") == 1
    with pytest.raises(problems.HardCapReached):
        pool.take("late2")
    assert [each for each in pool.seen if of_indexes(each)] == []
    assert not pool.take("u3").is_new, "whoever has a seat keeps it"


def test_of_a_pool_a_seat_of_the_own_shard_is_granted(pool: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        pool.take("late0")
    pool.refuses = of_indexes
    with pytest.raises(problems.HardCapReached):
        pool.take("late1")
    pool.release("u3")
    assert pool.take("u3").is_new


def test_of_a_pool_the_own_shard_is_asked_before_it_is_remembered(pool: Software) -> None:
    pool.refuses = lambda request: of_indexes(request) and pool.now_ms > pool_began
    pool_began = pool.now_ms
    with pytest.raises(problems.HardCapReached):
        pool.take("late0")
    pool.now_ms += 1
    with pytest.raises(problems.HardCapReached):
        pool.take("late0")  # its shard is remembered from now on
    pool.refuses = lambda _: False
    held = pool.take("u3")
    same_shard = next(
        f"new{number}"
        for number in range(1_000)
        if Place.of(pool.entitlement_id, seat_key(pool.entitlement_id, f"new{number}"), count(held))
        == Place.of(pool.entitlement_id, held.key, count(held))
    )
    pool.release("u3")
    assert pool.take(same_shard).is_new


def count(held: ActivationResult) -> int | None:
    return held.shard.shard_count


def test_a_lease_of_a_pool_that_has_ended_since_is_asked_for(pool: Software) -> None:
    with pytest.raises(problems.HardCapReached) as denied:
        pool.take("late0")
    due = denied.value.extensions["nextLeaseExpiry"]
    pool.now_ms = from_rfc3339(due) * 1000 - 20
    with pytest.raises(problems.HardCapReached):
        pool.take("late0")
    pool.refuses = of_indexes
    with pytest.raises(problems.HardCapReached):
        pool.take("late1")
    pool.now_ms += 30
    with pytest.raises(Unavailable):
        pool.take("late2")


def test_a_pool_that_was_not_seen_full_is_searched_until_the_table_answers(pool: Software) -> None:
    tries = list[Any]()

    def at_first(request: Any) -> bool:
        if isinstance(request, Query) and request.index_name != SWEEP_INDEX:
            tries.append(request)
        return of_indexes(request) and len(tries) < 4

    pool.refuses = at_first
    with pytest.raises(problems.HardCapReached):
        pool.take("late0")
    assert len(tries) >= 4
    pool.refuses = of_indexes
    with pytest.raises(problems.HardCapReached):
        pool.take("late1")
    pool.now_ms += FULL_MS + 1
    with pytest.raises(Unavailable):
        pool.take("late1")
    assert pool.attempts("late1") == 1
