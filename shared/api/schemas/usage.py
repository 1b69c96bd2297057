"""Usage limits: consumption, corrections, periods."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.api.schemas.base import Input, Output, Time, check_not_zero, check_reason
from shared.api.schemas.seats import Overdraft
from shared.texts import (
    REASON_BYTES,
)
from shared.usage.counter import MAX_QUANTITY
from shared.usage.periods import SCHEDULES


class ConsumptionRequest(Input):
    """The quantity to consume, all or nothing."""

    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
    journaled: bool = Field(
        default=False,
        description="It may be sent again late. Its `Idempotency-Key` must be a UUIDv7 of the last"
        " 23 hours and 45 minutes, and at most 10 minutes ahead of the server. Say so from the"
        " first try on.",
    )
    occurred_at: Time | None = Field(
        None, description="When it happened, for people. It counts when it is accepted."
    )


class CorrectionInput(Input):
    """The quantity to add to the current period, or to take from it."""

    quantity: Annotated[
        int, Field(ge=-MAX_QUANTITY, le=MAX_QUANTITY), AfterValidator(check_not_zero)
    ]
    reason: Annotated[str, Field(min_length=1), AfterValidator(check_reason)] = Field(
        description=f"Kept with the correction; at most {REASON_BYTES} bytes."
    )


class Used(Output):
    """Usage of a limit in its period, against both limits."""

    used: int
    purchased: int
    hard_cap: int | None
    overdraft_used: int
    available: int | None


class Consumption(Output):
    """What was consumed, and the usage with it."""

    key: str
    quantity: int
    is_overdraft: bool = Field(description="Whether any of it lies above what was purchased.")
    overdraft_quantity: int = Field(description="How much of it lies above what was purchased.")
    status: Literal["within_limit", "at_limit", "overdraft"]
    usage: Used
    overdraft: Overdraft | None = Field(
        description="The clock of an overdraft with a period, as it is now; null: none runs."
    )
    period_start: str
    period_end: str | None = Field(description="Null: nothing that is known yet ends it.")
    dry_run: bool | None = Field(None, description="Only, and true, in answers to dryRun.")


class CurrentUsage(Output):
    """A usage limit in its current period."""

    key: str
    reset_schedule: Literal[SCHEDULES]  # type: ignore[valid-type]
    status: Literal["within_limit", "at_limit", "overdraft"]
    usage: Used
    overdraft: Overdraft | None = Field(
        description="The clock of an overdraft with a period, as it is now; null: none runs."
    )
    customer_cap: int | None = Field(description="A cap of the customer's own.")
    period_start: str
    period_end: str | None


class UsageList(Output):
    """The usage limits of an entitlement, in its order."""

    items: list[CurrentUsage]
    next_page_token: str | None


class UsagePeriod(Output):
    """A period and its total; of the current one, so far."""

    period_start: str
    period_end: str | None
    is_current: bool
    usage: Used = Field(description="The limits are those at its end.")


class UsagePeriodList(Output):
    """A page of periods, newest first. A month in which nothing was used is not listed."""

    items: list[UsagePeriod]
    next_page_token: str | None


class DatedConsumption(Output):
    """A consumption that was sent with the time at which it happened."""

    key: str
    quantity: int
    occurred_at: str = Field(description="When it happened, as it was sent.")
    consumed_at: str = Field(description="When it was accepted, which is when it counts.")
    actor: str = Field(description="The key with which it was sent.")
    usage: Used = Field(description="As the consumption left it.")
    period_start: str
    period_end: str | None


class DatedConsumptionList(Output):
    """A page of consumptions with a time of their own, newest first, by when they were accepted."""

    items: list[DatedConsumption]
    next_page_token: str | None


class Correction(Output):
    """A correction of usage."""

    key: str
    quantity: int
    reason: str
    corrected_at: str
    actor: str = Field(description="Whose key did it.")
    usage: Used = Field(description="As the correction left it.")
    period_start: str
    period_end: str | None


class CorrectionList(Output):
    """A page of corrections, newest first."""

    items: list[Correction]
    next_page_token: str | None
