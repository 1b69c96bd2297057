"""A shard of the set of seats, as read, and the decisions that follow from it."""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from shared import problems
from shared.clock import to_rfc3339
from shared.dynamodb.requests import (
    Item,
)
from shared.seats.encoding import NEVER, NO_LEASE, decode_seat
from shared.validity import check_in_force, status_at

HAS_TOTALS = "isSummed"  # of a page whose versions are told by its pool's sum
SHARD_SEATS = 128  # the most a single page may be asked to hold
CLOCK_GRACE = 5  # seconds by which clocks may differ: a lease is reclaimed that long after its end
MOST_FREED = 200  # leases that one write frees: an expression has 4 KB at most
MIN_LEASE = 60
MAX_LEASE = 366 * 86_400


# --- The page -----------------------------------------------------------------------------------


class SeatShard(NamedTuple):
    """A ledger page as read. `seats` maps seat key to seat value (see `decode_seat`).

    `pages` is how many its pool has (see `pool`), None of a page that has all the seats. In a pool
    it holds at most its `allowance`, and `number` names it; what is freed on one that `is_frozen`
    is paid to the pool. `moving_at_ms`: its seats are being moved, since then. `is_summed`: the
    entitlement has, or had, several pages, and their sum tells of its changes.
    """

    seats: dict[str, int]
    seat_count: int
    hard_cap: int | None
    status: str
    valid_from: int
    valid_until: int | None
    lease_seconds: int
    earliest: int | None
    seq: int
    has_seats: bool
    shard_count: int | None = None
    number: int = 0
    allocation: int | None = None
    is_draining: bool = False
    locked_at_ms: int | None = None
    has_totals: bool = False

    @classmethod
    def of(cls, item: Item) -> "SeatShard":
        """The page in an item of the table."""
        return cls(
            item["seats"],
            item.get("seatCount", 0),  # a pool's limits are not on its pages
            item.get("hardCap"),
            item["status"],
            item["validFrom"],
            item.get("validUntil"),
            item["leaseSeconds"],
            item.get("earliest"),
            item["seq"],
            not item.get("noSeats"),
            item.get("pages") or None,
            item.get("page", 0),
            item.get("allowance"),
            "isFrozen" in item,
            item.get("movingAt"),
            HAS_TOTALS in item,
        )

    @property
    def is_only_shard(self) -> bool:
        """Whether it has all the seats of its entitlement: what it says holds for all of them."""
        return self.shard_count is None

    @property
    def cap(self) -> int | None:
        """How many seats it may hold itself; None: there is no limit."""
        return self.hard_cap if self.shard_count is None else self.allocation

    @property
    def free(self) -> int:
        """How many seats of its allowance are not held."""
        return max(0, (self.allocation or 0) - self.used)

    @property
    def used(self) -> int:
        """How many seats are held."""
        return len(self.seats)

    @property
    def lease(self) -> int | None:
        """The lease period, None where seats are held until released."""
        return None if self.lease_seconds == NO_LEASE else self.lease_seconds

    def status_at(self, now: int) -> str:
        """The status, or what the time has made of it."""
        return status_at(self.status, self.valid_from, self.valid_until, now)

    def next_lease_expiry(self) -> int | None:
        """The earliest lease end among the seats held."""
        ends = [seat.lease_end for seat in map(decode_seat, self.seats.values())]
        return min((end for end in ends if end is not None), default=None)

    def expired_keys(self, now: int) -> list[str]:
        """Seats whose lease ran out at least `CLOCK_GRACE` ago; of many, as one write can free."""
        if self.earliest is not None and self.earliest > now:
            return []
        expired = [
            key
            for key, value in self.seats.items()
            if (end := decode_seat(value).lease_end) is not None and end + CLOCK_GRACE <= now
        ]
        return expired[:MOST_FREED]

    def other_leases(self, now: int) -> list[str]:
        """Seats whose lease is of earlier terms; of many, as one write can change."""
        found = [key for key, value in self.seats.items() if is_of_other_terms(self, value, now)]
        return found[:MOST_FREED]


def lease_expiry(end: int | None) -> str | None:
    """A lease end as it is answered; None where there is no lease."""
    return None if end is None else to_rfc3339(end * 1000)


# --- Decisions ----------------------------------------------------------------------------------


class Decision(Enum):
    """What is to be done for a holder who asks for a seat."""

    KEEP = "the holder sits here, no write is due"
    RENEW = "the holder sits here, the lease is to be written"
    RECLAIM = "leases ran out: free them and take one, in one write"
    WITHIN = "a seat within what was purchased"
    OVERDRAFT = "a seat above what was purchased, below the hard cap"
    DENY = "nothing free below the hard cap"


def decide(shard: SeatShard, key: str, now: int) -> Decision:
    """What a page that is in force means for a holder; the order is the rule.

    A holder is never denied; stale seats are freed before anything counts as overdraft. Of a page
    of several, `DENY` means that it has no room itself, and it does not know about overdraft.
    """
    if key in shard.seats:
        return Decision.RENEW if renewal_due(shard, key, now) else Decision.KEEP
    expired = len(shard.expired_keys(now))
    left = shard.used - expired
    if shard.cap is not None and left >= shard.cap:
        return Decision.DENY
    if expired:
        return Decision.RECLAIM
    is_within = left < shard.seat_count or not shard.is_only_shard
    return Decision.WITHIN if is_within else Decision.OVERDRAFT


def renewal_due(shard: SeatShard, key: str, now: int) -> bool:
    """A renewal writes when less than half of the lease is left, or when the terms changed."""
    if is_of_other_terms(shard, shard.seats[key], now):
        return True
    end = decode_seat(shard.seats[key]).lease_end
    return shard.lease is not None and end is not None and end - now < shard.lease / 2


def is_of_other_terms(shard: SeatShard, value: int, now: int) -> bool:
    """Whether a seat has a lease that the page's terms cannot have given it.

    It has one and the page has none, or the other way round, or one that ends later than a lease of
    this moment would. A lease that ends sooner is left: the next renewal makes it longer.
    """
    end, lease = decode_seat(value).lease_end, shard.lease
    if lease is None or end is None:
        return (lease is None) != (end is None)
    return end - now > lease + CLOCK_GRACE


def earliest_after(shard: SeatShard, kept: Mapping[str, int], now: int) -> int | None:
    """A lower bound of the lease ends of `kept` and of every seat granted from `now` on.

    None where no seat is leased (the next grant sets it); `NEVER` where the page has no leases; 0
    where a lease is still of earlier terms, so that the sweep looks at it.
    """
    if any(is_of_other_terms(shard, value, now) for value in kept.values()):
        return 0
    ends = [end for value in kept.values() if (end := decode_seat(value).lease_end) is not None]
    if shard.lease is None:
        return NEVER
    return min(*ends, now + shard.lease) if ends else None


# --- Operations ---------------------------------------------------------------------------------


def check_seats(shard: SeatShard, now: int) -> None:
    """Raise the problem for which nothing is granted on this page at `now`."""
    check_in_force(shard.status_at(now))
    if not shard.has_seats:
        raise problems.NotFound("This entitlement has usage limits, and no seats.")
