"""The events as pydantic models: their schemas, for the description and the tests."""

from typing import Literal

from pydantic import Field, create_model

from shared import events
from shared.models import Contacts, Customer, Output, OverdraftEpisode, Seats


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
    seats: Seats = Field(description="As this change left them.")
    actor: str = Field(description="Whose key did it, or `sweep`.")
    test: bool = Field(default=False, description="True in test events only.")


class ChangeData(EventData):
    """Of an accepted change: its page, and its place in the order of the page's changes."""

    page: int
    seq: int


class SeatActivatedData(ChangeData):
    """A seat was taken."""

    seat: EventSeat


class SeatDeactivatedData(ChangeData):
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

    seat: EventSeat
    denial: DenialCount


class OverdraftData(ChangeData):
    """Use crossed a limit; `seat` made the difference, if one did."""

    seat: EventSeat | None = None


class OverdraftExitedData(OverdraftData):
    """Use fell back to what was purchased."""

    episode: OverdraftEpisode | None


class ThresholdData(OverdraftData):
    """Use reached a threshold."""

    threshold: int = Field(description="Percent of what was purchased.")


class Terms(Output):
    """Limits, status and validity."""

    seat_count: int
    hard_cap: int | None
    status: str | None
    valid_from: str | None
    valid_until: str | None


class TermsData(ChangeData):
    """Limits, status or validity, before and after."""

    before: Terms
    after: Terms


class EndpointDisabledData(Output):
    """A webhook endpoint was disabled because of how it answered."""

    webhook_id: str
    url: str
    reason: Literal["gone", "failing"]
    entitlement_id: str | None
    test: bool = False


DATA: dict[str, type[Output]] = {
    events.SEAT_ACTIVATED: SeatActivatedData,
    events.SEAT_DEACTIVATED: SeatDeactivatedData,
    events.SEAT_DENIED: SeatDeniedData,
    events.OVERDRAFT_ENTERED: OverdraftData,
    events.OVERDRAFT_EXITED: OverdraftExitedData,
    events.OVERDRAFT_EXHAUSTED: OverdraftData,
    events.THRESHOLD_REACHED: ThresholdData,
    events.UPDATED: TermsData,
    events.EXPIRED: TermsData,
    events.DELETED: TermsData,
    events.ENDPOINT_DISABLED: EndpointDisabledData,
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
