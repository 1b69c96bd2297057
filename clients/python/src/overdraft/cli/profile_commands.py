"""Commands of profiles, and `doctor`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from overdraft import errors
from overdraft.cli import doctor, output, profiles
from overdraft.cli.app import app
from overdraft.cli.session import REFUSED, UNAVAILABLE, Json, ProfileName, ending
from overdraft.vendor import Vendor


@app.command()
def login(
    url: Annotated[str, typer.Option(prompt="Address of the stack", help="Where its API is.")],
    *,
    profile: Annotated[str, typer.Option(help="The profile's name.")] = "default",
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="Read the API key from the standard input.")
    ] = False,
) -> None:
    """Store the address and the API key of a stack.

    The key is asked for, and goes into this system's keyring. On the command line it would stay in
    the shell's history.
    """
    key = sys.stdin.readline().strip() if key_stdin else typer.prompt("API key", hide_input=True)
    if not profiles.is_safe(url):
        raise typer.BadParameter("an address begins with https://", param_hint="--url")
    with ending():
        with Vendor(url, key) as vendor:
            _check_key(vendor)
        profiles.add(profile, url.rstrip("/"), key)
    output.say(f"Logged in to {url} as profile {profile}.", "green")


def _check_key(vendor: Vendor) -> None:
    """Whether the stack knows a key. One that may not list entitlements is known all the same."""
    try:
        next(vendor.list_entitlements(), None)
    except errors.Forbidden:
        output.say("This key may not read entitlements, so most commands will not work.", "yellow")


@app.command()
def logout(
    *, profile: Annotated[str, typer.Option(help="The profile's name.")] = "default"
) -> None:
    """Forget a profile, and remove its key from the keyring."""
    with ending():
        profiles.remove(profile)
    output.say(f"Forgot profile {profile}.")


@app.command("profiles")
def list_profiles(*, as_json: Json = False) -> None:
    """List the profiles."""
    with ending():
        found = profiles.stored()
    if as_json:
        return output.show_json(found)
    rows = [
        (name, each["url"], name == found["default"])
        for name, each in sorted(found["profiles"].items())
    ]
    return output.show_table(("profile", "address", "default"), rows, "No profile: overdraft login")


@app.command("doctor")
def check(*, profile: ProfileName = None, as_json: Json = False) -> None:
    """Is this stack well? Checks its answers, the key, the clocks, reports and webhooks."""
    with ending():
        found = profiles.chosen(profile)
        findings = doctor.examine(found.url, found.api_key)
    if as_json:
        output.show_json([each._asdict() for each in findings])
    else:
        rows = [(each.what, each.state, each.detail) for each in findings]
        output.show_table(("check", "", ""), rows, "")
    if findings[0].state == "failed":
        raise typer.Exit(UNAVAILABLE)
    if any(each.state == "failed" for each in findings):
        raise typer.Exit(REFUSED)
