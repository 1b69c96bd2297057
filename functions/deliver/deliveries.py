"""Deliveries: read, decided, recorded. `sender.py` sends them.

A delivery's item counts its attempts, and a message names the count that it has seen. So a message
that comes twice, or late, finds that it has been dealt with.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from functions.deliver import messages
from functions.deliver.retry_policy import Attempt, next_wait, reason_to_disable
from functions.deliver.sender import WebhookSender
from shared import aws, mail_links, observability, report_links
from shared.clock import from_rfc3339_ms, now_ms
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    DUE_DELIVERIES,
    SWEEP_INDEX,
    Key,
    delivery_key,
    due_deliveries,
    entitlement_id_of,
    webhook_key,
    webhook_secret_key,
    webhook_state_key,
)
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    BatchGet,
    Delete,
    Item,
    Operation,
    Query,
    Transact,
    Unavailable,
    Update,
    send,
)
from shared.events.builders import Event
from shared.events.enrichment import enrich, keys_of
from shared.webhooks import channels, endpoints

AT_ONCE = 200
PER_ENDPOINT = 10
# After the start of the last attempt there must be time for its answer and for the record.
SECONDS_FOR_ATTEMPT = 20
QUEUE_SECONDS = 60  # the queue waits for shorter times, the schedule for longer ones
LEASE_SECONDS = 600
RESEND_PAGE = 100
DUE_PER_PARTITION = 300  # per run


class Job(NamedTuple):
    """A message of the queue: an anonymous event for an endpoint, after so many attempts."""

    message_id: str
    webhook_id: str
    event: Event
    attempt: int
    key: Key  # where the delivery is recorded

    @classmethod
    def of(cls, message_id: str, body: dict[str, Any]) -> "Job":
        """The job in a message's body."""
        webhook_id, event = body["webhookId"], body["event"]
        key = delivery_key(webhook_id, from_rfc3339_ms(event["timestamp"]), event["id"])
        return cls(message_id, webhook_id, event, body["attempt"], key)


class Deliveries:
    """The deliveries of one stack: its table, its queue, the hosts that may be insecure."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        queue_url: str,
        insecure: frozenset[str],
        public_url: str = "",
    ) -> None:
        self._dynamodb = dynamodb
        self._public_url = public_url
        self._queue = queue_url
        self._insecure = insecure

    # --- A batch of the queue --------------------------------------------------------------------

    def deliver(self, records: list[dict[str, Any]], deadline_ms: int) -> list[str]:
        """Deal with messages; return the ids of those that have to come again."""
        jobs: list[Job] = []
        failed: list[str] = []
        for record in records:
            try:
                body = json.loads(record["body"])
                if "resend" in body:
                    self._resend(body)
                else:
                    jobs.append(Job.of(record["messageId"], body))
            except Exception:
                observability.logger.exception("message failed")
                failed.append(record["messageId"])
        if not jobs:
            return failed
        try:
            known = self._look_up(jobs)
        except Unavailable:
            observability.logger.exception("deliveries could not be looked up")
            return [record["messageId"] for record in records]
        return failed + asyncio.run(self._deliver_all(jobs, known, deadline_ms))

    def _look_up(self, jobs: Iterable[Job]) -> dict[Key, Item]:
        keys: dict[Key, None] = {}
        for job in jobs:
            keys |= dict.fromkeys(
                (
                    job.key,
                    webhook_key(job.webhook_id),
                    webhook_secret_key(job.webhook_id),
                    webhook_state_key(job.webhook_id),
                    *keys_of(job.event),
                )
            )
        found: dict[Key, Item] = self._dynamodb.execute(BatchGet(tuple(keys)))
        return found

    async def _deliver_all(
        self, jobs: list[Job], known: Mapping[Key, Item], deadline_ms: int
    ) -> list[str]:
        """All at once, but few to one endpoint at a time, so that a dead one holds up no other."""
        overall = asyncio.Semaphore(AT_ONCE)
        endpoints: dict[str, asyncio.Semaphore] = {}
        circuits: dict[str, int] = {}
        for job in jobs:
            endpoints.setdefault(job.webhook_id, asyncio.Semaphore(PER_ENDPOINT))
            state = known.get(webhook_state_key(job.webhook_id), {})
            circuits[job.webhook_id] = state.get("openUntil", 0)
        failed = []

        async def one(job: Job, sender: WebhookSender) -> None:
            async with endpoints[job.webhook_id], overall:
                try:
                    await self._one(job, known, sender, circuits, deadline_ms)
                except Exception:
                    observability.logger.exception("delivery failed", extra=_of_log(job))
                    failed.append(job.message_id)

        async with WebhookSender(self._insecure) as sender:
            await asyncio.gather(*(one(job, sender) for job in jobs))
        return failed

    async def _one(
        self,
        job: Job,
        known: Mapping[Key, Item],
        sender: WebhookSender,
        circuits: dict[str, int],
        deadline_ms: int,
    ) -> None:
        delivery = known.get(job.key, {})
        endpoint = known.get(webhook_key(job.webhook_id))
        secret = known.get(webhook_secret_key(job.webhook_id))
        is_stale = delivery.get("attemptCount", 0) != job.attempt
        if is_stale or delivery.get("status", "pending") != "pending":
            return
        now = now_ms()
        if endpoint is None or secret is None:
            if delivery:
                await self._run(self._give_up(job, delivery, "the endpoint was deleted", now))
            return
        if not endpoint["enabled"]:
            await self._run(self._give_up(job, delivery, "the endpoint is disabled", now))
            return
        open_until = circuits[job.webhook_id]
        if open_until > now // 1000 or now + SECONDS_FOR_ATTEMPT * 1000 > deadline_ms:
            await self._run(self._defer(job, delivery, max(open_until, now // 1000 + 5), now))
            return
        event = enrich(job.event, known)
        message = await self._message(endpoint, event, now)
        attempt = await sender.post(endpoint["url"], event, _secrets(secret, now // 1000), message)
        observability.count("WebhookDelivered" if attempt.is_success else "WebhookFailed")
        observability.logger.info(
            "delivered" if attempt.is_success else "not delivered",
            extra={
                **_of_log(job),
                "code": attempt.code,
                "ms": attempt.ms,
                "error": attempt.error,
            },
        )
        was_failing = webhook_state_key(job.webhook_id) in known
        if was_failing or not attempt.is_success:
            opened = await self._run(self._judge(job.webhook_id, attempt))
            circuits[job.webhook_id] = max(circuits[job.webhook_id], opened)
        wait = await self._run(self._record(job, delivery, attempt))
        if wait is not None and wait <= QUEUE_SECONDS:
            later = {**_body(job.webhook_id, job.event, job.attempt + 1)}
            await asyncio.to_thread(self._enqueue, [later], wait)

    async def _message(self, endpoint: Item, event: Event, now: int) -> dict[str, Any] | None:
        """What a chat channel gets in place of an event; None: it is no channel."""
        if not channels.is_channel(endpoint):
            return None
        link = await self._run(self._link(event, now))
        render = messages.RENDERERS[channels.format_of(endpoint)]
        return render(messages.message_of(event, link))

    def _link(self, event: Event, now_ms: int) -> Operation[str]:
        """A link to the page of a report, or to the portal for the account owner; or empty."""
        data = event["data"]
        report_id = data.get("reportId") or data.get("trueUpId")
        if report_id and self._public_url and "test" not in data and "html" in data["formats"]:
            return (yield from report_links.link_to(report_id, "html", self._public_url, now_ms))
        return (yield from self._portal_link(data, now_ms // 1000))

    def _portal_link(self, data: Mapping[str, Any], now: int) -> Operation[str]:
        owner = ((data.get("contacts") or {}).get("accountOwner") or {}).get("email")
        if not owner or not self._public_url or "test" in data:
            return ""
        token = yield from mail_links.token_if_possible(
            data["entitlementId"], "accountOwner", owner, now
        )
        return f"{self._public_url}/portal#{token}" if token else ""

    async def _run(self, steps: Operation[Any]) -> Any:
        return await asyncio.to_thread(self._dynamodb.run, steps)

    # --- The record ------------------------------------------------------------------------------

    def _record(self, job: Job, delivery: Item, attempt: Attempt) -> Operation[int | None]:
        """Record an attempt; return the seconds until the next one, None if there is none."""
        step = delivery.get("step", 0)
        wait = None if attempt.is_success else next_wait(step, attempt)
        status = "succeeded" if attempt.is_success else "failed" if wait is None else "pending"
        logged = {"at": attempt.at, "ms": attempt.ms, "code": attempt.code, "error": attempt.error}
        due = None if wait is None else attempt.at // 1000 + wait
        sets: dict[str, Any] = {
            "status": status,
            "attemptCount": job.attempt + 1,
            "step": step + (0 if attempt.is_success else 1),
            "attempts": [*delivery.get("attempts", []), logged][-50:],
            "answer": attempt.answer,
        }
        is_queued = wait is not None and wait <= QUEUE_SECONDS
        yield from send(self._write(job, delivery, sets, due, attempt.at, is_queued=is_queued))
        return wait

    def _give_up(self, job: Job, delivery: Item, reason: str, now: int) -> Operation[None]:
        yield from send(
            self._write(job, delivery, {"status": "failed", "failure": reason}, None, now)
        )

    def _defer(self, job: Job, delivery: Item, until: int, now: int) -> Operation[None]:
        """Make no attempt now: the schedule brings it back."""
        yield from send(self._write(job, delivery, {"status": "pending"}, until, now))

    @staticmethod
    def _write(
        job: Job,
        delivery: Item,
        sets: dict[str, Any],
        due: int | None,
        now: int,
        *,
        is_queued: bool = False,
    ) -> Update:
        """Write the delivery's item, if nobody has recorded another attempt meanwhile."""
        sets = {
            "event": json.dumps(job.event, ensure_ascii=False),
            "entitlementId": job.event["data"].get("entitlementId"),
            "isTest": "test" in job.event["data"],
            "eventId": job.event["id"],
            "type": job.event["type"],
            "attemptCount": job.attempt,
            "attempts": delivery.get("attempts", []),
            "step": delivery.get("step", 0),
            "createdAt": delivery.get("createdAt", now),
            "ttl": now // 1000 + endpoints.DELIVERY_SECONDS,
            **sets,
        }
        if due is not None:
            # The queue brings these back; the schedule has to do it only if a message was lost.
            sets |= {
                "dueAt": due,
                "earliest": due + (QUEUE_SECONDS if is_queued else 0),
                "sweepKey": due_deliveries(job.webhook_id),
            }
        names = {f"#{number}": name for number, name in enumerate(sets)}
        values = {f":{number}": value for number, value in enumerate(sets.values())}
        expression = "SET " + ", ".join(f"#{number} = :{number}" for number in range(len(sets)))
        if due is None:
            expression += " REMOVE earliest"
        return Update(
            job.key,
            expression,
            "attribute_not_exists(attemptCount) OR attemptCount = :seen",
            names,
            {**values, ":seen": job.attempt},
        )

    # --- The endpoint ----------------------------------------------------------------------------

    def _judge(self, webhook_id: str, attempt: Attempt) -> Operation[int]:
        """What a failure, or the first success after one, means for an endpoint.

        Returns until when (Unix seconds) it is left alone.
        """
        key = webhook_state_key(webhook_id)
        now = attempt.at // 1000
        if attempt.is_success:
            yield from send(Delete(key))
            return 0
        reply = yield from send(
            Update(
                key,
                "SET failingSince = if_not_exists(failingSince, :now) ADD failures :one",
                "",
                NO_NAMES,
                {":now": now, ":one": 1},
            )
        )
        state = (reply.item if isinstance(reply, Accepted) else None) or {}
        reason = reason_to_disable(attempt, state.get("failingSince"), now)
        if reason:
            yield from _disable(webhook_id, reason, attempt.at)
        if state.get("failures", 0) < endpoints.CIRCUIT_FAILURES:
            return 0
        until = now + max(
            endpoints.circuit_seconds(now - state["failingSince"]), attempt.retry_after
        )
        yield from send(Update(key, "SET openUntil = :until", "", NO_NAMES, {":until": until}))
        return until

    # --- What is due, and what is resent ----------------------------------------------------------

    def send_due(self, now: int, is_time_left: Callable[[], bool]) -> int:
        """Queue the deliveries whose wait is over (`now`: Unix seconds); return how many.

        Endpoints are in 16 partitions, each with its own share of a run: the backlog of a dead
        endpoint takes no more than the share of its partition.
        """
        return sum(self._send_due_of(partition, now, is_time_left) for partition in DUE_DELIVERIES)

    def _send_due_of(self, partition: str, now: int, is_time_left: Callable[[], bool]) -> int:
        count, start = 0, None
        while count < DUE_PER_PARTITION and is_time_left():
            found = self._dynamodb.execute(
                Query(
                    "sweepKey = :due AND earliest <= :now",
                    {":due": partition, ":now": now},
                    index_name=SWEEP_INDEX,
                    limit=100,
                    start=start,
                )
            )
            keys = tuple(Key(item["pk"], item["sk"]) for item in found.items)
            items: dict[Key, Item] = self._dynamodb.execute(BatchGet(keys)) if keys else {}
            due = [key for key in keys if items.get(key, {}).get("earliest", now + 1) <= now]
            # Queued before the lease: a crash between the two queues it twice, and loses nothing.
            self._enqueue([_again(entitlement_id_of(key.pk), items[key]) for key in due])
            for key in due:
                self._dynamodb.execute(
                    Update(
                        key,
                        "SET earliest = :lease",
                        "earliest = :seen",
                        NO_NAMES,
                        {":lease": now + LEASE_SECONDS, ":seen": items[key]["earliest"]},
                    )
                )
            count += len(due)
            start = found.next
            if start is None:
                break
        return count

    def _resend(self, command: dict[str, Any]) -> None:
        """Make deliveries pending again, with all attempts, and queue them."""
        webhook_id, wanted = command["webhookId"], command["resend"]
        pk = delivery_key(webhook_id, 0, "").pk
        query = Query("pk = :pk AND sk = :sk", {":pk": pk, ":sk": wanted.get("delivery", "")})
        if "since" in wanted:
            query = Query(
                "pk = :pk AND sk >= :since",
                {":pk": pk, ":since": f"{wanted['since']:013d}", ":failed": "failed"},
                names={"#status": "status"},
                filter="#status = :failed",
                limit=RESEND_PAGE,
                start=wanted.get("start"),
            )
        found = self._dynamodb.execute(query)
        bodies = []
        for item in found.items:
            reply = self._dynamodb.execute(
                Update(
                    Key(item["pk"], item["sk"]),
                    "SET #status = :pending, step = :zero, earliest = :due, sweepKey = :key"
                    " REMOVE failure",
                    "attemptCount = :seen",
                    {"#status": "status"},
                    {
                        ":pending": "pending",
                        ":zero": 0,
                        ":due": now_ms() // 1000 + QUEUE_SECONDS,
                        ":key": due_deliveries(webhook_id),
                        ":seen": item["attemptCount"],
                    },
                )
            )
            if isinstance(reply, Accepted):
                bodies.append(_again(webhook_id, item))
        self._enqueue(bodies)
        if found.next is not None:
            start = {"pk": found.next["pk"], "sk": found.next["sk"]}
            self._enqueue([{**command, "resend": {**wanted, "start": start}}])

    def _enqueue(self, bodies: list[dict[str, Any]], wait: int = 0) -> None:
        aws.send_messages(self._queue, bodies, delay_seconds=wait)


def _of_log(job: Job) -> dict[str, Any]:
    return {
        "eventId": job.event["id"],
        "requestId": job.event["data"].get("requestId"),
        "webhookId": job.webhook_id,
        "attempt": job.attempt + 1,
    }


def _body(webhook_id: str, event: Event, attempt: int) -> dict[str, Any]:
    return {"webhookId": webhook_id, "event": event, "attempt": attempt}


def _again(webhook_id: str, delivery: Item) -> dict[str, Any]:
    return _body(webhook_id, json.loads(delivery["event"]), delivery["attemptCount"])


def _secrets(item: Item, now: int) -> list[str]:
    """The secrets in force at `now` (Unix seconds), the newest first."""
    previous = item.get("previous")
    is_valid = previous is not None and item.get("previousUntil", 0) > now
    return [item["current"], previous] if previous and is_valid else [item["current"]]


def _disable(webhook_id: str, reason: str, at: int) -> Operation[None]:
    """Disable an endpoint. The stream record of the item becomes the event."""
    write = Transact(
        (
            Update(
                webhook_key(webhook_id),
                "SET enabled = :no, disabledReason = :reason, disabledAt = :at,"
                " version = version + :one",
                "enabled = :yes",
                NO_NAMES,
                {":no": False, ":yes": True, ":reason": reason, ":at": at, ":one": 1},
            ),
            endpoints.bump_version(),
        )
    )
    yield from write_with_conflict_retry(write)  # refused: it has been disabled or deleted
