"""The sweep."""

import time
from typing import Any

import pytest

from functions.release import sweeper as release
from shared import problems
from shared.api import app
from shared.audit import Change
from shared.dynamodb import client as client_module
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    seat_shard_key,
    usage_key,
)
from shared.dynamodb.requests import (
    Item,
    Pause,
    Refused,
)
from shared.entitlements.lifecycle import close_entitlement
from shared.entitlements.queries import fetch_entitlement
from shared.seats import activation
from shared.seats.holder import Holder
from shared.seats.shard import SeatShard
from shared.usage import allocation, sharded
from shared.usage.counter import Counter
from tests.support.seats import NOW_MS, read_shard_item
from tests.support.tables import read_item, this_thread_as
from tests.unit.conftest import Api
from tests.unit.notify.test_batch import entitlement_time


def test_the_sweep_frees_leases_and_closes_what_ended(api: Api) -> None:
    soon = entitlement_time(3600)
    leased = api.create(leasePeriod="PT10M")
    ending = api.create(validUntil=soon)
    both = api.create(leasePeriod="PT10M", validUntil=soon)
    untouched = api.create()
    now_ms = time.time_ns() // 1_000_000
    for entitlement_id in (leased, ending, both, untouched):
        made = Change("test", "r", now_ms)
        api.dynamodb.run(activation.take(entitlement_id, Holder("a"), made, now_ms))
    sweep(api.dynamodb, "sweep-0", now_ms + 1_000, FAR)
    assert [used(api.dynamodb, e) for e in (leased, ending, both, untouched)] == [1, 1, 1, 1]
    sweep(api.dynamodb, "sweep-1", now_ms + 700_000, FAR)
    assert [used(api.dynamodb, e) for e in (leased, ending, both, untouched)] == [0, 1, 0, 1]
    done = sweep(api.dynamodb, "sweep-2", now_ms + 3_700_000, FAR)
    assert [used(api.dynamodb, e) for e in (leased, ending, both, untouched)] == [0, 0, 0, 1]
    assert done["closed"] == 2
    assert read_shard_item(api.dynamodb, ending)["last"]["type"] == "expired"
    again = sweep(api.dynamodb, "sweep-3", now_ms + 3_800_000, FAR)
    assert again["closed"] == 0


def test_a_prolonged_entitlement_is_not_closed(api: Api) -> None:
    entitlement_id = api.create(validUntil=entitlement_time(3600))
    path = {"entitlementId": entitlement_id}
    status, _, _ = api.call(
        "PATCH /v1/entitlements/{entitlementId}", path, {"validUntil": entitlement_time(7200)}
    )
    assert status == 200
    late = Change("sweep", "r", time.time_ns() // 1_000_000 + 3_700_000)
    assert api.dynamodb.run(close_entitlement(entitlement_id, late)) is False
    later = late._replace(now_ms=late.now_ms + 3_700_000)
    assert api.dynamodb.run(close_entitlement(entitlement_id, later)) is True
    assert api.dynamodb.run(close_entitlement(entitlement_id, later)) is False


def test_a_grant_that_was_on_its_way_finds_the_shard_closed(api: Api) -> None:
    """Whatever its clock says: nothing would free it any more."""
    entitlement_id = api.create(validUntil=entitlement_time(3600))
    now_ms = time.time_ns() // 1_000_000
    late = activation.take(entitlement_id, Holder("late"), Change("t", "r", now_ms), 1)
    write = late.send(None)
    closing = Change("sweep", "r", now_ms + 3_700_000)
    assert api.dynamodb.run(close_entitlement(entitlement_id, closing)) is True
    reply = api.dynamodb.execute(write)
    assert isinstance(reply, Refused)
    assert late.send(reply) == Pause(0)
    with pytest.raises(problems.EntitlementExpired):
        late.send(now_ms)
    assert used(api.dynamodb, entitlement_id) == 0


def test_a_closed_entitlement_is_closed_once_and_opened_by_a_later_end(api: Api) -> None:
    entitlement_id = api.create(validUntil=entitlement_time(1), leasePeriod="PT1H")
    path = {"entitlementId": entitlement_id}
    patch = "PATCH /v1/entitlements/{entitlementId}"
    later = Change("sweep", "r", time.time_ns() // 1_000_000 + 10_000)
    assert api.dynamodb.run(close_entitlement(entitlement_id, later)) is True
    for body in (
        {"product": "Renamed"},
        {"seatCount": 5},
        {"status": "suspended"},
        {"status": "active"},
    ):
        assert api.call(patch, path, body)[0] == 200
        assert api.dynamodb.run(close_entitlement(entitlement_id, later)) is False
    take = "POST /v1/entitlements/{entitlementId}/activations"
    assert api.call(take, path, {"seatId": "a"})[0] == 403
    assert api.call(patch, path, {"validUntil": entitlement_time(3600)})[0] == 200
    status, body, _ = api.call(take, path, {"seatId": "a"})
    assert (status, body["seats"]["purchased"]) == (201, 5)
    much_later = later._replace(now_ms=later.now_ms + 3_700_000)
    assert api.dynamodb.run(close_entitlement(entitlement_id, much_later)) is True


def test_the_sweep_collects_what_shards_have_used(api: Api) -> None:
    limit = {"key": "calls", "limit": 200_000}
    entitlement_id = api.create(usageLimits=[limit])
    now_ms = time.time_ns() // 1_000_000
    made = Change("test", "r", now_ms)
    api.dynamodb.execute(sharded.start_sharding((entitlement_id, "calls")))
    for number in range(5):
        key = f"request{number:05d}"
        api.dynamodb.run(sharded.consume(entitlement_id, "calls", key, 2, made))
    counter = usage_key(entitlement_id, "calls")
    assert Counter.of(read_item(api.dynamodb, counter)).used == 0
    sweep(api.dynamodb, "sweep-1", now_ms + 70_000, FAR)
    item = read_item(api.dynamodb, counter)
    assert Counter.of(item).used == 10
    assert item["earliest"] == now_ms // 1000 + 70 + allocation.RECONCILE_SECONDS


def test_one_bad_item_does_not_stop_the_sweep(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = []

    def fail(dynamodb: DynamoDBClient, item: Item, *_: Any) -> None:
        swept.append(item["pk"])
        raise RuntimeError("bad item")

    ids = [api.create(leasePeriod="PT1M") for _ in range(3)]
    now_ms = time.time_ns() // 1_000_000
    for entitlement_id in ids:
        api.dynamodb.run(
            activation.take(entitlement_id, Holder("a"), Change("t", "r", now_ms), now_ms)
        )
    monkeypatch.setattr(release, "_sweep_item", fail)
    sweep(api.dynamodb, "r", now_ms + 70_000, FAR)
    assert {seat_shard_key(entitlement_id).pk for entitlement_id in ids} <= set(swept)


def test_the_sweep_stops_before_its_deadline(api: Api) -> None:
    entitlement_id = api.create(leasePeriod="PT1M")
    now_ms = time.time_ns() // 1_000_000
    api.dynamodb.run(activation.take(entitlement_id, Holder("a"), Change("t", "r", now_ms), now_ms))
    sweep(api.dynamodb, "r", now_ms + 70_000, 0)
    assert used(api.dynamodb, entitlement_id) == 1


# --- Rights that are rarely used: each call is made with the role of its function -----------------


@pytest.mark.parametrize("seat_counts", [(200,), (200, 100)])
def test_a_pool_whose_validity_ends_is_closed_with_the_rights_of_release(
    api: Api, seat_counts: tuple[int, ...]
) -> None:
    ends = entitlement_time(3600)
    entitlement_id = api.create(seatCount=seat_counts[0], validUntil=ends)
    path = {"entitlementId": entitlement_id}
    for count in seat_counts[1:]:
        route = "PATCH /v1/entitlements/{entitlementId}"
        assert api.call(route, path, {"seatCount": count})[0] == 200
    done = sweep(api.dynamodb, "sweep-1", int(time.time() * 1000) + 3_700_000, FAR)
    assert done["closed"] == 1
    with this_thread_as("ReleaseRole"):
        item, _ = api.dynamodb.run(fetch_entitlement(entitlement_id))
    assert item["status"] == "active", "the end of its validity is no change of its terms"
    assert "earliest" not in item


def test_a_pool_that_is_changed_all_the_time_is_swept(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change left the pool for the sweep after the next, and the next change again."""
    now = [NOW_MS]
    for module in (app, client_module):
        monkeypatch.setattr(module, "now_ms", lambda: now[0])
    entitlement_id = api.create(
        seatCount=150, overdraftSeatLimit={"type": "absolute", "value": 50}, leasePeriod="PT1M"
    )
    path = {"entitlementId": entitlement_id}
    route = "POST /v1/entitlements/{entitlementId}/activations"
    for number in range(6):
        assert api.call(route, path, {"seatId": f"user{number}"})[0] == 201
    held = []
    for second in range(1, 181):
        now[0] = NOW_MS + second * 1000
        if second % 27 == 0 or second % 60 in (57, 59):
            change = {"seatCount": 150 + second % 2}
            assert api.call("PATCH /v1/entitlements/{entitlementId}", path, change)[0] == 200
        if second % 60 == 0:
            with this_thread_as("ReleaseRole"):
                release.sweep(api.dynamodb, f"sweep{second}", now[0], now[0] + 50_000)
            result = api.call("GET /v1/entitlements/{entitlementId}/activations", path)
            held.append(len(result[1]["items"]))
    assert held == [6, 0, 0]


FAR = 10**15


def sweep(*given: Any) -> dict[str, int]:
    """The sweep, with the rights that it has when it is deployed."""
    with this_thread_as("ReleaseRole"):
        return release.sweep(*given)


def test_a_dry_run_of_a_sharded_limit_says_what_is_left(api: Api) -> None:
    entitlement_id = api.create(usageLimits=[{"key": "calls", "limit": 200_000}])
    limit = (entitlement_id, "calls")
    made = Change("test", "r", time.time_ns() // 1_000_000)
    api.dynamodb.execute(sharded.start_sharding(limit))
    api.dynamodb.run(sharded.consume(*limit, "request00001", 199_000, made))
    api.dynamodb.run(sharded.consume(*limit, "request00002", 400, made))
    assert api.dynamodb.run(sharded.preview(*limit, None, 600, made)).consumed.used == 200_000
    with pytest.raises(problems.HardCapReached) as denied:
        api.dynamodb.run(sharded.preview(*limit, None, 601, made))
    assert denied.value.extensions["usage"]["available"] == 600


def used(dynamodb: DynamoDBClient, entitlement_id: str) -> int:
    return SeatShard.of(read_shard_item(dynamodb, entitlement_id)).used
