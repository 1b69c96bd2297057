"""What the portal answers, against the answers that callers got, on Amazon's engine."""

from collections import Counter
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from functions.portal import denials, forecast, graph, status
from local.dynamodb import DynamoDBLocal
from shared.api import app, auth, request
from shared.audit import Change
from shared.clock import from_rfc3339_ms, to_rfc3339, zone_of
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    SEATS,
    credential_key,
    entitlement_key,
    rollup_key,
    usage_bucket_key,
    usage_key,
    usage_meter,
    usage_of,
)
from shared.dynamodb.requests import Get, Item, Put, Update
from shared.entitlements.model import usage_terms
from shared.history import queries
from shared.history.buckets import BUCKET_MS, DAY_MS, HOUR_MS, bucket_name
from tests.support.life import EXPORTS, START, Clean, Life
from tests.support.requests import event
from tests.support.stories import Story
from tests.support.tables import create_table, open_client

HANDLERS: dict[str, request.Handler] = {
    "getPortal": status.read,
    "getPortalGraph": graph.read,
    "getPortalDenials": denials.read,
    "getPortalForecast": forecast.read,
}
TOKEN = "plk_test." + "s" * 43


class Portal:
    """A link's view of one entitlement, at a time."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        entitlement_id: str,
        monkeypatch: pytest.MonkeyPatch,
        now: int,
    ) -> None:
        monkeypatch.setattr("shared.api.app.now_ms", lambda: now)
        record: Item = {
            "hash": auth.hash_key(TOKEN),
            "kind": "portal",
            "scopes": ["viewer"],
            "entitlementId": entitlement_id,
            "expiresAt": now // 1000 + 60,
        }
        dynamodb.execute(Put(credential_key("plk_test"), record))
        self._serve = app.serve(HANDLERS, app.Context({}, dynamodb))

    def get(self, path: str, **query: str) -> Any:
        import json

        answer = self._serve(event(f"GET /v1/portal{path}", query=query, key=TOKEN), None)
        assert answer["statusCode"] == 200, answer["body"]
        return json.loads(answer["body"])


@pytest.fixture(scope="module")
def clean(engine: DynamoDBLocal) -> Clean:
    lived = Clean(Life(engine.url, 11, 180, is_deleted=False))
    assert len({key for _, key in lived.life.denied}) > 1
    assert lived.life.requests_denied
    return lived


def in_zone(clean: Clean, zone: str) -> None:
    key = entitlement_key(clean.life.id)
    item = clean.dynamodb.execute(Get(key)) or {}
    item["document"] = {**item["document"], "timeZone": zone}
    clean.dynamodb.execute(Put(key, {n: v for n, v in item.items() if n not in ("pk", "sk")}))


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_denials_by_day_and_person(
    clean: Clean, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    life = clean.life
    in_zone(clean, zone)
    result = Portal(clean.dynamodb, life.id, monkeypatch, life.end + HOUR_MS).get(
        "/denials", **{"from": to_rfc3339(START // 1000 * 1000)}
    )
    days: dict[str, list[str]] = {}
    for at, key in life.denied:
        local = datetime.fromtimestamp(at / 1000, zone_of(zone))
        days.setdefault(local.date().isoformat(), []).append(key)
    assert result["days"] == [
        {"date": date, "attempts": len(keys), "people": len(set(keys))}
        for date, keys in sorted(days.items())
    ]
    assert {each["seatKey"]: each["attempts"] for each in result["persons"]} == Counter(
        key for _, key in life.denied
    )
    assert (result["attempts"], result["people"]) == (
        len(life.denied),
        len({key for _, key in life.denied}),
    )


def test_more_denials_than_an_answer_has_are_still_counted(
    clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts and days are complete; people are the recent ones, and it says so."""
    life = clean.life
    in_zone(clean, "America/New_York")
    portal = Portal(clean.dynamodb, life.id, monkeypatch, life.end + HOUR_MS)
    since = {"from": to_rfc3339(START // 1000 * 1000)}
    whole = portal.get("/denials", **since)
    assert whole["isComplete"] is True
    monkeypatch.setattr(denials, "READ", 1)
    result = portal.get("/denials", **since)
    assert result["isComplete"] is False
    assert result["attempts"] == whole["attempts"] == len(life.denied)
    assert [(each["date"], each["attempts"]) for each in result["days"]] == [
        (each["date"], each["attempts"]) for each in whole["days"]
    ]
    assert {each["people"] for each in result["days"]} == {None}
    assert 0 < result["people"] <= whole["people"]


@pytest.mark.parametrize("meter", [SEATS, EXPORTS])
@pytest.mark.parametrize(
    ("days", "zone"),
    [
        (1, "UTC"),
        (10, "Asia/Kolkata"),
        (100, "UTC"),
        (100, "America/New_York"),
        (100, "Asia/Kolkata"),
    ],
)
def test_the_graph_is_what_the_records_say(
    clean: Clean, monkeypatch: pytest.MonkeyPatch, meter: str, days: int, zone: str
) -> None:
    life = clean.life
    in_zone(clean, zone)
    now = life.end + HOUR_MS
    key = usage_of(meter)
    query = {"usageKey": key} if key else {}
    since = now - days * DAY_MS
    result = Portal(clean.dynamodb, life.id, monkeypatch, now).get(
        "/graph", **{"from": to_rfc3339(since // 1000 * 1000)}, **query
    )
    bounds = [from_rfc3339_ms(each) for each in (*result["starts"], result["to"])]
    start, end = bounds[0], bounds[-1]
    assert start == from_rfc3339_ms(result["from"]) <= since
    assert end >= now
    lengths = {later - earlier for earlier, later in pairwise(bounds)}
    if days < 100:
        assert lengths == {BUCKET_MS if days == 1 else HOUR_MS}
    else:
        # Each begins with the hour in which a day of the zone does, the next day in its turn.
        tz = zone_of(zone)
        dates = [datetime.fromtimestamp((at + HOUR_MS) / 1000 - 1, tz) for at in bounds]
        assert {each.hour for each in dates} == {0}
        first = dates[0].date().toordinal()
        assert [each.date().toordinal() for each in dates] == [
            first + number for number in range(len(dates))
        ]
    fine = clean.dynamodb.run(queries.records(life.id, start, end, now, meter))
    denied = life.denied if meter == SEATS else life.requests_denied
    by_hour: dict[int, set[str]] = {}
    for at, who in denied:
        by_hour.setdefault(at - at % HOUR_MS, set()).add(who)
    for number, (at, until) in enumerate(pairwise(bounds)):
        usage = fine.usage(at, until)
        names = ("lowest", "highest", "closing", "demand")
        shown = tuple(result[name][number] for name in names)
        if usage.is_known and at < now:
            hours = range(at - at % HOUR_MS, until, HOUR_MS)
            most = max(len(by_hour.get(hour, ())) for hour in hours)
            demand = usage.highest + most if meter == SEATS else None
            assert shown == (usage.lowest, usage.highest, usage.closing, demand), to_rfc3339(at)
        else:
            assert shown == (None, None, None, None)
    expected: Counter[str] = Counter()
    for at, _ in denied:
        hour = at - at % HOUR_MS
        if hour >= start - start % HOUR_MS:
            mark = hour if days < 100 else max(each for each in bounds if each <= hour)
            expected[to_rfc3339(mark)] += 1
    assert {mark["from"]: mark["attempts"] for mark in result["denials"]} == expected
    limits = [(each["purchased"], each["hardCap"]) for each in result["limits"]]
    assert limits[-1] == tuple(fine.usage(start, end).limits[-1][1:])


def test_who_was_turned_away_is_in_the_forecast(
    engine: DynamoDBLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cap of three is always reached; each week one more is turned away."""
    dynamodb = open_client(engine.url, create_table(engine.url))
    begin = 2_500_070_400_000
    story = Story(dynamodb, begin, seatCount=3, overdraftSeatLimit={"type": "none"})
    for person in range(3):
        assert story.take(f"user{person}", begin + HOUR_MS + person)
    weeks = 5
    for week in range(weeks):
        for person in range(week):
            at = begin + week * 7 * DAY_MS + 2 * HOUR_MS + person
            assert not story.take(f"late{person}", at)
    now = begin + (weeks - 1) * 7 * DAY_MS + 6 * DAY_MS
    result = Portal(dynamodb, story.id, monkeypatch, now).get("/forecast")
    assert (result["status"], result["perWeek"]) == ("ready", 1.0)
    assert result["includesDenied"] is True
    assert result["purchased"]["status"] == "met"


def test_a_forecast_of_weeks_that_grow(
    engine: DynamoDBLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One seat more a week, ten purchased: in the tenth week all are in use."""
    dynamodb = open_client(engine.url, create_table(engine.url))
    begin = 2_500_070_400_000  # the first moment of a day
    story = Story(
        dynamodb, begin, seatCount=10, overdraftSeatLimit={"type": "absolute", "value": 2}
    )
    for week in range(6):
        held = story.take(f"user{week}", begin + week * 7 * DAY_MS + HOUR_MS)
        assert held
        portal = Portal(dynamodb, story.id, monkeypatch, begin + week * 7 * DAY_MS + 6 * DAY_MS)
        result = portal.get("/forecast")
        if week < forecast.FEWEST_WEEKS:
            assert result["status"] == "insufficient_data" or week == forecast.FEWEST_WEEKS - 1
    assert result["status"] == "ready"
    assert (result["perWeek"], result["perWeekLow"], result["perWeekHigh"]) == (1.0, 1.0, 1.0)
    now = begin + 5 * 7 * DAY_MS + 6 * DAY_MS
    met = datetime.fromtimestamp((now + 4 * 7 * DAY_MS) / 1000, zone_of("Europe/Berlin"))
    assert result["purchased"]["status"] == "expected"
    assert result["purchased"]["date"] == met.date().isoformat()
    assert (
        result["purchased"]["earliest"]
        == result["purchased"]["latest"]
        == result["purchased"]["date"]
    )
    assert result["hardCap"]["date"] > result["purchased"]["date"]
    for person in range(4):
        story.take(f"more{person}", now - HOUR_MS + person)
    result = Portal(dynamodb, story.id, monkeypatch, now).get("/forecast")
    assert result["purchased"]["status"] == "met"


def test_a_forecast_of_a_usage_limit(
    engine: DynamoDBLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten a day of five hundred: after fifty days, unless the period ends before."""
    from shared.history.buckets import UsageBucket
    from shared.history.changes import COUNTS
    from shared.history.level import Level
    from shared.usage.terms import new_counter

    dynamodb = open_client(engine.url, create_table(engine.url))
    now = 2_500_070_400_000 + 20 * DAY_MS + 5 * HOUR_MS
    limit = {
        "key": "exports",
        "limit": 500,
        "overdraftLimit": {"type": "none"},
        "resetSchedule": "never",
    }
    story = Story(dynamodb, now - 60 * DAY_MS, usageLimits=[limit])
    terms = usage_terms(story.document)["exports"]
    counter = new_counter(story.id, "exports", terms, Change("k", "r", now - 60 * DAY_MS))
    dynamodb.execute(counter)
    meter = usage_meter("exports")
    today = now - now % DAY_MS
    for number in range(10):
        start = today - (10 - number) * DAY_MS
        level = Level(10 * (number + 1), 500, 500)
        bucket = UsageBucket(
            start,
            number + 1,
            start + 1,
            level,
            level.used - 10,
            level.used,
            0,
            0,
            0,
            {**dict.fromkeys(COUNTS, 0), "consumed": 10},
            ((start, 500, 500),),
            (),
            (),
            None,
        )
        name = bucket_name(start)
        dynamodb.execute(Put(usage_bucket_key(story.id, meter, name), bucket.to_item(None)))
        dynamodb.execute(Put(rollup_key(story.id, meter, "days", name), bucket.to_item(start)))
    dynamodb.execute(
        Update(
            usage_key(story.id, "exports"),
            "SET #left = :left",
            "",
            {"#left": "left"},
            {":left": 400},
        )
    )
    result = Portal(dynamodb, story.id, monkeypatch, now).get("/forecast", usageKey="exports")
    assert (result["status"], result["perWeek"]) == ("ready", 70.0)
    expected = datetime.fromtimestamp((now + 40 * DAY_MS) / 1000, zone_of("Europe/Berlin"))
    assert result["purchased"]["date"] == expected.date().isoformat()
    assert result["hardCap"] is None, "it is the same"
