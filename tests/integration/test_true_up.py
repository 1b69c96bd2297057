"""What overdraft costs, through the whole deployed stack: from a seat to a line of a statement."""

import csv
import io
import json
from typing import Any

import urllib3

from tests.integration.conftest import CheckedApi, Customer
from tests.support.receivers import Receivers
from tests.support.waiting import wait_for

TERMS: dict[str, Any] = {
    "seatCount": 2,
    "overdraftSeatLimit": {"type": "absolute", "value": 3},
    "overdraftPrice": {"amount": "12.50", "currency": "EUR", "basis": "peak_seats"},
    "usageLimits": [
        {
            "key": "exports",
            "limit": 10,
            "overdraftLimit": {"type": "unlimited"},
            "resetSchedule": "monthly",
            "overdraftPrice": {"amount": "0.125", "currency": "KWD"},
        }
    ],
    "validFrom": "2026-09-01T00:00:00Z",
}
AMOUNTS = {"seats": "25.00", "exports": "0.375"}


def test_a_seat_becomes_a_line_of_a_statement(api: CheckedApi) -> None:
    customer = Customer(api, **TERMS)
    for number in range(4):
        customer.take(f"person-{number}@acme.example")
    headers = {"idempotency-key": "thirteen"}
    path = f"{customer.path}/usage/exports"
    assert customer.license.call("POST", path, {"quantity": 13}, headers=headers).status == 200

    def lines() -> dict[str, str]:
        answer = api.expect(200, "GET", f"{customer.path}/true-up")
        return {line["usageKey"] or "seats": line["amount"] for line in answer["lines"]}

    wait_for(lambda: lines() == AMOUNTS)
    month = api.expect(200, "GET", f"{customer.path}/true-up")["period"]["name"]
    body = {"period": month, "filters": {"entitlementId": customer.id}}
    asked = api.expect(202, "POST", "/v1/true-ups", body)["trueUpId"]

    def published() -> Any:
        shown = api.expect(200, "GET", f"/v1/true-ups/{asked}")
        return shown if shown["status"] == "published" else None

    shown = wait_for(published)
    assert not shown["isComplete"]
    assert [(each["currency"], each["amount"]) for each in shown["summary"]["totals"]] == [
        ("EUR", "25.00"),
        ("KWD", "0.375"),
    ]
    urls = {each["format"]: each["url"] for each in shown["files"]}
    assert set(urls) == {"html", "xlsx", "csv", "json"}
    got = {name: urllib3.request("GET", url, retries=3).data for name, url in urls.items()}
    rows = list(csv.DictReader(io.StringIO(got["csv"].decode("utf-8-sig"))))
    assert {row["meter"]: row["amount"] for row in rows} == AMOUNTS
    assert json.loads(got["json"])["trueUpId"] == asked
    assert b"KWD 0.375" in got["html"]
    path, found, token = f"/v1/true-ups/{asked}/lines", [], ""
    while token is not None:
        page = api.expect(200, "GET", f"{path}?limit=1{token and f'&pageToken={token}'}")
        found += page["items"]
        token = page["nextPageToken"]
    assert {line["usageKey"] or "seats": line["amount"] for line in found} == AMOUNTS
    assert [line["evidence"] for line in found] == [row["evidence"] for row in rows]
    refused = api.call(
        "PUT",
        f"{customer.path}/true-up/lines/{month}.EUR.seats/decision",
        {"decision": "billed"},
    )
    assert refused.status == 409


def test_a_decision_is_an_event(api: CheckedApi) -> None:
    customer = Customer(api, **TERMS)
    receivers = Receivers()
    hook = {"url": f"{receivers.url}/good/{customer.id}", "entitlementId": customer.id}
    api.expect(201, "POST", "/v1/webhooks", {**hook, "eventTypes": ["entitlement.trueup.*"]})
    path = f"{customer.path}/true-up/lines/2026-10.EUR.seats/decision"
    body = {"decision": "waived", "reason": "a trial"}
    # History has to have the change by which the entitlement began.
    wait_for(lambda: api.call("PUT", path, body).status == 200)
    [call] = wait_for(lambda: receivers.at(f"/good/{customer.id}"))
    event = json.loads(call.body)
    assert event["type"] == "entitlement.trueup.decided"
    assert event["data"]["line"]["decision"]["reason"] == "a trial"
    assert event["data"]["customer"]["name"]
    receivers.stop()
