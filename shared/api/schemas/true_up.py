"""True-up: what an overdraft costs, and the decisions about it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.api.schemas.base import Input, Name, Output, check_multiline
from shared.sales.overdraft_price import CHARGES, SEAT_BASES, USAGE_BASES
from shared.sales.true_up import PARTS
from shared.sales.true_up_views import DECISIONS


class DecisionInput(Input):
    """What the vendor decides about a line of a true-up."""

    decision: Literal[DECISIONS] | None = Field(  # type: ignore[valid-type]
        description="Null takes an earlier decision back."
    )
    reason: (
        Annotated[str, Field(min_length=1, max_length=1_000), AfterValidator(check_multiline)]
        | None
    ) = Field(None, description="Why. The customer does not see it.")
    reference: Name | None = Field(None, description="Such as the number of an invoice.")


class TrueUpLevel(Output):
    """What was in use, against both limits that were in force."""

    used: int
    purchased: int
    hard_cap: int | None


class TrueUpPart(Output):
    """One step of a line: `quantity` times `unitAmount` times `factor`, not rounded."""

    what: Literal[PARTS] = Field(  # type: ignore[valid-type]
        description="`peak`: the highest overdraft of the month. `day`: that of a day. `period`: a"
        " usage period. `increase`: of a limit that never resets."
    )
    at: str = Field(
        description="When the level was first reached; the end of a period or of the month."
    )
    day: str = Field(description="Its local day.")
    level: TrueUpLevel
    opening: TrueUpLevel | None = Field(description="Of an increase: the level before.")
    overdraft: int = Field(description="Above what was purchased.")
    free: int = Field(description="So much of it costs nothing.")
    charged_before: int = Field(description="So much was charged to the end of the term before.")
    quantity: int = Field(description="What is charged.")
    basis: Literal[(*SEAT_BASES, *USAGE_BASES)]  # type: ignore[valid-type]
    charge: Literal[CHARGES]  # type: ignore[valid-type]
    unit_amount: str = Field(description="The price in force then.")
    factor: str = Field(
        description="Months, days or periods: `31/31`, or `12/31 + 8 + 15/30`: a sum of fractions"
        " of months by their days."
    )


class TrueUpDecision(Output):
    """What the vendor has decided about a line."""

    decision: Literal[DECISIONS] | None  # type: ignore[valid-type]
    reason: str | None = Field(description="Null for portal links.")
    reference: str | None
    amount: str = Field(description="Of the line when it was decided.")
    decided_at: str
    decided_by: str | None = Field(description="The id of the API key; null for portal links.")
    decided_by_name: str | None


class TrueUpLine(Output):
    """What one meter costs in one month, in one currency."""

    line_id: str = Field(description="Such as `2026-10.EUR.seats`.")
    usage_key: str | None = Field(description="The usage limit; null: the seats.")
    month: str
    currency: str
    amount: str = Field(
        description="The sum of the parts, at least `minimum` if that is not zero, rounded half up"
        " to the currency's minor unit, once."
    )
    expected_amount: str = Field(
        description="The same at the end of the month, if use goes on as it is now."
    )
    minimum: str | None
    is_minimum: bool = Field(description="Whether the amount is the minimum.")
    parts: list[TrueUpPart]
    decision: TrueUpDecision | None


class TrueUpTotal(Output):
    """The sum of the lines in one currency."""

    currency: str
    amount: str
    expected_amount: str


class TrueUpPeriod(Output):
    """A month or a quarter, in the entitlement's time zone."""

    name: str
    from_: str = Field(alias="from")
    to: str
    time_zone: str


class TrueUp(Output):
    """What the overdraft of an entitlement costs in a month or a quarter."""

    entitlement_id: str
    period: TrueUpPeriod
    as_of: str = Field(description="Until when use is included.")
    is_final: bool = Field(
        description="Whether the period is over and history has all that happened in it."
    )
    totals: list[TrueUpTotal]
    lines: list[TrueUpLine]


class DecidedTrueUpLine(Output):
    """A line about which was decided, as it was then."""

    line_id: str
    decision: TrueUpDecision
    line: TrueUpLine
    earlier: list[TrueUpDecision] = Field(description="The decisions before, newest first.")


class DecidedTrueUpLineList(Output):
    """A page of lines about which was decided, the latest month first."""

    items: list[DecidedTrueUpLine]
    next_page_token: str | None
