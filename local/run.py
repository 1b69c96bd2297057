"""`make run`: the whole stack on this machine, with a demo customer, until Ctrl-C."""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from local.api import Api
from local.emulator import REGION, Emulator, LocalError
from local.stack import Stack, deploy
from tools import ROOT

STACK_FILE = ROOT / ".local/stack.json"
DEMO_ENTITLEMENT = {
    "product": "CAD Pro",
    "sku": "CAD-PRO-100",
    "customer": {"name": "Acme Corp", "externalId": "0015g00000XyZ"},
    "seatCount": 100,
    "overdraftSeatLimit": {"type": "absolute", "value": 20},
    "leasePeriod": "PT8H",
    "unitPrice": {"amount": "30.00", "currency": "USD", "per": "month"},
    "timeZone": "America/New_York",
}


def say(text: str) -> None:
    """Progress, at once."""
    print(f"  {text} ...", flush=True)


class Stopped(BaseException):
    """Somebody asked us to stop."""


def _stop(_: int, __: FrameType | None) -> None:
    raise Stopped


@contextlib.contextmanager
def running(port: int) -> Iterator[dict[str, str]]:
    """A deployed stack with a demo customer; yields what `.local/stack.json` holds.

    Raises:
        LocalError: with one sentence that says what stands in the way.
    """
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, _stop)
    say("starting the emulator")
    with Emulator(port) as emulator:
        stack = deploy(emulator, say=say)
        details: dict[str, str] = {}
        try:
            say("creating a demo customer: 100 seats purchased, hard cap 120")
            details = create_customer(stack)
            write_details(STACK_FILE, details)
            yield details
        finally:
            # From here on nothing interrupts the cleaning up.
            for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(kind, signal.SIG_IGN)
            if read_details() == details:  # not those of another stack, started meanwhile
                STACK_FILE.unlink()
            stack.stop()


def create_customer(stack: Stack) -> dict[str, str]:
    """An API key with all scopes, an entitlement of 100/120 and its license key."""
    bootstrap = Api(stack.api_url, f"Bearer {stack.bootstrap_key}")
    scopes = ["activate", "manage", "report", "admin"]
    key = bootstrap.expect(201, "POST", "/v1/api-keys", {"name": "local", "scopes": scopes})
    api = Api(stack.api_url, f"Bearer {key['key']}")
    entitlement = api.expect(201, "POST", "/v1/entitlements", DEMO_ENTITLEMENT)
    path = f"/v1/entitlements/{entitlement['entitlementId']}"
    license_key = api.expect(201, "POST", f"{path}/license-keys", {"name": "local"})
    # Warm both rooms, so that the first curl is as quick as the second.
    api.expect(200, "POST", f"{path}/activations?dryRun=true", {"seatId": "warm-up"})
    return {
        "apiUrl": stack.api_url,
        "apiKey": key["key"],
        "licenseKey": license_key["key"],
        "entitlementId": entitlement["entitlementId"],
        "emulatorUrl": stack.emulator.url,
        "region": REGION,
    }


def write_details(path: Path, details: dict[str, str]) -> None:
    """Write the file that says how to reach the stack; it holds keys, so only for its owner."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(details, file, indent=2)
        file.write("\n")


def read_details() -> dict[str, str]:
    """How to reach the stack that runs here; empty when none does."""
    try:
        details: dict[str, str] = json.loads(STACK_FILE.read_text())
    except (OSError, ValueError):
        return {}
    return details


def _greeting(details: dict[str, str]) -> str:
    url, key, entitlement = details["apiUrl"], details["apiKey"], details["entitlementId"]
    license_key = details["licenseKey"]
    path = f"{url}/v1/entitlements/{entitlement}"
    return f"""
Overdraft runs. Acme Corp has purchased 100 seats of CAD Pro; the hard cap is 120.

Take a seat, as the software at the customer does, with its license key:

  curl -X POST {path}/activations \\
    -H 'Authorization: License {license_key}' \\
    -H 'Content-Type: application/json' -d '{{"seatId": "alice@acme.com", "seatName": "Alice"}}'

See the entitlement and who holds seats, with the vendor's API key:

  curl {path} -H 'Authorization: Bearer {key}'
  curl {path}/activations -H 'Authorization: Bearer {key}'

Give the seat back (the activationId is in the first answer):

  curl -X DELETE {path}/activations/ACTIVATION_ID \\
    -H 'Authorization: License {license_key}'

Read the API: {url}/docs
These values are in .local/stack.json. In another terminal: make demo
Ctrl-C stops everything.
"""


def _watch(emulator_url: str) -> None:
    health = Api(emulator_url)
    failures = 0
    while failures < 5:
        time.sleep(1)
        try:
            failures = 0 if health.call("GET", "/_ministack/health").status == 200 else failures + 1
        except Exception:  # Whatever it is, the emulator did not answer.
            failures += 1
    raise LocalError("The emulator has stopped answering.")


def main() -> None:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", required=True)
    port = parse_port(parser.parse_args().port)
    started = time.monotonic()
    with running(port) as details:
        say(f"ready after {time.monotonic() - started:.0f} s")
        print(_greeting(details), flush=True)
        _watch(details["emulatorUrl"])


def parse_port(text: str) -> int:
    """A port number from the command line.

    Raises:
        LocalError: it is none.
    """
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise LocalError(f"PORT={text} is not a port: choose one from 1 to 65535.")
    return int(text)


def exit_cleanly(body: Any) -> None:
    """Run `body`; every expected failure is one sentence on stderr."""
    try:
        body()
    except Stopped:
        print("\nstopped", flush=True)
    except LocalError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    exit_cleanly(main)
