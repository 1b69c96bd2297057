"""Reading stream records: what a version changed is the difference of its two images.

A shard is its own outbox. `last` says who made the version and how. The seats that came and went
follow from the seats themselves, so one write that frees many seats and takes one makes many
changes.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.dynamodb.requests import Item
from shared.history.changes import ChangeRecord
from shared.history.level import Level
from shared.seats.encoding import decode_grant
from shared.seats.shard import HAS_TOTALS, customer_cap_in, sold_limits
from shared.seats.totals import ShardVersion
from shared.usage.counter import Counter

_REASONS = {"released": "released", "deleted": "removed", "expired": "removed"}
# Versions in which nobody came or went: seats moved to another shard, or got a lease of new terms.
NOBODY_CAME_OR_WENT = ("moved", "leased_anew")
TERMS_CHANGES = ("created", "updated", "deleted", "expired")
_TERMS = ("status", "validFrom", "validUntil")


class Version(NamedTuple):
    """One accepted version: its change record, and the person whom it names.

    `person` has `seatId`, `seatName` and `attributes` of the seat `person_key`, as far as given.
    `ended`: the period of a usage limit that this version has ended, with its total.
    """

    change: ChangeRecord
    person_key: str = ""
    person: Mapping[str, Any] = {}
    ended: Item | None = None


def read_version(old: Item | None, new: Item) -> Version | None:
    """The version in a stream record; None if nothing was accepted.

    Seats that were freed come before the one that was taken. If `seq` has not changed, the write
    was housekeeping.
    """
    if old and old["seq"] == new["seq"]:
        return None
    last = new["last"]
    change = ChangeRecord(
        new["seq"],
        last["at"],
        last["type"],
        last["actor"],
        last["request"],
        _level(new),
        _level(old) if old else None,
        # A version that cannot be read affects no more than its own record.
        old["last"].get("at", last["at"]) if old else last["at"],
        _terms(new),
        _terms(old) if old else {},
        _seats(old["seats"] if old else {}, new["seats"], last["type"]),
    )
    person = {name: last[name] for name in ("seatId", "seatName", "attributes") if name in last}
    return Version(change, last.get("key", ""), person)


def _level(shard: Item) -> Level:
    # The shards of a pool do not have its limits.
    sold = sold_limits(shard)
    return Level(len(shard["seats"]), sold.get("seatCount", 0), sold.get("hardCap"))


def _terms(shard: Item) -> dict[str, Any]:
    terms = {name: shard[name] for name in _TERMS if shard.get(name) is not None}
    cap = customer_cap_in(shard)
    return terms if cap is None else {**terms, "customerCap": cap}


def _seats(before: dict[str, int], after: dict[str, int], kind: str) -> tuple[dict[str, Any], ...]:
    changes = list[dict[str, Any]]()
    if kind in NOBODY_CAME_OR_WENT:
        return ()
    for key, value in before.items():
        if key not in after:
            reason = _REASONS.get(kind, "lease_expired")
            changes.append({**_seat(key, value, "deactivated"), "reason": reason})
    for key, value in after.items():
        if key not in before:
            changes.append(_borrowing(_seat(key, value, "activated")))
        elif before[key] != value:
            changes.append(_borrowing(_seat(key, value, "renewed")))
    return tuple(changes)


def _borrowing(seat: dict[str, Any]) -> dict[str, Any]:
    """A seat that was written, with whether it is borrowed by that, or for longer."""
    return {**seat, "borrows": True} if seat.get("borrowed") else seat


def _seat(key: str, value: int, kind: str) -> dict[str, Any]:
    seat = decode_grant(value)
    return {
        "key": key,
        "kind": kind,
        "stamp": seat.grant_id,
        "overdraft": seat.is_overdraft,
        "leaseEnd": seat.lease_end,
        **({"borrowed": True} if seat.is_borrowed else {}),
    }


# --- The totals of a pool -------------------------------------------------------------------------


def has_totals(shard: Item) -> bool:
    """Whether a shard's versions are reported by its pool's totals."""
    return HAS_TOTALS in shard


def version_for_totals(shard: int, old: Item | None, new: Item, version: Version) -> ShardVersion:
    """A version of a shard as the totals include it."""
    change = version.change
    # The totals have reported the new terms; this has the seats that they removed.
    kind = "emptied" if change.type in TERMS_CHANGES else change.type
    change_of_shard = {
        "type": kind,
        "actor": change.actor,
        "request": change.request,
        "at": change.at,
        "seats": [dict(seat) for seat in change.seats],
    }
    before = old["seq"] if old else 0
    held = len(new["seats"]) - new.get("moved", 0)
    return ShardVersion(shard, new["seq"], before, held, change_of_shard if change.seats else None)


def read_totals(old: Item | None, new: Item) -> list[Version]:
    """The versions of a pool that a version of its totals reports."""
    if old is None or old["rev"] == new["rev"] or not new["told"]:
        return []
    if old["seq"] + len(new["told"]) != new["seq"]:
        raise ValueError("the totals report other changes than they include")
    level = Level(old["used"], old["seatCount"], old.get("hardCap"))
    at, terms = old["at"], old["terms"]
    versions = []
    for seq, entry in enumerate(new["told"], start=old["seq"] + 1):
        limits = entry.get("limits", {})
        after = Level(
            entry["used"],
            limits.get("seatCount", level.purchased),
            limits.get("hardCap") if limits else level.hard_cap,
        )
        terms_after = limits.get("terms", terms)
        change = ChangeRecord(
            seq,
            entry["at"],
            entry["type"],
            entry["actor"],
            entry["request"],
            after,
            level,
            at,
            terms_after,
            terms,
            tuple(entry["seats"]),
        )
        versions.append(Version(change))
        level, at, terms = after, entry["at"], terms_after
    return versions


# --- A usage limit's counter ----------------------------------------------------------------------


def read_count(usage: str, old: Item | None, new: Item) -> Version | None:
    """The version of a counter in a stream record; None if nothing was accepted.

    Usage falls to nothing when the period ends. No write reports that; the next write shows it.
    """
    if old and old["seq"] == new["seq"]:
        return None
    last = new["last"]
    after = Counter.of(new)
    at = last["at"]
    before = Counter.of(old) if old else None
    level_before, before_at = None, at
    if old and before:
        level_before, until = _count_level(before, at), before.ends_ms
        before_at = old["last"].get("at", at) if until is None or until > at else until
    change = ChangeRecord(
        new["seq"],
        at,
        last["type"],
        last["actor"],
        last["request"],
        _count_level(after, at),
        level_before,
        before_at,
        _count_terms(new),
        _count_terms(old) if old else {},
        (),
        usage=usage,
        quantity=last.get("quantity", 0),
        requests=last.get("requests", 1),
        note=last.get("reason", ""),
        period=(after.period.start, after.period.end),
        until=after.ends_ms,
        occurred=last.get("occurredAt"),
    )
    ended = None
    # A period in which nothing was used is not listed.
    if before and before.used and after.period_number != before.period_number:
        end = before.period.end
        ended = {
            "number": before.period_number,
            "periodStart": before.period.start,
            "periodEnd": end if end is not None and end * 1000 <= at else at // 1000,
            "used": before.used,
            "purchased": before.purchased,
            "hardCap": before.hard_cap,
        }
        if level_before:
            # It begins with nothing used, whoever began it.
            change = change._replace(before=level_before._replace(used=0))
    return Version(change, ended=ended)


def _count_level(counter: Counter, at: int) -> Level:
    return Level(counter.in_use(at), counter.purchased, counter.hard_cap)


def _count_terms(counter: Item) -> dict[str, Any]:
    names = (*_TERMS, "schedule", "customerCap")
    return {name: counter[name] for name in names if counter.get(name) is not None}
