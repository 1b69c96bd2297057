"""The lines of a statement in the API: every one once, whatever is read of the file at once."""

from typing import Any

import pytest

from functions.report import statement_lines
from functions.report.statement import LINES
from shared.dynamodb.client import DynamoDBClient
from tests.support.priced import Priced
from tests.unit.manage.test_true_up import PRICE, at, busy, decide, sell
from tests.unit.report.test_statement import Stack, clock, rows, stack

__all__ = ["clock", "stack"]
ROUTE = "GET /v1/true-ups/{trueUpId}/lines"


@pytest.fixture(autouse=True)
def files(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_lines, "store", stack.maker.store)


def listed(
    by: Priced, when: int, true_up_id: str, **query: str
) -> tuple[list[dict[str, Any]], list[int]]:
    """All lines of a list, and how many each page had."""
    items: list[dict[str, Any]] = []
    pages = []
    while True:
        status, answer = by.call(when, ROUTE, path={"trueUpId": true_up_id}, query=query)
        assert status == 200, answer
        items += answer["items"]
        pages.append(len(answer["items"]))
        if answer["nextPageToken"] is None:
            return items, pages
        query["pageToken"] = answer["nextPageToken"]


def test_the_list_says_what_the_table_says(stack: Stack) -> None:
    item = stack.make(at(11, 3))
    found, _ = listed(stack.acme, at(11, 3), item["reportId"])
    table = rows(stack, item)
    assert [(line["entitlementId"], line["lineId"]) for line in found] == [
        (row["entitlementId"], row["lineId"]) for row in table
    ]
    for line, row in zip(found, table, strict=True):
        names = ("amount", "currency", "month", "evidence", "product", "accountOwner")
        assert [line[name] or "" for name in names] == [row[name] for name in names]
        assert line["customer"]["name"] == row["customer"]
        assert (line["usageKey"] or "seats") == row["meter"]
        assert line["isFinal"] is True
        assert line["decision"] is None


def test_decisions_are_those_of_now(stack: Stack) -> None:
    item = stack.make(at(11, 3))
    decide(stack.acme, at(11, 4), {"decision": "waived", "reason": "goodwill"})
    path = item["reportId"]
    found, _ = listed(stack.acme, at(11, 4, 1), path)
    decided = {line["lineId"]: line["decision"] for line in found if line["decision"]}
    assert {each: made["decision"] for each, made in decided.items()} == {
        "2026-10.EUR.seats": "waived"
    }
    assert decided["2026-10.EUR.seats"]["reason"] == "goodwill"
    left, _ = listed(stack.acme, at(11, 4, 1), path, decision="undecided")
    assert [line["lineId"] for line in left] == [
        line["lineId"] for line in found if not line["decision"]
    ]
    waived, _ = listed(stack.acme, at(11, 4, 1), path, decision="waived")
    assert [line["entitlementId"] for line in waived] == [stack.acme.id]
    # Taken back: undecided again.
    decide(stack.acme, at(11, 5), {"decision": None})
    left, _ = listed(stack.acme, at(11, 5, 1), path, decision="undecided")
    assert len(left) == len(found)


def test_every_line_is_listed_once(
    dynamodb: DynamoDBClient,
    clock: dict[str, int],
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever a page has at most, and wherever what was read of the file ends."""
    for number in range(4):
        name = {"name": f"Ünïcode {number} 株式会社"}
        busy(sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE, customer=name))
    item = stack.make(at(11, 3))
    expected = [(row["entitlementId"], row["lineId"]) for row in rows(stack, item)]
    assert len(expected) == 7
    monkeypatch.setattr(statement_lines, "MOST_READS", 2)
    for read_bytes in (2_000, 2_500, 128 * 1024):
        monkeypatch.setattr(statement_lines, "READ_BYTES", read_bytes)
        for limit in ("1", "2", "3", "100"):
            found, pages = listed(stack.acme, at(11, 3), item["reportId"], limit=limit)
            assert [(line["entitlementId"], line["lineId"]) for line in found] == expected
            assert max(pages) <= int(limit)
            of_none = {"limit": limit, "decision": "billed"}
            hidden, _ = listed(stack.acme, at(11, 3), item["reportId"], **of_none)
            assert hidden == []


def test_a_statement_without_lines_has_none(stack: Stack) -> None:
    item = stack.make(at(11, 3), {"filters": {"customer": "Nobody at all"}})
    found, _ = listed(stack.acme, at(11, 3), item["reportId"])
    assert found == []


def test_what_has_no_lines_says_why(stack: Stack) -> None:
    def refused(true_up_id: str) -> str:
        status, answer = stack.acme.call(at(11, 3), ROUTE, path={"trueUpId": true_up_id})
        assert (status, answer["type"].rpartition("/")[2]) == (404, "not-found")
        return str(answer["detail"])

    assert refused("tru_unknown") == "No statement has this id."
    _, asked = stack.acme.call(at(11, 3), "POST /v1/true-ups", {"period": "2026-10"})
    assert listed(stack.acme, at(11, 3), asked["trueUpId"]) == ([], [0])  # not yet
    item = stack.make(at(11, 3))
    del stack.maker.store.files[f"{item['folder']}{LINES}"]
    assert "Request it again" in refused(item["reportId"])
