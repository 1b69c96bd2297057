"""Taking a seat and previewing it, on one shard."""

from contextlib import suppress
from typing import Any

import pytest

from shared import problems
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import Conflicted, Pause, Refused, Update
from shared.seats import activation
from shared.seats.holder import Holder
from tests.support.seats import NOW_MS, asked_in, change, make_shard, new_id, read_shard_item, terms


def test_a_refused_write_is_looked_at_again_and_given_up_in_the_end(
    dynamodb: DynamoDBClient,
) -> None:
    """Somebody else always moves first: bounded, then `contention`, and nothing is taken."""
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(1, 2))
    operation = activation.take(entitlement_id, Holder("a"), change(), 1)
    request = operation.send(None)
    tries = pauses = 0
    with pytest.raises(problems.Contention):
        while True:
            if isinstance(request, Pause):
                pauses += 1
                request = operation.send(NOW_MS)
            else:
                tries += 1
                request = operation.send(Conflicted())
    assert (tries, pauses) == (ROUNDS, ROUNDS)
    assert read_shard_item(dynamodb, entitlement_id)["seats"] == {}


def test_seats_of_100_and_120(dynamodb: DynamoDBClient) -> None:
    """Seat 100 is within, 101 and 120 are overdraft, 121 is denied."""
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(100, 120))
    flags = []
    for number in range(1, 121):
        grant_id = number * 100
        grant = dynamodb.run(
            activation.take(entitlement_id, Holder(f"u{number}"), change(), grant_id)
        )
        flags.append(grant.held.is_overdraft)
        assert grant.shard.used == number
    assert flags == [False] * 100 + [True] * 20
    with pytest.raises(problems.HardCapReached) as denied:
        dynamodb.run(activation.take(entitlement_id, Holder("u121"), change(), 1))
    assert denied.value.extensions["seats"]["available"] == 0


@pytest.mark.parametrize("hint", [False, True])
def test_stale_seats_are_freed_before_overdraft_with_and_without_the_hint(
    dynamodb: DynamoDBClient, hint: bool
) -> None:
    """Above the purchased and below the cap: the blind overdraft write must not overlook them."""
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(2, 5, lease=600))
    for number in range(3):
        dynamodb.run(activation.take(entitlement_id, Holder(f"ghost{number}"), change(), number))
    late = change(NOW_MS + 700_000)
    take = activation.take(entitlement_id, Holder("alice"), late, 10**6, expect_overdraft=hint)
    grant = dynamodb.run(take)
    assert (grant.shard.used, grant.held.is_overdraft) == (1, False)


def test_a_lease_that_ran_out_while_the_write_was_on_its_way_is_reclaimed(
    dynamodb: DynamoDBClient,
) -> None:
    """A denial must be true between request and answer; the time of the request is not enough."""
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(1, 1, lease=60))
    dynamodb.run(activation.take(entitlement_id, Holder("bob"), change(), 1))
    alice = activation.take(entitlement_id, Holder("alice"), change(NOW_MS + 62_000), 2)
    refused = dynamodb.execute(alice.send(None))
    assert alice.send(refused) == Pause(0)
    write = alice.send(NOW_MS + 66_000)
    assert isinstance(write, Update)
    with pytest.raises(StopIteration) as done:
        alice.send(dynamodb.execute(write))
    assert done.value.value.shard.used == 1
    assert done.value.value.is_new


def test_a_preview_counts_as_the_grant_would(dynamodb: DynamoDBClient) -> None:
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(3, 4, lease=60))
    for number in range(2):
        dynamodb.run(activation.take(entitlement_id, Holder(f"ghost{number}"), change(), number))
    for number, used in ((10, 3), (11, 2)):  # within: no look at the leases; then the ghosts go
        late = change(NOW_MS + 70_000)
        shown = dynamodb.run(activation.preview(entitlement_id, Holder(f"u{number}"), late.now))
        taken = dynamodb.run(activation.take(entitlement_id, Holder(f"u{number}"), late, number))
        assert shown.shard.used == taken.shard.used == used
        assert shown.held.is_overdraft == taken.held.is_overdraft


def test_a_denial_that_meets_a_conflict_is_recorded_before_it_is_answered(
    dynamodb: DynamoDBClient,
) -> None:
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(0, 0))
    asked = activation.take(entitlement_id, Holder("a"), change(), 1)
    assert asked.send(dynamodb.execute(asked.send(None))) == Pause(0)
    write = asked.send(NOW_MS)
    assert isinstance(write, Update)
    assert asked.send(Conflicted()) == Pause(1)
    again = asked.send(NOW_MS)
    assert again == write
    with pytest.raises(problems.HardCapReached):
        asked.send(dynamodb.execute(again))


def test_refusals_without_end_are_given_up_too(dynamodb: DynamoDBClient) -> None:
    """Always refused, always free capacity by the time one looks: bounded, then `contention`."""
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(1, 2))
    item = read_shard_item(dynamodb, entitlement_id)
    operation = activation.take(entitlement_id, Holder("a"), change(), 1)
    request = operation.send(None)
    tries = 0
    with pytest.raises(problems.Contention):
        while True:
            tries += isinstance(asked_in(request), Update)
            reply = NOW_MS if isinstance(request, Pause) else Refused(item)
            request = operation.send(reply)
    assert tries == ROUNDS


def test_what_ends_while_a_request_waits_is_not_granted(dynamodb: DynamoDBClient) -> None:
    """A lease has expired, a write is lost, and the period ends before the next one."""
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(2, 5, lease=300, period=(600, 3600)))

    def take(seconds: int, *numbers: int) -> None:
        now_ms = NOW_MS + seconds * 1000
        for number in numbers:
            operation = activation.take(
                entitlement_id, Holder(f"u{number}"), change(now_ms), seconds * 10 + number + 1
            )
            dynamodb.run(operation, lambda: now_ms)

    take(0, 0, 1, 2)
    take(290, 0, 1, 2)
    take(550, 0, 1, 3)  # the lease of the third ends ten seconds before the period
    before, after = NOW_MS + 599_900, NOW_MS + 600_300
    operation = activation.take(entitlement_id, Holder("late"), change(before), 9_999)
    request, writes, pauses = next(operation), 0, 0
    reply: Any = None
    with suppress(StopIteration, problems.OverdraftPeriodEnded):
        while True:
            writes += isinstance(asked_in(request), Update)
            if isinstance(request, Pause):
                # Time passes with the second pause after the lost write, if there is one.
                pauses += writes > 1
                reply = after if pauses > 1 else before
            elif isinstance(request, Update) and writes == 2:
                assert "seq = :seen" in request.condition, "it reclaims the seat that expired"
                reply = Refused(read_shard_item(dynamodb, entitlement_id))
            else:
                reply = dynamodb.execute(request)
            request = operation.send(reply)
    assert writes > 2
    made = read_shard_item(dynamodb, entitlement_id)["last"]
    assert made["at"] < NOW_MS + 600_000, "granted after the end"
