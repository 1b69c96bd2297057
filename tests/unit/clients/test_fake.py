"""The client's stack in memory against the real functions: the same requests, the same answers."""

import json
import random
import uuid
from datetime import timedelta
from typing import Any

import httpx
import overdraft
import pytest
from overdraft import Overdraft, Retry
from overdraft.testing import FakeStack

from shared.api import app
from shared.audit import Change
from shared.dynamodb import client as client_module
from shared.dynamodb.keys import seat_shard_key
from shared.seats.leases import sweep_shard
from tests.support.kms import serving
from tests.support.sampling import IS_SOAK
from tests.support.seats import NOW_MS
from tests.unit.clients.stack import Network
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"
HOUR = 3_600
# Ids differ, and times of a grant have milliseconds.
DIFFERENT = {"activationId", "entitlementId", "activatedAt", "instance", "title", "detail"}
DIFFERENT |= {"signedLease", "periodStart", "overdraft", "resetSchedule", "customerCap", "errors"}


class Both:
    """One thing sold by the real stack and by the fake, and one time for both."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch, chance: random.Random) -> None:
        self.api, self.ms = api, NOW_MS
        monkeypatch.setattr(app, "now_ms", lambda: self.ms)
        monkeypatch.setattr(client_module, "now_ms", lambda: self.ms)
        self.network = Network(api, lambda: self.ms)
        self.fake = FakeStack(NOW_MS / 1000)
        seats, extra = chance.choice([(2, 1), (3, 0), (1, 3)]), 2
        lease = chance.choice([8, 1, None])
        terms: dict[str, Any] = {
            "seatCount": seats[0],
            "overdraftSeatLimit": {"type": "absolute", "value": seats[1]},
            "leasePeriod": None if lease is None else f"PT{lease}H",
            "usageLimits": [
                {
                    "key": "exports",
                    "limit": 9,
                    "overdraftLimit": {"type": "absolute", "value": extra},
                }
            ],
        }
        if lease is not None:
            terms |= {"maxLeasePeriod": "P2D", "maxBorrowedSeats": 1}
        self.id = api.create(**terms)
        self.path = {"entitlementId": self.id}
        self.real_key = api.call(f"POST {E}/license-keys", self.path, {})[1]["key"]
        self.fake_key = self.fake.sell(
            seats[0],
            overdraft=seats[1],
            lease=None if lease is None else timedelta(hours=lease),
            usage={"exports": 9},
            usage_overdraft=extra,
            longest_lease=None if lease is None else timedelta(days=2),
            most_borrowed=0 if lease is None else 1,
        )
        self.sold = self.fake.of(self.fake_key)

    def send(self, method: str, rest: str, body: Any = None, **headers: str) -> Any:
        """The same request to both; what they answer, which is the same."""
        answers = []
        for url, entitlement_id, key, handle in (
            ("https://x", self.id, self.real_key, self.network.handle),
            ("https://x", self.sold.entitlement_id, self.fake_key, self.fake.handle),
        ):
            request = httpx.Request(
                method,
                f"{url}/v1/entitlements/{entitlement_id}{rest}",
                json=body,
                headers={"authorization": f"License {key}", **headers},
            )
            answer = handle(request)
            answers.append((answer.status_code, json.loads(answer.content or b"null")))
        (real_status, real), (fake_status, fake) = answers
        assert real_status == fake_status, (real, fake)
        assert comparable(real) == comparable(fake)
        return real, fake

    def pass_time(self, seconds: int) -> None:
        self.ms += seconds * 1000
        self.fake.pass_time(timedelta(seconds=seconds))
        # The sweep, which would come within a minute.
        sweep = Change("sweep", f"sweep-{self.ms}", self.ms)
        self.api.dynamodb.run(sweep_shard(seat_shard_key(self.id), sweep), lambda: self.ms)
        self.fake.free_expired(self.sold)

    def set_status(self, status: str) -> None:
        assert self.api.call(f"PATCH {E}", self.path, {"status": status})[0] == 200
        self.sold.status = status


def comparable(body: Any) -> Any:
    if isinstance(body, dict):
        kept = {name: comparable(value) for name, value in body.items() if name not in DIFFERENT}
        for name in ("leaseExpiry", "nextLeaseExpiry", "serverTime"):
            if kept.get(name):
                kept[name] = kept[name].partition(".")[0].removesuffix("Z")
        return kept
    return [comparable(each) for each in body] if isinstance(body, list) else body


def key_of(both: Both, chance: random.Random, age: int) -> str:
    value = (both.ms - age * 1000) << 80 | 7 << 76 | 2 << 62 | chance.getrandbits(60)
    return str(uuid.UUID(int=value))


@pytest.mark.parametrize("seed", range(60 if IS_SOAK else 10))
def test_the_fake_answers_as_the_functions_do(
    api: Api, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    both, held = Both(api, monkeypatch, chance), list[tuple[str, str]]()
    keys = list[tuple[str, int]]()
    for _ in range(70):
        what = chance.choices(
            ("take", "borrow", "release", "consume", "time", "status"), (8, 3, 4, 5, 4, 1)
        )[0]
        if what in ("take", "borrow"):
            body: dict[str, Any] = {"seatId": f"user{chance.randrange(6)}"}
            if what == "borrow":
                body["leasePeriod"] = f"PT{chance.choice([60, 5 * HOUR, 30 * HOUR, 50 * HOUR])}S"
            real, fake = both.send("POST", "/activations", body)
            if "activationId" in real:
                held.append((real["activationId"], fake["activationId"]))
        elif what == "release" and held:
            for activation_id, send in zip(
                chance.choice(held), (both.network.handle, both.fake.handle), strict=True
            ):
                of_fake = send == both.fake.handle
                entitlement_id = both.sold.entitlement_id if of_fake else both.id
                key = both.fake_key if of_fake else both.real_key
                path = f"https://x/v1/entitlements/{entitlement_id}/activations/{activation_id}"
                headers = {"authorization": f"License {key}"}
                assert send(httpx.Request("DELETE", path, headers=headers)).status_code == 204
        elif what == "consume":
            if not keys or chance.random() < 0.6:
                age = chance.choice([0, 0, 30, 23 * HOUR, 25 * HOUR, -HOUR])
                keys.append((key_of(both, chance, age), chance.choice([1, 2, 12])))
            once, quantity = chance.choice(keys)
            asked = {"quantity": quantity + (chance.random() < 0.1)}
            if chance.random() < 0.5:
                asked["journaled"] = True
            both.send("POST", "/usage/exports", asked, **{"idempotency-key": once})
        elif what == "time":
            both.pass_time(chance.choice([1, 59, 4_000, 5 * HOUR, 9 * HOUR, 26 * HOUR]))
        elif what == "status":
            both.set_status(chance.choice(["active", "suspended"]))
            both.set_status("active") if chance.random() < 0.7 else None
        both.send("GET", "/usage")
        shown = api.call(f"GET {E}", both.path)[1]
        known = both.fake._entitlement(both.sold)
        assert (shown["status"], shown["seats"]) == (known["status"], known["seats"])
    both.send("POST", "/usage/imports", {"quantity": 1}, **{"idempotency-key": "x"})


def test_a_client_uses_it(overdraft_stack: FakeStack) -> None:
    """As an integrator's test does."""
    stack = overdraft_stack
    key = stack.sell(1, overdraft=1, usage={"exports": 5})
    client = Overdraft(stack.url, key, transport=stack.transport, clock=stack.clock(), stores=False)
    with client.seat("alice") as seat:
        assert (seat.source, seat.is_overdraft) == ("server", False)
        assert seat._state.lease is not None
        assert client.take("bob").is_overdraft
        with pytest.raises(overdraft.Denied):
            client.take("carol")
        assert len(list(client.held_seats())) == 2
        stack.is_down = True
        stack.pass_time(timedelta(hours=7))
        seat.renew()
        assert seat.source == "server"
    assert client.entitlement is not None
    stack.is_down = False
    assert client.consume("exports", 5).usage.available == 0
    stack.revoke(key)
    with pytest.raises(overdraft.Unauthorized):
        client.entitlement()


def test_its_leases_are_those_of_the_functions(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The members of the payload, and until when."""
    import jwt

    with serving(monkeypatch):
        both = Both(api, monkeypatch, random.Random(1))
        real, fake = both.send("POST", "/activations", {"seatId": "alice", "signed": True})
        payloads = [
            jwt.decode(each["signedLease"], options={"verify_signature": False})
            for each in (real, fake)
        ]
        assert payloads[0].keys() == payloads[1].keys()
        assert payloads[0]["exp"] == payloads[1]["exp"]
        headers = [jwt.get_unverified_header(each["signedLease"]) for each in (real, fake)]
        assert headers[0]["typ"] == headers[1]["typ"]
        again = both.send("POST", "/activations", {"seatId": "alice", "signed": True})
        assert [each["signedLease"] is None for each in again] == [
            real["leaseExpiry"] is not None
        ] * 2


def test_a_short_retry_is_enough(overdraft_stack: FakeStack) -> None:
    key = overdraft_stack.sell()
    overdraft_stack.is_down = True
    quick = Retry(attempts=2, base=0.001, longest=0.002)
    client = Overdraft(
        overdraft_stack.url, key, transport=overdraft_stack.transport, stores=False, retry=quick
    )
    with pytest.raises(overdraft.Unavailable):
        client.take("alice")
