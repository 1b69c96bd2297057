"""From a body to a valid document, with errors that point at what is wrong."""

from collections.abc import Mapping
from typing import Any

from shared.api.routes import ROUTES
from shared.api.schemas.base import parse
from shared.api.schemas.entitlements import EntitlementInput
from shared.clock import to_rfc3339
from shared.entitlements.model import hard_cap, seat_terms, usage_terms
from shared.entitlements.views import EntitlementView
from shared.overdraft_clock import DEFAULT_RECOVERY
from shared.problems import InvalidRequest
from shared.sales import money
from shared.sales.overdraft_price import TO_END_OF_TERM
from shared.seats.terms import MOST_SEATS, SeatTerms, needs_pool
from shared.usage.counter import UsageTerms
from shared.usage.sharded import SHARD_FROM

NOTHING: Mapping[str, Any] = {}

# Their members make sense only together, so a patch replaces them as a whole.
WHOLE = ("overdraftSeatLimit", "unitPrice", "overdraftPrice")
# The vendor chooses the names of its members.
METADATA = "metadata"


def to_document(
    body: Mapping[str, Any], *, valid_from: int, before: Mapping[str, Any] = NOTHING
) -> dict[str, Any]:
    """A complete, valid document; `valid_from` (Unix seconds) is the default of that member.

    `before` is the document that it replaces. A customer's cap of that stays, also above a lower
    hard cap, which holds then; another cap above the hard cap is refused.

    Raises:
        InvalidRequest.
    """
    model = parse(EntitlementInput, body)
    document = model.model_dump(by_alias=True)
    document["overdraftSeatLimit"] = _overdraft(document["overdraftSeatLimit"])
    _drop_defaults(
        document,
        overdraftPrice=None,
        showCharges=False,
        externalId=None,
        metadata={},
        maxLeasePeriod=None,
        maxBorrowedSeats=0,
        offlinePeriod=None,
    )
    for each in document["usageLimits"]:
        each["overdraftLimit"] = _overdraft(each["overdraftLimit"])
        _drop_defaults(each, overdraftPrice=None)
    if model.seat_count is None and not model.usage_limits:
        raise InvalidRequest.at(
            "/seatCount", "is required, or a usage limit: how many seats were purchased"
        )
    _check_external_id(model.external_id)
    _check_customer_caps(document, before)
    document["validFrom"] = document["validFrom"] or to_rfc3339(valid_from * 1000)
    valid = seat_terms(document)
    if valid.valid_until is not None and valid.valid_until <= valid.valid_from:
        raise InvalidRequest.at("/validUntil", "must be after validFrom")
    _check_leases(valid)
    _check_periods(valid, usage_terms(document))
    _check_prices(document, before)
    limit = MOST_SEATS
    if max(valid.purchased, valid.hard_cap or 0) > limit:
        pointer = "/seatCount" if valid.purchased > limit else "/overdraftSeatLimit"
        raise InvalidRequest.at(
            pointer, f"purchased seats and overdraft together are at most {limit:,}"
        )
    return document


# Names after the id in paths of an entitlement: API Gateway could not tell them from an externalId.
_PARTS_OF_PATHS = frozenset(
    parts[4] for route in ROUTES if len(parts := route.split("/")) > 4 and parts[4][0] != "{"
)


def _check_external_id(external_id: str | None) -> None:
    """Refuse an `externalId` that does not work in a path.

    Raises:
        InvalidRequest.
    """
    if external_id in (".", "..") or external_id in _PARTS_OF_PATHS:
        raise InvalidRequest.at("/externalId", "cannot be used in a path: choose another")


def _check_customer_caps(document: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Refuse caps of the customer's own that are new, and above the hard cap.

    Raises:
        InvalidRequest.
    """
    known = {each["key"]: each for each in before.get("usageLimits", ())}
    seats = hard_cap(document["seatCount"] or 0, document["overdraftSeatLimit"])
    bounds = [("", document, before, seats)]
    for number, each in enumerate(document["usageLimits"]):
        highest = hard_cap(each["limit"], each["overdraftLimit"])
        bounds.append((f"/usageLimits/{number}", each, known.get(each["key"], {}), highest))
    for pointer, now, was, highest in bounds:
        cap = now["customerCap"]
        if cap is None or highest is None or cap <= highest or cap == was.get("customerCap"):
            continue
        bound = f"must be at most the hard cap, which is {highest}"
        if now is document and document["seatCount"] is None:
            bound = "is of seats, and the entitlement has none"
        raise InvalidRequest.at(f"{pointer}/customerCap", bound)


def _check_leases(valid: SeatTerms) -> None:
    """Refuse lease periods that do not go together.

    Raises:
        InvalidRequest.
    """
    lease, longest = valid.lease, valid.longest_lease
    if lease is not None and (valid.overdraft_lease or 0) > lease:
        raise InvalidRequest.at("/overdraftLeasePeriod", "must not be longer than leasePeriod")
    if longest is not None and lease is None:
        detail = "needs leasePeriod: without it, a seat is held until it is released"
        raise InvalidRequest.at("/maxLeasePeriod", detail)
    if longest is not None and longest <= (lease or 0):
        raise InvalidRequest.at("/maxLeasePeriod", "must be longer than leasePeriod")
    if longest is None and valid.most_borrowed:
        raise InvalidRequest.at("/maxBorrowedSeats", "needs maxLeasePeriod: for how long")
    if longest is not None and not valid.most_borrowed:
        raise InvalidRequest.at("/maxLeasePeriod", "needs maxBorrowedSeats: how many at a time")
    if valid.offline is not None and lease is None:
        detail = "needs leasePeriod: without it, a seat may be used offline until it is released"
        raise InvalidRequest.at("/offlinePeriod", detail)


# Where totals follow a moment later, a period is long compared with that.
SHORTEST_OF_TOTALS = 3_600


def _check_periods(seats: SeatTerms, limits: Mapping[str, UsageTerms]) -> None:
    """Refuse short overdraft periods of pools, and of usage limits that may become sharded.

    Raises:
        InvalidRequest.
    """
    large = [("/overdraftSeatLimit", seats.overdraft_period)] if needs_pool(seats) else []
    large += [
        (f"/usageLimits/{number}/overdraftLimit", terms.overdraft_period)
        for number, terms in enumerate(limits.values())
        if terms.hard_cap is None or terms.hard_cap >= SHARD_FROM
    ]
    for pointer, period in large:
        if period and period.length < SHORTEST_OF_TOTALS:
            raise InvalidRequest.at(
                f"{pointer}/period",
                "must be at least PT1H for a hard cap above 128 seats, or of 100,000 and more of a"
                " usage limit: what is used in all is known a moment later",
            )


def _check_prices(document: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Refuse prices that cannot be charged.

    Raises:
        InvalidRequest: an unknown currency, an amount finer than its minor unit, or a charge to the
            end of a term that has none.
    """
    unit_price = document["unitPrice"]
    # A list price of an earlier release was not checked: it stays until it is changed.
    if unit_price and unit_price != before.get("unitPrice"):
        _check_amounts("/unitPrice", unit_price, ("amount",))
    prices = [("/overdraftPrice", document.get("overdraftPrice"))]
    prices += [
        (f"/usageLimits/{number}/overdraftPrice", each.get("overdraftPrice"))
        for number, each in enumerate(document["usageLimits"])
    ]
    if prices[0][1] and document["seatCount"] is None:
        raise InvalidRequest.at("/overdraftPrice", "is of seats, and the entitlement has none")
    for pointer, price in prices:
        if price is None:
            continue
        _check_amounts(pointer, price, ("amount", "minimum"))
        if price["charge"] == TO_END_OF_TERM and document["validUntil"] is None:
            detail = "to_end_of_term needs validUntil: without it, the term has no end"
            raise InvalidRequest.at(f"{pointer}/charge", detail)


def _check_amounts(pointer: str, price: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Refuse amounts that are finer than the minor unit of their currency.

    Raises:
        InvalidRequest.
    """
    currency = price["currency"]
    for name in names:
        try:
            if price[name] is not None and money.has_too_many_decimals(price[name], currency):
                digits = money.minor_digits(currency)
                many = "no decimals" if digits == 0 else f"at most {digits} decimals"
                raise InvalidRequest.at(f"{pointer}/{name}", f"{currency} has {many}")
        except money.UnknownCurrency:
            detail = "must be a currency of ISO 4217 that has a minor unit, such as EUR"
            raise InvalidRequest.at(f"{pointer}/currency", detail) from None


def _drop_defaults(members: dict[str, Any], **defaults: Any) -> None:
    """Remove members that have their default: documents of earlier releases lack them."""
    for name, default in defaults.items():
        if members[name] == default:
            del members[name]


def _overdraft(limit: Mapping[str, Any]) -> dict[str, Any]:
    """An overdraft limit without the members of a period, if it has none."""
    kept = {name: value for name, value in limit.items() if name not in ("period", "recovery")}
    if limit.get("period") is None:
        return kept
    recovery = limit["recovery"] or DEFAULT_RECOVERY
    return {**kept, "period": limit["period"], "recovery": recovery}


# Computed members that change all the time, and others.
CHANGING = ("seats", "overdraft", "updatedAt")
COMPUTED = ("entitlementId", "hardCap", "createdAt", "status")


def without_computed(patch: Mapping[str, Any], shown: EntitlementView) -> dict[str, Any]:
    """A patch without computed members that are sent back as they are `shown`.

    So a client may read an entitlement, change one member, and send all of it back. A computed
    member with another value stays, and is refused by name. What changes all the time is not
    compared.
    """
    hard_caps = {each["key"]: each["hardCap"] for each in shown["usageLimits"]}
    known: Mapping[str, object] = {**shown}
    kept = {
        name: value
        for name, value in patch.items()
        if name not in CHANGING and not (name in COMPUTED and value == known[name])
    }
    if isinstance(limits := kept.get("usageLimits"), list):
        kept["usageLimits"] = [_without_hard_cap(each, hard_caps) for each in limits]
    return kept


def _is_silent(limit: Any, caps: Mapping[str, int | None]) -> bool:
    """Whether a usage limit of a patch says nothing of the cap that it has."""
    if not isinstance(limit, dict) or "customerCap" in limit:
        return False
    key = limit.get("key")
    return isinstance(key, str) and key in caps


def with_customer_caps(patch: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """A patch whose new usage limits keep the customers' caps that it does not name."""
    limits = patch.get("usageLimits")
    if not isinstance(limits, list):
        return dict(patch)
    caps = {each["key"]: each.get("customerCap") for each in before["usageLimits"]}
    kept = [
        {**each, "customerCap": caps[each["key"]]} if _is_silent(each, caps) else each
        for each in limits
    ]
    return {**patch, "usageLimits": kept}


def _without_hard_cap(limit: Any, hard_caps: Mapping[object, object]) -> Any:
    if not isinstance(limit, dict) or "hardCap" not in limit:
        return limit
    key = limit.get("key")
    if not isinstance(key, str) or key not in hard_caps or hard_caps[key] != limit["hardCap"]:
        return limit
    return {name: value for name, value in limit.items() if name != "hardCap"}


_MEMBERS = frozenset(str(field.alias) for field in EntitlementInput.model_fields.values())


def patch_of_nothing(patch: Mapping[str, Any]) -> dict[str, Any]:
    """The document that a merge patch makes where there is none yet: a null is the default.

    A null under an unknown name stays, so that it is refused by name.
    """
    said = {name: v for name, v in patch.items() if v is not None or name not in _MEMBERS}
    return merge_patch({}, said)


def merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a JSON merge patch (RFC 7396) to a document.

    A null for a member that does not exist stays in the result, so that validation can refuse an
    unknown name in a patch as well.
    """
    merged = dict(target)
    for name, value in patch.items():
        if value is None and name in merged:
            del merged[name]
        elif name == METADATA and isinstance(value, dict):
            members = {**merged.get(name, {}), **value}
            merged[name] = {key: text for key, text in members.items() if text is not None}
        elif isinstance(value, dict) and isinstance(merged.get(name), dict) and name not in WHOLE:
            merged[name] = merge_patch(merged[name], value)
        else:
            merged[name] = value
    return merged
