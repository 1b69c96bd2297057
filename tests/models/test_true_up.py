"""A made-up quarter with every basis of an overdraft's price, recounted to the cent.

The recount knows nothing of buckets, roll-ups and audit entries. It has what callers were answered:
when what was in use, and which terms they had sent. It looks at every moment at which anything
changed, day by day of the calendar in Berlin, where clocks change in March.
"""

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from local.dynamodb import DynamoDBLocal
from tests.support.priced import Priced, Sold, Step, clock_of
from tests.support.sampling import IS_SOAK
from tests.support.tables import create_table, open_client

ZONE = ZoneInfo("Europe/Berlin")
DIGITS = {"EUR": 2, "JPY": 0, "KWD": 3}


def berlin(month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    """A local time of 2049, Unix milliseconds."""
    return int(datetime(2049, month, day, hour, minute, tzinfo=ZONE).timestamp()) * 1000


JANUARY, FEBRUARY, MARCH, APRIL = (berlin(month, 1) for month in (1, 2, 3, 4))
MONTHS = {"2049-01": (JANUARY, FEBRUARY), "2049-02": (FEBRUARY, MARCH), "2049-03": (MARCH, APRIL)}


# --- The recount ----------------------------------------------------------------------------------


def days_of(start: int, end: int) -> list[date]:
    """The days of the calendar that a time touches."""
    first = datetime.fromtimestamp(start / 1000, ZONE).date()
    last = datetime.fromtimestamp((end - 1) / 1000, ZONE).date()
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp()) * 1000


def whole_day(until: int) -> int:
    """The end of the last day of a term."""
    return midnight(days_of(until - 1, until)[0] + timedelta(days=1))


def months_from(start: int, until: int) -> Fraction:
    """Months by their days, from the day of `start` to the last day before `until`."""
    share = Fraction(0)
    for day in days_of(start, until):
        following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
        share += Fraction(1, (following - day.replace(day=1)).days)
    return share


class Recount:
    """One meter of a quarter."""

    def __init__(self, quarter: Priced, meter: str) -> None:
        self.begins = quarter.begins
        self.steps = quarter.steps[meter]
        self.sold = quarter.sold[meter]
        schedule = quarter.limits.get(meter, {}).get("resetSchedule")
        self.is_monthly = schedule == "monthly"
        self.bounds = sorted({start for bounds in MONTHS.values() for start in bounds})

    def level(self, at: int) -> Step:
        step = [each for each in self.steps if each.at <= at][-1]
        if self.is_monthly and any(step.at < bound <= at for bound in self.bounds):
            return step._replace(used=0)
        return step

    def terms(self, at: int) -> Sold:
        return [each for each in self.sold if each.at <= at][-1]

    def price(self, at: int) -> dict[str, Any] | None:
        """The price in force, if the entitlement is valid."""
        terms = self.terms(at)
        is_valid = self.begins <= at and (terms.until is None or at < terms.until)
        return terms.price if is_valid else None

    def excess(self, at: int, price: dict[str, Any]) -> int:
        free = price.get("freeSeats", price.get("freeUnits", 0))
        level = self.level(at)
        return max(0, max(0, level.used - level.purchased) - int(free))

    def moments(self, start: int, end: int) -> list[int]:
        """Every time at which anything may have changed."""
        found = {start, *(each.at for each in self.steps), *(each.at for each in self.sold)}
        ends = [each.until for each in self.sold if each.until is not None]
        found |= {*ends, *map(whole_day, ends)}
        found |= {self.begins, *(midnight(day) for day in days_of(start, end))}
        return sorted(each for each in found if start <= each < end)

    def last_valid(self, day: date) -> int | None:
        """The last moment of a day at which the entitlement was valid."""
        start, end = midnight(day), midnight(day + timedelta(days=1))
        ends = [end, *(each for each in self.moments(start, end) if each > start)]
        for at in sorted(ends, reverse=True):
            terms = self.terms(at - 1)
            if self.begins <= at - 1 and (terms.until is None or at - 1 < terms.until):
                return at - 1
        return None


Charged = list[tuple[str, str, Fraction, Decimal | None]]  # month, currency, exact, minimum


def recounted(quarter: Priced, meter: str) -> dict[tuple[str, str], Decimal]:
    """What each month costs in each currency."""
    recount = Recount(quarter, meter)
    lots: list[list[int]] = []  # until when, how many
    found: dict[tuple[str, str], Fraction] = {}
    minimum: dict[tuple[str, str], Decimal | None] = {}

    def charged(at: int) -> int:
        return sum(quantity for until, quantity in lots if at < until)

    def buy(seats: int) -> None:
        for lot in sorted(lots):
            taken = min(seats, lot[1])
            lot[1] -= taken
            seats -= taken

    bought = recount.level(recount.begins).purchased
    for month, (start, end) in MONTHS.items():
        for kind, moments, stop in segments(recount, start, end):
            basis, currency, charge = kind
            place = (month, currency)
            found.setdefault(place, Fraction(0))
            last = recount.price(moments[-1])
            assert last is not None
            minimum[place] = Decimal(last["minimum"]) if last.get("minimum") else None
            is_to_end = charge == "to_end_of_term"
            if basis == "units":
                found[place] += of_units(recount, moments, end, lots, is_to_end=is_to_end)
                continue
            if basis == "seat_days" or is_to_end:
                for day in days_of(start, end):
                    decides = recount.last_valid(day)
                    if decides is None or not moments[0] <= decides < stop:
                        continue
                    price = recount.price(decides)
                    assert price is not None
                    begin = max(midnight(day), recount.begins)
                    best = 0
                    for at in recount.moments(begin, decides + 1):
                        if recount.level(at).purchased > bought:
                            buy(recount.level(at).purchased - bought)
                        bought = recount.level(at).purchased
                        over = recount.excess(at, price) - (charged(at) if is_to_end else 0)
                        best = max(best, over)
                    times = Fraction(1)
                    if best and is_to_end:
                        until = recount.terms(decides).until
                        assert until is not None
                        times = Fraction(len(days_of(midnight(day), until)))
                        if basis == "peak_seats":
                            times = months_from(midnight(day), until)
                        lots.append([whole_day(until), best])
                    found[place] += Fraction(price["amount"]) * best * times
                continue
            # peak_seats, by month
            top, when = -1, 0
            for at in moments:
                price = recount.price(at)
                assert price is not None
                if recount.excess(at, price) > top:
                    top, when = recount.excess(at, price), at
            price = recount.price(when)
            assert price is not None
            days = days_of(start, end)
            covered = [
                day
                for day in days
                if (decides := recount.last_valid(day)) is not None and moments[0] <= decides < stop
            ]
            found[place] += Fraction(price["amount"]) * top * Fraction(len(covered), len(days))
    return {
        place: amount_of(exact, minimum[place], DIGITS[place[1]]) for place, exact in found.items()
    }


def amount_of(exact: Fraction, minimum: Decimal | None, digits: int) -> Decimal:
    if exact and minimum is not None:
        exact = max(exact, Fraction(minimum))
    precise = Decimal(exact.numerator) / Decimal(exact.denominator)
    return precise.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def kind_of(price: dict[str, Any]) -> tuple[str, str, str]:
    basis = price.get("basis", "units")
    return basis, price["currency"], price.get("charge", "by_month")


def segments(
    recount: Recount, start: int, end: int
) -> Iterator[tuple[tuple[str, str, str], list[int], int]]:
    """Moments that follow each other with one kind of price, and when another one begins."""
    priced = []
    for at in recount.moments(start, end):
        price = recount.price(at)
        priced.append((None if price is None else kind_of(price), at))
    groups = [
        (kind, [at for _, at in group])
        for kind, group in itertools.groupby(priced, key=lambda each: each[0])
    ]
    for (kind, moments), (_, following) in itertools.pairwise([*groups, (None, [end])]):
        if kind is not None:
            yield kind, moments, following[0]


def of_units(
    recount: Recount, moments: list[int], end: int, lots: list[list[int]], *, is_to_end: bool
) -> Fraction:
    last = moments[-1]
    until = recount.terms(last).until
    price = recount.price(last)
    assert price is not None
    amount = Fraction(str(price["amount"]))
    ends = min(end, until or end)
    if not recount.is_monthly:
        opening = recount.level(moments[0] - 1)
        free = int(price.get("freeUnits", 0))
        before = max(0, opening.used - opening.purchased - free)
        return amount * max(0, recount.excess(ends - 1, price) - before)
    over = recount.excess(ends - 1, price)
    if not is_to_end:
        return amount * over
    assert until is not None
    over = max(0, over - sum(quantity for ending, quantity in lots if ends - 1 < ending))
    lots.append([whole_day(until), over])
    return amount * over * (1 + months_from(ends, until) if ends < until else 1)


# --- Quarters -------------------------------------------------------------------------------------

PEAK = {"amount": "12.50", "currency": "EUR", "basis": "peak_seats", "freeSeats": 1}
DAYS = {"amount": "37", "currency": "JPY", "basis": "seat_days"}
EXPORTS = {
    "key": "exports",
    "limit": 20,
    "overdraftLimit": {"type": "unlimited"},
    "resetSchedule": "monthly",
    "overdraftPrice": {"amount": "0.125", "currency": "KWD", "freeUnits": 3},
}
STORED = {
    "key": "stored",
    "limit": 30,
    "overdraftLimit": {"type": "unlimited"},
    "resetSchedule": "never",
    "overdraftPrice": {"amount": "0.07", "currency": "EUR", "minimum": "1.00"},
}
SEATS = {"seatCount": 3, "overdraftSeatLimit": {"type": "absolute", "value": 6}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    return clock_of(monkeypatch, JANUARY)


def by_month(quarter: Priced, chance: random.Random) -> None:
    """More seats, a new amount, a new free allowance, an end within a day."""
    quarter.live(chance, berlin(1, 9), berlin(2, 11), 60)
    quarter.change(berlin(2, 11, 10, 7) + 123, overdraftPrice={**PEAK, "amount": "20.00"})
    quarter.live(chance, berlin(2, 12), berlin(2, 20), 20)
    more = {**EXPORTS, "limit": 25, "overdraftPrice": {**EXPORTS["overdraftPrice"], "freeUnits": 0}}  # type: ignore[dict-item]
    quarter.change(berlin(2, 20, 12, 34) + 5, seatCount=4, usageLimits=[more, STORED])
    quarter.live(chance, berlin(2, 21), berlin(3, 19), 50)
    quarter.change(berlin(3, 19, 9), until=berlin(3, 20, 15, 10))
    quarter.live(chance, berlin(3, 19, 10), berlin(3, 20, 15), 12)


def day_by_day(quarter: Priced, chance: random.Random) -> None:
    """Prices that begin, and cost nothing, in between; limits charged to the end of the term."""
    quarter.live(chance, berlin(1, 9), berlin(1, 30), 40)
    quarter.change(berlin(1, 30, 23, 50), overdraftPrice={**DAYS, "amount": "41", "freeSeats": 1})
    quarter.live(chance, berlin(1, 31), berlin(3, 1), 45)
    quarter.change(berlin(3, 1, 0, 5), overdraftPrice=None)
    quarter.live(chance, berlin(3, 1, 1), berlin(3, 26), 40)
    quarter.change(berlin(3, 26, 8), overdraftPrice=DAYS)
    quarter.live(chance, berlin(3, 26, 9), berlin(3, 31, 23), 40)


def to_the_end(quarter: Priced, chance: random.Random) -> None:
    """Purchases take over what was charged; the term is renewed before it ends, then it ends."""
    quarter.live(chance, berlin(1, 9), berlin(2, 3), 45)
    quarter.change(berlin(2, 3, 4, 4), seatCount=5)
    quarter.live(chance, berlin(2, 3, 5), berlin(2, 25), 35)
    quarter.change(berlin(2, 25, 6, 6), seatCount=4)
    quarter.change(berlin(3, 5, 6, 6), until=berlin(9, 30, 12))
    quarter.live(chance, berlin(3, 5, 7), berlin(3, 31, 22), 60)


def changing(quarter: Priced, chance: random.Random) -> None:
    """The basis and the currency change within a month."""
    quarter.live(chance, berlin(1, 9), berlin(2, 14), 50)
    quarter.change(berlin(2, 14, 13, 13), overdraftPrice=DAYS)
    quarter.live(chance, berlin(2, 14, 14), berlin(3, 10), 40)
    quarter.change(berlin(3, 10, 3, 3), overdraftPrice={**DAYS, "currency": "EUR"})
    quarter.live(chance, berlin(3, 10, 4), berlin(3, 21), 30)
    quarter.change(berlin(3, 21, 3, 3), overdraftPrice=PEAK)
    quarter.live(chance, berlin(3, 21, 4), berlin(3, 31, 23), 30)


TO_END = {"charge": "to_end_of_term"}
QUARTERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "by month": (
        by_month,
        {**SEATS, "overdraftPrice": PEAK, "usageLimits": [EXPORTS, STORED]},
    ),
    "day by day": (
        day_by_day,
        {
            **SEATS,
            "overdraftPrice": DAYS,
            "usageLimits": [
                {**EXPORTS, "overdraftPrice": {**EXPORTS["overdraftPrice"], **TO_END}}  # type: ignore[dict-item]
            ],
            "until": berlin(12, 12, 12),
        },
    ),
    "peaks to the end": (
        to_the_end,
        {**SEATS, "overdraftPrice": {**PEAK, **TO_END}, "until": berlin(3, 14, 15, 16)},
    ),
    "days to the end": (
        to_the_end,
        {**SEATS, "overdraftPrice": {**DAYS, **TO_END}, "until": berlin(3, 14, 15, 16)},
    ),
    "changing": (changing, {**SEATS, "overdraftPrice": {**PEAK, "minimum": "99.99"}}),
}


@pytest.mark.parametrize("seed", range(4) if IS_SOAK else range(1))
@pytest.mark.parametrize("name", QUARTERS)
def test_every_amount_can_be_recounted(
    engine: DynamoDBLocal, clock: dict[str, int], name: str, seed: int
) -> None:
    live, terms = QUARTERS[name]
    dynamodb = open_client(engine.url, create_table(engine.url))
    quarter = Priced(
        dynamodb, clock, berlin(1, 8, 14, 32), (JANUARY, FEBRUARY, MARCH, APRIL), **terms
    )
    live(quarter, random.Random(f"{name}{seed}"))
    answer = quarter.true_up(berlin(4, 2), "2049-Q1")
    assert answer["isFinal"]
    shown = {
        (each["usageKey"] or "seats", each["month"], each["currency"]): Decimal(each["amount"])
        for each in answer["lines"]
    }
    wanted = {
        (meter, *place): amount
        for meter in quarter.steps
        for place, amount in recounted(quarter, meter).items()
    }
    assert shown == wanted
    assert any(amount > 0 for amount in shown.values())
    # Each month by itself is the same.
    for month in MONTHS:
        alone = quarter.true_up(berlin(4, 2), month)
        assert alone["lines"] == [each for each in answer["lines"] if each["month"] == month]
    for line in answer["lines"]:
        check_by_hand(line)


def check_by_hand(line: dict[str, Any]) -> None:
    """What somebody with a pocket calculator makes of the evidence in an answer."""
    exact = Fraction(0)
    for part in line["parts"]:
        level = part["level"]
        assert part["overdraft"] == max(0, level["used"] - level["purchased"])
        left = part["overdraft"] - part["free"] - part["chargedBefore"]
        if part["opening"]:
            opening = part["opening"]
            left = max(0, part["overdraft"] - part["free"])
            left -= max(0, opening["used"] - opening["purchased"] - part["free"])
        assert part["quantity"] == max(0, left)
        factor = sum(Fraction(each) for each in part["factor"].split(" + "))
        exact += part["quantity"] * Fraction(part["unitAmount"]) * factor
    minimum = None if line["minimum"] is None else Decimal(line["minimum"])
    assert Decimal(line["amount"]) == amount_of(exact, minimum, DIGITS[line["currency"]])
    assert line["isMinimum"] == bool(minimum and 0 < exact < Fraction(minimum))


def test_utc_is_not_berlin() -> None:
    """The recount's own calendar: a day of 23 hours, and one that begins at 22:00 UTC."""
    assert midnight(date(2049, 3, 29)) - midnight(date(2049, 3, 28)) == 23 * 3_600_000
    start = datetime.fromtimestamp(APRIL / 1000, UTC)
    assert (start.day, start.hour) == (31, 22)
