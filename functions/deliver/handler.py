"""From the queue to the endpoints; and every minute, what has waited long enough."""

import os
from typing import Any

from functions.deliver.deliveries import Deliveries
from shared import table, telemetry
from shared.addresses import insecure_hosts
from shared.times import now_ms

_door = table.Table.from_environment()
_deliveries = Deliveries(
    _door,
    os.environ.get("DELIVERIES_URL", ""),
    insecure_hosts(os.environ.get("INSECURE_WEBHOOK_HOSTS", "")),
)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A batch of the queue, or the schedule's tick. Messages that are named come again."""
    telemetry.begin(context)
    left = context.get_remaining_time_in_millis()
    _door.answer_within(left / 1000 - 2, is_background=True)
    deadline = now_ms() + left
    if "Records" not in event:
        queued = _deliveries.send_due(now_ms() // 1000, lambda: now_ms() < deadline - 10_000)
        telemetry.count("DueRan")
        telemetry.flush()
        telemetry.logger.info("due", extra={"queued": queued})
        return {"queued": queued}
    failed = _deliveries.deliver(event["Records"], deadline)
    telemetry.flush()
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}
