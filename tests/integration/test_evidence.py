"""What happened, as the API tells it: history, overdrafts, denials, people, and erasing one."""

import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from local.stack import Stack
from shared.clock import from_rfc3339_ms, to_rfc3339
from tests.integration.conftest import CheckedApi, Customer
from tests.support.paging import list_all
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def busy(api: CheckedApi) -> Customer:
    """2 purchased, 3 at most: three came, two were turned away (one of them twice), one left."""
    customer = Customer(api, timeZone="Asia/Kathmandu")
    for seat_id in ("alice@acme.com", "bob@acme.com", "carol@acme.com"):
        body = {"seatId": seat_id, "seatName": seat_id[:3], "attributes": {"device": "mbp"}}
        customer.license.expect(201, "POST", customer.seats, body)
    for seat_id in ("dave@acme.com", "dave@acme.com", "erin@acme.com"):
        customer.take(seat_id, 409)
    # Names come from the stream, whose reader may be behind.
    [bob] = wait_for(
        lambda: [
            seat["activationId"]
            for seat in api.expect(200, "GET", customer.seats)["items"]
            if seat["seatId"] == "bob@acme.com"
        ]
    )
    assert customer.license.call("DELETE", f"{customer.seats}/{bob}").status == 204

    def is_told() -> bool:
        items = list_all(api, f"{customer.path}/usage-history?interval=15m")
        total = [sum(each[name] for each in items) for name in ("releases", "deniedAttempts")]
        return total == [1, 3]

    wait_for(is_told)
    return customer


@pytest.mark.parametrize("interval", ["15m", "hour", "day"])
def test_use_over_time(api: CheckedApi, busy: Customer, interval: str) -> None:
    items = list_all(api, f"{busy.path}/usage-history?interval={interval}")
    assert 1 <= len(items) <= 2, "the quarter-hour may have turned meanwhile"
    counted = {
        name: sum(each[name] for each in items)
        for name in ("activations", "releases", "expiries", "removals", "deniedAttempts")
    }
    assert counted == {
        "activations": 3,
        "releases": 1,
        "expiries": 0,
        "removals": 0,
        "deniedAttempts": 3,
    }
    assert max(each["highest"] for each in items) == 3
    assert items[-1]["closing"] == 2
    assert items[0]["limits"][-1]["purchased"] == 2
    assert items[0]["limits"][-1]["hardCap"] == 3
    assert max(each["deniedSeats"] for each in items) == 2
    assert [a["to"] for a in items[:-1]] == [b["from"] for b in items[1:]]
    begins = datetime.fromisoformat(items[0]["from"])
    # Nepal is 5:45 ahead of UTC.
    local = begins.timestamp() + 5 * 3600 + 45 * 60
    assert local % {"15m": 900, "hour": 3600, "day": 86_400}[interval] == 0


def test_use_goes_on_while_nothing_happens(api: CheckedApi, busy: Customer) -> None:
    def seconds() -> int:
        items = list_all(api, f"{busy.path}/usage-history?interval=hour")
        return int(sum(each["seatSeconds"] for each in items))

    before = seconds()
    time.sleep(2.1)
    assert 4 <= seconds() - before <= 60


def test_a_period_of_one_s_own(api: CheckedApi, busy: Customer) -> None:
    created = datetime.fromisoformat(busy.entitlement["createdAt"])
    past = quote(to_rfc3339(int(created.timestamp() * 1000) - 86_400_000))
    until = quote(to_rfc3339(int(created.timestamp() * 1000) - 3_600_000))
    assert api.expect(200, "GET", f"{busy.path}/usage-history?from={past}&to={until}") == {
        "items": [],
        "nextPageToken": None,
    }
    for what in ("overdrafts", "denials"):
        assert not api.expect(200, "GET", f"{busy.path}/{what}?from={past}&to={until}")["items"]
    ahead = quote(to_rfc3339(int(time.time() + 86_400) * 1000))
    whole = list_all(api, f"{busy.path}/usage-history?interval=15m&from={past}&to={ahead}")
    assert datetime.fromisoformat(whole[-1]["from"]) <= datetime.now(UTC), "nothing of the future"


@pytest.mark.parametrize(
    "query",
    [
        "interval=week",
        "interval=",
        "from=yesterday",
        "to=2026-11",
        "limit=0",
        "limit=101",
        "from=2026-11-25T00:00:00Z&to=2026-11-24T00:00:00Z",
        "pageToken=abc",
        "zone=UTC",
    ],
)
def test_bad_periods(api: CheckedApi, busy: Customer, query: str) -> None:
    answer = api.call("GET", f"{busy.path}/usage-history?{query}")
    assert answer.status == 400
    assert answer.body["errors"][0]["in"] == "query"


@pytest.mark.parametrize("what", ["usage-history", "overdrafts", "denials"])
@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "2300-01-01T00:00:00Z"])
def test_the_far_future(api: CheckedApi, busy: Customer, what: str, time: str) -> None:
    until = api.expect(200, "GET", f"{busy.path}/{what}?to={time}")
    assert until["items"]
    assert api.expect(200, "GET", f"{busy.path}/{what}?from={time}") == {
        "items": [],
        "nextPageToken": None,
    }


def test_pages_of_history(stack: Stack, api: CheckedApi) -> None:
    """An entitlement that is older than a shard: nothing happened for days, and all is there."""
    customer = Customer(api)
    customer.take("alice")
    wait_for(
        lambda: any(
            each["activations"]
            for each in api.expect(200, "GET", f"{customer.path}/usage-history")["items"]
        )
    )
    dynamodb, name = stack.client("dynamodb"), stack.outputs["TableName"]
    then = int(time.time() * 1000) - 5 * 86_400_000
    dynamodb.update_item(
        TableName=name,
        Key={"pk": {"S": f"ENTITLEMENT#{customer.id}"}, "sk": {"S": "ENTITLEMENT"}},
        UpdateExpression="SET createdAt = :then",
        ExpressionAttributeValues={":then": {"N": str(then)}},
    )
    pk = f"HISTORY#{customer.id}#seats"
    [record] = dynamodb.query(
        TableName=name,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": pk}},
    )["Items"]
    begin = then - then % 900_000
    moment = datetime.fromtimestamp(begin / 1000, UTC)
    record |= {
        "sk": {"S": f"{moment:%Y-%m-%dT%H:%M}"},
        "start": {"N": str(begin)},
        "at": {"N": str(begin)},
    }
    dynamodb.put_item(TableName=name, Item=record)
    since = quote(to_rfc3339(then))
    items = list_all(api, f"{customer.path}/usage-history?interval=15m&from={since}")
    assert len(items) in (5 * 96 + 1, 5 * 96 + 2)
    assert [a["to"] for a in items[:-1]] == [b["from"] for b in items[1:]]
    assert {each["seatSeconds"] for each in items[1:-2]} == {900}


def test_an_episode(api: CheckedApi, busy: Customer) -> None:
    [episode] = api.expect(200, "GET", f"{busy.path}/overdrafts")["items"]
    assert from_rfc3339_ms(episode["end"]) >= from_rfc3339_ms(episode["start"])
    assert (episode["peak"], episode["distinctSeats"]) == (3, 1)
    assert (episode["deniedAttempts"], episode["deniedSeats"]) == (3, 2)
    # It comes back at once, and so goes on in the same episode.
    taken = busy.take("frank@acme.com")
    wait_for(lambda: api.expect(200, "GET", f"{busy.path}/overdrafts")["items"][0]["end"] is None)
    [again] = api.expect(200, "GET", f"{busy.path}/overdrafts")["items"]
    assert (again["episodeId"], again["distinctSeats"]) == (episode["episodeId"], 2)
    busy.license.call("DELETE", f"{busy.seats}/{taken['activationId']}")
    wait_for(lambda: api.expect(200, "GET", f"{busy.path}/overdrafts")["items"][0]["end"])


def test_denials(api: CheckedApi, busy: Customer) -> None:
    items = list_all(api, f"{busy.path}/denials")
    by_person: dict[str, int] = {}
    for item in items:
        by_person[item["seatId"]] = by_person.get(item["seatId"], 0) + item["attempts"]
        assert (item["used"], item["purchased"], item["hardCap"]) == (3, 2, 3)
    assert by_person == {"dave@acme.com": 2, "erin@acme.com": 1}
    first = api.expect(200, "GET", f"{busy.path}/denials?limit=1")
    second = api.expect(
        200, "GET", f"{busy.path}/denials?limit=1&pageToken={first['nextPageToken']}"
    )
    assert first["items"][0]["seatId"] != second["items"][0]["seatId"]


def test_people(api: CheckedApi, busy: Customer) -> None:
    seats = {seat["seatId"]: seat for seat in list_all(api, f"{busy.path}/seats")}
    bob = seats["bob@acme.com"]
    assert (bob["isHeld"], bob["endReason"], len(bob["grants"])) == (False, "released", 1)
    assert seats["alice@acme.com"]["isHeld"] is True
    assert [device["device"] for device in bob["devices"]] == ["mbp"]
    for name in (quote("bob@acme.com"), bob["seatKey"]):
        assert api.expect(200, "GET", f"{busy.path}/seats/{name}") == bob
    assert api.call("GET", f"{busy.path}/seats/nobody").status == 404
    for verb in ("release", "erase"):
        answer = api.call("POST", f"{busy.path}/seats/{verb}", {"seatId": "nobody"})
        assert answer.status == 404


def everything(stack: Stack) -> str:
    pages = (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=stack.outputs["TableName"])
    )
    return json.dumps([item for page in pages for item in page["Items"]], default=str)


def test_erasing_a_person(stack: Stack, api: CheckedApi) -> None:
    """Their name is nowhere any more, every count is as it was, and a repetition is a success."""
    customer = Customer(api, contacts={"accountOwner": {"email": "owner@vendor.example"}})
    who = f"zelda-{customer.id}@acme.com"
    body = {"seatId": who, "seatName": f"Zelda {customer.id[4:]}", "attributes": {"device": who}}
    customer.take("a")
    customer.take("b")
    named = customer.license.expect(201, "POST", customer.seats, body)["activationId"]
    customer.license.call("DELETE", f"{customer.seats}/{named}")
    customer.take("c")
    assert customer.license.call("POST", customer.seats, body).status == 409

    def counts() -> Any:
        history = list_all(api, f"{customer.path}/usage-history?interval=day")
        wanted = ("highest", "closing", "activations", "releases", "deniedAttempts", "deniedSeats")
        return (
            [[each[name] for name in wanted] for each in history],
            [each["attempts"] for each in list_all(api, f"{customer.path}/denials")],
            [each["distinctSeats"] for each in list_all(api, f"{customer.path}/overdrafts")],
            len(list_all(api, f"{customer.path}/seats")),
        )

    wait_for(lambda: counts()[1] == [1] and counts()[0][-1][4] == 1)
    assert who in everything(stack)
    before = counts()
    for _ in range(2):
        erased = api.expect(200, "POST", f"{customer.path}/seats/erase", {"seatId": who})
        assert (erased["isHeld"], erased["activationId"]) == (False, None)
    left = everything(stack)
    assert who not in left
    assert f"Zelda {customer.id[4:]}" not in left
    assert counts() == before
    seat = api.expect(200, "GET", f"{customer.path}/seats/{quote(who)}")
    assert erased["seatKey"] == seat["seatKey"]
    assert (seat["seatId"], seat["seatName"], seat["devices"]) == (None, None, [])
    assert seat["erasedAt"]
    assert len(seat["grants"]) == 1
    [denial] = list_all(api, f"{customer.path}/denials")
    assert (denial["seatId"], denial["seatName"]) == (None, None)


def test_erasing_a_person_whose_change_is_the_shard_s_last(stack: Stack, api: CheckedApi) -> None:
    """The shard names who made its last change; and what the stream reader has not processed yet is not stored."""
    customer = Customer(api)
    who = f"yara-{customer.id}@acme.com"
    customer.take(who)
    wait_for(lambda: api.call("GET", f"{customer.path}/seats/{quote(who)}").status == 200)
    erased = api.expect(200, "POST", f"{customer.path}/seats/erase", {"seatId": who})
    assert erased["isHeld"] is True
    assert who not in everything(stack)
    assert api.expect(200, "GET", customer.path)["seats"]["used"] == 1, "the seat is held still"
    time.sleep(1)
    assert who not in everything(stack)


def test_somebody_whose_id_is_another_one_s_key(api: CheckedApi) -> None:
    """Nobody is erased in another one's place, and nobody can hide behind such an id."""
    customer = Customer(api)
    customer.take("victim/with@slash")
    [victim] = wait_for(lambda: list_all(api, f"{customer.path}/seats"))
    key = victim["seatKey"]
    customer.take(key)
    wait_for(lambda: len(list_all(api, f"{customer.path}/seats")) == 2)
    answer = api.call("GET", f"{customer.path}/seats/{key}")
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (400, "/by")
    assert (
        api.expect(200, "GET", f"{customer.path}/seats/{key}?by=key")["seatId"] == victim["seatId"]
    )
    assert api.expect(200, "GET", f"{customer.path}/seats/{key}?by=seatId")["seatId"] == key
    api.expect(200, "POST", f"{customer.path}/seats/erase", {"seatKey": key})
    names = {seat["seatId"] for seat in list_all(api, f"{customer.path}/seats")}
    assert names == {None, key}


def test_who_may_see_it(scoped: dict[str, CheckedApi], busy: Customer) -> None:
    for what in ("usage-history", "overdrafts", "denials", "seats", "emails"):
        assert scoped["report"].call("GET", f"{busy.path}/{what}").status == 200
        assert scoped["activate"].call("GET", f"{busy.path}/{what}").status == 403
        assert busy.license.call("GET", f"{busy.path}/{what}").status == 403
    for caller in (scoped["report"], scoped["activate"], busy.license):
        answer = caller.call("POST", f"{busy.path}/seats/erase", {"seatId": "x"})
        assert answer.status == 403
    answer = scoped["report"].call("POST", f"{busy.path}/seats/release", {"seatId": "x"})
    assert answer.status == 403


def test_a_person_s_seat_is_released(api: CheckedApi) -> None:
    """By id or key, whichever grant it is; and again without an effect."""
    customer = Customer(api)
    path = f"{customer.path}/seats/release"
    held = customer.take("ann?x=/#@acme.com")["activationId"]
    released = api.expect(200, "POST", path, {"seatId": "ann?x=/#@acme.com"})
    assert (released["wasHeld"], released["activationId"]) == (True, held)
    wait_for(
        lambda: [each["isHeld"] for each in list_all(api, f"{customer.path}/seats")] == [False]
    )
    again = api.expect(200, "POST", path, {"seatKey": released["seatKey"]})
    assert (again["wasHeld"], again["activationId"]) == (False, None)
    assert api.expect(200, "GET", customer.path)["seats"]["used"] == 0
    held = customer.take("ann?x=/#@acme.com")["activationId"]
    by_key = customer.license.expect(200, "POST", path, {"seatKey": released["seatKey"]})
    assert by_key["activationId"] == held


def test_why_somebody_was_denied(api: CheckedApi) -> None:
    """Denials of one person, who is known although they never held a seat."""
    customer = Customer(api)
    for seat_id, status in (("a", 201), ("b", 201), ("c", 201), ("mallory", 409), ("eve", 409)):
        customer.take(seat_id, status)
    customer.take("mallory", 409)
    wait_for(lambda: len(list_all(api, f"{customer.path}/denials")) == 2)
    [denial] = list_all(api, f"{customer.path}/denials?seatId=mallory")
    assert (denial["seatId"], denial["attempts"], denial["hardCap"]) == ("mallory", 2, 3)
    assert list_all(api, f"{customer.path}/denials?seatKey={denial['seatKey']}") == [denial]
    assert list_all(api, f"{customer.path}/denials?seatId=a") == []
    assert (
        list_all(api, f"{customer.path}/denials?seatId=mallory&to=2026-01-02&from=2026-01-01") == []
    )
    for wrong in ("seatId=a&seatKey=b", "seatId=a&usageKey=exports"):
        assert api.call("GET", f"{customer.path}/denials?{wrong}").status == 400
    seat = api.expect(200, "GET", f"{customer.path}/seats/mallory")
    assert (seat["seatId"], seat["isHeld"], seat["grantCount"]) == ("mallory", False, 0)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"seatId": "a", "seatKey": "abcdefghijkl"}, ""),
        ({"seatKey": "short"}, "/seatKey"),
        ({"seatId": ""}, "/seatId"),
        ({"seat": "a"}, "/seat"),
    ],
)
def test_one_person_must_be_named(
    api: CheckedApi, busy: Customer, body: dict[str, str], pointer: str
) -> None:
    for verb in ("release", "erase"):
        answer = api.call("POST", f"{busy.path}/seats/{verb}", body)
        assert answer.status == 400
        assert pointer in {error["pointer"] for error in answer.body["errors"]}
