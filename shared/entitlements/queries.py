"""Reading entitlements together with the usage of their seats."""

from collections.abc import Iterable

from shared.dynamodb.keys import entitlement_key, seat_shard_key, seat_usage_key
from shared.dynamodb.requests import (
    BatchGet,
    Item,
    Operation,
    send,
)
from shared.problems import NotFound
from shared.seats.seat_usage import SeatUsage, read_seat_usage, seat_usage_of
from shared.seats.shard import SeatShard


def fetch_entitlement(entitlement_id: str) -> Operation[tuple[Item, SeatShard]]:
    """The entitlement and its first shard, in one round trip.

    Raises:
        NotFound.
    """
    keys = (entitlement_key(entitlement_id), seat_shard_key(entitlement_id))
    found = yield from send(BatchGet(keys))
    if keys[0] not in found:
        raise NotFound("No entitlement has this id.")
    return found[keys[0]], SeatShard.of(found[keys[1]])


def fetch_seat_usage(entitlement_id: str, now: int) -> Operation[tuple[Item, SeatUsage]]:
    """The entitlement and its seat usage. A pool of several shards takes one more round trip.

    Raises:
        NotFound.
    """
    item, shard = yield from fetch_entitlement(entitlement_id)
    if shard.is_only_shard:
        return item, SeatUsage.of(shard, now)
    return item, (yield from read_seat_usage(entitlement_id, now))


def fetch_seat_usages(entitlement_ids: Iterable[str], now: int) -> Operation[dict[str, SeatUsage]]:
    """The seat usage of several entitlements at `now`, Unix seconds."""
    keys = {entitlement_id: seat_shard_key(entitlement_id) for entitlement_id in entitlement_ids}
    found = (yield from send(BatchGet(tuple(keys.values())))) if keys else {}
    shard_count = {entitlement_id: SeatShard.of(found[key]) for entitlement_id, key in keys.items()}
    pools = {
        entitlement_id: seat_usage_key(entitlement_id)
        for entitlement_id, shard in shard_count.items()
        if not shard.is_only_shard
    }
    sums = (yield from send(BatchGet(tuple(pools.values())))) if pools else {}
    return {
        entitlement_id: seat_usage_of(sums[pools[entitlement_id]], now)
        if entitlement_id in pools
        else SeatUsage.of(shard, now)
        for entitlement_id, shard in shard_count.items()
    }
