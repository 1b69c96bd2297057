"""`make bench-console`: the vendor's console with 10,000 entitlements, on a slow phone.

The profile is Lighthouse's "slow 4G": 1.6 Mbit/s down, 750 kbit/s up, 150 ms of latency, and a CPU
four times slower than this machine's. Times are medians; they depend on the machine, so each is
also given as a ratio to a bare call of /health by the same profile.
"""

import shutil
import statistics
import time
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from local.api import Api
from local.emulator import Emulator, free_port
from local.run import console_link
from local.seed import client_of, seed
from local.stack import deploy

COUNT = 10_000
ROUNDS = 7
KBIT = 1_000 / 8
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}
NETWORK = {
    "offline": False,
    "latency": 150,
    "downloadThroughput": 1_600 * KBIT,
    "uploadThroughput": 750 * KBIT,
}
SLOWER = 4
LONG_FRAME_MS = 50
_WATCH_FRAMES = """() => {
  window.frames_ = [];
  let last = performance.now();
  const next = (now) => {
    window.frames_.push(now - last);
    last = now;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}"""


def slow_page(browser: Browser) -> Page:
    """A page of a new visitor with the profile."""
    page = browser.new_context(**PHONE).new_page()
    session = page.context.new_cdp_session(page)
    session.send("Network.emulateNetworkConditions", NETWORK)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    return page


def visit(browser: Browser, api: Api, url: str) -> tuple[float, ...]:
    """A first visit, by a link, and a second one.

    Milliseconds until: a bare answer, the first picture, the menu, today's first figures; of the
    second visit until the menu and the figures; and the kilobytes of the first one.
    """
    page = slow_page(browser)
    began = time.perf_counter()
    page.goto(f"{url}/health")
    bare = time.perf_counter() - began
    page.goto("about:blank")
    began = time.perf_counter()
    page.goto(console_link(api), wait_until="commit")
    first_visit = until_shown(page, began)
    first = page.evaluate(
        "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
    )
    size = page.evaluate(
        "() => performance.getEntries().reduce((sum, each) => sum + (each.transferSize || 0), 0)"
    )
    began = time.perf_counter()
    page.reload(wait_until="commit")
    second_visit = until_shown(page, began)
    page.context.close()
    return bare * 1000, first, *first_visit, *second_visit, size / 1000


def until_shown(page: Page, began: float) -> tuple[float, float]:
    """Milliseconds since `began` until the menu is there, and until today's first figures."""
    page.wait_for_selector("#nav", state="attached")
    menu = time.perf_counter() - began
    page.wait_for_selector(".card .rows li, .card .empty")
    return menu * 1000, (time.perf_counter() - began) * 1000


def scroll(browser: Browser, api: Api) -> tuple[int, float, int, int]:
    """Scroll through all entitlements: rows, the median frame (ms), long frames, drawn rows."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(console_link(api))
    page.wait_for_selector("#nav", state="attached")
    page.evaluate("() => { location.hash = '#/entitlements' }")
    page.wait_for_selector(".list-row")
    box = page.locator(".list")
    height, still = 0, 0
    while still < 20:  # until every page is there
        box.evaluate("box => box.scrollTo(0, box.scrollHeight)")
        page.wait_for_timeout(100)
        now = box.evaluate("box => box.scrollHeight")
        still = still + 1 if now == height else 0
        height = now
    box.evaluate("box => box.scrollTo(0, 0)")
    page.evaluate(_WATCH_FRAMES)
    steps = 200
    for step in range(steps):
        box.evaluate("(box, part) => box.scrollTo(0, box.scrollHeight * part)", step / steps)
        page.wait_for_timeout(16)
    frames = page.evaluate("() => window.frames_")
    drawn = page.locator(".list-row").count()
    rows = round(height / page.locator(".list-row").first.evaluate("row => row.offsetHeight"))
    context.close()
    return rows, statistics.median(frames), sum(each > LONG_FRAME_MS for each in frames), drawn


def main() -> None:
    """Measure and print."""
    with Emulator(free_port()) as emulator, sync_playwright() as playwright:
        stack = deploy(emulator)
        api = Api(stack.api_url, f"Bearer {stack.bootstrap_key}")
        seed(COUNT, lambda: client_of(emulator.url, stack.outputs["TableName"]), api)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        visit(browser, api, stack.api_url)
        rounds = [visit(browser, api, stack.api_url) for _ in range(ROUNDS)]
        medians = [statistics.median(each) for each in zip(*rounds, strict=True)]
        bare, first, menu, data, menu_again, again, size = medians
        print(
            f"{COUNT:,} entitlements; slow 4G, a CPU {SLOWER} times slower; {ROUNDS} first visits"
        )
        print(f"page and first data, as they travel: {size:.0f} KB")
        for name, value in (
            ("bare GET /health", bare),
            ("first picture", first),
            ("page can be used", menu),
            ("first figures of today", data),
            ("second visit: usable", menu_again),
            ("second visit: figures", again),
        ):
            print(f"{name:<26}{value:>7.0f} ms {value / bare:>6.1f} of the bare call")
        rows, frame, long, drawn = scroll(browser, api)
        print(
            f"scrolling {rows:,} rows: {frame:.0f} ms a frame, {long} frames above"
            f" {LONG_FRAME_MS} ms, {drawn} rows drawn"
        )
        browser.close()
        stack.stop()


if __name__ == "__main__":
    main()
