"""The calls of the API that a product makes, each as an operation (see `_requests`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar
from urllib.parse import quote

from overdraft._requests import Caller, Clock, Operation, Retry, segment, uuid7
from overdraft.errors import Unavailable
from overdraft.models import Activation, Consumption, Entitlement, HeldSeat, UsageLimit

T = TypeVar("T")


class Calls(Caller):
    """The operations on one entitlement, by its license key or an API key.

    `entitlement_id` None: it is asked for once. Software has a license key, and no id.
    """

    def __init__(
        self, scheme: str, key: str, entitlement_id: str | None, retry: Retry, clock: Clock
    ) -> None:
        super().__init__(scheme, key, retry, clock)
        self.entitlement_id = entitlement_id

    def _path(self, rest: str) -> Operation[str]:
        if self.entitlement_id is None:
            self.entitlement_id = (yield from self.license()).entitlement_id
        return f"/v1/entitlements/{segment(self.entitlement_id)}{rest}"

    def license(self) -> Operation[Entitlement]:
        """The entitlement of the license key."""
        return _read(Entitlement.of, (yield from self._call("GET", "/v1/license")).body)

    def entitlement(self) -> Operation[Entitlement]:
        """The entitlement, with its seats in use."""
        path = yield from self._path("")
        return _read(Entitlement.of, (yield from self._call("GET", path)).body)

    def take(
        self,
        seat_id: str,
        name: str | None,
        attributes: Mapping[str, str] | None,
        *,
        signed: bool = False,
        lease_period: timedelta | None = None,
        key: str | None = None,
    ) -> Operation[Activation]:
        """Take a seat, or renew the one that is held."""
        body: dict[str, Any] = {"seatId": seat_id}
        if name is not None:
            body["seatName"] = name
        if attributes:
            body["attributes"] = dict(attributes)
        if signed:
            body["signed"] = True
        if lease_period is not None:
            body["leasePeriod"] = duration(lease_period)
        path = yield from self._path("/activations")
        # So that the answer to a repetition after a lost one is signed as well.
        headers = {"idempotency-key": key or uuid7(self.clock.now_ms())} if signed else {}
        answer = (yield from self._call("POST", path, body, headers)).body
        return _read(Activation.of, answer)

    def release(self, activation_id: str) -> Operation[None]:
        """Release a seat; one that is not held any more stays released."""
        path = yield from self._path(f"/activations/{segment(activation_id)}")
        yield from self._call("DELETE", path)

    def held_seats(self, page_token: str | None) -> Operation[tuple[list[HeldSeat], str | None]]:
        """A page of the seats that are held, and the token of the next one."""
        query = f"?limit=100&pageToken={quote(page_token, safe='')}" if page_token else "?limit=100"
        path = yield from self._path(f"/activations{query}")
        body = (yield from self._call("GET", path)).body
        return _read(
            lambda page: ([HeldSeat.of(each) for each in page["items"]], page["nextPageToken"]),
            body,
        )

    def consume(
        self,
        key: str,
        quantity: int,
        request_key: str,
        *,
        journaled: bool = False,
        occurred_at: datetime | None = None,
    ) -> Operation[Consumption]:
        """Consume a quantity of a usage limit; with the same `request_key`, once."""
        body: dict[str, Any] = {"quantity": quantity}
        if journaled:
            body["journaled"] = True
        if occurred_at is not None:
            body["occurredAt"] = rfc3339(occurred_at)
        path = yield from self._path(f"/usage/{segment(key)}")
        reply = yield from self._call("POST", path, body, {"idempotency-key": request_key})
        return _read(Consumption.of, reply.body)

    def usage(self) -> Operation[list[UsageLimit]]:
        """Every usage limit in its current period."""
        path = yield from self._path("/usage")
        body = (yield from self._call("GET", path)).body
        return _read(lambda page: [UsageLimit.of(each) for each in page["items"]], body)

    def lease_keys(self) -> Operation[list[dict[str, str]]]:
        """The public keys of signed leases."""
        body = (yield from self._call("GET", "/.well-known/jwks.json")).body
        return _read(lambda found: [dict(key) for key in found["keys"]], body)


def _read(read: Callable[[Any], T], body: Any) -> T:
    """What an answer says.

    Raises:
        Unavailable: it is JSON, and not what the stack answers: a captive portal's, or a defect.
    """
    try:
        return read(body)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"not an answer of the stack: {type(error).__name__} {error}") from None


def duration(period: timedelta) -> str:
    """A period as ISO 8601 has it, in whole seconds."""
    seconds = int(period.total_seconds())
    return f"PT{seconds}S"


def rfc3339(at: datetime) -> str:
    """A time as the API reads it.

    Raises:
        ValueError: it has no time zone, so nobody knows when it is.
    """
    if at.tzinfo is None:
        raise ValueError("occurred_at needs a time zone, such as datetime.now(timezone.utc)")
    return at.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
