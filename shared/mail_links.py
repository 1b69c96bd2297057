"""Links to the portal in e-mails, for the person to whom an e-mail is addressed.

Nothing is stored for such a link. Its id names the entitlement, the audience and its end, and its
secret is a signature of these and the address. So nobody else can make one, and it stops working
when the entitlement has another address for that audience. It opens the portal as a viewer.
"""

import base64
import hashlib
import hmac
import re

from shared import signed_tokens
from shared.dynamodb.keys import entitlement_key
from shared.dynamodb.requests import Get, Item, Operation, send
from shared.entitlements.model import audience_of
from shared.ids import ENTITLEMENTS, PORTAL_LINKS

PREFIX = f"{PORTAL_LINKS}_mail_"
DAYS = 14
SECRET = "mail-link"  # noqa: S105 - its name
_AUDIENCES = {"c": "customerAdmin", "o": "accountOwner"}
_CODES = {audience: code for code, audience in _AUDIENCES.items()}
_ID = re.compile(rf"{PREFIX}([co])([0-9]{{6}})_([a-z0-9]{{4,20}})")


def new_token(entitlement_id: str, audience: str, address: str, now: int) -> Operation[str]:
    """The token of a link for the address of an audience; `now` in Unix seconds."""
    secret = yield from signed_tokens.own_secret(SECRET)
    return _token(secret, entitlement_id, audience, address, now)


def token_if_possible(entitlement_id: str, audience: str, address: str, now: int) -> Operation[str]:
    """The same by who may not make the secret; empty if there is none yet."""
    secret = yield from signed_tokens.kept_secret(SECRET)
    return "" if secret is None else _token(secret, entitlement_id, audience, address, now)


def _token(secret: str, entitlement_id: str, audience: str, address: str, now: int) -> str:
    hour = now // 3600 + DAYS * 24
    key_id = f"{PREFIX}{_CODES[audience]}{hour}_{entitlement_id.removeprefix(f'{ENTITLEMENTS}_')}"
    return f"{key_id}.{_signature(secret, key_id, address)}"


def record_of(key_id: str) -> Operation[Item | None]:
    """What a link's key would be stored as, if it were; None: there is no such link now."""
    match = _ID.fullmatch(key_id)
    secret = yield from signed_tokens.kept_secret(SECRET)
    if match is None or secret is None:
        return None
    code, hour, end = match.groups()
    entitlement_id = f"{ENTITLEMENTS}_{end}"
    item = yield from send(Get(entitlement_key(entitlement_id)))
    address, _ = audience_of(item["document"], _AUDIENCES[code]) if item else ("", frozenset())
    if not address:
        return None
    token = f"{key_id}.{_signature(secret, key_id, address)}"
    return {
        "hash": hashlib.sha256(token.encode()).hexdigest(),
        "kind": "portal",
        "scopes": ["viewer"],
        "entitlementId": entitlement_id,
        "expiresAt": int(hour) * 3600,
    }


def _signature(secret: str, key_id: str, address: str) -> str:
    signed = f"{key_id}\n{address.lower()}".encode()
    digest = hmac.digest(secret.encode(), signed, "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
