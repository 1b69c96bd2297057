"""Links to the portal in e-mails: for the address that an e-mail is for, for two weeks, to look."""

import re
from typing import Any

import pytest

from shared import mail_links
from shared.clock import now_ms
from shared.dynamodb.keys import entitlement_key
from shared.dynamodb.requests import Get, Put
from tests.support.stories import HOUR, START, Story
from tests.unit.conftest import Api
from tests.unit.notify.test_emails import story, text, to  # noqa: F401 - a fixture

LINK = re.compile(r"https://api\.example/portal#(\S+)")
E = "/v1/entitlements/{entitlementId}"


def token_in(mail: dict[str, Any]) -> str:
    [token] = LINK.findall(text(mail))
    assert (
        f"https://api.example/portal#{token}" in mail["Content"]["Simple"]["Body"]["Html"]["Data"]
    )
    return str(token)


def status_of(api: Api, token: str, route: str = "GET /v1/portal", **path: str) -> int:
    api.context.credentials._cache.clear()  # as after a minute
    return api.call(route, path, headers={"authorization": f"Portal {token}"})[0]


def mails_of(story: Story) -> dict[str, str]:  # noqa: F811
    """The tokens by address: an overdraft, of which both audiences are notified."""
    for number, seat_id in enumerate(("alice", "bob", "carol")):
        story.take(seat_id, START + number)
    return {to([mail])[0]: token_in(mail) for mail in story.tick(START + 60_000)}


def test_a_link_opens_the_portal_to_look(story: Story, api: Api) -> None:  # noqa: F811
    tokens = mails_of(story)
    assert set(tokens) == {"admin@acme.example", "owner@vendor.example"}
    for token in tokens.values():
        headers = {"authorization": f"Portal {token}"}
        status, shown, _ = api.call("GET /v1/portal", headers=headers)
        assert (status, shown["entitlementId"], shown["role"]) == (200, story.id, "viewer")
        assert status_of(api, token, f"GET {E}/changes", entitlementId=story.id) == 200
        for other in (f"POST {E}/portal-links", f"GET {E}", f"GET {E}/license-keys"):
            assert status_of(api, token, other, entitlementId=story.id) == 403
        assert status_of(api, token, f"GET {E}/changes", entitlementId=api.create()) == 404


def test_a_link_ends_with_its_address(story: Story, api: Api) -> None:  # noqa: F811
    tokens = mails_of(story)
    item = api.dynamodb.execute(Get(entitlement_key(story.id)))
    assert item is not None
    contacts = dict(item["document"]["contacts"])
    contacts["customerAdmin"] = {"name": None, "email": "somebody@acme.example"}
    document = {**item["document"], "contacts": contacts}
    kept = {n: v for n, v in {**item, "document": document}.items() if n not in ("pk", "sk")}
    api.dynamodb.execute(Put(entitlement_key(story.id), kept))
    assert status_of(api, tokens["admin@acme.example"]) == 401
    assert status_of(api, tokens["owner@vendor.example"]) == 200


def test_a_link_ends_after_two_weeks(
    story: Story,  # noqa: F811
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = mails_of(story)["admin@acme.example"]
    later = now_ms() + mail_links.DAYS * 24 * HOUR
    monkeypatch.setattr("shared.api.app.now_ms", lambda: later - 2 * HOUR)
    assert status_of(api, token) == 200
    monkeypatch.setattr("shared.api.app.now_ms", lambda: later)
    api.context.credentials._cache.clear()
    headers = {"authorization": f"Portal {token}"}
    status, problem, _ = api.call("GET /v1/portal", headers=headers)
    assert (status, problem["type"].rpartition("/")[2]) == (401, "link-expired")


def test_nobody_else_can_make_one(story: Story, api: Api) -> None:  # noqa: F811
    token = mails_of(story)["admin@acme.example"]
    key_id, _, secret = token.partition(".")
    start, hour, end = re.fullmatch(r"(plk_mail_.)(\d+)(_.*)", key_id).groups()  # type: ignore[union-attr]
    other = api.create(contacts={"customerAdmin": {"email": "admin@acme.example"}})
    forged = [
        f"{start}{int(hour) + 1}{end}.{secret}",
        f"plk_mail_o{hour}{end}.{secret}",
        f"{start}{hour}_{other.removeprefix('ent_')}.{secret}",
        f"{start}{hour}_aaaaaaaaaaaaaaaa.{secret}",
        f"{key_id}.{'A' * 43}",
        f"plk_mail_x.{secret}",
    ]
    assert [status_of(api, each) for each in forged] == [401] * len(forged)
    assert status_of(api, token) == 200
    # It is no key of another kind either.
    headers = {"authorization": f"License {token}"}
    assert api.call(f"GET {E}", {"entitlementId": story.id}, headers=headers)[0] == 401
