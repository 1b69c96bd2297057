"""The client for asyncio: the same names as `client`, to be awaited."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar

import httpx

from overdraft._core import DEFAULT_GRACE, Core, KeptSeat, Wanted
from overdraft._keeping import Change, Policy
from overdraft._metering import Aside, Journal
from overdraft._requests import Clock, Failure, Operation, Outcome, Reply, Request, Retry, uuid7
from overdraft._store import logger
from overdraft.client import LOOK_SECONDS, NO_ANSWER, failure_of, reply_of
from overdraft.errors import OverdraftError, Unavailable
from overdraft.metering import check_quantity, next_wait
from overdraft.models import Activation, Consumption, Entitlement, HeldSeat, UsageLimit

T = TypeVar("T")
OnChange = Callable[["AsyncSeat", Change], Awaitable[None] | None]


class AsyncRunner:
    """Sends the requests of operations, and waits where they want to."""

    def __init__(self, url: str, retry: Retry, transport: httpx.AsyncBaseTransport | None) -> None:
        timeout = httpx.Timeout(retry.timeout)
        self._http = httpx.AsyncClient(
            base_url=url, timeout=timeout, transport=transport, follow_redirects=False
        )

    async def _run(self, operation: Operation[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = operation.send(outcome)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if isinstance(step, Request):
                outcome = await self._send(step)
            else:
                await asyncio.sleep(step.seconds)
                outcome = None

    async def _send(self, request: Request) -> Reply | Failure:
        try:
            answer = await self._http.request(
                request.method, request.path, json=request.body, headers=dict(request.headers)
            )
        except NO_ANSWER as error:
            return failure_of(error)
        return reply_of(answer)


class AsyncOverdraft(AsyncRunner):
    """A stack of Overdraft, as software of one customer sees it; see `Overdraft`."""

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
        transport: httpx.AsyncBaseTransport | None = None,
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
        self._seats: set[AsyncSeat] = set()
        self._meters: dict[str, AsyncMeter] = {}
        self._journal: Journal | None = None

    async def __aenter__(self) -> AsyncOverdraft:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give every kept seat back, send what meters have, and close the connections."""
        for seat in list(self._seats):
            await seat.release()
        is_reachable = True
        for meter in self._meters.values():
            try:
                is_reachable = await meter.close(tries=is_reachable)
            except Exception:  # one limit's trouble is not the others'
                logger.exception("license usage not sent")
        self._meters = {}
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        await self._http.aclose()

    # --- Seats ----------------------------------------------------------------------------------

    def seat(
        self,
        seat_id: str,
        *,
        name: str | None = None,
        attributes: Mapping[str, str] | None = None,
        lease_period: timedelta | None = None,
        on_change: OnChange | None = None,
    ) -> AsyncSeat:
        """A seat that is taken at the beginning of an `async with` block; see `Overdraft.seat`."""
        return AsyncSeat(self, Wanted(seat_id, name, attributes, lease_period), on_change)

    async def take(
        self,
        seat_id: str,
        *,
        name: str | None = None,
        attributes: Mapping[str, str] | None = None,
        lease_period: timedelta | None = None,
        signed: bool = False,
    ) -> Activation:
        """Take or renew a seat, once; see `Overdraft.take`."""
        taking = self._core.calls.take(
            seat_id, name, attributes, signed=signed, lease_period=lease_period
        )
        return await self._run(taking)

    async def release(self, activation_id: str) -> None:
        """Release a seat; one that is not held any more stays released."""
        await self._run(self._core.calls.release(activation_id))

    async def held_seats(self) -> AsyncIterator[HeldSeat]:
        """Who holds seats, page by page."""
        token: str | None = None
        while True:
            seats, token = await self._run(self._core.calls.held_seats(token))
            for seat in seats:
                yield seat
            if token is None:
                return

    # --- Usage limits ---------------------------------------------------------------------------

    async def consume(
        self,
        key: str,
        quantity: int = 1,
        *,
        request_key: str | None = None,
        journaled: bool = False,
        occurred_at: datetime | None = None,
    ) -> Consumption:
        """Consume a quantity of a usage limit, all or nothing; see `Overdraft.consume`."""
        consuming = self._core.calls.consume(
            key,
            quantity,
            request_key or self.new_request_key(),
            journaled=journaled,
            occurred_at=occurred_at,
        )
        return await self._run(consuming)

    def meter(
        self,
        key: str,
        *,
        interval: float = 1.0,
        units: int = 1_000,
        on_refused: Callable[[Aside], object] | None = None,
    ) -> AsyncMeter:
        """A meter of a usage limit; see `Overdraft.meter`."""
        if key not in self._meters:
            if self._journal is None:
                self._journal = Journal.open(self._core.calls, self._core.store)
            self._meters[key] = AsyncMeter(
                self, key, self._journal, interval=interval, units=units, on_refused=on_refused
            )
        return self._meters[key]

    def new_request_key(self) -> str:
        """A key for `consume`, with the stack's time: a UUIDv7."""
        return uuid7(self._core.clock.now_ms())

    async def usage(self) -> list[UsageLimit]:
        """Every usage limit in its current period."""
        return await self._run(self._core.calls.usage())

    async def entitlement(self) -> Entitlement:
        """What was sold, with its seats in use."""
        return await self._run(self._core.calls.entitlement())


class AsyncSeat(KeptSeat):
    """A seat that is kept, until the end of its `async with` block; see `Seat`."""

    def __init__(self, client: AsyncOverdraft, wanted: Wanted, on_change: OnChange | None) -> None:
        super().__init__(client._core, wanted)
        self._client = client
        self._on_change = on_change
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._pid: int | None = None

    async def __aenter__(self) -> AsyncSeat:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.release()

    async def start(self) -> None:
        """Take the seat, and keep it from now on; see `Seat.start`."""
        async with self._lock:
            if self._pid is not None:
                raise RuntimeError("the seat is kept already")
            taking = asyncio.ensure_future(
                self._client._run(self._core.renew(self._wanted, self._state))
            )
            try:
                changes = await asyncio.shield(taking)
            except asyncio.CancelledError:
                # What is asked for may be granted: then it is given back.
                await asyncio.wait([taking], timeout=self._core.retry.total)
                if self.activation is not None and self._state.is_from_server:
                    with contextlib.suppress(OverdraftError):
                        await self._client.release(self.activation.activation_id)
                raise
            if self._state.refused is not None:
                raise self._state.refused
            if self._state.is_offline:
                self._core.resume(self._wanted, self._state)
                if self.source is None:
                    raise Unavailable("it cannot be reached, and there is no lease to go on with")
            self._pid = os.getpid()
        self._client._seats.add(self)
        self._task = asyncio.create_task(self._keep())
        await self._report(changes)

    async def renew(self) -> None:
        """Renew the seat now. The keeper does it when it is due."""
        async with self._lock:
            if self._pid != os.getpid():
                return
            renewing = self._core.renew(self._wanted, self._state)
            changes = await self._client._run(renewing)
            changes += self._state.look(self._core.clock.now())
        await self._report(changes)

    async def release(self) -> None:
        """Give the seat back; see `Seat.release`."""
        self._client._seats.discard(self)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        async with self._lock:
            if self._pid != os.getpid():
                return
            held, self._pid = self.activation, None
            self._state = self._core.new_state()  # it must not be used any more
            self._core.forget(self._wanted)
            if held is None:
                return
            try:
                await asyncio.shield(self._client.release(held.activation_id))
            except OverdraftError as error:
                logger.warning("license seat not given back: %s", error)

    async def _keep(self) -> None:
        clock = self._core.clock
        while self._pid is not None:
            await asyncio.sleep(min(LOOK_SECONDS, max(0.05, self._state.due - clock.now())))
            try:
                if clock.now() >= self._state.due:
                    await self.renew()
                else:
                    await self._report(self._state.look(clock.now()))
            except Exception:  # never the end of the keeper, nor a reason to ask at once again
                logger.exception("license seat not renewed")
                self._state.failed(clock.now())

    async def _report(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if self._on_change is None:
                continue
            try:
                waited = self._on_change(self, change)
                if waited is not None:
                    await waited
            except Exception:  # the integrator's defect must not end the keeper
                logger.exception("on_change failed")


class AsyncMeter:
    """Adds up the usage of one limit, and sends it in the background; see `Meter`."""

    def __init__(
        self,
        client: AsyncOverdraft,
        key: str,
        journal: Journal,
        *,
        interval: float,
        units: int,
        on_refused: Callable[[Aside], object] | None,
    ) -> None:
        self.key = key
        self._client = client
        self._journal = journal
        self._interval = interval
        self._units = units
        self._on_refused = on_refused
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._task = asyncio.create_task(self._run())

    def add(self, quantity: int = 1) -> None:
        """Count so much more; it never waits.

        Raises:
            ValueError: it is not a whole number from 1 on.
        """
        check_quantity(quantity)
        if self._task.done():
            raise RuntimeError("the meter is closed")
        if self._journal.add(self.key, quantity) >= self._units:
            self._wake.set()

    @property
    def aside(self) -> list[Aside]:
        """Usage of this limit that the stack has refused, and that is not sent again."""
        return [each for each in self._journal.aside if each.key == self.key]

    def forget_aside(self) -> None:
        """Forget what was set aside, once somebody has seen to it."""
        self._journal.forget_aside(self.key)

    async def flush(self) -> bool:
        """Send what is there now, and wait for it; False: the stack is out of reach."""
        async with self._sending:
            return await self._client._run(self._journal.send(self.key, self._on_refused))

    async def close(self, *, tries: bool = True) -> bool:
        """Send what is there, once, and stop; see `Meter.close`."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        is_sent = tries and not self._journal.is_closed and await self.flush()
        self._journal.save()
        return is_sent

    async def _run(self) -> None:
        retry_at, wait = 0.0, self._interval
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._interval)
            self._wake.clear()
            if time.monotonic() < retry_at:
                self._journal.save()  # what was added meanwhile
                await asyncio.sleep(min(1.0, self._interval))  # many units wake it up at once
                continue
            try:
                is_sent = await self.flush()
            except Exception:  # never the end of the meter
                logger.exception("license usage not sent")
                is_sent = False
            wait = self._interval if is_sent else next_wait(wait)
            retry_at = 0.0 if is_sent else time.monotonic() + wait
