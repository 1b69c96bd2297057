"""The follow-up by sales."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.api.schemas.base import Input, Name, Output, Time, check_multiline
from shared.sales.follow_up import REASONS, STATES


class FollowUpPatch(Input):
    """A change of a follow-up: a JSON merge patch (RFC 7396), and a note."""

    state: Literal[STATES] = "open"  # type: ignore[valid-type]
    owner: Name | None = Field(None, description="Who is responsible.")
    due_at: Time | None = Field(
        None, description="When it is to be looked at again: a reminder then. In the future."
    )
    note: (
        Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(check_multiline)]
        | None
    ) = Field(None, description="Stored with this change.")


class FollowUp(Output):
    """The follow-up of an entitlement; if it never had an overdraft, all is null."""

    entitlement_id: str
    state: Literal[STATES] | None  # type: ignore[valid-type]
    owner: str | None
    note: str | None = Field(description="Of the last change.")
    due_at: str | None
    changed_at: str | None
    changed_by: str | None = Field(description="The id of the key, or `overdraft`: automatically.")
    reason: Literal[REASONS] | None = Field(  # type: ignore[valid-type]
        description="Why it changed automatically: an overdraft began, somebody was denied, the"
        " customer asked for more, or more was purchased."
    )


class FollowUpEntry(Output):
    """One change of a follow-up."""

    state: Literal[STATES]  # type: ignore[valid-type]
    previous_state: Literal[STATES] | None  # type: ignore[valid-type]
    owner: str | None
    note: str | None
    due_at: str | None
    changed_at: str
    changed_by: str
    reason: Literal[REASONS] | None  # type: ignore[valid-type]


class FollowUpEntryList(Output):
    """A page of a follow-up's changes, newest first."""

    items: list[FollowUpEntry]
    next_page_token: str | None
