"""Reads of entitlements together with how their seats stand."""

from collections.abc import Iterable

from shared.dynamodb.keys import Key, entitlement_key, ledger_key, standing_key
from shared.dynamodb.requests import (
    BatchGet,
    Item,
    Operation,
)
from shared.problems import NotFound
from shared.seats.seat_usage import Standing, read_standing, standing_of
from shared.seats.shard import Page


def fetch_entitlement(entitlement_id: str) -> Operation[tuple[Item, Page]]:
    """Entitlement and first page, in one round trip.

    Raises:
        NotFound.
    """
    keys = (entitlement_key(entitlement_id), ledger_key(entitlement_id))
    found = yield BatchGet(keys)
    if keys[0] not in found:
        raise NotFound("No entitlement has this id.")
    return found[keys[0]], Page.of(found[keys[1]])


def fetch_standing(entitlement_id: str) -> Operation[tuple[Item, Standing]]:
    """Entitlement, and how it stands: one round trip more for a pool of several pages.

    Raises:
        NotFound.
    """
    item, page = yield from fetch_entitlement(entitlement_id)
    if page.is_alone:
        return item, Standing.of(page)
    return item, (yield from read_standing(entitlement_id))


def fetch_standings(owners: Iterable[str]) -> Operation[dict[str, Standing]]:
    """How entitlements stand."""
    keys = {owner: ledger_key(owner) for owner in owners}
    found: dict[Key, Item] = (yield BatchGet(tuple(keys.values()))) if keys else {}
    pages = {owner: Page.of(found[key]) for owner, key in keys.items()}
    pools = {owner: standing_key(owner) for owner, page in pages.items() if not page.is_alone}
    sums: dict[Key, Item] = (yield BatchGet(tuple(pools.values()))) if pools else {}
    return {
        owner: standing_of(sums[pools[owner]]) if owner in pools else Standing.of(page)
        for owner, page in pages.items()
    }
