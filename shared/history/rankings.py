"""Rankings of a UTC month: who was denied most often, who was furthest above what they bought.

Each entitlement has one item in a ranking. The sweep's index has them in the order of their values.
"""

from collections.abc import Iterable

from shared.audit import EVIDENCE_SECONDS
from shared.dynamodb.keys import Key, rank_key, ranking_partition
from shared.dynamodb.requests import Update
from shared.history.buckets import DAY_MS, month_name, parse_bucket_name
from shared.history.level import Level

DENIALS, OVERDRAFT = "denials", "overdraft"
MAX_VALUE = 10**15


def ranking_of(kind: str, month: str) -> str:
    """The name of a ranking of a UTC month (`YYYY-MM`)."""
    return f"{kind}#{month}"


def expires_at(month: str) -> int:
    """When what is marked for a month expires: after all evidence of that month. Unix seconds."""
    return (parse_bucket_name(f"{month}-28T00:00") + 4 * DAY_MS) // 1000 + EVIDENCE_SECONDS


def denied(entitlement_id: str, at: int, attempts: int) -> Update:
    """Add denied attempts to the month of `at`."""
    key, values = _place(entitlement_id, DENIALS, month_name(at))
    return Update(
        key,
        "SET sweepKey = :list, #ttl = :ttl ADD earliest :value",
        "",
        {"#ttl": "ttl"},
        {**values, ":value": attempts},
    )


def overdrawn(entitlement_id: str, month: str, percent: int) -> Update:
    """Note an overdraft in a month, unless a higher one is on record."""
    key, values = _place(entitlement_id, OVERDRAFT, month)
    return Update(
        key,
        "SET sweepKey = :list, #ttl = :ttl, earliest = :value",
        "attribute_not_exists(earliest) OR earliest < :value",
        {"#ttl": "ttl"},
        {**values, ":value": percent},
    )


def overdraft_percent(levels: Iterable[Level]) -> int:
    """The highest overdraft in percent of what was purchased, rounded up; of nothing, of one."""
    percents = (-(-level.overdraft * 100 // max(1, level.purchased)) for level in levels)
    return min(max(percents, default=0), MAX_VALUE)


def _place(entitlement_id: str, kind: str, month: str) -> tuple[Key, dict[str, str | int]]:
    ranking = ranking_of(kind, month)
    values: dict[str, str | int] = {
        ":list": ranking_partition(ranking, entitlement_id),
        ":ttl": expires_at(month),
    }
    return rank_key(entitlement_id, ranking), values
