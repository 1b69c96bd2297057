"""What a call costs with 1,000 entitlements and with a million, on DynamoDB Local.

`make bench-growth` seeds a table in steps. 500 entitlements are busy, with a month of history, and
their number stays the same: so what is asked for stays the same, and what a call reads should too.
After each step it makes the same calls, through the functions that the stack deploys, and prints
round trips, read units, the most memory that the call took in Python, and its time. Round trips
and read units are what AWS would count. The time is that of this machine and of DynamoDB Local.
"""

import argparse
import itertools
import json
import os
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from benchmarks.report import ENV, MONTH, Items, entitlement_of, open_client, write
from local.dynamodb import DynamoDBLocal, table_properties
from local.seed import document_of, items_of
from local.stack import client
from shared.api.auth import hash_key
from shared.clock import EPOCH, to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    customer_key,
    overdraft_key,
    person_key,
    rank_key,
    ranking_partition,
    search_progress_key,
    word_key,
)
from shared.dynamodb.requests import Put
from shared.entitlements.search import RENEWAL, SEARCH_FORM, customers_of, words_of
from shared.history.rankings import DENIALS, OVERDRAFT, ranking_of
from shared.seats.encoding import encode_grant
from tests.support.requests import BOOTSTRAP_KEY, event
from tools import ROOT

RESULTS = ROOT / ".local/bench-growth.json"
TABLE = "bench"
COUNTS = (1_000, 10_000, 100_000)
BUSY = 500
MONTH_NAME = "2026-10"
ROUNDS = 3
FAR_MS = 86_400_000
Call = Callable[[DynamoDBClient], Any]


# --- The table ------------------------------------------------------------------------------------


def id_of(number: int) -> str:
    """The id of the `number`-th entitlement; the busy ones come first."""
    return f"ent_bench{number:08d}"


def found_by(
    entitlement_id: str, document: dict[str, Any], place: str, valid_until: int | None
) -> Items:
    """What the stream writes of every entitlement, so that it is found."""
    words = words_of({**document, "contacts": {}})  # contacts would be as many items again
    items: Items = [(word_key(word, entitlement_id), {"text": " ".join(words)}) for word in words]
    items += [(customer_key(each, place), {}) for each in customers_of(document)]
    if valid_until is not None:
        among = ranking_partition(RENEWAL, entitlement_id)
        items.append(
            (rank_key(entitlement_id, RENEWAL), {"sweepKey": among, "earliest": valid_until})
        )
    return items


def sold(number: int, now: int) -> Items:
    """What the API and the stream write of the `number`-th entitlement."""
    entitlement_id = id_of(number)
    items = list(items_of(entitlement_id, number, now))
    sale = items[0][1]
    place, valid_until = sale["listSort"], sale["validUntil"]
    return items + found_by(entitlement_id, document_of(number, now), place, valid_until)


def busy(number: int, now: int) -> Items:
    """The same, in overdraft, and what the stream writes of a month with overdraft and denials."""
    entitlement_id = id_of(number)
    items = sold(number, now) + entitlement_of(number, is_quiet=False)[1:]
    shard = items[1][1]
    shard["seats"] = {
        f"key{person:013d}": encode_grant(person, is_overdraft=False, now=EPOCH)
        for person in range(shard["seatCount"] + 1)
    }
    for kind in (OVERDRAFT, DENIALS):
        ranking = ranking_of(kind, MONTH_NAME)
        place = ranking_partition(ranking, entitlement_id)
        items.append(
            (rank_key(entitlement_id, ranking), {"sweepKey": place, "earliest": 1 + number % 20})
        )
    items.append((overdraft_key(entitlement_id), {"since": MONTH}))
    items += [(person_key(f"person{number}@acme.example", entitlement_id), {})]
    return items


# --- The calls ------------------------------------------------------------------------------------


def api(handlers: Any, route: str, path: dict[str, str] | None = None, **query: str) -> Call:
    """A call of the API that has to succeed."""
    from shared.api import app

    def call(dynamodb: DynamoDBClient) -> Any:
        context = app.Context({"BOOTSTRAP_KEY_HASH": hash_key(BOOTSTRAP_KEY)}, dynamodb)
        answer = app.serve(handlers, context)(event(route, path, query=query), None)
        if answer["statusCode"] != 200:
            raise RuntimeError(f"{route} {query}: {answer}")
        return json.loads(answer["body"])

    return call


def calls(now: int) -> Iterator[tuple[str, Call, int | None]]:
    """The calls, each with the number of items that its answer has to have."""
    from functions.manage.handler import HANDLERS as MANAGE
    from functions.portal.handler import HANDLERS as PORTAL
    from functions.release.due import do_due
    from functions.release.handler import DUE
    from functions.release.sweeper import sweep

    handlers = {**MANAGE, **PORTAL}
    entitlements = "GET /v1/entitlements"
    one = document_of(700, now)["customer"]
    for name, query, number in (
        ("the newest", {}, 50),
        ("of a customer, by name", {"customer": one["name"]}, 1),
        ("of a customer, by externalId", {"customer": one["externalId"]}, 1),
        ("suspended ones (there are none)", {"status": "suspended"}, 0),
        ("search of a word in all", {"search": "crm"}, 50),
        ("search of a word in one of nine", {"search": "lindau"}, 50),
        ("search of two words, both common", {"search": "lindau optics"}, None),
        ("search of a rare word", {"search": "700"}, None),
        ("search of a common word and a rare one", {"search": "crm 700"}, None),
        ("by a person", {"seatId": "person7@acme.example"}, 1),
        ("ranked by overdraft", {"sort": "overdraft", "month": MONTH_NAME}, 50),
        ("ranked by denials", {"sort": "denials", "month": MONTH_NAME}, 50),
        ("ranked by renewal", {"sort": "renewal"}, 50),
        ("marked as in overdraft", {"overdraft": "true"}, None),
    ):
        yield f"list: {name}", api(handlers, entitlements, **query), number
    path = {"entitlementId": id_of(7)}
    since = {"from": to_rfc3339(MONTH), "to": to_rfc3339(MONTH + 30 * 86_400_000)}
    yield "one entitlement", api(handlers, "GET /v1/entitlements/{entitlementId}", path), None
    for name in ("graph", "denial-summary", "usage-history", "overdrafts", "denials"):
        route = f"GET /v1/entitlements/{{entitlementId}}/{name}"
        yield f"its {name} of a month", api(handlers, route, path, **since), None
    yield "follow-ups that are due", api(handlers, "GET /v1/follow-ups", state="open"), 0
    yield "the audit log", api(handlers, "GET /v1/audit"), None
    yield "a tick of the sweep: freeing", lambda it: sweep(it, "bench", now, now + FAR_MS), None
    for name, partition, work in DUE:
        tick = partial(
            do_due, partition=partition, work=work, now=now // 1000, deadline_ms=now + FAR_MS
        )
        yield f"a tick of the sweep: {name}", tick, None


class Meter:
    """Counts round trips and capacity units."""

    def __init__(self) -> None:
        self.trips = 0
        self.units = 0.0

    def __call__(self, _: str, units: float) -> None:
        self.trips += 1
        self.units += units


def measure(url: str, call: Call, number: int | None) -> dict[str, float]:
    """Make a call a few times: round trips, read units, milliseconds, kilobytes of memory.

    A list is read page by page, until it has an item: that is what somebody waits for.
    """
    meter = Meter()
    dynamodb = open_client(url, TABLE, meter)
    call(dynamodb)  # what is imported and connected once
    times = []
    for _ in range(ROUNDS):
        meter.trips, meter.units = 0, 0.0
        began = time.perf_counter()
        answer = call(dynamodb)
        times.append((time.perf_counter() - began) * 1000)
    trips, units = meter.trips, meter.units
    tracemalloc.start()
    call(dynamodb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    found = answer["items"] if isinstance(answer, dict) and "items" in answer else []
    if number is not None and len(found) != number:
        print(f"  found {len(found)} instead of {number}; more: {bool(answer['nextPageToken'])}")
    return {"trips": trips, "units": units, "ms": min(times), "kb": peak / 1000}


# --- What it says ---------------------------------------------------------------------------------


def table_of(measured: dict[int, dict[str, dict[str, float]]]) -> Iterable[Grid]:
    """The figures, a table each for what was counted."""
    titles = {
        "trips": "round trips",
        "units": "read units",
        "kb": "memory, KB",
        "ms": "milliseconds, here",
    }
    for name, title in titles.items():
        grid = Grid(title, *(f"{count:,}" for count in measured), title=title)
        for row in next(iter(measured.values())):
            values = [measured[count][row][name] for count in measured]
            grid.add_row(row, *(f"{value:,.1f}".removesuffix(".0") for value in values))
        yield grid


def main() -> None:
    """Seed, call, print."""
    parser = argparse.ArgumentParser(prog="make bench-growth", description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    counts = parser.parse_args().counts
    os.environ |= ENV
    now = int(time.time() * 1000)
    console = Console()
    measured: dict[int, dict[str, dict[str, float]]] = {}
    with DynamoDBLocal() as engine:
        client(engine.url, "dynamodb").create_table(TableName=TABLE, **table_properties())
        began = time.monotonic()
        items = write(engine.url, TABLE, range(BUSY), lambda number: busy(number, now))
        open_client(engine.url, TABLE).execute(Put(search_progress_key(), {"form": SEARCH_FORM}))
        for before, count in itertools.pairwise((BUSY, *counts)):
            items += write(
                engine.url, TABLE, range(before, count), lambda number: sold(number, now)
            )
            seconds = time.monotonic() - began
            console.print(f"{count:,} entitlements: {items:,} items, {seconds:,.0f} s until here")
            measured[count] = {
                name: measure(engine.url, call, number) for name, call, number in calls(now)
            }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(measured, indent=2) + "\n")
    for grid in table_of(measured):
        console.print(grid)


if __name__ == "__main__":
    main()
