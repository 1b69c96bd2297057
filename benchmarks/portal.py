"""`make bench-portal`: the portal's page on the local stack, and what its data costs to read.

The page is opened by a new browser context each time, like a first visit: until the
state is drawn, and until the graph is. Times are medians, and ratios to a bare call of
/health by the same browser. Reads are counted at the table's client.
"""

import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from functions.portal import denials, forecast, graph, status
from local.api import Api
from local.emulator import ACCESS_KEY, REGION, SECRET_KEY, Emulator, free_port
from local.run import portal_link
from local.seed_history import Past
from local.stack import Stack, deploy
from shared.api import app, request
from shared.aws_json import Credentials
from shared.clock import now_ms, to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.requests import BatchGet, Found, Get
from tests.support.requests import event

ROUNDS = 7
DAYS = 60
DAY_MS = 86_400_000


class CountingTable(DynamoDBClient):
    """Counts round trips and items of what passes through."""

    trips = 0
    items = 0

    def execute(self, request: Any) -> Any:
        reply = super().execute(request)
        self.trips += 1
        if isinstance(reply, Found):
            self.items += len(reply.items)
        elif isinstance(request, BatchGet):
            self.items += len(reply)
        elif isinstance(request, Get):
            self.items += reply is not None
        return reply


@contextmanager
def lived() -> Iterator[tuple[Stack, str]]:
    """A stack with a customer who has weeks of history, and a link to their portal."""
    with Emulator(free_port()) as emulator:
        stack = deploy(emulator)
        try:
            past = Past(emulator.url, stack.outputs["TableName"], now_ms(), DAYS)
            past.create()
            past.live()
            api = Api(stack.api_url, f"Bearer {stack.bootstrap_key}")
            link = portal_link(api, f"/v1/entitlements/{past.id}")
            past.wait_for_history(api)
            yield stack, link
        finally:
            stack.stop()


def open_page(browser: Browser, url: str) -> tuple[float, float, float, int]:
    """Milliseconds of a bare call, until the state, until the graph; bytes of everything."""
    context = browser.new_context(viewport={"width": 1180, "height": 900})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(url.partition("/portal")[0] + "/health")
    bare = time.perf_counter() - began
    page.goto("about:blank")
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_selector("#state")
    first = time.perf_counter() - began
    page.wait_for_function("() => document.getElementById('plot')?.plot")
    drawn = time.perf_counter() - began
    size = page.evaluate(
        "() => performance.getEntries().reduce((sum, each) => sum + (each.transferSize || 0), 0)"
    )
    context.close()
    return bare * 1000, first * 1000, drawn * 1000, int(size)


def reads(stack: Stack, link: str) -> list[tuple[str, int, int]]:
    """What each piece of the page's data reads: name, round trips, items."""
    dynamodb = CountingTable(
        stack.outputs["TableName"],
        region=REGION,
        endpoint=stack.emulator.url,
        credentials=Credentials(ACCESS_KEY, SECRET_KEY),
    )
    routes: dict[str, request.Handler] = {
        "getPortal": status.read,
        "listPortalSeats": status.list_seats,
        "getPortalGraph": graph.read,
        "getPortalDenials": denials.read,
        "getPortalForecast": forecast.read,
    }
    serve = app.serve(routes, app.Context({}, dynamodb))
    token = link.partition("#")[2]

    def call(route: str, query: dict[str, str]) -> tuple[int, int]:
        serve(event("GET /v1/portal", key=token), None)  # the link is known now
        dynamodb.trips = dynamodb.items = 0
        answer = serve(event(route, query=query, key=token), None)
        assert answer["statusCode"] == 200, answer
        return dynamodb.trips, dynamodb.items

    results = []
    for name, days in (("24 hours", 1), ("7 days", 7), ("30 days", 30), ("12 months", 365)):
        since = to_rfc3339((now_ms() - days * DAY_MS) // 1000 * 1000)
        results.append((f"graph of {name}", *call("GET /v1/portal/graph", {"from": since})))
    routes_left = [f"GET /v1/portal{name}" for name in ("", "/seats", "/denials", "/forecast")]
    return results + [(route, *call(route, {})) for route in routes_left]


def main() -> None:
    """Measure and print."""
    with lived() as (stack, link), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        open_page(browser, link)
        rounds = [open_page(browser, link) for _ in range(ROUNDS)]
        browser.close()
        bare, first, drawn, size = (statistics.median(each) for each in zip(*rounds, strict=True))
        print(f"page and first data, as they travel: {size / 1000:.1f} KB")
        print(f"bare GET /health by the browser: {bare:.0f} ms")
        print(f"until the state is drawn: {first:.0f} ms, {first / bare:.1f} of the bare call")
        print(f"until the graph is drawn: {drawn:.0f} ms, {drawn / bare:.1f} of the bare call")
        print(f"\n{'what is read':<26}{'round trips':>12}{'items':>8}")
        for name, trips, items in reads(stack, link):
            print(f"{name:<26}{trips:>12}{items:>8}")


if __name__ == "__main__":
    main()
