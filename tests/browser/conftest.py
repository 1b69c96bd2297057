"""Chromium, in front of the deployed stack; it may reach this machine and nothing else."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from local.api import Api
from local.seed_history import Past
from local.stack import Stack
from shared.clock import now_ms
from tests.support.waiting import wait_for
from tools import ROOT

SCREENSHOTS = ROOT / ".local/screenshots"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1180, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
PAST_DAYS = 33  # more than the 30 of a range
# Without these Chromium asks for things of its own, which a closed network refuses.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
# Long enough for a busy machine: only what never comes is waited for until the end.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "the tests need Debian's chromium: make chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        yield started
        started.close()


@pytest.fixture(scope="session")
def api(stack: Stack) -> Api:
    return Api(stack.api_url, f"Bearer {stack.bootstrap_key}")


class Sold:
    """An entitlement, and who calls for it."""

    def __init__(self, api: Api, entitlement_id: str) -> None:
        self.api = api
        self.id = entitlement_id
        self.path = f"/v1/entitlements/{entitlement_id}"
        self.license_key = api.expect(201, "POST", f"{self.path}/license-keys", {})["key"]
        self.license = api.with_credential(f"License {self.license_key}")

    @classmethod
    def make(cls, api: Api, **terms: Any) -> Self:
        body = {
            "product": "CAD Pro",
            "customer": {"name": "Acme Corp"},
            "seatCount": 2,
            "overdraftSeatLimit": {"type": "absolute", "value": 1},
            **terms,
        }
        return cls(api, api.expect(201, "POST", "/v1/entitlements", body)["entitlementId"])

    def take(self, seat_id: str, status: int = 201, **more: Any) -> Any:
        body = {"seatId": seat_id, **more}
        return self.license.expect(status, "POST", f"{self.path}/activations", body)

    def link(self, role: str = "viewer", **more: Any) -> dict[str, Any]:
        made = self.api.expect(201, "POST", f"{self.path}/portal-links", {"role": role, **more})
        return dict(made)

    def history(self, query: str) -> list[dict[str, Any]]:
        result = self.api.expect(200, "GET", f"{self.path}/usage-history?{query}")
        return list(result["items"])

    def wait_for_history(self, used: int, denied: int = 0) -> None:
        """Wait until the history shows this much."""
        result: dict[str, int] = {}

        def is_there() -> bool:
            days = self.history("interval=day")
            result["used"] = days[-1]["closing"] if days else 0
            result["denied"] = sum(each["deniedAttempts"] for each in days)
            return bool(days) and result == {"used": used, "denied": denied}

        wait_for(is_there, what=lambda: f"wanted {used} used, {denied} denied; got {result}")


@pytest.fixture(scope="session")
def past(stack: Stack, api: Api) -> Sold:
    """Weeks of a team that grew beyond what it purchased, all of it in the history."""
    lived = Past(stack.emulator.url, stack.outputs["TableName"], now_ms(), PAST_DAYS)
    lived.create()
    lived.live()
    assert lived.denied
    lived.wait_for_history(api)
    sold = Sold(api, lived.id)
    late = sum(at >= lived.now_ms - 30 * 86_400_000 for at in lived.denied)
    used = api.expect(200, "GET", sold.path)["seats"]["used"]
    sold.wait_for_history(used, late)
    return sold


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens an address; fails at the end if the page complained, or asked another host."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []
    expected: list[str] = []

    def opened(url: str, *, fails: str = "", state: bool = True, **options: Any) -> Page:
        context = browser.new_context(**{"locale": "en-GB", **DESKTOP, **options})
        contexts.append(context)
        page = context.new_page()
        if fails:
            expected.append(fails)
        page.on(
            "console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: wrong.append(request.url) if is_foreign(request.url) else None,
        )
        page.goto(url)
        if state:
            page.wait_for_selector("#state")
        return page

    yield opened
    for context in contexts:
        context.close()
    unexpected = [text for text in wrong if not any(re.search(each, text) for each in expected)]
    assert unexpected == []


def is_foreign(url: str) -> bool:
    return not re.match(r"(http://(127\.0\.0\.1|localhost):\d+/|data:|blob:|about:)", url)


def drawn(page: Page) -> dict[str, list[Any]]:
    """What the graph has drawn: the columns that were handed to it."""
    page.wait_for_function("() => document.getElementById('plot').plot")
    columns: dict[str, list[Any]] = json.loads(
        page.evaluate("() => JSON.stringify(document.getElementById('plot').drawn)")
    )
    return columns


def choose(page: Page, title: str) -> None:
    """Choose a range of the graph, and wait until it is drawn."""
    page.get_by_role("button", name=title, exact=True).click()
    page.wait_for_selector("#plot:not([aria-busy])")
