"""On which shard a seat is, and how many shards a pool has."""

import base64
from typing import NamedTuple

from shared.dynamodb.keys import (
    Key,
    capacity_partition,
    seat_shard_key,
)

# --- Where a seat is -----------------------------------------------------------------------------

# Pages are named by where they begin, in this many parts of all seat keys: every number of pages
# divides it.
PARTS = 6144
# Above so many pages, the index of those that may have room is spread.
_UNSPREAD_SHARDS = 256
CAPACITY_PARTITIONS = 4


# The condition that a page has all the seats, and is not about to be split.
IS_ONLY_SHARD = "attribute_not_exists(pages) AND attribute_not_exists(movingAt)"


class Place(NamedTuple):
    """Where in a pool a seat is: on the page `number` of `pages`.

    `pages` None: on the only page of an entitlement that never had more.
    """

    owner: str
    number: int
    shard_count: int | None

    @classmethod
    def of(cls, owner: str, key: str, shard_count: int | None) -> "Place":
        """The place of a seat key. Page i of n has the i-th n-th of all keys."""
        if shard_count is None:
            return cls(owner, 0, None)
        return cls(
            owner,
            position_of(key) * shard_count // _POSITIONS * (PARTS // shard_count),
            shard_count,
        )

    @property
    def key(self) -> Key:
        """The page's key."""
        return seat_shard_key(self.owner, self.number)

    @property
    def capacity_partition(self) -> str:
        """Its partition of the index of pages that may have room."""
        return capacity_partition_of(self.owner, self.number, self.shard_count or 1)

    def clause(self) -> tuple[str, dict[str, int]]:
        """The condition that the page is where it was thought to be, and its value."""
        if self.shard_count is None:
            return IS_ONLY_SHARD, {}
        return "pages = :pages AND attribute_not_exists(movingAt)", {":pages": self.shard_count}


_POSITIONS = 1 << 48


def position_of(key: str) -> int:
    """The first 48 bits of a seat key."""
    return int.from_bytes(base64.urlsafe_b64decode(key[:8]))


def key_at(number: int) -> str:
    """The first of the seat keys on the page that is named so."""
    position = -(-number * _POSITIONS // PARTS)
    return base64.urlsafe_b64encode(position.to_bytes(6)).decode() + "AAAA"


def capacity_partition_of(owner: str, number: int, shard_count: int) -> str:
    """The partition of the index of pages with room in which a page stands."""
    partition = (
        number * shard_count // PARTS % CAPACITY_PARTITIONS if shard_count > _UNSPREAD_SHARDS else 0
    )
    return capacity_partition(owner, partition)


def capacity_partitions(owner: str, shard_count: int) -> list[str]:
    """The partitions of the index of a pool's pages that may have room."""
    count = CAPACITY_PARTITIONS if shard_count > _UNSPREAD_SHARDS else 1
    return [capacity_partition(owner, partition) for partition in range(count)]


# Seats of a page at most, on the average, when all of the hard cap is held.
SHARD_MEAN_SEATS = 96


# --- A new pool -----------------------------------------------------------------------------------


def shard_count_for(cap: int) -> int:
    """How many pages a pool of this hard cap has: 2, 3, 4, 6, 8, 12, ... of 64 to 96 seats each."""
    shard_count = 1
    while cap > shard_count * SHARD_MEAN_SEATS:
        shard_count = shard_count * 4 // 3 if shard_count % 3 == 0 else max(2, shard_count * 3 // 2)
    return shard_count
