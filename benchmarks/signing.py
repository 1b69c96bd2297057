"""KMS for `make bench`: a process that signs at once, always the same, and counts.

So what is measured is our side of signing. How long KMS takes is its own, and not to be had here.
"""

import base64
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tools import ROOT

ARN = "arn:aws:kms:us-east-1:000000000000:key/bench"
# Two numbers of 32 bytes, as KMS answers a signature on P-256: DER.
_NUMBER = bytes([2, 32, *range(1, 33)])
_SIGNATURE = base64.b64encode(bytes([0x30, 2 * len(_NUMBER)]) + 2 * _NUMBER).decode()
# US East, dollars for 10,000 requests with an elliptic curve; read on 2026-11-28.
DOLLARS_FOR_10_000 = 0.15


class _Kms(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    signed = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        _Kms.signed += 1
        self._answer({"Signature": _SIGNATURE})

    def do_GET(self) -> None:
        self._answer(_Kms.signed)

    def _answer(self, answer: object) -> None:
        sent = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The address of such a process, which functions of this one use."""
    command = [sys.executable, "-m", "benchmarks.signing"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
    os.environ["AWS_ENDPOINT_URL_KMS"] = url
    yield url
    process.terminate()
    process.wait()


def signed(url: str) -> int:
    """How many signatures were asked for."""
    with urllib.request.urlopen(url) as answer:
        return int(json.load(answer))


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), _Kms) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
