"""Leases that have expired, and leases that were given under earlier terms."""

from collections.abc import Callable
from typing import Any

from shared.audit import Change
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import (
    SWEEP_INDEX,
    Key,
    entitlement_id_of,
    pool_sweep_partition,
    shard_number,
)
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    Found,
    Get,
    Item,
    Operation,
    Pause,
    Query,
    Transact,
    Update,
    send,
)
from shared.seats.encoding import NEVER, decode_grant, encode_grant
from shared.seats.placement import Place
from shared.seats.shard import CLOCK_GRACE, SeatShard, earliest_after
from shared.seats.writes import (
    NEXT_VERSION,
    replacement_update,
    return_to_pool_update,
    version_values,
)


def _restart_leases(shard_key: Key, shard: SeatShard, others: list[str], change: Change) -> Update:
    """Give the shard's own lease, from now on, to seats whose lease is of earlier terms."""
    seats = dict(shard.seats)
    names = {"#last": "last"}
    values = version_values(change.record("leased_anew"))
    sets = list[str]()
    for number, key in enumerate(others):
        held = decode_grant(shard.seats[key])
        seat = encode_grant(held.grant_id, is_overdraft=held.is_overdraft, now=change.now)
        seats[key] = values[f":s{number}"] = seat + shard.stored_lease(
            is_overdraft=held.is_overdraft
        )
        names[f"#s{number}"] = key
        sets.append(f"seats.#s{number} = :s{number}")
    assignments, removals, bound = assign({"earliest": earliest_after(shard, seats, change.now)})
    return Update(
        shard_key,
        set_and_remove([NEXT_VERSION, *assignments, *sets], removals),
        "seq = :seen AND leaseSeconds = :lease",
        names,
        {**values, **bound, ":seen": shard.seq, ":lease": shard.lease_seconds},
    )


def sweep_shard(shard_key: Key, change: Change) -> Operation[int]:
    """Free the seats of one shard whose leases have expired; return how many.

    If there are none, restart outdated leases, those of earlier terms. If there are none of those
    either, correct `earliest`: this is no change of the shard, so `seq` stays.
    """
    for attempt in range(1, ROUNDS + 1):
        item = yield from send(Get(shard_key))
        if item is None:
            return 0
        shard = SeatShard.of(item)
        expired = shard.expired_keys(change.now)
        place = Place(
            entitlement_id_of(shard_key.pk), shard_number(shard_key.pk), shard.shard_count
        )
        if expired:
            last = change.record("lease_expired")
            freed = replacement_update(place, shard, expired, change, last)
            write: Update | Transact = freed
            if shard.is_draining:
                write = Transact((freed, return_to_pool_update(place.entitlement_id, len(expired))))
        elif others := shard.outdated_leases(change.now):
            write = _restart_leases(shard_key, shard, others, change)
        else:
            earliest = earliest_after(shard, shard.seats, change.now)
            if earliest == shard.earliest:
                return 0
            values: dict[str, Any] = {":seen": shard.seq, ":lease": shard.lease_seconds}
            if earliest is not None:
                values[":earliest"] = earliest
            write = Update(
                shard_key,
                "REMOVE earliest" if earliest is None else "SET earliest = :earliest",
                "seq = :seen AND leaseSeconds = :lease",
                NO_NAMES,
                values,
            )
        reply = yield from send(write)
        if isinstance(reply, Accepted):
            return len(expired)
        change = change.at((yield from send(Pause(attempt))))
    return 0  # A busy shard frees its own expired seats; the next sweep looks again.


# --- Of a pool ------------------------------------------------------------------------------------

# Shards whose leases are looked at in one read.
DUE_AT_ONCE = 16


def free_due(entitlement_id: str, change: Change, until_ms: int) -> Operation[int]:
    """Free all expired leases of a pool's shards until `until_ms`; return how many."""
    freed, start, now_ms = 0, None, change.now_ms
    while now_ms < until_ms:
        due, _, start = yield from due_shards(entitlement_id, change.now, start)
        freed += yield from free_leases_of(due, change)
        if start is None:
            break
        now_ms = yield from send(Pause(0))
    return freed


def free_leases_of(keys: list[Key], change: Change) -> Operation[int]:
    """Free the expired leases of these shards; return how many."""
    freed = 0
    for key in keys:
        freed += yield from sweep_shard(key, change)
    return freed


def due_shards(
    entitlement_id: str,
    now: int,
    start: Item | None,
    read: Callable[[Query], Operation[Found]] = send,
) -> Operation[tuple[list[Key], int | None, Item | None]]:
    """Some shards on which a lease may have expired, and where to go on.

    At the end: the earliest time at which a lease ends on the other shards.
    """
    found = yield from read(
        Query(
            "sweepKey = :pool",
            {":pool": pool_sweep_partition(entitlement_id)},
            index_name=SWEEP_INDEX,
            limit=DUE_AT_ONCE,
            start=start,
        )
    )
    due = list[Key]()
    for item in found.items:
        if item["earliest"] > now - CLOCK_GRACE:
            is_leased = item["earliest"] != NEVER
            return due, max(now, item["earliest"]) if is_leased else None, None
        due.append(Key(item["pk"], item["sk"]))
    return due, None, found.next
