"""Usage limits: what is used, earlier periods, corrections."""

from functions.manage import entitlements
from shared.api import pagination
from shared.api.idempotency import Claim, replayed
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.usage import CorrectionInput
from shared.clock import to_rfc3339
from shared.dynamodb.keys import change_key, correction_key, period_key, usage_meter
from shared.dynamodb.paging import ResultPage, read_filtered, read_page
from shared.dynamodb.requests import Item, Operation, Query, Refused
from shared.entitlements.model import usage_terms
from shared.entitlements.queries import fetch_entitlement
from shared.history.changes import ChangeRecord
from shared.ids import new_id
from shared.limits import UsedView
from shared.problems import NotFound
from shared.usage import sharded
from shared.usage.counter import NO_LIMIT, Counter
from shared.usage.encoding import request_key
from shared.usage.periods import Period
from shared.usage.views import (
    CurrentUsageView,
    PeriodView,
    consumed_view,
    current_view,
    period_view,
    usage_view,
)


class UsagePeriodView(PeriodView):
    """One period of a usage limit."""

    isCurrent: bool
    usage: UsedView


class DatedConsumptionView(PeriodView):
    """One consumption with a time of its own."""

    key: str
    quantity: int
    occurredAt: str
    consumedAt: str
    actor: str
    usage: UsedView


class CorrectionView(PeriodView):
    """One correction of a usage limit."""

    key: str
    quantity: int
    reason: str
    correctedAt: str
    actor: str
    usage: UsedView


def read(request: Request) -> Response:
    """Read every usage limit in its current period."""
    return Response(200, {"items": request.dynamodb.run(_usage(request)), "nextPageToken": None})


def _usage(request: Request) -> Operation[list[CurrentUsageView]]:
    entitlement_id = request.path["entitlementId"]
    item, _ = yield from fetch_entitlement(entitlement_id)
    keys = list(usage_terms(item["document"]))
    found = yield from entitlements.counters(entitlement_id, keys)
    return [current_view(key, found[key], request.now) for key in keys if key in found]


def periods(request: Request) -> Response:
    """List the periods of a usage limit, newest first, with the current one."""
    return pagination.respond(request, _periods(request))


def _periods(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    entitlement_id, key = request.path["entitlementId"], request.path["key"]
    counter = yield from _counter(entitlement_id, key)
    current = counter.as_of(request.now)
    shown: list[tuple[int, UsagePeriodView]] = []
    # The counter begins a new period when something is consumed; until then it has the old one.
    for each in [current, counter] if current is not counter else [counter]:
        is_listed = each is current or each.used > 0
        if is_listed and (start is None or each.period_number < int(start[0])):
            used = usage_view(each.used, each.purchased, each.hard_cap)
            view = _period_view(each.period, used, is_current=each is current)
            shown.append((each.period_number, view))
    before = min(counter.period_number, int(start[0]) if start else counter.period_number)
    query = Query(
        "pk = :pk AND sk < :before",
        {":pk": period_key(entitlement_id, key, 0).pk, ":before": f"{before:06d}"},
        descending=True,
    )
    found, has_more = yield from read_page(query, limit)
    for item in found:
        period = Period(item["periodStart"], item["periodEnd"])
        used = usage_view(item["used"], item["purchased"], item.get("hardCap"))
        shown.append((item["number"], _period_view(period, used, is_current=False)))
    has_more = has_more or len(shown) > limit
    shown = shown[:limit]
    return ResultPage([view for _, view in shown], [str(shown[-1][0])] if has_more else None)


def _period_view(period: Period, used: UsedView, *, is_current: bool) -> UsagePeriodView:
    return {**period_view(period), "isCurrent": is_current, "usage": used}


def _counter(entitlement_id: str, key: str) -> Operation[Counter]:
    """The counter of a limit that the entitlement has, or had.

    Raises:
        NotFound.
    """
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    found = yield from entitlements.counters(entitlement_id, [key])
    if key not in found:
        raise NotFound(NO_LIMIT)
    return found[key]


def dated_consumptions(request: Request) -> Response:
    """List what was consumed with an `occurredAt`, newest first."""
    return pagination.respond(request, _dated_consumptions(request))


def _dated_consumptions(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    entitlement_id, key = request.path["entitlementId"], request.path["key"]
    yield from _counter(entitlement_id, key)
    query = Query(
        "pk = :pk AND sk < :high",
        {
            ":pk": change_key(entitlement_id, 0, 0, meter=usage_meter(key)).pk,
            ":high": start[0] if start else "~",
        },
        filter="attribute_exists(occurredAt)",
        descending=True,
    )
    shown, more = yield from read_filtered(query, limit)
    return ResultPage([_dated_view(key, item) for item in shown], [more] if more else None)


def _dated_view(key: str, item: Item) -> DatedConsumptionView:
    change = ChangeRecord.of(item)
    period = Period(*change.period) if change.period else Period(0, None)
    return {
        "key": key,
        "quantity": change.quantity,
        "occurredAt": to_rfc3339(change.occurred or 0),
        "consumedAt": to_rfc3339(change.at),
        "actor": change.actor,
        "usage": usage_view(*change.level),
        **period_view(period),
    }


def correct(request: Request) -> Response:
    """Correct the usage of the current period; once, if it has an `Idempotency-Key`."""
    correction = parse(CorrectionInput, request.body)
    claim = Claim.of(request)
    if claim:
        # Guards against another body under the same header. The counter itself makes sure that the
        # usage is corrected once.
        reply = request.dynamodb.execute(claim.reserve())
        if isinstance(reply, Refused):
            claim.read(reply.item)
    nonce = request.caller.derive(claim.key.pk) if claim else new_id("correction")
    key = request.path["key"]
    outcome = request.dynamodb.run(
        sharded.correct(
            request.path["entitlementId"],
            key,
            request_key("correction", nonce),
            correction.quantity,
            correction.reason,
            request.change,
        )
    )
    consumed, counter = outcome.consumed, outcome.counter
    clock = counter.as_of(request.now).clock_at(request.now) if counter else None
    view = {
        "key": key,
        "quantity": correction.quantity,
        "reason": correction.reason,
        "correctedAt": to_rfc3339(consumed.at_ms),
        "actor": request.caller.actor,
        "usage": consumed_view(consumed, clock),
        **period_view(consumed.period),
    }
    response = Response(201, view)
    return replayed(response) if outcome.is_replay else response


def corrections(request: Request) -> Response:
    """List the corrections of a usage limit, newest first."""
    return pagination.respond(request, _corrections(request))


def _corrections(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    entitlement_id, key = request.path["entitlementId"], request.path["key"]
    yield from _counter(entitlement_id, key)
    query = Query(
        "pk = :pk AND sk < :high",
        {":pk": correction_key(entitlement_id, key, 0, 0).pk, ":high": start[0] if start else "~"},
        descending=True,
    )
    shown, has_more = yield from read_page(query, limit)
    more = [shown[-1]["sk"]] if has_more else None
    return ResultPage([_correction_view(key, item) for item in shown], more)


def _correction_view(key: str, item: Item) -> CorrectionView:
    period = Period(item["periodStart"], item.get("periodEnd"))
    return {
        "key": key,
        "quantity": item["quantity"],
        "reason": item["reason"],
        "correctedAt": to_rfc3339(item["at"]),
        "actor": item["actor"],
        "usage": usage_view(item["used"], item["purchased"], item.get("hardCap")),
        **period_view(period),
    }
