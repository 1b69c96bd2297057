"""True-up: what an overdraft costs, from the history of use and the terms that were in force.

Plain functions: no clock, no table. `docs/guides/true-up.md` has the rules with worked examples.
Times are Unix milliseconds. Days and months are those of the entitlement's time zone; a period is
from its beginning to before its end. Amounts are exact fractions until a line is rounded, once.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from shared.clock import day_of, zone_of
from shared.history.level import Level
from shared.history.levels import Closing, Levels, Moment
from shared.sales.money import rounded
from shared.sales.overdraft_price import (
    BY_MONTH,
    PEAK_SEATS,
    SEAT_DAYS,
    TO_END_OF_TERM,
    UNITS,
    OverdraftPrice,
)
from shared.sales.terms_history import Terms, TermsHistory
from shared.usage.periods import calendar_month

_HALF_DAY_MS = 12 * 3_600_000
# What a part of a line is: the highest of a month, a day, a usage period, an increase.
PEAK, DAY, PERIOD, INCREASE = PARTS = ("peak", "day", "period", "increase")


class Month(NamedTuple):
    """A local calendar month, `YYYY-MM`."""

    name: str
    start: int
    end: int


class Share(NamedTuple):
    """So many days of a month that has so many."""

    days: int
    of: int


class Part(NamedTuple):
    """One step of a line: a quantity, its price, and for how much of the time.

    The amount is `quantity` times the price times the sum of `shares`, or times `times` where there
    are none. `opening`: the level from which an increase is counted. `charged_before`: so much was
    charged to the end of the term already.
    """

    what: str
    at: int
    level: Level
    price: OverdraftPrice
    quantity: int
    charged_before: int = 0
    shares: tuple[Share, ...] = ()
    times: int = 1
    opening: Level | None = None
    is_exact: bool = True

    @property
    def exact(self) -> Fraction:
        """What it costs, not rounded."""
        factor = sum((Fraction(each.days, each.of) for each in self.shares), Fraction(0))
        return Fraction(self.price.amount) * self.quantity * (factor if self.shares else self.times)


class Line(NamedTuple):
    """What one meter costs in one month, in one currency.

    `exact` is the sum of the parts, `more` what is added by the end of the month if use goes on as
    it is now. `minimum` is that in force at the end.
    """

    month: Month
    meter: str
    currency: str
    parts: tuple[Part, ...]
    exact: Fraction
    more: Fraction
    minimum: Decimal | None

    @property
    def amount(self) -> Decimal:
        """What it costs: at least the minimum if anything is charged, rounded half up, once."""
        return self._rounded(self.exact)

    @property
    def expected(self) -> Decimal:
        """The same at the end of the month, if use goes on as it is now."""
        return self._rounded(self.exact + self.more)

    def _rounded(self, exact: Fraction) -> Decimal:
        if exact and self.minimum is not None:
            exact = max(exact, Fraction(self.minimum))
        return rounded(exact, self.currency)


# --- Calendar -------------------------------------------------------------------------------------


def month_at(at: int, zone_name: str) -> Month:
    """The local month of a time."""
    start, end = calendar_month(at // 1000, zone_name)
    assert end is not None  # a month ends
    middle = datetime.fromtimestamp((start + end) // 2, zone_of(zone_name))
    return Month(f"{middle:%Y-%m}", start * 1000, end * 1000)


def months_named(name: str, zone_name: str) -> list[Month]:
    """The months of a period: that of `2026-11`, the three of `2026-Q4`."""
    year, part = int(name[:4]), name[5:]
    first, count = (3 * int(part[1]) - 2, 3) if part.startswith("Q") else (int(part), 1)
    found = [_month_with(year, first, zone_name)]
    while len(found) < count:
        found.append(month_at(found[-1].end, zone_name))
    return found


def _month_with(year: int, month: int, zone_name: str) -> Month:
    middle = datetime(year, month, 15, tzinfo=zone_of(zone_name))
    return month_at(int(middle.timestamp()) * 1000, zone_name)


def days_between(start: int, end: int, zone: tzinfo) -> list[int]:
    """The beginnings of the local days that a time from `start` to before `end` touches."""
    found = [day_of(start, zone)] if start < end else []
    while found:
        following = following_day(found[-1], zone)
        if following >= end:
            break
        found.append(following)
    return found


def following_day(day: int, zone: tzinfo) -> int:
    """The beginning of the next local day; a day has 23 to 25 hours."""
    return day_of(day + 3 * _HALF_DAY_MS, zone)


def shares_until(at: int, until: int, zone_name: str) -> tuple[Share, ...]:
    """The days from that of `at` to the last of a term, by month."""
    zone = zone_of(zone_name)
    found = []
    start = day_of(at, zone)
    while start < until:
        month = month_at(start, zone_name)
        end = min(month.end, until)
        found.append(Share(_count(start, end, zone), _count(month.start, month.end, zone)))
        start = month.end
    return tuple(found)


def _count(start: int, end: int, zone: tzinfo) -> int:
    """The number of local days that a time touches, without making a list of them."""
    if start >= end:
        return 0
    first, last = (datetime.fromtimestamp(at / 1000, zone).date() for at in (start, end - 1))
    return (last - first).days + 1


# --- Segments -------------------------------------------------------------------------------------


class Segment(NamedTuple):
    """A part of a month in which there was a price, with one basis, currency and charge."""

    start: int
    end: int
    price: OverdraftPrice


def _kind(price: OverdraftPrice) -> tuple[str, str, str]:
    return price.basis, price.currency, price.charge


def segments(month: Month, terms: TermsHistory) -> list[Segment]:
    """The segments of a month. The price of each is that at its beginning: amounts may change."""
    inside = sorted(cut for cut in terms.cuts() if month.start < cut < month.end)
    found: list[Segment] = []
    for start, end in pairwise([month.start, *inside, month.end]):
        in_force = terms.at(start)
        price = in_force.price
        if price is None or not in_force.is_valid(start):
            continue
        if found and found[-1].end == start and _kind(found[-1].price) == _kind(price):
            found[-1] = found[-1]._replace(end=end)
        else:
            found.append(Segment(start, end, price))
    return found


def _price_at(terms: TermsHistory, at: int) -> OverdraftPrice:
    price = terms.at(at).price
    assert price is not None  # a segment has a price
    return price


# --- What was charged to the end of the term ------------------------------------------------------


class ChargedToEnd:
    """The quantity that was charged to the end of the term, and does not cost anything again.

    When more is purchased, the purchase takes over what was charged, what ends first first.
    """

    def __init__(self) -> None:
        self._lots: list[tuple[int, int]] = []  # until when, how many
        self._purchased: int | None = None

    def see(self, level: Level) -> None:
        """Take note of what is purchased, in the order of time."""
        bought = level.purchased - (level.purchased if self._purchased is None else self._purchased)
        self._purchased = level.purchased
        if bought > 0:
            left = []
            for until, quantity in sorted(self._lots):
                taken = min(bought, quantity)
                bought -= taken
                if quantity > taken:
                    left.append((until, quantity - taken))
            self._lots = left

    def at(self, at: int) -> int:
        """How much is charged for a time."""
        return sum(quantity for until, quantity in self._lots if at < until)

    def add(self, quantity: int, until: int) -> None:
        """Take note of what is charged to the end of a term."""
        self._lots.append((until, quantity))


def _excess(level: Level, price: OverdraftPrice) -> int:
    """What is above the purchased number, and not free."""
    return max(0, level.overdraft - price.free)


# --- Charging -------------------------------------------------------------------------------------


class Use(NamedTuple):
    """The use of one meter, as far as it is known at `until`, and the terms that were in force."""

    meter: str
    levels: Levels
    terms: TermsHistory
    zone_name: str
    until: int

    @property
    def zone(self) -> tzinfo:
        """The entitlement's time zone."""
        return zone_of(self.zone_name)

    def end_of_term(self, terms: Terms) -> int:
        """When what is charged to the end of a term ends: its last day counts as a whole."""
        assert terms.valid_until is not None  # whoever sets such a price has to give it
        return following_day(day_of(terms.valid_until - 1, self.zone), self.zone)


def lines(use: Use, months: Sequence[Month], since: int) -> list[Line]:
    """What a meter costs in these months, which follow each other; use is known from `since` on.

    There is a line for each month and currency with a price in force, also if it costs nothing.
    """
    charged = ChargedToEnd()
    first = months[0].start
    if since < first:
        _charged_before(use, charged, since, first)
    return [line for month in months for line in _of_month(use, month, charged)]


def _of_month(use: Use, month: Month, charged: ChargedToEnd) -> list[Line]:
    found: dict[str, Line] = {}
    for segment in segments(month, use.terms):
        if segment.start >= use.until:
            continue
        parts, more = _parts(use, month, segment, charged), _expected(use, month, segment)
        minimum = _price_at(use.terms, min(segment.end, use.until) - 1).minimum
        currency = segment.price.currency
        nothing = Line(month, use.meter, currency, (), Fraction(0), Fraction(0), None)
        line = found.get(currency, nothing)
        found[currency] = line._replace(
            parts=(*line.parts, *parts),
            exact=line.exact + sum((part.exact for part in parts), Fraction(0)),
            more=line.more + more,
            minimum=minimum,
        )
    return list(found.values())


def _parts(use: Use, month: Month, segment: Segment, charged: ChargedToEnd) -> list[Part]:
    basis = segment.price.basis
    if basis == UNITS:
        resets = use.terms.at(min(segment.end, use.until) - 1).resets
        of_units = (
            _of_periods(use, month, segment, charged) if resets else _of_increase(use, segment)
        )
        return list(of_units)
    if basis == SEAT_DAYS or segment.price.charge == TO_END_OF_TERM:
        return list(_of_days(use, month, segment, charged))
    return _of_peak(use, month, segment)


def _of_peak(use: Use, month: Month, segment: Segment) -> list[Part]:
    """The highest overdraft of a segment, at the price in force when it was first reached."""
    end = min(segment.end, use.until)
    best: tuple[int, Moment] | None = None
    moments = use.levels.between(segment.start, end)
    for moment in _cut_at(moments, use.terms.cuts(), end):
        excess = _excess(moment.level, _price_at(use.terms, moment.at))
        if best is None or excess > best[0]:
            best = (excess, moment)
    share = _covered(use, month, segment)
    if best is None or not share.days:
        return []
    quantity, moment = best
    price = _price_at(use.terms, moment.at)
    part = Part(PEAK, moment.at, moment.level, price, quantity, 0, (share,))
    return [part._replace(is_exact=moment.is_exact)]


def _cut_at(moments: Sequence[Moment], cuts: Iterable[int], end: int) -> Iterator[Moment]:
    """The moments, and what was held where other terms began to hold or a term ended."""
    inside = sorted(cut for cut in cuts if moments and moments[0].at < cut < end)
    held: Moment | None = None
    for moment in moments:
        while inside and inside[0] <= moment.at:
            cut = inside.pop(0)
            if held is not None and cut < moment.at:
                yield held._replace(at=cut, is_exact=True)
        yield moment
        held = moment
    for cut in inside:
        assert held is not None  # there are moments
        yield held._replace(at=cut, is_exact=True)


def _covered(use: Use, month: Month, segment: Segment) -> Share:
    """The days of a month that belong to a segment."""
    covered = sum(1 for _ in days_of(use, month, segment))
    return Share(covered, _count(month.start, month.end, use.zone))


def _last_valid(terms: TermsHistory, day: int, following: int) -> int | None:
    """The last moment of a day at which the entitlement was valid; None: there was none."""
    inside = sorted((cut for cut in terms.cuts() if day < cut < following), reverse=True)
    return next((at - 1 for at in (following, *inside) if terms.at(at - 1).is_valid(at - 1)), None)


def days_of(use: Use, month: Month, segment: Segment) -> Iterator[tuple[int, int]]:
    """The days of a segment, each with its last moment: what holds then decides whose day it is."""
    for day in days_between(month.start, month.end, use.zone):
        last = _last_valid(use.terms, day, following_day(day, use.zone))
        if last is not None and segment.start <= last < segment.end:
            yield day, last


def _of_days(use: Use, month: Month, segment: Segment, charged: ChargedToEnd) -> Iterator[Part]:
    """Each day by its highest overdraft, at the price in force at its end.

    To the end of the term: what exceeds all that was charged before is charged from that day on.
    """
    is_to_end = segment.price.charge == TO_END_OF_TERM
    for day, last in days_of(use, month, segment):
        if day >= use.until:
            return
        in_force = use.terms.at(last)
        price = _price_at(use.terms, last)
        begin = max(day, in_force.valid_from)
        best: tuple[int, int, Moment] | None = None
        for moment in use.levels.between(begin, min(last + 1, use.until)):
            charged.see(moment.level)
            before = charged.at(moment.at) if is_to_end else 0
            excess = _excess(moment.level, price) - before
            if best is None or excess > best[0]:
                best = (excess, before, moment)
        if best is None or best[0] <= 0:
            continue
        quantity, before, moment = best
        part = Part(DAY, moment.at, moment.level, price, quantity, before)
        if is_to_end:
            assert in_force.valid_until is not None  # whoever sets such a price has to give it
            charged.add(quantity, use.end_of_term(in_force))
            if price.basis == PEAK_SEATS:
                shares = shares_until(day, in_force.valid_until, use.zone_name)
                part = part._replace(shares=shares)
            else:
                part = part._replace(times=_count(day, in_force.valid_until, use.zone))
        yield part._replace(is_exact=moment.is_exact)


def _of_periods(use: Use, month: Month, segment: Segment, charged: ChargedToEnd) -> Iterator[Part]:
    """What each usage period exceeded at its end, at the price in force then.

    A price that ends for good within a period, as it does with the limit, is charged at its end.
    """
    closings = list(_closings(use, month))
    is_last = segment == segments(month, use.terms)[-1]
    if is_last and segment.end < month.end and segment.end <= use.until:
        level = use.levels.at(segment.end - 1)
        is_there = any(segment.start < each.at <= segment.end for each in closings)
        if level is not None and not is_there:
            closings.append(Closing(segment.end, level))
    for closing in closings:
        last = closing.at - 1
        if not segment.start <= last < segment.end:
            continue
        price = _price_at(use.terms, last)
        charged.see(closing.level)
        is_to_end = price.charge == TO_END_OF_TERM
        before = charged.at(last) if is_to_end else 0
        quantity = max(0, _excess(closing.level, price) - before)
        shares: tuple[Share, ...] = ()
        in_force = use.terms.at(last)
        if is_to_end:
            assert in_force.valid_until is not None
            # This period, and those that are left.
            left = shares_until(closing.at, in_force.valid_until, use.zone_name)
            shares = (Share(1, 1), *left)
            if quantity and closing.is_over:
                charged.add(quantity, use.end_of_term(in_force))
        at = closing.at if closing.is_over else use.until
        yield Part(PERIOD, at, closing.level, price, quantity, before, shares)


def _closings(use: Use, month: Month) -> Iterator[Closing]:
    """The ends of usage periods in a month; with the validity, a period ends as well."""
    for closing in use.levels.closings(month.start, month.end):
        in_force = use.terms.at(closing.at - 1)
        end = in_force.valid_until
        if end is not None and end < closing.at:
            yield closing._replace(at=end, is_over=end <= use.until)
        else:
            yield closing


def _of_increase(use: Use, segment: Segment) -> Iterator[Part]:
    """Of a limit that never resets: by how much more it is exceeded than at the beginning."""
    end = min(segment.end, use.until)
    level = use.levels.at(end - 1)
    if level is None:
        return
    opening = use.levels.at(segment.start - 1) or level._replace(used=0)
    price = _price_at(use.terms, end - 1)
    quantity = max(0, _excess(level, price) - _excess(opening, price))
    yield Part(INCREASE, end, level, price, quantity, opening=opening)


def _charged_before(use: Use, charged: ChargedToEnd, since: int, end: int) -> None:
    """What was charged to the end of the term before the first month, in the order of time."""
    for month in _months(since, end, use.zone_name):
        for segment in segments(month, use.terms):
            if segment.start < end:
                for _ in _parts(use, month, segment, charged):
                    pass


def _months(since: int, end: int, zone_name: str) -> Iterator[Month]:
    """The months from that of a time to before another."""
    month = month_at(since, zone_name)
    while month.start < end:
        yield month
        month = month_at(month.end, zone_name)


# --- If use goes on so ----------------------------------------------------------------------------


def _expected(use: Use, month: Month, segment: Segment) -> Fraction:
    """What a segment costs more by its end, if use goes on as it is now."""
    now = use.until
    if not (segment.start < now < segment.end):
        return Fraction(0)
    price = _price_at(use.terms, now)
    level = use.levels.at(now)
    if level is None or price.basis == PEAK_SEATS or price.charge != BY_MONTH:
        return Fraction(0)
    excess = _excess(level, price)
    if price.basis == SEAT_DAYS:
        following = following_day(day_of(now, use.zone), use.zone)
        return Fraction(price.amount) * excess * _count(following, segment.end, use.zone)
    more = _projected(use, month, now, Fraction(segment.end - now))
    return Fraction(price.amount) * (
        _excess(level._replace(used=level.used + more), price) - excess
    )


def _projected(use: Use, month: Month, now: int, ahead: Fraction) -> int:
    """How much more of a usage limit is used in a time ahead, at the average rate of the month."""
    in_force, level = use.terms.at(now), use.levels.at(now)
    if level is None:
        return 0
    begin = max(month.start, in_force.valid_from)
    opening = None
    if not in_force.resets:
        opening = use.levels.at(begin - 1)
    elif not any(use.levels.closings(now, month.end)):
        return 0  # it is charged in the month in which its period ends
    used = level.used - (opening.used if opening else 0)
    if now - begin < 2 * _HALF_DAY_MS:
        return 0  # too little is known to say what a month will be
    return int(Fraction(max(0, used), max(1, now - begin)) * ahead)


# The longest rest of a term that is looked at, in months.
MOST_MONTHS = 120


def to_end_of_term(use: Use, found: Sequence[Line], last: Month) -> tuple[str, Decimal] | None:
    """What these lines, and the months after `last`, cost if use goes on as it is now.

    The currency, and the amount to the end of the term. None: there is no price now, or no end.
    """
    now = min(use.until, last.end) - 1
    in_force, level = use.terms.at(now), use.levels.at(now)
    price, until = in_force.price, in_force.valid_until
    if price is None or until is None or level is None:
        return None
    total = sum((line.expected for line in found if line.currency == price.currency), Decimal(0))
    month = last
    for _ in range(MOST_MONTHS):
        month = month_at(month.end, use.zone_name)
        if month.start >= until or price.charge == TO_END_OF_TERM:
            return price.currency, total
        end = min(month.end, until)
        exact = Fraction(price.amount) * _month_ahead(use, month, end, price, now)
        nothing = Line(month, use.meter, price.currency, (), exact, Fraction(0), price.minimum)
        total += nothing.amount
    return None


def _month_ahead(use: Use, month: Month, end: int, price: OverdraftPrice, now: int) -> Fraction:
    """The quantity of a later month, up to `end`, if use goes on as it is now."""
    level, zone = use.levels.at(now), use.zone
    assert level is not None  # the caller has looked
    if price.basis == SEAT_DAYS:
        return Fraction(_excess(level, price) * _count(month.start, end, zone))
    if price.basis == PEAK_SEATS:
        covered = Fraction(_count(month.start, end, zone), _count(month.start, month.end, zone))
        return _excess(level, price) * covered
    this = month_at(now, use.zone_name)
    used = _projected(use, this, now, Fraction(end - month.start))
    if use.terms.at(now).resets:
        return Fraction(_excess(level._replace(used=used), price))
    above = level.overdraft > price.free
    return Fraction(used) if above else Fraction(0)
