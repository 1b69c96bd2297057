"""The AWS emulator as a child process: started, ready, stopped without a trace.

Why this emulator, and what it does not do: `docs/decisions/0005-local-stack.md`.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

import urllib3

from local import rights
from tools import ROOT

REGION = "us-east-1"
ACCOUNT = "000000000000"
# Any do, and they are the account's root: the functions themselves run with their roles.
ACCESS_KEY = "test"
SECRET_KEY = "test"
START_SECONDS = 60
STOP_SECONDS = 10


class LocalError(Exception):
    """Something on this machine prevents it; the message says what, and what to do."""


def check_port(port: int) -> None:
    """Raise LocalError when something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise LocalError(f"Port {port} is not open to you; choose one above 1023.") from None
        except OSError:
            other = port + 1 if port < 65_535 else 4_567
            raise LocalError(
                f"Port {port} is taken; choose another one: make run PORT={other}"
            ) from None


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service(ABC):
    """A child process that is stopped at the end of its `with` statement."""

    @abstractmethod
    def stop(self) -> None:
        """End it, without a trace."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


# At the end of the path, and not by PYTHONPATH: the functions must not find this checkout.
_ENTRY = f"import sys; sys.path.append({str(ROOT)!r}); import local.emulator_process as p; p.main()"


class Emulator(Service):
    """A running emulator on 127.0.0.1."""

    def __init__(self, port: int) -> None:
        check_port(port)
        self.url = f"http://127.0.0.1:{port}"
        self._folder = Path(tempfile.mkdtemp(prefix="overdraft-"))
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start(port)
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _start(self, port: int) -> None:
        self._log = self._folder / "emulator.log"
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "localhost",
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "AUTH": "true",
            "STATE_DIR": str(self._folder / "state"),
            "S3_DATA_DIR": str(self._folder / "s3"),
            rights.VARIABLE: os.environ.get(rights.VARIABLE, ""),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _ENTRY],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,  # so that Ctrl-C reaches us first, and all of it is stopped
            )

    def _wait(self) -> None:
        http = urllib3.PoolManager(timeout=1.0, retries=False)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise LocalError(f"The emulator did not start: {self.log_tail()}")
            try:
                if http.request("GET", f"{self.url}/_ministack/health").status == 200:
                    return
            except urllib3.exceptions.HTTPError:
                pass
            time.sleep(0.1)
        raise LocalError(f"The emulator did not answer within {START_SECONDS} s.")

    def log_tail(self, lines: int = 5) -> str:
        """The end of the emulator's log."""
        return " | ".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End the emulator, its workers and its files. It has nothing to save."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)
