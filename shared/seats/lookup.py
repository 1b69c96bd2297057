"""Finding the shard of a seat key, also while seats are moved between shards."""

from shared import problems
from shared.dynamodb.keys import Key
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    NO_NAMES,
    Get,
    Item,
    Operation,
    Pause,
    Update,
    send,
)
from shared.seats.placement import Place
from shared.seats.shard import SeatShard

# Moving seats takes less than a second. A lock that is older belongs to a process that has ended.
SHARD_LOCK_MS = 3_000


def find_shard(
    place: Place, key: str, item: Item | None, attempt: int
) -> Operation[tuple[SeatShard | None, Place]]:
    """The shard of a seat key, if `item` is it; otherwise the place to look. Waits if it is locked.

    Raises:
        NotFound: the entitlement does not exist.
    """
    if item is None:
        if place.shard_count is None:
            raise problems.NotFound("No entitlement has this id.")
        # The first shard always exists, and it is the last one to learn of a new number of shards.
        return None, Place.of(place.entitlement_id, key, None)
    shard = SeatShard.of(item)
    right = Place.of(place.entitlement_id, key, shard.shard_count)
    if right.number != place.number:
        return None, right
    if shard.locked_at_ms is not None:
        now_ms = yield from send(Pause(attempt))
        if now_ms - shard.locked_at_ms > SHARD_LOCK_MS:
            yield from send(unlock_shard_update(right.key, shard.locked_at_ms))
        return None, right
    return (shard if right == place else None), right


def unlock_shard_update(key: Key, locked_at_ms: int) -> Update:
    """Remove the lock of a process that has ended from a shard."""
    return Update(key, "REMOVE movingAt", "movingAt = :seen", NO_NAMES, {":seen": locked_at_ms})


def read_shard_of(entitlement_id: str, key: str) -> Operation[SeatShard]:
    """Read the shard of a seat key.

    Raises:
        NotFound, Contention.
    """
    place = Place.of(entitlement_id, key, None)
    for attempt in range(1, ROUNDS + 1):
        item = yield from send(Get(place.key))
        shard, place = yield from find_shard(place, key, item, attempt)
        if shard is not None:
            return shard
    raise problems.Contention
