"""What opens and closes the follow-up by itself, and what answers a request for more seats."""

import pytest

from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import follow_up_key
from shared.dynamodb.requests import Get
from shared.sales import follow_up, seat_requests
from tests.support.stories import START, Story


@pytest.fixture
def story(dynamodb: DynamoDBClient) -> Story:
    """Two seats purchased, and no overdraft: nobody is above what was purchased."""
    return Story(dynamodb, overdraftSeatLimit={"type": "none"})


def state_of(story: Story) -> tuple[str | None, str | None]:
    shown = follow_up.view(story.id, story.dynamodb.execute(Get(follow_up_key(story.id))))
    return shown["state"], shown["reason"]


def deny(story: Story, at: int, seat_id: str = "dave") -> None:
    for number, name in enumerate(("alice", "bob")):
        story.take(name, at + number)
    story.take(seat_id, at + 2)


def test_a_denial_opens_it(story: Story) -> None:
    deny(story, START + 1_000)
    assert state_of(story) == ("open", "denial")


def test_a_denial_leaves_alone_what_was_dismissed_and_opens_what_was_won(story: Story) -> None:
    for number, (state, after) in enumerate((("dismissed", "dismissed"), ("won", "open")), 1):
        at = START + number * 100_000
        seen = story.dynamodb.execute(Get(follow_up_key(story.id)))
        changed = follow_up.change(story.id, seen, at, "key_sales", {"state": state})
        story.dynamodb.execute(follow_up.writes(story.id, seen, [changed]))
        deny(story, at + 1_000, f"late{number}")
        assert state_of(story)[0] == after


def test_a_purchase_of_fewer_seats_than_were_asked_for_wins_nothing(story: Story) -> None:
    story.ask(START + 1_000, seats=3)
    assert state_of(story) == ("open", "request")
    story.change(START + 2_000, seatCount=4)
    assert state_of(story) == ("open", "request")
    story.change(START + 3_000, seatCount=5)
    assert state_of(story) == ("won", "purchase")
    [asked] = story.dynamodb.run(seat_requests.open_or_since(story.id, 0))
    assert seat_requests.view(asked)["status"] == "answered"
    assert seat_requests.view(asked)["answeredBy"] == "purchase"


def test_a_declined_request_stands_in_no_way(story: Story) -> None:
    story.ask(START + 1_000, seats=3, status="declined")
    story.change(START + 2_000, seatCount=3)
    assert state_of(story) == ("won", "purchase")
