"""Thresholds, and what is notified once in a period."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.dynamodb.keys import SEATS
from shared.history.buckets import HOUR_MS, bucket_start
from shared.history.changes import ChangeRecord
from shared.history.level import Level, threshold_level

# What a usage limit notifies once a period, besides its thresholds.
ENTERED, EXHAUSTED = "entered", "exhausted"


# A threshold is a percentage, or this and how many of the purchased seats are left: `left:5`.
LEFT = "left:"


def thresholds_of(document: Mapping[str, Any], meter: str) -> tuple[int | str, ...]:
    """The thresholds of a meter of an entitlement."""
    left = document.get("seatsLeftThresholds", ()) if meter == SEATS else ()
    return (*document.get("thresholds", ()), *(f"{LEFT}{each}" for each in left))


def seats_left(threshold: int | str) -> int | None:
    """How many of the purchased seats are left at a threshold; None: it is a percentage."""
    if isinstance(threshold, str) and threshold.startswith(LEFT):
        return int(threshold.removeprefix(LEFT))
    return None


def _level(threshold: int | str, purchased: int) -> int:
    """The usage at which a threshold is reached."""
    if isinstance(threshold, int):
        return threshold_level(threshold, purchased)
    return max(1, purchased - (seats_left(threshold) or 0))


def is_reached(threshold: int | str, before: Level | None, after: Level) -> bool:
    """Whether usage came to a threshold from below."""
    was_below = before is None or before.used < _level(threshold, before.purchased)
    return was_below and after.used >= _level(threshold, after.purchased)


Triggered = tuple[tuple[int | str, int], ...]


def trigger(
    triggered: Triggered, change: ChangeRecord, at: int, thresholds: Iterable[int | str]
) -> tuple[Triggered, ChangeRecord]:
    """The thresholds that a change reaches and that were not triggered within the last hour.

    Of a usage limit: not within its period; and whether it entered or exhausted its overdraft,
    likewise. Returns what was triggered recently, and the change with what it triggered.
    """
    wanted: list[int | str] = [
        each for each in thresholds if is_reached(each, change.before, change.level)
    ]
    if change.period:
        wanted += _limits_reached(change)
        start, end = change.period[0] * 1000, change.period[1]

        def is_near(when: int) -> bool:
            return start <= when and (end is None or when < end * 1000)
    else:

        def is_near(when: int) -> bool:
            return abs(at - when) < HOUR_MS

    reached = tuple(
        what
        for what in wanted
        if not any(which == what and is_near(when) for which, when in triggered)
    )
    # An e-mail may be due that includes this quarter-hour.
    kept = tuple(each for each in triggered if is_near(each[1]) or each[1] >= bucket_start(at))
    return (*kept, *((what, at) for what in reached)), change._replace(reached=reached)


def _limits_reached(change: ChangeRecord) -> list[str]:
    """The limits that consuming reached from below. A lowered limit does not count."""
    before, level = change.before, change.level
    reached = []
    if level.overdraft and not (before and before.overdraft):
        reached.append(ENTERED)
    was_full = before and before.hard_cap is not None and before.used >= before.hard_cap
    is_full = level.hard_cap is not None and level.used >= level.hard_cap
    if is_full and not was_full and change.quantity > 0:
        reached.append(EXHAUSTED)
    return reached
