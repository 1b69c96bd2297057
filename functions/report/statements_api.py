"""Statements of what overdraft costs in the API: request one, read its progress, get its files."""

from collections.abc import Mapping
from typing import Any, TypedDict

from functions.report import api, periods
from functions.report.metrics import Period
from functions.report.statement import Statement
from shared.api import idempotency, pagination
from shared.api.idempotency import replayed
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


class TrueUpStatementView(TypedDict):
    """A statement and its progress."""

    trueUpId: str
    status: str
    period: Mapping[str, object]
    isComplete: bool
    filters: Mapping[str, object]
    formats: list[str]
    sendEmail: bool
    emailTo: str
    emailedTo: list[str]
    emailReturnedFrom: list[str]
    version: int | None
    previousTrueUpId: str | None
    changeCount: int | None
    summary: Mapping[str, object] | None
    failure: str | None
    failedAttempts: int
    requestedBy: str
    createdAt: str
    publishedAt: str | None
    files: list[Mapping[str, object]]


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
    filters = {k: v for k, v in model.filters.model_dump(by_alias=True).items() if v is not None}
    item = _item(
        true_up_id,
        name,
        request.now_ms,
        filters=filters,
        formats=model.formats,
        sends_email=model.send_email,
        email_to=model.email_to,
        actor=request.caller.key_id,
        public_url=request.public_url,
    )
    put = Put(report_key(true_up_id), item, "attribute_not_exists(pk)")
    response = Response(202, _view(item, {}))
    kept, _ = idempotency.write_once(request, (put,), response, nonce=true_up_id)
    response = replayed(kept) if kept else response
    location = f"/v1/true-ups/{response.body['trueUpId']}"
    return response._replace(headers={**response.headers, "location": location})


def read(request: Request) -> Response:
    """Read a statement; once it is published, with links to its files."""
    detail = "No statement has this id."
    item, made = request.dynamodb.run(
        api.fetch(request, request.path["trueUpId"], Statement.name, detail)
    )
    return Response(200, _view(item, made))


def list_all(request: Request) -> Response:
    """List statements, newest first."""
    return pagination.respond(
        request, pagination.newest_first(request, api.LISTS[Statement.name], _without_files)
    )


def _without_files(item: Item) -> TrueUpStatementView:
    return _view(item, {})


def _view(item: Item, made: Mapping[str, Mapping[str, object]]) -> TrueUpStatementView:
    shown = api.view(item, made)
    return {
        "trueUpId": shown["reportId"],
        "status": shown["status"],
        "period": shown["period"],
        "isComplete": shown["isComplete"],
        "filters": shown["filters"],
        "formats": shown["formats"],
        "sendEmail": shown["sendEmail"],
        "emailTo": shown["emailTo"],
        "emailedTo": shown["emailedTo"],
        "emailReturnedFrom": shown["emailReturnedFrom"],
        "version": shown["version"],
        "previousTrueUpId": shown["previousReportId"],
        "changeCount": shown["changeCount"],
        "summary": shown["summary"],
        "failure": shown["failure"],
        "failedAttempts": shown["failedAttempts"],
        "requestedBy": shown["requestedBy"],
        "createdAt": shown["createdAt"],
        "publishedAt": shown["publishedAt"],
        "files": shown["files"],
    }
