"""Sixteen threads at once on Amazon's own engine, and every version that they made."""

import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.dynamodb import DynamoDBLocal
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key
from shared.dynamodb.marshalling import item_from_wire
from shared.seats.encoding import activation_id
from shared.seats.pending import ActivationResult
from tests.support import dynamodb_local
from tests.support.sampling import SOAK_ROUND

THREADS = 16
_COUNT = int(os.environ.get("SEEDS", "1"))
# Other seeds in every round of `make soak`.
SEEDS = range(max(0, SOAK_ROUND) * _COUNT, (max(0, SOAK_ROUND) + 1) * _COUNT)


def together(work: Callable[[int], object]) -> None:
    """Run `work(worker)` in all threads, started at the same moment."""
    barrier = threading.Barrier(THREADS)

    def run(worker: int) -> None:
        barrier.wait()
        work(worker)

    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(run, worker) for worker in range(THREADS)]:
            future.result()


def history(engine: DynamoDBLocal, dynamodb: DynamoDBClient, key: Key) -> list[dict[str, Any]]:
    """Every version of an item, from the engine's stream, in order: (old, new)."""
    return histories(engine, dynamodb, key.pk)


def histories(engine: DynamoDBLocal, dynamodb: DynamoDBClient, prefix: str) -> list[dict[str, Any]]:
    """Every version of the items whose partition keys begin so; in order for each item."""
    return [
        {
            "old": item_from_wire(record["dynamodb"]["OldImage"])
            if "OldImage" in record["dynamodb"]
            else None,
            "new": item_from_wire(record["dynamodb"]["NewImage"]),
        }
        for record in dynamodb_local.stream_records(engine.url, dynamodb.name)
        if record["dynamodb"]["Keys"]["pk"]["S"].startswith(prefix)
    ]


def run(dynamodb: DynamoDBClient, operation: Any, now_ms: Callable[[], int]) -> Any:
    """As `Table.run`, with the clock of a test after a pause."""
    return dynamodb.run(operation, now_ms)


class Grants:
    """The activation ids that one worker was given, by person; old ones too."""

    def __init__(self) -> None:
        self._named: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._named)

    def add(self, seat_id: str, grant: ActivationResult | None) -> None:
        if grant:
            named = activation_id(grant.key, grant.held.grant_id)
            self._named.setdefault(seat_id, []).append(named)

    def any(self, chance: random.Random) -> str:
        """Often an old grant: a late, repeated release."""
        return chance.choice(self._named[chance.choice(sorted(self._named))])
