"""What is particular to a kind of report: its entries, their order, its files, its e-mail."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from functions.report.exporters import Csv, Exporter, Json, Meta, Xlsx
from functions.report.table import Entry, Table
from shared.dynamodb.requests import Item, Operation

# What makes the file of a format.
Exporters = Mapping[str, Callable[[Path, Meta], Exporter]]
NO_FILES: Exporters = {}
Wanted = Sequence[tuple[str, list[str]]]


def exporters_of(page: Callable[[Path, Meta], Exporter], table: Table) -> Exporters:
    """The files of a kind: its own page, and its table in the forms that every kind has."""
    return {
        "html": page,
        "xlsx": lambda path, meta: Xlsx(path, meta, table),
        "csv": lambda path, meta: Csv(path, meta, table),
        "json": Json,
    }


class Place(NamedTuple):
    """Where an entry is in the file of rows, and the members that it gets besides."""

    offset: int
    length: int
    more: Mapping[str, Any]


class Index(Protocol):
    """Where each entry is, in which order they are shown, and the totals of all."""

    def add(self, entry: Entry, offset: int, length: int) -> None:
        """Note one entry, which is at `offset` of the rows."""

    def order(self) -> list[Place]:
        """The entries in the order in which they are shown."""
        ...

    def summary(self, rows: BinaryIO, order: Sequence[Place]) -> tuple[dict[str, Any], Meta]:
        """The totals, and what else the files say of all entries together."""
        ...


class Mail(NamedTuple):
    """An e-mail that announces a report."""

    subject: str
    text: str
    html: str


class Kind(Protocol):
    """A kind of report.

    `id_names` are the members of its files with its id, and that of the version before.
    `exporters` make its files, by format; `unlisted` those that only the API reads, by name.
    """

    name: str
    id_names: tuple[str, str]
    exporters: Exporters
    unlisted: Exporters

    def entries(self, wanted: Wanted, report: Item) -> Iterator[Operation[list[dict[str, Any]]]]:
        """The entries of these entitlements and meters, as operations of a hundred each."""
        ...

    def index(self, report: Item) -> Index:
        """An index with no entry yet."""
        ...

    def differences(self, old: Entry, new: Entry) -> list[dict[str, Any]]:
        """The figures of an entry that differ from those of the version before."""
        ...

    def stored(self, summary: dict[str, Any]) -> dict[str, Any]:
        """A summary as the table stores it, which has no fractions."""
        ...

    def shown(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """A summary as the API answers it."""
        ...

    def mail(self, report: Item, links: Mapping[str, str], expires: str) -> Mail:
        """The e-mail that announces a published report, with links that expire."""
        ...
