"""The columns of a statement: a row is what one meter costs in one month, in one currency."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from functions.report.entitlement_columns import OF_VENDOR, TERM_ENDS, of_entitlement
from functions.report.table import Column, Entry, Table, amount_text


def _of(name: str) -> Any:
    return lambda _, line: line[name]


def amount_of(_: Entry, line: Entry) -> Decimal:
    """The amount of a line."""
    return Decimal(line["amount"])


def decision_of(name: str) -> Any:
    """A member of the decision about a line."""
    return lambda _, line: (line["decision"] or {}).get(name)


def _decided_amount(_: Entry, line: Entry) -> Decimal | None:
    return Decimal(line["decision"]["amount"]) if line["decision"] else None


def _kinds(name: str) -> Any:
    """A member of the parts, each value once."""
    return lambda _, line: ", ".join(dict.fromkeys(part[name] for part in line["parts"]))


def evidence_text(line: Entry) -> str:
    """The parts of a line, each as a sentence that can be checked by hand."""
    return "; ".join(part_text(part, line) for part in line["parts"] if part["quantity"])


def part_text(part: Entry, line: Entry) -> str:
    """One part: what was used on which day, and how the amount comes about."""
    level = part["level"]
    used = f"{part['day']}: {level['used']:,} used of {level['purchased']:,}"
    if part["opening"]:
        opening = part["opening"]
        used += f" (before: {opening['used']:,} of {opening['purchased']:,})"
    less = [f"{part['free']:,} free"] if part["free"] else []
    less += [f"{part['chargedBefore']:,} charged before"] if part["chargedBefore"] else []
    rest = f", less {', '.join(less)}" if less else ""
    factor = part["factor"]
    times = f" × ({factor})" if " " in factor else f" × {factor}" if factor != "1" else ""
    unit = f"{line['currency']} {part['unitAmount']}"
    return f"{used}{rest}: {part['quantity']:,} × {unit}{times}"


COLUMNS = (
    *of_entitlement("statement"),
    TERM_ENDS,
    Column("lineId", "Line", "text", "The id of the line.", _of("lineId")),
    Column("month", "Month", "text", "In the entitlement's own time zone.", _of("month")),
    Column(
        "meter",
        "Of",
        "text",
        "What is charged: seats, or the usage limit of this key.",
        lambda _, line: line["usageKey"] or "seats",
    ),
    Column(
        "basis",
        "Basis",
        "text",
        "`peak_seats`: the highest overdraft of the month; `seat_days`: each day by its highest;"
        " `units`: usage above what was purchased.",
        _kinds("basis"),
    ),
    Column(
        "charge",
        "Charge",
        "text",
        "`by_month`, or `to_end_of_term`: what was not charged before is charged until the term"
        " ends.",
        _kinds("charge"),
    ),
    Column("currency", "Currency", "text", "Of the amounts, by ISO 4217.", _of("currency")),
    Column("unitAmount", "Price", "text", "The prices in force.", _kinds("unitAmount")),
    Column(
        "quantity",
        "Quantity",
        "count",
        "What is charged: seats, seat-days or units; the sum of the parts.",
        lambda _, line: sum(part["quantity"] for part in line["parts"]),
    ),
    Column(
        "amount",
        "Amount",
        "money",
        "Quantities times prices times months, days or periods; at least the minimum; rounded half"
        " up to the currency's minor unit, once.",
        amount_of,
    ),
    Column(
        "isMinimum",
        "Minimum",
        "text",
        "`yes`: the amount is the minimum of a month in which anything is charged.",
        lambda _, line: "yes" if line["isMinimum"] else None,
    ),
    Column(
        "evidence",
        "Evidence",
        "text",
        "Each step: the day, what was used of what was purchased then, and how the amount comes"
        " about, before it is rounded.",
        lambda _, line: evidence_text(line),
    ),
    Column(
        "decision", "Decision", "text", "`billed`, `waived`, `disputed`.", decision_of("decision")
    ),
    Column(
        "reference",
        "Reference",
        "text",
        "Such as the number of an invoice.",
        decision_of("reference"),
    ),
    Column("reason", "Reason", "text", "Why it was decided so.", decision_of("reason")),
    Column(
        "decidedAmount",
        "Decided amount",
        "money",
        "The amount of the line when it was decided.",
        _decided_amount,
    ),
    Column("decidedAt", "Decided at", "time", "When.", decision_of("decidedAt")),
    *OF_VENDOR,
)


def _lines(entry: Entry) -> Iterator[Entry]:
    yield from entry["lines"]


def _summary(meta: Mapping[str, Any]) -> list[tuple[str, str | float]]:
    """What the workbook says of all rows together."""
    summary = meta["summary"]
    rows: list[tuple[str, str | float]] = [
        ("Entitlements in this statement", summary["entitlements"]),
        ("Lines", summary["lines"]),
    ]
    for each in summary["totals"]:
        rows.append((f"Amount, {each['currency']}", amount_text(each["amount"])))
        rows.append((f"Not decided, {each['currency']}", amount_text(each["undecided"])))
    return rows


TABLE = Table("Lines", COLUMNS, _lines, _summary, {})
