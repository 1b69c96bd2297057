"""KMS on this machine, with keys of its own and faults: for tests of what signs leases."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from functions.activate import signed_leases
from functions.manage import lease_keys
from shared import kms

ARN = "arn:aws:kms:us-east-1:000000000000:key/one"
OTHER = "arn:aws:kms:us-east-1:000000000000:key/two"


class Kms(BaseHTTPRequestHandler):
    """KMS as its API reference has it, with keys of its own, and faults."""

    keys: dict[str, ec.EllipticCurvePrivateKey]
    faults: list[int | str]
    calls: list[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        operation = self.headers["x-amz-target"].removeprefix("TrentService.")
        assert "/kms/aws4_request" in self.headers["authorization"]
        self.calls.append(operation)
        fault = self.faults.pop(0) if self.faults else None
        if fault == "hang up":
            self.connection.close()
            return
        if fault is not None:
            status, answer = (400, {"__type": fault}) if isinstance(fault, str) else (fault, {})
        else:
            status, answer = 200, getattr(self, operation)(self.keys[body["KeyId"]], body)
        sent = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def Sign(self, key: ec.EllipticCurvePrivateKey, body: dict[str, str]) -> dict[str, str]:  # noqa: N802
        assert (body["MessageType"], body["SigningAlgorithm"]) == ("DIGEST", "ECDSA_SHA_256")
        digest = base64.b64decode(body["Message"])
        der = key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        return {"Signature": base64.b64encode(der).decode()}

    def GetPublicKey(self, key: ec.EllipticCurvePrivateKey, _: Any) -> dict[str, str]:  # noqa: N802
        der = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return {"PublicKey": base64.b64encode(der).decode()}

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Kms]]:
    """Functions in this process that sign with the first key, and publish both."""
    Kms.keys = {arn: ec.generate_private_key(ec.SECP256R1()) for arn in (ARN, OTHER)}
    Kms.faults, Kms.calls = [], []
    with HTTPServer(("127.0.0.1", 0), Kms) as served:
        threading.Thread(target=served.serve_forever, args=[0.01], daemon=True).start()
        for name, value in {
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{served.server_port}",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(signed_leases, "_KEY", ARN)
        monkeypatch.setattr(lease_keys, "_KEYS", (ARN, OTHER, ARN))
        for cache in (kms._client, kms.public_jwk):
            cache.cache_clear()
        yield Kms
        served.shutdown()
    for cache in (kms._client, kms.public_jwk):
        cache.cache_clear()
