"""The Python client as a stranger has it: built, installed into an empty environment, used."""

import subprocess
import sys
from pathlib import Path

import pytest

from local.stack import Stack
from tests.integration.conftest import CheckedApi, Customer
from tools import ROOT

PROGRAM = """
import sys
from overdraft import Denied, Overdraft

url, key, state = sys.argv[1:]
client = Overdraft(url, license_key=key, state=state)
with client.seat("alice@acme.com", name="Alice") as seat:
    print(seat.source, seat.is_overdraft, seat.seats.used, seat._state.lease is not None)
    for name in ("bob", "carol"):
        print(name, client.take(name).is_overdraft)
    try:
        client.take("dave")
    except Denied as denied:
        print(denied.type, denied.seats.used, denied.seats.hard_cap)
print(client.consume("exports", 3).usage.used)
calls = client.meter("exports")
calls.add(4)
client.close()
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the client, and with nothing of ours besides."""
    folder = tmp_path_factory.mktemp("client")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT / "clients/python", check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    assert len(list(folder.glob("*.tar.gz"))) == 1
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv/bin/python"
    install = [str(python), "-m", "pip", "install", "--quiet", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return python


def test_a_stranger_uses_it(stack: Stack, api: CheckedApi, python: Path, tmp_path: Path) -> None:
    limits = [{"key": "exports", "limit": 10}]
    customer = Customer(api, leasePeriod="PT1H", usageLimits=limits)
    created = api.expect(201, "POST", f"{customer.path}/license-keys", {})
    command = [str(python), "-c", PROGRAM, stack.api_url, created["key"], str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
    )
    assert done.stdout.splitlines() == [
        "server False 1 True",
        "bob False",
        "carol True",
        "hard-cap-reached 3 3",
        "3",
    ], done.stderr
    held = api.expect(200, "GET", customer.seats)["items"]
    assert sorted(each["seatId"] for each in held) == ["bob", "carol"]
    usage = api.expect(200, "GET", f"{customer.path}/usage")["items"][0]["usage"]
    assert usage["used"] == 7


def test_it_is_typed(python: Path, tmp_path: Path) -> None:
    program = "import overdraft, pathlib; print(pathlib.Path(overdraft.__file__).parent)"
    found = subprocess.run(
        [str(python), "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (Path(found.stdout.strip()) / "py.typed").exists()
