"""Seat keys, seat values, grant ids and activation ids."""

import random

import pytest

from shared import problems
from shared.seats.encoding import (
    NO_LEASE,
    Grant,
    GrantIds,
    activation_id,
    decode_grant,
    encode_grant,
    parse_activation_id,
    seat_key,
)
from tests.support.seats import NOW, NOW_MS


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
