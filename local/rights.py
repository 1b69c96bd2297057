"""Which rights the calls of a test run made use of, and which calls were refused.

Several processes check calls: the emulator, and tests on DynamoDB Local. Each appends what is new
to it to a file of its own in the folder that `RIGHTS_FOLDER` names; without that, nothing is kept.
"""

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from local.iam import Access, Decision, Right, Statement, decide

VARIABLE = "RIGHTS_FOLDER"


class Record:
    """What one process has seen. Safe to share between threads."""

    def __init__(self, folder: str | None = None) -> None:
        named = os.environ.get(VARIABLE, "") if folder is None else folder
        self._folder = Path(named) if named else None
        self._known: set[Right | str] = set()
        self._lock = threading.Lock()

    def check(self, statements: Iterable[Statement], access: Access) -> Decision:
        """Decide an access, and keep what the decision rested on."""
        decision = decide(statements, access)
        if self._folder is not None:
            fresh = (decision.rights if decision.is_allowed else {decision.reason}) - self._known
            if fresh:
                self._keep(fresh)
        return decision

    def _keep(self, fresh: Iterable[Right | str]) -> None:
        assert self._folder is not None
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / f"{os.getpid()}.jsonl").open("a") as file:
                for each in fresh:
                    file.write(json.dumps(each) + "\n")
            self._known |= set(fresh)


class Seen(NamedTuple):
    """The rights that were used, and the reasons of refusals, of a whole run."""

    rights: frozenset[Right]
    refused: frozenset[str]


def read(folder: Path) -> Seen:
    """What all processes of a run have kept in a folder."""
    rights, refused = set[Right](), set[str]()
    for file in folder.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            value = json.loads(line)
            if isinstance(value, str):
                refused.add(value)
            else:
                rights.add(Right(*value))
    return Seen(frozenset(rights), frozenset(refused))
