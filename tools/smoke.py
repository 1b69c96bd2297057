"""`make smoke`: proves a deployed stack in two minutes, through its API alone.

It makes marked test entitlements, walks every function and route, reads back what the stream made
of them, and cleans up. It is the step after `make deploy`: above all it shows on a real account
that transactions pass with conditions on leading keys, which AWS does not document.

`STACK=` names the stack (its outputs tell where its API is), `LOCAL=1` is the one of `make run`;
`API_KEY` in the environment is a key with all scopes, `WEBHOOK=` a URL of yours that answers 2xx.
"""

import argparse
import json
import os
import secrets
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import boto3
import urllib3
from botocore.exceptions import BotoCoreError, ClientError

from local.api import Answer, Api
from shared.api.routes import ROUTES
from tools import ROOT

SECONDS = 120  # effects of the stream and the queues take seconds; in a new stack, longer
PAUSE = 1.0


class Failed(Exception):
    """Something did not hold; the message says what."""


class Check(NamedTuple):
    """One thing that held, or did not."""

    what: str
    seconds: float
    failure: str = ""


class Smoke:
    """One run against one stack. `say` is called with each check when it ends."""

    def __init__(self, api: Api, webhook: str, say: Callable[[Check], None]) -> None:
        self._api = api
        self._webhook = webhook
        self._say = say
        self._mark = f"smoke test {secrets.token_hex(4)}"
        self._made: list[str] = []  # paths to delete, the last first
        self.checks: list[Check] = []
        self._used: set[str] = set()

    def run(self) -> bool:
        """Every check, then the cleaning up; whether all held."""
        try:
            for what, check in (
                ("seats: 2 purchased, a hard cap of 3", self._seats),
                ("transactions: terms, usage limits, keys, links", self._transactions),
                ("a pool of several pages", self._pool),
                ("a usage limit, its cap and a correction", self._usage),
                ("a webhook: created, rotated, tested", self._webhooks),
                ("the stream: history, people, an episode, denials", self._stream),
                ("events arrive at the webhook", self._deliveries),
                ("the portal", self._portal),
                ("a report, made and opened", self._report),
                ("every other route", self._routes),
            ):
                self._check(what, check)
        finally:
            self._check("cleaned up", self._clean)
        return not any(check.failure for check in self.checks)

    def _check(self, what: str, check: Callable[[], None]) -> None:
        started = time.monotonic()
        failure = ""
        try:
            check()
        except (Failed, urllib3.exceptions.HTTPError, KeyError, IndexError, ValueError) as error:
            failure = f"{type(error).__name__}: {error}"
        done = Check(what, time.monotonic() - started, failure)
        self.checks.append(done)
        self._say(done)

    # --- Calls ----------------------------------------------------------------------------------

    def _call(
        self,
        status: int,
        route: str,
        path: dict[str, str] | None = None,
        body: Any = None,
        *,
        api: Api | None = None,
        query: str = "",
        headers: dict[str, str] | None = None,
    ) -> Any:
        """The body of an answer to a route, which must have this status."""
        method, address = route.split(" ")
        for name, value in (path or {}).items():
            address = address.replace("{" + name + "}", value)
        self._used.add(route)
        answer = (api or self._api).call(method, address + query, body, headers=headers)
        if answer.status != status:
            raise Failed(f"{route} answered {answer.status}, not {status}: {_told(answer)}")
        return answer.body

    def _wait(self, what: str, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + SECONDS
        while not (seen := look()):
            if time.monotonic() > deadline:
                raise Failed(f"{what} did not come within {SECONDS} s")
            time.sleep(PAUSE)
        return seen

    def _create(self, **terms: Any) -> dict[str, str]:
        body = {"product": self._mark, "customer": {"name": self._mark}, **terms}
        made = self._call(201, "POST /v1/entitlements", body=body)
        self._made.append(f"/v1/entitlements/{made['entitlementId']}")
        return {"entitlementId": made["entitlementId"]}

    # --- Checks ---------------------------------------------------------------------------------

    def _seats(self) -> None:
        take = f"POST {E}/activations"
        overdraft = {"type": "absolute", "value": 1}
        exports = {"key": "exports", "limit": 2, "overdraftLimit": {"type": "none"}}
        self.entitlement_id = self._create(
            seatCount=2, overdraftSeatLimit=overdraft, usageLimits=[exports], leasePeriod="PT1H"
        )
        key = self._call(201, f"POST {E}/license-keys", self.entitlement_id, {"name": "smoke"})
        self.license = self._api.with_credential(f"License {key['key']}")
        grants = [
            self._call(201, take, self.entitlement_id, {"seatId": f"seat-{n}"}, api=self.license)
            for n in range(3)
        ]
        if [grant["isOverdraftSeat"] for grant in grants] != [False, False, True]:
            raise Failed("the third seat, and it alone, is an overdraft")
        self._call(409, take, self.entitlement_id, {"seatId": "seat-3"}, api=self.license)
        self._call(200, take, self.entitlement_id, {"seatId": "seat-0"}, api=self.license)
        self._call(
            200,
            take,
            self.entitlement_id,
            {"seatId": "seat-0"},
            api=self.license,
            query="?dryRun=true",
        )
        self._call(
            204,
            f"DELETE {E}/activations/{{activationId}}",
            {**self.entitlement_id, "activationId": grants[2]["activationId"]},
            api=self.license,
        )
        result = self._call(200, f"GET {E}/activations", self.entitlement_id, api=self.license)
        if len(result["items"]) != 2:
            raise Failed(f"{len(result['items'])} seats are listed, 2 are held")

    def _transactions(self) -> None:
        """Writes of several items at once, of different kinds: each part by its own leading key."""
        more = [
            {"key": "exports", "limit": 2, "overdraftLimit": {"type": "none"}},
            {"key": "calls", "limit": 100},
        ]
        self._call(200, f"PATCH {E}", self.entitlement_id, {"usageLimits": more, "sku": "SMOKE"})
        once = {"idempotency-key": str(uuid.uuid4())}
        for _ in range(2):  # the second one is answered from the record of the first
            found = self._call(201, f"POST {E}/license-keys", self.entitlement_id, {}, headers=once)
        self._call(
            204,
            f"DELETE {E}/license-keys/{{keyId}}",
            {**self.entitlement_id, "keyId": found["keyId"]},
        )
        self._call(201, f"POST {E}/seat-requests", self.entitlement_id, {"seats": 1})
        self._call(200, f"PATCH {E}/follow-up", self.entitlement_id, {"note": self._mark})

    def _pool(self) -> None:
        pool = self._create(
            seatCount=300, overdraftSeatLimit={"type": "absolute", "value": 20}, leasePeriod="PT1H"
        )
        take = f"POST {E}/activations"
        for number in range(6):
            self._call(201, take, pool, {"seatId": f"seat-{number}"})
        self._wait(
            "the pool's total", lambda: self._call(200, f"GET {E}", pool)["seats"]["used"] == 6
        )
        method, address = f"PATCH {E}".split(" ")
        address = address.replace("{entitlementId}", pool["entitlementId"])
        answer = self._api.call(method, address, {"seatCount": 310})
        if answer.status not in (200, 202):
            raise Failed(f"new terms of a pool are answered {answer.status}: {_told(answer)}")

    def _usage(self) -> None:
        consume = f"POST {E}/usage/{{key}}"
        path, secret = {**self.entitlement_id, "key": "exports"}, secrets.token_hex(8)
        for status, key in ((200, "a"), (200, "b"), (200, "a"), (409, "c")):
            self._call(
                status,
                consume,
                path,
                {"quantity": 1},
                api=self.license,
                headers={"idempotency-key": f"{secret}-{key}"},
            )
        self._call(
            201, f"POST {E}/usage/{{key}}/corrections", path, {"quantity": -1, "reason": self._mark}
        )
        [used] = [
            each["usage"]["used"]
            for each in self._call(200, f"GET {E}/usage", self.entitlement_id)["items"]
            if each["key"] == "exports"
        ]
        if used != 1:
            raise Failed(f"exports: {used} are used, not 1")

    def _webhooks(self) -> None:
        body = {
            "url": self._webhook or "https://example.com/",
            "enabled": bool(self._webhook),
            "entitlementId": self.entitlement_id["entitlementId"],
            "description": self._mark,
        }
        made = self._call(201, "POST /v1/webhooks", body=body)
        self.hook = {"webhookId": made["webhookId"]}
        self._made.append(f"/v1/webhooks/{made['webhookId']}")
        self._call(201, "POST /v1/webhooks/{webhookId}/rotate-secret", self.hook, {})
        self._call(200, "PATCH /v1/webhooks/{webhookId}", self.hook, {"description": "again"})
        if self._webhook:
            self._call(202, "POST /v1/webhooks/{webhookId}/test", self.hook, {})

    def _stream(self) -> None:
        def denied() -> Any:
            return self._call(200, f"GET {E}/denials", self.entitlement_id)["items"]

        def people() -> Any:
            found = self._call(200, f"GET {E}/seats", self.entitlement_id)["items"]
            return len([each for each in found if each["seatId"]]) == 3

        def episode() -> Any:
            found = self._call(200, f"GET {E}/overdrafts", self.entitlement_id)["items"]
            return found and found[0]["end"] and found[0]["distinctSeats"] == 1

        def counted() -> Any:
            items = self._call(200, f"GET {E}/usage-history", self.entitlement_id)["items"]
            return sum(each["activations"] for each in items) == 3

        for what, look in (
            ("the denial", denied),
            ("the people", people),
            ("the episode", episode),
            ("the history", counted),
        ):
            self._wait(what, look)

    def _deliveries(self) -> None:
        if not self._webhook:
            raise Failed("needs a URL of yours that answers 2xx: WEBHOOK=https://...")

        def arrived() -> bool:
            found = self._call(
                200, "GET /v1/webhooks/{webhookId}/deliveries", self.hook, query="?status=succeeded"
            )["items"]
            return bool(found)

        self._call(
            201,
            f"POST {E}/activations",
            self.entitlement_id,
            {"seatId": "seat-9"},
            api=self.license,
        )
        self._wait("a delivery that succeeded", arrived)

    def _portal(self) -> None:
        made = self._call(201, f"POST {E}/portal-links", self.entitlement_id, {"role": "admin"})
        visitor = self._api.with_credential(f"Portal {made['url'].partition('#')[2]}")
        self._call(200, "GET /portal", api=self._api.with_credential(""))
        for route in ("", "/graph", "/denials", "/seats", "/forecast"):
            self._call(200, f"GET /v1/portal{route}", api=visitor)
        self._call(
            204,
            f"DELETE {E}/portal-links/{{linkId}}",
            {**self.entitlement_id, "linkId": made["linkId"]},
        )

    def _report(self) -> None:
        month = time.strftime("%Y-%m", time.gmtime())
        asked = {"period": month, "formats": ["json"], "filters": {"customer": self._mark}}
        made = self._call(202, "POST /v1/reports", body=asked)
        path = {"reportId": made["reportId"]}

        def published() -> Any:
            report = self._call(200, "GET /v1/reports/{reportId}", path)
            if report["status"] == "failed":
                raise Failed(f"the report failed: {report['failure']}")
            return report["files"] if report["status"] == "published" else None

        [file] = self._wait("the report", published)
        self._used.add("GET /v1/report-files/{token}")
        http = urllib3.PoolManager(retries=urllib3.Retry(3, redirect=3))
        opened = http.request("GET", file["url"], timeout=30)
        if opened.status != 200 or "entitlements" not in json.loads(opened.data):
            raise Failed(f"the report's file is answered {opened.status}")

    def _routes(self) -> None:
        """Every other route: none may answer with an internal error or lack a right."""
        values = {
            **self.entitlement_id,
            **self.hook,
            "key": "exports",
            "seat": "seat-0",
            "activationId": "act_AAAAAAAAAAAAAAAAAAAA",
            "keyId": "key_unknown",
            "linkId": "plk_unknown",
            "reportId": "rep_unknown",
            "deliveryId": "dlv_unknown",
            "token": "t" * 40,
            "file": "none.js",
        }
        wrong = []
        for route in ROUTES:
            method, address = route.split(" ")
            if route in self._used or method in ("DELETE", "PATCH"):
                continue
            for name, value in values.items():
                address = address.replace("{" + name + "}", value)
            answer = self._api.call(method, address, {} if method == "POST" else None)
            if answer.status >= 500 or answer.status in (401, 403):
                given = ROUTES[route]
                is_for_others = answer.status == 403 and (
                    not given.scopes or given.only == "session"
                )
                if not is_for_others:
                    wrong.append(f"{route}: {answer.status} {_told(answer)}")
        if wrong:
            raise Failed("; ".join(wrong))

    def _clean(self) -> None:
        left = []
        while self._made:
            address = self._made.pop()
            if self._api.call("DELETE", address).status not in (204, 404):
                left.append(address)
        if left:
            raise Failed(f"could not be deleted: {', '.join(left)}")


E = "/v1/entitlements/{entitlementId}"


def _told(answer: Answer) -> str:
    body = answer.body
    return str(body.get("detail", body) if isinstance(body, dict) else body)[:300]


def _outputs(stack: str) -> dict[str, str]:
    described = boto3.client("cloudformation").describe_stacks(StackName=stack)
    return {each["OutputKey"]: each["OutputValue"] for each in described["Stacks"][0]["Outputs"]}


def _show(check: Check) -> None:
    mark = "FAILED" if check.failure else "ok"
    print(f"{mark:>6}  {check.what} ({check.seconds:.1f} s)", flush=True)
    if check.failure:
        print(f"        {check.failure}", flush=True)


def main() -> None:
    """Run the checks, print what held; exit code 1 when something did not."""
    parser = argparse.ArgumentParser(prog="make smoke", description=__doc__)
    parser.add_argument("--stack", default="overdraft")
    parser.add_argument("--url", default="", help="the API, if not the stack's own address")
    parser.add_argument("--webhook", default="")
    parser.add_argument("--local", action="store_true")
    given = parser.parse_args()
    webhook, key = given.webhook, os.environ.get("API_KEY", "")
    if given.local:
        try:
            details = json.loads((ROOT / ".local/stack.json").read_text())
        except (OSError, ValueError):
            sys.exit("make smoke: no stack runs on this machine: make run")
        from local.receiver import Accepting  # noqa: PLC0415 - the packages of `make run`

        receiver = Accepting()
        url, key, webhook = details["apiUrl"], details["apiKey"], receiver.url
    else:
        url = given.url or _outputs(given.stack)["ApiUrl"]
    if not key:
        sys.exit("make smoke: set API_KEY to a key with all scopes (docs/deploy.md)")
    print(f"{url}")
    smoke = Smoke(Api(url, f"Bearer {key}"), webhook, _show)
    sys.exit(0 if smoke.run() else 1)


if __name__ == "__main__":
    try:
        main()
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"make smoke: {error}")
