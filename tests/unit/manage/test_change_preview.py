"""A dry run of a change: what it would mean, and nothing of it is made."""

from typing import Any

import pytest

from shared.dynamodb.keys import seat_shard_key
from shared.dynamodb.requests import Get
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"
DRY = {"dryRun": "true"}


def take_seats(api: Api, entitlement_id: str, count: int) -> None:
    path = {"entitlementId": entitlement_id}
    for number in range(count):
        status, answer, _ = api.call(f"POST {E}/activations", path, {"seatId": f"p{number}"})
        assert status == 201, answer


def change(api: Api, entitlement_id: str, body: Any, **more: Any) -> tuple[int, Any, Any]:
    return api.call(f"PATCH {E}", {"entitlementId": entitlement_id}, body, **more)


@pytest.mark.parametrize(
    "terms",
    [
        {"seatCount": 2},
        {"seatCount": 8, "overdraftSeatLimit": {"type": "percentage", "value": 50}},
        {"overdraftSeatLimit": {"type": "unlimited"}},
        {"overdraftSeatLimit": {"type": "absolute", "value": 1, "period": "P30D"}, "seatCount": 3},
        {"customerCap": 4},
        {"status": "suspended", "sku": "X"},
        {"usageLimits": [{"key": "exports", "limit": 5, "resetSchedule": "monthly"}]},
        {"usageLimits": [{"key": "new", "limit": 7}]},
        {"usageLimits": []},
    ],
)
def test_it_foresees_what_the_change_then_makes(api: Api, terms: Any) -> None:
    limits = [{"key": "exports", "limit": 10, "overdraftLimit": {"type": "absolute", "value": 5}}]
    entitlement_id = api.create(
        seatCount=4, overdraftSeatLimit={"type": "absolute", "value": 2}, usageLimits=limits
    )
    take_seats(api, entitlement_id, 5)
    path = {"entitlementId": entitlement_id, "key": "exports"}
    used = api.call(
        f"POST {E}/usage/{{key}}", path, {"quantity": 8}, headers={"idempotency-key": "x"}
    )
    assert used[0] == 200

    status, foreseen, headers = change(api, entitlement_id, terms, query=DRY)
    assert (status, foreseen.pop("dryRun"), headers["etag"]) == (200, True, '"1"')
    effects = foreseen.pop("effects")
    status, made, _ = change(api, entitlement_id, terms)
    assert status == 200
    ran = {"updatedAt", "overdraft"}  # the times of two requests differ
    assert {k: v for k, v in foreseen.items() if k not in ran} == {
        k: v for k, v in made.items() if k not in ran
    }
    assert (foreseen["overdraft"] is None) == (made["overdraft"] is None)
    usage = api.call(f"GET {E}/usage", path)[1]["items"]
    for each in (*effects["usage"], *usage):
        if each["key"] == "new":
            del each["periodStart"]  # the time of the request
    assert effects["usage"] == usage
    cap = made["hardCap"]
    assert effects["seatsAboveHardCap"] == (0 if cap is None else max(0, 5 - cap))
    assert set(effects["changes"]) == set(terms)


def test_it_changes_and_records_nothing(api: Api) -> None:
    entitlement_id = api.create(seatCount=4)
    before = api.dynamodb.execute(Get(seat_shard_key(entitlement_id)))
    assert change(api, entitlement_id, {"seatCount": 1}, query=DRY)[0] == 200
    assert api.dynamodb.execute(Get(seat_shard_key(entitlement_id))) == before
    path = {"entitlementId": entitlement_id}
    status, answer, headers = api.call(f"GET {E}", path)
    assert (status, answer["seatCount"], headers["etag"]) == (200, 4, '"1"')
    changes = api.call(f"GET {E}/changes", path)[1]["items"]
    assert [each["type"] for each in changes] == ["entitlement.created"]


def test_it_is_refused_as_the_change_would_be(api: Api) -> None:
    api.create(externalId="order-1")
    entitlement_id = api.create()
    for body, headers, expected in (
        ({"seatCount": -1}, {}, 400),
        ({"seatCount": 1}, {"if-match": '"7"'}, 412),
        ({"externalId": "order-1"}, {}, 409),
    ):
        for query in (DRY, {}):
            status, _, _ = change(api, entitlement_id, body, headers=headers, query=query)
            assert status == expected, (body, query)
    assert change(api, "ent_unknown", {"seatCount": 1}, query=DRY)[0] == 404
