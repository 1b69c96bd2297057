"""The same storm against each: 160 people at once, 100 seats purchased, at most 120.

Everything runs on this machine: DynamoDB Local is an emulator in Java, Redis and PostgreSQL are the
real thing. So rates of different stores say little about each other in production, and much about
designs on one store. Exactness, and what remains after a crash, hold anywhere.
"""

import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import boto3
from botocore.config import Config
from rich.console import Console
from rich.table import Table

from benchmarks.peers.candidates import (
    TABLE,
    Candidate,
    ConditionalUpdate,
    ForUpdate,
    Lua,
    Optimistic,
    SeatCore,
    SteppedClient,
    Textbook,
    nothing,
)
from benchmarks.peers.servers import Postgres, Redis, Server
from local.dynamodb import DynamoDBLocal, table_properties
from shared.aws_json import Credentials
from tools import ROOT

RESULTS = ROOT / ".local/peers.json"
PEOPLE, PURCHASED, CAP, THREADS = 160, 100, 120, 16
ROUNDS = 7
Result = dict[str, Any]


class Crash(BaseException):
    """The process is gone."""


def storm(candidate: Candidate, entitlement_id: str) -> Result:
    """Everybody at once; how fast, how late, how exact."""
    candidate.sell(entitlement_id, PURCHASED, CAP)
    spent: list[float] = []

    def take(number: int) -> bool:
        began = time.perf_counter()
        granted = candidate.take(entitlement_id, f"user{number}@example.com")
        spent.append(time.perf_counter() - began)
        return granted

    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        granted = sum(pool.map(take, range(PEOPLE)))
    seconds = time.perf_counter() - began
    kept = candidate.look(entitlement_id)
    return {
        "per_second": PEOPLE / seconds,
        "p99_ms": sorted(spent)[int(len(spent) * 0.99)] * 1_000,
        "over_grants": max(granted, kept.holders) - CAP,
        "unrecorded_denials": PEOPLE - granted - kept.denied,
        "wrong": abs(kept.counted - kept.holders) + abs(granted - kept.holders),
    }


def crashes(candidate: Candidate, prefix: str) -> tuple[int, int]:
    """A process that takes a seat, and crashes before its n-th call: how many points, how many
    leave a seat that is counted and held by nobody."""
    points = leaks = 0
    while True:
        entitlement_id = f"{prefix}{points:04d}"
        candidate.sell(entitlement_id, PURCHASED, CAP)
        left = [points]

        def step(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Crash

        candidate.steps = step
        try:
            candidate.take(entitlement_id, "user@example.com")
        except Crash:
            crashed = True
        else:
            crashed = False
        candidate.steps = nothing
        kept = candidate.look(entitlement_id)
        leaks += kept.counted != kept.holders
        if not crashed:
            return points, leaks
        points += 1


def lost_after_kill(server: Server, candidate: Any) -> int:
    """Seats that were granted, and are gone when the server was killed and started again."""
    entitlement_id = "ent_kill"
    candidate.sell(entitlement_id, PURCHASED, CAP)
    for number in range(CAP):
        assert candidate.take(entitlement_id, f"user{number}@example.com")
    server.kill()
    server.start()
    candidate.again()
    return CAP - int(candidate.look(entitlement_id).holders)


def measure(candidate: Candidate, number: int) -> Result:
    """Everything about one candidate, but a killed server."""
    storm(candidate, f"ent_warm{number}")
    rounds = [storm(candidate, f"ent_{number}{turn:010d}") for turn in range(ROUNDS)]
    points, leaks = crashes(candidate, f"ent_crash{number}")
    return {
        "per_second": statistics.median(each["per_second"] for each in rounds),
        "p99_ms": statistics.median(each["p99_ms"] for each in rounds),
        "over_grants": max(each["over_grants"] for each in rounds),
        "unrecorded_denials": max(each["unrecorded_denials"] for each in rounds),
        "wrong": max(each["wrong"] for each in rounds),
        "crash_points": points,
        "leaked_seats": leaks,
    }


def main() -> None:
    """Measure, print, and write `.local/peers.json`."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    results: dict[str, Result] = {}
    with ExitStack() as opened:
        engine = opened.enter_context(DynamoDBLocal())
        config = Config(max_pool_connections=THREADS)
        clients = [
            boto3.client("dynamodb", endpoint_url=engine.url, config=config) for _ in range(3)
        ]
        clients[0].create_table(TableName=TABLE, **table_properties())
        ours = SteppedClient(
            TABLE,
            region="us-east-1",
            endpoint=engine.url,
            credentials=Credentials("test", "test"),
        )
        fast, durable = (opened.enter_context(Redis(is_durable=each)) for each in (False, True))
        locking, writing = (opened.enter_context(Postgres()) for _ in range(2))
        candidates: list[tuple[Candidate, Server | None]] = [
            (SeatCore(ours, clients[0]), None),
            (Textbook(clients[1]), None),
            (Optimistic(clients[2]), None),
            (Lua(fast, "Redis, Lua script, as it comes"), fast),
            (Lua(durable, "Redis, Lua script, appendfsync always"), durable),
            (ForUpdate(locking), locking),
            (ConditionalUpdate(writing), writing),
        ]
        for number, (candidate, server) in enumerate(candidates):
            results[candidate.name] = measure(candidate, number)
            if server:
                results[candidate.name]["lost_after_kill"] = lost_after_kill(server, candidate)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    show(results)


def show(results: dict[str, Result]) -> None:
    """Print a table."""
    grid = Table(title=f"{PEOPLE} people, {PURCHASED}/{CAP} seats, {THREADS} threads")
    for title in (
        "design",
        "a second",
        "p99 ms",
        "above the cap",
        "denials lost",
        "crash points",
        "that leak a seat",
        "seats lost by kill -9",
    ):
        grid.add_column(title, justify="left" if title == "design" else "right")
    for name, each in results.items():
        lost = each.get("lost_after_kill")
        grid.add_row(
            name,
            f"{each['per_second']:.0f}",
            f"{each['p99_ms']:.0f}",
            str(each["over_grants"]),
            str(each["unrecorded_denials"]),
            str(each["crash_points"]),
            str(each["leaked_seats"]),
            "–" if lost is None else str(lost),
        )
    Console(width=140).print(grid)


if __name__ == "__main__":
    main()
