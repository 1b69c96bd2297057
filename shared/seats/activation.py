"""Pools: taking and giving back seats, on one page or on many.

Up to 128 seats have one page, whose limits are those of the entitlement. A larger pool has several,
and a seat's page follows from its key. Each page owns an *allowance*, so many seats it may hold by
itself; the allowances always add up to the hard cap, so a grant is one write on one page, and the
cap is never exceeded (escrow: O'Neil 1986; demarcation: Barbará and Garcia-Molina 1992; bounded
counters: Balegas 2015). A page without room takes half the slack of the roomiest of a few others
together with the seat, in a transaction of two items.

Pages that may have room carry a mark with a sparse index. What adds room sets it in its own write;
whoever looks for room and finds none takes it away. So the index may name a page too many, and a
page too few only for as long as it lags.
"""

from collections import OrderedDict
from typing import NamedTuple

from shared import problems
from shared.audit import Change
from shared.dynamodb.patterns import ROUNDS, settle
from shared.dynamodb.requests import (
    Accepted,
    Conflicted,
    Item,
    Pause,
    Reply,
    Steps,
    Update,
)
from shared.seats.encoding import Seat, decode_seat, encode_seat, seat_key
from shared.seats.leases import sweep_page
from shared.seats.lookup import find_shard, page_of
from shared.seats.placement import Place
from shared.seats.rebalancing import find_seat_elsewhere, has_free_seat
from shared.seats.seat_usage import Standing, read_standing
from shared.seats.shard import Decision, Page, check_seats, decide, lease_expiry
from shared.seats.writes import (
    NOTHING_STALE,
    OVERDRAFT,
    ROOM,
    WITHIN,
    Holder,
    grant,
    grant_record,
    renewal,
    replace,
    seat_denial,
)

# A pool's sum is read again when it is so old.
FRESH_MS = 1_000


class Known(NamedTuple):
    """What a process remembers of a pool: its number of pages; how it stood, if not long ago."""

    pages: int
    standing: Standing | None


class Memory:
    """What a process remembers of pools.

    It saves round trips, and decides nothing but the mark of an overdraft seat.
    """

    SIZE = 2_000

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[int, Standing, int]] = OrderedDict()

    def recall(self, owner: str, now_ms: int) -> Known | None:
        """What is known of a pool."""
        seen = self._seen.get(owner)
        if seen is None:
            return None
        pages, standing, at = seen
        return Known(pages, standing if abs(now_ms - at) < FRESH_MS else None)

    def note(self, owner: str, known: Known | None, now_ms: int) -> None:
        """Remember what was read just now; None: it is no pool."""
        seen = self._seen.pop(owner, None)
        if known is not None and known.standing is not None:
            is_same = seen is not None and seen[1] == known.standing
            at = seen[2] if seen and is_same and abs(now_ms - seen[2]) < FRESH_MS else now_ms
            self._seen[owner] = (known.pages, known.standing, at)
            if len(self._seen) > self.SIZE:
                self._seen.popitem(last=False)


class Grant(NamedTuple):
    """A seat held: taken by this request, or held before (`is_new` false).

    `page` is the seat's page, `standing` that of the whole entitlement.
    """

    page: Page
    key: str
    seat: Seat
    is_new: bool
    standing: Standing


# --- Taking a seat --------------------------------------------------------------------------------


class PendingActivation:
    """One request for a seat: who asks, and on which page it is looked for."""

    def __init__(
        self, owner: str, holder: Holder, change: Change, stamp: int, known: Known | None
    ) -> None:
        self.owner = owner
        self.holder = holder
        self.change = change
        self.stamp = stamp
        self.key = seat_key(owner, holder.seat_id)
        self.place = Place.of(owner, self.key, known.pages if known else None)
        self.known = known.standing if known else None
        self.next_due: int | None = None

    def go_to(self, place: Place) -> Steps[None]:
        """Look there, with a sum that is new enough."""
        self.place = place
        if place.pages is not None and self.known is None:
            self.known = yield from read_standing(self.owner)

    def remembered(self) -> Known | None:
        """What is to be remembered of the pool."""
        return None if self.place.pages is None else Known(self.place.pages, self.known)

    @property
    def is_overdraft(self) -> bool:
        """Whether a seat taken now is an overdraft seat, by the pool's sum."""
        return self.known is not None and self.known.used >= self.known.seat_count

    def first_write(self, *, expect_overdraft: bool = False) -> Update:
        """The grant by a write that needs to know nothing of the page."""
        pages = self.place.pages
        is_over = expect_overdraft
        if pages is None:
            room = OVERDRAFT + NOTHING_STALE if is_over else WITHIN
        else:
            room, is_over = ROOM, self.is_overdraft
        return self._grant(room, is_overdraft=is_over)

    def _grant(self, room: str, *, is_overdraft: bool) -> Update:
        return grant(
            self.place,
            self.key,
            self.holder,
            self.change,
            self.stamp,
            room,
            is_overdraft=is_overdraft,
        )

    def write(self, page: Page, decision: Decision) -> Update:
        """The write of a decision that is not to keep: the first again, where all has changed."""
        change = self.change
        if decision is Decision.RENEW:
            return renewal(self.place, page, self.key, self.holder, change)
        if decision is Decision.RECLAIM and not page.is_frozen:
            expired = page.expired_keys(change.now)
            is_overdraft = self.is_overdraft
            if page.is_alone:
                is_overdraft = page.used - len(expired) >= page.seat_count
            value = encode_seat(self.stamp, is_overdraft=is_overdraft, now=change.now)
            last = grant_record(change, self.key, self.holder)
            return replace(self.place, page, expired, change, last, (self.key, value))
        if not page.is_alone or decision is Decision.DENY:
            return self.first_write()
        is_over = decision is Decision.OVERDRAFT
        return self._grant(OVERDRAFT if is_over else WITHIN, is_overdraft=is_over)

    def standing(self, page: Page) -> Standing:
        """How the entitlement stands that has no seat to give."""
        if page.is_alone:
            return Standing.of(page)
        # No page has room, so all of the cap is held, whatever of it has reached the sum.
        known = self._pool()
        return known._replace(used=max(known.used, known.hard_cap or 0))

    def _pool(self) -> Standing:
        assert self.known is not None  # it is read on the way to a page of several
        return self.known

    def granted(self, page: Page) -> Grant:
        """The answer, once the seat is on its page. Our own stamp: it is new, whatever was lost."""
        seat = decode_seat(page.seats[self.key])
        is_new = seat.stamp == self.stamp
        if page.is_alone:
            return Grant(page, self.key, seat, is_new, Standing.of(page))
        standing = self._pool()
        # The sum does not count it yet.
        standing = standing._replace(used=standing.used + int(is_new))
        return Grant(page, self.key, seat, is_new, standing)


def take(
    entitlement_id: str,
    holder: Holder,
    change: Change,
    stamp: int,
    *,
    memory: Memory | None = None,
    expect_overdraft: bool = False,
) -> Steps[Grant]:
    """Take a seat, or renew the one the holder has.

    `memory` is what the caller remembers of pools of several pages. `expect_overdraft` tries the
    overdraft write first: worth it for a caller that last saw a page that has all the seats at its
    limit. Both change the number of round trips, never whether a seat is given.

    Raises:
        NotFound, EntitlementSuspended, EntitlementExpired, EntitlementNotYetValid,
        HardCapReached (with `seats` and `nextLeaseExpiry`; on record), Contention.
    """
    memory = memory or Memory()
    pending = PendingActivation(
        entitlement_id, holder, change, stamp, memory.recall(entitlement_id, change.now_ms)
    )
    try:
        return (yield from _take(pending, expect_overdraft=expect_overdraft))
    finally:
        memory.note(entitlement_id, pending.remembered(), pending.change.now_ms)


def _take(pending: PendingActivation, *, expect_overdraft: bool) -> Steps[Grant]:
    yield from pending.go_to(pending.place)
    write = pending.first_write(expect_overdraft=expect_overdraft)
    for attempt in range(1, ROUNDS + 1):
        reply: Reply = yield write
        if isinstance(reply, Accepted):
            return pending.granted(Page.of(reply.item or {}))
        if isinstance(reply, Conflicted):
            yield Pause(attempt)
            continue
        # The answer may have taken seconds: a lease that ran out meanwhile is no reason to deny.
        pending.change = pending.change.at((yield Pause(0)))
        page = yield from _arrive(pending, reply.item, attempt)
        if page is None:
            write = pending.first_write()
            continue
        check_seats(page, pending.change.now)
        decision = decide(page, pending.key, pending.change.now)
        if decision is Decision.KEEP:
            return pending.granted(page)
        found = yield from _elsewhere(pending, page, decision)
        if found:
            return found
        if attempt > 1:
            pending.change = pending.change.at((yield Pause(attempt - 1)))
        write = pending.write(page, decision)
    raise problems.Contention


def _elsewhere(pending: PendingActivation, page: Page, decision: Decision) -> Steps[Grant | None]:
    """The seat, where the page itself has none to give; None: look again here.

    Raises:
        HardCapReached: nobody has.
    """
    if decision is Decision.RECLAIM and page.is_frozen:
        yield from sweep_page(pending.place.key, pending.change)
    if decision is not Decision.DENY:
        return None
    found = yield from find_seat_elsewhere(pending, page)
    if found is None:
        raise (yield from _deny(pending, page))
    return found if isinstance(found, Grant) else None


def _arrive(pending: PendingActivation, item: Item | None, attempt: int) -> Steps[Page | None]:
    """The page that refused, if it is the right one; else go to where the seat belongs."""
    page, place = yield from find_shard(pending.place, pending.key, item, attempt)
    if page is None:
        yield from pending.go_to(place)
    return page


def _deny(pending: PendingActivation, page: Page) -> Steps[problems.HardCapReached]:
    """Put the denial on record; the problem to be answered."""
    standing = pending.standing(page)
    # Refused means that this very request is on record already.
    record = seat_denial(pending.owner, pending.key, pending.holder, standing, pending.change)
    yield from settle(record)
    return _denied(pending, page)


def _denied(pending: PendingActivation, page: Page) -> problems.HardCapReached:
    """The problem of an entitlement that has no seat to give."""
    standing = pending.standing(page)
    next_due = page.next_lease_expiry() if page.is_alone else pending.next_due
    return problems.HardCapReached(
        f"All {standing.hard_cap} seats under the hard cap are held"
        f" ({standing.seat_count} purchased, {standing.used} used).",
        extensions={"seats": standing.view(), "nextLeaseExpiry": lease_expiry(next_due)},
    )


# --- Looking, without taking ----------------------------------------------------------------------


def preview(entitlement_id: str, holder: Holder, now: int) -> Steps[Grant]:
    """What `take` would answer at this moment; nothing is changed, nothing is recorded.

    Raises:
        What `take` raises, but for Contention.
    """
    pending = PendingActivation(entitlement_id, holder, Change("", "", now * 1000), 0, None)
    page = yield from page_of(pending.owner, pending.key)
    yield from pending.go_to(Place.of(pending.owner, pending.key, page.pages))
    check_seats(page, now)
    decision = decide(page, pending.key, now)
    if decision in (Decision.KEEP, Decision.RENEW):
        return pending.granted(page)._replace(is_new=False)
    # Within what was purchased a seat is taken without a look at the leases.
    looks = page.used >= page.seat_count or not page.is_alone
    freed = set(page.expired_keys(now)) if looks else set[str]()
    if decision is Decision.DENY and not (yield from has_free_seat(pending, page)):
        raise _denied(pending, page)
    seats = {held: value for held, value in page.seats.items() if held not in freed}
    is_overdraft = len(seats) >= page.seat_count if page.is_alone else pending.is_overdraft
    seats[pending.key] = encode_seat(0, is_overdraft=is_overdraft, now=now) + page.lease_seconds
    return pending.granted(page._replace(seats=seats))
