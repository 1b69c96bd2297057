"""What a purchase answers: it is allotted to requests, the oldest first."""

from typing import Any

import pytest

from shared.clock import now_ms
from shared.dynamodb.keys import SEATS, usage_meter
from shared.sales import seat_requests
from tests.support.tables import this_thread_as
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"


def after_purchase(api: Api, entitlement_id: str, meter: str, purchased: int) -> tuple[bool, Any]:
    """Whether every request is covered, and their states, the oldest first."""
    with this_thread_as("NotifyRole"):
        work = seat_requests.answer_by_purchase(entitlement_id, meter, purchased, now_ms() + 1_000)
        is_covered = api.dynamodb.run(work)
    path = {"entitlementId": entitlement_id}
    items = api.call(f"GET {E}/seat-requests", path)[1]["items"]
    return is_covered, [each["status"] for each in reversed(items)]


@pytest.mark.parametrize(
    ("purchased", "is_covered", "states"),
    [
        (8, False, ["open", "open", "open"]),
        (9, False, ["answered", "open", "open"]),
        (13, False, ["answered", "answered", "open"]),
        (17, True, ["answered", "answered", "answered"]),
    ],
)
def test_what_was_bought_is_allotted_once(
    api: Api, purchased: int, is_covered: bool, states: list[str]
) -> None:
    entitlement_id = api.create(seatCount=5)
    path = {"entitlementId": entitlement_id}
    for _ in range(3):
        assert api.call(f"POST {E}/seat-requests", path, {"seats": 4})[0] == 201
    assert after_purchase(api, entitlement_id, SEATS, purchased) == (is_covered, states)


def test_more_of_one_limit_covers_no_request_for_another(api: Api) -> None:
    limits = [{"key": "exports", "limit": 10}, {"key": "calls", "limit": 10}]
    entitlement_id = api.create(usageLimits=limits)
    path = {"entitlementId": entitlement_id}
    for key in ("exports", "calls"):
        body = {"usageKey": key, "quantity": 5}
        assert api.call(f"POST {E}/seat-requests", path, body)[0] == 201
    assert after_purchase(api, entitlement_id, SEATS, 1_000) == (False, ["open", "open"])
    exports = usage_meter("exports")
    assert after_purchase(api, entitlement_id, exports, 15) == (False, ["answered", "open"])
    assert after_purchase(api, entitlement_id, usage_meter("calls"), 15)[0] is True


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/seats"),
        ({"quantity": 5}, "/quantity"),
        ({"usageKey": "exports"}, "/quantity"),
        ({"usageKey": "exports", "quantity": 0}, "/quantity"),
        ({"usageKey": "exports", "quantity": 5, "seats": 1}, "/seats"),
        ({"usageKey": "imports", "quantity": 5}, "/usageKey"),
    ],
)
def test_what_cannot_be_requested(api: Api, body: dict[str, Any], pointer: str) -> None:
    entitlement_id = api.create(usageLimits=[{"key": "exports", "limit": 10}])
    path = {"entitlementId": entitlement_id}
    status, answer, _ = api.call(f"POST {E}/seat-requests", path, body)
    assert (status, answer["errors"][0]["pointer"]) == (400, pointer)
