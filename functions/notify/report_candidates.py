"""The marks by which a report finds entitlements that were, or are, near their limit."""

import threading
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from cachetools import LRUCache

from shared.dynamodb.keys import CANDIDATES_NOW, Key, overdraft_key, report_candidate_key
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import BatchPut, Delete, Operation, Put, send
from shared.history import rankings
from shared.history.buckets import UsageBucket, months_between
from shared.history.changes import ChangeRecord
from shared.history.level import Level


class HeldLevel(NamedTuple):
    """A level, and the time for which it was held, Unix milliseconds."""

    level: Level
    since: int
    until: int


class ReportCandidates:
    """The report candidates and ranks that this process has written, so that each is written once.

    Nobody deletes the candidate or the rank of a month, so it can be remembered.
    """

    KNOWN = 20_000

    def __init__(self) -> None:
        self._made: LRUCache[Key, bool] = LRUCache(self.KNOWN)
        self._highest: LRUCache[Key, int] = LRUCache(self.KNOWN)
        self._lock = threading.Lock()

    def rank(self, entitlement_id: str, held: Iterable[HeldLevel]) -> Operation[None]:
        """Rank the entitlement by its highest overdraft in each month."""
        by_month: dict[str, list[Level]] = {}
        for each in held:
            if each.level.overdraft:
                for month in months_between(each.since, each.until):
                    by_month.setdefault(month, []).append(each.level)
        for month, levels in by_month.items():
            percent = rankings.overdraft_percent(levels)
            update = rankings.overdrawn(entitlement_id, month, percent)
            if self._highest.get(update.key, 0) < percent:
                yield from write_with_conflict_retry(update)
                with self._lock:
                    self._highest[update.key] = percent

    def put(self, entitlement_id: str, meter: str, months: Iterable[str]) -> Operation[bool]:
        """Write those that are not known to exist; whether there were any."""
        named = {report_candidate_key(entitlement_id, month, meter): month for month in months}
        missing = [key for key in named if key not in self._made]
        if not missing:
            return False
        yield from send(
            BatchPut(tuple((key, {"ttl": rankings.expires_at(named[key])}) for key in missing))
        )
        with self._lock:
            self._made.update(dict.fromkeys(missing, True))
        return True


def held_levels(
    latest: UsageBucket | None, fresh: list[ChangeRecord], new: list[ChangeRecord]
) -> list[HeldLevel]:
    """The levels that these changes show, each with the time for which it was held."""
    held = [(latest.level, latest.at, latest.until)] if latest else []
    held += [(change.level, change.at, change.until) for change in fresh]
    found = []
    for (level, since, until), (_, following, _) in pairwise(held):
        end = following if until is None else min(until, following)
        found.append(HeldLevel(level, since, max(since, end)))
    for change in new:
        found.append(HeldLevel(change.level, change.at, change.at))
        if change.before:
            found.append(HeldLevel(change.before, min(change.before_at, change.at), change.at))
    return found


def candidate_months(held: Iterable[HeldLevel]) -> list[str]:
    """The UTC months in which usage was near the limit."""
    months = set[str]()
    for each in held:
        if each.level.is_near:
            months.update(months_between(each.since, each.until))
    return sorted(months)


def mark_level(
    entitlement_id: str,
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
        key = overdraft_key(entitlement_id, meter)
        if newest.level.overdraft and newest.episode:
            yield from send(Put(key, {"since": newest.episode.start}))
        else:
            yield from send(Delete(key))
    is_near = newest.level.is_near
    if len({bool(level and level.is_near) for level in levels}) > 1 or (is_marked and is_near):
        key = report_candidate_key(entitlement_id, CANDIDATES_NOW, meter)
        yield from send(Put(key, {}) if is_near else Delete(key))
