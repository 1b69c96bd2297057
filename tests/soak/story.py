"""A story: what is sold, who does what and when, and how the world is. Plain data, made of a seed."""

import random
from typing import Any, NamedTuple

CLIENTS = 6
PEOPLE = 3  # of each client, for each entitlement
MONTH_END = 2_500_848_000_000  # 2049-04-01T00:00:00Z
VENDORS = 2


class Step(NamedTuple):
    """Something that an actor does, at the earliest at a time (seconds from the beginning).

    An actor does one thing after the other. `seed` decides which faults it meets.
    """

    at: float
    actor: str
    kind: str
    of: int  # the number of the entitlement
    given: dict[str, Any]
    seed: str


class Story(NamedTuple):
    """The terms of the entitlements, the steps, and how often and how much things go wrong.

    `rate` is the share of operations that meet faults; `skew` (seconds) by how much clocks are
    wrong at most, `lag` (seconds) how late indexes show a write at most.
    """

    seed: str
    terms: list[dict[str, Any]]
    steps: list[Step]
    start_ms: int
    rate: float = 0.75
    skew: float = 5.0
    lag: float = 0.5

    def to_json(self) -> dict[str, Any]:
        """As a file keeps it."""
        return {**self._asdict(), "steps": [list(step) for step in self.steps]}

    @classmethod
    def of(cls, data: dict[str, Any]) -> "Story":
        """The story in a file."""
        return cls(**{**data, "steps": [Step(*step) for step in data["steps"]]})


def _absolute(value: int | None) -> dict[str, Any]:
    return {"type": "unlimited"} if value is None else {"type": "absolute", "value": value}


def _terms(chance: random.Random) -> dict[str, Any]:
    """The terms of one entitlement. Shards are small in this world: 8 seats are a pool."""
    is_pool = chance.random() < 0.4
    seats = chance.randint(9, 16) if is_pool else chance.randint(1, 6)
    overdraft = chance.choice((0, 1, 2, 3)) if chance.random() < 0.95 or not is_pool else None
    limits = []
    if chance.random() < 0.7:
        limits.append(
            {
                "key": "exports",
                "limit": chance.randint(3, 25),
                "overdraftLimit": _absolute(chance.choice((0, 2, 5))),
                "resetSchedule": chance.choice(("never", "never", "monthly")),
            }
        )
    if chance.random() < 0.3:
        limits.append(
            {
                "key": "calls",
                "limit": 150_000,
                "overdraftLimit": _absolute(chance.choice((0, 1_000))),
                "resetSchedule": chance.choice(("never", "monthly")),
            }
        )
    terms: dict[str, Any] = {
        "product": "CAD",
        "customer": {"name": "Acme"},
        "seatCount": seats,
        "overdraftSeatLimit": _absolute(overdraft),
        "leasePeriod": chance.choice((None, None, "PT10M", "PT1H")),
        "usageLimits": limits,
        "thresholds": [80, 100],
    }
    if terms["leasePeriod"] and chance.random() < 0.4:
        terms |= {"maxLeasePeriod": "P2D", "maxBorrowedSeats": chance.randint(1, 3)}
    if overdraft and not is_pool and chance.random() < 0.25:
        terms["overdraftSeatLimit"] |= {"period": "PT1H"}
    return terms


def _client_step(chance: random.Random, terms: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    keys = [limit["key"] for limit in terms["usageLimits"]]
    kind = chance.choices(("take", "release", "consume"), (10, 8, 8 if keys else 0))[0]
    if kind == "consume":
        key = chance.choice(keys)
        most = 4 if key == "exports" else 40_000
        by_client = chance.random() < 0.2
        return kind, {"key": key, "quantity": chance.randint(1, most), "byClient": by_client}
    given: dict[str, Any] = {"person": chance.randrange(PEOPLE)}
    if kind == "take":
        given["once"] = chance.random() < 0.3
        given["byClient"] = chance.random() < 0.2
        given["borrows"] = "maxBorrowedSeats" in terms and chance.random() < 0.3
    return kind, given


def _vendor_step(chance: random.Random, terms: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    kind = chance.choices(
        ("seats", "usage", "correct", "suspend", "put", "delete", "erase", "evict"),
        (8, 3, 3, 2, 3, 0.3, 0.5, 2),
    )[0]
    if kind == "seats":
        most = 18 if terms["seatCount"] > 8 else 8
        changes: dict[str, Any] = {"seatCount": chance.randint(1, most)}
        if chance.random() < 0.3:
            changes["overdraftSeatLimit"] = _absolute(chance.choice((0, 1, 3)))
        return kind, changes
    if kind in ("erase", "evict"):
        client = f"client {chance.randrange(CLIENTS)}"
        return kind, {"of": client, "person": chance.randrange(PEOPLE)}
    if kind == "correct":
        return kind, {"quantity": chance.choice((-2, -1, 1))}
    return kind, {"number": chance.randint(1, 30)}


def _weather_step(chance: random.Random) -> tuple[str, dict[str, Any]]:
    kind = chance.choice(("slow", "cut", "jump", "poison", "crash"))
    return kind, {"seconds": chance.choice((1, 5, 20))}


def make(seed: str, length: int = 120) -> Story:
    """The story of a seed, of so many steps."""
    chance = random.Random(f"story {seed}")
    terms = [_terms(chance) for _ in range(chance.randint(1, 3))]
    at = 0.0
    steps = []
    for number in range(length):
        at += chance.choices((0.0, 0.02, 0.5, 20.0, 400.0, 4_000.0), (30, 30, 20, 4, 0.6, 0.3))[0]
        of = chance.randrange(len(terms))
        what = chance.random()
        if what < 0.84:
            actor = f"client {chance.randrange(CLIENTS)}"
            kind, given = _client_step(chance, terms[of])
        elif what < 0.94:
            actor = f"vendor {chance.randrange(VENDORS)}"
            kind, given = _vendor_step(chance, terms[of])
        else:
            actor, (kind, given) = "weather", _weather_step(chance)
        steps.append(Step(round(at, 3), actor, kind, of, given, f"{seed}-{number}"))
    # Some cross the end of a month.
    start = MONTH_END - chance.choice((30, 60, 300, 3_600, 500_000)) * 1000
    return Story(seed, terms, steps, start)
