"""A world in one thread: virtual time, processes whose clocks differ, and faults at any call.

Everything that runs is a task, a greenlet. A task goes on until it waits: for an answer, for a
pause. Then the task that is due next goes on, so two operations meet between any two of their
calls. All chance comes from seeds, so the same story runs the same way again.
"""

import heapq
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import greenlet
import orjson
import pytest

from local.dynamodb import table_properties
from shared.aws_json import Credentials
from shared.dynamodb.client import DynamoDBClient
from tests.soak.memory_table import Answer, MemoryTable
from tests.support.tables import Crash

SECOND = 1_000_000  # of the world's time, which counts microseconds
READ_TIMEOUT = 3.0  # as the client has it: an answer that takes longer is lost
# Faults of a call, and how often each is drawn among them.
FAULTS = {
    "lost": 6,  # it takes place, and its answer does not arrive
    "refused": 2,  # there is no connection; it does not take place
    "cut": 1,  # it does not take place, and nothing answers
    "throttled": 4,
    "failed": 2,  # an internal error: it did not take place
    "failed after": 2,  # an internal error: it did
    "conflict": 4,  # a transaction is under way on the item
    "partial": 2,  # a batch is left undone in part
    "crash before": 4,
    "crash after": 6,
    "slow": 2,
}


class Violation(BaseException):
    """Something is not as it must be. No handler may turn it into an answer."""


class Plan:
    """Which calls of one operation meet which faults."""

    def __init__(self, seed: str, rate: float) -> None:
        self.chance = random.Random(seed)
        self.calls = 0
        self.fired: Counter[str] = Counter()
        self._at: dict[int, str] = {}
        if self.chance.random() < rate:
            for _ in range(self.chance.choice((1, 1, 1, 2, 3))):
                # Most operations make few calls, a batch of the stream makes dozens.
                spread = self.chance.choice((1.2, 1.2, 0.08))
                call = int(self.chance.expovariate(spread))
                self._at[call] = self.chance.choices(list(FAULTS), list(FAULTS.values()))[0]

    def draw(self) -> str:
        """The fault of the next call, or nothing."""
        number, self.calls = self.calls, self.calls + 1
        return self._at.get(number, "")

    def meet(self) -> str:
        """The same, of a call that meets it as it is. The process may end before it.

        Raises:
            Crash.
        """
        fault = self.draw()
        if fault:
            self.fired[fault] += 1
        if fault == "crash before":
            raise Crash
        return fault


class Process:
    """A warm process of a function; `skew` is by how much its clock is wrong, in microseconds."""

    def __init__(self, function: str, skew: int) -> None:
        self.function = function
        self.skew = skew
        self.is_busy = False
        self.cut_until = 0
        self.modules: dict[str, Any] = {}


class Task:
    """Something that runs: whose faults it meets, in which process it is, when it is killed."""

    def __init__(self, run: Callable[[], None], hub: greenlet.greenlet, plan: Plan) -> None:
        self.greenlet = greenlet.greenlet(run, hub)
        self.plan = plan
        self.process: Process | None = None
        self.dies_at: int | None = None


class World:
    """Time, tasks, and the table in the middle."""

    def __init__(self, seed: str, start_ms: int, *, lag: float = 0.5) -> None:
        self.chance = random.Random(seed)
        self.now = start_ms * 1000
        self.table = MemoryTable(
            table_properties(),
            now=lambda: self.now,
            lag=lambda: int(self.chance.uniform(0, lag) * SECOND),
        )
        self.task: Task | None = None
        self.slow_until = 0
        self.faulted = 0
        self.operations = 0
        self.kinds: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self._transacted: set[tuple[str, str]] = set()
        self._calm = Plan(f"{seed} calm", 0.0)
        self._hub = greenlet.getcurrent()
        self._due: list[tuple[int, int, Task]] = []
        self._numbers = itertools.count()
        self._entropy = random.Random(f"{seed} entropy")

    # --- Tasks and time ---------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return self.now // 1000

    def spawn(self, run: Callable[[], None]) -> None:
        """Begin a task."""
        self._push(Task(run, self._hub, self._calm), self.now)

    def _push(self, task: Task, at: int) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), task))

    def run(self, is_over: Callable[[], bool]) -> None:
        """Let tasks run until it is over.

        Raises:
            Violation: a task found one.
        """
        self._hub = greenlet.getcurrent()
        while self._due and not is_over():
            at, _, task = heapq.heappop(self._due)
            self.now = max(self.now, at)
            self.task = task
            task.greenlet.parent = self._hub
            task.greenlet.switch()
            self.task = None

    def stop(self) -> None:
        """End every task."""
        for _, _, task in self._due:
            task.greenlet.throw(greenlet.GreenletExit)
        self._due = []

    def sleep(self, seconds: float) -> None:
        """Let others run for so long.

        Raises:
            Crash: the process of this task is killed meanwhile, because its time is over.
        """
        task = self.task
        assert task is not None, "nothing sleeps outside of a task"
        until = self.now + max(1, int(seconds * SECOND))
        self._push(task, until if task.dies_at is None else min(until, task.dies_at))
        self._hub.switch()
        if task.dies_at is not None and self.now >= task.dies_at:
            raise Crash

    @contextmanager
    def operation(self, name: str, plan: Plan, process: Process, seconds: float) -> Iterator[None]:
        """An invocation of a process, which ends it after so many seconds."""
        task = self.task
        assert task is not None
        kept = (task.plan, task.process, task.dies_at)
        task.plan, task.process = plan, process
        task.dies_at = self.now + int(seconds * SECOND)
        try:
            yield
        finally:
            task.plan, task.process, task.dies_at = kept
            self.operations += 1
            self.kinds[name] += 1
            if plan.fired:
                self.faulted += 1
                self.met.update(plan.fired)

    # --- Calls ------------------------------------------------------------------------------------

    def call(self, operation: str, payload: bytes) -> Answer:
        """A call of the table, as its caller sees it."""
        assert self.task is not None
        plan, process = self.task.plan, self.task.process
        fault = plan.draw()
        if process and self.now < process.cut_until:
            fault = plan.chance.choice(("cut", "refused", "lost"))
        latency = 0.002 + plan.chance.expovariate(250.0)
        if self.now < self.slow_until or fault == "slow":
            latency *= plan.chance.uniform(20, 200)
            plan.fired["slow"] += 1
        self._note_transaction(operation, payload)
        if fault == "partial" and not operation.startswith("Batch"):
            fault = "throttled"
        if fault == "conflict" and not self._may_conflict(operation, payload):
            fault = "throttled"
        if fault and fault != "slow":
            plan.fired[fault] += 1
        self._before(fault)
        self.sleep(min(latency, 2 * READ_TIMEOUT) / 2)
        if fault == "throttled":
            return 400, {"__type": "x#ProvisionedThroughputExceededException"}
        if fault == "failed":
            return 500, {"__type": "x#InternalServerError"}
        if fault == "conflict":
            return _conflict(operation, payload)
        answer = self._answer(operation, payload, fault, plan)
        self.sleep(min(latency, 2 * READ_TIMEOUT) / 2)
        if fault == "crash after":
            raise Crash
        if fault == "lost" or latency > READ_TIMEOUT:
            plan.fired["lost"] += fault != "lost"
            self.sleep(READ_TIMEOUT)
            raise TimeoutError
        if fault == "failed after":
            return 500, {"__type": "x#InternalServerError"}
        return answer

    def _may_conflict(self, operation: str, payload: bytes) -> bool:
        """Whether another transaction may be under way: on these items there have been some."""
        if operation == "TransactWriteItems":
            return True
        if operation not in ("PutItem", "UpdateItem", "DeleteItem"):
            return False
        return _place(orjson.loads(payload)) in self._transacted

    def _note_transaction(self, operation: str, payload: bytes) -> None:
        if operation == "TransactWriteItems":
            for action in orjson.loads(payload)["TransactItems"]:
                [inner] = action.values()
                self._transacted.add(_place(inner))

    def _before(self, fault: str) -> None:
        if fault == "crash before":
            raise Crash
        if fault == "refused":
            self.sleep(0.01)
            raise ConnectionRefusedError
        if fault == "cut":
            self.sleep(READ_TIMEOUT)
            raise TimeoutError

    def _answer(self, operation: str, payload: bytes, fault: str, plan: Plan) -> Answer:
        if fault != "partial":
            return self.table.answer(operation, payload)
        body = orjson.loads(payload)
        [(name, wanted)] = body["RequestItems"].items()
        is_read = operation == "BatchGetItem"
        entries = wanted["Keys"] if is_read else wanted
        kept = plan.chance.randrange(len(entries))
        left = entries[kept:]
        body["RequestItems"] = {name: {"Keys": entries[:kept]} if is_read else entries[:kept]}
        status, answer = 200, dict[str, Any]({"Responses": {}} if is_read else {})
        if kept:
            status, answer = self.table.answer(operation, orjson.dumps(body))
        undone = {name: {"Keys": left} if is_read else left}
        return status, {**answer, "UnprocessedKeys" if is_read else "UnprocessedItems": undone}

    # --- What the product's modules see -----------------------------------------------------------

    def _process_time(self) -> int:
        skew = self.task.process.skew if self.task and self.task.process else 0
        return self.now + skew

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Within this context the process's time, pauses and chance are this world's."""
        state = random.getstate()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: self._process_time() / SECOND)
            patch.setattr(time, "time_ns", lambda: self._process_time() * 1000)
            patch.setattr(time, "monotonic", lambda: self.now / SECOND)
            patch.setattr(time, "sleep", self.sleep)
            patch.setattr(os, "urandom", self._entropy.randbytes)
            patch.setattr(random, "_urandom", self._entropy.randbytes)
            random.seed(self._entropy.random())
            yield
        random.setstate(state)

    def client(self) -> DynamoDBClient:
        """A client of the table, for one process."""
        return WorldClient(self)


def _place(body: dict[str, Any]) -> tuple[str, str]:
    """The key of the item that a write is about."""
    key = body.get("Key") or body["Item"]
    return key["pk"]["S"], key["sk"]["S"]


def _conflict(operation: str, payload: bytes) -> Answer:
    if operation != "TransactWriteItems":
        return 400, {"__type": "x#TransactionConflictException"}
    reasons = [{"Code": "None"} for _ in orjson.loads(payload)["TransactItems"]]
    reasons[-1]["Code"] = "TransactionConflict"
    return 400, {"__type": "x#TransactionCanceledException", "CancellationReasons": reasons}


class WorldClient(DynamoDBClient):
    """The product's client, whose calls are made in a world."""

    at_once = 1  # tasks give way, and nothing else does

    def __init__(self, world: World) -> None:
        super().__init__(
            "table",
            region="us-east-1",
            endpoint="http://127.0.0.1:1",
            credentials=Credentials("test", "test"),
        )
        self._world = world

    def _send(self, operation: str, payload: bytes) -> Answer:
        return self._world.call(operation, payload)
