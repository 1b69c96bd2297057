"""Notice that an entitlement ends: dates and events from the stream, given by the sweep."""

from typing import Any

import pytest

from functions.release.due import do_due
from functions.release.expiry_notices import give_notice
from shared import aws, signed_tokens
from shared.api.schemas.events import EVENTS
from shared.clock import from_rfc3339_ms, to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import DUE_NOTICES, entitlement_key, expiry_key
from shared.dynamodb.requests import Get, Update
from shared.events import types as event_types
from tests.support.stories import START, Story
from tests.support.tables import acting_as

DAY = 86_400_000
END = START + 100 * DAY


class Ending:
    """An entitlement with an end, seen day by day."""

    def __init__(self, dynamodb: DynamoDBClient, **changes: Any) -> None:
        self.story = Story(dynamodb, validUntil=to_rfc3339(END), **changes)
        self.follow(START)

    def follow(self, at: int) -> None:
        """The stream delivers the entitlement as it is now."""
        self.story._deliver(entitlement_key(self.story.id), None, at)

    def date(self) -> Any:
        return self.story.dynamodb.execute(Get(expiry_key(self.story.id)))

    def sweep(self, at: int) -> int:
        """A run of the sweep, and what the stream makes of it; how many notices were given."""
        before = self.story._get(expiry_key(self.story.id))
        dynamodb = self.story.dynamodb
        with acting_as("ReleaseRole", dynamodb):
            given = do_due(dynamodb, DUE_NOTICES, give_notice, at // 1000, 10**15)
        self.story._deliver(expiry_key(self.story.id), before, at)
        return given

    def notices(self) -> list[tuple[int, str]]:
        """The events: days left, and the end."""
        events = [e for e in self.story.recorder.events if e["type"] == event_types.EXPIRING]
        for event in events:
            EVENTS[event_types.EXPIRING].model_validate(event)
        return [(event["data"]["daysLeft"], event["data"]["validUntil"]) for event in events]


def test_notice_is_given_30_7_and_1_days_before(dynamodb: DynamoDBClient) -> None:
    ending = Ending(dynamodb)
    given = {}
    for day in range(101):
        if ending.sweep(START + day * DAY + 30_000):
            given[100 - day] = len(ending.notices())
            assert ending.sweep(START + day * DAY + 90_000) == 0, "once"
    assert given == {30: 1, 7: 2, 1: 3}
    end = to_rfc3339(END)
    assert ending.notices() == [(30, end), (7, end), (1, end)]
    assert "earliest" not in ending.date()


def test_other_days_and_none(dynamodb: DynamoDBClient) -> None:
    assert "earliest" not in Ending(dynamodb, expiryNoticeDays=[]).date()
    ending = Ending(dynamodb, expiryNoticeDays=[90])
    assert ending.sweep(END - 90 * DAY) == 1
    assert [days for days, _ in ending.notices()] == [90]


def test_what_was_missed_is_given_late_and_only_the_last(dynamodb: DynamoDBClient) -> None:
    ending = Ending(dynamodb)
    assert ending.sweep(END - 5 * DAY) == 1
    assert [days for days, _ in ending.notices()] == [7]


def test_there_is_no_notice_after_the_end(dynamodb: DynamoDBClient) -> None:
    ending = Ending(dynamodb)
    assert ending.sweep(END + DAY) == 0
    assert "earliest" not in ending.date()


def test_a_short_term_has_the_notices_that_are_still_to_come(dynamodb: DynamoDBClient) -> None:
    story = Story(dynamodb, validUntil=to_rfc3339(START + 3 * DAY))
    story._deliver(entitlement_key(story.id), None, START)
    due = dynamodb.execute(Get(expiry_key(story.id)))
    assert due
    assert due["earliest"] == (START + 2 * DAY) // 1000


def test_a_renewal_moves_the_notices(dynamodb: DynamoDBClient) -> None:
    ending = Ending(dynamodb)
    ending.sweep(END - 30 * DAY)
    later = END + 365 * DAY
    ending.story.change(END - 20 * DAY, validUntil=to_rfc3339(later))
    ending.follow(END - 20 * DAY)
    assert ending.sweep(END - 7 * DAY) == 0
    assert ending.sweep(later - 30 * DAY) == 1
    assert ending.notices() == [(30, to_rfc3339(END)), (30, to_rfc3339(later))]
    ending.story.change(later - 20 * DAY, validUntil=None)
    ending.follow(later - 20 * DAY)
    assert ending.date() is None


def test_a_change_of_something_else_loses_no_notice_that_is_due(dynamodb: DynamoDBClient) -> None:
    ending = Ending(dynamodb)
    ending.story.change(END - 30 * DAY + 10_000, seatCount=9)
    ending.follow(END - 30 * DAY + 10_000)
    assert ending.sweep(END - 30 * DAY + 30_000) == 1


def test_a_renewal_that_the_stream_has_not_delivered_yet(dynamodb: DynamoDBClient) -> None:
    """There is no notice of an end that has been moved."""
    ending = Ending(dynamodb)
    ending.story.change(END - 31 * DAY, validUntil=to_rfc3339(END + 365 * DAY))
    assert ending.sweep(END - 30 * DAY) == 0
    ending.follow(END - 30 * DAY + 1_000)
    assert ending.sweep(END + 335 * DAY) == 1


def test_a_deleted_entitlement_has_no_notice(dynamodb: DynamoDBClient) -> None:
    ending = Ending(dynamodb)
    key = entitlement_key(ending.story.id)
    dynamodb.execute(Update(key, "SET #s = :d", "", {"#s": "status"}, {":d": "deleted"}))
    assert ending.sweep(END - 30 * DAY) == 0
    ending.follow(END - 30 * DAY + 1_000)
    assert ending.date() is None


def test_a_record_that_comes_twice_is_the_same_event(dynamodb: DynamoDBClient) -> None:
    ending = Ending(dynamodb)
    key = expiry_key(ending.story.id)
    before = ending.story._get(key)
    ending.sweep(END - 30 * DAY)
    ending.story._deliver(key, before, END - 30 * DAY)
    ids = [e["id"] for e in ending.story.recorder.events if e["type"] == event_types.EXPIRING]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_both_audiences_get_an_e_mail(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = Ending(dynamodb)
    signed_tokens._known.clear()
    monkeypatch.setattr(aws, "client", ending.story.recorder.client)
    ending.story.take("alice", START)
    ending.story.tick(START + 60_000)
    at = END - 7 * DAY
    ending.sweep(END - 30 * DAY)
    assert len(ending.story.tick(END - 30 * DAY + 60_000)) == 2
    ending.sweep(at)
    mails = ending.story.tick(at + 60_000)
    assert len(mails) == 2
    content = [each["Content"]["Simple"] for each in mails]
    assert {each["Subject"]["Data"] for each in content} == {"CAD <Pro>, Acme: ends in 7 days"}
    [admin] = [
        each["Content"]["Simple"]["Body"]["Text"]["Data"]
        for each in mails
        if each["Destination"]["ToAddresses"] == ["admin@acme.example"]
    ]
    zone_day = to_rfc3339(from_rfc3339_ms(to_rfc3339(END)))[:10]
    assert f"The license for CAD <Pro> ends at {zone_day}" in admin
    assert "Acme is using 1 of 2 seats purchased." in admin
    assert "To renew it, reply to this e-mail: The CAD Company can help." in admin
    assert [each["numbers"]["daysLeft"] for each in ending.story.sent()][-2:] == [7, 7]
