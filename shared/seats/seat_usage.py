"""How many seats of an entitlement are used, against both limits."""

from typing import NamedTuple

from shared.audit import limit_reached
from shared.clock import to_rfc3339
from shared.dynamodb.keys import seat_usage_key
from shared.dynamodb.patterns import read_existing
from shared.dynamodb.requests import (
    Item,
    Operation,
)
from shared.limits import UsedView, lowest, seats_view
from shared.overdraft_clock import (
    OverdraftClock,
    OverdraftView,
    clock_in,
    period_in,
    unless_recovered,
)
from shared.seats.shard import SeatShard


class PoolSeatsView(UsedView):
    """The `seats` object of a pool: its totals are from some seconds ago."""

    asOf: str


class SeatUsage(NamedTuple):
    """The use of an entitlement's seats, against both limits.

    `as_of_ms` is the time of the newest change that the totals of a pool include. `seq` grows with
    every change. `clock` is that of an overdraft with a period; `has_ended`: the period is over, so
    that what was purchased is the cap. `has_period`: the overdraft of a pool may only last for a
    time. `customer_cap` is a cap below the hard cap that the customer has set.
    """

    used: int
    purchased: int
    hard_cap: int | None
    as_of_ms: int | None = None
    seq: int = 0
    clock: OverdraftClock | None = None
    has_ended: bool = False
    has_period: bool = False
    customer_cap: int | None = None

    @classmethod
    def of(cls, shard: SeatShard, now: int) -> "SeatUsage":
        """The usage of an only shard at `now`, Unix seconds."""
        clock = shard.clock_at(now)
        has_ended = clock is not None and clock.has_ended(now)
        return cls(
            shard.used,
            shard.purchased,
            shard.hard_cap,
            None,
            shard.seq,
            clock,
            has_ended,
            customer_cap=shard.customer_cap,
        )

    def at(self, now: int) -> "SeatUsage":
        """The usage of a pool, with the clock as it is at `now`, Unix seconds."""
        clock = unless_recovered(self.clock, now)
        return self._replace(clock=clock, has_ended=clock is not None and clock.has_ended(now))

    @property
    def limit_reached(self) -> str:
        """The limit for which nobody gets a seat, if none is available."""
        return limit_reached(
            self.purchased, self.hard_cap, self.customer_cap, has_ended=self.has_ended
        )

    @property
    def cap(self) -> int | None:
        """The cap that holds; None: there is none."""
        return lowest(self.purchased if self.has_ended else self.hard_cap, self.customer_cap)

    def overdraft_view(self) -> OverdraftView | None:
        """The `overdraft` object of the API; None: no clock runs."""
        return self.clock.view() if self.clock else None

    def view(self) -> UsedView | PoolSeatsView:
        """The `seats` object of the API."""
        seats = seats_view(
            self.used,
            self.purchased,
            self.hard_cap,
            self.customer_cap,
            has_ended=self.has_ended,
        )
        return seats if self.as_of_ms is None else {**seats, "asOf": to_rfc3339(self.as_of_ms)}


def read_seat_usage(entitlement_id: str, now: int) -> Operation[SeatUsage]:
    """Read the seat usage of a pool, with the clock as it is at `now`, Unix seconds."""
    # It is written with the second shard.
    return seat_usage_of((yield from read_existing(seat_usage_key(entitlement_id))), now)


def seat_usage_of(item: Item, now: int) -> SeatUsage:
    """The seat usage in its item, with the clock as it is at `now`."""
    return SeatUsage(
        item["used"],
        item["seatCount"],
        item.get("hardCap"),
        item["at"],
        item.get("seq", 0),
        clock_in(item),
        has_period=period_in(item) is not None,
        customer_cap=item.get("customerCap"),
    ).at(now)
