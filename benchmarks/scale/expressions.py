"""DynamoDB's expressions, as far as the functions use them: conditions and updates on plain items.

An expression is read once into a function. Paths are resolved by the names that come with each
request; a condition on what is not there is false, as in DynamoDB. `tests/models` holds this
against Amazon's own engine.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from shared.dynamodb.marshalling import to_wire

Item = dict[str, Any]
Names = Mapping[str, str]
Values = Mapping[str, Any]
Condition = Callable[[Item, Names, Values], bool]
Operand = Callable[[Item, Names, Values], Any]

_TOKEN = re.compile(r"\s*(<=|>=|<>|[()=<>,+\-]|(?:[#:][A-Za-z0-9_]|[A-Za-z_])[A-Za-z0-9_.#]*)")


class _Nothing:
    """What a path leads to that is not there."""


NOTHING = _Nothing()


def _tokens(text: str) -> list[str]:
    found, position = [], 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"not understood: {text[position:]}")
        found.append(match[1])
        position = match.end()
    return found


def _path(token: str, names: Names) -> list[str]:
    return [names[part] if part.startswith("#") else part for part in token.split(".")]


def _look(item: Item, token: str, names: Names) -> Any:
    value: Any = item
    for part in _path(token, names):
        if not isinstance(value, dict) or part not in value:
            return NOTHING
        value = value[part]
    return value


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if expected and token != expected:
            raise ValueError(f"expected {expected}, found {token}")
        self.at += 1
        return token

    # --- Operands ---------------------------------------------------------------------------------

    def operand(self) -> Operand:
        token = self.take()
        if token == "size":
            self.take("(")
            path = self.take()
            self.take(")")
            return lambda item, names, _: _size(_look(item, path, names))
        if token == "if_not_exists":
            self.take("(")
            path = self.take()
            self.take(",")
            other = self.operand()
            self.take(")")
            return lambda item, names, values: _or(
                _look(item, path, names), other, item, names, values
            )
        if token.startswith(":"):
            return lambda _, __, values: values[token]
        return lambda item, names, _: _look(item, token, names)

    def sum(self) -> Operand:
        first = self.operand()
        if self.peek() not in ("+", "-"):
            return first
        sign = 1 if self.take() == "+" else -1
        second = self.operand()
        return lambda item, names, values: (
            first(item, names, values) + sign * second(item, names, values)
        )

    # --- Conditions -------------------------------------------------------------------------------

    def either(self) -> Condition:
        found = self.both()
        while self.peek() == "OR":
            self.take()
            found = _either(found, self.both())
        return found

    def both(self) -> Condition:
        found = self.single()
        while self.peek() == "AND":
            self.take()
            found = _both(found, self.single())
        return found

    def test(self) -> Condition:
        """A function of a path, and of a value for most."""
        test = _TESTS[self.take()]
        self.take("(")
        path = self.take()
        given: Operand | None = None
        if self.peek() == ",":
            self.take()
            given = self.operand()
        self.take(")")
        return lambda item, names, values: test(
            _look(item, path, names), given(item, names, values) if given else None
        )

    def single(self) -> Condition:
        token = self.peek()
        if token == "NOT":
            self.take()
            negated = self.single()
            return lambda item, names, values: not negated(item, names, values)
        if token == "(":
            self.take()
            inner = self.either()
            self.take(")")
            return inner
        if token in _TESTS:
            return self.test()
        left = self.sum()
        if self.peek() == "IN":
            self.take()
            self.take("(")
            among = [self.operand()]
            while self.peek() == ",":
                self.take()
                among.append(self.operand())
            self.take(")")
            return lambda item, names, values: (
                left(item, names, values) in [each(item, names, values) for each in among]
            )
        if self.peek() == "BETWEEN":
            self.take()
            low = self.operand()
            self.take("AND")
            high = self.operand()
            return _both(_compared("<=", low, left), _compared("<=", left, high))
        return _compared(self.take(), left, self.sum())


def _begins_with(value: Any, start: Any) -> bool:
    return isinstance(value, str) and isinstance(start, str) and value.startswith(start)


def _contains(value: Any, wanted: Any) -> bool:
    """Whether a text has a part, or a list or a set an element."""
    if isinstance(value, str):
        return isinstance(wanted, str) and wanted in value
    return isinstance(value, list | frozenset) and wanted in value


def _is_of_type(value: Any, kind: str) -> bool:
    """Whether a value is of a DynamoDB type, by the wire form that it has."""
    return value is not NOTHING and kind in to_wire(value)


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "attribute_exists": lambda value, _: value is not NOTHING,
    "attribute_not_exists": lambda value, _: value is NOTHING,
    "attribute_type": _is_of_type,
    "begins_with": _begins_with,
    "contains": _contains,
}


def _compared(sign: str, left: Operand, right: Operand) -> Condition:
    compare = _COMPARE[sign]
    return lambda item, names, values: compare(
        left(item, names, values), right(item, names, values)
    )


def _either(left: Condition, right: Condition) -> Condition:
    return lambda *given: left(*given) or right(*given)


def _both(left: Condition, right: Condition) -> Condition:
    return lambda *given: left(*given) and right(*given)


def _or(value: Any, other: Operand, *given: Any) -> Any:
    return other(*given) if value is NOTHING else value


def _size(value: Any) -> Any:
    return len(value) if isinstance(value, dict | list | str | frozenset) else NOTHING


def _is_comparable(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left is not NOTHING


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: _is_comparable(left, right) and left == right,
    "<>": lambda left, right: (
        left is not NOTHING and not (_is_comparable(left, right) and left == right)
    ),
    "<": lambda left, right: _is_comparable(left, right) and left < right,
    "<=": lambda left, right: _is_comparable(left, right) and left <= right,
    ">": lambda left, right: _is_comparable(left, right) and left > right,
    ">=": lambda left, right: _is_comparable(left, right) and left >= right,
}


@lru_cache(maxsize=4_000)
def _condition(text: str) -> Condition:
    reader = _Reader(text)
    found = reader.either()
    if reader.peek():
        raise ValueError(f"left over: {reader.peek()}")
    return found


def holds(text: str, item: Item | None, names: Names, values: Values) -> bool:
    """Whether a condition holds of an item, or of nothing."""
    return not text or _condition(text)(item or {}, names, values)


# --- Updates --------------------------------------------------------------------------------------

_CLAUSES = ("SET", "REMOVE", "ADD", "DELETE")
Clause = tuple[str, str, Operand | None]


@lru_cache(maxsize=4_000)
def _update(text: str) -> tuple[Clause, ...]:
    reader = _Reader(text)
    clauses: list[Clause] = []
    kind = ""
    while reader.peek():
        if reader.peek() in _CLAUSES:
            kind = reader.take()
        path = reader.take()
        if kind == "SET":
            reader.take("=")
            clauses.append((kind, path, reader.sum()))
        else:
            clauses.append((kind, path, reader.operand() if kind == "ADD" else None))
        if reader.peek() == ",":
            reader.take()
    return tuple(clauses)


def updated(text: str, item: Item, names: Names, values: Values) -> Item:
    """The item after an update: every right side is taken from the item as it was."""
    changes = [
        (kind, _path(path, names), value(item, names, values) if value else None)
        for kind, path, value in _update(text)
    ]
    after = dict(item)
    copied: set[str] = set()
    for kind, path, value in changes:
        place = after
        for part in path[:-1]:
            if part not in copied:
                place[part] = dict(place[part])
                copied.add(part)
            place = place[part]
        last = path[-1]
        if kind == "REMOVE":
            place.pop(last, None)
        elif kind == "SET":
            place[last] = value
        elif isinstance(value, frozenset):
            place[last] = place.get(last, frozenset()) | value
        else:
            place[last] = place.get(last, 0) + value
    return after
