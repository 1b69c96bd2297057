"""A restore, rehearsed: the stack goes over to a table of an earlier moment, and works on."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.api import Api
from local.dynamodb import DynamoDBLocal, table_properties
from local.emulator import Emulator, free_port
from local.stack import Stack, deploy, update
from tests.conftest import expect_refusals_of
from tests.support.receivers import Receivers
from tests.support.waiting import wait_for
from tools.adopt import AdoptError, adopt
from tools.smoke import Smoke

ENTITLEMENT = {
    "product": "CAD Pro",
    "customer": {"name": "Acme Corp"},
    "seatCount": 2,
    "overdraftSeatLimit": {"type": "absolute", "value": 2},
}


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    """A stack of its own: what happens to it must not happen to others."""
    with Emulator(free_port()) as emulator:
        deployed = deploy(emulator)
        yield deployed
    deployed.stop()


def restore(stack: Stack, name: str) -> None:
    """What a point-in-time restore leaves: the items and indexes, and nothing else of the table."""
    properties = {n: v for n, v in table_properties().items() if n != "StreamSpecification"}
    dynamodb = stack.client("dynamodb")
    dynamodb.create_table(TableName=name, **properties)
    for item in list(dynamodb.scan(TableName=stack.outputs["TableName"])["Items"]):
        dynamodb.put_item(TableName=name, Item=item)


def take(api: Api, entitlement_id: str, seat_id: str, status: int = 201) -> dict[str, Any]:
    path = f"/v1/entitlements/{entitlement_id}/activations"
    return dict(api.expect(status, "POST", path, {"seatId": seat_id}))


def used(api: Api, entitlement_id: str) -> int:
    return int(api.expect(200, "GET", f"/v1/entitlements/{entitlement_id}")["seats"]["used"])


def recorded(api: Api, entitlement_id: str) -> int:
    """How many people the stream has told of."""
    return len(api.expect(200, "GET", f"/v1/entitlements/{entitlement_id}/seats")["items"])


def test_the_stack_takes_over_a_restored_table_and_goes_back(own_stack: Stack) -> None:
    stack = own_stack
    api = Api(stack.api_url, f"Bearer {stack.bootstrap_key}")
    entitlement_id = api.expect(201, "POST", "/v1/entitlements", ENTITLEMENT)["entitlementId"]
    first_table = stack.outputs["TableName"]
    kept = take(api, entitlement_id, "alice")
    take(api, entitlement_id, "bob")
    wait_for(lambda: recorded(api, entitlement_id) == 2)
    restore(stack, "restored")
    # What comes after that moment is not in the table that is restored.
    take(api, entitlement_id, "carol")
    wait_for(lambda: recorded(api, entitlement_id) == 3)
    dynamodb = stack.client("dynamodb")
    said: list[str] = []
    parameters = adopt(dynamodb, "restored", said.append)
    assert [line.partition(":")[0] for line in said] == [
        "stream",
        "time to live",
        "point-in-time recovery",
        "deletion protection",
    ]
    assert adopt(dynamodb, "restored", said.append) == parameters
    assert len(said) == 4, "the second time there is nothing to do"
    update(stack, parameters)
    assert stack.outputs["TableName"] == "restored"
    assert dynamodb.describe_table(TableName=first_table)["Table"]["TableStatus"] == "ACTIVE"
    assert used(api, entitlement_id) == 2
    renewed = take(api, entitlement_id, "alice", 200)
    assert renewed["activationId"] == kept["activationId"], "holders keep their seats"
    # The number of Carol's change is given again, to Dave's; history tells of his.
    take(api, entitlement_id, "dave")
    wait_for(lambda: recorded(api, entitlement_id) == 3)
    [episode] = api.expect(200, "GET", f"/v1/entitlements/{entitlement_id}/overdrafts")["items"]
    assert episode["peak"] == 3
    receivers = Receivers()
    try:
        smoke = Smoke(api, f"{receivers.url}/good/adopted", lambda _: None)
        assert smoke.run(), [check for check in smoke.checks if check.failure]
    finally:
        receivers.stop()
    # And back, by the same way. Roles change before functions do, so the sweep of that moment may
    # be refused; the next one does its work.
    expect_refusals_of("table/restored")
    update(stack, adopt(dynamodb, first_table, said.append))
    assert used(api, entitlement_id) == 3


def test_a_table_that_is_not_ours_is_refused(engine: DynamoDBLocal) -> None:
    client = engine.client()
    with pytest.raises(AdoptError, match="there is no table 'none'"):
        adopt(client, "none")
    properties = table_properties()
    client.create_table(
        TableName="other",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(AdoptError, match="no table of Overdraft"):
        adopt(client, "other")
    fewer = {
        **{n: properties[n] for n in ("KeySchema", "BillingMode")},
        "AttributeDefinitions": [
            each
            for each in properties["AttributeDefinitions"]
            if each["AttributeName"] in ("pk", "sk")
        ],
    }
    client.create_table(TableName="fewer", **fewer)
    with pytest.raises(AdoptError, match="lacks the index 'list'"):
        adopt(client, "fewer")
