"""The marks by which a report finds entitlements that were, or are, near their limit."""

import threading
from collections.abc import Iterable
from itertools import pairwise

from cachetools import LRUCache

from shared.audit import EVIDENCE_SECONDS
from shared.dynamodb.keys import CANDIDATES_NOW, Key, overdraft_key, report_candidate_key
from shared.dynamodb.requests import BatchPut, Delete, Operation, Put, send
from shared.history.buckets import UsageBucket, month_name, months_between, parse_bucket_name
from shared.history.changes import ChangeRecord


class ReportCandidates:
    """The report candidates that this process has written, so that each is written once.

    Nobody deletes the candidate of a month, so it can be remembered.
    """

    KNOWN = 20_000

    def __init__(self) -> None:
        self._made: LRUCache[Key, bool] = LRUCache(self.KNOWN)
        self._lock = threading.Lock()

    def put(self, entitlement_id: str, meter: str, months: Iterable[str]) -> Operation[bool]:
        """Write those that are not known to exist; whether there were any."""
        named = {report_candidate_key(entitlement_id, month, meter): month for month in months}
        missing = [key for key in named if key not in self._made]
        if not missing:
            return False
        yield from send(BatchPut(tuple((key, {"ttl": _expires_at(named[key])}) for key in missing)))
        with self._lock:
            self._made.update(dict.fromkeys(missing, True))
        return True


def _expires_at(month: str) -> int:
    """When the candidates of a month expire: after all evidence of that month."""
    return parse_bucket_name(f"{month}-28T00:00") // 1000 + 4 * 86_400 + EVIDENCE_SECONDS


def candidate_months(
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
