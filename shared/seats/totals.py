"""The totals of a pool: the changes of all its shards in one sequence.

Each shard numbers its own versions. The item `SUM` knows up to which version each shard is included
(its *cursor*), and numbers the changes of the pool. It is written only as it was read, so a change
is included once, however often the stream delivers it. Each write carries the changes that it
includes (attribute `told`). So the stream records of the totals report what an only shard reports
by itself. The item `STANDING` has what a grant needs to know of the totals.

The seats in use are the sum of what the shards hold, less what was moved onto them from other
shards (attribute `moved`). Moving seats between shards does not change the totals.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from shared.dynamodb.keys import seat_usage_key, totals_key
from shared.dynamodb.requests import Item, Put
from shared.overdraft_clock import (
    CLOCK_ATTRIBUTES,
    PERIOD_ATTRIBUTES,
    OverdraftClock,
    after_use,
    clock_attributes,
    clock_in,
    period_attributes,
    period_in,
    started,
    under_terms,
    unless_recovered,
)
from shared.seats.shard import SeatShard, customer_cap_in, sold_limits
from shared.validity import status_at

# The most changes, and the most seats of all changes, that one write of the totals reports. A
# single change may have more. An item has at most 400 KB, and a change that removes all seats of a
# shard has 100 bytes for each.
CHANGES_PER_WRITE = 64
SEATS_PER_WRITE = 1_000
# The number of ranges of missing versions that are remembered.
MISSING_KEPT = 100
# A cursor is one number: the shard's `seq`, and what it held beyond what was moved onto it.
_SEQS = 1_000_000
_ZERO = 500_000
TERMS = ("status", "validFrom", "validUntil")  # besides the customer's cap


class ShardVersion(NamedTuple):
    """A version of a shard, as the totals see it.

    `held` does not include seats that were moved. `change` is what is reported, None if nothing is.
    """

    shard: int
    seq: int
    seq_before: int
    held: int
    change: Mapping[str, Any] | None


def limits_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """Limits and terms as the totals have them, from the item of a shard or the terms of a pool."""
    terms = {name: item[name] for name in TERMS if item.get(name) is not None}
    sold, cap = sold_limits(item), customer_cap_in(item)
    limits = {"seatCount": sold["seatCount"], "hardCap": sold.get("hardCap"), "terms": terms}
    if cap is not None:
        terms["customerCap"] = cap
    return {**limits, "customerCap": cap, **period_attributes(period_in(item))}


def first_totals(
    entitlement_id: str, shard: SeatShard, seq: int, limits: Mapping[str, Any], now_ms: int
) -> Put:
    """The totals of a pool that gets its second shard. They go on where its only `shard` has ended.

    `seq` is the version of that shard in which its seats are moved, which is not reported.
    """
    cursors = {f"{shard.number:04d}": _cursor(seq, shard.used)}
    item: Item = {
        **limits,
        **clock_attributes(shard.clock_at(now_ms // 1000)),
        "rev": 1,
        "seq": shard.seq,
        "used": shard.used,
        "at": now_ms,
        "cursors": cursors,
        "told": [],
        "missing": [],
    }
    return Put(totals_key(entitlement_id), item, "attribute_not_exists(pk)")


def seat_usage_put(entitlement_id: str, item: Item) -> Put:
    """What a grant needs to know of the totals; an older one never replaces a newer one."""
    names = ("used", "seatCount", "hardCap", "customerCap", "at", "rev")
    small: Item = {name: item.get(name) for name in (*names, *PERIOD_ATTRIBUTES, *CLOCK_ATTRIBUTES)}
    small["seq"] = item["seq"]
    key = seat_usage_key(entitlement_id)
    condition = "attribute_not_exists(rev) OR rev < :rev"
    return Put(key, small, condition, values={":rev": item["rev"]})


def totals_put(entitlement_id: str, seen: Item, item: Item) -> Put:
    """Write the totals, if they are still as they were read."""
    body = {name: value for name, value in item.items() if name not in ("pk", "sk")}
    return Put(totals_key(entitlement_id), body, "rev = :seen", values={":seen": seen["rev"]})


def totals_with_terms(seen: Item, change: Mapping[str, Any], limits: Mapping[str, Any]) -> Item:
    """The totals after a change of limits or terms: `change` has type, actor, request and time."""
    at = max(seen["at"], change["at"])
    now = at // 1000
    clock, period, terms = _clock_of(seen, now), period_in(limits), limits["terms"]
    if period and _status_in(terms, now) == "active":
        purchased = (seen["seatCount"], limits["seatCount"])
        clock = under_terms(clock, period_in(seen), period, purchased, seen["used"], now)
    else:
        is_early = period and _status_in(terms, now) == "not_yet_valid"
        is_over = seen["used"] > limits["seatCount"]
        clock = started(period, terms["validFrom"]) if period and is_early and is_over else None
    entry = {**change, "at": at, "used": seen["used"], "seats": [], "limits": dict(limits)}
    return {
        **seen,
        **limits,
        **clock_attributes(clock),
        "rev": seen["rev"] + 1,
        "seq": seen["seq"] + 1,
        "at": at,
        "told": [entry],
    }


def apply_versions(seen: Item, versions: Iterable[ShardVersion]) -> tuple[Item, int]:
    """Include versions of shards, in their order; return the totals and how many were included.

    At most `CHANGES_PER_WRITE` are. The same `rev` comes back if no version was new.
    """
    item = {**seen, "cursors": dict(seen["cursors"]), "told": [], "missing": list(seen["missing"])}
    taken, seats, is_changed = 0, 0, False
    for version in versions:
        if len(item["told"]) == CHANGES_PER_WRITE or seats > SEATS_PER_WRITE:
            break
        taken += 1
        is_changed |= _apply(item, version)
        seats += len(version.change.get("seats", ())) if version.change else 0
    if not is_changed:
        return seen, taken
    item["rev"] += 1
    item["seq"] += len(item["told"])
    del item["missing"][:-MISSING_KEPT]
    return item, taken


def _apply(item: Item, version: ShardVersion) -> bool:
    name = f"{version.shard:04d}"
    seq, held = _read_cursor(item["cursors"].get(name))
    if version.seq <= seq:
        if not _was_missing(item["missing"], name, version):
            return False
    else:
        if version.seq_before > seq:
            item["missing"].append([name, seq + 1, version.seq_before])
        item["used"] += version.held - held
        _move_clock(item, version)
        item["cursors"][name] = _cursor(version.seq, version.held)
    if version.change is not None:
        # Clocks differ, and shards come in any order: the time does not go back.
        item["at"] = max(item["at"], version.change["at"])
        item["told"].append({**version.change, "at": item["at"], "used": item["used"]})
    return True


def _move_clock(item: Item, version: ShardVersion) -> None:
    """Move the clock of an overdraft, at the time of the newest change that is included."""
    period = period_in(item)
    now = max(item["at"], version.change["at"] if version.change else 0) // 1000
    if period and _status_in(item["terms"], now) == "active":
        clock = after_use(clock_in(item), period, item["used"], item["seatCount"], now)
        item.update(clock_attributes(clock))


def _clock_of(item: Item, now: int) -> OverdraftClock | None:
    """The clock that runs, or has ended, at `now`."""
    is_active = _status_in(item["terms"], now) == "active"
    return unless_recovered(clock_in(item), now) if is_active else None


def _status_in(terms: Mapping[str, Any], now: int) -> str:
    return status_at(terms["status"], terms["validFrom"], terms.get("validUntil"), now)


def _was_missing(missing: list[list[Any]], name: str, version: ShardVersion) -> bool:
    """Whether a late version was recorded as missing. It is not missing any more."""
    for place, (shard, low, high) in enumerate(missing):
        if shard == name and low <= version.seq <= high:
            # Versions in which seats were moved leave gaps in the numbers.
            rest = [[shard, low, version.seq_before], [shard, version.seq + 1, high]]
            missing[place : place + 1] = [each for each in rest if each[1] <= each[2]]
            return True
    return False


def _cursor(seq: int, held: int) -> int:
    return seq * _SEQS + held + _ZERO


def _read_cursor(cursor: int | None) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    seq, held = divmod(cursor, _SEQS)
    return seq, held - _ZERO
