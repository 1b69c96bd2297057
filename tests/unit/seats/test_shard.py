"""Decisions on a shard, on values."""

import pytest

from shared.seats.encoding import (
    NO_LEASE,
    encode_grant,
)
from shared.seats.shard import Decision, SeatShard, decide
from shared.validity import status_at
from tests.support.seats import NOW


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
