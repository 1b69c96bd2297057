"""Usage limits as the API answers them."""

from typing import TypedDict

from shared.clock import to_rfc3339
from shared.limits import UsedView, limit_status, seats_view
from shared.overdraft_clock import OverdraftClock, OverdraftView
from shared.usage.counter import Consumption, Counter
from shared.usage.periods import Period


class PeriodView(TypedDict):
    """A period of a usage limit."""

    periodStart: str
    periodEnd: str | None


class CurrentUsageView(PeriodView):
    """A usage limit in its current period."""

    key: str
    resetSchedule: str
    status: str
    usage: UsedView
    overdraft: OverdraftView | None
    customerCap: int | None


class ConsumptionView(PeriodView):
    """What a request consumed."""

    key: str
    quantity: int
    isOverdraft: bool
    overdraftQuantity: int
    status: str
    usage: UsedView
    overdraft: OverdraftView | None


def usage_view(used: int, purchased: int, hard_cap: int | None) -> UsedView:
    """The `usage` object of the API."""
    return seats_view(used, purchased, hard_cap)


def counter_view(counter: Counter, now: int) -> UsedView:
    """The `usage` object of a counter in the period of `now`, Unix seconds."""
    clock = counter.clock_at(now)
    return seats_view(
        counter.used,
        counter.purchased,
        counter.hard_cap,
        counter.log.customer_cap,
        has_ended=clock is not None and clock.has_ended(now),
    )


def period_view(period: Period) -> PeriodView:
    """A period as the API answers it; `periodEnd` null: none is set."""
    return {
        "periodStart": to_rfc3339(period.start * 1000),
        "periodEnd": None if period.end is None else to_rfc3339(period.end * 1000),
    }


def current_view(key: str, counter: Counter, now: int) -> CurrentUsageView:
    """A usage limit in the period of `now`, Unix seconds."""
    current = counter.as_of(now)
    clock = current.clock_at(now)
    return {
        "key": key,
        "resetSchedule": counter.schedule,
        "status": limit_status(current.used, current.purchased),
        "usage": counter_view(current, now),
        "overdraft": clock.view() if clock else None,
        "customerCap": current.log.customer_cap,
        **period_view(current.period),
    }


def consumed_view(consumed: Consumption, clock: OverdraftClock | None) -> UsedView:
    """The `usage` object with what a request consumed; `clock` is that of the overdraft now."""
    return seats_view(
        consumed.used,
        consumed.purchased,
        consumed.hard_cap,
        consumed.customer_cap,
        has_ended=clock is not None and clock.has_ended(consumed.at_ms // 1000),
    )


def consumption_view(
    key: str, consumed: Consumption, clock: OverdraftClock | None
) -> ConsumptionView:
    """What a request consumed, as the API answers it the first time and again.

    `clock` is that of the overdraft at the time of the answer.
    """
    return {
        "key": key,
        "quantity": consumed.quantity,
        "isOverdraft": consumed.overdraft_quantity > 0,
        "overdraftQuantity": consumed.overdraft_quantity,
        "status": limit_status(consumed.used, consumed.purchased),
        "usage": consumed_view(consumed, clock),
        "overdraft": clock.view() if clock else None,
        **period_view(consumed.period),
    }
