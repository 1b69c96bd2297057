"""Which attributes an update names, as IAM's `dynamodb:Attributes` has them."""

import json
from typing import Any

import pytest

from local.aws_calls import Call, Place, accesses
from local.iam import ATTRIBUTES

PLACE = Place("us-east-1", "000000000000", lambda _: "pk")


@pytest.mark.parametrize(
    ("expressions", "expected"),
    [
        ({"UpdateExpression": "SET a = :a"}, {"a"}),
        ({"UpdateExpression": "SET #n = if_not_exists(b, :a) ADD c :one REMOVE d"}, set("xbcd")),
        (
            {
                "UpdateExpression": "SET a = :a",
                "ConditionExpression": "attribute_not_exists(pk) OR (e <= :SET AND NOT f = :a)",
            },
            {"a", "pk", "e", "f"},
        ),
        ({"UpdateExpression": "SET a.#n = :a, c[0] = :b"}, {"a", "c"}),
    ],
)
def test_attributes_of_an_update(expressions: dict[str, str], expected: set[str]) -> None:
    body: dict[str, Any] = {
        "TableName": "T",
        "Key": {"pk": {"S": "A"}, "sk": {"S": "B"}},
        "ExpressionAttributeNames": {"#n": "x"},
        **expressions,
    }
    headers = {"x-amz-target": "DynamoDB_20120810.UpdateItem"}
    call = Call("dynamodb", "POST", "/", "", headers, json.dumps(body).encode())
    [access] = accesses(call, PLACE)
    assert set(access.context[ATTRIBUTES]) == {"pk", "sk", *expected}
