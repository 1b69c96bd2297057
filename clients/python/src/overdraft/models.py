"""What the stack answers, as Python has it: snake_case, datetimes, frozen.

Members that a later release adds are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

Json = Mapping[str, Any]
Numbers = TypeVar("Numbers", bound="Seats")


def time_of(text: Any) -> datetime | None:
    """A time of the API, which ends in `Z`; None stays None."""
    if text is None:
        return None
    # Python 3.10 does not know `Z`.
    return datetime.fromisoformat(str(text).replace("Z", "+00:00"))


@dataclass(frozen=True)
class Seats:
    """Seats in use, against both limits. `hard_cap` None: there is none."""

    used: int
    purchased: int
    hard_cap: int | None
    overdraft_used: int
    available: int | None

    @classmethod
    def of(cls: type[Numbers], given: Json) -> Numbers:
        """The numbers in an answer."""
        return cls(
            given["used"],
            given["purchased"],
            given["hardCap"],
            given["overdraftUsed"],
            given["available"],
        )


class Usage(Seats):
    """Use of a usage limit in its period, against both limits."""


@dataclass(frozen=True)
class Contact:
    """Whom to ask for more."""

    name: str | None
    email: str | None
    phone: str | None

    @classmethod
    def of(cls, given: Json) -> Contact:
        """The contact in a denial."""
        return cls(given.get("name"), given.get("email"), given.get("phone"))


@dataclass(frozen=True)
class BorrowedSeats:
    """How many seats are borrowed, and how many may be."""

    used: int
    max: int

    @classmethod
    def of(cls, given: Json) -> BorrowedSeats:
        """The numbers in an answer."""
        return cls(given["used"], given["max"])


@dataclass(frozen=True)
class Activation:
    """A seat that is held. `lease_expiry` None: until it is released.

    `signed_lease` is a JWS, if it was asked for and the lease was written by this request.
    """

    activation_id: str
    entitlement_id: str
    seat_id: str
    seat_name: str | None
    attributes: Mapping[str, str]
    is_overdraft: bool
    is_borrowed: bool
    activated_at: datetime
    lease_expiry: datetime | None
    status: str
    seats: Seats
    signed_lease: str | None = None

    @classmethod
    def of(cls, given: Json) -> Activation:
        """The activation in an answer."""
        activated_at = time_of(given["activatedAt"])
        assert activated_at is not None
        return cls(
            given["activationId"],
            given["entitlementId"],
            given["seatId"],
            given["seatName"],
            given["attributes"],
            given["isOverdraftSeat"],
            given.get("isBorrowed", False),
            activated_at,
            time_of(given["leaseExpiry"]),
            given["status"],
            Seats.of(given["seats"]),
            given.get("signedLease"),
        )


@dataclass(frozen=True)
class HeldSeat:
    """A seat in the list of those that are held. Names follow a moment later."""

    activation_id: str
    seat_key: str
    seat_id: str | None
    seat_name: str | None
    attributes: Mapping[str, str]
    is_overdraft: bool
    is_borrowed: bool
    activated_at: datetime | None
    lease_expiry: datetime | None

    @classmethod
    def of(cls, given: Json) -> HeldSeat:
        """A seat of a list."""
        return cls(
            given["activationId"],
            given["seatKey"],
            given["seatId"],
            given["seatName"],
            given["attributes"],
            given["isOverdraftSeat"],
            given.get("isBorrowed", False),
            time_of(given["activatedAt"]),
            time_of(given["leaseExpiry"]),
        )


@dataclass(frozen=True)
class Consumption:
    """What a request consumed of a usage limit, and the usage with it."""

    key: str
    quantity: int
    is_overdraft: bool
    overdraft_quantity: int
    status: str
    usage: Usage
    period_start: datetime | None
    period_end: datetime | None

    @classmethod
    def of(cls, given: Json) -> Consumption:
        """The consumption in an answer."""
        return cls(
            given["key"],
            given["quantity"],
            given["isOverdraft"],
            given["overdraftQuantity"],
            given["status"],
            Usage.of(given["usage"]),
            time_of(given["periodStart"]),
            time_of(given["periodEnd"]),
        )


@dataclass(frozen=True)
class UsageLimit:
    """A usage limit in its current period."""

    key: str
    status: str
    usage: Usage
    period_start: datetime | None
    period_end: datetime | None

    @classmethod
    def of(cls, given: Json) -> UsageLimit:
        """A usage limit of a list."""
        return cls(
            given["key"],
            given["status"],
            Usage.of(given["usage"]),
            time_of(given["periodStart"]),
            time_of(given["periodEnd"]),
        )


@dataclass(frozen=True)
class Entitlement:
    """What was sold: the limits and terms that software may want to show. `raw` has all members."""

    entitlement_id: str
    status: str
    product: str
    seats: Seats | None
    valid_until: datetime | None
    raw: Json

    @classmethod
    def of(cls, given: Json) -> Entitlement:
        """The entitlement in an answer."""
        seats = given["seats"]
        return cls(
            given["entitlementId"],
            given["status"],
            given["product"],
            Seats.of(seats) if seats else None,
            time_of(given["validUntil"]),
            given,
        )
