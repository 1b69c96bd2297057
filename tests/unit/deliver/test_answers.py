"""How an endpoint's answer begins is on record, whatever it is made of."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from functions.deliver.sender import WebhookSender
from shared.webhooks.url_policy import insecure_hosts

SECRET = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"


class Endpoint(BaseHTTPRequestHandler):
    answer = b""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(500)
        self.send_header("content-length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", ""),
        (b'{"error": "no such tenant"}', '{"error": "no such tenant"}'),
        (b"a\tb\nc\x00d\x1b[31m", "a\tb\nc\ufffdd\ufffd[31m"),
        ("ä".encode() * 400, "ä" * 250),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 20_000, "x" * 500),
    ],
)
def test_the_beginning_of_an_answer(url: str, answer: bytes, expected: str) -> None:
    assert answered(url, answer, {}) == expected


def answered(url: str, answer: bytes, data: dict[str, Any]) -> str:
    Endpoint.answer = answer

    async def post() -> str:
        async with WebhookSender(insecure_hosts("127.0.0.1")) as sender:
            attempt = await sender.post(url, {"id": "evt_1", "type": "t", "data": data}, [SECRET])
        assert attempt.code == 500
        return attempt.answer

    return asyncio.run(post())


def test_what_an_answer_quotes_of_a_person_is_left_out(url: str) -> None:
    """It stays for 30 days, and the person may be erased before."""
    seat = {"seatId": "Zoë@c.example", "seatName": "Zoë Lee", "attributes": {"host": "zoe-pc"}}
    answer = (
        'no user "zo\\u00eb@c.example" (Zo%C3%AB%40c.example, ZOË LEE, zoe-pc)'.encode()
        + b" " * 400
        + "Zoë@c.example".encode() * 20
    )
    shown = answered(url, answer, {"seat": seat, "request": None})
    assert shown.startswith('no user "[…]" ([…], […], […])')
    for part in ("zo", "Zo", "ZO", "c.example"):
        assert part not in shown
    asked = {"requester": "Mallory", "seats": 3}
    assert answered(url, b"mallory wants 3", {"request": asked}) == "[…] wants 3"
