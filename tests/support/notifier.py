"""Notify as Lambda drives it, with what it sends caught: for tests of the stream's effects."""

import json
from collections.abc import Sequence
from typing import Any

from functions.notify.batch import Batch
from functions.notify.publisher import Publisher
from functions.notify.report_candidates import ReportCandidates
from shared import aws
from shared.dynamodb.client import DynamoDBClient
from tests.support.seats import NOW_MS
from tests.support.tables import Crash, acting_as

QUIET_MS = 15 * 60_000


class Recorder:
    """Stands for the clients of EventBridge, SQS and SES; fails once, at its n-th call.

    `fault`: (call, kind), with the kinds of `FaultyTable` and `some`: the first entry fails.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.mails: list[dict[str, Any]] = []
        self.fault: tuple[int, str] | None = None
        self.calls = 0

    def client(self, _: str) -> "Recorder":
        return self

    def _fault(self) -> str:
        number, self.calls = self.calls, self.calls + 1
        point, kind = self.fault or (-1, "")
        return kind if number == point else ""

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        assert 1 <= len(Entries) <= 10
        kind = self._fault()
        if kind == "before":
            raise Crash
        taken = Entries[1:] if kind == "some" else Entries
        for entry in taken:
            event = json.loads(entry["Detail"])
            assert entry["DetailType"] == event["type"]
            self.events.append(event)
        if kind == "after":
            raise Crash
        results = [{"EventId": "e"}] * len(Entries)
        if kind == "some":
            results = [{"ErrorCode": "ThrottlingException"}, *results[1:]]
        return {"FailedEntryCount": len(Entries) - len(taken), "Entries": results}

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        assert 1 <= len(Entries) <= 10
        kind = self._fault()
        if kind == "before":
            raise Crash
        taken = Entries[1:] if kind == "some" else Entries
        self.messages += [json.loads(entry["MessageBody"]) for entry in taken]
        if kind == "after":
            raise Crash
        return {"Failed": [{"Id": Entries[0]["Id"]}]} if kind == "some" else {}

    def send_email(self, **mail: Any) -> dict[str, Any]:
        kind = self._fault()
        if kind == "before":
            raise Crash
        self.mails.append(mail)
        if kind == "after":
            raise Crash
        return {"MessageId": f"m{len(self.mails)}"}


class Notifier:
    """Delivers records through a client, again and again until all are processed."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        recorder: Recorder | None = None,
        *,
        now_ms: int = NOW_MS,
        quiet_ms: int = QUIET_MS,
        candidates: ReportCandidates | None = None,
        at_once: int = 1,
    ) -> None:
        self._candidates = candidates
        self._at_once = at_once
        self.recorder = recorder or Recorder()
        self._dynamodb = dynamodb
        self._now_ms = now_ms
        self._quiet_ms = quiet_ms
        self._publisher = Publisher("bus", "queue", dynamodb)

    def deliver(self, records: Sequence[dict[str, Any]]) -> int | None:
        """One batch, once."""
        kept = aws.client
        aws.client = self.recorder.client  # type: ignore[assignment]
        try:
            batch = Batch(
                self._dynamodb,
                self._publisher,
                self._quiet_ms,
                self._now_ms,
                sends_mail=True,
                candidates=self._candidates,
                at_once=self._at_once,
            )
            with acting_as("NotifyRole", self._dynamodb):
                return batch.process(list(records))
        finally:
            aws.client = kept

    def deliver_all(self, records: Sequence[dict[str, Any]], size: int = 100) -> None:
        """In batches of a size; what failed comes again, with all that followed it."""
        for start in range(0, len(records), size):
            left = list(records[start : start + size])
            for _ in range(len(left) + 3):
                failed = self.deliver(left)
                if failed is None:
                    break
                left = left[failed:]
            else:
                raise AssertionError("the batch never came to its end")
