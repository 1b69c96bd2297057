"""What a request to AWS asks IAM for, held to requests that botocore itself makes."""

from collections.abc import Callable
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from local.aws_calls import Call, Place, UnknownCall, accesses
from local.iam import LEADING_KEYS

PLACE = Place("us-east-1", "000000000000", lambda _: "pk")
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/T"
ITEM = {"pk": {"S": "A#1"}, "sk": {"S": "s"}}
OTHER = {"pk": {"S": "B"}, "sk": {"S": "s"}}


def asked(service: str, call: Callable[[Any], object]) -> list[tuple[str, str, Any]]:
    """What a call of botocore's client asks for: (action, resource, leading keys)."""
    client = botocore.session.get_session().create_client(
        service,
        "us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        endpoint_url="http://127.0.0.1:1",
    )
    sent: list[AWSPreparedRequest] = []

    def stop(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        sent.append(request)
        raise InterruptedError

    client.meta.events.register("before-send.*", stop)
    with pytest.raises(InterruptedError):
        call(client)
    [request] = sent
    path, _, query = request.url.removeprefix("http://127.0.0.1:1").partition("?")
    body = request.body or b""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else b""
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in request.headers.items()
    }
    name = "ses" if service == "sesv2" else service
    found = accesses(Call(name, str(request.method), path, query, headers, raw), PLACE)
    return [(each.action, each.resource, each.context.get(LEADING_KEYS)) for each in found]


def test_single_items() -> None:
    key = {"TableName": "T", "Key": ITEM}
    for call, action in (
        (lambda c: c.get_item(**key), "GetItem"),
        (lambda c: c.put_item(TableName="T", Item={**ITEM, "n": {"N": "1"}}), "PutItem"),
        (lambda c: c.update_item(**key, UpdateExpression="REMOVE a"), "UpdateItem"),
        (lambda c: c.delete_item(**key), "DeleteItem"),
    ):
        assert asked("dynamodb", call) == [(f"dynamodb:{action}", TABLE, ("A#1",))]


def test_every_part_of_a_transaction_is_the_action_that_it_does() -> None:
    found = asked(
        "dynamodb",
        lambda c: c.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": "T", "Item": ITEM}},
                {"Update": {"TableName": "T", "Key": OTHER, "UpdateExpression": "REMOVE a"}},
                {"Delete": {"TableName": "T", "Key": ITEM}},
                {
                    "ConditionCheck": {
                        "TableName": "T",
                        "Key": OTHER,
                        "ConditionExpression": "a = a",
                    }
                },
            ]
        ),
    )
    assert found == [
        ("dynamodb:PutItem", TABLE, ("A#1",)),
        ("dynamodb:UpdateItem", TABLE, ("B",)),
        ("dynamodb:DeleteItem", TABLE, ("A#1",)),
        ("dynamodb:ConditionCheckItem", TABLE, ("B",)),
    ]


def test_batches_ask_for_all_their_keys_at_once() -> None:
    assert asked(
        "dynamodb", lambda c: c.batch_get_item(RequestItems={"T": {"Keys": [ITEM, OTHER]}})
    ) == [("dynamodb:BatchGetItem", TABLE, ("A#1", "B"))]
    assert asked(
        "dynamodb",
        lambda c: c.batch_write_item(
            RequestItems={"T": [{"PutRequest": {"Item": ITEM}}, {"DeleteRequest": {"Key": OTHER}}]}
        ),
    ) == [("dynamodb:BatchWriteItem", TABLE, ("A#1", "B"))]


def test_queries_of_a_table_and_of_an_index() -> None:
    query = {
        "TableName": "T",
        "KeyConditionExpression": "#p = :p AND sk > :s",
        "ExpressionAttributeNames": {"#p": "pk"},
        "ExpressionAttributeValues": {":p": {"S": "A#1"}, ":s": {"S": "x"}},
    }
    assert asked("dynamodb", lambda c: c.query(**query)) == [("dynamodb:Query", TABLE, ("A#1",))]
    of_index = {**query, "IndexName": "list"}
    assert asked("dynamodb", lambda c: c.query(**of_index)) == [
        ("dynamodb:Query", f"{TABLE}/index/list", None)
    ]


def test_a_scan_carries_no_keys() -> None:
    assert asked("dynamodb", lambda c: c.scan(TableName="T")) == [("dynamodb:Scan", TABLE, None)]


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(UnknownCall):
        asked("dynamodb", lambda c: c.execute_statement(Statement="SELECT * FROM T"))
    with pytest.raises(UnknownCall):
        asked("sts", lambda c: c.get_caller_identity())


def test_queues_and_the_bus() -> None:
    url = "http://127.0.0.1:1/000000000000/q"
    queue = "arn:aws:sqs:us-east-1:000000000000:q"
    entries = [{"Id": "1", "MessageBody": "x"}]
    assert asked("sqs", lambda c: c.send_message_batch(QueueUrl=url, Entries=entries)) == [
        ("sqs:SendMessage", queue, None)
    ]
    assert asked(
        "sqs",
        lambda c: c.change_message_visibility(QueueUrl=url, ReceiptHandle="h", VisibilityTimeout=1),
    ) == [("sqs:ChangeMessageVisibility", queue, None)]
    entry = {"EventBusName": "b", "Source": "s", "DetailType": "t", "Detail": "{}"}
    assert asked("events", lambda c: c.put_events(Entries=[entry])) == [
        ("events:PutEvents", "arn:aws:events:us-east-1:000000000000:event-bus/b", None)
    ]


def test_mail_asks_for_the_identity_and_the_configuration_set() -> None:
    found = asked(
        "sesv2",
        lambda c: c.send_email(
            FromEmailAddress="The Vendor <a@b.example>",
            ConfigurationSetName="s",
            Destination={"ToAddresses": ["x@y.example"]},
            Content={"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}},
        ),
    )
    assert [each[:2] for each in found] == [
        ("ses:SendEmail", "arn:aws:ses:us-east-1:000000000000:identity/a@b.example"),
        ("ses:SendEmail", "arn:aws:ses:us-east-1:000000000000:configuration-set/s"),
    ]


def test_buckets() -> None:
    assert asked("s3", lambda c: c.put_object(Bucket="b", Key="k/x y", Body=b"1")) == [
        ("s3:PutObject", "arn:aws:s3:::b/k/x y", None)
    ]
    assert asked("s3", lambda c: c.head_object(Bucket="b", Key="k")) == [
        ("s3:GetObject", "arn:aws:s3:::b/k", None)
    ]
    assert asked("s3", lambda c: c.list_objects_v2(Bucket="b", Prefix="k")) == [
        ("s3:ListBucket", "arn:aws:s3:::b", None)
    ]
    objects = {"Objects": [{"Key": "k1"}, {"Key": "k2"}]}
    assert asked("s3", lambda c: c.delete_objects(Bucket="b", Delete=objects)) == [
        ("s3:DeleteObject", "arn:aws:s3:::b/k1", None),
        ("s3:DeleteObject", "arn:aws:s3:::b/k2", None),
    ]
