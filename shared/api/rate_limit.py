"""Rate limits per credential."""

from collections.abc import Mapping

from cachetools import LRUCache

from shared import problems
from shared.api.auth import Caller


class RateLimits:
    """Requests per minute and credential, counted in this process only: approximate by design.

    The stage's throttle is the hard limit. `limits` is by kind of credential.
    """

    WINDOW = 60
    SIZE = 10_000

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._counts: LRUCache[str, tuple[int, int]] = LRUCache(self.SIZE)

    def admit(self, caller: Caller, now: int) -> dict[str, str]:
        """Count one request, and return its headers (draft-ietf-httpapi-ratelimit-headers).

        Raises:
            Throttled: the credential has used up its minute.
        """
        limit = self._limits[caller.kind]
        window, count = self._counts.get(caller.key_id, (0, 0))
        if window != now // self.WINDOW:
            window, count = now // self.WINDOW, 0
        count += 1
        self._counts[caller.key_id] = (window, count)
        wait = self.WINDOW - now % self.WINDOW
        headers = {
            "ratelimit-policy": f'"default";q={limit};w={self.WINDOW}',
            "ratelimit": f'"default";r={max(0, limit - count)};t={wait}',
        }
        if count > limit:
            raise problems.Throttled(
                f"This credential may call {limit} times a minute.",
                headers={**headers, "retry-after": str(wait)},
            )
        return headers
