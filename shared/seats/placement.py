"""The number of shards of a pool, and the shard on which a seat is placed."""

import base64
from typing import NamedTuple

from shared.dynamodb.keys import (
    Key,
    capacity_partition,
    seat_shard_key,
)
from shared.seats.shard import SHARD_SEATS

# All seat keys are divided into this many slots. A shard is named by its first slot. Every possible
# number of shards divides this number.
SLOTS = 6144
# Seat keys are placed by their first 48 bits.
_POSITIONS = 1 << 48
# Above this number of shards, the capacity index of a pool is spread over several partitions.
_UNSPREAD_SHARDS = 256
CAPACITY_PARTITIONS = 4


# The condition that a shard is the only one, and that it is not about to be split.
IS_ONLY_UNLOCKED_SHARD = "attribute_not_exists(pages) AND attribute_not_exists(movingAt)"


class Place(NamedTuple):
    """The place of a seat: the shard whose first slot is `number`, in a set of `shard_count`.

    `shard_count` is None if all seats are on one shard.
    """

    entitlement_id: str
    number: int
    shard_count: int | None

    @classmethod
    def of(cls, entitlement_id: str, key: str, shard_count: int | None) -> "Place":
        """The place of a seat key. Of n shards, shard i has the slots from i * 6144 / n on."""
        if shard_count is None:
            return cls(entitlement_id, 0, None)
        return cls(
            entitlement_id,
            position_of(key) * shard_count // _POSITIONS * (SLOTS // shard_count),
            shard_count,
        )

    @property
    def key(self) -> Key:
        """The shard's key."""
        return seat_shard_key(self.entitlement_id, self.number)

    @property
    def capacity_partition(self) -> str:
        """The partition of the capacity index in which the shard is listed."""
        return capacity_partition_of(self.entitlement_id, self.number, self.shard_count or 1)

    def condition(self) -> tuple[str, dict[str, int]]:
        """The condition that the shard is where it was expected, with its values."""
        if self.shard_count is None:
            return IS_ONLY_UNLOCKED_SHARD, {}
        return "pages = :pages AND attribute_not_exists(movingAt)", {":pages": self.shard_count}


def position_of(key: str) -> int:
    """The first 48 bits of a seat key."""
    return int.from_bytes(base64.urlsafe_b64decode(key[:8]))


def key_at(number: int) -> str:
    """The first seat key of the shard with this number."""
    position = -(-number * _POSITIONS // SLOTS)
    return base64.urlsafe_b64encode(position.to_bytes(6)).decode() + "AAAA"


def capacity_partition_of(entitlement_id: str, number: int, shard_count: int) -> str:
    """The partition of the capacity index in which a shard is listed."""
    partition = (
        number * shard_count // SLOTS % CAPACITY_PARTITIONS if shard_count > _UNSPREAD_SHARDS else 0
    )
    return capacity_partition(entitlement_id, partition)


def capacity_partitions(entitlement_id: str, shard_count: int) -> list[str]:
    """The partitions of a pool's capacity index."""
    count = CAPACITY_PARTITIONS if shard_count > _UNSPREAD_SHARDS else 1
    return [capacity_partition(entitlement_id, partition) for partition in range(count)]


# --- Number of shards -----------------------------------------------------------------------------

# The most seats on a shard, on average, when all seats under the hard cap are held.
SHARD_MEAN_SEATS = 96


def shard_count_for(cap: int) -> int:
    """The number of shards for a hard cap: 2, 3, 4, 6, 8, 12, ... with 64 to 96 seats each."""
    shard_count = 1
    while cap > shard_count * SHARD_MEAN_SEATS:
        shard_count = shard_count * 4 // 3 if shard_count % 3 == 0 else max(2, shard_count * 3 // 2)
    return shard_count


def wanted_shard_count(hard_cap: int | None, purchased: int, used: int) -> int:
    """The number of shards that a pool should have. Without a cap: a quarter more than it needs."""
    seats = max(purchased, used) * 5 // 4 if hard_cap is None else max(hard_cap, used)
    return 1 if seats <= SHARD_SEATS else min(SLOTS, shard_count_for(seats))
