"""The words by which entitlements are found."""

from typing import Any

import pytest

from shared.entitlements.search import MAX_WORDS, is_found_by, words_in, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Globex Corporation", ["globex", "corporation"]),
        ("Zoë Müller-Lüdenscheidt", ["zoe", "muller", "ludenscheidt"]),
        ("Straße", ["strasse"]),
        ("ada@acme.com", ["ada", "acme", "com"]),
        ("crm_4711", ["crm", "4711"]),
        ("Ⅷ ﬁne ＡＢＣ", ["viii", "fine", "abc"]),
        ("İstanbul ΣΊΣΥΦΟΣ", ["istanbul", "σισυφοσ"]),
        ("株式会社トヨタ 日本", ["株式会社トヨタ", "日本"]),
        ("a A á", ["a"]),
        ("--- _ !", []),
        ("", []),
    ],
)
def test_words_are_the_same_however_they_are_written(text: str, words: list[str]) -> None:
    assert words_in(text) == words


def test_a_search_means_the_beginnings_of_all_its_words() -> None:
    names = words_in("Globex Corporation, CAD Suite")
    assert is_found_by(names, words_in("SUI glob"))
    assert not is_found_by(names, words_in("obex"))
    assert not is_found_by(names, words_in("glob acme"))


def test_an_entitlement_is_found_by_its_customer_product_and_contacts() -> None:
    document: dict[str, Any] = {
        "product": "CAD Suite",
        "sku": "CAD-9",
        "customer": {"name": "Globex", "externalId": "crm:4711"},
        "contacts": {
            "accountOwner": {"name": "Olaf Owner", "email": "olaf@vendor.example"},
            "customerAdmin": None,
        },
    }
    words = "globex crm 4711 cad suite 9 olaf owner vendor example"
    assert words_of(document) == words.split()
    older = {"product": "P", "customer": {"name": "N", "externalId": None}}
    assert words_of(older) == ["n", "p"]


def test_the_number_of_words_is_bounded() -> None:
    name = " ".join(f"w{number}" for number in range(200))
    document = {"product": "P", "customer": {"name": name, "externalId": None}}
    assert len(words_of(document)) == MAX_WORDS
