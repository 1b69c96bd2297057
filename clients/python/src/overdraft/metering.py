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


def check_quantity(quantity: object) -> None:
    """Refuse what cannot be counted.

    Raises:
        ValueError: it is not a whole number from 1 on.
    """
    if type(quantity) is not int or quantity < 1:
        raise ValueError("quantity must be a whole number, at least 1")


class Meter:
    """Adds up the usage of one limit, and sends it in the background.

    `add` never waits for the network or the disk. What was added is sent every `interval` seconds,
    or as soon as there are `units`. A crash loses at most what was added since then, or while one
    try hangs. While the stack is out of reach it is stored, and sent later; nothing counts twice.
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
        self._sending = threading.RLock()  # on_refused may flush
        self._thread: threading.Thread | None = None
        self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="overdraft-meter", daemon=True)
        self._thread.start()

    def _leave_to_parent(self) -> None:
        """After a fork, in the child: the thread stayed with the parent."""
        self._wake, self._sending, self._thread = threading.Event(), threading.RLock(), None

    def add(self, quantity: int = 1) -> None:
        """Count so much more.

        Raises:
            ValueError: it is not a whole number from 1 on.
        """
        check_quantity(quantity)
        if self._ends:
            raise RuntimeError("the meter is closed")
        if self._thread is None:  # a fork
            self._start()
        if self._journal.add(self.key, quantity) >= self._units:
            self._wake.set()

    @property
    def aside(self) -> list[Aside]:
        """Usage of this limit that the stack has refused, and that is not sent again."""
        return [each for each in self._journal.aside if each.key == self.key]

    def forget_aside(self) -> None:
        """Forget what was set aside, once somebody has seen to it."""
        self._journal.forget_aside(self.key)

    def flush(self) -> bool:
        """Send what is there now, and wait for it; False: something is left.

        The stack is out of reach, or the disk is full.
        """
        with self._sending:
            return self._client._run(self._journal.send(self.key, self._on_refused))

    def close(self, *, tries: bool = True) -> bool:
        """Send what is there, once, and stop; whether the stack was in reach.

        What cannot be sent is for the next process. `tries` false: it is not tried.
        """
        self._ends = True
        self._wake.set()
        is_sent = tries and not self._journal.is_closed and self.flush()
        self._journal.save()
        return is_sent

    def _run(self) -> None:
        retry_at, wait = 0.0, self._interval
        while not self._ends:
            self._wake.wait(self._interval)
            self._wake.clear()
            if self._ends:
                return
            if time.monotonic() < retry_at:
                self._journal.save()  # what was added meanwhile
                time.sleep(min(SHORTEST_RETRY, self._interval))  # many units wake it up at once
                continue
            try:
                is_sent = self.flush()
            except Exception:  # never the end of the meter
                logger.exception("license usage not sent")
                is_sent = False
            wait = self._interval if is_sent else next_wait(wait)
            retry_at = 0.0 if is_sent else time.monotonic() + wait
