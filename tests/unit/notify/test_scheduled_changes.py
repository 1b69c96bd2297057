"""What the stream makes of scheduled changes."""

from shared.api.schemas.events import EVENTS
from shared.dynamodb.client import DynamoDBClient
from shared.events import types as event_types
from tests.support.stories import START, Story


def test_a_scheduled_change_that_is_refused_becomes_one_event(dynamodb: DynamoDBClient) -> None:
    story = Story(dynamodb)
    story.refuse(START + 1_000, "The entitlement has been deleted.")
    kind = event_types.CHANGE_FAILED
    [event] = [each for each in story.recorder.events if each["type"] == kind]
    EVENTS[kind].model_validate(event)
    change = event["data"]["scheduledChange"]
    assert (change["status"], change["failure"]) == ("failed", "The entitlement has been deleted.")
    assert event["data"]["customer"]["name"]
