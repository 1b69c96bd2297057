"""What a process remembers of pools, to save round trips."""

from typing import NamedTuple

from cachetools import LRUCache

from shared.seats.seat_usage import SeatUsage

# Seat totals that are older are read again.
FRESH_MS = 1_000


class CachedPool(NamedTuple):
    """A pool as it was last read: its number of shards, and its seat usage if that is recent.

    `has_settled`: its cap has followed the end of an overdraft's period.
    """

    shard_count: int
    seat_usage: SeatUsage | None
    has_settled: bool = False


class PoolCache:
    """What a process remembers of pools.

    It saves round trips. It decides nothing except whether a seat is marked as an overdraft seat.
    """

    SIZE = 2_000

    def __init__(self) -> None:
        self._seen: LRUCache[str, tuple[CachedPool, int]] = LRUCache(self.SIZE)

    def recall(self, entitlement_id: str, now_ms: int) -> CachedPool | None:
        """What is remembered of an entitlement's pool."""
        seen = self._seen.get(entitlement_id)
        if seen is None:
            return None
        cached, at = seen
        return cached if abs(now_ms - at) < FRESH_MS else CachedPool(cached.shard_count, None)

    def note(self, entitlement_id: str, cached: CachedPool | None, now_ms: int) -> None:
        """Remember what was just read; None: the entitlement has no pool."""
        seen = self._seen.pop(entitlement_id, None)
        if cached is not None and cached.seat_usage is not None:
            is_same = seen is not None and seen[0].seat_usage == cached.seat_usage
            at = seen[1] if seen and is_same and abs(now_ms - seen[1]) < FRESH_MS else now_ms
            self._seen[entitlement_id] = (cached, at)
