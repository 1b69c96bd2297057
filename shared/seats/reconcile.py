"""Changes of pools: new limits and terms, more and fewer pages, while seats come and go.

A pool's item has its terms and its *bank*: what its pages are allowed to hold and the bank always
add up to the hard cap. A raised cap goes into the bank, and from there to the pages. A lowered one
is taken from it: below zero it is what the pages still owe. They give what they do not use; if that
is not enough, more seats are held than the cap allows. The pages are then *frozen*: what is freed
on them pays the debt, and while there is one nobody can take a seat.

Seats move between pages in one transaction for each group of neighbours, the group of the first
page last: so the first page knows where to look for what has not been moved. What is to be done is
read from the pool's item and from the pages, so whoever comes next can go on after a crash
anywhere.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import gcd
from typing import Any, TypeVar

from shared import problems
from shared.audit import Change
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import (
    Key,
    capacity_partition,
    pool_key,
    seat_shard_key,
)
from shared.dynamodb.patterns import ROUNDS, write_with_conflict_retry
from shared.dynamodb.requests import (
    NO_NAMES,
    NO_VALUES,
    Accepted,
    BatchGet,
    Cancelled,
    Conflicted,
    Get,
    Item,
    Operation,
    Pause,
    Put,
    Transact,
    Update,
    Value,
)
from shared.seats import totals
from shared.seats.encoding import NEVER
from shared.seats.lookup import unlock_shard
from shared.seats.placement import PARTS, capacity_partition_of
from shared.seats.resharding import (
    BATCH,
    LIMIT_ATTRIBUTES,
    TERM_ATTRIBUTES,
    ShardGroup,
    lock_shard,
    may_hold_seats,
    next_step,
    settled_shard_count,
    wanted_shard_count,
)
from shared.seats.seat_usage import read_seat_usage
from shared.seats.shard import SeatShard
from shared.seats.terms import total_allocation, without_none

# Who works on a pool is gone when nothing was heard for so long.
LOCK_MS = 20_000
_CLOSED = ("deleted", "expired")
_Any = TypeVar("_Any")


# --- What is left to be done ----------------------------------------------------------------------


class _Superseded(Exception):
    """Others have changed the pool meanwhile, or work on it."""


class _OutOfTime(Exception):
    """The rest is for the next one."""


def reconcile_pool(
    owner: str, change: Change, until_ms: int, *, swept_at: int = 0
) -> Operation[bool]:
    """Do what is left to be done for a pool; False: it is not finished.

    Stops soon after `until_ms`. Safe to run at any time, by many at once: one of them does it.
    `swept_at` (Unix seconds): the sweep has looked at its leases then; without it, the next sweep
    does, however often the pool is changed.
    """
    work = _Reconciler(owner, change, until_ms, swept_at)
    with suppress(_OutOfTime):
        for _ in range(ROUNDS):
            if not (yield from work.lock()):
                return False
            with suppress(_Superseded, problems.Contention):
                yield from work.run()
                return True
    yield from work.unlock()
    return False


class _Reconciler:
    """One round of work on a pool."""

    def __init__(self, owner: str, change: Change, until_ms: int, swept_at: int) -> None:
        self.owner = owner
        self.change = change
        self.until_ms = until_ms
        self.swept_at = swept_at
        self.key = pool_key(owner)
        self.version = 0

    # --- Who does it ---

    def lock(self) -> Operation[bool]:
        """Be the one who works on it; False: somebody else is, or there is no pool."""
        now_ms: int = yield Pause(0)
        for attempt in range(1, ROUNDS + 1):
            reply = yield Update(
                self.key,
                "SET tender = :me, tendedUntil = :until",
                "attribute_exists(pk) AND"
                " (attribute_not_exists(tender) OR tender = :me OR tendedUntil < :now)",
                NO_NAMES,
                {":me": self.change.request_id, ":until": now_ms + LOCK_MS, ":now": now_ms},
            )
            if not isinstance(reply, Conflicted):
                return isinstance(reply, Accepted)
            now_ms = yield Pause(attempt)
        return False

    def unlock(self) -> Operation[None]:
        """Somebody else may go on at once."""
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
    ) -> Operation[tuple[tuple[bool, Item | None], ...] | None]:
        """Change pages, and the pool by `added` to its bank and `sets`; why not, per page.

        Raises:
            _Superseded: the terms have changed, or somebody else works on it.
            _OutOfTime.
        """
        for attempt in range(1, ROUNDS + 1):
            now_ms: int = yield Pause(attempt - 1)
            if now_ms > self.until_ms:
                raise _OutOfTime
            assignments, removals, values = assign({**sets, "tendedUntil": now_ms + LOCK_MS})
            condition = "tender = :me AND version = :version"
            if added:
                assignments.append("bank = bank + :added")
                values[":added"] = added
            if added > 0:  # there may be room in it
                assignments.append("roomKey = :room")
                values[":room"] = capacity_partition(self.owner, 0)
            if at_least is not None:
                condition += " AND bank >= :least"
                values[":least"] = at_least
            about = Update(
                self.key,
                set_and_remove(assignments, removals),
                condition,
                NO_NAMES,
                {**values, ":me": self.change.request_id, ":version": self.version},
            )
            reply = yield Transact((about, *writes))
            if isinstance(reply, Accepted):
                return None
            if isinstance(reply, Cancelled):
                (is_refused, _), *reasons = reply.reasons
                if is_refused:
                    raise _Superseded
                return tuple(reasons)
        raise problems.Contention

    # --- In which order ---

    def run(self) -> Operation[None]:
        """Terms, pages, allowances: until nothing is left."""
        while True:
            state: Item = yield Get(self.key)
            self.version = state["version"]
            if not state.get("pages"):
                if (yield from self._split_only_shard()):
                    continue
                break
            if state["spread"] < self.version:
                yield from self._apply_terms(state)
                continue
            step = yield from self._next_step(state)
            if step:
                yield from self._reshard(state, step)
                continue
            if state["bank"] < 0 and not (yield from self._reclaim(state)):
                yield from self._start_draining(state)
                state = yield Get(self.key)
            if state["bank"] >= 0 and state.get("isFrozen"):
                yield from self._stop_draining(state)
                continue
            if state["bank"] >= state["pages"]:
                yield from self._distribute(state)
                continue
            break
        now_ms: int = yield Pause(0)
        self.until_ms = now_ms + LOCK_MS  # the last word does not wait
        is_over = state.get("terms", {}).get("status") in _CLOSED and state["bank"] >= 0
        is_in_use = state.get("pages") and not is_over
        due = self.swept_at if is_in_use else NEVER
        yield from self._write((), 0, {"isPending": None, "tender": None, "earliest": due})

    def _next_step(self, state: Item) -> Operation[int | None]:
        """To how many pages the pool is to come next; None: it has as many as it should."""
        if state.get("step"):
            return int(state["step"])
        seat_usage = yield from read_seat_usage(self.owner)
        shard_count, wanted = (
            state["pages"],
            settled_shard_count(state, seat_usage, seat_usage.used),
        )
        if wanted != shard_count:
            # The sum may be late: by it alone, pages could be merged and split without end.
            used = sum(shard.used for batch in (yield from self._live(state)) for _, shard in batch)
            wanted = settled_shard_count(state, seat_usage, used)
        if wanted == shard_count:
            return None
        step = next_step(shard_count, wanted)
        yield from self._write((), 0, {"step": step})
        return step

    # --- Pages ---

    def _live(self, state: Item) -> Operation[list[Sequence[tuple[Key, SeatShard]]]]:
        """All pages, in batches, as they are now."""
        numbers = {
            index * (PARTS // shard_count)
            for shard_count in (state["pages"], state.get("step"))
            if shard_count
            for index in range(shard_count)
        }
        batches = []
        for some in _in_parts(sorted(numbers), 100):
            keys = tuple(seat_shard_key(self.owner, number) for number in some)
            live = yield from self._read(keys)
            batches += _in_parts(list(live.items()), BATCH)
        return batches

    def _each(self, state: Item, change: Any) -> Operation[None]:
        """Change every page: `change(key, page)` is its write, or None; looks again if refused.

        A write may be a pair of it and what it adds to the bank.
        """
        for batch in (yield from self._live(state)):
            yield from self._change(dict(batch), change)

    def _change(self, shards: dict[Key, SeatShard], change: Any) -> Operation[None]:
        """Change some shards together; each by itself, if one of them is not as it was read."""
        for attempt in range(1, ROUNDS + 1):
            made = {key: change(key, shard) for key, shard in shards.items()}
            writes = [each for each in made.values() if each is not None]
            if not writes:
                return
            added = sum(each[1] for each in writes)
            sets = {"isFrozen": True} if change == self._draining else NO_VALUES
            if (yield from self._write([each[0] for each in writes], added, sets)) is None:
                return
            if len(shards) > 1:
                for key in shards:
                    yield from self._change((yield from self._read((key,))), change)
                return
            yield Pause(attempt)
            shards = yield from self._read(tuple(shards))
        raise problems.Contention

    def _read(self, keys: tuple[Key, ...]) -> Operation[dict[Key, SeatShard]]:
        """Those of some pages that may have seats, as they are now."""
        found: dict[Key, Item] = yield BatchGet(keys)
        return {key: SeatShard.of(item) for key, item in found.items() if may_hold_seats(key, item)}

    def _apply_terms(self, state: Item) -> Operation[None]:
        """Bring the terms to every page; take the seats away where they say so."""
        wanted = {name: state["terms"].get(name) for name in TERM_ATTRIBUTES}
        is_closed = wanted["status"] in _CLOSED

        def new_terms(key: Key, shard: SeatShard) -> tuple[Update, int] | None:
            has = {
                "status": shard.status,
                "validFrom": shard.valid_from,
                "validUntil": shard.valid_until,
                "leaseSeconds": shard.lease_seconds,
                "noSeats": None if shard.has_seats else True,
            }
            if has == wanted and not (is_closed and shard.seats):
                return None
            sets = dict[str, Value](wanted)
            sets["#status"] = sets.pop("status")
            if is_closed:
                sets |= {"seats": {}, "earliest": None}
            elif shard.lease_seconds != wanted["leaseSeconds"] or shard.status == "expired":
                sets["earliest"] = 0
            assignments, removals, values = assign(sets)
            kind = wanted["status"] if is_closed else "updated"
            # Seats come and go meanwhile; what of that matters is in the condition.
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
                    self.owner, shard.number, shard.shard_count or 1
                )
            return Update(
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
            ), freed

        yield from self._each(state, new_terms)
        yield from self._write((), 0, {"spread": self.version})

    # --- Allowances ---

    def _reclaim(self, state: Item) -> Operation[bool]:
        """Take back what pages do not use, until the debt is paid; whether it is."""
        fair = -(-total_allocation(state["terms"].get("hardCap")) // state["pages"])
        for floor in (fair, 0):
            for batch in (yield from self._live(state)):
                now: Item = yield Get(self.key)
                owed = -now["bank"]
                if owed <= 0:
                    return True
                writes, taken = list[Update](), 0
                for key, shard in batch:
                    share = min(shard.free, (shard.allocation or 0) - floor, owed - taken)
                    if share > 0:
                        writes.append(_take_back(key, shard, share))
                        taken += share
                if writes:
                    # One that has changed meanwhile gives another time, or not: a seat was taken.
                    yield from self._write(writes, taken)
        state = yield Get(self.key)
        return bool(state["bank"] >= 0)

    def _start_draining(self, state: Item) -> Operation[None]:
        """From now on, what is freed pays the debt."""
        yield from self._each(state, self._draining)

    def _draining(self, key: Key, shard: SeatShard) -> tuple[Update, int] | None:
        if shard.is_draining and not shard.free:
            return None
        return Update(
            key,
            "SET allowance = :used, isFrozen = :yes",
            "allowance = :seen AND size(seats) = :used",
            NO_NAMES,
            {":used": shard.used, ":yes": True, ":seen": shard.allocation},
        ), shard.free

    def _stop_draining(self, state: Item) -> Operation[None]:
        """The debt is paid: pages keep what is freed on them."""
        for batch in (yield from self._live(state)):
            writes = [
                Update(key, "REMOVE isFrozen", "attribute_exists(pk)", {}, {})
                for key, shard in batch
                if shard.is_draining
            ]
            if writes:
                yield from self._write(writes, at_least=0)
        yield from self._write((), 0, {"isFrozen": None}, at_least=0)

    def _distribute(self, state: Item) -> Operation[None]:
        """Give the pages what is in the bank, each the same."""
        share = state["bank"] // state["pages"]
        for batch in (yield from self._live(state)):
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
                            self.owner, shard.number, shard.shard_count or 1
                        ),
                    },
                )
                for key, shard in batch
            ]
            given = share * len(writes)
            now: Item = yield Get(self.key)
            if now["bank"] < given:
                return  # others have taken from it; what is left is for who looks for it
            yield from self._write(writes, -given, at_least=given)

    # --- More and fewer pages ---

    def _split_only_shard(self) -> Operation[bool]:
        """Make several pages of the one that has all the seats; False: it is to stay alone."""
        for attempt in range(1, ROUNDS + 1):
            item: Item = yield Get(seat_shard_key(self.owner))
            shard = SeatShard.of(item)
            wanted = wanted_shard_count(shard.hard_cap, shard.seat_count, shard.used)
            if wanted == 1 or shard.status == "deleted":
                if shard.locked_at_ms is not None:  # its seats stay where they are
                    yield unlock_shard(seat_shard_key(self.owner), shard.locked_at_ms)
                return False
            if (yield from self._move_seats([0], next_step(1, wanted), None, {}, attempt)):
                return True
        raise problems.Contention

    def _reshard(self, state: Item, step: int) -> Operation[None]:
        """Bring every group of neighbouring pages to another number of them."""
        shard_count = state["pages"]
        groups = gcd(shard_count, step)
        for group in reversed(range(groups)):
            begin, end = group * (PARTS // groups), (group + 1) * (PARTS // groups)
            for attempt in range(1, ROUNDS + 1):
                old = list(range(begin, end, PARTS // shard_count))
                if (yield from self._move_seats(old, step, shard_count, state["terms"], attempt)):
                    break
            else:
                raise problems.Contention
        if step > 1:
            yield from self._write((), 0, {"pages": step, "step": None})

    def _move_seats(
        self, old: list[int], step: int, shard_count: int | None, limits: Item, attempt: int
    ) -> Operation[bool]:
        """Move the seats of some pages onto those that should be in their place; False: not yet.

        Whoever takes or gives back a seat there may be faster; at a second attempt they wait.
        """
        begin, end = old[0], old[-1] + PARTS // (shard_count or 1)
        new = list(range(begin, end, PARTS // step))
        keys = {number: seat_shard_key(self.owner, number) for number in sorted({*old, *new})}
        if attempt > 1:
            now_ms = yield Pause(attempt - 1)
            for number in old:
                yield from write_with_conflict_retry(lock_shard(keys[number], now_ms))
        found: dict[Key, Item] = yield BatchGet(tuple(keys.values()))
        items = {number: found[key] for number, key in keys.items() if key in found}
        if shard_count and items[begin].get("pages") == step:
            return True  # it was done before
        group = ShardGroup(self.owner, items, old, new, step, shard_count, limits)
        writes, sets = group.moved(self.change), dict[str, Value]()
        if shard_count is None:
            shard = SeatShard.of(items[0])
            left = total_allocation(shard.hard_cap) - shard.used
            sets = {
                "terms": without_none(
                    {name: items[0].get(name) for name in (*LIMIT_ATTRIBUTES, *TERM_ATTRIBUTES)}
                ),
                "pages": step,
                "bank": min(left, 0),
                "isFrozen": True if left < 0 else None,
                "spread": self.version,
            }
            writes += self._sum_of_split(items[0], group)
        elif step == 1:
            sets = {**dict.fromkeys(("pages", "step", "isFrozen", "roomKey", "terms")), "bank": 0}
        return (yield from self._write(writes, 0, sets)) is None

    def _sum_of_split(self, item: Item, group: "ShardGroup") -> list[Put]:
        """The sum of a pool whose only page is split, unless it has one from before."""
        shard = SeatShard.of(item)
        if shard.has_totals:
            return []
        limits = totals.limits_of(item)
        put = totals.first_totals(self.owner, shard, group.seq, limits, self.change.now_ms)
        return [put, totals.seat_usage_put(self.owner, dict(put.item))]


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
