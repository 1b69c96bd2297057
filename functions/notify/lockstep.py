"""Runs several operations side by side and joins their reads and writes into batches.

An operation is a generator of requests. All operations under way make their next request in the
same round. Items that they read are read by one call, items that they put without a condition are
written by one call, and the other requests are sent at the same time. Each operation behaves as if
it ran alone. A call that fails for several is made again for each.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

from shared.clock import now_ms
from shared.dynamodb.client import DynamoDBClient, backoff_seconds
from shared.dynamodb.keys import Key
from shared.dynamodb.requests import BatchGet, BatchPut, Get, Operation, Pause, Several

# The limits of one call of DynamoDB.
READ_TOGETHER = 100
WRITTEN_TOGETHER = 25
Outcome: TypeAlias = Any  # what an operation returned, or the exception that it ended with


class _Failed(NamedTuple):
    """A failure, in place of a reply."""

    error: Exception


def run(
    dynamodb: DynamoDBClient, operations: Sequence[Operation[Any]], at_once: int
) -> list[Outcome]:
    """Run all operations; return what each returned, or the exception that it ended with.

    `at_once` calls are made at the same time. With 1, one operation runs after the other, without
    batches.
    """
    if at_once == 1:
        return [_alone(dynamodb, each) for each in operations]
    outcomes: list[Outcome] = [None] * len(operations)
    with ThreadPoolExecutor(at_once) as pool:
        waiting: dict[int, Any] = {}
        _advance(operations, dict.fromkeys(range(len(operations))), waiting, outcomes)
        while waiting:
            replies = _round(dynamodb, waiting, pool)
            waiting = {}
            _advance(operations, replies, waiting, outcomes)
    return outcomes


def _alone(dynamodb: DynamoDBClient, operation: Operation[Any]) -> Outcome:
    try:
        return dynamodb.run(_in_turn(operation))
    except Exception as error:
        return error


def _in_turn(operation: Operation[Any]) -> Operation[Any]:
    """The same operation without `Several`: its requests are made one after the other."""
    reply: Any = None
    while True:
        try:
            request = operation.send(reply)
        except StopIteration as stop:
            return stop.value
        if isinstance(request, Several):
            reply = ()
            for each in request.requests:
                reply = (*reply, (yield each))
        else:
            reply = yield request


def _advance(
    operations: Sequence[Operation[Any]],
    replies: Mapping[int, Any],
    waiting: dict[int, Any],
    outcomes: list[Outcome],
) -> None:
    """Give each operation its reply; note its next request, or how it ended."""
    for number, reply in replies.items():
        if isinstance(reply, _Failed):
            operations[number].close()
            outcomes[number] = reply.error
            continue
        try:
            waiting[number] = operations[number].send(reply)
        except StopIteration as stop:
            outcomes[number] = stop.value
        except Exception as error:
            outcomes[number] = error


def _round(
    dynamodb: DynamoDBClient, waiting: Mapping[int, Any], pool: ThreadPoolExecutor
) -> dict[int, Any]:
    """Make the request of every operation; return the replies."""
    reads = {
        number: BatchGet((request.key,)) if isinstance(request, Get) else request
        for number, request in waiting.items()
        if isinstance(request, (Get, BatchGet))
    }
    writes = {n: request for n, request in waiting.items() if isinstance(request, BatchPut)}
    others = {
        number: [
            pool.submit(_tried, dynamodb, each)
            for each in (request.requests if isinstance(request, Several) else (request,))
        ]
        for number, request in waiting.items()
        if number not in reads and number not in writes
    }
    parts = [
        *(pool.submit(_read, dynamodb, part) for part in _parts(reads, READ_TOGETHER)),
        *(pool.submit(_write, dynamodb, part) for part in _items(writes, WRITTEN_TOGETHER)),
    ]
    replies: dict[int, Any] = {}
    for done in parts:
        for number, reply in done.result().items():
            # If one of the parts of a request failed, the request failed.
            if not isinstance(replies.get(number), _Failed):
                replies[number] = reply
    for number, each_done in others.items():
        replies[number] = _joined([done.result() for done in each_done], waiting[number])
    for number, request in waiting.items():
        if isinstance(request, Get) and not isinstance(replies[number], _Failed):
            replies[number] = replies[number].get(request.key)
    return replies


def _joined(replies: list[Any], request: Any) -> Any:
    """The reply to a request that was made alone, or to several."""
    failed = [reply for reply in replies if isinstance(reply, _Failed)]
    if failed:
        return failed[0]
    return tuple(replies) if isinstance(request, Several) else replies[0]


def _tried(dynamodb: DynamoDBClient, request: Any) -> Any:
    try:
        if isinstance(request, Pause):
            time.sleep(backoff_seconds(request.attempt))
            return now_ms()
        return dynamodb.execute(request)
    except Exception as error:
        return _Failed(error)


def _parts(requests: Mapping[int, Any], most: int) -> Iterable[dict[int, Any]]:
    """Requests in parts that one call takes; a larger request is a part by itself."""
    part: dict[int, Any] = {}
    size = 0
    for number, request in requests.items():
        length = len(request[0])
        if part and size + length > most:
            yield part
            part, size = {}, 0
        part[number] = request
        size += length
    if part:
        yield part


def _read(dynamodb: DynamoDBClient, part: Mapping[int, BatchGet]) -> dict[int, Any]:
    keys = tuple({key: None for request in part.values() for key in request.keys})
    found = _tried(dynamodb, BatchGet(keys))
    if isinstance(found, _Failed):
        return {number: _tried(dynamodb, request) for number, request in part.items()}
    items: Mapping[Key, Any] = found
    return {
        number: {key: items[key] for key in request.keys if key in items}
        for number, request in part.items()
    }


def _items(requests: Mapping[int, BatchPut], most: int) -> Iterable[dict[int, BatchPut]]:
    """The items to write, in parts that one call takes; a large request is in several parts."""
    part: dict[int, BatchPut] = {}
    left = most
    for number, request in requests.items():
        items = tuple(dict(request.items).items())  # the last one for a key wins
        while items:
            part[number] = BatchPut(items[:left])
            items, left = items[left:], left - min(left, len(items))
            if not left:
                yield part
                part, left = {}, most
        if not request.items:
            part[number] = request
    if part:
        yield part


def _write(dynamodb: DynamoDBClient, part: Mapping[int, BatchPut]) -> dict[int, Any]:
    together = BatchPut(tuple(item for request in part.values() for item in request.items))
    reply = _tried(dynamodb, together)
    if isinstance(reply, _Failed):
        return {number: _tried(dynamodb, request) for number, request in part.items()}
    return dict.fromkeys(part, reply)
