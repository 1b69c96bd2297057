"""A simulated DynamoDB: the semantics of one, with published limits and latencies in virtual time.

What is simulated, and from where the figures are (US East; `docs/scale.md` repeats them):

- a partition key takes 1,000 write units and 3,000 read units a second; what is more is throttled,
  and the SDK tries again with backoff. No burst, no splitting for heat: the lower bound
- latencies are log-normal through the published p50 and p99: a put 7.6 and 16 ms, a transactional
  write 25 and 92 ms, a strongly consistent read 4 and 10 ms (assumed: not published there)
- writes of one item are one after the other, each holding it for as long as its replication takes
  (assumed: a fifth of its latency); they do not conflict, they wait
- a transaction holds its items from prepare to commit (assumed: half of its latency); whoever meets
  it, another transaction or a plain write, gets TransactionConflict, which the SDK does not retry
- an index lags behind its table by 10 to 100 ms (assumed), and a write that changes an item's place
  in one is charged there as well; an index partition that takes no more throttles the write
"""

import heapq
import math
import random
from bisect import bisect_right, insort
from collections.abc import Generator
from typing import Any, NamedTuple

import simpy

from benchmarks.scale.expressions import Item, holds, updated
from shared.dynamodb.keys import CAPACITY_INDEX, SWEEP_INDEX, Key
from shared.dynamodb.requests import (
    Accepted,
    BatchGet,
    BatchPut,
    Cancelled,
    Conflicted,
    Delete,
    Found,
    Get,
    Once,
    Put,
    Query,
    Refused,
    Throttled,
    Transact,
    Update,
)

WRITE_UNITS, READ_UNITS = 1_000.0, 3_000.0
# The normal quantile of 0.99.
_Z99 = 2.326
HOLDS_PLAIN, HOLDS_TRANSACTION = 0.2, 0.5
LAG = (0.010, 0.100)
# The indexes: their partition key and their sort key.
INDEXES = {CAPACITY_INDEX: ("roomKey", "page"), SWEEP_INDEX: ("sweepKey", "earliest")}
BATCH = 25  # items of one BatchWriteItem
ATTEMPTS = 6
Process = Generator[simpy.Event, Any, Any]


class Latency(NamedTuple):
    """A log-normal time in seconds, by its median and its 99th percentile."""

    p50: float
    p99: float

    def draw(self, chance: random.Random) -> float:
        """One of them."""
        sigma = math.log(self.p99 / self.p50) / _Z99
        return self.p50 * math.exp(chance.gauss(0, sigma))


PLAIN = Latency(0.0076, 0.016)
TRANSACTION = Latency(0.025, 0.092)
READ = Latency(0.004, 0.010)


def size_of(value: Any) -> int:
    """Bytes of a value, as DynamoDB counts them."""
    if isinstance(value, bool) or value is None:
        return 1
    if isinstance(value, int):  # two digits a byte, without zeros at the end
        return (len(str(abs(value)).rstrip("0")) + 1) // 2 + 1
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, dict):
        return 3 + sum(len(name.encode()) + 1 + size_of(inner) for name, inner in value.items())
    return 3 + sum(1 + size_of(inner) for inner in value)


def units(item: Item | None) -> int:
    """Write units of an item: kilobytes begun, one at the least."""
    if item is None:
        return 1
    size = sum(len(name.encode()) + size_of(value) for name, value in item.items())
    return max(1, -(-size // 1024))


class Bucket:
    """What a partition takes in a second, filled evenly."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = rate
        self._at = 0.0

    def admit(self, now: float, wanted: float) -> bool:
        """Take so many units if they are available; whether they were."""
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < wanted:
            return False
        self._left -= wanted
        return True


class Index:
    """A sparse index, which shows a change of its table some time later."""

    def __init__(self, name: str) -> None:
        self._names = INDEXES[name]
        self._places: dict[Key, tuple[str, int]] = {}
        self._shown: dict[str, list[tuple[int, Key]]] = {}
        self._coming: list[tuple[float, int, Key, tuple[str, int] | None]] = []
        self._due: dict[Key, float] = {}
        self._count = 0

    def place_of(self, item: Item | None) -> tuple[str, int] | None:
        """Where an item stands in it."""
        partition, sort = self._names
        if item is None or partition not in item or sort not in item:
            return None
        return item[partition], item[sort]

    def note(self, key: Key, item: Item | None, visible_at: float) -> None:
        """An item was written."""
        place = self.place_of(item)
        self._due[key] = max(visible_at, self._due.get(key, 0.0))
        self._count += 1
        heapq.heappush(self._coming, (self._due[key], self._count, key, place))

    def query(self, request: Query, now: float) -> Found:
        """What it shows by now, in the order of its sort key."""
        while self._coming and self._coming[0][0] <= now:
            _, _, key, place = heapq.heappop(self._coming)
            if key in self._places:
                shard, at = self._places.pop(key)
                self._shown[shard].remove((at, key))
            if place:
                self._places[key] = place
                insort(self._shown.setdefault(place[0], []), (place[1], key))
        partition, sort = self._names
        among = self._shown.get(str(next(iter(request.values.values()))), [])
        first = 0
        if request.start:
            last = Key(str(request.start["pk"]), str(request.start["sk"]))
            first = bisect_right(among, (request.start[sort], last))
        shown: list[Item] = []
        for at, key in among[first:]:
            row = {"pk": key.pk, "sk": key.sk, partition: self._places[key][0], sort: at}
            if not holds(request.condition, row, {}, request.values):
                continue
            if len(shown) == request.limit:
                return Found(shown, shown[-1])
            shown.append(row)
        return Found(shown, None)


class GaveUp(Exception):
    """The SDK has given up."""


class Engine:
    """Tables and their time. Counts calls, units, conflicts and throttled calls."""

    def __init__(self, env: simpy.Environment, chance: random.Random) -> None:
        self.env = env
        self.items: dict[Key, Item] = {}
        self._chance = chance
        self._writes: dict[str, Bucket] = {}
        self._reads: dict[str, Bucket] = {}
        self._free_at: dict[Key, float] = {}
        self._locked: dict[Key, float] = {}
        self._indexes = {name: Index(name) for name in INDEXES}
        self.held = 0
        self.most = 0
        self.calls = 0
        self.transactions = 0
        self.write_units = 0
        self.read_units = 0.0
        self.conflicts = 0
        self.throttled = 0

    # --- What happens at once: the semantics ------------------------------------------------------

    def write(self, request: Update | Put | Delete) -> Accepted | Refused:
        """Do one write if its condition holds."""
        before = self.items.get(request.key)
        if not holds(request.condition, before, request.names, request.values):
            return Refused(before)
        after = self._after(request, before)
        self._keep(request.key, before, after)
        return Accepted(after if isinstance(request, Update) else None)

    def _keep(self, key: Key, before: Item | None, after: Item | None) -> None:
        if after is None:
            self.items.pop(key, None)
        else:
            self.items[key] = after
        for index in self._indexes.values():
            if index.place_of(before) != index.place_of(after):
                index.note(key, after, self.env.now + self._chance.uniform(*LAG))
        self.held += len((after or {}).get("seats", ())) - len((before or {}).get("seats", ()))
        self.most = max(self.most, self.held)

    def at_once(self, request: Any) -> Any:
        """A request's reply, in no time; an index shows everything."""
        if isinstance(request, Once):
            request = request.request
        if isinstance(request, Get):
            return self.get(request.key)
        if isinstance(request, BatchGet):
            return {key: self.items[key] for key in request.keys if key in self.items}
        if isinstance(request, Query):
            return self._indexes[request.index_name].query(request, math.inf)
        if isinstance(request, Transact):
            self.transactions += 1
            return self.transact(request)
        if isinstance(request, BatchPut):
            for key, item in request.items:
                self.write(Put(key, item))
            return Accepted()
        return self.write(request)

    def copy_of(self, other: "Engine") -> None:
        """Begin with what another engine has."""
        self.items = dict(other.items)
        self.held = self.most = other.held
        self.reindex()

    def reindex(self) -> None:
        """Let the indexes show the items as they are."""
        self._indexes = {name: Index(name) for name in INDEXES}
        for index in self._indexes.values():
            for key, item in self.items.items():
                if index.place_of(item):
                    index.note(key, item, 0.0)

    def transact(self, request: Transact) -> Accepted | Cancelled:
        """All of it, or nothing."""
        refused = []
        for action in request.actions:
            before = self.items.get(action.key)
            is_refused = not holds(action.condition, before, action.names, action.values)
            refused.append((is_refused, before if is_refused else None))
        if any(is_refused for is_refused, _ in refused):
            return Cancelled(tuple(refused))
        for action in request.actions:
            self.write(action._replace(condition=""))
        return Accepted()

    @staticmethod
    def _after(request: Update | Put | Delete, before: Item | None) -> Item | None:
        key = {"pk": request.key.pk, "sk": request.key.sk}
        if isinstance(request, Delete):
            return None
        if isinstance(request, Put):
            return {**{n: v for n, v in request.item.items() if v is not None}, **key}
        return updated(request.expression, before or key, request.names, request.values)

    def get(self, key: Key) -> Item | None:
        """What is there now."""
        return self.items.get(key)

    # --- What takes time --------------------------------------------------------------------------

    def send(self, request: Any) -> Process:
        """A request as the client sends it: throttled calls are repeated, conflicts are not."""
        if isinstance(request, Once):
            reply = yield from self._once(request.request)
            self.throttled += reply is None
            return Throttled() if reply is None else reply[0]
        for attempt in range(ATTEMPTS):
            reply = yield from self._once(request)
            if reply is not None:
                return reply[0]
            self.throttled += 1
            yield self.env.timeout(self._chance.uniform(0, min(1.0, 0.05 * 2**attempt)))
        raise GaveUp

    def _once(self, request: Any) -> Process:
        """One call; None when it was throttled, else its reply in a tuple."""
        self.calls += 1
        if isinstance(request, Get | BatchGet):
            return (yield from self._read(request))
        if isinstance(request, Query):
            return (yield from self._query(request))
        if isinstance(request, BatchPut):
            # Those of one call are written at the same time.
            self.calls -= len(request.items) - -(-len(request.items) // BATCH) + 1
            puts = [self.env.process(self.send(Put(key, item))) for key, item in request.items]
            yield self.env.all_of(puts)
            return (Accepted(),)
        if isinstance(request, Transact):
            return (yield from self._transaction(request))
        return (yield from self._plain(request))

    def _read(self, request: Get | BatchGet) -> Process:
        keys = (request.key,) if isinstance(request, Get) else request.keys
        for key in keys:
            wanted = -(-units(self.items.get(key)) // 4)
            if not self._admit(self._reads, READ_UNITS, key.pk, wanted):
                yield self.env.timeout(READ.draw(self._chance))
                return None
            self.read_units += wanted
        yield self.env.timeout(READ.draw(self._chance))
        found = {key: self.items[key] for key in keys if key in self.items}
        return (found.get(request.key) if isinstance(request, Get) else found,)

    def _query(self, request: Query) -> Process:
        """Of an index: it reads half a unit for 4 KB, and is never consistent."""
        found = self._indexes[request.index_name].query(request, self.env.now)
        wanted = 0.5 * max(1, -(-sum(size_of(item) for item in found.items) // 4096))
        partition = str(next(iter(request.values.values())))
        yield self.env.timeout(READ.draw(self._chance))
        if not self._admit(self._reads, READ_UNITS, partition, wanted):
            return None
        self.read_units += wanted
        return (found,)

    def _admit_index(self, request: Update | Put | Delete) -> bool:
        """Whether the indexes take a write as well, which are charged where a place changes."""
        before = self.items.get(request.key)
        if not holds(request.condition, before, request.names, request.values):
            return True
        after = self._after(request, before)
        for index in self._indexes.values():
            places = (index.place_of(before), index.place_of(after))
            for place in set(places) - {None} if places[0] != places[1] else ():
                assert place is not None
                if not self._admit(self._writes, WRITE_UNITS, place[0], 1):
                    return False
                self.write_units += 1
        return True

    def _admit(self, buckets: dict[str, Bucket], rate: float, pk: str, wanted: float) -> bool:
        return buckets.setdefault(pk, Bucket(rate)).admit(self.env.now, wanted)

    def _cost(self, request: Update | Put | Delete, factor: int = 1) -> int:
        """Charged for the larger of before and after; a refused condition like a write."""
        before = self.items.get(request.key)
        after = before
        if holds(request.condition, before, request.names, request.values):
            after = self._after(request, before)
        return factor * max(units(before), units(after))

    def _plain(self, request: Update | Put | Delete) -> Process:
        cost = self._cost(request)
        spent = PLAIN.draw(self._chance)
        if not self._admit(self._writes, WRITE_UNITS, request.key.pk, cost) or (
            not self._admit_index(request)
        ):
            yield self.env.timeout(spent)
            return None
        self.write_units += cost
        # Its turn at the item, after those that came before.
        turn = max(self.env.now, self._free_at.get(request.key, 0.0))
        self._free_at[request.key] = turn + spent * HOLDS_PLAIN
        yield self.env.timeout(turn - self.env.now + spent / 2)
        if self._locked.get(request.key, 0.0) > self.env.now:
            self.conflicts += 1
            yield self.env.timeout(spent / 2)
            return (Conflicted(),)
        reply = self.write(request)
        yield self.env.timeout(spent / 2)
        return (reply,)

    def _transaction(self, request: Transact) -> Process:
        spent = TRANSACTION.draw(self._chance)
        self.transactions += 1
        for action in request.actions:
            cost = self._cost(action, 2)
            if not self._admit(self._writes, WRITE_UNITS, action.key.pk, cost) or (
                not self._admit_index(action)
            ):
                yield self.env.timeout(spent)
                return None
            self.write_units += cost
        quiet = spent * (1 - HOLDS_TRANSACTION) / 2
        yield self.env.timeout(quiet)
        if any(self._locked.get(action.key, 0.0) > self.env.now for action in request.actions):
            self.conflicts += 1
            yield self.env.timeout(quiet)
            return (Conflicted(),)
        until = self.env.now + spent * HOLDS_TRANSACTION
        for action in request.actions:
            self._locked[action.key] = until
        yield self.env.timeout(spent * HOLDS_TRANSACTION)
        reply = self.transact(request)
        yield self.env.timeout(quiet)
        return (reply,)
