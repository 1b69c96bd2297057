"""The conditional writes of the seat core.

An activation is one conditional write on one item, a shard of the entitlement's set of seats. The
map of holders is the counter: conditions compare `size(seats)` with the limits, so a count cannot
differ from the holders. Decisions are plain functions of a shard and the time (see `shard`). Times
are Unix seconds unless a name ends in `_ms`.
"""

from collections.abc import Mapping
from typing import Any

from shared.audit import Change, denial, utc_hour
from shared.dynamodb.keys import (
    capacity_partition,
    denial_key,
    pool_key,
)
from shared.dynamodb.requests import (
    NO_NAMES,
    Update,
)
from shared.seats.encoding import GRANT_ID_BASE, decode_grant, encode_grant
from shared.seats.holder import Holder
from shared.seats.placement import Place
from shared.seats.seat_usage import SeatUsage
from shared.seats.shard import MIN_LEASE, SeatShard, earliest_after
from shared.validity import IN_FORCE

NAMES = {"#status": "status", "#last": "last"}
NEXT_VERSION = "seq = seq + :one, #last = :change"
# A minute from now. No lease is shorter, so this is a lower bound for any lease period.
_BOUND = "earliest = if_not_exists(earliest, :earliest)"


def change_values(change: Change, last: Mapping[str, Any]) -> dict[str, Any]:
    """The values that every change of a shard has."""
    return {":one": 1, ":now": change.now, ":change": dict(last)}


WITHIN_PURCHASED = "size(seats) < seatCount"
WITHIN_HARD_CAP = (
    "size(seats) >= seatCount AND (attribute_not_exists(hardCap) OR size(seats) < hardCap)"
)
# For a shard that was not read first: no expired lease is overlooked.
NOTHING_STALE = " AND (attribute_not_exists(earliest) OR earliest > :now)"
# For a shard of a pool.
WITHIN_ALLOCATION = "size(seats) < allowance"


def activation_update(
    place: Place,
    key: str,
    change: Change,
    last: Mapping[str, Any],
    condition: str,
    values: Mapping[str, Any],
    more: str = "",
) -> Update:
    """Write one seat's value (`:seat`, without its lease), if the entitlement is in force."""
    here, bound = place.clause()
    return Update(
        place.key,
        f"SET seats.#k = :seat + leaseSeconds, {NEXT_VERSION}, {_BOUND}{more}",
        f"{condition} AND {here} AND {IN_FORCE}",
        {**NAMES, "#k": key},
        {
            **change_values(change, last),
            ":active": "active",
            ":earliest": change.now + MIN_LEASE,
            **bound,
            **values,
        },
    )


def grant_update(
    place: Place,
    key: str,
    holder: Holder,
    change: Change,
    grant_id: int,
    limit_condition: str,
    *,
    is_overdraft: bool,
) -> Update:
    """A new seat, as a write that needs no knowledge of the shard but its `limit_condition`."""
    seat = encode_grant(grant_id, is_overdraft=is_overdraft, now=change.now)
    last = grant_record(change, key, holder)
    condition = f"attribute_not_exists(seats.#k) AND {limit_condition}"
    return activation_update(place, key, change, last, condition, {":seat": seat})


def grant_record(
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
    place: Place, shard: SeatShard, key: str, holder: Holder, change: Change
) -> Update:
    """A new lease for the same grant, if the seat is still as it was read."""
    held = decode_grant(shard.seats[key])
    seat = encode_grant(held.grant_id, is_overdraft=held.is_overdraft, now=change.now)
    last = grant_record(change, key, holder, "renewed")
    values = {":seat": seat, ":held": shard.seats[key]}
    return activation_update(place, key, change, last, "seats.#k = :held", values)


def release_update(
    place: Place, key: str, grant_id: int, change: Change, *, is_draining: bool = False
) -> Update:
    """Release the grant with this id, whatever its lease.

    A shard that `is_draining` loses the allocation as well, together with a `return_to_pool`.
    """
    here, bound = place.clause()
    more, values = "", dict[str, Any]()
    if is_draining:
        here += " AND attribute_exists(isFrozen)"
        more = ", allowance = allowance - :one"
    elif place.shard_count is not None:
        here += " AND attribute_not_exists(isFrozen)"
        more, values = ", roomKey = :room", {":room": place.capacity_partition}
    return Update(
        place.key,
        f"SET {NEXT_VERSION}{more} REMOVE seats.#k",
        f"seats.#k BETWEEN :low AND :high AND {here}",
        {"#last": "last", "#k": key},
        {
            ":one": 1,
            ":change": change.record("released", key=key),
            ":low": grant_id * GRANT_ID_BASE,
            ":high": (grant_id + 1) * GRANT_ID_BASE - 1,
            **bound,
            **values,
        },
    )


def replacement_update(
    place: Place,
    shard: SeatShard,
    freed: list[str],
    change: Change,
    last: Mapping[str, Any],
    grant_update: tuple[str, int] | None = None,
) -> Update:
    """Free seats, and perhaps take one, if the shard is still exactly as it was read.

    A draining shard gives no seat, and its write goes together with a `return_to_pool`.
    """
    kept = {key: value for key, value in shard.seats.items() if key not in set(freed)}
    names = {"#last": "last", **{f"#f{number}": key for number, key in enumerate(freed)}}
    values = {**change_values(change, last), ":seen": shard.seq}
    del values[":now"]
    sets = f"SET {NEXT_VERSION}"
    condition = "seq = :seen"
    removes = [f"seats.#f{number}" for number in range(len(freed))]
    if place.shard_count is not None:
        condition += f" AND attribute_{'' if shard.is_draining else 'not_'}exists(isFrozen)"
    if shard.is_draining:
        sets += ", allowance = allowance - :freed"
        values[":freed"] = len(freed)
    elif place.shard_count is not None:
        sets += ", roomKey = :room"
        values[":room"] = place.capacity_partition
    if grant_update:
        key, value = grant_update
        names["#k"] = key
        values[":seat"] = value
        sets += ", seats.#k = :seat + leaseSeconds"
        kept[key] = value + shard.lease_seconds
    earliest = earliest_after(shard, kept, change.now)
    if earliest is None:
        removes.append("earliest")
    else:
        sets += ", earliest = :earliest"
        values[":earliest"] = earliest
    return Update(
        place.key,
        f"{sets} REMOVE {', '.join(removes)}" if removes else sets,
        condition,
        names,
        values,
    )


def return_to_pool_update(owner: str, seats: int) -> Update:
    """Return seats that were released on a draining shard to the pool."""
    return Update(
        pool_key(owner),
        "SET bank = bank + :seats, roomKey = :room",
        "attribute_exists(pk)",
        NO_NAMES,
        {":seats": seats, ":room": capacity_partition(owner, 0)},
    )


def seat_denial(
    entitlement_id: str, key: str, holder: Holder, level: "SeatUsage", change: Change
) -> Update:
    """Record one more denied attempt of this seat in this hour."""
    return denial(
        denial_key(entitlement_id, key, utc_hour(change.now)),
        {
            "entitlementId": entitlement_id,
            "seatKey": key,
            "seatId": holder.seat_id,
            "seatName": holder.seat_name,
        },
        (level.used, level.purchased, level.hard_cap),
        change,
    )
