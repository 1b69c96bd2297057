"""How a seat is stored: its key, its grant id, its value."""

import base64
import hashlib
import os
import re
from typing import NamedTuple

from shared import problems
from shared.clock import EPOCH

# A seat's value, its grant, is one number of at most 24 digits, which DynamoDB stores in 13 bytes:
#
#   grant id (14: milliseconds since EPOCH, two more digits) | flag (1) | lease end (9: seconds)
#
# The flag is a sum: 1, it is an overdraft seat; 2, it has no lease; 4, it is borrowed.
# The lease end comes last, so that a write can let DynamoDB add the shard's own lease period:
# `seats.#k = :seat + leaseSeconds`. A writer need not know the period, which cannot be stale.

_ENDS = 10**9
GRANT_ID_BASE = 10 * _ENDS
# A shard without leases adds this "period". It carries into the flag, where 2 means no lease.
NO_LEASE = 2 * _ENDS
# The flag of a borrowed seat, whose lease end is its own: no period is added.
_BORROWED = 4
# The value of `earliest` on a shard without leases: never due.
NEVER = 9_999_999_999
SEAT_KEY = re.compile(r"^[A-Za-z0-9_-]{12}$", re.ASCII)
_ACTIVATION_ID = re.compile(r"act_([A-Za-z0-9_-]{12})([A-Za-z0-9_-]{8})", re.ASCII)


class Grant(NamedTuple):
    """One grant: its id, whether it is an overdraft seat, and when its lease ends (None: never).

    `is_borrowed`: its lease is its own, and longer than that of the shard.
    """

    grant_id: int
    is_overdraft: bool
    lease_end: int | None
    is_borrowed: bool = False

    @property
    def activated_at_ms(self) -> int:
        """When the seat was granted, Unix milliseconds."""
        return EPOCH * 1000 + self.grant_id // 100


def encode_grant(grant_id: int, *, is_overdraft: bool, now: int) -> int:
    """The number that makes a seat's value once the shard's `leaseSeconds` is added."""
    return grant_id * GRANT_ID_BASE + int(is_overdraft) * _ENDS + (now - EPOCH)


def encode_borrowed(grant_id: int, *, is_overdraft: bool, lease_end: int) -> int:
    """The value of a borrowed seat."""
    return grant_id * GRANT_ID_BASE + (_BORROWED + int(is_overdraft)) * _ENDS + (lease_end - EPOCH)


def decode_grant(value: int) -> Grant:
    """Decode a seat's value."""
    grant_id, rest = divmod(value, GRANT_ID_BASE)
    flag, end = divmod(rest, _ENDS)
    lease_end = None if flag & 2 else end + EPOCH
    return Grant(grant_id, bool(flag & 1), lease_end, bool(flag & _BORROWED))


def values_of(grant_id: int, *, is_borrowed: bool) -> tuple[int, int]:
    """The lowest and the highest value that a seat with this grant may have."""
    first, flags = grant_id * GRANT_ID_BASE, _BORROWED * _ENDS
    if is_borrowed:
        return first + flags, first + GRANT_ID_BASE - 1
    return first, first + flags - 1


class GrantIds:
    """Makes grant ids: they increase within a process, and are unique in practice across processes.

    The last two digits differ by process, so that two processes which read the same millisecond
    make different ids. They are drawn with the first id, so that processes which are restored from
    one snapshot differ; `salt` gives them.
    """

    def __init__(self, salt: int | None = None) -> None:
        self._salt = salt
        self._last = 0

    def next(self, now_ms: int) -> int:
        """The id of a grant at `now_ms`."""
        if self._salt is None:
            self._salt = os.urandom(1)[0]
        grant_id = (now_ms - EPOCH * 1000) * 100 + self._salt % 100
        if grant_id <= self._last:
            grant_id = self._last + 100
        self._last = grant_id
        return grant_id


def seat_key(entitlement_id: str, seat_id: str) -> str:
    """The key of a holder's seat: 12 characters, 72 bits of SHA-256 in base64url."""
    digest = hashlib.sha256(f"{entitlement_id}\0{seat_id}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:9]).decode()


def activation_id(key: str, grant_id: int) -> str:
    """The public id of one grant: its seat key and its grant id."""
    return f"act_{key}{base64.urlsafe_b64encode(grant_id.to_bytes(6)).decode()}"


def parse_activation_id(text: str) -> tuple[str, int]:
    """The seat key and the grant id in an activation id.

    Raises:
        NotFound: no grant has such an id.
    """
    match = _ACTIVATION_ID.fullmatch(text)
    if not match:
        raise problems.NotFound("No activation has this id.")
    key, grant_id = match.groups()
    return key, int.from_bytes(base64.urlsafe_b64decode(grant_id))
