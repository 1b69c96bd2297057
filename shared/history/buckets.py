"""Usage buckets: what was used in a quarter-hour."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from shared.audit import EVIDENCE_SECONDS
from shared.dynamodb.requests import Item
from shared.history.episodes import Episode
from shared.history.level import Level

BUCKET_MS = 900_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# The most persons, changes of limits and ranges of missing changes that a bucket remembers: it has
# to fit into an item.
PEOPLE_KEPT = 1_000
LIMITS_KEPT = 1_000
MISSING_KEPT = 1_000


def most_limits(limits: tuple[Any, ...]) -> tuple[Any, ...]:
    """As many changes of limits as a bucket keeps: the latest, and the limits at its beginning."""
    return (limits[0], *limits[1:][-LIMITS_KEPT + 1 :])


class UsageBucket(NamedTuple):
    """Usage of one meter in one quarter-hour, up to the change `seq` at `at`.

    `limits` are `[from, purchased, hard cap]`, the first from the beginning of the bucket.
    `missing` are ranges of `seq` that were given up and not replayed yet, `triggered` are recently
    triggered thresholds as `[percent, at]`, `episode` is the last one. These three are carried from
    bucket to bucket. `until` is when the level falls to nothing by itself, as that of a usage limit
    does with its period. `people` are the keys of the seats that were taken, `over` those of seats
    taken in overdraft.
    """

    start: int
    seq: int
    at: int
    level: Level
    lowest: int
    highest: int
    seat_ms: int
    overdraft_ms: int
    overdraft_seat_ms: int
    counts: Mapping[str, int]
    limits: tuple[tuple[int, int, int | None], ...]
    missing: tuple[tuple[int, int], ...]
    triggered: tuple[tuple[int | str, int], ...]
    episode: Episode | None
    until: int | None = None
    people: tuple[str, ...] = ()
    over: tuple[str, ...] = ()

    def to_item(self, following: int | None) -> Item:
        """The bucket as the table stores it, for 13 months from the `following` one's beginning.

        Until then its level is what was held, however long ago. The same holds for the latest
        bucket.
        """
        item: Item = self._asdict()
        item |= {
            "level": list(self.level),
            "counts": dict(self.counts),
            "limits": [list(each) for each in self.limits],
            "missing": [list(each) for each in self.missing],
            "fired": [list(each) for each in item.pop("triggered")],
            "episode": list(self.episode) if self.episode else None,
            "people": list(self.people),
            "over": list(self.over),
            "ttl": None if following is None else following // 1000 + EVIDENCE_SECONDS,
        }
        return item

    @classmethod
    def of(cls, item: Item) -> "UsageBucket":
        """The bucket in an item."""
        values: dict[str, Any] = {name: item.get(name) for name in cls._fields}
        episode = values["episode"]
        values |= {
            "level": Level(*item["level"]),
            "limits": tuple((at, purchased, cap) for at, purchased, cap in item["limits"]),
            "missing": tuple((first, last) for first, last in item["missing"]),
            "triggered": tuple((what, at) for what, at in item["fired"]),
            "episode": Episode(*episode) if episode else None,
            # Items of older releases do not have them.
            "people": tuple(item.get("people") or ()),
            "over": tuple(item.get("over") or ()),
        }
        return cls(**values)

    def is_missing(self, seq: int) -> bool:
        """Whether this change is missing, so that it is welcome late."""
        return any(first <= seq <= last for first, last in self.missing)


def month_name(at: int) -> str:
    """The UTC month of a time, `YYYY-MM`."""
    return bucket_name(at)[:7]


def months_between(start: int, end: int) -> list[str]:
    """The UTC months that a period touches, including that of `end`."""
    names = [month_name(start)]
    while names[-1] < month_name(end):
        year, month = divmod(int(names[-1][:4]) * 12 + int(names[-1][5:]), 12)
        names.append(f"{year:04d}-{month + 1:02d}")
    return names


def bucket_start(at: int) -> int:
    """The beginning of the quarter-hour of a time."""
    return at - at % BUCKET_MS


def bucket_name(start: int) -> str:
    """The name of a quarter-hour, `YYYY-MM-DDTHH:MM`."""
    return datetime.fromtimestamp(start / 1000, UTC).strftime("%Y-%m-%dT%H:%M")


def parse_bucket_name(name: str) -> int:
    """The beginning of the quarter-hour with this name."""
    return int(datetime.strptime(f"{name}Z", "%Y-%m-%dT%H:%M%z").timestamp()) * 1000
