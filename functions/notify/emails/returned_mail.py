"""Returned e-mail: SES's bounces and complaints are recorded on the e-mail or report concerned.

SES itself sends nothing more to an address that bounces permanently or whose owner complains (the
stack's configuration set says so). This only records which e-mails they were.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from shared import observability
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key, mail_key, report_key
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import NO_NAMES, Operation, Update

SENT, BOUNCED, COMPLAINED = "sent", "bounced", "complained"
MAX_REASON = 500


def process(dynamodb: DynamoDBClient, records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Record each message of the queue; return the ids of those that have to come again."""
    failed: list[str] = []
    for record in records:
        try:
            dynamodb.run(_note(json.loads(record["body"])["detail"]))
        except Exception:  # The others are recorded all the same.
            observability.logger.exception("returned mail failed")
            failed.append(record["messageId"])
    return failed


def _note(detail: Mapping[str, Any]) -> Operation[None]:
    """`detail` is SES's account of one bounce or complaint, as in its event publishing."""
    status, reason, addresses = _what_happened(detail)
    tags = {name: values[0] for name, values in detail["mail"]["tags"].items()}
    write: Update | None = None
    if "reportId" in tags:
        if status != SENT:
            write = Update(
                report_key(tags["reportId"]),
                "ADD returnedFrom :addresses",
                "attribute_exists(pk)",
                NO_NAMES,
                {":addresses": frozenset(addresses)},
            )
    elif "entitlementId" in tags:
        sent_at, audience = tags["mail"].split("-")
        key = mail_key(tags["entitlementId"], int(sent_at), audience)
        write = _on_mail(key, status, reason)
    else:
        # Somebody else sends with the same configuration set.
        observability.logger.warning("returned mail of nobody's")
        return
    if write:
        yield from write_with_conflict_retry(write)
    observability.count("MailReturned")


def _on_mail(key: Key, status: str, reason: str) -> Update:
    """A status that says more replaces one that says less, in whichever order they come."""
    condition, names = "attribute_exists(pk)", dict[str, str]()
    values: dict[str, Any] = {":returned": {"status": status, "reason": reason}}
    if status == SENT:
        condition += " AND attribute_not_exists(returned)"
    elif status == BOUNCED:
        condition += " AND (attribute_not_exists(returned) OR returned.#status = :sent)"
        names, values = {"#status": "status"}, {**values, ":sent": SENT}
    return Update(key, "SET returned = :returned", condition, names, values)


def _what_happened(detail: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    """Whether it bounced or was complained about, why, and for which addresses.

    `SENT`: a transient bounce, such as a full mailbox, or an automatic answer.
    """
    if detail["eventType"] == "Complaint":
        feedback = detail["complaint"]
        people, status = feedback["complainedRecipients"], COMPLAINED
        reason = f"complaint: {feedback.get('complaintFeedbackType') or 'no reason given'}"
    else:
        feedback = detail["bounce"]
        people = feedback["bouncedRecipients"]
        status = BOUNCED if feedback["bounceType"] == "Permanent" else SENT
        parts = [f"{feedback['bounceType']} bounce, {feedback['bounceSubType']}"]
        parts += [each["diagnosticCode"] for each in people if each.get("diagnosticCode")]
        reason = ": ".join(parts)
    return status, reason[:MAX_REASON], [each["emailAddress"] for each in people]
