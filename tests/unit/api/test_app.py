"""API in, API out: what every route shares."""

import io
from typing import Any

import pytest

from functions.activate import handler as activate
from shared import observability
from shared.api import app, request
from shared.api.auth import Caller, Credentials, hash_key
from shared.api.rate_limit import RateLimits
from shared.aws_json import Credentials as AwsCredentials
from shared.dynamodb.client import ATTEMPTS, DynamoDBClient
from shared.dynamodb.keys import Key
from shared.dynamodb.requests import DynamoDBError, Unavailable
from shared.problems import Throttled, Unauthorized, kinds
from tests.support.requests import BOOTSTRAP_KEY, event
from tests.support.tables import faulty_client, read_item
from tests.unit.conftest import Api

TAKE = "POST /v1/entitlements/{entitlementId}/activations"


def test_a_body_in_base64_is_read(api: Api) -> None:
    path = {"entitlementId": api.create()}
    status, body, _ = api.call(TAKE, path, {"seatId": "é"}, encoded=True)
    assert (status, body["seatId"]) == (201, "é")


def test_a_body_that_is_not_utf_8_is_refused(api: Api) -> None:
    path = {"entitlementId": api.create()}
    request = event(TAKE, path, {"seatId": "a"}, encoded=True)
    request["body"] = "eyJzZWF0SWQiOiAi//4ifQ=="  # {"seatId": "\xff\xfe"}
    answer = api._serve(request, None)
    assert answer["statusCode"] == 400
    assert "UTF-8" in answer["body"]
    request["body"] = "not base64"
    assert api._serve(request, None)["statusCode"] == 400


def test_an_unexpected_error_is_a_problem_without_details(
    api: Api,
) -> None:
    def fail(_: request.Request) -> request.Response:
        raise RuntimeError("a secret of the inside")

    serve = app.serve({"takeSeat": fail}, api.context)
    answer = serve(event(TAKE, {"entitlementId": "ent_x"}, {"seatId": "a"}), None)
    assert answer["statusCode"] == 500
    assert "secret" not in answer["body"]
    assert answer["headers"]["content-type"] == "application/problem+json"


def test_an_unavailable_table_is_503_with_retry_after(api: Api) -> None:
    class Down(DynamoDBClient):
        def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
            return 400, {"__type": "x#ProvisionedThroughputExceededException"}

    down = Down(
        "t", region="eu-west-1", endpoint="http://127.0.0.1:1", credentials=AwsCredentials("a", "b")
    )
    context = app.Context({"BOOTSTRAP_KEY_HASH": hash_key(BOOTSTRAP_KEY)}, down)
    serve = app.serve(activate.HANDLERS, context)
    answer = serve(event(TAKE, {"entitlementId": "ent_x"}, {"seatId": "a"}), None)
    assert answer["statusCode"] == 503
    assert answer["headers"]["retry-after"] == "2"


def test_a_denial_that_cannot_be_recorded_is_503_not_409(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = {"entitlementId": api.create(seatCount=0)}
    send = api.dynamodb._send

    def no_denials(operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        if b"DENIAL#" in payload:
            return 500, {"__type": "InternalServerError"}
        return send(operation, payload)

    monkeypatch.setattr(api.dynamodb, "_send", no_denials)
    assert api.call(TAKE, path, {"seatId": "a"})[0] == 503
    monkeypatch.undo()
    assert api.call(TAKE, path, {"seatId": "a"})[0] == 409


def test_rate_limits_are_by_credential_and_minute() -> None:
    limits = RateLimits({"api": 2, "license": 1})
    one = Caller("key_one", "api", frozenset(), None, b"")
    two = Caller("lic_two", "license", frozenset(), "ent_x", b"")
    assert limits.admit(one, 600)["ratelimit"] == '"default";r=1;t=60'
    assert limits.admit(one, 630)["ratelimit"] == '"default";r=0;t=30'
    with pytest.raises(Throttled) as throttled:
        limits.admit(one, 650)
    assert throttled.value.headers["retry-after"] == "10"
    assert limits.admit(two, 650)["ratelimit-policy"] == '"default";q=1;w=60'
    assert limits.admit(one, 660)


def test_throttled_over_the_api(dynamodb: DynamoDBClient) -> None:
    api = Api(dynamodb, API_KEY_REQUESTS_PER_MINUTE="1")
    statuses = {api.call("GET /v1/api-keys")[0] for _ in range(4)}
    assert 429 in statuses
    status, body, headers = api.call("GET /v1/api-keys")
    if status == 429:  # unless the minute has just turned
        assert body["type"].endswith("/throttled")
        assert {"retry-after", "ratelimit", "ratelimit-policy"} <= set(headers)


class Keys:
    """Key records, and how often each was read."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.reads = 0

    def look_up(self, key_id: str) -> dict[str, Any] | None:
        self.reads += 1
        return self.records.get(key_id)


SECRET = "s" * 43


@pytest.fixture
def keys() -> Keys:
    keys = Keys()
    keys.records["key_a"] = {
        "kind": "api",
        "hash": hash_key(f"key_a.{SECRET}"),
        "scopes": ["report"],
    }
    keys.records["lic_a"] = {
        "kind": "license",
        "hash": hash_key(f"lic_a.{SECRET}"),
        "entitlementId": "ent_a",
    }
    return keys


def test_a_known_key_is_read_once_a_minute_and_a_revoked_one_stops(keys: Keys) -> None:
    credentials = Credentials(keys.look_up, "")
    caller = credentials.check(f"Bearer key_a.{SECRET}", 1000, ())
    assert (caller.key_id, caller.kind, caller.scopes) == ("key_a", "api", frozenset({"report"}))
    credentials.check(f"bearer  key_a.{SECRET}", 1059, ())
    assert keys.reads == 1
    del keys.records["key_a"]
    assert credentials.check(f"Bearer key_a.{SECRET}", 1059.9, ())
    with pytest.raises(Unauthorized):
        credentials.check(f"Bearer key_a.{SECRET}", 1060, ())


def test_kinds_are_not_mixed(keys: Keys) -> None:
    credentials = Credentials(keys.look_up, "")
    assert credentials.check(f"License lic_a.{SECRET}", 0, ()).entitlement_id == "ent_a"
    for header in (f"Bearer lic_a.{SECRET}", f"License key_a.{SECRET}"):
        with pytest.raises(Unauthorized):
            credentials.check(header, 0, ())


def test_the_bootstrap_key_can_be_switched_off(keys: Keys) -> None:
    on = Credentials(keys.look_up, hash_key(BOOTSTRAP_KEY).upper())
    assert on.check(f"Bearer {BOOTSTRAP_KEY}", 0, ("admin",)).scopes == {"admin"}
    with pytest.raises(Unauthorized):
        on.check(f"License {BOOTSTRAP_KEY}", 0, ("admin",))
    with pytest.raises(Unauthorized):
        Credentials(keys.look_up, "").check(f"Bearer {BOOTSTRAP_KEY}", 0, ("admin",))
    assert keys.reads == 0


def test_a_secret_shows_in_no_representation(keys: Keys) -> None:
    caller = Credentials(keys.look_up, "").check(f"Bearer key_a.{SECRET}", 0, ())
    assert SECRET not in repr(caller)
    assert SECRET not in str(vars(caller) if hasattr(caller, "__dict__") else "")


def test_logs_hold_no_secret(api: Api) -> None:
    handler = observability.logger.registered_handler
    log = io.StringIO()
    before = handler.setStream(log)  # type: ignore[attr-defined]
    observability.logger.setLevel("DEBUG")
    try:
        path = {"entitlementId": api.create()}
        _, created, _ = api.call("POST /v1/entitlements/{entitlementId}/license-keys", path, {})
        api.call(TAKE, path, {"seatId": "alice@acme.com"}, key=created["key"])
    finally:
        observability.logger.setLevel("CRITICAL")
        handler.setStream(before)  # type: ignore[attr-defined]
    logged = log.getvalue()
    assert '"route":"POST /v1/entitlements/{entitlementId}/activations"' in logged
    assert created["keyId"] in logged
    for secret in (created["key"].partition(".")[2], BOOTSTRAP_KEY, "alice@acme.com"):
        assert secret not in logged


def test_every_problem_has_a_type_of_its_own() -> None:
    known = kinds()
    assert len({kind.type for kind in known}) == len(known) == 26
    assert all(kind.__doc__ and kind.title.endswith(".") for kind in known)


def test_retries_of_the_client_are_bounded(
    monkeypatch: pytest.MonkeyPatch, dynamodb: DynamoDBClient
) -> None:
    calls = []

    def fail(operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        calls.append(operation)
        return 503, {}

    monkeypatch.setattr(dynamodb, "_send", fail)
    with pytest.raises(Unavailable):
        read_item(dynamodb, Key("a", "b"))
    assert len(calls) == ATTEMPTS


def test_no_attempt_begins_after_the_deadline(engine_url: str) -> None:
    """Our own 503 must come before the function's time-out."""
    dynamodb = faulty_client(engine_url, "none")
    dynamodb.is_patient = False
    dynamodb.answer_within(-1)
    with pytest.raises(Unavailable, match="out of time"):
        read_item(dynamodb, Key("a", "b"))
    assert dynamodb.calls == 0


def test_a_refused_right_is_not_retried(
    monkeypatch: pytest.MonkeyPatch, dynamodb: DynamoDBClient
) -> None:
    calls = []

    def deny(operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        calls.append(operation)
        return 400, {"__type": "com.amazon#AccessDeniedException", "message": "no"}

    monkeypatch.setattr(dynamodb, "_send", deny)
    with pytest.raises(DynamoDBError):
        read_item(dynamodb, Key("a", "b"))
    assert len(calls) == 1
