"""Made from openapi.json by `make openapi`: do not edit."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypedDict

from typing_extensions import NotRequired


class AbsoluteOverdraft(TypedDict):
    """
    A number of seats above what was purchased.
    """

    period: NotRequired[str | None]
    recovery: NotRequired[str | None]
    type: Literal["absolute"]
    value: int


class AbsoluteUsageOverdraft(TypedDict):
    """
    A quantity above what was purchased.
    """

    period: NotRequired[str | None]
    recovery: NotRequired[str | None]
    type: Literal["absolute"]
    value: int


class ActivationRequest(TypedDict):
    """
    Who asks for a seat.
    """

    seatId: str
    seatName: NotRequired[str | None]
    attributes: NotRequired[dict[str, str] | None]
    signed: NotRequired[bool]
    leasePeriod: NotRequired[str | None]


class ApiKey(TypedDict):
    """
    An API key, without the key.
    """

    keyId: str
    name: str
    scopes: list[str]
    createdAt: str
    expiresAt: str | None
    lastUsedAt: str | None


class ApiKeyInput(TypedDict):
    """
    A key for the vendor's own software and people.
    """

    name: str
    scopes: list[Literal["activate", "manage", "report", "support", "admin"]]
    expiresIn: NotRequired[str | None]


class ApiKeyList(TypedDict):
    """
    A page of API keys.
    """

    items: list[ApiKey]
    nextPageToken: str | None


class CallContact(TypedDict):
    """
    Whom to call.
    """

    name: str | None
    email: str | None
    phone: str | None


Threshold: TypeAlias = int


SeatsLeftThreshold: TypeAlias = int


ExpiryNoticeDay: TypeAlias = int


class ChangedValues(TypedDict):
    """
    A member before and after a change; null where there was nothing.
    """

    before: Any
    after: Any


class ClockUsage(TypedDict):
    """
    A usage limit at the time of the notice.
    """

    used: int
    purchased: int
    hardCap: int | None
    overdraftUsed: int
    available: int | None
    key: str


class ConsumptionRequest(TypedDict):
    """
    The quantity to consume, all or nothing.
    """

    quantity: int
    journaled: NotRequired[bool]
    occurredAt: NotRequired[str | None]


class Contact(TypedDict):
    """
    A person who is notified.
    """

    name: NotRequired[str | None]
    email: str
    phone: NotRequired[str | None]


class ContactPatch(TypedDict):
    """
    A person who is notified.
    """

    name: NotRequired[str | None]
    email: NotRequired[str]
    phone: NotRequired[str | None]


class Contacts(TypedDict):
    """
    Who is notified: the customer's administrator, and the vendor's account owner.
    """

    customerAdmin: NotRequired[Contact | None]
    accountOwner: NotRequired[Contact | None]


class ContactsPatch(TypedDict):
    """
    Who is notified: the customer's administrator, and the vendor's account owner.
    """

    customerAdmin: NotRequired[ContactPatch | None]
    accountOwner: NotRequired[ContactPatch | None]


class CorrectionInput(TypedDict):
    """
    The quantity to add to the current period, or to take from it.
    """

    quantity: int
    reason: str


class Crossing(TypedDict):
    """
    When usage will reach a limit; dates are in the entitlement's time zone.
    """

    limit: int
    status: Literal["met", "expected", "not_expected"]
    date: str | None
    earliest: str | None
    latest: str | None


class Customer(TypedDict):
    """
    The customer.
    """

    name: str
    externalId: NotRequired[str | None]


class CustomerCap(TypedDict):
    """
    The cap of the customer's own, as it is now.
    """

    usageKey: str | None
    cap: int | None
    hardCap: int | None


class CustomerCapInput(TypedDict):
    """
    The cap that a customer sets for itself.
    """

    usageKey: NotRequired[str | None]
    cap: int | None


class CustomerPatch(TypedDict):
    """
    The customer.
    """

    name: NotRequired[str]
    externalId: NotRequired[str | None]


class DecisionInput(TypedDict):
    """
    What the vendor decides about a line of a true-up.
    """

    decision: Literal["billed", "waived", "disputed"] | None
    reason: NotRequired[str | None]
    reference: NotRequired[str | None]


class DeliveryAttempt(TypedDict):
    """
    One attempt: the answer, or what went wrong.
    """

    at: str
    durationMs: int
    responseStatus: int | None
    error: str | None


class DeliveryDetails(TypedDict):
    """
    A delivery with the event and the last answer.
    """

    deliveryId: str
    eventId: str
    type: str
    entitlementId: str | None
    isTest: bool
    status: Literal["pending", "succeeded", "failed"]
    failure: str | None
    attempts: list[DeliveryAttempt]
    nextAttemptAt: str | None
    createdAt: str
    event: dict[str, Any]
    answer: str | None


class Denial(TypedDict):
    """
    A seat that was denied in one UTC hour, with the limits at the last attempt.
    """

    hour: str
    seatKey: str
    seatId: str | None
    seatName: str | None
    attempts: int
    firstAt: str
    lastAt: str
    used: int
    purchased: int
    hardCap: int | None
    limitReached: Literal["hardCap", "overdraftPeriod", "customerCap"]


class DenialCount(TypedDict):
    """
    The number of denied attempts of this seat in this UTC hour.
    """

    hour: str
    attempts: int
    firstAt: str
    lastAt: str
    limitReached: Literal["hardCap", "overdraftPeriod", "customerCap"]


class DenialHelp(TypedDict):
    """
    What a denial may tell the customer's software, which can show it to the user.
    """

    showContact: NotRequired[bool]
    requestUrl: NotRequired[str | None]


class DenialHelpPatch(TypedDict):
    """
    What a denial may tell the customer's software, which can show it to the user.
    """

    showContact: NotRequired[bool | None]
    requestUrl: NotRequired[str | None]


Device = TypedDict(
    "Device",
    {
        "device": str,
        "from": str,
        "to": str,
    },
)


class DigestItem(TypedDict):
    """
    Something that happened in a week, or is about to.
    """

    entitlementId: str
    customer: str
    product: str
    usageKey: str | None
    at: str


class EmailOverdraft(TypedDict):
    """
    A notice of the period of an overdraft.
    """

    usageKey: str | None
    notice: Literal["ending", "ended", "recovered"]


class EmailUsage(TypedDict):
    """
    What an e-mail said about a usage limit.
    """

    used: int
    purchased: int
    hardCap: int | None
    overdraftUsed: int
    available: int | None
    key: str
    deniedAttempts: int
    deniedRequests: int
    fired: list[str]


class EndpointDisabledData(TypedDict):
    """
    A webhook endpoint was disabled because of its answers.
    """

    webhookId: str
    url: str
    reason: Literal["gone", "failing"]
    entitlementId: str | None
    test: NotRequired[bool]


class ErasedPerson(TypedDict):
    """
    What erasing a person did.
    """

    seatKey: str
    erasedAt: str
    isHeld: bool
    activationId: str | None


class Event(TypedDict):
    """
    An event of an entitlement.
    """

    id: str
    type: Literal[
        "entitlement.seat.activated",
        "entitlement.seat.borrowed",
        "entitlement.seat.deactivated",
        "entitlement.seat.denied",
        "entitlement.overdraft.entered",
        "entitlement.overdraft.exited",
        "entitlement.overdraft.exhausted",
        "entitlement.overdraft.ending",
        "entitlement.overdraft.ended",
        "entitlement.overdraft.recovered",
        "entitlement.threshold.reached",
        "entitlement.usage.denied",
        "entitlement.usage.overdraft.entered",
        "entitlement.usage.overdraft.exhausted",
        "entitlement.usage.overdraft.ending",
        "entitlement.usage.overdraft.ended",
        "entitlement.usage.overdraft.recovered",
        "entitlement.usage.threshold.reached",
        "entitlement.updated",
        "entitlement.change.failed",
        "entitlement.expiring",
        "entitlement.expired",
        "entitlement.deleted",
        "entitlement.followup.updated",
        "entitlement.followup.due",
        "entitlement.trueup.decided",
        "entitlement.seats.requested",
        "report.published",
        "trueup.published",
        "webhook.endpoint.disabled",
    ]
    timestamp: str
    data: dict[str, Any]
    deliveryId: str


class EventDelivery(TypedDict):
    """
    A delivery with its endpoint.
    """

    deliveryId: str
    eventId: str
    type: str
    entitlementId: str | None
    isTest: bool
    status: Literal["pending", "succeeded", "failed"]
    failure: str | None
    attempts: list[DeliveryAttempt]
    nextAttemptAt: str | None
    createdAt: str
    webhookId: str
    url: str


class EventDeliveryList(TypedDict):
    """
    A page of the deliveries of one event. It may have fewer than it could, or none.
    """

    items: list[EventDelivery]
    nextPageToken: str | None


class EventList(TypedDict):
    """
    A page of events, newest first.
    """

    items: list[Event]
    nextPageToken: str | None


class EventSeat(TypedDict):
    """
    The seat of an event. The names of a person who was erased are null.
    """

    seatKey: str
    seatId: str | None
    seatName: str | None
    attributes: dict[str, str]
    activationId: NotRequired[str | None]
    isOverdraftSeat: NotRequired[bool | None]
    isBorrowed: NotRequired[bool | None]
    activatedAt: NotRequired[str | None]
    leaseExpiry: NotRequired[str | None]
    heldSeconds: NotRequired[int | None]


class EventUsage(TypedDict):
    """
    A usage limit in its period, after this change.
    """

    used: int
    purchased: int
    hardCap: int | None
    overdraftUsed: int
    available: int | None
    key: str
    periodStart: str
    periodEnd: str | None


class ExpiringData(TypedDict):
    """
    The entitlement ends in some days, one of its `expiryNoticeDays`.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    validUntil: str
    daysLeft: int


class ExplainedDenial(TypedDict):
    """
    A denied attempt, and what was in force then.
    """

    at: str
    isExact: bool
    attemptsInHour: int
    used: int
    purchased: int
    hardCap: int | None
    limitReached: Literal["hardCap", "overdraftPeriod", "customerCap"]
    nextLeaseExpiry: str | None


class FollowUp(TypedDict):
    """
    The follow-up of an entitlement; if it never had an overdraft, all is null.
    """

    entitlementId: str
    state: Literal["open", "contacted", "quoted", "won", "dismissed"] | None
    owner: str | None
    note: str | None
    dueAt: str | None
    changedAt: str | None
    changedBy: str | None
    reason: Literal["overdraft", "denial", "request", "purchase"] | None


class FollowUpEntry(TypedDict):
    """
    One change of a follow-up.
    """

    state: Literal["open", "contacted", "quoted", "won", "dismissed"]
    previousState: Literal["open", "contacted", "quoted", "won", "dismissed"] | None
    owner: str | None
    note: str | None
    dueAt: str | None
    changedAt: str
    changedBy: str
    reason: Literal["overdraft", "denial", "request", "purchase"] | None


class FollowUpEntryList(TypedDict):
    """
    A page of a follow-up's changes, newest first.
    """

    items: list[FollowUpEntry]
    nextPageToken: str | None


class FollowUpPatch(TypedDict):
    """
    A change of a follow-up: a JSON merge patch (RFC 7396), and a note.
    """

    state: NotRequired[Literal["open", "contacted", "quoted", "won", "dismissed"]]
    owner: NotRequired[str | None]
    dueAt: NotRequired[str | None]
    note: NotRequired[str | None]


class Forecast(TypedDict):
    """
    Where usage goes if it continues as before.
    """

    usageKey: str | None
    status: Literal["ready", "insufficient_data"]
    basis: str
    unit: Literal["weeks", "days"]
    known: int
    needed: int
    includesDenied: bool
    perWeek: float | None
    perWeekLow: float | None
    perWeekHigh: float | None
    purchased: Crossing | None
    hardCap: Crossing | None


class Health(TypedDict):
    """
    The API answers.
    """

    status: Literal["ok"]


class HeldSeat(TypedDict):
    """
    A seat in a list. Names follow from the stream; null if they have not arrived yet.
    """

    activationId: str
    seatKey: str
    seatId: str | None
    seatName: str | None
    attributes: dict[str, str]
    isOverdraftSeat: bool
    isBorrowed: bool
    activatedAt: str
    lastSeenAt: str | None
    leaseExpiry: str | None


class LeaseKey(TypedDict):
    """
    A public key (RFC 7517, RFC 7518 section 6.2).
    """

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: str
    y: str
    alg: Literal["ES256"]
    use: Literal["sig"]
    kid: str


class LeaseKeys(TypedDict):
    """
    The keys with which leases are signed, or were as long as something that they signed is good.

    Empty: leases are not signed.
    """

    keys: list[LeaseKey]


class LicenseKey(TypedDict):
    """
    A license key, without the key.
    """

    keyId: str
    entitlementId: str
    name: str | None
    createdAt: str


class LicenseKeyInput(TypedDict):
    """
    A key for software that runs at the customer.
    """

    name: NotRequired[str | None]


class LicenseKeyList(TypedDict):
    """
    A page of license keys.
    """

    items: list[LicenseKey]
    nextPageToken: str | None


LimitsInForce = TypedDict(
    "LimitsInForce",
    {
        "from": str,
        "purchased": int,
        "hardCap": int | None,
    },
)


class Money(TypedDict):
    """
    An amount in one currency; a decimal in a string.
    """

    amount: str
    currency: str


class NewApiKey(TypedDict):
    """
    An API key with the key itself, which only this answer has.
    """

    keyId: str
    name: str
    scopes: list[str]
    createdAt: str
    expiresAt: str | None
    lastUsedAt: str | None
    key: str


class NewLicenseKey(TypedDict):
    """
    A license key with the key itself, which only this answer has.
    """

    keyId: str
    entitlementId: str
    name: str | None
    createdAt: str
    key: str


class NewSecret(TypedDict):
    """
    A new secret, which only this answer has.
    """

    webhookId: str
    secret: str
    previousSecretExpiresAt: str


class NewSession(TypedDict):
    """
    A session with its credential, which only this answer has.
    """

    sessionId: str
    actor: str
    name: str | None
    scopes: list[str]
    signedInWith: Literal["apiKey", "link", "openid"]
    createdAt: str
    idleAt: str
    expiresAt: str
    session: str


class NewWebhook(TypedDict):
    """
    An endpoint with its secret, which only this answer has.
    """

    webhookId: str
    url: str
    format: Literal["standard", "slack", "teams"]
    eventTypes: list[str]
    entitlementId: str | None
    customer: str | None
    description: str | None
    enabled: bool
    disabledReason: Literal["gone", "failing"] | None
    disabledAt: str | None
    createdAt: str
    updatedAt: str
    secret: str


class NoOverdraft(TypedDict):
    """
    The hard cap is what was purchased.
    """

    type: Literal["none"]


class Notifications(TypedDict):
    """
    The events about which each audience gets e-mail; an empty list: none.
    """

    accountOwner: NotRequired[
        list[
            Literal[
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
        ]
    ]
    customerAdmin: NotRequired[
        list[
            Literal[
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
        ]
    ]


class NotificationsPatch(TypedDict):
    """
    The events about which each audience gets e-mail; an empty list: none.
    """

    accountOwner: NotRequired[
        list[
            Literal[
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
        ]
        | None
    ]
    customerAdmin: NotRequired[
        list[
            Literal[
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
        ]
        | None
    ]


class Overdraft(TypedDict):
    """
    The clock of an overdraft with a period. It runs, or has ended and is not recovered yet.
    """

    since: str
    endsAt: str
    recoversAt: str | None


class OverdraftEpisode(TypedDict):
    """
    Usage above what was purchased, from when it rose until it fell back.
    """

    episodeId: str
    start: str
    end: str | None
    peak: int
    overdraftSeconds: int
    overdraftSeatSeconds: int
    seatHours: float
    distinctSeats: int
    deniedAttempts: int
    deniedSeats: int


PastGrant = TypedDict(
    "PastGrant",
    {
        "from": str,
        "to": str,
        "reason": Literal["released", "lease_expired", "removed", "unknown"],
        "isOverdraftSeat": bool,
    },
)


class PercentageOverdraft(TypedDict):
    """
    A percentage of what was purchased, rounded down.
    """

    period: NotRequired[str | None]
    recovery: NotRequired[str | None]
    type: Literal["percentage"]
    value: int


PortalDenialMark = TypedDict(
    "PortalDenialMark",
    {
        "from": str,
        "to": str,
        "attempts": int,
        "people": int | None,
    },
)


class PortalDeniedDay(TypedDict):
    """
    Denials on a day of the entitlement's time zone.
    """

    date: str
    attempts: int
    people: int | None


class PortalDeniedPerson(TypedDict):
    """
    A person who was denied.
    """

    seatKey: str
    seatId: str | None
    seatName: str | None
    attempts: int
    firstAt: str
    lastAt: str


class PortalLink(TypedDict):
    """
    A portal link, without its token.
    """

    linkId: str
    entitlementId: str
    name: str | None
    role: Literal["viewer", "admin"]
    hidesNames: bool
    createdAt: str
    expiresAt: str


class PortalLinkCreated(TypedDict):
    """
    A portal link with its addresses, which only this answer has and anybody may use.
    """

    linkId: str
    entitlementId: str
    name: str | None
    role: Literal["viewer", "admin"]
    hidesNames: bool
    createdAt: str
    expiresAt: str
    url: str
    embedUrl: str


class PortalLinkInput(TypedDict):
    """
    A link for people at the customer.
    """

    role: NotRequired[Literal["viewer", "admin"]]
    expiresIn: NotRequired[str | None]
    expiresAt: NotRequired[str | None]
    name: NotRequired[str | None]
    hidesNames: NotRequired[bool]


class PortalLinkList(TypedDict):
    """
    A page of portal links.
    """

    items: list[PortalLink]
    nextPageToken: str | None


PortalSection = TypedDict(
    "PortalSection",
    {
        "from": str,
        "highest": int,
        "overdraftSeconds": int,
    },
)


class ProblemBody(TypedDict):
    """
    RFC 9457; further members depend on the type.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str


class Ranking(TypedDict):
    """
    The value by which an entitlement has its place in a sorted list.
    """

    overdraftPercent: int | None
    deniedAttempts: int | None
    deniedToday: int | None


class ReleasedSeat(TypedDict):
    """
    What releasing a person's seat did.
    """

    seatKey: str
    wasHeld: bool
    activationId: str | None


class ReportCall(TypedDict):
    """
    A line of the call list: whom to call, why, and what to say.
    """

    entitlementId: str
    customer: str
    product: str
    score: int
    reasons: list[str]
    advice: str
    contact: CallContact | None
    accountOwner: CallContact | None
    followUp: str | None
    followUpOwner: str | None
    monthlyValue: Money | None


class ReportDigest(TypedDict):
    """
    What happened in a week; of each kind, at most twenty are named.
    """

    began: list[DigestItem]
    ended: list[DigestItem]
    ending: list[DigestItem]
    beganCount: int
    endedCount: int
    endingCount: int


class ReportFile(TypedDict):
    """
    A file of a report, behind a link that expires.
    """

    format: Literal["html", "xlsx", "csv", "json"]
    url: str
    expiresAt: str
    bytes: int


class ReportFilters(TypedDict):
    """
    The entitlements of a report; by default all.
    """

    entitlementId: NotRequired[str | None]
    customer: NotRequired[str | None]
    product: NotRequired[str | None]
    accountOwner: NotRequired[str | None]


ReportInput = TypedDict(
    "ReportInput",
    {
        "filters": NotRequired[ReportFilters],
        "formats": NotRequired[list[Literal["html", "xlsx", "csv", "json"]]],
        "sendEmail": NotRequired[bool],
        "emailTo": NotRequired[Literal["recipients", "accountOwner", "everyAccountOwner"]],
        "underUse": NotRequired[int | None],
        "period": NotRequired[str | None],
        "from": NotRequired[str | None],
        "to": NotRequired[str | None],
        "timeZone": NotRequired[str | None],
    },
)


ReportPeriod = TypedDict(
    "ReportPeriod",
    {
        "month": str | None,
        "quarter": NotRequired[str | None],
        "week": NotRequired[str | None],
        "from": str,
        "to": str,
        "timeZone": str,
    },
)


class ReportSummary(TypedDict):
    """
    The totals of a report, and whom to call first.
    """

    entitlements: int
    inOverdraft: int
    denied: int
    seatHours: float
    deniedSeats: int
    deniedRequests: int
    deniedAttempts: int
    underUsed: int
    monthlyValue: list[Money]
    digest: ReportDigest | None
    calls: list[ReportCall]


class ReportTotals(TypedDict):
    """
    The totals of a report.
    """

    entitlements: int
    inOverdraft: int
    denied: int
    seatHours: float
    deniedSeats: int
    deniedRequests: int
    deniedAttempts: int
    underUsed: int
    monthlyValue: list[Money]


class RequestDenialCount(TypedDict):
    """
    Denied attempts of this request in this UTC hour, and the quantity that it asked for.
    """

    hour: str
    attempts: int
    firstAt: str
    lastAt: str
    limitReached: Literal["hardCap", "overdraftPeriod", "customerCap"]
    requestKey: str
    quantity: int


class ResendAccepted(TypedDict):
    """
    Deliveries will be made again.
    """

    webhookId: str
    deliveryId: NotRequired[str | None]
    since: NotRequired[str | None]


class ResendInput(TypedDict):
    """
    The time since which failed deliveries are sent again.
    """

    since: str


class RotationInput(TypedDict):
    """
    How long the old secret signs beside the new one.
    """

    overlapSeconds: NotRequired[int]


class ScheduledChange(TypedDict):
    """
    A scheduled change, and what became of it.
    """

    scheduledChangeId: str
    entitlementId: str
    effectiveAt: str
    changes: dict[str, Any]
    note: str | None
    status: Literal["pending", "applied", "cancelled", "failed"]
    createdAt: str
    createdBy: str
    endedAt: str | None
    endedBy: str | None
    failure: str | None


class ScheduledChangeList(TypedDict):
    """
    A page of scheduled changes.
    """

    items: list[ScheduledChange]
    nextPageToken: str | None


class Seat(TypedDict):
    """
    A person's seat. Names follow from the stream, a moment later.
    """

    seatKey: str
    seatId: str | None
    seatName: str | None
    attributes: dict[str, str]
    isHeld: bool
    activationId: str | None
    isOverdraftSeat: bool
    activatedAt: str | None
    lastSeenAt: str | None
    endedAt: str | None
    endReason: Literal["released", "lease_expired", "removed", "unknown"] | None
    grantCount: int
    grants: list[PastGrant]
    devices: list[Device]
    erasedAt: str | None


class SeatCharge(TypedDict):
    """
    What a seat would add to what overdraft costs in this month.
    """

    month: str
    currency: str
    amount: str
    expectedAmount: str
    basis: Literal["peak_seats", "seat_days"]
    charge: Literal["by_month", "to_end_of_term"]


class SeatList(TypedDict):
    """
    A page of seats, held or not, in the order of their keys.
    """

    items: list[Seat]
    nextPageToken: str | None


class SeatOverdraftPrice(TypedDict):
    """
    What seats above the purchased number cost.
    """

    amount: str
    currency: str
    charge: NotRequired[Literal["by_month", "to_end_of_term"]]
    minimum: NotRequired[str | None]
    basis: Literal["peak_seats", "seat_days"]
    freeSeats: NotRequired[int]


class SeatRequest(TypedDict):
    """
    A request for more seats, or for more of a usage limit, as it is stored.
    """

    requestId: str
    seats: int | None
    usageKey: str | None
    quantity: int | None
    message: str | None
    requester: str | None
    requestedAt: str
    requestedBy: str
    status: Literal["open", "answered", "declined"]
    note: str | None
    answeredAt: str | None
    answeredBy: str | None


class SeatRequestInput(TypedDict):
    """
    A customer's request for more seats, or for more of a usage limit.
    """

    seats: NotRequired[int | None]
    usageKey: NotRequired[str | None]
    quantity: NotRequired[int | None]
    message: NotRequired[str | None]
    requester: NotRequired[str | None]


class SeatRequestList(TypedDict):
    """
    A page of requests for more seats.
    """

    items: list[SeatRequest]
    nextPageToken: str | None


class SeatRequestPatch(TypedDict):
    """
    What became of a request: a JSON merge patch (RFC 7396).
    """

    status: NotRequired[Literal["open", "answered", "declined"]]
    note: NotRequired[str | None]


class SeatSelector(TypedDict):
    """
    A person, by exactly one of both.
    """

    seatId: NotRequired[str | None]
    seatKey: NotRequired[str | None]


class Seats(TypedDict):
    """
    Seats in use, against both limits.
    """

    used: int
    purchased: int
    hardCap: int | None
    overdraftUsed: int
    available: int | None
    asOf: NotRequired[str | None]


class Session(TypedDict):
    """
    A session of the console, without its credential.
    """

    sessionId: str
    actor: str
    name: str | None
    scopes: list[str]
    signedInWith: Literal["apiKey", "link", "openid"]
    createdAt: str
    idleAt: str
    expiresAt: str


class SessionInput(TypedDict):
    """
    A proof of who signs in: one of these.
    """

    apiKey: NotRequired[str | None]
    code: NotRequired[str | None]
    idToken: NotRequired[str | None]


class SessionList(TypedDict):
    """
    A page of sessions.
    """

    items: list[Session]
    nextPageToken: str | None


class SignInLink(TypedDict):
    """
    A link that signs in to the console, once.
    """

    url: str
    expiresAt: str


class SignInLinkInput(TypedDict):
    """
    A link that signs in to the console.
    """

    expiresIn: NotRequired[str | None]


class StackParameter(TypedDict):
    """
    A parameter of the stack.
    """

    name: str
    value: str


class Terms(TypedDict):
    """
    Limits, status and validity.
    """

    seatCount: int
    hardCap: int | None
    customerCap: int | None
    status: str | None
    validFrom: str | None
    validUntil: str | None


class TermsData(TypedDict):
    """
    Limits, status or validity, before and after.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seq: int
    seats: Seats
    before: Terms
    after: Terms


class TestSent(TypedDict):
    """
    A test event is on its way.
    """

    webhookId: str
    eventId: str
    deliveryId: str


class ThresholdData(TypedDict):
    """
    Usage reached a threshold.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seq: int
    seats: Seats
    seat: NotRequired[EventSeat | None]
    threshold: int | None
    seatsLeft: NotRequired[int | None]


class TrueUpDecision(TypedDict):
    """
    What the vendor has decided about a line.
    """

    decision: Literal["billed", "waived", "disputed"] | None
    reason: str | None
    reference: str | None
    amount: str
    decidedAt: str
    decidedBy: str | None
    decidedByName: str | None


class TrueUpLevel(TypedDict):
    """
    What was in use, against both limits that were in force.
    """

    used: int
    purchased: int
    hardCap: int | None


class TrueUpPart(TypedDict):
    """
    One step of a line: `quantity` times `unitAmount` times `factor`, not rounded.
    """

    what: Literal["peak", "day", "period", "increase"]
    at: str
    day: str
    level: TrueUpLevel
    opening: TrueUpLevel | None
    overdraft: int
    free: int
    chargedBefore: int
    quantity: int
    basis: Literal["peak_seats", "seat_days", "units"]
    charge: Literal["by_month", "to_end_of_term"]
    unitAmount: str
    factor: str


TrueUpPeriod = TypedDict(
    "TrueUpPeriod",
    {
        "name": str,
        "from": str,
        "to": str,
        "timeZone": str,
    },
)


class TrueUpStatementInput(TypedDict):
    """
    The statement that is requested.
    """

    filters: NotRequired[ReportFilters]
    formats: NotRequired[list[Literal["html", "xlsx", "csv", "json"]]]
    sendEmail: NotRequired[bool]
    emailTo: NotRequired[Literal["recipients", "accountOwner", "everyAccountOwner"]]
    period: NotRequired[str | None]


class TrueUpStatementLine(TypedDict):
    """
    A line of a statement: whose it is, and what it costs.
    """

    entitlementId: str
    customer: Customer
    accountOwner: str | None
    product: str
    sku: str | None
    isFinal: bool
    lineId: str
    usageKey: str | None
    month: str
    currency: str
    amount: str
    evidence: str
    decision: TrueUpDecision | None


class TrueUpStatementLineList(TypedDict):
    """
    A page of the lines of a statement, in the order of its files.

    Empty before it is published. With a filter it may have few lines, or none, and yet a next page.
    """

    items: list[TrueUpStatementLine]
    nextPageToken: str | None


class TrueUpSum(TypedDict):
    """
    What a statement adds up to in one currency, and by what was decided.
    """

    currency: str
    amount: str
    billed: str
    waived: str
    disputed: str
    undecided: str


class TrueUpTotal(TypedDict):
    """
    The sum of the lines in one currency.
    """

    currency: str
    amount: str
    expectedAmount: str


class TrueUpTotals(TypedDict):
    """
    The totals of a statement.
    """

    entitlements: int
    lines: int
    totals: list[TrueUpSum]


class UnitPrice(TypedDict):
    """
    List price of one seat; the amount is a decimal in a string.
    """

    amount: str
    currency: str
    per: Literal["month", "year"]


class UnlimitedOverdraft(TypedDict):
    """
    No hard cap.
    """

    period: NotRequired[str | None]
    recovery: NotRequired[str | None]
    type: Literal["unlimited"]


class UsageData(TypedDict):
    """
    Usage of a limit crossed what was purchased or the hard cap; once a period.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seq: int
    usage: EventUsage


class UsageDenial(TypedDict):
    """
    A request that did not fit in one UTC hour, with the limits at the last attempt.
    """

    hour: str
    key: str
    requestKey: str
    quantity: int
    attempts: int
    firstAt: str
    lastAt: str
    used: int
    purchased: int
    hardCap: int | None
    limitReached: Literal["hardCap", "overdraftPeriod", "customerCap"]


class UsageDeniedData(TypedDict):
    """
    A request did not fit under a usage limit.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    usage: EventUsage
    denial: RequestDenialCount


UsageInterval = TypedDict(
    "UsageInterval",
    {
        "from": str,
        "to": str,
        "lowest": int,
        "highest": int,
        "closing": int,
        "seatSeconds": int,
        "overdraftSeconds": int,
        "overdraftSeatSeconds": int,
        "activations": int,
        "activatedSeats": int,
        "overdraftSeats": int,
        "briefActivations": int,
        "releases": int,
        "expiries": int,
        "removals": int,
        "deniedAttempts": int,
        "deniedSeats": int,
        "limits": list[LimitsInForce],
    },
)


class UsageOverdraftClockData(TypedDict):
    """
    The period of a usage limit's overdraft: it ends soon, it has ended, or use has recovered.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    usage: ClockUsage
    overdraft: Overdraft


class UsageOverdraftEpisode(TypedDict):
    """
    Usage of a limit above what was purchased, until its period ended or it was corrected.
    """

    episodeId: str
    start: str
    end: str | None
    peak: int
    overdraftSeconds: int
    deniedAttempts: int
    deniedRequests: int


class UsageOverdraftPrice(TypedDict):
    """
    What usage above the purchased quantity costs.
    """

    amount: str
    currency: str
    charge: NotRequired[Literal["by_month", "to_end_of_term"]]
    minimum: NotRequired[str | None]
    basis: NotRequired[Literal["units"]]
    freeUnits: NotRequired[int]


class UsageTerms(TypedDict):
    """
    The limits of a usage limit.
    """

    limit: int
    hardCap: int | None
    customerCap: int | None
    resetSchedule: str


class UsageThresholdData(TypedDict):
    """
    Usage of a limit reached a threshold; once a period.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seq: int
    usage: EventUsage
    threshold: int


class Used(TypedDict):
    """
    Usage of a limit in its period, against both limits.
    """

    used: int
    purchased: int
    hardCap: int | None
    overdraftUsed: int
    available: int | None


class Webhook(TypedDict):
    """
    An endpoint, without its secret.
    """

    webhookId: str
    url: str
    format: Literal["standard", "slack", "teams"]
    eventTypes: list[str]
    entitlementId: str | None
    customer: str | None
    description: str | None
    enabled: bool
    disabledReason: Literal["gone", "failing"] | None
    disabledAt: str | None
    createdAt: str
    updatedAt: str


class WebhookEndpointDisabled(TypedDict):
    """
    `webhook.endpoint.disabled`: A webhook endpoint was disabled because of its answers.
    """

    id: str
    type: Literal["webhook.endpoint.disabled"]
    timestamp: str
    data: EndpointDisabledData


EventType: TypeAlias = str


class WebhookInput(TypedDict):
    """
    Where events are sent, and which.
    """

    url: str
    format: NotRequired[Literal["standard", "slack", "teams"]]
    eventTypes: NotRequired[list[EventType]]
    entitlementId: NotRequired[str | None]
    customer: NotRequired[str | None]
    description: NotRequired[str | None]
    enabled: NotRequired[bool]


class WebhookList(TypedDict):
    """
    A page of endpoints.
    """

    items: list[Webhook]
    nextPageToken: str | None


class WebhookPatch(TypedDict):
    """
    A JSON merge patch (RFC 7396).
    """

    url: NotRequired[str]
    format: NotRequired[Literal["standard", "slack", "teams"] | None]
    eventTypes: NotRequired[list[EventType] | None]
    entitlementId: NotRequired[str | None]
    customer: NotRequired[str | None]
    description: NotRequired[str | None]
    enabled: NotRequired[bool | None]


class WebhookTestInput(TypedDict):
    """
    The type of the event to send.
    """

    type: NotRequired[
        Literal[
            "entitlement.seat.activated",
            "entitlement.seat.borrowed",
            "entitlement.seat.deactivated",
            "entitlement.seat.denied",
            "entitlement.overdraft.entered",
            "entitlement.overdraft.exited",
            "entitlement.overdraft.exhausted",
            "entitlement.overdraft.ending",
            "entitlement.overdraft.ended",
            "entitlement.overdraft.recovered",
            "entitlement.threshold.reached",
            "entitlement.usage.denied",
            "entitlement.usage.overdraft.entered",
            "entitlement.usage.overdraft.exhausted",
            "entitlement.usage.overdraft.ending",
            "entitlement.usage.overdraft.ended",
            "entitlement.usage.overdraft.recovered",
            "entitlement.usage.threshold.reached",
            "entitlement.updated",
            "entitlement.change.failed",
            "entitlement.expiring",
            "entitlement.expired",
            "entitlement.deleted",
            "entitlement.followup.updated",
            "entitlement.followup.due",
            "entitlement.trueup.decided",
            "entitlement.seats.requested",
            "report.published",
            "trueup.published",
            "webhook.endpoint.disabled",
        ]
    ]


class Activation(TypedDict):
    """
    A seat that is held. With `dryRun`, the ids and times of a new seat are null.
    """

    activationId: str | None
    entitlementId: str
    seatId: str
    seatName: str | None
    attributes: dict[str, str]
    isOverdraftSeat: bool
    isBorrowed: bool
    activatedAt: str | None
    leaseExpiry: str | None
    status: Literal["within_limit", "at_limit", "overdraft"]
    seats: Seats
    overdraft: Overdraft | None
    signedLease: NotRequired[str | None]
    dryRun: NotRequired[bool | None]
    charge: NotRequired[SeatCharge | None]


class ActivationList(TypedDict):
    """
    A page of the seats held, in the order of their keys.
    """

    items: list[HeldSeat]
    nextPageToken: str | None


class Change(TypedDict):
    """
    A change that somebody made through the API, or what they did to a person's seat.
    """

    changeId: str
    at: str
    type: Literal[
        "entitlement.created",
        "entitlement.updated",
        "entitlement.deleted",
        "scheduled_change.created",
        "scheduled_change.cancelled",
        "scheduled_change.failed",
        "seat.released",
        "person.erased",
        "usage.corrected",
        "seat_request.created",
        "seat_request.updated",
        "follow_up.updated",
        "true_up.decided",
        "license_key.created",
        "license_key.revoked",
        "portal_link.created",
        "portal_link.revoked",
        "api_key.created",
        "api_key.revoked",
        "sign_in_link.created",
        "session.created",
        "session.ended",
        "webhook.created",
        "webhook.updated",
        "webhook.deleted",
        "webhook.secret_rotated",
        "webhook.tested",
        "webhook.resent",
    ]
    entitlementId: str | None
    actor: str | None
    actorName: str | None
    subjectId: str | None
    subjectName: str | None
    changes: dict[str, ChangedValues]
    reason: str | None
    requestId: str


class ChangeFailedData(TypedDict):
    """
    A scheduled change was refused when it was to be applied: `failure` says why.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    scheduledChange: ScheduledChange


class ChangeList(TypedDict):
    """
    A page of changes, newest first.
    """

    items: list[Change]
    nextPageToken: str | None


class Consumption(TypedDict):
    """
    What was consumed, and the usage with it.
    """

    key: str
    quantity: int
    isOverdraft: bool
    overdraftQuantity: int
    status: Literal["within_limit", "at_limit", "overdraft"]
    usage: Used
    overdraft: Overdraft | None
    periodStart: str
    periodEnd: str | None
    dryRun: NotRequired[bool | None]


class Correction(TypedDict):
    """
    A correction of usage.
    """

    key: str
    quantity: int
    reason: str
    correctedAt: str
    actor: str
    usage: Used
    periodStart: str
    periodEnd: str | None


class CorrectionList(TypedDict):
    """
    A page of corrections, newest first.
    """

    items: list[Correction]
    nextPageToken: str | None


CountInterval = TypedDict(
    "CountInterval",
    {
        "from": str,
        "to": str,
        "lowest": int,
        "highest": int,
        "closing": int,
        "overdraftSeconds": int,
        "consumed": int,
        "requests": int,
        "corrected": int,
        "deniedAttempts": int,
        "deniedRequests": int,
        "limits": list[LimitsInForce],
    },
)


class CurrentUsage(TypedDict):
    """
    A usage limit in its current period.
    """

    key: str
    resetSchedule: Literal["monthly", "never", "on_renewal"]
    status: Literal["within_limit", "at_limit", "overdraft"]
    usage: Used
    overdraft: Overdraft | None
    customerCap: int | None
    periodStart: str
    periodEnd: str | None


class DatedConsumption(TypedDict):
    """
    A consumption that was sent with the time at which it happened.
    """

    key: str
    quantity: int
    occurredAt: str
    consumedAt: str
    actor: str
    usage: Used
    periodStart: str
    periodEnd: str | None


class DatedConsumptionList(TypedDict):
    """
    A page of consumptions with a time of their own, newest first, by when they were accepted.
    """

    items: list[DatedConsumption]
    nextPageToken: str | None


class Delivery(TypedDict):
    """
    The delivery of one event to one endpoint.
    """

    deliveryId: str
    eventId: str
    type: str
    entitlementId: str | None
    isTest: bool
    status: Literal["pending", "succeeded", "failed"]
    failure: str | None
    attempts: list[DeliveryAttempt]
    nextAttemptAt: str | None
    createdAt: str


class DeliveryList(TypedDict):
    """
    A page of deliveries.
    """

    items: list[Delivery]
    nextPageToken: str | None


class DenialList(TypedDict):
    """
    A page of denials, of seats or of a usage limit.
    """

    items: list[Denial | UsageDenial]
    nextPageToken: str | None


class EmailNumbers(TypedDict):
    """
    The numbers in an e-mail.
    """

    used: int
    purchased: int
    hardCap: int | None
    overdraftUsed: int
    overdraftSeatsGranted: int
    deniedAttempts: int
    deniedSeats: int
    events: dict[str, int]
    thresholds: list[int]
    usage: NotRequired[list[EmailUsage]]
    seatsLeft: NotRequired[int | None]
    daysLeft: NotRequired[int | None]
    overdrafts: NotRequired[list[EmailOverdraft]]
    seatsRequested: NotRequired[int]


class EntitlementChangeFailed(TypedDict):
    """
    `entitlement.change.failed`: A scheduled change was refused when it was to be applied: `failure` says why.
    """

    id: str
    type: Literal["entitlement.change.failed"]
    timestamp: str
    data: ChangeFailedData


class EntitlementDeleted(TypedDict):
    """
    `entitlement.deleted`: Limits, status or validity, before and after.
    """

    id: str
    type: Literal["entitlement.deleted"]
    timestamp: str
    data: TermsData


class EntitlementExpired(TypedDict):
    """
    `entitlement.expired`: Limits, status or validity, before and after.
    """

    id: str
    type: Literal["entitlement.expired"]
    timestamp: str
    data: TermsData


class EntitlementExpiring(TypedDict):
    """
    `entitlement.expiring`: The entitlement ends in some days, one of its `expiryNoticeDays`.
    """

    id: str
    type: Literal["entitlement.expiring"]
    timestamp: str
    data: ExpiringData


class EntitlementThresholdReached(TypedDict):
    """
    `entitlement.threshold.reached`: Usage reached a threshold.
    """

    id: str
    type: Literal["entitlement.threshold.reached"]
    timestamp: str
    data: ThresholdData


class EntitlementUsageDenied(TypedDict):
    """
    `entitlement.usage.denied`: A request did not fit under a usage limit.
    """

    id: str
    type: Literal["entitlement.usage.denied"]
    timestamp: str
    data: UsageDeniedData


class EntitlementUsageOverdraftEnded(TypedDict):
    """
    `entitlement.usage.overdraft.ended`: The period of a usage limit's overdraft: it ends soon, it has ended, or use has recovered.
    """

    id: str
    type: Literal["entitlement.usage.overdraft.ended"]
    timestamp: str
    data: UsageOverdraftClockData


class EntitlementUsageOverdraftEnding(TypedDict):
    """
    `entitlement.usage.overdraft.ending`: The period of a usage limit's overdraft: it ends soon, it has ended, or use has recovered.
    """

    id: str
    type: Literal["entitlement.usage.overdraft.ending"]
    timestamp: str
    data: UsageOverdraftClockData


class EntitlementUsageOverdraftEntered(TypedDict):
    """
    `entitlement.usage.overdraft.entered`: Usage of a limit crossed what was purchased or the hard cap; once a period.
    """

    id: str
    type: Literal["entitlement.usage.overdraft.entered"]
    timestamp: str
    data: UsageData


class EntitlementUsageOverdraftExhausted(TypedDict):
    """
    `entitlement.usage.overdraft.exhausted`: Usage of a limit crossed what was purchased or the hard cap; once a period.
    """

    id: str
    type: Literal["entitlement.usage.overdraft.exhausted"]
    timestamp: str
    data: UsageData


class EntitlementUsageOverdraftRecovered(TypedDict):
    """
    `entitlement.usage.overdraft.recovered`: The period of a usage limit's overdraft: it ends soon, it has ended, or use has recovered.
    """

    id: str
    type: Literal["entitlement.usage.overdraft.recovered"]
    timestamp: str
    data: UsageOverdraftClockData


class EntitlementUsageThresholdReached(TypedDict):
    """
    `entitlement.usage.threshold.reached`: Usage of a limit reached a threshold; once a period.
    """

    id: str
    type: Literal["entitlement.usage.threshold.reached"]
    timestamp: str
    data: UsageThresholdData


class Explanation(TypedDict):
    """
    Why a person was denied, and what has changed since.
    """

    seatKey: str
    seatId: str | None
    at: str
    summary: str
    denial: ExplainedDenial | None
    changesSince: list[Change]
    isHeld: bool
    heldSince: str | None
    seats: Seats


class FollowUpData(TypedDict):
    """
    The follow-up by sales changed.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    followUp: FollowUpEntry


class FollowUpDueData(TypedDict):
    """
    The due date of a follow-up has come.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    followUp: FollowUpEntry


class OverdraftClockData(TypedDict):
    """
    The period of an overdraft of seats: it ends soon, it has ended, or use has recovered.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seats: Seats
    overdraft: Overdraft


class OverdraftData(TypedDict):
    """
    Usage crossed a limit; `seat` made the difference, if one did.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seq: int
    seats: Seats
    seat: NotRequired[EventSeat | None]


class OverdraftExitedData(TypedDict):
    """
    Usage fell back to what was purchased.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seq: int
    seats: Seats
    seat: NotRequired[EventSeat | None]
    episode: OverdraftEpisode | None


class OverdraftList(TypedDict):
    """
    A page of overdraft episodes, of the seats or of a usage limit.
    """

    items: list[OverdraftEpisode | UsageOverdraftEpisode]
    nextPageToken: str | None


class Portal(TypedDict):
    """
    What is in use against both limits now.
    """

    entitlementId: str
    product: str
    sku: str | None
    customer: str
    accountOwner: str | None
    status: Literal["active", "suspended", "expired", "not_yet_valid", "deleted"]
    validFrom: str | None
    validUntil: str | None
    timeZone: str
    leasePeriod: str | None
    requestsReach: Literal["account_owner", "vendor", "nobody"]
    supportEmail: str | None
    seats: Seats | None
    overdraft: Overdraft | None
    customerCap: int | None
    usage: list[CurrentUsage]
    showsCharges: bool
    role: Literal["viewer", "admin"]
    hidesNames: bool
    expiresAt: str
    asOf: str
    version: str


PortalDenials = TypedDict(
    "PortalDenials",
    {
        "usageKey": str | None,
        "from": str,
        "to": str,
        "isComplete": bool,
        "attempts": int,
        "people": int,
        "quantity": int | None,
        "days": list[PortalDeniedDay],
        "persons": list[PortalDeniedPerson],
    },
)


PortalGraph = TypedDict(
    "PortalGraph",
    {
        "usageKey": str | None,
        "from": str,
        "to": str,
        "interval": Literal["PT15M", "PT1H", "P1D"],
        "asOf": str,
        "starts": list[str],
        "lowest": list[int | None],
        "highest": list[int | None],
        "closing": list[int | None],
        "overdraftSeconds": list[int | None],
        "demand": list[int | None],
        "sections": list[PortalSection],
        "limits": list[LimitsInForce],
        "denials": list[PortalDenialMark],
    },
)


class Report(TypedDict):
    """
    A report and its progress.
    """

    status: Literal["queued", "running", "published", "failed"]
    period: ReportPeriod
    isComplete: bool
    filters: ReportFilters
    formats: list[str]
    sendEmail: bool
    emailTo: Literal["recipients", "accountOwner", "everyAccountOwner"]
    emailedTo: list[str]
    emailReturnedFrom: list[str]
    version: int | None
    changeCount: int | None
    failure: str | None
    failedAttempts: int
    requestedBy: str
    createdAt: str
    publishedAt: str | None
    files: list[ReportFile]
    reportId: str
    previousReportId: str | None
    underUse: int | None
    summary: ReportSummary | None


class ReportList(TypedDict):
    """
    A page of reports, newest first.
    """

    items: list[Report]
    nextPageToken: str | None


class ReportPublishedData(TypedDict):
    """
    A report was published; the API has links to its files for those who may read it.
    """

    reportId: str
    version: int
    previousReportId: str | None
    period: ReportPeriod
    filters: ReportFilters
    formats: list[str]
    summary: ReportTotals
    test: NotRequired[bool]


class SeatActivatedData(TypedDict):
    """
    A seat was taken.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seq: int
    seats: Seats
    seat: EventSeat


class SeatBorrowedData(TypedDict):
    """
    A seat was borrowed, or borrowed for longer.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seq: int
    seats: Seats
    seat: EventSeat


class SeatDeactivatedData(TypedDict):
    """
    A seat ended.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seq: int
    seats: Seats
    seat: EventSeat
    reason: Literal["released", "lease_expired", "removed"]


class SeatDeniedData(TypedDict):
    """
    An activation was denied: at the hard cap, or because the overdraft period had ended.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seats: Seats
    seat: EventSeat
    denial: DenialCount


class SeatsRequestedData(TypedDict):
    """
    The customer requested more seats, or more of a usage limit.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seats: Seats | None
    usage: Used | None
    request: SeatRequest


SentEmail = TypedDict(
    "SentEmail",
    {
        "audience": Literal["accountOwner", "customerAdmin", "requests"],
        "to": str,
        "status": Literal["claimed", "sent", "bounced", "complained", "failed"],
        "sentAt": str | None,
        "messageId": str | None,
        "subject": str | None,
        "from": str,
        "until": str,
        "numbers": EmailNumbers | None,
        "failure": str | None,
    },
)


class Stack(TypedDict):
    """
    How this stack was deployed, as CloudFormation knows it.
    """

    name: str
    version: str
    region: str
    status: str
    createdAt: str
    updatedAt: str | None
    parameters: list[StackParameter]


class TrueUpLine(TypedDict):
    """
    What one meter costs in one month, in one currency.
    """

    lineId: str
    usageKey: str | None
    month: str
    currency: str
    amount: str
    expectedAmount: str
    minimum: str | None
    isMinimum: bool
    parts: list[TrueUpPart]
    decision: TrueUpDecision | None


class TrueUpPublishedData(TypedDict):
    """
    A statement of what overdraft costs was published; the API has links to its files.
    """

    trueUpId: str
    version: int
    previousTrueUpId: str | None
    period: ReportPeriod
    filters: ReportFilters
    formats: list[str]
    summary: TrueUpTotals
    test: NotRequired[bool]


class TrueUpStatement(TypedDict):
    """
    A statement of what overdraft costs, and its progress.
    """

    status: Literal["queued", "running", "published", "failed"]
    period: ReportPeriod
    isComplete: bool
    filters: ReportFilters
    formats: list[str]
    sendEmail: bool
    emailTo: Literal["recipients", "accountOwner", "everyAccountOwner"]
    emailedTo: list[str]
    emailReturnedFrom: list[str]
    version: int | None
    changeCount: int | None
    failure: str | None
    failedAttempts: int
    requestedBy: str
    createdAt: str
    publishedAt: str | None
    files: list[ReportFile]
    trueUpId: str
    previousTrueUpId: str | None
    summary: TrueUpTotals | None


class TrueUpStatementList(TypedDict):
    """
    A page of statements, newest first.
    """

    items: list[TrueUpStatement]
    nextPageToken: str | None


class TrueupPublished(TypedDict):
    """
    `trueup.published`: A statement of what overdraft costs was published; the API has links to its files.
    """

    id: str
    type: Literal["trueup.published"]
    timestamp: str
    data: TrueUpPublishedData


class UpdatedData(TypedDict):
    """
    Limits, status or validity, before and after: of the seats, or of a usage limit.

    A usage limit that was added has no `before`, one that was removed no `after`.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    seq: int
    seats: NotRequired[Seats | None]
    usage: NotRequired[EventUsage | None]
    before: Terms | UsageTerms | None
    after: Terms | UsageTerms | None


class UsageHistory(TypedDict):
    """
    A page of intervals, oldest first, without gaps; of the seats, or of a usage limit.
    """

    items: list[UsageInterval | CountInterval]
    nextPageToken: str | None


class UsageLimit(TypedDict):
    """
    A usage limit as the API answers it.
    """

    key: str
    limit: int
    overdraftLimit: NotRequired[
        NoOverdraft | AbsoluteUsageOverdraft | PercentageOverdraft | UnlimitedOverdraft
    ]
    resetSchedule: NotRequired[Literal["monthly", "never", "on_renewal"]]
    customerCap: NotRequired[int | None]
    overdraftPrice: NotRequired[UsageOverdraftPrice | None]
    hardCap: int | None


class UsageLimitInput(TypedDict):
    """
    A limit of what is counted in a period.
    """

    key: str
    limit: int
    overdraftLimit: NotRequired[
        NoOverdraft | AbsoluteUsageOverdraft | PercentageOverdraft | UnlimitedOverdraft
    ]
    resetSchedule: NotRequired[Literal["monthly", "never", "on_renewal"]]
    customerCap: NotRequired[int | None]
    overdraftPrice: NotRequired[UsageOverdraftPrice | None]


class UsageList(TypedDict):
    """
    The usage limits of an entitlement, in its order.
    """

    items: list[CurrentUsage]
    nextPageToken: str | None


class UsagePeriod(TypedDict):
    """
    A period and its total; of the current one, so far.
    """

    periodStart: str
    periodEnd: str | None
    isCurrent: bool
    usage: Used


class UsagePeriodList(TypedDict):
    """
    A page of periods, newest first. A month in which nothing was used is not listed.
    """

    items: list[UsagePeriod]
    nextPageToken: str | None


class ChangeEffects(TypedDict):
    """
    What a change would mean for those who use the entitlement now.
    """

    changes: dict[str, ChangedValues]
    seatsAboveHardCap: int
    usage: list[CurrentUsage]


class ChangedEntitlement(TypedDict):
    """
    An entitlement after a change; with `dryRun`, as the change would make it.
    """

    externalId: NotRequired[str | None]
    product: str
    sku: NotRequired[str | None]
    customer: Customer
    contacts: NotRequired[Contacts]
    seatCount: NotRequired[int | None]
    overdraftSeatLimit: NotRequired[
        NoOverdraft | AbsoluteOverdraft | PercentageOverdraft | UnlimitedOverdraft
    ]
    usageLimits: list[UsageLimit]
    customerCap: NotRequired[int | None]
    leasePeriod: NotRequired[str | None]
    overdraftLeasePeriod: NotRequired[str | None]
    maxLeasePeriod: NotRequired[str | None]
    maxBorrowedSeats: NotRequired[int]
    offlinePeriod: NotRequired[str | None]
    thresholds: NotRequired[list[Threshold]]
    seatsLeftThresholds: NotRequired[list[SeatsLeftThreshold]]
    expiryNoticeDays: NotRequired[list[ExpiryNoticeDay]]
    notifications: NotRequired[Notifications]
    unitPrice: NotRequired[UnitPrice | None]
    overdraftPrice: NotRequired[SeatOverdraftPrice | None]
    showCharges: NotRequired[bool]
    denialHelp: NotRequired[DenialHelp | None]
    metadata: NotRequired[dict[str, str]]
    timeZone: NotRequired[str]
    validFrom: NotRequired[str | None]
    validUntil: NotRequired[str | None]
    status: Literal["active", "suspended", "expired", "not_yet_valid", "deleted"]
    entitlementId: str
    hardCap: int | None
    seats: Seats | None
    overdraft: Overdraft | None
    createdAt: str
    updatedAt: str
    ranking: NotRequired[Ranking | None]
    dryRun: NotRequired[bool | None]
    effects: NotRequired[ChangeEffects | None]


class DecidedTrueUpLine(TypedDict):
    """
    A line about which was decided, as it was then.
    """

    lineId: str
    decision: TrueUpDecision
    line: TrueUpLine
    earlier: list[TrueUpDecision]


class DecidedTrueUpLineList(TypedDict):
    """
    A page of lines about which was decided, the latest month first.
    """

    items: list[DecidedTrueUpLine]
    nextPageToken: str | None


class EmailList(TypedDict):
    """
    A page of e-mails.
    """

    items: list[SentEmail]
    nextPageToken: str | None


class Entitlement(TypedDict):
    """
    An entitlement as the API answers it: what was written, and what follows from it.
    """

    externalId: NotRequired[str | None]
    product: str
    sku: NotRequired[str | None]
    customer: Customer
    contacts: NotRequired[Contacts]
    seatCount: NotRequired[int | None]
    overdraftSeatLimit: NotRequired[
        NoOverdraft | AbsoluteOverdraft | PercentageOverdraft | UnlimitedOverdraft
    ]
    usageLimits: list[UsageLimit]
    customerCap: NotRequired[int | None]
    leasePeriod: NotRequired[str | None]
    overdraftLeasePeriod: NotRequired[str | None]
    maxLeasePeriod: NotRequired[str | None]
    maxBorrowedSeats: NotRequired[int]
    offlinePeriod: NotRequired[str | None]
    thresholds: NotRequired[list[Threshold]]
    seatsLeftThresholds: NotRequired[list[SeatsLeftThreshold]]
    expiryNoticeDays: NotRequired[list[ExpiryNoticeDay]]
    notifications: NotRequired[Notifications]
    unitPrice: NotRequired[UnitPrice | None]
    overdraftPrice: NotRequired[SeatOverdraftPrice | None]
    showCharges: NotRequired[bool]
    denialHelp: NotRequired[DenialHelp | None]
    metadata: NotRequired[dict[str, str]]
    timeZone: NotRequired[str]
    validFrom: NotRequired[str | None]
    validUntil: NotRequired[str | None]
    status: Literal["active", "suspended", "expired", "not_yet_valid", "deleted"]
    entitlementId: str
    hardCap: int | None
    seats: Seats | None
    overdraft: Overdraft | None
    createdAt: str
    updatedAt: str
    ranking: NotRequired[Ranking | None]


class EntitlementFollowupDue(TypedDict):
    """
    `entitlement.followup.due`: The due date of a follow-up has come.
    """

    id: str
    type: Literal["entitlement.followup.due"]
    timestamp: str
    data: FollowUpDueData


class EntitlementFollowupUpdated(TypedDict):
    """
    `entitlement.followup.updated`: The follow-up by sales changed.
    """

    id: str
    type: Literal["entitlement.followup.updated"]
    timestamp: str
    data: FollowUpData


class EntitlementInput(TypedDict):
    """
    What a customer bought, and on which terms.
    """

    externalId: NotRequired[str | None]
    product: str
    sku: NotRequired[str | None]
    customer: Customer
    contacts: NotRequired[Contacts]
    seatCount: NotRequired[int | None]
    overdraftSeatLimit: NotRequired[
        NoOverdraft | AbsoluteOverdraft | PercentageOverdraft | UnlimitedOverdraft
    ]
    usageLimits: NotRequired[list[UsageLimitInput]]
    customerCap: NotRequired[int | None]
    leasePeriod: NotRequired[str | None]
    overdraftLeasePeriod: NotRequired[str | None]
    maxLeasePeriod: NotRequired[str | None]
    maxBorrowedSeats: NotRequired[int]
    offlinePeriod: NotRequired[str | None]
    thresholds: NotRequired[list[Threshold]]
    seatsLeftThresholds: NotRequired[list[SeatsLeftThreshold]]
    expiryNoticeDays: NotRequired[list[ExpiryNoticeDay]]
    notifications: NotRequired[Notifications]
    unitPrice: NotRequired[UnitPrice | None]
    overdraftPrice: NotRequired[SeatOverdraftPrice | None]
    showCharges: NotRequired[bool]
    denialHelp: NotRequired[DenialHelp | None]
    metadata: NotRequired[dict[str, str]]
    timeZone: NotRequired[str]
    validFrom: NotRequired[str | None]
    validUntil: NotRequired[str | None]
    status: NotRequired[Literal["active", "suspended"]]


class EntitlementList(TypedDict):
    """
    A page of entitlements.
    """

    items: list[Entitlement]
    nextPageToken: str | None


class EntitlementOverdraftEnded(TypedDict):
    """
    `entitlement.overdraft.ended`: The period of an overdraft of seats: it ends soon, it has ended, or use has recovered.
    """

    id: str
    type: Literal["entitlement.overdraft.ended"]
    timestamp: str
    data: OverdraftClockData


class EntitlementOverdraftEnding(TypedDict):
    """
    `entitlement.overdraft.ending`: The period of an overdraft of seats: it ends soon, it has ended, or use has recovered.
    """

    id: str
    type: Literal["entitlement.overdraft.ending"]
    timestamp: str
    data: OverdraftClockData


class EntitlementOverdraftEntered(TypedDict):
    """
    `entitlement.overdraft.entered`: Usage crossed a limit; `seat` made the difference, if one did.
    """

    id: str
    type: Literal["entitlement.overdraft.entered"]
    timestamp: str
    data: OverdraftData


class EntitlementOverdraftExhausted(TypedDict):
    """
    `entitlement.overdraft.exhausted`: Usage crossed a limit; `seat` made the difference, if one did.
    """

    id: str
    type: Literal["entitlement.overdraft.exhausted"]
    timestamp: str
    data: OverdraftData


class EntitlementOverdraftExited(TypedDict):
    """
    `entitlement.overdraft.exited`: Usage fell back to what was purchased.
    """

    id: str
    type: Literal["entitlement.overdraft.exited"]
    timestamp: str
    data: OverdraftExitedData


class EntitlementOverdraftRecovered(TypedDict):
    """
    `entitlement.overdraft.recovered`: The period of an overdraft of seats: it ends soon, it has ended, or use has recovered.
    """

    id: str
    type: Literal["entitlement.overdraft.recovered"]
    timestamp: str
    data: OverdraftClockData


class EntitlementPatch(TypedDict):
    """
    A JSON merge patch (RFC 7396): members that are sent are changed, null restores the default.

    `overdraftSeatLimit`, `unitPrice` and `overdraftPrice` are replaced as a whole.
    """

    externalId: NotRequired[str | None]
    product: NotRequired[str]
    sku: NotRequired[str | None]
    customer: NotRequired[CustomerPatch | None]
    contacts: NotRequired[ContactsPatch | None]
    seatCount: NotRequired[int | None]
    overdraftSeatLimit: NotRequired[
        NoOverdraft | AbsoluteOverdraft | PercentageOverdraft | UnlimitedOverdraft | None
    ]
    usageLimits: NotRequired[list[UsageLimitInput] | None]
    customerCap: NotRequired[int | None]
    leasePeriod: NotRequired[str | None]
    overdraftLeasePeriod: NotRequired[str | None]
    maxLeasePeriod: NotRequired[str | None]
    maxBorrowedSeats: NotRequired[int | None]
    offlinePeriod: NotRequired[str | None]
    thresholds: NotRequired[list[Threshold] | None]
    seatsLeftThresholds: NotRequired[list[SeatsLeftThreshold] | None]
    expiryNoticeDays: NotRequired[list[ExpiryNoticeDay] | None]
    notifications: NotRequired[NotificationsPatch | None]
    unitPrice: NotRequired[UnitPrice | None]
    overdraftPrice: NotRequired[SeatOverdraftPrice | None]
    showCharges: NotRequired[bool | None]
    denialHelp: NotRequired[DenialHelpPatch | None]
    metadata: NotRequired[dict[str, str] | None]
    timeZone: NotRequired[str | None]
    validFrom: NotRequired[str | None]
    validUntil: NotRequired[str | None]
    status: NotRequired[Literal["active", "suspended"] | None]


class EntitlementSeatActivated(TypedDict):
    """
    `entitlement.seat.activated`: A seat was taken.
    """

    id: str
    type: Literal["entitlement.seat.activated"]
    timestamp: str
    data: SeatActivatedData


class EntitlementSeatBorrowed(TypedDict):
    """
    `entitlement.seat.borrowed`: A seat was borrowed, or borrowed for longer.
    """

    id: str
    type: Literal["entitlement.seat.borrowed"]
    timestamp: str
    data: SeatBorrowedData


class EntitlementSeatDeactivated(TypedDict):
    """
    `entitlement.seat.deactivated`: A seat ended.
    """

    id: str
    type: Literal["entitlement.seat.deactivated"]
    timestamp: str
    data: SeatDeactivatedData


class EntitlementSeatDenied(TypedDict):
    """
    `entitlement.seat.denied`: An activation was denied: at the hard cap, or because the overdraft period had ended.
    """

    id: str
    type: Literal["entitlement.seat.denied"]
    timestamp: str
    data: SeatDeniedData


class EntitlementSeatsRequested(TypedDict):
    """
    `entitlement.seats.requested`: The customer requested more seats, or more of a usage limit.
    """

    id: str
    type: Literal["entitlement.seats.requested"]
    timestamp: str
    data: SeatsRequestedData


class EntitlementUpdated(TypedDict):
    """
    `entitlement.updated`: Limits, status or validity, before and after: of the seats, or of a usage limit.

    A usage limit that was added has no `before`, one that was removed no `after`.
    """

    id: str
    type: Literal["entitlement.updated"]
    timestamp: str
    data: UpdatedData


class ListedFollowUp(TypedDict):
    """
    A follow-up with the entitlement that it is of.
    """

    entitlementId: str
    state: Literal["open", "contacted", "quoted", "won", "dismissed"] | None
    owner: str | None
    note: str | None
    dueAt: str | None
    changedAt: str | None
    changedBy: str | None
    reason: Literal["overdraft", "denial", "request", "purchase"] | None
    etag: str
    entitlement: Entitlement


class ListedFollowUpList(TypedDict):
    """
    A page of follow-ups.
    """

    items: list[ListedFollowUp]
    nextPageToken: str | None


class ReportPublished(TypedDict):
    """
    `report.published`: A report was published; the API has links to its files for those who may read it.
    """

    id: str
    type: Literal["report.published"]
    timestamp: str
    data: ReportPublishedData


class ScheduledChangeInput(TypedDict):
    """
    A change that is to take effect later.
    """

    effectiveAt: str
    changes: EntitlementPatch
    note: NotRequired[str | None]


class TrueUp(TypedDict):
    """
    What the overdraft of an entitlement costs in a month or a quarter.
    """

    entitlementId: str
    period: TrueUpPeriod
    asOf: str
    isFinal: bool
    totals: list[TrueUpTotal]
    lines: list[TrueUpLine]


class TrueUpDecidedData(TypedDict):
    """
    The vendor decided about a line of a true-up: what overdraft costs in a month.
    """

    entitlementId: str
    externalId: str | None
    product: str | None
    sku: str | None
    customer: Customer | None
    contacts: Contacts | None
    metadata: dict[str, str]
    actor: str
    requestId: NotRequired[str | None]
    test: NotRequired[bool]
    line: TrueUpLine


class EntitlementTrueupDecided(TypedDict):
    """
    `entitlement.trueup.decided`: The vendor decided about a line of a true-up: what overdraft costs in a month.
    """

    id: str
    type: Literal["entitlement.trueup.decided"]
    timestamp: str
    data: TrueUpDecidedData
