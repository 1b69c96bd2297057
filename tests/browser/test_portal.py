"""The portal in a real browser: what it draws is what the API says, and it holds in every state."""

import csv
import io
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from overdraft import Overdraft
from overdraft.vendor import Vendor
from playwright.sync_api import Browser, Page, expect

from local import demo
from local.api import Api
from local.run import DEMO_ENTITLEMENT
from local.seed_history import Past
from local.stack import VENDOR, Stack
from shared.clock import from_rfc3339, now_ms
from shared.texts import TURNING, wrong_id
from tests.browser.conftest import DESKTOP, PHONE, SCREENSHOTS, Open, Sold, choose, drawn
from tests.support.waiting import wait_for
from tools import ROOT

AXE = ROOT / "functions/portal/web/node_modules/axe-core/axe.min.js"
QUARTER = 900
HOSTILE = [
    "<script>document.title='pwned'</script>",
    "<img src=x onerror=document.title='pwned'>",
    "\u202egnp.exe",
    "\u200f\u200fשלום",
    "a" * 256,
    "👩‍💻🏳️‍🌈",
    "'; DROP TABLE seats; --",
    "=1+1",
    "{{7*7}}",
    "&lt;b&gt;",
    "＝1+1",
    "\u200b=1+1",
]


# --- What is drawn ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_day(api: Api, stack: Stack) -> Iterator[tuple[Sold, demo.Day]]:
    """The demo's day, lived through more quickly."""
    body = {**DEMO_ENTITLEMENT, "leasePeriod": "PT1H"}
    sold = Sold(api, api.expect(201, "POST", "/v1/entitlements", body)["entitlementId"])
    vendor = Vendor(stack.api_url, stack.bootstrap_key, retry=demo.RETRY)
    client = Overdraft(
        stack.api_url, sold.license_key, stores=False, offline="deny", retry=demo.RETRY
    )
    day = demo.Day(vendor, client, sold.id)
    kept, demo.SECONDS_PER_HOUR = demo.SECONDS_PER_HOUR, 2.0
    try:
        for _ in day.run():
            pass
    finally:
        demo.SECONDS_PER_HOUR = kept
    sold.wait_for_history(len(day.holders), day.counted["denied"])
    yield sold, day
    client.close()


def test_the_demo_s_day_is_drawn_as_the_api_tells_it(
    demo_day: tuple[Sold, demo.Day], open_page: Open
) -> None:
    sold, day = demo_day
    page = open_page(sold.link()["url"])
    columns = drawn(page)
    result = sold.history("interval=15m&limit=100")
    for each in result:
        start, end = from_rfc3339(each["from"]), from_rfc3339(each["to"])
        values = {
            (used, purchased, cap)
            for at, used, purchased, cap, *_ in zip(*columns.values(), strict=True)
            if start <= at < end and at < columns["x"][-1]
        }
        assert {used for used, _, _ in values} - {None} <= {each["highest"]}
        drawn_limits = {(purchased, cap) for _, purchased, cap in values if purchased is not None}
        assert drawn_limits <= {(limit["purchased"], limit["hardCap"]) for limit in each["limits"]}
    assert max(used or 0 for used in columns["used"]) == max(each["highest"] for each in result)
    # The step at which more was bought is drawn when it was.
    changes = {limit["from"]: limit["purchased"] for each in result for limit in each["limits"]}
    bought = min(at for at, purchased in changes.items() if purchased == day.purchased)
    position = columns["purchased"].index(day.purchased)
    assert abs(columns["x"][position] - from_rfc3339(bought)) <= 1
    # Who was turned away, as the clients counted it themselves.
    people, attempts = len(day.turned_away), day.counted["denied"]
    expect(page.locator("#denied")).to_contain_text(f"{people} people were turned away")
    expect(page.locator("#denied")).to_contain_text(f"({attempts} attempts)")
    expect(page.locator("#headline")).to_contain_text("turned away")
    shown = page.locator("#denials tbody").nth(1).locator("tr")
    assert shown.count() == people
    numbers = [int(text) for text in shown.locator("td.n").all_inner_texts()]
    assert sum(numbers) == attempts
    expect(page.locator("#state")).to_contain_text(f"{len(day.holders)} of {day.purchased} seats")


def test_pixels_are_where_the_values_are(past: Sold, open_page: Open) -> None:
    """The line is read back from the canvas itself."""
    page = open_page(past.link()["url"], fails="willReadFrequently")
    choose(page, "30 days")
    columns = drawn(page)
    looked = page.evaluate("""() => {
      const { plot, drawn } = document.getElementById('plot');
      const accent = getComputedStyle(document.documentElement).getPropertyValue('--accent');
      const wanted = accent.match(/\\d+/g).map(Number);
      const found = [];
      for (let n = 0; n + 1 < drawn.x.length; n++) {
        const middle = (drawn.x[n] + drawn.x[n + 1]) / 2;
        const x = Math.round(plot.valToPos(middle, 'x', true));
        if (!drawn.used[n] || x < plot.bbox.left + 2) continue;
        const y = Math.round(plot.valToPos(drawn.used[n], 'y', true));
        const pixels = plot.ctx.getImageData(x, y - 2, 1, 5).data;
        const near = [0, 1, 2, 3, 4].some((p) =>
          wanted.every((part, c) => Math.abs(pixels[p * 4 + c] - part) < 60));
        found.push([n, near]);
      }
      return found;
    }""")
    assert len(looked) > 100
    missed = [n for n, is_near in looked if not is_near]
    # Where the purchased or the cap's line lies on it, it hides a part of it.
    assert not [
        n
        for n in missed
        if columns["used"][n] not in (columns["purchased"][n], columns["hardCap"][n])
    ]


@pytest.mark.parametrize(
    ("title", "interval", "count"),
    [("24 hours", "15m", 97), ("7 days", "hour", 169), ("30 days", "hour", 721)],
)
def test_every_range_agrees_with_the_history(
    past: Sold, open_page: Open, title: str, interval: str, count: int
) -> None:
    page = open_page(past.link()["url"])
    choose(page, title)
    columns = drawn(page)
    # Hours begin with a day.
    assert len(columns["x"]) <= count + 24 + 3
    first, last = columns["x"][0], columns["x"][-1]
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(first))
    result: dict[int, int] = {}
    token = ""
    while True:
        answer = past.api.expect(
            200,
            "GET",
            f"{past.path}/usage-history?interval={interval}&limit=100&from={since}{token}",
        )
        result |= {from_rfc3339(each["from"]): each["highest"] for each in answer["items"]}
        if not answer["nextPageToken"]:
            break
        token = f"&pageToken={answer['nextPageToken']}"
    compared = [
        (at, used)
        for at, used in zip(columns["x"], columns["used"], strict=True)
        if at in result and at < last
    ]
    assert len(compared) >= count - 5
    assert all(result[at] == used for at, used in compared)


def test_a_year_is_drawn_by_day(past: Sold, open_page: Open) -> None:
    page = open_page(past.link()["url"])
    choose(page, "12 months")
    columns = drawn(page)
    assert len(columns["x"]) <= 370
    assert columns["used"][0] is None, "nothing is known of the time before"
    highest = max(used or 0 for used in columns["used"])
    days = past.history("interval=day&limit=100&from=2026-01-01T00:00:00Z")
    assert highest == max(each["highest"] for each in days)


def test_a_year_on_a_phone_is_drawn_by_week(past: Sold, open_page: Open) -> None:
    """A day has less than two pixels there: what is drawn is the highest of each week."""
    page = open_page(past.link()["url"], **PHONE)
    choose(page, "12 months")
    columns = drawn(page)
    assert len(columns["x"]) <= 60
    days = past.history("interval=day&limit=100&from=2026-01-01T00:00:00Z")
    used = [value for value in columns["used"] if value is not None]
    assert max(used) == max(each["highest"] for each in days)
    # No week falls to zero at its end, as each day does.
    assert sum(value == 0 for value in used) <= 2


def test_the_readout_zoom_and_keys(past: Sold, open_page: Open) -> None:
    page = open_page(past.link()["url"])
    choose(page, "30 days")
    drawn(page)
    readout = page.locator("#readout")
    expect(readout).to_contain_text("up to")
    page.locator(".legend").scroll_into_view_if_needed()
    box = page.locator("#plot .u-over").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2)
    expect(readout).to_contain_text("in use")
    expect(readout).to_contain_text("purchased")
    # Dragging zooms, and reads finer intervals.
    begin, end = box["x"] + box["width"] * 0.5, box["x"] + box["width"] * 0.53
    page.mouse.move(begin, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(end, box["y"] + 60, steps=5)
    page.mouse.up()
    page.wait_for_function(
        "() => { const { drawn } = document.getElementById('plot');"
        " return drawn && drawn.x.at(-1) - drawn.x[0] < 2 * 86400 }"
    )
    columns = drawn(page)
    steps = {b - a for a, b in zip(columns["x"], columns["x"][1:], strict=False)}
    assert QUARTER in steps
    page.locator("#plot").focus()
    page.keyboard.press("ArrowLeft")
    first = readout.inner_text()
    page.keyboard.press("ArrowLeft")
    expect(readout).not_to_have_text(first)
    page.get_by_role("button", name="Zoom out").click()
    page.wait_for_function(
        "() => { const { drawn } = document.getElementById('plot');"
        " return drawn.x.at(-1) - drawn.x[0] > 1.5 * 86400 * 0.9 * 0.5 }"
    )
    choose(page, "7 days")
    page.get_by_text("As a table").click()
    expect(page.locator(".as-table tbody tr").nth(150)).to_be_attached()


def test_what_was_used_before_more_was_bought_is_no_overdraft(
    api: Api, stack: Stack, open_page: Open
) -> None:
    """In a day in which limits changed, each part is drawn against its own."""
    lived = Past(stack.emulator.url, stack.outputs["TableName"], now_ms(), 9)
    lived.create()
    lived.live()
    lived.wait_for_history(api)
    sold = Sold(api, lived.id)
    used = api.expect(200, "GET", sold.path)["seats"]["used"]
    api.expect(200, "PATCH", sold.path, {"seatCount": 60})
    for number in range(30):
        sold.take(f"late{number}")
    sold.wait_for_history(
        used + 30, sum(at >= lived.now_ms - 30 * 86_400_000 for at in lived.denied)
    )
    page = open_page(sold.link()["url"])
    for title in ("12 months", "30 days"):
        choose(page, title)
        columns = drawn(page)
        page.wait_for_function(
            "() => document.getElementById('plot').drawn.purchased.at(-1) === 60"
        )
        rows = list(zip(*drawn(page).values(), strict=True))
        before = [row for row in rows if row[2] == 12 and row[1] is not None]
        assert before
        # The quarter-hour of the change itself is one, whatever was bought within it.
        assert sum(used > cap for _, used, _, cap, *_ in before) <= 1, title
        # By day it depends on the hour whether they were in overdraft when they bought more.
        shaded = [row for row in before if row[1] > row[3] and row[4]]
        assert len(shaded) <= int(used > 12), "shaded as overdraft"
        assert max(row[1] or 0 for row in rows) == used + 30
        assert len(columns["isOver"]) == len(columns["x"])


def test_usage_limits_have_a_graph_and_a_forecast(past: Sold, open_page: Open) -> None:
    page = open_page(past.link()["url"])
    expect(page.locator("[data-key=exports]")).to_contain_text("Purchased")
    expect(page.locator("[data-forecast=exports]")).to_contain_text("a week")
    page.locator("#meter").select_option("exports")
    page.wait_for_selector("#plot:not([aria-busy])")
    choose(page, "30 days")
    result = past.history("interval=hour&limit=100&usageKey=exports")
    assert max(used or 0 for used in drawn(page)["used"]) >= max(each["highest"] for each in result)
    expect(page.locator("#forecast")).to_contain_text("a week")


# --- Live, and what may be done ---------------------------------------------------------------------


def test_an_activation_shows_without_a_reload(api: Api, open_page: Open) -> None:
    sold = Sold.make(api)
    page = open_page(sold.link()["url"])
    expect(page.locator("#state")).to_have_text("0 of 2 seats are in use.")
    expect(page.locator("#holders")).to_contain_text("Nobody holds a seat.")
    for seat_id in ("a", "b", "c"):
        sold.take(seat_id)
    expect(page.locator("#state")).to_have_text(
        "All 3 seats are in use, 1 more than the 2 you bought. Nobody else can get one.",
        timeout=15_000,
    )
    expect(page.locator("#holders tbody tr")).to_have_count(3, timeout=15_000)
    page.wait_for_function("() => document.getElementById('plot').drawn?.used.at(-1) === 3")
    sold.take("d", 409)
    expect(page.locator("#denied")).to_contain_text("1 person was turned away", timeout=15_000)
    page.wait_for_function(
        "() => document.querySelector('#readout').textContent.includes('1 attempt was denied')"
    )


def test_an_admin_releases_a_seat_after_a_question(api: Api, open_page: Open) -> None:
    sold = Sold.make(api)
    sold.take("alice@acme.com", seatName="Alice")
    sold.take("bob@acme.com")
    page = open_page(sold.link("admin")["url"])
    release = page.get_by_role("button", name="Release the seat of Alice")
    release.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The seat of Alice becomes free")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert api.expect(200, "GET", sold.path)["seats"]["used"] == 2, "it was only a question"
    release.click()
    page.get_by_role("dialog").get_by_role("button", name="Release this seat").click()
    expect(dialog).to_contain_text("The seat was released.")
    page.keyboard.press("Enter")
    expect(page.locator("#holders tbody tr")).to_have_count(1, timeout=15_000)
    expect(page.locator("#state")).to_have_text("1 of 2 seats are in use.", timeout=15_000)
    held = api.expect(200, "GET", f"{sold.path}/activations")["items"]
    assert [each["seatId"] for each in held] == ["bob@acme.com"]


def test_a_viewer_has_no_button(api: Api, open_page: Open) -> None:
    sold = Sold.make(api)
    taken = sold.take("a")
    page = open_page(sold.link("viewer")["url"], fails="403")
    expect(page.locator("#holders tbody tr")).to_have_count(1)
    expect(page.get_by_role("button", name="Release")).to_have_count(0)
    status = page.evaluate(
        """async ([path]) => (await fetch(path, {method: 'DELETE',
             headers: {authorization: 'Portal ' + location.hash.slice(1)}})).status""",
        [f"v1/entitlements/{sold.id}/activations/{taken['activationId']}"],
    )
    assert status == 403, "nor may they without the page"


def test_more_seats_are_asked_for(api: Api, open_page: Open) -> None:
    sold = Sold.make(api, contacts={"accountOwner": {"name": "Bo", "email": "bo@v.example"}})
    page = open_page(sold.link()["url"])
    page.get_by_role("button", name="Request more seats").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("We'll notify Bo, your account manager.")
    page.get_by_label("How many more?").fill("25")
    page.get_by_label("Your name or e-mail").fill("Ann <b>")
    page.get_by_label("Message").fill("Two new teams.\nFrom Monday.")
    dialog.get_by_role("button", name="Request more seats").click()
    expect(dialog).to_contain_text("Bo has been notified and will answer you.")
    [asked] = api.expect(200, "GET", f"{sold.path}/seat-requests")["items"]
    assert (asked["seats"], asked["message"]) == (25, "Two new teams.\nFrom Monday.")
    dialog.get_by_role("button", name="Close").click()
    # The button was drawn anew meanwhile: the focus is on it all the same.
    page.wait_for_function("() => document.activeElement.id == 'ask'")
    shown = page.locator("#requests")
    expect(shown).to_contain_text("Ann <b> requested 25 more seats")
    expect(shown).to_contain_text("not answered yet")
    path = f"{sold.path}/seat-requests/{asked['requestId']}"
    api.expect(200, "PATCH", path, {"status": "answered", "note": "A quote is on its way."})
    page.reload()
    expect(page.locator("#requests")).to_contain_text("answered. A quote is on its way.")


# --- Hostile and many -------------------------------------------------------------------------------


def test_an_admin_sets_the_customer_s_own_cap(api: Api, open_page: Open) -> None:
    sold = Sold.make(
        api, usageLimits=[{"key": "exports", "limit": 10, "overdraftLimit": {"type": "none"}}]
    )
    sold.take("alice")
    page = open_page(sold.link("admin")["url"])
    page.locator("#cap").click()
    cap = page.get_by_label("Cap (empty: no cap of our own)")
    expect(cap).to_have_value("")
    cap.fill("1")
    page.get_by_role("dialog").get_by_role("button", name="Set our own cap").click()
    expect(page.get_by_role("dialog")).to_contain_text("The cap is 1 now.")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#state")).to_contain_text(
        "1 seat is in use: the cap that your organization has set. Nobody else can get one."
    )
    sold.take("bob", 409)
    page.get_by_role("button", name="Set our own cap of exports").click()
    page.get_by_label("Cap (empty: no cap of our own)").fill("4")
    page.get_by_role("dialog").get_by_role("button", name="Set our own cap of exports").click()
    page.get_by_role("button", name="Close").click()
    expect(page.locator('[data-key="exports"]')).to_contain_text("has set a cap of 4")
    page.locator("#cap").click()
    expect(page.get_by_label("Cap (empty: no cap of our own)")).to_have_value("1")
    page.get_by_label("Cap (empty: no cap of our own)").fill("")
    page.get_by_role("dialog").get_by_role("button", name="Set our own cap").click()
    expect(page.get_by_role("dialog")).to_contain_text("There is no cap of your own now.")
    page.get_by_role("button", name="Close").click()
    sold.take("bob")
    viewer = open_page(sold.link()["url"])
    expect(viewer.locator("#room")).to_be_visible()
    expect(viewer.locator("#cap")).to_have_count(0)


def test_how_long_an_overdraft_may_last_and_that_it_has_ended(api: Api, open_page: Open) -> None:
    timed = {"type": "absolute", "value": 2, "period": "PT1M", "recovery": "PT1M"}
    sold = Sold.make(api, overdraftSeatLimit=timed)
    for name in ("alice", "bob", "carol"):
        sold.take(name)
    page = open_page(sold.link()["url"])
    expect(page.locator("#room")).to_contain_text("You may use more than you bought until")
    expect(page.locator("#room")).to_contain_text(
        "The time for using more than you bought ended on", timeout=120_000
    )
    expect(page.locator(".badge")).to_have_text("Full")
    sold.take("dave", 409)


PRICED: dict[str, Any] = {
    "seatCount": 2,
    "overdraftSeatLimit": {"type": "absolute", "value": 3},
    "overdraftPrice": {"amount": "12.50", "currency": "EUR", "basis": "peak_seats"},
    "usageLimits": [
        {
            "key": "exports",
            "limit": 10,
            "overdraftLimit": {"type": "unlimited"},
            "resetSchedule": "monthly",
            "overdraftPrice": {"amount": "1333", "currency": "JPY"},
        }
    ],
    "validFrom": "2026-09-01",
}


def test_what_overdraft_costs(api: Api, open_page: Open) -> None:
    """Four of two seats: two above, 12.50 each. Three exports above, 1,333 yen each."""
    sold = Sold.make(api, **PRICED, showCharges=True)
    for number in range(4):
        sold.take(f"u{number}@acme.example")
    headers = {"idempotency-key": "thirteen"}
    used = api.call("POST", f"{sold.path}/usage/exports", {"quantity": 13}, headers=headers)
    assert used.status == 200

    def costs() -> set[str]:
        lines = api.expect(200, "GET", f"{sold.path}/true-up")["lines"]
        return {line["amount"] for line in lines}

    wait_for(lambda: costs() == {"25.00", "3999"})
    page = open_page(sold.link()["url"], viewport={"width": 390, "height": 900})
    card = page.locator("#charges")
    expect(card.locator(".limit h3")).to_have_text(["Seats: €25.00", "exports: JP¥3,999"])
    expect(card).to_contain_text("4 used, 2 bought: 2\u00a0×\u00a0€12.50\u00a0×\u00a0")
    expect(card).to_contain_text("the amounts may change")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    # The months before: nothing was used.
    card.locator("select").select_option(index=1)
    expect(card.locator(".strong").first).to_contain_text("costs nothing.")
    german = open_page(sold.link()["url"], locale="de-DE")
    expect(german.locator("#charges .limit h3").first).to_have_text("Plätze: 25,00\u00a0€")


def test_no_price_is_shown_unless_the_vendor_wants_it(api: Api, open_page: Open) -> None:
    page = open_page(Sold.make(api, **PRICED).link()["url"])
    expect(page.locator("#state")).to_be_visible()
    assert page.locator("#charges").count() == 0
    assert "12.50" not in page.inner_text("body")


def test_hostile_names_are_text(api: Api, open_page: Open) -> None:
    sold = Sold.make(
        api, seatCount=20, product="<b>CAD</b>", customer={"name": "<img src=x onerror=alert(1)>"}
    )
    # An id that looks like another is refused: then it is a name alone.
    ids = {
        name: f"person-{number}" if wrong_id(name) else name for number, name in enumerate(HOSTILE)
    }
    assert len(set(ids.values()) - set(HOSTILE)) == 3
    for name in HOSTILE:
        sold.take(ids[name], seatName=name[:60])
    page = open_page(sold.link("admin")["url"])
    # A name comes with the stream, a moment after the seat.
    named = page.locator("#holders tbody tr:has(.quoted)")
    expect(named).to_have_count(len(HOSTILE), timeout=15_000)
    texts = page.locator("#holders .quoted").all_text_contents()
    for name in HOSTILE:
        assert TURNING.sub("", name[:60]) in texts
        assert ids[name] in texts
    assert page.locator("h1").inner_text() == "<b>CAD</b>"
    assert page.locator("main img, main script").count() == 0
    assert "pwned" not in page.title()
    width = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert width <= 0, "nothing is pushed out of the page"
    with page.expect_download() as started:
        page.locator("#holders").get_by_role("button", name="CSV").click()
    content = started.value.path().read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert {row["seatId"].replace("'", "") for row in rows} == {
        seat_id.replace("'", "") for seat_id in ids.values()
    }
    assert not [row for row in rows if row["seatId"].lstrip("\u200b\u202e")[0] in "=+-@＝"]


@pytest.mark.parametrize("tag", ["en-US@posix", "C", "tr-TR", "ar-EG", "th-TH-u-ca-buddhist", None])
def test_whatever_the_browser_says_of_its_language(
    api: Api, browser: Browser, tag: str | None
) -> None:
    """Some name no language, or one that is none: the page is there all the same."""
    sold = Sold.make(api, seatCount=20)
    sold.take("INFO@acme.com", seatName="Info")
    context = browser.new_context(**DESKTOP)
    try:
        named = "[]" if tag is None else json.dumps([tag])
        context.add_init_script(
            f"Object.defineProperty(navigator, 'languages', {{get: () => {named}}});"
        )
        page = context.new_page()
        page.goto(sold.link()["url"])
        page.wait_for_selector("#state")
        rows = page.locator("#holders tbody tr")
        expect(rows).to_have_count(1, timeout=60_000)
        for typed in ("INFO", "info"):
            page.locator("#search").fill(typed)
            expect(rows).to_have_count(1)
    finally:
        context.close()


@pytest.mark.parametrize(
    ("limit", "locale", "look"),
    [
        (9, "en-GB", DESKTOP),
        (1_000_000, "en-US", PHONE),
        (1_000_000, "de-DE", DESKTOP),
        (1_234_567, "ar-EG", PHONE),
        (10**12, "hi-IN", DESKTOP),
        (10**12, "fr-FR", PHONE),
    ],
)
def test_the_axis_has_room_for_its_numbers(
    api: Api, open_page: Open, limit: int, locale: str, look: dict[str, Any]
) -> None:
    """Each label is as wide as it is, and says what its line stands for."""
    overdraft = {"type": "percentage", "value": 1000 if limit == 10**12 else 20}
    usage = [{"key": "calls", "limit": limit, "overdraftLimit": overdraft}]
    body = {"product": "P", "customer": {"name": "C"}, "seatCount": None, "usageLimits": usage}
    sold = Sold(api, api.expect(201, "POST", "/v1/entitlements", body)["entitlementId"])
    answer = sold.license.call(
        "POST",
        f"{sold.path}/usage/calls",
        {"quantity": min(limit, 10**9)},
        headers={"idempotency-key": "a"},
    )
    assert answer.status == 200, answer.body
    wait_for(lambda: sold.history("interval=day&usageKey=calls"))
    page = open_page(sold.link()["url"], **{**look, "locale": locale})
    page.wait_for_function("() => document.getElementById('plot').plot")
    result = page.evaluate("""() => {
        const plot = document.getElementById('plot').plot;
        const axis = plot.axes[1];
        const ruler = document.createElement('canvas').getContext('2d');
        ruler.font = axis.font[0].replace(/([\\d.]+)px/, (_, n) => `${n / devicePixelRatio}px`);
        const widths = axis._values.map((text) => ruler.measureText(text).width);
        const nf = new Intl.NumberFormat(document.documentElement.lang);
        const cf = new Intl.NumberFormat(document.documentElement.lang,
            {notation: 'compact', maximumSignificantDigits: 4});
        return {size: axis._size, widest: Math.max(...widths), splits: axis._splits,
            values: axis._values, whole: axis._splits.map((n) => nf.format(n)),
            brief: axis._splits.map((n) => cf.format(n)), room: plot.width / 4};
    }""")
    assert len(result["splits"]) >= 3, "there is an axis"
    assert result["splits"][-1] <= limit * 11 * 1.15
    assert result["values"] in (result["whole"], result["brief"])
    assert result["widest"] + 5 <= result["size"], "no label is cut off"


def test_128_holders_are_searched(api: Api, open_page: Open) -> None:
    sold = Sold.make(api, seatCount=120, overdraftSeatLimit={"type": "absolute", "value": 8})
    for number in range(128):
        sold.take(
            f"user{number:03d}@acme.com",
            seatName=f"Person {number:03d}",
            attributes={"device": f"pc-{number % 7}"},
        )
    page = open_page(sold.link()["url"])
    rows = page.locator("#holders tbody tr")
    expect(rows).to_have_count(25, timeout=20_000)
    page.get_by_role("button", name="Show all 128").click()
    expect(rows).to_have_count(128)
    assert page.locator("#holders .tag.over").count() == 8
    page.locator("#search").fill("person 04")
    expect(rows).to_have_count(10)
    page.locator("#search").fill("PC-3")
    expect(rows).to_have_count(18)
    page.locator("#search").fill("nobody")
    expect(page.locator("#holders")).to_contain_text("Nobody matches.")


# --- States -----------------------------------------------------------------------------------------


def expire(stack: Stack, link: dict[str, Any]) -> None:
    """Put the end of a link before now; nobody has opened it yet."""
    stack.client("dynamodb").update_item(
        TableName=stack.outputs["TableName"],
        Key={"pk": {"S": f"KEY#{link['linkId']}"}, "sk": {"S": "KEY"}},
        UpdateExpression="SET expiresAt = :past",
        ExpressionAttributeValues={":past": {"N": str(int(time.time()) - 1)}},
    )


def test_links_that_open_nothing(api: Api, stack: Stack, open_page: Open) -> None:
    sold = Sold.make(api)
    expired, revoked = sold.link(), sold.link()
    expire(stack, expired)
    assert api.call("DELETE", f"{sold.path}/portal-links/{revoked['linkId']}").status == 204
    for url, title in (
        (expired["url"], "This link has expired"),
        (revoked["url"], "This link does not work"),
        (expired["url"].partition("#")[0], "Open the link that you were sent"),
        (expired["url"].rpartition(".")[0], "This link does not work"),
    ):
        page = open_page(url, fails="401", state=False)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        assert page.locator("#state").count() == 0
    expect(page.get_by_text(f"Ask {VENDOR} for a new one.")).to_be_visible()


def test_it_says_when_nothing_comes_any_more(api: Api, open_page: Open) -> None:
    sold = Sold.make(api)
    page = open_page(sold.link()["url"], fails="Failed to load resource")
    page.route("**/v1/**", lambda route: route.abort())
    banner = page.get_by_text("The service cannot be reached just now")
    expect(banner).to_be_visible(timeout=15_000)
    page.unroute("**/v1/**")
    sold.take("a")
    expect(banner).to_be_hidden(timeout=40_000)
    expect(page.locator("#state")).to_have_text("1 of 2 seats are in use.")


@pytest.mark.parametrize(
    ("terms", "result"),
    [
        ({"status": "suspended"}, "This license is suspended"),
        ({"validFrom": "2999-01-01T00:00:00Z"}, "This license begins on 1 Jan 2999"),
        (
            {
                "seatCount": None,
                "usageLimits": [{"key": "exports", "limit": 5}],
                "overdraftSeatLimit": {"type": "none"},
            },
            "Everything is within your license.",
        ),
    ],
)
def test_other_states(api: Api, open_page: Open, terms: dict[str, Any], result: str) -> None:
    page = open_page(Sold.make(api, **terms).link()["url"])
    expect(page.locator("#state")).to_contain_text(result)


def test_the_reader_s_language_and_the_entitlement_s_zone(api: Api, open_page: Open) -> None:
    sold = Sold.make(
        api,
        timeZone="Asia/Tokyo",
        seatCount=None,
        overdraftSeatLimit={"type": "none"},
        usageLimits=[{"key": "calls", "limit": 1_234_567}],
    )
    page = open_page(sold.link()["url"], locale="de-DE")
    expect(page.locator("[data-key=calls]")).to_contain_text("1.234.567")
    expect(page.locator("footer")).to_contain_text("Asia/Tokyo")
    page = open_page(sold.link()["url"], locale="en-US")
    expect(page.locator("[data-key=calls]")).to_contain_text("1,234,567")


# --- Frames -----------------------------------------------------------------------------------------


class Host:
    """Somebody's own page, with the portal in a frame."""

    def __init__(self, url: str, script: str = "") -> None:
        body = (
            f'<!doctype html><title>Host</title><iframe src="{url}" width="900" height="700">'
            f"</iframe><script>{script}</script>"
        )

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_a_frame_is_for_the_allowed_origins(api: Api, open_page: Open) -> None:
    link = Sold.make(api).link()
    allowed = Host(link["embedUrl"])
    page = open_page(f"http://127.0.0.1:{allowed.port}/", state=False, fails="favicon|404")
    frame = page.frame_locator("iframe")
    expect(frame.locator("#state")).to_have_text("0 of 2 seats are in use.")
    expect(frame.locator("header")).to_be_hidden()
    # Neither another origin, nor the page that is meant for a window of its own.
    for host, name in ((allowed, "localhost"), (Host(link["url"]), "127.0.0.1")):
        refused = open_page(
            f"http://{name}:{host.port}/",
            state=False,
            fails="frame-ancestors|X-Frame-Options|favicon|404|Framing",
        )
        refused.wait_for_timeout(1_500)
        assert refused.frame_locator("iframe").locator("#state").count() == 0
        host.server.shutdown()


def test_a_frame_gets_its_height_and_dialogs_open_in_sight(api: Api, open_page: Open) -> None:
    """With the script that the guide shows."""
    guide = (ROOT / "docs/guides/portal.md").read_text()
    script = guide.partition("```js\n")[2].partition("```")[0]
    sold = Sold.make(api)
    for number in range(3):
        sold.take(f"user{number}")
    host = Host(sold.link("admin")["embedUrl"], script)
    page = open_page(f"http://127.0.0.1:{host.port}/", state=False, fails="favicon|404")
    frame = page.frame_locator("iframe")
    expect(frame.locator("#holders tbody tr")).to_have_count(3)
    needed = "document.documentElement.scrollHeight <= innerHeight"
    inner = page.frames[1]
    wait_for(lambda: inner.evaluate(needed))
    assert inner.evaluate("innerHeight") > 1_000, "longer than the window"
    for name in ("Request more seats", "Release the seat of user1"):
        button = frame.get_by_role("button", name=name)
        button.click()
        box = frame.get_by_role("dialog").bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 900, "in the window, whose height this is"
        page.keyboard.press("Escape")
    host.server.shutdown()


# --- For everybody ----------------------------------------------------------------------------------


def serious(page: Page) -> list[str]:
    """What axe finds, from serious on."""
    page.evaluate(AXE.read_text())
    found = json.loads(
        page.evaluate(
            "async () => JSON.stringify((await axe.run()).violations.map("
            "v => [v.impact, v.id, v.nodes.map(n => n.target.join(' ') + ': ' + n.failureSummary)]))"
        )
    )
    return [
        f"{kind}: {nodes}" for impact, kind, nodes in found if impact in ("serious", "critical")
    ]


# Each width and each colour scheme once.
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "phone-dark": {**PHONE, "color_scheme": "dark"},
}


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_serious(past: Sold, open_page: Open, look: str) -> None:
    page = open_page(past.link("admin")["url"], **LOOKS[look])
    choose(page, "7 days")
    drawn(page)
    page.get_by_text("As a table").click()
    expect(page.locator("#denials tbody").first).to_be_visible()
    expect(page.locator("#forecast")).to_contain_text("week")
    assert serious(page) == []
    page.get_by_text("As a table").click()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"portal-{look}.png", full_page=True)
    width = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert width <= 0
    page.get_by_role("button", name="Request more seats").click()
    assert serious(page) == []


def test_axe_finds_nothing_serious_where_nothing_opens(stack: Stack, open_page: Open) -> None:
    page = open_page(f"{stack.api_url}/portal", state=False)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert serious(page) == []


def test_by_keyboard_alone(api: Api, open_page: Open) -> None:
    sold = Sold.make(api)
    sold.take("a")
    page = open_page(sold.link("admin")["url"])
    expect(page.locator("#holders tbody tr")).to_have_count(1)
    drawn(page)
    reached: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "() => document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
        )
        reached.append(str(name).strip()[:60])
        if reached[-1].startswith("Release the seat"):
            break
    assert "Request more seats" in reached
    assert "24 hours" in reached
    assert reached[-1].startswith("Release the seat")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_what_somebody_is_about_to_do_is_left_alone(api: Api, open_page: Open) -> None:
    """The page reads everything again when something changed: focus and search stay."""
    sold = Sold.make(api, seatCount=5)
    sold.take("a", seatName="Ann")
    page = open_page(sold.link("admin")["url"])
    page.get_by_role("button", name="Release the seat of Ann").focus()
    sold.take("b", seatName="Bob")
    expect(page.locator("#holders tbody tr")).to_have_count(2, timeout=15_000)
    label = "() => document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(label) == "Release the seat of Ann"
    page.locator("#search").fill("ann")
    sold.take("c", seatName="Hanna")
    expect(page.locator("#holders tbody tr")).to_have_count(2, timeout=15_000)
    assert page.evaluate("() => document.activeElement.id") == "search"
    page.locator("#ask").focus()
    sold.take("d")
    expect(page.locator("#state")).to_have_text("4 of 5 seats are in use.", timeout=15_000)
    assert page.evaluate("() => document.activeElement.id") == "ask"


def test_changed_terms_are_followed(api: Api, open_page: Open) -> None:
    sold = Sold.make(api)
    page = open_page(sold.link()["url"])
    assert page.locator("[data-key]").count() == 0
    terms = {
        "product": "CAD Max",
        "usageLimits": [{"key": "exports", "limit": 1, "overdraftLimit": {"type": "none"}}],
    }
    api.expect(200, "PATCH", sold.path, terms)
    expect(page.locator("[data-key=exports]")).to_be_visible(timeout=15_000)
    expect(page.locator("h1")).to_have_text("CAD Max")
    body, headers = {"quantity": 1}, {"idempotency-key": "a"}
    sold.license.call("POST", f"{sold.path}/usage/exports", body, headers=headers)
    expect(page.locator(".badge")).to_have_text("exports: full", timeout=15_000)
    expect(page.locator("#state")).to_contain_text("Further requests are refused")
    api.expect(200, "PATCH", sold.path, {"usageLimits": []})
    expect(page.locator("[data-key]")).to_have_count(0, timeout=15_000)


def test_what_changed_and_who_did_it(api: Api, open_page: Open) -> None:
    sold = Sold.make(api, unitPrice={"amount": "30.00", "currency": "EUR", "per": "month"})
    taken = sold.take("judy@acme.com")
    terms = {
        "seatCount": 1_500,
        "usageLimits": [{"key": "exports", "limit": 9}],
        "unitPrice": None,
    }
    api.expect(200, "PATCH", sold.path, terms)
    asked = api.expect(201, "POST", f"{sold.path}/seat-requests", {"seats": 3, "requester": "Ann"})
    request = f"{sold.path}/seat-requests/{asked['requestId']}"
    api.expect(200, "PATCH", request, {"status": "declined"})
    link = sold.link("admin", name="only for the vendor")
    alice = api.with_credential(f"Portal {link['url'].partition('#')[2]}")
    alice.expect(204, "DELETE", f"{sold.path}/activations/{taken['activationId']}")
    page = open_page(link["url"])
    changes = page.locator("#changes li")
    assert changes.count() == 0, "nothing is read before it is opened"
    query = f"{sold.path}/changes?type=seat.released"
    wait_for(lambda: api.expect(200, "GET", query)["items"])
    page.locator("#changes summary").click()
    expect(changes.first).to_contain_text(
        "Somebody with this link released the seat of judy@acme.com.", timeout=15_000
    )
    shown = changes.all_text_contents()
    assert any("changed the license: seats bought 2 → 1,500; exports: 9." in each for each in shown)
    assert any("created a portal link." in each for each in shown)
    assert any("Your organization requested 3 more seats" in each for each in shown)
    assert any("declined a request for more: 3 more seats." in each for each in shown)
    assert not any("30.00" in each or "only for" in each for each in shown)


def test_many_usage_limits_are_sorted_by_trouble_and_folded(api: Api, open_page: Open) -> None:
    """Of forty, four are reached: these come first, two are named, the idle ones are folded."""
    limits = [{"key": f"limit-{number}", "limit": 2} for number in range(39)]
    limits.append({"key": "x" * 64, "limit": 2})
    sold = Sold.make(api, seatCount=None, overdraftSeatLimit={"type": "none"}, usageLimits=limits)
    for key, quantity in (("limit-31", 2), ("limit-7", 2), ("limit-12", 2), ("x" * 64, 2)):
        headers = {"idempotency-key": key}
        body = {"quantity": quantity}
        sold.license.call("POST", f"{sold.path}/usage/{key}", body, headers=headers)
    page = open_page(sold.link()["url"], viewport={"width": 320, "height": 800})
    shown = page.locator("[data-key]:visible")
    expect(shown).to_have_count(6)
    keys = [each.get_attribute("data-key") for each in shown.all()]
    assert set(keys[:4]) == {"limit-7", "limit-12", "limit-31", "x" * 64}
    expect(page.locator("#state")).to_contain_text("2 more usage limits are reached, below.")
    expect(page.locator(".badge")).to_have_text(f"{keys[0]}: full")
    # Forecasts are read for what is in sight.
    forecasts = page.locator("[data-forecast]:visible")
    expect(forecasts.last).not_to_be_empty(timeout=15_000)
    usage = page.locator("[aria-labelledby=usage-title]")
    folded = usage.locator("details [data-forecast]")
    assert [each.text_content() for each in folded.all()] == [""] * 34
    assert page.evaluate("document.documentElement.scrollWidth") == 320, "long keys break"
    usage.locator("summary").click()
    expect(shown).to_have_count(40)
    expect(folded.last).not_to_be_empty(timeout=30_000)
    search = page.get_by_role("searchbox", name="Search by key")
    search.fill("LIMIT-2")
    shown = usage.locator(".limit:visible h3")
    assert shown.count() > 1
    assert all((each.text_content() or "").startswith("limit-2") for each in shown.all())
    search.fill("nothing like it")
    expect(usage.get_by_role("status")).to_have_text("No usage limit has this in its key.")
    search.fill("")
    expect(shown).to_have_count(40)


def test_a_clock_that_is_wrong_does_not_matter(past: Sold, open_page: Open) -> None:
    page = open_page("about:blank", state=False)
    page.clock.install(time="2030-01-01T00:00:00Z")
    page.clock.resume()
    page.goto(past.link()["url"])
    page.wait_for_selector("#state")
    choose(page, "7 days")
    assert drawn(page)["x"][-1] < 1_880_000_000
    expect(page.locator(".problem:visible")).to_have_count(0)
