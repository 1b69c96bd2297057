"""The seat core against a model of it: any order of events, with time, faults and retries.

The model is a dict of holders and the rules as the concepts page states them; the code under test
runs on Amazon's own engine. After every step the shard, the answers and the record must agree.
"""

import contextlib
import itertools
from collections import Counter
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
)

from local.dynamodb import DynamoDBLocal
from shared import problems
from shared.audit import Change
from shared.clock import EPOCH
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import DENIAL_SHARDS, borrowed_seats_key, seat_shard_key
from shared.dynamodb.requests import Accepted, Get, Query, Transact
from shared.seats import activation
from shared.seats.borrowing import BorrowedSeats
from shared.seats.encoding import activation_id, decode_grant, parse_activation_id, seat_key
from shared.seats.holder import Holder
from shared.seats.leases import sweep_shard
from shared.seats.pending import ActivationResult
from shared.seats.release import release_grant
from shared.seats.shard import CLOCK_GRACE, SeatShard
from shared.seats.terms import borrowing_writes, new_shard_put, shard_terms_update
from tests.support.machine import Lost, drive, run_machine
from tests.support.seats import NOW, new_id, read_shard_item, terms
from tests.support.tables import create_table, open_client

SEATS = [f"user{number}" for number in range(9)]
GRACE = CLOCK_GRACE


class Clock(NamedTuple):
    """When the overdraft began, and when use fell to what was purchased."""

    since: int
    fell: int | None


class Held(NamedTuple):
    grant_id: int
    is_overdraft: bool
    end: int | None
    is_borrowed: bool = False


class SeatShardMachine(RuleBasedStateMachine):
    """Rules are what can happen to an entitlement; each is checked against the model at once."""

    dynamodb: DynamoDBClient
    activations = Bundle("activations")

    def __init__(self) -> None:
        super().__init__()
        self.entitlement_id = new_id()
        self.now = NOW
        self.valid = terms(3, 5, lease=600)
        self.held: dict[str, Held] = {}
        self.clock: Clock | None = None
        self.attempts: Counter[str] = Counter()
        self.seq = 1
        self.grant_ids = itertools.count(1)
        self.requests = itertools.count(1)
        self.may_borrow(2, 7_200)
        shard = new_shard_put(self.entitlement_id, self.valid, self.change())
        assert isinstance(self.dynamodb.execute(shard), Accepted)

    @rule(most=st.sampled_from([0, 1, 2, 4]), longest=st.sampled_from([0, 900, 7_200]))
    def may_borrow(self, most: int, longest: int) -> None:
        self.most, self.longest = most, longest
        valid = terms()._replace(most_borrowed=most, longest_lease=longest or None)
        before = terms()._replace(most_borrowed=-1)
        for write in borrowing_writes(self.entitlement_id, before, valid):
            self.dynamodb.execute(write)

    def change(self) -> Change:
        return Change("key_test", f"req-{next(self.requests)}", self.now * 1000)

    def run(self, operation: Any, lose: int | None = None, crash: int | None = None) -> Any:
        return drive(self.dynamodb, operation, lambda: self.now, lose, crash)

    # --- The model's own view -------------------------------------------------------------------

    def lease(self, *, is_overdraft: bool) -> int | None:
        own = self.valid.overdraft_lease if is_overdraft else None
        return own or self.valid.lease

    def end(self, *, is_overdraft: bool) -> int | None:
        lease = self.lease(is_overdraft=is_overdraft)
        return None if lease is None else self.now + lease

    def refusal(self) -> type[problems.Problem] | None:
        if self.valid.status == "suspended":
            return problems.EntitlementSuspended
        if self.valid.valid_until is not None and self.now >= self.valid.valid_until:
            return problems.EntitlementExpired
        return None

    def stale(self) -> list[str]:
        return [
            seat_id
            for seat_id, held in self.held.items()
            if held.end is not None and held.end + GRACE <= self.now
        ]

    def clock_now(self) -> Clock | None:
        """The clock that runs or has ended. Use falls when leases end, whoever notices it."""
        period = self.valid.overdraft_period
        if period is None or self.clock is None or self.refusal():
            return None
        clock = self.clock
        if clock.fell is None:
            for moment in sorted((self.held[each].end or 0) + GRACE for each in self.stale()):
                later = [
                    held
                    for held in self.held.values()
                    if held.end is None or held.end + GRACE > moment
                ]
                if len(later) <= self.valid.purchased:
                    clock = clock._replace(fell=moment)
                    break
        is_over = clock.fell is not None and clock.fell + period.recovery <= self.now
        return None if is_over else clock

    def has_ended(self) -> bool:
        clock, period = self.clock_now(), self.valid.overdraft_period
        return clock is not None and period is not None and clock.since + period.length <= self.now

    def cap(self) -> int | None:
        vendors = self.valid.purchased if self.has_ended() else self.valid.hard_cap
        own = self.valid.customer_cap
        return own if vendors is None else vendors if own is None else min(own, vendors)

    def expect_take(self, seat_id: str, grant_id: int, *, hint: bool = False) -> tuple[str, Any]:
        """What must happen, and the model's change if it does.

        With `hint` the overdraft write goes first; where it is refused the whole shard is looked
        at, so stale leases are freed although there is free capacity without that.
        """
        refusal = self.refusal()
        if seat_id in self.held:
            held = self.held[seat_id]
            if refusal:
                return "refused", refusal
            return "renewed", held
        looked_at = hint and bool(self.stale())
        own = self.valid.customer_cap
        within = self.valid.purchased if own is None else min(own, self.valid.purchased)
        if len(self.held) < within and not looked_at:
            # The blind write looks at no lease: there is free capacity within what was purchased.
            return (
                ("refused", refusal)
                if refusal
                else ("within", Held(grant_id, False, self.end(is_overdraft=False)))
            )
        if refusal:
            return "refused", refusal
        stale = self.stale()
        left = len(self.held) - len(stale)
        cap = self.cap()
        if cap is not None and left >= cap:
            return "denied", None
        is_overdraft = left >= self.valid.purchased
        return ("reclaim" if stale else "overdraft"), Held(
            grant_id, is_overdraft, self.end(is_overdraft=is_overdraft)
        )

    # --- What can happen ------------------------------------------------------------------------

    def take(self, seat_id: str, *, hint: bool, lose: int | None = None) -> Any:
        grant_id = (self.now - EPOCH) * 100_000 + next(self.grant_ids)
        kind, expected = self.expect_take(seat_id, grant_id, hint=hint)
        change = self.change()
        operation = activation.take(
            self.entitlement_id, Holder(seat_id), change, grant_id, expect_overdraft=hint
        )
        try:
            grant = self.run(operation, lose=lose)
        except problems.Denied as denied:
            assert kind == "denied"
            valid = self.valid
            is_in_time = valid.hard_cap == valid.purchased or not self.has_ended()
            own = valid.customer_cap is not None and (
                is_in_time or valid.customer_cap < valid.purchased
            )
            assert isinstance(denied, problems.CustomerCapReached) == own
            assert isinstance(denied, problems.HardCapReached) == (is_in_time and not own)
            assert denied.extensions["seats"]["used"] == len(self.held)
            self.attempts[seat_id] += 1
            return None
        except problems.Problem as problem:
            assert (kind, type(problem)) == ("refused", expected)
            return None
        assert kind not in ("denied", "refused")
        if kind == "renewed":
            self.renewed(seat_id, expected, grant)
        else:
            self.taken(seat_id, kind, expected, grant)
        return activation_id(seat_key(self.entitlement_id, seat_id), grant.held.grant_id)

    def renewed(self, seat_id: str, before: Held, grant: ActivationResult) -> None:
        assert not grant.is_new
        assert (grant.held.grant_id, grant.held.is_overdraft) == before[:2]
        lease = self.lease(is_overdraft=before.is_overdraft)
        if before.is_borrowed:
            due = lease is None or (before.end or 0) < self.now + lease
        elif lease is None or before.end is None:
            due = (lease is None) != (before.end is None)
        else:
            due = before.end - self.now < lease / 2 or before.end - self.now > lease + GRACE
        if due:
            self.seq += 1
            self.renew(seat_id)
        assert grant.held.is_borrowed == self.held[seat_id].is_borrowed
        assert grant.held.lease_end == self.held[seat_id].end

    def taken(self, seat_id: str, kind: str, expected: Held, grant: ActivationResult) -> None:
        assert grant.is_new, "the request that took the seat was told that it renewed one"
        self.took(seat_id, kind, expected)
        assert grant.shard.used == len(self.held)
        assert Held(*grant.held) == expected

    def took(self, seat_id: str, kind: str, expected: Held) -> None:
        """The model's change when a seat was granted."""
        if kind != "within":
            self.clock = self.clock_now()
        if kind == "reclaim":
            for stale in self.stale():
                del self.held[stale]
        self.seq += 1
        self.held[seat_id] = expected
        if expected.is_overdraft and self.valid.overdraft_period:
            self.clock = Clock(self.clock.since if self.clock else self.now, None)

    @rule(
        target=activations,
        seat_id=st.sampled_from(SEATS),
        hint=st.booleans(),
        lose=st.one_of(st.none(), st.integers(0, 2)),
    )
    def ask(self, seat_id: str, hint: bool, lose: int | None) -> Any:
        named = self.take(seat_id, hint=hint, lose=lose)
        return multiple(named) if named else multiple()

    @rule(
        target=activations,
        seat_id=st.sampled_from(SEATS),
        hint=st.booleans(),
        crash=st.integers(0, 2),
    )
    def ask_crash_and_ask_again(self, seat_id: str, hint: bool, crash: int) -> Any:
        """The process may end between any two requests; the client then asks again."""
        grant_id = (self.now - EPOCH) * 100_000 + next(self.grant_ids)
        operation = activation.take(
            self.entitlement_id, Holder(seat_id), self.change(), grant_id, expect_overdraft=hint
        )
        kind, expected = self.expect_take(seat_id, grant_id, hint=hint)
        try:
            self.run(operation, crash=crash)
        except Lost:
            self.follow_a_crash(seat_id, kind, expected)
        except problems.Denied:
            assert kind == "denied"
            self.attempts[seat_id] += 1
        except problems.Problem as problem:
            assert (kind, type(problem)) == ("refused", expected)
        else:
            self.follow_a_crash(seat_id, kind, expected)
        named = self.take(seat_id, hint=hint)
        return multiple(named) if named else multiple()

    def follow_a_crash(self, seat_id: str, kind: str, expected: Any) -> None:
        """Bring the model to where the shard is: a crash leaves all of a change or nothing."""
        shard = read_shard_item(self.dynamodb, self.entitlement_id)
        if kind == "denied":
            self.attempts[seat_id] = self.attempts_on_record()[seat_id]
            return
        if shard["seq"] == self.seq:
            return
        assert shard["seq"] == self.seq + 1
        if kind == "renewed":
            self.seq += 1
            self.renew(seat_id)
        else:
            self.took(seat_id, kind, expected)

    def borrowed(self) -> dict[str, int]:
        """The borrowed seats whose leases have not ended."""
        return {
            seat_id: held.end
            for seat_id, held in self.held.items()
            if held.is_borrowed and held.end is not None and held.end + GRACE > self.now
        }

    def expect_borrow(self, seat_id: str, seconds: int, grant_id: int) -> tuple[str, Any]:
        """What must happen to a request that borrows a seat, which always looks at the shard."""
        kind, expected = self.expect_take(seat_id, grant_id, hint=True)
        end = self.now + seconds
        if kind == "refused":
            return kind, expected
        lease = self.valid.lease
        if lease is None or not self.longest or not lease < seconds <= self.longest:
            return "refused", problems.InvalidRequest
        if kind == "renewed" and expected.is_borrowed and end < expected.end + 60:
            return "kept", expected
        if seat_id not in self.borrowed() and len(self.borrowed()) >= self.most:
            return "refused", problems.BorrowLimitReached
        if kind == "denied":
            return kind, None
        return kind, expected._replace(end=end, is_borrowed=True)

    @rule(
        target=activations,
        seat_id=st.sampled_from(SEATS),
        seconds=st.sampled_from([600, 700, 900, 3_700, 7_200, 7_201]),
        lose=st.one_of(st.none(), st.integers(0, 4)),
    )
    def borrow(self, seat_id: str, seconds: int, lose: int | None) -> Any:
        grant_id = (self.now - EPOCH) * 100_000 + next(self.grant_ids)
        kind, expected = self.expect_borrow(seat_id, seconds, grant_id)
        try:
            grant = self.run(self.borrowing(seat_id, seconds, grant_id), lose=lose)
        except problems.Denied:
            assert kind == "denied"
            self.attempts[seat_id] += 1
            return multiple()
        except problems.Problem as problem:
            assert (kind, type(problem)) == ("refused", expected)
            return multiple()
        assert kind not in ("denied", "refused")
        self.follow_borrowing(seat_id, kind, expected)
        assert Held(*grant.held) == expected
        assert grant.is_new == (kind not in ("kept", "renewed"))
        return activation_id(seat_key(self.entitlement_id, seat_id), grant.held.grant_id)

    @rule(
        seat_id=st.sampled_from(SEATS),
        seconds=st.sampled_from([700, 3_700, 7_200]),
        crash=st.integers(0, 4),
    )
    def borrow_and_crash(self, seat_id: str, seconds: int, crash: int) -> None:
        """The process may end between any two requests: both items have changed, or none."""
        grant_id = (self.now - EPOCH) * 100_000 + next(self.grant_ids)
        kind, expected = self.expect_borrow(seat_id, seconds, grant_id)
        with contextlib.suppress(Lost, problems.Problem):
            self.run(self.borrowing(seat_id, seconds, grant_id), crash=crash)
        if kind == "denied":
            self.attempts[seat_id] = self.attempts_on_record()[seat_id]
        elif read_shard_item(self.dynamodb, self.entitlement_id)["seq"] != self.seq:
            self.follow_borrowing(seat_id, kind, expected)

    def borrowing(self, seat_id: str, seconds: int, grant_id: int) -> Any:
        return activation.take(
            self.entitlement_id,
            Holder(seat_id),
            self.change(),
            grant_id,
            borrow_seconds=seconds,
        )

    def follow_borrowing(self, seat_id: str, kind: str, expected: Held) -> None:
        if kind == "renewed":
            self.seq += 1
            self.held[seat_id] = expected
        elif kind != "kept":
            self.took(seat_id, kind, expected)
        is_longer = kind in ("kept", "renewed")
        assert is_longer or len(self.borrowed()) <= self.most, "more are borrowed than may be"

    @rule(named=activations, lose=st.sampled_from([None, 0]))
    def release(self, named: str, lose: int | None) -> None:
        """Any grant there ever was: the current one, a repeated or a late release."""
        key, grant_id = parse_activation_id(named)
        holder = next(
            (
                seat_id
                for seat_id, held in self.held.items()
                if seat_key(self.entitlement_id, seat_id) == key and held.grant_id == grant_id
            ),
            None,
        )
        released = self.run(release_grant(self.entitlement_id, named, self.change()), lose=lose)
        # Under a clock, a lease that has expired is swept first: then it is not held any more.
        is_swept = self.clock is not None and holder in self.stale()
        if lose is None and not is_swept:
            assert released == (holder is not None)
        if holder is None:
            return
        if self.clock is None:
            del self.held[holder]
            self.seq += 1
        else:
            self.released_under_a_clock(holder)

    def released_under_a_clock(self, holder: str) -> None:
        """The release may have swept the shard first, since use may have fallen before it."""
        shard = read_shard_item(self.dynamodb, self.entitlement_id)
        known = {seat_key(self.entitlement_id, seat_id): seat_id for seat_id in self.held}
        gone = {seat_id for key, seat_id in known.items() if key not in shard["seats"]}
        assert holder in gone
        assert gone - {holder} <= set(self.stale())
        assert shard["seq"] > self.seq
        self.seq = shard["seq"]
        clock, was_above = self.clock_now(), len(self.live()) > self.valid.purchased
        for seat_id in gone:
            del self.held[seat_id]
        for key, value in shard["seats"].items():
            seat_id = known[key]
            if Held(*decode_grant(value)) != self.held[seat_id]:
                assert seat_id in self.of_other_terms()
                self.renew(seat_id)
        self.clock = clock
        if clock and was_above and len(self.live()) <= self.valid.purchased:
            self.clock = clock._replace(fell=self.now)

    def live(self) -> set[str]:
        return self.held.keys() - set(self.stale())

    @rule(seconds=st.sampled_from([1, 4, 6, 59, 299, 301, 604, 606, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(lose=st.sampled_from([None, 0, 1]))
    def sweep(self, lose: int | None) -> None:
        freed = self.run(sweep_shard(seat_shard_key(self.entitlement_id), self.change()), lose=lose)
        stale = self.stale()
        if lose is None:
            assert freed == len(stale)
        if stale:
            self.seq += 1
            self.clock = self.clock_now()
        for seat_id in stale:
            del self.held[seat_id]
        if stale and lose is None:
            return
        # Nothing expired, or the sweep that lost an answer may have looked again. Leases that the
        # terms cannot have given begin anew.
        self.run(sweep_shard(seat_shard_key(self.entitlement_id), self.change()))
        others = self.of_other_terms()
        self.seq += bool(others)
        for seat_id in others:
            self.renew(seat_id)

    def renew(self, seat_id: str) -> None:
        held = self.held[seat_id]
        self.held[seat_id] = held._replace(
            end=self.end(is_overdraft=held.is_overdraft), is_borrowed=False
        )

    def of_other_terms(self) -> list[str]:
        return [seat_id for seat_id, held in self.held.items() if self.is_of_other_terms(held)]

    def is_of_other_terms(self, held: Held) -> bool:
        if held.is_borrowed:
            return False
        lease = self.lease(is_overdraft=held.is_overdraft)
        if lease is None or held.end is None:
            return (lease is None) != (held.end is None)
        return held.end > self.now + lease + GRACE

    @rule(
        limits=st.sampled_from([(3, 5), (0, 2), (5, 5), (2, 3), (8, 9), (4, None)]),
        leases=st.sampled_from(
            [(None, None), (60, None), (600, None), (600, 60), (3600, 600), (None, 300)]
        ),
        status=st.sampled_from(["active", "active", "active", "suspended"]),
        ends_in=st.sampled_from([None, None, 500, 5000]),
        period=st.sampled_from([None, (60, 300), (600, 60), (3600, 600)]),
        own=st.sampled_from([None, None, 0, 2, 4]),
    )
    def terms_change(
        self,
        limits: tuple[int, int | None],
        leases: tuple[int | None, int | None],
        status: str,
        ends_in: int | None,
        period: tuple[int, int] | None,
        own: int | None,
    ) -> None:
        if period and self.stale():
            self.sweep(lose=None)
        until = None if ends_in is None else self.now + ends_in
        lease, overdraft_lease = leases
        valid = terms(*limits, lease=lease, status=status, valid_until=until, period=period)
        is_lower = own is not None and (valid.hard_cap is None or own < valid.hard_cap)
        valid = valid._replace(
            overdraft_lease=overdraft_lease, customer_cap=own if is_lower else None
        )
        shard = SeatShard.of(read_shard_item(self.dynamodb, self.entitlement_id))
        write = shard_terms_update(
            self.entitlement_id,
            valid,
            self.change(),
            lease_changed=valid.leases != self.valid.leases,
            seen=shard,
        )
        assert isinstance(self.dynamodb.execute(Transact((write,))), Accepted)
        before, clock, self.valid = self.valid, self.clock_now(), valid
        self.seq += 1
        self.clock = None
        if period is None or status != "active":
            return
        if len(self.live()) > valid.purchased:
            self.clock = Clock(clock.since if clock else self.now, None)
        elif clock and valid.purchased <= before.purchased:
            # Nothing was bought: the dip goes on.
            fell = self.now if clock.fell is None else clock.fell
            self.clock = Clock(clock.since, fell)

    @rule(number=st.integers(0, 8))
    def ask_at_the_end(self, number: int) -> None:
        """At the second in which the period ends."""
        clock, period = self.clock_now(), self.valid.overdraft_period
        if clock and period and clock.since + period.length > self.now:
            self.now = clock.since + period.length - 1
            self.take(SEATS[number], hint=True)
            self.now += 1
            self.take(SEATS[(number + 4) % 9], hint=False)

    @rule(seat_id=st.sampled_from(SEATS))
    def preview(self, seat_id: str) -> None:
        kind, expected = self.expect_take(seat_id, 0, hint=True)
        try:
            grant = self.run(activation.preview(self.entitlement_id, Holder(seat_id), self.now))
        except problems.Denied:
            assert kind == "denied"
        except problems.Problem as problem:
            assert (kind, type(problem)) == ("refused", expected)
        else:
            assert grant.is_new == (kind != "renewed")
            if kind in ("overdraft", "reclaim"):
                assert grant.held.is_overdraft == expected.is_overdraft

    # --- What must always hold ------------------------------------------------------------------

    def attempts_on_record(self) -> Counter[str]:
        recorded: Counter[str] = Counter()
        for shard in range(DENIAL_SHARDS):
            found = self.dynamodb.execute(
                Query("pk = :pk", {":pk": f"DENIAL#{self.entitlement_id}#{shard:x}"})
            )
            for item in found.items:
                recorded[item["seatId"]] += item["attempts"]
        return recorded

    @invariant()
    def shard_equals_the_model(self) -> None:
        shard = read_shard_item(self.dynamodb, self.entitlement_id)
        seats = {key: Held(*decode_grant(value)) for key, value in shard["seats"].items()}
        assert seats == {
            seat_key(self.entitlement_id, seat_id): held for seat_id, held in self.held.items()
        }
        assert shard["seq"] == self.seq
        item = self.dynamodb.execute(Get(borrowed_seats_key(self.entitlement_id)))
        assert BorrowedSeats.of(item).at(self.now).ends == {
            seat_key(self.entitlement_id, seat_id): end for seat_id, end in self.borrowed().items()
        }
        clock, period = self.clock_now(), self.valid.overdraft_period
        stored = SeatShard.of(shard).clock_at(self.now)
        if clock is None or period is None:
            assert stored is None
        else:
            recovers = None if clock.fell is None else clock.fell + period.recovery
            assert stored == (clock.since, clock.since + period.length, recovers)
        if shard.get("recoversAt", 0) > self.now:
            assert len(shard["seats"]) < shard["firstOver"], "used above what was purchased"
        ends = [held.end for held in self.held.values() if held.end is not None]
        if ends:
            assert shard["earliest"] <= min(ends), "a lease could run out unseen"
        if self.of_other_terms():
            assert shard["earliest"] <= self.now, "a lease of earlier terms could stay unseen"

    def teardown(self) -> None:
        assert self.attempts_on_record() == +self.attempts


def test_a_shard_behaves_as_its_model(engine: DynamoDBLocal) -> None:
    SeatShardMachine.dynamodb = open_client(engine.url, create_table(engine.url))
    run_machine(SeatShardMachine, examples=24, steps=40)


@pytest.mark.parametrize("grant_id", [0, 1, 10**14 - 1, 2**47])
def test_activation_ids_have_seat_key_and_grant_id(grant_id: int) -> None:
    key = seat_key("ent_a", "user")
    assert parse_activation_id(activation_id(key, grant_id)) == (key, grant_id)
