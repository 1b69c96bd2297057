"""Signed tokens: anybody can read what they contain, and only this stack can make them."""

import base64
import hmac
import json
import secrets
from typing import Any

from shared.dynamodb.keys import secret_key
from shared.dynamodb.patterns import read_existing
from shared.dynamodb.requests import Accepted, Get, Item, Operation, Put, send

SIGNATURE_BYTES = 16
_known: dict[str, str] = {}


def kept_secret(name: str) -> Operation[str | None]:
    """A secret of this stack, if it exists; read once per process."""
    if name not in _known:
        item = yield from send(Get(secret_key(name)))
        if item is None:
            return None
        _known[name] = item["value"]
    return _known[name]


def own_secret(name: str) -> Operation[str]:
    """A secret of this stack, made when it is first needed; read once per process."""
    kept = yield from kept_secret(name)
    if kept is None:
        key = secret_key(name)
        item: Item = {"value": secrets.token_urlsafe(32)}
        reply = yield from send(Put(key, item, "attribute_not_exists(pk)"))
        if not isinstance(reply, Accepted):  # another process was first
            item = yield from read_existing(key)
        kept = _known[name] = str(item["value"])
    return kept


def seal(secret: str, value: Any, context: str = "") -> str:
    """A token that contains a JSON value and is valid for this context only."""
    payload = json.dumps(value, separators=(",", ":")).encode()
    return _base64(_signature(secret, context, payload) + payload)


def unseal(secret: str, token: str, context: str = "") -> Any:
    """The value in a token.

    Raises:
        ValueError: it was made up, changed, or made for another context.
    """
    raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    signature, payload = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    is_ours = hmac.compare_digest(signature, _signature(secret, context, payload))
    if not is_ours or _base64(raw) != token:
        raise ValueError("not a token of this stack")
    return json.loads(payload)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _signature(secret: str, context: str, payload: bytes) -> bytes:
    message = context.encode() + b"\0" + payload
    return hmac.digest(secret.encode(), message, "sha256")[:SIGNATURE_BYTES]
