"""What the customer's portal reads."""

from typing import Literal

from pydantic import Field

from shared.api.routes import PORTAL_ROLES
from shared.api.schemas.base import Output
from shared.api.schemas.history import LimitsInForce
from shared.api.schemas.seats import Overdraft, Seats
from shared.api.schemas.usage import CurrentUsage


class Portal(Output):
    """What is in use against both limits now."""

    entitlement_id: str
    product: str
    sku: str | None
    customer: str
    account_owner: str | None = Field(description="The name of the vendor's account owner.")
    status: Literal["active", "suspended", "expired", "not_yet_valid", "deleted"]
    valid_from: str | None
    valid_until: str | None
    time_zone: str
    lease_period: str | None
    requests_reach: Literal["account_owner", "vendor", "nobody"] = Field(
        description="Who is mailed when more seats are requested."
    )
    support_email: str | None = Field(description="Where the customer reaches the vendor.")
    seats: "Seats | None"
    overdraft: "Overdraft | None" = Field(description="The clock of an overdraft with a period.")
    customer_cap: int | None = Field(description="The customer's own cap of the seats.")
    usage: list["CurrentUsage"]
    shows_charges: bool = Field(
        description="Whether the customer may read what overdraft costs: `GET …/true-up`."
    )
    role: Literal[PORTAL_ROLES]  # type: ignore[valid-type]
    hides_names: bool = Field(description="Whether the link shows nobody's name.")
    expires_at: str = Field(description="When the link expires.")
    as_of: str
    version: str = Field(description="Changes when anything changed or was denied.")


class PortalDenialMark(Output):
    """Denials in one interval of the graph, at least an hour."""

    from_: str = Field(alias="from")
    to: str
    attempts: int
    people: int | None = Field(
        description="Different persons, or requests; null for days: see the denials by day."
    )


class PortalSection(Output):
    """A quarter-hour of an interval in which limits changed."""

    from_: str = Field(alias="from")
    highest: int
    overdraft_seconds: int


class PortalGraph(Output):
    """Usage over time; the n-th values are those of the n-th interval.

    Hours and days begin with a day of the entitlement's time zone, to the hour. Null: nothing is
    known yet, or the interval has not begun.
    """

    usage_key: str | None
    from_: str = Field(alias="from")
    to: str
    interval: Literal["PT15M", "PT1H", "P1D"]
    as_of: str
    starts: list[str] = Field(description="When each interval begins.")
    lowest: list[int | None]
    highest: list[int | None]
    closing: list[int | None]
    overdraft_seconds: list[int | None]
    demand: list[int | None] = Field(
        description="Of seats: the highest use, and the most people who were denied within an hour"
        " of the interval. Null for usage limits."
    )
    sections: list[PortalSection] = Field(
        description="The quarter-hours of hours or days in which limits changed, of the newest ten."
    )
    limits: list["LimitsInForce"]
    denials: list[PortalDenialMark]


class PortalDeniedDay(Output):
    """Denials on a day of the entitlement's time zone."""

    date: str
    attempts: int
    people: int | None = Field(description="Null where the answer is not complete.")


class PortalDeniedPerson(Output):
    """A person who was denied."""

    seat_key: str
    seat_id: str | None
    seat_name: str | None
    attempts: int
    first_at: str
    last_at: str


class PortalDenials(Output):
    """Denials by day, and by person, most often first; of a usage limit, requests are counted."""

    usage_key: str | None
    from_: str = Field(alias="from")
    to: str
    is_complete: bool = Field(
        description="False: more was denied than one answer takes. Then attempts and days are"
        " counted by the hour, and people are those who were denied last: at least."
    )
    attempts: int
    people: int
    quantity: int | None = Field(
        description="Of a usage limit: what the denied requests asked for. Null for seats."
    )
    days: list[PortalDeniedDay]
    persons: list[PortalDeniedPerson] = Field(description="At most 200; none of a usage limit.")


class Crossing(Output):
    """When usage will reach a limit; dates are in the entitlement's time zone."""

    limit: int
    status: Literal["met", "expected", "not_expected"]
    date: str | None
    earliest: str | None
    latest: str | None = Field(description="Null: perhaps never.")


class Forecast(Output):
    """Where usage goes if it continues as before."""

    usage_key: str | None
    status: Literal["ready", "insufficient_data"]
    basis: str = Field(description="What it follows from, in words.")
    unit: Literal["weeks", "days"] = Field(description="What `known` and `needed` count.")
    known: int = Field(description="The weeks or days that it follows from.")
    needed: int = Field(description="How many it takes.")
    includes_denied: bool = Field(
        description="Whether there were denials in that time: what was denied is demand too."
    )
    per_week: float | None
    per_week_low: float | None
    per_week_high: float | None
    purchased: Crossing | None
    hard_cap: Crossing | None
