"""History as the API answers it."""

from collections.abc import Iterable
from typing import TypedDict

from shared.clock import hours_of, to_rfc3339
from shared.dynamodb.keys import SEATS
from shared.dynamodb.requests import Item, Operation
from shared.history.aggregator import carried
from shared.history.buckets import UsageBucket
from shared.history.denials import denied_between
from shared.history.episodes import Episode

LimitsInForceView = TypedDict(
    "LimitsInForceView", {"from": str, "purchased": int, "hardCap": int | None}
)


def limits_view(limits: Iterable[tuple[int, int, int | None]]) -> list[LimitsInForceView]:
    """Both limits, with the times (Unix milliseconds) from which they hold."""
    return [
        {"from": to_rfc3339(at), "purchased": purchased, "hardCap": cap}
        for at, purchased, cap in limits
    ]


class EpisodeView(TypedDict):
    """What an episode of seats and one of a usage limit have in common."""

    episodeId: str
    start: str
    end: str | None
    peak: int
    overdraftSeconds: int
    deniedAttempts: int


class OverdraftEpisodeView(EpisodeView):
    """An overdraft episode of seats."""

    overdraftSeatSeconds: int
    seatHours: float
    distinctSeats: int
    deniedSeats: int


class UsageOverdraftEpisodeView(EpisodeView):
    """An overdraft episode of a usage limit."""

    deniedRequests: int


def episode_view(
    entitlement_id: str, item: Item, latest: UsageBucket | None, now: int, meter: str = SEATS
) -> Operation[OverdraftEpisodeView | UsageOverdraftEpisodeView]:
    """An episode as the API and events show it; `latest` carries a current one on to `now`."""
    episode = carried(Episode.of(item), latest, now)
    until = now if episode.end is None else episode.end
    denied = yield from denied_between(
        entitlement_id, episode.start, max(until, episode.start + 1), meter
    )
    view: EpisodeView = {
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
        # The persons in `seats` are from a release that did not count them yet.
        "distinctSeats": item.get("distinct", 0) + len(item.get("seats", ())),
        "deniedSeats": len(denied),
    }
