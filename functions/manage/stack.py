"""How this stack was deployed, as CloudFormation knows it."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from shared import aws, observability
from shared.api.request import Request, Response
from shared.clock import to_rfc3339
from shared.problems import Unavailable

# At the root of the repository, and of the function's package.
_VERSION = Path(__file__).parents[2] / "VERSION"


class StackParameterView(TypedDict):
    """A parameter; the value of a secret one is `****`."""

    name: str
    value: str


class StackView(TypedDict):
    """A stack."""

    name: str
    version: str
    region: str
    status: str
    createdAt: str
    updatedAt: str | None
    parameters: list[StackParameterView]


def read(_: Request) -> Response:
    """The stack's parameters and its last change."""
    return Response(200, _stack())


def _stack() -> StackView:
    stack_id = os.environ.get("STACK_ID", "")
    try:
        found = aws.client("cloudformation").describe_stacks(StackName=stack_id)["Stacks"][0]
    except aws.Errors as error:
        observability.logger.warning("stack unknown", extra={"reason": str(error)})
        raise Unavailable from None
    changed = found.get("LastUpdatedTime")
    return {
        "name": found["StackName"],
        "version": _VERSION.read_text().strip(),
        "region": os.environ.get("AWS_REGION", ""),
        "status": found["StackStatus"],
        "createdAt": _text(found["CreationTime"]),
        "updatedAt": _text(changed) if changed else None,
        "parameters": sorted(
            (
                {"name": each["ParameterKey"], "value": each.get("ParameterValue", "")}
                for each in found.get("Parameters", ())
            ),
            key=lambda each: each["name"],
        ),
    }


def _text(at: datetime) -> str:
    return to_rfc3339(int(at.astimezone(UTC).timestamp() * 1000))
