"""What scenarios run against: the real functions in this process, and the stacks in memory."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

import httpx
import pytest
from overdraft.testing import FakeStack

from shared.api import app
from shared.audit import Change
from shared.dynamodb import client as client_module
from shared.dynamodb.keys import seat_shard_key
from shared.seats.leases import sweep_shard
from tests.support.seats import NOW_MS
from tests.unit.clients.stack import Network
from tests.unit.conftest import Api
from tools import ROOT

E = "/v1/entitlements/{entitlementId}"
DRIVERS = ROOT / "clients/conformance"
PERIOD = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
# What is sold unless a scenario says something else.
SALE: Mapping[str, Any] = {
    "seats": 2,
    "overdraft": 1,
    "lease": "PT8H",
    "usage": {"exports": 100},
    "usageOverdraft": 0,
    "offline": None,
    "longestLease": None,
    "mostBorrowed": 0,
}


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Given(NamedTuple):
    """An HTTP request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str | None


class Stack(Protocol):
    """A stack with one thing sold, whose time is `ms`."""

    ms: int

    def sell(self, sale: Mapping[str, Any]) -> str:
        """Sell an entitlement; its license key."""

    def answer(self, given: Given) -> Answer:
        """Answer a request."""

    def set_status(self, status: str) -> None:
        """Suspend what was sold, or end that."""

    def revoke(self) -> None:
        """Revoke the license key."""

    def counts(self) -> dict[str, Any]:
        """How many seats are held, and what is used, once the sweep has come."""

    def close(self) -> None:
        """End it."""


def seconds(period: str) -> int:
    """The seconds of a period of ISO 8601; one that begins with a minus is negative."""
    match = PERIOD.fullmatch(period.removeprefix("-"))
    assert match is not None, period
    units = (86_400, 3_600, 60, 1)
    found = sum(int(match[index + 1] or 0) * unit for index, unit in enumerate(units))
    return -found if period.startswith("-") else found


def terms_of(sale: Mapping[str, Any]) -> dict[str, Any]:
    """What is sold, as the API has it."""
    over = {"type": "absolute", "value": sale["usageOverdraft"]}
    return {
        "seatCount": sale["seats"],
        "overdraftSeatLimit": {"type": "absolute", "value": sale["overdraft"]},
        "leasePeriod": sale["lease"],
        "offlinePeriod": sale["offline"],
        "maxLeasePeriod": sale["longestLease"],
        "maxBorrowedSeats": sale["mostBorrowed"],
        "usageLimits": [
            {"key": key, "limit": limit, "overdraftLimit": over}
            for key, limit in sale["usage"].items()
        ],
    }


class Functions:
    """The real functions, on Amazon's engine."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api, self.ms = api, NOW_MS
        monkeypatch.setattr(app, "now_ms", lambda: self.ms)
        monkeypatch.setattr(client_module, "now_ms", lambda: self.ms)
        self._network = Network(api, lambda: self.ms)

    def sell(self, sale: Mapping[str, Any]) -> str:
        self.id = self.api.create(**terms_of(sale))
        self.path = {"entitlementId": self.id}
        made = self.api.call(f"POST {E}/license-keys", self.path, {})[1]
        self.key_id = made["keyId"]
        return str(made["key"])

    def answer(self, given: Given) -> Answer:
        request = httpx.Request(
            given.method, f"http://stack{given.path}", headers=given.headers, content=given.body
        )
        answered = self._network.handle(request)
        return Answer(answered.status_code, dict(answered.headers), answered.content)

    def set_status(self, status: str) -> None:
        assert self.api.call(f"PATCH {E}", self.path, {"status": status})[0] == 200

    def revoke(self) -> None:
        path = {**self.path, "keyId": self.key_id}
        assert self.api.call(f"DELETE {E}/license-keys/{{keyId}}", path)[0] == 204

    def counts(self) -> dict[str, Any]:
        sweep = Change("sweep", f"sweep-{self.ms}", self.ms)
        self.api.dynamodb.run(sweep_shard(seat_shard_key(self.id), sweep), lambda: self.ms)
        seats = self.api.call(f"GET {E}", self.path)[1]["seats"]
        usage = self.api.call(f"GET {E}/usage", self.path)[1]["items"]
        used = {each["key"]: each["usage"]["used"] for each in usage}
        return {"held": seats["used"], "used": {key: count for key, count in used.items() if count}}

    def close(self) -> None:
        pass


class PythonStack:
    """The stack in memory of the Python client."""

    def __init__(self) -> None:
        self.fake = FakeStack(NOW_MS / 1000)

    @property
    def ms(self) -> int:
        return int(self.fake.now * 1000)

    @ms.setter
    def ms(self, ms: int) -> None:
        self.fake.now = ms / 1000

    def sell(self, sale: Mapping[str, Any]) -> str:
        self.key = self.fake.sell(
            sale["seats"],
            overdraft=sale["overdraft"],
            lease=_period(sale["lease"]),
            usage=sale["usage"],
            usage_overdraft=sale["usageOverdraft"],
            offline=_period(sale["offline"]),
            longest_lease=_period(sale["longestLease"]),
            most_borrowed=sale["mostBorrowed"],
        )
        return self.key

    def answer(self, given: Given) -> Answer:
        request = httpx.Request(
            given.method, self.fake.url + given.path, headers=given.headers, content=given.body
        )
        answered = self.fake.handle(request)
        return Answer(answered.status_code, dict(answered.headers), answered.content)

    def set_status(self, status: str) -> None:
        self.fake.of(self.key).status = status

    def revoke(self) -> None:
        self.fake.revoke(self.key)

    def counts(self) -> dict[str, Any]:
        sold = self.fake.of(self.key)
        self.fake.free_expired(sold)
        return {"held": len(sold.held), "used": dict(sold.used)}

    def close(self) -> None:
        pass


class TypeScriptStack:
    """The stack in memory of the TypeScript client, in a process of its own."""

    def __init__(self) -> None:
        self.ms = NOW_MS
        self._process = subprocess.Popen(
            ["node", str(DRIVERS / "typescript_stack.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _do(self, action: str, **given: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": action, "time": self.ms, **given}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())["result"]

    def sell(self, sale: Mapping[str, Any]) -> str:
        names = {"lease": "leaseMs", "offline": "offlineMs", "longestLease": "longestLeaseMs"}
        given = {
            names.get(name, name): seconds(value) * 1000 if name in names and value else value
            for name, value in sale.items()
        }
        return str(self._do("sell", sale=given))

    def answer(self, given: Given) -> Answer:
        status, headers, body = self._do("request", **given._asdict())
        return Answer(status, headers, body.encode())

    def set_status(self, status: str) -> None:
        self._do("status", status=status)

    def revoke(self) -> None:
        self._do("revoke")

    def counts(self) -> dict[str, Any]:
        found: dict[str, Any] = self._do("counts")
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(30) == 0


def _period(text: str | None) -> timedelta | None:
    return None if text is None else timedelta(seconds=seconds(text))


Make = Callable[[Api, pytest.MonkeyPatch], Stack]
STACKS: dict[str, Make] = {
    "functions": Functions,
    "python": lambda *_: PythonStack(),
    "typescript": lambda *_: TypeScriptStack(),
}
