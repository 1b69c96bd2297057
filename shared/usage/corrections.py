"""Corrections of what is used."""

from typing import Any

from shared import problems
from shared.audit import Change
from shared.dynamodb.expressions import assign
from shared.dynamodb.keys import (
    Key,
    usage_key,
)
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    Accepted,
    Get,
    Operation,
    Pause,
    Update,
    send,
)
from shared.overdraft_clock import clock_attributes
from shared.usage.consumption import (
    ENOUGH_LEFT,
    NOT_SHARDED,
    Entry,
    Guard,
    LogSeen,
    Outcome,
    begin_period,
    check_counter_in_force,
    consumption_update,
    finish,
    refused_correction,
    replay,
)
from shared.usage.counter import Counter, counter_of, full
from shared.usage.request_log import look


def correct(
    entitlement_id: str, usage: str, key: str, quantity: int, reason: str, change: Change
) -> Operation[Outcome]:
    """Add a signed quantity to what is used, once per request key, never above the hard cap.

    Raises:
        What `consume` raises, but no denial is recorded; InvalidRequest: it takes back more than is
        used.
    """
    counter_key = usage_key(entitlement_id, usage)
    entry = Entry(key, quantity, "corrected", reason)
    for attempt in range(1, ROUNDS + 1):
        counter = counter_of((yield from send(Get(counter_key))))
        consumed = yield from look(entitlement_id, usage, key, counter, change.now_ms)
        if consumed:
            return replay(consumed, quantity, counter)
        check_counter_in_force(counter, change.now)
        current = counter.as_of(change.now)
        if current.used + quantity < 0:
            raise problems.InvalidRequest.at(
                "/quantity", f"takes back more than the {current.used} used in this period"
            )
        # A correction is bound to the hard cap only: not to the clock of an overdraft, nor to the
        # customer's cap.
        lowered = full(current.hard_cap) - current.base
        if quantity > max(0, current.left + lowered):
            raise refused_correction(usage, quantity, current, change.now)
        if current is counter:
            write = _correction(counter_key, counter, entry, change)
        else:
            write = yield from begin_period(counter_key, counter, current, change, entry)
        reply = yield from send(write)
        if isinstance(reply, Accepted):
            return (yield from finish(counter_key, reply, key, change))
        change = change.at((yield from send(Pause(attempt))))
    raise problems.Contention


def _correction(counter_key: Key, counter: Counter, entry: Entry, change: Change) -> Update:
    """The write of a correction: upwards up to the hard cap, downwards down to zero."""
    condition, values = ENOUGH_LEFT, dict[str, Any]()
    if entry.quantity < 0:
        condition = "#left <= :most"
        values[":most"] = counter.base - counter.allocated + entry.quantity
    elif counter.base < full(counter.hard_cap):
        condition = "#left >= :least"
        values[":least"] = entry.quantity - full(counter.hard_cap) + counter.base
    left_before = None
    sets, removals = list[str](), list[str]()
    if counter.shards is None:
        condition += f" AND {NOT_SHARDED}"
    else:
        left_before = counter.log.base - counter.used
        condition += " AND drawn = :drawn AND #left = :seenLeft"
        values |= {":drawn": counter.allocated, ":seenLeft": counter.left}
    if counter.overdraft_period:
        # The clock follows from the usage as it was read.
        clock = counter.clock_with(entry.quantity, change.now)
        sets, removals, values_of_clock = assign(clock_attributes(clock))
        condition += " AND seq = :seen"
        values |= {**values_of_clock, ":seen": counter.seq}
    return consumption_update(
        counter_key,
        entry,
        change,
        LogSeen(counter.log_number, counter.raw(entry.key)),
        Guard(condition, values, tuple(sets), tuple(removals)),
        left_before=left_before,
    )
