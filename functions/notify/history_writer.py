"""Writing usage history: buckets, episodes, ended periods and corrections."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from functions.notify import audit_entries
from functions.notify.stream_images import Version
from shared.audit import EVIDENCE_SECONDS
from shared.dynamodb.keys import (
    SEATS,
    Key,
    change_key,
    correction_key,
    episode_key,
    period_key,
    seat_record_key,
    usage_bucket_key,
)
from shared.dynamodb.paging import all_of
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    BatchGet,
    BatchPut,
    Delete,
    LostRace,
    Operation,
    Pause,
    Put,
    Query,
    Transact,
    Update,
    Value,
    send,
)
from shared.history import queries, rollups
from shared.history.aggregator import UsageAggregator
from shared.history.buckets import BUCKET_MS, UsageBucket, bucket_name
from shared.history.changes import DISORDER_MS, ChangeRecord, changes_between
from shared.history.thresholds import Triggered
from shared.history.views import OverdraftEpisodeView, UsageOverdraftEpisodeView, episode_view

# People counted in one transaction, which has at most 100 parts.
COUNTED_AT_ONCE = 50


def write_changes(
    entitlement_id: str, meter: str, changes: Iterable[ChangeRecord]
) -> Operation[None]:
    """Store change records."""
    items = (
        (change_key(entitlement_id, each.at, each.seq, meter=meter), each.to_item())
        for each in changes
    )
    yield from send(BatchPut(tuple(items)))


def write_history(
    entitlement_id: str, meter: str, folded: UsageAggregator, seen: UsageBucket | None
) -> Operation[None]:
    """Write what the aggregator changed; the latest bucket last, because it says what is folded."""
    if folded.buckets and not (yield from _write_buckets(entitlement_id, meter, folded, seen)):
        raise LostRace("another reader was ahead")


def write_episodes(
    entitlement_id: str, meter: str, folded: UsageAggregator, *, is_recount: bool = False
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
            Update(episode_key(entitlement_id, meter, episode.start), expression, "", names, values)
        )
        keys = sorted(granted)
        for start in range(0, len(keys), COUNTED_AT_ONCE):
            part = keys[start : start + COUNTED_AT_ONCE]
            yield from _count_granted(
                entitlement_id, meter, episode.start, part, is_counted=is_recount
            )


def _count_granted(
    entitlement_id: str, meter: str, episode: int, seat_keys: list[str], *, is_counted: bool
) -> Operation[None]:
    """Count the persons who were granted seats in an overdraft episode, each once.

    A seat record names the last episode in which it was counted. The record and the count are
    written in one transaction, so neither item grows with the persons of an episode. `is_counted`:
    the episode includes them already, and only their records have to say so.
    """
    key = episode_key(entitlement_id, meter, episode)
    records = {seat_key: seat_record_key(entitlement_id, seat_key) for seat_key in seat_keys}
    for attempt in range(1, ROUNDS + 1):
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
                "SET episode = :episode, seatKey = :key, entitlementId = :entitlement,"
                " seq = if_not_exists(seq, :zero)",
                "attribute_not_exists(episode) OR episode < :episode",
                NO_NAMES,
                {":episode": episode, ":key": seat_key, ":entitlement": entitlement_id, ":zero": 0},
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


def _write_buckets(
    entitlement_id: str,
    meter: str,
    folded: UsageAggregator,
    seen: UsageBucket | None,
    *,
    is_recount: bool = False,
) -> Operation[bool]:
    yield from write_episodes(entitlement_id, meter, folded, is_recount=is_recount)
    buckets = dict(folded.buckets)
    newest = max(buckets)
    if seen and seen.start < newest:
        buckets.setdefault(seen.start, seen)  # it is not the latest any more, and may expire
    previous = None

    def put(start: int, following: int | None) -> Put:
        key = usage_bucket_key(entitlement_id, meter, bucket_name(start))
        return Put(key, buckets[start].to_item(following))

    for start, following in pairwise((*sorted(buckets), None)):
        assert start is not None
        write = put(start, following)
        if seen and seen.start == start:
            write = _if_as_seen(write, seen)
        elif start == newest:
            write = write._replace(condition="attribute_not_exists(pk)")
        together: Put | Transact = write
        if previous is not None:
            yield from rollups.write(entitlement_id, meter, previous, start)
            if not is_recount:
                # The ranges that are missing are carried on to the next bucket. So the one
                # before it must not have been folded again since it was read.
                before = _if_as_seen(put(previous, start), buckets[previous])
                together = Transact((before, write))
        if not isinstance((yield from send(together)), Accepted):
            return False
        previous = start
    return True


def _if_as_seen(write: Put, bucket: UsageBucket) -> Put:
    """A write that is refused unless a bucket is as it was read.

    A reader that goes on writes another `seq`. One that folds again because a change came late
    writes the same one, and fewer ranges that are missing.
    """
    missing: list[Value] = [list(each) for each in bucket.missing]
    return write._replace(
        condition="seq = :seen AND #missing = :missing",
        names={"#missing": "missing"},
        values={":seen": bucket.seq, ":missing": missing},
    )


def stored_changes(
    entitlement_id: str, meter: str, changes: list[ChangeRecord]
) -> Operation[dict[int, ChangeRecord]]:
    """The changes that were stored when they came before, by `seq`."""
    if not changes:
        return {}
    keys = tuple(
        change_key(entitlement_id, change.at, change.seq, meter=meter) for change in changes
    )
    found = yield from send(BatchGet(keys))
    return {item["seq"]: ChangeRecord.of(item) for item in found.values()}


def _may_continue(bucket: UsageBucket, quiet_ms: int) -> bool:
    """Whether the last episode of a bucket may continue with what follows it."""
    episode = bucket.episode
    assert episode is not None
    return episode.end is None or bucket.at - episode.end < quiet_ms


def _bucket_before(entitlement_id: str, meter: str, seq: int) -> Operation[UsageBucket | None]:
    """The last bucket that includes nothing from `seq` on."""
    before: str | None = None
    while True:
        bucket = yield from queries.latest_bucket(entitlement_id, meter, before)
        if bucket is None or bucket.seq < seq:
            return bucket
        before = bucket_name(bucket.start)


def ended_episode_view(
    entitlement_id: str, change: ChangeRecord
) -> Operation[OverdraftEpisodeView | UsageOverdraftEpisodeView | None]:
    """The episode that a change has ended, with the denials that are known by now."""
    pk = episode_key(entitlement_id, SEATS, 0).pk
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
            return (yield from episode_view(entitlement_id, item, None, change.at))
    return None


def rebuild(
    entitlement_id: str, meter: str, first_seq: int, triggered: Triggered, quiet_ms: int
) -> Operation[UsageBucket]:
    """Fold again from before a change that came late; the change records have everything.

    It is done again if another reader began the next bucket meanwhile: there the change is missing.
    """
    for attempt in range(1, ROUNDS + 1):
        latest = yield from queries.latest_bucket(entitlement_id, meter)
        assert latest is not None  # it said that the change was missing
        start = yield from _bucket_before(entitlement_id, meter, first_seq)
        # From before a current episode: its persons are counted anew.
        while start and start.episode and _may_continue(start, quiet_ms):
            start = yield from _bucket_before(entitlement_id, meter, start.episode.start_seq)
        since = start.at if start else 0
        changes = yield from changes_between(
            entitlement_id, max(0, since - DISORDER_MS), latest.at + BUCKET_MS, meter
        )
        folded = UsageAggregator(start, quiet_ms)
        after = start.seq if start else 0
        for change in changes:
            if after < change.seq <= latest.seq:
                folded.apply(change)
        stale = yield from all_of(
            Query(
                "pk = :pk AND sk >= :start",
                {":pk": episode_key(entitlement_id, meter, 0).pk, ":start": f"{since:013d}"},
            )
        )
        for item in stale:
            if item["start"] not in folded.episodes:
                yield from send(Delete(Key(item["pk"], item["sk"])))
        rebuilt = folded.latest
        assert rebuilt is not None
        rebuilt = rebuilt._replace(triggered=triggered)
        folded.buckets[rebuilt.start] = rebuilt
        if start:  # another may follow it now
            folded.buckets.setdefault(start.start, start)
        if (yield from _write_buckets(entitlement_id, meter, folded, latest, is_recount=True)):
            newest = yield from queries.latest_bucket(entitlement_id, meter)
            if newest is None or newest.start == rebuilt.start or not newest.is_missing(first_seq):
                return rebuilt
        yield from send(Pause(attempt))
    raise LostRace("history kept changing")


def write_periods_and_corrections(entitlement_id: str, versions: list[Version]) -> Operation[None]:
    """What a usage limit leaves besides its history: periods that have ended, corrections."""
    items = audit_entries.of_changes(entitlement_id, [each.change for each in versions])
    for version in versions:
        change = version.change
        ttl = change.at // 1000 + EVIDENCE_SECONDS
        if version.ended:
            key = period_key(entitlement_id, change.usage, version.ended["number"])
            items.append((key, {**version.ended, "ttl": ttl}))
        if change.type == "corrected" and change.period:
            level = change.level
            items.append(
                (
                    correction_key(entitlement_id, change.usage, change.at, change.seq),
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
