"""Reconciling a pool with its terms: new limits, more or fewer shards, while seats come and go.

A pool's item has its terms and its *unallocated* seats (attribute `bank`). The allocations of the
shards and the unallocated seats always add up to the hard cap. A raised cap adds to the unallocated
seats, which are then distributed. A lowered cap is taken from them: a negative number is a deficit
that the shards still owe. They return what they do not use. If that is not enough, more seats are
held than the cap allows. The shards are then *draining*: seats that are released on them reduce the
deficit, and nobody can take a seat until it is zero.

Seats move between shards in one transaction for each group of neighbours. The group of the first
shard is the last one, so the first shard knows where to look for seats that have not moved. What
remains to be done follows from the pool's item and its shards, so any process can go on after a
crash at any point.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import gcd
from typing import Any, NamedTuple, Protocol, TypeVar

from shared import problems
from shared.audit import Change
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import (
    Key,
    capacity_partition,
    pool_key,
    seat_shard_key,
)
from shared.dynamodb.patterns import ROUNDS, read_existing, write_with_conflict_retry
from shared.dynamodb.requests import (
    NO_NAMES,
    NO_VALUES,
    Accepted,
    BatchGet,
    Cancelled,
    Conflicted,
    Item,
    Operation,
    Pause,
    Put,
    Transact,
    Update,
    Value,
    send,
)
from shared.overdraft_clock import PERIOD_ATTRIBUTES, clock_attributes
from shared.seats import totals
from shared.seats.encoding import NEVER
from shared.seats.lookup import unlock_shard_update
from shared.seats.placement import SLOTS, capacity_partition_of, wanted_shard_count
from shared.seats.pool import Pool, read_pool
from shared.seats.resharding import (
    BATCH,
    LIMIT_ATTRIBUTES,
    TERM_ATTRIBUTES,
    ShardGroup,
    lock_shard_update,
    may_hold_seats,
    next_shard_count,
    target_shard_count,
)
from shared.seats.seat_usage import SeatUsage, read_seat_usage
from shared.seats.shard import SeatShard
from shared.seats.terms import total_allocation, without_none

# A process that has not renewed its lock for this long has ended.
POOL_LOCK_MS = 20_000
_Any = TypeVar("_Any")


# --- The reconciler -------------------------------------------------------------------------------


class _Superseded(Exception):
    """Another process has changed the pool, or is reconciling it."""


class _OutOfTime(Exception):
    """The rest is left to the next run."""


def reconcile_pool(
    entitlement_id: str,
    change: Change,
    until_ms: int,
    *,
    swept_at: int = 0,
    only_allocations: bool = False,
) -> Operation[bool]:
    """Do what remains to be done for a pool; False: it is not finished.

    Stops soon after `until_ms`. It is safe to run at any time and in many processes: one of them
    does the work. `swept_at` (Unix seconds) is when the sweep looked at the pool's leases. Without
    it, the next sweep looks at them, however often the pool is changed. `only_allocations`: the
    number of shards is left to another run.
    """
    work = _Reconciler(
        entitlement_id, change, until_ms, swept_at, only_allocations=only_allocations
    )
    with suppress(_OutOfTime):
        for _ in range(ROUNDS):
            if not (yield from work.lock()):
                return False
            with suppress(_Superseded, problems.Contention):
                yield from work.run()
                return True
    yield from work.unlock()
    return False


class _ShardWrite(NamedTuple):
    """The change of one shard, and the number of unallocated seats that it adds to the pool."""

    update: Update
    added: int


class _ShardWriter(Protocol):
    """How to change a shard; None: it is as it should be."""

    def __call__(self, key: Key, shard: SeatShard) -> _ShardWrite | None: ...


class _Reconciler:
    """One run of the reconciler on a pool."""

    def __init__(
        self,
        entitlement_id: str,
        change: Change,
        until_ms: int,
        swept_at: int,
        *,
        only_allocations: bool,
    ) -> None:
        self.entitlement_id = entitlement_id
        self.change = change
        self.until_ms = until_ms
        self.swept_at = swept_at
        self.only_allocations = only_allocations
        self.key = pool_key(entitlement_id)
        self.generation = 0

    # --- The lock ---------------------------------------------------------------------------------

    def lock(self) -> Operation[bool]:
        """Lock the pool; False: another process has locked it, or there is no pool."""
        now_ms = yield from send(Pause(0))
        for attempt in range(1, ROUNDS + 1):
            reply = yield from send(
                Update(
                    self.key,
                    "SET tender = :me, tendedUntil = :until",
                    "attribute_exists(pk) AND"
                    " (attribute_not_exists(tender) OR tender = :me OR tendedUntil < :now)",
                    NO_NAMES,
                    {
                        ":me": self.change.request_id,
                        ":until": now_ms + POOL_LOCK_MS,
                        ":now": now_ms,
                    },
                )
            )
            if not isinstance(reply, Conflicted):
                return isinstance(reply, Accepted)
            now_ms = yield from send(Pause(attempt))
        return False

    def unlock(self) -> Operation[None]:
        """Let another process go on at once."""
        values: dict[str, Any] = {":me": self.change.request_id}
        yield from write_with_conflict_retry(
            Update(self.key, "REMOVE tender, tendedUntil", "tender = :me", NO_NAMES, values)
        )

    def _write(
        self,
        writes: Sequence[Update | Put],
        added: int = 0,
        sets: Mapping[str, Value] = NO_VALUES,
        *,
        at_least: int | None = None,
    ) -> Operation[bool]:
        """Change shards, and the pool by `added` unallocated seats and `sets`, in one transaction.

        False: nothing was written, because a shard was not as it was read. `at_least`: so many
        unallocated seats there must be.

        Raises:
            _Superseded: the terms have changed, or another process holds the lock.
            _OutOfTime.
        """
        for attempt in range(1, ROUNDS + 1):
            now_ms = yield from send(Pause(attempt - 1))
            if now_ms > self.until_ms:
                raise _OutOfTime
            assignments, removals, values = assign({**sets, "tendedUntil": now_ms + POOL_LOCK_MS})
            condition = "tender = :me AND version = :version"
            if added:
                assignments.append("bank = bank + :added")
                values[":added"] = added
            if added > 0:  # it can give seats now
                assignments.append("roomKey = :room")
                values[":room"] = capacity_partition(self.entitlement_id, 0)
            if at_least is not None:
                condition += " AND bank >= :least"
                values[":least"] = at_least
            about = Update(
                self.key,
                set_and_remove(assignments, removals),
                condition,
                NO_NAMES,
                {**values, ":me": self.change.request_id, ":version": self.generation},
            )
            reply = yield from send(Transact((about, *writes)))
            if isinstance(reply, Accepted):
                return True
            if isinstance(reply, Cancelled):
                if reply.reasons[0][0]:
                    raise _Superseded
                return False
        raise problems.Contention

    # --- Order of work ----------------------------------------------------------------------------

    def run(self) -> Operation[None]:
        """Apply terms, shards and allocations until nothing remains."""
        while True:
            pool = yield from read_pool(self.entitlement_id)
            self.generation = pool.generation
            if pool.shard_count is None:
                if not self.only_allocations and (yield from self._split_only_shard()):
                    continue
                break
            finished = yield from self._bring_on(pool)
            if finished:
                pool = finished
                break
        now_ms = yield from send(Pause(0))
        self.until_ms = now_ms + POOL_LOCK_MS  # the last write is not delayed
        done: dict[str, Value] = {"tender": None}
        if not self.only_allocations:
            is_done = pool.is_closed and pool.unallocated >= 0
            is_in_use = pool.shard_count is not None and not is_done
            done |= {"isPending": None, "earliest": self.swept_at if is_in_use else NEVER}
        yield from self._write((), 0, done)

    def _bring_on(self, pool: Pool) -> Operation[Pool | None]:
        """Do the next thing for a pool of several shards; the pool as it is if nothing remains."""
        if pool.has_period and (yield from self._apply_clock(pool)):
            return None
        if pool.observed_generation < self.generation:
            yield from self._apply_terms(pool)
            return None
        wanted = None
        if not self.only_allocations:
            wanted = yield from self._choose_shard_count(pool)
        if wanted:
            yield from self._reshard(pool, wanted)
            return None
        if pool.unallocated < 0 and not (yield from self._take_back_allocation(pool)):
            yield from self._start_draining(pool)
            pool = yield from read_pool(self.entitlement_id)
        if pool.unallocated >= 0 and pool.is_draining:
            yield from self._stop_draining(pool)
            return None
        if pool.unallocated >= (pool.shard_count or 1):
            yield from self._distribute(pool)
            return None
        return pool

    def _apply_clock(self, pool: Pool) -> Operation[bool]:
        """Lower the cap to what was purchased once the overdraft's period has ended; or raise it.

        Whether anything was changed. Fewer or more seats are unallocated then.
        """
        usage = yield from self._seat_usage()
        purchased = pool.terms["seatCount"]
        lowered_to = purchased if usage.has_ended and not pool.is_closed else None
        if lowered_to == pool.lowered_to:
            return False
        after = pool._replace(lowered_to=lowered_to)
        added = total_allocation(after.cap) - total_allocation(pool.cap)
        yield from self._write((), added, {"loweredTo": lowered_to})
        return True

    def _seat_usage(self) -> Operation[SeatUsage]:
        """The pool's seat usage now."""
        now_ms = yield from send(Pause(0))
        return (yield from read_seat_usage(self.entitlement_id, now_ms // 1000))

    def _choose_shard_count(self, pool: Pool) -> Operation[int | None]:
        """The number of shards to go to next; None: the pool has the right number."""
        if pool.next_shard_count:
            return pool.next_shard_count
        seat_usage = yield from self._seat_usage()
        wanted = target_shard_count(pool, seat_usage)
        if wanted != pool.shard_count:
            # The totals may lag. By them alone, shards could be merged and split without end.
            used = sum(shard.used for batch in (yield from self._live(pool)) for _, shard in batch)
            wanted = target_shard_count(pool, seat_usage._replace(used=used))
        if wanted == pool.shard_count:
            return None
        following = next_shard_count(pool.shard_count or 1, wanted)
        yield from self._write((), 0, {"step": following})
        return following

    # --- Shards -----------------------------------------------------------------------------------

    def _live(self, pool: Pool) -> Operation[list[Sequence[tuple[Key, SeatShard]]]]:
        """All shards as they are now, in batches."""
        numbers = {
            index * (SLOTS // shard_count)
            for shard_count in (pool.shard_count, pool.next_shard_count)
            if shard_count
            for index in range(shard_count)
        }
        batches = []
        for some in _in_parts(sorted(numbers), 100):
            keys = tuple(seat_shard_key(self.entitlement_id, number) for number in some)
            live = yield from self._read(keys)
            batches += _in_parts(list(live.items()), BATCH)
        return batches

    def _change_all_shards(
        self, pool: Pool, make_write: _ShardWriter, pool_sets: Mapping[str, Value] = NO_VALUES
    ) -> Operation[None]:
        """Change every shard; with each batch, set these attributes of the pool."""
        for batch in (yield from self._live(pool)):
            if not (yield from self._change_batch(dict(batch), make_write, pool_sets)):
                # One of them has changed since it was read: one by one.
                for key, _ in batch:
                    yield from self._change_shard(key, make_write, pool_sets)

    def _change_shard(
        self, key: Key, make_write: _ShardWriter, pool_sets: Mapping[str, Value]
    ) -> Operation[None]:
        for attempt in range(1, ROUNDS + 1):
            shards = yield from self._read((key,))
            if (yield from self._change_batch(shards, make_write, pool_sets)):
                return
            yield from send(Pause(attempt))
        raise problems.Contention

    def _change_batch(
        self, shards: dict[Key, SeatShard], make_write: _ShardWriter, pool_sets: Mapping[str, Value]
    ) -> Operation[bool]:
        """Change some shards in one transaction; False: one of them was not as it was read."""
        made = [make_write(key, shard) for key, shard in shards.items()]
        writes = [each for each in made if each is not None]
        if not writes:
            return True
        added = sum(each.added for each in writes)
        return (yield from self._write([each.update for each in writes], added, pool_sets))

    def _read(self, keys: tuple[Key, ...]) -> Operation[dict[Key, SeatShard]]:
        """Those of the shards that may hold seats, as they are now."""
        found = yield from send(BatchGet(keys))
        return {key: SeatShard.of(item) for key, item in found.items() if may_hold_seats(key, item)}

    def _apply_terms(self, pool: Pool) -> Operation[None]:
        """Write the terms to every shard; remove all seats if the terms say so."""
        wanted = {name: pool.terms.get(name) for name in TERM_ATTRIBUTES}
        is_closed = pool.is_closed

        def new_terms(key: Key, shard: SeatShard) -> _ShardWrite | None:
            has = {
                "status": shard.status,
                "validFrom": shard.valid_from,
                "validUntil": shard.valid_until,
                "leaseSeconds": shard.lease_seconds,
                "overdraftLeaseSeconds": shard.overdraft_lease_seconds,
                "offlineSeconds": shard.offline_seconds,
                "noSeats": None if shard.has_seats else True,
            }
            has_other_leases = any(
                has[name] != wanted[name] for name in ("leaseSeconds", "overdraftLeaseSeconds")
            )
            if has == wanted and not (is_closed and shard.seats):
                return None
            sets = dict[str, Value](wanted)
            sets["#status"] = sets.pop("status")
            if is_closed:
                sets |= {"seats": {}, "earliest": None}
            elif has_other_leases or shard.status == "expired":
                sets["earliest"] = 0
            assignments, removals, values = assign(sets)
            kind = wanted["status"] if is_closed else "updated"
            # Seats come and go meanwhile; the condition holds whatever matters of that.
            freed, condition = 0, "pages = :pages"
            if is_closed and shard.is_draining:
                freed = shard.used
                condition += " AND attribute_exists(isFrozen) AND size(seats) = :freed"
                assignments.append("allowance = allowance - :freed")
                values[":freed"] = freed
            elif is_closed:
                condition += " AND attribute_not_exists(isFrozen)"
                assignments.append("roomKey = :room")
                values[":room"] = capacity_partition_of(
                    self.entitlement_id, shard.number, shard.shard_count or 1
                )
            update = Update(
                key,
                set_and_remove(["seq = seq + :one", "#last = :change", *assignments], removals),
                condition,
                {"#status": "status", "#last": "last"},
                {
                    **values,
                    ":one": 1,
                    ":pages": shard.shard_count,
                    ":change": self.change.record(str(kind)),
                },
            )
            return _ShardWrite(update, freed)

        yield from self._change_all_shards(pool, new_terms)
        yield from self._write((), 0, {"spread": self.generation})

    # --- Allocations ------------------------------------------------------------------------------

    def _take_back_allocation(self, pool: Pool) -> Operation[bool]:
        """Take unused allocation back until the deficit is zero; whether it is."""
        fair = -(-total_allocation(pool.cap) // (pool.shard_count or 1))
        for floor in (fair, 0):
            for batch in (yield from self._live(pool)):
                now = yield from read_pool(self.entitlement_id)
                owed = -now.unallocated
                if owed <= 0:
                    return True
                writes, taken = list[Update](), 0
                for key, shard in batch:
                    share = min(shard.free, (shard.allocation or 0) - floor, owed - taken)
                    if share > 0:
                        writes.append(_take_back(key, shard, share))
                        taken += share
                if writes:
                    # If a shard has changed meanwhile, nothing is written: the deficit that remains
                    # is looked at again.
                    yield from self._write(writes, taken)
        now = yield from read_pool(self.entitlement_id)
        return now.unallocated >= 0

    def _start_draining(self, pool: Pool) -> Operation[None]:
        """From now on, released seats reduce the deficit."""
        yield from self._change_all_shards(pool, _drain, {"isFrozen": True})

    def _stop_draining(self, pool: Pool) -> Operation[None]:
        """The deficit is zero: released seats stay with their shards."""
        for batch in (yield from self._live(pool)):
            writes = [
                Update(key, "REMOVE isFrozen", "attribute_exists(pk)", {}, {})
                for key, shard in batch
                if shard.is_draining
            ]
            # If a lowered cap has made a deficit meanwhile, the pool goes on draining.
            if writes:
                yield from self._write(writes, at_least=0)
        yield from self._write((), 0, {"isFrozen": None}, at_least=0)

    def _distribute(self, pool: Pool) -> Operation[None]:
        """Distribute the unallocated seats equally among the shards."""
        share = pool.unallocated // (pool.shard_count or 1)
        for batch in (yield from self._live(pool)):
            writes = [
                Update(
                    key,
                    "SET allowance = allowance + :share, roomKey = :room",
                    "pages = :pages",
                    NO_NAMES,
                    {
                        ":share": share,
                        ":pages": shard.shard_count,
                        ":room": capacity_partition_of(
                            self.entitlement_id, shard.number, shard.shard_count or 1
                        ),
                    },
                )
                for key, shard in batch
            ]
            given = share * len(writes)
            now = yield from read_pool(self.entitlement_id)
            if now.unallocated < given:
                return  # others have taken from it; requests find the rest by themselves
            yield from self._write(writes, -given, at_least=given)

    # --- Resharding -------------------------------------------------------------------------------

    def _split_only_shard(self) -> Operation[bool]:
        """Make several shards of the only one; False: it is to stay the only one."""
        for attempt in range(1, ROUNDS + 1):
            item = yield from read_existing(seat_shard_key(self.entitlement_id))
            shard = SeatShard.of(item)
            wanted = wanted_shard_count(shard.hard_cap, shard.purchased, shard.used)
            if wanted == 1 or shard.status == "deleted":
                if shard.locked_at_ms is not None:  # its seats stay where they are
                    yield from send(
                        unlock_shard_update(seat_shard_key(self.entitlement_id), shard.locked_at_ms)
                    )
                return False
            if attempt > 1:
                yield from self._lock_shards([0], attempt)
            if (yield from self._move_seats([0], None, next_shard_count(1, wanted), {})):
                return True
        raise problems.Contention

    def _reshard(self, pool: Pool, new_count: int) -> Operation[None]:
        """Bring every group of neighbouring shards to another number of them."""
        old_count = pool.shard_count or 1
        groups = gcd(old_count, new_count)
        for group in reversed(range(groups)):
            begin, end = group * (SLOTS // groups), (group + 1) * (SLOTS // groups)
            for attempt in range(1, ROUNDS + 1):
                old = list(range(begin, end, SLOTS // old_count))
                if attempt > 1:
                    yield from self._lock_shards(old, attempt)
                limits = pool.terms
                if new_count == 1 and pool.has_period:
                    usage = yield from self._seat_usage()
                    limits = {**limits, **clock_attributes(usage.clock)}
                if (yield from self._move_seats(old, old_count, new_count, limits)):
                    break
            else:
                raise problems.Contention
        if new_count > 1:
            yield from self._write((), 0, {"pages": new_count, "step": None})

    def _lock_shards(self, numbers: list[int], attempt: int) -> Operation[None]:
        """Lock shards before another attempt: requests for seats were faster, and wait from now."""
        now_ms = yield from send(Pause(attempt - 1))
        for number in numbers:
            lock = lock_shard_update(seat_shard_key(self.entitlement_id, number), now_ms)
            yield from write_with_conflict_retry(lock)

    def _move_seats(
        self, old: list[int], old_count: int | None, new_count: int, limits: Item
    ) -> Operation[bool]:
        """Move the seats of some shards to the shards that replace them; False: try again."""
        begin, end = old[0], old[-1] + SLOTS // (old_count or 1)
        new = list(range(begin, end, SLOTS // new_count))
        keys = {
            number: seat_shard_key(self.entitlement_id, number) for number in sorted({*old, *new})
        }
        found = yield from send(BatchGet(tuple(keys.values())))
        items = {number: found[key] for number, key in keys.items() if key in found}
        if old_count and items[begin].get("pages") == new_count:
            return True  # it has been done already
        group = ShardGroup(self.entitlement_id, items, old, new, old_count, new_count, limits)
        writes, sets = group.writes(self.change), dict[str, Value]()
        if old_count is None:
            shard = SeatShard.of(items[0])
            left = total_allocation(shard.upper_cap) - shard.used
            sets = {
                "terms": without_none(
                    {
                        name: items[0].get(name)
                        for name in (*LIMIT_ATTRIBUTES, *TERM_ATTRIBUTES, *PERIOD_ATTRIBUTES)
                    }
                ),
                "pages": new_count,
                "bank": min(left, 0),
                "isFrozen": True if left < 0 else None,
                "spread": self.generation,
            }
            writes += self._initial_totals(items[0], group)
        elif new_count == 1:
            sets = {
                **dict.fromkeys(("pages", "step", "isFrozen", "roomKey", "terms", "loweredTo")),
                "bank": 0,
            }
        return (yield from self._write(writes, 0, sets))

    def _initial_totals(self, item: Item, group: "ShardGroup") -> list[Put]:
        """The totals of a pool whose only shard is split, unless it has totals already."""
        shard = SeatShard.of(item)
        if shard.has_totals:
            return []
        limits = totals.limits_of(item)
        put = totals.first_totals(self.entitlement_id, shard, group.seq, limits, self.change.now_ms)
        return [put, totals.seat_usage_put(self.entitlement_id, dict(put.item))]


def _in_parts(items: Sequence[_Any], size: int) -> list[Sequence[_Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _take_back(key: Key, shard: SeatShard, share: int) -> Update:
    allocation = shard.allocation or 0
    return Update(
        key,
        "SET allowance = :left",
        "allowance = :seen AND size(seats) <= :left",
        NO_NAMES,
        {":seen": allocation, ":left": allocation - share},
    )


def _drain(key: Key, shard: SeatShard) -> _ShardWrite | None:
    """Have a shard return its free seats now, and every seat that is released later."""
    if shard.is_draining and not shard.free:
        return None
    update = Update(
        key,
        "SET allowance = :used, isFrozen = :yes",
        "allowance = :seen AND size(seats) = :used",
        NO_NAMES,
        {":used": shard.used, ":yes": True, ":seen": shard.allocation},
    )
    return _ShardWrite(update, shard.free)
