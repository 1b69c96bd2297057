"""Decisions of the seat core, on values."""

import random

import pytest

from shared import problems
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import seat_shard_key
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import Conflicted, Pause, Refused, Transact, Update
from shared.seats import activation
from shared.seats.encoding import (
    NEVER,
    NO_LEASE,
    Grant,
    GrantIds,
    activation_id,
    decode_grant,
    encode_grant,
    parse_activation_id,
    seat_key,
)
from shared.seats.holder import Holder
from shared.seats.leases import sweep_shard
from shared.seats.shard import Decision, SeatShard, decide
from shared.seats.terms import shard_terms_update
from shared.validity import status_at
from tests.support.seats import NOW, NOW_MS, change, make_shard, new_id, read_shard_item, terms


def shard(
    *ends: int | None, purchased: int = 2, hard_cap: int | None = 3, lease: int = 600
) -> SeatShard:
    """A shard with a holder `s0`, `s1`, ... for each lease end (None: without a lease)."""
    seats = {}
    for number, end in enumerate(ends):
        base = encode_grant(number, is_overdraft=False, now=NOW)
        seats[f"s{number}"] = base + (NO_LEASE if end is None else end - NOW)
    leased = [end for end in ends if end is not None]
    earliest = min(leased, default=None)
    return SeatShard(
        seats, purchased, hard_cap, "active", 0, None, lease, earliest, 5, has_seats=True
    )


@pytest.mark.parametrize("is_overdraft", [False, True])
@pytest.mark.parametrize("lease", [None, 60, 366 * 86_400])
def test_a_seat_value_has_grant_id_flag_and_lease_end(
    lease: int | None, is_overdraft: bool
) -> None:
    value = encode_grant(12_345_678_901_234, is_overdraft=is_overdraft, now=NOW)
    value += NO_LEASE if lease is None else lease
    assert decode_grant(value) == Grant(
        12_345_678_901_234, is_overdraft, None if lease is None else NOW + lease
    )
    assert len(str(value)) <= 24


def test_seat_keys_are_72_bits_of_sha_256() -> None:
    # printf 'ent_a\\0alice@acme.com' | openssl dgst -sha256 -binary | head -c 9 | basenc --base64url
    assert seat_key("ent_a", "alice@acme.com") == "Phtuku5KCagA"
    assert seat_key("ent_a", "alice@acme.com") != seat_key("ent_b", "alice@acme.com")
    assert seat_key("a", "b\0c") != seat_key("a\0b", "d")


def test_grant_ids_never_repeat_even_if_the_clock_stops_or_goes_back() -> None:
    grant_ids = GrantIds(7)
    made = [grant_ids.next(NOW_MS + offset) for offset in (0, 0, 0, 5, -1000, 6)]
    assert made == sorted(set(made))
    assert all(grant_id % 100 == 7 for grant_id in made)
    assert (
        decode_grant(encode_grant(made[0], is_overdraft=False, now=NOW)).activated_at_ms == NOW_MS
    )


def test_grant_ids_of_two_processes_differ_in_the_same_millisecond() -> None:
    assert GrantIds(1).next(NOW_MS) != GrantIds(2).next(NOW_MS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "act_",
        "act_" + "A" * 19,
        "act_" + "A" * 21,
        "xct_" + "A" * 20,
        "act_" + "é" * 20,
        "act_" + "A" * 12 + "!!!!!!!!",
        "act_" + "#" * 12 + "AAAAAAAA",
        "x" * 80,
        *("act_" + "A" * 12 + "_" * length for length in range(30) if length != 8),
        "act_" + "A" * 20 + "\n",
    ],
)
def test_what_is_no_activation_id(text: str) -> None:
    with pytest.raises(problems.NotFound):
        parse_activation_id(text)


def test_activation_ids_go_there_and_back() -> None:
    for _ in range(200):
        key, grant_id = seat_key("e", str(random.random())), random.randrange(10**14)
        assert parse_activation_id(activation_id(key, grant_id)) == (key, grant_id)


LATER, GONE, JUST_GONE = NOW + 300, NOW - 5, NOW - 4


@pytest.mark.parametrize(
    ("seen", "decision"),
    [
        (shard(), Decision.GRANT),
        (shard(LATER), Decision.GRANT),
        (shard(LATER, LATER), Decision.GRANT_OVERDRAFT),
        (shard(LATER, LATER, LATER), Decision.SHARD_FULL),
        (shard(LATER, GONE), Decision.RECLAIM),
        (shard(LATER, LATER, GONE), Decision.RECLAIM),
        (shard(LATER, LATER, JUST_GONE), Decision.SHARD_FULL),
        (shard(LATER, LATER, LATER, GONE), Decision.SHARD_FULL),  # the cap was lowered below use
        (shard(LATER, LATER, LATER, hard_cap=None), Decision.GRANT_OVERDRAFT),
        (shard(None, None, None), Decision.SHARD_FULL),
        (shard(purchased=0, hard_cap=0), Decision.SHARD_FULL),
    ],
)
def test_what_a_shard_means_for_a_new_holder(seen: SeatShard, decision: Decision) -> None:
    assert decide(seen, "new", NOW) is decision


@pytest.mark.parametrize(
    ("left", "lease", "decision"),
    [
        (301, 600, Decision.KEEP),
        (300, 600, Decision.KEEP),
        (299, 600, Decision.RENEW),
        (-100, 600, Decision.RENEW),  # expired, and nobody took the seat
        (600, 600, Decision.KEEP),
        (3600, 600, Decision.RENEW),  # the lease was shortened
        (None, NO_LEASE, Decision.KEEP),
        (None, 600, Decision.RENEW),
        (300, NO_LEASE, Decision.RENEW),
    ],
)
def test_a_holder_is_never_denied(left: int | None, lease: int, decision: Decision) -> None:
    seen = shard(None if left is None else NOW + left, LATER, LATER, lease=lease)
    assert decide(seen, "s0", NOW) is decision


def test_status_follows_from_the_time() -> None:
    def at(now: int, status: str = "active") -> str:
        return status_at(status, 100, 200, now)

    assert [at(99), at(100), at(199), at(200)] == ["not_yet_valid", "active", "active", "expired"]
    assert at(150, "suspended") == "suspended"
    assert at(250, "deleted") == "deleted"


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
    """Always refused, always room by the time one looks: bounded, then `contention`."""
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(1, 2))
    item = read_shard_item(dynamodb, entitlement_id)
    operation = activation.take(entitlement_id, Holder("a"), change(), 1)
    request = operation.send(None)
    tries = 0
    with pytest.raises(problems.Contention):
        while True:
            tries += isinstance(request, Update)
            reply = NOW_MS if isinstance(request, Pause) else Refused(item)
            request = operation.send(reply)
    assert tries == ROUNDS
