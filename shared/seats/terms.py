"""The limits and terms of an entitlement's seats, and the writes that change them."""

from typing import Any, NamedTuple

from shared.audit import Change
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import (
    borrowed_seats_key,
    capacity_partition,
    pool_key,
    seat_shard_key,
    sweep_partition,
    totals_key,
)
from shared.dynamodb.patterns import read_existing
from shared.dynamodb.requests import (
    NO_NAMES,
    BatchGet,
    Get,
    Item,
    Operation,
    Put,
    Update,
    Value,
    send,
)
from shared.limits import lowest
from shared.overdraft_clock import (
    CLOCK_ATTRIBUTES,
    OverdraftClock,
    OverdraftPeriod,
    clock_attributes,
    clock_in,
    period_attributes,
    started,
    under_terms,
)
from shared.seats import totals
from shared.seats.encoding import NEVER, NO_LEASE
from shared.seats.leases import sweep_shard
from shared.seats.placement import IS_ONLY_UNLOCKED_SHARD
from shared.seats.pool import Pool
from shared.seats.seat_usage import SeatUsage
from shared.seats.shard import SHARD_SEATS, SeatShard
from shared.seats.writes import NAMES, NEXT_VERSION
from shared.validity import status_at

# --- Terms of an only shard -----------------------------------------------------------------------


class SeatTerms(NamedTuple):
    """What a grant has to check, as the shard stores it. `lease` None: held until released.

    An entitlement that has only usage limits has an empty shard as well. Nobody gets a seat on it.
    `overdraft_period` is how long an overdraft may last; None: for ever. `overdraft_lease` is the
    lease of seats taken in overdraft; None: that of all seats. `customer_cap` is a cap below the
    hard cap that the customer has set. `longest_lease` is for how many seconds a seat may be
    borrowed (None: not at all), and `most_borrowed` how many may be at a time. `offline` is for how
    many seconds software may go on with a signed lease; None: until the lease ends.
    """

    purchased: int
    hard_cap: int | None
    status: str
    valid_from: int
    valid_until: int | None
    lease: int | None
    has_seats: bool = True
    overdraft_period: OverdraftPeriod | None = None
    overdraft_lease: int | None = None
    customer_cap: int | None = None
    longest_lease: int | None = None
    most_borrowed: int = 0
    offline: int | None = None

    @property
    def leases(self) -> tuple[int | None, int | None]:
        """The lease periods: of all seats, and of those taken in overdraft."""
        return self.lease, self.overdraft_lease


def first_over(terms: SeatTerms) -> int | None:
    """How many seats an overdraft with a period begins with: a condition cannot add."""
    return terms.purchased + 1 if terms.overdraft_period else None


def new_shard_put(entitlement_id: str, terms: SeatTerms, change: Change) -> Put:
    """An empty shard."""
    return Put(
        seat_shard_key(entitlement_id),
        {
            **terms_item(terms),
            **without_none({"firstOver": first_over(terms)}),
            "seats": {},
            "earliest": NEVER if terms.leases == (None, None) else None,
            "sweepKey": sweep_partition(entitlement_id),
            "seq": 1,
            "last": change.record("created"),
        },
        "attribute_not_exists(pk)",
    )


def clock_under(shard: SeatShard, terms: SeatTerms, now: int) -> OverdraftClock | None:
    """The clock of an only shard under new terms; None where they are not in force.

    Nobody's lease has expired: see `terms_writes`. An overdraft from before the validity begins
    with it.
    """
    seen = SeatUsage.of(shard, now)
    return _clock_under(seen, shard.overdraft_period, terms, now)


def _clock_under(
    seen: SeatUsage, period_before: OverdraftPeriod | None, terms: SeatTerms, now: int
) -> OverdraftClock | None:
    status = status_at(terms.status, terms.valid_from, terms.valid_until, now)
    period, purchased = terms.overdraft_period, (seen.purchased, terms.purchased)
    if period and status == "active":
        return under_terms(seen.clock, period_before, period, purchased, seen.used, now)
    if period and status == "not_yet_valid" and seen.used > terms.purchased:
        return started(period, terms.valid_from)
    return None


def usage_under(seen: SeatUsage, before: SeatTerms, terms: SeatTerms, now: int) -> SeatUsage:
    """How seats would be used under other terms, with those who hold them now."""
    clock = _clock_under(seen, before.overdraft_period, terms, now)
    return seen._replace(
        purchased=terms.purchased,
        hard_cap=terms.hard_cap,
        customer_cap=terms.customer_cap,
        clock=clock,
        has_ended=clock is not None and clock.has_ended(now),
    )


def shard_terms_update(
    entitlement_id: str,
    terms: SeatTerms,
    change: Change,
    *,
    lease_changed: bool,
    was_closed: bool = False,
    seen: SeatShard | None = None,
) -> Update:
    """New terms for an only shard. Seats that are held stay, whatever the limits are.

    A changed lease, and a shard that is reopened, sets `earliest` to 0. That is always a correct
    lower bound, which the sweep improves. `seen` is the shard as it was read. Where an overdraft
    has a period, the clock follows from it, and the write is refused if it has changed.
    """
    sets: dict[str, Value] = {
        **limit_attributes(terms),
        "#status": terms.status,
        "validFrom": terms.valid_from,
        "validUntil": terms.valid_until,
        "leaseSeconds": NO_LEASE if terms.lease is None else terms.lease,
        "overdraftLeaseSeconds": terms.overdraft_lease,
        "offlineSeconds": terms.offline,
        "noSeats": None if terms.has_seats else True,
    }
    if lease_changed or was_closed:
        sets["earliest"] = 0
    condition = f"attribute_exists(pk) AND #status <> :deleted AND {IS_ONLY_UNLOCKED_SHARD}"
    version = dict[str, Value]()
    if seen and (terms.overdraft_period or seen.overdraft_period):
        sets |= {
            **period_attributes(terms.overdraft_period),
            "firstOver": first_over(terms),
            **clock_attributes(clock_under(seen, terms, change.now)),
        }
        condition += " AND seq = :seen"
        version[":seen"] = seen.seq
    assignments, removals, values = assign(sets)
    return Update(
        seat_shard_key(entitlement_id),
        set_and_remove([NEXT_VERSION, *assignments], removals),
        condition,
        NAMES,
        {
            **values,
            **version,
            ":one": 1,
            ":change": change.record("updated"),
            ":deleted": "deleted",
        },
    )


def clear_shard_update(entitlement_id: str, kind: str, change: Change) -> Update:
    """Remove every seat from an only shard.

    `kind` is `deleted` (for good) or `expired` (the validity ended). It becomes the shard's status,
    so that a grant that is still on its way with an earlier time is refused, whatever its clock
    says. New terms reopen the shard.
    """
    condition = f"attribute_exists(pk) AND {IS_ONLY_UNLOCKED_SHARD}"
    values: dict[str, Any] = {":none": {}, ":one": 1, ":change": change.record(kind), ":kind": kind}
    if kind == "expired":
        condition = f"validUntil <= :now AND #status <> :deleted AND {IS_ONLY_UNLOCKED_SHARD}"
        values |= {":now": change.now, ":deleted": "deleted"}
    return Update(
        seat_shard_key(entitlement_id),
        f"SET seats = :none, #status = :kind, {NEXT_VERSION}"
        f" REMOVE earliest, {', '.join(CLOCK_ATTRIBUTES)}",
        condition,
        NAMES,
        values,
    )


# The largest hard cap that the API accepts.
MOST_SEATS = 100_000
# What shards may hold together without a cap: more than anybody will.
UNLIMITED = 10**9


def total_allocation(hard_cap: int | None) -> int:
    """The number of seats that the allocations and the unallocated seats add up to."""
    return UNLIMITED if hard_cap is None else hard_cap


def terms_item(terms: SeatTerms) -> Item:
    """The limits and terms as the items of a shard and of a pool have them."""
    return without_none(
        {
            **limit_attributes(terms),
            "status": terms.status,
            "validFrom": terms.valid_from,
            "validUntil": terms.valid_until,
            "leaseSeconds": NO_LEASE if terms.lease is None else terms.lease,
            "overdraftLeaseSeconds": terms.overdraft_lease,
            "offlineSeconds": terms.offline,
            "noSeats": None if terms.has_seats else True,
            **period_attributes(terms.overdraft_period),
        }
    )


def limit_attributes(terms: SeatTerms) -> dict[str, Value]:
    """The limits that hold, as conditions compare with them, and what was sold if that is more."""
    cap = terms.customer_cap
    if cap is None:
        return {"seatCount": terms.purchased, "hardCap": terms.hard_cap, "sold": None}
    sold = without_none({"seatCount": terms.purchased, "hardCap": terms.hard_cap})
    return {"seatCount": min(terms.purchased, cap), "hardCap": cap, "sold": sold}


def without_none(values: Item) -> Item:
    """The values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


# --- Writes that go together with the entitlement -------------------------------------------------


def needs_pool(terms: SeatTerms) -> bool:
    """Whether an entitlement has, or may get, more than one shard."""
    return terms.hard_cap is None or terms.hard_cap > SHARD_SEATS


def new_pool_put(entitlement_id: str, change: Change) -> Put:
    """The pool of an entitlement whose only shard is, or may have to be, split."""
    return Put(
        pool_key(entitlement_id),
        {
            "version": 1,
            "spread": 1,
            "bank": 0,
            "page": 0,
            "isPending": True,
            "sweepKey": sweep_partition(entitlement_id),
            "earliest": change.now,
        },
        "attribute_not_exists(pk)",
    )


def terms_writes(
    entitlement_id: str,
    shard: SeatShard,
    terms: SeatTerms,
    change: Change,
    *,
    lease_changed: bool,
    was_closed: bool = False,
) -> Operation[tuple[Update | Put, ...]]:
    """New limits and terms for an entitlement whose first shard is this one.

    The limits hold from these writes on; the reconciler does the rest. The writes are refused if
    the shard has changed.
    """
    if not shard.is_only_shard:
        return (yield from _change_pool(entitlement_id, terms, change))
    if terms.overdraft_period and shard.expired_keys(change.now):
        # A seat that its holder may still renew is used, or is not: the clock must not guess. Now
        # the shard has changed, so that the writes are refused, and the caller reads it again.
        yield from sweep_shard(seat_shard_key(entitlement_id), change)
    write = shard_terms_update(
        entitlement_id,
        terms,
        change,
        lease_changed=lease_changed,
        was_closed=was_closed,
        seen=shard,
    )
    totals_writes = yield from _report_terms(entitlement_id, shard, terms, change, "updated")
    if not needs_pool(terms):
        return write, *totals_writes
    # The shard may hold all seats until it is split.
    pool = yield from send(Get(pool_key(entitlement_id)))
    return (
        write,
        request_reconcile_update(entitlement_id) if pool else new_pool_put(entitlement_id, change),
        *totals_writes,
    )


def closing_writes(
    entitlement_id: str, shard: SeatShard, terms: SeatTerms, change: Change, kind: str
) -> Operation[tuple[Update | Put, ...]]:
    """Remove every seat: the entitlement is `deleted` or `expired` (`kind`)."""
    borrowed = yield from send(Get(borrowed_seats_key(entitlement_id)))
    returned = (end_borrowing_update(entitlement_id),) if borrowed else ()
    if shard.is_only_shard:
        totals_writes = yield from _report_terms(entitlement_id, shard, terms, change, kind)
        return clear_shard_update(entitlement_id, kind, change), *totals_writes, *returned
    changed = yield from _change_pool(entitlement_id, terms, change, kind)
    return *changed, *returned


# --- How many seats may be borrowed ---------------------------------------------------------------


def borrowing_writes(
    entitlement_id: str, before: SeatTerms | None, terms: SeatTerms
) -> tuple[Update, ...]:
    """How many seats may be borrowed at a time, and for how long, if that is new.

    Seats that are borrowed stay so until their leases end.
    """
    old = (before.most_borrowed, before.longest_lease) if before else (0, None)
    if old == (terms.most_borrowed, terms.longest_lease):
        return ()
    change = Update(
        borrowed_seats_key(entitlement_id),
        "SET most = :most, longest = :longest, borrowed = if_not_exists(borrowed, :none)",
        "",
        NO_NAMES,
        {":most": terms.most_borrowed, ":longest": terms.longest_lease or 0, ":none": {}},
    )
    return (change,)


def end_borrowing_update(entitlement_id: str) -> Update:
    """End the borrowing of all seats: they are removed with the entitlement."""
    return Update(
        borrowed_seats_key(entitlement_id),
        "SET borrowed = :none",
        "attribute_exists(pk)",
        NO_NAMES,
        {":none": {}},
    )


def _report_terms(
    entitlement_id: str, shard: SeatShard, terms: SeatTerms, change: Change, kind: str
) -> Operation[tuple[Put, ...]]:
    """Report new terms to the totals, if there are any."""
    if not shard.has_totals:
        return ()
    seen = yield from read_existing(totals_key(entitlement_id))
    return _totals_writes(entitlement_id, seen, terms_item(terms), change, kind)


def _totals_writes(
    entitlement_id: str, seen: Item, after: Item, change: Change, kind: str
) -> tuple[Put, Put]:
    if kind != "updated":
        after = {**after, "status": kind}
    item = totals.totals_with_terms(seen, change.record(kind), totals.limits_of(after))
    return totals.totals_put(entitlement_id, seen, item), totals.seat_usage_put(
        entitlement_id, item
    )


def request_reconcile_update(entitlement_id: str) -> Update:
    """Have the sweep reconcile a pool soon."""
    return Update(
        pool_key(entitlement_id),
        # A new generation restarts a reconciler that is at work.
        "SET isPending = :yes, earliest = :due, version = version + :one",
        "attribute_exists(pk)",
        NO_NAMES,
        {":yes": True, ":due": 0, ":one": 1},
    )


def _change_pool(
    entitlement_id: str, terms: SeatTerms, change: Change, kind: str = "updated"
) -> Operation[tuple[Update, Put, Put]]:
    """New limits and terms of a pool: the pool, its totals, its seat usage."""
    keys = (pool_key(entitlement_id), totals_key(entitlement_id))
    found = yield from send(BatchGet(keys))
    pool, seen = Pool.of(found[keys[0]]), found[keys[1]]
    after = terms_item(terms)
    if kind != "updated":
        after["status"] = kind
    writes = _totals_writes(entitlement_id, seen, after, change, kind)
    clock = clock_in(dict(writes[0].item))
    lowered_to = after["seatCount"] if clock and clock.has_ended(change.now) else None
    cap = lowest(after.get("hardCap"), lowered_to)
    added = total_allocation(cap) - total_allocation(pool.cap)
    sets: dict[str, Value] = {
        "terms": after,
        "loweredTo": lowered_to,
        "isPending": True,
        "earliest": 0,
        "version": pool.generation + 1,
    }
    if added > 0:
        sets["roomKey"] = capacity_partition(entitlement_id, 0)
    # The end of an overdraft's period lowers the cap without a new generation.
    cap_as_read, cap_values = "attribute_not_exists(loweredTo)", dict[str, Value]()
    if pool.lowered_to is not None:
        cap_as_read, cap_values = "loweredTo = :lowered", {":lowered": pool.lowered_to}
    assignments, removals, values = assign(sets)
    changed = Update(
        pool_key(entitlement_id),
        set_and_remove(["bank = bank + :added", *assignments], removals),
        f"version = :seen AND pages = :pages AND {cap_as_read}",
        NO_NAMES,
        {
            **values,
            **cap_values,
            ":added": added,
            ":seen": pool.generation,
            ":pages": pool.shard_count,
        },
    )
    return changed, *writes
