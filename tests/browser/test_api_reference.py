"""The API reference in a real browser: it shows every operation, and sends a request."""

import json

import pytest
from playwright.sync_api import expect

from local.stack import Stack
from tests.browser.conftest import DESKTOP, PHONE, SCREENSHOTS, Open
from tools import ROOT


@pytest.mark.parametrize(
    ("device", "options", "scheme"), [("wide", DESKTOP, "light"), ("phone", PHONE, "dark")]
)
def test_every_operation_and_event_is_listed(
    stack: Stack, open_page: Open, device: str, options: dict[str, object], scheme: str
) -> None:
    page = open_page(f"{stack.api_url}/docs", state=False, color_scheme=scheme, **options)
    page.wait_for_selector("#reference[data-is-drawn]")
    description = json.loads((ROOT / "openapi.json").read_text())
    expected = sorted(
        f"{method.upper()} {path}"
        for path, methods in description["paths"].items()
        for method in methods
    )
    expect(page.locator(".webhooks .opblock")).to_have_count(len(description["webhooks"]))
    expect(page.locator(".opblock-tag-section .opblock")).to_have_count(len(expected))
    shown = page.locator(".opblock-tag-section .opblock-summary").evaluate_all(
        "all => all.map(each => each.querySelector('.opblock-summary-method').textContent + ' '"
        " + each.querySelector('.opblock-summary-path').dataset.path)"
    )
    assert sorted(shown) == expected
    # Nothing is cut off, and nothing scrolls sideways.
    width = page.viewport_size["width"]  # type: ignore[index]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"api-reference-{device}-{scheme}.png")


def test_a_request_is_tried_with_a_key(stack: Stack, open_page: Open) -> None:
    page = open_page(f"{stack.api_url}/docs", state=False, **DESKTOP)
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("auth-bearer-value").fill(stack.bootstrap_key)
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close").last.click()
    operation = page.locator("#operations-Entitlements-listEntitlements")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table")
    expect(answer.locator(".response-col_status").last).to_contain_text("200")
    expect(answer).to_contain_text("nextPageToken")
