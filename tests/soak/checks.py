"""What must always be so: checked at every write of the table, at every answer, and at the end.

Nothing here asks the product. Seats and counts are those of the items that were written; what was
granted, denied and consumed is what callers were answered.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from shared.clock import EPOCH
from shared.dynamodb.keys import SEATS, entitlement_id_of
from tests.soak.memory_table import Write
from tests.soak.world import SECOND, Violation, World

GRACE = 5.0  # seconds by which clocks may differ
# For so long a pool may not find a seat that was released or moved: its index lags
# (docs/guides/seats.md).
POOL_LAG = 6.0


class Cap(NamedTuple):
    """A cap, and until when (of the world's time) it may still be in force."""

    most: float
    until: float


class Caps:
    """Which caps may be in force at a time: while a change is under way, those of before too."""

    def __init__(self, most: float) -> None:
        self._caps = [Cap(most, inf)]

    def add(self, most: float) -> None:
        """A change to this cap begins."""
        self._caps.append(Cap(most, inf))

    def settle(self, now: int) -> None:
        """The last change is done: nothing of before holds any more."""
        *before, last = self._caps
        self._caps = [Cap(each.most, min(each.until, now)) for each in before] + [last]

    def among(self, since: float) -> list[float]:
        """Those that may have been in force at some time since then."""
        return [each.most for each in self._caps if each.until >= since]


class Seats:
    """The seats of one entitlement, as its shards have them."""

    def __init__(self, entitlement_id: str, cap: float, *, is_timed: bool) -> None:
        self.id = entitlement_id
        self.caps = Caps(cap)
        self.shards: dict[str, dict[str, int]] = {}
        self.held: dict[str, int] = {}  # seat key: value
        self.granted: dict[tuple[str, int], bool] = {}  # grant: is it an overdraft seat
        self.grants = self.ends = 0  # how often a grant began, and ended
        self.over: set[tuple[str, int]] = set()  # grants that have ended
        self.may_end: set[tuple[str, int]] = set()  # somebody has asked for their release
        self.may_begin: Counter[str] = Counter()  # seat keys for which somebody asks
        self.erased: set[str] = set()  # seat keys whose person is or was erased
        self.evicted: Counter[str] = Counter()  # seat keys that the vendor is about to release
        self.is_ending = False  # it is deleted, or its validity ends
        self.is_pool = False
        self.moved_at = -inf  # when seats or allocations of a pool were last moved
        self.is_changing = False  # the vendor changes its terms
        self.is_timed = is_timed  # its overdraft may last for a time only
        self.full_at = -inf
        self.most = 0

    def grant_of(self, key: str) -> int | None:
        """The id of the grant by which somebody holds a seat."""
        return self.held[key] // (10**10) if key in self.held else None

    def left(self, key: str, at: float) -> float:
        """The seconds until the lease of a seat ends, at a time of the world."""
        return _ends(self.held[key]) - at / SECOND

    def live(self, at: float) -> int:
        """Seats that are held, in doubt too, at a time of the world."""
        return sum(_ends(value) + 3 * GRACE > at / SECOND for value in self.held.values())


def _ends(value: int) -> float:
    """When a seat's lease ends, Unix seconds: by the format in shared/seats/encoding.py."""
    flag, end = divmod(value % 10**10, 10**9)
    return inf if flag & 2 else end + EPOCH


class Usage:
    """One usage limit: what was accepted, by the key of the request."""

    def __init__(self, cap: float, *, is_monthly: bool) -> None:
        self.caps = Caps(cap)
        self.accepted: dict[str, int] = {}
        self.open: dict[str, int] = {}  # asked for, and not answered yet
        self.corrections: dict[str, int] = {}
        self.open_corrections: dict[str, int] = {}
        self.is_monthly = is_monthly  # a period may have begun since

    def most(self) -> int:
        """The most that may be used."""
        raised = [*self.corrections.values(), *self.open_corrections.values()]
        return (
            sum(self.accepted.values())
            + sum(self.open.values())
            + sum(each for each in raised if each > 0)
        )


class Checks:
    """Everything that is known about a world, from outside of the product."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seats: dict[str, Seats] = {}
        self.usage: dict[tuple[str, str], Usage] = {}
        # Denials on record: the request, by entitlement, meter, and seat or request key.
        self.denied: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        world.table.watch = self.watch

    def fail(self, what: str) -> None:
        """Something is not as it must be.

        Raises:
            Violation.
        """
        raise Violation(what)

    # --- At every write ---------------------------------------------------------------------------

    def watch(self, writes: Sequence[Write]) -> None:
        """What one call has written."""
        touched: dict[str, None] = {}
        for write in writes:
            pk = write.key.pk
            if pk.startswith("LEDGER#"):
                entitlement_id = entitlement_id_of(pk)
                if entitlement_id in self.seats:
                    touched[entitlement_id] = None
                    shard = self.seats[entitlement_id].shards
                    shard[pk] = dict((write.new or {}).get("seats", {}))
            elif pk.startswith("POOL#") and write.key.sk == "POOL":
                self._pool_changed(entitlement_id_of(pk), write)
            elif pk.startswith("DENIAL#"):
                self._denied(write)
        for entitlement_id in touched:
            self._seats_changed(self.seats[entitlement_id])

    def _pool_changed(self, entitlement_id: str, write: Write) -> None:
        seats = self.seats.get(entitlement_id)
        if seats is None:
            return
        seats.is_pool, seats.moved_at = True, self.world.now
        # While a change is asked for, it may not have arrived here yet.
        if write.new is not None and "isPending" not in write.new and not seats.is_changing:
            seats.caps.settle(self.world.now)

    def _denied(self, write: Write) -> None:
        if write.new is None or write.new["attempts"] == (write.old or {}).get("attempts", 0):
            return
        request, meter = write.new["request"], write.new.get("usageKey", SEATS)
        on_record = self.denied[entitlement_id_of(write.key.pk), meter]
        if request in on_record:
            self.fail(f"the denial of {request} was counted twice")
        on_record[request] = write.new["seatKey"]

    def _seats_changed(self, seats: Seats) -> None:
        now = self.world.now
        if seats.live(now) >= min(seats.caps.among(now)):
            seats.full_at = now
        found: dict[str, int] = {}
        for shard in seats.shards.values():
            for key, value in shard.items():
                if key in found:
                    self.fail(f"{key} is on two shards")
                found[key] = value
        before, seats.held = seats.held, found
        for key, value in before.items():
            if value // 10**10 != found.get(key, -1) // 10**10:
                self._ended(seats, key, value)
        for key, value in found.items():
            if value // 10**10 != before.get(key, -1) // 10**10:
                self._began(seats, key, value)
        seats.most = max(seats.most, len(found))
        if seats.live(now) >= min(seats.caps.among(now)):
            seats.full_at = now

    def _began(self, seats: Seats, key: str, value: int) -> None:
        grant = (key, value // 10**10)
        # While its request is not answered, a grant that somebody else has ended may begin again:
        # a write is repeated after its answer was lost. Later it may not.
        if not seats.may_begin[key]:
            self.fail(f"{grant} was granted, and nobody asks for it")
        seats.grants += 1
        most = max(seats.caps.among(self.world.now))
        if len(seats.held) > most:
            self.fail(f"{len(seats.held)} seats are held after a grant, the cap is {most}")
        seats.granted[grant] = bool(value % 10**10 // 10**9 & 1)

    def _ended(self, seats: Seats, key: str, value: int) -> None:
        grant = (key, value // 10**10)
        seats.ends += 1
        seats.over.add(grant)
        is_over = _ends(value) * SECOND <= self.world.now
        is_asked = grant in seats.may_end or key in seats.erased or seats.evicted[key]
        if not (is_over or is_asked or seats.is_ending):
            self.fail(f"{grant} was lost")

    # --- At every answer --------------------------------------------------------------------------

    def granted(self, seats: Seats, key: str, grant_id: int) -> None:
        """A caller was answered that somebody holds a seat."""
        if (key, grant_id) not in seats.granted:
            self.fail(f"{(key, grant_id)} was answered, and is no grant")
        if seats.grant_of(key) != grant_id and (key, grant_id) not in seats.over:
            self.fail(f"{(key, grant_id)} was answered, and is not held")

    def is_on_record(self, entitlement_id: str, meter: str, request: str) -> None:
        """A caller was answered that this request was denied."""
        if request not in self.denied[entitlement_id, meter]:
            self.fail(f"the denial of {request} was answered, and is not on record")

    def denied_seat(self, seats: Seats, key: str, since: int, held: int | None) -> None:
        """A caller was answered that nothing is free; `held`: the grant when the request began."""
        now = self.world.now
        value = seats.held.get(key)
        if (
            value is not None
            and held == value // 10**10
            and _ends(value) * SECOND > now + 20 * SECOND
        ):
            self.fail(f"who holds {(key, held)} was denied it")
        if seats.is_timed:
            return
        since -= int(POOL_LAG * SECOND) if seats.is_pool else 0
        if seats.is_pool and seats.moved_at >= since:
            return
        least = min(seats.caps.among(since))
        if seats.full_at < since and seats.live(since) < least:
            self.fail(f"denied although {seats.live(since)} of {least} seats were held")

    def released(self, seats: Seats, key: str, grant_id: int) -> None:
        """A caller was answered that a grant has ended."""
        if seats.grant_of(key) == grant_id:
            self.fail(f"{(key, grant_id)} was released, and is held")

    def accepted(self, usage: Usage, name: str, quantity: int, since: int) -> None:
        """A caller was answered that a quantity was counted."""
        usage.accepted[name] = quantity
        taken_back = [*usage.corrections.values(), *usage.open_corrections.values()]
        least = sum(usage.accepted.values()) + sum(each for each in taken_back if each < 0)
        most = max(usage.caps.among(since))
        if least > most and not usage.is_monthly:
            self.fail(f"at least {least} were counted, the cap is {most}")

    def denied_usage(self, usage: Usage, quantity: int, since: int, most: int) -> None:
        """A caller was answered that a quantity does not fit; `most` were used when it began."""
        least = min(usage.caps.among(since))
        others = usage.most() - quantity  # its own is among those that are open
        if max(most, others) + quantity <= least:
            self.fail(f"{quantity} were denied, at most {most} of {least} were used")
