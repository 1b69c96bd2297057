"""How a request is stored: its key, and its entry in a request log."""

import base64
import hashlib
import re
from typing import NamedTuple

from shared.clock import EPOCH

# --- Entries --------------------------------------------------------------------------------------
# What a request consumed is one number of 37 digits, which DynamoDB stores in 20 bytes:
#
#   time (12: milliseconds since EPOCH) | quantity (10) | left before it (15)
#
# Both of the latter may be negative (a correction; a cap below what is used), so each is stored
# with an offset. What was left comes last, so that a write can let DynamoDB add it: `recent.#k =
# :entry + #left`.

_LEFTS = 10**15
_TIMES = 10**25
_NO_QUANTITY = 5 * 10**9
_NONE_LEFT = 2 * 10**14


class Entry(NamedTuple):
    """What one request consumed: when, how much, and what was left before it."""

    at_ms: int
    quantity: int
    left_before: int


def encode_entry(at_ms: int, quantity: int) -> int:
    """The number that makes an entry once the counter's `left` is added."""
    since = at_ms - EPOCH * 1000
    return since * _TIMES + (quantity + _NO_QUANTITY) * _LEFTS + _NONE_LEFT


def decode_entry(value: int) -> Entry:
    """Decode an entry."""
    at, rest = divmod(value, _TIMES)
    quantity, left = divmod(rest, _LEFTS)
    return Entry(at + EPOCH * 1000, quantity - _NO_QUANTITY, left - _NONE_LEFT)


_UUID7 = re.compile(
    r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.I
)


def request_key(secret: str, header: str) -> str:
    """The key of a request's entry: 12 characters, 72 bits of SHA-256 in base64url.

    Of a UUIDv7 (RFC 9562, section 5.7) 16 characters: its 48 bits of time, and 48 bits of the hash.
    `secret` is the caller's own, so that the keys of two callers never meet.
    """
    digest = hashlib.sha256(f"{secret}\0{header}".encode()).digest()
    timed = _UUID7.fullmatch(header)
    raw = bytes.fromhex(timed[1] + timed[2]) + digest[:6] if timed else digest[:9]
    return base64.urlsafe_b64encode(raw).decode()


def time_of(key: str) -> int | None:
    """The time in a request's key, Unix milliseconds; None: the key has none.

    The time may be wrong. It is used for ordering only, and decides nothing by itself.
    """
    return int.from_bytes(base64.urlsafe_b64decode(key)[:6]) if len(key) == 16 else None
