"""Replay what was given up: `make redrive` lists it, `make redrive REPLAY=1` replays it.

Stream records that were given up lie whole in a bucket; they go to Notify again, whose effects can
be repeated. Messages of webhooks, and of mail that came back, go back to their queue. A scheduled
run that could not be started needs nothing: the next one does the same work.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools import ROOT

PART = 100  # records that Notify is given at a time
WAIT_SECONDS = 2
# Which queue takes what another one gave up; both are outputs of the stack.
DEAD_LETTERS = {"Deliveries": "DeliveryFailures", "ReturnedMail": "ReturnedMailFailures"}


class RedriveError(Exception):
    """It cannot go on; the message says why."""


class Redrive:
    """What one stack has given up. `endpoint` None: AWS, with your usual settings."""

    def __init__(self, stack: str, endpoint: str | None) -> None:
        self._endpoint = endpoint
        described = self._client("cloudformation").describe_stacks(StackName=stack)
        self._outputs = {
            each["OutputKey"]: each["OutputValue"] for each in described["Stacks"][0]["Outputs"]
        }

    def _client(self, service: str) -> Any:
        local = {
            "endpoint_url": self._endpoint,
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
        # Notify may run for a minute: a client that asks again would start it beside itself.
        patient = Config(read_timeout=120, retries={"total_max_attempts": 1})
        config = {"config": patient} if service == "lambda" else {}
        return boto3.client(service, **config, **(local if self._endpoint else {}))

    # --- Stream records ------------------------------------------------------------------------

    def _objects(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """The objects of the bucket, the oldest first, and the records in each."""
        s3, bucket = self._client("s3"), self._outputs["StreamFailuresBucket"]
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        objects = [each for page in pages for each in page.get("Contents", [])]
        for each in sorted(objects, key=lambda found: (found["LastModified"], found["Key"])):
            body = json.loads(s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())
            payload = body.get("payload")
            if payload is None:  # the records were gone from the stream when they were given up
                print(f"  {each['Key']} has no records: look at it, then delete it")
                continue
            # Lambda writes the payload as text.
            event = json.loads(payload) if isinstance(payload, str) else payload
            yield each["Key"], event["Records"]

    def records(self, *, replay: bool) -> int:
        """List or replay stream records; return how many could not be replayed."""
        failed, done = 0, set[str]()
        for key, records in self._objects():
            items = sorted({_item_of(record) for record in records})
            print(f"  {key}\n    {len(records)} records of {', '.join(items[:5])}")
            if not replay:
                continue
            left = self._replay(records)
            if left:
                failed += left
                print(f"    {left} of them failed again; see the log of Notify. They are kept.")
                continue
            self._client("s3").delete_object(Bucket=self._outputs["StreamFailuresBucket"], Key=key)
            done.add(key)
            print("    replayed")
        if done:
            self._forget(done)
        return failed

    def _replay(self, records: list[dict[str, Any]]) -> int:
        """How many of these records fail again."""
        for start in range(0, len(records), PART):
            answer = self._client("lambda").invoke(
                FunctionName=self._outputs["NotifyFunction"],
                Payload=json.dumps({"Records": records[start : start + PART]}).encode(),
            )
            result = json.loads(answer["Payload"].read() or b"{}")
            if answer.get("FunctionError") or result["batchItemFailures"]:
                return len(records) - start
        return 0

    # --- Queues ----------------------------------------------------------------------------------

    def messages(self, name: str, *, replay: bool) -> None:
        """List or send again the messages of a queue that were given up."""
        source, target = (self._outputs[f"{each}Url"] for each in (DEAD_LETTERS[name], name))
        print(f"  {self._waiting(source)} messages in the dead-letter queue")
        if not replay:
            return
        sqs, moved = self._client("sqs"), 0
        for message in self._receive(source):
            # Sent before it is deleted: a crash between the two sends it twice.
            sqs.send_message(QueueUrl=target, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
            moved += 1
        print(f"    {moved} sent again")

    def _receive(self, url: str) -> Iterator[dict[str, Any]]:
        """The messages of a queue, each once; one empty answer does not mean that it is empty."""
        sqs, empty = self._client("sqs"), 0
        while empty < 2:
            found = sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT_SECONDS
            ).get("Messages", [])
            empty = 0 if found else empty + 1
            yield from found

    def _waiting(self, url: str) -> int:
        name = "ApproximateNumberOfMessages"
        answer = self._client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def _forget(self, replayed: set[str]) -> None:
        """Delete the messages that reported the objects which are replayed now, and no others."""
        sqs, url = self._client("sqs"), self._outputs["NotifyFailuresUrl"]
        for message in self._receive(url):
            if json.loads(message["Body"])["detail"]["object"]["key"] in replayed:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def _item_of(record: dict[str, Any]) -> str:
    """Which item a record is of; keys name nobody."""
    return str(record["dynamodb"]["Keys"]["pk"]["S"])


def local_endpoint() -> str:
    """Where the stack of `make run` is.

    Raises:
        RedriveError: none runs.
    """
    try:
        details = json.loads((ROOT / ".local/stack.json").read_text())
    except (OSError, ValueError):
        raise RedriveError("no stack runs on this machine: make run") from None
    return str(details["emulatorUrl"])


def main() -> None:
    """List or replay; exit code 1 when something failed again."""
    parser = argparse.ArgumentParser(prog="make redrive", description=__doc__)
    parser.add_argument("--stack", default="overdraft")
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("--local", action="store_true")
    given = parser.parse_args()
    redrive = Redrive(given.stack, local_endpoint() if given.local else None)
    print("Stream records that were given up:")
    failed = redrive.records(replay=given.replay)
    print("Webhooks:")
    redrive.messages("Deliveries", replay=given.replay)
    print("Mail that came back:")
    redrive.messages("ReturnedMail", replay=given.replay)
    if not given.replay:
        print("Nothing was changed. To replay all of it: make redrive REPLAY=1")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    try:
        main()
    except (RedriveError, BotoCoreError, ClientError) as error:
        sys.exit(f"make redrive: {error}")
