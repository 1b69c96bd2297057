"""What a denial tells a customer's software: whom to ask, and where to request more.

License keys are in customers' software. So the entitlement says what may be shown there, by default
nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cachetools import LRUCache

from shared.api.request import Request
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import entitlement_key
from shared.dynamodb.requests import Get, Unavailable
from shared.problems import Denied


def help_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a denial that the entitlement with this document allows."""
    allowed = document.get("denialHelp")
    if not allowed:
        return {}
    owner = document["contacts"]["accountOwner"] if allowed["showContact"] else None
    names = ("name", "email", "phone")
    return {
        "contact": {name: owner.get(name) for name in names} if owner else None,
        "requestUrl": allowed["requestUrl"],
    }


class DenialHelp:
    """What this process knows of it, for a minute: denials come in rushes."""

    SIZE = 2_000
    FRESH_MS = 60_000

    def __init__(self) -> None:
        self._seen: LRUCache[str, tuple[int, dict[str, Any]]] = LRUCache(self.SIZE)

    @contextmanager
    def added(self, request: Request) -> Iterator[None]:
        """Add it to a denial that is raised within this context."""
        try:
            yield
        except Denied as denied:
            entitlement_id = request.path["entitlementId"]
            denied.extensions |= self.read(request.dynamodb, entitlement_id, request.now_ms)
            raise

    def read(self, dynamodb: DynamoDBClient, entitlement_id: str, now_ms: int) -> dict[str, Any]:
        """The members to add, as they were at most a minute ago."""
        at, known = self._seen.get(entitlement_id, (0, None))
        if known is not None and abs(now_ms - at) < self.FRESH_MS:
            return known
        try:
            item = dynamodb.execute(Get(entitlement_key(entitlement_id)))
        except Unavailable:  # the denial is on record, and is answered without it
            return {}
        found = help_of(item["document"]) if item else {}
        self._seen[entitlement_id] = (now_ms, found)
        return found
