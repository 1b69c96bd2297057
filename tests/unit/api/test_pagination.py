"""Every list is whole wherever DynamoDB ends a page, which it does after 1 MB of any items."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from functions.notify import lockstep, search_index
from shared.api.routes import ROUTES
from shared.clock import now_ms, to_rfc3339
from shared.dynamodb.keys import (
    SEATS,
    Key,
    change_key,
    correction_key,
    delivery_key,
    denial_key,
    episode_key,
    event_key,
    mail_key,
    overdraft_key,
    period_key,
    person_key,
    report_key,
    seat_record_key,
    true_up_line_key,
    usage_meter,
)
from shared.dynamodb.requests import Item, Put
from shared.history import rankings
from shared.history.buckets import BUCKET_MS, month_name
from shared.history.changes import ChangeRecord
from shared.history.level import Level
from tests.support.requests import BOOTSTRAP_KEY
from tests.support.tables import RoleClient
from tests.unit.conftest import Api

COUNT = 7
HOUR_MS = 4 * BUCKET_MS
E = "/v1/entitlements/{entitlementId}"


EVENT_ID = f"evt_{'a' * 24}"
DELIVERY: Item = {
    "status": "failed",
    "type": "t",
    "isTest": False,
    "attempts": [],
    "attemptCount": 0,
    "event": "{}",
}


class Full:
    """An entitlement with several items of every kind that is listed."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.now = now_ms()
        usage = [{"key": "exports", "limit": 100}]
        self.id = api.create(usageLimits=usage)
        ids = [self.id]
        for number in range(COUNT - 1):
            until = to_rfc3339(self.now + (number + 2) * HOUR_MS)
            ids.append(api.create(customer={"name": f"Customer {number}"}, validUntil=until))
        api.call(
            f"PATCH {E}", {"entitlementId": self.id}, {"validUntil": to_rfc3339(self.now + HOUR_MS)}
        )
        for number, each in enumerate(ids):
            self.make_searchable(each, number)
            api.call(f"PATCH {E}/follow-up", {"entitlementId": each}, {"note": "a note"})
            api.call("POST /v1/console/sessions", body={"apiKey": BOOTSTRAP_KEY}, key=None)
        path = {"entitlementId": self.id}
        for number in range(COUNT):
            for route, body in (
                ("POST /v1/webhooks", {"url": f"http://127.0.0.1:9/{number}"}),
                ("POST /v1/api-keys", {"name": f"k{number}", "scopes": ["report"]}),
                (f"POST {E}/license-keys", {}),
                (f"POST {E}/portal-links", {"role": "viewer"}),
                (f"POST {E}/seat-requests", {"seats": number + 1}),
                (
                    f"POST {E}/scheduled-changes",
                    {
                        "effectiveAt": to_rfc3339(self.now + (number + 1) * HOUR_MS),
                        "changes": {"sku": f"later {number}"},
                    },
                ),
                (f"PATCH {E}/follow-up", {"note": f"note {number}"}),
            ):
                status, answer, _ = api.call(route, path, body)
                assert status in (200, 201), answer
        for number in range(COUNT):
            for key, item in self.evidence(number):
                api.dynamodb.execute(Put(key, item))
        found = api.call("GET /v1/webhooks", query={"limit": "1"})[1]
        self.webhook_id = found["items"][0]["webhookId"]
        self.deliver_to_all()
        for number in range(COUNT):
            key = delivery_key(self.webhook_id, self.now - number, f"evt_{number}")
            api.dynamodb.execute(Put(key, DELIVERY))

    def deliver_to_all(self) -> None:
        """One event, delivered to every endpoint."""
        for each in self.read("GET /v1/webhooks", 100):
            key = delivery_key(each["webhookId"], self.now, EVENT_ID)
            self.api.dynamodb.execute(Put(key, DELIVERY))

    def make_searchable(self, entitlement_id: str, number: int) -> None:
        """What the stream makes of it; the last three were in overdraft before the month began."""
        send = self.api.dynamodb
        [failure] = lockstep.run(send, [search_index.write_words(entitlement_id, [])], at_once=1)
        assert failure is None
        send.execute(Put(person_key("a@b.example", entitlement_id), {}))
        send.execute(rankings.denied(entitlement_id, self.now, number + 1))
        if number < COUNT - 3:
            month = month_name(self.now)
            send.execute(rankings.overdrawn(entitlement_id, month, 10 * number + 1))
        for meter in (SEATS, "usage#exports"):
            send.execute(Put(overdraft_key(entitlement_id, meter), {"since": 1}))

    def evidence(self, number: int) -> Iterator[tuple[Key, Item]]:
        """What the stream leaves."""
        at = self.now - (number + 1) * HOUR_MS
        used = {"used": 3, "seatCount": 2, "hardCap": 3}
        seat_key = f"seat{number:08d}"
        yield seat_record_key(self.id, seat_key), {"seatKey": seat_key, "seatId": "a"}
        hour = to_rfc3339(at)[:13]
        for meter in (SEATS, "usage#exports"):
            yield (
                denial_key(self.id, seat_key, hour, meter),
                {
                    "seatKey": seat_key,
                    "usageKey": "exports",
                    "quantity": 1,
                    "attempts": 1,
                    "firstAt": at,
                    "lastAt": at,
                    **used,
                },
            )
            yield (
                episode_key(self.id, meter, at),
                {
                    "start": at,
                    "start_seq": number,
                    "end": at + 1,
                    "peak": 3,
                    "overdraft_ms": 1,
                    "overdraft_seat_ms": 1,
                },
            )
        counted = {
            "used": 1,
            "purchased": 2,
            "hardCap": 3,
            "periodStart": at // 1000,
            "periodEnd": at // 1000 + 1,
        }
        yield (
            period_key(self.id, "exports", -COUNT + number),
            {
                **counted,
                "number": -COUNT + number,
            },
        )
        yield (
            correction_key(self.id, "exports", at, number),
            {
                **counted,
                "quantity": 1,
                "reason": "r",
                "at": at,
                "actor": "k",
            },
        )
        level, period = Level(number, 10, 12), (at // 1000, None)
        record = ChangeRecord(
            number, at, "consumed", "k", "r", level, None, at, {}, {}, (), usage="exports"
        )
        record = record._replace(quantity=1, period=period)
        for offset in (0, 1):  # every second change has a time of its own
            yield (
                change_key(self.id, at + offset, number, meter=usage_meter("exports")),
                record._replace(occurred=at if offset else None).to_item(),
            )
        event = {
            "id": f"evt_{number}",
            "type": "entitlement.expired",
            "timestamp": to_rfc3339(at),
            "data": {"entitlementId": self.id},
        }
        yield event_key(self.id, at, f"evt_{number}"), {"event": json.dumps(event)}
        yield (
            mail_key(self.id, at, "accountOwner"),
            {
                "audience": "accountOwner",
                "to": "a@b.example",
                "status": "sent",
                "from": at,
                "until": at,
            },
        )
        line_id = f"20{number + 10}-01.EUR.seats"
        yield (
            true_up_line_key(self.id, line_id),
            {
                "lineId": line_id,
                "decision": "billed",
                "amount": "1.00",
                "decidedAt": at,
                "decidedBy": "k",
                "line": {"lineId": line_id},
                "earlier": [],
            },
        )
        for report_id, kind, of_kind in (
            (f"rep_{number}", "sales", "REPORT"),
            (f"tru_{number}", "trueUp", "TRUE_UP"),
        ):
            yield (
                report_key(report_id),
                {
                    "reportId": report_id,
                    "kind": kind,
                    "status": "queued",
                    "period": {},
                    "until": 1,
                    "end": 1,
                    "filters": {},
                    "formats": [],
                    "sendsEmail": False,
                    "requestedBy": "k",
                    "createdAt": at,
                    "listKey": of_kind,
                    "listSort": f"{at:013d}#{report_id}",
                },
            )

    def read(self, route: str, limit: int, **query: str) -> list[Any]:
        """A whole list, page by page."""
        path = {
            "entitlementId": self.id,
            "webhookId": self.webhook_id,
            "key": "exports",
            "deliveryId": f"dlv_{self.now}_{EVENT_ID}",
        }
        items: list[Any] = []
        token: str | None = ""
        for _ in range(100):
            asked = {**query, "limit": str(limit), **({"pageToken": token} if token else {})}
            status, answer, _ = self.api.call(route, path, query=asked)
            assert status == 200, answer
            assert len(answer["items"]) <= limit
            items += answer["items"]
            token = answer["nextPageToken"]
            if token is None:
                return items
        raise AssertionError("the list never ended")


@pytest.fixture(scope="module")
def full(module_api: Api) -> Full:
    return Full(module_api)


LISTS: list[tuple[str, dict[str, str]]] = [
    ("GET /v1/entitlements", {}),
    ("GET /v1/entitlements", {"search": "c p"}),
    ("GET /v1/entitlements", {"seatId": "a@b.example"}),
    ("GET /v1/entitlements", {"sort": "denials"}),
    ("GET /v1/entitlements", {"sort": "overdraft"}),
    ("GET /v1/entitlements", {"sort": "renewal"}),
    (f"GET {E}/seats", {}),
    (f"GET {E}/license-keys", {}),
    (f"GET {E}/portal-links", {}),
    (f"GET {E}/seat-requests", {}),
    (f"GET {E}/scheduled-changes", {}),
    (f"GET {E}/usage/{{key}}/periods", {}),
    (f"GET {E}/usage/{{key}}/corrections", {}),
    (f"GET {E}/usage/{{key}}/dated-consumptions", {}),
    (f"GET {E}/overdrafts", {}),
    (f"GET {E}/overdrafts", {"usageKey": "exports"}),
    (f"GET {E}/denials", {}),
    (f"GET {E}/denials", {"usageKey": "exports"}),
    (f"GET {E}/follow-up/entries", {}),
    (f"GET {E}/emails", {}),
    (f"GET {E}/events", {}),
    (f"GET {E}/changes", {}),
    (f"GET {E}/changes", {"type": "license_key.created"}),
    ("GET /v1/audit", {}),
    ("GET /v1/audit", {"type": "webhook.created"}),
    ("GET /v1/webhooks", {}),
    ("GET /v1/webhooks/{webhookId}/deliveries", {}),
    ("GET /v1/deliveries/{deliveryId}", {}),
    ("GET /v1/webhooks/{webhookId}/deliveries", {"status": "failed"}),
    ("GET /v1/api-keys", {}),
    ("GET /v1/console/sessions", {}),
    ("GET /v1/follow-ups", {}),
    ("GET /v1/follow-ups", {"due": "false"}),
    ("GET /v1/reports", {}),
    ("GET /v1/true-ups", {}),
    (f"GET {E}/true-up/decisions", {}),
]
# Lists that are not pages of one kind of item: where they are tested instead.
ELSEWHERE = {
    f"GET {E}/activations": "test_pools: shards, read by key",
    "GET /v1/true-ups/{trueUpId}/lines": "test_statement_lines: lines of a file",
    f"GET {E}/usage": "one item for each of at most 48 limits, read by key",
}


def test_no_list_is_left_out() -> None:
    lists = {
        route
        for route, operation in ROUTES.items()
        if operation.scopes and any(name.endswith("List") for _, name in operation.answers)
    }
    assert lists == {route for route, _ in LISTS} | set(ELSEWHERE)


@pytest.mark.parametrize(("route", "query"), LISTS, ids=str)
def test_a_list_is_whole_wherever_a_page_ends(
    full: Full, route: str, query: dict[str, str]
) -> None:
    dynamodb = full.api.dynamodb
    assert isinstance(dynamodb, RoleClient)
    whole = full.read(route, 100, **query)
    assert len(whole) >= COUNT
    for most in (1, 2, 3):
        dynamodb.most_a_page = most
        try:
            for limit in (1, 3, 100):
                assert full.read(route, limit, **query) == whole, (most, limit)
        finally:
            dynamodb.most_a_page = None


def test_the_denials_of_one_person_are_whole_among_those_of_others(full: Full) -> None:
    """Two people in one partition: pages end anywhere, and each has their own."""
    api, entitlement_id = full.api, full.api.create()
    people = ("seat00000012", "seat00000021")
    for number in range(12):
        at = full.now - (number // 2 + 1) * HOUR_MS
        key = denial_key(entitlement_id, people[number % 2], to_rfc3339(at)[:13])
        denial: Item = {"seatKey": people[number % 2], "attempts": 1, "used": 3, "seatCount": 2}
        api.dynamodb.execute(Put(key, {**denial, "hardCap": 3, "firstAt": at, "lastAt": at}))
    assert isinstance(api.dynamodb, RoleClient)
    for most in (1, 2, 5, None):
        api.dynamodb.most_a_page = most
        for limit in ("1", "4", "100"):
            hours, query = list[str](), {"seatKey": people[0], "limit": limit}
            while True:
                status, page, _ = api.call(
                    f"GET {E}/denials", {"entitlementId": entitlement_id}, query=query
                )
                assert status == 200
                assert {each["seatKey"] for each in page["items"]} <= {people[0]}
                hours += [each["hour"] for each in page["items"]]
                if page["nextPageToken"] is None:
                    break
                query["pageToken"] = page["nextPageToken"]
            assert hours == sorted(set(hours), reverse=True)
            assert len(hours) == 6
    api.dynamodb.most_a_page = None
