"""The price of an overdraft: an amount, its currency, and what it is charged for."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from shared.dynamodb.keys import SEATS, usage_of

PEAK_SEATS, SEAT_DAYS = SEAT_BASES = ("peak_seats", "seat_days")
USAGE_BASES = ("units",)
UNITS = USAGE_BASES[0]
BY_MONTH, TO_END_OF_TERM = CHARGES = ("by_month", "to_end_of_term")


class OverdraftPrice(NamedTuple):
    """The price of what is used above the purchased number.

    `basis`: what `amount` is the price of. `free`: so much of it costs nothing. `minimum`: the
    least that a month costs in which anything is charged.
    """

    amount: Decimal
    currency: str
    basis: str
    charge: str
    free: int
    minimum: Decimal | None

    @classmethod
    def of(cls, member: Mapping[str, Any]) -> "OverdraftPrice":
        """The price in an entitlement's document."""
        minimum = member.get("minimum")
        return cls(
            Decimal(member["amount"]),
            member["currency"],
            member["basis"],
            member["charge"],
            member.get("freeSeats", member.get("freeUnits", 0)),
            None if minimum is None else Decimal(minimum),
        )


def price_of(document: Mapping[str, Any], meter: str) -> OverdraftPrice | None:
    """The price of a meter's overdraft; None: it costs nothing, or there is no such meter."""
    member = document.get("overdraftPrice")
    if meter != SEATS:
        key = usage_of(meter)
        limits = document.get("usageLimits") or ()
        member = next((each.get("overdraftPrice") for each in limits if each["key"] == key), None)
    elif document.get("seatCount") is None:
        member = None
    return OverdraftPrice.of(member) if member else None


def is_priced(document: Mapping[str, Any]) -> bool:
    """Whether any overdraft of an entitlement has a price."""
    priced = [document, *(document.get("usageLimits") or ())]
    return any(each.get("overdraftPrice") for each in priced)
