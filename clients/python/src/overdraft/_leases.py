"""Signed leases: checking them, and the keys that check them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overdraft.models import Activation, Seats, time_of

KIND = "overdraft-lease+jws"
# How far a lease may be ahead of the clock.
AHEAD_SECONDS = 600


class Unverified(Exception):
    """A signed lease that must not be used; the message says why."""


@dataclass(frozen=True)
class SignedLease:
    """A lease whose signature was checked. Times are Unix seconds."""

    text: str
    activation: Activation
    issued_at: int
    offline_until: int


def verify(
    text: str, keys: Sequence[Mapping[str, Any]], seat_id: str, entitlement_id: str | None
) -> SignedLease:
    """Check a signed lease; whether its time is over is for the caller to see.

    Raises:
        Unverified: it is forged, of another seat, or signed with a key that is not known.
    """
    # Only software that is granted a signed lease, or starts offline, pays for this import.
    import jwt  # noqa: PLC0415

    try:
        header = jwt.get_unverified_header(text)
        if header.get("typ") != KIND:
            raise Unverified(f"it is a {header.get('typ')}")
        key = next((each for each in keys if each.get("kid") == header.get("kid")), None)
        if key is None:
            raise UnknownKey(f"the key {header.get('kid')} is not known")
        options: Any = {"verify_exp": False, "verify_iat": False}
        payload = jwt.decode(text, jwt.PyJWK(dict(key)), algorithms=["ES256"], options=options)
        lease = SignedLease(text, _activation(payload), int(payload["iat"]), int(payload["exp"]))
    except jwt.PyJWTError as error:
        raise Unverified(str(error)) from None
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unverified(f"it is not as it should be: {error}") from None
    held = lease.activation
    if held.seat_id != seat_id or entitlement_id not in (None, held.entitlement_id):
        raise Unverified("it is of another seat")
    return lease


class UnknownKey(Unverified):
    """The key that signed it is not known yet: it may be a new one."""


def _activation(payload: Mapping[str, Any]) -> Activation:
    activated_at = time_of(payload["activatedAt"])
    assert activated_at is not None
    return Activation(
        payload["activationId"],
        payload["entitlementId"],
        payload["seatId"],
        None,
        {},
        payload["isOverdraftSeat"],
        payload["isBorrowed"],
        activated_at,
        time_of(payload["leaseExpiry"]),
        payload["status"],
        Seats.of(payload["seats"]),
    )
