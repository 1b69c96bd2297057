"""Stream records: reading them, and which of them are processed one after the other."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from functions.notify.stream_images import (
    Version,
    has_totals,
    read_count,
    read_totals,
    read_version,
)
from shared import observability
from shared.dynamodb.keys import (
    SEAT_SHARD_PREFIX,
    TOTALS_PREFIX,
    USAGE_PREFIX,
    Key,
    entitlement_id_of,
    limit_of,
)
from shared.dynamodb.marshalling import item_from_wire
from shared.dynamodb.requests import Item
from shared.seats.placement import wanted_shard_count
from shared.seats.shard import sold_limits

# The sort key of the group of all shards of a pool.
POOL_SHARDS = "SHARDS"


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
            versions = read_totals(old, new)
        return cls(position, key, old, new, versions)


def _one(version: Version | None) -> list[Version]:
    return [version] if version else []


def _key_of(raw: dict[str, Any]) -> Key:
    keys = raw["dynamodb"]["Keys"]
    return Key(keys["pk"]["S"], keys["sk"]["S"])


def read_groups(raw: list[dict[str, Any]]) -> tuple[dict[Key, list[Record]], int | None]:
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


def requests_of(records: Iterable[Record]) -> list[str]:
    """The requests that caused records, for the log."""
    named = {version.change.request for record in records for version in record.versions}
    return sorted(named | {str(r.new["request"]) for r in records if "request" in r.new})


def _group_of(record: Record) -> Key:
    """The shards of a pool are one group, because they share its totals."""
    if record.has_totals:
        return Key(f"{SEAT_SHARD_PREFIX}{entitlement_id_of(record.key.pk)}", POOL_SHARDS)
    return record.key


def has_outgrown(record: Record) -> bool:
    """Whether an only shard without a cap has just got too many seats."""
    new = record.new
    sold = sold_limits(new)
    if "seatCount" not in sold or "hardCap" in sold:
        return False
    before = record.old["seats"] if record.old else {}
    is_small, is_large = (
        wanted_shard_count(None, sold["seatCount"], len(seats)) == 1
        for seats in (before, new["seats"])
    )
    return is_small and not is_large
