"""The sweep, the closing of entitlements, and the stream's reader."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.credentials import Credentials

from functions.notify import handler as notify
from functions.notify.publisher import Publisher
from functions.notify.stream_images import read_version
from functions.release import sweeper as release
from shared import aws, problems
from shared.api import app
from shared.audit import Change
from shared.clock import EPOCH
from shared.dynamodb import client as client_module
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    Key,
    heartbeat_key,
    overdraft_key,
    seat_record_key,
    seat_shard_key,
    secret_key,
    usage_key,
    webhook_key,
)
from shared.dynamodb.marshalling import FORMAT, FORMAT_ATTRIBUTE, item_from_wire, to_wire
from shared.dynamodb.requests import (
    BatchPut,
    Delete,
    Get,
    Item,
    Pause,
    Put,
    Refused,
    Transact,
    Unavailable,
)
from shared.entitlements.lifecycle import close_entitlement
from shared.entitlements.queries import fetch_entitlement
from shared.seats import activation
from shared.seats.encoding import activation_id, seat_key
from shared.seats.leases import reclaim_expired_leases
from shared.seats.release import release_grant
from shared.seats.shard import SeatShard
from shared.seats.terms import empty_shard
from shared.seats.writes import Holder
from shared.usage import allocation, sharded
from shared.usage.counter import Counter
from tests.support import dynamodb_local
from tests.support.notifier import Notifier, Recorder
from tests.support.requests import event
from tests.support.seats import NOW, NOW_MS, change, make_shard, new_id, read_shard_item, terms
from tests.support.tables import RoleClient, this_thread_as
from tests.unit.conftest import Api

FAR = 10**15


def sweep(*given: Any) -> dict[str, int]:
    """The sweep, with the rights that it has when it is deployed."""
    with this_thread_as("ReleaseRole"):
        return release.sweep(*given)


def test_the_sweep_frees_leases_and_closes_what_ended(api: Api) -> None:
    soon = entitlement_time(3600)
    leased = api.create(leasePeriod="PT10M")
    ending = api.create(validUntil=soon)
    both = api.create(leasePeriod="PT10M", validUntil=soon)
    untouched = api.create()
    now_ms = time.time_ns() // 1_000_000
    for entitlement_id in (leased, ending, both, untouched):
        made = Change("test", "r", now_ms)
        api.dynamodb.run(activation.take(entitlement_id, Holder("a"), made, now_ms))
    sweep(api.dynamodb, "sweep-0", now_ms + 1_000, FAR)
    assert [used(api.dynamodb, e) for e in (leased, ending, both, untouched)] == [1, 1, 1, 1]
    sweep(api.dynamodb, "sweep-1", now_ms + 700_000, FAR)
    assert [used(api.dynamodb, e) for e in (leased, ending, both, untouched)] == [0, 1, 0, 1]
    done = sweep(api.dynamodb, "sweep-2", now_ms + 3_700_000, FAR)
    assert [used(api.dynamodb, e) for e in (leased, ending, both, untouched)] == [0, 0, 0, 1]
    assert done["closed"] == 2
    assert read_shard_item(api.dynamodb, ending)["last"]["type"] == "expired"
    again = sweep(api.dynamodb, "sweep-3", now_ms + 3_800_000, FAR)
    assert again["closed"] == 0


def test_a_prolonged_entitlement_is_not_closed(api: Api) -> None:
    entitlement_id = api.create(validUntil=entitlement_time(3600))
    path = {"entitlementId": entitlement_id}
    status, _, _ = api.call(
        "PATCH /v1/entitlements/{entitlementId}", path, {"validUntil": entitlement_time(7200)}
    )
    assert status == 200
    late = Change("sweep", "r", time.time_ns() // 1_000_000 + 3_700_000)
    assert api.dynamodb.run(close_entitlement(entitlement_id, late)) is False
    later = late._replace(now_ms=late.now_ms + 3_700_000)
    assert api.dynamodb.run(close_entitlement(entitlement_id, later)) is True
    assert api.dynamodb.run(close_entitlement(entitlement_id, later)) is False


def test_a_grant_that_was_on_its_way_finds_the_page_closed(api: Api) -> None:
    """Whatever its clock says: nothing would free it any more."""
    entitlement_id = api.create(validUntil=entitlement_time(3600))
    now_ms = time.time_ns() // 1_000_000
    late = activation.take(entitlement_id, Holder("late"), Change("t", "r", now_ms), 1)
    write = late.send(None)
    closing = Change("sweep", "r", now_ms + 3_700_000)
    assert api.dynamodb.run(close_entitlement(entitlement_id, closing)) is True
    reply = api.dynamodb.execute(write)
    assert isinstance(reply, Refused)
    assert late.send(reply) == Pause(0)
    with pytest.raises(problems.EntitlementExpired):
        late.send(now_ms)
    assert used(api.dynamodb, entitlement_id) == 0


def test_a_closed_entitlement_is_closed_once_and_opened_by_a_later_end(api: Api) -> None:
    entitlement_id = api.create(validUntil=entitlement_time(1), leasePeriod="PT1H")
    path = {"entitlementId": entitlement_id}
    patch = "PATCH /v1/entitlements/{entitlementId}"
    later = Change("sweep", "r", time.time_ns() // 1_000_000 + 10_000)
    assert api.dynamodb.run(close_entitlement(entitlement_id, later)) is True
    for body in (
        {"product": "Renamed"},
        {"seatCount": 5},
        {"status": "suspended"},
        {"status": "active"},
    ):
        assert api.call(patch, path, body)[0] == 200
        assert api.dynamodb.run(close_entitlement(entitlement_id, later)) is False
    take = "POST /v1/entitlements/{entitlementId}/activations"
    assert api.call(take, path, {"seatId": "a"})[0] == 403
    assert api.call(patch, path, {"validUntil": entitlement_time(3600)})[0] == 200
    status, body, _ = api.call(take, path, {"seatId": "a"})
    assert (status, body["seats"]["purchased"]) == (201, 5)
    much_later = later._replace(now_ms=later.now_ms + 3_700_000)
    assert api.dynamodb.run(close_entitlement(entitlement_id, much_later)) is True


def test_the_sweep_hears_what_parts_have_used(api: Api) -> None:
    limit = {"key": "calls", "limit": 200_000}
    entitlement_id = api.create(usageLimits=[limit])
    now_ms = time.time_ns() // 1_000_000
    made = Change("test", "r", now_ms)
    api.dynamodb.execute(sharded.start_sharding((entitlement_id, "calls")))
    for number in range(5):
        key = f"request{number:05d}"
        api.dynamodb.run(sharded.consume(entitlement_id, "calls", key, 2, made))
    counter = Get(usage_key(entitlement_id, "calls"))
    assert Counter.of(api.dynamodb.execute(counter)).used == 0
    sweep(api.dynamodb, "sweep-1", now_ms + 70_000, FAR)
    told = api.dynamodb.execute(counter)
    assert Counter.of(told).used == 10
    assert told["earliest"] == now_ms // 1000 + 70 + allocation.RECONCILE_SECONDS


def test_a_dry_run_of_a_spread_limit_says_what_is_left(api: Api) -> None:
    entitlement_id = api.create(usageLimits=[{"key": "calls", "limit": 200_000}])
    limit = (entitlement_id, "calls")
    made = Change("test", "r", time.time_ns() // 1_000_000)
    api.dynamodb.execute(sharded.start_sharding(limit))
    api.dynamodb.run(sharded.consume(*limit, "request00001", 199_000, made))
    api.dynamodb.run(sharded.consume(*limit, "request00002", 400, made))
    assert api.dynamodb.run(sharded.preview(*limit, None, 600, made)).used == 200_000
    with pytest.raises(problems.HardCapReached) as denied:
        api.dynamodb.run(sharded.preview(*limit, None, 601, made))
    assert denied.value.extensions["usage"]["available"] == 600


def test_one_bad_item_does_not_stop_the_sweep(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = []

    def fail(dynamodb: DynamoDBClient, item: Item, *_: Any) -> None:
        swept.append(item["pk"])
        raise RuntimeError("bad item")

    ids = [api.create(leasePeriod="PT1M") for _ in range(3)]
    now_ms = time.time_ns() // 1_000_000
    for entitlement_id in ids:
        api.dynamodb.run(
            activation.take(entitlement_id, Holder("a"), Change("t", "r", now_ms), now_ms)
        )
    monkeypatch.setattr(release, "_sweep_item", fail)
    sweep(api.dynamodb, "r", now_ms + 70_000, FAR)
    assert {seat_shard_key(entitlement_id).pk for entitlement_id in ids} <= set(swept)


def test_the_sweep_stops_before_its_deadline(api: Api) -> None:
    entitlement_id = api.create(leasePeriod="PT1M")
    now_ms = time.time_ns() // 1_000_000
    api.dynamodb.run(activation.take(entitlement_id, Holder("a"), Change("t", "r", now_ms), now_ms))
    sweep(api.dynamodb, "r", now_ms + 70_000, 0)
    assert used(api.dynamodb, entitlement_id) == 1


def used(dynamodb: DynamoDBClient, entitlement_id: str) -> int:
    return SeatShard.of(read_shard_item(dynamodb, entitlement_id)).used


def entitlement_time(seconds: int) -> str:
    from shared.clock import to_rfc3339

    return to_rfc3339(int(time.time() + seconds) * 1000)


# --- The stream's reader --------------------------------------------------------------------------


class Stream:
    """Runs operations on a page and keeps the stream records they would leave."""

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
        return activation_id(grant.key, grant.seat.grant_id)

    def record(self, seat_id: str) -> Item:
        key = seat_record_key(self.id, seat_key(self.id, seat_id))
        return dict(self.dynamodb.execute(Get(key)) or {})


def use_door(monkeypatch: pytest.MonkeyPatch, dynamodb: DynamoDBClient) -> None:
    """The room of notify, as deployed, with this client and nowhere to send."""
    monkeypatch.setattr(notify, "_dynamodb", dynamodb)
    monkeypatch.setattr(notify, "_publisher", Publisher("bus", "queue", dynamodb))
    monkeypatch.setattr(aws, "client", Recorder().client)


class InTime:
    """A Lambda context with plenty of time."""

    seconds = 60

    def get_remaining_time_in_millis(self) -> int:
        return self.seconds * 1000


def process(stream: Stream, records: list[dict[str, Any]]) -> None:
    for record in records:
        assert Notifier(stream.dynamodb).deliver([record]) is None


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
    stream.run(reclaim_expired_leases(seat_shard_key(stream.id), change(NOW_MS + 700_000)))
    process(stream, stream.records)
    assert stream.record("alice")["endReason"] == "released"
    assert stream.record("bob")["endReason"] == "lease_expired"
    assert "endReason" not in stream.record("carol")
    dynamodb.execute(Transact((empty_shard(stream.id, "deleted", change()),)))
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
    use_door(monkeypatch, dynamodb)
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
    use_door(monkeypatch, dynamodb)
    assert isinstance(dynamodb, RoleClient)
    dynamodb.is_patient = False
    answer = notify.handler({"Records": stream.records}, Late())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def test_records_of_no_entitlement_are_told_of(dynamodb: DynamoDBClient) -> None:
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


def test_names_that_do_not_come_are_null_and_the_list_still_answers(api: Api) -> None:
    """Here no stream is read, so no seat has a record."""
    entitlement_id = api.create()
    path = {"entitlementId": entitlement_id}
    api.call("POST /v1/entitlements/{entitlementId}/activations", path, {"seatId": "a"})
    status, body, _ = api.call("GET /v1/entitlements/{entitlementId}/activations", path)
    [held] = body["items"]
    assert (status, held["seatId"], held["seatName"]) == (200, None, None)
    assert held["seatKey"] == seat_key(entitlement_id, "a")


def test_a_list_does_not_name_who_had_the_seat_before(api: Api) -> None:
    """The record of an earlier grant tells who the holder is, but not what this grant was called."""
    entitlement_id = api.create()
    path = {"entitlementId": entitlement_id}
    take = "POST /v1/entitlements/{entitlementId}/activations"
    api.call(take, path, {"seatId": "lab-pc", "seatName": "Bob"})
    key = seat_key(entitlement_id, "lab-pc")
    earlier: Item = {
        "stamp": 1,
        "seatId": "lab-pc",
        "seatName": "Alice",
        "attributes": {"device": "old"},
        "lastSeenAt": 1,
    }
    api.dynamodb.execute(Put(seat_record_key(entitlement_id, key), earlier))
    _, body, _ = api.call("GET /v1/entitlements/{entitlementId}/activations", path)
    [held] = body["items"]
    assert (held["seatId"], held["seatName"], held["attributes"]) == ("lab-pc", None, {})
    assert held["lastSeenAt"] == held["activatedAt"]


# --- Found by trying the product ------------------------------------------------------------------


def put_person(api: Api, owner: str, seat_id: str) -> None:
    key = seat_key(owner, seat_id)
    api.dynamodb.execute(
        Put(seat_record_key(owner, key), {"seatKey": key, "seatId": seat_id, "seq": 1})
    )


@pytest.mark.parametrize(
    ("stored", "asked"),
    [("a+b", "a%2Bb"), ("a@b", "a%40b"), ("a b", "a%20b"), ("a%b", "a%25b"), ("ä", "%C3%A4")],
)
def test_a_path_is_decoded_once_by_the_gateway_and_not_again(
    api: Api, stored: str, asked: str
) -> None:
    """The handler is given what API Gateway decoded: a request for `a%252Bb` arrives as `a%2Bb`."""
    owner = api.create()
    put_person(api, owner, stored)
    path = {"entitlementId": owner, "seat": asked}
    route = "/v1/entitlements/{entitlementId}/seats/{seat}"
    assert api.call(f"GET {route}", path)[0] == 404
    assert api.call(f"DELETE {route}", path)[0] == 404
    put_person(api, owner, asked)
    for seat_id in (stored, asked):
        status, answer, _ = api.call(f"GET {route}", {**path, "seat": seat_id})
        assert (status, answer["seatId"]) == (200, seat_id)
    assert api.call(f"DELETE {route}", path)[0] == 204
    assert api.call(f"GET {route}", {**path, "seat": stored})[1]["seatId"] == stored


@pytest.mark.parametrize(
    "address",
    [
        "müller@x.example",
        "owner@münchen.example",
        "a,b@x.example",
        "<b@x.example>",
        "a\u200bb@x.example",
        "a" * 65 + "@x.example",
        ".a@x.example",
        "a@-x.example",
        "a..b@x.example",
        "a@x",
        "a@x_y.example",
        '"a b"@x.example',
        "a@[192.0.2.1]",
    ],
)
def test_addresses_that_ses_cannot_send_to_are_refused_when_they_are_set(
    api: Api, address: str
) -> None:
    owner = api.create()
    for contact in ("accountOwner", "customerAdmin"):
        body = {"contacts": {contact: {"email": address}}}
        route = "PATCH /v1/entitlements/{entitlementId}"
        status, answer, _ = api.call(route, {"entitlementId": owner}, body)
        assert status == 400, answer
        assert answer["errors"][0]["pointer"] == f"/contacts/{contact}/email"
    if "münchen" in address:
        assert "xn--mnchen-3ya" in answer["errors"][0]["detail"]


@pytest.mark.parametrize("address", ["o'neil+x@acme.example", "a@xn--mnchen-3ya.example"])
def test_other_addresses_are_taken(api: Api, address: str) -> None:
    owner = api.create(contacts={"accountOwner": {"email": address}})
    _, answer, _ = api.call("GET /v1/entitlements/{entitlementId}", {"entitlementId": owner})
    assert answer["contacts"]["accountOwner"]["email"] == address


def test_head_is_answered_where_get_is(api: Api) -> None:
    owner = api.create()
    for route, path in (
        ("/health", {}),
        ("/v1/entitlements", {}),
        ("/v1/entitlements/{entitlementId}", {"entitlementId": owner}),
        ("/v1/entitlements/{entitlementId}", {"entitlementId": "ent_none"}),
        ("/portal", {}),
    ):
        got = api.call(f"GET {route}", path)
        head = api.call(f"HEAD {route}", path)
        assert head[0] == got[0]
        assert head[1] == ""
        assert set(head[2]) == set(got[2])


def test_the_description_is_sent_packed(api: Api) -> None:
    import base64
    import gzip

    for route in ("GET /openapi.json", "GET /docs"):
        plain = api._serve(event(route, key=None), None)
        packed = api._serve(event(route, key=None, headers={"accept-encoding": "gzip"}), None)
        assert packed["headers"]["content-encoding"] == "gzip"
        raw = base64.b64decode(packed["body"])
        assert gzip.decompress(raw).decode() == plain["body"]
        assert len(raw) < len(plain["body"]) / 5
        assert plain["headers"]["vary"] == packed["headers"]["vary"] == "accept-encoding"


def test_a_packed_body_is_an_unsupported_media_type(api: Api) -> None:
    status, answer, _ = api.call(
        "POST /v1/entitlements", body="x", headers={"content-encoding": "gzip"}
    )
    assert status == 415
    assert "Content-Encoding" in answer["detail"]


def test_a_customer_is_found_by_any_form_of_the_name(api: Api) -> None:
    composed, decomposed = "M\u00fcller", "Mu\u0308ller"
    api.create(customer={"name": decomposed})
    for name in (composed, decomposed):
        _, answer, _ = api.call("GET /v1/entitlements", query={"customer": name})
        assert [item["customer"]["name"] for item in answer["items"]] == [composed]


@pytest.mark.parametrize("seat_id", [" alice", "alice\u00a0", "\u200balice", "a\u202eb"])
def test_a_seat_id_that_looks_like_another_is_refused(api: Api, seat_id: str) -> None:
    route = "POST /v1/entitlements/{entitlementId}/activations"
    status, answer, _ = api.call(route, {"entitlementId": api.create()}, {"seatId": seat_id})
    assert status == 400
    assert answer["errors"][0]["pointer"] == "/seatId"


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


# --- Rights that are rarely used: each call is made with the role of its function -----------------


@pytest.mark.parametrize("seat_counts", [(200,), (200, 100)])
def test_a_pool_whose_validity_ends_is_closed_with_the_rights_of_release(
    api: Api, seat_counts: tuple[int, ...]
) -> None:
    ends = entitlement_time(3600)
    owner = api.create(seatCount=seat_counts[0], validUntil=ends)
    path = {"entitlementId": owner}
    for count in seat_counts[1:]:
        route = "PATCH /v1/entitlements/{entitlementId}"
        assert api.call(route, path, {"seatCount": count})[0] == 200
    done = sweep(api.dynamodb, "sweep-1", int(time.time() * 1000) + 3_700_000, FAR)
    assert done["closed"] == 1
    with this_thread_as("ReleaseRole"):
        item, _ = api.dynamodb.run(fetch_entitlement(owner))
    assert item["status"] == "active", "the end of its validity is no change of its terms"
    assert "earliest" not in item


def test_whoever_needs_the_token_of_lists_first_may_make_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a fresh table, in a fresh process: by the portal, and by the function of reports."""
    monkeypatch.setattr("shared.signed_tokens._known", {})
    for route, headers in (("POST /v1/reports", {"idempotency-key": "a"}),) * 2:
        for _ in range(2):
            assert api.call(route, body={"period": "2026-01"}, headers=headers)[0] == 202
        headers["idempotency-key"] = "b"
    assert api.call("GET /v1/reports", query={"limit": "1"})[1]["nextPageToken"]
    api.dynamodb.execute(Delete(secret_key("page-token")))
    owner = api.create()
    path = {"entitlementId": owner}
    for seat_id in ("a", "b"):
        route = "POST /v1/entitlements/{entitlementId}/activations"
        assert api.call(route, path, {"seatId": seat_id})[0] == 201
    link = api.call("POST /v1/entitlements/{entitlementId}/portal-links", path, {})[1]["url"]
    api.dynamodb.execute(Delete(secret_key("page-token")))
    monkeypatch.setattr("shared.signed_tokens._known", {})
    token = link.partition("#")[2]
    _, answer, _ = api.call("GET /v1/portal/seats", query={"limit": "1"}, key=token)
    assert answer["nextPageToken"]


# --- What newer code has written ------------------------------------------------------------------


ACTIVATIONS = "/v1/entitlements/{entitlementId}/activations"


@pytest.mark.parametrize("seat_count", [2, 300])
def test_what_newer_code_has_written_is_left_alone(api: Api, seat_count: int) -> None:
    """Answered 503, never decided wrongly: by reads, and by writes that know nothing of an item."""
    limit = {"key": "exports", "limit": 5, "resetSchedule": "monthly"}
    owner = api.create(seatCount=seat_count, usageLimits=[limit])
    path, usage = {"entitlementId": owner}, {"entitlementId": owner, "key": "exports"}
    held = api.call(f"POST {ACTIVATIONS}", path, {"seatId": "alice"})[1]["activationId"]
    calls: tuple[Callable[[], Any], ...] = (
        lambda: api.call(f"POST {ACTIVATIONS}", path, {"seatId": "bob"}),
        lambda: api.call(f"POST {ACTIVATIONS}", path, {"seatId": "alice"}),
        lambda: api.call(f"DELETE {ACTIVATIONS}/{{activationId}}", {**path, "activationId": held}),
        lambda: api.call(f"GET {ACTIVATIONS}", path),
        lambda: api.call("GET /v1/entitlements/{entitlementId}", path),
        lambda: api.call("PATCH /v1/entitlements/{entitlementId}", path, {"seatCount": 400}),
        lambda: api.call(
            "POST /v1/entitlements/{entitlementId}/usage/{key}",
            usage,
            {"quantity": 1},
            headers={"idempotency-key": "k1"},
        ),
        lambda: api.call("GET /v1/entitlements/{entitlementId}/usage", path),
    )
    url, name = api.dynamodb._endpoint.rstrip("/"), api.dynamodb.name
    for item in dynamodb_local.scan(url, name):
        if item["pk"]["S"].startswith(("LEDGER#", "POOL#", "SUM#", "USAGE#", "ENTITLEMENT#")):
            put = {**item, FORMAT_ATTRIBUTE: {"N": str(FORMAT + 1)}}
            dynamodb_local.call(url, "DynamoDB_20120810", "PutItem", TableName=name, Item=put)
    before = sorted(map(json.dumps, dynamodb_local.scan(url, name)))
    for call in calls:
        status, problem, _ = call()
        assert (status, problem["type"].rpartition("/")[2]) == (503, "unavailable")
    assert sorted(map(json.dumps, dynamodb_local.scan(url, name))) == before


# --- The stream's reader --------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 16])
def test_records_of_no_entitlement(dynamodb: DynamoDBClient, at_once: int) -> None:
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


def test_no_more_than_a_thousand_endpoints(api: Api) -> None:
    """All of them are looked at for every event."""
    endpoint: Item = {
        "url": "http://127.0.0.1:9/",
        "eventTypes": ["*"],
        "enabled": True,
        "version": 1,
    }
    keys = [webhook_key(f"whk_{number:016d}") for number in range(1_000)]
    api.dynamodb.execute(BatchPut(tuple((key, endpoint) for key in keys)))
    body = {"url": "http://127.0.0.1:9/"}
    status, problem, _ = api.call("POST /v1/webhooks", body=body)
    assert status == 400
    assert "1000 endpoints" in problem["detail"]
    gone = {"webhookId": keys[0].sk}
    assert api.call("DELETE /v1/webhooks/{webhookId}", gone)[0] == 204
    again = {"idempotency-key": "the-last-one"}
    for _ in range(2):  # the second time it is the answer of the first
        assert api.call("POST /v1/webhooks", body=body, headers=again)[0] == 201


class Conflicting(RoleClient):
    """The first writes of an item meet a transaction of somebody else."""

    conflicts = 3
    met = 0

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        if operation == "UpdateItem" and b"SEATS#" in payload and self.met < self.conflicts:
            self.met += 1
            return 400, {"__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException"}
        return super()._send(operation, payload)


@pytest.mark.parametrize(("conflicts", "status"), [(3, 204), (1_000, 503)])
def test_erasing_somebody_waits_for_the_transactions_of_others(
    dynamodb: RoleClient, api: Api, conflicts: int, status: int
) -> None:
    """As the stream's reader writes many records in one; never is it lost and said to be done."""
    owner = api.create()
    key = seat_key(owner, "ann@acme.example")
    record: Item = {
        "seatKey": key,
        "entitlementId": owner,
        "seq": 1,
        "seatId": "ann@acme.example",
        "seatName": "Ann",
    }
    dynamodb.execute(Put(seat_record_key(owner, key), record))
    busy = Conflicting(
        dynamodb.name,
        region="us-east-1",
        endpoint=dynamodb._endpoint,
        credentials=Credentials("test", "test"),
    )
    busy.conflicts = conflicts
    path = {"entitlementId": owner, "seat": "ann@acme.example"}
    answer = Api(busy).call("DELETE /v1/entitlements/{entitlementId}/seats/{seat}", path)
    assert answer[0] == status
    kept = dynamodb.execute(Get(seat_record_key(owner, key)))
    assert ("seatId" in kept) == (status == 503)
    assert busy.met >= 3


def test_a_pool_that_is_changed_all_the_time_is_swept(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change left the pool for the sweep after the next, and the next change again."""
    now = [NOW_MS]
    for module in (app, client_module):
        monkeypatch.setattr(module, "now_ms", lambda: now[0])
    owner = api.create(
        seatCount=150, overdraftSeatLimit={"type": "absolute", "value": 50}, leasePeriod="PT1M"
    )
    path = {"entitlementId": owner}
    route = "POST /v1/entitlements/{entitlementId}/activations"
    for number in range(6):
        assert api.call(route, path, {"seatId": f"user{number}"})[0] == 201
    held = []
    for second in range(1, 181):
        now[0] = NOW_MS + second * 1000
        if second % 27 == 0 or second % 60 in (57, 59):
            change = {"seatCount": 150 + second % 2}
            assert api.call("PATCH /v1/entitlements/{entitlementId}", path, change)[0] == 200
        if second % 60 == 0:
            with this_thread_as("ReleaseRole"):
                release.sweep(api.dynamodb, f"sweep{second}", now[0], now[0] + 50_000)
            result = api.call("GET /v1/entitlements/{entitlementId}/activations", path)
            held.append(len(result[1]["items"]))
    assert held == [6, 0, 0]
