"""Changes of terms that touch a hundred items, in one transaction."""

import pytest

from local.dynamodb import DynamoDBLocal
from shared.dynamodb.keys import usage_key
from shared.usage import sharded
from tests.support.tables import create_table, open_client, read_item
from tests.unit.conftest import Api

PATCH = "PATCH /v1/entitlements/{entitlementId}"


@pytest.fixture
def api(engine: DynamoDBLocal) -> Api:
    return Api(open_client(engine.url, create_table(engine.url)))


def test_more_changes_than_fit_are_refused_and_nothing_is_left_locked(api: Api) -> None:
    """All usage limits are replaced while what was a pool before becomes one again."""
    limits = [{"key": f"old{number}", "limit": 200_000} for number in range(48)]
    entitlement_id = api.create(seatCount=200, usageLimits=limits)
    path = {"entitlementId": entitlement_id}
    assert api.call(PATCH, path, {"seatCount": 100})[0] == 200
    api.dynamodb.execute(sharded.start_sharding((entitlement_id, "old7")))
    new = [{"key": f"new{number}", "limit": 1} for number in range(48)]
    status, problem, _ = api.call(PATCH, path, {"seatCount": 200, "usageLimits": new})
    assert status == 400
    assert "one by one" in str(problem)
    item = read_item(api.dynamodb, usage_key(entitlement_id, "old7"))
    assert "heldAt" not in item
    assert api.call(PATCH, path, {"usageLimits": new})[0] == 200
    assert api.call(PATCH, path, {"seatCount": 200})[0] == 200
