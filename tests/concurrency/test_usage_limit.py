"""Sixteen threads on one usage limit, on Amazon's own engine: every invariant, after every run."""

import itertools
import random
import threading
import time
import zlib
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterator

import pytest

from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import DENIAL_PREFIX, usage_key
from shared.dynamodb.marshalling import item_from_wire
from shared.dynamodb.requests import Accepted, Transact
from shared.usage import consumption, corrections
from shared.usage.counter import Counter, UsageTerms
from shared.usage.periods import DAY, DAY_MS
from shared.usage.request_log import LOG_SIZE
from shared.usage.terms import new_counter, terms_update, under_terms
from tests.support.patching import patch_constant
from tests.support.seats import NOW_MS, change, new_id, timed_key
from tests.support.tables import create_table, open_client, read_item
from tests.support.threads import SEEDS, THREADS, history, run, together


@pytest.fixture(scope="module")
def dynamodb(engine: DynamoDBLocal) -> DynamoDBClient:
    return open_client(engine.url, create_table(engine.url))


def request_key(name: str) -> str:
    """The key of a request; half of them contain a time, close to when they are made."""
    number = zlib.crc32(name.encode())
    return timed_key(NOW_MS + number % 60_000, number) if number % 2 else f"{name:>012}"


class Clients:
    """Requests of many clients at once, and their answers."""

    def __init__(self, dynamodb: DynamoDBClient, purchased: int, hard_cap: int | None) -> None:
        self.dynamodb = dynamodb
        self.entitlement_id = new_id()
        self.key = usage_key(self.entitlement_id, "x")
        self.terms = UsageTerms(purchased, hard_cap, "monthly", "UTC", "active", 0, None)
        self._started = time.monotonic()
        self._offset_ms = 0
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.answered: dict[str, list[consumption.Outcome]] = defaultdict(list)
        self.denials: list[tuple[int, problems.HardCapReached]] = []
        self.contentions = 0
        self.log: int | None = None
        dynamodb.execute(new_counter(self.entitlement_id, "x", self.terms, change()))

    def now_ms(self) -> int:
        return NOW_MS + self._offset_ms + int((time.monotonic() - self._started) * 1000)

    def pass_time(self, seconds: int) -> None:
        self._offset_ms += seconds * 1000

    def change(self) -> Change:
        return Change("key_test", f"req-{next(self._numbers)}", self.now_ms())

    def consume(self, key: str, quantity: int = 1) -> consumption.Outcome | None:
        operation = consumption.consume(
            self.entitlement_id, "x", request_key(key), quantity, self.change(), busy_log=self.log
        )
        try:
            outcome: consumption.Outcome = run(self.dynamodb, operation, self.now_ms)
        except problems.HardCapReached as denied:
            used = denied.extensions["usage"]
            assert used["used"] + quantity > used["hardCap"], "denied although it would have fitted"
            with self._lock:
                self.denials.append((quantity, denied))
            return None
        except problems.Contention:
            with self._lock:
                self.contentions += 1
            return None
        if outcome.counter:
            is_busy = outcome.counter.is_busy(self.now_ms())
            self.log = outcome.counter.log_number if is_busy else None
        with self._lock:
            self.answered[key].append(outcome)
        return outcome

    def counter(self) -> Counter:
        return Counter.of(read_item(self.dynamodb, self.key))

    def check(self, engine: DynamoDBLocal) -> Tally[str]:
        """The counter never went above its cap, and each request consumed once.

        Returns how often each kind of change occurred.
        """
        kinds: Tally[str] = Tally()
        seq, quantities = 0, list[int]()
        for version in history(engine, self.dynamodb, self.key):
            old, new = version["old"], version["new"]
            if old and old["seq"] == new["seq"]:
                assert old["left"] == new["left"], "a count changed without a new version"
                continue
            assert new["seq"] == seq + 1, "a version is missing, or counted twice"
            seq = new["seq"]
            last = new["last"]
            kinds[last["type"]] += 1
            if last["type"] == "consumed":
                assert new["left"] >= 0, "above the hard cap"
                quantities.append(last["quantity"])
                before = old["left"] if old["period"] == new["period"] else new["hardCap"]
                assert before - new["left"] == last["quantity"]
        answers = {
            key: {outcome.consumed for outcome in answered}
            for key, answered in self.answered.items()
        }
        assert all(len(different) == 1 for different in answers.values()), "two first answers"
        news = Tally(
            key
            for key, answered in self.answered.items()
            for each in answered
            if not each.is_replay
        )
        assert all(number == 1 for number in news.values()), "a request consumed twice"
        consumed = [answered.quantity for different in answers.values() for answered in different]
        assert sorted(consumed) == sorted(quantities), "consumed and nobody was told, or twice"
        return kinds

    def attempts(self, engine: DynamoDBLocal) -> int:
        found = engine.client().get_paginator("scan").paginate(TableName=self.dynamodb.name)
        items = [item_from_wire(item) for shard in found for item in shard["Items"]]
        pk = f"{DENIAL_PREFIX}{self.entitlement_id}#"
        return sum(item["attempts"] for item in items if item["pk"].startswith(pk))


@pytest.fixture(params=[LOG_SIZE, 5])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    patch_constant(monkeypatch, "shared.usage", "LOG_SIZE", request.param)
    return request.param  # type: ignore[no-any-return]


def test_a_rush_on_100_of_120(engine: DynamoDBLocal, dynamodb: DynamoDBClient, log: int) -> None:
    """160 requests, all at once: 100 within, 20 in overdraft, 40 denied, every count taken once."""
    clients = Clients(dynamodb, 100, 120)

    def work(worker: int) -> None:
        for number in range(worker, 160, THREADS):
            clients.consume(f"r{number}")

    together(work)
    answered = [outcome.consumed for [outcome] in clients.answered.values()]
    assert sorted(each.used for each in answered) == list(range(1, 121))
    over = [each.used for each in answered if each.overdraft_quantity]
    assert sorted(over) == list(range(101, 121))
    assert (len(clients.denials), clients.contentions) == (40, 0)
    assert clients.attempts(engine) == 40
    assert clients.check(engine) == {"created": 1, "consumed": 120}


def test_one_request_from_sixteen_threads_consumes_once(
    engine: DynamoDBLocal, dynamodb: DynamoDBClient
) -> None:
    clients = Clients(dynamodb, 100, 120)
    together(lambda _: [clients.consume("same", 3) for _ in range(5)])
    assert len(clients.answered["same"]) == 80
    assert clients.counter().used == 3
    assert clients.check(engine)["consumed"] == 1


def test_a_period_is_begun_once_by_all(
    engine: DynamoDBLocal, dynamodb: DynamoDBClient, log: int
) -> None:
    clients = Clients(dynamodb, 30, 32)
    for number in range(30):
        clients.consume(f"old{number}")
    clients.pass_time(40 * 86_400)
    together(lambda worker: [clients.consume(f"n{worker}-{n}") for n in range(3)])
    assert clients.counter().used == 32
    assert (len(clients.denials), clients.contentions) == (48 - 32, 0)
    assert clients.counter().period_number == 2
    clients.check(engine)


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_at_once(
    engine: DynamoDBLocal, dynamodb: DynamoDBClient, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests sent once and again, all quantities, corrections, limits, days and months."""
    patch_constant(monkeypatch, "shared.usage", "LOG_SIZE", (5, 8, LOG_SIZE)[seed % 3])
    clients = Clients(dynamodb, 400, 480)
    limits = [(400, 480), (200, 220), (500, 500)]
    counted: Tally[str] = Tally()
    lock = threading.Lock()

    def correct(chance: random.Random, key: str) -> None:
        quantity = chance.choice([-5, 3])
        operation = corrections.correct(
            clients.entitlement_id, "x", request_key(key), quantity, "a test", clients.change()
        )
        try:
            run(dynamodb, operation, clients.now_ms)
        except (problems.HardCapReached, problems.InvalidRequest, problems.Contention):
            return
        with lock:
            counted["corrected"] += 1

    def change_limits(step: int) -> None:
        valid = clients.terms._replace(purchased=limits[step % 3][0], hard_cap=limits[step % 3][1])
        now = clients.change()
        seen = clients.counter()
        new = under_terms(seen, valid, now.now, is_renewed=False)
        write = run(
            dynamodb, terms_update(clients.entitlement_id, "x", seen, new, now), clients.now_ms
        )
        if write and isinstance(dynamodb.execute(Transact((write,))), Accepted):
            counted["updated"] += 1

    def work(worker: int) -> None:
        chance = random.Random(seed * 1000 + worker)
        for step in range(30):
            act: float = chance.random()
            # Half of the requests are known to all threads: they are sent again and again.
            key = f"all{chance.randrange(60)}" if act < 0.4 else f"w{worker}-{step}"
            # What a key asks for never changes.
            quantity = 1 + sum(key.encode()) % 4
            if act < 0.85:
                clients.consume(key, quantity)
            elif act < 0.95:
                correct(chance, f"c{worker}-{step}")
            elif worker == 0:
                clients.pass_time(chance.choice([10, 40_000, 86_400 * 20]))
            elif worker == 1:
                change_limits(step)

    # A day that passes makes a key new: within one, each consumes once.
    patch_constant(monkeypatch, "shared.usage", "DAY_MS", DAY_MS * 1000)
    patch_constant(monkeypatch, "shared.usage", "DAY", DAY * 1000)
    together(work)
    kinds = clients.check(engine)
    assert kinds["corrected"] == counted["corrected"]
    assert kinds["updated"] == counted["updated"]
    assert clients.attempts(engine) == len(clients.denials)
