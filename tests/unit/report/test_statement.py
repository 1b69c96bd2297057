"""The statement of what overdraft costs: whole, frozen, versioned, in four forms."""

import csv
import io
import json
import zipfile
from typing import Any

import pytest

from functions.report import statements_api
from functions.report.pipeline import Mailing, StepFailed
from functions.report.statement import HistoryIncomplete
from shared.api.schemas.events import EVENTS
from shared.clock import to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.events import builders
from tests.support.priced import Priced, clock_of
from tests.support.reports import Maker
from tests.unit.manage.test_true_up import LIMIT, PRICE, SEATS, at, busy, decide, sell

CREATE = "POST /v1/true-ups"
READ = "GET /v1/true-ups/{trueUpId}"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    return clock_of(monkeypatch, at(9, 1))


class Stack:
    """Three customers with prices: one in euros, one in yen, one whose overdraft is free."""

    def __init__(self, dynamodb: DynamoDBClient, clock: dict[str, int]) -> None:
        self.acme = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE, usageLimits=[LIMIT])
        busy(self.acme)
        self.acme.consume(at(10, 21), "exports", 150)
        yen = {**PRICE, "currency": "JPY", "amount": "1333", "basis": "seat_days"}
        self.globex = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=yen)
        busy(self.globex)
        self.free = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice={**PRICE, "freeSeats": 9})
        busy(self.free)
        self.maker = Maker(dynamodb, Mailing("sender@vendor.example", ("sales@vendor.example",)))

    def make(self, when: int, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Request a statement and make it; its item."""
        status, asked = self.acme.call(when, CREATE, {"period": "2026-10", **(body or {})})
        assert status == 202, asked
        item = self.maker.read(asked["trueUpId"])
        return dict(self.maker.make(item))

    def read(self, when: int, true_up_id: str) -> dict[str, Any]:
        status, answer = self.acme.call(when, READ, path={"trueUpId": true_up_id})
        assert status == 200
        return dict(answer)


@pytest.fixture
def stack(dynamodb: DynamoDBClient, clock: dict[str, int]) -> Stack:
    return Stack(dynamodb, clock)


def rows(stack: Stack, item: dict[str, Any]) -> list[dict[str, str]]:
    text = stack.maker.file(item, "csv").decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_all_four_forms_say_the_same(stack: Stack) -> None:
    item = stack.make(at(11, 3))
    answer = stack.read(at(11, 3), item["reportId"])
    assert (answer["status"], answer["version"], answer["isComplete"]) == ("published", 1, True)
    assert answer["summary"] == {
        "entitlements": 2,
        "lines": 3,
        "totals": [
            {
                "currency": "EUR",
                "amount": "43.50",
                "billed": "0.00",
                "waived": "0.00",
                "disputed": "0.00",
                "undecided": "43.50",
            },
            {
                "currency": "JPY",
                "amount": "39990",
                "billed": "0",
                "waived": "0",
                "disputed": "0",
                "undecided": "39990",
            },
        ],
    }
    found = {(row["entitlementId"], row["lineId"]): row for row in rows(stack, item)}
    assert {key: row["amount"] for key, row in found.items()} == {
        (stack.acme.id, "2026-10.EUR.seats"): "37.50",
        (stack.acme.id, "2026-10.EUR.usage.exports"): "6.00",
        (stack.globex.id, "2026-10.JPY.seats"): "39990",
    }
    seats = found[stack.acme.id, "2026-10.EUR.seats"]
    assert seats["evidence"] == "2026-10-14: 6 used of 3: 3 × EUR 12.50 × 31/31"
    page = stack.maker.file(item, "html").decode()
    for text in ("True-up, October 2026", "EUR 43.50", "JPY 39,990", seats["evidence"]):
        assert text in page
    whole = json.loads(stack.maker.file(item, "json"))
    assert whole["trueUpId"] == item["reportId"]
    amounts = [line["amount"] for entry in whole["entitlements"] for line in entry["lines"]]
    assert sorted(amounts) == ["37.50", "39990", "6.00"]
    with zipfile.ZipFile(io.BytesIO(stack.maker.file(item, "xlsx"))) as book:
        assert b"39990" in book.read("xl/worksheets/sheet1.xml")
        assert b"#,##0.00" in book.read("xl/styles.xml")


def test_a_second_version_says_what_was_decided(stack: Stack) -> None:
    first = stack.make(at(11, 3))
    decide(stack.acme, at(11, 4), {"decision": "billed", "reference": "INV-9"})
    second = stack.make(at(11, 5))
    answer = stack.read(at(11, 5), second["reportId"])
    assert (answer["version"], answer["changeCount"]) == (2, 1)
    assert answer["previousTrueUpId"] == first["reportId"]
    assert answer["summary"]["totals"][0]["billed"] == "37.50"
    assert answer["summary"]["totals"][0]["undecided"] == "6.00"
    [change] = json.loads(stack.maker.file(second, "json"))["changes"]["entitlements"]
    assert change["figures"] == [
        {"of": "2026-10.EUR.seats", "figure": "decision", "before": None, "now": "billed"}
    ]
    [row] = [each for each in rows(stack, second) if each["lineId"] == "2026-10.EUR.seats"]
    assert (row["decision"], row["reference"], row["decidedAmount"]) == ("billed", "INV-9", "37.50")
    # The first one is as it was.
    assert all(not row["decision"] for row in rows(stack, first))
    page = stack.maker.file(second, "html").decode()
    assert "billed, INV-9" in page
    assert "2026-10.EUR.seats: decision billed, was none." in page


def test_it_waits_for_history(stack: Stack) -> None:
    stack.acme.is_held_back = True
    stack.acme.take(at(10, 31, 23), "late")
    with pytest.raises(StepFailed) as failed:
        stack.make(at(11, 3))
    assert isinstance(failed.value.__cause__, HistoryIncomplete)
    stack.acme.is_held_back = False
    stack.acme.true_up(at(11, 3), "2026-10")  # the stream goes on
    assert stack.make(at(11, 3))["status"] == "published"


def test_filters_and_a_month_that_is_not_over(stack: Stack) -> None:
    item = stack.make(at(10, 25), {"filters": {"entitlementId": stack.globex.id}})
    answer = stack.read(at(10, 25), item["reportId"])
    assert (answer["isComplete"], answer["summary"]["entitlements"]) == (False, 1)
    assert "not over" in stack.maker.file(item, "html").decode()


def test_an_empty_statement_says_so(stack: Stack) -> None:
    item = stack.make(at(11, 3), {"filters": {"customer": "nobody"}})
    assert item["summary"] == {"entitlements": 0, "lines": 0, "totals": []}
    assert "No overdraft costs anything" in stack.maker.file(item, "html").decode()
    assert rows(stack, item) == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"period": "2026-12"}, "/period"),
        ({"period": "2025-02"}, "/period"),
        ({"period": "October"}, "/period"),
        ({"period": "2026-10", "timeZone": "UTC"}, "/timeZone"),
        ({"period": "2026-10", "emailTo": "accountOwner"}, "/emailTo"),
    ],
)
def test_what_is_wrong_is_refused(
    dynamodb: DynamoDBClient, clock: dict[str, int], body: dict[str, Any], pointer: str
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0))
    status, answer = customer.call(at(11, 3), CREATE, body)
    assert (status, answer["errors"][0]["pointer"]) == (400, pointer)


def test_reports_and_statements_are_not_mixed_up(stack: Stack) -> None:
    item = stack.make(at(11, 3))
    path = {"reportId": item["reportId"]}
    assert stack.acme.call(at(11, 3), "GET /v1/reports/{reportId}", path=path)[0] == 404
    assert stack.acme.call(at(11, 3), "GET /v1/reports")[1]["items"] == []
    [listed] = stack.acme.call(at(11, 3), "GET /v1/true-ups")[1]["items"]
    assert listed["trueUpId"] == item["reportId"]


def test_its_event(stack: Stack) -> None:
    item = stack.make(at(11, 3))
    event = builders.of_report(item)
    assert event["type"] == "trueup.published"
    EVENTS["trueup.published"].model_validate(event)
    assert event["data"]["summary"]["lines"] == 3


@pytest.mark.parametrize(
    ("schedule", "when", "periods"),
    [
        ("none", at(11, 2, 6), []),
        ("monthly", at(11, 2, 6), ["2026-10"]),
        ("quarterly", at(11, 2, 6), []),
        ("quarterly", at(10, 2, 6), ["2026-Q3"]),
    ],
)
def test_the_schedule(schedule: str, when: int, periods: list[str]) -> None:
    time = to_rfc3339(when)
    asked = statements_api.scheduled(time, schedule, "https://api.example", when)
    assert [put.item["periodName"] for put in asked] == periods
    again = statements_api.scheduled(time, schedule, "https://api.example", when + 60_000)
    assert [put.key for put in again] == [put.key for put in asked], "once, however often it runs"


def test_days_are_those_of_each_time_zone(dynamodb: DynamoDBClient, clock: dict[str, int]) -> None:
    """A seat above in Auckland's November, which is still October in Berlin."""
    terms: dict[str, Any] = {**SEATS, "overdraftPrice": PRICE, "timeZone": "Pacific/Auckland"}
    far = Priced(dynamodb, clock, at(9, 15, 0), **terms)
    for number in range(4):
        far.take(at(10, 31, 13, number), f"u{number}")
    far.release(at(10, 31, 14), "u3")
    maker = Maker(dynamodb)
    found = {}
    for period in ("2026-10", "2026-11"):
        _, asked = far.call(at(12, 3), CREATE, {"period": period})
        item = maker.make(maker.read(asked["trueUpId"]))
        found[period] = item["summary"]["lines"]
    assert found == {"2026-10": 0, "2026-11": 1}
