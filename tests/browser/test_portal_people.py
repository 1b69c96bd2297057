"""The portal for many people, for readers of German, and for those who shall see no names."""

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Request, expect

from local.api import Api
from local.stack import VENDOR
from tests.browser.conftest import PHONE, Open, Sold, choose, drawn
from tests.support.waiting import wait_for
from tools import ROOT

MESSAGES = ROOT / "functions/portal/web/src/messages"
# More than the page reads whole.
MANY = 320


@pytest.fixture(scope="module")
def crowd(api: Api) -> Sold:
    """A pool with many holders; the last ones are named otherwise."""
    sold = Sold.make(api, seatCount=400, overdraftSeatLimit={"type": "none"})
    for number in range(MANY):
        name = f"Zoë{number:03d}@acme.com" if number >= MANY - 3 else f"user{number:03d}@acme.com"
        sold.take(name)
    path = f"{sold.path}/activations?search=user&limit=100"

    def is_there() -> bool:
        found = api.expect(200, "GET", f"{sold.path}/activations?search=zo%C3%8B")["items"]
        return len(found) == 3 and bool(api.expect(200, "GET", path)["nextPageToken"])

    wait_for(is_there)
    return sold


def test_many_holders_are_read_by_pages_and_searched_by_the_service(
    crowd: Sold, open_page: Open
) -> None:
    page = open_page(crowd.link("admin")["url"])
    rows = page.locator("#holders tbody tr")
    expect(rows).to_have_count(50)
    expect(page.locator("#holders [role=status]")).to_have_text(f"1 to 50 of about {MANY} seats.")
    first = rows.first.inner_text()
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#holders [role=status]")).to_contain_text("51 to 100")
    expect(rows.first).not_to_have_text(first)
    page.get_by_role("button", name="Previous").click()
    expect(page.locator("#holders [role=status]")).to_contain_text("1 to 50")
    page.locator("#search").fill("ZOE")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("Zoë317@acme.com")
    expect(page.get_by_role("button", name="Next")).to_have_count(0)
    # Whom a search finds can be released.
    expect(page.get_by_role("button", name="Release the seat of")).to_have_count(3)
    page.locator("#search").fill("nobody")
    expect(page.locator("#holders")).to_contain_text("Nobody matches.")
    page.locator("#search").fill("")
    expect(rows).to_have_count(50)
    with page.expect_download() as download:
        page.locator("#holders").get_by_role("button", name="CSV").click()
    assert re.fullmatch(
        r"acme-corp-cad-pro-seats-\d{4}-\d\d-\d\d\.csv", download.value.suggested_filename
    )
    lines = download.value.path().read_text("utf-8-sig").splitlines()
    assert len(lines) == 1 + MANY
    assert len({line.partition(",")[0] for line in lines}) == 1 + MANY


def test_a_tab_that_nobody_uses_makes_few_calls(crowd: Sold, open_page: Open) -> None:
    """Even while seats are taken all the time: at most four a minute."""
    page = open_page("about:blank", state=False)
    page.clock.install(time=time.time())
    calls, pending = list[str](), set[Request]()

    def has_begun(request: Request) -> None:
        pending.add(request)

    def has_ended(request: Request) -> None:
        pending.discard(request)

    page.on("request", has_begun)
    page.on("requestfinished", has_ended)
    page.on("requestfailed", has_ended)

    def pass_time(milliseconds: int) -> None:
        """Time passes, once what was asked for is answered."""

        def is_quiet() -> bool:
            page.wait_for_timeout(100)
            return not pending

        page.clock.fast_forward(milliseconds)
        wait_for(is_quiet)

    page.goto(crowd.link()["url"])
    page.wait_for_selector("#state")
    pass_time(1_000)
    for _ in range(2):
        pass_time(121_000)  # nobody has done anything
    page.on("request", lambda request: calls.append(request.url.partition("/v1/")[2]))
    minutes = 4
    for number in range(minutes * 3):
        if number % 3 == 0:
            crowd.take(f"idle{number}")
        pass_time(20_000)
    assert minutes <= len(calls) <= minutes * 4, calls
    names = {each.partition("?")[0] for each in calls}
    assert {"portal", "portal/graph", "portal/seats"} <= names
    # Somebody comes back: everything is brought up to date at once.
    calls.clear()
    page.mouse.move(200, 200)

    def has_read() -> bool:
        pass_time(1_000)
        return len(calls) >= 4

    wait_for(has_read)


def test_a_link_that_hides_names(api: Api, open_page: Open) -> None:
    sold = Sold.make(api, seatCount=1, overdraftSeatLimit={"type": "none"})
    sold.take("alice@acme.com", seatName="Alice", attributes={"device": "lab-7"})
    sold.take("bob@acme.com", 409)
    asked = {"seats": 3, "requester": "carol@acme.com", "message": "for Dave"}
    made = api.expect(201, "POST", f"{sold.path}/seat-requests", asked)
    answer = {"status": "declined", "note": "Sorry Eve, no."}
    api.expect(200, "PATCH", f"{sold.path}/seat-requests/{made['requestId']}", answer)
    link = sold.link(hidesNames=True)
    secret = re.compile(r"alice|bob|carol|dave|\beve\b|lab-7", re.IGNORECASE)
    answers: list[str] = []
    page = open_page("about:blank", state=False)
    page.on(
        "response", lambda answer: answers.append(answer.text()) if "/v1/" in answer.url else None
    )
    page.goto(link["url"])
    expect(page.locator("#denied")).to_contain_text("1 person was turned away", timeout=15_000)
    expect(page.locator("#holders tbody tr")).to_have_count(1)
    expect(page.locator("#holders")).to_contain_text("This link shows no names.")
    expect(page.locator("#search")).to_have_count(0)
    page.locator("#changes summary").click()
    expect(page.locator("#changes li").first).to_be_visible()
    assert not secret.search(page.inner_text("body"))
    assert not any(secret.search(text) for text in answers), "not even behind the page"
    body = {"role": "admin", "hidesNames": True}
    api.expect(400, "POST", f"{sold.path}/portal-links", body)


def test_a_usage_limit_has_its_own_request_and_denials(api: Api, open_page: Open) -> None:
    limit = {"key": "exports", "limit": 100, "overdraftLimit": {"type": "none"}}
    sold = Sold.make(api, seatCount=None, overdraftSeatLimit={"type": "none"}, usageLimits=[limit])
    for key, quantity in (("a", 90), ("b", 50), ("b", 50)):
        sold.license.call(
            "POST",
            f"{sold.path}/usage/exports",
            {"quantity": quantity},
            headers={"idempotency-key": key},
        )
    page = open_page(sold.link()["url"], **PHONE)
    expect(page.locator("[data-denied=exports]")).to_have_text(
        "In the last 30 days, 1 request for 50 was refused (2 attempts).", timeout=15_000
    )
    page.get_by_role("button", name="Request more exports").click()
    dialog = page.get_by_role("dialog")
    expect(page.get_by_label("How many more?")).to_have_value("10")
    page.get_by_label("How many more?").fill("5000")
    dialog.get_by_role("button", name="Request more exports").click()
    expect(dialog).to_contain_text("has been notified and will answer you.")
    [asked] = api.expect(200, "GET", f"{sold.path}/seat-requests")["items"]
    assert (asked["seats"], asked["usageKey"], asked["quantity"]) == (None, "exports", 5000)
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator("#requests")).to_contain_text("Somebody requested 5,000 more exports on")
    page.wait_for_function("() => document.activeElement.dataset.ask == 'exports'")
    more = [{**limit, "limit": 5100}]
    api.expect(200, "PATCH", sold.path, {"usageLimits": more})
    wait_for(
        lambda: (
            api.expect(200, "GET", f"{sold.path}/seat-requests")["items"][0]["status"] == "answered"
        )
    )


def test_what_was_wanted_is_drawn_above_the_cap(past: Sold, open_page: Open) -> None:
    page = open_page(past.link()["url"])
    choose(page, "30 days")
    columns = drawn(page)
    pairs = list(zip(columns["used"], columns["demand"], strict=True))
    assert all(demand is None or demand >= used for used, demand in pairs)
    caps = [cap for cap in columns["hardCap"] if cap is not None]
    assert max(demand or 0 for _, demand in pairs) > max(caps)
    expect(page.locator(".legend")).to_contain_text("Demand")


# --- German -----------------------------------------------------------------------------------------


def literals(language: str) -> set[str]:
    """The words of a language's messages, as far as they stand alone in quotes."""
    text = (MESSAGES / f"{language}.ts").read_text()
    return {each for each in re.findall(r'"([^"\n]{4,})"', text) if " " in each.strip()}


@pytest.mark.parametrize("width", [320, 1280])
def test_a_german_reader_reads_german_alone(
    past: Sold, api: Api, open_page: Open, width: int
) -> None:
    page = open_page(
        past.link("admin")["url"], locale="de-AT", viewport={"width": width, "height": 900}
    )
    expect(page.locator("#state")).to_contain_text("Plätzen")
    expect(page.locator("#forecast")).to_contain_text("je Woche")
    expect(page.locator("#denials")).to_contain_text("Personen")
    page.locator("#changes summary").click()
    expect(page.locator("#changes li").first).to_contain_text("Portal-Link erstellt")
    choose(page, "12 Monate")
    assert page.evaluate("document.documentElement.lang") == "de-AT"
    assert page.evaluate("document.documentElement.scrollWidth") == width
    shown = page.inner_text("body").replace(VENDOR, "")
    english = literals("en") - literals("de")
    assert len(english) > 40, "the check knows the English sentences"
    assert [each for each in english if each in shown] == []
    assert not re.search(r"\b(the|seats?|were|turned|away|license|until)\b", shown)
    page.get_by_role("button", name="Mehr Plätze anfragen").click()
    expect(page.get_by_role("dialog")).to_contain_text("Wie viele mehr?")
    asked = page.get_by_role("dialog").inner_text().replace(VENDOR, "")
    assert not re.search(r"\b(the|seats?|your|how|more)\b", asked, re.IGNORECASE)


@pytest.mark.parametrize(
    ("languages", "query", "shown"),
    [
        ("fr-FR", "", "en"),
        ("de-CH", "", "de-CH"),
        ("en-GB", "?lang=de", "de"),
        ("de-DE", "?lang=en", "en"),
        ("de-DE", "?lang=tlh", "de-DE"),
    ],
)
def test_sentences_numbers_and_dates_are_of_one_language(
    past: Sold, open_page: Open, languages: str, query: str, shown: str
) -> None:
    url: Any = past.link()["url"].replace("#", f"{query}#")
    page = open_page(url, locale=languages)
    assert page.evaluate("document.documentElement.lang") == shown
    term = page.locator("#term").inner_text()
    wanted = "Gültig seit" if shown.startswith("de") else "Valid since"
    assert term.startswith(wanted)
