"""Who holds seats: the seats come from the shards, the persons from their seat records.

A search finds holders by the beginning of their `seatId`, among those whom the stream has listed.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TypedDict

from shared.clock import to_rfc3339
from shared.dynamodb.keys import (
    LIST_INDEX,
    holder_list,
    key_in,
    seat_record_key,
    seat_shard_key,
)
from shared.dynamodb.paging import MAX_READS, ResultPage
from shared.dynamodb.requests import BatchGet, Item, Operation, Pause, Query, send
from shared.seats.encoding import Grant, activation_id, decode_grant
from shared.seats.lookup import read_shard_of
from shared.seats.placement import SLOTS, Place, key_at
from shared.seats.shard import SeatShard, lease_expiry

# Attempts to read the seat records of new seats. They take less than a second in all.
NAME_ATTEMPTS = 6
# The most shards of a pool that are read together, once a list meets many shards with few seats.
READ_AHEAD = 100


class HeldSeatView(TypedDict):
    """A seat that is held, and who holds it."""

    activationId: str
    seatKey: str
    seatId: str | None
    seatName: str | None
    attributes: dict[str, str]
    isOverdraftSeat: bool
    isBorrowed: bool
    activatedAt: str
    lastSeenAt: str | None
    leaseExpiry: str | None


def held_seats(
    entitlement_id: str,
    first: SeatShard,
    limit: int,
    start: list[str] | None,
    *,
    is_borrowed: bool | None = None,
) -> Operation[ResultPage]:
    """List at most `limit` seats, shard by shard, in the order of their keys.

    `is_borrowed`: only those that are borrowed, or only the others; None: all.

    `first` is the entitlement's first shard, `start` the `next` of an earlier list. The list ends
    early if many shards have few seats. It may miss or repeat seats that are moved meanwhile.
    """
    after, number = (start[0], int(start[1])) if start else ("", 0)
    if first.is_only_shard:
        number = 0
    found: dict[str, Grant] = {}
    for reads in range(MAX_READS):
        for shard in (yield from _shards_from(entitlement_id, first, number, 2**reads)):
            keys = sorted(
                key
                for key, value in shard.seats.items()
                if key > after and is_borrowed in (None, decode_grant(value).is_borrowed)
            )
            free = limit - len(found)
            found |= {key: decode_grant(shard.seats[key]) for key in keys[:free]}
            if len(keys) > free:
                last = keys[free - 1] if free else after
                return ResultPage((yield from _shown(entitlement_id, found)), [last, str(number)])
            number, after = shard.number + SLOTS // (shard.shard_count or 1), ""
            if number == SLOTS:
                return ResultPage((yield from _shown(entitlement_id, found)), None)
    return ResultPage((yield from _shown(entitlement_id, found)), ["", str(number)])


def find_held_seats(
    entitlement_id: str, first: SeatShard, text: str, limit: int, start: list[str] | None
) -> Operation[ResultPage]:
    """List at most `limit` seats of holders whose id begins so, in the order of the ids.

    Case and accents do not matter. `first` is the entitlement's first shard, `start` the `next` of
    an earlier list. Who took a seat a moment ago may not be found yet.
    """
    list_name = holder_list(entitlement_id)
    found: dict[str, Grant] = {}
    last = start
    query = Query(
        "listKey = :list AND begins_with(listSort, :text)",
        {":list": list_name, ":text": text},
        index_name=LIST_INDEX,
        limit=limit + 1,
        start={"pk": start[0], "sk": entitlement_id, "listKey": list_name, "listSort": start[1]}
        if start
        else None,
    )
    for _ in range(MAX_READS):
        page = yield from send(query)
        places = [(str(each["pk"]), str(each["listSort"])) for each in page.items]
        grants = yield from _grants(entitlement_id, first, [key_in(sort) for _, sort in places])
        for pk, sort in places:
            if len(found) == limit:
                return ResultPage((yield from _shown(entitlement_id, found)), last)
            last = [pk, sort]
            if grant := grants.get(key_in(sort)):
                found[key_in(sort)] = grant
        if page.next is None:
            return ResultPage((yield from _shown(entitlement_id, found)), None)
        query = query._replace(start=page.next)
    return ResultPage((yield from _shown(entitlement_id, found)), last)


def _grants(entitlement_id: str, first: SeatShard, keys: list[str]) -> Operation[dict[str, Grant]]:
    """The grants of those of these seat keys that hold a seat."""
    places = {key: Place.of(entitlement_id, key, first.shard_count) for key in keys}
    wanted = tuple({place.key for place in places.values()})
    items = (yield from send(BatchGet(wanted))) if wanted else {}
    grants: dict[str, Grant] = {}
    for key, place in places.items():
        shard = SeatShard.of(items[place.key]) if place.key in items else None
        if shard is None or shard.shard_count != first.shard_count:
            shard = yield from read_shard_of(entitlement_id, key)  # seats are being moved
        if key in shard.seats:
            grants[key] = decode_grant(shard.seats[key])
    return grants


def _shards_from(
    entitlement_id: str, first: SeatShard, number: int, count: int
) -> Operation[Sequence[SeatShard]]:
    """At least one shard and at most `count`, from shard `number` on, in their order."""
    if number == 0:
        return [first]
    width = SLOTS // (first.shard_count or 1)
    shards = list[SeatShard]()
    if number % width == 0:
        numbers = range(number, SLOTS, width)[: min(count, READ_AHEAD)]
        keys = tuple(seat_shard_key(entitlement_id, each) for each in numbers)
        found = yield from send(BatchGet(keys))
        read = (SeatShard.of(found[key]) for key in keys if key in found)
        shards += takewhile(lambda shard: shard.shard_count == first.shard_count, read)
    # The shards are not those of `first`: seats are being moved.
    return shards or [(yield from read_shard_of(entitlement_id, key_at(number)))]


def _shown(entitlement_id: str, seats: Mapping[str, Grant]) -> Operation[list[HeldSeatView]]:
    records = yield from _seat_records(entitlement_id, seats)
    return [_held_seat(key, seat, records.get(key, {})) for key, seat in seats.items()]


def _seat_records(entitlement_id: str, seats: Mapping[str, Grant]) -> Operation[dict[str, Item]]:
    """The seat records of the holders. The stream writes them: wait a moment for the newest."""
    keys = {key: seat_record_key(entitlement_id, key) for key in seats}
    records: dict[str, Item] = {}
    for attempt in range(NAME_ATTEMPTS + 1):
        late = {key: keys[key] for key in seats if not _is_current(records.get(key), seats[key])}
        if not late:
            break
        if attempt:
            yield from send(Pause(attempt))
        found = yield from send(BatchGet(tuple(late.values())))
        records |= {key: found[record] for key, record in late.items() if record in found}
    return records


def _is_current(record: Item | None, seat: Grant) -> bool:
    return record is not None and record.get("stamp") == seat.grant_id


def _held_seat(key: str, seat: Grant, record: Item) -> HeldSeatView:
    # The record of an earlier grant identifies the person, since the key is made of that. No more.
    current = record if _is_current(record or None, seat) else {}
    return {
        "activationId": activation_id(key, seat.grant_id),
        "seatKey": key,
        "seatId": record.get("seatId"),
        "seatName": current.get("seatName"),
        "attributes": current.get("attributes", {}),
        "isOverdraftSeat": seat.is_overdraft,
        "isBorrowed": seat.is_borrowed,
        "activatedAt": to_rfc3339(seat.activated_at_ms),
        "lastSeenAt": to_rfc3339(current.get("lastSeenAt", seat.activated_at_ms)),
        "leaseExpiry": lease_expiry(seat.lease_end),
    }
