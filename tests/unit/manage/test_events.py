"""The events of an entitlement, and the deliveries of one event."""

import json
from typing import Any

from shared.clock import to_rfc3339
from shared.dynamodb.keys import delivery_key, denial_key, seat_record_key
from shared.dynamodb.requests import BatchPut, Item, Put
from shared.events import event_log, types
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"
AT = 1_795_000_000_123
ID = f"evt_{'b' * 24}"


def event(entitlement_id: str, kind: str, **data: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "type": kind,
        "timestamp": to_rfc3339(AT),
        "data": {"entitlementId": entitlement_id, "actor": "key_1", **data},
    }


def test_an_event_is_listed_once_with_the_names_of_now(api: Api) -> None:
    entitlement_id = api.create(externalId="order-7")
    entered = event(entitlement_id, types.OVERDRAFT_ENTERED, seat={"seatKey": "seat00000001"})
    for _ in range(2):  # the stream comes at least once
        api.dynamodb.execute(BatchPut(tuple(event_log.writes(entered))))
    person: Item = {"seatKey": "seat00000001", "seatId": "ann", "seatName": "Ann"}
    api.dynamodb.execute(Put(seat_record_key(entitlement_id, "seat00000001"), person))
    path = {"entitlementId": entitlement_id}
    status, answer, _ = api.call(f"GET {E}/events", path)
    assert status == 200
    [listed] = answer["items"]
    assert (listed["id"], listed["type"]) == (ID, types.OVERDRAFT_ENTERED)
    assert listed["deliveryId"] == f"dlv_{AT}_{ID}"
    assert (listed["data"]["externalId"], listed["data"]["seat"]["seatName"]) == ("order-7", "Ann")


def test_single_seats_denials_and_tests_are_not_kept() -> None:
    for kind in (types.SEAT_ACTIVATED, types.SEAT_DENIED, types.USAGE_DENIED):
        assert event_log.writes(event("ent_1", kind)) == []
    assert event_log.writes(event("ent_1", types.EXPIRED, test=True)) == []
    assert event_log.writes({**event("", types.REPORT_PUBLISHED), "data": {}}) == []


def test_the_deliveries_of_an_event_are_found_at_every_endpoint(api: Api) -> None:
    ids = []
    for number in range(3):
        body = {"url": f"http://127.0.0.1:9/{number}"}
        ids.append(api.call("POST /v1/webhooks", body=body)[1]["webhookId"])
    sent = event("ent_1", types.EXPIRED)
    item: Item = {
        "status": "failed",
        "type": types.EXPIRED,
        "isTest": False,
        "attempts": [],
        "event": json.dumps(sent),
        "answer": "<b>no</b>",
    }
    for webhook_id in ids[:2]:
        api.dynamodb.execute(Put(delivery_key(webhook_id, AT, ID), item))
    path = {"deliveryId": f"dlv_{AT}_{ID}", "webhookId": ids[0]}
    found = api.call("GET /v1/deliveries/{deliveryId}", path)[1]["items"]
    assert {(each["webhookId"], each["url"]) for each in found} == {
        (ids[0], "http://127.0.0.1:9/0"),
        (ids[1], "http://127.0.0.1:9/1"),
    }
    route = "GET /v1/webhooks/{webhookId}/deliveries/{deliveryId}"
    status, one, _ = api.call(route, path)
    assert (status, one["answer"], one["event"]["type"]) == (200, "<b>no</b>", types.EXPIRED)
    assert api.call(route, {**path, "webhookId": ids[2]})[0] == 404
    assert api.call("DELETE /v1/webhooks/{webhookId}", path)[0] == 204
    assert api.call(route, path)[0] == 404
    for wrong in ("dlv_1", "evt_1"):
        assert api.call("GET /v1/deliveries/{deliveryId}", {"deliveryId": wrong})[0] == 404


def test_a_delivery_names_who_was_denied(api: Api) -> None:
    """Whoever has never held a seat is named by the denial."""
    webhook_id = api.call("POST /v1/webhooks", body={"url": "http://127.0.0.1:9/"})[1]["webhookId"]
    entitlement_id = api.create()
    denial = {"hour": to_rfc3339(AT)[:13] + ":00:00Z", "attempts": 1}
    sent = event(entitlement_id, types.SEAT_DENIED, denial=denial, seat={"seatKey": "seat00000009"})
    person: Item = {"seatKey": "seat00000009", "seatId": "zoe", "seatName": "Zoe"}
    key = denial_key(entitlement_id, "seat00000009", to_rfc3339(AT)[:13])
    api.dynamodb.execute(Put(key, person))
    item: Item = {"status": "pending", "type": types.SEAT_DENIED, "isTest": False, "attempts": []}
    stored: Item = {**item, "event": json.dumps(sent)}
    api.dynamodb.execute(Put(delivery_key(webhook_id, AT, ID), stored))
    route = "GET /v1/webhooks/{webhookId}/deliveries/{deliveryId}"
    path = {"deliveryId": f"dlv_{AT}_{ID}", "webhookId": webhook_id}
    seat = api.call(route, path)[1]["event"]["data"]["seat"]
    assert (seat["seatId"], seat["seatName"]) == ("zoe", "Zoe")
