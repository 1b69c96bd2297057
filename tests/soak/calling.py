"""The Python client in a world: it sends, waits and tries again by its own rules."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import overdraft
from overdraft.errors import Refused

from tests.soak.world import Plan
from tests.support.requests import event

if TYPE_CHECKING:
    from tests.soak.play import Play, Sold

MOST_TRIES = 80
ROUTES = (
    (r"POST /v1/entitlements/(?P<entitlementId>[^/]+)/activations", "activations"),
    (r"POST /v1/entitlements/(?P<entitlementId>[^/]+)/usage/(?P<key>[^/]+)", "usage/{key}"),
)


class Transport(httpx.BaseTransport):
    """What the client sends with, as far as it is used here."""

    def __init__(self, play: "Play", sold: "Sold", seed: str) -> None:
        self._play, self._sold, self._seed, self._sent = play, sold, seed, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it to the function behind its route.

        Raises:
            httpx.ReadTimeout: no answer came.
        """
        self._sent += 1
        rate = self._play.story.rate if self._sent < 20 else 0.0
        plan = Plan(f"{self._seed} client {self._sent}", rate)
        answer = self._play.product.request(self._event(request), plan)
        if answer is None:
            self._play.world.sleep(5)
            raise httpx.ReadTimeout("no answer", request=request)
        content = (answer["body"] or "").encode()
        return httpx.Response(answer["statusCode"], headers=answer["headers"], content=content)

    def _event(self, request: httpx.Request) -> dict[str, Any]:
        called = f"{request.method} {request.url.path}"
        for pattern, end in ROUTES:
            if match := re.fullmatch(pattern, called):
                route = f"{request.method} /v1/entitlements/{{entitlementId}}/{end}"
                headers = {name.lower(): value for name, value in request.headers.items()}
                body = json.loads(request.content)
                return event(route, match.groupdict(), body, headers=headers, key=self._sold.key)
        raise AssertionError(called)


def through_client(
    play: "Play", sold: "Sold", seed: str, call: Callable[[overdraft.Overdraft], Any]
) -> tuple[int, Any]:
    """What `ask` does, by the client: it gives up at times, and is then called again."""
    client = overdraft.Overdraft(
        "https://api.example",
        sold.key,
        entitlement_id=sold.id,
        offline="deny",
        stores=False,
        transport=Transport(play, sold, seed),
    )
    for _ in range(MOST_TRIES):
        try:
            done = call(client)
        except overdraft.Unavailable:
            play.world.sleep(2)
            continue
        except Refused as refused:
            return refused.status, dict(refused.problem)
        return 200, {
            "activationId": getattr(done, "activation_id", None),
            "quantity": getattr(done, "quantity", None),
        }
    play.checks.fail(f"the client had no answer after {MOST_TRIES} tries")
    raise AssertionError
