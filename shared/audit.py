"""The audit trail: who changed what, and when; denials on record."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.dynamodb.keys import (
    Key,
)
from shared.dynamodb.requests import (
    Update,
    Value,
)

EVIDENCE_SECONDS = 400 * 86_400  # evidence stays on record for 13 months


class Change(NamedTuple):
    """Who makes a change, in which request, and when."""

    actor: str
    request_id: str
    now_ms: int

    @property
    def now(self) -> int:
        """Unix seconds."""
        return self.now_ms // 1000

    def at(self, now_ms: int) -> "Change":
        """The same change at a later time. A clock that goes back does not take the time back."""
        return self._replace(now_ms=max(now_ms, self.now_ms))

    def record(self, kind: str, **details: Any) -> dict[str, Any]:
        """The `last` of an item: the change that made this version."""
        present = {name: value for name, value in details.items() if value}
        return {
            "type": kind,
            "actor": self.actor,
            "request": self.request_id,
            "at": self.now_ms,
            **present,
        }


def denial(
    record: Key,
    about: Mapping[str, Value],
    level: tuple[int, int, int | None],
    change: Change,
) -> Update:
    """Record one more denied attempt in this hour, with the limits in force.

    `about` says who or what was denied; `level` is what was used, purchased, and the hard cap. The
    attempt counts in the hour and in its quarter (`q0` to `q3`). The request id keeps a repetition
    of our own write from counting twice.
    """
    used, purchased, hard_cap = level
    assignments = "".join(f"{name} = :{name}, " for name in about)
    return Update(
        record,
        f"SET {assignments}seatCount = :purchased, hardCap = :cap, used = :used,"
        " firstAt = if_not_exists(firstAt, :at), lastAt = :at, #request = :request,"
        " actor = :actor, #ttl = :ttl ADD attempts :one, #quarter :one",
        "attribute_not_exists(#request) OR #request <> :request",
        {"#request": "request", "#ttl": "ttl", "#quarter": f"q{change.now // 900 % 4}"},
        {
            **{f":{name}": value for name, value in about.items()},
            ":purchased": purchased,
            ":cap": hard_cap,
            ":used": used,
            ":at": change.now_ms,
            ":request": change.request_id,
            ":actor": change.actor,
            ":ttl": change.now + EVIDENCE_SECONDS,
            ":one": 1,
        },
    )


def utc_hour(now: int) -> str:
    """The UTC hour of a time, `YYYY-MM-DDTHH`."""
    return time.strftime("%Y-%m-%dT%H", time.gmtime(now))
