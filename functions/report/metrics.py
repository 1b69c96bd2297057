"""The metrics of a report, from the evidence of one meter. Plain functions: no clock, no table.

`columns.py` defines every metric in the words that the report itself has. Times are Unix
milliseconds.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from shared.clock import day_of, hours_of, to_rfc3339
from shared.dynamodb.requests import Item
from shared.history.buckets import BUCKET_MS, HOUR_MS, UsageBucket, bucket_start
from shared.history.level import Level
from shared.history.queries import Records, Usage

# The suggestion covers the demand of this percentage of the days.
COVERED_PERCENT = 95
# Fewer days with use suggest nothing.
LEAST_DAYS = 5
# Patterns to check: from which value on they are shown.
BURST_LEAST, BURST_EACH = 20, 5
MANY_DEVICES = 5
SIGNS_SHOWN = 5
SHORT_MS = 4 * 24 * HOUR_MS


class Period(NamedTuple):
    """The period of a report: from `start` to before `end`, as far as it is over by `until`.

    All but `until` are beginnings of quarter-hours. The period before it begins at `previous`.
    """

    start: int
    end: int
    until: int
    previous: int

    @property
    def reached(self) -> int:
        """The end of the last quarter-hour that has begun."""
        return min(self.end, bucket_start(self.until + BUCKET_MS - 1))


class Day(NamedTuple):
    """A local day of the entitlement, as far as it lies in the period."""

    start: int
    end: int
    is_working_day: bool
    usage: Usage
    is_reached: bool
    is_over: bool
    demand: int


def days_of(start: int, end: int, zone: tzinfo) -> list[int]:
    """The boundaries of local days between two times, including both ends."""
    cuts = [start]
    while cuts[-1] < end:
        # A day has 23 to 25 hours: 36 hours after its beginning it is surely the next one.
        following = day_of(day_of(cuts[-1], zone) + 36 * HOUR_MS, zone)
        cuts.append(min(following, end))
    return cuts


def opening_level(records: Records, start: int) -> Level | None:
    """The level that was held when a quarter-hour began; None before the first change."""
    held = records.level_at(start)
    return held.level if held else None


def carried_level(records: Records, start: int) -> Level | None:
    """The level that was held into a quarter-hour without a bucket that knows it."""
    return None if records.within(start, start + BUCKET_MS) else opening_level(records, start)


def is_mixed(bucket: UsageBucket) -> bool:
    """Whether limits changed within it: its highest usage does not show what was reached."""
    return len(bucket.limits) > 1


class Mixed(NamedTuple):
    """A quarter-hour in which limits changed: its levels, and who was denied under which limits."""

    levels: Sequence[Level]
    denied: Mapping[tuple[int, int | None], frozenset[str]]

    @property
    def demand(self) -> int:
        """The highest usage together with the persons denied under the same limits."""
        wanted = [level.used for level in self.levels]
        for limits, keys in self.denied.items():
            in_use = max((level.used for level in self.levels if level[1:] == limits), default=0)
            wanted.append(in_use + len(keys))
        return max(wanted, default=0)


class Tops:
    """The levels that can have been the highest of each quarter-hour.

    `mixed` has more of those quarter-hours in which limits changed, from the change records.
    """

    def __init__(self, records: Records, mixed: Mapping[int, Mixed]) -> None:
        self._records = records
        self._mixed = mixed

    def between(self, start: int, end: int) -> list[Level]:
        """The levels between two beginnings of quarter-hours, with what was held at first."""
        first = carried_level(self._records, start)
        levels = [first] if first else []
        for bucket in self._records.within(start, end):
            if bucket.start in self._mixed:
                levels += self._mixed[bucket.start].levels
            else:
                _, purchased, cap = bucket.limits[0]
                levels.append(Level(bucket.highest, purchased, cap))
        return levels

    def demand(self, start: int, end: int) -> int:
        """The highest usage together with those denied under the same limits in a quarter-hour.

        A person who was denied, and served after the limits were raised, counts once.
        """
        held = carried_level(self._records, start)
        most = held.used if held else 0
        highest = {bucket.start: bucket.highest for bucket in self._records.within(start, end)}
        most = max([most, *highest.values()])
        for at, turned_away in self._records.denied_within(start, end):
            if at in self._mixed:
                most = max(most, self._mixed[at].demand)
                continue
            held = opening_level(self._records, at)
            in_use = highest.get(at, held.used if held else 0)
            most = max(most, in_use + len(turned_away))
        return most


def days(records: Records, tops: Tops, period: Period, zone: tzinfo) -> list[Day]:
    """The local days of a period, until now."""
    found = []
    for start, end in pairwise(days_of(period.start, period.reached, zone)):
        usage = records.usage(start, end)
        levels = tops.between(start, end)
        found.append(
            Day(
                start,
                end,
                datetime.fromtimestamp(start / 1000, zone).weekday() < 5,
                usage,
                any(level.is_reached for level in levels),
                any(level.overdraft for level in levels),
                tops.demand(start, end),
            )
        )
    return found


def is_candidate(usage: Usage, levels: Sequence[Level]) -> bool:
    """Whether there is something to report: usage came near its limit, or something was denied."""
    return usage.denied_attempts > 0 or any(level.is_near for level in levels)


def suggested(purchased: int, found: Sequence[Day]) -> dict[str, Any]:
    """How many seats would have covered the demand of 95 % of the working days with usage.

    If no working day had any usage, of all days with usage. The 95th percentile by nearest rank.
    Fewer than five such days suggest nothing beyond what is purchased; they still have a demand.
    """
    used = [day for day in found if day.demand > 0]
    counted = [day for day in used if day.is_working_day] or used
    demands = sorted(day.demand for day in counted)
    rank = -(-COVERED_PERCENT * len(demands) // 100)
    demand = demands[rank - 1] if demands else 0
    seats = max(purchased, demand) if len(demands) >= LEAST_DAYS else purchased
    return {
        "seats": seats,
        "additional": seats - purchased,
        "demand": demand,
        "days": len(demands),
    }


def monthly_value(additional: int, price: Mapping[str, Any] | None) -> dict[str, str] | None:
    """The list price per month of so many more seats; None without a price."""
    if price is None:
        return None
    amount = Decimal(price["amount"]) * additional
    if price["per"] == "year":
        amount /= 12
    amount = amount.quantize(Decimal("0.01"), ROUND_HALF_UP)
    return {"amount": str(amount), "currency": price["currency"]}


def average_use(usage: Usage, until: int) -> dict[str, Any]:
    """The seats in use on average, and in percent of those purchased at the end.

    Over all of the period up to `until` (Unix milliseconds) in which there were limits, nights and
    weekends included; None if that is no time. Rounded half up.
    """
    spent = min(usage.end, until) - max(usage.start, usage.limits[0][0])
    if spent <= 0:
        return {"average": None, "utilisation": None}
    purchased = usage.limits[-1][1]
    percent = 100 * usage.seat_ms / spent / purchased if purchased else None
    return {
        "average": int(10 * usage.seat_ms / spent + 0.5) / 10,
        "utilisation": None if percent is None else int(percent + 0.5),
    }


def _common(
    usage: Usage, previous: Usage | None, found: Sequence[Day], peak_at: int
) -> dict[str, Any]:
    """The metrics that seats and usage limits share."""
    _, purchased, hard_cap = usage.limits[-1]
    working = [day for day in found if day.is_working_day and day.usage.highest > 0]
    return {
        "purchased": purchased,
        "hardCap": hard_cap,
        "limits": [
            {"from": to_rfc3339(at), "purchased": bought, "hardCap": cap}
            for at, bought, cap in usage.limits
        ],
        "peak": usage.highest,
        "peakAt": to_rfc3339(peak_at),
        "overdraftSeconds": usage.overdraft_ms // 1000,
        "overdraftDays": sum(day.is_over for day in found),
        "workingDays": len(working),
        "workingDaysAtLimit": sum(day.is_reached for day in working),
        "deniedAttempts": usage.denied_attempts,
        "previous": _previous(previous),
        "days": _days_view(found),
    }


def _previous(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None or not usage.is_known:
        return None
    return {
        "peak": usage.highest,
        "overdraftSeconds": usage.overdraft_ms // 1000,
        "overdraftSeatSeconds": usage.overdraft_seat_ms // 1000,
        "denied": len(usage.denied_seats),
        "deniedAttempts": usage.denied_attempts,
    }


def _days_view(found: Sequence[Day]) -> dict[str, list[Any]]:
    """The days as columns: names would be most of the file of a million entitlements."""
    return {
        "from": [to_rfc3339(day.start) for day in found],
        "isWorkingDay": [int(day.is_working_day) for day in found],
        "isAtLimit": [int(day.is_reached) for day in found],
        "demand": [day.demand for day in found],
        "overdraftSeconds": [day.usage.overdraft_ms // 1000 for day in found],
        **_drawn([day.usage for day in found]),
    }


def _drawn(found: Sequence[Usage]) -> dict[str, list[Any]]:
    """What the chart draws of each interval, with the limits at its end (0: none yet)."""
    limits = [usage.limits[-1] if usage.limits else (0, 0, 0) for usage in found]
    return {
        "peak": [usage.highest for usage in found],
        "denied": [len(usage.denied_seats) for usage in found],
        "purchased": [purchased for _, purchased, _ in limits],
        "hardCap": [cap for _, _, cap in limits],
    }


def of_seats(
    usage: Usage,
    previous: Usage | None,
    found: Sequence[Day],
    peak_at: int,
    held: Level | None,
    episodes: int,
) -> dict[str, Any]:
    """The metrics of an entitlement's seats; `held` is the level at the beginning of the period."""
    return {
        **_common(usage, previous, found, peak_at),
        "overdraftSeatSeconds": usage.overdraft_seat_ms // 1000,
        "seatHours": hours_of(usage.overdraft_seat_ms),
        "episodes": episodes,
        "overdraftAtStart": held.overdraft if held else 0,
        "overdraftSeats": len(usage.over),
        "deniedSeats": len(usage.denied_seats),
        "activatedSeats": len(usage.people),
        "activations": usage.counts["activated"],
        "briefActivations": usage.counts["brief"],
        "suggested": suggested(usage.limits[-1][1], found),
    }


def of_usage_limit(
    key: str,
    usage: Usage,
    previous: Usage | None,
    found: Sequence[Day],
    peak_at: int,
    episodes: int,
) -> dict[str, Any]:
    """The metrics of a usage limit. Whether a denied quantity was wanted in full is not known."""
    return {
        "key": key,
        **_common(usage, previous, found, peak_at),
        "episodes": episodes,
        "deniedRequests": len(usage.denied_seats),
        "consumed": usage.counts["consumed"],
        "requests": usage.counts["requests"],
        "corrected": usage.counts["corrected"],
        "suggested": {
            "limit": max(usage.limits[-1][1], usage.highest),
            "isAtLeast": bool(usage.denied_seats),
            "days": sum(day.usage.highest > 0 for day in found),
        },
    }


# --- Patterns to check ----------------------------------------------------------------------------


def signs(records: Records, period: Period, seats: Sequence[Item]) -> list[Item]:
    """Patterns that too few seats do not explain, with the facts.

    Many people on few seats, and seats that change hands quickly, are signs of a shortage.
    """
    found: list[Item] = []
    devices = [(_devices_in(seat, period), seat["seatKey"]) for seat in seats]
    many = sorted(((n, key) for n, key in devices if n >= MANY_DEVICES), key=_most_first)
    if many:
        shown = [{"seatKey": key, "devices": number} for number, key in many[:SIGNS_SHOWN]]
        found.append({"sign": "many-devices", "seats": len(many), "most": shown})
    bursts = [
        (sum(by_seat.values()), at, len(by_seat))
        for at, by_seat in records.denied_within(period.start, period.end)
        if sum(by_seat.values()) >= max(BURST_LEAST, BURST_EACH * len(by_seat))
    ]
    if bursts:
        attempts, at, denied = max(bursts)
        worst = {"from": to_rfc3339(at), "deniedAttempts": attempts, "deniedSeats": denied}
        found.append({"sign": "denial-burst", "quarterHours": len(bursts), "worst": worst})
    return found


def _most_first(each: tuple[int, str]) -> tuple[int, str]:
    return -each[0], each[1]


def _devices_in(seat: Item, period: Period) -> int:
    return sum(
        device["from"] < period.until and device["to"] >= period.start
        for device in seat.get("devices", ())
    )


# --- The chart ------------------------------------------------------------------------------------


def hours(records: Records, period: Period) -> dict[str, list[Any]] | None:
    """For a short period, what the chart draws by hour; None: it draws days."""
    if period.end - period.start > SHORT_MS:
        return None
    cuts = [*range(period.start, period.reached, HOUR_MS), period.reached]
    return {
        "from": [to_rfc3339(start) for start in cuts[:-1]],
        **_drawn([records.usage(start, end) for start, end in pairwise(cuts)]),
    }
