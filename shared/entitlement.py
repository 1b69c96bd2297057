"""The entitlement's item: its form in the table, its terms on the ledger page, its view.

`document` is what the vendor wrote (camelCase, defaults filled in); everything else in the item
is derived from it when it is written. Used by every room, so it is free of pydantic.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from shared import ledger, pool, pool_changes, table, usage
from shared.ledger import Change, Page, Standing, Terms
from shared.problems import NotFound
from shared.table import Accepted, Cancelled, Item, Pause, Steps, Transact, Update
from shared.times import from_duration, from_rfc3339, to_rfc3339

LIST_KEY = "ENTITLEMENT"
# What a vendor writes, in the order in which it is answered.
DOCUMENT = (
    "product", "sku", "customer", "contacts", "seatCount", "overdraftSeatLimit", "usageLimits",
    "leasePeriod", "thresholds", "notifications", "unitPrice", "timeZone", "validFrom",
    "validUntil",
)  # fmt: skip
AUDIENCES = ("accountOwner", "customerAdmin")
# Which events an audience gets e-mail about, unless the entitlement says otherwise.
NOTIFICATIONS: dict[str, tuple[str, ...]] = {
    "accountOwner": (
        "entitlement.overdraft.entered",
        "entitlement.overdraft.exhausted",
        "entitlement.seat.denied",
        "entitlement.seats.requested",
        "entitlement.usage.denied",
        "entitlement.usage.overdraft.entered",
        "entitlement.usage.overdraft.exhausted",
    ),
    "customerAdmin": (
        "entitlement.overdraft.entered",
        "entitlement.threshold.reached",
        "entitlement.usage.overdraft.entered",
        "entitlement.usage.threshold.reached",
    ),
}


# Members that documents written before they existed lack.
DEFAULTS: dict[str, Any] = {"notifications": {k: [*v] for k, v in NOTIFICATIONS.items()}}


def audience_of(document: Mapping[str, Any], audience: str) -> tuple[str, frozenset[str]]:
    """The address of an audience (empty: none is known), and which event types it is told of."""
    contact = document.get("contacts", {}).get(audience) or {}
    wanted = (document.get("notifications") or {}).get(audience, NOTIFICATIONS[audience])
    return contact.get("email", ""), frozenset(wanted)


def unsubscribed_hash(address: str) -> str:
    """What stands for an address in the mark that it wants no more mail."""
    return hashlib.sha256(address.lower().encode()).hexdigest()[:32]


def hard_cap(purchased: int, overdraft: Mapping[str, Any]) -> int | None:
    """Purchased plus overdraft; None when the overdraft is unlimited."""
    if overdraft["type"] == "unlimited":
        return None
    if overdraft["type"] == "absolute":
        return int(purchased + overdraft["value"])
    if overdraft["type"] == "percentage":
        return int(purchased + purchased * overdraft["value"] // 100)
    return purchased


def terms(document: Mapping[str, Any]) -> Terms:
    """What the ledger page must know of an entitlement."""
    until, lease = document["validUntil"], document["leasePeriod"]
    has_seats = document["seatCount"] is not None
    purchased = document["seatCount"] if has_seats else 0
    return Terms(
        purchased,
        hard_cap(purchased, document["overdraftSeatLimit"]) if has_seats else 0,
        document["status"],
        from_rfc3339(document["validFrom"]),
        None if until is None else from_rfc3339(until),
        None if lease is None else from_duration(lease),
        has_seats,
    )


def usage_terms(document: Mapping[str, Any]) -> dict[str, usage.Terms]:
    """What the counters must know of an entitlement, by the keys of its usage limits."""
    until = document["validUntil"]
    return {
        limit["key"]: usage.Terms(
            limit["limit"],
            hard_cap(limit["limit"], limit["overdraftLimit"]),
            limit["resetSchedule"],
            document["timeZone"],
            document["status"],
            from_rfc3339(document["validFrom"]),
            None if until is None else from_rfc3339(until),
        )
        for limit in document["usageLimits"]
    }


def to_item(
    entitlement_id: str,
    document: Mapping[str, Any],
    *,
    version: int,
    created_at: int,
    now_ms: int,
    is_closed: bool = False,
) -> Item:
    """The whole item; times in Unix milliseconds, `validFrom`, `validUntil` in seconds.

    `sweepKey` and `earliest` put it before the sweep when its validity ends, unless the sweep has
    closed it already.
    """
    valid = terms(document)
    sweep = {
        "sweepKey": table.sweep_shard(entitlement_id),
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
        "listKey": LIST_KEY,
        "listSort": f"{created_at:013d}#{entitlement_id}",
        **(sweep if valid.valid_until is not None and not is_closed else {}),
    }


def fetch(entitlement_id: str) -> Steps[tuple[Item, Page]]:
    """Entitlement and first page, in one round trip.

    Raises:
        NotFound.
    """
    keys = (table.entitlement_key(entitlement_id), table.ledger_key(entitlement_id))
    found = yield table.BatchGet(keys)
    if keys[0] not in found:
        raise NotFound("No entitlement has this id.")
    return found[keys[0]], Page.of(found[keys[1]])


def fetch_standing(entitlement_id: str) -> Steps[tuple[Item, Standing]]:
    """Entitlement, and how it stands: one round trip more for a pool of several pages.

    Raises:
        NotFound.
    """
    item, page = yield from fetch(entitlement_id)
    if page.is_alone:
        return item, Standing.of(page)
    return item, (yield from pool.read_standing(entitlement_id))


def standings(owners: Iterable[str]) -> Steps[dict[str, Standing]]:
    """How entitlements stand."""
    keys = {owner: table.ledger_key(owner) for owner in owners}
    found: dict[table.Key, Item] = (yield table.BatchGet(tuple(keys.values()))) if keys else {}
    pages = {owner: Page.of(found[key]) for owner, key in keys.items()}
    pools = {owner: table.standing_key(owner) for owner, page in pages.items() if not page.is_alone}
    sums: dict[table.Key, Item] = (yield table.BatchGet(tuple(pools.values()))) if pools else {}
    return {
        owner: pool.standing_of(sums[pools[owner]]) if owner in pools else Standing.of(page)
        for owner, page in pages.items()
    }


def view(item: Item, standing: Standing, now: int) -> dict[str, Any]:
    """An entitlement as the API answers it at `now`, Unix seconds."""
    document = item["document"]
    status = ledger.status_at(item["status"], item["validFrom"], item.get("validUntil"), now)
    return {
        "entitlementId": item["entitlementId"],
        "status": status,
        **{name: document.get(name, DEFAULTS.get(name)) for name in DOCUMENT},
        "usageLimits": [
            {**limit, "hardCap": hard_cap(limit["limit"], limit["overdraftLimit"])}
            for limit in document["usageLimits"]
        ],
        "hardCap": item.get("hardCap") if has_seats(item) else None,
        "seats": standing.view() if has_seats(item) else None,
        "createdAt": to_rfc3339(item["createdAt"]),
        "updatedAt": to_rfc3339(item["updatedAt"]),
    }


def has_seats(item: Item) -> bool:
    """Whether seats were sold, and not usage limits alone."""
    return item["document"]["seatCount"] is not None


def close(entitlement_id: str, change: Change) -> Steps[bool]:
    """Take the seats away from an entitlement whose validity has ended; False if it has not.

    It leaves the sweep's index in the same transaction, so it is closed once. The pages of a pool
    follow: see `pool_changes.tend`.
    """
    due = Update(
        table.entitlement_key(entitlement_id),
        "REMOVE earliest",
        "attribute_exists(earliest) AND validUntil <= :now",
        table.NO_NAMES,
        {":now": change.now},
    )
    for attempt in range(1, ledger.ROUNDS + 1):
        item, page = yield from fetch(entitlement_id)
        valid = terms(item["document"])
        emptied = yield from pool_changes.take_away(entitlement_id, page, valid, change, "expired")
        reply = yield Transact((due, *emptied))
        if isinstance(reply, Accepted):
            return True
        if isinstance(reply, Cancelled) and reply.reasons[0][0]:
            return False
        yield Pause(attempt)
    return False
