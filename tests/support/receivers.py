"""Webhook receivers that answer well, slowly, badly, or not at all."""

import http.server
import json
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

from tools import ROOT

NODE = ROOT / "tests/node"


# Less than the 15 seconds in which an endpoint has to answer.
MEETING_SECONDS = 14


class Call(NamedTuple):
    """One POST as it came. Header names are lower-case; `at`: Unix seconds."""

    path: str
    headers: dict[str, str]
    body: str
    at: float


class Receivers:
    """One server on 127.0.0.1; the first part of a path says how it behaves there."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._meeting = threading.Barrier(2)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                with outer._lock:
                    outer.calls.append(Call(self.path, headers, body, time.time()))
                    outer._seen[self.path] += 1
                    count = outer._seen[self.path]
                behaviour = self.path.strip("/").split("/")[0].partition("-")[0]
                getattr(self, f"_{behaviour}")(count)

            def _say(self, status: int, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("content-length", "0")
                self.end_headers()

            def _good(self, _: int) -> None:
                self._say(200)

            def _meeting(self, _: int) -> None:
                """Answers once two of them are called at the same time."""
                try:
                    outer._meeting.wait(MEETING_SECONDS)
                except threading.BrokenBarrierError:
                    self._say(500)
                else:
                    self._say(200)

            def _failing(self, _: int) -> None:
                self._say(500)

            def _recovering(self, count: int) -> None:
                self._say(500 if count == 1 else 200)

            def _redirecting(self, _: int) -> None:
                self._say(302, location=f"http://127.0.0.1:{outer.port}/good/redirected")

            def _hanging(self, _: int) -> None:
                time.sleep(25)

            def _dripping(self, _: int) -> None:
                # A header that never ends: each byte comes in time.
                self.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
                for _ in range(60):
                    time.sleep(0.5)
                    self.wfile.write(b"x")
                    self.wfile.flush()

            def _resetting(self, _: int) -> None:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                # The streams made of the connection would keep it open.
                socket.close(self.connection.detach())

            def _gone(self, _: int) -> None:
                self._say(410)

            def _busy(self, count: int) -> None:
                self._say(429, retry_after="7") if count == 1 else self._say(200)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                """In some tests the client goes away."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def at(self, path: str) -> list[Call]:
        with self._lock:
            return [call for call in self.calls if call.path == path]


def verify_with_node(signed: list[dict[str, Any]]) -> list[bool]:
    """Whether the npm package standardwebhooks takes these: {secret, body, headers}."""
    if not (NODE / "node_modules/standardwebhooks").exists():
        subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
            cwd=NODE,
            check=True,
        )
    lines = "".join(json.dumps(each) + "\n" for each in signed)
    ran = subprocess.run(
        ["node", "verify.mjs"], cwd=NODE, input=lines, capture_output=True, text=True, check=True
    )
    return [line == "true" for line in ran.stdout.split()]
