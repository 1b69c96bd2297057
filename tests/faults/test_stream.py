"""What notify makes of the stream: the same, however its records are delivered.

A busy entitlement is lived on DynamoDB Local; its own stream is read. The records are then
delivered to copies of the table: once and clean, twice and split, late, and with a failure at every
call. Every figure is recounted from the changes by another method.
"""

import random
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from functions.manage import webhook_samples
from local.dynamodb import DynamoDBLocal
from shared.api.schemas.events import EVENTS
from shared.clock import to_rfc3339
from shared.dynamodb.keys import SEAT_SHARD_PREFIX, SEATS, Key, change_key, episode_key
from shared.dynamodb.requests import Item, Put, Request
from shared.events import types as event_types
from shared.history import queries
from shared.history.changes import COUNTS, ChangeRecord
from shared.history.views import episode_view
from tests.support.life import (
    EXPORTS,
    MONTH_END,
    PRIVATE,
    START,
    Clean,
    Life,
    effects,
    overlap,
    queued,
    sent,
    timeline,
)
from tests.support.notifier import QUIET_MS, Notifier, Recorder
from tests.support.sampling import IS_SOAK, sampled
from tests.support.tables import (
    Crash,
    delete_table,
    faulty_client,
    interrupted_client,
    open_client,
)

SEEDS = (0, 7) if IS_SOAK else (7,)


@pytest.fixture(scope="module", params=SEEDS)
def clean(engine: DynamoDBLocal, request: pytest.FixtureRequest) -> Clean:
    return Clean(Life(engine.url, request.param, 180))


def test_a_life_is_busy(clean: Clean) -> None:
    """So that the rest of these tests say something."""
    kinds = {event["type"] for event in clean.recorder.events}
    assert kinds == set(event_types.TYPES) - {
        event_types.EXPIRED,
        event_types.DELETED,
        event_types.ENDPOINT_DISABLED,
        event_types.FOLLOW_UP_UPDATED,
        event_types.REPORT_PUBLISHED,
        event_types.TRUE_UP_PUBLISHED,
        event_types.TRUE_UP_DECIDED,
        event_types.SEATS_REQUESTED,
        event_types.CHANGE_FAILED,
        event_types.FOLLOW_UP_DUE,
        event_types.EXPIRING,
        *event_types.NOTICE_TYPES,
    }
    assert len({key for key in clean.effects if key.pk.startswith("EPISODES")}) > 2
    assert len(clean.life.denied) > 5


def test_every_event_has_the_shape_that_is_written_down(clean: Clean) -> None:
    for event in clean.recorder.events:
        EVENTS[event["type"]].model_validate(event)
    for kind in event_types.TYPES:
        EVENTS[kind].model_validate(webhook_samples.sample("whk_x", kind, START, "nonce"))


def test_the_latest_record_is_kept_however_long_nothing_happens(clean: Clean) -> None:
    """What follows is folded onto it, and read from it."""
    records = [
        item
        for key, item in sorted(clean.effects.items())
        if key.pk.endswith("#seats") and key.pk.startswith("HISTORY#")
    ]
    assert ["ttl" in record for record in records] == [True] * (len(records) - 1) + [False]


def test_a_change_record_names_nobody(clean: Clean) -> None:
    for key, item in clean.effects.items():
        if not key.pk.startswith("SEATS#"):
            assert not any(name in str(item) for name in PRIVATE), item
    for message in clean.recorder.messages:
        assert not any(name in str(message) for name in PRIVATE), message


@pytest.mark.parametrize("size", [1, 7] if IS_SOAK else [7])
def test_every_record_twice_in_split_batches(clean: Clean, size: int) -> None:
    name = clean.life.copy()
    notifier = Notifier(open_client(clean.life.url, name))
    records = clean.life.records
    for start in range(0, len(records), size):
        part = records[start : start + size]
        notifier.deliver_all(part, size)
        notifier.deliver_all(part, size)
    assert effects(clean.life.url, name) == clean.effects
    notifier.deliver_all(records)
    assert effects(clean.life.url, name) == clean.effects
    assert sent(notifier.recorder) == sent(clean.recorder)
    assert queued(notifier.recorder) == queued(clean.recorder)


def test_groups_at_the_same_time(clean: Clean) -> None:
    """As deployed: what becomes of one item does not depend on what is done beside it."""
    name = clean.life.copy()
    notifier = Notifier(open_client(clean.life.url, name), at_once=16)
    notifier.deliver_all(clean.life.records)
    assert effects(clean.life.url, name) == clean.effects
    assert sent(notifier.recorder) == sent(clean.recorder)
    assert queued(notifier.recorder) == queued(clean.recorder)


def test_records_that_were_given_up_and_come_late(clean: Clean) -> None:
    """Each replayed by itself, the last first: all is as if they had come in time."""
    name = clean.life.copy()
    notifier = Notifier(open_client(clean.life.url, name))
    chance = random.Random(1)
    records = clean.life.records
    lost = {number for number in range(1, len(records) - 1) if chance.random() < 0.1}
    kept = [record for number, record in enumerate(records) if number not in lost]
    notifier.deliver_all(kept, 10)
    if any(is_page(records[number]) for number in lost):
        assert effects(clean.life.url, name) != clean.effects
    for number in sorted(lost, reverse=True):
        notifier.deliver_all([records[number]])
    left, right = without_details(effects(clean.life.url, name)), without_details(clean.effects)
    assert left == right
    # A threshold that was passed within the hour may have been found by another change.
    # So may what a usage limit notifies once a period.
    may_differ = (
        event_types.THRESHOLD_REACHED,
        event_types.USAGE_THRESHOLD_REACHED,
        event_types.USAGE_OVERDRAFT_ENTERED,
        event_types.USAGE_OVERDRAFT_EXHAUSTED,
    )
    assert {e for e in sent(notifier.recorder) if e[1] not in may_differ} == {
        e for e in sent(clean.recorder) if e[1] not in may_differ
    }


@pytest.mark.parametrize("number", range(24) if IS_SOAK else range(0, 24, 6))
def test_a_record_comes_late_while_the_next_one_is_read(clean: Clean, number: int) -> None:
    """A redrive beside the stream: what one folds again, the other must not write over."""
    records = clean.life.records
    changes = [place for place, record in enumerate(records) if is_change(record)]
    lost, following = changes[10 + 2 * number], changes[13 + 2 * number]
    name = clean.life.copy()
    dynamodb = open_client(clean.life.url, name)
    kept = [record for place, record in enumerate(records) if place != lost]
    Notifier(dynamodb).deliver_all(kept[: following - 1], 10)
    came: list[bool] = []

    def before(_: int, request: Request[Any]) -> None:
        is_history = isinstance(request, Put) and request.key.pk.startswith("HISTORY#")
        if is_history and not came:
            came.append(True)
            Notifier(dynamodb).deliver_all([records[lost]])

    slow = interrupted_client(clean.life.url, name, before)
    Notifier(slow).deliver_all([records[following]])
    Notifier(dynamodb).deliver_all(kept[following:], 10)
    assert came
    left, right = without_details(effects(clean.life.url, name)), without_details(clean.effects)
    assert left == right
    delete_table(clean.life.url, name)


def is_change(record: dict[str, Any]) -> bool:
    """Whether it is of a new version of the seats."""
    image = record["dynamodb"]
    return is_page(record) and image["NewImage"]["seq"] != image.get("OldImage", {}).get("seq")


def is_page(record: dict[str, Any]) -> bool:
    return bool(record["dynamodb"]["Keys"]["pk"]["S"].startswith(SEAT_SHARD_PREFIX))


def without_details(items: dict[Key, Item]) -> dict[Key, Item]:
    """Without what late records may leave different: a seat's list of past grants, and what was triggered."""
    kept = {}
    for key, item in items.items():
        if key.pk.startswith(("SEATS#", "OVERDRAFT")):
            continue
        kept[key] = {n: value for n, value in item.items() if n not in ("fired", "reached")}
    return kept


FAULTS = ("after", "lost")  # what ends after a call ends before the next one


@pytest.fixture(scope="module")
def short(engine: DynamoDBLocal) -> Clean:
    return Clean(Life(engine.url, 25, 45))


# Groups one by one, and side by side: each kind of fault either way in `make soak`.
WAYS = [(kind, at_once) for kind in (*FAULTS, "some") for at_once in (1, 8)]
SOME_WAYS = [("after", 8), ("lost", 1), ("some", 8)]


@pytest.mark.parametrize(("kind", "at_once"), WAYS if IS_SOAK else SOME_WAYS)
def test_a_failure_at_every_call(short: Clean, kind: str, at_once: int) -> None:
    life, clean = short.life, short
    kinds = {event["type"] for event in clean.recorder.events}
    assert {
        event_types.OVERDRAFT_ENTERED,
        event_types.OVERDRAFT_EXITED,
        event_types.SEAT_DENIED,
    } <= kinds
    assert {event_types.USAGE_OVERDRAFT_ENTERED, event_types.USAGE_DENIED} <= kinds
    table_calls, aws_calls = count_calls(life, at_once)
    assert table_calls > 30
    assert aws_calls > 5
    # The kinds take turns, so that more calls are met by one of them.
    first = 0 if IS_SOAK or kind not in FAULTS else 30 * FAULTS.index(kind) + 15 * (at_once > 1)
    points = range(first, table_calls) if kind in FAULTS else ()
    for point in sampled(points, 480):
        check_fault(life, clean, kind, at_once, table_fault=point)
    if kind != "lost":
        for point in sampled(range(aws_calls), 160):
            check_fault(life, clean, kind, at_once, aws_fault=point)


def count_calls(life: Life, at_once: int) -> tuple[int, int]:
    name = life.copy()
    dynamodb = faulty_client(life.url, name)
    notifier = Notifier(dynamodb, at_once=at_once)
    notifier.deliver_all(life.records)
    return dynamodb.calls, notifier.recorder.calls


def check_fault(
    life: Life,
    clean: Clean,
    kind: str,
    at_once: int,
    *,
    table_fault: int | None = None,
    aws_fault: int | None = None,
) -> None:
    name = life.copy()
    dynamodb = faulty_client(life.url, name)
    notifier = Notifier(dynamodb, at_once=at_once)
    if table_fault is not None:
        dynamodb.fault = (table_fault, kind)
    if aws_fault is not None:
        notifier.recorder.fault = (aws_fault, kind)
    try:
        notifier.deliver_all(life.records)
        # Side by side, how many calls there are differs a little from run to run.
        was_met = dynamodb.calls > (table_fault or 0) or at_once == 1
        assert kind in ("lost", "some") or not was_met
    except Crash:
        # The process is gone; Lambda sends the whole batch to another one.
        again = Notifier(open_client(life.url, name), notifier.recorder, at_once=at_once)
        again.deliver_all(life.records)
    assert effects(life.url, name) == clean.effects, (kind, table_fault, aws_fault)
    assert sent(notifier.recorder) == sent(clean.recorder)
    assert queued(notifier.recorder) == queued(clean.recorder)
    delete_table(life.url, name)


class Refusing(Recorder):
    """A bus that refuses one type of event until it is mended, and a queue that takes everything."""

    refused = event_types.OVERDRAFT_ENTERED

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        taken = [entry for entry in Entries if entry["DetailType"] != self.refused]
        if taken:
            super().put_events(taken)
        results = [
            {"ErrorCode": "x"} if entry["DetailType"] == self.refused else {"EventId": "e"}
            for entry in Entries
        ]
        return {"FailedEntryCount": len(Entries) - len(taken), "Entries": results}


def test_an_entry_that_the_bus_refuses_keeps_nothing_else_from_being_sent(
    engine: DynamoDBLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.notify.publisher.ATTEMPTS", 1)
    life = Life(engine.url, 25, 45)
    clean = Clean(life)
    recorder = Refusing()
    notifier = Notifier(open_client(life.url, life.copy()), recorder)
    failed = notifier.deliver(life.records)
    assert failed is not None
    recorder.refused = "none"
    # Lambda goes on from the record that is named: nothing before it comes again.
    notifier.deliver_all(life.records[failed:])
    assert sent(recorder) == sent(clean.recorder)
    assert queued(recorder) == queued(clean.recorder)


# --- Recounting, by another method --------------------------------------------------------------------


def brief(line: list[tuple[int, ChangeRecord]], start: int, end: int) -> int:
    """Seats released, or expired, within ten minutes of being taken."""
    taken: dict[str, int] = {}
    count = 0
    for at, change in line:
        for seat in change.seats:
            if seat["kind"] == "activated":
                taken[seat["key"]] = change.at
            elif seat["kind"] == "deactivated" and seat["reason"] != "removed":
                count += start <= at < end and change.at - taken[seat["key"]] < 600_000
    return count


def recount(clean: Clean, start: int, end: int, now: int) -> dict[str, Any]:
    """Everything about one interval, from the list of changes alone."""
    line = timeline(clean)
    stretches = [
        (at, (line[n + 1][0] if n + 1 < len(line) else now), change.level)
        for n, (at, change) in enumerate(line)
    ]
    inside = [change for at, change in line if start <= at < end]
    before = [change for at, change in line if at < start]
    # Nothing was in use before the first change; it counts as a level that was there.
    levels = [c.level.used for c in inside] + [c.level.used for c in before[-1:]]
    if not before and inside:
        levels.append(0)
    denied = [(at, key) for at, key in clean.life.denied if start <= at < end]
    counts = {
        name: sum(
            1
            for change in inside
            for seat in change.seats
            if (seat.get("reason") or seat["kind"]) == name
        )
        for name in COUNTS
    }
    counts["brief"] = brief(line, start, end)
    return {
        "lowest": min(levels, default=0),
        "highest": max(levels, default=0),
        "closing": (inside or before)[-1].level.used if inside or before else 0,
        "seat_ms": sum(overlap(a, b, start, end) * lv.used for a, b, lv in stretches),
        "overdraft_ms": sum(overlap(a, b, start, end) for a, b, lv in stretches if lv.overdraft),
        "overdraft_seat_ms": sum(
            overlap(a, b, start, end) * lv.overdraft for a, b, lv in stretches
        ),
        "counts": counts,
        "denied_attempts": len(denied),
        "denied_seats": {key for _, key in denied},
    }


def cuts_of(kind: str, start: int, end: int) -> list[int]:
    from functions.manage.history import _cuts
    from shared.clock import zone_of

    return _cuts(start, end, kind, zone_of("America/New_York"), 100_000)


@pytest.mark.parametrize("interval", ["15m", "hour", "day"])
def test_every_figure_can_be_recounted(clean: Clean, interval: str) -> None:
    now = clean.life.end + 3_600_000
    cuts = cuts_of(interval, START, now)
    assert cuts[0] <= START
    assert cuts[-1] >= now
    found = clean.dynamodb.run(queries.usage(clean.life.id, cuts, now))
    assert len(found) == len(cuts) - 1
    for counted in found if interval != "15m" else found[:400]:
        expected = recount(clean, counted.start, counted.end, now)
        assert {name: getattr(counted, name) for name in expected} == expected
        if counted.is_known and counted.limits:
            inside = [c for at, c in timeline(clean) if at < counted.end]
            level = inside[-1].level
            assert counted.limits[-1][1:] == (level.purchased, level.hard_cap)


def test_a_day_of_23_hours_is_one_day(clean: Clean) -> None:
    cuts = cuts_of("day", START, START + 4 * 86_400_000)
    assert sorted({b - a for a, b in pairwise(cuts)}) == [23 * 3_600_000, 24 * 3_600_000]


def test_episodes_can_be_recounted(clean: Clean) -> None:
    """Stretches above what was purchased, joined where the quiet between was short."""
    episodes: list[dict[str, Any]] = []
    for at, change in timeline(clean):
        is_open = bool(episodes) and episodes[-1]["end"] is None
        if change.level.overdraft:
            if not is_open:
                if episodes and at - episodes[-1]["end"] < QUIET_MS:
                    episodes[-1]["end"] = None
                else:
                    episodes.append({"start": at, "end": None, "peak": 0, "seats": set()})
            granted = {
                s["key"] for s in change.seats if s["kind"] == "activated" and s["overdraft"]
            }
            episodes[-1]["seats"] |= granted
            episodes[-1]["peak"] = max(episodes[-1]["peak"], change.level.used)
        elif is_open:
            episodes[-1]["end"] = at
    pk = episode_key(clean.life.id, SEATS, 0).pk
    found = [item for key, item in sorted(clean.effects.items()) if key.pk == pk]
    now = clean.life.end + 3_600_000
    latest = clean.dynamodb.run(queries.latest_bucket(clean.life.id))
    assert len(found) == len(episodes)
    for item, expected in zip(found, episodes, strict=True):
        assert (item["start"], item.get("end"), item["peak"]) == (
            expected["start"],
            expected["end"],
            expected["peak"],
        )
        assert item.get("distinct", 0) == len(expected["seats"])
        end = expected["end"] or now
        whole = recount(clean, expected["start"], end, now)
        view: Mapping[str, object] = clean.dynamodb.run(
            episode_view(clean.life.id, item, latest, now)
        )
        assert view["overdraftSeatSeconds"] == whole["overdraft_seat_ms"] // 1000
        assert view["overdraftSeconds"] == whole["overdraft_ms"] // 1000
        assert view["deniedAttempts"] == whole["denied_attempts"]
        assert view["deniedSeats"] == len(whole["denied_seats"])


def test_thresholds_trigger_once_per_crossing_and_not_again_within_the_hour(clean: Clean) -> None:
    fired = [
        (event["data"]["threshold"], event["data"]["seq"])
        for event in clean.recorder.events
        if event["type"] == event_types.THRESHOLD_REACHED
    ]
    expected, last = [], dict[int, int]()
    before = 0
    purchased = 3
    for at, change in timeline(clean):
        for percent in (50, 100):
            low = max(1, -(-percent * purchased // 100))
            high = max(1, -(-percent * change.level.purchased // 100))
            if (
                before < low
                and change.level.used >= high
                and at - last.get(percent, 0) >= 3_600_000
            ):
                expected.append((percent, change.seq))
                last[percent] = at
        before, purchased = change.level.used, change.level.purchased
    assert fired == expected


def test_seats_activated_and_denied_are_all_events(clean: Clean) -> None:
    answered = [event["type"] for event in clean.recorder.events]
    changes = [change for _, change in timeline(clean)]
    came = sum(change.counts()["activated"] for change in changes)
    ways = ("released", "lease_expired", "removed")
    went = sum(change.counts()[way] for change in changes for way in ways)
    assert answered.count(event_types.SEAT_ACTIVATED) == came
    assert answered.count(event_types.SEAT_DEACTIVATED) == went
    assert answered.count(event_types.SEAT_DENIED) == len(clean.life.denied)


def test_a_seat_record_has_its_history(clean: Clean) -> None:
    records = {key: item for key, item in clean.effects.items() if key.pk.startswith("SEATS#")}
    for key, item in records.items():
        ends = [
            (at, seat["reason"])
            for at, change in ((change.at, change) for _, change in timeline(clean))
            for seat in change.seats
            if seat["key"] == key.sk and seat["kind"] == "deactivated"
        ]
        assert [(grant["to"], grant["reason"]) for grant in item.get("grants", [])] == ends[-20:]
        assert {each["device"] for each in item["devices"]} <= {"mbp", "pc"}


# --- The usage limit, recounted from what its clients were told ---------------------------------------


def count_line(clean: Clean) -> list[tuple[int, int, int, int]]:
    """What was used from a time on, with the limits: (at, used, purchased, hard cap)."""
    pk = change_key(clean.life.id, 0, 0, meter=EXPORTS).pk
    items = [item for key, item in clean.effects.items() if key.pk == pk]
    changes = sorted((ChangeRecord.of(item) for item in items), key=lambda change: change.seq)
    assert [change.seq for change in changes] == list(range(1, len(changes) + 1))
    line: list[tuple[int, int, int, int]] = []
    used = 0
    for change in changes:
        at = max([change.at, *(each[0] for each in line[-1:])])
        if line and line[-1][0] < MONTH_END <= at:
            line.append((MONTH_END, 0, *line[-1][2:]))
            used = 0
        used += change.quantity
        assert change.level.used == used
        line.append((at, used, change.level.purchased, change.level.hard_cap or 0))
    return line


@pytest.mark.parametrize("interval", ["15m", "hour", "day"])
@pytest.mark.parametrize("rest", [3_600_000, 40 * 86_400_000])
def test_every_figure_of_a_usage_limit_can_be_recounted(
    clean: Clean, interval: str, rest: int
) -> None:
    """Also when nothing happens until long after the next month has begun."""
    now = clean.life.end + rest
    line = count_line(clean)
    assert line[0][0] < MONTH_END < line[-1][0]
    may = MONTH_END + 30 * 86_400_000
    if now >= may:
        line.append((may, 0, *line[-1][2:]))
    cuts = cuts_of(interval, START, now)
    found = clean.dynamodb.run(queries.usage(clean.life.id, cuts, now, EXPORTS))
    stretches = [
        (at, line[n + 1][0] if n + 1 < len(line) else now, used, max(0, used - purchased))
        for n, (at, used, purchased, _) in enumerate(line)
    ]
    for number, counted in enumerate(found):
        start, end = counted.start, counted.end
        near_the_end = any(abs(start - at) < 3 * 86_400_000 for at in (MONTH_END, may))
        if interval != "day" and number > 400 and not near_the_end:
            continue
        inside = [each for each in line if start <= each[0] < end]
        before = [each for each in line if each[0] < start]
        # What falls with the month's end was not held in the month that begins there.
        held = before[-1:] if not inside or inside[0][0] > start else []
        levels = [used for _, used, _, _ in inside + held] + ([] if before else [0])
        assert (counted.lowest, counted.highest) == (min(levels), max(levels)), number
        assert counted.closing == (inside or before or [(0, 0, 0, 0)])[-1][1]
        assert counted.overdraft_ms == sum(
            overlap(a, b, start, end) for a, b, _, over in stretches if over
        )
        for name in ("consumed", "corrected"):
            total = sum(
                quantity
                for at, kind, quantity in clean.life.counted
                if kind == name and start <= at < end
            )
            assert counted.counts[name] == total
        denied = [key for at, key in clean.life.requests_denied if start <= at < end]
        assert counted.denied_attempts == len(denied)
        assert counted.denied_seats == set(denied)


def test_a_usage_limit_notifies_once_a_period(clean: Clean) -> None:
    fired = [
        (event["type"], event["data"].get("threshold"), event["data"]["usage"]["periodStart"])
        for event in clean.recorder.events
        if event["type"].startswith("entitlement.usage.")
        and event["type"] != event_types.USAGE_DENIED
    ]
    assert len(fired) == len(set(fired))
    crossed: set[tuple[str, int | None]] = set()
    for at, used, purchased, cap in count_line(clean):
        if at >= MONTH_END:
            break
        for percent in (50, 100):
            if used * 100 >= percent * purchased:
                crossed.add((event_types.USAGE_THRESHOLD_REACHED, percent))
        if used > purchased:
            crossed.add((event_types.USAGE_OVERDRAFT_ENTERED, None))
        if used >= cap:
            crossed.add((event_types.USAGE_OVERDRAFT_EXHAUSTED, None))
    march = {each[:2] for each in fired if each[2] == "2049-03-01T05:00:00Z"}
    # A limit that is lowered below usage notifies nobody: nothing was consumed.
    assert march <= crossed
    assert {event_types.USAGE_OVERDRAFT_ENTERED, event_types.USAGE_THRESHOLD_REACHED} <= {
        k for k, _ in march
    }


def test_denied_requests_are_all_events(clean: Clean) -> None:
    answered = [
        e["data"]["denial"] for e in clean.recorder.events if e["type"] == event_types.USAGE_DENIED
    ]
    assert len(answered) == len(clean.life.requests_denied)
    assert {each["requestKey"] for each in answered} == {k for _, k in clean.life.requests_denied}


def test_periods_and_corrections_are_stored(clean: Clean) -> None:
    [period] = [item for key, item in clean.effects.items() if key.pk.startswith("PERIODS#")]
    march = [quantity for at, _, quantity in clean.life.counted if at < MONTH_END]
    assert (period["used"], period["periodEnd"]) == (sum(march), MONTH_END // 1000)
    kept = [item for key, item in clean.effects.items() if key.pk.startswith("CORRECTIONS#")]
    answered = [at for at, kind, _ in clean.life.counted if kind == "corrected"]
    assert sorted(item["at"] for item in kept) == sorted(answered)
    assert all((item["quantity"], item["reason"]) == (-1, "a test") for item in kept)


def test_episodes_of_a_usage_limit_end_with_its_period(clean: Clean) -> None:
    expected: list[list[int | None]] = []
    for at, used, purchased, _ in count_line(clean):
        is_open = bool(expected) and expected[-1][1] is None
        if used > purchased and not is_open:
            if expected and at - (expected[-1][1] or 0) < QUIET_MS:
                expected[-1][1] = None
            else:
                expected.append([at, None])
        elif used <= purchased and is_open:
            expected[-1][1] = at
    pk = episode_key(clean.life.id, EXPORTS, 0).pk
    found = [item for key, item in sorted(clean.effects.items()) if key.pk == pk]
    assert [[item["start"], item.get("end")] for item in found] == expected
    now = clean.life.end + 40 * 86_400_000
    latest = clean.dynamodb.run(queries.latest_bucket(clean.life.id, EXPORTS))
    may = to_rfc3339(MONTH_END + 30 * 86_400_000)
    for item, (_, end) in zip(found, expected, strict=True):
        view = clean.dynamodb.run(episode_view(clean.life.id, item, latest, now, EXPORTS))
        assert view["end"] == (may if end is None else to_rfc3339(end)), "it outlives its period"
