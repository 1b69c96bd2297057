"""The vendor's desk over HTTP: create, read, change, list; keys; versions; repeated requests."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from tests.integration.conftest import ENTITLEMENT, CheckedApi, Customer
from tests.support.waiting import wait_for


def test_defaults(api: CheckedApi) -> None:
    body = {"product": "P", "customer": {"name": "C"}, "seatCount": 5}
    answer = api.call("POST", "/v1/entitlements", body)
    created = answer.body
    assert answer.status == 201
    assert answer.headers["location"] == f"/v1/entitlements/{created['entitlementId']}"
    assert answer.headers["etag"] == '"1"'
    expected = {
        "sku": None,
        "overdraftSeatLimit": {"type": "none"},
        "hardCap": 5,
        "usageLimits": [],
        "leasePeriod": None,
        "thresholds": [80, 100],
        "unitPrice": None,
        "timeZone": "UTC",
        "validUntil": None,
        "status": "active",
        "seats": {"used": 0, "purchased": 5, "hardCap": 5, "overdraftUsed": 0, "available": 5},
    }
    assert {name: created[name] for name in expected} == expected
    assert api.expect(200, "GET", answer.headers["location"]) == created


def test_everything_that_is_sent_is_stored(api: CheckedApi) -> None:
    body = {
        "product": "CAD Pro",
        "sku": "CAD-PRO-100",
        "customer": {"name": "Zoë & Söhne", "externalId": "0015g00000XyZ"},
        "contacts": {
            "customerAdmin": {
                "name": "Ann",
                "email": "ann@example.com",
                "phone": "+49 (0)30 90-1820 ext. 12",
            },
            "accountOwner": {"name": None, "email": "bob@example.com", "phone": None},
        },
        "seatCount": 99,
        "overdraftSeatLimit": {"type": "percentage", "value": 15},
        "usageLimits": [],
        "leasePeriod": "P1DT12H",
        "thresholds": [120, 50],
        "unitPrice": {"amount": "30.00", "currency": "USD", "per": "month"},
        "timeZone": "America/New_York",
        "validFrom": "2026-01-01T00:00:00.5+01:00",
        "validUntil": "2099-12-31T23:59:59Z",
        "status": "active",
    }
    created = api.expect(201, "POST", "/v1/entitlements", body)
    assert created["hardCap"] == 99 + 14  # 14.85 seats, rounded down
    changed = {"thresholds": [50, 120], "validFrom": "2025-12-31T23:00:00Z"}
    assert {name: created[name] for name in body} == {**body, **changed}


def test_merge_patch(api: CheckedApi, customer: Customer) -> None:
    api.expect(
        200,
        "PATCH",
        customer.path,
        {
            "sku": "S",
            "contacts": {"accountOwner": {"email": "a@example.com"}},
            "leasePeriod": "PT1H",
        },
    )
    patched = api.expect(
        200,
        "PATCH",
        customer.path,
        {
            "sku": None,
            "contacts": {"customerAdmin": {"email": "b@example.com"}},
            "thresholds": [90],
        },
    )
    assert patched["sku"] is None
    assert patched["contacts"]["accountOwner"]["email"] == "a@example.com"
    assert patched["contacts"]["customerAdmin"]["email"] == "b@example.com"
    assert patched["thresholds"] == [90]
    assert patched["leasePeriod"] == "PT1H"
    back = api.expect(200, "PATCH", customer.path, {"thresholds": None, "leasePeriod": None})
    assert (back["thresholds"], back["leasePeriod"]) == ([80, 100], None)
    whole = api.expect(200, "PATCH", customer.path, {"overdraftSeatLimit": {"type": "none"}})
    assert (whole["overdraftSeatLimit"], whole["hardCap"]) == ({"type": "none"}, 2)
    headers = {"content-type": "application/merge-patch+json"}
    assert api.call("PATCH", customer.path, {"sku": "T"}, headers=headers).status == 200


def test_versions(api: CheckedApi, customer: Customer) -> None:
    first = api.call("GET", customer.path).headers["etag"]
    customer.take("a")
    assert api.call("GET", customer.path).headers["etag"] == first, "use is no change of terms"
    matched = api.call("PATCH", customer.path, {"sku": "x"}, headers={"if-match": first})
    assert matched.status == 200
    assert matched.headers["etag"] != first
    for stale in (first, '"99"', f"W/{matched.headers['etag']}"):
        answer = api.call("PATCH", customer.path, {"sku": "y"}, headers={"if-match": stale})
        assert (answer.status, answer.body["type"].rpartition("/")[2]) == (
            412,
            "precondition-failed",
        )
        assert api.call("DELETE", customer.path, headers={"if-match": stale}).status == 412
    for malformed in ("2", '"2', "abc", '"1" "2"'):
        headers = {"if-match": malformed}
        assert api.call("PATCH", customer.path, {"sku": "y"}, headers=headers).status == 400
    several = f'"99", {matched.headers["etag"]}'
    assert (
        api.call("PATCH", customer.path, {"sku": "z"}, headers={"if-match": several}).status == 200
    )
    assert api.call("DELETE", customer.path, headers={"if-match": "*"}).status == 204


def test_a_patch_that_changes_nothing_makes_no_version(api: CheckedApi, customer: Customer) -> None:
    before = api.call("GET", customer.path)
    after = api.call("PATCH", customer.path, {"seatCount": 2, "sku": None})
    assert after.body == before.body
    assert after.headers["etag"] == before.headers["etag"]


def test_concurrent_patches_all_take_effect(api: CheckedApi, customer: Customer) -> None:
    patches = [
        {"sku": "S"},
        {"product": "P2"},
        {"customer": {"externalId": "E"}},
        {"seatCount": 7},
        {"thresholds": [10]},
        {"timeZone": "Asia/Tokyo"},
    ]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda patch: api.call("PATCH", customer.path, patch), patches))
    assert {answer.status for answer in answers} == {200}
    now = api.expect(200, "GET", customer.path)
    assert (now["sku"], now["product"], now["seatCount"]) == ("S", "P2", 7)
    assert (now["customer"]["externalId"], now["thresholds"]) == ("E", [10])
    assert now["timeZone"] == "Asia/Tokyo"


def test_creating_once(api: CheckedApi) -> None:
    headers = {"idempotency-key": f"create-{time.time_ns()}"}
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(
                lambda _: api.call("POST", "/v1/entitlements", ENTITLEMENT, headers=headers),
                range(6),
            )
        )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["entitlementId"] for answer in answers}) == 1
    other = api.call("POST", "/v1/entitlements", {**ENTITLEMENT, "sku": "x"}, headers=headers)
    assert other.body["type"].endswith("/idempotency-conflict")
    elsewhere = api.call(
        "POST", "/v1/api-keys", {"name": "k", "scopes": ["report"]}, headers=headers
    )
    assert elsewhere.body["type"].endswith("/idempotency-conflict")


def test_a_key_made_twice_is_the_same_key(api: CheckedApi, customer: Customer) -> None:
    headers = {"idempotency-key": f"key-{time.time_ns()}"}
    path = f"{customer.path}/license-keys"
    first = api.call("POST", path, {"name": "k"}, headers=headers).body
    again = api.call("POST", path, {"name": "k"}, headers=headers).body
    assert first == again
    assert api.with_credential(f"License {again['key']}").call("GET", customer.path).status == 200


def test_keys_are_listed_without_the_key_and_revoked(api: CheckedApi, customer: Customer) -> None:
    for path, body in (
        ("/v1/api-keys", {"name": "listed", "scopes": ["report", "activate", "report"]}),
        (f"{customer.path}/license-keys", {"name": "listed"}),
    ):
        created = api.expect(201, "POST", path, body)
        key = created.pop("key")
        assert key.startswith(created["keyId"] + ".")

        def result(path: str = path) -> list[Any]:
            return list(api.expect(200, "GET", f"{path}?limit=100")["items"])

        assert created in wait_for(result)
        assert key.partition(".")[2] not in str(result())
        assert api.call("DELETE", f"{path}/{created['keyId']}").status == 204
        assert api.call("DELETE", f"{path}/{created['keyId']}").status == 404
        assert created not in result()
        scheme = "License" if "license" in path else "Bearer"
        revoked = api.with_credential(f"{scheme} {key}")
        assert revoked.call("GET", customer.path).status == 401


def test_the_license_keys_of_a_deleted_entitlement_can_be_listed_and_revoked(
    api: CheckedApi, customer: Customer
) -> None:
    assert api.call("DELETE", customer.path).status == 204
    keys = f"{customer.path}/license-keys"
    [result] = api.expect(200, "GET", keys)["items"]
    assert api.call("POST", keys, {}).status == 404
    assert api.call("DELETE", f"{keys}/{result['keyId']}").status == 204


def test_a_license_key_is_revoked_only_through_its_entitlement(
    api: CheckedApi, customer: Customer
) -> None:
    other = Customer(api)
    wrong = f"{other.path}/license-keys/{customer.key_id}"
    assert api.call("DELETE", wrong).status == 404
    assert api.call("DELETE", f"/v1/api-keys/{customer.key_id}").status == 404
    assert customer.license.call("GET", customer.path).status == 200


def test_lists(api: CheckedApi, scoped: dict[str, CheckedApi]) -> None:
    name = f"Listed {time.time_ns()}"
    external = f"ext-{time.time_ns()}"
    customers = [Customer(api, customer={"name": name, "externalId": external}) for _ in range(5)]
    newest = [customer.id for customer in reversed(customers)]
    query = f"/v1/entitlements?customer={quote(name)}"

    def ids(path: str) -> list[str]:
        return [item["entitlementId"] for item in api.expect(200, "GET", path)["items"]]

    assert wait_for(lambda: ids(query) == newest)
    assert ids(f"/v1/entitlements?customer={external}") == newest
    first = api.expect(200, "GET", f"{query}&limit=2")
    second = api.expect(200, "GET", f"{query}&limit=2&pageToken={first['nextPageToken']}")
    third = api.expect(200, "GET", f"{query}&limit=2&pageToken={second['nextPageToken']}")
    pages = [[item["entitlementId"] for item in page["items"]] for page in (first, second, third)]
    assert pages == [newest[:2], newest[2:4], newest[4:]]
    # A filtered page ends early where much was read in vain: there may be empty ones to the end.
    token = third["nextPageToken"]
    while token:
        page = api.expect(200, "GET", f"{query}&limit=2&pageToken={token}")
        assert page["items"] == []
        token = page["nextPageToken"]
    token = first["nextPageToken"]
    for path, caller in (
        (f"{query}&status=active&pageToken={token}", api),  # another query
        (f"/v1/api-keys?pageToken={token}", api),  # another list
        (f"{query}&pageToken={token}", scoped["manage"]),  # another caller
        (f"{query}&pageToken={token[:-2]}AA", api),  # changed
    ):
        assert caller.call("GET", path).status == 400
    api.expect(200, "PATCH", customers[0].path, {"status": "suspended"})
    api.expect(
        200,
        "PATCH",
        customers[1].path,
        {"validFrom": "2020-01-01T00:00:00Z", "validUntil": "2021-01-01T00:00:00Z"},
    )
    api.expect(200, "PATCH", customers[2].path, {"validFrom": "2099-01-01T00:00:00Z"})
    api.call("DELETE", customers[3].path)
    for number, status in enumerate(("suspended", "expired", "not_yet_valid", "deleted", "active")):
        expected = [customers[number].id]
        path = f"{query}&status={status}"

        def agrees(path: str = path, expected: list[str] = expected) -> bool:
            return ids(path) == expected

        wait_for(agrees)
    assert len(ids(query)) == 4, "deleted ones are listed only when asked for"


def test_read_change_one_member_and_send_it_back(api: CheckedApi) -> None:
    """Computed members are accepted as they were read, and refused by name with another value."""
    customer = Customer(api, usageLimits=[{"key": "exports", "limit": 10}])
    customer.take("a")
    read = api.expect(200, "GET", customer.path)
    customer.take("b")
    read["seatCount"] = 7
    read["usageLimits"][0]["limit"] = 50
    changed = api.expect(200, "PATCH", customer.path, read)
    assert (changed["seatCount"], changed["hardCap"], changed["seats"]["used"]) == (7, 8, 2)
    assert changed["usageLimits"][0]["hardCap"] == 50
    for wrong, pointer in (
        ({"hardCap": 99}, "/hardCap"),
        ({"entitlementId": "ent_other"}, "/entitlementId"),
        ({"createdAt": "2026-01-01T00:00:00Z"}, "/createdAt"),
        (
            {"usageLimits": [{"key": "exports", "limit": 1, "hardCap": 99}]},
            "/usageLimits/0/hardCap",
        ),
    ):
        answer = api.call("PATCH", customer.path, wrong)
        assert (answer.status, answer.body["errors"][0]["pointer"]) == (400, pointer)
    assert api.expect(200, "GET", customer.path)["hardCap"] == 8


def test_a_date_is_midnight_utc(api: CheckedApi) -> None:
    customer = Customer(api, validFrom="2026-01-01", validUntil="2099-02-01")
    assert customer.entitlement["validFrom"] == "2026-01-01T00:00:00Z"
    assert customer.entitlement["validUntil"] == "2099-02-01T00:00:00Z"
    assert api.call("GET", f"{customer.path}/denials?from=2026-11-01&to=2026-11-02").status == 200
    for wrong in ("2026-02-30", "2026-1-1", "20260101"):
        answer = api.call("GET", f"{customer.path}/denials?from={wrong}")
        assert answer.status == 400
        assert "a date such as" in answer.body["errors"][0]["detail"]
