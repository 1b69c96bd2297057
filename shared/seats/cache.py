"""What a process remembers of seats: to save round trips, and for a table that is overloaded."""

from typing import NamedTuple, TypeAlias

from cachetools import LRUCache

from shared.overload import FULL_MS, Overload
from shared.seats.seat_usage import SeatUsage
from shared.seats.shard import SeatShard

# Seat totals that are older are read again.
FRESH_MS = 1_000


class CachedPool(NamedTuple):
    """A pool as it was last read: its number of shards, and its seat usage if that is recent.

    `has_settled`: its cap has followed the end of an overdraft's period.
    """

    shard_count: int
    seat_usage: SeatUsage | None
    has_settled: bool = False


class SeenFull(NamedTuple):
    """An entitlement without a free seat: the only shard; of a pool, when its next lease ends."""

    shard: SeatShard | None
    next_due: int | None


class SeatOverload(Overload[SeenFull]):
    """What a process knows of seats that the table may throttle; of a pool, also of its shards."""

    __slots__ = ("_entitlement_id", "_shards")

    def __init__(self, entitlement_id: str = "", shards: "SeenShards | None" = None) -> None:
        super().__init__()
        self._entitlement_id = entitlement_id
        self._shards: SeenShards = LRUCache(1) if shards is None else shards

    def note_shard(self, number: int, shard: SeatShard, seen_ms: int) -> None:
        """A shard of a pool was read; `seen_ms` is a time before that."""
        if self.is_on(seen_ms):
            self._shards[self._entitlement_id, number] = (shard, seen_ms)

    def last_shard(self, number: int | None, now_ms: int) -> SeatShard | None:
        """A shard as it was a moment ago, when there was no free seat; None: the only shard.

        None if the table has to say.
        """
        seen = self.last_seen(now_ms)
        if seen is None or number is None:
            return seen.shard if seen else None
        shard, seen_ms = self._shards.get((self._entitlement_id, number), (None, 0))
        is_pool = seen.shard is None
        return shard if is_pool and 0 <= now_ms - seen_ms <= FULL_MS else None


SeenShards: TypeAlias = LRUCache[tuple[str, int], tuple[SeatShard, int]]


class PoolCache:
    """What a process remembers of pools, and of entitlements that are overloaded.

    It saves round trips. Of pools it decides nothing except whether a seat is marked as an
    overdraft seat.
    """

    SIZE = 2_000
    # Of use for a moment only; about 10 KB each.
    OVERLOADS = SHARDS = 256

    def __init__(self) -> None:
        self._seen: LRUCache[str, tuple[CachedPool, int]] = LRUCache(self.SIZE)
        self._overloads: LRUCache[str, SeatOverload] = LRUCache(self.OVERLOADS)
        self._shards: SeenShards = LRUCache(self.SHARDS)

    def overload(self, entitlement_id: str) -> SeatOverload:
        """What is known of an entitlement that may be overloaded; the caller adds to it."""
        known = self._overloads.get(entitlement_id)
        if known is None:
            known = self._overloads[entitlement_id] = SeatOverload(entitlement_id, self._shards)
        return known

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
