"""The clock of an overdraft of a sharded usage limit, and the cap that follows from it.

A shard does not know what is used in all. So the clock follows from what shards have reported, and
whoever reads the counter brings it up to date. When the period has ended, the cap is lowered to
what was purchased: everything is taken back first, so that what is used is exact. It is raised
again when use has recovered, with new terms, and when a period of the limit begins.
"""

from shared.audit import Change
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import usage_key
from shared.dynamodb.requests import NO_NAMES, Get, Operation, Update, Value, send
from shared.overdraft_clock import clock_attributes
from shared.usage.allocation import lock, unlock
from shared.usage.counter import Counter, counter_of


def follow_clock(limit: tuple[str, str], counter: Counter, change: Change) -> Operation[Counter]:
    """Bring the clock and the cap of a counter up to date; the counter as it is then.

    Without a period, or if nothing is to be done, it makes no request.

    Raises:
        Contention.
    """
    now = change.now
    if counter.overdraft_period is None or counter.shards is None or counter.has_ended(now):
        return counter
    clock = counter.clock_with(0, now)
    if clock != counter.clock:
        # Refused: somebody else has changed the counter, and will do it.
        yield from send(_store_clock(limit, counter._replace(clock=clock)))
        counter = yield from _read(limit)
    has_ended = clock is not None and clock.has_ended(now)
    if has_ended and counter.lowered_to is None:
        return (yield from _lower(limit, change))
    if not has_ended and counter.lowered_to is not None:
        yield from send(_raise(limit, counter))
        return (yield from _read(limit))
    return counter


def _read(limit: tuple[str, str]) -> Operation[Counter]:
    return counter_of((yield from send(Get(usage_key(*limit)))))


def _store_clock(limit: tuple[str, str], counter: Counter) -> Update:
    """Store the clock of a counter, if the counter is as it was read."""
    assignments, removals, values = assign(clock_attributes(counter.clock))
    return Update(
        usage_key(*limit),
        set_and_remove(assignments, removals),
        "seq = :seen",
        NO_NAMES,
        {**values, ":seen": counter.seq},
    )


def _lower(limit: tuple[str, str], change: Change) -> Operation[Counter]:
    """Take everything back, and lower the cap to what was purchased, unless that is wrong now."""
    counter = yield from lock(limit, change)
    clock = counter.clock_with(0, change.now)
    if clock is None or not clock.has_ended(change.now) or counter.lowered_to is not None:
        yield from unlock(limit, counter)
        return (yield from _read(limit))
    values: dict[str, Value] = {
        ":less": max(0, counter.base - counter.purchased),
        ":purchased": counter.purchased,
        ":held": counter.locked_ms,
        ":holds": counter.lock_number,
    }
    yield from send(
        Update(
            usage_key(*limit),
            "SET #left = #left - :less, loweredTo = :purchased REMOVE heldAt, heldBy",
            "heldAt = :held AND holds = :holds",
            {"#left": "left"},
            values,
        )
    )
    return (yield from _read(limit))


def _raise(limit: tuple[str, str], counter: Counter) -> Update:
    """Raise the cap of a counter to its hard cap again, unless somebody else has done so."""
    values: dict[str, Value] = {
        ":more": counter.log.base - counter.base,
        ":lowered": counter.lowered_to,
        ":leaf": counter.log_number,
    }
    return Update(
        usage_key(*limit),
        "SET #left = #left + :more REMOVE loweredTo",
        # New terms rotate the log.
        "loweredTo = :lowered AND leaf = :leaf",
        {"#left": "left"},
        values,
    )
