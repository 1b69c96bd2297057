"""The data model page tells of every kind of item that the code has a key for."""

import inspect
import re

from shared.dynamodb import keys as keys_module
from shared.dynamodb.keys import Key
from tools import ROOT

PAGE = (ROOT / "docs/data-model.md").read_text()


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
    return made


def test_every_kind_of_item_is_described() -> None:
    found = keys()
    assert len(found) > 35
    described = re.findall(r"^\| `([A-Z_]+)", PAGE, re.M)
    for key in found:
        kind = re.match("[A-Z_]+", key.pk)
        assert kind, key
        assert kind[0] in described, f"docs/data-model.md does not tell of {key.pk}"


def test_nothing_is_described_that_is_not_there() -> None:
    known = {match[0] for key in keys() if (match := re.match("[A-Z_]+", key.pk))}
    assert set(re.findall(r"^\| `([A-Z_]+)", PAGE, re.M)) == known
