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

ROUNDS = 10  # rounds of looking again before an operation gives up with `contention`


def write_with_conflict_retry(write: Update | Put | Transact) -> Operation[Any]:
    """Send a write until no transaction is in its way; its reply, which is not `Conflicted`.

    Raises:
        Contention: there always was one.
    """
    for attempt in range(1, ROUNDS + 1):
        reply = yield write
        if not isinstance(reply, Conflicted):
            return reply
        yield Pause(attempt)
    raise problems.Contention
