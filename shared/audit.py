"""The audit trail: who changed what, and when; denials on record."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from shared.dynamodb.keys import Key, audit_key, audit_list, audit_shard
from shared.dynamodb.requests import Item, Put, Update, Value
from shared.ids import new_id

EVIDENCE_SECONDS = 400 * 86_400  # evidence stays on record for 13 months


class Change(NamedTuple):
    """Who makes a change, in which request, and when."""

    actor: str
    request_id: str
    now_ms: int
    actor_name: str | None = None

    @property
    def now(self) -> int:
        """Unix seconds."""
        return self.now_ms // 1000

    def at(self, now_ms: int) -> "Change":
        """The same change at a later time. A clock that goes back does not take the time back."""
        return self._replace(now_ms=max(now_ms, self.now_ms))

    def record(self, kind: str, **details: Any) -> dict[str, Any]:
        """The `last` of an item: the change that made this version."""
        present = {name: value for name, value in details.items() if value}
        return {
            "type": kind,
            "actor": self.actor,
            "request": self.request_id,
            "at": self.now_ms,
            **present,
        }


# The limit for which somebody was denied.
HARD_CAP = "hardCap"
OVERDRAFT_PERIOD = "overdraftPeriod"
CUSTOMER_CAP = "customerCap"
LIMITS_REACHED = (HARD_CAP, OVERDRAFT_PERIOD, CUSTOMER_CAP)


def limit_reached(
    purchased: int, hard_cap: int | None, customer_cap: int | None, *, has_ended: bool
) -> str:
    """The limit for which somebody is denied: the lowest that holds.

    `has_ended`: the period of an overdraft is over, so that what was purchased is a cap.
    """
    is_timed = has_ended and hard_cap != purchased
    if customer_cap is not None and (not is_timed or customer_cap < purchased):
        return CUSTOMER_CAP
    return OVERDRAFT_PERIOD if is_timed else HARD_CAP


def denial(
    record: Key,
    about: Mapping[str, Value],
    level: tuple[int, int, int | None],
    limit_reached: str,
    change: Change,
) -> Update:
    """Record one more denied attempt in this hour, with the limits in force.

    `about` says who or what was denied; `level` is what was used, purchased, and the hard cap;
    `limit_reached` is one of `LIMITS_REACHED`. The attempt counts in the hour and in its quarter
    (`q0` to `q3`). The request id keeps a repetition of our own write from counting twice.
    """
    used, purchased, hard_cap = level
    assignments = "".join(f"{name} = :{name}, " for name in about)
    return Update(
        record,
        f"SET {assignments}seatCount = :purchased, hardCap = :cap, used = :used,"
        " firstAt = if_not_exists(firstAt, :at), lastAt = :at, #request = :request,"
        " actor = :actor, #ttl = :ttl, limitReached = :limit ADD attempts :one, #quarter :one",
        "attribute_not_exists(#request) OR #request <> :request",
        {"#request": "request", "#ttl": "ttl", "#quarter": f"q{change.now // 900 % 4}"},
        {
            **{f":{name}": value for name, value in about.items()},
            ":purchased": purchased,
            ":cap": hard_cap,
            ":used": used,
            ":at": change.now_ms,
            ":limit": limit_reached,
            ":request": change.request_id,
            ":actor": change.actor,
            ":ttl": change.now + EVIDENCE_SECONDS,
            ":one": 1,
        },
    )


def utc_hour(now: int) -> str:
    """The UTC hour of a time, `YYYY-MM-DDTHH`."""
    return time.strftime("%Y-%m-%dT%H", time.gmtime(now))


# --- Audit entries --------------------------------------------------------------------------------

# What people change through the API, and what they do to a person's seat. Activations and what
# software does with a license key are history.
ENTRY_TYPES = (
    "entitlement.created",
    "entitlement.updated",
    "entitlement.deleted",
    "scheduled_change.created",
    "scheduled_change.cancelled",
    "scheduled_change.failed",
    "seat.released",
    "person.erased",
    "usage.corrected",
    "seat_request.created",
    "seat_request.updated",
    "follow_up.updated",
    "true_up.decided",
    "license_key.created",
    "license_key.revoked",
    "portal_link.created",
    "portal_link.revoked",
    "api_key.created",
    "api_key.revoked",
    "sign_in_link.created",
    "session.created",
    "session.ended",
    "webhook.created",
    "webhook.updated",
    "webhook.deleted",
    "webhook.secret_rotated",
    "webhook.tested",
    "webhook.resent",
)


class Subject(NamedTuple):
    """What was changed, besides the entitlement: `id` is a seat key, the id of a key, and so on.

    A person has no `name` here, so that an entry needs no change when the person is erased.
    """

    id: str
    name: str | None = None


class ChangedView(TypedDict):
    """A member before and after a change."""

    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, ChangedView]:
    """The members that differ, each with `before` and `after`; None where there was nothing."""
    return {
        name: {"before": before.get(name), "after": after.get(name)}
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }


def entry(
    change: Change,
    kind: str,
    entitlement_id: str | None,
    subject: Subject | None = None,
    changes: Mapping[str, Any] | None = None,
    *,
    reason: str | None = None,
    nonce: str = "",
) -> tuple[Key, Item]:
    """The audit entry of a change, one of `ENTRY_TYPES`; stored for 13 months.

    A request makes one entry at most, and writes it in the transaction that makes the change.
    `nonce` distinguishes entries of one request. The same change has the same key, so it is on
    record once, however often it is written.
    """
    change_id = new_id("chg", f"{change.request_id}/{kind}/{nonce}")
    key = audit_key(entitlement_id, change.now_ms, change_id)
    month = time.strftime("%Y-%m", time.gmtime(change.now))
    item: Item = {
        "changeId": change_id,
        "type": kind,
        "entitlementId": entitlement_id,
        "actor": change.actor,
        "actorName": change.actor_name,
        "request": change.request_id,
        "at": change.now_ms,
        "subjectId": subject.id if subject else None,
        "subjectName": subject.name if subject else None,
        "changes": dict(changes or {}),
        "reason": reason,
        "listKey": audit_list(month, audit_shard(change_id)),
        "listSort": key.sk,
        "ttl": change.now + EVIDENCE_SECONDS,
    }
    return key, {name: value for name, value in item.items() if value is not None}


def entry_put(
    change: Change,
    kind: str,
    entitlement_id: str | None,
    subject: Subject | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Put:
    """The write of an audit entry, for the transaction that makes the change."""
    return Put(*entry(change, kind, entitlement_id, subject, changes))
