"""Both clients do what the scenarios say against the deployed stack, as far as time does not pass."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.stack import Stack
from shared.clock import now_ms
from tests.conformance.stacks import Answer, Given, terms_of
from tests.conformance.world import PROGRAMS, SCENARIOS, world_of
from tests.integration.conftest import CheckedApi, Customer
from tools import build

# Time passes by itself here, and a key that is revoked works for a moment.
ELSEWHERE = ('"pass"', '"clock"', '"revoke"', '"status"')
CASES = [
    pytest.param(name, client, id=f"{name}-{client}")
    for name, scenario in SCENARIOS.items()
    for client in scenario.get("clients", PROGRAMS)
    if not any(step in json.dumps(scenario) for step in ELSEWHERE)
]


class Deployed:
    """The deployed stack, as scenarios see one."""

    def __init__(self, stack: Stack, api: CheckedApi) -> None:
        self._url, self._api = stack.api_url, api
        self._http = httpx.Client(timeout=60.0)

    @property
    def ms(self) -> int:
        return now_ms()

    @ms.setter
    def ms(self, ms: int) -> None:
        raise AssertionError("time passes by itself")

    def sell(self, sale: Mapping[str, Any]) -> str:
        self._customer = Customer(self._api, **terms_of(sale))
        made = self._api.expect(201, "POST", f"{self._customer.path}/license-keys", {})
        return str(made["key"])

    def answer(self, given: Given) -> Answer:
        headers = {name: value for name, value in given.headers.items() if name != "host"}
        answered = self._http.request(
            given.method, self._url + given.path, headers=headers, content=given.body
        )
        return Answer(answered.status_code, dict(answered.headers), answered.content)

    def set_status(self, status: str) -> None:
        raise AssertionError(status)

    def revoke(self) -> None:
        raise AssertionError("a revocation takes a moment")

    def counts(self) -> dict[str, Any]:
        shown = self._api.expect(200, "GET", self._customer.path)["seats"]
        items = self._api.expect(200, "GET", f"{self._customer.path}/usage")["items"]
        used = {each["key"]: each["usage"]["used"] for each in items}
        return {"held": shown["used"], "used": used}

    def close(self) -> None:
        self._http.close()


@pytest.mark.parametrize(("name", "client"), CASES)
def test_scenario(stack: Stack, api: CheckedApi, name: str, client: str, tmp_path: Path) -> None:
    build.build_typescript_client()
    with world_of(SCENARIOS[name], client, Deployed(stack, api), tmp_path) as world:
        world.run(world.scenario["steps"])
