"""The aggregator: what change records add up to, by quarter-hour and by overdraft episode.

Every accepted version of a shard, or of a usage limit's counter, makes a *change record*. The
aggregator folds the records of one *meter* (the seats, or one usage limit), in the order of `seq`,
into usage buckets and episodes. It is plain arithmetic, so the same records give the same result in
whatever batches they come. Times are Unix milliseconds. A change counts from the time at which it
was made, but never before the change that it follows (clocks differ).

A bucket is complete up to its own last change. The reader carries the level forward from there.
"""

from collections.abc import Iterable

from shared.history.buckets import MISSING_KEPT, PEOPLE_KEPT, UsageBucket, bucket_start, most_limits
from shared.history.changes import COUNTS, ChangeRecord
from shared.history.episodes import Episode
from shared.history.level import Level
from shared.history.thresholds import trigger


class UsageAggregator:
    """Folds change records into buckets. It starts with the latest bucket, or with none.

    `quiet_ms`: an overdraft that returns within this time continues the same episode.
    """

    def __init__(self, latest: UsageBucket | None, quiet_ms: int) -> None:
        self._latest = latest
        self._quiet_ms = quiet_ms
        self.buckets: dict[int, UsageBucket] = {}
        self.episodes: dict[int, Episode] = {}
        self.granted: dict[int, set[str]] = {}

    @property
    def latest(self) -> UsageBucket | None:
        """The bucket of the last change."""
        return self._latest

    def apply(self, change: ChangeRecord, thresholds: Iterable[int | str] = ()) -> ChangeRecord:
        """Fold one change, later than all before by its `seq`; return it as it is to be stored.

        Changes that are missing in between are noted. The level is then what this change says was
        there before it.
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
        triggered, kept = trigger(moved.triggered, change, at, thresholds)
        taken, granted = change.takers()
        moved = moved._replace(
            seq=change.seq,
            counts=counts,
            triggered=triggered,
            until=change.until,
            people=_with(moved.people, taken),
            over=_with(moved.over, granted),
        )
        self._keep(moved)
        if moved.episode and moved.episode.end is None:
            self.granted.setdefault(moved.episode.start, set()).update(granted)
        return kept

    def _fall(self, latest: UsageBucket, at: int) -> UsageBucket:
        """The bucket after the level has fallen by itself, if it has by `at`."""
        if latest.until is None or latest.until > at:
            return latest
        fallen = self._move(latest, max(latest.at, latest.until), latest.level._replace(used=0))
        self._keep(fallen._replace(until=None))
        return fallen._replace(until=None)

    def as_of(self, now: int) -> UsageBucket | None:
        """The latest bucket at `now`, if nothing has happened since."""
        return None if self._latest is None else self._fall(self._latest, now)

    def _begin(self, change: ChangeRecord) -> UsageBucket:
        """The level before the first known change: what that change says was there, or nothing."""
        before = change.before or Level(0, change.level.purchased, change.level.hard_cap)
        at = change.before_at if change.before else change.at
        missing = ((1, change.seq - 1),) if change.seq > 1 else ()
        blank = UsageBucket(
            bucket_start(at),
            0,
            at,
            before,
            before.used,
            before.used,
            0,
            0,
            0,
            dict.fromkeys(COUNTS, 0),
            ((at, before.purchased, before.hard_cap),),
            missing,
            (),
            None,
        )
        return blank._replace(episode=self._episode(blank, at, before, change.seq))

    def _move(
        self, latest: UsageBucket, at: int, level: Level, seq: int | None = None
    ) -> UsageBucket:
        """The bucket at `at`: the old level was held until then, the new one holds from then on."""
        record = latest
        episode = latest.episode
        if episode and latest.level.overdraft:
            spent = at - latest.at
            episode = episode._replace(
                overdraft_ms=episode.overdraft_ms + spent,
                overdraft_seat_ms=episode.overdraft_seat_ms + spent * latest.level.overdraft,
            )
        if bucket_start(at) != latest.start:
            start = bucket_start(at)
            # A level that falls or changes at the very beginning was not held in this bucket.
            held = latest.level if at > start else level
            record = latest._replace(
                start=start,
                at=start,
                lowest=held.used,
                highest=held.used,
                seat_ms=0,
                overdraft_ms=0,
                overdraft_seat_ms=0,
                counts=dict.fromkeys(COUNTS, 0),
                people=(),
                over=(),
                limits=((start, held.purchased, held.hard_cap),),
            )
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

    def _episode(self, record: UsageBucket, at: int, level: Level, seq: int) -> Episode | None:
        """The last episode, once usage has come to a new level."""
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

    def _keep(self, record: UsageBucket) -> None:
        self._latest = record
        self.buckets[record.start] = record
        if record.episode and record.episode.end is None:
            self.episodes[record.episode.start] = record.episode


def _with(known: tuple[str, ...], more: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *more)))[:PEOPLE_KEPT]


def as_of(latest: UsageBucket | None, now: int) -> UsageBucket | None:
    """The latest bucket at `now`: a level may have fallen by itself."""
    return UsageAggregator(latest, 0).as_of(now)


def _hold(record: UsageBucket, until: int) -> UsageBucket:
    """The bucket, carried forward to a time within its quarter-hour."""
    spent = max(0, until - record.at)
    over = record.level.overdraft
    return record._replace(
        at=max(record.at, until),
        seat_ms=record.seat_ms + spent * record.level.used,
        overdraft_ms=record.overdraft_ms + (spent if over else 0),
        overdraft_seat_ms=record.overdraft_seat_ms + spent * over,
    )


def carried(episode: Episode, latest: UsageBucket | None, now: int) -> Episode:
    """An episode as it is now, if it is the current one."""
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
