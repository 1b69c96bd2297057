"""What several folders of tests need: a door to a fresh table, calls of handlers, fault points."""

import base64
import itertools
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import urllib3
from botocore.credentials import Credentials

from local.dynamodb import table_properties
from local.stack import client
from shared.audit import Change
from shared.dynamodb.client import Table
from shared.dynamodb.keys import ledger_key
from shared.dynamodb.requests import Accepted, Get, Item
from shared.seats.terms import SeatTerms, new_page
from tests import roles

T = TypeVar("T")
# 2049: later than the machine's clock, which an operation looks at again after a refusal.
NOW_MS = 2_500_000_000_000
NOW = NOW_MS // 1000
BOOTSTRAP_KEY = "bootstrap." + "b" * 40
_numbers = itertools.count(1)
# `make soak` sweeps whole, round by round, where `make test` takes samples.
SOAK_ROUND = int(os.environ.get("SOAK_ROUND", "-1"))
IS_SOAK = SOAK_ROUND >= 0
# So many rounds of it meet every point of the long sweeps, each round its own part of them.
SOAK_ROUNDS = 8

# Addresses of SES's mailbox simulator: mail to them comes back (local/emulator_process.py).
BOUNCES, COMPLAINS = "bounce@simulator.amazonses.com", "complaint@simulator.amazonses.com"


def sampled(points: Sequence[T], every: int) -> Sequence[T]:
    """Points of a sweep: in `make test` the last one and every n-th, in `make soak` its round's."""
    if IS_SOAK:
        return points[SOAK_ROUND % SOAK_ROUNDS :: SOAK_ROUNDS]
    if not points:
        return points
    return [*points[:-1:every], points[-1]]


def patch_constant(monkeypatch: pytest.MonkeyPatch, package: str, name: str, value: object) -> None:
    """Give a constant another value in every module of a package that has it, by import or its own."""
    owners = [
        module
        for module_name, module in sys.modules.items()
        if module_name.startswith(f"{package}.") and hasattr(module, name)
    ]
    assert owners, f"{package} has no {name}"
    for module in owners:
        monkeypatch.setattr(module, name, value)


def create_table(url: str) -> str:
    """A fresh table on an engine, with the schema of the template; its name."""
    name = f"table-{uuid.uuid4().hex[:12]}"
    client(url, "dynamodb").create_table(TableName=name, **table_properties())
    return name


def delete_table(url: str, name: str) -> None:
    """The engine grows slow with the tables that nobody needs any more."""
    client(url, "dynamodb").delete_table(TableName=name)


_own = threading.local()


class RoleTable(Table):
    """A door that may do what a role of the template allows, while `role` names one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A busy engine may take longer than DynamoDB ever does.
        self._http = urllib3.connection_from_url(
            self._endpoint, maxsize=32, timeout=600, retries=False
        )

    role = ""  # of every thread, unless one has a role of its own
    most_a_page: int | None = (
        None  # where DynamoDB ends a page of a query, however much is asked for
    )
    is_patient = True  # no request of a test is late because its machine is slow

    def answer_within(self, seconds: float, *, is_background: bool = False) -> None:
        if self.is_patient:
            seconds, is_background = float("inf"), False
        super().answer_within(seconds, is_background=is_background)

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        role = getattr(_own, "role", "") or self.role
        if role and (reason := roles.refusal(role, operation, payload)):
            return 400, {"__type": "com.amazon#AccessDeniedException", "message": reason}
        if self.most_a_page and operation == "Query":
            body = json.loads(payload)
            body["Limit"] = min(body.get("Limit", self.most_a_page), self.most_a_page)
            payload = json.dumps(body).encode()
        return super()._send(operation, payload)


@contextmanager
def this_thread_as(role: str) -> Iterator[None]:
    """Within, every door may do in this thread what this role may."""
    kept, _own.role = getattr(_own, "role", ""), role
    try:
        yield
    finally:
        _own.role = kept


@contextmanager
def acting_as(role: str, door: Table) -> Iterator[None]:
    """Within, the door may do what this role may."""
    assert isinstance(door, RoleTable)
    kept, door.role = door.role, role
    try:
        yield
    finally:
        door.role = kept


def open_door(url: str, name: str, meter: Callable[[str, float], None] | None = None) -> RoleTable:
    return RoleTable(
        name, region="us-east-1", endpoint=url, credentials=Credentials("test", "test"), meter=meter
    )


def timed_key(told_ms: int, number: int) -> str:
    """A request key that tells a time, as those of UUIDv7 do."""
    return base64.urlsafe_b64encode(told_ms.to_bytes(6) + number.to_bytes(6)).decode()


def new_id() -> str:
    return f"ent_test{next(_numbers):08d}"


def terms(
    seat_count: int = 100,
    hard_cap: int | None = 120,
    *,
    status: str = "active",
    valid_from: int = 0,
    valid_until: int | None = None,
    lease: int | None = None,
) -> SeatTerms:
    return SeatTerms(seat_count, hard_cap, status, valid_from, valid_until, lease)


def change(now_ms: int = NOW_MS, actor: str = "key_test") -> Change:
    return Change(actor, f"req-{next(_numbers)}", now_ms)


def make_page(door: Table, entitlement_id: str, valid: SeatTerms) -> None:
    reply = door.execute(new_page(entitlement_id, valid, change()))
    assert isinstance(reply, Accepted)


def read_page(door: Table, entitlement_id: str) -> Item:
    item = door.execute(Get(ledger_key(entitlement_id)))
    assert item is not None
    return dict(item)


class Crash(BaseException):
    """The process is gone between two calls."""


class FaultyTable(RoleTable):
    """A door that fails once, at its n-th HTTP call (from 0), in one of three ways.

    `lost`: the call takes place, its answer does not arrive. `before` and `after`: the process
    ends before the call, or after it.
    """

    fault: tuple[int, str] | None = None
    calls = 0

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        number, self.calls = self.calls, self.calls + 1
        point, kind = self.fault or (-1, "")
        if number == point and kind == "before":
            raise Crash
        answer = super()._send(operation, payload)
        if number == point and kind == "after":
            raise Crash
        if number == point and kind == "lost":
            raise urllib3.exceptions.ReadTimeoutError(None, None, "the answer was lost")  # type: ignore[arg-type]
        return answer


def faulty_door(url: str, name: str) -> FaultyTable:
    return FaultyTable(
        name, region="us-east-1", endpoint=url, credentials=Credentials("test", "test")
    )


def event(
    route: str,
    path: dict[str, str] | None = None,
    body: Any = None,
    *,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    key: str | None = BOOTSTRAP_KEY,
    encoded: bool = False,
) -> dict[str, Any]:
    """An API Gateway event (HTTP API, payload 2.0), as API Gateway makes it of a request."""
    method, url = route.split(" ") if " " in route else ("GET", route)
    for name, value in (path or {}).items():
        url = url.replace("{" + name + "}", value)
    sent = {"content-type": "application/json"} if body is not None else {}
    if key:
        scheme = {"lic_": "License", "plk_": "Portal"}.get(key[:4], "Bearer")
        sent["authorization"] = f"{scheme} {key}"
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    if encoded and text is not None:
        text = base64.b64encode(text.encode()).decode()
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": url,
        "rawQueryString": "",
        "headers": {**sent, **(headers or {})},
        **({"queryStringParameters": query} if query else {}),
        **({"pathParameters": path} if path else {}),
        **({"body": text} if text is not None else {}),
        "requestContext": {
            "requestId": f"req-{next(_numbers)}",
            "http": {"method": method, "path": url},
        },
        "isBase64Encoded": encoded,
    }


def wait_for(
    look: Callable[[], Any], seconds: float = 300, what: Callable[[], str] = lambda: "it"
) -> Any:
    """What `look` gives as soon as it gives something; the stream's effects take a moment.

    So long only what never comes is waited for: a slow machine fails no test. `what` says, at the
    end of that time, what did not come.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"{what()}: it did not come"
        time.sleep(0.1)
