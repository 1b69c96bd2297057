"""The textbook design, for comparison: a counter item and a seat item in one transaction.

What most sketches of license servers do: `ADD used 1` under a condition and a put of the seat under
`attribute_not_exists`, all or nothing. Written with plain boto3, doing what the seat core does: the
seat keeps name, attributes and lease, a denial is on record before it is answered, and the answer
says whether the seat is overdraft. A transaction returns no item, so that takes a read.
"""

from typing import Any

from botocore.exceptions import ClientError


class Book:
    """One entitlement the textbook's way. `calls` and `units` count what was sent and consumed."""

    def __init__(
        self, client: Any, table: str, entitlement_id: str, *, purchased: int, cap: int
    ) -> None:
        self._client = client
        self._table = table
        self._counter = {"pk": {"S": f"COUNTER#{entitlement_id}"}, "sk": {"S": "COUNTER"}}
        self._entitlement_id = entitlement_id
        self.calls = 0
        self.units = 0.0
        numbers = {"used": 0, "purchased": purchased, "cap": cap}
        client.put_item(
            TableName=table,
            Item={**self._counter, **{name: {"N": str(n)} for name, n in numbers.items()}},
        )
        client.meta.events.register("before-send.dynamodb", self._count)

    def _count(self, **_: Any) -> None:
        self.calls += 1

    def _seat(self, seat_id: str) -> dict[str, Any]:
        return {"pk": {"S": f"SEAT#{self._entitlement_id}"}, "sk": {"S": seat_id}}

    def _transact(self, *items: dict[str, Any]) -> list[str]:
        """Why it was cancelled, per item; empty when it was not. Conflicts are tried again."""
        while True:
            try:
                answer = self._client.transact_write_items(
                    TransactItems=list(items), ReturnConsumedCapacity="TOTAL"
                )
            except ClientError as error:
                reasons = [each["Code"] for each in error.response.get("CancellationReasons", [])]
                if "TransactionConflict" in reasons:
                    continue
                if "ConditionalCheckFailed" not in reasons:
                    raise
                return reasons
            self.units += sum(part["CapacityUnits"] for part in answer["ConsumedCapacity"])
            return []

    def take(self, seat_id: str) -> str:
        """Take a seat: `within`, `overdraft`, `held` or `denied`."""
        reasons = self._transact(
            self._add(1, "used < cap"),
            {
                "Put": {
                    "TableName": self._table,
                    "Item": {
                        **self._seat(seat_id),
                        "name": {"S": "Alice Example"},
                        "attributes": {"M": {"device": {"S": "mbp-13"}}},
                        "leaseEnd": {"N": "2500028800"},
                    },
                    "ConditionExpression": "attribute_not_exists(pk)",
                }
            },
        )
        if reasons and reasons[1] == "ConditionalCheckFailed":
            return "held"
        if reasons:
            self._record_denial(seat_id)
            return "denied"
        counter = self._client.get_item(
            TableName=self._table, Key=self._counter, ConsistentRead=True
        )["Item"]
        return (
            "overdraft" if int(counter["used"]["N"]) > int(counter["purchased"]["N"]) else "within"
        )

    def release(self, seat_id: str) -> bool:
        """Give a seat back; False when it is not held."""
        reasons = self._transact(
            self._add(-1, "used > :zero"),
            {
                "Delete": {
                    "TableName": self._table,
                    "Key": self._seat(seat_id),
                    "ConditionExpression": "attribute_exists(pk)",
                }
            },
        )
        return not reasons

    def _add(self, number: int, condition: str) -> dict[str, Any]:
        values = {":n": {"N": str(number)}}
        if ":zero" in condition:
            values[":zero"] = {"N": "0"}
        return {
            "Update": {
                "TableName": self._table,
                "Key": self._counter,
                "UpdateExpression": "ADD used :n",
                "ConditionExpression": condition,
                "ExpressionAttributeValues": values,
            }
        }

    def _record_denial(self, seat_id: str) -> None:
        answer = self._client.update_item(
            TableName=self._table,
            Key={"pk": {"S": f"DENIED#{self._entitlement_id}"}, "sk": {"S": seat_id}},
            UpdateExpression="ADD attempts :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnConsumedCapacity="TOTAL",
        )
        self.units += answer["ConsumedCapacity"]["CapacityUnits"]
