"""Usage limits under a rush: a counter spread over parts, each with an allowance of its own.

One counter takes some three hundred requests a second. A limit that has more of them, and is large
enough, is *spread*: its requests go to one of `PARTS` parts, by their own key, so that a retry
comes to the same one. A part counts down what it has drawn from the limit's counter, as that does
by itself (`usage`). The counter knows what is `drawn`, and not yet told to be used. So

    left + drawn + used = hard cap,    and what parts have left is never more than what is drawn.

All of the limit is drawn, by each part its share. A part tells what it has used every few seconds.
Whoever finds too little on its part and on the counter *gathers*: takes back what all parts have,
and deals it anew. Denied is who then finds that less is left and drawn than is asked for.

New terms, and a new period, begin only when nothing is drawn: allowance of a part is under the
current terms, always. Who gathers or changes terms *holds* the counter meanwhile: nothing can be
drawn.
"""

import base64
import random
from collections import OrderedDict
from typing import Any, NamedTuple

from shared import problems, usage
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import Key, part_key, sweep_shard, usage_key
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    BatchGet,
    Cancelled,
    Conflicted,
    Get,
    Item,
    Pause,
    Put,
    Steps,
    Transact,
    Update,
    Value,
)
from shared.ledger import ROUNDS, Change
from shared.usage import LEAF, Consumption, Counter, Outcome, Spread, decode_entry

PARTS = 64
# Two leaves that were filled within so long: 320 requests a second, about what a counter takes.
RUSH_MS = 200
# A smaller limit is soon at its end, and its parts would have too little.
SPREAD_FROM = 100_000
# A part that has used something tells of it when it did not for so long, or twice as long: not all
# of them at once. Of the requests that find it due, one in so many does it.
TELL_MS = 5_000
TELLERS = 4
# The sweep looks at what is drawn every minute.
LOOK_SECONDS = 60
# Who holds a counter is gone when it has not let go for so long.
HOLD_MS = 3_000
# A process reads a limit's counter again when what it read is so old.
FRESH_MS = 1_000


class Part(NamedTuple):
    """A part as read: its own counter, what it has drawn and not told of, what it gives back.

    `told_ms` and `told_seq`: when it told last, and up to which of its versions.
    """

    counter: Counter
    drawn: int
    giving: int | None
    told_ms: int
    told_seq: int

    @classmethod
    def of(cls, item: Item) -> "Part":
        """The part in an item of the table."""
        return cls(
            Counter.of(item), item["drawn"], item.get("giving"), item["toldAt"], item["toldSeq"]
        )

    @property
    def untold(self) -> int:
        """What it has used and not told of."""
        return self.drawn - self.counter.left - (self.giving or 0)

    @property
    def requests(self) -> int:
        """How many requests have used that: each was a version."""
        return self.counter.seq - self.told_seq


class Memory:
    """What a process remembers of limits: which are spread, and how they stood a moment ago.

    It saves round trips, and decides nothing but what an answer says of the whole limit.
    """

    SIZE = 2_000

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], tuple[Counter, int]] = OrderedDict()

    def recall(self, limit: tuple[str, str], now_ms: int) -> Counter | None:
        """The counter of a spread limit, if it was read not long ago."""
        counter, at = self._seen.get(limit, (None, 0))
        return counter if abs(now_ms - at) < FRESH_MS else None

    def is_spread(self, limit: tuple[str, str]) -> bool:
        """Whether a limit was spread when it was last seen."""
        return limit in self._seen

    def note(self, limit: tuple[str, str], counter: Counter, now_ms: int) -> None:
        """Remember a counter of a spread limit that was read just now."""
        self._seen.pop(limit, None)
        self._seen[limit] = (counter, now_ms)
        if len(self._seen) > self.SIZE:
            self._seen.popitem(last=False)


def part_of(key: str) -> int:
    """The part to which a request goes, by its key: the end of that is a hash."""
    return int.from_bytes(base64.urlsafe_b64decode(key)[-4:]) % PARTS


# --- Consuming ------------------------------------------------------------------------------------


def consume(
    entitlement_id: str,
    name: str,
    key: str,
    quantity: int,
    change: Change,
    *,
    busy_leaf: int | None = None,
    memory: Memory | None = None,
) -> Steps[Outcome]:
    """Consume `quantity` of a usage limit, spread or not; see `usage.consume`.

    `memory` is what the caller remembers of spread limits. A limit with a rush of requests is
    spread here.
    """
    memory = memory or Memory()
    limit = (entitlement_id, name)
    if not memory.is_spread(limit):
        try:
            outcome: Outcome = yield from usage.consume(
                entitlement_id, name, key, quantity, change, busy_leaf=busy_leaf
            )
        except Spread:
            pass
        else:
            if outcome.counter and is_rushed(outcome.counter):
                yield _spread(limit)
            return outcome
    return (yield from _Request(limit, key, quantity, change, memory).consume())


def _look(
    limit: tuple[str, str], key: str, part: Counter | None, now_ms: int
) -> Steps[Consumption | None]:
    """What a request has consumed within 24 hours, also before the limit was spread."""
    if part is None:
        counter = usage.counter_of((yield Get(usage_key(*limit))))
        told = yield from usage.look(*limit, key, counter, now_ms)
        return told or (yield from usage.kept(*limit, key, now_ms))
    return (yield from usage.look(*limit, key, part, now_ms))


def is_rushed(counter: Counter) -> bool:
    """Whether a counter has just filled its second leaf in a rush, and is worth spreading."""
    cap, earlier = counter.hard_cap, counter.earlier
    if cap is not None and cap < SPREAD_FROM:
        return False
    if earlier is None or min(len(counter.leaf.entries), len(earlier.entries)) < LEAF:
        return False
    times = [
        decode_entry(entry).at_ms
        for leaf in (counter.leaf, earlier)
        for entry in leaf.entries.values()
    ]
    return max(times) - min(times) < RUSH_MS


def _spread(limit: tuple[str, str]) -> Update:
    """Let nothing be consumed of the counter itself any more; the first to draw does the rest."""
    return Update(
        usage_key(*limit),
        "SET parts = :none, drawn = :none, holds = :none",
        "attribute_not_exists(parts) AND #status = :active",
        {"#status": "status"},
        {":none": 0, ":active": "active"},
    )


class _Request:
    """One request for some of a spread limit."""

    def __init__(
        self, limit: tuple[str, str], key: str, quantity: int, change: Change, memory: Memory
    ) -> None:
        self.limit, self.key, self.quantity, self.change = limit, key, quantity, change
        self.memory = memory
        self.part_key = part_key(*limit, part_of(key))

    def consume(self) -> Steps[Outcome]:
        """Consume of the part that is this request's.

        Raises:
            What `usage.consume` raises, but for Spread.
        """
        recalled = self.memory.recall(self.limit, self.change.now_ms)
        counter = recalled or (yield from self._read())
        write = self._write(counter)
        for attempt in range(1, ROUNDS + 1):
            reply = yield write
            if isinstance(reply, Accepted):
                return (yield from self._done(reply))
            if isinstance(reply, Conflicted):
                yield Pause(attempt)
                continue
            self.change = self.change.at((yield Pause(0)))
            part = Part.of(reply.item) if reply.item else None
            seen = part.counter if part else None
            told = yield from _look(self.limit, self.key, seen, self.change.now_ms)
            if told:
                return usage.replay(told, self.quantity, None)
            if not self._has_enough(part, counter):
                counter = yield from self._read()
            usage.check_in_force(counter, self.change.now)
            if not self._has_enough(part, counter):
                # What it has then is as this wants it, unless others are faster.
                counter = yield from self._draw(part, counter, attempt)
            elif attempt > 1:
                self.change = self.change.at((yield Pause(attempt - 1)))
            write = self._write(counter, part)
        raise problems.Contention

    def _deny(self, counter: Counter) -> Steps[None]:
        yield from usage.record_denial(*self.limit, self.key, self.quantity, counter, self.change)
        raise usage.denied(self.limit[1], self.quantity, counter)

    def _read(self) -> Steps[Counter]:
        """The limit's counter as it is now."""
        item: Item | None = yield Get(usage_key(*self.limit))
        counter = usage.counter_of(item)
        self.memory.note(self.limit, counter, self.change.now_ms)
        return counter

    def _write(self, counter: Counter, part: Part | None = None) -> Update:
        """Count down the part's allowance. What the answer says of the limit is as it was read."""
        cap, leaf = counter.hard_cap, counter.leaf
        same, values = "purchased = :purchased", dict[str, Any]({":purchased": leaf.purchased})
        same += " AND attribute_not_exists(hardCap)" if cap is None else " AND hardCap = :cap"
        if cap is not None:
            values[":cap"] = cap
        seen = part.counter if part else None
        checked = None
        if seen and seen.may_have_dropped(self.key, self.change.now_ms):
            checked = seen.leaf_number
        return usage.consuming(
            self.part_key, self.key, self.quantity, self.change, checked=checked,
            stale=seen.raw(self.key) if seen else (None, None),
            left_before=usage.full(cap) - counter.as_of(self.change.now).used,
            where=same, more=values,
        )  # fmt: skip

    def _has_enough(self, part: Part | None, counter: Counter) -> bool:
        return (
            part is not None
            and part.counter.left >= self.quantity
            and _terms(part.counter) == _terms(counter)
            and not counter.has_ended(self.change.now)
        )

    def _done(self, reply: Accepted) -> Steps[Outcome]:
        """What was consumed just now; a full leaf is turned, what was used is told in time."""
        part = Part.of(reply.item or {})
        told = part.counter.leaf.consumption(self.key)
        assert told is not None  # it has just been written
        if len(part.counter.leaf.entries) % LEAF == 0:
            yield from usage.turn(self.part_key, part.counter, self.change)
        due_ms = part.told_ms + TELL_MS + TELL_MS * part_of(self.key) // PARTS
        if part.untold and self.change.now_ms >= due_ms and random.randrange(TELLERS) == 0:
            yield _tell(self.limit, self.part_key, part, self.change)
        return Outcome(told, None, is_replay=False)

    def _draw(self, part: Part | None, counter: Counter, attempt: int) -> Steps[Counter]:
        """Bring allowance to the part, or find out that there is not enough; the limit's counter.

        Raises:
            HardCapReached: no part has enough, and not all of them together.
        """
        if counter.held_ms:
            yield from _wait(self.limit, counter, attempt)
        elif not counter.parts:
            yield from _put_leaves_aside(self.limit, counter, self.change)
        elif counter.has_ended(self.change.now):
            yield from _begin(self.limit, self.change)
        elif counter.left + counter.drawn < self.quantity:
            yield from self._deny(counter)
        elif part and part.giving is not None and not counter.drawn:
            yield _clear(self.part_key)
        elif counter.left >= self.quantity and (part is None or part.giving is None):
            yield from self._move(part, counter)
        else:
            wants = (self.part_key, self.quantity)
            counter = yield from gather(self.limit, self.change, tries=1, wants=wants)
            self.memory.note(self.limit, counter, self.change.now_ms)
        return counter

    def _move(self, part: Part | None, counter: Counter) -> Steps[None]:
        """Some of what the counter has left to the part; what the part has used is told with it.

        It may be refused, since others did the same: look again.
        """
        share = max(self.quantity, min(counter.left, (counter.left + counter.drawn) // PARTS))
        used = part.untold if part else 0
        requests = part.requests if part else 0
        about = _about(self.limit, self.change, used, requests, left=-share, drawn=share - used)
        # The sweep is to look at it.
        about = _with(
            about, "sweepKey = :shard, earliest = if_not_exists(earliest, :due)", "",
            {
                ":shard": sweep_shard(self.limit[0]), ":due": self.change.now + LOOK_SECONDS,
            },
        )  # fmt: skip
        about = _with(
            about, "",
            "#left >= :share AND holds = :holds AND attribute_not_exists(heldAt)"
            " AND #period = :period AND parts = :parts",
            {":share": share, ":holds": counter.holds, ":period": counter.period_number,
             ":parts": counter.parts},
        )  # fmt: skip
        about = about._replace(names={**about.names, "#period": "period"})
        received: Put | Update
        if part is None:
            received = _new_part(self.part_key, counter, share, self.change)
        elif _terms(part.counter) == _terms(counter):
            received = Update(
                self.part_key,
                "SET #left = #left + :share, drawn = :drawn, toldAt = :now, toldSeq = :seq",
                _AS_SEEN,
                {"#left": "left"},
                {":share": share, ":drawn": part.drawn + share - used, ":seen": part.drawn,
                 ":now": self.change.now_ms, ":seq": part.counter.seq, ":told": part.told_seq},
            )  # fmt: skip
        else:
            received = yield from _renew(self.part_key, part, counter, share, self.change)
        yield Transact((about, received))


# What a part has drawn, and told of, is as it was seen.
_AS_SEEN = "drawn = :seen AND toldSeq = :told AND attribute_not_exists(giving)"

# --- A part ---------------------------------------------------------------------------------------


def _terms(counter: Counter) -> dict[str, Value]:
    return {
        **counter.leaf.terms(),
        "status": counter.status,
        "schedule": counter.schedule,
        "timeZone": counter.zone,
        "validFrom": counter.valid_from,
        "validUntil": counter.valid_until,
        "period": counter.period_number,
    }


def _new_part(key: Key, counter: Counter, share: int, change: Change) -> Put:
    """A part that has never been there: what its requests did before stands in their own items."""
    return Put(
        key,
        {
            **_terms(counter), "left": share, "drawn": share, "toldAt": change.now_ms,
            "recent": {}, "earlier": {}, "leaf": 1, "seq": 1, "toldSeq": 1,
            "last": change.record("created"),
            "droppedAt": counter.dropped_ms, "droppedTo": counter.dropped_to,
        },
        "attribute_not_exists(pk)",
    )  # fmt: skip


def _renew(key: Key, part: Part, counter: Counter, share: int, change: Change) -> Steps[Update]:
    """New terms for a part that has nothing: they begin with a new leaf."""
    dropped = yield from usage.put_aside(key, part.counter, change.now_ms)
    turning, values = usage.leaf_turn(part.counter, dropped, change)
    names = {"#left": "left", "#status": "status", "#period": "period", "#zone": "timeZone"}
    named = {name: alias for alias, name in names.items()}
    sets = {named.get(name, name): value for name, value in _terms(counter).items()}
    sets.setdefault("hardCap", None)
    sets.setdefault("periodEnd", None)
    assignments, removals, more = assign(
        {**sets, "toldAt": change.now_ms, "toldSeq": part.counter.seq}
    )
    return Update(
        key,
        set_and_remove(
            [turning, "recent = :empty", "#left = :share", "drawn = :share", *assignments], removals
        ),
        "leaf = :leaf AND drawn = :zero AND attribute_not_exists(giving)",
        names,
        {**values, **more, ":empty": {}, ":share": share, ":zero": 0},
    )


# --- The counter of a spread limit ----------------------------------------------------------------


def _about(
    limit: tuple[str, str], change: Change, used: int, requests: int, *, drawn: int, left: int = 0
) -> Update:
    """What parts did, as the counter is told: what was `used` is a version of its own."""
    assignments, names = ["drawn = drawn + :drawn"], dict[str, str]()
    values: dict[str, Any] = {":drawn": drawn}
    if left:
        assignments.append("#left = #left + :more")
        names["#left"] = "left"
        values[":more"] = left
    if used:
        assignments.append("seq = seq + :one, #last = :change")
        names["#last"] = "last"
        values |= {
            ":one": 1,
            ":change": change.record("consumed", quantity=used, requests=requests),
        }
    return Update(
        usage_key(*limit), "SET " + ", ".join(assignments), "attribute_exists(parts)",
        names, values,
    )  # fmt: skip


def _with(update: Update, sets: str, condition: str, values: dict[str, Any]) -> Update:
    return update._replace(
        expression=f"{update.expression}, {sets}" if sets else update.expression,
        condition=f"{update.condition} AND {condition}" if condition else update.condition,
        values={**update.values, **values},
    )


def _tell(limit: tuple[str, str], key: Key, part: Part, change: Change) -> Transact:
    """Tell the counter what a part has used; it keeps what it has left."""
    return Transact((
        _about(limit, change, part.untold, part.requests, drawn=-part.untold),
        Update(
            key, "SET drawn = :drawn, toldAt = :now, toldSeq = :seq", _AS_SEEN, NO_NAMES,
            {":drawn": part.drawn - part.untold, ":seen": part.drawn, ":now": change.now_ms,
             ":seq": part.counter.seq, ":told": part.told_seq},
        ),
    ))  # fmt: skip


def _put_leaves_aside(limit: tuple[str, str], counter: Counter, change: Change) -> Steps[None]:
    """What stood on the counter before it was spread gets items of its own; then it has parts."""
    key = usage_key(*limit)
    dropped = yield from usage.put_aside(key, counter, change.now_ms)
    dropped += yield from usage.put_aside(
        key, counter._replace(earlier=counter.leaf), change.now_ms
    )
    turning, values = usage.leaf_turn(counter, dropped, change)
    yield Update(
        key,
        f"SET {turning.replace('earlier = recent', 'earlier = :empty')}, recent = :empty,"
        " parts = :parts",
        "leaf = :leaf AND recent = :recent AND parts = :none",
        NO_NAMES,
        {
            **values, ":empty": {}, ":parts": PARTS, ":none": 0,
            ":recent": dict(counter.leaf.entries),
        },
    )  # fmt: skip


def _wait(limit: tuple[str, str], counter: Counter, attempt: int) -> Steps[None]:
    """Somebody changes the terms; who does not let go is gone."""
    now_ms: int = yield Pause(attempt)
    if now_ms - counter.held_ms > HOLD_MS:
        yield from let_go(limit, counter)


def _begin(limit: tuple[str, str], change: Change) -> Steps[None]:
    """Begin the period of now, once everything that was used in the last one is told."""
    counter = yield from gather(limit, change, tries=1)
    if counter.drawn == 0:
        yield from _begin_period(limit, counter, change)


def _begin_period(limit: tuple[str, str], counter: Counter, change: Change) -> Steps[None]:
    """Begin the period of now on a counter of which nothing is drawn, if its own has ended."""
    if not counter.has_ended(change.now):
        return
    key = usage_key(*limit)
    current = counter.as_of(change.now)
    dropped = yield from usage.put_aside(key, counter, change.now_ms)
    turning, values = usage.leaf_turn(counter, dropped, change)
    yield Update(
        key,
        f"SET {turning}, recent = :empty, #left = :full, periodStart = :start, periodEnd = :end,"
        " #period = :periods, seq = seq + :one, #last = :change",
        "leaf = :leaf AND drawn = :zero",
        {"#left": "left", "#period": "period", "#last": "last"},
        {
            **values, ":empty": {}, ":full": current.left, ":start": current.period.start,
            ":end": current.period.end, ":periods": current.period_number, ":zero": 0,
            ":change": change.record("begun"),
        },
    )  # fmt: skip


# --- Taking back what is drawn --------------------------------------------------------------------


def _read_parts(limit: tuple[str, str]) -> Steps[dict[Key, Part]]:
    keys = tuple(part_key(*limit, number) for number in range(PARTS))
    found: dict[Key, Item] = yield BatchGet(keys)
    return {key: Part.of(item) for key, item in found.items()}


def gather(
    limit: tuple[str, str],
    change: Change,
    *,
    tries: int = ROUNDS,
    wants: tuple[Key, int] | None = None,
) -> Steps[Counter]:
    """Take back what all parts have left, and hear what they have used; the counter afterwards.

    With `wants`, a part and how much it is to have at least, everything is dealt anew. Something is
    drawn still where somebody else does the same. Can be left at any call and done again.
    """
    for attempt in range(1, tries + 1):
        counter = usage.counter_of((yield Get(usage_key(*limit))))
        if counter.drawn == 0:
            return counter
        mine = yield from _hold(limit, change)
        if mine:
            return (yield from _take_back(limit, change, mine, wants, lets_go=True))
        change = change.at((yield Pause(attempt)))
    return counter


def _take_back(
    limit: tuple[str, str], change: Change, mine: Counter, wants: tuple[Key, int] | None,
    *, lets_go: bool,
) -> Steps[Counter]:  # fmt: skip
    """Take everything back while the counter is held by us (`mine`), and let it go or not."""
    for attempt in range(1, ROUNDS + 1):
        parts = yield from _read_parts(limit)
        asked = [_give(key) for key, part in parts.items() if part.drawn and part.giving is None]
        reply = Accepted()
        if asked:
            reply = yield Transact((_still_held(limit, mine), *asked))
        if isinstance(reply, Accepted):
            counter = usage.counter_of((yield Get(usage_key(*limit))))
            parts = yield from _read_parts(limit)
            giving = {key: part for key, part in parts.items() if part.giving is not None}
            counter = counter._replace(holds=mine.holds, held_ms=mine.held_ms)
            writes = _dealt(limit, counter, giving, wants, change, lets_go=lets_go)
            reply = yield Transact(writes)
            if isinstance(reply, Accepted):
                return usage.counter_of((yield Get(usage_key(*limit))))
        if isinstance(reply, Cancelled) and reply.reasons[0][0]:
            counter = usage.counter_of((yield Get(usage_key(*limit))))
            if (counter.holds, counter.held_ms) != (mine.holds, mine.held_ms):
                return counter  # somebody else's by now
        change = change.at((yield Pause(attempt)))
    raise problems.Contention


def _still_held(limit: tuple[str, str], mine: Counter) -> Update:
    """Changes nothing; refused if the counter is not held by us any more."""
    return Update(
        usage_key(*limit), "SET heldAt = :held", "holds = :holds AND heldAt = :held",
        NO_NAMES, {":held": mine.held_ms, ":holds": mine.holds},
    )  # fmt: skip


def _clear(key: Key) -> Update:
    """A part that gives back nothing, of which nobody knows any more."""
    return Update(
        key, "REMOVE giving", "giving = :zero AND drawn = :zero", NO_NAMES, {":zero": 0}
    )  # fmt: skip


def _give(key: Key) -> Update:
    """A part has nothing left from now on, and says what it had."""
    return Update(
        key, "SET giving = #left, #left = :zero", "attribute_not_exists(giving)",
        {"#left": "left"}, {":zero": 0},
    )  # fmt: skip


def _dealt(
    limit: tuple[str, str], counter: Counter, giving: dict[Key, Part],
    wants: tuple[Key, int] | None, change: Change, *, lets_go: bool,
) -> tuple[Update, ...]:  # fmt: skip
    """What parts give back and what they get anew, and what the counter hears of it."""
    back = sum(part.giving or 0 for part in giving.values())
    drawn = sum(part.drawn for part in giving.values())
    shares = dict.fromkeys(giving, 0)
    if wants:
        now = _terms(counter)
        current = [key for key, part in giving.items() if _terms(part.counter) == now]
        shares |= _shares(counter.left + back, current, wants)
    dealt = sum(shares.values())
    about = _with(
        _about(
            limit, change, drawn - back, sum(part.requests for part in giving.values()),
            left=back - dealt, drawn=dealt - drawn,
        ), "",
        "holds = :holds AND heldAt = :held AND #left = :seen",
        {":holds": counter.holds, ":held": counter.held_ms, ":seen": counter.left},
    )  # fmt: skip
    about = about._replace(names={**about.names, "#left": "left"})
    if lets_go:
        about = about._replace(expression=f"{about.expression} REMOVE heldAt, heldBy")
    return about, *(
        Update(
            key, "SET #left = :share, drawn = :share, toldAt = :now, toldSeq = :seq REMOVE giving",
            "giving = :seen AND drawn = :drawn", {"#left": "left"},
            {":share": shares[key], ":now": change.now_ms, ":seen": part.giving,
             ":drawn": part.drawn, ":seq": part.counter.seq},
        )
        for key, part in giving.items()
    )  # fmt: skip


def _shares(left: int, keys: list[Key], wants: tuple[Key, int]) -> dict[Key, int]:
    """What is left, dealt evenly, once the one who asks has enough; what is not is left over.

    A part that cannot be dealt anything draws what it wants.
    """
    key, quantity = wants
    first = max(0, min(left, quantity))
    each, more = divmod(max(0, left - first), max(1, len(keys)))
    shares = {name: each + int(number < more) for number, name in enumerate(keys)}
    if key in shares:
        shares[key] += first
    return shares


def hold(limit: tuple[str, str], change: Change, more_ms: int = 0) -> Steps[Counter]:
    """Have everything back, and let nothing be drawn until the terms are changed; the counter.

    Nobody takes us for gone for `more_ms` longer than usual.

    Raises:
        Contention.
    """
    change = change.at((yield Pause(0)))
    for attempt in range(1, ROUNDS + 1):
        mine = yield from _hold(limit, change, more_ms)
        if mine:
            counter = yield from _take_back(limit, change, mine, None, lets_go=False)
            if counter.drawn == 0 and (counter.holds, counter.held_ms) == (
                mine.holds, mine.held_ms,
            ):  # fmt: skip
                return counter
        change = change.at((yield Pause(attempt)))
    raise problems.Contention


def _hold(limit: tuple[str, str], change: Change, more_ms: int = 0) -> Steps[Counter | None]:
    """Be the one who holds the counter: as it is then; None: somebody else does."""
    reply = yield Update(
        usage_key(*limit),
        "SET heldAt = :now, heldBy = :me, holds = holds + :one",
        "attribute_exists(parts) AND"
        " (attribute_not_exists(heldAt) OR heldAt < :gone OR heldBy = :me)",
        NO_NAMES,
        {
            ":now": change.now_ms + more_ms, ":me": change.request_id, ":one": 1,
            ":gone": change.now_ms - HOLD_MS,
        },
    )  # fmt: skip
    return usage.counter_of(reply.item) if isinstance(reply, Accepted) else None


def look_after(owner: str, name: str, change: Change) -> Steps[None]:
    """What the sweep does: hear what parts have used."""
    limit = (owner, name)
    counter = usage.counter_of((yield Get(usage_key(*limit))))
    if counter.drawn:
        parts = yield from _read_parts(limit)
        for key, part in parts.items():
            # Those that are in use tell by themselves.
            is_quiet = part.told_ms < change.now_ms - 3 * TELL_MS
            if part.untold and part.giving is None and is_quiet:
                yield _tell(limit, key, part, change)
        if any(part.giving is not None for part in parts.values()):
            # Whoever wanted it back is gone, or will be done.
            yield from gather(limit, change, tries=1)
        yield Update(
            usage_key(*limit), "SET earliest = :due", "drawn > :zero", NO_NAMES,
            {":due": change.now + LOOK_SECONDS, ":zero": 0},
        )  # fmt: skip
    yield Update(
        usage_key(*limit), "REMOVE earliest, sweepKey", "drawn = :zero", NO_NAMES,
        {":zero": 0},
    )  # fmt: skip


# --- Looking, correcting --------------------------------------------------------------------------


def preview(
    entitlement_id: str, name: str, key: str | None, quantity: int, change: Change
) -> Steps[Consumption]:
    """What `consume` would answer at this moment; see `usage.preview`."""
    limit = (entitlement_id, name)
    counter = usage.counter_of((yield Get(usage_key(*limit))))
    if counter.parts is None:
        return (yield from usage.preview(entitlement_id, name, key, quantity, change))
    if key:
        item: Item | None = yield Get(part_key(*limit, part_of(key)))
        part = Counter.of(item) if item else None
        told = yield from _look(limit, key, part, change.now_ms)
        if told:
            return usage.replay(told, quantity, counter).told
    usage.check_in_force(counter, change.now)
    current = counter.as_of(change.now)
    left = current.left
    if left < quantity <= left + current.drawn:
        parts = (yield from _read_parts(limit)).values()
        left += sum(part.counter.left + (part.giving or 0) for part in parts)
        current = current._replace(left=left, drawn=0)  # what is used is known, now that we looked
    if left < quantity:
        raise usage.denied(name, quantity, current)
    return Consumption(
        change.now_ms, quantity, current.used, current.purchased, current.hard_cap, current.period
    )


def correct(
    entitlement_id: str, name: str, key: str, quantity: int, reason: str, change: Change
) -> Steps[Outcome]:
    """Add a signed quantity to what is used; see `usage.correct`. Corrections stand on the counter.

    It is held meanwhile, with everything taken back: so it knows how much can be taken or added.
    """
    limit = (entitlement_id, name)
    counter = usage.counter_of((yield Get(usage_key(*limit))))
    if counter.parts is not None:
        counter = yield from hold(limit, change)
        yield from _begin_period(limit, counter, change)
    try:
        outcome: Outcome = yield from usage.correct(
            entitlement_id, name, key, quantity, reason, change
        )
    except problems.Problem:
        yield from let_go(limit, counter)
        raise
    yield from let_go(limit, counter)
    return outcome


def let_go(limit: tuple[str, str], counter: Counter) -> Steps[None]:
    """Let others draw again from a counter that was held by us, and is so no more."""
    if counter.parts is not None:
        yield Update(
            usage_key(*limit), "REMOVE heldAt, heldBy", "heldAt = :held", NO_NAMES,
            {":held": counter.held_ms},
        )  # fmt: skip
