"""How long an overdraft may last: its period, and the clock that runs while it lasts.

The clock starts with the write that takes the first of what is above the purchased number. When it
has run out, what was purchased is the cap. Use that falls to what was purchased does not stop the
clock. If it stays there for the time of recovery, the next overdraft starts the clock anew. So a
clock is three times that a write lays down, and a condition compares them with its own time: no job
has to run. Times are Unix seconds, lengths are seconds.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from shared.clock import to_rfc3339
from shared.dynamodb.requests import Value

DEFAULT_RECOVERY = "P1D"

# --- The clock ------------------------------------------------------------------------------------


class OverdraftView(TypedDict):
    """The clock of an overdraft as the API answers it."""

    since: str
    endsAt: str
    recoversAt: str | None


class OverdraftPeriod(NamedTuple):
    """How long an overdraft may last, and how long use must stay within what was purchased then."""

    length: int
    recovery: int


class OverdraftClock(NamedTuple):
    """A clock: since when, until when, and when it is over if use stays within what was purchased.

    `recovers_at` is None while use is above what was purchased.
    """

    since: int
    ends_at: int
    recovers_at: int | None = None

    def has_ended(self, now: int) -> bool:
        """Whether the period is over, so that what was purchased is the cap."""
        return self.ends_at <= now

    def fallen(self, at: int, period: OverdraftPeriod) -> "OverdraftClock":
        """The clock after use fell to what was purchased at this time, unless it had before."""
        if self.recovers_at is not None:
            return self
        return self._replace(recovers_at=at + period.recovery)

    def view(self) -> OverdraftView:
        """The `overdraft` object of the API."""
        recovers_at = self.recovers_at
        return {
            "since": to_rfc3339(self.since * 1000),
            "endsAt": to_rfc3339(self.ends_at * 1000),
            "recoversAt": None if recovers_at is None else to_rfc3339(recovers_at * 1000),
        }


def started(period: OverdraftPeriod, now: int) -> OverdraftClock:
    """A clock that starts now."""
    return OverdraftClock(now, now + period.length)


def unless_recovered(clock: OverdraftClock | None, now: int) -> OverdraftClock | None:
    """The clock, unless use has stayed within what was purchased for long enough."""
    is_over = clock and clock.recovers_at is not None and clock.recovers_at <= now
    return None if is_over else clock


def after_use(
    clock: OverdraftClock | None, period: OverdraftPeriod, used: int, purchased: int, now: int
) -> OverdraftClock | None:
    """The clock after a change at `now` by which so much is used."""
    clock = unless_recovered(clock, now)
    if used > purchased:
        return clock._replace(recovers_at=None) if clock else started(period, now)
    return clock.fallen(now, period) if clock else None


def under_terms(
    clock: OverdraftClock | None,
    before: OverdraftPeriod | None,
    period: OverdraftPeriod,
    purchased: tuple[int, int],
    used: int,
    now: int,
) -> OverdraftClock | None:
    """The clock under new terms; `clock` is the one that runs, `purchased` was and is purchased.

    More that was purchased, enough for what is used, ends the overdraft. A new length counts from
    the beginning of the overdraft.
    """
    was_purchased, is_purchased = purchased
    if used > is_purchased:
        if clock is None:
            return started(period, now)
        return OverdraftClock(clock.since, clock.since + period.length)
    if clock is None or before is None or is_purchased > was_purchased:
        return None
    clock = clock.fallen(now, before)
    recovers_at = (clock.recovers_at or now) - before.recovery + period.recovery
    changed = OverdraftClock(clock.since, clock.since + period.length, recovers_at)
    return unless_recovered(changed, now)


# --- As it is stored ------------------------------------------------------------------------------


def period_in(item: Mapping[str, Any]) -> OverdraftPeriod | None:
    """The period in the item of a shard or a counter; None: an overdraft may last for ever."""
    if item.get("overdraftPeriod") is None:
        return None
    return OverdraftPeriod(item["overdraftPeriod"], item["overdraftRecovery"])


def clock_in(item: Mapping[str, Any]) -> OverdraftClock | None:
    """The clock that was stored last in such an item, which may have recovered since then."""
    if item.get("overdraftSince") is None:
        return None
    return OverdraftClock(item["overdraftSince"], item["overdraftEndsAt"], item.get("recoversAt"))


def period_attributes(period: OverdraftPeriod | None) -> dict[str, Value]:
    """The attributes of a period; None for those that there are not."""
    return {
        "overdraftPeriod": period.length if period else None,
        "overdraftRecovery": period.recovery if period else None,
    }


def clock_attributes(clock: OverdraftClock | None) -> dict[str, Value]:
    """The attributes of a clock; None for those that there are not."""
    return {
        "overdraftSince": clock.since if clock else None,
        "overdraftEndsAt": clock.ends_at if clock else None,
        "recoversAt": clock.recovers_at if clock else None,
    }


PERIOD_ATTRIBUTES = ("overdraftPeriod", "overdraftRecovery")
CLOCK_ATTRIBUTES = ("overdraftSince", "overdraftEndsAt", "recoversAt")

# --- Conditions -----------------------------------------------------------------------------------
# They need the value `:now`.

# There is no period, or the clock runs. A write under this condition removes `recoversAt`.
CLOCK_RUNS = (
    "(attribute_not_exists(overdraftPeriod) OR overdraftEndsAt > :now)"
    " AND (attribute_not_exists(recoversAt) OR recoversAt > :now)"
)
# There is a period, and no clock runs. A write under this condition starts it.
CLOCK_IS_TO_START = (
    "attribute_exists(overdraftPeriod)"
    " AND (attribute_not_exists(overdraftEndsAt) OR recoversAt <= :now)"
)
START_CLOCK = ("overdraftSince = :now", "overdraftEndsAt = :now + overdraftPeriod")
