"""Every alarm can ring: its metric is fed with the pattern of the fault that it is for.

An alarm is evaluated as CloudWatch does it: a statistic for each period, so many of the last periods
over the threshold, and missing data as the alarm says. Patterns are by the minute.
"""

import operator
from collections.abc import Callable
from typing import Any

import pytest

from functions.notify.emails import mailer
from local.adapt import read_template

HOURS = 6
MINUTES = HOURS * 60
Pattern = dict[int, list[float]]  # minute to the values of the metric in it
ALARMS: dict[str, dict[str, Any]] = {
    name: resource["Properties"]
    for name, resource in read_template()["Resources"].items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}
STATISTICS: dict[str, Callable[[list[float]], float]] = {"Sum": sum, "Maximum": max}
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}


def rings_at(alarm: dict[str, Any], pattern: Pattern, first: int = 0) -> int | None:
    """The minute at which an alarm rings; periods begin at minute `first`. None: it never does."""
    period = int(alarm["Period"]) // 60
    compare = COMPARE[alarm["ComparisonOperator"]]
    threshold = alarm["Threshold"]
    if isinstance(threshold, dict):
        threshold = read_template()["Parameters"][threshold["Ref"]]["Default"]
    is_over: list[bool | None] = []
    for start in range(first, MINUTES, period):
        values = [v for minute in range(start, start + period) for v in pattern.get(minute, [])]
        if values:
            is_over.append(compare(STATISTICS[alarm["Statistic"]](values), threshold))
        else:
            is_over.append({"breaching": True, "notBreaching": False}[alarm["TreatMissingData"]])
        window = is_over[-alarm["EvaluationPeriods"] :]
        if (
            len(window) == alarm["EvaluationPeriods"]
            and sum(map(bool, window)) >= (alarm["DatapointsToAlarm"])
        ):
            return start + period
    return None


def once(value: float) -> Pattern:
    return {60: [value]}


def mail_tries() -> Pattern:
    """One mail that SES refuses, on a stack that sends no other."""
    seconds, tries = 60 * 60, dict[int, list[float]]()
    for attempt in range(mailer.ATTEMPTS):
        tries[seconds // 60] = [1]
        seconds += mailer.RETRY_SECONDS * 2**attempt
    return {minute: values for minute, values in tries.items() if minute < MINUTES}


def every_minute(value: float, minutes: range = range(MINUTES)) -> Pattern:
    return {minute: [value] for minute in minutes}


def until(minute: int) -> Pattern:
    """What comes every minute, and stops."""
    return every_minute(1, range(minute))


TIMEOUTS = {
    "Activate": 15,
    "Consume": 15,
    "Release": 55,
    "Entitlements": 15,
    "Portal": 15,
    "Notify": 60,
    "Deliver": 60,
    "Report": 900,
}
FAULTS: dict[str, Pattern] = {
    # A function that crashes once; that is refused once.
    **{f"{name}Errors": once(1) for name in TIMEOUTS},
    **{f"{name}Throttles": once(1) for name in TIMEOUTS},
    # One run that the time-out ends.
    **{f"{name}Slow": once(seconds * 1000) for name, seconds in TIMEOUTS.items()},
    **{f"{name}EventsDropped": once(1) for name in ("Release", "Notify", "Deliver", "Report")},
    "ApiFailures": once(6),
    "UnexpectedErrors": once(1),
    # New code that fails at once, as it is given its first requests; it is taken back.
    "ActivateNewErrors": once(1),
    "ConsumeNewErrors": once(1),
    "AnswersUnavailable": every_minute(30, range(60, 64)),
    "ConcurrencyHigh": once(950),
    # DynamoDB throttles for some minutes, as when load doubles at once.
    "TableReadThrottles": every_minute(40, range(60, 64)),
    "TableWriteThrottles": every_minute(40, range(60, 64)),
    # The stream's reader fails at one batch, again and again; it is not invoked at all.
    "StreamAge": every_minute(120_000, range(60, 62)),
    "StreamUnread": until(60),
    "SweepMissing": until(60),
    "DueMissing": until(60),
    "ScheduledChangesMissing": until(60),
    # One message in a queue for what was given up, which nobody takes out.
    **{
        name: every_minute(1, range(60, MINUTES))
        for name in (
            "NotifyFailuresWaiting",
            "DeliveryFailuresWaiting",
            "ReportFailuresWaiting",
            "ScheduleFailuresWaiting",
            "ReturnedMailFailuresWaiting",
        )
    },
    "DeliveriesLate": every_minute(1_000, range(60, 62)),
    "ReportJobsLate": every_minute(4_000, range(60, 62)),
    "ReturnedMailLate": every_minute(4_000, range(60, 62)),
    "MailFailing": mail_tries(),
    "MailsGivenUp": once(1),
    # An item that can never be swept is tried every minute.
    "SweepFailing": every_minute(1, range(60, MINUTES)),
    "ReportFailing": once(1),
}
# How the metric looks when all is well.
QUIET: dict[str, Pattern] = {
    **{f"{name}Slow": every_minute(200) for name in TIMEOUTS},
    "ConcurrencyHigh": every_minute(20),
    "StreamAge": every_minute(300),
    "StreamUnread": every_minute(1),
    "SweepMissing": every_minute(1),
    "DueMissing": every_minute(1),
    "ScheduledChangesMissing": every_minute(1),
    "DeliveriesLate": every_minute(5),
    # A single throttled minute is waited out by retries.
    "TableReadThrottles": once(3),
    "TableWriteThrottles": once(3),
    # A pool that is moved while it is asked for, a minute of throttling.
    "AnswersUnavailable": once(30),
    # One mail that failed once and then went out.
    "MailFailing": once(1),
}


def test_every_alarm_has_a_fault() -> None:
    assert set(FAULTS) == set(ALARMS)


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_rings_at_its_fault(name: str) -> None:
    alarm = ALARMS[name]
    for first in range(alarm["Period"] // 60):
        at = rings_at(alarm, FAULTS[name], first)
        assert at is not None, "it never rings"
        assert 60 <= at <= 60 + 60, f"it rings at minute {at} for a fault of minute 60"


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_silent_when_all_is_well(name: str) -> None:
    alarm = ALARMS[name]
    for first in range(alarm["Period"] // 60):
        assert rings_at(alarm, QUIET.get(name, {}), first) is None
