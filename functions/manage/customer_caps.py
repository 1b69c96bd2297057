"""The cap that a customer sets for itself, below the hard cap: by its admin, or by the vendor."""

from functools import partial
from typing import Any, TypedDict

from functions.manage.entitlements import Patch, apply_patch, check_version
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.entitlements import CustomerCapInput
from shared.dynamodb.keys import audit_key
from shared.dynamodb.paging import read_filtered
from shared.dynamodb.requests import Item, Operation, Query
from shared.entitlements.model import hard_cap, has_seats
from shared.entitlements.queries import fetch_entitlement
from shared.history.buckets import HOUR_MS
from shared.problems import Contention, InvalidRequest, NotFound, Throttled
from shared.seats.terms import MOST_SEATS

# A portal link is passed around: this is the limit for all its holders together.
MOST_AN_HOUR = 10


class CustomerCapView(TypedDict):
    """The cap of the customer's own, as it is now."""

    usageKey: str | None
    cap: int | None
    hardCap: int | None


def update(request: Request) -> Response:
    """Set, change or remove the customer's own cap of the seats, or of a usage limit."""
    wanted = parse(CustomerCapInput, request.body)
    return Response(200, request.dynamodb.run(_update(request, wanted)))


def _update(request: Request, wanted: CustomerCapInput) -> Operation[CustomerCapView]:
    entitlement_id = request.path["entitlementId"]
    item, _ = yield from fetch_entitlement(entitlement_id)
    if item["status"] == "deleted":
        raise NotFound("The entitlement has been deleted.")
    body, highest = _patch(item, wanted)
    most = MOST_SEATS if highest is None and wanted.usage_key is None else highest
    if wanted.cap is not None and most is not None and wanted.cap > most:
        what = "the hard cap, which is " if highest is not None else ""
        raise InvalidRequest.at("/cap", f"must be at most {what}{most}")
    if request.caller.entitlement_id:
        yield from _check_rate(entitlement_id, request.now_ms)
    check = partial(_check, request, item["document"]["usageLimits"])
    yield from apply_patch(Patch(entitlement_id, body, request.change, check))
    return {"usageKey": wanted.usage_key, "cap": wanted.cap, "hardCap": highest}


def _patch(item: Item, wanted: CustomerCapInput) -> tuple[dict[str, Any], int | None]:
    """The merge patch of the entitlement, and the hard cap.

    Raises:
        InvalidRequest: the entitlement has no such limit.
    """
    document = item["document"]
    if wanted.usage_key is None:
        if not has_seats(item):
            raise InvalidRequest.at("/usageKey", "is required: the entitlement has no seats")
        highest = hard_cap(document["seatCount"], document["overdraftSeatLimit"])
        return {"customerCap": wanted.cap}, highest
    limits = {each["key"]: each for each in document["usageLimits"]}
    if wanted.usage_key not in limits:
        known = f": there are {', '.join(limits)}" if limits else ""
        raise InvalidRequest.at("/usageKey", f"no usage limit has this key{known}")
    limit = limits[wanted.usage_key]
    limits[wanted.usage_key] = {**limit, "customerCap": wanted.cap}
    return {"usageLimits": [*limits.values()]}, hard_cap(limit["limit"], limit["overdraftLimit"])


def _check(request: Request, seen: list[Item], item: Item) -> None:
    """Raise a problem unless the entitlement is as the caller, and we, have read it."""
    check_version(request, item)
    if item["document"]["usageLimits"] != seen:
        raise Contention


def _check_rate(entitlement_id: str, now_ms: int) -> Operation[None]:
    """Refuse the customer's eleventh change within an hour."""
    query = Query(
        "pk = :pk AND sk > :since",
        {
            ":pk": audit_key(entitlement_id, 0, "").pk,
            ":since": f"{now_ms - HOUR_MS:013d}",
            ":kind": "entitlement.updated",
            ":link": "plk_",
        },
        {"#type": "type", "#actor": "actor"},
        filter="#type = :kind AND begins_with(#actor, :link)",
    )
    found, _ = yield from read_filtered(query, MOST_AN_HOUR)
    if len(found) >= MOST_AN_HOUR:
        wait = (found[0]["at"] + HOUR_MS - now_ms) // 1000 + 1
        raise Throttled(
            f"The cap was changed {MOST_AN_HOUR} times within an hour.",
            headers={"retry-after": str(max(1, wait))},
        )
