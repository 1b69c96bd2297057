"""A true-up as the API, the portal, events and statements show it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict

from shared.clock import to_rfc3339, zone_of
from shared.dynamodb.keys import SEATS, usage_meter, usage_of
from shared.dynamodb.requests import Item
from shared.history.level import Level
from shared.sales.true_up import DAY, PEAK, Line, Part, Share

BILLED, WAIVED, DISPUTED = DECISIONS = ("billed", "waived", "disputed")


class LevelView(TypedDict):
    """What was in use, against both limits."""

    used: int
    purchased: int
    hardCap: int | None


class PartView(TypedDict):
    """One step of a line, with the evidence behind it."""

    what: str
    at: str
    day: str
    level: LevelView
    opening: LevelView | None
    overdraft: int
    free: int
    chargedBefore: int
    quantity: int
    basis: str
    charge: str
    unitAmount: str
    factor: str


class DecisionView(TypedDict):
    """What the vendor has decided about a line."""

    decision: str | None
    reason: str | None
    reference: str | None
    amount: str
    decidedAt: str
    decidedBy: str | None
    decidedByName: str | None


class LineView(TypedDict):
    """What one meter costs in one month, in one currency."""

    lineId: str
    usageKey: str | None
    month: str
    currency: str
    amount: str
    expectedAmount: str
    minimum: str | None
    isMinimum: bool
    parts: list[PartView]
    decision: DecisionView | None


class TotalView(TypedDict):
    """The sum of the lines in one currency."""

    currency: str
    amount: str
    expectedAmount: str


def line_id(line: Line) -> str:
    """The id of a line: `2026-10.EUR.seats`, or `2026-10.EUR.usage.exports`."""
    key = usage_of(line.meter)
    return f"{line.month.name}.{line.currency}.{SEATS if key is None else f'usage.{key}'}"


def parse_line_id(text: str) -> tuple[str, str, str]:
    """The month, the currency and the meter of a line's id."""
    month, currency, meter = text.split(".", 2)
    return month, currency, meter if meter == SEATS else usage_meter(meter.partition(".")[2])


def line_view(line: Line, zone_name: str, decided: Item | None = None) -> LineView:
    """A line with the evidence behind it, and the decision about it, if there is one."""
    return {
        "lineId": line_id(line),
        "usageKey": usage_of(line.meter),
        "month": line.month.name,
        "currency": line.currency,
        "amount": str(line.amount),
        "expectedAmount": str(line.expected),
        "minimum": None if line.minimum is None else str(line.minimum),
        "isMinimum": bool(line.minimum and line.exact and line.exact < line.minimum),
        "parts": [_part_view(part, zone_name) for part in line.parts],
        "decision": decision_view(decided) if decided else None,
    }


def _part_view(part: Part, zone_name: str) -> PartView:
    level, price = part.level, part.price
    # What ends at midnight belongs to the day before.
    at = part.at - (part.what not in (DAY, PEAK))
    day = datetime.fromtimestamp(at / 1000, zone_of(zone_name))
    return {
        "what": part.what,
        "at": to_rfc3339(part.at),
        "day": f"{day:%Y-%m-%d}",
        "level": _level_view(level),
        "opening": None if part.opening is None else _level_view(part.opening),
        "overdraft": level.overdraft,
        "free": price.free,
        "chargedBefore": part.charged_before,
        "quantity": part.quantity,
        "basis": price.basis,
        "charge": price.charge,
        "unitAmount": str(price.amount),
        "factor": factor_text(part),
    }


def _level_view(level: Level) -> LevelView:
    return {"used": level.used, "purchased": level.purchased, "hardCap": level.hard_cap}


def factor_text(part: Part) -> str:
    """For how much of the time a quantity is charged: `31/31`, or `12/31 + 8 + 15/30` months."""
    if not part.shares:
        return str(part.times)
    shown: list[str] = []
    whole = 0
    for share in part.shares:
        if share.days == share.of and len(part.shares) > 1:
            whole += 1
            continue
        shown += [str(whole)] if whole else []
        whole = 0
        shown.append(_share_text(share))
    return " + ".join([*shown, *([str(whole)] if whole else [])])


def _share_text(share: Share) -> str:
    return f"{share.days}/{share.of}"


def totals(lines: Iterable[LineView]) -> list[TotalView]:
    """The sums of the lines, by currency."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for line in lines:
        amount, expected = sums.get(line["currency"], (Decimal(0), Decimal(0)))
        sums[line["currency"]] = (
            amount + Decimal(line["amount"]),
            expected + Decimal(line["expectedAmount"]),
        )
    return [
        {"currency": currency, "amount": str(amount), "expectedAmount": str(expected)}
        for currency, (amount, expected) in sorted(sums.items())
    ]


class DecidedLineView(TypedDict):
    """A line about which was decided, as it was then."""

    lineId: str
    decision: DecisionView
    line: LineView
    earlier: list[DecisionView]


def decided_view(item: Item) -> DecidedLineView:
    """A line about which was decided, with the evidence of then, from its item."""
    decision = decision_view(item)
    line: LineView = item["line"]
    return {
        "lineId": item["lineId"],
        "decision": decision,
        "line": {**line, "decision": decision},
        "earlier": [decision_view(each) for each in item["earlier"]],
    }


def without_reason(line: LineView) -> LineView:
    """A line as the customer sees it: the vendor's reason, and who decided, are the vendor's."""
    decision = line["decision"]
    if decision is None:
        return line
    shown: DecisionView = {**decision, "reason": None, "decidedBy": None, "decidedByName": None}
    return {**line, "decision": shown}


def decision_view(item: Mapping[str, Any]) -> DecisionView:
    """A decision, from its item or from one of the earlier ones in it."""
    return {
        "decision": item.get("decision"),
        "reason": item.get("reason"),
        "reference": item.get("reference"),
        "amount": item["amount"],
        "decidedAt": to_rfc3339(item["decidedAt"]),
        "decidedBy": item["decidedBy"],
        "decidedByName": item.get("decidedByName"),
    }
