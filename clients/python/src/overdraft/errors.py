"""What can come of a request besides the answer.

`Refused` is an answer: the stack has decided, and asking again changes nothing by itself. Only an
`application/problem+json` of the stack's own types is one: the page of a proxy, a firewall or a
hotel's network is not. `Unavailable` is no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from overdraft.models import BorrowedSeats, Contact, Seats, Usage, time_of

TYPE_PREFIX = "https://overdraft.example/problems/"


class OverdraftError(Exception):
    """Everything that this package raises."""


class Unavailable(OverdraftError):
    """The stack could not be reached, or could not say anything, within the bounded retries.

    `reason` is for a log: the last failure.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the license server is unavailable: {reason}")
        self.reason = reason


class Refused(OverdraftError):
    """The stack has said no. `type` is the end of the problem's type, such as `not-found`.

    `problem` is all of it; `request_id` is what support asks for.
    """

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title")))
        self.problem = dict(problem)
        self.type = str(problem.get("type", "")).removeprefix(TYPE_PREFIX)
        status = problem.get("status")
        self.status = status if isinstance(status, int) else 0
        self.request_id = str(problem.get("instance", ""))


class Denied(Refused):
    """Nothing is free below a limit. The attempt is on record, and sales may know of it.

    `type` says which limit: `hard-cap-reached`, `overdraft-period-ended` or `customer-cap-reached`.
    Of seats, `seats` has the numbers, and `next_lease_expiry` says when the next one may be free;
    of a usage limit, `usage`. `contact` and `request_url` say whom to ask, if the vendor wants it.
    """

    @property
    def seats(self) -> Seats | None:
        """The seats in use, against both limits."""
        given = self.problem.get("seats")
        return Seats.of(given) if given else None

    @property
    def usage(self) -> Usage | None:
        """What is used of the usage limit, against both limits."""
        given = self.problem.get("usage")
        return Usage.of(given) if given else None

    @property
    def next_lease_expiry(self) -> datetime | None:
        """When the next lease ends."""
        return time_of(self.problem.get("nextLeaseExpiry"))

    @property
    def contact(self) -> Contact | None:
        """Whom to ask for more."""
        given = self.problem.get("contact")
        return Contact.of(given) if given else None

    @property
    def request_url(self) -> str | None:
        """Where to ask for more."""
        return self.problem.get("requestUrl")


class BorrowLimitReached(Refused):
    """As many seats are borrowed as may be. A seat with the usual lease may be free."""

    @property
    def borrowed_seats(self) -> BorrowedSeats:
        """How many are borrowed, and how many may be."""
        return BorrowedSeats.of(self.problem["borrowedSeats"])


class Suspended(Refused):
    """The vendor has suspended the entitlement."""


class Expired(Refused):
    """The entitlement's validity has ended."""


class NotYetValid(Refused):
    """The entitlement's validity has not begun."""


class Unauthorized(Refused):
    """The key is not known, or was revoked."""


class Forbidden(Refused):
    """The key is known and may not do this."""


class NotFound(Refused):
    """There is no such thing, or this key may not see it."""


class Invalid(Refused):
    """The request breaks the contract: a defect of the caller. `errors` say where."""

    @property
    def errors(self) -> list[Mapping[str, str]]:
        """What is wrong, each with a `pointer` and a `detail`."""
        return list(self.problem.get("errors", ()))


class IdempotencyConflict(Refused):
    """The key of a request was used before, with another quantity."""


class TooLate(Refused):
    """The key of a journaled request is too old: whether it was counted is not known any more."""


class ClockAhead(Refused):
    """This machine's clock is far ahead of the stack's. `server_time` is the right one."""

    @property
    def server_time(self) -> datetime | None:
        """The stack's time."""
        return time_of(self.problem.get("serverTime"))


_KINDS: dict[str, type[Refused]] = {
    "hard-cap-reached": Denied,
    "overdraft-period-ended": Denied,
    "customer-cap-reached": Denied,
    "borrow-limit-reached": BorrowLimitReached,
    "entitlement-suspended": Suspended,
    "entitlement-expired": Expired,
    "entitlement-not-yet-valid": NotYetValid,
    "unauthorized": Unauthorized,
    "link-expired": Unauthorized,
    "forbidden": Forbidden,
    "not-found": NotFound,
    "invalid-request": Invalid,
    "idempotency-conflict": IdempotencyConflict,
    "idempotency-key-expired": TooLate,
    "idempotency-key-in-future": ClockAhead,
}
# Problems that pass by themselves: the same request may be sent again.
PASSING = frozenset({"contention", "unavailable", "throttled", "internal"})


def refusal(problem: object) -> Refused | None:
    """The refusal in the body of an answer; None: it is no problem of the stack's own types."""
    if not isinstance(problem, Mapping):
        return None
    kind = problem.get("type")
    if not isinstance(kind, str) or not kind.startswith(TYPE_PREFIX):
        return None
    name = kind.removeprefix(TYPE_PREFIX)
    return None if name in PASSING else _KINDS.get(name, Refused)(problem)
