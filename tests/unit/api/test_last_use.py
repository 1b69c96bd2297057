"""When an API key was last used: to the hour, by every function, and never at a call's expense."""

from typing import Any

import pytest

from shared.api.auth import USE_EVERY_MS
from shared.dynamodb.keys import credential_key
from shared.dynamodb.requests import Delete, Get, Unavailable, Update
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"
SCOPES = ["activate", "manage", "report"]


def new_key(api: Api) -> tuple[str, str]:
    body = {"name": "a system", "scopes": SCOPES}
    status, made, _ = api.call("POST /v1/api-keys", body=body)
    assert (status, made["lastUsedAt"]) == (201, None)
    return made["keyId"], made["key"]


def last_use(api: Api, key_id: str) -> int | None:
    item = api.dynamodb.execute(Get(credential_key(key_id)))
    return None if item is None else item.get("lastUsedAt")


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (f"POST {E}/activations", {"seatId": "a"}),
        (f"POST {E}/usage/{{key}}", {"quantity": 1}),
        (f"DELETE {E}/activations/{{activationId}}", None),
        (f"GET {E}", None),
        (f"GET {E}/graph", None),
        ("GET /v1/reports", None),
    ],
)
def test_every_function_records_it_by_its_own_role(api: Api, route: str, body: Any) -> None:
    entitlement_id = api.create(usageLimits=[{"key": "exports", "limit": 5}])
    key_id, key = new_key(api)
    path = {"entitlementId": entitlement_id, "key": "exports", "activationId": "act_1"}
    status, answer, _ = api.call(route, path, body, key=key, headers={"idempotency-key": "x"})
    assert status < 300 or status == 404, answer
    assert last_use(api, key_id) is not None


def test_it_is_written_once_an_hour(api: Api) -> None:
    key_id, key = new_key(api)
    api.call("GET /v1/reports", key=key)
    first = last_use(api, key_id)
    assert first is not None
    api.call("GET /v1/reports", key=key)
    api.context.credentials._cache.clear()  # another process
    api.call("GET /v1/reports", key=key)
    assert last_use(api, key_id) == first
    long_ago = first - USE_EVERY_MS
    set_use = Update(credential_key(key_id), "SET lastUsedAt = :at", "", {}, {":at": long_ago})
    api.dynamodb.execute(set_use)
    api.context.credentials._cache.clear()
    api.call("GET /v1/reports", key=key)
    assert (last_use(api, key_id) or 0) >= first
    [listed] = [
        each for each in api.call("GET /v1/api-keys")[1]["items"] if each["keyId"] == key_id
    ]
    assert listed["lastUsedAt"] is not None


def test_a_revoked_key_does_not_come_back(api: Api) -> None:
    """A process that still knows the key must not write its item again."""
    key_id, key = new_key(api)
    api.call("GET /v1/reports", key=key)
    api.dynamodb.execute(Delete(credential_key(key_id)))
    api.context._note_use(key_id, 1)
    assert api.dynamodb.execute(Get(credential_key(key_id))) is None


def test_a_call_does_not_fail_because_of_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    _, key = new_key(api)
    execute = api.dynamodb.execute

    def fails(request: Any) -> Any:
        if isinstance(request, Update):
            raise Unavailable("down")
        return execute(request)

    monkeypatch.setattr(api.dynamodb, "execute", fails)
    assert api.call("GET /v1/reports", key=key)[0] == 200
