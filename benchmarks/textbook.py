"""The textbook design, for comparison: a counter item and a seat item in one transaction.

What most sketches of license servers do: `ADD used 1` under a condition, and a put of the seat
under `attribute_not_exists`, all or nothing. Written with plain boto3.
"""

from typing import Any

from botocore.exceptions import ClientError


def create_counter(client: Any, table: str, owner: str, cap: int, used: int = 0) -> None:
    """The counter of one entitlement."""
    client.put_item(
        TableName=table,
        Item={
            "pk": {"S": f"COUNTER#{owner}"},
            "sk": {"S": "COUNTER"},
            "used": {"N": str(used)},
            "cap": {"N": str(cap)},
        },
    )


def take(client: Any, table: str, owner: str, seat_id: str) -> tuple[str, float]:
    """Take a seat: (`granted`, `denied`, `held` or `conflict`, write units)."""
    try:
        answer = client.transact_write_items(
            ReturnConsumedCapacity="TOTAL",
            TransactItems=[
                {
                    "Update": {
                        "TableName": table,
                        "Key": {"pk": {"S": f"COUNTER#{owner}"}, "sk": {"S": "COUNTER"}},
                        "UpdateExpression": "ADD used :one",
                        "ConditionExpression": "used < cap",
                        "ExpressionAttributeValues": {":one": {"N": "1"}},
                    }
                },
                {
                    "Put": {
                        "TableName": table,
                        "Item": {"pk": {"S": f"SEAT#{owner}"}, "sk": {"S": seat_id}},
                        "ConditionExpression": "attribute_not_exists(pk)",
                    }
                },
            ],
        )
    except ClientError as error:
        reasons = [reason["Code"] for reason in error.response.get("CancellationReasons", [])]
        if "TransactionConflict" in reasons:
            return "conflict", 0.0
        if reasons and reasons[0] == "ConditionalCheckFailed":
            return "denied", 0.0
        if reasons and reasons[1] == "ConditionalCheckFailed":
            return "held", 0.0
        raise
    units = sum(part["CapacityUnits"] for part in answer["ConsumedCapacity"])
    return "granted", units
