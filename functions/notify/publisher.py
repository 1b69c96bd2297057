"""The event publisher: to the bus, and one queue message for each webhook endpoint."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from functions.notify import channel_messages
from shared import aws, mail_links, observability, signed_tokens
from shared.clock import from_rfc3339_ms, now_ms
from shared.dynamodb.client import DynamoDBClient, backoff_seconds
from shared.dynamodb.requests import BatchGet, BatchPut, Item
from shared.events import event_log
from shared.events import types as event_types
from shared.events.builders import Event
from shared.events.enrichment import enrich, keys_of
from shared.sales import seat_requests
from shared.webhooks import channels
from shared.webhooks.endpoints import Endpoints, wants

ENTRIES = 10  # one call of either service takes this many
ATTEMPTS = 3
Entry = TypeVar("Entry")


class Failure(Exception):
    """The record at this position of the batch failed and has to come again."""

    def __init__(self, position: int) -> None:
        super().__init__(f"record {position}")
        self.position = position


class Message(NamedTuple):
    """An anonymous event for everybody, a `command` for `deliver`, or a `report` job."""

    event: Event | None = None
    command: dict[str, Any] | None = None
    report: dict[str, Any] | None = None

    @classmethod
    def of_request(cls, item: Item) -> "Message":
        """What somebody requested through the API: a test event, or a resend."""
        return cls(command=json.loads(item["command"]))


class Publisher:
    """The bus, the queue of `deliver`, and the queue of `report`."""

    def __init__(
        self, bus: str, queue_url: str, dynamodb: DynamoDBClient, reports_url: str = ""
    ) -> None:
        self._bus = bus
        self._queue = queue_url
        self._reports = reports_url
        self._dynamodb = dynamodb
        self._endpoints = Endpoints()

    def send(self, sent: Sequence[tuple[int, Message]]) -> None:
        """Send messages, each with its record's position in the batch.

        Raises:
            Failure: some could not be sent; it names the first of their records.
        """
        if not sent:
            return
        try:
            entries, bodies = self._prepare(sent)
        except Exception as error:
            observability.logger.exception("events could not be completed")
            raise Failure(sent[0][0]) from error
        jobs = [(position, message.report) for position, message in sent if message.report]
        failed = _in_parts(entries, self._put_events)
        failed += _in_parts(bodies, lambda part: self._send_messages(self._queue, part))
        failed += _in_parts(jobs, lambda part: self._send_messages(self._reports, part))
        # Now that it is sent: nothing before the first failure comes again.
        if failed:
            raise Failure(min(failed))
        observability.logger.info("events sent", extra={"events": _named(sent)})

    def _prepare(
        self, sent: Sequence[tuple[int, Message]]
    ) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
        """The entries for the bus and for the queue."""
        skeletons = [message.event for _, message in sent if message.event]
        keys = {key for event in skeletons for key in keys_of(event)}
        items = self._dynamodb.execute(BatchGet(tuple(keys))) if keys else {}
        kept = [item for event in skeletons for item in event_log.writes(event)]
        if kept:
            self._dynamodb.execute(BatchPut(tuple(kept)))
        endpoints = self._dynamodb.run(self._endpoints.current())
        entries, bodies = [], []
        noted: dict[tuple[str, str], int] = {}
        for position, message in sent:
            if message.command:
                bodies.append((position, message.command))
            if message.event is None:
                continue
            event = enrich(message.event, items)
            entries.append((position, event))
            # The queue names nobody. When `deliver` sends the event, it reads the names from the
            # table.
            for endpoint in endpoints:
                if not wants(endpoint, event):
                    continue
                if channels.is_channel(endpoint):
                    # Messages have links that are signed with it. Deliver only reads it.
                    self._dynamodb.run(signed_tokens.own_secret(mail_links.SECRET))
                    if not self._is_sent_at_once(event):
                        self._note(noted, endpoint, event)
                        continue
                body = {"webhookId": endpoint["sk"], "event": message.event, "attempt": 0}
                bodies.append((position, body))
        for (entitlement_id, webhook_id), at in noted.items():
            self._dynamodb.run(channel_messages.note(entitlement_id, webhook_id, at, now_ms()))
        return entries, bodies

    @staticmethod
    def _note(noted: dict[tuple[str, str], int], endpoint: Item, event: Event) -> None:
        """Include an event in the next message of a channel, if it is of a type that is joined."""
        if event["type"] in channels.JOINED:
            key = (event["data"]["entitlementId"], endpoint["sk"])
            at = from_rfc3339_ms(event["timestamp"])
            noted[key] = min(at, noted.get(key, at))

    def _is_sent_at_once(self, event: Event) -> bool:
        """Whether a channel gets a message of its own for an event.

        A customer's request does, unless an earlier one of the same person is open. So does a
        report, but for those of one account owner.
        """
        if (event["data"].get("filters") or {}).get("accountOwner"):
            return False
        if event["type"] != event_types.SEATS_REQUESTED:
            return event["type"] in channels.AT_ONCE
        request = event["data"]["request"]
        entitlement_id = event["data"]["entitlementId"]
        return not self._dynamodb.run(seat_requests.has_earlier(entitlement_id, request))

    def _put_events(self, part: list[tuple[int, Event]]) -> list[tuple[int, Event]]:
        answer = aws.client("events").put_events(
            Entries=[
                {
                    "EventBusName": self._bus,
                    "Source": event_types.SOURCE,
                    "DetailType": event["type"],
                    "Time": datetime.fromisoformat(event["timestamp"]),
                    "Detail": json.dumps(event, ensure_ascii=False),
                }
                for _, event in part
            ]
        )
        if not answer["FailedEntryCount"]:
            return []
        return [
            each
            for each, result in zip(part, answer["Entries"], strict=True)
            if "ErrorCode" in result
        ]

    def _send_messages(self, url: str, part: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
        return [part[failed] for failed in aws.try_messages(url, [body for _, body in part])]


def _named(sent: Sequence[tuple[int, Message]]) -> list[dict[str, Any]]:
    """For the log: each event, and the request that caused it."""
    return [
        {"id": event["id"], "type": event["type"], "requestId": event["data"].get("requestId")}
        for _, message in sent
        if (event := message.event)
    ]


def _in_parts(
    entries: list[tuple[int, Any]],
    call: Callable[[list[tuple[int, Any]]], list[tuple[int, Any]]],
) -> list[int]:
    """Send entries in parts. Entries that a call reports as failed are sent again, a bounded time.

    Returns the positions of those that could not be sent.
    """
    left = entries
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(backoff_seconds(attempt + 2))
        failed: list[tuple[int, Any]] = []
        for start in range(0, len(left), ENTRIES):
            part = left[start : start + ENTRIES]
            try:
                failed += call(part)
            except aws.Errors:
                observability.logger.exception("a part was not sent")
                failed += part
        left = failed
        if not left:
            break
    return [position for position, _ in left]
