"""Clients of other AWS services, for functions whose caller does not wait for the start-up.

They use botocore without boto3, which would add nothing here. DynamoDB has a client of its own
(`shared/dynamodb/client.py`).
"""

import json
from collections.abc import Sequence
from email.utils import formataddr
from functools import lru_cache
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# What a call may raise after its bounded retries.
Errors = (BotoCoreError, ClientError)


SQS_BATCH = 10  # messages in one request: the most that SQS takes


class QueueError(Exception):
    """SQS did not take every message."""


@lru_cache
def client(service: str) -> Any:
    """The client of a service, one per process, bounded in time and retries."""
    config = Config(
        connect_timeout=2,
        read_timeout=20 if service == "s3" else 5,
        retries={"mode": "standard", "total_max_attempts": 3},
        # Without this, an address that S3 signs would be in the older form, of a host that
        # redirects from most regions.
        signature_version="s3v4" if service == "s3" else None,
        s3={"addressing_style": "virtual"} if service == "s3" else None,
    )
    return botocore.session.get_session().create_client(service, config=config)


def try_messages(url: str, bodies: Sequence[Any], *, delay_seconds: int = 0) -> list[int]:
    """Send messages to a queue; return the positions of those that it did not take.

    Raises:
        Errors: a request failed; messages of earlier requests are sent.
    """
    failed = []
    for start in range(0, len(bodies), SQS_BATCH):
        answer = client("sqs").send_message_batch(
            QueueUrl=url,
            Entries=[
                {
                    "Id": str(position),
                    "MessageBody": json.dumps(body, ensure_ascii=False),
                    "DelaySeconds": delay_seconds,
                }
                for position, body in enumerate(bodies[start : start + SQS_BATCH], start)
            ],
        )
        failed += [int(each["Id"]) for each in answer.get("Failed", ())]
    return failed


def send_messages(url: str, bodies: Sequence[Any], *, delay_seconds: int = 0) -> None:
    """Send messages to a queue.

    Raises:
        QueueError: it did not take all of them; the others are sent.
        Errors: a request failed; messages of earlier requests are sent.
    """
    failed = try_messages(url, bodies, delay_seconds=delay_seconds)
    if failed:
        raise QueueError(f"{len(failed)} of {len(bodies)} messages were not taken by the queue")


def mail_from(name: str, address: str) -> str:
    """The sender of an e-mail: an address, with a name if there is one (RFC 5322, RFC 2047).

    Without an address it is empty: no e-mail is sent.
    """
    return formataddr((name, address)) if name and address else address


def addresses_in(text: str) -> tuple[str, ...]:
    """The addresses of a comma-separated list."""
    return tuple(each.strip() for each in text.split(",") if each.strip())


def mail_options(configuration: str, tags: dict[str, str]) -> dict[str, Any]:
    """What every e-mail is sent with besides its content: SES's configuration set, and tags.

    SES returns the tags in its events. Their values are ASCII letters, digits, `_` and `-`, at most
    256 of them (SES's API reference, MessageTag).
    """
    options: dict[str, Any] = {
        "EmailTags": [{"Name": name, "Value": value} for name, value in tags.items()]
    }
    return {"ConfigurationSetName": configuration, **options} if configuration else options
