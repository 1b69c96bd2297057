"""The API description as one page for people: no script, nothing loaded from anywhere."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
nav a { display: block; padding: .1rem 0; }
section { border-top: 1px solid var(--line); padding: .5rem 0 1rem; }
b.method { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; }
td, th { border-bottom: 1px solid var(--line); padding: .3rem .6rem .3rem 0; text-align: left;
  vertical-align: top; }
.scroll { overflow-x: auto; } .note { background: var(--soft); padding: .5rem 1rem; }
"""


def render(description: Mapping[str, Any]) -> str:
    """The page of an OpenAPI description."""
    info = description["info"]
    operations = [
        (method.upper(), path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
        *(f"<p>{escape(text)}</p>" for text in info["description"].split("\n\n")),
        "<p>For machines: <a href='openapi.json'>openapi.json</a></p><nav><h2>Operations</h2>",
    ]
    for method, path, operation in operations:
        parts.append(
            f"<a href='#{operation['operationId']}'><code><b class=method>{method}</b>"
            f"{escape(path)}</code> {escape(operation['summary'])}</a>"
        )
    parts.append("</nav><main>")
    for method, path, operation in operations:
        parts.extend(_operation(method, path, operation))
    parts.append("<h2>Bodies</h2>")
    for name, schema in description["components"]["schemas"].items():
        parts.extend(_schema(name, schema))
    parts.append("</main></body></html>")
    return "".join(parts)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section id='{operation['operationId']}'><h3>{escape(operation['summary'])}</h3>"
    yield f"<p><code><b class=method>{method}</b>{escape(path)}</code></p>"
    yield f"<p>{escape(operation['description'])}</p>"
    rows = [
        (parameter["name"], parameter["in"], parameter.get("description", ""))
        for parameter in operation.get("parameters", ())
    ]
    if rows:
        yield from _table(("Parameter", "In", ""), rows)
    body = operation.get("requestBody")
    if body:
        yield f"<p>Body: {_link(body['content']['application/json']['schema'])}</p>"
    answers = []
    for status, response in operation["responses"].items():
        schemas = [content["schema"] for content in response.get("content", {}).values()]
        answers.append((status, _link(schemas[0]) if schemas else "", response["description"]))
    yield from _table(("Status", "Body", ""), answers, is_html=(1,))
    yield "</section>"


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section id='{name}'><h3>{name}</h3><p>{escape(schema.get('description', ''))}</p>"
    required = schema.get("required", ())
    rows = [
        (member, _kind(inner), ("required. " if member in required else "") + _about(inner))
        for member, inner in schema.get("properties", {}).items()
    ]
    yield from _table(("Member", "Type", ""), rows, is_html=(1,))
    yield "</section>"


def _about(schema: Mapping[str, Any]) -> str:
    default = f" Default: {schema['default']}." if schema.get("default") is not None else ""
    return str(schema.get("description", "")) + default


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _link(schema)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(_kind(choice) for choice in schema[union])
    if "enum" in schema:
        return " | ".join(escape(repr(choice)) for choice in schema["enum"])
    if "const" in schema:
        return escape(repr(schema["const"]))
    if schema.get("type") == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    return escape(str(schema.get("type", "any")))


def _link(schema: Mapping[str, Any]) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    return f"<a href='#{name}'>{name}</a>" if name else escape(str(schema.get("type", "")))


def _table(
    head: tuple[str, ...], rows: Sequence[tuple[str, ...]], is_html: tuple[int, ...] = ()
) -> Iterator[str]:
    yield "<div class=scroll><table><tr>"
    yield from (f"<th>{title}</th>" for title in head)
    for row in rows:
        yield "</tr><tr>"
        for number, cell in enumerate(row):
            yield f"<td>{cell if number in is_html else escape(cell)}</td>"
    yield "</tr></table></div>"
