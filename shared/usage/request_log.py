"""The log of recent requests in a counter, which makes each of them count once."""

from typing import Any

from shared.audit import Change
from shared.dynamodb.keys import (
    Key,
    consumption_key,
    meter_of,
    owner_of,
    usage_of,
)
from shared.dynamodb.requests import (
    NO_NAMES,
    BatchPut,
    Get,
    Item,
    Operation,
    Update,
)
from shared.usage.counter import Consumption, Counter
from shared.usage.encoding import time_of
from shared.usage.periods import DAY_MS

LOG_SIZE = 32  # requests that stand on one leaf before it is turned


def rotation(counter: Counter, dropped: list[str], change: Change) -> tuple[str, dict[str, Any]]:
    """Turning the leaf: the parts of an expression, and their values. Needs `leaf = :leaf`.

    `dropped`: the requests of the last 24 hours that leave the counter with it.
    """
    sets = (
        "earlier = recent, earlierTerms = :terms, leaf = leaf + :one,"
        " droppedAt = :droppedAt, droppedTo = :droppedTo"
    )
    # What left more than a day ago is of no concern any more, nor is the time that it told.
    dropped_to = counter.dropped_to if counter.is_busy(change.now_ms) else 0
    return sets, {
        ":terms": counter.log.terms(),
        ":droppedAt": max(counter.dropped_ms, change.now_ms if dropped else 0),
        ":droppedTo": max([dropped_to, *(time_of(key) or 0 for key in dropped)]),
        ":leaf": counter.log_number,
        ":one": 1,
    }


def archive(counter_key: Key, counter: Counter, now_ms: int) -> Operation[list[str]]:
    """Keep in items of their own what the next turn takes from the counter; the keys of those.

    The leaf before is never written to, so what is read of it is all of it.
    """
    owner, usage = owner_of(counter_key.pk), usage_of(meter_of(counter_key.pk))
    log = counter.earlier
    told = {key: log.consumption(key) for key in log.entries} if log else {}
    young = {key: each for key, each in told.items() if each and each.at_ms > now_ms - DAY_MS}
    if young:
        yield BatchPut(
            tuple(
                (consumption_key(owner, str(usage), key), each.to_item())
                for key, each in young.items()
            )
        )
    return list(young)


def rotate_if_full(counter_key: Key, counter: Counter, change: Change) -> Operation[None]:
    """Turn a leaf that is full still: whoever filled it ended before that."""
    if len(counter.log.entries) >= LOG_SIZE:
        yield from rotate(counter_key, counter, change)


def look(
    owner: str, usage: str, key: str, counter: Counter, now_ms: int, checked: int | None = None
) -> Operation[Consumption | None]:
    """What a request has consumed within 24 hours, here or in an item of its own.

    `checked`: the leaf at which there was no such item.
    """
    told = counter.consumption(key)
    if told and told.at_ms > now_ms - DAY_MS:
        return told
    if counter.may_have_dropped(key, now_ms) and checked != counter.log_number:
        return (yield from kept(owner, usage, key, now_ms))
    return None


def kept(owner: str, usage: str, key: str, now_ms: int) -> Operation[Consumption | None]:
    """What a request consumed within 24 hours, once it has left the counter."""
    item: Item | None = yield Get(consumption_key(owner, usage, key))
    told = Consumption.of(item) if item else None
    return told if told and told.at_ms > now_ms - DAY_MS else None


def rotate(counter_key: Key, counter: Counter, change: Change) -> Operation[None]:
    """Turn a full leaf. If somebody else has turned it, there is nothing to do."""
    dropped = yield from archive(counter_key, counter, change.now_ms)
    sets, values = rotation(counter, dropped, change)
    yield Update(
        counter_key,
        f"SET {sets}, recent = :none",
        "leaf = :leaf",
        NO_NAMES,
        {**values, ":none": {}},
    )
