"""What is hardly used, the digest of a week, and a report for each account owner."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.report import api, periods
from functions.report.pipeline import Mailing
from shared import aws
from shared.clock import to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import report_key
from shared.dynamodb.requests import Get
from tests.support.priced import Priced, clock_of
from tests.support.reports import Maker
from tests.unit.manage.test_true_up import LIMIT, MONTHS, PRICE, at, busy

CREATE = "POST /v1/reports"
READ = "GET /v1/reports/{reportId}"
OWNERS = ("ann@vendor.example", "bo@vendor.example")


class Ses:
    """Stands for SES: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_email(self, **mail: Any) -> dict[str, str]:
        self.sent.append(mail)
        return {"MessageId": f"m{len(self.sent)}"}


def patched_ses(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The mails that are sent from now on."""
    ses = Ses()
    monkeypatch.setattr(aws, "client", lambda _: ses)
    monkeypatch.setenv("EMAIL_SENDER", "sender@vendor.example")
    monkeypatch.setattr(api, "_recipients", "sales@vendor.example")
    return ses.sent


def contacts(owner: str) -> dict[str, Any]:
    return {"contacts": {"accountOwner": {"email": owner}}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    return clock_of(monkeypatch, at(7, 20))


class Stack:
    """Customers who bought ten seats each and use them differently, and one who uses too many."""

    def __init__(self, dynamodb: DynamoDBClient, clock: dict[str, int]) -> None:
        ten = {"seatCount": 10, "overdraftSeatLimit": {"type": "absolute", "value": 5}}
        self.dynamodb = dynamodb
        self.over = Priced(
            dynamodb,
            clock,
            at(7, 20),
            MONTHS,
            seatCount=3,
            overdraftSeatLimit={"type": "absolute", "value": 5, "period": "P30D"},
            overdraftPrice=PRICE,
            until=at(11, 20),
            **contacts(OWNERS[0]),
        )
        busy(self.over)
        self.never = Priced(dynamodb, clock, at(7, 20), MONTHS, **ten, **contacts(OWNERS[1]))
        self.idle = Priced(dynamodb, clock, at(7, 20), MONTHS, **ten, **contacts(OWNERS[1]))
        for number in range(4):
            self.idle.take(at(8, 3, 10, number), f"u{number}")
        self.once = Priced(dynamodb, clock, at(7, 20), MONTHS, **ten)
        for number in range(6):
            self.once.take(at(9, 3, 10, number), f"u{number}")
        for number in range(6):
            self.once.release(at(9, 3, 11, number), f"u{number}")
        self.young = Priced(dynamodb, clock, at(10, 10), MONTHS, **ten)
        limit = {**LIMIT, "overdraftPrice": None}
        stored = {**limit, "key": "stored", "resetSchedule": "never"}
        self.counting = Priced(
            dynamodb, clock, at(7, 20), MONTHS, seatCount=1, usageLimits=[limit, stored]
        )
        self.counting.take(at(8, 2), "u")
        for month in (8, 9, 10):
            self.counting.consume(at(month, 5), "exports", 30)
        mailing = Mailing("sender@vendor.example", ("sales@vendor.example",))
        self.maker = Maker(dynamodb, mailing)

    def make(self, when: int, **body: Any) -> dict[str, Any]:
        status, asked = self.over.call(when, CREATE, {"period": "2026-10", **body})
        assert status == 202, asked
        return dict(self.maker.make(self.maker.read(asked["reportId"])))

    def rows(self, item: dict[str, Any]) -> list[dict[str, str]]:
        text = self.maker.file(item, "csv").decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def stack(dynamodb: DynamoDBClient, clock: dict[str, int]) -> Stack:
    return Stack(dynamodb, clock)


# --- Hardly used ----------------------------------------------------------------------------------


def hardly(stack: Stack, item: dict[str, Any]) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (row["entitlementId"], row["meter"]): (row["highestInThreeMonths"], row["unused"])
        for row in stack.rows(item)
        if row["section"] == "under-use"
    }


def test_what_was_hardly_used_in_three_months(stack: Stack) -> None:
    item = stack.make(at(11, 3), underUse=50)
    assert hardly(stack, item) == {
        (stack.never.id, "seats"): ("0", "10"),
        (stack.idle.id, "seats"): ("4", "6"),
        (stack.counting.id, "exports"): ("30", "70"),
    }, "not who used six once, is younger, or has a limit that never begins anew"
    _, answer = stack.over.call(at(11, 3), READ, path={"reportId": item["reportId"]})
    assert (answer["underUse"], answer["summary"]["underUsed"]) == (50, 3)
    # The one with a single seat in use is at its limit: it is in both sections.
    assert answer["summary"]["entitlements"] == 2
    page = stack.maker.file(item, "html").decode()
    assert "Hardly used" in page
    assert "4 (40 %)" in page


def test_the_share_decides(stack: Stack) -> None:
    assert set(hardly(stack, stack.make(at(11, 3), underUse=30))) == {
        (stack.never.id, "seats"),
        (stack.counting.id, "exports"),
    }
    assert (stack.once.id, "seats") in hardly(stack, stack.make(at(11, 3), underUse=60))


def test_it_is_there_only_if_asked_for(stack: Stack) -> None:
    item = stack.make(at(11, 3))
    assert hardly(stack, item) == {}
    assert {row["entitlementId"] for row in stack.rows(item)} == {stack.over.id, stack.counting.id}


def test_a_share_that_makes_no_sense_is_refused(stack: Stack) -> None:
    for share in (0, 81, "50"):
        status, answer = stack.over.call(at(11, 3), CREATE, {"underUse": share})
        assert (status, answer["errors"][0]["pointer"]) == (400, "/underUse")


# --- True-up in the report ------------------------------------------------------------------------


def test_the_report_has_the_true_up(stack: Stack) -> None:
    """Three seats at 12.50 in October; three in use in November, which has nothing above."""
    item = stack.make(at(11, 3))
    [row] = [row for row in stack.rows(item) if row["entitlementId"] == stack.over.id]
    assert (row["trueUp"], row["trueUpToEnd"], row["trueUpCurrency"]) == ("37.50", "37.50", "EUR")
    [first] = [c for c in stack.maker.json(item)["calls"] if c["entitlementId"] == stack.over.id]
    assert (
        "The overdraft costs EUR 37.50 so far; if nothing changes, EUR 37.50 by the end of the term"
        " on 2026-11-20." in first["reasons"]
    )


def test_to_the_end_of_the_term_if_nothing_changes(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    """Five of three seats since October: 25.00 a month, December up to the 10th."""
    customer = Priced(
        dynamodb,
        clock,
        at(9, 1),
        MONTHS,
        seatCount=3,
        overdraftSeatLimit={"type": "absolute", "value": 5},
        overdraftPrice=PRICE,
        until=at(12, 10),
    )
    for number in range(5):
        customer.take(at(10, 8, 10, number), f"u{number}")
    maker = Maker(dynamodb)
    _, asked = customer.call(at(11, 3), CREATE, {"period": "2026-10"})
    item = maker.make(maker.read(asked["reportId"]))
    [entry] = maker.json(item)["entitlements"]
    # 25.00 for October and November, and 25.00 x 10/31 = 8.06.
    assert entry["seats"]["trueUp"] == {
        "currency": "EUR",
        "amount": "25.00",
        "toEndOfTerm": "58.06",
    }


# --- The digest -----------------------------------------------------------------------------------


def test_the_digest_of_a_week(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The week of the 5th of October: an overdraft began that may last 30 days."""
    sent = patched_ses(monkeypatch)
    item = stack.make(at(10, 12), period="2026-W41", sendEmail=True)
    digest = item["summary"]["digest"]
    assert [each["entitlementId"] for each in digest["began"]] == [stack.over.id]
    assert (digest["beganCount"], digest["endedCount"], digest["endingCount"]) == (1, 0, 0)
    [mail] = sent
    simple = mail["Content"]["Simple"]
    assert simple["Subject"]["Data"] == "Overdraft, week 41 of 2026: 1 began, 0 ended"
    assert "C: P, 2026-10-05 07:30" in simple["Body"]["Text"]["Data"]
    assert "Overdrafts that began" in simple["Body"]["Html"]["Data"]


def test_what_ended_and_what_is_about_to_end(stack: Stack) -> None:
    item = stack.make(at(10, 26), period="2026-W43")
    digest = item["summary"]["digest"]
    assert [each["entitlementId"] for each in digest["ended"]] == [stack.over.id]
    # The term ends on the 20th of November, within 30 days.
    assert [each["at"] for each in digest["ending"]] == [to_rfc3339(at(11, 20))]


def test_a_quiet_week(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = patched_ses(monkeypatch)
    stack.make(at(9, 7), period="2026-W36", sendEmail=True)
    text = sent[0]["Content"]["Simple"]["Body"]["Text"]["Data"]
    assert "No overdraft began or ended, and none is about to end." in text


@pytest.mark.parametrize(
    ("week", "start"),
    [
        ("2026-W01", datetime(2025, 12, 29, tzinfo=UTC)),
        ("2026-W53", datetime(2026, 12, 28, tzinfo=UTC)),
        ("2027-W01", datetime(2027, 1, 4, tzinfo=UTC)),
    ],
)
def test_iso_weeks(week: str, start: datetime) -> None:
    period = periods.of_name(week, "UTC", 2**53)
    assert period.start == int(start.timestamp()) * 1000
    assert period.end - period.start == 7 * 86_400_000


def test_a_week_that_does_not_exist(stack: Stack) -> None:
    status, answer = stack.over.call(at(11, 3), CREATE, {"period": "2025-W53"})
    assert (status, answer["errors"][0]["detail"]) == (400, "the year has no such week")


def test_the_digest_is_asked_for_once_a_week() -> None:
    monday = int(datetime(2026, 10, 12, 6, tzinfo=UTC).timestamp()) * 1000
    [put] = api.scheduled_week(to_rfc3339(monday), "https://api.example", monday)
    item: Any = put.item
    assert item["period"]["week"] == "2026-W41"
    assert item["sendsEmail"]
    [again] = api.scheduled_week(to_rfc3339(monday), "https://api.example", monday + 60_000)
    assert again.key == put.key


# --- For account owners ---------------------------------------------------------------------------


def children(stack: Stack, item: dict[str, Any]) -> list[dict[str, Any]]:
    """The reports that a published one has led to, made as well."""
    listed = stack.over.call(at(11, 4), "GET /v1/reports")[1]["items"]
    others = [each for each in listed if each["reportId"] != item["reportId"]]
    made = [stack.maker.make(stack.maker.read(each["reportId"])) for each in others]
    return sorted(made, key=lambda each: each["filters"]["accountOwner"])


def test_each_account_owner_gets_their_own_rows(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = patched_ses(monkeypatch)
    item = stack.make(at(11, 3), underUse=50, sendEmail=True, emailTo="everyAccountOwner")
    assert sent == [], "the report of all goes to nobody"
    ann, bo = children(stack, item)
    told = sorted(address for mail in sent for address in mail["Destination"]["ToAddresses"])
    assert told == [*OWNERS]
    assert {row["entitlementId"] for row in stack.rows(ann)} == {stack.over.id}
    assert {row["entitlementId"] for row in stack.rows(bo)} == {stack.never.id, stack.idle.id}
    all_rows = {(row["entitlementId"], row["meter"]): row for row in stack.rows(item)}
    for row in [*stack.rows(ann), *stack.rows(bo)]:
        other = all_rows[row["entitlementId"], row["meter"]]
        assert {k: v for k, v in row.items() if k != "score"} == {
            k: v for k, v in other.items() if k != "score"
        }


def test_after_a_crash_nobody_gets_a_second_one(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched_ses(monkeypatch)
    item = stack.make(at(11, 3), sendEmail=True, emailTo="everyAccountOwner")
    [ann] = children(stack, item)
    stack.maker.work._for_owners(stack.maker.read(item["reportId"]))
    assert [each["reportId"] for each in children(stack, item)] == [ann["reportId"]]


def test_statements_of_account_owners(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = patched_ses(monkeypatch)
    body = {"period": "2026-10", "sendEmail": True, "emailTo": "everyAccountOwner"}
    _, asked = stack.over.call(at(11, 3), "POST /v1/true-ups", body)
    stack.maker.make(stack.maker.read(asked["trueUpId"]))
    listed = stack.over.call(at(11, 4), "GET /v1/true-ups")[1]["items"]
    [child] = [each for each in listed if each["trueUpId"] != asked["trueUpId"]]
    stack.maker.make(stack.maker.read(child["trueUpId"]))
    assert sent[0]["Content"]["Simple"]["Subject"]["Data"].startswith("True-up 2026-10: ")
    assert sent[0]["Destination"]["ToAddresses"] == [OWNERS[0]]


def test_by_schedule(monkeypatch: pytest.MonkeyPatch, dynamodb: DynamoDBClient) -> None:
    monkeypatch.setattr(api, "FOR_OWNERS", True)
    monkeypatch.setattr(api, "_under_use", 50)
    first = int(datetime(2026, 11, 1, 6, tzinfo=UTC).timestamp()) * 1000
    [put] = api.scheduled(to_rfc3339(first), "https://api.example", first)
    assert (put.item["forOwners"], put.item["underUse"]) == (True, 50)
    assert put.item["emailTo"] == "recipients"
    assert dynamodb.execute(Get(report_key("rep_none"))) is None
