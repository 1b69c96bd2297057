"""The rules of IAM, each as its documentation states it."""

from typing import Any

import pytest

from local.iam import LEADING_KEYS, Access, UnknownPolicy, decide, holds, like, parse

TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/T"


def allow(**more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": TABLE, **more}


def is_allowed(statements: list[dict[str, Any]], access: Access) -> bool:
    return decide(parse("p", {"Statement": statements}), access).is_allowed


PUT = Access("dynamodb:PutItem", TABLE, {LEADING_KEYS: ("A#1",)})


def test_what_nothing_allows_is_denied() -> None:
    assert not is_allowed([], PUT)
    assert is_allowed([allow()], PUT)
    assert not is_allowed([allow(Action="dynamodb:GetItem")], PUT)
    assert not is_allowed([allow(Resource=TABLE + "2")], PUT)


def test_an_explicit_deny_outweighs_every_allow() -> None:
    deny = {"Effect": "Deny", "Action": "dynamodb:*", "Resource": "*"}
    assert not is_allowed([allow(), deny], PUT)
    assert not is_allowed([deny, allow()], PUT)
    assert is_allowed([allow(), {**deny, "Action": "s3:*"}], PUT)


def test_all_that_is_not_named() -> None:
    assert is_allowed([{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}], PUT)
    assert not is_allowed([{"Effect": "Allow", "NotAction": "dynamodb:Put*", "Resource": "*"}], PUT)
    assert not is_allowed(
        [{"Effect": "Allow", "Action": "*", "NotResource": [TABLE, "arn:aws:s3:::b"]}], PUT
    )


@pytest.mark.parametrize(
    ("pattern", "value", "is_match"),
    [
        ("*", "", True),
        ("A#*", "A#", True),
        ("A#*", "a#1", False),
        ("A?", "AB", True),
        ("A?", "A", False),
        ("A.", "AB", False),
        ("A*C", "A\nC", True),
        ("[A]", "A", False),
    ],
)
def test_wildcards(pattern: str, value: str, is_match: bool) -> None:
    assert like(pattern, value) is is_match


def test_names_of_actions_are_compared_without_case() -> None:
    assert is_allowed([allow(Action="DynamoDB:putitem")], PUT)
    assert is_allowed([allow(Action=["dynamodb:P?t*"])], PUT)


KEYS = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["A#*", "B"]}}
NOT_NULL = {"Null": {"dynamodb:LeadingKeys": "false"}}


@pytest.mark.parametrize(
    ("keys", "condition", "is_met"),
    [
        (("A#1",), KEYS, True),
        (("A#1", "B"), KEYS, True),
        (("A#1", "C"), KEYS, False),
        # "ForAllValues returns true if there are no keys in the request": hence the Null check.
        (None, KEYS, True),
        (None, {**KEYS, **NOT_NULL}, False),
        (("A#1",), {**KEYS, **NOT_NULL}, True),
        (None, {"Null": {"dynamodb:LeadingKeys": "true"}}, True),
        (("A#1",), {"Null": {"dynamodb:LeadingKeys": True}}, False),
        (("A#1", "C"), {"ForAnyValue:StringEquals": {"dynamodb:LeadingKeys": "C"}}, True),
        (None, {"ForAnyValue:StringEquals": {"dynamodb:LeadingKeys": "C"}}, False),
    ],
)
def test_conditions_on_leading_keys(keys: Any, condition: Any, is_met: bool) -> None:
    context = {} if keys is None else {LEADING_KEYS: keys}
    asked = Access("dynamodb:PutItem", TABLE, context)
    assert is_allowed([allow(Condition=condition)], asked) is is_met


@pytest.mark.parametrize(
    ("operator", "actual", "expected", "is_met"),
    [
        ("StringEquals", ("a",), ("b", "a"), True),
        ("StringEquals", ("A",), ("a",), False),
        ("StringEqualsIgnoreCase", ("A",), ("a",), True),
        ("StringEquals", None, ("a",), False),
        ("StringEqualsIfExists", None, ("a",), True),
        ("StringNotEquals", ("a",), ("b", "a"), False),
        ("StringNotEquals", ("c",), ("b", "a"), True),
        # Negated matching of a key that is not there returns true.
        ("StringNotEquals", None, ("a",), True),
        ("ForAnyValue:StringNotLike", None, ("a",), False),
        ("ForAllValues:StringNotLike", ("x", "ab"), ("a*",), False),
        ("Bool", ("false",), ("false",), True),
        ("Bool", None, ("false",), False),
        ("ArnLike", ("arn:aws:sqs:r:a:q",), ("arn:aws:sqs:*:*:q",), True),
        ("NumericLessThanEquals", ("5",), ("5",), True),
    ],
)
def test_operators(operator: str, actual: Any, expected: Any, is_met: bool) -> None:
    assert holds(operator, actual, expected) is is_met


def test_every_condition_must_hold() -> None:
    both = {"StringEquals": {"aws:a": "1", "aws:b": "2"}}
    asked = PUT._replace(context={"aws:a": ("1",), "aws:b": ("2",)})
    assert is_allowed([allow(Condition=both)], asked)
    assert not is_allowed([allow(Condition=both)], PUT._replace(context={"aws:a": ("1",)}))


@pytest.mark.parametrize(
    "statement",
    [
        allow(Principal="*"),
        allow(Effect="Maybe"),
        allow(NotAction="x"),
        allow(Condition={"DateLessThan": {"aws:CurrentTime": "2020-01-01"}}),
        allow(Resource="arn:aws:s3:::b/${aws:username}"),
    ],
)
def test_what_is_not_known_is_not_taken_for_granted(statement: dict[str, Any]) -> None:
    with pytest.raises(UnknownPolicy):
        parse("p", {"Statement": statement})


def test_several_values_need_an_operator_of_sets() -> None:
    with pytest.raises(UnknownPolicy):
        holds("StringEquals", ("a", "b"), ("a",))


def test_which_grants_an_access_uses() -> None:
    [statement] = parse(
        "p",
        {
            "Statement": [
                allow(
                    Action=["dynamodb:PutItem", "dynamodb:GetItem"],
                    Condition={**KEYS, **NOT_NULL},
                )
            ]
        },
    )
    assert statement.targets == ("A#*", "B")
    assert len(statement.rights()) == 4
    assert decide([statement], PUT).rights == {("p", 0, "dynamodb:PutItem", 0)}
