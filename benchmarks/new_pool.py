"""A pool of several shards, made at once: for benchmarks and tests."""

from shared.audit import Change
from shared.dynamodb.keys import Key, pool_sweep_partition, seat_usage_key
from shared.dynamodb.requests import (
    Item,
)
from shared.seats.placement import SLOTS, Place
from shared.seats.shard import HAS_TOTALS
from shared.seats.terms import SeatTerms, new_shard_put


def new_shards(
    entitlement_id: str, terms: SeatTerms, shard_count: int, change: Change
) -> list[tuple[Key, Item]]:
    """The empty shards of a pool, to which all of its hard cap is allocated, and its seat usage."""
    assert terms.hard_cap is not None
    each, more = divmod(terms.hard_cap, shard_count)
    first = dict(new_shard_put(entitlement_id, terms, change).item)
    items: list[tuple[Key, Item]] = []
    for index in range(shard_count):
        place = Place(entitlement_id, index * (SLOTS // shard_count), shard_count)
        allocation = each + int(index < more)
        shard = {
            **first,
            HAS_TOTALS: True,
            "pages": shard_count,
            "page": place.number,
            "allowance": allocation,
            "roomKey": place.capacity_partition if allocation else None,
            "sweepKey": pool_sweep_partition(entitlement_id),
        }
        items.append((place.key, shard))
    seat_usage: Item = {
        "used": 0,
        "seatCount": terms.purchased,
        "hardCap": terms.hard_cap,
        "at": change.now_ms,
    }
    items.append((seat_usage_key(entitlement_id), seat_usage))
    return items
