"""Usage that is added up in the process, and sent once: what is to be sent, and what became of it.

A quantity gets its key when it is sent for the first time, and the key is stored before that. So at
most one request of a limit is under way, and it is sent again under its key until the stack has
answered, also by a later process. What is added meanwhile waits without a key, and is one request
later, however long the network is gone.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
# How often it is looked for what others have left.
ADOPT_SECONDS = 60.0
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


class _StoredLimit(NamedTuple):
    """What is stored of a limit: how much waits, and the key that is under way and may count."""

    waiting: int = 0
    request_key: str | None = None


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
    _stored: dict[str, _StoredLimit] = field(default_factory=dict)
    _adopted_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _saving: threading.Lock = field(default_factory=threading.Lock)
    _file_lock: FileLock | None = None

    @classmethod
    def open(cls, calls: Calls, store: Store) -> Journal:
        """The journal of this process, with what earlier ones have left."""
        if store.path is None:
            return cls(calls, store)
        for number in range(JOURNALS):
            path = store.path.with_suffix(f".journal-{number}.json")
            held = _locked(path)
            if held is None:
                continue
            owned = cls(calls, Store(path), _file_lock=held)
            if owned._begin():
                owned._adopt_others()
                return owned
            held.release()
        logger.warning("license usage is not stored: no journal in %s can be", store.path.parent)
        return cls(calls, Store(None))

    def _begin(self) -> bool:
        """Go on with what is in the file; false: it cannot be read, so it is left alone."""
        others = self._others()
        try:
            state = self.store.load()
        except OSError:
            return False
        if others is None:
            return not state  # whether another journal contains it is not known
        if state.get("id") in _merged_in(others):
            return self.save()
        self.id = state.get("id") or self.id
        self.merged = list(state.get("merged", ()))
        self._load(state)
        self._stored = self._known()
        return True

    def _others(self) -> dict[Path, dict[str, Any]] | None:
        """What is in all other journals; None: one of them cannot be read."""
        assert self.store.path is not None
        prefix = self.store.path.name.partition(".journal-")[0]
        paths = sorted(self.store.path.parent.glob(f"{prefix}.journal-*.json"))
        try:
            return {path: Store(path).load() for path in paths if path != self.store.path}
        except OSError as error:
            logger.warning("license usage of other processes not read: %s", error)
            return None

    def _looks_again(self) -> bool:
        """Look for what others have left, now and then; whether it did."""
        is_late = time.monotonic() - self._adopted_at > ADOPT_SECONDS
        if self.store.path is None or self.is_closed or not is_late:
            return False
        self._adopt_others()
        return True

    def _adopt_others(self) -> None:
        """Take over what processes that have ended left, if that can be stored here."""
        self._adopted_at = time.monotonic()
        others = self._others()
        for path, state in (others or {}).items():
            held = _locked(path) if state else None
            if held is not None:
                self._adopt(Store(path))
                held.release()

    def _adopt(self, other: Store) -> None:
        """Take over a journal whose lock is held."""
        others = self._others()  # again: it may have been taken over since it was read
        state = (others or {}).get(other.path or Path(), {})
        if not state or others is None:
            return
        if state.get("id") in {*self.merged, *_merged_in(others)}:
            other.change(lambda known: known.clear())
            return
        if any(
            limit.get("sending") and name in self.limits and self.limits[name].sending
            for name, limit in state.get("limits", {}).items()
        ):
            return  # both have a request under way: one after the other
        with self._lock:
            aside, merged = self.aside, self.merged
            present = {each.get("id") for each in others.values()}
            self._load(state)
            kept = [each for each in merged if each in present]
            self.merged = [*kept, *state.get("merged", ()), str(state.get("id"))]
        if self.save():
            other.change(lambda known: known.clear())
            return
        with self._lock:
            self._unload(state)
            self.aside, self.merged = aside, merged

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
            if sending is None and self._looks_again():
                continue
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
            except Refused as error:
                # Nothing was counted of a key from the future, nor of one that was never sent
                # before: the clock was wrong, and now is corrected.
                is_of_clock = isinstance(error, ClockAhead) or (
                    isinstance(error, TooLate) and is_first
                )
                if is_of_clock and new_keys < MOST_NEW_KEYS:
                    new_keys += 1
                    self._again(key)
                elif not self._refused(key, sending, error, on_aside):
                    return False
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
        if self.is_closed:
            return None, False
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
        if self.save() or self._stored_of(key) == _StoredLimit():
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
            # Sent again after a crash, it is a repetition.
            self._stored[key] = self._stored_of(key)._replace(request_key=None)
        self.save()

    def _refused(
        self,
        key: str,
        sending: _Sending,
        error: Refused,
        on_aside: Callable[[Aside], object] | None,
    ) -> bool:
        """What does not fit is set aside; what fits is sent by itself, under a key of its own.

        False: that cannot be stored, and after a crash the same request would be sent again. So it
        is, until it can.
        """
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
            before = self.aside
            self.aside = [*self.aside, aside][-MOST_ASIDE:]
        if not self.save() and self._stored_of(key).request_key == sending.request_key:
            with self._lock:
                limit.sending, self.aside = sending, before
            return False
        logger.warning("license usage set aside: %s of %s: %s", aside.quantity, key, aside.type)
        if on_aside is not None:
            try:
                on_aside(aside)
            except Exception:  # the integrator's defect must not end the meter
                logger.exception("on_refused failed")
        return True

    def save(self) -> bool:
        """Store what must survive a crash; whether it is stored, or need not be."""
        if self.store.path is None:
            return True
        with self._saving:  # an older state must not be written after a newer one
            if self.is_closed:
                return False  # it may be another process's by now
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
                known = self._known()
            is_stored = self.store.change(lambda state: state.update(kept))
            if is_stored:
                self._stored = known
            return is_stored

    def _known(self) -> dict[str, _StoredLimit]:
        return {
            name: _StoredLimit(limit.waiting, limit.sending.request_key if limit.sending else None)
            for name, limit in self.limits.items()
        }

    def _stored_of(self, key: str) -> _StoredLimit:
        return self._stored.get(key, _StoredLimit())

    def _unload(self, state: Mapping[str, Any]) -> None:
        """Take out again what was loaded; usage may have been added meanwhile."""
        for name, limit in state.get("limits", {}).items():
            known = self.limits[name]
            known.waiting -= limit["waiting"]
            if limit["sending"]:
                known.sending = None

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
        with self._saving:
            self.is_closed = True
        if self._file_lock is not None:
            self._file_lock.release()


def _merged_in(journals: Mapping[Path, Mapping[str, Any]]) -> set[str]:
    """The ids of the journals that these contain."""
    return {each for state in journals.values() for each in state.get("merged", ())}


_PARENTS: list[FileLock] = []


def _locked(path: Path) -> FileLock | None:
    """The lock that this process holds on a journal from now on; None: another one has it."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - as in `_store`

    with contextlib.suppress(OSError, Timeout):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(f"{path}.owner", timeout=0, thread_local=False)
        lock.acquire()
        return lock
    return None
