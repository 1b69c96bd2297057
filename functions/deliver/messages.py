"""Messages for people in a chat channel: Slack (Block Kit) and Microsoft Teams (Adaptive Card).

Nobody's name can mention a channel, forge a link or turn a line around. So what others have written
stands in elements that are shown as they are: `plain_text` in Slack, `TextRun` in Teams. What must
stand in Slack's markup is escaped. Plain functions: no clock, no table.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from shared.events import types
from shared.events.builders import Event
from shared.report_links import period_name
from shared.sales import seat_requests
from shared.texts import CONTROL, TURNING, counted
from shared.webhooks.channels import SLACK, TEAMS

BAR = 20  # characters
# Slack: 150 characters of a header, 3,000 of a section. Teams: 28 KB in all.
TITLE, LINE, LINES, LIMITS = 150, 600, 12, 10
WITHIN, OVER, FREE = "█", "▓", "░"


class Message(NamedTuple):
    """What a message says, whatever the channel."""

    title: str
    headline: str
    lines: Sequence[str] = ()
    bars: Sequence[str] = ()
    call: str = ""
    link: str = ""
    link_name: str = "Portal"
    is_test: bool = False


def bar_of(limit: Mapping[str, Any]) -> str:
    """Use against both limits, in so many characters, and in numbers."""
    used, purchased, cap = limit["used"], limit["purchased"], limit["hardCap"]
    full = max(1, used, purchased, cap or 0)
    within = min(used, purchased)
    shares = [BAR * within // full, BAR * used // full]
    if used > purchased and shares[0] == shares[1]:
        shares[0] -= 1  # an overdraft is seen, however small it is
    drawn = WITHIN * shares[0] + OVER * (shares[1] - shares[0]) + FREE * (BAR - shares[1])
    most = "no hard cap" if cap is None else f"hard cap {cap:,}"
    own = limit.get("customerCap")
    numbers = f"{used:,} of {purchased:,} purchased, {most}"
    return f"{limit['name']} {drawn} {numbers}{'' if own is None else f', own cap {own:,}'}"


def message_of(event: Event, link: str = "") -> Message:
    """The message of a complete event; `link` opens the portal, or the report that it is about."""
    data = event["data"]
    is_test = bool(data.get("test"))
    if make := _ABOUT_STACK.get(event["type"]):
        return make(data)._replace(is_test=is_test, link=link, link_name="Open it")
    customer = _plain((data.get("customer") or {}).get("name") or "A customer")
    title = f"{customer}: {_plain(data.get('product') or 'a product')}"
    headline, lines, limits = _CONTENT.get(event["type"], _of_other)(event)
    return Message(
        title,
        _plain(headline),
        [_plain(line) for line in lines],
        [bar_of(each) for each in limits[:LIMITS]],
        _call(data.get("contacts") or {}),
        link,
        is_test=is_test,
    )


Content = tuple[str, list[str], list[Mapping[str, Any]]]


def _of_summary(event: Event) -> Content:
    summary = event["data"]["summary"]
    return summary["headline"], summary["sentences"], summary["limits"]


def _of_request(event: Event) -> Content:
    data = event["data"]
    request = data["request"]
    who = request["requester"] or "Somebody at the customer"
    said = [f'They write: "{request["message"]}"'] if request.get("message") else []
    headline = f"asks for {seat_requests.wanted(request)}"
    return headline, [f"{who} asked in the portal.", *said], _limits_in(data)


def _of_failed_change(event: Event) -> Content:
    change = event["data"]["scheduledChange"]
    return "a scheduled change was refused", [str(change["failure"])], []


def _of_other(event: Event) -> Content:
    """A test of an event that is joined with the others of its hour."""
    what = event["type"].removeprefix("entitlement.").replace(".", " ")
    return what, [], _limits_in(event["data"])


def _limits_in(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    limits: list[Mapping[str, Any]] = []
    if seats := data.get("seats"):
        limits.append({"name": "seats", **seats})
    if usage := data.get("usage"):
        limits.append({"name": usage.get("key", "usage"), **usage})
    return limits


_CONTENT: dict[str, Callable[[Event], Content]] = {
    types.CHANNEL_SUMMARY: _of_summary,
    types.SEATS_REQUESTED: _of_request,
    types.CHANGE_FAILED: _of_failed_change,
}


def _of_report(data: Mapping[str, Any]) -> Message:
    summary = data["summary"]
    lines = [
        f"{summary['inOverdraft']:,} of {summary['entitlements']:,} exceeded what was purchased.",
        f"{summary['deniedSeats']:,} people denied ({summary['deniedAttempts']:,} attempts).",
        *(
            f"{each['currency']} {each['amount']} a month at list price."
            for each in summary["monthlyValue"]
        ),
    ]
    return Message(f"Overdraft report {_name_of(data)}", f"version {data['version']}", lines)


def _of_statement(data: Mapping[str, Any]) -> Message:
    lines = [
        f"{each['currency']} {each['amount']}, of which {each['undecided']} is not decided."
        for each in data["summary"]["totals"]
    ]
    lines = lines or ["No overdraft costs anything."]
    number = counted(data["summary"]["entitlements"], "entitlement", "entitlements")
    about = f"version {data['version']}, {number}"
    return Message(f"True-up {_name_of(data)}", about, lines)


def _name_of(data: Mapping[str, Any]) -> str:
    period = data["period"]
    return period_name(period) or f"from {period['from']}"


def _of_disabled(data: Mapping[str, Any]) -> Message:
    why = {"gone": "it answered 410", "failing": "it only failed for five days"}
    return Message("A webhook endpoint was disabled", why[data["reason"]], [f"{data['webhookId']}"])


_ABOUT_STACK: dict[str, Callable[[Mapping[str, Any]], Message]] = {
    types.REPORT_PUBLISHED: _of_report,
    types.TRUE_UP_PUBLISHED: _of_statement,
    types.ENDPOINT_DISABLED: _of_disabled,
}


def _call(contacts: Mapping[str, Any]) -> str:
    """Whom to call, and who is responsible."""
    said = []
    for what, audience in (("Call", "customerAdmin"), ("Account owner:", "accountOwner")):
        contact = contacts.get(audience)
        if contact:
            known = (contact.get("name"), contact.get("phone"), contact.get("email"))
            said.append(f"{what} {', '.join(_plain(each) for each in known if each)}.")
    return " ".join(said)


def _plain(text: str) -> str:
    """A text on one line, without marks that turn what follows, and not too long."""
    shown = CONTROL.sub(" ", TURNING.sub("", " ".join(text.split())))
    return _cut(shown, LINE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


# --- Slack ----------------------------------------------------------------------------------------


def escaped(text: str) -> str:
    """A text in Slack's markup: the three characters that mean something there."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack(message: Message) -> dict[str, Any]:
    """The body of a request to an incoming webhook of Slack."""
    test = "Test: " if message.is_test else ""
    title = _cut(f"{test}{message.title}", TITLE)
    lines = [message.headline, *message.lines]
    lines = [*lines[:LINES], *(["…"] if len(lines) > LINES else [])]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _as_is(title)},
        {"type": "section", "text": _as_is(_cut("\n".join(lines), 3_000))},
    ]
    blocks += [{"type": "section", "text": _as_is(bar)} for bar in message.bars]
    if message.call:
        blocks.append({"type": "section", "text": _as_is(message.call)})
    if message.link:
        links = {
            "type": "mrkdwn",
            "text": f"<{escaped(message.link)}|{message.link_name}>",
            "verbatim": True,
        }
        blocks.append({"type": "context", "elements": [links]})
    # What a notification shows. Names are not made links here either.
    return {
        "text": escaped(f"{title}: {message.headline}"),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _as_is(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


# --- Teams ----------------------------------------------------------------------------------------


def teams(message: Message) -> dict[str, Any]:
    """The body of a request to a Teams workflow that posts an Adaptive Card."""
    test = "Test: " if message.is_test else ""
    lines = [*message.lines[:LINES], *(["…"] if len(message.lines) > LINES else [])]
    body = [
        _run(_cut(f"{test}{message.title}", TITLE), size="Large", weight="Bolder"),
        _run(message.headline, weight="Bolder"),
        *(_run(line) for line in lines),
        *(_run(bar, fontType="Monospace") for bar in message.bars),
        *([_run(message.call)] if message.call else []),
    ]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    if message.link:
        card["actions"] = [
            {"type": "Action.OpenUrl", "title": message.link_name, "url": message.link}
        ]
    content_type = "application/vnd.microsoft.card.adaptive"
    return {
        "type": "message",
        "attachments": [{"contentType": content_type, "contentUrl": None, "content": card}],
    }


def _run(text: str, **style: str) -> dict[str, Any]:
    """A line that is shown as it is: a TextRun has no Markdown."""
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


RENDERERS: dict[str, Callable[[Message], dict[str, Any]]] = {SLACK: slack, TEAMS: teams}
