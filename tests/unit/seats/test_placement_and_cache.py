"""What processes remember of pools, and how many shards a pool has."""

from shared.seats.cache import FRESH_MS, CachedPool, PoolCache
from shared.seats.placement import shard_count_for, wanted_shard_count
from shared.seats.resharding import next_shard_count
from shared.seats.seat_usage import SeatUsage
from shared.seats.terms import MOST_SEATS
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


def test_shards_are_at_least_two_thirds_full_and_grow_in_small_groups() -> None:
    for cap in (129, 500, 1_000, 20_000, MOST_SEATS):
        shard_count = shard_count_for(cap)
        assert 6_144 % shard_count == 0
        assert cap / 1.51 <= shard_count * 96 - cap % 2
        assert cap <= shard_count * 96
    assert wanted_shard_count(128, 100, 0) == 1
    assert wanted_shard_count(129, 100, 0) == 2
    shard_count = 1
    while shard_count != shard_count_for(MOST_SEATS):
        step = next_shard_count(shard_count, shard_count_for(MOST_SEATS))
        assert step > shard_count
        shard_count = step
