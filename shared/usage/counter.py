"""A usage limit's counter, as read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared import problems
from shared.dynamodb.requests import (
    Item,
    Value,
)
from shared.usage.encoding import decode_entry, time_of
from shared.usage.periods import DAY, DAY_MS, Period, calendar_month
from shared.validity import status_at

MAX_LIMIT = 10**12
MAX_QUANTITY = 10**9
MAX_LIMITS = 48  # of one entitlement: all of them are replaced in one transaction, of 100 at most
REMOVED = "removed"  # the status of a counter whose limit the entitlement has no more
# What `left` counts down from where there is no hard cap.
_ENDLESS = 10**14


class UsageTerms(NamedTuple):
    """What the entitlement lays down on a counter. `hard_cap` None: unlimited."""

    purchased: int
    hard_cap: int | None
    schedule: str
    zone: str
    status: str
    valid_from: int
    valid_until: int | None

    def first_period(self, now: int) -> Period:
        """The period in which a limit begins that is new at `now`."""
        return calendar_month(now, self.zone) if self.schedule == "monthly" else Period(now, None)


# --- The counter ----------------------------------------------------------------------------------


class RequestLog(NamedTuple):
    """Entries by request key, and the limits and the period that were theirs."""

    entries: Mapping[str, int]
    purchased: int
    hard_cap: int | None
    period: Period

    @classmethod
    def of(cls, item: Mapping[str, Any], entries: Mapping[str, int]) -> "RequestLog":
        """The leaf whose terms are members of `item`."""
        period = Period(item["periodStart"], item.get("periodEnd"))
        return cls(entries, item["purchased"], item.get("hardCap"), period)

    def terms(self) -> dict[str, Value]:
        """The terms as the table keeps them."""
        terms: dict[str, Value] = {
            "purchased": self.purchased,
            "hardCap": self.hard_cap,
            "periodStart": self.period.start,
            "periodEnd": self.period.end,
        }
        return {name: value for name, value in terms.items() if value is not None}

    def consumption(self, key: str) -> "Consumption | None":
        """What the request of this key consumed."""
        if key not in self.entries:
            return None
        entry = decode_entry(self.entries[key])
        used_before = full(self.hard_cap) - entry.left_before
        return Consumption(
            entry.at_ms, entry.quantity, used_before, self.purchased, self.hard_cap, self.period
        )


class Counter(NamedTuple):
    """A counter as read.

    `period_number` counts the periods; `dropped_ms` is when requests that were not a day old last
    left the counter, `dropped_to` the latest time that their keys told; 0 if never.
    Of a limit that is spread (see `usage_parts`): its number of `parts` (None: it is not, 0: it is
    about to be), what they have drawn and not told to be used (`drawn`), how often and since when
    nothing can be drawn.
    """

    left: int
    log: RequestLog
    earlier: RequestLog | None
    log_number: int
    dropped_ms: int
    dropped_to: int
    schedule: str
    zone: str
    status: str
    valid_from: int
    valid_until: int | None
    period_number: int
    seq: int
    shards: int | None = None
    drawn: int = 0
    lock_number: int = 0
    locked_ms: int = 0

    @classmethod
    def of(cls, item: Item) -> "Counter":
        """The counter in an item of the table."""
        earlier = item.get("earlierTerms")
        return cls(
            item["left"],
            RequestLog.of(item, item["recent"]),
            RequestLog.of(earlier, item["earlier"]) if earlier else None,
            item["leaf"],
            item["droppedAt"],
            item["droppedTo"],
            item["schedule"],
            item["timeZone"],
            item["status"],
            item["validFrom"],
            item.get("validUntil"),
            item["period"],
            item["seq"],
            item.get("parts"),
            item.get("drawn", 0),
            item.get("holds", 0),
            item.get("heldAt", 0),
        )

    @property
    def used(self) -> int:
        """How much of the period's limit is used; of a spread one, as far as its parts told."""
        return full(self.hard_cap) - self.left - self.drawn

    @property
    def purchased(self) -> int:
        """The soft limit."""
        return self.log.purchased

    @property
    def hard_cap(self) -> int | None:
        """The hard limit; None: unlimited."""
        return self.log.hard_cap

    @property
    def period(self) -> Period:
        """The period that is counted."""
        return self.log.period

    def status_at(self, now: int) -> str:
        """The status, or what the time has made of it."""
        return status_at(self.status, self.valid_from, self.valid_until, now)

    @property
    def ends_ms(self) -> int | None:
        """When what is used falls to nothing by itself: the end of the period, or of all."""
        ends = [end for end in (self.period.end, self.valid_until) if end is not None]
        return min(ends) * 1000 if ends else None

    def in_use(self, now_ms: int) -> int:
        """What is used as history counts it: nothing once the limit, or its period, is over."""
        is_over = self.status in (REMOVED, "deleted")
        return 0 if is_over or (self.ends_ms is not None and self.ends_ms <= now_ms) else self.used

    def is_busy(self, now_ms: int) -> bool:
        """Whether requests of the last 24 hours have left it."""
        return self.dropped_ms > now_ms - DAY_MS

    def may_have_dropped(self, key: str, now_ms: int) -> bool:
        """Whether the request of this key may have left it within 24 hours."""
        told = time_of(key)
        return self.is_busy(now_ms) and (told is None or self.dropped_to >= told)

    def has_ended(self, now: int) -> bool:
        """Whether the period is over, and the next one has not begun."""
        if self.period.end is None or now < self.period.end:
            return False
        # Nothing begins once the limit itself is over: it still says what was used.
        is_last = self.valid_until is not None and self.valid_until <= self.period.end
        return self.schedule == "monthly" or not is_last

    def as_of(self, now: int) -> "Counter":
        """The counter in the period of `now`: begun anew when the one that it counts is over."""
        if not self.has_ended(now):
            return self
        if self.schedule == "monthly":
            return self.begun(calendar_month(now, self.zone))
        return self.begun(Period(self.period.end or now, None))  # as it was renewed before

    def begun(self, period: Period) -> "Counter":
        """The counter at the beginning of a new period."""
        return self._replace(
            left=full(self.hard_cap),
            drawn=0,
            log=self.log._replace(entries={}, period=period),
            period_number=self.period_number + 1,
        )

    def raw(self, key: str) -> tuple[int | None, int | None]:
        """The entries of this key on both leaves."""
        return self.log.entries.get(key), self.earlier.entries.get(key) if self.earlier else None

    def consumption(self, key: str) -> "Consumption | None":
        """What the request of this key consumed, as long as it stands here."""
        found = self.log.consumption(key)
        return found or (self.earlier.consumption(key) if self.earlier else None)


def full(hard_cap: int | None) -> int:
    """What is left of a limit of which nothing is used."""
    return _ENDLESS if hard_cap is None else hard_cap


class Consumption(NamedTuple):
    """What a request consumed, and what its answer follows from."""

    at_ms: int
    quantity: int
    used_before: int
    purchased: int
    hard_cap: int | None
    period: Period

    @property
    def used(self) -> int:
        """What was used with it."""
        return self.used_before + self.quantity

    @property
    def overdraft_quantity(self) -> int:
        """How much of it lies above what was purchased."""
        return max(0, self.used - max(self.purchased, self.used_before))

    def to_item(self) -> Item:
        """What is kept of it for the rest of its 24 hours."""
        expiry = self.at_ms // 1000 + DAY
        terms = RequestLog({}, self.purchased, self.hard_cap, self.period).terms()
        kept = {"at": self.at_ms, "quantity": self.quantity, "usedBefore": self.used_before}
        return {**terms, **kept, "ttl": expiry}

    @classmethod
    def of(cls, item: Item) -> "Consumption":
        """The consumption in a kept item."""
        log = RequestLog.of(item, {})
        return cls(
            item["at"],
            item["quantity"],
            item["usedBefore"],
            log.purchased,
            log.hard_cap,
            log.period,
        )


def counter_of(item: Item | None) -> Counter:
    """The counter of a limit.

    Raises:
        NotFound: there is none.
    """
    if item is None:
        raise problems.NotFound("No usage limit has this key.")
    return Counter.of(item)
