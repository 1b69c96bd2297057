"""The shard of a seat key, also while seats are moved."""

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
)
from shared.seats.placement import Place
from shared.seats.shard import SeatShard

# Who moves seats between pages takes less than a second; after so long, nobody does.
LOCK_TIMEOUT_MS = 3_000


def find_shard(
    place: Place, key: str, item: Item | None, attempt: int
) -> Operation[tuple[SeatShard | None, Place]]:
    """The page of a seat key, if this is it; else where to look, after a while if it is moved.

    Raises:
        NotFound: there is no entitlement.
    """
    if item is None:
        if place.shard_count is None:
            raise problems.NotFound("No entitlement has this id.")
        # The first page is always there, and it is the last one to learn of another number.
        return None, Place.of(place.owner, key, None)
    shard = SeatShard.of(item)
    right = Place.of(place.owner, key, shard.shard_count)
    if right.number != place.number:
        return None, right
    if shard.locked_at_ms is not None:
        now_ms: int = yield Pause(attempt)
        if now_ms - shard.locked_at_ms > LOCK_TIMEOUT_MS:
            yield unlock_shard(right.key, shard.locked_at_ms)
        return None, right
    return (shard if right == place else None), right


def unlock_shard(key: Key, locked_at_ms: int) -> Update:
    """Take back that the seats of a page are being moved: whoever did has gone."""
    return Update(key, "REMOVE movingAt", "movingAt = :seen", NO_NAMES, {":seen": locked_at_ms})


def find_shard_of(owner: str, key: str) -> Operation[SeatShard]:
    """The page on which a seat key belongs.

    Raises:
        NotFound, Contention.
    """
    place = Place.of(owner, key, None)
    for attempt in range(1, ROUNDS + 1):
        item: Item | None = yield Get(place.key)
        shard, place = yield from find_shard(place, key, item, attempt)
        if shard is not None:
            return shard
    raise problems.Contention
