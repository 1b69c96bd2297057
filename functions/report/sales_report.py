"""The report for sales: who was over, whom to call, in which order."""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, BinaryIO, NamedTuple

from functions.report import email, evidence
from functions.report.call_list import ABOUT, CALLS, MAILED, Facts, call, facts_of, score
from functions.report.columns import COLUMNS, TABLE, meters, requests_of
from functions.report.digest import Digest
from functions.report.exporters import Meta
from functions.report.html import Page
from functions.report.kind import NO_FILES, Index, Mail, Place, Wanted, exporters_of
from functions.report.metrics import Period
from functions.report.table import Entry
from shared.clock import hours_of
from shared.dynamodb.requests import Item, Operation
from shared.sales import seat_requests

# Not figures of the period: they do not make a new version differ.
_NOT_COMPARED = frozenset(
    (
        "status",
        "score",
        "validUntil",
        "daysToEnd",
        "overdraftSince",
        "overdraftEndsAt",
        "average",
        "utilisation",
        "unitPrice",
        "trueUpToEnd",
        "trueUpCurrency",
        "pricePer",
        "currency",
        "customerPhone",
        "followUp",
        "followUpOwner",
        "followUpNote",
        "accountOwner",
        "customerAdmin",
        "customer",
        "customerExternalId",
        "externalId",
        "metadata",
        "product",
        "sku",
    )
)


class SalesReport:
    """The report for sales."""

    name = "sales"
    id_names = ("reportId", "previousReportId")
    exporters = exporters_of(Page, TABLE)
    unlisted = NO_FILES

    def entries(self, wanted: Wanted, report: Item) -> Iterator[Operation[list[dict[str, Any]]]]:
        """The entries of these entitlements and meters, as operations of a hundred each."""
        period = Period(report["start"], report["end"], report["until"], report["previous"])
        now = report["createdAt"] // 1000
        percent = report.get("underUse", 0)
        return evidence.entries(wanted, period, report["filters"], now, percent)

    def index(self, report: Item) -> Index:
        """An index with no entry yet."""
        is_week = bool(report["period"].get("week"))
        return SalesIndex(report["until"], report.get("underUse", 0), has_digest=is_week)

    def differences(self, old: Entry, new: Entry) -> list[dict[str, Any]]:
        """The figures of an entry that differ from those of the version before."""
        return _differences(old, new)

    def stored(self, summary: dict[str, Any]) -> dict[str, Any]:
        """A summary as the table stores it, which has no fractions."""
        return {**summary, "seatHours": str(summary["seatHours"])}

    def shown(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """A summary as the API answers it. Those of earlier releases lack what came later."""
        since = {
            "underUsed": kept.get("underUsed", 0),
            "digest": kept.get("digest"),
            "calls": kept.get("calls", []),
        }
        return {**kept, **since, "seatHours": float(kept["seatHours"])}

    def mail(self, report: Item, links: Mapping[str, str], expires: str) -> Mail:
        """The e-mail that announces a published report, with links that expire."""
        if report["period"].get("week"):
            return email.of_digest(report, links, expires)
        return email.of_sales_report(report, links, expires)


class _Found(NamedTuple):
    """An entry: where it is, what it is ordered by, and the facts of its score."""

    offset: int
    length: int
    entitlement_id: str
    extra: int
    over: float
    facts: Facts


class SalesIndex:
    """Where each entry is, how urgent a call is, and the totals of all."""

    def __init__(self, until: int, under_use: int, *, has_digest: bool) -> None:
        self._digest = Digest(until) if has_digest else None
        self._until = until
        self._under_use = under_use
        self._entries: list[_Found] = []
        self._sums: dict[str, Any] = dict.fromkeys(
            (
                "entitlements",
                "inOverdraft",
                "denied",
                "deniedSeats",
                "deniedRequests",
                "deniedAttempts",
                "underUsed",
            ),
            0,
        )
        self._seat_seconds = 0
        self._worth: dict[str, Decimal] = {}
        self._largest: dict[str, Decimal] = {}
        self._count: dict[str, int] = {}

    def add(self, entry: Entry, offset: int, length: int) -> None:
        """Note one entry, which is at `offset` of the rows."""
        seats = entry["seats"] or {}
        extra = seats.get("suggested", {}).get("additional", 0)
        over = seats.get("overdraftSeatSeconds", 0)
        facts = facts_of(entry, self._until)
        self._entries.append(_Found(offset, length, entry["entitlementId"], extra, over, facts))
        all_of = list(meters(entry))
        self._sums["underUsed"] += any(each.get("underUse") for each in all_of)
        if entry.get("isUnderUse"):
            return
        if self._digest:
            self._digest.add(entry)
        self._sums["entitlements"] += 1
        self._sums["inOverdraft"] += any(each["overdraftDays"] for each in all_of)
        self._sums["denied"] += any(each["deniedAttempts"] for each in all_of)
        self._sums["deniedSeats"] += seats.get("deniedSeats", 0)
        self._sums["deniedRequests"] += sum(each["deniedRequests"] for each in entry["usage"])
        self._sums["deniedAttempts"] += sum(each["deniedAttempts"] for each in all_of)
        self._seat_seconds += over
        if worth := entry["monthlyValue"]:
            amount, currency = Decimal(worth["amount"]), worth["currency"]
            self._count[currency] = self._count.get(currency, 0) + 1
            self._worth[currency] = self._worth.get(currency, Decimal(0)) + amount
            self._largest[currency] = max(amount, self._largest.get(currency, amount))

    def order(self) -> list[Place]:
        """The entries by score; those of one score by seats to sell, then by overdraft."""
        scored = [(score(each.facts, self._largest), each) for each in self._entries]
        scored.sort(key=lambda s: (-s[0], -s[1].extra, -s[1].over, s[1].entitlement_id))
        return [Place(each.offset, each.length, {"score": points}) for points, each in scored]

    def summary(self, rows: BinaryIO, order: Sequence[Place]) -> tuple[dict[str, Any], Meta]:
        """The totals, with money by currency; the call list, and what its score is made of."""
        calls = _calls(rows, order[:CALLS], self._until)
        digest = self._digest.view() if self._digest else None
        totals = {**self._totals(), "digest": digest, "calls": calls[:MAILED]}
        return totals, {"calls": calls, "scoreAbout": ABOUT, "underUse": self._under_use}

    def _totals(self) -> dict[str, Any]:
        return {
            **self._sums,
            "seatHours": hours_of(self._seat_seconds * 1000),
            "monthlyValue": [
                {"amount": str(amount.quantize(Decimal("0.01"))), "currency": currency}
                for currency, amount in sorted(
                    self._worth.items(), key=lambda each: (-self._count[each[0]], each[0])
                )
            ],
        }


def _calls(rows: BinaryIO, places: Sequence[Place], until: int) -> list[dict[str, Any]]:
    """The call list: those of these entries that have a score."""
    found: list[dict[str, Any]] = []
    for place in places:
        points = place.more["score"]
        if not points:
            break
        rows.seek(place.offset)
        found.append(call(json.loads(rows.read(place.length)), points, until))
    return found


def _open_requests(entry: Entry) -> str | None:
    """What the customer asks for in all; None: no request is open."""
    unanswered = seat_requests.unanswered(requests_of(entry))
    return " and ".join(seat_requests.in_all(unanswered)) or None


def _differences(old: Entry, new: Entry) -> list[dict[str, Any]]:
    was = {each.get("key", "seats"): each for each in meters(old)}
    now = {each.get("key", "seats"): each for each in meters(new)}
    found = []
    for figure, before, after in (
        ("status", old["status"], new["status"]),
        ("openRequests", _open_requests(old), _open_requests(new)),
    ):
        if before != after:
            found.append({"of": "", "figure": figure, "before": before, "now": after})
    for meter in dict.fromkeys((*was, *now)):
        for column in COLUMNS:
            if column.name in _NOT_COMPARED or column.name == "meter":
                continue
            values = [
                column.value(entry, each[meter]) if meter in each else None
                for entry, each in ((old, was), (new, now))
            ]
            values = [None if value is None else str(value) for value in values]
            if values[0] != values[1]:
                difference = {"before": values[0], "now": values[1]}
                found.append({"of": meter, "figure": column.name, **difference})
    return found
