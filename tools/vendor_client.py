"""The vendor's side of the Python client, from `openapi.json`: types, and a method for each call.

`make openapi` runs it. The types are `datamodel-code-generator`'s; the methods are written here.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tools import ROOT

DESCRIPTION = ROOT / "openapi.json"
PACKAGE = ROOT / "clients/python/src/overdraft/vendor"
GENERATED = '"""Made from openapi.json by `make openapi`: do not edit."""\n'
# Python's own words.
RESERVED = {"from"}
# Lists go through all pages.
PAGING = ("limit", "pageToken")
# The two clients: the class of calls, what stands before a method, before its answer, and a list.
KINDS = {
    "blocking.py": ("Vendor", "", "", "Iterator"),
    "awaiting.py": ("AsyncVendor", "async ", "await ", "AsyncIterator"),
}


class Argument(NamedTuple):
    """A parameter of a call: its name in the API, in Python, its type, and what it is."""

    name: str
    python: str
    type: str
    about: str


class Call(NamedTuple):
    """A call of the API. `item`: what a list has, page by page."""

    name: str
    method: str
    path: str
    summary: str
    in_path: tuple[Argument, ...]
    in_query: tuple[Argument, ...]
    body: str | None
    body_optional: bool
    answer: str | None
    item: str | None
    is_repeatable: bool


def calls(description: dict[str, Any]) -> list[Call]:
    """The calls that an API key may make, in the order of the description."""
    found = []
    for path, methods in description["paths"].items():
        for method, given in methods.items():
            answers = {
                status: answer.get("content", {}).get("application/json", {}).get("schema")
                for status, answer in given["responses"].items()
                if status.startswith("2")
            }
            is_json = any(answers.values()) or "204" in answers
            if {"apiKey": []} in given["security"] and is_json:
                found.append(_call(description, path, method.upper(), given, answers))
    return found


def _call(
    description: dict[str, Any],
    path: str,
    method: str,
    given: dict[str, Any],
    answers: dict[str, Any],
) -> Call:
    by_place: dict[str, list[Argument]] = {"path": [], "query": [], "header": []}
    for parameter in given.get("parameters", ()):
        name = parameter["name"]
        argument = Argument(
            name, snake(name), _type(parameter["schema"]), parameter.get("description", "")
        )
        by_place[parameter["in"]].append(argument)
    schema = next((answer for answer in answers.values() if answer), None)
    answer = _named(schema) if schema else None
    page = description["components"]["schemas"].get(answer, {}).get("properties", {})
    item = _named(page["items"]["items"]) if "nextPageToken" in page else None
    body = given.get("requestBody", {})
    return Call(
        snake(given["operationId"]),
        method,
        path,
        given["summary"],
        tuple(by_place["path"]),
        tuple(each for each in by_place["query"] if item is None or each.name not in PAGING),
        _named(body["content"]["application/json"]["schema"]) if body else None,
        not body.get("required", False),
        answer,
        item,
        any(each.name == "Idempotency-Key" for each in by_place["header"]),
    )


def _named(schema: dict[str, Any]) -> str:
    """The types that a schema names: `A`, or `A | B`."""
    given = schema.get("anyOf", [schema])
    return " | ".join(str(each["$ref"]).rpartition("/")[2] for each in given)


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return f"Literal[{', '.join(json.dumps(each) for each in schema['enum'])}]"
    return {"integer": "int", "boolean": "bool"}.get(schema.get("type", ""), "str")


def snake(name: str) -> str:
    """A name of the API as Python has it."""
    plain = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).replace("-", "_").lower()
    return f"{plain}_" if plain in RESERVED else plain


def methods(kind: str, given: list[Call]) -> Iterator[str]:
    """The module of one client."""
    name, before, awaits, iterator = KINDS[kind]
    named = [each.item or each.answer for each in given] + [each.body for each in given]
    types = {name for names in named if names for name in names.split(" | ")}
    yield GENERATED
    yield "from __future__ import annotations\n"
    yield f"from collections.abc import {iterator}\n"
    yield "from typing import Literal\n"
    yield f"from overdraft.vendor.{kind.replace('.py', '_base')} import {name}Base"
    yield "from overdraft.vendor.requests import path_of"
    names = ", ".join(sorted(types))
    yield f"from overdraft.vendor.types import {names}\n"
    yield f"class {name}({name}Base):"
    yield '    """A stack, as software of the vendor sees it: a method for each call."""\n'
    for call in given:
        yield from _method(call, before, awaits, iterator)


def _method(call: Call, before: str, awaits: str, iterator: str) -> Iterator[str]:
    arguments = ["self", *(f"{each.python}: str" for each in call.in_path)]
    if call.body:
        arguments.append(f"body: {call.body}" + (" | None = None" if call.body_optional else ""))
    named = [f"{each.python}: {each.type} | None = None" for each in call.in_query]
    if call.is_repeatable:
        named.append("idempotency_key: str | None = None")
    arguments += ["*", *named] if named else []
    answer = f"{iterator}[{call.item}]" if call.item else call.answer or "None"
    about = [f"{each.python}: {each.about}" for each in call.in_query if each.about]
    yield f"    {'' if call.item else before}def {call.name}({', '.join(arguments)}) -> {answer}:"
    if about:
        yield f'        """{call.summary}.\n'
        yield "        Args:"
        for line in about:
            yield f"            {line}"
        yield '        """'
    else:
        yield f'        """{call.summary}."""'
    given = [f'"{call.path}"', *(each.python for each in call.in_path)]
    path = f"path_of({', '.join(given)})" if call.in_path else f'"{call.path}"'
    query = ", ".join(f'"{each.name}": {each.python}' for each in call.in_query)
    if call.item:
        yield f"        return self._list({path}, {{{query}}})\n"
        return
    rest = [f'"{call.method}"', path]
    if call.in_query:
        rest.append(f"query={{{query}}}")
    if call.body:
        rest.append("body=body")
    if call.is_repeatable:
        rest.append("key=idempotency_key")
    if call.answer:
        yield f"        answer: {call.answer} = {awaits}self._json({', '.join(rest)})"
        yield "        return answer\n"
    else:
        yield f"        {awaits}self._json({', '.join(rest)})\n"


def files() -> dict[str, str]:
    """The generated files, formatted."""
    description = json.loads(DESCRIPTION.read_text())
    given = calls(description)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        (made / "types.py").write_text(_types(made))
        for kind in KINDS:
            (made / kind).write_text("\n".join(methods(kind, given)))
        for command in (
            ("check", "--quiet", "--fix", "--select", "I,F401", "--exit-zero"),
            ("format", "--quiet"),
        ):
            ruff = [
                sys.executable,
                "-m",
                "ruff",
                *command,
                "--config",
                str(ROOT / "pyproject.toml"),
            ]
            subprocess.run([*ruff, "--no-cache", folder], check=True)
        return {name: (made / name).read_text() for name in ("types.py", *KINDS)}


def _types(folder: Path) -> str:
    output = folder / "models.py"
    command = [
        str(Path(sys.executable).parent / "datamodel-codegen"),
        *("--input", str(DESCRIPTION), "--input-file-type", "openapi"),
        *("--openapi-scopes", "schemas", "--output", str(output)),
        *("--output-model-type", "typing.TypedDict", "--target-python-version", "3.10"),
        *("--no-use-closed-typed-dict", "--use-schema-description", "--disable-timestamp"),
        *("--formatters", "ruff-format", "--custom-file-header", GENERATED),
    ]
    subprocess.run(command, check=True, capture_output=True)
    text = output.read_text()
    output.unlink()
    return text


def main() -> None:
    """Write the files."""
    for name, text in files().items():
        (PACKAGE / name).write_text(text)


if __name__ == "__main__":
    main()
