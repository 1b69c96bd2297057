"""Pools: taking and giving back seats, on one page or on many.

Up to 128 seats have one page, whose limits are those of the entitlement. A larger pool has several,
and a seat's page follows from its key. Each page owns an *allowance*, so many seats it may hold by
itself; the allowances always add up to the hard cap, so a grant is one write on one page, and the
cap is never exceeded (escrow: O'Neil 1986; demarcation: Barbará and Garcia-Molina 1992; bounded
counters: Balegas 2015). A page without room takes half the slack of the roomiest of a few others
together with the seat, in a transaction of two items.

Pages that may have room carry a mark with a sparse index. What adds room sets it in its own write;
whoever looks for room and finds none takes it away. So the index may name a page too many, and a
page too few only for as long as it lags.
"""

from shared import problems
from shared.audit import Change
from shared.dynamodb.patterns import ROUNDS, write_with_conflict_retry
from shared.dynamodb.requests import (
    Accepted,
    Conflicted,
    Item,
    Operation,
    Pause,
    Reply,
)
from shared.seats.cache import PoolCache
from shared.seats.encoding import encode_seat
from shared.seats.leases import reclaim_expired_leases
from shared.seats.lookup import find_shard, find_shard_of
from shared.seats.pending import Grant, PendingActivation
from shared.seats.placement import Place
from shared.seats.rebalancing import find_seat_elsewhere, has_free_seat
from shared.seats.shard import Decision, SeatShard, check_seats, decide, lease_expiry
from shared.seats.writes import (
    Holder,
    seat_denial,
)


def take(
    entitlement_id: str,
    holder: Holder,
    change: Change,
    grant_id: int,
    *,
    cache: PoolCache | None = None,
    expect_overdraft: bool = False,
) -> Operation[Grant]:
    """Take a seat, or renew the one the holder has.

    `memory` is what the caller remembers of pools of several pages. `expect_overdraft` tries the
    overdraft write first: worth it for a caller that last saw a page that has all the seats at its
    limit. Both change the number of round trips, never whether a seat is given.

    Raises:
        NotFound, EntitlementSuspended, EntitlementExpired, EntitlementNotYetValid,
        HardCapReached (with `seats` and `nextLeaseExpiry`; on record), Contention.
    """
    cache = cache or PoolCache()
    pending = PendingActivation(
        entitlement_id, holder, change, grant_id, cache.recall(entitlement_id, change.now_ms)
    )
    try:
        return (yield from _take(pending, expect_overdraft=expect_overdraft))
    finally:
        cache.note(entitlement_id, pending.remembered(), pending.change.now_ms)


def _take(pending: PendingActivation, *, expect_overdraft: bool) -> Operation[Grant]:
    yield from pending.go_to(pending.place)
    write = pending.first_write(expect_overdraft=expect_overdraft)
    for attempt in range(1, ROUNDS + 1):
        reply: Reply = yield write
        if isinstance(reply, Accepted):
            return pending.granted(SeatShard.of(reply.item or {}))
        if isinstance(reply, Conflicted):
            yield Pause(attempt)
            continue
        # The answer may have taken seconds: a lease that ran out meanwhile is no reason to deny.
        pending.change = pending.change.at((yield Pause(0)))
        shard = yield from _arrive(pending, reply.item, attempt)
        if shard is None:
            write = pending.first_write()
            continue
        check_seats(shard, pending.change.now)
        decision = decide(shard, pending.key, pending.change.now)
        if decision is Decision.KEEP:
            return pending.granted(shard)
        found = yield from _elsewhere(pending, shard, decision)
        if found:
            return found
        if attempt > 1:
            pending.change = pending.change.at((yield Pause(attempt - 1)))
        write = pending.write(shard, decision)
    raise problems.Contention


def _elsewhere(
    pending: PendingActivation, shard: SeatShard, decision: Decision
) -> Operation[Grant | None]:
    """The seat, where the page itself has none to give; None: look again here.

    Raises:
        HardCapReached: nobody has.
    """
    if decision is Decision.RECLAIM and shard.is_draining:
        yield from reclaim_expired_leases(pending.place.key, pending.change)
    if decision is not Decision.DENY:
        return None
    found = yield from find_seat_elsewhere(pending, shard)
    if found is None:
        raise (yield from _deny(pending, shard))
    return found if isinstance(found, Grant) else None


def _arrive(
    pending: PendingActivation, item: Item | None, attempt: int
) -> Operation[SeatShard | None]:
    """The page that refused, if it is the right one; else go to where the seat belongs."""
    shard, place = yield from find_shard(pending.place, pending.key, item, attempt)
    if shard is None:
        yield from pending.go_to(place)
    return shard


def _deny(pending: PendingActivation, shard: SeatShard) -> Operation[problems.HardCapReached]:
    """Put the denial on record; the problem to be answered."""
    seat_usage = pending.seat_usage(shard)
    # Refused means that this very request is on record already.
    record = seat_denial(pending.owner, pending.key, pending.holder, seat_usage, pending.change)
    yield from write_with_conflict_retry(record)
    return _denied(pending, shard)


def _denied(pending: PendingActivation, shard: SeatShard) -> problems.HardCapReached:
    """The problem of an entitlement that has no seat to give."""
    seat_usage = pending.seat_usage(shard)
    next_due = shard.next_lease_expiry() if shard.is_only_shard else pending.next_due
    return problems.HardCapReached(
        f"All {seat_usage.hard_cap} seats under the hard cap are held"
        f" ({seat_usage.seat_count} purchased, {seat_usage.used} used).",
        extensions={"seats": seat_usage.view(), "nextLeaseExpiry": lease_expiry(next_due)},
    )


# --- Looking, without taking ----------------------------------------------------------------------


def preview(entitlement_id: str, holder: Holder, now: int) -> Operation[Grant]:
    """What `take` would answer at this moment; nothing is changed, nothing is recorded.

    Raises:
        What `take` raises, but for Contention.
    """
    pending = PendingActivation(entitlement_id, holder, Change("", "", now * 1000), 0, None)
    shard = yield from find_shard_of(pending.owner, pending.key)
    yield from pending.go_to(Place.of(pending.owner, pending.key, shard.shard_count))
    check_seats(shard, now)
    decision = decide(shard, pending.key, now)
    if decision in (Decision.KEEP, Decision.RENEW):
        return pending.granted(shard)._replace(is_new=False)
    # Within what was purchased a seat is taken without a look at the leases.
    looks = shard.used >= shard.seat_count or not shard.is_only_shard
    freed = set(shard.expired_keys(now)) if looks else set[str]()
    if decision is Decision.DENY and not (yield from has_free_seat(pending, shard)):
        raise _denied(pending, shard)
    seats = {held: value for held, value in shard.seats.items() if held not in freed}
    is_overdraft = len(seats) >= shard.seat_count if shard.is_only_shard else pending.is_overdraft
    seats[pending.key] = encode_seat(0, is_overdraft=is_overdraft, now=now) + shard.lease_seconds
    return pending.granted(shard._replace(seats=seats))
