"""Reports: what they look like, how they are made whatever fails, who may open them."""

import csv
import io
import json
import re
import shutil
import subprocess
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError
from markupsafe import escape

from functions.manage import report_files
from functions.notify.report_candidates import ReportCandidates, mark_level
from functions.report import evidence, handler, pipeline, sales_report
from functions.report.columns import COLUMNS
from functions.report.metrics import Period
from functions.report.pipeline import Mailing
from local.dynamodb import DynamoDBLocal
from shared import aws, observability, report_links, signed_tokens
from shared.api import app
from shared.api.auth import hash_key
from shared.clock import from_rfc3339_ms, to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    CANDIDATE_SHARDS,
    CANDIDATES_NOW,
    FOLLOW_UP_ENTRY,
    SEATS,
    entitlement_key,
    episode_key,
    follow_up_key,
    report_candidate_key,
    report_candidate_shard,
    report_key,
    report_series_key,
    seat_record_key,
    seat_request_key,
    usage_bucket_key,
    usage_meter,
)
from shared.dynamodb.requests import Delete, Get, Item, Operation, Put, Query, Unavailable
from shared.history.aggregator import UsageAggregator
from shared.history.buckets import bucket_name, bucket_start
from shared.history.changes import ChangeRecord
from shared.history.level import Level
from shared.sales import follow_up
from tests.support.life import strip
from tests.support.reports import Maker
from tests.support.requests import BOOTSTRAP_KEY, event
from tests.support.sampling import IS_SOAK, sampled
from tests.support.seats import new_id
from tests.support.stories import HOUR, START, Story
from tests.support.tables import Crash, create_table, faulty_client, open_client, read_item

DAY = 24 * HOUR
QUARTER = 900_000
WHOLE = Period(START - START % QUARTER - DAY, START - START % QUARTER + 9 * DAY, 0, 0)
PERIOD = WHOLE._replace(until=WHOLE.end, previous=WHOLE.start - 10 * DAY)
NOW = PERIOD.end
PRICE = {"amount": "30.00", "currency": "USD", "per": "month"}
LONG_AGO = START - 300 * DAY
HOSTILE = '=HYPERLINK("http://evil.example","x")'


@pytest.fixture
def dynamodb(engine: DynamoDBLocal) -> DynamoDBClient:
    return open_client(engine.url, create_table(engine.url))


@pytest.fixture(autouse=True)
def _fresh_secrets() -> None:
    signed_tokens._known.clear()


def sold(dynamodb: DynamoDBClient, denied: int = 1, **changes: Any) -> Story:
    """Three seats in use of two purchased for an hour, and some people denied."""
    story = Story(dynamodb, **{"unitPrice": PRICE, **changes})
    taken = [
        story.take(name, START + 1_000 * n) for n, name in enumerate(("alice", "bob", "carol"))
    ]
    for number in range(denied):
        story.take(f"denied{number}", START + 10_000 + number)
        story.take(f"denied{number}", START + 20_000 + number)
    story.release(taken[0], START + HOUR)
    return story


def made(dynamodb: DynamoDBClient, **changes: Any) -> tuple[Maker, dict[str, Any]]:
    maker = Maker(dynamodb)
    report = maker.make(maker.ask(PERIOD, NOW, **changes))
    assert report["status"] == "published", report
    return maker, report


def entries(maker: Maker, report: dict[str, Any]) -> list[dict[str, Any]]:
    return list(maker.json(report)["entitlements"])


# --- What it says -----------------------------------------------------------------------------------


def test_an_entitlement_s_entry(dynamodb: DynamoDBClient) -> None:
    story = sold(dynamodb, denied=2)
    maker, report = made(dynamodb)
    [entry] = entries(maker, report)
    seats = entry["seats"]
    assert entry["entitlementId"] == story.id
    assert (seats["peak"], seats["purchased"], seats["hardCap"]) == (3, 2, 3)
    assert from_rfc3339_ms(seats["peakAt"]) == START + 2_000
    assert seats["overdraftSeconds"] == (HOUR - 2_000) // 1000
    assert seats["seatHours"] == round((HOUR - 2_000) / HOUR, 3)
    assert (seats["overdraftSeats"], seats["deniedSeats"], seats["deniedAttempts"]) == (1, 2, 4)
    assert seats["suggested"]["demand"] == 5, "three in use and two turned away at once"
    assert entry["monthlyValue"] == {"amount": "90.00", "currency": "USD"}
    assert entry["followUp"]["state"] == "open"
    [call] = report["summary"]["calls"]
    assert call["entitlementId"] == story.id
    assert entry["score"] == call["score"] > 0
    assert report["summary"] == {
        "calls": [call],
        "entitlements": 1,
        "inOverdraft": 1,
        "denied": 1,
        "deniedSeats": 2,
        "deniedRequests": 0,
        "deniedAttempts": 4,
        "underUsed": 0,
        "digest": None,
        "seatHours": str(seats["seatHours"]),
        "monthlyValue": [entry["monthlyValue"]],
    }


def test_who_has_nothing_to_report_is_not_looked_at(dynamodb: DynamoDBClient) -> None:
    quiet = Story(dynamodb, seatCount=10)
    quiet.take("alice", START)
    near = Story(dynamodb, seatCount=10)
    for number in range(9):
        near.take(f"user{number}", START + number)
    before = Story(dynamodb, LONG_AGO, seatCount=1)
    before.release(before.take("alice", START - 40 * DAY), START - 39 * DAY)
    maker, report = made(dynamodb)
    assert [entry["entitlementId"] for entry in entries(maker, report)] == [near.id]
    found = [
        entitlement_id
        for shard in range(CANDIDATE_SHARDS)
        for entitlement_id in dynamodb.run(evidence.candidates(shard, PERIOD))
    ]
    assert found == [near.id]


def test_use_that_goes_on_without_a_change_is_reported(dynamodb: DynamoDBClient) -> None:
    """Nothing happened for months: the mark of what is near now leads there."""
    story = Story(dynamodb, LONG_AGO, seatCount=1)
    story.take("alice", START - 200 * DAY)
    maker, report = made(dynamodb)
    [entry] = entries(maker, report)
    assert entry["entitlementId"] == story.id
    assert entry["seats"]["peakAt"] == maker.json(report)["period"]["from"]
    assert entry["seats"]["previous"]["peak"] == 1
    # And once it is over, the months in between have marks.
    other = Story(dynamodb, LONG_AGO, seatCount=1)
    other.release(other.take("alice", START - 200 * DAY), START + 300 * DAY)
    report = maker.make(maker.ask(PERIOD, NOW))
    assert {entry["entitlementId"] for entry in entries(maker, report)} == {story.id, other.id}


@pytest.fixture(scope="module")
def two_sold(engine: DynamoDBLocal) -> DynamoDBClient:
    """Two entitlements with something to report, for tests that change nothing."""
    dynamodb = open_client(engine.url, create_table(engine.url))
    sold(dynamodb)
    sold(dynamodb, customer={"name": "Acme", "externalId": "acme-7"})
    return dynamodb


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"customer": "Acme"}, 2),
        ({"customer": "acme-7"}, 1),
        ({"customer": "acme"}, 0),
        ({"product": "CAD <Pro>"}, 2),
        ({"product": "Other"}, 0),
        ({"accountOwner": "owner@vendor.example"}, 2),
        ({"accountOwner": "x@vendor.example"}, 0),
        ({"customer": "Acme", "product": "Other"}, 0),
    ],
)
def test_filters(two_sold: DynamoDBClient, filters: dict[str, str], found: int) -> None:
    maker, report = made(two_sold, filters=filters)
    assert len(entries(maker, report)) == found


def test_one_entitlement_only(dynamodb: DynamoDBClient) -> None:
    sold(dynamodb)
    story = sold(dynamodb)
    maker, report = made(dynamodb, filters={"entitlementId": story.id})
    assert [entry["entitlementId"] for entry in entries(maker, report)] == [story.id]


def test_currencies_are_never_mixed_and_a_missing_price_hides_nobody(
    dynamodb: DynamoDBClient,
) -> None:
    sold(dynamodb)
    unpriced = sold(dynamodb, denied=5, unitPrice=None)
    sold(dynamodb, denied=2, unitPrice={"amount": "5000", "currency": "JPY", "per": "year"})
    deleted = sold(dynamodb, denied=9)
    key = entitlement_key(deleted.id)
    item = {k: v for k, v in read_item(dynamodb, key).items() if k not in ("pk", "sk")}
    dynamodb.execute(Put(key, {**item, "status": "deleted"}))
    maker, report = made(dynamodb)
    result = entries(maker, report)
    scores = [entry["score"] for entry in result]
    assert scores == sorted(scores, reverse=True)
    calls = maker.json(report)["calls"]
    assert [each["score"] for each in calls] == scores[:-1]
    assert unpriced.id in {each["entitlementId"] for each in calls}
    assert (result[-1]["entitlementId"], scores[-1]) == (deleted.id, 0)
    assert report["summary"]["monthlyValue"] == [
        {"amount": "1250.00", "currency": "JPY"},
        {"amount": "60.00", "currency": "USD"},
    ]


def test_what_was_deleted_is_evidence_and_no_opportunity(dynamodb: DynamoDBClient) -> None:
    story = sold(dynamodb)
    key = entitlement_key(story.id)
    item = {k: v for k, v in read_item(dynamodb, key).items() if k not in ("pk", "sk")}
    dynamodb.execute(Put(key, {**item, "status": "deleted"}))
    maker, report = made(dynamodb)
    [entry] = entries(maker, report)
    assert (entry["status"], entry["monthlyValue"]) == ("deleted", None)
    assert entry["seats"]["suggested"]["additional"] == 2
    assert report["summary"]["monthlyValue"] == []


def test_a_report_of_nothing(dynamodb: DynamoDBClient) -> None:
    maker, report = made(dynamodb)
    assert entries(maker, report) == []
    assert report["summary"]["entitlements"] == 0
    assert "No entitlement was in overdraft" in maker.file(report, "html").decode()
    assert len(maker.file(report, "csv").decode("utf-8-sig").splitlines()) == 1


def test_candidates_of_now_follow_usage_whichever_process_writes_them(
    dynamodb: DynamoDBClient,
) -> None:
    """Two processes of notify take turns; then a month passes without any change."""
    processes = [ReportCandidates(), ReportCandidates()]
    story = Story(dynamodb, LONG_AGO, seatCount=1)
    key = report_candidate_key(story.id, CANDIDATES_NOW)
    at = START - 200 * DAY
    for turn in range(3):
        story.candidates = processes[0]
        held = story.take("alice", at + turn * DAY)
        assert dynamodb.execute(Get(key)), turn
        if turn < 2:
            story.candidates = processes[1]
            story.release(held, at + turn * DAY + HOUR)
            assert not dynamodb.execute(Get(key)), turn
    maker, report = made(dynamodb)
    assert [entry["entitlementId"] for entry in entries(maker, report)] == [story.id]


def test_what_ends_while_the_report_is_planned_is_found(dynamodb: DynamoDBClient) -> None:
    story = Story(dynamodb, LONG_AGO, seatCount=1)
    held = story.take("alice", START - 200 * DAY)
    steps = evidence.candidates(report_candidate_shard(story.id), PERIOD)
    query = next(steps)
    found: dict[str, set[str]] = {}
    try:
        while True:
            query = steps.send(dynamodb.execute(query))
            if held:  # between two of its reads
                story.release(held, PERIOD.end + DAY)
                held = ""
    except StopIteration as stopped:
        found = stopped.value
    assert found == {story.id: {SEATS}}


def test_who_was_denied_and_then_served_is_counted_once(dynamodb: DynamoDBClient) -> None:
    story = Story(dynamodb, seatCount=2, overdraftSeatLimit={"type": "none"}, unitPrice=PRICE)
    for number in range(5):
        story.take(f"user{number}", START + number)
    story.change(START + 10, seatCount=4)
    for number in range(2, 5):
        story.take(f"user{number}", START + 20 + number)
    maker, report = made(dynamodb)
    [entry] = entries(maker, report)
    assert entry["seats"]["suggested"]["demand"] == 5, "2 and 3 at first, then 4 and 1"
    assert entry["seats"]["deniedSeats"] == 3


def test_limits_at_the_beginning_and_after_each_change(dynamodb: DynamoDBClient) -> None:
    story = sold(dynamodb)
    story.change(START + 2 * HOUR, seatCount=7)
    maker, report = made(dynamodb)
    content = maker.file(report, "csv").decode("utf-8-sig")
    [row] = csv.DictReader(io.StringIO(content, newline=""))
    began, changed = row["limits"].split("; ")
    assert began.endswith(" 2/3")
    assert changed == f"{to_rfc3339(START + 2 * HOUR)} 7/8"
    shard = maker.file(report, "html").decode()
    assert "seats: 2 purchased, at most 3" in shard
    assert "seats: 7 purchased, at most 8" in shard


def test_a_period_before_the_evidence_is_not_compared_with(dynamodb: DynamoDBClient) -> None:
    maker = Maker(dynamodb)
    old = Story(dynamodb, LONG_AGO, seatCount=1)
    old.take("alice", START - 200 * DAY)
    for later, is_told in ((400 * DAY, True), (400 * DAY + QUARTER, False)):
        [entry] = entries(maker, maker.make(maker.ask(PERIOD, PERIOD.previous + later)))
        assert (entry["seats"]["previous"] is not None) is is_told


def test_the_level_before_the_period_is_known_as_long_as_evidence_is_stored(
    dynamodb: DynamoDBClient,
) -> None:
    """Nothing changed for 500 days: the level goes 400 days after the change, not at once."""
    story = Story(dynamodb, LONG_AGO, seatCount=1)
    held = story.take("alice", LONG_AGO + HOUR)
    changed = LONG_AGO + 500 * DAY
    story.release(held, changed)
    pk = usage_bucket_key(story.id, SEATS, "").pk
    *_, before, latest = dynamodb.execute(Query("pk = :pk", {":pk": pk})).items
    assert "ttl" not in latest
    assert before["ttl"] == bucket_start(changed) // 1000 + 400 * 86_400


# --- Forms ------------------------------------------------------------------------------------------


CSV_NAMES = (
    HOSTILE,
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\tx",
    "＝1+1",
    "\r=1",
    'a,"b"\nc',
    "Acme;=1+1",
    "Acme;  @SUM(A1)",
    "a\t-2+3",
    "x=1; y",
    'x;"=1+41;y',
    'x;"" -1',
)


def rename_customer(dynamodb: DynamoDBClient, entitlement_id: str, name: str) -> None:
    key = entitlement_key(entitlement_id)
    item = read_item(dynamodb, key)
    item["document"]["customer"]["name"] = name
    dynamodb.execute(Put(key, strip(item)))


def test_csv_cannot_become_a_formula(dynamodb: DynamoDBClient) -> None:
    story = sold(dynamodb)
    for name in CSV_NAMES:
        rename_customer(dynamodb, story.id, name)
        maker, report = made(dynamodb)
        check_csv(maker.file(report, "csv").decode("utf-8-sig"), name)


def check_csv(content: str, name: str) -> None:
    [row] = csv.DictReader(io.StringIO(content, newline=""))
    result = row["customer"]
    assert result.replace("'", "") == name, "nothing is lost"
    # However a spreadsheet cuts it: no part begins as a formula does.
    assert not [
        part
        for part in re.split("[;\t\r\n]", result)
        if part.strip().lstrip('"')[:1] in "=+-@＝＋－＠" and part.strip()
    ]
    assert (result == name) == (name in ('a,"b"\nc', "x=1; y"))
    assert content.startswith('"score","customer","'), "a ; within a text does not cut it"
    assert row["peak"] == "3"
    assert row["monthlyValue"] == "60.00"


# A place on the page; calling and writing to a contact.
INSIDE = ("#ent_", "tel:", "mailto:")


class Links(HTMLParser):
    """Every attribute that leads anywhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            f"{tag}.{name}"
            for name, value in attrs
            if name in ("src", "href", "action") and not str(value).startswith(INSIDE)
        ]


def test_the_page_loads_nothing_and_shows_names_as_text(dynamodb: DynamoDBClient) -> None:
    name = "<script>alert(1)</script>"
    sold(dynamodb, customer={"name": name, "externalId": None}, product='"><img src=x>')
    maker, report = made(dynamodb)
    shard = maker.file(report, "html").decode()
    assert "<script" not in shard
    assert "<img" not in shard
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shard
    assert "default-src 'none'" in shard
    assert "url(" not in shard
    links_of = Links()
    links_of.feed(shard)
    assert links_of.found == [], "nothing is loaded, nothing leads elsewhere"
    assert shard.count("<svg") == 1
    for column in COLUMNS:
        assert str(escape(column.title)) in shard


def test_json_says_what_it_is(dynamodb: DynamoDBClient) -> None:
    sold(dynamodb)
    maker, report = made(dynamodb, formats=["json"])
    result = maker.json(report)
    assert result["version"] == 1
    assert result["changes"] is None
    days = result["entitlements"][0]["seats"]["days"]
    assert len({len(column) for column in days.values()}) == 1, "a figure for each day"
    assert max(days["peak"]) == 3
    assert list(report["files"]) == ["json"]
    folder = report["folder"]
    assert folder.startswith(f"{report['reportId']}/")
    assert set(maker.store.files) == {f"{folder}report.json", f"{folder}rows.jsonl"}


def test_old_files_may_be_cleared_away(dynamodb: DynamoDBClient) -> None:
    sold(dynamodb)
    maker, _ = made(dynamodb)
    maker.store.files.clear()
    report = maker.make(maker.ask(PERIOD, NOW))
    assert (report["status"], report["version"]) == ("published", 2)
    assert maker.json(report)["changes"] is None


def test_no_person_is_named(dynamodb: DynamoDBClient) -> None:
    sold(dynamodb)
    maker, _ = made(dynamodb)
    for name, content in maker.store.files.items():
        if not name.endswith("xlsx"):
            assert not re.search("alice|bob|carol|denied0", content.decode().lower()), name


def test_a_shortage_is_no_sign_of_abuse(dynamodb: DynamoDBClient) -> None:
    """Many people on few seats that change hands want more seats; a loop is the software's."""
    story = Story(dynamodb, seatCount=2)
    at = START
    for number in range(24):  # a seat that goes from hand to hand
        at += 60_000
        story.release(story.take(f"user{number}", at), at + 30_000)
    for name in ("a", "b", "c"):
        story.take(name, at)
    for number in range(25):  # a client that tries without end
        story.take("loop", at + number)
    maker, report = made(dynamodb)
    [entry] = entries(maker, report)
    result = {sign["sign"]: sign for sign in entry["signs"]}
    assert set(result) == {"denial-burst"}
    assert entry["seats"]["activatedSeats"] == 27
    assert entry["seats"]["briefActivations"] == 24
    burst = result["denial-burst"]["worst"]
    assert (burst["deniedAttempts"], burst["deniedSeats"]) == (25, 1)
    assert entry["seats"]["deniedSeats"] == 1, "a retry loop of one person is one person"
    assert entry["seats"]["suggested"]["demand"] == 4


def ask_for_more(
    dynamodb: DynamoDBClient, entitlement_id: str, at: int, seats: int, status: str = "open"
) -> None:
    request_id = f"req_{at}"
    asked: Item = {
        "requestId": request_id,
        "entitlementId": entitlement_id,
        "seats": seats,
        "message": "<b>please</b>",
        "requester": "Ann",
        "requestedAt": at,
        "requestedBy": "plk_x",
        "used": 3,
        "purchased": 2,
        "status": status,
    }
    dynamodb.execute(Put(seat_request_key(entitlement_id, at, request_id), asked))


def test_what_the_customer_asked_for_is_in_the_report(dynamodb: DynamoDBClient) -> None:
    story = sold(dynamodb)
    ask_for_more(dynamodb, story.id, PERIOD.start - 2, 40, status="declined")
    maker, report = made(dynamodb)
    assert entries(maker, report)[0]["requests"] == [], "that was answered before"
    ask_for_more(dynamodb, story.id, PERIOD.start - 1, 3)
    ask_for_more(dynamodb, story.id, START + HOUR, 12)
    ask_for_more(dynamodb, story.id, START + 2 * HOUR, 2, status="answered")
    maker, report = made(dynamodb)
    [entry] = entries(maker, report)
    asked = [(each["seats"], each["status"]) for each in entry["requests"]]
    assert asked == [(2, "answered"), (12, "open"), (3, "open")]
    page = maker.file(report, "html").decode()
    assert "Ann asked for 12 more seats" in page
    assert "2 requests are open: 15 more seats in all." in page
    assert "&lt;b&gt;please&lt;/b&gt;" in page
    [row] = csv.DictReader(io.StringIO(maker.file(report, "csv").decode("utf-8-sig"), newline=""))
    assert (row["requestedSeats"], row["requester"], row["requestStatus"]) == ("15", "Ann", "open")
    assert row["requestMessage"] == "<b>please</b>"


def test_whoever_asks_for_more_is_in_the_report_without_a_shortage(
    dynamodb: DynamoDBClient,
) -> None:
    story = Story(dynamodb, seatCount=20)
    story.take("alice", START)
    ask_for_more(dynamodb, story.id, START + HOUR, 15)
    dynamodb.run(_mark_candidate(story.id))
    maker, report = made(dynamodb)
    [entry] = entries(maker, report)
    assert (entry["requests"][0]["seats"], entry["seats"]["peak"]) == (15, 1)


def _mark_candidate(entitlement_id: str) -> Operation[Any]:
    """As the stream does when a request arrives."""
    month = bucket_name(START)[:7]
    return (yield from ReportCandidates().put(entitlement_id, SEATS, [month]))


def test_one_seat_from_many_devices(dynamodb: DynamoDBClient) -> None:
    story = sold(dynamodb, denied=0)
    [record] = [
        item
        for item in dynamodb.execute(
            Query("pk = :pk", {":pk": seat_record_key(story.id, "").pk})
        ).items
        if item["seatId"] == "bob"
    ]
    devices = [{"device": f"d{n}", "from": START + n, "to": START + n} for n in range(6)]
    old = [{"device": "old", "from": 0, "to": 1}]
    changed = {k: v for k, v in record.items() if k not in ("pk", "sk")} | {
        "devices": devices + old
    }
    dynamodb.execute(Put(seat_record_key(story.id, record["seatKey"]), changed))
    maker, report = made(dynamodb)
    [sign] = entries(maker, report)[0]["signs"]
    assert sign == {
        "sign": "many-devices",
        "seats": 1,
        "most": [{"seatKey": record["seatKey"], "devices": 6}],
    }


# --- Whatever fails -----------------------------------------------------------------------------------


def test_a_report_is_made_whatever_fails(dynamodb: DynamoDBClient, engine: DynamoDBLocal) -> None:
    """A crash at every call of the table: the jobs that come again make the same report."""
    for number in range(3):
        sold(dynamodb, denied=number)
    _, wanted = made(dynamodb)
    store: dict[str, bytes] = {}
    counting = faulty_client(engine.url, dynamodb.name)
    maker = Maker(counting)
    maker.store.files = store
    maker.make(maker.ask(PERIOD._replace(end=PERIOD.end + DAY), NOW))
    calls = counting.calls
    assert calls > 20
    for number, kind in enumerate(("before", "after")):
        first = 1 if IS_SOAK else 1 + 4 * number
        for point in sampled(range(first, calls), 20):
            check_crash(dynamodb, engine.url, point, kind, wanted, store)


def check_crash(
    dynamodb: DynamoDBClient,
    url: str,
    point: int,
    kind: str,
    wanted: dict[str, Any],
    store: dict[str, bytes],
) -> None:
    faulty = faulty_client(url, dynamodb.name)
    maker = Maker(faulty)
    maker.store.files = store
    maker._count = point * 2 + (kind == "after") + 100
    item = maker.ask(PERIOD._replace(end=PERIOD.end + DAY), NOW)
    faulty.calls = 0
    faulty.fault = (point - 1, kind)
    unfinished: list[dict[str, Any]] = [{"reportId": item["reportId"], "step": "plan"}]
    for _ in range(6):
        maker.jobs.clear()
        try:
            maker.work.do(unfinished[0])
        except Crash:
            continue  # the queue sends it again
        unfinished = unfinished[1:] + list(maker.jobs)
        if not unfinished:
            break
    report = read_item(dynamodb, report_key(item["reportId"]))
    assert report["status"] == "published", (point, kind)
    assert report["summary"] == wanted["summary"]
    mine = [name for name in store if report["reportId"] in name]
    names = {name.removeprefix(report["folder"]) for name in mine}
    assert names == {"report.html", "report.xlsx", "report.csv", "report.json", "rows.jsonl"}
    newest = read_item(dynamodb, report_series_key(report["series"]))
    assert newest["latest"] == report["reportId"]


def test_a_large_report_is_made_in_parts(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "PART", 2)
    stories = [sold(dynamodb, denied=number) for number in range(5)]
    maker = Maker(dynamodb)
    item = maker.ask(PERIOD, NOW)
    maker.work.do({"reportId": item["reportId"], "step": "plan"})
    parts = list(maker.jobs)
    assert [each["step"] for each in parts] == ["part", "part", "part"]
    maker.jobs.clear()
    # In another order, one of them twice, and the plan once more: it asks for what is left.
    maker.work.do(parts[2])
    maker.work.do({**parts[0], "step": "plan"})
    assert maker.jobs == parts[:2]
    maker.jobs.clear()
    for each in (parts[0], parts[0], parts[2]):
        maker.work.do(each)
        assert maker.read(item["reportId"])["status"] == "running"
        maker.jobs.clear()
    maker.work.do(parts[1])
    report = maker.read(item["reportId"])
    assert report["status"] == "published"
    shown = entries(maker, report)
    assert [entry["entitlementId"] for entry in shown] == [s.id for s in reversed(stories)]
    for each in parts:
        maker.work.do(each)  # late ones do no harm
    assert maker.read(item["reportId"]) == report


def test_two_reports_of_a_period_at_once_are_two_versions(dynamodb: DynamoDBClient) -> None:
    sold(dynamodb)
    maker = Maker(dynamodb)
    first, second = maker.ask(PERIOD, NOW), maker.ask(PERIOD, NOW + 1)
    read, seen = maker.dynamodb.execute, list[bool]()

    def execute(request: Any) -> Any:
        reply = read(request)
        if request == Get(report_series_key(first["series"])) and not seen:
            seen.append(True)
            maker.dynamodb.execute = read  # type: ignore[method-assign]
            maker.make(second)
        return reply

    maker.dynamodb.execute = execute  # type: ignore[method-assign]
    maker.make(first)
    versions = {maker.read(each["reportId"])["version"] for each in (first, second)}
    assert versions == {1, 2}
    assert maker.read(first["reportId"])["previousReportId"] == second["reportId"]


@pytest.mark.parametrize("point", ["_candidates", "_write"])
def test_two_makers_of_one_report_make_one(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """One comes while another is at it, and knows more: the files are those that the item tells."""
    sold(dynamodb)
    maker = Maker(dynamodb)
    item = maker.ask(PERIOD, NOW)
    plan = {"reportId": item["reportId"], "step": "plan"}
    done = getattr(maker.work, point)

    def slow(*given: Any) -> Any:
        found = done(*given)
        found = list(found) if point == "_candidates" else found
        monkeypatch.undo()
        if point == "_write":  # meanwhile another report of the period, so that versions differ
            maker.make(maker.ask(PERIOD, NOW + 1))
        sold(dynamodb, denied=3)
        maker.work.do(plan)
        return found

    monkeypatch.setattr(maker.work, point, slow)
    maker.work.do(plan)
    report = maker.read(item["reportId"])
    assert report["version"] == (1 if point == "_candidates" else 2)
    result = maker.json(report)
    assert result["version"] == report["version"]
    assert result["summary"]["entitlements"] == report["summary"]["entitlements"]
    assert report["summary"]["entitlements"] == (2 if point == "_candidates" else 1)
    assert len([name for name in maker.store.files if item["reportId"] in name]) == 5


class Reports:
    """The room of report, with this client and files in memory."""

    def __init__(self, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self.maker = Maker(dynamodb, Mailing("s@x.example", ("a@x.example", "b@x.example")))
        self.hidden: list[dict[str, Any]] = []
        self.mails: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.queued: list[dict[str, Any]] = []
        context = app.Context({"BOOTSTRAP_KEY_HASH": hash_key(BOOTSTRAP_KEY)}, dynamodb)
        monkeypatch.setattr(handler, "_context", context)
        routes = {**handler.HANDLERS, "openReportFile": report_files.open_file}
        self.serve = app.serve(routes, context)
        monkeypatch.setattr(handler, "_work", self.maker.work)
        monkeypatch.setattr(handler, "_store", self.maker.store)
        monkeypatch.setattr(aws, "client", lambda _: self)

    def change_message_visibility(self, **given: Any) -> None:
        self.hidden.append(given)

    def send_message_batch(self, Entries: list[dict[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        self.queued.extend(Entries)
        return {}

    def scheduled(self, at: str) -> None:
        """The schedule's run at this time, and the message that it leaves in the queue."""
        handler.handler({"scheduledTime": at}, self)
        message = self.queued.pop()
        assert not self.queued
        record = {"messageId": "m", "receiptHandle": "r", "body": message["MessageBody"]}
        assert handler.handler({"Records": [record]}, self) == {"batchItemFailures": []}

    def send_email(self, **mail: Any) -> dict[str, str]:
        if mail["Destination"]["ToAddresses"][0] in self.refused:
            raise ClientError({"Error": {"Code": "MessageRejected"}}, "SendEmail")
        self.mails.append(mail)
        return {"MessageId": "m"}

    def generate_presigned_url(self, _: str, Params: dict[str, str], ExpiresIn: int) -> str:  # noqa: N803
        return f"https://s3.example/{Params['Key']}?for={ExpiresIn}"

    def call(self, route: str, *args: Any, **kwargs: Any) -> tuple[int, Any, dict[str, str]]:
        answer = self.serve(event(route, *args, **kwargs), None)
        body = answer["body"]
        return answer["statusCode"], json.loads(body) if body else None, answer["headers"]

    def get_remaining_time_in_millis(self) -> int:
        return 60_000

    def work(self, report_id: str, step: str = "plan") -> bool:
        """One job as the queue sends it; whether it was done."""
        record = {
            "messageId": "m1",
            "receiptHandle": "r1",
            "body": json.dumps({"reportId": report_id, "step": step}),
            "attributes": {"ApproximateReceiveCount": "40"},  # most of them without us
        }
        return not handler.handler({"Records": [record]}, self)["batchItemFailures"]


@pytest.fixture
def reports(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> Reports:
    return Reports(dynamodb, monkeypatch)


def test_a_report_that_fails_is_tried_again_and_says_so(
    dynamodb: DynamoDBClient, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold(dynamodb)
    report_id = reports.maker.ask(PERIOD, NOW)["reportId"]
    put = reports.maker.store.put
    monkeypatch.setattr(
        reports.maker.store, "put", lambda *_: (_ for _ in ()).throw(Unavailable("x"))
    )
    assert not reports.work(report_id)
    assert [each["VisibilityTimeout"] for each in reports.hidden] == [handler.WAITS[0]]
    _, result, _ = reports.call("GET /v1/reports/{reportId}", {"reportId": report_id})
    assert (result["status"], result["failedAttempts"]) == ("queued", 1)
    assert result["failure"] == "plan: the table did not answer"
    monkeypatch.setattr(reports.maker.store, "put", put)
    assert reports.work(report_id)
    _, result, _ = reports.call("GET /v1/reports/{reportId}", {"reportId": report_id})
    assert (result["status"], result["failure"]) == ("published", None)


def test_who_was_slower_says_nothing_of_a_published_report(
    dynamodb: DynamoDBClient, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is told twice at once: the one is published while the other looks for its files."""
    sold(dynamodb)
    report_id = reports.maker.ask(PERIOD, NOW)["reportId"]
    with monkeypatch.context() as patched:
        begun: list[Any] = []

        def published_meanwhile(*_: Any) -> Any:
            if not begun:
                begun.append(True)
                reports.maker.work.do({"reportId": report_id, "step": "plan"})
            raise KeyError("gone")

        done = evidence.entries
        patched.setattr(
            evidence, "entries", lambda *a: published_meanwhile() if not begun else done(*a)
        )
        assert not reports.work(report_id)
    report = reports.maker.read(report_id)
    assert (report["status"], report.get("failure")) == ("published", None)


def test_a_part_that_is_done_does_not_count_as_an_attempt(
    dynamodb: DynamoDBClient, reports: Reports
) -> None:
    sold(dynamodb)
    report = reports.maker.make(reports.maker.ask(PERIOD, NOW))
    part = {"reportId": report["reportId"], "step": "part", "number": 0}
    for _ in range(handler.ATTEMPTS + 1):
        assert reports.maker.work.begin(part, NOW // 1000) == 1


def test_a_report_that_cannot_be_made_leaves_nothing(
    dynamodb: DynamoDBClient, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold(dynamodb)
    report_id = reports.maker.ask(PERIOD, NOW)["reportId"]
    monkeypatch.setattr(sales_report, "_calls", lambda *_: 1 / 0)  # after the parts were written
    for _ in range(handler.ATTEMPTS):
        assert not reports.work(report_id)
    assert reports.maker.store.files, "the parts wait for the next attempt"
    with monkeypatch.context() as patched:  # even to delete may fail: the job comes again
        patched.setattr(reports.maker.store, "delete", lambda *_: 1 / 0)
        assert not reports.work(report_id)
    assert reports.maker.read(report_id)["status"] == "failed"
    assert reports.work(report_id)
    report = reports.maker.read(report_id)
    assert (report["status"], report["failure"]) == ("failed", "publish: ZeroDivisionError")
    assert report["failedAttempts"] == handler.ATTEMPTS
    assert reports.maker.store.files == {}
    reports.maker.store.files[f"parts/{report_id}/late"] = b""
    assert reports.work(report_id, "publish"), "a job that comes late clears up"
    assert reports.maker.store.files == {}


def test_a_report_that_was_given_up_stays_so(
    dynamodb: DynamoDBClient, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow attempt goes on while the last one gives the report up: at the end nothing is there."""
    sold(dynamodb)
    for of, point in (
        (reports.maker.work, "_candidates"),
        (evidence, "entries"),
        (reports.maker.work, "_write"),
    ):
        report_id = reports.maker.ask(PERIOD, NOW)["reportId"]
        done = getattr(of, point)

        def slow(*given: Any, done: Any = done, report_id: str = report_id) -> Any:
            found = done(*given)
            reports.maker.work.give_up(report_id)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(of, point, slow)
            assert reports.work(report_id), point
        report = reports.maker.read(report_id)
        assert report["status"] == "failed"
        assert "version" not in report
        assert reports.maker.store.files == {}, point


def test_mail_needs_somebody_to_send_it_to(reports: Reports) -> None:
    status, result, _ = reports.call("POST /v1/reports", body={"sendEmail": True})
    assert (status, result["errors"][0]["pointer"]) == (400, "/sendEmail")


def test_a_report_of_one_owner_s_accounts_goes_to_that_owner(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_SENDER", "overdraft@vendor.example")
    owner = {"accountOwner": "olaf@vendor.example"}
    for body, pointer in (
        ({"emailTo": "accountOwner", "filters": owner}, "/emailTo"),
        ({"emailTo": "accountOwner", "sendEmail": True}, "/emailTo"),
        ({"sendEmail": True}, "/sendEmail"),  # this stack has no recipients
    ):
        status, result, _ = reports.call("POST /v1/reports", body=body)
        assert (status, result["errors"][0]["pointer"]) == (400, pointer)
    body = {"emailTo": "accountOwner", "sendEmail": True, "filters": owner}
    status, asked, _ = reports.call("POST /v1/reports", body=body)
    assert (status, asked["emailTo"]) == (202, "accountOwner")
    assert reports.work(asked["reportId"])
    [mail] = reports.mails
    assert mail["Destination"]["ToAddresses"] == ["olaf@vendor.example"]
    path = {"reportId": asked["reportId"]}
    _, report, _ = reports.call("GET /v1/reports/{reportId}", path)
    assert report["emailedTo"] == ["olaf@vendor.example"]


def test_a_crash_without_an_exception_is_reported_as_well(
    dynamodb: DynamoDBClient, reports: Reports
) -> None:
    """The process was killed each time: nothing was noted but that the job came again."""
    report_id = reports.maker.ask(PERIOD, NOW)["reportId"]
    for _ in range(handler.ATTEMPTS):
        reports.maker.work.begin({"reportId": report_id, "step": "plan"}, NOW // 1000)
    assert reports.work(report_id)
    assert reports.maker.read(report_id)["failure"] == "it took too long, or too much memory"


# --- Mail, links, schedule ----------------------------------------------------------------------------


def test_mail_goes_once_to_each(dynamodb: DynamoDBClient, reports: Reports) -> None:
    sold(dynamodb)
    report_id = reports.maker.ask(PERIOD, NOW, sends_email=True)["reportId"]
    assert reports.work(report_id)
    assert reports.work(report_id)
    assert reports.work(report_id, "publish")
    to = [mail["Destination"]["ToAddresses"] for mail in reports.mails]
    assert to == [["a@x.example"], ["b@x.example"]]
    simple = reports.mails[0]["Content"]["Simple"]
    assert "1 entitlement, USD 60.00 a month" in simple["Subject"]["Data"]
    text, shard = simple["Body"]["Text"]["Data"], simple["Body"]["Html"]["Data"]
    [url] = re.findall(r"XLSX: https://api.example(/v1/report-files/\S+)", text)
    assert f'href="https://api.example{url}"' in shard
    token = url.rpartition("/")[2]
    status, _, headers = reports.call("GET /v1/report-files/{token}", {"token": token}, key=None)
    assert status == 302
    assert (
        headers["location"]
        == f"https://s3.example/{reports.maker.read(report_id)['folder']}report.xlsx?for=300"
    )


def test_an_address_that_is_refused_keeps_nobody_from_the_mail(
    dynamodb: DynamoDBClient, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "PART", 1)  # two parts: what is told comes after the last of them
    for _ in range(2):
        sold(dynamodb)
    report_id = reports.maker.ask(PERIOD, NOW, sends_email=True)["reportId"]
    assert reports.work(report_id)
    first, last = list(reports.maker.jobs)
    reports.maker.work.do(first)
    reports.refused = ["a@x.example"]
    with pytest.raises(pipeline.StepFailed):
        reports.maker.work.do(last)
    result = reports.call("GET /v1/reports/{reportId}", {"reportId": report_id})[1]
    assert (result["status"], result["emailedTo"]) == ("published", ["b@x.example"])
    for _ in range(2):
        assert not reports.work(report_id, "publish")
    result = reports.call("GET /v1/reports/{reportId}", {"reportId": report_id})[1]
    assert result["failure"] == "publish: MailFailed"
    reports.refused = []
    reports.maker.work.do(last)
    result = reports.call("GET /v1/reports/{reportId}", {"reportId": report_id})[1]
    assert (result["failure"], result["emailedTo"]) == (None, ["a@x.example", "b@x.example"])
    to = [mail["Destination"]["ToAddresses"][0] for mail in reports.mails]
    assert to == ["b@x.example", "a@x.example"]


def test_mail_that_is_given_up_leaves_the_report(
    dynamodb: DynamoDBClient, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(observability, "count", counted.append)
    sold(dynamodb)
    report_id = reports.maker.ask(PERIOD, NOW, sends_email=True)["reportId"]
    reports.refused = ["b@x.example"]
    for _ in range(handler.ATTEMPTS):
        assert not reports.work(report_id)
    assert reports.work(report_id)
    assert counted == [*["MailFailed"] * handler.ATTEMPTS, "MailGivenUp"]
    report = reports.maker.read(report_id)
    assert (report["status"], report["failure"]) == ("published", "publish: MailFailed")
    assert len(reports.maker.store.files) == 5


def test_mail_is_for_who_asked_for_it(dynamodb: DynamoDBClient, reports: Reports) -> None:
    sold(dynamodb)
    assert reports.work(reports.maker.ask(PERIOD, NOW)["reportId"])
    assert reports.mails == []


def test_links_expire_and_cannot_be_made_up(dynamodb: DynamoDBClient, reports: Reports) -> None:
    sold(dynamodb)
    report = reports.maker.make(reports.maker.ask(PERIOD, NOW))
    secret = dynamodb.run(signed_tokens.own_secret(report_links.SECRET))
    now = from_rfc3339_ms("2026-11-24T00:00:00Z") // 1000
    good = signed_tokens.seal(secret, [report["reportId"], "csv", now], report_links.CONTEXT)
    assert dynamodb.run(report_links.read(good, now - 1)) == (report["reportId"], "csv")
    assert dynamodb.run(report_links.read(good, now)) is None
    later = 99_999_999_999
    for token in (
        signed_tokens.seal("other", [report["reportId"], "csv", later], report_links.CONTEXT),
        signed_tokens.seal(secret, [report["reportId"], "csv", later], "unsubscribe"),
        signed_tokens.seal(secret, [report["reportId"], "rows", later], report_links.CONTEXT),
        signed_tokens.seal(secret, ["rep_other", "csv", later], report_links.CONTEXT),
        good,
        good[:-1] + "A",
        "x" * 40,
    ):
        status, result, _ = reports.call("GET /v1/report-files/{token}", {"token": token}, key=None)
        assert (status, result["type"].rpartition("/")[2]) == (404, "not-found"), token


def test_the_month_s_report_is_asked_for_once(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        reports.scheduled("2026-11-01T06:00:00Z")
    [report] = reports.call("GET /v1/reports")[1]["items"]
    assert report["period"]["month"] == "2026-10"
    assert report["requestedBy"] == "schedule"
    assert report["sendEmail"] is True
    # Without a time that can be read, now counts.
    monkeypatch.setattr(handler, "now_ms", lambda: from_rfc3339_ms("2026-12-01T06:00:00Z"))
    reports.scheduled("<aws.scheduler.scheduled-time>")
    months = {report["period"]["month"] for report in reports.call("GET /v1/reports")[1]["items"]}
    assert months == {"2026-10", "2026-11"}


def test_asking_for_a_report(reports: Reports) -> None:
    headers = {"idempotency-key": "once"}
    answers = [reports.call("POST /v1/reports", body={}, headers=headers) for _ in range(2)]
    assert [status for status, *_ in answers] == [202, 202]
    assert answers[0][1] == answers[1][1]
    assert answers[1][2]["location"] == f"/v1/reports/{answers[0][1]['reportId']}"
    status, result, _ = reports.call("POST /v1/reports", body={"period": "1999-01"})
    assert (status, result["errors"][0]["pointer"]) == (400, "/period")
    status, _, _ = reports.call("GET /v1/reports/{reportId}", {"reportId": "rep_none"})
    assert status == 404


# --- The workbook, as a spreadsheet program sees it ---------------------------------------------------

NAMES = {
    "office": "urn:oasis:names:tc:opendocument:xmlns:office:1.0",
    "table": "urn:oasis:names:tc:opendocument:xmlns:table:1.0",
    "text": "urn:oasis:names:tc:opendocument:xmlns:text:1.0",
}


def opened(workbook: bytes, folder: Path) -> ElementTree.Element:
    """The workbook opened in LibreOffice, and saved as the XML that tells what it saw."""
    office = shutil.which("soffice")
    assert office, "LibreOffice opens the workbook here: make office"
    (folder / "report.xlsx").write_bytes(workbook)
    subprocess.run(
        [
            office,
            "--headless",
            f"-env:UserInstallation={folder.as_uri()}/profile",
            "--convert-to",
            "fods",
            "--outdir",
            str(folder),
            str(folder / "report.xlsx"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return ElementTree.fromstring((folder / "report.fods").read_text())


def cells(sheet: ElementTree.Element) -> list[list[tuple[str | None, str | None, str]]]:
    """Type, value and text of every cell; repeated ones are written out."""
    rows = []
    for row in sheet.iterfind(".//table:table-row", NAMES):
        found: list[tuple[str | None, str | None, str]] = []
        for cell in row.iterfind("table:table-cell", NAMES):
            kind = cell.get(f"{{{NAMES['office']}}}value-type")
            value = cell.get(f"{{{NAMES['office']}}}value") or cell.get(
                f"{{{NAMES['office']}}}date-value"
            )
            assert cell.get(f"{{{NAMES['table']}}}formula") is None
            text = "\n".join("".join(line.itertext()) for line in cell.iterfind("text:p", NAMES))
            repeated = int(cell.get(f"{{{NAMES['table']}}}number-columns-repeated", "1"))
            found += [(kind, value, text)] * min(repeated, 100)
        rows.append(found)
    return rows


def test_the_workbook_in_libreoffice(dynamodb: DynamoDBClient, tmp_path: Path) -> None:
    sold(dynamodb, denied=2, customer={"name": HOSTILE, "externalId": "=1+1"})
    sold(
        dynamodb, denied=0, unitPrice=None, customer={"name": "Ümläut 株式会社", "externalId": None}
    )
    maker, report = made(dynamodb)
    root = opened(maker.file(report, "xlsx"), tmp_path)
    sheets = {
        sheet.get(f"{{{NAMES['table']}}}name"): cells(sheet)
        for sheet in root.iterfind(".//table:table", NAMES)
    }
    assert list(sheets) == ["Entitlements", "Summary", "Definitions"]
    head, first, second, *_ = sheets["Entitlements"]
    titles = [text for _, _, text in head][: len(COLUMNS)]
    assert titles == [column.title for column in COLUMNS]
    row = dict(zip((column.name for column in COLUMNS), first, strict=False))
    assert row["customer"] == ("string", None, HOSTILE), "a text, and no formula"
    assert row["customerExternalId"] == ("string", None, "=1+1")
    assert row["peak"][:2] == ("float", "3")
    assert row["monthlyValue"][:2] == ("float", "90")
    kind, value, _ = row["peakAt"]
    assert (kind, value) == ("date", to_rfc3339(START + 2_000)[:19])
    other = dict(zip((column.name for column in COLUMNS), second, strict=False))
    assert other["customer"][2] == "Ümläut 株式会社"
    assert other["monthlyValue"][0] is None
    summary = {row[0][2]: row[1][:2] for row in sheets["Summary"] if row and row[0][2]}
    assert summary["Monthly value, USD"] == ("float", "90")
    assert summary["People denied"] == ("float", "2")
    result = {
        row[1][2]: row[2][2] for row in sheets["Definitions"][1:] if len(row) > 2 and row[0][2]
    }
    assert result == {column.name: column.about for column in COLUMNS}
    # How a window shows a sheet is not in what LibreOffice saves without one: read it ourselves.
    with zipfile.ZipFile(io.BytesIO(maker.file(report, "xlsx"))) as parts:
        for number in range(1, len(sheets) + 1):
            sheet = parts.read(f"xl/worksheets/sheet{number}.xml").decode()
            assert '<pane ySplit="1"' in sheet
            assert 'state="frozen"' in sheet


# --- Follow-up ----------------------------------------------------------------------------------------


def states(dynamodb: DynamoDBClient, story: Story) -> list[tuple[str, str | None]]:
    pk = follow_up_key(story.id).pk
    found = dynamodb.execute(
        Query("pk = :pk AND sk >= :low", {":pk": pk, ":low": FOLLOW_UP_ENTRY})
    ).items
    return [(item["state"], item.get("reason")) for item in found if item["sk"] != "STATE"]


def test_a_follow_up_moves_by_itself(dynamodb: DynamoDBClient) -> None:
    story = sold(dynamodb)  # the overdraft ended an hour after it began
    assert states(dynamodb, story) == [("open", "overdraft")]
    at = START + 2 * HOUR
    again = story.take("dave", at)
    assert states(dynamodb, story)[1:] == [], "it is open"
    story.change(at + HOUR, seatCount=3)
    assert states(dynamodb, story)[1:] == [("won", "purchase")]
    story.change(at + 2 * HOUR, seatCount=4)
    assert states(dynamodb, story)[2:] == [], "won is won"
    story.release(again, at + 3 * HOUR)
    for number in range(4):
        story.take(f"more{number}", at + 4 * HOUR + number)
    assert states(dynamodb, story)[2:] == [("open", "overdraft")]


def test_who_is_in_talks_stays_there(dynamodb: DynamoDBClient) -> None:
    story = Story(dynamodb, seatCount=1)
    seen = None
    for state in ("contacted", "dismissed"):
        item = follow_up.change(story.id, seen, START + 1, "key_sales", {"state": state})
        dynamodb.run(_once(follow_up.writes(story.id, seen, [item])))
        first = story.take("a", START + 10 * HOUR * (1 + bool(seen)))
        second = story.take("b", START + 10 * HOUR * (1 + bool(seen)) + 1)
        expected = "contacted" if state == "contacted" else "open"
        assert states(dynamodb, story)[-1][0] == expected
        story.release(first, START + 11 * HOUR * (1 + bool(seen)))
        story.release(second, START + 11 * HOUR * (1 + bool(seen)) + 1)
        seen = dynamodb.execute(Get(follow_up_key(story.id)))


def _once(request: Any) -> Operation[Any]:
    return (yield request)


def test_a_note_keeps_no_move_from_being_made(dynamodb: DynamoDBClient) -> None:
    """The note is written after the overdraft began, but before the stream told of it."""
    entitlement_id = "ent_noted"
    dynamodb.run(follow_up.move(entitlement_id, [follow_up.Move(START, follow_up.OVERDRAFT)]))
    dynamodb.run(follow_up.move(entitlement_id, [follow_up.Move(START + 1, follow_up.PURCHASE)]))
    seen = read_item(dynamodb, follow_up_key(entitlement_id))
    noted = follow_up.change(
        entitlement_id, seen, START + 100, "key_sales", {"note": "thanks", "owner": "x"}
    )
    dynamodb.run(_once(follow_up.writes(entitlement_id, seen, [noted])))
    for _ in range(2):
        dynamodb.run(
            follow_up.move(entitlement_id, [follow_up.Move(START + 50, follow_up.OVERDRAFT)])
        )
        state = read_item(dynamodb, follow_up_key(entitlement_id))
        assert (state["state"], state["version"]) == ("open", 4)
    # Who has decided since is not overruled by what was before.
    decided = follow_up.change(
        entitlement_id, state, START + 200, "key_sales", {"state": "dismissed"}
    )
    dynamodb.run(_once(follow_up.writes(entitlement_id, state, [decided])))
    dynamodb.run(follow_up.move(entitlement_id, [follow_up.Move(START + 150, follow_up.OVERDRAFT)]))
    assert read_item(dynamodb, follow_up_key(entitlement_id))["state"] == "dismissed"


def test_the_last_note_stays_with_the_state(dynamodb: DynamoDBClient) -> None:
    entitlement_id = "ent_last_note"
    noted = follow_up.change(
        entitlement_id, None, START + 9, "key_sales", {"note": "buys on Monday"}
    )
    dynamodb.run(_once(follow_up.writes(entitlement_id, None, [noted])))
    dynamodb.run(follow_up.move(entitlement_id, [follow_up.Move(START + 10, follow_up.PURCHASE)]))
    state = dynamodb.execute(Get(follow_up_key(entitlement_id)))
    assert state is not None
    result = follow_up.view(entitlement_id, dict(state))
    assert (result["state"], result["note"], result["reason"]) == (
        "won",
        "buys on Monday",
        "purchase",
    )
    assert follow_up.entry_view(dict(state))["note"] is None, "it was not said again"


def test_moves_are_made_once_and_in_order(dynamodb: DynamoDBClient) -> None:
    moves = [
        follow_up.Move(START + n, follow_up.OVERDRAFT if n % 2 == 0 else follow_up.PURCHASE)
        for n in range(130)
    ]
    for result in (moves, moves, moves[:7], list(reversed(moves))):
        dynamodb.run(follow_up.move("ent_moved", result))
    state = read_item(dynamodb, follow_up_key("ent_moved"))
    assert (state["state"], state["version"]) == ("won", 130)
    pk = follow_up_key("ent_moved").pk
    found = dynamodb.execute(Query("pk = :pk", {":pk": pk})).items
    kept = [item for item in found if item["sk"] != "STATE"]
    assert [item["changedAt"] for item in kept] == [START + n for n in range(130)]
    assert {item["state"] for item in kept[::2]} == {"open"}


# --- A usage limit, whose level falls by itself -------------------------------------------------------


def test_what_ended_by_itself_is_over(dynamodb: DynamoDBClient) -> None:
    """A month's use in overdraft: its episode and its mark end with the month, unasked."""
    entitlement_id, meter = new_id(), usage_meter("exports")
    over, ends = Level(5, 2, None), START + DAY
    change = ChangeRecord(
        1,
        START,
        "consumed",
        "k",
        "r",
        over,
        None,
        0,
        {},
        {},
        (),
        usage="exports",
        quantity=5,
        period=(START // 1000, ends // 1000),
        until=ends,
    )
    folded = UsageAggregator(None, 0)
    folded.apply(change)
    latest = folded.latest
    assert latest
    assert latest.level.is_near
    [episode] = folded.episodes.values()
    dynamodb.execute(Put(episode_key(entitlement_id, meter, START), episode._asdict()))
    key = usage_bucket_key(entitlement_id, meter, bucket_name(latest.start))
    dynamodb.execute(Put(key, latest.to_item(None)))
    for start, count in ((ends - HOUR, 1), (ends, 0)):
        period = PERIOD._replace(start=start, end=start + DAY, until=start + DAY)
        found = dynamodb.run(evidence._episodes(entitlement_id, meter, period, NOW))
        assert len(found) == count
    # The next use, far below the limit, takes away the mark of what is near now.
    following = change._replace(
        seq=2,
        at=ends + HOUR,
        before=Level(0, 2, None),
        before_at=ends,
        level=Level(1, 2, None),
        quantity=1,
        until=None,
    )
    folded = UsageAggregator(latest, 0)
    folded.apply(following)
    assert folded.latest
    requests = list(
        mark_level(entitlement_id, meter, [following], latest, folded.latest, is_marked=False)
    )
    assert Delete(report_candidate_key(entitlement_id, CANDIDATES_NOW, meter)) in requests
