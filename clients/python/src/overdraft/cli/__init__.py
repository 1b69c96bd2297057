"""`overdraft`, the command line for people of support and sales. Needs the extra `[cli]`."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from overdraft.cli.commands import run  # noqa: PLC0415 - it may not be installed
    except ModuleNotFoundError as error:
        if error.name in ("typer", "rich", "keyring", "plotext"):
            sys.exit("overdraft: the command line needs: pip install 'overdraft-client[cli]'")
        raise
    run()
