"""The end of an entitlement's validity."""

from shared.audit import Change
from shared.dynamodb.keys import entitlement_key
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    Cancelled,
    Operation,
    Pause,
    Transact,
    Update,
    send,
)
from shared.entitlements.model import seat_terms
from shared.entitlements.queries import fetch_entitlement
from shared.seats.terms import closing_writes


def close_entitlement(entitlement_id: str, change: Change) -> Operation[bool]:
    """Remove the seats of an entitlement whose validity has ended; False if it has not.

    It leaves the sweep's index in the same transaction, so it is closed once. The shards of a pool
    follow: see `seats.reconcile`.
    """
    due = Update(
        entitlement_key(entitlement_id),
        "REMOVE earliest",
        "attribute_exists(earliest) AND validUntil <= :now",
        NO_NAMES,
        {":now": change.now},
    )
    for attempt in range(1, ROUNDS + 1):
        item, shard = yield from fetch_entitlement(entitlement_id)
        valid = seat_terms(item["document"])
        emptied = yield from closing_writes(entitlement_id, shard, valid, change, "expired")
        reply = yield from send(Transact((due, *emptied)))
        if isinstance(reply, Accepted):
            return True
        if isinstance(reply, Cancelled) and reply.reasons[0][0]:
            return False
        yield from send(Pause(attempt))
    return False
