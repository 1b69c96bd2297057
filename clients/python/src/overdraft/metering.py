"""Meters: usage that is added up in the process, and sent once a second."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from overdraft._metering import Aside, Journal
from overdraft._store import logger

if TYPE_CHECKING:
    from overdraft.client import Overdraft

SHORTEST_RETRY, LONGEST_RETRY = 1.0, 60.0


def next_wait(before: float) -> float:
    """Seconds until the next try while the stack is out of reach: longer each time."""
    longest = min(LONGEST_RETRY, max(SHORTEST_RETRY, before) * 2)
    return random.uniform(SHORTEST_RETRY, longest)


class Meter:
    """Adds up the usage of one limit, and sends it in the background.

    `add` never waits for the network or the disk. What was added is sent every `interval` seconds,
    or as soon as there are `units`. A crash loses at most what was added since then. While the
    stack is out of reach it is stored, and sent later; nothing counts twice.
    """

    def __init__(
        self,
        client: Overdraft,
        key: str,
        journal: Journal,
        *,
        interval: float,
        units: int,
        on_refused: Callable[[Aside], object] | None,
    ) -> None:
        self.key = key
        self._client = client
        self._journal = journal
        self._interval = interval
        self._units = units
        self._on_refused = on_refused
        self._wake = threading.Event()
        self._ends = False
        self._sending = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="overdraft-meter", daemon=True)
        self._thread.start()

    def add(self, quantity: int = 1) -> None:
        """Count so much more.

        Raises:
            ValueError: it is not a whole number from 1 on.
        """
        if quantity < 1:
            raise ValueError("quantity must be at least 1")
        if self._journal.add(self.key, quantity) >= self._units:
            self._wake.set()

    @property
    def aside(self) -> list[Aside]:
        """Usage of this limit that the stack has refused, and that is not sent again."""
        return [each for each in self._journal.aside if each.key == self.key]

    def flush(self) -> bool:
        """Send what is there now, and wait for it; False: the stack is out of reach."""
        with self._sending:
            return self._client._run(self._journal.send(self.key, self._on_refused))

    def close(self) -> None:
        """Send what is there, once, and stop. What cannot be sent is for the next process."""
        self._ends = True
        self._wake.set()
        self.flush()
        self._journal.save()

    def _run(self) -> None:
        wait = self._interval
        while not self._ends:
            self._wake.wait(wait)
            self._wake.clear()
            if self._ends:
                return
            began = time.monotonic()
            try:
                is_sent = self.flush()
            except Exception:  # never the end of the meter
                logger.exception("license usage not sent")
                is_sent = False
            if is_sent:
                wait = self._interval
                continue
            self._journal.save()  # what was added meanwhile
            wait = next_wait(wait)
            # Many units wake it up at once: not while the stack is out of reach.
            while not self._ends and time.monotonic() - began < wait:
                time.sleep(min(0.2, wait))
