"""Lists of seats, and erasing a person."""

from typing import Any

import pytest

from shared.aws_json import Credentials
from shared.dynamodb.keys import (
    seat_record_key,
)
from shared.dynamodb.requests import (
    Item,
    Put,
)
from shared.seats.encoding import seat_key
from tests.support.tables import RoleClient, read_item
from tests.unit.conftest import Api


def test_names_that_do_not_come_are_null_and_the_list_still_answers(api: Api) -> None:
    """Here no stream is read, so no seat has a record."""
    entitlement_id = api.create()
    path = {"entitlementId": entitlement_id}
    api.call("POST /v1/entitlements/{entitlementId}/activations", path, {"seatId": "a"})
    status, body, _ = api.call("GET /v1/entitlements/{entitlementId}/activations", path)
    [held] = body["items"]
    assert (status, held["seatId"], held["seatName"]) == (200, None, None)
    assert held["seatKey"] == seat_key(entitlement_id, "a")


def test_a_list_does_not_name_who_had_the_seat_before(api: Api) -> None:
    """The record of an earlier grant tells who the holder is, but not what this grant was called."""
    entitlement_id = api.create()
    path = {"entitlementId": entitlement_id}
    take = "POST /v1/entitlements/{entitlementId}/activations"
    api.call(take, path, {"seatId": "lab-pc", "seatName": "Bob"})
    key = seat_key(entitlement_id, "lab-pc")
    earlier: Item = {
        "stamp": 1,
        "seatId": "lab-pc",
        "seatName": "Alice",
        "attributes": {"device": "old"},
        "lastSeenAt": 1,
    }
    api.dynamodb.execute(Put(seat_record_key(entitlement_id, key), earlier))
    _, body, _ = api.call("GET /v1/entitlements/{entitlementId}/activations", path)
    [held] = body["items"]
    assert (held["seatId"], held["seatName"], held["attributes"]) == ("lab-pc", None, {})
    assert held["lastSeenAt"] == held["activatedAt"]


@pytest.mark.parametrize(
    "seat_id", [" alice", "alice\u00a0", "\u200balice", "a\u202eb", "\u3164", "\u115fx", "x\u2800"]
)
def test_a_seat_id_that_looks_like_another_is_refused(api: Api, seat_id: str) -> None:
    route = "POST /v1/entitlements/{entitlementId}/activations"
    status, answer, _ = api.call(route, {"entitlementId": api.create()}, {"seatId": seat_id})
    assert status == 400
    assert answer["errors"][0]["pointer"] == "/seatId"


class Conflicting(RoleClient):
    """The first writes of an item meet a transaction of somebody else."""

    conflicts = 3
    met = 0

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        is_erasing = operation == "TransactWriteItems" and b"SEATS#" in payload
        if is_erasing and self.met < self.conflicts:
            self.met += 1
            return 400, {
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}],
            }
        return super()._send(operation, payload)


@pytest.mark.parametrize(("conflicts", "status"), [(3, 200), (1_000, 503)])
def test_erasing_somebody_waits_for_the_transactions_of_others(
    dynamodb: RoleClient, api: Api, conflicts: int, status: int
) -> None:
    """As the stream's reader writes many records in one; never is it lost and said to be done."""
    entitlement_id = api.create()
    key = seat_key(entitlement_id, "ann@acme.example")
    record: Item = {
        "seatKey": key,
        "entitlementId": entitlement_id,
        "seq": 1,
        "seatId": "ann@acme.example",
        "seatName": "Ann",
    }
    dynamodb.execute(Put(seat_record_key(entitlement_id, key), record))
    busy = Conflicting(
        dynamodb.name,
        region="us-east-1",
        endpoint=dynamodb._aws.endpoint,
        credentials=Credentials("test", "test"),
    )
    busy.conflicts = conflicts
    answer = Api(busy).call(
        "POST /v1/entitlements/{entitlementId}/seats/erase",
        {"entitlementId": entitlement_id},
        {"seatId": "ann@acme.example"},
    )
    assert answer[0] == status
    kept = read_item(dynamodb, seat_record_key(entitlement_id, key))
    assert ("seatId" in kept) == (status == 503)
    assert busy.met >= 3


# --- Found by trying the product ------------------------------------------------------------------


def put_person(api: Api, entitlement_id: str, seat_id: str) -> None:
    key = seat_key(entitlement_id, seat_id)
    api.dynamodb.execute(
        Put(seat_record_key(entitlement_id, key), {"seatKey": key, "seatId": seat_id, "seq": 1})
    )
