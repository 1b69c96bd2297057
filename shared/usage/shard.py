"""A shard of a usage limit."""

import base64
from typing import NamedTuple

from shared.audit import Change
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import Key
from shared.dynamodb.requests import (
    Item,
    Operation,
    Put,
    Update,
    Value,
)
from shared.usage.counter import Counter
from shared.usage.request_log import archive, rotation

SHARDS = 64
# A shard reports its usage every `REPORT_MS` to twice that, spread over the shards. Of the requests
# that find a report overdue, one in `REPORTERS` makes it.
REPORT_MS = 5_000
REPORTERS = 4


class UsageShard(NamedTuple):
    """A shard as read: its own counter, its unreported allocation, and what it returns.

    `reported_ms` and `reported_seq`: when it last reported, and up to which of its versions.
    """

    counter: Counter
    allocated: int
    returning: int | None
    reported_ms: int
    reported_seq: int

    @classmethod
    def of(cls, item: Item) -> "UsageShard":
        """The shard in an item of the table."""
        return cls(
            Counter.of(item), item["drawn"], item.get("giving"), item["toldAt"], item["toldSeq"]
        )

    @property
    def unreported(self) -> int:
        """What it has used and not reported."""
        return self.allocated - self.counter.left - (self.returning or 0)

    @property
    def requests(self) -> int:
        """The number of requests that used it: each was a version."""
        return self.counter.seq - self.reported_seq


def shard_of(key: str) -> int:
    """The shard of a request, by its key, which ends in a hash."""
    return int.from_bytes(base64.urlsafe_b64decode(key)[-4:]) % SHARDS


# The allocation and the reports of a shard are as they were read.
AS_SEEN = "drawn = :seen AND toldSeq = :told AND attribute_not_exists(giving)"

# --- Items ----------------------------------------------------------------------------------------


def terms_of(counter: Counter) -> dict[str, Value]:
    """The terms of a counter or a shard, as the table keeps them."""
    return {
        **counter.log.terms(),
        "status": counter.status,
        "schedule": counter.schedule,
        "timeZone": counter.zone,
        "validFrom": counter.valid_from,
        "validUntil": counter.valid_until,
        "period": counter.period_number,
    }


def new_shard(key: Key, counter: Counter, share: int, change: Change) -> Put:
    """A shard that did not exist before. Earlier requests have archive items."""
    return Put(
        key,
        {
            **terms_of(counter),
            "left": share,
            "drawn": share,
            "toldAt": change.now_ms,
            "recent": {},
            "earlier": {},
            "leaf": 1,
            "seq": 1,
            "toldSeq": 1,
            "last": change.record("created"),
            "droppedAt": counter.dropped_ms,
            "droppedTo": counter.dropped_to,
        },
        "attribute_not_exists(pk)",
    )


def renew_shard(
    key: Key, shard: UsageShard, counter: Counter, share: int, change: Change
) -> Operation[Update]:
    """New terms for a shard without an allocation, with a new log.

    It is refused if what the shard had used was reported since it was read: it would be reported
    again, in the new period.
    """
    dropped = yield from archive(key, shard.counter, change.now_ms)
    turning, values = rotation(shard.counter, dropped, change)
    names = {"#left": "left", "#status": "status", "#period": "period", "#zone": "timeZone"}
    named = {name: alias for alias, name in names.items()}
    sets = {named.get(name, name): value for name, value in terms_of(counter).items()}
    sets.setdefault("hardCap", None)
    sets.setdefault("customerCap", None)
    sets.setdefault("periodEnd", None)
    assignments, removals, more = assign(
        {**sets, "toldAt": change.now_ms, "toldSeq": shard.counter.seq}
    )
    return Update(
        key,
        set_and_remove(
            [turning, "recent = :empty", "#left = :share", "drawn = :share", *assignments], removals
        ),
        "leaf = :leaf AND drawn = :zero AND toldSeq = :told AND attribute_not_exists(giving)",
        names,
        {
            **values,
            **more,
            ":empty": {},
            ":share": share,
            ":zero": 0,
            ":told": shard.reported_seq,
        },
    )
