"""The clocks of overdrafts, and when notice of them is due: one small item for each meter.

`functions/release/overdraft_notices.py` finds it when the time has come. That use has recovered may
also be known at once: more was purchased.
"""

from typing import NamedTuple

from functions.notify.records import Record
from shared.audit import EVIDENCE_SECONDS
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import TOTALS_PREFIX, overdraft_clock_key, usage_of
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import Item, Operation, Update
from shared.history.level import Level
from shared.history.overdraft_notices import RECOVERED, Notice, given, notices, when_due
from shared.overdraft_clock import OverdraftClock, clock_attributes, clock_in, period_in
from shared.usage.counter import Counter
from shared.validity import status_at


def write_clocks(entitlement_id: str, meter: str, records: list[Record]) -> Operation[None]:
    """Follow the clock of a meter, change by change."""
    for record in records:
        if clock_in(record.old or {}) != clock_in(record.new):
            yield from _follow(entitlement_id, meter, record)


def _follow(entitlement_id: str, meter: str, record: Record) -> Operation[None]:
    new = record.new
    clock, seen = clock_in(new), _seen(record)
    # Counted from the change, so that a late record gives a notice late.
    now = seen.at if clock is None else max(seen.at, clock.since)
    over_at = _over_at(clock, new)
    following = notices(clock, over_at) if clock else []
    recovered = _recovered(record.old or {}, new, seen.level, now)
    sets = {
        "entitlementId": entitlement_id,
        "usageKey": usage_of(meter),
        "seq": seen.seq,
        **clock_attributes(clock),
        "overAt": over_at,
        **when_due(next((each for each in following if each.at > now), None)),
        "#ttl": None if clock else now + EVIDENCE_SECONDS,
    }
    if recovered:
        sets |= given(*recovered, seen.level)
    assignments, removals, values = assign(sets)
    write = Update(
        overdraft_clock_key(entitlement_id, meter),
        set_and_remove(assignments, removals),
        "attribute_not_exists(seq) OR seq <= :seq",
        {"#ttl": "ttl"},
        {**values, ":seq": seen.seq},
    )
    yield from write_with_conflict_retry(write)


class _Seen(NamedTuple):
    """The version of an item, its time (Unix seconds), and what was in use."""

    seq: int
    at: int
    level: Level


def _seen(record: Record) -> _Seen:
    """What a record says. Totals and sharded limits may have another clock in the same version."""
    new = record.new
    if record.versions:
        change = record.versions[-1].change
        return _Seen(change.seq, change.at // 1000, change.level)
    if record.key.pk.startswith(TOTALS_PREFIX):
        level = Level(new["used"], new["seatCount"], new.get("hardCap"))
        return _Seen(new["seq"], new["at"] // 1000, level)
    counter = Counter.of(new)
    level = Level(counter.used, counter.purchased, counter.hard_cap)
    return _Seen(counter.seq, new["last"]["at"] // 1000, level)


def _over_at(clock: OverdraftClock | None, item: Item) -> int | None:
    """When a clock is over by itself: use has recovered, or a new period of the limit begins."""
    ends = [clock.recovers_at if clock else None, item.get("periodEnd") if clock else None]
    return min((end for end in ends if end is not None), default=None)


def _recovered(
    old: Item, new: Item, level: Level, now: int
) -> tuple[OverdraftClock, Notice] | None:
    """The clock that this change has found recovered, or has ended by what was purchased."""
    before, clock = clock_in(old), clock_in(new)
    if before is None or (clock and clock.since == before.since):
        return None
    over_at = _over_at(before, old)
    if over_at is not None and over_at <= now:
        return before, Notice(over_at, RECOVERED)
    terms = new.get("terms", new)
    status = status_at(terms["status"], terms["validFrom"], terms.get("validUntil"), now)
    if clock or level.overdraft or status != "active" or period_in(new) is None:
        return None
    return before, Notice(now, RECOVERED)
