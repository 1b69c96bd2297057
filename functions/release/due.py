"""What is due at a time, and is not the sweep's own: notices, reminders."""

from collections.abc import Callable

from shared import observability
from shared.clock import now_ms as clock
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key
from shared.dynamodb.paging import due_keys
from shared.dynamodb.requests import Operation

Work = Callable[[Key, int], Operation[bool]]


def do_due(dynamodb: DynamoDBClient, partition: str, work: Work, now: int, deadline_ms: int) -> int:
    """Do what is due at `now` (Unix seconds) in a partition of the sweep's index.

    Stops at `deadline_ms`. What fails is due again in the next run. Returns how often `work` was
    done, by its own word.
    """
    done = 0
    for key in due_keys(dynamodb, partition, now):
        if clock() > deadline_ms:
            break
        try:
            done += dynamodb.run(work(key, now))
        except Exception:  # one must not hold up the others
            observability.logger.exception("due work failed", extra={"pk": key.pk})
            observability.count("SweepFailed")
    return done
