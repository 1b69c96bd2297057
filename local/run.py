"""`make run`: the whole stack on this machine, with a demo customer, until Ctrl-C."""

import argparse
import contextlib
import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from local.api import Api
from local.emulator import REGION, Emulator, LocalError, check_port
from local.provider import Provider
from local.receiver import Event, Receiver, mail_subject
from local.seed_history import Past
from local.stack import Stack, api_url, deploy
from shared.api.routes import SCOPES
from shared.clock import from_rfc3339_ms, now_ms
from tools import ROOT

PAST_DAYS = 60
TOLD_MS = 600_000
STACK_FILE = ROOT / ".local/stack.json"
# The same for a shell, with the names that README.md and docs/ use. `. .local/env` loads it.
ENVIRONMENT = {
    "API": "apiUrl",
    "ENTITLEMENT": "entitlementId",
    "LICENSE_KEY": "licenseKey",
    "API_KEY": "apiKey",
}
DEMO_ENTITLEMENT = {
    "product": "CAD Pro",
    "sku": "CAD-PRO-100",
    "customer": {"name": "Acme Corp", "externalId": "0015g00000XyZ"},
    "seatCount": 100,
    "overdraftSeatLimit": {"type": "absolute", "value": 20},
    "usageLimits": [
        {
            "key": "exports",
            "limit": 100,
            "overdraftLimit": {"type": "percentage", "value": 20},
            "resetSchedule": "monthly",
        }
    ],
    "leasePeriod": "PT8H",
    "contacts": {
        "customerAdmin": {"name": "Acme's administrator", "email": "admin@acme.example"},
        "accountOwner": {"name": "Our account owner", "email": "owner@vendor.example"},
    },
    "unitPrice": {"amount": "30.00", "currency": "USD", "per": "month"},
    "overdraftPrice": {"amount": "36.00", "currency": "USD", "basis": "peak_seats"},
    "showCharges": True,
    "timeZone": "America/New_York",
}


class Stopped(BaseException):
    """Somebody asked us to stop."""


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_asked_to_stop = threading.Event()


def _stop(_: int, __: FrameType | None) -> None:
    # Raised once: a second Ctrl-C must not interrupt the cleaning up.
    if not _asked_to_stop.is_set():
        _asked_to_stop.set()
        raise Stopped


def go_on() -> None:
    """Raise Stopped if a signal was lost, as when it came in the middle of a finalizer."""
    if _asked_to_stop.is_set():
        raise Stopped


def say(text: str) -> None:
    """Progress, at once."""
    go_on()
    print(f"  {text} ...", flush=True)


@contextlib.contextmanager
def running(port: int, *, sso: bool = False) -> Iterator[tuple[dict[str, str], Path]]:
    """A deployed stack with a demo customer; yields how to reach it, and the file that says so.

    `sso`: with an OpenID provider beside it, with which three people of three roles sign in.

    Raises:
        LocalError: with one sentence that says what stands in the way.
    """
    check_port(port)
    for kind in SIGNALS:
        signal.signal(kind, _stop)
    say("starting the emulator")
    with Emulator(port) as emulator, contextlib.ExitStack() as more:
        parameters: dict[str, str] = {}
        if sso:
            say("starting the sign-in provider")
            provider = more.enter_context(Provider(f"{api_url(emulator)}/console"))
            parameters = provider.parameters
        stack = deploy(emulator, parameters, say=say)
        file = details_file(port, emulator.url)
        try:
            say("creating a demo customer: 100 seats purchased, hard cap 120")
            details = create_customer(stack)
            write_details(file, details)
            go_on()
            yield details, file
        finally:
            _asked_to_stop.set()  # from here on a signal asks for what is being done
            file.unlink(missing_ok=True)
            environment_file(file).unlink(missing_ok=True)
            stack.stop()


def details_file(port: int, url: str) -> Path:
    """`.local/stack.json`, or a file of its own when another stack that runs has that one."""
    other = read_details()
    is_taken = bool(other) and other.get("emulatorUrl") != url and is_running(other)
    return STACK_FILE.with_name(f"stack-{port}.json") if is_taken else STACK_FILE


def is_running(details: dict[str, str]) -> bool:
    """Whether a stack answers where the details say."""
    try:
        return Api(details["apiUrl"]).call("GET", "/health").status == 200
    except Exception:  # Nothing listens, or something else does: then it is not our stack.
        return False


def create_customer(stack: Stack) -> dict[str, str]:
    """An API key with all scopes, an entitlement of 100/120 and its license key."""
    bootstrap = Api(stack.api_url, f"Bearer {stack.bootstrap_key}")
    scopes = list(SCOPES)
    key = bootstrap.expect(201, "POST", "/v1/api-keys", {"name": "local", "scopes": scopes})
    api = Api(stack.api_url, f"Bearer {key['key']}")
    entitlement = api.expect(201, "POST", "/v1/entitlements", DEMO_ENTITLEMENT)
    path = f"/v1/entitlements/{entitlement['entitlementId']}"
    license_key = api.expect(201, "POST", f"{path}/license-keys", {"name": "local"})
    # Warm both functions, so that the first curl is as fast as the second.
    api.expect(200, "POST", f"{path}/activations?dryRun=true", {"seatId": "warm-up"})
    return {
        "apiUrl": stack.api_url,
        "docsUrl": f"{stack.api_url}/docs",
        "apiKey": key["key"],
        "licenseKey": license_key["key"],
        "portalUrl": portal_link(api, path),
        "consoleUrl": console_link(api),
        "entitlementId": entitlement["entitlementId"],
        "emulatorUrl": stack.emulator.url,
        "tableName": stack.outputs["TableName"],
        "region": REGION,
    }


def portal_link(api: Api, path: str) -> str:
    """A link to an entitlement's portal, for an admin; good for a day."""
    asked = {"role": "admin", "expiresIn": "P1D", "name": "local"}
    return str(api.expect(201, "POST", f"{path}/portal-links", asked)["url"])


def console_link(api: Api, place: str = "") -> str:
    """A link that signs in to the vendor's console, once; good for a day.

    `place` is where it leads, such as `/entitlements/ent_1`.
    """
    made = api.expect(201, "POST", "/v1/console/sign-in-links", {"expiresIn": "P1D"})
    return f"{made['url']}&to={place}" if place else str(made["url"])


def environment_file(details: Path) -> Path:
    """The file for a shell that belongs to a file of details: `env` for `stack.json`."""
    return details.with_name(details.stem.replace("stack", "env"))


def write_details(path: Path, details: dict[str, str]) -> None:
    """Write the files that say how to reach the stack, as JSON and for a shell."""
    _write_private(path, json.dumps(details, indent=2) + "\n")
    lines = [
        f"export {name}={shlex.quote(details[key])}\n"
        for name, key in ENVIRONMENT.items()
        if key in details
    ]
    _write_private(environment_file(path), "".join(lines))


def _write_private(path: Path, text: str) -> None:
    """Write a file that holds keys, so only for its owner."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def read_details() -> dict[str, str]:
    """How to reach the stack that runs here; empty when none does."""
    try:
        details: dict[str, str] = json.loads(STACK_FILE.read_text())
    except (OSError, ValueError):
        return {}
    return details if isinstance(details, dict) else {}


def _greeting(details: dict[str, str], file: Path) -> str:
    url, key, entitlement = details["apiUrl"], details["apiKey"], details["entitlementId"]
    license_key = details["licenseKey"]
    path = f"{url}/v1/entitlements/{entitlement}"
    month = time.strftime("%Y-%m", time.gmtime())
    return f"""
Overdraft runs. Acme Corp has purchased 100 seats of CAD Pro and 100 exports a month; both hard caps
are 120.

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

Count three exports. The same line again counts nothing more; another Idempotency-Key does:

  curl -X POST {path}/usage/exports \\
    -H 'Authorization: License {license_key}' -H 'Idempotency-Key: export-1' \\
    -H 'Content-Type: application/json' -d '{{"quantity": 3}}'

See what the customer's administrator sees, while seats are taken:

  {details["portalUrl"]}

See what your own sales and support people see, in the console. The link signs in once;
`make console` makes another:

  {details["consoleUrl"]}

Ask for this month's report for sales, so far; a moment later it answers links to its files:

  curl -X POST {url}/v1/reports -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' -d '{{"period": "{month}"}}'
  curl {url}/v1/reports/REPORT_ID -H 'Authorization: Bearer {key}'

The lines in README.md and docs/ use $API, $ENTITLEMENT, $LICENSE_KEY and $API_KEY. To define them
in another terminal, in this folder:

  . {environment_file(file).relative_to(ROOT)}

Read the API: {details["docsUrl"]}
A receiver of webhooks runs here as well: events are shown below as they come, and e-mails, which
are sent once a minute. It shows the mails at {details["receiverUrl"]}/mails
These values and links are in {file.relative_to(ROOT)}. In another terminal: make demo
Ctrl-C stops everything.
"""


def _people(details: dict[str, str]) -> str:
    return f"""People sign in to the console with the provider that runs beside the stack, as sales,
support or admin, with any password:

  {details["apiUrl"]}/console
"""


def subscribe(api: Api, receiver: Receiver, **only: str) -> str:
    """Register the receiver as a webhook endpoint; its id.

    `only` is a filter, such as entitlementId.
    """
    body = {"url": f"{receiver.url}/", "description": "the local receiver", **only}
    created = api.expect(201, "POST", "/v1/webhooks", body)
    receiver.secret = created["secret"]
    return str(created["webhookId"])


def print_event(event: Event) -> None:
    """Print an event on one line, unless it happened long ago."""
    if from_rfc3339_ms(event["timestamp"]) < now_ms() - TOLD_MS:
        return
    data = event["data"]
    seats, seat = data.get("seats") or data.get("usage") or {}, data.get("seat") or {}
    what = seats.get("key", "in use")
    use = f"{seats.get('used')} of {seats.get('purchased')} {what}" if seats else ""
    who = seat.get("seatId") or ""
    # One write: events come from several threads.
    sys.stdout.write(f"  event   {event['type']:<34} {use:<18} {who}\n")
    sys.stdout.flush()


def _write_past(details: dict[str, str], api: Api, file: Path) -> None:
    """Make a second customer with weeks of history, so that the portal has something to show."""
    try:
        past = Past(details["emulatorUrl"], details["tableName"], now_ms(), PAST_DAYS)
        past.create()
        past.live()
        url = portal_link(api, f"/v1/entitlements/{past.id}")
        write_details(file, {**details, "pastPortalUrl": url})
    except Exception:
        if not _asked_to_stop.is_set():  # else it was only cut off
            raise
        return
    print(
        f"\n  A customer with {PAST_DAYS} days of made-up history is there as well; their portal:"
        f"\n  {url}\n",
        flush=True,
    )


def _watch(details: dict[str, str], receiver: Receiver) -> None:
    health = Api(details["emulatorUrl"])
    failures = 0
    while failures < 5:
        time.sleep(1)
        go_on()
        try:
            failures = 0 if health.call("GET", "/_ministack/health").status == 200 else failures + 1
            fresh = receiver.fetch_mails(details["emulatorUrl"])
        except Exception:  # For whatever reason, the emulator did not answer.
            failures += 1
            continue
        for number, mail in enumerate(fresh, len(receiver.mails) - len(fresh) + 1):
            to = ", ".join(mail["To"])
            print(
                f"  e-mail  to {to}: {mail_subject(mail)}\n          {receiver.url}/mails/{number}",
                flush=True,
            )
    raise LocalError("The emulator has stopped answering.")


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("command")
    parser.add_argument("--port", required=True)
    parser.add_argument("--sso", action="store_true")
    given = parser.parse_args()
    port = parse_port(given.port)
    started = time.monotonic()
    with Receiver(print_event) as receiver, running(port, sso=given.sso) as (details, file):
        api = Api(details["apiUrl"], f"Bearer {details['apiKey']}")
        subscribe(api, receiver)
        details["receiverUrl"] = receiver.url
        write_details(file, details)
        say(f"ready after {time.monotonic() - started:.0f} s")
        print(_greeting(details, file), flush=True)
        if given.sso:
            print(_people(details), flush=True)
        threading.Thread(target=_write_past, args=(details, api, file), daemon=True).start()
        _watch(details, receiver)


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
