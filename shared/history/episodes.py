"""Overdraft episodes."""

from typing import NamedTuple

from shared.dynamodb.requests import Item


class Episode(NamedTuple):
    """Usage above what was purchased, from when it rose until it fell back (`end` None: not yet).

    `overdraft_ms` and `overdraft_seat_ms` do not include the quiet time between joined parts. The
    item also has the number of persons who were granted a seat in it (`distinct`).
    """

    start: int
    start_seq: int
    end: int | None
    peak: int
    overdraft_ms: int
    overdraft_seat_ms: int

    @classmethod
    def of(cls, item: Item) -> "Episode":
        """The episode in its item."""
        return cls(
            item["start"],
            item["start_seq"],
            item.get("end"),
            item["peak"],
            item["overdraft_ms"],
            item["overdraft_seat_ms"],
        )
