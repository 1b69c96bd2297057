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
from shared.seats.shard import Page

# Who moves seats between pages takes less than a second; after so long, nobody does.
MOVE_MS = 3_000


def find_shard(
    place: Place, key: str, item: Item | None, attempt: int
) -> Operation[tuple[Page | None, Place]]:
    """The page of a seat key, if this is it; else where to look, after a while if it is moved.

    Raises:
        NotFound: there is no entitlement.
    """
    if item is None:
        if place.pages is None:
            raise problems.NotFound("No entitlement has this id.")
        # The first page is always there, and it is the last one to learn of another number.
        return None, Place.of(place.owner, key, None)
    page = Page.of(item)
    right = Place.of(place.owner, key, page.pages)
    if right.number != place.number:
        return None, right
    if page.moving_at_ms is not None:
        now_ms: int = yield Pause(attempt)
        if now_ms - page.moving_at_ms > MOVE_MS:
            yield let_go(right.key, page.moving_at_ms)
        return None, right
    return (page if right == place else None), right


def let_go(key: Key, moving_at_ms: int) -> Update:
    """Take back that the seats of a page are being moved: whoever did has gone."""
    return Update(key, "REMOVE movingAt", "movingAt = :seen", NO_NAMES, {":seen": moving_at_ms})


def page_of(owner: str, key: str) -> Operation[Page]:
    """The page on which a seat key belongs.

    Raises:
        NotFound, Contention.
    """
    place = Place.of(owner, key, None)
    for attempt in range(1, ROUNDS + 1):
        item: Item | None = yield Get(place.key)
        page, place = yield from find_shard(place, key, item, attempt)
        if page is not None:
            return page
    raise problems.Contention
