"""Changes of terms that touch a hundred items, in one transaction."""

import pytest

from local.dynamodb import DynamoDBLocal
from shared.dynamodb.keys import usage_key
from shared.dynamodb.requests import Get
from shared.usage import sharded
from tests.support.tables import create_table, open_door
from tests.unit.conftest import Rooms

PATCH = "PATCH /v1/entitlements/{entitlementId}"


@pytest.fixture
def rooms(dynamodb: DynamoDBLocal) -> Rooms:
    return Rooms(open_door(dynamodb.url, create_table(dynamodb.url)))


def test_more_changes_than_fit_are_refused_and_nothing_is_left_held(rooms: Rooms) -> None:
    """All usage limits are replaced while what was a pool before becomes one again."""
    limits = [{"key": f"old{number}", "limit": 200_000} for number in range(48)]
    entitlement_id = rooms.create(seatCount=200, usageLimits=limits)
    path = {"entitlementId": entitlement_id}
    assert rooms.call(PATCH, path, {"seatCount": 100})[0] == 200
    rooms.door.execute(sharded.start_sharding((entitlement_id, "old7")))
    new = [{"key": f"new{number}", "limit": 1} for number in range(48)]
    status, problem, _ = rooms.call(PATCH, path, {"seatCount": 200, "usageLimits": new})
    assert status == 400
    assert "one by one" in str(problem)
    item = rooms.door.execute(Get(usage_key(entitlement_id, "old7")))
    assert "heldAt" not in item
    assert rooms.call(PATCH, path, {"usageLimits": new})[0] == 200
    assert rooms.call(PATCH, path, {"seatCount": 200})[0] == 200
