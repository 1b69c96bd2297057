"""E-mails as a phone and a desktop show them."""

from typing import Any

import pytest
from playwright.sync_api import Browser

from functions.notify.emails.text import CountFacts, Facts, Links, render
from shared.audit import Change
from shared.seats.seat_usage import SeatUsage
from shared.usage.counter import Counter, UsageTerms
from shared.usage.terms import new_counter

LONG = "Ottilie-Anneliese von Habsburg-Lothringen (ottilie.anneliese@subsidiary.acme.example)"


@pytest.fixture(scope="module")
def mail() -> tuple[str, str]:
    """The longest of everything: text and HTML."""
    document: dict[str, Any] = {
        "product": "CAD Professional Suite with Extensions",
        "customer": {"name": "Acme Maschinenbaubeteiligungsgesellschaft mbH & Co. KGaA <Berlin>"},
        "timeZone": "America/Argentina/ComodRivadavia",
        "seatCount": 1_000_000,
        "contacts": {"accountOwner": {"name": "Olaf", "email": "o@vendor.example"}},
    }
    terms = UsageTerms(10**9, 2 * 10**9, "never", "UTC", "active", 0, None)
    item = new_counter("ent_a", "k" * 64, terms, Change("k", "r", 0)).item
    counts = (CountFacts("k" * 64, Counter.of(dict(item)), (100,), 3, 2, 10**9, 7),)
    facts = Facts(
        "admin@acme.example",
        "customerAdmin",
        document,
        SeatUsage(1_200_000, 1_000_000, 1_200_000),
        0,
        60_000,
        {"entitlement.overdraft.entered": 1, "entitlement.overdraft.exhausted": 1},
        (80, 100),
        [LONG] * 10,
        12,
        34,
        12,
        [(LONG, 3)] * 10,
        counts,
    )
    url = f"https://{'licenses' * 8}.example/portal#plk_mail_c123456_{'a' * 16}.{'b' * 43}"
    _, text, html = render(facts, Links(url, url), "The CAD Company", can_reply=True)
    return text, html


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_e_mail_fits_its_screen(
    browser: Browser, mail: tuple[str, str], width: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    try:
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.set_content(mail[1])
        assert page.evaluate("document.documentElement.scrollWidth") == width
        button = page.get_by_role("link", name="See it in the portal").bounding_box()
        assert button is not None
        assert button["height"] >= 40
        assert button["x"] + button["width"] <= width
        assert page.locator("li").count() == 22, "ten and how many more, of both"
        assert asked == [], "it loads nothing"
        assert page.title().startswith("CAD Professional Suite")
    finally:
        context.close()


def test_the_plain_text_says_the_same(mail: tuple[str, str]) -> None:
    text, _ = mail
    assert "is using 1,200,000 of 1,000,000 seats purchased" in text
    assert "See it in the portal:\nhttps://" in text
    assert "Unsubscribe: https://" in text
    assert "<" not in text.replace("<Berlin>", "")
    assert max(len(line) for line in text.splitlines() if " " not in line.strip()) < 998
