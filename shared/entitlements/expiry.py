"""Notices that an entitlement ends: some days before, as its document says."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from shared.dynamodb.keys import DUE_NOTICES
from shared.dynamodb.requests import Value
from shared.entitlements.model import DEFAULTS
from shared.usage.periods import DAY


class Notice(NamedTuple):
    """A notice: when it is due (Unix seconds), and how many days before the end that is."""

    at: int
    days: int


def notice_days(document: Mapping[str, Any]) -> list[int]:
    """How many days before its end notices of an entitlement are due."""
    days: list[int] = document.get("expiryNoticeDays", DEFAULTS["expiryNoticeDays"])
    return days


def notices(valid_until: int, days: Sequence[int]) -> list[Notice]:
    """All notices of an entitlement that ends at `valid_until` (Unix seconds), the first first."""
    return sorted(Notice(valid_until - each * DAY, each) for each in days)


def next_notice(valid_until: int, days: Sequence[int], now: int) -> Notice | None:
    """The first notice that is due later than `now`."""
    return next((each for each in notices(valid_until, days) if each.at > now), None)


def due_notice(valid_until: int, days: Sequence[int], since: int, now: int) -> Notice | None:
    """The last notice that is due from `since` to `now`: those before it would be late."""
    found = [each for each in notices(valid_until, days) if since <= each.at <= now]
    return found[-1] if found else None


def when_due(notice: Notice | None) -> dict[str, Value]:
    """The attributes by which the next notice is found when it is due; None: there is none."""
    return {
        "earliest": notice.at if notice else None,
        "sweepKey": DUE_NOTICES if notice else None,
    }
