"""What is compared: our seat core, and what people write or take in its place.

Each sells an entitlement, and people take seats of it. Each keeps who holds a seat, and each denial
is on record before it is answered. `steps` is called before each call of a store: there a process
may crash.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import psycopg
from botocore.exceptions import ClientError

from benchmarks.peers.servers import Postgres, Redis
from benchmarks.textbook import Book
from shared.audit import Change
from shared.clock import now_ms
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import DENIAL_PREFIX, seat_shard_key
from shared.dynamodb.patterns import read_existing
from shared.problems import Denied
from shared.seats import activation
from shared.seats.encoding import GrantIds
from shared.seats.holder import Holder
from shared.seats.shard import SeatShard
from shared.seats.terms import SeatTerms, new_shard_put

TABLE = "peers"
Steps = Callable[[], None]


def nothing() -> None:
    """A step at which nothing goes wrong."""


class Kept(NamedTuple):
    """What a store says: seats that are counted, people who hold one, people who were denied."""

    counted: int
    holders: int
    denied: int


class Candidate(Protocol):
    """One design in one store; `name` says which."""

    name: str
    steps: Steps

    def sell(self, entitlement_id: str, purchased: int, cap: int) -> None:
        """Write a new entitlement."""

    def take(self, entitlement_id: str, person: str) -> bool:
        """Take a seat; False: denied."""

    def look(self, entitlement_id: str) -> Kept:
        """What the store has of it."""


# --- Overdraft ------------------------------------------------------------------------------------


class SteppedClient(DynamoDBClient):
    """Our client, with a step before each call."""

    before_send: Steps = staticmethod(nothing)

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        self.before_send()
        return super()._send(operation, payload)


class SeatCore:
    """One conditional update of one item: who holds seats is in it."""

    name = "Overdraft"

    def __init__(self, client: SteppedClient, scanned: Any) -> None:
        self._client = client
        self._scanned = scanned
        self.steps: Steps = nothing
        client.before_send = self._step
        self._grant_ids = GrantIds(0)
        self._lock = threading.Lock()
        self._requests = 0

    def _step(self) -> None:
        self.steps()  # as it is set then

    def _change(self) -> Change:
        with self._lock:
            self._requests += 1
            return Change("key_abcdefghijklmnop", f"request-{self._requests:08d}=", now_ms())

    def sell(self, entitlement_id: str, purchased: int, cap: int) -> None:
        """Write a new entitlement."""
        terms = SeatTerms(purchased, cap, "active", 0, None, 8 * 3600)
        self._client.execute(new_shard_put(entitlement_id, terms, self._change()))

    def take(self, entitlement_id: str, person: str) -> bool:
        """Take a seat; False: denied."""
        change = self._change()
        with self._lock:
            grant_id = self._grant_ids.next(change.now_ms)
        try:
            self._client.run(activation.take(entitlement_id, Holder(person), change, grant_id))
        except Denied:
            return False
        return True

    def look(self, entitlement_id: str) -> Kept:
        """What the store has of it."""
        shard = SeatShard.of(self._client.run(read_existing(seat_shard_key(entitlement_id))))
        prefix = f"{DENIAL_PREFIX}{entitlement_id}"
        return Kept(len(shard.seats), len(shard.seats), count(self._scanned, prefix))


def count(client: Any, prefix: str) -> int:
    """The items whose partition key begins so."""
    pages = client.get_paginator("scan").paginate(
        TableName=TABLE,
        FilterExpression="begins_with(pk, :prefix)",
        ExpressionAttributeValues={":prefix": {"S": prefix}},
        Select="COUNT",
        ConsistentRead=True,
    )
    return sum(page["Count"] for page in pages)


# --- On DynamoDB, as sketches do it ---------------------------------------------------------------


class _OnDynamoDB:
    """A counter, and items of seats and denials, by plain boto3."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.steps: Steps = nothing
        client.meta.events.register("before-send.dynamodb", lambda **_: self.steps())

    @staticmethod
    def _counter(entitlement_id: str) -> dict[str, Any]:
        return {"pk": {"S": f"COUNTER#{entitlement_id}"}, "sk": {"S": "COUNTER"}}

    def _read(self, entitlement_id: str) -> dict[str, int]:
        found = self._client.get_item(
            TableName=TABLE, Key=self._counter(entitlement_id), ConsistentRead=True
        )["Item"]
        return {name: int(value["N"]) for name, value in found.items() if "N" in value}

    def look(self, entitlement_id: str) -> Kept:
        """What the store has of it."""
        return Kept(
            self._read(entitlement_id)["used"],
            count(self._client, f"SEAT#{entitlement_id}"),
            count(self._client, f"DENIED#{entitlement_id}"),
        )


class Textbook(_OnDynamoDB):
    """A counter and a seat item in one transaction (`benchmarks/textbook.py`)."""

    name = "DynamoDB, transaction of counter and seat"

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self._books: dict[str, Book] = {}

    def sell(self, entitlement_id: str, purchased: int, cap: int) -> None:
        """Write a new entitlement."""
        self._books[entitlement_id] = Book(
            self._client, TABLE, entitlement_id, purchased=purchased, cap=cap
        )

    def take(self, entitlement_id: str, person: str) -> bool:
        """Take a seat; False: denied."""
        return self._books[entitlement_id].take(person) != "denied"


class Optimistic(_OnDynamoDB):
    """A counter with optimistic locking, then the seat: read, compare, write, write."""

    name = "DynamoDB, counter with optimistic locking"
    TRIES = 1_000

    def sell(self, entitlement_id: str, purchased: int, cap: int) -> None:
        """Write a new entitlement."""
        numbers = {"used": 0, "cap": cap, "purchased": purchased}
        item = {name: {"N": str(number)} for name, number in numbers.items()}
        self._put({**self._counter(entitlement_id), **item})

    def _put(self, item: dict[str, Any]) -> None:
        self._client.put_item(TableName=TABLE, Item=item)

    def take(self, entitlement_id: str, person: str) -> bool:
        """Take a seat; False: denied."""
        for _ in range(self.TRIES):
            found = self._read(entitlement_id)
            used = found["used"]
            if used >= found["cap"]:
                self._put({"pk": {"S": f"DENIED#{entitlement_id}"}, "sk": {"S": person}})
                return False
            try:
                self._client.update_item(
                    TableName=TABLE,
                    Key=self._counter(entitlement_id),
                    UpdateExpression="SET used = :new",
                    ConditionExpression="used = :old",
                    ExpressionAttributeValues={
                        ":new": {"N": str(used + 1)},
                        ":old": {"N": str(used)},
                    },
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                    raise
                continue
            self._put({"pk": {"S": f"SEAT#{entitlement_id}"}, "sk": {"S": person}})
            return True
        raise TimeoutError("somebody else was always faster")


# --- Redis ----------------------------------------------------------------------------------------

_TAKE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 1 end
if redis.call('HLEN', KEYS[1]) < tonumber(redis.call('GET', KEYS[2])) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  return 1
end
redis.call('HINCRBY', KEYS[3], ARGV[1], 1)
return 0
"""


class Lua:
    """A hash of holders, checked and changed by a script."""

    def __init__(self, server: Redis, name: str) -> None:
        self.name = name
        self.steps: Steps = nothing
        self._server = server
        self._connect()

    def _connect(self) -> None:
        self._client = self._server.client()
        self._take = self._client.register_script(_TAKE)

    def again(self) -> None:
        """Connect to the server that was started again."""
        self._connect()

    def sell(self, entitlement_id: str, purchased: int, cap: int) -> None:
        """Write a new entitlement."""
        self._client.mset({f"purchased:{entitlement_id}": purchased, f"cap:{entitlement_id}": cap})

    def take(self, entitlement_id: str, person: str) -> bool:
        """Take a seat; False: denied."""
        self.steps()
        keys = [f"{kind}:{entitlement_id}" for kind in ("seats", "cap", "denied")]
        return bool(self._take(keys=keys, args=[person, time.time()]))

    def look(self, entitlement_id: str) -> Kept:
        """What the store has of it."""
        holders = self._client.hlen(f"seats:{entitlement_id}")
        return Kept(holders, holders, self._client.hlen(f"denied:{entitlement_id}"))


# --- PostgreSQL -----------------------------------------------------------------------------------

_TABLES = """
CREATE TABLE IF NOT EXISTS entitlement (
  id text PRIMARY KEY, used int NOT NULL, purchased int NOT NULL, cap int NOT NULL
);
CREATE TABLE IF NOT EXISTS seat (
  entitlement text, person text, taken_at timestamptz DEFAULT now(),
  PRIMARY KEY (entitlement, person)
);
CREATE TABLE IF NOT EXISTS denied (
  entitlement text, person text, attempts int NOT NULL, PRIMARY KEY (entitlement, person)
);
"""
_DENIED = """
INSERT INTO denied VALUES (%s, %s, 1)
ON CONFLICT (entitlement, person) DO UPDATE SET attempts = denied.attempts + 1
"""


class _OnPostgres(ABC):
    """A seat and its count in one transaction; how they count differs."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._own = threading.local()
        self.steps: Steps = nothing
        self.again()

    def again(self) -> None:
        """Connect to the server that was started again."""
        self._own = threading.local()
        self._connection().execute(_TABLES)

    def _connection(self) -> psycopg.Connection[Any]:
        found: psycopg.Connection[Any] | None = getattr(self._own, "connection", None)
        if found is None or found.closed:
            found = self._own.connection = self._server.connect()
        return found

    def sell(self, entitlement_id: str, purchased: int, cap: int) -> None:
        """Write a new entitlement."""
        self._connection().execute(
            "INSERT INTO entitlement VALUES (%s, 0, %s, %s)", (entitlement_id, purchased, cap)
        )

    @abstractmethod
    def _count(self, connection: psycopg.Connection[Any], entitlement_id: str) -> bool:
        """Count one more seat; False: there is none."""

    def take(self, entitlement_id: str, person: str) -> bool:
        """Take a seat; False: denied."""
        connection = self._connection()
        with connection.transaction():
            self.steps()
            is_counted = self._count(connection, entitlement_id)
            self.steps()
            if not is_counted:
                connection.execute(_DENIED, (entitlement_id, person))
                return False
            connection.execute("INSERT INTO seat VALUES (%s, %s)", (entitlement_id, person))
            self.steps()
        return True

    def look(self, entitlement_id: str) -> Kept:
        """What the store has of it."""
        numbers = []
        for query in (
            "SELECT used FROM entitlement WHERE id = %s",
            "SELECT count(*) FROM seat WHERE entitlement = %s",
            "SELECT count(*) FROM denied WHERE entitlement = %s",
        ):
            row = self._connection().execute(query, (entitlement_id,)).fetchone()
            assert row
            numbers.append(row[0])
        return Kept(*numbers)


class ForUpdate(_OnPostgres):
    """The row is locked, read and written in a transaction."""

    name = "PostgreSQL, SELECT … FOR UPDATE"

    def _count(self, connection: psycopg.Connection[Any], entitlement_id: str) -> bool:
        row = connection.execute(
            "SELECT used, cap FROM entitlement WHERE id = %s FOR UPDATE", (entitlement_id,)
        ).fetchone()
        assert row
        if row[0] >= row[1]:
            return False
        self.steps()
        connection.execute(
            "UPDATE entitlement SET used = used + 1 WHERE id = %s", (entitlement_id,)
        )
        return True


class ConditionalUpdate(_OnPostgres):
    """The counter is written under a condition, and the seat with it, in one transaction."""

    name = "PostgreSQL, conditional UPDATE"

    def _count(self, connection: psycopg.Connection[Any], entitlement_id: str) -> bool:
        written = connection.execute(
            "UPDATE entitlement SET used = used + 1 WHERE id = %s AND used < cap",
            (entitlement_id,),
        )
        return bool(written.rowcount)
