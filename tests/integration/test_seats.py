"""Seats over HTTP, in the deployed stack."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.api import Answer
from local.stack import Stack
from tests.conftest import expect_refusals_of
from tests.integration.conftest import CheckedApi, Customer
from tests.support.sampling import IS_SOAK
from tests.support.waiting import wait_for


def test_within_overdraft_denied_and_free_again(api: CheckedApi, customer: Customer) -> None:
    first = customer.take("alice@acme.com")
    assert (first["isOverdraftSeat"], first["status"]) == (False, "within_limit")
    second = customer.take("bob@acme.com")
    assert (second["isOverdraftSeat"], second["status"]) == (False, "at_limit")
    third = customer.take("carol@acme.com")
    assert (third["isOverdraftSeat"], third["status"]) == (True, "overdraft")
    assert third["seats"] == {
        "used": 3,
        "purchased": 2,
        "hardCap": 3,
        "overdraftUsed": 1,
        "available": 0,
    }
    denied = customer.take("dave@acme.com", 409)
    assert denied["type"].endswith("/hard-cap-reached")
    assert denied["seats"] == third["seats"]
    assert denied["nextLeaseExpiry"] is None
    released = customer.license.call("DELETE", f"{customer.seats}/{first['activationId']}")
    assert (released.status, released.body) == (204, "")
    assert customer.take("dave@acme.com")["isOverdraftSeat"] is True
    assert api.expect(200, "GET", customer.path)["seats"]["used"] == 3


def test_the_denial_is_on_record_before_the_answer(stack: Stack, customer: Customer) -> None:
    for seat_id in ("a", "b", "c"):
        customer.take(seat_id)
    for _ in range(3):
        customer.take("late@acme.com", 409)
    pages = (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=stack.outputs["TableName"],
            FilterExpression="begins_with(pk, :prefix)",
            ExpressionAttributeValues={":prefix": {"S": f"DENIAL#{customer.id}#"}},
            ConsistentRead=True,
        )
    )
    found = [item for page in pages for item in page["Items"]]
    assert sum(int(item["attempts"]["N"]) for item in found) == 3
    assert {item["seatId"]["S"] for item in found} == {"late@acme.com"}
    assert {item["hardCap"]["N"] for item in found} == {"3"}


def test_a_retry_gets_the_same_grant(customer: Customer) -> None:
    first = customer.take("alice")
    again = customer.take("alice", 200)
    for name in ("activationId", "activatedAt", "isOverdraftSeat", "leaseExpiry", "seats"):
        assert again[name] == first[name]


def test_a_late_release_frees_no_newer_grant(api: CheckedApi, customer: Customer) -> None:
    first = customer.take("alice")
    path = f"{customer.seats}/{first['activationId']}"
    assert customer.license.call("DELETE", path).status == 204
    second = customer.take("alice")
    assert second["activationId"] != first["activationId"]
    assert customer.license.call("DELETE", path).status == 204
    assert api.expect(200, "GET", customer.path)["seats"]["used"] == 1


def test_dry_run_changes_and_records_nothing(
    stack: Stack, api: CheckedApi, customer: Customer
) -> None:
    dry = f"{customer.seats}?dryRun=true"
    would = customer.license.expect(200, "POST", dry, {"seatId": "alice"})
    assert would["dryRun"] is True
    assert would["activationId"] is None
    assert would["seats"]["used"] == 1
    assert api.expect(200, "GET", customer.path)["seats"]["used"] == 0
    for seat_id in ("a", "b", "c"):
        customer.take(seat_id)
    assert customer.license.call("POST", dry, {"seatId": "d"}).status == 409
    held = customer.license.expect(200, "POST", dry, {"seatId": "c"})
    assert held["isOverdraftSeat"] is True
    assert held["activationId"].startswith("act_")
    found = stack.client("dynamodb").scan(
        TableName=stack.outputs["TableName"],
        FilterExpression="begins_with(pk, :prefix)",
        ExpressionAttributeValues={":prefix": {"S": f"DENIAL#{customer.id}#"}},
    )
    assert found["Count"] == 0


def test_holders_are_listed_with_their_names_at_once(customer: Customer) -> None:
    body = {"seatId": "alice@acme.com", "seatName": "Alice", "attributes": {"device": "mbp-13"}}
    taken = customer.license.expect(201, "POST", customer.seats, body)
    [held] = customer.license.expect(200, "GET", customer.seats)["items"]
    assert held["activationId"] == taken["activationId"]
    assert (held["seatId"], held["seatName"]) == ("alice@acme.com", "Alice")
    assert held["attributes"] == {"device": "mbp-13"}
    assert held["activatedAt"] == held["lastSeenAt"] == taken["activatedAt"]
    customer.license.call("DELETE", f"{customer.seats}/{taken['activationId']}")
    assert customer.license.expect(200, "GET", customer.seats)["items"] == []


def test_holders_page_by_page(api: CheckedApi) -> None:
    customer = Customer(api, seatCount=20)
    for number in range(7):
        customer.take(f"user{number}")
    seen: list[str] = []
    path = f"{customer.seats}?limit=3"
    for _ in range(3):
        page = customer.license.expect(200, "GET", path)
        seen += [item["activationId"] for item in page["items"]]
        path = f"{customer.seats}?limit=3&pageToken={page['nextPageToken']}"
    assert page["nextPageToken"] is None
    assert len(seen) == len(set(seen)) == 7


@pytest.mark.parametrize("overdraft", ["absolute", "unlimited"])
def test_few_holders_in_a_large_pool(api: CheckedApi, overdraft: str) -> None:
    """No answer reads all of its shards, and each goes on where the one before ended."""
    limit: dict[str, Any] = {"type": overdraft}
    if overdraft == "absolute":
        limit["value"] = 99_900 if IS_SOAK else 9_900
    customer = Customer(api, seatCount=100, overdraftSeatLimit=limit)
    taken = sorted(customer.take(f"user{number}")["activationId"] for number in range(7))

    def result() -> tuple[list[str], int]:
        seen, token, answers = list[str](), "", 0
        while token is not None:
            path = f"{customer.seats}?limit=3" + (f"&pageToken={token}" if token else "")
            page = customer.license.expect(200, "GET", path)
            assert len(page["items"]) <= 3
            seen += [item["activationId"] for item in page["items"]]
            token, answers = page["nextPageToken"], answers + 1
        return seen, answers

    # While the pool is still being split, a list goes on shard by shard, however slow that is.
    wait_for(lambda: result()[1] < 20)
    seen, _ = result()
    assert sorted(seen) == taken


def test_sixteen_clients_at_the_cap(api: CheckedApi) -> None:
    """The deployed functions, in their own processes, on one seat shard."""
    customer = Customer(
        api,
        seatCount=20,
        overdraftSeatLimit={"type": "percentage", "value": 25},
        leasePeriod="PT1H",
    )

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(customer.ask, (f"user{number}" for number in range(48))))
    granted = [answer.body for answer in answers if answer.status == 201]
    assert sorted({answer.status for answer in answers}) == [201, 409]
    assert sorted(body["seats"]["used"] for body in granted) == list(range(1, 26))
    assert sum(body["isOverdraftSeat"] for body in granted) == 5


def test_limits_changed_while_in_use(api: CheckedApi, customer: Customer) -> None:
    for seat_id in ("a", "b", "c"):
        customer.take(seat_id)
    lowered = api.expect(200, "PATCH", customer.path, {"seatCount": 1, "overdraftSeatLimit": None})
    assert lowered["seats"] == {
        "used": 3,
        "purchased": 1,
        "hardCap": 1,
        "overdraftUsed": 2,
        "available": 0,
    }
    assert customer.take("a", 200)["status"] == "overdraft"
    customer.take("d", 409)
    api.expect(200, "PATCH", customer.path, {"seatCount": 4})
    assert customer.take("d")["isOverdraftSeat"] is False


def test_suspended_not_yet_valid_expired(api: CheckedApi, customer: Customer) -> None:
    held = customer.take("a")
    for patch, problem in (
        ({"status": "suspended"}, "entitlement-suspended"),
        ({"status": "active", "validFrom": "2099-01-01T00:00:00Z"}, "entitlement-not-yet-valid"),
        (
            {"validFrom": "2020-01-01T00:00:00Z", "validUntil": "2021-01-01T00:00:00Z"},
            "entitlement-expired",
        ),
    ):
        changed = api.expect(200, "PATCH", customer.path, patch)
        for seat_id in ("a", "new"):
            refused = customer.take(seat_id, 403)
            assert refused["type"].endswith(problem)
        assert changed["status"] == problem.removeprefix("entitlement-").replace("-", "_")
    path = f"{customer.seats}/{held['activationId']}"
    assert customer.license.call("DELETE", path).status == 204


def test_deletion_takes_the_seats_and_keeps_the_record(api: CheckedApi, customer: Customer) -> None:
    held = customer.take("a")
    assert api.call("DELETE", customer.path).status == 204
    assert api.call("DELETE", customer.path).status == 204
    customer.take("a", 404)
    assert customer.license.call("DELETE", f"{customer.seats}/{held['activationId']}").status == 204
    kept = api.expect(200, "GET", customer.path)
    assert kept["status"] == "deleted"
    assert kept["seats"]["used"] == 0
    assert api.call("PATCH", customer.path, {"seatCount": 5}).status == 404
    result = api.expect(200, "GET", "/v1/entitlements?limit=100")["items"]
    assert customer.id not in [item["entitlementId"] for item in result]


def test_idempotency_key_on_an_activation(customer: Customer) -> None:
    headers = {"idempotency-key": f"take-{customer.id}"}

    def take(seat_id: str) -> Answer:
        return customer.license.call("POST", customer.seats, {"seatId": seat_id}, headers=headers)

    first, again, other = take("a"), take("a"), take("b")
    assert (first.status, again.status, other.status) == (201, 201, 409)
    assert first.body == again.body
    assert other.body["type"].endswith("/idempotency-conflict")


def test_a_stored_answer_never_hides_the_present_state(
    stack: Stack, api: CheckedApi, customer: Customer
) -> None:
    """A released seat is taken anew, a full house is denied, a suspension is a suspension."""
    headers = {"idempotency-key": f"take-{customer.id}"}

    def take() -> Answer:
        body = {"seatId": "secret@acme.com"}
        return customer.license.call("POST", customer.seats, body, headers=headers)

    first = take().body["activationId"]
    assert customer.license.call("DELETE", f"{customer.seats}/{first}").status == 204
    second = take()
    assert second.status == 201
    assert second.body["activationId"] != first
    assert api.expect(200, "GET", customer.path)["seats"]["used"] == 1
    named = second.body["activationId"]
    assert customer.license.call("DELETE", f"{customer.seats}/{named}").status == 204
    for seat_id in ("x", "y", "z"):
        customer.take(seat_id)
    assert take().status == 409
    api.expect(200, "PATCH", customer.path, {"status": "suspended"})
    assert take().status == 403
    found = stack.client("dynamodb").scan(
        TableName=stack.outputs["TableName"],
        FilterExpression="begins_with(pk, :prefix)",
        ExpressionAttributeValues={":prefix": {"S": "IDEMPOTENCY#"}},
    )
    assert "secret@acme.com" not in str(found["Items"])


def test_a_role_without_the_right_is_refused(stack: Stack, api: CheckedApi) -> None:
    """The emulator enforces the functions' roles: taken away, the right is missed at once."""
    customer = Customer(api)
    iam = stack.client("iam")
    role = stack.functions["ActivateRole"]
    [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    other = {"dynamodb:UpdateItem": "dynamodb:DescribeLimits"}
    without = {
        **policy,
        "Statement": [
            {**s, "Action": other.get(str(s["Action"]), s["Action"])} for s in policy["Statement"]
        ],
    }
    assert without != policy
    import json

    expect_refusals_of(customer.id)
    unchecked = customer.license
    try:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(without))
        answer = super(CheckedApi, unchecked).call("POST", customer.seats, {"seatId": "a"})
        assert answer.status == 500
        assert answer.body["type"].endswith("/internal")
        assert "AccessDenied" not in str(answer.body)
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))
    customer.take("a")


def test_overdraft_is_listed(api: CheckedApi) -> None:
    name = f"Overdrawn {time.time_ns()}"
    customer = Customer(api, customer={"name": name})
    taken = [customer.take(seat_id) for seat_id in ("a", "b", "c")]
    from urllib.parse import quote

    path = f"/v1/entitlements?overdraft=true&customer={quote(name)}"
    [result] = wait_for(lambda: api.expect(200, "GET", path)["items"])
    assert result["entitlementId"] == customer.id
    assert result["seats"]["overdraftUsed"] == 1
    not_over = f"/v1/entitlements?overdraft=false&customer={quote(name)}"
    assert api.expect(200, "GET", not_over)["items"] == []
    customer.license.call("DELETE", f"{customer.seats}/{taken[0]['activationId']}")
    assert api.expect(200, "GET", path)["items"] == []
    assert len(api.expect(200, "GET", not_over)["items"]) == 1
