"""DynamoDB Local by its plain answers: an SDK takes longer to parse a stream than the engine to send it."""

import json
from collections.abc import Iterator
from typing import Any

import urllib3

_http = urllib3.PoolManager(retries=False)
# The engine asks for a signature, and checks none.
_HEADERS = {
    "content-type": "application/x-amz-json-1.0",
    "authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request,"
    " SignedHeaders=host, Signature=0",
}
_TABLES = "DynamoDB_20120810"
_STREAMS = "DynamoDBStreams_20120810"


def call(url: str, service: str, operation: str, **body: Any) -> dict[str, Any]:
    """One call; the answer as it comes, with attributes in their wire form."""
    headers = {**_HEADERS, "x-amz-target": f"{service}.{operation}"}
    answer = _http.request("POST", f"{url}/", body=json.dumps(body).encode(), headers=headers)
    found: dict[str, Any] = json.loads(answer.data)
    assert answer.status == 200, found
    return found


def stream_records(url: str, table: str) -> Iterator[dict[str, Any]]:
    """Every record of a table's stream, in order for each item."""
    arn = call(url, _TABLES, "DescribeTable", TableName=table)["Table"]["LatestStreamArn"]
    described = call(url, _STREAMS, "DescribeStream", StreamArn=arn)["StreamDescription"]
    for shard in described["Shards"]:
        where = {"StreamArn": arn, "ShardId": shard["ShardId"]}
        iterator = call(
            url, _STREAMS, "GetShardIterator", **where, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = call(url, _STREAMS, "GetRecords", ShardIterator=iterator)
            yield from answer["Records"]
            iterator = answer.get("NextShardIterator") if answer["Records"] else None


def scan(url: str, table: str) -> Iterator[dict[str, Any]]:
    """Every item of a table, in its wire form."""
    start: dict[str, Any] = {}
    while True:
        answer = call(url, _TABLES, "Scan", TableName=table, **start)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
