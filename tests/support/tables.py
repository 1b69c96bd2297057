"""Tables on DynamoDB Local, and clients of them that have a role or fail."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from local.dynamodb import table_properties
from local.stack import client
from shared.aws_json import Credentials
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key
from shared.dynamodb.requests import Get, Item, ReplyT_co, Request
from tests.support import data_model, roles


def create_table(url: str) -> str:
    """A fresh table on an engine, with the schema of the template; its name."""
    name = f"table-{uuid.uuid4().hex[:12]}"
    client(url, "dynamodb").create_table(TableName=name, **table_properties())
    return name


def delete_table(url: str, name: str) -> None:
    """Delete a table: the engine gets slow with many."""
    client(url, "dynamodb").delete_table(TableName=name)


class NotDescribed(BaseException):
    """A write that docs/data-model.md does not describe. No handler may turn it into an answer."""


_own = threading.local()


class RoleClient(DynamoDBClient):
    """A client that may do what a role of the template allows, while `role` names one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A busy engine may take longer than DynamoDB ever does.
        self._aws._seconds = (600, 600)

    at_once = 1  # moto is not atomic, and a role is that of a thread
    role = ""  # of every thread, unless one has a role of its own
    most_a_page: int | None = (
        None  # where DynamoDB ends a page of a query, however much is asked for
    )
    is_patient = True  # no request of a test is late because its machine is slow

    def answer_within(self, seconds: float, *, is_background: bool = False) -> None:
        if self.is_patient:
            seconds, is_background = float("inf"), False
        super().answer_within(seconds, is_background=is_background)

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        role = getattr(_own, "role", "") or self.role
        if role and (reason := roles.refusal(role, operation, payload)):
            return 400, {"__type": "com.amazon#AccessDeniedException", "message": reason}
        if unlisted := data_model.undescribed(operation, payload):
            raise NotDescribed(unlisted)
        if self.most_a_page and operation == "Query":
            body = json.loads(payload)
            body["Limit"] = min(body.get("Limit", self.most_a_page), self.most_a_page)
            payload = json.dumps(body).encode()
        return super()._send(operation, payload)


@contextmanager
def this_thread_as(role: str) -> Iterator[None]:
    """Within this context, every client in this thread has the rights of the role."""
    kept, _own.role = getattr(_own, "role", ""), role
    try:
        yield
    finally:
        _own.role = kept


@contextmanager
def acting_as(role: str, dynamodb: DynamoDBClient) -> Iterator[None]:
    """Within this context, the client has the rights of the role."""
    assert isinstance(dynamodb, RoleClient)
    kept, dynamodb.role = dynamodb.role, role
    try:
        yield
    finally:
        dynamodb.role = kept


def open_client(
    url: str, name: str, meter: Callable[[str, float], None] | None = None
) -> RoleClient:
    return RoleClient(
        name, region="us-east-1", endpoint=url, credentials=Credentials("test", "test"), meter=meter
    )


class Crash(BaseException):
    """The process is gone between two calls."""


class FaultyClient(RoleClient):
    """A client that fails once, at its n-th HTTP call (from 0), in one of three ways.

    `lost`: the call takes place, its answer does not arrive. `before` and `after`: the process
    ends before the call, or after it.
    """

    fault: tuple[int, str] | None = None
    calls = 0

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        number, self.calls = self.calls, self.calls + 1
        point, kind = self.fault or (-1, "")
        if number == point and kind == "before":
            raise Crash
        answer = super()._send(operation, payload)
        if number == point and kind == "after":
            raise Crash
        if number == point and kind == "lost":
            raise TimeoutError("the answer was lost")
        return answer


class InterruptedClient(RoleClient):
    """A client before whose every request something else happens."""

    before: Callable[[int, Request[Any]], None]
    requests = 0

    def execute(self, request: Request[ReplyT_co]) -> ReplyT_co:
        number, self.requests = self.requests, self.requests + 1
        self.before(number, request)
        return super().execute(request)


def interrupted_client(
    url: str, name: str, before: Callable[[int, Request[Any]], None]
) -> InterruptedClient:
    """A client that calls `before` with the number of its request, from 0, and the request."""
    made = InterruptedClient(
        name, region="us-east-1", endpoint=url, credentials=Credentials("test", "test")
    )
    made.before = before
    return made


def faulty_client(url: str, name: str) -> FaultyClient:
    return FaultyClient(
        name, region="us-east-1", endpoint=url, credentials=Credentials("test", "test")
    )


def read_item(dynamodb: DynamoDBClient, key: Key) -> Item:
    """An item that must exist."""
    item = dynamodb.execute(Get(key))
    assert item is not None, key
    return item
