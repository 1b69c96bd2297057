"""What people see: tables, or JSON with `--json`; times as this machine's clock has them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from overdraft.models import time_of

# Into a pipe or a file, each row of a table is one line.
WIDEST = 1_000
console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDEST)
errors = Console(stderr=True, highlight=False)
MARKS = {"overdraft": "yellow", "suspended": "red", "expired": "red", "failed": "red"}


def show_json(value: object) -> None:
    """Write a value for scripts."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    json.dump(value, sys.stdout, indent=2, ensure_ascii=not is_unicode)
    sys.stdout.write("\n")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Write a table, or say that there is nothing."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        is_number = name.startswith("#")
        # What is first is what people copy.
        table.add_column(
            name.lstrip("#"),
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=number == 0,
        )
    for row in rows:
        table.add_row(*(cell(value, one_line=True) for value in row))
    if table.row_count == 0:
        console.print(Text(empty, style="dim"))
    else:
        console.print(table)


def show_members(members: Iterable[tuple[str, object]]) -> None:
    """Write what is known of one thing, a line for each member."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in members:
        if value not in (None, "", [], {}):
            table.add_row(name, cell(value))
    console.print(table)


def show_link(name: str, url: str) -> None:
    """Write a link on a line of its own, whole, so that it can be copied."""
    console.print(Text(f"{name}  ", style="dim") + Text(plain(url)), soft_wrap=True)


def hint(text: str) -> None:
    """Write what somebody may want to know besides, where it spoils no output."""
    errors.print(Text(text, style="dim"))


def say(text: str, style: str = "") -> None:
    """Write a sentence. What it says is shown as it is, whatever brackets it has."""
    console.print(Text(text, style=style), soft_wrap=True)


def complain(text: str) -> None:
    """Write what went wrong."""
    errors.print(Text(f"overdraft: {plain(text)}", style="red"), soft_wrap=True)


def cell(value: object, *, one_line: bool = False) -> Text:
    """A value in a table; one that the API calls a state has the colour of it."""
    if value is None:
        return Text("–", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, int):
        return Text(f"{value:,}")
    text = plain(value).replace("\n", " ") if one_line else plain(value)
    return Text(text, style=MARKS.get(text, ""))


def plain(value: object) -> str:
    """A text that cannot steer a terminal."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in str(value))


def when(text: Any) -> str | None:
    """A time of the API as this machine's clock has it, to the minute."""
    at = time_of(text)
    return None if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M")


def seats(given: Mapping[str, Any] | None) -> str | None:
    """Seats or usage in use, against both limits: `104 of 100, cap 120`."""
    if given is None:
        return None
    cap = given["hardCap"]
    return f"{given['used']:,} of {given['purchased']:,}, " + (
        "no cap" if cap is None else f"cap {cap:,}"
    )


def ago(text: Any, now: datetime) -> str | None:
    """How long ago a time was: `3 min`, `2 h`, `5 d`."""
    at = time_of(text)
    if at is None:
        return None
    seconds = max(0.0, (now - at).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
