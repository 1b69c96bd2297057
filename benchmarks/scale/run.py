"""`make scale`: pools under load on a simulated DynamoDB, the textbook's design and the seat core.

Virtual time: a run is the same on every machine. Prints a table, draws pictures into `docs/images`.
"""

import copy
import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import simpy

from benchmarks.scale import chart
from benchmarks.scale.designs import DESIGNS, Design, OneShard, Shards, Textbook
from benchmarks.scale.engine import Engine, GaveUp, Process
from shared.dynamodb.client import backoff_seconds
from shared.dynamodb.requests import Operation, Pause, Put
from tools import ROOT

SEED = 7
SECONDS = 20.0
WARM_UP = 2.0
# A client does not wait for an operation that takes longer.
PATIENCE = 1.0
START_MS = 1_800_000_000_000
SEATS = 100
RATES = (10, 20, 40, 60, 80, 120, 160, 200, 250, 300, 400)
# A larger pool: the textbook design is measured up to its limit, shards up to the highest load.
LARGE, LARGEST = 20_000, 100_000
LARGE_RATES: dict[type[Design], tuple[int, ...]] = {
    Textbook: (10, 20, 40, 80, 160),
    Shards: (20, 500, 1_000, 2_000, 5_000, 10_000, 20_000),
}
# A run of many requests a second needs not be as long.
REQUESTS = 30_000
# A storm of denials of one entitlement, for longer than a partition takes more at its beginning.
STORM_RATES = (5_000, 50_000)
STORM_SECONDS = 3.0
MOVES_AT = (50, 90, 95, 99, 100)


class Result(NamedTuple):
    """What a run came to; times in milliseconds, rates a second."""

    design: str
    scenario: str
    seats: int
    asked: float
    done: float
    p50: float
    p99: float
    conflicts: float
    throttled: float
    calls: float
    units: float
    reads: float
    failed: float
    most: int


_FILLED: dict[tuple[str, int, int], "Load"] = {}


def at_once(engine: Engine, operation: Operation[str]) -> str:
    """Drive an operation in no time."""
    reply: Any = None
    while True:
        try:
            request = operation.send(reply)
        except StopIteration as stop:
            return str(stop.value)
        reply = START_MS if isinstance(request, Pause) else engine.at_once(request)


class Load:
    """People who take seats and give them back, at random moments, whatever the answers are."""

    def __init__(self, design: Design, rate: float, seed: int) -> None:
        self.env = simpy.Environment()
        random.seed(seed)  # what the client's own backoff draws from
        self.chance = random.Random(seed)
        self.engine = Engine(self.env, random.Random(seed + 1))
        self.design = design
        self.rate = rate
        self.holding: list[int] = []
        self.waiting: list[int] = []
        self.spent: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self.denied = 0
        self.most = 0
        self.asked = 0
        self.seats = design.cap
        self.seed = seed
        self.seconds = min(SECONDS, REQUESTS / rate)
        self.warm_up = min(WARM_UP, self.seconds / 2)

    def now_ms(self) -> int:
        """The clock of every process."""
        return START_MS + round(self.env.now * 1000)

    def fill(self, people: int) -> None:
        """Seat so many before the run begins, in no time. Rates of one pool begin alike."""
        name = (self.design.name, self.seats, people)
        if name not in _FILLED:
            begun = Load(type(self.design)(self.design.purchased, self.seats), 1, SEED)
            for key, item in begun.design.items():
                begun.engine.write(Put(key, item))
            for person in range(people):
                at_once(begun.engine, begun.design.take(person, START_MS))
            _FILLED.clear()  # one after the other: they are large
            _FILLED[name] = begun
        self.design = copy.deepcopy(_FILLED[name].design)
        self.engine.copy_of(_FILLED[name].engine)
        self.holding = [*range(people)]
        random.seed(self.seed)

    def drive(self, operation: Operation[str]) -> Process:
        """An operation, with the engine's answers and pauses in virtual time."""
        reply: Any = None
        while True:
            try:
                request = operation.send(reply)
            except StopIteration as stop:
                return stop.value
            if isinstance(request, Pause):
                yield self.env.timeout(backoff_seconds(request.attempt))
                reply = self.now_ms()
            else:
                reply = yield from self.engine.send(request)

    def one(self, person: int, *, takes: bool) -> Process:
        """One call of somebody."""
        began = self.env.now
        call = self.design.take if takes else self.design.release
        try:
            outcome = yield from self.drive(call(person, self.now_ms()))
        except GaveUp:
            outcome = "gave up"
        self.most = max(self.most, self.design.used(self.engine), self.engine.most)
        has_seat = outcome in ("granted", "held") or (not takes and outcome == "gave up")
        (self.holding if has_seat else self.waiting).append(person)
        self.denied += outcome == "denied"
        if began >= self.warm_up:
            self.spent.append(self.env.now - began)
            self.outcomes[outcome] += 1

    def arrive(self) -> Process:
        """Calls at random moments: a holder gives a seat back, or somebody else takes one."""
        while self.env.now < self.seconds + self.warm_up:
            yield self.env.timeout(self.chance.expovariate(self.rate))
            self.asked += self.env.now >= self.warm_up
            takes = self.chance.random() < 0.5
            among = self.waiting if takes else self.holding
            if not among:
                takes, among = not takes, self.holding if takes else self.waiting
            if among:
                person = among.pop(self.chance.randrange(len(among)))
                self.env.process(self.one(person, takes=takes))

    def check_evidence(self) -> None:
        """Compare the denials that were answered with those on record."""
        items = self.engine.items.values()
        on_record = sum(item["attempts"] for item in items if "attempts" in item)
        assert on_record == self.denied, f"{self.denied} were denied, {on_record} are on record"

    def result(self, scenario: str, seats: int) -> Result:
        """What it came to."""
        served = sorted(self.spent)
        quick = sum(spent <= PATIENCE for spent in served) - self.outcomes["gave up"]
        count = max(1, len(served))
        p50, p99 = (served[int((count - 1) * share)] * 1000 for share in (0.5, 0.99))
        return Result(
            self.design.name,
            scenario,
            seats,
            self.rate,
            max(0, quick) / self.seconds,
            p50,
            p99,
            self.engine.conflicts / count,
            self.engine.throttled / count,
            self.engine.calls / count,
            self.engine.write_units / count,
            self.engine.read_units / count,
            self.outcomes["gave up"] / count,
            self.most,
        )


def steady(kind: type[Design], seats: int, rate: float) -> Result:
    """Coming and going at nine tenths of the cap."""
    load = Load(kind(seats * 5 // 6, seats), rate, SEED)
    load.fill(seats * 9 // 10)
    load.waiting = [*range(seats * 9 // 10, seats * 2)]
    load.env.process(load.arrive())
    load.env.run()
    assert load.most <= seats, f"{load.design.name} exceeded its cap: {load.most} of {seats}"
    return load.result("steady", seats)


def storm(kind: type[Design], seats: int, rate: float, seconds: float | None = None) -> Result:
    """Everybody asks, and nothing is free."""
    load = Load(kind(seats * 5 // 6, seats), rate, SEED)
    if seconds:
        load.seconds, load.warm_up = seconds, seconds / 2
    load.fill(seats)
    load.waiting = [*range(seats, seats + max(seats * 19, round(rate)))]
    load.holding = []
    load.env.process(load.arrive())
    load.env.run()
    assert load.most <= seats, f"{load.design.name} exceeded its cap: {load.most} of {seats}"
    load.check_evidence()
    return load.result("denials" if seconds is None else "storm", seats)


def results() -> Iterator[Result]:
    """Every run."""
    for kind in DESIGNS[:2]:
        for scenario in (steady, storm):
            for rate in RATES:
                yield scenario(kind, SEATS, rate)
    for large, rates in LARGE_RATES.items():
        for scenario in (steady, storm):
            for rate in rates:
                yield scenario(large, LARGE, rate)
    for rate in (1_000, 20_000):
        yield steady(Shards, LARGEST, rate)
    yield storm(Shards, LARGEST, 1_000)
    for kind, seats in ((OneShard, SEATS), (Shards, LARGE)):
        for rate in STORM_RATES:
            yield storm(kind, seats, rate, STORM_SECONDS)


class Moves(NamedTuple):
    """Transactions of two shards for each 1,000 grants, at a level of use in percent."""

    percent: int
    filling: float
    steady: float


def moves(seats: int) -> Iterator[Moves]:
    """A pool that fills up in the morning; at each level, seats that come and go as often."""
    load = Load(Shards(seats * 5 // 6, seats), 1, SEED)
    engine, chance = load.engine, load.chance
    for key, item in load.design.items():
        engine.write(Put(key, item))
    held: list[int] = []
    people = iter(range(10**9))

    def grant() -> None:
        person = next(people)
        assert at_once(engine, load.design.take(person, START_MS)) == "granted"
        held.append(person)

    before, granted = 0, 0
    for percent in MOVES_AT:
        count = seats * percent // 100 - len(held)
        for _ in range(count):
            grant()
        filled, granted = engine.transactions - before, granted + count
        kept = copy.deepcopy(load.design), dict(engine.items), list(held)
        begun = engine.transactions
        for _ in range(seats // 2):
            at = chance.randrange(len(held))
            held[at], held[-1] = held[-1], held[at]
            at_once(engine, load.design.release(held.pop(), START_MS))
            grant()
        yield Moves(
            percent, 1_000 * filled / granted, 1_000 * (engine.transactions - begun) / (seats // 2)
        )
        # The morning goes on where it was.
        load.design, engine.items, held[:] = kept
        engine.reindex()
        before = engine.transactions - filled


def denial_cost(seats: int) -> dict[str, float]:
    """What one denial takes when all of a pool is held, and everything is quiet."""
    load = Load(Shards(seats * 5 // 6, seats), 1, SEED)
    load.fill(seats)
    at_once(load.engine, load.design.take(seats, START_MS))
    load.env.run(until=1)  # until the indexes show it
    done = load.env.process(load.drive(load.design.take(seats + 1, START_MS)))
    outcome = load.env.run(done)
    engine = load.engine
    assert outcome == "denied", outcome
    return {
        "calls": engine.calls,
        "write units": engine.write_units,
        "read units": engine.read_units,
    }


_FORM = "{:<22}{:<9}{:>7}{:>8}{:>8}{:>8}{:>8}{:>10}{:>10}{:>7}{:>6}{:>6}{:>8}{:>8}"


def table_of(each_of: Iterator[Result]) -> list[Result]:
    """Print results as they come."""
    head = (
        "design",
        "load",
        "seats",
        "asked/s",
        "done/s",
        "p50 ms",
        "p99 ms",
        "conflicts",
        "throttled",
        "calls",
        "WU",
        "RU",
        "gave up",
        "most",
    )
    print(
        "conflicts, throttled calls, calls, write units (WU) and read units (RU) are those of each"
        " request\n"
    )
    print(_FORM.format(*head))
    measured = []
    for each in each_of:
        measured.append(each)
        print(
            f"{each.design:<22}{each.scenario:<9}{each.seats:>7}{each.asked:>8.0f}{each.done:>8.0f}"
            f"{each.p50:>8.1f}{each.p99:>8.1f}{each.conflicts:>10.3f}{each.throttled:>10.3f}"
            f"{each.calls:>7.2f}{each.units:>6.2f}{each.reads:>6.2f}{each.failed:>8.3f}"
            f"{each.most:>8}"
        )
        sys.stdout.flush()
    return measured


def main() -> None:
    """Run, print, draw."""
    measured = table_of(results())
    print(f"\nallowance moved, transactions for each 1,000 grants, {LARGE:,} seats")
    print(f"{'use %':<8}{'since the morning began':>26}{'coming and going':>20}")
    for move in moves(LARGE):
        print(f"{move.percent:<8}{move.filling:>26.1f}{move.steady:>20.1f}")
    for seats in (LARGE, LARGEST):
        cost = ", ".join(f"{value:g} {name}" for name, value in denial_cost(seats).items())
        print(f"a denial at {seats:,} seats: {cost}")
    folder = ROOT / "docs/images"
    folder.mkdir(parents=True, exist_ok=True)
    for scenario in ("steady", "denials"):
        for seats, name in ((SEATS, f"scale-{scenario}"), (LARGE, f"scale-{scenario}-large")):
            mine = [each for each in measured if (each.scenario, each.seats) == (scenario, seats)]
            title = f"{scenario}, {seats:,} seats"
            (folder / f"{name}.svg").write_text(chart.picture(mine, title))


if __name__ == "__main__":
    main()
