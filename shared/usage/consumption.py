"""The usage core: consuming is counted against the same two limits as seats.

A usage limit is one item, its *counter*. It stores what is `left` under the hard cap, because a
condition can compare but cannot add. So consuming is one conditional write that subtracts. The
recent requests are in the same item, by their `Idempotency-Key`. So one write decides both whether
enough is left and whether this request has consumed before.

The *request log* has two generations: `recent`, which is written, and `earlier`, the one before.
The log is rotated when it is full, when the limits change and when a period begins: `earlier` is
archived in items of their own, one for each request. So the write must also prove that the request
is not in the archive. Its condition does so in one of three ways:

- nothing of the last 24 hours has been archived (a *quiet* limit);
- the request's key contains its time (UUIDv7), and nothing of that time or later was archived;
- the request's archive item was read, did not exist, and the log has not been rotated since.

Everything in an answer follows from the request's entry and its log's terms. So the first answer
can be given again, and it is never stored. Times are Unix seconds unless a name ends in `_ms`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from shared import problems
from shared.audit import CUSTOMER_CAP, OVERDRAFT_PERIOD, Change, denial, utc_hour
from shared.clock import to_rfc3339
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import (
    Key,
    denial_key,
    usage_key,
    usage_meter,
)
from shared.dynamodb.patterns import ROUNDS, write_with_conflict_retry
from shared.dynamodb.requests import (
    NO_VALUES,
    Accepted,
    Conflicted,
    Get,
    Item,
    Operation,
    Pause,
    Update,
    Value,
    send,
)
from shared.overdraft_clock import (
    CLOCK_IS_TO_START,
    START_CLOCK,
    clock_attributes,
    started,
)
from shared.overload import KnownFull, Overload
from shared.usage.counter import NO_LIMIT, REMOVED, Consumption, Counter, counter_of
from shared.usage.encoding import encode_entry, time_of
from shared.usage.periods import DAY_MS
from shared.usage.request_log import LOG_SIZE, archive, kept, look, rotate, rotate_if_full, rotation
from shared.usage.views import counter_view, period_view
from shared.validity import IN_FORCE, check_in_force

# --- Writes ---------------------------------------------------------------------------------------

_NAMES = {"#status": "status", "#last": "last", "#left": "left"}
NEXT_VERSION = "seq = seq + :one, #last = :change"
NOT_SHARDED = "attribute_not_exists(parts)"
# Version 0.5 and earlier could store NULL as the end of a period that has none.
_IN_PERIOD = (
    "(attribute_not_exists(periodEnd) OR periodEnd > :now OR attribute_type(periodEnd, :null))"
)


def _values(change: Change, last: Mapping[str, Any]) -> dict[str, Any]:
    return {
        ":one": 1,
        ":change": dict(last),
        ":now": change.now,
        ":active": "active",
        ":null": "NULL",
    }


class Entry(NamedTuple):
    """What one request adds to what is used.

    `quantity` is signed for a correction (`kind`: `corrected`), which also has a `reason`.
    `occurred_ms`: when it happened, according to the caller; None: not said.
    """

    key: str
    quantity: int
    kind: str = "consumed"
    reason: str = ""
    occurred_ms: int | None = None

    def record(self, change: Change) -> dict[str, Any]:
        """The counter's `last` of this request."""
        return change.record(
            self.kind, quantity=self.quantity, reason=self.reason, occurredAt=self.occurred_ms
        )


class LogSeen(NamedTuple):
    """What was read of a request key in the log.

    `checked` is the log number at which the request had no archive item; None: it cannot have been
    archived. `stale` are entries of the key in both logs that are older than that.
    """

    checked: int | None = None
    stale: tuple[int | None, int | None] = (None, None)


class Guard(NamedTuple):
    """What must hold besides that the request is new: a condition, and its values.

    `sets` and `removals` are what the write does to the clock of an overdraft.
    """

    condition: str
    values: Mapping[str, Any] = NO_VALUES
    sets: tuple[str, ...] = ()
    removals: tuple[str, ...] = ()


ENOUGH_LEFT = "#left >= :quantity"
NOTHING_SEEN = LogSeen()
_OF_WHOLE_LIMIT = f"{ENOUGH_LEFT} AND {NOT_SHARDED}"
# Where an overdraft has a period: within what was purchased, or while the clock runs.
ENOUGH_OF_WHOLE_LIMIT = Guard(
    f"{_OF_WHOLE_LIMIT} AND (attribute_not_exists(overdraftPeriod) OR leftPurchased >= :quantity"
    " OR (overdraftEndsAt > :now AND attribute_not_exists(recoversAt)))"
)
# The request that crosses what was purchased.
_STARTS_OVERDRAFT = Guard(
    f"{_OF_WHOLE_LIMIT} AND leftPurchased < :quantity AND {CLOCK_IS_TO_START}",
    sets=START_CLOCK,
    removals=("recoversAt",),
)
# The request that crosses it again before the overdraft has recovered.
_GOES_ON = Guard(
    f"{_OF_WHOLE_LIMIT} AND leftPurchased < :quantity AND overdraftEndsAt > :now"
    " AND recoversAt > :now",
    removals=("recoversAt",),
)


def _guard_for(counter: Counter, quantity: int, now: int) -> Guard:
    """What must hold for a request on a counter as it was read."""
    if counter.overdraft_period is None or quantity <= counter.left_purchased:
        return ENOUGH_OF_WHOLE_LIMIT
    clock = counter.clock_at(now)
    if clock is None:
        return _STARTS_OVERDRAFT
    return ENOUGH_OF_WHOLE_LIMIT if clock.recovers_at is None else _GOES_ON


def consumption_update(
    counter_key: Key,
    entry: Entry,
    change: Change,
    seen: LogSeen = NOTHING_SEEN,
    guard: Guard = ENOUGH_OF_WHOLE_LIMIT,
    *,
    left_before: int | None = None,
) -> Update:
    """Subtract the entry's quantity, if the guard holds and the request is new.

    `left_before` is what was left of the whole limit, if this is a shard of it. What is left of
    what was purchased is counted down beside it, because a condition cannot subtract.
    """
    values = {
        **_values(change, entry.record(change)),
        ":quantity": entry.quantity,
        ":entry": encode_entry(change.now_ms, entry.quantity) + (left_before or 0),
        **guard.values,
    }
    new = []
    for log, stale in zip(("recent", "earlier"), seen.stale, strict=True):
        condition, bound = _as_seen(log, stale)
        new.append(condition)
        values |= bound
    if seen.checked is not None:
        new.append("leaf = :leaf")
        values[":leaf"] = seen.checked
    elif (key_time := time_of(entry.key)) is not None:
        new.append("(droppedTo < :told OR droppedAt <= :dayAgo)")
        values |= {":told": key_time, ":dayAgo": change.now_ms - DAY_MS}
    else:
        new.append("droppedAt <= :dayAgo")
        values[":dayAgo"] = change.now_ms - DAY_MS
    entered = ":entry + #left" if left_before is None else ":entry"
    sets = [f"recent.#k = {entered}", "#left = #left - :quantity", NEXT_VERSION, *guard.sets]
    if left_before is None:
        sets.append("leftPurchased = if_not_exists(leftPurchased, :zero) - :quantity")
        values[":zero"] = 0
    return Update(
        counter_key,
        set_and_remove(sets, guard.removals),
        f"{guard.condition} AND {' AND '.join(new)} AND {IN_FORCE} AND {_IN_PERIOD}",
        {**_NAMES, "#k": entry.key},
        values,
    )


def _as_seen(log: str, entry: int | None) -> tuple[str, dict[str, int]]:
    """The condition that a request's entry in a log is as it was read (None: there is none)."""
    if entry is None:
        return f"attribute_not_exists({log}.#k)", {}
    return f"{log}.#k = :{log}", {f":{log}": entry}


def set_period(
    counter: Counter, used: int, now: int
) -> tuple[list[str], list[str], dict[str, Value]]:
    """The assignments, removals and values that store the period of `counter`.

    It begins at `now` with what is `used`. The name `#period` stands for the attribute `period`.
    """
    sets: dict[str, Value] = {
        "periodStart": counter.period.start,
        "periodEnd": counter.period.end,
        "#period": counter.period_number,
    }
    if counter.overdraft_period:
        is_over = used > counter.purchased
        clock = started(counter.overdraft_period, now) if is_over else None
        left = counter.purchased - used
        sets |= {"leftPurchased": left, "loweredTo": None, **clock_attributes(clock)}
    return assign(sets)


def begin_period(
    counter_key: Key,
    counter: Counter,
    current: Counter,
    change: Change,
    entry: Entry,
) -> Operation[Update]:
    """Begin the period of `current` with its first entry, if the terms are still as they were read.

    The requests that the rotation removes from the counter are archived first.
    """
    dropped = yield from archive(counter_key, counter, change.now_ms)
    turning, values = rotation(counter, dropped, change)
    is_new, bound = _as_seen("recent", counter.raw(entry.key)[0])
    settings, removals, period = set_period(current, entry.quantity, change.now)
    values |= {**bound, **period}
    values |= {
        ":change": entry.record(change),
        ":full": current.left - entry.quantity,
        ":own": {entry.key: encode_entry(change.now_ms, entry.quantity) + current.left},
        ":active": "active",
        ":now": change.now,
    }
    return Update(
        counter_key,
        set_and_remove(
            [turning, "recent = :own", "#left = :full", *settings, NEXT_VERSION], removals
        ),
        f"leaf = :leaf AND {is_new} AND {IN_FORCE} AND {NOT_SHARDED}",
        {**_NAMES, "#k": entry.key, "#period": "period"},
        values,
    )


# --- Operations -----------------------------------------------------------------------------------


class Sharded(Exception):
    """The limit is sharded: its requests go to its shards."""


class Outcome(NamedTuple):
    """What a request has consumed, now or before (`is_replay`), and its counter."""

    consumed: Consumption
    counter: Counter | None
    is_replay: bool


def consume(
    entitlement_id: str,
    usage: str,
    key: str,
    quantity: int,
    change: Change,
    *,
    occurred_ms: int | None = None,
    busy_log: int | None = None,
    overload: Overload[Counter] | None = None,
) -> Operation[Outcome]:
    """Consume `quantity` of a usage limit, all or nothing, once per request key.

    `occurred_ms` is when it happened, for people; it counts when it is accepted.

    `busy_log` is the log number that the caller last saw on a busy limit. The request's archive
    item is then read first, which is worth it for a key that does not contain its time. It changes
    the number of round trips and never the outcome. `overload` is what the caller knows of the
    limit in case the table throttles it.

    Raises:
        NotFound, EntitlementSuspended, EntitlementExpired, EntitlementNotYetValid,
        HardCapReached, OverdraftPeriodEnded, CustomerCapReached (with `usage` and `overdraft`; on
        record), IdempotencyConflict, Contention, Sharded.
    """
    entry, overload = Entry(key, quantity, occurred_ms=occurred_ms), overload or Overload[Counter]()
    try:
        return (yield from _consume(entitlement_id, usage, entry, change, busy_log, overload))
    except KnownFull as known:
        change = change.at(known.now_ms)
        return (yield from _by_memory(entitlement_id, usage, entry, change, overload))


def _consume(
    entitlement_id: str,
    usage: str,
    entry: Entry,
    change: Change,
    checked: int | None,
    overload: Overload[Counter],
) -> Operation[Outcome]:
    """`checked` is the log number for which the archive is read first.

    Raises:
        KnownFull: the table takes no more requests, and there was not enough left a moment ago.
    """
    counter_key, key, quantity = usage_key(entitlement_id, usage), entry.key, entry.quantity
    if checked is not None:
        consumed = yield from kept(entitlement_id, usage, key, change.now_ms)
        if consumed:
            counter = counter_of((yield from send(Get(counter_key))))
            return replay(consumed, quantity, counter)
    is_known = partial(_is_known_used_up, overload, entry)
    write = consumption_update(counter_key, entry, change, LogSeen(checked))
    for attempt in range(1, ROUNDS + 1):
        reply, seen_ms = yield from overload.send(write, change.now_ms, is_known, attempt)
        if isinstance(reply, Accepted):
            return (yield from finish(counter_key, reply, key, change))
        if isinstance(reply, Conflicted):
            yield from send(Pause(attempt))
            continue
        # The answer may have taken seconds. A period may have begun since then.
        change = change.at((yield from send(Pause(0))))
        counter = _alone(reply.item)
        consumed = yield from look(entitlement_id, usage, key, counter, change.now_ms, checked)
        if consumed:
            yield from rotate_if_full(counter_key, counter, change)
            return replay(consumed, quantity, counter)
        was_looked_at = counter.may_have_dropped(key, change.now_ms)
        checked = counter.log_number if was_looked_at else None
        check_counter_in_force(counter, change.now)
        current = counter.as_of(change.now)
        if current.available_at(change.now) < quantity:
            overload.note_full(counter, seen_ms)
            yield from record_denial(entitlement_id, usage, key, quantity, current, change)
            raise denied(usage, quantity, current, change.now)
        if attempt > 1:
            change = change.at((yield from send(Pause(attempt - 1))))
        if current is counter:
            seen = LogSeen(checked, counter.raw(key))
            guard = _guard_for(counter, quantity, change.now)
            write = consumption_update(counter_key, entry, change, seen, guard)
        else:
            write = yield from begin_period(counter_key, counter, current, change, entry)
    raise problems.Contention


def _is_known_used_up(overload: Overload[Counter], entry: Entry, now_ms: int) -> bool:
    """Whether it is known that not enough is left for a request that the logs do not have."""
    counter = overload.last_seen(now_ms)
    if counter is None or counter.raw(entry.key) != (None, None):
        return False
    now = now_ms // 1000
    return counter.as_of(now).available_at(now) < entry.quantity


def _by_memory(
    entitlement_id: str, usage: str, entry: Entry, change: Change, overload: Overload[Counter]
) -> Operation[Outcome]:
    """Answer a request by what is known of the limit: by the archive, or with a denial.

    Raises:
        HardCapReached, OverdraftPeriodEnded, CustomerCapReached, IdempotencyConflict.
    """
    assert overload.seen is not None  # that is how it is known
    consumed = yield from kept(entitlement_id, usage, entry.key, change.now_ms)
    if consumed:
        return replay(consumed, entry.quantity, overload.seen)
    check_counter_in_force(overload.seen, change.now)
    counter = overload.seen.as_of(change.now)
    yield from record_denial(entitlement_id, usage, entry.key, entry.quantity, counter, change)
    raise denied(usage, entry.quantity, counter, change.now)


def _alone(item: Item | None) -> Counter:
    counter = counter_of(item)
    if counter.shards is not None:
        raise Sharded
    return counter


def finish(counter_key: Key, reply: Accepted, key: str, change: Change) -> Operation[Outcome]:
    """The outcome of a write that succeeded. A log that is full by now is rotated."""
    counter = counter_of(reply.item)
    consumed = counter.log.consumption(key)
    assert consumed is not None  # it has just been written
    if len(counter.log.entries) % LOG_SIZE == 0:
        yield from rotate(counter_key, counter, change)
    return Outcome(consumed, counter, is_replay=False)


def record_denial(
    entitlement_id: str, usage: str, key: str, quantity: int, counter: Counter, change: Change
) -> Operation[None]:
    """Record that a request was denied."""
    about: dict[str, Value] = {
        "entitlementId": entitlement_id,
        "seatKey": key,
        "usageKey": usage,
        "quantity": quantity,
        "periodStart": counter.period.start,
        "periodEnd": counter.period.end,
    }
    record = denial_key(entitlement_id, key, utc_hour(change.now), usage_meter(usage))
    level = (counter.used, counter.purchased, counter.hard_cap)
    reached = counter.limit_reached(change.now)
    yield from write_with_conflict_retry(denial(record, about, level, reached, change))


def replay(consumed: Consumption, quantity: int, counter: Counter | None) -> Outcome:
    """The outcome of a request that has consumed before.

    Raises:
        IdempotencyConflict: this time it asks for another quantity.
    """
    if consumed.quantity != quantity:
        raise problems.IdempotencyConflict("Use a new Idempotency-Key for a new request.")
    return Outcome(consumed, counter, is_replay=True)


def check_counter_in_force(counter: Counter, now: int) -> None:
    """Raise the problem for which nothing is consumed at `now`."""
    _check_offered(counter)
    check_in_force(counter.status_at(now))


def _check_offered(counter: Counter) -> None:
    if counter.status == REMOVED:
        raise problems.NotFound(NO_LIMIT)


def denied(usage: str, quantity: int, counter: Counter, now: int) -> problems.Denied:
    """The problem of a limit of which not enough is left, or available, at `now`."""
    clock = counter.clock_at(now)
    extensions = {
        "key": usage,
        "usage": counter_view(counter, now),
        "overdraft": clock.view() if clock else None,
        **period_view(counter.period),
    }
    numbers = f"({counter.purchased} purchased, {counter.used} used); nothing was consumed."
    if clock and counter.limit_reached(now) == OVERDRAFT_PERIOD:
        ended = to_rfc3339(clock.ends_at * 1000)
        return problems.OverdraftPeriodEnded(
            f"{quantity} of '{usage}' do not fit under what was purchased; more could be consumed"
            f" until {ended} {numbers}",
            extensions=extensions,
        )
    if counter.limit_reached(now) == CUSTOMER_CAP:
        cap = counter.log.customer_cap
        return problems.CustomerCapReached(
            f"{quantity} of '{usage}' do not fit under the cap of {cap} that your organization has"
            f" set {numbers}",
            extensions={**extensions, "customerCap": cap},
        )
    return _hard_cap_reached(usage, quantity, counter, extensions)


def _hard_cap_reached(
    usage: str, quantity: int, counter: Counter, extensions: Mapping[str, Any]
) -> problems.HardCapReached:
    return problems.HardCapReached(
        f"{quantity} of '{usage}' do not fit under the hard cap of {counter.hard_cap}"
        f" ({counter.purchased} purchased, {counter.used} used); nothing was consumed.",
        extensions=extensions,
    )


def refused_correction(
    usage: str, quantity: int, counter: Counter, now: int
) -> problems.HardCapReached:
    """The problem of a correction that does not fit under the hard cap, which alone binds it."""
    return _hard_cap_reached(
        usage, quantity, counter, denied(usage, quantity, counter, now).extensions
    )


def preview(
    entitlement_id: str, usage: str, key: str | None, quantity: int, change: Change
) -> Operation[Outcome]:
    """Return what `consume` would return now; change and record nothing.

    Raises:
        What `consume` raises, except Contention.
    """
    counter = counter_of((yield from send(Get(usage_key(entitlement_id, usage)))))
    if key:
        consumed = yield from look(entitlement_id, usage, key, counter, change.now_ms)
        if consumed:
            return replay(consumed, quantity, counter)
    check_counter_in_force(counter, change.now)
    current = counter.as_of(change.now)
    if current.available_at(change.now) < quantity:
        raise denied(usage, quantity, current, change.now)
    after = current._replace(clock=current.clock_with(quantity, change.now))
    return Outcome(current.consuming(quantity, change.now_ms), after, is_replay=False)
