"""`make scale`: usage limits in a rush, on the simulated DynamoDB, by three designs."""

import base64
import random
from collections import Counter as Tally
from collections.abc import Iterator

from benchmarks.scale import chart
from benchmarks.scale.designs import OWNER, PROCESSES, Design, Outcome, Textbook
from benchmarks.scale.engine import Engine, Process
from benchmarks.scale.run import (
    SECONDS,
    SEED,
    START_MS,
    STORM_RATES,
    STORM_SECONDS,
    Load,
    Result,
    at_once,
    table_of,
)
from shared import problems
from shared.audit import Change
from shared.dynamodb.keys import Key, usage_key, usage_shard_key
from shared.dynamodb.requests import Accepted, Cancelled, Item, Operation, Put, Transact
from shared.usage import consumption, sharded
from shared.usage.counter import Counter, UsageTerms
from shared.usage.shard import SHARDS, UsageShard
from shared.usage.terms import new_counter
from tools import ROOT

LIMIT = (OWNER, "calls")
# More than any run consumes; the end of a limit is a run of its own.
CAP = 10**9
RATES: dict[str, tuple[int, ...]] = {
    "textbook transaction": (10, 20, 40, 80),
    "one counter": (100, 200, 300, 400, 600),
    "parts": (100, 1_000, 5_000, 10_000, 15_000),
}
# Long enough for shards to report what they have used.
RUSH_SECONDS = 8.0
ENDS = (200, 1_000, 2_000, 5_000)


class TextbookCounter(Textbook):
    """A counter, and an item for each request, so that it is counted once, in one transaction."""

    def take(self, person: int, now_ms: int) -> Operation[Outcome]:
        """Consume one."""
        request = Key(f"REQUEST#{OWNER}#{person}", "REQUEST")
        reply: Accepted | Cancelled | None = yield from self._insist(
            Transact(
                (
                    self._add(1, "used < cap"),
                    Put(request, {"at": now_ms, "ttl": now_ms // 1000}, "attribute_not_exists(pk)"),
                )
            )
        )
        if reply is None:
            return "gave up"
        return "granted" if isinstance(reply, Accepted) else "denied"


class OneCounter(Design):
    """The product's counter."""

    name = "one counter"

    def __init__(self, purchased: int, cap: int) -> None:
        super().__init__(purchased, cap)
        self._memories = [sharded.LimitCache() for _ in range(PROCESSES)]
        self._requests = 0

    def _terms(self) -> UsageTerms:
        return UsageTerms(self.purchased, self.cap, "monthly", "UTC", "active", 0, None)

    def items(self) -> list[tuple[Key, Item]]:
        """The counter, of which nothing is used."""
        change = Change("scale", "request", START_MS)
        counter = new_counter(*LIMIT, self._terms(), change)
        return [(counter.key, dict(counter.item))]

    @staticmethod
    def _key(person: int, now_ms: int) -> str:
        """As of a UUIDv7: a time, and what differs."""
        rest = random.Random(person).randbytes(6)
        return base64.urlsafe_b64encode(now_ms.to_bytes(6) + rest).decode()

    def _cache(self) -> sharded.LimitCache:
        """That of the process that has the next request."""
        self._requests += 1
        return self._memories[self._requests % len(self._memories)]

    def _consume(self, key: str, change: Change) -> Operation[consumption.Outcome]:
        overload = self._cache().overload(LIMIT)
        return (yield from consumption.consume(*LIMIT, key, 1, change, overload=overload))

    def take(self, person: int, now_ms: int) -> Operation[Outcome]:
        """As the function `consume` does it."""
        change = Change("key_scale", f"request-{now_ms}", now_ms)
        try:
            yield from self._consume(self._key(person, now_ms), change)
        except problems.HardCapReached:
            return "denied"
        except problems.Contention:
            return "gave up"
        return "granted"

    def release(self, *_: int) -> Operation[Outcome]:
        """What is consumed is not released."""
        raise AssertionError("nobody asks for it")

    def used(self, _: Engine) -> int:
        """Looked at when a run is over: see `consumed`."""
        return 0

    @staticmethod
    def consumed(engine: Engine) -> int:
        """What the counter says, and what its shards have not reported yet."""
        counter = Counter.of(engine.get(usage_key(*LIMIT)) or {})
        keys = [usage_shard_key(*LIMIT, number) for number in range(SHARDS)]
        parts = [UsageShard.of(item) for key in keys if (item := engine.get(key))]
        return counter.used + sum(part.unreported for part in parts)


class Parts(OneCounter):
    """The same limit, sharded, in processes that know of it."""

    name = "parts"

    def items(self) -> list[tuple[Key, Item]]:
        """The counter, as it is when a rush has been noticed."""
        [(key, item)] = super().items()
        return [(key, {**item, "parts": SHARDS, "drawn": 0, "holds": 0})]

    def _consume(self, key: str, change: Change) -> Operation[consumption.Outcome]:
        return (yield from sharded.consume(*LIMIT, key, 1, change, cache=self._cache()))


DESIGNS: tuple[type[Design], ...] = (TextbookCounter, OneCounter, Parts)


class Requests(Load):
    """Requests at random moments, each for one; all of them are new."""

    def __init__(self, design: Design, rate: float, *, seconds: float | None = None) -> None:
        super().__init__(design, rate, SEED)
        self.seconds = seconds or self.seconds
        for key, item in design.items():
            self.engine.write(Put(key, item))
        if isinstance(design, Parts):
            # Every shard has been asked before, and every process knows the limit is sharded.
            for person in range(-4_000, 0):
                at_once(self.engine, design.take(person, START_MS - 1))

    def arrive(self) -> Process:
        """The next one, and the next."""
        number = 0
        while self.env.now < self.seconds + self.warm_up:
            yield self.env.timeout(self.chance.expovariate(self.rate))
            self.asked += self.env.now >= self.warm_up
            self.env.process(self.one(number, takes=True))
            number += 1


def rush(kind: type[Design], rate: float) -> Result:
    """Requests for a limit of which there is always enough."""
    load = Requests(kind(CAP // 2, CAP), rate, seconds=RUSH_SECONDS)
    load.env.process(load.arrive())
    load.env.run()
    return load.result("rush", 0)


def end(rate: float) -> Tally[str]:
    """A limit that comes to its end in the midst of a rush: what was answered."""
    cap = 4_000 + round(rate * SECONDS / 4)
    load = Requests(Parts(cap // 2, cap), rate, seconds=SECONDS / 2)
    load.warm_up = 0.0
    load.env.process(load.arrive())
    load.env.run()
    used = OneCounter.consumed(load.engine)
    # A request that gave up may have consumed all the same; repeating it shows that.
    assert 4_000 + load.outcomes["granted"] <= used <= cap, f"{used} of {cap} were consumed"
    return load.outcomes


def storm(kind: type[OneCounter], rate: float) -> Result:
    """Requests for a limit that is used up."""
    load = Requests(kind(2_000, 4_000), rate, seconds=STORM_SECONDS)
    load.warm_up = STORM_SECONDS / 2
    if not isinstance(load.design, Parts):
        for person in range(-4_000, 0):
            at_once(load.engine, load.design.take(person, START_MS - 1))
    load.env.process(load.arrive())
    load.env.run()
    load.check_evidence()
    assert OneCounter.consumed(load.engine) == 4_000
    return load.result("storm", 0)


def results() -> Iterator[Result]:
    """Every run."""
    for kind in DESIGNS:
        for rate in RATES[kind.name]:
            yield rush(kind, rate)
    for counted in (OneCounter, Parts):
        for rate in STORM_RATES:
            yield storm(counted, rate)


def main() -> None:
    """Run, print, draw."""
    measured = table_of(results())
    for rate in ENDS:
        answers = ", ".join(f"{count} {name}" for name, count in sorted(end(rate).items()))
        print(f"a limit that ends in a rush of {rate:,} a second: {answers}")
    large = [each for each in measured if each.design != "textbook transaction"]
    path = ROOT / "docs/images/scale-usage.svg"
    path.write_text(chart.picture(large, "one usage limit"))


if __name__ == "__main__":
    main()
