"""A process whose table refuses what a test says, as a table that is throttled does."""

from collections.abc import Callable
from typing import Any

from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.requests import Once, Operation, Pause, Throttled, Unavailable
from tests.support.seats import NOW_MS, asked_in


class OverloadedTable:
    """Runs operations. `refuses` says which requests the table does not take.

    `seen` are the requests since a test emptied it. Time goes on with pauses, and when a test says.
    """

    def __init__(self, dynamodb: DynamoDBClient) -> None:
        self.dynamodb = dynamodb
        self.now_ms = NOW_MS
        self.refuses: Callable[[Any], bool] = lambda _: False
        self.seen: list[Any] = []

    def run(self, operation: Operation[Any]) -> Any:
        """Run an operation to its end.

        Raises:
            Unavailable: the table refuses a request that is repeated until it is taken.
        """
        return self.dynamodb.run(self._refused(operation), lambda: self.now_ms, waits=False)

    def _refused(self, operation: Operation[Any]) -> Operation[Any]:
        """The same operation, with the answers of the table to what it refuses."""
        reply: Any = None
        while True:
            try:
                request = operation.send(reply)
            except StopIteration as stop:
                return stop.value
            if isinstance(request, Pause):
                self.now_ms += request.attempt
            else:
                self.seen.append(asked_in(request))
                if self.refuses(self.seen[-1]):
                    if not isinstance(request, Once):
                        raise Unavailable("the client has tried it often enough")
                    reply = Throttled()
                    continue
            reply = yield request
