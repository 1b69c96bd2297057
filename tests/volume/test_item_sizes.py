"""What grows is bounded: items are driven far beyond their expected size, on Amazon's own engine."""

import json
from collections.abc import Mapping
from typing import Any

from functions.notify import history_writer, lockstep, seat_records
from functions.notify.stream_images import Version, read_version
from local.dynamodb import DynamoDBLocal
from shared.dynamodb.keys import (
    SEATS,
    episode_key,
    report_key,
    seat_record_key,
    seat_shard_key,
    totals_key,
    usage_bucket_key,
)
from shared.dynamodb.marshalling import to_wire
from shared.dynamodb.requests import NO_NAMES, Accepted, Item, Put, Update
from shared.history import rollups
from shared.history.aggregator import UsageAggregator
from shared.history.buckets import (
    BUCKET_MS,
    LIMITS_KEPT,
    MISSING_KEPT,
    PEOPLE_KEPT,
    UsageBucket,
    bucket_name,
    bucket_start,
)
from shared.history.changes import ChangeRecord
from shared.history.episodes import Episode
from shared.history.level import Level
from shared.history.views import episode_view
from shared.seats import activation, totals
from shared.seats.encoding import encode_grant, seat_key
from shared.seats.holder import Holder
from shared.seats.leases import sweep_shard
from shared.seats.placement import SLOTS
from shared.seats.shard import MOST_FREED
from shared.seats.totals import ShardVersion
from tests.support.seats import NOW, NOW_MS, make_shard, new_id, read_shard_item, terms
from tests.support.seats import change as asked
from tests.support.tables import RoleClient, create_table, open_client, read_item

SMALL = 120_000  # bytes: beyond that, writing an item would be dear long before it is impossible
QUIET_MS = 900_000


def size_of(item: Item) -> int:
    return len(json.dumps({k: to_wire(v) for k, v in item.items() if v is not None}))


def change(seq: int, at: int, level: Level, before: Level | None, *seats: str) -> ChangeRecord:
    kept: list[dict[str, Any]] = [
        {"key": key, "kind": "activated", "stamp": 1, "overdraft": True, "leaseEnd": None}
        for key in seats
    ]
    return ChangeRecord(seq, at, "activated", "k", "r", level, before, at, {}, {}, tuple(kept))


class Metered:
    """A table and what its writes consume, by operation."""

    def __init__(self, engine: DynamoDBLocal) -> None:
        self.units: list[float] = []
        self.dynamodb: RoleClient = open_client(
            engine.url, create_table(engine.url), lambda _, units: self.units.append(units)
        )


def test_an_episode_of_40_000_people_is_as_small_as_one_of_ten(engine: DynamoDBLocal) -> None:
    """At 34,000 it could not be written any more, when it named them."""
    metered, entitlement_id = Metered(engine), new_id()
    dynamodb, start = metered.dynamodb, NOW_MS
    folded = UsageAggregator(None, QUIET_MS)
    over = Level(11, 10, None)
    folded.apply(change(1, start, over, Level(10, 10, None), "seat00000000"))
    spent = []
    # Ten times 4,000 people, each twice: the second time, they are not counted.
    keys = [f"seat{number:08d}" for number in range(4_000)]
    for each in keys[:200]:
        record = seat_record_key(entitlement_id, each)
        dynamodb.execute(Put(record, {"seatKey": each, "seq": 1}))
    for _ in range(2):
        for first in range(0, 400, 100):
            metered.units.clear()
            folded.granted[start] = set(keys[first : first + 100])
            dynamodb.run(history_writer.write_episodes(entitlement_id, SEATS, folded))
            spent.append(sum(metered.units))
    key = episode_key(entitlement_id, SEATS, start)
    item = read_item(dynamodb, key)
    assert item["distinct"] == 400
    # However many were counted before: the item holds a number.
    dynamodb.execute(
        Put(key, {**{k: v for k, v in item.items() if k not in ("pk", "sk")}, "distinct": 40_000})
    )
    metered.units.clear()
    folded.granted[start] = set(keys[500:510])
    dynamodb.run(history_writer.write_episodes(entitlement_id, SEATS, folded))
    item = read_item(dynamodb, key)
    assert item["distinct"] == 40_010
    assert size_of(item) < 1_000
    # One write of the episode, one read, and a transaction of two units an item.
    assert sum(metered.units) < 10 * 2 + 2 + 10
    view: Mapping[str, object] = dynamodb.run(episode_view(entitlement_id, item, None, start + 1))
    assert view["distinctSeats"] == 40_010


def test_an_episode_of_an_older_release_continues(engine: DynamoDBLocal) -> None:
    dynamodb, entitlement_id = Metered(engine).dynamodb, new_id()
    episode = Episode(NOW_MS, 1, None, 11, 0, 0)
    key = episode_key(entitlement_id, SEATS, NOW_MS)
    dynamodb.execute(Put(key, {**episode._asdict(), "seats": frozenset({"a", "b"})}))
    folded = UsageAggregator(None, QUIET_MS)
    folded.episodes[NOW_MS] = episode
    folded.granted[NOW_MS] = {"b", "c"}
    dynamodb.run(history_writer.write_episodes(entitlement_id, SEATS, folded))
    item = read_item(dynamodb, key)
    view: Mapping[str, object] = dynamodb.run(episode_view(entitlement_id, item, None, NOW_MS + 1))
    assert view["distinctSeats"] == 3


def test_a_person_is_counted_once_in_each_episode(engine: DynamoDBLocal) -> None:
    dynamodb, entitlement_id = Metered(engine).dynamodb, new_id()
    for start in (NOW_MS, NOW_MS + 10_000_000):
        for _ in range(3):
            folded = UsageAggregator(None, QUIET_MS)
            folded.episodes[start] = Episode(start, 1, None, 11, 0, 0)
            folded.granted[start] = {"a", "b"}
            dynamodb.run(history_writer.write_episodes(entitlement_id, SEATS, folded))
        item = read_item(dynamodb, episode_key(entitlement_id, SEATS, start))
        assert item["distinct"] == 2


def fold(changes: list[ChangeRecord]) -> UsageBucket:
    folded = UsageAggregator(None, QUIET_MS)
    for each in changes:
        folded.apply(each)
    assert folded.latest is not None
    return folded.latest


def write(dynamodb: RoleClient, entitlement_id: str, bucket: UsageBucket) -> int:
    """The size of a record, which the engine takes."""
    item = bucket.to_item(None)
    name = bucket_name(bucket.start)
    reply = dynamodb.execute(Put(usage_bucket_key(entitlement_id, SEATS, name), item))
    assert isinstance(reply, Accepted)
    return size_of(item)


def test_a_quarter_hour_with_10_000_people(engine: DynamoDBLocal) -> None:
    start = bucket_start(NOW_MS)
    full = Level(2, 1, None)
    changes = [change(seq, start + seq, full, full, f"seat{seq:08d}") for seq in range(1, 10_001)]
    bucket = fold(changes)
    assert len(bucket.people) == len(bucket.over) == PEOPLE_KEPT
    assert write(Metered(engine).dynamodb, new_id(), bucket) < SMALL


def test_a_quarter_hour_with_10_000_changes_of_limits(engine: DynamoDBLocal) -> None:
    start = bucket_start(NOW_MS)
    changes = [
        change(seq, start + seq * 50, Level(1, seq, seq + 1), Level(1, seq - 1, seq))
        for seq in range(1, 10_001)
    ]
    bucket = fold(changes)
    assert len(bucket.limits) == LIMITS_KEPT
    assert bucket.limits[0][0] <= bucket.limits[1][0]
    assert bucket.limits[-1][1:] == (10_000, 10_001)
    assert write(Metered(engine).dynamodb, new_id(), bucket) < SMALL


def test_10_000_changes_that_were_given_up(engine: DynamoDBLocal) -> None:
    start = bucket_start(NOW_MS)
    level = Level(1, 5, 6)
    bucket = fold([change(seq, start + seq, level, level) for seq in range(1, 20_001, 2)])
    assert len(bucket.missing) == MISSING_KEPT
    assert bucket.is_missing(19_998)
    assert write(Metered(engine).dynamodb, new_id(), bucket) < SMALL


def test_a_day_with_10_000_changes_of_limits(engine: DynamoDBLocal) -> None:
    """Each of its quarter-hours keeps a thousand; the day adds them up, and keeps no more."""
    start = bucket_start(NOW_MS)
    parts = []
    for number in range(10):
        begin = start + number * BUCKET_MS
        parts.append(
            fold(
                [
                    change(
                        seq, begin + seq, Level(1, number * 2_000 + seq, None), Level(1, 0, None)
                    )
                    for seq in range(1, 1_001)
                ]
            )
        )
    whole = rollups.merge(parts)
    assert len(whole.limits) == LIMITS_KEPT
    assert whole.limits[0] == parts[0].limits[0], "what was in force when the day began"
    assert whole.limits[-1] == parts[-1].limits[-1]
    assert write(Metered(engine).dynamodb, new_id(), whole) < SMALL


def test_a_shard_without_a_cap_with_1_280_people(engine: DynamoDBLocal) -> None:
    """It is split once it has more than 128; until that is done it goes on working."""
    metered, entitlement_id = Metered(engine), new_id()
    dynamodb = metered.dynamodb
    make_shard(dynamodb, entitlement_id, terms(10, None, lease=600))
    seats = {
        seat_key(entitlement_id, f"user{number}"): encode_grant(number, is_overdraft=True, now=NOW)
        + 600
        for number in range(1_270)
    }
    shard = {**read_shard_item(dynamodb, entitlement_id), "seats": seats, "earliest": NOW + 600}
    dynamodb.execute(
        Put(
            seat_shard_key(entitlement_id),
            {k: v for k, v in shard.items() if k not in ("pk", "sk")},
        )
    )
    for number in range(10):
        metered.units.clear()
        grant = dynamodb.run(
            activation.take(entitlement_id, Holder(f"new{number}"), asked(), 10_000 + number)
        )
        assert grant.is_new
        # A look at the shard and a write of it: a unit for each KB, and for half of one when read.
        assert sum(metered.units) < 100
    assert size_of(read_shard_item(dynamodb, entitlement_id)) < SMALL
    # All of them expired: so many at a time as one write, and one change record, can hold.
    left = 1_280
    while left:
        before = read_shard_item(dynamodb, entitlement_id)
        freed = dynamodb.run(sweep_shard(seat_shard_key(entitlement_id), asked(NOW_MS + 700_000)))
        assert 0 < freed <= MOST_FREED
        version = read_version(before, read_shard_item(dynamodb, entitlement_id))
        assert version is not None
        assert len(version.change.seats) == freed
        assert size_of(version.change.to_item()) < SMALL
        left -= freed
    assert read_shard_item(dynamodb, entitlement_id)["seats"] == {}


def deliver(dynamodb: RoleClient, entitlement_id: str, versions: list[Version]) -> None:
    [outcome] = lockstep.run(dynamodb, [seat_records.write(entitlement_id, versions)], at_once=1)
    assert outcome is None


def test_a_person_of_200_grants_and_200_devices(engine: DynamoDBLocal) -> None:
    metered, entitlement_id = Metered(engine), new_id()
    versions = list[Version]()
    for seq in range(1, 401):
        kind = "activated" if seq % 2 else "deactivated"
        seat = {
            "key": "seat00000000",
            "kind": kind,
            "stamp": seq // 2,
            "overdraft": True,
            "leaseEnd": None,
            "reason": "released",
        }
        level = Level(seq % 2, 1, 2)
        result = ChangeRecord(
            seq, NOW_MS + seq, kind, "k", "r", level, level, NOW_MS, {}, {}, (seat,)
        )
        person = {"seatId": "a" * 256, "attributes": {"device": f"{seq:0200d}"}}
        versions.append(Version(result, "seat00000000", person))
    for first in range(0, 400, 50):
        deliver(metered.dynamodb, entitlement_id, versions[first : first + 50])
    item = read_item(metered.dynamodb, seat_record_key(entitlement_id, "seat00000000"))
    assert (item["grantCount"], len(item["grants"]), len(item["devices"])) == (200, 20, 20)
    assert size_of(item) < 20_000
    metered.units.clear()
    last = versions[-1]
    deliver(metered.dynamodb, entitlement_id, [last._replace(change=last.change._replace(seq=401))])
    assert sum(metered.units) < 15


def test_totals_of_1_536_shards_and_15_000_seats_at_once(engine: DynamoDBLocal) -> None:
    """A large pool that is deleted: every shard reports its people, and some records were given up."""
    dynamodb, entitlement_id = Metered(engine).dynamodb, new_id()
    numbers = [number * (SLOTS // 1_536) for number in range(1_536)]
    limits: Item = {"seatCount": 10, "hardCap": None, "terms": {}}
    seen: Item = {
        **limits,
        "rev": 1,
        "seq": 1,
        "used": 15_360,
        "at": NOW_MS,
        "told": [],
        "missing": [],
        "cursors": {f"{number:04d}": totals._cursor(5, 10) for number in numbers},
    }
    key = totals_key(entitlement_id)
    dynamodb.execute(Put(key, seen))
    seat = {
        "key": "seat00000000",
        "kind": "deactivated",
        "stamp": 12_345_678_901_234,
        "overdraft": True,
        "leaseEnd": NOW,
        "reason": "removed",
    }
    result = {
        "type": "emptied",
        "actor": "key_test",
        "request": "r" * 36,
        "at": NOW_MS,
        "seats": [seat] * 10,
    }
    versions = [ShardVersion(number, 9, 7, 0, result) for number in numbers]
    largest = 0
    while versions:
        item, taken = totals.apply_versions(seen, versions)
        assert 0 < taken <= totals.CHANGES_PER_WRITE
        reply = dynamodb.execute(totals.totals_put(entitlement_id, seen, item))
        assert isinstance(reply, Accepted)
        largest = max(largest, size_of(item))
        seen, versions = item, versions[taken:]
    assert seen["used"] == 0
    assert len(seen["missing"]) == totals.MISSING_KEPT
    assert largest < 2 * SMALL


def test_a_report_of_ten_million_entitlements(engine: DynamoDBLocal) -> None:
    """Its item names the parts that are done: ten times as many as there will ever be."""
    dynamodb, parts = Metered(engine).dynamodb, 20_000
    key = report_key("rep_large")
    done = frozenset(str(number) for number in range(parts - 1))
    dynamodb.execute(Put(key, {"status": "running", "done": done}))
    reply = dynamodb.execute(
        Update(key, "ADD done :number", "", NO_NAMES, {":number": frozenset({str(parts - 1)})})
    )
    assert isinstance(reply, Accepted)
    assert reply.item is not None
    assert len(reply.item["done"]) == parts
