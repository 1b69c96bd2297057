"""Calls of AWS services that speak JSON, for functions whose caller waits for their start-up.

Signing is that of AWS's own C libraries (`awscrt`), HTTP is `shared.http_connection`.
`docs/decisions/0002-dynamodb-client.md` says why this is no SDK client. What a failure means, and
whether to try again, is for the caller to say.
"""

import os
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple, TypedDict, Unpack
from urllib.parse import urlsplit

import orjson
from awscrt.auth import AwsCredentialsProvider, AwsSigningConfig, aws_sign_request
from awscrt.http import HttpHeaders, HttpRequest

from shared.http_connection import Connection, NoAnswer


class Damaged(Exception):
    """An answer that is not what the service sent: its checksum differs, or it is no JSON."""


class Unsigned(Exception):
    """A request that was not sent, because there are no credentials for it."""


# What a call may raise instead of an answer.
Failures = (OSError, NoAnswer, Damaged, Unsigned)


class Service(NamedTuple):
    """A service: its name, the prefix of its operations in `X-Amz-Target`, its version of JSON."""

    name: str
    target: str
    json_version: str


class Credentials(NamedTuple):
    """As whom a service is called."""

    access_key: str
    secret_key: str
    token: str | None = None


class Place(TypedDict):
    """Where a service is, and as whom it is called: always as the same, or as a function says."""

    region: str
    endpoint: str
    credentials: Credentials | Callable[[], Credentials]


class AwsJson:
    """A service at one endpoint, with warm connections. Times are seconds.

    Threads may share it: each call has a connection of its own, and at most `connections` are kept.
    """

    def __init__(
        self,
        service: Service,
        *,
        connect_seconds: float,
        read_seconds: float,
        connections: int,
        **place: Unpack[Place],
    ) -> None:
        self.endpoint = place["endpoint"].rstrip("/") + "/"
        self._service = service
        self._content_type = f"application/x-amz-json-{service.json_version}"
        self._signer = _Signer(service.name, place["region"], place["credentials"])
        self._url = urlsplit(self.endpoint)
        self._seconds = (connect_seconds, read_seconds)
        # The one that was used last is used next: the others come to their end.
        self._kept: deque[Connection] = deque(maxlen=connections)

    def send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        """Send one request, once; return the status and the body of the answer.

        Raises:
            Failures: no answer, or none in JSON. Nobody knows whether the service carried it out.
        """
        headers = [
            ("Host", self._url.netloc),
            ("Content-Type", self._content_type),
            ("X-Amz-Target", f"{self._service.target}.{operation}"),
        ]
        signed = self._signer.sign(self._url.path, headers, payload)
        connection = self._connected()
        try:
            status, answered, content = connection.post(self._url.path, signed, payload)
        finally:
            if connection.is_reusable:
                self._kept.append(connection)
            else:
                connection.close()
        checksum = answered.get(b"x-amz-crc32")
        if checksum and checksum != b"%d" % zlib.crc32(content):
            raise Damaged("the checksum of the answer differs")
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise Damaged("the answer is no JSON") from error
        if not isinstance(body, dict):
            raise Damaged("the answer is no object")
        return status, body

    def _connected(self) -> Connection:
        while self._kept:
            try:
                kept = self._kept.pop()
            except IndexError:  # another thread took it
                break
            if kept.is_open():
                return kept
            kept.close()
        return Connection(self._url, *self._seconds)


class _Signer:
    """Signs requests by AWS Signature Version 4, with the credentials of now."""

    def __init__(
        self, service: str, region: str, credentials: Credentials | Callable[[], Credentials]
    ) -> None:
        self._names = {"service": service, "region": region}
        self._credentials = credentials
        self._known: tuple[Credentials, Any] | None = None

    def sign(self, path: str, headers: list[tuple[str, str]], payload: bytes) -> dict[str, str]:
        """The headers of a POST, with those that sign it.

        Raises:
            Unsigned.
        """
        try:
            provider = self._provider()
        except Exception as error:
            raise Unsigned(type(error).__name__) from error
        request = HttpRequest("POST", path, HttpHeaders(headers))
        config = AwsSigningConfig(
            credentials_provider=provider,
            signed_body_value=sha256(payload).hexdigest(),
            use_double_uri_encode=False,
            **self._names,
        )
        aws_sign_request(request, config).result()
        return dict(request.headers)

    def _provider(self) -> Any:
        given = self._credentials
        wanted = given if isinstance(given, Credentials) else given()
        known = self._known
        if known is None or known[0] != wanted:
            known = self._known = (wanted, AwsCredentialsProvider.new_static(*wanted))
        return known[1]


def place_of(service: str, environ: Mapping[str, str] = os.environ) -> Place:
    """Where a deployed function finds a service, by what Lambda sets."""
    region = environ["AWS_REGION"]
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    endpoint = (
        environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
        or environ.get("AWS_ENDPOINT_URL")
        or f"https://{service}.{region}.{suffix}"
    )
    return {"region": region, "endpoint": endpoint, "credentials": _credentials(environ)}


def _credentials(environ: Mapping[str, str]) -> Credentials | Callable[[], Credentials]:
    """Those of the environment, or of the container endpoint that Lambda has with SnapStart."""
    if "AWS_ACCESS_KEY_ID" in environ:
        return Credentials(
            environ["AWS_ACCESS_KEY_ID"],
            environ["AWS_SECRET_ACCESS_KEY"],
            environ.get("AWS_SESSION_TOKEN"),
        )
    loaded: list[Any] = []  # a snapshot must have none: they are read after it was restored

    def current() -> Credentials:
        if not loaded:
            from botocore.credentials import ContainerProvider  # noqa: PLC0415 - takes long

            loaded.append(ContainerProvider(dict(environ)).load())
        frozen = loaded[0].get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    return current


def code_of(status: int, answer: Mapping[str, Any]) -> str:
    """The code of an error in an answer, without its namespace."""
    return str(answer.get("__type", "")).rpartition("#")[2] or f"HTTP {status}"
