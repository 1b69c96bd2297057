"""The terms of an entitlement as they are written on the command line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import typer

_LIMIT = re.compile(r"(?P<key>[^=]+)=(?P<limit>\d+)(?:\+(?P<over>.+))?")


def overdraft_limit(text: str) -> dict[str, Any]:
    """`20`, `20%`, `none` or `unlimited`.

    Raises:
        typer.BadParameter: it is none of these.
    """
    if text in ("none", "unlimited"):
        return {"type": text}
    match = re.fullmatch(r"(\d+)(%?)", text)
    if match is None:
        raise typer.BadParameter(f"{text} is none of: 20, 20%, none, unlimited")
    return {"type": "percentage" if match[2] else "absolute", "value": int(match[1])}


def usage_limit(text: str) -> dict[str, Any]:
    """`exports=1000`, or `exports=1000+20%` with an overdraft.

    Raises:
        typer.BadParameter: it is not written so.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text} is not written as exports=1000 or exports=1000+20%")
    limit = {"key": match["key"], "limit": int(match["limit"])}
    return {**limit, "overdraftLimit": overdraft_limit(match["over"])} if match["over"] else limit


def period(text: str) -> str | None:
    """A period of ISO 8601, such as `PT8H`; `none` is none."""
    return None if text == "none" else text


def from_file(path: str) -> dict[str, Any]:
    """The body in a file of JSON; `-` is the standard input.

    Raises:
        typer.BadParameter: it cannot be read, or is no object.
    """
    try:
        given = json.loads(sys.stdin.read() if path == "-" else Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {error}") from None
    if not isinstance(given, dict):
        raise typer.BadParameter(f"{path}: it is no JSON object")
    return given
