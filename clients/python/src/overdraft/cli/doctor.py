"""Whether a stack is well, as far as one can see from outside."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple

from overdraft._requests import Retry
from overdraft.cli.output import ago
from overdraft.errors import Forbidden, NotFound, OverdraftError
from overdraft.vendor import Vendor

ONCE = Retry(attempts=1)
LARGEST_SKEW_SECONDS = 5.0
REPORTS, DELIVERIES = 5, 20


class Finding(NamedTuple):
    """What was checked. `unknown`: it could not be, or there is nothing to check."""

    what: str
    state: Literal["ok", "failed", "unknown"]
    detail: str


def examine(url: str, api_key: str) -> list[Finding]:
    """Check everything; what fails does not keep the rest from being checked."""
    with Vendor(url, api_key, retry=ONCE) as vendor:
        first = list(_reach(vendor))
        if first[0].state == "failed":
            return first
        return [
            *first,
            *_guarded("API key", _key, vendor),
            *_guarded("signed leases", _leases, vendor),
            *_guarded("reports", _reports, vendor),
            *_guarded("webhooks", _webhooks, vendor),
        ]


def _guarded(what: str, check: Any, vendor: Vendor) -> Iterator[Finding]:
    try:
        yield from check(vendor)
    except Forbidden:
        yield Finding(what, "unknown", "this key may not see it")
    except OverdraftError as error:
        yield Finding(what, "failed", str(error))


def _reach(vendor: Vendor) -> Iterator[Finding]:
    """Whether it answers, how fast, and whether both clocks agree."""
    began = time.monotonic()
    try:
        answer = vendor.request("GET", "/health")
    except OverdraftError as error:
        yield Finding("the stack answers", "failed", str(error))
        return
    took = time.monotonic() - began
    yield Finding("the stack answers", "ok", f"in {took * 1000:.0f} ms")
    date = answer.headers.get("date")
    if date:
        skew = (datetime.now(timezone.utc) - parsedate_to_datetime(date)).total_seconds()
        is_well = abs(skew) <= LARGEST_SKEW_SECONDS + took
        detail = "both clocks agree" if is_well else f"this machine is {skew:+.0f} s off"
        yield Finding("clock", "ok" if is_well else "failed", detail)


def _key(vendor: Vendor) -> Iterator[Finding]:
    found = next(vendor.list_entitlements(), None)
    yield Finding("API key", "ok", "it is known" + ("" if found else "; nothing was sold yet"))


def _leases(vendor: Vendor) -> Iterator[Finding]:
    try:
        keys = vendor.request("GET", "/.well-known/jwks.json").body.get("keys", [])
    except NotFound:
        keys = []
    detail = f"{len(keys)} public keys" if keys else "not set up: seats have no signed leases"
    yield Finding("signed leases", "ok" if keys else "unknown", detail)


def _reports(vendor: Vendor) -> Iterator[Finding]:
    latest = list(itertools.islice(vendor.list_reports(), REPORTS))
    failed = [each for each in latest if each["status"] == "failed"]
    if failed:
        detail = f"{failed[0]['reportId']} failed: {failed[0]['failure']}"
        yield Finding("reports", "failed", detail)
    elif latest:
        made = ago(latest[0]["createdAt"], datetime.now(timezone.utc))
        yield Finding("reports", "ok", f"the latest was requested {made} ago")
    else:
        yield Finding("reports", "unknown", "none was made yet")


def _webhooks(vendor: Vendor) -> Iterator[Finding]:
    endpoints = list(vendor.list_webhooks())
    if not endpoints:
        yield Finding("webhooks", "unknown", "no endpoints")
    for each in endpoints:
        what = f"webhook {each['webhookId']}"
        if not each["enabled"]:
            reason = each["disabledReason"]
            yield Finding(what, "failed" if reason else "unknown", f"off: {reason or 'by hand'}")
            continue
        failed = vendor.list_deliveries(each["webhookId"], status="failed")
        count = len(list(itertools.islice(failed, DELIVERIES)))
        more = "or more " if count == DELIVERIES else ""
        yield Finding(
            what,
            "failed" if count else "ok",
            f"{count} {more}failed deliveries" if count else "nothing failed",
        )
