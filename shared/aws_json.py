"""Calls of AWS services that speak JSON, for functions whose caller waits for their start-up.

Signing is botocore's, HTTP is urllib3's. `docs/decisions/0002-dynamodb-client.md` says why this is
no SDK client. What a failure means, and whether to try again, is for the caller to say.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict, Unpack

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

# What a call may raise instead of an answer.
Failures = (urllib3.exceptions.HTTPError, json.JSONDecodeError)


class Service(NamedTuple):
    """A service: its name, the prefix of its operations in `X-Amz-Target`, its version of JSON."""

    name: str
    target: str
    json_version: str


class Place(TypedDict):
    """Where a service is, and as whom it is called."""

    region: str
    endpoint: str
    credentials: Credentials


class AwsJson:
    """A service at one endpoint, with one warm connection pool. Times are seconds."""

    def __init__(
        self,
        service: Service,
        *,
        connect_seconds: float,
        read_seconds: float,
        connections: int,
        **place: Unpack[Place],
    ) -> None:
        self.endpoint = place["endpoint"].rstrip("/") + "/"
        self._service = service
        self._signer = SigV4Auth(place["credentials"], service.name, place["region"])
        self._http = urllib3.connection_from_url(
            self.endpoint,
            maxsize=connections,
            timeout=urllib3.Timeout(connect=connect_seconds, read=read_seconds),
            retries=False,
        )

    def send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        """Send one request, once; return the status and the body of the answer.

        Raises:
            Failures: no answer, or none in JSON.
        """
        request = AWSRequest(
            method="POST",
            url=self.endpoint,
            data=payload,
            headers={
                "Content-Type": f"application/x-amz-json-{self._service.json_version}",
                "X-Amz-Target": f"{self._service.target}.{operation}",
            },
        )
        self._signer.add_auth(request)
        response = self._http.urlopen(
            "POST", "/", body=payload, headers=dict(request.headers.items())
        )
        return response.status, json.loads(response.data)


def place_of(service: str, environ: Mapping[str, str] = os.environ) -> Place:
    """Where a deployed function finds a service, by what Lambda sets."""
    region = environ["AWS_REGION"]
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    endpoint = (
        environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
        or environ.get("AWS_ENDPOINT_URL")
        or f"https://{service}.{region}.{suffix}"
    )
    credentials = Credentials(
        environ["AWS_ACCESS_KEY_ID"],
        environ["AWS_SECRET_ACCESS_KEY"],
        environ.get("AWS_SESSION_TOKEN"),
    )
    return {"region": region, "endpoint": endpoint, "credentials": credentials}


def code_of(status: int, answer: Mapping[str, Any]) -> str:
    """The code of an error in an answer, without its namespace."""
    return str(answer.get("__type", "")).rpartition("#")[2] or f"HTTP {status}"
