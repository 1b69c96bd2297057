"""Entitlements and webhooks: what is refused, what is found."""

from collections.abc import Mapping
from typing import Any

import pytest

from functions.manage import documents
from shared.dynamodb.keys import (
    webhook_key,
)
from shared.dynamodb.requests import (
    BatchPut,
    Item,
)
from shared.entitlements.views import entitlement_view
from shared.problems import InvalidRequest
from shared.seats.seat_usage import SeatUsage
from tests.unit.conftest import Api


@pytest.mark.parametrize(
    "address",
    [
        "müller@x.example",
        "owner@münchen.example",
        "a,b@x.example",
        "<b@x.example>",
        "a\u200bb@x.example",
        "a" * 65 + "@x.example",
        ".a@x.example",
        "a@-x.example",
        "a..b@x.example",
        "a@x",
        "a@x_y.example",
        '"a b"@x.example',
        "a@[192.0.2.1]",
    ],
)
def test_addresses_that_ses_cannot_send_to_are_refused_when_they_are_set(
    api: Api, address: str
) -> None:
    entitlement_id = api.create()
    for contact in ("accountOwner", "customerAdmin"):
        body = {"contacts": {contact: {"email": address}}}
        route = "PATCH /v1/entitlements/{entitlementId}"
        status, answer, _ = api.call(route, {"entitlementId": entitlement_id}, body)
        assert status == 400, answer
        assert answer["errors"][0]["pointer"] == f"/contacts/{contact}/email"
    if "münchen" in address:
        assert "xn--mnchen-3ya" in answer["errors"][0]["detail"]


@pytest.mark.parametrize("address", ["o'neil+x@acme.example", "a@xn--mnchen-3ya.example"])
def test_other_addresses_are_taken(api: Api, address: str) -> None:
    entitlement_id = api.create(contacts={"accountOwner": {"email": address}})
    _, answer, _ = api.call(
        "GET /v1/entitlements/{entitlementId}", {"entitlementId": entitlement_id}
    )
    assert answer["contacts"]["accountOwner"]["email"] == address


def test_a_customer_is_found_by_any_form_of_the_name(api: Api) -> None:
    composed, decomposed = "M\u00fcller", "Mu\u0308ller"
    api.create(customer={"name": decomposed})
    for name in (composed, decomposed):
        _, answer, _ = api.call("GET /v1/entitlements", query={"customer": name})
        assert [item["customer"]["name"] for item in answer["items"]] == [composed]


def test_no_more_than_a_thousand_endpoints(api: Api) -> None:
    """All of them are looked at for every event."""
    endpoint: Item = {
        "url": "http://127.0.0.1:9/",
        "eventTypes": ["*"],
        "enabled": True,
        "version": 1,
    }
    keys = [webhook_key(f"whk_{number:016d}") for number in range(1_000)]
    api.dynamodb.execute(BatchPut(tuple((key, endpoint) for key in keys)))
    body = {"url": "http://127.0.0.1:9/"}
    status, problem, _ = api.call("POST /v1/webhooks", body=body)
    assert status == 400
    assert "1000 endpoints" in problem["detail"]
    gone = {"webhookId": keys[0].sk}
    assert api.call("DELETE /v1/webhooks/{webhookId}", gone)[0] == 204
    again = {"idempotency-key": "the-last-one"}
    for _ in range(2):  # the second time it is the answer of the first
        assert api.call("POST /v1/webhooks", body=body, headers=again)[0] == 201


def test_a_document_of_an_older_release_lacks_members_that_came_later() -> None:
    item: Item = {
        "entitlementId": "ent_old",
        "status": "active",
        "validFrom": 0,
        "createdAt": 0,
        "updatedAt": 0,
        "hardCap": 2,
        "document": {"product": "P", "customer": {"name": "C"}, "seatCount": 2, "usageLimits": []},
    }
    view: Mapping[str, object] = entitlement_view(item, SeatUsage(0, 2, 2), now=1)
    assert [view[name] for name in ("timeZone", "thresholds", "unitPrice")] == [None] * 3
    assert view["notifications"], "as it is by default"


TERMS = {"product": "CAD", "customer": {"name": "Acme"}, "seatCount": 1}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"seatCount": "3"}, "must be a whole number"),
        ({"seatCount": -1}, "must be at least 0"),
        ({"customer": "Acme"}, "must be an object"),
        ({"usageLimits": {}}, "must be an array"),
        ({"status": "on"}, "must be one of: 'active' or 'suspended'"),
        ({"unitPrice": {"amount": "3,00", "currency": "EUR", "per": "month"}}, '"30.00"'),
        ({"unitPrice": {"amount": "3.00", "currency": "eur", "per": "month"}}, "such as EUR"),
        ({"contacts": {"accountOwner": {"email": "ann"}}}, "such as ann@example.com"),
        (
            {"contacts": {"accountOwner": {"email": "ann@example.com", "phone": "030 x"}}},
            "such as +49 30 901820",
        ),
        ({"usageLimits": [{"key": "a b", "limit": 1}]}, "such as exports"),
        ({"validUntil": "tomorrow"}, "such as 2027-01-31T00:00:00Z"),
        ({"customer": {"name": "A", "id": 1}}, "unknown field; known are: externalId, name"),
        (
            {"usageLimits": [{"key": "a", "limit": 1, "cap": 2}]},
            "unknown field; known are: customerCap, key, limit, overdraftLimit, overdraftPrice, resetSchedule",
        ),
        (
            {"overdraftSeatLimit": {"type": "absolute", "value": 1, "x": 1}},
            "unknown field; known are: period, recovery, type, value",
        ),
        ({"product": None}, "must be a string"),
        ({"product": ""}, "must have at least 1 character(s)"),
        ({"thresholds": [1] * 11}, "must have at most 10 items"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(body: dict[str, Any], detail: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        documents.to_document({**TERMS, **body}, valid_from=0)
    [error] = refused.value.extensions["errors"]
    assert detail in error["detail"]


def test_all_errors_are_named() -> None:
    with pytest.raises(InvalidRequest) as refused:
        documents.to_document({"a": 1, "b": 2, "c": 3, "seatCount": 1}, valid_from=0)
    errors = refused.value.extensions["errors"]
    assert {error["pointer"] for error in errors} == {"/a", "/b", "/c", "/product", "/customer"}
    assert refused.value.detail.endswith("; and 2 more, see errors")
