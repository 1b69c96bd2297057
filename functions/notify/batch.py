"""A batch of stream records: what follows from them is written, and then sent.

The records of one item form a group and are processed in order. If one fails, the rest of its group
is left for the next attempt. Everything can be done twice: a record that comes again finds its
change stored and its history folded, and sends its events with the same ids.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from cachetools import LRUCache

from functions.notify import lockstep, seat_records, seat_totals
from functions.notify.emails import mailer
from functions.notify.publisher import Failure, Message, Publisher
from functions.notify.stream_images import (
    Version,
    has_totals,
    read_count,
    read_sum,
    read_version,
    to_tell,
)
from shared import observability
from shared.audit import EVIDENCE_SECONDS
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    CANDIDATES_NOW,
    DENIAL_PREFIX,
    FOLLOW_UP_ENTRY,
    FOLLOW_UP_PREFIX,
    REPORT_PREFIX,
    SEAT_REQUEST_PREFIX,
    SEAT_SHARD_PREFIX,
    SEATS,
    TOTALS_PREFIX,
    USAGE_PREFIX,
    WEBHOOK_REQUEST_PREFIX,
    Key,
    change_key,
    correction_key,
    denial_record_key,
    entitlement_key,
    episode_key,
    heartbeat_key,
    limit_of,
    meter_of,
    overdraft_key,
    owner_of,
    period_key,
    report_candidate_key,
    seat_record_key,
    shard_number,
    usage_bucket_key,
)
from shared.dynamodb.marshalling import item_from_wire
from shared.dynamodb.paging import all_of
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    BatchGet,
    BatchPut,
    Delete,
    Item,
    LostRace,
    Operation,
    Pause,
    Put,
    Query,
    Refused,
    Transact,
    Update,
    send,
)
from shared.events import builders
from shared.events import types as event_types
from shared.history import queries, rollups
from shared.history.aggregator import UsageAggregator
from shared.history.buckets import (
    BUCKET_MS,
    UsageBucket,
    bucket_name,
    bucket_start,
    month_name,
    months_between,
    parse_bucket_name,
)
from shared.history.changes import DISORDER_MS, ChangeRecord, changes_between
from shared.history.thresholds import Triggered, trigger
from shared.history.views import episode_view
from shared.sales import follow_up
from shared.sales.follow_up import OVERDRAFT, PURCHASE, Move
from shared.seats.resharding import wanted_shard_count
from shared.seats.terms import request_reconcile

_SUMMED = "SUMMED"
_PAGES = (SEAT_SHARD_PREFIX, USAGE_PREFIX, TOTALS_PREFIX)


class Record(NamedTuple):
    """One stream record: its place in the batch, the images of its item, and what they changed.

    A record of a pool's totals reports many versions, any other record at most one.
    """

    position: int
    key: Key
    old: Item | None
    new: Item
    versions: Sequence[Version]

    @property
    def has_totals(self) -> bool:
        """Whether it is of a shard of a pool, whose changes the pool's totals report."""
        return self.key.pk.startswith(SEAT_SHARD_PREFIX) and has_totals(self.new)

    @classmethod
    def of(cls, position: int, raw: dict[str, Any]) -> "Record":
        """The record in what Lambda delivers."""
        image = raw["dynamodb"]
        old = item_from_wire(image["OldImage"]) if "OldImage" in image else None
        new = item_from_wire(image["NewImage"])
        key = _key_of(raw)
        versions: list[Version] = []
        if key.pk.startswith(SEAT_SHARD_PREFIX):
            versions = _one(read_version(old, new))
        elif key.pk.startswith(USAGE_PREFIX):
            versions = _one(read_count(limit_of(key.pk), old, new))
        elif key.pk.startswith(TOTALS_PREFIX):
            versions = read_sum(old, new)
        return cls(position, key, old, new, versions)


def _one(version: Version | None) -> list[Version]:
    return [version] if version else []


class Marks:
    """The report candidates that this process has written, so that each is written once.

    Nobody deletes the candidate of a month, so it can be remembered.
    """

    KNOWN = 20_000

    def __init__(self) -> None:
        self._made: LRUCache[Key, bool] = LRUCache(self.KNOWN)
        self._lock = threading.Lock()

    def put(self, owner: str, meter: str, months: Iterable[str]) -> Operation[bool]:
        """Write those that are not known to exist; whether there were any."""
        named = {report_candidate_key(owner, month, meter): month for month in months}
        missing = [key for key in named if key not in self._made]
        if not missing:
            return False
        yield from send(BatchPut(tuple((key, {"ttl": _mark_ends(named[key])}) for key in missing)))
        with self._lock:
            self._made.update(dict.fromkeys(missing, True))
        return True


def _mark_ends(month: str) -> int:
    """When the candidates of a month expire: after all evidence of that month."""
    return parse_bucket_name(f"{month}-28T00:00") // 1000 + 4 * 86_400 + EVIDENCE_SECONDS


class Batch:
    """Processes one batch with a client and a publisher. `quiet_ms` joins overdraft episodes.

    `at_once` calls are made at the same time, because most of the time is waiting.
    """

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        publisher: Publisher,
        quiet_ms: int,
        now_ms: int,
        *,
        sends_mail: bool,
        marks: Marks | None = None,
        at_once: int = 1,
    ) -> None:
        self._at_once = at_once
        self._dynamodb = dynamodb
        self._publisher = publisher
        self._quiet_ms = quiet_ms
        self._now_ms = now_ms
        self._sends_mail = sends_mail
        self._marks = marks or Marks()
        self._entitlements: dict[Key, Item] = {}

    def process(self, raw: list[dict[str, Any]]) -> int | None:
        """Process records; return the position of the first that has to come again, or None."""
        groups, failed = _read(raw)
        failures = [failed] if failed is not None else []
        try:
            self._look_up(groups)
        except Exception:
            observability.logger.exception("batch failed")
            return 0
        sent: list[tuple[int, Message]] = []
        operations = [self._group(*each) for each in groups.items()]
        outcomes = lockstep.run(self._dynamodb, operations, self._at_once)
        for (key, records), outcome in zip(groups.items(), outcomes, strict=True):
            if isinstance(outcome, Exception):
                observability.logger.error(
                    "record failed",
                    exc_info=outcome,
                    extra={"pk": key.pk, "requestIds": _requests(records)},
                )
                failures.append(records[0].position)
            else:
                sent += outcome
        sent.sort(key=lambda each: each[0])
        try:
            self._publisher.send(sent)
        except Failure as failure:
            failures.append(failure.position)
        return min(failures, default=None)

    def _look_up(self, groups: Mapping[Key, list[Record]]) -> None:
        """Read what several groups need, once."""
        keys = {
            entitlement_key(owner_of(key.pk))
            for key in groups
            if key.pk.startswith((*_PAGES, DENIAL_PREFIX, SEAT_REQUEST_PREFIX))
        }
        self._entitlements = self._dynamodb.execute(BatchGet(tuple(keys))) if keys else {}

    def _group(self, key: Key, records: list[Record]) -> Operation[list[tuple[int, Message]]]:
        """Process the records of one item."""
        if key.sk == _SUMMED:
            yield from self._summed(owner_of(key.pk), records)
            return []
        if key.pk.startswith(_PAGES):
            return (yield from self._page(owner_of(key.pk), records))
        if key.pk.startswith(DENIAL_PREFIX):
            return (yield from self._denial(owner_of(key.pk), records))
        if key.pk.startswith(SEAT_REQUEST_PREFIX):
            return (yield from self._seat_requests(records))
        return [(each.position, message) for each in records for message in _only_told(each)]

    def _mark_mail(self, item: Item, kinds: set[str], at: int) -> Operation[None]:
        if self._sends_mail:
            yield from mailer.mark(item, kinds, at, self._now_ms)

    def _mark_changes(
        self, item: Item, changes: list[ChangeRecord], made: Mapping[int, list[builders.Event]]
    ) -> Operation[None]:
        for change in changes:
            kinds = {event["type"] for event in made[change.seq]}
            yield from self._mark_mail(item, kinds, change.at)

    # --- A shard of a pool ------------------------------------------------------------------------

    def _summed(self, owner: str, records: list[Record]) -> Operation[None]:
        """Shards update seat records; everything else follows when the pool's totals report it."""
        yield from self._people(owner, records)
        versions = [
            to_tell(shard_number(record.key.pk), record.old, record.new, version)
            for record in records
            for version in record.versions
        ]
        if versions:
            yield from seat_totals.count(owner, versions)

    def _people(self, owner: str, records: list[Record]) -> Operation[None]:
        """Update seat records; have a shard with too many seats split."""
        of_pages = [each for each in records if each.key.pk.startswith(SEAT_SHARD_PREFIX)]
        versions = [version for record in of_pages for version in record.versions]
        if versions:
            yield from seat_records.write(owner, versions)
        if any(_has_outgrown(record) for record in of_pages):
            yield from write_with_conflict_retry(request_reconcile(owner))

    # --- An only shard, a pool's totals, a counter ------------------------------------------------

    def _page(self, owner: str, records: list[Record]) -> Operation[list[tuple[int, Message]]]:
        versions = [(record.position, version) for record in records for version in record.versions]
        if not versions:
            return []
        meter = meter_of(records[0].key.pk)
        item = self._entitlements.get(entitlement_key(owner), {})
        thresholds = tuple(item.get("document", {}).get("thresholds", ()))
        changes = {version.change.seq: version.change for _, version in versions}
        first = versions[0][1].change
        latest = yield from queries.latest_bucket_near(owner, meter, (first.before_at, first.at))
        known = latest.seq if latest else 0
        late = [seq for seq in changes if latest is not None and latest.is_missing(seq)]
        fresh = [seq for seq in changes if seq > known]
        folded = UsageAggregator(latest, self._quiet_ms)
        for seq in fresh:
            changes[seq] = folded.apply(changes[seq], thresholds)
        fired = latest.fired if latest else ()
        for seq in late:
            fired, changes[seq] = trigger(fired, changes[seq], changes[seq].at, thresholds)
        # A change that was stored before says what it triggered then.
        changes |= yield from _kept(
            owner, meter, [each for seq, each in changes.items() if seq not in (*fresh, *late)]
        )
        # Before anything says that these were processed: at worst, an e-mail is due too often.
        new = [changes[seq] for seq in (*late, *fresh)]
        made = {seq: builders.of_change(owner, change) for seq, change in changes.items()}
        yield from self._mark_changes(item, new, made)
        months = _candidate_months(latest, [changes[seq] for seq in fresh], new)
        is_marked = yield from self._marks.put(owner, meter, months)
        yield from follow_up.move(owner, _moves(folded, new, set(late)))
        yield from send(
            BatchPut(
                tuple(
                    (change_key(owner, c.at, c.seq, meter=meter), c.to_item())
                    for c in changes.values()
                )
            )
        )
        yield from self._people(owner, records)
        if meter != SEATS:
            yield from _write_counts(owner, [version for _, version in versions])
        yield from _write_history(owner, meter, folded, latest)
        newest = folded.latest
        if late:
            newest = yield from self._rebuild(owner, meter, min(late), fired)
        if newest:
            yield from _mark_level(
                owner, meter, list(changes.values()), latest, newest, is_marked=is_marked
            )
        # Again: an e-mail that was made in between has read its period without seeing this.
        yield from self._mark_changes(item, new, made)
        sent = []
        for position, version in versions:
            change = changes[version.change.seq]
            for event in made[change.seq]:
                if event["type"] == event_types.OVERDRAFT_EXITED:
                    event["data"]["episode"] = yield from _episode_view(owner, change)
                sent.append((position, Message(event)))
        return sent

    def _rebuild(
        self, owner: str, meter: str, first_seq: int, fired: Triggered
    ) -> Operation[UsageBucket]:
        """Fold again from before a change that came late; the change records have everything."""
        for attempt in range(1, 6):
            latest = yield from queries.latest_bucket(owner, meter)
            assert latest is not None  # it said that the change was missing
            start = yield from _record_before(owner, meter, first_seq)
            # From before a current episode: its persons are counted anew.
            while start and start.episode and _goes_on(start, self._quiet_ms):
                start = yield from _record_before(owner, meter, start.episode.start_seq)
            since = start.at if start else 0
            changes = yield from changes_between(
                owner, max(0, since - DISORDER_MS), latest.at + BUCKET_MS, meter
            )
            folded = UsageAggregator(start, self._quiet_ms)
            after = start.seq if start else 0
            for change in changes:
                if after < change.seq <= latest.seq:
                    folded.apply(change)
            stale = yield from all_of(
                Query(
                    "pk = :pk AND sk >= :start",
                    {":pk": episode_key(owner, meter, 0).pk, ":start": f"{since:013d}"},
                )
            )
            for item in stale:
                if item["start"] not in folded.episodes:
                    yield from send(Delete(Key(item["pk"], item["sk"])))
            rebuilt = folded.latest
            assert rebuilt is not None
            rebuilt = rebuilt._replace(fired=fired)
            folded.buckets[rebuilt.start] = rebuilt
            if start:  # another may follow it now
                folded.buckets.setdefault(start.start, start)
            if (yield from _write_all(owner, meter, folded, latest, is_recount=True)):
                return rebuilt
            yield from send(Pause(attempt))
        raise LostRace("history kept changing")

    # --- A request for more seats -----------------------------------------------------------------

    def _seat_requests(self, records: list[Record]) -> Operation[list[tuple[int, Message]]]:
        sent = []
        for record in records:
            if record.old is None:
                item = self._entitlements.get(entitlement_key(record.new["entitlementId"]), {})
                at = record.new["requestedAt"]
                yield from self._mark_mail(item, {event_types.SEATS_REQUESTED}, at)
                sent.append((record.position, Message(builders.of_seat_request(record.new))))
        return sent

    # --- A denial ---------------------------------------------------------------------------------

    def _denial(self, owner: str, records: list[Record]) -> Operation[list[tuple[int, Message]]]:
        attempts = [
            record
            for record in records
            if record.new["attempts"] != (record.old or {}).get("attempts")
        ]
        if not attempts:
            return []
        meter = meter_of(records[0].key.pk)
        kind = event_types.SEAT_DENIED if meter == SEATS else event_types.USAGE_DENIED
        item = self._entitlements.get(entitlement_key(owner), {})
        keys = {record.position: _attempt_key(owner, meter, record.new) for record in attempts}
        known = yield from send(BatchGet(tuple(keys.values())))
        fresh = [record.new["lastAt"] for record in attempts if keys[record.position] not in known]
        if fresh:
            yield from self._mark_mail(item, {kind}, min(fresh))
        months = {month_name(record.new["lastAt"]) for record in attempts}
        yield from self._marks.put(owner, meter, sorted(months))
        yield from _count_denied(owner, meter, attempts)
        yield from send(
            BatchPut(
                tuple((keys[record.position], _kept_attempt(record.new)) for record in attempts)
            )
        )
        if fresh:
            yield from self._mark_mail(item, {kind}, min(fresh))
        hour = records[0].key.sk.partition("#")[0]
        return [
            (record.position, Message(builders.of_denial(owner, record.new, hour)))
            for record in attempts
        ]


def _only_told(record: Record) -> list[Message]:
    """The messages of a record that writes nothing else to the table."""
    key, old, new = record.key, record.old or {}, record.new
    if key == heartbeat_key():
        observability.count("StreamHeartbeat")
        return []
    if key.pk.startswith(WEBHOOK_REQUEST_PREFIX):
        return [Message.of_request(new)]
    if key.pk.startswith(REPORT_PREFIX):
        return _of_report(old, new)
    if key.pk.startswith(FOLLOW_UP_PREFIX):
        is_entry = key.sk.startswith(FOLLOW_UP_ENTRY)
        return [Message(builders.of_follow_up(new))] if is_entry else []
    is_disabled = "disabledReason" in new and "disabledReason" not in old
    return [Message(builders.of_disabled(key.sk, new))] if is_disabled else []


def _key_of(raw: dict[str, Any]) -> Key:
    keys = raw["dynamodb"]["Keys"]
    return Key(keys["pk"]["S"], keys["sk"]["S"])


def _read(raw: list[dict[str, Any]]) -> tuple[dict[Key, list[Record]], int | None]:
    """The records by item, and the position of the first that cannot be read."""
    groups: dict[Key, list[Record]] = {}
    broken: set[Key] = set()
    failed = None
    for position, record in enumerate(raw):
        key = _key_of(record)
        if key in broken or "NewImage" not in record["dynamodb"]:
            continue
        try:
            read = Record.of(position, record)
            groups.setdefault(_group_of(read), []).append(read)
        except Exception:
            observability.logger.exception("record cannot be read", extra={"pk": key.pk})
            broken.add(key)
            failed = position if failed is None else failed
    return groups, failed


def _requests(records: Iterable[Record]) -> list[str]:
    """The requests that caused records, for the log."""
    named = {version.change.request for record in records for version in record.versions}
    return sorted(named | {str(r.new["request"]) for r in records if "request" in r.new})


def _group_of(record: Record) -> Key:
    """The shards of a pool are one group: each has its own order, and they share totals."""
    if record.has_totals:
        return Key(f"{SEAT_SHARD_PREFIX}{owner_of(record.key.pk)}", _SUMMED)
    return record.key


def _has_outgrown(record: Record) -> bool:
    """Whether an only shard without a cap has just got too many seats."""
    new = record.new
    if "seatCount" not in new or "hardCap" in new:
        return False
    before = record.old["seats"] if record.old else {}
    is_small, is_large = (
        wanted_shard_count(None, new["seatCount"], len(seats)) == 1
        for seats in (before, new["seats"])
    )
    return is_small and not is_large


# --- Candidates for reports, follow-up by sales ---------------------------------------------------


def _of_report(old: Item, new: Item) -> list[Message]:
    """The messages of a report: a job when it is asked for, an event when it is published."""
    if not old:
        return [Message(report={"reportId": new["reportId"], "step": "plan"})]
    if new["status"] == "published" and old.get("status") != "published":
        return [Message(builders.of_report(new))]
    return []


def _candidate_months(
    latest: UsageBucket | None, fresh: list[ChangeRecord], new: list[ChangeRecord]
) -> list[str]:
    """The UTC months in which usage was near the limit, as far as these changes show."""
    months = set[str]()
    held = [(latest.level, latest.at, latest.until)] if latest else []
    held += [(change.level, change.at, change.until) for change in fresh]
    for (level, since, until), (_, following, _) in pairwise(held):
        if level.is_near:
            end = following if until is None else min(until, following)
            months.update(months_between(since, max(since, end)))
    for change in new:
        if change.level.is_near:
            months.add(month_name(change.at))
        if change.before and change.before.is_near:
            since = min(change.before_at, change.at)
            months.update(months_between(since, change.at))
    return sorted(months)


def _moves(folded: UsageAggregator, new: list[ChangeRecord], late: set[int]) -> list[Move]:
    """What these changes mean for the follow-up: an episode began, more was purchased."""
    begun = {episode.start_seq: episode.start for episode in folded.episodes.values()}
    moves = []
    for change in new:
        before = change.before
        is_over = change.level.overdraft > 0
        if change.seq in late:
            has_begun = is_over and not (before and before.overdraft)
        else:
            has_begun = is_over and change.seq in begun
        if has_begun:
            moves.append(Move(change.at, OVERDRAFT))
        if before and change.type == "updated" and change.level.purchased > before.purchased:
            moves.append(Move(change.at, PURCHASE))
    return moves


# --- History --------------------------------------------------------------------------------------


def _write_history(
    owner: str, meter: str, folded: UsageAggregator, seen: UsageBucket | None
) -> Operation[None]:
    """Write what the aggregator changed; the latest bucket last, because it says what is folded."""
    if folded.buckets and not (yield from _write_all(owner, meter, folded, seen)):
        raise LostRace("another reader was ahead")


def _write_episodes(
    owner: str, meter: str, folded: UsageAggregator, *, is_recount: bool = False
) -> Operation[None]:
    """Write the episodes that the aggregator changed, and count who was granted a seat in them.

    In a recount the aggregator has seen every episode from its beginning.
    """
    for episode in folded.episodes.values():
        granted = folded.granted.get(episode.start, set())
        sets: dict[str, Any] = episode._asdict()
        removed = []
        if is_recount:
            removed.append("seats")  # in the form of a release that did not count them
            if granted:
                sets["distinct"] = len(granted)
            else:
                removed.append("distinct")
        if episode.end is not None:  # a current one is stored however long it takes
            sets["ttl"] = episode.end // 1000 + EVIDENCE_SECONDS
        else:
            removed.append("ttl")
        names = {f"#{number}": name for number, name in enumerate(sets)}
        values: dict[str, Any] = {f":{number}": value for number, value in enumerate(sets.values())}
        expression = "SET " + ", ".join(f"#{number} = :{number}" for number in range(len(sets)))
        if removed:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in removed)
            names |= {f"#{name}": name for name in removed}
        yield from send(
            Update(episode_key(owner, meter, episode.start), expression, "", names, values)
        )
        keys = sorted(granted)
        for start in range(0, len(keys), COUNTED_AT_ONCE):
            part = keys[start : start + COUNTED_AT_ONCE]
            yield from _count_granted(owner, meter, episode.start, part, is_counted=is_recount)


# A transaction has at most 100 parts.
COUNTED_AT_ONCE = 50


def _count_granted(
    owner: str, meter: str, episode: int, seat_keys: list[str], *, is_counted: bool
) -> Operation[None]:
    """Count the persons who were granted seats in an overdraft episode, each once.

    A seat record names the last episode in which it was counted. The record and the count are
    written in one transaction, so neither item grows with the persons of an episode. `is_counted`:
    the episode includes them already, and only their records have to say so.
    """
    key = episode_key(owner, meter, episode)
    records = {seat_key: seat_record_key(owner, seat_key) for seat_key in seat_keys}
    for attempt in range(1, 6):
        found = yield from send(BatchGet((key, *records.values())))
        before = found.get(key, {}).get("seats", frozenset())  # of an episode from before 0.6.0
        fresh = [
            seat_key
            for seat_key, record in records.items()
            if found.get(record, {}).get("episode", 0) < episode and seat_key not in before
        ]
        if not fresh:
            return
        writes: list[Update | Put | Delete] = [
            Update(
                records[seat_key],
                "SET episode = :episode, seatKey = :key, entitlementId = :owner,"
                " seq = if_not_exists(seq, :zero)",
                "attribute_not_exists(episode) OR episode < :episode",
                NO_NAMES,
                {":episode": episode, ":key": seat_key, ":owner": owner, ":zero": 0},
            )
            for seat_key in fresh
        ]
        if not is_counted:
            number: dict[str, Any] = {":number": len(fresh)}
            distinct = {"#distinct": "distinct"}
            writes.append(Update(key, "ADD #distinct :number", "", distinct, number))
        if isinstance((yield from send(Transact(tuple(writes)))), Accepted):
            return
        yield from send(Pause(attempt))
    raise LostRace("the people of an episode kept being counted")


def _write_all(
    owner: str,
    meter: str,
    folded: UsageAggregator,
    seen: UsageBucket | None,
    *,
    is_recount: bool = False,
) -> Operation[bool]:
    yield from _write_episodes(owner, meter, folded, is_recount=is_recount)
    buckets = dict(folded.buckets)
    newest = max(buckets)
    if seen and seen.start < newest:
        buckets.setdefault(seen.start, seen)  # it is not the latest any more, and may expire
    previous = None
    for start, following in pairwise((*sorted(buckets), None)):
        assert start is not None
        if previous is not None:
            yield from rollups.write(owner, meter, previous, start)
        previous = start
        bucket = buckets[start]
        key = usage_bucket_key(owner, meter, bucket_name(start))
        condition, bound = "", dict[str, Any]()
        if start == newest:
            condition = "attribute_not_exists(pk)"
            if seen and seen.start == start:
                condition, bound = "seq = :seen", {":seen": seen.seq}
        reply = yield from send(Put(key, bucket.to_item(following), condition, values=bound))
        if isinstance(reply, Refused):
            return False
    return True


def _kept(
    owner: str, meter: str, changes: list[ChangeRecord]
) -> Operation[dict[int, ChangeRecord]]:
    """The changes that were stored when they came before, by `seq`."""
    if not changes:
        return {}
    keys = tuple(change_key(owner, change.at, change.seq, meter=meter) for change in changes)
    found = yield from send(BatchGet(keys))
    return {item["seq"]: ChangeRecord.of(item) for item in found.values()}


def _goes_on(bucket: UsageBucket, quiet_ms: int) -> bool:
    """Whether the last episode of a bucket may continue with what follows it."""
    episode = bucket.episode
    assert episode is not None
    return episode.end is None or bucket.at - episode.end < quiet_ms


def _record_before(owner: str, meter: str, seq: int) -> Operation[UsageBucket | None]:
    """The last bucket that includes nothing from `seq` on."""
    before: str | None = None
    while True:
        bucket = yield from queries.latest_bucket(owner, meter, before)
        if bucket is None or bucket.seq < seq:
            return bucket
        before = bucket_name(bucket.start)


def _episode_view(owner: str, change: ChangeRecord) -> Operation[dict[str, Any] | None]:
    """The episode that a change has ended, with the denials that are known by now."""
    pk = episode_key(owner, SEATS, 0).pk
    found = yield from send(
        Query(
            "pk = :pk AND sk <= :at",
            {":pk": pk, ":at": f"{change.at + DISORDER_MS:013d}"},
            descending=True,
            limit=20,
        )
    )
    for item in found.items:
        if item["start_seq"] <= change.seq:
            return (yield from episode_view(owner, item, None, change.at))
    return None


def _mark_level(
    owner: str,
    meter: str,
    changes: list[ChangeRecord],
    seen: UsageBucket | None,
    newest: UsageBucket,
    *,
    is_marked: bool,
) -> Operation[None]:
    """Maintain the marks of what is in overdraft, and of what is near its limit, now.

    The first kind lists entitlements in overdraft; by the second, a report finds what goes on
    without a change. They are written when usage crosses the limit, compared with the level in
    history. So a mark is right again after records were given up. The mark of what is near its
    limit is also written with the first candidate of a month. Readers look at the levels as well,
    so a mark too many does no harm.
    """
    levels = [level for change in changes for level in (change.before, change.level)]
    levels += [each.level for each in (seen, newest) if each]
    if len({bool(level and level.overdraft) for level in levels}) > 1:
        key = overdraft_key(owner, meter)
        if newest.level.overdraft and newest.episode:
            yield from send(Put(key, {"since": newest.episode.start}))
        else:
            yield from send(Delete(key))
    is_near = newest.level.is_near
    if len({bool(level and level.is_near) for level in levels}) > 1 or (is_marked and is_near):
        key = report_candidate_key(owner, CANDIDATES_NOW, meter)
        yield from send(Put(key, {}) if is_near else Delete(key))


def _write_counts(owner: str, versions: Iterable[Version]) -> Operation[None]:
    """What a usage limit leaves besides its history: periods that have ended, corrections."""
    items: list[tuple[Key, Item]] = []
    for version in versions:
        change = version.change
        ttl = change.at // 1000 + EVIDENCE_SECONDS
        if version.ended:
            key = period_key(owner, change.usage, version.ended["number"])
            items.append((key, {**version.ended, "ttl": ttl}))
        if change.type == "corrected" and change.period:
            level = change.level
            items.append(
                (
                    correction_key(owner, change.usage, change.at, change.seq),
                    {
                        "quantity": change.quantity,
                        "reason": change.note,
                        "at": change.at,
                        "actor": change.actor,
                        "request": change.request,
                        "used": level.used,
                        "purchased": level.purchased,
                        "hardCap": level.hard_cap,
                        "periodStart": change.period[0],
                        "periodEnd": change.period[1],
                        "ttl": ttl,
                    },
                )
            )
    if items:
        yield from send(BatchPut(tuple(items)))


# --- Denials --------------------------------------------------------------------------------------


def _attempt_key(owner: str, meter: str, item: Item) -> Key:
    return denial_record_key(owner, item["lastAt"], item["seatKey"], item["attempts"], meter)


def _kept_attempt(item: Item) -> Item:
    names = (
        "seatKey",
        "usageKey",
        "quantity",
        "attempts",
        "used",
        "seatCount",
        "hardCap",
        "actor",
        "request",
        "ttl",
    )
    return {"at": item["lastAt"], **{name: item[name] for name in names if name in item}}


def _count_denied(owner: str, meter: str, attempts: Iterable[Record]) -> Operation[None]:
    """The attempts of a seat in a quarter-hour, as the denial item counts them."""
    counted: dict[tuple[int, str], int] = {}
    for record in attempts:
        item = record.new
        start = bucket_start(item["lastAt"])
        number = int(item.get(f"q{item['lastAt'] // BUCKET_MS % 4}") or item["attempts"])
        place = (start, item["seatKey"])
        counted[place] = max(number, counted.get(place, 0))
    for (start, seat_key), number in counted.items():
        yield from rollups.count_denied(owner, meter, start, seat_key, number)
