"""When notice is to be given that an entitlement ends: one small item, kept up to date."""

from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import entitlement_key, expiry_key
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import NO_NAMES, Delete, Get, Operation, Update, send
from shared.entitlements.expiry import next_notice, notice_days, when_due


def write_date(entitlement_id: str, now: int) -> Operation[None]:
    """Write when the next notice is due, if the end of an entitlement or its days have changed.

    What is due at that moment stays due. `now` is Unix seconds.
    """
    item = yield from send(Get(entitlement_key(entitlement_id)))
    if item is None:
        return
    key = expiry_key(entitlement_id)
    seen = yield from send(Get(key))
    valid_until, days = item.get("validUntil"), notice_days(item["document"])
    if valid_until is None or item["status"] == "deleted":
        if seen:
            yield from write_with_conflict_retry(Delete(key))
        return
    if seen and (seen["validUntil"], seen["days"]) == (valid_until, days):
        return
    assignments, removals, values = assign(
        {
            "entitlementId": entitlement_id,
            "validUntil": valid_until,
            "days": list(days),
            **when_due(next_notice(valid_until, days, now)),
        }
    )
    yield from write_with_conflict_retry(
        Update(key, set_and_remove(assignments, removals), "", NO_NAMES, values)
    )
