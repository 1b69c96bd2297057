"""Sessions of the console, and what its pages read."""

from typing import Annotated, Literal

from pydantic import Field

from shared.api.schemas.base import Input, Output
from shared.api.schemas.entitlements import Entitlement, Lease
from shared.api.schemas.follow_up import FollowUp

WAYS_IN = ("apiKey", "link", "openid")


class SessionInput(Input):
    """A proof of who signs in: one of these."""

    api_key: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="An API key. The session has its scopes, and ends when it is revoked."
    )
    code: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="The code of a link that signs in, which works once."
    )
    id_token: Annotated[str, Field(min_length=1, max_length=16_000)] | None = Field(
        None,
        description="An ID token of the stack's OpenID provider, issued in the last five minutes;"
        " it works once.",
    )


class Session(Output):
    """A session of the console, without its credential."""

    session_id: str
    actor: str = Field(
        description="Whom changes are attributed to: an e-mail address, or the id of an API key."
    )
    name: str | None
    scopes: list[str]
    signed_in_with: Literal[WAYS_IN]  # type: ignore[valid-type]
    created_at: str
    idle_at: str = Field(description="When it ends unless somebody is at the page before.")
    expires_at: str


class NewSession(Session):
    """A session with its credential, which only this answer has."""

    session: str = Field(description="For the header `Authorization: Session …`.")


class SessionList(Output):
    """A page of sessions."""

    items: list[Session]
    next_page_token: str | None


class SignInLinkInput(Input):
    """A link that signs in to the console."""

    expires_in: Lease | None = Field(None, description="How long it works; by default PT10M.")


class SignInLink(Output):
    """A link that signs in to the console, once."""

    url: str
    expires_at: str


class StackParameter(Output):
    """A parameter of the stack."""

    name: str
    value: str = Field(description="`****` for one that is secret.")


class Stack(Output):
    """How this stack was deployed, as CloudFormation knows it."""

    name: str
    version: str = Field(description="The release of Overdraft.")
    region: str
    status: str
    created_at: str
    updated_at: str | None = Field(description="When it was last deployed again.")
    parameters: list[StackParameter]


class ListedFollowUp(FollowUp):
    """A follow-up with the entitlement that it is of."""

    etag: str = Field(description="For `If-Match`, when this one is changed.")
    entitlement: Entitlement


class ListedFollowUpList(Output):
    """A page of follow-ups."""

    items: list[ListedFollowUp]
    next_page_token: str | None
