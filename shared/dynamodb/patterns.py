"""Patterns of access that several packages share."""

from typing import overload

from shared import problems
from shared.dynamodb.keys import Key
from shared.dynamodb.requests import (
    Accepted,
    Cancelled,
    Conflicted,
    Delete,
    Get,
    InvariantViolation,
    Item,
    Operation,
    Pause,
    Put,
    Refused,
    Transact,
    Update,
    send,
)

ROUNDS = 10  # attempts of an optimistic loop before it gives up with `contention`


def read_existing(key: Key) -> Operation[Item]:
    """Read an item that must exist.

    Raises:
        InvariantViolation: it does not.
    """
    item = yield from send(Get(key))
    if item is None:
        raise InvariantViolation(f"{key.pk} {key.sk} does not exist")
    return item


@overload
def write_with_conflict_retry(write: Update | Put | Delete) -> Operation[Accepted | Refused]: ...
@overload
def write_with_conflict_retry(write: Transact) -> Operation[Accepted | Cancelled]: ...
@overload
def write_with_conflict_retry(
    write: Update | Put | Delete | Transact,
) -> Operation[Accepted | Refused | Cancelled]: ...
def write_with_conflict_retry(
    write: Update | Put | Delete | Transact,
) -> Operation[Accepted | Refused | Cancelled]:
    """Send a write until no transaction conflicts with it; return its reply, never `Conflicted`.

    Raises:
        Contention: every attempt met a transaction.
    """
    for attempt in range(1, ROUNDS + 1):
        reply = yield from send(write)
        if not isinstance(reply, Conflicted):
            return reply
        yield from send(Pause(attempt))
    raise problems.Contention
