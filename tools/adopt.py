"""Prepare a table for the stack to take over: `make adopt TABLE=name`, after a restore.

DynamoDB restores into a new table, without stream, time to live, recovery and protection. This
switches them on and prints the two parameters with which `make deploy` goes over to that table. It
changes no item, and can be run as often as you like.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.dynamodb import table_properties
from local.stack import client
from tools.redrive import RedriveError, local_endpoint

WAIT_SECONDS = 600
TTL_ATTRIBUTE = "ttl"


class AdoptError(Exception):
    """The table cannot be taken over; the message says why."""


def adopt(dynamodb: Any, name: str, say: Callable[[str], None] = print) -> dict[str, str]:
    """Prepare the table; the stack's parameters that name it.

    Raises:
        AdoptError: there is none, or it is no table of this template.
    """
    try:
        table = _active(dynamodb, name)
    except dynamodb.exceptions.ResourceNotFoundException:
        raise AdoptError(f"there is no table '{name}' in this account and region") from None
    _check(table)
    stream = table.get("StreamSpecification", {})
    wanted_stream = table_properties()["StreamSpecification"]
    if not stream.get("StreamEnabled"):
        dynamodb.update_table(TableName=name, StreamSpecification=wanted_stream)
        table = _active(dynamodb, name)
        say("stream: switched on")
    elif stream != wanted_stream:
        raise AdoptError(f"its stream is {stream}; it must be {wanted_stream}")
    ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if ttl["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
        wanted = {"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)
        say("time to live: switched on")
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery = backups.get("PointInTimeRecoveryDescription", {})
    if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
        dynamodb.update_continuous_backups(
            TableName=name,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
        say("point-in-time recovery: switched on")
    if not table.get("DeletionProtectionEnabled"):
        dynamodb.update_table(TableName=name, DeletionProtectionEnabled=True)
        table = _active(dynamodb, name)
        say("deletion protection: switched on")
    return {
        "RestoredTableName": name,
        "RestoredTableStreamLabel": str(table["LatestStreamLabel"]),
    }


def _active(dynamodb: Any, name: str) -> dict[str, Any]:
    """The table, once nothing about it is being changed."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        table: dict[str, Any] = dynamodb.describe_table(TableName=name)["Table"]
        if table["TableStatus"] == "ACTIVE":
            return table
        time.sleep(2)
    raise AdoptError(f"it is {table['TableStatus']} after {WAIT_SECONDS} s; wait, and try again")


def _check(table: dict[str, Any]) -> None:
    """Refuse what the code could not work on."""
    wanted = table_properties()
    if table["KeySchema"] != wanted["KeySchema"]:
        raise AdoptError("its keys are not pk and sk: it is no table of Overdraft")
    found = {index["IndexName"]: index for index in table.get("GlobalSecondaryIndexes", ())}
    for index in wanted["GlobalSecondaryIndexes"]:
        name = index["IndexName"]
        if name not in found:
            raise AdoptError(f"it lacks the index '{name}': restore it with its indexes")
        if found[name]["KeySchema"] != index["KeySchema"]:
            raise AdoptError(f"its index '{name}' has other keys")


def main() -> None:
    """Prepare, and print what to deploy with."""
    parser = argparse.ArgumentParser(prog="make adopt", description=__doc__)
    parser.add_argument("--table", required=True)
    parser.add_argument("--local", action="store_true")
    given = parser.parse_args()
    if not given.table:
        raise AdoptError("which table? make adopt TABLE=overdraft-restored")
    dynamodb = client(local_endpoint(), "dynamodb") if given.local else boto3.client("dynamodb")
    parameters = adopt(dynamodb, given.table)
    print("Put these into the file that you deploy with (make deploy CONFIG=...):")
    for name, value in parameters.items():
        print(f'{name}: "{value}"')


if __name__ == "__main__":
    try:
        main()
    except (AdoptError, RedriveError, BotoCoreError, ClientError) as error:
        sys.exit(f"make adopt: {error}")
