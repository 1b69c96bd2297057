"""`make scale`: pools under load on a simulated DynamoDB, the textbook's design and the ledger.

Virtual time: a run is the same on every machine. Prints a table, draws pictures into `docs/images`.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import simpy

from benchmarks.scale import chart
from benchmarks.scale.designs import DESIGNS, Design
from benchmarks.scale.engine import Engine, Process, Throttled
from shared.table import Pause, Put, Steps, backoff_seconds
from tools import ROOT

SEED = 7
SECONDS = 20.0
WARM_UP = 2.0
# An operation that takes longer is no service to anybody who waits for it.
PATIENCE = 1.0
START_MS = 1_800_000_000_000
SEATS = 100
RATES = (10, 20, 40, 60, 80, 120, 160, 200, 250, 300, 400)


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
    failed: float
    most: int


class Load:
    """People who take seats and give them back, at random moments, whatever the answers are."""

    def __init__(self, design: Design, rate: float, seed: int) -> None:
        self.env = simpy.Environment()
        random.seed(seed)  # what the door's own backoff draws from
        self.chance = random.Random(seed)
        self.engine = Engine(self.env, random.Random(seed + 1))
        self.design = design
        self.rate = rate
        self.holding: list[int] = []
        self.waiting: list[int] = []
        self.spent: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self.most = 0
        self.asked = 0
        for key, item in design.items():
            self.engine.write(Put(key, item))

    def now_ms(self) -> int:
        """The clock of every process."""
        return START_MS + round(self.env.now * 1000)

    def fill(self, people: int) -> None:
        """Seat so many before the run begins, in no time."""
        for person in range(people):
            operation = self.design.take(person, START_MS)
            reply: Any = None
            while True:
                try:
                    request = operation.send(reply)
                except StopIteration:
                    break
                reply = START_MS
                if not isinstance(request, Pause):
                    env = simpy.Environment()
                    quiet = Engine(env, random.Random(1))
                    quiet.items = self.engine.items
                    done = env.process(quiet.send(request))
                    reply = env.run(done)
            self.holding.append(person)

    def drive(self, operation: Steps[str]) -> Process:
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
        except Throttled:
            outcome = "gave up"
        self.most = max(self.most, self.design.used(self.engine.get))
        has_seat = outcome in ("granted", "held") or (not takes and outcome == "gave up")
        (self.holding if has_seat else self.waiting).append(person)
        if began >= WARM_UP:
            self.spent.append(self.env.now - began)
            self.outcomes[outcome] += 1

    def arrive(self) -> Process:
        """Calls at random moments: a holder gives a seat back, or somebody else takes one."""
        while self.env.now < SECONDS + WARM_UP:
            yield self.env.timeout(self.chance.expovariate(self.rate))
            self.asked += self.env.now >= WARM_UP
            takes = self.chance.random() < 0.5
            among = self.waiting if takes else self.holding
            if not among:
                takes, among = not takes, self.holding if takes else self.waiting
            if among:
                person = among.pop(self.chance.randrange(len(among)))
                self.env.process(self.one(person, takes=takes))

    def result(self, scenario: str, seats: int) -> Result:
        """What it came to."""
        served = sorted(self.spent)
        quick = sum(spent <= PATIENCE for spent in served) - self.outcomes["gave up"]
        count = max(1, len(served))
        p50, p99 = (served[int((count - 1) * share)] * 1000 for share in (0.5, 0.99))
        return Result(
            self.design.name, scenario, seats, self.rate, max(0, quick) / SECONDS, p50, p99,
            self.engine.conflicts / count, self.engine.throttled / count,
            self.engine.calls / count, self.engine.write_units / count,
            self.outcomes["gave up"] / count, self.most,
        )  # fmt: skip


def steady(kind: type[Design], seats: int, rate: float) -> Result:
    """Coming and going at nine tenths of the cap."""
    load = Load(kind(seats * 5 // 6, seats), rate, SEED)
    load.fill(seats * 9 // 10)
    load.waiting = [*range(seats * 9 // 10, seats * 2)]
    load.env.process(load.arrive())
    load.env.run()
    assert load.most <= seats, f"{load.design.name} exceeded its cap: {load.most} of {seats}"
    return load.result("steady", seats)


def storm(kind: type[Design], seats: int, rate: float) -> Result:
    """Everybody asks, and nothing is free."""
    load = Load(kind(seats * 5 // 6, seats), rate, SEED)
    load.fill(seats)
    load.waiting = [*range(seats, seats * 20)]
    load.holding = []
    load.env.process(load.arrive())
    load.env.run()
    assert load.most <= seats, f"{load.design.name} exceeded its cap: {load.most} of {seats}"
    return load.result("denials", seats)


def results() -> Iterator[Result]:
    """Every run."""
    for kind in DESIGNS:
        for scenario in (steady, storm):
            for rate in RATES:
                yield scenario(kind, SEATS, rate)


def main() -> None:
    """Run, print, draw."""
    told: list[Result] = []
    head = ("design", "load", "asked/s", "done/s", "p50 ms", "p99 ms", "conflicts", "throttled",
            "calls", "units", "gave up", "most")  # fmt: skip
    print(
        f"{SEATS} seats, {SECONDS:.0f} s each; conflicts, throttled calls, calls and units are"
        " those of each request\n"
    )
    print("{:<22}{:<10}{:>8}{:>8}{:>8}{:>8}{:>11}{:>11}{:>7}{:>7}{:>9}{:>6}".format(*head))
    for each in results():
        told.append(each)
        print(
            f"{each.design:<22}{each.scenario:<10}{each.asked:>8.0f}{each.done:>8.0f}{each.p50:>8.1f}"
            f"{each.p99:>8.1f}{each.conflicts:>11.3f}{each.throttled:>11.3f}{each.calls:>7.2f}"
            f"{each.units:>7.2f}{each.failed:>9.3f}{each.most:>6}"
        )
        sys.stdout.flush()
    folder = ROOT / "docs/images"
    folder.mkdir(parents=True, exist_ok=True)
    for scenario in ("steady", "denials"):
        mine = [each for each in told if each.scenario == scenario]
        (folder / f"scale-{scenario}.svg").write_text(chart.picture(mine, scenario))


if __name__ == "__main__":
    main()
