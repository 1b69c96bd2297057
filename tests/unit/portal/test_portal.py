"""The portal's room in this process: links, what they open, the page, the forecast."""

import base64
import gzip
import re
from typing import Any

import pytest

from functions.manage.seat_requests import MOST_A_DAY
from functions.portal import forecast, page
from functions.portal.forecast import Trend, days_to, rate_of, trend_of
from shared.clock import from_rfc3339, now_ms, to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from tests.support.requests import event
from tests.unit.conftest import Api
from tools import build

LINKS = "POST /v1/entitlements/{entitlementId}/portal-links"
ASK = "POST /v1/entitlements/{entitlementId}/seat-requests"


def open_link(api: Api, entitlement_id: str, **body: Any) -> tuple[str, dict[str, Any]]:
    """A new link: its token, and the answer."""
    status, link, _ = api.call(LINKS, {"entitlementId": entitlement_id}, body)
    assert status == 201, link
    return link["url"].partition("#")[2], link


# --- Links ------------------------------------------------------------------------------------------


def test_a_link_opens_until_it_expires(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    token, link = open_link(api, api.create(), expiresIn="PT10M")
    assert link["role"] == "viewer"
    status, shown, _ = api.call("GET /v1/portal", key=token)
    assert (status, shown["expiresAt"]) == (200, link["expiresAt"])
    for later, expected in ((570, 200), (600, 401), (86_400, 401)):
        monkeypatch.setattr("shared.api.app.now_ms", lambda later=later: now_ms() + later * 1000)
        status, shown, headers = api.call("GET /v1/portal", key=token)
        assert status == expected, later
    assert shown["type"].endswith("/link-expired")
    assert "Portal" in headers["www-authenticate"]


def test_a_link_may_end_at_a_time(api: Api) -> None:
    ends = to_rfc3339((now_ms() // 1000 + 7_200) * 1000)
    _, link = open_link(api, api.create(), expiresAt=ends)
    assert link["expiresAt"] == ends
    _, link = open_link(api, api.create())
    assert abs(from_rfc3339(link["expiresAt"]) - now_ms() // 1000 - 30 * 86_400) < 60


def test_a_revoked_link_is_unknown(api: Api) -> None:
    entitlement_id = api.create()
    token, link = open_link(api, entitlement_id)
    path = {"entitlementId": entitlement_id, "linkId": link["linkId"]}
    revoke = "DELETE /v1/entitlements/{entitlementId}/portal-links/{linkId}"
    assert api.call(revoke, {**path, "entitlementId": api.create()})[0] == 404
    assert api.call(revoke, path)[0] == 204
    assert api.call(revoke, path)[0] == 404
    status, shown, _ = api.call("GET /v1/portal", key=token)
    assert (status, shown["type"].rpartition("/")[2]) == (401, "unauthorized")


def test_a_link_s_token_is_shown_once_and_stored_nowhere(api: Api) -> None:
    entitlement_id = api.create()
    key = {"idempotency-key": "k"}
    status, first, _ = api.call(
        LINKS, {"entitlementId": entitlement_id}, {"name": "n"}, headers=key
    )
    again = api.call(LINKS, {"entitlementId": entitlement_id}, {"name": "n"}, headers=key)
    assert (status, again[0], again[1]) == (201, 201, first)
    secret = first["url"].partition(".")[2]
    assert first["embedUrl"].endswith(f"/portal/embed#{first['url'].partition('#')[2]}")
    path = {"entitlementId": entitlement_id}
    _, result, _ = api.call("GET /v1/entitlements/{entitlementId}/portal-links", path)
    assert [each["linkId"] for each in result["items"]] == [first["linkId"]]
    assert result["items"][0].keys() == first.keys() - {"url", "embedUrl"}
    assert secret not in str(everything(api.dynamodb))


def everything(dynamodb: DynamoDBClient) -> list[Any]:
    return dynamodb._call("Scan", {})["Items"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"role": "owner"}, "/role"),
        ({"expiresIn": "PT1S"}, "/expiresIn"),
        ({"expiresIn": "P2Y"}, "/expiresIn"),
        ({"expiresIn": 5}, "/expiresIn"),
        ({"expiresAt": "x"}, "/expiresAt"),
        ({"name": ""}, "/name"),
        ({"expiresAt": "2001-01-01T00:00:00Z"}, "/expiresAt"),
        ({"expiresAt": "2999-01-01T00:00:00Z"}, "/expiresAt"),
        ({"expiresAt": "2999-01-01T00:00:00Z", "expiresIn": "P1D"}, "/expiresAt"),
        ({"expires": "P1D"}, "/expires"),
    ],
)
def test_links_that_cannot_be_made(api: Api, body: dict[str, Any], pointer: str) -> None:
    status, shown, _ = api.call(LINKS, {"entitlementId": api.create()}, body)
    assert (status, shown["errors"][0]["pointer"]) == (400, pointer)


def test_a_link_is_no_key_of_another_kind(api: Api) -> None:
    entitlement_id = api.create()
    token, _ = open_link(api, entitlement_id, role="admin")
    path = {"entitlementId": entitlement_id}
    for scheme in ("Bearer", "License"):
        headers = {"authorization": f"{scheme} {token}"}
        status, _, _ = api.call("GET /v1/portal", headers=headers, key=None)
        assert status == 401
        get = "GET /v1/entitlements/{entitlementId}"
        assert api.call(get, path, headers=headers, key=None)[0] == 401
    assert api.call("GET /v1/entitlements/{entitlementId}", path, key=token)[0] == 403


# --- More seats -------------------------------------------------------------------------------------


def test_asking_for_more_seats_is_bounded(api: Api) -> None:
    entitlement_id = api.create()
    token, link = open_link(api, entitlement_id)
    path = {"entitlementId": entitlement_id}
    body = {"seats": 5, "message": "We grow.\nSoon."}
    first = api.call(ASK, path, body, headers={"idempotency-key": "a"}, key=token)
    assert first[0] == 201
    assert first[1]["requestedBy"] == link["linkId"]
    assert api.call(ASK, path, body, headers={"idempotency-key": "a"}, key=token)[1] == first[1]
    for _ in range(MOST_A_DAY - 1):
        assert api.call(ASK, path, {"seats": 1}, key=token)[0] == 201
    status, shown, headers = api.call(ASK, path, {"seats": 1}, key=token)
    assert (status, shown["type"].rpartition("/")[2]) == (429, "throttled")
    assert 86_000 < int(headers["retry-after"]) <= 86_401
    repeated = api.call(ASK, path, body, headers={"idempotency-key": "a"}, key=token)
    assert repeated[:2] == first[:2], "what was answered is answered again"
    get = "GET /v1/entitlements/{entitlementId}/seat-requests"
    _, result, _ = api.call(get, path, query={"limit": "3"})
    assert len(result["items"]) == 3
    assert result["nextPageToken"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/seats"),
        ({"seats": 0}, "/seats"),
        ({"seats": 1.5}, "/seats"),
        ({"seats": 100_001}, "/seats"),
        ({"seats": 1, "message": "x" * 1001}, "/message"),
        ({"seats": 1, "message": "a\x07"}, "/message"),
        ({"seats": 1, "to": "me"}, "/to"),
    ],
)
def test_what_cannot_be_asked_for(api: Api, body: dict[str, Any], pointer: str) -> None:
    status, shown, _ = api.call(ASK, {"entitlementId": api.create()}, body)
    assert (status, shown["errors"][0]["pointer"]) == (400, pointer)


def test_who_has_no_seats_asks_for_none(api: Api) -> None:
    entitlement_id = api.create(seatCount=None, usageLimits=[{"key": "exports", "limit": 5}])
    status, shown, _ = api.call(ASK, {"entitlementId": entitlement_id}, {"seats": 1})
    assert (status, shown["errors"][0]["pointer"]) == (400, "/seats")
    token, _ = open_link(api, entitlement_id)
    _, shown, _ = api.call("GET /v1/portal", key=token)
    assert shown["seats"] is None
    assert [each["key"] for each in shown["usage"]] == ["exports"]
    _, shown, _ = api.call("GET /v1/portal/forecast", key=token)
    assert shown["status"] == "insufficient_data"


# --- Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "query", "pointer"),
    [
        (
            "GET /v1/portal/graph",
            {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
            "/from",
        ),
        (
            "GET /v1/portal/graph",
            {"from": "2999-01-01T00:00:00Z", "to": "2999-01-02T00:00:00Z"},
            "/from",
        ),
        ("GET /v1/portal/graph", {"from": "2001-01-01T00:00:00Z"}, "/from"),
        ("GET /v1/portal/graph", {"from": "yesterday"}, "/from"),
        ("GET /v1/portal/graph", {"usageKey": "unknown"}, "/usageKey"),
        ("GET /v1/portal/forecast", {"usageKey": "unknown"}, "/usageKey"),
        (
            "GET /v1/portal/denials",
            {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
            "/from",
        ),
        ("GET /v1/portal/denials", {"from": "2999-01-01T00:00:00Z"}, "/from"),
        ("GET /v1/portal/denials", {"from": "2001-01-01T00:00:00Z"}, "/from"),
        ("GET /v1/portal/seats", {"limit": "0"}, "/limit"),
        ("GET /v1/portal", {"entitlementId": "ent_x"}, "/entitlementId"),
    ],
)
def test_bad_queries(api: Api, route: str, query: dict[str, str], pointer: str) -> None:
    token, _ = open_link(api, api.create())
    status, shown, _ = api.call(route, query=query, key=token)
    assert (status, shown["errors"][0]["pointer"]) == (400, pointer)


# --- The forecast -----------------------------------------------------------------------------------


def test_a_steady_growth_is_found_and_one_odd_week_does_not_bend_it() -> None:
    assert trend_of([10, 12, 14, 16]) == Trend(16, 2 / 7, 2 / 7, 2 / 7)
    bent = trend_of([10, 12, 60, 16, 18, 20])
    assert bent.growth == 2 / 7
    assert bent.low <= bent.growth <= bent.high
    assert trend_of([5, 5, 5, 5]) == Trend(5, 0, 0, 0)
    assert trend_of([9, 8, 7, 6]).growth == -1 / 7


def test_a_rate_and_its_leanest_and_busiest_week() -> None:
    assert rate_of(40, [1] * 7) == Trend(40, 1, 1, 1)
    assert rate_of(40, [0] * 7 + [2] * 7) == Trend(40, 1, 0, 2)


@pytest.mark.parametrize(
    ("limit", "now", "growth", "within", "days"),
    [
        (10, 10, 0, 9, 0.0),
        (10, 8, 1, 9, 2.0),
        (10, 8, 0, 9, None),
        (10, 8, -1, 9, None),
        (10, 1, 1, 9, 9.0),
        (10, 0, 1, 9, None),
    ],
)
def test_when_a_limit_is_met(
    limit: int, now: float, growth: float, within: float, days: float | None
) -> None:
    assert days_to(limit, now, growth, within) == days


def test_a_new_entitlement_has_no_forecast(api: Api) -> None:
    token, _ = open_link(api, api.create(usageLimits=[{"key": "exports", "limit": 5}]))
    for query, named in (({}, None), ({"usageKey": "exports"}, "exports")):
        status, shown, _ = api.call("GET /v1/portal/forecast", query=query, key=token)
        assert (status, shown["status"], shown["usageKey"]) == (200, "insufficient_data", named)
        assert str(forecast.FEWEST_WEEKS) in shown["basis"] or "takes 7" in shown["basis"]


# --- The page ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build.build_page()


def test_the_page_is_small() -> None:
    files = [page.STATIC / "page.html", *page.STATIC.glob("portal-*.br")]
    assert {path.suffixes[0] for path in files} == {".js", ".css", ".html"}
    assert sum(path.stat().st_size for path in files) < 150_000


@pytest.mark.parametrize("name", ["page.html", "reference.html"])
def test_pages_load_from_nowhere_else(name: str) -> None:
    shell = (page.STATIC / name).read_text()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=|https?:", shell)
    for path in page.STATIC.glob("*.[jc]s*"):
        if path.suffix in page.TYPES:
            # What is named may be a namespace or a licence's address, never one that is loaded.
            loaded = re.findall(
                r"""(?:url\(|import\(|fetch\()["']?https?:[^"')]*""", path.read_text()
            )
            assert loaded == [], path


def test_what_the_page_is_sent_with(api: Api) -> None:
    for route, ancestors in (("GET /portal", "'none'"), ("GET /portal/embed", "'none'")):
        status, body, headers = api.call(route, key=None)
        assert status == 200
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert f"frame-ancestors {ancestors}" in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert '<script type="module" src=' in body


def test_a_link_to_the_page_may_have_parameters_of_others(api: Api) -> None:
    """Mail programs and search engines add them to links."""
    for route in ("GET /portal", "GET /portal/embed"):
        assert api.call(route, query={"utm_source": "mail"}, key=None)[0] == 200
    assert api.call("GET /docs", query={"url": "https://other.example"}, key=None)[0] == 400


def test_the_api_reference_runs_its_own_files_alone(api: Api) -> None:
    status, body, headers = api.call("GET /docs", key=None)
    assert status == 200
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    for name in re.findall(r'(?:src|href)="portal/([^"]+)"', body):
        assert api.call("GET /portal/{file}", {"file": name}, key=None)[0] == 200


def test_the_vendor_s_look_is_text() -> None:
    look = page.Look(
        {
            "PORTAL_VENDOR_NAME": '"><script>alert(1)</script>',
            "PORTAL_ACCENT_COLOR": '#"><b>',
            "PORTAL_LOGO": 'data:image/png;base64,AAAA"><b>',
            "PORTAL_EMBED_ORIGINS": "https://a.example  https://*.b.example",
        }
    )
    answer = page._render(look, "../", " ".join(look.origins))
    assert "<script>" not in answer.body
    assert "<b>" not in answer.body
    assert answer.headers["content-security-policy"].endswith(
        "frame-ancestors https://a.example https://*.b.example"
    )
    assert "x-frame-options" not in answer.headers


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("identity", None),
        ("", None),
        ("BR;q=1", "br"),
    ],
)
def test_files_are_packed_as_the_browser_likes(
    api: Api, accepted: str, encoding: str | None
) -> None:
    [script] = page.STATIC.glob("portal-*.js")
    given = event(
        "GET /portal/{file}",
        {"file": script.name},
        key=None,
        headers={"accept-encoding": accepted},
    )
    answer = api._serve(given, None)
    assert answer["statusCode"] == 200
    headers = answer["headers"]
    assert headers.get("content-encoding") == encoding
    assert headers["vary"] == "accept-encoding"
    assert "immutable" in headers["cache-control"]
    assert answer["isBase64Encoded"] == (encoding is not None)
    if encoding == "gzip":
        assert gzip.decompress(base64.b64decode(answer["body"])) == script.read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "page.html",
        "reference.html",
        "..",
        "../handler.py",
        "handler.py",
        "portal-0.js",
        "portal.js.br",
        ".built",
        "%2e%2e",
        "PORTAL.JS",
    ],
)
def test_no_other_file_is_served(api: Api, name: str) -> None:
    assert api.call("GET /portal/{file}", {"file": name}, key=None)[0] == 404
