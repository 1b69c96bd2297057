"""The report pipeline: plan, read parts, put together, publish, notify.

Each step can be done again, and by two processes at once. Each attempt to plan or to publish writes
files of its own, and the report's item names those that count. Nothing is shown before the item
says `published`, in the transaction that makes it the newest version.
"""

import hashlib
import json
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from functions.report import email
from functions.report.evidence import batched, candidates
from functions.report.kind import Kind
from functions.report.metrics import Period
from functions.report.sales_report import SalesReport
from functions.report.statement import Statement
from functions.report.storage import Store
from functions.report.table import Entry
from functions.report.under_use import all_entitlements
from shared import aws, observability, report_links, signed_tokens
from shared.clock import now_ms as clock
from shared.clock import to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.expressions import assign, set_and_remove
from shared.dynamodb.keys import (
    CANDIDATE_SHARDS,
    report_candidate_shard,
    report_job_key,
    report_key,
    report_series_key,
)
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    Get,
    Item,
    LostRace,
    Put,
    Refused,
    Transact,
    Update,
)
from shared.ids import new_id

# The most account owners who get a report of their own.
MOST_OWNERS = 1_000
PART = 500  # the entitlements that one step reads
ROUNDS = 5
JOB_SECONDS = 15 * 86_400  # longer than a job stays in its queue
CHANGES_SHOWN = 1_000
# The folder of parts until the report is published. S3 deletes what a crash leaves there.
PARTS = "parts/"
ROWS = "rows.jsonl"
TYPES = {
    "html": "text/html; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
KINDS: dict[str, Kind] = {kind.name: kind for kind in (SalesReport(), Statement())}

Job = dict[str, Any]
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Mailing(NamedTuple):
    """From whom and to whom published reports are e-mailed; without a sender, to nobody."""

    sender: str
    recipients: tuple[str, ...]
    configuration: str = ""  # the name of the SES configuration set; empty: SES's default


class MailFailed(Exception):
    """A published report could not be e-mailed to somebody."""


class StepFailed(Exception):
    """A step of a report failed; its cause is the reason."""

    def __init__(self, step: str) -> None:
        super().__init__(step)
        self.step = step


class Work:
    """Does the jobs of reports with a client, a storage and a queue for the next jobs."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        store: Store,
        queue: Callable[[list[Job]], None],
        mailing: Mailing,
    ) -> None:
        self._dynamodb = dynamodb
        self._store = store
        self._queue = queue
        self._mailing = mailing

    def do(self, job: Job) -> None:
        """Do one job, then what follows: directly if it is one job, through the queue if more."""
        following: list[Job] = [job]
        while len(following) == 1:
            job = following[0]
            try:
                report = self._read(job["reportId"])
                if report is None:
                    return
                if report["status"] == "failed":
                    self._clear(report["reportId"])
                    return
                following = self._steps[job["step"]](self, report, job)
            except Exception as error:
                raise StepFailed(job["step"]) from error
        if following:
            self._queue(following)

    def begin(self, job: Job, now: int) -> int:
        """The number of this attempt at a job, from 1; `now` in Unix seconds.

        It is counted here, because the queue also counts deliveries that never arrived. A part that
        is done already only leads on.
        """
        report = self._read(job["reportId"]) or {}
        if str(job.get("number")) in report.get("done", ()):
            return 1
        reply = self._dynamodb.execute(
            Update(
                report_job_key(job["reportId"], job["step"], job.get("number", 0)),
                "SET #ttl = :ttl ADD attempts :one",
                "",
                {"#ttl": "ttl"},
                {":ttl": now + JOB_SECONDS, ":one": 1},
            )
        )
        assert isinstance(reply, Accepted)
        assert reply.item
        attempt: int = reply.item["attempts"]
        return attempt

    def _read(self, report_id: str) -> Item | None:
        item: Item | None = self._dynamodb.execute(Get(report_key(report_id)))
        return item

    # --- Plan -------------------------------------------------------------------------------------

    def _plan(self, report: Item, _: Job) -> list[Job]:
        """Find the candidates, in parts; one job for each part."""
        if report["status"] == "published":
            return [_job(report, "publish")]
        if "partCount" not in report and "parent" in report:
            self._take_over(report)
            return [_job(report, "plan")]
        if "partCount" not in report:
            plan = secrets.token_hex(4)
            count = 0
            for part in batched(self._candidates(report), PART):
                content = json.dumps([[entitlement_id, sorted(of)] for entitlement_id, of in part])
                name = _part_name({**report, "plan": plan}, count, "plan")
                self._store.put(name, content.encode(), TYPES["json"])
                count += 1
            self._dynamodb.execute(_plan_update(report, plan, count))
            return [_job(report, "plan")]  # or the attempt that was faster: as the item says now
        return self._left(report)

    def _left(self, report: Item) -> list[Job]:
        done = report.get("done", frozenset())
        left = [number for number in range(report["partCount"]) if str(number) not in done]
        if not left:
            return [_job(report, "publish")]
        return [_job(report, "part", number=number) for number in left]

    def _candidates(self, report: Item) -> Iterator[tuple[str, set[str]]]:
        """Partition by partition, each in the order of ids: every version has the same order."""
        period = _period(report)
        only = report["filters"].get("entitlementId")
        shards = [report_candidate_shard(only)] if only else range(CANDIDATE_SHARDS)
        every = self._dynamodb.run(all_entitlements()) if report.get("underUse") else {}
        for shard in shards:
            found = self._dynamodb.run(candidates(shard, period))
            for entitlement_id in every.get(shard, ()):
                found.setdefault(entitlement_id, set())
            for entitlement_id in sorted(found):
                if only in (None, entitlement_id):
                    yield entitlement_id, found[entitlement_id]

    # --- Part -------------------------------------------------------------------------------------

    def _part(self, report: Item, job: Job) -> list[Job]:
        """Read the evidence of one part's entitlements and store their entries."""
        number = job["number"]
        if report["status"] == "published":
            return [_job(report, "publish")]
        if str(number) in report.get("done", ()):
            return self._finished(report)
        wanted = json.loads(b"".join(self._store.lines(_part_name(report, number, "plan"))))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows"
            with path.open("wb") as rows:
                for step in kind_of(report).entries(wanted, report):
                    for entry in self._dynamodb.run(step):
                        rows.write(_encode(entry).encode() + b"\n")
            self._store.put(_part_name(report, number, "rows"), path, TYPES["json"])
        reply = self._dynamodb.execute(
            Update(
                report_key(report["reportId"]),
                "ADD done :number",
                "#status = :running",
                {"#status": "status"},
                {":number": frozenset((str(number),)), ":running": "running"},
            )
        )
        if isinstance(reply, Accepted) and reply.item:
            return self._finished(reply.item)
        return [_job(report, "publish")]  # published or given up: what this attempt left is deleted

    @staticmethod
    def _finished(report: Item) -> list[Job]:
        """The process that finds the last part done publishes, even if it is told twice."""
        is_last = len(report["done"]) == report["partCount"]
        return [_job(report, "publish")] if is_last else []

    # --- Publish ----------------------------------------------------------------------------------

    def _publish(self, report: Item, _: Job) -> list[Job]:
        """Put the parts together, write the files, publish them as the newest version."""
        for _round in range(ROUNDS):
            if report["status"] != "running":
                break
            series = self._dynamodb.execute(Get(report_series_key(report["series"])))
            with tempfile.TemporaryDirectory() as folder:
                made = self._write(report, series, Path(folder))
            # Links in messages are signed with it: there is one before any is sent.
            self._dynamodb.run(signed_tokens.own_secret(report_links.SECRET))
            self._commit(report, series, made)
            # Refused if another report of the same series was published, or this very one.
            again = self._read(report["reportId"])
            assert again is not None  # reports are never deleted
            report = again
        if report["status"] == "running":
            raise LostRace("reports of this series kept being published")
        self._clear(report["reportId"], report.get("folder"))
        if report["status"] == "published":
            self._for_owners(report)
            self._tell(report)
        return []

    def _clear(self, report_id: str, kept: str | None = None) -> None:
        """Delete what was written for a report on the way, except the folder that is shown."""
        for folder in (f"{PARTS}{report_id}/", f"{report_id}/"):
            self._store.delete(folder, kept)

    def _write(self, report: Item, series: Item | None, folder: Path) -> Item:
        """Write and upload every file; return what the item says of them."""
        report_id = report["reportId"]
        stored = f"{report_id}/{secrets.token_hex(4)}/"
        rows_path = folder / "rows.jsonl"
        kind = kind_of(report)
        index = kind.index(report)
        with rows_path.open("wb") as rows:
            for number in range(report["partCount"]):
                for line in self._store.lines(_part_name(report, number, "rows")):
                    index.add(json.loads(line), rows.tell(), len(line) + 1)
                    rows.write(line + b"\n")
        published_at = clock()
        with rows_path.open("rb") as rows:
            order = index.order()
            summary, more = index.summary(rows, order)
            changes = None
            # Somebody may have deleted old files: then the report says nothing of changes.
            if series and self._store.has(f"{series['folder']}{ROWS}"):
                before = self._store.lines(f"{series['folder']}{ROWS}")
                changes = _changes(kind, before, rows_path)
            period = {**report["period"], "until": to_rfc3339(report["until"])}
            meta: dict[str, Any] = {
                kind.id_names[0]: report_id,
                "version": series["version"] + 1 if series else 1,
                kind.id_names[1]: series["latest"] if series else None,
                "publishedAt": to_rfc3339(published_at),
                "period": period,
                "isComplete": report["until"] >= report["end"],
                "filters": report["filters"],
                "summary": summary,
                **more,
                "changes": changes,
            }
            paths = {name: folder / f"report.{name}" for name in report["formats"]}
            unlisted = {name: folder / name for name in kind.unlisted}
            exporters = [
                *(kind.exporters[name](path, meta) for name, path in paths.items()),
                *(kind.unlisted[name](path, meta) for name, path in unlisted.items()),
            ]
            for place in order:
                rows.seek(place.offset)
                line = rows.read(place.length).rstrip()
                entry = {**json.loads(line), **place.more}
                if place.more:
                    line = b"%s, %s" % (line[:-1], _encode(place.more)[1:].encode())
                for form in exporters:
                    form.add(entry, line)
            for form in exporters:
                form.close()
        files = {
            name: self._store.put(report_links.file_name(stored, name), path, TYPES[name])
            for name, path in paths.items()
        }
        for name, path in {ROWS: rows_path, **unlisted}.items():
            self._store.put(f"{stored}{name}", path, TYPES["json"])
        return {
            "status": "published",
            "version": meta["version"],
            "previousReportId": meta[kind.id_names[1]],
            "changeCount": changes["count"] if changes else None,
            "publishedAt": published_at,
            "summary": kind.stored(summary),
            "files": files,
            "folder": stored,
            "failure": None,
        }

    def _commit(self, report: Item, series: Item | None, made: Item) -> None:
        sets, removals, values = assign({f"#{name}": made[name] for name in made})
        names = {f"#{name}": name for name in made}
        condition, bound = "attribute_not_exists(pk)", dict[str, Any]()
        if series:
            condition, bound = "latest = :seen", {":seen": series["latest"]}
        transaction = Transact(
            (
                Update(
                    report_key(report["reportId"]),
                    set_and_remove(sets, removals),
                    "#status = :running",
                    names,
                    {**values, ":running": "running"},
                ),
                Put(
                    report_series_key(report["series"]),
                    {
                        "latest": report["reportId"],
                        "version": made["version"],
                        "folder": made["folder"],
                    },
                    condition,
                    values=bound,
                ),
            )
        )
        self._dynamodb.run(write_with_conflict_retry(transaction))

    # --- For account owners -----------------------------------------------------------------------

    def _for_owners(self, report: Item) -> None:
        """Request a report for each account owner with their own rows; once, if it comes again."""
        if not report.get("forOwners"):
            return
        owners: set[str] = set()
        for line in self._store.lines(f"{report['folder']}{ROWS}"):
            owner = _owner(json.loads(line))
            if owner:
                owners.add(owner)
            if len(owners) == MOST_OWNERS:
                observability.logger.warning("too many account owners", extra={"most": MOST_OWNERS})
                break
        for owner in sorted(owners):
            made = child_of(report, owner)
            key = report_key(made["reportId"])
            self._dynamodb.execute(Put(key, made, "attribute_not_exists(pk)"))

    def _take_over(self, report: Item) -> None:
        """The rows of one account owner, as the report of all has them: one part, which is done."""
        parent = self._read(report["parent"])
        assert parent is not None  # reports are never deleted
        plan = secrets.token_hex(4)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows"
            with path.open("wb") as rows:
                for line in self._store.lines(f"{parent['folder']}{ROWS}"):
                    if _owner(json.loads(line)) == report["filters"]["accountOwner"]:
                        rows.write(line + b"\n")
            self._store.put(_part_name({**report, "plan": plan}, 0, "rows"), path, TYPES["json"])
        self._dynamodb.execute(_plan_update(report, plan, 1, done=frozenset(("0",))))

    # --- Notify, fail -----------------------------------------------------------------------------

    def _tell(self, report: Item) -> None:
        """E-mail everybody who has not been notified; after a crash perhaps twice."""
        if not report["sendsEmail"] or not self._mailing.sender:
            return
        now = clock()
        made = self._dynamodb.run(report_links.make(report, report.get("publicUrl", ""), now))
        urls = {name: each["url"] for name, each in made.items()}
        expires = to_rfc3339((now // 1000 + report_links.SECONDS) * 1000)
        kind = kind_of(report)
        shown = {**report, "summary": kind.shown(report["summary"])}
        failed = None
        owner = report["filters"].get("accountOwner")
        to_owner = report.get("emailTo") == "accountOwner" and owner
        to_nobody = report.get("emailTo") == "everyAccountOwner"
        for recipient in (owner,) if to_owner else () if to_nobody else self._mailing.recipients:
            if recipient in report.get("sentTo", ()):
                continue
            try:
                email.send(
                    self._mailing.sender,
                    recipient,
                    kind.mail(shown, urls, expires),
                    {"reportId": report["reportId"]},
                    self._mailing.configuration,
                )
            except aws.Errors as error:  # the others are notified all the same
                observability.logger.exception(
                    "mail failed", extra={"reportId": report["reportId"]}
                )
                observability.count("MailFailed")
                failed = error
                continue
            self._dynamodb.execute(
                Update(
                    report_key(report["reportId"]),
                    "ADD sentTo :one",
                    "",
                    NO_NAMES,
                    {":one": frozenset((recipient,))},
                )
            )
        if failed:
            raise MailFailed from failed
        if "failure" in report:
            self._dynamodb.execute(
                Update(report_key(report["reportId"]), "REMOVE failure", "", NO_NAMES, {})
            )

    def note_failure(
        self, report_id: str, attempt: int, reason: str, *, is_published: bool = False
    ) -> None:
        """Store why an attempt failed; the report is tried again.

        `is_published`: its e-mail failed. Otherwise, if another process has published it or given
        it up meanwhile, there is nothing to store.
        """
        statuses = ["published"] if is_published else ["queued", "running"]
        values: dict[str, Any] = {f":{status}": status for status in statuses}
        self._dynamodb.execute(
            Update(
                report_key(report_id),
                "SET failedAttempts = :attempt, failure = :reason",
                f"#status IN ({', '.join(values)})",
                {"#status": "status"},
                {":attempt": attempt, ":reason": reason, **values},
            )
        )

    def give_up(self, report_id: str) -> None:
        """Try no more: a report that is not published says so, and nothing of it is left.

        A published report stays; only its e-mail has not reached everybody.
        """
        reply = self._dynamodb.execute(
            Update(
                report_key(report_id),
                "SET #status = :failed, failure = if_not_exists(failure, :unknown)",
                "#status IN (:queued, :running)",
                {"#status": "status"},
                {
                    ":failed": "failed",
                    ":queued": "queued",
                    ":running": "running",
                    ":unknown": "it took too long, or too much memory",
                },
            )
        )
        if isinstance(reply, Refused) and reply.item and reply.item["status"] == "published":
            observability.count("MailGivenUp")
            return
        self._clear(report_id)
        observability.count("ReportFailed")

    _steps: Mapping[str, Callable[["Work", Item, Job], list[Job]]] = {
        "plan": _plan,
        "part": _part,
        "publish": _publish,
    }


def queue_at(url: str) -> Callable[[list[Job]], None]:
    """A queue for jobs; see `aws.send_messages`."""
    return lambda jobs: aws.send_messages(url, jobs)


def _job(report: Item, step: str, **more: Any) -> Job:
    return {"reportId": report["reportId"], "step": step, **more}


def _part_name(report: Item, number: int, kind: str) -> str:
    return f"{PARTS}{report['reportId']}/{report['plan']}/{number:05d}.{kind}"


def _plan_update(report: Item, plan: str, count: int, done: frozenset[str] = frozenset()) -> Update:
    """A queued report is planned: so many parts, some of which are done; by the first attempt."""
    sets = "SET partCount = :count, #plan = :plan, #status = :running"
    values: dict[str, Any] = {
        ":count": count,
        ":plan": plan,
        ":running": "running",
        ":queued": "queued",
    }
    if done:
        sets += ", done = :done"
        values[":done"] = done
    return Update(
        report_key(report["reportId"]),
        sets,
        "attribute_not_exists(partCount) AND #status = :queued",
        {"#status": "status", "#plan": "plan"},
        values,
    )


def series_of(report: Item) -> str:
    """What the versions of a report have in common: period, filters, kind."""
    named: list[Any] = [report["start"], report["end"], sorted(report["filters"].items())]
    kind, under_use = report.get("kind", SalesReport.name), report.get("underUse", 0)
    named += [kind] if kind != SalesReport.name else []
    named += [under_use] if under_use else []
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]


# What the report of one account owner has of the report of all.
_OF_PARENT = (
    "kind",
    "underUse",
    "periodName",
    "start",
    "end",
    "until",
    "previous",
    "period",
    "formats",
    "requestedBy",
    "publicUrl",
    "createdAt",
    "listKey",
)


def child_of(parent: Item, owner: str) -> Item:
    """The report of one account owner, with their rows of the report of all."""
    report_id = new_id(parent["reportId"].partition("_")[0], f"{parent['reportId']} {owner}")
    made: Item = {
        **{name: parent[name] for name in _OF_PARENT if name in parent},
        "reportId": report_id,
        "parent": parent["reportId"],
        "status": "queued",
        "filters": {**parent["filters"], "accountOwner": owner},
        "sendsEmail": True,
        "emailTo": "accountOwner",
        "listSort": f"{parent['createdAt']:013d}#{report_id}",
    }
    return {**made, "series": series_of(made)}


def _owner(entry: Entry) -> str:
    """The address of an entry's account owner; empty: none is known."""
    return ((entry.get("contacts") or {}).get("accountOwner") or {}).get("email") or ""


def kind_of(report: Item) -> Kind:
    """What is particular to this kind of report. Those of earlier releases are for sales."""
    return KINDS[report.get("kind", SalesReport.name)]


def _period(report: Item) -> Period:
    return Period(report["start"], report["end"], report["until"], report["previous"])


# --- Changes since the version before -------------------------------------------------------------


def _changes(kind: Kind, before: Iterable[bytes], now: Path) -> dict[str, Any]:
    """Entitlements that came, went or have other figures; both are in the same order."""
    found: list[dict[str, Any]] = []
    count = 0
    with now.open("rb") as lines:
        for old, new in _pairs(map(json.loads, before), map(json.loads, lines)):
            what = "changed" if old and new else "added" if new else "removed"
            figures = kind.differences(old, new) if old and new else []
            if what == "changed" and not figures:
                continue
            count += 1
            if len(found) < CHANGES_SHOWN:
                shown = new or old or {}
                found.append(
                    {
                        "entitlementId": shown["entitlementId"],
                        "customer": shown["customer"]["name"],
                        "product": shown["product"],
                        "what": what,
                        "figures": figures,
                    }
                )
    return {"count": count, "entitlements": found}


def _pairs(
    before: Iterator[Entry], now: Iterator[Entry]
) -> Iterator[tuple[Entry | None, Entry | None]]:
    old, new = next(before, None), next(now, None)
    while old or new:
        if old and new and old["entitlementId"] == new["entitlementId"]:
            yield old, new
            old, new = next(before, None), next(now, None)
        elif new is None or (old is not None and _place(old) < _place(new)):
            yield old, None
            old = next(before, None)
        else:
            yield None, new
            new = next(now, None)


def _place(entry: Entry) -> tuple[int, str]:
    entitlement_id = entry["entitlementId"]
    return report_candidate_shard(entitlement_id), entitlement_id
