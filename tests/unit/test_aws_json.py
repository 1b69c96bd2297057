"""Calls of AWS services: connections that are kept and lost, damaged answers, signatures."""

import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from shared.aws_json import AwsJson, Credentials, Damaged, Failures, Service, place_of
from shared.http_connection import NoAnswer

SERVICE = Service("dynamodb", "DynamoDB_20120810", "1.0")
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a+token/=")


def answer(content: bytes, *more: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """An answer, as it travels."""
    size = len(content) if length is None else length
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {size}", *more])
    return f"{head}\r\n\r\n".encode() + content


def checked(content: bytes) -> bytes:
    return answer(content, f"x-amz-crc32: {zlib.crc32(content)}")


class Server:
    """A server that answers as a test says: `answers(number, request)` has the parts to send.

    An empty part closes the connection.
    """

    def __init__(self, answers: Callable[[int, bytes], list[bytes]]) -> None:
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.requests: list[bytes] = []
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(accepted)
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while request := _read_request(accepted):
            with self._lock:
                self.requests.append(request)
                number = len(self.requests)
            for part in self._answers(number, request):
                if not part:
                    accepted.shutdown(socket.SHUT_RDWR)
                    accepted.close()
                    return
                accepted.sendall(part)

    def hang_up(self) -> None:
        """Close every connection, as a server does that was idle for long."""
        for each in self._open:
            each.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._listener.close()


def _read_request(accepted: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found or len(found) < _size(found):
        try:
            received = accepted.recv(65_536)
        except OSError:
            return b""
        if not received:
            return b""
        found += received
    return found


def _size(request: bytes) -> int:
    head, _, _ = request.partition(b"\r\n\r\n")
    [length] = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    return len(head) + 4 + int(length.partition(b":")[2])


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Server, AwsJson]]]:
    opened: list[Server] = []

    def opens(
        answers: Callable[[int, bytes], list[bytes]], read_seconds: float = 30
    ) -> tuple[Server, AwsJson]:
        server = Server(answers)
        opened.append(server)
        called = AwsJson(
            SERVICE,
            connect_seconds=30,
            read_seconds=read_seconds,
            connections=4,
            region="eu-central-1",
            endpoint=server.url,
            credentials=KEYS,
        )
        return server, called

    yield opens
    for each in opened:
        each.close()


Serve = Callable[..., tuple[Server, AwsJson]]


def test_a_connection_is_kept(serve: Serve) -> None:
    server, aws = serve(lambda number, _: [checked(b'{"n": %d}' % number)])
    assert [aws.send("GetItem", b"{}") for _ in range(3)] == [(200, {"n": n}) for n in (1, 2, 3)]
    assert server.connections == 1


def test_an_error_is_an_answer(serve: Serve) -> None:
    body = b'{"__type": "com.amazonaws#ThrottlingException"}'
    server, aws = serve(lambda *_: [answer(body, status="400 Bad Request")])
    assert aws.send("GetItem", b"{}") == (400, json.loads(body))
    assert aws.send("GetItem", b"{}")[0] == 400
    assert server.connections == 1


def test_a_connection_that_the_server_closed_is_replaced(serve: Serve) -> None:
    server, aws = serve(lambda number, _: [checked(b'{"n": %d}' % number)])
    aws.send("GetItem", b"{}")
    server.hang_up()
    [kept] = aws._kept
    while kept.is_open():  # until its end has arrived
        pass
    assert aws.send("GetItem", b"{}") == (200, {"n": 2})
    assert server.connections == 2


def test_a_connection_that_is_to_close_is_not_kept(serve: Serve) -> None:
    server, aws = serve(lambda *_: [answer(b"{}", "Connection: close"), b""])
    for _ in range(2):
        assert aws.send("GetItem", b"{}") == (200, {})
    assert server.connections == 2


@pytest.mark.parametrize(
    "more",
    [
        answer(b'{"stale": true}'),
        b"HTTP/1.1 418 Teapot\r\nX: ",
        b"HTTP/1.1 418 Teapot\r\nContent-Length: 9\r\n\r\n{}",
    ],
    ids=["an answer", "half a head", "half a body"],
)
def test_after_what_nobody_asked_for_a_connection_is_not_kept(serve: Serve, more: bytes) -> None:
    server, aws = serve(lambda *_: [answer(b"{}") + more])
    for _ in range(3):
        assert aws.send("GetItem", b"{}") == (200, {})
    assert server.connections == 3


def test_an_interim_answer_is_not_the_answer(serve: Serve) -> None:
    def answers(number: int, _: bytes) -> list[bytes]:
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        return [interim, hints, checked(b'{"n": %d}' % number)]

    _, aws = serve(answers)
    for number in range(1, 6):
        assert aws.send("GetItem", b"{}") == (200, {"n": number})


@pytest.mark.parametrize(
    "parts",
    [
        [b""],
        [b"HTTP/1.1 200 OK\r\nConte", b""],
        [answer(b'{"n": 1}', length=100), b""],
        [b"no HTTP at all\r\n\r\n"],
        [answer(b'{"n": 1}', "x-amz-crc32: 1")],
        [answer(b'{"n": 1}', "x-amz-crc32: abc")],
        [answer(b'{"n": 1}', f"x-amz-crc32: {'9' * 5_000}")],
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
        [answer(b"[1]", status="400 Bad Request")],
        [answer(b'{"n": 1')],
        [answer(b"\xff\xfe")],
    ],
    ids=[
        "nothing",
        "half a head",
        "half a body",
        "no HTTP",
        "checksum",
        "no checksum",
        "long checksum",
        "upgrade",
        "no object",
        "half JSON",
        "no UTF-8",
    ],
)
def test_a_lost_or_damaged_answer_is_no_answer(serve: Serve, parts: list[bytes]) -> None:
    """And the call after it is answered as if nothing had happened."""
    _, aws = serve(lambda number, _: parts if number == 1 else [checked(b'{"n": 2}')])
    with pytest.raises(Failures):
        aws.send("UpdateItem", b"{}")
    assert aws.send("GetItem", b"{}") == (200, {"n": 2})


def test_what_is_wrong_has_a_name(serve: Serve) -> None:
    _, aws = serve(lambda *_: [answer(b"{}", "x-amz-crc32: 7")])
    with pytest.raises(Damaged, match="checksum"):
        aws.send("GetItem", b"{}")
    _, aws = serve(lambda *_: [b""])
    with pytest.raises(NoAnswer, match="closed"):
        aws.send("GetItem", b"{}")


def test_an_answer_may_come_in_any_parts(serve: Serve) -> None:
    content = json.dumps({"text": "é" * 200}, ensure_ascii=False).encode()
    whole = checked(content)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:7], content[7:])
    )
    for sent in (whole, chunked + b"0\r\n\r\n"):
        server, aws = serve(lambda _, __, sent=sent: [sent[n : n + 1] for n in range(len(sent))])
        for _ in range(2):
            assert aws.send("Query", b"{}") == (200, json.loads(content))
        assert server.connections == 1


def test_a_silent_server_is_given_up(serve: Serve) -> None:
    _, aws = serve(lambda *_: [], read_seconds=0.05)
    with pytest.raises(TimeoutError):
        aws.send("GetItem", b"{}")
    assert not aws._kept


def test_an_answer_that_trickles_is_given_up(serve: Serve) -> None:
    """However often a byte comes: all waits together have an end."""
    whole = answer(b" " * 1_000)
    _, aws = serve(lambda *_: [whole[n : n + 1] for n in range(len(whole))])
    connection = aws._connected()
    connection._answer_seconds = -1.0  # over before it begins
    aws._kept.append(connection)
    with pytest.raises(NoAnswer, match="no end"):
        aws.send("GetItem", b"{}")


def test_without_credentials_nothing_is_sent(serve: Serve) -> None:
    server, aws = serve(lambda *_: [answer(b"{}")])

    def fails() -> Credentials:
        raise RuntimeError("the endpoint does not answer")

    for wrong in (fails, Credentials("", "")):
        aws._signer._credentials = wrong
        with pytest.raises(Failures):
            aws.send("GetItem", b"{}")
    assert server.requests == []


def test_threads_have_connections_of_their_own(serve: Serve) -> None:
    def echo(_: int, request: bytes) -> list[bytes]:
        return [checked(request.partition(b"\r\n\r\n")[2])]

    server, aws = serve(echo)

    def call(number: int) -> bool:
        sent = {"number": number, "long": "x" * (number * 37 % 5_000)}
        return aws.send("PutItem", json.dumps(sent).encode()) == (200, sent)

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(call, range(600)))
    assert len(aws._kept) <= 4
    assert server.connections >= 1


@pytest.mark.parametrize("payload", [b"{}", b"x" * 5_000, '{"name": "é"}'.encode()])
@pytest.mark.parametrize("token", [None, "a+token/="])
def test_the_signature_is_the_one_of_botocore(
    serve: Serve, payload: bytes, token: str | None
) -> None:
    """Another signer agrees, for the same headers and the same second."""
    server, aws = serve(lambda *_: [answer(b"{}")])
    aws._signer._credentials = KEYS._replace(token=token)
    aws.send("UpdateItem", payload)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert (first, body) == ("POST / HTTP/1.1", payload)
    sent = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert sent.get("x-amz-security-token") == token
    authorization = sent["authorization"]
    names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"content-type", "host", "x-amz-date", "x-amz-target"} <= set(names)
    known = {name: sent[name] for name in names if name != "x-amz-security-token"}
    request = AWSRequest("POST", f"{server.url}/", headers=known, data=payload)
    request.context["timestamp"] = sent["x-amz-date"]
    signer = SigV4Auth(BotocoreCredentials(KEYS.access_key, KEYS.secret_key, token), "dynamodb", "")
    signer._region_name = "eu-central-1"
    if token:
        request.headers["X-Amz-Security-Token"] = token
    text = signer.string_to_sign(request, signer.canonical_request(request))
    assert authorization.endswith(f"Signature={signer.signature(text, request)}")


# --- Credentials ----------------------------------------------------------------------------------


class Container(BaseHTTPRequestHandler):
    """The endpoint from which a function with SnapStart has its credentials."""

    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Authorization"))
        number = len(self.asked)
        expires = datetime.now(UTC) + timedelta(seconds=1 if number == 1 else 3_600)
        body = json.dumps(
            {
                "AccessKeyId": f"AKID{number}",
                "SecretAccessKey": "secret",
                "Token": "token",
                "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


def test_credentials_come_from_the_container_and_are_renewed() -> None:
    Container.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Container)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = place_of(
        "dynamodb",
        {
            "AWS_REGION": "eu-central-1",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.server_port}/c",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "let-me-in",
        },
    )
    assert Container.asked == []  # a snapshot has none
    credentials = place["credentials"]
    assert not isinstance(credentials, Credentials)
    # The first ones end at once, and so they are renewed before they are used.
    for _ in range(3):
        assert credentials() == Credentials("AKID2", "secret", "token")
    assert Container.asked == ["let-me-in"] * 2
    server.shutdown()


def test_credentials_of_the_environment() -> None:
    environ = {"AWS_REGION": "cn-north-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    place = place_of("kms", environ)
    assert place["credentials"] == Credentials("a", "b", None)
    assert place["endpoint"] == "https://kms.cn-north-1.amazonaws.com.cn"
