"""Reminding of follow-ups whose due date has come. The stream makes events and e-mails of it."""

from shared.dynamodb.keys import Key
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import NO_NAMES, Accepted, Get, Operation, Update, send


def remind(key: Key, now: int) -> Operation[bool]:
    """Remind of one, once; False: it is not due any more."""
    item = yield from send(Get(key))
    if item is None or item.get("earliest", now + 1) > now:
        return False
    reply = yield from write_with_conflict_retry(
        Update(
            key,
            "SET remindedAt = :now REMOVE sweepKey, earliest",
            "version = :seen AND earliest <= :due",
            NO_NAMES,
            {":now": now * 1000, ":seen": item["version"], ":due": now},
        )
    )
    return isinstance(reply, Accepted)
