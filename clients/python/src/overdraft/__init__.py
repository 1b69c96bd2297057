"""Soft license limits: take and keep seats, and count usage, against a stack of Overdraft."""

from overdraft._keeping import Change
from overdraft._metering import Aside
from overdraft._requests import Clock, Retry
from overdraft._version import VERSION
from overdraft.aio import AsyncMeter, AsyncOverdraft, AsyncSeat
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

__version__ = VERSION

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
