"""The designs that are compared, as operations that yield the table's requests.

The designs with one shard and with several are the product's own code, unchanged. The textbook
design writes a counter and a seat item in one transaction. It does what the seat core does, and
repeats a call that met a conflict, which the SDK does not.
"""

from abc import ABC, abstractmethod

from benchmarks.new_pool import new_shards
from benchmarks.scale.engine import Engine
from shared import problems
from shared.audit import Change
from shared.dynamodb.keys import Key
from shared.dynamodb.requests import (
    Accepted,
    Cancelled,
    Delete,
    Get,
    Item,
    Operation,
    Pause,
    Put,
    Transact,
    Update,
)
from shared.seats import activation
from shared.seats.cache import CachedPool, PoolCache
from shared.seats.encoding import GrantIds, activation_id
from shared.seats.holder import Holder
from shared.seats.placement import shard_count_for
from shared.seats.release import release_grant
from shared.seats.seat_usage import SeatUsage
from shared.seats.shard import SHARD_SEATS
from shared.seats.terms import SeatTerms, new_shard_put

ROUNDS = 10
OWNER = "ent_scale"
PROCESSES = 400
Outcome = str  # granted, held, denied, released, gave up


class Design(ABC):
    """One design of a pool: its first items, and how seats are taken, released and counted."""

    name: str
    most_seats = 10**9

    def __init__(self, purchased: int, cap: int) -> None:
        self.purchased = purchased
        self.cap = cap

    @abstractmethod
    def items(self) -> list[tuple[Key, Item]]:
        """The empty pool."""

    @abstractmethod
    def take(self, person: int, now_ms: int, /) -> Operation[Outcome]:
        """Somebody asks for a seat."""

    @abstractmethod
    def release(self, person: int, now_ms: int, /) -> Operation[Outcome]:
        """Somebody gives a seat back."""

    @abstractmethod
    def used(self, engine: Engine, /) -> int:
        """How many seats are held at this very moment."""


class Textbook(Design):
    """A counter item and a seat item in one transaction."""

    name = "textbook transaction"
    _counter = Key(f"COUNTER#{OWNER}", "COUNTER")

    def items(self) -> list[tuple[Key, Item]]:
        """The counter, at nothing."""
        return [(self._counter, {"used": 0, "purchased": self.purchased, "cap": self.cap})]

    @staticmethod
    def _seat(person: int) -> Key:
        return Key(f"SEAT#{OWNER}#{person}", "SEAT")

    def _add(self, number: int, condition: str) -> Update:
        values = {":n": number, ":zero": 0} if ":zero" in condition else {":n": number}
        return Update(self._counter, "ADD used :n", condition, {}, values)

    def _insist(self, write: Transact) -> Operation[Accepted | Cancelled | None]:
        for attempt in range(1, ROUNDS + 1):
            reply = yield write
            if isinstance(reply, Accepted | Cancelled):
                return reply
            yield Pause(attempt)
        return None

    def take(self, person: int, now_ms: int) -> Operation[Outcome]:
        """Counter and seat; a read says whether it is overdraft; a denial is on record."""
        seat: Item = {
            "name": "Alice Example",
            "attributes": {"device": "mbp-13"},
            "leaseEnd": now_ms,
        }
        reply = yield from self._insist(
            Transact(
                (
                    self._add(1, "used < cap"),
                    Put(self._seat(person), seat, "attribute_not_exists(pk)"),
                )
            )
        )
        if reply is None:
            return "gave up"
        if isinstance(reply, Cancelled):
            if reply.reasons[1][0]:
                return "held"
            key = Key(f"DENIED#{OWNER}#{person % 16}", f"{person}")
            yield Update(key, "ADD attempts :one", "", {}, {":one": 1})
            return "denied"
        yield Get(self._counter)
        return "granted"

    def release(self, person: int, _: int) -> Operation[Outcome]:
        """Counter and seat, the other way."""
        reply = yield from self._insist(
            Transact(
                (
                    self._add(-1, "used > :zero"),
                    Delete(self._seat(person), "attribute_exists(pk)"),
                )
            )
        )
        return "gave up" if reply is None else "released"

    def used(self, engine: Engine) -> int:
        """What the counter says; a test holds it against the seats."""
        return int((engine.get(self._counter) or {})["used"])


class OneShard(Design):
    """The product's seat shard: the set of holders in one item."""

    name = "one ledger page"
    most_seats = SHARD_SEATS

    def __init__(self, purchased: int, cap: int) -> None:
        super().__init__(purchased, cap)
        self._grant_ids = GrantIds(salt=1)
        self._grants: dict[int, str] = {}
        self._is_at_limit = False
        self._memories = [PoolCache() for _ in range(PROCESSES)]
        self._requests = 0

    def _terms(self) -> SeatTerms:
        return SeatTerms(self.purchased, self.cap, "active", 0, None, 8 * 3600)

    def items(self) -> list[tuple[Key, Item]]:
        """The empty shard."""
        shard = new_shard_put(OWNER, self._terms(), Change("scale", "request", 0))
        return [(shard.key, dict(shard.item))]

    def _cache(self) -> PoolCache:
        """That of the process that has the next request."""
        self._requests += 1
        return self._memories[self._requests % len(self._memories)]

    def take(self, person: int, now_ms: int) -> Operation[Outcome]:
        """As the function `activate` does it, with its hint."""
        holder = Holder(f"user{person}@acme.example", "Alice Example", {"device": "mbp-13"})
        change = Change("key_scale", f"request-{now_ms}", now_ms)
        operation = activation.take(
            OWNER,
            holder,
            change,
            self._grant_ids.next(now_ms),
            cache=self._cache(),
            expect_overdraft=self._is_at_limit,
        )
        try:
            grant = yield from operation
        except problems.HardCapReached:
            return "denied"
        except problems.Contention:
            return "gave up"
        self._is_at_limit = grant.shard.is_only_shard and grant.shard.used >= grant.shard.purchased
        self._grants[person] = activation_id(grant.key, grant.held.grant_id)
        return "granted" if grant.is_new else "held"

    def release(self, person: int, now_ms: int) -> Operation[Outcome]:
        """As the function `release` does it."""
        change = Change("key_scale", f"request-{now_ms}", now_ms)
        try:
            yield from release_grant(OWNER, self._grants[person], change, cache=self._cache())
        except problems.Contention:
            return "gave up"
        return "released"

    def used(self, engine: Engine) -> int:
        """The sizes of the sets."""
        return engine.held


class Shards(OneShard):
    """The product's pool of several shards, in processes that know of it."""

    name = "ledger pages"
    most_seats = 100_000

    def __init__(self, purchased: int, cap: int) -> None:
        super().__init__(purchased, cap)
        self._pages = max(2, shard_count_for(cap))
        for cache in self._memories:
            cached = CachedPool(self._pages, SeatUsage(0, purchased, cap, 0))
            cache.note(OWNER, cached, 0)

    def items(self) -> list[tuple[Key, Item]]:
        """The empty shards, and the totals."""
        return new_shards(OWNER, self._terms(), self._pages, Change("scale", "request", 0))


DESIGNS: tuple[type[Design], ...] = (Textbook, OneShard, Shards)
