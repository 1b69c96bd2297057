"""Finding, listing and taking seats while they move between shards, one request at a time."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from shared import problems
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    holder_list,
    holder_sort,
    person_key,
    pool_key,
    seat_record_key,
    seat_shard_key,
)
from shared.dynamodb.requests import Item, Put
from shared.seats import activation, lookup, reconcile
from shared.seats.encoding import activation_id, decode_grant, seat_key
from shared.seats.held_seats import find_held_seats, held_seats
from shared.seats.holder import Holder
from shared.seats.lookup import SHARD_LOCK_MS, read_shard_of
from shared.seats.placement import Place
from shared.seats.resharding import lock_shard_update
from shared.seats.shard import SeatShard
from shared.texts import folded
from tests.support.pools import CLIENTS, PoolLife, shrink_shards
from tests.support.sampling import sampled
from tests.support.seats import terms
from tests.support.tables import interrupted_client, read_item, this_thread_as


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_shards(monkeypatch)
    monkeypatch.setattr("shared.dynamodb.client.backoff_seconds", lambda _: 0)


def reconcile_pool(life: PoolLife, url: str, before: Callable[[int], None]) -> bool:
    """Run the reconciler, and something else before each of its requests; whether it is done."""
    client = interrupted_client(url, life.dynamodb.name, lambda number, _: before(number))
    client.role = "ReleaseRole"
    until = life.now_ms() + 60_000
    work = reconcile.reconcile_pool(life.entitlement_id, life.change(), until)
    return client.run(work, life.now_ms)


def people_with_seats(life: PoolLife, count: int) -> list[str]:
    people = [f"user{number:02d}" for number in range(count)]
    for each in people:
        grant = life.take(0, each)
        assert grant
        # What the stream writes: how a person's seat is shown, and the list of holders.
        place = {
            "listKey": holder_list(life.entitlement_id),
            "listSort": holder_sort(folded(each), grant.key),
        }
        life.dynamodb.execute(Put(person_key(each, life.entitlement_id), place))
        record: Item = {"seatId": each, "stamp": grant.held.grant_id}
        life.dynamodb.execute(Put(seat_record_key(life.entitlement_id, grant.key), record))
    return people


def keys_of(life: PoolLife, people: list[str]) -> set[str]:
    return {seat_key(life.entitlement_id, each) for each in people}


def listed(life: PoolLife, first: SeatShard, limit: int, text: str | None = None) -> list[str]:
    """Seat keys of all pages, read with the first shard as it was at the beginning."""
    found, start = list[str](), None
    for _ in range(100):
        if text is None:
            operation = held_seats(life.entitlement_id, first, limit, start)
        else:
            operation = find_held_seats(life.entitlement_id, first, text, limit, start)
        page = life.dynamodb.run(operation, life.now_ms)
        found += [str(each["seatKey"]) for each in page.items]
        start = page.next
        if start is None:
            return found
    pytest.fail("a list without an end")


SIZES = {"split": (8, 40), "more": (18, 60), "fewer": (60, 18), "merged": (40, 8)}
HELD = 7


@pytest.mark.parametrize("sizes", SIZES)
def test_every_seat_is_found_and_listed_at_every_step_of_the_work(
    dynamodb: DynamoDBClient, engine_url: str, sizes: str
) -> None:
    """Whichever shard has a seat, and however old the first shard is that a reader knows."""
    before, after = SIZES[sizes]
    life = PoolLife(dynamodb, terms(3, before))
    people = people_with_seats(life, HELD)
    keys = keys_of(life, people)
    first = SeatShard.of(read_item(dynamodb, seat_shard_key(life.entitlement_id)))
    counts = set[int | None]()

    def look(_: int) -> None:
        for key in keys:
            shard = dynamodb.run(read_shard_of(life.entitlement_id, key), life.now_ms)
            assert key in shard.seats
            counts.add(shard.shard_count)
        assert set(listed(life, first, 3, "user")) == keys
        now = SeatShard.of(read_item(dynamodb, seat_shard_key(life.entitlement_id)))
        assert sorted(keys) == sorted(listed(life, now, 2))

    life.set_terms(terms(3, after))
    assert reconcile_pool(life, engine_url, look)
    assert len(counts) > 1, "no seat moved"
    look(0)
    life.check()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("is_locked_long", [False, True], ids=["briefly", "for-too-long"])
def test_requests_wait_for_seats_that_are_moved(
    dynamodb: DynamoDBClient, sizes: str, is_locked_long: bool
) -> None:
    """A lock is honoured for three seconds: then its process has ended."""
    life = PoolLife(dynamodb, terms(3, SIZES[sizes][0]))
    people = people_with_seats(life, HELD)
    for key, _ in life.shard_count():
        dynamodb.execute(lock_shard_update(key, life.now_ms()))
    if is_locked_long:
        life.offset_ms += SHARD_LOCK_MS
    held = seat_key(life.entitlement_id, people[0])
    operations = (
        lambda: read_shard_of(life.entitlement_id, held),
        lambda: activation.take(life.entitlement_id, Holder("new"), life.change(), 1),
    )
    for make in operations:
        if is_locked_long:
            assert dynamodb.run(make(), life.now_ms, waits=False)
        else:
            with pytest.raises(problems.Contention):
                dynamodb.run(make(), life.now_ms, waits=False)
    assert life.held() == HELD + is_locked_long


def test_a_lock_that_is_renewed_is_waited_for(dynamodb: DynamoDBClient) -> None:
    """Between the look and the unlocking, another process has locked the shard anew."""
    life = PoolLife(dynamodb, terms(3, 18))
    [person] = people_with_seats(life, 1)
    key = seat_key(life.entitlement_id, person)
    shard_key = next(each for each, shard in life.shard_count() if key in shard.seats)
    dynamodb.execute(lock_shard_update(shard_key, life.now_ms()))
    life.offset_ms += SHARD_LOCK_MS + 1
    dynamodb.execute(lookup.unlock_shard_update(shard_key, life.now_ms()))
    assert "movingAt" in read_item(dynamodb, shard_key), "another lock than the one seen"


# What others do between two requests of the reconciler, again and again.
def _take(life: PoolLife, number: int) -> None:
    life.take(number % CLIENTS, f"late{number:02d}")


def _release(life: PoolLife, number: int) -> None:
    held = [(key, value) for _, shard in life.shard_count() for key, value in shard.seats.items()]
    if held:
        key, value = sorted(held)[number % len(held)]
        assert life.release(number % CLIENTS, activation_id(key, decode_grant(value).grant_id))


def _take_and_release(life: PoolLife, number: int) -> None:
    (_take, _release)[number % 2](life, number)


OTHERS: dict[str, Callable[[PoolLife, int], None]] = {
    "take": _take,
    "release": _release,
    "both": _take_and_release,
}
# Hard caps before and after, and how many seats are held.
CHANGES = {
    "split": (8, 40, 6),
    "merged": (40, 8, 3),
    "raised": (14, 18, 9),
    "lowered": (36, 34, 30),
    "lowered below use": (18, 9, 15),
}


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("work", CHANGES)
def test_the_reconciler_meets_requests_for_seats_at_each_of_its_own(
    dynamodb: DynamoDBClient, engine_url: str, work: str, others: str
) -> None:
    """What was read is never what is there; the work is done in the end, or says that it is not."""
    before, after, held = CHANGES[work]
    life = PoolLife(dynamodb, terms(3, before))
    people_with_seats(life, held)
    most = max(before, after)
    life.set_terms(terms(3, after))

    def meddle(number: int) -> None:
        with suppress(problems.Contention):  # the shard is locked; the client would ask again
            OTHERS[others](life, number)
        assert life.held() <= most

    for _ in range(20):
        if reconcile_pool(life, engine_url, meddle):
            break
    else:
        assert life.reconcile_pool()
    life.check()


@pytest.mark.parametrize("work", CHANGES)
def test_the_reconciler_starts_again_when_the_terms_change(
    dynamodb: DynamoDBClient, engine_url: str, work: str
) -> None:
    """At any of its requests: the newest terms are in force when it has ended."""
    before, after, held = CHANGES[work]
    for point in sampled(range(24), 4):
        life = PoolLife(dynamodb, terms(3, before))
        people_with_seats(life, held)
        life.set_terms(terms(3, after))

        def change(number: int, life: PoolLife = life, point: int = point) -> None:
            if number == point:
                life.set_terms(terms(3, before + after))

        assert reconcile_pool(life, engine_url, change)
        if read_item(dynamodb, pool_key(life.entitlement_id)).get("isPending"):
            assert life.reconcile_pool()  # it was done before the change
        life.check()


def test_the_reconciler_stops_in_time_and_lets_others_go_on(dynamodb: DynamoDBClient) -> None:
    life = PoolLife(dynamodb, terms(3, 18))
    people_with_seats(life, HELD)
    life.set_terms(terms(3, 60))
    late = reconcile.reconcile_pool(life.entitlement_id, life.change(), life.now_ms() - 1)
    with this_thread_as("ReleaseRole"):
        assert dynamodb.run(late, life.now_ms) is False
    assert "tender" not in life.state(), "the lock is still held"
    assert life.reconcile_pool(), "nobody else can go on"
    life.check()


def test_only_one_process_reconciles_a_pool(dynamodb: DynamoDBClient, engine_url: str) -> None:
    life = PoolLife(dynamodb, terms(3, 18))
    people_with_seats(life, HELD)
    life.set_terms(terms(3, 60))
    seconds = list[bool]()

    def other(number: int) -> None:
        if number:
            seconds.append(life.reconcile_pool())

    assert reconcile_pool(life, engine_url, other)
    assert seconds
    assert not any(seconds)
    assert life.reconcile_pool()
    life.check()


def test_a_search_for_a_seat_sees_what_others_take_meanwhile(
    dynamodb: DynamoDBClient, engine_url: str
) -> None:
    """One seat is free, on another shard, and it is gone when the request asks for it."""
    life = PoolLife(dynamodb, terms(3, 18))
    people_with_seats(life, 17)
    is_taken = False

    def other(number: int) -> None:
        nonlocal is_taken
        if number == 2 and not is_taken:
            is_taken = True
            assert life.take(0, "faster")

    client = interrupted_client(engine_url, dynamodb.name, lambda number, _: other(number))
    client.role = "ActivateRole"
    take = activation.take(life.entitlement_id, Holder("slower"), life.change(), 99)
    with pytest.raises(problems.HardCapReached):
        client.run(take, life.now_ms)
    assert life.held() == 18
    # The next seat that is free is found, whoever gave it back.
    _release(life, 4)
    preview = activation.preview(life.entitlement_id, Holder("slower"), life.now_ms() // 1000)
    assert dynamodb.run(preview, life.now_ms).shard
    assert life.take(0, "slower")


def test_a_preview_finds_seats_whose_leases_have_ended(dynamodb: DynamoDBClient) -> None:
    life = PoolLife(dynamodb, terms(3, 18, lease=60))
    people_with_seats(life, 18)
    [denied, after] = (life.now_ms() // 1000, life.now_ms() // 1000 + 120)
    with pytest.raises(problems.HardCapReached):
        dynamodb.run(activation.preview(life.entitlement_id, Holder("new"), denied), life.now_ms)
    preview = activation.preview(life.entitlement_id, Holder("new"), after)
    assert dynamodb.run(preview, life.now_ms).held.is_overdraft is False
    life.offset_ms += 120_000
    assert life.take(0, "new")


def test_nobody_looks_for_a_seat_of_no_entitlement(dynamodb: DynamoDBClient) -> None:
    with pytest.raises(problems.NotFound):
        dynamodb.run(read_shard_of("ent_unknown", seat_key("ent_unknown", "ann")))


def test_shards_that_an_old_answer_named_need_not_exist(dynamodb: DynamoDBClient) -> None:
    """A cache of another process says "six": the pool has had one shard since, or always."""
    life = PoolLife(dynamodb, terms(3, 8))
    key = seat_key(life.entitlement_id, "ann")
    for count in (2, 6, 3):
        place = Place.of(life.entitlement_id, key, count)
        shard, right = dynamodb.run(lookup.find_shard(place, key, None, 1))
        assert (shard, right) == (None, Place.of(life.entitlement_id, key, None))
