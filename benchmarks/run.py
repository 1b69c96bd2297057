"""`make bench`: what each operation costs, measured on DynamoDB Local.

Prints a table and writes `.local/bench.json`, one flat object of numbers. Times are ratios to a
named baseline measured in the same run; round trips and write units are counted.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.table import Table as Grid

from benchmarks import counting, pools, signing, stream, textbook
from local.dynamodb import DynamoDBLocal, table_properties
from local.emulator import LocalError
from shared import problems
from shared.api.auth import hash_key
from shared.api.denial_help import DenialHelp
from shared.audit import Change
from shared.aws_json import Credentials
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key, seat_shard_key
from shared.dynamodb.marshalling import to_wire
from shared.dynamodb.patterns import read_existing
from shared.dynamodb.requests import Refused, ReplyT_co, Request, Transact, Update
from shared.overdraft_clock import OverdraftPeriod
from shared.seats import activation
from shared.seats.encoding import GrantIds, activation_id
from shared.seats.holder import Holder
from shared.seats.leases import sweep_shard
from shared.seats.release import release_grant
from shared.seats.shard import SeatShard
from shared.seats.terms import SeatTerms, new_shard_put, shard_terms_update
from tools import ROOT, build

RESULTS = ROOT / ".local/bench.json"
KEY = "bootstrap." + "b" * 40
NOW_MS = 2_500_000_000_000  # later than the machine's clock, so that time stands still
WARM_CALLS = 400
INIT_RUNS = 9
THREADS = 16
FUNCTIONS = build.FUNCTIONS
SIGNED = "activate.signed"
_OF = "/v1/entitlements/{entitlementId}"


class Meter:
    """Counts the calls of a client and the units they consumed."""

    def __init__(self) -> None:
        self.calls = 0
        self.writes = 0.0
        self.reads = 0.0

    def __call__(self, operation: str, units: float) -> None:
        self.calls += 1
        if operation in ("GetItem", "BatchGetItem", "Query"):
            self.reads += units
        else:
            self.writes += units


class Bench:
    """One engine, one table; shards of any size are made for each measurement."""

    def __init__(self, engine: DynamoDBLocal) -> None:
        self.engine = engine
        self.client = boto3.client("dynamodb", endpoint_url=engine.url)
        self.client.create_table(TableName="bench", **table_properties())
        self.client.put_item(
            TableName="bench", Item={"pk": {"S": "BARE"}, "sk": {"S": "BARE"}, "n": {"N": "0"}}
        )
        self.meter = Meter()
        self.dynamodb = MeteredTable(
            "bench",
            region="us-east-1",
            endpoint=engine.url,
            credentials=Credentials("test", "test"),
            meter=self.meter,
        )
        self.grant_ids = GrantIds(0)
        self.requests = 0

    def shard(self, used: int, terms: SeatTerms, *, now_ms: int = NOW_MS) -> str:
        """A fresh entitlement with so many seats taken; its id."""
        self.requests += 1
        entitlement_id = f"ent_bench{self.requests:011d}"
        valid = terms._replace(purchased=128, hard_cap=128)
        self.dynamodb.execute(new_shard_put(entitlement_id, valid, self.change(now_ms)))
        for number in range(used):
            self.take(entitlement_id, f"user{number}@example.com", now_ms=now_ms)
        seen = SeatShard.of(self.dynamodb.run(read_existing(seat_shard_key(entitlement_id))))
        write = shard_terms_update(
            entitlement_id, terms, self.change(now_ms), lease_changed=False, seen=seen
        )
        self.dynamodb.execute(Transact((write,)))
        return entitlement_id

    def change(self, now_ms: int = NOW_MS) -> Change:
        self.requests += 1
        return Change("key_abcdefghijklmnop", f"request-{self.requests:08d}=", now_ms)

    def take(
        self, entitlement_id: str, seat_id: str, *, now_ms: int = NOW_MS, hint: bool = False
    ) -> Any:
        holder = Holder(seat_id, "Alice Example", {"device": "mbp-13"})
        grant_id = self.grant_ids.next(now_ms)
        change = self.change(now_ms)
        try:
            return self.dynamodb.run(
                activation.take(entitlement_id, holder, change, grant_id, expect_overdraft=hint)
            )
        except problems.Denied as denied:
            return denied

    def bare_put(self) -> None:
        """An item of half a kilobyte by plain boto3."""
        self.requests += 1
        key = {"pk": {"S": f"BARE#{self.requests}"}, "sk": {"S": "BARE"}}
        self.client.put_item(TableName="bench", Item={**key, "x": {"S": "x" * 450}})

    def count(self, work: Callable[[], Any]) -> tuple[int, float]:
        """Round trips and write units of one piece of work, refused writes included."""
        self.meter.calls, self.meter.writes = 0, 0.0
        self.dynamodb.refused = 0.0
        work()
        return self.meter.calls, self.meter.writes + self.dynamodb.refused


class MeteredTable(DynamoDBClient):
    """Counts refused writes too.

    A refused write is charged like a write of the item that is there, but the engine reports no
    capacity with an error: a write that changes nothing is sent to the same item, and what that
    consumes is counted in its place.
    """

    refused = 0.0
    sent = 0

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        self.sent += 1
        return super()._send(operation, payload)

    def execute(self, request: Request[ReplyT_co]) -> ReplyT_co:
        reply = super().execute(request)
        if isinstance(reply, Refused) and reply.item is not None and self._meter:
            meter, self._meter = self._meter, self._count_refused
            key = Key(reply.item["pk"], reply.item["sk"])
            super().execute(Update(key, "SET seq = seq", "", {}, {}))
            self._meter = meter
            meter("UpdateItem", 0.0)
        return reply

    def stop_metering(self) -> None:
        """From here on, no request is sent that is not the seat core's own."""
        self._meter = None

    def _count_refused(self, _: str, units: float) -> None:
        self.refused += units


# --- Round trips and write units -----------------------------------------------------------------


def measure_operations(bench: Bench) -> dict[str, float]:
    results: dict[str, float] = {}

    def put(name: str, measured: tuple[int, float]) -> None:
        results[f"{name}.round_trips"], results[f"{name}.write_units"] = measured

    leased = SeatTerms(100, 120, "active", 0, None, 8 * 3600)
    for used in (0, 40, 110, 120, 127):
        entitlement_id = bench.shard(used, SeatTerms(128, 128, "active", 0, None, 8 * 3600))
        trips, units = bench.count(partial(bench.take, entitlement_id, "new"))
        results[f"grant.within.write_units.{used}"] = units
        results["grant.within.round_trips"] = max(trips, results.get("grant.within.round_trips", 0))
    entitlement_id = bench.shard(105, leased)
    put("grant.overdraft", bench.count(lambda: bench.take(entitlement_id, "new")))
    put(
        "grant.overdraft.hinted",
        bench.count(lambda: bench.take(entitlement_id, "newer", hint=True)),
    )
    entitlement_id = bench.shard(120, leased)
    put("denial", bench.count(lambda: bench.take(entitlement_id, "new")))
    # With `denialHelp`: besides, once a minute.
    put("denial.help", bench.count(lambda: DenialHelp().read(bench.dynamodb, entitlement_id, 0)))
    put("denial.hinted", bench.count(lambda: bench.take(entitlement_id, "newer", hint=True)))
    held = "user7@example.com"
    put("renewal", bench.count(lambda: bench.take(entitlement_id, held)))
    late = NOW_MS + 5 * 3600 * 1000
    put("renewal.written", bench.count(lambda: bench.take(entitlement_id, held, now_ms=late)))
    stale = NOW_MS + 9 * 3600 * 1000
    put("reclaim", bench.count(lambda: bench.take(entitlement_id, "new", now_ms=stale)))
    entitlement_id = bench.shard(100, leased)
    grant = bench.take(entitlement_id, "leaving")
    named = activation_id(grant.key, grant.held.grant_id)

    def give_back() -> Any:
        return bench.dynamodb.run(release_grant(entitlement_id, named, bench.change()))

    put("release", bench.count(give_back))
    put("release.repeated", bench.count(give_back))
    results |= measure_clock(bench)
    results |= measure_sweep(bench)
    results |= measure_textbook(bench)
    results |= pools.measure(bench)
    results |= counting.measure_usage(bench)
    return results


def measure_clock(bench: Bench) -> dict[str, float]:
    """An overdraft that may last for a day: its first seat, others, its last, and after its end."""
    results: dict[str, float] = {}
    period = OverdraftPeriod(86_400, 86_400)
    timed = SeatTerms(100, 120, "active", 0, None, 8 * 3600, overdraft_period=period)
    entitlement_id = bench.shard(99, timed)

    def put(name: str, work: Callable[[], Any]) -> Any:
        trips, units = bench.count(work)
        results[f"{name}.round_trips"], results[f"{name}.write_units"] = trips, units

    put("clock.grant.within", lambda: bench.take(entitlement_id, "within"))
    first = bench.take(entitlement_id, "first", hint=True)
    named = activation_id(first.key, first.held.grant_id)
    put(
        "clock.falls",
        lambda: bench.dynamodb.run(release_grant(entitlement_id, named, bench.change())),
    )
    other = bench.shard(100, timed)
    put("clock.starts", lambda: bench.take(other, "first"))
    put("clock.grant.overdraft", lambda: bench.take(other, "second"))
    put("clock.grant.overdraft.hinted", lambda: bench.take(other, "third", hint=True))
    late = NOW_MS + 86_401_000
    other = bench.shard(100, timed._replace(lease=None))
    bench.take(other, "first")
    put("clock.denial", lambda: bench.take(other, "late", now_ms=late))
    return results


def measure_sweep(bench: Bench) -> dict[str, float]:
    """What the sweep does on a shard where nothing expired: it corrects the bound it looks by."""
    entitlement_id = bench.shard(3, SeatTerms(100, 120, "active", 0, None, 8 * 3600))
    key = seat_shard_key(entitlement_id)
    later = NOW_MS + 61_000
    trips, units = bench.count(lambda: bench.dynamodb.run(sweep_shard(key, bench.change(later))))
    return {"sweep.correction.round_trips": trips, "sweep.correction.write_units": units}


def measure_textbook(bench: Bench) -> dict[str, float]:
    """The same operations the textbook's way. A cancelled transaction reports no units: no row."""
    book = textbook.Book(bench.client, "bench", "textbook", purchased=1, cap=2)
    results: dict[str, float] = {}
    for name, work, seat_id in (
        ("transaction", book.take, "a"),
        ("transaction.overdraft", book.take, "b"),
        ("transaction.renewal", book.take, "a"),
        ("transaction.denial", book.take, "c"),
        ("transaction.release", book.release, "b"),
    ):
        book.calls, book.units = 0, 0.0
        work(seat_id)
        results[f"{name}.round_trips"] = book.calls
        if name not in ("transaction.renewal", "transaction.denial"):
            results[f"{name}.write_units"] = book.units
    return results


# --- Grants a second on one seat shard ------------------------------------------------------------


def measure_throughput(bench: Bench) -> dict[str, float]:
    """Sixteen threads, in turn: ratios to bare conditional updates, by boto3 and by our client."""
    rates: dict[str, list[float]] = {"bare": [], "client": [], "ledger": [], "transaction": []}
    counter = Key("BARE", "BARE")
    bare = Update(counter, "SET n = n + :one", "n < :cap", {}, {":one": 1, ":cap": 10**9})
    bench.dynamodb.stop_metering()
    for round_number in range(3):
        rates["bare"].append(_rate(120, lambda number: bare_update(bench.client)))
        rates["client"].append(_rate(120, lambda number: bench.dynamodb.execute(bare)))
        shard = bench.shard(0, SeatTerms(100, 120, "active", 0, None, 8 * 3600))
        rates["ledger"].append(_rate(120, partial(_take_numbered, bench, shard)))
        book = textbook.Book(bench.client, "bench", f"r{round_number}", purchased=100, cap=120)
        rates["transaction"].append(_rate(120, lambda number, book=book: book.take(f"u{number}")))  # type: ignore[misc]
    medians = {name: statistics.median(values) for name, values in rates.items()}
    consumed, calls = counting.measure_contention(bench, _rate)
    return {
        **{f"consume.{name}.contended.round_trips": value for name, value in calls.items()},
        **{
            f"consume.{name}.throughput.ratio": value / medians["bare"]
            for name, value in consumed.items()
        },
        "consume.timed.throughput.per_second": consumed["timed"],
        "ledger.throughput.ratio": medians["ledger"] / medians["bare"],
        "ledger.throughput.client.ratio": medians["ledger"] / medians["client"],
        "transaction.throughput.ratio": medians["transaction"] / medians["bare"],
        "ledger.throughput.per_second": medians["ledger"],
    }


def bare_update(client: Any) -> None:
    """The baseline: one conditional `update_item` of plain boto3 on a small item."""
    client.update_item(
        TableName="bench",
        Key={"pk": {"S": "BARE"}, "sk": {"S": "BARE"}},
        UpdateExpression="SET n = n + :one",
        ConditionExpression="n < :cap",
        ExpressionAttributeValues={":one": {"N": "1"}, ":cap": {"N": "1000000000"}},
        ReturnValues="ALL_NEW",
    )


def _take_numbered(bench: Bench, entitlement_id: str, number: int) -> None:
    bench.take(entitlement_id, f"u{number}")


def _rate(calls: int, work: Callable[[int], Any]) -> float:
    numbers = iter(range(calls))
    lock = threading.Lock()

    def run() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            work(number)

    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(run) for _ in range(THREADS)]:
            future.result()
    return calls / (time.perf_counter() - started)


# --- The warm handler -----------------------------------------------------------------------------


def measure_warm(bench: Bench) -> dict[str, float]:
    """CPU and wall time of `activate`, event in, response out, against a bare `update_item`.

    All take turns in short batches, so that a noisy machine disturbs all alike. The handler
    grants on a shard that fills from 20 to 60 seats. CPU and wall time are compared with an update
    of a small counter. Most of the wall time is the engine's, which has more to do on a shard, so
    wall time is also compared with the same write on such a shard, sent by plain boto3. A signed
    activation is compared with one that is not.
    """
    os.environ |= {
        "TABLE_NAME": "bench",
        "AWS_ENDPOINT_URL": bench.engine.url,
        "BOOTSTRAP_KEY_HASH": hash_key(KEY),
        "API_KEY_REQUESTS_PER_MINUTE": "10000000",
    }
    from functions.activate import signed_leases
    from functions.activate.handler import handler as activate_handler
    from functions.consume.handler import handler as consume_handler
    from functions.release.handler import handler as release_handler

    signed_leases._KEY = signing.ARN
    numbers = iter(range(10**9))

    def activate(entitlement_id: str, more: str = "") -> str:
        body = f'{{"seatId": "warm{next(numbers)}@a.test", "seatName": "Alice Example"{more}}}'
        path = {"entitlementId": entitlement_id}
        answer = answered(activate_handler, f"POST {_OF}/activations", path, body)
        assert bool(answer.get("signedLease")) == bool(more), answer
        return str(answer["activationId"])

    def release(entitlement_id: str, named: str) -> None:
        path = {"entitlementId": entitlement_id, "activationId": named}
        answered(release_handler, f"DELETE {_OF}/activations/{{activationId}}", path)

    def consume(entitlement_id: str) -> None:
        path = {"entitlementId": entitlement_id, "key": "exports"}
        answered(consume_handler, f"POST {_OF}/usage/{{key}}", path, '{"quantity": 1}')

    def answered(
        handler: Callable[..., Any], route: str, path: dict[str, str], body: str = ""
    ) -> Any:
        number = next(numbers)
        answer = handler(
            {
                "routeKey": route,
                "rawPath": route.partition(" ")[2].format(**path),
                "headers": {
                    "authorization": f"Bearer {KEY}",
                    "content-type": "application/json",
                    **({"idempotency-key": f"warm{number:08d}"} if "usage" in route else {}),
                },
                "pathParameters": path,
                "body": body,
                "requestContext": {"requestId": f"id{number}", "http": {"method": "POST"}},
                "isBase64Encoded": False,
            },
            None,
        )
        assert answer["statusCode"] in (200, 201, 204), answer
        return json.loads(answer["body"] or "null")

    batch = 40
    terms = SeatTerms(128, 128, "active", 0, None, 8 * 3600)
    kinds = ("cpu", "wall", "shard", "signed", "ms", "release", "consume")
    ratios: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(WARM_CALLS // batch + 2):
        entitlement_id, other, third = (bench.shard(20, terms, now_ms=_now_ms()) for _ in range(3))
        base = _spent(batch, lambda: bare_update(bench.client))
        seats = iter(range(batch))
        shard = _spent(
            batch,
            lambda other=other, seats=seats: bare_grant(bench, other, next(seats)),  # type: ignore[misc]
        )
        taken: list[str] = []
        limit = counting.Limit(bench)
        with _quiet():
            ours = _spent(batch, lambda: taken.append(activate(entitlement_id)))  # noqa: B023
            with_signature = _spent(batch, partial(activate, third, ', "signed": true'))
            freed = _spent(batch, lambda: release(entitlement_id, taken.pop()))  # noqa: B023
            used = _spent(batch, partial(consume, limit.entitlement_id))
        if turn >= 2:  # the first turns warm both
            ratios["ms"].append(ours[0] / batch * 1000)
            ratios["cpu"].append(ours[0] / base[0])
            ratios["wall"].append(ours[1] / base[1])
            ratios["shard"].append(ours[1] / shard[1])
            ratios["signed"].append(with_signature[0] / ours[0])
            ratios["release"].append(freed[0] / base[0])
            ratios["consume"].append(used[0] / base[0])
    return {
        "activate.warm.cpu_ms": statistics.median(ratios["ms"]),
        "activate.warm.ratio": statistics.median(ratios["cpu"]),
        "activate.warm.wall.ratio": statistics.median(ratios["wall"]),
        "activate.warm.wall.shard.ratio": statistics.median(ratios["shard"]),
        "activate.signed.warm.ratio": statistics.median(ratios["signed"]),
        "release.warm.ratio": statistics.median(ratios["release"]),
        "consume.warm.ratio": statistics.median(ratios["consume"]),
    }


def bare_grant(bench: Bench, entitlement_id: str, number: int) -> None:
    """The write of a grant on such a shard, sent by plain boto3: the same work for the engine."""
    holder = Holder(f"bare{number}@example.com", "Alice Example")
    operation = activation.take(
        entitlement_id, holder, bench.change(_now_ms()), bench.grant_ids.next(_now_ms())
    )
    update = operation.send(None)
    assert isinstance(update, Update)
    bench.client.update_item(
        TableName="bench",
        Key={"pk": {"S": update.key.pk}, "sk": {"S": update.key.sk}},
        UpdateExpression=update.expression,
        ConditionExpression=update.condition,
        ExpressionAttributeNames=update.names,
        ExpressionAttributeValues={k: to_wire(v) for k, v in update.values.items()},
        ReturnValues="ALL_NEW",
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _spent(calls: int, work: Callable[[], object]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(calls):
        work()
    return time.process_time() - cpu, time.perf_counter() - wall


class _quiet:  # noqa: N801 - reads as a statement
    """The handler writes its log line, as in Lambda, but not to the screen."""

    def __enter__(self) -> None:
        self._stdout = os.dup(1)
        sys.stdout.flush()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        os.dup2(self._stdout, 1)
        os.close(self._stdout)


# --- Start-up -------------------------------------------------------------------------------------


def measure_init() -> dict[str, float]:
    """Start-up of each packaged function, against a boto3 client's, both less bare Python."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = build.build_functions(folder)
        build.compile_bytecode(folders)
        commands = {"python": "pass", "boto3": "import boto3; boto3.client('dynamodb')"}
        commands |= {function: f"import functions.{function}.handler" for function in FUNCTIONS}
        # What the first signature of a process loads and makes besides.
        commands[SIGNED] = f"{commands['activate']}; from shared import kms; kms._client()"
        times: dict[str, list[float]] = {what: [] for what in commands}
        for turn in range(INIT_RUNS + 1):
            for what, command in commands.items():
                function = what.partition(".")[0]
                cwd = folder / function if function in FUNCTIONS else folder
                started = time.perf_counter()
                subprocess.run([sys.executable, "-c", command], cwd=cwd, check=True)
                if turn:  # the first turn fills the file cache
                    times[what].append(time.perf_counter() - started)
    medians = {what: statistics.median(values) for what, values in times.items()}
    baseline = medians["boto3"] - medians["python"]
    return {
        f"{what}.init.ratio": (medians[what] - medians["python"]) / baseline
        for what in (*FUNCTIONS, SIGNED)
    } | {"activate.init.ms": (medians["activate"] - medians["python"]) * 1000}


# --- Cost -----------------------------------------------------------------------------------------

# US East, on demand, dollars per million; read on 2026-11-24. Check them before you rely on them.
WRITE_UNIT, READ_UNIT = 0.625, 0.125
API_CALL, LAMBDA_CALL, BUS_EVENT = 1.00, 0.20, 1.00
LAMBDA_GB_SECOND = 0.0000133334 * 1_000_000  # arm64
# Not measured here: what a call of `activate` is billed, and how many records notify gets at once.
BILLED_SECONDS, MEMORY_GB = 0.015, 0.5
RECORDS_A_BATCH = 10
# Logs: the gateway's line, the request's, its metric, and what Lambda adds. Without a log level of
# WARNING, which leaves out the request's line.
LOG_GB, LOG_BYTES = 0.50, 1_300


def estimate_cost(results: dict[str, float]) -> dict[str, float]:
    """Dollars per million calls, from the units measured above and published prices.

    Not in it: the sweep, data transfer, metrics, storage, webhooks, e-mail. A grant, a release and
    a denial include `notify`: its units for a record of a shard, its share of a call, one event.
    """
    call = API_CALL + LAMBDA_CALL + BILLED_SECONDS * MEMORY_GB * LAMBDA_GB_SECOND
    call += LOG_BYTES * 1_000_000 / 1e9 * LOG_GB
    notify = results["notify.write_units_per_record"] * WRITE_UNIT + BUS_EVENT
    notify += results["notify.read_units_per_record"] * READ_UNIT
    notify += (LAMBDA_CALL + 0.1 * MEMORY_GB * LAMBDA_GB_SECOND) / RECORDS_A_BATCH
    units = {
        "grant.within.40": results["grant.within.write_units.40"],
        "grant.within.110": results["grant.within.write_units.110"],
        "grant.overdraft.hinted": results["grant.overdraft.hinted.write_units"],
        "renewal": results["renewal.write_units"],
        "denial": results["denial.write_units"],
        "release": results["release.write_units"],
        "consume.quiet": results["consume.quiet.last.write_units"],
        "consume.busy": results["consume.busy.average.write_units"]
        + results["consume.busy.average.read_units"] * READ_UNIT / WRITE_UNIT,
        "consume.timed": results["consume.timed.average.write_units"],
    }
    rows = ("grant", "release", "denial")
    signature = signing.DOLLARS_FOR_10_000 * 100
    return {"cost.signature.usd_per_million": signature} | {
        f"cost.{name}.usd_per_million": round(
            call + used * WRITE_UNIT + (notify if name.startswith(rows) else 0), 2
        )
        for name, used in units.items()
    }


# Lambda gives a function a core for each 1,769 MB (AWS, "Configure Lambda function memory").
CORE_MB = 1_769
MEMORY_SIZES_MB = (128, 256, 512, 1_024, 1_769)
# What a conditional update takes in a region, besides our own work.
TABLE_MS = 5.0


def estimate_by_memory(results: dict[str, float]) -> dict[str, float]:
    """How long `activate` takes and what a million calls of it cost in Lambda, by memory size.

    Computed from the CPU time measured here: a core of Lambda is another one, so compare the sizes
    with each other. The API, the table and the logs cost the same with every size.
    """
    found = {}
    for size in MEMORY_SIZES_MB:
        slower = max(1.0, CORE_MB / size)
        billed = results["activate.warm.cpu_ms"] * slower + TABLE_MS
        seconds = 1_000_000 * billed / 1_000
        cost = LAMBDA_CALL + seconds * size / 1_024 * LAMBDA_GB_SECOND / 1_000_000
        found[f"memory.{size:04d}.warm.ms"] = billed
        found[f"memory.{size:04d}.start.ms"] = results["activate.init.ms"] * slower
        found[f"memory.{size:04d}.usd_per_million"] = round(cost, 2)
    return found


# --- The report -----------------------------------------------------------------------------------


def explain(results: dict[str, float]) -> Iterator[tuple[str, str]]:
    for name, value in results.items():
        fine = ("ratio", "usd", "per_record", "per_change", "average", "contended", ".ms", "_ms")
        digits = 2 if any(word in name for word in fine) else 0
        yield name, f"{value:.{digits}f}"


def main() -> None:
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "TABLE_NAME": "bench",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    }
    console = Console()
    results: dict[str, float] = {}
    console.print("measuring start-up ...")
    results |= measure_init()
    with DynamoDBLocal() as engine:
        bench = Bench(engine)
        console.print("counting round trips and write units ...")
        results |= measure_operations(bench)
        console.print("measuring notify and deliver ...")
        with _quiet():
            results |= stream.measure_notify(bench.dynamodb, bench.meter, bench.bare_put, NOW_MS)
            results |= stream.measure_reader(engine.url, bench.dynamodb.name, NOW_MS)
            results |= stream.measure_deliver(bench.dynamodb, NOW_MS)
        results |= estimate_cost(results)
        console.print("measuring the warm handler ...")
        with signing.serving() as kms:
            results |= measure_warm(bench)
            activations = WARM_CALLS + 2 * 40
            results["activate.signed.kms_calls"] = signing.signed(kms) / activations
        results |= estimate_by_memory(results)
        console.print("measuring throughput ...")
        results |= measure_throughput(bench)
    console.print("measuring from commit to webhook in the local stack ...")
    results |= stream.measure_commit_to_webhook()
    rounded = {name: round(value, 3) for name, value in sorted(results.items())}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rounded, indent=2) + "\n")
    grid = Grid("measure", "", title="Overdraft on DynamoDB Local")
    for name, text in explain(rounded):
        grid.add_row(name, text)
    console.print(grid)
    console.print(
        "Ratios: *.warm.ratio is CPU of one activation, event in, response out, to a bare boto3\n"
        "update_item of a counter; *.warm.wall.ratio its wall time, *.wall.shard.ratio that to\n"
        "the same write by boto3; *.init.ratio is start-up to boto3.client('dynamodb');\n"
        "activate.signed.warm.ratio is CPU of a signed activation to one that is not;\n"
        "notify.ratio is records a second to bare put_items of boto3, deliver.cpu.ratio CPU of a\n"
        "delivery, signed and recorded, to that of a bare POST by aiohttp;\n"
        f"*.throughput.ratio is grants a second with {THREADS} threads on one ledger to bare\n"
        f"conditional updates. Written to {RESULTS.relative_to(ROOT)}."
    )


if __name__ == "__main__":
    try:
        main()
    except LocalError as error:
        sys.exit(str(error))
