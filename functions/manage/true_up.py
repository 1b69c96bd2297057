"""What an entitlement's overdraft costs, and the vendor's decisions about it."""

from functions.manage import entitlements
from shared.api import pagination
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.true_up import DecisionInput
from shared.audit import EVIDENCE_SECONDS, Subject, differences, entry_put
from shared.dynamodb.keys import true_up_line_key
from shared.dynamodb.paging import ResultPage
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    Accepted,
    Get,
    Item,
    Operation,
    Pause,
    Put,
    Transact,
    send,
)
from shared.problems import Contention, InvalidRequest, NotFound, TrueUpNotFinal
from shared.sales import charges, true_up, true_up_views
from shared.sales.charges import TrueUpView
from shared.sales.true_up_views import LineView

# The most earlier decisions that are stored with a line; the audit trail has all for 13 months.
EARLIER_KEPT = 20
_CENTURY = "20"  # the ids of lines begin with their months
# What a decision is made of.
_MEMBERS = ("decision", "reason", "reference")
_STORED = (*_MEMBERS, "amount", "decidedAt", "decidedBy", "decidedByName")


def read(request: Request) -> Response:
    """Read what a month or a quarter costs, so far or in the end."""
    return Response(200, request.dynamodb.run(_read(request)))


def _read(request: Request) -> Operation[TrueUpView]:
    item = yield from entitlements.require(request.path["entitlementId"], is_deleted_ok=True)
    document = item["document"]
    is_customer = request.caller.kind == "portal"
    if is_customer and not document.get("showCharges", False):
        raise NotFound("The vendor does not show what overdraft costs here.")
    name, months = charges.months_of(
        request.query.get("period"), document["timeZone"], request.now_ms
    )
    view = yield from charges.view(item, name, months, request.now_ms)
    if is_customer:
        view["lines"] = [true_up_views.without_reason(line) for line in view["lines"]]
    return view


# --- Decisions ------------------------------------------------------------------------------------


def decide(request: Request) -> Response:
    """Decide about a line: billed, waived or disputed. It becomes an event."""
    wanted = parse(DecisionInput, request.body)
    item = request.dynamodb.run(_decide(request, wanted))
    return Response(200, true_up_views.decided_view(item), {"etag": f'"{item["version"]}"'})


def _decide(request: Request, wanted: DecisionInput) -> Operation[Item]:
    entitlement_id, line_id = request.path["entitlementId"], request.path["lineId"]
    item = yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    key = true_up_line_key(entitlement_id, line_id)
    given = wanted.model_dump(include={*_MEMBERS})
    for attempt in range(1, ROUNDS + 1):
        seen = yield from send(Get(key))
        entitlements.check_version(request, seen or {"version": 0})
        if seen and all(seen.get(name) == given[name] for name in _MEMBERS):
            return seen
        if seen is None and wanted.decision is None:
            detail = "null takes an earlier decision back, and there is none"
            raise InvalidRequest.at("/decision", detail)
        line = yield from _final_line(item, line_id, seen, request.now_ms)
        made = _decided(request, line, seen, given)
        condition, values = "attribute_not_exists(pk)", {}
        if seen:
            condition, values = "version = :seen", {":seen": seen["version"]}
        on_record = entry_put(
            request.change,
            "true_up.decided",
            entitlement_id,
            Subject(line_id),
            differences({name: (seen or {}).get(name) for name in _MEMBERS}, given),
        )
        reply = yield from send(Transact((Put(key, made, condition, values=values), on_record)))
        if isinstance(reply, Accepted):
            return made
        yield from send(Pause(attempt))
    raise Contention


def _decided(
    request: Request, line: LineView, seen: Item | None, given: dict[str, str | None]
) -> Item:
    """The item of a decision: it is stored for good, with the evidence behind its amount."""
    earlier = list(seen["earlier"]) if seen else []
    if seen:
        earlier.insert(0, {name: seen[name] for name in _STORED if name in seen})
    made: Item = {
        "entitlementId": request.path["entitlementId"],
        "lineId": line["lineId"],
        "version": (seen["version"] if seen else 0) + 1,
        **given,
        "amount": line["amount"],
        "currency": line["currency"],
        "line": {**line, "decision": None},
        "decidedAt": request.now_ms,
        "decidedBy": request.caller.actor,
        "decidedByName": request.change.actor_name,
        "earlier": earlier[:EARLIER_KEPT],
    }
    return {name: value for name, value in made.items() if value is not None}


def _final_line(item: Item, line_id: str, seen: Item | None, now_ms: int) -> Operation[LineView]:
    """The line as it is now, or as it was decided about once its evidence has expired.

    Raises:
        NotFound: there is no such line.
        TrueUpNotFinal.
    """
    zone = item["document"]["timeZone"]
    month, _, _ = true_up_views.parse_line_id(line_id)
    months = true_up.months_named(month, zone)
    if months[0].start < now_ms - EVIDENCE_SECONDS * 1000:
        if seen is None:
            raise NotFound("The evidence of this month has expired: it is stored for 400 days.")
        line: LineView = seen["line"]
        return line
    if months[-1].end > now_ms:
        raise TrueUpNotFinal("The month is not over.")
    found = yield from charges.view(item, month, months, now_ms)
    known = {each["lineId"]: each for each in found["lines"]}
    if line_id not in known:
        there = f": there are {', '.join(known)}" if known else ""
        raise NotFound(f"The true-up of this month has no such line{there}.")
    if not found["isFinal"]:
        raise TrueUpNotFinal("History does not have every change yet. Try again in a minute.")
    return known[line_id]


def list_decisions(request: Request) -> Response:
    """List the lines about which was decided, the latest month first."""
    return pagination.respond(request, _decisions(request))


def _decisions(request: Request) -> Operation[ResultPage]:
    entitlement_id = request.path["entitlementId"]
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    pk = true_up_line_key(entitlement_id, "").pk
    return (yield from pagination.newest_of(request, pk, _CENTURY, true_up_views.decided_view))
