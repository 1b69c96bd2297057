"""Webhooks: check that an event is the stack's, and read it. Needs the extra `[webhooks]`.

With FastAPI:

    @app.post("/hook")
    async def hook(request: Request) -> Response:
        event = parse(await request.body(), request.headers, SECRET)
        ...
        return Response(status_code=204)

With Flask: `parse(request.get_data(), request.headers, SECRET)`. In a Lambda function behind
EventBridge nothing has to be checked: `Event.of(event["detail"])`.

An event may come more than once: its `id` is the same then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from overdraft.errors import OverdraftError
from overdraft.models import Seats, Usage, time_of


class InvalidSignature(OverdraftError):
    """It is not signed with this secret, or it is more than five minutes old: answer 400."""


@dataclass(frozen=True)
class Event:
    """An event. `data` has all of its members; the others are what most handlers look at."""

    id: str
    type: str
    timestamp: datetime
    data: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Event:
        """An event from its JSON: the body of a webhook, or the `detail` of EventBridge."""
        timestamp = time_of(given["timestamp"])
        assert timestamp is not None
        return cls(given["id"], given["type"], timestamp, given["data"])

    @property
    def entitlement_id(self) -> str | None:
        """The entitlement that it is about; a report is about none."""
        return self.data.get("entitlementId")

    @property
    def external_id(self) -> str | None:
        """Your own id of the entitlement."""
        return self.data.get("externalId")

    @property
    def customer(self) -> str | None:
        """The customer's name."""
        customer = self.data.get("customer")
        return customer["name"] if customer else None

    @property
    def seats(self) -> Seats | None:
        """The seats in use after it."""
        given = self.data.get("seats")
        return Seats.of(given) if isinstance(given, Mapping) else None

    @property
    def usage(self) -> Usage | None:
        """What is used of the usage limit after it."""
        given = self.data.get("usage")
        return Usage.of(given) if isinstance(given, Mapping) and "used" in given else None

    @property
    def is_test(self) -> bool:
        """Whether somebody only tried the endpoint."""
        return bool(self.data.get("test", False))


def parse(body: bytes | str, headers: Mapping[str, str], secret: str) -> Event:
    """The event in the body of a webhook, once its signature was checked (Standard Webhooks).

    `body` is what was received, unchanged; `secret` begins with `whsec_`.

    Raises:
        InvalidSignature.
        ValueError: it is signed, and no event; or the secret is none.
    """
    from standardwebhooks import Webhook, WebhookVerificationError  # noqa: PLC0415 - an extra

    text = body.decode() if isinstance(body, bytes) else body
    given = {name.lower(): value for name, value in headers.items()}
    webhook = Webhook(secret)  # a secret that is none is a defect of the caller
    try:
        webhook.verify(text, given)
    except (WebhookVerificationError, ValueError) as error:
        raise InvalidSignature(str(error)) from None
    try:
        return Event.of(json.loads(text))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no event: {error}") from None
