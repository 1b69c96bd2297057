"""Which client should stand at the client to DynamoDB: `python -m benchmarks.clients`.

The same conditional update through each candidate, on a small counter and on a ledger page of 128
seats; CPU of this process, as a ratio to plain boto3 on the counter. pydynox takes part when it
is installed; it is no dependency.
"""

import importlib.util
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}

import boto3
from botocore.config import Config
from botocore.credentials import Credentials
from rich.console import Console
from rich.table import Table as Grid

from benchmarks.run import Bench
from local.dynamodb import DynamoDBLocal
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key, seat_shard_key
from shared.dynamodb.requests import Update, Value
from shared.seats.terms import SeatTerms

ROUNDS, CALLS = 9, 60
COUNTER = Key("BARE", "BARE")
UPDATES = {
    "counter": ("SET n = n + :one", "n < :cap"),
    "page": ("SET seq = seq + :one", "size(seats) < :cap"),
}


def contestants(bench: Bench, shard: Key) -> dict[str, Callable[[str], Any]]:
    """Each candidate as a function of what it updates: `counter` or `page`."""
    keys = {"counter": COUNTER, "page": shard}
    url = bench.engine.url
    tuned = Config(
        parameter_validation=False,
        user_agent="overdraft",
        retries={"mode": "standard", "max_attempts": 1},
        disable_request_compression=True,
    )
    clients = {
        "boto3": boto3.client("dynamodb", endpoint_url=url),
        "botocore, tuned": boto3.client("dynamodb", endpoint_url=url, config=tuned),
    }

    def sdk(client: Any) -> Callable[[str], Any]:
        def update(what: str) -> Any:
            expression, condition = UPDATES[what]
            return client.update_item(
                TableName="bench",
                Key={"pk": {"S": keys[what].pk}, "sk": {"S": keys[what].sk}},
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeValues={":one": {"N": "1"}, ":cap": {"N": "1000000000"}},
                ReturnValues="ALL_NEW",
            )

        return update

    dynamodb = DynamoDBClient(
        "bench", region="us-east-1", endpoint=url, credentials=Credentials("test", "test")
    )

    def ours(what: str) -> Any:
        expression, condition = UPDATES[what]
        values: dict[str, Value] = {":one": 1, ":cap": 10**9}
        return dynamodb.execute(Update(keys[what], expression, condition, {}, values))

    found = {name: sdk(client) for name, client in clients.items()}
    found["botocore's signer, urllib3"] = ours
    if importlib.util.find_spec("pydynox"):
        found["pydynox"] = _pydynox(url, keys)
    return found


def _pydynox(url: str, keys: dict[str, Key]) -> Callable[[str], Any]:
    module: Any = importlib.import_module("pydynox")
    client = module.DynamoDBClient(
        region="us-east-1", access_key="test", secret_key="test", endpoint_url=url
    )

    def update(what: str) -> Any:
        expression, condition = UPDATES[what]
        return client.sync_update_item(
            "bench",
            keys[what]._asdict(),
            update_expression=expression,
            condition_expression=condition,
            expression_attribute_values={":one": 1, ":cap": 10**9},
            return_values="ALL_NEW",
        )

    return update


def main() -> None:
    """Let all take turns, and print the medians."""
    with DynamoDBLocal() as engine:
        bench = Bench(engine)
        owner = bench.shard(128, SeatTerms(128, 128, "active", 0, None, 8 * 3600))
        field = contestants(bench, seat_shard_key(owner))
        spent: dict[tuple[str, str], list[float]] = {}
        for turn in range(ROUNDS + 2):
            for name, update in field.items():
                for what in UPDATES:
                    started = time.process_time()
                    for _ in range(CALLS):
                        update(what)
                    if turn >= 2:
                        spent.setdefault((name, what), []).append(time.process_time() - started)
    base = median(spent["boto3", "counter"])
    grid = Grid("client", *UPDATES, title="CPU of one conditional update, boto3 on a counter = 1")
    for name in field:
        grid.add_row(name, *(f"{median(spent[name, what]) / base:.2f}" for what in UPDATES))
    Console().print(grid)


if __name__ == "__main__":
    main()
