"""Statements of what overdraft costs in the API: request one, read its progress, get its files."""

from collections.abc import Mapping
from typing import Any

from functions.report import api, periods
from functions.report.api import ProgressView
from functions.report.metrics import Period
from functions.report.statement import Statement
from shared.api import pagination
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.reports import REPORT_FORMATS, TrueUpStatementInput
from shared.audit import EVIDENCE_SECONDS
from shared.clock import to_rfc3339, zone_of
from shared.dynamodb.keys import report_key
from shared.dynamodb.requests import Item, Put
from shared.ids import new_id
from shared.problems import InvalidRequest

# Where a day begins first, and where it ends last.
_FIRST, _LAST = "Etc/GMT-14", "Etc/GMT+12"
SCHEDULES = ("none", "monthly", "quarterly")


class TrueUpStatementView(ProgressView):
    """A statement and its progress."""

    trueUpId: str
    previousTrueUpId: str | None


def period_of(name: str, now_ms: int) -> Period:
    """From the first moment at which a month or a quarter begins anywhere to the last one."""
    first, last = periods.of_name(name, _FIRST, now_ms), periods.of_name(name, _LAST, now_ms)
    return Period(first.start, last.end, min(last.end, now_ms), first.previous)


def _item(true_up_id: str, name: str, now_ms: int, **more: Any) -> Item:
    period = period_of(name, now_ms)
    item = api.item_of(
        true_up_id, period, name, api.ZONE, now_ms=now_ms, kind=Statement.name, **more
    )
    # Days are those of each entitlement's own time zone: the stack's is only how it is shown.
    local = periods.of_name(name, api.ZONE, now_ms)
    shown = {"from": to_rfc3339(local.start), "to": to_rfc3339(local.end)}
    return {**item, "periodName": name, "period": {**item["period"], **shown}}


def scheduled(scheduled_time: str | None, schedule: str, public_url: str, now_ms: int) -> list[Put]:
    """The write that requests the statement of what is over; once, however often it is made.

    `schedule`: `monthly`, `quarterly` (after the last month of a quarter), or `none`.
    """
    at = api.time_of(scheduled_time, now_ms)
    month = periods.month_of(at, zone_of(api.ZONE), -1)
    name = {"monthly": month, "quarterly": periods.quarter_of(month)}.get(schedule)
    if name is None:
        return []
    true_up_id = new_id("tru", f"scheduled {name}")
    item = _item(
        true_up_id,
        name,
        now_ms,
        filters={},
        formats=[*REPORT_FORMATS],
        sends_email=True,
        actor="schedule",
        public_url=public_url,
        for_owners=api.FOR_OWNERS,
    )
    return [Put(report_key(true_up_id), item, "attribute_not_exists(pk)")]


def create(request: Request) -> Response:
    """Request a statement; it is made a moment later."""
    model = parse(TrueUpStatementInput, request.body)
    api.check_mail(model)
    name = model.period or periods.month_of(request.now_ms, zone_of(api.ZONE), -1)
    period = period_of(name, request.now_ms)
    if period.start >= request.now_ms:
        raise InvalidRequest.at("/period", "is in the future")
    if period.start < request.now_ms - EVIDENCE_SECONDS * 1000:
        raise InvalidRequest.at("/period", "is too far back: evidence is stored for 400 days")
    true_up_id = new_id("tru")
    item = _item(
        true_up_id,
        name,
        request.now_ms,
        filters=api.filters_of(model),
        formats=model.formats,
        sends_email=model.send_email,
        email_to=model.email_to,
        actor=request.caller.actor,
        public_url=request.public_url,
    )
    return api.store(request, item, _view(item, {}), "/v1/true-ups")


def read(request: Request) -> Response:
    """Read a statement; once it is published, with links to its files."""
    item, made = request.dynamodb.run(api.fetch(request, request.path["trueUpId"], Statement.name))
    return Response(200, _view(item, made))


def list_all(request: Request) -> Response:
    """List statements, newest first."""
    return pagination.respond(
        request, pagination.newest_first(request, api.LISTS[Statement.name], _without_files)
    )


def _without_files(item: Item) -> TrueUpStatementView:
    return _view(item, {})


def _view(item: Item, made: Mapping[str, Mapping[str, object]]) -> TrueUpStatementView:
    return {
        "trueUpId": item["reportId"],
        "previousTrueUpId": item.get("previousReportId"),
        **api.progress(item, made),
    }
