"""The usage core: what is counted, not seated, against the same two limits.

A usage limit is one item, its *counter*. It stores what is `left` under the hard cap, since a
condition can compare but not add: consuming is one conditional write that counts it down. The
requests that consumed stand in the same item by their `Idempotency-Key`, so that one write decides
both whether there is enough left and whether this request has consumed before.

They stand on two *leaves*: `recent`, the leaf in use, and `earlier`, the one before. When a leaf
is full, when the limits change and when a period begins, the leaf is turned: `earlier` goes into
items of their own, one for each request. So one write must also prove that a request is none of
those, and its condition does, in one of three ways:

- nothing of the last 24 hours has left the counter (a *quiet* limit);
- the request's key tells its time (UUIDv7), and nothing of that time or later has left;
- the request's own item was read, was not there, and no leaf has been turned since.

Everything that an answer says follows from a request's entry and its leaf's terms: the first answer
can be given again, and is never kept. Times are Unix seconds unless a name says `_ms`.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from shared import ledger, problems
from shared.clock import to_rfc3339, zone_of
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import (
    Key,
    consumption_key,
    denial_key,
    meter_of,
    owner_of,
    usage_key,
    usage_meter,
    usage_of,
)
from shared.dynamodb.requests import (
    NO_NAMES,
    NO_VALUES,
    Accepted,
    BatchPut,
    Conflicted,
    Get,
    Item,
    Pause,
    Put,
    Steps,
    Update,
    Value,
)
from shared.ledger import EPOCH, IN_FORCE, ROUNDS, Change, utc_hour

LEAF = 32  # requests that stand on one leaf before it is turned
MAX_LIMIT = 10**12
MAX_QUANTITY = 10**9
MAX_LIMITS = 48  # of one entitlement: all of them are replaced in one transaction, of 100 at most
DAY = 86_400
DAY_MS = DAY * 1000
SCHEDULES = ("monthly", "never", "on_renewal")
REMOVED = "removed"  # the status of a counter whose limit the entitlement has no more
# What `left` counts down from where there is no hard cap.
_ENDLESS = 10**14

# --- Entries --------------------------------------------------------------------------------------
# What a request consumed is one number of 37 digits, which the counter stores in 20 bytes:
#
#   time (12: milliseconds since EPOCH) | quantity (10) | left before it (15)
#
# Both may be negative (a correction; a cap that was lowered below what is used), so each is told
# from a zero in its middle. What was left comes last so that a write can let DynamoDB add it:
# `recent.#k = :entry + #left`.

_LEFTS = 10**15
_TIMES = 10**25
_NO_QUANTITY = 5 * 10**9
_NONE_LEFT = 2 * 10**14


class Entry(NamedTuple):
    """What one request consumed: when, how much, and what was left before it."""

    at_ms: int
    quantity: int
    left_before: int


def encode_entry(at_ms: int, quantity: int) -> int:
    """The number to which the counter's `left` is added to make an entry."""
    since = at_ms - EPOCH * 1000
    return since * _TIMES + (quantity + _NO_QUANTITY) * _LEFTS + _NONE_LEFT


def decode_entry(value: int) -> Entry:
    """An entry, taken apart."""
    at, rest = divmod(value, _TIMES)
    quantity, left = divmod(rest, _LEFTS)
    return Entry(at + EPOCH * 1000, quantity - _NO_QUANTITY, left - _NONE_LEFT)


_UUID7 = re.compile(
    r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.I
)


def request_key(secret: str, header: str) -> str:
    """What a request's entry stands under: 12 characters, 72 bits of SHA-256 in base64url.

    Of a UUIDv7 (RFC 9562, section 5.7) 16: its 48 bits of time, and 48 of the hash. `secret` is the
    caller's own, so that two callers' keys never meet.
    """
    digest = hashlib.sha256(f"{secret}\0{header}".encode()).digest()
    told = _UUID7.fullmatch(header)
    raw = bytes.fromhex(told[1] + told[2]) + digest[:6] if told else digest[:9]
    return base64.urlsafe_b64encode(raw).decode()


def time_of(key: str) -> int | None:
    """When a request was made by what its key says, Unix milliseconds; None: it does not say.

    That time decides nothing by itself, and may be wrong: it is an order in which keys are told.
    """
    return int.from_bytes(base64.urlsafe_b64decode(key)[:6]) if len(key) == 16 else None


# --- Periods --------------------------------------------------------------------------------------


class Period(NamedTuple):
    """From `start` to before `end`; `end` None: until something else begins a new one."""

    start: int
    end: int | None


def month_of(now: int, zone: str) -> Period:
    """The calendar month of a time, from local midnight to local midnight.

    Where clocks are set at midnight, the first moment of the day takes its place.
    """
    local = datetime.fromtimestamp(now, zone_of(zone))
    following = (local.year + local.month // 12, local.month % 12 + 1)
    start, end = (
        int(datetime(year, month, 1, tzinfo=local.tzinfo).timestamp())
        for year, month in ((local.year, local.month), following)
    )
    return Period(start, end)


class Terms(NamedTuple):
    """What the entitlement lays down on a counter. `hard_cap` None: unlimited."""

    purchased: int
    hard_cap: int | None
    schedule: str
    zone: str
    status: str
    valid_from: int
    valid_until: int | None

    def first_period(self, now: int) -> Period:
        """The period in which a limit begins that is new at `now`."""
        return month_of(now, self.zone) if self.schedule == "monthly" else Period(now, None)


# --- The counter ----------------------------------------------------------------------------------


class Leaf(NamedTuple):
    """Entries by request key, and the limits and the period that were theirs."""

    entries: Mapping[str, int]
    purchased: int
    hard_cap: int | None
    period: Period

    @classmethod
    def of(cls, item: Mapping[str, Any], entries: Mapping[str, int]) -> "Leaf":
        """The leaf whose terms are members of `item`."""
        period = Period(item["periodStart"], item.get("periodEnd"))
        return cls(entries, item["purchased"], item.get("hardCap"), period)

    def terms(self) -> dict[str, Value]:
        """The terms as the table keeps them."""
        terms: dict[str, Value] = {
            "purchased": self.purchased,
            "hardCap": self.hard_cap,
            "periodStart": self.period.start,
            "periodEnd": self.period.end,
        }
        return {name: value for name, value in terms.items() if value is not None}

    def consumption(self, key: str) -> "Consumption | None":
        """What the request of this key consumed."""
        if key not in self.entries:
            return None
        entry = decode_entry(self.entries[key])
        used_before = full(self.hard_cap) - entry.left_before
        return Consumption(
            entry.at_ms, entry.quantity, used_before, self.purchased, self.hard_cap, self.period
        )


class Counter(NamedTuple):
    """A counter as read.

    `period_number` counts the periods; `dropped_ms` is when requests that were not a day old last
    left the counter, `dropped_to` the latest time that their keys told; 0 if never.
    Of a limit that is spread (see `usage_parts`): its number of `parts` (None: it is not, 0: it is
    about to be), what they have drawn and not told to be used (`drawn`), how often and since when
    nothing can be drawn.
    """

    left: int
    leaf: Leaf
    earlier: Leaf | None
    leaf_number: int
    dropped_ms: int
    dropped_to: int
    schedule: str
    zone: str
    status: str
    valid_from: int
    valid_until: int | None
    period_number: int
    seq: int
    parts: int | None = None
    drawn: int = 0
    holds: int = 0
    held_ms: int = 0

    @classmethod
    def of(cls, item: Item) -> "Counter":
        """The counter in an item of the table."""
        earlier = item.get("earlierTerms")
        return cls(
            item["left"],
            Leaf.of(item, item["recent"]),
            Leaf.of(earlier, item["earlier"]) if earlier else None,
            item["leaf"],
            item["droppedAt"],
            item["droppedTo"],
            item["schedule"],
            item["timeZone"],
            item["status"],
            item["validFrom"],
            item.get("validUntil"),
            item["period"],
            item["seq"],
            item.get("parts"),
            item.get("drawn", 0),
            item.get("holds", 0),
            item.get("heldAt", 0),
        )

    @property
    def used(self) -> int:
        """How much of the period's limit is used; of a spread one, as far as its parts told."""
        return full(self.hard_cap) - self.left - self.drawn

    @property
    def purchased(self) -> int:
        """The soft limit."""
        return self.leaf.purchased

    @property
    def hard_cap(self) -> int | None:
        """The hard limit; None: unlimited."""
        return self.leaf.hard_cap

    @property
    def period(self) -> Period:
        """The period that is counted."""
        return self.leaf.period

    def status_at(self, now: int) -> str:
        """The status, or what the time has made of it."""
        return ledger.status_at(self.status, self.valid_from, self.valid_until, now)

    @property
    def ends_ms(self) -> int | None:
        """When what is used falls to nothing by itself: the end of the period, or of all."""
        ends = [end for end in (self.period.end, self.valid_until) if end is not None]
        return min(ends) * 1000 if ends else None

    def in_use(self, now_ms: int) -> int:
        """What is used as history counts it: nothing once the limit, or its period, is over."""
        is_over = self.status in (REMOVED, "deleted")
        return 0 if is_over or (self.ends_ms is not None and self.ends_ms <= now_ms) else self.used

    def is_busy(self, now_ms: int) -> bool:
        """Whether requests of the last 24 hours have left it."""
        return self.dropped_ms > now_ms - DAY_MS

    def may_have_dropped(self, key: str, now_ms: int) -> bool:
        """Whether the request of this key may have left it within 24 hours."""
        told = time_of(key)
        return self.is_busy(now_ms) and (told is None or self.dropped_to >= told)

    def has_ended(self, now: int) -> bool:
        """Whether the period is over, and the next one has not begun."""
        if self.period.end is None or now < self.period.end:
            return False
        # Nothing begins once the limit itself is over: it still says what was used.
        is_last = self.valid_until is not None and self.valid_until <= self.period.end
        return self.schedule == "monthly" or not is_last

    def as_of(self, now: int) -> "Counter":
        """The counter in the period of `now`: begun anew when the one that it counts is over."""
        if not self.has_ended(now):
            return self
        if self.schedule == "monthly":
            return self.begun(month_of(now, self.zone))
        return self.begun(Period(self.period.end or now, None))  # as it was renewed before

    def begun(self, period: Period) -> "Counter":
        """The counter at the beginning of a new period."""
        return self._replace(
            left=full(self.hard_cap),
            drawn=0,
            leaf=self.leaf._replace(entries={}, period=period),
            period_number=self.period_number + 1,
        )

    def raw(self, key: str) -> tuple[int | None, int | None]:
        """The entries of this key on both leaves."""
        return self.leaf.entries.get(key), self.earlier.entries.get(key) if self.earlier else None

    def consumption(self, key: str) -> "Consumption | None":
        """What the request of this key consumed, as long as it stands here."""
        found = self.leaf.consumption(key)
        return found or (self.earlier.consumption(key) if self.earlier else None)


def full(hard_cap: int | None) -> int:
    """What is left of a limit of which nothing is used."""
    return _ENDLESS if hard_cap is None else hard_cap


class Consumption(NamedTuple):
    """What a request consumed, and what its answer follows from."""

    at_ms: int
    quantity: int
    used_before: int
    purchased: int
    hard_cap: int | None
    period: Period

    @property
    def used(self) -> int:
        """What was used with it."""
        return self.used_before + self.quantity

    @property
    def overdraft_quantity(self) -> int:
        """How much of it lies above what was purchased."""
        return max(0, self.used - max(self.purchased, self.used_before))

    def to_item(self) -> Item:
        """What is kept of it for the rest of its 24 hours."""
        expiry = self.at_ms // 1000 + DAY
        terms = Leaf({}, self.purchased, self.hard_cap, self.period).terms()
        kept = {"at": self.at_ms, "quantity": self.quantity, "usedBefore": self.used_before}
        return {**terms, **kept, "ttl": expiry}

    @classmethod
    def of(cls, item: Item) -> "Consumption":
        """The consumption in a kept item."""
        leaf = Leaf.of(item, {})
        return cls(
            item["at"], item["quantity"], item["usedBefore"], leaf.purchased, leaf.hard_cap,
            leaf.period,
        )  # fmt: skip


def usage_view(used: int, purchased: int, hard_cap: int | None) -> dict[str, int | None]:
    """The `usage` object of the contract."""
    return ledger.seats_view(used, purchased, hard_cap)


def period_view(period: Period) -> dict[str, str | None]:
    """A period as it is answered; `periodEnd` null: none is set."""
    return {
        "periodStart": to_rfc3339(period.start * 1000),
        "periodEnd": None if period.end is None else to_rfc3339(period.end * 1000),
    }


def current_view(key: str, counter: Counter, now: int) -> dict[str, Any]:
    """A usage limit in the period of `now`, Unix seconds."""
    current = counter.as_of(now)
    return {
        "key": key,
        "resetSchedule": counter.schedule,
        "status": ledger.limit_status(current.used, current.purchased),
        "usage": usage_view(current.used, current.purchased, current.hard_cap),
        **period_view(current.period),
    }


def consumption_view(key: str, told: Consumption) -> dict[str, Any]:
    """What a request consumed, as it is answered, the first time and again."""
    return {
        "key": key,
        "quantity": told.quantity,
        "isOverdraft": told.overdraft_quantity > 0,
        "overdraftQuantity": told.overdraft_quantity,
        "status": ledger.limit_status(told.used, told.purchased),
        "usage": usage_view(told.used, told.purchased, told.hard_cap),
        **period_view(told.period),
    }


# --- Requests -------------------------------------------------------------------------------------

_NAMES = {"#status": "status", "#last": "last", "#left": "left"}
_SEQ = "seq = seq + :one, #last = :change"
_ALONE = "attribute_not_exists(parts)"
_IN_PERIOD = "(attribute_not_exists(periodEnd) OR periodEnd > :now)"


def _values(change: Change, last: Mapping[str, Any]) -> dict[str, Any]:
    return {":one": 1, ":change": dict(last), ":now": change.now, ":active": "active"}


def consuming(
    counter_key: Key,
    key: str,
    quantity: int,
    change: Change,
    *,
    checked: int | None = None,
    stale: tuple[int | None, int | None] = (None, None),
    kind: str = "consumed",
    room: str = "#left >= :quantity",
    left_before: int | None = None,
    where: str = _ALONE,
    more: Mapping[str, Any] = NO_VALUES,
    **details: str,
) -> Update:
    """Count down, if enough is left (`room`) and the request is new.

    `checked`: the leaf at which no item was kept of this request; None: it cannot have left the
    counter. `stale`: entries of this key on either leaf that are older than that. `left_before`: of
    the whole limit, where this is not all of it. `where`: what else must hold, with values `more`.
    """
    last = change.record(kind, quantity=quantity, **details)
    values = {
        **_values(change, last),
        ":quantity": quantity,
        ":entry": encode_entry(change.now_ms, quantity) + (left_before or 0),
        **more,
    }
    new = [where]
    for leaf, entry in zip(("recent", "earlier"), stale, strict=True):
        condition, bound = _as_seen(leaf, entry)
        new.append(condition)
        values |= bound
    if checked is not None:
        new.append("leaf = :leaf")
        values[":leaf"] = checked
    elif (told := time_of(key)) is not None:
        new.append("(droppedTo < :told OR droppedAt <= :dayAgo)")
        values |= {":told": told, ":dayAgo": change.now_ms - DAY_MS}
    else:
        new.append("droppedAt <= :dayAgo")
        values[":dayAgo"] = change.now_ms - DAY_MS
    entered = ":entry + #left" if left_before is None else ":entry"
    return Update(
        counter_key,
        f"SET recent.#k = {entered}, #left = #left - :quantity, {_SEQ}",
        f"{room} AND {' AND '.join(new)} AND {IN_FORCE} AND {_IN_PERIOD}",
        {**_NAMES, "#k": key},
        values,
    )


def _as_seen(leaf: str, entry: int | None) -> tuple[str, dict[str, int]]:
    """The condition that a request's entry on a leaf is the one that was seen, or none."""
    if entry is None:
        return f"attribute_not_exists({leaf}.#k)", {}
    return f"{leaf}.#k = :{leaf}", {f":{leaf}": entry}


def leaf_turn(counter: Counter, dropped: list[str], change: Change) -> tuple[str, dict[str, Any]]:
    """Turning the leaf: the parts of an expression, and their values. Needs `leaf = :leaf`.

    `dropped`: the requests of the last 24 hours that leave the counter with it.
    """
    sets = (
        "earlier = recent, earlierTerms = :terms, leaf = leaf + :one,"
        " droppedAt = :droppedAt, droppedTo = :droppedTo"
    )
    # What left more than a day ago is of no concern any more, nor is the time that it told.
    dropped_to = counter.dropped_to if counter.is_busy(change.now_ms) else 0
    return sets, {
        ":terms": counter.leaf.terms(),
        ":droppedAt": max(counter.dropped_ms, change.now_ms if dropped else 0),
        ":droppedTo": max([dropped_to, *(time_of(key) or 0 for key in dropped)]),
        ":leaf": counter.leaf_number,
        ":one": 1,
    }


def put_aside(counter_key: Key, counter: Counter, now_ms: int) -> Steps[list[str]]:
    """Keep in items of their own what the next turn takes from the counter; the keys of those.

    The leaf before is never written to, so what is read of it is all of it.
    """
    owner, usage = owner_of(counter_key.pk), usage_of(meter_of(counter_key.pk))
    leaf = counter.earlier
    told = {key: leaf.consumption(key) for key in leaf.entries} if leaf else {}
    young = {key: each for key, each in told.items() if each and each.at_ms > now_ms - DAY_MS}
    if young:
        yield BatchPut(
            tuple(
                (consumption_key(owner, str(usage), key), each.to_item())
                for key, each in young.items()
            )
        )
    return list(young)


def _begin(
    counter_key: Key,
    counter: Counter,
    current: Counter,
    change: Change,
    entry: tuple[str, int],
    kind: str = "consumed",
    **details: str,
) -> Steps[Update]:
    """Begin the period of `current` with its first entry, if the terms are still as seen.

    What the turn of the leaf takes from the counter is put aside first.
    """
    key, quantity = entry
    dropped = yield from put_aside(counter_key, counter, change.now_ms)
    turning, values = leaf_turn(counter, dropped, change)
    is_new, bound = _as_seen("recent", counter.raw(key)[0])
    values |= bound
    values |= {
        ":change": change.record(kind, quantity=quantity, **details),
        ":full": current.left - quantity,
        ":own": {key: encode_entry(change.now_ms, quantity) + current.left},
        ":start": current.period.start,
        ":end": current.period.end,
        ":periods": current.period_number,
        ":active": "active",
        ":now": change.now,
    }
    return Update(
        counter_key,
        f"SET {turning}, recent = :own, #left = :full, periodStart = :start, periodEnd = :end,"
        f" #period = :periods, {_SEQ}",
        f"leaf = :leaf AND {is_new} AND {IN_FORCE} AND {_ALONE}",
        {**_NAMES, "#k": key, "#period": "period"},
        values,
    )


# --- Operations -----------------------------------------------------------------------------------


class Spread(Exception):
    """The limit is spread: its requests go to its parts."""


class Outcome(NamedTuple):
    """What a request has consumed, now or before (`is_replay`), and the counter where it is."""

    told: Consumption
    counter: Counter | None
    is_replay: bool


def consume(
    entitlement_id: str,
    usage: str,
    key: str,
    quantity: int,
    change: Change,
    *,
    busy_leaf: int | None = None,
) -> Steps[Outcome]:
    """Consume `quantity` of a usage limit, all or nothing, once per request key.

    `busy_leaf` is the leaf that the caller last saw of a busy limit: the request's own item is then
    read first, which is worth it for a key that tells no time. It changes the number of round
    trips, never the outcome.

    Raises:
        NotFound, EntitlementSuspended, EntitlementExpired, EntitlementNotYetValid,
        HardCapReached (with `usage`; on record), IdempotencyConflict, Contention, Spread.
    """
    counter_key = usage_key(entitlement_id, usage)
    if busy_leaf is not None:
        told = yield from kept(entitlement_id, usage, key, change.now_ms)
        if told:
            return replay(told, quantity, None)
    write = consuming(counter_key, key, quantity, change, checked=busy_leaf)
    checked = busy_leaf
    for attempt in range(1, ROUNDS + 1):
        reply = yield write
        if isinstance(reply, Accepted):
            return (yield from _done(counter_key, reply, key, change))
        if isinstance(reply, Conflicted):
            yield Pause(attempt)
            continue
        # The answer may have taken seconds: a period may have begun meanwhile.
        change = change.at((yield Pause(0)))
        counter = _alone(reply.item)
        told = yield from look(entitlement_id, usage, key, counter, change.now_ms, checked)
        if told:
            yield from _turn_if_left(counter_key, counter, change)
            return replay(told, quantity, counter)
        was_looked_at = counter.may_have_dropped(key, change.now_ms)
        checked = counter.leaf_number if was_looked_at else None
        check_in_force(counter, change.now)
        current = counter.as_of(change.now)
        if current.left < quantity:
            yield from record_denial(entitlement_id, usage, key, quantity, current, change)
            raise denied(usage, quantity, current)
        if attempt > 1:
            change = change.at((yield Pause(attempt - 1)))
        if current is counter:
            write = consuming(
                counter_key, key, quantity, change, checked=checked, stale=counter.raw(key)
            )
        else:
            write = yield from _begin(counter_key, counter, current, change, (key, quantity))
    raise problems.Contention


def counter_of(item: Item | None) -> Counter:
    """The counter of a limit.

    Raises:
        NotFound: there is none.
    """
    if item is None:
        raise problems.NotFound("No usage limit has this key.")
    return Counter.of(item)


def _alone(item: Item | None) -> Counter:
    counter = counter_of(item)
    if counter.parts is not None:
        raise Spread
    return counter


def _done(counter_key: Key, reply: Accepted, key: str, change: Change) -> Steps[Outcome]:
    """What was consumed just now; a leaf that became full by it is turned."""
    counter = counter_of(reply.item)
    told = counter.leaf.consumption(key)
    assert told is not None  # it has just been written
    if len(counter.leaf.entries) % LEAF == 0:
        yield from turn(counter_key, counter, change)
    return Outcome(told, counter, is_replay=False)


def _turn_if_left(counter_key: Key, counter: Counter, change: Change) -> Steps[None]:
    """Turn a leaf that is full still: whoever filled it ended before that."""
    if len(counter.leaf.entries) >= LEAF:
        yield from turn(counter_key, counter, change)


def look(
    owner: str, usage: str, key: str, counter: Counter, now_ms: int, checked: int | None = None
) -> Steps[Consumption | None]:
    """What a request has consumed within 24 hours, here or in an item of its own.

    `checked`: the leaf at which there was no such item.
    """
    told = counter.consumption(key)
    if told and told.at_ms > now_ms - DAY_MS:
        return told
    if counter.may_have_dropped(key, now_ms) and checked != counter.leaf_number:
        return (yield from kept(owner, usage, key, now_ms))
    return None


def kept(owner: str, usage: str, key: str, now_ms: int) -> Steps[Consumption | None]:
    """What a request consumed within 24 hours, once it has left the counter."""
    item: Item | None = yield Get(consumption_key(owner, usage, key))
    told = Consumption.of(item) if item else None
    return told if told and told.at_ms > now_ms - DAY_MS else None


def record_denial(
    owner: str, usage: str, key: str, quantity: int, counter: Counter, change: Change
) -> Steps[None]:
    """Put on record that a request was denied."""
    about: dict[str, Value] = {
        "entitlementId": owner,
        "seatKey": key,
        "usageKey": usage,
        "quantity": quantity,
        "periodStart": counter.period.start,
        "periodEnd": counter.period.end,
    }
    record = denial_key(owner, key, utc_hour(change.now), usage_meter(usage))
    level = (counter.used, counter.purchased, counter.hard_cap)
    yield from ledger.settle(ledger.denial(record, about, level, change))


def replay(told: Consumption, quantity: int, counter: Counter | None) -> Outcome:
    """What a request is answered again.

    Raises:
        IdempotencyConflict: it wants something else.
    """
    if told.quantity != quantity:
        raise problems.IdempotencyConflict("Use a new Idempotency-Key for a new request.")
    return Outcome(told, counter, is_replay=True)


def check_in_force(counter: Counter, now: int) -> None:
    """Raise the problem for which nothing is consumed at `now`."""
    _check_offered(counter)
    ledger.check_in_force(counter.status_at(now))


def _check_offered(counter: Counter) -> None:
    if counter.status == REMOVED:
        raise problems.NotFound("No usage limit has this key.")


def denied(usage: str, quantity: int, counter: Counter) -> problems.HardCapReached:
    """The problem of a limit of which not enough is left."""
    return problems.HardCapReached(
        f"{quantity} of '{usage}' do not fit under the hard cap of {counter.hard_cap}"
        f" ({counter.purchased} purchased, {counter.used} used); nothing was consumed.",
        extensions={
            "key": usage,
            "usage": usage_view(counter.used, counter.purchased, counter.hard_cap),
            **period_view(counter.period),
        },
    )


def turn(counter_key: Key, counter: Counter, change: Change) -> Steps[None]:
    """Turn a full leaf. If somebody else has turned it, there is nothing to do."""
    dropped = yield from put_aside(counter_key, counter, change.now_ms)
    sets, values = leaf_turn(counter, dropped, change)
    yield Update(
        counter_key,
        f"SET {sets}, recent = :none",
        "leaf = :leaf",
        NO_NAMES,
        {**values, ":none": {}},
    )


def preview(
    entitlement_id: str, usage: str, key: str | None, quantity: int, change: Change
) -> Steps[Consumption]:
    """What `consume` would answer at this moment; nothing is changed, nothing is recorded.

    Raises:
        What `consume` raises, but for Contention.
    """
    counter = counter_of((yield Get(usage_key(entitlement_id, usage))))
    if key:
        told = yield from look(entitlement_id, usage, key, counter, change.now_ms)
        if told:
            return replay(told, quantity, counter).told
    check_in_force(counter, change.now)
    current = counter.as_of(change.now)
    if current.left < quantity:
        raise denied(usage, quantity, current)
    return Consumption(
        change.now_ms, quantity, current.used, current.purchased, current.hard_cap, current.period
    )


def correct(
    entitlement_id: str, usage: str, key: str, quantity: int, reason: str, change: Change
) -> Steps[Outcome]:
    """Add a signed quantity to what is used, once per request key; never above the hard cap.

    Raises:
        What `consume` raises, but for the record of a denial; InvalidRequest: more taken back
        than is used.
    """
    counter_key = usage_key(entitlement_id, usage)
    for attempt in range(1, ROUNDS + 1):
        counter = counter_of((yield Get(counter_key)))
        told = yield from look(entitlement_id, usage, key, counter, change.now_ms)
        if told:
            return replay(told, quantity, counter)
        check_in_force(counter, change.now)
        current = counter.as_of(change.now)
        if current.used + quantity < 0:
            raise problems.InvalidRequest.at(
                "/quantity", f"takes back more than the {current.used} used in this period"
            )
        if quantity > max(0, current.left):
            raise denied(usage, quantity, current)
        if current is counter:
            write = _correct(counter_key, counter, key, quantity, reason, change)
        else:
            entry = (key, quantity)
            write = yield from _begin(
                counter_key, counter, current, change, entry, "corrected", reason=reason
            )
        reply = yield write
        if isinstance(reply, Accepted):
            return (yield from _done(counter_key, reply, key, change))
        change = change.at((yield Pause(attempt)))
    raise problems.Contention


def _correct(
    counter_key: Key, counter: Counter, key: str, quantity: int, reason: str, change: Change
) -> Update:
    # Upwards as far as there is room, downwards as far as there is use.
    room, more = "#left >= :quantity", dict[str, Any]()
    if quantity < 0:
        room, more = "#left <= :most", {":most": full(counter.hard_cap) - counter.drawn + quantity}
    where, left_before = _ALONE, None
    if counter.parts is not None:
        left_before = counter.left + counter.drawn
        where = "drawn = :drawn AND #left = :seenLeft"
        more |= {":drawn": counter.drawn, ":seenLeft": counter.left}
    return consuming(
        counter_key, key, quantity, change, checked=counter.leaf_number, stale=counter.raw(key),
        kind="corrected", room=room, left_before=left_before, where=where, more=more, reason=reason,
    )  # fmt: skip


# --- Terms: what the entitlement lays down on its counters ----------------------------------------


def new_counter(
    entitlement_id: str, usage: str, terms: Terms, change: Change, kind: str = "created"
) -> Put:
    """A counter of which nothing is used. `kind` is `added` for an entitlement in use."""
    leaf = Leaf({}, terms.purchased, terms.hard_cap, terms.first_period(change.now))
    return Put(
        usage_key(entitlement_id, usage),
        {
            "left": full(terms.hard_cap),
            **leaf.terms(),
            "recent": {},
            "earlier": {},
            "leaf": 1,
            "droppedAt": 0,
            "droppedTo": 0,
            "schedule": terms.schedule,
            "timeZone": terms.zone,
            "status": terms.status,
            "validFrom": terms.valid_from,
            "validUntil": terms.valid_until,
            "period": 1,
            "seq": 1,
            "last": change.record(kind),
        },
        "attribute_not_exists(pk)",
    )


def changed(counter: Counter, terms: Terms, now: int, *, is_renewed: bool) -> Counter:
    """The counter under new terms. What was used stays used, until a period begins.

    `is_renewed`: the validity was moved later. A limit `on_renewal` begins anew by that: at once if
    it has ended, and otherwise at the end that it had when it was first moved, earlier or later. So
    an end that was mistyped, and is put right, gives nothing for nothing.
    """
    current = counter.as_of(now)
    ends = counter.valid_until
    delta = full(terms.hard_cap) - full(current.hard_cap)
    current = current._replace(
        left=current.left + delta,
        leaf=current.leaf._replace(purchased=terms.purchased, hard_cap=terms.hard_cap),
        schedule=terms.schedule,
        zone=terms.zone,
        status=terms.status,
        valid_from=terms.valid_from,
        valid_until=terms.valid_until,
    )
    if terms.schedule == "on_renewal":
        if is_renewed and ends is not None and ends <= now:
            return current.begun(Period(now, None))
        known = current.period.end if counter.schedule == "on_renewal" else None
        was_moved = ends != terms.valid_until
        begins = ends if known is None and was_moved else known
        period = current.period._replace(end=begins)
        return current._replace(leaf=current.leaf._replace(period=period))
    if terms.schedule == "monthly":
        period = month_of(now, terms.zone)
        if counter.schedule == "monthly" and counter.zone != terms.zone:
            # It may be another month already, or still, in the new zone: no month is counted twice.
            middle = current.period.start + 14 * DAY
            month = month_of(middle, terms.zone)
            if period.start > month.start:
                return current.begun(period)
            period = month
        return current._replace(leaf=current.leaf._replace(period=period))
    period = current.period._replace(end=None)
    return current._replace(leaf=current.leaf._replace(period=period))


def change_terms(
    entitlement_id: str, usage: str, counter: Counter, new: Counter, change: Change
) -> Steps[Update | None]:
    """The write that brings a counter from what was seen to its new form; None: nothing changes.

    What the next turn takes from the counter is put aside first.
    """
    if new._replace(left=counter.left, leaf=counter.leaf) == counter and (
        new.leaf.terms() == counter.leaf.terms()
    ):
        return None
    counter_key = usage_key(entitlement_id, usage)
    sets: dict[str, Any] = {
        "#status": new.status,
        "validFrom": new.valid_from,
        "validUntil": new.valid_until,
        "schedule": new.schedule,
        "#zone": new.zone,
        "#period": new.period_number,
    }
    begins = new.period_number != counter.period_number
    names = {"#status": "status", "#last": "last", "#period": "period", "#zone": "timeZone"}
    values: dict[str, Any] = {":one": 1, ":leaf": counter.leaf_number, ":deleted": "deleted"}
    assignments = [_SEQ]
    if begins or new.leaf.terms() != counter.leaf.terms():
        dropped = yield from put_aside(counter_key, counter, change.now_ms)
        turning, more = leaf_turn(counter, dropped, change)
        values |= {**more, ":none": {}}
        assignments += [turning, "recent = :none"]
        names["#left"] = "left"
        if begins:
            assignments.append("#left = :left")
            values[":left"] = new.left
        else:
            assignments.append("#left = #left + :more")
            values[":more"] = new.left - counter.left
        sets |= {
            "purchased": new.purchased,
            "hardCap": new.hard_cap,
            "periodStart": new.period.start,
            "periodEnd": new.period.end,
        }
    settings, removals, new_values = assign(sets)
    kind = new.status if new.status in (REMOVED, "deleted") else "updated"
    condition = "leaf = :leaf AND #status <> :deleted"
    if counter.parts is None:
        condition += f" AND {_ALONE}"
    else:
        # Nothing is out: see `usage_parts.hold`.
        condition += " AND heldAt = :held AND holds = :holds"
        values |= {":held": counter.held_ms, ":holds": counter.holds}
        removals = [*removals, "heldAt", "heldBy"]
    return Update(
        counter_key,
        set_and_remove([*assignments, *settings], removals),
        condition,
        names,
        {**values, **new_values, ":change": change.record(kind)},
    )
