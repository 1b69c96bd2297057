"""Every figure of a report, recounted from the change records and from the answers that callers got.

The recount knows nothing of quarter-hour records: it walks through time from change to change, and
through days by the calendar. The month has a change of the clocks, limits that change, an
entitlement that begins in it, one that ends in it, and records that come late.
"""

import itertools
import random
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from functions.report.metrics import Period
from local.dynamodb import DynamoDBLocal
from shared.clock import to_rfc3339
from shared.dynamodb.keys import SEATS, change_key
from shared.history.changes import ChangeRecord
from shared.history.level import Level
from tests.support.life import EXPORTS, MONTH_END, Clean, Life
from tests.support.notifier import QUIET_MS, Notifier
from tests.support.reports import Maker
from tests.support.sampling import IS_SOAK
from tests.support.tables import open_client

ZONE = ZoneInfo("America/New_York")
QUARTER = 900_000


def at(year: int, month: int, day: int, hour: int) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp() * 1000)


FEBRUARY, MARCH = at(2049, 2, 1, 5), at(2049, 3, 1, 5)
APRIL, MAY = MONTH_END, at(2049, 5, 1, 4)
# Whole months; days that cut episodes and a quarter-hour at noon; the night the clocks change.
PERIODS = {
    "march": (MARCH, APRIL, FEBRUARY),
    "april": (APRIL, MAY, MARCH),
    "a day": (at(2049, 3, 13, 12), at(2049, 3, 14, 12), at(2049, 3, 12, 12)),
    "the night": (at(2049, 3, 14, 5), at(2049, 3, 15, 4), at(2049, 3, 13, 6)),
}


class Recount:
    """One meter of a life, step by step."""

    def __init__(self, clean: Clean, meter: str) -> None:
        pk = change_key(clean.life.id, 0, 0, meter=meter).pk
        items = [item for key, item in clean.effects.items() if key.pk == pk]
        self.changes = sorted((ChangeRecord.of(item) for item in items), key=lambda c: c.seq)
        self.steps: list[tuple[int, Level, ChangeRecord | None]] = []
        reached, falls = 0, None
        for change in self.changes:
            if falls is not None and falls <= change.at:
                reached = max(reached, falls)
                self.steps.append((reached, self.steps[-1][1]._replace(used=0), None))
            reached = max(reached, change.at)
            self.steps.append((reached, change.level, change))
            falls = change.until
        if falls is not None:
            self.steps.append((max(reached, falls), self.steps[-1][1]._replace(used=0), None))
        answered = clean.life.denied if meter == SEATS else clean.life.requests_denied
        self.denied = answered

    def stretches(self, start: int, end: int) -> list[tuple[int, int, Level]]:
        """From, to and level, cut to an interval; levels held for no time at all as well."""
        found: list[tuple[int, int, Level]] = []
        for (begin, level, _), (following, *_) in itertools.pairwise(
            [*self.steps, (end + 1, self.steps[-1][1], None)]
        ):
            low, high = max(begin, start), min(following, end)
            if low < high or (start <= begin < end and low == high):
                found.append((low, high, level))
        return found

    def inside(self, start: int, end: int) -> list[ChangeRecord]:
        return [change for when, _, change in self.steps if change and start <= when < end]

    def level_at(self, when: int) -> Level:
        return [level for at, level, _ in self.steps if at <= when][-1]

    def people_denied(self, start: int, end: int) -> set[str]:
        return {key for when, key in self.denied if start <= when < end}

    def first_limits(self, start: int, end: int) -> list[tuple[int, int | None]]:
        limits: list[tuple[int, int | None]] = []
        for _, _, level in self.stretches(start, end):
            if not limits or limits[-1] != level[1:]:
                limits.append((level.purchased, level.hard_cap))
        return limits

    def highest(self, start: int, end: int) -> int:
        return max((level.used for *_, level in self.stretches(start, end)), default=0)

    def over(self, start: int, end: int) -> tuple[int, int]:
        """Milliseconds in overdraft, and times what was above."""
        found = self.stretches(start, end)
        spent = [(high - low, level.overdraft) for low, high, level in found if level.overdraft]
        return sum(ms for ms, _ in spent), sum(ms * over for ms, over in spent)

    def episodes(self, start: int, end: int) -> int:
        """Stretches above what was purchased; what comes back within the quiet time is one."""
        runs: list[list[float]] = []
        is_over = False
        for when, level, _ in self.steps:
            if level.overdraft and not is_over:
                if runs and when - runs[-1][1] < QUIET_MS:
                    runs[-1][1] = float("inf")
                else:
                    runs.append([when, float("inf")])
            elif not level.overdraft and is_over:
                runs[-1][1] = when
            is_over = bool(level.overdraft)
        return sum(begin < end and until > start for begin, until in runs)

    def demand(self, start: int, end: int) -> int:
        most = 0
        for bucket in range(start, end, QUARTER):
            until = min(bucket + QUARTER, end)
            most = max(most, self.highest(bucket, until))
            denied: dict[Any, set[str]] = {}
            for when, key in self.denied:
                if bucket <= when < until:
                    denied.setdefault(self.level_at(when)[1:], set()).add(key)
            for limits, keys in denied.items():
                # Use while these limits were in force, in this quarter-hour.
                levels = [level for *_, level in self.stretches(bucket, until)]
                used = max(level.used for level in levels if level[1:] == limits)
                most = max(most, used + len(keys))
        return most


def days(start: int, end: int) -> list[tuple[int, int, bool]]:
    """The days of the calendar in New York, cut to the period; whether each is a working day."""
    first = datetime.fromtimestamp(start / 1000, ZONE).date()
    found: list[tuple[int, int, bool]] = []
    day = first
    while True:
        begin, following = midnight(day), midnight(day + timedelta(days=1))
        if begin >= end:
            return found
        found.append((max(begin, start), min(following, end), day.isoweekday() <= 5))
        day += timedelta(days=1)


def midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp()) * 1000


def recounted(answered: Recount, start: int, end: int, until: int) -> dict[str, Any]:
    """What a report must say of a meter, in the words of its JSON."""
    end = min(end, until)
    shown = days(start, end)
    over_ms, over_seat_ms = answered.over(start, end)
    peak = answered.highest(start, end)
    working = [(a, b) for a, b, is_working in shown if is_working and answered.highest(a, b) > 0]
    found = answered.stretches(start, end)
    return {
        "purchased": found[-1][2].purchased,
        "hardCap": found[-1][2].hard_cap,
        "limits": answered.first_limits(start, end),
        "peak": peak,
        "peakAt": to_rfc3339(next(low for low, _, level in found if level.used == peak)),
        "overdraftSeconds": over_ms // 1000,
        "overdraftSeatSeconds": over_seat_ms // 1000,
        "overdraftDays": sum(
            any(level.overdraft for *_, level in answered.stretches(a, b)) for a, b, _ in shown
        ),
        "workingDays": len(working),
        "workingDaysAtLimit": sum(
            any(0 < level.used >= level.purchased for *_, level in answered.stretches(a, b))
            for a, b in working
        ),
        "episodes": answered.episodes(start, end),
        "denied": len(answered.people_denied(start, end)),
        "deniedAttempts": sum(start <= when < end for when, _ in answered.denied),
    }


def of_people(answered: Recount, start: int, end: int) -> dict[str, Any]:
    """What a report must say of the seats alone."""
    taken = [
        seat
        for change in answered.inside(start, end)
        for seat in change.seats
        if seat["kind"] == "activated"
    ]
    demands = [(answered.demand(a, b), is_working) for a, b, is_working in days(start, end)]
    used = [each for each in demands if each[0]]
    counted = sorted(wanted for wanted, is_working in used if is_working) or sorted(
        wanted for wanted, _ in used
    )
    # The smallest demand that at least 95 % of the days do not exceed.
    covering = [d for d in counted if sum(x <= d for x in counted) >= 0.95 * len(counted)]
    begun = [level for when, level, _ in answered.steps if when < start]
    spent = [(high - low, level.used) for low, high, level in answered.stretches(start, end)]
    average = Decimal(sum(ms * used for ms, used in spent)) / sum(ms for ms, _ in spent)
    percent = 100 * average / answered.level_at(end).purchased
    return {
        "average": float(average.quantize(Decimal("0.1"), ROUND_HALF_UP)),
        "utilisation": int(percent.quantize(Decimal(1), ROUND_HALF_UP)),
        "activations": len(taken),
        "activatedSeats": len({seat["key"] for seat in taken}),
        "overdraftSeats": len({seat["key"] for seat in taken if seat["overdraft"]}),
        "overdraftAtStart": begun[-1].overdraft if begun else 0,
        "demand": min(covering, default=0),
        "days": len(counted),
    }


def check(report: dict[str, Any], clean: Clean, period: Period) -> None:
    [entry] = report["entitlements"]
    given = {EXPORTS: entry["usage"][0] if entry["usage"] else None, SEATS: entry["seats"]}
    start, end = period.start, min(period.end, period.until)
    for meter, shown in given.items():
        answered = Recount(clean, meter)
        wanted = recounted(answered, period.start, period.end, period.until)
        assert shown is not None
        assert [(each["purchased"], each["hardCap"]) for each in shown["limits"]] == wanted.pop(
            "limits"
        )
        if meter == SEATS:
            wanted["deniedSeats"] = wanted.pop("denied")
            people = of_people(answered, start, end)
            suggested = shown["suggested"]
            assert suggested["demand"] == people.pop("demand")
            assert suggested["days"] == people.pop("days")
            demand = suggested["demand"] if suggested["days"] >= 5 else 0
            assert suggested["seats"] == max(demand, wanted["purchased"])
            wanted |= people
        else:
            wanted["deniedRequests"] = wanted.pop("denied")
            wanted.pop("overdraftSeatSeconds")
            wanted["consumed"] = sum(
                quantity
                for when, kind, quantity in clean.life.counted
                if kind == "consumed" and start <= when < end
            )
        assert {name: shown[name] for name in wanted} == wanted, meter
        previous = recounted_previous(answered, period)
        assert shown["previous"] == previous


def recounted_previous(answered: Recount, period: Period) -> dict[str, Any] | None:
    start, end = period.previous, period.start
    if not answered.stretches(start, end):
        return None
    over_ms, over_seat_ms = answered.over(start, end)
    return {
        "peak": answered.highest(start, end),
        "overdraftSeconds": over_ms // 1000,
        "overdraftSeatSeconds": over_seat_ms // 1000,
        "denied": len(answered.people_denied(start, end)),
        "deniedAttempts": sum(start <= when < end for when, _ in answered.denied),
    }


LIVES = [(7, True), (0, False)]


@pytest.fixture(scope="module", params=LIVES if IS_SOAK else LIVES[:1], ids=str)
def clean(engine: DynamoDBLocal, request: pytest.FixtureRequest) -> Clean:
    seed, is_deleted = request.param
    return Clean(Life(engine.url, seed, 180, is_deleted=is_deleted))


@pytest.mark.parametrize("name", PERIODS)
def test_every_figure_can_be_recounted(clean: Clean, name: str) -> None:
    start, end, previous = PERIODS[name]
    now = max(clean.life.end, end) if name != "april" else clean.life.end + 5_000_000
    period = Period(start, end, min(end, now), previous)
    maker = Maker(clean.dynamodb)
    report = maker.make(maker.ask(period, now))
    assert report["status"] == "published"
    check(maker.json(report), clean, period)


def test_records_that_come_late_make_no_difference(clean: Clean) -> None:
    """Some records are given up, a report is made of what is known, and then they come."""
    life = clean.life
    chance = random.Random(3)
    late = sorted(chance.sample(range(3, len(life.records)), len(life.records) // 6))
    dynamodb = open_client(life.url, life.copy())
    notifier = Notifier(dynamodb)
    notifier.deliver_all([r for n, r in enumerate(life.records) if n not in late])
    maker = Maker(dynamodb)
    period = Period(MARCH, APRIL, APRIL, FEBRUARY)
    now = max(life.end, APRIL)
    before = maker.make(maker.ask(period, now))
    for number in late:
        notifier.deliver_all([life.records[number]])
    after = maker.make(maker.ask(period, now))
    check(maker.json(after), clean, period)
    assert (before["version"], after["version"]) == (1, 2)
    assert after["previousReportId"] == before["reportId"]
    changes = maker.json(after)["changes"]
    assert changes["count"] == after["changeCount"] == 1
    [answered] = changes["entitlements"]
    assert {each["figure"] for each in answered["figures"]} & {"deniedAttempts", "overdraftHours"}
    again = maker.make(maker.ask(period, now))
    assert maker.json(again)["changes"] == {"count": 0, "entitlements": []}
