"""The limits and terms of a usage limit, and the writes that change them."""

from typing import Any

from shared.audit import Change
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import (
    usage_key,
)
from shared.dynamodb.requests import (
    Operation,
    Put,
    Update,
)
from shared.overdraft_clock import (
    OverdraftClock,
    clock_attributes,
    period_attributes,
    started,
)
from shared.overdraft_clock import under_terms as clock_under_terms
from shared.usage.consumption import NEXT_VERSION, NOT_SHARDED
from shared.usage.counter import REMOVED, Counter, RequestLog, UsageTerms
from shared.usage.periods import DAY, Period, calendar_month
from shared.usage.request_log import archive, rotation
from shared.validity import status_at

# --- Terms ----------------------------------------------------------------------------------------


def new_counter(
    entitlement_id: str, usage: str, terms: UsageTerms, change: Change, kind: str = "created"
) -> Put:
    """A counter of which nothing is used. `kind` is `added` for an entitlement in use."""
    period = terms.first_period(change.now)
    log = RequestLog({}, terms.purchased, terms.hard_cap, period, terms.customer_cap)
    return Put(
        usage_key(entitlement_id, usage),
        {
            "left": log.base,
            "leftPurchased": terms.purchased,
            **{k: v for k, v in period_attributes(terms.overdraft_period).items() if v is not None},
            **log.terms(),
            "recent": {},
            "earlier": {},
            "leaf": 1,
            "droppedAt": 0,
            "droppedTo": 0,
            "schedule": terms.schedule,
            "timeZone": terms.zone,
            "status": terms.status,
            "validFrom": terms.valid_from,
            "validUntil": terms.valid_until,
            "period": 1,
            "seq": 1,
            "last": change.record(kind),
        },
        "attribute_not_exists(pk)",
    )


def under_terms(counter: Counter, terms: UsageTerms, now: int, *, is_renewed: bool) -> Counter:
    """The counter under new terms. What was used stays used until a period begins.

    `is_renewed`: the end of the validity was moved later. That begins a new period of a limit
    `on_renewal`: at once if the validity has ended, otherwise at the end that it had when it was
    first moved, earlier or later. So correcting a mistyped end gives nothing away.
    """
    current = counter.as_of(now)
    ends = counter.valid_until
    clock = _clock_under(current, terms, now)
    is_lowered = current.lowered_to is not None and clock is not None and clock.has_ended(now)
    lowered_to = terms.purchased if is_lowered else None
    log = current.log._replace(
        purchased=terms.purchased, hard_cap=terms.hard_cap, customer_cap=terms.customer_cap
    )
    base = log.base if lowered_to is None else min(lowered_to, log.base)
    current = current._replace(
        overdraft_period=terms.overdraft_period,
        clock=clock,
        lowered_to=lowered_to,
        left=current.left + base - current.base,
        log=log,
        schedule=terms.schedule,
        zone=terms.zone,
        status=terms.status,
        valid_from=terms.valid_from,
        valid_until=terms.valid_until,
    )
    if terms.schedule == "on_renewal":
        if is_renewed and ends is not None and ends <= now:
            return current.begun(Period(now, None))
        known = current.period.end if counter.schedule == "on_renewal" else None
        was_moved = ends != terms.valid_until
        begins = ends if known is None and was_moved else known
        period = current.period._replace(end=begins)
        return current._replace(log=current.log._replace(period=period))
    if terms.schedule == "monthly":
        period = calendar_month(now, terms.zone)
        if counter.schedule == "monthly" and counter.zone != terms.zone:
            # In the new zone it may be another month already, or still: no month is counted twice.
            middle = current.period.start + 14 * DAY
            month = calendar_month(middle, terms.zone)
            if period.start > month.start:
                return current.begun(period)
            period = month
        return current._replace(log=current.log._replace(period=period))
    period = current.period._replace(end=None)
    return current._replace(log=current.log._replace(period=period))


def _clock_under(counter: Counter, terms: UsageTerms, now: int) -> OverdraftClock | None:
    """The clock of a counter under new terms, if these are in force and have a period."""
    status = status_at(terms.status, terms.valid_from, terms.valid_until, now)
    if terms.overdraft_period is None:
        return None
    if status == "not_yet_valid" and counter.used > terms.purchased:
        return started(terms.overdraft_period, terms.valid_from)
    if status != "active":
        return None
    purchased = (counter.purchased, terms.purchased)
    before, clock = counter.overdraft_period, counter.clock_at(now)
    return clock_under_terms(clock, before, terms.overdraft_period, purchased, counter.used, now)


def terms_update(
    entitlement_id: str, usage: str, counter: Counter, new: Counter, change: Change
) -> Operation[Update | None]:
    """The write that brings a counter from what was read to its new form; None: nothing changes.

    The requests that the next rotation removes from the counter are archived first.
    """
    if new._replace(left=counter.left, log=counter.log, clock=counter.clock) == counter and (
        new.log.terms() == counter.log.terms()
    ):
        return None
    counter_key = usage_key(entitlement_id, usage)
    sets: dict[str, Any] = {
        "#status": new.status,
        "validFrom": new.valid_from,
        "validUntil": new.valid_until,
        "schedule": new.schedule,
        "#zone": new.zone,
        "#period": new.period_number,
    }
    begins = new.period_number != counter.period_number
    names = {"#status": "status", "#last": "last", "#period": "period", "#zone": "timeZone"}
    values: dict[str, Any] = {":one": 1, ":leaf": counter.log_number, ":deleted": "deleted"}
    assignments = [NEXT_VERSION]
    if begins or new.log.terms() != counter.log.terms():
        dropped = yield from archive(counter_key, counter, change.now_ms)
        turning, more = rotation(counter, dropped, change)
        values |= {**more, ":none": {}}
        assignments += [turning, "recent = :none"]
        names["#left"] = "left"
        if begins:
            assignments.append("#left = :left")
            values[":left"] = new.left
        else:
            assignments.append("#left = #left + :more")
            values[":more"] = new.left - counter.left
        sets |= {
            "purchased": new.purchased,
            "hardCap": new.hard_cap,
            "customerCap": new.log.customer_cap,
            "periodStart": new.period.start,
            "periodEnd": new.period.end,
        }
    condition = "leaf = :leaf AND #status <> :deleted"
    if new.overdraft_period or counter.overdraft_period:
        # The clock follows from the usage as it was read.
        sets |= {
            **period_attributes(new.overdraft_period),
            **clock_attributes(new.clock),
            "leftPurchased": new.left_purchased,
            "loweredTo": new.lowered_to,
        }
        condition += " AND seq = :seen"
        values[":seen"] = counter.seq
    settings, removals, new_values = assign(sets)
    kind = new.status if new.status in (REMOVED, "deleted") else "updated"
    if counter.shards is None:
        condition += f" AND {NOT_SHARDED}"
    else:
        # Nothing is allocated: see `allocation.lock`.
        condition += " AND heldAt = :held AND holds = :holds"
        values |= {":held": counter.locked_ms, ":holds": counter.lock_number}
        removals = [*removals, "heldAt", "heldBy"]
    return Update(
        counter_key,
        set_and_remove([*assignments, *settings], removals),
        condition,
        names,
        {**values, **new_values, ":change": change.record(kind)},
    )
