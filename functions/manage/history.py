"""History: usage over time, overdraft episodes, denials, e-mails. All can be recounted."""

from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import TypedDict

from functions.manage import entitlements, seats
from shared.api import pagination
from shared.api.request import Request, Response
from shared.audit import HARD_CAP
from shared.clock import day_of, to_rfc3339, zone_of
from shared.dynamodb.keys import (
    SEATS,
    denial_partitions,
    episode_key,
    mail_key,
    usage_meter,
)
from shared.dynamodb.paging import ResultPage, read_merged, read_page
from shared.dynamodb.requests import Item, Operation, Query
from shared.entitlements.queries import fetch_entitlement
from shared.history import queries
from shared.history.aggregator import carried
from shared.history.buckets import BUCKET_MS, HOUR_MS, bucket_name, bucket_start
from shared.history.denials import queries_of_person
from shared.history.episodes import Episode
from shared.history.queries import Usage
from shared.history.views import (
    LimitsInForceView,
    OverdraftEpisodeView,
    UsageOverdraftEpisodeView,
    episode_view,
    limits_view,
)
from shared.problems import InvalidRequest

DAY = 86_400
# The period of a request that gives no `from`, in seconds.
DEFAULT_SPAN = {"15m": DAY, "hour": 7 * DAY, "day": 31 * DAY, "period": 31 * DAY}
LONGEST_PERIOD = 100 * DAY * 1000


UsageIntervalView = TypedDict(
    "UsageIntervalView",
    {
        "from": str,
        "to": str,
        "lowest": int,
        "highest": int,
        "closing": int,
        "seatSeconds": int,
        "overdraftSeconds": int,
        "overdraftSeatSeconds": int,
        "activations": int,
        "activatedSeats": int,
        "overdraftSeats": int,
        "briefActivations": int,
        "releases": int,
        "expiries": int,
        "removals": int,
        "deniedAttempts": int,
        "deniedSeats": int,
        "limits": list[LimitsInForceView],
    },
)


CountIntervalView = TypedDict(
    "CountIntervalView",
    {
        "from": str,
        "to": str,
        "lowest": int,
        "highest": int,
        "closing": int,
        "overdraftSeconds": int,
        "consumed": int,
        "requests": int,
        "corrected": int,
        "deniedAttempts": int,
        "deniedRequests": int,
        "limits": list[LimitsInForceView],
    },
)


class AttemptsView(TypedDict):
    """Denied attempts within an hour."""

    hour: str
    attempts: int
    firstAt: str
    lastAt: str
    used: int
    purchased: int
    hardCap: int | None
    limitReached: str


class DenialView(AttemptsView):
    """Denials of one seat within an hour."""

    seatKey: str
    seatId: str | None
    seatName: str | None


class UsageDenialView(AttemptsView):
    """Denials of one request within an hour."""

    key: str
    requestKey: str
    quantity: int


SentEmailView = TypedDict(
    "SentEmailView",
    {
        "audience": str,
        "to": str,
        "status": str,
        "sentAt": str | None,
        "messageId": str | None,
        "subject": str | None,
        "from": str,
        "until": str,
        "numbers": Mapping[str, object] | None,
        "failure": str | None,
    },
)


def _meter(request: Request) -> Operation[str]:
    """The meter of a request: the seats, or the usage limit that it names."""
    key = request.query.get("usageKey")
    if key is None:
        return SEATS
    found = yield from entitlements.counters(request.path["entitlementId"], [key])
    if not found:
        raise InvalidRequest.at("/usageKey", "no usage limit has this key", place="query")
    return usage_meter(key)


# --- Usage ----------------------------------------------------------------------------------------


def usage_history(request: Request) -> Response:
    """Usage by quarter-hour, or by hours or days of the entitlement's time zone."""
    return pagination.respond(request, _usage(request))


def _usage(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    entitlement_id = request.path["entitlementId"]
    item, _ = yield from fetch_entitlement(entitlement_id)
    interval = request.query.get("interval", "hour")
    since, until = request.period(DEFAULT_SPAN[interval])
    if interval == "period" and until - since > LONGEST_PERIOD:
        raise InvalidRequest.at("/from", "one interval has at most 100 days", place="query")
    zone = zone_of(item["document"]["timeZone"])
    since = int(start[0]) if start else max(since, item["createdAt"])
    if since >= until:
        return ResultPage([], None)
    cuts = _cuts(since, until, interval, zone, limit)
    meter = yield from _meter(request)
    found = yield from queries.usage(entitlement_id, cuts, request.now_ms, meter)
    more = [str(cuts[-1])] if cuts[-1] < until else None
    known = [usage for usage in found if usage.is_known]
    if meter == SEATS:
        return ResultPage([_usage_view(usage) for usage in known], more)
    return ResultPage([_count_view(usage) for usage in known], more)


def _cuts(since: int, until: int, interval: str, zone: tzinfo, count: int) -> list[int]:
    """The boundaries of at most `count` intervals; the first one contains `since`."""
    if interval == "period":
        return [bucket_start(since), bucket_start(until + BUCKET_MS - 1)]
    begin: Callable[[int], int] = {
        "15m": bucket_start,
        "hour": lambda at: _begin_of_hour(at, zone),
        "day": lambda at: day_of(at, zone),
    }[interval]
    length = {"15m": BUCKET_MS, "hour": HOUR_MS, "day": 24 * HOUR_MS}[interval]
    cuts = [begin(since)]
    while len(cuts) <= count and cuts[-1] < until:
        # A day may have 23 or 25 hours: its middle is surely within it.
        following = begin(cuts[-1] + length)
        if following <= cuts[-1]:
            following = begin(cuts[-1] + length + length // 2)
        cuts.append(following)
    return cuts


def _begin_of_hour(at: int, zone: tzinfo) -> int:
    local = datetime.fromtimestamp(at / 1000, zone)
    # Zones differ from UTC by whole quarter-hours.
    return bucket_start(at - local.minute * 60_000)


def _usage_view(usage: Usage) -> UsageIntervalView:
    return {
        "from": to_rfc3339(usage.start),
        "to": to_rfc3339(usage.end),
        "lowest": usage.lowest,
        "highest": usage.highest,
        "closing": usage.closing,
        "seatSeconds": usage.seat_ms // 1000,
        "overdraftSeconds": usage.overdraft_ms // 1000,
        "overdraftSeatSeconds": usage.overdraft_seat_ms // 1000,
        "activations": usage.counts["activated"],
        "activatedSeats": len(usage.people),
        "overdraftSeats": len(usage.over),
        "briefActivations": usage.counts["brief"],
        "releases": usage.counts["released"],
        "expiries": usage.counts["lease_expired"],
        "removals": usage.counts["removed"],
        "deniedAttempts": usage.denied_attempts,
        "deniedSeats": len(usage.denied_seats),
        "limits": limits_view(usage.limits),
    }


def _count_view(usage: Usage) -> CountIntervalView:
    return {
        "from": to_rfc3339(usage.start),
        "to": to_rfc3339(usage.end),
        "lowest": usage.lowest,
        "highest": usage.highest,
        "closing": usage.closing,
        "overdraftSeconds": usage.overdraft_ms // 1000,
        "consumed": usage.counts["consumed"],
        "requests": usage.counts["requests"],
        "corrected": usage.counts["corrected"],
        "deniedAttempts": usage.denied_attempts,
        "deniedRequests": len(usage.denied_seats),
        "limits": limits_view(usage.limits),
    }


# --- Episodes -----------------------------------------------------------------------------------


def overdrafts(request: Request) -> Response:
    """Overdraft episodes that touch a period, newest first."""
    return pagination.respond(request, _overdrafts(request))


def _overdrafts(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    entitlement_id = request.path["entitlementId"]
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    since, until = request.period(31 * DAY)
    if since >= until:
        return ResultPage([], None)
    meter = yield from _meter(request)
    pk = episode_key(entitlement_id, meter, 0).pk
    high = start[0] if start else f"{until:013d}"
    query = Query("pk = :pk AND sk < :high", {":pk": pk, ":high": high}, descending=True)
    found, has_more = yield from read_page(query, limit)
    latest = yield from queries.latest_bucket(entitlement_id, meter)
    items: list[OverdraftEpisodeView | UsageOverdraftEpisodeView] = []
    for item in found:
        # Episodes do not overlap: the first that ended before the period ends the list.
        end = carried(Episode.of(item), latest, request.now_ms).end
        if end is not None and end <= since:
            return ResultPage(items, None)
        items.append((yield from episode_view(entitlement_id, item, latest, request.now_ms, meter)))
    return ResultPage(items, [found[-1]["sk"]] if has_more else None)


# --- Denials ------------------------------------------------------------------------------------


def denials(request: Request) -> Response:
    """Who was denied, by hour and seat, newest hour first."""
    return pagination.respond(request, _denials(request))


def _denials(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    entitlement_id = request.path["entitlementId"]
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    since, until = request.period(31 * DAY)
    if since >= until:
        return ResultPage([], None)
    meter = yield from _meter(request)
    low = bucket_name(since - since % HOUR_MS)[:13]
    high = start[0] if start else bucket_name(until + HOUR_MS - 1)[:13]
    if key := _person(request, meter):
        return (yield from _denials_of(entitlement_id, key, low, high, limit))
    queries = [
        Query(
            "pk = :pk AND sk BETWEEN :low AND :high",
            {":pk": pk, ":low": low, ":high": high},
            descending=True,
        )
        for pk in denial_partitions(entitlement_id, meter)
    ]
    shown, end_of_page = yield from read_merged(queries, limit, high)
    more = [end_of_page] if end_of_page else None
    if meter == SEATS:
        return ResultPage([_denial_view(item) for item in shown], more)
    return ResultPage([_request_view(item) for item in shown], more)


def _person(request: Request, meter: str) -> str | None:
    """The seat key of the person whose denials are asked for."""
    seat_id, key = request.query.get("seatId"), request.query.get("seatKey")
    if seat_id is None and key is None:
        return None
    if meter != SEATS or (seat_id is not None and key is not None):
        raise InvalidRequest.at(
            "/seatId", "can be given alone: not with seatKey, and not with usageKey", place="query"
        )
    return seats.key_of(request.path["entitlementId"], seat_id, key)


def _denials_of(
    entitlement_id: str, key: str, low: str, high: str, limit: int
) -> Operation[ResultPage]:
    """The denials of one person, the newest first."""
    queries = [
        query._replace(descending=True)
        for query in queries_of_person(entitlement_id, key, low, high)
    ]
    shown, more = yield from read_merged(queries, limit, high)
    return ResultPage([_denial_view(item) for item in shown], [more] if more else None)


def _denial_view(item: Item) -> DenialView:
    return {
        **_attempts_view(item),
        "seatKey": item["seatKey"],
        "seatId": item.get("seatId"),
        "seatName": item.get("seatName") or None,
    }


def _request_view(item: Item) -> UsageDenialView:
    return {
        **_attempts_view(item),
        "key": item["usageKey"],
        "requestKey": item["seatKey"],
        "quantity": item["quantity"],
    }


def _attempts_view(item: Item) -> AttemptsView:
    hour = item["sk"].partition("#")[0]
    return {
        "hour": f"{hour}:00:00Z",
        "attempts": item["attempts"],
        "firstAt": to_rfc3339(item["firstAt"]),
        "lastAt": to_rfc3339(item["lastAt"]),
        "used": item["used"],
        "purchased": item["seatCount"],
        "hardCap": item.get("hardCap"),
        "limitReached": item.get("limitReached", HARD_CAP),
    }


# --- E-mails ------------------------------------------------------------------------------------


def emails(request: Request) -> Response:
    """E-mails that were sent, newest first."""
    return pagination.respond(request, _emails(request))


def _emails(request: Request) -> Operation[ResultPage]:
    entitlement_id = request.path["entitlementId"]
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    pk = mail_key(entitlement_id, 0, "").pk
    return (yield from pagination.newest_of(request, pk, "SENT#", _email_view))


def _email_view(item: Item) -> SentEmailView:
    sent_at = item.get("sentAt")
    returned = item.get("returned", {})
    return {
        "audience": item["audience"],
        "to": item["to"],
        "status": returned.get("status", item["status"]),
        "sentAt": None if sent_at is None else to_rfc3339(sent_at),
        "messageId": item.get("messageId"),
        "subject": item.get("subject"),
        "from": to_rfc3339(item["from"]),
        "until": to_rfc3339(item["until"]),
        "numbers": item.get("numbers"),
        "failure": returned.get("reason", item.get("failure")),
    }
