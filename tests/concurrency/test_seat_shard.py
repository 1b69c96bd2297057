"""Sixteen threads on one seat shard, on Amazon's own engine: every invariant, after every run."""

import itertools
import random
import threading
import time
from collections import Counter, defaultdict
from typing import Any

import pytest

from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.audit import Change
from shared.clock import from_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import seat_shard_key
from shared.dynamodb.marshalling import item_from_wire
from shared.dynamodb.requests import Accepted, Transact
from shared.seats import activation
from shared.seats.encoding import GrantIds, decode_grant
from shared.seats.holder import Holder
from shared.seats.leases import sweep_shard
from shared.seats.pending import ActivationResult
from shared.seats.release import release_grant
from shared.seats.shard import CLOCK_GRACE
from shared.seats.terms import SeatTerms, shard_terms_update
from tests.support.seats import NOW_MS, make_shard, new_id, read_shard_item, terms
from tests.support.tables import create_table, open_client
from tests.support.threads import SEEDS, THREADS, Grants, history, run, together


@pytest.fixture(scope="module")
def dynamodb(engine: DynamoDBLocal) -> DynamoDBClient:
    return open_client(engine.url, create_table(engine.url))


class Clients:
    """Calls of many clients at once, and their answers."""

    def __init__(self, dynamodb: DynamoDBClient, entitlement_id: str) -> None:
        self.dynamodb = dynamodb
        self.entitlement_id = entitlement_id
        self._offset_ms = 0
        self._grant_ids = [GrantIds(salt) for salt in range(THREADS)]
        self._numbers = itertools.count()
        self._started = time.monotonic()
        self.grants: list[ActivationResult] = []
        self.denials: list[tuple[str, problems.HardCapReached]] = []
        self.contentions = 0

    def now_ms(self) -> int:
        return NOW_MS + self._offset_ms + int((time.monotonic() - self._started) * 1000)

    def pass_time(self, seconds: int) -> None:
        self._offset_ms += seconds * 1000

    def change(self) -> Change:
        return Change("key_test", f"req-{next(self._numbers)}", self.now_ms())

    def take(self, worker: int, seat_id: str, *, hint: bool = False) -> ActivationResult | None:
        change = self.change()
        grant_id = self._grant_ids[worker].next(change.now_ms)
        operation = activation.take(
            self.entitlement_id, Holder(seat_id), change, grant_id, expect_overdraft=hint
        )
        try:
            grant: ActivationResult = self.run(operation)
        except problems.HardCapReached as denied:
            self.check_denial(denied, change.now)
            self.denials.append((seat_id, denied))
            return None
        except problems.Contention:
            self.contentions += 1
            return None
        self.grants.append(grant)
        return grant

    def check_denial(self, denied: problems.HardCapReached, asked_at: int) -> None:
        """No seat was free, and none that a lease gave back already when it was asked for."""
        seats, expiry = denied.extensions["seats"], denied.extensions["nextLeaseExpiry"]
        assert seats["used"] >= seats["hardCap"], "denied although a seat was free"
        if expiry is not None and seats["used"] == seats["hardCap"]:
            ends = from_rfc3339(expiry)
            assert ends + CLOCK_GRACE > asked_at, "denied although a lease had run out"

    def release(self, named: str) -> bool:
        try:
            return bool(self.run(release_grant(self.entitlement_id, named, self.change())))
        except problems.Contention:
            self.contentions += 1
            return False

    def run(self, operation: Any) -> Any:
        return run(self.dynamodb, operation, self.now_ms)


def check_history(versions: list[dict[str, Any]]) -> Counter[str]:
    """Invariants 1, 3 and 4 on every version there ever was; how often each change occurred."""
    kinds: Counter[str] = Counter()
    seq = 0
    for version in versions:
        old, new = version["old"], version["new"]
        if old is not None and old["seq"] == new["seq"]:
            assert old["seats"] == new["seats"], "seats changed without a new version"
            continue
        assert new["seq"] == seq + 1, "a version is missing, or counted twice"
        seq = new["seq"]
        kinds[new["last"]["type"]] += 1
        before = old["seats"] if old else {}
        used = len(new["seats"])
        if set(new["seats"]) - set(before):
            assert used <= new["hardCap"], f"{used} seats held under a cap of {new['hardCap']}"
        for key, value in new["seats"].items():
            seat = decode_grant(value)
            if key not in before:
                is_over = used > new["seatCount"]
                assert seat.is_overdraft == is_over, "overdraft was not decided at the grant"
            elif before[key] != value:
                was = decode_grant(before[key])
                assert (was.grant_id, was.is_overdraft) == (seat.grant_id, seat.is_overdraft)
    return kinds


def attempts_on_record(engine: DynamoDBLocal, dynamodb: DynamoDBClient, entitlement_id: str) -> int:
    found = engine.client().get_paginator("scan").paginate(TableName=dynamodb.name)
    items = [item_from_wire(item) for shard in found for item in shard["Items"]]
    return sum(
        item["attempts"] for item in items if item["pk"].startswith(f"DENIAL#{entitlement_id}#")
    )


def test_a_rush_on_100_of_120(engine: DynamoDBLocal, dynamodb: DynamoDBClient) -> None:
    """160 people, all at once: 100 within, 20 overdraft, 40 denied, every count taken once."""
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(100, 120))
    clients = Clients(dynamodb, entitlement_id)
    people = [f"user{number}" for number in range(160)]

    def work(worker: int) -> None:
        for seat_id in people[worker::THREADS]:
            clients.take(worker, seat_id, hint=worker % 2 == 0)

    together(work)
    within = [grant.shard.used for grant in clients.grants if not grant.held.is_overdraft]
    overdraft = [grant.shard.used for grant in clients.grants if grant.held.is_overdraft]
    assert sorted(within) == list(range(1, 101))
    assert sorted(overdraft) == list(range(101, 121))
    assert len(clients.denials) == 40
    assert all(denied.extensions["seats"]["used"] == 120 for _, denied in clients.denials)
    assert clients.contentions == 0
    assert attempts_on_record(engine, dynamodb, entitlement_id) == 40
    kinds = check_history(history(engine, dynamodb, seat_shard_key(entitlement_id)))
    assert kinds == {"created": 1, "activated": 120}


def test_one_person_from_sixteen_threads_takes_one_seat(
    engine: DynamoDBLocal, dynamodb: DynamoDBClient
) -> None:
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(100, 120, lease=3600))
    clients = Clients(dynamodb, entitlement_id)
    together(lambda worker: [clients.take(worker, "alice") for _ in range(5)])
    assert len(clients.grants) == 80
    assert len({grant.held.grant_id for grant in clients.grants}) == 1
    assert sum(grant.is_new for grant in clients.grants) == 1
    assert len(read_shard_item(dynamodb, entitlement_id)["seats"]) == 1


def after_a_crash(dynamodb: DynamoDBClient, valid: SeatTerms, ghosts: int) -> Clients:
    """Clients of a shard on which so many seats are held by nobody, their leases expired."""
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, valid)
    clients = Clients(dynamodb, entitlement_id)
    for number in range(ghosts):
        assert clients.take(0, f"ghost{number}")
    clients.pass_time(700)
    clients.grants.clear()
    return clients


@pytest.mark.parametrize("ghosts", [60, 110, 120])
def test_stale_seats_are_reclaimed_before_anything_is_overdraft(
    engine: DynamoDBLocal, dynamodb: DynamoDBClient, ghosts: int
) -> None:
    """All clients crash; the next rush gets the same 100 and 20, and no stale seat stays."""
    clients = after_a_crash(dynamodb, terms(100, 120, lease=600), ghosts)
    people = [f"user{number}" for number in range(128)]

    def work(worker: int) -> None:
        for seat_id in people[worker::THREADS]:
            clients.take(worker, seat_id, hint=worker % 2 == 0)

    together(work)
    overdraft = [grant for grant in clients.grants if grant.held.is_overdraft]
    assert (len(clients.grants), len(overdraft)) == (120, 20)
    assert len(clients.denials) == 8
    check_history(history(engine, dynamodb, seat_shard_key(clients.entitlement_id)))


@pytest.mark.parametrize("seed", SEEDS)
def test_all_reclaim_the_same_seats_at_once(
    engine: DynamoDBLocal, dynamodb: DynamoDBClient, seed: int
) -> None:
    """Sixteen threads all see the same six stale seats; only six of them may have one."""
    clients = after_a_crash(dynamodb, terms(4, 6, lease=600), 6)
    together(lambda worker: clients.take(worker, f"{seed}-{worker}", hint=worker % 2 == 0))
    overdraft = [grant for grant in clients.grants if grant.held.is_overdraft]
    assert (len(clients.grants), len(overdraft)) == (6, 2)
    assert len(clients.denials) + clients.contentions == 10
    check_history(history(engine, dynamodb, seat_shard_key(clients.entitlement_id)))


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_at_once(engine: DynamoDBLocal, dynamodb: DynamoDBClient, seed: int) -> None:
    """Activations, renewals, releases, crashes, expiries, the sweep and changes of limits."""
    entitlement_id = new_id()
    limits = [(100, 120), (110, 128), (60, 70), (100, 120)]
    make_shard(dynamodb, entitlement_id, terms(*limits[0], lease=300))
    clients = Clients(dynamodb, entitlement_id)
    counted: dict[str, int] = defaultdict(int)
    lock = threading.Lock()

    def work(worker: int) -> None:
        chance = random.Random(seed * 1000 + worker)
        mine = Grants()
        for step in range(30):
            act = chance.random()
            seat_id = f"w{worker}-{chance.randrange(12)}"
            if act < 0.62:
                mine.add(seat_id, clients.take(worker, seat_id, hint=chance.random() < 0.3))
            elif act < 0.85 and mine:
                if clients.release(mine.any(chance)):
                    with lock:
                        counted["released"] += 1
            elif act < 0.92 and worker == 0:
                clients.pass_time(chance.choice([10, 160, 320]))
            elif act < 0.96:
                clients.run(sweep_shard(seat_shard_key(entitlement_id), clients.change()))
            elif worker == 1:
                valid = terms(*limits[step % 4], lease=chance.choice([300, 120]))
                write = shard_terms_update(
                    entitlement_id, valid, clients.change(), lease_changed=True
                )
                reply = dynamodb.execute(Transact((write,)))
                if isinstance(reply, Accepted):
                    with lock:
                        counted["updated"] += 1

    together(work)
    kinds = check_history(history(engine, dynamodb, seat_shard_key(entitlement_id)))
    assert kinds["released"] == counted["released"]
    assert kinds["updated"] == counted["updated"]
    new = [grant for grant in clients.grants if grant.is_new]
    assert kinds["activated"] == len(new), "a grant was written and nobody was told"
    assert len({(grant.key, grant.held.grant_id) for grant in new}) == len(new)
    denied = attempts_on_record(engine, dynamodb, entitlement_id)
    assert denied == len(clients.denials)
    shard = read_shard_item(dynamodb, entitlement_id)
    ends = [decode_grant(value).lease_end for value in shard["seats"].values()]
    if ends:
        grace = CLOCK_GRACE
        assert shard["earliest"] <= min(end for end in ends if end is not None) + grace
