"""The events as pydantic models: their schemas, for the description and the tests."""

from typing import Any, Literal

from pydantic import Field, create_model

from shared.api.schemas.base import Output
from shared.api.schemas.entitlements import Contacts, Customer, ScheduledChange
from shared.api.schemas.follow_up import FollowUpEntry
from shared.api.schemas.history import LimitReached, OverdraftEpisode
from shared.api.schemas.reports import ReportFilters, ReportPeriod, ReportTotals, TrueUpTotals
from shared.api.schemas.seats import Overdraft, SeatRequest, Seats
from shared.api.schemas.true_up import TrueUpLine
from shared.api.schemas.usage import Used
from shared.events import types as event_types


class EventSeat(Output):
    """The seat of an event. The names of a person who was erased are null."""

    seat_key: str
    seat_id: str | None
    seat_name: str | None
    attributes: dict[str, str]
    activation_id: str | None = None
    is_overdraft_seat: bool | None = None
    is_borrowed: bool | None = None
    activated_at: str | None = None
    lease_expiry: str | None = None
    held_seconds: int | None = Field(None, description="How long a seat that ended was held.")


class EventData(Output):
    """The members that every event of an entitlement has."""

    entitlement_id: str
    external_id: str | None = Field(description="Your own id of the entitlement.")
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str] = Field(description="Your own notes on the entitlement.")
    actor: str = Field(description="The id of the key that did it, or `sweep`.")
    request_id: str | None = Field(
        None,
        description="The request that caused it: `x-request-id` of its answer, `requestId` in the"
        " logs. Of a denial, the latest attempt. Absent if sales or the customer caused it.",
    )
    test: bool = Field(default=False, description="True in test events only.")


class ChangeData(EventData):
    """The members of an event of an accepted change."""

    seq: int


class SeatsData(ChangeData):
    """A change of the seats."""

    seats: Seats = Field(description="After this change.")


class SeatActivatedData(SeatsData):
    """A seat was taken."""

    seat: EventSeat


class SeatBorrowedData(SeatsData):
    """A seat was borrowed, or borrowed for longer."""

    seat: EventSeat


class SeatDeactivatedData(SeatsData):
    """A seat ended."""

    seat: EventSeat
    reason: Literal["released", "lease_expired", "removed"]


class DenialCount(Output):
    """The number of denied attempts of this seat in this UTC hour."""

    hour: str
    attempts: int
    first_at: str
    last_at: str
    limit_reached: LimitReached


class SeatDeniedData(EventData):
    """An activation was denied: at the hard cap, or because the overdraft period had ended."""

    seats: Seats
    seat: EventSeat
    denial: DenialCount


class OverdraftData(SeatsData):
    """Usage crossed a limit; `seat` made the difference, if one did."""

    seat: EventSeat | None = None


class OverdraftExitedData(OverdraftData):
    """Usage fell back to what was purchased."""

    episode: OverdraftEpisode | None


class ThresholdData(OverdraftData):
    """Usage reached a threshold."""

    threshold: int | None = Field(
        description="Percent of what was purchased; null: one of `seatsLeftThresholds`."
    )
    seats_left: int | None = Field(
        None, description="So many of the purchased seats were left, or fewer."
    )


class ClockUsage(Used):
    """A usage limit at the time of the notice."""

    key: str


class EventUsage(Used):
    """A usage limit in its period, after this change."""

    key: str
    period_start: str
    period_end: str | None


class UsageData(ChangeData):
    """Usage of a limit crossed what was purchased or the hard cap; once a period."""

    usage: EventUsage


class UsageThresholdData(UsageData):
    """Usage of a limit reached a threshold; once a period."""

    threshold: int = Field(description="Percent of what was purchased.")


class RequestDenialCount(DenialCount):
    """Denied attempts of this request in this UTC hour, and the quantity that it asked for."""

    request_key: str = Field(description="Identifies its Idempotency-Key.")
    quantity: int


class UsageDeniedData(EventData):
    """A request did not fit under a usage limit."""

    usage: EventUsage
    denial: RequestDenialCount


class UsageTerms(Output):
    """The limits of a usage limit."""

    limit: int
    hard_cap: int | None
    customer_cap: int | None
    reset_schedule: str


class Terms(Output):
    """Limits, status and validity."""

    seat_count: int
    hard_cap: int | None
    customer_cap: int | None
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
    """The follow-up by sales changed."""

    follow_up: FollowUpEntry


class ExpiringData(EventData):
    """The entitlement ends in some days, one of its `expiryNoticeDays`."""

    valid_until: str
    days_left: int


class OverdraftClockData(EventData):
    """The period of an overdraft of seats: it ends soon, it has ended, or use has recovered."""

    seats: Seats = Field(description="At the time of the notice.")
    overdraft: Overdraft


class UsageOverdraftClockData(EventData):
    """The period of a usage limit's overdraft: it ends soon, it has ended, or use has recovered."""

    usage: ClockUsage
    overdraft: Overdraft


class ChangeFailedData(EventData):
    """A scheduled change was refused when it was to be applied: `failure` says why."""

    scheduled_change: ScheduledChange


class FollowUpDueData(EventData):
    """The due date of a follow-up has come."""

    follow_up: FollowUpEntry


class TrueUpDecidedData(EventData):
    """The vendor decided about a line of a true-up: what overdraft costs in a month."""

    line: TrueUpLine


class SeatsRequestedData(EventData):
    """The customer requested more seats, or more of a usage limit."""

    seats: Seats | None = Field(description="At that moment, if seats are requested.")
    usage: Used | None = Field(description="At that moment, of the usage limit that is requested.")
    request: SeatRequest


class ReportPublishedData(Output):
    """A report was published; the API has links to its files for those who may read it."""

    report_id: str
    version: int
    previous_report_id: str | None
    period: ReportPeriod
    filters: ReportFilters
    formats: list[str]
    summary: ReportTotals
    test: bool = False


class TrueUpPublishedData(Output):
    """A statement of what overdraft costs was published; the API has links to its files."""

    true_up_id: str
    version: int
    previous_true_up_id: str | None
    period: ReportPeriod
    filters: ReportFilters
    formats: list[str]
    summary: TrueUpTotals
    test: bool = False


class EndpointDisabledData(Output):
    """A webhook endpoint was disabled because of its answers."""

    webhook_id: str
    url: str
    reason: Literal["gone", "failing"]
    entitlement_id: str | None
    test: bool = False


DATA: dict[str, type[Output]] = {
    event_types.SEAT_ACTIVATED: SeatActivatedData,
    event_types.SEAT_BORROWED: SeatBorrowedData,
    event_types.SEAT_DEACTIVATED: SeatDeactivatedData,
    event_types.SEAT_DENIED: SeatDeniedData,
    event_types.OVERDRAFT_ENTERED: OverdraftData,
    event_types.OVERDRAFT_EXITED: OverdraftExitedData,
    event_types.OVERDRAFT_EXHAUSTED: OverdraftData,
    event_types.OVERDRAFT_ENDING: OverdraftClockData,
    event_types.OVERDRAFT_ENDED: OverdraftClockData,
    event_types.OVERDRAFT_RECOVERED: OverdraftClockData,
    event_types.THRESHOLD_REACHED: ThresholdData,
    event_types.USAGE_DENIED: UsageDeniedData,
    event_types.USAGE_OVERDRAFT_ENTERED: UsageData,
    event_types.USAGE_OVERDRAFT_EXHAUSTED: UsageData,
    event_types.USAGE_OVERDRAFT_ENDING: UsageOverdraftClockData,
    event_types.USAGE_OVERDRAFT_ENDED: UsageOverdraftClockData,
    event_types.USAGE_OVERDRAFT_RECOVERED: UsageOverdraftClockData,
    event_types.USAGE_THRESHOLD_REACHED: UsageThresholdData,
    event_types.UPDATED: UpdatedData,
    event_types.CHANGE_FAILED: ChangeFailedData,
    event_types.EXPIRING: ExpiringData,
    event_types.EXPIRED: TermsData,
    event_types.DELETED: TermsData,
    event_types.FOLLOW_UP_UPDATED: FollowUpData,
    event_types.FOLLOW_UP_DUE: FollowUpDueData,
    event_types.TRUE_UP_DECIDED: TrueUpDecidedData,
    event_types.SEATS_REQUESTED: SeatsRequestedData,
    event_types.REPORT_PUBLISHED: ReportPublishedData,
    event_types.TRUE_UP_PUBLISHED: TrueUpPublishedData,
    event_types.ENDPOINT_DISABLED: EndpointDisabledData,
}


def name_of(kind: str) -> str:
    """The name of an event type's schema, such as `EntitlementSeatActivated`."""
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


class Event(Output):
    """An event of an entitlement."""

    id: str = Field(description="The same in every redelivery.")
    type: Literal[event_types.TYPES]  # type: ignore[valid-type]
    timestamp: str
    data: dict[str, Any] = Field(description="As the event's own schema has it.")
    delivery_id: str = Field(description="The id that its deliveries to webhook endpoints have.")


class EventList(Output):
    """A page of events, newest first."""

    items: list[Event]
    next_page_token: str | None
