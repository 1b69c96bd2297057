"""The client that blocks: for scripts, services with threads, and desktop software."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import FrameType, TracebackType
from typing import Any, TypeVar

import httpx

from overdraft._core import DEFAULT_GRACE, Core, KeptSeat, Wanted
from overdraft._keeping import Change, Policy
from overdraft._metering import Aside, Journal
from overdraft._requests import Clock, Failure, Operation, Outcome, Reply, Request, Retry, uuid7
from overdraft._store import logger
from overdraft.errors import OverdraftError, Unavailable
from overdraft.metering import Meter
from overdraft.models import Activation, Consumption, Entitlement, HeldSeat, UsageLimit

T = TypeVar("T")
# What httpx raises when nothing was answered.
NO_ANSWER = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
OnChange = Callable[["Seat", Change], None]
# A machine that slept does not know by its timers how long: the clock is looked at this often.
LOOK_SECONDS = 30.0
SHORTEST_WAIT = 0.05
# How long SIGTERM waits for seats to be given back: orchestrators kill after 30 seconds.
SIGTERM_SECONDS = 15.0


class Runner:
    """Sends the requests of operations, and waits where they want to."""

    def __init__(self, url: str, retry: Retry, transport: httpx.BaseTransport | None) -> None:
        self._url, self._timeout, self._transport = url, retry.timeout, transport
        self._http = self._connect()

    def _connect(self) -> httpx.Client:
        return httpx.Client(
            base_url=self._url,
            timeout=httpx.Timeout(self._timeout),
            transport=self._transport,
            follow_redirects=False,
        )

    def _run(self, operation: Operation[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = operation.send(outcome)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if isinstance(step, Request):
                outcome = self._send(step)
            else:
                time.sleep(step.seconds)
                outcome = None

    def _send(self, request: Request) -> Reply | Failure:
        try:
            answer = self._http.request(
                request.method, request.path, json=request.body, headers=dict(request.headers)
            )
        except NO_ANSWER as error:
            return failure_of(error)
        return reply_of(answer)


class Overdraft(Runner):
    """A stack of Overdraft, as software of one customer sees it.

    `url` is where the stack's API is reached, `license_key` that of the entitlement (or `api_key`
    with `entitlement_id`, for a server of the vendor). `offline` says what a seat is worth while
    the stack is out of reach: `grace` goes on until a signed lease's `offlineUntil`, and for
    `grace` after the end of its lease, whatever is later; `deny` until the lease ends; `allow` for
    ever. `state` is a folder for what must survive a restart; `stores=False` stores nothing.
    `lease_keys` are the stack's public keys, if they are not to be trusted at first use.
    """

    def __init__(
        self,
        url: str,
        license_key: str | None = None,
        *,
        api_key: str | None = None,
        entitlement_id: str | None = None,
        offline: Policy = "grace",
        grace: timedelta = DEFAULT_GRACE,
        retry: Retry = Retry(),
        state: str | os.PathLike[str] | None = None,
        stores: bool = True,
        lease_keys: Sequence[Mapping[str, Any]] | None = None,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._core = Core(
            url,
            license_key=license_key,
            api_key=api_key,
            entitlement_id=entitlement_id,
            offline=offline,
            grace=grace,
            retry=retry,
            state=state,
            stores=stores,
            lease_keys=lease_keys,
            clock=clock,
        )
        super().__init__(self._core.url, retry, transport)
        self._keeper = _Keeper()
        self._meters: dict[str, Meter] = {}
        self._journal: Journal | None = None
        _clients.add(self)

    def _leave_to_parent(self) -> None:
        """After a fork, in the child: the parent has the connections, the keeper and the seats."""
        self._http = self._connect()
        for seat in self._keeper.seats:
            seat._leave_to_parent()
        self._keeper = _Keeper()
        if self._journal is not None:
            self._journal.leave_to_parent(self._core.store)
        for meter in self._meters.values():
            meter._leave_to_parent()

    def __enter__(self) -> Overdraft:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give every kept seat back, send what meters have, and close the connections."""
        self._keeper.close()
        self._close_meters()
        self._http.close()

    def _close_meters(self) -> None:
        is_reachable = self._keeper.is_reachable  # as giving the seats back has shown
        for meter in self._meters.values():
            try:
                is_reachable = meter.close(tries=is_reachable)
            except Exception:  # one limit's trouble is not the others'
                logger.exception("license usage not sent")
        self._meters = {}
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    # --- Seats ----------------------------------------------------------------------------------

    def seat(
        self,
        seat_id: str,
        *,
        name: str | None = None,
        attributes: Mapping[str, str] | None = None,
        lease_period: timedelta | None = None,
        on_change: OnChange | None = None,
        release_on_sigterm: bool = False,
    ) -> Seat:
        """A seat that is taken at the beginning of a `with` block, kept, and given back at its end.

        `lease_period` borrows it, such as for a journey. `on_change` is called in the keeper's
        thread. `release_on_sigterm` gives it back when the process is told to end; a handler that
        exists is called after that.
        """
        wanted = Wanted(seat_id, name, attributes, lease_period)
        return Seat(self, wanted, on_change, release_on_sigterm=release_on_sigterm)

    def take(
        self,
        seat_id: str,
        *,
        name: str | None = None,
        attributes: Mapping[str, str] | None = None,
        lease_period: timedelta | None = None,
        signed: bool = False,
    ) -> Activation:
        """Take or renew a seat, once: nobody keeps it.

        Raises:
            Denied, BorrowLimitReached, Suspended, Expired, NotYetValid, Unauthorized, Unavailable.
        """
        taking = self._core.calls.take(
            seat_id, name, attributes, signed=signed, lease_period=lease_period
        )
        return self._run(taking)

    def release(self, activation_id: str) -> None:
        """Release a seat; one that is not held any more stays released.

        Raises:
            Unauthorized, Unavailable.
        """
        self._run(self._core.calls.release(activation_id))

    def held_seats(self) -> Iterator[HeldSeat]:
        """Who holds seats, page by page."""
        token: str | None = None
        while True:
            seats, token = self._run(self._core.calls.held_seats(token))
            yield from seats
            if token is None:
                return

    # --- Usage limits ---------------------------------------------------------------------------

    def consume(
        self,
        key: str,
        quantity: int = 1,
        *,
        request_key: str | None = None,
        journaled: bool = False,
        occurred_at: datetime | None = None,
    ) -> Consumption:
        """Consume a quantity of a usage limit, all or nothing.

        It counts once, however often it has to be sent: it has one key, made before the first try.
        `request_key` is such a key of the caller's own, for a request that is sent again later;
        with `journaled`, it must be a UUIDv7 (see `new_request_key`).

        Raises:
            Denied, Suspended, Expired, NotYetValid, Unauthorized, NotFound, TooLate, Unavailable.
        """
        consuming = self._core.calls.consume(
            key,
            quantity,
            request_key or self.new_request_key(),
            journaled=journaled,
            occurred_at=occurred_at,
        )
        return self._run(consuming)

    def meter(
        self,
        key: str,
        *,
        interval: float = 1.0,
        units: int = 1_000,
        on_refused: Callable[[Aside], object] | None = None,
    ) -> Meter:
        """A meter of a usage limit, for what is counted often: see `Meter`. One for each limit.

        `on_refused` is told of usage that the stack has refused, in the meter's thread.
        """
        if key not in self._meters:
            if self._journal is None:
                self._journal = Journal.open(self._core.calls, self._core.store)
            self._meters[key] = Meter(
                self, key, self._journal, interval=interval, units=units, on_refused=on_refused
            )
        return self._meters[key]

    def new_request_key(self) -> str:
        """A key for `consume`, with the stack's time: a UUIDv7."""
        return uuid7(self._core.clock.now_ms())

    def usage(self) -> list[UsageLimit]:
        """Every usage limit in its current period."""
        return self._run(self._core.calls.usage())

    def entitlement(self) -> Entitlement:
        """What was sold, with its seats in use."""
        return self._run(self._core.calls.entitlement())


def failure_of(error: Exception) -> Failure:
    """What an exception of httpx is for operations."""
    return Failure(f"{type(error).__name__}: {error}")


def reply_of(answer: httpx.Response) -> Reply:
    """An answer of httpx as operations see it."""
    try:
        body = answer.json() if answer.content else None
    except (RecursionError, ValueError):
        body = None
    return Reply(answer.status_code, dict(answer.headers), body)


class Seat(KeptSeat):
    """A seat that is kept, until the end of its `with` block.

    `is_valid` says whether it may be used now, `source` by whose word: the stack's (`server`), a
    signed lease's (`lease`) or the offline policy's (`policy`).
    """

    def __init__(
        self,
        client: Overdraft,
        wanted: Wanted,
        on_change: OnChange | None,
        *,
        release_on_sigterm: bool,
    ) -> None:
        super().__init__(client._core, wanted)
        self._client = client
        self._on_change = on_change
        self._releases_on_sigterm = release_on_sigterm
        self._lock = threading.RLock()
        self._is_kept = False

    # --- Its life -------------------------------------------------------------------------------

    def __enter__(self) -> Seat:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def start(self) -> None:
        """Take the seat, and keep it from now on.

        Raises:
            Denied, BorrowLimitReached, Suspended, Expired, NotYetValid, Unauthorized: the stack has
                said no.
            Unavailable: it is out of reach, and the offline policy does not allow to go on.
        """
        if self._releases_on_sigterm and threading.current_thread() is not threading.main_thread():
            raise RuntimeError("release_on_sigterm works in the main thread only")
        with self._lock:
            if self._is_kept:
                raise RuntimeError("the seat is kept already")
            changes = self._client._run(self._core.renew(self._wanted, self._state))
            if self._state.refused is not None:
                raise self._state.refused
            if self._state.is_offline:
                self._core.resume(self._wanted, self._state)
                if self.source is None:
                    raise Unavailable("it cannot be reached, and there is no lease to go on with")
            self._is_kept = True
            self._client._keeper.add(self)
        if self._releases_on_sigterm:
            _release_on_sigterm(self)
        self._report(changes)

    def renew(self) -> None:
        """Renew the seat now. The keeper does it when it is due."""
        with self._lock:
            if not self._is_kept:
                return
            changes = self._client._run(self._core.renew(self._wanted, self._state))
            changes += self._state.look(self._core.clock.now())
        self._report(changes)

    def release(self) -> None:
        """Give the seat back. Never raises: a seat that cannot be given back ends with its lease.

        A child that was forked does not give back its parent's seat.
        """
        self._release(tries=True)

    def _release(self, *, tries: bool) -> None:
        self._client._keeper.remove(self)
        with self._lock:
            if not self._is_kept:
                return
            held, self._is_kept = self.activation, False
            self._state = self._core.new_state()  # it must not be used any more
            self._core.forget(self._wanted)
            if held is None or not tries:
                return
            try:
                self._client.release(held.activation_id)
            except OverdraftError as error:
                logger.warning("license seat not given back: %s", error)
                self._client._keeper.is_reachable = not isinstance(error, Unavailable)

    def _leave_to_parent(self) -> None:
        self._lock, self._is_kept = threading.RLock(), False
        self._state = self._core.new_state()

    def _look(self, *, is_reachable: bool = True) -> bool:
        """Renew it if it is due, or see what the time has changed; whether the stack answered.

        `is_reachable` false: another seat has just found that it does not.
        """
        now = self._core.clock.now()
        is_due = now >= self._state.due
        if is_due and is_reachable:
            self.renew()
            return not self._state.is_offline
        with self._lock:
            changes = [*self._state.failed(now)] if is_due else []
            changes += self._state.look(now)
        self._report(changes)
        return is_reachable

    def _report(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if self._on_change is None:
                continue
            try:
                self._on_change(self, change)
            except Exception:  # the integrator's defect must not end the keeper
                logger.exception("on_change failed")


class _Keeper:
    """One thread that renews all seats of a client. It is a daemon: it keeps no process alive."""

    def __init__(self) -> None:
        self.seats: set[Seat] = set()
        self.is_reachable = True
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, seat: Seat) -> None:
        """Keep a seat from now on."""
        with self._changed:
            self.seats.add(seat)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._keep, name="overdraft-keeper", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def remove(self, seat: Seat) -> None:
        """Keep a seat no longer."""
        with self._changed:
            self.seats.discard(seat)
            self._changed.notify()

    def close(self) -> None:
        """Give all seats back; once the stack does not answer, the others end with their leases."""
        self.is_reachable = True
        for seat in list(self.seats):
            seat._release(tries=self.is_reachable)

    def _keep(self) -> None:
        while True:
            with self._changed:
                if not self.seats:
                    self._thread = None
                    return
                seats = list(self.seats)
                now = seats[0]._client._core.clock.now()
                first = min(seat._state.due for seat in seats)
                self._changed.wait(min(LOOK_SECONDS, max(SHORTEST_WAIT, first - now)))
                seats = list(self.seats)
            is_reachable = True
            for seat in seats:
                try:
                    is_reachable = seat._look(is_reachable=is_reachable)
                except Exception:  # never the end of the keeper, nor a reason to ask at once again
                    logger.exception("license seat not renewed")
                    seat._state.failed(seat._client._core.clock.now())


_clients: weakref.WeakSet[Overdraft] = weakref.WeakSet()


@atexit.register
def _give_back_all() -> None:
    for client in list(_clients):
        client._keeper.close()
        client._close_meters()


def _after_fork() -> None:
    for client in list(_clients):
        client._leave_to_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork)


_on_sigterm: weakref.WeakSet[Seat] = weakref.WeakSet()


def _release_on_sigterm(seat: Seat) -> None:
    """Give a seat back on SIGTERM, then do what would have happened without us."""
    _on_sigterm.add(seat)
    before = signal.getsignal(signal.SIGTERM)
    if getattr(before, "is_of_overdraft", False):
        return

    def handle(number: int, frame: FrameType | None) -> None:
        # In a thread of its own: this one may have been interrupted while it held a lock.
        releasing = threading.Thread(target=_release_all, name="overdraft-release", daemon=True)
        releasing.start()
        releasing.join(SIGTERM_SECONDS)
        if callable(before):
            before(number, frame)
        elif before != signal.SIG_IGN:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    handle.is_of_overdraft = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, handle)


def _release_all() -> None:
    clients = {seat._client for seat in list(_on_sigterm)}
    for seat in list(_on_sigterm):
        seat._release(tries=seat._client._keeper.is_reachable)
    for client in clients:
        client._close_meters()
