"""What processes remember of pools and of sharded limits, and when a limit is worth sharding."""

from shared.audit import Change
from shared.seats.cache import FRESH_MS, CachedPool, PoolCache
from shared.seats.placement import shard_count_for, wanted_shard_count
from shared.seats.resharding import next_shard_count
from shared.seats.seat_usage import SeatUsage
from shared.seats.terms import MOST_SEATS
from shared.usage import sharded
from shared.usage.counter import Counter, UsageTerms
from shared.usage.encoding import encode_entry
from shared.usage.terms import new_counter
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
    assert cache.recall("a", NOW_MS) is None, "it is one page again"


def test_memories_do_not_grow_without_end() -> None:
    cache = PoolCache()
    for number in range(PoolCache.SIZE + 5):
        cache.note(f"ent{number}", CachedPool(2, SEAT_USAGE), NOW_MS)
    assert cache.recall("ent4", NOW_MS) is None
    assert cache.recall("ent5", NOW_MS) is not None
    limits = sharded.LimitCache()
    for number in range(sharded.LimitCache.SIZE + 5):
        limits.note(("ent", str(number)), counter(), NOW_MS)
    assert not limits.is_sharded(("ent", "4"))
    assert limits.is_sharded(("ent", "5"))
    assert limits.recall(("ent", "5"), NOW_MS + sharded.FRESH_MS) is None


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


def counter(cap: int | None = 200_000, *, gap_ms: int = 3, entries: int = 32) -> Counter:
    terms = UsageTerms(100_000, cap, "never", "UTC", "active", 0, None)
    new = Counter.of(dict(new_counter("ent", "x", terms, Change("k", "r", NOW_MS)).item))
    times = [NOW_MS + number * gap_ms for number in range(2 * entries)]
    values = [encode_entry(at, 1) for at in times]
    earlier, recent = (dict(enumerate(part)) for part in (values[:entries], values[entries:]))
    logs = [{f"{key:012d}": value for key, value in log.items()} for log in (earlier, recent)]
    return new._replace(
        earlier=new.log._replace(entries=logs[0]), log=new.log._replace(entries=logs[1])
    )


def test_a_limit_is_sharded_in_a_rush_that_is_worth_it() -> None:
    assert sharded.is_rushed(counter())
    assert sharded.is_rushed(counter(None))
    assert not sharded.is_rushed(counter(gap_ms=4)), "as many as one counter takes"
    assert not sharded.is_rushed(counter(entries=31)), "no log is full"
    assert not sharded.is_rushed(counter(sharded.SHARD_FROM - 1)), "soon at its end"
    assert not sharded.is_rushed(counter()._replace(earlier=None))
