"""Audit entries of what the stream reports: seats that somebody released, corrections of usage."""

from collections.abc import Iterable

from shared.audit import Change, Subject, entry
from shared.dynamodb.keys import Key
from shared.dynamodb.requests import Item
from shared.history.changes import ChangeRecord
from shared.ids import LICENSE_KEYS


def of_changes(entitlement_id: str, changes: Iterable[ChangeRecord]) -> list[tuple[Key, Item]]:
    """The entries of those changes that are audited.

    What software does with a license key is history, and is not audited.
    """
    return [
        each
        for change in changes
        if not change.actor.startswith(f"{LICENSE_KEYS}_")
        for each in _entries(entitlement_id, change)
    ]


def _entries(entitlement_id: str, change: ChangeRecord) -> list[tuple[Key, Item]]:
    made = Change(change.actor, change.request, change.at)
    if change.type == "released":
        return [
            entry(made, "seat.released", entitlement_id, Subject(seat["key"]), nonce=seat["key"])
            for seat in change.seats
            if seat.get("reason") == "released"
        ]
    if change.type == "corrected":
        used = change.level.used
        changes = {"used": {"before": used - change.quantity, "after": used}}
        subject, reason = Subject(change.usage), change.note or None
        return [entry(made, "usage.corrected", entitlement_id, subject, changes, reason=reason)]
    return []
