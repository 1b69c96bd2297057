"""Soft license limits: take and keep seats, and count usage, against a stack of Overdraft."""

from typing import TYPE_CHECKING

from overdraft._keeping import Change
from overdraft._metering import Aside
from overdraft._requests import Clock, Retry
from overdraft._version import VERSION
from overdraft.client import Overdraft, Seat
from overdraft.errors import (
    BorrowLimitReached,
    ClockAhead,
    Denied,
    Expired,
    Forbidden,
    IdempotencyConflict,
    Invalid,
    NotFound,
    NotYetValid,
    OverdraftError,
    Refused,
    Suspended,
    TooLate,
    Unauthorized,
    Unavailable,
)
from overdraft.metering import Meter
from overdraft.models import (
    Activation,
    BorrowedSeats,
    Consumption,
    Contact,
    Entitlement,
    HeldSeat,
    Seats,
    Usage,
    UsageLimit,
)

if TYPE_CHECKING:
    from overdraft.aio import AsyncMeter, AsyncOverdraft, AsyncSeat

__version__ = VERSION


def __getattr__(name: str) -> object:
    """What needs asyncio is loaded by those who use it."""
    if name in ("AsyncMeter", "AsyncOverdraft", "AsyncSeat"):
        from overdraft import aio  # noqa: PLC0415

        return getattr(aio, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Activation",
    "Aside",
    "AsyncMeter",
    "AsyncOverdraft",
    "AsyncSeat",
    "BorrowLimitReached",
    "BorrowedSeats",
    "Change",
    "Clock",
    "ClockAhead",
    "Consumption",
    "Contact",
    "Denied",
    "Entitlement",
    "Expired",
    "Forbidden",
    "HeldSeat",
    "IdempotencyConflict",
    "Invalid",
    "Meter",
    "NotFound",
    "NotYetValid",
    "Overdraft",
    "OverdraftError",
    "Refused",
    "Retry",
    "Seat",
    "Seats",
    "Suspended",
    "TooLate",
    "Unauthorized",
    "Unavailable",
    "Usage",
    "UsageLimit",
    "__version__",
]
