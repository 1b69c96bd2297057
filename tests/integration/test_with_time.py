"""What takes minutes: leases that run out, validity that ends, keys that were revoked.

Begun by the `early` fixture before all other tests of this folder; this file is the last of them.
"""

import re
import time
from typing import Any

from local.receiver import Receiver
from local.stack import Stack
from tests.integration.conftest import CheckedApi, Early
from tests.support.addresses import COMPLAINS
from tests.support.waiting import wait_for


def test_the_scheduled_sweep_frees_a_lease_that_ran_out(api: CheckedApi, early: Early) -> None:
    wait_for(lambda: api.expect(200, "GET", early.path)["seats"]["used"] == 0)
    assert early.license.expect(200, "GET", early.seats)["items"] == []


def test_the_scheduled_sweep_closes_what_has_ended(
    api: CheckedApi, stack: Stack, early: Early
) -> None:
    def closed() -> Any:
        seen = api.expect(200, "GET", early.ending.path)
        return seen["status"] == "expired" and seen["seats"]["used"] == 0

    wait_for(closed)
    early.ending.take("a", 403)


def test_the_schedule_applies_what_is_due(api: CheckedApi, early: Early) -> None:
    def ended() -> list[Any] | None:
        items = api.expect(200, "GET", f"{early.later.path}/scheduled-changes")["items"]
        return None if any(each["status"] == "pending" for each in items) else items

    failed, applied = wait_for(ended, 200)
    assert (failed["status"], applied["status"]) == ("failed", "applied")
    assert "must be after validFrom" in failed["failure"]
    seen = api.expect(200, "GET", early.later.path)
    assert (seen["seatCount"], seen["seats"]["purchased"]) == (5, 5)
    changes = api.expect(200, "GET", f"{early.later.path}/changes")["items"]
    assert [each["type"] for each in changes if each["reason"] == "scheduled"] == [
        "entitlement.updated"
    ]


def test_the_account_owner_gets_e_mail_and_can_unsubscribe(
    api: CheckedApi, anonymous: CheckedApi, stack: Stack, early: Early
) -> None:
    [sent] = wait_for(
        lambda: [
            each
            for each in api.expect(200, "GET", f"{early.mailed.path}/emails")["items"]
            if each["audience"] == "accountOwner" and each["status"] == "sent"
        ],
        200,
    )
    assert (sent["to"], sent["audience"]) == ("owner@vendor.example", "accountOwner")
    assert sent["numbers"]["deniedAttempts"] == 1
    receiver = Receiver()
    receiver.fetch_mails(stack.emulator.url)
    receiver.stop()
    [mail] = [each for each in receiver.mails if each["MessageId"] == sent["messageId"]]
    assert mail["Source"] == "The CAD Company <overdraft@example.com>"
    assert "turned away" in mail["Subject"]
    link = re.search(r"https?://\S+/v1/unsubscribe/\S+", mail["BodyText"])
    assert link
    path = link[0].removeprefix(stack.api_url)
    assert "No more mail" in anonymous.call("GET", path).body
    answer = anonymous.call("POST", path, raw=b"List-Unsubscribe=One-Click")
    assert "no more e-mail" in answer.body


def test_a_complaint_is_on_record(api: CheckedApi, early: Early) -> None:
    def complained() -> list[dict[str, Any]]:
        result = api.expect(200, "GET", f"{early.mailed.path}/emails")["items"]
        return [each for each in result if each["status"] == "complained"]

    [mail] = wait_for(complained, 200)
    assert (mail["to"], mail["failure"]) == (COMPLAINS, "complaint: abuse")
    assert mail["sentAt"]


def test_the_account_owner_gets_e_mail_about_a_usage_limit(
    api: CheckedApi, stack: Stack, early: Early
) -> None:
    [sent] = wait_for(
        lambda: [
            each
            for each in api.expect(200, "GET", f"{early.counted.path}/emails")["items"]
            if each["status"] == "sent"
        ],
        200,
    )
    assert sent["to"] == "counts@vendor.example"
    [shown] = sent["numbers"]["usage"]
    assert (shown["key"], shown["used"], shown["deniedRequests"]) == ("exports", 1, 2)
    assert sent["subject"].endswith("2 requests for 'exports' refused at the hard cap")
    receiver = Receiver()
    receiver.fetch_mails(stack.emulator.url)
    receiver.stop()
    [mail] = [each for each in receiver.mails if each["MessageId"] == sent["messageId"]]
    assert (
        "2 requests for 'exports' were refused, the largest for 1 (2 attempts)." in mail["BodyText"]
    )
    assert "exports: Hard cap" in mail["BodyText"]
    assert "Seats" not in mail["BodyText"]


def test_a_revoked_key_stops_within_a_minute(early: Early) -> None:
    """In every warm process, whatever it has remembered."""
    time.sleep(max(0, 61 - (time.monotonic() - early.revoked_at)))
    for _ in range(10):
        answer = early.revoked.license.call("POST", early.revoked.seats, {"seatId": "b"})
        assert answer.status == 401
