"""Denials over time."""

from collections.abc import Iterable

from shared.dynamodb.keys import SEATS, denial_keys, denial_record_partitions, denied_bucket_key
from shared.dynamodb.paging import all_of, key_range
from shared.dynamodb.requests import Item, Operation, Query
from shared.history.buckets import BUCKET_MS, bucket_name, bucket_start, parse_bucket_name


def denied_buckets(
    entitlement_id: str, start: int, end: int, meter: str
) -> Operation[dict[int, dict[str, int]]]:
    """Denied attempts by quarter-hour and seat key, between two quarter-hours."""
    pk = denied_bucket_key(entitlement_id, "", "", meter).pk
    low, high = bucket_name(start), bucket_name(end - 1) + "#~"
    items = yield from all_of(key_range(pk, low, high))
    denied: dict[int, dict[str, int]] = {}
    for item in items:
        bucket, _, key = item["sk"].partition("#")
        denied.setdefault(parse_bucket_name(bucket), {})[key] = item["attempts"]
    return denied


def denied_between(
    entitlement_id: str, start: int, end: int, meter: str = SEATS
) -> Operation[dict[str, int]]:
    """Denied attempts from `start` to before `end`, by seat key.

    Whole quarter-hours come from their buckets, the rest from the denial records.
    """
    whole_from, whole_to = bucket_start(start + BUCKET_MS - 1), bucket_start(end)
    first, last = bucket_start(start), bucket_start(end - 1) + BUCKET_MS
    buckets = yield from denied_buckets(entitlement_id, first, last, meter)
    counted: dict[str, int] = {}
    for begin, by_seat in buckets.items():
        if whole_from <= begin < whole_to:
            for key, number in by_seat.items():
                counted[key] = counted.get(key, 0) + number
            continue
        low, high = max(start, begin), min(end, begin + BUCKET_MS)
        for item in (yield from attempts_between(entitlement_id, low, high, by_seat, meter)):
            counted[item["seatKey"]] = counted.get(item["seatKey"], 0) + 1
    return counted


def queries_of_person(
    entitlement_id: str, seat_key: str, low: str = "0", high: str = "~"
) -> list[Query]:
    """Queries of the denials of one person, which are among those of others.

    `low` and `high` are hours, `YYYY-MM-DDTHH`. What earlier releases wrote comes first.
    """
    ranges = (key_range(key.pk, low, high) for key in denial_keys(entitlement_id, seat_key, ""))
    queries = [
        each._replace(values={**each.values, ":key": seat_key}, filter="seatKey = :key")
        for each in ranges
    ]
    return queries[::-1]


def denials_of_person(
    entitlement_id: str, seat_key: str, low: str = "0", high: str = "~"
) -> Operation[list[Item]]:
    """The denials of one person by hour, the newest at the end."""
    items: list[Item] = []
    for query in queries_of_person(entitlement_id, seat_key, low, high):
        items += yield from all_of(query)
    return items


def attempts_between(
    entitlement_id: str, start: int, end: int, keys: Iterable[str], meter: str = SEATS
) -> Operation[list[Item]]:
    """The denial records from `start` to before `end`, of the partitions of these keys."""
    partitions = {pk for key in keys for pk in denial_record_partitions(entitlement_id, key, meter)}
    items: list[Item] = []
    for pk in sorted(partitions):
        items += yield from all_of(key_range(pk, f"{start:013d}", f"{end - 1:013d}#~"))
    return items
