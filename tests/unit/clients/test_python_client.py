"""The Python client against the real functions: what a network, a clock and a vendor can do to it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import overdraft
import pytest
from overdraft import AsyncOverdraft, Change, Clock, Overdraft, Retry
from overdraft._keeping import SeatState
from overdraft._store import Store

from shared.api import app
from shared.clock import EPOCH
from shared.dynamodb import client as client_module
from tests.support.kms import Kms, serving
from tests.support.seats import NOW_MS
from tests.unit.clients.stack import Network, problem
from tests.unit.conftest import Api
from tools import ROOT

E = "/v1/entitlements/{entitlementId}"
HOUR = 3_600
DAY = 24 * HOUR
QUICK = Retry(base=0.001, longest=0.002)
assert EPOCH < NOW_MS // 1000


class World:
    """A stack, a customer's machine, and the time of both."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.api, self.ms, self.state = api, NOW_MS, tmp_path
        self.local_error_ms = 0
        monkeypatch.setattr(app, "now_ms", lambda: self.ms)
        monkeypatch.setattr(client_module, "now_ms", lambda: self.ms)
        self.network = Network(api, lambda: self.ms)
        self.changes: list[Change] = []

    def sell(self, **terms: Any) -> str:
        """A license key for what is sold."""
        given = {"seatCount": 2, "overdraftSeatLimit": {"type": "absolute", "value": 1}}
        limits = [{"key": "exports", "limit": 100}]
        sold = {**given, "usageLimits": limits, "leasePeriod": "PT8H", **terms}
        self.id = self.api.create(**sold)
        self.path = {"entitlementId": self.id}
        self.key_id, key = self._license()
        return key

    def _license(self) -> tuple[str, str]:
        _, made, _ = self.api.call(f"POST {E}/license-keys", self.path, {})
        return made["keyId"], made["key"]

    def clock(self) -> Clock:
        return Clock(lambda: self.ms + self.local_error_ms)

    def client(self, key: str, **more: Any) -> Overdraft:
        transport = httpx.MockTransport(self.network.handle)
        given = {"retry": QUICK, "state": self.state, "clock": self.clock(), **more}
        return Overdraft("https://licenses.example", key, transport=transport, **given)

    def async_client(self, key: str, **more: Any) -> AsyncOverdraft:
        transport = httpx.MockTransport(self.network.handle_async)
        given = {"retry": QUICK, "state": self.state, "clock": self.clock(), **more}
        return AsyncOverdraft("https://licenses.example", key, transport=transport, **given)

    def pass_time(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)

    def held(self) -> list[str]:
        listed = self.api.call(f"GET {E}/activations", self.path)[1]["items"]
        return [each["activationId"] for each in listed]

    def used(self) -> int:
        found = self.api.call(f"GET {E}/usage", self.path)[1]["items"]
        return int(found[0]["usage"]["used"])

    def patch(self, **body: Any) -> None:
        assert self.api.call(f"PATCH {E}", self.path, body)[0] == 200

    def note(self, _: Any, change: Change) -> None:
        self.changes.append(change)

    @property
    def kinds(self) -> list[str]:
        return [each.kind for each in self.changes]


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Kms]]:
    with serving(monkeypatch) as served:
        yield served


@pytest.fixture
def world(api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kms: type[Kms]) -> World:
    return World(api, monkeypatch, tmp_path)


# --- Seats ----------------------------------------------------------------------------------------


def test_a_seat_is_taken_and_given_back(world: World) -> None:
    client = world.client(world.sell())
    with client.seat("alice@acme.com", name="Alice") as seat:
        assert (seat.is_valid, seat.source, seat.is_overdraft) == (True, "server", False)
        assert seat.seats is not None
        assert (seat.seats.used, seat.seats.purchased, seat.seats.hard_cap) == (1, 2, 3)
        assert len(world.held()) == 1
    assert world.held() == []


def test_overdraft_and_denial(world: World) -> None:
    client = world.client(world.sell(denialHelp={"requestUrl": "https://vendor.example/more"}))
    for name in ("a", "b"):
        client.take(name)
    with client.seat("c", on_change=world.note) as seat:
        assert seat.is_overdraft
        assert world.kinds == ["overdraft"]
        with pytest.raises(overdraft.Denied) as denied, client.seat("d"):
            pass
    error = denied.value
    assert (error.type, error.status) == ("hard-cap-reached", 409)
    assert error.seats is not None
    assert error.seats.available == 0
    assert error.next_lease_expiry == datetime.fromtimestamp(NOW_MS / 1000 + 8 * HOUR, UTC)
    assert error.request_url == "https://vendor.example/more"
    assert error.contact is None
    assert error.request_id


def test_reading(world: World) -> None:
    client = world.client(world.sell())
    for name in ("a", "b"):
        client.take(name, attributes={"device": "x"})
    assert len(list(client.held_seats())) == 2
    assert client.entitlement().entitlement_id == world.id
    assert [limit.key for limit in client.usage()] == ["exports"]
    # The license key was asked once whose it is, and a later process knows.
    assert world.network.seen.count(("GET", "/v1/license")) == 1


@pytest.mark.parametrize(
    ("terms", "kind"),
    [
        ({"status": "suspended"}, overdraft.Suspended),
        ({"validFrom": "2060-01-01T00:00:00Z"}, overdraft.NotYetValid),
        (
            {"validFrom": "2020-01-01T00:00:00Z", "validUntil": "2030-01-01T00:00:00Z"},
            overdraft.Expired,
        ),
    ],
)
def test_what_is_not_in_force(world: World, terms: Any, kind: type[overdraft.Refused]) -> None:
    client = world.client(world.sell(**terms))
    with pytest.raises(kind), client.seat("alice"):
        pass


def test_a_key_that_is_not_known(world: World) -> None:
    world.sell()
    for offline in ("grace", "allow"):
        client = world.client("lic_" + "x" * 16 + "." + "y" * 43, offline=offline)
        with pytest.raises(overdraft.Unauthorized), client.seat("alice"):
            pass


def test_borrowing(world: World) -> None:
    client = world.client(world.sell(maxLeasePeriod="P14D", maxBorrowedSeats=1))
    taken = client.take("alice", lease_period=timedelta(days=7))
    assert taken.is_borrowed
    with pytest.raises(overdraft.BorrowLimitReached) as refused:
        client.take("bob", lease_period=timedelta(days=7))
    assert refused.value.borrowed_seats == overdraft.BorrowedSeats(1, 1)


# --- The network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["refused", "lost", "hung", "busy", "broken", "html"])
@pytest.mark.parametrize("times", [1, 3])
def test_what_passes_is_tried_again(world: World, fault: str, times: int) -> None:
    client = world.client(world.sell(), entitlement_id=world.id if hasattr(world, "id") else None)
    client.entitlement()
    world.network.faults[:] = [fault] * times
    assert client.consume("exports", 3).quantity == 3
    assert world.used() == 3  # once, however often it was sent
    keys = [key for key in world.network.keys if key]
    assert len(keys) == times + 1
    assert len(set(keys)) == 1
    world.network.faults[:] = [fault] * times
    first = client.take("alice")
    assert client.take("alice").activation_id == first.activation_id
    world.network.faults[:] = [fault] * times
    client.release(first.activation_id)
    assert world.held() == []


@pytest.mark.parametrize("fault", ["refused", "lost", "hung", "busy", "broken", "html"])
def test_tries_have_an_end(world: World, fault: str) -> None:
    client = world.client(world.sell())
    client.entitlement()
    before = len(world.network.seen)
    world.network.faults[:] = [fault] * 9
    with pytest.raises(overdraft.Unavailable):
        client.consume("exports")
    assert len(world.network.seen) - before == QUICK.attempts


@pytest.mark.parametrize("fault", ["portal", "blocked", "redirect"])
def test_the_page_of_somebody_else_locks_nobody(world: World, fault: str) -> None:
    """A proxy's 403 is no refusal, and a hotel's 200 is no seat."""
    client = world.client(world.sell())
    with client.seat("alice", on_change=world.note) as seat:
        world.network.faults[:] = [fault]
        before = len(world.network.seen)
        seat.renew()
        assert (seat.is_valid, world.kinds) == (True, ["offline"])
        assert len(world.network.seen) - before == 1  # it will not go away in a second
        seat.renew()
        assert world.kinds == ["offline", "online"]
    # Their clock is not the stack's either.
    assert abs(client._core.clock.now_ms() - world.ms) < 60_000


@pytest.mark.parametrize(
    "body",
    [
        {"type": "about:blank", "status": 403},
        {"type": "https://other.example/problems/unauthorized", "status": 401},
        {"type": "https://overdraft.example/problems/contention", "status": 503},
        {"type": "https://overdraft.example/problems/internal", "status": 500},
        {"type": "https://overdraft.example/problems/maintenance", "status": 503},
        ["not", "an", "object"],
        None,
    ],
)
def test_only_our_own_refusals_count(world: World, body: Any) -> None:
    key = world.sell()

    def answer(request: httpx.Request) -> httpx.Response:
        status = body["status"] if isinstance(body, dict) else 403
        headers = {"content-type": "application/problem+json"}
        return httpx.Response(status, content=json.dumps(body), headers=headers)

    client = Overdraft(
        "https://x.example", key, retry=QUICK, stores=False, transport=httpx.MockTransport(answer)
    )
    with pytest.raises(overdraft.Unavailable):
        client.take("alice")


@pytest.mark.parametrize("body", [{}, {"login": True}, {"activationId": 1, "seats": None}])
def test_json_of_somebody_else_is_no_answer(world: World, body: Any) -> None:
    """A captive portal may answer 200 with an object."""
    answer = httpx.Response(200, json=body)
    client = Overdraft(
        "https://x.example",
        world.sell(),
        entitlement_id="ent_1",
        stores=False,
        retry=QUICK,
        transport=httpx.MockTransport(lambda _: answer),
    )
    for call in (
        lambda: client.take("alice"),
        client.entitlement,
        client.usage,
        lambda: client.consume("exports"),
        lambda: list(client.held_seats()),
        lambda: client.seat("alice").start(),
    ):
        with pytest.raises(overdraft.Unavailable):
            call()


def test_retry_after_is_honoured_within_the_total(world: World) -> None:
    key, waits = world.sell(), list[float]()
    answers = [
        httpx.Response(429, headers={"retry-after": "2"}),
        problem("throttled", 429, detail="x"),
        httpx.Response(503, headers={"retry-after": "3600"}),
    ]
    client = Overdraft(
        "https://x.example",
        key,
        entitlement_id="ent_1",
        stores=False,
        transport=httpx.MockTransport(lambda _: answers.pop(0)),
    )
    client_waits = pytest.MonkeyPatch()
    client_waits.setattr("overdraft.client.time.sleep", waits.append)
    try:
        with pytest.raises(overdraft.Unavailable):
            client.take("alice")
    finally:
        client_waits.undo()
    assert answers == []
    assert waits[0] >= 2
    assert len(waits) == 2  # an hour is longer than anybody waits for a seat


# --- Offline --------------------------------------------------------------------------------------


def start_offline(world: World, key: str, **more: Any) -> Any:
    world.network.is_down = True
    return world.client(key, **more).seat("alice", on_change=world.note)


def abandon(seat: Any) -> None:
    """The process ends without giving anything back."""
    seat._client._keeper.seats.clear()


def test_software_starts_offline_with_a_signed_lease(world: World) -> None:
    key = world.sell()
    seat = world.client(key).seat("alice")
    seat.start()
    abandon(seat)
    world.pass_time(2 * HOUR)
    again = start_offline(world, key)
    again.start()
    assert (again.is_valid, again.source, world.kinds) == (True, "lease", ["offline"])
    assert again.activation is not None
    assert again.activation.seat_id == "alice"
    # Until the lease ends, and then for the grace that the integrator gives.
    world.pass_time(6 * HOUR - 1)
    assert again.source == "lease"
    world.pass_time(2)
    assert again.source == "policy"
    world.pass_time(8 * HOUR)
    assert not again.is_valid
    again._look()
    abandon(again)


def test_without_a_lease_nobody_starts_offline(world: World) -> None:
    key = world.sell()
    with pytest.raises(overdraft.Unavailable):
        start_offline(world, key).start()
    allowed = start_offline(world, key, offline="allow")
    allowed.start()
    assert allowed.source == "policy"
    abandon(allowed)


def test_a_seat_that_was_given_back_is_no_lease_for_offline(world: World) -> None:
    key = world.sell()
    with world.client(key).seat("alice"):
        pass
    with pytest.raises(overdraft.Unavailable):
        start_offline(world, key).start()


@pytest.mark.parametrize(
    ("offline", "valid_until"),
    [("grace", 8 * HOUR + HOUR), ("deny", 8 * HOUR), ("allow", None)],
)
def test_the_stack_is_gone_for_days(world: World, offline: str, valid_until: int | None) -> None:
    key = world.sell()
    client = world.client(key, offline=offline, grace=timedelta(hours=1))
    seat = client.seat("alice", on_change=world.note)
    seat.start()
    world.network.is_down = True
    began = world.ms
    for _ in range(3 * 24 * 4):
        world.pass_time(900)
        seat.renew()
        hours = (world.ms - began) / 1000
        assert seat.is_valid == (valid_until is None or hours < valid_until), hours
    assert world.kinds == ["offline", *([] if valid_until is None else ["lost"])]
    # Nobody else has the seat: it is free by now, and is taken again.
    world.network.is_down = False
    seat.renew()
    assert (seat.source, world.kinds[-1]) == ("server", "online")
    seat.release()
    assert world.held() == []


def test_a_denial_locks_although_the_signed_lease_is_good(world: World) -> None:
    """Asleep for a day with a long offline period, and everybody else came."""
    key = world.sell(offlinePeriod="P3D")
    client = world.client(key)
    seat = client.seat("alice", on_change=world.note)
    seat.start()
    world.pass_time(DAY)
    for name in ("b", "c", "d"):
        client.take(name)
    seat._look()
    assert (seat.is_valid, world.kinds) == (False, ["denied"])
    assert isinstance(seat.refusal, overdraft.Denied)
    seat.release()
    with pytest.raises(overdraft.Unavailable):
        start_offline(world, key).start()


@pytest.mark.parametrize("what", ["suspended", "revoked"])
def test_what_the_vendor_ends(world: World, what: str) -> None:
    key = world.sell()
    client = world.client(key)
    seat = client.seat("alice", on_change=world.note)
    seat.start()
    if what == "suspended":
        world.patch(status="suspended")
    else:
        path = {**world.path, "keyId": world.key_id}
        assert world.api.call(f"DELETE {E}/license-keys/{{keyId}}", path)[0] == 204
        world.api.context.credentials._cache.clear()
    world.pass_time(5 * HOUR)
    seat._look()
    assert not seat.is_valid
    assert world.kinds == ["suspended" if what == "suspended" else "refused"]
    abandon(seat)
    # It cannot be got around by pulling the plug.
    with pytest.raises(overdraft.Unavailable):
        start_offline(world, key).start()


def test_a_seat_that_was_given_back_is_worth_nothing(world: World) -> None:
    client = world.client(world.sell())
    with client.seat("alice") as seat:
        pass
    assert (seat.is_valid, seat.source) == (False, None)
    world.network.is_down = True
    with pytest.raises(overdraft.Unavailable):
        seat.start()


def test_many_seats_do_not_wait_for_one_another_at_the_end(world: World) -> None:
    client = world.client(world.sell(seatCount=30))
    for number in range(20):
        client.seat(f"user{number}").start()
    world.network.is_down = True
    before = len(world.network.seen)
    client.close()
    assert len(world.network.seen) - before == QUICK.attempts


def test_sigterm_has_one_handler(world: World) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        client = world.client(world.sell())
        for _ in range(50):
            with client.seat("alice", release_on_sigterm=True):
                pass
        first = signal.getsignal(signal.SIGTERM)
        with client.seat("alice", release_on_sigterm=True):
            assert signal.getsignal(signal.SIGTERM) is first
    finally:
        signal.signal(signal.SIGTERM, before)

    raised = list[BaseException]()

    def elsewhere() -> None:
        try:
            client.seat("bob", release_on_sigterm=True).start()
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert raised
    assert world.held() == []  # it was refused before the seat was taken


# --- Clocks and files -----------------------------------------------------------------------------


def test_a_clock_that_is_set_back_makes_no_lease_longer(world: World) -> None:
    key = world.sell(offlinePeriod="P3D")
    seat = world.client(key).seat("alice")
    seat.start()
    world.pass_time(2 * DAY)
    seat.renew()
    abandon(seat)
    world.local_error_ms = -30 * DAY * 1000
    again = start_offline(world, key)
    again.start()
    assert again.source == "lease"
    world.local_error_ms = 0
    world.pass_time(3 * DAY + 9 * HOUR)
    assert not again.is_valid
    world.local_error_ms = -40 * DAY * 1000
    assert not again.is_valid
    abandon(again)


def test_a_clock_that_is_set_back_holds_no_renewal_up(world: World) -> None:
    client = world.client(world.sell())
    client.entitlement()
    clock, before = client._core.clock, client._core.clock.now_ms()
    world.local_error_ms = -30 * DAY * 1000
    clock._seen_at -= 600  # ten minutes by the machine's other clock
    assert before + 600_000 <= clock.now_ms() < before + 660_000


def test_one_seat_tries_for_all(world: World) -> None:
    """While the stack is out of reach, a thousand seats must not each wait for it."""
    client = world.client(world.sell(seatCount=60))
    seats = [client.seat(f"user{number}", on_change=world.note) for number in range(20)]
    for seat in seats:
        seat.start()
    world.network.is_down = True
    before = len(world.network.seen)
    world.pass_time(5 * HOUR)
    with client._keeper._changed:
        client._keeper._changed.notify()
    wait_until(lambda: world.kinds.count("offline") == 20)
    # Each by itself would have made eighty tries; this machine may be slow enough for a second round.
    assert len(world.network.seen) - before < 10 * QUICK.attempts
    assert all(seat.is_valid for seat in seats)
    world.network.is_down = False
    client.close()


@pytest.mark.parametrize("error", [-DAY, -300, 0, 300, 40 * DAY])
def test_keys_have_the_stacks_time(world: World, error: int) -> None:
    world.local_error_ms = error * 1000
    client = world.client(world.sell())
    client.entitlement()
    assert client.consume("exports", journaled=True).quantity == 1
    made_at = int(client.new_request_key().replace("-", "")[:12], 16)
    assert abs(made_at - world.ms) <= 60_000  # an hour is refused, and this machine may be slow


def test_what_is_sent_too_late_is_refused_by_name(world: World) -> None:
    client = world.client(world.sell())
    key = client.new_request_key()
    world.pass_time(DAY)
    with pytest.raises(overdraft.TooLate):
        client.consume("exports", request_key=key, journaled=True)
    assert world.used() == 0


@pytest.mark.parametrize("damage", ["cut", "forged", "other seat", "empty"])
def test_a_damaged_state_is_set_aside(world: World, damage: str) -> None:
    key = world.sell()
    seat = world.client(key).seat("alice")
    seat.start()
    abandon(seat)
    [path] = world.state.glob("*.json")
    text = path.read_text()
    if damage in ("cut", "empty"):
        path.write_text(text[: len(text) // 2] if damage == "cut" else "")
    else:
        stored = json.loads(text)
        lease = stored["state"]["seats"].pop("alice")
        if damage == "forged":
            head, _, signature = lease["lease"].split(".")
            lease["lease"] = f"{head}.{head}.{signature}"
        who = "alice" if damage == "forged" else "mallory"
        stored["state"]["seats"][who] = lease
        from overdraft._store import _sum

        stored["sum"] = _sum(stored["state"])  # whoever forges it knows how
        path.write_text(json.dumps(stored))
    who = "mallory" if damage == "other seat" else "alice"
    world.network.is_down = True
    with pytest.raises(overdraft.Unavailable):
        world.client(key).seat(who).start()
    assert bool(list(world.state.glob("*.unreadable-*"))) == (damage in ("cut", "empty"))


def test_a_state_that_cannot_be_read_is_not_written_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.sell()
    first = world.client(key).seat("alice")
    first.start()
    abandon(first)
    [path] = world.state.glob("*.json")
    before = path.read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_text", _unreadable)
        seat = world.client(key).seat("bob")
        seat.start()  # it is granted all the same
        assert seat.source == "server"
        abandon(seat)
    assert path.read_bytes() == before


def _unreadable(*_: Any) -> str:
    raise PermissionError("it is locked")


def test_pinned_keys_are_the_only_ones(world: World) -> None:
    key = world.sell()
    published = world.api.call("GET /.well-known/jwks.json", key=None)[1]["keys"]
    for keys, source in ((published, "lease"), (published[1:], None)):
        client = world.client(key, lease_keys=keys, grace=timedelta(0))
        seat = client.seat("alice")
        seat.start()
        assert (seat._state.lease is not None) == (source is not None)
        seat.release()
    assert ("GET", "/.well-known/jwks.json") not in world.network.seen


def test_new_keys_are_learned(world: World, kms: type[Kms]) -> None:
    key = world.sell()
    client = world.client(key)
    with client.seat("alice") as seat:
        assert seat._state.lease is not None
    asked = world.network.seen.count(("GET", "/.well-known/jwks.json"))
    with client.seat("bob") as seat:
        assert seat._state.lease is not None
    assert world.network.seen.count(("GET", "/.well-known/jwks.json")) == asked == 1
    kms.faults[:] = [500, 500]
    with client.seat("carol") as seat:  # KMS fails: the seat is granted all the same
        assert (seat.is_valid, seat._state.lease) == (True, None)


def test_a_folder_that_cannot_be_written(world: World) -> None:
    blocked = world.state / "file"
    blocked.write_text("x")
    with world.client(world.sell(), state=blocked).seat("alice") as seat:
        assert seat.is_valid


# --- The keeper -----------------------------------------------------------------------------------


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_keeper_renews_near_half_of_the_lease(world: World) -> None:
    client = world.client(world.sell())
    with client.seat("alice") as seat:
        assert seat.activation is not None
        first = seat.activation.lease_expiry
        left = seat._state.due - world.ms / 1000
        assert 4 * HOUR <= left <= 4.8 * HOUR
        world.pass_time(left + 1)
        with client._keeper._changed:
            client._keeper._changed.notify()  # time passes faster than this machine's
        wait_until(lambda: seat.activation is not None and seat.activation.lease_expiry != first)


def test_fifty_seats_have_one_thread(world: World) -> None:
    client = world.client(world.sell(seatCount=60))
    before = threading.active_count()
    seats = [client.seat(f"user{number}") for number in range(50)]
    for seat in seats:
        seat.start()
    assert threading.active_count() == before + 1
    assert len(world.held()) == 50
    client.close()
    assert world.held() == []


def test_a_defect_in_on_change_ends_nothing(world: World) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    client = world.client(world.sell(seatCount=0))
    with client.seat("alice", on_change=broken) as seat:
        seat.renew()
        assert seat.is_valid


@pytest.mark.parametrize("end", ["exit", "exception", "sigterm", "sigterm with a handler", "fork"])
def test_how_a_process_ends(world: World, end: str, tmp_path: Path) -> None:
    """Another process, whose requests this one writes down."""
    program = f"""
import os, signal, sys, httpx
sys.path.insert(0, {str(ROOT / "clients/python/src")!r})
from overdraft import Overdraft
SEATS = {{"used": 1, "purchased": 2, "hardCap": 2, "overdraftUsed": 0, "available": 1}}
def answer(request):
    print(os.getpid(), request.method, request.url.path, flush=True)
    if request.method == "DELETE":
        return httpx.Response(204)
    return httpx.Response(201, json={{"activationId": "act_1", "entitlementId": "ent_1",
        "seatId": "a", "seatName": None, "attributes": {{}}, "isOverdraftSeat": False,
        "isBorrowed": False, "activatedAt": "2026-01-01T00:00:00Z", "leaseExpiry": None,
        "status": "within_limit", "seats": SEATS}})
client = Overdraft("https://x.example", "lic_x.y", entitlement_id="ent_1", stores=False,
    transport=httpx.MockTransport(answer))
end = {end!r}
print("parent", os.getpid(), flush=True)
if end == "sigterm with a handler":
    signal.signal(signal.SIGTERM, lambda *_: (print("their handler", flush=True), sys.exit(7)))
seat = client.seat("a", release_on_sigterm="sigterm" in end)
seat.start()
if end == "exception":
    raise SystemExit(3)
if end == "fork":
    if os.fork() == 0:
        seat.release()
        client.close()
        sys.exit(0)
    os.wait()
    print("child has ended", flush=True)
if "sigterm" in end:
    os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    lines = done.stdout.split("\n")
    parent = lines[0].split()[1]
    deletes = [line for line in lines if "DELETE" in line]
    assert deletes == [f"{parent} DELETE /v1/entitlements/ent_1/activations/act_1"], done.stderr
    expected = {"exception": 3, "sigterm": -signal.SIGTERM, "sigterm with a handler": 7}
    assert done.returncode == expected.get(end, 0)
    if end == "fork":
        assert lines.index("child has ended") < lines.index(deletes[0])
    assert ("their handler" in done.stdout) == (end == "sigterm with a handler")
    assert os.getpid()


# --- Meters ---------------------------------------------------------------------------------------


def meter(client: Overdraft, **more: Any) -> overdraft.Meter:
    """A meter that sends when it is told to."""
    return client.meter("exports", interval=3_600, units=10**9, **more)


def test_a_meter_adds_up(world: World) -> None:
    client = world.client(world.sell())
    counted = meter(client)
    for _ in range(5):
        counted.add(2)
    assert world.used() == 0
    assert counted.flush()
    assert world.used() == 10
    assert world.network.seen.count(("POST", f"/v1/entitlements/{world.id}/usage/exports")) == 1
    assert meter(client) is counted
    counted.add(3)
    client.close()
    assert world.used() == 13
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            counted.add(wrong)


def test_it_sends_by_itself(world: World) -> None:
    client = world.client(world.sell())
    quick = client.meter("exports", interval=0.02)
    quick.add(4)
    wait_until(lambda: world.used() == 4)
    client.close()
    other = world.client(world.sell())
    many = other.meter("exports", interval=3_600, units=3)
    many.add(3)
    wait_until(lambda: world.used() == 3)
    other.close()


@pytest.mark.parametrize("fault", ["refused", "lost", "hung", "broken", "portal"])
def test_nothing_counts_twice_and_nothing_is_lost(world: World, fault: str) -> None:
    key = world.sell()
    client = world.client(key)
    client.entitlement()
    counted = meter(client)
    counted.add(5)
    world.network.faults[:] = [fault] * 4
    assert not counted.flush()
    counted.add(2)
    # The process is killed; another one goes on, a day later but for a quarter of an hour.
    client._journal._file_lock.release()  # type: ignore[union-attr]
    client._journal.save()  # type: ignore[union-attr]
    world.pass_time(DAY - 16 * 60)
    world.network.faults.clear()
    again = meter(world.client(key))
    assert again.flush()
    assert world.used() == 7
    assert again.aside == []
    again.close()
    assert world.used() == 7


def test_what_was_under_way_for_too_long_is_set_aside(world: World) -> None:
    """Three days without a network: what was sent once may have counted, what was not is sent."""
    refused, key = list[overdraft.Aside](), world.sell()
    client = world.client(key)
    client.entitlement()
    counted = meter(client, on_refused=refused.append)
    counted.add(5)
    world.network.faults[:] = ["lost"] * 4
    assert not counted.flush()
    world.network.is_down = True
    for _ in range(3):
        world.pass_time(DAY)
        counted.add(2)
        assert not counted.flush()
    world.network.is_down = False
    assert counted.flush()
    assert world.used() == 5 + 6
    assert [(each.quantity, each.type) for each in refused] == [(5, "idempotency-key-expired")]
    assert counted.aside == refused
    client.close()
    assert meter(world.client(key)).aside == refused  # until somebody has looked


def test_what_does_not_fit_is_set_aside(world: World) -> None:
    counted = meter(world.client(world.sell()))
    counted.add(130)
    assert counted.flush()
    assert world.used() == 100
    assert [(each.quantity, each.type) for each in counted.aside] == [(30, "hard-cap-reached")]
    counted.add(1)
    assert counted.flush()
    assert (world.used(), len(counted.aside)) == (100, 2)


def test_two_processes_have_journals_of_their_own(world: World) -> None:
    key = world.sell()
    first, second = meter(world.client(key)), meter(world.client(key))
    world.network.is_down = True
    for counted in (first, second):
        counted.add(3)
        counted.flush()
    world.network.is_down = False
    for counted in (first, second):
        assert counted.flush()
    assert world.used() == 6
    assert len(list(world.state.glob("*.journal-*.json"))) == 2


@pytest.mark.parametrize("error", [DAY, -40 * DAY])
def test_a_wrong_clock_loses_no_usage(world: World, error: int) -> None:
    """The first key is made before the stack's time is known; it was never sent before."""
    world.local_error_ms = error * 1000
    counted = meter(world.client(world.sell()))
    counted.add(5)
    assert counted.flush()
    assert (world.used(), counted.aside) == (5, [])


def test_what_waits_in_a_file_is_not_sent_without_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash it would be sent again, under another key."""
    client = world.client(world.sell())
    client.entitlement()
    counted = meter(client)
    counted.add(5)
    counted._journal.save()
    with monkeypatch.context() as broken:
        broken.setattr("overdraft._store.Store._write", _full)
        assert not counted.flush()
        assert world.used() == 0
    assert counted.flush()
    assert world.used() == 5


def test_a_full_disk_does_not_keep_usage_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.sell()
    client = world.client(key)
    client.entitlement()
    counted = meter(client)
    monkeypatch.setattr("overdraft._store.Store._write", _full)
    for _ in range(3):
        counted.add(5)
        assert counted.flush()
    assert world.used() == 15
    counted.add(1)
    client.close()
    assert world.used() == 16
    with pytest.raises(RuntimeError):  # another process may go on with its journal
        counted.flush()


def _full(*_: Any) -> None:
    raise OSError("no space left on device")


def test_all_that_others_have_left_is_sent(world: World) -> None:
    key = world.sell()
    world.network.is_down = True
    clients = [world.client(key) for _ in range(3)]
    for client in clients:
        counted = meter(client)
        counted.add(2)
        counted._journal.save()
    for client in clients:  # they end
        client._journal._file_lock.release()  # type: ignore[union-attr]
        client._meters = {}
    world.network.is_down = False
    last = world.client(key)
    assert meter(last).flush()
    assert world.used() == 6
    last.close()
    assert meter(world.client(key)).flush()
    assert world.used() == 6


@pytest.mark.parametrize("which", ["clearing", "storing"])
def test_a_crash_while_journals_are_taken_over_counts_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Either is missing: what was taken over is stored, and the files that it was in are cleared."""
    key = world.sell()
    world.network.is_down = True
    clients = [world.client(key) for _ in range(3)]
    for number, client in enumerate(clients):
        meter(client).add(2 + number)
        client._journal.save()  # type: ignore[union-attr]
    for client in clients:
        client._journal._file_lock.release()  # type: ignore[union-attr]
        client._meters = {}
    change = Store.change

    def crashing(store: Store, edit: Callable[[dict[str, Any]], object]) -> bool:
        assert store.path is not None
        is_own = store.path.name.endswith(".journal-0.json")
        return is_own == (which == "clearing") and change(store, edit)

    with monkeypatch.context() as broken:
        broken.setattr(Store, "change", crashing)
        first = world.client(key)
        taken = meter(first)._journal
    taken._file_lock.release()  # type: ignore[union-attr]
    first._meters, first._journal = {}, None
    world.network.is_down = False
    for _ in range(2):
        last = world.client(key)
        assert meter(last).flush()
        assert world.used() == 9
        last.close()


def test_what_is_added_while_a_request_hangs_is_stored_before_the_next_try(world: World) -> None:
    client = world.client(world.sell())
    client.entitlement()
    counted = meter(client)
    counted.add(1)
    handle, seen = world.network.handle, list[int]()

    def hanging(request: httpx.Request) -> httpx.Response:
        path = counted._journal.store.path
        assert path is not None
        seen.append(json.loads(path.read_text())["state"]["limits"]["exports"]["waiting"])
        if len(seen) < 3:
            counted.add(7)
            raise httpx.ReadTimeout("timed out", request=request)
        return handle(request)

    client._http._transport = httpx.MockTransport(hanging)
    assert counted.flush()
    assert seen[:3] == [0, 7, 14]


def dead_journals(world: World, key: str, *quantities: int) -> None:
    """Processes that have ended without sending what they had."""
    world.network.is_down = True
    clients = [world.client(key) for _ in quantities]
    for client, quantity in zip(clients, quantities, strict=True):
        meter(client).add(quantity)
        client._journal.save()  # type: ignore[union-attr]
    for client in clients:
        client._journal._file_lock.release()  # type: ignore[union-attr]
        client._meters = {}
    world.network.is_down = False


@pytest.mark.parametrize("number", range(1, 8))
def test_a_journal_that_cannot_be_read_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whichever reading fails, nothing is lost, and nothing counts twice."""
    key = world.sell()
    dead_journals(world, key, 3, 5)
    load, calls = Store.load, list[None]()

    def failing(store: Store) -> dict[str, Any]:
        if ".journal-" in str(store.path):
            calls.append(None)
            if len(calls) == number:
                raise OSError("too many open files")
        return load(store)

    with monkeypatch.context() as broken:
        broken.setattr(Store, "load", failing)
        first = world.client(key)
        meter(first).flush()
    first.close()
    last = world.client(key)
    assert meter(last).flush()
    assert world.used() == 8
    last.close()


def test_a_gap_in_the_numbers_hides_no_journal(world: World) -> None:
    key = world.sell()
    dead_journals(world, key, 3, 5, 7)
    [gap] = world.state.glob("*.journal-1.json")
    gap.unlink()
    assert meter(world.client(key)).flush()
    assert world.used() == 10


def test_what_is_merged_is_not_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash before the clearing; then others take over what is left, one after the other."""
    key = world.sell()
    dead_journals(world, key, 1, 2, 4)
    change = Store.change

    def keeping(store: Store, edit: Callable[[dict[str, Any]], object]) -> bool:
        is_own = str(store.path).endswith(".journal-0.json")
        return is_own and change(store, edit)

    with monkeypatch.context() as broken:
        broken.setattr(Store, "change", keeping)
        first = meter(world.client(key))._journal
    first._file_lock.release()  # type: ignore[union-attr]
    for _ in range(3):
        last = world.client(key)
        assert meter(last).flush()
        last.close()
    assert world.used() == 7


def test_a_closed_journal_is_not_written(world: World) -> None:
    client = world.client(world.sell())
    counted = meter(client)
    journal = counted._journal
    client.close()
    assert journal.store.path is not None
    before = journal.store.path.read_bytes()
    journal.add("exports", 5)
    assert not journal.save()
    assert journal.store.path.read_bytes() == before


def test_a_full_disk_while_a_part_fits_counts_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.sell(usageLimits=[{"key": "exports", "limit": 4}])
    client = world.client(key)
    counted = meter(client)
    counted.add(10)
    write = Store._write

    def filling(store: Store, state: dict[str, Any]) -> None:
        if state.get("aside"):
            raise OSError("no space left on device")
        write(store, state)

    with monkeypatch.context() as broken:
        broken.setattr(Store, "_write", filling)
        assert not counted.flush()
        assert world.used() == 0
    assert counted.flush()
    assert world.used() == 4
    assert [each.quantity for each in counted.aside] == [6]


def test_what_was_set_aside_can_be_forgotten(world: World) -> None:
    key = world.sell(usageLimits=[{"key": "exports", "limit": 1}])
    client = world.client(key)
    counted = meter(client)
    counted.add(3)
    assert counted.flush()
    assert len(counted.aside) == 1
    counted.forget_aside()
    client.close()
    assert meter(world.client(key)).aside == []


@pytest.mark.parametrize("odd", ["", ".", ".."])
def test_an_id_names_no_other_path(world: World, odd: str) -> None:
    client = world.client(world.sell())
    client.entitlement()
    before = len(world.network.seen)
    for ask in (lambda: client.release(odd), lambda: client.consume(odd)):
        with pytest.raises(ValueError, match="is no id"):
            ask()
    assert len(world.network.seen) == before


@pytest.mark.parametrize("key", ["lic_SECRET\nX", "lic_SECRET…", "", "lic_SECRET X"])
def test_a_key_that_is_none_is_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="the key is empty") as raised:
        Overdraft("https://x.example", key, stores=False)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("url", ["ftp://x", "x.example", "https://u:SECRET@x.example", ""])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="address of a stack") as raised:
        Overdraft(url, "lic_x", stores=False)
    assert "SECRET" not in str(raised.value)


def test_a_user_without_a_home_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*_: Any, **__: Any) -> str:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("platformdirs.user_state_dir", homeless)
    assert Overdraft("https://x.example", "lic_x")._core.store.path is None


@pytest.mark.parametrize("state", [None, [], {"seats": {"alice": None}}, {"seats": {"alice": 5}}])
def test_an_odd_state_is_none(world: World, state: Any) -> None:
    from overdraft._store import _sum

    key = world.sell()
    seat = world.client(key).seat("alice")
    seat.start()
    abandon(seat)
    [path] = world.state.glob("*.json")
    path.write_text(json.dumps({"form": 1, "sum": _sum(state), "state": state}))
    world.network.is_down = True
    with pytest.raises(overdraft.Unavailable):
        world.client(key).seat("alice").start()
    world.network.is_down = False
    again = world.client(key).seat("alice")
    again.start()
    assert again.source == "server"
    abandon(again)


def test_what_is_added_while_the_stack_is_down_is_stored(world: World) -> None:
    client = world.client(world.sell())
    client.entitlement()
    world.network.is_down = True
    quick = client.meter("exports", interval=0.05)
    quick.add(1)
    wait_until(lambda: len(world.network.seen) > 4)
    quick.add(41)

    def stored() -> int:
        limit = quick._journal.store.read().get("limits", {}).get("exports")
        under_way = limit and limit["sending"]
        return (limit["waiting"] + (under_way["quantity"] if under_way else 0)) if limit else 0

    wait_until(lambda: stored() == 42)
    world.network.is_down = False
    client.close()
    assert world.used() == 42


def test_what_is_no_quantity(world: World) -> None:
    client = world.client(world.sell())
    counted = meter(client)
    wrongs: tuple[Any, ...] = (1.5, "1", True, None)
    for wrong in wrongs:
        with pytest.raises(ValueError, match="whole number"):
            counted.add(wrong)
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        counted.add(1)


def test_a_fork_counts_by_itself(world: World) -> None:
    client = world.client(world.sell())
    client.entitlement()
    counted = meter(client)
    counted.add(5)
    client._leave_to_parent()  # what the child does first
    assert counted._journal.is_empty("exports")
    counted.add(3)
    assert counted.flush()
    assert world.used() == 3
    names = {path.name for path in world.state.glob("*.journal-*.json.owner")}
    assert len(names) == 2  # the parent's is still the parent's


def test_late_usage_says_when_it_was(world: World) -> None:
    client = world.client(world.sell())
    client.entitlement()
    sent = list[Any]()
    counted = meter(client)

    def consume(*_: Any, **more: Any) -> Iterator[None]:
        sent.append(more)
        yield from ()

    client._core.calls.consume = consume  # type: ignore[method-assign, assignment]
    counted.add(1)
    world.pass_time(2 * HOUR)
    counted.flush()
    assert sent[0]["journaled"]
    assert sent[0]["occurred_at"] == datetime.fromtimestamp(NOW_MS / 1000, UTC)


def test_an_async_meter(world: World) -> None:
    key = world.sell()

    async def work() -> None:
        async with world.async_client(key) as client:
            counted = client.meter("exports", interval=3_600, units=10)
            counted.add(4)
            assert await counted.flush()
            assert world.used() == 4
            counted.add(10)
            for _ in range(500):
                if world.used() == 14:
                    break
                await asyncio.sleep(0.01)
            counted.add(2)
        assert world.used() == 16

    asyncio.run(work())


# --- asyncio --------------------------------------------------------------------------------------


def test_the_same_names_await(world: World) -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Overdraft) == public(AsyncOverdraft)
    assert public(overdraft.Seat) == public(overdraft.AsyncSeat)
    assert public(overdraft.Meter) == public(overdraft.AsyncMeter)


def test_an_async_seat(world: World) -> None:
    key = world.sell()

    async def work() -> None:
        async with world.async_client(key) as client:
            world.network.faults[:] = ["lost", "broken"]
            async with client.seat("alice", on_change=world.note) as seat:
                assert seat.source == "server"
                assert len(world.held()) == 1
                assert (await client.consume("exports", 2)).quantity == 2
                assert len([each async for each in client.held_seats()]) == 1
                assert (await client.usage())[0].usage.used == 2
                assert (await client.entitlement()).entitlement_id == world.id
                world.pass_time(5 * HOUR)
                first = seat.activation
                for _ in range(300):
                    if seat.activation is not first:
                        break
                    seat._state.due = 0
                    await seat.renew()
                assert seat.activation is not first
                world.network.is_down = True
                await seat.renew()
                assert (seat.source, world.kinds) == ("server", ["offline"])
                world.network.is_down = False
            assert world.held() == []
            taken = await client.take("bob")
            await client.release(taken.activation_id)
            with pytest.raises(overdraft.NotFound):
                await client.consume("imports")

    asyncio.run(work())


def test_async_software_starts_offline(world: World) -> None:
    key = world.sell()
    seat = world.client(key).seat("alice")
    seat.start()
    abandon(seat)
    world.network.is_down = True

    async def work() -> None:
        client = world.async_client(key)
        async with client.seat("alice") as held:
            assert held.source == "lease"
        with pytest.raises(overdraft.Unavailable):
            await client.seat("bob").start()

    asyncio.run(work())


def test_cancelled_software_leaks_no_seat(world: World) -> None:
    key = world.sell()

    async def work() -> None:
        client = world.async_client(key)
        await client.entitlement()
        begun = asyncio.Event()
        handle = client._send

        async def slow(request: Any) -> Any:
            if request.method == "POST":
                begun.set()
                await asyncio.sleep(0.05)
            return await handle(request)

        client._send = slow  # type: ignore[method-assign]
        task = asyncio.create_task(client.seat("alice").start())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert world.held() == []

    asyncio.run(work())


def test_a_seat_may_be_given_back_when_something_changes(world: World) -> None:
    key = world.sell(seatCount=0)

    async def work() -> None:
        client = world.async_client(key)
        before = asyncio.all_tasks()
        seat = client.seat("alice", on_change=lambda held, _: held.release())
        await seat.start()
        for _ in range(200):
            if not asyncio.all_tasks() - before:
                break
            await asyncio.sleep(0.01)
        assert not asyncio.all_tasks() - before
        assert world.held() == []

    asyncio.run(work())


# --- Rules ----------------------------------------------------------------------------------------


def test_settings_that_do_not_go_together() -> None:
    wrongs: list[dict[str, Any]] = [
        {},
        {"license_key": "lic_x.y", "api_key": "key_x.y"},
        {"api_key": "key_x.y"},
        {"license_key": "lic_x.y", "offline": "sometimes"},
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"license_key|entitlement_id|offline"):
            Overdraft("https://x.example", stores=False, **wrong)


def test_a_time_without_a_zone_is_refused() -> None:
    client = Overdraft("https://x.example", "lic_x.y", stores=False)
    with pytest.raises(ValueError, match="time zone"):
        client.consume("exports", occurred_at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_new_state_is_worth_nothing() -> None:
    assert SeatState("grace", 3600).source(1e9) is None
    assert SeatState("deny", 3600).source(1e9) is None
    assert SeatState("allow", 0).source(1e9) == "policy"


def test_the_version_is_that_of_the_stack() -> None:
    assert overdraft.__version__ == (ROOT / "VERSION").read_text().strip()
