"""Building events: the same events go to EventBridge and to webhooks.

An event is first *anonymous*. The customer and the person are added when it is sent, from the
entitlement and the seat record (see `enrichment`). So an erased person is erased from every event
that has not been sent yet. An event's id follows from what happened: a redelivery has the same id.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from shared.audit import HARD_CAP
from shared.clock import to_rfc3339
from shared.dynamodb.keys import usage_meter
from shared.dynamodb.requests import Item
from shared.entitlements import scheduled_changes
from shared.events.types import (
    CHANGE_FAILED,
    DELETED,
    ENDPOINT_DISABLED,
    EXPIRED,
    EXPIRING,
    FOLLOW_UP_DUE,
    FOLLOW_UP_UPDATED,
    OVERDRAFT_ENDED,
    OVERDRAFT_ENDING,
    OVERDRAFT_ENTERED,
    OVERDRAFT_EXHAUSTED,
    OVERDRAFT_EXITED,
    OVERDRAFT_RECOVERED,
    REPORT_PUBLISHED,
    SEAT_ACTIVATED,
    SEAT_BORROWED,
    SEAT_DEACTIVATED,
    SEAT_DENIED,
    SEATS_REQUESTED,
    THRESHOLD_REACHED,
    TRUE_UP_DECIDED,
    TRUE_UP_PUBLISHED,
    UPDATED,
    USAGE_DENIED,
    USAGE_OVERDRAFT_ENDED,
    USAGE_OVERDRAFT_ENDING,
    USAGE_OVERDRAFT_ENTERED,
    USAGE_OVERDRAFT_EXHAUSTED,
    USAGE_OVERDRAFT_RECOVERED,
    USAGE_THRESHOLD_REACHED,
)
from shared.history.changes import ChangeRecord, granted_at
from shared.history.level import Level
from shared.history.overdraft_notices import ENDED, ENDING, RECOVERED
from shared.history.thresholds import ENTERED, EXHAUSTED, seats_left
from shared.limits import seats_view
from shared.overdraft_clock import OverdraftClock
from shared.sales import follow_up, seat_requests, true_up_views
from shared.seats.encoding import activation_id
from shared.seats.shard import lease_expiry
from shared.usage.counter import REMOVED
from shared.usage.periods import Period
from shared.usage.views import period_view, usage_view

Event = dict[str, Any]
_TERMS_EVENTS = {"updated": UPDATED, "expired": EXPIRED, "deleted": DELETED}


def event_id(*parts: object) -> str:
    """An id that follows from what the event is about.

    It includes the time: after a restore to an earlier moment, numbers are used again.
    """
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return f"evt_{base64.b32encode(digest[:15]).decode().lower()}"


def _event(kind: str, at: int, about: tuple[object, ...], data: dict[str, Any]) -> Event:
    return {
        "id": event_id(kind, *about),
        "type": kind,
        "timestamp": to_rfc3339(at),
        "data": data,
    }


def of_change(entitlement_id: str, change: ChangeRecord) -> list[Event]:
    """The anonymous events of a change record, in the order in which they count."""
    if change.usage:
        return _of_count(entitlement_id, change)
    level = change.level
    before = change.before or level._replace(used=0)
    seats = seats_view(*level)
    base = {
        "entitlementId": entitlement_id,
        "seats": seats,
        "seq": change.seq,
        "actor": change.actor,
        "requestId": change.request,
    }
    events: list[Event] = []

    def add(kind: str, about: object = "", **data: Any) -> None:
        events.append(
            _event(
                kind, change.at, (entitlement_id, 0, change.seq, change.at, about), {**base, **data}
            )
        )

    for seat in change.seats:
        if seat["kind"] == "deactivated":
            heldms = max(0, change.at - granted_at(seat["stamp"]))
            view = {**_seat_view(seat), "heldSeconds": heldms // 1000}
            add(SEAT_DEACTIVATED, seat["key"], seat=view, reason=seat["reason"])
        elif seat["kind"] == "activated":
            add(SEAT_ACTIVATED, seat["key"], seat=_seat_view(seat))
        if seat.get("borrows"):
            add(SEAT_BORROWED, seat["key"], seat=_seat_view(seat))
    came = [seat for seat in change.seats if seat["kind"] == "activated"]
    # The last seat that came made the difference.
    made_by = {"seat": _seat_view(came[-1])} if came else {}
    for what in change.reached:
        left = seats_left(what)
        percent = what if left is None else None
        add(THRESHOLD_REACHED, what, threshold=percent, seatsLeft=left, **made_by)
    for crossed in _crossings(before, level, has_grant=bool(came)):
        add(crossed, **made_by)
    kind = _TERMS_EVENTS.get(change.type)
    old, new = _terms_view(before, change.terms_before), _terms_view(level, change.terms)
    # A change of the lease alone changes no limits, status or validity.
    if kind and old != new:
        add(kind, before=old, after=new)
    return events


def of_threshold(what: int | str) -> str:
    """The event of a triggered threshold, or of a limit that a usage limit reached."""
    return USAGE_THRESHOLD_REACHED if isinstance(what, int) else _OF_USAGE[what]


_OF_USAGE = {ENTERED: USAGE_OVERDRAFT_ENTERED, EXHAUSTED: USAGE_OVERDRAFT_EXHAUSTED}


def _of_count(entitlement_id: str, change: ChangeRecord) -> list[Event]:
    """The anonymous events of a usage limit's change record: what it triggered, and new limits."""
    period = Period(*change.period) if change.period else Period(0, None)
    base = {
        "entitlementId": entitlement_id,
        "usage": {
            "key": change.usage,
            **usage_view(*change.level),
            **period_view(period),
        },
        "seq": change.seq,
        "actor": change.actor,
        "requestId": change.request,
    }
    about = (entitlement_id, usage_meter(change.usage), change.seq, change.at)
    events: list[Event] = []
    for what in change.reached:
        percent = {"threshold": what} if isinstance(what, int) else {}
        events.append(_event(of_threshold(what), change.at, (*about, what), {**base, **percent}))
    before = change.before and _limits_view(change.before, change.terms_before)
    after = _limits_view(change.level, change.terms)
    if change.type == "removed":
        events.append(_event(UPDATED, change.at, about, {**base, "before": before, "after": None}))
    elif change.type in ("added", "updated") and before != after:
        events.append(_event(UPDATED, change.at, about, {**base, "before": before, "after": after}))
    return events


def _limits_view(level: Level, terms: Mapping[str, Any]) -> dict[str, Any] | None:
    """A usage limit as events show it; None where the entitlement did not have it."""
    if terms.get("status") == REMOVED:
        return None
    return {
        "limit": level.purchased,
        "hardCap": level.hard_cap,
        "customerCap": terms.get("customerCap"),
        "resetSchedule": terms.get("schedule"),
    }


def _crossings(before: Level, level: Level, *, has_grant: bool) -> list[str]:
    """The limits that usage has crossed, either way."""
    crossed = []
    if level.overdraft and not before.overdraft:
        crossed.append(OVERDRAFT_ENTERED)
    is_full = level.hard_cap is not None and level.used >= level.hard_cap
    was_full = before.hard_cap is not None and before.used >= before.hard_cap
    # Lowering the cap takes no seat.
    if has_grant and is_full and not was_full:
        crossed.append(OVERDRAFT_EXHAUSTED)
    if before.overdraft and not level.overdraft:
        crossed.append(OVERDRAFT_EXITED)
    return crossed


def _seat_view(seat: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seatKey": seat["key"],
        "activationId": activation_id(seat["key"], seat["stamp"]),
        "isOverdraftSeat": seat["overdraft"],
        "isBorrowed": seat.get("borrowed", False),
        "activatedAt": to_rfc3339(granted_at(seat["stamp"])),
        "leaseExpiry": lease_expiry(seat["leaseEnd"]),
    }


def _terms_view(level: Level, terms: Mapping[str, Any]) -> dict[str, Any]:
    def time_of(name: str) -> str | None:
        value = terms.get(name)
        return None if value is None else to_rfc3339(value * 1000)

    return {
        "seatCount": level.purchased,
        "hardCap": level.hard_cap,
        "customerCap": terms.get("customerCap"),
        "status": terms.get("status"),
        "validFrom": time_of("validFrom"),
        "validUntil": time_of("validUntil"),
    }


def of_denial(entitlement_id: str, item: Item, hour: str, later_shard: str = "") -> Event:
    """The anonymous event of one denied attempt; `item` is the denial item of that hour.

    `later_shard` tells it apart from an attempt that an earlier release counted in the same hour.
    """
    level = (item["used"], item["seatCount"], item.get("hardCap"))
    about: tuple[object, ...] = (entitlement_id, hour, item["seatKey"], item["attempts"])
    if later_shard:
        about = (*about, later_shard)
    denial = {
        "hour": f"{hour}:00:00Z",
        "attempts": item["attempts"],
        "firstAt": to_rfc3339(item["firstAt"]),
        "lastAt": to_rfc3339(item["lastAt"]),
        "limitReached": item.get("limitReached", HARD_CAP),
    }
    data: dict[str, Any] = {
        "entitlementId": entitlement_id,
        "denial": denial,
        "actor": item["actor"],
        "requestId": item["request"],
    }
    if usage := item.get("usageKey"):
        period = Period(item["periodStart"], item.get("periodEnd"))
        denial |= {"requestKey": item["seatKey"], "quantity": item["quantity"]}
        data["usage"] = {"key": usage, **usage_view(*level), **period_view(period)}
        return _event(USAGE_DENIED, item["lastAt"], (*about, usage), data)
    data |= {"seats": seats_view(*level), "seat": {"seatKey": item["seatKey"]}}
    return _event(SEAT_DENIED, item["lastAt"], about, data)


def of_disabled(webhook_id: str, item: Item) -> Event:
    """The event of an endpoint that was disabled because of its answers."""
    return _event(
        ENDPOINT_DISABLED,
        item["disabledAt"],
        (webhook_id, item["disabledAt"]),
        {
            "webhookId": webhook_id,
            "url": item["url"],
            "reason": item["disabledReason"],
            "entitlementId": item.get("entitlementId"),
        },
    )


def of_follow_up(entry: Item) -> Event:
    """The event of a changed follow-up; `entry` is the change as it is stored."""
    entitlement_id = entry["entitlementId"]
    return _event(
        FOLLOW_UP_UPDATED,
        entry["changedAt"],
        (entitlement_id, entry["version"]),
        {
            "entitlementId": entitlement_id,
            "actor": entry["changedBy"],
            "followUp": follow_up.entry_view(entry),
        },
    )


def of_reminder(state: Item) -> Event:
    """The event of a follow-up whose due date has come; `state` is its present state."""
    entitlement_id = state["entitlementId"]
    return _event(
        FOLLOW_UP_DUE,
        state["remindedAt"],
        (entitlement_id, state["dueAt"], state["remindedAt"]),
        {
            "entitlementId": entitlement_id,
            "actor": "sweep",
            "followUp": follow_up.entry_view(state),
        },
    )


def of_decision(item: Item) -> Event:
    """The event of a decision about a line of a true-up; `item` is the line as it is stored."""
    entitlement_id = item["entitlementId"]
    return _event(
        TRUE_UP_DECIDED,
        item["decidedAt"],
        (entitlement_id, item["lineId"], item["version"]),
        {
            "entitlementId": entitlement_id,
            "actor": item["decidedBy"],
            "line": true_up_views.decided_view(item)["line"],
        },
    )


def of_notice(item: Item) -> Event:
    """The event of a notice that an entitlement ends."""
    entitlement_id = item["entitlementId"]
    return _event(
        EXPIRING,
        item["givenAt"],
        (entitlement_id, item["validUntil"], item["givenDays"]),
        {
            "entitlementId": entitlement_id,
            "actor": "sweep",
            "validUntil": to_rfc3339(item["validUntil"] * 1000),
            "daysLeft": item["givenDays"],
        },
    )


_OF_CLOCK = {
    (ENDING, False): OVERDRAFT_ENDING,
    (ENDED, False): OVERDRAFT_ENDED,
    (RECOVERED, False): OVERDRAFT_RECOVERED,
    (ENDING, True): USAGE_OVERDRAFT_ENDING,
    (ENDED, True): USAGE_OVERDRAFT_ENDED,
    (RECOVERED, True): USAGE_OVERDRAFT_RECOVERED,
}


def of_overdraft_notice(item: Item) -> Event:
    """The event of a notice of an overdraft's clock."""
    entitlement_id, usage, what = item["entitlementId"], item.get("usageKey"), item["givenWhat"]
    level = (item["used"], item["purchased"], item.get("hardCap"))
    clock = OverdraftClock(item["givenSince"], item["givenEndsAt"])
    if what == RECOVERED:
        clock = clock._replace(recovers_at=item["givenAt"] // 1000)
    has_ended = what == ENDED
    stands: dict[str, Any] = {"seats": seats_view(*level, has_ended=has_ended)}
    if usage:
        stands = {"usage": {"key": usage, **seats_view(*level, has_ended=has_ended)}}
    return _event(
        _OF_CLOCK[what, usage is not None],
        item["givenAt"],
        (entitlement_id, usage or "", item["givenSince"], item["givenAt"]),
        {"entitlementId": entitlement_id, "actor": "sweep", **stands, "overdraft": clock.view()},
    )


def of_failed_change(item: Item) -> Event:
    """The event of a scheduled change that was refused when it was to be applied."""
    return _event(
        CHANGE_FAILED,
        item["endedAt"],
        (item["scheduledChangeId"],),
        {
            "entitlementId": item["entitlementId"],
            "actor": item["endedBy"],
            "scheduledChange": scheduled_changes.view(item),
        },
    )


def of_seat_request(item: Item) -> Event:
    """The event of a customer who asks for more; `item` is the request."""
    entitlement_id, is_usage = item["entitlementId"], item.get("usageKey") is not None
    stands = (usage_view if is_usage else seats_view)(
        item["used"], item["purchased"], item.get("hardCap")
    )
    return _event(
        SEATS_REQUESTED,
        item["requestedAt"],
        (item["requestId"],),
        {
            "entitlementId": entitlement_id,
            "actor": item["requestedBy"],
            "seats": None if is_usage else stands,
            "usage": stands if is_usage else None,
            "request": seat_requests.view(item),
        },
    )


def _totals(summary: Item) -> Item:
    """The totals of a report without its calls. The table stores no fractions."""
    totals = {name: value for name, value in summary.items() if name not in ("calls", "digest")}
    return {
        **totals,
        "underUsed": summary.get("underUsed", 0),
        "seatHours": float(summary["seatHours"]),
    }


def of_statement(item: Item) -> Event:
    """The event of a published statement of what overdraft costs."""
    return _event(
        TRUE_UP_PUBLISHED,
        item["publishedAt"],
        (item["reportId"],),
        {
            "trueUpId": item["reportId"],
            "version": item["version"],
            "previousTrueUpId": item.get("previousReportId"),
            "period": item["period"],
            "filters": item["filters"],
            "formats": item["formats"],
            "summary": item["summary"],
        },
    )


def of_report(item: Item) -> Event:
    """The event of a published report. Whoever may read it gets its files by the API."""
    if item.get("kind") == "trueUp":
        return of_statement(item)
    return _event(
        REPORT_PUBLISHED,
        item["publishedAt"],
        (item["reportId"],),
        {
            "reportId": item["reportId"],
            "version": item["version"],
            "previousReportId": item.get("previousReportId"),
            "period": item["period"],
            "filters": item["filters"],
            "formats": item["formats"],
            "summary": _totals(item["summary"]),
        },
    )
