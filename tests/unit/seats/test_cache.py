"""What a process remembers of pools."""

from shared.seats.cache import FRESH_MS, CachedPool, PoolCache
from shared.seats.seat_usage import SeatUsage
from tests.support.seats import NOW_MS

SEAT_USAGE = SeatUsage(7, 100, 200, NOW_MS)


def test_a_pool_is_remembered_and_its_totals_only_for_a_moment() -> None:
    cache = PoolCache()
    assert cache.recall("a", NOW_MS) is None
    cache.note("a", CachedPool(4, SEAT_USAGE), NOW_MS)
    assert cache.recall("a", NOW_MS + FRESH_MS - 1) == CachedPool(4, SEAT_USAGE)
    assert cache.recall("a", NOW_MS + FRESH_MS) == CachedPool(4, None)
    # What is used again is as old as it was.
    cache.note("a", CachedPool(4, SEAT_USAGE), NOW_MS + FRESH_MS - 1)
    assert cache.recall("a", NOW_MS + FRESH_MS) == CachedPool(4, None)
    cache.note("a", None, NOW_MS)
    assert cache.recall("a", NOW_MS) is None, "it is one shard again"


def test_the_cache_is_bounded() -> None:
    cache = PoolCache()
    for number in range(PoolCache.SIZE + 5):
        cache.note(f"ent{number}", CachedPool(2, SEAT_USAGE), NOW_MS)
    assert cache.recall("ent4", NOW_MS) is None
    assert cache.recall("ent5", NOW_MS) is not None
