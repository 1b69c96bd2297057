"""The roles of the template, for tests that run a function's code on DynamoDB Local."""

import json
import re
from functools import lru_cache
from typing import Any

from local.adapt import read_template
from local.aws_calls import Call, Place, accesses
from local.iam import Access, Statement, decide, parse
from local.rights import Record

PLACE = Place("us-east-1", "000000000000", lambda _: "pk")
# Any table that a test makes stands for the stack's.
TABLE_ARN = PLACE.arn("dynamodb", "table/*")
# Resources that exist only if a parameter asks for them.
OFF = {"HasKmsKey", "HasBoundary", "HasOtherLeaseKey", "HasRetiredLeaseKeys"}
NO_VALUE = {"Ref": "AWS::NoValue"}
_record = Record()


def _chosen(value: Any) -> Any:
    while isinstance(value, dict) and "Fn::If" in value:
        condition, yes, no = value["Fn::If"]
        value = no if condition in OFF else yes
    return value


def filled_in(value: Any) -> Any:
    """A part of the template with a made-up value for every reference."""
    value = _chosen(value)
    if isinstance(value, list):
        return [filled_in(inner) for inner in map(_chosen, value) if inner != NO_VALUE]
    if not isinstance(value, dict):
        return value
    if named := value.get("Ref") or value.get("Fn::GetAtt"):
        named = named if isinstance(named, str) else ".".join(named)
        return TABLE_ARN if named == "TableArn.Value" else named
    if "Fn::Sub" in value:
        text = value["Fn::Sub"].replace("${TableArn.Value}", TABLE_ARN)
        return re.sub(r"\$\{([^}]+)\}", r"\1", text)
    return {name: filled_in(inner) for name, inner in value.items()}


@lru_cache
def statements(role: str) -> tuple[Statement, ...]:
    """The statements of a role of the template, such as `NotifyRole`."""
    properties = read_template()["Resources"][role]["Properties"]
    return tuple(
        statement
        for policy in properties["Policies"]
        for statement in parse(policy["PolicyName"], filled_in(policy["PolicyDocument"]))
    )


@lru_cache(1)
def roles() -> tuple[str, ...]:
    """The roles that functions have."""
    resources = read_template()["Resources"]
    return tuple(
        name
        for name, each in resources.items()
        if each["Type"] == "AWS::IAM::Role"
        and "lambda.amazonaws.com" in json.dumps(each["Properties"]["AssumeRolePolicyDocument"])
    )


def refusal(role: str, operation: str, payload: bytes) -> str | None:
    """Why IAM refuses a call to DynamoDB; None where the role allows it. The call is recorded."""
    for access in _accesses(operation, payload):
        decision = _record.check(statements(role), access)
        if not decision.is_allowed:
            return decision.reason
    return None


def is_allowed(role: str, operation: str, payload: bytes) -> bool:
    """Whether a role allows a call to DynamoDB that nobody makes, so it is not recorded."""
    return all(
        decide(statements(role), access).is_allowed for access in _accesses(operation, payload)
    )


def _accesses(operation: str, payload: bytes) -> list[Access]:
    headers = {"x-amz-target": f"DynamoDB_20120810.{operation}"}
    return accesses(Call("dynamodb", "POST", "/", "", headers, payload), PLACE)
