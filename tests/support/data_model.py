"""What docs/data-model.md says of the items in the table, and whether a write agrees with it."""

import json
import re
from functools import lru_cache
from typing import Any, NamedTuple

from tools import ROOT

PAGE = (ROOT / "docs/data-model.md").read_text()
WRITES = ("PutItem", "UpdateItem", "TransactWriteItems", "BatchWriteItem")
# Attributes that every kind may have.
COMMON = {"pk", "sk", "itemFormat"}


class Described(NamedTuple):
    """A row of the page: a kind of item and the functions that write and read it."""

    kind: str
    writers: frozenset[str]
    readers: frozenset[str]


def rows() -> list[Described]:
    """The rows of the tables of kinds."""
    found = []
    for line in PAGE.splitlines():
        if match := re.match(r"\| `([A-Z_]+)[^|]*\|[^|]*\|([^|]*)\|([^|]*)\|", line):
            kind, writers, readers = match.groups()
            found.append(Described(kind, _names(writers), _names(readers)))
    return found


def _names(cell: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", cell))


@lru_cache(1)
def attributes() -> dict[str, set[str]]:
    """The attributes that the page lists for each kind."""
    found = dict[str, set[str]]()
    for kind, text in re.findall(r"^- `([A-Z_]+)`:((?:.|\n  )*)", PAGE, re.M):
        found[kind] = {*COMMON, *re.findall(r"`(\w+)`", text)}
        for letter, first, last in re.findall(r"`([a-z])(\d+)` to `[a-z](\d+)`", text):
            found[kind] |= {f"{letter}{n:02d}" for n in range(int(first), int(last) + 1)}
    return found


def undescribed(operation: str, payload: bytes) -> str | None:
    """What a call to DynamoDB writes that the page does not list; None if it lists everything."""
    if operation not in WRITES:
        return None
    for kind, names in _writes(operation, json.loads(payload)):
        unknown = names - attributes().get(kind, names)
        if unknown:
            return f"docs/data-model.md does not list {sorted(unknown)} of {kind}"
    return None


def _writes(operation: str, body: dict[str, Any]) -> list[tuple[str, frozenset[str]]]:
    """The kinds of items that a call writes, and the attributes."""
    if operation == "TransactWriteItems":
        parts = [part for action in body["TransactItems"] for part in action.values()]
    elif operation == "BatchWriteItem":
        requests = [each for table in body["RequestItems"].values() for each in table]
        parts = [part for request in requests for part in request.values()]
    else:
        parts = [body]
    return [_written(part) for part in parts]


def _written(part: dict[str, Any]) -> tuple[str, frozenset[str]]:
    kind = (part.get("Item") or part["Key"])["pk"]["S"].partition("#")[0]
    names = part.get("ExpressionAttributeNames", {})
    targets = _targets(part.get("UpdateExpression", ""))
    return kind, frozenset(part.get("Item", ())) | {names.get(name, name) for name in targets}


@lru_cache(1_000)
def _targets(expression: str) -> frozenset[str]:
    """The attributes that an update expression changes."""
    found = re.findall(r"(?:^|\b(?:SET|ADD|REMOVE)\b|,)\s*(#?[A-Za-z]\w*)", expression)
    return frozenset(found) - {"SET", "ADD", "REMOVE"}
