"""One connection to an HTTP server that is called often: the least work for each call.

`httptools` parses the answers: the standard library's parser costs more than everything else of a
call (`docs/decisions/0002-dynamodb-client.md` has the figures).
"""

import select
import socket
import time
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import SplitResult

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

_READ_BYTES = 65_536
# The most of an answer: DynamoDB's longest has 16 MB.
_MOST_BYTES = 64 * 1024 * 1024
# How many waits an answer may take in all.
_WAITS = 3


class Answer(NamedTuple):
    """An answer; the names of its headers are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    content: bytes


class NoAnswer(Exception):
    """The server closed the connection before its answer was whole, or sent what is no HTTP."""


class _Reader:
    """Reads the answers of a connection, one after the other."""

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Expect an answer."""
        self._forget()
        self.is_complete = False
        self._has_more = False  # the server said what nobody asked for

    def _forget(self) -> None:
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._stays_open = False

    def on_message_begin(self) -> None:
        self._has_more = self.is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_complete:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if not self.is_complete:
            self._status = self._parser.get_status_code()
            self._stays_open = self._parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        if not self.is_complete:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        if self._status < 200:
            self._forget()  # an interim answer (RFC 9110, 15.2): the answer follows
        else:
            self.is_complete = True

    def read(self, received: bytes) -> None:
        """Go on with what was received."""
        self._parser.feed_data(received)

    def answer(self) -> tuple[Answer, bool]:
        """The answer, and whether another one may follow on the same connection."""
        answer = Answer(self._status, self._headers, b"".join(self._parts))
        return answer, self._stays_open and not self._has_more


class Connection:
    """A connection to the server of a URL. Times are seconds; not for several threads at once.

    Raises:
        OSError: it cannot be made in `connect_seconds`.
    """

    def __init__(self, url: SplitResult, connect_seconds: float, read_seconds: float) -> None:
        port = url.port or (443 if url.scheme == "https" else 80)
        made = socket.create_connection((url.hostname, port), connect_seconds)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if url.scheme == "https":
            made = _tls().wrap_socket(made, server_hostname=url.hostname)
        made.settimeout(read_seconds)
        self._socket = made
        self._answer_seconds = read_seconds * _WAITS
        self._poll = select.poll()
        self._poll.register(made, select.POLLIN)
        self._reader = _Reader()
        self.is_reusable = True

    def post(self, path: str, headers: dict[str, str], content: bytes) -> Answer:
        """Send a request, once, and read its answer. `headers` has all but the content's length.

        Each wait is at most `read_seconds`, all of them three times as long.

        Raises:
            OSError, NoAnswer: nobody knows whether the server carried the request out. The
                connection is of no use any more.
        """
        self.is_reusable = False
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"POST {path} HTTP/1.1\r\n{lines}Content-Length: {len(content)}\r\n\r\n"
        latest = time.monotonic() + self._answer_seconds
        self._socket.sendall(head.encode("latin-1") + content)
        reader, size = self._reader, 0
        reader.begin()
        try:
            while not reader.is_complete:
                received = self._socket.recv(_READ_BYTES)
                size += len(received)
                if not received:
                    raise NoAnswer("the server closed the connection")
                if size > _MOST_BYTES or time.monotonic() > latest:
                    raise NoAnswer("the answer has no end")
                reader.read(received)
        except (HttpParserError, HttpParserUpgrade) as error:
            raise NoAnswer(str(error)) from error
        answer, self.is_reusable = reader.answer()
        return answer

    def is_open(self) -> bool:
        """Whether it can be used, as far as this side knows: what comes unasked is its end."""
        return not self._poll.poll(0)

    def close(self) -> None:
        """Close it."""
        self._socket.close()


@lru_cache(maxsize=1)
def _tls() -> Any:
    import ssl  # noqa: PLC0415 - takes a while, and a stack on this machine has none

    return ssl.create_default_context()
