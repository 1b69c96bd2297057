"""The lines of a published statement in the API, with the decisions as they are now."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import TypedDict

from functions.report import api
from functions.report.evidence import batched
from functions.report.statement import LINES, Statement
from functions.report.storage import Store
from shared.api import pagination
from shared.api.request import Request, Response
from shared.dynamodb.keys import true_up_line_key
from shared.dynamodb.paging import ResultPage
from shared.dynamodb.requests import BatchGet, Operation, send
from shared.problems import NotFound
from shared.sales.true_up_views import DecisionView, decision_view

UNDECIDED = "undecided"
# What is read of the file at once, which is more than any line has, and how often for one page: few
# lines may pass its filter.
READ_BYTES = 128 * 1024
MOST_READS = 8

store = Store(os.environ.get("REPORTS_BUCKET", ""))


class LineInFile(TypedDict):
    """A line of a statement, as it was published."""

    entitlementId: str
    customer: Mapping[str, object]
    accountOwner: str | None
    product: str
    sku: str | None
    isFinal: bool
    lineId: str
    usageKey: str | None
    month: str
    currency: str
    amount: str
    evidence: str


class StatementLineView(LineInFile):
    """A line of a statement, and what was decided about it since."""

    decision: DecisionView | None


def list_all(request: Request) -> Response:
    """List the lines of a statement, in the order of its files; none before it is published."""
    return pagination.respond(request, _page(request))


def _page(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    wanted = request.query.get("decision")
    item = yield from api.require(request.path["trueUpId"], Statement.name)
    found: list[Mapping[str, object]] = []
    offset = int(start[0]) if start else 0
    has_more = item["status"] == "published" and item["summary"]["lines"] > 0
    for _ in range(MOST_READS):
        if not has_more or len(found) == limit:
            break
        content, size = _read(f"{item['folder']}{LINES}", offset)
        # What a filter hides was read for nothing: so few lines at a time.
        for part in batched(_whole_lines(content), limit):
            views = yield from _with_decisions(part)
            for raw, view in zip(part, views, strict=True):
                offset += len(raw)
                if wanted in (None, _decision_of(view)):
                    found.append(view)
                if len(found) == limit:
                    break
            if len(found) == limit:
                break
        has_more = offset < size
    return ResultPage(found, [str(offset)] if has_more else None)


def _read(name: str, offset: int) -> tuple[bytes, int]:
    """What the file has from there, and its size.

    Raises:
        NotFound: an earlier release published the statement, without such a file.
    """
    found = store.part(name, offset, READ_BYTES)
    if found is None:
        raise NotFound("An earlier release published the statement. Request it again.")
    return found


def _whole_lines(content: bytes) -> list[bytes]:
    """The lines of a part of the file, without what is cut off at its end."""
    return content[: content.rfind(b"\n") + 1].splitlines(keepends=True)


def _with_decisions(raw: Sequence[bytes]) -> Operation[list[StatementLineView]]:
    lines: list[LineInFile] = [json.loads(each) for each in raw]
    keys = [true_up_line_key(line["entitlementId"], line["lineId"]) for line in lines]
    decided = yield from send(BatchGet(tuple(dict.fromkeys(keys))))
    return [
        {**line, "decision": decision_view(decided[key]) if key in decided else None}
        for key, line in zip(keys, lines, strict=True)
    ]


def _decision_of(view: StatementLineView) -> str:
    decision = view["decision"]
    return (decision and decision["decision"]) or UNDECIDED
