"""History: what the kept changes add up to, by quarter-hour and by overdraft episode.

Every accepted version of a ledger page, or of a usage limit's counter, is a *kept change*.
`History` folds those of one *meter* (the seats, or one usage limit), in the order of `seq`, into
quarter-hour records and episodes; it is plain arithmetic, so the same changes give the same
records however they were delivered. Times are Unix milliseconds; a change counts from the time
that it was made, never before the change that it follows (clocks differ).

A record is complete through its own last change; what follows is carried forward by the reader.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

from shared.clock import hours_of, to_rfc3339
from shared.dynamodb.keys import SEATS, attempt_key, change_key, denied_quarter_key, quarter_key
from shared.dynamodb.requests import BatchGet, Item, Query, Steps
from shared.ledger import EVIDENCE_SECONDS, Seat

QUARTER_MS = 900_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
COUNTS = (
    "activated", "renewed", "released", "lease_expired", "removed",
    "consumed", "requests", "corrected", "brief",
)  # fmt: skip
# A seat that was given back so soon was hardly used: many of them are a sign of a shared one.
BRIEF_MS = 600_000
# So many different people are remembered of a quarter-hour, so many changes of its limits, and so
# many ranges of changes that were given up: a record must fit into an item.
PEOPLE_KEPT = 1_000
LIMITS_KEPT = 1_000
MISSING_KEPT = 1_000
# Use comes near to what was purchased from so many percent of it on.
NEAR_PERCENT = 90
# What a usage limit tells once a period, beside its thresholds.
ENTERED, EXHAUSTED = "entered", "exhausted"
# Changes made at the same moment may be a little out of order in time: how far a reader looks back.
DISORDER_MS = 600_000


def most_limits(limits: tuple[Any, ...]) -> tuple[Any, ...]:
    """As many changes of limits as a record keeps: the latest, and what was in force at first."""
    return (limits[0], *limits[1:][-LIMITS_KEPT + 1 :])


class Level(NamedTuple):
    """What is in use, against both limits; `hard_cap` None: unlimited."""

    used: int
    purchased: int
    hard_cap: int | None

    @property
    def overdraft(self) -> int:
        """How much is used above what was purchased."""
        return max(0, self.used - self.purchased)

    @property
    def is_near(self) -> bool:
        """Whether use is within 10 % of what was purchased, or above it."""
        return self.used >= threshold_level(NEAR_PERCENT, self.purchased)

    @property
    def is_reached(self) -> bool:
        """Whether all that was purchased is in use, or more."""
        return self.used >= threshold_level(100, self.purchased)


class KeptChange(NamedTuple):
    """One accepted version of a page. `before` is None where there was nothing, with its time.

    `seats` has a dict for each seat that came, stayed or went: `key`, `kind` (`activated`,
    `renewed`, `deactivated`), `reason` of an end, `stamp`, `overdraft`, `leaseEnd`. `terms` and
    `termsBefore` are status and validity. `reached`: the thresholds that fired, in percent.

    Of a usage limit: its key `usage`, the `quantity` that was consumed (by how many `requests`) or
    corrected (with its `note`), the `period` (Unix seconds). `until`: when the level falls to
    nothing by itself.
    """

    seq: int
    at: int
    type: str
    actor: str
    request: str
    level: Level
    before: Level | None
    before_at: int
    terms: Mapping[str, Any]
    terms_before: Mapping[str, Any]
    seats: tuple[Mapping[str, Any], ...]
    reached: tuple[int | str, ...] = ()
    usage: str = ""
    quantity: int = 0
    requests: int = 1
    note: str = ""
    period: tuple[int, int | None] | None = None
    until: int | None = None

    def counts(self) -> dict[str, int]:
        """How many seats came and went, by how; how much was consumed."""
        counted = dict.fromkeys(COUNTS, 0)
        if self.type in ("consumed", "corrected"):
            counted[self.type] = self.quantity
        counted["requests"] = self.requests if self.type == "consumed" else 0
        for seat in self.seats:
            counted[seat.get("reason") or seat["kind"]] += 1
            if seat.get("reason") in ("released", "lease_expired"):
                counted["brief"] += int(self._ended(seat) - granted_at(seat["stamp"]) < BRIEF_MS)
        return counted

    def _ended(self, seat: Mapping[str, Any]) -> int:
        """When a seat that went was held no more: a lease ends by itself, before it is swept."""
        if seat["reason"] == "released" or seat.get("leaseEnd") is None:
            return self.at
        return min(self.at, int(seat["leaseEnd"]) * 1000)

    def takers(self) -> tuple[list[str], list[str]]:
        """The keys of the seats that were taken, and of those taken in overdraft."""
        taken = [seat for seat in self.seats if seat["kind"] == "activated"]
        return [seat["key"] for seat in taken], [s["key"] for s in taken if s["overdraft"]]

    def to_item(self) -> Item:
        """The item that is kept for 13 months; it names nobody."""
        return {
            "seq": self.seq,
            "at": self.at,
            "type": self.type,
            "actor": self.actor,
            "request": self.request,
            "level": list(self.level),
            "before": None if self.before is None else list(self.before),
            "beforeAt": self.before_at,
            "terms": dict(self.terms),
            "termsBefore": dict(self.terms_before),
            "seats": [dict(seat) for seat in self.seats],
            "reached": list(self.reached),
            "ttl": self.at // 1000 + EVIDENCE_SECONDS,
            **(
                {
                    "usage": self.usage,
                    "quantity": self.quantity,
                    "requests": self.requests,
                    "note": self.note,
                    "period": list(self.period or ()),
                    "until": self.until,
                }
                if self.usage
                else {}
            ),
        }

    @classmethod
    def of(cls, item: Item) -> "KeptChange":
        """The change in a kept item."""
        before = item.get("before")
        return cls(
            item["seq"],
            item["at"],
            item["type"],
            item["actor"],
            item["request"],
            Level(*item["level"]),
            None if before is None else Level(*before),
            item["beforeAt"],
            item["terms"],
            item["termsBefore"],
            tuple(item["seats"]),
            tuple(item["reached"]),
            item.get("usage", ""),
            item.get("quantity", 0),
            item.get("requests", 1),
            item.get("note", ""),
            (item["period"][0], item["period"][1]) if item.get("period") else None,
            item.get("until"),
        )


class Episode(NamedTuple):
    """Use above what was purchased, from when it rose to when it fell back (`end`; None: not yet).

    `overdraft_ms` and `overdraft_seat_ms` do not count the quiet between joined parts.
    Its item has the number of people granted a seat in it as well (`distinct`).
    """

    start: int
    start_seq: int
    end: int | None
    peak: int
    overdraft_ms: int
    overdraft_seat_ms: int

    @classmethod
    def of(cls, item: Item) -> "Episode":
        """The episode in its item."""
        return cls(
            item["start"],
            item["start_seq"],
            item.get("end"),
            item["peak"],
            item["overdraft_ms"],
            item["overdraft_seat_ms"],
        )


class Quarter(NamedTuple):
    """Use of one meter in one quarter-hour, through the change `seq` at `at`.

    `limits` are `[from, purchased, hard cap]`, the first from the record's beginning. `missing`
    are ranges of `seq` that were given up and not yet replayed; `fired` are thresholds of late as
    `[percent, at]`; `episode` is the last one. Those three are carried from record to record.
    `until`: when the level falls to nothing by itself, as a usage limit's does with its period.
    `people` are the keys of the seats that were taken, `over` of those taken in overdraft.
    """

    start: int
    seq: int
    at: int
    level: Level
    lowest: int
    highest: int
    seat_ms: int
    overdraft_ms: int
    overdraft_seat_ms: int
    counts: Mapping[str, int]
    limits: tuple[tuple[int, int, int | None], ...]
    missing: tuple[tuple[int, int], ...]
    fired: tuple[tuple[int | str, int], ...]
    episode: Episode | None
    until: int | None = None
    people: tuple[str, ...] = ()
    over: tuple[str, ...] = ()

    def to_item(self, following: int | None) -> Item:
        """The record as the table keeps it: for 13 months from when the `following` one begins.

        Until then its level is what was held, however long ago it was; so is that of the latest.
        """
        item: Item = self._asdict()
        item |= {
            "level": list(self.level),
            "counts": dict(self.counts),
            "limits": [list(each) for each in self.limits],
            "missing": [list(each) for each in self.missing],
            "fired": [list(each) for each in self.fired],
            "episode": list(self.episode) if self.episode else None,
            "people": list(self.people),
            "over": list(self.over),
            "ttl": None if following is None else following // 1000 + EVIDENCE_SECONDS,
        }
        return item

    @classmethod
    def of(cls, item: Item) -> "Quarter":
        """The record in an item."""
        values: dict[str, Any] = {name: item.get(name) for name in cls._fields}
        episode = values["episode"]
        values |= {
            "level": Level(*item["level"]),
            "limits": tuple((at, purchased, cap) for at, purchased, cap in item["limits"]),
            "missing": tuple((first, last) for first, last in item["missing"]),
            "fired": tuple((what, at) for what, at in item["fired"]),
            "episode": Episode(*episode) if episode else None,
            # Records from before they were kept have none.
            "people": tuple(item.get("people") or ()),
            "over": tuple(item.get("over") or ()),
        }
        return cls(**values)

    def is_missing(self, seq: int) -> bool:
        """Whether this change was passed over, and is welcome late."""
        return any(first <= seq <= last for first, last in self.missing)


def granted_at(stamp: int) -> int:
    """When the grant with this stamp was made."""
    return Seat(stamp, is_overdraft=False, lease_end=None).activated_at_ms


def month_name(at: int) -> str:
    """The UTC month of a time, `YYYY-MM`."""
    return quarter_name(at)[:7]


def months_between(start: int, end: int) -> list[str]:
    """The UTC months that a stretch of time touches; `end` is still part of it."""
    names = [month_name(start)]
    while names[-1] < month_name(end):
        year, month = divmod(int(names[-1][:4]) * 12 + int(names[-1][5:]), 12)
        names.append(f"{year:04d}-{month + 1:02d}")
    return names


def quarter_of(at: int) -> int:
    """When the quarter-hour of a time begins."""
    return at - at % QUARTER_MS


def quarter_name(start: int) -> str:
    """A quarter-hour's name, `YYYY-MM-DDTHH:MM`."""
    return datetime.fromtimestamp(start / 1000, UTC).strftime("%Y-%m-%dT%H:%M")


def quarter_start(name: str) -> int:
    """When the quarter-hour of this name begins."""
    return int(datetime.strptime(f"{name}Z", "%Y-%m-%dT%H:%M%z").timestamp()) * 1000


def threshold_level(percent: int, purchased: int) -> int:
    """The use at which a threshold is reached: percent of purchased, rounded up, at least 1."""
    return max(1, -(-percent * purchased // 100))


def is_reached(percent: int, before: Level | None, after: Level) -> bool:
    """Whether use came to a threshold from below."""
    was_below = before is None or before.used < threshold_level(percent, before.purchased)
    return was_below and after.used >= threshold_level(percent, after.purchased)


Fired = tuple[tuple[int | str, int], ...]


def fire(
    fired: Fired, change: KeptChange, at: int, thresholds: Iterable[int]
) -> tuple[Fired, KeptChange]:
    """Which thresholds a change reaches that have not fired within the hour.

    Of a usage limit: within its period; and whether it entered its overdraft, or exhausted it,
    likewise. Returns what has fired of late, and the change that says what it made fire.
    """
    wanted: list[int | str] = [
        percent for percent in thresholds if is_reached(percent, change.before, change.level)
    ]
    if change.period:
        wanted += _limits_reached(change)
        start, end = change.period[0] * 1000, change.period[1]

        def is_near(when: int) -> bool:
            return start <= when and (end is None or when < end * 1000)
    else:

        def is_near(when: int) -> bool:
            return abs(at - when) < HOUR_MS

    reached = tuple(
        what for what in wanted if not any(which == what and is_near(when) for which, when in fired)
    )
    # A mail may be due that tells of this quarter-hour.
    kept = tuple(each for each in fired if is_near(each[1]) or each[1] >= quarter_of(at))
    return (*kept, *((what, at) for what in reached)), change._replace(reached=reached)


def _limits_reached(change: KeptChange) -> list[str]:
    """Which limits consuming came to from below. Lowering a limit is no use."""
    before, level = change.before, change.level
    reached = []
    if level.overdraft and not (before and before.overdraft):
        reached.append(ENTERED)
    was_full = before and before.hard_cap is not None and before.used >= before.hard_cap
    is_full = level.hard_cap is not None and level.used >= level.hard_cap
    if is_full and not was_full and change.quantity > 0:
        reached.append(EXHAUSTED)
    return reached


class History:
    """Folds changes into records. Start it with the latest record, or with none.

    `quiet_ms`: an overdraft that comes back within this time goes on in the same episode.
    """

    def __init__(self, latest: Quarter | None, quiet_ms: int) -> None:
        self._latest = latest
        self._quiet_ms = quiet_ms
        self.quarters: dict[int, Quarter] = {}
        self.episodes: dict[int, Episode] = {}
        self.granted: dict[int, set[str]] = {}

    @property
    def latest(self) -> Quarter | None:
        """The record of the last change."""
        return self._latest

    def apply(self, change: KeptChange, thresholds: Iterable[int] = ()) -> KeptChange:
        """Fold one change, whose `seq` is above that of every change before; as it is to be kept.

        Changes that are missing in between are noted, and use is taken from what this one says
        was there before it.
        """
        latest = self._latest
        if latest is None:
            latest = self._begin(change)
        elif change.seq > latest.seq + 1 and change.before is not None:
            gap = (latest.seq + 1, change.seq - 1)
            latest = self._fall(latest, change.before_at)
            latest = self._move(latest, max(latest.at, change.before_at), change.before)
            latest = latest._replace(missing=(*latest.missing, gap)[-MISSING_KEPT:], until=None)
        latest = self._fall(latest, change.at)
        at = max(latest.at, change.at)
        moved = self._move(latest, at, change.level, change.seq)
        counts = {
            name: moved.counts.get(name, 0) + number for name, number in change.counts().items()
        }
        fired, kept = fire(moved.fired, change, at, thresholds)
        taken, granted = change.takers()
        moved = moved._replace(
            seq=change.seq,
            counts=counts,
            fired=fired,
            until=change.until,
            people=_with(moved.people, taken),
            over=_with(moved.over, granted),
        )
        self._keep(moved)
        if moved.episode and moved.episode.end is None:
            self.granted.setdefault(moved.episode.start, set()).update(granted)
        return kept

    def _fall(self, latest: Quarter, at: int) -> Quarter:
        """The record once the level has fallen by itself, if it has by `at`."""
        if latest.until is None or latest.until > at:
            return latest
        fallen = self._move(latest, max(latest.at, latest.until), latest.level._replace(used=0))
        self._keep(fallen._replace(until=None))
        return fallen._replace(until=None)

    def as_of(self, now: int) -> Quarter | None:
        """The latest record as it stands at `now`, when nothing has happened since."""
        return None if self._latest is None else self._fall(self._latest, now)

    def _begin(self, change: KeptChange) -> Quarter:
        """Before the first change that is known: what it says was there, or nothing."""
        before = change.before or Level(0, change.level.purchased, change.level.hard_cap)
        at = change.before_at if change.before else change.at
        missing = ((1, change.seq - 1),) if change.seq > 1 else ()
        blank = Quarter(
            quarter_of(at), 0, at, before, before.used, before.used, 0, 0, 0,
            dict.fromkeys(COUNTS, 0), ((at, before.purchased, before.hard_cap),), missing, (), None,
        )  # fmt: skip
        return blank._replace(episode=self._episode(blank, at, before, change.seq))

    def _move(self, latest: Quarter, at: int, level: Level, seq: int | None = None) -> Quarter:
        """The record of time `at`: the old level held until then, the new one from then on."""
        record = latest
        episode = latest.episode
        if episode and latest.level.overdraft:
            spent = at - latest.at
            episode = episode._replace(
                overdraft_ms=episode.overdraft_ms + spent,
                overdraft_seat_ms=episode.overdraft_seat_ms + spent * latest.level.overdraft,
            )
        if quarter_of(at) != latest.start:
            start = quarter_of(at)
            # What falls or changes at the very beginning was not held in it.
            held = latest.level if at > start else level
            record = latest._replace(
                start=start, at=start,
                lowest=held.used, highest=held.used,
                seat_ms=0, overdraft_ms=0, overdraft_seat_ms=0,
                counts=dict.fromkeys(COUNTS, 0), people=(), over=(),
                limits=((start, held.purchased, held.hard_cap),),
            )  # fmt: skip
        record = _hold(record, at)
        record = record._replace(episode=episode)
        limits = record.limits
        if limits[-1][1:] != (level.purchased, level.hard_cap):
            limits = (*limits, (at, level.purchased, level.hard_cap))
            limits = most_limits(limits)
        record = record._replace(
            lowest=min(record.lowest, level.used),
            highest=max(record.highest, level.used),
            limits=limits,
            episode=self._episode(record, at, level, seq or record.seq),
        )
        return record._replace(level=level)

    def _episode(self, record: Quarter, at: int, level: Level, seq: int) -> Episode | None:
        """The last episode, once use has come to a new level."""
        episode = record.episode
        is_open = episode is not None and episode.end is None
        if level.overdraft:
            if episode is None or not is_open:
                is_joined = episode is not None and at - (episode.end or 0) < self._quiet_ms
                if episode is not None and is_joined:
                    episode = episode._replace(end=None)
                else:
                    episode = Episode(at, seq, None, 0, 0, 0)
            episode = episode._replace(peak=max(episode.peak, level.used))
        elif episode is not None and is_open:
            episode = episode._replace(end=at)
        if episode is not None and episode != record.episode:
            self.episodes[episode.start] = episode
        return episode

    def _keep(self, record: Quarter) -> None:
        self._latest = record
        self.quarters[record.start] = record
        if record.episode and record.episode.end is None:
            self.episodes[record.episode.start] = record.episode


def _with(known: tuple[str, ...], more: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *more)))[:PEOPLE_KEPT]


def as_of(latest: Quarter | None, now: int) -> Quarter | None:
    """The latest record as it stands at `now`: a level may have fallen by itself."""
    return History(latest, 0).as_of(now)


def _hold(record: Quarter, until: int) -> Quarter:
    """The record carried forward to a time within its quarter-hour."""
    spent = max(0, until - record.at)
    over = record.level.overdraft
    return record._replace(
        at=max(record.at, until),
        seat_ms=record.seat_ms + spent * record.level.used,
        overdraft_ms=record.overdraft_ms + (spent if over else 0),
        overdraft_seat_ms=record.overdraft_seat_ms + spent * over,
    )


def carried(episode: Episode, latest: Quarter | None, now: int) -> Episode:
    """An episode as it stands now, if it is the one that is going on."""
    if latest is None or episode.end is not None or latest.episode is None:
        return episode
    if latest.episode.start != episode.start:
        return episode
    latest = as_of(latest, now) or latest
    assert latest.episode is not None  # it was there before
    if latest.episode.end is not None:  # it ended by itself
        return latest.episode
    spent = max(0, now - latest.at)
    return latest.episode._replace(
        overdraft_ms=latest.episode.overdraft_ms + spent,
        overdraft_seat_ms=latest.episode.overdraft_seat_ms + spent * latest.level.overdraft,
    )


# --- Reading ------------------------------------------------------------------------------------


class Usage(NamedTuple):
    """Use between two times. `limits` are in force from their time on; None before there was any.

    `is_known` is False before the first change.
    """

    start: int
    end: int
    is_known: bool = False
    lowest: int = 0
    highest: int = 0
    closing: int = 0
    seat_ms: int = 0
    overdraft_ms: int = 0
    overdraft_seat_ms: int = 0
    counts: Mapping[str, int] = {}
    denied_attempts: int = 0
    denied_seats: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()
    over: frozenset[str] = frozenset()
    limits: tuple[tuple[int, int, int | None], ...] = ()


def latest_quarter(
    entitlement_id: str, meter: str = SEATS, before: str | None = None
) -> Steps[Quarter | None]:
    """The latest record, or the latest one of a quarter-hour before the one named."""
    pk = quarter_key(entitlement_id, meter, "").pk
    found = yield Query(
        "pk = :pk AND sk < :before" if before else "pk = :pk",
        {":pk": pk, **({":before": before} if before else {})},
        limit=1,
        descending=True,
    )
    return Quarter.of(found.items[0]) if found.items else None


def latest_quarter_near(
    entitlement_id: str, meter: str, times: Iterable[int]
) -> Steps[Quarter | None]:
    """The latest record, which is most often that of one of these times (Unix milliseconds).

    By name, since such reads of many entitlements are made by one call. The latest is the one that
    is not forgotten: it has no time to live until another follows it.
    """
    names = {quarter_name(quarter_of(at)) for at in times}
    found = yield BatchGet(tuple(quarter_key(entitlement_id, meter, name) for name in names))
    latest = [item for item in found.values() if "ttl" not in item]
    if latest:
        return Quarter.of(max(latest, key=lambda item: str(item["sk"])))
    return (yield from latest_quarter(entitlement_id, meter))


def all_of(query: Query) -> Steps[list[Item]]:
    """Every item of a query, page by page."""
    items: list[Item] = []
    while True:
        found = yield query
        items += found.items
        if found.next is None:
            return items
        query = query._replace(start=found.next)


def _range(pk: str, low: str, high: str) -> Query:
    return Query("pk = :pk AND sk BETWEEN :low AND :high", {":pk": pk, ":low": low, ":high": high})


class Records(NamedTuple):
    """The evidence of a stretch of time, of one meter.

    `held` is the record that was the latest when it began, `quarters` are those within, with what
    has fallen by itself since, `denied` has when each quarter-hour with denials began, and the
    attempts in it by seat key. All in the order of time; what lies after `now` is not counted.
    """

    held: Quarter | None
    quarters: tuple[Quarter, ...]
    denied: tuple[tuple[int, Mapping[str, int]], ...]
    now: int

    def level_at(self, start: int) -> Quarter | None:
        """The record that was the latest when the quarter-hour `start` began."""
        position = bisect_left(self.quarters, start, key=lambda quarter: quarter.start)
        return self.quarters[position - 1] if position else self.held

    def within(self, start: int, end: int) -> tuple[Quarter, ...]:
        """The records of the quarter-hours from `start` to before `end`."""
        low = bisect_left(self.quarters, start, key=lambda quarter: quarter.start)
        high = bisect_left(self.quarters, end, key=lambda quarter: quarter.start)
        return self.quarters[low:high]

    def denied_within(self, start: int, end: int) -> tuple[tuple[int, Mapping[str, int]], ...]:
        """The denials of the quarter-hours from `start` to before `end`."""
        low = bisect_left(self.denied, start, key=lambda each: each[0])
        high = bisect_left(self.denied, end, key=lambda each: each[0])
        return self.denied[low:high]

    def usage(self, start: int, end: int) -> Usage:
        """Use between two beginnings of quarter-hours."""
        turned_away = [seats for _, seats in self.denied_within(start, end)]
        return _sum(
            start, end, self.now, self.level_at(start), self.within(start, end), turned_away
        )


def records(
    entitlement_id: str, start: int, end: int, now: int, meter: str = SEATS
) -> Steps[Records]:
    """The evidence from `start` to before `end`, which are beginnings of quarter-hours."""
    first, last = quarter_name(start), quarter_name(end - 1)
    held = yield from latest_quarter(entitlement_id, meter, first)
    found = yield from all_of(_range(quarter_key(entitlement_id, meter, "").pk, first, last))
    denied = yield from _denied_quarters(entitlement_id, start, end, meter)
    quarters = [Quarter.of(item) for item in found]
    return as_they_stand(held, quarters, tuple(sorted(denied.items())), start, end, now)


def as_they_stand(
    held: Quarter | None,
    quarters: Sequence[Quarter],
    denied: tuple[tuple[int, Mapping[str, int]], ...],
    start: int,
    end: int,
    now: int,
) -> Records:
    """The evidence that was read, with what has fallen by itself since the newest record."""
    fallen = as_of(quarters[-1] if quarters else held, min(now, end - 1))
    if fallen and fallen.start < start:
        held = fallen
    elif fallen:
        quarters = [*(each for each in quarters if each.start != fallen.start), fallen]
    return Records(held, tuple(quarters), denied, now)


def usage(
    entitlement_id: str, cuts: Sequence[int], now: int, meter: str = SEATS
) -> Steps[list[Usage]]:
    """Use between each two of `cuts`, which are beginnings of quarter-hours, ascending.

    What lies after `now` is not counted.
    """
    found = yield from records(entitlement_id, cuts[0], cuts[-1], now, meter)
    return [found.usage(start, end) for start, end in pairwise(cuts)]


def _sum(
    start: int,
    end: int,
    now: int,
    held: Quarter | None,
    inside: Sequence[Quarter],
    denied: Sequence[Mapping[str, int]],
) -> Usage:
    """One interval: its own records, and between them what was carried forward."""
    until = max(start, min(end, now))
    total = Usage(start, end, counts=dict.fromkeys(COUNTS, 0))
    levels: list[int] = []
    reached = start
    # A record that begins here knows what was held.
    if held and not (inside and inside[0].start == start):
        levels.append(held.level.used)
        total = total._replace(limits=((start, held.level.purchased, held.level.hard_cap),))
    for quarter in inside:
        if held:
            total = _carry(total, held.level, quarter.start - reached)
        levels += [quarter.lowest, quarter.highest]
        total = _add(total, quarter)
        reached, held = quarter.at, quarter
    if held:
        total = _carry(total, held.level, until - reached)
    return total._replace(
        is_known=bool(levels),
        lowest=min(levels, default=0),
        highest=max(levels, default=0),
        closing=held.level.used if held else 0,
        denied_attempts=sum(sum(seats.values()) for seats in denied),
        denied_seats=frozenset(key for seats in denied for key in seats),
        people=frozenset(key for quarter in inside for key in quarter.people),
        over=frozenset(key for quarter in inside for key in quarter.over),
    )


def _carry(total: Usage, level: Level, spent: int) -> Usage:
    """A level that was held for a time."""
    spent = max(0, spent)
    return total._replace(
        seat_ms=total.seat_ms + spent * level.used,
        overdraft_ms=total.overdraft_ms + (spent if level.overdraft else 0),
        overdraft_seat_ms=total.overdraft_seat_ms + spent * level.overdraft,
    )


def _add(total: Usage, quarter: Quarter) -> Usage:
    """What a record holds, through its last change."""
    limits = total.limits
    for each in quarter.limits:
        if not limits or limits[-1][1:] != each[1:]:
            limits = (*limits, each)
    return total._replace(
        seat_ms=total.seat_ms + quarter.seat_ms,
        overdraft_ms=total.overdraft_ms + quarter.overdraft_ms,
        overdraft_seat_ms=total.overdraft_seat_ms + quarter.overdraft_seat_ms,
        counts={name: total.counts[name] + quarter.counts.get(name, 0) for name in COUNTS},
        limits=limits,
    )


def _denied_quarters(
    entitlement_id: str, start: int, end: int, meter: str
) -> Steps[dict[int, dict[str, int]]]:
    """Denied attempts by quarter-hour and seat key; both ends are beginnings of quarter-hours."""
    pk = denied_quarter_key(entitlement_id, "", "", meter).pk
    low, high = quarter_name(start), quarter_name(end - 1) + "#~"
    items = yield from all_of(_range(pk, low, high))
    denied: dict[int, dict[str, int]] = {}
    for item in items:
        quarter, _, key = item["sk"].partition("#")
        denied.setdefault(quarter_start(quarter), {})[key] = item["attempts"]
    return denied


def denied_between(
    entitlement_id: str, start: int, end: int, meter: str = SEATS
) -> Steps[dict[str, int]]:
    """Attempts denied from `start` to before `end`, by seat key.

    Whole quarter-hours come from their records, the ends from the attempts themselves.
    """
    whole_from, whole_to = quarter_of(start + QUARTER_MS - 1), quarter_of(end)
    first, last = quarter_of(start), quarter_of(end - 1) + QUARTER_MS
    quarters = yield from _denied_quarters(entitlement_id, first, last, meter)
    counted: dict[str, int] = {}
    for begin, by_seat in quarters.items():
        if whole_from <= begin < whole_to:
            for key, number in by_seat.items():
                counted[key] = counted.get(key, 0) + number
            continue
        low, high = max(start, begin), min(end, begin + QUARTER_MS)
        for item in (yield from attempts_between(entitlement_id, low, high, by_seat, meter)):
            counted[item["seatKey"]] = counted.get(item["seatKey"], 0) + 1
    return counted


def attempts_between(
    entitlement_id: str, start: int, end: int, keys: Iterable[str], meter: str = SEATS
) -> Steps[list[Item]]:
    """The kept denials from `start` to before `end`, of the partitions on which these keys fall."""
    items: list[Item] = []
    for pk in sorted({attempt_key(entitlement_id, 0, key, 0, meter).pk for key in keys}):
        items += yield from all_of(_range(pk, f"{start:013d}", f"{end - 1:013d}#~"))
    return items


def changes_between(
    entitlement_id: str, start: int, end: int, meter: str = SEATS
) -> Steps[list[KeptChange]]:
    """The kept changes made from `start` to before `end`, in the order of `seq`."""
    pk = change_key(entitlement_id, 0, 0, meter=meter).pk
    items = yield from all_of(_range(pk, f"{start:013d}", f"{end - 1:013d}#~"))
    return sorted((KeptChange.of(item) for item in items), key=lambda change: change.seq)


def fired_between(entitlement_id: str, start: int, end: int, meter: str) -> Steps[Fired]:
    """What a meter made fire from `start` to before `end`."""
    pk = quarter_key(entitlement_id, meter, "").pk
    items = yield from all_of(_range(pk, quarter_name(start), quarter_name(end - 1)))
    fired = {each for item in items for each in Quarter.of(item).fired if start <= each[1] < end}
    return tuple(sorted(fired, key=lambda each: each[1]))


def episode_view(
    entitlement_id: str, item: Item, latest: Quarter | None, now: int, meter: str = SEATS
) -> Steps[dict[str, Any]]:
    """An episode as it is answered and sent; `latest` lets one that goes on be carried to `now`."""
    episode = carried(Episode.of(item), latest, now)
    until = now if episode.end is None else episode.end
    denied = yield from denied_between(
        entitlement_id, episode.start, max(until, episode.start + 1), meter
    )
    view: dict[str, Any] = {
        "episodeId": f"epi_{episode.start}",
        "start": to_rfc3339(episode.start),
        "end": None if episode.end is None else to_rfc3339(episode.end),
        "peak": episode.peak,
        "overdraftSeconds": episode.overdraft_ms // 1000,
        "deniedAttempts": sum(denied.values()),
    }
    if meter != SEATS:
        return {**view, "deniedRequests": len(denied)}
    return {
        **view,
        "overdraftSeatSeconds": episode.overdraft_seat_ms // 1000,
        "seatHours": hours_of(episode.overdraft_seat_ms),
        # Those in `seats` are from before they were counted.
        "distinctSeats": item.get("distinct", 0) + len(item.get("seats", ())),
        "deniedSeats": len(denied),
    }
