"""The conditional writes of the seat core.

An activation is one conditional write on one item, a shard of the entitlement's set of seats. The
map of holders is the counter: conditions compare `size(seats)` with the limits, so a count cannot
differ from the holders. Decisions are plain functions of a shard and the time (see `shard`). Times
are Unix seconds unless a name ends in `_ms`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.audit import Change, denial, utc_hour
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import (
    capacity_partition,
    denial_key,
    pool_key,
)
from shared.dynamodb.requests import (
    NO_NAMES,
    Update,
)
from shared.overdraft_clock import (
    CLOCK_IS_TO_START,
    CLOCK_RUNS,
    START_CLOCK,
    OverdraftClock,
    after_use,
    clock_attributes,
)
from shared.seats.encoding import decode_grant, values_of
from shared.seats.holder import Holder
from shared.seats.placement import Place
from shared.seats.seat_usage import SeatUsage
from shared.seats.shard import CLOCK_GRACE, MIN_LEASE, SeatShard, earliest_after
from shared.validity import IN_FORCE

NAMES = {"#status": "status", "#last": "last"}
NEXT_VERSION = "seq = seq + :one, #last = :change"
# The first lease sets the lower bound of the lease ends, by the shortest lease that there is.
_SET_EARLIEST = "earliest = if_not_exists(earliest, :earliest)"


def version_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `NEXT_VERSION`: `record` says who made the version, and how."""
    return {":one": 1, ":change": dict(record)}


class SeatLimit(NamedTuple):
    """Where a grant takes its seat: a condition, and what else the write sets and removes."""

    condition: str
    sets: tuple[str, ...] = ()
    removals: tuple[str, ...] = ()

    def if_nothing_is_stale(self) -> "SeatLimit":
        """The same for a shard that was not read first: no expired lease is overlooked."""
        stale = "attribute_not_exists(earliest) OR earliest > :now"
        return self._replace(condition=f"{self.condition} AND ({stale})")


_ABOVE_PURCHASED = (
    "size(seats) >= seatCount AND (attribute_not_exists(hardCap) OR size(seats) < hardCap)"
)
WITHIN_PURCHASED = SeatLimit("size(seats) < seatCount")
WITHIN_HARD_CAP = SeatLimit(f"{_ABOVE_PURCHASED} AND {CLOCK_RUNS}", removals=("recoversAt",))
# The first seat above what was purchased, where an overdraft has a period.
STARTS_OVERDRAFT = SeatLimit(
    f"{_ABOVE_PURCHASED} AND {CLOCK_IS_TO_START}", START_CLOCK, ("recoversAt",)
)
# For a shard of a pool.
WITHIN_ALLOCATION = SeatLimit("size(seats) < allowance")


def activation_update(
    place: Place,
    key: str,
    change: Change,
    record: Mapping[str, Any],
    limit: SeatLimit,
    values: Mapping[str, Any],
) -> Update:
    """Write one seat's value (`:seat`, without its lease), if the entitlement is in force."""
    place_condition, place_values = place.condition()
    sets = (
        f"seats.#k = :seat{_plus_lease(values[':seat'])}",
        NEXT_VERSION,
        _SET_EARLIEST,
        *limit.sets,
    )
    condition = limit.condition
    return Update(
        place.key,
        set_and_remove(sets, limit.removals),
        f"{condition} AND {place_condition} AND {IN_FORCE}",
        {**NAMES, "#k": key},
        {
            **version_values(record),
            ":now": change.now,
            ":active": "active",
            ":earliest": change.now + MIN_LEASE,
            **place_values,
            **values,
        },
    )


def _plus_lease(seat: int) -> str:
    """What DynamoDB adds to a seat's value: the lease, which overdraft seats may have of their own.

    A borrowed seat has its lease end already.
    """
    if decode_grant(seat).is_borrowed:
        return ""
    if decode_grant(seat).is_overdraft:
        return " + if_not_exists(overdraftLeaseSeconds, leaseSeconds)"
    return " + leaseSeconds"


def grant_update(
    place: Place,
    key: str,
    holder: Holder,
    change: Change,
    seat: int,
    limit: SeatLimit,
) -> Update:
    """A new seat, as a write that needs no knowledge of the shard but its `limit`.

    `seat` is its value, without the shard's lease.
    """
    record = activation_record(change, key, holder)
    limit = limit._replace(condition=f"attribute_not_exists(seats.#k) AND {limit.condition}")
    return activation_update(place, key, change, record, limit, {":seat": seat})


def activation_record(
    change: Change, key: str, holder: Holder, kind: str = "activated"
) -> dict[str, Any]:
    """The shard's `last` when a seat is granted or renewed."""
    return change.record(
        kind,
        key=key,
        seatId=holder.seat_id,
        seatName=holder.seat_name,
        attributes=dict(holder.attributes),
    )


def renewal_update(
    place: Place, shard: SeatShard, key: str, holder: Holder, change: Change, seat: int
) -> Update:
    """A new lease for the same grant, if the seat is still as it was read.

    `seat` is its new value, without the shard's lease.
    """
    record = activation_record(change, key, holder, "renewed")
    values = {":seat": seat, ":held": shard.seats[key]}
    return activation_update(place, key, change, record, SeatLimit("seats.#k = :held"), values)


class _Effect(NamedTuple):
    """What freeing seats does to a shard's capacity: a condition, assignments and values."""

    condition: str
    sets: tuple[str, ...]
    values: dict[str, Any]


def _freeing(place: Place, seats: int, *, is_draining: bool) -> _Effect:
    """A draining shard loses the allocation of the seats; another shard of a pool can give them."""
    if is_draining:
        lost = ("allowance = allowance - :freed",)
        return _Effect(" AND attribute_exists(isFrozen)", lost, {":freed": seats})
    if place.shard_count is None:
        return _Effect("", (), {})
    listed = ("roomKey = :room",)
    return _Effect(
        " AND attribute_not_exists(isFrozen)", listed, {":room": place.capacity_partition}
    )


# Where a clock runs: it is not this release by which use falls to what was purchased. Leases that
# have expired are freed first, because use may have fallen with them.
_STAYS_ABOVE_OR_BELOW = (
    "(attribute_not_exists(overdraftEndsAt) OR size(seats) < firstOver OR (size(seats) > firstOver"
    " AND (attribute_not_exists(earliest) OR earliest > :stale)))"
)
# It is.
_FALLS = (
    "attribute_exists(overdraftEndsAt) AND size(seats) = firstOver"
    " AND (attribute_not_exists(earliest) OR earliest > :stale)"
)


def _of_only_shard(change: Change, *, ends_overdraft: bool) -> _Effect:
    """What releasing a seat does to the clock of an overdraft."""
    values = {":stale": change.now - CLOCK_GRACE}
    if not ends_overdraft:
        return _Effect(f" AND {_STAYS_ABOVE_OR_BELOW}", (), values)
    recovers = ("recoversAt = :now + overdraftRecovery",)
    return _Effect(f" AND {_FALLS}", recovers, {**values, ":now": change.now})


def release_update(
    place: Place,
    key: str,
    grant_id: int,
    change: Change,
    *,
    is_draining: bool = False,
    ends_overdraft: bool = False,
    is_borrowed: bool = False,
) -> Update:
    """Release the grant with this id, whatever its lease.

    On a shard that `is_draining` it goes together with a `return_to_pool_update`, and if it
    `is_borrowed`, with the end of that. `ends_overdraft`: it is the last seat above what was
    purchased, and a clock runs on the only shard.
    """
    low, high = values_of(grant_id, is_borrowed=is_borrowed)
    place_condition, place_values = place.condition()
    if place.shard_count is None:
        effect = _of_only_shard(change, ends_overdraft=ends_overdraft)
    else:
        effect = _freeing(place, 1, is_draining=is_draining)
    return Update(
        place.key,
        f"SET {', '.join((NEXT_VERSION, *effect.sets))} REMOVE seats.#k",
        f"seats.#k BETWEEN :low AND :high AND {place_condition}{effect.condition}",
        {"#last": "last", "#k": key},
        {
            **version_values(change.record("released", key=key)),
            ":low": low,
            ":high": high,
            **place_values,
            **effect.values,
        },
    )


def replacement_update(
    place: Place,
    shard: SeatShard,
    freed: list[str],
    change: Change,
    record: Mapping[str, Any],
    granted: tuple[str, int] | None = None,
) -> Update:
    """Free seats, and grant one (key and value), if the shard is still exactly as it was read.

    A draining shard grants no seat, and its write goes together with a `return_to_pool_update`.
    """
    kept = {key: value for key, value in shard.seats.items() if key not in set(freed)}
    effect = _freeing(place, len(freed), is_draining=shard.is_draining)
    names = {"#last": "last", **{f"#f{number}": key for number, key in enumerate(freed)}}
    values = {**version_values(record), ":seen": shard.seq, **effect.values}
    sets = [NEXT_VERSION, *effect.sets]
    removes = [f"seats.#f{number}" for number in range(len(freed))]
    if granted:
        key, value = granted
        names["#k"] = key
        values[":seat"] = value
        sets.append(f"seats.#k = :seat{_plus_lease(value)}")
        kept[key] = shard.with_lease(value)
    earliest = earliest_after(shard, kept, change.now)
    if earliest is None:
        removes.append("earliest")
    else:
        sets.append("earliest = :earliest")
        values[":earliest"] = earliest
    if shard.overdraft_period:
        clock = clock_after(shard, len(kept), change.now, is_grant=granted is not None)
        assignments, removals, more = assign(clock_attributes(clock))
        sets += assignments
        removes += removals
        values |= more
    return Update(
        place.key,
        set_and_remove(sets, removes),
        f"seq = :seen{effect.condition}",
        names,
        values,
    )


def clock_after(shard: SeatShard, used: int, now: int, *, is_grant: bool) -> OverdraftClock | None:
    """The clock of an only shard after expired leases were freed, and a seat perhaps taken."""
    clock = shard.clock_at(now)
    if shard.overdraft_period is None or used <= shard.purchased:
        return clock
    if not is_grant:
        return shard.clock  # some leases that have expired are left to the next write
    return after_use(clock, shard.overdraft_period, used, shard.purchased, now)


def return_to_pool_update(entitlement_id: str, seats: int) -> Update:
    """Return seats that were released on a draining shard to the pool."""
    return Update(
        pool_key(entitlement_id),
        "SET bank = bank + :seats, roomKey = :room",
        "attribute_exists(pk)",
        NO_NAMES,
        {":seats": seats, ":room": capacity_partition(entitlement_id, 0)},
    )


def seat_denial(
    entitlement_id: str,
    key: str,
    holder: Holder,
    usage: SeatUsage,
    next_due: int | None,
    change: Change,
) -> Update:
    """Record one more denied attempt of this seat in this hour; `next_due` ends the next lease."""
    return denial(
        denial_key(entitlement_id, key, utc_hour(change.now)),
        {
            "entitlementId": entitlement_id,
            "seatKey": key,
            "seatId": holder.seat_id,
            "seatName": holder.seat_name,
            "nextLeaseExpiry": next_due,
        },
        (usage.used, usage.purchased, usage.hard_cap),
        usage.limit_reached,
        change,
    )
