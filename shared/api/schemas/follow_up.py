"""The follow-up of sales."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.api.schemas.base import Input, Name, Output, check_multiline
from shared.sales.follow_up import STATES


class FollowUpPatch(Input):
    """What changes in a follow-up: a JSON merge patch (RFC 7396), and a note to it."""

    state: Literal[STATES] = "open"  # type: ignore[valid-type]
    owner: Name | None = Field(None, description="Who sees to it.")
    note: (
        Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(check_multiline)]
        | None
    ) = Field(None, description="Kept with this change.")


class FollowUp(Output):
    """Where sales stand with an entitlement; of one that never had an overdraft, all is null."""

    entitlement_id: str
    state: Literal[STATES] | None  # type: ignore[valid-type]
    owner: str | None
    note: str | None = Field(description="Of the last change.")
    changed_at: str | None
    changed_by: str | None = Field(description="Whose key, or `overdraft`: by itself.")
    reason: Literal["overdraft", "purchase"] | None = Field(
        description="Why it changed by itself: an overdraft began, or more was purchased."
    )


class FollowUpEntry(Output):
    """One change of a follow-up."""

    state: Literal[STATES]  # type: ignore[valid-type]
    previous_state: Literal[STATES] | None  # type: ignore[valid-type]
    owner: str | None
    note: str | None
    changed_at: str
    changed_by: str
    reason: Literal["overdraft", "purchase"] | None


class FollowUpEntryList(Output):
    """A page of a follow-up's changes, newest first."""

    items: list[FollowUpEntry]
    next_page_token: str | None
