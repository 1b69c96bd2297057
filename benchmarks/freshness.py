"""`make bench-pool`: how fresh the totals of a pool are, on the local stack, while seats are taken.

Seats of 20,000 are taken at several rates; beside it the entitlement is read ten times a second. An
answer that says `used: n` is as old as the n-th grant's answer has been there by then.
"""

import itertools
import statistics
import threading
import time
from bisect import insort
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.api import Api
from local.emulator import Emulator, free_port
from local.run import create_customer
from local.stack import deploy

SECONDS = 15
CLIENTS = 16
# Grants a second that are asked for; 0: as many as the clients get.
RATES = (5, 20, 50, 100, 0)
LOOK_SECONDS = 0.1


def main() -> None:
    """Print a line for each rate."""
    with Emulator(free_port()) as emulator:
        stack = deploy(emulator)
        api = Api(stack.api_url, f"Bearer {create_customer(stack)['apiKey']}")
        print("grants/s   the sum's age: p50       p90       max")
        for rate in RATES:
            granted, ages = _measure(api, rate)
            p90 = sorted(ages)[len(ages) * 9 // 10]
            print(
                f"{granted / SECONDS:8.0f}   {statistics.median(ages) * 1000:18.0f} ms"
                f"{p90 * 1000:7.0f} ms{max(ages) * 1000:7.0f} ms"
            )
        stack.stop()


def _measure(api: Api, rate: int) -> tuple[int, list[float]]:
    """The number of grants, and the age of its totals at each look, in seconds."""
    made = api.expect(
        201,
        "POST",
        "/v1/entitlements",
        {
            "customer": {"name": "Bench"},
            "product": "CAD",
            "seatCount": 20_000,
        },
    )
    path = f"/v1/entitlements/{made['entitlementId']}"
    answered: list[float] = []
    lock, numbers = threading.Lock(), itertools.count()
    ends = time.monotonic() + SECONDS

    def take(worker: int) -> None:
        pause = CLIENTS / rate if rate else 0
        due = time.monotonic() + (worker / rate if rate else 0)
        while (now := time.monotonic()) < ends:
            if due > now:
                time.sleep(due - now)
            due += pause
            api.expect(201, "POST", f"{path}/activations", {"seatId": f"user{next(numbers)}"})
            with lock:
                insort(answered, time.monotonic())

    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [threads.submit(take, worker) for worker in range(CLIENTS)]
        ages = list(_looks(api, path, ends, answered, lock))
        for client in clients:
            client.result()
    return len(answered), ages


def _looks(api: Api, path: str, ends: float, answered: list[float], lock: Any) -> Any:
    """How old the totals are, again and again; nothing while none is missing from it."""
    while time.monotonic() < ends:
        time.sleep(LOOK_SECONDS)
        asked = time.monotonic()
        used = api.expect(200, "GET", path)["seats"]["used"]
        with lock:
            missing = [at for at in answered[used:] if at <= asked]
        yield asked - missing[0] if missing else 0.0


if __name__ == "__main__":
    main()
