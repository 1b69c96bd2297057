"""`Idempotency-Key`: the same request within 24 hours gets the same answer.

The answer is one item. A function that creates something writes it in the same transaction as what
it creates, so neither exists without the other. Keys that are shown once are never stored: a
repeated request derives them again (`Caller.derive`).

Taking a seat is idempotent by itself, and its first answer may be outdated. There, the header only
guards against another request, and the item records which grant it was.
"""

import hashlib
import json
import re
from typing import Any

from shared.api.request import Request, Response
from shared.clock import to_rfc3339
from shared.dynamodb.keys import Key, idempotency_key
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import (
    NO_VALUES,
    Accepted,
    Cancelled,
    Delete,
    Get,
    Item,
    Put,
    Transact,
    Update,
    Value,
)
from shared.problems import (
    Contention,
    IdempotencyConflict,
    IdempotencyKeyExpired,
    IdempotencyKeyInFuture,
    InvalidRequest,
)

SECONDS = 24 * 3600
# A journaled request may be sent this long after its key was made, and a clock may be this much
# ahead. Both together leave five minutes until the first answer is forgotten.
JOURNAL_MS = (SECONDS - 15 * 60) * 1000
AHEAD_MS = 10 * 60 * 1000
_HEADER = re.compile(r"[\x21-\x7e]{1,255}")
_FREE = "attribute_not_exists(pk) OR expiresAt <= :now"


def header_of(request: Request) -> str | None:
    """The `Idempotency-Key` of a request, None without the header.

    Raises:
        InvalidRequest: a header that is empty, too long or not printable ASCII.
    """
    given = request.headers.get("idempotency-key")
    if given is not None and not _HEADER.fullmatch(given):
        raise InvalidRequest.at(
            "/Idempotency-Key",
            "must be 1 to 255 visible ASCII characters, without spaces",
            place="header",
        )
    return given


def check_journaled(header: str, key_ms: int | None, now_ms: int) -> None:
    """Refuse a journaled request whose repetition could count twice.

    `key_ms`: the time in its `Idempotency-Key`, None if that is no UUIDv7; Unix milliseconds. A
    request that counted when its key was young is remembered for longer than the key is accepted.

    Raises:
        InvalidRequest, IdempotencyKeyExpired, IdempotencyKeyInFuture (with `serverTime`).
    """
    if key_ms is None or header != header.lower():  # in capitals, it would be another key
        raise InvalidRequest.at(
            "/Idempotency-Key",
            "of a journaled request must be a UUIDv7 in lower case",
            place="header",
        )
    extensions = {"serverTime": to_rfc3339(now_ms)}
    if key_ms < now_ms - JOURNAL_MS:
        raise IdempotencyKeyExpired(
            "It was made more than 23 hours and 45 minutes ago. Nothing was counted now; whether an"
            " earlier try was, is not known here any more. Do not send it under a new key.",
            extensions=extensions,
        )
    if key_ms > now_ms + AHEAD_MS:
        raise IdempotencyKeyInFuture(
            "It is more than 10 minutes ahead. Nothing was counted. Correct your clock by"
            " serverTime, or by the answer's Date.",
            extensions=extensions,
        )


class Claim:
    """One use of an `Idempotency-Key`: its item's key, and the hash of the request."""

    def __init__(self, key: Key, fingerprint: str, now: int) -> None:
        self.key = key
        self._fingerprint = fingerprint
        self._now = now

    @classmethod
    def of(cls, request: Request) -> "Claim | None":
        """The claim of a request, None without the header.

        Raises:
            InvalidRequest: see `header_of`.
        """
        given = header_of(request)
        if given is None:
            return None
        content = json.dumps([request.route.id, request.url, request.body], sort_keys=True)
        # The caller's secret is included: a key that was replaced under the same id is another
        # caller, which could not derive the same new keys.
        owner = request.caller.derive("Idempotency-Key")
        key = hashlib.sha256(f"{owner}\0{given}".encode()).hexdigest()
        return cls(idempotency_key(key), hashlib.sha256(content.encode()).hexdigest(), request.now)

    def reserve(self) -> Put:
        """Mark the request as begun; refused if the header was used before."""
        return self._put({}, _FREE)

    def finish(self, response: Response) -> Put:
        """Store the answer of a request that was reserved."""
        return self._put({"answer": json.dumps([response.status, response.body])}, "")

    def answer(self, response: Response, nonce: str) -> Put:
        """Store an answer, in the transaction that makes it true."""
        answer = json.dumps([response.status, response.body])
        return self._put({"answer": answer, "nonce": nonce}, _FREE)

    def _put(self, content: dict[str, Value], condition: str) -> Put:
        expiry = self._now + SECONDS
        item = {"fingerprint": self._fingerprint, "expiresAt": expiry, "ttl": expiry, **content}
        values = {":now": self._now} if condition else NO_VALUES
        return Put(self.key, item, condition, values=values)

    def read(self, item: Item | None) -> tuple[Response | None, str]:
        """The answer in an item (None: none yet), and its nonce.

        Raises:
            IdempotencyConflict: the key was used for a different request.
        """
        if item is None or item["expiresAt"] <= self._now:
            return None, ""
        if item["fingerprint"] != self._fingerprint:
            raise IdempotencyConflict("Use a new Idempotency-Key for a new request.")
        if "answer" not in item:
            return None, ""
        status, body = json.loads(item["answer"])
        return Response(status, body), item.get("nonce", "")


def replayed(response: Response, **fields: Any) -> Response:
    """A stored answer as it is sent again, with the fields that are never stored."""
    body = {**response.body, **fields} if fields else response.body
    return response._replace(body=body, headers={"idempotency-replayed": "true"})


def kept_answer(request: Request) -> tuple[Response | None, str]:
    """The stored answer of an earlier use of the `Idempotency-Key`, and its nonce.

    Raises:
        IdempotencyConflict: the key was used for a different request.
    """
    claim = Claim.of(request)
    return claim.read(request.dynamodb.execute(Get(claim.key))) if claim else (None, "")


def write_once(
    request: Request, writes: tuple[Put | Update | Delete, ...], response: Response, *, nonce: str
) -> tuple[Response | None, str]:
    """Write what a POST creates, once per `Idempotency-Key`.

    Returns the stored answer of an earlier request and its nonce, or (None, "") if it wrote now.

    Raises:
        IdempotencyConflict, Contention.
    """
    claim = Claim.of(request)
    if claim is None:
        transaction = Transact(writes)
    else:
        kept = claim.read(request.dynamodb.execute(Get(claim.key)))
        if kept[0]:
            return kept
        transaction = Transact((*writes, claim.answer(response, nonce)))
    reply = request.dynamodb.run(write_with_conflict_retry(transaction))
    if isinstance(reply, Cancelled) and claim:
        # Another request used the key at the same moment: its answer counts.
        kept = claim.read(reply.reasons[-1][1])
        if kept[0]:
            return kept
    if not isinstance(reply, Accepted):
        raise Contention
    return None, ""
