"""What the API description changes in the schemas that pydantic makes.

- No property has a title: pydantic's repeat the name.
- A default is said in words. Some generators of clients refuse it, some send it, and some demand
  every member that has one.
- A schema named `...Patch` is a JSON merge patch (RFC 7396): nothing is required, there is no
  default, and what has one may be null, which restores it. A client that fills in defaults would
  otherwise reset what it does not mention.
"""

import json
from typing import Any

from functions.manage.documents import WHOLE

Schema = dict[str, Any]
# They say themselves what may be null: a state has no default to go back to.
EXACT = ("FollowUpPatch", "SeatRequestPatch")
_REF = "#/components/schemas/"


def tidy(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """The schemas by name, as the description has them, in order."""
    patches = [name for name in schemas if name.endswith("Patch")]
    result = {name: _tidied(schema) for name, schema in schemas.items()}
    for name in patches:
        _add_patch(name, name, schemas, result)
    return dict(sorted(result.items()))


def _tidied(value: Any, *, is_property: bool = False) -> Any:
    """A schema without titles of properties and without defaults."""
    if isinstance(value, list):
        return [_tidied(each) for each in value]
    if not isinstance(value, dict):
        return value
    tidied = {
        name: {key: _tidied(each, is_property=True) for key, each in inner.items()}
        if name == "properties"
        else _tidied(inner, is_property=is_property and name in ("anyOf", "oneOf"))
        for name, inner in value.items()
        if not (name == "title" and is_property)
    }
    if is_property and tidied.pop("default", None) is not None:
        default = f"By default `{json.dumps(value['default'])}`."
        tidied["description"] = f"{tidied.get('description', '')} {default}".strip()
    return tidied


def _add_patch(
    name: str, source: str, schemas: dict[str, Schema], result: dict[str, Schema]
) -> None:
    """Add the merge patch of the object `source`, and of the objects in it that are merged."""
    schema = _tidied(schemas[source])
    required = schema.pop("required", [])
    schema["title"] = name
    result[name] = schema
    for member, described in schema.get("properties", {}).items():
        merged = None if member in WHOLE else _object_named(described, schemas)
        if merged:
            patch = merged if merged.endswith("Patch") else f"{merged}Patch"
            described = {  # noqa: PLW2901
                "anyOf": [{"$ref": _REF + patch}, {"type": "null"}],
                **{key: each for key, each in described.items() if key == "description"},
            }
            if patch not in result:
                _add_patch(patch, merged, schemas, result)
        is_exact = name in EXACT or member in required
        schema["properties"][member] = (
            _without_default(described) if is_exact else _nullable(described)
        )


def _object_named(described: Schema, schemas: dict[str, Schema]) -> str | None:
    """The schema's name of a property that is an object, or an object or null."""
    choices = described.get("anyOf", [described])
    named = [each["$ref"].removeprefix(_REF) for each in choices if "$ref" in each]
    is_object = len(named) == 1 and "properties" in schemas[named[0]]
    return named[0] if is_object else None


def _without_default(described: Schema) -> Schema:
    return {key: each for key, each in described.items() if key != "default"}


def _nullable(described: Schema) -> Schema:
    """A property that may be null and has no default."""
    kept = _without_default(described)
    choices = kept.get("anyOf", [])
    if {"type": "null"} in choices:
        return kept
    about = {"description": kept.pop("description")} if "description" in kept else {}
    return {"anyOf": [*(choices or [kept]), {"type": "null"}], **about}
