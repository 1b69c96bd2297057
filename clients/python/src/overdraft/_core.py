"""What both clients share: their settings, and the operations that keep a seat."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from overdraft._keeping import Change, Policy, SeatState, Source
from overdraft._leases import AHEAD_SECONDS, UnknownKey, Unverified, verify
from overdraft._operations import Calls
from overdraft._requests import Clock, Operation, Retry, checked_url
from overdraft._store import FORGET_SECONDS, Store, logger
from overdraft.errors import OverdraftError, Refused, Unavailable
from overdraft.models import Activation, Seats

DEFAULT_GRACE = timedelta(hours=8)
NOTE_MS = 60_000


@dataclass(frozen=True)
class Wanted:
    """The seat that is asked for."""

    seat_id: str
    name: str | None = None
    attributes: Mapping[str, str] | None = None
    lease_period: timedelta | None = None


class Core:
    """The settings of a client, and what it knows of its stack."""

    def __init__(
        self,
        url: str,
        *,
        license_key: str | None,
        api_key: str | None,
        entitlement_id: str | None,
        offline: Policy,
        grace: timedelta,
        retry: Retry,
        state: str | os.PathLike[str] | None,
        stores: bool,
        lease_keys: Sequence[Mapping[str, Any]] | None,
        clock: Clock | None,
    ) -> None:
        if (license_key is None) == (api_key is None):
            raise ValueError("give either license_key or api_key")
        if api_key is not None and entitlement_id is None:
            raise ValueError("an API key needs entitlement_id: it may see every entitlement")
        if offline not in ("grace", "deny", "allow"):
            raise ValueError("offline must be grace, deny or allow")
        key = license_key if license_key is not None else str(api_key)
        scheme = "License" if license_key is not None else "Bearer"
        self.url = checked_url(url)
        self.retry = retry
        self.offline: Policy = offline
        self.grace = grace
        self.clock = clock or Clock()
        key_id = key.partition(".")[0]
        self.store = Store.of(state, self.url, key_id) if stores else Store(None)
        stored = self.store.read()
        self.clock.latest_ms = max(self.clock.latest_ms, int(stored.get("latestMs", 0)))
        self._noted_ms = 0
        self._pinned = list(lease_keys) if lease_keys is not None else None
        entitlement_id = entitlement_id or stored.get("entitlementId")
        self.calls = Calls(scheme, key, entitlement_id, retry, self.clock)

    def new_state(self) -> SeatState:
        """The state of a seat that nobody has asked for yet."""
        return SeatState(self.offline, self.grace.total_seconds())

    def renew(self, wanted: Wanted, state: SeatState) -> Operation[list[Change]]:
        """Take or renew a seat, and bring its state up to date. Never raises what a stack says."""
        signed = self.offline == "grace"
        try:
            taken = yield from self.calls.take(
                wanted.seat_id,
                wanted.name,
                wanted.attributes,
                signed=signed,
                lease_period=wanted.lease_period,
            )
        except Refused as error:
            self._forget(wanted.seat_id)
            state.lease = None
            return state.said_no(error, self.clock.now())
        except Unavailable:
            self._note_time()
            return state.failed(self.clock.now())
        changes = state.granted(taken, self.clock.now())
        if taken.signed_lease:
            yield from self._keep_lease(wanted.seat_id, taken, state)
        self._remember(wanted.seat_id, state)
        return changes

    def resume(self, wanted: Wanted, state: SeatState) -> None:
        """What an earlier process has left of a seat, for software that starts offline."""
        stored = self.store.read()
        seat = stored.get("seats", {}).get(wanted.seat_id)
        if not isinstance(seat, dict):
            return
        granted_at, now = seat.get("grantedAt"), self.clock.now()
        if not isinstance(granted_at, (int, float)) or granted_at > now + AHEAD_SECONDS:
            self._forget(wanted.seat_id)
            return
        if seat.get("lease"):
            keys = self._pinned if self._pinned is not None else stored.get("keys", [])
            try:
                lease = verify(str(seat["lease"]), keys, wanted.seat_id, self.calls.entitlement_id)
                if lease.issued_at > now + AHEAD_SECONDS:
                    raise Unverified("it is from the future")
            except Unverified as error:
                logger.warning("stored license lease not used: %s", error)
                self._forget(wanted.seat_id)
                return
            state.lease, state.activation = lease, lease.activation
        state.granted_at = granted_at

    def _note_time(self) -> None:
        """Store how late it is, now and then: so a clock may be set back between two starts."""
        now_ms = self.clock.now_ms()
        if now_ms - self._noted_ms >= NOTE_MS:
            self._noted_ms = now_ms
            self.store.change(lambda stored: stored.update(latestMs=now_ms))

    def forget(self, wanted: Wanted) -> None:
        """A seat was given back: nothing of it may be used later."""
        self._forget(wanted.seat_id)

    def _keep_lease(self, seat_id: str, taken: Activation, state: SeatState) -> Operation[None]:
        """Check a signed lease, with new keys of the stack if it has any."""
        text = str(taken.signed_lease)
        keys = self._pinned if self._pinned is not None else self.store.read().get("keys", [])
        try:
            try:
                state.lease = verify(text, keys, seat_id, taken.entitlement_id)
            except UnknownKey:
                if self._pinned is not None:
                    raise
                keys = yield from self.calls.lease_keys()
                state.lease = verify(text, keys, seat_id, taken.entitlement_id)
                self.store.change(lambda stored: stored.update(keys=keys))
        except (Unverified, Refused, Unavailable) as error:
            # The seat is granted all the same; software has no lease for offline.
            logger.warning("signed license lease not used: %s", error)

    def _remember(self, seat_id: str, state: SeatState) -> None:
        now_ms = self.clock.now_ms()
        lease = state.lease.text if state.lease else None
        kept = {"grantedAt": state.granted_at, "lease": lease}

        def edit(stored: dict[str, Any]) -> None:
            seats = {**stored.get("seats", {}), seat_id: kept}
            stored["seats"] = {
                name: seat for name, seat in seats.items() if not _is_old(seat, now_ms / 1000)
            }
            stored["entitlementId"] = self.calls.entitlement_id
            stored["latestMs"] = now_ms

        self.store.change(edit)

    def _forget(self, seat_id: str) -> None:
        if seat_id in self.store.read().get("seats", {}):
            self.store.change(lambda stored: stored["seats"].pop(seat_id, None))


def _is_old(seat: Any, now: float) -> bool:
    granted_at = seat.get("grantedAt") if isinstance(seat, dict) else None
    return not isinstance(granted_at, (int, float)) or granted_at < now - FORGET_SECONDS


class KeptSeat:
    """What a kept seat shows, blocking or awaited."""

    def __init__(self, core: Core, wanted: Wanted) -> None:
        self._core = core
        self._wanted = wanted
        self._state = core.new_state()

    @property
    def seat_id(self) -> str:
        """Who holds it."""
        return self._wanted.seat_id

    @property
    def activation(self) -> Activation | None:
        """The last answer of the stack; offline after a start, what the signed lease says."""
        return self._state.activation

    @property
    def is_valid(self) -> bool:
        """Whether the seat may be used now."""
        return self.source is not None

    @property
    def source(self) -> Source | None:
        """By whose word the seat may be used now; None: it must not be."""
        return self._state.source(self._core.clock.now())

    @property
    def is_overdraft(self) -> bool:
        """Whether it is a seat above what was purchased."""
        return self.activation is not None and self.activation.is_overdraft

    @property
    def seats(self) -> Seats | None:
        """The seats in use when the stack was last heard of."""
        return self.activation.seats if self.activation else None

    @property
    def refusal(self) -> OverdraftError | None:
        """Why the stack refuses it, if it does."""
        return self._state.refused
