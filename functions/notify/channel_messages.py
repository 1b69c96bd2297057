"""Messages for chat channels: noted when something happens, made and queued when they are due.

The stream only notes that a channel gets a message about an entitlement. Its content is read from
the evidence, as that of an e-mail is: the sum of everything since the last message, at most once an
hour. A message is claimed with its time before it is made, and its id follows from that time. So
one that is made twice is delivered once.
"""

from typing import Any

from functions.notify.emails import mailer
from functions.notify.emails import text as mail_text
from shared import aws, observability
from shared.clock import now_ms as clock
from shared.clock import to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    DUE_CHANNELS,
    Key,
    channel_key,
    entitlement_id_of,
    entitlement_key,
    webhook_key,
)
from shared.dynamodb.paging import due_keys
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    Get,
    Item,
    Operation,
    Refused,
    Update,
    send,
)
from shared.events import builders
from shared.events.builders import Event
from shared.events.types import CHANNEL_SUMMARY
from shared.history.buckets import HOUR_MS
from shared.webhooks import channels

SETTLE_SECONDS = 5  # the note is written a moment after its evidence
RETRY_SECONDS = 120


def note(entitlement_id: str, webhook_id: str, at: int, now_ms: int) -> Operation[None]:
    """Note that a channel gets a message about something that happened at `at`."""
    key = channel_key(entitlement_id, webhook_id)
    values: dict[str, Any] = {
        ":at": at,
        ":due": now_ms // 1000 + SETTLE_SECONDS,
        ":due_list": DUE_CHANNELS,
        ":one": 1,
    }
    sets = "earliest = if_not_exists(earliest, :due), sweepKey = :due_list, lastNoted = :at"
    known = f"SET {sets}, since = if_not_exists(since, :at) ADD marks :one"
    reply = yield from send(
        Update(key, known, "attribute_not_exists(since) OR since <= :at", NO_NAMES, values)
    )
    if isinstance(reply, Refused):
        # It came after the message about its time: the next one begins there again.
        yield from send(
            Update(key, f"SET {sets}, since = :at ADD marks :one", "", NO_NAMES, values)
        )


class ChannelMessages:
    """Makes the messages that are due and queues them for delivery."""

    def __init__(self, dynamodb: DynamoDBClient, queue_url: str) -> None:
        self._dynamodb = dynamodb
        self._queue = queue_url

    def send_due(self, now_ms: int, deadline_ms: int) -> dict[str, int]:
        """Queue what is due; how many messages were queued, and how many failed."""
        done = {"queued": 0, "failed": 0}
        for key in due_keys(self._dynamodb, DUE_CHANNELS, now_ms // 1000):
            if clock() > deadline_ms:
                break
            try:
                done["queued"] += self._send_one(key, now_ms)
            except Exception:  # One message must not keep the rest from being sent.
                observability.logger.exception("message failed", extra={"pk": key.pk})
                observability.count("ChannelMessageFailed")
                done["failed"] += 1
        return done

    def _send_one(self, key: Key, now_ms: int) -> bool:
        claimed = self._dynamodb.run(_claim(key, now_ms))
        if claimed is None:
            return False
        event = self._dynamodb.run(_message(key, claimed))
        if event:
            body = {"webhookId": key.sk, "event": event, "attempt": 0}
            aws.send_messages(self._queue, [body])
        self._dynamodb.run(_finish(key, claimed))
        return event is not None


def _claim(key: Key, now_ms: int) -> Operation[Item | None]:
    """Claim a due message, or one that a crash left; None: it is not due."""
    item = yield from send(Get(key))
    now = now_ms // 1000
    if item is None or item.get("earliest", now + 1) > now:
        return None
    values: dict[str, Any] = {":seen": item["earliest"]}
    following = (item.get("lastAt", 0) + HOUR_MS) // 1000
    if "pendingUntil" not in item and following > now:
        postponed = {**values, ":next": following}
        yield from send(
            Update(key, "SET earliest = :next", "earliest = :seen", NO_NAMES, postponed)
        )
        return None
    claim, condition = "SET earliest = :retry", "earliest = :seen"
    values[":retry"] = now + RETRY_SECONDS
    if "pendingUntil" not in item:
        claim += (
            ", pendingFrom = :since, pendingUntil = :until, pendingMarks = :marks"
            ", since = :until, lastAt = :until"
        )
        # Clocks differ: what was noted is included.
        until = max(now_ms, item["lastNoted"] + 1)
        values |= {":since": item["since"], ":until": until, ":marks": item["marks"]}
        condition += " AND marks = :marks"
    reply = yield from send(Update(key, claim, condition, NO_NAMES, values))
    return reply.item if isinstance(reply, Accepted) else None


def _message(key: Key, claimed: Item) -> Operation[Event | None]:
    """The message of a claim; None: nothing happened, or nobody gets it."""
    entitlement_id, webhook_id = entitlement_id_of(key.pk), key.sk
    endpoint = yield from send(Get(webhook_key(webhook_id)))
    entitlement = yield from send(Get(entitlement_key(entitlement_id)))
    if entitlement is None or endpoint is None or not endpoint["enabled"]:
        return None
    if not channels.is_channel(endpoint):
        return None
    wanted = channels.sent_types(endpoint["eventTypes"], channels.JOINED)
    since, until = claimed["pendingFrom"], claimed["pendingUntil"]
    reader = ("", "accountOwner", wanted)
    facts = yield from mailer.facts_between(entitlement, reader, since, until)
    if facts is None:
        return None
    return {
        "id": builders.event_id("channel", webhook_id, entitlement_id, since, until),
        "type": CHANNEL_SUMMARY,
        "timestamp": to_rfc3339(until),
        "data": {
            "entitlementId": entitlement_id,
            "actor": "notify",
            "summary": mail_text.message_of(facts),
        },
    }


def _finish(key: Key, claimed: Item) -> Operation[None]:
    """The message is queued: nothing is due, unless something was noted meanwhile."""
    values = {":marks": claimed["pendingMarks"], ":until": claimed["pendingUntil"]}
    reply = yield from send(
        Update(
            key,
            "REMOVE pendingFrom, pendingUntil, pendingMarks, earliest, since",
            "marks = :marks AND pendingUntil = :until",
            NO_NAMES,
            values,
        )
    )
    if isinstance(reply, Refused):
        following = (claimed["pendingUntil"] + HOUR_MS) // 1000
        yield from send(
            Update(
                key,
                "SET earliest = :next REMOVE pendingFrom, pendingUntil, pendingMarks",
                "pendingUntil = :until",
                NO_NAMES,
                {":next": following, ":until": claimed["pendingUntil"]},
            )
        )
