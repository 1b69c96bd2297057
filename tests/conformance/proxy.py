"""A network between a client and a stack, on real sockets, that fails as it is told to."""

import json
import socket
import struct
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.conformance.stacks import Answer, Given, Stack

PAGE = b"<html>Log in</html>"
# Longer than a client of the scenarios waits.
HUNG_SECONDS = 4.0
FAULTS = ("refused", "lost", "hung", "twice", "slow", "busy", "broken", "html")


def _page(status: int, body: bytes = PAGE, kind: str = "text/html", **more: str) -> Answer:
    # Its clock is another one, and nobody goes by it.
    return Answer(status, {"content-type": kind, "date": formatdate(0, usegmt=True), **more}, body)


# What answers in the place of the stack.
ANSWERS = {
    "portal": _page(200),
    "portal-json": _page(200, b'{"success": true}', "application/json"),
    "blocked": _page(403),
    "proxy": _page(407),
    "redirect": _page(302, location="https://hotel.example/"),
    "foreign-problem": _page(403, b'{"type": "about:blank"}', "application/problem+json"),
    "busy": _page(429, json.dumps({"message": "Too Many Requests"}).encode(), "application/json"),
    "broken": _page(503, b'{"message": "Service Unavailable"}', "application/json"),
    "html": _page(502),
}


class Proxy:
    """`faults` come first, one for each request; `is_down`: nobody is reached.

    Faults: those of `ANSWERS`, and `refused` (no answer, nothing is done), `lost` (it is done, and
    the answer is lost), `hung` (nothing is done, and nothing answered), `twice` (it is done twice),
    `slow` (the answer takes a while).
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.faults: list[str] = []
        self.is_down = False
        self.holds = False
        self.held = threading.Event()
        self.let_go = threading.Event()
        self.seen: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        serve = threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True)
        serve.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()

    def pass_on(self, given: Given) -> Answer | None:
        """The answer to a request; None: there is none."""
        with self._lock:
            self.seen.append((given.method, given.path))
            fault = "refused" if self.is_down else self.faults.pop(0) if self.faults else ""
            holds, self.holds = self.holds, False
        if holds:
            self.held.set()
            self.let_go.wait()
        if fault in ANSWERS:
            return ANSWERS[fault]
        if fault == "hung":
            self.let_go.wait(HUNG_SECONDS)
        if fault in ("refused", "hung"):
            return None
        with self._lock:  # the functions of this process share one client
            answer = self.stack.answer(given)
            if fault == "twice":
                answer = self.stack.answer(given)
        if fault == "slow":
            self.let_go.wait(0.05)
        return None if fault == "lost" else answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: Proxy

    def _handle(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length).decode() if length else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.proxy.pass_on(Given(self.command, self.path, headers, body))
        if answer is None:
            self._reset()
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if answer.status != 204:
            self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        if answer.status != 204:
            self.wfile.write(answer.body)

    do_GET = do_POST = do_DELETE = _handle

    def _reset(self) -> None:
        """Close the connection as a machine that is switched off does."""
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
