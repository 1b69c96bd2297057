"""Reminding of follow-ups whose due date has come. The stream makes events and e-mails of it."""

from shared import observability
from shared.clock import now_ms as clock
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import DUE_FOLLOW_UPS, SWEEP_INDEX, Key
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import NO_NAMES, Accepted, Get, Operation, Query, Update, send

PAGE = 100


def remind(dynamodb: DynamoDBClient, now: int, deadline_ms: int) -> int:
    """Remind of what is due at `now` (Unix seconds); return how many reminders that were."""
    reminded = 0
    query = Query(
        "sweepKey = :due AND earliest <= :now",
        {":due": DUE_FOLLOW_UPS, ":now": now},
        index_name=SWEEP_INDEX,
        limit=PAGE,
    )
    while True:
        found = dynamodb.execute(query)
        for each in found.items:
            if clock() > deadline_ms:
                return reminded
            try:
                reminded += dynamodb.run(_remind(Key(each["pk"], each["sk"]), now))
            except Exception:  # one must not hold up the others
                observability.logger.exception("reminder failed", extra={"pk": each["pk"]})
                observability.count("SweepFailed")
        if found.next is None:
            return reminded
        query = query._replace(start=found.next)


def _remind(key: Key, now: int) -> Operation[bool]:
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
