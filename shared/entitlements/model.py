"""The entitlement's item: its document, its terms for seats and usage limits, its attributes.

`document` is what the vendor wrote (camelCase, with defaults). Everything else in the item is
derived from it when it is written. Every function uses this module, so it does not import pydantic.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from shared.clock import from_duration, from_rfc3339
from shared.dynamodb.keys import sweep_partition
from shared.dynamodb.requests import (
    Item,
)
from shared.entitlements.search import SEARCH_FORM
from shared.overdraft_clock import OverdraftPeriod
from shared.seats.terms import SeatTerms
from shared.usage.counter import UsageTerms

LIST_KEY = "ENTITLEMENT"
# What a vendor writes, in the order in which the API answers it.
AUDIENCES = ("accountOwner", "customerAdmin")
# The events about which an audience gets e-mail, unless the entitlement says otherwise.
NOTIFICATIONS: dict[str, tuple[str, ...]] = {
    "accountOwner": (
        "entitlement.expiring",
        "entitlement.followup.due",
        "entitlement.overdraft.ended",
        "entitlement.overdraft.ending",
        "entitlement.overdraft.entered",
        "entitlement.overdraft.exhausted",
        "entitlement.overdraft.recovered",
        "entitlement.seat.denied",
        "entitlement.seats.requested",
        "entitlement.usage.denied",
        "entitlement.usage.overdraft.ended",
        "entitlement.usage.overdraft.ending",
        "entitlement.usage.overdraft.entered",
        "entitlement.usage.overdraft.exhausted",
        "entitlement.usage.overdraft.recovered",
    ),
    "customerAdmin": (
        "entitlement.expiring",
        "entitlement.overdraft.ended",
        "entitlement.overdraft.ending",
        "entitlement.overdraft.entered",
        "entitlement.seat.denied",
        "entitlement.threshold.reached",
        "entitlement.usage.denied",
        "entitlement.usage.overdraft.ended",
        "entitlement.usage.overdraft.ending",
        "entitlement.usage.overdraft.entered",
        "entitlement.usage.threshold.reached",
    ),
}


# Members that older documents lack.
DEFAULTS: dict[str, Any] = {
    "notifications": {k: [*v] for k, v in NOTIFICATIONS.items()},
    "expiryNoticeDays": [30, 7, 1],
}


def audience_of(document: Mapping[str, Any], audience: str) -> tuple[str, frozenset[str]]:
    """The address of an audience (empty: none is known), and the event types that it gets."""
    contact = document.get("contacts", {}).get(audience) or {}
    wanted = (document.get("notifications") or {}).get(audience, NOTIFICATIONS[audience])
    return contact.get("email", ""), frozenset(wanted)


def owner_for_requests(document: Mapping[str, Any]) -> str:
    """The account owner's address, if requests for more seats are mailed to it; empty: not."""
    address, wanted = audience_of(document, "accountOwner")
    return address if "entitlement.seats.requested" in wanted else ""


def reached_by_requests(
    document: Mapping[str, Any], *, is_unsubscribed: bool, sends_mail: bool, has_recipients: bool
) -> str:
    """Who is mailed when the customer asks for more: account_owner, vendor or nobody.

    `is_unsubscribed`: the account owner wants no e-mail about this entitlement. `has_recipients`:
    the stack has recipients of reports.
    """
    if sends_mail and owner_for_requests(document) and not is_unsubscribed:
        return "account_owner"
    return "vendor" if sends_mail and has_recipients else "nobody"


def unsubscribed_hash(address: str) -> str:
    """The hash of an address, by which the table remembers that it wants no more e-mail."""
    return hashlib.sha256(address.lower().encode()).hexdigest()[:32]


def hard_cap(purchased: int, overdraft: Mapping[str, Any]) -> int | None:
    """Purchased plus overdraft; None if the overdraft is unlimited."""
    if overdraft["type"] == "unlimited":
        return None
    if overdraft["type"] == "absolute":
        return int(purchased + overdraft["value"])
    if overdraft["type"] == "percentage":
        return int(purchased + purchased * overdraft["value"] // 100)
    return purchased


def overdraft_period(overdraft: Mapping[str, Any]) -> OverdraftPeriod | None:
    """How long an overdraft may last; None: for ever."""
    if overdraft.get("period") is None:
        return None
    return OverdraftPeriod(from_duration(overdraft["period"]), from_duration(overdraft["recovery"]))


def _customer_cap(cap: int | None, hard: int | None) -> int | None:
    """The cap that a customer has set, where it is below the hard cap."""
    return None if cap is None or (hard is not None and cap >= hard) else cap


def seat_terms(document: Mapping[str, Any]) -> SeatTerms:
    """What the seat shards must know of an entitlement."""
    until, lease = document["validUntil"], document["leasePeriod"]
    overdraft_lease = document.get("overdraftLeasePeriod")
    longest, offline = document.get("maxLeasePeriod"), document.get("offlinePeriod")
    has_seats = document["seatCount"] is not None
    purchased = document["seatCount"] if has_seats else 0
    cap = hard_cap(purchased, document["overdraftSeatLimit"]) if has_seats else 0
    return SeatTerms(
        purchased,
        cap,
        document["status"],
        from_rfc3339(document["validFrom"]),
        None if until is None else from_rfc3339(until),
        None if lease is None else from_duration(lease),
        has_seats,
        overdraft_period(document["overdraftSeatLimit"]) if has_seats else None,
        None if overdraft_lease is None else from_duration(overdraft_lease),
        _customer_cap(document.get("customerCap"), cap),
        None if longest is None else from_duration(longest),
        document.get("maxBorrowedSeats", 0),
        None if offline is None else from_duration(offline),
    )


def usage_terms(document: Mapping[str, Any]) -> dict[str, UsageTerms]:
    """What the counters must know of an entitlement, by the keys of its usage limits."""
    until = document["validUntil"]
    return {
        limit["key"]: UsageTerms(
            limit["limit"],
            hard_cap(limit["limit"], limit["overdraftLimit"]),
            limit["resetSchedule"],
            document["timeZone"],
            document["status"],
            from_rfc3339(document["validFrom"]),
            None if until is None else from_rfc3339(until),
            overdraft_period(limit["overdraftLimit"]),
            _customer_cap(
                limit.get("customerCap"), hard_cap(limit["limit"], limit["overdraftLimit"])
            ),
        )
        for limit in document["usageLimits"]
    }


def entitlement_item(
    entitlement_id: str,
    document: Mapping[str, Any],
    *,
    version: int,
    created_at: int,
    now_ms: int,
    is_closed: bool = False,
) -> Item:
    """The whole item; times in Unix milliseconds, `validFrom` and `validUntil` in seconds.

    `sweepKey` and `earliest` let the sweep find it when its validity ends, unless the sweep has
    closed it already.
    """
    valid = seat_terms(document)
    sweep = {
        "sweepKey": sweep_partition(entitlement_id),
        "earliest": valid.valid_until,
    }
    return {
        "entitlementId": entitlement_id,
        "document": dict(document),
        "status": valid.status,
        "hardCap": valid.hard_cap,
        "validFrom": valid.valid_from,
        "validUntil": valid.valid_until,
        "customerName": document["customer"]["name"],
        "customerExternalId": document["customer"]["externalId"],
        "version": version,
        "createdAt": created_at,
        "updatedAt": now_ms,
        "searchForm": SEARCH_FORM,
        "listKey": LIST_KEY,
        "listSort": f"{created_at:013d}#{entitlement_id}",
        **(sweep if valid.valid_until is not None and not is_closed else {}),
    }


def has_seats(item: Item) -> bool:
    """Whether it has seats, and not only usage limits."""
    return item["document"]["seatCount"] is not None
