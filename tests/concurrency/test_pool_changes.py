"""Limits of a pool change while sixteen threads take and give back its seats, on Amazon's engine."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from local.dynamodb import DynamoDBLocal
from shared import ledger, pool, pool_changes, problems, table
from shared.ledger import Change, Holder, Page, Stamps, Terms
from shared.pool import Memory
from shared.table import Accepted, Steps, Table, Transact
from tests.concurrency.threads import SEEDS, THREADS, Grants, histories, run, together
from tests.support import NOW_MS, create_table, delete_table, new_id, open_door, terms

# Each is a life of one pool: its hard caps one after another, None: unlimited. Pages of 96 seats
# would need thousands of calls: here they have 6, and the only one 8.
LIVES = (
    (5, 30, 12, 60, 20, 8, 4, 50),
    (20, 4, None, 40, 7, None, 9),
    (200, 10, 200),
)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PAGE_MEAN", 6)
    monkeypatch.setattr(pool_changes, "PAGE_SEATS", 8)


@pytest.fixture
def door(dynamodb: DynamoDBLocal) -> Iterator[Table]:
    """A table for each: its whole stream is read."""
    name = create_table(dynamodb.url)
    yield open_door(dynamodb.url, name)
    delete_table(dynamodb.url, name)


class Life:
    """A pool, its vendor, and clients."""

    def __init__(self, door: Table, valid: Terms) -> None:
        self.door, self.owner, self.terms = door, new_id(), valid
        self._numbers = itertools.count()
        self._stamps = [Stamps(salt) for salt in range(THREADS)]
        self._memories = [Memory() for _ in range(THREADS)]
        self.offset_ms = 0
        self.errors: list[str] = []
        change = self.change()
        writes = [ledger.new_page(self.owner, valid, change)]
        if pool_changes.is_needed(valid):
            writes.append(pool_changes.new_pool(self.owner, change))
        door.execute(Transact(tuple(writes)))
        self.tend()

    def now_ms(self) -> int:
        """A little later at every look: work that gets nowhere runs out of time."""
        self.offset_ms += 1
        return NOW_MS + self.offset_ms

    def change(self) -> Change:
        return Change("key_test", f"req-{next(self._numbers)}", self.now_ms())

    def tend(self, seconds: int = 60) -> bool:
        until = self.now_ms() + seconds * 1000
        done: bool = run(
            self.door, pool_changes.tend(self.owner, self.change(), until), self.now_ms
        )
        return done

    def tend_all(self, chance: random.Random, step_ms: int) -> None:
        """Until it is done, with much time or little."""
        for _ in range(1000):
            if self.tend(seconds=chance.choice((1, 60))):
                return
            self.offset_ms += step_ms
        pytest.fail("the work on a pool does not end")

    def set_terms(self, valid: Terms, kind: str = "updated") -> None:
        run(self.door, self._set_terms(valid, kind), self.now_ms)

    def _set_terms(self, valid: Terms, kind: str) -> Steps[None]:
        for attempt in range(1, 40):
            page = Page.of((yield table.Get(table.ledger_key(self.owner))))
            change = self.change()
            if kind == "updated":
                writes = yield from pool_changes.change_terms(
                    self.owner, page, valid, change, lease_changed=self.terms.lease != valid.lease
                )
            else:
                writes = yield from pool_changes.take_away(self.owner, page, valid, change, kind)
            if isinstance((yield Transact(tuple(writes))), Accepted):
                self.terms = valid
                return
            yield table.Pause(attempt)
        raise problems.Contention

    def take(self, worker: int, seat_id: str) -> pool.Grant | None:
        change = self.change()
        operation = pool.take(
            self.owner, Holder(seat_id), change, self._stamps[worker].next(change.now_ms),
            memory=self._memories[worker] if worker % 2 else None,
        )  # fmt: skip
        try:
            grant: pool.Grant = run(self.door, operation, self.now_ms)
        except problems.HardCapReached:
            return None
        return grant

    def release(self, worker: int, named: str) -> bool:
        memory = self._memories[worker] if worker % 2 else None
        operation = pool.release(self.owner, named, self.change(), memory=memory)
        released: bool = run(self.door, operation, self.now_ms)
        return released

    def state(self) -> dict[str, Any]:
        return self.door.execute(table.Get(table.pool_key(self.owner))) or {}

    def pages(self) -> list[tuple[table.Key, Page]]:
        first = self.door.execute(table.Get(table.ledger_key(self.owner)))
        count = first.get("pages") or 1
        step = ledger.PARTS // count
        keys = tuple(table.ledger_key(self.owner, n * step) for n in range(count))
        found = self.door.execute(table.BatchGet(keys))
        return [(key, Page.of(item)) for key, item in found.items()]

    def held(self) -> int:
        return sum(page.used for _, page in self.pages())

    def check(self) -> None:
        """What must hold when nothing is under way."""
        state, pages = self.state(), self.pages()
        cap = self.terms.hard_cap
        used = sum(page.used for _, page in pages)
        count = len(pages)
        keys = [key for _, page in pages for key in page.seats]
        assert len(keys) == len(set(keys))
        assert not state.get("isPending")
        assert not state.get("step")
        if count == 1:
            assert not state.get("pages")
            [(_, page)] = pages
            assert (page.seat_count, page.hard_cap) == (self.terms.seat_count, cap)
            return
        assert state["pages"] == count
        allowed = sum(page.allowance or 0 for _, page in pages)
        assert allowed + state["bank"] == pool_changes.escrow(cap), "allowance was lost, or made"
        for key, page in pages:
            assert page.used <= (page.allowance or 0)
            for held in page.seats:
                assert ledger.Place.of(self.owner, held, count).key == key
        assert (state["bank"] < 0) == (cap is not None and used > cap)
        assert all(page.is_frozen == bool(state.get("isFrozen")) for _, page in pages)
        assert bool(state.get("isFrozen")) == (state["bank"] < 0)


@pytest.mark.parametrize("seed", SEEDS[::4])  # each life is thousands of calls
@pytest.mark.parametrize("caps", LIVES)
def test_limits_change_while_seats_come_and_go(
    dynamodb: DynamoDBLocal, door: Table, caps: tuple[int | None, ...], seed: int
) -> None:
    """No seat above the higher one of both caps on the way, and then exactly the new one."""
    life = Life(door, terms(3, caps[0], lease=3600))
    chance = random.Random(seed)
    people = [f"user{number}" for number in range(240)]
    grants = [Grants() for _ in range(THREADS)]
    for before, cap in itertools.pairwise(caps):
        start, most = life.held(), max(pool_changes.escrow(each) for each in (before, cap))
        seeds = [chance.randrange(10**9) for _ in range(THREADS)]

        def work(worker: int) -> None:
            local = random.Random(seeds[worker])  # noqa: B023 - used before the next round
            if worker == 0:
                life.set_terms(terms(3, cap, lease=3600))  # noqa: B023
                life.tend_all(local, step_ms=5)
                return
            for _ in range(8):
                if local.random() < 0.7 or not grants[worker]:
                    seat_id = people[worker * 15 + local.randrange(15)]
                    grants[worker].add(seat_id, life.take(worker, seat_id))
                else:
                    life.release(worker, grants[worker].any(local))

        together(work)
        life.tend_all(chance, step_ms=60_000)
        life.check()
        assert life.held() <= max(most, start)
        if cap is None:
            continue
        # Fill it up: exactly the cap, or nobody where more are held.
        held = life.held()
        new = 0
        for number in range(cap + 20):
            grant = life.take(number % 2, f"late-{number}-{cap}-{seed}")
            new += int(grant is not None and grant.is_new)
        assert new == max(0, cap - held), "more or fewer than the new cap"
        life.check()
    granted: dict[str, int] = {}
    for version in histories(dynamodb, door, f"LEDGER#{life.owner}#"):
        old, new_image = version["old"], version["new"]
        if new_image.get("allowance") is not None:
            assert len(new_image["seats"]) <= new_image["allowance"]
        if old is None or old["seq"] == new_image["seq"]:
            continue
        kind = new_image["last"]["type"]
        assert new_image["seq"] > old["seq"]
        if kind != "moved":
            assert new_image["seq"] == old["seq"] + 1
        granted[kind] = granted.get(kind, 0) + 1
    assert granted["moved"] > 1


def test_a_pool_is_closed_and_opened_again(door: Table) -> None:
    life = Life(door, terms(20, 40, lease=3600))
    for number in range(30):
        assert life.take(number % 2, f"user{number}")
    life.set_terms(terms(20, 10, lease=3600))
    assert life.tend()
    life.check()
    assert life.state()["bank"] == -20
    life.set_terms(life.terms, "expired")
    assert life.tend()
    assert life.held() == 0
    with pytest.raises(problems.EntitlementExpired):
        life.take(0, "user1")
    life.set_terms(terms(20, 12, lease=7200))
    assert life.tend()
    life.check()
    assert sum(life.take(number % 2, f"user{number}") is not None for number in range(20)) == 12


def test_leases_that_run_out_on_frozen_pages_pay_the_debt(door: Table) -> None:
    life = Life(door, terms(20, 40, lease=300))
    for number in range(40):
        assert life.take(number % 2, f"user{number}")
    life.set_terms(terms(20, 25, lease=300))
    assert life.tend()
    life.check()
    assert life.take(0, "one too many") is None
    life.offset_ms += 306_000
    new = sum(life.take(number % 2, f"later{number}") is not None for number in range(40))
    assert new == 25
    assert life.tend()
    life.check()
