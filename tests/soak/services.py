"""The services around the table, in a world: the bus, the queue, the endpoints of webhooks."""

import json
from collections import Counter
from typing import Any

from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from functions.deliver.retry_policy import Attempt
from shared.clock import now_ms
from tests.soak.world import SECOND, World
from tests.support.tables import Crash

URL = "https://deliveries"
REPORTS_URL = "https://reports"


class Services:
    """Stands for the clients of EventBridge and SQS. An entry may be refused, an answer be lost."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.events: dict[str, dict[str, Any]] = {}  # by id
        # Of each queue: when a message is due, its number, the message.
        self.queues: dict[str, list[tuple[int, int, dict[str, Any]]]] = {URL: [], REPORTS_URL: []}
        self._count = 0

    def client(self, _: str) -> "Services":
        return self

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        def take(entry: dict[str, Any]) -> None:
            event = json.loads(entry["Detail"])
            known = self.events.setdefault(event["id"], event)
            assert known["type"] == event["type"], "one id for two events"

        refused = self._send("events", Entries, take)
        results = [
            {"ErrorCode": "ThrottlingException"} if n in refused else {}
            for n in range(len(Entries))
        ]
        return {"FailedEntryCount": len(refused), "Entries": results}

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        def take(entry: dict[str, Any]) -> None:
            self.put(QueueUrl, json.loads(entry["MessageBody"]), entry.get("DelaySeconds", 0))

        refused = self._send("sqs", Entries, take)
        return {"Failed": [{"Id": Entries[n]["Id"]} for n in refused]} if refused else {}

    def change_message_visibility(self, **_: Any) -> None:
        """A message that failed comes again soon, whatever is asked for."""

    def put(self, url: str, body: dict[str, Any], delay: float = 0.0) -> None:
        """A message in a queue."""
        self._count += 1
        due = self._world.now + int(delay * SECOND)
        message = {
            "messageId": f"m{self._count}",
            "receiptHandle": f"m{self._count}",
            "body": json.dumps(body),
            "attributes": {"ApproximateReceiveCount": "1"},
        }
        self.queues[url].append((due, self._count, message))

    def _send(self, service: str, entries: list[Any], take: Any) -> set[int]:
        """Take entries but those that are refused; their positions."""
        assert 1 <= len(entries) <= 10
        assert self._world.task is not None
        plan = self._world.task.plan
        fault = plan.meet()
        self._world.sleep(0.005)
        if fault in ("refused", "cut"):
            raise ConnectTimeoutError(endpoint_url=service)
        refused = set()
        if fault in ("partial", "throttled", "conflict", "failed"):
            refused = {n for n in range(len(entries)) if plan.chance.random() < 0.5}
        for number, entry in enumerate(entries):
            if number not in refused:
                take(entry)
        if fault == "crash after":
            raise Crash
        if fault in ("lost", "failed after"):
            raise ReadTimeoutError(endpoint_url=service)
        return refused


class Sender:
    """Stands for what posts webhooks: endpoints get events, fail at times, or answer too late."""

    received: dict[str, Counter[str]]
    world: World

    def __init__(self, _: frozenset[str]) -> None: ...

    async def __aenter__(self) -> "Sender":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def post(self, url: str, event: dict[str, Any], *_: Any) -> Attempt:
        assert self.world.task is not None
        fault, at = self.world.task.plan.meet(), now_ms()
        self.world.sleep(0.02)
        if fault in ("refused", "cut"):
            return Attempt(at, 20, None, "cannot connect")
        if fault in ("throttled", "failed"):
            return Attempt(at, 20, 503, "")
        self.received.setdefault(url, Counter())[event["id"]] += 1
        if fault == "crash after":
            raise Crash
        if fault in ("lost", "failed after"):
            return Attempt(at, 15_000, None, "no answer within 15 seconds")
        return Attempt(at, 20, 200)
