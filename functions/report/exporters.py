"""The exporters of a report, CSV, XLSX and JSON. They write entry by entry: memory stays flat."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from functions.report.table import Cell, Entry, Table
from shared.clock import from_rfc3339_ms, in_zone
from shared.texts import TURNING

Meta = Mapping[str, Any]
# Where a spreadsheet may read a text as a formula (OWASP, "CSV injection"): at its beginning, and
# after a separator of cells, which in some countries is not the comma.
FORMULA = re.compile(r"(?:^|(?<=[;\t\r\n]))(?=[\t\r\n]|[\"'\s]*[=+\-@＝＋－＠])")
XLSX_ROWS = 100_000  # a sheet could hold ten times as many, which nobody could use
XLSX_TEXT = 32_767
_FORMATS = {"hours": "#,##0.00", "time": "yyyy-mm-dd hh:mm", "count": "#,##0"}
_WIDTHS = {"text": 22, "time": 17, "money": 14, "hours": 12, "count": 11}


class Exporter(Protocol):
    """Takes a report's entries in their order and writes a file."""

    def add(self, entry: Entry, line: bytes) -> None:
        """Write one entry; `line` is the same as JSON."""

    def close(self) -> None:
        """Finish: nothing more comes."""


class Csv:
    """CSV in UTF-8 with a byte order mark, for Excel; texts cannot become formulas."""

    def __init__(self, path: Path, meta: Meta, table: Table) -> None:
        self._zone = meta["period"]["timeZone"]
        self._table = table
        self._file = path.open("w", encoding="utf-8-sig", newline="")
        self._writer = csv.writer(self._file, quoting=csv.QUOTE_ALL)
        self._writer.writerow([column.name for column in table.columns])

    def add(self, entry: Entry, _: bytes) -> None:
        """Write the rows of one entry."""
        for row in self._table.rows(entry, self._zone):
            self._writer.writerow([_text_of(cell) for cell in row])

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def _text_of(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ")
    if isinstance(cell, (int, float, Decimal)):
        return str(cell)
    return FORMULA.sub("'", TURNING.sub("", cell))


class Json:
    """The whole report as one JSON document."""

    def __init__(self, path: Path, meta: Meta) -> None:
        self._file = path.open("wb")
        head = json.dumps(meta, ensure_ascii=False)
        self._file.write(f'{head[:-1]}, "entitlements": ['.encode())
        self._separator = b"\n"

    def add(self, _: Entry, line: bytes) -> None:
        """Write one entry."""
        self._file.write(self._separator + line)
        self._separator = b",\n"

    def close(self) -> None:
        """Finish the document."""
        self._file.write(b"\n]}\n")
        self._file.close()


class Xlsx:
    """A workbook: the rows, a summary, changes since the last version, definitions.

    It has at most 100,000 rows; CSV and JSON have all. The summary says so.
    """

    def __init__(self, path: Path, meta: Meta, table: Table) -> None:
        self._meta = meta
        self._table = table
        self._zone = meta["period"]["timeZone"]
        # Rows are written as they come; texts stay texts, whatever they begin with.
        self._book = xlsxwriter.Workbook(
            str(path),
            {
                "constant_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        self._bold = self._book.add_format({"bold": True, "text_wrap": True, "valign": "top"})
        self._wrap = self._book.add_format({"text_wrap": True, "valign": "top"})
        self._formats = {
            kind: self._book.add_format({"num_format": form}) for kind, form in _FORMATS.items()
        }
        self._money: dict[int, Format] = {}
        self._sheet = self._sheet_of(table.sheet, [column.title for column in table.columns])
        for number, column in enumerate(table.columns):
            self._sheet.set_column(number, number, _WIDTHS[column.kind])
        self._row = 0
        self._left_out = 0

    def _sheet_of(self, name: str, titles: Sequence[str]) -> Worksheet:
        sheet = self._book.add_worksheet(name)
        for number, title in enumerate(titles):
            sheet.write_string(0, number, title, self._bold)
        sheet.freeze_panes(1, 0)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        return sheet

    def add(self, entry: Entry, _: bytes) -> None:
        """Write the rows of one entry."""
        if self._row >= XLSX_ROWS:
            self._left_out += 1
            return
        for row in self._table.rows(entry, self._zone):
            self._row += 1
            for number, (column, cell) in enumerate(zip(self._table.columns, row, strict=True)):
                self._write(number, column.kind, cell)

    def _write(self, number: int, kind: str, cell: Cell) -> None:
        sheet = self._sheet
        if cell is None:
            return
        if isinstance(cell, datetime):
            sheet.write_datetime(self._row, number, cell, self._formats[kind])
        elif isinstance(cell, str):
            sheet.write_string(self._row, number, TURNING.sub("", cell)[:XLSX_TEXT])
        elif isinstance(cell, Decimal):
            sheet.write_number(self._row, number, float(cell), self._money_format(cell))
        else:
            sheet.write_number(self._row, number, float(cell), self._formats[kind])

    def _money_format(self, amount: Decimal) -> Format:
        """The format of an amount, with the decimals that it has."""
        exponent = amount.as_tuple().exponent
        digits = max(0, -exponent) if isinstance(exponent, int) else 0
        if digits not in self._money:
            form = "#,##0" + ("." + "0" * digits if digits else "")
            self._money[digits] = self._book.add_format({"num_format": form})
        return self._money[digits]

    def close(self) -> None:
        """Write the other sheets and finish the workbook."""
        self._sheet.autofilter(0, 0, max(1, self._row), len(self._table.columns) - 1)
        self._summary()
        self._changes()
        self._definitions()
        self._book.close()

    def _summary(self) -> None:
        meta = self._meta
        sheet = self._sheet_of("Summary", ["What", "Figure"])
        sheet.set_column(0, 0, 34)
        sheet.set_column(1, 1, 30)
        rows: list[tuple[str, str | float]] = [
            ("Period from", self._local(meta["period"]["from"])),
            ("Period to", self._local(meta["period"]["to"])),
            ("Time zone", meta["period"]["timeZone"]),
            ("Is the period over", "yes" if meta["isComplete"] else "no: as it stood when made"),
            ("Made", self._local(meta["publishedAt"])),
            *((f"Only this {name}", value) for name, value in meta["filters"].items()),
            ("Version", meta["version"]),
            *self._table.summary(meta),
        ]
        if self._left_out:
            rows.append(("Entitlements that only CSV and JSON hold", self._left_out))
        for row, (what, figure) in enumerate(rows, 1):
            sheet.write_string(row, 0, what)
            if isinstance(figure, str):
                sheet.write_string(row, 1, figure)
            else:
                sheet.write_number(row, 1, figure)

    def _local(self, time: str) -> str:
        zone = self._meta["period"]["timeZone"]
        return in_zone(from_rfc3339_ms(time), zone)

    def _changes(self) -> None:
        changes = self._meta["changes"]
        if changes is None:
            return
        titles = {column.name: column for column in self._table.columns}
        names = ["Customer", "Product", "Entitlement", "Of", "Figure", "Before", "Now"]
        sheet = self._sheet_of("Changes", names)
        sheet.set_column(0, len(names) - 1, 24)
        row = 0
        for change in changes["entitlements"]:
            about = (change["customer"], change["product"], change["entitlementId"])
            for each in change["figures"] or [{"of": "", "figure": change["what"]}]:
                row += 1
                column = titles.get(each["figure"])
                values = [each.get("before"), each.get("now")]
                if column and column.kind == "time":
                    values = [value and self._local(value) for value in values]
                texts = (
                    *about,
                    each["of"],
                    column.title
                    if column
                    else self._table.figures.get(each["figure"], each["figure"]),
                    *values,
                )
                for number, text in enumerate(texts):
                    sheet.write_string(row, number, "" if text is None else str(text)[:XLSX_TEXT])

    def _definitions(self) -> None:
        sheet = self._sheet_of("Definitions", ["Column", "Name in CSV", "What it is"])
        sheet.set_column(0, 1, 24)
        sheet.set_column(2, 2, 100)
        for row, column in enumerate(self._table.columns, 1):
            sheet.write_string(row, 0, column.title, self._wrap)
            sheet.write_string(row, 1, column.name, self._wrap)
            sheet.write_string(row, 2, column.about, self._wrap)
