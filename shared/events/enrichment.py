"""Enrichment: the persons and the customer of an event, read when the event is sent."""

from collections.abc import Mapping

from shared.dynamodb.keys import Key, denial_keys, entitlement_key, seat_record_key
from shared.dynamodb.requests import Item
from shared.events.builders import Event
from shared.events.types import ENDPOINT_DISABLED


def keys_of(event: Event) -> list[Key]:
    """The items that name the customer and the person: entitlement, seat record, denial."""
    data = event["data"]
    entitlement_id = data.get("entitlementId")
    if not entitlement_id or "test" in data or event["type"] == ENDPOINT_DISABLED:
        return []
    keys = [entitlement_key(entitlement_id)]
    if key := data.get("seat", {}).get("seatKey"):
        keys.append(seat_record_key(entitlement_id, key))
        if "denial" in data:
            keys += denial_keys(entitlement_id, key, data["denial"]["hour"][:13])
    return keys


def enrich(event: Event, items: Mapping[Key, Item]) -> Event:
    """The event as it is sent, from the anonymous event and the items of `keys_of`."""
    if not keys_of(event):
        return event
    data = dict(event["data"])
    entitlement_id: str = data["entitlementId"]
    document = items.get(entitlement_key(entitlement_id), {}).get("document", {})
    for name in ("externalId", "product", "sku", "customer", "contacts"):
        data[name] = document.get(name)
    data["metadata"] = document.get("metadata", {})
    if seat := data.get("seat"):
        key = seat["seatKey"]
        record = items.get(seat_record_key(entitlement_id, key), {})
        if "denial" in data:
            hours = denial_keys(entitlement_id, key, data["denial"]["hour"][:13])
            record = next((items[hour] for hour in hours if hour in items), record)
        data["seat"] = {
            **seat,
            "seatId": record.get("seatId"),
            "seatName": record.get("seatName") or None,
            "attributes": record.get("attributes", {}),
        }
    return {**event, "data": data}
