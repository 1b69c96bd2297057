"""Who was turned away, by day and by person, straight from the denials on record."""

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

from functions.portal import state
from shared import history, table
from shared.history import HOUR_MS, QUARTER_MS
from shared.http import Request, Response
from shared.table import Item, Query, Steps
from shared.times import day_of, to_rfc3339, zone_of

SPAN = 30 * 86_400
PERSONS_SHOWN = 200
# So many records of a person's hour are read of each of the 16 partitions.
READ = 200


def read(request: Request) -> Response:
    """Denials of whole days of the entitlement's zone; of the last 30, if nothing is asked for."""
    return Response(200, request.table.run(_read(request)))


def _read(request: Request) -> Steps[dict[str, Any]]:
    since, until = request.period(SPAN)
    item, _ = yield from state.fetch(request)
    zone = zone_of(item["document"]["timeZone"])
    since = day_of(since, zone)
    found, since = yield from _records(item["entitlementId"], since, until)
    days: dict[str, dict[str, int]] = {}
    persons: dict[str, dict[str, Any]] = {}
    for record in sorted(found, key=lambda each: int(each["lastAt"])):
        counted = [each for each in _quarters(record) if since <= each[0] < until]
        for at, attempts in counted:
            day = days.setdefault(_date(at, zone), {})
            day[record["seatKey"]] = day.get(record["seatKey"], 0) + attempts
        if counted:
            _add(persons, record, sum(attempts for _, attempts in counted))
    ranked = sorted(persons.values(), key=lambda each: each["lastAt"], reverse=True)
    ranked.sort(key=lambda each: int(each["attempts"]), reverse=True)
    return {
        "from": to_rfc3339(since),
        "to": to_rfc3339(until),
        "attempts": sum(each["attempts"] for each in ranked),
        "people": len(ranked),
        "days": [
            {"date": date, "attempts": sum(day.values()), "people": len(day)}
            for date, day in sorted(days.items())
        ],
        "persons": ranked[:PERSONS_SHOWN],
    }


def _records(owner: str, since: int, until: int) -> Steps[tuple[list[Item], int]]:
    """The records of a time, and from when on they are complete: `since`, or later."""
    found: list[Item] = []
    for shard in range(table.DENIAL_SHARDS):
        answer = yield Query(
            "pk = :pk AND sk BETWEEN :low AND :high",
            {
                ":pk": table.denial_partition(owner, f"{shard:x}"),
                ":low": history.quarter_name(since - since % HOUR_MS)[:13],
                ":high": f"{history.quarter_name(until)[:13]}#~",
            },
            limit=READ,
            descending=True,
        )
        found += answer.items
        if answer.next is not None:
            since = max(since, _hour(answer.items[-1]) + HOUR_MS)
    return [item for item in found if _hour(item) + HOUR_MS > since], since


def _hour(item: Item) -> int:
    return history.quarter_start(f"{item['sk'][:13]}:00")


def _quarters(item: Item) -> Iterator[tuple[int, int]]:
    """When each quarter-hour with attempts began, and how many there were."""
    names = [f"q{number}" for number in range(4)]
    if not any(name in item for name in names):  # from before they were kept
        yield history.quarter_of(item["lastAt"]), item["attempts"]
        return
    for number, name in enumerate(names):
        if item.get(name):
            yield _hour(item) + number * QUARTER_MS, item[name]


def _date(at: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at / 1000, zone).date().isoformat()


def _add(persons: dict[str, dict[str, Any]], item: Item, attempts: int) -> None:
    """Count a record for its person; the records come in the order of time."""
    known = persons.setdefault(
        item["seatKey"],
        {
            "seatKey": item["seatKey"], "seatId": None, "seatName": None, "attempts": 0,
            "firstAt": to_rfc3339(item["firstAt"]), "lastAt": "",
        },
    )  # fmt: skip
    known["attempts"] += attempts
    known["lastAt"] = to_rfc3339(item["lastAt"])
    known["seatId"] = item.get("seatId") or known["seatId"]
    known["seatName"] = item.get("seatName") or known["seatName"]
