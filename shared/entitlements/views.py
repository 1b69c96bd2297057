"""The entitlement as the API answers it."""

from typing import Any

from shared.clock import to_rfc3339
from shared.dynamodb.requests import (
    Item,
)
from shared.entitlements.model import DEFAULTS, DOCUMENT_MEMBERS, hard_cap, has_seats
from shared.seats.seat_usage import SeatUsage
from shared.validity import status_at


def entitlement_view(item: Item, seat_usage: SeatUsage, now: int) -> dict[str, Any]:
    """An entitlement as the API answers it at `now`, Unix seconds."""
    document = item["document"]
    status = status_at(item["status"], item["validFrom"], item.get("validUntil"), now)
    return {
        "entitlementId": item["entitlementId"],
        "status": status,
        **{name: document.get(name, DEFAULTS.get(name)) for name in DOCUMENT_MEMBERS},
        "usageLimits": [
            {**limit, "hardCap": hard_cap(limit["limit"], limit["overdraftLimit"])}
            for limit in document["usageLimits"]
        ],
        "hardCap": item.get("hardCap") if has_seats(item) else None,
        "seats": seat_usage.view() if has_seats(item) else None,
        "createdAt": to_rfc3339(item["createdAt"]),
        "updatedAt": to_rfc3339(item["updatedAt"]),
    }
