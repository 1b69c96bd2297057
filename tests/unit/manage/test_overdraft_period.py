"""An overdraft for a time, through the API: what may be asked for, and what is answered."""

from typing import Any

import pytest

from shared.api import app
from shared.clock import to_rfc3339
from shared.dynamodb import client as client_module
from shared.dynamodb.client import DynamoDBClient
from tests.support.seats import NOW_MS
from tests.unit.conftest import Api

ENTITLEMENT = "GET /v1/entitlements/{entitlementId}"
PATCH = "PATCH /v1/entitlements/{entitlementId}"
TAKE = "POST /v1/entitlements/{entitlementId}/activations"
RELEASE = "DELETE /v1/entitlements/{entitlementId}/activations/{activationId}"
DENIALS = "GET /v1/entitlements/{entitlementId}/denials"
CONSUME = "POST /v1/entitlements/{entitlementId}/usage/{key}"
CORRECT = "POST /v1/entitlements/{entitlementId}/usage/{key}/corrections"
USAGE = "GET /v1/entitlements/{entitlementId}/usage"
DAY_MS = 86_400_000
MONTH = {"type": "absolute", "value": 2, "period": "P30D"}


class Customer:
    """An entitlement of two seats and two more for 30 days, ten exports and two more."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api, self.now_ms = api, NOW_MS
        monkeypatch.setattr(app, "now_ms", lambda: self.now_ms)
        monkeypatch.setattr(client_module, "now_ms", lambda: self.now_ms)
        self.id = api.create(
            seatCount=2,
            overdraftSeatLimit=MONTH,
            usageLimits=[{"key": "exports", "limit": 10, "overdraftLimit": MONTH}],
        )
        self.named: dict[str, str] = {}

    def call(self, route: str, body: Any = None, **path: str) -> tuple[int, Any]:
        query = {"dryRun": "true"} if path.pop("dry", "") else None
        headers = {"idempotency-key": path.pop("idem")} if "idem" in path else None
        path = {"entitlementId": self.id, **path}
        status, answer, _ = self.api.call(route, path, body, query=query, headers=headers or {})
        return status, answer

    def take(self, seat_id: str, **path: str) -> tuple[int, Any]:
        status, answer = self.call(TAKE, {"seatId": seat_id}, **path)
        if status == 201:
            self.named[seat_id] = answer["activationId"]
        return status, answer

    def consume(self, quantity: int, idem: str, **path: str) -> tuple[int, Any]:
        return self.call(CONSUME, {"quantity": quantity}, key="exports", idem=idem, **path)

    def pass_days(self, days: float) -> None:
        self.now_ms += round(days * DAY_MS)


@pytest.fixture
def customer(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> Customer:
    return Customer(Api(dynamodb), monkeypatch)


def kind(answer: Any) -> str:
    return str(answer["type"]).rpartition("/")[2]


def clock(since_ms: int, days: int = 30, recovers_ms: int | None = None) -> dict[str, Any]:
    return {
        "since": to_rfc3339(since_ms),
        "endsAt": to_rfc3339(since_ms + days * DAY_MS),
        "recoversAt": None if recovers_ms is None else to_rfc3339(recovers_ms),
    }


def test_a_period_has_a_recovery(customer: Customer) -> None:
    _, shown = customer.call(ENTITLEMENT)
    timed = {**MONTH, "recovery": "P1D"}
    assert shown["overdraftSeatLimit"] == timed
    assert shown["usageLimits"][0]["overdraftLimit"] == timed
    assert shown["overdraft"] is None
    # All of it may be sent back.
    assert customer.call(PATCH, shown)[0] == 200
    without = {"type": "absolute", "value": 2}
    _, shown = customer.call(PATCH, {"overdraftSeatLimit": without})
    assert shown["overdraftSeatLimit"] == without


@pytest.mark.parametrize(
    ("limit", "detail"),
    [
        ({**MONTH, "period": "PT59S"}, "must be between PT1M and P366D"),
        ({**MONTH, "period": "P367D"}, "must be between PT1M and P366D"),
        ({**MONTH, "period": "a month"}, "ISO 8601"),
        ({**MONTH, "recovery": "PT1S"}, "must be between PT1M and P366D"),
        ({"type": "absolute", "value": 2, "recovery": "P1D"}, "recovery goes with a period"),
        ({"type": "none", "period": "P1D"}, "unknown field; known are: type"),
        ({"type": "unlimited", "period": "PT30M"}, "at least PT1H"),
        ({"type": "absolute", "value": 200, "period": "PT30M"}, "at least PT1H"),
    ],
)
def test_what_is_wrong_changes_nothing(
    customer: Customer, limit: dict[str, Any], detail: str
) -> None:
    before = customer.call(ENTITLEMENT)
    status, answer = customer.call(PATCH, {"overdraftSeatLimit": limit})
    assert status == 400
    [error] = answer["errors"]
    is_of_member = "goes with" not in detail and "at least" not in detail
    assert error["pointer"].startswith("/overdraftSeatLimit/" if is_of_member else "/overdraft")
    assert "/absolute" not in error["pointer"]
    assert detail in error["detail"]
    assert customer.call(ENTITLEMENT) == before
    limits = [{"key": "exports", "limit": 10**6, "overdraftLimit": {**MONTH, "period": "PT59M"}}]
    status, answer = customer.call(PATCH, {"usageLimits": limits})
    assert status == 400
    assert answer["errors"][0]["pointer"] == "/usageLimits/0/overdraftLimit/period"


def test_seats_from_the_first_above_to_the_end_and_after(customer: Customer) -> None:
    for name in ("ann", "bob"):
        assert customer.take(name)[1]["overdraft"] is None
    customer.pass_days(1)
    _, shown = customer.take("cid", dry="yes")
    assert shown["overdraft"] == clock(customer.now_ms), "as it would be"
    began = customer.now_ms
    assert customer.take("cid")[1]["overdraft"] == clock(began)
    customer.pass_days(30 - 1 / 86_400)
    assert customer.take("dan")[0] == 201, "in the last second"
    assert (
        customer.api.call(
            RELEASE, {"entitlementId": customer.id, "activationId": customer.named["dan"]}
        )[0]
        == 204
    )
    customer.pass_days(1 / 86_400)
    status, denied = customer.take("dan")
    assert (status, kind(denied)) == (409, "overdraft-period-ended")
    assert denied["overdraft"] == clock(began)
    assert denied["seats"]["hardCap"] == 4
    assert denied["seats"]["available"] == 0
    assert to_rfc3339(began + 30 * DAY_MS) in denied["detail"]
    assert kind(customer.take("dan", dry="yes")[1]) == "overdraft-period-ended"
    # Holders keep and renew.
    for name in ("ann", "bob", "cid"):
        assert customer.take(name)[0] == 200
    _, listed = customer.call(DENIALS)
    [record] = listed["items"]
    assert (record["attempts"], record["limitReached"]) == (1, "overdraftPeriod")
    assert (record["used"], record["hardCap"]) == (3, 4)
    _, entitlement = customer.call(ENTITLEMENT)
    assert entitlement["overdraft"] == clock(began)
    assert entitlement["seats"]["available"] == 0


def test_seats_recover_after_a_day_within_what_was_purchased(customer: Customer) -> None:
    for name in ("ann", "bob", "cid"):
        customer.take(name)
    began = customer.now_ms
    customer.pass_days(31)
    assert customer.call(RELEASE, activationId=customer.named["ann"])[0] == 204
    fell = customer.now_ms
    assert customer.call(ENTITLEMENT)[1]["overdraft"] == clock(began, recovers_ms=fell + DAY_MS)
    customer.pass_days(0.5)
    assert customer.take("ann")[0] == 409
    customer.pass_days(0.5)
    status, taken = customer.take("ann")
    assert (status, taken["overdraft"]) == (201, clock(customer.now_ms))


@pytest.mark.parametrize(
    "patch",
    [
        {"seatCount": 3},
        {"overdraftSeatLimit": {**MONTH, "period": "P31D"}},
        {"overdraftSeatLimit": {"type": "absolute", "value": 2}},
    ],
)
def test_new_terms_let_newcomers_in_at_once(customer: Customer, patch: dict[str, Any]) -> None:
    for name in ("ann", "bob", "cid"):
        customer.take(name)
    customer.pass_days(30)
    assert customer.take("dan")[0] == 409
    assert customer.call(PATCH, patch)[0] == 200
    assert customer.take("dan")[0] == 201


def test_a_period_begins_for_an_overdraft_that_is_there(customer: Customer) -> None:
    customer.call(PATCH, {"overdraftSeatLimit": {"type": "absolute", "value": 2}})
    for name in ("ann", "bob", "cid"):
        customer.take(name)
    customer.pass_days(5)
    _, shown = customer.call(PATCH, {"overdraftSeatLimit": {**MONTH, "period": "P7D"}})
    assert shown["overdraft"] == clock(customer.now_ms, 7)
    _, shown = customer.call(PATCH, {"status": "suspended"})
    assert shown["overdraft"] is None
    customer.pass_days(9)
    _, shown = customer.call(PATCH, {"status": "active"})
    assert shown["overdraft"] == clock(customer.now_ms, 7)


def test_a_usage_limit_from_the_first_above_to_the_end_and_after(customer: Customer) -> None:
    assert customer.consume(9, "a")[1]["overdraft"] is None
    _, shown = customer.consume(2, "dry", dry="yes")
    assert shown["overdraft"] == clock(customer.now_ms), "as it would be"
    _, shown = customer.consume(2, "b")
    began = customer.now_ms
    assert (shown["overdraftQuantity"], shown["overdraft"]) == (1, clock(began))
    customer.pass_days(30)
    status, denied = customer.consume(1, "c")
    assert (status, kind(denied)) == (409, "overdraft-period-ended")
    assert (denied["usage"]["available"], denied["overdraft"]) == (0, clock(began))
    assert kind(customer.consume(1, "dry", dry="yes")[1]) == "overdraft-period-ended"
    [shown] = customer.call(USAGE)[1]["items"]
    assert (shown["usage"]["available"], shown["overdraft"]) == (0, clock(began))
    # The vendor's correction is bound to the hard cap only, and is a dip.
    correction = {"quantity": -3, "reason": "ours"}
    assert customer.call(CORRECT, correction, key="exports")[0] == 201
    status, shown = customer.consume(2, "d")
    assert (status, shown["usage"]["used"], shown["usage"]["available"]) == (200, 10, 0)
    assert shown["overdraft"] == clock(began, recovers_ms=customer.now_ms + DAY_MS)
    assert customer.consume(1, "e")[0] == 409
    customer.pass_days(1)
    assert customer.consume(1, "e")[1]["overdraft"] == clock(customer.now_ms)


def test_a_new_month_ends_the_overdraft_of_a_usage_limit(customer: Customer) -> None:
    monthly = {
        "key": "exports",
        "limit": 10,
        "overdraftLimit": {**MONTH, "period": "PT1H"},
        "resetSchedule": "monthly",
    }
    customer.call(PATCH, {"usageLimits": [monthly]})
    customer.consume(11, "a")
    customer.pass_days(1)
    assert customer.consume(1, "b")[0] == 409
    customer.pass_days(31)
    [shown] = customer.call(USAGE)[1]["items"]
    assert (shown["usage"]["used"], shown["overdraft"]) == (0, None)
    status, shown = customer.consume(11, "c")
    assert status == 200
    assert shown["overdraft"]["since"] == to_rfc3339(customer.now_ms)


def test_seats_taken_in_overdraft_have_a_lease_of_their_own(customer: Customer) -> None:
    """Overuse falls back by itself, and a renewal keeps the lease of how the seat was taken."""
    leases = {"leasePeriod": "P10D", "overdraftLeasePeriod": "PT1H"}
    status, shown = customer.call(PATCH, leases)
    assert (status, shown["overdraftLeasePeriod"]) == (200, "PT1H")
    hour, days = 3_600_000, 10 * DAY_MS

    def lease_of(name: str) -> str:
        return str(customer.take(name)[1]["leaseExpiry"])

    began = customer.now_ms
    ends = [lease_of(name) for name in ("ann", "bob", "cid")]
    assert ends == [to_rfc3339(began + each) for each in (days, days, hour)]
    customer.now_ms += 45 * 60_000
    assert lease_of("cid") == to_rfc3339(customer.now_ms + hour)
    assert lease_of("ann") == ends[0], "more than half of it is left"
    # Somebody else releases: the overdraft seat stays one.
    customer.call(RELEASE, activationId=customer.named["bob"])
    customer.now_ms += 45 * 60_000
    assert lease_of("cid") == to_rfc3339(customer.now_ms + hour)
    customer.now_ms += hour + 6_000
    # Its lease has expired: it is freed before a seat counts as overdraft.
    _, taken = customer.take("dan")
    assert (taken["isOverdraftSeat"], taken["seats"]["used"]) == (False, 2)
    assert taken["leaseExpiry"] == to_rfc3339(customer.now_ms + days)


def test_a_lease_in_overdraft_is_not_longer(customer: Customer) -> None:
    status, answer = customer.call(PATCH, {"leasePeriod": "PT1H", "overdraftLeasePeriod": "PT2H"})
    assert status == 400
    assert answer["errors"][0]["pointer"] == "/overdraftLeasePeriod"


def test_support_is_told_that_the_period_had_ended(customer: Customer) -> None:
    for name in ("ann", "bob", "cid"):
        customer.take(name)
    customer.pass_days(30)
    assert customer.take("dan")[0] == 409
    path = {"entitlementId": customer.id}
    route = "GET /v1/entitlements/{entitlementId}/explain"
    status, explained, _ = customer.api.call(route, path, query={"seatId": "dan"})
    assert (status, explained["denial"]["limitReached"]) == (200, "overdraftPeriod")
    assert (
        "3 seats were in use, 2 purchased, and the overdraft period had ended"
        in explained["summary"]
    )


def test_new_terms_between_the_end_of_a_lease_and_its_renewal(customer: Customer) -> None:
    """Whoever renews late holds the seat all the time: use has not fallen."""
    customer.call(
        PATCH, {"leasePeriod": "PT1H", "overdraftSeatLimit": {**MONTH, "recovery": "PT1H"}}
    )
    for name in ("ann", "bob", "cid"):
        customer.take(name)
    began = customer.now_ms
    for day in range(1, 31):
        customer.now_ms = began + day * DAY_MS - 6_000
        customer.call(PATCH, {"customerCap": 3 if day % 2 else None})
        customer.now_ms += 6_000
        held = [customer.take(name)[1]["seats"]["used"] for name in ("ann", "bob", "cid")]
        assert held[-1] == 3
        _, shown = customer.call(ENTITLEMENT)
        overdraft = shown["overdraft"]
        assert overdraft is None or overdraft["recoversAt"] is None, "used above, and recovering"


def test_an_overdraft_that_is_there_when_the_validity_begins(customer: Customer) -> None:
    for name in ("ann", "bob", "cid"):
        customer.take(name)
    customer.consume(11, "a")
    begins = customer.now_ms + 5 * DAY_MS
    _, shown = customer.call(PATCH, {"validFrom": to_rfc3339(begins)})
    assert (shown["status"], shown["overdraft"]) == ("not_yet_valid", None)
    customer.now_ms = begins
    assert customer.call(ENTITLEMENT)[1]["overdraft"] == clock(begins)
    assert customer.call(USAGE)[1]["items"][0]["overdraft"] == clock(begins)
    customer.pass_days(30)
    assert customer.take("dan")[0] == 409
    assert customer.consume(1, "b")[0] == 409
