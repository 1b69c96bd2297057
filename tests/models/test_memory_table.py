"""The table in memory answers every request of busy stories as Amazon's own engine does."""

import json
from collections import Counter
from typing import Any

import pytest

from local.dynamodb import DynamoDBLocal, table_properties
from local.stack import client
from tests.soak import play, story
from tests.soak.memory_table import Answer, MemoryTable
from tests.soak.play import Play
from tests.soak.world import Violation
from tests.support.sampling import IS_SOAK
from tests.support.tables import open_client

SEEDS = range(8 if IS_SOAK else 2)


class Both(MemoryTable):
    """Sends every request to both, and fails when their answers differ."""

    def __init__(self, url: str, playing: Play) -> None:
        super().__init__(table_properties(), watch=playing.checks.watch)
        client(url, "dynamodb").create_table(TableName="table", **table_properties())
        self._engine = open_client(url, "table")._aws
        self.compared: Counter[str] = Counter()

    def answer(self, operation: str, payload: bytes) -> Answer:
        mine = super().answer(operation, payload)
        theirs = self._engine.send(operation, payload)
        if _shown(operation, mine) != _shown(operation, theirs):
            raise Violation(f"{operation} {payload!r}: {mine}, but the engine says {theirs}")
        self.compared[f"{operation} {mine[0]}"] += 1
        return mine


def _shown(operation: str, answer: Answer) -> tuple[int, Any]:
    """What of an answer has to be the same."""
    status, body = answer
    if status != 200:
        code = str(body["__type"]).rpartition("#")[2]
        reasons = [
            (each["Code"], _text(each.get("Item"))) for each in body.get("CancellationReasons", ())
        ]
        return status, (code, _text(body.get("Item")), reasons)
    if operation == "Query":  # what has the same sort key in an index has no order
        return status, (_in_order(body["Items"]), body["Count"], body.get("LastEvaluatedKey"))
    if operation == "BatchGetItem":
        return status, [_in_order(items) for items in body["Responses"].values() if items]
    return status, _text({name: body[name] for name in ("Item", "Attributes") if name in body})


def _text(value: Any) -> str:
    return json.dumps(_with_sets_in_order(value), sort_keys=True)


def _in_order(items: list[Any]) -> list[str]:
    return sorted(_text(item) for item in items)


def _with_sets_in_order(value: Any) -> Any:
    """Sets of texts have no order."""
    if isinstance(value, dict):
        return {
            name: sorted(inner) if name == "SS" else _with_sets_in_order(inner)
            for name, inner in value.items()
        }
    return [_with_sets_in_order(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", SEEDS)
def test_every_answer_is_that_of_the_engine(seed: int) -> None:
    one = story.make(f"table-{seed}")._replace(rate=0.0, lag=0.0)
    with DynamoDBLocal() as engine, play.small_sizes():
        playing = Play(one)
        playing.world.table = both = Both(engine.url, playing)
        playing.run()
    assert both.compared.total() > 1_000
    wanted = {"GetItem 200", "BatchGetItem 200", "Query 200", "PutItem 200", "DeleteItem 200"}
    wanted |= {"UpdateItem 200", "UpdateItem 400", "BatchWriteItem 200", "TransactWriteItems 200"}
    assert wanted <= set(both.compared)
