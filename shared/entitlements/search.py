"""Finding entitlements by the words of their names.

A word is in Unicode normalization form NFKD, without
marks such as accents, and case-folded; so "Zoë" and "zoe" are the same word. A text is divided at
everything that is neither a letter nor a digit.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from shared.dynamodb.requests import Item
from shared.texts import folded

# The form of what is stored for searching. An entitlement with a lower one is not searchable yet,
# its follow-up is not listed, or it is not among those of its customer.
SEARCH_FORM = 4
# How long the stream may take until it has followed the last mark.
FOLLOWED_AFTER_MS = 600_000
MAX_WORDS = 64
WORD_LENGTH = 32
# The ranking by the end of validity.
RENEWAL = "renewal"
_SEPARATOR = re.compile(r"[\W_]+")


def words_in(text: str) -> list[str]:
    """The words of a text, each once, in their order."""
    words = _SEPARATOR.split(folded(text))
    return list(dict.fromkeys(word[:WORD_LENGTH] for word in words if word))


def words_of(document: Mapping[str, Any]) -> list[str]:
    """The words by which an entitlement is found, at most `MAX_WORDS`.

    They are those of the customer, its external id, the product, the SKU, the entitlement's own
    external id and the contacts.
    """
    customer, contacts = document["customer"], document.get("contacts") or {}
    texts: list[str | None] = [
        customer["name"],
        customer.get("externalId"),
        document["product"],
        document.get("sku"),
        document.get("externalId"),
    ]
    for contact in contacts.values():
        if contact:
            texts += [contact.get("name"), contact.get("email")]
    return words_in(" ".join(text for text in texts if text))[:MAX_WORDS]


def customers_of(document: Mapping[str, Any]) -> set[str]:
    """What an entitlement's customer is found by, exactly: the name, and the external id."""
    customer = document["customer"]
    return {each for each in (customer["name"], customer.get("externalId")) if each}


def is_marked(progress: Item | None) -> bool:
    """Whether all entitlements of earlier releases are marked, by the item that says so."""
    return progress is not None and progress["form"] == SEARCH_FORM and "start" not in progress


def is_complete(progress: Item | None, now_ms: int) -> bool:
    """Whether all of them can be found: the stream has had time to follow the marks."""
    if progress is None or not is_marked(progress):
        return False
    return bool(progress.get("markedAt", 0) + FOLLOWED_AFTER_MS <= now_ms)


def is_found_by(words: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether each wanted beginning is that of one of the words."""
    known = list(words)
    return all(any(word.startswith(each) for word in known) for each in wanted)
