"""What every route shares: paths, methods, encodings, formats of items."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.dynamodb.keys import (
    secret_key,
)
from shared.dynamodb.marshalling import FORMAT, FORMAT_ATTRIBUTE
from shared.dynamodb.requests import (
    Delete,
)
from tests.support import dynamodb_local
from tests.support.requests import event
from tests.unit.conftest import Api
from tests.unit.manage.test_seats import put_person


@pytest.mark.parametrize(
    ("stored", "asked"),
    [("a+b", "a%2Bb"), ("a@b", "a%40b"), ("a b", "a%20b"), ("a%b", "a%25b"), ("ä", "%C3%A4")],
)
def test_a_path_is_decoded_once_by_the_gateway_and_not_again(
    api: Api, stored: str, asked: str
) -> None:
    """The handler is given what API Gateway decoded: a request for `a%252Bb` arrives as `a%2Bb`."""
    entitlement_id = api.create()
    put_person(api, entitlement_id, stored)
    path = {"entitlementId": entitlement_id, "seat": asked}
    route = "/v1/entitlements/{entitlementId}/seats/{seat}"
    assert api.call(f"GET {route}", path)[0] == 404
    put_person(api, entitlement_id, asked)
    for seat_id in (stored, asked):
        status, answer, _ = api.call(f"GET {route}", {**path, "seat": seat_id})
        assert (status, answer["seatId"]) == (200, seat_id)


def test_head_is_answered_where_get_is(api: Api) -> None:
    entitlement_id = api.create()
    for route, path in (
        ("/health", {}),
        ("/v1/entitlements", {}),
        ("/v1/entitlements/{entitlementId}", {"entitlementId": entitlement_id}),
        ("/v1/entitlements/{entitlementId}", {"entitlementId": "ent_none"}),
        ("/portal", {}),
    ):
        got = api.call(f"GET {route}", path)
        head = api.call(f"HEAD {route}", path)
        assert head[0] == got[0]
        assert head[1] == ""
        assert set(head[2]) == set(got[2])


def test_the_description_is_sent_packed(api: Api) -> None:
    import base64
    import gzip

    route = "GET /openapi.json"
    plain = api._serve(event(route, key=None), None)
    packed = api._serve(event(route, key=None, headers={"accept-encoding": "gzip"}), None)
    assert packed["headers"]["content-encoding"] == "gzip"
    raw = base64.b64decode(packed["body"])
    assert gzip.decompress(raw).decode() == plain["body"]
    assert len(raw) < len(plain["body"]) / 5
    assert plain["headers"]["vary"] == packed["headers"]["vary"] == "accept-encoding"


def test_a_packed_body_is_an_unsupported_media_type(api: Api) -> None:
    status, answer, _ = api.call(
        "POST /v1/entitlements", body="x", headers={"content-encoding": "gzip"}
    )
    assert status == 415
    assert "Content-Encoding" in answer["detail"]


def test_whoever_needs_the_token_of_lists_first_may_make_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a fresh table, in a fresh process: by the portal, and by the function of reports."""
    monkeypatch.setattr("shared.signed_tokens._known", {})
    for route, headers in (("POST /v1/reports", {"idempotency-key": "a"}),) * 2:
        for _ in range(2):
            assert api.call(route, body={"period": "2026-01"}, headers=headers)[0] == 202
        headers["idempotency-key"] = "b"
    assert api.call("GET /v1/reports", query={"limit": "1"})[1]["nextPageToken"]
    api.dynamodb.execute(Delete(secret_key("page-token")))
    entitlement_id = api.create()
    path = {"entitlementId": entitlement_id}
    for seat_id in ("a", "b"):
        route = "POST /v1/entitlements/{entitlementId}/activations"
        assert api.call(route, path, {"seatId": seat_id})[0] == 201
    link = api.call("POST /v1/entitlements/{entitlementId}/portal-links", path, {})[1]["url"]
    api.dynamodb.execute(Delete(secret_key("page-token")))
    monkeypatch.setattr("shared.signed_tokens._known", {})
    token = link.partition("#")[2]
    _, answer, _ = api.call("GET /v1/portal/seats", query={"limit": "1"}, key=token)
    assert answer["nextPageToken"]


@pytest.mark.parametrize("seat_count", [2, 300])
def test_what_newer_code_has_written_is_left_alone(api: Api, seat_count: int) -> None:
    """Answered 503, never decided wrongly: by reads, and by writes that know nothing of an item."""
    limit = {"key": "exports", "limit": 5, "resetSchedule": "monthly"}
    entitlement_id = api.create(seatCount=seat_count, usageLimits=[limit])
    path, usage = (
        {"entitlementId": entitlement_id},
        {"entitlementId": entitlement_id, "key": "exports"},
    )
    held = api.call(f"POST {ACTIVATIONS}", path, {"seatId": "alice"})[1]["activationId"]
    calls: tuple[Callable[[], Any], ...] = (
        lambda: api.call(f"POST {ACTIVATIONS}", path, {"seatId": "bob"}),
        lambda: api.call(f"POST {ACTIVATIONS}", path, {"seatId": "alice"}),
        lambda: api.call(f"DELETE {ACTIVATIONS}/{{activationId}}", {**path, "activationId": held}),
        lambda: api.call(f"GET {ACTIVATIONS}", path),
        lambda: api.call("GET /v1/entitlements/{entitlementId}", path),
        lambda: api.call("PATCH /v1/entitlements/{entitlementId}", path, {"seatCount": 400}),
        lambda: api.call(
            "POST /v1/entitlements/{entitlementId}/usage/{key}",
            usage,
            {"quantity": 1},
            headers={"idempotency-key": "k1"},
        ),
        lambda: api.call("GET /v1/entitlements/{entitlementId}/usage", path),
    )
    url, name = api.dynamodb._aws.endpoint.rstrip("/"), api.dynamodb.name
    for item in dynamodb_local.scan(url, name):
        if item["pk"]["S"].startswith(("LEDGER#", "POOL#", "SUM#", "USAGE#", "ENTITLEMENT#")):
            put = {**item, FORMAT_ATTRIBUTE: {"N": str(FORMAT + 1)}}
            dynamodb_local.call(url, "DynamoDB_20120810", "PutItem", TableName=name, Item=put)
    before = sorted(map(json.dumps, dynamodb_local.scan(url, name)))
    for call in calls:
        status, problem, _ = call()
        assert (status, problem["type"].rpartition("/")[2]) == (503, "unavailable")
    assert sorted(map(json.dumps, dynamodb_local.scan(url, name))) == before


# --- What newer code has written ------------------------------------------------------------------


ACTIVATIONS = "/v1/entitlements/{entitlementId}/activations"
