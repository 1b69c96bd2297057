"""Reading what an overdraft costs: the terms, the levels, and whether history is complete."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, TypedDict

from shared.audit import EVIDENCE_SECONDS
from shared.clock import from_rfc3339_ms, to_rfc3339
from shared.dynamodb.keys import (
    SEATS,
    seat_shard_key,
    totals_key,
    true_up_line_key,
    usage_key,
    usage_meter,
    usage_of,
)
from shared.dynamodb.paging import all_of, key_range
from shared.dynamodb.requests import BatchGet, Item, Operation, send
from shared.history import levels, queries
from shared.history.level import Level
from shared.history.levels import Moment
from shared.limits import SeatChargeView
from shared.problems import InvalidRequest
from shared.sales import true_up, true_up_views
from shared.sales.overdraft_price import SEAT_DAYS, TO_END_OF_TERM
from shared.sales.terms_history import TermsHistory, changes_since, history_of
from shared.sales.true_up import Line, Month, Use
from shared.sales.true_up_views import LineView, TotalView


class Charges(NamedTuple):
    """What an entitlement's overdraft costs in some months, and the use of each meter behind it."""

    lines: tuple[Line, ...]
    uses: tuple[Use, ...]


TrueUpPeriodView = TypedDict(
    "TrueUpPeriodView", {"name": str, "from": str, "to": str, "timeZone": str}
)


class TrueUpView(TypedDict):
    """What the overdraft of an entitlement costs in a month or a quarter."""

    entitlementId: str
    period: TrueUpPeriodView
    asOf: str
    isFinal: bool
    totals: list[TotalView]
    lines: list[LineView]


def months_of(name: str | None, zone_name: str, now_ms: int) -> tuple[str, list[Month]]:
    """The name and the months of a period of a query; by default this month.

    Raises:
        InvalidRequest: it is in the future, or older than the evidence.
    """
    name = name or true_up.month_at(now_ms, zone_name).name
    months = true_up.months_named(name, zone_name)
    if months[0].start > now_ms:
        raise InvalidRequest.at("/period", "is in the future", place="query")
    if months[0].start < now_ms - EVIDENCE_SECONDS * 1000:
        detail = "is too far back: evidence is stored for 400 days"
        raise InvalidRequest.at("/period", detail, place="query")
    return name, months


def view(item: Item, name: str, months: Sequence[Month], now_ms: int) -> Operation[TrueUpView]:
    """What these months cost, with the decisions about their lines."""
    entitlement_id, zone = item["entitlementId"], item["document"]["timeZone"]
    found = yield from read(item, months, now_ms)
    decided = yield from _decided(entitlement_id, months)
    meters = [use.meter for use in found.uses]
    is_final = yield from _is_final(entitlement_id, meters, months[-1].end, now_ms)
    lines = [
        true_up_views.line_view(line, zone, decided.get(true_up_views.line_id(line)))
        for line in found.lines
    ]
    return {
        "entitlementId": entitlement_id,
        "period": {
            "name": name,
            "from": to_rfc3339(months[0].start),
            "to": to_rfc3339(months[-1].end),
            "timeZone": zone,
        },
        "asOf": to_rfc3339(min(now_ms, months[-1].end)),
        "isFinal": is_final,
        "totals": true_up_views.totals(lines),
        "lines": lines,
    }


def _decided(entitlement_id: str, months: Sequence[Month]) -> Operation[dict[str, Item]]:
    """The decisions about lines of these months, by the lines' ids."""
    pk = true_up_line_key(entitlement_id, "").pk
    found = yield from all_of(key_range(pk, months[0].name, f"{months[-1].name}~"))
    return {item["lineId"]: item for item in found}


def read(item: Item, months: Sequence[Month], now_ms: int) -> Operation[Charges]:
    """What these months cost, which follow each other; as far as they are over at `now_ms`."""
    priced = yield from _priced(item, months[0].start, now_ms)
    found: list[Line] = []
    uses: list[Use] = []
    for meter, terms, since in priced:
        use = yield from _use(item, meter, terms, months, since, now_ms)
        found += true_up.lines(use, months, since)
        uses.append(use)
    return Charges(tuple(found), tuple(uses))


def of_one_more_seat(item: Item, level: Level, now_ms: int) -> Operation[SeatChargeView | None]:
    """What a seat adds that is taken now; `level` is the use without it. None: no price."""
    months = [true_up.month_at(now_ms, item["document"]["timeZone"])]
    priced = yield from _priced(item, months[0].start, now_ms)
    for meter, terms, since in priced:
        price = terms.at(now_ms).price
        if meter != SEATS or price is None:
            continue
        use = yield from _use(item, meter, terms, months, since, now_ms)
        # History follows a moment later: what is in use is known already.
        known = use._replace(until=now_ms + 2, levels=use.levels.then(Moment(now_ms, level)))
        more = Moment(now_ms + 1, level._replace(used=level.used + 1))
        changed = known._replace(levels=use.levels.then(more))
        sums = [_sum(each, months, since, price.currency) for each in (known, changed)]
        (amount, expected), (new_amount, new_expected) = sums
        return {
            "month": months[0].name,
            "currency": price.currency,
            "amount": str(new_amount - amount),
            "expectedAmount": str(new_expected - expected),
            "basis": price.basis,
            "charge": price.charge,
        }
    return None


def _sum(use: Use, months: Sequence[Month], since: int, currency: str) -> tuple[Decimal, Decimal]:
    lines = [each for each in true_up.lines(use, months, since) if each.currency == currency]
    return (
        sum((each.amount for each in lines), Decimal(0)),
        sum((each.expected for each in lines), Decimal(0)),
    )


def _priced(item: Item, start: int, now_ms: int) -> Operation[list[tuple[str, TermsHistory, int]]]:
    """The meters that have, or had, a price since `start`, and from when on their use matters."""
    changes = yield from changes_since(item["entitlementId"], start)
    meters = _meters(item, changes)
    found = [(meter, history_of(item, meter, changes)) for meter in meters]
    found = [(meter, terms) for meter, terms in found if terms.is_priced]
    is_to_end = any(
        each.price and each.price.charge == TO_END_OF_TERM
        for _, terms in found
        for each in terms.all
    )
    if not is_to_end:
        return [(meter, terms, start) for meter, terms in found]
    # What was charged to the end of the term before does not cost anything again.
    oldest = now_ms - EVIDENCE_SECONDS * 1000
    since = min(start, max(oldest, from_rfc3339_ms(item["document"]["validFrom"])))
    changes = yield from changes_since(item["entitlementId"], since)
    return [(meter, history_of(item, meter, changes), since) for meter, _ in found]


def _meters(item: Item, changes: Iterable[Item]) -> list[str]:
    """The meters that the entitlement has, or had before one of these changes."""
    keys = [each["key"] for each in item["document"]["usageLimits"]]
    for change in changes:
        before = (change["changes"].get("usageLimits") or {}).get("before") or ()
        keys += [each["key"] for each in before]
    return [SEATS, *(usage_meter(key) for key in dict.fromkeys(keys))]


def _use(
    item: Item,
    meter: str,
    terms: TermsHistory,
    months: Sequence[Month],
    since: int,
    now_ms: int,
) -> Operation[Use]:
    """The use of a meter, with the exact times of what is charged."""
    entitlement_id, zone = item["entitlementId"], item["document"]["timeZone"]
    start, end = min(since, months[0].start), months[-1].end
    until = min(end, now_ms)
    cuts = terms.cuts() | {month.start for month in months} | {end, until, start}
    known = yield from levels.read(
        entitlement_id,
        meter,
        (start, max(start + 1, until)),
        now_ms,
        cuts=cuts,
        fine_from=months[0].start,
    )
    while True:
        use = Use(meter, known, terms, zone, until)
        parts = [part for line in true_up.lines(use, months, since) for part in line.parts]
        # A day is charged as a whole: its moment does not matter.
        wanted = {p.at for p in parts if not p.is_exact and p.price.basis != SEAT_DAYS}
        if not wanted:
            return use
        known = yield from levels.detailed(entitlement_id, meter, known, wanted)


def _is_final(entitlement_id: str, meters: Iterable[str], end: int, now_ms: int) -> Operation[bool]:
    """Whether months that end at `end` are over, and history has all that happened in them."""
    if end > now_ms:
        return False
    for meter in meters:
        if not (yield from _is_settled(entitlement_id, meter, end)):
            return False
    return True


def _is_settled(entitlement_id: str, meter: str, end: int) -> Operation[bool]:
    """Whether history has gone on beyond a time, or has every change that was made."""
    latest = yield from queries.latest_bucket(entitlement_id, meter)
    if latest is not None and latest.at >= end:
        return True
    key = usage_of(meter)
    totals = totals_key(entitlement_id)
    first = seat_shard_key(entitlement_id) if key is None else usage_key(entitlement_id, key)
    keys = (first, *((totals,) if key is None else ()))
    found = yield from send(BatchGet(keys))
    made = found.get(totals, found.get(first, {})).get("seq", 0)
    return bool(made <= (latest.seq if latest else 0))
