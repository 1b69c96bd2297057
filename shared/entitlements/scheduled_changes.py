"""Changes of an entitlement that are to take effect at a later time."""

from typing import Any, TypedDict

from shared.clock import to_rfc3339
from shared.dynamodb.requests import Item

PENDING, APPLIED, CANCELLED, FAILED = STATUSES = ("pending", "applied", "cancelled", "failed")


class ScheduledChangeView(TypedDict):
    """A scheduled change as the API and events show it."""

    scheduledChangeId: str
    entitlementId: str
    effectiveAt: str
    changes: dict[str, Any]
    note: str | None
    status: str
    createdAt: str
    createdBy: str
    endedAt: str | None
    endedBy: str | None
    failure: str | None


def view(item: Item) -> ScheduledChangeView:
    """A scheduled change as the API and events show it."""
    ended_at = item.get("endedAt")
    return {
        "scheduledChangeId": item["scheduledChangeId"],
        "entitlementId": item["entitlementId"],
        "effectiveAt": to_rfc3339(item["effectiveAt"]),
        "changes": item["changes"],
        "note": item.get("note"),
        "status": item["status"],
        "createdAt": to_rfc3339(item["createdAt"]),
        "createdBy": item["createdBy"],
        "endedAt": None if ended_at is None else to_rfc3339(ended_at),
        "endedBy": item.get("endedBy"),
        "failure": item.get("failure"),
    }
