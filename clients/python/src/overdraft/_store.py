"""What must survive a restart: signed leases, pinned keys, the latest time that was seen.

One JSON file for each stack and key, in the user's state directory. It is replaced as a whole,
under a lock, so a crash leaves the old one or the new one. A file that cannot be read is set aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger("overdraft")
LOCK_SECONDS = 2.0
# Seats of which nothing was heard for so long are forgotten.
FORGET_SECONDS = 400 * 86_400
_FORM = 1


class Store:
    """The state of one stack and key. `path` None: nothing is stored.

    Nothing of it is secret. A signed lease proves itself; everything else can only be lost.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @classmethod
    def of(cls, directory: str | os.PathLike[str] | None, url: str, key_id: str) -> Store:
        """The store of a stack and a key, by default in the user's state directory."""
        if directory is None:
            import platformdirs  # noqa: PLC0415

            try:
                directory = platformdirs.user_state_dir("overdraft", appauthor=False)
            except RuntimeError as error:  # a user without a home directory
                logger.warning("license state is not stored: %s", error)
                return cls(None)
        folder = Path(directory)
        name = hashlib.sha256(f"{url}\0{key_id}".encode()).hexdigest()[:24]
        return cls(folder / f"{name}.json")

    def read(self) -> dict[str, Any]:
        """The state; empty if there is none, or none that can be read."""
        try:
            return self.load()
        except OSError as error:
            logger.warning("license state not read: %s", error)
            return {}

    def load(self) -> dict[str, Any]:
        """The state; empty if there is none, or a damaged one, which is set aside.

        Raises:
            OSError: there is one, and it may well be good, but it could not be read.
        """
        if self.path is None:
            return {}
        try:
            stored = json.loads(self.path.read_text("utf-8"))
            state = stored["state"]
            if not isinstance(state, dict):
                raise TypeError("its state is no object")
            if stored["form"] != _FORM or stored["sum"] != _sum(state):
                raise ValueError("its checksum or its form is another")
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._set_aside(str(error))
            return {}
        return dict(state)

    def change(self, edit: Callable[[dict[str, Any]], object]) -> bool:
        """Change the state by a function that edits it; whether it is stored. Never raises."""
        if self.path is None:
            return False
        # Software that stores nothing, or has not taken a seat yet, starts without it.
        from filelock import FileLock, Timeout  # noqa: PLC0415

        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock", timeout=LOCK_SECONDS):
                state = self.load()
                edit(state)
                self._write(state)
        except (OSError, Timeout) as error:
            logger.warning("license state not written: %s", error)
            return False
        return True

    def _write(self, state: dict[str, Any]) -> None:
        assert self.path is not None
        text = json.dumps({"form": _FORM, "sum": _sum(state), "state": state})
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _set_aside(self, reason: str) -> None:
        assert self.path is not None
        aside = self.path.with_suffix(f".unreadable-{int(time.time())}")
        logger.warning("license state cannot be read (%s): kept as %s", reason, aside)
        with contextlib.suppress(OSError):
            self.path.replace(aside)


def _sum(state: Any) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
