"""Sending webhooks: from the queue to the endpoints, and every minute what is due again."""

import os
from typing import Any

from functions.deliver.deliveries import Deliveries
from shared import observability
from shared.clock import now_ms
from shared.dynamodb.client import DynamoDBClient
from shared.webhooks.url_policy import insecure_hosts

_dynamodb = DynamoDBClient.from_environment()
_deliveries = Deliveries(
    _dynamodb,
    os.environ.get("DELIVERIES_URL", ""),
    insecure_hosts(os.environ.get("INSECURE_WEBHOOK_HOSTS", "")),
    os.environ.get("PUBLIC_URL", ""),
)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A batch of the queue, or the schedule's tick. Messages that the answer names come again."""
    observability.begin(context)
    left = context.get_remaining_time_in_millis()
    _dynamodb.answer_within(left / 1000 - 2, is_background=True)
    deadline = now_ms() + left
    if "Records" not in event:
        queued = _deliveries.send_due(now_ms() // 1000, lambda: now_ms() < deadline - 10_000)
        observability.count("DueRan")
        observability.flush()
        observability.logger.info("due", extra={"queued": queued})
        return {"queued": queued}
    failed = _deliveries.deliver(event["Records"], deadline)
    observability.flush()
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}
