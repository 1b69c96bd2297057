"""Usage limits through the functions: what is answered, what is refused, when a period begins."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from functions.manage import entitlements
from functions.notify.stream_images import read_count
from shared.api import app
from shared.clock import from_rfc3339, to_rfc3339
from shared.dynamodb import client as client_module
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import usage_key
from shared.dynamodb.marshalling import to_wire
from shared.dynamodb.requests import Accepted, Get, Pause, Refused, Update
from shared.history.aggregator import UsageAggregator, as_of, carried
from shared.usage import consumption, corrections
from shared.usage.counter import MAX_LIMITS, REMOVED, Counter, UsageTerms
from shared.usage.encoding import decode_entry, encode_entry, request_key, time_of
from shared.usage.periods import Period, calendar_month
from shared.usage.terms import new_counter
from tests.support.patching import patch_constant
from tests.support.sampling import IS_SOAK
from tests.support.seats import NOW_MS, asked_in, change, new_id, timed_key
from tests.support.tables import read_item
from tests.unit.conftest import Api

LIMIT = {
    "key": "exports",
    "limit": 10,
    "overdraftLimit": {"type": "percentage", "value": 20},
    "resetSchedule": "monthly",
}
LOG_SIZE = 4  # a short one, so that a few requests fill it
CONSUME = "POST /v1/entitlements/{entitlementId}/usage/{key}"
USAGE = "GET /v1/entitlements/{entitlementId}/usage"
PATCH = "PATCH /v1/entitlements/{entitlementId}"


@pytest.fixture(autouse=True)
def _short_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    patch_constant(monkeypatch, "shared.usage", "LOG_SIZE", LOG_SIZE)


class Customer:
    """An entitlement with usage limits, and a clock for every call."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch, **terms: Any) -> None:
        self.api = api
        self.now_ms = NOW_MS
        monkeypatch.setattr(app, "now_ms", lambda: self.now_ms)
        monkeypatch.setattr(client_module, "now_ms", lambda: self.now_ms)
        self.id = api.create(**{"seatCount": None, "usageLimits": [LIMIT], **terms})

    def consume(
        self, quantity: Any = 1, key: str | None = None, usage: str = "exports", **kwargs: Any
    ) -> tuple[int, Any, dict[str, str]]:
        headers = {} if key is None else {"idempotency-key": key}
        path = {"entitlementId": self.id, "key": usage}
        body = kwargs.pop("body", {"quantity": quantity})
        return self.api.call(CONSUME, path, body, headers=headers, **kwargs)

    def used(self, usage: str = "exports") -> Any:
        status, body, _ = self.api.call(USAGE, {"entitlementId": self.id})
        assert status == 200
        return next(item for item in body["items"] if item["key"] == usage)

    def patch(self, **body: Any) -> Any:
        status, answer, _ = self.api.call(PATCH, {"entitlementId": self.id}, body)
        assert status == 200, answer
        return answer

    def counter(self, usage: str = "exports") -> Counter:
        item = read_item(self.api.dynamodb, usage_key(self.id, usage))
        return Counter.of(item)


@pytest.fixture
def customer(api: Api, monkeypatch: pytest.MonkeyPatch) -> Customer:
    return Customer(api, monkeypatch)


# --- Pure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", [1, 10**9, -(10**9)])
@pytest.mark.parametrize("left", [0, 7, 10**14, -(10**13)])
def test_an_entry_has_time_quantity_and_what_was_left(quantity: int, left: int) -> None:
    value = encode_entry(NOW_MS, quantity) + left
    assert decode_entry(value) == (NOW_MS, quantity, left)
    assert len(str(value)) <= 38  # the digits that DynamoDB keeps


@pytest.mark.parametrize(
    ("zone", "at", "start", "end"),
    [
        ("UTC", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("UTC", "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"),
        # A month in which clocks change has an hour less, or more.
        (
            "America/New_York",
            "2026-03-10T00:00:00Z",
            "2026-03-01T05:00:00Z",
            "2026-04-01T04:00:00Z",
        ),
        (
            "America/New_York",
            "2026-11-30T12:00:00Z",
            "2026-11-01T04:00:00Z",
            "2026-12-01T05:00:00Z",
        ),
        ("Europe/Berlin", "2026-10-31T22:59:59Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"),
        ("Asia/Kathmandu", "2026-05-31T18:15:00Z", "2026-05-31T18:15:00Z", "2026-06-30T18:15:00Z"),
        # Midnight did not take place: the day began at one.
        (
            "America/Asuncion",
            "2023-10-02T00:00:00Z",
            "2023-10-01T04:00:00Z",
            "2023-11-01T03:00:00Z",
        ),
        # Midnight comes twice: the day begins with the first.
        ("America/Havana", "2026-11-02T00:00:00Z", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"),
        # A day was left out.
        ("Pacific/Apia", "2011-12-31T11:00:00Z", "2011-12-01T10:00:00Z", "2011-12-31T10:00:00Z"),
    ],
)
def test_a_month_is_from_local_midnight_to_local_midnight(
    zone: str, at: str, start: str, end: str
) -> None:
    if zone == "Pacific/Apia":  # 14 hours ahead from that day on: it is January already
        start, end = end, "2012-01-31T10:00:00Z"
    period = calendar_month(from_rfc3339(at), zone)
    assert (to_rfc3339(period.start * 1000), to_rfc3339((period.end or 0) * 1000)) == (start, end)


# --- Consuming ------------------------------------------------------------------------------------


def test_within_across_over_and_denied(customer: Customer) -> None:
    status, body, headers = customer.consume(9, "a")
    assert status == 200
    assert "idempotency-replayed" not in headers
    assert body == {
        "key": "exports",
        "quantity": 9,
        "isOverdraft": False,
        "overdraftQuantity": 0,
        "status": "within_limit",
        "usage": {"used": 9, "purchased": 10, "hardCap": 12, "overdraftUsed": 0, "available": 3},
        "overdraft": None,
        "periodStart": "2049-03-01T00:00:00Z",
        "periodEnd": "2049-04-01T00:00:00Z",
    }
    _, body, _ = customer.consume(2, "b")
    assert (body["isOverdraft"], body["overdraftQuantity"], body["status"]) == (
        True,
        1,
        "overdraft",
    )
    status, body, _ = customer.consume(2, "c")
    assert (status, body["type"].rpartition("/")[2]) == (409, "hard-cap-reached")
    assert body["usage"]["used"] == 11
    assert body["usage"]["available"] == 1
    assert customer.used()["usage"]["used"] == 11, "what did not fit consumed something"
    _, body, _ = customer.consume(1, "d")
    assert (body["overdraftQuantity"], body["usage"]["available"]) == (1, 0)
    assert customer.consume(1, "c")[0] == 409, "a denial is not kept as an answer"


def test_at_the_limit(customer: Customer) -> None:
    _, body, _ = customer.consume(10, "a")
    assert (body["status"], body["isOverdraft"]) == ("at_limit", False)


def test_a_denial_is_on_record_with_what_was_asked(customer: Customer) -> None:
    for _ in range(3):
        assert customer.consume(13, "same")[0] == 409
    assert customer.consume(20, "other")[0] == 409
    path = {"entitlementId": customer.id}
    status, body, _ = customer.api.call(
        "GET /v1/entitlements/{entitlementId}/denials", path, query={"usageKey": "exports"}
    )
    assert status == 200
    found = {item["quantity"]: item for item in body["items"]}
    assert {quantity: item["attempts"] for quantity, item in found.items()} == {13: 3, 20: 1}
    assert (found[13]["used"], found[13]["purchased"], found[13]["hardCap"]) == (0, 10, 12)
    _, seats, _ = customer.api.call("GET /v1/entitlements/{entitlementId}/denials", path)
    assert seats["items"] == []


@pytest.mark.parametrize("key", ["a", "01990000-0000-7cc3-98c4-dc0c0c07398f"])
def test_the_same_key_consumes_once(customer: Customer, key: str) -> None:
    first = customer.consume(3, key)
    customer.consume(4, "b")
    again = customer.consume(3, key)
    assert again[:2] == first[:2]
    assert again[2]["idempotency-replayed"] == "true"
    status, body, _ = customer.consume(4, key)
    assert (status, body["type"].rpartition("/")[2]) == (409, "idempotency-conflict")
    assert customer.used()["usage"]["used"] == 7


def test_the_first_answer_outlives_everything_but_its_day(customer: Customer) -> None:
    """Full logs, new limits, a suspension, a new month: the answer is the first one."""
    customer.patch(usageLimits=[{**LIMIT, "limit": 1000}])
    customer.now_ms = from_rfc3339("2049-03-31T12:00:00Z") * 1000
    first = customer.consume(5, "kept")[1]
    for number in range(2 * LOG_SIZE + 3):
        customer.consume(1, f"n{number}")
    assert customer.consume(5, "kept")[1] == first
    customer.patch(usageLimits=[{**LIMIT, "limit": 2000}])
    customer.patch(status="suspended")
    assert customer.consume(5, "kept")[1] == first
    customer.patch(status="active")
    customer.now_ms = from_rfc3339("2049-04-01T11:59:59Z") * 1000
    assert customer.consume(5, "kept")[1] == first, "before the new period had begun"
    assert customer.consume(1, "new")[1]["usage"]["used"] == 1
    assert customer.consume(5, "kept")[1] == first, "after the new period had begun"
    customer.now_ms += 2_000
    assert customer.consume(5, "kept")[1]["usage"]["used"] == 6, "24 hours are over"


def test_a_key_may_be_used_again_every_day(customer: Customer) -> None:
    customer.patch(usageLimits=[{**LIMIT, "limit": 1000}])
    for day in range(5):
        customer.now_ms = NOW_MS + day * 86_400_000
        assert customer.consume(1, "daily")[1]["usage"]["used"] == day + 1
        assert customer.consume(1, "daily")[1]["usage"]["used"] == day + 1
        if day == 2:
            for number in range(LOG_SIZE):
                customer.consume(1, f"n{number}")
            assert customer.consume(1, "daily")[1]["usage"]["used"] == day + 1
            customer.api.dynamodb.run(take_back(customer, -LOG_SIZE))


def take_back(customer: Customer, quantity: int) -> Any:
    return corrections.correct(
        customer.id, "exports", "correction00", quantity, "a test", change(customer.now_ms)
    )


def test_dry_run_says_what_would_happen(customer: Customer) -> None:
    status, body, _ = customer.consume(11, query={"dryRun": "true"})
    assert (status, body["dryRun"], body["overdraftQuantity"]) == (200, True, 1)
    assert body["usage"]["used"] == 11
    assert customer.consume(13, query={"dryRun": "true"})[0] == 409
    assert customer.used()["usage"]["used"] == 0
    path = {"entitlementId": customer.id}
    _, denials, _ = customer.api.call(
        "GET /v1/entitlements/{entitlementId}/denials", path, query={"usageKey": "exports"}
    )
    assert denials["items"] == []
    first = customer.consume(3, "a")[1]
    assert customer.consume(3, "a", query={"dryRun": "true"})[1] == {**first, "dryRun": True}
    assert customer.consume(4, "a", query={"dryRun": "true"})[0] == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"quantity": 0},
        {"quantity": -1},
        {"quantity": 1.0},
        {"quantity": True},
        {"quantity": "3"},
        {"quantity": None},
        {"quantity": 10**9 + 1},
        {"quantity": 1, "x": 1},
    ],
)
def test_bad_quantities_change_nothing(customer: Customer, body: Any) -> None:
    status, answer, _ = customer.consume(body=body, key="a")
    assert (status, answer["type"].rpartition("/")[2]) == (400, "invalid-request")
    assert customer.used()["usage"]["used"] == 0


def test_the_header_is_required(customer: Customer) -> None:
    status, body, _ = customer.consume(1)
    assert (status, body["errors"][0]["pointer"]) == (400, "/Idempotency-Key")
    assert customer.consume(1, " ")[0] == 400


def test_what_is_not_there_or_not_in_force(customer: Customer) -> None:
    assert customer.consume(1, "a", usage="imports")[0] == 404
    customer.patch(status="suspended")
    assert customer.consume(1, "a")[1]["type"].endswith("entitlement-suspended")
    customer.patch(status="active", validUntil=to_rfc3339(NOW_MS + 60_000))
    assert customer.consume(1, "a")[0] == 200
    customer.now_ms += 60_000
    assert customer.consume(1, "b")[1]["type"].endswith("entitlement-expired")
    customer.api.call("DELETE /v1/entitlements/{entitlementId}", {"entitlementId": customer.id})
    assert customer.consume(1, "b")[0] == 404


def test_no_seats_means_no_seats(customer: Customer) -> None:
    path = {"entitlementId": customer.id}
    _, body, _ = customer.api.call("GET /v1/entitlements/{entitlementId}", path)
    assert (body["seatCount"], body["seats"], body["hardCap"]) == (None, None, None)
    assert body["usageLimits"] == [
        {**LIMIT, "customerCap": None, "overdraftPrice": None, "hardCap": 12}
    ]
    take = "POST /v1/entitlements/{entitlementId}/activations"
    for query in (None, {"dryRun": "true"}):
        status, answer, _ = customer.api.call(take, path, {"seatId": "a"}, query=query)
        assert (status, "no seats" in answer["detail"]) == (404, True)
    customer.patch(seatCount=1)
    assert customer.api.call(take, path, {"seatId": "a"})[0] == 201


def test_without_a_hard_cap(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = {"key": "calls", "limit": 2, "overdraftLimit": {"type": "unlimited"}}
    customer = Customer(api, monkeypatch, usageLimits=[limit])
    _, body, _ = customer.consume(10**9, "a", usage="calls")
    assert body["usage"] == {
        "used": 10**9,
        "purchased": 2,
        "hardCap": None,
        "overdraftUsed": 10**9 - 2,
        "available": None,
    }
    assert body["periodEnd"] is None
    customer.patch(usageLimits=[{"key": "calls", "limit": 5}])
    used = customer.used("calls")["usage"]
    assert (used["used"], used["hardCap"], used["available"]) == (10**9, 5, 0)
    assert customer.consume(1, "b", usage="calls")[0] == 409


# --- Periods and limits ---------------------------------------------------------------------------


def test_a_month_begins_by_itself_with_the_limits_of_now(customer: Customer) -> None:
    customer.consume(11, "a")
    customer.patch(usageLimits=[{**LIMIT, "limit": 20}])
    customer.now_ms = from_rfc3339("2049-04-01T00:00:00Z") * 1000
    used = customer.used()
    assert (used["usage"]["used"], used["usage"]["purchased"]) == (0, 20)
    assert used["periodStart"] == "2049-04-01T00:00:00Z"
    assert customer.consume(1, "b", query={"dryRun": "true"})[1]["usage"]["used"] == 1
    assert customer.consume(25, "c")[1]["usage"]["used"] == 0, "a denial shows the new period"
    _, body, _ = customer.consume(24, "d")
    assert (body["usage"]["used"], body["overdraftQuantity"]) == (24, 4)
    customer.now_ms = from_rfc3339("2049-07-15T00:00:00Z") * 1000
    assert customer.consume(1, "e")[1]["periodStart"] == "2049-07-01T00:00:00Z"


def test_never_goes_on_and_on_renewal_begins_with_a_later_end(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [
        {"key": "ever", "limit": 10, "resetSchedule": "never"},
        {"key": "term", "limit": 10, "resetSchedule": "on_renewal"},
    ]
    until = to_rfc3339(NOW_MS + 400 * 86_400_000)
    customer = Customer(api, monkeypatch, usageLimits=limits, validUntil=until)
    for key in ("ever", "term"):
        customer.consume(4, f"a{key}", usage=key)
    customer.now_ms += 90 * 86_400_000
    customer.patch(validUntil=to_rfc3339(NOW_MS + 399 * 86_400_000))
    assert customer.used("term")["usage"]["used"] == 4, "an earlier end is no renewal"
    for later in (until, None, until, to_rfc3339(NOW_MS + 800 * 86_400_000)):
        customer.patch(validUntil=later)
        used = customer.used("term")
        assert used["usage"]["used"] == 4, "a renewal before the end takes nothing away"
        assert (used["periodStart"], used["periodEnd"]) == (to_rfc3339(NOW_MS), until)
    customer.consume(3, "b", usage="term")
    customer.now_ms = NOW_MS + 400 * 86_400_000
    used = customer.used("term")
    assert (used["usage"]["used"], used["periodStart"], used["periodEnd"]) == (0, until, None)
    status, result, _ = customer.consume(5, "c", usage="term")
    assert (status, result["usage"]["used"], result["periodStart"]) == (200, 5, until)
    status, result, _ = customer.consume(2, "d", usage="term")
    assert (status, result["usage"]["used"], result["periodEnd"]) == (200, 7, None)
    assert customer.used("ever")["usage"]["used"] == 4
    customer.patch(validUntil=None)
    assert customer.used("term")["periodEnd"] == to_rfc3339(NOW_MS + 800 * 86_400_000)


def test_a_stored_period_whose_end_is_null_has_no_end(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 0.5 stored the end like that when a renewed period began."""
    limit = {"key": "term", "limit": 10, "resetSchedule": "on_renewal"}
    customer = Customer(api, monkeypatch, usageLimits=[limit])
    end_is_null = Update(
        usage_key(customer.id, "term"),
        "SET periodEnd = :null",
        "attribute_not_exists(periodEnd)",
        {},
        {":null": None},
    )
    assert isinstance(api.dynamodb.execute(end_is_null), Accepted)
    status, result, _ = customer.consume(2, "a", usage="term")
    assert (status, result["usage"]["used"], result["periodEnd"]) == (200, 2, None)


def test_a_renewal_after_the_end_begins_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = {"key": "term", "limit": 10, "resetSchedule": "on_renewal"}
    until = to_rfc3339(NOW_MS + 30 * 86_400_000)
    customer = Customer(api, monkeypatch, usageLimits=[limit], validUntil=until)
    customer.consume(4, "a", usage="term")
    customer.now_ms += 40 * 86_400_000
    assert customer.consume(1, "b", usage="term")[0] == 403
    customer.patch(validUntil=to_rfc3339(NOW_MS + 400 * 86_400_000))
    used = customer.used("term")
    assert (used["usage"]["used"], used["periodStart"]) == (0, to_rfc3339(customer.now_ms))


def test_a_renewal_that_is_taken_back_and_an_earlier_end(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = 86_400_000
    limit = {"key": "term", "limit": 10, "resetSchedule": "on_renewal"}
    first = to_rfc3339(NOW_MS + 100 * day)
    customer = Customer(api, monkeypatch, usageLimits=[limit], validUntil=first)
    customer.consume(4, "a", usage="term")
    for days in (400, 50, 500, 100):
        customer.patch(validUntil=to_rfc3339(NOW_MS + days * day))
        assert customer.used("term")["periodEnd"] == first
    customer.now_ms = NOW_MS + 101 * day
    used = customer.used("term")
    assert (used["usage"]["used"], used["periodEnd"]) == (4, first), "it is over, as if never moved"
    customer.now_ms = NOW_MS + 99 * day
    for schedule in ("never", "on_renewal"):
        customer.patch(usageLimits=[{**limit, "resetSchedule": schedule}])
        assert customer.used("term")["periodEnd"] is None
        assert customer.used("term")["usage"]["used"] == 4


def test_a_mistyped_end_that_is_put_right_gives_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = {"key": "term", "limit": 10, "resetSchedule": "on_renewal"}
    until = to_rfc3339(NOW_MS + 400 * 86_400_000)
    customer = Customer(api, monkeypatch, usageLimits=[limit], validUntil=until)
    customer.consume(10, "a", usage="term")
    for _ in range(2):
        customer.patch(validUntil=to_rfc3339(customer.now_ms + 4_000))
        customer.patch(validUntil=until)
        customer.now_ms += 10_000
        assert customer.used("term")["usage"]["used"] == 10
        assert customer.consume(1, "more", usage="term")[0] == 409


def test_a_renewal_counts_for_a_limit_that_was_off_the_list(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = {"key": "term", "limit": 10, "resetSchedule": "on_renewal"}
    until = to_rfc3339(NOW_MS + 400 * 86_400_000)
    customer = Customer(api, monkeypatch, usageLimits=[limit], validUntil=until, seatCount=1)
    customer.consume(4, "a", usage="term")
    customer.patch(usageLimits=[])
    customer.patch(validUntil=to_rfc3339(NOW_MS + 800 * 86_400_000))
    customer.patch(usageLimits=[limit])
    assert customer.used("term")["periodEnd"] == until
    customer.now_ms = NOW_MS + 400 * 86_400_000
    assert customer.used("term")["usage"]["used"] == 0


def test_another_time_zone_counts_no_month_twice(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = Customer(api, monkeypatch, timeZone="America/New_York")
    customer.now_ms = from_rfc3339("2049-03-31T20:00:00Z") * 1000  # April already in Tokyo
    customer.consume(5, "a")
    customer.patch(timeZone="Europe/Berlin")
    assert customer.used()["usage"]["used"] == 5
    assert customer.used()["periodEnd"] == "2049-03-31T22:00:00Z"
    customer.patch(timeZone="Asia/Tokyo")
    assert (customer.used()["usage"]["used"], customer.used()["periodStart"]) == (
        0,
        "2049-03-31T15:00:00Z",
    )
    customer.consume(6, "b")
    customer.patch(timeZone="America/New_York")
    assert customer.used()["usage"]["used"] == 6, "it is April still, though not yet in New York"
    assert customer.used()["periodEnd"] == "2049-05-01T04:00:00Z"


@pytest.mark.parametrize(
    ("limit", "cap", "available"),
    [
        ({"limit": 20}, 24, 16),
        ({"limit": 6}, 7, 0),
        ({"overdraftLimit": {"type": "none"}}, 10, 2),
        ({"overdraftLimit": {"type": "absolute", "value": 5}}, 15, 7),
    ],
)
def test_new_limits_keep_what_is_used(
    customer: Customer, limit: Any, cap: int, available: int
) -> None:
    customer.consume(8, "a")
    [answered] = customer.patch(usageLimits=[{**LIMIT, **limit}])["usageLimits"]
    assert answered["hardCap"] == cap
    used = customer.used()["usage"]
    assert (used["used"], used["hardCap"], used["available"]) == (8, cap, available)
    assert customer.consume(available + 1, "b")[0] == 409
    if available:
        assert customer.consume(available, "c")[0] == 200


def test_a_limit_that_is_removed_and_added_again(customer: Customer) -> None:
    customer.consume(8, "a")
    other = {"key": "imports", "limit": 1}
    customer.patch(usageLimits=[LIMIT, other])
    assert customer.consume(1, "a", usage="imports")[0] == 200
    customer.patch(usageLimits=[other])
    assert customer.consume(1, "b")[0] == 404
    assert customer.consume(8, "a")[0] == 200, "the first answer"
    customer.patch(usageLimits=[LIMIT])
    assert customer.used()["usage"]["used"] == 8, "a limit that comes back knows its count"
    assert customer.counter("imports").status == REMOVED


@pytest.mark.parametrize(
    ("limits", "pointer"),
    [
        ([{**LIMIT, "limit": -1}], "/usageLimits/0/limit"),
        ([{**LIMIT, "limit": 10**12 + 1}], "/usageLimits/0/limit"),
        ([{**LIMIT, "key": "a/b"}], "/usageLimits/0/key"),
        ([{**LIMIT, "key": ""}], "/usageLimits/0/key"),
        ([{**LIMIT, "key": "x" * 65}], "/usageLimits/0/key"),
        ([{**LIMIT, "customerCap": None, "hardCap": 12}], "/usageLimits/0/hardCap"),
        ([{**LIMIT, "resetSchedule": "weekly"}], "/usageLimits/0/resetSchedule"),
        ([{**LIMIT, "overdraftLimit": {"type": "some"}}], "/usageLimits/0/overdraftLimit"),
        ([LIMIT, LIMIT], "/usageLimits"),
        ([{"key": f"k{n}", "limit": 1} for n in range(MAX_LIMITS + 1)], "/usageLimits"),
        ([{"limit": 1}], "/usageLimits/0/key"),
        ([], "/seatCount"),
        (None, "/seatCount"),
        ({}, "/usageLimits"),
    ],
)
def test_bad_limits_are_named(api: Api, limits: Any, pointer: str) -> None:
    body = {"product": "P", "customer": {"name": "C"}, "usageLimits": limits}
    if limits is None:
        del body["usageLimits"]
    status, answer, _ = api.call("POST /v1/entitlements", body=body)
    assert status == 400
    assert answer["errors"][0]["pointer"] == pointer


# --- Corrections ----------------------------------------------------------------------------------


def correct(
    customer: Customer, quantity: Any, reason: Any = "counted twice", key: str | None = None
) -> tuple[int, Any, dict[str, str]]:
    path = {"entitlementId": customer.id, "key": "exports"}
    headers = {} if key is None else {"idempotency-key": key}
    return customer.api.call(
        "POST /v1/entitlements/{entitlementId}/usage/{key}/corrections",
        path,
        {"quantity": quantity, "reason": reason},
        headers=headers,
    )


def test_corrections_both_ways(customer: Customer) -> None:
    customer.consume(11, "a")
    status, body, _ = correct(customer, -3)
    assert (status, body["quantity"], body["reason"]) == (201, -3, "counted twice")
    assert (body["usage"]["used"], body["actor"]) == (8, "bootstrap")
    assert correct(customer, 4)[1]["usage"]["used"] == 12
    assert correct(customer, 1)[1]["type"].endswith("hard-cap-reached")
    status, body, _ = correct(customer, -13)
    assert (status, body["errors"][0]["pointer"]) == (400, "/quantity")
    assert customer.used()["usage"]["used"] == 12
    path = {"entitlementId": customer.id}
    _, denials, _ = customer.api.call(
        "GET /v1/entitlements/{entitlementId}/denials", path, query={"usageKey": "exports"}
    )
    assert denials["items"] == [], "nobody was denied"


def test_a_correction_below_a_lowered_cap(customer: Customer) -> None:
    customer.consume(12, "a")
    customer.patch(usageLimits=[{**LIMIT, "limit": 5}])
    assert correct(customer, -4)[1]["usage"]["used"] == 8
    assert customer.consume(1, "b")[0] == 409


def test_a_correction_happens_once_with_a_key(customer: Customer) -> None:
    customer.consume(9, "a")
    first = correct(customer, -1, key="k")
    again = correct(customer, -1, key="k")
    assert again[:2] == first[:2]
    assert again[2]["idempotency-replayed"] == "true"
    assert correct(customer, -1, "another reason", key="k")[1]["type"].endswith("conflict")
    assert correct(customer, -2, key="k")[0] == 409
    assert customer.used()["usage"]["used"] == 8
    correct(customer, -1)
    correct(customer, -1)
    assert customer.used()["usage"]["used"] == 6


def test_a_correction_begins_the_period_that_is_due(customer: Customer) -> None:
    customer.consume(9, "a")
    customer.now_ms = from_rfc3339("2049-04-02T00:00:00Z") * 1000
    assert correct(customer, -1)[0] == 400, "nothing is used in the new period"
    _, body, _ = correct(customer, 2)
    assert (body["usage"]["used"], body["periodStart"]) == (2, "2049-04-01T00:00:00Z")
    assert customer.consume(1, "b")[1]["usage"]["used"] == 3


@pytest.mark.parametrize(
    ("quantity", "reason", "pointer"),
    [
        (0, "x", "/quantity"),
        (1.5, "x", "/quantity"),
        (1, "", "/reason"),
        (1, None, "/reason"),
        (1, "x" * 501, "/reason"),
        (1, "a\nb", "/reason"),
        (10**9 + 1, "x", "/quantity"),
    ],
)
def test_bad_corrections(customer: Customer, quantity: Any, reason: Any, pointer: str) -> None:
    status, body, _ = correct(customer, quantity, reason)
    assert (status, body["errors"][0]["pointer"]) == (400, pointer)


# --- What the stream makes of it ------------------------------------------------------------------


def test_nothing_is_in_use_while_the_entitlement_is_over(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended after an hour, prolonged two hours later: what was used is used again from then on."""
    hour = 3_600_000
    limit = {"key": "exports", "limit": 3}
    until = to_rfc3339(NOW_MS + hour)
    overdraft = {"overdraftLimit": {"type": "absolute", "value": 9}}
    customer = Customer(api, monkeypatch, usageLimits=[limit | overdraft], validUntil=until)
    images: list[Any] = [None]

    def look() -> None:
        key = usage_key(customer.id, "exports")
        images.append(read_item(api.dynamodb, key))

    look()
    customer.now_ms += hour // 2
    customer.consume(5, "a")
    look()
    customer.now_ms = NOW_MS + 3 * hour
    customer.patch(validUntil=to_rfc3339(NOW_MS + 5 * hour))
    look()
    folded = UsageAggregator(None, 0)
    result = []
    for old, new in pairwise(images):
        version = read_count("exports", old, new)
        assert version is not None
        result.append(folded.apply(version.change, (100,)))
    assert [change.reached for change in result] == [(), (100, "entered"), ()]
    assert [change.level.used for change in result] == [0, 5, 5]
    before = result[-1].before
    assert before is not None
    assert (before.used, result[-1].before_at) == (0, NOW_MS + hour)
    assert [(e.start - NOW_MS, e.end and e.end - NOW_MS) for e in folded.episodes.values()] == [
        (hour // 2, hour),
        (3 * hour, None),
    ]
    over = as_of(folded.latest, NOW_MS + 6 * hour)
    assert over is not None
    open_one = folded.episodes[max(folded.episodes)]
    for much_later in (6, 60):
        gone = carried(open_one, folded.latest, NOW_MS + much_later * hour)
        assert (gone.end, gone.overdraft_ms) == (NOW_MS + 5 * hour, 2 * hour), "it went on growing"
    assert (over.level.used, over.at) == (0, NOW_MS + 5 * hour)
    assert sum(bucket.overdraft_ms for bucket in folded.buckets.values()) <= hour // 2
    assert customer.counter().in_use(NOW_MS + 4 * hour) == 5
    assert customer.counter().in_use(NOW_MS + 5 * hour) == 0


# --- Races, one step at a time --------------------------------------------------------------------


def begun(dynamodb: DynamoDBClient, limit: int = 1000) -> tuple[str, Callable[..., Any]]:
    """A counter, and what consumes of it."""
    entitlement_id = new_id()
    terms = UsageTerms(limit, limit, "never", "UTC", "active", 0, None)
    dynamodb.execute(new_counter(entitlement_id, "x", terms, change()))

    def consume(key: str, at: int = NOW_MS, **more: Any) -> Any:
        return consumption.consume(entitlement_id, "x", f"{key:>012}", 1, change(at), **more)

    return entitlement_id, consume


@pytest.mark.parametrize("proof", ["quiet", "timed", "read"])
def test_a_write_that_was_on_its_way_does_not_consume_again(
    dynamodb: DynamoDBClient, proof: str
) -> None:
    """The first attempt of a request hangs; its retry consumes, and leaves the counter."""
    entitlement_id, consume = begun(dynamodb)
    key = timed_key(NOW_MS, 7) if proof == "timed" else "slow".rjust(12, "0")
    log = None
    if proof == "read":
        for number in range(2 * LOG_SIZE):
            dynamodb.run(consume(f"a{number}"))
        log = dynamodb.run(consume("b")).counter.log_number
    hanging = consume(key, busy_log=log)
    write = next(hanging)
    if proof == "read":
        write = hanging.send(dynamodb.execute(write))  # no item is kept of it
    first = dynamodb.run(consume(key, NOW_MS + 1))
    for number in range(2 * LOG_SIZE):
        dynamodb.run(consume(f"c{number}", NOW_MS + 2))
    counter = Counter.of(read_item(dynamodb, usage_key(entitlement_id, "x")))
    assert counter.consumption(key) is None, "it is on the counter still"
    reply: Any = dynamodb.execute(write)
    assert isinstance(reply, Refused)
    try:
        while True:
            request = hanging.send(reply)
            reply = NOW_MS + 3 if isinstance(request, Pause) else dynamodb.execute(request)
    except StopIteration as stop:
        assert stop.value.is_replay
        assert stop.value.consumed == first.consumed


def test_a_key_with_its_time_needs_no_second_look(dynamodb: DynamoDBClient) -> None:
    """However busy the limit is; only what is older than what has left is looked up."""
    entitlement_id, consume = begun(dynamodb)
    for number in range(3 * LOG_SIZE):
        dynamodb.run(consume(timed_key(NOW_MS + number, number), NOW_MS + number))
    operation = consume(timed_key(NOW_MS + 100, 1), NOW_MS + 100)
    with pytest.raises(StopIteration):
        operation.send(dynamodb.execute(next(operation)))
    counter = Counter.of(read_item(dynamodb, usage_key(entitlement_id, "x")))
    assert counter.is_busy(NOW_MS)
    assert counter.dropped_to == NOW_MS + 2 * LOG_SIZE - 1
    # An old key that was never sent: it is looked up, and consumes.
    result = dynamodb.run(consume(timed_key(NOW_MS - 5, 2), NOW_MS + 101))
    assert (result.is_replay, result.consumed.used) == (False, 3 * LOG_SIZE + 2)
    # A day later no archived request matters, whatever time its key contains.
    later = NOW_MS + 200_000_000
    operation = consume(timed_key(NOW_MS - 9, 3), later)
    with pytest.raises(StopIteration):
        operation.send(dynamodb.execute(next(operation)))


def test_the_function_looks_nothing_up_for_a_key_with_its_time(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer.patch(usageLimits=[{**LIMIT, "limit": 1000}])
    for number in range(2 * LOG_SIZE + 1):
        customer.consume(1, f"n{number}")
    sent: list[type[Any]] = []
    execute = customer.api.dynamodb.execute

    def watched(request: Any) -> Any:
        sent.append(type(asked_in(request)))
        return execute(request)

    monkeypatch.setattr(customer.api.dynamodb, "execute", watched)
    customer.consume(1, "01990000-0000-7cc3-98c4-dc0c0c07398f")
    assert sent == [Update]
    customer.consume(1, "another")
    assert sent == [Update, Get, Update]


@pytest.mark.parametrize(
    ("header", "result"),
    [
        ("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", 0x017F22E279B0),  # RFC 9562, A.6
        ("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", 0x017F22E279B0),
        ("017f22e2-79b0-4cc3-98c4-dc0c0c07398f", None),
        ("017f22e2-79b0-7cc3-c8c4-dc0c0c07398f", None),
        ("x017f22e2-79b0-7cc3-98c4-dc0c0c07398f", None),
        ("order-4711", None),
    ],
)
def test_the_time_in_a_request_key(header: str, result: int | None) -> None:
    key = request_key("secret", header)
    assert time_of(key) == result
    assert request_key("other", header) != key
    assert len(key) == (12 if result is None else 16)


def test_a_full_log_that_could_not_be_rotated_is_rotated_later(dynamodb: DynamoDBClient) -> None:
    entitlement_id, consume = begun(dynamodb)
    for number in range(LOG_SIZE):
        operation = consume(f"a{number}")
        request = next(operation)
        reply = dynamodb.execute(request)
        try:
            operation.send(reply)
        except StopIteration:
            continue
        operation.close()  # the process ended before it rotated the log
    counter = Counter.of(read_item(dynamodb, usage_key(entitlement_id, "x")))
    assert (counter.log_number, len(counter.log.entries)) == (1, LOG_SIZE)
    for number in range(LOG_SIZE):
        dynamodb.run(consume(f"b{number}"))
    counter = Counter.of(read_item(dynamodb, usage_key(entitlement_id, "x")))
    assert (counter.log_number, len(counter.log.entries), counter.used) == (2, 0, 2 * LOG_SIZE)
    assert not counter.is_busy(NOW_MS), "nothing has left the counter yet"


def test_two_who_begin_a_period_begin_it_once(dynamodb: DynamoDBClient) -> None:
    entitlement_id = new_id()
    terms = UsageTerms(5, 5, "monthly", "UTC", "active", 0, None)
    dynamodb.execute(new_counter(entitlement_id, "x", terms, change()))
    dynamodb.run(consumption.consume(entitlement_id, "x", "old000000000", 5, change()))
    later = NOW_MS + 40 * 86_400_000
    first = consumption.consume(entitlement_id, "x", "a00000000000", 2, change(later))
    reply: Any = None
    while True:  # as far as the write that begins the period
        request = first.send(reply)
        if isinstance(request, Update) and "periodStart" in request.expression:
            break
        reply = later if isinstance(request, Pause) else dynamodb.execute(request)
    assert (
        dynamodb.run(
            consumption.consume(entitlement_id, "x", "b00000000000", 2, change(later))
        ).consumed.used
        == 2
    )
    reply = dynamodb.execute(request)
    assert isinstance(reply, Refused)
    while True:
        try:
            request = first.send(reply)
        except StopIteration as stop:
            assert stop.value.consumed.used == 4
            break
        reply = later if isinstance(request, Pause) else dynamodb.execute(request)
    counter = Counter.of(read_item(dynamodb, usage_key(entitlement_id, "x")))
    assert (counter.used, counter.period_number) == (4, 2)
    assert counter.period == Period(*calendar_month(later // 1000, "UTC"))


def test_counters_that_exist_are_found(dynamodb: DynamoDBClient) -> None:
    entitlement_id, _ = begun(dynamodb)
    assert set(dynamodb.run(entitlements.counters(entitlement_id, ["x", "y"]))) == {"x"}
    assert dynamodb.run(entitlements.counters(entitlement_id, [])) == {}


def test_a_counter_has_no_more_than_64_requests(customer: Customer) -> None:
    """Many more come; what is named of each is moved to an item of its own."""
    customer.patch(usageLimits=[{**LIMIT, "limit": 1_000}])
    many = 640 if IS_SOAK else 150
    for number in range(many):
        status, _, _ = customer.consume(1, f"request-{number}")
        assert status == 200
    item = customer.api.dynamodb.execute(Get(usage_key(customer.id, "exports")))
    assert item is not None
    assert customer.counter().used == many
    assert len(json.dumps({name: to_wire(value) for name, value in item.items()})) < 8_000
    # None is counted twice, however long ago it was.
    for number in (0, 100, many - 1):
        assert customer.consume(1, f"request-{number}")[0] == 200
    assert customer.counter().used == many
