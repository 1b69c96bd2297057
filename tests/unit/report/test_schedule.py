"""The report that the schedule requests."""

from typing import Any

import pytest

from functions.report import api as report_api
from shared import aws
from shared.clock import from_rfc3339_ms
from shared.dynamodb.requests import (
    Unavailable,
)
from tests.unit.conftest import Api
from tests.unit.notify.test_batch import InTime


def test_a_scheduled_report_survives_an_hour_without_the_table(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule's run is a message, which comes again until the table answers."""
    from functions.report import handler as report

    sent: list[dict[str, Any]] = []
    waits: list[int] = []

    class Sqs:
        def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:  # noqa: N803
            sent.extend(Entries)
            return {}

        def change_message_visibility(self, VisibilityTimeout: int, **_: Any) -> None:  # noqa: N803
            waits.append(VisibilityTimeout)

    class Away:
        """The table, gone until `answers`."""

        answers = False

        def answer_within(self, *_: Any, **__: Any) -> None: ...

        def execute(self, request: Any) -> Any:
            if not self.answers:
                raise Unavailable("away")
            return api.dynamodb.execute(request)

    away = Away()
    monkeypatch.setattr(aws, "client", lambda _: Sqs())
    monkeypatch.setattr(report._context, "dynamodb", away)
    event = {"scheduledTime": "2026-11-01T06:00:00Z", "publicUrl": "https://x.example"}
    report.handler(event, InTime())
    [message] = sent
    seconds = 0
    for receive in range(1, 20):
        record = {
            "messageId": "m",
            "receiptHandle": "h",
            "body": message["MessageBody"],
            "attributes": {"ApproximateReceiveCount": str(receive)},
        }
        away.answers = seconds > 3600
        answer = report.handler({"Records": [record]}, InTime())
        if not answer["batchItemFailures"]:
            break
        seconds += waits[-1]
    assert seconds > 3600
    result = api.call("GET /v1/reports")[1]["items"]
    assert [item["period"]["month"] for item in result] == ["2026-10"]
    # Once, however often it is asked for.
    assert report.handler({"Records": [record]}, InTime()) == {"batchItemFailures": []}
    assert len(api.call("GET /v1/reports")[1]["items"]) == 1


@pytest.mark.parametrize(
    ("at", "is_quarterly", "named"),
    [
        ("2026-10-01T06:00:00Z", True, [("2026-09", None), (None, "2026-Q3")]),
        ("2026-10-01T06:00:00Z", False, [("2026-09", None)]),
        ("2026-11-01T06:00:00Z", True, [("2026-10", None)]),
        ("2027-01-01T06:00:00Z", True, [("2026-12", None), (None, "2026-Q4")]),
    ],
)
def test_a_quarter_has_a_report_of_its_own(at: str, is_quarterly: bool, named: Any) -> None:
    now_ms = from_rfc3339_ms(at)
    asked = report_api.scheduled(at, "https://x.example", now_ms, is_quarterly=is_quarterly)
    periods: list[Any] = [each.item["period"] for each in asked]
    assert [(each["month"], each["quarter"]) for each in periods] == named
    assert len({each.key for each in asked}) == len(asked)
    again = report_api.scheduled(at, "https://x.example", now_ms, is_quarterly=is_quarterly)
    assert [each.key for each in again] == [each.key for each in asked], "once, however often"
