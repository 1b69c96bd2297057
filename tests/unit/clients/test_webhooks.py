"""Webhooks in the Python client: what the stack signs is read, and nothing else."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from overdraft.webhooks import Event, InvalidSignature, parse

from functions.deliver.sender import sign
from functions.manage import webhook_samples
from shared.events.types import TYPES

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()


def sample(kind: str) -> dict[str, Any]:
    return webhook_samples.sample("whk_x", kind, int(datetime.now(UTC).timestamp() * 1000), "n")


def signed(event: Any, *secrets: str, age: int = 0) -> tuple[str, dict[str, str]]:
    body = json.dumps(event, ensure_ascii=False)
    at = datetime.now(UTC) - timedelta(seconds=age)
    return body, sign("evt_1", at, body, secrets or (SECRET,))


@pytest.mark.parametrize("kind", TYPES)
def test_every_event_is_read(kind: str) -> None:
    given = sample(kind)
    body, headers = signed(given)
    for sent in (body, body.encode()):
        event = parse(sent, {name.title(): value for name, value in headers.items()}, SECRET)
        assert (event.id, event.type, event.data) == (given["id"], kind, given["data"])
    assert event == Event.of(json.loads(body))  # as a function behind EventBridge has it
    assert event.is_test
    assert (event.seats is not None) == isinstance(given["data"].get("seats"), dict)
    if event.usage:
        assert event.usage.used == given["data"]["usage"]["used"]
    if "customer" in given["data"] and given["data"]["customer"]:
        assert event.customer == "Test customer"


def test_while_a_secret_is_rotated_both_are_good() -> None:
    body, headers = signed(sample(TYPES[0]), OTHER, SECRET)
    for secret in (SECRET, OTHER):
        assert parse(body, headers, secret).type == TYPES[0]


@pytest.mark.parametrize(
    "damage", ["another secret", "body", "old", "new", "id", "no signature", "odd signature"]
)
def test_what_is_not_the_stacks(damage: str) -> None:
    age = {"old": 360, "new": -360}.get(damage, 0)
    body, headers = signed(
        sample(TYPES[0]), OTHER if damage == "another secret" else SECRET, age=age
    )
    if damage == "body":
        body = body.replace("Test customer", "Best customer")
    if damage == "id":
        headers["webhook-id"] = "evt_2"
    if damage == "no signature":
        del headers["webhook-signature"]
    if damage == "odd signature":
        headers["webhook-signature"] = "v1"
    with pytest.raises(InvalidSignature):
        parse(body, headers, SECRET)


@pytest.mark.parametrize("event", [{}, {"id": "x"}, [1], "text", None])
def test_what_is_signed_and_no_event(event: Any) -> None:
    body, headers = signed(event)
    with pytest.raises(ValueError, match="no event"):
        parse(body, headers, SECRET)
