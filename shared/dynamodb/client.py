"""The client of DynamoDB: requests, retries, errors (see `shared.aws_json` for what is below)."""

import base64
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack

import orjson

from shared.aws_json import AwsJson, Failures, Place, Service, code_of, place_of
from shared.clock import now_ms
from shared.dynamodb.keys import Key
from shared.dynamodb.marshalling import (
    IS_READABLE,
    item_from_wire,
    item_to_wire,
    key_to_wire,
    to_wire,
)
from shared.dynamodb.requests import (
    Accepted,
    BatchGet,
    BatchPut,
    Cancelled,
    Conflicted,
    Delete,
    DynamoDBError,
    Found,
    Get,
    Item,
    Once,
    Operation,
    Pause,
    Put,
    Query,
    Refused,
    ReplyT_co,
    Request,
    ResultT,
    Several,
    Throttled,
    Transact,
    Unavailable,
    Update,
    Value,
)


def _conditions(request: Update | Put | Delete) -> dict[str, Any]:
    # A write that has not read the item must not change an item that this code cannot read.
    condition = request.condition
    if condition:
        condition = f"({condition})" if " OR " in condition else condition
        condition += " AND "
    body: dict[str, Any] = {
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        "ConditionExpression": condition + IS_READABLE,
    }
    if request.names:
        body["ExpressionAttributeNames"] = dict(request.names)
    if request.values:
        body["ExpressionAttributeValues"] = {k: to_wire(v) for k, v in request.values.items()}
    return body


def _write_body(request: Update | Put | Delete) -> tuple[str, dict[str, Any]]:
    body = _conditions(request)
    if isinstance(request, Put):
        body["Item"] = {**key_to_wire(request.key), **item_to_wire(request.item)}
        return "Put", body
    body["Key"] = key_to_wire(request.key)
    if isinstance(request, Update):
        body["UpdateExpression"] = request.expression
        return "Update", body
    return "Delete", body


# --- The client -----------------------------------------------------------------------------------

_SERVICE = Service("dynamodb", "DynamoDB_20120810", "1.0")
CONNECT_SECONDS = 1.0
READ_SECONDS = 3.0
CONNECTIONS = 32
# Attempts for a request that fails, and for one that is throttled.
ATTEMPTS = 4
THROTTLED_ATTEMPTS = 8
# The longest wait between two attempts: for a caller, and for work in the background.
LONGEST_WAIT = 0.4
LONGEST_BACKGROUND_WAIT = 5.0
_THROTTLED = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)
_RETRIED = _THROTTLED | {
    "InternalServerError",
    "ItemCollectionSizeLimitExceededException",
    "ServiceUnavailable",
    "TransactionInProgressException",
}


class _Rejected(DynamoDBError):
    def __init__(self, code: str, body: dict[str, Any]) -> None:
        super().__init__(code)
        self.code = code
        self.body = body


class _Throttled(Unavailable):
    """A request that is not repeated was throttled."""


class DynamoDBClient:
    """A client of one table, with one warm connection pool.

    `meter`, if given, is called after every answer with the operation's name and the capacity units
    that it consumed.
    """

    # How many calls of `Several` are made at the same time.
    at_once = 16

    def __init__(
        self,
        name: str,
        *,
        meter: Callable[[str, float], None] | None = None,
        **place: Unpack[Place],
    ) -> None:
        self.name = name
        self._meter = meter
        self._deadline = float("inf")
        self._is_background = False
        self._aws = AwsJson(
            _SERVICE,
            connect_seconds=CONNECT_SECONDS,
            read_seconds=READ_SECONDS,
            connections=CONNECTIONS,
            **place,
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "DynamoDBClient":
        """The client of a deployed function: `TABLE_NAME`, and what Lambda sets by itself."""
        return cls(environ["TABLE_NAME"], **place_of("dynamodb", environ))

    def execute(self, request: Request[ReplyT_co]) -> ReplyT_co:
        """Carry out one request and return its reply.

        Raises:
            Unavailable: no answer within the bounded retries.
            DynamoDBError: DynamoDB rejects the request itself.
        """
        reply: Any
        if isinstance(request, Once):
            try:
                reply = self._reply(request.request, once=True)
            except _Throttled:
                reply = Throttled()
        else:
            reply = self._reply(request)
        return reply  # type: ignore[no-any-return] # each branch replies with the request's type

    def _reply(self, request: Request[Any], *, once: bool = False) -> Any:
        """`once`: a request that is throttled is not repeated."""
        if isinstance(request, Get):
            key = {"Key": key_to_wire(request.key), "ConsistentRead": True}
            answer = self._call("GetItem", key, once=once)
            return item_from_wire(answer["Item"]) if "Item" in answer else None
        if isinstance(request, Query):
            return self._query(request, once=once)
        if isinstance(request, Update | Put | Delete):
            return self._write(request, once=once)
        if isinstance(request, Transact):
            return self._transact(request)
        return self._reply_to_many(request)

    def _reply_to_many(self, request: Request[Any]) -> Any:
        if isinstance(request, BatchGet):
            return self._batch_get(request.keys)
        if isinstance(request, BatchPut):
            return self._batch_put(request.items)
        if isinstance(request, Several):
            return self._several(request.requests)
        raise TypeError(f"{type(request).__name__} is no request of DynamoDB")

    def _write(
        self, request: Update | Put | Delete, *, once: bool
    ) -> Accepted | Refused | Conflicted:
        verb, body = _write_body(request)
        if verb == "Update":
            body["ReturnValues"] = "ALL_NEW"
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = self._call(f"{verb}Item", body, once=once)
            except _Rejected as rejected:
                if rejected.code == "ConditionalCheckFailedException":
                    old = rejected.body.get("Item")
                    return Refused(item_from_wire(old) if old else None)
                if rejected.code != "TransactionConflictException":
                    raise DynamoDBError(rejected.code) from rejected
                if request.condition:
                    return Conflicted()
                # Callers do not check the reply of a write without a condition, so it has to
                # succeed.
                if self._gives_up(attempt, THROTTLED_ATTEMPTS):
                    raise Unavailable("a transaction was always in the way") from rejected
                self._wait(attempt)
                continue
            new = answer.get("Attributes")
            return Accepted(item_from_wire(new) if new else None)

    def answer_within(self, seconds: float, *, is_background: bool = False) -> None:
        """Begin no attempt later than this from now on; raise `Unavailable` instead.

        `is_background`: nobody waits for an answer. So a table that is throttled or unavailable is
        waited for until then: in the work of the stream, of queues and of schedules.
        """
        self._deadline = time.monotonic() + seconds
        self._is_background = is_background

    def _gives_up(self, attempt: int, most: int) -> bool:
        """Whether to make no further attempt after this one."""
        is_late = time.monotonic() > self._deadline
        return is_late or (attempt >= most and not self._is_background)

    def _wait(self, attempt: int) -> None:
        longest = LONGEST_BACKGROUND_WAIT if self._is_background else LONGEST_WAIT
        left = max(0.0, self._deadline - time.monotonic())
        time.sleep(min(backoff_seconds(attempt, longest), left))

    def run(
        self,
        operation: Operation[ResultT],
        clock: Callable[[], int] | None = None,
        *,
        waits: bool = True,
    ) -> ResultT:
        """Run an operation and return its outcome.

        After a pause `clock` gives the time in Unix milliseconds; by default it is this machine's.
        """
        reply: Any = None
        while True:
            try:
                request = operation.send(reply)
            except StopIteration as stop:
                result: ResultT = stop.value
                return result
            if isinstance(request, Pause):
                if waits:
                    time.sleep(backoff_seconds(request.attempt))
                reply = (clock or now_ms)()
            else:
                reply = self.execute(request)

    def _query(self, request: Query, *, once: bool) -> Found:
        body: dict[str, Any] = {
            "KeyConditionExpression": request.condition,
            "ExpressionAttributeValues": {k: to_wire(v) for k, v in request.values.items()},
            "ScanIndexForward": not request.descending,
        }
        if request.names:
            body["ExpressionAttributeNames"] = dict(request.names)
        if request.index_name:
            body["IndexName"] = request.index_name
        else:
            body["ConsistentRead"] = True
        if request.filter:
            body["FilterExpression"] = request.filter
        if request.limit:
            body["Limit"] = request.limit
        if request.start:
            body["ExclusiveStartKey"] = item_to_wire(request.start)
        answer = self._call("Query", body, once=once)
        last = answer.get("LastEvaluatedKey")
        return Found(
            [item_from_wire(item) for item in answer["Items"]],
            item_from_wire(last) if last else None,
        )

    def _several(self, requests: Iterable[Request[Any]]) -> tuple[Any, ...]:
        if self.at_once == 1:
            return tuple(map(self.execute, requests))
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - few calls need it

        with ThreadPoolExecutor(self.at_once) as threads:
            return tuple(threads.map(self.execute, requests))

    def _batch_get(self, keys: Iterable[Key]) -> dict[Key, Item]:
        found: dict[Key, Item] = {}
        wanted = [key_to_wire(key) for key in dict.fromkeys(keys)]

        def read(part: list[Any]) -> list[Any]:
            answer = self._call(
                "BatchGetItem",
                {"RequestItems": {self.name: {"Keys": part, "ConsistentRead": True}}},
            )
            for wire in answer["Responses"].get(self.name, []):
                item = item_from_wire(wire)
                found[Key(item["pk"], item["sk"])] = item
            unread = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            return list(unread)

        self._in_parts(wanted, 100, read)
        return found

    def _batch_put(self, items: Iterable[tuple[Key, Mapping[str, Value]]]) -> Accepted:
        # The last one for a key wins: one call takes each key once.
        wanted = [
            {"PutRequest": {"Item": {**key_to_wire(key), **item_to_wire(item)}}}
            for key, item in dict(items).items()
        ]

        def write(part: list[Any]) -> list[Any]:
            answer = self._call("BatchWriteItem", {"RequestItems": {self.name: part}})
            return list(answer.get("UnprocessedItems", {}).get(self.name, []))

        self._in_parts(wanted, 25, write)
        return Accepted()

    def _in_parts(
        self, wanted: list[Any], size: int, call: Callable[[list[Any]], list[Any]]
    ) -> None:
        """Call with parts of a list; what a call leaves undone is tried again.

        The time without progress is bounded: a throttled table processes a part of a batch.
        """
        attempt = 0
        while wanted:
            part = wanted[:size]
            left = call(part)
            wanted = left + wanted[size:]
            attempt = 0 if not left else attempt + 1 if len(left) == len(part) else 1
            if left and self._gives_up(attempt, THROTTLED_ATTEMPTS):
                raise Unavailable("a batch was left unprocessed")
            if left:
                self._wait(attempt)

    def _transact(self, request: Transact) -> Accepted | Cancelled | Conflicted:
        actions = []
        for action in request.actions:
            verb, body = _write_body(action)
            actions.append({verb: {"TableName": self.name, **body}})
        # The token makes our own repetition after a lost answer harmless.
        token = base64.urlsafe_b64encode(os.urandom(24)).decode()
        try:
            self._call(
                "TransactWriteItems", {"TransactItems": actions, "ClientRequestToken": token}
            )
        except _Rejected as rejected:
            if rejected.code == "TransactionConflictException":
                return Conflicted()
            if rejected.code != "TransactionCanceledException":
                raise DynamoDBError(rejected.code) from rejected
            reasons = rejected.body["CancellationReasons"]
            codes = {reason.get("Code", "None") for reason in reasons}
            if "ConditionalCheckFailed" in codes:
                return Cancelled(
                    tuple(
                        (
                            reason.get("Code") == "ConditionalCheckFailed",
                            item_from_wire(reason["Item"]) if reason.get("Item") else None,
                        )
                        for reason in reasons
                    )
                )
            if codes <= {"None", "TransactionConflict"}:
                return Conflicted()
            raise DynamoDBError(f"transaction cancelled: {sorted(codes)}") from rejected
        return Accepted()

    def _call(self, operation: str, body: dict[str, Any], *, once: bool = False) -> dict[str, Any]:
        if not operation.startswith(("Transact", "Batch")):
            body["TableName"] = self.name
        if self._meter:
            body["ReturnConsumedCapacity"] = "TOTAL"
        payload = orjson.dumps(body)
        problem, attempt, most = "out of time", 0, ATTEMPTS
        while not self._gives_up(attempt, most):
            if attempt:
                self._wait(attempt)
            attempt += 1
            try:
                status, answer = self._send(operation, payload)
            except Failures as error:
                problem = type(error).__name__
                continue
            if status == 200:
                if self._meter:
                    consumed = answer.get("ConsumedCapacity") or {}
                    parts = consumed if isinstance(consumed, list) else [consumed]
                    self._meter(operation, sum(part.get("CapacityUnits", 0.0) for part in parts))
                return answer
            code = code_of(status, answer)
            is_throttled = code in _THROTTLED or _is_throttled(answer)
            if status < 500 and code not in _RETRIED and not is_throttled:
                raise _Rejected(code, answer)
            if once and is_throttled and attempt == 1:  # of a lost attempt, nobody knows
                raise _Throttled(code)
            problem, most = code, THROTTLED_ATTEMPTS if is_throttled else ATTEMPTS
        raise Unavailable(f"{operation}: {problem}")

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        return self._aws.send(operation, payload)


def _is_throttled(answer: Mapping[str, Any]) -> bool:
    reasons = answer.get("CancellationReasons") or []
    codes = {reason.get("Code") for reason in reasons}
    return bool(codes & {"ThrottlingError", "ProvisionedThroughputExceeded"})


def backoff_seconds(attempt: int, longest: float = LONGEST_WAIT) -> float:
    """Full jitter: a random wait up to 25 ms, 50 ms, 100 ms, ... and never above the longest."""
    return random.uniform(0, min(longest, 0.025 * 2 ** min(attempt - 1, 20))) if attempt else 0.0
