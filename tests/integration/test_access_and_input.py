"""Every route, every kind of caller, every kind of bad input: a problem, and nothing changed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.api import Answer
from local.stack import Stack
from shared.api.routes import PORTAL_ROLES, ROUTES, SCOPES, Route
from shared.clock import now_ms, to_rfc3339
from tests.integration.conftest import ENTITLEMENT, CheckedApi, Customer

PROTECTED = {route_key: op for route_key, op in ROUTES.items() if not op.is_open}
FOR_KEYS = [route_key for route_key, op in PROTECTED.items() if op.scopes and op.only != "session"]
BODIES: dict[str, Any] = {
    "takeSeat": {"seatId": "somebody"},
    "consumeUsage": {"quantity": 1},
    "correctUsage": {"quantity": 1, "reason": "a test"},
    "createEntitlement": ENTITLEMENT,
    "updateEntitlement": {"sku": "changed"},
    "putEntitlementByExternalId": {"product": "CAD", "customer": {"name": "A"}, "seatCount": 1},
    "createLicenseKey": {},
    "createPortalLink": {},
    "scheduleChange": {
        "effectiveAt": to_rfc3339(now_ms() + 86_400_000),
        "changes": {"sku": "later"},
    },
    "requestSeats": {"seats": 5},
    "setCustomerCap": {"cap": 1},
    "updateFollowUp": {"state": "contacted"},
    "createReport": {"period": "2026-10", "formats": ["json"]},
    "createTrueUp": {"period": "2026-10", "formats": ["json"]},
    "decideTrueUpLine": {"decision": "billed"},
    "createApiKey": {"name": "k", "scopes": ["report"]},
    "createSession": {"code": "sgn_unknown.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
    "createSignInLink": {},
    # Not enabled: what the other tests do is none of its business.
    "createWebhook": {"url": "http://127.0.0.1:9/", "enabled": False},
    "updateWebhook": {"enabled": False},
    "releaseSeatOf": {"seatId": "nobody"},
    "erasePerson": {"seatId": "nobody"},
    "updateSeatRequest": {"status": "answered"},
    "rotateWebhookSecret": {},
    "testWebhook": {},
    "resendFailedDeliveries": {"since": "2026-01-01T00:00:00Z"},
}
KNOWN: dict[str, str] = {}
WITH_BODY = [route_key for route_key, op in ROUTES.items() if op.body]


def send(
    caller: CheckedApi, customer: Customer, route_key: str, body: Any = None, **more: Any
) -> Answer:
    """A well-formed call of a route, on this customer's entitlement."""
    method, path = route_key.split(" ")
    path = path.replace("{entitlementId}", customer.id)
    path = path.replace("{activationId}", "act_AAAAAAAAAAAAAAAAAAAA")
    path = path.replace("{keyId}", "key_unknown").replace("{seat}", "nobody")
    path = path.replace("{sessionId}", "ses_unknown")
    path = path.replace("{requestId}", "req_unknown")
    path = path.replace("{scheduledChangeId}", "sch_unknown")
    path = path.replace("{trueUpId}", "tru_unknown").replace("{lineId}", "2026-10.EUR.seats")
    path = path.replace("{reportId}", "rep_unknown").replace("{linkId}", "plk_unknown")
    webhook = "whk_unknown" if method == "DELETE" else KNOWN.get("webhookId", "whk_unknown")
    path = path.replace("{key}", "exports").replace("{externalId}", f"of-{customer.id}")
    path = path.replace("{webhookId}", webhook).replace("{deliveryId}", "dlv_unknown")
    route = ROUTES[route_key]
    if route.id == "consumeUsage":
        more["headers"] = {"idempotency-key": "the-same", **more.get("headers", {})}
    if route.body and "raw" not in more and body is None:
        body = BODIES[route.id]
    return caller.call(method, path + more.pop("query", ""), body, **more)


@pytest.fixture(scope="module", autouse=True)
def webhook(api: CheckedApi) -> Iterator[None]:
    """An endpoint that the routes with such an id are called for."""
    created = api.expect(201, "POST", "/v1/webhooks", BODIES["createWebhook"])
    KNOWN["webhookId"] = created["webhookId"]
    yield
    KNOWN.clear()


@pytest.fixture(scope="module")
def same_customer(api: CheckedApi) -> Customer:
    """For what must change nothing: one for all."""
    return Customer(api)


def kind_of(answer: Answer) -> str:
    return str(answer.body["type"]).rpartition("/")[2]


# --- Who may call ---------------------------------------------------------------------------------


@pytest.mark.parametrize("route_key", FOR_KEYS)
@pytest.mark.parametrize("scope", SCOPES)
def test_scopes(scoped: dict[str, CheckedApi], api: CheckedApi, route_key: str, scope: str) -> None:
    customer = Customer(api)
    answer = send(scoped[scope], customer, route_key)
    if scope in PROTECTED[route_key].scopes:
        assert answer.status not in (401, 403), answer.body
    else:
        assert (answer.status, kind_of(answer)) == (403, "forbidden")
        assert PROTECTED[route_key].scopes[0] in answer.body["detail"]


@pytest.mark.parametrize("route_key", [key for key, op in ROUTES.items() if op.only == "session"])
def test_what_is_for_sessions_only(api: CheckedApi, customer: Customer, route_key: str) -> None:
    for caller in (api, customer.license):
        answer = send(caller, customer, route_key)
        assert (answer.status, kind_of(answer)) == (403, "forbidden")


def test_a_session_may_do_what_its_key_may(api: CheckedApi, customer: Customer) -> None:
    key = api._credential.removeprefix("Bearer ")
    made = api.expect(201, "POST", "/v1/console/sessions", {"apiKey": key})
    session = api.with_credential(f"Session {made['session']}")
    assert session.call("GET", customer.path).status == 200
    assert session.call("GET", "/v1/console/session").body["sessionId"] == made["sessionId"]
    answer = session.call("POST", "/v1/console/sign-in-links", {})
    assert (answer.status, kind_of(answer)) == (403, "forbidden")
    assert session.call("DELETE", "/v1/console/session").status == 204


@pytest.mark.parametrize(
    "route_key",
    [key for key, op in PROTECTED.items() if op.portal and not op.scopes and not op.license],
)
def test_what_is_for_portal_links_only(api: CheckedApi, customer: Customer, route_key: str) -> None:
    for caller in (api, customer.license):
        answer = send(caller, customer, route_key)
        assert (answer.status, kind_of(answer)) == (403, "forbidden")


@pytest.mark.parametrize("role", PORTAL_ROLES)
@pytest.mark.parametrize("route_key", PROTECTED)
def test_portal_links(api: CheckedApi, customer: Customer, route_key: str, role: str) -> None:
    """A link opens what its role may, of its own entitlement, and nothing else."""
    link = customer.portal(role)
    answer = send(link, customer, route_key)
    if role not in PROTECTED[route_key].portal:
        assert (answer.status, kind_of(answer)) == (403, "forbidden")
        return
    assert answer.status < 400 or kind_of(answer) == "not-found", answer.body
    if "{entitlementId}" in route_key:
        foreign = send(link, Customer(api), route_key)
        assert (foreign.status, kind_of(foreign)) == (404, "not-found")


@pytest.mark.parametrize("route_key", PROTECTED)
def test_license_keys(api: CheckedApi, customer: Customer, route_key: str) -> None:
    own = send(customer.license, customer, route_key)
    foreign = send(Customer(api).license, customer, route_key)
    if PROTECTED[route_key].license:
        assert own.status < 400 or own.status == 404
        if "{entitlementId}" not in route_key:  # each has its own
            assert foreign.body["entitlementId"] != own.body["entitlementId"]
            return
        assert (foreign.status, kind_of(foreign)) == (404, "not-found")
    else:
        assert kind_of(own) == kind_of(foreign) == "forbidden"


CREDENTIALS = {
    "none": None,
    "empty": "",
    "no scheme": "key_abc.secretsecretsecretsecret",
    "basic": "Basic dXNlcjpwYXNz",
    "no key": "Bearer",
    "no dot": "Bearer " + "a" * 40,
    "unknown": "Bearer key_aaaaaaaaaaaaaaaa." + "s" * 43,
    "bootstrap, wrong secret": "Bearer bootstrap." + "s" * 43,
    "huge": "Bearer key_a." + "s" * 4000,
    "not ASCII": "Bearer key_ä.ssssssssssssssssssssssss".encode().decode("latin-1"),
    "injection": "Bearer KEY#x' OR 1=1",
    "portal": "Portal abcdefghijklmnop",
    "two": "Bearer a, Bearer b",
}


@pytest.mark.parametrize("route_key", PROTECTED)
@pytest.mark.parametrize("name", CREDENTIALS)
def test_bad_credentials(stack: Stack, same_customer: Customer, route_key: str, name: str) -> None:
    credential = CREDENTIALS[name]
    caller = CheckedApi(stack.api_url)
    headers = {} if credential is None else {"authorization": credential}
    answer = send(caller, same_customer, route_key, headers=headers)
    assert (answer.status, kind_of(answer)) == (401, "unauthorized")
    assert "www-authenticate" in answer.headers


def test_a_key_of_the_other_kind(api: CheckedApi, customer: Customer) -> None:
    key = customer.license._credential.removeprefix("License ")
    as_bearer = api.with_credential(f"Bearer {key}")
    assert as_bearer.call("GET", customer.path).status == 401
    api_key = api._credential.removeprefix("Bearer ")
    as_license = api.with_credential(f"License {api_key}")
    assert as_license.call("GET", customer.path).status == 401


def test_the_right_id_with_another_secret(api: CheckedApi, customer: Customer) -> None:
    key = customer.license._credential
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert api.with_credential(wrong).call("GET", customer.path).status == 401


def test_open_routes_need_no_credential(anonymous: CheckedApi) -> None:
    for route_key in ROUTES:
        if route_key not in PROTECTED and "{" not in route_key and not ROUTES[route_key].body:
            assert anonymous.call(*route_key.split(" ")).status == 200
    assert "<script" in anonymous.call("GET", "/docs").body
    assert anonymous.call("GET", "/openapi.json").body["openapi"] == "3.1.0"


def test_unknown_routes_and_methods(anonymous: CheckedApi) -> None:
    assert kind_of(anonymous.call("GET", "/v2/nothing")) == "not-found"
    assert kind_of(anonymous.call("GET", "/")) == "not-found"
    for method, path, allowed in (
        ("PUT", "/v1/entitlements", "GET, HEAD, POST"),
        ("POST", "/v1/entitlements/ent_x", "DELETE, GET, HEAD, PATCH"),
        ("DELETE", "/v1/api-keys", "GET, HEAD, POST"),
    ):
        answer = anonymous.call(method, path)
        assert (answer.status, kind_of(answer)) == (405, "method-not-allowed")
        assert answer.headers["allow"] == allowed


# --- What they send -------------------------------------------------------------------------------

MALFORMED = {
    "not JSON": b"{seatId: 1}",
    "empty": b"",
    "cut off": b'{"seatId": "a',
    "an array": b"[]",
    "a string": b'"x"',
    "a number": b"1",
    "null": b"null",
    "NaN": b'{"seatId": NaN}',
    "Infinity": b'{"seatCount": Infinity}',
    "a huge number": b'{"seatCount": 1e999}',
    "a number of 5,000 digits": b'{"seatCount": ' + b"9" * 5000 + b"}",
    "twice the same member": b'{"seatId": "a", "seatId": "b"}',
    "nested deeply": b'{"a":' * 400 + b"1" + b"}" * 400,
    "nested beyond recursion": b"[" * 3000,
    "a lone surrogate": b'{"seatId": "\\ud800"}',
    "a surrogate in a name": b'{"\\udfff": 1}',
    "a NUL": b'{"seatId": "a\\u0000b"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("route_key", WITH_BODY)
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bodies(
    api: CheckedApi, same_customer: Customer, route_key: str, name: str
) -> None:
    if name == "empty" and ROUTES[route_key].body_optional:
        return
    before = api.expect(200, "GET", same_customer.path)
    headers = {"content-type": "application/json"}
    answer = send(api, same_customer, route_key, raw=MALFORMED[name], headers=headers)
    assert (answer.status, kind_of(answer)) == (400, "invalid-request")
    assert answer.body["errors"][0]["detail"]
    assert api.expect(200, "GET", same_customer.path) == before


@pytest.mark.parametrize("route_key", WITH_BODY)
def test_too_large_and_wrong_type(api: CheckedApi, same_customer: Customer, route_key: str) -> None:
    large = json.dumps({"seatId": "a" * ROUTES[route_key].max_body}).encode()
    answer = send(api, same_customer, route_key, raw=large)
    assert (answer.status, kind_of(answer)) == (413, "payload-too-large")
    for content_type in ("text/plain", "application/xml", "", "application/x-www-form-urlencoded"):
        headers = {"content-type": content_type}
        answer = send(api, same_customer, route_key, raw=b"{}x", headers=headers)
        assert (answer.status, kind_of(answer)) == (415, "unsupported-media-type")


@pytest.mark.parametrize("route_key", FOR_KEYS)
def test_unknown_query_parameters(api: CheckedApi, same_customer: Customer, route_key: str) -> None:
    answer = send(api, same_customer, route_key, query="?dryrun=true")
    assert (answer.status, kind_of(answer)) == (400, "invalid-request")
    assert answer.body["errors"] == [
        {"pointer": "/dryrun", "detail": "unknown parameter", "in": "query"}
    ]
    assert api.expect(200, "GET", same_customer.path)["seats"]["used"] == 0


@pytest.mark.parametrize(
    "route_key", [route_key for route_key in FOR_KEYS if "{entitlementId}" in route_key]
)
@pytest.mark.parametrize(
    "unknown", ["ent_unknown", "x", "LEDGER#a", "..", "%20", "a" * 200, "%C3%A9", "ent%00"]
)
def test_unknown_entitlements(api: CheckedApi, route_key: str, unknown: str) -> None:
    method, path = route_key.split(" ")
    path = path.replace("{entitlementId}", unknown).replace("{keyId}", "lic_x")
    path = path.replace("{linkId}", "plk_x")
    path = path.replace("{activationId}", "act_AAAAAAAAAAAAAAAAAAAA")
    body = BODIES.get(ROUTES[route_key].id)
    answer = super(CheckedApi, api).call(method, path.replace("#", "%23"), body)
    assert answer.status == 404, answer
    assert kind_of(answer) == "not-found"


SEATS: dict[str, tuple[Any, str]] = {
    "nothing": ({}, "/seatId"),
    "null": ({"seatId": None}, "/seatId"),
    "empty": ({"seatId": ""}, "/seatId"),
    "a number": ({"seatId": 7}, "/seatId"),
    "a list": ({"seatId": ["a"]}, "/seatId"),
    "257 bytes": ({"seatId": "a" * 257}, "/seatId"),
    "257 bytes in 129 letters": ({"seatId": "é" * 129}, "/seatId"),
    "a line break": ({"seatId": "a\nb"}, "/seatId"),
    "a C1 control": ({"seatId": "a\x85b"}, "/seatId"),
    "not NFC": ({"seatId": "e\u0301"}, "/seatId"),
    "an unknown field": ({"seatId": "a", "seat_name": "b"}, "/seat_name"),
    "a computed field": ({"seatId": "a", "isOverdraftSeat": False}, "/isOverdraftSeat"),
    "a name of 129 bytes": ({"seatId": "a", "seatName": "n" * 129}, "/seatName"),
    "a name that is a number": ({"seatId": "a", "seatName": 1}, "/seatName"),
    "attributes in a list": ({"seatId": "a", "attributes": []}, "/attributes"),
    "attributes with numbers": ({"seatId": "a", "attributes": {"n": 1}}, "/attributes"),
    "attributes too large": ({"seatId": "a", "attributes": {"n": "x" * 512}}, "/attributes"),
    "attributes nested": ({"seatId": "a", "attributes": {"n": {"m": "x"}}}, "/attributes"),
}


@pytest.mark.parametrize("name", SEATS)
def test_bad_seats(api: CheckedApi, customer: Customer, name: str) -> None:
    body, pointer = SEATS[name]
    answer = customer.license.call("POST", customer.seats, body)
    assert (answer.status, kind_of(answer)) == (400, "invalid-request")
    assert pointer in [error["pointer"] for error in answer.body["errors"]]
    assert api.expect(200, "GET", customer.path)["seats"]["used"] == 0


@pytest.mark.parametrize(
    "seat_id",
    [
        "a",
        "a b",
        "é",
        "日本語",
        "👩‍💻",
        "שלום",
        "a" * 256,
        "é" * 128,
        "null",
        "0",
        "<script>alert(1)</script>",
        "../../etc",
        "LEDGER#x",
        "a/b?c=d&e#f",
        "'; DROP TABLE",
    ],
)
def test_unusual_seat_ids_are_stored_exactly(customer: Customer, seat_id: str) -> None:
    taken = customer.take(seat_id)
    assert taken["seatId"] == seat_id
    assert customer.take(seat_id, 200)["activationId"] == taken["activationId"]
    if seat_id.upper() != seat_id:
        assert customer.take(seat_id.upper())["activationId"] != taken["activationId"]


BAD_TERMS: dict[str, tuple[dict[str, Any], str]] = {
    "a bool for a count": ({"seatCount": True}, "/seatCount"),
    "a float for a count": ({"seatCount": 2.0}, "/seatCount"),
    "a string for a count": ({"seatCount": "2"}, "/seatCount"),
    "below zero": ({"seatCount": -1}, "/seatCount"),
    "no seats": ({"seatCount": None}, "/seatCount"),
    "beyond the largest pool": ({"seatCount": 100_001}, "/seatCount"),
    "a cap beyond the largest pool": (
        {"seatCount": 100, "overdraftSeatLimit": {"type": "absolute", "value": 99_901}},
        "/overdraftSeatLimit",
    ),
    "beyond bounds": ({"seatCount": 10**12}, "/seatCount"),
    "a computed field": ({"hardCap": 99}, "/hardCap"),
    "an id": ({"entitlementId": "ent_x"}, "/entitlementId"),
    "an unknown field": ({"seatcount": 3}, "/seatcount"),
    "an unknown field with null": ({"foo": None}, "/foo"),
    "an unknown field inside": ({"customer": {"name": "A", "nickname": "B"}}, "/customer/nickname"),
    "no product": ({"product": None}, "/product"),
    "an empty product": ({"product": ""}, "/product"),
    "a long product": ({"product": "p" * 201}, "/product"),
    "a control character": ({"product": "a\tb"}, "/product"),
    "no customer's name": ({"customer": {"name": None}}, "/customer/name"),
    "an overdraft without type": ({"overdraftSeatLimit": {"value": 3}}, "/overdraftSeatLimit"),
    "an unknown overdraft": ({"overdraftSeatLimit": {"type": "some"}}, "/overdraftSeatLimit"),
    "an overdraft without value": (
        {"overdraftSeatLimit": {"type": "absolute"}},
        "/overdraftSeatLimit/value",
    ),
    "an overdraft below zero": (
        {"overdraftSeatLimit": {"type": "absolute", "value": -1}},
        "/overdraftSeatLimit/value",
    ),
    "none with a value": (
        {"overdraftSeatLimit": {"type": "none", "value": 1}},
        "/overdraftSeatLimit/value",
    ),
    "half a percent": (
        {"overdraftSeatLimit": {"type": "percentage", "value": 0.5}},
        "/overdraftSeatLimit/value",
    ),
    "a usage limit of nothing": ({"usageLimits": [{"key": "exports"}]}, "/usageLimits/0/limit"),
    "a lease in months": ({"leasePeriod": "P1M"}, "/leasePeriod"),
    "a lease of nothing": ({"leasePeriod": "PT0S"}, "/leasePeriod"),
    "a lease too short": ({"leasePeriod": "PT59S"}, "/leasePeriod"),
    "a lease too long": ({"leasePeriod": "P367D"}, "/leasePeriod"),
    "a lease that is none": ({"leasePeriod": "P"}, "/leasePeriod"),
    "a lease in seconds": ({"leasePeriod": 3600}, "/leasePeriod"),
    "thresholds below one": ({"thresholds": [0]}, "/thresholds/0"),
    "thresholds with a bool": ({"thresholds": [True]}, "/thresholds/0"),
    "too many thresholds": ({"thresholds": list(range(1, 12))}, "/thresholds"),
    "a price as a number": (
        {"unitPrice": {"amount": 30, "currency": "USD", "per": "month"}},
        "/unitPrice/amount",
    ),
    "half a price": ({"unitPrice": {"amount": "30.00"}}, "/unitPrice/currency"),
    "an unknown currency": (
        {"unitPrice": {"amount": "1", "currency": "usd", "per": "month"}},
        "/unitPrice/currency",
    ),
    "digits that are not ASCII": (
        {"unitPrice": {"amount": "١", "currency": "USD", "per": "month"}},
        "/unitPrice/amount",
    ),
    "an overdraft of type null": ({"overdraftSeatLimit": {"type": None}}, "/overdraftSeatLimit"),
    "a zone of the machine's": ({"timeZone": "posixrules"}, "/timeZone"),
    "a time after 9999": ({"validUntil": "9999-12-31T23:59:59-23:59"}, "/validUntil"),
    "an unknown zone": ({"timeZone": "Mars/Olympus"}, "/timeZone"),
    "a path for a zone": ({"timeZone": "../../etc/passwd"}, "/timeZone"),
    "a folder for a zone": ({"timeZone": "America"}, "/timeZone"),
    "a time without zone": ({"validFrom": "2027-01-01T00:00:00"}, "/validFrom"),
    "half a date": ({"validUntil": "2027-01"}, "/validUntil"),
    "no such day": ({"validUntil": "2027-02-30T00:00:00Z"}, "/validUntil"),
    "an end before the beginning": (
        {"validFrom": "2027-02-01T00:00:00Z", "validUntil": "2027-01-01T00:00:00Z"},
        "/validUntil",
    ),
    "an end before now": ({"validUntil": "2001-01-01T00:00:00Z"}, "/validUntil"),
    "no e-mail address": (
        {"contacts": {"accountOwner": {"email": "x"}}},
        "/contacts/accountOwner/email",
    ),
    "no telephone number": (
        {"contacts": {"accountOwner": {"email": "a@b.example", "phone": "call me"}}},
        "/contacts/accountOwner/phone",
    ),
    "an unknown status": ({"status": "expired"}, "/status"),
}


@pytest.mark.parametrize("name", BAD_TERMS)
def test_bad_terms(api: CheckedApi, customer: Customer, name: str) -> None:
    terms, pointer = BAD_TERMS[name]
    before = api.expect(200, "GET", customer.path)
    for answer in (
        api.call("POST", "/v1/entitlements", {**ENTITLEMENT, **terms}),
        api.call("PATCH", customer.path, terms),
    ):
        assert (answer.status, kind_of(answer)) == (400, "invalid-request"), answer.body
        assert pointer in [error["pointer"] for error in answer.body["errors"]], answer.body
    assert api.expect(200, "GET", customer.path) == before


@pytest.mark.parametrize("header", ["", " ", "a b", "ä".encode().decode("latin-1"), "k" * 256])
def test_bad_idempotency_keys(api: CheckedApi, header: str) -> None:
    answer = api.call("POST", "/v1/entitlements", ENTITLEMENT, headers={"idempotency-key": header})
    assert (answer.status, kind_of(answer)) == (400, "invalid-request")
    assert answer.body["errors"][0]["in"] == "header"


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=ten",
        "limit=",
        "limit=1.5",
        "limit=٣",
        "pageToken=x",
        "pageToken=%3D",
        "pageToken=",
        "pageToken=AAAA",
        "pageToken=" + "A" * 500,
    ],
)
@pytest.mark.parametrize(
    "route_key", [r for r in FOR_KEYS if r.startswith("GET") and PROTECTED[r].query]
)
def test_bad_paging(api: CheckedApi, same_customer: Customer, route_key: str, query: str) -> None:
    answer = send(api, same_customer, route_key, query=f"?{query}")
    assert (answer.status, kind_of(answer)) == (400, "invalid-request")


@pytest.mark.parametrize(
    "query", ["overdraft=yes", "overdraft=", "status=unknown", "status=", "customer="]
)
def test_bad_filters(api: CheckedApi, query: str) -> None:
    assert kind_of(api.call("GET", f"/v1/entitlements?{query}")) == "invalid-request"


def test_bad_dry_run_takes_no_seat(api: CheckedApi, customer: Customer) -> None:
    for value in ("yes", "1", "True", ""):
        answer = api.call("POST", f"{customer.seats}?dryRun={value}", {"seatId": "a"})
        assert answer.status == 400
    assert api.expect(200, "GET", customer.path)["seats"]["used"] == 0


@pytest.mark.parametrize(
    "named",
    [
        "x",
        "act_",
        "act_short",
        "act_" + "A" * 19,
        "act_" + "A" * 21,
        "act_" + "!" * 20,
        "ACT_" + "A" * 20,
        "act_" + "A" * 12 + "_" * 12,
        "x" * 80,
        "act_" + "A" * 12 + "_" * 16,
    ],
)
def test_ids_that_no_activation_has(customer: Customer, named: str) -> None:
    answer = customer.license.call("DELETE", f"{customer.seats}/{named}")
    assert (answer.status, kind_of(answer)) == (404, "not-found")


def test_no_operation_is_left_out() -> None:
    missing: list[Route] = [op for op in ROUTES.values() if op.body and op.id not in BODIES]
    assert missing == []
