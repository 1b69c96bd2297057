"""Free capacity of other shards: how it is found, and moved together with a seat."""

import random
from typing import NamedTuple

from shared import problems
from shared.audit import Change
from shared.dynamodb.keys import CAPACITY_INDEX, POOL_PREFIX, SWEEP_INDEX, Key, pool_sweep_partition
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    BatchGet,
    Cancelled,
    Conflicted,
    Found,
    Get,
    Item,
    Operation,
    Pause,
    Query,
    Transact,
    Update,
    Value,
)
from shared.seats.encoding import (
    NEVER,
    encode_seat,
)
from shared.seats.leases import reclaim_expired_leases
from shared.seats.pending import Grant, PendingActivation
from shared.seats.placement import PARTS, capacity_partitions
from shared.seats.shard import CLOCK_GRACE, SeatShard
from shared.seats.writes import activation_update, grant_record

# So many pages that may have room are looked at together; the roomiest gives.
SAMPLE = 16


# --- Looking for room on other pages --------------------------------------------------------------


class _Donor(NamedTuple):
    """What may have room: a page, or the pool's bank (`pages` of the pool; 0: a page)."""

    key: Key
    allocation: int
    used: int
    shard_count: int

    @classmethod
    def of(cls, item: Item) -> "_Donor":
        """The donor in an item that the index named."""
        key = Key(item["pk"], item["sk"])
        if key.pk.startswith(POOL_PREFIX):
            return cls(key, item["bank"], 0, item.get("pages") or 1)
        return cls(key, item.get("allowance", 0), len(item["seats"]), 0)

    @property
    def free(self) -> int:
        """What it could give."""
        return max(0, self.allocation - self.used)

    @property
    def share(self) -> int:
        """What it gives: half, and the bank to each page alike."""
        return -(-self.free // (self.shard_count or 2))

    def give(self, share: int) -> Update:
        """Give so much, if it is as it was seen."""
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
        """Take its mark away, if it has no room."""
        condition, values = "size(seats) >= allowance", dict[str, Value]()
        if self.shard_count:
            condition, values = "bank <= :none", {":none": 0}
        return Update(self.key, "REMOVE roomKey", condition, NO_NAMES, values)


class _Named:
    """What the index names: all of a few; of many, some at a time from a random one."""

    def __init__(self, owner: str, shard_count: int) -> None:
        partitions = capacity_partitions(owner, shard_count)
        random.shuffle(partitions)
        self._spans = [(partition, 0, PARTS, True) for partition in partitions]
        self._start: Item | None = None

    def more(self) -> Operation[list[_Donor] | None]:
        """The next ones as they are now, the roomiest first; None when there are no more."""
        while self._spans:
            partition, low, high, is_whole = self._spans[0]
            found: Found = yield Query(
                "roomKey = :shard AND page BETWEEN :low AND :high",
                {":shard": partition, ":low": low, ":high": high},
                index_name=CAPACITY_INDEX,
                limit=SAMPLE,
                start=self._start,
            )
            if found.next and is_whole:
                # Everybody would begin with the same ones.
                middle = random.randrange(1, PARTS)
                spans = ((middle, PARTS), (0, middle - 1))
                self._spans[:1] = [(partition, *span, False) for span in spans]
                continue
            self._start = found.next
            if found.next is None:
                self._spans.pop(0)
            if found.items:
                keys = tuple(Key(item["pk"], item["sk"]) for item in found.items)
                items: dict[Key, Item] = yield BatchGet(keys)
                donors = [_Donor.of(item) for item in items.values()]
                return sorted(donors, key=lambda each: -each.free)
        return None


def find_seat_elsewhere(
    pending: PendingActivation, shard: SeatShard
) -> Operation[Grant | bool | None]:
    """Find a seat elsewhere in the pool: the grant; True: look again here; None: there is none."""
    if shard.is_only_shard:
        return None
    without_room = set[Key]()
    for _ in range(ROUNDS):
        known = len(without_room)
        found = yield from _from_pages(pending, shard, without_room)
        if found:
            return found
        if len(without_room) > known:
            # Others may have taken what it had to a page that was not named yet: ask again.
            continue
        if not (yield from _free_due(pending)):
            return None
    raise problems.Contention


def _from_pages(
    pending: PendingActivation, shard: SeatShard, without_room: set[Key]
) -> Operation[Grant | bool | None]:
    """Take allowance from the roomiest of a few pages, and the seat, in one transaction.

    Those that turn out to have none are added to `without_room`.
    """
    named = _Named(pending.owner, shard.shard_count or 1)
    while (batch := (yield from named.more())) is not None:
        for seen in batch:
            donor = seen
            while donor.free:
                if donor.key == pending.place.key:
                    return True
                outcome = yield from _move_and_sit(pending, shard, donor)
                if not isinstance(outcome, _Donor):
                    return outcome
                donor = outcome  # somebody else took from it: as it is now
            if donor.key not in without_room:
                # If it has room again, it keeps its mark.
                yield donor.unmark()
                without_room.add(donor.key)
    return None


def _move_and_sit(
    pending: PendingActivation, shard: SeatShard, donor: _Donor
) -> Operation[Grant | bool | _Donor]:
    """A share of a donor's slack and the seat; the donor as it is, if it is not as it was seen.

    True: our own page has changed, look again there.
    """
    share = donor.share
    more, values = ", allowance = allowance + :share", dict[str, Value]({":share": share})
    if share > 1:
        more, values[":room"] = f"{more}, roomKey = :room", pending.place.capacity_partition
    value = encode_seat(pending.grant_id, is_overdraft=pending.is_overdraft, now=pending.change.now)
    taken = activation_update(
        pending.place,
        pending.key,
        pending.change,
        grant_record(pending.change, pending.key, pending.holder),
        "attribute_not_exists(seats.#k)",
        {":seat": value, **values},
        more,
    )
    for attempt in range(1, ROUNDS + 1):
        reply: Accepted | Cancelled | Conflicted = yield Transact((donor.give(share), taken))
        if isinstance(reply, Accepted):
            # What a transaction wrote is not returned. The seat may be gone again by now: it was
            # given all the same.
            after = SeatShard.of((yield Get(pending.place.key)))
            seats = {pending.key: value + shard.lease_seconds, **after.seats}
            return pending.granted(after._replace(seats=seats))
        if isinstance(reply, Cancelled):
            (is_refused, item), (is_ours, _) = reply.reasons
            return _Donor.of(item) if is_refused and item and not is_ours else True
        pending.change = pending.change.at((yield Pause(attempt)))
    return True


def _free_due(pending: PendingActivation) -> Operation[bool]:
    """Free leases of the pool that ran out, those of a few pages; whether there was any."""
    start = None
    while True:
        due, pending.next_due, start = yield from _due_pages(
            pending.owner, pending.change.now, start
        )
        if (yield from _free(due, pending.change)):
            return True
        if start is None:
            return False


def free_due(owner: str, change: Change, until_ms: int) -> Operation[int]:
    """Free every lease that ran out on a pool's pages, until it is `until_ms`; how many."""
    freed, start, now_ms = 0, None, change.now_ms
    while now_ms < until_ms:
        due, _, start = yield from _due_pages(owner, change.now, start)
        freed += yield from _free(due, change)
        if start is None:
            break
        now_ms = yield Pause(0)
    return freed


def _free(keys: list[Key], change: Change) -> Operation[int]:
    freed = 0
    for key in keys:
        freed += yield from reclaim_expired_leases(key, change)
    return freed


def _due_pages(
    owner: str, now: int, start: Item | None
) -> Operation[tuple[list[Key], int | None, Item | None]]:
    """Some pages of a pool on which a lease may have run out, and from where there may be more.

    Once there are no more: before when none ends elsewhere.
    """
    found: Found = yield Query(
        "sweepKey = :pool",
        {":pool": pool_sweep_partition(owner)},
        index_name=SWEEP_INDEX,
        limit=SAMPLE,
        start=start,
    )
    due = list[Key]()
    for item in found.items:
        if item["earliest"] > now - CLOCK_GRACE:
            is_leased = item["earliest"] != NEVER
            return due, max(now, item["earliest"]) if is_leased else None, None
        due.append(Key(item["pk"], item["sk"]))
    return due, None, found.next


def has_free_seat(pending: PendingActivation, shard: SeatShard) -> Operation[bool]:
    """Whether a pool has a seat that its page lacks."""
    if shard.is_only_shard:
        return False
    named = _Named(pending.owner, shard.shard_count or 1)
    while (batch := (yield from named.more())) is not None:
        if any(each.free for each in batch):
            return True
    start = None
    while True:
        due, pending.next_due, start = yield from _due_pages(
            pending.owner, pending.change.now, start
        )
        stale: dict[Key, Item] = (yield BatchGet(tuple(due))) if due else {}
        if any(SeatShard.of(item).expired_keys(pending.change.now) for item in stale.values()):
            return True
        if start is None:
            return False
