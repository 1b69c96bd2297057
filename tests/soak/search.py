"""Looking for a violation: many seeds in several processes, and a small story of what is found."""

import json
import os
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from tests.soak import play, story
from tests.soak.play import Outcome, Play
from tests.soak.story import Step, Story
from tests.soak.world import Violation
from tools import ROOT

FOUND = ROOT / ".local/soak"
STORIES = ROOT / "tests/soak/stories"
MOST_PLAYS = 400  # of a story that is being made small
# Sets of texts are in an order that this decides. Without it a story runs another way each time.
HASH_SEED = "0"


def is_repeatable() -> bool:
    """Whether this process runs a story the same way as every other."""
    return os.environ.get("PYTHONHASHSEED") == HASH_SEED


class Found(NamedTuple):
    """What playing a story came to; `violation`: what was wrong, empty if nothing."""

    seed: str
    outcome: Outcome
    violation: str = ""


def play_story(one: Story) -> Found:
    """Play a story; a violation, and any other failure of a play, is what is looked for."""
    playing = Play(one)
    try:
        with play.small_sizes():
            return Found(one.seed, playing.run())
    except Violation as violation:
        return Found(one.seed, Outcome.none(), str(violation))
    except Exception:
        return Found(one.seed, Outcome.none(), traceback.format_exc())


def play_seed(seed: str) -> Found:
    """Play the story of a seed."""
    return play_story(story.make(seed))


def search(
    first: int, is_over: Callable[[Outcome, float], bool], processes: int
) -> Iterator[tuple[Found, Outcome]]:
    """Play seed after seed until it is over or a violation is found.

    `is_over` is given all outcomes so far, and the seconds since the beginning. Yields each result,
    with all outcomes until then.
    """
    started, total, seeds = time.monotonic(), Outcome.none(), count(first)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running: set[Future[Found]] = set()
        while True:
            while len(running) < 2 * processes:
                running.add(pool.submit(play_seed, str(next(seeds))))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                found = each.result()
                total = total.plus(found.outcome)
                yield found, total
                if found.violation or is_over(total, time.monotonic() - started):
                    pool.shutdown(cancel_futures=True)
                    return


def small(one: Story, fails: Callable[[Story], bool]) -> Story:
    """The story without the steps that it does not need to fail: halves, quarters, single steps."""
    plays, parts = 0, 2
    while len(one.steps) > 1 and plays < MOST_PLAYS:
        size = max(1, len(one.steps) // parts)
        for start in range(0, len(one.steps), size):
            steps: list[Step] = one.steps[:start] + one.steps[start + size :]
            plays += 1
            if steps and fails(one._replace(steps=steps)):
                one, parts = one._replace(steps=steps), max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts *= 2
    return one


def keep(one: Story, violation: str) -> Path:
    """Write a story to a file, with what was wrong."""
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{one.seed}.json"
    path.write_text(json.dumps({"violation": violation, **one.to_json()}, indent=1) + "\n")
    return path


def read(path: Path) -> Story:
    """The story in a file."""
    data = json.loads(path.read_text())
    data.pop("violation", None)
    return Story.of(data)
