"""Leases that have expired, and leases that were given under earlier terms."""

from typing import Any

from shared.audit import Change
from shared.dynamodb.keys import (
    Key,
    owner_of,
    shard_number,
)
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    Get,
    Operation,
    Pause,
    Transact,
    Update,
    send,
)
from shared.seats.encoding import decode_seat, encode_seat
from shared.seats.placement import Place
from shared.seats.shard import SeatShard, earliest_after
from shared.seats.writes import NEXT_VERSION, change_values, replacement_update, return_to_pool


def _give_lease_anew(shard_key: Key, shard: SeatShard, others: list[str], change: Change) -> Update:
    """Give the shard's own lease, from now on, to seats whose lease is of earlier terms."""
    seats = dict(shard.seats)
    names = {"#last": "last"}
    values = change_values(change, change.record("leased_anew"))
    del values[":now"]
    sets = list[str]()
    for number, key in enumerate(others):
        held = decode_seat(shard.seats[key])
        seat = encode_seat(held.grant_id, is_overdraft=held.is_overdraft, now=change.now)
        seats[key] = values[f":s{number}"] = seat + shard.lease_seconds
        names[f"#s{number}"] = key
        sets.append(f"seats.#s{number} = :s{number}")
    # Never None: there is a seat, and it has the shard's own lease now.
    values[":earliest"] = earliest_after(shard, seats, change.now)
    return Update(
        shard_key,
        f"SET {NEXT_VERSION}, earliest = :earliest, {', '.join(sets)}",
        "seq = :seen AND leaseSeconds = :lease",
        names,
        {**values, ":seen": shard.seq, ":lease": shard.lease_seconds},
    )


def reclaim_expired_leases(shard_key: Key, change: Change) -> Operation[int]:
    """Free the seats of one shard whose leases have expired; return how many.

    If none has, renew leases of earlier terms. If there are none of those, correct `earliest`: this
    is no change of the shard, so `seq` stays.
    """
    for attempt in range(1, ROUNDS + 1):
        item = yield from send(Get(shard_key))
        if item is None:
            return 0
        shard = SeatShard.of(item)
        expired = shard.expired_keys(change.now)
        place = Place(owner_of(shard_key.pk), shard_number(shard_key.pk), shard.shard_count)
        if expired:
            last = change.record("lease_expired")
            freed = replacement_update(place, shard, expired, change, last)
            write: Update | Transact = freed
            if shard.is_draining:
                write = Transact((freed, return_to_pool(place.owner, len(expired))))
        elif others := shard.other_leases(change.now):
            write = _give_lease_anew(shard_key, shard, others, change)
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
