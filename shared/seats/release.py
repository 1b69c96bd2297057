"""Releasing a seat."""

from shared import problems
from shared.audit import Change
from shared.dynamodb.patterns import ROUNDS, write_with_conflict_retry
from shared.dynamodb.requests import (
    Accepted,
    Cancelled,
    Operation,
    Pause,
    Refused,
    Transact,
    Update,
    send,
)
from shared.seats.borrowing import return_update
from shared.seats.cache import PoolCache
from shared.seats.encoding import decode_grant, parse_activation_id
from shared.seats.leases import sweep_shard
from shared.seats.lookup import find_shard
from shared.seats.placement import Place
from shared.seats.shard import CLOCK_GRACE
from shared.seats.writes import release_update, return_to_pool_update

# --- Release --------------------------------------------------------------------------------------


def release_grant(
    entitlement_id: str, named: str, change: Change, *, cache: PoolCache | None = None
) -> Operation[bool]:
    """Release the grant with the activation id `named`; False: it is not held any more.

    `cache` holds what the caller remembers of pools. A newer grant of the same holder, which has
    another grant id, stays.

    Raises:
        NotFound, Contention.
    """
    key, grant_id = parse_activation_id(named)
    cached = cache.recall(entitlement_id, change.now_ms) if cache else None
    place = Place.of(entitlement_id, key, cached.shard_count if cached else None)
    is_draining = ends_overdraft = is_borrowed = False
    for attempt in range(1, ROUNDS + 1):
        freed = release_update(
            place,
            key,
            grant_id,
            change,
            is_draining=is_draining,
            ends_overdraft=ends_overdraft,
            is_borrowed=is_borrowed,
        )
        others = (return_to_pool_update(entitlement_id, 1),) if is_draining else ()
        if is_borrowed:
            others = (*others, return_update(entitlement_id, key))
        write: Update | Transact = Transact((freed, *others)) if others else freed
        reply: Accepted | Refused | Cancelled = yield from write_with_conflict_retry(write)
        if isinstance(reply, Accepted):
            return True
        item = reply.item if isinstance(reply, Refused) else reply.reasons[0][1]
        shard, place = yield from find_shard(place, key, item, attempt)
        if shard is None:
            is_draining = ends_overdraft = is_borrowed = False
            continue
        held = decode_grant(shard.seats[key]) if key in shard.seats else None
        if held is None or held.grant_id != grant_id:
            return False
        is_borrowed = held.is_borrowed
        is_draining = shard.is_draining
        ends_overdraft = shard.clock is not None and shard.used == shard.purchased + 1
        if shard.clock:
            # The answer may have taken seconds.
            change = change.at((yield from send(Pause(0))))
            if shard.earliest is not None and shard.earliest <= change.now - CLOCK_GRACE:
                yield from sweep_shard(place.key, change)
    raise problems.Contention
