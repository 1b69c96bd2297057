"""The types of events."""

SOURCE = "overdraft"
SEAT_ACTIVATED = "entitlement.seat.activated"
SEAT_DEACTIVATED = "entitlement.seat.deactivated"
SEAT_DENIED = "entitlement.seat.denied"
OVERDRAFT_ENTERED = "entitlement.overdraft.entered"
OVERDRAFT_EXITED = "entitlement.overdraft.exited"
OVERDRAFT_EXHAUSTED = "entitlement.overdraft.exhausted"
THRESHOLD_REACHED = "entitlement.threshold.reached"
USAGE_DENIED = "entitlement.usage.denied"
USAGE_OVERDRAFT_ENTERED = "entitlement.usage.overdraft.entered"
USAGE_OVERDRAFT_EXHAUSTED = "entitlement.usage.overdraft.exhausted"
USAGE_THRESHOLD_REACHED = "entitlement.usage.threshold.reached"
UPDATED = "entitlement.updated"
CHANGE_FAILED = "entitlement.change.failed"
EXPIRING = "entitlement.expiring"
EXPIRED = "entitlement.expired"
DELETED = "entitlement.deleted"
FOLLOW_UP_UPDATED = "entitlement.followup.updated"
FOLLOW_UP_DUE = "entitlement.followup.due"
SEATS_REQUESTED = "entitlement.seats.requested"
REPORT_PUBLISHED = "report.published"
ENDPOINT_DISABLED = "webhook.endpoint.disabled"
TYPES = (
    SEAT_ACTIVATED,
    SEAT_DEACTIVATED,
    SEAT_DENIED,
    OVERDRAFT_ENTERED,
    OVERDRAFT_EXITED,
    OVERDRAFT_EXHAUSTED,
    THRESHOLD_REACHED,
    USAGE_DENIED,
    USAGE_OVERDRAFT_ENTERED,
    USAGE_OVERDRAFT_EXHAUSTED,
    USAGE_THRESHOLD_REACHED,
    UPDATED,
    CHANGE_FAILED,
    EXPIRING,
    EXPIRED,
    DELETED,
    FOLLOW_UP_UPDATED,
    FOLLOW_UP_DUE,
    SEATS_REQUESTED,
    REPORT_PUBLISHED,
    ENDPOINT_DISABLED,
)
