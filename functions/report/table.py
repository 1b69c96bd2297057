"""The table of a kind of report, as its CSV and its workbook have it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from shared.clock import from_rfc3339_ms, zone_of

Entry = Mapping[str, Any]
Cell = str | int | float | Decimal | datetime | None


class Column(NamedTuple):
    """One column; `kind` is `text`, `count`, `hours`, `money` or `time`."""

    name: str
    title: str
    kind: str
    about: str
    value: Callable[[Entry, Entry], Any]


class Table(NamedTuple):
    """The rows of a kind of report: one for each part of an entry.

    `sheet` names it in the workbook. `summary` has what the workbook says of all rows together,
    `figures` titles of changes that are no columns.
    """

    sheet: str
    columns: Sequence[Column]
    parts: Callable[[Entry], Iterator[Entry]]
    summary: Callable[[Mapping[str, Any]], list[tuple[str, str | float]]]
    figures: Mapping[str, str]

    def rows(self, entry: Entry, zone: str) -> Iterator[list[Cell]]:
        """The rows of an entry; times are local to the report's time zone, without an offset."""
        for part in self.parts(entry):
            yield [_cell(column, column.value(entry, part), zone) for column in self.columns]


def _cell(column: Column, value: Any, zone: str) -> Cell:
    if column.kind == "time" and value is not None:
        moment = datetime.fromtimestamp(from_rfc3339_ms(value) / 1000, zone_of(zone))
        return moment.replace(tzinfo=None, microsecond=0)
    return value  # type: ignore[no-any-return]


def amount_text(amount: str) -> str:
    """An amount of money with separators of thousands, and the decimals that it has."""
    whole, _, cents = amount.partition(".")
    return f"{int(whole):,}" + (f".{cents}" if cents else "")
