"""The arithmetic of a report, and which periods can be asked for."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest

from functions.manage import report_files
from functions.report import metrics, periods
from functions.report.columns import COLUMNS
from functions.report.metrics import Day, Period
from shared import aws
from shared.api.schemas.base import parse
from shared.api.schemas.reports import ReportInput
from shared.clock import to_rfc3339, zone_of
from shared.history.buckets import HOUR_MS
from shared.history.queries import Usage
from shared.problems import InvalidRequest
from tools import ROOT

PRICE = {"amount": "30.00", "currency": "USD", "per": "month"}


def day(demand: int, *, working: bool = True) -> Day:
    return Day(0, 1, working, Usage(0, 1), is_reached=False, is_over=False, demand=demand)


@pytest.mark.parametrize(
    ("days", "demand"),
    [
        ([day(n) for n in range(1, 21)], 19),  # one day in twenty may exceed it
        ([day(n) for n in range(1, 20)], 19),
        ([day(5)] * 5 + [day(900, working=False)], 5),  # working days, where there are any
        ([day(7, working=False)] * 5, 7),
        ([day(0), *[day(3)] * 5], 3),  # days without use say nothing
    ],
)
def test_the_demand_of_nineteen_days_in_twenty(days: list[Day], demand: int) -> None:
    result = metrics.suggested(2, days)
    assert result["demand"] == demand
    assert result["seats"] == max(2, demand)
    assert result["additional"] == result["seats"] - 2


@pytest.mark.parametrize("number", [0, 1, 4])
def test_fewer_than_five_days_suggest_nothing(number: int) -> None:
    result = metrics.suggested(2, [*[day(9)] * number, day(0), day(0)])
    demand = 9 if number else 0
    assert result == {"seats": 2, "additional": 0, "demand": demand, "days": number}


@pytest.mark.parametrize(
    ("price", "additional", "amount"),
    [
        (PRICE, 3, "90.00"),
        ({**PRICE, "per": "year"}, 1, "2.50"),
        ({**PRICE, "amount": "0.005"}, 1, "0.01"),
        ({**PRICE, "amount": "99.9999"}, 2, "200.00"),
        (PRICE, 0, "0.00"),
    ],
)
def test_monthly_value(price: dict[str, str], additional: int, amount: str) -> None:
    assert metrics.monthly_value(additional, price) == {"amount": amount, "currency": "USD"}
    assert metrics.monthly_value(additional, None) is None


def test_days_follow_the_calendar_of_the_zone() -> None:
    zone = zone_of("Europe/Berlin")
    start = int(datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp()) * 1000
    end = int(datetime(2026, 10, 26, 12, tzinfo=UTC).timestamp()) * 1000
    cuts = metrics.days_of(start, end, zone)
    assert [(b - a) / HOUR_MS for a, b in pairwise(cuts)] == [25, 13]


# --- Periods ----------------------------------------------------------------------------------------

TODAY = int(datetime(2026, 11, 24, 17, 7, 30, tzinfo=UTC).timestamp()) * 1000


def period_of(zone: str = "UTC", **body: Any) -> tuple[Period, str | None]:
    return periods.read(parse(ReportInput, body), zone, TODAY)


def test_a_month_in_its_zone() -> None:
    period, month = period_of("America/New_York", period="2026-10")
    assert month == "2026-10"
    result = [to_rfc3339(at) for at in (period.previous, period.start, period.end)]
    assert result == ["2026-09-01T04:00:00Z", "2026-10-01T04:00:00Z", "2026-11-01T04:00:00Z"]
    assert period.until == period.end
    assert period_of("America/New_York") == (period, month), "the last month that is over"


def test_a_quarter_in_its_zone() -> None:
    period, name = period_of("America/New_York", period="2026-Q3")
    assert name == "2026-Q3"
    result = [to_rfc3339(at) for at in (period.previous, period.start, period.end)]
    assert result == ["2026-04-01T04:00:00Z", "2026-07-01T04:00:00Z", "2026-10-01T04:00:00Z"]
    # It begins and ends on either side of a change of the clock.
    period, _ = period_of("America/New_York", period="2026-Q1")
    result = [to_rfc3339(at) for at in (period.previous, period.start, period.end)]
    assert result == ["2025-10-01T04:00:00Z", "2026-01-01T05:00:00Z", "2026-04-01T04:00:00Z"]
    period, _ = period_of(period="2026-Q4")
    assert (period.until, to_rfc3339(period.end)) == (TODAY, "2027-01-01T00:00:00Z")
    quarters = [periods.quarter_of(f"2026-{month:02d}") for month in range(1, 13)]
    assert [each for each in quarters if each] == ["2026-Q1", "2026-Q2", "2026-Q3", "2026-Q4"]
    assert [n for n, each in enumerate(quarters, 1) if each] == [3, 6, 9, 12]


def test_a_month_that_is_not_over() -> None:
    period, _ = period_of(period="2026-11")
    assert (period.until, period.end > TODAY) == (TODAY, True)


def test_any_time_until_now() -> None:
    period, month = period_of(**{"from": "2026-11-24T12:15:00Z"})
    assert month is None
    assert (period.end - TODAY, period.until) == (450_000, TODAY)
    assert period.previous == period.start - (period.end - period.start)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"period": "2026-13"}, "/period"),
        ({"period": "October"}, "/period"),
        ({"period": "2026-12"}, "/period"),
        ({"period": "2026-Q5"}, "/period"),
        ({"period": "2027-Q1"}, "/period"),
        ({"period": "2025-Q3"}, "/period"),
        ({"period": "2020-01"}, "/period"),
        ({"period": "0001-01"}, "/period"),
        ({"period": "9999-12"}, "/period"),
        ({"period": "2026-10", "from": "2026-10-01T00:00:00Z"}, "/period"),
        ({"to": "2026-10-01T00:00:00Z"}, "/from"),
        ({"from": "2026-10-02T00:00:00Z", "to": "2026-10-01T00:00:00Z"}, "/from"),
        ({"from": "2026-10-02T00:00:00Z", "to": "2026-10-02T00:00:00Z"}, "/from"),
        ({"from": "2026-10-02T00:00:01Z"}, "/from"),
        ({"from": "2026-10-02T00:00:00Z", "to": "2026-10-02T10:00:01Z"}, "/to"),
        ({"from": "2026-10-02T00:00:00Z", "to": "2026-12-02T00:00:00Z"}, "/to"),
        ({"from": "2027-10-02T00:00:00Z"}, "/from"),
        ({"from": "2025-10-25T00:00:00Z"}, "/from"),
        ({"from": "yesterday"}, "/from"),
        ({"timeZone": "Mars/Olympus"}, "/timeZone"),
        ({"formats": ["pdf"]}, "/formats/0"),
        ({"formats": []}, "/formats"),
        ({"filters": {"country": "DE"}}, "/filters/country"),
        ({"filters": {"accountOwner": "nobody"}}, "/filters/accountOwner"),
        ({"month": "2026-10"}, "/month"),
    ],
)
def test_what_cannot_be_reported(body: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        period_of(**body)
    assert refused.value.extensions["errors"][0]["pointer"] == pointer


def test_every_column_is_defined_in_the_guide() -> None:
    guide = (ROOT / "docs/guides/reports.md").read_text()
    for column in COLUMNS:
        assert f"| `{column.name}` | {column.about} |" in guide
        assert column.about.endswith(".")


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_links_lead_to_the_bucket_s_region(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    """Signed for a host that needs no redirect: a signature is good for one host only."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    monkeypatch.setenv("REPORTS_BUCKET", "reports")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)  # nothing is called, only signed
    aws.client.cache_clear()
    host = urlsplit(report_files._address("rep_1/x/report.csv", "r.csv", is_page=False)).netloc
    aws.client.cache_clear()
    assert host == (
        "reports.s3.amazonaws.com"
        if region == "us-east-1"
        else f"reports.s3.{region}.amazonaws.com"
    )
