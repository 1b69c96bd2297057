"""Updating the totals of a pool from the stream of its shards.

The item `SUM` includes what the shards report (see `shared.seats.totals`). Many processes may write
it at once: it is written as it was read, or read again.
"""

from collections.abc import Sequence

from shared.dynamodb.keys import totals_key
from shared.dynamodb.patterns import read_existing, write_with_conflict_retry
from shared.dynamodb.requests import Accepted, LostRace, Operation, Pause, send
from shared.seats import totals
from shared.seats.totals import ShardVersion

ATTEMPTS = 30


def count(entitlement_id: str, versions: Sequence[ShardVersion]) -> Operation[None]:
    """Include versions of a pool's shards, those of each shard in their order.

    Versions that were included before change nothing.
    """
    left = list(versions)
    for attempt in range(1, ATTEMPTS + 1):
        seen = yield from read_existing(totals_key(entitlement_id))
        item, taken = totals.apply_versions(seen, left)
        # Also if all were included before: that process may have ended before it wrote this.
        is_new = item["rev"] != seen["rev"]
        if is_new and not isinstance(
            (yield from send(totals.totals_put(entitlement_id, seen, item))), Accepted
        ):
            yield from send(Pause(attempt))
            continue
        # Refused: this one, or a newer one, is stored.
        yield from write_with_conflict_retry(totals.seat_usage_put(entitlement_id, item))
        left = left[taken:]
        if not left:
            return
    raise LostRace("the totals of a pool kept changing")
