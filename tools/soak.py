"""`make soak`: stories amid faults, and the sweeping tests with other seeds in every round.

Half of the minutes are for stories (see `tests/soak`), whose seeds begin at a million times the
first round, half for the tests. `make test` takes samples of what is swept here. Each round has
its own part of the fault points of the long sweeps, so that eight rounds meet every one, all of the
short ones, other seeds, and the models with more and other examples. It stops at the first
failure, and says how to repeat that round alone.
"""

import argparse
import os
import subprocess
import sys
import time

from tools import ROOT

TESTS = (
    "tests/models",
    "tests/faults",
    "tests/volume",
    "tests/concurrency",
    "tests/conformance",
    "tests/browser/test_console_many.py",
    "tests/integration/test_report_pipeline.py",
    "tests/integration/test_pools.py",
    "tests/integration/test_seats.py",
)


def main() -> None:
    """Run rounds until the time is over; the round that is under way then is finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    given = parser.parse_args()
    half = given.minutes / 2
    _play(half, given.first * 1_000_000)
    started, number = time.monotonic(), given.first
    while number == given.first or time.monotonic() - started < half * 60:
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", "--numprocesses", "auto", "--dist", "loadfile"]
        done = subprocess.run(
            [*command, *TESTS],
            cwd=ROOT,
            env={**os.environ, "SOAK_ROUND": str(number), "SEEDS": "3"},
            check=False,
        )
        minutes = (time.monotonic() - began) / 60
        print(f"round {number}: exit {done.returncode} after {minutes:.1f} minutes", flush=True)
        if done.returncode:
            sys.exit(f"repeat it with: make soak MINUTES=0 FIRST={number}")
        number += 1
    print(f"{number - given.first} rounds without a failure")


def _play(minutes: float, first: int) -> None:
    """Play stories for so long; end here if one ends badly, which says how to repeat it."""
    if minutes <= 0:
        return
    paths = os.pathsep.join((str(ROOT), str(ROOT / "clients/python/src")))
    command = [sys.executable, "-m", "tests.soak", "--minutes", str(minutes), "--first", str(first)]
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
