"""A usage limit's counter, as read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared import problems
from shared.audit import limit_reached
from shared.dynamodb.requests import (
    Item,
    Value,
)
from shared.limits import lowest
from shared.overdraft_clock import (
    OverdraftClock,
    OverdraftPeriod,
    after_use,
    clock_in,
    period_in,
    unless_recovered,
)
from shared.usage.encoding import decode_entry, time_of
from shared.usage.periods import DAY, DAY_MS, Period, calendar_month
from shared.validity import status_at

MAX_LIMIT = 10**12
MAX_QUANTITY = 10**9
MAX_LIMITS = 48  # of one entitlement: one transaction, of at most 100 writes, replaces all of them
REMOVED = "removed"  # the status of a counter whose limit the entitlement no longer has
NO_LIMIT = (
    "No usage limit of this entitlement has this key. GET /v1/entitlements/{entitlementId} names"
    " those that it has."
)
# Without a hard cap, `left` counts down from here.
_ENDLESS = 10**14


class UsageTerms(NamedTuple):
    """The terms of a usage limit, as its counter stores them. `hard_cap` None: unlimited.

    `overdraft_period` is how long an overdraft may last; None: as long as a period of the limit.
    `customer_cap` is a cap below the hard cap that the customer has set.
    """

    purchased: int
    hard_cap: int | None
    schedule: str
    zone: str
    status: str
    valid_from: int
    valid_until: int | None
    overdraft_period: OverdraftPeriod | None = None
    customer_cap: int | None = None

    def first_period(self, now: int) -> Period:
        """The first period of a limit that is new at `now`."""
        return calendar_month(now, self.zone) if self.schedule == "monthly" else Period(now, None)


# --- The counter ----------------------------------------------------------------------------------


class RequestLog(NamedTuple):
    """Entries by request key, with the limits and the period under which they were made.

    `customer_cap` is a cap below the hard cap that the customer has set.
    """

    entries: Mapping[str, int]
    purchased: int
    hard_cap: int | None
    period: Period
    customer_cap: int | None = None

    @property
    def base(self) -> int:
        """What is left of a limit of which nothing is used: entries count down from here."""
        return full(lowest(self.hard_cap, self.customer_cap))

    @classmethod
    def of(cls, item: Mapping[str, Any], entries: Mapping[str, int]) -> "RequestLog":
        """The log whose terms are attributes of `item`."""
        period = Period(item["periodStart"], item.get("periodEnd"))
        caps = item.get("hardCap"), item.get("customerCap")
        return cls(entries, item["purchased"], caps[0], period, caps[1])

    def terms(self) -> dict[str, Value]:
        """The terms as the table stores them."""
        terms: dict[str, Value] = {
            "purchased": self.purchased,
            "hardCap": self.hard_cap,
            "customerCap": self.customer_cap,
            "periodStart": self.period.start,
            "periodEnd": self.period.end,
        }
        return {name: value for name, value in terms.items() if value is not None}

    def consumption(self, key: str) -> "Consumption | None":
        """What the request with this key consumed."""
        if key not in self.entries:
            return None
        entry = decode_entry(self.entries[key])
        used_before = self.base - entry.left_before
        return Consumption(
            entry.at_ms,
            entry.quantity,
            used_before,
            self.purchased,
            self.hard_cap,
            self.period,
            self.customer_cap,
        )


class Counter(NamedTuple):
    """A usage limit's counter, as read.

    `period_number` counts the periods. `dropped_ms` is when requests of the last 24 hours were last
    archived, `dropped_to` the latest time in their keys; 0 if never. A sharded limit (see
    `sharded`) has a number of `shards` (None: it is not sharded, 0: it is about to be), `allocated`
    is what its shards have and have not reported as used, and it may be locked. `overdraft_period`
    is how long an overdraft may last, `clock` the clock that was stored last (see `clock_at`).
    `lowered_to` is what was purchased, while it is the cap of a sharded limit because that period
    has ended.
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
    allocated: int = 0
    lock_number: int = 0
    locked_ms: int = 0
    overdraft_period: OverdraftPeriod | None = None
    clock: OverdraftClock | None = None
    lowered_to: int | None = None

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
            period_in(item),
            clock_in(item),
            item.get("loweredTo"),
        )

    @property
    def base(self) -> int:
        """What is left of a limit of which nothing is used: `left` counts down from here."""
        return self.log.base if self.lowered_to is None else min(self.lowered_to, self.log.base)

    @property
    def used(self) -> int:
        """What is used in the period. Of a sharded limit: what its shards have reported."""
        return self.base - self.left - self.allocated

    @property
    def purchased(self) -> int:
        """The soft limit."""
        return self.log.purchased

    @property
    def hard_cap(self) -> int | None:
        """The hard limit; None: unlimited."""
        return self.log.hard_cap

    @property
    def left_purchased(self) -> int:
        """What is left of what was purchased; negative in an overdraft."""
        return self.purchased - self.used

    def clock_at(self, now: int) -> OverdraftClock | None:
        """The clock of the overdraft that runs, or has ended, at `now` in this period."""
        if self.overdraft_period is None or self.status_at(now) != "active":
            return None
        return unless_recovered(self.clock, now)

    def available_at(self, now: int) -> int:
        """How much may be consumed at `now`: what is left, or what is left of what was purchased.

        A request that crosses what was purchased is granted whole while the clock runs.
        """
        clock = self.clock_at(now)
        return min(self.left, self.left_purchased) if clock and clock.has_ended(now) else self.left

    def is_to_follow(self, now: int) -> bool:
        """Whether the cap of a sharded limit has to follow the clock of its overdraft at `now`."""
        if self.overdraft_period is None:
            return False
        clock = self.clock_at(now)
        return (clock is not None and clock.has_ended(now)) != (self.lowered_to is not None)

    def limit_reached(self, now: int) -> str:
        """The limit for which a request is denied at `now`, if not enough is available."""
        clock = self.clock_at(now)
        has_ended = clock is not None and clock.has_ended(now)
        return limit_reached(
            self.purchased, self.hard_cap, self.log.customer_cap, has_ended=has_ended
        )

    def consuming(self, quantity: int, now_ms: int) -> "Consumption":
        """What a request would consume now."""
        log = self.log
        limits = (log.purchased, log.hard_cap, log.period, log.customer_cap)
        return Consumption(now_ms, quantity, self.used, *limits)

    def clock_with(self, quantity: int, now: int) -> OverdraftClock | None:
        """The clock at `now` after so much more, or less, was used."""
        if self.overdraft_period is None or self.status_at(now) != "active":
            return None
        used = self.used + quantity
        return after_use(self.clock, self.overdraft_period, used, self.purchased, now)

    @property
    def period(self) -> Period:
        """The current period."""
        return self.log.period

    def status_at(self, now: int) -> str:
        """The status at `now`: the stored one, or what the time has made of it."""
        return status_at(self.status, self.valid_from, self.valid_until, now)

    @property
    def ends_ms(self) -> int | None:
        """When usage falls to zero by itself: at the end of the period or of the validity."""
        ends = [end for end in (self.period.end, self.valid_until) if end is not None]
        return min(ends) * 1000 if ends else None

    def in_use(self, now_ms: int) -> int:
        """The usage that history counts: zero once the limit, or its period, is over."""
        is_over = self.status in (REMOVED, "deleted")
        return 0 if is_over or (self.ends_ms is not None and self.ends_ms <= now_ms) else self.used

    def is_busy(self, now_ms: int) -> bool:
        """Whether requests of the last 24 hours have been archived."""
        return self.dropped_ms > now_ms - DAY_MS

    def may_have_dropped(self, key: str, now_ms: int) -> bool:
        """Whether the request with this key may have been archived within 24 hours."""
        consumed = time_of(key)
        return self.is_busy(now_ms) and (consumed is None or self.dropped_to >= consumed)

    def has_ended(self, now: int) -> bool:
        """Whether the period is over and the next one has not begun."""
        if self.period.end is None or now < self.period.end:
            return False
        # No period begins once the limit itself is over; the counter still says what was used.
        is_last = self.valid_until is not None and self.valid_until <= self.period.end
        return self.schedule == "monthly" or not is_last

    def as_of(self, now: int) -> "Counter":
        """The counter in the period of `now`. A period that is over is replaced by a new one."""
        if not self.has_ended(now):
            return self
        if self.schedule == "monthly":
            return self.begun(calendar_month(now, self.zone))
        return self.begun(Period(self.period.end or now, None))  # its end was renewed before

    def begun(self, period: Period) -> "Counter":
        """The counter at the beginning of a new period."""
        return self._replace(
            left=self.log.base,
            allocated=0,
            log=self.log._replace(entries={}, period=period),
            period_number=self.period_number + 1,
            clock=None,
            lowered_to=None,
        )

    def raw(self, key: str) -> tuple[int | None, int | None]:
        """The entries of this key in both logs."""
        return self.log.entries.get(key), self.earlier.entries.get(key) if self.earlier else None

    def consumption(self, key: str) -> "Consumption | None":
        """What the request with this key consumed, while it is in a log."""
        found = self.log.consumption(key)
        return found or (self.earlier.consumption(key) if self.earlier else None)


def full(hard_cap: int | None) -> int:
    """What is left of a limit of which nothing is used."""
    return _ENDLESS if hard_cap is None else hard_cap


class Consumption(NamedTuple):
    """What a request consumed; its answer follows from it."""

    at_ms: int
    quantity: int
    used_before: int
    purchased: int
    hard_cap: int | None
    period: Period
    customer_cap: int | None = None

    @property
    def used(self) -> int:
        """The usage including it."""
        return self.used_before + self.quantity

    @property
    def overdraft_quantity(self) -> int:
        """How much of it is above what was purchased."""
        return max(0, self.used - max(self.purchased, self.used_before))

    def to_item(self) -> Item:
        """The archive item of the request, for the rest of its 24 hours."""
        expiry = self.at_ms // 1000 + DAY
        log = RequestLog({}, self.purchased, self.hard_cap, self.period, self.customer_cap)
        terms = log.terms()
        kept = {"at": self.at_ms, "quantity": self.quantity, "usedBefore": self.used_before}
        return {**terms, **kept, "ttl": expiry}

    @classmethod
    def of(cls, item: Item) -> "Consumption":
        """The consumption in an archive item."""
        log = RequestLog.of(item, {})
        return cls(
            item["at"],
            item["quantity"],
            item["usedBefore"],
            log.purchased,
            log.hard_cap,
            log.period,
            log.customer_cap,
        )


def counter_of(item: Item | None) -> Counter:
    """The counter of a limit.

    Raises:
        NotFound: the limit does not exist.
    """
    if item is None:
        raise problems.NotFound(NO_LIMIT)
    return Counter.of(item)
