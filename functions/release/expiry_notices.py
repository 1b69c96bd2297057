"""Giving notice that entitlements end. The stream makes events and e-mails of it."""

from shared.dynamodb.keys import Key, entitlement_key
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import NO_NAMES, Accepted, Get, Operation, Update, Value, send
from shared.entitlements.expiry import due_notice, next_notice


def give_notice(key: Key, now: int) -> Operation[bool]:
    """Give the notice that is due, once; False: there is none any more."""
    item = yield from send(Get(key))
    if item is None or item.get("earliest", now + 1) > now:
        return False
    seen, valid_until, days = item["earliest"], item["validUntil"], item["days"]
    entitlement = yield from send(Get(entitlement_key(item["entitlementId"])))
    # With another end, or deleted, the stream writes or deletes the notice in a moment.
    is_current = entitlement is not None and entitlement["status"] != "deleted"
    is_current = is_current and (entitlement or {}).get("validUntil") == valid_until
    notice = due_notice(valid_until, days, seen, now) if is_current and now < valid_until else None
    following = next_notice(valid_until, days, now)
    sets, removes, values = list[str](), list[str](), dict[str, Value]({":seen": seen})
    if notice:
        sets += ["givenDays = :days", "givenAt = :now"]
        values |= {":days": notice.days, ":now": now * 1000}
    if following:
        sets.append("earliest = :next")
        values[":next"] = following.at
    else:
        removes += ["earliest", "sweepKey"]
    expression = f"SET {', '.join(sets)} " if sets else ""
    expression += f"REMOVE {', '.join(removes)}" if removes else ""
    write = Update(key, expression, "earliest = :seen", NO_NAMES, values)
    reply = yield from write_with_conflict_retry(write)
    return notice is not None and isinstance(reply, Accepted)
