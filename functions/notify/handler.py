"""The reader of the table's stream: changes and denials become history, seat records and events.

Records come in order for each item, at least once. Every minute, it also sends e-mails and messages
for chat channels that are due.
"""

import os
from typing import Any

from functions.notify.batch import Batch
from functions.notify.channel_messages import ChannelMessages
from functions.notify.emails import mailer, returned_mail
from functions.notify.publisher import Publisher
from functions.notify.report_candidates import ReportCandidates
from shared import observability
from shared.aws import addresses_in
from shared.clock import now_ms
from shared.dynamodb.client import DynamoDBClient

SECONDS_TO_ANSWER = 8
GROUPS_AT_ONCE = 16

_dynamodb = DynamoDBClient.from_environment()
_publisher = Publisher(
    os.environ.get("EVENT_BUS", ""),
    os.environ.get("DELIVERIES_URL", ""),
    _dynamodb,
    os.environ.get("REPORT_JOBS_URL", ""),
)
_candidates = ReportCandidates()
_quiet_ms = int(os.environ.get("OVERDRAFT_QUIET_MINUTES", "15")) * 60_000
_channels = ChannelMessages(_dynamodb, os.environ.get("DELIVERIES_URL", ""))
_mailer = mailer.Mailer(
    _dynamodb,
    os.environ.get("EMAIL_SENDER", ""),
    os.environ.get("PUBLIC_URL", ""),
    os.environ.get("EMAIL_CONFIGURATION", ""),
    recipients=addresses_in(os.environ.get("REPORT_RECIPIENTS", "")),
    vendor=os.environ.get("PORTAL_VENDOR_NAME", ""),
    support=os.environ.get("SUPPORT_EMAIL", ""),
)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A batch of the stream, events about returned e-mail, or the schedule's tick.

    Of a batch, the answer names the first record that failed or for which no time was left. Lambda
    delivers that one and all after it again.
    """
    observability.begin(context)
    seconds = context.get_remaining_time_in_millis() / 1000 - SECONDS_TO_ANSWER
    _dynamodb.answer_within(seconds, is_background=True)
    if "Records" not in event:
        deadline_ms = now_ms() + int(seconds * 1000)
        done = _mailer.send_due(now_ms(), deadline_ms=deadline_ms)
        observability.logger.info("mails", extra=done)
        sent = _channels.send_due(now_ms(), deadline_ms)
        observability.logger.info("channel messages", extra=sent)
        observability.flush()
        return done
    if event["Records"][0].get("eventSource") == "aws:sqs":
        again = returned_mail.process(_dynamodb, event["Records"])
        observability.flush()
        return {"batchItemFailures": [{"itemIdentifier": each} for each in again]}
    batch = Batch(
        _dynamodb,
        _publisher,
        _quiet_ms,
        now_ms(),
        sends_mail=_mailer.is_on,
        candidates=_candidates,
        at_once=GROUPS_AT_ONCE,
    )
    failed = batch.process(event["Records"])
    observability.flush()
    if failed is None:
        return {"batchItemFailures": []}
    sequence = event["Records"][failed]["dynamodb"]["SequenceNumber"]
    return {"batchItemFailures": [{"itemIdentifier": sequence}]}
