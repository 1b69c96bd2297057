"""One request for a seat, on its way to one."""

from typing import NamedTuple

from shared.audit import Change
from shared.dynamodb.requests import (
    Operation,
    Update,
)
from shared.seats.cache import Known
from shared.seats.encoding import Seat, decode_seat, encode_seat, seat_key
from shared.seats.placement import Place
from shared.seats.seat_usage import Standing, read_standing
from shared.seats.shard import Decision, Page
from shared.seats.writes import (
    NOTHING_STALE,
    WITHIN_ALLOCATION,
    WITHIN_HARD_CAP,
    WITHIN_PURCHASED,
    Holder,
    grant,
    grant_record,
    renewal,
    replace,
)


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

    def go_to(self, place: Place) -> Operation[None]:
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
            limit_condition = WITHIN_HARD_CAP + NOTHING_STALE if is_over else WITHIN_PURCHASED
        else:
            limit_condition, is_over = WITHIN_ALLOCATION, self.is_overdraft
        return self._grant(limit_condition, is_overdraft=is_over)

    def _grant(self, limit_condition: str, *, is_overdraft: bool) -> Update:
        return grant(
            self.place,
            self.key,
            self.holder,
            self.change,
            self.stamp,
            limit_condition,
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
        return self._grant(WITHIN_HARD_CAP if is_over else WITHIN_PURCHASED, is_overdraft=is_over)

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
