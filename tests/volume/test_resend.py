"""A resend of many deliveries, page by page through the queue, on Amazon's own engine."""

import json
from typing import Any

import pytest

from functions.deliver import deliveries
from functions.deliver.deliveries import Deliveries
from functions.manage import webhook_samples
from local.dynamodb import DynamoDBLocal
from shared import aws
from shared.clock import now_ms
from shared.dynamodb.keys import delivery_key
from shared.dynamodb.requests import BatchPut
from shared.events import types as event_types
from tests.support.notifier import Recorder
from tests.support.sampling import IS_SOAK
from tests.support.tables import acting_as, create_table, open_client, read_item

# Lambda stops a chain of more than 16 invocations, which is some 1,600, if it is not allowed.
COUNT = 5_000 if IS_SOAK else 1_700


def test_every_delivery_of_a_large_resend_is_queued_once(
    engine: DynamoDBLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page asks for the next: Lambda would stop a chain that long, were it not allowed."""
    dynamodb = open_client(engine.url, create_table(engine.url))
    webhook_id, now = "whk_test", now_ms()
    event = json.dumps(webhook_samples.sample(webhook_id, event_types.SEAT_DENIED, now, "nonce"))
    failed: dict[str, Any] = {
        "status": "failed",
        "event": event,
        "attemptCount": 8,
        "step": 8,
        "attempts": [],
    }
    keys = [delivery_key(webhook_id, now - number, f"evt_{number}") for number in range(COUNT)]
    dynamodb.execute(BatchPut(tuple((key, failed) for key in keys)))
    recorder = Recorder()
    monkeypatch.setattr(aws, "client", recorder.client)
    office = Deliveries(dynamodb, "queue", frozenset())
    command: dict[str, Any] = {"webhookId": webhook_id, "resend": {"since": 0}}
    pending, resent, invocations = [command], 0, 0
    with acting_as("DeliverRole", dynamodb):
        while pending:
            invocations += 1
            message = {"messageId": "m", "body": json.dumps(pending.pop())}
            recorder.messages.clear()
            assert office.deliver([message], now + 60_000) == []
            for sent in recorder.messages:
                if "resend" in sent:
                    pending.append(sent)
                else:
                    resent += 1
    assert resent == COUNT
    assert invocations >= COUNT // deliveries.RESEND_PAGE > 16
    for key in (keys[0], keys[COUNT // 2], keys[-1]):
        item = read_item(dynamodb, key)
        assert (item["status"], item["step"]) == ("pending", 0)
