"""Reports made in this process: the product's own steps, with files and jobs in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from functions.report import api
from functions.report.metrics import Period
from functions.report.pipeline import Job, Mailing, Work
from functions.report.storage import Store
from shared import report_links
from shared.api.schemas.reports import REPORT_FORMATS
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import report_key
from shared.dynamodb.requests import Item, Put
from tests.support.tables import read_item

NO_MAIL = Mailing("", ())


class MemoryStore(Store):
    """A bucket in memory."""

    def __init__(self) -> None:
        super().__init__("memory")
        self.files: dict[str, bytes] = {}
        self.types: dict[str, str] = {}

    def put(self, name: str, content: bytes | Path, content_type: str) -> int:
        self.files[name] = content.read_bytes() if isinstance(content, Path) else content
        self.types[name] = content_type
        return len(self.files[name])

    def lines(self, name: str) -> Iterator[bytes]:
        yield from (line for line in self.files[name].split(b"\n") if line)

    def part(self, name: str, start: int, length: int) -> tuple[bytes, int] | None:
        content = self.files.get(name)
        return None if content is None else (content[start : start + length], len(content))

    def has(self, name: str) -> bool:
        return name in self.files

    def delete(self, folder: str, kept: str | None = None) -> None:
        for name in [name for name in self.files if name.startswith(folder)]:
            if not kept or not name.startswith(kept):
                del self.files[name]


class Maker:
    """Asks for reports and makes them, job by job."""

    def __init__(self, dynamodb: DynamoDBClient, mailing: Mailing = NO_MAIL) -> None:
        self.dynamodb = dynamodb
        self.store = MemoryStore()
        self.jobs: list[Job] = []
        self.work = Work(dynamodb, self.store, self.jobs.extend, mailing)
        self._count = 0

    def ask(self, period: Period, now_ms: int, **changes: Any) -> Item:
        """Ask for a report, as a POST does; its item."""
        self._count += 1
        given = {
            "filters": {},
            "formats": [*REPORT_FORMATS],
            "sends_email": False,
            "actor": "key_test",
            "public_url": "https://api.example",
            **changes,
        }
        report_id = f"rep_test{self._count:04d}"
        item = api.item_of(report_id, period, None, "UTC", now_ms=now_ms, **given)
        self.dynamodb.execute(Put(report_key(report_id), item))
        return item

    def make(self, item: Item) -> Item:
        """Do everything until there is nothing more to do; the report's item."""
        self.jobs.append({"reportId": item["reportId"], "step": "plan"})
        while self.jobs:
            self.work.do(self.jobs.pop(0))
        return self.read(item["reportId"])

    def read(self, report_id: str) -> Item:
        found: Item = read_item(self.dynamodb, report_key(report_id))
        return found

    def file(self, report: Item, name: str) -> bytes:
        return self.store.files[report_links.file_name(report["folder"], name)]

    def json(self, report: Item) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.file(report, "json"))
        return result
