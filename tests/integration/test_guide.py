"""Every request and answer of the guides, run in their order against the stack."""

import json
from typing import Any

from local.api import Answer
from shared.clock import now_ms, to_rfc3339
from tests.integration.conftest import CheckedApi
from tests.support.waiting import wait_for
from tools.openapi_examples import Example, examples

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
    "serverTime",
    "effectiveAt",
    "scheduledChangeId",
    "sessionId",
    "session",
    "idleAt",
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


def compare_members(shown: Any, given: Any, where: str) -> None:
    """Compare the members of an answer, and of the first item of each list, but no values."""
    if isinstance(shown, dict) and isinstance(given, dict):
        assert set(shown) == set(given), f"{where}: other members"
        for name, value in shown.items():
            # What happened, by type: these are no members.
            if name != "events":
                compare_members(value, given[name], f"{where}/{name}")
    elif isinstance(shown, list) and isinstance(given, list):
        for one, other in zip(shown[:1], given[:1], strict=False):
            compare_members(one, other, f"{where}/0")
    elif shown is not None and given is not None:
        assert type(shown) is type(given), where


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
    credential = headers.pop("Authorization", None)
    caller = api.with_credential(credential) if credential else api
    sent = json.loads(body) if body.strip() else None
    return caller.call(method, path, sent, headers=headers)


def learn(body: dict[str, Any], known: dict[str, str]) -> None:
    """Keep what later examples refer to."""
    if "session" in body:
        known["$SESSION"] = body["session"]
    elif "activationId" in body:
        known["$ACTIVATION"] = body["activationId"]
    elif "linkId" in body:
        known["$TOKEN"] = body["url"].partition("#")[2]
    elif str(body.get("requestId", "")).startswith("req_"):
        known["$ASKED"] = body["requestId"]
    elif str(body.get("webhookId", "")).startswith("whk_") and "url" in body:
        known["$WEBHOOK"] = body["webhookId"]
    elif "scheduledChangeId" in body:
        known["$SCHEDULED"] = body["scheduledChangeId"]
    elif "trueUpId" in body:
        known["$TRUE_UP"] = body["trueUpId"]
    elif "reportId" in body:
        known["$REPORT"] = body["reportId"]
    elif str(body.get("keyId", "")).startswith("lic_"):
        known["$LICENSE_KEY"] = body["key"]
    elif "seatCount" in body and body["externalId"] is None:
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
    known = {
        "$API_KEY": api._credential.removeprefix("Bearer "),
        # Nobody may be called but this machine.
        "https://hooks.acme.example/licenses": "http://127.0.0.1:9/licenses",
        # In the future, whenever this runs.
        "2029-01-01T00:00:00Z": to_rfc3339(now_ms() + 300 * 86_400_000),
    }
    shown = examples()
    assert len(shown) >= 60
    for each in shown:
        request = fill_in(each.request, known)
        if each.guide == "every-call":
            given = check_members(api, request, each)
        elif request.startswith("GET "):
            check_read(api, request, each.status, each.answer)
            continue
        else:
            given = check(api, request, each.status, each.answer)
        if given.status in (201, 202):
            learn(given.body, known)
        if given.body and "deliveryId" in given.body:
            known["$DELIVERY"] = given.body["deliveryId"]


def check_members(api: CheckedApi, request: str, example: Example) -> Answer:
    """Send a request whose answer differs from run to run, and compare what it consists of."""
    answers = [send(api, request)]

    def is_there() -> bool:
        """Whether what the stream leads to, such as a delivery, is on record."""
        answers.append(send(api, request))
        return answers[-1].status not in (404, 409)

    # A month is decided about once history has everything: 409 until then.
    if answers[-1].status in (404, 409):
        wait_for(is_there)
    given = answers[-1]
    assert given.status == example.status, (request, given.body)
    compare_members(json.loads(example.answer), given.body, request.splitlines()[0])
    return given
