"""The reader of the stream: batches, seat records, marks."""

import time
from typing import Any

import pytest

from functions.notify import handler as notify
from functions.notify.publisher import Publisher
from functions.notify.stream_images import read_version
from shared import aws
from shared.clock import EPOCH
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    Key,
    audit_key,
    heartbeat_key,
    overdraft_key,
    seat_record_key,
    seat_shard_key,
    webhook_key,
)
from shared.dynamodb.marshalling import item_from_wire, to_wire
from shared.dynamodb.paging import all_of
from shared.dynamodb.requests import (
    Get,
    Item,
    Query,
    Transact,
)
from shared.seats import activation
from shared.seats.encoding import activation_id, seat_key
from shared.seats.holder import Holder
from shared.seats.leases import sweep_shard
from shared.seats.release import release_grant
from shared.seats.terms import clear_shard_update
from tests.support.notifier import Notifier, Recorder
from tests.support.seats import NOW, NOW_MS, change, make_shard, new_id, read_shard_item, terms
from tests.support.tables import RoleClient

# --- The stream's reader --------------------------------------------------------------------------


class Stream:
    """Runs operations on a shard and keeps the stream records they would leave."""

    def __init__(self, dynamodb: DynamoDBClient, seat_count: int = 2, hard_cap: int = 4) -> None:
        self.dynamodb = dynamodb
        self.id = new_id()
        self.records: list[dict[str, Any]] = []
        make_shard(dynamodb, self.id, terms(seat_count, hard_cap, lease=600))
        self._image = read_shard_item(dynamodb, self.id)
        self._add(None, self._image)

    def _add(self, old: Any, new: Any) -> None:
        key = seat_shard_key(self.id)
        images = {"NewImage": new, **({"OldImage": old} if old else {})}
        self.records.append(
            {
                "dynamodb": {
                    "Keys": {"pk": {"S": key.pk}, "sk": {"S": key.sk}},
                    "SequenceNumber": str(len(self.records) + 1),
                    **{
                        name: {k: to_wire(v) for k, v in image.items()}
                        for name, image in images.items()
                    },
                }
            }
        )

    def run(self, operation: Any) -> Any:
        outcome = self.dynamodb.run(operation)
        image = read_shard_item(self.dynamodb, self.id)
        if image != self._image:
            self._add(self._image, image)
        self._image = image
        return outcome

    def take(self, seat_id: str, at: int = 0) -> str:
        made = change(NOW_MS + at * 1000)
        holder = Holder(seat_id, seat_id.title(), {"device": "d"})
        grant_id = (made.now - EPOCH) * 100_000 + len(self.records)
        grant = self.run(activation.take(self.id, holder, made, grant_id))
        return activation_id(grant.key, grant.held.grant_id)

    def record(self, seat_id: str) -> Item:
        key = seat_record_key(self.id, seat_key(self.id, seat_id))
        return self.dynamodb.execute(Get(key)) or {}


class InTime:
    """A Lambda context with plenty of time."""

    seconds = 60

    def get_remaining_time_in_millis(self) -> int:
        return self.seconds * 1000


def test_seat_records_say_who_since_when_last_seen(dynamodb: DynamoDBClient) -> None:
    stream = Stream(dynamodb)
    stream.take("alice")
    stream.take("bob", 1)
    stream.take("carol", 2)
    stream.take("alice", 400)
    process(stream, stream.records)
    alice = stream.record("alice")
    assert (alice["seatId"], alice["seatName"]) == ("alice", "Alice")
    assert alice["attributes"] == {"device": "d"}
    assert alice["activatedAt"] == NOW_MS
    assert alice["lastSeenAt"] == NOW_MS + 400_000
    assert alice["isOverdraftSeat"] is False
    assert stream.record("carol")["isOverdraftSeat"] is True


def test_a_seat_that_ends_says_how(dynamodb: DynamoDBClient) -> None:
    stream = Stream(dynamodb)
    named = stream.take("alice")
    stream.take("bob")
    stream.take("carol", 550)
    stream.run(release_grant(stream.id, named, change(NOW_MS + 560_000)))
    stream.run(sweep_shard(seat_shard_key(stream.id), change(NOW_MS + 700_000)))
    process(stream, stream.records)
    assert stream.record("alice")["endReason"] == "released"
    assert stream.record("bob")["endReason"] == "lease_expired"
    assert "endReason" not in stream.record("carol")
    dynamodb.execute(Transact((clear_shard_update(stream.id, "deleted", change()),)))
    stream.run(release_grant(stream.id, named, change()))
    process(stream, stream.records)
    assert stream.record("carol")["endReason"] == "removed"


def test_one_write_that_reclaims_and_grants_is_several_changes(dynamodb: DynamoDBClient) -> None:
    stream = Stream(dynamodb, 1, 2)
    stream.take("a")
    stream.take("b")
    stream.take("c", 700)
    last = stream.records[-1]["dynamodb"]
    old, new = item_from_wire(last["OldImage"]), item_from_wire(last["NewImage"])
    version = read_version(old, new)
    assert version
    assert [(seat["kind"], seat.get("reason")) for seat in version.change.seats] == [
        ("deactivated", "lease_expired"),
        ("deactivated", "lease_expired"),
        ("activated", None),
    ]
    assert version.person["seatId"] == "c"
    assert version.person_key == version.change.seats[2]["key"]


def test_records_that_come_again_or_late_change_nothing(dynamodb: DynamoDBClient) -> None:
    stream = Stream(dynamodb)
    first = stream.take("alice")
    stream.take("bob")
    stream.take("carol")
    stream.run(release_grant(stream.id, first, change(NOW_MS + 1000)))
    stream.take("alice", 2)
    process(stream, stream.records)
    people = ("alice", "bob", "carol")
    clean = [stream.record(seat_id) for seat_id in people]
    process(stream, stream.records)
    assert [stream.record(seat_id) for seat_id in people] == clean
    process(stream, stream.records[2:4])
    assert [stream.record(seat_id) for seat_id in people] == clean


def test_a_grant_that_is_replayed_late_fills_in_who_it_was(dynamodb: DynamoDBClient) -> None:
    stream = Stream(dynamodb)
    named = stream.take("alice")
    stream.run(release_grant(stream.id, named, change(NOW_MS + 1000)))
    created, taken, released = stream.records
    process(stream, [created, released])
    assert "seatId" not in stream.record("alice")
    process(stream, [taken])
    record = stream.record("alice")
    assert (record["seatId"], record["seatName"], record["grantCount"]) == ("alice", "Alice", 1)
    assert record["endReason"] == "released"
    assert [device["device"] for device in record["devices"]] == ["d"]


def test_the_overdraft_mark_comes_and_goes(dynamodb: DynamoDBClient) -> None:
    stream = Stream(dynamodb)
    named = [stream.take(seat_id) for seat_id in ("a", "b", "c", "d")]
    process(stream, stream.records)
    key = overdraft_key(stream.id)
    mark = dynamodb.execute(Get(key))
    assert mark is not None
    for each in named[:2]:
        stream.run(release_grant(stream.id, each, change()))
    process(stream, stream.records[-2:])
    assert dynamodb.execute(Get(key)) is None


def test_a_batch_stops_at_the_first_record_that_fails(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(dynamodb)
    for seat_id in ("a", "b", "c"):
        stream.take(seat_id)
    use_client(monkeypatch, dynamodb)
    poisoned = [dict(record) for record in stream.records]
    poisoned[2] = {"dynamodb": {**poisoned[2]["dynamodb"], "NewImage": {"seats": {"S": "?"}}}}
    answer = notify.handler({"Records": poisoned}, InTime())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "3"}]}
    assert stream.record("a")
    assert not stream.record("c"), "a later record of the same item was processed"
    assert notify.handler({"Records": stream.records}, InTime()) == {"batchItemFailures": []}
    assert stream.record("c")


def test_a_batch_stops_when_no_time_is_left(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(InTime):
        seconds = notify.SECONDS_TO_ANSWER - 1

    stream = Stream(dynamodb)
    stream.take("a")
    use_client(monkeypatch, dynamodb)
    assert isinstance(dynamodb, RoleClient)
    dynamodb.is_patient = False
    answer = notify.handler({"Records": stream.records}, Late())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def test_records_of_other_items_become_messages(dynamodb: DynamoDBClient) -> None:
    """The stream brings more than what has an entitlement's id in its key."""
    key = webhook_key("we_1")
    enabled: dict[str, Any] = {"url": "https://example.com/", "enabled": True}
    disabled: dict[str, Any] = {
        **enabled,
        "enabled": False,
        "disabledAt": NOW_MS,
        "disabledReason": "gone",
    }
    record = {
        "dynamodb": {
            "Keys": {"pk": {"S": key.pk}, "sk": {"S": key.sk}},
            "SequenceNumber": "1",
            **{
                name: {k: to_wire(v) for k, v in image.items()}
                for name, image in (("OldImage", enabled), ("NewImage", disabled))
            },
        }
    }
    recorder = Recorder()
    assert Notifier(dynamodb, recorder).deliver([record]) is None
    assert [event["data"]["webhookId"] for event in recorder.events] == ["we_1"]


def test_a_new_grant_keeps_nothing_of_an_earlier_one(dynamodb: DynamoDBClient) -> None:
    """A machine changes hands: the record must not name the one who had it before."""
    stream = Stream(dynamodb)
    named = stream.take("lab-pc")
    stream.run(release_grant(stream.id, named, change()))
    stream.run(activation.take(stream.id, Holder("lab-pc"), change(NOW_MS + 5000), 10**13))
    process(stream, stream.records)
    record = stream.record("lab-pc")
    assert record["seatId"] == "lab-pc"
    assert not {"seatName", "attributes", "endedAt", "endReason"} & set(record)


def test_housekeeping_is_no_change() -> None:
    shard = {"seats": {"k": 1}, "seq": 3, "last": {"type": "activated", "at": 0}, "seatCount": 1}
    assert read_version({**shard, "earliest": 1}, {**shard, "earliest": 2}) is None
    assert NOW


# --- The stream's reader --------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 16])
def test_records_of_other_items_side_by_side(dynamodb: DynamoDBClient, at_once: int) -> None:
    """A heartbeat, an endpoint that was disabled: nobody owns them, and they are read with others."""
    notifier = Notifier(dynamodb, at_once=at_once)
    disabled = {"url": "https://x.example/", "disabledAt": 2_500_000_000_000}
    items: tuple[tuple[Key, dict[str, Any]], ...] = (
        (heartbeat_key(), {"at": 1}),
        (webhook_key("whk_1"), {**disabled, "disabledReason": "gone"}),
    )
    records = [
        {
            "dynamodb": {
                "Keys": {"pk": to_wire(key.pk), "sk": to_wire(key.sk)},
                "SequenceNumber": str(number),
                "NewImage": {
                    name: to_wire(value)
                    for name, value in {"pk": key.pk, "sk": key.sk, **item}.items()
                },
            }
        }
        for number, (key, item) in enumerate(items)
    ]
    assert notifier.deliver(records) is None
    assert [event["type"] for event in notifier.recorder.events] == ["webhook.endpoint.disabled"]


def entitlement_time(seconds: int) -> str:
    from shared.clock import to_rfc3339

    return to_rfc3339(int(time.time() + seconds) * 1000)


def use_client(monkeypatch: pytest.MonkeyPatch, dynamodb: DynamoDBClient) -> None:
    """The function notify, as deployed, with this client and nowhere to send."""
    monkeypatch.setattr(notify, "_dynamodb", dynamodb)
    monkeypatch.setattr(notify, "_publisher", Publisher("bus", "queue", dynamodb))
    monkeypatch.setattr(aws, "client", Recorder().client)


def process(stream: Stream, records: list[dict[str, Any]]) -> None:
    for record in records:
        assert Notifier(stream.dynamodb).deliver([record]) is None


def audited(stream: Stream) -> list[tuple[str, str, str]]:
    found = stream.dynamodb.run(all_of(Query("pk = :pk", {":pk": audit_key(stream.id, 0, "").pk})))
    return [(each["type"], each["actor"], each["subjectId"]) for each in found]


def test_who_released_a_seat_is_audited_once(dynamodb: DynamoDBClient) -> None:
    stream = Stream(dynamodb, 5, 5)
    taken = {name: stream.take(name) for name in ("alice", "bob", "carol", "dave")}
    for number, actor in enumerate(("key_support", "plk_admin", "lic_software")):
        operation = release_grant(
            stream.id, list(taken.values())[number], change(NOW_MS + number, actor)
        )
        stream.run(operation)
    stream.run(sweep_shard(seat_shard_key(stream.id), change(NOW_MS + 700_000, "sweep")))
    for _ in range(2):
        process(stream, stream.records)
    assert audited(stream) == [
        ("seat.released", "key_support", seat_key(stream.id, "alice")),
        ("seat.released", "plk_admin", seat_key(stream.id, "bob")),
    ]
