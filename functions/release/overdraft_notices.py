"""Giving notice of the clocks of overdrafts. The stream makes events and e-mails of it."""

from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import SEATS, Key, seat_shard_key, seat_usage_key, usage_key
from shared.dynamodb.patterns import read_existing, write_with_conflict_retry
from shared.dynamodb.requests import NO_NAMES, Accepted, Get, Item, Operation, Update, send
from shared.history.level import Level
from shared.history.overdraft_notices import given, notices, when_due
from shared.overdraft_clock import OverdraftClock, clock_in
from shared.seats.shard import SeatShard
from shared.usage.counter import Counter


def give_notice(key: Key, now: int) -> Operation[bool]:
    """Give the notice that is due, once; False: there is none any more.

    Of several that are due, the last one is given: those before it would be late.
    """
    item = yield from send(Get(key))
    clock = clock_in(item or {})
    if item is None or clock is None or item.get("earliest", now + 1) > now:
        return False
    running, level, status = yield from _now(item, key.sk, now)
    if status == "active" and running != clock:
        return False  # the stream brings it up to date in a moment
    # Nothing is said of what was deleted, suspended, or has expired.
    moments = notices(clock, item.get("overAt")) if status == "active" else []
    due = [each for each in moments if item["earliest"] <= each.at <= now]
    later = next((each for each in moments if each.at > now), None)
    sets = {**when_due(later), **(given(clock, due[-1], level) if due else {})}
    assignments, removals, values = assign(sets)
    write = Update(
        key,
        set_and_remove(assignments, removals),
        "seq = :seq AND earliest = :seen",
        NO_NAMES,
        {**values, ":seq": item["seq"], ":seen": item["earliest"]},
    )
    reply = yield from write_with_conflict_retry(write)
    return bool(due) and isinstance(reply, Accepted)


def _now(item: Item, meter: str, now: int) -> Operation[tuple[OverdraftClock | None, Level, str]]:
    """The clock that is stored last, what is in use, and the status."""
    entitlement_id = item["entitlementId"]
    if meter == SEATS:
        shard = SeatShard.of((yield from read_existing(seat_shard_key(entitlement_id))))
        if not shard.has_totals:
            level = Level(shard.used, shard.purchased, shard.hard_cap)
            return shard.clock, level, shard.status_at(now)
        totals = yield from read_existing(seat_usage_key(entitlement_id))
        level = Level(totals["used"], totals["seatCount"], totals.get("hardCap"))
        return clock_in(totals), level, shard.status_at(now)
    counter = Counter.of((yield from read_existing(usage_key(entitlement_id, item["usageKey"]))))
    current = counter.as_of(now)
    level = Level(current.used, current.purchased, current.hard_cap)
    return counter.clock, level, counter.status_at(now)
