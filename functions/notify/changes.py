"""What a version of a ledger page changed: the difference of its two images.

A page is its own outbox. `last` tells who made the version and how; which seats came and went
is read from the seats themselves, so one write that frees many seats and takes one is many
changes.
"""

from typing import Any, NamedTuple

from shared.ledger import Seat, decode_seat
from shared.table import Item


class SeatChange(NamedTuple):
    """One seat in one version: `kind` is `activated`, `renewed` or `deactivated`.

    `reason` says how a seat ended: `released`, `lease_expired` or `removed`. `person` has
    `seatId`, `seatName`, `attributes` where the version tells them. `at_ms`: Unix milliseconds.
    """

    kind: str
    key: str
    seat: Seat
    seq: int
    at_ms: int
    reason: str
    person: dict[str, Any]


_REASONS = {"released": "released", "deleted": "removed", "expired": "removed"}


def seat_changes(old: Item | None, new: Item) -> list[SeatChange]:
    """The changes of seats from one image of a page to the next, in the order they count.

    What was freed comes before what was taken. Empty when `seq` did not move: then nothing was
    accepted, only housekeeping done.
    """
    seats_before: dict[str, int] = old["seats"] if old else {}
    seats_after: dict[str, int] = new["seats"]
    if old and old["seq"] == new["seq"]:
        return []
    last = new["last"]
    changes = []
    for key, value in seats_before.items():
        if key not in seats_after:
            reason = _REASONS.get(last["type"], "lease_expired")
            changes.append(_change("deactivated", key, value, new, reason))
    for key, value in seats_after.items():
        before = seats_before.get(key)
        if before is None:
            changes.append(_change("activated", key, value, new))
        elif before != value:
            changes.append(_change("renewed", key, value, new))
    return changes


def _change(kind: str, key: str, value: int, new: Item, reason: str = "") -> SeatChange:
    last = new["last"]
    told = last if last.get("key") == key else {}
    person = {name: told[name] for name in ("seatId", "seatName", "attributes") if name in told}
    return SeatChange(kind, key, decode_seat(value), new["seq"], last["at"], reason, person)
