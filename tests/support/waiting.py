"""Waiting for what follows by itself."""

import time
from collections.abc import Callable
from typing import Any


def wait_for(
    look: Callable[[], Any], seconds: float = 300, what: Callable[[], str] = lambda: "it"
) -> Any:
    """Call `look` until it returns something true; return that.

    The time-out is long, so a slow machine fails no test. `what` says what did not happen.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"{what()}: it did not come"
        time.sleep(0.1)
