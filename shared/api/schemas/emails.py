"""E-mails that were sent."""

from typing import Literal

from pydantic import Field

from shared.api.schemas.base import Output
from shared.api.schemas.usage import Used
from shared.history.overdraft_notices import NOTICES


class EmailUsage(Used):
    """What an e-mail said about a usage limit."""

    key: str
    denied_attempts: int
    denied_requests: int
    fired: list[str] = Field(description="Thresholds in percent, `entered`, `exhausted`.")


class EmailOverdraft(Output):
    """A notice of the period of an overdraft."""

    usage_key: str | None
    notice: Literal[NOTICES]  # type: ignore[valid-type]


class EmailNumbers(Output):
    """The numbers in an e-mail."""

    used: int
    purchased: int
    hard_cap: int | None
    overdraft_used: int
    overdraft_seats_granted: int
    denied_attempts: int
    denied_seats: int
    events: dict[str, int]
    thresholds: list[int]
    usage: list[EmailUsage] = Field([], description="The usage limits in it.")
    seats_left: int | None = Field(
        None, description="Notice that so many purchased seats were left, or fewer."
    )
    days_left: int | None = Field(None, description="The entitlement ends in so many days.")
    overdrafts: list[EmailOverdraft] = Field(
        [], description="Notices of the periods of overdrafts."
    )
    seats_requested: int = Field(0, description="More seats that the customer requested.")


class SentEmail(Output):
    """An e-mail about an entitlement, and the period that it covers."""

    audience: Literal["accountOwner", "customerAdmin", "requests"] = Field(
        description="`requests`: of the customer, for more seats; to the account owner, or to the"
        " recipients of reports."
    )
    to: str
    status: Literal["claimed", "sent", "bounced", "complained", "failed"]
    sent_at: str | None
    message_id: str | None
    subject: str | None
    from_: str = Field(alias="from")
    until: str
    numbers: EmailNumbers | None
    failure: str | None = Field(description="Why it was not sent, or why it was returned.")


class EmailList(Output):
    """A page of e-mails."""

    items: list[SentEmail]
    next_page_token: str | None
