"""Notices of the clock of an overdraft: from the stream, given by the sweep's run."""

from typing import Any

import pytest

from functions.notify.overdraft_clocks import write_clocks
from functions.notify.records import Record
from functions.release.due import do_due
from functions.release.overdraft_notices import give_notice
from functions.report import call_list, columns
from functions.report.evidence import entries
from functions.report.metrics import Period
from shared import aws, signed_tokens
from shared.api.schemas.events import EVENTS
from shared.clock import to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    DUE_OVERDRAFTS,
    SEATS,
    overdraft_clock_key,
    seat_shard_key,
    totals_key,
)
from shared.dynamodb.requests import Get, Update
from shared.events import types as event_types
from tests.support.stories import START, Story
from tests.support.tables import acting_as

DAY = 86_400_000
MONTH = {"type": "absolute", "value": 2, "period": "P30D", "recovery": "P1D"}


class Overdraft:
    """An entitlement of two seats and two more, for a time, seen day by day."""

    def __init__(self, dynamodb: DynamoDBClient, **limit: Any) -> None:
        self.story = Story(dynamodb, overdraftSeatLimit={**MONTH, **limit})
        self.seats = [self.story.take(name, START) for name in ("ann", "bob")]

    def begin(self, at: int = START) -> None:
        """The first seat above what was purchased."""
        self.seats.append(self.story.take("cid", at))

    def sweep(self, at: int) -> int:
        """A run of the sweep, and what the stream makes of it; how many notices were given."""
        key = overdraft_clock_key(self.story.id, SEATS)
        before = self.story._get(key)
        with acting_as("ReleaseRole", self.story.dynamodb):
            given = do_due(self.story.dynamodb, DUE_OVERDRAFTS, give_notice, at // 1000, 10**15)
        self.story._deliver(key, before, at)
        return given

    def given(self) -> list[tuple[str, str]]:
        """The notices: the end of each type, and when it was due."""
        events = [
            event
            for event in self.story.recorder.events
            if event["type"] in event_types.NOTICE_TYPES
        ]
        for event in events:
            EVENTS[event["type"]].model_validate(event)
        return [(event["type"].rpartition(".")[2], event["timestamp"]) for event in events]

    def follow(self, action: Any) -> None:
        """Do something of which the stream may tell by the clock's own record."""
        key = overdraft_clock_key(self.story.id, SEATS)
        before = self.story._get(key)
        action()
        self.story._deliver(key, before, START + 99 * DAY)

    def clock(self) -> Any:
        return self.story.dynamodb.execute(Get(overdraft_clock_key(self.story.id, SEATS)))


def test_seven_days_and_one_day_before_and_at_the_end(dynamodb: DynamoDBClient) -> None:
    overdraft = Overdraft(dynamodb)
    overdraft.begin()
    on_day = {}
    for day in range(33):
        if overdraft.sweep(START + day * DAY + 30_000):
            on_day[day] = overdraft.given()[-1]
            assert overdraft.sweep(START + day * DAY + 90_000) == 0, "once"
    assert on_day == {
        day: (what, to_rfc3339(START + day * DAY))
        for day, what in ((23, "ending"), (29, "ending"), (30, "ended"))
    }
    assert "earliest" not in overdraft.clock()
    last = overdraft.story.recorder.events[-1]["data"]
    assert last["overdraft"] == {
        "since": to_rfc3339(START),
        "endsAt": to_rfc3339(START + 30 * DAY),
        "recoversAt": None,
    }
    assert (last["seats"]["used"], last["seats"]["available"]) == (3, 0)


@pytest.mark.parametrize(
    ("period", "moments"),
    [
        ("P3D", [("ending", 2 * DAY), ("ended", 3 * DAY)]),
        ("P1D", [("ending", 3 * DAY // 4), ("ended", DAY)]),
        ("PT1M", [("ending", 45_000), ("ended", 60_000)]),
    ],
)
def test_short_periods(
    dynamodb: DynamoDBClient, period: str, moments: list[tuple[str, int]]
) -> None:
    overdraft = Overdraft(dynamodb, period=period)
    overdraft.begin()
    for _, after in moments:
        assert overdraft.sweep(START + after - 1_000) == 0
        assert overdraft.sweep(START + after) == 1
    assert overdraft.given() == [(what, to_rfc3339(START + after)) for what, after in moments]


def test_what_was_missed_is_given_late_and_only_the_last(dynamodb: DynamoDBClient) -> None:
    overdraft = Overdraft(dynamodb)
    overdraft.begin()
    assert overdraft.sweep(START + 31 * DAY) == 1
    assert overdraft.given() == [("ended", to_rfc3339(START + 30 * DAY))]


def test_use_that_falls_and_stays_has_recovered(dynamodb: DynamoDBClient) -> None:
    overdraft = Overdraft(dynamodb)
    overdraft.begin()
    overdraft.story.release(overdraft.seats[-1], START + DAY)
    assert overdraft.clock()["recoversAt"] == (START + 2 * DAY) // 1000
    assert overdraft.sweep(START + 2 * DAY - 1_000) == 0
    assert overdraft.sweep(START + 2 * DAY) == 1
    assert overdraft.given() == [("recovered", to_rfc3339(START + 2 * DAY))]
    assert overdraft.sweep(START + 40 * DAY) == 0, "the period is over, nothing has ended"


def test_a_dip_is_no_recovery(dynamodb: DynamoDBClient) -> None:
    overdraft = Overdraft(dynamodb)
    overdraft.begin()
    overdraft.story.release(overdraft.seats[-1], START + 10 * DAY)
    overdraft.begin(START + 11 * DAY - 1_000)
    assert overdraft.sweep(START + 12 * DAY) == 0
    assert overdraft.sweep(START + 23 * DAY) == 1
    assert overdraft.given() == [("ending", to_rfc3339(START + 23 * DAY))]


def test_a_new_overdraft_before_the_run_noticed_the_recovery(dynamodb: DynamoDBClient) -> None:
    overdraft = Overdraft(dynamodb)
    overdraft.begin()
    overdraft.story.release(overdraft.seats[-1], START + DAY)
    overdraft.follow(lambda: overdraft.begin(START + 2 * DAY + 5_000))
    assert overdraft.given() == [("recovered", to_rfc3339(START + 2 * DAY))]
    assert overdraft.clock()["overdraftSince"] == (START + 2 * DAY + 5_000) // 1000
    assert overdraft.sweep(START + 2 * DAY + 30_000) == 0, "given already"


def test_more_was_purchased(dynamodb: DynamoDBClient) -> None:
    overdraft = Overdraft(dynamodb)
    overdraft.begin()
    at = START + 5 * DAY
    overdraft.follow(lambda: overdraft.story.change(at, seatCount=3))
    assert overdraft.given() == [("recovered", to_rfc3339(at))]
    assert "overdraftSince" not in overdraft.clock()
    assert overdraft.sweep(START + 30 * DAY) == 0


@pytest.mark.parametrize(
    "terms", [{"status": "suspended"}, {"overdraftSeatLimit": {"type": "absolute", "value": 2}}]
)
def test_a_clock_that_is_taken_away_has_not_recovered(
    dynamodb: DynamoDBClient, terms: dict[str, Any]
) -> None:
    overdraft = Overdraft(dynamodb)
    overdraft.begin()
    overdraft.follow(lambda: overdraft.story.change(START + 5 * DAY, **terms))
    assert overdraft.given() == []
    assert overdraft.sweep(START + 30 * DAY) == 0


def test_a_longer_period_moves_the_notices(dynamodb: DynamoDBClient) -> None:
    overdraft = Overdraft(dynamodb)
    overdraft.begin()
    longer = {**MONTH, "period": "P60D"}
    overdraft.story.change(START + 22 * DAY, overdraftSeatLimit=longer)
    assert overdraft.sweep(START + 30 * DAY) == 0
    assert overdraft.sweep(START + 53 * DAY) == 1
    assert overdraft.given() == [("ending", to_rfc3339(START + 53 * DAY))]


def test_a_change_that_the_stream_has_not_delivered_yet(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no notice of an end that has been moved."""
    overdraft = Overdraft(dynamodb)
    overdraft.begin()
    with monkeypatch.context() as lagging:
        lagging.setattr(overdraft.story, "_deliver", lambda *_: None)
        overdraft.story.change(START + 22 * DAY, overdraftSeatLimit={**MONTH, "period": "P60D"})
    assert overdraft.sweep(START + 23 * DAY) == 0
    assert overdraft.given() == []


def test_the_mails(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> None:
    overdraft = Overdraft(dynamodb)
    story = overdraft.story
    signed_tokens._known.clear()
    monkeypatch.setattr(aws, "client", story.recorder.client)
    overdraft.begin()
    story.tick(START + 3_600_000)
    overdraft.sweep(START + 23 * DAY)
    ending = story.tick(START + 23 * DAY + 3_600_000)
    overdraft.sweep(START + 30 * DAY)
    ended = story.tick(START + 30 * DAY + 3_600_000)
    for mails, subject, said in (
        (ending, "the overdraft may last until 2049-04-21", "From 2049-04-21"),
        (ended, "the overdraft period has ended", "Since 2049-04-21"),
    ):
        assert len(mails) == 2, "account owner and customer admin"
        for mail in mails:
            content = mail["Content"]["Simple"]
            assert subject in content["Subject"]["Data"]
            body = content["Body"]["Text"]["Data"]
            assert said in body
            assert "3 are used of 2 purchased seats" in body
            assert "whoever holds a seat keeps it" in body


def test_the_report_says_how_long_it_may_last(dynamodb: DynamoDBClient) -> None:
    overdraft = Overdraft(dynamodb)
    overdraft.begin()
    start = START - START % DAY
    period = Period(start, start + 31 * DAY, start + 31 * DAY, start - 31 * DAY)
    for days, reason in (
        (20, "The overdraft may last until 2049-04-21: after that, others are turned away."),
        (30, "The overdraft period ended on 2049-04-21: others are turned away."),
    ):
        now = START + days * DAY
        with acting_as("ReportRole", dynamodb):
            wanted = [(overdraft.story.id, [SEATS])]
            [entry] = [
                entry
                for operation in entries(wanted, period._replace(until=now), {}, now // 1000)
                for entry in dynamodb.run(operation)
            ]
        assert reason in call_list.reasons(entry, now)
        [clock] = [meter["overdraft"] for meter in columns.meters(entry)]
        assert clock["endsAt"] == to_rfc3339(START + 30 * DAY)


def test_totals_have_another_clock_without_a_version_that_is_reported(
    dynamodb: DynamoDBClient,
) -> None:
    """Seats were moved, or got new leases, after use had recovered."""
    since, end, now = 1_000, 5_000, 4_000
    terms = {"status": "active", "validFrom": 0}
    limits = {"used": 19, "seatCount": 20, "hardCap": 26, "terms": terms, "seq": 7}
    limits |= {"overdraftPeriod": end - since, "overdraftRecovery": 600, "at": now * 1000}
    clock = {"overdraftSince": since, "overdraftEndsAt": end, "recoversAt": 3_500}
    record = Record(0, totals_key("ent_pool"), {**limits, **clock}, limits, [])
    dynamodb.run(write_clocks("ent_pool", SEATS, [record]))
    item = dynamodb.execute(Get(overdraft_clock_key("ent_pool", SEATS))) or {}
    assert (item["givenWhat"], item["givenAt"]) == ("recovered", 3_500_000)
    assert "overdraftSince" not in item


def test_nothing_is_said_of_what_is_over(dynamodb: DynamoDBClient) -> None:
    """And it is not looked at every minute for ever."""
    overdraft = Overdraft(dynamodb)
    overdraft.begin()
    shard = seat_shard_key(overdraft.story.id)
    names = {"#status": "status"}
    dynamodb.execute(Update(shard, "SET #status = :gone", "", names, {":gone": "deleted"}))
    assert overdraft.sweep(START + 23 * DAY) == 0
    assert "earliest" not in overdraft.clock()
    assert overdraft.given() == []
