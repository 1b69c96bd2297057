"""A customer with a history: weeks of work, written by the seat core with the times of those days.

A graph, a forecast and a report show nothing on the first day. Every seat here is taken and
released by the same conditional writes as any other, with an earlier time. The stream does the
rest.
"""

import base64
import contextlib
import heapq
import random
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from local.api import Api
from local.emulator import ACCESS_KEY, REGION, SECRET_KEY, LocalError
from shared.audit import Change
from shared.aws_json import Credentials
from shared.clock import EPOCH, day_of, to_rfc3339, zone_of
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import entitlement_key
from shared.dynamodb.requests import Put
from shared.entitlements.model import entitlement_item, seat_terms, usage_terms
from shared.ids import new_id
from shared.problems import Denied
from shared.seats import activation
from shared.seats.encoding import activation_id
from shared.seats.holder import Holder
from shared.seats.release import release_grant
from shared.seats.terms import new_shard_put
from shared.usage import consumption
from shared.usage.terms import new_counter

DAY_MS = 86_400_000
MINUTE_MS = 60_000
ZONE = "Europe/Berlin"
SEED = 4
PATIENCE_SECONDS = 600  # a machine may have other work
LONGEST_WAIT = 4  # how often somebody tries and is denied
RETRY_MS = 25 * MINUTE_MS
DOCUMENT: dict[str, Any] = {
    "product": "CAD Pro",
    "sku": "CAD-PRO-12",
    "customer": {"name": "Acme Corp, Berlin", "externalId": None},
    "contacts": {"customerAdmin": None, "accountOwner": None},
    "seatCount": 12,
    "overdraftSeatLimit": {"type": "absolute", "value": 3},
    "usageLimits": [
        {
            "key": "exports",
            "limit": 200,
            "overdraftLimit": {"type": "percentage", "value": 20},
            "resetSchedule": "monthly",
        }
    ],
    "leasePeriod": None,
    "thresholds": [80, 100],
    "unitPrice": None,
    "timeZone": ZONE,
    "validUntil": None,
    "status": "active",
}


class Past:
    """The past of one entitlement, from `days` before `now_ms` until shortly before it."""

    def __init__(self, url: str, table_name: str, now_ms: int, days: int) -> None:
        self._dynamodb = DynamoDBClient(
            table_name,
            region=REGION,
            endpoint=url,
            credentials=Credentials(ACCESS_KEY, SECRET_KEY),
        )
        self.now_ms = now_ms
        self._days = days
        self._chance = random.Random(SEED)
        self._held: dict[int, str] = {}
        self._number = 0
        self.id = new_id("ent")
        self.denied: list[int] = []
        self.taken = 0

    def _run(self, operation: Any, at: int) -> Any:
        """Drive an operation; its clock says `at`."""
        return self._dynamodb.run(operation, lambda: at, waits=False)

    def _change(self, at: int) -> Change:
        self._number += 1
        return Change("past", f"past-{self._number}", at)

    def create(self, **terms: Any) -> None:
        """Write the entitlement, as it was created then, with other terms than those above."""
        start = self.now_ms - self._days * DAY_MS
        document = {
            **DOCUMENT,
            **terms,
            "validFrom": to_rfc3339(start // 1000 * 1000),
            "notifications": {"accountOwner": [], "customerAdmin": []},
        }
        made = self._change(start + 1_000)
        item = entitlement_item(self.id, document, version=1, created_at=start, now_ms=start)
        self._dynamodb.execute(Put(entitlement_key(self.id), item))
        self._dynamodb.execute(new_shard_put(self.id, seat_terms(document), made))
        for key, limit in usage_terms(document).items():
            self._dynamodb.execute(new_counter(self.id, key, limit, made))

    def live(self) -> None:
        """Everything that happened, in its order."""
        agenda = list(self._plan())
        heapq.heapify(agenda)
        while agenda:
            at, what, person, tries = heapq.heappop(agenda)
            if at >= self.now_ms:
                return
            if what == "come":
                is_denied = not self._come(at, person)
                if is_denied and tries < LONGEST_WAIT:
                    heapq.heappush(agenda, (at + RETRY_MS, what, person, tries + 1))
            elif what == "export":
                self._export(at, person)
            else:
                self._go(at, person)

    def wait_for_history(self, api: Api) -> None:
        """Wait until the stream reader has processed everything.

        Raises:
            LocalError: it has not, within some minutes.
        """
        path = f"/v1/entitlements/{self.id}"
        since = to_rfc3339((self.now_ms - (self._days + 1) * DAY_MS) // 1000 * 1000)
        for _ in range(PATIENCE_SECONDS):
            used = api.expect(200, "GET", path)["seats"]["used"]
            query = f"usage-history?interval=day&limit=100&from={since}"
            days = api.expect(200, "GET", f"{path}/{query}")["items"]
            taken = sum(day["activations"] for day in days)
            if taken == self.taken and days[-1]["closing"] == used:
                return
            time.sleep(1)
        raise LocalError("The stream does not come to its end.")

    def _plan(self) -> Iterator[tuple[int, str, int, int]]:
        """Working days of a team that grows: who comes, exports and goes when."""
        zone = zone_of(ZONE)
        for number in range(1, self._days + 1):
            morning = day_of(self.now_ms - (self._days - number) * DAY_MS, zone)
            if datetime.fromtimestamp(morning / 1000, zone).weekday() > 4:
                continue
            for person in range(8 + 11 * number // self._days):
                if self._chance.random() < 0.12:
                    continue  # not at work that day
                comes = morning + round(self._chance.gauss(9 * 60, 40)) * MINUTE_MS
                goes = morning + round(self._chance.gauss(17 * 60, 45)) * MINUTE_MS
                yield comes, "come", person, 1
                yield goes, "go", person, 1
                if self._chance.random() < 0.6:
                    yield (comes + goes) // 2, "export", person, 1

    def _come(self, at: int, person: int) -> bool:
        """Take a seat; False: there is none."""
        name = f"user{person:02d}"
        seat = Holder(f"{name}@acme.example", f"User {person:02d}", {"device": f"pc-{person:02d}"})
        grant_id = (at - EPOCH * 1000) * 100
        try:
            grant = self._run(activation.take(self.id, seat, self._change(at), grant_id), at)
        except Denied:
            self.denied.append(at)
            return False
        self.taken += 1
        self._held[person] = activation_id(grant.key, grant.held.grant_id)
        return True

    def _go(self, at: int, person: int) -> None:
        held = self._held.pop(person, None)
        if held:
            self._run(release_grant(self.id, held, self._change(at)), at)

    def _export(self, at: int, person: int) -> None:
        if person not in self._held:
            return
        key = base64.urlsafe_b64encode(at.to_bytes(6) + person.to_bytes(6)).decode()
        with contextlib.suppress(Denied):
            self._run(consumption.consume(self.id, "exports", key, 1, self._change(at)), at)
