"""The report for 10,000 entitlements with a month of history each, on DynamoDB Local.

`make bench-report` seeds a table with what the stream leaves, makes the report in a process of its
own, and prints round trips, read units, time and peak memory of each step. Nothing here depends on
the network: what a step would take in AWS follows from its round trips.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from local.dynamodb import DynamoDBLocal, table_properties
from local.stack import client
from shared.aws_json import Credentials
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    SEATS,
    Key,
    change_key,
    denied_bucket_key,
    entitlement_key,
    episode_key,
    report_candidate_key,
    report_key,
    seat_record_key,
    usage_bucket_key,
)
from shared.dynamodb.requests import BatchPut, Put
from shared.history.buckets import UsageBucket, bucket_name
from shared.history.changes import COUNTS, ChangeRecord
from shared.history.episodes import Episode
from shared.history.level import Level
from tools import ROOT

RESULTS = ROOT / ".local/bench-report.json"
MONTH = 1_790_812_800_000  # 2026-10-01, UTC
NEXT = 1_793_491_200_000
DAY, QUARTER = 86_400_000, 900_000
WORKING_DAYS = [day for day in range(31) if (3 + day) % 7 < 5]  # October 2026 began on a Thursday
PEOPLE = 12
ROUND_TRIP_SECONDS = 0.005  # a query in AWS, published medians being 3 to 5 ms
LAMBDA_SECONDS, LAMBDA_DISK, AT_ONCE = 900, 10.2e9, 20
ENV = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "TABLE_NAME": "bench",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
}
Items = list[tuple[Key, dict[str, Any]]]


def entitlement_of(number: int, *, is_quiet: bool) -> Items:
    """What the stream leaves of one entitlement in a month: two records a working day, and more."""
    chance = random.Random(number)
    entitlement_id = f"ent_{'quiet' if is_quiet else 'bench'}{number:08d}"
    purchased, cap = 100, 120
    document: dict[str, Any] = {
        "product": f"Product {number % 10}",
        "sku": None,
        "customer": {"name": f"Customer {number}", "externalId": f"crm-{number}"},
        "contacts": {"customerAdmin": None, "accountOwner": {"name": None, "email": "o@v.example"}},
        "seatCount": purchased,
        "overdraftSeatLimit": {"type": "absolute", "value": 20},
        "usageLimits": [],
        "unitPrice": {"amount": "30.00", "currency": "USD", "per": "month"},
        "timeZone": "America/New_York",
        "status": "active",
    }
    items: Items = [
        (
            entitlement_key(entitlement_id),
            {
                "entitlementId": entitlement_id,
                "document": document,
                "status": "active",
                "validFrom": 0,
                "createdAt": MONTH,
                "version": 1,
            },
        )
    ]
    seq = 0
    peak = chance.randint(40, 80) if is_quiet else chance.randint(101, 120)
    peak_day = chance.choice(WORKING_DAYS)
    for day in WORKING_DAYS:
        for hour, share in ((13, 1.0), (21, 0.1)):
            start = MONTH + day * DAY + hour * 3_600_000
            used = max(1, round((peak if day == peak_day else peak - 15) * share))
            seq += 30
            items.append(
                (
                    usage_bucket_key(entitlement_id, SEATS, bucket_name(start)),
                    _quarter(start, seq, used, purchased, cap, chance),
                )
            )
            if day == peak_day and hour == 13:
                change = ChangeRecord(
                    seq,
                    start + 600_000,
                    "activated",
                    "key",
                    "req",
                    Level(used, purchased, cap),
                    Level(used - 1, purchased, cap),
                    start,
                    {},
                    {},
                    (),
                )
                items.append((change_key(entitlement_id, change.at, seq), change.to_item()))
                episode = Episode(start, seq, start + 28_800_000, used, 28_800_000, 28_800_000 * 5)
                if used > purchased:
                    items.append((episode_key(entitlement_id, SEATS, start), episode._asdict()))
                    for person in range(3):
                        key = denied_bucket_key(
                            entitlement_id, bucket_name(start), f"denied{person:06d}"
                        )
                        items.append((key, {"attempts": 1 + person}))
    for person in range(PEOPLE):
        key = seat_record_key(entitlement_id, f"person{person:06d}")
        devices = [{"device": "mbp", "from": MONTH, "to": MONTH + DAY}]
        items.append(
            (key, {"seatKey": key.sk, "entitlementId": entitlement_id, "devices": devices})
        )
    if not is_quiet:
        items.append((report_candidate_key(entitlement_id, "2026-10"), {}))
    return items


def _quarter(
    start: int, seq: int, used: int, purchased: int, cap: int, chance: random.Random
) -> dict[str, Any]:
    over = max(0, used - purchased)
    people = tuple(f"person{chance.randrange(PEOPLE):06d}" for _ in range(6))
    bucket = UsageBucket(
        start,
        seq,
        start + QUARTER - 1_000,
        Level(used, purchased, cap),
        max(0, used - 10),
        used,
        used * 890_000,
        600_000 if over else 0,
        over * 600_000,
        {**dict.fromkeys(COUNTS, 0), "activated": 6},
        ((start, purchased, cap),),
        (),
        (),
        None,
        None,
        people,
        people[:2] if over else (),
    )
    return bucket.to_item(bucket.start)


def write(url: str, name: str, numbers: range, items: Callable[[int], Items]) -> int:
    """Write the items of these entitlements; how many items."""
    clients = [open_client(url, name) for _ in range(4)]

    def put(part: tuple[int, list[int]]) -> int:
        which, mine = part
        found = [item for number in mine for item in items(number)]
        clients[which % len(clients)].execute(BatchPut(tuple(found)))
        return len(found)

    rest, parts = iter(numbers), list[tuple[int, list[int]]]()
    while part := list(islice(rest, 10)):
        parts.append((len(parts), part))
    with ThreadPoolExecutor(len(clients)) as pool:
        return sum(pool.map(put, parts))


def seed(url: str, name: str, numbers: range, *, is_quiet: bool) -> int:
    """Write entitlements; how many items."""
    return write(url, name, numbers, lambda number: entitlement_of(number, is_quiet=is_quiet))


def open_client(url: str, name: str, meter: Any = None) -> DynamoDBClient:
    """A client to a table of the engine."""
    return DynamoDBClient(
        name, region="us-east-1", endpoint=url, credentials=Credentials("test", "test"), meter=meter
    )


# --- The report, in a process of its own ---------------------------------------------------------


def make_report(
    url: str, name: str, product: str, folder: Path, formats: list[str]
) -> dict[str, Any]:
    """Make the report of the month; what it cost, by step."""
    from functions.report import api, pipeline
    from functions.report.metrics import Period
    from functions.report.storage import Store

    class FolderStore(Store):
        """The bucket as a folder."""

        def put(self, name: str, content: bytes | Path, _: str) -> int:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else None
            if data is not None:
                target.write_bytes(data)
            elif isinstance(content, Path):
                target.write_bytes(content.read_bytes())
            return target.stat().st_size

        def lines(self, name: str) -> Iterator[bytes]:
            with (folder / name).open("rb") as file:
                yield from (line.rstrip(b"\n") for line in file)

        def has(self, name: str) -> bool:
            return (folder / name).exists()

        def delete(self, folder: str, kept: str | None = None) -> None:
            """They are of use when something looks odd."""

    spent = {"calls": 0, "units": 0.0}

    def meter(_: str, units: float) -> None:
        spent["calls"] += 1
        spent["units"] += units

    dynamodb = open_client(url, name, meter)
    jobs: list[pipeline.Job] = []
    work = pipeline.Work(dynamodb, FolderStore("bench"), jobs.extend, pipeline.Mailing("", ()))
    period = Period(MONTH, NEXT, NEXT, MONTH - 30 * DAY)
    filters = {"product": product} if product else {}
    item = api.item_of(
        f"rep_{time.time_ns()}",
        period,
        "2026-10",
        "UTC",
        filters=filters,
        formats=formats,
        sends_email=False,
        actor="bench",
        public_url="",
        now_ms=NEXT,
    )
    dynamodb.execute(Put(report_key(item["reportId"]), item))
    steps: dict[str, dict[str, float]] = {}
    todo: list[pipeline.Job] = [{"reportId": item["reportId"], "step": "plan"}]
    while todo:
        current = todo.pop(0)
        spent.update(calls=0, units=0.0)
        began, cpu = time.monotonic(), time.process_time()
        report = work._read(item["reportId"])
        assert report is not None
        todo += work._steps[current["step"]](work, report, current)
        step = steps.setdefault(
            current["step"], dict.fromkeys(("count", "calls", "units", "seconds", "cpu"), 0.0)
        )
        step["count"] += 1
        for what in ("calls", "units"):
            step[what] += spent[what]
        step["seconds"] += time.monotonic() - began
        step["cpu"] += time.process_time() - cpu
    made = work._read(item["reportId"])
    assert made is not None
    assert made["status"] == "published"
    disk = sum(path.stat().st_size for path in (folder / item["reportId"]).glob("*/*"))
    # The kernel's own high-water mark of this program (getrusage would give the parent's).
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
    return {
        "entitlements": made["summary"]["entitlements"],
        "steps": steps,
        "peakMb": peak,
        "bytes": disk,
    }


def in_own_process(
    url: str, folder: str, product: str = "", formats: str = "html,xlsx,csv,json"
) -> dict[str, Any]:
    """The same, with its peak memory to itself."""
    command = [sys.executable, "-m", "benchmarks.report", "--child", url, product, folder]
    command.append(formats)
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    measured: dict[str, Any] = json.loads(ran.stdout)
    return measured


# --- What it says ---------------------------------------------------------------------------------


def explain(made: dict[str, Any], tenth: dict[str, Any], plain: dict[str, Any]) -> dict[str, float]:
    """The figures, and what follows from them for a million."""
    count, steps = made["entitlements"], made["steps"]
    part, publish = steps["part"], steps["publish"]
    calls = part["calls"] / count
    seconds = part["cpu"] / count + calls * ROUND_TRIP_SECONDS
    write, write_plain = publish["cpu"] / count, plain["steps"]["publish"]["cpu"] / count
    # The workbook ends at 100,000 rows.
    million = 100_000 * write + 900_000 * write_plain
    return {
        "report.entitlements": count,
        "report.seconds": sum(step["seconds"] for step in steps.values()),
        "report.peak.mb": made["peakMb"],
        "report.tenth.peak.mb": tenth["peakMb"],
        "report.plan.read.units": steps["plan"]["units"],
        "report.part.round.trips": calls,
        "report.part.read.units": part["units"] / count,
        "report.part.cpu.ms": part["cpu"] / count * 1000,
        "report.publish.cpu.ms": write * 1000,
        "report.publish.plain.cpu.ms": write_plain * 1000,
        "report.bytes": made["bytes"] / count,
        "million.parts": 1_000_000 / 500,
        "million.part.seconds": seconds * 500,
        "million.parts.minutes": seconds * 1_000_000 / AT_ONCE / 60,
        "million.publish.seconds": million,
        "million.publish.mb": made["peakMb"]
        + (made["peakMb"] - tenth["peakMb"]) / (0.9 * count) * 1_000_000,
        "million.disk.gb": made["bytes"] / count * 1_000_000 / 1e9,
    }


def main() -> None:
    """Seed, make, print."""
    parser = argparse.ArgumentParser(prog="make bench-report", description=__doc__)
    parser.add_argument("--child", nargs=4)
    parser.add_argument("--count", type=int, default=10_000)
    given = parser.parse_args()
    os.environ |= ENV
    if given.child:
        url, product, folder, formats = given.child
        made = make_report(url, "bench", product, Path(folder), formats.split(","))
        print(json.dumps(made))
        return
    console = Console()
    with DynamoDBLocal() as engine, tempfile.TemporaryDirectory() as folder:
        client(engine.url, "dynamodb").create_table(TableName="bench", **table_properties())
        began = time.monotonic()
        few = max(10, given.count // 20)
        items = seed(engine.url, "bench", range(few), is_quiet=False)
        alone = in_own_process(engine.url, folder)
        items += seed(engine.url, "bench", range(few), is_quiet=True)
        beside = in_own_process(engine.url, folder)
        units = [sum(s["units"] for s in each["steps"].values()) for each in (alone, beside)]
        console.print(
            f"{few} entitlements with something to report: {units[0]:,.0f} read units;"
            f" with {few} quiet ones beside them: {units[1]:,.0f}"
        )
        items += seed(engine.url, "bench", range(few, given.count), is_quiet=False)
        console.print(f"{items:,} items seeded in {time.monotonic() - began:,.0f} s")
        tenth = in_own_process(engine.url, folder, "Product 1")
        made = in_own_process(engine.url, folder)
        plain = in_own_process(engine.url, folder, formats="csv,json")
    results = explain(made, tenth, plain)
    results["report.quiet.read.units"] = units[1] - units[0]
    RESULTS.parent.mkdir(exist_ok=True)
    rounded = {name: round(value, 3) for name, value in results.items()}
    RESULTS.write_text(json.dumps(rounded, indent=2) + "\n")
    grid = Grid("measure", "", title="The report on DynamoDB Local")
    for name, value in rounded.items():
        grid.add_row(name, f"{value:,.3f}".rstrip("0").rstrip("."))
    console.print(grid)
    console.print(
        "report.*: one process, all four formats; part and publish are per entitlement.\n"
        "million.*: 1,000,000 entitlements with something to report,"
        f" {ROUND_TRIP_SECONDS * 1000:.0f} ms a round trip, {AT_ONCE} parts"
        f" at once;\na step may take {LAMBDA_SECONDS} s and"
        f" {LAMBDA_DISK / 1e9:.0f} GB of disk; template.yaml gives Report 3,008 MB.\n"
        "plain: CSV and JSON alone, since the workbook ends"
        f" at 100,000 rows. Written to {RESULTS.relative_to(ROOT)}."
    )


if __name__ == "__main__":
    main()
