"""Change records: accepted versions of a shard or a counter, as history reads them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.audit import EVIDENCE_SECONDS
from shared.dynamodb.keys import SEATS, change_key
from shared.dynamodb.paging import all_of, key_range
from shared.dynamodb.requests import Item, Operation
from shared.history.level import Level
from shared.seats.encoding import Grant

COUNTS = (
    "activated",
    "renewed",
    "released",
    "lease_expired",
    "removed",
    "consumed",
    "requests",
    "corrected",
    "brief",
)
# Changes made at the same moment may be slightly out of order: how far a reader looks back.
DISORDER_MS = 600_000


class ChangeRecord(NamedTuple):
    """One accepted version of a shard or a counter.

    `before` is None where there was nothing, with its time. `seats` has a dict for each seat that
    came, stayed or went: `key`, `kind` (`activated`, `renewed`, `deactivated`), the `reason` of an
    end, `stamp` (the grant id), `overdraft`, `leaseEnd`, and perhaps `borrowed`, and `borrows`: by
    this change. `terms` and `termsBefore` are status and validity. `reached` are the thresholds
    that were triggered.

    Of a usage limit: its key `usage`, the `quantity` that was consumed (by how many `requests`) or
    corrected (with its `note`), and the `period` (Unix seconds). `until`: when the level falls to
    nothing by itself. `occurred`: when it happened, according to the caller.
    """

    seq: int
    at: int
    type: str
    actor: str
    request: str
    level: Level
    before: Level | None
    before_at: int
    terms: Mapping[str, Any]
    terms_before: Mapping[str, Any]
    seats: tuple[Mapping[str, Any], ...]
    reached: tuple[int | str, ...] = ()
    usage: str = ""
    quantity: int = 0
    requests: int = 1
    note: str = ""
    period: tuple[int, int | None] | None = None
    until: int | None = None
    occurred: int | None = None

    def counts(self) -> dict[str, int]:
        """The number of seats that came and went, by kind, and the quantity that was consumed."""
        counted = dict.fromkeys(COUNTS, 0)
        if self.type in ("consumed", "corrected"):
            counted[self.type] = self.quantity
        counted["requests"] = self.requests if self.type == "consumed" else 0
        for seat in self.seats:
            counted[seat.get("reason") or seat["kind"]] += 1
            if seat.get("reason") in ("released", "lease_expired"):
                counted["brief"] += int(self._ended(seat) - granted_at(seat["stamp"]) < BRIEF_MS)
        return counted

    def _ended(self, seat: Mapping[str, Any]) -> int:
        """When a seat ended: a lease ends by itself before it is swept."""
        if seat["reason"] == "released" or seat.get("leaseEnd") is None:
            return self.at
        return min(self.at, int(seat["leaseEnd"]) * 1000)

    def takers(self) -> tuple[list[str], list[str]]:
        """The keys of the seats that were taken, and of those taken in overdraft."""
        taken = [seat for seat in self.seats if seat["kind"] == "activated"]
        return [seat["key"] for seat in taken], [s["key"] for s in taken if s["overdraft"]]

    def to_item(self) -> Item:
        """The item, which is stored for 13 months and names nobody."""
        return {
            "seq": self.seq,
            "at": self.at,
            "type": self.type,
            "actor": self.actor,
            "request": self.request,
            "level": list(self.level),
            "before": None if self.before is None else list(self.before),
            "beforeAt": self.before_at,
            "terms": dict(self.terms),
            "termsBefore": dict(self.terms_before),
            "seats": [dict(seat) for seat in self.seats],
            "reached": list(self.reached),
            "ttl": self.at // 1000 + EVIDENCE_SECONDS,
            **(
                {
                    "usage": self.usage,
                    "quantity": self.quantity,
                    "requests": self.requests,
                    "note": self.note,
                    "period": list(self.period or ()),
                    "until": self.until,
                }
                if self.usage
                else {}
            ),
            **({"occurredAt": self.occurred} if self.occurred else {}),
        }

    @classmethod
    def of(cls, item: Item) -> "ChangeRecord":
        """The change in its item."""
        before = item.get("before")
        return cls(
            item["seq"],
            item["at"],
            item["type"],
            item["actor"],
            item["request"],
            Level(*item["level"]),
            None if before is None else Level(*before),
            item["beforeAt"],
            item["terms"],
            item["termsBefore"],
            tuple(item["seats"]),
            tuple(item["reached"]),
            item.get("usage", ""),
            item.get("quantity", 0),
            item.get("requests", 1),
            item.get("note", ""),
            (item["period"][0], item["period"][1]) if item.get("period") else None,
            item.get("until"),
            item.get("occurredAt"),
        )


def granted_at(grant_id: int) -> int:
    """When the grant with this id was made."""
    return Grant(grant_id, is_overdraft=False, lease_end=None).activated_at_ms


def changes_between(
    entitlement_id: str, start: int, end: int, meter: str = SEATS
) -> Operation[list[ChangeRecord]]:
    """The change records from `start` to before `end`, in the order of `seq`."""
    pk = change_key(entitlement_id, 0, 0, meter=meter).pk
    items = yield from all_of(key_range(pk, f"{start:013d}", f"{end - 1:013d}#~"))
    return sorted((ChangeRecord.of(item) for item in items), key=lambda change: change.seq)


# A seat that was released this soon was hardly used. Many of them are a sign of a shared account.
BRIEF_MS = 600_000
