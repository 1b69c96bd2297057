"""`make screenshots`: pictures of the portal for the README, in Chromium on a stack of its own."""

import shutil
from typing import Any

from playwright.sync_api import Page, sync_playwright

from local.api import Api
from local.emulator import Emulator, free_port
from local.run import portal_link
from local.seed_history import Past
from local.stack import Stack, deploy
from shared.clock import now_ms
from tools import ROOT

FOLDER = ROOT / "docs/images"
DAYS = 60
PEOPLE = 16  # one more than there are seats
LOOKS: dict[str, dict[str, Any]] = {
    "portal": {"viewport": {"width": 1100, "height": 1400}},
    "portal-dark": {"viewport": {"width": 1100, "height": 1400}, "color_scheme": "dark"},
    "portal-phone": {"viewport": {"width": 390, "height": 1040}, "is_mobile": True},
}


def live(stack: Stack, api: Api) -> str:
    """A customer with a past and a busy present; a link to their portal."""
    past = Past(stack.emulator.url, stack.outputs["TableName"], now_ms(), DAYS)
    past.create()
    past.live()
    path = f"/v1/entitlements/{past.id}"
    for person in range(PEOPLE):
        name = f"user{person:02d}@acme.example"
        body = {"seatId": name, "seatName": f"User {person:02d}", "attributes": {"device": "pc"}}
        past.taken += api.call("POST", f"{path}/activations", body).status == 201
    past.wait_for_history(api)
    return portal_link(api, path)


def take(page: Page, url: str, name: str) -> None:
    """One picture, of the graph of 30 days."""
    page.goto(url)
    page.get_by_role("button", name="30 days", exact=True).click()
    page.wait_for_selector("#plot:not([aria-busy]) canvas")
    page.wait_for_selector("#denials tbody")
    page.wait_for_selector("#forecast p")
    page.screenshot(path=FOLDER / f"{name}.png")


def main() -> None:
    """Take them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    browser_path = shutil.which("chromium")
    with Emulator(free_port()) as emulator, sync_playwright() as playwright:
        stack = deploy(emulator)
        try:
            url = live(stack, Api(stack.api_url, f"Bearer {stack.bootstrap_key}"))
            browser = playwright.chromium.launch(
                executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"]
            )
            for name, options in LOOKS.items():
                context = browser.new_context(locale="en-GB", **options)
                take(context.new_page(), url, name)
                context.close()
            browser.close()
        finally:
            stack.stop()
    print(f"wrote {', '.join(f'{name}.png' for name in LOOKS)} into {FOLDER.relative_to(ROOT)}")
