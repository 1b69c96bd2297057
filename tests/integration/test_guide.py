"""Every request and answer of the guides, run in their order against the stack."""

import json
import re
from typing import Any

from local.api import Answer
from tests.integration.conftest import CheckedApi
from tests.support.waiting import wait_for
from tools import ROOT

# In the order in which a reader meets them: later examples use what earlier ones created.
GUIDES = (
    "access",
    "entitlements",
    "seats",
    "usage-limits",
    "changing-entitlements",
    "history",
    "events-and-webhooks",
    "portal",
    "reports",
)
BLOCK = re.compile(r"^```(http|json \d+)\n(.*?)^```$", re.M | re.S)
# What differs from run to run.
VOLATILE = {
    "entitlementId",
    "activationId",
    "seatKey",
    "keyId",
    "key",
    "createdAt",
    "updatedAt",
    "activatedAt",
    "lastSeenAt",
    "leaseExpiry",
    "nextLeaseExpiry",
    "instance",
    "nextPageToken",
    "periodStart",
    "periodEnd",
    "correctedAt",
    "reportId",
    "changedAt",
    "linkId",
    "expiresAt",
    "url",
    "embedUrl",
    "requestId",
    "requestedAt",
    "erasedAt",
}


def examples() -> list[tuple[str, int, str]]:
    """(request, status, answer) of every example."""
    blocks = [
        block
        for guide in GUIDES
        for block in BLOCK.findall((ROOT / f"docs/guides/{guide}.md").read_text())
    ]
    requests, answers = blocks[::2], blocks[1::2]
    assert [kind for kind, _ in requests] == ["http"] * len(answers)
    return [
        (request, int(kind.split()[1]), answer)
        for (_, request), (kind, answer) in zip(requests, answers, strict=True)
    ]


def compare(shown: Any, given: Any, where: str) -> None:
    if isinstance(shown, dict):
        assert list(shown) == list(given), f"{where}: members or their order differ"
        for name, value in shown.items():
            if name not in VOLATILE:
                compare(value, given[name], f"{where}/{name}")
            else:
                assert type(value) is type(given[name]), f"{where}/{name}"
    elif isinstance(shown, list):
        assert len(shown) == len(given), where
        for number, value in enumerate(shown):
            compare(value, given[number], f"{where}/{number}")
    else:
        assert shown == given, where


def fill_in(text: str, known: dict[str, str]) -> str:
    for name, value in known.items():
        text = text.replace(name, value)
    return text


def send(api: CheckedApi, request: str) -> Answer:
    """Send an example's request; who holds seats is asked again until the names are there."""
    head, _, body = request.partition("\n\n")
    first, *lines = head.splitlines()
    method, path = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    caller = api.with_credential(headers.pop("Authorization"))
    sent = json.loads(body) if body.strip() else None
    if method == "GET":
        wait_for(lambda: caller.call(method, path).body["items"][0]["seatId"])
    return caller.call(method, path, sent, headers=headers)


def learn(body: dict[str, Any], known: dict[str, str]) -> None:
    """Keep what later examples refer to."""
    if "activationId" in body:
        known["$ACTIVATION"] = body["activationId"]
    elif str(body.get("keyId", "")).startswith("lic_"):
        known["$LICENSE_KEY"] = body["key"]
    elif "seatCount" in body:
        known["$ENTITLEMENT"] = body["entitlementId"]


def test_the_guide_says_what_happens(api: CheckedApi) -> None:
    known = {"$API_KEY": api._credential.removeprefix("Bearer ")}
    shown = examples()
    assert len(shown) >= 12
    for request, status, answer in shown:
        given = send(api, fill_in(request, known))
        assert given.status == status, given.body
        if answer.strip():
            expected = json.loads(answer)
            if "items" in expected:  # holders are listed in the order of their keys
                [holder] = given.body["items"]
                names = ("seatId", "seatName", "attributes")
                expected["items"][0] |= {name: holder[name] for name in names}
            compare(expected, given.body, request.splitlines()[0])
        if status == 201:
            learn(given.body, known)
