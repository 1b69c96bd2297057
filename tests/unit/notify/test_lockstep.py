"""Operations side by side are to themselves as if each ran alone."""

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from functions.notify import lockstep
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key
from shared.dynamodb.requests import (
    Accepted,
    BatchGet,
    BatchPut,
    Get,
    Operation,
    Pause,
    Put,
    Query,
    Several,
)


def key(name: str) -> Key:
    return Key(f"TEST#{name}", "x")


class RecordingClient:
    """Notes every call; what touches a `broken` key fails."""

    def __init__(self, broken: Iterable[str] = ()) -> None:
        self.items: dict[Key, dict[str, Any]] = {}
        self.calls: list[Any] = []
        self._broken = {key(name) for name in broken}
        self._lock = threading.Lock()

    run = DynamoDBClient.run

    def execute(self, request: Any) -> Any:
        with self._lock:
            self.calls.append(request)
            match request:
                case Get():
                    return self.execute_many([request.key]).get(request.key)
                case BatchGet():
                    return self.execute_many(request.keys)
                case BatchPut():
                    self.check(each for each, _ in request.items)
                    self.items |= dict(request.items)  # type: ignore[arg-type]
                case Put():
                    self.check([request.key])
                    self.items[request.key] = dict(request.item)
                case _:
                    raise AssertionError(request)
            return Accepted()

    def execute_many(self, keys: Iterable[Key]) -> dict[Key, Any]:
        keys = list(keys)
        self.check(keys)
        return {each: self.items[each] for each in keys if each in self.items}

    def check(self, keys: Iterable[Key]) -> None:
        if self._broken & set(keys):
            raise PermissionError("no right")


def life(name: str) -> Operation[Any]:
    """Reads, writes with and without a condition, and returns all that it was told."""
    before = yield Get(key(name))
    yield BatchPut(((key(name), {"n": 1}), (key(f"{name}-more"), {"n": 2})))
    time = yield Pause(0)
    assert isinstance(time, int)
    replies = yield Several(tuple(Put(key(f"{name}-{i}"), {"n": i}) for i in range(3)))
    found = yield BatchGet((key(name), key(f"{name}-2"), key("nobody")))
    after = yield Get(key(f"{name}-more"))
    return before, replies, {each.pk: item["n"] for each, item in found.items()}, after


def run(dynamodb: RecordingClient, operations: list[Operation[Any]], at_once: int = 8) -> list[Any]:
    return lockstep.run(dynamodb, operations, at_once)  # type: ignore[arg-type]


def expected(name: str) -> Any:
    found = {f"TEST#{name}": 1, f"TEST#{name}-2": 2}
    return None, (Accepted(), Accepted(), Accepted()), found, {"n": 2}


@pytest.mark.parametrize("at_once", [1, 8])
def test_each_operation_gets_the_replies_it_would_get_alone(at_once: int) -> None:
    names = [f"op{number}" for number in range(30)]
    dynamodb = RecordingClient()
    assert run(dynamodb, [life(name) for name in names], at_once) == [expected(n) for n in names]


def test_reads_and_writes_are_made_together() -> None:
    dynamodb = RecordingClient()
    run(dynamodb, [life(f"op{number}") for number in range(30)])
    kinds = [type(call) for call in dynamodb.calls]
    # 30 keys; 60 items; 90 keys of which one is everybody's; 30 keys.
    assert kinds.count(BatchGet) == 1 + 1 + 1
    assert kinds.count(BatchPut) == 3
    assert kinds.count(Get) == 0
    assert kinds.count(Put) == 90
    assert all(
        len(c.items) <= lockstep.WRITTEN_TOGETHER for c in dynamodb.calls if type(c) is BatchPut
    )


@pytest.mark.parametrize("at_once", [1, 8])
@pytest.mark.parametrize("part", ["", "-more", "-1"])
def test_one_that_fails_takes_no_other_with_it(at_once: int, part: str) -> None:
    names = [f"op{number}" for number in range(12)]
    dynamodb = RecordingClient(broken=[f"op5{part}"])
    outcomes = run(dynamodb, [life(name) for name in names], at_once)
    assert isinstance(outcomes.pop(5), PermissionError)
    assert outcomes == [expected(name) for name in names if name != "op5"]


def test_what_an_operation_raises_is_its_outcome() -> None:
    def broken() -> Operation[None]:
        yield Get(key("a"))
        raise ValueError("its own")

    def at_once() -> Operation[str]:
        return "nothing to do"
        yield Get(key("a"))

    failed, shown, done = run(RecordingClient(), [broken(), life("x"), at_once()])
    assert isinstance(failed, ValueError)
    assert (shown, done) == (expected("x"), "nothing to do")


def test_a_crash_is_no_outcome() -> None:
    class Gone(BaseException):
        pass

    class Crashing(RecordingClient):
        def execute(self, request: Any) -> Any:
            raise Gone

    for number in (1, 8):
        with pytest.raises(Gone):
            run(Crashing(), [life("x"), life("y")], number)


def test_on_the_engine(dynamodb: DynamoDBClient) -> None:
    def grow(name: str) -> Operation[int]:
        yield BatchPut(tuple((key(f"{name}{i}"), {"n": i}) for i in range(7)))
        found = yield BatchGet(tuple(key(f"{name}{i}") for i in range(9)))
        result = yield Query("pk = :pk", {":pk": key(f"{name}3").pk})
        assert [item["n"] for item in result.items] == [3]
        return len(found)

    names = [f"e{number}x" for number in range(40)]
    assert lockstep.run(dynamodb, [grow(name) for name in names], 8) == [7] * 40
