"""A small client of the API, for the demo and the tests."""

import json
from typing import Any, NamedTuple

import urllib3

from local.emulator import LocalError


class Answer(NamedTuple):
    """An answer: its body is parsed where it is JSON. Header names are lower-case."""

    status: int
    body: Any
    headers: dict[str, str]


class Api:
    """Calls `url` with one credential, such as `Bearer <key>`; safe to share between threads."""

    def __init__(self, url: str, credential: str = "") -> None:
        self._url = url
        self._credential = credential
        # No retry: a test or a demo must see what the first call did.
        self._http = urllib3.PoolManager(
            maxsize=16, timeout=urllib3.Timeout(connect=5, read=60), retries=False
        )

    def with_credential(self, credential: str) -> "Api":
        """The same API, called by somebody else."""
        return Api(self._url, credential)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """One request; `raw` is sent as it is, in place of a JSON body."""
        sent = {"authorization": self._credential} if self._credential else {}
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            sent["content-type"] = "application/json"
        sent |= headers or {}
        response = self._http.request(method, self._url + path, body=data, headers=sent)
        text = response.data.decode()
        received = {name.lower(): value for name, value in response.headers.items()}
        is_json = "json" in received.get("content-type", "") and text
        return Answer(response.status, json.loads(text) if is_json else text, received)

    def expect(self, status: int, method: str, path: str, body: Any = None) -> Any:
        """The body of an answer that must have this status; LocalError otherwise."""
        answer = self.call(method, path, body)
        if answer.status != status:
            raise LocalError(f"{method} {path} answered {answer.status}: {answer.body}")
        return answer.body
