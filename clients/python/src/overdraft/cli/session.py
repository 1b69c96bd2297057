"""A command at work: its stack, and what its errors mean for the exit code."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from typing import Annotated, TypeVar

import typer

from overdraft import errors
from overdraft.cli import output, profiles
from overdraft.vendor import Vendor

# Exit codes.
REFUSED, WRITTEN_WRONGLY, UNAVAILABLE, NOT_ALLOWED = 1, 2, 3, 4
T = TypeVar("T")
ID = re.compile(r"ent_[a-z0-9]{16}")

Json = Annotated[bool, typer.Option("--json", help="Write JSON, for scripts.")]
ProfileName = Annotated[
    str | None,
    typer.Option("--profile", help="The profile to use, instead of the default one."),
]
Entitlement = Annotated[
    str, typer.Argument(help="The entitlement: its id (ent_…), or your own external id.")
]


@contextlib.contextmanager
def stack(profile: str | None) -> Iterator[Vendor]:
    """The stack of a profile; errors end the command, with a sentence and an exit code."""
    with ending():
        found = profiles.chosen(profile)
        with Vendor(found.url, found.api_key) as vendor:
            yield vendor


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Errors end the command, with a sentence and an exit code."""
    try:
        yield
    except profiles.ProfileError as error:
        output.complain(str(error))
        raise typer.Exit(NOT_ALLOWED) from None
    except (errors.Unauthorized, errors.Forbidden) as error:
        output.complain(f"{error} (request {error.request_id})")
        raise typer.Exit(NOT_ALLOWED) from None
    except errors.Invalid as error:
        for each in error.errors or [{"pointer": "", "detail": str(error)}]:
            output.complain(f"{each['pointer']} {each['detail']}".strip())
        raise typer.Exit(REFUSED) from None
    except errors.Refused as error:
        output.complain(f"{error} (request {error.request_id})")
        raise typer.Exit(REFUSED) from None
    except ValueError as error:  # an id, a key or an address that is none
        output.complain(str(error))
        raise typer.Exit(WRITTEN_WRONGLY) from None
    except errors.Unavailable as error:
        output.complain(f"{error}. Is the stack well? overdraft doctor")
        raise typer.Exit(UNAVAILABLE) from None


def at_most(items: Iterator[T], limit: int) -> list[T]:
    """The first items of a list; if there are more, it is said."""
    found = list(itertools.islice(items, limit + 1))
    if len(found) > limit:
        output.hint(f"There are more: --limit {limit * 10}")
    return found[:limit]


def id_of(vendor: Vendor, given: str) -> str:
    """The id of an entitlement that was named by its id or by its external id.

    Raises:
        typer.Exit: there is none.
    """
    if ID.fullmatch(given):
        return given
    try:
        return vendor.get_entitlement_by_external_id(given)["entitlementId"]
    except (errors.NotFound, errors.Invalid):
        output.complain(
            f"no entitlement has the external id {given}. Find it: "
            f"overdraft entitlements list --search '{given}'"
        )
        raise typer.Exit(REFUSED) from None
