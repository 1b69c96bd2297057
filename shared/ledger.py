"""The seat core: decisions, and the conditional writes that make them true.

An activation is one conditional write on one item, the entitlement's *ledger page*. The map of
holders is the counter: conditions compare `size(seats)` with the limits, so a count can never
drift from the holders. Decisions are plain functions of a page and the time; operations are
generators that yield requests of `table.py` and are sent the replies, so any driver can run
them. Times are Unix seconds unless a name says `_ms`.
"""

import base64
import hashlib
import re
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from shared import problems
from shared.clock import to_rfc3339
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import (
    Key,
    denial_key,
    ledger_key,
    owner_of,
    page_number,
    pool_key,
    room_shard,
    sweep_shard,
)
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    Cancelled,
    Conflicted,
    Get,
    Item,
    Pause,
    Put,
    Reply,
    Steps,
    Transact,
    Update,
    Value,
)

SUMMED = "isSummed"  # of a page whose versions are told by its pool's sum
PAGE_SEATS = 128  # the most a single page may be asked to hold
CLOCK_GRACE = 5  # seconds by which clocks may differ: a lease is reclaimed that long after its end
MOST_FREED = 200  # leases that one write frees: an expression has 4 KB at most
ROUNDS = 10  # rounds of looking again before an operation gives up with `contention`
EVIDENCE_SECONDS = 400 * 86_400  # evidence stays on record for 13 months
MIN_LEASE = 60
MAX_LEASE = 366 * 86_400

# --- Seats ---------------------------------------------------------------------------------------
# A seat's value is one number of at most 24 digits, which the page stores in 13 bytes:
#
#   stamp (14: milliseconds since EPOCH, two more digits) | flag (1) | lease end (9: s since EPOCH)
#
# The lease end comes last so that a write can let DynamoDB add the page's own lease period:
# `seats.#k = :seat + leaseSeconds`. A writer need not know the period, and it cannot be stale.

EPOCH = 1_735_689_600  # 2025-01-01T00:00:00Z
_ENDS = 10**9
_STAMPS = 10 * _ENDS
# A page without leases adds this "period": it overflows into the flag, where 2 means no lease.
NO_LEASE = 2 * _ENDS
# `earliest` of a page without leases: never due.
NEVER = 9_999_999_999


class Seat(NamedTuple):
    """A grant: its stamp, whether it was an overdraft seat, when its lease ends (None: never)."""

    stamp: int
    is_overdraft: bool
    lease_end: int | None

    @property
    def activated_at_ms(self) -> int:
        """When the seat was granted, Unix milliseconds."""
        return EPOCH * 1000 + self.stamp // 100


def encode_seat(stamp: int, *, is_overdraft: bool, now: int) -> int:
    """The number to which the page's `leaseSeconds` is added to make a seat's value."""
    return stamp * _STAMPS + int(is_overdraft) * _ENDS + (now - EPOCH)


def decode_seat(value: int) -> Seat:
    """A seat's value, taken apart."""
    stamp, rest = divmod(value, _STAMPS)
    flag, end = divmod(rest, _ENDS)
    return Seat(stamp, bool(flag & 1), None if flag & 2 else end + EPOCH)


class Stamps:
    """Makes grant stamps: strictly increasing within a process, never twice in practice beyond.

    The last two digits differ by process, so that two processes whose clocks read the same
    millisecond still stamp apart.
    """

    def __init__(self, salt: int) -> None:
        self._salt = salt % 100
        self._last = 0

    def next(self, now_ms: int) -> int:
        """A stamp for a grant at `now_ms`."""
        stamp = (now_ms - EPOCH * 1000) * 100 + self._salt
        if stamp <= self._last:
            stamp = self._last + 100
        self._last = stamp
        return stamp


def seat_key(entitlement_id: str, seat_id: str) -> str:
    """The 12 characters under which a holder sits: 72 bits of SHA-256, base64url."""
    digest = hashlib.sha256(f"{entitlement_id}\0{seat_id}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:9]).decode()


def activation_id(key: str, stamp: int) -> str:
    """The public name of one grant: who sits there, and which grant it was."""
    return f"act_{key}{base64.urlsafe_b64encode(stamp.to_bytes(6)).decode()}"


def parse_activation_id(text: str) -> tuple[str, int]:
    """Seat key and stamp of an activation id.

    Raises:
        NotFound: no grant ever had such an id.
    """
    match = _ACTIVATION_ID.fullmatch(text)
    if not match:
        raise problems.NotFound("No activation has this id.")
    key, stamp = match.groups()
    return key, int.from_bytes(base64.urlsafe_b64decode(stamp))


_ACTIVATION_ID = re.compile(r"act_([A-Za-z0-9_-]{12})([A-Za-z0-9_-]{8})", re.ASCII)


# --- The page -----------------------------------------------------------------------------------


class Page(NamedTuple):
    """A ledger page as read. `seats` maps seat key to seat value (see `decode_seat`).

    `pages` is how many its pool has (see `pool`), None of a page that has all the seats. In a pool
    it holds at most its `allowance`, and `number` names it; what is freed on one that `is_frozen`
    is paid to the pool. `moving_at_ms`: its seats are being moved, since then. `is_summed`: the
    entitlement has, or had, several pages, and their sum tells of its changes.
    """

    seats: dict[str, int]
    seat_count: int
    hard_cap: int | None
    status: str
    valid_from: int
    valid_until: int | None
    lease_seconds: int
    earliest: int | None
    seq: int
    has_seats: bool
    pages: int | None = None
    number: int = 0
    allowance: int | None = None
    is_frozen: bool = False
    moving_at_ms: int | None = None
    is_summed: bool = False

    @classmethod
    def of(cls, item: Item) -> "Page":
        """The page in an item of the table."""
        return cls(
            item["seats"],
            item.get("seatCount", 0),  # a pool's limits are not on its pages
            item.get("hardCap"),
            item["status"],
            item["validFrom"],
            item.get("validUntil"),
            item["leaseSeconds"],
            item.get("earliest"),
            item["seq"],
            not item.get("noSeats"),
            item.get("pages") or None,
            item.get("page", 0),
            item.get("allowance"),
            "isFrozen" in item,
            item.get("movingAt"),
            SUMMED in item,
        )

    @property
    def is_alone(self) -> bool:
        """Whether it has all the seats of its entitlement: what it says holds for all of them."""
        return self.pages is None

    @property
    def cap(self) -> int | None:
        """How many seats it may hold itself; None: there is no limit."""
        return self.hard_cap if self.pages is None else self.allowance

    @property
    def slack(self) -> int:
        """How many seats of its allowance are not held."""
        return max(0, (self.allowance or 0) - self.used)

    @property
    def used(self) -> int:
        """How many seats are held."""
        return len(self.seats)

    @property
    def lease(self) -> int | None:
        """The lease period, None where seats are held until released."""
        return None if self.lease_seconds == NO_LEASE else self.lease_seconds

    def status_at(self, now: int) -> str:
        """The status, or what the time has made of it."""
        return status_at(self.status, self.valid_from, self.valid_until, now)

    def next_lease_expiry(self) -> int | None:
        """The earliest lease end among the seats held."""
        ends = [seat.lease_end for seat in map(decode_seat, self.seats.values())]
        return min((end for end in ends if end is not None), default=None)

    def expired_keys(self, now: int) -> list[str]:
        """Seats whose lease ran out at least `CLOCK_GRACE` ago; of many, as one write can free."""
        if self.earliest is not None and self.earliest > now:
            return []
        expired = [
            key
            for key, value in self.seats.items()
            if (end := decode_seat(value).lease_end) is not None and end + CLOCK_GRACE <= now
        ]
        return expired[:MOST_FREED]

    def other_leases(self, now: int) -> list[str]:
        """Seats whose lease is of earlier terms; of many, as one write can change."""
        found = [key for key, value in self.seats.items() if is_of_other_terms(self, value, now)]
        return found[:MOST_FREED]


def lease_expiry(end: int | None) -> str | None:
    """A lease end as it is answered; None where there is no lease."""
    return None if end is None else to_rfc3339(end * 1000)


def seats_view(used: int, seat_count: int, hard_cap: int | None) -> dict[str, int | None]:
    """The `seats` object of the contract; overdraft is derived, never stored."""
    return {
        "used": used,
        "purchased": seat_count,
        "hardCap": hard_cap,
        "overdraftUsed": max(0, used - seat_count),
        "available": None if hard_cap is None else max(0, hard_cap - used),
    }


class Standing(NamedTuple):
    """Use of an entitlement's seats against both limits.

    `as_of_ms`: of a pool of several pages, when the newest change that it counts was made; `seq`
    grows with every change that it counts.
    """

    used: int
    seat_count: int
    hard_cap: int | None
    as_of_ms: int | None = None
    seq: int = 0

    @classmethod
    def of(cls, page: Page) -> "Standing":
        """That of a page that has all the seats."""
        return cls(page.used, page.seat_count, page.hard_cap, None, page.seq)

    def view(self) -> dict[str, Any]:
        """The `seats` object of the contract."""
        view: dict[str, Any] = seats_view(self.used, self.seat_count, self.hard_cap)
        if self.as_of_ms is not None:
            view["asOf"] = to_rfc3339(self.as_of_ms)
        return view


def limit_status(used: int, seat_count: int) -> str:
    """`within_limit`, `at_limit` or `overdraft`."""
    if used > seat_count:
        return "overdraft"
    return "at_limit" if used == seat_count else "within_limit"


def status_at(status: str, valid_from: int, valid_until: int | None, now: int) -> str:
    """The status an answer shows: the stored one, or what the time has made of it."""
    if status != "active":
        return status
    if now < valid_from:
        return "not_yet_valid"
    if valid_until is not None and now >= valid_until:
        return "expired"
    return "active"


def check_in_force(status: str) -> None:
    """Raise the problem for which nothing is granted at this status (see `status_at`)."""
    if status == "deleted":
        raise problems.NotFound("No entitlement has this id.")
    if status == "suspended":
        raise problems.EntitlementSuspended
    if status == "not_yet_valid":
        raise problems.EntitlementNotYetValid
    if status == "expired":
        raise problems.EntitlementExpired


# --- Where a seat is -----------------------------------------------------------------------------

# Pages are named by where they begin, in this many parts of all seat keys: every number of pages
# divides it.
PARTS = 6144
# Above so many pages, the index of those that may have room is spread.
_ROOM_PAGES = 256
ROOM_SHARDS = 4


# The condition that a page has all the seats, and is not about to be split.
ALONE = "attribute_not_exists(pages) AND attribute_not_exists(movingAt)"


class Place(NamedTuple):
    """Where in a pool a seat is: on the page `number` of `pages`.

    `pages` None: on the only page of an entitlement that never had more.
    """

    owner: str
    number: int
    pages: int | None

    @classmethod
    def of(cls, owner: str, key: str, pages: int | None) -> "Place":
        """The place of a seat key. Page i of n has the i-th n-th of all keys."""
        if pages is None:
            return cls(owner, 0, None)
        return cls(owner, position_of(key) * pages // _POSITIONS * (PARTS // pages), pages)

    @property
    def key(self) -> Key:
        """The page's key."""
        return ledger_key(self.owner, self.number)

    @property
    def room(self) -> str:
        """Its partition of the index of pages that may have room."""
        return room_of(self.owner, self.number, self.pages or 1)

    def clause(self) -> tuple[str, dict[str, int]]:
        """The condition that the page is where it was thought to be, and its value."""
        if self.pages is None:
            return ALONE, {}
        return "pages = :pages AND attribute_not_exists(movingAt)", {":pages": self.pages}


_POSITIONS = 1 << 48


def position_of(key: str) -> int:
    """The first 48 bits of a seat key."""
    return int.from_bytes(base64.urlsafe_b64decode(key[:8]))


def key_at(number: int) -> str:
    """The first of the seat keys on the page that is named so."""
    position = -(-number * _POSITIONS // PARTS)
    return base64.urlsafe_b64encode(position.to_bytes(6)).decode() + "AAAA"


def room_of(owner: str, number: int, pages: int) -> str:
    """The partition of the index of pages with room in which a page stands."""
    shard = number * pages // PARTS % ROOM_SHARDS if pages > _ROOM_PAGES else 0
    return room_shard(owner, shard)


def room_shards(owner: str, pages: int) -> list[str]:
    """The partitions of the index of a pool's pages that may have room."""
    count = ROOM_SHARDS if pages > _ROOM_PAGES else 1
    return [room_shard(owner, shard) for shard in range(count)]


# --- Decisions ----------------------------------------------------------------------------------


class Decision(Enum):
    """What is to be done for a holder who asks for a seat."""

    KEEP = "the holder sits here, no write is due"
    RENEW = "the holder sits here, the lease is to be written"
    RECLAIM = "leases ran out: free them and take one, in one write"
    WITHIN = "a seat within what was purchased"
    OVERDRAFT = "a seat above what was purchased, below the hard cap"
    DENY = "nothing free below the hard cap"


def decide(page: Page, key: str, now: int) -> Decision:
    """What a page that is in force means for a holder; the order is the rule.

    A holder is never denied; stale seats are freed before anything counts as overdraft. Of a page
    of several, `DENY` means that it has no room itself, and it does not know about overdraft.
    """
    if key in page.seats:
        return Decision.RENEW if renewal_due(page, key, now) else Decision.KEEP
    expired = len(page.expired_keys(now))
    left = page.used - expired
    if page.cap is not None and left >= page.cap:
        return Decision.DENY
    if expired:
        return Decision.RECLAIM
    is_within = left < page.seat_count or not page.is_alone
    return Decision.WITHIN if is_within else Decision.OVERDRAFT


def renewal_due(page: Page, key: str, now: int) -> bool:
    """A renewal writes when less than half of the lease is left, or when the terms changed."""
    if is_of_other_terms(page, page.seats[key], now):
        return True
    end = decode_seat(page.seats[key]).lease_end
    return page.lease is not None and end is not None and end - now < page.lease / 2


def is_of_other_terms(page: Page, value: int, now: int) -> bool:
    """Whether a seat has a lease that the page's terms cannot have given it.

    It has one and the page has none, or the other way round, or one that ends later than a lease of
    this moment would. A lease that ends sooner is left: the next renewal makes it longer.
    """
    end, lease = decode_seat(value).lease_end, page.lease
    if lease is None or end is None:
        return (lease is None) != (end is None)
    return end - now > lease + CLOCK_GRACE


def earliest_after(page: Page, kept: Mapping[str, int], now: int) -> int | None:
    """A lower bound of the lease ends of `kept` and of every seat granted from `now` on.

    None where no seat is leased (the next grant sets it); `NEVER` where the page has no leases; 0
    where a lease is still of earlier terms, so that the sweep looks at it.
    """
    if any(is_of_other_terms(page, value, now) for value in kept.values()):
        return 0
    ends = [end for value in kept.values() if (end := decode_seat(value).lease_end) is not None]
    if page.lease is None:
        return NEVER
    return min(*ends, now + page.lease) if ends else None


# --- Requests -----------------------------------------------------------------------------------


class Change(NamedTuple):
    """Who changes something, in which request, when."""

    actor: str
    request_id: str
    now_ms: int

    @property
    def now(self) -> int:
        """Unix seconds."""
        return self.now_ms // 1000

    def at(self, now_ms: int) -> "Change":
        """The same at a later time; a clock that goes back does not take time back."""
        return self._replace(now_ms=max(now_ms, self.now_ms))

    def record(self, kind: str, **details: Any) -> dict[str, Any]:
        """The page's `last`: the change that made this version."""
        present = {name: value for name, value in details.items() if value}
        return {
            "type": kind,
            "actor": self.actor,
            "request": self.request_id,
            "at": self.now_ms,
            **present,
        }


class Holder(NamedTuple):
    """Who asks for a seat. `attributes` are shown to the vendor and never decide anything."""

    seat_id: str
    seat_name: str = ""
    attributes: Mapping[str, str] = {}


# Names `#status`, values `:active` and `:now`.
IN_FORCE = (
    "#status = :active AND validFrom <= :now"
    " AND (attribute_not_exists(validUntil) OR validUntil > :now)"
)
_NAMES = {"#status": "status", "#last": "last"}
_SEQ = "seq = seq + :one, #last = :change"
# A minute from now: no lease is shorter, so it is a lower bound whatever the page's period is.
_BOUND = "earliest = if_not_exists(earliest, :earliest)"


def _values(change: Change, last: Mapping[str, Any]) -> dict[str, Any]:
    return {":one": 1, ":now": change.now, ":change": dict(last)}


WITHIN = "size(seats) < seatCount"
OVERDRAFT = "size(seats) >= seatCount AND (attribute_not_exists(hardCap) OR size(seats) < hardCap)"
# Asked of a page that was not seen first, so that no lease that ran out is overlooked.
NOTHING_STALE = " AND (attribute_not_exists(earliest) OR earliest > :now)"
# Of a page of a pool.
ROOM = "size(seats) < allowance"


def sit(
    place: Place,
    key: str,
    change: Change,
    last: Mapping[str, Any],
    condition: str,
    values: Mapping[str, Any],
    more: str = "",
) -> Update:
    """Write one seat's value (`:seat`, without its lease), if the entitlement is in force."""
    here, bound = place.clause()
    return Update(
        place.key,
        f"SET seats.#k = :seat + leaseSeconds, {_SEQ}, {_BOUND}{more}",
        f"{condition} AND {here} AND {IN_FORCE}",
        {**_NAMES, "#k": key},
        {
            **_values(change, last),
            ":active": "active",
            ":earliest": change.now + MIN_LEASE,
            **bound,
            **values,
        },
    )


def grant(
    place: Place, key: str, holder: Holder, change: Change, stamp: int, room: str,
    *, is_overdraft: bool,
) -> Update:  # fmt: skip
    """A new seat, by a write that needs to know nothing of the page; `room` is the condition."""
    seat = encode_seat(stamp, is_overdraft=is_overdraft, now=change.now)
    last = grant_record(change, key, holder)
    condition = f"attribute_not_exists(seats.#k) AND {room}"
    return sit(place, key, change, last, condition, {":seat": seat})


def grant_record(
    change: Change, key: str, holder: Holder, kind: str = "activated"
) -> dict[str, Any]:
    """The page's `last` when somebody is seated, or seated on."""
    return change.record(
        kind,
        key=key,
        seatId=holder.seat_id,
        seatName=holder.seat_name,
        attributes=dict(holder.attributes),
    )


def renewal(place: Place, page: Page, key: str, holder: Holder, change: Change) -> Update:
    """A new lease for the same grant, if the seat is as it was seen."""
    held = decode_seat(page.seats[key])
    seat = encode_seat(held.stamp, is_overdraft=held.is_overdraft, now=change.now)
    last = grant_record(change, key, holder, "renewed")
    values = {":seat": seat, ":held": page.seats[key]}
    return sit(place, key, change, last, "seats.#k = :held", values)


def freeing(
    place: Place, key: str, stamp: int, change: Change, *, is_frozen: bool = False
) -> Update:
    """Give back the grant with this stamp, whatever its lease.

    A page that `is_frozen` loses the allowance as well: it goes together with a `deposit`.
    """
    here, bound = place.clause()
    more, values = "", dict[str, Any]()
    if is_frozen:
        here += " AND attribute_exists(isFrozen)"
        more = ", allowance = allowance - :one"
    elif place.pages is not None:
        here += " AND attribute_not_exists(isFrozen)"
        more, values = ", roomKey = :room", {":room": place.room}
    return Update(
        place.key,
        f"SET {_SEQ}{more} REMOVE seats.#k",
        f"seats.#k BETWEEN :low AND :high AND {here}",
        {"#last": "last", "#k": key},
        {
            ":one": 1,
            ":change": change.record("released", key=key),
            ":low": stamp * _STAMPS,
            ":high": (stamp + 1) * _STAMPS - 1,
            **bound,
            **values,
        },
    )


def replace(
    place: Place,
    page: Page,
    freed: list[str],
    change: Change,
    last: Mapping[str, Any],
    grant: tuple[str, int] | None = None,
) -> Update:
    """Free seats, perhaps take one, if the page is still exactly as it was seen.

    None is taken on a frozen page, and it goes together with a `deposit`.
    """
    kept = {key: value for key, value in page.seats.items() if key not in set(freed)}
    names = {"#last": "last", **{f"#f{number}": key for number, key in enumerate(freed)}}
    values = {**_values(change, last), ":seen": page.seq}
    del values[":now"]
    sets = f"SET {_SEQ}"
    condition = "seq = :seen"
    removes = [f"seats.#f{number}" for number in range(len(freed))]
    if place.pages is not None:
        condition += f" AND attribute_{'' if page.is_frozen else 'not_'}exists(isFrozen)"
    if page.is_frozen:
        sets += ", allowance = allowance - :freed"
        values[":freed"] = len(freed)
    elif place.pages is not None:
        sets += ", roomKey = :room"
        values[":room"] = place.room
    if grant:
        key, value = grant
        names["#k"] = key
        values[":seat"] = value
        sets += ", seats.#k = :seat + leaseSeconds"
        kept[key] = value + page.lease_seconds
    earliest = earliest_after(page, kept, change.now)
    if earliest is None:
        removes.append("earliest")
    else:
        sets += ", earliest = :earliest"
        values[":earliest"] = earliest
    return Update(
        place.key, f"{sets} REMOVE {', '.join(removes)}" if removes else sets, condition,
        names, values,
    )  # fmt: skip


def deposit(owner: str, seats: int) -> Update:
    """Pay into the bank of a pool what was freed on a frozen page."""
    return Update(
        pool_key(owner), "SET bank = bank + :seats, roomKey = :room", "attribute_exists(pk)",
        NO_NAMES, {":seats": seats, ":room": room_shard(owner, 0)},
    )  # fmt: skip


def seat_denial(
    entitlement_id: str, key: str, holder: Holder, level: "Standing", change: Change
) -> Update:
    """One more attempt of this seat in this hour."""
    return denial(
        denial_key(entitlement_id, key, utc_hour(change.now)),
        {
            "entitlementId": entitlement_id,
            "seatKey": key,
            "seatId": holder.seat_id,
            "seatName": holder.seat_name,
        },
        (level.used, level.seat_count, level.hard_cap),
        change,
    )


def denial(
    record: Key,
    about: Mapping[str, Value],
    level: tuple[int, int, int | None],
    change: Change,
) -> Update:
    """One more attempt in this hour, on record with the limits in force.

    `about` says who or what was denied, `level` is what was used, purchased, and the hard cap. It
    counts in the hour and in its quarter (`q0` to `q3`). The request id keeps a repetition of our
    own write from counting twice.
    """
    used, purchased, hard_cap = level
    told = "".join(f"{name} = :{name}, " for name in about)
    return Update(
        record,
        f"SET {told}seatCount = :purchased, hardCap = :cap, used = :used,"
        " firstAt = if_not_exists(firstAt, :at), lastAt = :at, #request = :request,"
        " actor = :actor, #ttl = :ttl ADD attempts :one, #quarter :one",
        "attribute_not_exists(#request) OR #request <> :request",
        {"#request": "request", "#ttl": "ttl", "#quarter": f"q{change.now // 900 % 4}"},
        {
            **{f":{name}": value for name, value in about.items()},
            ":purchased": purchased,
            ":cap": hard_cap,
            ":used": used,
            ":at": change.now_ms,
            ":request": change.request_id,
            ":actor": change.actor,
            ":ttl": change.now + EVIDENCE_SECONDS,
            ":one": 1,
        },
    )


def utc_hour(now: int) -> str:
    """The UTC hour of a time, `YYYY-MM-DDTHH`."""
    return time.strftime("%Y-%m-%dT%H", time.gmtime(now))


# --- Operations ---------------------------------------------------------------------------------


def check_seats(page: Page, now: int) -> None:
    """Raise the problem for which nothing is granted on this page at `now`."""
    check_in_force(page.status_at(now))
    if not page.has_seats:
        raise problems.NotFound("This entitlement has usage limits, and no seats.")


def settle(write: Update | Put | Transact) -> Steps[Any]:
    """Send a write until no transaction is in its way; its reply, which is not `Conflicted`.

    Raises:
        Contention: there always was one.
    """
    for attempt in range(1, ROUNDS + 1):
        reply = yield write
        if not isinstance(reply, Conflicted):
            return reply
        yield Pause(attempt)
    raise problems.Contention


def _give_lease_anew(page_key: Key, page: Page, others: list[str], change: Change) -> Update:
    """The page's own lease, from now on, for seats that have one of earlier terms."""
    seats = dict(page.seats)
    names = {"#last": "last"}
    values = _values(change, change.record("leased_anew"))
    del values[":now"]
    sets = list[str]()
    for number, key in enumerate(others):
        held = decode_seat(page.seats[key])
        seat = encode_seat(held.stamp, is_overdraft=held.is_overdraft, now=change.now)
        seats[key] = values[f":s{number}"] = seat + page.lease_seconds
        names[f"#s{number}"] = key
        sets.append(f"seats.#s{number} = :s{number}")
    # Never None: there is a seat, and the page's lease is its own now.
    values[":earliest"] = earliest_after(page, seats, change.now)
    return Update(
        page_key,
        f"SET {_SEQ}, earliest = :earliest, {', '.join(sets)}",
        "seq = :seen AND leaseSeconds = :lease",
        names,
        {**values, ":seen": page.seq, ":lease": page.lease_seconds},
    )


def sweep_page(page_key: Key, change: Change) -> Steps[int]:
    """Free the leases that ran out on one page; how many.

    Where none has, leases of earlier terms are given anew; then `earliest` is corrected, which is
    no change of the page: `seq` stays.
    """
    for attempt in range(1, ROUNDS + 1):
        item: Item | None = yield Get(page_key)
        if item is None:
            return 0
        page = Page.of(item)
        expired = page.expired_keys(change.now)
        place = Place(owner_of(page_key.pk), page_number(page_key.pk), page.pages)
        if expired:
            last = change.record("lease_expired")
            freed = replace(place, page, expired, change, last)
            write: Update | Transact = freed
            if page.is_frozen:
                write = Transact((freed, deposit(place.owner, len(expired))))
        elif others := page.other_leases(change.now):
            write = _give_lease_anew(page_key, page, others, change)
        else:
            earliest = earliest_after(page, page.seats, change.now)
            if earliest == page.earliest:
                return 0
            values: dict[str, Any] = {":seen": page.seq, ":lease": page.lease_seconds}
            if earliest is not None:
                values[":earliest"] = earliest
            write = Update(
                page_key,
                "REMOVE earliest" if earliest is None else "SET earliest = :earliest",
                "seq = :seen AND leaseSeconds = :lease",
                NO_NAMES,
                values,
            )
        reply: Reply | Cancelled = yield write
        if isinstance(reply, Accepted):
            return len(expired)
        change = change.at((yield Pause(attempt)))
    return 0  # A busy page frees its own stale seats; the next sweep looks again.


# --- Terms: what the entitlement lays down on its page ------------------------------------------


class Terms(NamedTuple):
    """What a grant must check, as the page stores it. `lease` None: held until released.

    An entitlement of usage limits alone has an empty page too, and nobody ever gets a seat on it.
    """

    seat_count: int
    hard_cap: int | None
    status: str
    valid_from: int
    valid_until: int | None
    lease: int | None
    has_seats: bool = True


def new_page(entitlement_id: str, terms: Terms, change: Change) -> Put:
    """An empty page."""
    return Put(
        ledger_key(entitlement_id),
        {
            "seats": {},
            "seatCount": terms.seat_count,
            "hardCap": terms.hard_cap,
            "status": terms.status,
            "validFrom": terms.valid_from,
            "validUntil": terms.valid_until,
            "leaseSeconds": NO_LEASE if terms.lease is None else terms.lease,
            "earliest": NEVER if terms.lease is None else None,
            "noSeats": None if terms.has_seats else True,
            "sweepKey": sweep_shard(entitlement_id),
            "seq": 1,
            "last": change.record("created"),
        },
        "attribute_not_exists(pk)",
    )


def change_terms(
    entitlement_id: str,
    terms: Terms,
    change: Change,
    *,
    lease_changed: bool,
    was_closed: bool = False,
) -> Update:
    """New terms for a page in use that has all the seats. Those held stay, whatever the limits.

    A changed lease, and a page that is opened again, sets `earliest` to 0, a bound that is always
    right; the sweep corrects it.
    """
    sets: dict[str, Value] = {
        "seatCount": terms.seat_count,
        "hardCap": terms.hard_cap,
        "#status": terms.status,
        "validFrom": terms.valid_from,
        "validUntil": terms.valid_until,
        "leaseSeconds": NO_LEASE if terms.lease is None else terms.lease,
        "noSeats": None if terms.has_seats else True,
    }
    if lease_changed or was_closed:
        sets["earliest"] = 0
    assignments, removals, values = assign(sets)
    return Update(
        ledger_key(entitlement_id),
        set_and_remove([_SEQ, *assignments], removals),
        f"attribute_exists(pk) AND #status <> :deleted AND {ALONE}",
        _NAMES,
        {**values, ":one": 1, ":change": change.record("updated"), ":deleted": "deleted"},
    )


def empty_page(entitlement_id: str, kind: str, change: Change) -> Update:
    """Take every seat away from a page that has all of them.

    `kind` is `deleted` (for good) or `expired` (validity ended). The page takes this as its status,
    so that a grant which is still on its way, with a time from before, finds it closed whatever its
    clock says. New terms open it again.
    """
    condition = f"attribute_exists(pk) AND {ALONE}"
    values: dict[str, Any] = {":none": {}, ":one": 1, ":change": change.record(kind), ":kind": kind}
    if kind == "expired":
        condition = f"validUntil <= :now AND #status <> :deleted AND {ALONE}"
        values |= {":now": change.now, ":deleted": "deleted"}
    return Update(
        ledger_key(entitlement_id),
        f"SET seats = :none, #status = :kind, {_SEQ} REMOVE earliest",
        condition,
        _NAMES,
        values,
    )
