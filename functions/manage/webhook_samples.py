"""Sample events: `POST /v1/webhooks/{webhookId}/test` sends one, complete and marked as a test.

They are built like real ones, of a customer and a person who do not exist.
"""

from collections.abc import Callable
from typing import Any

from shared.clock import EPOCH, to_rfc3339
from shared.entitlements.scheduled_changes import FAILED
from shared.events import builders, types
from shared.events.builders import Event
from shared.history.changes import ChangeRecord
from shared.history.level import Level
from shared.history.overdraft_notices import DAY, Notice, given
from shared.history.thresholds import ENTERED, EXHAUSTED
from shared.overdraft_clock import OverdraftClock
from shared.sales import follow_up

ENTITLEMENT_ID, SEAT_KEY, ACTOR = "ent_test", "test_seat_00", "key_test"
LOW, HIGH = Level(100, 100, 120), Level(120, 100, 120)
DENIED = {
    "seatKey": SEAT_KEY,
    "attempts": 1,
    "actor": ACTOR,
    "request": "test",
    "used": 120,
    "seatCount": 100,
    "hardCap": 120,
}


def sample(webhook_id: str, kind: str, at: int, nonce: str) -> Event:
    """A sample event of a type for one endpoint, at `at` (Unix milliseconds)."""
    candidates = _BUILDERS.get(kind, _of_change)(webhook_id, kind, at)
    [event] = [each for each in candidates if each["type"] == kind]
    event["id"] = builders.event_id("test", webhook_id, nonce)
    event["data"] |= {"test": True}
    if kind in (types.ENDPOINT_DISABLED, types.REPORT_PUBLISHED, types.TRUE_UP_PUBLISHED):
        return event
    event["data"] |= {
        "externalId": None,
        "product": "Test product",
        "sku": None,
        "customer": {"name": "Test customer", "externalId": None},
        "contacts": {"customerAdmin": None, "accountOwner": None},
        "metadata": {},
    }
    if "seat" in event["data"]:
        person = {"seatId": "test@example.com", "seatName": "Test", "attributes": {}}
        event["data"]["seat"] |= person
    return event


def _of_change(_: str, kind: str, at: int) -> list[Event]:
    """The events of a seat that was taken (or released) in overdraft, with everything triggered."""
    is_falling = kind in (types.SEAT_DEACTIVATED, types.OVERDRAFT_EXITED)
    change_types = {types.UPDATED: "updated", types.EXPIRED: "expired", types.DELETED: "deleted"}
    seat = {
        "key": SEAT_KEY,
        "kind": "activated",
        "stamp": (at - EPOCH * 1000) * 100,
        "overdraft": True,
        "leaseEnd": None,
    }
    if is_falling:
        seat |= {"kind": "deactivated", "reason": "released"}
    if kind == types.SEAT_BORROWED:
        seat |= {"borrowed": True, "borrows": True, "leaseEnd": at // 1000 + 7 * 86_400}
    terms = {"status": "active", "validFrom": at // 1000}
    change = ChangeRecord(
        seq=1,
        at=at,
        type=change_types.get(kind, "activated"),
        actor=ACTOR,
        request="test",
        level=LOW if is_falling else HIGH,
        before=HIGH if is_falling else LOW,
        before_at=at,
        terms=terms,
        terms_before={**terms, "status": "suspended"},
        seats=(seat,),
        reached=(120,),
    )
    events = builders.of_change(ENTITLEMENT_ID, change)
    for event in events:
        if event["type"] == types.OVERDRAFT_EXITED:
            event["data"]["episode"] = _episode(at)
    return events


def _of_usage(_: str, __: str, at: int) -> list[Event]:
    """The events of a usage limit that was consumed up to its hard cap."""
    terms = {"status": "active", "validFrom": at // 1000}
    change = ChangeRecord(
        seq=1,
        at=at,
        type="consumed",
        actor=ACTOR,
        request="test",
        level=HIGH,
        before=LOW,
        before_at=at,
        terms=terms,
        terms_before=terms,
        seats=(),
        usage="test",
        period=(at // 1000, None),
        reached=(100, ENTERED, EXHAUSTED),
    )
    return builders.of_change(ENTITLEMENT_ID, change)


def _of_denied_seat(_: str, __: str, at: int) -> list[Event]:
    denial = {**DENIED, "firstAt": at, "lastAt": at}
    return [builders.of_denial(ENTITLEMENT_ID, denial, to_rfc3339(at)[:13])]


def _of_denied_usage(_: str, __: str, at: int) -> list[Event]:
    denial = {**DENIED, "firstAt": at, "lastAt": at}
    denial |= {"usageKey": "test", "quantity": 1, "periodStart": at // 1000}
    return [builders.of_denial(ENTITLEMENT_ID, denial, to_rfc3339(at)[:13])]


def _of_seat_request(_: str, __: str, at: int) -> list[Event]:
    asked = {
        "entitlementId": ENTITLEMENT_ID,
        "requestId": "req_test",
        "seats": 10,
        "message": "A test.",
        "requestedAt": at,
        "requestedBy": "plk_test",
        "used": 120,
        "purchased": 100,
        "hardCap": 120,
    }
    return [builders.of_seat_request(asked)]


def _of_notice(_: str, __: str, at: int) -> list[Event]:
    notice = {
        "entitlementId": ENTITLEMENT_ID,
        "validUntil": at // 1000 + 30 * 86_400,
        "givenDays": 30,
        "givenAt": at,
    }
    return [builders.of_notice(notice)]


def _of_failed_change(_: str, __: str, at: int) -> list[Event]:
    change = {
        "scheduledChangeId": "sch_test",
        "entitlementId": ENTITLEMENT_ID,
        "effectiveAt": at,
        "changes": {"seatCount": 130},
        "status": FAILED,
        "createdAt": at,
        "createdBy": "key_test",
        "endedAt": at,
        "endedBy": "schedule",
        "failure": "The entitlement has been deleted.",
    }
    return [builders.of_failed_change(change)]


def _of_follow_up(_: str, __: str, at: int) -> list[Event]:
    moved = {"state": "open", "reason": follow_up.OVERDRAFT}
    return [builders.of_follow_up(follow_up.change(ENTITLEMENT_ID, None, at, "overdraft", moved))]


def _of_reminder(_: str, __: str, at: int) -> list[Event]:
    state = follow_up.change(ENTITLEMENT_ID, None, at, "key_test", {"state": "open", "dueAt": at})
    return [builders.of_reminder({**state, "remindedAt": at})]


def _of_disabled_endpoint(webhook_id: str, _: str, at: int) -> list[Event]:
    item = {"url": "https://example.com/", "disabledAt": at, "disabledReason": "gone"}
    return [builders.of_disabled(webhook_id, item)]


def _of_decision(_: str, __: str, at: int) -> list[Event]:
    line = {
        "lineId": "2026-10.EUR.seats",
        "usageKey": None,
        "month": "2026-10",
        "currency": "EUR",
        "amount": "37.50",
        "expectedAmount": "37.50",
        "minimum": None,
        "isMinimum": False,
        "parts": [
            {
                "what": "peak",
                "at": to_rfc3339(at),
                "day": "2026-10-14",
                "level": {"used": 103, "purchased": 100, "hardCap": 120},
                "opening": None,
                "overdraft": 3,
                "free": 0,
                "chargedBefore": 0,
                "quantity": 3,
                "basis": "peak_seats",
                "charge": "by_month",
                "unitAmount": "12.50",
                "factor": "31/31",
            }
        ],
        "decision": None,
    }
    decided = {
        "entitlementId": ENTITLEMENT_ID,
        "lineId": line["lineId"],
        "version": 1,
        "decision": "billed",
        "reference": "INV-1",
        "amount": line["amount"],
        "decidedAt": at,
        "decidedBy": ACTOR,
        "line": line,
        "earlier": [],
    }
    return [builders.of_decision(decided)]


def _of_statement(_: str, __: str, at: int) -> list[Event]:
    begin = to_rfc3339(at - at % 86_400_000)
    report = {
        "reportId": "tru_test",
        "publishedAt": at,
        "version": 1,
        "period": {
            "month": "2026-10",
            "quarter": None,
            "from": begin,
            "to": begin,
            "timeZone": "UTC",
        },
        "filters": {},
        "formats": ["html"],
        "summary": {"entitlements": 0, "lines": 0, "totals": []},
    }
    return [builders.of_statement(report)]


def _of_report(_: str, __: str, at: int) -> list[Event]:
    begin = to_rfc3339(at - at % 86_400_000)
    summary = {
        "entitlements": 0,
        "inOverdraft": 0,
        "denied": 0,
        "seatHours": 0.0,
        "deniedSeats": 0,
        "deniedRequests": 0,
        "deniedAttempts": 0,
        "underUsed": 0,
        "monthlyValue": [],
    }
    report = {
        "reportId": "rep_test",
        "publishedAt": at,
        "version": 1,
        "period": {"month": None, "quarter": None, "from": begin, "to": begin, "timeZone": "UTC"},
        "filters": {},
        "formats": ["html"],
        "summary": summary,
    }
    return [builders.of_report(report)]


def _of_clock(_: str, kind: str, at: int) -> list[Event]:
    since = at // 1000
    clock = OverdraftClock(since, since + 30 * DAY)
    item = {
        "entitlementId": ENTITLEMENT_ID,
        **given(clock, Notice(since, kind.rpartition(".")[2]), HIGH),
    }
    if ".usage." in kind:
        item["usageKey"] = "test"
    return [builders.of_overdraft_notice(item)]


def _episode(at: int) -> dict[str, Any]:
    return {
        "episodeId": f"epi_{at}",
        "start": to_rfc3339(at),
        "end": to_rfc3339(at),
        "peak": 120,
        "overdraftSeconds": 0,
        "overdraftSeatSeconds": 0,
        "seatHours": 0.0,
        "distinctSeats": 20,
        "deniedAttempts": 0,
        "deniedSeats": 0,
    }


# Every other type is an event of a change of seats.
_BUILDERS: dict[str, Callable[[str, str, int], list[Event]]] = {
    types.USAGE_OVERDRAFT_ENTERED: _of_usage,
    types.USAGE_OVERDRAFT_EXHAUSTED: _of_usage,
    types.USAGE_THRESHOLD_REACHED: _of_usage,
    types.SEAT_DENIED: _of_denied_seat,
    types.USAGE_DENIED: _of_denied_usage,
    types.CHANGE_FAILED: _of_failed_change,
    types.EXPIRING: _of_notice,
    **dict.fromkeys(types.NOTICE_TYPES, _of_clock),
    types.SEATS_REQUESTED: _of_seat_request,
    types.FOLLOW_UP_UPDATED: _of_follow_up,
    types.FOLLOW_UP_DUE: _of_reminder,
    types.ENDPOINT_DISABLED: _of_disabled_endpoint,
    types.REPORT_PUBLISHED: _of_report,
    types.TRUE_UP_PUBLISHED: _of_statement,
    types.TRUE_UP_DECIDED: _of_decision,
}
