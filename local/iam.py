"""IAM's decision on one call: the policies of a role against an action, a resource and a context.

The rules are those of the IAM user guide: "Policy evaluation logic", "Condition operators",
"Multivalued context keys". What a policy of ours does not use (policy variables, principals, the
less usual operators) is refused as unknown, so that no rule is ignored silently.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

LEADING_KEYS = "dynamodb:leadingkeys"
ATTRIBUTES = "dynamodb:attributes"


class UnknownPolicy(ValueError):
    """A policy uses an element that this evaluator does not know; the message names it."""


class Access(NamedTuple):
    """What a call asks for: one action on one resource.

    `context` has the values of the condition keys that the request carries; a key that it does not
    carry is absent. Names of keys are in lower case.
    """

    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]] = {}


class Right(NamedTuple):
    """One right in a policy: an action, on one of the targets of one of its statements.

    Statements and targets are counted from 0, so that a right is the same in the template and as
    deployed, where names have been filled in.
    """

    policy: str
    statement: int
    action: str
    target: int


class Decision(NamedTuple):
    """Whether an access is allowed, why not, and which rights allowed it."""

    is_allowed: bool
    reason: str = ""
    rights: frozenset[Right] = frozenset()


class Statement(NamedTuple):
    """One statement of a policy document, the `number`-th of its policy, counted from 0."""

    policy: str
    number: int
    is_allow: bool
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]

    def matches(self, access: Access) -> bool:
        """Whether the statement is about this access and all its conditions hold."""
        return (
            _is_named(access.action, self.actions, self.not_actions, ignore_case=True)
            and _is_named(access.resource, self.resources, self.not_resources)
            and all(
                holds(operator, access.context.get(key), expected)
                for operator, key, expected in self.conditions
            )
        )

    @property
    def leading_keys(self) -> tuple[str, ...]:
        """The patterns of leading keys that the statement allows, where it restricts them."""
        return tuple(
            value
            for operator, key, expected in self.conditions
            if key == LEADING_KEYS and operator.lower() != "null"
            for value in expected
        )

    @property
    def targets(self) -> tuple[str, ...]:
        """What the statement gives rights to: the leading keys that it names, or its resources."""
        return self.leading_keys or self.resources

    def rights(self) -> frozenset[Right]:
        """Every right that the statement gives, one for each action and target."""
        return frozenset(
            Right(self.policy, self.number, action, position)
            for action in self.actions
            for position in range(len(self.targets))
        )

    def used_by(self, access: Access) -> frozenset[Right]:
        """The rights of this statement that an access uses."""
        actions = [each for each in self.actions if like(each.lower(), access.action.lower())]
        asked = access.context.get(LEADING_KEYS, ())
        named = asked if self.leading_keys else (access.resource,)
        used = [
            position
            for position, pattern in enumerate(self.targets)
            if any(like(pattern, name) for name in named)
        ]
        return frozenset(
            Right(self.policy, self.number, action, position)
            for action in actions
            for position in used
        )


def _is_named(
    value: str, named: tuple[str, ...], not_named: tuple[str, ...], *, ignore_case: bool = False
) -> bool:
    if ignore_case:
        value = value.lower()
        named, not_named = (tuple(each.lower() for each in part) for part in (named, not_named))
    if not_named:
        return not any(like(pattern, value) for pattern in not_named)
    return any(like(pattern, value) for pattern in named)


_ELEMENTS = {
    "Sid",
    "Effect",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
}


def parse(policy: str, document: Mapping[str, Any]) -> list[Statement]:
    """The statements of an identity-based policy document; `policy` names it.

    Raises:
        UnknownPolicy: it has an element, an operator or a variable that is not evaluated here.
    """
    statements = document["Statement"]
    return [_statement(policy, number, each) for number, each in enumerate(_listed(statements))]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _texts(values: Any) -> tuple[str, ...]:
    texts = tuple(
        str(each).lower() if isinstance(each, bool) else str(each) for each in _listed(values)
    )
    for text in texts:
        if "${" in text:
            raise UnknownPolicy(f"the policy variable in {text}")
    return texts


def _statement(policy: str, number: int, raw: Mapping[str, Any]) -> Statement:
    unknown = set(raw) - _ELEMENTS
    if unknown:
        raise UnknownPolicy(f"{policy}: {sorted(unknown)}")
    if raw["Effect"] not in ("Allow", "Deny"):
        raise UnknownPolicy(f"{policy}: effect {raw['Effect']}")
    for first, second in (("Action", "NotAction"), ("Resource", "NotResource")):
        if (first in raw) == (second in raw):
            raise UnknownPolicy(f"{policy}: needs either {first} or {second}")
    conditions = []
    for operator, block in (raw.get("Condition") or {}).items():
        _check_operator(operator)
        for key, expected in block.items():
            conditions.append((operator, key.lower(), _texts(expected)))
    return Statement(
        policy,
        number,
        raw["Effect"] == "Allow",
        _texts(raw.get("Action")),
        _texts(raw.get("NotAction")),
        _texts(raw.get("Resource")),
        _texts(raw.get("NotResource")),
        tuple(conditions),
    )


# --- Conditions -----------------------------------------------------------------------------------


@lru_cache(maxsize=10_000)
def _pattern(pattern: str) -> re.Pattern[str]:
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL)


def like(pattern: str, value: str) -> bool:
    """Whether a value matches a pattern, in which `*` is any text and `?` any one character."""
    return _pattern(pattern).fullmatch(value) is not None


def _same(expected: str, value: str) -> bool:
    return expected == value


# What one expected value says of one value of the request; and the operators that deny it.
_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "stringequals": _same,
    "stringequalsignorecase": lambda expected, value: expected.lower() == value.lower(),
    "stringlike": like,
    "arnequals": like,
    "arnlike": like,
    "bool": lambda expected, value: expected.lower() == value.lower(),
    "numericequals": lambda expected, value: float(expected) == float(value),
    "numericlessthanequals": lambda expected, value: float(value) <= float(expected),
}
_NEGATED = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "numericnotequals": "numericequals",
}
_FOR_ALL, _FOR_ANY, _IF_EXISTS = "forallvalues:", "foranyvalue:", "ifexists"


def _check_operator(operator: str) -> None:
    name = operator.lower().removeprefix(_FOR_ALL).removeprefix(_FOR_ANY)
    name = name.removesuffix(_IF_EXISTS)
    if name != "null" and name not in _COMPARE and name not in _NEGATED:
        raise UnknownPolicy(f"the condition operator {operator}")


def holds(operator: str, actual: tuple[str, ...] | None, expected: tuple[str, ...]) -> bool:
    """Whether one condition holds; `actual` is None where the request does not carry the key.

    Raises:
        UnknownPolicy: the request has several values and the operator says nothing of sets.
    """
    name = operator.lower()
    if name == "null":
        return (actual is None) == (expected[0].lower() == "true")
    is_for_all, is_for_any = name.startswith(_FOR_ALL), name.startswith(_FOR_ANY)
    name = name.removeprefix(_FOR_ALL).removeprefix(_FOR_ANY)
    if_exists, name = name.endswith(_IF_EXISTS), name.removesuffix(_IF_EXISTS)
    is_negated = name in _NEGATED
    compare = _COMPARE[_NEGATED.get(name, name)]

    def is_met(value: str) -> bool:
        return any(compare(each, value) for each in expected) != is_negated

    if actual is None:
        # "Returns true if the key is not in the request": ForAllValues, ...IfExists, negations.
        return is_for_all or if_exists or (is_negated and not is_for_any)
    if is_for_all:
        return all(is_met(value) for value in actual)
    if is_for_any:
        return any(is_met(value) for value in actual)
    if len(actual) != 1:
        raise UnknownPolicy(f"{operator} compares {len(actual)} values of one key")
    return is_met(actual[0])


# --- The decision ---------------------------------------------------------------------------------


def decide(statements: Iterable[Statement], access: Access) -> Decision:
    """Allowed is what some statement allows and none denies; nothing else is."""
    matching = [each for each in statements if each.matches(access)]
    asked = f"{access.action} on {access.resource}"
    if LEADING_KEYS in access.context:
        asked += f" with leading keys {', '.join(access.context[LEADING_KEYS])}"
    if any(not each.is_allow for each in matching):
        return Decision(is_allowed=False, reason=f"{asked}: an explicit deny")
    if not matching:
        return Decision(is_allowed=False, reason=f"{asked}: no statement allows it")
    rights = frozenset(right for each in matching for right in each.used_by(access))
    return Decision(is_allowed=True, rights=rights)
