"""Denials in the portal, by day and by person, directly from the denials on record."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import TypedDict

from functions.portal import status
from functions.portal.graph import meter_of, period_of
from shared.api.request import Request, Response
from shared.clock import day_of, to_rfc3339, zone_of
from shared.dynamodb.keys import SEATS, denial_partitions, usage_of
from shared.dynamodb.paging import key_range
from shared.dynamodb.requests import Found, Item, Operation, Several, send
from shared.history import rollups
from shared.history.buckets import BUCKET_MS, HOUR_MS, bucket_name, bucket_start, parse_bucket_name

SPAN = 30 * 86_400
PERSONS_SHOWN = 200
# The most denial items that are read from each of the 64 partitions.
READ = 200


class PortalDeniedDayView(TypedDict):
    """Denials of one day."""

    date: str
    attempts: int
    people: int | None


class PortalDeniedPersonView(TypedDict):
    """Denials of one person."""

    seatKey: str
    seatId: str | None
    seatName: str | None
    attempts: int
    firstAt: str
    lastAt: str


PortalDenialsView = TypedDict(
    "PortalDenialsView",
    {
        "usageKey": str | None,
        "from": str,
        "to": str,
        "isComplete": bool,
        "attempts": int,
        "people": int,
        "quantity": int | None,
        "days": list[PortalDeniedDayView],
        "persons": list[PortalDeniedPersonView],
    },
)


def read(request: Request) -> Response:
    """Denials of whole days in the entitlement's time zone, by default of the last 30."""
    return Response(200, request.dynamodb.run(_read(request)))


def _read(request: Request) -> Operation[PortalDenialsView]:
    since, until = period_of(request, SPAN)
    item, _ = yield from status.fetch(request)
    meter = meter_of(request, item)
    entitlement_id, zone = item["entitlementId"], zone_of(item["document"]["timeZone"])
    since = day_of(since, zone)
    found, is_complete = yield from records_between(entitlement_id, since, until, meter)
    days: dict[str, Counter[str]] = {}
    persons: dict[str, PortalDeniedPersonView] = {}
    quantity: dict[str, int] = {}
    for record in sorted(found, key=lambda each: int(each["lastAt"])):
        counted = [each for each in _quarters(record) if since <= each[0] < until]
        for at, attempts in counted:
            days.setdefault(_date(at, zone), Counter())[record["seatKey"]] += attempts
        if counted:
            quantity[record["seatKey"]] = record.get("quantity", 0)
            attempts = sum(attempts for _, attempts in counted)
            _add(persons, record, attempts, hides_names=request.caller.hides_names)
    ranked = sorted(persons.values(), key=lambda each: each["lastAt"], reverse=True)
    ranked.sort(key=lambda each: each["attempts"], reverse=True)
    by_day: list[PortalDeniedDayView] = [
        {"date": date, "attempts": day.total(), "people": len(day)}
        for date, day in sorted(days.items())
    ]
    if not is_complete:  # the counts of hours are complete, however many items there are
        by_day = yield from _by_hour(entitlement_id, since, until, zone, meter)
    return {
        "usageKey": usage_of(meter),
        "from": to_rfc3339(since),
        "to": to_rfc3339(until),
        "isComplete": is_complete,
        "attempts": sum(each["attempts"] for each in by_day),
        "people": len(ranked),
        "quantity": None if meter == SEATS else sum(quantity.values()),
        "days": by_day,
        # Of a usage limit, requests are denied, which are nobody's.
        "persons": ranked[:PERSONS_SHOWN] if meter == SEATS else [],
    }


def _by_hour(
    entitlement_id: str, since: int, until: int, zone: tzinfo, meter: str
) -> Operation[list[PortalDeniedDayView]]:
    """Attempts by day from the counts of hours, each on the day on which it begins."""
    days: Counter[str] = Counter()
    hours = yield from rollups.denied_hours(entitlement_id, since - since % HOUR_MS, until, meter)
    for hour in hours:
        days[_date(max(hour.start, since), zone)] += hour.attempts
    return [
        {"date": date, "attempts": attempts, "people": None}
        for date, attempts in sorted(days.items())
    ]


def records_between(
    entitlement_id: str, since: int, until: int, meter: str = SEATS
) -> Operation[tuple[list[Item], bool]]:
    """The newest denial items of a period, and whether they are all."""
    low, high = bucket_name(since - since % HOUR_MS)[:13], f"{bucket_name(until)[:13]}#~"
    queries = (
        key_range(pk, low, high)._replace(limit=READ + 1, descending=True)
        for pk in denial_partitions(entitlement_id, meter)
    )
    answers: tuple[Found, ...] = yield from send(Several(tuple(queries)))
    found = [item for answer in answers for item in answer.items[:READ]]
    return found, all(len(each.items) <= READ and each.next is None for each in answers)


def _hour(item: Item) -> int:
    return parse_bucket_name(f"{item['sk'][:13]}:00")


def _quarters(item: Item) -> Iterator[tuple[int, int]]:
    """The beginning of each quarter-hour with attempts, and their number."""
    names = [f"q{number}" for number in range(4)]
    if not any(name in item for name in names):  # from a release that did not store them
        yield bucket_start(item["lastAt"]), item["attempts"]
        return
    for number, name in enumerate(names):
        if item.get(name):
            yield _hour(item) + number * BUCKET_MS, item[name]


def _date(at: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at / 1000, zone).date().isoformat()


def _add(
    persons: dict[str, PortalDeniedPersonView], item: Item, attempts: int, *, hides_names: bool
) -> None:
    """Add a denial item to its person; the items come in the order of time."""
    known = persons.setdefault(
        item["seatKey"],
        {
            "seatKey": item["seatKey"],
            "seatId": None,
            "seatName": None,
            "attempts": 0,
            "firstAt": to_rfc3339(item["firstAt"]),
            "lastAt": "",
        },
    )
    known["attempts"] += attempts
    known["lastAt"] = to_rfc3339(item["lastAt"])
    if hides_names:
        return
    known["seatId"] = item.get("seatId") or known["seatId"]
    known["seatName"] = item.get("seatName") or known["seatName"]
