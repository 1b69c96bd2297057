"""What makes entitlements searchable: the words of their names, their renewals, their persons.

Readers check what they find against the entitlement itself. So an item too many does no harm.
"""

from collections.abc import Iterable

from functions.notify.lockstep import Several
from functions.notify.records import Record
from shared.dynamodb.keys import (
    Key,
    entitlement_key,
    person_key,
    rank_key,
    ranking_partition,
    word_key,
)
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import BatchPut, Delete, Get, Item, Operation, Put, send
from shared.entitlements.search import RENEWAL, words_of


def write_words(entitlement_id: str, records: Iterable[Record]) -> Operation[None]:
    """Write the words of an entitlement as it is now; delete those of the versions before."""
    item = yield from send(Get(entitlement_key(entitlement_id)))
    if item is None:
        return
    words = words_of(item["document"])
    text = " ".join(words)
    yield from send(
        BatchPut(tuple((word_key(word, entitlement_id), {"text": text}) for word in words))
    )
    images = [image for each in records for image in (each.old, each.new) if image]
    gone = {word for image in images for word in words_of(image["document"])} - set(words)
    deletes: list[Put | Delete] = [Delete(word_key(word, entitlement_id)) for word in sorted(gone)]
    yield from send(Several((*deletes, _renewal(entitlement_id, item))))


def _renewal(entitlement_id: str, item: Item) -> Put | Delete:
    """The place of an entitlement among those that end, by the time at which it does."""
    key = rank_key(entitlement_id, RENEWAL)
    if item.get("validUntil") is None or item["status"] == "deleted":
        return Delete(key)
    place = {
        "sweepKey": ranking_partition(RENEWAL, entitlement_id),
        "earliest": item["validUntil"],
    }
    return Put(key, place)


def write_denied(entitlement_id: str, key: Key, denial: Item) -> Operation[None]:
    """Make a person who was denied findable, unless they are erased."""
    seat_id = denial.get("seatId")
    if seat_id is None:
        return
    person = person_key(seat_id, entitlement_id)
    # Somebody who has held a seat is listed by it already.
    yield from write_with_conflict_retry(Put(person, {}, "attribute_not_exists(pk)"))
    now = yield from send(Get(key))
    # Erasing takes the name from the denial, and then deletes the person's item.
    if now is None or "seatId" not in now:
        yield from write_with_conflict_retry(Delete(person))
