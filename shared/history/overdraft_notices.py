"""Notices of the clock of an overdraft: before its period ends, at the end, when it has recovered.

Times are Unix seconds.
"""

from typing import NamedTuple

from shared.dynamodb.keys import DUE_OVERDRAFTS
from shared.dynamodb.requests import Value
from shared.history.level import Level
from shared.overdraft_clock import OverdraftClock

ENDING, ENDED, RECOVERED = NOTICES = ("ending", "ended", "recovered")
DAY = 86_400
# When notice is given that a period ends, before its end. Of a short one: at three quarters.
_BEFORE_END = (7 * DAY, DAY)


class Notice(NamedTuple):
    """A moment of which notice is given: when, and which of `NOTICES` it is."""

    at: int
    what: str


def notices(clock: OverdraftClock, over_at: int | None) -> list[Notice]:
    """The moments of a clock, the first first; `over_at` is when it has recovered, if it is known.

    Nothing is said of the end of a period that comes later.
    """
    before = [clock.ends_at - each for each in _BEFORE_END if clock.ends_at - each > clock.since]
    before = before or [clock.since + (clock.ends_at - clock.since) * 3 // 4]
    moments = [*(Notice(at, ENDING) for at in before), Notice(clock.ends_at, ENDED)]
    if over_at is None:
        return moments
    return [*(each for each in moments if each.at < over_at), Notice(over_at, RECOVERED)]


def given(clock: OverdraftClock, notice: Notice, level: Level) -> dict[str, Value]:
    """The attributes of a notice that is given: of which clock, and what was in use then."""
    return {
        "givenAt": notice.at * 1000,
        "givenWhat": notice.what,
        "givenSince": clock.since,
        "givenEndsAt": clock.ends_at,
        "used": level.used,
        "purchased": level.purchased,
        "hardCap": level.hard_cap,
    }


def when_due(notice: Notice | None) -> dict[str, Value]:
    """The attributes by which the next notice is found when it is due; None: there is none."""
    return {
        "earliest": notice.at if notice else None,
        "sweepKey": DUE_OVERDRAFTS if notice else None,
    }
