"""The webhook sender: one signed POST is one attempt of one delivery."""

import json
import re
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import yarl
from standardwebhooks import Webhook

from functions.deliver.retry_policy import Attempt, read_retry_after
from shared.events.builders import Event
from shared.webhooks.url_policy import check_url, is_public

TIMEOUT_SECONDS = 15
RESPONSE_BYTES = 16_384
ANSWER_BYTES = 500  # of them are on record
AGENT = "Overdraft-Webhooks/1"
# Control characters, and those that turn the direction of a text or end a line of it.
_UNSHOWN = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


class PrivateAddress(OSError):
    """A host resolved to an address to which no webhook is sent."""


def _guarded_socket(info: Any) -> socket.socket:
    """The socket for one address, which is checked and is then connected to."""
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise PrivateAddress("the host leads to an address that is not public")
    return socket.socket(family, kind, protocol)


class WebhookSender:
    """Sends many at once. `insecure`: hosts with which plain http and any address are allowed."""

    def __init__(self, insecure: frozenset[str]) -> None:
        self._insecure = insecure
        self._guarded = self._session(guarded=True)
        self._open = self._session(guarded=False)

    @staticmethod
    def _session(*, guarded: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0, socket_factory=_guarded_socket if guarded else None, use_dns_cache=False
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            auto_decompress=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._guarded.close()
        await self._open.close()

    async def post(
        self,
        url: str,
        event: Event,
        secrets: Sequence[str],
        message: Mapping[str, Any] | None = None,
    ) -> Attempt:
        """Make one attempt. Whatever goes wrong is part of the attempt.

        `message`: what a chat channel gets in place of the event. It is not signed: the address is
        the secret.
        """
        started = time.perf_counter()
        now = datetime.now(UTC)
        code, error, retry_after, answer = None, "", 0, ""
        try:
            host = check_url(url, self._insecure)
            session = self._open if host in self._insecure else self._guarded
            sent = event if message is None else message
            body = json.dumps(sent, ensure_ascii=False, separators=(",", ":"))
            headers = {"content-type": "application/json", "user-agent": AGENT}
            if message is None:
                headers = sign(event["id"], now, body, secrets)
            # Exactly as it was registered: many endpoints have a signature in their URL.
            exactly = yarl.URL(url, encoded=True)
            async with session.post(
                exactly, data=body.encode(), headers=headers, allow_redirects=False
            ) as response:
                code = response.status
                lowered = {name.lower(): value for name, value in response.headers.items()}
                retry_after = read_retry_after(lowered, int(now.timestamp()))
                # Read a little of the answer, so that the connection can be used again.
                answer = _begin(await response.content.read(RESPONSE_BYTES), sent)
        except Exception as problem:
            # Whatever a receiver sends, it is an attempt on record. Once the status has come, the
            # rest of the answer does not matter.
            error = "" if code else _told(problem)
        spent = int((time.perf_counter() - started) * 1000)
        return Attempt(int(now.timestamp() * 1000), spent, code, error, retry_after, answer)


def _begin(answer: bytes, sent: Mapping[str, Any]) -> str:
    """How an answer begins, as a text that can be stored and shown.

    It must outlive the erasure of a person. So what it quotes of the event's person is left out.
    """
    if not answer:
        return ""
    text = answer.decode(errors="replace")
    for name in _persons_in(sent):
        for written in {name, json.dumps(name)[1:-1], quote(name), quote(name, safe="")}:
            text = re.sub(re.escape(written), "[…]", text, flags=re.IGNORECASE)
    shown = re.sub(_UNSHOWN, "\ufffd", text)
    return shown.encode()[:ANSWER_BYTES].decode(errors="ignore")


def _persons_in(sent: Mapping[str, Any]) -> list[str]:
    """What an event says of a person, the longest first: id, name, attributes, a requester."""
    data = sent.get("data") or {}
    seat, asked = data.get("seat") or {}, data.get("request") or {}
    said = (
        seat.get("seatId"),
        seat.get("seatName"),
        # What is shorter, such as a version, would be found everywhere.
        *(text for text in (seat.get("attributes") or {}).values() if len(text) > 2),
        asked.get("requester"),
    )
    return sorted((text for text in said if text), key=len, reverse=True)


def sign(event_id: str, now: datetime, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of Standard Webhooks: one signature for each secret that is in force."""
    signatures = " ".join(Webhook(secret).sign(event_id, now, body) for secret in secrets)
    return {
        "content-type": "application/json",
        "user-agent": AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signatures,
    }


# The order matters: some are kinds of others. `TimeoutError` is an `OSError`, caught above.
_TOLD: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (TimeoutError, f"no answer within {TIMEOUT_SECONDS} s"),
    (
        (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError),
        "the TLS certificate is not valid for this host",
    ),
    (aiohttp.ClientConnectorDNSError, "the host cannot be resolved"),
    (aiohttp.ClientConnectorError, "cannot connect"),
    (
        (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError),
        "the connection was closed too early",
    ),
)


def _told(problem: BaseException) -> str:
    """What went wrong, in a few words for the list of deliveries."""
    inner = getattr(problem, "os_error", problem)
    if isinstance(inner, PrivateAddress | ValueError):
        return str(inner)
    for kinds, text in _TOLD:
        if isinstance(problem, kinds):
            return text
    return f"no valid answer ({type(problem).__name__})"
