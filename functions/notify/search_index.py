"""What makes entitlements findable: the words of their names, customers, renewals, persons.

Readers check what they find against the entitlement itself. So an item too many does no harm.
"""

from collections.abc import Iterable

from functions.notify.records import Record
from shared.dynamodb.keys import (
    Key,
    customer_key,
    entitlement_key,
    person_key,
    rank_key,
    ranking_partition,
    word_key,
)
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import BatchPut, Delete, Get, Item, Operation, Put, Several, send
from shared.entitlements.search import RENEWAL, customers_of, words_of


def write_words(entitlement_id: str, records: Iterable[Record]) -> Operation[None]:
    """Write by what an entitlement is found now; delete what only the versions before had."""
    item = yield from send(Get(entitlement_key(entitlement_id)))
    if item is None:
        return
    words = words_of(item["document"])
    text = " ".join(words)
    customers, place = customers_of(item["document"]), str(item["listSort"])
    found_by = {word_key(word, entitlement_id): {"text": text} for word in words}
    found_by |= {customer_key(each, place): {} for each in customers}
    yield from send(BatchPut(tuple(found_by.items())))
    before = [image["document"] for each in records for image in (each.old, each.new) if image]
    gone = {word_key(word, entitlement_id) for each in before for word in words_of(each)}
    gone |= {customer_key(name, place) for each in before for name in customers_of(each)}
    deletes: list[Put | Delete] = [Delete(key) for key in sorted(gone - found_by.keys())]
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
