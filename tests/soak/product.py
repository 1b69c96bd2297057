"""The product in a world: its functions as warm processes, and what drives them as AWS does."""

import importlib.util
import itertools
import json
import random
import zlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from functions.deliver import deliveries
from functions.notify.batch import Batch
from functions.notify.publisher import Publisher
from functions.notify.report_candidates import ReportCandidates
from functions.report.pipeline import Work, queue_at
from local.adapt import read_template
from shared import aws, observability, signed_tokens
from shared.api import app
from shared.api.auth import hash_key
from shared.api.routes import ROUTES
from shared.clock import now_ms
from shared.dynamodb.requests import Unavailable
from tests.soak.memory_table import Write, stream_record
from tests.soak.services import REPORTS_URL, URL, Sender, Services
from tests.soak.world import SECOND, Plan, Process, Violation, World
from tests.support import requests
from tests.support.notifier import QUIET_MS
from tests.support.reports import NO_MAIL, MemoryStore
from tests.support.requests import BOOTSTRAP_KEY
from tests.support.tables import Crash

ENVIRONMENT = {
    "BOOTSTRAP_KEY_HASH": hash_key(BOOTSTRAP_KEY),
    "API_KEY_REQUESTS_PER_MINUTE": "1000000000",
    "LICENSE_KEY_REQUESTS_PER_MINUTE": "1000000000",
}
_TEMPLATE = read_template()
_FUNCTIONS = {
    "activate": "Activate",
    "consume": "Consume",
    "release": "Release",
    "manage": "Entitlements",
    "notify": "Notify",
    "deliver": "Deliver",
    "report": "Report",
}
# Seconds after which Lambda ends an invocation.
TIMEOUTS: dict[str, int] = {
    function: _TEMPLATE["Resources"][name]["Properties"].get(
        "Timeout", _TEMPLATE["Globals"]["Function"]["Timeout"]
    )
    for function, name in _FUNCTIONS.items()
}
_STREAM = _TEMPLATE["Resources"]["Notify"]["Properties"]["Events"]["Stream"]["Properties"]
STREAM_RETRIES: int = _STREAM["MaximumRetryAttempts"]
STREAM_SHARDS = 4
MOST_IDLE = 20  # seconds that a reader waits at most while there is nothing to read
[_FILTER] = _STREAM["FilterCriteria"]["Filters"]
# The beginnings of the keys that the filter lets through.
READ = tuple(
    each if isinstance(each, str) else each["prefix"]
    for each in json.loads(_FILTER["Pattern"])["dynamodb"]["Keys"]["pk"]["S"]
)
POISON = {
    "eventName": "MODIFY",
    "eventSource": "aws:dynamodb",
    "dynamodb": {
        "Keys": {"pk": {"S": "LEDGER#ent_poison#0000"}, "sk": {"S": "LEDGER"}},
        "SequenceNumber": "0",
        "NewImage": {"pk": {"S": "LEDGER#ent_poison#0000"}, "seats": {"S": "no map"}},
    },
}


class Invocation:
    """What Lambda says of an invocation."""

    aws_request_id = "soak"
    function_name = "soak"

    def __init__(self, seconds: int) -> None:
        self._until = now_ms() + seconds * 1000

    def get_remaining_time_in_millis(self) -> int:
        return self._until - now_ms()


class InTurn:
    """Stands for asyncio in `deliver`: one after the other. Tasks of the world are no threads."""

    class Semaphore:
        def __init__(self, _: int) -> None: ...

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None: ...

    @staticmethod
    def run(work: Coroutine[Any, Any, Any]) -> Any:
        try:
            work.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waits for something that is not of this world")

    @staticmethod
    async def gather(*works: Coroutine[Any, Any, Any]) -> list[Any]:
        left = list(works)
        try:
            return [await left.pop(0) for _ in works]
        finally:
            for work in left:
                work.close()

    @staticmethod
    async def to_thread(function: Callable[..., Any], *given: Any) -> Any:
        return function(*given)


def _fresh(name: str) -> Any:
    """A module of its own: what it remembers is remembered by one process."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Product:
    """The functions of one stack, and the drivers of its stream, its queue and its schedules."""

    def __init__(self, world: World, *, rate: float, skew: float) -> None:
        self.world = world
        self.rate = rate
        self.services = Services(world)
        self.store = MemoryStore()
        self.received: dict[str, Counter[str]] = {}
        self.is_closing = False
        self._skew = skew
        self._processes: dict[str, list[Process]] = {}
        self._streams: list[list[int]] = [[] for _ in range(STREAM_SHARDS)]
        self._read_to = 0
        self._given_up: list[int] = []

    # --- Processes --------------------------------------------------------------------------------

    def _start(self, function: str) -> Process:
        skew = int(self.world.chance.uniform(-self._skew, self._skew) * SECOND)
        process = Process(function, skew)
        client = self.world.client()
        if function == "notify":
            process.modules = {
                "client": client,
                "publisher": Publisher("bus", URL, client, REPORTS_URL),
                "candidates": ReportCandidates(),
            }
        elif function == "deliver":
            made = deliveries.Deliveries(client, URL, frozenset())
            process.modules = {"client": client, "deliveries": made}
        else:
            module = _fresh(f"functions.{function}.handler")
            context = app.Context(ENVIRONMENT, client)
            process.modules = {
                "module": module,
                "client": client,
                "serve": app.serve(module.HANDLERS, context),
            }
            if function in ("release", "report"):
                module._context = context
            if function == "report":
                module._jobs_url = REPORTS_URL
                module._work = Work(client, self.store, queue_at(REPORTS_URL), NO_MAIL)
                module._serve, process.modules["serve"] = process.modules["serve"], module.handler
        self._processes.setdefault(function, []).append(process)
        return process

    def _idle(self, function: str) -> Process:
        idle = [each for each in self._processes.get(function, ()) if not each.is_busy]
        if idle and self.world.chance.random() < 0.98:
            return self.world.chance.choice(idle)
        return self._start(function)

    def end(self, process: Process) -> None:
        """A process ends, and forgets what it knew."""
        self._processes[process.function].remove(process)

    def all_processes(self) -> list[Process]:
        return [each for many in self._processes.values() for each in many]

    def _invoke(self, name: str, function: str, plan: Plan, work: Callable[[Process], Any]) -> Any:
        """Do something in a process. A crash ends that process.

        Raises:
            Crash.
        """
        process = self._idle(function)
        process.is_busy = True
        try:
            with self.world.operation(name, plan, process, TIMEOUTS[function]):
                return work(process)
        except Crash:
            self.end(process)
            raise
        finally:
            process.is_busy = False

    def plan(self, name: str, rate: float | None = None) -> Plan:
        """The faults of the next operation of this name."""
        return Plan(f"{name} {self.world.chance.random()}", self.rate if rate is None else rate)

    # --- The API ----------------------------------------------------------------------------------

    def request(self, event: dict[str, Any], plan: Plan) -> dict[str, Any] | None:
        """The answer to a request, as API Gateway gets it; None: there was none."""
        route = ROUTES[event["routeKey"]]
        try:
            answer: dict[str, Any] = self._invoke(
                route.id,
                route.function,
                plan,
                lambda process: process.modules["serve"](event, None),
            )
        except Crash:
            return None
        if plan.chance.random() < 0.03 * (self.rate > 0):
            return None
        return answer

    # --- The stream -------------------------------------------------------------------------------

    def _take_stream(self) -> None:
        stream = self.world.table.stream
        for number in range(self._read_to, len(stream)):
            write = stream[number]
            if write.new is not None and write.key.pk.startswith(READ):
                shard = zlib.crc32(write.key.pk.encode()) % STREAM_SHARDS
                self._streams[shard].append(number)
        self._read_to = len(stream)

    def _record(self, number: int) -> dict[str, Any]:
        if number < 0:
            return POISON
        write: Write = self.world.table.stream[number]
        return stream_record(write, number + 1)

    def poison(self) -> None:
        """A record that nothing can read."""
        self._streams[self.world.chance.randrange(STREAM_SHARDS)].append(-1)

    def _deliver_batch(self, numbers: list[int], plan: Plan) -> int | None:
        """A batch of the stream; the position from which it has to come again, None if nowhere."""
        records = [self._record(number) for number in numbers]

        def work(process: Process) -> int | None:
            client = process.modules["client"]
            client.answer_within(TIMEOUTS["notify"] - 8, is_background=True)
            batch = Batch(
                client,
                process.modules["publisher"],
                QUIET_MS,
                now_ms(),
                sends_mail=False,
                candidates=process.modules["candidates"],
            )
            return batch.process(records)

        position: int | None = self._invoke("stream", "notify", plan, work)
        return position

    def read_stream(self, shard: int) -> None:
        """The reader of one shard of the stream."""
        chance = random.Random(f"stream {shard} {self.world.chance.random()}")
        waiting = self._streams[shard]
        before: list[int] = []
        tries = idle = 0
        most = 100
        while True:
            self.world.sleep(chance.uniform(0.02, 0.5))
            self._take_stream()
            if not waiting:
                idle = min(idle + 1, MOST_IDLE)
                self.world.sleep(chance.uniform(0.0, idle))
                continue
            idle = 0
            batch = _reordered(waiting[: min(most, chance.randint(1, 40))], chance, self._pk)
            if before and chance.random() < 0.1:
                batch = [*before, *batch]
            try:
                failed = self._deliver_batch(batch, self.plan("stream"))
            except Crash:
                failed, most = 0, max(1, min(most, len(batch)) // 2)
            done = batch if failed is None else batch[:failed]
            for number in done:
                if number in waiting:
                    waiting.remove(number)
            before = done[-5:]
            if failed is None:
                tries, most = 0, 100
                continue
            tries = tries + 1 if failed == 0 else 1
            if tries > STREAM_RETRIES:
                given_up = batch[failed]
                if given_up in waiting:
                    waiting.remove(given_up)
                if given_up >= 0:
                    self._given_up.append(given_up)
                tries, most = 0, 100

    def _pk(self, number: int) -> str:
        return self.world.table.stream[number].key.pk if number >= 0 else ""

    def redrive(self) -> None:
        """What was given up comes again, one by one, as `make redrive` sends it."""
        while self._given_up:
            number = self._given_up.pop(0)
            for _ in range(20):
                if self._deliver_batch([number], self.plan("stream", 0.0)) is None:
                    break
            else:
                raise Violation(f"a record of {self._pk(number)} is never processed")

    # --- The queue and the schedules --------------------------------------------------------------

    def read_queue(self, url: str, deliver: Callable[[list[dict[str, Any]]], list[str]]) -> None:
        """The reader of a queue; `deliver` returns the ids of messages that have to come again."""
        chance = random.Random(f"{url} {self.world.chance.random()}")
        queue, idle = self.services.queues[url], 0
        while True:
            self.world.sleep(chance.uniform(0.1, 1.0))
            due = [each for each in queue if each[0] <= self.world.now]
            if not due:
                idle = min(idle + 1, MOST_IDLE)
                self.world.sleep(chance.uniform(0.0, idle))
                continue
            idle = 0
            most = 1 if url == REPORTS_URL else chance.randint(1, 10)
            batch = chance.sample(due, min(len(due), most))
            for each in batch:
                queue.remove(each)
            again = {each[2]["messageId"] for each in batch}
            try:
                again = set(deliver([each[2] for each in batch]))
            except (Crash, aws.QueueError, *aws.Errors):  # the invocation failed
                self.world.sleep(5)
            for message in (each[2] for each in batch):
                if message["messageId"] in again or chance.random() < 0.03:
                    self.services.put(url, json.loads(message["body"]), chance.uniform(1, 20))

    def _deliver_messages(self, messages: list[dict[str, Any]]) -> list[str]:
        def work(process: Process) -> list[str]:
            process.modules["client"].answer_within(TIMEOUTS["deliver"] - 2, is_background=True)
            made: deliveries.Deliveries = process.modules["deliveries"]
            return made.deliver(messages, now_ms() + TIMEOUTS["deliver"] * 1000)

        again: list[str] = self._invoke("deliveries", "deliver", self.plan("queue"), work)
        return again

    def _do_jobs(self, messages: list[dict[str, Any]]) -> list[str]:
        def work(process: Process) -> Any:
            seconds = TIMEOUTS["report"]
            return process.modules["serve"]({"Records": messages}, Invocation(seconds))

        answer = self._invoke("report jobs", "report", self.plan("jobs"), work)
        return [each["itemIdentifier"] for each in answer["batchItemFailures"]]

    def tick(self) -> None:
        """What the schedules do every minute."""

        def sweep(process: Process) -> Any:
            return process.modules["module"].handler({}, Invocation(TIMEOUTS["release"]))

        def resend(process: Process) -> Any:
            process.modules["client"].answer_within(TIMEOUTS["deliver"] - 2, is_background=True)
            made: deliveries.Deliveries = process.modules["deliveries"]
            until = now_ms() + 40_000
            return made.send_due(now_ms() // 1000, lambda: now_ms() < until)

        for name, function, work in (("sweep", "release", sweep), ("due", "deliver", resend)):
            try:
                self._invoke(name, function, self.plan(name), work)
            except (Crash, Unavailable, aws.QueueError, *aws.Errors):
                continue  # the invocation failed; the schedule comes again

    def keep_time(self) -> None:
        """The schedules."""
        chance = random.Random(f"ticks {self.world.chance.random()}")
        while True:
            self.world.sleep(chance.choice((30, 60, 60, 120)))
            if not self.is_closing:
                self.tick()

    # --- All of it --------------------------------------------------------------------------------

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Within this context, the services of the world stand in for AWS and for the network."""
        sender = type("WorldSender", (Sender,), {"world": self.world, "received": self.received})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(requests, "unique_numbers", itertools.count(1))
            patch.setattr(signed_tokens, "_known", {})
            patch.setattr(observability, "count", lambda _: None)
            patch.setattr(observability, "flush", lambda: None)
            patch.setattr(aws, "client", self.services.client)
            patch.setattr(deliveries, "WebhookSender", sender)
            patch.setattr(deliveries, "asyncio", InTurn)
            yield

    def start(self) -> None:
        """Begin the drivers."""
        for shard in range(STREAM_SHARDS):
            self.world.spawn(lambda shard=shard: self.read_stream(shard))  # type: ignore[misc]
        self.world.spawn(lambda: self.read_queue(URL, self._deliver_messages))
        self.world.spawn(lambda: self.read_queue(REPORTS_URL, self._do_jobs))
        self.world.spawn(self.keep_time)

    def finish(self) -> bool:
        """Wait until the stream and the queues are empty; whether they are.

        What was given up comes again once the stream has been read.
        """
        for _ in range(400):
            self._take_stream()
            is_read = not any(self._streams)
            if is_read and not self._given_up and not any(self.services.queues.values()):
                return True
            if is_read:
                self.redrive()
            self.world.sleep(5)
        return False


def _reordered(numbers: list[int], chance: random.Random, pk_of: Callable[[int], str]) -> list[int]:
    """Records of different items in any order, those of one item in theirs."""
    if chance.random() < 0.5:
        return numbers
    groups: dict[str, list[int]] = {}
    for number in numbers:
        groups.setdefault(pk_of(number), []).append(number)
    order = [pk_of(number) for number in numbers]
    chance.shuffle(order)
    return [groups[pk].pop(0) for pk in order]
