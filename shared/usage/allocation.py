"""The allocations of a sharded usage limit: what its counter gives to shards and takes back."""

from typing import Any

from shared import problems
from shared.audit import Change
from shared.dynamodb.expressions import set_and_remove
from shared.dynamodb.keys import Key, usage_key, usage_shard_key
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    BatchGet,
    Cancelled,
    Get,
    Operation,
    Pause,
    Transact,
    Transacted,
    Update,
    send,
)
from shared.usage.consumption import NEXT_VERSION, set_period
from shared.usage.counter import Counter, counter_of
from shared.usage.request_log import archive, rotation
from shared.usage.shard import AS_SEEN, REPORT_MS, SHARDS, UsageShard, terms_of

# The sweep looks at a counter with allocations every minute.
RECONCILE_SECONDS = 60
# A lock on a counter that is older belongs to a process that has ended.
LOCK_MS = 3_000


# --- The counter of a sharded limit ---------------------------------------------------------------


def counter_update(
    limit: tuple[str, str],
    change: Change,
    used: int,
    requests: int,
    *,
    allocated: int,
    left: int = 0,
) -> Update:
    """An update of the counter by what shards did. What they `used` is a version of its own."""
    assignments, names = ["drawn = drawn + :drawn"], dict[str, str]()
    values: dict[str, Any] = {":drawn": allocated}
    if left:
        assignments.append("#left = #left + :more")
        names["#left"] = "left"
        values[":more"] = left
    if used:
        assignments.append("seq = seq + :one, #last = :change")
        names["#last"] = "last"
        values |= {
            ":one": 1,
            ":change": change.record("consumed", quantity=used, requests=requests),
        }
    return Update(
        usage_key(*limit),
        "SET " + ", ".join(assignments),
        "attribute_exists(parts)",
        names,
        values,
    )


def extended(update: Update, sets: str, condition: str, values: dict[str, Any]) -> Update:
    """The same update with more assignments, conditions and values."""
    return update._replace(
        expression=f"{update.expression}, {sets}" if sets else update.expression,
        condition=f"{update.condition} AND {condition}" if condition else update.condition,
        values={**update.values, **values},
    )


def report_usage(limit: tuple[str, str], key: Key, shard: UsageShard, change: Change) -> Transact:
    """Report to the counter what a shard has used. The shard keeps what it has left."""
    return Transact(
        (
            counter_update(
                limit, change, shard.unreported, shard.requests, allocated=-shard.unreported
            ),
            Update(
                key,
                "SET drawn = :drawn, toldAt = :now, toldSeq = :seq",
                AS_SEEN,
                NO_NAMES,
                {
                    ":drawn": shard.allocated - shard.unreported,
                    ":seen": shard.allocated,
                    ":now": change.now_ms,
                    ":seq": shard.counter.seq,
                    ":told": shard.reported_seq,
                },
            ),
        )
    )


def archive_logs(limit: tuple[str, str], counter: Counter, change: Change) -> Operation[None]:
    """Archive the logs of a counter that is about to be sharded; from then on it has shards."""
    key = usage_key(*limit)
    dropped = yield from archive(key, counter, change.now_ms)
    dropped += yield from archive(key, counter._replace(earlier=counter.log), change.now_ms)
    turning, values = rotation(counter, dropped, change, keeps_recent=False)
    yield from send(
        Update(
            key,
            f"SET {turning}, recent = :empty, parts = :parts",
            "leaf = :leaf AND recent = :recent AND parts = :none",
            NO_NAMES,
            {
                **values,
                ":empty": {},
                ":parts": SHARDS,
                ":none": 0,
                ":recent": dict(counter.log.entries),
            },
        )
    )


def wait_for_lock(limit: tuple[str, str], counter: Counter, attempt: int) -> Operation[None]:
    """Wait for a process that changes the terms; remove its lock if it has ended."""
    now_ms = yield from send(Pause(attempt))
    if now_ms - counter.locked_ms > LOCK_MS:
        yield from unlock(limit, counter)


def begin_period(limit: tuple[str, str], change: Change) -> Operation[None]:
    """Begin the period of now, once everything that was used in the last one is reported."""
    counter = yield from rebalance(limit, change, tries=1)
    if counter.allocated == 0:
        yield from begin_if_ended(limit, counter, change)


def begin_if_ended(limit: tuple[str, str], counter: Counter, change: Change) -> Operation[None]:
    """Begin the period of now, if the last one has ended and no shard has an allocation."""
    if not counter.has_ended(change.now):
        return
    key = usage_key(*limit)
    current = counter.as_of(change.now)
    dropped = yield from archive(key, counter, change.now_ms)
    turning, values = rotation(counter, dropped, change)
    settings, removals, period = set_period(current, 0, change.now)
    yield from send(
        Update(
            key,
            set_and_remove(
                [turning, "recent = :empty", "#left = :full", *settings, NEXT_VERSION], removals
            ),
            "leaf = :leaf AND drawn = :zero",
            {"#left": "left", "#period": "period", "#last": "last"},
            {
                **values,
                **period,
                ":empty": {},
                ":full": current.left,
                ":zero": 0,
                ":change": change.record("begun"),
            },
        )
    )


# --- Taking allocations back ----------------------------------------------------------------------


def read_shards(limit: tuple[str, str]) -> Operation[dict[Key, UsageShard]]:
    """The shards of a limit that exist."""
    keys = tuple(usage_shard_key(*limit, number) for number in range(SHARDS))
    found = yield from send(BatchGet(keys))
    return {key: UsageShard.of(item) for key, item in found.items()}


def rebalance(
    limit: tuple[str, str],
    change: Change,
    *,
    tries: int = ROUNDS,
    wants: tuple[Key, int] | None = None,
) -> Operation[Counter]:
    """Take back what all shards have left, and what they have used; return the counter afterwards.

    With `wants`, a shard and the least that it is to have, everything is distributed anew. Another
    process may do the same, so that something is still allocated afterwards. It can end at any call
    and be done again.
    """
    for attempt in range(1, tries + 1):
        counter = counter_of((yield from send(Get(usage_key(*limit)))))
        if counter.allocated == 0:
            return counter
        mine = yield from _lock(limit, change)
        if mine:
            return (yield from _take_all_back(limit, change, mine, wants, unlocks=True))
        change = change.at((yield from send(Pause(attempt))))
    return counter


def _take_all_back(
    limit: tuple[str, str],
    change: Change,
    mine: Counter,
    wants: tuple[Key, int] | None,
    *,
    unlocks: bool,
) -> Operation[Counter]:
    """Take all allocations back while we hold the lock (`mine`); release the lock if `unlocks`."""
    for attempt in range(1, ROUNDS + 1):
        shards = yield from read_shards(limit)
        asked = [
            _reclaim(key)
            for key, shard in shards.items()
            if shard.allocated and shard.returning is None
        ]
        reply: Transacted = Accepted()
        if asked:
            reply = yield from send(Transact((_still_locked(limit, mine), *asked)))
        if isinstance(reply, Accepted):
            counter = counter_of((yield from send(Get(usage_key(*limit)))))
            shards = yield from read_shards(limit)
            returning = {key: shard for key, shard in shards.items() if shard.returning is not None}
            counter = counter._replace(lock_number=mine.lock_number, locked_ms=mine.locked_ms)
            writes = _redistribution(limit, counter, returning, wants, change, unlocks=unlocks)
            reply = yield from send(Transact(writes))
            if isinstance(reply, Accepted):
                return counter_of((yield from send(Get(usage_key(*limit)))))
        if isinstance(reply, Cancelled) and reply.reasons[0][0]:
            counter = counter_of((yield from send(Get(usage_key(*limit)))))
            if (counter.lock_number, counter.locked_ms) != (mine.lock_number, mine.locked_ms):
                return counter  # another process holds the lock by now
        change = change.at((yield from send(Pause(attempt))))
    raise problems.Contention


def _still_locked(limit: tuple[str, str], mine: Counter) -> Update:
    """Changes nothing; refused if we do not hold the lock any more."""
    return Update(
        usage_key(*limit),
        "SET heldAt = :held",
        "holds = :holds AND heldAt = :held",
        NO_NAMES,
        {":held": mine.locked_ms, ":holds": mine.lock_number},
    )


def clear_returning(key: Key) -> Update:
    """Clear a shard that returns nothing and that the counter does not know of any more."""
    return Update(key, "REMOVE giving", "giving = :zero AND drawn = :zero", NO_NAMES, {":zero": 0})


def _reclaim(key: Key) -> Update:
    """Leave a shard with nothing, and record on it what it had."""
    return Update(
        key,
        "SET giving = #left, #left = :zero",
        "attribute_not_exists(giving)",
        {"#left": "left"},
        {":zero": 0},
    )


def _redistribution(
    limit: tuple[str, str],
    counter: Counter,
    returning: dict[Key, UsageShard],
    wants: tuple[Key, int] | None,
    change: Change,
    *,
    unlocks: bool,
) -> tuple[Update, ...]:
    """The writes for what shards return, what they get anew, and what the counter learns of it."""
    back = sum(shard.returning or 0 for shard in returning.values())
    allocated = sum(shard.allocated for shard in returning.values())
    shares = dict.fromkeys(returning, 0)
    if wants:
        now = terms_of(counter)
        current = [key for key, shard in returning.items() if terms_of(shard.counter) == now]
        shares |= _shares(counter.left + back, current, wants)
    distributed = sum(shares.values())
    about = extended(
        counter_update(
            limit,
            change,
            allocated - back,
            sum(shard.requests for shard in returning.values()),
            left=back - distributed,
            allocated=distributed - allocated,
        ),
        "",
        "holds = :holds AND heldAt = :held AND #left = :seen",
        {":holds": counter.lock_number, ":held": counter.locked_ms, ":seen": counter.left},
    )
    about = about._replace(names={**about.names, "#left": "left"})
    if unlocks:
        about = about._replace(expression=f"{about.expression} REMOVE heldAt, heldBy")
    return about, *(
        Update(
            key,
            "SET #left = :share, drawn = :share, toldAt = :now, toldSeq = :seq REMOVE giving",
            "giving = :seen AND drawn = :drawn",
            {"#left": "left"},
            {
                ":share": shares[key],
                ":now": change.now_ms,
                ":seen": shard.returning,
                ":drawn": shard.allocated,
                ":seq": shard.counter.seq,
            },
        )
        for key, shard in returning.items()
    )


def _shares(left: int, keys: list[Key], wants: tuple[Key, int]) -> dict[Key, int]:
    """Distribute what is left equally, once the shard that asks has enough.

    A shard that gets nothing takes what it needs later.
    """
    key, quantity = wants
    first = max(0, min(left, quantity))
    each, more = divmod(max(0, left - first), max(1, len(keys)))
    shares = {name: each + int(number < more) for number, name in enumerate(keys)}
    if key in shares:
        shares[key] += first
    return shares


def lock(limit: tuple[str, str], change: Change, more_ms: int = 0) -> Operation[Counter]:
    """Take everything back, and let no shard take anything until the terms are changed.

    Returns the counter. Others wait `more_ms` longer than usual before they remove the lock.

    Raises:
        Contention.
    """
    change = change.at((yield from send(Pause(0))))
    for attempt in range(1, ROUNDS + 1):
        mine = yield from _lock(limit, change, more_ms)
        if mine:
            counter = yield from _take_all_back(limit, change, mine, None, unlocks=False)
            if counter.allocated == 0 and (counter.lock_number, counter.locked_ms) == (
                mine.lock_number,
                mine.locked_ms,
            ):
                return counter
        change = change.at((yield from send(Pause(attempt))))
    raise problems.Contention


def _lock(limit: tuple[str, str], change: Change, more_ms: int = 0) -> Operation[Counter | None]:
    """Lock the counter: the counter as it is then; None: another process has locked it."""
    reply = yield from send(
        Update(
            usage_key(*limit),
            "SET heldAt = :now, heldBy = :me, holds = holds + :one",
            "attribute_exists(parts) AND"
            " (attribute_not_exists(heldAt) OR heldAt < :gone OR heldBy = :me)",
            NO_NAMES,
            {
                ":now": change.now_ms + more_ms,
                ":me": change.request_id,
                ":one": 1,
                ":gone": change.now_ms - LOCK_MS,
            },
        )
    )
    return counter_of(reply.item) if isinstance(reply, Accepted) else None


def reconcile(entitlement_id: str, name: str, change: Change) -> Operation[Counter]:
    """The sweep's part: collect what shards have used and not reported.

    Returns the counter as it was before.
    """
    limit = (entitlement_id, name)
    counter = counter_of((yield from send(Get(usage_key(*limit)))))
    if counter.allocated:
        shards = yield from read_shards(limit)
        for key, shard in shards.items():
            # Shards that are in use report by themselves.
            is_quiet = shard.reported_ms < change.now_ms - 3 * REPORT_MS
            if shard.unreported and shard.returning is None and is_quiet:
                yield from send(report_usage(limit, key, shard, change))
        if any(shard.returning is not None for shard in shards.values()):
            # The process that wanted it back has ended, or will be done.
            yield from rebalance(limit, change, tries=1)
        yield from send(
            Update(
                usage_key(*limit),
                "SET earliest = :due",
                "drawn > :zero",
                NO_NAMES,
                {":due": change.now + RECONCILE_SECONDS, ":zero": 0},
            )
        )
    yield from send(
        Update(
            usage_key(*limit),
            "REMOVE earliest, sweepKey",
            "drawn = :zero",
            NO_NAMES,
            {":zero": 0},
        )
    )
    return counter


def unlock(limit: tuple[str, str], counter: Counter) -> Operation[None]:
    """Remove our lock from a counter, so that shards can take allocations again."""
    if counter.shards is not None:
        yield from send(
            Update(
                usage_key(*limit),
                "REMOVE heldAt, heldBy",
                "heldAt = :held",
                NO_NAMES,
                {":held": counter.locked_ms},
            )
        )
