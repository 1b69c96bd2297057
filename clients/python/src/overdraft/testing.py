"""A stack in memory, for the tests of software that uses this package: no server, no network.

    from overdraft import Overdraft
    from overdraft.testing import FakeStack

    stack = FakeStack()
    key = stack.sell(seats=2, overdraft=1)
    client = Overdraft(stack.url, key, transport=stack.transport, clock=stack.clock(), stores=False)

It grants, marks, denies, renews, releases and counts by the rules of the real one, signs leases,
and its time is yours: `stack.pass_time(...)`. `stack.is_down = True` takes the network away. What
it does not have: what the vendor's side of the API does, overdraft periods, caps of the customer's
own, and more than one entitlement for each key. Not thread-safe between `pass_time` and requests.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

import httpx

from overdraft._leases import KIND
from overdraft._requests import Clock
from overdraft.errors import TYPE_PREFIX

GRACE_SECONDS = 5
SHORTEST_LEASE = 60
DAY = 86_400.0
JOURNAL_SECONDS = DAY - 15 * 60
AHEAD_SECONDS = 600
_DURATION = re.compile(r"PT(\d+)S")


@dataclass
class _Held:
    activation_id: str
    is_overdraft: bool
    activated_at: float
    lease_end: float | None = None
    is_borrowed: bool = False
    name: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Sold:
    """An entitlement of the fake; its members may be changed at any time."""

    entitlement_id: str
    seats: int
    hard_cap: int | None
    lease: timedelta | None
    usage: dict[str, tuple[int, int | None]]
    offline: timedelta | None = None
    longest_lease: timedelta | None = None
    most_borrowed: int = 0
    status: str = "active"
    held: dict[str, _Held] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    requests: dict[tuple[str, str], tuple[float, int, dict[str, Any]]] = field(default_factory=dict)


class _Problem(Exception):
    def __init__(self, kind: str, status: int, detail: str = "", **more: Any) -> None:
        super().__init__(kind)
        self.body = {
            "type": TYPE_PREFIX + kind,
            "title": kind,
            "status": status,
            "detail": detail or kind,
            "instance": str(uuid.uuid4()),
            **more,
        }


class FakeStack:
    """A stack in memory. `now` is its time, Unix seconds; by default the time of its making."""

    url = "https://licenses.test"

    def __init__(self, now: float | None = None) -> None:
        self.now = datetime.now(timezone.utc).timestamp() if now is None else now
        self.is_down = False
        self.transport = httpx.MockTransport(self.handle)
        self._sold: dict[str, Sold] = {}
        self._lock = threading.Lock()
        self._signer: Any = None

    # --- For tests ------------------------------------------------------------------------------

    def sell(
        self,
        seats: int = 1,
        *,
        overdraft: int | None = 0,
        lease: timedelta | None = timedelta(hours=8),
        usage: Mapping[str, int] | None = None,
        usage_overdraft: int = 0,
        **more: Any,
    ) -> str:
        """Sell an entitlement; return its license key.

        `overdraft` None: there is no hard cap. `usage`: what was purchased of each usage limit,
        with `usage_overdraft` more under its hard cap. `more`: other members of `Sold`.
        """
        number = len(self._sold) + 1
        key = f"lic_fake{number:012d}.{'f' * 43}"
        limits = dict[str, tuple[int, int | None]]()
        for name, limit in (usage or {}).items():
            limits[name] = (limit, limit + usage_overdraft)
        cap = None if overdraft is None else seats + overdraft
        self._sold[key] = Sold(f"ent_fake{number:012d}", seats, cap, lease, limits, **more)
        return key

    def of(self, key: str) -> Sold:
        """What was sold with a license key."""
        return self._sold[key]

    def revoke(self, key: str) -> None:
        """Revoke a license key."""
        del self._sold[key]

    def pass_time(self, period: timedelta) -> None:
        """Let time pass."""
        self.now += period.total_seconds()

    def clock(self) -> Clock:
        """A clock for a client: this stack's time."""
        return Clock(lambda: int(self.now * 1000))

    # --- Requests -------------------------------------------------------------------------------

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request; for a transport of your own."""
        if self.is_down:
            raise httpx.ConnectError("the stack is down", request=request)
        headers = {"date": formatdate(self.now, usegmt=True), "x-request-id": str(uuid.uuid4())}
        try:
            with self._lock:
                status, body = self._route(request)
        except _Problem as problem:
            headers["content-type"] = "application/problem+json"
            return httpx.Response(
                problem.body["status"], content=json.dumps(problem.body), headers=headers
            )
        if body is None:
            return httpx.Response(status, headers=headers)
        return httpx.Response(status, json=body, headers=headers)

    def _route(self, request: httpx.Request) -> tuple[int, Any]:
        path = [unquote(part) for part in request.url.path.split("/")[1:]]
        if path == [".well-known", "jwks.json"]:
            return 200, {"keys": [self._key()[1]]}
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        sold = self._sold.get(key) if scheme == "License" else None
        if sold is None:
            raise _Problem("unauthorized", 401, "The key is not known, or it was revoked.")
        if path == ["v1", "license"]:
            return 200, self._entitlement(sold)
        if path[:2] != ["v1", "entitlements"] or path[2] != sold.entitlement_id:
            raise _Problem("not-found", 404)
        return self._route_of(sold, request, path[3:])

    def _route_of(self, sold: Sold, request: httpx.Request, path: list[str]) -> tuple[int, Any]:
        """What is below the path of an entitlement."""
        body = json.loads(request.content) if request.content else {}
        once = request.headers.get("idempotency-key", "")
        routes: dict[tuple[str, ...], Callable[[], tuple[int, Any]]] = {
            ("GET",): lambda: (200, self._entitlement(sold)),
            ("POST", "activations"): lambda: self._take(sold, body),
            ("GET", "activations"): lambda: (200, _page(self._listed(sold))),
            ("DELETE", "activations"): lambda: self._release(sold, path[1]),
            ("POST", "usage"): lambda: (200, self._consume(sold, path[1], body, once)),
            ("GET", "usage"): lambda: (200, _page([self._limit(sold, key) for key in sold.usage])),
        }
        answer = routes.get((request.method, *path[:1]))
        if answer is None:
            raise _Problem("not-found", 404)
        return answer()

    # --- Seats ----------------------------------------------------------------------------------

    def _take(self, sold: Sold, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        self._check_in_force(sold)
        seat_id, period = body["seatId"], _seconds(body.get("leasePeriod"))
        self._check_borrowing(sold, seat_id, period)
        held = sold.held.get(seat_id)
        status, is_written = 200, False
        if held is None:
            if len(sold.held) >= sold.seats:  # below that, nobody looks at leases
                self.free_expired(sold)
            if sold.hard_cap is not None and len(sold.held) >= sold.hard_cap:
                raise self._denied(sold)
            is_over = len(sold.held) >= sold.seats
            held = _Held(f"act_{uuid.uuid4().hex[:20]}", is_over, self.now)
            sold.held[seat_id] = held
            held.lease_end = self._end(sold)
            status, is_written = 201, True
        elif period is None and self._is_due(sold, held):
            held.lease_end, held.is_borrowed, is_written = self._end(sold), False, True
        if period is not None and self._is_longer(held, self.now + period):
            held.lease_end, held.is_borrowed, is_written = self.now + period, True, True
        held.name, held.attributes = body.get("seatName"), body.get("attributes") or {}
        answer = self._activation(sold, seat_id, held)
        if body.get("signed"):
            is_signed = is_written or held.lease_end is None
            answer["signedLease"] = self._sign(sold, answer, held) if is_signed else None
        return status, answer

    @staticmethod
    def _is_longer(held: _Held, end: float) -> bool:
        """Whether it makes a difference of a minute to borrow a seat until then."""
        return not held.is_borrowed or (held.lease_end or 0) + SHORTEST_LEASE <= end

    @staticmethod
    def _release(sold: Sold, activation_id: str) -> tuple[int, None]:
        for name, held in list(sold.held.items()):
            if held.activation_id == activation_id:
                del sold.held[name]
        return 204, None

    def _end(self, sold: Sold) -> float | None:
        return None if sold.lease is None else self.now + sold.lease.total_seconds()

    def _is_due(self, sold: Sold, held: _Held) -> bool:
        if sold.lease is None or held.lease_end is None:
            return (sold.lease is None) != (held.lease_end is None)
        lease, left = sold.lease.total_seconds(), held.lease_end - self.now
        return left < lease if held.is_borrowed else left < lease / 2

    def _check_borrowing(self, sold: Sold, seat_id: str, period: float | None) -> None:
        if period is None:
            return
        lease = sold.lease.total_seconds() if sold.lease else None
        longest = sold.longest_lease.total_seconds() if sold.longest_lease else 0.0
        if lease is None or not lease < period <= longest:
            errors = [{"pointer": "/leasePeriod", "detail": "cannot be given"}]
            raise _Problem("invalid-request", 400, errors=errors)
        borrowed = [
            name
            for name, held in sold.held.items()
            if held.is_borrowed and (held.lease_end or 0) + GRACE_SECONDS > self.now
        ]
        if seat_id not in borrowed and len(borrowed) >= sold.most_borrowed:
            numbers = {"used": len(borrowed), "max": sold.most_borrowed}
            first = min((sold.held[name].lease_end or 0 for name in borrowed), default=None)
            raise _Problem(
                "borrow-limit-reached", 409, borrowedSeats=numbers, nextLeaseExpiry=_text(first)
            )

    def free_expired(self, sold: Sold) -> None:
        """Free the seats whose leases have ended, as the real stack's sweep does every minute."""
        over = [
            name
            for name, held in sold.held.items()
            if held.lease_end is not None and held.lease_end + GRACE_SECONDS <= self.now
        ]
        for name in over:
            del sold.held[name]

    def _denied(self, sold: Sold) -> _Problem:
        ends = [held.lease_end for held in sold.held.values() if held.lease_end is not None]
        return _Problem(
            "hard-cap-reached",
            409,
            f"All {sold.hard_cap} seats under the hard cap are held.",
            seats=_numbers(len(sold.held), sold.seats, sold.hard_cap),
            nextLeaseExpiry=_text(min(ends, default=None)),
        )

    def _activation(self, sold: Sold, seat_id: str, held: _Held) -> dict[str, Any]:
        return {
            "activationId": held.activation_id,
            "entitlementId": sold.entitlement_id,
            "seatId": seat_id,
            "seatName": held.name,
            "attributes": dict(held.attributes),
            "isOverdraftSeat": held.is_overdraft,
            "isBorrowed": held.is_borrowed,
            "activatedAt": _text(held.activated_at),
            "leaseExpiry": _text(held.lease_end),
            "status": _status(len(sold.held), sold.seats),
            "seats": _numbers(len(sold.held), sold.seats, sold.hard_cap),
            "overdraft": None,
        }

    def _listed(self, sold: Sold) -> list[dict[str, Any]]:
        listed = []
        for seat_id, held in sold.held.items():
            seat = self._activation(sold, seat_id, held)
            names = ("entitlementId", "status", "seats", "overdraft")
            shown = {name: value for name, value in seat.items() if name not in names}
            listed.append({**shown, "seatKey": "k" * 12, "lastSeenAt": shown["activatedAt"]})
        return listed

    # --- Usage ----------------------------------------------------------------------------------

    def _consume(self, sold: Sold, key: str, body: Mapping[str, Any], once: str) -> dict[str, Any]:
        if key not in sold.usage:
            raise _Problem("not-found", 404, "No usage limit has this key.")
        if body.get("journaled"):
            self._check_journaled(once)
        quantity = body["quantity"]
        known = sold.requests.get((key, once))
        if known and known[0] > self.now - DAY:
            if known[1] != quantity:
                raise _Problem("idempotency-conflict", 409)
            return known[2]
        self._check_in_force(sold)
        limit, cap = sold.usage[key]
        used = sold.used.get(key, 0) + quantity
        if cap is not None and used > cap:
            now = self._limit(sold, key)
            del now["status"]
            raise _Problem("hard-cap-reached", 409, **now)
        sold.used[key] = used
        over = min(quantity, max(0, used - limit))
        answer = {
            **self._limit(sold, key),
            "quantity": quantity,
            "isOverdraft": over > 0,
            "overdraftQuantity": over,
        }
        sold.requests[key, once] = (self.now, quantity, answer)
        return answer

    def _check_journaled(self, once: str) -> None:
        made_at = int(once.replace("-", "")[:12], 16) / 1000
        if made_at < self.now - JOURNAL_SECONDS:
            raise _Problem("idempotency-key-expired", 409, serverTime=_text(self.now))
        if made_at > self.now + AHEAD_SECONDS:
            raise _Problem("idempotency-key-in-future", 409, serverTime=_text(self.now))

    def _limit(self, sold: Sold, key: str) -> dict[str, Any]:
        (limit, cap), used = sold.usage[key], sold.used.get(key, 0)
        return {
            "key": key,
            "status": _status(used, limit),
            "usage": _numbers(used, limit, cap),
            "periodStart": _text(0.0),
            "periodEnd": None,
        }

    # --- The entitlement, and what signs --------------------------------------------------------

    @staticmethod
    def _check_in_force(sold: Sold) -> None:
        kinds = {"suspended": "suspended", "expired": "expired", "not_yet_valid": "not-yet-valid"}
        if sold.status in kinds:
            raise _Problem(f"entitlement-{kinds[sold.status]}", 403)

    @staticmethod
    def _entitlement(sold: Sold) -> dict[str, Any]:
        return {
            "entitlementId": sold.entitlement_id,
            "status": sold.status,
            "product": "Test product",
            "seats": _numbers(len(sold.held), sold.seats, sold.hard_cap),
            "validUntil": None,
        }

    def _key(self) -> tuple[Any, dict[str, str]]:
        """The key that signs leases, and its public half."""
        if self._signer is None:
            from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

            made = ec.generate_private_key(ec.SECP256R1())
            point = made.public_key().public_numbers()
            jwk = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "fake"}
            self._signer = made, {**jwk, "x": _coordinate(point.x), "y": _coordinate(point.y)}
        signer: tuple[Any, dict[str, str]] = self._signer
        return signer

    def _sign(self, sold: Sold, answer: Mapping[str, Any], held: _Held) -> str:
        import jwt  # noqa: PLC0415 - as in `_leases`

        until = self.now + 366 * DAY if held.lease_end is None else held.lease_end
        if sold.offline is not None:
            until = max(until, self.now + sold.offline.total_seconds())
        left_out = ("seatName", "attributes")
        payload = {
            "iss": self.url,
            "iat": int(self.now),
            "exp": int(until),
            **{name: value for name, value in answer.items() if name not in left_out},
            "offlineUntil": _text(until),
        }
        headers = {"kid": "fake", "typ": KIND}
        return jwt.encode(payload, self._key()[0], algorithm="ES256", headers=headers)


def _page(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"items": items, "nextPageToken": None}


def _numbers(used: int, purchased: int, cap: int | None) -> dict[str, Any]:
    return {
        "used": used,
        "purchased": purchased,
        "hardCap": cap,
        "overdraftUsed": max(0, used - purchased),
        "available": None if cap is None else max(0, cap - used),
    }


def _status(used: int, purchased: int) -> str:
    return "overdraft" if used > purchased else "at_limit" if used == purchased else "within_limit"


def _text(at: float | None) -> str | None:
    if at is None:
        return None
    moment = datetime.fromtimestamp(at, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(period: str | None) -> float | None:
    match = _DURATION.fullmatch(period) if period else None
    return float(match[1]) if match else None


def _coordinate(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()
