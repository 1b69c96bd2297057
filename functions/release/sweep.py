"""The sweep: frees what nobody gave back, closes what has ended. Correctness never waits for it."""

from shared import (
    entitlement,
    ledger,
    pool,
    pool_changes,
    table,
    telemetry,
    times,
    usage_parts,
)
from shared.ledger import CLOCK_GRACE, Change

SWEEP_PAGE = 100


def sweep(door: table.Table, request_id: str, now_ms: int, deadline_ms: int) -> dict[str, int]:
    """Free leases that ran out, close entitlements whose validity ended, go on with pools.

    Also hears what parts of usage limits have used.

    Stops before `deadline_ms` (Unix milliseconds); the rest is due again a minute later.
    Safe to run twice at once. Returns how many seats were freed, entitlements closed and
    pools looked after.
    """
    change = Change("sweep", request_id, now_ms)
    done = {"freed": 0, "closed": 0, "pools": 0}
    # Another shard first every minute: a backlog in one does not starve the others.
    first = change.now // 60
    for shard in [(first + number) % table.SWEEP_SHARDS for number in range(table.SWEEP_SHARDS)]:
        start = None
        while True:
            found = door.execute(
                table.Query(
                    "sweepKey = :shard AND earliest <= :due",
                    {":shard": f"SWEEP#{shard}", ":due": change.now - CLOCK_GRACE},
                    index_name=table.SWEEP_INDEX,
                    limit=SWEEP_PAGE,
                    start=start,
                )
            )
            for item in found.items:
                if times.now_ms() > deadline_ms:
                    return done
                try:
                    _sweep_item(door, item, change, done, deadline_ms)
                except Exception:  # One bad item must not keep the rest from being swept.
                    telemetry.logger.exception("sweep failed", extra={"pk": item["pk"]})
                    telemetry.count("SweepFailed")
            start = found.next
            if start is None:
                break
    return done


def _sweep_item(
    door: table.Table, item: table.Item, change: Change, done: dict[str, int], deadline_ms: int
) -> None:
    key = table.Key(item["pk"], item["sk"])
    if key.pk.startswith(table.LEDGER_PREFIX):
        done["freed"] += door.run(ledger.sweep_page(key, change))
    elif key.pk.startswith(table.POOL_PREFIX):
        owner = table.owner_of(key.pk)
        try:
            done["freed"] += door.run(pool.free_due(owner, change, deadline_ms))
        finally:
            work = pool_changes.tend(owner, change, deadline_ms, swept_at=change.now)
            done["pools"] += door.run(work)
    elif key.pk.startswith(table.USAGE_PREFIX):
        name = str(table.usage_of(table.meter_of(key.pk)))
        door.run(usage_parts.look_after(table.owner_of(key.pk), name, change))
    else:
        entitlement_id = key.pk.removeprefix(table.ENTITLEMENT_PREFIX)
        if door.run(entitlement.close(entitlement_id, change)):
            done["closed"] += 1
            door.run(pool_changes.tend(entitlement_id, change, deadline_ms))
