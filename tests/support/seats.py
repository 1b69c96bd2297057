"""Entitlements of seats, made without the API."""

import base64
import itertools
from typing import Any

from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import seat_shard_key
from shared.dynamodb.requests import Accepted, Get, Item, Once
from shared.overdraft_clock import OverdraftPeriod
from shared.seats.terms import SeatTerms, new_shard_put

# 2049: later than the machine's clock, which an operation looks at again after a refusal.
NOW_MS = 2_500_000_000_000
NOW = NOW_MS // 1000
unique_numbers = itertools.count(1)


def timed_key(told_ms: int, number: int) -> str:
    """A request key that contains a time, like a UUIDv7."""
    return base64.urlsafe_b64encode(told_ms.to_bytes(6) + number.to_bytes(6)).decode()


def new_id() -> str:
    return f"ent_test{next(unique_numbers):08d}"


def terms(
    purchased: int = 100,
    hard_cap: int | None = 120,
    *,
    status: str = "active",
    valid_from: int = 0,
    valid_until: int | None = None,
    lease: int | None = None,
    period: tuple[int, int] | None = None,
) -> SeatTerms:
    """Terms of seats; `period` is how long an overdraft may last, and its recovery, in seconds."""
    timed = OverdraftPeriod(*period) if period else None
    return SeatTerms(
        purchased, hard_cap, status, valid_from, valid_until, lease, overdraft_period=timed
    )


def change(now_ms: int = NOW_MS, actor: str = "key_test") -> Change:
    return Change(actor, f"req-{next(unique_numbers)}", now_ms)


def make_shard(dynamodb: DynamoDBClient, entitlement_id: str, valid: SeatTerms) -> None:
    reply = dynamodb.execute(new_shard_put(entitlement_id, valid, change()))
    assert isinstance(reply, Accepted)


def asked_in(request: Any) -> Any:
    """What is asked of the table, also by a request that is made once."""
    return request.request if isinstance(request, Once) else request


def read_shard_item(dynamodb: DynamoDBClient, entitlement_id: str) -> Item:
    item = dynamodb.execute(Get(seat_shard_key(entitlement_id)))
    assert item is not None
    return dict(item)
