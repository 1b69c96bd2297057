"""Sharded usage limits: a busy limit has shards, each with an allocation of its own.

One counter takes about 300 requests a second. A limit that gets more, and is large enough, is
*sharded*: each request goes to one of `SHARDS` shards by its key, so that a retry comes to the same
one. A shard counts down its allocation as a counter does (see `consumption`). The counter of the
limit knows what is allocated and not yet reported as used (attribute `drawn`). So

    left + allocated + used = hard cap,   and all shards together never have more than is allocated.

Each shard takes its share of the limit. It reports its usage every few seconds. A request that
finds too little on its shard and on the counter rebalances the limit: it takes back what all shards
have and distributes it anew. It is denied if less is left and allocated than it asks for.

New terms and a new period begin only while nothing is allocated, so an allocation is always under
the current terms. A process that rebalances or changes the terms locks the counter meanwhile:
nothing can be allocated.
"""

import random
from typing import Any

from cachetools import LRUCache

from shared import problems
from shared.audit import Change
from shared.dynamodb.keys import sweep_partition, usage_key, usage_shard_key
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    Accepted,
    Conflicted,
    Get,
    Item,
    Operation,
    Pause,
    Put,
    Transact,
    Update,
    Written,
    send,
)
from shared.overload import KnownFull, Overload
from shared.usage import consumption, corrections
from shared.usage.allocation import (
    RECONCILE_SECONDS,
    archive_logs,
    begin_if_ended,
    begin_period,
    clear_returning,
    counter_update,
    extended,
    lock,
    read_shards,
    rebalance,
    report_usage,
    unlock,
    wait_for_lock,
)
from shared.usage.consumption import Outcome, Sharded
from shared.usage.counter import Consumption, Counter, counter_of
from shared.usage.encoding import decode_entry
from shared.usage.request_log import LOG_SIZE, kept, look, rotate
from shared.usage.shard import (
    AS_SEEN,
    REPORT_MS,
    REPORTERS,
    SHARDS,
    UsageShard,
    new_shard,
    renew_shard,
    shard_of,
    terms_of,
)
from shared.usage.sharded_clock import follow_clock

# Two logs were filled within this time: 320 requests a second, about what a counter takes.
RUSH_MS = 200
# A smaller limit is soon used up, and its shards would have too little.
SHARD_FROM = 100_000
# A counter that was read this long ago is read again.
FRESH_MS = 1_000


class LimitCache:
    """What a process remembers of limits: which are sharded, and their counters.

    It saves round trips. It decides nothing except what an answer says of the whole limit.
    """

    SIZE = 2_000
    OVERLOADS = 256  # of use for a moment only

    def __init__(self) -> None:
        self._seen: LRUCache[tuple[str, str], tuple[Counter, int]] = LRUCache(self.SIZE)
        self._overloads: LRUCache[tuple[str, str], Overload[Counter]] = LRUCache(self.OVERLOADS)

    def overload(self, limit: tuple[str, str]) -> Overload[Counter]:
        """What is known of a limit that may be overloaded; the caller adds to it."""
        known = self._overloads.get(limit)
        if known is None:
            known = self._overloads[limit] = Overload[Counter]()
        return known

    def recall(self, limit: tuple[str, str], now_ms: int) -> Counter | None:
        """The counter of a sharded limit, if it was read recently."""
        seen = self._seen.get(limit)
        return seen[0] if seen and abs(now_ms - seen[1]) < FRESH_MS else None

    def is_sharded(self, limit: tuple[str, str]) -> bool:
        """Whether a limit was sharded when it was last read."""
        return limit in self._seen

    def note(self, limit: tuple[str, str], counter: Counter, now_ms: int) -> None:
        """Remember the counter of a sharded limit that was just read."""
        self._seen[limit] = (counter, now_ms)


# --- Consuming ------------------------------------------------------------------------------------


def consume(
    entitlement_id: str,
    name: str,
    key: str,
    quantity: int,
    change: Change,
    *,
    occurred_ms: int | None = None,
    busy_log: int | None = None,
    cache: LimitCache | None = None,
) -> Operation[Outcome]:
    """Consume `quantity` of a usage limit, sharded or not; see `consumption.consume`.

    `cache` holds what the caller remembers of sharded limits. A limit with a rush of requests
    becomes sharded here.
    """
    cache = cache or LimitCache()
    limit = (entitlement_id, name)
    if not cache.is_sharded(limit):
        try:
            outcome: Outcome = yield from consumption.consume(
                entitlement_id,
                name,
                key,
                quantity,
                change,
                occurred_ms=occurred_ms,
                busy_log=busy_log,
                overload=cache.overload(limit),
            )
        except Sharded:
            pass
        else:
            if outcome.counter and is_rushed(outcome.counter):
                yield from send(start_sharding(limit))
            return outcome
    return (yield from _Request(limit, key, quantity, change, cache).consume())


def _look(
    limit: tuple[str, str], key: str, shard: Counter | None, now_ms: int
) -> Operation[Consumption | None]:
    """What a request has consumed within 24 hours, also before the limit was sharded."""
    if shard is None:
        counter = counter_of((yield from send(Get(usage_key(*limit)))))
        consumed = yield from look(*limit, key, counter, now_ms)
        return consumed or (yield from kept(*limit, key, now_ms))
    return (yield from look(*limit, key, shard, now_ms))


def is_rushed(counter: Counter) -> bool:
    """Whether a counter has just filled its second log in a rush, so that sharding is worth it."""
    cap, earlier = counter.hard_cap, counter.earlier
    if cap is not None and cap < SHARD_FROM:
        return False
    if earlier is None or min(len(counter.log.entries), len(earlier.entries)) < LOG_SIZE:
        return False
    times = [
        decode_entry(entry).at_ms
        for log in (counter.log, earlier)
        for entry in log.entries.values()
    ]
    return max(times) - min(times) < RUSH_MS


def start_sharding(limit: tuple[str, str]) -> Update:
    """Let nothing be consumed on the counter itself; the first allocation does the rest."""
    return Update(
        usage_key(*limit),
        "SET parts = :none, drawn = :none, holds = :none",
        "attribute_not_exists(parts) AND #status = :active",
        {"#status": "status"},
        {":none": 0, ":active": "active"},
    )


class _Request:
    """One request on a sharded limit."""

    def __init__(
        self, limit: tuple[str, str], key: str, quantity: int, change: Change, cache: LimitCache
    ) -> None:
        self.limit, self.key, self.quantity, self.change = limit, key, quantity, change
        self.cache = cache
        self.overload = cache.overload(limit)
        # A time before the limit's counter was read.
        self.seen_ms = change.now_ms
        self.usage_shard_key = usage_shard_key(*limit, shard_of(key))

    def consume(self) -> Operation[Outcome]:
        """Consume on the request's shard.

        Raises:
            What `consumption.consume` raises, except Sharded.
        """
        counter = self.cache.recall(self.limit, self.change.now_ms)
        if counter is None or counter.is_to_follow(self.change.now):
            counter = yield from self._read()
        write = self._write(counter)
        for attempt in range(1, ROUNDS + 1):
            reply = yield from self._send(write, attempt)
            if isinstance(reply, Accepted):
                return (yield from self._done(reply))
            if isinstance(reply, Conflicted):
                yield from send(Pause(attempt))
                continue
            self.change = self.change.at((yield from send(Pause(0))))
            shard = UsageShard.of(reply.item) if reply.item else None
            seen = shard.counter if shard else None
            consumed = yield from _look(self.limit, self.key, seen, self.change.now_ms)
            if consumed:
                return consumption.replay(consumed, self.quantity, None)
            if not self._has_enough(shard, counter):
                counter = yield from self._read_unless_used_up()
            consumption.check_counter_in_force(counter, self.change.now)
            if not self._has_enough(shard, counter):
                # The shard has enough and the current terms then, unless other requests are faster.
                counter = yield from self._draw(shard, counter, attempt)
            elif attempt > 1:
                self.change = self.change.at((yield from send(Pause(attempt - 1))))
            write = self._write(counter, shard)
        raise problems.Contention

    def _send(self, write: Update, attempt: int) -> Operation[Written]:
        """Send a write; if the table does not take the first one, read the shard instead."""
        # A repeated request is found on its shard: so nothing is denied before that is read.
        now_ms = self.change.now_ms
        reply, _ = yield from self.overload.send(write, now_ms, lambda _: False, attempt)
        return reply

    def _is_known_used_up(self, now_ms: int) -> bool:
        """Whether it is known that all shards together do not have enough."""
        seen = self.overload.last_seen(now_ms)
        return (
            seen is not None
            and seen.left + seen.allocated < self.quantity
            and not seen.has_ended(now_ms // 1000)
        )

    def _read_unless_used_up(self) -> Operation[Counter]:
        """Read the limit's counter, as soon as the table takes it.

        Raises:
            HardCapReached, OverdraftPeriodEnded, CustomerCapReached: it does not, and it is known.
        """
        read, now_ms = Get(usage_key(*self.limit)), self.change.now_ms
        try:
            item, now_ms = yield from self.overload.read(read, now_ms, self._is_known_used_up)
        except KnownFull as known:
            counter = self.overload.seen
            assert counter is not None  # that is how it is known
            self.change = self.change.at(known.now_ms)
            consumption.check_counter_in_force(counter, self.change.now)
            yield from self._deny(counter)
        self.change = self.change.at(now_ms)
        return (yield from self._noted(item))

    def _deny(self, counter: Counter) -> Operation[None]:
        yield from consumption.record_denial(
            *self.limit, self.key, self.quantity, counter, self.change
        )
        raise consumption.denied(self.limit[1], self.quantity, counter, self.change.now)

    def _read(self) -> Operation[Counter]:
        """Read the limit's counter, and bring the clock of its overdraft up to date."""
        return (yield from self._noted((yield from send(Get(usage_key(*self.limit))))))

    def _noted(self, item: Item | None) -> Operation[Counter]:
        self.seen_ms = self.change.now_ms
        counter = yield from follow_clock(self.limit, counter_of(item), self.change)
        self.cache.note(self.limit, counter, self.change.now_ms)
        return counter

    def _write(self, counter: Counter, shard: UsageShard | None = None) -> Update:
        """Count down the shard's allocation. The answer shows the whole limit as it was read."""
        cap, log = counter.hard_cap, counter.log
        same = "purchased = :purchased AND "
        same += "attribute_not_exists(hardCap)" if cap is None else "hardCap = :cap"
        values: dict[str, Any] = {":purchased": log.purchased}
        if cap is not None:
            values[":cap"] = cap
        seen = shard.counter if shard else None
        checked = None
        if seen and seen.may_have_dropped(self.key, self.change.now_ms):
            checked = seen.log_number
        return consumption.consumption_update(
            self.usage_shard_key,
            consumption.Entry(self.key, self.quantity),
            self.change,
            consumption.LogSeen(checked, seen.raw(self.key) if seen else (None, None)),
            consumption.Guard(f"{consumption.ENOUGH_LEFT} AND {same}", values),
            left_before=log.base - counter.as_of(self.change.now).used,
        )

    def _has_enough(self, shard: UsageShard | None, counter: Counter) -> bool:
        return (
            shard is not None
            and shard.counter.left >= self.quantity
            and terms_of(shard.counter) == terms_of(counter)
            and not counter.has_ended(self.change.now)
        )

    def _done(self, reply: Accepted) -> Operation[Outcome]:
        """The outcome of a write that succeeded; rotates a full log, and reports usage in time."""
        shard = UsageShard.of(reply.item or {})
        consumed = shard.counter.log.consumption(self.key)
        assert consumed is not None  # it has just been written
        if len(shard.counter.log.entries) % LOG_SIZE == 0:
            yield from rotate(self.usage_shard_key, shard.counter, self.change)
        due_ms = shard.reported_ms + REPORT_MS + REPORT_MS * shard_of(self.key) // SHARDS
        if shard.unreported and self.change.now_ms >= due_ms and random.randrange(REPORTERS) == 0:
            yield from send(report_usage(self.limit, self.usage_shard_key, shard, self.change))
        return Outcome(consumed, None, is_replay=False)

    def _draw(self, shard: UsageShard | None, counter: Counter, attempt: int) -> Operation[Counter]:
        """Bring allocation to the shard, or find that there is not enough. Returns the counter.

        Raises:
            HardCapReached, OverdraftPeriodEnded, CustomerCapReached: no shard has enough, and not
            all of them together.
        """
        if counter.locked_ms:
            yield from wait_for_lock(self.limit, counter, attempt)
        elif not counter.shards:
            yield from archive_logs(self.limit, counter, self.change)
        elif counter.has_ended(self.change.now):
            yield from begin_period(self.limit, self.change)
        elif counter.left + counter.allocated < self.quantity:
            self.overload.note_full(counter, self.seen_ms)
            yield from self._deny(counter)
        elif shard and shard.returning is not None and not counter.allocated:
            yield from send(clear_returning(self.usage_shard_key))
        elif counter.left >= self.quantity and (shard is None or shard.returning is None):
            yield from self._move(shard, counter)
        else:
            wants = (self.usage_shard_key, self.quantity)
            counter = yield from rebalance(self.limit, self.change, tries=1, wants=wants)
            self.cache.note(self.limit, counter, self.change.now_ms)
        return counter

    def _move(self, shard: UsageShard | None, counter: Counter) -> Operation[None]:
        """Move some of what the counter has left to the shard, and report what the shard has used.

        It may be refused because others did the same; the caller looks again.
        """
        share = max(self.quantity, min(counter.left, (counter.left + counter.allocated) // SHARDS))
        used = shard.unreported if shard else 0
        requests = shard.requests if shard else 0
        about = counter_update(
            self.limit, self.change, used, requests, left=-share, allocated=share - used
        )
        # The sweep has to look at it.
        about = extended(
            about,
            "sweepKey = :shard, earliest = if_not_exists(earliest, :due)",
            "",
            {
                ":shard": sweep_partition(self.limit[0]),
                ":due": self.change.now + RECONCILE_SECONDS,
            },
        )
        about = extended(
            about,
            "",
            "#left >= :share AND holds = :holds AND attribute_not_exists(heldAt)"
            " AND #period = :period AND parts = :parts",
            {
                ":share": share,
                ":holds": counter.lock_number,
                ":period": counter.period_number,
                ":parts": counter.shards,
            },
        )
        about = about._replace(names={**about.names, "#period": "period"})
        received: Put | Update
        if shard is None:
            received = new_shard(self.usage_shard_key, counter, share, self.change)
        elif terms_of(shard.counter) == terms_of(counter):
            received = Update(
                self.usage_shard_key,
                "SET #left = #left + :share, drawn = :drawn, toldAt = :now, toldSeq = :seq",
                AS_SEEN,
                {"#left": "left"},
                {
                    ":share": share,
                    ":drawn": shard.allocated + share - used,
                    ":seen": shard.allocated,
                    ":now": self.change.now_ms,
                    ":seq": shard.counter.seq,
                    ":told": shard.reported_seq,
                },
            )
        else:
            received = yield from renew_shard(
                self.usage_shard_key, shard, counter, share, self.change
            )
        yield from send(Transact((about, received)))


# --- Preview and corrections ----------------------------------------------------------------------


def preview(
    entitlement_id: str, name: str, key: str | None, quantity: int, change: Change
) -> Operation[Outcome]:
    """Return what `consume` would return now; see `consumption.preview`."""
    limit = (entitlement_id, name)
    counter = counter_of((yield from send(Get(usage_key(*limit)))))
    if counter.shards is None:
        return (yield from consumption.preview(entitlement_id, name, key, quantity, change))
    if key:
        item = yield from send(Get(usage_shard_key(*limit, shard_of(key))))
        shard = Counter.of(item) if item else None
        consumed = yield from _look(limit, key, shard, change.now_ms)
        if consumed:
            return consumption.replay(consumed, quantity, counter)
    consumption.check_counter_in_force(counter, change.now)
    current = counter.as_of(change.now)
    left = current.left
    clock = current.clock_with(0, change.now)
    if clock and clock.has_ended(change.now):
        left, current = min(left, current.left_purchased), current._replace(clock=clock)
    if left < quantity <= left + current.allocated:
        shards = (yield from read_shards(limit)).values()
        left += sum(shard.counter.left + (shard.returning or 0) for shard in shards)
        current = current._replace(
            left=left, allocated=0
        )  # we have looked: everything that is used is known
    if left < quantity:
        raise consumption.denied(name, quantity, current, change.now)
    return Outcome(current.consuming(quantity, change.now_ms), current, is_replay=False)


def correct(
    entitlement_id: str, name: str, key: str, quantity: int, reason: str, change: Change
) -> Operation[Outcome]:
    """Add a signed quantity to what is used; see `corrections.correct`.

    Corrections are made on the counter. It is locked meanwhile, and everything is taken back first,
    so that the exact usage is known.
    """
    limit = (entitlement_id, name)
    counter = counter_of((yield from send(Get(usage_key(*limit)))))
    if counter.shards is not None:
        counter = yield from lock(limit, change)
        yield from begin_if_ended(limit, counter, change)
    try:
        outcome: Outcome = yield from corrections.correct(
            entitlement_id, name, key, quantity, reason, change
        )
    except problems.Problem:
        yield from unlock(limit, counter)
        raise
    yield from unlock(limit, counter)
    return outcome
