"""Clients of other AWS services, for functions whose caller does not wait for the start-up.

They use botocore without boto3, which would add nothing here. DynamoDB has a client of its own
(`shared/dynamodb/client.py`).
"""

from functools import lru_cache
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# What a call may raise after its bounded retries.
Errors = (BotoCoreError, ClientError)


class QueueError(Exception):
    """SQS did not take every message of a batch."""


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


def mail_options(configuration: str, tags: dict[str, str]) -> dict[str, Any]:
    """What every e-mail is sent with besides its content: SES's configuration set, and tags.

    SES returns the tags in its events. Their values are ASCII letters, digits, `_` and `-`, at most
    256 of them (SES's API reference, MessageTag).
    """
    options: dict[str, Any] = {
        "EmailTags": [{"Name": name, "Value": value} for name, value in tags.items()]
    }
    return {"ConfigurationSetName": configuration, **options} if configuration else options
