"""Clients that public generators make from `openapi.json` live an entitlement's whole life."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from local.stack import Stack
from tests.support import node
from tools import ROOT


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The generated package. Whatever the generator leaves out fails the test."""
    folder = tmp_path_factory.mktemp("client")
    tools = Path(sys.executable).parent
    command = [
        str(tools / "openapi-python-client"),
        "generate",
        "--fail-on-warning",
        "--meta=none",
        f"--path={ROOT / 'openapi.json'}",
        f"--output-path={folder / 'overdraft_client'}",
    ]
    # It formats what it makes with the ruff that it finds.
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield importlib.import_module("overdraft_client")
    sys.path.remove(str(folder))


class Client:
    """Calls operations of the generated package by tag and name."""

    def __init__(self, package: ModuleType, url: str, credential: str, prefix: str) -> None:
        self._package = package.__name__
        self._client = package.AuthenticatedClient(base_url=url, token=credential, prefix=prefix)

    def call(self, operation: str, *path: str, expect: int, **given: Any) -> Any:
        module = importlib.import_module(f"{self._package}.api.{operation}")
        answer = module.sync_detailed(*path, client=self._client, **given)
        assert answer.status_code == expect, answer
        return answer.parsed


def test_a_whole_life(stack: Stack, generated: ModuleType) -> None:
    models = importlib.import_module("overdraft_client.models")
    vendor = Client(generated, stack.api_url, stack.bootstrap_key, "Bearer")
    sold = vendor.call(
        "entitlements.create_entitlement",
        expect=201,
        body=models.EntitlementInput(
            product="CAD Pro",
            customer=models.Customer(name="Acme Corp"),
            seat_count=1,
            overdraft_seat_limit=models.AbsoluteOverdraft(type_="absolute", value=1),
            lease_period="PT8H",
            usage_limits=[models.UsageLimitInput(key="exports", limit=10)],
            unit_price=models.UnitPrice(
                amount="30.00", currency="USD", per=models.UnitPricePer.MONTH
            ),
        ),
    )
    assert (sold.seat_count, sold.hard_cap, sold.lease_period) == (1, 2, "PT8H")
    key = vendor.call(
        "keys.create_license_key", sold.entitlement_id, expect=201, body=models.LicenseKeyInput()
    )
    software = Client(generated, stack.api_url, key.key, "License")
    seats = {}
    for seat_id, status in (("alice", 201), ("bob", 201), ("alice", 200)):
        seats[seat_id] = software.call(
            "seats.take_seat",
            sold.entitlement_id,
            expect=status,
            body=models.ActivationRequest(seat_id=seat_id),
        )
    assert [seats[name].is_overdraft_seat for name in ("alice", "bob")] == [False, True]
    denied = software.call(
        "seats.take_seat",
        sold.entitlement_id,
        expect=409,
        body=models.ActivationRequest(seat_id="carol"),
    )
    assert denied.type_.endswith("/hard-cap-reached")
    consumed = software.call(
        "usage_limits.consume_usage",
        sold.entitlement_id,
        "exports",
        expect=200,
        body=models.ConsumptionRequest(quantity=4),
        idempotency_key="once",
    )
    assert (consumed.usage.used, consumed.usage.available) == (4, 6)
    # A patch of one member leaves everything else as it was.
    changed = vendor.call(
        "entitlements.update_entitlement",
        sold.entitlement_id,
        expect=200,
        body=models.EntitlementPatch(seat_count=5),
    )
    before, after = sold.to_dict(), changed.to_dict()
    assert {name for name in before if before[name] != after[name]} == {
        "seatCount",
        "hardCap",
        "seats",
        "updatedAt",
    }
    released = vendor.call(
        "seats.release_seat_of",
        sold.entitlement_id,
        expect=200,
        body=models.SeatSelector(seat_id="bob"),
    )
    assert released.was_held is True
    listed = vendor.call("seats.list_activations", sold.entitlement_id, expect=200)
    assert len(listed.items) == 1
    software.call(
        "seats.release_seat", sold.entitlement_id, seats["alice"].activation_id, expect=204
    )
    vendor.call("entitlements.delete_entitlement", sold.entitlement_id, expect=204)
    last = vendor.call("entitlements.get_entitlement", sold.entitlement_id, expect=200)
    assert (last.status, last.seats.used) == ("deleted", 0)


def test_a_whole_life_in_typescript(stack: Stack) -> None:
    """The types that openapi-typescript makes compile, strictly, and what they say is answered."""
    node.run("openapi-typescript", str(ROOT / "openapi.json"), "--output=api.d.ts")
    node.run("tsc")
    output = node.run("node", "built/life.js", API=stack.api_url, API_KEY=stack.bootstrap_key)
    assert output.strip().endswith("a whole life")
