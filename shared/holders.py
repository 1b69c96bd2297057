"""Who holds seats: the holders from the ledger page, the people from their seat records."""

from collections.abc import Mapping
from typing import Any

from shared import ledger, table
from shared.ledger import Page, Seat, activation_id, decode_seat
from shared.lists import Listed
from shared.table import Item, Pause, Steps
from shared.times import to_rfc3339

# How often a list looks again for the names of seats just taken: under a second in all.
NAME_ATTEMPTS = 6


def held_seats(owner: str, page: Page, limit: int, after: str | None) -> Steps[Listed]:
    """At most `limit` seats held, in the order of their keys, from the one after `after`."""
    keys = sorted(key for key in page.seats if after is None or key > after)
    shown = keys[:limit]
    seats = {key: decode_seat(page.seats[key]) for key in shown}
    records = yield from _seat_records(owner, seats)
    items = [_held_seat(key, seat, records.get(key, {})) for key, seat in seats.items()]
    return Listed(items, [shown[-1]] if len(keys) > limit else None)


def _seat_records(entitlement_id: str, seats: Mapping[str, Seat]) -> Steps[dict[str, Item]]:
    """Who the holders are. Records follow from the stream: a moment is waited for the newest."""
    keys = {key: table.seat_record_key(entitlement_id, key) for key in seats}
    records: dict[str, Item] = {}
    for attempt in range(NAME_ATTEMPTS + 1):
        late = {key: keys[key] for key in seats if not _is_current(records.get(key), seats[key])}
        if not late:
            break
        if attempt:
            yield Pause(attempt)
        found = yield table.BatchGet(tuple(late.values()))
        records |= {key: found[record] for key, record in late.items() if record in found}
    return records


def _is_current(record: Item | None, seat: Seat) -> bool:
    return record is not None and record.get("stamp") == seat.stamp


def _held_seat(key: str, seat: Seat, record: Item) -> dict[str, Any]:
    # A record of an earlier grant knows who it is, since the key is made of that, and no more.
    current = record if _is_current(record or None, seat) else {}
    return {
        "activationId": activation_id(key, seat.stamp),
        "seatKey": key,
        "seatId": record.get("seatId"),
        "seatName": current.get("seatName"),
        "attributes": current.get("attributes", {}),
        "isOverdraftSeat": seat.is_overdraft,
        "activatedAt": to_rfc3339(seat.activated_at_ms),
        "lastSeenAt": to_rfc3339(current.get("lastSeenAt", seat.activated_at_ms)),
        "leaseExpiry": ledger.lease_expiry(seat.lease_end),
    }
