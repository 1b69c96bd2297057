"""What is done for an entitlement for which the table takes no more requests.

As long as the table answers, it decides every denial. While it throttles, a request may be denied
by what this process saw at most `FULL_MS` before, instead of not being answered
(`docs/decisions/0030-overload.md`).
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    Get,
    Once,
    Operation,
    Pause,
    Refused,
    Request,
    Throttled,
    Update,
    Written,
    send,
)

# For how long an entitlement counts as overloaded after the table has throttled a request.
OVERLOADED_MS = 1_000
# For how long a request may be denied by what was seen before.
FULL_MS = 250
SeenT = TypeVar("SeenT")
ReplyT = TypeVar("ReplyT")
Decides = Callable[[int], bool]


class KnownFull(Exception):
    """The table takes no more requests, and there was nothing left a moment ago.

    `now_ms` is the time at which that is known.
    """

    def __init__(self, now_ms: int) -> None:
        super().__init__(now_ms)
        self.now_ms = now_ms


class Overload(Generic[SeenT]):
    """What a process knows of an entitlement, or a usage limit, that the table may throttle.

    `seen` is what it saw when there was nothing left. All times are Unix milliseconds.
    """

    __slots__ = ("_full_ms", "_throttled_ms", "seen")

    def __init__(self) -> None:
        self._throttled_ms = self._full_ms = 0
        self.seen: SeenT | None = None

    def note_throttled(self, now_ms: int) -> None:
        """The table has throttled a request."""
        self._throttled_ms = now_ms

    def note_full(self, seen: SeenT, seen_ms: int) -> None:
        """There was nothing left; `seen_ms` is a time before that was read."""
        self.seen, self._full_ms = seen, seen_ms

    def is_on(self, now_ms: int) -> bool:
        """Whether the table has throttled a request lately."""
        return abs(now_ms - self._throttled_ms) < OVERLOADED_MS

    def last_seen(self, now_ms: int) -> SeenT | None:
        """What was seen a moment ago, when there was nothing left; None: the table has to say."""
        is_recent = 0 <= now_ms - self._full_ms <= FULL_MS
        return self.seen if is_recent and self.is_on(now_ms) else None

    def send(
        self,
        write: Update,
        now_ms: int,
        is_known: Decides,
        attempt: int,
        *,
        always_tries: bool = False,
    ) -> Operation[tuple[Written, int]]:
        """Send a write that may be refused; a time before the reply.

        If the table does not take the first one, the item is read, which asks less of the table;
        with `always_tries`, before anything is decided.

        Raises:
            KnownFull: the table does not take that either, and the request can be denied without.
        """
        if attempt > 1:
            return (yield from send(write)), now_ms
        if not self.is_on(now_ms):
            reply = yield from send(Once(write))
            if not isinstance(reply, Throttled):
                return reply, now_ms
            self.note_throttled(now_ms)
        read = self.read(Get(write.key), now_ms, is_known, always_tries=always_tries)
        item, now_ms = yield from read
        return Refused(item), now_ms

    def read(
        self,
        request: Request[ReplyT],
        now_ms: int,
        is_known: Decides,
        *,
        always_tries: bool = False,
    ) -> Operation[tuple[ReplyT, int]]:
        """Read as soon as the table takes it; the reply, and a time before it.

        `is_known` says whether a request can be denied without it at a time; with `always_tries`,
        after one attempt.

        Raises:
            KnownFull: it can.
        """
        for attempt in range(ROUNDS):
            if (attempt or not always_tries) and is_known(now_ms):
                raise KnownFull(now_ms)
            reply = yield from send(Once(request))
            if not isinstance(reply, Throttled):
                return reply, now_ms
            self.note_throttled(now_ms)
            now_ms = yield from send(Pause(attempt))
        return (yield from send(request)), now_ms
