"""How many seats of an entitlement are used, against both limits."""

from typing import Any, NamedTuple

from shared.clock import to_rfc3339
from shared.dynamodb.keys import seat_usage_key
from shared.dynamodb.requests import (
    Get,
    Item,
    Operation,
    Unavailable,
)
from shared.limits import seats_view
from shared.seats.shard import SeatShard


class SeatUsage(NamedTuple):
    """Use of an entitlement's seats against both limits.

    `as_of_ms`: of a pool of several pages, when the newest change that it counts was made; `seq`
    grows with every change that it counts.
    """

    used: int
    seat_count: int
    hard_cap: int | None
    as_of_ms: int | None = None
    seq: int = 0

    @classmethod
    def of(cls, shard: SeatShard) -> "SeatUsage":
        """That of a page that has all the seats."""
        return cls(shard.used, shard.seat_count, shard.hard_cap, None, shard.seq)

    def view(self) -> dict[str, Any]:
        """The `seats` object of the contract."""
        view: dict[str, Any] = seats_view(self.used, self.seat_count, self.hard_cap)
        if self.as_of_ms is not None:
            view["asOf"] = to_rfc3339(self.as_of_ms)
        return view


def read_seat_usage(owner: str) -> Operation[SeatUsage]:
    """How a pool of several pages stands."""
    item: Item | None = yield Get(seat_usage_key(owner))
    if item is None:
        raise Unavailable("a pool without a standing")  # it is written with the second page
    return seat_usage_of(item)


def seat_usage_of(item: Item) -> SeatUsage:
    """The standing in its item."""
    return SeatUsage(
        item["used"], item["seatCount"], item.get("hardCap"), item["at"], item.get("seq", 0)
    )
