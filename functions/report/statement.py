"""The statement of a month or a quarter: what overdraft costs, of all entitlements."""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from functions.report import email
from functions.report.entitlement_columns import contact
from functions.report.evidence import BATCH, batched, matches, sold
from functions.report.exporters import Meta
from functions.report.html import StatementPage
from functions.report.kind import Exporters, Index, Mail, Place, Wanted, exporters_of
from functions.report.statement_columns import TABLE, amount_of, decision_of, evidence_text
from functions.report.table import Entry
from shared.dynamodb.keys import entitlement_key
from shared.dynamodb.requests import BatchGet, Item, Operation, send
from shared.sales import charges, true_up
from shared.validity import status_at

# The file of lines, and the most of a line's evidence in it, in characters.
LINES = "lines.jsonl"
_EVIDENCE = 2_000
_OF_LINE = ("lineId", "usageKey", "month", "currency", "amount")


class LinesFile:
    """The lines of a statement, one JSON document each: what the API lists."""

    def __init__(self, path: Path, _: Meta) -> None:
        self._file = path.open("wb")

    def add(self, entry: Entry, _: bytes) -> None:
        """Write the lines of one entry."""
        of = {
            "entitlementId": entry["entitlementId"],
            "customer": entry["customer"],
            "accountOwner": contact("accountOwner")(entry, entry),
            "product": entry["product"],
            "sku": entry["sku"],
            "isFinal": entry["isFinal"],
        }
        for line in entry["lines"]:
            amount = {name: line[name] for name in _OF_LINE}
            evidence = _cut(evidence_text(line))
            made = json.dumps({**of, **amount, "evidence": evidence}, ensure_ascii=False)
            self._file.write(made.encode() + b"\n")

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


_UNLISTED: Exporters = {LINES: LinesFile}


def _cut(text: str) -> str:
    return text if len(text) <= _EVIDENCE else f"{text[: _EVIDENCE - 1]}…"


class HistoryIncomplete(Exception):
    """History does not have every change of the period yet: the statement has to wait."""


class Statement:
    """The statement of what overdraft costs."""

    name = "trueUp"
    id_names = ("trueUpId", "previousTrueUpId")
    exporters = exporters_of(StatementPage, TABLE)
    unlisted = _UNLISTED

    def entries(self, wanted: Wanted, report: Item) -> Iterator[Operation[list[dict[str, Any]]]]:
        """The entries of these entitlements, as operations of a hundred each."""
        for part in batched(wanted, BATCH):
            yield _entries([entitlement_id for entitlement_id, _ in part], report)

    def index(self, _: Item) -> Index:
        """An index with no entry yet."""
        return StatementIndex()

    def differences(self, old: Entry, new: Entry) -> list[dict[str, Any]]:
        """The amounts and decisions that differ from those of the version before."""
        was = {each["lineId"]: each for each in old["lines"]}
        now = {each["lineId"]: each for each in new["lines"]}
        found = []
        for line_id in dict.fromkeys((*was, *now)):
            for figure, value in (("amount", amount_of), ("decision", decision_of("decision"))):
                before = value(old, was[line_id]) if line_id in was else None
                after = value(new, now[line_id]) if line_id in now else None
                if before != after:
                    texts = [None if each is None else str(each) for each in (before, after)]
                    change = {"before": texts[0], "now": texts[1]}
                    found.append({"of": line_id, "figure": figure, **change})
        return found

    def stored(self, summary: dict[str, Any]) -> dict[str, Any]:
        """A summary as the table stores it: it has no fractions."""
        return summary

    def shown(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """A summary as the API answers it."""
        return dict(kept)

    def mail(self, report: Item, links: Mapping[str, str], expires: str) -> Mail:
        """The e-mail that announces a published statement, with links that expire."""
        return email.of_statement(report, links, expires)


def _entries(entitlement_ids: Sequence[str], report: Item) -> Operation[list[dict[str, Any]]]:
    keys = [entitlement_key(entitlement_id) for entitlement_id in entitlement_ids]
    items = yield from send(BatchGet(tuple(keys)))
    found = []
    for key in keys:
        if key in items and matches(items[key], report["filters"]):
            entry = yield from _entry(items[key], report)
            if entry:
                found.append(entry)
    return found


def _entry(item: Item, report: Item) -> Operation[dict[str, Any] | None]:
    document = item["document"]
    months = true_up.months_named(report["periodName"], document["timeZone"])
    now_ms = report["createdAt"]
    if months[0].start > now_ms:
        return None
    view = yield from charges.view(item, report["periodName"], months, now_ms)
    if months[-1].end <= now_ms and not view["isFinal"]:
        raise HistoryIncomplete
    lines = [line for line in view["lines"] if Decimal(line["amount"]) or line["decision"]]
    if not lines:
        return None
    now = now_ms // 1000
    return {
        "entitlementId": item["entitlementId"],
        "status": status_at(item["status"], item["validFrom"], item.get("validUntil"), now),
        **sold(document),
        "isFinal": view["isFinal"],
        "totals": view["totals"],
        "lines": lines,
    }


# --- Order and totals -----------------------------------------------------------------------------


class _Found(NamedTuple):
    """An entry: what it is ordered by, and where it is."""

    customer: str
    product: str
    entitlement_id: str
    offset: int
    length: int


class StatementIndex:
    """The entries by customer, and the totals by currency."""

    def __init__(self) -> None:
        self._entries: list[_Found] = []
        self._lines = 0
        self._amounts: dict[str, Decimal] = {}
        self._decided: dict[str, dict[str, Decimal]] = {}

    def add(self, entry: Entry, offset: int, length: int) -> None:
        """Note one entry, which is at `offset` of the rows."""
        customer = entry["customer"]["name"].casefold()
        named = (customer, entry["product"], entry["entitlementId"])
        self._entries.append(_Found(*named, offset, length))
        for line in entry["lines"]:
            self._lines += 1
            currency, amount = line["currency"], Decimal(line["amount"])
            self._amounts[currency] = self._amounts.get(currency, Decimal(0)) + amount
            decision = (line["decision"] or {}).get("decision") or "undecided"
            sums = self._decided.setdefault(currency, {})
            sums[decision] = sums.get(decision, Decimal(0)) + amount

    def order(self) -> list[Place]:
        """The entries by customer, product and id."""
        return [Place(each.offset, each.length, {}) for each in sorted(self._entries)]

    def summary(self, _: BinaryIO, __: Sequence[Place]) -> tuple[dict[str, Any], Meta]:
        """The totals, by currency and by decision."""
        totals = [
            {
                "currency": currency,
                "amount": str(amount),
                **{
                    decision: str(self._decided[currency].get(decision, amount * 0))
                    for decision in ("billed", "waived", "disputed", "undecided")
                },
            }
            for currency, amount in sorted(self._amounts.items())
        ]
        counted = {"entitlements": len(self._entries), "lines": self._lines}
        return {**counted, "totals": totals}, {}
