"""Both clients do what the scenarios of `clients/conformance` say, and so do both stacks in memory."""

from pathlib import Path

import pytest

from tests.conformance.stacks import STACKS
from tests.conformance.world import PROGRAMS, SCENARIOS, world_of
from tests.support.kms import serving
from tests.unit.conftest import Api

# Each client with the functions, and with the stack in memory that its users have.
PAIRS = [
    ("python", "functions"),
    ("typescript", "functions"),
    ("python", "python"),
    ("typescript", "typescript"),
]
CASES = [
    pytest.param(name, client, stack, id=f"{name}-{client}-{stack}")
    for name, scenario in SCENARIOS.items()
    for client, stack in PAIRS
    if client in scenario.get("clients", PROGRAMS)  # not every language can fork
]


@pytest.mark.parametrize(("name", "client", "stack"), CASES)
def test_scenario(
    name: str, client: str, stack: str, api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (
        serving(monkeypatch),
        world_of(SCENARIOS[name], client, STACKS[stack](api, monkeypatch), tmp_path) as world,
    ):
        world.run(world.scenario["steps"])
