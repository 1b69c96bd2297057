"""The Python client: what it adds to a call, what 1,000 kept seats cost, how long its import takes.

Against a stack in memory, so that no network is measured. Ratios compare with `httpx` alone, in the
same process.
"""

import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import httpx
from overdraft import Overdraft
from overdraft.testing import FakeStack

from tools import ROOT

CALLS = 2_000
SEATS = 1_000
STARTS = 9


def main() -> None:
    """Print the figures."""
    stack = FakeStack()
    key = stack.sell(2 * SEATS, lease=None)
    client = Overdraft(
        stack.url, key, transport=stack.transport, clock=stack.clock(), stores=False, offline="deny"
    )
    bare = httpx.Client(base_url=stack.url, transport=stack.transport)
    path = f"/v1/entitlements/{client.entitlement().entitlement_id}/activations"
    headers = {"authorization": f"License {key}"}
    ours = _microseconds(lambda: client.take("alice"))
    theirs = _microseconds(lambda: bare.post(path, json={"seatId": "alice"}, headers=headers))
    print(f"a warm call: {ours:.0f} µs, httpx alone {theirs:.0f} µs, ratio {ours / theirs:.2f}")

    threads, memory = threading.active_count(), _kilobytes()
    seats = [client.seat(f"user{number}") for number in range(SEATS)]
    for seat in seats:
        seat.start()
    print(
        f"{SEATS:,} kept seats: {threading.active_count() - threads} thread,"
        f" {(_kilobytes() - memory) / SEATS:.1f} KB each (with the stack in memory)"
    )
    client.close()

    ours, theirs = _start_ms("overdraft"), _start_ms("httpx")
    print(
        f"import overdraft: {ours:.0f} ms, import httpx {theirs:.0f} ms, ratio {ours / theirs:.2f}"
    )


def _microseconds(call: Callable[[], object]) -> float:
    """The median of a call."""
    spent = []
    for _ in range(CALLS):
        began = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent) * 1e6


def _kilobytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _start_ms(module: str) -> float:
    """The median time of a process that imports a module, less that of one that does not."""
    path = ROOT / "clients/python/src"

    def run(code: str) -> float:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(path), "PATH": ""}
        )
        return time.perf_counter() - began

    pairs = [run(f"import {module}") - run("pass") for _ in range(STARTS)]
    return statistics.median(pairs) * 1000


if __name__ == "__main__":
    main()
