"""The clock of an overdraft of a sharded usage limit: from reports to notices."""

import pytest

from functions.release.due import do_due
from functions.release.overdraft_notices import give_notice
from functions.release.sweeper import sweep
from shared.audit import Change
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    DUE_OVERDRAFTS,
    USAGE_PREFIX,
    entitlement_key,
    overdraft_clock_key,
    usage_key,
    usage_meter,
)
from shared.dynamodb.requests import Get, Put
from shared.entitlements.model import entitlement_item
from shared.overdraft_clock import OverdraftPeriod
from shared.usage import sharded
from shared.usage.counter import Counter, UsageTerms
from shared.usage.terms import new_counter
from tests.support.life import DOCUMENT, read_stream
from tests.support.notifier import Notifier, Recorder
from tests.support.patching import patch_constant
from tests.support.seats import NOW, NOW_MS, new_id
from tests.support.tables import acting_as, read_item

HOUR = 3_600


def test_what_shards_report_starts_the_clock_and_leads_to_notices(
    dynamodb: DynamoDBClient, engine_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_constant(monkeypatch, "shared.usage", "SHARDS", 3)
    limit = (new_id(), "exports")
    item = entitlement_item(limit[0], DOCUMENT, version=1, created_at=NOW_MS, now_ms=NOW_MS)
    dynamodb.execute(Put(entitlement_key(limit[0]), item))
    period = OverdraftPeriod(2 * HOUR, HOUR)
    valid = UsageTerms(20, 150, "never", "UTC", "active", 0, None, period)
    dynamodb.execute(new_counter(*limit, valid, Change("k", "r", NOW_MS)))
    dynamodb.execute(sharded.start_sharding(limit))
    recorder, delivered = Recorder(), 0

    def deliver(now_ms: int) -> None:
        nonlocal delivered
        records = read_stream(engine_url, dynamodb.name, (USAGE_PREFIX, "CLOCK#"))
        assert Notifier(dynamodb, recorder, now_ms=now_ms).deliver(records[delivered:]) is None
        delivered = len(records)

    for number in range(25):
        change = Change("k", f"r{number}", NOW_MS)
        dynamodb.run(sharded.consume(*limit, f"request{number:05d}", 1, change), lambda: NOW_MS)
    # Nobody asks any more: the sweep collects what was used.
    with acting_as("ReleaseRole", dynamodb):
        for minute in (1, 2):
            later = NOW_MS + minute * 60_000 + 30_000
            monkeypatch.setattr("shared.clock.now_ms", lambda later=later: later)
            sweep(dynamodb, f"sweep-{minute}", later, later + 60_000)
    deliver(NOW_MS + 200_000)
    counter = Counter.of(read_item(dynamodb, usage_key(*limit)))
    assert counter.used == 25
    assert counter.clock
    assert NOW <= counter.clock.since <= NOW + 200
    key = overdraft_clock_key(limit[0], usage_meter("exports"))
    assert (dynamodb.execute(Get(key)) or {})["overdraftEndsAt"] == counter.clock.ends_at
    end = counter.clock.ends_at
    with acting_as("ReleaseRole", dynamodb):
        assert do_due(dynamodb, DUE_OVERDRAFTS, give_notice, end, 10**15) == 1
    deliver(end * 1000)
    deliver(end * 1000)
    events = [event for event in recorder.events if "overdraft.ended" in event["type"]]
    assert [event["type"] for event in events] == ["entitlement.usage.overdraft.ended"]
    assert events[0]["data"]["usage"]["used"] == 25
