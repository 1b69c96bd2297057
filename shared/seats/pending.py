"""A request for a seat while it is being decided."""

from typing import NamedTuple, TypeVar

from shared.audit import Change
from shared.dynamodb.requests import (
    Operation,
    Request,
    Update,
)
from shared.seats.cache import CachedPool, SeatOverload
from shared.seats.encoding import Grant, decode_grant, encode_borrowed, encode_grant, seat_key
from shared.seats.holder import Holder
from shared.seats.placement import Place
from shared.seats.seat_usage import SeatUsage, read_seat_usage
from shared.seats.shard import Decision, SeatShard, decide
from shared.seats.writes import (
    STARTS_OVERDRAFT,
    WITHIN_ALLOCATION,
    WITHIN_HARD_CAP,
    WITHIN_PURCHASED,
    SeatLimit,
    activation_record,
    grant_update,
    renewal_update,
    replacement_update,
)

ReplyT = TypeVar("ReplyT")


class ActivationResult(NamedTuple):
    """What an activation came to: the grant that is held, new or from before (`is_new`).

    `shard` is the seat's shard, `seat_usage` that of the whole entitlement. `is_written`: it was
    granted or renewed now.
    """

    shard: SeatShard
    key: str
    held: Grant
    is_new: bool
    seat_usage: SeatUsage
    is_written: bool = False


class PendingActivation:
    """One request for a seat: who asks, and the shard on which it is tried.

    `borrow_seconds`: for how long the seat is to be borrowed; None: the shard's own lease.
    """

    def __init__(
        self,
        entitlement_id: str,
        holder: Holder,
        change: Change,
        grant_id: int,
        cached: CachedPool | None,
        borrow_seconds: int | None = None,
        overload: SeatOverload | None = None,
    ) -> None:
        self.overload = overload or SeatOverload()
        self.borrow_seconds = borrow_seconds
        # What goes into the same transaction: the beginning or the end of borrowing a seat.
        self.with_borrowing: tuple[Update, ...] = ()
        # When the lease of a seat that is borrowed is to end, once that was decided; Unix seconds.
        self.borrowed_until: int | None = None
        self.entitlement_id = entitlement_id
        self.holder = holder
        self.change = change
        self.grant_id = grant_id
        self.key = seat_key(entitlement_id, holder.seat_id)
        self.place = Place.of(entitlement_id, self.key, cached.shard_count if cached else None)
        self.pool_usage = cached.seat_usage.at(change.now) if cached and cached.seat_usage else None
        # Whether the cap of a pool has followed the end of an overdraft's period.
        self.has_settled = cached.has_settled if cached else False
        # When the next lease of another shard ends, once the pool was searched.
        self.next_due: int | None = None
        # Whether this request has freed expired leases on other shards.
        self.has_freed = False
        # Times before the shard, and the free seats of the pool, were read as they are known.
        self.shard_seen_ms = self.searched_ms = change.now_ms

    def go_to(self, place: Place) -> Operation[None]:
        """Try this place; read the pool's seat usage unless it is recent enough."""
        self.place = place
        if place.shard_count is not None and self.pool_usage is None:
            self.pool_usage = yield from read_seat_usage(self.entitlement_id, self.change.now)

    def to_cache(self) -> CachedPool | None:
        """What to remember of the pool."""
        return (
            None
            if self.place.shard_count is None
            else CachedPool(self.place.shard_count, self.pool_usage, self.has_settled)
        )

    def known_shard(self, now_ms: int) -> SeatShard | None:
        """The seat's shard, if it is known that nobody but its holders can get a seat."""
        number = None if self.place.shard_count is None else self.place.number
        shard = self.overload.last_shard(number, now_ms)
        if shard and decide(shard, self.key, now_ms // 1000) is Decision.SHARD_FULL:
            return shard
        return None

    def _is_pool_known_full(self, now_ms: int) -> bool:
        """Whether it is known that no shard of the pool has a free seat, and no lease has ended."""
        seen = self.overload.last_seen(now_ms)
        if seen is None or seen.shard is not None or self.has_freed:
            return False
        return seen.next_due is None or seen.next_due > now_ms // 1000

    def read_unless_full(self, request: Request[ReplyT]) -> Operation[ReplyT]:
        """Read where a pool has free seats, as soon as the table takes it.

        Raises:
            KnownFull: the table is overloaded, and the answer is known.
        """
        now_ms = self.change.now_ms
        reply, now_ms = yield from self.overload.read(request, now_ms, self._is_pool_known_full)
        self.change = self.change.at(now_ms)
        return reply

    @property
    def is_overdraft(self) -> bool:
        """Whether a seat taken now is an overdraft seat, by the pool's totals."""
        usage = self.pool_usage
        return usage is not None and usage.used >= usage.purchased and not usage.has_ended

    @property
    def has_period(self) -> bool:
        """Whether an overdraft of a pool may only last for a time."""
        return self.pool_usage is not None and self.pool_usage.has_period

    @property
    def is_to_settle(self) -> bool:
        """Whether a pool's overdraft period has ended, and its cap may not have followed yet."""
        return (
            self.place.shard_count is not None
            and self.pool_usage is not None
            and self.pool_usage.at(self.change.now).has_ended
            and not self.has_settled
        )

    @property
    def borrowed_end(self) -> int | None:
        """When the lease of a seat that is borrowed now ends, Unix seconds; None: it is not."""
        return None if self.borrow_seconds is None else self.change.now + self.borrow_seconds

    def value(self, *, is_overdraft: bool, grant_id: int | None = None) -> int:
        """The value of the seat as a write has it, by default with this request's own grant."""
        grant_id = self.grant_id if grant_id is None else grant_id
        if (end := self.borrowed_until or self.borrowed_end) is not None:
            return encode_borrowed(grant_id, is_overdraft=is_overdraft, lease_end=end)
        return encode_grant(grant_id, is_overdraft=is_overdraft, now=self.change.now)

    def blind_write(self, *, expect_overdraft: bool = False) -> Update:
        """The grant as a write that needs no knowledge of the shard; its condition decides."""
        shard_count = self.place.shard_count
        is_over = expect_overdraft
        if shard_count is None:
            limit = WITHIN_HARD_CAP.if_nothing_is_stale() if is_over else WITHIN_PURCHASED
        else:
            limit, is_over = WITHIN_ALLOCATION, self.is_overdraft
        return self._grant(limit, is_overdraft=is_over)

    def _grant(self, limit: SeatLimit, *, is_overdraft: bool) -> Update:
        return grant_update(
            self.place,
            self.key,
            self.holder,
            self.change,
            self.value(is_overdraft=is_overdraft),
            limit,
        )

    def write(self, shard: SeatShard, decision: Decision) -> Update:
        """The write that carries out a decision other than `KEEP`."""
        change = self.change
        if decision is Decision.RENEW:
            held = decode_grant(shard.seats[self.key])
            value = self.value(is_overdraft=held.is_overdraft, grant_id=held.grant_id)
            return renewal_update(self.place, shard, self.key, self.holder, change, value)
        if decision is Decision.RECLAIM and not shard.is_draining:
            expired = shard.expired_keys(change.now)
            is_overdraft = self.is_overdraft
            if shard.is_only_shard:
                is_overdraft = shard.used - len(expired) >= shard.purchased
            value = self.value(is_overdraft=is_overdraft)
            last = activation_record(change, self.key, self.holder)
            return replacement_update(self.place, shard, expired, change, last, (self.key, value))
        if not shard.is_only_shard or decision is Decision.SHARD_FULL:
            return self.blind_write()
        if decision is Decision.GRANT:
            return self._grant(WITHIN_PURCHASED, is_overdraft=False)
        starts = shard.overdraft_period is not None and shard.clock_at(change.now) is None
        return self._grant(STARTS_OVERDRAFT if starts else WITHIN_HARD_CAP, is_overdraft=True)

    def usage_when_full(self, shard: SeatShard) -> SeatUsage:
        """The seat usage of an entitlement without a free seat."""
        if shard.is_only_shard:
            return SeatUsage.of(shard, self.change.now)
        # No shard has free capacity, so all seats under the cap are held, whatever the totals say
        # yet.
        usage = self._known_pool_usage().at(self.change.now)
        return usage._replace(used=max(usage.used, usage.cap or 0))

    def _known_pool_usage(self) -> SeatUsage:
        assert self.pool_usage is not None  # it was read on the way to a pool's shard
        return self.pool_usage

    def granted(self, shard: SeatShard, *, is_written: bool = False) -> ActivationResult:
        """The result once the seat is on its shard; our own grant id means a new grant."""
        held = decode_grant(shard.seats[self.key])
        is_new = held.grant_id == self.grant_id
        if shard.is_only_shard:
            seat_usage = SeatUsage.of(shard, self.change.now)
        else:
            seat_usage = self._known_pool_usage()
            # The totals do not include it yet.
            seat_usage = seat_usage._replace(used=seat_usage.used + int(is_new))
        return ActivationResult(shard, self.key, held, is_new, seat_usage, is_written)
