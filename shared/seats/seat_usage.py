"""How many seats of an entitlement are used, against both limits."""

from typing import Any, NamedTuple

from shared.clock import to_rfc3339
from shared.dynamodb.keys import standing_key
from shared.dynamodb.requests import (
    Get,
    Item,
    Operation,
    Unavailable,
)
from shared.limits import seats_view
from shared.seats.shard import Page


class Standing(NamedTuple):
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
    def of(cls, page: Page) -> "Standing":
        """That of a page that has all the seats."""
        return cls(page.used, page.seat_count, page.hard_cap, None, page.seq)

    def view(self) -> dict[str, Any]:
        """The `seats` object of the contract."""
        view: dict[str, Any] = seats_view(self.used, self.seat_count, self.hard_cap)
        if self.as_of_ms is not None:
            view["asOf"] = to_rfc3339(self.as_of_ms)
        return view


def read_standing(owner: str) -> Operation[Standing]:
    """How a pool of several pages stands."""
    item: Item | None = yield Get(standing_key(owner))
    if item is None:
        raise Unavailable("a pool without a standing")  # it is written with the second page
    return standing_of(item)


def standing_of(item: Item) -> Standing:
    """The standing in its item."""
    return Standing(
        item["used"], item["seatCount"], item.get("hardCap"), item["at"], item.get("seq", 0)
    )
