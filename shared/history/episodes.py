"""Overdraft episodes."""

from typing import Any, NamedTuple

from shared.clock import hours_of, to_rfc3339
from shared.dynamodb.keys import SEATS
from shared.dynamodb.requests import Item, Steps
from shared.history.aggregator import carried
from shared.history.buckets import Quarter
from shared.history.denials import denied_between


class Episode(NamedTuple):
    """Use above what was purchased, from when it rose to when it fell back (`end`; None: not yet).

    `overdraft_ms` and `overdraft_seat_ms` do not count the quiet between joined parts.
    Its item has the number of people granted a seat in it as well (`distinct`).
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


def episode_view(
    entitlement_id: str, item: Item, latest: Quarter | None, now: int, meter: str = SEATS
) -> Steps[dict[str, Any]]:
    """An episode as it is answered and sent; `latest` lets one that goes on be carried to `now`."""
    episode = carried(Episode.of(item), latest, now)
    until = now if episode.end is None else episode.end
    denied = yield from denied_between(
        entitlement_id, episode.start, max(until, episode.start + 1), meter
    )
    view: dict[str, Any] = {
        "episodeId": f"epi_{episode.start}",
        "start": to_rfc3339(episode.start),
        "end": None if episode.end is None else to_rfc3339(episode.end),
        "peak": episode.peak,
        "overdraftSeconds": episode.overdraft_ms // 1000,
        "deniedAttempts": sum(denied.values()),
    }
    if meter != SEATS:
        return {**view, "deniedRequests": len(denied)}
    return {
        **view,
        "overdraftSeatSeconds": episode.overdraft_seat_ms // 1000,
        "seatHours": hours_of(episode.overdraft_seat_ms),
        # Those in `seats` are from before they were counted.
        "distinctSeats": item.get("distinct", 0) + len(item.get("seats", ())),
        "deniedSeats": len(denied),
    }
