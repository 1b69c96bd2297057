"""Usage that is added up in the process, and sent once: what is to be sent, and what became of it.

A quantity gets its key when it is sent for the first time, and the key is stored before that. So at
most one request of a limit is under way, and it is sent again under its key until the stack has
answered, also by a later process. What is added meanwhile waits without a key, and is one request
later, however long the network is gone.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overdraft._operations import Calls
from overdraft._requests import Operation, Outcome, Request, uuid7
from overdraft._store import Store, logger
from overdraft.errors import ClockAhead, Denied, Refused, TooLate, Unavailable

if TYPE_CHECKING:
    from filelock import FileLock

# The most that one request consumes.
MOST_AT_ONCE = 1_000_000_000
# How many entries that were set aside are stored; the oldest leave.
MOST_ASIDE = 1_000
JOURNALS = 100
MOST_NEW_KEYS = 2
# From when on usage is late, so that people may want to know when it was; how old it may be then.
LATE_SECONDS = 60
OLDEST_SECONDS = 399 * 86_400


@dataclass(frozen=True)
class Aside:
    """Usage that the stack has refused, and that is not sent again.

    `type` is the end of the problem's type. Of `idempotency-key-expired` it is not known whether
    it was counted; anything else was not. Tell the vendor, who can correct the usage by hand.
    """

    key: str
    quantity: int
    type: str
    request_key: str
    first_at: str


@dataclass
class _Sending:
    """A request that is under way: its key stays, whatever happens."""

    quantity: int
    request_key: str
    first_at: str


@dataclass
class _Limit:
    """What is known of one usage limit."""

    waiting: int = 0
    first_at: str | None = None
    sending: _Sending | None = None


@dataclass
class Journal:
    """All usage of a process that has not been counted yet.

    It is stored in a file of its own, which a lock keeps other processes from; a process that
    starts takes over what one that ended has left. `merged` has the ids of the journals that this
    one contains: they are stored with what was in them, so a crash in between counts nothing twice.
    """

    calls: Calls
    store: Store
    limits: dict[str, _Limit] = field(default_factory=dict)
    aside: list[Aside] = field(default_factory=list)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    merged: list[str] = field(default_factory=list)
    is_closed: bool = False
    _stored: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _saving: threading.Lock = field(default_factory=threading.Lock)
    _file_lock: FileLock | None = None

    @classmethod
    def open(cls, calls: Calls, store: Store) -> Journal:
        """The journal of this process, with what earlier ones have left."""
        if store.path is None:
            return cls(calls, store)
        owned = None
        for number in range(JOURNALS):
            path = store.path.with_suffix(f".journal-{number}.json")
            if owned is not None and not path.exists():
                break
            held = _locked(path)
            if held is None:
                continue
            if owned is None:
                owned = cls(calls, Store(path), _file_lock=held)
                owned._begin()
                continue
            owned._adopt(Store(path))
            held.release()
        if owned is None:
            logger.warning("license usage is not stored: %s is not writable", store.path.parent)
            return cls(calls, Store(None))
        return owned

    def _begin(self) -> None:
        """Go on with what is in the file, unless another journal contains it already."""
        state = self.store.read()
        if state.get("id") in self._merged_elsewhere(self.store):
            self.save()
            return
        self.id = state.get("id") or self.id
        self._load(state)
        self._stored = {name: limit.waiting for name, limit in self.limits.items()}

    def _merged_elsewhere(self, besides: Store) -> set[str]:
        """The ids of all journals that others contain."""
        assert besides.path is not None
        number = besides.path.name.partition(".journal-")[0]
        paths = besides.path.parent.glob(f"{number}.journal-*.json")
        states = [Store(path).read() for path in paths if path != besides.path]
        return {each for state in states for each in state.get("merged", ())}

    def _adopt(self, other: Store) -> None:
        """Take over what a process has left in another journal, if that can be stored here."""
        state = other.read()
        if not state:
            return
        if state.get("id") in self._merged_elsewhere(other):
            other.change(lambda known: known.clear())
            return
        if any(
            limit.get("sending") and name in self.limits and self.limits[name].sending
            for name, limit in state.get("limits", {}).items()
        ):
            return  # both have a request under way: one after the other
        before = {name: replace(limit) for name, limit in self.limits.items()}
        aside, merged = self.aside, self.merged
        self._load(state)
        self.merged = [*merged, *state.get("merged", ()), str(state.get("id"))]
        if not self.save():
            self.limits, self.aside, self.merged = before, aside, merged
        elif other.change(lambda known: known.clear()):
            self.merged = merged
            self.save()

    def leave_to_parent(self, base: Store) -> None:
        """After a fork, in the child: everything here is the parent's; begin a journal anew.

        `base` is the store beside which journals are.
        """
        if self._file_lock is not None:
            _PARENTS.append(self._file_lock)  # if it were collected, the parent would lose it
        own = Journal.open(self.calls, base)
        self.store, self._file_lock = own.store, own._file_lock
        self.limits, self.aside = own.limits, own.aside
        self.id, self.merged, self._stored = own.id, own.merged, own._stored
        self._lock, self._saving = threading.Lock(), threading.Lock()

    def add(self, key: str, quantity: int) -> int:
        """Add usage; return what waits. It never touches the network or the disk."""
        with self._lock:
            limit = self.limits.setdefault(key, _Limit())
            limit.waiting += quantity
            limit.first_at = limit.first_at or self._now()
            return limit.waiting

    def _now(self) -> str:
        now = datetime.fromtimestamp(self.calls.clock.now(), timezone.utc)
        return now.isoformat(timespec="seconds")

    def is_empty(self, key: str) -> bool:
        """Whether everything of a limit has been counted, or set aside."""
        with self._lock:
            limit = self.limits.get(key)
            return limit is None or (limit.waiting == 0 and limit.sending is None)

    def send(self, key: str, on_aside: Callable[[Aside], object] | None) -> Operation[bool]:
        """Send what is there of a limit; False: the stack was out of reach.

        Raises:
            RuntimeError: it is closed, and another process may go on with it.
        """
        if self.is_closed:
            raise RuntimeError("the meter is closed")
        new_keys = 0
        while True:
            sending, is_first = self._next(key)
            if sending is None:
                return self.is_empty(key)
            try:
                yield from self._storing_between(
                    self.calls.consume(
                        key,
                        sending.quantity,
                        sending.request_key,
                        journaled=True,
                        occurred_at=self._occurred_at(sending),
                    )
                )
            except Unavailable:
                return False
            except (ClockAhead, TooLate) as error:
                # Nothing was counted of a key from the future, nor of one that was never sent
                # before: the clock was wrong, and now is corrected.
                if new_keys < MOST_NEW_KEYS and (isinstance(error, ClockAhead) or is_first):
                    new_keys += 1
                    self._again(key)
                else:
                    self._refused(key, sending, error, on_aside)
            except Refused as error:
                self._refused(key, sending, error, on_aside)
            else:
                self._done(key)

    def _storing_between(self, operation: Operation[Any]) -> Operation[None]:
        """The same operation; before each further try, what was added meanwhile is stored."""
        outcome: Outcome = None
        with contextlib.suppress(StopIteration):
            step = operation.send(None)
            while True:
                outcome = yield step
                step = operation.send(outcome)
                if isinstance(step, Request):
                    self.save()

    def forget_aside(self, key: str) -> None:
        """Forget what was set aside of a limit."""
        with self._lock:
            self.aside = [each for each in self.aside if each.key != key]
        self.save()

    def _next(self, key: str) -> tuple[_Sending | None, bool]:
        """The request to send, and whether this is its first try. It is stored before that.

        None too if that cannot be stored, and an earlier state that waits is: after a crash it
        would be sent under another key.
        """
        with self._lock:
            limit = self.limits.setdefault(key, _Limit())
            if limit.sending is not None:
                return limit.sending, False
            if not limit.waiting:
                return None, False
            quantity = min(limit.waiting, MOST_AT_ONCE)
            first_at = limit.first_at or self._now()
            limit.sending = _Sending(quantity, uuid7(self.calls.clock.now_ms()), first_at)
            limit.waiting -= quantity
            limit.first_at = first_at if limit.waiting else None
            sending = limit.sending
        if self.save() or not self._stored.get(key):
            return sending, True
        with self._lock:
            limit.waiting, limit.first_at, limit.sending = limit.waiting + quantity, first_at, None
        return None, False

    def _again(self, key: str) -> None:
        """Let the request that is under way wait for another key."""
        with self._lock:
            limit = self.limits[key]
            if limit.sending is not None:
                limit.waiting += limit.sending.quantity
                limit.first_at, limit.sending = limit.sending.first_at, None

    def _occurred_at(self, sending: _Sending) -> datetime | None:
        """When the first of it happened, if that is worth a note."""
        first = datetime.fromisoformat(sending.first_at)
        age = self.calls.clock.now() - first.timestamp()
        return first if LATE_SECONDS < age < OLDEST_SECONDS else None

    def _done(self, key: str) -> None:
        with self._lock:
            self.limits[key].sending = None
        self.save()

    def _refused(
        self,
        key: str,
        sending: _Sending,
        error: Refused,
        on_aside: Callable[[Aside], object] | None,
    ) -> None:
        """What does not fit is set aside; what fits is sent by itself, under a key of its own."""
        usage = error.usage if isinstance(error, Denied) else None
        fits = usage.available or 0 if usage else 0
        if fits >= sending.quantity:
            fits = 0  # what is available has changed since: people may look at it
        aside = Aside(
            key, sending.quantity - fits, error.type, sending.request_key, sending.first_at
        )
        with self._lock:
            limit = self.limits[key]
            limit.sending = None
            if 0 < fits < sending.quantity:
                # Nothing of the refused request was counted, so this is no repetition.
                request_key = uuid7(self.calls.clock.now_ms())
                limit.sending = _Sending(fits, request_key, sending.first_at)
            self.aside = [*self.aside, aside][-MOST_ASIDE:]
        self.save()
        logger.warning("license usage set aside: %s of %s: %s", aside.quantity, key, aside.type)
        if on_aside is not None:
            try:
                on_aside(aside)
            except Exception:  # the integrator's defect must not end the meter
                logger.exception("on_refused failed")

    def save(self) -> bool:
        """Store what must survive a crash; whether it is stored, or need not be."""
        if self.store.path is None:
            return True
        with self._saving:  # an older state must not be written after a newer one
            with self._lock:
                kept = {
                    "limits": {
                        name: asdict(limit)
                        for name, limit in self.limits.items()
                        if limit.waiting or limit.sending
                    },
                    "aside": [asdict(each) for each in self.aside],
                    "id": self.id,
                    "merged": self.merged,
                }
                waiting = {name: limit.waiting for name, limit in self.limits.items()}
            is_stored = self.store.change(lambda state: state.update(kept))
            if is_stored:
                self._stored = waiting
            return is_stored

    def _load(self, state: Mapping[str, Any]) -> None:
        for name, limit in state.get("limits", {}).items():
            known = self.limits.setdefault(name, _Limit())
            known.waiting += limit["waiting"]
            known.first_at = known.first_at or limit["first_at"]
            if limit["sending"]:
                known.sending = _Sending(**limit["sending"])
        self.aside = [*self.aside, *(Aside(**each) for each in state.get("aside", ()))]

    def close(self) -> None:
        """Let another process go on with what is left."""
        self.save()
        self.is_closed = True
        if self._file_lock is not None:
            self._file_lock.release()


_PARENTS: list[FileLock] = []


def _locked(path: Path) -> FileLock | None:
    """The lock that this process holds on a journal from now on; None: another one has it."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - as in `_store`

    with contextlib.suppress(OSError, Timeout):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(f"{path}.owner", timeout=0)
        lock.acquire()
        return lock
    return None
