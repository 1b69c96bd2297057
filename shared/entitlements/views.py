"""The entitlement as the API answers it."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from shared.clock import to_rfc3339
from shared.dynamodb.requests import (
    Item,
)
from shared.entitlements.expiry import notice_days
from shared.entitlements.model import DEFAULTS, hard_cap, has_seats
from shared.limits import UsedView
from shared.overdraft_clock import OverdraftView
from shared.seats.seat_usage import PoolSeatsView, SeatUsage
from shared.validity import status_at


class RankingView(TypedDict):
    """The value by which an entitlement has its place in a sorted list."""

    overdraftPercent: int | None
    deniedAttempts: int | None
    deniedToday: int | None


class EntitlementView(TypedDict):
    """What was written, and what follows from it."""

    entitlementId: str
    externalId: str | None
    status: str
    product: str
    sku: str | None
    customer: Mapping[str, object]
    contacts: Mapping[str, object]
    seatCount: int | None
    overdraftSeatLimit: Mapping[str, object]
    usageLimits: list[Mapping[str, object]]
    customerCap: int | None
    leasePeriod: str | None
    overdraftLeasePeriod: str | None
    maxLeasePeriod: str | None
    maxBorrowedSeats: int
    offlinePeriod: str | None
    thresholds: list[int]
    seatsLeftThresholds: list[int]
    expiryNoticeDays: list[int]
    notifications: Mapping[str, object]
    unitPrice: Mapping[str, object] | None
    overdraftPrice: Mapping[str, object] | None
    showCharges: bool
    denialHelp: Mapping[str, object] | None
    metadata: dict[str, str]
    timeZone: str
    validFrom: str | None
    validUntil: str | None
    hardCap: int | None
    seats: UsedView | PoolSeatsView | None
    overdraft: OverdraftView | None
    createdAt: str
    updatedAt: str
    ranking: NotRequired[RankingView | None]  # only in a sorted list


def entitlement_view(item: Item, seat_usage: SeatUsage, now: int) -> EntitlementView:
    """An entitlement as the API answers it at `now`, Unix seconds."""
    # Documents of older releases lack members that came later.
    document = item["document"]
    status = status_at(item["status"], item["validFrom"], item.get("validUntil"), now)
    return {
        "entitlementId": item["entitlementId"],
        "externalId": document.get("externalId"),
        "status": status,
        "product": document["product"],
        "sku": document.get("sku"),
        "customer": document["customer"],
        "contacts": document.get("contacts"),
        "seatCount": document.get("seatCount"),
        "overdraftSeatLimit": document.get("overdraftSeatLimit"),
        "usageLimits": [
            {
                **limit,
                "customerCap": limit.get("customerCap"),
                "overdraftPrice": limit.get("overdraftPrice"),
                "hardCap": hard_cap(limit["limit"], limit["overdraftLimit"]),
            }
            for limit in document["usageLimits"]
        ],
        "customerCap": document.get("customerCap"),
        "leasePeriod": document.get("leasePeriod"),
        "overdraftLeasePeriod": document.get("overdraftLeasePeriod"),
        "maxLeasePeriod": document.get("maxLeasePeriod"),
        "maxBorrowedSeats": document.get("maxBorrowedSeats", 0),
        "offlinePeriod": document.get("offlinePeriod"),
        "thresholds": document.get("thresholds"),
        "seatsLeftThresholds": document.get("seatsLeftThresholds", []),
        "expiryNoticeDays": notice_days(document),
        "notifications": document.get("notifications", DEFAULTS["notifications"]),
        "unitPrice": document.get("unitPrice"),
        "overdraftPrice": document.get("overdraftPrice"),
        "showCharges": document.get("showCharges", False),
        "denialHelp": document.get("denialHelp"),
        "metadata": document.get("metadata", {}),
        "timeZone": document.get("timeZone"),
        "validFrom": document.get("validFrom"),
        "validUntil": document.get("validUntil"),
        "hardCap": item.get("hardCap") if has_seats(item) else None,
        "seats": seat_usage.view() if has_seats(item) else None,
        "overdraft": seat_usage.overdraft_view() if has_seats(item) else None,
        "createdAt": to_rfc3339(item["createdAt"]),
        "updatedAt": to_rfc3339(item["updatedAt"]),
    }


def for_license(view: EntitlementView) -> EntitlementView:
    """An entitlement as the customer's software sees it."""
    shown = view if view["showCharges"] else without_charges(view)
    return {**shown, "metadata": {}}


def without_charges(view: EntitlementView) -> EntitlementView:
    """An entitlement as the customer's software sees it where charges are not shown."""
    limits: list[Mapping[str, object]] = [
        {**limit, "overdraftPrice": None} for limit in view["usageLimits"]
    ]
    return {**view, "overdraftPrice": None, "usageLimits": limits}
