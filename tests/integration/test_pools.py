"""Pools of several shards over HTTP, in the deployed stack: a life from 200 seats to none."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.api import Answer
from shared.dynamodb.keys import TOTALS_PREFIX
from tests.integration.conftest import CheckedApi, Customer
from tests.support.paging import list_all
from tests.support.sampling import IS_SOAK
from tests.support.waiting import wait_for


class Pool(Customer):
    """A customer of many, whose seats come and go sixteen at a time."""

    def take_all(self, seat_ids: Iterable[str]) -> list[Answer]:
        with ThreadPoolExecutor(16) as threads:
            return list(threads.map(self.ask, seat_ids))

    def give_back(self, activation_ids: Iterable[str]) -> None:
        def release(activation_id: str) -> int:
            return self.license.call("DELETE", f"{self.seats}/{activation_id}").status

        with ThreadPoolExecutor(16) as threads:
            assert set(threads.map(release, activation_ids)) == {204}

    def change(self, terms: dict[str, Any]) -> Any:
        """A PATCH, sent again for as long as the answer is 202."""

        def send() -> Any:
            answer = self.api.call("PATCH", self.path, terms)
            assert answer.status in (200, 202), answer
            return answer.body if answer.status == 200 else None

        return wait_for(send)

    def wait_until(self, used: int) -> Any:
        """Until the pool's sum has come to it."""

        def look() -> Any:
            seats = self.api.expect(200, "GET", self.path)["seats"]
            return seats if seats["used"] == used else None

        return wait_for(look)


@pytest.fixture(scope="module")
def pool(api: CheckedApi) -> Pool:
    """180 of 200 seats, the cap at 240; the tests follow each other."""
    pool = Pool(
        api,
        seatCount=200,
        overdraftSeatLimit={"type": "absolute", "value": 40},
        leasePeriod="PT8H",
        thresholds=[90, 100],
    )
    answers = pool.take_all(f"user{number}" for number in range(180))
    assert {answer.status for answer in answers} == {201}
    return pool


def test_the_totals_of_all_shards(pool: Pool) -> None:
    assert pool.entitlement["hardCap"] == 240
    seats = pool.wait_until(180)
    assert (seats["purchased"], seats["hardCap"], seats["available"]) == (200, 240, 60)
    assert seats["asOf"]
    again = pool.take("user7", 200)
    assert again["isOverdraftSeat"] is False
    assert again["seats"]["asOf"]
    would = pool.license.expect(200, "POST", f"{pool.seats}?dryRun=true", {"seatId": "somebody"})
    assert would["seats"]["used"] == 181


def test_exactly_the_cap_and_then_denied(api: CheckedApi, pool: Pool) -> None:
    answers = pool.take_all(f"more{number}" for number in range(20))
    assert {answer.status for answer in answers} == {201}
    pool.wait_until(200)
    # A process looks at the totals and the limits once a second.
    time.sleep(1.1)
    assert pool.take("over0")["isOverdraftSeat"] is True
    answers = pool.take_all(f"over{number}" for number in range(1, 56))
    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (39, 16)
    denied = next(answer.body for answer in answers if answer.status == 409)
    assert denied["type"].endswith("/hard-cap-reached")
    assert (denied["seats"]["used"], denied["seats"]["available"]) == (240, 0)
    assert denied["nextLeaseExpiry"]
    assert pool.wait_until(240)["overdraftUsed"] == 40
    denials = wait_for(
        lambda: len(found := list_all(api, f"{pool.path}/denials")) == 16 and found, 30
    )
    assert {each["seatId"] for each in denials} <= {f"over{number}" for number in range(56)}


def test_history_episodes_and_the_portal(api: CheckedApi, pool: Pool) -> None:
    def counted() -> Any:
        items = list_all(api, f"{pool.path}/usage-history?interval=15m")
        total = sum(each["activations"] for each in items)
        return items if (total, items[-1]["closing"]) == (240, 240) else None

    items = wait_for(counted)
    assert max(each["highest"] for each in items) == 240
    assert sum(each["deniedAttempts"] for each in items) == 16
    [episode] = list_all(api, f"{pool.path}/overdrafts")
    assert (episode["peak"], episode["end"], episode["deniedAttempts"]) == (240, None, 16)
    portal = pool.portal()
    state = portal.expect(200, "GET", "/v1/portal")
    assert state["seats"]["used"] == 240
    assert len(list_all(portal, "/v1/portal/seats")) == 240
    held = list_all(api, f"{pool.path}/activations")
    assert len({each["activationId"] for each in held}) == len(held) == 240


def test_a_seat_that_is_given_back_is_there_for_anybody(pool: Pool) -> None:
    held = list_all(pool.api, f"{pool.path}/activations")
    pool.give_back(each["activationId"] for each in held[:3])
    answers = pool.take_all(f"next{number}" for number in range(5))
    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (3, 2)


def test_limits_change(api: CheckedApi, pool: Pool) -> None:
    """More shards, fewer, a percentage, no limit at all: nobody who holds a seat loses it."""
    raised = pool.change(
        {"seatCount": 600, "overdraftSeatLimit": {"type": "percentage", "value": 10}}
    )
    assert raised["hardCap"] == 660
    time.sleep(1.1)
    assert pool.take("after raising")["isOverdraftSeat"] is False
    pool.wait_until(241)
    lowered = pool.change({"seatCount": 150, "overdraftSeatLimit": {"type": "none"}})
    assert (lowered["hardCap"], lowered["seats"]["used"]) == (150, 241)
    pool.take("after raising", 200)
    pool.take("after lowering", 409)
    held = [each["activationId"] for each in list_all(api, f"{pool.path}/activations")]
    pool.give_back(held[:91])
    pool.wait_until(150)
    pool.take("still full", 409)
    pool.give_back(held[91:92])
    pool.take("and now not")
    unlimited = pool.change({"overdraftSeatLimit": {"type": "unlimited"}})
    assert unlimited["hardCap"] is None
    assert unlimited["seats"]["available"] is None
    pool.take("unlimited")
    pool.wait_until(151)


def test_back_to_one_shard_and_the_end(api: CheckedApi, pool: Pool) -> None:
    held = [each["activationId"] for each in list_all(api, f"{pool.path}/activations")]
    pool.give_back(held[10:])
    small = pool.change({"seatCount": 8, "overdraftSeatLimit": {"type": "absolute", "value": 4}})
    assert small["hardCap"] == 12
    seats = api.expect(200, "GET", pool.path)["seats"]
    assert "asOf" not in seats, "one page knows"
    assert (seats["used"], seats["overdraftUsed"]) == (10, 2)
    answers = pool.take_all(f"last{number}" for number in range(6))
    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (2, 4)
    assert api.call("DELETE", pool.path).status == 204
    pool.take("nobody", 404)

    def is_told() -> bool:
        items = list_all(api, f"{pool.path}/usage-history?interval=15m")
        closing = items[-1]["closing"]
        came = sum(each["activations"] for each in items)
        went = sum(each["releases"] + each["removals"] for each in items)
        return bool(closing == 0 and came == went)

    wait_for(is_told)


def test_a_large_pool_is_deleted(api: CheckedApi) -> None:
    """Of 100 shards; of 1,000, the most there are, in `make soak`."""
    tenth = 10_000 if IS_SOAK else 1_000
    limit = {"type": "absolute", "value": tenth}
    pool = Pool(api, seatCount=9 * tenth, overdraftSeatLimit=limit)
    answers = pool.take_all(f"user{number}" for number in range(32))
    assert {answer.status for answer in answers} == {201}
    assert api.call("DELETE", pool.path).status == 204
    # Its shards are closed one after the other, if not within the request, then by the sweep.
    wait_for(lambda: pool.license.call("POST", pool.seats, {"seatId": "user1"}).status == 404)
    wait_for(lambda: api.expect(200, "GET", pool.path)["seats"]["used"] == 0)


def test_somebody_of_a_pool_is_erased(stack: Any, api: CheckedApi) -> None:
    pool = Pool(api, seatCount=300)
    for seat_id in ("alice@acme.com", "bob@acme.com"):
        body = {"seatId": seat_id, "seatName": "Alice" if "alice" in seat_id else "Bob"}
        pool.license.expect(201, "POST", pool.seats, body)
    wait_for(lambda: api.call("GET", f"{pool.path}/seats/alice@acme.com").status == 200)
    pool.wait_until(2)
    erased = api.expect(200, "POST", f"{pool.path}/seats/erase", {"seatId": "alice@acme.com"})
    assert erased["isHeld"] is True
    scan = stack.client("dynamodb").get_paginator("scan")
    pages = scan.paginate(TableName=stack.outputs["TableName"], ConsistentRead=True)
    about = [item for page in pages for item in page["Items"] if pool.id in item["pk"]["S"]]
    assert len(about) > 5
    assert not [item for item in about if "alice" in str(item).lower()]
    assert any(item["pk"]["S"].startswith(TOTALS_PREFIX) for item in about)
    assert api.expect(200, "GET", pool.path)["seats"]["used"] in (1, 2)
