"""A shard of the set of seats, as read, and the decisions that follow from it."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

from shared import problems
from shared.clock import from_duration, to_rfc3339
from shared.dynamodb.requests import (
    Item,
)
from shared.limits import lowest
from shared.overdraft_clock import (
    OverdraftClock,
    OverdraftPeriod,
    clock_in,
    period_in,
    unless_recovered,
)
from shared.seats.encoding import NEVER, NO_LEASE, decode_grant
from shared.validity import check_in_force, status_at

HAS_TOTALS = "isSummed"  # marks a shard whose changes are reported by the totals of its pool
SHARD_SEATS = 128  # the largest hard cap that one shard may have
CLOCK_GRACE = 5  # seconds by which clocks may differ: an expired lease is reclaimed this much later
MOST_FREED = 200  # the most seats that one write frees: an expression has at most 4 KB
MIN_LEASE = 60
MAX_LEASE = 366 * 86_400


def lease_seconds(text: str) -> int:
    """The seconds of a lease period.

    Raises:
        ValueError: it is no period of ISO 8601, too short or too long.
    """
    seconds = from_duration(text)
    if not MIN_LEASE <= seconds <= MAX_LEASE:
        raise ValueError("must be between PT1M and P366D")
    return seconds


# --- The shard ------------------------------------------------------------------------------------


class SeatShard(NamedTuple):
    """A shard of an entitlement's set of seats, as read.

    `seats` maps seat keys to grants (see `decode_grant`). On an only shard `shard_count` is None,
    and the limits are the entitlement's. A shard of a pool has no limits (`purchased` is 0): it
    holds at most its `allocation`; `number` is its first slot. Seats released on a shard that
    `is_draining` go to the pool. `earliest` is a lower bound of the lease ends (Unix seconds; see
    `earliest_after`). `seq` is the shard's version. `has_seats`: the entitlement includes seats.
    `locked_at_ms`: its seats are being moved since then. `has_totals`: the entitlement has, or had,
    several shards, and the totals report its changes. `overdraft_period` is how long an overdraft
    may last (None: for ever), `clock` the clock that was stored last (see `clock_at`).
    `overdraft_lease_seconds` is the lease of seats taken in overdraft; None: that of all seats.
    `customer_cap` is a cap below the hard cap that the customer has set. `offline_seconds` is for
    how long software may go on with a signed lease; None: until the lease ends.
    """

    seats: dict[str, int]
    purchased: int
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
    overdraft_period: OverdraftPeriod | None = None
    clock: OverdraftClock | None = None
    overdraft_lease_seconds: int | None = None
    customer_cap: int | None = None
    offline_seconds: int | None = None

    @classmethod
    def of(cls, item: Item) -> "SeatShard":
        """The shard in an item of the table."""
        sold = sold_limits(item)
        return cls(
            item["seats"],
            sold.get("seatCount", 0),  # the shards of a pool do not have its limits
            sold.get("hardCap"),
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
            period_in(item),
            clock_in(item),
            item.get("overdraftLeaseSeconds"),
            customer_cap_in(item),
            item.get("offlineSeconds"),
        )

    @property
    def is_only_shard(self) -> bool:
        """Whether it is the only shard, so that its limits are those of the entitlement."""
        return self.shard_count is None

    @property
    def upper_cap(self) -> int | None:
        """The cap of an only shard, whatever the clock of an overdraft says."""
        return lowest(self.hard_cap, self.customer_cap)

    def cap_at(self, now: int) -> int | None:
        """The most seats that it may hold at `now`; None: there is no limit."""
        if self.shard_count is not None:
            return self.allocation
        clock = self.clock_at(now)
        has_ended = clock is not None and clock.has_ended(now)
        return lowest(self.purchased if has_ended else self.hard_cap, self.customer_cap)

    def clock_at(self, now: int) -> OverdraftClock | None:
        """The clock of the overdraft that runs, or has ended, at `now`.

        Leases that have expired count as freed when they expired, whenever they are reclaimed.
        """
        if self.overdraft_period is None or self.clock is None or self.status_at(now) != "active":
            return None
        fell_at = self._fell_at(now)
        clock = self.clock if fell_at is None else self.clock.fallen(fell_at, self.overdraft_period)
        return unless_recovered(clock, now)

    def _fell_at(self, now: int) -> int | None:
        """When leases that have expired brought use down to what was purchased; None: they do not.

        The last of them counts: the seats above what was purchased are those that end first.
        """
        over = self.used - self.purchased
        if over <= 0 or (self.earliest is not None and self.earliest > now):
            return None
        ends = sorted(
            end + CLOCK_GRACE
            for end in (decode_grant(value).lease_end for value in self.seats.values())
            if end is not None and end + CLOCK_GRACE <= now
        )
        return ends[over - 1] if len(ends) >= over else None

    @property
    def free(self) -> int:
        """The number of seats of its allocation that are not held."""
        return max(0, (self.allocation or 0) - self.used)

    @property
    def used(self) -> int:
        """The number of seats that are held."""
        return len(self.seats)

    def stored_lease(self, *, is_overdraft: bool) -> int:
        """What a write adds to the value of such a seat: the lease period, or `NO_LEASE`."""
        own = self.overdraft_lease_seconds if is_overdraft else None
        return self.lease_seconds if own is None else own

    def with_lease(self, value: int) -> int:
        """A seat's value as it is stored, from that of a write: with its lease."""
        grant = decode_grant(value)
        return value + (
            0 if grant.is_borrowed else self.stored_lease(is_overdraft=grant.is_overdraft)
        )

    def lease_of(self, value: int) -> int | None:
        """The lease period of a seat by its value, in seconds; None: it is held until released."""
        stored = self.stored_lease(is_overdraft=decode_grant(value).is_overdraft)
        return None if stored == NO_LEASE else stored

    @property
    def shortest_lease(self) -> int | None:
        """The shortest lease period that a grant can give; None: no seat has a lease."""
        stored = (self.stored_lease(is_overdraft=each) for each in (False, True))
        return min((each for each in stored if each != NO_LEASE), default=None)

    def status_at(self, now: int) -> str:
        """The status at `now`: the stored one, or what the time has made of it."""
        return status_at(self.status, self.valid_from, self.valid_until, now)

    def next_lease_expiry(self) -> int | None:
        """The earliest lease end of the seats that are held."""
        ends = [seat.lease_end for seat in map(decode_grant, self.seats.values())]
        return min((end for end in ends if end is not None), default=None)

    def expired_keys(self, now: int) -> list[str]:
        """Seats whose lease expired at least `CLOCK_GRACE` ago, as many as one write can free."""
        if self.earliest is not None and self.earliest > now:
            return []
        expired = [
            key
            for key, value in self.seats.items()
            if (end := decode_grant(value).lease_end) is not None and end + CLOCK_GRACE <= now
        ]
        return expired[:MOST_FREED]

    def outdated_leases(self, now: int) -> list[str]:
        """Seats whose lease is of earlier terms, at most as many as one write can change."""
        found = [key for key, value in self.seats.items() if has_outdated_lease(self, value, now)]
        return found[:MOST_FREED]


def sold_limits(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was sold: `seatCount` and `hardCap` of the item of a shard, or of a pool's terms.

    The attributes of these names are lower where the customer has set a cap, because a condition
    compares with them.
    """
    sold: Mapping[str, Any] = item.get("sold") or item
    return sold


def customer_cap_in(item: Mapping[str, Any]) -> int | None:
    """The cap that the customer has set, in such an item; None: there is none."""
    cap: int | None = item["hardCap"] if item.get("sold") else None
    return cap


def lease_expiry(end: int | None) -> str | None:
    """A lease end as the API answers it; None without a lease."""
    return None if end is None else to_rfc3339(end * 1000)


# --- Decisions ------------------------------------------------------------------------------------


class Decision(Enum):
    """What to do for a holder who asks for a seat."""

    KEEP = auto()  # the holder has the seat, and there is nothing to write
    RENEW = auto()  # the holder has the seat, and the lease has to be written
    RECLAIM = auto()  # leases have expired: free them and take one seat, in one write
    GRANT = auto()  # take a free seat: on an only shard, one within what was purchased
    GRANT_OVERDRAFT = auto()  # on an only shard: take a seat above what was purchased
    SHARD_FULL = auto()  # no seat is free on this shard


def decide(shard: SeatShard, key: str, now: int, borrowed_end: int | None = None) -> Decision:
    """Decide on a request for a seat on a shard that is in force. The order of checks is the rule.

    `borrowed_end`: when the lease is to end of a seat that is to be borrowed; None: the shard's own
    lease is wanted.

    A holder is never denied. Expired seats are freed before a seat counts as overdraft. A shard of
    a pool does not know about overdraft: there, the pool's totals decide whether a seat is marked.
    Once the period of the overdraft has ended, what was purchased is the cap.
    """
    if key in shard.seats:
        is_due = renewal_due(shard, key, now, borrowed_end)
        return Decision.RENEW if is_due else Decision.KEEP
    expired = len(shard.expired_keys(now))
    left = shard.used - expired
    cap = shard.cap_at(now)
    if cap is not None and left >= cap:
        return Decision.SHARD_FULL
    if expired:
        return Decision.RECLAIM
    is_within = left < shard.purchased or not shard.is_only_shard
    return Decision.GRANT if is_within else Decision.GRANT_OVERDRAFT


def renewal_due(shard: SeatShard, key: str, now: int, borrowed_end: int | None = None) -> bool:
    """A renewal writes if less than half of the lease is left, or if the terms have changed.

    A borrowed seat gets the shard's own lease again once that ends later. A seat is borrowed if it
    is not yet, or longer if that makes a difference of a minute.
    """
    held = decode_grant(shard.seats[key])
    end, lease = held.lease_end, shard.lease_of(shard.seats[key])
    if borrowed_end is not None:
        return not held.is_borrowed or (end or 0) + MIN_LEASE <= borrowed_end
    if held.is_borrowed:
        return lease is None or (end or 0) < now + lease
    if has_outdated_lease(shard, shard.seats[key], now):
        return True
    return lease is not None and end is not None and end - now < lease / 2


def has_outdated_lease(shard: SeatShard, value: int, now: int) -> bool:
    """Whether a seat has a lease that the shard's present terms cannot have given it.

    The seat has a lease and the shard has none, or the other way round, or the lease ends later
    than one of this moment would. A lease that ends sooner is left: the next renewal extends it.
    That of a borrowed seat is its own.
    """
    held, lease = decode_grant(value), shard.lease_of(value)
    end = held.lease_end
    if held.is_borrowed:
        return False
    if lease is None or end is None:
        return (lease is None) != (end is None)
    return end - now > lease + CLOCK_GRACE


def earliest_after(shard: SeatShard, kept: Mapping[str, int], now: int) -> int | None:
    """A lower bound of the lease ends of `kept` and of every seat granted from `now` on.

    None if no seat has a lease (the next grant sets it); `NEVER` if the shard has no leases, and
    none of its seats is borrowed; 0 while a lease is of earlier terms, so that the sweep looks at
    the shard.
    """
    if any(has_outdated_lease(shard, value, now) for value in kept.values()):
        return 0
    ends = [end for value in kept.values() if (end := decode_grant(value).lease_end) is not None]
    shortest = shard.shortest_lease
    if shortest is None:
        return min(ends, default=NEVER)
    return min(*ends, now + shortest) if ends else None


# --- Checks ---------------------------------------------------------------------------------------


def check_seats(shard: SeatShard, now: int) -> None:
    """Raise the problem for which nothing is granted on this shard at `now`."""
    check_in_force(shard.status_at(now))
    if not shard.has_seats:
        raise problems.NotFound("This entitlement has usage limits, and no seats.")
