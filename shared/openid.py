"""The OpenID provider with which people sign in to the console, and what it says of itself."""

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any, TypedDict
from urllib.parse import urlsplit

SECONDS = 3_600
TIMEOUT = 3
TRIES = 2
MAX_BYTES = 256 * 1024
NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")


class Unreachable(Exception):
    """The provider does not answer, or not as one does."""


class Description(TypedDict):
    """What is needed of a provider's description (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class Provider:
    """A provider by its issuer, and the client that the console is there."""

    def __init__(self, issuer: str, client_id: str) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self._known: tuple[float, Description] | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Provider | None":
        """The stack's provider; None if it has none."""
        issuer = environ.get("CONSOLE_ISSUER", "")
        return cls(issuer, environ.get("CONSOLE_CLIENT_ID", "")) if issuer else None

    def describe(self) -> Description:
        """The provider's description, at most an hour old; an older one while it does not answer.

        Raises:
            Unreachable.
        """
        now = time.monotonic()
        if self._known and now - self._known[0] < SECONDS:
            return self._known[1]
        address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            found = _read(address)
        except Unreachable:
            if self._known:
                return self._known[1]
            raise
        # OpenID Connect Discovery 1.0, section 4.3: another issuer's description must not be used.
        if any(not isinstance(found.get(name), str) for name in NEEDED) or (
            found["issuer"] != self.issuer
        ):
            raise Unreachable(f"{address} does not describe the issuer {self.issuer}")
        description: Description = {
            "issuer": found["issuer"],
            "authorization_endpoint": found["authorization_endpoint"],
            "token_endpoint": found["token_endpoint"],
            "jwks_uri": found["jwks_uri"],
        }
        self._known = (now, description)
        return description


def _read(address: str) -> dict[str, Any]:
    problem = ""
    for _ in range(TRIES):
        try:
            return _get(address)
        except (OSError, http.client.HTTPException, TypeError, ValueError) as error:
            problem = str(error)
    raise Unreachable(f"{address}: {problem}")


def _get(address: str) -> dict[str, Any]:
    """One request, without redirects: the issuer says where its description is."""
    parts = urlsplit(address)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
    try:
        connection.request("GET", parts.path, headers={"accept": "application/json"})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise ValueError(f"answered {answer.status}")
        found = json.loads(answer.read(MAX_BYTES))
    finally:
        connection.close()
    return dict(found)
