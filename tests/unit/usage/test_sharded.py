"""When a usage limit is worth sharding, and what processes remember of sharded limits."""

from shared.audit import Change
from shared.usage import sharded
from shared.usage.counter import Counter, UsageTerms
from shared.usage.encoding import encode_entry
from shared.usage.terms import new_counter
from tests.support.seats import NOW_MS


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


def test_the_cache_is_bounded() -> None:
    limits = sharded.LimitCache()
    for number in range(sharded.LimitCache.SIZE + 5):
        limits.note(("ent", str(number)), counter(), NOW_MS)
    assert not limits.is_sharded(("ent", "4"))
    assert limits.is_sharded(("ent", "5"))
    assert limits.recall(("ent", "5"), NOW_MS + sharded.FRESH_MS) is None
