"""Names of somebody else, and ids, with characters that nobody sees."""

import pytest

from shared.texts import isolated, wrong_id
from shared.webhooks.url_policy import check_kept, check_url

RLO, FSI, PDI, ZWSP, NBSP, ZWJ = "\u202e", "\u2068", "\u2069", "\u200b", "\u00a0", "\u200d"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Acme Corp", "Acme Corp"),
        ("Müller & Söhne", "Müller & Söhne"),
        (f"{RLO}moc.elpmaxe@live", "moc.elpmaxe@live"),
        (f"Acme{PDI}{RLO}x", "Acmex"),
        ("שלום", f"{FSI}שלום{PDI}"),
        (f"شركة{RLO} 1", f"{FSI}شركة 1{PDI}"),
    ],
)
def test_a_name_turns_nothing_around(name: str, shown: str) -> None:
    assert isolated(name) == shown


@pytest.mark.parametrize(
    "seat_id",
    [
        " a",
        "a ",
        f"a{NBSP}",
        f"{ZWSP}a",
        f"a{ZWSP}b",
        "a\ufeff",
        f"a{RLO}b",
        "a\u00adb",
        f"a{ZWJ}",
        "a\u2003",
        "e\u0301",
    ],
)
def test_ids_that_look_like_others_are_refused(seat_id: str) -> None:
    assert wrong_id(seat_id)


@pytest.mark.parametrize(
    "seat_id",
    ["alice@acme.com", "a b", "a?b#c%2Fd/e", "Jürgen", "שלום", f"👩{ZWJ}💻x", "می\u200cخواهم"],
)
def test_other_ids_are_taken(seat_id: str) -> None:
    assert wrong_id(seat_id) == ""


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://h.example/p?", "must not end with"),
        ("https://h.example/p#", "must not hold '#'"),
        ("https://h.example/p#x", "must not hold '#'"),
        ("https://h.example/100%", "hexadecimal"),
        ("https://h.example/?a=%zz", "hexadecimal"),
    ],
)
def test_urls_that_would_be_called_otherwise_are_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_kept(url)


def test_an_endpoint_from_before_that_was_refused_is_still_called() -> None:
    assert check_url("https://h.example/p?", frozenset()) == "h.example"
