"""A pool of several shards, made at once: for benchmarks and tests."""

from shared.audit import Change
from shared.dynamodb.keys import Key, pool_sweep, standing_key
from shared.dynamodb.requests import (
    Item,
)
from shared.seats.placement import PARTS, Place
from shared.seats.shard import SUMMED
from shared.seats.terms import SeatTerms, new_page


def new_pages(
    entitlement_id: str, terms: SeatTerms, pages: int, change: Change
) -> list[tuple[Key, Item]]:
    """The empty pages of a pool, to which all of its hard cap is dealt, and its standing."""
    assert terms.hard_cap is not None
    each, more = divmod(terms.hard_cap, pages)
    first = dict(new_page(entitlement_id, terms, change).item)
    items: list[tuple[Key, Item]] = []
    for index in range(pages):
        place = Place(entitlement_id, index * (PARTS // pages), pages)
        allowance = each + int(index < more)
        page = {
            **first,
            SUMMED: True,
            "pages": pages,
            "page": place.number,
            "allowance": allowance,
            "roomKey": place.capacity_partition if allowance else None,
            "sweepKey": pool_sweep(entitlement_id),
        }
        items.append((place.key, page))
    standing: Item = {
        "used": 0,
        "seatCount": terms.seat_count,
        "hardCap": terms.hard_cap,
        "at": change.now_ms,
    }
    items.append((standing_key(entitlement_id), standing))
    return items
