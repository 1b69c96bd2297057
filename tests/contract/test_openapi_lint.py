"""The API description, by the rules of two public linters; exceptions stand in their settings."""

import json

from tests.support import node
from tools import ROOT

DESCRIPTION = str(ROOT / "openapi.json")


def test_redocly_finds_nothing() -> None:
    found = json.loads(
        node.run("redocly", "lint", DESCRIPTION, "--config=redocly.yaml", "--format=json")
    )
    assert found["problems"] == []


def test_spectral_finds_nothing() -> None:
    command = ("spectral", "lint", DESCRIPTION, "--ruleset=spectral.yaml", "--format=json")
    assert json.loads(node.run(*command, "--quiet", "--fail-severity=error")) == []


def test_every_operation_with_a_json_answer_has_an_example() -> None:
    paths = json.loads((ROOT / "openapi.json").read_text())["paths"]
    lacking = []
    for operation in (each for operations in paths.values() for each in operations.values()):
        contents = [
            content
            for status, answer in operation["responses"].items()
            for kind, content in answer.get("content", {}).items()
            if status.startswith("2") and kind == "application/json"
        ]
        if contents and not any("examples" in content for content in contents):
            lacking.append(operation["operationId"])
    assert lacking == []
