"""What the methods of `Vendor` call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from typing_extensions import Self

from overdraft._requests import Reply, Retry, checked_url
from overdraft.client import Runner
from overdraft.vendor.requests import Calls, Query


class VendorBase(Runner):
    """A stack, and an API key for it.

    Methods raise `Refused` (the stack has said no) or `Unavailable` (it has not answered).
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        retry: Retry = Retry(),
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(checked_url(url), retry, transport)
        self._calls = Calls(api_key, retry)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make any call, with headers such as `If-Match`; its status, headers (`etag`) and body.

        Raises:
            Refused, Unavailable.
        """
        return self._run(self._calls.send(method, path, query or {}, body, headers or {}))

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Any:
        headers = {"idempotency-key": key} if key else None
        return self.request(method, path, query=query, body=body, headers=headers).body

    def _list(self, path: str, query: Query) -> Iterator[Any]:
        token: str | None = None
        while True:
            items, token = self._run(self._calls.page(path, {**query, "pageToken": token}))
            yield from items
            if token is None:
                return
