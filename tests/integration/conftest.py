"""The API of the deployed stack, with every kind of caller; answers are held to the description."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from local.api import Answer, Api
from local.stack import Stack
from shared.api.routes import ROUTES, SCOPES
from shared.clock import to_rfc3339
from tests.support.addresses import COMPLAINS
from tools import ROOT

TRIES = 10  # a busy machine has sixteen clients wait for one another for longer than a request may
DESCRIPTION = json.loads((ROOT / "openapi.json").read_text())
ENTITLEMENT = {
    "product": "CAD Pro",
    "customer": {"name": "Acme Corp"},
    "seatCount": 2,
    "overdraftSeatLimit": {"type": "absolute", "value": 1},
}


class CheckedApi(Api):
    """Checks every answer: described status, described body, a problem for every error."""

    def call(self, method: str, path: str, *args: Any, **kwargs: Any) -> Answer:
        answer = super().call(method, path, *args, **kwargs)
        check_answer(method, path.partition("?")[0], answer)
        return answer

    def with_credential(self, credential: str) -> "CheckedApi":
        return CheckedApi(self._url, credential)


def check_answer(method: str, path: str, answer: Answer) -> None:
    """Fail when an answer is not as `openapi.json` describes it."""
    assert answer.status != 500, answer.body
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json", answer
        assert answer.body["status"] == answer.status
        assert answer.body["instance"] == answer.headers["x-request-id"]
    for route in ROUTES:
        verb, pattern = route.split(" ")
        parts, given = pattern.split("/"), path.split("/")
        fits = len(parts) == len(given) and all(
            part.startswith("{") or part == value for part, value in zip(parts, given, strict=True)
        )
        if verb == method and fits:
            responses = DESCRIPTION["paths"][pattern][verb.lower()]["responses"]
            assert str(answer.status) in responses, (
                f"{route} answers {answer.status}: not described"
            )
            for content in responses[str(answer.status)].get("content", {}).values():
                schema = {**content["schema"], "components": DESCRIPTION["components"]}
                if isinstance(answer.body, dict):
                    jsonschema.validate(answer.body, schema)


@pytest.fixture(scope="session")
def anonymous(stack: Stack) -> CheckedApi:
    return CheckedApi(stack.api_url)


@pytest.fixture(scope="session")
def api(stack: Stack) -> CheckedApi:
    """The vendor, with every scope."""
    return CheckedApi(stack.api_url, f"Bearer {stack.bootstrap_key}")


@pytest.fixture(scope="session")
def scoped(api: CheckedApi) -> dict[str, CheckedApi]:
    """One caller for each scope."""
    callers = {}
    for scope in SCOPES:
        key = api.expect(201, "POST", "/v1/api-keys", {"name": scope, "scopes": [scope]})["key"]
        callers[scope] = api.with_credential(f"Bearer {key}")
    return callers


def send_again(send: Callable[[], Answer]) -> Answer:
    """As a client does: what is answered 503, it sends again."""
    for _ in range(TRIES):
        answer = send()
        if answer.status != 503:
            break
    return answer


class Customer:
    """An entitlement of its own, and its license key."""

    def __init__(self, api: CheckedApi, **terms: Any) -> None:
        self.api = api
        self.entitlement = api.expect(201, "POST", "/v1/entitlements", {**ENTITLEMENT, **terms})
        self.id = self.entitlement["entitlementId"]
        self.path = f"/v1/entitlements/{self.id}"
        self.seats = f"{self.path}/activations"
        created = api.expect(201, "POST", f"{self.path}/license-keys", {})
        self.key_id = created["keyId"]
        self.license = api.with_credential(f"License {created['key']}")

    def link(self, role: str = "viewer", **more: Any) -> Any:
        """A new portal link, as it is answered."""
        return self.api.expect(201, "POST", f"{self.path}/portal-links", {"role": role, **more})

    def portal(self, role: str = "viewer") -> CheckedApi:
        """Whoever opened a portal link."""
        token = self.link(role)["url"].partition("#")[2]
        return self.api.with_credential(f"Portal {token}")

    def ask(self, seat_id: str) -> Answer:
        """Take a seat, with one Idempotency-Key however often it is sent.

        A seat that a request took which was answered 503 is renewed by the next one: the answer
        then is that of the seat that was taken, 201.
        """
        headers, body = {"idempotency-key": str(uuid.uuid4())}, {"seatId": seat_id}
        tries: list[Answer] = []

        def send() -> Answer:
            tries.append(self.license.call("POST", self.seats, body, headers=headers))
            return tries[-1]

        answer = send_again(send)
        is_taken = answer.status == 200 and len(tries) > 1
        return answer._replace(status=201) if is_taken else answer

    def take(self, seat_id: str, status: int = 201) -> Any:
        return self.license.expect(status, "POST", self.seats, {"seatId": seat_id})


@pytest.fixture
def customer(api: CheckedApi) -> Customer:
    """2 seats purchased, a hard cap of 3, held until released."""
    return Customer(api)


class Early(Customer):
    """Things that take minutes: they begin before every other test."""

    def __init__(self, api: CheckedApi) -> None:
        super().__init__(api, leasePeriod="PT1M")
        self.ending = Customer(
            api, validUntil=to_rfc3339(int(time.time() + 60) * 1000), leasePeriod="P1D"
        )
        self.take("ghost@acme.com")
        self.ending.take("a")
        self.mailed = Customer(
            api,
            seatCount=1,
            contacts={
                "accountOwner": {"email": "owner@vendor.example"},
                "customerAdmin": {"email": COMPLAINS},
            },
        )
        for seat_id, status in (("a", 201), ("b", 201), ("c", 409)):
            self.mailed.take(seat_id, status)
        self.counted = Customer(
            api,
            contacts={"accountOwner": {"email": "counts@vendor.example"}},
            seatCount=None,
            usageLimits=[{"key": "exports", "limit": 1}],
        )
        for key, status in (("a", 200), ("b", 409), ("c", 409)):
            answer = self.counted.license.call(
                "POST",
                f"{self.counted.path}/usage/exports",
                {"quantity": 1},
                headers={"idempotency-key": key},
            )
            assert answer.status == status
        self.later = Customer(api, seatCount=2)
        soon = int(time.time() + 20) * 1000
        changes = (
            {"seatCount": 5},
            # It is valid now, and not any more when it is due.
            {"validFrom": to_rfc3339(soon + 3_600_000)},
        )
        for number, each in enumerate(changes):
            body = {"effectiveAt": to_rfc3339(soon + 1000 * number), "changes": each}
            api.expect(201, "POST", f"{self.later.path}/scheduled-changes", body)
        api.expect(200, "PATCH", self.later.path, {"validUntil": to_rfc3339(soon + 1_800_000)})
        self.revoked = Customer(api)
        self.revoked.take("a")
        self.revoked_at = time.monotonic()
        keys = f"{self.revoked.path}/license-keys/{self.revoked.key_id}"
        assert api.call("DELETE", keys).status == 204


@pytest.fixture(scope="session", autouse=True)
def early(api: CheckedApi) -> Early:
    return Early(api)
