"""Messages for chat channels, checked with the libraries of Slack and of Adaptive Cards."""

import json
from typing import Any

import pytest
from slack_sdk.models.blocks import Block

from functions.deliver import messages
from functions.manage import webhook_samples
from shared.clock import now_ms, to_rfc3339
from shared.events.types import CHANNEL_SUMMARY
from shared.webhooks import channels
from tests.support import node

CONTACTS = {
    "customerAdmin": {"name": "Ann", "phone": "+49 30 901820", "email": "ann@acme.example"},
    "accountOwner": {"name": "Bo", "phone": None, "email": "bo@vendor.example"},
}
LIMIT = {"name": "seats", "used": 103, "purchased": 100, "hardCap": 120, "customerCap": None}
LINK = "https://api.example/portal#plk_mail_x.y"
# What somebody may call themselves.
NASTY = [
    "<!channel> pay here: <https://evil.example|our invoice>",
    "@here *bold* _x_ `code` :rotating_light: https://evil.example",
    "[our invoice](https://evil.example) <at>everyone</at>",
    "\u202eevil\u202c & <b>x</b>\nsecond line\r\n- item",
    "x" * 5_000,
    "&lt;!channel&gt;",
]


def summary(**changes: Any) -> dict[str, Any]:
    said = {
        "headline": "3 people turned away at the hard cap",
        "sentences": ["3 people asked for a seat and got none (7 attempts)."],
        "limits": [LIMIT],
        **changes.pop("summary", {}),
    }
    data = {
        "entitlementId": "ent_x",
        "actor": "notify",
        "summary": said,
        "product": "CAD Pro",
        "sku": None,
        "customer": {"name": "Acme GmbH", "externalId": None},
        "contacts": CONTACTS,
        **changes,
    }
    return {"id": "evt_x", "type": CHANNEL_SUMMARY, "timestamp": to_rfc3339(0), "data": data}


def every_event() -> list[dict[str, Any]]:
    """One of each kind that a channel may get, and some by people with strange names."""
    kinds = sorted(channels.JOINED | channels.AT_ONCE)
    found = [webhook_samples.sample("whk_x", kind, now_ms(), "n") for kind in kinds]
    found += [summary(), summary(contacts=None), summary(summary={"limits": [LIMIT] * 48})]
    for text in NASTY:
        found.append(summary(customer={"name": text}, product=text, summary={"headline": text}))
        found.append(summary(summary={"sentences": [text] * 40, "limits": []}))
        contact = {"name": text, "phone": None, "email": "a@b.example"}
        found.append(summary(contacts={"customerAdmin": contact, "accountOwner": contact}))
    return found


EVENTS = every_event()


@pytest.mark.parametrize("number", range(len(EVENTS)))
def test_slack_takes_it(number: int) -> None:
    """Its own models check types, lengths and numbers of elements."""
    body = messages.slack(messages.message_of(EVENTS[number], LINK))
    blocks = Block.parse_all(body["blocks"])
    assert [block.to_dict() for block in blocks if block] == body["blocks"]
    assert 1 <= len(blocks) <= 50
    assert len(json.dumps(body)) < 40_000
    for block in body["blocks"]:
        text = block.get("text")
        assert text is None or 1 <= len(text["text"]) <= 3_000


def test_teams_takes_it() -> None:
    bodies = [messages.teams(messages.message_of(event, LINK)) for event in EVENTS]
    cards = [body["attachments"][0]["content"] for body in bodies]
    assert node.wrong_with_cards(cards) == [[]] * len(cards)
    assert max(len(json.dumps(body).encode()) for body in bodies) < 28_000
    broken = {"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "TextBlokk"}]}
    assert node.wrong_with_cards([broken]) != [[]], "the check finds what is wrong"


@pytest.mark.parametrize("text", NASTY)
def test_a_name_mentions_nobody_and_forges_no_link_in_slack(text: str) -> None:
    event = summary(customer={"name": text}, product=text, summary={"headline": text})
    body = messages.slack(messages.message_of(event, LINK))
    # In markup stands our own link alone. Everything else is shown as it is.
    marked = [
        element["text"]
        for block in body["blocks"]
        for element in (block.get("text"), *block.get("elements", ()))
        if element and element["type"] == "mrkdwn"
    ]
    assert marked == [f"<{LINK}|Portal>"]
    assert "<" not in body["text"]
    assert ">" not in body["text"]
    assert "\u202e" not in json.dumps(body, ensure_ascii=False)
    assert "\n" not in body["blocks"][0]["text"]["text"]


@pytest.mark.parametrize("text", NASTY)
def test_a_name_is_no_markdown_in_teams(text: str) -> None:
    event = summary(customer={"name": text}, product=text, summary={"headline": text})
    card = messages.teams(messages.message_of(event, LINK))["attachments"][0]["content"]
    assert {each["type"] for each in card["body"]} == {"RichTextBlock"}
    runs = [run for each in card["body"] for run in each["inlines"]]
    assert {run["type"] for run in runs} == {"TextRun"}
    assert "entities" not in card.get("msteams", {})
    assert [action["url"] for action in card["actions"]] == [LINK]


@pytest.mark.parametrize(
    ("used", "purchased", "cap", "bar"),
    [
        (0, 100, 120, "░" * 20),
        (50, 100, 100, "█" * 10 + "░" * 10),
        (100, 100, 200, "█" * 10 + "░" * 10),
        (150, 100, 200, "█" * 10 + "▓" * 5 + "░" * 5),
        (101, 100, 120, "█" * 15 + "▓" + "░" * 4),
        (3, 2, None, "█" * 13 + "▓" * 7),
        (0, 0, 0, "░" * 20),
        (5, 0, None, "▓" * 20),
    ],
)
def test_the_bar(used: int, purchased: int, cap: int | None, bar: str) -> None:
    limit = {"name": "seats", "used": used, "purchased": purchased, "hardCap": cap}
    drawn = messages.bar_of(limit)
    assert drawn.split(" ")[1] == bar
    assert len(bar) == messages.BAR


def test_what_a_message_says() -> None:
    message = messages.message_of(summary(), LINK)
    assert message.title == "Acme GmbH: CAD Pro"
    assert message.headline == "3 people turned away at the hard cap"
    assert message.bars == [
        "seats " + "█" * 16 + "▓" + "░" * 3 + " 103 of 100 purchased, hard cap 120"
    ]
    assert message.call == (
        "Call Ann, +49 30 901820, ann@acme.example. Account owner: Bo, bo@vendor.example."
    )


def test_a_test_says_that_it_is_one() -> None:
    event = webhook_samples.sample("whk_x", "entitlement.overdraft.entered", now_ms(), "n")
    body = messages.slack(messages.message_of(event))
    assert body["text"].startswith("Test: ")
