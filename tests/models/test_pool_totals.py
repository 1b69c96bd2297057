"""The totals of a pool: whatever order, duplicates and gaps the stream has, each change is reported once."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.dynamodb import DynamoDBLocal
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    DENIAL_PREFIX,
    SEAT_SHARD_PREFIX,
    SEATS,
    TOTALS_PREFIX,
    change_key,
    seat_usage_key,
    totals_key,
)
from shared.dynamodb.requests import BatchPut, Item
from shared.history.changes import ChangeRecord
from shared.history.queries import latest_bucket
from shared.seats import totals
from shared.seats.encoding import activation_id
from shared.seats.totals import CHANGES_PER_WRITE, SEATS_PER_WRITE, ShardVersion
from tests.support.life import all_items, read_stream, strip
from tests.support.notifier import Notifier
from tests.support.pools import PoolLife, shrink_shards
from tests.support.sampling import IS_SOAK, sampled
from tests.support.seats import terms
from tests.support.tables import (
    Crash,
    create_table,
    delete_table,
    faulty_client,
    open_client,
    read_item,
)

# --- The totals as a plain function ---------------------------------------------------------------

PAGES = (0, 2048, 4096)
FIRST: Item = {
    "rev": 1,
    "seq": 7,
    "used": 2,
    "at": 1000,
    "told": [],
    "missing": [],
    "limitsFrom": 7,
    "cursors": {"0000": 7 * 1_000_000 + 500_002},
}


def versions_of(steps: Sequence[tuple[int, int]]) -> list[ShardVersion]:
    """Versions of three shards; a step is a shard and by how much what it holds changes."""
    seqs, held = {0: 7, 2048: 0, 4096: 0}, {0: 2, 2048: 0, 4096: 0}
    answered = []
    for number, (index, delta) in enumerate(steps):
        shard = PAGES[index]
        held[shard] += delta
        change = {"at": 1000 + number, "name": number, "delta": delta} if delta else None
        seq = seqs[shard] + (1 if number % 5 else 9)  # numbers are left out where seats are moved
        answered.append(ShardVersion(shard, seq, seqs[shard], held[shard], change))
        seqs[shard] = seq
    return answered


STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from((-2, -1, 0, 1, 1, 2))), max_size=200)


def count_all(item: Item, versions: Sequence[ShardVersion]) -> Iterator[Item]:
    """Every version of the totals that counting makes."""
    left = list(versions)
    while left:
        after, taken = totals.apply_versions(item, left)
        assert taken > 0
        left = left[taken:]
        if after["rev"] != item["rev"]:
            assert after["rev"] == item["rev"] + 1
            assert after["seq"] == item["seq"] + len(after["told"])
            assert len(after["told"]) <= CHANGES_PER_WRITE
            yield after
        item = after


def test_one_write_reports_no_more_seats_than_an_item_can_have() -> None:
    """The end of a pool takes away all seats of a shard in one version: 100 bytes for each."""
    seats = [{"kind": "deactivated", "key": "x" * 12, "reason": "removed"}] * 96
    versions = [
        ShardVersion(shard, 1, 0, 0, {"at": 1000, "type": "expired", "seats": seats})
        for shard in range(1, 65)
    ]
    written = list(count_all(FIRST, versions))
    assert len(written) > 4
    assert sum(len(item["told"]) for item in written) == 64
    for item in written:
        assert sum(len(answered["seats"]) for answered in item["told"]) <= SEATS_PER_WRITE + 96
    alone = list(count_all(FIRST, [ShardVersion(1, 1, 0, 0, {"at": 1, "seats": seats * 20})]))
    assert len(alone) == 1, "a version of more seats is told by itself"


@given(steps=STEPS, seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_included_once_in_any_order(steps: list[tuple[int, int]], seed: int) -> None:
    """Shards come in any order, and what came may come again; some are given up and come last."""
    chance = random.Random(seed)
    answered = versions_of(steps)
    given_up = [each for each in answered if chance.random() < 0.1]
    queues = [
        [each for each in answered if each.shard == shard and each not in given_up]
        for shard in PAGES
    ]
    line: list[ShardVersion] = []
    while any(queues):
        queue = chance.choice([each for each in queues if each])
        line.append(queue.pop(0))
        if chance.random() < 0.1:  # Lambda hands over the last few again
            line += [each for each in line[-5:] if each.shard == line[-1].shard]
    late = [*given_up, *given_up]
    chance.shuffle(late)
    item, names = FIRST, list[int]()
    for batch in (line, late, answered):
        for after in count_all(item, batch):
            assert after["at"] >= item["at"]
            used = item["used"]
            for each in after["told"]:
                names.append(each["name"])
            if batch is line and not given_up:
                for each in after["told"]:
                    used += each["delta"]
                    assert each["used"] == used
            item = after
    assert sorted(names) == sorted(each.change["name"] for each in answered if each.change)
    assert item["used"] == 2 + sum(delta for _, delta in steps)
    assert item["missing"] == []


# --- The totals of a pool that lives, on Amazon's engine ---------------------------------------------

HAS_TOTALS = (SEAT_SHARD_PREFIX, TOTALS_PREFIX, DENIAL_PREFIX)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_shards(monkeypatch)


class Lived(PoolLife):
    """A pool that becomes large and small again, and the answers of its clients."""

    def __init__(self, dynamodb: DynamoDBClient, url: str, seed: int, steps: int) -> None:
        self.url, self._chance = url, random.Random(seed)
        self.granted = set[tuple[str, int]]()
        self.given_back = set[tuple[str, int]]()
        self.denied = 0
        super().__init__(dynamodb, terms(3, 5, lease=7 * 86_400))
        caps = (5, 24, 14, 60, 4, 30, None, 7)
        for cap in caps:
            while cap == 7 and len(self.granted) - len(self.given_back) > cap:
                self._give_back()
            if cap != 5:
                self.set_terms(terms(3, cap, lease=7 * 86_400))
                self.reconcile_all(self._chance, step_ms=5)
            for _ in range(steps):
                self.offset_ms += self._chance.choice((10, 2_000, 400_000))
                self._step()

    def _step(self) -> None:
        if self._chance.random() < 0.7 or len(self.granted) == len(self.given_back):
            grant = self.take(self._chance.randrange(2), f"user{self._chance.randrange(50)}")
            if grant is None:
                self.denied += 1
            elif grant.is_new:
                self.granted.add((grant.key, grant.held.grant_id))
        else:
            self._give_back()

    def _give_back(self) -> None:
        key, grant_id = self._chance.choice(sorted(self.granted - self.given_back))
        assert self.release(self._chance.randrange(2), activation_id(key, grant_id))
        self.given_back.add((key, grant_id))


@pytest.fixture(scope="module")
def lived(engine: DynamoDBLocal) -> Lived:
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink_shards(monkeypatch)
        name = create_table(engine.url)
        return Lived(open_client(engine.url, name), engine.url, seed=3, steps=14)


class Delivery:
    """A copy of a life's table, to which its stream is delivered, and then what that leads to."""

    def __init__(self, lived: Lived) -> None:
        self.lived = lived
        self.name = create_table(lived.url)
        self.dynamodb = open_client(lived.url, self.name)
        items = all_items(lived.url, lived.dynamodb.name)
        self.dynamodb.execute(BatchPut(tuple((k, strip(item)) for k, item in items.items())))
        self.records = self._stream(lived.dynamodb.name)
        self._seen = len(self._stream(self.name))
        self.notifier = Notifier(self.dynamodb, now_ms=lived.now_ms())

    def _stream(self, name: str) -> list[dict[str, Any]]:
        return read_stream(self.lived.url, name, HAS_TOTALS)

    def finish(self) -> None:
        """Deliver what the totals have reported since."""
        while True:
            new = self._stream(self.name)[self._seen :]
            if not new:
                return
            self._seen += len(new)
            self.notifier.deliver_all(new)

    def check(self) -> None:
        """Everything that was granted and released is on record, once, and the totals are right."""
        lived, entitlement_id = self.lived, self.lived.entitlement_id
        held = lived.held()
        sums = read_item(self.dynamodb, totals_key(entitlement_id))
        seat_usage = read_item(self.dynamodb, seat_usage_key(entitlement_id))
        assert (sums["used"], sums["missing"]) == (held, [])
        assert (seat_usage["used"], seat_usage["rev"]) == (held, sums["rev"])
        pk = change_key(entitlement_id, 0, 0).pk
        changes = sorted(
            (ChangeRecord.of(i) for k, i in all_items(lived.url, self.name).items() if k.pk == pk),
            key=lambda change: change.seq,
        )
        assert [change.seq for change in changes] == list(range(1, sums["seq"] + 1))
        seats: dict[str, list[tuple[str, int]]] = {"activated": [], "deactivated": []}
        for change in changes:
            for seat in change.seats:
                if seat["kind"] != "renewed":
                    seats[seat["kind"]].append((seat["key"], seat["stamp"]))
        assert sorted(seats["activated"]) == sorted(lived.granted)
        assert sorted(seats["deactivated"]) == sorted(lived.given_back)
        latest = self.dynamodb.run(latest_bucket(entitlement_id, SEATS))
        assert latest is not None
        assert (latest.seq, latest.level.used) == (sums["seq"], held)
        assert (latest.level.purchased, latest.level.hard_cap) == (3, 7)
        events = {event["id"]: event["type"] for event in self.notifier.recorder.events}
        count = list(events.values()).count
        assert count("entitlement.seat.activated") == len(lived.granted)
        assert count("entitlement.seat.deactivated") == len(lived.given_back)
        assert count("entitlement.seat.denied") == lived.denied

    def check_line(self) -> None:
        """Where nothing was given up, every change goes on where the one before it ended."""
        pk = change_key(self.lived.entitlement_id, 0, 0).pk
        items = all_items(self.lived.url, self.name).items()
        changes = sorted((ChangeRecord.of(i) for k, i in items if k.pk == pk), key=lambda c: c.seq)
        used = 0
        for change in changes:
            kinds = [seat["kind"] for seat in change.seats]
            used += kinds.count("activated") - kinds.count("deactivated")
            assert change.level.used == used, change

    def drop(self) -> None:
        delete_table(self.lived.url, self.name)


def test_a_life_has_everything(lived: Lived) -> None:
    assert lived.denied > 5
    assert len(lived.given_back) > 15
    kinds = [each["dynamodb"]["NewImage"] for each in read_stream(lived.url, lived.dynamodb.name)]
    assert sum("isSummed" not in each for each in kinds) > 5, "it was one page before any sum"
    assert len(lived.shard_count()) == 1, "and is one page again"


@pytest.mark.parametrize("size", [1, 7, 100] if IS_SOAK else [1, 100])
def test_delivered_once(lived: Lived, size: int) -> None:
    delivery = Delivery(lived)
    delivery.notifier.deliver_all(delivery.records, size)
    delivery.finish()
    delivery.check()
    delivery.check_line()
    delivery.drop()


@pytest.mark.parametrize("seed", [1, 2] if IS_SOAK else [1])
def test_delivered_again_and_late(lived: Lived, seed: int) -> None:
    """Batches come twice; some records are given up, and replayed at the end, the last first."""
    chance = random.Random(seed)
    delivery = Delivery(lived)
    lost = [each for each in delivery.records[1:] if chance.random() < 0.1 and is_of_a_page(each)]
    rest = [each for each in delivery.records if each not in lost]
    for start in range(0, len(rest), 6):
        for _ in range(2):
            delivery.notifier.deliver_all(rest[start : start + 6], 4)
        if chance.random() < 0.3:
            delivery.finish()
    delivery.finish()
    for record in reversed(lost):
        delivery.notifier.deliver_all([record])
        if chance.random() < 0.3:
            delivery.finish()
    delivery.notifier.deliver_all(delivery.records)
    delivery.finish()
    delivery.check()
    delivery.drop()


def is_of_a_page(record: dict[str, Any]) -> bool:
    return bool(record["dynamodb"]["Keys"]["pk"]["S"].startswith(SEAT_SHARD_PREFIX))


@pytest.mark.parametrize("kind", ["after", "lost"])
def test_a_failure_at_every_call(engine: DynamoDBLocal, kind: str) -> None:
    """The totals are right after any crash and any lost answer, and so is what follows from it."""
    name = create_table(engine.url)
    short = Lived(open_client(engine.url, name), engine.url, seed=5, steps=3)
    whole = Delivery(short)
    broken = faulty_client(short.url, whole.name)
    Notifier(broken).deliver_all(whole.records, 20)
    calls = broken.calls
    whole.drop()
    assert calls > 30
    first = 0 if IS_SOAK else 36 * ("after", "lost").index(kind)
    for point in sampled(range(first, calls), 72):
        delivery = Delivery(short)
        dynamodb = faulty_client(short.url, delivery.name)
        dynamodb.fault = (point, kind)
        try:
            Notifier(dynamodb, delivery.notifier.recorder, now_ms=short.now_ms()).deliver_all(
                delivery.records, 20
            )
            assert kind == "lost"
        except Crash:
            delivery.notifier.deliver_all(delivery.records, 20)
        delivery.finish()
        delivery.check()
        delivery.drop()
