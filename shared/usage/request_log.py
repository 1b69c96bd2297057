"""The log of recent requests on a counter. It makes each request count once."""

from typing import Any

from shared.audit import Change
from shared.dynamodb.keys import (
    Key,
    consumption_key,
    entitlement_id_of,
    limit_of,
)
from shared.dynamodb.requests import (
    NO_NAMES,
    BatchPut,
    Get,
    Operation,
    Update,
    send,
)
from shared.usage.counter import Consumption, Counter
from shared.usage.encoding import time_of
from shared.usage.periods import DAY_MS

LOG_SIZE = 32  # the number of requests after which the log is rotated


def rotation(
    counter: Counter, dropped: list[str], change: Change, *, keeps_recent: bool = True
) -> tuple[str, dict[str, Any]]:
    """The rotation of the log: parts of an expression and their values. Needs `leaf = :leaf`.

    `dropped` are the requests of the last 24 hours that leave the counter with it. Unless
    `keeps_recent`, all requests leave it, and the value `:empty` is needed.
    """
    sets = (
        f"earlier = {'recent' if keeps_recent else ':empty'}, earlierTerms = :terms,"
        " leaf = leaf + :one, droppedAt = :droppedAt, droppedTo = :droppedTo"
    )
    # Requests that were archived more than a day ago do not matter any more, nor do their times.
    dropped_to = counter.dropped_to if counter.is_busy(change.now_ms) else 0
    return sets, {
        ":terms": counter.log.terms(),
        ":droppedAt": max(counter.dropped_ms, change.now_ms if dropped else 0),
        ":droppedTo": max([dropped_to, *(time_of(key) or 0 for key in dropped)]),
        ":leaf": counter.log_number,
        ":one": 1,
    }


def archive(counter_key: Key, counter: Counter, now_ms: int) -> Operation[list[str]]:
    """Archive the requests that the next rotation removes from the counter; return their keys.

    Nothing is written to the earlier log, so what was read is all of it.
    """
    entitlement_id, usage = entitlement_id_of(counter_key.pk), limit_of(counter_key.pk)
    log = counter.earlier
    consumed = {key: log.consumption(key) for key in log.entries} if log else {}
    young = {key: each for key, each in consumed.items() if each and each.at_ms > now_ms - DAY_MS}
    if young:
        yield from send(
            BatchPut(
                tuple(
                    (consumption_key(entitlement_id, usage, key), each.to_item())
                    for key, each in young.items()
                )
            )
        )
    return list(young)


def rotate_if_full(counter_key: Key, counter: Counter, change: Change) -> Operation[None]:
    """Rotate a log that is still full: the process that filled it ended before it rotated it."""
    if len(counter.log.entries) >= LOG_SIZE:
        yield from rotate(counter_key, counter, change)


def look(
    entitlement_id: str,
    usage: str,
    key: str,
    counter: Counter,
    now_ms: int,
    checked: int | None = None,
) -> Operation[Consumption | None]:
    """What a request has consumed within 24 hours, by a log or by its archive item.

    `checked` is the log number at which there was no archive item.
    """
    consumed = counter.consumption(key)
    if consumed and consumed.at_ms > now_ms - DAY_MS:
        return consumed
    if counter.may_have_dropped(key, now_ms) and checked != counter.log_number:
        return (yield from kept(entitlement_id, usage, key, now_ms))
    return None


def kept(entitlement_id: str, usage: str, key: str, now_ms: int) -> Operation[Consumption | None]:
    """What an archived request consumed within 24 hours."""
    item = yield from send(Get(consumption_key(entitlement_id, usage, key)))
    consumed = Consumption.of(item) if item else None
    return consumed if consumed and consumed.at_ms > now_ms - DAY_MS else None


def rotate(counter_key: Key, counter: Counter, change: Change) -> Operation[None]:
    """Rotate a full log. If another process has rotated it, there is nothing to do."""
    dropped = yield from archive(counter_key, counter, change.now_ms)
    sets, values = rotation(counter, dropped, change)
    yield from send(
        Update(
            counter_key,
            f"SET {sets}, recent = :none",
            "leaf = :leaf",
            NO_NAMES,
            {**values, ":none": {}},
        )
    )
