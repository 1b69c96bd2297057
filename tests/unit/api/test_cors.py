"""Pages of other origins: what they may call, with what, and what they may read."""

from typing import Any

import pytest

from shared.api.routes import ROUTES
from shared.dynamodb.client import DynamoDBClient
from tests.support.requests import BOOTSTRAP_KEY, event
from tests.unit.conftest import Api

ORIGIN = "https://app.vendor.example"
E = "/v1/entitlements/{entitlementId}"
ALLOWED = "access-control-allow-origin"


@pytest.fixture
def api(dynamodb: DynamoDBClient) -> Api:
    return Api(dynamodb, PORTAL_API_ORIGINS=f"{ORIGIN} http://127.0.0.1:8080")


def link(api: Api, entitlement_id: str, role: str = "admin") -> str:
    path = {"entitlementId": entitlement_id}
    url = api.call(f"POST {E}/portal-links", path, {"role": role})[1]["url"]
    return str(url).partition("#")[2]


def ask(api: Api, method: str, path: str, origin: str = ORIGIN) -> tuple[int, dict[str, str]]:
    """What a browser asks before it sends a request, as API Gateway's $default route has it."""
    asked = event(
        f"OPTIONS {path}",
        headers={"origin": origin, "access-control-request-method": method},
        key=None,
    )
    answer = api._serve({**asked, "routeKey": "$default"}, None)
    return answer["statusCode"], answer["headers"]


def test_a_page_reads_the_portal(api: Api) -> None:
    token = link(api, api.create())
    for origin in (ORIGIN, "http://127.0.0.1:8080"):
        sent = {"origin": origin}
        status, _, headers = api.call("GET /v1/portal", headers=sent, key=token)
        assert (status, headers[ALLOWED], headers["vary"]) == (200, origin, "origin")
        assert "retry-after" in headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in headers


def test_errors_can_be_read_too(api: Api) -> None:
    entitlement_id = api.create()
    token, sent = link(api, entitlement_id, "viewer"), {"origin": ORIGIN}
    path = {"entitlementId": entitlement_id}
    status, _, headers = api.call(
        f"PATCH {E}/customer-cap", path, {"cap": 1}, headers=sent, key=token
    )
    assert (status, headers[ALLOWED]) == (403, ORIGIN)
    status, _, headers = api.call("GET /v1/portal", headers=sent, key=f"plk_{'x' * 20}.{'y' * 40}")
    assert (status, headers[ALLOWED]) == (401, ORIGIN)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", f"{ORIGIN}.evil.example", "http://app.vendor.example"],
)
def test_other_origins_read_nothing(api: Api, origin: str) -> None:
    token = link(api, api.create())
    status, _, headers = api.call("GET /v1/portal", headers={"origin": origin}, key=token)
    assert (status, ALLOWED in headers) == (200, False)
    assert ask(api, "GET", "/v1/portal", origin)[0] == 405


def test_no_key_belongs_into_a_page(api: Api) -> None:
    """On no route, whatever it answers."""
    path = {"entitlementId": api.create()}
    license_key = api.call(f"POST {E}/license-keys", path, {})[1]["key"]
    for key in (BOOTSTRAP_KEY, license_key, None):
        for route_key, route in ROUTES.items():
            given: dict[str, Any] = {"headers": {"origin": ORIGIN}, "key": key}
            names = {**path, "key": "exports"} if "{" in route_key else None
            if route.function in ("report", "deliver"):
                continue
            _, _, headers = api.call(route_key, names, {} if route.body else None, **given)
            assert ALLOWED not in headers, route_key


def test_what_a_browser_may_send(api: Api) -> None:
    """Exactly the routes that a portal link may use."""
    for route_key, route in ROUTES.items():
        method, _, path = route_key.partition(" ")
        url = path.replace("{entitlementId}", "ent_1").replace("{activationId}", "act_1")
        status, headers = ask(api, method, url.replace("{", "").replace("}", ""))
        if not route.portal:
            assert status in (404, 405), route_key
            assert ALLOWED not in headers
            continue
        assert (status, headers[ALLOWED]) == (204, ORIGIN), route_key
        assert method in headers["access-control-allow-methods"].split(", ")
        assert "authorization" in headers["access-control-allow-headers"]


def test_without_the_parameter_nothing_is_said(dynamodb: DynamoDBClient) -> None:
    api = Api(dynamodb)
    token = link(api, api.create())
    _, _, headers = api.call("GET /v1/portal", headers={"origin": ORIGIN}, key=token)
    assert ALLOWED not in headers
    assert ask(api, "GET", "/v1/portal")[0] == 405
