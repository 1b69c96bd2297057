"""Usage against the two limits, purchased and hard cap, as the API answers it."""

from typing import TypedDict


class SeatChargeView(TypedDict):
    """What one more seat adds to what this month costs."""

    month: str
    currency: str
    amount: str
    expectedAmount: str
    basis: str
    charge: str


class UsedView(TypedDict):
    """What is used of a limit."""

    used: int
    purchased: int
    hardCap: int | None
    overdraftUsed: int
    available: int | None


def lowest(*caps: int | None) -> int | None:
    """The lowest of some caps; None: there is none."""
    return min((cap for cap in caps if cap is not None), default=None)


def seats_view(
    used: int,
    purchased: int,
    hard_cap: int | None,
    customer_cap: int | None = None,
    *,
    has_ended: bool = False,
) -> UsedView:
    """The `seats` object of the API. Overdraft is derived, never stored.

    `has_ended`: the period of the overdraft is over, so no more than purchased is available. Nor is
    more than the cap that the customer has set.
    """
    cap = lowest(purchased if has_ended else hard_cap, customer_cap)
    return {
        "used": used,
        "purchased": purchased,
        "hardCap": hard_cap,
        "overdraftUsed": max(0, used - purchased),
        "available": None if cap is None else max(0, cap - used),
    }


def limit_status(used: int, purchased: int) -> str:
    """`within_limit`, `at_limit` or `overdraft`."""
    if used > purchased:
        return "overdraft"
    return "at_limit" if used == purchased else "within_limit"
