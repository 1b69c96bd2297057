"""The clients' stacks in memory against the real functions: the same requests, the same answers."""

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.stacks import STACKS, Answer, Functions, Given
from tests.support.kms import serving
from tests.support.sampling import IS_SOAK
from tests.unit.conftest import Api

HOUR = 3_600
# Ids differ, and times of a grant have milliseconds.
DIFFERENT = {"activationId", "entitlementId", "activatedAt", "instance", "title", "detail"}
DIFFERENT |= {"signedLease", "periodStart", "overdraft", "resetSchedule", "customerCap", "errors"}
# What the stacks in memory show of an entitlement, if that is what is asked for.
SHOWN = ("status", "seats")


class Both:
    """One thing sold by the real stack and by one in memory, and one time for both."""

    def __init__(self, real: Functions, memory: Any, sale: dict[str, Any]) -> None:
        self.stacks = (real, memory)
        self.keys = [stack.sell(sale) for stack in self.stacks]
        self.ids = [
            self._body(self._answer(index, "GET", "/v1/license"))["entitlementId"]
            for index in (0, 1)
        ]

    def _answer(self, index: int, method: str, path: str, body: Any = None, **more: str) -> Answer:
        text = None if body is None else json.dumps(body)
        headers = {"authorization": f"License {self.keys[index]}", **more}
        return self.stacks[index].answer(Given(method, path, headers, text))

    @staticmethod
    def _body(answer: Answer) -> Any:
        return json.loads(answer.body) if answer.body else None

    @property
    def ms(self) -> int:
        return self.stacks[0].ms

    def send(self, method: str, rests: str | tuple[str, str], body: Any = None, **more: str) -> Any:
        """The same request to both; what they answer, which is the same."""
        if isinstance(rests, str):
            rests = (rests, rests)
        answers = [
            self._answer(index, method, f"/v1/entitlements/{self.ids[index]}{rest}", body, **more)
            for index, rest in enumerate(rests)
        ]
        real, fake = (self._body(answer) for answer in answers)
        assert answers[0].status == answers[1].status, (real, fake)
        if method == "GET" and rests == ("", ""):
            real, fake = ({name: each[name] for name in SHOWN} for each in (real, fake))
        assert comparable(real) == comparable(fake)
        return real, fake

    def pass_time(self, passed: int) -> None:
        for stack in self.stacks:
            stack.ms += passed * 1000
        self.counts()  # the sweep, which would come within a minute

    def counts(self) -> None:
        real, fake = (stack.counts() for stack in self.stacks)
        assert real == fake

    def set_status(self, status: str) -> None:
        for stack in self.stacks:
            stack.set_status(status)


def comparable(body: Any) -> Any:
    if isinstance(body, dict):
        kept = {name: comparable(value) for name, value in body.items() if name not in DIFFERENT}
        for name in ("leaseExpiry", "nextLeaseExpiry", "serverTime"):
            if kept.get(name):
                kept[name] = kept[name].partition(".")[0].removesuffix("Z")
        return kept
    return [comparable(each) for each in body] if isinstance(body, list) else body


def key_of(ms: int, chance: random.Random) -> str:
    """A UUIDv7 of a time, from a random source that a seed repeats."""
    return str(uuid.UUID(int=ms << 80 | 7 << 76 | 2 << 62 | chance.getrandbits(60)))


def sale_of(chance: random.Random) -> dict[str, Any]:
    seats, extra = chance.choice([(2, 1), (3, 0), (1, 3)])
    lease = chance.choice(["PT8H", "PT1H", None])
    return {
        "seats": seats,
        "overdraft": extra,
        "lease": lease,
        "usage": {"exports": 9},
        "usageOverdraft": 2,
        "offline": lease and chance.choice([None, "P3D"]),
        "longestLease": lease and "P2D",
        "mostBorrowed": 1 if lease else 0,
    }


@pytest.fixture(params=["python", "typescript"])
def memory(request: pytest.FixtureRequest, api: Api, monkeypatch: pytest.MonkeyPatch) -> Any:
    stack = STACKS[request.param](api, monkeypatch)
    yield stack
    stack.close()


@pytest.fixture
def real(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Functions]:
    with serving(monkeypatch):
        yield Functions(api, monkeypatch)


@pytest.mark.parametrize("seed", range(60 if IS_SOAK else 10))
def test_they_answer_as_the_functions_do(real: Functions, memory: Any, seed: int) -> None:
    chance = random.Random(seed)
    both = Both(real, memory, sale_of(chance))
    held = list[tuple[str, str]]()
    keys = list[tuple[str, int]]()
    for _ in range(70):
        what = chance.choices(
            ("take", "borrow", "release", "consume", "time", "status"), (8, 3, 4, 5, 4, 1)
        )[0]
        if what in ("take", "borrow"):
            body: dict[str, Any] = {"seatId": f"user{chance.randrange(6)}"}
            if chance.random() < 0.3:
                body |= {"seatName": "Ann", "attributes": {"device": "x"}}
            if what == "borrow":
                body["leasePeriod"] = f"PT{chance.choice([60, 5 * HOUR, 30 * HOUR, 50 * HOUR])}S"
            answered, fake = both.send("POST", "/activations", body)
            if "activationId" in answered:
                held.append((answered["activationId"], fake["activationId"]))
        elif what == "release" and held:
            one, other = chance.choice(held)
            both.send("DELETE", (f"/activations/{one}", f"/activations/{other}"))
        elif what == "consume":
            if not keys or chance.random() < 0.6:
                age = chance.choice([0, 0, 30, 23 * HOUR, 25 * HOUR, -HOUR])
                keys.append((key_of(both.ms - age * 1000, chance), chance.choice([1, 2, 12])))
            once, quantity = chance.choice(keys)
            asked = {"quantity": quantity + (chance.random() < 0.1)}
            if chance.random() < 0.5:
                asked["journaled"] = True
            both.send("POST", "/usage/exports", asked, **{"idempotency-key": once})
        elif what == "time":
            both.pass_time(chance.choice([1, 59, 4_000, 5 * HOUR, 9 * HOUR, 26 * HOUR]))
        elif what == "status":
            both.set_status(chance.choice(["active", "suspended"]))
            if chance.random() < 0.7:
                both.set_status("active")
        both.send("GET", "/usage")
        both.send("GET", "")
    both.send("POST", "/usage/imports", {"quantity": 1}, **{"idempotency-key": "x"})


@pytest.mark.parametrize(("lease", "offline"), [("PT8H", "P3D"), ("PT8H", None), (None, None)])
def test_their_leases_are_those_of_the_functions(
    real: Functions, memory: Any, lease: str | None, offline: str | None
) -> None:
    """The members of the payload, and until when."""
    import jwt

    sale = {**sale_of(random.Random(1)), "lease": lease, "offline": offline}
    both = Both(real, memory, {**sale, "longestLease": None, "mostBorrowed": 0})
    given = {"seatId": "alice", "signed": True}
    made, fake = both.send("POST", "/activations", given)
    payloads = [
        jwt.decode(each["signedLease"], options={"verify_signature": False})
        for each in (made, fake)
    ]
    assert payloads[0].keys() == payloads[1].keys()
    for name in ("exp", "iat"):
        assert payloads[0][name] == payloads[1][name]
    headers = [jwt.get_unverified_header(each["signedLease"]) for each in (made, fake)]
    assert headers[0]["typ"] == headers[1]["typ"]
    again = both.send("POST", "/activations", given)
    assert [each["signedLease"] is None for each in again] == [lease is not None] * 2
