"""What a kept seat is at a moment, and when it is to be renewed: no network, no thread, no clock.

Times are Unix seconds by the stack's clock (see `_requests.Clock`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal

from overdraft._leases import SignedLease
from overdraft.errors import Denied, Expired, Refused, Suspended
from overdraft.models import Activation

Policy = Literal["grace", "deny", "allow"]
Source = Literal["server", "lease", "policy"]
ChangeKind = Literal[
    "overdraft", "within", "offline", "online", "denied", "suspended", "expired", "refused", "lost"
]
# Without a lease nothing has to be renewed. It is asked all the same, so that a suspension is seen.
WITHOUT_LEASE_SECONDS = 3_600.0
SHORTEST_RETRY, LONGEST_RETRY = 1.0, 60.0


@dataclass(frozen=True)
class Change:
    """What has changed about a kept seat.

    `overdraft`, `within`: the customer uses more than was purchased, or no longer. `offline`,
    `online`: the stack is out of reach, or in reach again. `denied`, `suspended`, `expired`,
    `refused`: the stack has said no (`error`), and the seat must not be used. `lost`: it must not
    be used, because the stack was out of reach for too long.
    """

    kind: ChangeKind
    error: Refused | None = None


@dataclass
class SeatState:
    """A seat that is kept."""

    policy: Policy
    grace_seconds: float
    activation: Activation | None = None
    lease: SignedLease | None = None
    refused: Refused | None = None
    granted_at: float | None = None
    is_from_server: bool = False
    due: float = 0.0
    is_offline: bool = False
    failures: int = 0
    _was_lost: bool = field(default=False, repr=False)

    def granted(self, activation: Activation, now: float) -> list[Change]:
        """The stack has granted or renewed the seat."""
        changes = [Change("online")] if self.is_offline else []
        was_over = self.activation is not None and self.activation.status == "overdraft"
        is_over = activation.status == "overdraft"
        if is_over and not was_over:
            changes.append(Change("overdraft"))
        if was_over and not is_over:
            changes.append(Change("within"))
        self.activation, self.granted_at, self.refused = activation, now, None
        self.is_offline, self.failures, self._was_lost = False, 0, False
        self.is_from_server = True
        self.due = now + self._renewal_seconds(now)
        return changes

    def failed(self, now: float) -> list[Change]:
        """The stack was out of reach."""
        changes = [] if self.is_offline else [Change("offline")]
        self.is_offline = True
        self.failures += 1
        longest = min(LONGEST_RETRY, SHORTEST_RETRY * 2 ** min(self.failures, 10))
        self.due = now + random.uniform(SHORTEST_RETRY, longest)
        return changes

    def said_no(self, error: Refused, now: float) -> list[Change]:
        """The stack has refused the seat."""
        is_new = self.refused is None or self.refused.type != error.type
        changes = [Change("online")] if self.is_offline else []
        self.refused, self.is_offline, self.failures = error, False, 0
        self.due = now + random.uniform(LONGEST_RETRY / 2, LONGEST_RETRY)
        kind: ChangeKind = "refused"
        if isinstance(error, Denied):
            kind = "denied"
        elif isinstance(error, Suspended):
            kind = "suspended"
        elif isinstance(error, Expired):
            kind = "expired"
        return [*changes, Change(kind, error)] if is_new else changes

    def look(self, now: float) -> list[Change]:
        """Whether the time has changed anything: grace may have run out."""
        is_lost = self.is_offline and self.refused is None and self.source(now) is None
        changes = [Change("lost")] if is_lost and not self._was_lost else []
        self._was_lost = is_lost
        return changes

    def source(self, now: float) -> Source | None:
        """By whose word the seat may be used now; None: it must not be."""
        if self.refused is not None:
            return None
        if self.activation is not None and self._is_leased(now):
            return "server"
        if self.policy == "allow":
            return "policy"
        if self.policy == "deny":
            return None
        if self.lease is not None and now < self.lease.offline_until:
            return "lease"
        return "policy" if self._in_grace(now) else None

    def _is_leased(self, now: float) -> bool:
        if not self.is_from_server or self.activation is None:
            return False
        expiry = self.activation.lease_expiry
        return expiry is None or now < expiry.timestamp()

    def _in_grace(self, now: float) -> bool:
        """Grace begins when the stack was last heard of, or the lease ended, whatever was later."""
        if self.granted_at is None:
            return False
        expiry = self.activation.lease_expiry if self.activation else None
        since = max(self.granted_at, expiry.timestamp() if expiry else 0.0)
        return now < since + self.grace_seconds

    def _renewal_seconds(self, now: float) -> float:
        """A little after half of the lease: the stack writes a renewal from then on."""
        expiry = self.activation.lease_expiry if self.activation else None
        if expiry is None:
            return WITHOUT_LEASE_SECONDS * random.uniform(0.9, 1.1)
        left = max(0.0, expiry.timestamp() - now)
        return max(SHORTEST_RETRY, left * random.uniform(0.5, 0.6))
