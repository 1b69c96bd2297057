"""Giving notice that entitlements end. The stream makes events and e-mails of it."""

from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import Key, entitlement_key
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import NO_NAMES, Accepted, Get, Operation, Update, send
from shared.entitlements.expiry import due_notice, next_notice, when_due


def give_notice(key: Key, now: int) -> Operation[bool]:
    """Give the notice that is due, once; False: there is none any more."""
    item = yield from send(Get(key))
    if item is None or item.get("earliest", now + 1) > now:
        return False
    seen, valid_until, days = item["earliest"], item["validUntil"], item["days"]
    entitlement = (yield from send(Get(entitlement_key(item["entitlementId"])))) or {}
    # With another end, or deleted, the stream writes or deletes the notice in a moment.
    is_current = (
        entitlement.get("validUntil") == valid_until and entitlement.get("status") != "deleted"
    )
    notice = due_notice(valid_until, days, seen, now) if is_current and now < valid_until else None
    given = {"givenDays": notice.days, "givenAt": now * 1000} if notice else {}
    assignments, removals, values = assign(
        {**given, **when_due(next_notice(valid_until, days, now))}
    )
    write = Update(
        key,
        set_and_remove(assignments, removals),
        "earliest = :seen",
        NO_NAMES,
        {**values, ":seen": seen},
    )
    reply = yield from write_with_conflict_retry(write)
    return notice is not None and isinstance(reply, Accepted)
