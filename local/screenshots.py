"""`make screenshots`: pictures of the portal and the console, in Chromium on a stack of its own."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from playwright.sync_api import Page, sync_playwright

from local.api import Api
from local.emulator import Emulator, free_port
from local.run import console_link, portal_link
from local.seed_history import Past
from local.stack import Stack, deploy
from shared.clock import now_ms, to_rfc3339
from tools import ROOT

FOLDER = ROOT / "docs/images"
DAYS = 60
DAY_MS = 86_400_000
PEOPLE = 16  # one more than there are seats
LOOKS: dict[str, dict[str, Any]] = {
    "portal": {"viewport": {"width": 1100, "height": 1400}},
    "portal-dark": {"viewport": {"width": 1100, "height": 1400}, "color_scheme": "dark"},
    "portal-phone": {"viewport": {"width": 390, "height": 1040}, "is_mobile": True},
}
CONSOLE_LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "console": ("/today", {"viewport": {"width": 1280, "height": 960}}),
    "console-board": ("/follow-ups", {"viewport": {"width": 1280, "height": 620}}),
    "console-dark": (
        "/entitlements/{id}",
        {"viewport": {"width": 1280, "height": 1000}, "color_scheme": "dark"},
    ),
}
# Made-up customers: what they purchased, seats above that, seats that are asked for, the price, the
# days until the end, and how far sales has come.
CUSTOMERS = (
    ("Globex", 40, 8, 47, "45.00", 61, "contacted"),
    ("Initech", 12, 2, 17, "60.00", 24, "open"),
    ("Umbrella", 25, 5, 27, "45.00", 200, "quoted"),
    ("Hooli", 30, 6, 22, "30.00", 45, None),
    ("Stark", 10, 2, 11, "45.00", 300, "won"),
)


def live(stack: Stack, api: Api) -> Past:
    """A customer with a past and a busy present."""
    past = Past(stack.emulator.url, stack.outputs["TableName"], now_ms(), DAYS)
    past.create()
    past.live()
    path = f"/v1/entitlements/{past.id}"
    for person in range(PEOPLE):
        name = f"user{person:02d}@acme.example"
        body = {"seatId": name, "seatName": f"User {person:02d}", "attributes": {"device": "pc"}}
        past.taken += api.call("POST", f"{path}/activations", body).status == 201
    past.wait_for_history(api)
    return past


def sell(api: Api) -> None:
    """Customers for the console, each with people at work."""
    for name, seats, more, wanted, price, days, state in CUSTOMERS:
        domain = f"{name.lower()}.example"
        terms = {
            "product": "CAD Pro",
            "customer": {"name": name},
            "seatCount": seats,
            "overdraftSeatLimit": {"type": "absolute", "value": more},
            "unitPrice": {"amount": price, "currency": "USD", "per": "month"},
            "validUntil": to_rfc3339(now_ms() + days * DAY_MS),
            "contacts": {
                "customerAdmin": {"name": f"{name}'s administrator", "email": f"admin@{domain}"},
                "accountOwner": {"name": "Our account owner", "email": "owner@vendor.example"},
            },
        }
        made = api.expect(201, "POST", "/v1/entitlements", terms)
        path = f"/v1/entitlements/{made['entitlementId']}"

        def take(person: int, path: str = path, domain: str = domain) -> None:
            body = {"seatId": f"user{person:02d}@{domain}"}
            api.call("POST", f"{path}/activations", body)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(take, range(wanted)))
        if state:
            api.expect(200, "PATCH", f"{path}/follow-up", {"state": state, "owner": "Sales"})


def take(page: Page, url: str, name: str) -> None:
    """One picture of the portal, of the graph of 30 days."""
    page.goto(url)
    page.get_by_role("button", name="30 days", exact=True).click()
    page.wait_for_selector("#plot:not([aria-busy]) canvas")
    page.wait_for_selector("#denials tbody")
    page.wait_for_selector("#forecast p")
    page.screenshot(path=FOLDER / f"{name}.png")


def take_console(page: Page, url: str, name: str) -> None:
    """One picture of a page of the console, once everything on it is there."""
    page.goto(url)
    page.wait_for_selector("h1")
    page.wait_for_function("() => !document.querySelector('.ghost, [aria-busy=true]')")
    page.wait_for_timeout(1_000)  # the graph is drawn
    page.screenshot(path=FOLDER / f"{name}.png")


def main() -> None:
    """Take them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    browser_path = shutil.which("chromium")
    with Emulator(free_port()) as emulator, sync_playwright() as playwright:
        stack = deploy(emulator)
        try:
            api = Api(stack.api_url, f"Bearer {stack.bootstrap_key}")
            past = live(stack, api)
            sell(api)
            browser = playwright.chromium.launch(
                executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"]
            )
            url = portal_link(api, f"/v1/entitlements/{past.id}")
            for name, options in LOOKS.items():
                context = browser.new_context(locale="en-GB", **options)
                take(context.new_page(), url, name)
                context.close()
            for name, (place, options) in CONSOLE_LOOKS.items():
                context = browser.new_context(locale="en-GB", **options)
                link = console_link(api, place.format(id=past.id))
                take_console(context.new_page(), link, name)
                context.close()
            browser.close()
        finally:
            stack.stop()
    names = ", ".join(f"{name}.png" for name in (*LOOKS, *CONSOLE_LOOKS))
    print(f"wrote {names} into {FOLDER.relative_to(ROOT)}")
