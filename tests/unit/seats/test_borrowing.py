"""Borrowed seats through the API: how long, how many, and what else is said of them."""

from typing import Any

import pytest

from shared.api import app
from shared.clock import from_rfc3339
from shared.dynamodb import client as client_module
from shared.dynamodb.keys import SEAT_SHARD_PREFIX, borrowed_seats_key
from shared.dynamodb.requests import Get, Pause, Transact
from shared.seats import activation
from shared.seats.borrowing import BorrowedSeats
from shared.seats.encoding import seat_key
from shared.seats.holder import Holder
from tests.support.life import read_stream
from tests.support.notifier import Notifier
from tests.support.pools import shrink_shards
from tests.support.seats import NOW, NOW_MS, change
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"
TAKE = f"POST {E}/activations"
DAY = 86_400
TERMS: dict[str, Any] = {
    "seatCount": 4,
    "overdraftSeatLimit": {"type": "absolute", "value": 1},
    "leasePeriod": "PT8H",
    "maxLeasePeriod": "P14D",
    "maxBorrowedSeats": 2,
}


class Customer:
    """An entitlement whose seats can be borrowed, and a clock for every call."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch, **terms: Any) -> None:
        self.api, self.now_ms = api, NOW_MS
        monkeypatch.setattr(app, "now_ms", lambda: self.now_ms)
        monkeypatch.setattr(client_module, "now_ms", lambda: self.now_ms)
        self.id = api.create(**{**TERMS, **terms})
        self.path = {"entitlementId": self.id}

    def take(self, seat_id: str, lease: Any = None, **query: str) -> tuple[int, Any]:
        body = {"seatId": seat_id} if lease is None else {"seatId": seat_id, "leasePeriod": lease}
        return self.api.call(TAKE, self.path, body, query=query or None)[:2]

    def release(self, activation_id: str) -> None:
        path = {**self.path, "activationId": activation_id}
        assert self.api.call(f"DELETE {E}/activations/{{activationId}}", path)[0] == 204

    def patch(self, **body: Any) -> tuple[int, Any]:
        return self.api.call(f"PATCH {E}", self.path, body)[:2]

    def borrowed(self) -> int:
        item = self.api.dynamodb.execute(Get(borrowed_seats_key(self.id)))
        return len(BorrowedSeats.of(item).at(self.now_ms // 1000).ends)

    def pass_time(self, seconds: int) -> None:
        self.now_ms += seconds * 1000


@pytest.fixture
def customer(api: Api, monkeypatch: pytest.MonkeyPatch) -> Customer:
    return Customer(api, monkeypatch)


def test_a_seat_is_held_for_longer(customer: Customer) -> None:
    status, alice = customer.take("alice", "P14D")
    assert (status, alice["isBorrowed"]) == (201, True)
    assert from_rfc3339(alice["leaseExpiry"]) == NOW + 14 * DAY
    customer.pass_time(DAY)
    # A heartbeat leaves it as it is, and so does a shorter period.
    for lease in (None, "P7D", "P13D"):
        assert customer.take("alice", lease) == (200, {**alice, "seats": alice["seats"]})
    status, again = customer.take("alice", "P14D")
    assert (status, from_rfc3339(again["leaseExpiry"])) == (200, NOW + 15 * DAY)
    assert customer.borrowed() == 1


def test_who_holds_a_seat_can_borrow_it(customer: Customer) -> None:
    _, held = customer.take("alice")
    status, borrowed = customer.take("alice", "P7D")
    assert (status, borrowed["isBorrowed"]) == (200, True)
    assert borrowed["activationId"] == held["activationId"]


def test_it_is_no_longer_borrowed_once_the_usual_lease_would_end_later(customer: Customer) -> None:
    customer.take("alice", "P1D")
    customer.pass_time(DAY - 8 * 3_600 - 1)
    assert customer.take("alice")[1]["isBorrowed"]
    customer.pass_time(2)
    status, usual = customer.take("alice")
    assert (status, usual["isBorrowed"], customer.borrowed()) == (200, False, 0)
    assert from_rfc3339(usual["leaseExpiry"]) == customer.now_ms // 1000 + 8 * 3_600


def test_the_bound(customer: Customer) -> None:
    _, alice = customer.take("alice", "P7D")
    customer.take("bob", "P9D")
    status, refused = customer.take("carol", "P7D")
    assert (status, refused["type"].rsplit("/", 1)[1]) == (409, "borrow-limit-reached")
    assert refused["borrowedSeats"] == {"used": 2, "max": 2}
    assert refused["nextLeaseExpiry"] == alice["leaseExpiry"]
    # Nothing was taken, and it is no denial.
    assert customer.api.call(f"GET {E}/denials", customer.path)[1]["items"] == []
    assert customer.take("carol")[0] == 201
    assert customer.take("carol", "P7D")[0] == 409
    customer.release(alice["activationId"])
    assert customer.borrowed() == 1
    assert customer.take("carol", "P7D")[0] == 200


def test_what_has_ended_does_not_count(customer: Customer) -> None:
    for name in ("alice", "bob"):
        customer.take(name, "P7D")
    customer.pass_time(7 * DAY + 5)
    assert customer.take("carol", "P7D")[0] == 201
    assert customer.take("alice", "P7D")[0] in (200, 201)
    assert customer.take("dave", "P7D")[0] == 409


def test_a_denial_is_one_although_more_could_be_borrowed(customer: Customer) -> None:
    for number in range(5):
        assert customer.take(f"user{number}")[0] == 201
    status, denied = customer.take("late", "P7D")
    assert (status, denied["type"].rsplit("/", 1)[1]) == (409, "hard-cap-reached")
    assert customer.api.call(f"GET {E}/denials", customer.path)[1]["items"][0]["attempts"] == 1
    assert customer.borrowed() == 0
    status, last = customer.take("user4", "P7D")
    assert (status, last["isOverdraftSeat"], last["isBorrowed"]) == (200, True, True)


@pytest.mark.parametrize(
    ("lease", "detail"),
    [
        ("P15D", "at most the entitlement's maxLeasePeriod, P14D"),
        ("PT8H", "longer than the entitlement's leasePeriod, PT8H"),
        ("PT1H", "longer than"),
        ("P1M", "ISO 8601"),
        ("PT30S", "between PT1M and P366D"),
        (7, "must be a string"),
    ],
)
def test_wrong_periods_change_nothing(customer: Customer, lease: Any, detail: str) -> None:
    for query in ({}, {"dryRun": "true"}):
        status, refused = customer.take("alice", lease, **query)
        assert (status, refused["errors"][0]["pointer"]) == (400, "/leasePeriod")
        assert detail in refused["detail"]
    assert customer.api.call(f"GET {E}/activations", customer.path)[1]["items"] == []


def test_a_dry_run_says_it_and_borrows_nothing(customer: Customer) -> None:
    status, seen = customer.take("alice", "P7D", dryRun="true")
    assert (status, seen["isBorrowed"], seen["leaseExpiry"]) == (200, True, None)
    assert customer.borrowed() == 0
    customer.take("alice", "P7D")
    customer.take("bob", "P7D")
    assert customer.take("carol", "P7D", dryRun="true")[0] == 409


@pytest.mark.parametrize(
    ("terms", "pointer"),
    [
        ({"leasePeriod": None}, "/maxLeasePeriod"),
        ({"maxLeasePeriod": "PT8H"}, "/maxLeasePeriod"),
        ({"maxBorrowedSeats": 0}, "/maxLeasePeriod"),
        ({"maxLeasePeriod": None}, "/maxBorrowedSeats"),
        ({"maxBorrowedSeats": 1_001}, "/maxBorrowedSeats"),
        ({"maxBorrowedSeats": None}, "/maxBorrowedSeats"),
    ],
)
def test_terms_that_do_not_go_together(api: Api, terms: Any, pointer: str) -> None:
    body = {"product": "P", "customer": {"name": "C"}, **TERMS, **terms}
    status, refused, _ = api.call("POST /v1/entitlements", body=body)
    assert (status, refused["errors"][0]["pointer"]) == (400, pointer)


def test_other_bounds_leave_what_is_borrowed(customer: Customer) -> None:
    for name in ("alice", "bob"):
        customer.take(name, "P14D")
    status, shown = customer.patch(maxBorrowedSeats=1, maxLeasePeriod="P1D")
    assert (status, shown["maxBorrowedSeats"], shown["maxLeasePeriod"]) == (200, 1, "P1D")
    assert customer.take("alice")[1]["isBorrowed"]
    assert customer.take("carol", "P1D")[0] == 409
    status, _ = customer.patch(maxBorrowedSeats=None, maxLeasePeriod=None)
    assert status == 200
    status, refused = customer.take("carol", "P1D")
    assert (status, "no maxLeasePeriod" in refused["detail"]) == (400, True)
    assert customer.borrowed() == 2


def test_leases_that_are_switched_off_do_not_keep_it_for_ever(customer: Customer) -> None:
    from functions.release.sweeper import sweep

    customer.take("alice", "P7D")
    customer.patch(maxBorrowedSeats=None, maxLeasePeriod=None, leasePeriod=None)
    for days in (0, 3, 7):
        now_ms = customer.now_ms + days * DAY * 1000 + 120_000
        sweep(customer.api.dynamodb, f"sweep-{days}", now_ms, now_ms + 60_000)
        held = customer.api.call(f"GET {E}/activations", customer.path)[1]["items"]
        assert len(held) == (0 if days == 7 else 1)


@pytest.mark.parametrize("seat_count", [4, 300])
def test_it_ends_with_the_entitlement(
    api: Api, monkeypatch: pytest.MonkeyPatch, seat_count: int
) -> None:
    customer = Customer(api, monkeypatch, seatCount=seat_count)
    customer.take("alice", "P7D")
    assert api.call(f"DELETE {E}", customer.path)[0] == 204
    item = api.dynamodb.execute(Get(borrowed_seats_key(customer.id)))
    assert BorrowedSeats.of(item).ends == {}


def test_a_pool(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is that of the entitlement, on whichever shard a seat is."""
    shrink_shards(monkeypatch)
    customer = Customer(api, monkeypatch, seatCount=30, maxBorrowedSeats=3)
    borrowed = [customer.take(f"user{number}", "P7D") for number in range(12)]
    assert [status for status, _ in borrowed] == [201] * 3 + [409] * 9
    others = [customer.take(f"other{number}") for number in range(28)]
    assert {status for status, _ in others} == {201}
    # The last free seat of the pool, which may be on another shard than its own.
    customer.release(borrowed[0][1]["activationId"])
    status, last = customer.take("last", "P7D")
    assert (status, last["isBorrowed"], customer.borrowed()) == (201, True, 3)
    listed = api.call(f"GET {E}/activations", customer.path, query={"borrowed": "true"})[1]["items"]
    ids = {each["activationId"] for each in listed}
    assert ids == {last["activationId"], *(each["activationId"] for _, each in borrowed[1:3])}


def test_entries_that_have_ended_do_not_count_as_borrowed(customer: Customer) -> None:
    """Of a bound that was lowered: nobody may borrow who has had it, however many entries are left."""
    api = customer.api
    customer.patch(seatCount=128, maxBorrowedSeats=120, overdraftSeatLimit={"type": "none"})
    people = [f"user{number}" for number in range(120)]
    assert {customer.take(name, "P1D")[0] for name in people} == {201}
    customer.pass_time(DAY + 5)
    customer.patch(maxBorrowedSeats=2)
    item = api.dynamodb.execute(Get(borrowed_seats_key(customer.id)))
    last = sorted(BorrowedSeats.of(item).ends)[-10:]
    by_key = {seat_key(customer.id, name): name for name in people}
    statuses = [customer.take(by_key[key], "P1D")[0] for key in last]
    assert statuses[2:] == [409] * 8
    assert customer.borrowed() == 2


def test_a_holder_is_told_what_is_wrong_too(customer: Customer) -> None:
    customer.take("alice", "P10D")
    for lease in ("PT1H", "PT8H", "P15D"):
        for query in ({}, {"dryRun": "true"}):
            assert customer.take("alice", lease, **query)[0] == 400
    customer.patch(maxLeasePeriod=None, maxBorrowedSeats=None)
    assert customer.take("alice", "P7D")[0] == 400
    assert customer.take("alice")[1]["isBorrowed"]


def test_a_shard_that_is_split_at_that_moment(customer: Customer) -> None:
    """The seat is borrowed; what is read of the shard after that belongs to a pool."""
    pending = activation.take(
        customer.id, Holder("alice"), change(NOW_MS), 1, borrow_seconds=7 * DAY
    )
    dynamodb, reply = customer.api.dynamodb, None
    while True:
        try:
            request = pending.send(reply)
        except StopIteration as stop:
            grant = stop.value
            break
        reply = NOW_MS if isinstance(request, Pause) else dynamodb.execute(request)
        if isinstance(request, Transact):
            customer.patch(seatCount=300)
    assert (grant.is_new, grant.held.is_borrowed) == (True, True)
    assert customer.borrowed() == 1


def test_lists_and_events_say_it(customer: Customer, engine_url: str) -> None:
    customer.take("alice", "P7D")
    customer.take("bob")
    customer.take("bob", "P3D")
    customer.take("carol")
    notifier, api = Notifier(customer.api.dynamodb), customer.api
    notifier.deliver_all(read_stream(engine_url, api.dynamodb.name, (SEAT_SHARD_PREFIX,)))
    for query, people in (
        (None, "abc"),
        ({"borrowed": "true"}, "ab"),
        ({"borrowed": "false"}, "c"),
    ):
        listed = api.call(f"GET {E}/activations", customer.path, query=query)[1]["items"]
        assert sorted(each["seatId"][0] for each in listed) == [*people]
        assert all(each["isBorrowed"] == (each["seatId"] != "carol") for each in listed)
    both = {"borrowed": "true", "search": "a"}
    assert api.call(f"GET {E}/activations", customer.path, query=both)[0] == 400
    seats = [
        (each["type"].rsplit(".", 1)[1], each["data"].get("seat"))
        for each in notifier.recorder.events
    ]
    assert [
        (what, seat["seatId"], seat["isBorrowed"])
        for what, seat in seats
        if what in ("activated", "borrowed")
    ] == [
        ("activated", "alice", True),
        ("borrowed", "alice", True),
        ("activated", "bob", False),
        ("borrowed", "bob", True),
        ("activated", "carol", False),
    ]
