"""The contract's bodies as pydantic models: validation at the vendor's desk, and the description.

Inputs refuse unknown members and convert nothing: a bool or a float is no count.
"""

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from shared import events, times
from shared.entitlement import NOTIFICATIONS
from shared.follow_up import STATES
from shared.ledger import MAX_LEASE, MIN_LEASE
from shared.operations import PORTAL_ROLES, SCOPES
from shared.problems import InvalidRequest
from shared.texts import (
    ATTRIBUTES_BYTES,
    CONTROL,
    REASON_BYTES,
    SEAT_ID_BYTES,
    SEAT_NAME_BYTES,
    USAGE_KEY,
    wrong_id,
)
from shared.usage import MAX_LIMIT, MAX_LIMITS, MAX_QUANTITY, SCHEDULES
from shared.webhooks import OVERLAP_SECONDS, covers

MAX_COUNT = 10_000_000
REPORT_FORMATS = ("html", "xlsx", "csv", "json")


class Input(BaseModel):
    """What a caller sends."""

    model_config = ConfigDict(
        extra="forbid", strict=True, alias_generator=to_camel, validate_by_alias=True
    )


class Output(BaseModel):
    """What the API answers; used for the description only."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


def _plain(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("must not hold control characters")
    if text != text.strip():
        raise ValueError("must not begin or end with white space")
    return text


def _time(text: str) -> str:
    return times.to_rfc3339(times.from_rfc3339(text) * 1000)


def _lease(text: str) -> str:
    if not MIN_LEASE <= times.from_duration(text) <= MAX_LEASE:
        raise ValueError("must be between PT1M and P366D")
    return text


def _zone(text: str) -> str:
    if text not in _zones():
        raise ValueError("must be an IANA time zone, such as America/New_York")
    return text


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    # The pinned package's own list: the same on every machine.
    names = files("tzdata").joinpath("zones").read_text().split()
    return frozenset(names) - {"Factory"}  # says that no zone was chosen


def _thresholds(values: list[int]) -> list[int]:
    return sorted(set(values))


def _distinct(values: list[str]) -> list[str]:
    return sorted(set(values))


def _nfc(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("must not hold control characters")
    if len(text.encode()) > SEAT_ID_BYTES:
        raise ValueError("must be at most 256 bytes of UTF-8")
    if wrong := wrong_id(text):
        raise ValueError(wrong)
    return text


def _stored(text: str) -> str:
    """A text of several lines."""
    if CONTROL.search(text.replace("\n", "")):
        raise ValueError("must not hold control characters, but for line feeds")
    return text


def _not_zero(value: int) -> int:
    if value == 0:
        raise ValueError("must not be 0")
    return value


def _reason(text: str) -> str:
    if len(text.encode()) > REASON_BYTES:
        raise ValueError(f"must be at most {REASON_BYTES} bytes of UTF-8")
    return _plain(text)


def _composed(text: str) -> str:
    """The same text in one form, so that it is found however it is typed."""
    return unicodedata.normalize("NFC", _plain(text))


def _address(text: str) -> str:
    """An address that SES sends to: 7-bit ASCII, with an international domain in Punycode."""
    # Only requests that set an address pay for loading it.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        found = validate_email(text, allow_smtputf8=False, check_deliverability=False, strict=True)
    except EmailNotValidError as error:
        raise ValueError(f"is not an address that mail can be sent to: {error}") from None
    if not text.isascii():
        raise ValueError(f"must have its domain in Punycode: {found.ascii_email}")
    return text


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_composed)]
Email = Annotated[
    str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$"), AfterValidator(_address)
]
Time = Annotated[
    str, AfterValidator(_time), Field(description="RFC 3339; a fraction of a second is dropped.")
]
Lease = Annotated[
    str, AfterValidator(_lease), Field(description="ISO 8601 in weeks to seconds, PT1M to P366D.")
]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
UsageCount = Annotated[int, Field(ge=0, le=MAX_LIMIT)]


class Customer(Input):
    """Who bought."""

    name: Name
    external_id: Name | None = Field(None, description="The customer's id in your CRM.")


class Contact(Input):
    """A person who is told."""

    name: Name | None = None
    email: Email


class Contacts(Input):
    """Who is told: the customer's administrator, and the vendor's account owner."""

    customer_admin: Contact | None = None
    account_owner: Contact | None = None


class NoOverdraft(Input):
    """The hard cap is what was purchased."""

    type: Literal["none"]


class AbsoluteOverdraft(Input):
    """So many seats above what was purchased."""

    type: Literal["absolute"]
    value: Count


class PercentageOverdraft(Input):
    """So many percent of what was purchased, rounded down."""

    type: Literal["percentage"]
    value: Annotated[int, Field(ge=0, le=1000)]


class UnlimitedOverdraft(Input):
    """No hard cap."""

    type: Literal["unlimited"]


OverdraftLimit = Annotated[
    NoOverdraft | AbsoluteOverdraft | PercentageOverdraft | UnlimitedOverdraft,
    Field(discriminator="type"),
]


class AbsoluteUsageOverdraft(Input):
    """So much above what was purchased."""

    type: Literal["absolute"]
    value: UsageCount


UsageOverdraftLimit = Annotated[
    NoOverdraft | AbsoluteUsageOverdraft | PercentageOverdraft | UnlimitedOverdraft,
    Field(discriminator="type"),
]


class UsageLimitInput(Input):
    """What may be used, counted from one beginning of a period to the next."""

    key: Annotated[str, Field(pattern=USAGE_KEY)] = Field(
        description="Names the limit in addresses and events, such as `exports`."
    )
    limit: UsageCount = Field(description="What was purchased: the soft limit.")
    overdraft_limit: UsageOverdraftLimit = NoOverdraft(type="none")
    reset_schedule: Literal[SCHEDULES] = Field(  # type: ignore[valid-type]
        "never",
        description="`monthly`: at local midnight of the first, in the entitlement's time zone;"
        " `on_renewal`: at the end of the validity that was renewed.",
    )


class UsageLimit(UsageLimitInput):
    """A usage limit as answered."""

    hard_cap: int | None


def _different(limits: list[UsageLimitInput]) -> list[UsageLimitInput]:
    if len({limit.key for limit in limits}) < len(limits):
        raise ValueError("must have different keys")
    return limits


class UnitPrice(Input):
    """List price of one seat; an amount is a decimal in a string."""

    amount: Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,4})?$")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    per: Literal["month", "year"]


Told = Literal[
    "entitlement.usage.denied",
    "entitlement.usage.overdraft.entered",
    "entitlement.usage.overdraft.exhausted",
    "entitlement.usage.threshold.reached",
    "entitlement.seat.denied",
    "entitlement.seats.requested",
    "entitlement.overdraft.entered",
    "entitlement.overdraft.exited",
    "entitlement.overdraft.exhausted",
    "entitlement.threshold.reached",
]


class Notifications(Input):
    """Which events are told by e-mail, to whom; an empty list: none."""

    account_owner: Annotated[list[Told], AfterValidator(_distinct)] = [
        *NOTIFICATIONS["accountOwner"]  # type: ignore[list-item]
    ]
    customer_admin: Annotated[list[Told], AfterValidator(_distinct)] = [
        *NOTIFICATIONS["customerAdmin"]  # type: ignore[list-item]
    ]


class EntitlementInput(Input):
    """What a customer bought, and on which terms."""

    product: Name
    sku: Name | None = None
    customer: Customer
    contacts: Contacts = Contacts()
    seat_count: Count | None = Field(
        None, description="Seats purchased: the soft limit. Null: no seats, only usage limits."
    )
    overdraft_seat_limit: OverdraftLimit = NoOverdraft(type="none")
    usage_limits: Annotated[
        list[UsageLimitInput], Field(max_length=MAX_LIMITS), AfterValidator(_different)
    ] = Field([], description="What is counted, not seated. A patch replaces the whole list.")
    lease_period: Lease | None = Field(
        None, description="How long a seat is held without a renewal; null: until released."
    )
    thresholds: Annotated[
        list[Annotated[int, Field(ge=1, le=1000)]],
        Field(max_length=10),
        AfterValidator(_thresholds),
    ] = [80, 100]
    notifications: Notifications = Notifications()
    unit_price: UnitPrice | None = None
    time_zone: Zone = "UTC"
    valid_from: Time | None = Field(
        None, description="If not given: now, less five seconds, since clocks differ."
    )
    valid_until: Time | None = Field(None, description="Open-ended, if not given.")
    status: Literal["active", "suspended"] = "active"


class EntitlementPatch(EntitlementInput):
    """A JSON merge patch (RFC 7396): members given are changed, null puts the default back.

    `overdraftSeatLimit` and `unitPrice` are replaced whole.
    """

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.pop("required", None) and None
    )


class Seats(Output):
    """Seats in use, against both limits."""

    used: int
    purchased: int
    hard_cap: int | None
    overdraft_used: int
    available: int | None
    as_of: str | None = Field(
        None,
        description="Of a pool of several pages: the time of the newest change that is counted."
        " Missing otherwise: the numbers are exact at the time of the answer.",
    )


class Entitlement(EntitlementInput):
    """An entitlement as answered: what was written, and what follows from it."""

    entitlement_id: str
    status: Literal["active", "suspended", "expired", "not_yet_valid", "deleted"]  # type: ignore[assignment]
    usage_limits: list[UsageLimit]  # type: ignore[assignment]
    hard_cap: int | None
    seats: Seats | None = Field(description="Null: the entitlement has no seats.")
    created_at: str
    updated_at: str


class EntitlementList(Output):
    """A page of entitlements."""

    items: list[Entitlement]
    next_page_token: str | None


class ActivationRequest(Input):
    """Who asks for a seat."""

    seat_id: Annotated[str, Field(min_length=1), AfterValidator(_nfc)] = Field(
        description="What identifies the holder: 1 to 256 bytes of UTF-8 in NFC, compared exactly."
    )
    seat_name: str | None = Field(None, description="At most 128 bytes; shown to people.")
    attributes: dict[str, str] | None = Field(
        None, description="At most 512 bytes in all; shown to people."
    )

    @model_validator(mode="after")
    def _sizes(self) -> "ActivationRequest":
        name, attributes = self.seat_name or "", self.attributes or {}
        texts = [name, *attributes, *attributes.values()]
        if any(CONTROL.search(text) for text in texts):
            raise ValueError("must not hold control characters")
        pairs = [f'"{_escaped(key)}":"{_escaped(value)}"' for key, value in attributes.items()]
        size = len(("{" + ",".join(pairs) + "}").encode()) if attributes else 0
        if len(name.encode()) > SEAT_NAME_BYTES or size > ATTRIBUTES_BYTES:
            raise ValueError("seatName at most 128 bytes, attributes at most 512 bytes")
        return self


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class Activation(Output):
    """A seat held. With `dryRun`, what would be answered: ids and times of a new seat are null."""

    activation_id: str | None
    entitlement_id: str
    seat_id: str
    seat_name: str | None
    attributes: dict[str, str]
    is_overdraft_seat: bool = Field(description="Decided when granted; stays with this grant.")
    activated_at: str | None
    lease_expiry: str | None
    status: Literal["within_limit", "at_limit", "overdraft"]
    seats: Seats
    dry_run: bool | None = Field(None, description="Only, and true, in answers to dryRun.")


class HeldSeat(Output):
    """A seat held, as listed. Names follow from the stream; null if not there yet."""

    activation_id: str
    seat_key: str
    seat_id: str | None
    seat_name: str | None
    attributes: dict[str, str]
    is_overdraft_seat: bool
    activated_at: str
    last_seen_at: str | None = Field(description="Exact to half a lease.")
    lease_expiry: str | None


class ConsumptionRequest(Input):
    """How much is to be consumed, all or nothing."""

    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class CorrectionInput(Input):
    """What is to be added to the count of this period, or taken from it."""

    quantity: Annotated[int, Field(ge=-MAX_QUANTITY, le=MAX_QUANTITY), AfterValidator(_not_zero)]
    reason: Annotated[str, Field(min_length=1), AfterValidator(_reason)] = Field(
        description=f"Kept with the correction; at most {REASON_BYTES} bytes."
    )


class Used(Output):
    """Use of a limit in its period, against both limits."""

    used: int
    purchased: int
    hard_cap: int | None
    overdraft_used: int
    available: int | None


class Consumption(Output):
    """What was consumed, and what was used with it."""

    key: str
    quantity: int
    is_overdraft: bool = Field(description="Whether any of it lies above what was purchased.")
    overdraft_quantity: int = Field(description="How much of it lies above what was purchased.")
    status: Literal["within_limit", "at_limit", "overdraft"]
    usage: Used
    period_start: str
    period_end: str | None = Field(description="Null: nothing that is known yet ends it.")
    dry_run: bool | None = Field(None, description="Only, and true, in answers to dryRun.")


class CurrentUsage(Output):
    """A usage limit in its current period."""

    key: str
    reset_schedule: Literal[SCHEDULES]  # type: ignore[valid-type]
    status: Literal["within_limit", "at_limit", "overdraft"]
    usage: Used
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


class Correction(Output):
    """A correction of a count."""

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


class ActivationList(Output):
    """A page of the seats held, in the order of their keys."""

    items: list[HeldSeat]
    next_page_token: str | None


class ApiKeyInput(Input):
    """A key for the vendor's own software and people."""

    name: Name
    scopes: Annotated[list[Literal[SCOPES]], Field(min_length=1)]  # type: ignore[valid-type]


class ApiKey(Output):
    """An API key, without the key."""

    key_id: str
    name: str
    scopes: list[str]
    created_at: str


class NewApiKey(ApiKey):
    """An API key with the key itself, which is shown once."""

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
    """A license key with the key itself, which is shown once."""

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
    expires_in: Lease | None = Field(None, description="P30D, if no end is given.")
    expires_at: Time | None = Field(None, description="In place of `expiresIn`.")
    name: Name | None = Field(None, description="Whom it is for; only you see it.")


class PortalLink(Output):
    """A portal link, without what opens it."""

    link_id: str
    entitlement_id: str
    name: str | None
    role: Literal[PORTAL_ROLES]  # type: ignore[valid-type]
    created_at: str
    expires_at: str


class PortalLinkCreated(PortalLink):
    """A portal link with its addresses, which are shown once: whoever has one may enter."""

    url: str
    embed_url: str = Field(description="For a frame in a page of a PortalEmbedOrigins origin.")


class PortalLinkList(Output):
    """A page of portal links."""

    items: list[PortalLink]
    next_page_token: str | None


class SeatRequestInput(Input):
    """The customer asks for more seats."""

    seats: Annotated[int, Field(ge=1, le=100_000)] = Field(description="How many more.")
    message: Annotated[str, Field(max_length=1_000), AfterValidator(_stored)] | None = None


class SeatRequest(Output):
    """More seats that the customer asked for."""

    request_id: str
    seats: int
    message: str | None
    requested_at: str
    requested_by: str = Field(description="The id of the portal link, or of the API key.")


class SeatRequestList(Output):
    """A page of requests for more seats."""

    items: list[SeatRequest]
    next_page_token: str | None


class Portal(Output):
    """What is in use against both limits, now."""

    entitlement_id: str
    product: str
    sku: str | None
    customer: str
    account_owner: str | None = Field(description="The name of the vendor's account owner.")
    status: Literal["active", "suspended", "expired", "not_yet_valid", "deleted"]
    valid_until: str | None
    time_zone: str
    lease_period: str | None
    seats: "Seats | None"
    usage: list["CurrentUsage"]
    role: Literal[PORTAL_ROLES]  # type: ignore[valid-type]
    expires_at: str = Field(description="When the link expires.")
    as_of: str
    version: str = Field(description="Another one when anything has changed or was denied.")


class PortalDenialMark(Output):
    """What was denied in one interval of the graph, an hour at the least."""

    from_: str = Field(alias="from")
    to: str
    attempts: int
    people: int | None = Field(
        description="Different people, or requests; null for days: see the denials by day."
    )


class PortalSection(Output):
    """A quarter-hour of an interval in which limits changed."""

    from_: str = Field(alias="from")
    highest: int
    overdraft_seconds: int


class PortalGraph(Output):
    """Use over time; the n-th values are those of the n-th interval from `from` on.

    Null: nothing is known yet, or it has not begun.
    """

    usage_key: str | None
    from_: str = Field(alias="from")
    to: str
    interval: Literal["PT15M", "PT1H", "P1D"]
    as_of: str
    lowest: list[int | None]
    highest: list[int | None]
    closing: list[int | None]
    overdraft_seconds: list[int | None]
    sections: list[PortalSection] = Field(
        description="The quarter-hours of hours or days in which limits changed, of the newest ten."
    )
    limits: list["LimitsInForce"]
    denials: list[PortalDenialMark]


class PortalDeniedDay(Output):
    """Who was turned away on a day of the entitlement's time zone."""

    date: str
    attempts: int
    people: int | None = Field(description="Null where the answer is not complete.")


class PortalDeniedPerson(Output):
    """Somebody who was turned away."""

    seat_key: str
    seat_id: str | None
    seat_name: str | None
    attempts: int
    first_at: str
    last_at: str


class PortalDenials(Output):
    """Who was turned away, by day, and by person, most often first."""

    from_: str = Field(alias="from")
    to: str
    is_complete: bool = Field(
        description="False: more was denied than one answer takes. Then attempts and days are"
        " counted by the hour, and people are those who were denied last: at least."
    )
    attempts: int
    people: int
    days: list[PortalDeniedDay]
    persons: list[PortalDeniedPerson] = Field(description="At most 200.")


class Crossing(Output):
    """When use will come to a limit; dates of the entitlement's time zone."""

    limit: int
    status: Literal["met", "expected", "not_expected"]
    date: str | None
    earliest: str | None
    latest: str | None = Field(description="Null: perhaps never.")


class Forecast(Output):
    """Where use goes, if it goes on as it did."""

    usage_key: str | None
    status: Literal["ready", "insufficient_data"]
    basis: str = Field(description="What it follows from, in words.")
    per_week: float | None
    per_week_low: float | None
    per_week_high: float | None
    purchased: Crossing | None
    hard_cap: Crossing | None


class PastGrant(Output):
    """A seat that was held and is not any more."""

    from_: str = Field(alias="from")
    to: str
    reason: Literal["released", "lease_expired", "removed", "unknown"]
    is_overdraft_seat: bool


class Device(Output):
    """What the attribute `device` said at a grant or a written renewal."""

    device: str
    from_: str = Field(alias="from")
    to: str = Field(description="Last seen; exact to half a lease.")


class Seat(Output):
    """A person's seat. Names follow from the stream, a moment later."""

    seat_key: str
    seat_id: str | None
    seat_name: str | None
    attributes: dict[str, str]
    is_held: bool
    activation_id: str | None = Field(description="Of the grant held, or of the last one.")
    is_overdraft_seat: bool
    activated_at: str | None
    last_seen_at: str | None = Field(description="Exact to half a lease.")
    ended_at: str | None
    end_reason: Literal["released", "lease_expired", "removed", "unknown"] | None
    grant_count: int
    grants: list[PastGrant] = Field(description="The last 20 that ended, the newest last.")
    devices: list[Device] = Field(description="The last 20 seen, the newest last.")
    erased_at: str | None


class SeatList(Output):
    """A page of seats, held or not, in the order of their keys."""

    items: list[Seat]
    next_page_token: str | None


class LimitsInForce(Output):
    """Both limits, from a time on."""

    from_: str = Field(alias="from")
    purchased: int
    hard_cap: int | None


class UsageInterval(Output):
    """Use in one interval; of one that is not over, so far."""

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
    brief_activations: int = Field(description="Given back within ten minutes of being taken.")
    releases: int
    expiries: int = Field(description="Leases that ran out.")
    removals: int = Field(description="Seats that ended with the entitlement.")
    denied_attempts: int
    denied_seats: int = Field(description="How many different seats were denied.")
    limits: list[LimitsInForce]


class CountInterval(Output):
    """Use of a usage limit in one interval; of one that is not over, so far."""

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
    """Use above what was purchased, from when it rose to when it fell back."""

    episode_id: str
    start: str
    end: str | None = Field(description="Null: it goes on.")
    peak: int = Field(description="The most in use.")
    overdraft_seconds: int
    overdraft_seat_seconds: int
    seat_hours: float = Field(description="Seats above what was purchased, times hours.")
    distinct_seats: int = Field(description="How many different seats were granted in overdraft.")
    denied_attempts: int
    denied_seats: int


class UsageOverdraftEpisode(Output):
    """Use of a limit above what was purchased, until its period ends, or use is corrected."""

    episode_id: str
    start: str
    end: str | None = Field(description="Null: it goes on.")
    peak: int = Field(description="The most used.")
    overdraft_seconds: int
    denied_attempts: int
    denied_requests: int


class OverdraftList(Output):
    """A page of overdraft episodes, of the seats or of a usage limit."""

    items: list[OverdraftEpisode | UsageOverdraftEpisode]
    next_page_token: str | None


class Denial(Output):
    """A seat that was turned away in one UTC hour, with the limits in force at the last attempt."""

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


class UsageDenial(Output):
    """A request that did not fit in one UTC hour, with the limits in force at the last attempt."""

    hour: str
    key: str
    request_key: str = Field(description="Stands for its Idempotency-Key.")
    quantity: int
    attempts: int
    first_at: str
    last_at: str
    used: int
    purchased: int
    hard_cap: int | None


class DenialList(Output):
    """A page of denials, of seats or of a usage limit."""

    items: list[Denial | UsageDenial]
    next_page_token: str | None


class EmailUsage(Used):
    """What an e-mail said of a usage limit."""

    key: str
    denied_attempts: int
    denied_requests: int
    fired: list[str] = Field(description="Thresholds in percent, `entered`, `exhausted`.")


class EmailNumbers(Output):
    """What an e-mail said, in numbers."""

    used: int
    purchased: int
    hard_cap: int | None
    overdraft_used: int
    overdraft_seats_granted: int
    denied_attempts: int
    denied_seats: int
    events: dict[str, int]
    thresholds: list[int]
    usage: list[EmailUsage] = Field([], description="Usage limits that it told of.")
    seats_requested: int = Field(0, description="More seats that the customer asked for.")


class SentEmail(Output):
    """An e-mail about an entitlement, and the period it told of."""

    audience: Literal["accountOwner", "customerAdmin"]
    to: str
    status: Literal["claimed", "sent", "bounced", "complained", "failed"]
    sent_at: str | None
    message_id: str | None
    subject: str | None
    from_: str = Field(alias="from")
    until: str
    numbers: EmailNumbers | None
    failure: str | None = Field(description="Why it was not sent, or what came back.")


class EmailList(Output):
    """A page of e-mails."""

    items: list[SentEmail]
    next_page_token: str | None


def _pattern(text: str) -> str:
    if not any(covers(text, kind) for kind in events.TYPES):
        raise ValueError("must be an event type, the beginning of one and '.*', or '*'")
    return text


class WebhookInput(Input):
    """Where events are sent, and which."""

    url: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="https, on a public address."
    )
    event_types: Annotated[
        list[Annotated[str, Field(pattern=r"^(\*|[a-z.]+(\.\*)?)$"), AfterValidator(_pattern)]],
        Field(min_length=1, max_length=20),
        AfterValidator(_distinct),
    ] = Field(["*"], description="Types, or beginnings such as `entitlement.overdraft.*`.")
    entitlement_id: Annotated[str, Field(max_length=80)] | None = Field(
        None, description="Only events of this entitlement."
    )
    customer: Name | None = Field(
        None, description="Only events of this customer: its exact name or externalId."
    )
    description: Annotated[str, Field(max_length=500), AfterValidator(_plain)] | None = None
    enabled: bool = True


class WebhookPatch(WebhookInput):
    """A JSON merge patch (RFC 7396)."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.pop("required", None) and None
    )


class Webhook(Output):
    """An endpoint, without its secret."""

    webhook_id: str
    url: str
    event_types: list[str]
    entitlement_id: str | None
    customer: str | None
    description: str | None
    enabled: bool
    disabled_reason: Literal["gone", "failing"] | None = Field(
        description="It answered 410, or failed for five days."
    )
    disabled_at: str | None
    created_at: str
    updated_at: str


class NewWebhook(Webhook):
    """An endpoint with its secret, which is shown once."""

    secret: str


class WebhookList(Output):
    """A page of endpoints."""

    items: list[Webhook]
    next_page_token: str | None


class RotationInput(Input):
    """How long the old secret signs beside the new one."""

    overlap_seconds: Annotated[int, Field(ge=0, le=7 * 86_400)] = OVERLAP_SECONDS


class NewSecret(Output):
    """A new secret, which is shown once."""

    webhook_id: str
    secret: str
    previous_secret_expires_at: str


class WebhookTestInput(Input):
    """Which type of event to send."""

    type: Literal[events.TYPES] = events.OVERDRAFT_ENTERED  # type: ignore[valid-type]


class TestSent(Output):
    """A test event is on its way."""

    webhook_id: str
    event_id: str
    delivery_id: str


class ResendInput(Input):
    """Since when."""

    since: Time


class ResendAccepted(Output):
    """Deliveries will be made again."""

    webhook_id: str
    delivery_id: str | None = None
    since: str | None = None


class DeliveryAttempt(Output):
    """One attempt: what was answered, or what went wrong."""

    at: str
    duration_ms: int
    response_status: int | None
    error: str | None


class Delivery(Output):
    """The delivery of one event to one endpoint."""

    delivery_id: str
    event_id: str
    type: str
    entitlement_id: str | None
    is_test: bool
    status: Literal["pending", "succeeded", "failed"]
    failure: str | None
    attempts: list[DeliveryAttempt]
    next_attempt_at: str | None
    created_at: str = Field(description="The time of the event.")


class DeliveryList(Output):
    """A page of deliveries."""

    items: list[Delivery]
    next_page_token: str | None


class FollowUpPatch(Input):
    """What changes in a follow-up: a JSON merge patch (RFC 7396), and a note to it."""

    state: Literal[STATES] = "open"  # type: ignore[valid-type]
    owner: Name | None = Field(None, description="Who sees to it.")
    note: Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(_stored)] | None = (
        Field(None, description="Kept with this change.")
    )


class FollowUp(Output):
    """Where sales stand with an entitlement; of one that never had an overdraft, all is null."""

    entitlement_id: str
    state: Literal[STATES] | None  # type: ignore[valid-type]
    owner: str | None
    note: str | None = Field(description="Of the last change.")
    changed_at: str | None
    changed_by: str | None = Field(description="Whose key, or `overdraft`: by itself.")
    reason: Literal["overdraft", "purchase"] | None = Field(
        description="Why it changed by itself: an overdraft began, or more was purchased."
    )


class FollowUpEntry(Output):
    """One change of a follow-up."""

    state: Literal[STATES]  # type: ignore[valid-type]
    previous_state: Literal[STATES] | None  # type: ignore[valid-type]
    owner: str | None
    note: str | None
    changed_at: str
    changed_by: str
    reason: Literal["overdraft", "purchase"] | None


class FollowUpEntryList(Output):
    """A page of a follow-up's changes, newest first."""

    items: list[FollowUpEntry]
    next_page_token: str | None


class ReportFilters(Input):
    """Which entitlements a report is about; all, if nothing is given."""

    entitlement_id: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    customer: Name | None = Field(default=None, description="Its exact name or externalId.")
    product: Name | None = Field(default=None, description="Its exact name or SKU.")
    account_owner: Email | None = Field(default=None, description="The account owner's e-mail.")


class ReportInput(Input):
    """Which report is to be made."""

    period: Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")] | None = Field(
        None, description="A month, `YYYY-MM`; the last one that is over, if nothing is given."
    )
    from_: Time | None = Field(
        None, alias="from", description="In place of a month: the beginning of a quarter-hour."
    )
    to: Time | None = Field(None, description="Now, if not given.")
    time_zone: Zone | None = Field(None, description="The stack's ReportTimeZone, if not given.")
    filters: ReportFilters = ReportFilters()
    formats: Annotated[
        list[Literal[REPORT_FORMATS]],  # type: ignore[valid-type]
        Field(min_length=1),
        AfterValidator(_distinct),
    ] = [*REPORT_FORMATS]
    send_email: bool = Field(
        default=False, description="Send it to the stack's ReportRecipients as well."
    )


class ReportPeriod(Output):
    """What a report is about."""

    month: str | None
    from_: str = Field(alias="from")
    to: str
    time_zone: str


class Money(Output):
    """An amount in one currency; a decimal in a string."""

    amount: str
    currency: str


class ReportSummary(Output):
    """The totals of a report."""

    entitlements: int = Field(description="That have something to report.")
    in_overdraft: int
    denied: int = Field(description="Entitlements that turned somebody away or refused a request.")
    seat_hours: float = Field(description="Seats above what was purchased, times hours.")
    denied_seats: int = Field(description="People turned away, of each entitlement.")
    denied_requests: int = Field(description="Requests of usage limits that were refused.")
    denied_attempts: int = Field(description="Of both, every repetition counted.")
    monthly_value: list[Money] = Field(description="By currency, never mixed.")


class ReportFile(Output):
    """A file of a report, behind a link that expires."""

    format: Literal[REPORT_FORMATS]  # type: ignore[valid-type]
    url: str = Field(description="Good for whoever has it, until it expires.")
    expires_at: str
    bytes: int


class Report(Output):
    """A report, and how far it is."""

    report_id: str
    status: Literal["queued", "running", "published", "failed"]
    period: ReportPeriod
    is_complete: bool = Field(description="False: the period was not over when it was asked for.")
    filters: ReportFilters
    formats: list[str]
    send_email: bool
    emailed_to: list[str] = Field(description="Whom its mail has gone to so far.")
    email_returned_from: list[str] = Field(
        description="Whose mail came back, or who complained of it."
    )
    version: int | None = Field(description="The n-th of this period and these filters.")
    previous_report_id: str | None
    change_count: int | None = Field(
        description="How many entitlements differ from the version before."
    )
    summary: ReportSummary | None
    failure: str | None = Field(
        description="What went wrong last: it is tried again, unless the report says `failed`."
        " Of a published report: why its mail has not reached everybody."
    )
    failed_attempts: int
    requested_by: str
    created_at: str
    published_at: str | None
    files: list[ReportFile] = Field(description="Empty in lists, and before it is published.")


class ReportList(Output):
    """A page of reports, newest first."""

    items: list[Report]
    next_page_token: str | None


class Health(Output):
    """The API answers."""

    status: Literal["ok"]


class ProblemBody(BaseModel):
    """RFC 9457; further members depend on the type."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="The request id.")


# --- Reading a body -----------------------------------------------------------------------------

COMPUTED = ("hardCap", "entitlementId", "seats", "createdAt", "updatedAt")
_OVERDRAFT_TYPES = "must have a type: none, absolute, percentage or unlimited"
_TEXTS = {
    "missing": "is required",
    "extra_forbidden": "unknown field",
    "model_type": "must be an object",
    "union_tag_invalid": _OVERDRAFT_TYPES,
    "union_tag_not_found": _OVERDRAFT_TYPES,
}
Model = TypeVar("Model", bound=Input)


def parse(model: type[Model], body: Mapping[str, Any]) -> Model:
    """A body as its model.

    Raises:
        InvalidRequest: names every member that is wrong.
    """
    try:
        return model.model_validate(body)
    except ValidationError as invalid:
        errors = [
            {"pointer": _pointer(error["loc"], body), "detail": _detail(error)}
            for error in invalid.errors(include_url=False, include_context=False)
        ]
        raise InvalidRequest(errors) from None


def _pointer(loc: tuple[int | str, ...], body: Any) -> str:
    """A JSON pointer for a location; pydantic's also names the variants of a union."""
    pointer, value = "", body
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        if isinstance(value, Mapping) and (part in value or is_last):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        pointer += "/" + str(part)[:100].replace("~", "~0").replace("/", "~1")
    return pointer


def _detail(error: Any) -> str:
    if error["type"] == "extra_forbidden" and error["loc"][-1] in COMPUTED:
        return "is computed and cannot be set"
    text = _TEXTS.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    return str(text)
