"""The examples of the API description are of the schemas beside them."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tools import ROOT

DESCRIPTION = json.loads((ROOT / "openapi.json").read_text())


def shown() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Where each example is, its schema, and its value."""
    for path, operations in DESCRIPTION["paths"].items():
        for method, operation in operations.items():
            parts = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for part, described in parts.items():
                for content in described.get("content", {}).values():
                    for name, example in content.get("examples", {}).items():
                        where = f"{method} {path} {part} {name}"
                        yield where, content["schema"], example["value"]


def test_the_guides_give_examples() -> None:
    assert len({where.rpartition(" ")[0] for where, _, _ in shown()}) >= 20


@pytest.mark.parametrize(
    ("schema", "value"),
    [pytest.param(schema, value, id=where) for where, schema, value in shown()],
)
def test_an_example_is_valid(schema: dict[str, Any], value: Any) -> None:
    jsonschema.validate(value, {**schema, "components": DESCRIPTION["components"]})
