"""Chat channels, through the whole deployed stack: from a denied seat to a message of Slack."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from slack_sdk.models.blocks import Block

from local.stack import Stack
from tests.integration.conftest import CheckedApi, Customer
from tests.support import node
from tests.support.receivers import Receivers
from tests.support.waiting import wait_for

KINDS = ["slack", "teams"]


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    running = Receivers()
    yield running
    running.stop()


def add(api: CheckedApi, receivers: Receivers, customer: Customer, kind: str) -> tuple[str, str]:
    """An endpoint of this format, and the path at which it is called."""
    path = f"/good-{kind}/{customer.id}"
    body = {"url": f"{receivers.url}{path}", "format": kind, "entitlementId": customer.id}
    return api.expect(201, "POST", "/v1/webhooks", body)["webhookId"], path


def bodies(receivers: Receivers, path: str) -> list[dict[str, Any]]:
    return [json.loads(call.body) for call in receivers.at(path)]


def check(kind: str, body: dict[str, Any]) -> str:
    """Check a message with its provider's library; its text."""
    if kind == "slack":
        blocks = Block.parse_all(body["blocks"])
        assert [each.to_dict() for each in blocks if each] == body["blocks"]
    else:
        [attachment] = body["attachments"]
        assert node.wrong_with_cards([attachment["content"]]) == [[]]
    return json.dumps(body, ensure_ascii=False)


def tick(stack: Stack) -> None:
    """The schedule's run of Notify, without waiting for it."""
    client = stack.client("lambda")
    answer = client.invoke(FunctionName=stack.functions["Notify"], Payload=b"{}")
    assert "FunctionError" not in answer


@pytest.mark.parametrize("kind", KINDS)
def test_a_test_shows_a_message(api: CheckedApi, receivers: Receivers, kind: str) -> None:
    webhook_id, path = add(api, receivers, Customer(api), kind)
    api.expect(202, "POST", f"/v1/webhooks/{webhook_id}/test", {})
    [body] = wait_for(lambda: bodies(receivers, path))
    assert "Test: Test customer: Test product" in check(kind, body)
    [call] = receivers.at(path)
    assert not [name for name in call.headers if name.startswith("webhook-")], "it is not signed"


def test_use_is_joined_and_a_request_goes_at_once(
    api: CheckedApi, receivers: Receivers, stack: Stack
) -> None:
    owner = {"name": "Bo", "email": "bo@vendor.example"}
    customer = Customer(api, contacts={"accountOwner": owner})
    added = {kind: add(api, receivers, customer, kind) for kind in KINDS}
    for number in range(9):
        path = f"{customer.path}/activations"
        customer.license.call("POST", path, {"seatId": f"person-{number}@acme.example"})
    customer.portal("viewer").expect(
        201, "POST", f"{customer.path}/seat-requests", {"seats": 4, "requester": "<!here> Ann"}
    )
    paths = [path for _, path in added.values()]
    wait_for(lambda: all(bodies(receivers, path) for path in paths))
    for kind, (_, path) in added.items():
        [body] = bodies(receivers, path)
        assert "asks for 4 more seats" in check(kind, body)
    wait_for(lambda: api.expect(200, "GET", f"{customer.path}/denials")["items"])

    def is_told() -> bool:
        tick(stack)
        return all(len(bodies(receivers, path)) > 1 for path in paths)

    wait_for(is_told)
    tick(stack)
    for kind, (webhook_id, path) in added.items():
        body = bodies(receivers, path)[1]
        text = check(kind, body)
        assert "turned away" in text
        assert "person-" not in text, "it names nobody"
        assert "Account owner: Bo, bo@vendor.example." in text
        assert len(bodies(receivers, path)) == 2, "one for all of it"
        listed = api.expect(200, "GET", f"/v1/webhooks/{webhook_id}/deliveries")["items"]
        assert {each["type"] for each in listed} == {
            "entitlement.summary",
            "entitlement.seats.requested",
        }


def test_a_report_comes_with_its_link(api: CheckedApi, receivers: Receivers) -> None:
    path = "/good-slack/reports"
    body = {"url": f"{receivers.url}{path}", "format": "slack", "eventTypes": ["report.published"]}
    api.expect(201, "POST", "/v1/webhooks", body)
    filters = {"customer": "nobody at all"}
    api.expect(202, "POST", "/v1/reports", {"period": "2026-10", "filters": filters})

    def mine() -> list[dict[str, Any]]:
        return [each for each in bodies(receivers, path) if "2026-10" in each["text"]]

    told = wait_for(mine)[0]
    check("slack", told)
    link = told["blocks"][-1]["elements"][0]["text"].removeprefix("<").partition("|")[0]
    page = urllib3.request("GET", link.replace("&amp;", "&"), retries=3)
    assert page.status == 200
    assert b"Overdraft report" in page.data
