"""Requests to DynamoDB and their replies, as plain values.

An operation is a generator that yields requests and is sent the replies (`send`). So any driver can
run it: the client, a test that crashes between two requests, a simulation. See
`docs/operations.md`.
"""

from collections.abc import Generator, Mapping
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from shared.dynamodb.keys import Key

# A frozenset of strings is a string set, which is never empty.
Value: TypeAlias = str | int | bool | list["Value"] | dict[str, "Value"] | frozenset[str] | None
Item: TypeAlias = dict[str, Any]
NO_VALUES: Mapping[str, Value] = {}
NO_NAMES: Mapping[str, str] = {}


# --- Replies --------------------------------------------------------------------------------------


class Accepted(NamedTuple):
    """The write took place. `item` is the whole item after it, if the request returns one."""

    item: Item | None = None


class Refused(NamedTuple):
    """The condition did not hold. `item` is what was there, None if nothing."""

    item: Item | None


class Cancelled(NamedTuple):
    """Conditions of a transaction did not hold; per action: (was it this one, what was there)."""

    reasons: tuple[tuple[bool, Item | None], ...]


class Conflicted(NamedTuple):
    """A transaction on the same item was under way; nothing was written."""


class Throttled(NamedTuple):
    """The table takes no more at the moment; nothing was read or written."""


class Found(NamedTuple):
    """The items of a query, and the key to go on from, None at the end."""

    items: list[Item]
    next: Item | None


Written: TypeAlias = Accepted | Refused | Conflicted
Transacted: TypeAlias = Accepted | Cancelled | Conflicted


# --- Requests -------------------------------------------------------------------------------------
# The fields of a request are a NamedTuple, which costs a tenth of a dataclass at start-up.

ReplyT_co = TypeVar("ReplyT_co", covariant=True)
ResultT = TypeVar("ResultT")


class Request(Generic[ReplyT_co]):
    """One request, and the type of its reply."""

    __slots__ = ()


class _Get(NamedTuple):
    key: Key


class Get(_Get, Request[Item | None]):
    """Read one item, strongly consistent. The reply is None if there is none."""

    __slots__ = ()


class _BatchGet(NamedTuple):
    keys: tuple[Key, ...]


class BatchGet(_BatchGet, Request[dict[Key, Item]]):
    """Read items, strongly consistent. The reply has the keys that exist."""

    __slots__ = ()


class _Update(NamedTuple):
    key: Key
    expression: str
    condition: str
    names: Mapping[str, str]
    values: Mapping[str, Value]


class Update(_Update, Request[Written]):
    """A conditional update."""

    __slots__ = ()


class _Put(NamedTuple):
    key: Key
    item: Mapping[str, Value]
    condition: str = ""
    names: Mapping[str, str] = NO_NAMES
    values: Mapping[str, Value] = NO_VALUES


class Put(_Put, Request[Written]):
    """Write a whole item without its `None` attributes. `Accepted` has no item."""

    __slots__ = ()


class _Delete(NamedTuple):
    key: Key
    condition: str = ""
    names: Mapping[str, str] = NO_NAMES
    values: Mapping[str, Value] = NO_VALUES


class Delete(_Delete, Request[Written]):
    """Delete one item. `Accepted` has no item."""

    __slots__ = ()


class _Transact(NamedTuple):
    actions: tuple[Update | Put | Delete, ...]


class Transact(_Transact, Request[Transacted]):
    """Write several items, all or nothing."""

    __slots__ = ()


class _Query(NamedTuple):
    condition: str
    values: Mapping[str, Value]
    names: Mapping[str, str] = NO_NAMES
    index_name: str = ""
    filter: str = ""
    limit: int | None = None
    start: Mapping[str, Value] | None = None
    descending: bool = False


class Query(_Query, Request[Found]):
    """Read one partition of the table or of an index.

    `condition` is the key condition. `filter` is applied after reading. `start` is the `next` of an
    earlier `Found`.
    """

    __slots__ = ()


class _BatchPut(NamedTuple):
    items: tuple[tuple[Key, Mapping[str, Value]], ...]


class BatchPut(_BatchPut, Request[Accepted]):
    """Write whole items without a condition, in any order."""

    __slots__ = ()


class _Several(NamedTuple):
    requests: tuple[Request[Any], ...]


class Several(_Several, Request[tuple[Any, ...]]):
    """Requests that do not depend on each other; the reply has their replies in the same order."""

    __slots__ = ()


class _Once(NamedTuple, Generic[ReplyT_co]):
    request: Request[ReplyT_co]


class Once(_Once[ReplyT_co], Request[ReplyT_co | Throttled]):
    """A `Get`, a `Query` or an `Update` that is not repeated while the table is throttled."""

    __slots__ = ()


class _Pause(NamedTuple):
    attempt: int


class Pause(_Pause, Request[int]):
    """Wait before another attempt (0: do not wait). The reply is the time, Unix milliseconds."""

    __slots__ = ()


# Something done in several requests: it yields them, is sent the replies, and returns its result.
Operation: TypeAlias = Generator[Request[Any], Any, ResultT]


def send(request: Request[ReplyT_co]) -> Operation[ReplyT_co]:
    """Make one request within an operation; return its reply.

    This is the one place where a driver's reply gets its type.
    """
    reply: ReplyT_co = yield request
    return reply


# --- Errors ---------------------------------------------------------------------------------------


class Unavailable(Exception):
    """DynamoDB did not answer, or throttled, within the bounded retries.

    Whether a write took place is not known. Every write of this product can be repeated.
    """


class NewerFormat(Unavailable):
    """Newer code wrote an item in a format that this code cannot read, so nothing is decided.

    This passes once the newer code runs everywhere, or once the item has the older format again.
    """


class LostRace(Exception):
    """Work in the background gave up: other processes were faster at every attempt."""


class InvariantViolation(Exception):
    """An item that must exist does not, or says something impossible: a defect."""


class DynamoDBError(Exception):
    """DynamoDB refused a request, and no retry helps: a defect, or a missing right."""
