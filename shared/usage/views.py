"""Usage limits as the API answers them."""

from typing import TypedDict

from shared.clock import to_rfc3339
from shared.limits import UsedView, limit_status, seats_view
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


class ConsumptionView(PeriodView):
    """What a request consumed."""

    key: str
    quantity: int
    isOverdraft: bool
    overdraftQuantity: int
    status: str
    usage: UsedView


def usage_view(used: int, purchased: int, hard_cap: int | None) -> UsedView:
    """The `usage` object of the API."""
    return seats_view(used, purchased, hard_cap)


def period_view(period: Period) -> PeriodView:
    """A period as the API answers it; `periodEnd` null: none is set."""
    return {
        "periodStart": to_rfc3339(period.start * 1000),
        "periodEnd": None if period.end is None else to_rfc3339(period.end * 1000),
    }


def current_view(key: str, counter: Counter, now: int) -> CurrentUsageView:
    """A usage limit in the period of `now`, Unix seconds."""
    current = counter.as_of(now)
    return {
        "key": key,
        "resetSchedule": counter.schedule,
        "status": limit_status(current.used, current.purchased),
        "usage": usage_view(current.used, current.purchased, current.hard_cap),
        **period_view(current.period),
    }


def consumption_view(key: str, consumed: Consumption) -> ConsumptionView:
    """What a request consumed, as the API answers it the first time and again."""
    return {
        "key": key,
        "quantity": consumed.quantity,
        "isOverdraft": consumed.overdraft_quantity > 0,
        "overdraftQuantity": consumed.overdraft_quantity,
        "status": limit_status(consumed.used, consumed.purchased),
        "usage": usage_view(consumed.used, consumed.purchased, consumed.hard_cap),
        **period_view(consumed.period),
    }
