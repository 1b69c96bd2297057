"""Denials in the portal, by day and by person, directly from the denials on record."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import TypedDict

from functions.portal import status
from functions.portal.graph import period_of
from shared.api.request import Request, Response
from shared.clock import day_of, to_rfc3339, zone_of
from shared.dynamodb.keys import DENIAL_SHARDS, denial_partition
from shared.dynamodb.requests import Item, Operation, Query, send
from shared.history import rollups
from shared.history.buckets import BUCKET_MS, HOUR_MS, bucket_name, bucket_start, parse_bucket_name

SPAN = 30 * 86_400
PERSONS_SHOWN = 200
# The most denial items that are read from each of the 16 partitions.
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
        "from": str,
        "to": str,
        "isComplete": bool,
        "attempts": int,
        "people": int,
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
    entitlement_id, zone = item["entitlementId"], zone_of(item["document"]["timeZone"])
    since = day_of(since, zone)
    found, is_complete = yield from _records(entitlement_id, since, until)
    days: dict[str, Counter[str]] = {}
    persons: dict[str, PortalDeniedPersonView] = {}
    for record in sorted(found, key=lambda each: int(each["lastAt"])):
        counted = [each for each in _quarters(record) if since <= each[0] < until]
        for at, attempts in counted:
            days.setdefault(_date(at, zone), Counter())[record["seatKey"]] += attempts
        if counted:
            _add(persons, record, sum(attempts for _, attempts in counted))
    ranked = sorted(persons.values(), key=lambda each: each["lastAt"], reverse=True)
    ranked.sort(key=lambda each: each["attempts"], reverse=True)
    by_day: list[PortalDeniedDayView] = [
        {"date": date, "attempts": day.total(), "people": len(day)}
        for date, day in sorted(days.items())
    ]
    if not is_complete:  # the counts of hours are complete, however many items there are
        by_day = yield from _by_hour(entitlement_id, since, until, zone)
    return {
        "from": to_rfc3339(since),
        "to": to_rfc3339(until),
        "isComplete": is_complete,
        "attempts": sum(each["attempts"] for each in by_day),
        "people": len(ranked),
        "days": by_day,
        "persons": ranked[:PERSONS_SHOWN],
    }


def _by_hour(
    entitlement_id: str, since: int, until: int, zone: tzinfo
) -> Operation[list[PortalDeniedDayView]]:
    """Attempts by day from the counts of hours, each on the day on which it begins."""
    days: Counter[str] = Counter()
    for hour in (yield from rollups.denied_hours(entitlement_id, since - since % HOUR_MS, until)):
        days[_date(max(hour.start, since), zone)] += hour.attempts
    return [
        {"date": date, "attempts": attempts, "people": None}
        for date, attempts in sorted(days.items())
    ]


def _records(entitlement_id: str, since: int, until: int) -> Operation[tuple[list[Item], bool]]:
    """The newest denial items of a period, and whether they are all."""
    found: list[Item] = []
    is_complete = True
    for shard in range(DENIAL_SHARDS):
        answer = yield from send(
            Query(
                "pk = :pk AND sk BETWEEN :low AND :high",
                {
                    ":pk": denial_partition(entitlement_id, f"{shard:x}"),
                    ":low": bucket_name(since - since % HOUR_MS)[:13],
                    ":high": f"{bucket_name(until)[:13]}#~",
                },
                limit=READ + 1,
                descending=True,
            )
        )
        found += answer.items[:READ]
        is_complete = is_complete and len(answer.items) <= READ and answer.next is None
    return found, is_complete


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


def _add(persons: dict[str, PortalDeniedPersonView], item: Item, attempts: int) -> None:
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
    known["seatId"] = item.get("seatId") or known["seatId"]
    known["seatName"] = item.get("seatName") or known["seatName"]
