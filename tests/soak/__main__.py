"""`python -m tests.soak`: play stories with faults until so many operations have met one.

`--story FILE` plays one that was found before.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import tests.conftest  # noqa: F401 # the environment of a deployed function
from tests.soak import search, story
from tests.soak.play import Outcome


def main() -> int:
    """Search, print the figures, and keep a small story of what was found; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--operations", type=int, default=0, help="end after so many faulted ones")
    parser.add_argument("--minutes", type=float, default=0.0, help="end after so many minutes")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--no-story", action="store_true", help="make no small story of it")
    parser.add_argument("--story", type=Path, help="play this one")
    given = parser.parse_args()
    if not search.is_repeatable():
        parser.error("set PYTHONHASHSEED=0, so that a story runs the same way again")
    if given.story:
        found = search.play_story(search.read(given.story))
        print(found.violation or "no violation")
        return int(bool(found.violation))
    wanted = given.operations or (0 if given.minutes else 10_000)

    def is_over(total: Outcome, seconds: float) -> bool:
        is_enough = bool(wanted) and total.faulted >= wanted
        return is_enough or bool(given.minutes and seconds >= given.minutes * 60)

    started, last, stories = time.monotonic(), 0.0, 0
    total = Outcome.none()
    for found, total in search.search(given.first, is_over, os.cpu_count() or 1):
        stories += 1
        if found.violation:
            return _report(found, is_made_small=not given.no_story)
        if time.monotonic() - last > 30:
            last = time.monotonic()
            print(f"  {total.faulted:,} operations met a fault, no violation", flush=True)
    _print(total, stories, given.first, time.monotonic() - started)
    return 0


def _report(found: search.Found, *, is_made_small: bool) -> int:
    print(f"seed {found.seed}: {found.violation.splitlines()[-1]}")
    if not is_made_small:
        return 1
    one = story.make(found.seed)
    if not search.play_story(one).violation:
        print("it does not fail again alone: look for what two stories share")
        return 1
    one = search.small(one, lambda each: bool(search.play_story(each).violation))
    last = search.play_story(one)
    path = search.keep(one, last.violation)
    print(f"{len(one.steps)} steps are left: {last.violation}")
    print(f"play it again: {sys.executable} -m tests.soak --story {path}")
    return 1


def _print(total: Outcome, stories: int, first: int, seconds: float) -> None:
    print(f"seeds {first} to {first + stories - 1} and on, {seconds / 60:.0f} minutes:")
    print(f"{total.operations:,} operations, {total.faulted:,} of them met faults; 0 violations")
    print("\n| operation | times |\n| --- | --- |")
    for name, times in total.kinds.most_common():
        print(f"| {name} | {times:,} |")
    print("\n| fault | times |\n| --- | --- |")
    for name, times in total.met.most_common():
        print(f"| {name} | {times:,} |")
    print("\n| answer | times |\n| --- | --- |")
    for name, times in sorted(total.answers.items()):
        print(f"| {name} | {times:,} |")


if __name__ == "__main__":
    sys.exit(main())
