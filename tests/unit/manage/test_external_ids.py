"""The vendor's own ids of entitlements: unique, looked up, an upsert; and metadata."""

from typing import Any

import pytest

from shared.api.routes import ROUTES
from shared.dynamodb.keys import SEAT_SHARD_PREFIX, external_id_key
from shared.dynamodb.requests import Get
from tests.support.life import read_stream
from tests.support.notifier import Notifier
from tests.unit.conftest import Api

E = "/v1/entitlements"
OF = f"{E}/by-external-id/{{externalId}}"
ONE = f"{E}/{{entitlementId}}"
TERMS: dict[str, Any] = {"product": "CAD", "customer": {"name": "Acme"}, "seatCount": 5}


def put(api: Api, external_id: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    body = TERMS if body is None else body
    return api.call(f"PUT {OF}", {"externalId": external_id}, body, headers=sent)


def get(api: Api, external_id: str) -> tuple[int, Any, Any]:
    return api.call(f"GET {OF}", {"externalId": external_id})


def patch(api: Api, entitlement_id: str, **body: Any) -> tuple[int, Any, Any]:
    return api.call(f"PATCH {ONE}", {"entitlementId": entitlement_id}, body)


# --- Create or update -----------------------------------------------------------------------------


def test_the_same_thing_may_be_sent_for_ever(api: Api) -> None:
    status, made, headers = put(api, "order-4711")
    assert (status, made["externalId"], headers["etag"]) == (201, "order-4711", '"1"')
    assert headers["location"] == f"{E}/{made['entitlementId']}"
    for _ in range(3):
        status, again, headers = put(api, "order-4711")
        assert (status, headers["etag"]) == (200, '"1"')
        assert again == made
    status, more, headers = put(api, "order-4711", {**TERMS, "seatCount": 8})
    assert (status, more["seatCount"], headers["etag"]) == (200, 8, '"2"')
    assert more["entitlementId"] == made["entitlementId"]
    assert get(api, "order-4711")[1] == more


def test_what_others_have_set_stays(api: Api) -> None:
    made = put(api, "o1")[1]
    patch(api, made["entitlementId"], contacts={"accountOwner": {"email": "ann@v.example"}})
    patch(api, made["entitlementId"], customerCap=3, status="suspended", metadata={"tier": "gold"})
    status, again, _ = put(api, "o1", {**TERMS, "metadata": {"order": "7"}})
    assert status == 200
    assert again["contacts"]["accountOwner"]["email"] == "ann@v.example"
    assert (again["customerCap"], again["status"]) == (3, "suspended")
    assert again["metadata"] == {"tier": "gold", "order": "7"}
    assert again["validFrom"] == made["validFrom"]


def test_a_null_is_the_default_the_first_time_and_later(api: Api) -> None:
    body = {**TERMS, "sku": None, "contacts": None, "metadata": {"a": None, "b": "1"}}
    status, made, _ = put(api, "o1", body)
    assert (status, made["metadata"]) == (201, {"b": "1"})
    assert put(api, "o1", body)[:2] == (200, made)
    assert put(api, "o1", {**TERMS, "metadata": None})[1]["metadata"] == {}
    assert put(api, "o2", {**TERMS, "metdata": None})[0] == 400


def test_an_idempotency_key_does_not_keep_it_from_changing(api: Api) -> None:
    assert put(api, "o1", idempotency_key="k")[0] == 201
    status, changed, _ = put(api, "o1", {**TERMS, "seatCount": 9}, idempotency_key="k")
    assert (status, changed["seatCount"]) == (200, 9)


def test_preconditions(api: Api) -> None:
    assert put(api, "o1", if_match='"1"')[0] == 412
    assert put(api, "o1", if_none_match="*")[0] == 201
    assert put(api, "o1", if_none_match="*")[0] == 412
    assert put(api, "o1", {**TERMS, "seatCount": 6}, if_match='"2"')[0] == 412
    assert put(api, "o1", {**TERMS, "seatCount": 6}, if_match='"1"')[0] == 200
    assert put(api, "o1", if_none_match='"1"')[0] == 400
    assert get(api, "o1")[1]["seatCount"] == 6


def test_what_is_wrong_creates_nothing(api: Api) -> None:
    for body, pointer in (
        ({"seatCount": 5}, "/product"),
        ({**TERMS, "externalId": "other"}, "/externalId"),
        ({**TERMS, "externalId": None}, "/externalId"),
        ({**TERMS, "metadata": {"a": 1}}, "/metadata/a"),
    ):
        status, answer, _ = put(api, "o1", body)
        assert status == 400, answer
        assert pointer in [each["pointer"] for each in answer["errors"]]
    assert get(api, "o1")[0] == 404
    assert put(api, "o1", {**TERMS, "externalId": "o1"})[0] == 201


# --- Unique ---------------------------------------------------------------------------------------


def test_nobody_else_gets_it(api: Api) -> None:
    first = api.create(externalId="o1")
    status, answer, _ = api.call(f"POST {E}", body={**TERMS, "externalId": "o1"})
    assert (status, answer["entitlementId"]) == (409, first)
    assert answer["type"].endswith("/external-id-taken")
    second = api.create(externalId="o2")
    status, answer, _ = patch(api, second, externalId="o1")
    assert (status, answer["entitlementId"]) == (409, first)
    assert get(api, "o2")[1]["entitlementId"] == second


def test_it_moves_with_a_change_and_ends_with_the_entitlement(api: Api) -> None:
    first = api.create(externalId="o1")
    assert patch(api, first, externalId="o2")[0] == 200
    assert get(api, "o1")[0] == 404
    assert get(api, "o2")[1]["entitlementId"] == first
    second = api.create(externalId="o1")
    assert patch(api, first, externalId=None)[1]["externalId"] is None
    assert get(api, "o2")[0] == 404
    assert api.call(f"DELETE {ONE}", {"entitlementId": second})[0] == 204
    assert get(api, "o1")[0] == 404
    assert api.dynamodb.execute(Get(external_id_key("o1"))) is None
    status, third, _ = put(api, "o1")
    assert status == 201
    assert third["entitlementId"] not in (first, second)


def test_a_repeated_create_gets_its_first_answer(api: Api) -> None:
    body, key = {**TERMS, "externalId": "o1"}, {"idempotency-key": "k1"}
    _, made, _ = api.call(f"POST {E}", body=body, headers=key)
    status, again, headers = api.call(f"POST {E}", body=body, headers=key)
    assert (status, again) == (201, made)
    assert headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    "external_id",
    ["", "a b", "a/b", "ä", "x" * 101, ".", "..", "activations", "usage", "license-keys"],
)
def test_ids_that_do_not_work_in_a_path(api: Api, external_id: str) -> None:
    status, answer, _ = api.call(f"POST {E}", body={**TERMS, "externalId": external_id})
    assert (status, answer["errors"][0]["pointer"]) == (400, "/externalId")


@pytest.mark.parametrize("external_id", ["a", "-", "...", "A.b_c:d@e-f", "x" * 100, "Usage"])
def test_ids_that_do(api: Api, external_id: str) -> None:
    assert put(api, external_id)[0] == 201
    assert get(api, external_id)[1]["externalId"] == external_id


def test_no_path_of_an_entitlement_is_taken_for_an_external_id(api: Api) -> None:
    """API Gateway may match either route: neither can be meant."""
    for route_key in ROUTES:
        method, _, path = route_key.partition(" ")
        parts = path.split("/")
        if method in ("GET", "PUT") and path.startswith(f"{ONE}/") and len(parts) == 5:
            assert api.call(f"POST {E}", body={**TERMS, "externalId": parts[4]})[0] == 400


# --- Lists, events, license keys ------------------------------------------------------------------


def test_lists_find_it(api: Api) -> None:
    first = api.create(externalId="o1")
    api.create(externalId="o10")
    listed = api.call(f"GET {E}", query={"externalId": "o1"})[1]["items"]
    assert [each["entitlementId"] for each in listed] == [first]
    for unknown in ("o2", "a b"):
        assert api.call(f"GET {E}", query={"externalId": unknown})[1]["items"] == []
    assert api.call(f"GET {E}", query={"externalId": "o1", "search": "x"})[0] == 400


def test_events_carry_it(api: Api, engine_url: str) -> None:
    entitlement_id = api.create(externalId="o1", metadata={"region": "emea"})
    path = {"entitlementId": entitlement_id}
    assert api.call(f"POST {ONE}/activations", path, {"seatId": "alice"})[0] == 201
    notifier = Notifier(api.dynamodb)
    notifier.deliver_all(read_stream(engine_url, api.dynamodb.name, (SEAT_SHARD_PREFIX,)))
    [event] = notifier.recorder.events
    assert event["data"]["externalId"] == "o1"
    assert event["data"]["metadata"] == {"region": "emea"}


def test_the_customers_software_does_not_see_metadata(api: Api) -> None:
    entitlement_id = api.create(externalId="o1", metadata={"margin": "40"})
    path = {"entitlementId": entitlement_id}
    key = api.call(f"POST {ONE}/license-keys", path, {})[1]["key"]
    shown = api.call(f"GET {ONE}", path, key=key)[1]
    assert (shown["externalId"], shown["metadata"]) == ("o1", {})
    assert api.call(f"GET {ONE}", path)[1]["metadata"] == {"margin": "40"}


def test_metadata(api: Api) -> None:
    entitlement_id = api.create(metadata={f"k{number}": "v" for number in range(20)})
    status, answer, _ = patch(api, entitlement_id, metadata={"k20": "v"})
    assert (status, answer["errors"][0]["pointer"]) == (400, "/metadata")
    _, shown, _ = patch(api, entitlement_id, metadata={"k0": None, "k20": "multi\nline"})
    assert len(shown["metadata"]) == 20
    assert shown["metadata"]["k20"] == "multi\nline"
    for wrong in ({"a b": "v"}, {"": "v"}, {"a": "v" * 501}, {"a": "\x07"}, {"a": ["v"]}, ["a"]):
        assert patch(api, entitlement_id, metadata=wrong)[0] == 400
    assert patch(api, entitlement_id, metadata=None)[1]["metadata"] == {}
