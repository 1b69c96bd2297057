"""The report for sales: requested by the API or the schedule, and made from the queue."""

import json
import os
from typing import Any

from functions.report import api, statement_lines, statements_api
from functions.report.pipeline import MailFailed, Mailing, StepFailed, Work, queue_at
from functions.report.statement import HistoryIncomplete
from functions.report.storage import Store
from shared import aws, observability
from shared.api import app, request
from shared.clock import now_ms, to_rfc3339
from shared.dynamodb.requests import LostRace, Put, Unavailable

# How long a failed job waits for its next attempt: an outage of an hour costs no report.
WAITS = (30, 120, 600, 3_600, 14_400)
# What a report says of a failure whose name would not help its reader.
REASONS: dict[type[BaseException], str] = {
    Unavailable: "the table did not answer",
    LostRace: "other reports were published at the same time",
    HistoryIncomplete: "history does not have every change of the period yet",
}
ATTEMPTS = len(WAITS) + 1
SECONDS_TO_ANSWER = 10

_context = app.Context()
_store = Store(os.environ.get("REPORTS_BUCKET", ""))
_jobs_url = os.environ.get("REPORT_JOBS_URL", "")
_is_quarterly = os.environ.get("QUARTERLY_REPORT") == "true"
_has_digest = os.environ.get("WEEKLY_DIGEST") == "true"
_true_up_schedule = os.environ.get("TRUE_UP_SCHEDULE", "none")
_recipients = os.environ.get("REPORT_RECIPIENTS", "")
_work = Work(
    _context.dynamodb,
    _store,
    queue_at(_jobs_url),
    Mailing(
        aws.mail_from(os.environ.get("PORTAL_VENDOR_NAME", ""), os.environ.get("EMAIL_SENDER", "")),
        aws.addresses_in(_recipients),
        os.environ.get("EMAIL_CONFIGURATION", ""),
    ),
)


HANDLERS: dict[str, request.Handler] = {
    "createReport": api.create,
    "listReports": api.list_all,
    "getReport": api.read,
    "createTrueUp": statements_api.create,
    "listTrueUps": statements_api.list_all,
    "getTrueUpStatement": statements_api.read,
    "listTrueUpStatementLines": statement_lines.list_all,
}
_serve = app.serve(HANDLERS, _context)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A call of the API, a job of the queue, or the schedule."""
    if "routeKey" in event:
        return _serve(event, context)
    observability.begin(context)
    seconds = context.get_remaining_time_in_millis() / 1000
    _context.dynamodb.answer_within(seconds - SECONDS_TO_ANSWER, is_background=True)
    if "Records" not in event:
        # Through the queue, which waits out an hour without the table: Lambda gives up what a
        # schedule invoked after two minutes.
        at = event.get("scheduledTime") or to_rfc3339(now_ms())
        of = {"publicUrl": event.get("publicUrl", ""), "what": event.get("what", "")}
        job = {"step": "ask", "scheduledTime": at, **of}
        queue_at(_jobs_url)([job])
        return {"queued": 1}
    failed = [
        {"itemIdentifier": record["messageId"]} for record in event["Records"] if not _do(record)
    ]
    observability.flush()
    return {"batchItemFailures": failed}


def _do(record: dict[str, Any]) -> bool:
    """Do one job; False: it has to come again."""
    job = json.loads(record["body"])
    if job["step"] == "ask":
        return _ask(record, job)
    attempt = 0
    try:
        attempt = _work.begin(job, now_ms() // 1000)
        if attempt > ATTEMPTS:
            _work.give_up(job["reportId"])
        else:
            _work.do(job)
    except Exception as error:
        observability.logger.exception("job failed", extra={**job, "attempt": attempt})
        _note(record, job, attempt, error)
        return False
    return True


def _ask(record: dict[str, Any], job: dict[str, Any]) -> bool:
    """Request the reports that are due; each once, however often it is called."""
    try:
        for each in _due(job):
            _context.dynamodb.execute(each)
    except Exception:
        observability.logger.exception("report not asked for", extra=job)
        attempt = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
        _come_again(record, attempt)
        return False
    return True


def _due(job: dict[str, Any]) -> list[Put]:
    """The writes that request what the schedule asks for."""
    when, url = job["scheduledTime"], job["publicUrl"]
    if job.get("what") == "digest":
        return api.scheduled_week(when, url, now_ms()) if _has_digest else []
    if job.get("what") == "trueUps":
        return statements_api.scheduled(when, _true_up_schedule, url, now_ms())
    return api.scheduled(when, url, now_ms(), is_quarterly=_is_quarterly)


def _come_again(record: dict[str, Any], attempt: int) -> None:
    """Let a message come again after the wait of its attempt."""
    try:
        aws.client("sqs").change_message_visibility(
            QueueUrl=_jobs_url,
            ReceiptHandle=record["receiptHandle"],
            VisibilityTimeout=WAITS[min(max(attempt, 1), len(WAITS)) - 1],
        )
    except Exception:  # then it comes again when its visibility timeout is over
        observability.logger.exception("wait not set")


def _note(record: dict[str, Any], job: dict[str, Any], attempt: int, error: Exception) -> None:
    """Record what went wrong, and let the job come again soon."""
    step = error.step if isinstance(error, StepFailed) else job["step"]
    cause = error.__cause__ or error
    reason = REASONS.get(type(cause), type(cause).__name__)
    try:
        if attempt <= ATTEMPTS:
            is_published = isinstance(cause, MailFailed)
            why = f"{step}: {reason}"
            _work.note_failure(job["reportId"], attempt, why, is_published=is_published)
    except Exception:
        observability.logger.exception("failure not noted", extra=job)
    _come_again(record, attempt)
