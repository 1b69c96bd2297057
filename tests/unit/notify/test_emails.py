"""E-mail: when it is due, what it says, to whom; claimed, sent, recorded."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from functions.notify import batch
from functions.notify.emails import mailer, returned_mail
from functions.notify.emails import text as mail_text
from functions.notify.emails.mailer import Mailer
from shared import aws, problems, signed_tokens
from shared.api.schemas.events import EVENTS
from shared.audit import Change, utc_hour
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    Key,
    denial_key,
    entitlement_key,
    mail_key,
    mail_state_key,
    seat_shard_key,
)
from shared.dynamodb.requests import Delete, Get
from shared.entitlements.model import AUDIENCES
from shared.events import types as event_types
from shared.seats import activation
from shared.seats.encoding import seat_key
from shared.seats.holder import Holder
from tests.support.stories import HOUR, START, Story
from tests.support.tables import Crash, acting_as
from tests.unit.conftest import Api


@pytest.fixture
def story(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    shown = Story(dynamodb)
    monkeypatch.setattr(aws, "client", shown.recorder.client)
    signed_tokens._known.clear()
    yield shown
    # What is still due here must not be sent in another test.
    for audience in AUDIENCES:
        dynamodb.execute(Delete(mail_state_key(shown.id, audience)))
    for item in shown.sent():
        dynamodb.execute(Delete(Key(item["pk"], item["sk"])))


def to(mails: list[dict[str, Any]]) -> list[str]:
    return sorted(address for m in mails for address in m["Destination"]["ToAddresses"])


def text(one: dict[str, Any]) -> str:
    return str(one["Content"]["Simple"]["Body"]["Text"]["Data"])


def test_nothing_is_sent_before_something_happened(story: Story) -> None:
    assert story.tick(START + 60_000) == []


def test_who_is_notified_of_what_by_default(story: Story) -> None:
    story.take("alice", START + 1_000)
    mails = story.tick(START + 60_000)
    assert to(mails) == ["admin@acme.example"], "the customer is notified of a threshold"
    assert "50 %" in text(mails[0])
    for number, seat_id in enumerate(("bob", "carol", "dave")):
        story.take(seat_id, START + HOUR * 2 + number)
    mails = story.tick(START + HOUR * 2 + 60_000)
    assert to(mails) == ["admin@acme.example", "owner@vendor.example"]
    [mail] = [each for each in mails if to([each]) == ["owner@vendor.example"]]
    shown = text(mail)
    assert "Carol (carol)" in shown
    assert "Dave (dave), 1 attempt" in shown
    assert "1 person asked for a seat and got none (1 attempt)." in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["Purchased:", "2"] in rows
    assert ["Used", "now:", "3"] in rows
    assert ["In", "overdraft", "now:", "1"] in rows
    [admin] = [each for each in mails if to([each]) == ["admin@acme.example"]]
    assert "Dave (dave), 1 attempt" in text(admin)
    assert "Acme is using 3 of 2 seats purchased. The 1 extra was granted as overdraft." in text(
        admin
    )
    assert "reply to this e-mail: The CAD Company can help" in text(admin)
    assert admin["ReplyToAddresses"] == ["owner@vendor.example"]
    assert admin["FromEmailAddress"] == "The CAD Company <overdraft@vendor.example>"


def test_thresholds_in_seats(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of ten are left, then one: each once, as an event and in an e-mail."""
    story = Story(dynamodb, seatCount=10, thresholds=[], seatsLeftThresholds=[2, 0])
    monkeypatch.setattr(aws, "client", story.recorder.client)
    signed_tokens._known.clear()
    named = [story.take(f"user{number}", START + number) for number in range(8)]
    kind = event_types.THRESHOLD_REACHED
    events = [each for each in story.recorder.events if each["type"] == kind]
    for event in events:
        EVENTS[kind].model_validate(event)
    [(left, percent, used)] = [
        (e["data"]["seatsLeft"], e["data"]["threshold"], e["data"]["seats"]["used"]) for e in events
    ]
    assert (left, percent, used) == (2, None, 8)
    [mail] = story.tick(START + 60_000)
    simple = mail["Content"]["Simple"]
    assert simple["Subject"]["Data"].endswith(": 2 purchased seats are left")
    assert "Acme is using 8 of 10 seats purchased: 2 purchased seats are left." in text(mail)
    assert "If you need more" in text(mail)
    # Up and down within the hour says nothing again.
    story.release(named[0], START + 100_000)
    story.take("user8", START + 110_000)
    assert len([e for e in story.recorder.events if e["type"] == kind]) == 1
    for number in range(2):
        story.take(f"late{number}", START + HOUR * 2 + number)
    assert [e["data"]["seatsLeft"] for e in story.recorder.events if e["type"] == kind] == [2, 0]
    [mail] = story.tick(START + HOUR * 2 + 60_000)
    assert mail["Content"]["Simple"]["Subject"]["Data"].endswith(": no purchased seat is left")


def test_several_requests_are_added_up_in_the_subject(story: Story) -> None:
    asked = START + 1_000
    for number, seats in enumerate((15, 5)):
        story.ask(asked + number, seats=seats)
    story.ask(asked + 2, usageKey="exports", quantity=400)
    [mail] = story.tick(asked + 60_000)
    subject = mail["Content"]["Simple"]["Subject"]["Data"]
    assert subject.endswith(": 3 requests for 20 more seats and 400 more 'exports'")


def test_the_account_owner_is_notified_of_a_request_for_more_seats(story: Story) -> None:
    asked = START + 1_000
    hostile = "<script>x</script>\r\nBcc: all@a.example\n=1+1"
    story.ask(asked, seats=7, message=hostile)
    [event] = [
        each for each in story.recorder.events if each["type"] == event_types.SEATS_REQUESTED
    ]
    EVENTS[event_types.SEATS_REQUESTED].model_validate(event)
    assert event["data"]["request"]["seats"] == 7
    assert event["data"]["contacts"]["accountOwner"]["email"] == "owner@vendor.example"
    [mailer] = story.tick(asked + 60_000)
    assert to([mailer]) == ["owner@vendor.example"]
    simple = mailer["Content"]["Simple"]
    assert "the customer asks for 7 more seats" in simple["Subject"]["Data"]
    assert "Acme asked for 7 more seats." in text(mailer)
    assert not [line for line in text(mailer).splitlines() if line.startswith(("Bcc", "=1"))]
    assert "<script>" not in simple["Body"]["Html"]["Data"]
    assert story.sent()[0]["numbers"]["seatsRequested"] == 7
    assert story.tick(asked + 2 * HOUR) == []


def test_a_request_does_not_wait_for_the_hour(story: Story) -> None:
    for number, seat_id in enumerate(("alice", "bob", "carol", "dave")):
        story.take(seat_id, START + number)
    assert "owner@vendor.example" in to(story.tick(START + 60_000))
    for minute in (2, 4):
        story.ask(START + minute * 60_000, seats=minute, requester="Ann, IT")
        [mail] = story.tick(START + minute * 60_000 + 30_000)
        assert f"Ann, IT asked for {minute} more seats." in text(mail)
    assert story.tick(START + 10 * 60_000) == [], "and is mailed once"


SILENT = {"accountOwner": ["entitlement.seat.denied"], "customerAdmin": []}


@pytest.mark.parametrize(
    "changes", [{"notifications": SILENT}, {"contacts": {}}], ids=["unwanted", "no owner"]
)
def test_where_no_account_owner_gets_requests_the_recipients_of_reports_do(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    story = Story(dynamodb, **changes)
    monkeypatch.setattr(aws, "client", story.recorder.client)
    story.ask(START + 1_000, seats=1)
    assert story.tick(START + 60_000) == [], "there is nobody"
    assert event_types.SEATS_REQUESTED in [each["type"] for each in story.recorder.events]
    story.recipients = ("sales@vendor.example", "boss@vendor.example")
    story.ask(START + 70_000, seats=2)
    [mail] = story.tick(START + 130_000)
    assert mail["Destination"]["ToAddresses"] == ["sales@vendor.example", "boss@vendor.example"]
    assert "Unsubscribe" not in text(mail), "they are the stack's"
    assert "Headers" not in mail["Content"]["Simple"]


def test_at_most_one_an_hour_with_the_numbers_summed(story: Story) -> None:
    for number, seat_id in enumerate(("alice", "bob", "carol", "dave")):
        story.take(seat_id, START + number)
    assert "owner@vendor.example" in to(story.tick(START + 60_000))
    for minute in range(2, 50):
        story.take(f"late{minute % 5}", START + minute * 60_000)
        assert story.tick(START + minute * 60_000 + 30_000) == []
    mails = story.tick(START + 60_000 + HOUR + 1_000)
    assert to(mails) == ["admin@acme.example", "owner@vendor.example"]
    assert "5 people asked for a seat and got none (48 attempts)." in text(mails[0])
    assert story.tick(START + 3 * HOUR) == [], "nothing new, no mail"


def test_a_record_that_comes_twice_notifies_once(story: Story) -> None:
    for number, seat_id in enumerate(("alice", "bob", "carol", "dave")):
        story.take(seat_id, START + number)
    assert len(story.tick(START + 60_000)) == 2
    shard = seat_shard_key(story.id)
    mail_kinds = {"entitlement.overdraft.entered"}
    item = story._get(entitlement_key(story.id)) or {}
    story.dynamodb.run(mailer.mark(item, mail_kinds, START, START + 70_000))
    again = story.tick(START + 2 * HOUR)
    # Marked again from then on: a mail about a period that was mailed before says so.
    assert all("From 2049-03-22" in text(each) for each in again)
    story._deliver(shard, None, START + 3 * HOUR)
    assert story.tick(START + 5 * HOUR) == []


def test_what_was_sent_is_on_record(story: Story) -> None:
    for number, seat_id in enumerate(("alice", "bob", "carol", "dave")):
        story.take(seat_id, START + number)
    story.tick(START + 60_000)
    records = {item["to"]: item for item in story.sent()}
    record = records["owner@vendor.example"]
    assert (record["status"], record["audience"]) == ("sent", "accountOwner")
    assert record["numbers"]["deniedAttempts"] == 1
    assert record["numbers"]["used"] == 3
    assert record["messageId"]
    assert "earliest" not in record
    assert "carol" not in str(record).lower()


def test_a_mail_made_between_a_mark_and_its_evidence_loses_nothing(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is there, what it is about is not written yet, and the mailer runs."""
    for number, seat_id in enumerate(("alice", "bob", "carol", "dave")):
        story.take(seat_id, START + number)
    real = batch._count_denied

    def interrupted(*given: Any) -> Any:
        monkeypatch.setattr(batch, "_count_denied", real)
        mails = story.tick(START + 60_000)
        [mail] = [each for each in mails if to([each]) == ["owner@vendor.example"]]
        assert "got none (1 attempt)" in text(mail)
        return (yield from real(*given))

    monkeypatch.setattr(batch, "_count_denied", interrupted)
    story.take("erin", START + 59_000)
    later = story.tick(START + 60_000 + HOUR + 1_000)
    assert to(later) == ["admin@acme.example", "owner@vendor.example"]
    assert all("Erin (erin), 1 attempt" in text(each) for each in later)


def test_after_an_outage_there_is_one_mail_an_hour_still(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = story.recorder.send_email

    def refuse(**_: Any) -> Any:
        raise aws.Errors[1]({"Error": {"Code": "Throttling"}}, "SendEmail")

    monkeypatch.setattr(story.recorder, "send_email", refuse)
    for number, seat_id in enumerate(("alice", "bob", "carol")):
        story.take(seat_id, START + number)
    for hour in range(6):
        story.take("dave", START + hour * HOUR + 1_000)
        for minute in range(1, 60, 14):
            story.tick(START + hour * HOUR + minute * 60_000)
    monkeypatch.setattr(story.recorder, "send_email", works)
    times: list[int] = []
    for minute in range(0, 40 * 60, 25):
        at = START + 6 * HOUR + minute * 60_000
        mails = [each for each in story.tick(at) if to([each]) == ["owner@vendor.example"]]
        times += [at] * len(mails)
    assert len(times) >= 2
    assert all(later - earlier >= HOUR for earlier, later in pairwise(times))
    shown = [item for item in story.sent() if item["audience"] == "accountOwner"]
    assert {item["status"] for item in shown} == {"sent"}
    assert sum(item["numbers"]["deniedAttempts"] for item in shown) == 6


def test_a_vendor_chooses(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Story(dynamodb, notifications={"accountOwner": [], "customerAdmin": []})
    monkeypatch.setattr(aws, "client", quiet.recorder.client)
    for number, seat_id in enumerate(("alice", "bob", "carol", "dave")):
        quiet.take(seat_id, START + number)
    assert quiet.tick(START + 60_000) == []
    assert quiet.sent() == []


def test_without_a_sender_there_is_no_mail(story: Story) -> None:
    story.take("alice", START)
    silent = Mailer(story.dynamodb, "", "")
    assert silent.is_on is False
    assert silent.send_due(START + 60_000, START + 120_000) == {"sent": 0, "failed": 0}


@pytest.mark.parametrize("kind", ["before", "after"])
def test_a_crash_loses_no_mail(story: Story, kind: str) -> None:
    """Before SES accepted it: sent once, later. After: sent twice, since nobody can know."""
    story.take("alice", START)
    story.recorder.fault = (story.recorder.calls, kind)
    with pytest.raises(Crash):
        story.tick(START + 60_000)
    [claimed] = story.sent()
    assert claimed["status"] == "claimed"
    assert len(story.tick(START + 61_000)) == 0
    assert to(story.tick(START + 60_000 + 301_000)) == ["admin@acme.example"]
    assert len(story.recorder.mails) == (1 if kind == "before" else 2)
    [done] = story.sent()
    assert done["status"] == "sent"
    assert story.tick(START + 2 * HOUR) == []


def test_a_mail_that_ses_refuses_is_given_up_after_a_day(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> Any:
        raise aws.Errors[1]({"Error": {"Code": "MessageRejected"}}, "SendEmail")

    story.take("alice", START)
    monkeypatch.setattr(story.recorder, "send_email", refuse)
    at = START + 60_000
    for _ in range(mailer.ATTEMPTS):
        done = story.mailer().send_due(at, at + 60_000)
        assert done["failed"] == 1
        at += 26 * HOUR
    story.mailer().send_due(at, at + 60_000)
    [item] = story.sent()
    assert (item["status"], item["failure"]) == ("failed", "gave up")
    assert "earliest" not in item


def test_html_is_escaped_and_the_link_is_in_it(story: Story) -> None:
    story.take("alice", START)
    [one] = story.tick(START + 60_000)
    simple = one["Content"]["Simple"]
    shard = simple["Body"]["Html"]["Data"]
    assert "CAD &lt;Pro&gt;" in shard
    assert "CAD <Pro>" not in shard
    headers = {header["Name"]: header["Value"] for header in simple["Headers"]}
    link = headers["List-Unsubscribe"].strip("<>")
    assert link.startswith("https://api.example/v1/unsubscribe/")
    assert link in shard
    assert link in text(one)


def test_unsubscribing_and_back(story: Story, api: Api) -> None:
    story.take("alice", START)
    [one] = story.tick(START + 60_000)
    headers = {h["Name"]: h["Value"] for h in one["Content"]["Simple"]["Headers"]}
    token = headers["List-Unsubscribe"].strip("<>").rpartition("/")[2]
    route = "/v1/unsubscribe/{token}"
    status, shard, sent = api.call(f"GET {route}", {"token": token}, key=None)
    assert (status, "No more mail" in shard) == (200, True)
    assert "<b>CAD &lt;Pro&gt;</b> at <b>Acme" in shard
    assert sent["content-type"].startswith("text/html")
    # RFC 8058: one click, a form body.
    status, shard, _ = api.call(
        f"POST {route}",
        {"token": token},
        "List-Unsubscribe=One-Click",
        key=None,
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert (status, "no more e-mail" in shard) == (200, True)
    story.take("bob", START + 2 * HOUR)
    assert story.tick(START + 2 * HOUR + 60_000) == []
    assert api.call(f"POST {route}/undo", {"token": token}, key=None)[0] == 200
    story.take("carol", START + 4 * HOUR)
    assert "admin@acme.example" in to(story.tick(START + 4 * HOUR + 60_000))
    another = ("y" if token[0] == "x" else "x") + token[1:]
    assert api.call(f"POST {route}", {"token": another}, key=None)[0] == 404


def test_a_late_record_is_still_notified(story: Story) -> None:
    """Its record comes after the mail about its time was sent."""
    for number, seat_id in enumerate(("alice", "bob", "carol", "dave")):
        story.take(seat_id, START + number)
    story.tick(START + 60_000)
    key = seat_key(story.id, "erin")
    denial = denial_key(story.id, key, utc_hour(START // 1000))
    with pytest.raises(problems.HardCapReached):
        made = Change("k", "late", START + 30_000)
        story.dynamodb.run(activation.take(story.id, Holder("erin", "Erin"), made, 1))
    story._deliver(denial, None, START + HOUR)
    late = story.tick(START + 2 * HOUR)
    assert len(late) == 2
    assert all("Erin (erin), 1 attempt" in text(each) for each in late)


def test_a_name_stays_on_its_line() -> None:
    named = mail_text.name_of({"seatId": "a\u2028Purchased: 999", "seatName": "A\u2029B"})
    assert named == "A B (a Purchased: 999)"


# --- Mail that comes back -------------------------------------------------------------------------

BOUNCE = {
    "eventType": "Bounce",
    "bounce": {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "bouncedRecipients": [
            {
                "emailAddress": "owner@vendor.example",
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 user unknown",
            }
        ],
    },
}
SUPPRESSED = {
    "eventType": "Bounce",
    "bounce": {
        "bounceType": "Permanent",
        "bounceSubType": "OnAccountSuppressionList",
        "bouncedRecipients": [{"emailAddress": "owner@vendor.example"}],
    },
}
TRANSIENT = {
    "eventType": "Bounce",
    "bounce": {
        "bounceType": "Transient",
        "bounceSubType": "MailboxFull",
        "bouncedRecipients": [{"emailAddress": "owner@vendor.example"}],
    },
}
COMPLAINT = {
    "eventType": "Complaint",
    "complaint": {
        "complainedRecipients": [{"emailAddress": "owner@vendor.example"}],
        "complaintFeedbackType": "abuse",
    },
}


def came_back(tags: dict[str, str], shown: dict[str, Any], message: str = "m") -> dict[str, Any]:
    """A message of the queue, as EventBridge hands SES's event over."""
    given = {name: [value] for name, value in tags.items()}
    given["ses:configuration-set"] = ["mail"]
    event = {"source": "aws.ses", "detail": {**shown, "mail": {"messageId": "x", "tags": given}}}
    return {"messageId": message, "eventSource": "aws:sqs", "body": json.dumps(event)}


def tags_of(one: dict[str, Any]) -> dict[str, str]:
    return {tag["Name"]: tag["Value"] for tag in one["EmailTags"]}


@pytest.fixture
def owners_mail(story: Story) -> dict[str, Any]:
    """A mail to the account owner that was sent, as SES was asked for it."""
    for number, seat_id in enumerate(("alice", "bob", "carol")):
        story.take(seat_id, START + 1_000 + number)
    mails = story.tick(START + 60_000)
    [one] = [each for each in mails if to([each]) == ["owner@vendor.example"]]
    return one


def on_record(story: Story, api: Api) -> list[tuple[str, str, str | None]]:
    result = api.call("GET /v1/entitlements/{entitlementId}/emails", {"entitlementId": story.id})[
        1
    ]["items"]
    return [(each["to"], each["status"], each["failure"]) for each in result]


def test_a_mail_names_what_it_is_known_again_by(owners_mail: dict[str, Any]) -> None:
    assert owners_mail["ConfigurationSetName"] == "mail"
    for name, value in tags_of(owners_mail).items():
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,256}", name), "SES's reference, MessageTag"
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,256}", value), "SES's reference, MessageTag"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([BOUNCE], ("bounced", "Permanent bounce, General: smtp; 550 5.1.1 user unknown")),
        ([SUPPRESSED], ("bounced", "Permanent bounce, OnAccountSuppressionList")),
        ([COMPLAINT], ("complained", "complaint: abuse")),
        # Not for good: a full mailbox, somebody who is absent.
        ([TRANSIENT], ("sent", "Transient bounce, MailboxFull")),
        (
            [TRANSIENT, BOUNCE],
            ("bounced", "Permanent bounce, General: smtp; 550 5.1.1 user unknown"),
        ),
        (
            [BOUNCE, TRANSIENT],
            ("bounced", "Permanent bounce, General: smtp; 550 5.1.1 user unknown"),
        ),
        # At least once, and in any order.
        ([BOUNCE, BOUNCE], ("bounced", "Permanent bounce, General: smtp; 550 5.1.1 user unknown")),
        ([BOUNCE, COMPLAINT], ("complained", "complaint: abuse")),
        ([COMPLAINT, BOUNCE], ("complained", "complaint: abuse")),
    ],
)
def test_mail_that_came_back_is_on_record(
    story: Story,
    api: Api,
    owners_mail: dict[str, Any],
    shown: list[dict[str, Any]],
    expected: tuple[str, str],
) -> None:
    for each in shown:
        with acting_as("NotifyRole", story.dynamodb):
            assert not returned_mail.process(
                story.dynamodb, [came_back(tags_of(owners_mail), each)]
            )
    result = on_record(story, api)
    assert ("owner@vendor.example", *expected) in result
    assert ("admin@acme.example", "sent", None) in result, "the others are as they were"


def test_what_cannot_be_put_on_record_comes_again_alone(
    story: Story, api: Api, owners_mail: dict[str, Any]
) -> None:
    records = [
        {"messageId": "broken", "body": "{}"},
        came_back(tags_of(owners_mail), BOUNCE, "good"),
        # A mail that is no longer kept: nothing is made of it.
        came_back({"entitlementId": "ent_gone", "mail": "1-accountOwner"}, BOUNCE, "gone"),
        # Somebody else sends by the same configuration set.
        came_back({"theirs": "x"}, BOUNCE, "not ours"),
    ]
    assert returned_mail.process(story.dynamodb, records) == ["broken"]
    assert "bounced" in {status for _, status, _ in on_record(story, api)}
    assert story.dynamodb.execute(Get(mail_key("ent_gone", 1, "accountOwner"))) is None


def test_a_long_diagnosis_is_cut(story: Story, owners_mail: dict[str, Any]) -> None:
    for each in (BOUNCE, COMPLAINT):
        shown: dict[str, Any] = json.loads(json.dumps(each))
        if each is BOUNCE:
            shown["bounce"]["bouncedRecipients"][0]["diagnosticCode"] = "x" * 100_000
        else:
            shown["complaint"]["complaintFeedbackType"] = "x" * 100_000
        assert not returned_mail.process(story.dynamodb, [came_back(tags_of(owners_mail), shown)])
        reasons = [item.get("returned", {}).get("reason", "") for item in story.sent()]
        assert max(map(len, reasons)) == 500
