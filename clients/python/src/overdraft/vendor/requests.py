"""Requests of the vendor's side of the API: how a call is made into one, and pages."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from overdraft._requests import Caller, Clock, Operation, Reply, Retry, segment
from overdraft.errors import Unavailable

Query = Mapping[str, str | int | bool | None]


class Calls(Caller):
    """Makes calls with an API key."""

    def __init__(self, api_key: str, retry: Retry) -> None:
        super().__init__("Bearer", api_key, retry, Clock())

    def send(
        self,
        method: str,
        path: str,
        query: Query,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> Operation[Reply]:
        """Make a call. A POST has a key, so it is done once, however often it is sent."""
        once = {"idempotency-key": str(uuid.uuid4())} if method == "POST" else {}
        return (yield from self._call(method, path + _search(query), body, {**once, **headers}))

    def page(self, path: str, query: Query) -> Operation[tuple[list[Any], str | None]]:
        """A page of a list, and the token of the next one."""
        body = (yield from self.send("GET", path, query, None, {})).body
        try:
            return body["items"], body["nextPageToken"]
        except (KeyError, TypeError) as error:
            raise Unavailable(f"not an answer of the stack: {error}") from None


def path_of(pattern: str, *values: str) -> str:
    """The path of a call, with the values of its parameters."""
    given = iter(values)
    return re.sub(r"\{\w+\}", lambda _: segment(next(given)), pattern)


def _search(query: Query) -> str:
    given = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }
    return f"?{urlencode(given)}" if given else ""
