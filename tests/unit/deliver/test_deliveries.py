"""Deliveries: decisions, addresses, and the record of what was sent."""

import asyncio
import json
import socket
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.deliver import deliveries
from functions.deliver.deliveries import Deliveries
from functions.deliver.retry_policy import Attempt, next_wait, read_retry_after, reason_to_disable
from functions.deliver.sender import WebhookSender, sign
from functions.manage import webhook_samples
from shared import aws
from shared.clock import now_ms
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    Key,
    delivery_key,
    due_deliveries,
    seat_record_key,
    webhook_key,
    webhook_secret_key,
    webhook_state_key,
)
from shared.dynamodb.requests import Delete, Get, Item, Put, Query
from shared.events import types as event_types
from shared.webhooks import endpoints, url_policy
from tests.support.notifier import Recorder
from tests.support.seats import new_id
from tests.support.tables import read_item

FIVE_DAYS = 5 * 86_400


# --- The ladder -----------------------------------------------------------------------------------


def attempt(code: int | None, retry_after: int = 0, at: int = 0) -> Attempt:
    return Attempt(at, 1, code, "" if code else "cannot connect", retry_after)


def test_the_retry_delays_are_those_of_svix() -> None:
    waits = [next_wait(step, attempt(500)) for step in range(8)]
    assert waits == [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000, None]


def test_retry_after_only_makes_a_wait_longer() -> None:
    assert next_wait(0, attempt(429, 60)) == 60
    assert next_wait(1, attempt(503, 60)) == 300


def test_gone_is_not_tried_again() -> None:
    assert next_wait(0, attempt(410)) is None
    assert reason_to_disable(attempt(410), None, 0) == "gone"


def test_an_endpoint_that_failed_for_five_days_is_disabled() -> None:
    assert reason_to_disable(attempt(None), 0, FIVE_DAYS - 1) == ""
    assert reason_to_disable(attempt(None), 0, FIVE_DAYS) == "failing"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("", 0),
        ("-5", 0),
        ("soon", 0),
        ("999999999", 86_400),
        ("Mon, 01 Jan 99999999999999999999999 00:00:00 GMT", 0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 120),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_retry_after(text: str, seconds: int) -> None:
    assert read_retry_after({"retry-after": text}, 0) == seconds


# --- Addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "fec0::1",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "2001:db8::1",
        "no address",
        "",
    ],
)
def test_no_public_address(address: str) -> None:
    assert not url_policy.is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert url_policy.is_public(address)


def test_a_name_that_leads_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*found: str) -> Any:
        return lambda *_, **__: [(2, 1, 6, "", (address, 443)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up("8.8.8.8"))
    url_policy.check_resolves("a.example", frozenset())
    monkeypatch.setattr(socket, "getaddrinfo", look_up("8.8.8.8", "10.0.0.1"))
    with pytest.raises(ValueError, match="not public"):
        url_policy.check_resolves("a.example", frozenset())


def test_the_address_that_is_checked_is_the_one_connected_to() -> None:
    """A name may lead elsewhere by the time of the call: no socket is made to such an address."""

    async def post() -> Attempt:
        async with WebhookSender(frozenset()) as sender:
            # Where names are looked up: to a public address at registration, to ours now.
            async def resolve(*_: Any, **__: Any) -> list[dict[str, Any]]:
                return [
                    {
                        "hostname": "rebound.example",
                        "host": "127.0.0.1",
                        "port": 443,
                        "family": 2,
                        "proto": 6,
                        "flags": 0,
                    }
                ]

            sender._guarded.connector._resolver.resolve = resolve  # type: ignore[union-attr]
            secret = "whsec_" + "c2VjcmV0c2VjcmV0"
            return await sender.post("https://rebound.example/", {"id": "evt_1"}, [secret])

    result = asyncio.run(post())
    assert result.code is None
    assert result.error == "the host leads to an address that is not public"


def test_plain_http_is_refused_at_the_call_as_well() -> None:
    async def post() -> Attempt:
        async with WebhookSender(frozenset()) as sender:
            return await sender.post("http://example.com/", {"id": "e"}, [])

    assert asyncio.run(post()).error == "must begin with https://"


def test_the_time_that_is_signed_is_the_one_that_is_sent() -> None:
    from standardwebhooks import Webhook

    now = datetime.now(UTC)
    secret = "whsec_" + "c2VjcmV0c2VjcmV0"
    headers = sign("evt_1", now, '{"a":"ä"}', [secret])
    assert Webhook(secret).verify('{"a":"ä"}', headers) == {"a": "ä"}
    assert headers["webhook-timestamp"] == str(int(now.timestamp()))


# --- Messages -------------------------------------------------------------------------------------


class FakeSender:
    """Answers with the attempts of a script, the last one for good; keeps what it was to send."""

    script: list[Attempt]
    sent: list[tuple[str, Any, list[str]]]

    def __init__(self, _: frozenset[str]) -> None:
        pass

    async def __aenter__(self) -> "FakeSender":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def post(self, url: str, event: Any, secrets: list[str], message: Any = None) -> Attempt:
        FakeSender.sent.append((url, event, secrets))
        script = FakeSender.script
        answer = script.pop(0) if len(script) > 1 else script[0]
        return answer._replace(at=answer.at or now_ms())


class Office:
    """An endpoint, and deliver with a courier of paper."""

    def __init__(self, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> None:
        FakeSender.script, FakeSender.sent = [attempt(200)], []
        self.recorder = Recorder()
        monkeypatch.setattr(deliveries, "WebhookSender", FakeSender)
        monkeypatch.setattr(aws, "client", self.recorder.client)
        self.dynamodb = dynamodb
        self.id = new_id().replace("ent", "whk")
        self.deliveries = Deliveries(dynamodb, "queue", frozenset())
        endpoint: Item = {
            "url": "https://a.example/",
            "eventTypes": ["*"],
            "enabled": True,
            "version": 1,
        }
        dynamodb.execute(Put(webhook_key(self.id), endpoint))
        secret: Item = {"current": "whsec_c2VjcmV0"}
        dynamodb.execute(Put(webhook_secret_key(self.id), secret))
        self.event = webhook_samples.sample(self.id, event_types.SEAT_DENIED, now_ms(), self.id)

    def message(self, count: int = 0, **changes: Any) -> dict[str, Any]:
        body = {"webhookId": self.id, "event": self.event, "attempt": count, **changes}
        return {"messageId": f"m{count}", "body": json.dumps(body)}

    def deliver(self, *messages: dict[str, Any], seconds: int = 60) -> list[str]:
        return self.deliveries.deliver(list(messages), now_ms() + seconds * 1000)

    def delivery(self) -> Item:
        job = deliveries.Job.of("m", json.loads(self.message()["body"]))
        return self.dynamodb.execute(Get(job.key)) or {}

    def endpoint(self) -> Item:
        return dict(read_item(self.dynamodb, webhook_key(self.id)))


@pytest.fixture
def office(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> Office:
    return Office(dynamodb, monkeypatch)


def test_a_success_is_recorded_and_a_message_that_comes_again_sends_nothing(
    office: Office,
) -> None:
    assert office.deliver(office.message()) == []
    assert office.deliver(office.message()) == []
    assert len(FakeSender.sent) == 1
    assert office.delivery()["status"] == "succeeded"
    assert "earliest" not in office.delivery()


def test_all_attempts_of_a_delivery(office: Office) -> None:
    FakeSender.script = [attempt(500)]
    for count in range(8):
        before = now_ms() // 1000
        office.deliver(office.message(count))
        item = office.delivery()
        assert item["attemptCount"] == count + 1
        # Left alone after five failures; what is due is sent then.
        office.dynamodb.execute(Delete(webhook_state_key(office.id)))
        if count < 7:
            wait = endpoints.RETRY_DELAYS[count]
            assert item["status"] == "pending"
            assert item["earliest"] - before >= wait
    assert item["status"] == "failed"
    assert "earliest" not in item
    # Only the first wait is short enough for the queue.
    assert [message["attempt"] for message in office.recorder.messages] == [1]


def test_what_is_due_is_queued_and_queued_again_only_later(office: Office) -> None:
    FakeSender.script = [attempt(500)]
    office.deliver(office.message())
    office.recorder.messages.clear()
    now = now_ms() // 1000
    mine = [m for m in queue_due(office, now + 30) if m["webhookId"] == office.id]
    assert mine == [], "the queue brings it back by itself"
    mine = [m for m in queue_due(office, now + 100) if m["webhookId"] == office.id]
    assert [message["attempt"] for message in mine] == [1]
    assert mine[0]["event"] == office.event
    assert not [m for m in queue_due(office, now + 101) if m["webhookId"] == office.id]
    assert [m for m in queue_due(office, now + 1000) if m["webhookId"] == office.id]


def queue_due(office: Office, now: int) -> list[dict[str, Any]]:
    office.recorder.messages.clear()
    office.deliveries.send_due(now, lambda: True)
    return list(office.recorder.messages)


def test_an_endpoint_that_is_gone_is_disabled(office: Office) -> None:
    FakeSender.script = [attempt(410)]
    office.deliver(office.message())
    endpoint = office.endpoint()
    assert (endpoint["enabled"], endpoint["disabledReason"]) == (False, "gone")
    assert office.delivery()["status"] == "failed"


def test_an_endpoint_that_only_failed_for_five_days_is_disabled(office: Office) -> None:
    first = now_ms() - (FIVE_DAYS + 10) * 1000
    FakeSender.script = [attempt(500, at=first), attempt(500)]
    office.deliver(office.message(0))
    assert office.endpoint()["enabled"] is True
    office.deliver(office.message(1))
    assert office.endpoint()["disabledReason"] == "failing"


def test_a_success_forgets_the_failures(office: Office) -> None:
    first = now_ms() - (FIVE_DAYS + 10) * 1000
    FakeSender.script = [attempt(500, at=first), attempt(200)]
    office.deliver(office.message(0))
    office.deliver(office.message(1))
    assert office.delivery()["status"] == "succeeded"
    assert office.dynamodb.execute(Get(webhook_state_key(office.id))) is None


def test_a_dead_endpoint_is_left_alone_for_a_while(office: Office) -> None:
    """Few are tried; the rest waits as items, not in the queue."""
    FakeSender.script = [attempt(None)]
    messages = []
    for number in range(40):
        event = {**office.event, "id": f"evt_{number}"}
        messages.append({**office.message(event=event), "messageId": str(number)})
    assert office.deliver(*messages) == []
    tried = len(FakeSender.sent)
    assert (
        endpoints.CIRCUIT_FAILURES <= tried <= endpoints.CIRCUIT_FAILURES + deliveries.PER_ENDPOINT
    )
    pk = delivery_key(office.id, 0, "").pk
    items = office.dynamodb.execute(Query("pk = :pk", {":pk": pk})).items
    assert len(items) == 40
    assert all(item["status"] == "pending" and item["earliest"] for item in items)
    assert sum(item["attemptCount"] for item in items) == tried


def test_without_time_for_an_answer_nothing_is_begun(office: Office) -> None:
    assert office.deliver(office.message(), seconds=deliveries.SECONDS_FOR_ATTEMPT - 1) == []
    assert FakeSender.sent == []
    assert office.delivery()["status"] == "pending"
    assert office.delivery()["attemptCount"] == 0


def test_an_endpoint_that_was_deleted_or_disabled_is_sent_nothing(office: Office) -> None:
    key = webhook_key(office.id)
    office.dynamodb.execute(Put(key, {**strip(office.endpoint()), "enabled": False}))
    office.deliver(office.message())
    assert office.delivery()["failure"] == "the endpoint is disabled"
    office.dynamodb.execute(Delete(key))
    assert office.deliver(office.message()) == []
    assert FakeSender.sent == []


def strip(item: Item) -> Item:
    return {name: value for name, value in item.items() if name not in ("pk", "sk")}


def test_what_waits_for_an_endpoint_that_was_deleted_waits_no_more(office: Office) -> None:
    FakeSender.script = [attempt(500)]
    office.deliver(office.message())
    office.dynamodb.execute(Delete(webhook_key(office.id)))
    office.deliver(office.message(1))
    item = office.delivery()
    assert (item["status"], item["failure"]) == ("failed", "the endpoint was deleted")
    assert "earliest" not in item


def test_how_long_a_failing_endpoint_is_left_alone() -> None:
    result = [endpoints.circuit_seconds(failing) for failing in (0, 240, 3_600, 86_400)]
    assert result == [60, 60, 900, 1_800]


def test_each_partition_of_what_is_due_has_its_own_share(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backlog of one endpoint keeps another's from being queued in no run."""
    monkeypatch.setattr(deliveries, "DUE_PER_PARTITION", 1)
    other = Office(office.dynamodb, monkeypatch)
    while due_deliveries(other.id) == due_deliveries(office.id):
        other = Office(office.dynamodb, monkeypatch)
    FakeSender.script = [attempt(500)]
    for number in range(3):
        event = {**office.event, "id": f"evt_{number}"}
        office.deliver(office.message(event=event))
    other.deliver(other.message())
    queued = {message["webhookId"] for message in queue_due(other, now_ms() // 1000 + 10_000)}
    assert other.id in queued


def test_both_secrets_sign_while_they_overlap(office: Office) -> None:
    for until, secrets in ((now_ms() // 1000 + 60, 2), (now_ms() // 1000 - 60, 1)):
        item: Item = {"current": "whsec_bmV3", "previous": "whsec_b2xk", "previousUntil": until}
        office.dynamodb.execute(Put(webhook_secret_key(office.id), item))
        office.event = {**office.event, "id": f"evt_{until}"}
        office.deliver(office.message())
        assert len(FakeSender.sent[-1][2]) == secrets


def test_failed_ones_are_sent_again_since_a_time_page_by_page(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "RESEND_PAGE", 2)
    FakeSender.script = [attempt(410)]
    for number in range(5):
        event = {**office.event, "id": f"evt_{number}"}
        office.deliver(office.message(event=event))
        key = webhook_key(office.id)
        office.dynamodb.execute(Put(key, {**strip(office.endpoint()), "enabled": True}))
    command = {"webhookId": office.id, "resend": {"since": 0}}
    pending: list[dict[str, Any]] = [command]
    resent: list[dict[str, Any]] = []
    while pending:
        office.recorder.messages.clear()
        office.deliver({"messageId": "r", "body": json.dumps(pending.pop())})
        for message in office.recorder.messages:
            (pending if "resend" in message else resent).append(message)
    office.dynamodb.execute(Delete(webhook_state_key(office.id)))
    assert sorted(message["event"]["id"] for message in resent) == [f"evt_{n}" for n in range(5)]
    FakeSender.script = [attempt(200)]
    again = [{"messageId": m["event"]["id"], "body": json.dumps(m)} for m in resent]
    assert office.deliver(*again) == []
    pk = delivery_key(office.id, 0, "").pk
    items = office.dynamodb.execute(Query("pk = :pk", {":pk": pk})).items
    assert {item["status"] for item in items} == {"succeeded"}


def test_a_name_is_put_in_when_it_is_sent(office: Office) -> None:
    """And so is gone from a retry, when the person was erased in between."""
    entitlement_id, key = new_id(), "seatkey_0000"
    office.event = {
        "id": "evt_named",
        "type": event_types.SEAT_ACTIVATED,
        "timestamp": "2026-11-24T09:00:00Z",
        "data": {"entitlementId": entitlement_id, "seat": {"seatKey": key}},
    }
    record: Item = {"seatKey": key, "seatId": "alice", "seatName": "Alice"}
    office.dynamodb.execute(Put(seat_record_key(entitlement_id, key), record))
    FakeSender.script = [attempt(500), attempt(200)]
    office.deliver(office.message(0))
    office.dynamodb.execute(Put(seat_record_key(entitlement_id, key), {"seatKey": key}))
    office.deliver(office.message(1))
    names = [event["data"]["seat"]["seatId"] for _, event, _ in FakeSender.sent]
    assert names == ["alice", None]
    assert "alice" not in str(office.delivery())


def test_a_message_that_is_none_of_ours_holds_up_nobody(office: Office) -> None:
    broken = [{"messageId": "x", "body": "not JSON"}, {"messageId": "y", "body": "{}"}]
    assert office.deliver(*broken, office.message()) == ["x", "y"]
    assert office.delivery()["status"] == "succeeded"


def test_no_more_than_fifty_attempts_are_stored(office: Office) -> None:
    """It was sent again and again, by hand: ten times as often as is kept."""
    FakeSender.script = [attempt(500)]
    office.deliver(office.message())
    item = strip(office.delivery())
    key = Key(office.delivery()["pk"], office.delivery()["sk"])
    [result] = item["attempts"]
    office.dynamodb.execute(
        Put(key, {**item, "attempts": [result] * 500, "attemptCount": 500, "step": 0})
    )
    office.dynamodb.execute(Delete(webhook_state_key(office.id)))
    office.deliver(office.message(500))
    assert (office.delivery()["attemptCount"], len(office.delivery()["attempts"])) == (501, 50)
