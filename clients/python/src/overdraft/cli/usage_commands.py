"""Commands of usage, history, reports and true-up."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal, cast

import typer

from overdraft.cli import charts, output
from overdraft.cli.app import Most, Since, Until, app, group, time_from
from overdraft.cli.output import seats, when
from overdraft.cli.session import (
    REFUSED,
    Entitlement,
    Json,
    ProfileName,
    at_most,
    id_of,
    stack,
)
from overdraft.vendor import Vendor

WATCH_SECONDS = 1.0
reports = group("report", "The report for sales, of any period.")


@app.command()
def usage(entitlement: Entitlement, *, profile: ProfileName = None, as_json: Json = False) -> None:
    """Show what is used of each usage limit in its period."""
    with stack(profile) as vendor:
        items = list(vendor.get_usage(id_of(vendor, entitlement)))
    if as_json:
        return output.show_json(items)
    rows = [
        (each["key"], each["status"], seats({**each["usage"]}), when(each["periodEnd"]))
        for each in items
    ]
    columns = ("usage limit", "status", "used", "period ends")
    return output.show_table(columns, rows, "It has no usage limits.")


@app.command()
def history(
    entitlement: Entitlement,
    *,
    since: Since = "7d",
    until: Until = None,
    interval: Annotated[
        Literal["15m", "hour", "day"], typer.Option(help="What one row is.")
    ] = "day",
    usage_key: Annotated[str | None, typer.Option("--usage", help="Of this usage limit.")] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw it.")] = False,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Show use over time: the highest and what was turned away."""
    with stack(profile) as vendor:
        found = vendor.get_usage_history(
            id_of(vendor, entitlement),
            from_=time_from(since),
            to=time_from(until),
            interval=interval,
            usage_key=usage_key,
        )
        items: list[Any] = list(found)
    if as_json:
        return output.show_json(items)
    if plot:
        return charts.show_history(items)
    return charts.show_history_table(items)


@reports.command("create")
def create_report(
    *,
    period: Annotated[
        str | None, typer.Option(help="2026-10, 2026-Q3 or 2026-W41; by default the last month.")
    ] = None,
    customer: Annotated[str | None, typer.Option(help="Only this customer.")] = None,
    email: Annotated[bool, typer.Option("--email", help="Send it by e-mail, too.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is published.")] = True,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Make a report, wait for it, and show the links to its files."""
    body: dict[str, Any] = {"sendEmail": email}
    if period:
        body["period"] = period
    if customer:
        body["filters"] = {"customer": customer}
    with stack(profile) as vendor:
        made: Any = vendor.create_report(cast("Any", body))
        if wait:
            made = _watched(vendor, made, as_json=as_json)
    _show_report(made, as_json=as_json)
    if made["status"] == "failed":
        raise typer.Exit(REFUSED)


def _watched(vendor: Vendor, made: Any, *, as_json: bool) -> Any:
    """A report, once it is published or has failed for good."""
    with output.errors.status("making the report ...") as status:
        while made["status"] in ("queued", "running"):
            if not as_json:
                status.update(f"{made['status']} ... (Ctrl-C leaves it to the stack)")
            time.sleep(WATCH_SECONDS)
            made = vendor.get_report(made["reportId"])
    return made


def _period(report: Any) -> str:
    span = report["period"]
    return str(span["month"] or span["quarter"] or span["week"] or span["from"])


def _show_report(made: Any, *, as_json: bool) -> None:
    if as_json:
        output.show_json(made)
        return
    output.show_members(
        (
            ("report", made["reportId"]),
            ("status", made["status"]),
            ("period", _period(made)),
            ("failure", made["failure"]),
            ("sent to", ", ".join(made["emailedTo"])),
        )
    )
    for each in made["files"]:
        output.show_link(each["format"], each["url"])
    if made["files"]:
        output.say("Links work for seven days, for anybody who has them.", "dim")


@reports.command("list")
def list_reports(*, limit: Most = 10, profile: ProfileName = None, as_json: Json = False) -> None:
    """List reports, newest first."""
    with stack(profile) as vendor:
        items: list[Any] = at_most(vendor.list_reports(), limit)
    if as_json:
        return output.show_json(items)
    rows = [
        (
            each["reportId"],
            each["status"],
            _period(each),
            when(each["createdAt"]),
        )
        for each in items
    ]
    return output.show_table(("report", "status", "period", "requested"), rows, "No reports yet.")


@reports.command("show")
def show_report(
    report: Annotated[str, typer.Argument(help="The report: rep_…")],
    *,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Show a report's progress and files."""
    with stack(profile) as vendor:
        _show_report(vendor.get_report(report), as_json=as_json)


@app.command("true-up")
def true_up(
    entitlement: Entitlement,
    *,
    period: Annotated[
        str | None,
        typer.Option(help="A month or quarter: 2026-10, 2026-Q3; by default the last month."),
    ] = None,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Show what overdraft costs in a month, line by line."""
    with stack(profile) as vendor:
        found = vendor.get_true_up(id_of(vendor, entitlement), period=period)
    if as_json:
        return output.show_json(found)
    rows = [
        (
            each["lineId"],
            each["usageKey"] or "seats",
            each["month"],
            f"{each['amount']} {each['currency']}",
            each["decision"]["status"] if each["decision"] else None,
        )
        for each in cast("Any", found["lines"])
    ]
    output.show_table(
        ("line", "of", "month", "amount", "decision"), rows, "Overdraft cost nothing."
    )
    if not found["isFinal"]:
        output.say("The period is not over: amounts may still grow.", "yellow")
    return None
