"""The Python client as scenarios use it: a command for each line of input, an answer for each.

`python clients/conformance/python_client.py`; see README.md for the commands.
"""

from __future__ import annotations

import json
import os
import re
import select
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import overdraft
from overdraft import Change, Clock, Overdraft, Retry, Seat

_PERIOD = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
_UNITS = (86_400, 3_600, 60, 1)


class Program:
    """A program that is licensed."""

    def __init__(self) -> None:
        self.ms = 0
        self.seats: dict[str, Seat] = {}
        self.changes: dict[str, list[str]] = {}
        self.client: Overdraft

    def open(self, given: dict[str, Any]) -> None:
        """Make the client."""
        self.client = Overdraft(
            given["url"],
            given["licenseKey"],
            offline=given.get("offline", "grace"),
            state=given["state"],
            retry=Retry(timeout=2.0, base=0.001, longest=0.002),
            clock=Clock(lambda: self.ms),
            grace=period(given.get("grace", "PT8H")),
        )
        # Scenarios say when it looks after its seats.
        self.client._keeper._thread = threading.current_thread()
        for key in given.get("meters", ()):
            self.client.meter(key, interval=3_600, units=10**9)

    def keep(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take a seat, and keep it."""
        seat_id = given["seat"]
        changes = self.changes[seat_id] = list[str]()
        self.seats[seat_id] = self.client.seat(
            seat_id,
            lease_period=period(given["leasePeriod"]) if "leasePeriod" in given else None,
            on_change=lambda _, change: _note(changes, change),
            release_on_sigterm=given.get("releaseOnSigterm", False),
        )
        self.seats[seat_id].start()
        return self.seat(given)

    def seat(self, given: dict[str, Any]) -> dict[str, Any]:
        """What a kept seat is."""
        seat = self.seats[given["seat"]]
        return {
            "source": seat.source,
            "isValid": seat.is_valid,
            "isOverdraft": seat.is_overdraft,
            "refusal": getattr(seat.refusal, "type", None),
            "used": seat.seats.used if seat.seats else None,
        }

    def look(self, _: dict[str, Any]) -> None:
        """What the keeper does when it wakes up."""
        is_reachable = True
        for seat in list(self.client._keeper.seats):
            is_reachable = seat._look(is_reachable=is_reachable)

    def renew(self, given: dict[str, Any]) -> None:
        """Renew a kept seat now."""
        self.seats[given["seat"]].renew()

    def release(self, given: dict[str, Any]) -> None:
        """Give a kept seat back."""
        self.seats[given["seat"]].release()

    def take_changes(self, given: dict[str, Any]) -> list[str]:
        """What has changed about a kept seat since this was last asked."""
        changes = self.changes[given["seat"]]
        taken, changes[:] = list(changes), []
        return taken

    def take(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take a seat that nobody keeps."""
        taken = self.client.take(given["seat"])
        return {"isOverdraft": taken.is_overdraft, "used": taken.seats.used}

    def consume(self, given: dict[str, Any]) -> dict[str, Any]:
        """Consume a quantity."""
        consumed = self.client.consume(
            given["of"],
            given["quantity"],
            request_key=given.get("requestKey"),
            journaled=given.get("journaled", False),
        )
        return {"used": consumed.usage.used, "isOverdraft": consumed.is_overdraft}

    def make_key(self, _: dict[str, Any]) -> str:
        """A key for a request, as the client makes it."""
        return self.client.new_request_key()

    def add(self, given: dict[str, Any]) -> None:
        """Add to a meter."""
        self.client.meter(given["of"]).add(given["quantity"])

    def save(self, given: dict[str, Any]) -> None:
        """What a meter does now and then while the stack is out of reach."""
        self.client.meter(given["of"])._journal.save()

    def flush(self, given: dict[str, Any]) -> bool:
        """Send what a meter has."""
        return self.client.meter(given["of"]).flush()

    def aside(self, given: dict[str, Any]) -> list[dict[str, Any]]:
        """What was set aside."""
        found = self.client.meter(given["of"]).aside
        return [{"quantity": each.quantity, "type": each.type} for each in found]

    def fork(self, _: dict[str, Any]) -> int:
        """Fork a child that ends at once, as a program that is finished does."""
        child = os.fork()
        if child == 0:
            sys.exit()
        return os.waitpid(child, 0)[1]

    def close(self, _: dict[str, Any]) -> None:
        """Close the client."""
        self.client.close()

    def run(self) -> None:
        """Do what is asked for, until there is no more input."""
        while line := _next_line():
            given = json.loads(line)
            self.ms = given["time"]
            names = {"makeKey": "make_key", "changes": "take_changes"}
            action = getattr(self, names.get(given["do"], given["do"]))
            if given.get("goesOn"):
                threading.Thread(target=action, args=[given], daemon=True).start()
                answer({"result": None})
            else:
                answer(outcome(action, given))


def _next_line() -> str:
    """The next line of input, nothing at its end.

    Python handles a signal that comes just before a wait after it: so each wait is short.
    """
    while not select.select([sys.stdin], [], [], 1.0)[0]:
        pass
    return sys.stdin.readline()


def outcome(action: Callable[[dict[str, Any]], Any], given: dict[str, Any]) -> dict[str, Any]:
    """What came of an action, an error of the package too."""
    try:
        return {"result": action(given)}
    except overdraft.Refused as error:
        return {"result": {"error": type(error).__name__, "type": error.type}}
    except overdraft.OverdraftError as error:
        return {"result": {"error": type(error).__name__}}


def answer(given: dict[str, Any]) -> None:
    """Answer a command."""
    print(json.dumps(given), flush=True)


def _note(changes: list[str], change: Change) -> None:
    changes.append(change.kind)


def period(text: str) -> timedelta:
    """A period of ISO 8601."""
    match = _PERIOD.fullmatch(text)
    assert match is not None, text
    return timedelta(
        seconds=sum(int(match[index + 1] or 0) * unit for index, unit in enumerate(_UNITS))
    )


if __name__ == "__main__":
    Program().run()
