"""Who holds seats: the seats come from the shards, the persons from their seat records."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TypedDict

from shared.clock import to_rfc3339
from shared.dynamodb.keys import seat_record_key, seat_shard_key
from shared.dynamodb.paging import MAX_READS, ResultPage
from shared.dynamodb.requests import BatchGet, Item, Operation, Pause, send
from shared.seats.encoding import Grant, activation_id, decode_grant
from shared.seats.lookup import read_shard_of
from shared.seats.placement import SLOTS, key_at
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
    activatedAt: str
    lastSeenAt: str | None
    leaseExpiry: str | None


def held_seats(
    entitlement_id: str, first: SeatShard, limit: int, start: list[str] | None
) -> Operation[ResultPage]:
    """List at most `limit` seats, shard by shard, in the order of their keys.

    `first` is the entitlement's first shard, `start` the `next` of an earlier list. The list ends
    early if many shards have few seats. It may miss or repeat seats that are moved meanwhile.
    """
    after, number = (start[0], int(start[1])) if start else ("", 0)
    if first.is_only_shard:
        number = 0
    found: dict[str, Grant] = {}
    for reads in range(MAX_READS):
        for shard in (yield from _shards_from(entitlement_id, first, number, 2**reads)):
            keys = sorted(key for key in shard.seats if key > after)
            free = limit - len(found)
            found |= {key: decode_grant(shard.seats[key]) for key in keys[:free]}
            if len(keys) > free:
                last = keys[free - 1] if free else after
                return ResultPage((yield from _shown(entitlement_id, found)), [last, str(number)])
            number, after = shard.number + SLOTS // (shard.shard_count or 1), ""
            if number == SLOTS:
                return ResultPage((yield from _shown(entitlement_id, found)), None)
    return ResultPage((yield from _shown(entitlement_id, found)), ["", str(number)])


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
        "activatedAt": to_rfc3339(seat.activated_at_ms),
        "lastSeenAt": to_rfc3339(current.get("lastSeenAt", seat.activated_at_ms)),
        "leaseExpiry": lease_expiry(seat.lease_end),
    }
