"""The portal's data through the deployed stack: the same numbers as the vendor's own API has."""

from typing import Any

import pytest
import urllib3

from local.emulator import ACCESS_KEY, REGION, SECRET_KEY
from local.stack import Stack
from shared import mail_links
from shared.aws_json import Credentials
from shared.clock import from_rfc3339, now_ms
from shared.dynamodb.client import DynamoDBClient
from tests.integration.conftest import CheckedApi, Customer
from tests.support.waiting import wait_for

LIMIT = {"key": "exports", "limit": 10, "overdraftLimit": {"type": "absolute", "value": 5}}


@pytest.fixture(scope="module")
def busy(api: CheckedApi) -> Customer:
    """2 purchased, 3 held, two people turned away three times, 12 exports; all of it in history."""
    customer = Customer(
        api,
        usageLimits=[LIMIT],
        timeZone="Asia/Kolkata",
        contacts={"accountOwner": {"name": "Bo", "email": "bo@vendor.example"}},
    )
    for seat_id in ("a", "b", "c"):
        customer.take(seat_id)
    for seat_id in ("d", "d", "e"):
        customer.take(seat_id, 409)
    usage = f"{customer.path}/usage/exports"
    for key, quantity in (("k1", 8), ("k2", 4), ("k3", 9)):
        customer.license.call(
            "POST", usage, {"quantity": quantity}, headers={"idempotency-key": key}
        )

    def is_told() -> bool:
        kinds = {"seats": "", "exports": "&usageKey=exports"}
        shown = {
            name: api.expect(200, "GET", f"{customer.path}/usage-history?interval=day{more}")
            for name, more in kinds.items()
        }
        denied = {n: sum(i["deniedAttempts"] for i in t["items"]) for n, t in shown.items()}
        used = {n: t["items"][-1]["closing"] if t["items"] else 0 for n, t in shown.items()}
        return denied == {"seats": 3, "exports": 1} and used == {"seats": 3, "exports": 12}

    wait_for(is_told)
    return customer


def test_the_state_is_that_of_the_entitlement(api: CheckedApi, busy: Customer) -> None:
    shown = busy.portal().expect(200, "GET", "/v1/portal")
    sold = api.expect(200, "GET", busy.path)
    for name in ("entitlementId", "product", "sku", "status", "seats", "timeZone", "leasePeriod"):
        assert shown[name] == sold[name], name
    assert shown["usage"] == api.expect(200, "GET", f"{busy.path}/usage")["items"]
    assert (shown["customer"], shown["accountOwner"]) == ("Acme Corp", "Bo")
    assert "bo@vendor.example" not in str(shown)
    assert "unitPrice" not in shown


@pytest.mark.parametrize("usage_key", [None, "exports"])
def test_the_graph_is_the_history(api: CheckedApi, busy: Customer, usage_key: str | None) -> None:
    more = f"&usageKey={usage_key}" if usage_key else ""
    history = f"{busy.path}/usage-history?interval=15m&limit=100{more}"
    link = busy.portal()
    for _ in range(3):  # a quarter-hour may begin between two looks
        graph = link.expect(200, "GET", f"/v1/portal/graph?{more[1:]}")
        shown = api.expect(200, "GET", history)["items"]
        start = from_rfc3339(graph["from"])
        known = [
            (start + 900 * n, *(graph[name][n] for name in ("lowest", "highest", "closing")))
            for n, value in enumerate(graph["highest"])
            if value is not None
        ]
        expected = [
            (from_rfc3339(each["from"]), each["lowest"], each["highest"], each["closing"])
            for each in shown
        ]
        if known == expected:
            break
    assert known == expected
    assert graph["interval"] == "PT15M"
    assert [(each["purchased"], each["hardCap"]) for each in graph["limits"]] == [
        (10, 15) if usage_key else (2, 3)
    ]
    marks = graph["denials"]
    assert sum(each["attempts"] for each in marks) == (1 if usage_key else 3)
    if len(marks) == 1:  # else an hour has begun between the denials
        assert marks[0]["people"] == (1 if usage_key else 2)
    coarse = link.expect(200, "GET", f"/v1/portal/graph?from=2026-01-01T00:00:00Z{more}")
    assert coarse["interval"] == "P1D"
    assert max(value or 0 for value in coarse["highest"]) == (12 if usage_key else 3)
    assert sum(each["attempts"] for each in coarse["denials"]) == (1 if usage_key else 3)


def test_who_was_turned_away(api: CheckedApi, busy: Customer) -> None:
    shown = busy.portal().expect(200, "GET", "/v1/portal/denials")
    assert (shown["attempts"], shown["people"]) == (3, 2)
    assert [(each["seatId"], each["attempts"]) for each in shown["persons"]] == [("d", 2), ("e", 1)]
    assert sum(each["attempts"] for each in shown["days"]) == 3
    days = api.expect(200, "GET", f"{busy.path}/usage-history?interval=day")["items"]
    assert [(each["people"], each["attempts"]) for each in shown["days"]] == [
        (each["deniedSeats"], each["deniedAttempts"]) for each in days if each["deniedAttempts"]
    ]


def test_who_holds_a_seat(api: CheckedApi, busy: Customer) -> None:
    seats = busy.portal().expect(200, "GET", "/v1/portal/seats")
    held = api.expect(200, "GET", busy.seats)
    assert seats["items"] == held["items"]
    link = busy.portal()
    first = link.expect(200, "GET", "/v1/portal/seats?limit=2")
    rest = link.expect(200, "GET", f"/v1/portal/seats?limit=2&pageToken={first['nextPageToken']}")
    assert first["items"] + rest["items"] == held["items"]
    assert rest["nextPageToken"] is None


def test_the_version_changes_with_every_change(api: CheckedApi) -> None:
    customer = Customer(api, usageLimits=[LIMIT])
    link = customer.portal()
    seen = {link.expect(200, "GET", "/v1/portal")["version"]}

    def has_changed() -> bool:
        version = link.expect(200, "GET", "/v1/portal")["version"]
        is_new = version not in seen
        seen.add(version)
        return is_new

    for seat_id in ("a", "b", "c"):
        customer.take(seat_id)
        assert has_changed()
    customer.take("d", 409)
    wait_for(has_changed)
    customer.license.call(
        "POST", f"{customer.path}/usage/exports", {"quantity": 1}, headers={"idempotency-key": "a"}
    )
    assert has_changed()
    api.expect(200, "PATCH", customer.path, {"sku": "new"})
    assert has_changed()
    assert not has_changed()


def test_an_admin_releases_and_a_viewer_does_not(api: CheckedApi, customer: Customer) -> None:
    taken = customer.take("a")
    seat = f"{customer.seats}/{taken['activationId']}"
    assert customer.portal("viewer").call("DELETE", seat).status == 403
    assert api.expect(200, "GET", customer.path)["seats"]["used"] == 1
    link = customer.link("admin")
    admin = api.with_credential(f"Portal {link['url'].partition('#')[2]}")
    assert admin.call("DELETE", seat).status == 204
    assert api.expect(200, "GET", customer.path)["seats"]["used"] == 0
    other = Customer(api)
    foreign = other.take("a")
    answer = admin.call("DELETE", f"{other.seats}/{foreign['activationId']}")
    assert answer.status == 404
    assert api.expect(200, "GET", other.path)["seats"]["used"] == 1


def test_what_is_asked_for_becomes_an_event_and_is_listed(api: CheckedApi, busy: Customer) -> None:
    body = {"seats": 8, "message": "=We grow."}
    asked = busy.portal().expect(201, "POST", f"{busy.path}/seat-requests", body)
    result = api.expect(200, "GET", f"{busy.path}/seat-requests")["items"]
    assert result[0] == asked
    assert (asked["seats"], asked["message"]) == (8, "=We grow.")


def test_what_became_of_a_request_is_told_back(api: CheckedApi) -> None:
    customer = Customer(api, contacts={"accountOwner": {"email": "owner@vendor.example"}})
    portal = customer.portal()
    requests = f"{customer.path}/seat-requests"
    asked = portal.expect(201, "POST", requests, {"seats": 3, "requester": "Ann"})
    assert (asked["status"], asked["requester"], asked["answeredAt"]) == ("open", "Ann", None)
    wait_for(lambda: api.expect(200, "GET", f"{customer.path}/follow-up")["reason"] == "request")
    path = f"{requests}/{asked['requestId']}"
    answered = api.expect(200, "PATCH", path, {"status": "declined", "note": "Not this year."})
    assert answered["answeredAt"]
    assert portal.expect(200, "GET", requests)["items"] == [answered]
    assert portal.call("PATCH", path, {"status": "open"}).status == 403
    reopened = api.expect(200, "PATCH", path, {"status": "open"})
    assert (reopened["status"], reopened["note"], reopened["answeredBy"]) == (
        "open",
        "Not this year.",
        None,
    )
    # Fewer seats than were asked for win nothing; as many answer the request.
    api.expect(200, "PATCH", customer.path, {"seatCount": 3})
    api.expect(200, "PATCH", customer.path, {"seatCount": 5})
    wait_for(lambda: portal.expect(200, "GET", requests)["items"][0]["answeredBy"] == "purchase")
    wait_for(lambda: api.expect(200, "GET", f"{customer.path}/follow-up")["state"] == "won")
    entries = api.expect(200, "GET", f"{customer.path}/follow-up/entries")["items"]
    assert [each["reason"] for each in entries] == ["purchase", "request"]
    other = Customer(api).portal()
    assert other.call("GET", requests).status == 404
    assert api.call("PATCH", f"{requests}/req_unknown", {"status": "open"}).status == 404
    assert api.call("PATCH", path, {"status": "lost"}).status == 400


def test_a_denial_opens_the_follow_up(api: CheckedApi) -> None:
    customer = Customer(api, seatCount=1, overdraftSeatLimit={"type": "none"})
    customer.take("a")
    customer.take("b", 409)
    wait_for(lambda: api.expect(200, "GET", f"{customer.path}/follow-up")["reason"] == "denial")
    api.expect(200, "PATCH", f"{customer.path}/follow-up", {"state": "dismissed"})
    customer.take("c", 409)
    wait_for(lambda: len(api.expect(200, "GET", f"{customer.path}/denials")["items"]) == 2)
    assert api.expect(200, "GET", f"{customer.path}/follow-up")["state"] == "dismissed"


def test_a_deleted_entitlement_is_shown_as_deleted(api: CheckedApi) -> None:
    customer = Customer(api)
    link = customer.portal()
    assert api.call("DELETE", customer.path).status == 204
    assert link.expect(200, "GET", "/v1/portal")["status"] == "deleted"
    answer = link.call("POST", f"{customer.path}/seat-requests", {"seats": 1})
    assert answer.status == 404


def test_the_page_and_its_files(stack: Stack, customer: Customer) -> None:
    """As a browser loads them; the bytes are those that travel."""
    http = urllib3.PoolManager()
    size = 0
    page = http.request("GET", f"{stack.api_url}/portal", decode_content=False)
    assert page.status == 200
    size += len(page.data)
    text = page.data.decode()
    names: list[Any] = [part.split('"')[0] for part in text.split('"portal/')[1:]]
    assert {name.rpartition(".")[2] for name in names} == {"js", "css"}
    for name in names:
        file = http.request(
            "GET",
            f"{stack.api_url}/portal/{name}",
            decode_content=False,
            headers={"accept-encoding": "br, gzip"},
        )
        assert (file.status, file.headers["content-encoding"]) == (200, "br")
        size += len(file.data)
    assert size < 150_000
    embedded = http.request("GET", f"{stack.api_url}/portal/embed")
    assert "frame-ancestors http://127.0.0.1:*" in embedded.headers["content-security-policy"]
    assert customer.link()["url"].startswith(f"{stack.api_url}/portal#plk_")


def test_a_link_of_an_e_mail_looks_and_does_nothing(
    stack: Stack, anonymous: CheckedApi, busy: Customer
) -> None:
    """Each function asks for what it may read: whoever may do nothing with it does not know it."""
    table = DynamoDBClient(
        stack.outputs["TableName"],
        region=REGION,
        endpoint=stack.emulator.url,
        credentials=Credentials(ACCESS_KEY, SECRET_KEY),
    )
    address = "bo@vendor.example"
    token = table.run(mail_links.new_token(busy.id, "accountOwner", address, now_ms() // 1000))
    link = anonymous.with_credential(f"Portal {token}")
    shown = link.expect(200, "GET", "/v1/portal")
    assert (shown["entitlementId"], shown["role"]) == (busy.id, "viewer")
    link.expect(200, "GET", "/v1/portal/seats")
    link.expect(200, "GET", f"{busy.path}/changes")
    [held, *_] = link.expect(200, "GET", "/v1/portal/seats?limit=1")["items"]
    link.expect(401, "DELETE", f"{busy.path}/activations/{held['activationId']}")
    link.expect(401, "POST", f"{busy.path}/activations", {"seatId": "x"})
    link.expect(403, "GET", f"{busy.path}/license-keys")
