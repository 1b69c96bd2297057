"""What grows is bounded: items are driven far beyond their expected size, on Amazon's own engine."""

import json
from typing import Any

from functions.notify import batch
from local.dynamodb import DynamoDBLocal
from shared import history, table
from shared.history import Episode, History, KeptChange, Level, Quarter
from shared.table import Item, Put, to_wire
from tests.support import NOW_MS, RoleTable, create_table, new_id, open_door

SMALL = 120_000  # bytes: beyond that, writing an item would be dear long before it is impossible
QUIET_MS = 900_000


def size_of(item: Item) -> int:
    return len(json.dumps({k: to_wire(v) for k, v in item.items() if v is not None}))


def change(seq: int, at: int, level: Level, before: Level | None, *seats: str) -> KeptChange:
    kept: list[dict[str, Any]] = [
        {"key": key, "kind": "activated", "stamp": 1, "overdraft": True, "leaseEnd": None}
        for key in seats
    ]
    return KeptChange(seq, at, "activated", "k", "r", level, before, at, {}, {}, tuple(kept))


class Metered:
    """A table and what its writes consume, by operation."""

    def __init__(self, dynamodb: DynamoDBLocal) -> None:
        self.units: list[float] = []
        self.door: RoleTable = open_door(
            dynamodb.url, create_table(dynamodb.url), lambda _, units: self.units.append(units)
        )


def test_an_episode_of_40_000_people_is_as_small_as_one_of_ten(dynamodb: DynamoDBLocal) -> None:
    """At 34,000 it could not be written any more, when it named them."""
    metered, owner = Metered(dynamodb), new_id()
    door, start = metered.door, NOW_MS
    folded = History(None, QUIET_MS)
    over = Level(11, 10, None)
    folded.apply(change(1, start, over, Level(10, 10, None), "seat00000000"))
    spent = []
    # Ten times 4,000 people, each of them twice: told of again, they are not counted again.
    keys = [f"seat{number:08d}" for number in range(4_000)]
    for seat_key in keys[:200]:
        record = table.seat_record_key(owner, seat_key)
        door.execute(Put(record, {"seatKey": seat_key, "seq": 1}))
    for _ in range(2):
        for first in range(0, 400, 100):
            metered.units.clear()
            folded.granted[start] = set(keys[first : first + 100])
            door.run(batch._write_episodes(owner, table.SEATS, folded))
            spent.append(sum(metered.units))
    key = table.episode_key(owner, table.SEATS, start)
    item = door.execute(table.Get(key))
    assert item["distinct"] == 400
    # However many were counted before: the item holds a number.
    door.execute(Put(key, {**{k: v for k, v in item.items() if k not in ("pk", "sk")},
                           "distinct": 40_000}))  # fmt: skip
    metered.units.clear()
    folded.granted[start] = set(keys[500:510])
    door.run(batch._write_episodes(owner, table.SEATS, folded))
    item = door.execute(table.Get(key))
    assert item["distinct"] == 40_010
    assert size_of(item) < 1_000
    # One write of the episode, one read, and a transaction of two units an item.
    assert sum(metered.units) < 10 * 2 + 2 + 10
    view = door.run(history.episode_view(owner, item, None, start + 1))
    assert view["distinctSeats"] == 40_010


def test_an_episode_from_before_people_were_counted_goes_on(dynamodb: DynamoDBLocal) -> None:
    door, owner = Metered(dynamodb).door, new_id()
    episode = Episode(NOW_MS, 1, None, 11, 0, 0)
    key = table.episode_key(owner, table.SEATS, NOW_MS)
    door.execute(Put(key, {**episode._asdict(), "seats": frozenset({"a", "b"})}))
    folded = History(None, QUIET_MS)
    folded.episodes[NOW_MS] = episode
    folded.granted[NOW_MS] = {"b", "c"}
    door.run(batch._write_episodes(owner, table.SEATS, folded))
    item = door.execute(table.Get(key))
    assert door.run(history.episode_view(owner, item, None, NOW_MS + 1))["distinctSeats"] == 3


def test_a_person_is_counted_once_in_each_episode(dynamodb: DynamoDBLocal) -> None:
    door, owner = Metered(dynamodb).door, new_id()
    for start in (NOW_MS, NOW_MS + 10_000_000):
        for _ in range(3):
            folded = History(None, QUIET_MS)
            folded.episodes[start] = Episode(start, 1, None, 11, 0, 0)
            folded.granted[start] = {"a", "b"}
            door.run(batch._write_episodes(owner, table.SEATS, folded))
        item = door.execute(table.Get(table.episode_key(owner, table.SEATS, start)))
        assert item["distinct"] == 2


def fold(changes: list[KeptChange]) -> Quarter:
    folded = History(None, QUIET_MS)
    for each in changes:
        folded.apply(each)
    assert folded.latest is not None
    return folded.latest


def write(door: RoleTable, owner: str, quarter: Quarter) -> int:
    """The size of a record, which the engine takes."""
    item = quarter.to_item(None)
    name = history.quarter_name(quarter.start)
    reply = door.execute(Put(table.quarter_key(owner, table.SEATS, name), item))
    assert isinstance(reply, table.Accepted)
    return size_of(item)


def test_a_quarter_hour_with_10_000_people(dynamodb: DynamoDBLocal) -> None:
    start = history.quarter_of(NOW_MS)
    full = Level(2, 1, None)
    changes = [
        change(seq, start + seq, full, full, f"seat{seq:08d}") for seq in range(1, 10_001)
    ]  # fmt: skip
    quarter = fold(changes)
    assert len(quarter.people) == len(quarter.over) == history.PEOPLE_KEPT
    assert write(Metered(dynamodb).door, new_id(), quarter) < SMALL


def test_a_quarter_hour_with_10_000_changes_of_limits(dynamodb: DynamoDBLocal) -> None:
    start = history.quarter_of(NOW_MS)
    changes = [
        change(seq, start + seq * 50, Level(1, seq, seq + 1), Level(1, seq - 1, seq))
        for seq in range(1, 10_001)
    ]
    quarter = fold(changes)
    assert len(quarter.limits) == history.LIMITS_KEPT
    assert quarter.limits[0][0] <= quarter.limits[1][0]
    assert quarter.limits[-1][1:] == (10_000, 10_001)
    assert write(Metered(dynamodb).door, new_id(), quarter) < SMALL


def test_10_000_changes_that_were_given_up(dynamodb: DynamoDBLocal) -> None:
    start = history.quarter_of(NOW_MS)
    level = Level(1, 5, 6)
    quarter = fold([change(seq, start + seq, level, level) for seq in range(1, 20_001, 2)])
    assert len(quarter.missing) == history.MISSING_KEPT
    assert quarter.is_missing(19_998)
    assert write(Metered(dynamodb).door, new_id(), quarter) < SMALL
