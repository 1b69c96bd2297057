"""`make seed N=10000`: made-up entitlements for the stack that runs here, to see it with many.

They are written straight into the table, which is much faster than the API; what follows from
them (search, rankings) is made by the stream, as always. People come to one in a hundred of them,
through the API: it is then in overdraft, and somebody was turned away.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.api import Api
from local.emulator import ACCESS_KEY, REGION, SECRET_KEY, LocalError
from local.run import is_running, read_details
from shared.audit import Change
from shared.aws_json import Credentials
from shared.clock import now_ms, to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key, entitlement_key
from shared.dynamodb.requests import BatchPut, Item
from shared.entitlements.model import entitlement_item, seat_terms
from shared.ids import new_id
from shared.seats.terms import new_shard_put

MOST = 1_000_000
EVERY_BUSY = 100
PART, THREADS = 12, 8  # two items each: a batch is 25 at most
BUSY_SEATS, BUSY_CAP = 3, 4
DAY_MS = 86_400_000
PLACES = ("Lindau", "Porto", "Tampere", "Leiden", "Ghent", "Graz", "Turku", "Bergen", "Lugano")
TRADES = ("Engineering", "Shipping", "Optics", "Foundry", "Energy", "Textiles", "Printing")
PRICES = ("12.00", "30.00", "45.00")
PRODUCTS = ("CAD Pro", "CAD Viewer", "Mesh Studio", "Plant Planner")


def document_of(number: int, now: int) -> dict[str, Any]:
    """The terms of the `number`-th made-up entitlement; the same number has the same terms."""
    chance = random.Random(number)
    is_busy = number % EVERY_BUSY == 0
    name = f"{chance.choice(PLACES)} {chance.choice(TRADES)} {number}"
    ends = now + chance.randint(5, 700) * DAY_MS
    return {
        "product": chance.choice(PRODUCTS),
        "sku": None,
        "customer": {"name": name, "externalId": f"crm-{number}"},
        "contacts": {
            "customerAdmin": {"email": f"admin@c{number}.example", "name": None, "phone": None},
            "accountOwner": {"email": "owner@vendor.example", "name": None, "phone": None},
        },
        "seatCount": BUSY_SEATS if is_busy else chance.choice((5, 20, 100, 250)),
        "overdraftSeatLimit": {"type": "absolute", "value": BUSY_CAP - BUSY_SEATS},
        "usageLimits": [],
        "leasePeriod": None,
        "thresholds": [80, 100],
        # Nobody is mailed about what is made up.
        "notifications": {"accountOwner": [], "customerAdmin": []},
        "unitPrice": {
            "amount": f"{chance.choice((12, 30, 45))}.00",
            "currency": "USD",
            "per": "month",
        },
        "timeZone": "UTC",
        "validFrom": to_rfc3339(now // 1000 * 1000 - DAY_MS),
        "validUntil": to_rfc3339(ends // 1000 * 1000),
        "status": "active",
    }


def items_of(entitlement_id: str, number: int, now: int) -> Iterator[tuple[Key, Item]]:
    """What the API would have written of an entitlement."""
    document = document_of(number, now)
    item = entitlement_item(entitlement_id, document, version=1, created_at=now, now_ms=now)
    yield entitlement_key(entitlement_id), {k: v for k, v in item.items() if v is not None}
    change = Change("seed", f"seed-{number}", now)
    shard = new_shard_put(entitlement_id, seat_terms(document), change)
    yield shard.key, {k: v for k, v in shard.item.items() if v is not None}


def seed(
    count: int,
    client: Callable[[], DynamoDBClient],
    api: Api,
    said: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Write `count` entitlements, and have people come to some; return their ids.

    Raises:
        LocalError: the API did not answer as it should.
    """
    now = now_ms()
    ids = [new_id("ent") for _ in range(count)]

    def write(numbers: Iterable[int]) -> int:
        written = tuple(each for n in numbers for each in items_of(ids[n], n, now))
        client().execute(BatchPut(written))
        return len(written) // 2

    def come(number: int) -> None:
        for person in range(BUSY_CAP + 1):
            body = {"seatId": f"p{person}@c{number}.example"}
            status = api.call("POST", f"/v1/entitlements/{ids[number]}/activations", body).status
            if status != (201 if person < BUSY_CAP else 409):
                raise LocalError(f"a seat was answered with {status}")

    done = 0
    with ThreadPoolExecutor(THREADS) as threads:
        parts = [range(n, min(n + PART, count)) for n in range(0, count, PART)]
        for number in threads.map(write, parts):
            done += number
            said(done)
        list(threads.map(come, range(0, count, EVERY_BUSY)))
    return ids


def client_of(url: str, table_name: str) -> DynamoDBClient:
    """A client to the table of a stack on this machine."""
    return DynamoDBClient(
        table_name, region=REGION, endpoint=url, credentials=Credentials(ACCESS_KEY, SECRET_KEY)
    )


def main() -> None:
    """Seed the stack that runs here.

    Raises:
        LocalError: no stack runs here, or it did not answer as it should.
    """
    parser = argparse.ArgumentParser(prog="python -m local seed")
    parser.add_argument("name", choices=["seed"], nargs="?")
    parser.add_argument("--count", type=int, default=10_000)
    count = parser.parse_args().count
    if not 1 <= count <= MOST:
        raise LocalError(f"N must be 1 to {MOST:,}.")
    details = read_details()
    if not details or not is_running(details):
        raise LocalError("No stack runs here: start one with make run.")
    started = time.monotonic()
    api = Api(details["apiUrl"], f"Bearer {details['apiKey']}")

    def said(done: int) -> None:
        if sys.stdout.isatty():
            print(f"\r  {done:,} of {count:,}", end="", flush=True)

    seed(count, lambda: client_of(details["emulatorUrl"], details["tableName"]), api, said)
    print(f"\r  {count:,} entitlements in {time.monotonic() - started:.0f} s.")
    print("  The stream makes them searchable in a minute or two.")
