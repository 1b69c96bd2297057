"""Leases: the sweep, and the lower bound of lease ends."""

import pytest

from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import seat_shard_key
from shared.dynamodb.requests import Transact
from shared.seats import activation
from shared.seats.encoding import (
    NEVER,
    decode_grant,
)
from shared.seats.holder import Holder
from shared.seats.leases import sweep_shard
from shared.seats.terms import shard_terms_update
from tests.support.seats import NOW, NOW_MS, change, make_shard, new_id, read_shard_item, terms


def test_the_sweep_frees_what_ran_out_and_corrects_the_bound(dynamodb: DynamoDBClient) -> None:
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(5, 5, lease=600))
    for number, offset in enumerate((0, 100_000, 200_000)):
        at = change(NOW_MS + offset)
        dynamodb.run(activation.take(entitlement_id, Holder(f"u{number}"), at, number))
    key = seat_shard_key(entitlement_id)
    early = change(NOW_MS + 201_000)
    assert dynamodb.run(sweep_shard(key, early)) == 0
    assert read_shard_item(dynamodb, entitlement_id)["earliest"] == NOW + 600
    seq = read_shard_item(dynamodb, entitlement_id)["seq"]
    assert dynamodb.run(sweep_shard(key, change(NOW_MS + 706_000))) == 2
    swept = read_shard_item(dynamodb, entitlement_id)
    assert len(swept["seats"]) == 1
    assert (swept["seq"], swept["last"]["type"]) == (seq + 1, "lease_expired")
    assert dynamodb.run(sweep_shard(key, change(NOW_MS + 900_000))) == 1
    assert "earliest" not in read_shard_item(dynamodb, entitlement_id)


def test_a_shard_without_leases_is_never_due(dynamodb: DynamoDBClient) -> None:
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(5, 5))
    dynamodb.run(activation.take(entitlement_id, Holder("u"), change(), 1))
    assert read_shard_item(dynamodb, entitlement_id)["earliest"] == NEVER


def test_the_bound_holds_for_grants_after_a_shortened_lease(dynamodb: DynamoDBClient) -> None:
    """Long leases are held, the period is shortened, the sweep passes, somebody new comes."""
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(5, 5, lease=7200))
    dynamodb.run(activation.take(entitlement_id, Holder("long"), change(), 1))
    shorter = shard_terms_update(
        entitlement_id, terms(5, 5, lease=60), change(), lease_changed=True
    )
    dynamodb.execute(Transact((shorter,)))
    dynamodb.run(sweep_shard(seat_shard_key(entitlement_id), change()))
    grant = dynamodb.run(activation.take(entitlement_id, Holder("short"), change(), 2))
    assert grant.held.lease_end == NOW + 60
    assert read_shard_item(dynamodb, entitlement_id)["earliest"] <= NOW + 60
    late = change(NOW_MS + 66_000)
    assert dynamodb.run(sweep_shard(seat_shard_key(entitlement_id), late)) == 2


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [
        (None, 600, NOW + 660),  # switched on: it begins when the sweep passes
        (7200, 600, NOW + 660),  # made shorter
        (600, 7200, NOW + 600),  # made longer: the next renewal does it
        (600, None, None),  # switched off: held until released
    ],
)
def test_an_idle_seat_comes_under_new_terms(
    dynamodb: DynamoDBClient, before: int | None, after: int | None, ends: int | None
) -> None:
    """Nobody renews: the sweep gives the lease of the new terms, once."""
    entitlement_id = new_id()
    key = seat_shard_key(entitlement_id)
    make_shard(dynamodb, entitlement_id, terms(200, 200, lease=before))
    grant_ids = list(range(1, 129))
    for grant_id in grant_ids:
        dynamodb.run(activation.take(entitlement_id, Holder(f"idle{grant_id}"), change(), grant_id))
    seq = read_shard_item(dynamodb, entitlement_id)["seq"]
    new = shard_terms_update(
        entitlement_id, terms(200, 200, lease=after), change(), lease_changed=True
    )
    dynamodb.execute(Transact((new,)))
    for minute in (1, 2, 3):
        assert dynamodb.run(sweep_shard(key, change(NOW_MS + minute * 60_000))) == 0
    shard = read_shard_item(dynamodb, entitlement_id)
    seats = [decode_grant(value) for value in shard["seats"].values()]
    assert {seat.lease_end for seat in seats} == {ends}
    assert sorted(seat.grant_id for seat in seats) == grant_ids, "they are the same grants"
    # The change of terms, and one write of the sweep where there was something to do.
    assert shard["seq"] == seq + 1 + (ends != NOW + 600)
    assert shard["earliest"] == (NEVER if ends is None else ends)
    freed = dynamodb.run(sweep_shard(key, change(NOW_MS + 8000_000)))
    assert freed == (0 if ends is None else 128)


def test_leases_that_ran_out_do_not_hide_those_of_earlier_terms(dynamodb: DynamoDBClient) -> None:
    entitlement_id = new_id()
    key = seat_shard_key(entitlement_id)
    make_shard(dynamodb, entitlement_id, terms(5, 5, lease=60))
    dynamodb.run(activation.take(entitlement_id, Holder("short"), change(), 1))
    for lease in (7200, 60):
        write = shard_terms_update(
            entitlement_id, terms(5, 5, lease=lease), change(), lease_changed=True
        )
        dynamodb.execute(Transact((write,)))
        dynamodb.run(activation.take(entitlement_id, Holder(f"under {lease}"), change(), lease))
    assert dynamodb.run(sweep_shard(key, change(NOW_MS + 66_000))) == 2
    assert read_shard_item(dynamodb, entitlement_id)["earliest"] == 0
    assert dynamodb.run(sweep_shard(key, change(NOW_MS + 70_000))) == 0
    [left] = read_shard_item(dynamodb, entitlement_id)["seats"].values()
    assert decode_grant(left).lease_end == NOW + 130


def test_the_bound_holds_for_a_grant_right_after_a_shortened_lease(
    dynamodb: DynamoDBClient,
) -> None:
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(5, 5, lease=7200))
    dynamodb.run(activation.take(entitlement_id, Holder("long"), change(), 1))
    dynamodb.run(sweep_shard(seat_shard_key(entitlement_id), change(NOW_MS + 61_000)))
    assert read_shard_item(dynamodb, entitlement_id)["earliest"] == NOW + 7200
    shorter = shard_terms_update(
        entitlement_id, terms(5, 5, lease=60), change(), lease_changed=True
    )
    dynamodb.execute(Transact((shorter,)))
    dynamodb.run(activation.take(entitlement_id, Holder("short"), change(NOW_MS + 70_000), 2))
    assert read_shard_item(dynamodb, entitlement_id)["earliest"] <= NOW + 130


def test_a_renewal_that_brings_the_first_lease_sets_the_bound(dynamodb: DynamoDBClient) -> None:
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(5, 5))
    dynamodb.run(activation.take(entitlement_id, Holder("a"), change(), 1))
    leased = shard_terms_update(
        entitlement_id, terms(5, 5, lease=600), change(), lease_changed=True
    )
    dynamodb.execute(Transact((leased,)))
    assert read_shard_item(dynamodb, entitlement_id)["earliest"] == 0
    grant = dynamodb.run(activation.take(entitlement_id, Holder("a"), change(NOW_MS + 2000), 2))
    assert grant.held.lease_end == NOW + 602
    assert read_shard_item(dynamodb, entitlement_id)["earliest"] <= NOW + 602
