"""Reports."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.api.schemas.base import Email, Input, Name, Output, Time, Zone, sort_distinct
from shared.api.schemas.entitlements import Customer
from shared.api.schemas.true_up import TrueUpDecision
from shared.texts import PERIOD, REPORT_PERIOD

REPORT_FORMATS = ("html", "xlsx", "csv", "json")
EMAIL_TO = ("recipients", "accountOwner", "everyAccountOwner")


class ReportFilters(Input):
    """The entitlements of a report; by default all."""

    entitlement_id: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    customer: Name | None = Field(default=None, description="Its exact name or externalId.")
    product: Name | None = Field(default=None, description="Its exact name or SKU.")
    account_owner: Email | None = Field(default=None, description="The account owner's e-mail.")


class RequestedReport(Input):
    """What is requested of every kind of report."""

    filters: ReportFilters = ReportFilters()
    formats: Annotated[
        list[Literal[REPORT_FORMATS]],  # type: ignore[valid-type]
        Field(min_length=1),
        AfterValidator(sort_distinct),
    ] = [*REPORT_FORMATS]
    send_email: bool = Field(default=False, description="Send it by e-mail as well.")
    email_to: Literal[EMAIL_TO] = Field(  # type: ignore[valid-type]
        "recipients",
        description="To the stack's ReportRecipients, to the account owner whom `filters` name, or"
        " to every account owner, each with their own accounts alone.",
    )


class ReportInput(RequestedReport):
    """The report that is requested."""

    under_use: Annotated[int, Field(ge=1, le=80)] | None = Field(
        None,
        description="Also what was hardly used: seats, and usage limits that begin anew each month,"
        " of which never more than this percentage was used in three months. It reads every"
        " entitlement.",
    )

    period: Annotated[str, Field(pattern=REPORT_PERIOD)] | None = Field(
        None,
        description="A month, `YYYY-MM`, a quarter, `YYYY-Qn`, or an ISO week, `YYYY-Www`; the last"
        " month that is over, if nothing is given.",
    )
    from_: Time | None = Field(
        None, alias="from", description="In place of a month: the beginning of a quarter-hour."
    )
    to: Time | None = Field(None, description="Now, if not given.")
    time_zone: Zone | None = Field(None, description="The stack's ReportTimeZone, if not given.")


class TrueUpStatementInput(RequestedReport):
    """The statement that is requested."""

    period: Annotated[str, Field(pattern=PERIOD)] | None = Field(
        None,
        description="A month, `YYYY-MM`, or a quarter, `YYYY-Qn`, by the calendar of each"
        " entitlement's own time zone; the last month that is over, if nothing is given.",
    )


class ReportPeriod(Output):
    """The period of a report."""

    month: str | None
    quarter: str | None = None
    week: str | None = None
    from_: str = Field(alias="from")
    to: str
    time_zone: str


class Money(Output):
    """An amount in one currency; a decimal in a string."""

    amount: str
    currency: str


class CallContact(Output):
    """Whom to call."""

    name: str | None
    email: str | None
    phone: str | None


class ReportCall(Output):
    """A line of the call list: whom to call, why, and what to say."""

    entitlement_id: str
    customer: str
    product: str
    score: int = Field(description="0 to 100; the report says what it is made of.")
    reasons: list[str]
    advice: str
    contact: CallContact | None = Field(description="The customer's administrator.")
    account_owner: CallContact | None
    follow_up: str | None
    follow_up_owner: str | None
    monthly_value: Money | None


class ReportTotals(Output):
    """The totals of a report."""

    entitlements: int = Field(description="That have something to report.")
    in_overdraft: int
    denied: int = Field(description="Entitlements that turned somebody away or refused a request.")
    seat_hours: float = Field(description="Seats above what was purchased, times hours.")
    denied_seats: int = Field(description="People turned away, of each entitlement.")
    denied_requests: int = Field(description="Requests of usage limits that were refused.")
    denied_attempts: int = Field(description="Of both, every repetition counted.")
    under_used: int = Field(description="Entitlements with rows of under-use; see `underUse`.")
    monthly_value: list[Money] = Field(description="By currency, never mixed.")


class DigestItem(Output):
    """Something that happened in a week, or is about to."""

    entitlement_id: str
    customer: str
    product: str
    usage_key: str | None = Field(description="The usage limit; null: the seats, or the term.")
    at: str


class ReportDigest(Output):
    """What happened in a week; of each kind, at most twenty are named."""

    began: list[DigestItem] = Field(description="Overdrafts that began.")
    ended: list[DigestItem] = Field(description="Overdrafts that ended.")
    ending: list[DigestItem] = Field(
        description="Overdraft periods that end in 14 days, and terms in 30 days."
    )
    began_count: int
    ended_count: int
    ending_count: int


class ReportSummary(ReportTotals):
    """The totals of a report, and whom to call first."""

    digest: ReportDigest | None = Field(description="Only of a week.")

    calls: list[ReportCall] = Field(description="The first five of the call list.")


class ReportFile(Output):
    """A file of a report, behind a link that expires."""

    format: Literal[REPORT_FORMATS]  # type: ignore[valid-type]
    url: str = Field(description="Works for anybody who has it, until it expires.")
    expires_at: str
    bytes: int


class MadeReport(Output):
    """The progress of every kind of report."""

    status: Literal["queued", "running", "published", "failed"]
    period: ReportPeriod
    is_complete: bool = Field(description="False: the period was not over when it was asked for.")
    filters: ReportFilters
    formats: list[str]
    send_email: bool
    email_to: Literal[EMAIL_TO]  # type: ignore[valid-type]
    emailed_to: list[str] = Field(description="Whom its mail has gone to so far.")
    email_returned_from: list[str] = Field(
        description="Whose mail came back, or who complained of it."
    )
    version: int | None = Field(description="The n-th of this period and these filters.")
    change_count: int | None = Field(
        description="How many entitlements differ from the version before."
    )
    failure: str | None = Field(
        description="What went wrong last: it is tried again, unless the report says `failed`."
        " Of a published report: why its mail has not reached everybody."
    )
    failed_attempts: int
    requested_by: str
    created_at: str
    published_at: str | None
    files: list[ReportFile] = Field(description="Empty in lists, and before it is published.")


class Report(MadeReport):
    """A report and its progress."""

    report_id: str
    previous_report_id: str | None
    under_use: int | None
    summary: ReportSummary | None


class TrueUpSum(Output):
    """What a statement adds up to in one currency, and by what was decided."""

    currency: str
    amount: str
    billed: str
    waived: str
    disputed: str
    undecided: str


class TrueUpTotals(Output):
    """The totals of a statement."""

    entitlements: int
    lines: int
    totals: list[TrueUpSum] = Field(description="By currency, never mixed.")


class TrueUpStatement(MadeReport):
    """A statement of what overdraft costs, and its progress."""

    true_up_id: str
    previous_true_up_id: str | None
    is_complete: bool = Field(
        description="False: the period was not over everywhere when it was asked for."
    )
    summary: TrueUpTotals | None


class TrueUpStatementList(Output):
    """A page of statements, newest first."""

    items: list[TrueUpStatement]
    next_page_token: str | None


class TrueUpStatementLine(Output):
    """A line of a statement: whose it is, and what it costs."""

    entitlement_id: str
    customer: Customer
    account_owner: str | None = Field(description="The e-mail of the vendor's account owner.")
    product: str
    sku: str | None
    is_final: bool = Field(description="Whether it can be decided about.")
    line_id: str = Field(description="Such as `2026-10.EUR.seats`.")
    usage_key: str | None = Field(description="The usage limit; null: the seats.")
    month: str
    currency: str
    amount: str = Field(description="As it was published.")
    evidence: str = Field(
        description="How the amount comes about, in words; at most 2,000 characters."
    )
    decision: TrueUpDecision | None = Field(description="As it is now.")


class TrueUpStatementLineList(Output):
    """A page of the lines of a statement, in the order of its files.

    Empty before it is published. With a filter it may have few lines, or none, and yet a next page.
    """

    items: list[TrueUpStatementLine]
    next_page_token: str | None


class ReportList(Output):
    """A page of reports, newest first."""

    items: list[Report]
    next_page_token: str | None
