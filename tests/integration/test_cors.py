"""Pages of another origin, asked for as a browser asks, of the deployed stack."""

import urllib3

from local.stack import API_ORIGIN, Stack
from tests.integration.conftest import Customer

ALLOWED = "access-control-allow-origin"


def test_a_preflight_reaches_the_function(stack: Stack) -> None:
    """API Gateway has no CORS settings of its own, so the $default route gets OPTIONS."""
    for origin, method, path, allowed in (
        (API_ORIGIN, "GET", "/v1/portal", True),
        (API_ORIGIN, "POST", "/v1/entitlements/ent_1/seat-requests", True),
        (API_ORIGIN, "POST", "/v1/entitlements", False),
        (API_ORIGIN, "POST", "/v1/entitlements/ent_1/activations", False),
        ("https://evil.example", "GET", "/v1/portal", False),
    ):
        asked = {
            "origin": origin,
            "access-control-request-method": method,
            "access-control-request-headers": "authorization",
        }
        answer = urllib3.request("OPTIONS", f"{stack.api_url}{path}", headers=asked)
        assert answer.headers.get(ALLOWED) == (API_ORIGIN if allowed else None), path
        assert answer.status == (204 if allowed else 405)


def test_a_page_reads_the_portal_and_nothing_else(stack: Stack, customer: Customer) -> None:
    token = customer.link()["url"].partition("#")[2]
    for credential, path, allowed in (
        (f"Portal {token}", "/v1/portal", True),
        (f"Portal {token}", f"{customer.path}/customer-cap", False),
        (customer.license._credential, customer.path, False),
        (f"Bearer {stack.bootstrap_key}", customer.path, False),
    ):
        headers = {"authorization": credential, "origin": API_ORIGIN}
        answer = urllib3.request("GET", f"{stack.api_url}{path}", headers=headers)
        assert answer.headers.get(ALLOWED) == (API_ORIGIN if allowed else None), path
