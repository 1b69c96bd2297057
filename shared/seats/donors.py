"""A full shard takes allocation of another one, the donor, together with a seat."""

import random
from enum import Enum, auto
from typing import NamedTuple

from shared import problems
from shared.dynamodb.keys import CAPACITY_INDEX, POOL_PREFIX, Key
from shared.dynamodb.patterns import ROUNDS, read_existing
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    BatchGet,
    Cancelled,
    Item,
    Once,
    Operation,
    Pause,
    Query,
    Transact,
    Update,
    Value,
    send,
)
from shared.overload import KnownFull
from shared.seats.leases import due_shards, free_leases_of
from shared.seats.pending import ActivationResult, PendingActivation
from shared.seats.placement import SLOTS, capacity_partitions
from shared.seats.pool import Pool
from shared.seats.shard import SeatShard
from shared.seats.writes import SeatLimit, activation_record, activation_update

# The number of shards from the capacity index that are compared; the one with the most gives.
SAMPLE = 16


# --- Finding free capacity ------------------------------------------------------------------------


class NoSeat(Enum):
    """The outcome of a search on other shards that found no seat."""

    RETRY_HERE = auto()  # our own shard has changed, or it is the donor itself
    POOL_FULL = auto()
    KNOWN_FULL = auto()  # the table takes no more requests, and the pool was full a moment ago


class _Donor(NamedTuple):
    """A possible donor: a shard (`shard_count` 0), or the pool's unallocated seats."""

    key: Key
    allocation: int
    used: int
    shard_count: int
    is_marked: bool = True

    @classmethod
    def of(cls, item: Item) -> "_Donor":
        """The donor in an item that the capacity index named."""
        key = Key(item["pk"], item["sk"])
        if key.pk.startswith(POOL_PREFIX):
            pool = Pool.of(item)
            return cls(key, pool.unallocated, 0, pool.shard_count or 1, "roomKey" in item)
        return cls(key, item.get("allowance", 0), len(item["seats"]), 0, "roomKey" in item)

    @property
    def free(self) -> int:
        """The number of seats that it could give."""
        return max(0, self.allocation - self.used)

    @property
    def share(self) -> int:
        """The number of seats that it gives: half; of unallocated seats, an equal share."""
        return -(-self.free // (self.shard_count or 2))

    def give(self, share: int) -> Update:
        """Give this many seats, if the donor is still as it was read."""
        values = {":seen": self.allocation, ":left": self.allocation - share}
        if self.shard_count:
            return Update(self.key, "SET bank = :left", "bank = :seen", NO_NAMES, values)
        return Update(
            self.key,
            "SET allowance = :left",
            "allowance = :seen AND size(seats) <= :left",
            NO_NAMES,
            values,
        )

    def unmark(self) -> Update:
        """Remove it from the capacity index, if it has no free capacity."""
        condition, values = "size(seats) >= allowance", dict[str, Value]()
        if self.shard_count:
            condition, values = "bank <= :none", {":none": 0}
        return Update(self.key, "REMOVE roomKey", condition, NO_NAMES, values)


class _Candidates:
    """The capacity index of a pool. A large one is read from a random position."""

    def __init__(self, pending: PendingActivation, shard_count: int) -> None:
        self._pending = pending
        self._is_begun = False
        partitions = capacity_partitions(pending.entitlement_id, shard_count)
        random.shuffle(partitions)
        self._spans = [(partition, 0, SLOTS, True) for partition in partitions]
        self._start: Item | None = None

    def more(self) -> Operation[list[_Donor] | None]:
        """The next candidates as they are now, the largest capacity first; None at the end.

        Raises:
            KnownFull.
        """
        while self._spans:
            partition, low, high, is_whole = self._spans[0]
            found = yield from self._pending.read_unless_full(
                Query(
                    "roomKey = :partition AND page BETWEEN :low AND :high",
                    {":partition": partition, ":low": low, ":high": high},
                    index_name=CAPACITY_INDEX,
                    limit=SAMPLE,
                    start=self._start,
                )
            )
            if not self._is_begun:
                self._pending.searched_ms, self._is_begun = self._pending.change.now_ms, True
            if found.next and is_whole:
                # Without a random position, every request would start with the same donors.
                middle = random.randrange(1, SLOTS)
                spans = ((middle, SLOTS), (0, middle - 1))
                self._spans[:1] = [(partition, *span, False) for span in spans]
                continue
            self._start = found.next
            if found.next is None:
                self._spans.pop(0)
            if found.items:
                keys = tuple(Key(item["pk"], item["sk"]) for item in found.items)
                items = yield from send(BatchGet(keys))
                donors = [_Donor.of(item) for item in items.values()]
                return sorted(donors, key=lambda each: -each.free)
        return None


def find_seat_elsewhere(
    pending: PendingActivation, shard: SeatShard
) -> Operation[ActivationResult | NoSeat]:
    """Find a seat on another shard of the pool.

    Raises:
        Contention.
    """
    if shard.is_only_shard:
        return NoSeat.POOL_FULL
    try:
        return (yield from _search(pending, shard))
    except KnownFull as known:
        pending.change = pending.change.at(known.now_ms)
        return NoSeat.KNOWN_FULL


def _search(pending: PendingActivation, shard: SeatShard) -> Operation[ActivationResult | NoSeat]:
    without_capacity = set[Key]()
    for _ in range(ROUNDS):
        known = len(without_capacity)
        found = yield from _from_donors(pending, shard, without_capacity)
        if found is not NoSeat.POOL_FULL:
            return found
        if len(without_capacity) > known:
            # Their capacity may have moved to a shard that the index did not name yet: ask again.
            continue
        if not (yield from _free_some_due(pending)):
            return NoSeat.POOL_FULL
    raise problems.Contention


def _from_donors(
    pending: PendingActivation, shard: SeatShard, without_capacity: set[Key]
) -> Operation[ActivationResult | NoSeat]:
    """Take allocation from the donor with the most capacity, and the seat, in one transaction.

    Donors that turn out to have none are added to `without_capacity`.
    """
    candidates = _Candidates(pending, shard.shard_count or 1)
    while (batch := (yield from candidates.more())) is not None:
        for seen in batch:
            donor = seen
            while donor.free:
                if donor.key == pending.place.key:
                    return NoSeat.RETRY_HERE
                outcome = yield from _move_with_seat(pending, shard, donor)
                if not isinstance(outcome, _Donor):
                    return outcome
                donor = outcome  # another request took from it: this is how it is now
            if donor.key not in without_capacity:
                # If it has capacity again, the condition keeps it in the index. The index shows
                # for a moment what others have unmarked; and one that the table does not take now
                # is unmarked by the next request.
                if donor.is_marked:
                    yield from send(Once(donor.unmark()))
                without_capacity.add(donor.key)
    return NoSeat.POOL_FULL


def _move_with_seat(
    pending: PendingActivation, shard: SeatShard, donor: _Donor
) -> Operation[ActivationResult | NoSeat | _Donor]:
    """Move a share of a donor's free capacity together with the seat.

    Returns the donor as it is now if it has changed since it was read.
    """
    share = donor.share
    sets, values = ["allowance = allowance + :share"], dict[str, Value]({":share": share})
    if share > 1:
        sets.append("roomKey = :room")
        values[":room"] = pending.place.capacity_partition
    value = pending.value(is_overdraft=pending.is_overdraft)
    taken = activation_update(
        pending.place,
        pending.key,
        pending.change,
        activation_record(pending.change, pending.key, pending.holder),
        SeatLimit("attribute_not_exists(seats.#k)", tuple(sets)),
        {":seat": value, **values},
    )
    for attempt in range(1, ROUNDS + 1):
        reply = yield from send(Transact((donor.give(share), taken, *pending.with_borrowing)))
        if isinstance(reply, Accepted):
            # A transaction returns nothing. The seat may be released again by now; it was granted
            # all the same.
            after = SeatShard.of((yield from read_existing(pending.place.key)))
            seats = {pending.key: shard.with_lease(value), **after.seats}
            return pending.granted(after._replace(seats=seats), is_written=True)
        if isinstance(reply, Cancelled):
            (is_refused, item), *others = reply.reasons
            if is_refused and item and not any(each for each, _ in others):
                return _Donor.of(item)
            return NoSeat.RETRY_HERE
        pending.change = pending.change.at((yield from send(Pause(attempt))))
    return NoSeat.RETRY_HERE


def _free_some_due(pending: PendingActivation) -> Operation[bool]:
    """Free expired leases of a few of the pool's shards; whether there were any."""
    start = None
    while True:
        due, pending.next_due, start = yield from due_shards(
            pending.entitlement_id, pending.change.now, start, pending.read_unless_full
        )
        if (yield from free_leases_of(due, pending.change)):
            pending.has_freed = True
            return True
        if start is None:
            return False


def has_free_seat(pending: PendingActivation, shard: SeatShard) -> Operation[bool]:
    """Whether another shard of the pool has a free seat."""
    if shard.is_only_shard:
        return False
    candidates = _Candidates(pending, shard.shard_count or 1)
    while (batch := (yield from candidates.more())) is not None:
        if any(each.free for each in batch):
            return True
    start = None
    while True:
        due, pending.next_due, start = yield from due_shards(
            pending.entitlement_id, pending.change.now, start
        )
        stale = (yield from send(BatchGet(tuple(due)))) if due else {}
        if any(SeatShard.of(item).expired_keys(pending.change.now) for item in stale.values()):
            return True
        if start is None:
            return False
