"""What a denial tells the customer's software, if the entitlement allows it."""

from typing import Any

import pytest

from functions.activate import handler as activate
from shared.api.denial_help import DenialHelp
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.requests import Get, Unavailable
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"
OWNER = {"name": "Bo", "email": "bo@vendor.example", "phone": "+49 30 901820"}
URL = "https://vendor.example/more"
SOLD = {
    "seatCount": 1,
    "contacts": {"accountOwner": OWNER, "customerAdmin": {"email": "ann@acme.example"}},
    "usageLimits": [{"key": "exports", "limit": 1}],
}


def denied(api: Api, entitlement_id: str, **query: str) -> Any:
    path = {"entitlementId": entitlement_id}
    api.call(f"POST {E}/activations", path, {"seatId": "first"})
    status, answer, _ = api.call(f"POST {E}/activations", path, {"seatId": "second"}, query=query)
    assert (status, answer["type"].rpartition("/")[2]) == (409, "hard-cap-reached")
    return answer


def denied_exports(api: Api, entitlement_id: str) -> Any:
    path = {"entitlementId": entitlement_id, "key": "exports"}
    headers = {"idempotency-key": "a"}
    status, answer, _ = api.call(f"POST {E}/usage/{{key}}", path, {"quantity": 2}, headers=headers)
    assert status == 409
    return answer


def test_by_default_a_denial_names_nobody(api: Api) -> None:
    entitlement_id = api.create(**SOLD)
    for answer in (denied(api, entitlement_id), denied_exports(api, entitlement_id)):
        assert {"contact", "requestUrl"}.isdisjoint(answer)
        assert "bo@vendor" not in str(answer)


def test_a_denial_has_what_the_entitlement_allows(api: Api) -> None:
    help_ = {"showContact": True, "requestUrl": URL}
    entitlement_id = api.create(**SOLD, denialHelp=help_)
    for answer in (
        denied(api, entitlement_id),
        denied(api, entitlement_id, dryRun="true"),
        denied_exports(api, entitlement_id),
    ):
        assert (answer["contact"], answer["requestUrl"]) == (OWNER, URL)
        assert "ann@acme" not in str(answer), "the customer's own people are none of its business"


@pytest.mark.parametrize(
    ("help_", "contact", "url"),
    [
        ({"showContact": True}, OWNER, None),
        ({"requestUrl": URL}, None, URL),
        ({}, None, None),
    ],
)
def test_one_without_the_other(api: Api, help_: Any, contact: Any, url: str | None) -> None:
    answer = denied(api, api.create(**SOLD, denialHelp=help_))
    assert (answer["contact"], answer["requestUrl"]) == (contact, url)


def test_without_an_account_owner_there_is_no_contact(api: Api) -> None:
    sold = {**SOLD, "contacts": {}}
    answer = denied(api, api.create(**sold, denialHelp={"showContact": True, "requestUrl": URL}))
    assert (answer["contact"], answer["requestUrl"]) == (None, URL)


@pytest.mark.parametrize(
    "url",
    [
        "http://vendor.example/more",
        "javascript:alert(1)",
        "https:///more",
        "https://user:secret@vendor.example",
        "https://" + "a" * 2_000,
        "",
    ],
)
def test_an_address_that_is_no_page_is_refused(api: Api, url: str) -> None:
    body = {"product": "P", "customer": {"name": "C"}, **SOLD, "denialHelp": {"requestUrl": url}}
    status, answer, _ = api.call("POST /v1/entitlements", body=body)
    assert (status, answer["errors"][0]["pointer"]) == (400, "/denialHelp/requestUrl")


def test_it_is_read_once_a_minute(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    known = DenialHelp()
    monkeypatch.setattr(activate, "_denial_help", known)
    entitlement_id = api.create(**SOLD, denialHelp={"requestUrl": URL})
    reads = list[Get]()
    real = DynamoDBClient.execute

    def counting(self: DynamoDBClient, request: Any) -> Any:
        if isinstance(request, Get) and request.key.pk.startswith("ENTITLEMENT#"):
            reads.append(request)
        return real(self, request)

    monkeypatch.setattr(DynamoDBClient, "execute", counting)
    for _ in range(3):
        assert denied(api, entitlement_id)["requestUrl"] == URL
    assert len(reads) == 1
    path = {"entitlementId": entitlement_id}
    assert api.call(f"PATCH {E}", path, {"denialHelp": None})[0] == 200
    monkeypatch.setattr(known, "FRESH_MS", 0)
    assert "requestUrl" not in denied(api, entitlement_id)


def test_a_denial_is_answered_whatever_happens(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activate, "_denial_help", DenialHelp())
    entitlement_id = api.create(**SOLD, denialHelp={"requestUrl": URL})
    real = DynamoDBClient.execute

    def broken(self: DynamoDBClient, request: Any) -> Any:
        if isinstance(request, Get) and request.key.pk.startswith("ENTITLEMENT#"):
            raise Unavailable("throttled")
        return real(self, request)

    monkeypatch.setattr(DynamoDBClient, "execute", broken)
    assert "requestUrl" not in denied(api, entitlement_id)
