"""The retry policy: what an attempt means for its delivery and its endpoint. It has no clock."""

import email.utils
from collections.abc import Mapping
from datetime import UTC
from typing import NamedTuple

from shared.webhooks.endpoints import FAILING_SECONDS, RETRY_AFTER_MAX, RETRY_DELAYS

GONE = 410


class Attempt(NamedTuple):
    """One attempt: when (Unix ms), how long (ms), the response's status or what went wrong.

    `retry_after`: the seconds that the endpoint asked for. `answer`: how its answer begins.
    """

    at: int
    ms: int
    code: int | None
    error: str = ""
    retry_after: int = 0
    answer: str = ""

    @property
    def is_success(self) -> bool:
        """Any 2xx is a success."""
        return self.code is not None and 200 <= self.code < 300


def next_wait(step: int, attempt: Attempt) -> int | None:
    """Seconds until the next attempt, after `step` earlier failures; None: it was the last."""
    if attempt.code == GONE or step >= len(RETRY_DELAYS):
        return None
    return max(RETRY_DELAYS[step], attempt.retry_after)


def reason_to_disable(attempt: Attempt, failing_since: int | None, now: int) -> str:
    """Why to disable an endpoint after this failure: `gone`, `failing`, or None.

    `failing_since` and `now` are Unix seconds.
    """
    if attempt.code == GONE:
        return "gone"
    if failing_since is not None and now - failing_since >= FAILING_SECONDS:
        return "failing"
    return ""


def read_retry_after(headers: Mapping[str, str], now: int) -> int:
    """Seconds of a `Retry-After` header (RFC 9110: seconds or a date); 0 if there is none."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(int(text), RETRY_AFTER_MAX)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, min(int(moment.timestamp()) - now, RETRY_AFTER_MAX))
