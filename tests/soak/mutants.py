"""`python -m tests.soak.mutants`: plant slips in copies of the product; the search must find each.

A mutant is one small, plausible mistake: a condition that is dropped, an order that is swapped, a
retry too many. What finds it is the search of `tests/soak`, from seeds that are not chosen for it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tools import ROOT

NEEDED = ("benchmarks", "clients", "functions", "local", "shared", "tests", "tools")
FILES = ("template.yaml", "openapi.json", "VERSION", "pyproject.toml", "docs/data-model.md")
# A mutant has to be found within so many faulted operations.
MOST_OPERATIONS = 40_000


class Mutant(NamedTuple):
    """A slip: what it is, and the text that it changes, which is in its file once."""

    what: str
    path: str
    before: str
    after: str


MUTANTS = (
    Mutant(
        "one seat above the hard cap is granted",
        "shared/seats/writes.py",
        "OR size(seats) < hardCap)",
        "OR size(seats) <= hardCap)",
    ),
    Mutant(
        "a shard of a pool grants one seat more than its allocation",
        "shared/seats/writes.py",
        'SeatLimit("size(seats) < allowance")',
        'SeatLimit("size(seats) <= allowance")',
    ),
    Mutant(
        "a late release frees a newer grant of the same person",
        "shared/seats/release.py",
        "if held is None or held.grant_id != grant_id:\n            return False",
        "if held is None:\n            return False\n        grant_id = held.grant_id",
    ),
    Mutant(
        "a lease is reclaimed before it has ended",
        "shared/seats/shard.py",
        "CLOCK_GRACE = 5 ",
        "CLOCK_GRACE = -30 ",
    ),
    Mutant(
        "a denial is answered before it is on record",
        "shared/seats/activation.py",
        "yield from write_with_conflict_retry(record)",
        "yield from ()",
    ),
    Mutant(
        "a denial whose answer was lost is counted twice",
        "shared/audit.py",
        '"attribute_not_exists(#request) OR #request <> :request",',
        '"",',
    ),
    Mutant(
        "a request is counted again, because its entry in the log is not looked at",
        "shared/usage/consumption.py",
        'return f"attribute_not_exists({log}.#k)", {}',
        'return f"attribute_exists({log})", {}',
    ),
    Mutant(
        "what is left of a usage limit is not checked",
        "shared/usage/consumption.py",
        'ENOUGH_LEFT = "#left >= :quantity"',
        'ENOUGH_LEFT = "attribute_exists(#left)"',
    ),
    Mutant(
        "what a batch left unwritten is forgotten",
        "shared/dynamodb/client.py",
        'return list(answer.get("UnprocessedItems", {}).get(self.name, []))',
        "return []",
    ),
    Mutant(
        "what a batch left unread is taken for missing",
        "shared/dynamodb/client.py",
        'unread = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])',
        "unread: list[Any] = []",
    ),
    Mutant(
        "a transaction is repeated under a new token after its answer was lost",
        "shared/dynamodb/client.py",
        '"TransactWriteItems", {"TransactItems": actions, "ClientRequestToken": token}',
        '"TransactWriteItems", {"TransactItems": actions}',
    ),
    Mutant(
        "events that the bus did not take are not sent again",
        "functions/notify/publisher.py",
        'if "ErrorCode" in result',
        'if result.get("ErrorCode") == "Never"',
    ),
    Mutant(
        "a record that failed is taken for processed",
        "functions/notify/batch.py",
        "failures.append(records[0].position)",
        "pass",
    ),
    Mutant(
        "the totals of a pool are written over those of another reader",
        "functions/notify/seat_totals.py",
        "if is_new and not isinstance(",
        "if False and not isinstance(",
    ),
    Mutant(
        "denied attempts of one record are counted with those of the next",
        "functions/notify/batch.py",
        "counted[place] = max(number, counted.get(place, 0))",
        "counted[place] = number + counted.get(place, 0)",
    ),
    Mutant(
        "a conflict of transactions is taken for success",
        "shared/dynamodb/client.py",
        'if codes <= {"None", "TransactionConflict"}:\n                return Conflicted()',
        'if codes <= {"None", "TransactionConflict"}:\n                return Accepted()',
    ),
    Mutant(
        "an internal error of DynamoDB is not tried again",
        "shared/dynamodb/client.py",
        "if status < 500 and code not in _RETRIED and not is_throttled:",
        "if code not in _RETRIED - {'InternalServerError'} and not is_throttled:",
    ),
    Mutant(
        "a denied request of a usage limit is not on record",
        "shared/usage/consumption.py",
        "yield from record_denial(entitlement_id, usage, key, quantity, current, change)",
        "yield from ()",
    ),
    Mutant(
        "a webhook that failed is not sent again",
        "functions/deliver/deliveries.py",
        "wait = None if attempt.is_success else next_wait(step, attempt)",
        "wait = None",
    ),
    Mutant(
        "a period's use goes on into the next one",
        "shared/usage/consumption.py",
        '":full": current.left - entry.quantity,',
        '":full": counter.left - entry.quantity,',
    ),
    Mutant(
        "a lowered cap is not taken back from a pool's shards",
        "shared/seats/reconcile.py",
        "if pool.unallocated < 0 and not (yield from self._take_back_allocation(pool)):",
        "if False and not (yield from self._take_back_allocation(pool)):",
    ),
)


def plant(mutant: Mutant, at: Path) -> None:
    """Make a copy of the product with the slip in it."""
    for name in NEEDED:
        ignored = shutil.ignore_patterns("node_modules", "__pycache__", "web", ".build")
        shutil.copytree(ROOT / name, at / name, ignore=ignored)
    for name in FILES:
        (at / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, at / name)
    path = at / mutant.path
    text = path.read_text()
    assert text.count(mutant.before) == 1, f"{mutant.path}: {mutant.before!r}"
    path.write_text(text.replace(mutant.before, mutant.after))


def hunt(mutant: Mutant, first: int) -> tuple[str, float]:
    """What finds a mutant (empty: nothing), and after how many seconds."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        plant(mutant, Path(folder))
        command = [sys.executable, "-m", "tests.soak", "--no-story"]
        command += ["--operations", str(MOST_OPERATIONS), "--first", str(first)]
        environment = {**os.environ, "PYTHONPATH": f"{folder}:{folder}/clients/python/src"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    seconds = time.monotonic() - started
    found = [line for line in done.stdout.splitlines() if line.startswith("seed ")]
    if done.returncode and not found:
        raise RuntimeError(done.stdout + done.stderr)
    return (found[0] if found else ""), seconds


def main() -> int:
    """Hunt every mutant; the exit code is 1 if one was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.mutants", description=__doc__)
    parser.add_argument("--first", type=int, default=500_000, help="the first seed")
    parser.add_argument("--only", default="", help="those whose description has this")
    given = parser.parse_args()
    missed = 0
    for mutant in MUTANTS:
        if given.only not in mutant.what:
            continue
        found, seconds = hunt(mutant, given.first)
        missed += not found
        print(f"| {mutant.what} | {found[:140] or 'NOT FOUND'} | {seconds:.0f} s |", flush=True)
    print(f"{missed} mutants were not found")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
