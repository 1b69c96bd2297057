"""Why was a person denied: what was in force at that attempt, and what has changed since."""

from datetime import datetime
from typing import TypedDict

from functions.manage import audit_trail, seats
from functions.manage.audit_trail import ChangeView
from shared.api.request import Request, Response
from shared.audit import CUSTOMER_CAP, HARD_CAP, OVERDRAFT_PERIOD
from shared.clock import to_rfc3339, zone_of
from shared.dynamodb.keys import audit_key, denial_record_key, denial_record_partitions
from shared.dynamodb.paging import key_range, read_filtered
from shared.dynamodb.requests import Item, Operation, Query
from shared.entitlements.queries import fetch_seat_usage
from shared.history.buckets import HOUR_MS
from shared.limits import UsedView
from shared.problems import InvalidRequest
from shared.seats.seat_usage import PoolSeatsView, SeatUsage
from shared.seats.shard import lease_expiry

# How far from the requested time a denial is looked for.
SPAN_MS = 12 * HOUR_MS
MOST_CHANGES = 20


class ExplainedDenialView(TypedDict):
    """A denied attempt, and what was in force then."""

    at: str
    isExact: bool
    attemptsInHour: int
    used: int
    purchased: int
    hardCap: int | None
    limitReached: str
    nextLeaseExpiry: str | None


class ExplanationView(TypedDict):
    """Why a person was denied, and what has changed since."""

    seatKey: str
    seatId: str | None
    at: str
    summary: str
    denial: ExplainedDenialView | None
    changesSince: list[ChangeView]
    isHeld: bool
    heldSince: str | None
    seats: UsedView | PoolSeatsView


def explain(request: Request) -> Response:
    """Explain the denial of a person that is nearest to a time; by default the latest one."""
    return Response(200, request.dynamodb.run(_explain(request)))


def _explain(request: Request) -> Operation[ExplanationView]:
    entitlement_id = request.path["entitlementId"]
    item, usage = yield from fetch_seat_usage(entitlement_id, request.now)
    key = _person(request)
    record, denials = yield from seats.known(entitlement_id, key)
    given = request.query.get("at")
    at = request.now_ms if given is None else given * 1000
    near = [hour for hour in denials if given is None or _distance(hour, at) <= SPAN_MS]
    hour = min(near, key=lambda hour: _distance(hour, at), default=None)
    denial = changes = None
    if hour is not None:
        denial = yield from _attempt(entitlement_id, hour, at)
        changes = yield from _changes_since(entitlement_id, denial["at"])
    names = [record or {}, *reversed(denials)]
    seat_id = next((each["seatId"] for each in names if each.get("seatId")), None)
    seat = seats.view(record or {"seatKey": key})
    is_held = seat["isHeld"]
    zone = item["document"]["timeZone"]
    who = seat_id or f"The person with the seat key {key}"
    return {
        "seatKey": key,
        "seatId": seat_id,
        "at": to_rfc3339(at),
        "summary": _summary(who, at, denial, usage, zone, is_held=is_held),
        "denial": _denial_view(denial) if denial else None,
        "changesSince": changes or [],
        "isHeld": is_held,
        "heldSince": seat["activatedAt"] if is_held else None,
        "seats": usage.view(),
    }


def _person(request: Request) -> str:
    """The seat key of the person that the query names."""
    seat_id, key = request.query.get("seatId"), request.query.get("seatKey")
    if (seat_id is None) == (key is None):
        detail = "is required: who was denied; or seatKey, and not both"
        raise InvalidRequest.at("/seatId", detail, place="query")
    return seats.key_of(request.path["entitlementId"], seat_id, key)


def _distance(hour: Item, at: int) -> int:
    """How far a time is from the attempts of an hour, milliseconds."""
    first, last = int(hour["firstAt"]), int(hour["lastAt"])
    return max(first - at, at - last, 0)


def _attempt(entitlement_id: str, hour: Item, at: int) -> Operation[Item]:
    """The attempt in an hour that is nearest to a time.

    The stream keeps each attempt. Of one that it has not reported yet, only the hour's last is
    known.
    """
    key = hour["seatKey"]
    first = denial_record_key(entitlement_id, hour["firstAt"], key, 0).sk
    last = denial_record_key(entitlement_id, hour["lastAt"], key, 999_999_999).sk
    # From both sides of the time, because there may be more attempts than one page reads.
    middle = f"{min(max(at, hour['firstAt']), hour['lastAt']):013d}"
    found: list[Item] = []
    for pk in denial_record_partitions(entitlement_id, key):
        for low, high, descending in ((first, f"{middle}~", True), (middle, last, False)):
            query = key_range(pk, low, high)._replace(
                filter="seatKey = :key", limit=100, descending=descending
            )
            query = query._replace(values={**query.values, ":key": key})
            items, _ = yield from read_filtered(query, 1)
            found += items
    nearest = min(found, key=lambda each: abs(each["at"] - at), default=None)
    if nearest is None or abs(hour["lastAt"] - at) < abs(nearest["at"] - at):
        is_only = hour["attempts"] == 1
        return {**hour, "at": hour["lastAt"], "isExact": is_only}
    return {**nearest, "attempts": hour["attempts"], "isExact": True}


def _changes_since(entitlement_id: str, at: int) -> Operation[list[ChangeView]]:
    """The changes of terms since a time, newest first."""
    query = Query(
        "pk = :pk AND sk > :at",
        {
            ":pk": audit_key(entitlement_id, 0, "").pk,
            ":at": f"{at:013d}",
            ":kind": "entitlement.updated",
        },
        {"#type": "type"},
        filter="#type = :kind",
        descending=True,
    )
    found, _ = yield from read_filtered(query, MOST_CHANGES)
    return (yield from audit_trail.views(found))


def _denial_view(attempt: Item) -> ExplainedDenialView:
    return {
        "at": to_rfc3339(attempt["at"]),
        "isExact": attempt["isExact"],
        "attemptsInHour": attempt["attempts"],
        "used": attempt["used"],
        "purchased": attempt["seatCount"],
        "hardCap": attempt.get("hardCap"),
        "limitReached": attempt.get("limitReached", HARD_CAP),
        "nextLeaseExpiry": lease_expiry(attempt.get("nextLeaseExpiry")),
    }


def _seats(number: int, one: str, many: str) -> str:
    """So many seats, with a verb."""
    return f"1 seat {one}" if number == 1 else f"{number or 'no'} seats {many}"


def _seats_are(number: int) -> str:
    return _seats(number, "is", "are")


def _seats_were(number: int) -> str:
    return _seats(number, "was", "were")


def _summary(
    who: str, at: int, attempt: Item | None, now: SeatUsage, zone: str, *, is_held: bool
) -> str:
    """The answer in words; times are in the entitlement's time zone."""

    def local(milliseconds: int) -> str:
        moment = datetime.fromtimestamp(milliseconds / 1000, zone_of(zone))
        return f"{moment:%Y-%m-%d %H:%M:%S}"

    holds = f"{who} holds a seat now." if is_held else f"{who} holds no seat now."
    if attempt is None:
        return f"{who} was not denied within 12 hours of {local(at)} ({zone}). {holds}"
    cap, purchased = attempt.get("hardCap"), attempt["seatCount"]
    overdraft = f" and {cap - purchased} in overdraft" if cap and cap > purchased else ""
    denied_at = f"{local(attempt['at'])} ({zone})"
    if attempt.get("limitReached") == OVERDRAFT_PERIOD:
        then = (
            f"{_seats_were(attempt['used'])} in use, {purchased} purchased, and the overdraft"
            " period had ended"
        )
    elif attempt.get("limitReached") == CUSTOMER_CAP:
        then = (
            f"{_seats_were(attempt['used'])} in use, as many as the cap that the customer had set"
            f" ({purchased} purchased)"
        )
    elif not cap:
        then = "there is no seat, because none is purchased"
    elif cap == 1:
        then = f"the only seat was in use{', in overdraft' if overdraft else ''}"
    else:
        then = f"all {cap} seats were in use, {purchased} purchased{overdraft}"
    sentences = [f"{who} was denied at {denied_at}: {then}."]
    due = attempt.get("nextLeaseExpiry")
    if due is not None:
        sentences.append(f"The next lease was to end at {local(due * 1000)}.")
    if (now.purchased, now.hard_cap) == (purchased, cap):
        sentences.append("The limits are the same now.")
    else:
        most = "no hard cap" if now.hard_cap is None else f"a hard cap of {now.hard_cap}"
        sentences.append(f"Now {_seats_are(now.purchased)} purchased, with {most}.")
    sentences.append(f"{_seats_are(now.used).capitalize()} in use. {holds}")
    return " ".join(sentences)
