"""On which shard a seat belongs."""

from shared.seats.placement import shard_count_for, wanted_shard_count
from shared.seats.resharding import next_shard_count
from shared.seats.terms import MOST_SEATS


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
