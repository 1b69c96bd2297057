"""What follows an activation: records through `notify`, messages through `deliver`."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import aiohttp

from benchmarks.replay import Recording, replaying
from functions.deliver.deliveries import Deliveries
from functions.manage import webhook_samples
from functions.notify.batch import Batch
from functions.notify.publisher import Publisher
from local.api import Api
from local.emulator import Emulator, free_port
from local.receiver import Receiver
from local.run import create_customer, subscribe
from local.stack import deploy
from shared import aws
from shared.audit import Change
from shared.aws_json import Credentials
from shared.clock import EPOCH
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import entitlement_key, seat_shard_key, webhook_key, webhook_secret_key
from shared.dynamodb.marshalling import to_wire
from shared.dynamodb.patterns import read_existing
from shared.dynamodb.requests import BatchPut, Item, Put
from shared.entitlements.model import entitlement_item, seat_terms
from shared.events import types as event_types
from shared.events.builders import Event
from shared.seats import activation
from shared.seats.encoding import activation_id
from shared.seats.holder import Holder
from shared.seats.release import release_grant
from shared.seats.terms import new_shard_put

RECORDS = 600
MESSAGES = 1_000
BATCH = 100
ENDPOINT_SECONDS = 0.1
COMMITS = 40
DOCUMENT: dict[str, Any] = {
    "product": "CAD",
    "sku": None,
    "customer": {"name": "Acme", "externalId": None},
    "contacts": {"customerAdmin": None, "accountOwner": None},
    "seatCount": 100,
    "overdraftSeatLimit": {"type": "absolute", "value": 20},
    "usageLimits": [],
    "leasePeriod": None,
    "thresholds": [80, 100],
    "unitPrice": None,
    "timeZone": "UTC",
    "validFrom": "2026-01-01T00:00:00Z",
    "validUntil": None,
    "status": "active",
}


class _Sink:
    """Takes events and messages and answers that it did."""

    def put_events(self, Entries: list[Any]) -> dict[str, Any]:  # noqa: N803 - AWS's names
        return {"FailedEntryCount": 0, "Entries": Entries}

    def send_message_batch(self, **_: Any) -> dict[str, Any]:
        return {}


@contextmanager
def _sink() -> Iterator[None]:
    kept = aws.client
    sink = _Sink()
    aws.client = lambda _: sink  # type: ignore[assignment]
    yield
    aws.client = kept


# --- notify ---------------------------------------------------------------------------------------


def make_records(dynamodb: DynamoDBClient, now_ms: int) -> list[dict[str, Any]]:
    """The stream records of a shard on which 100 people come, and then come and go."""
    entitlement_id = "ent_benchstream"
    item = entitlement_item(entitlement_id, DOCUMENT, version=1, created_at=now_ms, now_ms=now_ms)
    dynamodb.execute(Put(entitlement_key(entitlement_id), item))
    key = seat_shard_key(entitlement_id)
    dynamodb.execute(new_shard_put(entitlement_id, seat_terms(DOCUMENT), Change("k", "r0", now_ms)))
    images = [dynamodb.run(read_existing(key))]
    held: list[str] = []
    for number in range(RECORDS):
        made = Change("key_abcdefghijklmnop", f"request-{number:08d}=", now_ms + number * 1000)
        if number >= 100 and number % 2:
            dynamodb.run(release_grant(entitlement_id, held.pop(0), made))
        else:
            grant_id = (made.now_ms - EPOCH * 1000) * 100
            holder = Holder(f"user{number % 130}@example.com", "Alice", {"device": "mbp"})
            grant = dynamodb.run(activation.take(entitlement_id, holder, made, grant_id))
            if grant.is_new:
                held.append(activation_id(grant.key, grant.held.grant_id))
        images.append(dynamodb.run(read_existing(key)))
    wire = [{name: to_wire(value) for name, value in image.items()} for image in images]
    keys = {"pk": {"S": key.pk}, "sk": {"S": key.sk}}
    return [
        {
            "dynamodb": {
                "Keys": keys,
                "SequenceNumber": str(number),
                "OldImage": old,
                "NewImage": new,
            }
        }
        for number, (old, new) in enumerate(pairwise(wire))
        if old != new
    ]


def measure_notify(
    dynamodb: DynamoDBClient, meter: Any, bare: Callable[[], None], now_ms: int
) -> dict[str, float]:
    """Records a second, by batches of 100, and as a ratio to bare put_items of boto3."""
    records = make_records(dynamodb, now_ms)
    publisher = Publisher("bus", "queue", dynamodb)
    meter.calls, meter.reads, meter.writes = 0, 0.0, 0.0
    with _sink():
        started = time.perf_counter()
        for start in range(0, len(records), BATCH):
            batch = Batch(dynamodb, publisher, 900_000, now_ms, sends_mail=False)
            failed = batch.process(records[start : start + BATCH])
            assert failed is None
        spent = time.perf_counter() - started
    calls, reads, writes = meter.calls, meter.reads, meter.writes
    started = time.perf_counter()
    for _ in range(len(records)):
        bare()
    bare_spent = time.perf_counter() - started
    count = len(records)
    return {
        "notify.records_per_second": count / spent,
        "notify.ratio": bare_spent / spent,
        "notify.round_trips_per_record": calls / count,
        "notify.write_units_per_record": writes / count,
        "notify.read_units_per_record": reads / count,
    }


# --- notify, with DynamoDB as far away as it is in AWS --------------------------------------------

WORKERS = 16
OWNERS = 100
ROUNDS = 4


def _grants(
    dynamodb: DynamoDBClient, prefix: str, entitlements: int, each: int, now_ms: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Stream records: of so many entitlements as they were made, and of so many grants in each."""
    begun: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    for number in range(entitlements):
        entitlement_id = f"ent_{prefix}{number:04d}"
        item = entitlement_item(
            entitlement_id, DOCUMENT, version=1, created_at=now_ms, now_ms=now_ms
        )
        dynamodb.execute(Put(entitlement_key(entitlement_id), item))
        key = seat_shard_key(entitlement_id)
        dynamodb.execute(
            new_shard_put(entitlement_id, seat_terms(DOCUMENT), Change("k", "r", now_ms))
        )
        images = [dynamodb.run(read_existing(key))]
        for count in range(each):
            made = Change("key_abcdefghijklmnop", f"request-{count:08d}=", now_ms + count * 1000)
            grant_id = (made.now_ms - EPOCH * 1000) * 100
            dynamodb.run(
                activation.take(
                    entitlement_id, Holder(f"user{count}@example.com", "Alice", {}), made, grant_id
                )
            )
            images.append(dynamodb.run(read_existing(key)))
        wire = [{name: to_wire(value) for name, value in image.items()} for image in images]
        keys = {"pk": {"S": key.pk}, "sk": {"S": key.sk}}
        begun.append({"dynamodb": {"Keys": keys, "SequenceNumber": "0", "NewImage": wire[0]}})
        for old, new in pairwise(wire):
            number_of = str(len(records))
            records.append(
                {
                    "dynamodb": {
                        "Keys": keys,
                        "SequenceNumber": number_of,
                        "OldImage": old,
                        "NewImage": new,
                    }
                }
            )
    return begun, records


def measure_reader(engine_url: str, name: str, now_ms: int) -> dict[str, float]:
    """Records a second and shard: one invocation on one core, a table at the published latencies.

    Of entitlements that have a history, by a process that has worked before.
    """
    settings: dict[str, Any] = {
        "region": "us-east-1",
        "credentials": Credentials("test", "test"),
    }
    recording = Recording(name, endpoint=engine_url, **settings)
    cores = os.sched_getaffinity(0)
    found = {}
    for prefix, about, entitlements, each, at_once in (
        ("fara", "100_entitlements", OWNERS, 1, WORKERS),
        ("farb", "100_entitlements.one_at_a_time", OWNERS, 1, 1),
        ("farc", "one_entitlement", 1, BATCH, WORKERS),
    ):

        def process(
            dynamodb: DynamoDBClient, given: list[dict[str, Any]], many: int = at_once
        ) -> None:
            publisher = Publisher("bus", "queue", dynamodb)
            batch = Batch(dynamodb, publisher, 900_000, now_ms, sends_mail=False, at_once=many)
            assert batch.process(given) is None

        spent, used, read = 0.0, 0.0, 0
        for number in range(ROUNDS):
            recording.answers = {}
            begun, records = _grants(recording, f"{prefix}{number}", entitlements, each, now_ms)
            with _sink():
                process(recording, begun)
                recording.answers = {}
                process(recording, records)
                with replaying(recording.answers) as url:
                    far = DynamoDBClient(name, endpoint=url, **settings)
                    os.sched_setaffinity(0, {min(cores)})
                    try:
                        cpu, started = time.process_time(), time.perf_counter()
                        process(far, records)
                        if number:  # the first one warms up
                            spent += time.perf_counter() - started
                            used += time.process_time() - cpu
                            read += len(records)
                    finally:
                        os.sched_setaffinity(0, cores)
        found[f"notify.far.{about}.records_per_second"] = read / spent
        found[f"notify.far.{about}.cpu_ms_per_record"] = used * 1000 / read
    return found


# --- deliver --------------------------------------------------------------------------------------

# A receiver in a process of its own, as small as one can be: it answers after a pause.
_RECEIVER = """
import asyncio, sys
pause = float(sys.argv[1])
ANSWER = b"HTTP/1.1 204 No Content\\r\\ncontent-length: 0\\r\\n\\r\\n"
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            size = [l for l in head.lower().split(b"\\r\\n") if l.startswith(b"content-length:")]
            await reader.readexactly(int(size[0].split(b":")[1]))
            await asyncio.sleep(pause)
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextmanager
def loopback(pause: float) -> Iterator[str]:
    """The URL of a receiver that answers after `pause` seconds."""
    with subprocess.Popen(
        [sys.executable, "-c", _RECEIVER, str(pause)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/"
        process.kill()


def _messages(dynamodb: DynamoDBClient, url: str, prefix: str, now_ms: int) -> list[dict[str, Any]]:
    """One message for each of a thousand endpoints."""
    messages = []
    for number in range(MESSAGES):
        webhook_id = f"whk_{prefix}{number}"
        endpoint: Item = {"url": url, "eventTypes": ["*"], "enabled": True, "version": 1}
        secret: Item = {"current": "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"}
        dynamodb.execute(
            BatchPut(
                (
                    (webhook_key(webhook_id), endpoint),
                    (webhook_secret_key(webhook_id), secret),
                )
            )
        )
        event = webhook_samples.sample(webhook_id, event_types.SEAT_ACTIVATED, now_ms, "bench")
        body = {"webhookId": webhook_id, "event": event, "attempt": 0}
        messages.append({"messageId": str(number), "body": json.dumps(body)})
    return messages


def _deliver(dynamodb: DynamoDBClient, messages: list[dict[str, Any]]) -> tuple[float, float]:
    """CPU and wall seconds of delivering messages in batches of 100."""
    deliveries = Deliveries(dynamodb, "queue", frozenset({"127.0.0.1"}))
    cpu, wall = time.process_time(), time.perf_counter()
    for start in range(0, len(messages), BATCH):
        deadline = time.time_ns() // 1_000_000 + 60_000
        assert deliveries.deliver(messages[start : start + BATCH], deadline) == []
    return time.process_time() - cpu, time.perf_counter() - wall


def _bare_posts(url: str) -> float:
    """CPU seconds of as many POSTs by aiohttp that nobody signs or records."""

    async def one(session: aiohttp.ClientSession) -> None:
        async with session.post(url, data=b"x" * 900) as response:
            await response.read()

    async def all_of_them() -> None:
        for _ in range(0, MESSAGES, BATCH):
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                await asyncio.gather(*(one(session) for _ in range(BATCH)))

    cpu = time.process_time()
    asyncio.run(all_of_them())
    return time.process_time() - cpu


def measure_deliver(dynamodb: DynamoDBClient, now_ms: int) -> dict[str, float]:
    """Deliveries a second and core, and how long a thousand endpoints of 100 ms take."""
    with loopback(0) as url:
        cpu, _ = _deliver(dynamodb, _messages(dynamodb, url, "fast", now_ms))
        bare = _bare_posts(url)
    with loopback(ENDPOINT_SECONDS) as url:
        _, wall = _deliver(dynamodb, _messages(dynamodb, url, "slow", now_ms))
    return {
        "deliver.per_second_and_core": MESSAGES / cpu,
        "deliver.cpu.ratio": cpu / bare,
        "deliver.thousand_endpoints_of_100_ms.seconds": wall,
        "deliver.thousand_endpoints_of_100_ms.ratio": wall / (MESSAGES * ENDPOINT_SECONDS),
    }


# --- From commit to webhook -----------------------------------------------------------------------


def measure_commit_to_webhook() -> dict[str, float]:
    """Milliseconds from an activation's time to its webhook, in the local stack."""
    arrived: dict[str, float] = {}
    lock = threading.Lock()

    def note(event: Event) -> None:
        with lock:
            arrived[event["timestamp"]] = time.time()

    with Receiver(note) as receiver, Emulator(free_port()) as emulator:
        stack = deploy(emulator)
        details = create_customer(stack)
        api = Api(details["apiUrl"], f"Bearer {details['apiKey']}")
        subscribe(api, receiver, entitlementId=details["entitlementId"])
        path = f"/v1/entitlements/{details['entitlementId']}/activations"
        committed: dict[str, float] = {}
        for number in range(COMMITS):
            answer = api.expect(201, "POST", path, {"seatId": f"user{number}"})
            committed[answer["activatedAt"]] = time.time()
            time.sleep(0.25)
        deadline = time.monotonic() + 30
        while len(committed.keys() & arrived.keys()) < COMMITS and time.monotonic() < deadline:
            time.sleep(0.1)
        stack.stop()
    waits = sorted(arrived[at] - committed[at] for at in committed if at in arrived)[:COMMITS]
    assert len(waits) == COMMITS
    # The first few started the functions.
    return {
        "webhook.commit_to_receipt.ms.p50": statistics.median(waits) * 1000,
        "webhook.commit_to_receipt.ms.p90": waits[len(waits) * 9 // 10] * 1000,
        # Of the machine, over the last minute: clients, functions and emulator share it.
        "webhook.commit_to_receipt.load_average": os.getloadavg()[0],
    }
