"""The console of a vendor with many entitlements, on a stack of their own.

Ten thousand in `make soak`; the stream of the local stack takes minutes to work through them.
"""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from local.api import Api
from local.emulator import Emulator, free_port
from local.run import console_link
from local.seed import BUSY_CAP, BUSY_SEATS, EVERY_BUSY, client_of, document_of, seed
from local.stack import deploy
from shared.clock import now_ms
from tests.browser.conftest import DESKTOP
from tests.support.sampling import IS_SOAK
from tests.support.waiting import wait_for

COUNT = 10_000 if IS_SOAK else 2_000
CALL = re.compile(r"/v1/")


class Many:
    """A stack with many entitlements."""

    def __init__(self, api: Api, ids: list[str]) -> None:
        self.api = api
        self.ids = ids

    def name(self, number: int) -> str:
        return str(document_of(number, now_ms())["customer"]["name"])


def are_processed(api: Api) -> bool:
    """Has the stream worked through what was seeded, the people who came last included?"""
    path = "/v1/entitlements?overdraft=true&limit=100"
    return len(api.expect(200, "GET", path)["items"]) == COUNT // EVERY_BUSY


@pytest.fixture(scope="module")
def many() -> Iterator[Many]:
    with Emulator(free_port()) as emulator:
        stack = deploy(emulator)
        api = Api(stack.api_url, f"Bearer {stack.bootstrap_key}")
        ids = seed(COUNT, lambda: client_of(emulator.url, stack.outputs["TableName"]), api)
        # A page that is open beside the stream's work on this machine shows nothing about the page.
        wait_for(lambda: are_processed(api), seconds=1_200)
        yield Many(api, ids)
    stack.stop()


@pytest.fixture
def page(browser: Browser, many: Many) -> Iterator[Page]:
    context = browser.new_context(locale="en-GB", **DESKTOP)
    page = context.new_page()
    page.goto(console_link(many.api))
    expect(page.locator("#nav")).to_be_attached()
    yield page
    context.close()


def test_every_one_is_reached_by_scrolling_and_few_are_drawn(page: Page) -> None:
    page.evaluate("() => { location.hash = '#/entitlements' }")
    expect(page.locator(".list-row").first).to_be_visible()
    box = page.locator(".list")

    def are_all_there() -> bool:
        box.evaluate("box => box.scrollTo(0, box.scrollHeight)")
        return page.get_by_text(f"{COUNT:,} entitlements").count() == 1

    wait_for(are_all_there)
    assert page.locator(".list-row").count() < 60


def test_one_of_many_is_found_as_one_types(page: Page, many: Many) -> None:
    number = COUNT - 234
    name = many.name(number)
    page.evaluate("() => { location.hash = '#/entitlements' }")
    page.get_by_role("searchbox").fill(str(number))
    expect(page.locator(".list-row")).to_have_count(1)
    expect(page.locator(".list-row")).to_contain_text(name)
    page.locator(".list-row a").first.click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def test_today_shows_every_overdraft_and_reads_no_more_for_many(page: Page, many: Many) -> None:
    calls: list[str] = []
    page.on("request", lambda sent: calls.append(sent.url) if CALL.search(sent.url) else None)
    page.reload()
    expect(page.get_by_role("main")).to_contain_text(f"{BUSY_CAP} / {BUSY_SEATS}")
    page.wait_for_load_state("networkidle")
    # What is over, denied, or ends is read; the other 99 of 100 are not.
    assert len(calls) < 40, calls
