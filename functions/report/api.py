"""Reports in the API: request one, read its progress, get links to its files."""

import os
from collections.abc import Mapping
from typing import Any, TypedDict

from functions.report import periods
from functions.report.metrics import Period
from functions.report.pipeline import kind_of, series_of
from functions.report.sales_report import SalesReport
from functions.report.statement import Statement
from shared import report_links
from shared.api import idempotency, pagination
from shared.api.idempotency import replayed
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.reports import REPORT_FORMATS, ReportInput, RequestedReport
from shared.clock import from_rfc3339_ms, to_rfc3339, zone_of
from shared.dynamodb.keys import report_key
from shared.dynamodb.requests import Get, Item, Operation, Put, send
from shared.ids import new_id
from shared.problems import InvalidRequest, NotFound

LISTS = {SalesReport.name: "REPORT", Statement.name: "TRUE_UP"}
_MISSING = {
    SalesReport.name: "No report has this id.",
    Statement.name: "No statement has this id.",
}
# To whom a report is mailed, unless to an account owner.
RECIPIENTS = "recipients"
EVERY_OWNER = "everyAccountOwner"
ZONE = os.environ.get("REPORT_TIME_ZONE", "UTC")
_recipients = os.environ.get("REPORT_RECIPIENTS", "")
FOR_OWNERS = os.environ.get("OWNER_REPORTS") == "true"
_under_use = int(os.environ.get("UNDER_USE_BELOW", "0"))


class ProgressView(TypedDict):
    """What is answered of every kind of report: what was asked for, and its progress."""

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
    changeCount: int | None
    summary: Mapping[str, object] | None
    failure: str | None
    failedAttempts: int
    requestedBy: str
    createdAt: str
    publishedAt: str | None
    files: list[Mapping[str, object]]


class ReportView(ProgressView):
    """A report and its progress."""

    reportId: str
    previousReportId: str | None
    underUse: int | None


def item_of(
    report_id: str,
    period: Period,
    name: str | None,
    zone: str,
    *,
    filters: dict[str, str],
    formats: list[str],
    sends_email: bool,
    email_to: str = RECIPIENTS,
    actor: str,
    public_url: str,
    now_ms: int,
    kind: str = SalesReport.name,
    under_use: int = 0,
    for_owners: bool = False,
) -> Item:
    """The item of a report that is to be made; `public_url` is for the links in its e-mail.

    `for_owners`: when it is published, each account owner gets one with their own rows.
    """
    made: Item = {
        **({"underUse": under_use} if under_use else {}),
        **({"forOwners": True} if for_owners or email_to == EVERY_OWNER else {}),
        "kind": kind,
        "reportId": report_id,
        "status": "queued",
        "start": period.start,
        "end": period.end,
        "until": period.until,
        "previous": period.previous,
        "period": {
            **periods.names(name),
            "from": to_rfc3339(period.start),
            "to": to_rfc3339(period.end),
            "timeZone": zone,
        },
        "filters": filters,
        "formats": formats,
        "sendsEmail": sends_email,
        "emailTo": email_to,
        "requestedBy": actor,
        "publicUrl": public_url,
        "createdAt": now_ms,
        "listKey": LISTS[kind],
        "listSort": f"{now_ms:013d}#{report_id}",
    }
    return {**made, "series": series_of(made)}


def scheduled(
    scheduled_time: str | None, public_url: str, now_ms: int, *, is_quarterly: bool = False
) -> list[Put]:
    """The writes that request the report of the month before; once, however often they are made.

    `is_quarterly`: after the last month of a quarter, the report of the quarter too.
    """
    at = time_of(scheduled_time, now_ms)
    month = periods.month_of(at, zone_of(ZONE), -1)
    quarter = periods.quarter_of(month) if is_quarterly else None
    names = [month, *([quarter] if quarter else [])]
    return [_scheduled(name, public_url, now_ms) for name in names]


def scheduled_week(scheduled_time: str | None, public_url: str, now_ms: int) -> list[Put]:
    """The write that requests the digest of the week before; once, however often it is made."""
    at = time_of(scheduled_time, now_ms)
    return [_scheduled(periods.week_of(at, zone_of(ZONE), -1), public_url, now_ms)]


def time_of(scheduled_time: str | None, now_ms: int) -> int:
    """The time of a schedule's run, Unix milliseconds; now if it says none."""
    try:
        return from_rfc3339_ms(scheduled_time or "")
    except ValueError:
        return now_ms


def _scheduled(name: str, public_url: str, now_ms: int) -> Put:
    """The write that requests the report of a month or a quarter."""
    report_id = new_id("rep", f"scheduled {name} {ZONE}")
    item = item_of(
        report_id,
        periods.of_name(name, ZONE, now_ms),
        name,
        ZONE,
        filters={},
        formats=[*REPORT_FORMATS],
        sends_email=True,
        actor="schedule",
        public_url=public_url,
        now_ms=now_ms,
        under_use=_under_use if "W" not in name else 0,
        for_owners=FOR_OWNERS,
    )
    return Put(report_key(report_id), item, "attribute_not_exists(pk)")


def check_mail(model: RequestedReport) -> None:
    """Refuse an e-mail that would reach nobody.

    Raises:
        InvalidRequest.
    """
    to_owner = model.email_to != RECIPIENTS
    if to_owner and not model.send_email:
        raise InvalidRequest.at("/emailTo", "goes with sendEmail")
    if model.email_to == EVERY_OWNER and model.filters.account_owner is not None:
        raise InvalidRequest.at("/emailTo", "does not go with filters.accountOwner")
    if model.email_to == "accountOwner" and model.filters.account_owner is None:
        raise InvalidRequest.at("/emailTo", "needs filters.accountOwner")
    if model.send_email and not os.environ.get("EMAIL_SENDER"):
        raise InvalidRequest.at("/sendEmail", "needs the stack's parameter EmailSender")
    if model.send_email and not to_owner and not _recipients:
        raise InvalidRequest.at("/sendEmail", "needs the stack's parameter ReportRecipients")


def create(request: Request) -> Response:
    """Request a report; it is made a moment later."""
    model = parse(ReportInput, request.body)
    check_mail(model)
    zone = model.time_zone or ZONE
    period, name = periods.read(model, zone, request.now_ms)
    report_id = new_id("rep")
    item = item_of(
        report_id,
        period,
        name,
        zone,
        filters=filters_of(model),
        formats=model.formats,
        sends_email=model.send_email,
        email_to=model.email_to,
        actor=request.caller.actor,
        public_url=request.public_url,
        now_ms=request.now_ms,
        under_use=model.under_use or 0,
    )
    return store(request, item, view(item, {}), "/v1/reports")


def filters_of(model: RequestedReport) -> dict[str, str]:
    """The filters that a request has."""
    return model.filters.model_dump(by_alias=True, exclude_none=True)


def store(request: Request, item: Item, answer: Mapping[str, Any], path: str) -> Response:
    """Store the item of a report that is to be made, once; `path` is that of its kind."""
    put = Put(report_key(item["reportId"]), item, "attribute_not_exists(pk)")
    response = Response(202, answer)
    earlier, _ = idempotency.write_once(request, (put,), response, nonce=item["reportId"])
    response = replayed(earlier) if earlier else response
    location = f"{path}/{response.body[kind_of(item).id_names[0]]}"
    return response._replace(headers={**response.headers, "location": location})


def read(request: Request) -> Response:
    """Read a report; once it is published, with links to its files."""
    item, made = request.dynamodb.run(fetch(request, request.path["reportId"], SalesReport.name))
    return Response(200, view(item, made))


def require(report_id: str, kind: str) -> Operation[Item]:
    """The item of a report of this kind.

    Raises:
        NotFound: there is none.
    """
    item = yield from send(Get(report_key(report_id)))
    if item is None or item.get("kind", SalesReport.name) != kind:
        raise NotFound(_MISSING[kind])
    return item


def fetch(
    request: Request, report_id: str, kind: str
) -> Operation[tuple[Item, dict[str, dict[str, Any]]]]:
    """The item of a report of this kind and, once it is published, links to its files.

    Raises:
        NotFound: there is none.
    """
    item = yield from require(report_id, kind)
    made: dict[str, dict[str, Any]] = {}
    if item["status"] == "published":
        made = yield from report_links.make(item, request.public_url, request.now_ms)
    return item, made


def list_all(request: Request) -> Response:
    """List reports, newest first."""
    return pagination.respond(
        request, pagination.newest_first(request, LISTS[SalesReport.name], _without_files)
    )


def _without_files(item: Item) -> ReportView:
    return view(item, {})


def view(item: Item, made: Mapping[str, Mapping[str, object]]) -> ReportView:
    """A report as the API answers it."""
    return {
        "reportId": item["reportId"],
        "previousReportId": item.get("previousReportId"),
        "underUse": item.get("underUse"),
        **progress(item, made),
    }


def progress(item: Item, made: Mapping[str, Mapping[str, object]]) -> ProgressView:
    """What is answered of every kind of report; `made`: the links to its files."""
    published_at = item.get("publishedAt")
    return {
        "status": item["status"],
        "period": item["period"],
        "isComplete": item["until"] >= item["end"],
        "filters": item["filters"],
        "formats": item["formats"],
        "sendEmail": item["sendsEmail"],
        "emailTo": item.get("emailTo", RECIPIENTS),
        "emailedTo": sorted(item.get("sentTo", ())),
        "emailReturnedFrom": sorted(item.get("returnedFrom", ())),
        "version": item.get("version"),
        "changeCount": item.get("changeCount"),
        "summary": kind_of(item).shown(item["summary"]) if "summary" in item else None,
        "failure": item.get("failure"),
        "failedAttempts": item.get("failedAttempts", 0),
        "requestedBy": item["requestedBy"],
        "createdAt": to_rfc3339(item["createdAt"]),
        "publishedAt": None if published_at is None else to_rfc3339(published_at),
        "files": list(made.values()),
    }
