"""The evidence of a report: its candidates, and the figures of each.

The costs depend on what there is to report: an entitlement that never came near a limit is not
read.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from functions.report import metrics
from functions.report.metrics import MANY_DEVICES, Mixed, Period, Tops
from functions.report.under_use import under_used
from shared.audit import EVIDENCE_SECONDS
from shared.clock import to_rfc3339, zone_of
from shared.dynamodb.keys import (
    CANDIDATES_NOW,
    SEATS,
    entitlement_key,
    episode_key,
    follow_up_key,
    overdraft_clock_key,
    parse_candidate,
    report_candidate_partition,
    seat_record_key,
    usage_meter,
    usage_of,
)
from shared.dynamodb.paging import all_of
from shared.dynamodb.requests import BatchGet, Item, Operation, Query, send
from shared.history import levels, queries
from shared.history.aggregator import carried
from shared.history.buckets import BUCKET_MS, DAY_MS, months_between
from shared.history.denials import attempts_between
from shared.history.episodes import Episode
from shared.history.queries import Records
from shared.overdraft_clock import OverdraftView, clock_in
from shared.sales import charges, follow_up, seat_requests, true_up
from shared.sales.overdraft_price import is_priced
from shared.seats.borrowing import read_borrowed
from shared.validity import status_at

Candidates = dict[str, set[str]]
BATCH = 100
# The most requests of one customer in a report.
REQUESTS = 20


def candidates(shard: int, period: Period) -> Operation[Candidates]:
    """The entitlements of one of 16 partitions, with the meters that may have something to report.

    What a month marks may lie outside the period: the evidence decides. What is near its limit now
    comes first: before its mark is removed, the months in which it was near are marked.
    """
    found: Candidates = {}
    months = months_between(period.start, max(period.start, period.until - 1))
    for month in (CANDIDATES_NOW, *months):
        marks = Query("pk = :pk", {":pk": report_candidate_partition(month, shard)})
        for item in (yield from all_of(marks)):
            entitlement_id, meter = parse_candidate(item["sk"])
            found.setdefault(entitlement_id, set()).add(meter)
    return found


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of at most so many (itertools has it from Python 3.12 on)."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def entries(
    wanted: Iterable[tuple[str, list[str]]],
    period: Period,
    filters: Mapping[str, str],
    now: int,
    percent: int = 0,
) -> Iterator[Operation[list[dict[str, Any]]]]:
    """The entries of these entitlements and meters, as operations of a hundred each.

    Their status is that of `now`, Unix seconds. `percent`: with the meters of which never more
    than this percentage was used in three months; 0: without.
    """
    for part in batched(wanted, BATCH):
        yield _entries(part, period, filters, now, percent)


def _entries(
    wanted: list[tuple[str, list[str]]],
    period: Period,
    filters: Mapping[str, str],
    now: int,
    percent: int,
) -> Operation[list[dict[str, Any]]]:
    keys = [entitlement_key(entitlement_id) for entitlement_id, _ in wanted]
    items = yield from send(BatchGet(tuple(keys)))
    followed = yield from send(
        BatchGet(tuple(follow_up_key(entitlement_id) for entitlement_id, _ in wanted))
    )
    found = []
    for entitlement_id, meters in wanted:
        item = items.get(entitlement_key(entitlement_id))
        if item is None or not matches(item, filters):
            continue
        found_under_use: Mapping[str, Mapping[str, int]] = {}
        if percent:
            found_under_use = yield from under_used(item, period, percent, now)
        state = followed.get(follow_up_key(entitlement_id))
        entry = yield from _entry(item, meters, period, state, now, found_under_use)
        if entry:
            found.append(entry)
    return found


def sold(document: Mapping[str, Any]) -> dict[str, Any]:
    """What every kind of report says of an entitlement: what was sold, and to whom."""
    names = ("product", "sku", "customer", "contacts", "timeZone", "validUntil")
    own = {"externalId": document.get("externalId"), "metadata": document.get("metadata", {})}
    return {**{name: document[name] for name in names}, **own}


def matches(item: Item, filters: Mapping[str, str]) -> bool:
    """Whether a report with these filters includes this entitlement."""
    document = item["document"]
    customer = document["customer"]
    account_owner = (document.get("contacts", {}).get("accountOwner") or {}).get("email", "")
    known = {
        "entitlementId": (item["entitlementId"],),
        "customer": (customer["name"], customer["externalId"]),
        "product": (document["product"], document["sku"]),
        "accountOwner": (account_owner,),
    }
    return all(wanted in known[name] for name, wanted in filters.items())


def _entry(
    item: Item,
    meters: list[str],
    period: Period,
    followed: Item | None,
    now: int,
    under_use: Mapping[str, Mapping[str, int]],
) -> Operation[dict[str, Any] | None]:
    entitlement_id, document = item["entitlementId"], item["document"]
    zone = zone_of(document["timeZone"])
    requests = yield from _requests(entitlement_id, period)
    wanted = [seat_requests.meter_of(each) for each in requests]
    seats, limits, signs = None, list[dict[str, Any]](), list[Item]()
    clocks = yield from _clocks(item, meters, now)
    for meter in dict.fromkeys((*meters, *wanted, *under_use)):
        records = yield from queries.records(
            entitlement_id, period.previous, period.end, period.until, meter
        )
        usage = records.usage(period.start, period.end)
        mixed = yield from _mixed(entitlement_id, meter, records, period)
        tops = Tops(records, mixed)
        is_candidate = metrics.is_candidate(usage, tops.between(period.start, period.end))
        if not usage.is_known or not (is_candidate or meter in wanted or meter in under_use):
            continue
        previous = None  # its evidence may have expired in part: its figures would be too low
        if period.previous >= (now - EVIDENCE_SECONDS) * 1000:
            previous = records.usage(period.previous, period.start)
        days = metrics.days(records, tops, period, zone)
        peak_at = yield from _peak_at(entitlement_id, meter, records, period, usage.highest)
        episodes = yield from _episodes(entitlement_id, meter, period, now * 1000)
        number = len(episodes)
        more = {
            "overdraft": clocks.get(meter),
            "underUse": None if is_candidate else under_use.get(meter),
            "beganAt": _last(each for each, _ in episodes if each >= period.start),
            "endedAt": _last(end for _, end in episodes if end and end <= period.until),
        }
        key = usage_of(meter)
        if key is not None:
            limit = metrics.of_usage_limit(key, usage, previous, days, peak_at, number)
            limits.append({**limit, **more})
            continue
        opening = metrics.opening_level(records, period.start)
        seats = metrics.of_seats(usage, previous, days, peak_at, opening, number)
        known = yield from _seat_records(entitlement_id)
        signs = metrics.signs(records, period, known)
        seats |= metrics.average_use(usage, period.until)
        seats |= more
        if by_hour := metrics.hours(records, period):
            seats["hours"] = by_hour
    if seats is None and not limits:
        return None
    if seats is not None and document.get("maxBorrowedSeats"):
        seats["borrowed"] = len((yield from read_borrowed(entitlement_id)).at(now).ends)
    costs = yield from _costs(item, period)
    shown = [*([seats] if seats else []), *limits]
    for each in shown:
        each["trueUp"] = costs.get(usage_meter(each["key"]) if "key" in each else SEATS)
    extra = seats["suggested"]["additional"] if seats else 0
    # Nobody buys more of what is gone.
    price = document["unitPrice"] if seats and item["status"] != "deleted" else None
    status = status_at(item["status"], item["validFrom"], item.get("validUntil"), now)
    return {
        "entitlementId": entitlement_id,
        "status": status,
        **sold(document),
        "daysToEnd": _days_to_end(item.get("validUntil"), now),
        "unitPrice": document["unitPrice"],
        "createdAt": to_rfc3339(item["createdAt"]),
        "seats": seats,
        "usage": limits,
        "monthlyValue": metrics.monthly_value(extra, price),
        "followUp": follow_up.view(entitlement_id, followed),
        "requests": requests,
        "signs": signs,
        "isUnderUse": not requests and all(each["underUse"] for each in shown),
    }


def _clocks(item: Item, meters: list[str], now: int) -> Operation[dict[str, OverdraftView]]:
    """The clocks of overdrafts with a period, by meter, as they are now."""
    document = item["document"]
    limits = [document["overdraftSeatLimit"]]
    limits += [each["overdraftLimit"] for each in document["usageLimits"]]
    if not meters or not any(limit.get("period") for limit in limits):
        return {}
    keys = {meter: overdraft_clock_key(item["entitlementId"], meter) for meter in meters}
    found = yield from send(BatchGet(tuple(keys.values())))
    clocks: dict[str, OverdraftView] = {}
    for meter, key in keys.items():
        clock = clock_in(found.get(key, {}))
        if clock and not (found[key].get("overAt") or now + 1) <= now:
            clocks[meter] = clock.view()
    return clocks


def _costs(item: Item, period: Period) -> Operation[dict[str, dict[str, str | None]]]:
    """What overdraft costs by meter: in the months of the period, and to the end of the term."""
    document = item["document"]
    if not is_priced(document):
        return {}
    months = _months(period, document["timeZone"])
    if months[0].start >= period.until:
        return {}
    found = yield from charges.read(item, months, period.until)
    costs: dict[str, dict[str, str | None]] = {}
    for use in found.uses:
        lines = [line for line in found.lines if line.meter == use.meter]
        ahead = true_up.to_end_of_term(use, lines, months[-1])
        currency = ahead[0] if ahead else lines[-1].currency if lines else None
        if currency is None:
            continue
        so_far = sum((line.amount for line in lines if line.currency == currency), Decimal(0))
        to_end = str(ahead[1]) if ahead else None
        costs[use.meter] = {"currency": currency, "amount": str(so_far), "toEndOfTerm": to_end}
    return costs


def _months(period: Period, zone_name: str) -> list[true_up.Month]:
    """The months of a period, in a time zone that may be another than that of the report."""
    shift = min(DAY_MS, (period.end - period.start) // 2)
    months = [true_up.month_at(period.start + shift, zone_name)]
    while months[-1].end < min(period.end, period.until) - shift:
        months.append(true_up.month_at(months[-1].end, zone_name))
    return months


def _days_to_end(valid_until: int | None, now: int) -> int | None:
    """Whole days from `now` to the end of the term; None: it has no end, or has ended."""
    if valid_until is None or valid_until <= now:
        return None
    return (valid_until - now) // 86_400


def _requests(
    entitlement_id: str, period: Period
) -> Operation[list[seat_requests.SeatRequestView]]:
    """The customer's newest requests for more that are open, or not older than the period."""
    items = yield from seat_requests.open_or_since(entitlement_id, period.start)
    return [seat_requests.view(item) for item in items[:REQUESTS]]


# --- What buckets do not tell ---------------------------------------------------------------------


def _mixed(
    entitlement_id: str, meter: str, records: Records, period: Period
) -> Operation[dict[int, Mixed]]:
    """Details of the quarter-hours in which limits changed, by their beginnings."""
    found: dict[int, Mixed] = {}
    for bucket in records.within(period.start, period.end):
        if not metrics.is_mixed(bucket):
            continue
        start, end = bucket.start, bucket.start + BUCKET_MS
        before = records.level_at(start)
        changes = yield from levels.changes_of(entitlement_id, meter, bucket, before)
        held = levels.held_into(bucket, before, changes)
        changed = [level for c in changes for level in (c.before, c.level) if level is not None]
        keys = [key for _, by_key in records.denied_within(start, end) for key in by_key]
        denied: dict[tuple[int, int | None], set[str]] = {}
        for item in (yield from attempts_between(entitlement_id, start, end, keys, meter)):
            limits = (item["seatCount"], item.get("hardCap"))
            denied.setdefault(limits, set()).add(item["seatKey"])
        found[start] = Mixed(
            [*([held] if held else []), *changed],
            {limits: frozenset(of) for limits, of in denied.items()},
        )
    return found


def _peak_at(
    entitlement_id: str, meter: str, records: Records, period: Period, peak: int
) -> Operation[int]:
    """When usage first reached its peak; the beginning of the period, if it was there before."""
    held = metrics.carried_level(records, period.start)
    if held and held.used == peak:
        return period.start
    within = records.within(period.start, period.end)
    bucket = next((each for each in within if each.highest == peak), None)
    if bucket is None:
        return period.start
    before = records.level_at(bucket.start)
    changes = yield from levels.changes_of(entitlement_id, meter, bucket, before)
    held = levels.held_into(bucket, before, changes)
    at = bucket.start
    if held and held.used == peak:
        return at
    for change in changes:
        # As history counts it: never before the change that it follows.
        at = max(at, change.at)
        if change.level.used == peak:
            return at
    return bucket.start


def _last(times: Iterable[int]) -> str | None:
    """The last of some times, Unix milliseconds; None: there is none."""
    last = max(times, default=None)
    return None if last is None else to_rfc3339(last)


def _episodes(
    entitlement_id: str, meter: str, period: Period, now_ms: int
) -> Operation[list[tuple[int, int | None]]]:
    """The beginnings and ends of the overdraft episodes that touch the period, the last first."""
    query = Query(
        "pk = :pk AND sk < :until",
        {":pk": episode_key(entitlement_id, meter, 0).pk, ":until": f"{period.until:013d}"},
        descending=True,
        limit=BATCH,
    )
    touching: list[tuple[int, int | None]] = []
    while True:
        found = yield from send(query)
        for item in found.items:
            # They do not overlap: the first that ended before the period is the last to look at.
            end = item.get("end")
            if end is None:  # an episode of a usage limit ends with its period
                latest = yield from queries.latest_bucket(entitlement_id, meter)
                end = carried(Episode.of(item), latest, now_ms).end
            if end is not None and end <= period.start:
                return touching
            touching.append((item["start"], end))
        if found.next is None:
            return touching
        query = query._replace(start=found.next)


def _seat_records(entitlement_id: str) -> Operation[list[Item]]:
    """The seat records with many devices; other records are not kept in memory."""
    query = Query("pk = :pk", {":pk": seat_record_key(entitlement_id, "").pk})
    many: list[Item] = []
    while True:
        found = yield from send(query)
        many += [item for item in found.items if len(item.get("devices", ())) >= MANY_DEVICES]
        if found.next is None:
            return many
        query = query._replace(start=found.next)
