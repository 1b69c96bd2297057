"""Sixteen threads on a usage limit that is sharded, while its terms change, on Amazon's engine."""

import contextlib
import itertools
import random
from typing import Any

import pytest

from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import USAGE_SHARD_PREFIX, usage_key
from shared.dynamodb.requests import Accepted, Pause, Refused, Transact, Update
from shared.usage import allocation, consumption, sharded
from shared.usage.counter import Counter, UsageTerms
from shared.usage.shard import shard_of
from shared.usage.terms import new_counter, terms_update, under_terms
from tests.support.patching import patch_constant
from tests.support.seats import NOW, NOW_MS, new_id
from tests.support.tables import create_table, open_client, read_item, this_thread_as
from tests.support.threads import SEEDS, THREADS, histories, run, together

UNTIL = NOW + 10**7


@pytest.fixture(scope="module")
def dynamodb(engine: DynamoDBLocal) -> DynamoDBClient:
    return open_client(engine.url, create_table(engine.url))


@pytest.fixture(autouse=True)
def _few_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    patch_constant(monkeypatch, "shared.usage", "SHARDS", 6)


class Clients:
    """Requests of many clients on one limit, and what came of them."""

    def __init__(self, dynamodb: DynamoDBClient, cap: int) -> None:
        self.dynamodb, self.limit = dynamodb, (new_id(), "x")
        self._numbers = itertools.count()
        self.valid = UsageTerms(cap // 2, cap, "monthly", "UTC", "active", 0, UNTIL)
        self._memories = [sharded.LimitCache() for _ in range(THREADS)]
        self.offset_ms = 0
        self.answered: list[list[tuple[str, int]]] = [[] for _ in range(THREADS)]
        self.denied = 0
        dynamodb.execute(new_counter(*self.limit, self.valid, self.change()))
        dynamodb.execute(sharded.start_sharding(self.limit))

    def now_ms(self) -> int:
        return NOW_MS + self.offset_ms

    def change(self) -> Change:
        return Change("key_test", f"req-{next(self._numbers)}", self.now_ms())

    def consume(self, worker: int, key: str, quantity: int = 1) -> bool | None:
        """Whether it was granted; None: unknown, ask again."""
        operation = sharded.consume(
            *self.limit, key, quantity, self.change(), cache=self._memories[worker]
        )
        try:
            outcome: consumption.Outcome = run(self.dynamodb, operation, self.now_ms)
        except problems.HardCapReached:
            self.denied += 1
            return False
        except problems.Contention:
            return None
        if not outcome.is_replay:
            self.answered[worker].append((key, quantity))
        return True

    def set_cap(self, cap: int) -> None:
        """New terms, as a PATCH sets them."""
        self.valid = self.valid._replace(hard_cap=cap)
        while True:
            change = self.change()
            try:
                counter = run(self.dynamodb, allocation.lock(self.limit, change), self.now_ms)
            except problems.Contention:
                continue
            new = under_terms(counter, self.valid, change.now, is_renewed=False)
            write = run(self.dynamodb, terms_update(*self.limit, counter, new, change), self.now_ms)
            if write is None or isinstance(self.dynamodb.execute(Transact((write,))), Accepted):
                return

    def gathered(self) -> Counter:
        counter: Counter = run(
            self.dynamodb, allocation.rebalance(self.limit, self.change()), self.now_ms
        )
        assert counter.allocated == 0
        return counter

    def reply_to(self, request: Any) -> Any:
        return self.now_ms() if isinstance(request, Pause) else self.dynamodb.execute(request)

    def rebalance_until_its_first_transaction(self) -> tuple[Any, Transact]:
        """A rebalance that is about to send its first transaction, and that transaction."""
        operation = allocation.rebalance(self.limit, self.change())
        request: Any = next(operation)
        while not isinstance(request, Transact):
            request = operation.send(self.reply_to(request))
        return operation, request

    @property
    def consumed(self) -> int:
        return sum(quantity for each in self.answered for _, quantity in each)


def test_a_rush_takes_all_of_it_and_no_more(
    engine: DynamoDBLocal, dynamodb: DynamoDBClient
) -> None:
    """Nobody is denied while there is enough, wherever it is; and no more than the cap."""
    clients = Clients(dynamodb, 700)

    def work(worker: int) -> None:
        for number in range(60):
            key = f"w{worker:02d}n{number:04d}xxxx"
            while clients.consume(worker, key) is None:
                clients.offset_ms += 1

    together(work)
    assert clients.consumed == 700
    assert clients.denied == 16 * 60 - 700
    assert clients.gathered().used == 700
    answered = [
        version["new"]["last"]
        for version in histories(engine, dynamodb, f"USAGE#{clients.limit[0]}#")
        if version["old"] and version["old"]["seq"] != version["new"]["seq"]
    ]
    assert {each["type"] for each in answered} == {"consumed"}
    assert [sum(each[name] for each in answered) for name in ("quantity", "requests")] == [700, 700]


@pytest.mark.parametrize("seed", SEEDS[::2])
def test_terms_change_in_a_rush(engine: DynamoDBLocal, dynamodb: DynamoDBClient, seed: int) -> None:
    """Requests come, some twice, and periods begin, while the cap is changed again and again."""
    clients, chance = Clients(dynamodb, 400), random.Random(seed)
    caps = [chance.choice((150, 300, 500, 900)) for _ in range(5)]
    seeds = [chance.randrange(10**9) for _ in range(THREADS)]

    def work(worker: int) -> None:
        local = random.Random(seeds[worker])
        if worker == 0:
            for cap in caps:
                clients.set_cap(cap)
            return
        for number in range(40):
            key = f"w{worker:02d}n{number:04d}{seed:04d}"
            quantity = local.choice((1, 1, 1, 3, 8))
            for _ in range(local.choice((1, 1, 2))):
                clients.consume(worker, key, quantity)
            if local.random() < 0.05:
                clients.offset_ms += 6_000

    together(work)
    counter = clients.gathered()
    assert counter.hard_cap == caps[-1]
    # A request without an answer may have consumed all the same: ask again.
    assert counter.used >= clients.consumed
    for version in histories(engine, dynamodb, f"USAGE#{clients.limit[0]}#"):
        seen = Counter.of(version["new"])
        assert seen.allocated >= 0
        assert version["new"]["last"].get("quantity", 1) > 0, "reported twice"
        assert seen.used <= max(900, 400)
    for key, part in run(dynamodb, allocation.read_shards(clients.limit), clients.now_ms).items():
        assert part.allocated == part.counter.left == 0, key
    # And then exactly what is left, one at a time.
    left, granted = max(0, counter.left), 0
    for number in range(left + 20):
        granted += clients.consume(number % 2, f"later{seed:02d}{number:05d}") is True
    assert granted == left


def test_a_period_begins_in_a_rush(engine: DynamoDBLocal, dynamodb: DynamoDBClient) -> None:
    """Every request of the old period is reported before the new one begins; each has its own cap."""
    clients = Clients(dynamodb, 300)
    for number in range(170):
        assert clients.consume(number % THREADS, f"before{number:06d}")
    end = clients.gathered().period.end
    assert end is not None
    for number in range(20):
        assert clients.consume(number % THREADS, f"last{number:08d}")
    clients.offset_ms = end * 1000 - NOW_MS + 10

    def work(worker: int) -> None:
        for number in range(25):
            while clients.consume(worker, f"w{worker:02d}n{number:04d}mnth") is None:
                clients.offset_ms += 1

    together(work)
    counter = clients.gathered()
    assert counter.period.start == end
    assert counter.used == 300
    assert clients.consumed == 190 + 300
    versions = [
        (Counter.of(version["old"]), Counter.of(version["new"]))
        for version in histories(engine, dynamodb, f"USAGE#{clients.limit[0]}#")
        if version["old"]
    ]
    [ended] = [old for old, new in versions if old.period_number != new.period_number]
    assert (ended.used, ended.allocated) == (190, 0)


def test_a_slow_request_reports_nothing_of_the_last_period(dynamodb: DynamoDBClient) -> None:
    """It saw its shard before the others reported everything and began a period, and goes on then."""
    clients = Clients(dynamodb, 300)
    before = "before000001"
    assert clients.consume(0, before, 7)
    end = clients.gathered().period.end
    assert end is not None
    assert clients.consume(0, f"last{before[4:]}", 5)
    clients.offset_ms = end * 1000 - NOW_MS + 10
    shard = shard_of(f"last{before[4:]}")
    keys = [f"late{number:08d}" for number in range(99)]
    slow = next(key for key in keys if shard_of(key) == shard)
    other = next(key for key in keys if shard_of(key) != shard)
    operation = sharded.consume(*clients.limit, slow, 1, clients.change())
    request: Any = next(operation)
    while True:
        reply = clients.reply_to(request)
        is_shard = isinstance(request, Update) and request.key.pk.startswith(USAGE_SHARD_PREFIX)
        request = operation.send(reply)
        if is_shard:
            assert isinstance(reply, Refused)
            break
    while clients.consume(1, other) is None:
        clients.offset_ms += 1
    while True:
        try:
            request = operation.send(clients.reply_to(request))
        except StopIteration as done:
            assert done.value.consumed.quantity == 1
            break
    counter = clients.gathered()
    assert (counter.period.start, counter.used) == (end, 2)


def test_one_request_from_sixteen_threads_consumes_once(dynamodb: DynamoDBClient) -> None:
    clients = Clients(dynamodb, 300)
    together(lambda worker: [clients.consume(worker, "thesamekey12", 7) for _ in range(3)])
    assert clients.consumed == 7
    assert clients.gathered().used == 7


def test_a_limit_is_sharded_in_a_rush_and_nothing_counts_twice(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one counter to shards, with every request sent twice, some before and some after."""
    patch_constant(monkeypatch, "shared.usage", "SHARD_FROM", 100)
    patch_constant(monkeypatch, "shared.usage", "RUSH_MS", 10**6)
    limit = (new_id(), "x")
    valid = UsageTerms(5_000, 6_000, "never", "UTC", "active", 0, None)
    numbers: Any = itertools.count()

    def change() -> Change:
        return Change("key_test", f"req-{next(numbers)}", NOW_MS)

    dynamodb.execute(new_counter(*limit, valid, change()))
    assert not is_sharded(dynamodb, limit)
    memories = [sharded.LimitCache() for _ in range(THREADS)]

    def ask(worker: int, key: str) -> bool:
        while True:
            operation = sharded.consume(*limit, key, 1, change(), cache=memories[worker])
            try:
                outcome: consumption.Outcome = run(dynamodb, operation, lambda: NOW_MS)
            except problems.Contention:
                continue
            return not outcome.is_replay

    fresh = list[bool]()

    def work(worker: int) -> None:
        for number in range(20):
            key = f"w{worker:02d}n{number:04d}rush"
            first = ask(worker, key)
            fresh.append(first)
            assert not ask(worker, key), "it was consumed twice"

    together(work)
    assert is_sharded(dynamodb, limit)
    for worker in range(THREADS):
        assert not ask(worker, f"w{worker:02d}n0000rush"), "forgotten when the limit was spread"
    counter = run(dynamodb, allocation.rebalance(limit, change()), lambda: NOW_MS)
    assert counter.used == THREADS * 20


def is_sharded(dynamodb: DynamoDBClient, limit: tuple[str, str]) -> bool:
    return Counter.of(read_item(dynamodb, usage_key(*limit))).shards is not None


def test_a_new_end_reaches_every_shard(dynamodb: DynamoDBClient) -> None:
    clients = Clients(dynamodb, 5_000)
    keys = (f"end{number:09d}" for number in itertools.count())

    def ask_all() -> set[bool | None]:
        return {clients.consume(0, next(keys)) for _ in range(40)}

    clients.valid = clients.valid._replace(valid_until=NOW + 100)
    clients.set_cap(4_000)
    assert ask_all() == {True}
    clients.valid = clients.valid._replace(valid_until=NOW + 1_000)
    clients.set_cap(4_000)
    clients.offset_ms = 500_000
    assert ask_all() == {True}, "it was prolonged"
    clients.valid = clients.valid._replace(valid_until=NOW + 400)
    clients.set_cap(4_000)
    for _ in range(40):
        with pytest.raises(problems.EntitlementExpired):
            clients.consume(1, next(keys))


def test_who_was_too_slow_takes_nothing_back_any_more(dynamodb: DynamoDBClient) -> None:
    """A rebalance whose lock has expired goes on after the terms were changed."""
    clients = Clients(dynamodb, 5_000)
    for number in range(60):
        assert clients.consume(number % THREADS, f"before{number:06d}")
    slow, request = clients.rebalance_until_its_first_transaction()
    clients.offset_ms += allocation.LOCK_MS + 1
    clients.set_cap(6_000)
    reply = dynamodb.execute(request)
    assert not isinstance(reply, Accepted), "it was held by somebody else meanwhile"
    with contextlib.suppress(StopIteration):
        while True:
            reply = clients.reply_to(slow.send(reply))
    for number in range(60):
        assert clients.consume(number % THREADS, f"after{number:07d}")
    assert clients.gathered().used == 120


def test_usage_is_reported_after_a_crash_without_further_requests(dynamodb: DynamoDBClient) -> None:
    clients = Clients(dynamodb, 5_000)
    for number in range(60):
        assert clients.consume(number % THREADS, f"before{number:06d}")
    broken, request = clients.rebalance_until_its_first_transaction()
    dynamodb.execute(request)
    broken.close()
    clients.offset_ms += 60_000
    with this_thread_as("ReleaseRole"):
        run(dynamodb, allocation.reconcile(*clients.limit, clients.change()), clients.now_ms)
    counter = Counter.of(read_item(dynamodb, usage_key(*clients.limit)))
    assert (counter.used, counter.allocated) == (60, 0)
