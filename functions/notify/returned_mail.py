"""Mail that came back: what SES says of it is put on record, on the mail or the report it was of.

SES itself sends nothing more to an address that bounces for good or whose owner complains (the
stack's configuration set says so). This only says which mails that were.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from shared import table, telemetry
from shared.table import Steps, Update

BOUNCED, COMPLAINED = "bounced", "complained"
MAX_REASON = 500


def process(door: table.Table, records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Put each message of the queue on record; the ids of those that are to come again."""
    failed: list[str] = []
    for record in records:
        try:
            door.run(_note(json.loads(record["body"])["detail"]))
        except Exception:  # The others are put on record all the same.
            telemetry.logger.exception("returned mail failed")
            failed.append(record["messageId"])
    return failed


def _note(detail: Mapping[str, Any]) -> Steps[None]:
    """`detail` is SES's account of one bounce or complaint, as in its event publishing."""
    telemetry.count("MailReturned")
    status, reason, addresses = _what_happened(detail)
    tags = {name: values[0] for name, values in detail["mail"]["tags"].items()}
    if "reportId" in tags:
        yield Update(
            table.report_key(tags["reportId"]),
            "ADD returnedFrom :addresses",
            "attribute_exists(pk)",
            table.NO_NAMES,
            {":addresses": frozenset(addresses)},
        )
        return
    sent_at, audience = tags["mail"].split("-")
    # A complaint says more than a bounce, in whichever order they come.
    condition = "attribute_exists(pk)"
    if status == BOUNCED:
        condition += " AND attribute_not_exists(returned)"
    yield Update(
        table.mail_key(tags["entitlementId"], int(sent_at), audience),
        "SET returned = :returned",
        condition,
        table.NO_NAMES,
        {":returned": {"status": status, "reason": reason}},
    )


def _what_happened(detail: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    """Bounced or complained, why, and of which addresses."""
    if detail["eventType"] == "Complaint":
        told = detail["complaint"]
        people = told["complainedRecipients"]
        reason = f"complaint: {told.get('complaintFeedbackType') or 'no reason given'}"
        return COMPLAINED, reason, [each["emailAddress"] for each in people]
    told = detail["bounce"]
    people = told["bouncedRecipients"]
    parts = [f"{told['bounceType']} bounce, {told['bounceSubType']}"]
    parts += [each["diagnosticCode"] for each in people if each.get("diagnosticCode")]
    return BOUNCED, ": ".join(parts)[:MAX_REASON], [each["emailAddress"] for each in people]
