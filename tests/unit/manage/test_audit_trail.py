"""The audit trail: what people change through the API is on record, with who and what."""

import json
from typing import Any

import pytest

from shared.clock import from_rfc3339_ms
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"


def changes(api: Api, entitlement_id: str, **query: str) -> list[dict[str, Any]]:
    status, answer, _ = api.call(f"GET {E}/changes", {"entitlementId": entitlement_id}, query=query)
    assert status == 200, answer
    items: list[dict[str, Any]] = answer["items"]
    return items


def test_a_change_of_terms_says_who_and_both_values(api: Api) -> None:
    entitlement_id = api.create(seatCount=100)
    path = {"entitlementId": entitlement_id}
    api.call(f"PATCH {E}", path, {"seatCount": 130, "customer": {"name": "Globex Two"}})
    api.call(f"PATCH {E}", path, {"seatCount": 130})  # changes nothing
    updated, created = changes(api, entitlement_id)
    assert created["type"] == "entitlement.created"
    assert created["changes"]["seatCount"] == {"before": None, "after": 100}
    assert updated["type"] == "entitlement.updated"
    assert updated["changes"].keys() == {"seatCount", "customer"}
    assert updated["changes"]["seatCount"] == {"before": 100, "after": 130}
    assert updated["changes"]["customer"]["after"]["name"] == "Globex Two"
    assert updated["actor"] == created["actor"] == "bootstrap"
    assert updated["entitlementId"] == entitlement_id


def test_a_refused_change_is_not_on_record(api: Api) -> None:
    entitlement_id = api.create()
    path = {"entitlementId": entitlement_id}
    assert api.call(f"PATCH {E}", path, {"seatCount": -1})[0] == 400
    assert api.call(f"PATCH {E}", path, {"seatCount": 7}, headers={"if-match": '"9"'})[0] == 412
    assert [each["type"] for each in changes(api, entitlement_id)] == ["entitlement.created"]


def test_a_repeated_request_is_on_record_once(api: Api) -> None:
    entitlement_id = api.create()
    path = {"entitlementId": entitlement_id}
    for _ in range(3):
        again = {"idempotency-key": "once"}
        status, _, _ = api.call(f"POST {E}/license-keys", path, {}, headers=again)
        assert status == 201
    found = changes(api, entitlement_id, type="license_key.created")
    assert len(found) == 1


def test_everything_that_the_api_changes_is_on_record(api: Api) -> None:
    entitlement_id = api.create()
    path = {"entitlementId": entitlement_id}

    def call(route: str, more: dict[str, str] | None = None, body: Any = None) -> Any:
        named = {
            name: value
            for name, value in {**path, **(more or {})}.items()
            if f"{{{name}}}" in route
        }
        status, answer, _ = api.call(route, named, body)
        assert status < 300, answer
        return answer

    key = call(f"POST {E}/license-keys", body={"name": "Main"})
    call(f"DELETE {E}/license-keys/{{keyId}}", {"keyId": key["keyId"]})
    link = call(f"POST {E}/portal-links", body={"role": "admin", "name": "Alice"})
    call(f"DELETE {E}/portal-links/{{linkId}}", {"linkId": link["linkId"]})
    call(f"PATCH {E}/follow-up", body={"state": "contacted", "owner": "Olaf"})
    asked = call(f"POST {E}/seat-requests", body={"seats": 5, "message": "soon"})
    call(f"PATCH {E}/seat-requests/{{requestId}}", asked, {"status": "declined"})
    hook = call("POST /v1/webhooks", body={"url": "http://127.0.0.1:9/hook"})
    call("PATCH /v1/webhooks/{webhookId}", hook, {"description": "CRM"})
    call("POST /v1/webhooks/{webhookId}/rotate-secret", hook, {})
    call("POST /v1/webhooks/{webhookId}/test", hook, {})
    call("POST /v1/webhooks/{webhookId}/resend", hook, {"since": "2026-01-01T00:00:00Z"})
    call("DELETE /v1/webhooks/{webhookId}", hook)
    api_key = call("POST /v1/api-keys", body={"name": "CI", "scopes": ["report"]})
    call("DELETE /v1/api-keys/{keyId}", api_key)
    call(f"DELETE {E}")

    of_entitlement = [each["type"] for each in reversed(changes(api, entitlement_id))]
    assert of_entitlement == [
        "entitlement.created",
        "license_key.created",
        "license_key.revoked",
        "portal_link.created",
        "portal_link.revoked",
        "follow_up.updated",
        "seat_request.created",
        "seat_request.updated",
        "entitlement.deleted",
    ]
    everything = call("GET /v1/audit")["items"]
    assert sorted(each["type"] for each in everything) == sorted(
        [
            *of_entitlement,
            "webhook.created",
            "webhook.updated",
            "webhook.secret_rotated",
            "webhook.tested",
            "webhook.resent",
            "webhook.deleted",
            "api_key.created",
            "api_key.revoked",
        ]
    )
    times = [from_rfc3339_ms(each["at"]) for each in everything]
    assert times == sorted(times, reverse=True)
    secrets = (key["key"], link["url"].partition("#")[2], hook["secret"], api_key["key"])
    assert not any(secret in json.dumps(everything) for secret in secrets)


def test_a_filter_by_actor(api: Api) -> None:
    entitlement_id = api.create()
    path = {"entitlementId": entitlement_id}
    _, key, _ = api.call("POST /v1/api-keys", body={"name": "Sales", "scopes": ["manage"]})
    bearer = f"Bearer {key['key']}"
    api.call(f"PATCH {E}", path, {"seatCount": 7}, headers={"authorization": bearer})
    [found] = changes(api, entitlement_id, actor=key["keyId"])
    assert (found["actorName"], found["changes"]["seatCount"]["after"]) == ("Sales", 7)
    # The name stays when the key is gone.
    api.call("DELETE /v1/api-keys/{keyId}", {"keyId": key["keyId"]})
    [found] = changes(api, entitlement_id, actor=key["keyId"])
    assert found["actorName"] == "Sales"


def test_a_portal_link_sees_what_the_customer_may_know(api: Api) -> None:
    entitlement_id = api.create(
        usageLimits=[{"key": "exports", "limit": 100}],
        unitPrice={"amount": "3011.00", "currency": "EUR", "per": "month"},
    )
    path = {"entitlementId": entitlement_id}
    price = {"amount": "4011.00", "currency": "EUR", "per": "month"}
    api.call(f"PATCH {E}", path, {"unitPrice": price})
    api.call(f"PATCH {E}", path, {"seatCount": 7, "unitPrice": None})
    api.call(f"PATCH {E}/follow-up", path, {"note": "they will buy"})
    api.call(f"POST {E}/license-keys", path, {})
    _, link, _ = api.call(f"POST {E}/portal-links", path, {"role": "viewer", "name": "Bob"})
    portal = {"authorization": f"Portal {link['url'].partition('#')[2]}"}
    api.call(f"POST {E}/seat-requests", path, {"seats": 3}, headers=portal)

    status, answer, _ = api.call(f"GET {E}/changes", path, headers=portal)
    assert status == 200
    asked, linked, updated, created = answer["items"]
    assert (asked["type"], asked["actor"]) == ("seat_request.created", link["linkId"])
    assert (linked["type"], linked["actor"]) == ("portal_link.created", None)
    assert updated["changes"] == {"seatCount": {"before": 2, "after": 7}}
    assert updated["actor"] is None
    assert "unitPrice" not in created["changes"]
    assert "contacts" not in created["changes"]
    text = json.dumps(answer)
    assert not any(
        word in text for word in ("3011.00", "4011.00", "they will buy", "bootstrap", "Bob")
    )


@pytest.mark.parametrize("scopes", [["manage"], ["report"], ["activate"]])
def test_the_whole_trail_is_for_administrators(api: Api, scopes: list[str]) -> None:
    _, key, _ = api.call("POST /v1/api-keys", body={"name": "k", "scopes": scopes})
    bearer = {"authorization": f"Bearer {key['key']}"}
    assert api.call("GET /v1/audit", headers=bearer)[0] == 403


def test_the_trail_of_months(api: Api) -> None:
    api.create()
    year = {"from": "2020-01-01", "to": "2099-01-01"}
    assert len(api.call("GET /v1/audit", query=year)[1]["items"]) == 1
    past = {"from": "2020-01-01", "to": "2020-02-01"}
    assert api.call("GET /v1/audit", query=past)[1] == {"items": [], "nextPageToken": None}
