"""Seat records: the person behind a seat key, and what is known of the seats that they held."""

from collections.abc import Iterable, Mapping
from typing import Any

from functions.notify.stream_images import Version
from shared.dynamodb.keys import (
    Key,
    holder_list,
    holder_sort,
    person_key,
    seat_record_key,
)
from shared.dynamodb.requests import (
    Accepted,
    BatchGet,
    Item,
    LostRace,
    Operation,
    Put,
    Several,
    Transact,
    send,
)
from shared.history.changes import granted_at
from shared.texts import folded

# From this many records on, transactions are faster than separate calls at the same time. They cost
# twice the write units, which is worth it in a rush.
MANY = 30
IN_TRANSACTION = 50  # of at most 100 items: a record, and perhaps what makes its person findable
GRANTS_KEPT = 20
DEVICES_KEPT = 20
# Of an id, as it is searched: an index takes 1,024 bytes.
SEARCHED_CHARACTERS = 200


def write(entitlement_id: str, versions: Iterable[Version]) -> Operation[None]:
    """Update the records of every seat in these versions.

    A record has the `seq` of its shard, so a version that comes again, or late, changes nothing.
    Each record is written only if it is as it was read: a person who is erased meanwhile stays
    erased.
    """
    by_key: dict[str, list[Version]] = {}
    for version in versions:
        for seat in version.change.seats:
            by_key.setdefault(seat["key"], []).append(version)
    wanted = dict(by_key)
    for attempt in range(5):
        keys = {key: seat_record_key(entitlement_id, key) for key in wanted}
        found = yield from send(BatchGet(tuple(keys.values())))
        puts: dict[str, tuple[Put, ...]] = {}
        for key, of_key in wanted.items():
            seen = found.get(keys[key])
            record = dict(seen or {"seatKey": key, "entitlementId": entitlement_id, "seq": 0})
            for version in of_key:
                if version.change.seq > record["seq"]:
                    _tell(record, key, version)
                else:
                    _tell_late(record, key, version)
            findable = _findable(entitlement_id, record)
            if record != seen:
                puts[key] = (_put(keys[key], record, seen), *findable)
        if not puts:
            return
        # If a transaction fails for one record, it fails for all: then each is written alone.
        size = IN_TRANSACTION if len(puts) >= MANY and not attempt else 1
        parts = [list(puts)[first : first + size] for first in range(0, len(puts), size)]
        replies = yield from send(
            Several(tuple(_together([puts[key] for key in part]) for part in parts))
        )
        wanted = {
            key: wanted[key]
            for part, reply in zip(parts, replies, strict=True)
            if not isinstance(reply, Accepted)
            for key in part
        }
        if not wanted:
            return
    raise LostRace("seat records kept changing")


def _together(parts: list[tuple[Put, ...]]) -> Put | Transact:
    puts = [put for part in parts for put in part]
    return puts[0] if len(puts) == 1 else Transact(tuple(puts))


def _findable(entitlement_id: str, record: Item) -> list[Put]:
    """What makes a record's person findable, unless it is written already.

    It is written together with the record, so whoever erases the person knows of it.
    """
    if record.get("seatId") is None:
        return []
    key = person_key(record["seatId"], entitlement_id)
    if record.get("person") == key.pk:
        return []
    record["person"] = key.pk
    place: Item = {
        "listKey": holder_list(entitlement_id),
        "listSort": holder_sort(folded(record["seatId"])[:SEARCHED_CHARACTERS], record["seatKey"]),
    }
    return [Put(key, place)]


def _put(key: Key, record: Item, seen: Item | None) -> Put:
    item = {name: value for name, value in record.items() if name not in ("pk", "sk")}
    if seen is None:
        return Put(key, item, "attribute_not_exists(pk)")
    # Attributes that others write: erasing a person, and counting them in an overdraft episode.
    conditions, values = ["seq = :seq"], dict[str, Any]({":seq": seen["seq"]})
    for name in ("erasedAt", "episode"):
        if name in seen:
            conditions.append(f"{name} = :{name}")
            values[f":{name}"] = seen[name]
        else:
            conditions.append(f"attribute_not_exists({name})")
    return Put(key, item, " AND ".join(conditions), values=values)


def _tell(record: Item, key: str, version: Version) -> None:
    """Fold one version into the record of one seat."""
    change = version.change
    for seat in change.seats:
        if seat["key"] != key:
            continue
        if seat["kind"] == "deactivated":
            _end(record, seat, change.at)
            continue
        is_new = record.get("stamp") != seat["stamp"]
        if is_new and record.get("stamp") and not record.get("endedAt"):
            # The stream gave up the end of the grant before this one; this version shows that it
            # ended.
            _end(record, {**record, "reason": "unknown"}, change.at)
        record |= {
            "stamp": seat["stamp"],
            "activatedAt": granted_at(seat["stamp"]),
            "isOverdraftSeat": seat["overdraft"],
            "lastSeenAt": change.at,
        }
        for name in ("endedAt", "endReason"):
            record.pop(name, None)
        if is_new:
            record["grantCount"] = record.get("grantCount", 0) + 1
            for name in ("seatName", "attributes"):
                record.pop(name, None)
        # Data from before the person was erased is not stored again.
        if key == version.person_key and change.seq > record.get("erasedSeq", 0):
            record |= version.person
            record.pop("erasedAt", None)  # they have come back
            _see(record, version.person, change.at)
    record["seq"] = change.seq


def _tell_late(record: Item, key: str, version: Version) -> None:
    """Fold in a version that comes after later ones: it adds only what nothing else has told."""
    change = version.change
    is_theirs = key == version.person_key and change.seq > record.get("erasedSeq", 0)
    if is_theirs and version.person and not record.get("seatId"):
        record |= version.person
        _see(record, version.person, change.at)
    for seat in change.seats:
        if seat["key"] == key and seat["kind"] == "activated" and "stamp" not in record:
            record |= {
                "stamp": seat["stamp"],
                "activatedAt": granted_at(seat["stamp"]),
                "isOverdraftSeat": seat["overdraft"],
                "lastSeenAt": change.at,
                "grantCount": 1,
            }


def _end(record: Item, seat: Mapping[str, Any], at: int) -> None:
    record |= {"endedAt": at, "endReason": seat["reason"]}
    grant = {
        "from": granted_at(seat["stamp"]),
        "to": at,
        "reason": seat["reason"],
        "overdraft": bool(seat.get("overdraft", record.get("isOverdraftSeat"))),
    }
    record["grants"] = [*record.get("grants", []), grant][-GRANTS_KEPT:]


def _see(record: Item, person: Mapping[str, Any], at: int) -> None:
    """A device is the value of the attribute with that name."""
    device = person.get("attributes", {}).get("device")
    if not device:
        return
    devices = [each for each in record.get("devices", []) if each["device"] != device]
    known = [each for each in record.get("devices", []) if each["device"] == device]
    first = known[0]["from"] if known else at
    devices.append({"device": device, "from": first, "to": at})
    record["devices"] = devices[-DEVICES_KEPT:]
