"""Every route of the API. Routing, credentials and the API description use this list.

It does not import pydantic, because every function imports it. Schemas are named, and looked up in
`schemas/` when the description is made.
"""

import re
from typing import NamedTuple

from shared.audit import ENTRY_TYPES
from shared.sales.follow_up import STATES

SCOPES = ("activate", "manage", "report", "support", "admin")
PORTAL_ROLES = ("viewer", "admin")
MAX_BODY_BYTES = 64 * 1024
SEAT_BODY_BYTES = 8 * 1024
SESSION_BODY_BYTES = 20 * 1024


class Parameter(NamedTuple):
    """A query parameter.

    `kind` is `boolean`, `integer`, `string`, `time`, `period`, or a list of choices.
    """

    name: str
    kind: str | tuple[str, ...]
    about: str


class Route(NamedTuple):
    """One route.

    `scopes`: an API key or a session with any of these may call it (empty: nobody needs a
    credential).
    `license`: so may the license key of the entitlement in the path. `portal`: so may a portal link
    of the entitlement, with one of these roles. `answers`: status to schema name ("" without a
    body). `problems`: what may go wrong besides the problems that every route shares. `any_query`:
    unknown parameters are ignored, on pages to whose links others add some. `only`: of those with a
    scope, API keys alone (`api`), or sessions of the console alone (`session`).
    """

    id: str
    function: str
    summary: str
    scopes: tuple[str, ...] = ()
    license: bool = False
    portal: tuple[str, ...] = ()
    body: str = ""
    answers: tuple[tuple[int, str], ...] = ()
    problems: tuple[str, ...] = ()
    query: tuple[Parameter, ...] = ()
    headers: tuple[str, ...] = ()
    max_body: int = MAX_BODY_BYTES
    body_optional: bool = False
    any_query: bool = False
    only: str = ""

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a credential."""
        return not (self.scopes or self.license or self.portal)


_PAGING = (
    Parameter("limit", "integer", "The most items, 1 to 100; by default 50."),
    Parameter("pageToken", "string", "The `nextPageToken` of the page before."),
)
_PERIOD = (
    Parameter("from", "time", "Only from this time on (RFC 3339)."),
    Parameter("to", "time", "Only before this time (RFC 3339); by default now."),
)
_BY = Parameter(
    "by",
    ("seatId", "key"),
    "What the path contains, if one person's seatId is another person's seat key.",
)
_AUDIT = (
    *_PERIOD,
    Parameter("actor", "string", "Only by this key or portal link: its id."),
    Parameter("type", ENTRY_TYPES, "Only changes of this type."),
    *_PAGING,
)
_ENTITLEMENT = "/v1/entitlements/{entitlementId}"
_BY_EXTERNAL_ID = "/v1/entitlements/by-external-id/{externalId}"
_FOLLOW_UP = f"{_ENTITLEMENT}/follow-up"
_TRUE_UP = f"{_ENTITLEMENT}/true-up"
_WEBHOOK = "/v1/webhooks/{webhookId}"
_HOLDER = Parameter(
    "search",
    "string",
    "Only holders whose `seatId` begins so; case and accents do not matter. Ordered by `seatId`.",
)
_BORROWED = Parameter("borrowed", "boolean", "Only seats that are borrowed, or only the others.")
_USAGE_KEY = Parameter("usageKey", "string", "The usage limit with this key; by default the seats.")
_DRY_RUN = Parameter("dryRun", "boolean", "Answer what would happen; change and record nothing.")
_USAGE = f"{_ENTITLEMENT}/usage/{{key}}"
_DENIED = ("hard-cap-reached", "overdraft-period-ended", "customer-cap-reached")
_JOURNALED = ("idempotency-key-expired", "idempotency-key-in-future")
_NOT_IN_FORCE = ("entitlement-suspended", "entitlement-expired", "entitlement-not-yet-valid")

ROUTES: dict[str, Route] = {
    f"POST {_ENTITLEMENT}/activations": Route(
        "takeSeat",
        "activate",
        "Take a seat, or renew the one that seatId holds",
        ("activate",),
        license=True,
        body="ActivationRequest",
        answers=((201, "Activation"), (200, "Activation")),
        problems=(
            "not-found",
            *_DENIED,
            "borrow-limit-reached",
            "idempotency-conflict",
            *_NOT_IN_FORCE,
        ),
        query=(_DRY_RUN,),
        headers=("Idempotency-Key",),
        max_body=SEAT_BODY_BYTES,
    ),
    f"DELETE {_ENTITLEMENT}/activations/{{activationId}}": Route(
        "releaseSeat",
        "release",
        "Release the seat of this grant; also succeeds if it is not held any more",
        ("activate",),
        license=True,
        portal=("admin",),
        answers=((204, ""),),
        problems=("not-found",),
    ),
    f"GET {_ENTITLEMENT}/activations": Route(
        "listActivations",
        "manage",
        "List who holds seats",
        ("activate", "manage", "report", "support"),
        license=True,
        answers=((200, "ActivationList"),),
        problems=("not-found",),
        query=(_HOLDER, _BORROWED, *_PAGING),
    ),
    f"POST {_USAGE}": Route(
        "consumeUsage",
        "consume",
        "Consume a quantity of a usage limit, all or nothing, once per Idempotency-Key (required)",
        ("activate",),
        license=True,
        body="ConsumptionRequest",
        answers=((200, "Consumption"),),
        problems=("not-found", *_DENIED, "idempotency-conflict", *_JOURNALED, *_NOT_IN_FORCE),
        query=(_DRY_RUN,),
        headers=("Idempotency-Key",),
        max_body=SEAT_BODY_BYTES,
    ),
    f"GET {_ENTITLEMENT}/usage": Route(
        "getUsage",
        "manage",
        "Read every usage limit in its current period",
        ("activate", "manage", "report", "support"),
        license=True,
        answers=((200, "UsageList"),),
        problems=("not-found",),
    ),
    f"GET {_USAGE}/periods": Route(
        "listUsagePeriods",
        "manage",
        "List the periods of a usage limit with their totals, newest first",
        ("manage", "report", "support"),
        answers=((200, "UsagePeriodList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    f"GET {_USAGE}/dated-consumptions": Route(
        "listDatedConsumptions",
        "manage",
        "List what was consumed with an occurredAt, newest first",
        ("manage", "report", "support"),
        answers=((200, "DatedConsumptionList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    f"POST {_USAGE}/corrections": Route(
        "correctUsage",
        "manage",
        "Correct the usage of the current period by a signed quantity",
        ("manage",),
        body="CorrectionInput",
        answers=((201, "Correction"),),
        problems=("not-found", "hard-cap-reached", "idempotency-conflict", *_NOT_IN_FORCE),
        headers=("Idempotency-Key",),
    ),
    f"GET {_USAGE}/corrections": Route(
        "listCorrections",
        "manage",
        "List the corrections of a usage limit, newest first",
        ("manage", "report", "support"),
        answers=((200, "CorrectionList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    "POST /v1/entitlements": Route(
        "createEntitlement",
        "manage",
        "Create an entitlement",
        ("manage",),
        body="EntitlementInput",
        answers=((201, "Entitlement"),),
        problems=("idempotency-conflict", "external-id-taken"),
        headers=("Idempotency-Key",),
    ),
    "GET /v1/entitlements": Route(
        "listEntitlements",
        "manage",
        "List entitlements: all, newest first, those that are searched for, or a ranking",
        ("manage", "report", "support"),
        answers=((200, "EntitlementList"),),
        query=(
            *_PAGING,
            Parameter(
                "search",
                "string",
                "Only those with words that begin so, in the name or externalId of the customer,"
                " the product, the SKU, the entitlement's externalId or the contacts. Case and"
                " accents do not matter. Ordered by the word that was found.",
            ),
            Parameter("externalId", "string", "Only the one with exactly this externalId."),
            Parameter(
                "seatId",
                "string",
                "Only those of which the person with exactly this seatId held a seat, or was denied"
                " one.",
            ),
            Parameter(
                "sort",
                ("overdraft", "denials", "renewal"),
                "`overdraft`: the highest overdraft of the month first, in percent of what was"
                " purchased. `denials`: the most denied attempts of the month first. `renewal`:"
                " those that end next first. Entitlements without any are left out.",
            ),
            Parameter(
                "month", "string", "The UTC month of `sort`: `2026-11`. By default this one."
            ),
            Parameter(
                "overdraft",
                "boolean",
                "Only those whose use is above (or not above) what was purchased."
                " Kept by the stream, so it may be seconds old.",
            ),
            Parameter("customer", "string", "Only this customer: its exact name or externalId."),
            Parameter(
                "status",
                ("active", "suspended", "expired", "not_yet_valid", "deleted"),
                "Only this status. Deleted entitlements are listed only when asked for.",
            ),
        ),
    ),
    f"GET {_BY_EXTERNAL_ID}": Route(
        "getEntitlementByExternalId",
        "manage",
        "Read the entitlement with your own id",
        ("manage", "report", "support"),
        answers=((200, "Entitlement"),),
        problems=("not-found",),
    ),
    f"PUT {_BY_EXTERNAL_ID}": Route(
        "putEntitlementByExternalId",
        "manage",
        "Create the entitlement with your own id, or change it by what is sent",
        ("manage",),
        body="EntitlementPatch",
        answers=((201, "Entitlement"), (200, "Entitlement"), (202, "Entitlement")),
        problems=("precondition-failed",),
        headers=("If-Match", "If-None-Match"),
    ),
    f"GET {_ENTITLEMENT}": Route(
        "getEntitlement",
        "manage",
        "Read an entitlement and its seats in use",
        ("manage", "report", "support"),
        license=True,
        answers=((200, "Entitlement"),),
        problems=("not-found",),
    ),
    f"PATCH {_ENTITLEMENT}": Route(
        "updateEntitlement",
        "manage",
        "Change an entitlement (JSON merge patch)",
        ("manage",),
        body="EntitlementPatch",
        answers=((200, "ChangedEntitlement"), (202, "ChangedEntitlement")),
        problems=("not-found", "precondition-failed", "external-id-taken"),
        query=(_DRY_RUN,),
        headers=("If-Match",),
    ),
    f"DELETE {_ENTITLEMENT}": Route(
        "deleteEntitlement",
        "manage",
        "Delete an entitlement: its seats are removed, its history is kept",
        ("manage",),
        answers=((204, ""),),
        problems=("not-found", "precondition-failed"),
        headers=("If-Match",),
    ),
    f"POST {_ENTITLEMENT}/portal-links": Route(
        "createPortalLink",
        "manage",
        "Create a link to this entitlement's portal; only this answer has the link",
        ("manage", "support"),
        body="PortalLinkInput",
        answers=((201, "PortalLinkCreated"),),
        problems=("not-found", "idempotency-conflict"),
        headers=("Idempotency-Key",),
        body_optional=True,
    ),
    f"GET {_ENTITLEMENT}/portal-links": Route(
        "listPortalLinks",
        "manage",
        "List portal links, newest first, without their tokens",
        ("manage", "support"),
        answers=((200, "PortalLinkList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    f"DELETE {_ENTITLEMENT}/portal-links/{{linkId}}": Route(
        "revokePortalLink",
        "manage",
        "Revoke a portal link; it stops working within a minute",
        ("manage", "support"),
        answers=((204, ""),),
        problems=("not-found",),
    ),
    f"POST {_ENTITLEMENT}/scheduled-changes": Route(
        "scheduleChange",
        "manage",
        "Schedule a change of an entitlement: a JSON merge patch and its time",
        ("manage",),
        body="ScheduledChangeInput",
        answers=((201, "ScheduledChange"),),
        problems=("not-found", "idempotency-conflict"),
        headers=("Idempotency-Key",),
    ),
    f"GET {_ENTITLEMENT}/scheduled-changes": Route(
        "listScheduledChanges",
        "manage",
        "List scheduled changes, the last one to take effect first",
        ("manage", "report", "support"),
        answers=((200, "ScheduledChangeList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    f"GET {_ENTITLEMENT}/scheduled-changes/{{scheduledChangeId}}": Route(
        "getScheduledChange",
        "manage",
        "Read a scheduled change",
        ("manage", "report", "support"),
        answers=((200, "ScheduledChange"),),
        problems=("not-found",),
    ),
    f"DELETE {_ENTITLEMENT}/scheduled-changes/{{scheduledChangeId}}": Route(
        "cancelScheduledChange",
        "manage",
        "Cancel a scheduled change that is pending",
        ("manage",),
        answers=((204, ""),),
        problems=("not-found", "change-not-pending"),
    ),
    f"PATCH {_ENTITLEMENT}/customer-cap": Route(
        "setCustomerCap",
        "manage",
        "Set, change or remove the customer's own cap, at most the hard cap",
        ("manage",),
        portal=("admin",),
        body="CustomerCapInput",
        answers=((200, "CustomerCap"),),
        problems=("not-found", "precondition-failed"),
        headers=("If-Match",),
        max_body=SEAT_BODY_BYTES,
    ),
    "POST /v1/true-ups": Route(
        "createTrueUp",
        "report",
        "Request the statement of what overdraft costs in a month or a quarter",
        ("report",),
        body="TrueUpStatementInput",
        answers=((202, "TrueUpStatement"),),
        problems=("idempotency-conflict",),
        headers=("Idempotency-Key",),
        body_optional=True,
    ),
    "GET /v1/true-ups": Route(
        "listTrueUps",
        "report",
        "List statements of what overdraft costs, newest first",
        ("report",),
        answers=((200, "TrueUpStatementList"),),
        query=_PAGING,
    ),
    "GET /v1/true-ups/{trueUpId}": Route(
        "getTrueUpStatement",
        "report",
        "Read a statement and its progress; once published, with links to its files",
        ("report",),
        answers=((200, "TrueUpStatement"),),
        problems=("not-found",),
    ),
    "GET /v1/true-ups/{trueUpId}/lines": Route(
        "listTrueUpStatementLines",
        "report",
        "List the lines of a published statement, by customer, with the decisions as they are now",
        ("report",),
        answers=((200, "TrueUpStatementLineList"),),
        problems=("not-found",),
        query=(
            Parameter(
                "decision",
                ("billed", "waived", "disputed", "undecided"),
                "Only the lines about which was decided so by now.",
            ),
            *_PAGING,
        ),
    ),
    f"GET {_TRUE_UP}": Route(
        "getTrueUp",
        "manage",
        "Read what overdraft costs in a month or a quarter, with the evidence behind each amount",
        ("manage", "report", "support"),
        portal=PORTAL_ROLES,
        answers=((200, "TrueUp"),),
        problems=("not-found",),
        query=(
            Parameter(
                "period",
                "period",
                "A month, `2026-11`, or a quarter, `2026-Q4`, in the entitlement's time zone; by"
                " default this month.",
            ),
        ),
    ),
    f"PUT {_TRUE_UP}/lines/{{lineId}}/decision": Route(
        "decideTrueUpLine",
        "manage",
        "Decide about a line of a month that is over: billed, waived or disputed",
        ("manage", "report"),
        body="DecisionInput",
        answers=((200, "DecidedTrueUpLine"),),
        problems=("not-found", "true-up-not-final", "precondition-failed"),
        headers=("If-Match",),
        max_body=SEAT_BODY_BYTES,
    ),
    f"GET {_TRUE_UP}/decisions": Route(
        "listTrueUpDecisions",
        "manage",
        "List the lines about which was decided, the latest month first",
        ("manage", "report", "support"),
        answers=((200, "DecidedTrueUpLineList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    f"POST {_ENTITLEMENT}/seat-requests": Route(
        "requestSeats",
        "manage",
        "Request more seats from the vendor: an event, and an e-mail to the account owner",
        ("manage",),
        portal=PORTAL_ROLES,
        body="SeatRequestInput",
        answers=((201, "SeatRequest"),),
        problems=("not-found", "idempotency-conflict"),
        headers=("Idempotency-Key",),
        max_body=SEAT_BODY_BYTES,
    ),
    f"PATCH {_ENTITLEMENT}/seat-requests/{{requestId}}": Route(
        "updateSeatRequest",
        "manage",
        "Answer or decline a request for more seats; the portal shows it (JSON merge patch)",
        ("manage", "report", "support"),
        body="SeatRequestPatch",
        answers=((200, "SeatRequest"),),
        problems=("not-found",),
    ),
    f"GET {_ENTITLEMENT}/seat-requests": Route(
        "listSeatRequests",
        "manage",
        "List the requests for more seats, newest first",
        ("manage", "report", "support"),
        portal=PORTAL_ROLES,
        answers=((200, "SeatRequestList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    "GET /portal": Route(
        "openPortal",
        "portal",
        "The portal's page; the token in the link's fragment decides what it shows",
        answers=((200, ""),),
        any_query=True,
    ),
    "GET /portal/embed": Route(
        "openEmbeddedPortal",
        "portal",
        "The same page for a frame, on a page of one of the stack's PortalEmbedOrigins",
        answers=((200, ""),),
        any_query=True,
    ),
    "GET /portal/{file}": Route(
        "readPortalFile",
        "portal",
        "A script or a style of a page",
        answers=((200, ""),),
        problems=("not-found",),
    ),
    "GET /v1/portal": Route(
        "getPortal",
        "portal",
        "Read what is in use against both limits now",
        portal=PORTAL_ROLES,
        answers=((200, "Portal"),),
        problems=("not-found",),
    ),
    "GET /v1/portal/graph": Route(
        "getPortalGraph",
        "portal",
        "Read usage over time with both limits and denials, by quarter-hour, hour or day",
        portal=PORTAL_ROLES,
        answers=((200, "PortalGraph"),),
        problems=("not-found",),
        query=(*_PERIOD, _USAGE_KEY),
    ),
    "GET /v1/portal/denials": Route(
        "getPortalDenials",
        "portal",
        "Read denials by day and by person",
        portal=PORTAL_ROLES,
        answers=((200, "PortalDenials"),),
        problems=("not-found",),
        query=(*_PERIOD, _USAGE_KEY),
    ),
    "GET /v1/portal/seats": Route(
        "listPortalSeats",
        "portal",
        "List who holds a seat",
        portal=PORTAL_ROLES,
        answers=((200, "ActivationList"),),
        problems=("not-found",),
        query=(_HOLDER, *_PAGING),
    ),
    "GET /v1/portal/forecast": Route(
        "getPortalForecast",
        "portal",
        "Read when the limits will be reached if usage continues as before",
        portal=PORTAL_ROLES,
        answers=((200, "Forecast"),),
        problems=("not-found",),
        query=(_USAGE_KEY,),
    ),
    f"GET {_ENTITLEMENT}/graph": Route(
        "getGraph",
        "portal",
        "Read usage over time as the portal draws it: both limits, denials, demand",
        ("manage", "report", "support"),
        answers=((200, "PortalGraph"),),
        problems=("not-found",),
        query=(*_PERIOD, _USAGE_KEY),
    ),
    f"GET {_ENTITLEMENT}/denial-summary": Route(
        "getDenialSummary",
        "portal",
        "Read denials by day and by person",
        ("manage", "report", "support"),
        answers=((200, "PortalDenials"),),
        problems=("not-found",),
        query=(*_PERIOD, _USAGE_KEY),
    ),
    f"GET {_ENTITLEMENT}/forecast": Route(
        "getForecast",
        "portal",
        "Read when the limits will be reached if usage continues as before",
        ("manage", "report", "support"),
        answers=((200, "Forecast"),),
        problems=("not-found",),
        query=(_USAGE_KEY,),
    ),
    f"POST {_ENTITLEMENT}/license-keys": Route(
        "createLicenseKey",
        "manage",
        "Create a license key; only this answer has the key",
        ("manage",),
        body="LicenseKeyInput",
        body_optional=True,
        answers=((201, "NewLicenseKey"),),
        problems=("not-found", "idempotency-conflict"),
        headers=("Idempotency-Key",),
    ),
    f"GET {_ENTITLEMENT}/license-keys": Route(
        "listLicenseKeys",
        "manage",
        "List license keys",
        ("manage",),
        answers=((200, "LicenseKeyList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    f"DELETE {_ENTITLEMENT}/license-keys/{{keyId}}": Route(
        "revokeLicenseKey",
        "manage",
        "Revoke a license key; it stops working within a minute",
        ("manage",),
        answers=((204, ""),),
        problems=("not-found",),
    ),
    f"GET {_ENTITLEMENT}/seats": Route(
        "listSeats",
        "manage",
        "List everybody who holds or held a seat",
        ("manage", "report", "support"),
        answers=((200, "SeatList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    f"GET {_ENTITLEMENT}/seats/{{seat}}": Route(
        "getSeat",
        "manage",
        "Read one person's seat: when it was held, how it ended, devices seen",
        ("manage", "report", "support"),
        answers=((200, "Seat"),),
        problems=("not-found",),
        query=(_BY,),
    ),
    f"POST {_ENTITLEMENT}/seats/release": Route(
        "releaseSeatOf",
        "manage",
        "Release the seat that a person holds; also succeeds if they hold none",
        ("activate", "manage", "support"),
        license=True,
        body="SeatSelector",
        answers=((200, "ReleasedSeat"),),
        problems=("not-found",),
        max_body=SEAT_BODY_BYTES,
    ),
    f"POST {_ENTITLEMENT}/seats/erase": Route(
        "erasePerson",
        "manage",
        "Erase a person's data (irreversible): the name and id are removed everywhere, counts stay."
        " Does not release the seat",
        ("manage",),
        body="SeatSelector",
        answers=((200, "ErasedPerson"),),
        problems=("not-found",),
        max_body=SEAT_BODY_BYTES,
    ),
    f"GET {_ENTITLEMENT}/usage-history": Route(
        "getUsageHistory",
        "manage",
        "Read usage over time",
        ("manage", "report", "support"),
        answers=((200, "UsageHistory"),),
        problems=("not-found",),
        query=(
            *_PERIOD,
            Parameter(
                "interval",
                ("15m", "hour", "day", "period"),
                "How long each item is; `hour` if not given. Hours and days are cut in the"
                " entitlement's time zone; `period` is one item for all of it, at most 100 days.",
            ),
            _USAGE_KEY,
            *_PAGING,
        ),
    ),
    f"GET {_ENTITLEMENT}/overdrafts": Route(
        "listOverdrafts",
        "manage",
        "List overdraft episodes, newest first",
        ("manage", "report", "support"),
        answers=((200, "OverdraftList"),),
        problems=("not-found",),
        query=(*_PERIOD, _USAGE_KEY, *_PAGING),
    ),
    f"GET {_ENTITLEMENT}/denials": Route(
        "listDenials",
        "manage",
        "List denials by hour and seat, newest hour first",
        ("manage", "report", "support"),
        answers=((200, "DenialList"),),
        problems=("not-found",),
        query=(
            *_PERIOD,
            _USAGE_KEY,
            Parameter("seatId", "string", "Only of the person with this seatId, exactly."),
            Parameter("seatKey", "string", "Only of the person with this seat key."),
            *_PAGING,
        ),
    ),
    f"GET {_ENTITLEMENT}/explain": Route(
        "explainDenial",
        "manage",
        "Explain why a person was denied, in words and numbers, and what has changed since",
        ("manage", "report", "support"),
        answers=((200, "Explanation"),),
        problems=("not-found",),
        query=(
            Parameter("seatId", "string", "Who was denied: the exact seatId."),
            Parameter("seatKey", "string", "Who was denied, by seat key, instead of seatId."),
            Parameter(
                "at", "time", "The denial nearest to this time, within 12 hours; the latest one."
            ),
        ),
    ),
    f"GET {_ENTITLEMENT}/changes": Route(
        "listChanges",
        "manage",
        "List who changed what of this entitlement, newest first",
        ("manage", "report", "support"),
        portal=PORTAL_ROLES,
        answers=((200, "ChangeList"),),
        problems=("not-found",),
        query=_AUDIT,
    ),
    "GET /v1/audit": Route(
        "listAudit",
        "manage",
        "List who changed what of all entitlements, keys and webhook endpoints, newest first",
        ("admin",),
        answers=((200, "ChangeList"),),
        query=_AUDIT,
    ),
    f"GET {_ENTITLEMENT}/events": Route(
        "listEvents",
        "manage",
        "List what happened to an entitlement in the last 30 days, as events, newest first",
        ("manage", "report", "support"),
        answers=((200, "EventList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    f"GET {_ENTITLEMENT}/emails": Route(
        "listEmails",
        "manage",
        "List the e-mails about an entitlement, newest first",
        ("manage", "report", "support"),
        answers=((200, "EmailList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    f"GET {_FOLLOW_UP}": Route(
        "getFollowUp",
        "manage",
        "Read the follow-up of an entitlement's overdraft by sales",
        ("manage", "report", "support"),
        answers=((200, "FollowUp"),),
        problems=("not-found",),
    ),
    f"PATCH {_FOLLOW_UP}": Route(
        "updateFollowUp",
        "manage",
        "Change the follow-up: state, owner, a note (JSON merge patch)",
        ("manage", "report"),
        body="FollowUpPatch",
        answers=((200, "FollowUp"),),
        problems=("not-found", "precondition-failed"),
        headers=("If-Match",),
    ),
    f"GET {_FOLLOW_UP}/entries": Route(
        "listFollowUpEntries",
        "manage",
        "List the changes of a follow-up, newest first",
        ("manage", "report", "support"),
        answers=((200, "FollowUpEntryList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    "GET /v1/follow-ups": Route(
        "listFollowUps",
        "manage",
        "List follow-ups of a state with their entitlements, the last changed first",
        ("manage", "report", "support"),
        answers=((200, "ListedFollowUpList"),),
        query=(
            Parameter("state", STATES, "Only this state; by default `open`."),
            Parameter("due", "boolean", "Only those whose due date has come, or only the others."),
            *_PAGING,
        ),
    ),
    "POST /v1/reports": Route(
        "createReport",
        "report",
        "Request a report of a period; it is made a moment later",
        ("report",),
        body="ReportInput",
        body_optional=True,
        answers=((202, "Report"),),
        problems=("idempotency-conflict",),
        headers=("Idempotency-Key",),
    ),
    "GET /v1/reports": Route(
        "listReports",
        "report",
        "List reports, newest first",
        ("report",),
        answers=((200, "ReportList"),),
        query=_PAGING,
    ),
    "GET /v1/reports/{reportId}": Route(
        "getReport",
        "report",
        "Read a report: its progress, its totals, links to its files",
        ("report",),
        answers=((200, "Report"),),
        problems=("not-found",),
    ),
    "GET /v1/report-files/{token}": Route(
        "openReportFile",
        "manage",
        "Open a file of a report by its link",
        answers=((302, ""),),
        problems=("not-found",),
    ),
    "POST /v1/webhooks": Route(
        "createWebhook",
        "manage",
        "Create a webhook endpoint; only this answer has its secret",
        ("manage", "support"),
        body="WebhookInput",
        answers=((201, "NewWebhook"),),
        problems=("idempotency-conflict",),
        headers=("Idempotency-Key",),
    ),
    "GET /v1/webhooks": Route(
        "listWebhooks",
        "manage",
        "List webhook endpoints",
        ("manage", "support"),
        answers=((200, "WebhookList"),),
        query=_PAGING,
    ),
    f"GET {_WEBHOOK}": Route(
        "getWebhook",
        "manage",
        "Read a webhook endpoint",
        ("manage", "support"),
        answers=((200, "Webhook"),),
        problems=("not-found",),
    ),
    f"PATCH {_WEBHOOK}": Route(
        "updateWebhook",
        "manage",
        "Change a webhook endpoint (JSON merge patch)",
        ("manage", "support"),
        body="WebhookPatch",
        answers=((200, "Webhook"),),
        problems=("not-found",),
    ),
    f"DELETE {_WEBHOOK}": Route(
        "deleteWebhook",
        "manage",
        "Delete a webhook endpoint; nothing more is sent to it",
        ("manage", "support"),
        answers=((204, ""),),
        problems=("not-found",),
    ),
    f"POST {_WEBHOOK}/rotate-secret": Route(
        "rotateWebhookSecret",
        "manage",
        "Create a new secret; the old one signs beside it for a while",
        ("manage", "support"),
        body="RotationInput",
        body_optional=True,
        answers=((201, "NewSecret"),),
        problems=("not-found", "idempotency-conflict"),
        headers=("Idempotency-Key",),
    ),
    f"POST {_WEBHOOK}/test": Route(
        "testWebhook",
        "manage",
        "Send a test event to this endpoint",
        ("manage", "support"),
        body="WebhookTestInput",
        body_optional=True,
        answers=((202, "TestSent"),),
        problems=("not-found", "idempotency-conflict"),
        headers=("Idempotency-Key",),
    ),
    f"GET {_WEBHOOK}/deliveries": Route(
        "listDeliveries",
        "manage",
        "List deliveries of the last 30 days, newest event first",
        ("manage", "support"),
        answers=((200, "DeliveryList"),),
        problems=("not-found",),
        query=(
            Parameter("status", ("pending", "succeeded", "failed"), "Only this status."),
            *_PAGING,
        ),
    ),
    f"GET {_WEBHOOK}/deliveries/{{deliveryId}}": Route(
        "getDelivery",
        "manage",
        "Read a delivery: the event that is sent, every attempt, the last answer",
        ("manage", "support"),
        answers=((200, "DeliveryDetails"),),
        problems=("not-found",),
    ),
    "GET /v1/deliveries/{deliveryId}": Route(
        "listDeliveriesOfEvent",
        "manage",
        "List the deliveries of one event: they have the same id at every endpoint",
        ("manage", "support"),
        answers=((200, "EventDeliveryList"),),
        problems=("not-found",),
        query=_PAGING,
    ),
    f"POST {_WEBHOOK}/deliveries/{{deliveryId}}/resend": Route(
        "resendDelivery",
        "manage",
        "Send one delivery again",
        ("manage", "support"),
        answers=((202, "ResendAccepted"),),
        problems=("not-found", "idempotency-conflict"),
        headers=("Idempotency-Key",),
    ),
    f"POST {_WEBHOOK}/resend": Route(
        "resendFailedDeliveries",
        "manage",
        "Send all failed deliveries of events since a time again",
        ("manage", "support"),
        body="ResendInput",
        answers=((202, "ResendAccepted"),),
        problems=("not-found", "idempotency-conflict"),
        headers=("Idempotency-Key",),
    ),
    "GET /v1/unsubscribe/{token}": Route(
        "showSubscription",
        "manage",
        "The page behind the link in an e-mail",
        answers=((200, ""),),
        problems=("not-found",),
    ),
    "POST /v1/unsubscribe/{token}": Route(
        "unsubscribe",
        "manage",
        "Unsubscribe from an entitlement's e-mail (one click, RFC 8058)",
        answers=((200, ""),),
        problems=("not-found",),
    ),
    "POST /v1/unsubscribe/{token}/undo": Route(
        "subscribeAgain",
        "manage",
        "Subscribe to an entitlement's e-mail again",
        answers=((200, ""),),
        problems=("not-found",),
    ),
    "POST /v1/api-keys": Route(
        "createApiKey",
        "manage",
        "Create an API key; only this answer has the key",
        ("admin",),
        body="ApiKeyInput",
        answers=((201, "NewApiKey"),),
        problems=("idempotency-conflict",),
        headers=("Idempotency-Key",),
    ),
    "GET /v1/api-keys": Route(
        "listApiKeys",
        "manage",
        "List API keys",
        ("admin",),
        answers=((200, "ApiKeyList"),),
        query=_PAGING,
    ),
    "DELETE /v1/api-keys/{keyId}": Route(
        "revokeApiKey",
        "manage",
        "Revoke an API key; it stops working within a minute",
        ("admin",),
        answers=((204, ""),),
        problems=("not-found",),
    ),
    "GET /v1/stack": Route(
        "getStack",
        "manage",
        "Read how this stack was deployed: its version, its parameters, its last change",
        ("admin",),
        answers=((200, "Stack"),),
        problems=("unavailable",),
    ),
    "GET /console": Route(
        "openConsole",
        "portal",
        "The vendor's console, a page",
        answers=((200, ""),),
        any_query=True,
    ),
    "POST /v1/console/sessions": Route(
        "createSession",
        "manage",
        "Sign in to the console; only this answer has the session's credential",
        body="SessionInput",
        answers=((201, "NewSession"),),
        problems=("unauthorized", "forbidden", "invalid-request", "unavailable"),
        max_body=SESSION_BODY_BYTES,
    ),
    "GET /v1/console/sessions": Route(
        "listSessions",
        "manage",
        "List sessions of the console, newest first",
        ("admin",),
        answers=((200, "SessionList"),),
        query=_PAGING,
    ),
    "DELETE /v1/console/sessions/{sessionId}": Route(
        "endSession",
        "manage",
        "End a session; it stops working within a minute",
        ("admin",),
        answers=((204, ""),),
        problems=("not-found",),
    ),
    "GET /v1/console/session": Route(
        "getSession",
        "manage",
        "Read who is signed in, with which scopes, until when",
        SCOPES,
        answers=((200, "Session"),),
        only="session",
    ),
    "POST /v1/console/session/activity": Route(
        "continueSession",
        "manage",
        "Say that somebody is at the page, so that the session does not end as idle",
        SCOPES,
        answers=((200, "Session"),),
        only="session",
    ),
    "DELETE /v1/console/session": Route(
        "endOwnSession",
        "manage",
        "Sign out",
        SCOPES,
        answers=((204, ""),),
        only="session",
    ),
    "POST /v1/console/sign-in-links": Route(
        "createSignInLink",
        "manage",
        "Create a link that signs in to the console once, with the scopes of the API key",
        SCOPES,
        body="SignInLinkInput",
        body_optional=True,
        answers=((201, "SignInLink"),),
        only="api",
    ),
    "GET /v1/license": Route(
        "getLicense",
        "manage",
        "Read the entitlement of the license key that asks",
        license=True,
        answers=((200, "Entitlement"),),
        problems=("not-found",),
    ),
    "GET /.well-known/jwks.json": Route(
        "leaseKeys",
        "manage",
        "Read the public keys of signed leases (RFC 7517)",
        answers=((200, "LeaseKeys"),),
    ),
    "GET /health": Route(
        "health",
        "manage",
        "Whether the API answers and reaches its table",
        answers=((200, "Health"),),
    ),
    "GET /openapi.json": Route("describe", "manage", "This description", answers=((200, ""),)),
    "GET /docs": Route("readDocs", "portal", "This description as a page", answers=((200, ""),)),
}


def routes_at(path: str) -> dict[str, Route]:
    """The routes that a path matches, by their methods."""
    found: dict[str, Route] = {}
    for key, route in ROUTES.items():
        method, _, pattern = key.partition(" ")
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            found[method] = route
    return found
