"""Requests without input and output: what to send, what to make of it, when to send it again.

An operation is a generator. It yields what it wants done, `Request` or `Wait`, and gets a `Reply`
or a `Failure` back. So the client that blocks and the one that awaits run the same operations.
"""

from __future__ import annotations

import email.utils
import random
import re
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

from overdraft._version import VERSION
from overdraft.errors import Unavailable, refusal

PROBLEM = "application/problem+json"
_RETRIED = frozenset({408, 425, 429})


class Request(NamedTuple):
    """One request of the API; `path` begins with a slash."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = {}


class Wait(NamedTuple):
    """A pause before a request is sent again."""

    seconds: float


class Reply(NamedTuple):
    """An HTTP answer, whoever gave it. `body` is its JSON; None: it has none, or is no JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Failure(NamedTuple):
    """No answer: the network, a time-out."""

    reason: str


T = TypeVar("T")
Step = Request | Wait
Outcome = Reply | Failure | None
Operation = Generator[Step, Outcome, T]


@dataclass(frozen=True)
class Retry:
    """How long to try. Every request of this package may be repeated without counting twice.

    `attempts` of at most `timeout` seconds each, and none begins later than `total` seconds after
    the first. Between them there are random waits, of up to `base` seconds, then twice that, and so
    on up to `longest`; or what `Retry-After` says, if that is within `total`.
    """

    attempts: int = 4
    timeout: float = 5.0
    total: float = 12.0
    base: float = 0.2
    longest: float = 3.0


@dataclass
class Clock:
    """The stack's time, by the `Date` of its answers; it never goes back by itself.

    `latest_ms` is the latest time that was seen, also by an earlier process. From there on it goes
    on as the machine's monotonic clock does, whatever the other one is set to: so a clock that is
    set back makes no lease longer, and holds no renewal up.
    """

    local_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    offset_ms: int = 0
    latest_ms: int = 0
    _seen_at: float = field(default_factory=time.monotonic)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Correct the clock by an answer. `Date` has whole seconds, so small differences stay."""
        date = _seconds_of(headers.get("date", ""))
        if date is None:
            return
        difference = int(date) * 1000 + 500 - self.local_ms()
        self.offset_ms = difference if abs(difference) > 2_000 else 0
        # What the stack says counts, whatever was believed before.
        self._seen(self.local_ms() + self.offset_ms)

    def now_ms(self) -> int:
        """Unix milliseconds."""
        passed_ms = int((time.monotonic() - self._seen_at) * 1000)
        self._seen(max(self.local_ms() + self.offset_ms, self.latest_ms + passed_ms))
        return self.latest_ms

    def _seen(self, now_ms: int) -> None:
        self.latest_ms, self._seen_at = now_ms, time.monotonic()

    def now(self) -> float:
        """Unix seconds."""
        return self.now_ms() / 1000


def segment(value: str) -> str:
    """A value as a part of a path.

    Raises:
        ValueError: it would name another path.
    """
    if value in ("", ".", ".."):
        raise ValueError(f"{value!r} is no id")
    return quote(value, safe="")


def checked_url(url: str) -> str:
    """The address of a stack, without a slash at its end.

    Raises:
        ValueError: it is none. What it says is not repeated: it may have a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the address of a stack begins with https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the address of a stack has no user name and no password")
    return url.rstrip("/")


def checked_key(key: str) -> str:
    """A key, as it may be in a header.

    Raises:
        ValueError: it has other characters. It is not repeated: it is a secret.
    """
    if not re.fullmatch("[!-~]+", key):
        raise ValueError("the key is empty, or has characters that no key has")
    return key


def call(request: Request, retry: Retry, clock: Clock) -> Operation[Reply]:
    """Send a request until the stack has answered it.

    Raises:
        Refused: the stack has said no.
        Unavailable: it has not answered, or something else has.
    """
    began, reason = time.monotonic(), "no attempt"
    for attempt in range(retry.attempts):
        outcome = yield request
        wanted: float | None = None
        if isinstance(outcome, Reply):
            is_problem = outcome.status < 500 and _is_problem(outcome)
            said_no = refusal(outcome.body) if is_problem else None
            # Others answer 204, and JSON, as well; only the stack's answers have an id.
            if "x-request-id" in outcome.headers and (said_no is not None or _is_answer(outcome)):
                clock.observe(outcome.headers)
            if said_no is not None:
                raise said_no
            if _is_answer(outcome):
                return outcome
            reason = f"HTTP {outcome.status}"
            if outcome.status < 500 and outcome.status not in _RETRIED:
                break  # the page of a proxy or a hotel's network: it will not go away in a second
            wanted = _retry_after(outcome.headers)
        elif outcome is not None:
            reason = outcome.reason
        seconds = random.uniform(0, min(retry.longest, retry.base * 2**attempt))
        seconds = seconds if wanted is None else wanted + seconds
        if attempt + 1 == retry.attempts or time.monotonic() - began + seconds > retry.total:
            break
        yield Wait(seconds)
    raise Unavailable(reason)


class Caller:
    """Makes calls with one credential, such as `Bearer key_…`."""

    def __init__(self, scheme: str, key: str, retry: Retry, clock: Clock) -> None:
        self.clock = clock
        self._retry = retry
        self._headers = {
            "authorization": f"{scheme} {checked_key(key)}",
            "user-agent": f"overdraft-client/{VERSION} (python)",
        }

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] = {},
    ) -> Operation[Reply]:
        request = Request(method, path, body, {**self._headers, **headers})
        return (yield from call(request, self._retry, self.clock))


def _is_problem(reply: Reply) -> bool:
    return reply.headers.get("content-type", "").partition(";")[0].strip().lower() == PROBLEM


def _is_answer(reply: Reply) -> bool:
    """Whether an answer is one of the stack's: what a captive portal answers is no JSON object."""
    return reply.status == 204 or (reply.status in (200, 201, 202) and isinstance(reply.body, dict))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of a `Retry-After` header (RFC 9110, section 10.2.3)."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    date = _seconds_of(text)
    return None if date is None else max(0.0, date - time.time())


def _seconds_of(text: str) -> float | None:
    """Unix seconds of a date of HTTP (RFC 9110, section 5.6.7); None: it is none."""
    try:
        parsed = email.utils.parsedate_tz(text)
        return None if parsed is None else float(email.utils.mktime_tz(parsed))
    except (OverflowError, TypeError, ValueError):
        return None


def uuid7(now_ms: int) -> str:
    """A UUIDv7 (RFC 9562, section 5.7): its time lets the stack answer in one round trip."""
    chance = random.SystemRandom().getrandbits(74)
    high, low = chance >> 62, chance & ((1 << 62) - 1)
    return str(uuid.UUID(int=now_ms << 80 | 7 << 76 | high << 64 | 2 << 62 | low))
