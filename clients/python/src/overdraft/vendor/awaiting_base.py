"""What the methods of `AsyncVendor` call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
from typing_extensions import Self

from overdraft._requests import Reply, Retry, checked_url
from overdraft.aio import AsyncRunner
from overdraft.vendor.requests import Calls, Query


class AsyncVendorBase(AsyncRunner):
    """A stack, and an API key for it.

    Methods raise `Refused` (the stack has said no) or `Unavailable` (it has not answered).
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        retry: Retry = Retry(),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(checked_url(url), retry, transport)
        self._calls = Calls(api_key, retry)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def request(
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
        return await self._run(self._calls.send(method, path, query or {}, body, headers or {}))

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Any:
        headers = {"idempotency-key": key} if key else None
        reply = await self.request(method, path, query=query, body=body, headers=headers)
        return reply.body

    async def _list(self, path: str, query: Query) -> AsyncIterator[Any]:
        token: str | None = None
        while True:
            items, token = await self._run(self._calls.page(path, {**query, "pageToken": token}))
            for item in items:
                yield item
            if token is None:
                return
