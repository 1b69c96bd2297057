"""A pool's sum, kept from the stream of its pages.

Whoever reads the pages' streams counts what they tell into one item, `SUM` (see `shared.pool_sum`).
Many may at once: it is written as it was read, or looked at again.
"""

from collections.abc import Sequence

from shared.dynamodb.keys import totals_key
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import Accepted, Get, Item, Operation, Pause, Unavailable
from shared.seats import totals
from shared.seats.totals import ShardVersion

ATTEMPTS = 30


def count(owner: str, versions: Sequence[ShardVersion]) -> Operation[None]:
    """Count versions of a pool's pages, those of each page in their order.

    What was counted before changes nothing.
    """
    left = list(versions)
    for attempt in range(1, ATTEMPTS + 1):
        seen: Item | None = yield Get(totals_key(owner))
        if seen is None:
            raise Unavailable("a pool without a sum")  # it is written with the second page
        item, taken = totals.apply_versions(seen, left)
        # Also where all was counted before: whoever did may have ended before it stood there.
        is_new = item["rev"] != seen["rev"]
        if is_new and not isinstance((yield totals.totals_put(owner, seen, item)), Accepted):
            yield Pause(attempt)
            continue
        # Refused: this one or a newer one stands there.
        yield from write_with_conflict_retry(totals.seat_usage_put(owner, item))
        left = left[taken:]
        if not left:
            return
    raise Unavailable("the sum of a pool kept changing")
