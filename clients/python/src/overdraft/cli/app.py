"""The program, and what its commands have in common."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Annotated

import typer

from overdraft import __version__
from overdraft.cli import output

LIMIT = 50

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Soft license limits: who is over, who was denied and why, and what to do about it.",
    epilog="Exit codes: 0 done, 1 refused, 2 written wrongly, 3 out of reach, 4 not logged in or"
    " not allowed. OVERDRAFT_URL and OVERDRAFT_API_KEY stand for a profile.",
)
Most = Annotated[int, typer.Option("--limit", min=1, help="Show at most so many.")]
Since = Annotated[
    str | None,
    typer.Option("--from", help="From then on (2026-11-01T00:00:00Z), or so long ago (7d, 12h)."),
]
Until = Annotated[str | None, typer.Option("--to", help="Before this time; by default now.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def group(name: str, about: str) -> typer.Typer:
    """A group of commands about one thing."""
    made = typer.Typer(no_args_is_help=True, help=about)
    app.add_typer(made, name=name)
    return made


def time_from(text: str | None) -> str | None:
    """A time for the API: as it is, or so long ago (`7d`, `12h`, `30m`)."""
    match = re.fullmatch("([0-9]{1,5})([mhdw])", text or "")
    if match is None:
        return text
    unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[match[2]]
    ago = timedelta(**{unit: int(match[1])})
    at = datetime.now(timezone.utc) - ago
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


@app.callback(invoke_without_command=True)
def _options(
    *, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    if version:
        output.say(f"overdraft-client {__version__}")
        raise typer.Exit
