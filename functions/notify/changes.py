"""What a version of a ledger page changed: the difference of its two images.

A page is its own outbox. `last` tells who made the version and how; which seats came and went
is read from the seats themselves, so one write that frees many seats and takes one is many
changes.
"""

from typing import Any, NamedTuple

from shared.history import KeptChange, Level
from shared.ledger import decode_seat
from shared.table import Item

_REASONS = {"released": "released", "deleted": "removed", "expired": "removed"}
_TERMS = ("status", "validFrom", "validUntil")


class Version(NamedTuple):
    """One accepted version: what is kept of it, and the person it tells of.

    `person` has `seatId`, `seatName`, `attributes` of the seat `person_key`, as far as given.
    """

    change: KeptChange
    person_key: str
    person: dict[str, Any]


def read_version(old: Item | None, new: Item) -> Version | None:
    """The version that a stream record brought; None where nothing was accepted.

    What was freed comes before what was taken. When `seq` did not move, only housekeeping was
    done.
    """
    if old and old["seq"] == new["seq"]:
        return None
    last = new["last"]
    change = KeptChange(
        new["seq"],
        last["at"],
        last["type"],
        last["actor"],
        last["request"],
        _level(new),
        _level(old) if old else None,
        # A version that could not be read spoils no more than its own record.
        old["last"].get("at", last["at"]) if old else last["at"],
        _terms(new),
        _terms(old) if old else {},
        tuple(_seats(old["seats"] if old else {}, new["seats"], last["type"])),
    )
    person = {name: last[name] for name in ("seatId", "seatName", "attributes") if name in last}
    return Version(change, last.get("key", ""), person)


def _level(page: Item) -> Level:
    return Level(len(page["seats"]), page["seatCount"], page.get("hardCap"))


def _terms(page: Item) -> dict[str, Any]:
    return {name: page[name] for name in _TERMS if page.get(name) is not None}


def _seats(before: dict[str, int], after: dict[str, int], kind: str) -> list[dict[str, Any]]:
    changes = []
    for key, value in before.items():
        if key not in after:
            reason = _REASONS.get(kind, "lease_expired")
            changes.append({**_seat(key, value, "deactivated"), "reason": reason})
    for key, value in after.items():
        if key not in before:
            changes.append(_seat(key, value, "activated"))
        elif before[key] != value:
            changes.append(_seat(key, value, "renewed"))
    return changes


def _seat(key: str, value: int, kind: str) -> dict[str, Any]:
    seat = decode_seat(value)
    return {
        "key": key,
        "kind": kind,
        "stamp": seat.stamp,
        "overdraft": seat.is_overdraft,
        "leaseEnd": seat.lease_end,
    }
