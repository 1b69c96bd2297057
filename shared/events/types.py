"""The types of events."""

SOURCE = "overdraft"
SEAT_ACTIVATED = "entitlement.seat.activated"
SEAT_BORROWED = "entitlement.seat.borrowed"
SEAT_DEACTIVATED = "entitlement.seat.deactivated"
SEAT_DENIED = "entitlement.seat.denied"
OVERDRAFT_ENTERED = "entitlement.overdraft.entered"
OVERDRAFT_EXITED = "entitlement.overdraft.exited"
OVERDRAFT_EXHAUSTED = "entitlement.overdraft.exhausted"
OVERDRAFT_ENDING = "entitlement.overdraft.ending"
OVERDRAFT_ENDED = "entitlement.overdraft.ended"
OVERDRAFT_RECOVERED = "entitlement.overdraft.recovered"
THRESHOLD_REACHED = "entitlement.threshold.reached"
USAGE_DENIED = "entitlement.usage.denied"
USAGE_OVERDRAFT_ENTERED = "entitlement.usage.overdraft.entered"
USAGE_OVERDRAFT_EXHAUSTED = "entitlement.usage.overdraft.exhausted"
USAGE_OVERDRAFT_ENDING = "entitlement.usage.overdraft.ending"
USAGE_OVERDRAFT_ENDED = "entitlement.usage.overdraft.ended"
USAGE_OVERDRAFT_RECOVERED = "entitlement.usage.overdraft.recovered"
USAGE_THRESHOLD_REACHED = "entitlement.usage.threshold.reached"
UPDATED = "entitlement.updated"
CHANGE_FAILED = "entitlement.change.failed"
EXPIRING = "entitlement.expiring"
EXPIRED = "entitlement.expired"
DELETED = "entitlement.deleted"
FOLLOW_UP_UPDATED = "entitlement.followup.updated"
FOLLOW_UP_DUE = "entitlement.followup.due"
TRUE_UP_DECIDED = "entitlement.trueup.decided"
SEATS_REQUESTED = "entitlement.seats.requested"
REPORT_PUBLISHED = "report.published"
TRUE_UP_PUBLISHED = "trueup.published"
ENDPOINT_DISABLED = "webhook.endpoint.disabled"
# A message for a chat channel: the sum of what happened to an entitlement. It is no event.
CHANNEL_SUMMARY = "entitlement.summary"
# Notices of the clocks of overdrafts.
NOTICE_TYPES = (
    OVERDRAFT_ENDING,
    OVERDRAFT_ENDED,
    OVERDRAFT_RECOVERED,
    USAGE_OVERDRAFT_ENDING,
    USAGE_OVERDRAFT_ENDED,
    USAGE_OVERDRAFT_RECOVERED,
)
TYPES = (
    SEAT_ACTIVATED,
    SEAT_BORROWED,
    SEAT_DEACTIVATED,
    SEAT_DENIED,
    OVERDRAFT_ENTERED,
    OVERDRAFT_EXITED,
    OVERDRAFT_EXHAUSTED,
    OVERDRAFT_ENDING,
    OVERDRAFT_ENDED,
    OVERDRAFT_RECOVERED,
    THRESHOLD_REACHED,
    USAGE_DENIED,
    USAGE_OVERDRAFT_ENTERED,
    USAGE_OVERDRAFT_EXHAUSTED,
    USAGE_OVERDRAFT_ENDING,
    USAGE_OVERDRAFT_ENDED,
    USAGE_OVERDRAFT_RECOVERED,
    USAGE_THRESHOLD_REACHED,
    UPDATED,
    CHANGE_FAILED,
    EXPIRING,
    EXPIRED,
    DELETED,
    FOLLOW_UP_UPDATED,
    FOLLOW_UP_DUE,
    TRUE_UP_DECIDED,
    SEATS_REQUESTED,
    REPORT_PUBLISHED,
    TRUE_UP_PUBLISHED,
    ENDPOINT_DISABLED,
)
