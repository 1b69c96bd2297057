"""Usage over time, overdraft episodes and denials."""

from typing import Annotated, Literal

from pydantic import Field

from shared.api.schemas.base import Output
from shared.audit import LIMITS_REACHED


class LimitsInForce(Output):
    """Both limits, from a time on."""

    from_: str = Field(alias="from")
    purchased: int
    hard_cap: int | None


class UsageInterval(Output):
    """Usage in one interval; so far, if it is not over."""

    from_: str = Field(alias="from")
    to: str
    lowest: int
    highest: int
    closing: int = Field(description="At the end, or now.")
    seat_seconds: int
    overdraft_seconds: int = Field(description="How long more than purchased was in use.")
    overdraft_seat_seconds: int
    activations: int
    activated_seats: int = Field(description="How many different seats were taken.")
    overdraft_seats: int = Field(description="How many different seats were taken in overdraft.")
    brief_activations: int = Field(description="Released within ten minutes.")
    releases: int
    expiries: int = Field(description="Leases that expired.")
    removals: int = Field(description="Seats that ended with the entitlement.")
    denied_attempts: int
    denied_seats: int = Field(description="How many different seats were denied.")
    limits: list[LimitsInForce]


class CountInterval(Output):
    """Usage of a usage limit in one interval; so far, if it is not over."""

    from_: str = Field(alias="from")
    to: str
    lowest: int
    highest: int
    closing: int = Field(description="What is used in the period, at the end, or now.")
    overdraft_seconds: int = Field(description="How long more than purchased was used.")
    consumed: int
    requests: int = Field(description="How many requests consumed it.")
    corrected: int = Field(description="The sum of corrections, signed.")
    denied_attempts: int
    denied_requests: int = Field(description="How many different requests were denied.")
    limits: list[LimitsInForce]


class UsageHistory(Output):
    """A page of intervals, oldest first, without gaps; of the seats, or of a usage limit."""

    items: list[UsageInterval | CountInterval]
    next_page_token: str | None


class OverdraftEpisode(Output):
    """Usage above what was purchased, from when it rose until it fell back."""

    episode_id: str
    start: str
    end: str | None = Field(description="Null: it has not ended.")
    peak: int = Field(description="The most in use.")
    overdraft_seconds: int
    overdraft_seat_seconds: int
    seat_hours: float = Field(description="Seats above what was purchased, times hours.")
    distinct_seats: int = Field(description="How many different seats were granted in overdraft.")
    denied_attempts: int
    denied_seats: int


class UsageOverdraftEpisode(Output):
    """Usage of a limit above what was purchased, until its period ended or it was corrected."""

    episode_id: str
    start: str
    end: str | None = Field(description="Null: it has not ended.")
    peak: int = Field(description="The most used.")
    overdraft_seconds: int
    denied_attempts: int
    denied_requests: int


class OverdraftList(Output):
    """A page of overdraft episodes, of the seats or of a usage limit."""

    items: list[OverdraftEpisode | UsageOverdraftEpisode]
    next_page_token: str | None


LimitReached = Annotated[
    Literal[LIMITS_REACHED],  # type: ignore[valid-type]
    Field(
        description="For which limit: the hard cap; what was purchased, because the overdraft"
        " period had ended; or the customer's own cap."
    ),
]


class Denial(Output):
    """A seat that was denied in one UTC hour, with the limits at the last attempt."""

    hour: str
    seat_key: str
    seat_id: str | None
    seat_name: str | None
    attempts: int
    first_at: str
    last_at: str
    used: int
    purchased: int
    hard_cap: int | None
    limit_reached: LimitReached


class UsageDenial(Output):
    """A request that did not fit in one UTC hour, with the limits at the last attempt."""

    hour: str
    key: str
    request_key: str = Field(description="Identifies its Idempotency-Key.")
    quantity: int
    attempts: int
    first_at: str
    last_at: str
    used: int
    purchased: int
    hard_cap: int | None
    limit_reached: LimitReached


class DenialList(Output):
    """A page of denials, of seats or of a usage limit."""

    items: list[Denial | UsageDenial]
    next_page_token: str | None
