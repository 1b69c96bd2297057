"""What a chat channel is told: joined, at most once an hour, nothing lost, whatever crashes."""

import json
from typing import Any

import pytest

from functions.notify import channel_messages
from functions.notify.channel_messages import ChannelMessages
from shared import aws
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    channel_key,
    seat_request_key,
    webhook_key,
    webhooks_version_key,
)
from shared.dynamodb.requests import Delete, Put, Update
from tests.support.notifier import Recorder
from tests.support.stories import HOUR, START, Story
from tests.support.tables import Crash, acting_as
from tests.unit.conftest import Api

MINUTE = 60_000


class Channel:
    """A channel, a story that is told to it, and the messages that were queued."""

    def __init__(
        self, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch, **endpoint: Any
    ) -> None:
        self.dynamodb = dynamodb
        self.webhook_id = "whk_channel"
        item = {
            "url": "https://hooks.slack.example/x",
            "format": "slack",
            "eventTypes": ["*"],
            "entitlementId": None,
            "customer": None,
            "description": None,
            "enabled": True,
            "version": 1,
            "createdAt": START,
            "updatedAt": START,
            **endpoint,
        }
        dynamodb.execute(Put(webhook_key(self.webhook_id), item))
        dynamodb.execute(Put(webhooks_version_key(), {"version": 1}))
        self.now = START
        monkeypatch.setattr("functions.notify.publisher.now_ms", lambda: self.now)
        self.story = Story(dynamodb)
        self.queue = Recorder()

    def tick(self, at: int) -> list[dict[str, Any]]:
        """The schedule's run; the bodies that it queued."""
        kept = aws.client
        before = len(self.queue.messages)
        aws.client = self.queue.client  # type: ignore[assignment]
        try:
            with acting_as("NotifyRole", self.dynamodb):
                ChannelMessages(self.dynamodb, "queue").send_due(at, 10**15)
        finally:
            aws.client = kept
        return self.queue.messages[before:]

    def take(self, name: str, at: int) -> str:
        self.now = at
        return self.story.take(name, at)

    @property
    def told(self) -> list[str]:
        return [each["event"]["data"]["summary"]["headline"] for each in self.queue.messages]


@pytest.fixture
def channel(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> Channel:
    return Channel(dynamodb, monkeypatch)


def test_what_belongs_together_is_one_message(channel: Channel) -> None:
    """Three of two seats, then two people are denied, one of them three times."""
    for number, name in enumerate(("a", "b", "c", "d", "d", "d", "e")):
        channel.take(name, START + number * 1_000)
    [body] = channel.tick(START + MINUTE)
    assert (body["webhookId"], body["attempt"]) == (channel.webhook_id, 0)
    summary = body["event"]["data"]["summary"]
    assert summary["headline"] == "2 people turned away at the hard cap"
    assert "2 people asked for a seat and got none (4 attempts)." in summary["sentences"]
    assert summary["limits"] == [
        {"name": "seats", "used": 3, "purchased": 2, "hardCap": 3, "customerCap": None}
    ]
    named = json.dumps(body, ensure_ascii=False)
    assert "Title" not in named
    assert '"d"' not in named
    assert channel.story.recorder.messages == [], "no event of its own"


def test_at_most_one_an_hour(channel: Channel) -> None:
    for number in range(125):
        at = START + number * MINUTE
        # Use teeters at the limit: somebody comes, is denied, goes.
        name = channel.take(f"u{number}", at)
        channel.take("a", at + 1) if number == 0 else None
        if name:
            channel.story.release(name, at + 30_000)
        channel.tick(at + 45_000)
    times = [each["event"]["timestamp"] for each in channel.queue.messages]
    assert 2 <= len(times) <= 3
    assert len(set(times)) == len(times)


def test_nothing_is_lost_between_two_messages(channel: Channel) -> None:
    for name in ("a", "b", "c", "x"):
        channel.take(name, START + ord(name))
    assert len(channel.tick(START + MINUTE)) == 1
    channel.take("y", START + 2 * MINUTE)
    assert channel.tick(START + 3 * MINUTE) == [], "not within the hour"
    [body] = channel.tick(START + MINUTE + HOUR + 1_000)
    assert body["event"]["data"]["summary"]["headline"] == "1 person turned away at the hard cap"
    assert channel.tick(START + 3 * HOUR) == []


def test_a_channel_of_another_entitlement_is_told_nothing(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Channel(dynamodb, monkeypatch, entitlementId="ent_other")
    for name in ("a", "b", "c", "d"):
        channel.take(name, START + ord(name))
    assert channel.tick(START + MINUTE) == []


def test_the_types_choose(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel(dynamodb, monkeypatch, eventTypes=["entitlement.overdraft.*"])
    for name in ("a", "b", "c", "d"):
        channel.take(name, START + ord(name))
    [body] = channel.tick(START + MINUTE)
    assert body["event"]["data"]["summary"]["headline"] == (
        "the last seat under the hard cap is taken"
    )


@pytest.mark.parametrize("change", ["deleted", "disabled", "standard"])
def test_who_is_no_channel_any_more_is_told_nothing(channel: Channel, change: str) -> None:
    for name in ("a", "b", "c"):
        channel.take(name, START + ord(name))
    key = webhook_key(channel.webhook_id)
    if change == "deleted":
        channel.dynamodb.execute(Delete(key))
    else:
        name, value = ("enabled", False) if change == "disabled" else ("format", "standard")
        update = Update(key, "SET #name = :value", "", {"#name": name}, {":value": value})
        channel.dynamodb.execute(update)
    assert channel.tick(START + MINUTE) == []
    assert channel.tick(START + 2 * HOUR) == [], "and it is not looked at for ever"


# --- At once --------------------------------------------------------------------------------------


def ask(channel: Channel, at: int, requester: str | None, request_id: str) -> None:
    """The customer asks for more in the portal."""
    item: dict[str, Any] = {
        "requestId": request_id,
        "entitlementId": channel.story.id,
        "seats": 5,
        "message": "Soon, please.",
        "requester": requester,
        "requestedAt": at,
        "requestedBy": "plk_x",
        "status": "open",
        "used": 2,
        "purchased": 2,
        "hardCap": 3,
    }
    channel.now = at
    key = seat_request_key(channel.story.id, at, request_id)
    channel.dynamodb.execute(Put(key, {k: v for k, v in item.items() if v is not None}))
    channel.story._deliver(key, None, at)


def test_a_request_goes_at_once_but_not_a_second_one_of_the_same_person(channel: Channel) -> None:
    ask(channel, START, "Ann", "req_1")
    ask(channel, START + 1_000, "Ann", "req_2")
    ask(channel, START + 2_000, "Ben", "req_3")
    sent = [each["event"]["data"]["request"]["requestId"] for each in sent_by(channel)]
    assert sent == ["req_1", "req_3"]


def sent_by(channel: Channel) -> list[dict[str, Any]]:
    """What the stream queued for the channel."""
    return [each for each in channel.story.recorder.messages if "webhookId" in each]


# --- Crashes --------------------------------------------------------------------------------------


class Failing:
    """A table that crashes before or after the n-th request of a run."""

    def __init__(self, dynamodb: DynamoDBClient, number: int, *, is_after: bool) -> None:
        self.dynamodb, self.number, self.is_after = dynamodb, number, is_after
        self.calls = 0

    def crash(self, when: bool) -> None:
        if self.calls == self.number and when:
            raise Crash

    def execute(self, request: Any) -> Any:
        self.crash(not self.is_after)
        reply = self.dynamodb.execute(request)
        self.crash(self.is_after)
        self.calls += 1
        return reply

    def run(self, steps: Any) -> Any:
        reply = None
        try:
            while True:
                reply = self.execute(steps.send(reply))
        except StopIteration as stop:
            return stop.value


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("number", range(20))
def test_a_crash_at_any_call_neither_loses_nor_repeats(
    channel: Channel, number: int, is_after: bool
) -> None:
    for name in ("a", "b", "c", "d"):
        channel.take(name, START + ord(name))
    failing: Any = Failing(channel.dynamodb, number, is_after=is_after)
    kept = aws.client
    aws.client = channel.queue.client  # type: ignore[assignment]
    try:
        ChannelMessages(failing, "queue").send_due(START + MINUTE, 10**15)
    except Crash:
        pass
    finally:
        aws.client = kept
    channel.take("e", START + 2 * MINUTE)  # meanwhile
    for minutes in range(3, 200):
        channel.tick(START + minutes * MINUTE)
    # Twice in the queue is once at the channel: its delivery is found by the id.
    once = {each["event"]["id"]: each for each in channel.queue.messages}
    sent = [each["event"]["data"]["summary"] for each in once.values()]
    denied = [s for each in sent for s in each["sentences"] if "asked for a seat" in s]
    one = "1 person asked for a seat and got none (1 attempt)."
    both = "2 people asked for a seat and got none (2 attempts)."
    assert denied in ([one, one], [both])
    state = channel.story._get(channel_key(channel.story.id, channel.webhook_id))
    assert state is not None
    assert "pendingUntil" not in state
    assert "earliest" not in state


def test_a_note_while_a_message_is_made_is_not_lost(channel: Channel) -> None:
    for name in ("a", "b", "c", "d"):
        channel.take(name, START + ord(name))
    key = channel_key(channel.story.id, channel.webhook_id)
    claimed = channel.dynamodb.run(channel_messages._claim(key, START + MINUTE))
    assert claimed is not None
    channel.take("e", START + 2 * MINUTE)
    channel.dynamodb.run(channel_messages._finish(key, claimed))
    assert channel.tick(START + 3 * MINUTE) == []
    [body] = channel.tick(START + MINUTE + HOUR)
    assert "1 person" in body["event"]["data"]["summary"]["headline"]


# --- The API --------------------------------------------------------------------------------------


def test_an_endpoint_has_a_format(api: Api) -> None:
    body = {"url": "http://127.0.0.1:9/services", "format": "slack"}
    status, made, _ = api.call("POST /v1/webhooks", body=body)
    assert (status, made["format"]) == (201, "slack")
    path = {"webhookId": made["webhookId"]}
    _, shown, _ = api.call("PATCH /v1/webhooks/{webhookId}", path, {"format": "teams"})
    assert shown["format"] == "teams"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"format": "irc"}, "must be one of"),
        (
            {"format": "slack", "eventTypes": ["entitlement.seat.activated"]},
            "a channel is told of none",
        ),
    ],
)
def test_a_format_that_makes_no_sense_is_refused(
    api: Api, body: dict[str, Any], detail: str
) -> None:
    given = {"url": "http://127.0.0.1:9/services", **body}
    status, answer, _ = api.call("POST /v1/webhooks", body=given)
    assert status == 400
    assert detail in answer["errors"][0]["detail"]
