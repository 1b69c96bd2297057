"""A batch of stream records: what follows from them is written, and then sent.

The records of one item form a group and are processed in order. If one fails, the rest of its group
is left for the next attempt. Everything can be done twice: a record that comes again finds its
change stored and its history folded, and sends its events with the same ids.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from functions.notify import (
    audit_entries,
    expiry_dates,
    lockstep,
    overdraft_clocks,
    search_index,
    seat_records,
    seat_totals,
)
from functions.notify.emails import mailer
from functions.notify.history_writer import (
    ended_episode_view,
    rebuild,
    stored_changes,
    write_changes,
    write_history,
    write_periods_and_corrections,
)
from functions.notify.publisher import Failure, Message, Publisher
from functions.notify.records import POOL_SHARDS, Record, has_outgrown, read_groups, requests_of
from functions.notify.report_candidates import (
    ReportCandidates,
    candidate_months,
    held_levels,
    mark_level,
)
from functions.notify.stream_images import Version, version_for_totals
from shared import observability
from shared.clock import from_rfc3339_ms
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    DENIAL_PREFIX,
    ENTITLEMENT_PREFIX,
    EXPIRY_PREFIX,
    FOLLOW_UP_ENTRY,
    FOLLOW_UP_PREFIX,
    OVERDRAFT_CLOCK_PREFIX,
    REPORT_PREFIX,
    SCHEDULED_CHANGE_PREFIX,
    SEAT_REQUEST_PREFIX,
    SEAT_SHARD_PREFIX,
    SEATS,
    TOTALS_PREFIX,
    TRUE_UP_PREFIX,
    USAGE_PREFIX,
    WEBHOOK_REQUEST_PREFIX,
    Key,
    denial_record_key,
    entitlement_id_of,
    entitlement_key,
    follow_up_key,
    heartbeat_key,
    later_denial_shard,
    meter_of,
    shard_number,
)
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import BatchGet, BatchPut, Item, Operation, send
from shared.events import builders
from shared.events import types as event_types
from shared.history import queries, rollups
from shared.history.aggregator import UsageAggregator
from shared.history.buckets import BUCKET_MS, UsageBucket, bucket_start, month_name
from shared.history.changes import ChangeRecord
from shared.history.thresholds import Triggered, thresholds_of, trigger
from shared.sales import follow_up, seat_requests
from shared.sales.follow_up import DENIAL, NOT_WON, OVERDRAFT, PURCHASE, REQUEST, Move
from shared.seats.terms import request_reconcile_update

# Items whose versions are changes of what is used: only shards, pools' totals, counters.
_CHANGED = (SEAT_SHARD_PREFIX, USAGE_PREFIX, TOTALS_PREFIX)
# Items in which the sweep notes what was due.
_NOTED = (EXPIRY_PREFIX, FOLLOW_UP_PREFIX, OVERDRAFT_CLOCK_PREFIX)


class Fold(NamedTuple):
    """The changes of a group, folded into the usage history of their meter.

    `changes` are by `seq`, each with what it triggered. Those in `fresh` follow the `latest`
    bucket; those in `late` were given up once, so later ones are folded already. Any other was
    processed before. `triggered` are the thresholds that are known to have been crossed recently.
    """

    changes: dict[int, ChangeRecord]
    fresh: list[int]
    late: list[int]
    latest: UsageBucket | None
    aggregator: UsageAggregator
    triggered: Triggered

    @property
    def new(self) -> list[ChangeRecord]:
        """The changes that were not processed before."""
        return [self.changes[seq] for seq in (*self.late, *self.fresh)]


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
        candidates: ReportCandidates | None = None,
        at_once: int = 1,
    ) -> None:
        self._at_once = at_once
        self._dynamodb = dynamodb
        self._publisher = publisher
        self._quiet_ms = quiet_ms
        self._now_ms = now_ms
        self._sends_mail = sends_mail
        self._candidates = candidates or ReportCandidates()
        self._entitlements: dict[Key, Item] = {}

    def process(self, raw: list[dict[str, Any]]) -> int | None:
        """Process records; return the position of the first that has to come again, or None."""
        groups, failed = read_groups(raw)
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
                    extra={"pk": key.pk, "requestIds": requests_of(records)},
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
            entitlement_key(entitlement_id_of(key.pk))
            for key in groups
            if key.pk.startswith((*_CHANGED, DENIAL_PREFIX, *_NOTED))
        }
        self._entitlements = self._dynamodb.execute(BatchGet(tuple(keys))) if keys else {}

    def _group(self, key: Key, records: list[Record]) -> Operation[list[tuple[int, Message]]]:
        """Process the records of one item."""
        if key.sk == POOL_SHARDS:
            yield from self._pool_shards(entitlement_id_of(key.pk), records)
            return []
        if key.pk.startswith(_CHANGED):
            return (yield from self._changes(entitlement_id_of(key.pk), records))
        if key.pk.startswith(DENIAL_PREFIX):
            return (yield from self._denials(entitlement_id_of(key.pk), records))
        if key.pk.startswith(SEAT_REQUEST_PREFIX):
            return (yield from self._seat_requests(records))
        if key.pk.startswith(ENTITLEMENT_PREFIX):
            yield from self._terms(records[-1].new["entitlementId"], records)
            return []
        sent = [(each.position, message) for each in records for message in _messages_of(each)]
        if key.pk.startswith(_NOTED):
            item = self._entitlements.get(entitlement_key(entitlement_id_of(key.pk)), {})
            for event in (message.event or {} for _, message in sent):
                at = from_rfc3339_ms(event["timestamp"])
                yield from self._mark_mail(item, {event["type"]}, at)
        return sent

    def _mark_mail(self, item: Item, kinds: set[str], at: int) -> Operation[None]:
        if self._sends_mail:
            yield from mailer.mark(item, kinds, at, self._now_ms)

    def _mark_changes(
        self, item: Item, changes: list[ChangeRecord], made: Mapping[int, list[builders.Event]]
    ) -> Operation[None]:
        for change in changes:
            kinds = {event["type"] for event in made[change.seq]}
            yield from self._mark_mail(item, kinds, change.at)

    # --- The shards of a pool ---------------------------------------------------------------------

    def _pool_shards(self, entitlement_id: str, records: list[Record]) -> Operation[None]:
        """Shards update seat records; everything else follows when the pool's totals report it."""
        yield from self._write_seats(entitlement_id, records)
        versions = [
            version_for_totals(shard_number(record.key.pk), record.old, record.new, version)
            for record in records
            for version in record.versions
        ]
        if versions:
            yield from seat_totals.count(entitlement_id, versions)

    def _write_seats(self, entitlement_id: str, records: list[Record]) -> Operation[None]:
        """Update seat records and the audit trail; have a shard with too many seats split."""
        of_shards = [each for each in records if each.key.pk.startswith(SEAT_SHARD_PREFIX)]
        versions = [version for record in of_shards for version in record.versions]
        if versions:
            yield from seat_records.write(entitlement_id, versions)
            changes = [version.change for version in versions]
            if entries := audit_entries.of_changes(entitlement_id, changes):
                yield from send(BatchPut(tuple(entries)))
        if any(has_outgrown(record) for record in of_shards):
            yield from write_with_conflict_retry(request_reconcile_update(entitlement_id))

    # --- An only shard, a pool's totals, a counter ------------------------------------------------

    def _changes(
        self, entitlement_id: str, records: list[Record]
    ) -> Operation[list[tuple[int, Message]]]:
        """Process the changes of one meter. The order of the steps makes it safe to do them twice.

        The latest bucket says which changes have been processed, so it is written after all that
        must not be missing. E-mails are marked as due before and after: before, because a change
        that has been folded marks nothing when it comes again (at worst, an e-mail is due too
        often); after, because an e-mail made in between has read its period without these changes.
        """
        versions = [(record.position, version) for record in records for version in record.versions]
        meter = meter_of(records[0].key.pk)
        yield from overdraft_clocks.write_clocks(entitlement_id, meter, records)
        if not versions:
            return []
        item = self._entitlements.get(entitlement_key(entitlement_id), {})
        thresholds = thresholds_of(item.get("document", {}), meter)
        fold = yield from self._fold(
            entitlement_id, meter, [each for _, each in versions], thresholds
        )
        made = {
            seq: builders.of_change(entitlement_id, change) for seq, change in fold.changes.items()
        }

        yield from self._mark_changes(item, fold.new, made)
        fresh = [fold.changes[seq] for seq in fold.fresh]
        held = held_levels(fold.latest, fresh, fold.new)
        is_marked = yield from self._candidates.put(entitlement_id, meter, candidate_months(held))
        yield from self._candidates.rank(entitlement_id, held)
        moves = yield from _moves_that_count(entitlement_id, meter, fold)
        yield from follow_up.move(entitlement_id, moves)
        yield from write_changes(entitlement_id, meter, fold.changes.values())
        yield from self._write_seats(entitlement_id, records)
        if meter != SEATS:
            yield from write_periods_and_corrections(entitlement_id, [each for _, each in versions])
        yield from write_history(entitlement_id, meter, fold.aggregator, fold.latest)
        newest = fold.aggregator.latest
        if fold.late:
            first = min(fold.late)
            newest = yield from rebuild(
                entitlement_id, meter, first, fold.triggered, self._quiet_ms
            )
        if newest:
            changes = list(fold.changes.values())
            yield from mark_level(
                entitlement_id, meter, changes, fold.latest, newest, is_marked=is_marked
            )
        yield from self._mark_changes(item, fold.new, made)

        sent = []
        for position, version in versions:
            change = fold.changes[version.change.seq]
            for event in made[change.seq]:
                if event["type"] == event_types.OVERDRAFT_EXITED:
                    event["data"]["episode"] = yield from ended_episode_view(entitlement_id, change)
                sent.append((position, Message(event)))
        return sent

    def _fold(
        self,
        entitlement_id: str,
        meter: str,
        versions: list[Version],
        thresholds: tuple[int | str, ...],
    ) -> Operation[Fold]:
        """Fold the changes of these versions into the meter's history, without writing it."""
        changes = {version.change.seq: version.change for version in versions}
        first = versions[0].change
        latest = yield from queries.latest_bucket_near(
            entitlement_id, meter, (first.before_at, first.at)
        )
        known = latest.seq if latest else 0
        late = [seq for seq in changes if latest is not None and latest.is_missing(seq)]
        fresh = [seq for seq in changes if seq > known]
        aggregator = UsageAggregator(latest, self._quiet_ms)
        for seq in fresh:
            changes[seq] = aggregator.apply(changes[seq], thresholds)
        triggered = latest.triggered if latest else ()
        for seq in late:
            triggered, changes[seq] = trigger(triggered, changes[seq], changes[seq].at, thresholds)
        # The stored record of a change that was processed before says what it triggered then.
        again = [change for seq, change in changes.items() if seq not in (*fresh, *late)]
        changes |= yield from stored_changes(entitlement_id, meter, again)
        return Fold(changes, fresh, late, latest, aggregator, triggered)

    # --- A request for more seats -----------------------------------------------------------------

    def _seat_requests(self, records: list[Record]) -> Operation[list[tuple[int, Message]]]:
        sent = []
        for record in records:
            if record.old is None:
                entitlement_id, at = record.new["entitlementId"], record.new["requestedAt"]
                if self._sends_mail:
                    yield from mailer.mark_request(entitlement_id, at, self._now_ms)
                yield from follow_up.move(entitlement_id, [Move(at, REQUEST)])
                meter = seat_requests.meter_of(record.new)
                yield from self._candidates.put(entitlement_id, meter, [month_name(at)])
                sent.append((record.position, Message(builders.of_seat_request(record.new))))
        return sent

    # --- Terms ------------------------------------------------------------------------------------

    def _terms(self, entitlement_id: str, records: list[Record]) -> Operation[None]:
        """Follow an entitlement's terms."""
        yield from search_index.write_words(entitlement_id, records)
        yield from expiry_dates.write_date(entitlement_id, self._now_ms // 1000)

    # --- A denial ---------------------------------------------------------------------------------

    def _denials(
        self, entitlement_id: str, records: list[Record]
    ) -> Operation[list[tuple[int, Message]]]:
        attempts = [
            record
            for record in records
            if record.new["attempts"] != (record.old or {}).get("attempts")
        ]
        if not attempts:
            return []
        meter = meter_of(records[0].key.pk)
        kind = event_types.SEAT_DENIED if meter == SEATS else event_types.USAGE_DENIED
        item = self._entitlements.get(entitlement_key(entitlement_id), {})
        keys = {
            record.position: _attempt_key(entitlement_id, meter, record.new) for record in attempts
        }
        known = yield from send(BatchGet((*keys.values(), follow_up_key(entitlement_id))))
        fresh = [record.new["lastAt"] for record in attempts if keys[record.position] not in known]
        if fresh:
            yield from self._mark_mail(item, {kind}, min(fresh))
            # Where an overdraft is possible, it has opened the follow-up before anybody is denied.
            state = (known.get(follow_up_key(entitlement_id)) or {}).get("state")
            if state not in NOT_WON and not _has_overdraft(attempts[-1].new):
                yield from follow_up.move(entitlement_id, [Move(min(fresh), DENIAL)])
        months = {month_name(record.new["lastAt"]) for record in attempts}
        yield from self._candidates.put(entitlement_id, meter, sorted(months))
        yield from _count_denied(entitlement_id, meter, attempts)
        if meter == SEATS and fresh:
            yield from search_index.write_denied(entitlement_id, attempts[-1].key, attempts[-1].new)
        yield from send(
            BatchPut(
                tuple((keys[record.position], _denial_record(record.new)) for record in attempts)
            )
        )
        if fresh:
            yield from self._mark_mail(item, {kind}, min(fresh))
        hour, later = records[0].key.sk.partition("#")[0], later_denial_shard(records[0].key)
        return [
            (record.position, Message(builders.of_denial(entitlement_id, record.new, hour, later)))
            for record in attempts
        ]


def _messages_of(record: Record) -> list[Message]:
    """The messages of a record that writes nothing else to the table."""
    key, old, new = record.key, record.old or {}, record.new
    if key == heartbeat_key():
        observability.count("StreamHeartbeat")
        return []
    if key.pk.startswith(WEBHOOK_REQUEST_PREFIX):
        return [Message.of_request(new)]
    if key.pk.startswith(REPORT_PREFIX):
        return _of_report(old, new)
    event = _event_of(key, old, new)
    return [Message(event)] if event else []


def _event_of(key: Key, old: Item, new: Item) -> builders.Event | None:
    """The event of a record that leads to one at most."""
    if key.sk.startswith(FOLLOW_UP_ENTRY):
        return builders.of_follow_up(new)
    for prefix, name, event_of in _EVENTS:
        if key.pk.startswith(prefix):
            return event_of(new) if _is_new(name, old, new) else None
    is_disabled = "disabledReason" in new and "disabledReason" not in old
    return builders.of_disabled(key.sk, new) if is_disabled else None


# By the beginning of the key: the attribute that is new when there is an event.
_EVENTS: tuple[tuple[str, str, Callable[[Item], builders.Event]], ...] = (
    (EXPIRY_PREFIX, "givenAt", builders.of_notice),
    (FOLLOW_UP_PREFIX, "remindedAt", builders.of_reminder),
    (OVERDRAFT_CLOCK_PREFIX, "givenAt", builders.of_overdraft_notice),
    (SCHEDULED_CHANGE_PREFIX, "failure", builders.of_failed_change),
    (TRUE_UP_PREFIX, "version", builders.of_decision),
)


def _is_new(name: str, old: Item, new: Item) -> bool:
    """Whether an attribute has come, or has another value."""
    return name in new and new[name] != old.get(name)


def _of_report(old: Item, new: Item) -> list[Message]:
    """The messages of a report: a job when it is asked for, an event when it is published."""
    if not old:
        return [Message(report={"reportId": new["reportId"], "step": "plan"})]
    if new["status"] == "published" and old.get("status") != "published":
        return [Message(builders.of_report(new))]
    return []


def _moves(fold: Fold) -> list[Move]:
    """What these changes mean for the follow-up: an episode began, more was purchased."""
    episodes = fold.aggregator.episodes.values()
    begun = {episode.start_seq: episode.start for episode in episodes}
    moves = []
    for change in fold.new:
        before = change.before
        is_over = change.level.overdraft > 0
        if change.seq in fold.late:
            has_begun = is_over and not (before and before.overdraft)
        else:
            has_begun = is_over and change.seq in begun
        if has_begun:
            moves.append(Move(change.at, OVERDRAFT))
        if before and change.type == "updated" and change.level.purchased > before.purchased:
            moves.append(Move(change.at, PURCHASE, change.level.purchased))
    return moves


def _moves_that_count(entitlement_id: str, meter: str, fold: Fold) -> Operation[list[Move]]:
    """The moves of the follow-up. A purchase wins nothing while the customer has asked for more."""
    moves = []
    for each in _moves(fold):
        if each.reason == PURCHASE:
            answer = seat_requests.answer_by_purchase
            if not (yield from answer(entitlement_id, meter, each.purchased, each.at)):
                continue
        moves.append(each)
    return moves


# --- Denials --------------------------------------------------------------------------------------


def _has_overdraft(denial: Item) -> bool:
    """Whether the limits of a denial have an overdraft."""
    return bool(denial.get("hardCap") != denial["seatCount"])


def _attempt_key(entitlement_id: str, meter: str, item: Item) -> Key:
    return denial_record_key(
        entitlement_id, item["lastAt"], item["seatKey"], item["attempts"], meter
    )


def _denial_record(item: Item) -> Item:
    names = (
        "seatKey",
        "usageKey",
        "quantity",
        "attempts",
        "used",
        "seatCount",
        "hardCap",
        "nextLeaseExpiry",
        "limitReached",
        "actor",
        "request",
        "ttl",
    )
    return {"at": item["lastAt"], **{name: item[name] for name in names if name in item}}


def _count_denied(entitlement_id: str, meter: str, attempts: Iterable[Record]) -> Operation[None]:
    """The attempts of a seat in a quarter-hour, as the denial item counts them."""
    counted: dict[tuple[int, str], int] = {}
    for record in attempts:
        item = record.new
        start = bucket_start(item["lastAt"])
        number = int(item.get(f"q{item['lastAt'] // BUCKET_MS % 4}") or item["attempts"])
        place = (start, item["seatKey"])
        counted[place] = max(number, counted.get(place, 0))
    for (start, seat_key), number in counted.items():
        yield from rollups.count_denied(entitlement_id, meter, start, seat_key, number)
