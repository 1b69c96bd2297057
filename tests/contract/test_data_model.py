"""docs/data-model.md agrees with the code's keys and with the functions' roles.

`tests/support/data_model.py` compares its attributes with what every test writes.
"""

import inspect
import json
import re
from typing import Any

import pytest

from shared.dynamodb import keys as keys_module
from shared.dynamodb.keys import Key
from tests.support import data_model, roles


def keys() -> list[Key]:
    """One key of every kind, made by its own function."""
    made = []
    for name, function in inspect.getmembers(keys_module, inspect.isfunction):
        if name.startswith("_") or inspect.signature(function).return_annotation is not Key:
            continue
        given = [
            1 if parameter.annotation is int else "x"
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is inspect.Parameter.empty
        ]
        made.append(function(*given))
    secrets = ("page-token", "unsubscribe", "report-link", "mail-link")
    return made + [keys_module.secret_key(name) for name in secrets]


def kind_of(key: Key) -> str:
    match = re.match("[A-Z_]+", key.pk)
    assert match, key
    return match[0]


KINDS = sorted({kind_of(key) for key in keys()})


def test_every_kind_of_item_is_described_and_no_other() -> None:
    assert len(keys()) > 35
    assert sorted({row.kind for row in data_model.rows()}) == KINDS
    assert sorted(data_model.attributes()) == KINDS


def may(key: Key, operations: dict[str, dict[str, Any]]) -> set[str]:
    """The functions whose roles allow one of these calls."""
    return {
        role.removesuffix("Role")
        for role in roles.roles()
        for operation, body in operations.items()
        if roles.is_allowed(role, operation, json.dumps(body).encode())
    }


def writing(key: Key) -> dict[str, dict[str, Any]]:
    item = {"pk": {"S": key.pk}, "sk": {"S": key.sk}}
    return {
        "PutItem": {"TableName": "Table", "Item": item},
        "UpdateItem": {"TableName": "Table", "Key": item, "UpdateExpression": "SET a = a"},
        "DeleteItem": {"TableName": "Table", "Key": item},
        "BatchWriteItem": {"RequestItems": {"Table": [{"PutRequest": {"Item": item}}]}},
    }


def reading(key: Key) -> dict[str, dict[str, Any]]:
    item = {"pk": {"S": key.pk}, "sk": {"S": key.sk}}
    return {
        "GetItem": {"TableName": "Table", "Key": item},
        "BatchGetItem": {"RequestItems": {"Table": {"Keys": [item]}}},
        "Query": {
            "TableName": "Table",
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": key.pk}},
        },
    }


@pytest.mark.parametrize("kind", KINDS)
def test_who_writes_and_reads_a_kind_is_who_may(kind: str) -> None:
    """A role's rights end at the kind, so what is described of several rows is taken together."""
    those = [key for key in keys() if kind_of(key) == kind]
    described = [row for row in data_model.rows() if row.kind == kind]
    writers = {name for row in described for name in row.writers}
    readers = {name for row in described for name in row.readers}
    assert writers == {name for key in those for name in may(key, writing(key))}
    assert readers == {name for key in those for name in may(key, reading(key))}


def test_a_write_that_the_page_does_not_list_is_found() -> None:
    key = {"pk": {"S": "HEARTBEAT"}, "sk": {"S": "HEARTBEAT"}}
    names = {"#at": "at"}
    listed = {"Key": key, "UpdateExpression": "SET #at = :at", "ExpressionAttributeNames": names}
    assert data_model.undescribed("UpdateItem", json.dumps(listed).encode()) is None
    other = {**listed, "UpdateExpression": "SET #at = :at, other = if_not_exists(other, :at)"}
    found = data_model.undescribed("UpdateItem", json.dumps(other).encode())
    assert found == "docs/data-model.md does not list ['other'] of HEARTBEAT"
    put = {"Item": {**key, "more": {"S": "x"}}}
    assert data_model.undescribed("PutItem", json.dumps(put).encode())
