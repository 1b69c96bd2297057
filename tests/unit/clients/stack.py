"""The real functions as a stack for a client, with a network in between that may fail."""

import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import httpx

from shared.api.routes import ROUTES
from tests.support.requests import event
from tests.unit.conftest import Api

# What a network can do to one request.
FAULTS = ("refused", "lost", "hung", "portal", "blocked", "redirect", "busy", "broken", "html")


class Network:
    """What lies between a client and the functions. `faults` come first, one for each request.

    `is_down`: everything is refused. Faults: `refused` (no connection), `lost` (it is done, and the
    answer is lost), `hung` (nothing is done), `portal` (a page with 200), `blocked` (a proxy's page
    with 403), `redirect`, `busy` (429 of the gateway), `broken` (503 of the gateway), `html` (502).
    """

    def __init__(self, api: Api, now_ms: Callable[[], int]) -> None:
        self._api = api
        self._now_ms = now_ms
        self.faults: list[str] = []
        self.is_down = False
        self.seen: list[tuple[str, str]] = []
        self.keys: list[str] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.method, request.url.path))
        self.keys.append(request.headers.get("idempotency-key", ""))
        fault = "refused" if self.is_down else self.faults.pop(0) if self.faults else ""
        if fault == "refused":
            raise httpx.ConnectError("connection refused", request=request)
        if fault == "hung":
            raise httpx.ReadTimeout("timed out", request=request)
        page = {"content-type": "text/html", "date": formatdate(0, usegmt=True)}
        pages = {"portal": 200, "blocked": 403, "html": 502}
        if fault in pages:
            return httpx.Response(pages[fault], headers=page, text="<html>Log in</html>")
        if fault == "redirect":
            return httpx.Response(302, headers={"location": "https://hotel.example/"})
        if fault in ("busy", "broken"):
            status = 429 if fault == "busy" else 503
            return httpx.Response(status, json={"message": "Too Many Requests"})
        answer = self._answer(request)
        if fault == "lost":
            raise httpx.ReadError("connection reset", request=request)
        return answer

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        route, parameters = _route(request.method, path)
        body = request.content.decode() or None
        given = event(
            route,
            parameters,
            body,
            query=dict(request.url.params),
            headers={
                name.lower(): value
                for name, value in request.headers.items()
                if name.lower() in ("authorization", "idempotency-key", "if-match")
            },
            key=None,
        )
        answer = self._api._serve(given, None)
        headers = {**answer["headers"], "date": formatdate(self._now_ms() / 1000, usegmt=True)}
        return httpx.Response(answer["statusCode"], headers=headers, text=answer["body"])

    async def handle_async(self, request: httpx.Request) -> httpx.Response:
        return self.handle(request)


def _route(method: str, path: str) -> tuple[str, dict[str, str]]:
    parts = path.split("/")
    for route_key in ROUTES:
        verb, _, pattern = route_key.partition(" ")
        names = pattern.split("/")
        if verb != method or len(names) != len(parts):
            continue
        pairs = list(zip(names, parts, strict=True))
        if all(name == part or name.startswith("{") for name, part in pairs):
            found = {name[1:-1]: part for name, part in pairs if name.startswith("{")}
            return route_key, found
    raise AssertionError(f"no route is {method} {path}")


def problem(kind: str, status: int, **more: Any) -> httpx.Response:
    """A problem of the stack's own types."""
    body = {"type": f"https://overdraft.example/problems/{kind}", "status": status, **more}
    return httpx.Response(
        status, content=json.dumps(body), headers={"content-type": "application/problem+json"}
    )
