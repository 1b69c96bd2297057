"""Journaled requests: sent late, they count once or are refused by name."""

import random
import uuid
from typing import Any

import pytest

from shared.api import app
from shared.clock import to_rfc3339
from shared.dynamodb import client as client_module
from shared.dynamodb.keys import USAGE_PREFIX
from tests.support.life import read_stream
from tests.support.notifier import Notifier
from tests.support.patching import patch_constant
from tests.support.seats import NOW_MS
from tests.unit.conftest import Api

CONSUME = "POST /v1/entitlements/{entitlementId}/usage/{key}"
USAGE = "GET /v1/entitlements/{entitlementId}/usage"
DATED = "GET /v1/entitlements/{entitlementId}/usage/{key}/dated-consumptions"
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def uuid7(at_ms: int, chance: random.Random) -> str:
    """By RFC 9562, section 5.7."""
    value = at_ms << 80 | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62)
    return str(uuid.UUID(int=value))


class Clock:
    def __init__(self) -> None:
        self.ms = NOW_MS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(app, "now_ms", lambda: made.ms)
    monkeypatch.setattr(client_module, "now_ms", lambda: made.ms)
    patch_constant(monkeypatch, "shared.usage", "LOG_SIZE", 4)
    return made


def customer(api: Api, **terms: Any) -> str:
    return api.create(seatCount=None, usageLimits=[{"key": "exports", "limit": 10**6}], **terms)


def consume(api: Api, entitlement_id: str, key: str, **body: Any) -> tuple[int, Any, Any]:
    path = {"entitlementId": entitlement_id, "key": "exports"}
    return api.call(CONSUME, path, {"quantity": 1, **body}, headers={"idempotency-key": key})


def used(api: Api, entitlement_id: str) -> int:
    _, body, _ = api.call(USAGE, {"entitlementId": entitlement_id})
    return int(body["items"][0]["usage"]["used"])


@pytest.mark.parametrize(
    ("age_ms", "problem"),
    [
        (0, None),
        (-10 * MINUTE, None),
        (-10 * MINUTE - 1, "idempotency-key-in-future"),
        (-DAY, "idempotency-key-in-future"),
        (23 * HOUR + 45 * MINUTE, None),
        (23 * HOUR + 45 * MINUTE + 1, "idempotency-key-expired"),
        (30 * DAY, "idempotency-key-expired"),
    ],
)
def test_the_window_of_a_key(api: Api, clock: Clock, age_ms: int, problem: str | None) -> None:
    entitlement_id, key = customer(api), uuid7(clock.ms - age_ms, random.Random(1))
    status, body, _ = consume(api, entitlement_id, key, journaled=True)
    if problem is None:
        assert status == 200
        assert used(api, entitlement_id) == 1
        return
    assert status == 409
    assert body["type"].endswith(f"/{problem}")
    assert body["serverTime"] == to_rfc3339(clock.ms)
    assert used(api, entitlement_id) == 0


@pytest.mark.parametrize("age_ms", [-DAY, 0, 30 * DAY])
def test_without_the_flag_a_clock_does_not_matter(api: Api, clock: Clock, age_ms: int) -> None:
    entitlement_id, key = customer(api), uuid7(clock.ms - age_ms, random.Random(2))
    assert consume(api, entitlement_id, key)[0] == 200
    assert consume(api, entitlement_id, key, journaled=False)[0] == 200
    assert used(api, entitlement_id) == 1


def test_its_key_must_contain_its_time(api: Api, clock: Clock) -> None:
    entitlement_id = customer(api)
    for key in ("export-1", str(uuid.UUID(int=4 << 76 | 2 << 62))):
        status, body, _ = consume(api, entitlement_id, key, journaled=True)
        assert (status, body["errors"][0]["in"]) == (400, "header")
    path = {"entitlementId": entitlement_id, "key": "exports"}
    status, *_ = api.call(CONSUME, path, {"quantity": 1, "journaled": True})
    assert status == 400
    status, *_ = api.call(
        CONSUME, path, {"quantity": 1, "journaled": True}, query={"dryRun": "true"}
    )
    assert status == 200
    upper = uuid7(clock.ms, random.Random(9)).upper()  # it would be another key
    assert consume(api, entitlement_id, upper, journaled=True)[0] == 400
    assert used(api, entitlement_id) == 0


@pytest.mark.parametrize("wrong", ["yes", 1, None])
def test_the_flag_is_true_or_false(api: Api, clock: Clock, wrong: object) -> None:
    status, body, _ = consume(
        api, customer(api), uuid7(clock.ms, random.Random(3)), journaled=wrong
    )
    assert (status, body["errors"][0]["pointer"]) == (400, "/journaled")


@pytest.mark.parametrize("seed", range(6))
def test_a_journal_that_is_sent_late_counts_once_or_is_refused(
    api: Api, clock: Clock, seed: int
) -> None:
    """Keys made by clocks that are wrong, sent again at any time, among other requests."""
    chance = random.Random(seed)
    entitlement_id = customer(api)
    keys = list[str]()
    accepted, refused = set[str](), 0
    others = 0
    for _ in range(60):
        clock.ms += chance.choice([1_000, MINUTE, HOUR, 7 * HOUR])
        for _ in range(chance.randrange(3)):
            others += 1
            assert consume(api, entitlement_id, uuid7(clock.ms, chance))[0] == 200
        if chance.random() < 0.5 or not keys:
            wrong_by = chance.choice([0, 9 * MINUTE, -2 * HOUR, -20 * HOUR, 3 * HOUR])
            keys.append(uuid7(clock.ms + wrong_by, chance))
        for key in chance.sample(keys, min(len(keys), 3)):
            status, body, headers = consume(api, entitlement_id, key, journaled=True)
            if status == 200:
                assert (headers.get("idempotency-replayed") == "true") == (key in accepted)
                accepted.add(key)
            else:
                assert body["type"].rsplit("/", 1)[1].startswith("idempotency-key-"), body
                refused += 1
            assert used(api, entitlement_id) == len(accepted) + others
    assert refused
    assert accepted


# --- When it happened -----------------------------------------------------------------------------


def test_when_it_happened_is_kept_for_people(api: Api, clock: Clock, engine_url: str) -> None:
    entitlement_id, chance = customer(api), random.Random(4)
    for hours in (30, 3):
        occurred = to_rfc3339(clock.ms - hours * HOUR)
        body = {"quantity": hours, "occurredAt": occurred, "journaled": True}
        assert consume(api, entitlement_id, uuid7(clock.ms, chance), **body)[0] == 200
        clock.ms += 1_000
        assert consume(api, entitlement_id, uuid7(clock.ms, chance))[0] == 200
    records = read_stream(engine_url, api.dynamodb.name, (USAGE_PREFIX,))
    Notifier(api.dynamodb, now_ms=clock.ms).deliver_all(records)
    path = {"entitlementId": entitlement_id, "key": "exports"}
    status, page, _ = api.call(DATED, path)
    assert status == 200
    assert [(each["quantity"], each["usage"]["used"]) for each in page["items"]] == [
        (3, 34),
        (30, 30),
    ]
    first = page["items"][1]
    assert first["consumedAt"] == to_rfc3339(NOW_MS)
    assert first["occurredAt"] == to_rfc3339(NOW_MS - 30 * HOUR)
    # A page goes on where the one before ended.
    _, page, _ = api.call(DATED, path, query={"limit": "1"})
    _, rest, _ = api.call(DATED, path, query={"limit": "1", "pageToken": page["nextPageToken"]})
    assert [each["quantity"] for each in (*page["items"], *rest["items"])] == [3, 30]


@pytest.mark.parametrize(
    ("occurred", "detail"),
    [
        (to_rfc3339(NOW_MS + 11 * MINUTE), "must not be in the future"),
        (to_rfc3339(NOW_MS - 401 * DAY), "400 days"),
        ("yesterday", "RFC 3339"),
        (12, "must be a string"),
    ],
)
def test_a_wrong_time(api: Api, clock: Clock, occurred: object, detail: str) -> None:
    entitlement_id = customer(api)
    key = uuid7(clock.ms, random.Random(5))
    status, body, _ = consume(api, entitlement_id, key, occurredAt=occurred)
    assert (status, body["errors"][0]["pointer"]) == (400, "/occurredAt")
    assert detail in body["detail"]
    assert used(api, entitlement_id) == 0
