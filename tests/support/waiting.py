"""Waiting for what follows by itself."""

import time
from collections.abc import Callable
from typing import Any


def wait_for(
    look: Callable[[], Any], seconds: float = 300, what: Callable[[], str] = lambda: "it"
) -> Any:
    """What `look` gives as soon as it gives something; the stream's effects take a moment.

    So long only what never comes is waited for: a slow machine fails no test. `what` says, at the
    end of that time, what did not come.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"{what()}: it did not come"
        time.sleep(0.1)
