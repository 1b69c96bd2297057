"""Reads a table's stream and calls its function, as Lambda's event source mapping does.

It honours what the template's mapping says and the emulator does not: filter criteria, partial
failures, bisecting, bounded retries, record age, and the destination of what is given up.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from local.emulator import LocalError

# An idle stream is read at most so often, and at least so often: every read costs the machine time.
SHORTEST_WAIT = 0.02
LONGEST_WAIT = 0.1
DESCRIBE_SECONDS = 1.0
RETRY_SECONDS = 0.2

Record = dict[str, Any]


class StreamMapping:
    """One event source mapping on one stream, carried out by one thread."""

    def __init__(self, client: Callable[[str], Any], mapping: Mapping[str, Any]) -> None:
        self._streams = client("dynamodbstreams")
        self._functions = client("lambda")
        self._s3 = client("s3")
        self._mapping = mapping
        self._patterns = [
            json.loads(each["Pattern"])
            for each in mapping.get("FilterCriteria", {}).get("Filters", [])
        ]
        for pattern in self._patterns:
            check_pattern(pattern)
        destination = mapping["DestinationConfig"]["OnFailure"]["Destination"]
        kind, _, self._bucket = str(destination).partition(":::")
        if kind != "arn:aws:s3":
            raise LocalError(
                f"local/stream_mapping.py does not know the destination {destination}."
            )
        self._stopping = threading.Event()
        self._iterators: dict[str, str | None] = {}
        self._described_at = self._read_at = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop reading; what is being processed is finished."""
        self._stopping.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                now = time.monotonic()
                if self._read_once():
                    self._read_at = now
                else:
                    idle = (now - self._read_at) / 10
                    self._stopping.wait(min(max(idle, SHORTEST_WAIT), LONGEST_WAIT))
            except Exception:  # The emulator may be stopping; the next round shows.
                self._stopping.wait(RETRY_SECONDS)

    def _find_shards(self) -> None:
        stream = self._mapping["EventSourceArn"]
        description = self._streams.describe_stream(StreamArn=stream)["StreamDescription"]
        for shard in description["Shards"]:
            shard_id = shard["ShardId"]
            if shard_id not in self._iterators:
                self._iterators[shard_id] = self._streams.get_shard_iterator(
                    StreamArn=stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
                )["ShardIterator"]
        self._described_at = time.monotonic()

    def _read_once(self) -> int:
        if time.monotonic() - self._described_at > DESCRIBE_SECONDS:
            self._find_shards()
        count = 0
        for shard_id, iterator in self._iterators.items():
            if iterator is None:
                continue
            answer = self._streams.get_records(
                ShardIterator=iterator, Limit=self._mapping.get("BatchSize", 100)
            )
            batch = [record for record in answer["Records"] if self._admits(record)]
            self._deliver([_plain(record) for record in batch])
            self._iterators[shard_id] = answer.get("NextShardIterator")
            count += len(answer["Records"])
        return count

    def _admits(self, record: Record) -> bool:
        return not self._patterns or any(matches(pattern, record) for pattern in self._patterns)

    def _deliver(self, batch: list[Record], attempts: int = 0) -> None:
        """Bring a batch to its end: every record is processed, or given up and reported."""
        limit = self._mapping.get("MaximumRetryAttempts", 10_000)
        while batch and not self._stopping.is_set():
            failed = self._invoke(batch)
            if failed is None:
                return
            batch, attempts = batch[failed:], attempts + 1
            if attempts > limit or self._is_too_old(batch[0]):
                self._give_up(batch, attempts)
                return
            if self._mapping.get("BisectBatchOnFunctionError") and len(batch) > 1:
                middle = len(batch) // 2
                self._deliver(batch[:middle], attempts)
                batch = batch[middle:]
            self._stopping.wait(RETRY_SECONDS)

    def _invoke(self, batch: list[Record]) -> int | None:
        """The position of the first record that failed, None if none did."""
        answer = self._functions.invoke(
            FunctionName=self._mapping["FunctionName"],
            Payload=json.dumps({"Records": batch}).encode(),
        )
        payload = answer["Payload"].read()
        if answer.get("FunctionError"):
            return 0
        failures = (json.loads(payload or b"{}") or {}).get("batchItemFailures") or []
        named = {failure["itemIdentifier"] for failure in failures}
        positions = [
            position
            for position, record in enumerate(batch)
            if record["dynamodb"]["SequenceNumber"] in named
        ]
        return min(positions) if positions else None

    def _is_too_old(self, record: Record) -> bool:
        age = self._mapping.get("MaximumRecordAgeInSeconds", -1)
        created = record["dynamodb"].get("ApproximateCreationDateTime", time.time())
        return bool(age > 0 and time.time() - created > age)

    def _give_up(self, batch: list[Record], attempts: int) -> None:
        """What Lambda puts into a bucket: where the records were, and the records themselves."""
        numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
        moment = datetime.now(UTC)
        name = f"{moment:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
        self._s3.put_object(
            Bucket=self._bucket,
            Key=f"aws/lambda/local/shard/{name}",
            Body=json.dumps(
                {
                    "requestContext": {
                        "condition": "RetryAttemptsExhausted",
                        "approximateInvokeCount": attempts,
                    },
                    "DDBStreamBatchInfo": {
                        "streamArn": self._mapping["EventSourceArn"],
                        "startSequenceNumber": numbers[0],
                        "endSequenceNumber": numbers[-1],
                        "batchSize": len(batch),
                    },
                    "payload": json.dumps({"Records": batch}),
                }
            ).encode(),
        )


def check_pattern(pattern: Mapping[str, Any]) -> None:
    """Raise LocalError where a filter pattern compares in a way that this module does not know."""
    for wanted in pattern.values():
        if isinstance(wanted, Mapping):
            check_pattern(wanted)
            continue
        for choice in wanted:
            if isinstance(choice, Mapping) and set(choice) != {"prefix"}:
                raise LocalError(
                    f"local/stream_mapping.py does not know the filter {choice}; teach it."
                )


def matches(pattern: Mapping[str, Any], value: Any) -> bool:
    """Whether an event matches a filter pattern: nested names, literals and `prefix`."""
    for name, wanted in pattern.items():
        inner = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(wanted, Mapping):
            if not matches(wanted, inner):
                return False
        elif not any(_compare(choice, inner) for choice in wanted):
            return False
    return True


def _compare(choice: Any, value: Any) -> bool:
    if isinstance(choice, Mapping):
        return isinstance(value, str) and value.startswith(choice["prefix"])
    return bool(choice == value)


def _plain(record: Record) -> Record:
    """A record as Lambda sends it: JSON, times as Unix seconds."""
    plain: Record = json.loads(json.dumps(record, default=_number))
    return plain


def _number(value: object) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(type(value).__name__)
