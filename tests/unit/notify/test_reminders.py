"""A follow-up with a due date: a reminder then, once, as an event and an e-mail."""

from typing import Any

import pytest

from functions.release.due import do_due
from functions.release.reminders import remind
from shared import aws, signed_tokens
from shared.api.schemas.events import EVENTS
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import DUE_FOLLOW_UPS, follow_up_key
from shared.events import types as event_types
from shared.sales import follow_up
from tests.support.stories import HOUR, START, Story
from tests.support.tables import acting_as

DUE = START + 24 * HOUR
KIND = event_types.FOLLOW_UP_DUE


@pytest.fixture
def story(dynamodb: DynamoDBClient) -> Story:
    return Story(dynamodb)


def change(story: Story, at: int, **changed: Any) -> None:
    """Somebody changes the follow-up."""
    key = follow_up_key(story.id)
    seen = story._get(key)
    item = follow_up.change(story.id, seen, at, "key_test", changed)
    story.dynamodb.execute(follow_up.writes(story.id, seen, [item]))
    story._deliver(key, seen, at)


def sweep(story: Story, at: int) -> int:
    before = story._get(follow_up_key(story.id))
    with acting_as("ReleaseRole", story.dynamodb):
        reminded = do_due(story.dynamodb, DUE_FOLLOW_UPS, remind, at // 1000, 10**15)
    story._deliver(follow_up_key(story.id), before, at)
    return reminded


def reminders_of(story: Story) -> list[Any]:
    events = [each for each in story.recorder.events if each["type"] == KIND]
    for event in events:
        EVENTS[KIND].model_validate(event)
    return events


def test_somebody_is_reminded_once_when_it_is_due(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "client", story.recorder.client)
    signed_tokens._known.clear()
    change(story, START, owner="Bo", note="Call on Monday.", dueAt=DUE)
    assert sweep(story, DUE - 1_000) == 0
    assert sweep(story, DUE) == 1
    assert sweep(story, DUE + 60_000) == 0
    [event] = reminders_of(story)
    assert event["data"]["followUp"]["owner"] == "Bo"
    [mail] = story.tick(DUE + 60_000)
    assert mail["Destination"]["ToAddresses"] == ["owner@vendor.example"], "not the customer"
    simple = mail["Content"]["Simple"]
    assert simple["Subject"]["Data"].endswith(": the follow-up is due")
    text = simple["Body"]["Text"]["Data"]
    assert "The follow-up (open, owner Bo) is due since" in text
    assert 'Last note: "Call on Monday."' in text


def test_another_note_does_not_remind_again_and_another_date_does(story: Story) -> None:
    change(story, START, dueAt=DUE)
    assert sweep(story, DUE) == 1
    change(story, DUE + 1_000, note="Nobody answers.")
    assert sweep(story, DUE + 60_000) == 0
    change(story, DUE + 2_000, dueAt=DUE + HOUR)
    assert sweep(story, DUE + HOUR) == 1
    assert len({event["id"] for event in reminders_of(story)}) == 2


@pytest.mark.parametrize("changed", [{"state": "won"}, {"state": "dismissed"}, {"dueAt": None}])
def test_what_is_done_is_not_due(story: Story, changed: dict[str, Any]) -> None:
    change(story, START, dueAt=DUE)
    change(story, START + 1_000, **changed)
    assert sweep(story, DUE) == 0
    # Open again, it has no date.
    change(story, START + 2_000, state="open", note="again")
    assert sweep(story, DUE) == 0
    assert reminders_of(story) == []


def test_what_changes_at_the_same_moment_is_not_lost(story: Story) -> None:
    """The sweep has read the follow-up, and then somebody moves the date."""
    change(story, START, dueAt=DUE)
    operation = remind(follow_up_key(story.id), DUE // 1000)
    read = story.dynamodb.execute(operation.send(None))
    change(story, DUE, dueAt=DUE + HOUR)
    with pytest.raises(StopIteration) as stop:
        operation.send(story.dynamodb.execute(operation.send(read)))
    assert stop.value.value is False
    state = story._get(follow_up_key(story.id))
    assert state
    assert (state["earliest"], "remindedAt" in state) == ((DUE + HOUR) // 1000, False)
