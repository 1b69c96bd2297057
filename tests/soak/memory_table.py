"""A table in memory that speaks DynamoDB's wire protocol: semantics of one, and no time.

`tests/models/test_memory_table.py` sends the requests of busy stories to it and to Amazon's own
engine, and compares every answer. An index shows a change when it is due; the stream is a list.
"""

import re
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from benchmarks.scale.expressions import Item, holds, updated
from shared.dynamodb.keys import Key
from shared.dynamodb.marshalling import from_wire, to_wire

Answer = tuple[int, dict[str, Any]]
_PARTITION = re.compile(r"^\s*\(?\s*([#\w]+)\s*=\s*(:\w+)")
_NOTHING: Mapping[str, Any] = {}


class Write(NamedTuple):
    """One item, as it was and as it is now; None: there was, or is, none."""

    key: Key
    old: Item | None
    new: Item | None


def _wire(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: to_wire(value) for name, value in item.items()}


def _plain(wire: Mapping[str, Any]) -> Item:
    return {name: from_wire(value) for name, value in wire.items()}


def _key(wire: Mapping[str, Any]) -> Key:
    return Key(wire["pk"]["S"], wire["sk"]["S"])


def _error(code: str, **more: Any) -> Answer:
    return 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": code, **more}


class _Index:
    """A secondary index. `shows_all`: it has whole items, not keys alone."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self.partition, self.sort = (each["AttributeName"] for each in properties["KeySchema"])
        self.shows_all = properties["Projection"]["ProjectionType"] == "ALL"
        self._rows: dict[str, dict[Key, Item]] = {}
        self._place: dict[Key, str] = {}
        self._coming: list[tuple[int, int, Key, Item | None]] = []
        self._last_due: dict[Key, int] = {}
        self._count = 0

    def _row(self, item: Item | None) -> Item | None:
        if item is None or self.partition not in item or self.sort not in item:
            return None
        if self.shows_all:
            return item
        return {name: item[name] for name in ("pk", "sk", self.partition, self.sort)}

    def note(self, write: Write, due: int) -> None:
        old, new = self._row(write.old), self._row(write.new)
        if old == new:
            return
        # Changes of one item come in their order.
        due = max(due, self._last_due.get(write.key, 0))
        self._last_due[write.key] = due
        self._count += 1
        insort(self._coming, (due, self._count, write.key, new))

    def rows(self, partition: str, now: int) -> list[Item]:
        """What it shows of a partition, in the order of its sort key."""
        while self._coming and self._coming[0][0] <= now:
            _, _, key, row = self._coming.pop(0)
            if key in self._place:
                del self._rows[self._place.pop(key)][key]
            if row is not None:
                self._place[key] = row[self.partition]
                self._rows.setdefault(row[self.partition], {})[key] = row
        found = self._rows.get(partition, {}).values()
        return sorted(found, key=lambda row: (row[self.sort], row["pk"], row["sk"]))


class MemoryTable:
    """One table with its indexes and its stream.

    `now` is the time in any unit; `lag` says for how long the indexes do not show a write.
    `most_a_page` cuts pages of queries short. `watch` is called once after each call that wrote,
    with everything that it wrote.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        now: Callable[[], int] = lambda: 0,
        lag: Callable[[], int] = lambda: 0,
        watch: Callable[[Sequence[Write]], None] = lambda _: None,
    ) -> None:
        self.items: dict[Key, Item] = {}
        self.stream: list[Write] = []
        self.most_a_page: int | None = None
        self._partitions: dict[str, list[str]] = {}
        self._indexes = {
            each["IndexName"]: _Index(each) for each in properties["GlobalSecondaryIndexes"]
        }
        self._tokens: set[str] = set()
        self._now, self._lag, self.watch = now, lag, watch

    def answer(self, operation: str, payload: bytes) -> Answer:
        """The status and the body of the answer to a request."""
        body = orjson.loads(payload)
        answer: Answer = getattr(self, f"_{operation}")(body)
        return answer

    def partition(self, pk: str) -> list[Item]:
        """The items of a partition, in order."""
        return [self.items[Key(pk, sk)] for sk in self._partitions.get(pk, ())]

    # --- Reading ----------------------------------------------------------------------------------

    def _GetItem(self, body: Mapping[str, Any]) -> Answer:  # noqa: N802
        item = self.items.get(_key(body["Key"]))
        return 200, {} if item is None else {"Item": _wire(item)}

    def _BatchGetItem(self, body: Mapping[str, Any]) -> Answer:  # noqa: N802
        [(name, wanted)] = body["RequestItems"].items()
        keys = [_key(each) for each in wanted["Keys"]]
        if len(set(keys)) != len(keys) or len(keys) > 100:
            return _error("ValidationException")
        found = [_wire(self.items[key]) for key in keys if key in self.items]
        return 200, {"Responses": {name: found}, "UnprocessedKeys": {}}

    def _Query(self, body: Mapping[str, Any]) -> Answer:  # noqa: N802
        names = body.get("ExpressionAttributeNames", _NOTHING)
        values = _plain(body["ExpressionAttributeValues"])
        condition = body["KeyConditionExpression"]
        match = _PARTITION.match(condition)
        assert match, condition
        partition, index = values[match[2]], self._indexes.get(body.get("IndexName", ""))
        if index is None:
            rows, sort = self.partition(partition), "sk"
        else:
            assert names.get(match[1], match[1]) == index.partition, condition
            rows, sort = index.rows(partition, self._now()), index.sort
        if not body.get("ScanIndexForward", True):
            rows = rows[::-1]
        start = _plain(body["ExclusiveStartKey"]) if "ExclusiveStartKey" in body else None
        return self._page(body, rows, sort, start, (names, values))

    def _page(
        self,
        body: Mapping[str, Any],
        rows: Sequence[Item],
        sort: str,
        start: Item | None,
        given: tuple[Mapping[str, str], Mapping[str, Any]],
    ) -> Answer:
        def place(row: Item) -> Any:
            return (row[sort], row["pk"], row["sk"])

        is_descending = not body.get("ScanIndexForward", True)
        limits = [each for each in (body.get("Limit"), self.most_a_page) if each]
        most = min(limits) if limits else None
        condition, further = body["KeyConditionExpression"], body.get("FilterExpression", "")
        shown: list[dict[str, Any]] = []
        read = 0
        last: Item | None = None
        for row in rows:
            if start is not None and (
                place(row) >= place(start) if is_descending else place(row) <= place(start)
            ):
                continue
            if not holds(condition, row, *given):
                continue
            read, last = read + 1, row
            if holds(further, row, *given):
                shown.append(_wire(row))
            if read == most:
                break
        else:
            last = None
        answer: dict[str, Any] = {"Items": shown, "Count": len(shown), "ScannedCount": read}
        if last is not None:
            keys = {"pk", "sk"}
            if "IndexName" in body:
                keys |= {self._indexes[body["IndexName"]].partition, sort}
            answer["LastEvaluatedKey"] = _wire({name: last[name] for name in sorted(keys)})
        return 200, answer

    # --- Writing ----------------------------------------------------------------------------------

    def _change(self, verb: str, body: Mapping[str, Any]) -> tuple[bool, Write]:
        """What a write would do; and whether its condition holds."""
        key = _key(body["Item"] if verb == "Put" else body["Key"])
        old = self.items.get(key)
        names = body.get("ExpressionAttributeNames", _NOTHING)
        values = _plain(body.get("ExpressionAttributeValues", _NOTHING))
        if not holds(body.get("ConditionExpression", ""), old, names, values):
            return False, Write(key, old, old)
        if verb == "Put":
            return True, Write(key, old, _plain(body["Item"]))
        if verb == "Delete":
            return True, Write(key, old, None)
        before = old if old is not None else {"pk": key.pk, "sk": key.sk}
        return True, Write(key, old, updated(body["UpdateExpression"], before, names, values))

    def _keep(self, writes: Sequence[Write]) -> None:
        now = self._now()
        for write in writes:
            if write.new is None:
                if write.old is not None:
                    del self.items[write.key]
                    self._partitions[write.key.pk].remove(write.key.sk)
            else:
                self.items[write.key] = write.new
                if write.old is None:
                    insort(self._partitions.setdefault(write.key.pk, []), write.key.sk)
            for index in self._indexes.values():
                index.note(write, now + self._lag())
            if write.old != write.new:
                self.stream.append(write)
        self.watch(writes)

    def _single(self, verb: str, body: Mapping[str, Any]) -> Answer:
        is_met, write = self._change(verb, body)
        if not is_met:
            shown = {"Item": _wire(write.old)} if write.old is not None else {}
            return _error("ConditionalCheckFailedException", **shown)
        self._keep([write])
        if body.get("ReturnValues") == "ALL_NEW":
            return 200, {"Attributes": _wire(write.new or {})}
        return 200, {}

    def _PutItem(self, body: Mapping[str, Any]) -> Answer:  # noqa: N802
        return self._single("Put", body)

    def _UpdateItem(self, body: Mapping[str, Any]) -> Answer:  # noqa: N802
        return self._single("Update", body)

    def _DeleteItem(self, body: Mapping[str, Any]) -> Answer:  # noqa: N802
        return self._single("Delete", body)

    def _BatchWriteItem(self, body: Mapping[str, Any]) -> Answer:  # noqa: N802
        [wanted] = body["RequestItems"].values()
        puts = [each["PutRequest"]["Item"] for each in wanted]
        if len({_key(item) for item in puts}) != len(puts) or len(puts) > 25:
            return _error("ValidationException")
        for item in puts:
            self._keep([self._change("Put", {"Item": item})[1]])
        return 200, {"UnprocessedItems": {}}

    def _TransactWriteItems(self, body: Mapping[str, Any]) -> Answer:  # noqa: N802
        token = body.get("ClientRequestToken")
        if token in self._tokens:
            return 200, {}
        actions = [next(iter(each.items())) for each in body["TransactItems"]]
        changes = [self._change(verb, inner) for verb, inner in actions]
        keys = {write.key for _, write in changes}
        if len(keys) != len(changes) or len(changes) > 100:
            return _error("ValidationException")
        if not all(is_met for is_met, _ in changes):
            reasons = []
            for is_met, write in changes:
                reason: dict[str, Any] = {"Code": "None"}
                if not is_met:
                    reason = {"Code": "ConditionalCheckFailed"}
                    if write.old is not None:
                        reason["Item"] = _wire(write.old)
                reasons.append(reason)
            return _error("TransactionCanceledException", CancellationReasons=reasons)
        self._keep([write for _, write in changes])
        if token:
            self._tokens.add(token)
        return 200, {}


def stream_record(write: Write, number: int) -> dict[str, Any]:
    """A change as the stream carries it."""
    images = {"OldImage": write.old, "NewImage": write.new}
    return {
        "eventName": "INSERT" if write.old is None else "MODIFY" if write.new else "REMOVE",
        "eventSource": "aws:dynamodb",
        "dynamodb": {
            "Keys": {"pk": {"S": write.key.pk}, "sk": {"S": write.key.sk}},
            "SequenceNumber": str(number),
            **{name: _wire(image) for name, image in images.items() if image is not None},
        },
    }
