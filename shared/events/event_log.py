"""The events of an entitlement on record, so that people can see what happened to it.

What single people do at their seats, and each denial, have lists of their own: they are not here.
"""

import json

from shared.clock import from_rfc3339_ms
from shared.dynamodb.keys import Key, event_key
from shared.dynamodb.requests import Item
from shared.events import types
from shared.events.builders import Event

# As long as the deliveries of an event.
KEPT_SECONDS = 30 * 86_400
NOT_LISTED = frozenset(
    (
        types.SEAT_ACTIVATED,
        types.SEAT_BORROWED,
        types.SEAT_DEACTIVATED,
        types.SEAT_DENIED,
        types.USAGE_DENIED,
    )
)


def writes(event: Event) -> list[tuple[Key, Item]]:
    """What keeps an anonymous event; nothing for one that is not listed. To repeat it is harmless.

    The id of an event is made of what happened. So an event that comes twice has one item.
    """
    entitlement_id = event["data"].get("entitlementId")
    if not entitlement_id or event["type"] in NOT_LISTED or "test" in event["data"]:
        return []
    at = from_rfc3339_ms(event["timestamp"])
    item: Item = {
        "event": json.dumps(event, ensure_ascii=False, separators=(",", ":")),
        "ttl": at // 1000 + KEPT_SECONDS,
    }
    return [(event_key(entitlement_id, at, event["id"]), item)]


def event_of(item: Item) -> Event:
    """The event in an item."""
    event: Event = json.loads(item["event"])
    return event
