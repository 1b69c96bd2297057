"""Redis and PostgreSQL of Debian on this machine, each in a folder of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

import psycopg
import redis

from local.emulator import LocalError, Service, free_port

START_SECONDS = 60
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class Server(Service):
    """A process that can be killed as by a power cut, and started again on the same files."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="peer-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    user: str | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """How it is started."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers."""

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            LocalError: it does not, within a minute.
        """
        self._process = subprocess.Popen(
            self.command(),
            cwd=self.folder,
            user=self.user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise LocalError(f"{type(self).__name__} did not start")
            time.sleep(0.05)

    def kill(self) -> None:
        """End all its processes at once: none writes anything any more."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        time.sleep(0.2)

    def __enter__(self) -> Self:
        self.start()
        return super().__enter__()

    def stop(self) -> None:
        """End it, without a trace."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Server):
    """Redis; `is_durable`: each write is on the disk before it is answered, not later."""

    def __init__(self, *, is_durable: bool) -> None:
        super().__init__()
        self._options = ["--appendonly", "yes", "--appendfsync", "always"] if is_durable else []

    def command(self) -> list[str]:
        """How it is started."""
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", *self._options]

    def is_ready(self) -> bool:
        """Whether it has loaded its file."""
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def client(self) -> Any:
        """A client, for several threads."""
        return redis.Redis(port=self.port, socket_timeout=30)


class Postgres(Server):
    """PostgreSQL as it comes: every commit is on the disk before it is answered."""

    user = "postgres"

    def __init__(self) -> None:
        super().__init__()
        if not POSTGRES:
            raise LocalError("PostgreSQL is not here: run 'make bench-peers', which installs it")
        self._bin = POSTGRES[-1]
        owner = pwd.getpwnam("postgres")
        os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        subprocess.run(
            [self._bin / "initdb", "--auth=trust", "--no-sync", "-D", self.folder / "data"],
            user=self.user,
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def command(self) -> list[str]:
        """How it is started."""
        place = ["-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder)]
        return [str(self._bin / "postgres"), *place, "-c", "listen_addresses=127.0.0.1"]

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self) -> psycopg.Connection[Any]:
        """A connection, for one thread."""
        where = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        return psycopg.connect(where, autocommit=True, connect_timeout=5)
