"""Usage limits under a rush: a counter spread over parts, each with an allowance of its own.

One counter takes some three hundred requests a second. A limit that has more of them, and is large
enough, is *spread*: its requests go to one of `PARTS` parts, by their own key, so that a retry
comes to the same one. A part counts down what it has drawn from the limit's counter, as that does
by itself (`usage`). The counter knows what is `drawn`, and not yet told to be used. So

    left + drawn + used = hard cap,    and what parts have left is never more than what is drawn.

All of the limit is drawn, by each part its share. A part tells what it has used every few seconds.
Whoever finds too little on its part and on the counter *gathers*: takes back what all parts have,
and deals it anew. Denied is who then finds that less is left and drawn than is asked for.

New terms, and a new period, begin only when nothing is drawn: allowance of a part is under the
current terms, always. Who gathers or changes terms *holds* the counter meanwhile: nothing can be
drawn.
"""

import random
from collections import OrderedDict
from typing import Any

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
)
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
from shared.usage.counter import Consumption, Counter, counter_of, full
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

# Two leaves that were filled within so long: 320 requests a second, about what a counter takes.
RUSH_MS = 200
# A smaller limit is soon at its end, and its parts would have too little.
SHARD_FROM = 100_000
# A process reads a limit's counter again when what it read is so old.
FRESH_MS = 1_000


class LimitCache:
    """What a process remembers of limits: which are spread, and how they stood a moment ago.

    It saves round trips, and decides nothing but what an answer says of the whole limit.
    """

    SIZE = 2_000

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], tuple[Counter, int]] = OrderedDict()

    def recall(self, limit: tuple[str, str], now_ms: int) -> Counter | None:
        """The counter of a spread limit, if it was read not long ago."""
        counter, at = self._seen.get(limit, (None, 0))
        return counter if abs(now_ms - at) < FRESH_MS else None

    def is_spread(self, limit: tuple[str, str]) -> bool:
        """Whether a limit was spread when it was last seen."""
        return limit in self._seen

    def note(self, limit: tuple[str, str], counter: Counter, now_ms: int) -> None:
        """Remember a counter of a spread limit that was read just now."""
        self._seen.pop(limit, None)
        self._seen[limit] = (counter, now_ms)
        if len(self._seen) > self.SIZE:
            self._seen.popitem(last=False)


# --- Consuming ------------------------------------------------------------------------------------


def consume(
    entitlement_id: str,
    name: str,
    key: str,
    quantity: int,
    change: Change,
    *,
    busy_log: int | None = None,
    cache: LimitCache | None = None,
) -> Operation[Outcome]:
    """Consume `quantity` of a usage limit, spread or not; see `usage.consume`.

    `memory` is what the caller remembers of spread limits. A limit with a rush of requests is
    spread here.
    """
    cache = cache or LimitCache()
    limit = (entitlement_id, name)
    if not cache.is_spread(limit):
        try:
            outcome: Outcome = yield from consumption.consume(
                entitlement_id, name, key, quantity, change, busy_log=busy_log
            )
        except Sharded:
            pass
        else:
            if outcome.counter and is_rushed(outcome.counter):
                yield start_sharding(limit)
            return outcome
    return (yield from _Request(limit, key, quantity, change, cache).consume())


def _look(
    limit: tuple[str, str], key: str, shard: Counter | None, now_ms: int
) -> Operation[Consumption | None]:
    """What a request has consumed within 24 hours, also before the limit was spread."""
    if shard is None:
        counter = counter_of((yield Get(usage_key(*limit))))
        told = yield from look(*limit, key, counter, now_ms)
        return told or (yield from kept(*limit, key, now_ms))
    return (yield from look(*limit, key, shard, now_ms))


def is_rushed(counter: Counter) -> bool:
    """Whether a counter has just filled its second leaf in a rush, and is worth spreading."""
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
    """Let nothing be consumed of the counter itself any more; the first to draw does the rest."""
    return Update(
        usage_key(*limit),
        "SET parts = :none, drawn = :none, holds = :none",
        "attribute_not_exists(parts) AND #status = :active",
        {"#status": "status"},
        {":none": 0, ":active": "active"},
    )


class _Request:
    """One request for some of a spread limit."""

    def __init__(
        self, limit: tuple[str, str], key: str, quantity: int, change: Change, cache: LimitCache
    ) -> None:
        self.limit, self.key, self.quantity, self.change = limit, key, quantity, change
        self.cache = cache
        self.usage_shard_key = usage_shard_key(*limit, shard_of(key))

    def consume(self) -> Operation[Outcome]:
        """Consume of the part that is this request's.

        Raises:
            What `usage.consume` raises, but for Spread.
        """
        recalled = self.cache.recall(self.limit, self.change.now_ms)
        counter = recalled or (yield from self._read())
        write = self._write(counter)
        for attempt in range(1, ROUNDS + 1):
            reply = yield write
            if isinstance(reply, Accepted):
                return (yield from self._done(reply))
            if isinstance(reply, Conflicted):
                yield Pause(attempt)
                continue
            self.change = self.change.at((yield Pause(0)))
            shard = UsageShard.of(reply.item) if reply.item else None
            seen = shard.counter if shard else None
            told = yield from _look(self.limit, self.key, seen, self.change.now_ms)
            if told:
                return consumption.replay(told, self.quantity, None)
            if not self._has_enough(shard, counter):
                counter = yield from self._read()
            consumption.check_counter_in_force(counter, self.change.now)
            if not self._has_enough(shard, counter):
                # What it has then is as this wants it, unless others are faster.
                counter = yield from self._draw(shard, counter, attempt)
            elif attempt > 1:
                self.change = self.change.at((yield Pause(attempt - 1)))
            write = self._write(counter, shard)
        raise problems.Contention

    def _deny(self, counter: Counter) -> Operation[None]:
        yield from consumption.record_denial(
            *self.limit, self.key, self.quantity, counter, self.change
        )
        raise consumption.denied(self.limit[1], self.quantity, counter)

    def _read(self) -> Operation[Counter]:
        """The limit's counter as it is now."""
        item: Item | None = yield Get(usage_key(*self.limit))
        counter = counter_of(item)
        self.cache.note(self.limit, counter, self.change.now_ms)
        return counter

    def _write(self, counter: Counter, shard: UsageShard | None = None) -> Update:
        """Count down the part's allowance. What the answer says of the limit is as it was read."""
        cap, log = counter.hard_cap, counter.log
        same, values = "purchased = :purchased", dict[str, Any]({":purchased": log.purchased})
        same += " AND attribute_not_exists(hardCap)" if cap is None else " AND hardCap = :cap"
        if cap is not None:
            values[":cap"] = cap
        seen = shard.counter if shard else None
        checked = None
        if seen and seen.may_have_dropped(self.key, self.change.now_ms):
            checked = seen.log_number
        return consumption.consuming(
            self.usage_shard_key,
            self.key,
            self.quantity,
            self.change,
            checked=checked,
            stale=seen.raw(self.key) if seen else (None, None),
            left_before=full(cap) - counter.as_of(self.change.now).used,
            where=same,
            more=values,
        )

    def _has_enough(self, shard: UsageShard | None, counter: Counter) -> bool:
        return (
            shard is not None
            and shard.counter.left >= self.quantity
            and terms_of(shard.counter) == terms_of(counter)
            and not counter.has_ended(self.change.now)
        )

    def _done(self, reply: Accepted) -> Operation[Outcome]:
        """What was consumed just now; a full leaf is turned, what was used is told in time."""
        shard = UsageShard.of(reply.item or {})
        told = shard.counter.log.consumption(self.key)
        assert told is not None  # it has just been written
        if len(shard.counter.log.entries) % LOG_SIZE == 0:
            yield from rotate(self.usage_shard_key, shard.counter, self.change)
        due_ms = shard.reported_ms + REPORT_MS + REPORT_MS * shard_of(self.key) // SHARDS
        if shard.unreported and self.change.now_ms >= due_ms and random.randrange(REPORTERS) == 0:
            yield report_usage(self.limit, self.usage_shard_key, shard, self.change)
        return Outcome(told, None, is_replay=False)

    def _draw(self, shard: UsageShard | None, counter: Counter, attempt: int) -> Operation[Counter]:
        """Bring allowance to the part, or find out that there is not enough; the limit's counter.

        Raises:
            HardCapReached: no part has enough, and not all of them together.
        """
        if counter.locked_ms:
            yield from wait_for_lock(self.limit, counter, attempt)
        elif not counter.shards:
            yield from archive_logs(self.limit, counter, self.change)
        elif counter.has_ended(self.change.now):
            yield from begin_period(self.limit, self.change)
        elif counter.left + counter.drawn < self.quantity:
            yield from self._deny(counter)
        elif shard and shard.returning is not None and not counter.drawn:
            yield clear_returning(self.usage_shard_key)
        elif counter.left >= self.quantity and (shard is None or shard.returning is None):
            yield from self._move(shard, counter)
        else:
            wants = (self.usage_shard_key, self.quantity)
            counter = yield from rebalance(self.limit, self.change, tries=1, wants=wants)
            self.cache.note(self.limit, counter, self.change.now_ms)
        return counter

    def _move(self, shard: UsageShard | None, counter: Counter) -> Operation[None]:
        """Some of what the counter has left to the part; what the part has used is told with it.

        It may be refused, since others did the same: look again.
        """
        share = max(self.quantity, min(counter.left, (counter.left + counter.drawn) // SHARDS))
        used = shard.unreported if shard else 0
        requests = shard.requests if shard else 0
        about = counter_update(
            self.limit, self.change, used, requests, left=-share, drawn=share - used
        )
        # The sweep is to look at it.
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
                    ":drawn": shard.drawn + share - used,
                    ":seen": shard.drawn,
                    ":now": self.change.now_ms,
                    ":seq": shard.counter.seq,
                    ":told": shard.reported_seq,
                },
            )
        else:
            received = yield from renew_shard(
                self.usage_shard_key, shard, counter, share, self.change
            )
        yield Transact((about, received))


# --- Looking, correcting --------------------------------------------------------------------------


def preview(
    entitlement_id: str, name: str, key: str | None, quantity: int, change: Change
) -> Operation[Consumption]:
    """What `consume` would answer at this moment; see `usage.preview`."""
    limit = (entitlement_id, name)
    counter = counter_of((yield Get(usage_key(*limit))))
    if counter.shards is None:
        return (yield from consumption.preview(entitlement_id, name, key, quantity, change))
    if key:
        item: Item | None = yield Get(usage_shard_key(*limit, shard_of(key)))
        shard = Counter.of(item) if item else None
        told = yield from _look(limit, key, shard, change.now_ms)
        if told:
            return consumption.replay(told, quantity, counter).told
    consumption.check_counter_in_force(counter, change.now)
    current = counter.as_of(change.now)
    left = current.left
    if left < quantity <= left + current.drawn:
        shards = (yield from read_shards(limit)).values()
        left += sum(shard.counter.left + (shard.returning or 0) for shard in shards)
        current = current._replace(left=left, drawn=0)  # what is used is known, now that we looked
    if left < quantity:
        raise consumption.denied(name, quantity, current)
    return Consumption(
        change.now_ms, quantity, current.used, current.purchased, current.hard_cap, current.period
    )


def correct(
    entitlement_id: str, name: str, key: str, quantity: int, reason: str, change: Change
) -> Operation[Outcome]:
    """Add a signed quantity to what is used; see `usage.correct`. Corrections stand on the counter.

    It is held meanwhile, with everything taken back: so it knows how much can be taken or added.
    """
    limit = (entitlement_id, name)
    counter = counter_of((yield Get(usage_key(*limit))))
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
