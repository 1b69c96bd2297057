"""Borrowed seats: taken for longer than the lease, a bounded number of them at a time.

One item of an entitlement has its borrowed seats with the ends of their leases, and how many there
may be. It is written in one transaction with the shard on which the seat is held, so both always
agree, also in a pool. An entry whose lease has ended does not count any more, and leaves the item
when somebody else needs its place.
"""

from collections.abc import Mapping
from typing import NamedTuple

from shared.clock import to_duration
from shared.dynamodb.expressions import set_and_remove
from shared.dynamodb.keys import borrowed_seats_key, seat_shard_key
from shared.dynamodb.requests import (
    Accepted,
    Cancelled,
    Conflicted,
    Get,
    Item,
    Operation,
    Refused,
    Transact,
    Update,
    send,
)
from shared.problems import BorrowLimitReached, InvalidRequest
from shared.seats.encoding import NO_LEASE, decode_grant
from shared.seats.pending import PendingActivation
from shared.seats.shard import CLOCK_GRACE, SeatShard, lease_expiry

MOST_BORROWED = 1_000  # about 35 KB in one item
# The most entries that leave the item in one write: an expression has at most 4 KB.
MOST_REMOVED = 100


class BorrowedSeats(NamedTuple):
    """The borrowed seats of an entitlement: the ends of their leases by their keys, Unix seconds.

    `most` may be borrowed at a time, for `longest` seconds; 0: none.
    """

    ends: Mapping[str, int]
    most: int
    longest: int

    @classmethod
    def of(cls, item: Item | None) -> "BorrowedSeats":
        """The borrowed seats in their item; None: nobody could ever borrow one."""
        item = item or {}
        return cls(item.get("borrowed", {}), item.get("most", 0), item.get("longest", 0))

    def at(self, now: int) -> "BorrowedSeats":
        """Those whose leases have not ended at `now`."""
        held = {key: end for key, end in self.ends.items() if end + CLOCK_GRACE > now}
        return self._replace(ends=held)


def read_borrowed(entitlement_id: str) -> Operation[BorrowedSeats]:
    """Read the borrowed seats of an entitlement."""
    return BorrowedSeats.of((yield from send(Get(borrowed_seats_key(entitlement_id)))))


def return_update(entitlement_id: str, key: str) -> Update:
    """The end of borrowing a seat: it is released, or has the shard's own lease again."""
    return Update(
        borrowed_seats_key(entitlement_id),
        "REMOVE borrowed.#k",
        "attribute_exists(pk)",
        {"#k": key},
        {},
    )


def prepare(pending: PendingActivation, shard: SeatShard) -> Operation[None]:
    """Put into the request's transaction what it does to the borrowed seats.

    Raises:
        InvalidRequest: seats of this entitlement cannot be borrowed for so long.
        BorrowLimitReached: as many seats are borrowed as may be.
    """
    pending.with_borrowing = ()
    held = shard.seats.get(pending.key)
    if pending.borrow_seconds is not None:
        # The entry and the seat end at the same second, whenever the seat is written.
        pending.borrowed_until = pending.change.now + pending.borrow_seconds
        pending.with_borrowing = ((yield from _borrow(pending, shard, pending.borrow_seconds)),)
    elif held is not None and decode_grant(held).is_borrowed:
        pending.with_borrowing = (return_update(pending.entitlement_id, pending.key),)


def check_length(pending: PendingActivation, shard: SeatShard) -> Operation[None]:
    """Refuse to a holder, too, what seats cannot be borrowed for.

    Raises:
        InvalidRequest.
    """
    if pending.borrow_seconds is not None:
        borrowed = yield from read_borrowed(pending.entitlement_id)
        _check_length(borrowed, shard, pending.borrow_seconds)


def check(pending: PendingActivation, shard: SeatShard) -> Operation[None]:
    """Refuse what `prepare` refuses to a request that borrows; write nothing."""
    borrowed = yield from read_borrowed(pending.entitlement_id)
    _check_length(borrowed, shard, pending.borrow_seconds or 0)
    present = borrowed.at(pending.change.now)
    if pending.key not in present.ends and len(present.ends) >= present.most:
        raise _limit_reached(present)


def _borrow(pending: PendingActivation, shard: SeatShard, seconds: int) -> Operation[Update]:
    """The beginning of borrowing a seat, or of borrowing it for longer."""
    item_key, now = borrowed_seats_key(pending.entitlement_id), pending.change.now
    borrowed = yield from read_borrowed(pending.entitlement_id)
    _check_length(borrowed, shard, seconds)
    present = borrowed.at(now)
    if pending.key not in present.ends:
        if len(present.ends) >= present.most:
            raise _limit_reached(present)
        if len(borrowed.ends) >= borrowed.most:
            yield from send(_without_ended(pending.entitlement_id, borrowed, now))
    return Update(
        item_key,
        "SET borrowed.#k = :end",
        # Who has borrowed it still may have it for longer; an entry that has ended is none.
        "longest >= :seconds AND (borrowed.#k > :ended OR size(borrowed) < most)",
        {"#k": pending.key},
        {
            ":end": pending.borrowed_until or now + seconds,
            ":seconds": seconds,
            ":ended": now - CLOCK_GRACE,
        },
    )


def _check_length(borrowed: BorrowedSeats, shard: SeatShard, seconds: int) -> None:
    wrong = ""
    if not borrowed.longest:
        wrong = "cannot be given: this entitlement has no maxLeasePeriod"
    elif shard.lease_seconds == NO_LEASE:
        wrong = "cannot be given: seats of this entitlement are held until they are released"
    elif seconds > borrowed.longest:
        wrong = f"must be at most the entitlement's maxLeasePeriod, {to_duration(borrowed.longest)}"
    elif seconds <= shard.lease_seconds:
        own = to_duration(shard.lease_seconds)
        wrong = f"must be longer than the entitlement's leasePeriod, {own}, or missing"
    if wrong:
        raise InvalidRequest.at("/leasePeriod", wrong)


def _limit_reached(borrowed: BorrowedSeats) -> BorrowLimitReached:
    first = min(borrowed.ends.values(), default=None)
    return BorrowLimitReached(
        f"{len(borrowed.ends)} seats are borrowed, and {borrowed.most} may be at a time. Without"
        " leasePeriod, a seat may be free.",
        extensions={
            "borrowedSeats": {"used": len(borrowed.ends), "max": borrowed.most},
            "nextLeaseExpiry": lease_expiry(first),
        },
    )


def _without_ended(entitlement_id: str, borrowed: BorrowedSeats, now: int) -> Update:
    """Remove entries whose leases have ended, if they are as they were read."""
    ended = sorted(borrowed.ends.keys() - borrowed.at(now).ends.keys())[:MOST_REMOVED]
    places = [f"borrowed.#e{number}" for number in range(len(ended))]
    return Update(
        borrowed_seats_key(entitlement_id),
        set_and_remove([], places),
        " AND ".join(f"{place} <= :ended" for place in places),
        {f"#e{number}": key for number, key in enumerate(ended)},
        {":ended": now - CLOCK_GRACE},
    )


def send_with_borrowing(
    pending: PendingActivation, write: Update
) -> Operation[Accepted | Refused | Conflicted]:
    """Send a request's write, in one transaction with what it does to the borrowed seats.

    The reply is that of the write. A request that borrows a seat has to read the shard first: until
    then it is refused.
    """
    if not pending.with_borrowing:
        if pending.borrow_seconds is None:
            return (yield from send(write))
        return Refused((yield from send(Get(pending.place.key))))
    reply = yield from send(Transact((write, *pending.with_borrowing)))
    if isinstance(reply, Cancelled):
        # If only the borrowed seats have changed, the shard is looked at again all the same.
        return Refused(reply.reasons[0][1] or (yield from send(Get(pending.place.key))))
    if isinstance(reply, Conflicted):
        return reply
    # A transaction returns nothing. The seat may be released again by now; it was granted all the
    # same.
    item = yield from send(Get(pending.place.key))
    if item is None:  # seats were moved meanwhile; the first shard always exists
        item = (yield from send(Get(seat_shard_key(pending.entitlement_id)))) or {}
    seat = write.values[":seat"]
    assert isinstance(seat, int)
    value = SeatShard.of(item).with_lease(seat)
    return Accepted({**item, "seats": {pending.key: value, **item["seats"]}})
