"""The report of the deployed stack: asked for, made from the queue, opened through its links."""

import csv
import io
import json
import time
from typing import Any

import pytest
import urllib3

from local.stack import Stack
from shared.clock import to_rfc3339
from tests.integration.conftest import CheckedApi, Customer
from tests.support.addresses import BOUNCES
from tests.support.waiting import wait_for

PRICE = {"amount": "30.00", "currency": "USD", "per": "month"}
QUARTER = 900


def today() -> str:
    """The beginning of an hour ago's quarter-hour: everything of this run lies after it."""
    now = int(time.time())
    return to_rfc3339((now - now % QUARTER - 4 * QUARTER) * 1000)


def make(api: CheckedApi, **asked: Any) -> dict[str, Any]:
    """Ask for a report and wait until it is published."""
    report = api.expect(202, "POST", "/v1/reports", {"from": today(), **asked})

    def look() -> dict[str, Any] | None:
        shown = api.expect(200, "GET", f"/v1/reports/{report['reportId']}")
        assert shown["status"] != "failed", shown
        return dict(shown) if shown["status"] == "published" else None

    return dict(wait_for(look))


def fetch(url: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request("GET", url, redirect=True, retries=3)


def test_the_monthly_run_makes_the_report_of_the_month_before(
    stack: Stack, api: CheckedApi
) -> None:
    """The schedule's event, as Lambda hands it over; once, however often it comes."""
    client, name = stack.client("lambda"), stack.functions["Report"]
    event = {"scheduledTime": "2026-02-01T06:00:00Z", "publicUrl": stack.api_url}
    for _ in range(2):
        answer = client.invoke(FunctionName=name, Payload=json.dumps(event).encode())
        assert "FunctionError" not in answer, answer["Payload"].read()

    def made() -> list[Any]:
        items = api.expect(200, "GET", "/v1/reports?limit=100")["items"]
        return [each for each in items if each["period"]["month"] == "2026-01"]

    def published() -> bool:
        return [each["status"] for each in made()] == ["published"]

    wait_for(published)
    assert [each["requestedBy"] for each in made()] == ["schedule"]


@pytest.fixture(scope="module")
def sold(api: CheckedApi) -> Customer:
    """2 purchased, 3 in use, two people turned away."""
    customer = Customer(
        api,
        unitPrice=PRICE,
        leasePeriod="PT8H",
        maxLeasePeriod="P2D",
        maxBorrowedSeats=1,
        externalId="order-of-the-report",
        metadata={"region": "=emea"},
        customer={"name": "=Report <Corp>"},
        contacts={
            "accountOwner": {"email": "sales@vendor.example"},
            "customerAdmin": {"email": "admin@report.example", "phone": "+49 30 901820"},
        },
    )
    for seat_id in ("a", "b", "c"):
        customer.take(seat_id)
    borrowed = {"seatId": "a", "leasePeriod": "P1D"}
    assert customer.license.call("POST", customer.seats, borrowed).body["isBorrowed"]
    for seat_id in ("d", "d", "e"):
        customer.take(seat_id, 409)

    def is_told() -> bool:
        query = f"interval=period&from={today()}"
        items = api.expect(200, "GET", f"{customer.path}/usage-history?{query}")["items"]
        shown = [(each["activations"], each["deniedAttempts"]) for each in items]
        return shown == [(3, 3)]

    wait_for(is_told)
    return customer


def test_a_report_in_every_form(api: CheckedApi, sold: Customer) -> None:
    report = make(api, filters={"entitlementId": sold.id})
    # One day with use suggests nothing, and is on the call list all the same.
    assert report["summary"]["monthlyValue"] == [{"amount": "0.00", "currency": "USD"}]
    [call] = report["summary"]["calls"]
    assert (call["customer"], call["contact"]["phone"]) == ("=Report <Corp>", "+49 30 901820")
    assert "2 people were turned away on 1 day (3 attempts)." in call["reasons"]
    assert call["advice"].startswith("1 day with use so far, too few")
    assert report["isComplete"] is False
    files = {each["format"]: each for each in report["files"]}
    assert set(files) == {"html", "xlsx", "csv", "json"}
    answers = {name: fetch(each["url"]) for name, each in files.items()}
    for name, answer in answers.items():
        assert answer.status == 200
        assert len(answer.data) == files[name]["bytes"]
    page = answers["html"]
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-disposition"].startswith("inline")
    assert "=Report &lt;Corp&gt;" in page.data.decode()
    assert "tel:+4930901820" in page.data.decode()
    assert "attachment" in answers["csv"].headers["content-disposition"]
    content = answers["csv"].data.decode("utf-8-sig")
    [row] = csv.DictReader(io.StringIO(content, newline=""))
    assert row["customer"] == "'=Report <Corp>"
    assert (row["peak"], row["denied"], row["deniedAttempts"]) == ("3", "2", "3")
    assert (row["borrowedSeats"], row["externalId"]) == ("1", "order-of-the-report")
    assert json.loads(row["metadata"]) == {"region": "=emea"}
    assert answers["xlsx"].data[:2] == b"PK"
    # And the same by hand, from the API.
    query = f"interval=period&from={report['period']['from']}"
    [use] = api.expect(200, "GET", f"{sold.path}/usage-history?{query}")["items"]
    [entry] = answers["json"].json()["entitlements"]
    seats = entry["seats"]
    assert seats["peak"] == use["highest"]
    for name in ("deniedSeats", "deniedAttempts", "activatedSeats", "overdraftSeats"):
        assert seats[name] == use[name], name
    assert abs(seats["overdraftSeconds"] - use["overdraftSeconds"]) < 60
    episodes = api.expect(200, "GET", f"{sold.path}/overdrafts")["items"]
    assert seats["episodes"] == len(episodes) == 1


def test_a_period_made_again_is_a_new_version(api: CheckedApi, sold: Customer) -> None:
    asked: dict[str, Any] = {"filters": {"entitlementId": sold.id}, "formats": ["json"]}
    begin = today()
    end = to_rfc3339((int(time.time()) // QUARTER + 1) * QUARTER * 1000)
    if int(time.time()) % QUARTER > QUARTER - 30:
        time.sleep(31)  # else the quarter-hour may turn, and the period with it
        end = to_rfc3339((int(time.time()) // QUARTER + 1) * QUARTER * 1000)
    asked |= {"from": begin, "to": end}
    first = make(api, **asked)
    sold.take("f", 409)

    def is_counted() -> bool:
        items = api.expect(200, "GET", f"{sold.path}/denials")["items"]
        return bool(sum(each["attempts"] for each in items) == 4)

    wait_for(is_counted)
    second = make(api, **asked)
    if second["changeCount"] == 0 or second["summary"]["deniedAttempts"] == 3:
        time.sleep(3)  # the history follows the denial itself
        second = make(api, **asked)
    assert second["version"] > first["version"]
    assert second["summary"]["deniedAttempts"] == 4
    shown = fetch(second["files"][0]["url"]).json()
    if second["previousReportId"] == first["reportId"]:
        [change] = shown["changes"]["entitlements"]
        figures = {each["figure"]: (each["before"], each["now"]) for each in change["figures"]}
        assert figures["deniedAttempts"] == ("3", "4")
        assert figures["denied"] == ("2", "3")
    result = api.expect(200, "GET", "/v1/reports?limit=100")["items"]
    assert {first["reportId"], second["reportId"]} <= {each["reportId"] for each in result}


def test_the_report_goes_to_who_is_to_get_it(api: CheckedApi, stack: Stack, sold: Customer) -> None:
    report = make(api, filters={"entitlementId": sold.id}, formats=["xlsx"], sendEmail=True)

    def mails() -> list[dict[str, Any]]:
        url = f"{stack.emulator.url}/_ministack/ses/messages"
        by_account = urllib3.request("GET", url).json()["messages"]
        sent = [mail for account in by_account.values() for mail in account]
        # The monthly run of another test sends a mail as well.
        return [each for each in sent if "Overdraft report" in str(each) and sold.id in str(each)]

    wait_for(lambda: len(mails()) == 2)
    assert sorted(str(mail["To"]) for mail in mails()) == sorted(
        str([address]) for address in ("reports@vendor.example", BOUNCES)
    )

    def read() -> dict[str, Any]:
        return dict(api.expect(200, "GET", f"/v1/reports/{report['reportId']}"))

    wait_for(lambda: read()["emailReturnedFrom"] == [BOUNCES])
    assert read()["emailedTo"] == sorted(["reports@vendor.example", BOUNCES])


def test_a_published_report_is_an_event_on_the_bus(api: CheckedApi, sold: Customer) -> None:
    created = api.expect(
        201, "POST", "/v1/webhooks", {"url": "http://127.0.0.1:9/", "eventTypes": ["report.*"]}
    )
    report = make(api, filters={"entitlementId": sold.id}, formats=["json"])
    path = f"/v1/webhooks/{created['webhookId']}"

    def deliveries() -> Any:
        shown = api.expect(200, "GET", f"{path}/deliveries")["items"]
        return [each["type"] for each in shown]

    assert wait_for(deliveries)[0] == "report.published"
    assert api.call("DELETE", path).status == 204
    assert report["version"] >= 1


def test_following_up(api: CheckedApi, sold: Customer) -> None:
    path = f"{sold.path}/follow-up"
    assert wait_for(lambda: api.expect(200, "GET", path)["state"]) == "open"
    answer = api.call("GET", path)
    etag = answer.headers["etag"]
    body = {"state": "contacted", "owner": "Eve", "note": "They need a quote.\nCall on Monday."}
    shown = api.call("PATCH", path, body, headers={"if-match": etag})
    assert (shown.status, shown.body["state"], shown.body["owner"]) == (200, "contacted", "Eve")
    assert api.call("PATCH", path, body, headers={"if-match": etag}).status == 412
    for wrong in ({"state": "lost"}, {"state": None}, {"owner": ""}, {"reason": "purchase"}):
        assert api.call("PATCH", path, wrong).status == 400
    report = make(api, filters={"entitlementId": sold.id}, formats=["json"])
    [entry] = fetch(report["files"][0]["url"]).json()["entitlements"]
    assert entry["followUp"]["state"] == "contacted"
    assert entry["followUp"]["note"] == body["note"]
    # More is purchased: won by itself.
    api.expect(200, "PATCH", sold.path, {"seatCount": 3})
    wait_for(lambda: api.expect(200, "GET", path)["state"] == "won")
    entries = api.expect(200, "GET", f"{path}/entries")["items"]
    assert [each["state"] for each in entries] == ["won", "contacted", "open"]
    assert [each["reason"] for each in entries] == ["purchase", None, "overdraft"]
    assert entries[1]["changedBy"] == "bootstrap"
    # An overdraft begins again, in the same episode's quiet time: it stays won.
    api.expect(200, "PATCH", sold.path, {"seatCount": 2})
    time.sleep(2)
    assert api.expect(200, "GET", path)["state"] == "won"
    api.expect(200, "PATCH", sold.path, {"seatCount": 3})


def test_nobody_followed_up(api: CheckedApi, customer: Customer) -> None:
    shown = api.expect(200, "GET", f"{customer.path}/follow-up")
    assert shown["state"] is shown["owner"] is shown["changedAt"] is None
    assert api.expect(200, "GET", f"{customer.path}/follow-up/entries")["items"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"period": "2026-13"}, "/period"),
        ({"period": "2099-01"}, "/period"),
        ({"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"}, "/from"),
        ({"timeZone": "Europe/Atlantis"}, "/timeZone"),
        ({"formats": ["docx"]}, "/formats/0"),
        ({"filters": {"colour": "red"}}, "/filters/colour"),
    ],
)
def test_what_cannot_be_asked_for(api: CheckedApi, body: dict[str, Any], pointer: str) -> None:
    answer = api.call("POST", "/v1/reports", body)
    assert answer.status == 400
    assert answer.body["errors"][0]["pointer"] == pointer


def test_a_link_that_nobody_made(anonymous: CheckedApi) -> None:
    assert anonymous.call("GET", "/v1/report-files/" + "a" * 60).status == 404
