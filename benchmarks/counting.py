"""What consuming of a usage limit costs, beside two other designs.

`optimistic`: one transaction of the counter and an item for the request, which holds the answer.
A transaction returns no item, so the answer must be known before: the counter must be as it was
seen. `claimed`: a request's item first, then the counter, then the answer into the request's item;
exact as long as no process ends between them.
"""

import base64
import itertools
import statistics
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from shared import problems
from shared.audit import Change
from shared.dynamodb.keys import Key, usage_key
from shared.dynamodb.patterns import read_existing
from shared.dynamodb.requests import (
    Accepted,
    Cancelled,
    Item,
    Operation,
    Pause,
    Put,
    Transact,
    Update,
)
from shared.usage import consumption, corrections
from shared.usage.counter import Counter, UsageTerms
from shared.usage.periods import DAY_MS
from shared.usage.request_log import LOG_SIZE
from shared.usage.terms import new_counter

NOW_MS = 2_500_000_000_000  # the clock of the bench
THREADS_CALLS = 320
ATTEMPTS = 200


class Limit:
    """A usage limit of the bench's table, consumed as `functions.consume` does it."""

    def __init__(
        self,
        bench: Any,
        purchased: int = 10**6,
        cap: int | None = 2 * 10**6,
        *,
        timed: bool = False,
    ) -> None:
        self.bench = bench
        self._timed = timed
        bench.requests += 1
        self.entitlement_id = f"ent_bench{bench.requests:011d}"
        self.key = usage_key(self.entitlement_id, "exports")
        terms = UsageTerms(purchased, cap, "monthly", "UTC", "active", 0, None)
        bench.dynamodb.execute(new_counter(self.entitlement_id, "exports", terms, bench.change()))
        self.numbers = itertools.count()
        self._process = threading.local()

    @property
    def log(self) -> int | None:
        """What this process, here a thread, has last seen of a busy limit."""
        return getattr(self._process, "log", None)

    @log.setter
    def log(self, log: int | None) -> None:
        self._process.log = log

    def request(self) -> str:
        """A key that no other request has; `timed`: as that of a UUIDv7."""
        number = next(self.numbers)
        if not self._timed:
            return f"request{number:05d}"
        measured = NOW_MS + number
        return base64.urlsafe_b64encode(measured.to_bytes(6) + number.to_bytes(6)).decode()

    def consume(self, key: str = "", quantity: int = 1, *, days: int = 0) -> Any:
        """One request; the hint is kept, as a warm process keeps it."""
        change: Change = self.bench.change()
        change = change._replace(now_ms=change.now_ms + days * DAY_MS)
        log = None if self._timed else self.log
        operation = consumption.consume(
            self.entitlement_id, "exports", key or self.request(), quantity, change, busy_log=log
        )
        try:
            outcome = self.bench.dynamodb.run(operation)
        except problems.HardCapReached as denied:
            return denied
        if outcome.counter:
            is_busy = outcome.counter.is_busy(change.now_ms)
            self.log = outcome.counter.log_number if is_busy else None
        return outcome

    def fill(self, count: int) -> None:
        for _ in range(count):
            self.consume()


def measure_usage(bench: Any) -> dict[str, float]:
    """Round trips, write units and read units of each thing that a request can come to."""
    results: dict[str, float] = {}

    def put(name: str, work: Callable[[], Any]) -> None:
        bench.meter.reads = 0.0
        trips, units = bench.count(work)
        results[f"consume.{name}.round_trips"] = trips
        results[f"consume.{name}.write_units"] = units
        if bench.meter.reads:
            results[f"consume.{name}.read_units"] = bench.meter.reads

    limit = Limit(bench)
    put("quiet.first", limit.consume)
    limit.fill(2 * LOG_SIZE - 3)  # both logs are full but for two
    put("quiet.last", limit.consume)
    put("replay", lambda: limit.consume("request00040"))
    limit.fill(2)
    put("busy", limit.consume)
    put("replay.kept", lambda: limit.consume("request00003"))
    limit.log = None
    put("busy.unhinted", limit.consume)
    put(
        "correction",
        lambda: bench.dynamodb.run(
            corrections.correct(
                limit.entitlement_id, "exports", "correction00", -1, "a test", bench.change()
            )
        ),
    )
    timed = Limit(bench, timed=True)
    timed.fill(2 * LOG_SIZE + 2)
    put("timed", timed.consume)
    for name, many in (("busy", limit), ("timed", timed)):
        bench.meter.reads = 0.0
        trips, units = bench.count(lambda many=many: many.fill(10 * LOG_SIZE))
        results[f"consume.{name}.average.round_trips"] = trips / (10 * LOG_SIZE)
        results[f"consume.{name}.average.write_units"] = units / (10 * LOG_SIZE)
        results[f"consume.{name}.average.read_units"] = bench.meter.reads / (10 * LOG_SIZE)
    put("new_period", lambda: limit.consume(days=40))
    small = Limit(bench, purchased=1, cap=2)
    small.consume()
    put("overdraft", small.consume)
    put("denial", small.consume)
    return results | _measure_others(bench)


# --- Other designs --------------------------------------------------------------------------------


def _other_counter(bench: Any) -> tuple[Key, Any]:
    bench.requests += 1
    entitlement_id = f"other{bench.requests:08d}"
    key = Key(f"COUNT#{entitlement_id}", "COUNT")
    item: Item = {
        "left": 2 * 10**6,
        "seq": 1,
        "actor": "key_abcdefghijklmnop",
        "text": "x" * 250,
    }
    bench.dynamodb.execute(Put(key, item))
    return key, itertools.count()


def optimistic(key: Key, request: str, seen: dict[str, int]) -> Operation[int]:
    """A transaction of counter and request, tried again until the counter is as it was seen."""
    for attempt in range(1, ATTEMPTS):
        left, seq = seen["left"], seen["seq"]
        answer: Item = {"answer": left - 1, "quantity": 1, "text": "x" * 150}
        write = Update(
            key,
            "SET #left = #left - :one, seq = seq + :one",
            "seq = :seq AND #left >= :one",
            {"#left": "left"},
            {":one": 1, ":seq": seq},
        )
        kept = Put(Key(f"{key.pk}#{request}", "REQUEST"), answer, "attribute_not_exists(pk)")
        reply = yield Transact((write, kept))
        if isinstance(reply, Accepted):
            seen |= {"left": left - 1, "seq": seq + 1}
            return left - 1
        if isinstance(reply, Cancelled):
            counter = reply.reasons[0][1]
            if counter:
                seen |= {"left": counter["left"], "seq": counter["seq"]}
        yield Pause(min(attempt, 3))
    raise problems.Contention


def claimed(key: Key, request: str) -> Operation[int]:
    """The request's item, the counter, the answer: three plain writes."""
    kept = Key(f"{key.pk}#{request}", "REQUEST")
    yield Put(kept, {"quantity": 1}, "attribute_not_exists(pk)")
    write = Update(
        key,
        "SET #left = #left - :one, seq = seq + :one",
        "#left >= :one",
        {"#left": "left"},
        {":one": 1},
    )
    reply = yield write
    left = int(reply.item["left"])
    yield Put(kept, {"answer": left, "quantity": 1, "text": "x" * 150})
    return left


def _measure_others(bench: Any) -> dict[str, float]:
    key, _ = _other_counter(bench)
    results: dict[str, float] = {}
    for name, work in (
        (
            "optimistic",
            lambda: bench.dynamodb.run(optimistic(key, "a", {"left": 2 * 10**6, "seq": 1})),
        ),
        ("claimed", lambda: bench.dynamodb.run(claimed(key, "b"))),
    ):
        trips, units = bench.count(work)
        results[f"consume.{name}.round_trips"] = trips
        results[f"consume.{name}.write_units"] = units
    return results


def measure_contention(bench: Any, rate: Callable[[int, Callable[[int], Any]], float]) -> Any:
    """Sixteen threads on one limit: calls of the table a request, requests a second."""
    rates: dict[str, list[float]] = {"busy": [], "timed": [], "optimistic": [], "claimed": []}
    calls: dict[str, list[float]] = {name: [] for name in rates}
    for _ in range(3):
        busy, timed = Limit(bench), Limit(bench, timed=True)
        busy.fill(2 * LOG_SIZE)
        timed.fill(2 * LOG_SIZE)
        key, numbers = _other_counter(bench)
        process = threading.local()

        def one_optimistic(
            _: int, key: Key = key, numbers: Any = numbers, process: Any = process
        ) -> None:
            seen = process.__dict__.setdefault("seen", {"left": 2 * 10**6, "seq": 1})
            while True:  # its client sends again what was given up
                with suppress(problems.Contention):
                    bench.dynamodb.run(optimistic(key, f"r{next(numbers)}", seen))
                    return

        other, more = _other_counter(bench)

        def one_claimed(_: int, key: Key = other, numbers: Any = more) -> None:
            bench.dynamodb.run(claimed(key, f"r{next(numbers)}"))

        works: dict[str, Callable[[int], Any]] = {
            "busy": lambda _, limit=busy: limit.consume(),  # type: ignore[misc]
            "timed": lambda _, limit=timed: limit.consume(),  # type: ignore[misc]
            "optimistic": one_optimistic,
            "claimed": one_claimed,
        }
        for name, work in works.items():
            before = bench.dynamodb.sent
            rates[name].append(rate(THREADS_CALLS, work))
            calls[name].append((bench.dynamodb.sent - before) / THREADS_CALLS)
        for limit in (busy, timed):
            counter = Counter.of(bench.dynamodb.run(read_existing(limit.key)))
            assert counter.used == 2 * LOG_SIZE + THREADS_CALLS
    return (
        {name: statistics.median(values) for name, values in rates.items()},
        {name: statistics.median(values) for name, values in calls.items()},
    )
