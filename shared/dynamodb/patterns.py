"""Patterns of access that several packages share."""

from typing import Any

from shared import problems
from shared.dynamodb.requests import (
    Conflicted,
    Operation,
    Pause,
    Put,
    Transact,
    Update,
)

ROUNDS = 10  # attempts of an optimistic loop before it gives up with `contention`


def write_with_conflict_retry(write: Update | Put | Transact) -> Operation[Any]:
    """Send a write until no transaction conflicts with it; return its reply, never `Conflicted`.

    Raises:
        Contention: every attempt met a transaction.
    """
    for attempt in range(1, ROUNDS + 1):
        reply = yield write
        if not isinstance(reply, Conflicted):
            return reply
        yield Pause(attempt)
    raise problems.Contention
