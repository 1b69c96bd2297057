"""Signed leases: an answer that software can check, and go on with, while there is no network."""

import os
from collections.abc import Mapping
from typing import Any

from shared import kms, observability
from shared.api.request import Request
from shared.clock import to_rfc3339
from shared.seats.pending import ActivationResult
from shared.seats.shard import MAX_LEASE

KIND = "overdraft-lease+jws"
_KEY = os.environ.get("LEASE_SIGNING_KEY", "")
# What a signed lease has of the answer.
_MEMBERS = (
    "entitlementId",
    "activationId",
    "seatId",
    "isOverdraftSeat",
    "isBorrowed",
    "activatedAt",
    "leaseExpiry",
    "status",
    "seats",
    "overdraft",
)


def sign(
    view: Mapping[str, Any], grant: ActivationResult, request: Request, *, is_repeated: bool
) -> str | None:
    """The answer of an activation as a compact JWS.

    None unless its lease was written now, or the answer of a request that wrote it is repeated: a
    lease that is only looked at costs nothing. A seat without a lease has no renewals, so it is
    always signed. None too if KMS fails: the seat is granted all the same.
    """
    # A grant whose own answer was lost on the way to us is found, and not written again.
    is_written = grant.is_written or grant.is_new
    if not _KEY or not (is_written or is_repeated or grant.held.lease_end is None):
        return None
    until = offline_until(grant, request.now)
    payload = {
        "iss": request.public_url,
        "iat": request.now,
        "exp": until,
        **{name: view[name] for name in _MEMBERS},
        "offlineUntil": to_rfc3339(until * 1000),
    }
    try:
        return kms.jws(_KEY, KIND, payload)
    except kms.KmsError as error:
        observability.logger.warning("lease not signed", extra={"problem": str(error)})
        observability.count("LeaseNotSigned")
        return None


def offline_until(grant: ActivationResult, now: int) -> int:
    """Until when software may go on without the stack, Unix seconds.

    It is the end of the lease. It is later only by the vendor's `offlinePeriod`, which begins with
    the lease, however often the answer is repeated; and never after the end of the validity. A seat
    without a lease is held until it is released; its signature is good for 366 days.
    """
    shard, end = grant.shard, grant.held.lease_end
    until = now + MAX_LEASE if end is None else end
    if shard.offline_seconds is not None and end is not None:
        until = max(until, _began_at(grant, end, now) + shard.offline_seconds)
    return until if shard.valid_until is None else min(until, shard.valid_until)


def _began_at(grant: ActivationResult, end: int, now: int) -> int:
    """When the lease of a seat began, Unix seconds; never later than it did."""
    if grant.is_written or grant.is_new:
        return now
    length = grant.shard.lease_of(grant.shard.seats[grant.key])
    # How long a seat was borrowed for is not stored: its end is what counts.
    if grant.held.is_borrowed or length is None:
        return 0
    return min(now, end - length)
