"""The only door to DynamoDB: keys, items, requests, errors.

A request is a plain value (`Get`, `Update`, ...), so that operations can be written as
generators that yield requests and are run by any driver: this door, a test that crashes between
two requests, a simulation. Signing is botocore's, HTTP is urllib3's; why no full SDK client
stands here is told in `docs/decisions/0002-dynamodb-door.md`.
"""

import base64
import json
import os
import random
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from shared.times import now_ms

# A frozenset of strings is a string set, which is never empty.
Value: TypeAlias = str | int | bool | list["Value"] | dict[str, "Value"] | frozenset[str] | None
Item: TypeAlias = dict[str, Any]
NO_VALUES: Mapping[str, Value] = {}
NO_NAMES: Mapping[str, str] = {}


class Key(NamedTuple):
    """The primary key of one item."""

    pk: str
    sk: str


# --- Keys: every kind of item, in one place -----------------------------------------------------

DENIAL_SHARDS = 16
SWEEP_SHARDS = 4
NOTABLE_SHARDS = 16
NOW = "now"
LIST_INDEX = "list"
SWEEP_INDEX = "sweep"
ROOM_INDEX = "room"
LEDGER_PREFIX = "LEDGER#"
USAGE_PREFIX = "USAGE#"
PART_PREFIX = "PART#"
POOL_PREFIX = "POOL#"
SUM_PREFIX = "SUM#"
DENIAL_PREFIX = "DENIAL#"
ENTITLEMENT_PREFIX = "ENTITLEMENT#"
WEBHOOK_REQUEST_PREFIX = "WEBHOOK_REQUEST#"
REPORT_PREFIX = "REPORT#"
SEAT_REQUEST_PREFIX = "SEAT_REQUEST#"
ASKED = "ASKED#"
FOLLOW_UP_PREFIX = "FOLLOWUP#"
FOLLOW_UP_ENTRY = "ENTRY#"
SEATS = "seats"  # the meter of an entitlement's seats
# What has a time at which it is due, beside what the sweep looks for: partitions of its index.
DUE_MAILS = "MAILS"
DUE_DELIVERIES = tuple(f"DELIVERIES#{shard:x}" for shard in range(16))


def entitlement_key(entitlement_id: str) -> Key:
    """The entitlement: what was sold, to whom, on which terms."""
    return Key(f"{ENTITLEMENT_PREFIX}{entitlement_id}", "ENTITLEMENT")


def ledger_key(entitlement_id: str, page: int = 0) -> Key:
    """A ledger page: the set of seats held."""
    return Key(f"{LEDGER_PREFIX}{entitlement_id}#{page:04d}", "LEDGER")


def standing_key(entitlement_id: str) -> Key:
    """How a pool stands, in a small item that everybody who grants reads."""
    return Key(f"{POOL_PREFIX}{entitlement_id}", "STANDING")


def pool_key(entitlement_id: str) -> Key:
    """A pool: how many pages it has, what is in its bank, what is to be done with it."""
    return Key(f"{POOL_PREFIX}{entitlement_id}", "POOL")


def sum_key(entitlement_id: str) -> Key:
    """A pool's sum: the changes of all its pages, brought into one sequence."""
    return Key(f"{SUM_PREFIX}{entitlement_id}", "SUM")


def pool_sweep(entitlement_id: str) -> str:
    """The partition of the sweep's index for the pages of one pool."""
    return f"SWEEP#{entitlement_id}"


def room_shard(entitlement_id: str, shard: int) -> str:
    """A partition of the index of the pages of one pool that may have room."""
    return f"ROOM#{entitlement_id}#{shard}"


def usage_key(entitlement_id: str, usage: str, page: int = 0) -> Key:
    """The counter of a usage limit."""
    return Key(f"{USAGE_PREFIX}{entitlement_id}#{usage}#{page:04d}", "LEDGER")


def part_key(entitlement_id: str, usage: str, number: int) -> Key:
    """A part of a usage limit that is spread. Nobody reads its stream: the counter tells of it."""
    return Key(f"{PART_PREFIX}{entitlement_id}#{usage}#{number:04d}", "PART")


def consumption_key(entitlement_id: str, usage: str, request_key: str) -> Key:
    """What a request consumed, once its counter names it no more."""
    return Key(f"CONSUMED#{entitlement_id}#{usage}#{request_key}", "CONSUMED")


def period_key(entitlement_id: str, usage: str, number: int) -> Key:
    """A usage limit's period that has ended, the n-th of its counter."""
    return Key(f"PERIODS#{entitlement_id}#{usage}", f"{number:06d}")


def correction_key(entitlement_id: str, usage: str, at_ms: int, seq: int) -> Key:
    """A correction of a usage limit's count."""
    return Key(f"CORRECTIONS#{entitlement_id}#{usage}", f"{at_ms:013d}#{seq:012d}")


def owner_of(pk: str) -> str:
    """The entitlement id in the partition key of a ledger page, a counter or a denial."""
    return pk.split("#")[1]


def page_number(pk: str) -> int:
    """The number of a ledger page, by its partition key."""
    return int(pk.rpartition("#")[2])


def usage_meter(usage: str) -> str:
    """What is metered by the usage limit of this key."""
    return f"usage#{usage}"


def usage_of(meter: str) -> str | None:
    """The key of a meter's usage limit; None for seats."""
    return None if meter == SEATS else meter.partition("#")[2]


def meter_of(pk: str) -> str:
    """The meter that a ledger page, a counter or a denial is about, by its partition key."""
    kind, _, *rest = pk.split("#")
    if f"{kind}#" in (USAGE_PREFIX, PART_PREFIX):
        return usage_meter(rest[0])
    return usage_meter(rest[2]) if len(rest) > 2 else SEATS


def _of(meter: str) -> str:
    """The end of a partition key that is the shorter one for seats."""
    return "" if meter == SEATS else f"#{meter}"


def seat_record_key(entitlement_id: str, seat_key: str, page: int = 0) -> Key:
    """A seat record: the person behind a seat key."""
    return Key(f"SEATS#{entitlement_id}#{page:04d}", seat_key)


def denial_key(entitlement_id: str, seat_key: str, hour: str, meter: str = SEATS) -> Key:
    """Attempts of one seat key refused at the cap in one UTC hour (`YYYY-MM-DDTHH`).

    A seat key always falls on the same one of 16 partitions: a storm spreads, and everything
    about one person is one query. Of a usage limit, a request's key takes the seat key's place.
    """
    pk = denial_partition(entitlement_id, denial_shard(seat_key), meter)
    return Key(pk, f"{hour}#{seat_key}")


def denial_partition(entitlement_id: str, shard: str, meter: str = SEATS) -> str:
    """The partition key of one of the 16 partitions of an entitlement's denials."""
    return f"{DENIAL_PREFIX}{entitlement_id}#{shard}{_of(meter)}"


def denial_shard(seat_key: str) -> str:
    """The one of 16 partitions of denials on which a seat key falls, a hex digit."""
    return f"{sum(seat_key.encode()) % DENIAL_SHARDS:x}"


def change_key(entitlement_id: str, at_ms: int, seq: int, page: int = 0, meter: str = SEATS) -> Key:
    """A kept change: one accepted version of a page or a counter, in the order of time."""
    pk = f"CHANGES#{entitlement_id}#{page:04d}{_of(meter)}"
    return Key(pk, f"{at_ms:013d}#{seq:012d}")


def attempt_key(
    entitlement_id: str, at_ms: int, seat_key: str, attempts: int, meter: str = SEATS
) -> Key:
    """A kept denial: one attempt of a seat key, the n-th in its hour."""
    pk = f"CHANGES#{entitlement_id}#denied-{denial_shard(seat_key)}{_of(meter)}"
    return Key(pk, f"{at_ms:013d}#{seat_key}#{attempts:09d}")


def quarter_key(entitlement_id: str, meter: str, quarter: str) -> Key:
    """Use of one meter in one quarter-hour (`YYYY-MM-DDTHH:MM`, UTC)."""
    return Key(f"HISTORY#{entitlement_id}#{meter}", quarter)


def denied_quarter_key(entitlement_id: str, quarter: str, seat_key: str, meter: str = SEATS) -> Key:
    """Attempts of one seat key denied in one quarter-hour."""
    return Key(f"HISTORY#{entitlement_id}#denied{_of(meter)}", f"{quarter}#{seat_key}")


def rollup_key(entitlement_id: str, meter: str, size: str, start: str) -> Key:
    """Use of one meter in a UTC hour or day (`size`: `hours`, `days`), by when it begins."""
    return Key(f"HISTORY#{entitlement_id}#{meter}#{size}", start)


def denied_day_key(entitlement_id: str, day: str, meter: str = SEATS) -> Key:
    """Attempts denied on a UTC day (`YYYY-MM-DD`), by hour."""
    return Key(f"HISTORY#{entitlement_id}#denied-days{_of(meter)}", day)


def episode_key(entitlement_id: str, meter: str, start_ms: int) -> Key:
    """One overdraft episode, by when it began."""
    return Key(f"EPISODES#{entitlement_id}#{meter}", f"{start_ms:013d}")


def mail_state_key(entitlement_id: str, audience: str) -> Key:
    """What is to be told to an audience, and when it was last told something."""
    return Key(f"MAIL#{entitlement_id}", f"STATE#{audience}")


def mail_key(entitlement_id: str, at_ms: int, audience: str) -> Key:
    """One e-mail: claimed, then sent."""
    return Key(f"MAIL#{entitlement_id}", f"SENT#{at_ms:013d}#{audience}")


def unsubscribed_key(entitlement_id: str, address_hash: str) -> Key:
    """Marks an address that wants no more mail about an entitlement."""
    return Key(f"MAIL#{entitlement_id}", f"UNSUBSCRIBED#{address_hash}")


def webhook_key(webhook_id: str) -> Key:
    """A webhook endpoint. All are in one partition: who sends events needs all of them."""
    return Key("WEBHOOKS", webhook_id)


def webhooks_version_key() -> Key:
    """Counts the changes of webhook endpoints, so that a cache of them can be checked."""
    return Key("WEBHOOKS_VERSION", "VERSION")


def webhook_secret_key(webhook_id: str) -> Key:
    """What signs the messages to an endpoint."""
    return Key(f"WEBHOOK_SECRET#{webhook_id}", "SECRET")


def webhook_state_key(webhook_id: str) -> Key:
    """How an endpoint has been answering."""
    return Key(f"WEBHOOK_STATE#{webhook_id}", "STATE")


def webhook_request_key(webhook_id: str, request_id: str) -> Key:
    """A test event or a resend that somebody asked for."""
    return Key(f"{WEBHOOK_REQUEST_PREFIX}{webhook_id}", request_id)


def due_deliveries(webhook_id: str) -> str:
    """The partition of the sweep's index for the deliveries to an endpoint."""
    return DUE_DELIVERIES[sum(webhook_id.encode()) % len(DUE_DELIVERIES)]


def delivery_key(webhook_id: str, at_ms: int, event_id: str) -> Key:
    """The delivery of one event to one endpoint."""
    return Key(f"DELIVERY#{webhook_id}", f"{at_ms:013d}#{event_id}")


def credential_key(key_id: str) -> Key:
    """An API key or a license key, by its public id."""
    return Key(f"KEY#{key_id}", "KEY")


def idempotency_key(digest: str) -> Key:
    """The answer given to an `Idempotency-Key`."""
    return Key(f"IDEMPOTENCY#{digest}", "IDEMPOTENCY")


def overdraft_key(entitlement_id: str, meter: str = SEATS) -> Key:
    """Marks an entitlement of which more is in use than was purchased."""
    return Key("OVERDRAFT", f"{entitlement_id}{_of(meter)}")


def notable_shard(entitlement_id: str) -> int:
    """The one of 16 partitions of a month on which an entitlement's marks fall."""
    return sum(entitlement_id.encode()) % NOTABLE_SHARDS


def notable_partition(month: str, shard: int) -> str:
    """The partition key of the marks of a UTC month (`YYYY-MM`), or of what is near `NOW`."""
    return f"NOTABLE#{month}#{shard:x}"


def notable_key(entitlement_id: str, month: str, meter: str = SEATS) -> Key:
    """Marks that a meter came near to its limit, or denied, in a month: a report looks at it."""
    shard = notable_shard(entitlement_id)
    return Key(notable_partition(month, shard), f"{entitlement_id}{_of(meter)}")


def marked(sort_key: str) -> tuple[str, str]:
    """The entitlement and the meter of a mark."""
    owner, _, meter = sort_key.partition("#")
    return owner, meter or SEATS


def seat_request_key(entitlement_id: str, at_ms: int, request_id: str) -> Key:
    """More seats that the customer asked for, in the order of time."""
    return Key(f"{SEAT_REQUEST_PREFIX}{entitlement_id}", f"{ASKED}{at_ms:013d}#{request_id}")


def follow_up_key(entitlement_id: str) -> Key:
    """Where sales stand with an entitlement."""
    return Key(f"{FOLLOW_UP_PREFIX}{entitlement_id}", "STATE")


def follow_up_entry_key(entitlement_id: str, version: int) -> Key:
    """One change of a follow-up: who, when, what."""
    return Key(f"{FOLLOW_UP_PREFIX}{entitlement_id}", f"{FOLLOW_UP_ENTRY}{version:08d}")


def report_key(report_id: str) -> Key:
    """A report: what was asked for, and how far it is."""
    return Key(f"{REPORT_PREFIX}{report_id}", "REPORT")


def report_job_key(report_id: str, step: str, number: int) -> Key:
    """How often a job of a report was begun."""
    return Key(f"REPORT_JOB#{report_id}", f"{step}#{number:05d}")


def report_series_key(series: str) -> Key:
    """The newest report of one period and filters."""
    return Key(f"REPORT_SERIES#{series}", "SERIES")


def secret_key(name: str) -> Key:
    """A secret that this stack made for itself."""
    return Key(f"SECRET#{name}", "SECRET")


def heartbeat_key() -> Key:
    """Written every minute, so that the stream always has something to be read."""
    return Key("HEARTBEAT", "HEARTBEAT")


def sweep_shard(entitlement_id: str) -> str:
    """The partition of the sweep's index for this entitlement."""
    return f"SWEEP#{sum(entitlement_id.encode()) % SWEEP_SHARDS}"


# --- Requests and replies -----------------------------------------------------------------------


class Get(NamedTuple):
    """Read one item, strongly consistent. Replied with the item, or None."""

    key: Key


class BatchGet(NamedTuple):
    """Read items, strongly consistent. Replied with a dict of the keys that exist."""

    keys: tuple[Key, ...]


class Update(NamedTuple):
    """A conditional update. Replied with `Accepted`, `Refused` or `Conflicted`."""

    key: Key
    expression: str
    condition: str
    names: Mapping[str, str]
    values: Mapping[str, Value]


class Put(NamedTuple):
    """Write a whole item, `None` attributes left out. Replied like an update, with no item."""

    key: Key
    item: Mapping[str, Value]
    condition: str = ""
    names: Mapping[str, str] = NO_NAMES
    values: Mapping[str, Value] = NO_VALUES


class Delete(NamedTuple):
    """Delete one item. Replied like an update, with no item."""

    key: Key
    condition: str = ""
    names: Mapping[str, str] = NO_NAMES
    values: Mapping[str, Value] = NO_VALUES


class Transact(NamedTuple):
    """All or nothing. Replied with `Accepted`, `Cancelled` or `Conflicted`."""

    actions: tuple[Update | Put | Delete, ...]


class Query(NamedTuple):
    """One partition of the table or of an index. Replied with a `Found`.

    `condition` is the key condition, `filter` is applied after reading; `start` is a key of
    an earlier `Found.next`.
    """

    condition: str
    values: Mapping[str, Value]
    names: Mapping[str, str] = NO_NAMES
    index_name: str = ""
    filter: str = ""
    limit: int | None = None
    start: Mapping[str, Value] | None = None
    descending: bool = False


class BatchPut(NamedTuple):
    """Write whole items without a condition, in any order. Replied with `Accepted`."""

    items: tuple[tuple[Key, Mapping[str, Value]], ...]


class Pause(NamedTuple):
    """Wait before another attempt (0: not at all). Replied with the time, Unix milliseconds."""

    attempt: int


class Accepted(NamedTuple):
    """The write took place; `item` is the whole item after it, where the request returns one."""

    item: Item | None = None


class Refused(NamedTuple):
    """The condition did not hold; `item` is what was there, None if nothing."""

    item: Item | None


class Cancelled(NamedTuple):
    """A transaction's conditions did not hold; per action: (was it this one, what was there)."""

    reasons: tuple[tuple[bool, Item | None], ...]


class Conflicted(NamedTuple):
    """A transaction on the same item was under way; nothing was written."""


class Found(NamedTuple):
    """The items of a query, and the key to go on from, None at the end."""

    items: list[Item]
    next: Item | None


Request: TypeAlias = Get | BatchGet | BatchPut | Update | Put | Delete | Transact | Query
Reply: TypeAlias = Accepted | Refused | Conflicted
Returned = TypeVar("Returned")
# Something done in several requests: yields them, is sent the replies, returns its outcome.
Steps: TypeAlias = Generator[Any, Any, Returned]


class Unavailable(Exception):
    """DynamoDB did not answer, or throttled, within the bounded retries.

    Whether a write took place is not known; every write of this product can be repeated.
    """


class NewerFormat(Unavailable):
    """An item was written by newer code, in a form that this code cannot read: nothing is decided.

    It passes once the newer code runs everywhere, or the item is written in the older form again.
    """


class TableError(Exception):
    """DynamoDB refused a request for a reason that no retry mends: a defect or a missing right."""


# --- Wire form ----------------------------------------------------------------------------------


_WIRE: dict[type, Callable[[Any], dict[str, Any]]] = {
    str: lambda value: {"S": value},
    bool: lambda value: {"BOOL": value},
    int: lambda value: {"N": str(value)},
    dict: lambda value: {"M": {name: to_wire(inner) for name, inner in value.items()}},
    list: lambda value: {"L": [to_wire(inner) for inner in value]},
    frozenset: lambda value: {"SS": sorted(value)},
    type(None): lambda _: {"NULL": True},
}


def to_wire(value: Value) -> dict[str, Any]:
    """A Python value in DynamoDB's JSON.

    Raises:
        TypeError: it has no such form.
    """
    form = _WIRE.get(type(value))
    if form is None:
        raise TypeError(f"{type(value).__name__} has no wire form")
    return form(value)


def from_wire(wire: Mapping[str, Any]) -> Any:
    """A value in DynamoDB's JSON as Python; every number of this product is an integer."""
    [(kind, value)] = wire.items()
    if kind == "N":
        return int(value)
    if kind == "M":
        # Numbers are taken here and now: a page has a hundred of them.
        return {
            name: int(inner["N"]) if "N" in inner else from_wire(inner)
            for name, inner in value.items()
        }
    if kind == "L":
        return [from_wire(inner) for inner in value]
    if kind == "SS":
        return frozenset(value)
    if kind == "NULL":
        return None
    return value


# The newest form of items that this code reads, and where an item of a later form says so
# (docs/decisions/0016-item-formats.md).
FORMAT = 1
FORMAT_ATTRIBUTE = "itemFormat"
_IS_READABLE = f"attribute_not_exists({FORMAT_ATTRIBUTE})"


def item_from_wire(wire: Mapping[str, Any]) -> Item:
    """A whole item, as the stream and the answers carry it.

    Raises:
        NewerFormat.
    """
    if FORMAT_ATTRIBUTE in wire and int(wire[FORMAT_ATTRIBUTE]["N"]) > FORMAT:
        raise NewerFormat(f"an item has format {wire[FORMAT_ATTRIBUTE]['N']}")
    return {name: from_wire(value) for name, value in wire.items()}


def _item_to_wire(item: Mapping[str, Value]) -> dict[str, Any]:
    return {name: to_wire(value) for name, value in item.items() if value is not None}


def _key_to_wire(key: Key) -> dict[str, Any]:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def _conditions(request: Update | Put | Delete) -> dict[str, Any]:
    # Also a write that has not read the item leaves alone what it could not read.
    condition = request.condition
    if condition:
        condition = f"({condition})" if " OR " in condition else condition
        condition += " AND "
    body: dict[str, Any] = {
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        "ConditionExpression": condition + _IS_READABLE,
    }
    if request.names:
        body["ExpressionAttributeNames"] = dict(request.names)
    if request.values:
        body["ExpressionAttributeValues"] = {k: to_wire(v) for k, v in request.values.items()}
    return body


def _write_body(request: Update | Put | Delete) -> tuple[str, dict[str, Any]]:
    body = _conditions(request)
    if isinstance(request, Put):
        body["Item"] = {**_key_to_wire(request.key), **_item_to_wire(request.item)}
        return "Put", body
    body["Key"] = _key_to_wire(request.key)
    if isinstance(request, Update):
        body["UpdateExpression"] = request.expression
        return "Update", body
    return "Delete", body


def assign(sets: Mapping[str, Value]) -> tuple[list[str], list[str], dict[str, Value]]:
    """Assignments, removals (of what is None) and values that give attributes new values."""
    assignments, removals, values = [], [], dict[str, Value]()
    for number, (name, value) in enumerate(sets.items()):
        if value is None:
            removals.append(name)
        else:
            assignments.append(f"{name} = :v{number}")
            values[f":v{number}"] = value
    return assignments, removals, values


def set_and_remove(assignments: Iterable[str], removals: Iterable[str]) -> str:
    """An update expression."""
    expression, removed = f"SET {', '.join(assignments)}", ", ".join(removals)
    return f"{expression} REMOVE {removed}" if removed else expression


# --- The door -----------------------------------------------------------------------------------

CONNECT_SECONDS = 1.0
READ_SECONDS = 3.0
# How often a request is sent that fails, and one that is throttled: that is waited for longer.
ATTEMPTS = 4
THROTTLED_ATTEMPTS = 8
# The longest wait between two attempts: of somebody's request, and of work in the background.
LONGEST_WAIT = 0.4
LONGEST_BACKGROUND_WAIT = 5.0
_THROTTLED = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)
_RETRIED = _THROTTLED | {
    "InternalServerError",
    "ItemCollectionSizeLimitExceededException",
    "ServiceUnavailable",
    "TransactionInProgressException",
}


_encode = json.JSONEncoder(separators=(",", ":")).encode


class _Rejected(TableError):
    def __init__(self, code: str, body: dict[str, Any]) -> None:
        super().__init__(code)
        self.code = code
        self.body = body


class Table:
    """One table, one warm connection pool.

    `meter`, when given, is called after every answer with the operation's name and the capacity
    units it consumed.
    """

    def __init__(
        self,
        name: str,
        *,
        region: str,
        endpoint: str,
        credentials: Credentials,
        meter: Callable[[str, float], None] | None = None,
    ) -> None:
        self.name = name
        self._meter = meter
        self._deadline = float("inf")
        self._is_background = False
        self._endpoint = endpoint.rstrip("/") + "/"
        self._signer = SigV4Auth(credentials, "dynamodb", region)
        self._http = urllib3.connection_from_url(
            self._endpoint,
            maxsize=32,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            retries=False,
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Table":
        """The table of a deployed function: `TABLE_NAME`, and what Lambda sets by itself."""
        region = environ["AWS_REGION"]
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        endpoint = (
            environ.get("AWS_ENDPOINT_URL_DYNAMODB")
            or environ.get("AWS_ENDPOINT_URL")
            or f"https://dynamodb.{region}.{suffix}"
        )
        credentials = Credentials(
            environ["AWS_ACCESS_KEY_ID"],
            environ["AWS_SECRET_ACCESS_KEY"],
            environ.get("AWS_SESSION_TOKEN"),
        )
        return cls(environ["TABLE_NAME"], region=region, endpoint=endpoint, credentials=credentials)

    def execute(self, request: Request) -> Any:
        """Carry out one request and give its reply.

        Raises:
            Unavailable: no answer within the bounded retries.
            TableError: DynamoDB rejects the request itself.
        """
        if isinstance(request, Get):
            answer = self._call(
                "GetItem", {"Key": _key_to_wire(request.key), "ConsistentRead": True}
            )
            return item_from_wire(answer["Item"]) if "Item" in answer else None
        if isinstance(request, Query):
            return self._query(request)
        if isinstance(request, BatchGet):
            return self._batch_get(request.keys)
        if isinstance(request, BatchPut):
            return self._batch_put(request.items)
        if isinstance(request, Transact):
            return self._transact(request)
        return self._write(request)

    def _write(self, request: Update | Put | Delete) -> Accepted | Refused | Conflicted:
        verb, body = _write_body(request)
        if verb == "Update":
            body["ReturnValues"] = "ALL_NEW"
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = self._call(f"{verb}Item", body)
            except _Rejected as rejected:
                if rejected.code == "ConditionalCheckFailedException":
                    old = rejected.body.get("Item")
                    return Refused(item_from_wire(old) if old else None)
                if rejected.code != "TransactionConflictException":
                    raise TableError(rejected.code) from rejected
                if request.condition:
                    return Conflicted()
                # Nobody asks what became of a write that has no condition: it is made.
                if self._gives_up(attempt, THROTTLED_ATTEMPTS):
                    raise Unavailable("a transaction was always in the way") from rejected
                self._wait(attempt)
                continue
            new = answer.get("Attributes")
            return Accepted(item_from_wire(new) if new else None)

    def answer_within(self, seconds: float, *, is_background: bool = False) -> None:
        """From now on, begin no attempt later than that; `Unavailable` is raised instead.

        `is_background`: nobody waits for an answer, so that a table that is throttled, or away for
        a while, is waited for until then: work of the stream, of queues and of schedules.
        """
        self._deadline = time.monotonic() + seconds
        self._is_background = is_background

    def _gives_up(self, attempt: int, most: int) -> bool:
        """Whether there is to be no further attempt after so many."""
        is_late = time.monotonic() > self._deadline
        return is_late or (attempt >= most and not self._is_background)

    def _wait(self, attempt: int) -> None:
        longest = LONGEST_BACKGROUND_WAIT if self._is_background else LONGEST_WAIT
        left = max(0.0, self._deadline - time.monotonic())
        time.sleep(min(backoff_seconds(attempt, longest), left))

    def run(
        self,
        operation: Steps[Returned],
        clock: Callable[[], int] | None = None,
        *,
        waits: bool = True,
    ) -> Returned:
        """Drive an operation to its outcome.

        After a pause `clock` is asked, Unix milliseconds: this machine's, if none is given.
        """
        reply: Any = None
        while True:
            try:
                request = operation.send(reply)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if isinstance(request, Pause):
                if waits:
                    time.sleep(backoff_seconds(request.attempt))
                reply = (clock or now_ms)()
            else:
                reply = self.execute(request)

    def _query(self, request: Query) -> Found:
        body: dict[str, Any] = {
            "KeyConditionExpression": request.condition,
            "ExpressionAttributeValues": {k: to_wire(v) for k, v in request.values.items()},
            "ScanIndexForward": not request.descending,
        }
        if request.names:
            body["ExpressionAttributeNames"] = dict(request.names)
        if request.index_name:
            body["IndexName"] = request.index_name
        else:
            body["ConsistentRead"] = True
        if request.filter:
            body["FilterExpression"] = request.filter
        if request.limit:
            body["Limit"] = request.limit
        if request.start:
            body["ExclusiveStartKey"] = _item_to_wire(request.start)
        answer = self._call("Query", body)
        last = answer.get("LastEvaluatedKey")
        return Found(
            [item_from_wire(item) for item in answer["Items"]],
            item_from_wire(last) if last else None,
        )

    def _batch_get(self, keys: Iterable[Key]) -> dict[Key, Item]:
        found: dict[Key, Item] = {}
        wanted = [_key_to_wire(key) for key in dict.fromkeys(keys)]

        def read(part: list[Any]) -> list[Any]:
            answer = self._call(
                "BatchGetItem",
                {"RequestItems": {self.name: {"Keys": part, "ConsistentRead": True}}},
            )
            for wire in answer["Responses"].get(self.name, []):
                item = item_from_wire(wire)
                found[Key(item["pk"], item["sk"])] = item
            unread = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            return list(unread)

        self._in_parts(wanted, 100, read)
        return found

    def _batch_put(self, items: Iterable[tuple[Key, Mapping[str, Value]]]) -> Accepted:
        # The last one for a key wins, since one call takes each key once.
        wanted = [
            {"PutRequest": {"Item": {**_key_to_wire(key), **_item_to_wire(item)}}}
            for key, item in dict(items).items()
        ]

        def write(part: list[Any]) -> list[Any]:
            answer = self._call("BatchWriteItem", {"RequestItems": {self.name: part}})
            return list(answer.get("UnprocessedItems", {}).get(self.name, []))

        self._in_parts(wanted, 25, write)
        return Accepted()

    def _in_parts(
        self, wanted: list[Any], size: int, call: Callable[[list[Any]], list[Any]]
    ) -> None:
        """Call with parts of a list; what a call leaves undone is tried again.

        A bounded time without progress: a table that is throttled takes a part of a batch.
        """
        attempt = 0
        while wanted:
            part = wanted[:size]
            left = call(part)
            wanted = left + wanted[size:]
            attempt = 0 if not left else attempt + 1 if len(left) == len(part) else 1
            if left and self._gives_up(attempt, THROTTLED_ATTEMPTS):
                raise Unavailable("a batch was left unprocessed")
            if left:
                self._wait(attempt)

    def _transact(self, request: Transact) -> Accepted | Cancelled | Conflicted:
        actions = []
        for action in request.actions:
            verb, body = _write_body(action)
            actions.append({verb: {"TableName": self.name, **body}})
        # The token makes our own repetition after a lost answer harmless.
        token = base64.urlsafe_b64encode(os.urandom(24)).decode()
        try:
            self._call(
                "TransactWriteItems", {"TransactItems": actions, "ClientRequestToken": token}
            )
        except _Rejected as rejected:
            if rejected.code == "TransactionConflictException":
                return Conflicted()
            if rejected.code != "TransactionCanceledException":
                raise TableError(rejected.code) from rejected
            reasons = rejected.body["CancellationReasons"]
            codes = {reason.get("Code", "None") for reason in reasons}
            if "ConditionalCheckFailed" in codes:
                return Cancelled(
                    tuple(
                        (
                            reason.get("Code") == "ConditionalCheckFailed",
                            item_from_wire(reason["Item"]) if reason.get("Item") else None,
                        )
                        for reason in reasons
                    )
                )
            if codes <= {"None", "TransactionConflict"}:
                return Conflicted()
            raise TableError(f"transaction cancelled: {sorted(codes)}") from rejected
        return Accepted()

    def _call(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        if not operation.startswith(("Transact", "Batch")):
            body["TableName"] = self.name
        if self._meter:
            body["ReturnConsumedCapacity"] = "TOTAL"
        payload = _encode(body).encode()
        problem, attempt, most = "out of time", 0, ATTEMPTS
        while not self._gives_up(attempt, most):
            if attempt:
                self._wait(attempt)
            attempt += 1
            try:
                status, answer = self._send(operation, payload)
            except (urllib3.exceptions.HTTPError, json.JSONDecodeError) as error:
                problem = type(error).__name__
                continue
            if status == 200:
                if self._meter:
                    consumed = answer.get("ConsumedCapacity") or {}
                    parts = consumed if isinstance(consumed, list) else [consumed]
                    self._meter(operation, sum(part.get("CapacityUnits", 0.0) for part in parts))
                return answer
            code = str(answer.get("__type", "")).rpartition("#")[2] or f"HTTP {status}"
            is_throttled = code in _THROTTLED or _is_throttled(answer)
            if status < 500 and code not in _RETRIED and not is_throttled:
                raise _Rejected(code, answer)
            problem, most = code, THROTTLED_ATTEMPTS if is_throttled else ATTEMPTS
        raise Unavailable(f"{operation}: {problem}")

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        request = AWSRequest(
            method="POST",
            url=self._endpoint,
            data=payload,
            headers={
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            },
        )
        self._signer.add_auth(request)
        response = self._http.urlopen(
            "POST", "/", body=payload, headers=dict(request.headers.items())
        )
        return response.status, json.loads(response.data)


def _is_throttled(answer: Mapping[str, Any]) -> bool:
    reasons = answer.get("CancellationReasons") or []
    codes = {reason.get("Code") for reason in reasons}
    return bool(codes & {"ThrottlingError", "ProvisionedThroughputExceeded"})


def backoff_seconds(attempt: int, longest: float = LONGEST_WAIT) -> float:
    """Full jitter: a random wait up to 25 ms, 50 ms, 100 ms, ... and never above the longest."""
    return random.uniform(0, min(longest, 0.025 * 2 ** min(attempt - 1, 20))) if attempt else 0.0
