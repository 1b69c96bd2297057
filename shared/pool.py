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

import random
from collections import OrderedDict
from typing import NamedTuple

from shared import ledger, problems
from shared.dynamodb.keys import POOL_PREFIX, ROOM_INDEX, SWEEP_INDEX, Key, pool_sweep, standing_key
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    BatchGet,
    Cancelled,
    Conflicted,
    Found,
    Get,
    Item,
    Pause,
    Query,
    Refused,
    Reply,
    Steps,
    Transact,
    Unavailable,
    Update,
    Value,
)
from shared.ledger import (
    ROUNDS,
    Change,
    Decision,
    Holder,
    Page,
    Place,
    Seat,
    Standing,
    decode_seat,
    encode_seat,
    lease_expiry,
    parse_activation_id,
    seat_key,
)

# So many pages that may have room are looked at together; the roomiest gives.
SAMPLE = 16
# Seats of a page at most, on the average, when all of the hard cap is held.
PAGE_MEAN = 96


# A pool's sum is read again when it is so old.
FRESH_MS = 1_000
# Who moves seats between pages takes less than a second; after so long, nobody does.
MOVE_MS = 3_000


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


def read_standing(owner: str) -> Steps[Standing]:
    """How a pool of several pages stands."""
    item: Item | None = yield Get(standing_key(owner))
    if item is None:
        raise Unavailable("a pool without a standing")  # it is written with the second page
    return standing_of(item)


def standing_of(item: Item) -> Standing:
    """The standing in its item."""
    return Standing(
        item["used"], item["seatCount"], item.get("hardCap"), item["at"], item.get("seq", 0)
    )


# --- Taking a seat --------------------------------------------------------------------------------


class _Ask:
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
            room = ledger.OVERDRAFT + ledger.NOTHING_STALE if is_over else ledger.WITHIN
        else:
            room, is_over = ledger.ROOM, self.is_overdraft
        return self._grant(room, is_overdraft=is_over)

    def _grant(self, room: str, *, is_overdraft: bool) -> Update:
        return ledger.grant(
            self.place, self.key, self.holder, self.change, self.stamp, room,
            is_overdraft=is_overdraft,
        )  # fmt: skip

    def write(self, page: Page, decision: Decision) -> Update:
        """The write of a decision that is not to keep: the first again, where all has changed."""
        change = self.change
        if decision is Decision.RENEW:
            return ledger.renewal(self.place, page, self.key, self.holder, change)
        if decision is Decision.RECLAIM and not page.is_frozen:
            expired = page.expired_keys(change.now)
            is_overdraft = self.is_overdraft
            if page.is_alone:
                is_overdraft = page.used - len(expired) >= page.seat_count
            value = encode_seat(self.stamp, is_overdraft=is_overdraft, now=change.now)
            last = ledger.grant_record(change, self.key, self.holder)
            return ledger.replace(self.place, page, expired, change, last, (self.key, value))
        if not page.is_alone or decision is Decision.DENY:
            return self.first_write()
        is_over = decision is Decision.OVERDRAFT
        return self._grant(ledger.OVERDRAFT if is_over else ledger.WITHIN, is_overdraft=is_over)

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
    ask = _Ask(
        entitlement_id, holder, change, stamp, memory.recall(entitlement_id, change.now_ms)
    )  # fmt: skip
    try:
        return (yield from _take(ask, expect_overdraft=expect_overdraft))
    finally:
        memory.note(entitlement_id, ask.remembered(), ask.change.now_ms)


def _take(ask: _Ask, *, expect_overdraft: bool) -> Steps[Grant]:
    yield from ask.go_to(ask.place)
    write = ask.first_write(expect_overdraft=expect_overdraft)
    for attempt in range(1, ROUNDS + 1):
        reply: Reply = yield write
        if isinstance(reply, Accepted):
            return ask.granted(Page.of(reply.item or {}))
        if isinstance(reply, Conflicted):
            yield Pause(attempt)
            continue
        # The answer may have taken seconds: a lease that ran out meanwhile is no reason to deny.
        ask.change = ask.change.at((yield Pause(0)))
        page = yield from _arrive(ask, reply.item, attempt)
        if page is None:
            write = ask.first_write()
            continue
        ledger.check_seats(page, ask.change.now)
        decision = ledger.decide(page, ask.key, ask.change.now)
        if decision is Decision.KEEP:
            return ask.granted(page)
        found = yield from _elsewhere(ask, page, decision)
        if found:
            return found
        if attempt > 1:
            ask.change = ask.change.at((yield Pause(attempt - 1)))
        write = ask.write(page, decision)
    raise problems.Contention


def _elsewhere(ask: _Ask, page: Page, decision: Decision) -> Steps[Grant | None]:
    """The seat, where the page itself has none to give; None: look again here.

    Raises:
        HardCapReached: nobody has.
    """
    if decision is Decision.RECLAIM and page.is_frozen:
        yield from ledger.sweep_page(ask.place.key, ask.change)
    if decision is not Decision.DENY:
        return None
    found = yield from _seek(ask, page)
    if found is None:
        raise (yield from _deny(ask, page))
    return found if isinstance(found, Grant) else None


def _arrive(ask: _Ask, item: Item | None, attempt: int) -> Steps[Page | None]:
    """The page that refused, if it is the right one; else go to where the seat belongs."""
    page, place = yield from _find(ask.place, ask.key, item, attempt)
    if page is None:
        yield from ask.go_to(place)
    return page


def _find(
    place: Place, key: str, item: Item | None, attempt: int
) -> Steps[tuple[Page | None, Place]]:
    """The page of a seat key, if this is it; else where to look, after a while if it is moved.

    Raises:
        NotFound: there is no entitlement.
    """
    if item is None:
        if place.pages is None:
            raise problems.NotFound("No entitlement has this id.")
        # The first page is always there, and it is the last one to learn of another number.
        return None, Place.of(place.owner, key, None)
    page = Page.of(item)
    right = Place.of(place.owner, key, page.pages)
    if right.number != place.number:
        return None, right
    if page.moving_at_ms is not None:
        now_ms: int = yield Pause(attempt)
        if now_ms - page.moving_at_ms > MOVE_MS:
            yield let_go(right.key, page.moving_at_ms)
        return None, right
    return (page if right == place else None), right


def let_go(key: Key, moving_at_ms: int) -> Update:
    """Take back that the seats of a page are being moved: whoever did has gone."""
    return Update(
        key, "REMOVE movingAt", "movingAt = :seen", NO_NAMES, {":seen": moving_at_ms}
    )  # fmt: skip


def _deny(ask: _Ask, page: Page) -> Steps[problems.HardCapReached]:
    """Put the denial on record; the problem to be answered."""
    standing = ask.standing(page)
    # Refused means that this very request is on record already.
    record = ledger.seat_denial(ask.owner, ask.key, ask.holder, standing, ask.change)
    yield from ledger.settle(record)
    return _denied(ask, page)


def _denied(ask: _Ask, page: Page) -> problems.HardCapReached:
    """The problem of an entitlement that has no seat to give."""
    standing = ask.standing(page)
    next_due = page.next_lease_expiry() if page.is_alone else ask.next_due
    return problems.HardCapReached(
        f"All {standing.hard_cap} seats under the hard cap are held"
        f" ({standing.seat_count} purchased, {standing.used} used).",
        extensions={"seats": standing.view(), "nextLeaseExpiry": lease_expiry(next_due)},
    )


# --- Looking for room on other pages --------------------------------------------------------------


class _Donor(NamedTuple):
    """What may have room: a page, or the pool's bank (`pages` of the pool; 0: a page)."""

    key: Key
    allowance: int
    used: int
    pages: int

    @classmethod
    def of(cls, item: Item) -> "_Donor":
        """The donor in an item that the index named."""
        key = Key(item["pk"], item["sk"])
        if key.pk.startswith(POOL_PREFIX):
            return cls(key, item["bank"], 0, item.get("pages") or 1)
        return cls(key, item.get("allowance", 0), len(item["seats"]), 0)

    @property
    def slack(self) -> int:
        """What it could give."""
        return max(0, self.allowance - self.used)

    @property
    def share(self) -> int:
        """What it gives: half, and the bank to each page alike."""
        return -(-self.slack // (self.pages or 2))

    def give(self, share: int) -> Update:
        """Give so much, if it is as it was seen."""
        values = {":seen": self.allowance, ":left": self.allowance - share}
        if self.pages:
            return Update(self.key, "SET bank = :left", "bank = :seen", NO_NAMES, values)
        return Update(
            self.key, "SET allowance = :left", "allowance = :seen AND size(seats) <= :left",
            NO_NAMES, values,
        )  # fmt: skip

    def unmark(self) -> Update:
        """Take its mark away, if it has no room."""
        condition, values = "size(seats) >= allowance", dict[str, Value]()
        if self.pages:
            condition, values = "bank <= :none", {":none": 0}
        return Update(self.key, "REMOVE roomKey", condition, NO_NAMES, values)


class _Named:
    """What the index names: all of a few; of many, some at a time from a random one."""

    def __init__(self, owner: str, pages: int) -> None:
        shards = ledger.room_shards(owner, pages)
        random.shuffle(shards)
        self._spans = [(shard, 0, ledger.PARTS, True) for shard in shards]
        self._start: Item | None = None

    def more(self) -> Steps[list[_Donor] | None]:
        """The next ones as they are now, the roomiest first; None when there are no more."""
        while self._spans:
            shard, low, high, is_whole = self._spans[0]
            found: Found = yield Query(
                "roomKey = :shard AND page BETWEEN :low AND :high",
                {":shard": shard, ":low": low, ":high": high},
                index_name=ROOM_INDEX,
                limit=SAMPLE,
                start=self._start,
            )
            if found.next and is_whole:
                # Everybody would begin with the same ones.
                middle = random.randrange(1, ledger.PARTS)
                spans = ((middle, ledger.PARTS), (0, middle - 1))
                self._spans[:1] = [(shard, *span, False) for span in spans]
                continue
            self._start = found.next
            if found.next is None:
                self._spans.pop(0)
            if found.items:
                keys = tuple(Key(item["pk"], item["sk"]) for item in found.items)
                items: dict[Key, Item] = yield BatchGet(keys)
                donors = [_Donor.of(item) for item in items.values()]
                return sorted(donors, key=lambda each: -each.slack)
        return None


def _seek(ask: _Ask, page: Page) -> Steps[Grant | bool | None]:
    """Find a seat elsewhere in the pool: the grant; True: look again here; None: there is none."""
    if page.is_alone:
        return None
    without_room = set[Key]()
    for _ in range(ROUNDS):
        known = len(without_room)
        found = yield from _from_pages(ask, page, without_room)
        if found:
            return found
        if len(without_room) > known:
            # Others may have taken what it had to a page that was not named yet: ask again.
            continue
        if not (yield from _free_due(ask)):
            return None
    raise problems.Contention


def _from_pages(ask: _Ask, page: Page, without_room: set[Key]) -> Steps[Grant | bool | None]:
    """Take allowance from the roomiest of a few pages, and the seat, in one transaction.

    Those that turn out to have none are added to `without_room`.
    """
    named = _Named(ask.owner, page.pages or 1)
    while (batch := (yield from named.more())) is not None:
        for seen in batch:
            donor = seen
            while donor.slack:
                if donor.key == ask.place.key:
                    return True
                outcome = yield from _move_and_sit(ask, page, donor)
                if not isinstance(outcome, _Donor):
                    return outcome
                donor = outcome  # somebody else took from it: as it is now
            if donor.key not in without_room:
                # If it has room again, it keeps its mark.
                yield donor.unmark()
                without_room.add(donor.key)
    return None


def _move_and_sit(ask: _Ask, page: Page, donor: _Donor) -> Steps[Grant | bool | _Donor]:
    """A share of a donor's slack and the seat; the donor as it is, if it is not as it was seen.

    True: our own page has changed, look again there.
    """
    share = donor.share
    more, values = ", allowance = allowance + :share", dict[str, Value]({":share": share})
    if share > 1:
        more, values[":room"] = f"{more}, roomKey = :room", ask.place.room
    value = encode_seat(ask.stamp, is_overdraft=ask.is_overdraft, now=ask.change.now)
    taken = ledger.sit(
        ask.place,
        ask.key,
        ask.change,
        ledger.grant_record(ask.change, ask.key, ask.holder),
        "attribute_not_exists(seats.#k)",
        {":seat": value, **values},
        more,
    )
    for attempt in range(1, ROUNDS + 1):
        reply: Accepted | Cancelled | Conflicted = yield Transact((donor.give(share), taken))
        if isinstance(reply, Accepted):
            # What a transaction wrote is not returned. The seat may be gone again by now: it was
            # given all the same.
            after = Page.of((yield Get(ask.place.key)))
            seats = {ask.key: value + page.lease_seconds, **after.seats}
            return ask.granted(after._replace(seats=seats))
        if isinstance(reply, Cancelled):
            (is_refused, item), (is_ours, _) = reply.reasons
            return _Donor.of(item) if is_refused and item and not is_ours else True
        ask.change = ask.change.at((yield Pause(attempt)))
    return True


def _free_due(ask: _Ask) -> Steps[bool]:
    """Free leases of the pool that ran out, those of a few pages; whether there was any."""
    start = None
    while True:
        due, ask.next_due, start = yield from _due_pages(ask.owner, ask.change.now, start)
        if (yield from _free(due, ask.change)):
            return True
        if start is None:
            return False


def free_due(owner: str, change: Change, until_ms: int) -> Steps[int]:
    """Free every lease that ran out on a pool's pages, until it is `until_ms`; how many."""
    freed, start, now_ms = 0, None, change.now_ms
    while now_ms < until_ms:
        due, _, start = yield from _due_pages(owner, change.now, start)
        freed += yield from _free(due, change)
        if start is None:
            break
        now_ms = yield Pause(0)
    return freed


def _free(pages: list[Key], change: Change) -> Steps[int]:
    freed = 0
    for page_key in pages:
        freed += yield from ledger.sweep_page(page_key, change)
    return freed


def _due_pages(
    owner: str, now: int, start: Item | None
) -> Steps[tuple[list[Key], int | None, Item | None]]:
    """Some pages of a pool on which a lease may have run out, and from where there may be more.

    Once there are no more: before when none ends elsewhere.
    """
    found: Found = yield Query(
        "sweepKey = :pool", {":pool": pool_sweep(owner)},
        index_name=SWEEP_INDEX, limit=SAMPLE, start=start,
    )  # fmt: skip
    due = list[Key]()
    for item in found.items:
        if item["earliest"] > now - ledger.CLOCK_GRACE:
            is_leased = item["earliest"] != ledger.NEVER
            return due, max(now, item["earliest"]) if is_leased else None, None
        due.append(Key(item["pk"], item["sk"]))
    return due, None, found.next


# --- Looking, without taking ----------------------------------------------------------------------


def preview(entitlement_id: str, holder: Holder, now: int) -> Steps[Grant]:
    """What `take` would answer at this moment; nothing is changed, nothing is recorded.

    Raises:
        What `take` raises, but for Contention.
    """
    ask = _Ask(entitlement_id, holder, Change("", "", now * 1000), 0, None)
    page = yield from page_of(ask.owner, ask.key)
    yield from ask.go_to(Place.of(ask.owner, ask.key, page.pages))
    ledger.check_seats(page, now)
    decision = ledger.decide(page, ask.key, now)
    if decision in (Decision.KEEP, Decision.RENEW):
        return ask.granted(page)._replace(is_new=False)
    # Within what was purchased a seat is taken without a look at the leases.
    looks = page.used >= page.seat_count or not page.is_alone
    freed = set(page.expired_keys(now)) if looks else set[str]()
    if decision is Decision.DENY and not (yield from _has_room(ask, page)):
        raise _denied(ask, page)
    seats = {held: value for held, value in page.seats.items() if held not in freed}
    is_overdraft = len(seats) >= page.seat_count if page.is_alone else ask.is_overdraft
    seats[ask.key] = encode_seat(0, is_overdraft=is_overdraft, now=now) + page.lease_seconds
    return ask.granted(page._replace(seats=seats))


def _has_room(ask: _Ask, page: Page) -> Steps[bool]:
    """Whether a pool has a seat that its page lacks."""
    if page.is_alone:
        return False
    named = _Named(ask.owner, page.pages or 1)
    while (batch := (yield from named.more())) is not None:
        if any(each.slack for each in batch):
            return True
    start = None
    while True:
        due, ask.next_due, start = yield from _due_pages(ask.owner, ask.change.now, start)
        stale: dict[Key, Item] = (yield BatchGet(tuple(due))) if due else {}
        if any(Page.of(item).expired_keys(ask.change.now) for item in stale.values()):
            return True
        if start is None:
            return False


def page_of(owner: str, key: str) -> Steps[Page]:
    """The page on which a seat key belongs.

    Raises:
        NotFound, Contention.
    """
    place = Place.of(owner, key, None)
    for attempt in range(1, ROUNDS + 1):
        item: Item | None = yield Get(place.key)
        page, place = yield from _find(place, key, item, attempt)
        if page is not None:
            return page
    raise problems.Contention


# --- A new pool -----------------------------------------------------------------------------------


def pages_for(cap: int) -> int:
    """How many pages a pool of this hard cap has: 2, 3, 4, 6, 8, 12, ... of 64 to 96 seats each."""
    pages = 1
    while cap > pages * PAGE_MEAN:
        pages = pages * 4 // 3 if pages % 3 == 0 else max(2, pages * 3 // 2)
    return pages


def new_pages(
    entitlement_id: str, terms: ledger.Terms, pages: int, change: Change
) -> list[tuple[Key, Item]]:
    """The empty pages of a pool, to which all of its hard cap is dealt, and its standing."""
    assert terms.hard_cap is not None
    each, more = divmod(terms.hard_cap, pages)
    first = dict(ledger.new_page(entitlement_id, terms, change).item)
    items: list[tuple[Key, Item]] = []
    for index in range(pages):
        place = Place(entitlement_id, index * (ledger.PARTS // pages), pages)
        allowance = each + int(index < more)
        page = {
            **first, ledger.SUMMED: True,
            "pages": pages, "page": place.number, "allowance": allowance,
            "roomKey": place.room if allowance else None,
            "sweepKey": pool_sweep(entitlement_id),
        }  # fmt: skip
        items.append((place.key, page))
    standing: Item = {
        "used": 0, "seatCount": terms.seat_count, "hardCap": terms.hard_cap, "at": change.now_ms,
    }  # fmt: skip
    items.append((standing_key(entitlement_id), standing))
    return items


# --- Giving a seat back ---------------------------------------------------------------------------


def release(
    entitlement_id: str, named: str, change: Change, *, memory: Memory | None = None
) -> Steps[bool]:
    """Give back the grant with activation id `named`; False when it is not held any more.

    `memory` is what the caller remembers of pools. A stamp that is not the one named stays: it is
    a newer grant of the same holder.

    Raises:
        NotFound, Contention.
    """
    key, stamp = parse_activation_id(named)
    known = memory.recall(entitlement_id, change.now_ms) if memory else None
    place = Place.of(entitlement_id, key, known.pages if known else None)
    is_frozen = False
    for attempt in range(1, ROUNDS + 1):
        freed = ledger.freeing(place, key, stamp, change, is_frozen=is_frozen)
        write: Update | Transact = freed
        if is_frozen:
            write = Transact((freed, ledger.deposit(entitlement_id, 1)))
        reply: Accepted | Refused | Cancelled = yield from ledger.settle(write)
        if isinstance(reply, Accepted):
            return True
        item = reply.item if isinstance(reply, Refused) else reply.reasons[0][1]
        page, place = yield from _find(place, key, item, attempt)
        if page is None:
            is_frozen = False
            continue
        if page.seats.get(key) is None or decode_seat(page.seats[key]).stamp != stamp:
            return False
        is_frozen = page.is_frozen
    raise problems.Contention
