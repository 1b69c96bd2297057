"""A table that answers as DynamoDB Local did before, after the latency that AWS has published.

The engine takes longer for a batch than DynamoDB does, and all of one core: what is measured
against it is the engine. Here it answers a first run; the measured one sends the same requests by
HTTP to a process that has those answers, and waits as long as DynamoDB takes.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.dynamodb.client import DynamoDBClient

# Medians in milliseconds and sigma of a log-normal distribution (docs/scale.md): p99 is 2.1 times
# the median of a plain call, and 3.7 times that of a transaction.
READ, WRITE, TRANSACTION = (4.0, 0.32), (7.6, 0.32), (25.0, 0.56)
LATENCIES = {
    "GetItem": READ,
    "BatchGetItem": READ,
    "Query": READ,
    "TransactWriteItems": TRANSACTION,
}

_SERVER = """
import asyncio, hashlib, json, random, re, sys
answers, latencies = json.load(open(sys.argv[1]))
async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode().split("\\r\\n")
            given = {n.lower(): v for n, _, v in (line.partition(": ") for line in head)}
            body = await reader.readexactly(int(given["content-length"]))
            operation = given["x-amz-target"].partition(".")[2]
            median, sigma = latencies.get(operation, latencies["other"])
            body = re.sub(rb'"ClientRequestToken":"[^"]*"', b"", body)
            found = answers[hashlib.sha256(operation.encode() + body).hexdigest()].encode()
            await asyncio.sleep(median / 1000 * random.lognormvariate(0, sigma))
            writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-type: application/x-amz-json-1.0\\r\\n"
                         b"content-length: %d\\r\\n\\r\\n" % len(found) + found)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 24)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class Recording(DynamoDBClient):
    """A client that keeps what the engine answered to each request."""

    answers: dict[str, str]

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        status, answer = super()._send(operation, payload)
        assert status == 200, answer
        # A transaction's token is another one each time.
        payload = re.sub(rb'"ClientRequestToken":"[^"]*"', b"", payload)
        named = hashlib.sha256(operation.encode() + payload).hexdigest()
        self.answers[named] = json.dumps(answer)
        return status, answer


@contextmanager
def replaying(answers: dict[str, str]) -> Iterator[str]:
    """The URL of a process that gives these answers."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answers.json"
        file.write_text(json.dumps([answers, {**LATENCIES, "other": WRITE}]))
        command = [sys.executable, "-c", _SERVER, str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
            process.kill()
