"""API keys, license keys and portal links."""

from typing import Annotated, Literal

from pydantic import Field

from shared.api.routes import PORTAL_ROLES, SCOPES
from shared.api.schemas.base import Input, Name, Output, Time
from shared.api.schemas.entitlements import Lease


class ApiKeyInput(Input):
    """A key for the vendor's own software and people."""

    name: Name
    scopes: Annotated[list[Literal[SCOPES]], Field(min_length=1)]  # type: ignore[valid-type]
    expires_in: Lease | None = Field(None, description="By default it works until it is revoked.")


class ApiKey(Output):
    """An API key, without the key."""

    key_id: str
    name: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    last_used_at: str | None = Field(
        description="When it was last used, to the hour; null: not since this release."
    )


class NewApiKey(ApiKey):
    """An API key with the key itself, which only this answer has."""

    key: str


class ApiKeyList(Output):
    """A page of API keys."""

    items: list[ApiKey]
    next_page_token: str | None


class LicenseKeyInput(Input):
    """A key for software that runs at the customer."""

    name: Name | None = None


class LicenseKey(Output):
    """A license key, without the key."""

    key_id: str
    entitlement_id: str
    name: str | None
    created_at: str


class NewLicenseKey(LicenseKey):
    """A license key with the key itself, which only this answer has."""

    key: str


class LicenseKeyList(Output):
    """A page of license keys."""

    items: list[LicenseKey]
    next_page_token: str | None


class PortalLinkInput(Input):
    """A link for people at the customer."""

    role: Literal[PORTAL_ROLES] = Field(  # type: ignore[valid-type]
        "viewer", description="`admin` may release seats as well."
    )
    expires_in: Lease | None = Field(None, description="By default P30D.")
    expires_at: Time | None = Field(None, description="Instead of `expiresIn`.")
    name: Name | None = Field(None, description="For whom it is; only you see it.")
    hides_names: bool = Field(
        default=False,
        description="The link shows nobody's name, id or device, only how many there are. For"
        " `viewer` alone: who releases seats must know whose.",
    )


class PortalLink(Output):
    """A portal link, without its token."""

    link_id: str
    entitlement_id: str
    name: str | None
    role: Literal[PORTAL_ROLES]  # type: ignore[valid-type]
    hides_names: bool
    created_at: str
    expires_at: str


class PortalLinkCreated(PortalLink):
    """A portal link with its addresses, which only this answer has and anybody may use."""

    url: str
    embed_url: str = Field(description="For a frame in a page of a PortalEmbedOrigins origin.")


class PortalLinkList(Output):
    """A page of portal links."""

    items: list[PortalLink]
    next_page_token: str | None
