"""Entitlements: what was sold, to whom, on which terms."""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    WithJsonSchema,
    model_validator,
)

from shared.api.schemas.audit import ChangedValues
from shared.api.schemas.base import (
    AMOUNT,
    CURRENCY,
    MAX_COUNT,
    PHONE,
    Count,
    Email,
    Input,
    Length,
    Name,
    Output,
    Time,
    UsageCount,
    Zone,
    check_multiline,
    sort_distinct,
)
from shared.api.schemas.seats import Overdraft, Seats
from shared.api.schemas.usage import CurrentUsage
from shared.entitlements.model import NOTIFICATIONS
from shared.entitlements.scheduled_changes import STATUSES
from shared.overdraft_clock import DEFAULT_RECOVERY
from shared.sales.overdraft_price import BY_MONTH, CHARGES, SEAT_BASES, UNITS, USAGE_BASES
from shared.seats.borrowing import MOST_BORROWED
from shared.texts import EXTERNAL_ID, METADATA_MEMBERS, METADATA_NAME, METADATA_VALUE, USAGE_KEY
from shared.usage.counter import MAX_LIMIT, MAX_LIMITS
from shared.usage.periods import SCHEDULES


def _notice_days(values: list[int]) -> list[int]:
    return sorted(set(values), reverse=True)


def _thresholds(values: list[int]) -> list[int]:
    return sorted(set(values))


Lease = Annotated[Length, Field(description="ISO 8601 in weeks to seconds, PT1M to P366D.")]


class Customer(Input):
    """The customer."""

    name: Name
    external_id: Name | None = Field(None, description="The customer's id in your CRM.")


class Contact(Input):
    """A person who is notified."""

    name: Name | None = None
    email: Email
    phone: Annotated[str, Field(pattern=PHONE)] | None = Field(
        None, description="To call them, such as `+49 30 901820`; shown in the report."
    )


class Contacts(Input):
    """Who is notified: the customer's administrator, and the vendor's account owner."""

    customer_admin: Contact | None = None
    account_owner: Contact | None = None


class TimedOverdraft(Input):
    """How long an overdraft may last. Both members are missing where there is no period."""

    period: Length | None = Field(
        None,
        description="How long more than purchased may be used, PT1M to P366D: the clock starts with"
        " the first that is used above. When it has run out, what was purchased is the cap. By"
        " default there is no end.",
    )
    recovery: Length | None = Field(
        None,
        description="How long use must stay within what was purchased before the clock starts anew,"
        f" PT1M to P366D. By default {DEFAULT_RECOVERY}.",
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.recovery is not None and self.period is None:
            raise ValueError("recovery goes with a period")
        return self


class NoOverdraft(Input):
    """The hard cap is what was purchased."""

    type: Literal["none"]


class AbsoluteOverdraft(TimedOverdraft):
    """A number of seats above what was purchased."""

    type: Literal["absolute"]
    value: Count


class PercentageOverdraft(TimedOverdraft):
    """A percentage of what was purchased, rounded down."""

    type: Literal["percentage"]
    value: Annotated[int, Field(ge=0, le=1000)]


class UnlimitedOverdraft(TimedOverdraft):
    """No hard cap."""

    type: Literal["unlimited"]


OverdraftLimit = Annotated[
    NoOverdraft | AbsoluteOverdraft | PercentageOverdraft | UnlimitedOverdraft,
    Field(discriminator="type"),
]


class AbsoluteUsageOverdraft(TimedOverdraft):
    """A quantity above what was purchased."""

    type: Literal["absolute"]
    value: UsageCount


UsageOverdraftLimit = Annotated[
    NoOverdraft | AbsoluteUsageOverdraft | PercentageOverdraft | UnlimitedOverdraft,
    Field(discriminator="type"),
]


class PriceInput(Input):
    """What all prices of an overdraft have."""

    amount: Annotated[str, Field(pattern=AMOUNT)] = Field(
        description="A decimal in a string, with no more decimals than the currency has."
    )
    currency: Annotated[str, Field(pattern=CURRENCY)] = Field(description="By ISO 4217.")
    charge: Literal[CHARGES] = Field(  # type: ignore[valid-type]
        BY_MONTH,
        description="`by_month`: each month by itself. `to_end_of_term`: what is above all that was"
        " charged before is charged for the rest of the term, which needs `validUntil`.",
    )
    minimum: Annotated[str, Field(pattern=AMOUNT)] | None = Field(
        None, description="The least that a month costs in which anything is charged."
    )


class SeatOverdraftPrice(PriceInput):
    """What seats above the purchased number cost."""

    basis: Literal[SEAT_BASES] = Field(  # type: ignore[valid-type]
        description="`peak_seats`: the highest overdraft of each month; the amount is that of a"
        " seat and month. `seat_days`: each day by its highest overdraft; the amount is that of a"
        " seat and day."
    )
    free_seats: Count = Field(0, description="Seats above what was purchased that cost nothing.")


class UsageOverdraftPrice(PriceInput):
    """What usage above the purchased quantity costs."""

    basis: Literal[USAGE_BASES] = Field(  # type: ignore[valid-type]
        UNITS,
        description="What each period exceeds at its end; the amount is that of a unit. Of a limit"
        " that never resets: by how much more it is exceeded than a month before.",
    )
    free_units: UsageCount = Field(
        0, description="Units above what was purchased that cost nothing, in each period."
    )


class UsageLimitInput(Input):
    """A limit of what is counted in a period."""

    key: Annotated[str, Field(pattern=USAGE_KEY)] = Field(
        description="The name of the limit in paths and events, such as `exports`."
    )
    limit: UsageCount = Field(description="What was purchased: the soft limit.")
    overdraft_limit: UsageOverdraftLimit = NoOverdraft(type="none")
    reset_schedule: Literal[SCHEDULES] = Field(  # type: ignore[valid-type]
        "never",
        description="`monthly`: at local midnight of the first, in the entitlement's time zone;"
        " `on_renewal`: at the end of the validity that was renewed.",
    )
    customer_cap: Annotated[int, Field(ge=0, le=MAX_LIMIT)] | None = Field(
        None, description="A cap of the customer's own, at most the hard cap. A patch keeps it."
    )
    overdraft_price: UsageOverdraftPrice | None = Field(
        None, description="What usage above `limit` costs; null: nothing."
    )


class UsageLimit(UsageLimitInput):
    """A usage limit as the API answers it."""

    hard_cap: int | None


def _different(limits: list[UsageLimitInput]) -> list[UsageLimitInput]:
    if len({limit.key for limit in limits}) < len(limits):
        raise ValueError("must have different keys")
    return limits


class UnitPrice(Input):
    """List price of one seat; the amount is a decimal in a string."""

    amount: Annotated[str, Field(pattern=AMOUNT)]
    currency: Annotated[str, Field(pattern=CURRENCY)]
    per: Literal["month", "year"]


MailedEvent = Literal[
    "entitlement.expiring",
    "entitlement.followup.due",
    "entitlement.usage.denied",
    "entitlement.usage.overdraft.ended",
    "entitlement.usage.overdraft.ending",
    "entitlement.usage.overdraft.entered",
    "entitlement.usage.overdraft.exhausted",
    "entitlement.usage.overdraft.recovered",
    "entitlement.usage.threshold.reached",
    "entitlement.seat.denied",
    "entitlement.seats.requested",
    "entitlement.overdraft.ended",
    "entitlement.overdraft.ending",
    "entitlement.overdraft.entered",
    "entitlement.overdraft.exited",
    "entitlement.overdraft.exhausted",
    "entitlement.overdraft.recovered",
    "entitlement.threshold.reached",
]


class Notifications(Input):
    """The events about which each audience gets e-mail; an empty list: none."""

    account_owner: Annotated[list[MailedEvent], AfterValidator(sort_distinct)] = [
        *NOTIFICATIONS["accountOwner"]  # type: ignore[list-item]
    ]
    customer_admin: Annotated[list[MailedEvent], AfterValidator(sort_distinct)] = [
        *NOTIFICATIONS["customerAdmin"]  # type: ignore[list-item]
    ]


def _https(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise ValueError("must be an address that begins with https://, without a user name")
    return text


class DenialHelp(Input):
    """What a denial may tell the customer's software, which can show it to the user."""

    show_contact: bool = Field(
        default=False, description="Name, e-mail address and phone of the account owner."
    )
    request_url: Annotated[str, Field(max_length=2_000), AfterValidator(_https)] | None = Field(
        None, description="A page of yours on which to ask for more. Not a portal link."
    )


Metadata = Annotated[
    dict[
        Annotated[str, Field(pattern=METADATA_NAME)],
        Annotated[str, Field(max_length=METADATA_VALUE), AfterValidator(check_multiline)],
    ],
    Field(max_length=METADATA_MEMBERS),
]


class EntitlementInput(Input):
    """What a customer bought, and on which terms."""

    external_id: Annotated[str, Field(pattern=EXTERNAL_ID)] | None = Field(
        None,
        description="Your own id of it, such as that of an order line. No other entitlement has it,"
        " until it is deleted.",
    )
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
    ] = Field([], description="Limits of what is counted. A patch replaces the whole list.")
    customer_cap: Annotated[int, Field(ge=0, le=MAX_COUNT)] | None = Field(
        None, description="A cap of the customer's own, at most the hard cap; null: none."
    )
    lease_period: Lease | None = Field(
        None, description="How long a seat is held without a renewal; null: until released."
    )
    overdraft_lease_period: Lease | None = Field(
        None,
        description="The same of a seat taken in overdraft, at most `leasePeriod`; null: as that.",
    )
    max_lease_period: Lease | None = Field(
        None,
        description="For how long a seat can be borrowed, longer than `leasePeriod`: an activation"
        " with a `leasePeriod` of its own. Null: not at all.",
    )
    max_borrowed_seats: Annotated[int, Field(ge=0, le=MOST_BORROWED)] = Field(
        0, description="How many seats may be borrowed at a time; goes with `maxLeasePeriod`."
    )
    offline_period: Length | None = Field(
        None,
        description="For how long after each renewal software with a signed lease may go on without"
        " the stack, PT1M to P366D. Null: until its lease ends, so that the hard cap holds offline"
        " too. A period longer than the lease lets more people work than the hard cap allows.",
    )
    thresholds: Annotated[
        list[Annotated[int, Field(ge=1, le=1000)]],
        Field(max_length=10),
        AfterValidator(_thresholds),
    ] = [80, 100]
    seats_left_thresholds: Annotated[
        list[Annotated[int, Field(ge=0, le=MAX_COUNT)]],
        Field(max_length=10),
        AfterValidator(_thresholds),
    ] = Field([], description="Numbers of purchased seats left at which to notify, such as 5.")
    expiry_notice_days: Annotated[
        list[Annotated[int, Field(ge=1, le=366)]], Field(max_length=5), AfterValidator(_notice_days)
    ] = Field(
        [30, 7, 1],
        description="How many days before `validUntil` notice is given: an event, and e-mail.",
    )
    notifications: Notifications = Notifications()
    unit_price: UnitPrice | None = None
    overdraft_price: SeatOverdraftPrice | None = Field(
        None, description="What seats above `seatCount` cost; null: nothing."
    )
    show_charges: bool = Field(
        default=False, description="Whether the customer sees in the portal what overdraft costs."
    )
    denial_help: DenialHelp | None = Field(
        None, description="What a denial tells the customer's software; null: nothing."
    )
    metadata: Metadata = Field(
        default={},
        description="Your own notes, up to 20. Events and reports have them; license keys do not"
        " see them. A patch changes those that it names, and null removes one.",
    )
    time_zone: Zone = "UTC"
    valid_from: Time | None = Field(
        None, description="By default now, less five seconds, because clocks differ."
    )
    valid_until: Time | None = Field(None, description="By default open-ended.")
    status: Literal["active", "suspended"] = "active"


class EntitlementPatch(EntitlementInput):
    """A JSON merge patch (RFC 7396): members that are sent are changed, null restores the default.

    `overdraftSeatLimit`, `unitPrice` and `overdraftPrice` are replaced as a whole.
    """


class CustomerCapInput(Input):
    """The cap that a customer sets for itself."""

    usage_key: str | None = Field(None, description="The usage limit; missing: the seats.")
    cap: Annotated[int, Field(ge=0, le=MAX_LIMIT)] | None = Field(
        description="From zero to the hard cap; null: no cap of the customer's own."
    )


class CustomerCap(Output):
    """The cap of the customer's own, as it is now."""

    usage_key: str | None
    cap: int | None
    hard_cap: int | None


class ScheduledChangeInput(Input):
    """A change that is to take effect later."""

    effective_at: Time = Field(description="When it takes effect, within a minute.")
    changes: Annotated[
        dict[str, Any],
        WithJsonSchema({"allOf": [{"$ref": "#/components/schemas/EntitlementPatch"}]}),
    ] = Field(description="A JSON merge patch (RFC 7396) of the entitlement.")
    note: Annotated[str, Field(max_length=1_000), AfterValidator(check_multiline)] | None = None


class ScheduledChange(Output):
    """A scheduled change, and what became of it."""

    scheduled_change_id: str
    entitlement_id: str
    effective_at: str
    changes: dict[str, Any] = Field(description="The merge patch, as it was sent.")
    note: str | None
    status: Literal[STATUSES]  # type: ignore[valid-type]
    created_at: str
    created_by: str = Field(description="The id of the API key.")
    ended_at: str | None = Field(description="When it was applied, cancelled or refused.")
    ended_by: str | None = Field(description="The id of the key that cancelled it, or `schedule`.")
    failure: str | None = Field(description="Why it was refused when it was to be applied.")


class ScheduledChangeList(Output):
    """A page of scheduled changes."""

    items: list[ScheduledChange]
    next_page_token: str | None


class Ranking(Output):
    """The value by which an entitlement has its place in a sorted list."""

    overdraft_percent: int | None = Field(
        description="`sort=overdraft`: the highest overdraft of the month, in percent of what was"
        " purchased, rounded up. Null in other lists, and where the overdraft began earlier and has"
        " not changed since."
    )
    denied_attempts: int | None = Field(
        description="`sort=denials`: the denied attempts of the month. Null in other lists."
    )
    denied_today: int | None = Field(
        description="Of `sort=denials`: the attempts denied on this UTC day."
    )


class Entitlement(EntitlementInput):
    """An entitlement as the API answers it: what was written, and what follows from it."""

    entitlement_id: str
    status: Literal["active", "suspended", "expired", "not_yet_valid", "deleted"]  # type: ignore[assignment]
    usage_limits: list[UsageLimit]  # type: ignore[assignment]
    hard_cap: int | None
    seats: Seats | None = Field(description="Null: the entitlement has no seats.")
    overdraft: Overdraft | None = Field(
        description="The clock of an overdraft of seats with a period; null: none runs."
    )
    created_at: str
    updated_at: str
    ranking: Ranking | None = Field(None, description="Only in a sorted list.")


class ChangeEffects(Output):
    """What a change would mean for those who use the entitlement now."""

    changes: dict[str, ChangedValues] = Field(description="What would differ, by member.")
    seats_above_hard_cap: int = Field(
        description="So many holders would be above the hard cap. They keep their seats until they"
        " release them, or their leases end."
    )
    usage: list[CurrentUsage] = Field(description="The usage limits as they would be.")


class ChangedEntitlement(Entitlement):
    """An entitlement after a change; with `dryRun`, as the change would make it."""

    dry_run: bool | None = Field(None, description="Only, and true, in answers to dryRun.")
    effects: ChangeEffects | None = Field(None, description="Only in answers to dryRun.")


class EntitlementList(Output):
    """A page of entitlements."""

    items: list[Entitlement]
    next_page_token: str | None
