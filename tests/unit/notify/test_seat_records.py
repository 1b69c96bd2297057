"""Seat records of many people at once: written together, and each as if it were alone."""

from typing import Any

import pytest

from functions.notify import lockstep, seat_records
from functions.notify.stream_images import Version
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import seat_record_key
from shared.dynamodb.requests import Item, Operation, Put, Several
from shared.history.changes import ChangeRecord
from shared.history.level import Level
from tests.support.seats import NOW_MS, new_id
from tests.support.tables import read_item


def versions_of(people_there: int, seq: int) -> list[Version]:
    """A version for each of so many people, who take a seat."""
    made = []
    for number in range(people_there):
        key = f"seat{number:08d}"
        seat = {
            "key": key,
            "kind": "activated",
            "stamp": seq + number,
            "overdraft": False,
            "leaseEnd": None,
        }
        level = Level(number, 1_000, None)
        result = ChangeRecord(
            seq + number, NOW_MS, "activated", "k", "r", level, level, NOW_MS, {}, {}, (seat,)
        )
        made.append(Version(result, key, {"seatId": f"user{number}"}))
    return made


@pytest.mark.parametrize("many", [seat_records.MANY, 2 * seat_records.IN_TRANSACTION + 7])
def test_many_people_are_written_together(dynamodb: DynamoDBClient, many: int) -> None:
    entitlement_id = new_id()
    asked: list[Any] = []
    steps = seat_records.write(entitlement_id, versions_of(many, 1))
    reply: Any = None
    while True:
        try:
            request = steps.send(reply)
        except StopIteration:
            break
        asked.append(request)
        if isinstance(request, Several):
            reply = tuple(dynamodb.execute(each) for each in request.requests)
        else:
            reply = dynamodb.execute(request)
    [read, written] = asked
    assert len(read.keys) == many
    assert len(written.requests) == -(-many // seat_records.IN_TRANSACTION)
    for number in range(many):
        record = read_item(dynamodb, seat_record_key(entitlement_id, f"seat{number:08d}"))
        assert record["seatId"] == f"user{number}"


def test_one_who_is_erased_meanwhile_stays_erased_and_the_others_are_written(
    dynamodb: DynamoDBClient,
) -> None:
    entitlement_id = new_id()
    lockstep.run(
        dynamodb, [seat_records.write(entitlement_id, versions_of(seat_records.MANY, 1))], at_once=1
    )
    key = seat_record_key(entitlement_id, "seat00000003")
    steps = seat_records.write(entitlement_id, versions_of(seat_records.MANY, 1_000))
    found = dynamodb.execute(next(steps))
    # Erased between the reader's read and its write.
    erased: Item = {
        "seatKey": "seat00000003",
        "entitlementId": entitlement_id,
        "seq": 3,
        "erasedAt": NOW_MS,
        "erasedSeq": 5_000,
    }
    dynamodb.execute(Put(key, erased))
    [outcome] = lockstep.run(dynamodb, [_resumed(steps, found)], at_once=8)
    assert outcome is None
    record = read_item(dynamodb, key)
    assert record["seq"] == 1_003
    assert "seatId" not in record
    other = read_item(dynamodb, seat_record_key(entitlement_id, "seat00000004"))
    assert (other["seq"], other["grantCount"]) == (1_004, 2)


def _resumed(steps: Operation[Any], reply: Any) -> Operation[Any]:
    """An operation from where it is."""
    while True:
        try:
            request = steps.send(reply)
        except StopIteration as stop:
            return stop.value
        reply = yield request
