"""A usage limit that is used up, on a table that takes no more requests."""

from typing import Any

import pytest

from shared import problems
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import USAGE_PREFIX, USAGE_SHARD_PREFIX, denial_key
from shared.dynamodb.requests import Get, Unavailable, Update
from shared.overload import FULL_MS
from shared.usage import sharded
from shared.usage.consumption import Outcome
from shared.usage.counter import UsageTerms
from shared.usage.terms import new_counter
from tests.support.overloaded import OverloadedTable
from tests.support.patching import patch_constant
from tests.support.seats import change, new_id


class Software(OverloadedTable):
    """Licensed software whose calls one process answers; the table takes what it takes."""

    def __init__(self, dynamodb: DynamoDBClient) -> None:
        super().__init__(dynamodb)
        self.limit = (new_id(), "exports")
        terms = UsageTerms(5, 8, "monthly", "UTC", "active", 0, None)
        dynamodb.execute(new_counter(*self.limit, terms, change()))
        self.cache = sharded.LimitCache()

    def consume(self, key: str, quantity: int = 1) -> Outcome:
        self.seen = []
        made = change(self.now_ms)
        operation = sharded.consume(
            *self.limit, key.ljust(16, "_"), quantity, made, cache=self.cache
        )
        outcome: Outcome = self.run(operation)
        return outcome

    def is_on_record(self, key: str) -> bool:
        where = denial_key(
            self.limit[0], key.ljust(16, "_"), "2049-03-22T04", f"usage#{self.limit[1]}"
        )
        return self.dynamodb.execute(Get(where)) is not None


def of_counter(request: Any) -> bool:
    return getattr(request, "key", None) is not None and request.key.pk.startswith(USAGE_PREFIX)


def of_shards(request: Any) -> bool:
    return hasattr(request, "key") and request.key.pk.startswith(USAGE_SHARD_PREFIX)


@pytest.fixture
def software(dynamodb: DynamoDBClient) -> Software:
    """Of a limit that is used up but for one."""
    software = Software(dynamodb)
    software.consume("first", 3)
    software.consume("second", 4)
    return software


@pytest.fixture
def in_shards(software: Software, monkeypatch: pytest.MonkeyPatch) -> Software:
    """The same, used up, on a shard; the requests before it got one are archived."""
    patch_constant(monkeypatch, "shared.usage", "SHARDS", 1)
    software.dynamodb.execute(sharded.start_sharding(software.limit))
    software.consume("on_its_shard", 1)
    return software


def test_a_new_request_is_denied_by_what_was_just_seen(software: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        software.consume("third", 2)
    software.refuses = of_counter
    software.now_ms += FULL_MS - 20
    with pytest.raises(problems.HardCapReached) as denied:
        software.consume("fourth", 2)
    assert denied.value.extensions["usage"]["used"] == 7
    assert software.is_on_record("fourth")
    with pytest.raises(problems.HardCapReached):
        software.consume("fifth", 2)
    assert [each for each in software.seen if of_counter(each)] == []


def test_what_fits_is_left_to_the_table(software: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        software.consume("third", 2)
    software.refuses = of_counter
    with pytest.raises(Unavailable):
        software.consume("fourth", 1)
    software.refuses = lambda _: False
    assert software.consume("fourth", 1).consumed.quantity == 1


def test_a_request_that_has_consumed_is_never_denied(software: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        software.consume("third", 2)
    software.refuses = of_counter
    with pytest.raises(problems.HardCapReached):
        software.consume("fourth", 2)
    with pytest.raises(Unavailable):
        software.consume("second", 4)
    software.refuses = lambda _: False
    assert software.consume("second", 4).is_replay


def test_what_was_seen_holds_for_a_moment_only(software: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        software.consume("third", 2)
    software.refuses = of_counter
    software.now_ms += FULL_MS + 1
    with pytest.raises(Unavailable):
        software.consume("fourth", 2)
    assert not software.is_on_record("fourth")


def test_of_a_sharded_limit_the_own_shard_is_asked(in_shards: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        in_shards.consume("third")
    in_shards.refuses = of_counter
    in_shards.now_ms += 1_000  # the counter as it was read is too old to go by
    with pytest.raises(Unavailable):
        in_shards.consume("fourth")
    assert not in_shards.is_on_record("fourth")
    in_shards.refuses = lambda _: False
    with pytest.raises(problems.HardCapReached):
        in_shards.consume("fourth")
    in_shards.refuses = of_counter
    with pytest.raises(problems.HardCapReached):
        in_shards.consume("fifth")
    assert in_shards.is_on_record("fifth")
    assert any(of_shards(each) for each in in_shards.seen)


def test_a_repeated_request_of_a_sharded_limit_is_found_on_its_shard(in_shards: Software) -> None:
    with pytest.raises(problems.HardCapReached):
        in_shards.consume("third")
    in_shards.refuses = lambda request: (
        of_counter(request) or (of_shards(request) and isinstance(request, Update))
    )
    with pytest.raises(problems.HardCapReached):
        in_shards.consume("fourth")
    assert in_shards.consume("on_its_shard").is_replay
    assert in_shards.consume("second", 4).is_replay, "of before it had shards"
