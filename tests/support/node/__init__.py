"""Tools of Node.js that check the API description, installed when a test needs them."""

import fcntl
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
_INSTALLED = FOLDER / "node_modules/.installed"


def run(*command: str, **environment: str) -> str:
    """Run a tool in its folder; its output. A failure fails the test with it."""
    _install()
    done = subprocess.run(
        ["npx", "--no-install", *command],
        cwd=FOLDER,
        env={**os.environ, "REDOCLY_TELEMETRY": "off", "CI": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def _install() -> None:
    """Install what the lock file names, once, whichever test is first."""
    lock = FOLDER / "package-lock.json"
    (FOLDER / "node_modules").mkdir(exist_ok=True)
    with (FOLDER / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if _INSTALLED.exists() and _INSTALLED.read_bytes() == lock.read_bytes():
            return
        # No package's own scripts run: none of them needs to.
        command = ["npm", "ci", "--ignore-scripts", "--silent", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=FOLDER, check=True)
        _INSTALLED.write_bytes(lock.read_bytes())


def wrong_with_cards(cards: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What the library of Adaptive Cards finds wrong with each of these."""
    _install()
    lines = "".join(json.dumps(card) + "\n" for card in cards)
    ran = subprocess.run(
        ["node", "card.cjs"], cwd=FOLDER, input=lines, capture_output=True, text=True, check=True
    )
    found: list[list[str]] = json.loads(ran.stdout)
    return found
