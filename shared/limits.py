"""Usage against the two limits, purchased and hard cap, as the API answers it."""

from typing import TypedDict


class UsedView(TypedDict):
    """What is used of a limit."""

    used: int
    purchased: int
    hardCap: int | None
    overdraftUsed: int
    available: int | None


def seats_view(used: int, purchased: int, hard_cap: int | None) -> UsedView:
    """The `seats` object of the API. Overdraft is derived, never stored."""
    return {
        "used": used,
        "purchased": purchased,
        "hardCap": hard_cap,
        "overdraftUsed": max(0, used - purchased),
        "available": None if hard_cap is None else max(0, hard_cap - used),
    }


def limit_status(used: int, purchased: int) -> str:
    """`within_limit`, `at_limit` or `overdraft`."""
    if used > purchased:
        return "overdraft"
    return "at_limit" if used == purchased else "within_limit"
