"""The sweeper: it frees expired leases and closes entitlements that ended.

Correctness never depends on it: a grant checks leases and validity itself.
"""

from shared import clock, observability
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    ENTITLEMENT_PREFIX,
    POOL_PREFIX,
    SEAT_SHARD_PREFIX,
    SWEEP_INDEX,
    SWEEP_PARTITIONS,
    USAGE_PREFIX,
    Key,
    entitlement_id_of,
    limit_of,
    usage_key,
)
from shared.dynamodb.requests import Get, Item, Operation, Query, send
from shared.entitlements.lifecycle import close_entitlement
from shared.seats import leases, reconcile
from shared.seats.leases import sweep_shard
from shared.seats.shard import CLOCK_GRACE
from shared.usage import allocation
from shared.usage.counter import counter_of
from shared.usage.sharded_clock import follow_clock

SWEEP_PAGE = 100


def sweep(
    dynamodb: DynamoDBClient, request_id: str, now_ms: int, deadline_ms: int
) -> dict[str, int]:
    """Free expired leases, close entitlements whose validity has ended, reconcile pools.

    It also collects what the shards of usage limits have used. It stops before `deadline_ms` (Unix
    milliseconds); the rest is due again a minute later. It is safe to run twice at once. Returns
    the number of seats freed, entitlements closed and pools reconciled.
    """
    change = Change("sweep", request_id, now_ms)
    done = {"freed": 0, "closed": 0, "pools": 0}
    # Start with another partition every minute, so that a backlog in one does not starve the
    # others.
    first = change.now // 60
    for shard in [(first + number) % SWEEP_PARTITIONS for number in range(SWEEP_PARTITIONS)]:
        start = None
        while True:
            found = dynamodb.execute(
                Query(
                    "sweepKey = :shard AND earliest <= :due",
                    {":shard": f"SWEEP#{shard}", ":due": change.now - CLOCK_GRACE},
                    index_name=SWEEP_INDEX,
                    limit=SWEEP_PAGE,
                    start=start,
                )
            )
            for item in found.items:
                if clock.now_ms() > deadline_ms:
                    return done
                try:
                    _sweep_item(dynamodb, item, change, done, deadline_ms)
                except Exception:  # One bad item must not keep the rest from being swept.
                    observability.logger.exception("sweep failed", extra={"pk": item["pk"]})
                    observability.count("SweepFailed")
            start = found.next
            if start is None:
                break
    return done


def _follow_clock(limit: tuple[str, str], change: Change) -> Operation[None]:
    counter = counter_of((yield from send(Get(usage_key(*limit)))))
    yield from follow_clock(limit, counter, change)


def _sweep_item(
    dynamodb: DynamoDBClient, item: Item, change: Change, done: dict[str, int], deadline_ms: int
) -> None:
    key = Key(item["pk"], item["sk"])
    if key.pk.startswith(SEAT_SHARD_PREFIX):
        done["freed"] += dynamodb.run(sweep_shard(key, change))
    elif key.pk.startswith(POOL_PREFIX):
        entitlement_id = entitlement_id_of(key.pk)
        try:
            done["freed"] += dynamodb.run(leases.free_due(entitlement_id, change, deadline_ms))
        finally:
            work = reconcile.reconcile_pool(
                entitlement_id, change, deadline_ms, swept_at=change.now
            )
            done["pools"] += dynamodb.run(work)
    elif key.pk.startswith(USAGE_PREFIX):
        limit = (entitlement_id_of(key.pk), limit_of(key.pk))
        if dynamodb.run(allocation.reconcile(*limit, change)).overdraft_period:
            dynamodb.run(_follow_clock(limit, change))
    else:
        entitlement_id = key.pk.removeprefix(ENTITLEMENT_PREFIX)
        if dynamodb.run(close_entitlement(entitlement_id, change)):
            done["closed"] += 1
            dynamodb.run(reconcile.reconcile_pool(entitlement_id, change, deadline_ms))
