"""All commands: each module adds its own to the program."""

import io
import sys

from overdraft.cli import (  # noqa: F401
    entitlement_commands,
    profile_commands,
    seat_commands,
    usage_commands,
    webhook_commands,
)
from overdraft.cli.app import app

__all__ = ["app", "run"]


def run() -> None:
    """Run the command that was given."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that this terminal cannot show
    app()
