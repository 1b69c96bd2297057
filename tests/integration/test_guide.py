"""Every request and answer of the guides, run in their order against the stack."""

import json
from typing import Any

from local.api import Answer
from tests.integration.conftest import CheckedApi
from tests.support.waiting import wait_for
from tools.openapi_examples import examples

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
    "at",
    "summary",
    "changeId",
    "heldSince",
}


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
    """Send an example's request."""
    head, _, body = request.partition("\n\n")
    first, *lines = head.splitlines()
    method, path = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    caller = api.with_credential(headers.pop("Authorization"))
    sent = json.loads(body) if body.strip() else None
    return caller.call(method, path, sent, headers=headers)


def learn(body: dict[str, Any], known: dict[str, str]) -> None:
    """Keep what later examples refer to."""
    if "activationId" in body:
        known["$ACTIVATION"] = body["activationId"]
    elif str(body.get("keyId", "")).startswith("lic_"):
        known["$LICENSE_KEY"] = body["key"]
    elif "seatCount" in body:
        known["$ENTITLEMENT"] = body["entitlementId"]


def check(api: CheckedApi, request: str, status: int, shown: str) -> Answer:
    """Send a request, and compare its answer with the one that is shown."""
    given = send(api, request)
    assert given.status == status, given.body
    if shown.strip():
        expected = json.loads(shown)
        if "/activations" in request and "items" in expected:
            # Holders are listed in the order of their keys.
            [holder] = given.body["items"]
            assert holder["seatId"] is not None
            names = ("seatId", "seatName", "attributes")
            expected["items"][0] |= {name: holder[name] for name in names}
        compare(expected, given.body, request.splitlines()[0])
    return given


def check_read(api: CheckedApi, request: str, status: int, shown: str) -> None:
    """The same for what is read, which may follow from the stream a moment later."""
    wrong: list[AssertionError] = []

    def agrees() -> bool:
        try:
            check(api, request, status, shown)
        except AssertionError as error:
            wrong.append(error)
            return False
        return True

    wait_for(agrees, what=lambda: str(wrong[-1]))


def test_the_guide_says_what_happens(api: CheckedApi) -> None:
    known = {"$API_KEY": api._credential.removeprefix("Bearer ")}
    shown = examples()
    assert len(shown) >= 12
    for example, status, answer in shown:
        request = fill_in(example, known)
        if request.startswith("GET "):
            check_read(api, request, status, answer)
            continue
        given = check(api, request, status, answer)
        if status == 201:
            learn(given.body, known)
