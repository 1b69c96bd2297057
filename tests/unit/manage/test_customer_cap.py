"""The cap that a customer sets for itself: who may, how it holds, and what is on record."""

from typing import Any

import pytest

from functions.notify.stream_images import read_count, read_version
from shared.api import app
from shared.dynamodb import client as client_module
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import seat_shard_key, usage_key
from shared.events import builders
from tests.support.seats import NOW_MS
from tests.support.tables import read_item
from tests.unit.conftest import Api

CAP = "PATCH /v1/entitlements/{entitlementId}/customer-cap"
ENTITLEMENT = "GET /v1/entitlements/{entitlementId}"
PATCH = "PATCH /v1/entitlements/{entitlementId}"
TAKE = "POST /v1/entitlements/{entitlementId}/activations"
CONSUME = "POST /v1/entitlements/{entitlementId}/usage/{key}"
USAGE = "GET /v1/entitlements/{entitlementId}/usage"
DENIALS = "GET /v1/entitlements/{entitlementId}/denials"
CHANGES = "GET /v1/entitlements/{entitlementId}/changes"
LINKS = "POST /v1/entitlements/{entitlementId}/portal-links"
EXPORTS = {"key": "exports", "limit": 10, "overdraftLimit": {"type": "absolute", "value": 5}}


class Customer:
    """Four seats and two in overdraft, ten exports and five."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch, **terms: Any) -> None:
        self.api, self.now_ms, self.uses = api, NOW_MS, 0
        monkeypatch.setattr(app, "now_ms", lambda: self.now_ms)
        monkeypatch.setattr(client_module, "now_ms", lambda: self.now_ms)
        overdraft = {"type": "absolute", "value": 2}
        self.id = api.create(
            **{
                "seatCount": 4,
                "overdraftSeatLimit": overdraft,
                "usageLimits": [EXPORTS],
                **terms,
            }
        )

    def call(self, route: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        path = {"entitlementId": self.id, **({"key": "exports"} if "{key}" in route else {})}
        status, answer, _ = self.api.call(route, path, body, **more)
        return status, answer

    def take(self, *seat_ids: str) -> list[int]:
        return [self.call(TAKE, {"seatId": each})[0] for each in seat_ids]

    def consume(self, quantity: int) -> tuple[int, Any]:
        self.uses += 1
        headers = {"idempotency-key": f"use-{self.uses}"}
        return self.call(CONSUME, {"quantity": quantity}, headers=headers)

    def link(self, role: str) -> str:
        self.now_ms += 1_000
        status, answer = self.call(LINKS, {"role": role})
        assert status == 201
        return str(answer["url"].partition("#")[2])


@pytest.fixture
def customer(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> Customer:
    return Customer(Api(dynamodb), monkeypatch)


def kind(answer: Any) -> str:
    return str(answer["type"]).rpartition("/")[2]


@pytest.mark.parametrize(("cap", "granted"), [(0, 0), (3, 3), (4, 4), (5, 5), (6, 6), (None, 6)])
def test_it_is_exact_below_and_above_what_was_purchased(
    customer: Customer, cap: int | None, granted: int
) -> None:
    status, answer = customer.call(CAP, {"cap": cap})
    assert (status, answer) == (200, {"usageKey": None, "cap": cap, "hardCap": 6})
    statuses = customer.take(*(f"u{number}" for number in range(8)))
    assert statuses == [201] * granted + [409] * (8 - granted)
    _, denied = customer.call(TAKE, {"seatId": "new"})
    is_own = cap is not None and cap < 6
    assert kind(denied) == ("customer-cap-reached" if is_own else "hard-cap-reached")
    if is_own:
        assert denied["customerCap"] == cap
    assert denied["seats"] == {
        "used": granted,
        "purchased": 4,
        "hardCap": 6,
        "overdraftUsed": max(0, granted - 4),
        "available": 0,
    }
    records = customer.call(DENIALS)[1]["items"]
    assert {each["limitReached"] for each in records} == {"customerCap" if is_own else "hardCap"}
    assert (records[0]["purchased"], records[0]["hardCap"]) == (4, 6)


@pytest.mark.parametrize(("cap", "granted"), [(0, 0), (7, 7), (12, 12), (15, 15)])
def test_of_a_usage_limit(customer: Customer, cap: int, granted: int) -> None:
    assert customer.call(CAP, {"usageKey": "exports", "cap": cap})[0] == 200
    if granted:
        status, answer = customer.consume(granted)
        assert status == 200
        assert answer["usage"]["used"] == granted
        assert answer["usage"]["available"] == 0
    status, denied = customer.consume(1)
    assert status == 409
    assert kind(denied) == ("customer-cap-reached" if cap < 15 else "hard-cap-reached")
    [shown] = customer.call(USAGE)[1]["items"]
    assert (shown["usage"]["used"], shown["usage"]["hardCap"]) == (granted, 15)
    assert shown["customerCap"] == (cap if cap < 15 else None)


def test_it_may_be_lowered_below_use_and_raised_again(customer: Customer) -> None:
    assert customer.take("a", "b", "c", "d", "e") == [201] * 5
    customer.consume(9)
    for body in ({"cap": 2}, {"usageKey": "exports", "cap": 3}):
        assert customer.call(CAP, body)[0] == 200
    assert customer.take("a", "e", "f") == [200, 200, 409], "whoever holds a seat keeps it"
    status, denied = customer.consume(1)
    assert (status, denied["usage"]["used"]) == (409, 9)
    assert customer.call(CAP, {"cap": None})[0] == 200
    assert customer.call(CAP, {"usageKey": "exports", "cap": None})[0] == 200
    assert customer.take("f", "g") == [201, 409]
    assert customer.consume(6)[0] == 200
    assert customer.consume(1)[0] == 409


def test_what_was_answered_before_a_cap_is_answered_again(customer: Customer) -> None:
    def consume() -> tuple[int, Any]:
        return customer.call(CONSUME, {"quantity": 4}, headers={"idempotency-key": "once"})

    first = consume()
    customer.call(CAP, {"usageKey": "exports", "cap": 3})
    assert consume() == first
    customer.call(CAP, {"usageKey": "exports", "cap": None})
    assert consume() == first


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"cap": 7}, "/cap"),
        ({"cap": -1}, "/cap"),
        ({"cap": "5"}, "/cap"),
        ({}, "/cap"),
        ({"usageKey": "exports", "cap": 16}, "/cap"),
        ({"usageKey": "imports", "cap": 1}, "/usageKey"),
        ({"cap": 10**9}, "/cap"),
    ],
)
def test_what_is_wrong_changes_nothing(
    customer: Customer, body: dict[str, Any], pointer: str
) -> None:
    before = customer.call(ENTITLEMENT)
    status, answer = customer.call(CAP, body)
    assert status == 400
    assert answer["errors"][0]["pointer"] == pointer
    assert customer.call(ENTITLEMENT) == before
    assert customer.call(PATCH, {"customerCap": 7})[0] == 400
    limits = [{**EXPORTS, "customerCap": 16}]
    status, answer = customer.call(PATCH, {"usageLimits": limits})
    assert (status, answer["errors"][0]["pointer"]) == (400, "/usageLimits/0/customerCap")


def test_the_vendor_changes_terms_around_it(customer: Customer) -> None:
    customer.call(CAP, {"cap": 5})
    customer.call(CAP, {"usageKey": "exports", "cap": 14})
    # A patch of the list keeps what it does not name. Under a lower hard cap it waits.
    _, shown = customer.call(PATCH, {"usageLimits": [{**EXPORTS, "limit": 8}]})
    assert [each["customerCap"] for each in shown["usageLimits"]] == [14]
    _, shown = customer.call(PATCH, {"seatCount": 1})
    assert (shown["hardCap"], shown["customerCap"]) == (3, 5)
    assert customer.take("a", "b", "c", "d") == [201] * 3 + [409]
    assert kind(customer.call(TAKE, {"seatId": "d"})[1]) == "hard-cap-reached"
    assert customer.call(PATCH, {"seatCount": None})[0] == 200
    _, shown = customer.call(PATCH, {"seatCount": 10})
    assert (shown["hardCap"], shown["customerCap"]) == (12, 5)
    assert customer.take("d", "e", "f") == [201, 201, 409]
    _, shown = customer.call(PATCH, {"customerCap": None, "usageLimits": []})
    assert shown["customerCap"] is None


def test_a_correction_is_bound_to_the_hard_cap_only(customer: Customer) -> None:
    customer.consume(7)
    customer.call(CAP, {"usageKey": "exports", "cap": 4})
    correct = "POST /v1/entitlements/{entitlementId}/usage/{key}/corrections"
    status, answer = customer.call(correct, {"quantity": 8, "reason": "late"})
    assert (status, answer["usage"]["used"], answer["usage"]["available"]) == (201, 15, 0)
    status, answer = customer.call(correct, {"quantity": 1, "reason": "late"})
    assert (status, kind(answer)) == (409, "hard-cap-reached")
    status, answer = customer.call(correct, {"quantity": -9, "reason": "back"})
    assert (status, answer["usage"]["used"], answer["usage"]["available"]) == (201, 6, 0)


def test_another_version_is_refused(customer: Customer) -> None:
    customer.call(CAP, {"cap": 3})
    assert customer.call(CAP, {"cap": 4}, headers={"if-match": '"1"'})[0] == 412
    assert customer.call(CAP, {"cap": 4}, headers={"if-match": '"2"'})[0] == 200


def test_the_admin_of_the_customer_sets_it_and_nobody_else(customer: Customer) -> None:
    admin, viewer = customer.link("admin"), customer.link("viewer")
    assert customer.call(CAP, {"cap": 3}, key=viewer)[0] == 403
    assert customer.call(CAP, {"cap": 3}, key=admin)[0] == 200
    entries = customer.call(CHANGES)[1]["items"]
    [entry] = [each for each in entries if each["type"] == "entitlement.updated"]
    assert entry["changes"] == {"customerCap": {"before": None, "after": 3}}
    assert entry["actor"] == admin.partition(".")[0]
    _, shown = customer.call("GET /v1/portal", key=admin)
    assert shown["customerCap"] == 3
    other = Customer.__new__(Customer)
    other.api, other.now_ms = customer.api, customer.now_ms
    other.id = customer.api.create()
    assert other.call(CAP, {"cap": 0}, key=admin)[0] in (403, 404)


def test_ten_changes_an_hour_through_a_link(customer: Customer) -> None:
    admin = customer.link("admin")
    for number in range(10):
        customer.now_ms += 60_000
        assert customer.call(CAP, {"cap": number % 5}, key=admin)[0] == 200
    customer.now_ms += 60_000
    status, answer = customer.call(CAP, {"cap": 6}, key=admin)
    assert (status, kind(answer)) == (429, "throttled")
    assert customer.call(CAP, {"cap": 6})[0] == 200, "the vendor is not bound by it"
    customer.now_ms += 3_600_000
    assert customer.call(CAP, {"cap": 5}, key=admin)[0] == 200


def test_the_event_has_it_before_and_after(customer: Customer) -> None:
    seats, count = seat_shard_key(customer.id), usage_key(customer.id, "exports")
    old = {key: read_item(customer.api.dynamodb, key) for key in (seats, count)}
    customer.call(CAP, {"cap": 3})
    customer.call(CAP, {"usageKey": "exports", "cap": 2})
    new = {key: read_item(customer.api.dynamodb, key) for key in (seats, count)}
    for version in (
        read_version(old[seats], new[seats]),
        read_count("exports", old[count], new[count]),
    ):
        assert version
        [event] = builders.of_change(customer.id, version.change)
        assert event["type"] == "entitlement.updated"
        before, after = event["data"]["before"], event["data"]["after"]
        assert (before["customerCap"], before["hardCap"]) == (None, after["hardCap"])
        assert after["customerCap"] in (2, 3)


def test_in_a_pool(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = Customer(Api(dynamodb), monkeypatch, seatCount=150)
    assert customer.take(*(f"u{number}" for number in range(20))) == [201] * 20
    assert customer.call(CAP, {"cap": 22})[0] == 200
    customer.now_ms += 2_000
    assert customer.take("a", "b", "c") == [201, 201, 409]
    _, denied = customer.call(TAKE, {"seatId": "c"})
    assert (kind(denied), denied["customerCap"]) == ("customer-cap-reached", 22)
    assert (denied["seats"]["purchased"], denied["seats"]["hardCap"]) == (150, 152)
    assert customer.call(CAP, {"cap": 23})[0] == 200
    assert customer.take("c", "d") == [201, 409]
    # Of a pool that becomes one shard, and several again, it stays.
    customer.call(PATCH, {"seatCount": 100})
    assert customer.take("d", "u1") == [409, 200]
    customer.call(PATCH, {"seatCount": 200})
    assert customer.take("d", "u1") == [409, 200]
    _, shown = customer.call(PATCH, {"customerCap": None})
    assert shown["customerCap"] is None
    customer.now_ms += 2_000
    assert customer.take("d") == [201]


def test_support_is_told_which_cap_it_was(customer: Customer) -> None:
    customer.call(CAP, {"cap": 1})
    assert customer.take("a", "b") == [201, 409]
    route = "GET /v1/entitlements/{entitlementId}/explain"
    status, explained = customer.call(route, query={"seatId": "b"})
    assert status == 200
    assert explained["denial"]["limitReached"] == "customerCap"
    assert "1 seat was in use, as many as the cap that the customer had set" in explained["summary"]
