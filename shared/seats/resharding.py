"""Moving seats between shards: one group of neighbours in one transaction."""

from math import gcd
from typing import NamedTuple

from shared.audit import Change
from shared.dynamodb.keys import (
    Key,
    pool_sweep_partition,
    seat_shard_key,
    shard_number,
    sweep_partition,
)
from shared.dynamodb.requests import (
    NO_NAMES,
    Item,
    Put,
    Update,
    Value,
)
from shared.overdraft_clock import CLOCK_ATTRIBUTES, PERIOD_ATTRIBUTES
from shared.seats.placement import SLOTS, Place, wanted_shard_count
from shared.seats.pool import Pool
from shared.seats.seat_usage import SeatUsage
from shared.seats.shard import HAS_TOTALS, SeatShard, earliest_after, sold_limits
from shared.seats.terms import total_allocation

# The most shards that one transaction changes, and the most that one shard is split into.
BATCH = 16


LIMIT_ATTRIBUTES = ("seatCount", "hardCap", "sold")
TERM_ATTRIBUTES = (
    "status",
    "validFrom",
    "validUntil",
    "leaseSeconds",
    "overdraftLeaseSeconds",
    "offlineSeconds",
    "noSeats",
)


def target_shard_count(pool: Pool, usage: SeatUsage) -> int:
    """The number of shards that a pool of several should have; fewer only when the cap changes."""
    wanted = wanted_shard_count(usage.hard_cap, usage.purchased, usage.used)
    may_shrink = usage.hard_cap is not None and pool.needs_reconcile
    return wanted if may_shrink else max(wanted, pool.shard_count or 1)


def next_shard_count(shard_count: int, wanted: int) -> int:
    """The next number of shards on the way to the wanted one: at most 16 for one, or one for 16."""
    common = gcd(shard_count, wanted)
    if wanted // common <= BATCH and shard_count // common <= BATCH:
        return wanted
    if wanted > shard_count:
        return shard_count * BATCH
    return shard_count // max(each for each in range(2, BATCH + 1) if shard_count % each == 0)


def may_hold_seats(key: Key, item: Item) -> bool:
    """Whether a shard may hold seats. Its item stays after its seats have moved elsewhere."""
    shard_count = item.get("pages")
    number = shard_number(key.pk)
    return number == 0 if not shard_count else number % (SLOTS // shard_count) == 0


def lock_shard_update(key: Key, now_ms: int) -> Update:
    """Let nobody take or release a seat on a shard while its seats are being moved."""
    return Update(key, "SET movingAt = :now", "attribute_exists(pk)", NO_NAMES, {":now": now_ms})


class ShardGroup(NamedTuple):
    """Neighbouring shards, as items by their first slots, and the shards that replace them.

    A pool of `old_count` shards (None: one) becomes one of `new_count`. `old` and `new` are the
    first slots of this group before and afterwards.
    """

    entitlement_id: str
    items: dict[int, Item]
    old: list[int]
    new: list[int]
    old_count: int | None
    new_count: int
    limits: Item

    @property
    def seq(self) -> int:
        """The version of all of them afterwards. The version of a seat's shard never goes back."""
        return 1 + max(int(item["seq"]) for item in self.items.values())

    def writes(self, change: Change) -> list[Update | Put]:
        """The writes that move the seats."""
        before = [SeatShard.of(self.items[number]) for number in self.old]
        seats = {key: value for shard in before for key, value in shard.seats.items()}
        shard_count = None if self.new_count == 1 else self.new_count
        by_shard: dict[int, dict[str, int]] = {number: {} for number in self.new}
        for key, value in seats.items():
            by_shard[Place.of(self.entitlement_id, key, shard_count).number][key] = value
        if self.old_count is None:
            allowed = max(total_allocation(before[0].upper_cap), before[0].used)
        else:
            allowed = sum(shard.allocation or 0 for shard in before)
        each, more = divmod(allowed - len(seats), len(self.new))
        writes: list[Update | Put] = []
        for number in sorted({*self.old, *self.new}):
            item = self._shard_item(number, by_shard.get(number), change)
            if number in by_shard and shard_count:
                free = each + int(self.new.index(number) < more)
                item["allowance"] = len(by_shard[number]) + free
                item["roomKey"] = (
                    Place(self.entitlement_id, number, shard_count).capacity_partition
                    if free
                    else None
                )
            writes.append(self._put(number, item))
        return writes

    def _shard_item(self, number: int, seats: dict[str, int] | None, change: Change) -> Item:
        """A shard with these seats; None: its seats are on other shards."""
        was = self.items.get(number)
        base = self.items[self.old[0]]
        had, has = (len(was["seats"]) if was else 0), seats or {}
        item: Item = {
            "seats": has,
            "seq": self.seq,
            "last": change.record("moved"),
            HAS_TOTALS: True,
            "moved": (was or {}).get("moved", 0) + len(has) - had,
            "page": number,
            **{name: base.get(name) for name in TERM_ATTRIBUTES},
        }
        if seats is None:
            return {**item, "pages": 0 if self.new_count == 1 else self.new_count}
        item["earliest"] = earliest_after(SeatShard.of(base), seats, change.now)
        if self.new_count == 1:
            names = (*LIMIT_ATTRIBUTES, *PERIOD_ATTRIBUTES, *CLOCK_ATTRIBUTES)
            limits = {name: self.limits.get(name) for name in names}
            if limits["overdraftPeriod"]:
                limits["firstOver"] = sold_limits(self.limits)["seatCount"] + 1
            return {**item, **limits, "sweepKey": sweep_partition(self.entitlement_id)}
        is_draining = any("isFrozen" in self.items[each] for each in self.old)
        if self.old_count is None:
            shard = SeatShard.of(base)
            is_draining = shard.used > total_allocation(shard.upper_cap)
        return {
            **item,
            "pages": self.new_count,
            "sweepKey": pool_sweep_partition(self.entitlement_id),
            "isFrozen": True if is_draining else None,
        }

    def _put(self, number: int, item: Item) -> Put:
        """Write a shard, if it is still as it was read."""
        key, was = seat_shard_key(self.entitlement_id, number), self.items.get(number)
        if was is None:
            return Put(key, item, "attribute_not_exists(pk)")
        condition, values = "seq = :seen", dict[str, Value]({":seen": was["seq"]})
        if number in self.old and self.old_count:
            condition += " AND pages = :pages AND allowance = :allowance"
            values |= {":pages": self.old_count, ":allowance": was["allowance"]}
        return Put(key, item, condition, values=values)
