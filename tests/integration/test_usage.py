"""Usage limits in the deployed stack: consumed with a license key, told by events and history."""

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.api import Answer
from local.stack import Stack
from shared.api.schemas.events import EVENTS
from shared.clock import to_rfc3339
from shared.events import types as event_types
from shared.usage.counter import MAX_LIMITS
from tests.integration.conftest import CheckedApi, Customer, send_again
from tests.support.paging import list_all
from tests.support.receivers import Receivers
from tests.support.waiting import wait_for

LIMIT = {
    "key": "exports",
    "limit": 10,
    "overdraftLimit": {"type": "absolute", "value": 2},
    "resetSchedule": "monthly",
}


class Counted(Customer):
    """A customer with a usage limit, and no seats."""

    def __init__(self, api: CheckedApi, **terms: Any) -> None:
        super().__init__(api, **{"seatCount": None, "usageLimits": [LIMIT], **terms})
        self.usage = f"{self.path}/usage"
        self.api = api

    def consume(self, quantity: int = 1, key: str = "", status: int = 200, query: str = "") -> Any:
        answer = self.send(quantity, key, query)
        assert answer.status == status, answer.body
        return answer.body

    def send(self, quantity: int = 1, key: str = "", query: str = "") -> Answer:
        """Consume, with one Idempotency-Key however often it is sent."""
        headers = {"idempotency-key": key or str(uuid.uuid4())}
        path = f"{self.usage}/exports{query}"
        body = {"quantity": quantity}
        return send_again(lambda: self.license.call("POST", path, body, headers=headers))


@pytest.fixture
def counted(api: CheckedApi) -> Counted:
    return Counted(api)


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    running = Receivers()
    yield running
    running.stop()


def test_all_or_nothing_up_to_the_cap(counted: Counted) -> None:
    assert counted.consume(9)["usage"]["used"] == 9
    crossing = counted.consume(2)
    assert (crossing["isOverdraft"], crossing["overdraftQuantity"]) == (True, 1)
    denied = counted.consume(2, status=409)
    assert denied["usage"] == {
        "used": 11,
        "purchased": 10,
        "hardCap": 12,
        "overdraftUsed": 1,
        "available": 1,
    }
    assert counted.consume(1)["usage"]["available"] == 0
    [item] = counted.license.expect(200, "GET", counted.usage)["items"]
    assert (item["key"], item["usage"]["used"], item["status"]) == ("exports", 12, "overdraft")


def test_the_same_key_from_many_threads_consumes_once(counted: Counted) -> None:
    key = str(uuid.uuid4())
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: counted.send(3, key), range(24)))
    assert {answer.status for answer in answers} == {200}
    assert len({json.dumps(answer.body, sort_keys=True) for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert counted.consume(4, key, status=409)["type"].endswith("idempotency-conflict")
    assert counted.consume(1)["usage"]["used"] == 4


def test_two_hundred_requests_at_once_stop_at_the_cap(api: CheckedApi) -> None:
    """Enough for several leaves: some requests leave the counter while others are under way."""
    limit = {**LIMIT, "limit": 100, "overdraftLimit": {"type": "percentage", "value": 20}}
    counted = Counted(api, usageLimits=[limit])
    keys = [str(uuid.uuid4()) for _ in range(200)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda key: counted.send(1, key), keys))
        again = list(pool.map(lambda key: counted.send(1, key), keys))
    taken = {key: a.body for key, a in zip(keys, answers, strict=True) if a.status == 200}
    assert sorted(body["usage"]["used"] for body in taken.values()) == list(range(1, 121))
    assert sum(body["isOverdraft"] for body in taken.values()) == 20
    for key, answer in zip(keys, again, strict=True):
        if key in taken:
            assert (answer.status, answer.body) == (200, taken[key])
        else:
            assert answer.status == 409

    def attempts() -> int:
        denials = list_all(api, f"{counted.path}/denials?usageKey=exports")
        return int(sum(each["attempts"] for each in denials))

    assert attempts() == 160
    history = f"{counted.path}/usage-history?usageKey=exports&interval=15m"

    def shown() -> Any:
        items = list_all(api, history)
        return items and sum(each["consumed"] for each in items) == 120 and items

    items = wait_for(shown)
    assert sum(each["requests"] for each in items) == 120
    assert items[-1]["closing"] == 120
    wait_for(lambda: sum(e["deniedAttempts"] for e in list_all(api, history)) == 160)


def test_events_history_and_episodes(api: CheckedApi, receivers: Receivers) -> None:
    counted = Counted(api)
    hook = {"url": f"{receivers.url}/good/{counted.id}", "entitlementId": counted.id}
    webhook = api.expect(201, "POST", "/v1/webhooks", hook)
    counted.consume(8)
    counted.consume(4)
    counted.consume(1, status=409)
    counted.send(1)
    api.expect(
        201,
        "POST",
        f"{counted.usage}/exports/corrections",
        {"quantity": -3, "reason": "an export that failed"},
    )
    counted.consume(2)
    api.expect(200, "PATCH", counted.path, {"usageLimits": [{**LIMIT, "limit": 20}]})

    def shown() -> Any:
        # Webhooks come in no order: the last change may be told first.
        calls = [json.loads(call.body) for call in receivers.at(f"/good/{counted.id}")]
        different = {each["id"]: each for each in calls}
        return len(different) >= 9 and list(different.values())

    calls = wait_for(shown)
    for event in calls:
        EVENTS[event["type"]].model_validate(event)
    kinds = sorted(((each["type"], each["data"].get("threshold")) for each in calls), key=str)
    assert kinds == sorted(
        [
            (event_types.UPDATED, None),
            (event_types.FOLLOW_UP_UPDATED, None),  # opened
            (event_types.FOLLOW_UP_UPDATED, None),  # and won
            (event_types.USAGE_DENIED, None),
            (event_types.USAGE_DENIED, None),
            (event_types.USAGE_OVERDRAFT_ENTERED, None),
            (event_types.USAGE_OVERDRAFT_EXHAUSTED, None),
            (event_types.USAGE_THRESHOLD_REACHED, 80),
            (event_types.USAGE_THRESHOLD_REACHED, 100),
        ],
        key=str,
    )
    [changed] = [each["data"] for each in calls if each["type"] == event_types.UPDATED]
    assert (changed["before"]["limit"], changed["after"]["limit"]) == (10, 20)
    assert changed["usage"]["used"] == 11
    api.call("DELETE", f"/v1/webhooks/{webhook['webhookId']}")
    episodes = api.expect(200, "GET", f"{counted.path}/overdrafts?usageKey=exports")["items"]
    assert [each["peak"] for each in episodes] == [12]
    assert episodes[0]["end"] is not None, "a limit of 20 ended it"
    assert episodes[0]["deniedRequests"] == 2
    [correction] = api.expect(200, "GET", f"{counted.usage}/exports/corrections")["items"]
    assert (correction["quantity"], correction["usage"]["used"]) == (-3, 9)
    assert correction["reason"] == "an export that failed"
    [period] = api.expect(200, "GET", f"{counted.usage}/exports/periods")["items"]
    assert (period["isCurrent"], period["usage"]["used"]) == (True, 11)
    assert api.expect(200, "GET", f"{counted.path}/overdrafts")["items"] == []


def test_a_renewal_keeps_the_total_of_the_period_before(api: CheckedApi) -> None:
    limit = {**LIMIT, "resetSchedule": "on_renewal"}
    counted = Counted(api, usageLimits=[limit])
    for year, quantity in ((2049, 5), (2050, 7), (2051, 1)):
        counted.consume(quantity)
        ends = to_rfc3339((int(time.time()) + 2) * 1000)
        api.expect(200, "PATCH", counted.path, {"validUntil": ends})
        if year > 2049:  # the first time it is renewed before its end, then after it
            wait_for(lambda: api.expect(200, "GET", counted.path)["status"] == "expired")
        api.expect(200, "PATCH", counted.path, {"validUntil": f"{year}-01-01T00:00:00Z"})

        def begun(ends: str = ends) -> bool:
            [now] = counted.license.expect(200, "GET", counted.usage)["items"]
            return bool(now["periodStart"] >= ends and now["usage"]["used"] == 0)

        wait_for(begun)
    wait_for(
        lambda: (
            [
                each["usage"]["used"]
                for each in reversed(list_all(api, f"{counted.usage}/exports/periods"))
                if each["usage"]["used"]
            ]
            == [5, 7, 1]
        )
    )
    paged = api.expect(200, "GET", f"{counted.usage}/exports/periods?limit=1")
    assert paged["items"][0]["isCurrent"]
    assert paged["nextPageToken"]


def test_overdraft_of_a_usage_limit_is_listed(api: CheckedApi) -> None:
    name = f"Listed {uuid.uuid4().hex[:8]}"
    both = [LIMIT, {**LIMIT, "key": "imports"}]
    counted = Counted(api, customer={"name": name}, usageLimits=both, seatCount=1)
    quiet = Counted(api, customer={"name": name})
    counted.consume(11)
    other = counted.license.call(
        "POST",
        f"{counted.usage}/imports",
        {"quantity": 12},
        headers={"idempotency-key": "imports"},
    )
    assert other.status == 200
    result = f"/v1/entitlements?customer={name.replace(' ', '%20')}"

    def over() -> list[str]:
        items = list_all(api, f"{result}&overdraft=true")
        return [item["entitlementId"] for item in items]

    wait_for(lambda: over() == [counted.id])
    rest = list_all(api, f"{result}&overdraft=false")
    assert [item["entitlementId"] for item in rest] == [quiet.id]


def spread(stack: Stack, counted: Counted) -> None:
    """What a rush does that this machine is too slow for: see `usage_parts.is_rushed`."""
    names = ("parts", "drawn", "holds")
    stack.client("dynamodb").update_item(
        TableName=stack.outputs["TableName"],
        Key={"pk": {"S": f"USAGE#{counted.id}#exports#0000"}, "sk": {"S": "LEDGER"}},
        UpdateExpression="SET " + ", ".join(f"{name} = :none" for name in names),
        ConditionExpression="attribute_exists(pk)",
        ExpressionAttributeValues={":none": {"N": "0"}},
    )


def test_a_sharded_limit(stack: Stack, api: CheckedApi) -> None:
    """Parts of their own, and the same answers: exactly the cap, once for each key, told in full."""
    limit = {**LIMIT, "limit": 150_000, "overdraftLimit": {"type": "absolute", "value": 50_000}}
    counted = Counted(api, usageLimits=[limit])
    first = counted.consume(1, "before-it-is-spread")
    spread(stack, counted)
    keys = [str(uuid.uuid4()) for _ in range(100)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda key: counted.send(1, key), keys))
    assert {answer.status for answer in answers} == {200}
    assert counted.consume(1, "before-it-is-spread") == first
    again = counted.send(1, keys[7])
    assert again.headers["idempotency-replayed"] == "true"
    assert again.body == answers[7].body
    # A change hears what every part has used.
    small = {**limit, "limit": 60}
    api.expect(
        200,
        "PATCH",
        counted.path,
        {"usageLimits": [{**small, "overdraftLimit": {"type": "absolute", "value": 50}}]},
    )
    [item] = counted.license.expect(200, "GET", counted.usage)["items"]
    assert (item["usage"]["used"], item["usage"]["hardCap"]) == (101, 110)
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: counted.send().status, range(16)))
    assert (statuses.count(200), statuses.count(409)) == (9, 7)
    denied = counted.consume(1, status=409)
    assert (denied["usage"]["used"], denied["usage"]["available"]) == (110, 0)
    would = counted.send(1, query="?dryRun=true")
    assert would.status == 409
    corrected = api.call(
        "POST",
        f"{counted.usage}/exports/corrections",
        {"quantity": -2, "reason": "a test"},
        headers={"idempotency-key": str(uuid.uuid4())},
    )
    assert corrected.body["usage"]["used"] == 108
    statuses = [counted.send().status for _ in range(3)]
    assert statuses == [200, 200, 409]
    api.expect(200, "PATCH", counted.path, {"usageLimits": [limit]})

    def is_told() -> bool:
        items = list_all(api, f"{counted.path}/usage-history?interval=15m&usageKey=exports")
        denied = sum(each["deniedAttempts"] for each in items)
        requests = sum(each["requests"] for each in items)
        return (items[-1]["closing"], denied, requests) == (110, 9, 112)

    wait_for(is_told)
    assert counted.consume(5)["usage"]["used"] == 115
    assert api.call("DELETE", counted.path).status == 204
    assert counted.send().status == 404


def test_all_limits_change_at_once(api: CheckedApi) -> None:
    limits = [{"key": f"k{number}", "limit": 1} for number in range(MAX_LIMITS)]
    counted = Counted(api, usageLimits=limits)
    more = [{**limit, "limit": 2} for limit in limits]
    api.expect(200, "PATCH", counted.path, {"usageLimits": more, "status": "suspended"})
    items = api.expect(200, "GET", counted.usage)["items"]
    assert {item["usage"]["purchased"] for item in items} == {2}
    assert (
        counted.license.call(
            "POST", f"{counted.usage}/k7", {"quantity": 1}, headers={"idempotency-key": "a"}
        )
        .body["type"]
        .endswith("entitlement-suspended")
    )
    other = [{"key": f"n{number}", "limit": 1} for number in range(MAX_LIMITS)]
    api.expect(200, "PATCH", counted.path, {"usageLimits": other})
    assert len(api.expect(200, "GET", counted.usage)["items"]) == MAX_LIMITS
    api.expect(204, "DELETE", counted.path)


@pytest.mark.parametrize("what", ["usage-history", "overdrafts", "denials"])
def test_a_usage_key_that_there_is_not(api: CheckedApi, counted: Counted, what: str) -> None:
    for key in ("imports", "a%23b", "%2F", "x" * 100):
        answer = api.call("GET", f"{counted.path}/{what}?usageKey={key}")
        assert (answer.status, answer.body["errors"][0]["pointer"]) == (400, "/usageKey")


@pytest.mark.parametrize("path", ["imports", "exports%23x", "%20", "x" * 65, "..%2Fusage"])
def test_addresses_that_there_are_not(counted: Counted, path: str) -> None:
    for rest in ("", "/periods", "/corrections"):
        method = "GET" if rest else "POST"
        body = None if rest else {"quantity": 1}
        caller = counted.license if not rest else counted.api
        answer = caller.call(
            method, f"{counted.usage}/{path}{rest}", body, headers={"idempotency-key": "a"}
        )
        assert answer.status == 404
