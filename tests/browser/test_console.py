"""The vendor's console: who comes in and how, each role's day, and what must not happen."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from local.api import Api
from local.run import console_link
from local.seed_history import Past
from local.stack import Stack
from shared.clock import now_ms, to_rfc3339
from tests.browser.conftest import DESKTOP, PHONE, SCREENSHOTS, Sold
from tests.browser.test_portal import HOSTILE, serious
from tests.support.waiting import wait_for

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
FOREIGN = re.compile(r"^https?://(?!127\.0\.0\.1|localhost)")
STORED = "() => ({...sessionStorage, ...localStorage, cookies: document.cookie})"


class Console:
    """The console in contexts of their own, each another person's browser."""

    def __init__(self, browser: Browser, stack: Stack, api: Api) -> None:
        self.browser = browser
        self.url = f"{stack.api_url}/console"
        self.api = api
        self.contexts: list[BrowserContext] = []
        self.wrong: list[str] = []
        self.expected: list[str] = []

    def page(self, **options: Any) -> Page:
        context = self.browser.new_context(**{"locale": "en-GB", **DESKTOP, **options})
        self.contexts.append(context)
        # The provider's own pages want fonts of another host. A pattern, no function: the driver asks
        # this process about each request otherwise, which may be waiting for something else.
        context.route(FOREIGN, lambda route: route.abort())
        page = context.new_page()
        self.watch(page)
        return page

    def watch(self, page: Page) -> None:
        def complain(text: str, url: str) -> None:
            if url.startswith(self.url.rpartition("/")[0]) or not url:
                self.wrong.append(text)

        page.on(
            "console",
            lambda m: (
                complain(m.text, m.location.get("url", ""))
                if m.type in ("error", "warning")
                else None
            ),
        )
        page.on("pageerror", lambda error: self.wrong.append(str(error)))

    def sign_in(self, who: str, place: str = "", **options: Any) -> Page:
        """Sign in with the provider, through its own pages."""
        page = self.page(**options)
        page.goto(self.url + place)
        page.get_by_role("button", name=re.compile("Sign in|Anmelden")).first.click()
        self.give_name(page, who)
        return page

    def give_name(self, page: Page, who: str) -> None:
        page.locator("input[name=login]").fill(who)
        page.locator("input[name=password]").fill("any")
        page.locator("button[type=submit]").click()
        page.wait_for_url(re.compile(r"/interaction/"))
        page.get_by_role("button", name="Continue").click()

    def by_link(self, place: str = "", **options: Any) -> Page:
        """Sign in by a link, with every scope."""
        page = self.page(**options)
        page.goto(console_link(self.api))
        expect(page.locator("#nav")).to_be_attached()
        if place:
            go(page, place)
        return page


def go(page: Page, place: str) -> None:
    page.evaluate("place => { location.hash = place; }", place)


@pytest.fixture
def console(browser: Browser, stack: Stack, api: Api) -> Iterator[Console]:
    opened = Console(browser, stack, api)
    yield opened
    for context in opened.contexts:
        context.close()
    left = [text for text in opened.wrong if not any(re.search(e, text) for e in opened.expected)]
    assert left == []


class Globex(Sold):
    """A customer; the one of a later test is worth more, and so comes first."""

    name = ""
    price = 0


@pytest.fixture
def over(api: Api) -> Globex:
    """A customer with three seats in use of two purchased, and one person who was denied."""
    number = int(time.time() * 10)
    name, price = f"Globex{number}", number - 17_000_000_000
    sold = Globex.make(
        api,
        customer={"name": name, "externalId": f"4711-{number}"},
        unitPrice={"amount": f"{price}.00", "currency": "EUR", "per": "month"},
        contacts={
            "customerAdmin": {
                "name": "Gerda",
                "email": "gerda@globex.example",
                "phone": "+49 30 901820",
            }
        },
        leasePeriod="PT8H",
    )
    for seat in ("ann@globex.example", "bob@globex.example", "cid@globex.example"):
        sold.take(seat, seatName=seat.split("@", maxsplit=1)[0].title())
    sold.take("dan@globex.example", 409)
    sold.wait_for_history(3, 1)
    sold.name, sold.price = name, price
    # What is searched and listed follows from the stream.
    wait_for(lambda: api.expect(200, "GET", f"/v1/entitlements?search={name}")["items"])
    return sold


# --- Who comes in ------------------------------------------------------------------------------------


def names(page: Page) -> list[str]:
    expect(page.locator("#nav")).to_be_attached()
    return page.locator("#nav a").all_text_contents()


ROLES = {
    "sales": ["Today", "Entitlements", "Why denied?", "Follow-up", "Reports"],
    "support": ["Today", "Entitlements", "Why denied?", "Follow-up", "Webhooks"],
    "admin": [
        "Today",
        "Entitlements",
        "Why denied?",
        "Follow-up",
        "Reports",
        "Webhooks",
        "Settings",
    ],
}


@pytest.mark.parametrize("who", ROLES)
def test_each_role_sees_its_pages_and_comes_where_the_link_leads(
    console: Console, who: str
) -> None:
    page = console.sign_in(who, "#/entitlements?search=nothing+of+this+name")
    assert names(page) == ROLES[who]
    assert page.url.endswith("#/entitlements?search=nothing+of+this+name")
    expect(page.get_by_role("searchbox")).to_have_value("nothing of this name")
    stored = page.evaluate(STORED)
    assert stored.pop("cookies") == ""
    assert set(stored) == {"overdraft.session"}
    kept = json.loads(stored["overdraft.session"])
    assert kept["actor"] == f"{who}@vendor.example"
    assert not [value for value in kept.values() if str(value).count(".") == 2], "no token is kept"
    # A page that the role does not have.
    go(page, "#/settings")
    if who == "admin":
        expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    else:
        expect(page.get_by_text("There is no such page")).to_be_visible()


def test_somebody_without_a_role_is_told_so(console: Console) -> None:
    console.expected.append("403")
    page = console.sign_in("nobody")
    expect(page.get_by_role("alert")).to_contain_text("have no role here")
    assert set(page.evaluate(STORED)) == {"cookies"}


def test_what_a_role_may_not_do_is_refused_by_the_api(console: Console, over: Globex) -> None:
    page = console.sign_in("sales")
    names(page)
    refused = page.evaluate(
        """async path => {
        const {session} = JSON.parse(sessionStorage.getItem('overdraft.session'));
        const call = async (method, url, body) => (await fetch(url, {method, body: body ?? null,
            headers: {authorization: `Session ${session}`, 'content-type': 'application/json'}})).status;
        return [await call('PATCH', path, '{"seatCount": 99}'),
            await call('GET', 'v1/api-keys'), await call('GET', 'v1/console/sessions'),
            await call('GET', 'v1/audit'), await call('POST', 'v1/webhooks', '{}'),
            await call('POST', `${path}/seats/release`, '{"seatId": "ann@globex.example"}')];
    }""",
        over.path.removeprefix("/"),
    )
    assert refused == [403] * 6
    console.expected.append("403")


def test_a_link_signs_in_once_and_moves_nobody_into_another_account(console: Console) -> None:
    link = console_link(console.api)
    page = console.page()
    page.goto(link)
    assert "Settings" in names(page)
    assert "code=" not in page.url
    # Somebody who is signed in stays who they are.
    other = console.sign_in("sales")
    names(other)
    other.goto("about:blank")
    other.goto(console_link(console.api))
    assert names(other) == ROLES["sales"]
    assert "code=" not in other.url
    tab = other.context.new_page()
    console.watch(tab)
    tab.goto(console_link(console.api))
    assert names(tab) == ROLES["sales"]
    # Used already.
    console.expected.append("401")
    late = console.page()
    late.goto(link)
    expect(late.get_by_role("alert")).to_contain_text("works once")


def test_an_api_key_signs_in_and_is_not_kept(console: Console, stack: Stack) -> None:
    page = console.page()
    page.goto(console.url)
    page.get_by_text("With an API key").click()
    page.get_by_label("API key").fill("bootstrap." + "x" * 40)
    page.locator("form button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    console.expected.append("401")
    page.get_by_label("API key").fill(stack.bootstrap_key)
    page.locator("form button").click()
    assert "Settings" in names(page)
    assert stack.bootstrap_key not in json.dumps(page.evaluate(STORED))
    page.locator(".who summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert set(page.evaluate(STORED)) == {"cookies"}


def test_an_answer_that_nobody_asked_for_signs_nobody_in(console: Console) -> None:
    """A code of somebody else's, with a made-up state: login CSRF."""
    page = console.page()
    page.goto(f"{console.url}?code=stolen&state=made-up")
    expect(page.get_by_role("alert")).to_be_visible()
    assert "stolen" not in page.url
    page = console.page()
    page.goto(console.url)
    with page.expect_navigation(url=re.compile("/interaction/")):
        page.get_by_role("button", name="Sign in").first.click()
    page.goto(f"{console.url}?code=stolen&state=made-up&iss=x")
    expect(page.get_by_role("alert")).to_be_visible()
    assert set(page.evaluate(STORED)) == {"cookies"}


def test_the_page_can_be_framed_by_nobody_and_asks_one_host(console: Console, stack: Stack) -> None:
    answer = Api(stack.api_url).call("GET", "/console")
    policy = answer.headers["content-security-policy"]
    issuer = stack.parameters["ConsoleIssuer"]
    assert f"connect-src 'self' {issuer}" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    # Parameters of the address lead nowhere else.
    page = console.page()
    page.goto(f"{console.url}?next=https://evil.example&redirect_uri=https://evil.example")
    with page.expect_request(re.compile("/auth\\?")) as asked:
        page.get_by_role("button", name="Sign in").first.click()
    assert f"redirect_uri={console.url.replace(':', '%3A').replace('/', '%2F')}&" in asked.value.url


def test_a_new_tab_takes_the_session_over_and_hears_its_end(console: Console) -> None:
    page = console.by_link()
    tab = page.context.new_page()
    console.watch(tab)
    tab.goto(f"{console.url}#/webhooks")
    expect(tab.get_by_role("heading", name="Webhooks")).to_be_visible()
    page.locator(".who summary").click()
    page.get_by_role("button", name="Sign out").click()
    # And shows nothing any more.
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(tab.get_by_role("heading", name="Webhooks")).to_have_count(0)


def test_a_session_that_ends_loses_nothing(console: Console, over: Globex, api: Api) -> None:
    page = console.sign_in("admin", f"#/entitlements/{over.id}/follow-up")
    page.get_by_role("button", name="Change").click()
    page.get_by_label("Note").fill("A long note that nobody wants to type again.")
    session_id = page.evaluate(
        "() => JSON.parse(sessionStorage.getItem('overdraft.session')).sessionId"
    )
    api.expect(204, "DELETE", f"/v1/console/sessions/{session_id}")
    console.expected.append("401")
    # Within a minute, each process hears of it.
    expect(page.get_by_role("heading", name="Your session has ended")).to_be_visible(timeout=90_000)
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Sign in").first.click()
    # The provider knows who it is, and asks nothing.
    opened.value.wait_for_event("close")
    expect(page.get_by_role("heading", name="Your session has ended")).to_have_count(0)
    expect(page.get_by_label("Note")).to_have_value("A long note that nobody wants to type again.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    found = api.expect(200, "GET", f"{over.path}/follow-up")
    assert found["note"] == "A long note that nobody wants to type again."
    assert found["changedBy"] == "admin@vendor.example"


# --- A day ---------------------------------------------------------------------------------------------


def test_sales_sees_whom_to_call_and_notes_it(console: Console, over: Globex, api: Api) -> None:
    page = console.sign_in("sales")
    first = page.get_by_role("region", name="Call first")
    expect(first).to_contain_text(over.name)
    expect(first).to_contain_text("3 seats in use, 1 more than the 2 purchased.")
    expect(first).to_contain_text("+1 seat")
    expect(first).to_contain_text(f"€{over.price:,}.00 a month")
    expect(first).to_contain_text("The hard cap is reached")
    expect(first).to_contain_text("1 attempt denied today.")
    address = first.get_by_role("link", name="gerda@globex.example")
    assert address.get_attribute("href") == "mailto:gerda@globex.example"
    phone = first.get_by_role("link", name="+49 30 901820")
    assert phone.get_attribute("href") == "tel:+4930901820"
    # It is live: a seat more than purchased is given back elsewhere.
    over.license.expect(200, "POST", f"{over.path}/seats/release", {"seatId": "cid@globex.example"})
    expect(first).not_to_contain_text(over.name)
    over.take("cid@globex.example")
    expect(first).to_contain_text(over.name)
    first.get_by_role("link", name="Note what was said").click()
    page.get_by_role("button", name="Change").click()
    page.get_by_role("dialog").get_by_label("State").select_option("contacted")
    page.get_by_role("dialog").get_by_label("Owner").fill("Sam Sales")
    page.get_by_role("dialog").get_by_label("Note").fill("Wants five more.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.locator("main")).to_contain_text("sales@vendor.example")
    expect(page.get_by_role("button", name="Terms")).to_have_count(0)
    # The board: moved by keyboard, and back by the way back that is offered.
    page.get_by_role("link", name="Follow-up").first.click()
    card = page.locator(f"#card-{over.id}")
    expect(page.get_by_role("region", name="Contacted").locator(f"#card-{over.id}")).to_be_visible()
    card.focus()
    page.keyboard.press("Alt+ArrowRight")
    expect(page.get_by_role("region", name="Quoted").locator(f"#card-{over.id}")).to_be_visible()
    wait_for(lambda: api.expect(200, "GET", f"{over.path}/follow-up")["state"] == "quoted")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("region", name="Contacted").locator(f"#card-{over.id}")).to_be_visible()
    wait_for(lambda: api.expect(200, "GET", f"{over.path}/follow-up")["state"] == "contacted")
    # And by the mouse. A column may be longer than the window: near its top.
    page.locator(".follow-up", has=card).locator("small").drag_to(
        page.get_by_role("region", name="Won"), target_position={"x": 40, "y": 30}
    )
    wait_for(lambda: api.expect(200, "GET", f"{over.path}/follow-up")["state"] == "won")


def test_support_explains_a_denial_and_releases_a_seat(
    console: Console, over: Globex, api: Api
) -> None:
    page = console.sign_in("support", f"#/entitlements/{over.id}/denials")
    row = page.get_by_role("row").filter(has_text="dan@globex.example")
    row.get_by_role("link", name="Why?").click()
    answer = page.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("dan@globex.example")
    expect(page.get_by_role("region", name="At that moment", exact=True)).to_contain_text("In use3")
    expect(page.get_by_role("region", name="At that moment", exact=True)).to_contain_text(
        "The hard cap was reached."
    )
    held = page.get_by_role("region", name="Who held a seat at that moment")
    expect(held.get_by_role("row")).to_have_count(4)  # the head, and all three
    expect(held).to_contain_text("Ann")
    page.go_back()
    page.get_by_role("link", name="People", exact=True).click()
    ann = page.get_by_role("row").filter(has_text="ann@globex.example")
    ann.get_by_role("button", name="Release").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Ann")
    dialog.get_by_role("button", name="Release").click()
    expect(ann).to_have_count(0)
    # The stream puts it on record.
    released = f"{over.path}/changes?type=seat.released"
    changes = wait_for(lambda: api.expect(200, "GET", released)["items"])
    assert changes[0]["actor"] == "support@vendor.example"
    page.get_by_role("link", name="Access").click()
    expect(page.get_by_role("region", name="License keys")).to_have_count(0)
    page.get_by_role("button", name="New link").click()
    page.get_by_role("button", name="Create").click()
    link = page.get_by_role("textbox", name="Link to the portal").input_value()
    assert "/portal#plk_" in link
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    go(page, f"#/entitlements/{over.id}/terms")
    expect(page.get_by_role("heading", name="History")).to_be_visible()
    expect(page.get_by_role("button", name="Change")).to_have_count(0)


def test_an_administrator_changes_terms_and_sees_what_it_means(
    console: Console, over: Globex, api: Api
) -> None:
    page = console.sign_in("admin", f"#/entitlements/{over.id}/terms")
    page.get_by_role("button", name="Change", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Seats purchased").fill("1")
    expect(dialog).to_contain_text("1 seat purchased, at most 2 are granted.")
    expect(dialog).to_contain_text("Holders above the new cap keep their seats: 1 of them.")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text(f"Changed: {over.name}.")).to_be_visible()
    assert api.expect(200, "GET", over.path)["seatCount"] == 1
    page.get_by_role("button", name="Undo").click()
    wait_for(lambda: api.expect(200, "GET", over.path)["seatCount"] == 2)
    history = page.get_by_role("region", name="History")
    expect(history).to_contain_text("admin@vendor.example")
    # Nothing but what was changed is written.
    kept = api.expect(200, "GET", over.path)
    assert kept["unitPrice"]["amount"] == f"{over.price}.00"
    assert kept["contacts"]["customerAdmin"]["name"] == "Gerda"


@pytest.mark.parametrize(
    ("locale", "change", "zone", "save", "text", "marked"),
    [
        ("en-GB", "Change", "Time zone", "Save", "Must be an IANA time zone", "marked fields"),
        ("de-DE", "Ändern", "Zeitzone", "Speichern", "Eine IANA-Zeitzone", "markierten Felder"),
    ],
)
def test_what_the_api_refuses_is_said_at_its_field(
    console: Console,
    api: Api,
    locale: str,
    change: str,
    zone: str,
    save: str,
    text: str,
    marked: str,
) -> None:
    sold = Sold.make(api)
    page = console.by_link(f"#/entitlements/{sold.id}/terms", locale=locale)
    page.get_by_role("button", name=change, exact=True).click()
    dialog = page.get_by_role("dialog")
    field = dialog.get_by_label(zone, exact=True)
    field.fill("Mars/Olympus")
    console.expected.append("400")
    dialog.get_by_role("button", name=save).click()
    expect(dialog.get_by_role("alert")).to_contain_text(marked)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(re.compile(text))
    assert serious(page) == []
    field.fill("Europe/Berlin")
    dialog.get_by_role("button", name=save).click()
    expect(dialog).to_have_count(0)
    assert api.expect(200, "GET", sold.path)["timeZone"] == "Europe/Berlin"


def test_of_two_people_the_second_sees_what_changed(
    console: Console, over: Globex, api: Api
) -> None:
    page = console.by_link(f"#/entitlements/{over.id}/terms")
    page.get_by_role("button", name="Change", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Product").fill("CAD Ultra")
    admin = dialog.get_by_role("group", name="Customer's admin")
    admin.get_by_label("Phone").fill("+1 555 0199")
    dialog.get_by_text("Notes of your own").first.click()
    dialog.get_by_role("textbox", name="Notes of your own").fill("tier: gold")
    theirs = {"type": "percentage", "value": 50}
    body = {"seatCount": 3, "overdraftSeatLimit": theirs, "sku": "S2"}
    body["contacts"] = {"accountOwner": {"email": "owner@vendor.example", "phone": "+1 555 0100"}}
    body["metadata"] = {"region": "apac"}
    api.expect(200, "PATCH", over.path, body)
    console.expected.append("412")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Somebody else has changed it")
    expect(dialog.get_by_label("Product")).to_have_value("CAD Ultra")
    assert api.expect(200, "GET", over.path)["product"] == "CAD Pro"
    expect(page.get_by_role("region", name="History")).to_contain_text("seatCount")
    expect(dialog).to_contain_text("Changed meanwhile")
    expect(dialog).to_contain_text("CAD Pro · S2")
    expect(dialog).to_contain_text("contacts.accountOwner.email: owner@vendor.example")
    # What the other one changed stays.
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    kept = api.expect(200, "GET", over.path)
    assert (kept["product"], kept["seatCount"], kept["sku"]) == ("CAD Ultra", 3, "S2")
    assert kept["overdraftSeatLimit"]["type"] == "percentage"
    assert kept["contacts"]["accountOwner"]["phone"] == "+1 555 0100"
    admin_now = kept["contacts"]["customerAdmin"]
    assert (admin_now["name"], admin_now["phone"]) == ("Gerda", "+1 555 0199")
    assert kept["metadata"] == {"region": "apac", "tier": "gold"}
    # Taking it back changes nothing that the other one wrote.
    page.get_by_role("button", name="Undo").click()
    wait_for(lambda: api.expect(200, "GET", over.path)["product"] == "CAD Pro")
    left = api.expect(200, "GET", over.path)
    assert left["contacts"]["customerAdmin"]["phone"] == "+49 30 901820"
    assert left["contacts"]["accountOwner"]["phone"] == "+1 555 0100"
    assert left["metadata"] == {"region": "apac"}


def test_a_form_shows_what_is_stored_when_it_opens(console: Console, api: Api) -> None:
    """However old the page under it is."""
    sold = Sold.make(
        api,
        contacts={"customerAdmin": {"email": "ann@acme.example"}},
        metadata={"constructor": "x", "tier": "gold"},
    )
    page = console.by_link(f"#/entitlements/{sold.id}/terms")
    expect(page.get_by_role("button", name="Change", exact=True)).to_be_visible()
    theirs = {"customerAdmin": {"email": "other@acme.example"}}
    api.expect(200, "PATCH", sold.path, {"contacts": theirs})
    page.get_by_role("button", name="Change", exact=True).click()
    dialog = page.get_by_role("dialog")
    admin = dialog.get_by_role("group", name="Customer's admin")
    expect(admin.get_by_label("E-mail")).to_have_value("other@acme.example")
    dialog.get_by_text("Notes of your own").first.click()
    notes = dialog.get_by_role("textbox", name="Notes of your own")
    notes.fill("tier: gold\ntoString: 1")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    # The focus is back where it was, for those who have no mouse.
    expect(page.get_by_role("button", name="Change", exact=True)).to_be_focused()
    kept = api.expect(200, "GET", sold.path)
    assert kept["metadata"] == {"tier": "gold", "toString": "1"}
    assert kept["contacts"]["customerAdmin"]["email"] == "other@acme.example"
    page.get_by_role("button", name="Undo").click()
    before = {"constructor": "x", "tier": "gold"}
    wait_for(lambda: api.expect(200, "GET", sold.path)["metadata"] == before)


def test_what_nobody_touched_stays_as_it_was(console: Console, api: Api) -> None:
    due = to_rfc3339(now_ms() + 3 * 86_400_000)
    sold = Sold.make(
        api,
        unitPrice={"amount": "120.50", "currency": "EUR", "per": "year"},
        overdraftSeatLimit={
            "type": "percentage",
            "value": 50,
            "period": "P30D",
            "recovery": "P10D",
        },
        validUntil=to_rfc3339(now_ms() + 90 * 86_400_000 + 3_723_000),
        contacts={"customerAdmin": {"email": "a@b.example"}},
    )
    follow_up = {"state": "quoted", "dueAt": due}
    due = api.expect(200, "PATCH", f"{sold.path}/follow-up", follow_up)["dueAt"]
    before = api.expect(200, "GET", sold.path)
    page = console.by_link(f"#/entitlements/{sold.id}/terms", timezone_id="Australia/Sydney")
    page.get_by_role("button", name="Change", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing was changed.")
    dialog.get_by_label("How much").fill("100")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    after = api.expect(200, "GET", sold.path)
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed == {"overdraftSeatLimit", "hardCap", "seats", "updatedAt"}
    assert after["overdraftSeatLimit"] == {**before["overdraftSeatLimit"], "value": 100}
    go(page, f"#/entitlements/{sold.id}/follow-up")
    page.get_by_role("button", name="Change", exact=True).click()
    page.get_by_role("dialog").get_by_label("Note").fill("They called.")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    noted = api.expect(200, "GET", f"{sold.path}/follow-up")
    assert (noted["state"], noted["owner"], noted["dueAt"]) == ("quoted", None, due)
    hook = api.expect(
        201,
        "POST",
        "/v1/webhooks",
        {"url": "http://127.0.0.1:9/x", "format": "slack", "enabled": False},
    )
    go(page, f"#/webhooks/{hook['webhookId']}")
    page.get_by_role("button", name="Change", exact=True).click()
    page.get_by_role("dialog").get_by_label("Description").fill("ours")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    kept = api.expect(200, "GET", f"/v1/webhooks/{hook['webhookId']}")
    assert (kept["format"], kept["description"], kept["eventTypes"]) == ("slack", "ours", ["*"])


def test_what_few_need_is_changed_and_kept_in_forms(console: Console, api: Api) -> None:
    """Everything that the API takes, folded away; what nobody touches is not sent."""
    made = api.expect(
        201,
        "POST",
        "/v1/entitlements",
        {
            "product": "P",
            "customer": {"name": "Initech"},
            "seatCount": 10,
            "leasePeriod": "PT8H",
            "metadata": {"region": "emea", "tier": "gold"},
            "notifications": {"accountOwner": ["entitlement.expiring"], "customerAdmin": []},
        },
    )
    path = f"/v1/entitlements/{made['entitlementId']}"
    page = console.sign_in("admin", f"#/entitlements/{made['entitlementId']}/terms")
    page.get_by_role("button", name="Change", exact=True).click()
    dialog = page.get_by_role("dialog")
    for title in ("Leases, borrowing", "What overdraft costs", "Notices", "Notes of your own"):
        dialog.get_by_text(title).first.click()
    dialog.get_by_label("Longest lease of a borrowed seat").fill("P14D")
    dialog.get_by_label("Seats that may be borrowed").fill("2")
    dialog.get_by_label("Customer's own cap").fill("8")
    dialog.get_by_label("Price of overdraft").fill("12.50")
    dialog.get_by_label("Thresholds").fill("50, 90, 100")
    owner = dialog.get_by_role("group", name="E-mail to the account owner")
    expect(owner.get_by_label("Entitlement ends soon")).to_be_checked()
    owner.get_by_label("Seat denied").check()
    dialog.get_by_role("textbox", name="Notes of your own").fill("region: apac")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Changed: Initech.")).to_be_visible()
    kept = api.expect(200, "GET", path)
    assert (kept["maxLeasePeriod"], kept["maxBorrowedSeats"]) == ("P14D", 2)
    assert (kept["customerCap"], kept["thresholds"]) == (8, [50, 90, 100])
    assert kept["overdraftPrice"] == {
        "amount": "12.50",
        "currency": "USD",
        "basis": "peak_seats",
        "charge": "by_month",
        "minimum": None,
        "freeSeats": 0,
    }
    wanted = ["entitlement.expiring", "entitlement.seat.denied"]
    assert kept["notifications"] == {"accountOwner": wanted, "customerAdmin": []}
    assert kept["metadata"] == {"region": "apac"}
    changed = {
        "maxLeasePeriod",
        "maxBorrowedSeats",
        "customerCap",
        "thresholds",
        "overdraftPrice",
        "notifications",
        "metadata",
    }
    [entry] = [
        each
        for each in api.expect(200, "GET", f"{path}/changes")["items"]
        if each["type"] == "entitlement.updated"
    ]
    assert set(entry["changes"]) == changed
    page.get_by_role("button", name="Undo").click()
    wait_for(lambda: api.expect(200, "GET", path)["metadata"] == made["metadata"])
    restored = api.expect(200, "GET", path)
    assert {name: restored[name] for name in changed} == {name: made[name] for name in changed}


def test_notes_that_cannot_be_written_in_lines_stay_as_they_are(console: Console, api: Api) -> None:
    console.expected += ["400"]  # the preview of a cap that is none
    notes = {"a:b": "x", "note": " two\nlines "}
    body = {"product": "P", "customer": {"name": "Hooli"}, "seatCount": 3, "metadata": notes}
    made = api.expect(201, "POST", "/v1/entitlements", body)
    path = f"/v1/entitlements/{made['entitlementId']}"
    page = console.sign_in("admin", f"#/entitlements/{made['entitlementId']}/terms")
    page.get_by_role("button", name="Change", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Product").fill("Q")
    # What is not valid is shown, also where it was folded away.
    borrowing = dialog.get_by_text("Leases, borrowing")
    borrowing.click()
    dialog.get_by_label("Customer's own cap").fill("-3")
    borrowing.click()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_label("Customer's own cap")).to_be_visible()
    dialog.get_by_label("Customer's own cap").fill("")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    kept = api.expect(200, "GET", path)
    assert (kept["product"], kept["metadata"], kept["customerCap"]) == ("Q", notes, None)


def test_an_entitlement_of_usage_alone_is_made_in_the_form(console: Console, api: Api) -> None:
    page = console.sign_in("admin", "#/entitlements")
    page.get_by_role("button", name="New entitlement").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Customer", exact=True).fill("Umbrella")
    dialog.get_by_label("Product").fill("API")
    dialog.get_by_label("Seats purchased").fill("")
    dialog.get_by_text("A usage limit").click()
    limit = dialog.get_by_role("group", name="New limit")
    limit.get_by_label("Purchased").fill("500")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert")).to_contain_text("A usage limit needs a key")
    limit.get_by_label("Key").fill("calls")
    dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Umbrella")).to_be_visible()
    found = re.search(r"entitlements/(ent_\w+)", page.url)
    assert found
    made = api.expect(200, "GET", f"/v1/entitlements/{found[1]}")
    assert made["seatCount"] is None
    assert [(each["key"], each["limit"]) for each in made["usageLimits"]] == [("calls", 500)]


def test_a_preview_says_what_the_api_would_refuse(console: Console, over: Globex) -> None:
    console.expected += ["400"]
    page = console.sign_in("admin", f"#/entitlements/{over.id}/terms")
    page.get_by_role("button", name="Change", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Lease", exact=True).fill("soon")
    expect(dialog).to_contain_text("It would be refused: /leasePeriod")
    dialog.get_by_label("Lease", exact=True).fill("PT4H")
    expect(dialog).not_to_contain_text("It would be refused")


def test_an_event_is_followed_to_its_deliveries(console: Console, over: Globex, api: Api) -> None:
    hook = {"url": "http://127.0.0.1:9/hook", "eventTypes": ["entitlement.updated"]}
    webhook_id = api.expect(201, "POST", "/v1/webhooks", hook)["webhookId"]
    api.expect(200, "PATCH", over.path, {"seatCount": 4})
    wait_for(lambda: api.expect(200, "GET", f"/v1/webhooks/{webhook_id}/deliveries")["items"])
    page = console.sign_in("support", f"#/entitlements/{over.id}/messages")
    events = page.get_by_role("region", name="Events of the last 30 days")
    row = events.get_by_role("row").filter(has_text="Limits, status or validity changed").first
    row.get_by_role("button", name="Details").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("link", name="http://127.0.0.1:9/hook")).to_be_visible()
    expect(dialog.locator("pre")).to_contain_text('"seatCount": 4')
    dialog.get_by_role("link", name="http://127.0.0.1:9/hook").click()
    page.get_by_role("button", name="entitlement.updated").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("cannot connect")
    expect(page.get_by_role("dialog").locator("pre")).to_contain_text(over.id)
    api.expect(204, "DELETE", f"/v1/webhooks/{webhook_id}")


def test_settings_say_when_a_key_was_used_and_how_the_stack_was_deployed(
    console: Console, stack: Stack, api: Api
) -> None:
    made = api.expect(201, "POST", "/v1/api-keys", {"name": "nightly job", "scopes": ["report"]})
    page = console.sign_in("admin", "#/settings")
    row = page.get_by_role("row").filter(has_text=made["keyId"])
    expect(row.get_by_role("time")).to_have_count(1)
    Api(stack.api_url, f"Bearer {made['key']}").expect(200, "GET", "/v1/reports")
    page.reload()
    expect(row.get_by_role("time")).to_have_count(2)
    card = page.get_by_role("region", name="The stack")
    expect(card).to_contain_text("CREATE_COMPLETE")
    card.get_by_text(re.compile(r"\d+ parameters")).click()
    expect(card.get_by_role("row").filter(has_text="ConsoleIssuer")).to_contain_text(
        stack.parameters["ConsoleIssuer"]
    )
    expect(card.get_by_role("row").filter(has_text="BootstrapKeyHash")).to_contain_text("****")


class LastMonth(Past):
    """Three people on two purchased seats, for a day of the last month."""

    def _plan(self) -> Iterator[tuple[int, str, int, int]]:
        start = self.now_ms - (self._days - 2) * DAY_MS
        for person in range(3):
            yield start + person * 1_000, "come", person, 1
            yield start + 8 * HOUR_MS + person * 1_000, "go", person, 1


def sold_last_month(stack: Stack, api: Api, customer: str, amount: str) -> str:
    """The id of an entitlement whose overdraft of last month costs so much."""
    first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    month_before = (first - timedelta(days=1)).replace(day=1)
    days = -(-(now_ms() - int(month_before.timestamp()) * 1000) // DAY_MS)
    past = LastMonth(stack.emulator.url, stack.outputs["TableName"], now_ms(), days)
    past.create(
        customer={"name": customer, "externalId": None},
        timeZone="UTC",
        seatCount=2,
        usageLimits=[],
        overdraftPrice={
            "amount": amount,
            "currency": "EUR",
            "basis": "peak_seats",
            "charge": "by_month",
            "minimum": None,
            "freeSeats": 0,
        },
    )
    past.live()
    path = f"/v1/entitlements/{past.id}/true-up?period={month_before:%Y-%m}"

    def is_final() -> bool:
        found = api.expect(200, "GET", path)
        return bool(found["isFinal"] and [line["amount"] for line in found["lines"]] == [amount])

    wait_for(is_final, what=lambda: str(api.expect(200, "GET", path)))
    return past.id


def test_a_statement_is_decided_line_by_line(console: Console, stack: Stack, api: Api) -> None:
    run = f"Stark{int(time.time() * 10)}"
    first = sold_last_month(stack, api, f"{run} A <b>bold</b>", "12.50")
    second = sold_last_month(stack, api, f"{run} B", "30.00")

    def publish() -> Any:
        asked = api.expect(202, "POST", "/v1/true-ups", {"filters": {"product": run}})
        path = f"/v1/true-ups/{asked['trueUpId']}"
        wait_for(lambda: api.expect(200, "GET", path)["status"] == "published")
        return api.expect(200, "GET", path)

    for each in (first, second):
        api.expect(200, "PATCH", f"/v1/entitlements/{each}", {"product": run})
    statement = publish()
    page = console.sign_in("sales", f"#/reports/true-ups/{statement['trueUpId']}")
    totals = page.get_by_role("region", name="Totals")
    expect(totals.get_by_role("row", name="Undecided")).to_contain_text("€42.50")
    lines = page.get_by_role("region", name="Lines")
    row = lines.get_by_role("row", name=f"{run} A")
    expect(row).to_contain_text("€12.50")
    row.locator("summary").click()
    expect(row).to_contain_text("3 used of 2: 1 × EUR 12.50")
    row.get_by_role("button", name="Decide").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Decision").select_option("waived")
    dialog.get_by_label("Reason").fill("goodwill")
    dialog.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("Waived")
    expect(row).to_contain_text("Sam Sales")
    # The address has the filter; what the API lists is what is shown.
    lines.get_by_label("Decision").select_option("undecided")
    expect(lines.get_by_role("row", name=f"{run} B")).to_be_visible()
    expect(row).to_have_count(0)
    page.reload()
    expect(lines.get_by_label("Decision")).to_have_value("undecided")
    expect(row).to_have_count(0)
    lines.get_by_label("Decision").select_option("")
    # Two statements compared: what was decided between them.
    again = publish()
    go(page, f"#/reports/true-ups/{again['trueUpId']}")
    undecided = totals.get_by_role("row", name="Undecided").get_by_role("cell")
    expect(undecided).to_have_text(["€30.00", "€42.50"])
    expect(totals.get_by_label("Compare with")).to_have_value(statement["trueUpId"])
    expect(totals.get_by_role("row", name="Waived").get_by_role("cell")).to_have_text(
        ["€12.50", "€0.00"]
    )
    row.get_by_role("button", name="Decide").click()
    dialog.get_by_label("Decision").select_option("")
    dialog.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("Undecided")
    page.get_by_role("button", name="Undo").first.click()
    expect(row).to_contain_text("Waived")
    assert serious(page) == []
    # What somebody else has decided since stays.
    other = lines.get_by_role("row", name=f"{run} B")
    other.get_by_role("button", name="Decide").click()
    dialog.get_by_role("button", name="Save").click()
    expect(other).to_contain_text("Billed")
    lines_of = f"/v1/entitlements/{second}/true-up/lines/{statement['period']['month']}"
    theirs = {"decision": "disputed", "reason": "the customer calls"}
    api.expect(200, "PUT", f"{lines_of}.EUR.seats/decision", theirs)
    console.expected.append("412")
    page.get_by_role("button", name="Undo").first.click()
    expect(page.get_by_text("Somebody else has changed it")).to_be_visible()
    [decided] = api.expect(200, "GET", f"/v1/entitlements/{second}/true-up/decisions")["items"]
    assert decided["decision"]["decision"] == "disputed"


def test_a_page_that_could_not_be_fetched_is_fetched_again(console: Console) -> None:
    """Where the network fails, in the middle of a day: the console stays, and goes on by itself."""
    page = console.page(locale="de-DE")
    page.goto(console_link(console.api))
    expect(page.locator("#nav")).to_be_attached()
    console.expected += ["Failed to load", "ERR_", "dynamically imported"]
    page.context.set_offline(True)
    go(page, "#/webhooks")
    failed = page.get_by_text("ließ sich nicht laden")
    fetched = page.get_by_role("heading", name="Webhooks")
    expect(failed.or_(fetched).first).to_be_visible()
    page.context.set_offline(False)
    expect(fetched).to_be_visible()
    assert serious(page) == []


def test_usage_limits_are_changed_added_and_removed(console: Console, api: Api) -> None:
    timed = {"type": "percentage", "value": 20, "period": "P30D", "recovery": "P10D"}
    price = {"amount": "0.10", "currency": "EUR"}
    sold = Sold.make(
        api,
        usageLimits=[
            {"key": "exports", "limit": 100, "overdraftLimit": timed, "overdraftPrice": price},
            {"key": "calls", "limit": 5, "resetSchedule": "monthly"},
        ],
    )
    before = api.expect(200, "GET", sold.path)["usageLimits"]
    page = console.by_link(f"#/entitlements/{sold.id}/usage")
    page.get_by_role("button", name="Change the usage limits").click()
    dialog = page.get_by_role("dialog")
    exports = dialog.get_by_role("group", name="exports")
    exports.get_by_label("Purchased").fill("150")
    dialog.get_by_role("group", name="calls").get_by_label("Remove this limit").check()
    dialog.get_by_role("button", name="Add a limit").click()
    new = dialog.get_by_role("group", name="New limit")
    new.get_by_label("Key").fill("renders")
    new.get_by_label("Purchased").fill("7")
    new.get_by_label("Overdraft", exact=True).select_option("absolute")
    new.get_by_label("How much").fill("2")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    after = {each["key"]: each for each in api.expect(200, "GET", sold.path)["usageLimits"]}
    assert after["exports"] == {**before[0], "limit": 150, "hardCap": 180}
    assert set(after) == {"exports", "renders"}
    assert (after["renders"]["limit"], after["renders"]["hardCap"]) == (7, 9)
    page.get_by_role("button", name="Undo").click()
    wait_for(lambda: api.expect(200, "GET", sold.path)["usageLimits"] == before)


def test_a_person_is_erased_after_a_question(console: Console, over: Globex, api: Api) -> None:
    page = console.by_link(f"#/entitlements/{over.id}/people")
    page.get_by_role("button", name="Ann").click()
    page.get_by_role("button", name="Erase this person").click()
    question = page.get_by_role("dialog", name="Erase this person's data?")
    expect(question).to_contain_text("It cannot be undone")
    question.get_by_role("button", name="Erase this person").click()
    expect(page.get_by_text("The person's data is erased.")).to_be_visible()
    seats = api.expect(200, "GET", f"{over.path}/seats")["items"]
    assert sum(each["erasedAt"] is not None for each in seats) == 1
    assert "ann@globex.example" not in json.dumps(seats)


def test_a_card_that_somebody_else_has_moved_is_not_moved_again(
    console: Console, over: Globex, api: Api
) -> None:
    page = console.by_link("#/follow-ups")
    card = page.locator(f"#card-{over.id}")
    expect(card).to_be_visible()
    api.expect(200, "PATCH", f"{over.path}/follow-up", {"state": "quoted", "owner": "Bob"})
    console.expected.append("412")
    card.focus()
    page.keyboard.press("Alt+ArrowRight")
    expect(page.get_by_role("alert")).to_contain_text("Somebody else has changed it")
    expect(page.get_by_role("region", name="Quoted").locator(f"#card-{over.id}")).to_be_visible()
    assert api.expect(200, "GET", f"{over.path}/follow-up")["owner"] == "Bob"


@pytest.mark.parametrize("place", ["#/%", "#/entitlements/%E0%A4%A", "#//", "#/nothing"])
def test_an_address_that_is_none_is_no_blank_page(console: Console, place: str) -> None:
    console.expected.append("404")
    page = console.by_link()
    go(page, place)
    expect(page.locator("main")).not_to_be_empty()
    page.reload()
    expect(page.locator("main")).not_to_be_empty()


def test_entitlements_are_found_as_one_types_and_filters_live_in_the_address(
    console: Console, over: Globex
) -> None:
    page = console.by_link("#/entitlements")
    box = page.locator("#search")
    for typed in (
        over.name.lower(),
        f"4711-{over.name[6:]}",
        "gerda@globex.example",
        "dan@globex.example",
    ):
        box.fill(typed)
        expect(page).to_have_url(re.compile(f"search={typed[:2]}"))
        expect(page.locator(".list-row").filter(has_text=over.name).first).to_be_visible()
    page.locator(".list-row", has_text=over.name).locator("a").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(over.name)
    page.go_back()
    expect(box).to_have_value("dan@globex.example")
    box.fill("")
    page.get_by_label("Order").select_option("over")
    expect(page).to_have_url(re.compile("overdraft=true"))
    expect(page.locator(".list-row").filter(has_text=over.name).first).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    text = saved.value.path().read_text("utf-8-sig")
    assert over.name in text
    assert f",{over.price}," in text


def test_the_palette_leads_everywhere_by_keyboard(console: Console, over: Globex) -> None:
    page = console.by_link()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.type("webh")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Webhooks")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.type(over.name)
    expect(
        page.get_by_role("option", name=re.compile(f"{over.name} · CAD Pro")).first
    ).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(over.name)


def test_hostile_names_are_text_everywhere(console: Console, api: Api) -> None:
    sold = Sold.make(
        api,
        customer={"name": HOSTILE[1]},
        product=HOSTILE[0],
        contacts={"customerAdmin": {"name": HOSTILE[0], "email": "x@y.example"}},
        seatCount=len(HOSTILE),
    )
    for number, name in enumerate(HOSTILE):
        sold.take(f"hostile{number}@x.example", seatName=name[:120])
    api.expect(200, "PATCH", f"{sold.path}/follow-up", {"owner": HOSTILE[1], "note": HOSTILE[0]})
    page = console.by_link(f"#/entitlements/{sold.id}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("<img src=x")
    for place in ("people", "terms", "follow-up"):
        go(page, f"#/entitlements/{sold.id}/{place}")
        expect(page.locator(".ghost")).to_have_count(0)
    go(page, "#/follow-ups")
    expect(page.locator(f"#card-{sold.id}")).to_contain_text("<img src=x")
    go(page, "#/entitlements?search=img")
    expect(page.locator(".list-row").first).to_contain_text("<img src=x")
    assert "pwned" not in page.title()
    assert page.locator("img").count() == 0


def test_a_page_goes_on_after_the_network_was_away(console: Console, over: Globex) -> None:
    console.expected += ["ERR_INTERNET_DISCONNECTED", "Failed to load"]
    page = console.by_link(f"#/entitlements/{over.id}/people")
    expect(page.get_by_role("row")).to_have_count(4)
    page.context.set_offline(True)
    expect(page.get_by_text("You are offline")).to_be_visible()
    expect(page.get_by_text("The service cannot be reached").first).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(4)
    over.license.expect(200, "POST", f"{over.path}/seats/release", {"seatId": "cid@globex.example"})
    page.context.set_offline(False)
    expect(page.get_by_role("row")).to_have_count(3)
    expect(page.get_by_text("You are offline")).to_have_count(0)


def test_a_long_list_draws_what_is_seen(console: Console) -> None:
    """Two thousand rows, answered by pages as the service answers them."""
    page = console.by_link()
    [one] = console.api.expect(200, "GET", "/v1/entitlements?limit=1")["items"]

    def answer(route: Route) -> None:
        found = re.search(r"pageToken=(\d+)", route.request.url)
        start = int(found[1]) if found else 0
        items = [
            {**one, "entitlementId": f"ent_{n}", "customer": {"name": f"Customer {n}"}}
            for n in range(start, start + 100)
        ]
        token = str(start + 100) if start + 100 < 2_000 else None
        route.fulfill(json={"items": items, "nextPageToken": token})

    page.route(re.compile(r"/v1/entitlements\?"), answer)
    go(page, "#/entitlements")
    expect(page.locator(".list-row").first).to_contain_text("Customer 0")
    box = page.locator(".list")

    def is_at_the_end() -> bool:
        box.evaluate("box => box.scrollTo(0, box.scrollHeight)")
        return page.get_by_text("Customer 1999", exact=True).count() == 1

    wait_for(is_at_the_end)
    assert page.locator(".list-row").count() < 60
    expect(page.get_by_text("2,000 entitlements")).to_be_visible()


# --- How it looks ----------------------------------------------------------------------------------------

PAGES = {
    "today": "#/today",
    "entitlements": "#/entitlements",
    "overview": "#/entitlements/{id}",
    "people": "#/entitlements/{id}/people",
    "denials": "#/entitlements/{id}/denials",
    "terms": "#/entitlements/{id}/terms",
    "messages": "#/entitlements/{id}/messages",
    "follow-up": "#/entitlements/{id}/follow-up",
    "access": "#/entitlements/{id}/access",
    "why": "#/why?entitlement={id}&seatId=dan%40globex.example",
    "board": "#/follow-ups",
    "reports": "#/reports",
    "webhooks": "#/webhooks",
    "settings": "#/settings",
}
NARROW: dict[str, Any] = {"viewport": {"width": 320, "height": 640}}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "phone-dark": {**PHONE, "color_scheme": "dark"},
    "narrow-german": {**NARROW, "locale": "de-DE"},
}


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_whole_and_axe_finds_nothing_serious(
    console: Console, over: Globex, look: str
) -> None:
    page = console.by_link(**LOOKS[look])
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    problems: dict[str, Any] = {}
    for name, place in PAGES.items():
        go(page, place.format(id=over.id))
        expect(page.locator("h1").first).to_be_visible()
        expect(page.locator(".ghost")).to_have_count(0)
        found = serious(page)
        width = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        if found or width > 0:
            problems[name] = (width, found)
        page.screenshot(path=SCREENSHOTS / f"console-{name}-{look}.png", full_page=True)
    assert problems == {}


def test_the_other_language_and_the_other_direction(console: Console, over: Globex) -> None:
    page = console.by_link(locale="de-DE")
    assert names(page)[:2] == ["Heute", "Berechtigungen"]
    region = page.get_by_role("region", name="Zuerst anrufen")
    expect(region).to_contain_text(f"{over.price:,}".replace(",", "."))
    # Written from right to left, nothing is cut off.
    page.evaluate("() => { document.dir = 'rtl'; }")
    for place in ("#/today", f"#/entitlements/{over.id}", "#/follow-ups"):
        go(page, place)
        expect(page.locator(".ghost")).to_have_count(0)
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
