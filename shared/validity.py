"""Whether an entitlement is in force: its stored status, and what the time has made of it."""

from shared import problems


def status_at(status: str, valid_from: int, valid_until: int | None, now: int) -> str:
    """The status as the API shows it: the stored one, or what the time has made of it."""
    if status != "active":
        return status
    if now < valid_from:
        return "not_yet_valid"
    if valid_until is not None and now >= valid_until:
        return "expired"
    return "active"


def check_in_force(status: str) -> None:
    """Raise the problem for which nothing is granted at this status (see `status_at`)."""
    if status == "deleted":
        raise problems.NotFound("No entitlement has this id.")
    if status == "suspended":
        raise problems.EntitlementSuspended
    if status == "not_yet_valid":
        raise problems.EntitlementNotYetValid
    if status == "expired":
        raise problems.EntitlementExpired


# Needs the name `#status` and the values `:active` and `:now`.
IN_FORCE = (
    "#status = :active AND validFrom <= :now"
    " AND (attribute_not_exists(validUntil) OR validUntil > :now)"
)
