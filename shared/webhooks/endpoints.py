"""Webhook endpoints: which events they want, and the limits of deliveries."""

from collections.abc import Mapping
from typing import Any

from shared.clock import from_rfc3339_ms
from shared.dynamodb.keys import webhook_key, webhooks_version_key
from shared.dynamodb.paging import all_of
from shared.dynamodb.requests import NO_NAMES, Get, Item, Operation, Query, Update, send

# Seconds until the next attempt, as in Svix's schedule: seven waits, so eight attempts in all.
RETRY_DELAYS = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
RETRY_AFTER_MAX = 86_400
FAILING_SECONDS = 5 * 86_400  # an endpoint that has only failed for this long is disabled
DELIVERY_SECONDS = 30 * 86_400  # how long a delivery stays on record and can be resent
OVERLAP_SECONDS = 24 * 3_600  # how long an old secret signs beside the new one
# After this many failures in a row an endpoint is left alone for a while.
CIRCUIT_FAILURES = 5


def circuit_seconds(failing: int) -> int:
    """How long an endpoint is left alone that has been failing for so many seconds."""
    return max(60, min(failing // 4, 1_800))


def delivery_id(at_ms: int, event_id: str) -> str:
    """The id of the deliveries of an event of this time, at every endpoint the same."""
    return f"dlv_{at_ms:013d}_{event_id}"


def delivery_id_of(event: Mapping[str, Any]) -> str:
    """The id of an event's deliveries."""
    return delivery_id(from_rfc3339_ms(event["timestamp"]), event["id"])


def wants(endpoint: Item, event: Mapping[str, Any]) -> bool:
    """Whether an endpoint is to be sent a (complete) event."""
    if not endpoint["enabled"]:
        return False
    data = event["data"]
    if endpoint.get("entitlementId") not in (None, data.get("entitlementId")):
        return False
    if customer := endpoint.get("customer"):
        known = data.get("customer") or {}
        if customer not in (known.get("name"), known.get("externalId")):
            return False
    return any(covers(pattern, event["type"]) for pattern in endpoint["eventTypes"])


def covers(pattern: str, kind: str) -> bool:
    """Whether a pattern matches a type: `*`, a whole type, or its beginning and `.*`."""
    if pattern.endswith("*"):
        return kind.startswith(pattern[:-1])
    return pattern == kind


class Endpoints:
    """All endpoints; they are read again only after one of them has changed."""

    def __init__(self) -> None:
        self._version = -1
        self._items: list[Item] = []

    def current(self) -> Operation[list[Item]]:
        """The endpoints as they are now."""
        seen = yield from send(Get(webhooks_version_key()))
        version = seen["version"] if seen else 0
        if version != self._version:
            self._items, self._version = (yield from all_endpoints()), version
        return self._items


def all_endpoints() -> Operation[list[Item]]:
    """Read every endpoint."""
    return (yield from all_of(Query("pk = :pk", {":pk": webhook_key("").pk})))


def bump_version() -> Update:
    """Tells every process that endpoints have changed; part of each change."""
    return Update(webhooks_version_key(), "ADD version :one", "", NO_NAMES, {":one": 1})
