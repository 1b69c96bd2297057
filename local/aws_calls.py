"""AWS calls as IAM sees them: which actions on which resources a request asks for.

Sources: the service authorization reference of each service; for the parts of a transaction,
"Using IAM with DynamoDB transactions". How `dynamodb:LeadingKeys` is filled for a part of a
transaction is not documented. This module takes the key of that part; `make smoke` checks that on a
real account.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

from local.iam import ATTRIBUTES, LEADING_KEYS, Access


class UnknownCall(ValueError):
    """A call that this module cannot judge; the message names it."""


class Call(NamedTuple):
    """One signed HTTP request to AWS. Names of headers are in lower case."""

    service: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """The operation that the `X-Amz-Target` header names, or nothing."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2]


class Place(NamedTuple):
    """Where calls go. `hash_key` gives the name of a table's partition key."""

    region: str
    account: str
    hash_key: Callable[[str], str]

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def accesses(call: Call, place: Place) -> list[Access]:
    """Everything that IAM must allow for a call to pass.

    Raises:
        UnknownCall: this module cannot say; the caller must refuse.
    """
    judge = _SERVICES.get(call.service)
    if judge is None:
        raise UnknownCall(f"{call.service} {call.operation or call.method}")
    return judge(call, place)


# --- DynamoDB -------------------------------------------------------------------------------------

_ONE_ITEM = frozenset({"GetItem", "PutItem", "UpdateItem", "DeleteItem"})
_PARTS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}


def _dynamodb(call: Call, place: Place) -> list[Access]:
    body, operation = json.loads(call.body), call.operation
    if operation in _ONE_ITEM:
        return [_item(place, operation, body)]
    if operation == "Query":
        return [_query(place, body)]
    if operation in ("TransactWriteItems", "TransactGetItems"):
        return [
            _item(place, _PARTS[verb], part)
            for each in body["TransactItems"]
            for verb, part in each.items()
        ]
    if operation == "BatchGetItem":
        return [
            _keyed(place, operation, table, request["Keys"])
            for table, request in body["RequestItems"].items()
        ]
    if operation == "BatchWriteItem":
        return [
            _keyed(place, operation, table, [_written(each) for each in requests])
            for table, requests in body["RequestItems"].items()
        ]
    if operation in ("Scan", "DescribeTable"):
        # Neither carries a leading key: only a statement without that condition allows them.
        return [Access(f"dynamodb:{operation}", _table(place, body["TableName"]))]
    raise UnknownCall(f"dynamodb {operation}")


def _table(place: Place, name: str) -> str:
    return place.arn("dynamodb", f"table/{name}")


def _item(place: Place, operation: str, body: Mapping[str, Any]) -> Access:
    key = body["Item" if "Item" in body else "Key"]
    access = _keyed(place, operation, body["TableName"], [key])
    if operation != "UpdateItem":
        return access
    attributes = (*key, *_named(body))
    return access._replace(context={**access.context, ATTRIBUTES: tuple(dict.fromkeys(attributes))})


_NAME = re.compile(r"(?<![:#\w.])#?[A-Za-z_]\w*\b(?!\s*\()", re.ASCII)
_WORDS = frozenset(("SET", "REMOVE", "ADD", "DELETE", "AND", "OR", "NOT", "BETWEEN", "IN"))


def _named(body: Mapping[str, Any]) -> list[str]:
    """The attributes that the expressions of an update name, at the top of the item."""
    names = body.get("ExpressionAttributeNames", {})
    found = [
        name
        for expression in ("UpdateExpression", "ConditionExpression")
        for name in _NAME.findall(body.get(expression, ""))
    ]
    return [names.get(name, name) for name in found if name.upper() not in _WORDS]


def _keyed(
    place: Place, operation: str, table: str, items: list[Mapping[str, Mapping[str, str]]]
) -> Access:
    name = place.hash_key(table)
    keys = tuple(dict.fromkeys(_text(item[name]) for item in items))
    return Access(f"dynamodb:{operation}", _table(place, table), {LEADING_KEYS: keys})


def _text(wire: Mapping[str, str]) -> str:
    [value] = wire.values()
    return str(value)


def _written(request: Mapping[str, Any]) -> Any:
    is_put = "PutRequest" in request
    return request["PutRequest"]["Item"] if is_put else request["DeleteRequest"]["Key"]


_EQUALITY = re.compile(r"([#\w]+)\s*=\s*(:\w+)")


def _query(place: Place, body: Mapping[str, Any]) -> Access:
    table = body["TableName"]
    if index := body.get("IndexName"):
        # Whether a query of an index carries leading keys is not documented: no policy may rely
        # on it, so none are given here.
        return Access("dynamodb:Query", f"{_table(place, table)}/index/{index}")
    name, names = place.hash_key(table), body.get("ExpressionAttributeNames", {})
    for attribute, value in _EQUALITY.findall(body["KeyConditionExpression"]):
        if names.get(attribute, attribute) == name:
            key = _text(body["ExpressionAttributeValues"][value])
            return Access("dynamodb:Query", _table(place, table), {LEADING_KEYS: (key,)})
    raise UnknownCall(f"a query without an equality on {name}")


# --- Other services -------------------------------------------------------------------------------

# A batch is allowed by the right to the single call.
_SQS = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}


def _sqs(call: Call, place: Place) -> list[Access]:
    queue = json.loads(call.body)["QueueUrl"].rpartition("/")[2]
    action = _SQS.get(call.operation, call.operation)
    return [Access(f"sqs:{action}", place.arn("sqs", queue))]


def _events(call: Call, place: Place) -> list[Access]:
    if call.operation != "PutEvents":
        raise UnknownCall(f"events {call.operation}")
    buses = {each.get("EventBusName", "default") for each in json.loads(call.body)["Entries"]}
    return [
        Access(
            "events:PutEvents",
            bus if bus.startswith("arn:") else place.arn("events", f"event-bus/{bus}"),
        )
        for bus in sorted(buses)
    ]


def _ses(call: Call, place: Place) -> list[Access]:
    if (call.method, call.path) != ("POST", "/v2/email/outbound-emails"):
        raise UnknownCall(f"ses {call.method} {call.path}")
    body = json.loads(call.body)
    sender = body["FromEmailAddress"]
    address = re.sub(r".*<(.*)>\s*$", r"\1", sender)
    context = {"ses:fromaddress": (address,)}
    if "<" in sender:
        context["ses:fromdisplayname"] = (sender.partition("<")[0].strip(' "'),)
    asked = [Access("ses:SendEmail", place.arn("ses", f"identity/{address}"), context)]
    if name := body.get("ConfigurationSetName"):
        asked.append(
            Access("ses:SendEmail", place.arn("ses", f"configuration-set/{name}"), context)
        )
    return asked


def _cloudformation(call: Call, place: Place) -> list[Access]:
    asked = parse_qs(call.body.decode())
    name = asked["StackName"][0]
    stack = name if name.startswith("arn:") else place.arn("cloudformation", f"stack/{name}/*")
    return [Access(f"cloudformation:{asked['Action'][0]}", stack)]


def _kms(call: Call, place: Place) -> list[Access]:
    key = json.loads(call.body).get("KeyId", "*")
    return [
        Access(
            f"kms:{call.operation}",
            key if key.startswith("arn:") else place.arn("kms", f"key/{key}"),
        )
    ]


_S3_OBJECT = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}


def _s3(call: Call, _: Place) -> list[Access]:
    bucket, __, key = call.path.lstrip("/").partition("/")
    query = parse_qs(call.query, keep_blank_values=True)
    arn = f"arn:aws:s3:::{bucket}"
    if key and call.method in _S3_OBJECT and not set(query) & {"acl", "tagging", "uploads"}:
        return [Access(f"s3:{_S3_OBJECT[call.method]}", f"{arn}/{unquote(key)}")]
    if not key and call.method == "GET" and "list-type" in query:
        return [Access("s3:ListBucket", arn, {"s3:prefix": tuple(query.get("prefix", ("",)))})]
    if not key and call.method == "POST" and "delete" in query:
        names = ElementTree.fromstring(call.body).iterfind(".//{*}Object/{*}Key")
        return [Access("s3:DeleteObject", f"{arn}/{name.text}") for name in names]
    raise UnknownCall(f"s3 {call.method} {call.path}?{call.query}")


_SERVICES: dict[str, Callable[[Call, Place], list[Access]]] = {
    "dynamodb": _dynamodb,
    "sqs": _sqs,
    "events": _events,
    "ses": _ses,
    "cloudformation": _cloudformation,
    "kms": _kms,
    "s3": _s3,
}
