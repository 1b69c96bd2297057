"""The e-mail that announces a report, with links that expire."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from functions.report.html import environment, local, title_of
from functions.report.kind import Mail
from functions.report.table import amount_text
from shared import aws, report_links
from shared.dynamodb.requests import Item
from shared.texts import isolated


def send(
    sender: str, recipient: str, mail: Mail, tags: dict[str, str], configuration: str = ""
) -> str:
    """Send it to one address; return SES's message id. `configuration`: SES's set."""
    answer = aws.client("sesv2").send_email(
        **aws.mail_options(configuration, tags),
        FromEmailAddress=sender,
        Destination={"ToAddresses": [recipient]},
        Content={
            "Simple": {
                "Subject": {"Data": mail.subject, "Charset": "UTF-8"},
                "Body": {
                    "Text": {"Data": mail.text, "Charset": "UTF-8"},
                    "Html": {"Data": mail.html, "Charset": "UTF-8"},
                },
            }
        },
    )
    return str(answer["MessageId"])


def facts_of(report: Item, links: Mapping[str, str], expires: str) -> dict[str, Any]:
    """What the e-mail of every kind of report says."""
    zone = report["period"]["timeZone"]
    return {
        "report": report,
        "period": report_links.period_name(report["period"])
        or f"from {local(report['period']['from'], zone)}",
        "about": _about(report),
        "links": links,
        "expires": local(expires, zone),
        "zone": zone,
    }


def of_sales_report(report: Item, links: Mapping[str, str], expires: str) -> Mail:
    """The e-mail that announces the report for sales."""
    facts = facts_of(report, links, expires)
    title = f"Overdraft report {facts['period']}"
    return Mail(
        f"{title}: {_worth(report['summary'])}",
        _text(facts),
        environment().get_template("mail.html").render(facts, title=title),
    )


# What a digest says of each kind.
_DIGEST = (
    ("began", "Overdrafts that began"),
    ("ended", "Overdrafts that ended"),
    ("ending", "About to end: overdraft periods in 14 days, terms in 30 days"),
)


def of_digest(report: Item, links: Mapping[str, str], expires: str) -> Mail:
    """The e-mail of a week: what began, what ended, what is about to end, whom to call."""
    facts = facts_of(report, links, expires)
    digest, zone = report["summary"]["digest"], facts["zone"]
    title = f"Overdraft, {title_of(report['period'])}"
    sections = [
        {
            "title": about,
            "lines": [_digest_line(each, zone) for each in digest[kind]],
            "more": digest[f"{kind}Count"] - len(digest[kind]),
        }
        for kind, about in _DIGEST
        if digest[kind]
    ]
    lines = [f"{title}.", *facts["about"]]
    for section in sections:
        lines += ["", f"{section['title']}:", *(f"- {line}" for line in section["lines"])]
        lines += [f"- and {section['more']} more"] if section["more"] else []
    if not sections:
        lines += ["", _QUIET]
    lines += _calls(report["summary"]["calls"])
    numbers = f"{digest['beganCount']} began, {digest['endedCount']} ended"
    html = environment().get_template("digest_mail.html")
    return Mail(
        f"{title}: {numbers}",
        "\n".join([*lines, *links_in(facts)]),
        html.render(facts, title=title, sections=sections, quiet=_QUIET),
    )


_QUIET = "No overdraft began or ended, and none is about to end."


def _digest_line(each: Mapping[str, Any], zone: str) -> str:
    of = f", {each['usageKey']}" if each["usageKey"] else ""
    customer, product = isolated(each["customer"]), isolated(each["product"])
    return f"{customer}: {product}{of}, {local(each['at'], zone)}"


def of_statement(report: Item, links: Mapping[str, str], expires: str) -> Mail:
    """The e-mail that announces a statement of what overdraft costs."""
    facts = facts_of(report, links, expires)
    summary = report["summary"]
    sums = [f"{each['currency']} {amount_text(each['amount'])}" for each in summary["totals"]]
    left = [
        f"{each['currency']} {amount_text(each['undecided'])}"
        for each in summary["totals"]
        if Decimal(each["undecided"])
    ]
    of = _entitlements(summary)
    sentences = [
        f"Overdraft costs {', '.join(sums)}: {of}." if sums else "No overdraft costs anything.",
        *([f"Not decided yet: {', '.join(left)}."] if left else []),
    ]
    title = f"True-up {facts['period']}"
    lines = [f"{title}, version {report['version']}.", *facts["about"], "", *sentences]
    return Mail(
        f"{title}: {', '.join([of, *sums])}",
        "\n".join([*lines, *links_in(facts)]),
        environment()
        .get_template("statement_mail.html")
        .render(facts, title=title, sentences=sentences),
    )


def _about(report: Item) -> list[str]:
    """What else a reader must know: that the report is filtered, or its period not over."""
    remarks = [
        f"Only {name} \u201c{isolated(value)}\u201d." for name, value in report["filters"].items()
    ]
    if report["until"] < report["end"]:
        remarks.append("The period is not over: this is how it stood when the report was made.")
    return remarks


def _worth(summary: Mapping[str, Any]) -> str:
    worth = [
        f"{each['currency']} {each['amount']} a month"
        for each in summary["monthlyValue"]
        if Decimal(each["amount"])
    ]
    return ", ".join([_entitlements(summary), *worth])


def _entitlements(summary: Mapping[str, Any]) -> str:
    number = summary["entitlements"]
    return f"{number} {'entitlement' if number == 1 else 'entitlements'}"


def _text(facts: Mapping[str, Any]) -> str:
    summary = facts["report"]["summary"]
    lines = [
        f"Overdraft report {facts['period']}, version {facts['report']['version']}.",
        *facts["about"],
        "",
        f"People turned away: {summary['deniedSeats']}.",
        f"Usage requests refused: {summary['deniedRequests']}.",
        f"Attempts in all: {summary['deniedAttempts']}.",
        f"Entitlements in overdraft: {summary['inOverdraft']} of {summary['entitlements']}.",
        *(
            f"{each['currency']} {each['amount']} potential new revenue a month, at list price."
            for each in summary["monthlyValue"]
            if Decimal(each["amount"])
        ),
        *_calls(summary["calls"]),
        *links_in(facts),
    ]
    return "\n".join(lines)


def links_in(facts: Mapping[str, Any]) -> list[str]:
    """The links to the files, as the last lines of a text."""
    return [
        "",
        *(f"{name.upper()}: {url}" for name, url in facts["links"].items()),
        "",
        f"The links work until {facts['expires']} ({facts['zone']}), for whoever has them.",
    ]


def _calls(calls: list[Mapping[str, Any]]) -> list[str]:
    """Whom to call first, as lines of text."""
    lines = ["", "Whom to call first:"] if calls else []
    for number, each in enumerate(calls, 1):
        reason = next(iter(each["reasons"]), "")
        lines.append(f"{number}. {isolated(each['customer'])}: {each['product']}. {reason}")
        if contact := each["contact"]:
            known = (contact["name"], contact["phone"], contact["email"])
            lines.append("   " + ", ".join(part for part in known if part))
    return lines
