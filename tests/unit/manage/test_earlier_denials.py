"""Denials that an earlier release wrote, in one of its 16 partitions, are read like others."""

from typing import Any

import pytest

from shared.clock import now_ms
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key, denial_keys, denial_record_partitions, denied_bucket_key
from shared.dynamodb.requests import Delete, Get, Item, Put
from shared.events import enrichment
from shared.events.builders import of_denial
from shared.history.buckets import bucket_name
from shared.history.denials import denied_between
from shared.seats.encoding import seat_key
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"
DAY_MS = 86_400_000


class Denied:
    """An entitlement, and a person whose denial is where an earlier release wrote it."""

    def __init__(self, api: Api) -> None:
        self.api, self.dynamodb = api, api.dynamodb
        self.id = api.create(seatCount=1, leasePeriod="PT1H")
        self.path = {"entitlementId": self.id}
        assert self.ask("alice") == 201
        people = (f"person{number}" for number in range(100))
        self.person = next(each for each in people if len(self.keys(each)) == 2)
        assert self.ask(self.person) == 409
        self.to_earlier_partition()

    def ask(self, seat_id: str) -> int:
        return self.api.call(f"POST {E}/activations", self.path, {"seatId": seat_id})[0]

    def keys(self, seat_id: str) -> list[Any]:
        hour = self.hour if hasattr(self, "hour") else ""
        return denial_keys(self.id, seat_key(self.id, seat_id), hour)

    @property
    def item(self) -> Item:
        """Where it is now."""
        found = [self.dynamodb.execute(Get(key)) for key in self.keys(self.person)]
        [item] = [each for each in found if each]
        return dict(item)

    def to_earlier_partition(self) -> None:
        _, listed, _ = self.api.call(f"GET {E}/denials", self.path)
        self.hour = listed["items"][0]["hour"][:13]
        own, earlier = self.keys(self.person)
        item = self.dynamodb.execute(Get(own))
        assert item is not None
        kept = {name: value for name, value in item.items() if name not in ("pk", "sk")}
        self.dynamodb.execute(Put(earlier, kept))
        self.dynamodb.execute(Delete(own))


@pytest.fixture
def denied(api: Api) -> Denied:
    return Denied(api)


def test_it_is_listed_and_explained(api: Api, denied: Denied) -> None:
    for query in ({}, {"seatId": denied.person}):
        _, listed, _ = api.call(f"GET {E}/denials", denied.path, query=query)
        assert [each["seatId"] for each in listed["items"]] == [denied.person]
    _, found, _ = api.call(f"GET {E}/denial-summary", denied.path)
    assert found["persons"][0]["seatId"] == denied.person
    _, found, _ = api.call(f"GET {E}/explain", denied.path, query={"seatId": denied.person})
    assert found["denial"]["used"] == 1


def test_attempts_before_and_after_the_update_are_both_listed(api: Api, denied: Denied) -> None:
    assert denied.ask(denied.person) == 409
    found, query = list[Any](), {"limit": "1"}
    while True:
        _, page, _ = api.call(f"GET {E}/denials", denied.path, query=query)
        found += page["items"]
        if page["nextPageToken"] is None:
            break
        query["pageToken"] = page["nextPageToken"]
    assert [each["seatId"] for each in found] == [denied.person] * 2
    _, summary, _ = api.call(f"GET {E}/denial-summary", denied.path)
    assert summary["attempts"] == 2


def test_it_is_erased(api: Api, denied: Denied) -> None:
    status, _, _ = api.call(f"POST {E}/seats/erase", denied.path, {"seatId": denied.person})
    assert status == 200
    assert "seatId" not in denied.item


def test_its_event_has_the_person(denied: Denied) -> None:
    sent = of_denial(denied.id, denied.item, denied.hour)
    items = {key: denied.dynamodb.execute(Get(key)) for key in enrichment.keys_of(sent)}
    enriched = enrichment.enrich(sent, {key: item for key, item in items.items() if item})
    assert enriched["data"]["seat"]["seatId"] == denied.person
    later = of_denial(denied.id, denied.item, denied.hour, "1f")
    assert sent["id"] != later["id"], "the first attempt after the update is another event"


def test_history_counts_its_record(dynamodb: DynamoDBClient) -> None:
    entitlement_id, at = "ent_earlier", now_ms() // DAY_MS * DAY_MS + 1_000
    people = (f"seat{number:08d}" for number in range(100))
    person = next(p for p in people if len(denial_record_partitions(entitlement_id, p)) == 2)
    bucket = denied_bucket_key(entitlement_id, bucket_name(at - 1_000), person)
    dynamodb.execute(Put(bucket, {"attempts": 2}))
    for number, pk in enumerate(denial_record_partitions(entitlement_id, person)):
        key = Key(pk, f"{at + number:013d}#{person}#{1:09d}")
        dynamodb.execute(Put(key, {"seatKey": person, "at": at + number}))
    counted = dynamodb.run(denied_between(entitlement_id, at - 500, at + 500))
    assert counted == {person: 2}
