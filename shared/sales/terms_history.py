"""The terms of an entitlement over time, from its audit trail. Times are Unix milliseconds."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from shared.clock import from_rfc3339_ms
from shared.dynamodb.keys import audit_key, usage_of
from shared.dynamodb.paging import all_of, key_range
from shared.dynamodb.requests import Item, Operation
from shared.sales.overdraft_price import OverdraftPrice, price_of

_CHANGES = ("entitlement.created", "entitlement.updated", "entitlement.deleted")
# The members that decide what an overdraft costs.
_MEMBERS = ("seatCount", "overdraftPrice", "usageLimits", "validFrom", "validUntil")


class Terms(NamedTuple):
    """The price of a meter and the validity, from `start` on; `valid_until` None: open-ended.

    `resets`: it is a usage limit whose count begins anew with each of its periods.
    """

    start: int
    price: OverdraftPrice | None
    valid_from: int
    valid_until: int | None
    resets: bool = False

    def is_valid(self, at: int) -> bool:
        """Whether the entitlement is valid at a time under these terms."""
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)


class TermsHistory:
    """The terms of one meter, given in the order of time. The first hold from the beginning."""

    def __init__(self, terms: Iterable[Terms]) -> None:
        self.all = tuple(terms)
        self._starts = [each.start for each in self.all]

    def at(self, at: int) -> Terms:
        """The terms in force at a time."""
        return self.all[max(0, bisect_right(self._starts, at) - 1)]

    @property
    def is_priced(self) -> bool:
        """Whether there ever was a price."""
        return any(each.price for each in self.all)

    def cuts(self) -> set[int]:
        """The times at which anything begins or ends to hold."""
        found = {*self._starts[1:]}
        for each in self.all:
            found.add(each.valid_from)
            if each.valid_until is not None:
                found.add(each.valid_until)
        return found


def changes_since(entitlement_id: str, start: int) -> Operation[list[Item]]:
    """The changes of the entitlement from a time on, oldest first, as the audit trail has them."""
    pk = audit_key(entitlement_id, 0, "").pk
    found = yield from all_of(key_range(pk, f"{start:013d}", "~"))
    return [item for item in found if item["type"] in _CHANGES]


def history_of(item: Item, meter: str, changes: Iterable[Item]) -> TermsHistory:
    """The terms of a meter: those of now, and before each of these changes those before it."""
    document: Mapping[str, Any] = item["document"]
    found: list[Terms] = []
    is_deletion_known = False
    for change in sorted(changes, key=lambda each: each["at"], reverse=True):
        if change["type"] == "entitlement.deleted":
            # What was charged to the end of the term before stays.
            is_deletion_known = True
            found.append(_terms(change["at"], document, meter)._replace(valid_until=change["at"]))
            continue
        differences = {k: v for k, v in change["changes"].items() if k in _MEMBERS}
        if change["type"] == "entitlement.created" or not differences:
            continue
        found.append(_terms(change["at"], document, meter))
        document = {**document, **{name: each["before"] for name, each in differences.items()}}
    first = _terms(0, document, meter)
    if item["status"] == "deleted" and not is_deletion_known:
        first = first._replace(valid_until=item["updatedAt"])  # on record, but longer ago
    return TermsHistory([first, *reversed(found)])


def _terms(start: int, document: Mapping[str, Any], meter: str) -> Terms:
    until = document.get("validUntil")
    return Terms(
        start,
        price_of(document, meter),
        from_rfc3339_ms(document["validFrom"]),
        None if until is None else from_rfc3339_ms(until),
        _resets(document, usage_of(meter)),
    )


def _resets(document: Mapping[str, Any], key: str | None) -> bool:
    limits = document.get("usageLimits") or ()
    return any(each["key"] == key and each["resetSchedule"] != "never" for each in limits)
