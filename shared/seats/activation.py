"""Take or renew a seat; preview it."""

from shared import problems
from shared.audit import CUSTOMER_CAP, OVERDRAFT_PERIOD, Change
from shared.clock import to_rfc3339
from shared.dynamodb.patterns import ROUNDS, write_with_conflict_retry
from shared.dynamodb.requests import (
    Accepted,
    Conflicted,
    Item,
    Operation,
    Pause,
    Refused,
    Update,
    send,
)
from shared.overload import KnownFull
from shared.seats import borrowing
from shared.seats.cache import PoolCache, SeenFull
from shared.seats.donors import NoSeat, find_seat_elsewhere, has_free_seat
from shared.seats.holder import Holder
from shared.seats.leases import sweep_shard
from shared.seats.lookup import find_shard, read_shard_of
from shared.seats.pending import ActivationResult, PendingActivation
from shared.seats.placement import Place
from shared.seats.pool import read_pool
from shared.seats.pool_clock import follow_clock
from shared.seats.seat_usage import read_seat_usage
from shared.seats.shard import Decision, SeatShard, check_seats, decide, lease_expiry
from shared.seats.writes import clock_after, seat_denial


def take(
    entitlement_id: str,
    holder: Holder,
    change: Change,
    grant_id: int,
    *,
    cache: PoolCache | None = None,
    expect_overdraft: bool = False,
    borrow_seconds: int | None = None,
) -> Operation[ActivationResult]:
    """Take a seat, or renew the one that the holder has.

    `borrow_seconds`: borrow it for so long. `cache` holds what the caller remembers of pools.
    `expect_overdraft` tries the overdraft write first, which is worth it for a caller that last saw
    an only shard at its limit. Both change the number of round trips and never the outcome.

    Raises:
        NotFound, EntitlementSuspended, EntitlementExpired, EntitlementNotYetValid,
        HardCapReached, OverdraftPeriodEnded, CustomerCapReached (with `seats`, `overdraft` and
        `nextLeaseExpiry`; on record), InvalidRequest, BorrowLimitReached, Contention.
    """
    cache = cache or PoolCache()
    pending = PendingActivation(
        entitlement_id,
        holder,
        change,
        grant_id,
        cache.recall(entitlement_id, change.now_ms),
        borrow_seconds,
        cache.overload(entitlement_id),
    )
    try:
        return (yield from _take(pending, expect_overdraft=expect_overdraft))
    finally:
        cache.note(entitlement_id, pending.to_cache(), pending.change.now_ms)


def _take(pending: PendingActivation, *, expect_overdraft: bool) -> Operation[ActivationResult]:
    yield from pending.go_to(pending.place)
    write = yield from _first_write(pending, expect_overdraft=expect_overdraft)
    for attempt in range(1, ROUNDS + 1):
        reply = yield from _send(pending, write, attempt)
        if isinstance(reply, Accepted):
            written = SeatShard.of(reply.item or {})
            if not written.is_only_shard and pending.pool_usage is None:  # it was split meanwhile
                pending.pool_usage = yield from read_seat_usage(
                    pending.entitlement_id, pending.change.now
                )
            return pending.granted(written, is_written=True)
        if isinstance(reply, Conflicted):
            yield from send(Pause(attempt))
            continue
        # The answer may have taken seconds. A lease that has expired since then must not cause a
        # denial, and what has ended since then must not be granted.
        pending.change = pending.change.at((yield from send(Pause(attempt - 1))))
        shard = yield from _arrive(pending, reply.item, attempt)
        if shard is None:
            pending.with_borrowing = ()
            write = yield from _first_write(pending)
            continue
        check_seats(shard, pending.change.now)
        decision = decide(shard, pending.key, pending.change.now, pending.borrowed_end)
        if decision is Decision.KEEP:
            yield from borrowing.check_length(pending, shard)
            return pending.granted(shard)
        yield from borrowing.prepare(pending, shard)
        if decision is Decision.SHARD_FULL:
            elsewhere = yield from _take_elsewhere(pending, shard)
            if elsewhere:
                return elsewhere
        if decision is Decision.RECLAIM and shard.is_draining:
            # A seat that is freed here pays the pool's deficit: it cannot be taken at once.
            yield from sweep_shard(pending.place.key, pending.change)
        write = pending.write(shard, decision)
    raise problems.Contention


def _first_write(
    pending: PendingActivation, *, expect_overdraft: bool = False
) -> Operation[Update]:
    """The write to try on a shard that was not read."""
    if pending.is_to_settle:
        shard = yield from read_shard_of(pending.entitlement_id, pending.key)
        if pending.key not in shard.seats:  # a holder waits for nothing
            yield from _settle(pending)
    return pending.blind_write(expect_overdraft=expect_overdraft)


def _send(
    pending: PendingActivation, write: Update, attempt: int
) -> Operation[Accepted | Refused | Conflicted]:
    """Send a write. If the table does not take the first one, read the shard, which asks less.

    Raises:
        What `_deny` raises, if the table does not take that either, and the answer is known.
    """
    pending.shard_seen_ms = now_ms = pending.change.now_ms
    if attempt > 1 or pending.borrow_seconds is not None:
        return (yield from borrowing.send_with_borrowing(pending, write))
    try:
        reply, now_ms = yield from pending.overload.send(
            write,
            now_ms,
            lambda at: bool(pending.known_shard(at)),
            attempt,
            # Whoever holds a seat of a pool has it on this shard.
            always_tries=pending.place.shard_count is not None,
        )
    except KnownFull as known:
        shard = pending.known_shard(known.now_ms)
        assert shard is not None  # that is how it is known
        pending.change = pending.change.at(known.now_ms)
        check_seats(shard, pending.change.now)
        pending.next_due = _next_due_known(pending)
        yield from _deny(pending, shard)
    pending.shard_seen_ms = now_ms
    pending.change = pending.change.at(now_ms)
    return reply


def _settle(pending: PendingActivation) -> Operation[None]:
    """Have the cap of a pool follow the end of its overdraft before anybody is granted a seat.

    Raises:
        Contention: it has not followed yet.
    """
    pool = yield from read_pool(pending.entitlement_id)
    if not pool.has_settled:
        pool = yield from follow_clock(pending.entitlement_id, pending.change)
    pending.has_settled = pool.has_settled
    if not pool.has_settled:
        raise problems.Contention


def _has_recovered(pending: PendingActivation) -> Operation[bool]:
    """Whether the overdraft of a full pool has recovered, so that its cap is the hard cap again.

    Raises:
        Contention: the cap has not followed yet.
    """
    pending.pool_usage = yield from read_seat_usage(pending.entitlement_id, pending.change.now)
    pool = yield from read_pool(pending.entitlement_id)
    if pending.pool_usage.has_ended or pool.lowered_to is None:
        return False
    pool = yield from follow_clock(pending.entitlement_id, pending.change)
    if pool.lowered_to is not None:
        raise problems.Contention
    return True


def _take_elsewhere(
    pending: PendingActivation, shard: SeatShard
) -> Operation[ActivationResult | None]:
    """Take a seat that another shard of the pool has; None: try this shard again.

    Raises:
        HardCapReached, OverdraftPeriodEnded, CustomerCapReached: no shard has a free seat. The
        denial is on record.
    """
    found = yield from find_seat_elsewhere(pending, shard)
    if isinstance(found, ActivationResult):
        return found
    if found is NoSeat.RETRY_HERE:
        return None
    if not shard.is_only_shard:
        pending.overload.note_shard(pending.place.number, shard, pending.shard_seen_ms)
    if found is NoSeat.KNOWN_FULL:
        pending.next_due = _next_due_known(pending)
    else:
        if pending.has_period and (yield from _has_recovered(pending)):
            return None
        if shard.is_only_shard:
            pending.overload.note_full(SeenFull(shard, None), pending.shard_seen_ms)
        else:
            pending.overload.note_full(SeenFull(None, pending.next_due), pending.searched_ms)
    yield from _deny(pending, shard)
    return None


def _arrive(
    pending: PendingActivation, item: Item | None, attempt: int
) -> Operation[SeatShard | None]:
    """The shard that refused, if the seat belongs there; otherwise move on to the right shard."""
    shard, place = yield from find_shard(pending.place, pending.key, item, attempt)
    if shard is None:
        yield from pending.go_to(place)
    return shard


def _deny(pending: PendingActivation, shard: SeatShard) -> Operation[None]:
    """Deny the request, once that is on record.

    Raises:
        HardCapReached, OverdraftPeriodEnded, CustomerCapReached.
    """
    yield from _record_denial(pending, shard)
    raise _denied(pending, shard)


def _record_denial(pending: PendingActivation, shard: SeatShard) -> Operation[None]:
    """Put a denial on record, before it is answered."""
    seat_usage = pending.usage_when_full(shard)
    # `Refused` means that this request is on record already.
    record = seat_denial(
        pending.entitlement_id,
        pending.key,
        pending.holder,
        seat_usage,
        _next_due(pending, shard),
        pending.change,
    )
    yield from write_with_conflict_retry(record)


def _next_due_known(pending: PendingActivation) -> int | None:
    """When the next lease of a pool ends, as it was known a moment ago."""
    return pending.overload.seen.next_due if pending.overload.seen else None


def _next_due(pending: PendingActivation, shard: SeatShard) -> int | None:
    """When the next lease ends, Unix seconds."""
    return shard.next_lease_expiry() if shard.is_only_shard else pending.next_due


def _denied(pending: PendingActivation, shard: SeatShard) -> problems.Denied:
    """The problem of an entitlement without a free seat."""
    usage = pending.usage_when_full(shard)
    extensions = {
        "seats": usage.view(),
        "overdraft": usage.overdraft_view(),
        "nextLeaseExpiry": lease_expiry(_next_due(pending, shard)),
    }
    if usage.clock and usage.limit_reached == OVERDRAFT_PERIOD:
        ended = to_rfc3339(usage.clock.ends_at * 1000)
        return problems.OverdraftPeriodEnded(
            f"More than the {usage.purchased} purchased seats could be held until {ended}"
            f" ({usage.used} used). Whoever holds a seat keeps it.",
            extensions=extensions,
        )
    if usage.limit_reached == CUSTOMER_CAP:
        return problems.CustomerCapReached(
            f"Your organization has set a cap of {usage.customer_cap}, and nothing under it is free"
            f" ({usage.purchased} seats purchased, {usage.used} used).",
            extensions={**extensions, "customerCap": usage.customer_cap},
        )
    return problems.HardCapReached(
        f"All {usage.hard_cap} seats under the hard cap are held"
        f" ({usage.purchased} purchased, {usage.used} used).",
        extensions=extensions,
    )


# --- Preview --------------------------------------------------------------------------------------


def preview(
    entitlement_id: str, holder: Holder, now: int, borrow_seconds: int | None = None
) -> Operation[ActivationResult]:
    """Return what `take` would return now; change and record nothing.

    Raises:
        What `take` raises, except Contention.
    """
    change = Change("", "", now * 1000)
    pending = PendingActivation(entitlement_id, holder, change, 0, None, borrow_seconds)
    shard = yield from read_shard_of(pending.entitlement_id, pending.key)
    yield from pending.go_to(Place.of(pending.entitlement_id, pending.key, shard.shard_count))
    check_seats(shard, now)
    decision = decide(shard, pending.key, now, pending.borrowed_end)
    if decision is Decision.KEEP:
        yield from borrowing.check_length(pending, shard)
    elif borrow_seconds is not None:
        yield from borrowing.check(pending, shard)
    if decision in (Decision.KEEP, Decision.RENEW):
        return pending.granted(shard)._replace(is_new=False)
    # Within the purchased seats, `take` does not look at leases.
    looks = shard.used >= shard.purchased or not shard.is_only_shard
    freed = set(shard.expired_keys(now)) if looks else set[str]()
    usage = pending.pool_usage
    if usage and usage.has_ended:
        # The totals decide: the allocations may not have followed yet.
        is_full = usage.used >= usage.purchased
    else:
        is_full = decision is Decision.SHARD_FULL and not (yield from has_free_seat(pending, shard))
    if is_full:
        raise _denied(pending, shard)
    seats = {held: value for held, value in shard.seats.items() if held not in freed}
    is_overdraft = len(seats) >= shard.purchased if shard.is_only_shard else pending.is_overdraft
    seats[pending.key] = shard.with_lease(pending.value(is_overdraft=is_overdraft))
    clock = clock_after(shard, len(seats), now, is_grant=True)
    return pending.granted(shard._replace(seats=seats, clock=clock))
