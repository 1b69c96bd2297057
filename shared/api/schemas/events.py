"""The events as pydantic models: their schemas, for the description and the tests."""

from typing import Literal

from pydantic import Field, create_model

from shared.api.schemas.base import Output
from shared.api.schemas.entitlements import Contacts, Customer
from shared.api.schemas.follow_up import FollowUpEntry
from shared.api.schemas.history import OverdraftEpisode
from shared.api.schemas.reports import ReportFilters, ReportPeriod, ReportSummary
from shared.api.schemas.seats import SeatRequest, Seats
from shared.api.schemas.usage import Used
from shared.events import types as event_types


class EventSeat(Output):
    """The seat that an event is about. A person who was erased is null."""

    seat_key: str
    seat_id: str | None
    seat_name: str | None
    attributes: dict[str, str]
    activation_id: str | None = None
    is_overdraft_seat: bool | None = None
    activated_at: str | None = None
    lease_expiry: str | None = None
    held_seconds: int | None = Field(None, description="Of a seat that was given back.")


class EventData(Output):
    """What every event of an entitlement carries."""

    entitlement_id: str
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    actor: str = Field(description="Whose key did it, or `sweep`.")
    request_id: str | None = Field(
        None,
        description="The request that did it: `x-request-id` of its answer, `requestId` in the"
        " logs. Of a denial, the latest attempt. Absent where sales or the customer did something.",
    )
    test: bool = Field(default=False, description="True in test events only.")


class ChangeData(EventData):
    """Of an accepted change: its page, and its place in the order of the page's changes."""

    page: int
    seq: int


class SeatsData(ChangeData):
    """Of a change of the seats."""

    seats: Seats = Field(description="As this change left them.")


class SeatActivatedData(SeatsData):
    """A seat was taken."""

    seat: EventSeat


class SeatDeactivatedData(SeatsData):
    """A seat was given back."""

    seat: EventSeat
    reason: Literal["released", "lease_expired", "removed"]


class DenialCount(Output):
    """How often this seat was turned away in this UTC hour."""

    hour: str
    attempts: int
    first_at: str
    last_at: str


class SeatDeniedData(EventData):
    """An activation met the hard cap."""

    seats: Seats
    seat: EventSeat
    denial: DenialCount


class OverdraftData(SeatsData):
    """Use crossed a limit; `seat` made the difference, if one did."""

    seat: EventSeat | None = None


class OverdraftExitedData(OverdraftData):
    """Use fell back to what was purchased."""

    episode: OverdraftEpisode | None


class ThresholdData(OverdraftData):
    """Use reached a threshold."""

    threshold: int = Field(description="Percent of what was purchased.")


class EventUsage(Used):
    """A usage limit in its period, as this change left it."""

    key: str
    period_start: str
    period_end: str | None


class UsageData(ChangeData):
    """Use of a limit crossed something; told once a period."""

    usage: EventUsage


class UsageThresholdData(UsageData):
    """Use of a limit reached a threshold; told once a period."""

    threshold: int = Field(description="Percent of what was purchased.")


class RequestDenialCount(DenialCount):
    """How often this request was denied in this UTC hour, and how much it asked for."""

    request_key: str = Field(description="Stands for its Idempotency-Key.")
    quantity: int


class UsageDeniedData(EventData):
    """What was to be consumed did not fit under the hard cap."""

    usage: EventUsage
    denial: RequestDenialCount


class UsageTerms(Output):
    """The limits of what is counted."""

    limit: int
    hard_cap: int | None
    reset_schedule: str


class Terms(Output):
    """Limits, status and validity."""

    seat_count: int
    hard_cap: int | None
    status: str | None
    valid_from: str | None
    valid_until: str | None


class TermsData(SeatsData):
    """Limits, status or validity, before and after."""

    before: Terms
    after: Terms


class UpdatedData(ChangeData):
    """Limits, status or validity, before and after: of the seats, or of a usage limit.

    A usage limit that was added has no `before`, one that was removed no `after`.
    """

    seats: Seats | None = None
    usage: EventUsage | None = None
    before: Terms | UsageTerms | None
    after: Terms | UsageTerms | None


class FollowUpData(EventData):
    """Sales stand elsewhere with an entitlement's overdraft."""

    follow_up: FollowUpEntry


class SeatsRequestedData(EventData):
    """The customer asked for more seats."""

    seats: Seats = Field(description="In use at that moment.")
    request: SeatRequest


class ReportPublishedData(Output):
    """A report is published; whoever may read it is answered links to its files."""

    report_id: str
    version: int
    previous_report_id: str | None
    period: ReportPeriod
    filters: ReportFilters
    summary: ReportSummary
    test: bool = False


class EndpointDisabledData(Output):
    """A webhook endpoint was disabled because of how it answered."""

    webhook_id: str
    url: str
    reason: Literal["gone", "failing"]
    entitlement_id: str | None
    test: bool = False


DATA: dict[str, type[Output]] = {
    event_types.SEAT_ACTIVATED: SeatActivatedData,
    event_types.SEAT_DEACTIVATED: SeatDeactivatedData,
    event_types.SEAT_DENIED: SeatDeniedData,
    event_types.OVERDRAFT_ENTERED: OverdraftData,
    event_types.OVERDRAFT_EXITED: OverdraftExitedData,
    event_types.OVERDRAFT_EXHAUSTED: OverdraftData,
    event_types.THRESHOLD_REACHED: ThresholdData,
    event_types.USAGE_DENIED: UsageDeniedData,
    event_types.USAGE_OVERDRAFT_ENTERED: UsageData,
    event_types.USAGE_OVERDRAFT_EXHAUSTED: UsageData,
    event_types.USAGE_THRESHOLD_REACHED: UsageThresholdData,
    event_types.UPDATED: UpdatedData,
    event_types.EXPIRED: TermsData,
    event_types.DELETED: TermsData,
    event_types.FOLLOW_UP_UPDATED: FollowUpData,
    event_types.SEATS_REQUESTED: SeatsRequestedData,
    event_types.REPORT_PUBLISHED: ReportPublishedData,
    event_types.ENDPOINT_DISABLED: EndpointDisabledData,
}


def name_of(kind: str) -> str:
    """The schema's name of an event type: `EntitlementSeatActivated`."""
    return "".join(part.capitalize() for part in kind.split("."))


EVENTS: dict[str, type[Output]] = {
    kind: create_model(
        name_of(kind),
        __base__=Output,
        __doc__=f"`{kind}`: {(data.__doc__ or '').strip()}",
        id=(str, Field(description="The same in every redelivery.")),
        type=(Literal[kind], ...),
        timestamp=(str, ...),
        data=(data, ...),
    )
    for kind, data in DATA.items()
}
