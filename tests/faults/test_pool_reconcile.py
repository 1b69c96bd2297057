"""Reconciling a pool, broken at every one of its calls; then another process goes on."""

import pytest

from local.dynamodb import DynamoDBLocal
from shared.seats import reconcile
from shared.seats.encoding import activation_id, decode_grant
from shared.seats.terms import SeatTerms
from tests.support.pools import PoolLife, shrink_shards
from tests.support.sampling import IS_SOAK
from tests.support.seats import terms
from tests.support.tables import Crash, create_table, faulty_client, open_client


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_shards(monkeypatch)


@pytest.fixture(scope="module")
def name(engine: DynamoDBLocal) -> str:
    return create_table(engine.url)


def valid(cap: int | None, lease: int = 3600) -> SeatTerms:
    return terms(3, cap, lease=lease)


# What a pool's terms were, how many seats are held then, and what they become.
WORK: dict[str, tuple[SeatTerms, int, SeatTerms, str]] = {
    "one page becomes three": (valid(8), 7, valid(18), "updated"),
    "three become six": (valid(18), 12, valid(36), "updated"),
    "one becomes many, in two steps": (valid(8), 3, valid(120), "updated"),
    "three become one": (valid(18), 5, valid(7), "updated"),
    "three, of more seats than the cap": (valid(18), 15, valid(9), "updated"),
    "a larger cap on as many shards": (valid(14), 14, valid(18), "updated"),
    "a cap for what had none": (valid(None), 11, valid(18), "updated"),
    "no cap any more": (valid(18), 18, valid(None), "updated"),
    "a shorter lease": (valid(18), 9, valid(18, lease=600), "updated"),
    "the end": (valid(18), 9, valid(18), "expired"),
}


@pytest.mark.parametrize("kind", ["after", "lost"])
@pytest.mark.parametrize("work", WORK)
def test_work_broken_anywhere(engine: DynamoDBLocal, name: str, work: str, kind: str) -> None:
    """No seat is lost, no allocation made, and all is as if nothing had happened."""
    before, held, after, change = WORK[work]
    dynamodb = open_client(engine.url, name)
    first, step = (0, 1) if IS_SOAK else (6 * int(kind == "lost"), 12)
    for point in range(first, 200, step):
        life = PoolLife(dynamodb, before)
        grants = [life.take(number % 2, f"user{number}") for number in range(held)]
        seats = {each.key: each.held.grant_id for each in grants if each}
        assert len(seats) == held
        life.set_terms(after, change)
        broken = faulty_client(engine.url, name)
        broken.fault = (point, kind)
        try:
            life.reconcile_pool(dynamodb=broken)
        except Crash:
            assert life.held() <= held
            life.offset_ms += reconcile.POOL_LOCK_MS
            assert life.reconcile_pool(), "nobody can go on"
        if change == "expired":
            assert life.held() == 0
        else:
            grant_ids = {
                key: decode_grant(value).grant_id
                for _, shard in life.shard_count()
                for key, value in shard.seats.items()
            }
            assert grant_ids == seats
            life.check()
        if broken.calls <= point:
            assert point > 3, "nothing was broken"
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("work", ["one page becomes three", "three become one", "the end"])
def test_seats_come_and_go_at_every_point_of_the_work(
    engine: DynamoDBLocal, name: str, work: str
) -> None:
    """A request while the work is half done gets the right answer, whichever shard has the seat."""
    before, held, after, change = WORK[work]
    dynamodb = open_client(engine.url, name)
    first, step = (0, 1) if IS_SOAK else (1, 3)
    for point in range(first, 200, step):
        life = PoolLife(dynamodb, before)
        grants = [life.take(number % 2, f"user{number}") for number in range(held)]
        life.set_terms(after, change)
        broken = faulty_client(engine.url, name)
        broken.fault = (point, "after")
        try:
            life.reconcile_pool(dynamodb=broken)
        except Crash:
            given_back = grants[0]
            assert given_back
            named = activation_id(given_back.key, given_back.held.grant_id)
            if change != "expired":
                assert life.release(point % 2, named), "a seat that is held was not found"
                assert not life.release(point % 2, named)
                again = life.take(point % 2, "user1")
                assert again, "who holds a seat was denied it"
                assert not again.is_new
                assert life.take(point % 2, "user0"), "a seat was free"
            life.offset_ms += reconcile.POOL_LOCK_MS
            assert life.reconcile_pool()
        assert life.held() == (0 if change == "expired" else held)
        if broken.calls <= point:
            assert point > 3, "nothing was broken"
            return
    pytest.fail("it never came to an end")
