"""Ids such as `ent_3f…`, and how those of credentials begin."""

import base64
import hashlib
import secrets

ENTITLEMENTS = "ent"
API_KEYS, LICENSE_KEYS, PORTAL_LINKS = "key", "lic", "plk"
SESSIONS, SIGN_IN_CODES = "ses", "sgn"


def new_id(prefix: str, nonce: str = "") -> str:
    """An id such as `ent_3f…`: 80 random bits in lower-case base32, or those of a nonce."""
    entropy = hashlib.sha256(f"{prefix}{nonce}".encode()).digest() if nonce else None
    raw = (entropy or secrets.token_bytes(10))[:10]
    return f"{prefix}_{base64.b32encode(raw).decode().lower()}"
