"""Who holds seats: the holders from the ledger's pages, the people from their seat records."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from shared.clock import to_rfc3339
from shared.dynamodb.keys import Key, seat_record_key, seat_shard_key
from shared.dynamodb.paging import MAX_READS, ResultPage
from shared.dynamodb.requests import BatchGet, Item, Operation, Pause
from shared.seats.encoding import Seat, activation_id, decode_seat
from shared.seats.lookup import find_shard_of
from shared.seats.placement import PARTS, key_at
from shared.seats.shard import SeatShard, lease_expiry

# How often a list looks again for the names of seats just taken: under a second in all.
NAME_ATTEMPTS = 6
# So many pages of a pool are read at once, once a list has come to many of few seats.
READ_AHEAD = 100


def held_seats(
    owner: str, first: SeatShard, limit: int, start: list[str] | None
) -> Operation[ResultPage]:
    """At most `limit` seats held, page by page and in the order of their keys.

    `first` is the first page of the entitlement, `start` what an earlier list gave as `next`.
    Ends early where many pages have few seats. While seats are moved between pages, a list may
    miss or repeat some of them.
    """
    after, number = (start[0], int(start[1])) if start else ("", 0)
    if first.is_only_shard:
        number = 0
    found: dict[str, Seat] = {}
    for reads in range(MAX_READS):
        for shard in (yield from _pages_from(owner, first, number, 2**reads)):
            keys = sorted(key for key in shard.seats if key > after)
            free = limit - len(found)
            found |= {key: decode_seat(shard.seats[key]) for key in keys[:free]}
            if len(keys) > free:
                last = keys[free - 1] if free else after
                return ResultPage((yield from _shown(owner, found)), [last, str(number)])
            number, after = shard.number + PARTS // (shard.shard_count or 1), ""
            if number == PARTS:
                return ResultPage((yield from _shown(owner, found)), None)
    return ResultPage((yield from _shown(owner, found)), ["", str(number)])


def _pages_from(
    owner: str, first: SeatShard, number: int, count: int
) -> Operation[Sequence[SeatShard]]:
    """At least one page and at most `count`, from the one named so on, in their order."""
    if number == 0:
        return [first]
    width = PARTS // (first.shard_count or 1)
    shards = list[SeatShard]()
    if number % width == 0:
        numbers = range(number, PARTS, width)[: min(count, READ_AHEAD)]
        keys = tuple(seat_shard_key(owner, each) for each in numbers)
        found: dict[Key, Item] = yield BatchGet(keys)
        read = (SeatShard.of(found[key]) for key in keys if key in found)
        shards += takewhile(lambda shard: shard.shard_count == first.shard_count, read)
    # One of other neighbours: seats are being moved.
    return shards or [(yield from find_shard_of(owner, key_at(number)))]


def _shown(owner: str, seats: Mapping[str, Seat]) -> Operation[list[dict[str, Any]]]:
    records = yield from _seat_records(owner, seats)
    return [_held_seat(key, seat, records.get(key, {})) for key, seat in seats.items()]


def _seat_records(entitlement_id: str, seats: Mapping[str, Seat]) -> Operation[dict[str, Item]]:
    """Who the holders are. Records follow from the stream: a moment is waited for the newest."""
    keys = {key: seat_record_key(entitlement_id, key) for key in seats}
    records: dict[str, Item] = {}
    for attempt in range(NAME_ATTEMPTS + 1):
        late = {key: keys[key] for key in seats if not _is_current(records.get(key), seats[key])}
        if not late:
            break
        if attempt:
            yield Pause(attempt)
        found = yield BatchGet(tuple(late.values()))
        records |= {key: found[record] for key, record in late.items() if record in found}
    return records


def _is_current(record: Item | None, seat: Seat) -> bool:
    return record is not None and record.get("stamp") == seat.grant_id


def _held_seat(key: str, seat: Seat, record: Item) -> dict[str, Any]:
    # A record of an earlier grant knows who it is, since the key is made of that, and no more.
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
