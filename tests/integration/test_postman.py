"""The Postman collection, run as a whole by newman against the deployed stack."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.stack import Stack
from tools import ROOT, build, postman

NEWMAN = ROOT / "tests/support/newman"
# The order in which each finds what it needs: what comes first, and what takes something away.
FIRST = (
    "POST {{baseUrl}}/v1/entitlements",
    "PUT {{baseUrl}}/v1/entitlements/by-external-id/{{externalId}}",
    "POST {{baseUrl}}/v1/webhooks",
)
LAST = ("DELETE", "erase", "rotate-secret", "seats/release")
# What needs a thing that nobody makes in a minute: overdraft that costs something, a delivery, a
# person who was denied.
NOT_HERE = {
    "PUT /v1/entitlements/{entitlementId}/true-up/lines/{lineId}/decision",
    "POST /v1/webhooks/{webhookId}/deliveries/{deliveryId}/resend",
    "GET /v1/webhooks/{webhookId}/deliveries/{deliveryId}",
    "GET /v1/entitlements/{entitlementId}/explain",
}


def story(collection: dict[str, Any]) -> dict[str, Any]:
    """The same requests in another order, to a webhook that this machine has."""
    requests = [each for folder in collection["item"] for each in folder["item"]]

    def place(each: dict[str, Any]) -> tuple[bool, bool, bool, int]:
        request = each["request"]
        name = f"{request['method']} {request['url']['raw']}"
        is_last = any(part in name for part in LAST)
        # A list of the whole stack begins with another test's: its ids are replaced by our own.
        needs_key = request["header"][:1] == [
            {"key": "Authorization", "value": "Bearer {{apiKey}}"}
        ]
        is_of_all = request["method"] == "GET" and name.count("{{") == 1 and needs_key
        # An entitlement is deleted after what is below it.
        depth = -len(request["url"]["path"]) if is_last else 0
        return is_last, not is_of_all, name not in FIRST, depth

    requests.sort(key=place)
    text = json.dumps(requests).replace("https://hooks.acme.example/licenses", "http://127.0.0.1:9")
    return {**collection, "item": [*requests_in_order(json.loads(text))]}


SEEN = """
const seen = pm.response.json().items.some((each) => each.seatId === "alice@acme.com");
if (!seen) {
  pm.execution.setNextRequest(pm.info.requestId);
  setTimeout(() => {}, 250);
}
"""


def waiting_for_the_stream(requests: list[dict[str, Any]]) -> dict[str, Any]:
    """Persons are known from the stream: their list, until it has the one who took a seat."""
    [listed] = [
        each
        for each in requests
        if each["request"]["method"] == "GET"
        and each["request"]["url"]["raw"].endswith("/seats")
        and "/portal/" not in each["request"]["url"]["raw"]
    ]
    script = {"listen": "test", "script": {"type": "text/javascript", "exec": SEEN.splitlines()}}
    return {**listed, "id": "wait", "name": "wait for the stream", "event": [script]}


def requests_in_order(requests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """With what each needs before it.

    `keyId` is that of the key which was created last: both kinds of keys have one. So has a session,
    of which one has been ended before by its id.
    """
    waited = False
    for each in requests:
        url = each["request"]["url"]["raw"]
        if "/seats/" in url and each["request"]["method"] == "POST" and not waited:
            yield waiting_for_the_stream(requests)
            waited = True
        # What is revoked or ended by its id has just been made.
        made_by = {"/{{keyId}}": url.removesuffix("/{{keyId}}"), "/console/session": f"{url}s"}
        makes = next((address for end, address in made_by.items() if url.endswith(end)), None)
        if each["request"]["method"] == "DELETE" and makes:
            yield next(
                other
                for other in requests
                if (other["request"]["method"], other["request"]["url"]["raw"]) == ("POST", makes)
            )
        yield each


def test_every_request_is_answered_as_described(stack: Stack, tmp_path: Path) -> None:
    build.install_node_packages(NEWMAN)
    made = tmp_path / "made.json"
    postman.write(made)
    ordered = story(json.loads(made.read_text()))
    (tmp_path / "story.json").write_text(json.dumps(ordered))
    output = tmp_path / "output.json"
    command = [
        *("npx", "--no-install", "newman", "run", str(tmp_path / "story.json")),
        *(
            "--reporters",
            "json",
            "--reporter-json-export",
            str(output),
            "--timeout-request",
            "60000",
        ),
        *("--env-var", f"baseUrl={stack.api_url}", "--env-var", f"apiKey={stack.bootstrap_key}"),
    ]
    subprocess.run(command, cwd=NEWMAN, capture_output=True, check=False)
    ran = json.loads(output.read_text())["run"]
    failed = {
        failure["error"].get("test", failure["source"]["name"]): failure["error"]["message"]
        for failure in ran["failures"]
    }
    unexpected = [f"{name}: {why}" for name, why in failed.items() if name not in NOT_HERE]
    assert not unexpected, "\n".join(unexpected)
    assert len(ran["executions"]) >= len(ordered["item"]) > 70
