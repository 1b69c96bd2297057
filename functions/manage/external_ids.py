"""The vendor's own ids of entitlements: unique in the stack, and a way to create or update."""

import re
from collections.abc import Mapping
from typing import Any

from shared.dynamodb.keys import external_id_key
from shared.dynamodb.requests import Delete, Get, Operation, Put, send
from shared.problems import ExternalIdTaken
from shared.texts import EXTERNAL_ID

_EXTERNAL_ID = re.compile(EXTERNAL_ID, re.ASCII)
Document = Mapping[str, Any]


def writes(entitlement_id: str, before: Document, after: Document) -> tuple[Put | Delete, ...]:
    """The writes that make `externalId` follow a document, in the transaction that changes it.

    An entitlement that is created has nothing before, one that is deleted nothing after.
    """
    old, new = before.get("externalId"), after.get("externalId")
    if old == new:
        return ()
    mine = {":mine": entitlement_id}
    freed = (Delete(external_id_key(old), "entitlementId = :mine", values=mine),) if old else ()
    if not new:
        return freed
    item = {"entitlementId": entitlement_id}
    return (*freed, Put(external_id_key(new), item, "attribute_not_exists(pk)"))


def check_free(entitlement_id: str, before: Document, after: Document) -> Operation[None]:
    """Refuse a new `externalId` that another entitlement has.

    Raises:
        ExternalIdTaken: with the `entitlementId` of the other.
    """
    new = after.get("externalId")
    if not new or new == before.get("externalId"):
        return
    owner = yield from find(new)
    if owner not in (None, entitlement_id):
        raise ExternalIdTaken(f"It is that of {owner}.", extensions={"entitlementId": owner})


def find(external_id: str) -> Operation[str | None]:
    """The id of the entitlement with this `externalId`; None: there is none."""
    if not _EXTERNAL_ID.fullmatch(external_id):
        return None
    item = yield from send(Get(external_id_key(external_id)))
    return item["entitlementId"] if item else None
