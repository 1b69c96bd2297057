"""Under-use: what was bought and is hardly used, the other half of a renewal talk."""

from functions.report.metrics import Period
from shared.dynamodb.keys import LIST_INDEX, SEATS, report_candidate_shard, usage_meter
from shared.dynamodb.requests import Item, Operation, Query, send
from shared.entitlements.model import LIST_KEY
from shared.history import queries, rollups
from shared.history.buckets import DAY_MS

# For so long it must have been hardly used: three months.
DAYS = 92
MONTHS = 3


def all_entitlements() -> Operation[dict[int, list[str]]]:
    """The ids of all entitlements that are not deleted, by the shard of their marks.

    It reads every entitlement, page by page, and keeps the ids.
    """
    query = Query("listKey = :list", {":list": LIST_KEY}, index_name=LIST_INDEX)
    found: dict[int, list[str]] = {}
    while True:
        page = yield from send(query)
        for item in page.items:
            if item["status"] != "deleted":
                entitlement_id = item["entitlementId"]
                found.setdefault(report_candidate_shard(entitlement_id), []).append(entitlement_id)
        if page.next is None:
            return found
        query = query._replace(start=page.next)


def under_used(
    item: Item, period: Period, percent: int, now: int
) -> Operation[dict[str, dict[str, int]]]:
    """The meters of which never more than `percent` was used in three months, with the highest use.

    Seats, and usage limits that begin anew each month. An entitlement that is younger, or not in
    force at `now` (Unix seconds), has none.
    """
    start = period.until - DAYS * DAY_MS
    document = item["document"]
    is_in_force = item["status"] == "active" and (item.get("validUntil") or now + 1) > now
    if not is_in_force or max(item["createdAt"], item["validFrom"] * 1000) > start:
        return {}
    bought = {SEATS: document["seatCount"]} if document["seatCount"] else {}
    bought |= {
        usage_meter(each["key"]): each["limit"]
        for each in document["usageLimits"]
        if each["resetSchedule"] == "monthly" and each["limit"]
    }
    found: dict[str, dict[str, int]] = {}
    for meter, purchased in bought.items():
        most = percent * purchased // 100
        highest = yield from _highest(item["entitlementId"], meter, start, period.until, most)
        if highest is not None:
            share = -(-100 * highest // purchased)
            found[meter] = {"highest": highest, "percent": share, "unused": purchased - highest}
    return found


def _highest(
    entitlement_id: str, meter: str, start: int, end: int, most: int
) -> Operation[int | None]:
    """The highest use of a time; None: it is more than `most`. Most are known by one read."""
    latest = yield from queries.latest_bucket(entitlement_id, meter)
    if latest is None:
        return 0
    if latest.level.used > most and latest.until is None:
        return None
    if latest.start < start:
        return latest.level.used if latest.level.used <= most else None
    first = start - start % DAY_MS
    last = end - end % DAY_MS + DAY_MS
    found = yield from rollups.records(entitlement_id, first, last, end, rollups.DAYS, meter)
    held = found.held.level.used if found.held else 0
    highest = max([held, *(bucket.highest for bucket in found.buckets)])
    return highest if highest <= most else None
