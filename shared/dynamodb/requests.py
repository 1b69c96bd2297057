"""Requests to DynamoDB and their replies, as plain values.

Operations are generators that yield requests and are sent the replies, so that any driver can run
them: the client, a test that crashes between two requests, a simulation.
"""

from collections.abc import Generator, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

from shared.dynamodb.keys import Key

# A frozenset of strings is a string set, which is never empty.
Value: TypeAlias = str | int | bool | list["Value"] | dict[str, "Value"] | frozenset[str] | None
Item: TypeAlias = dict[str, Any]
NO_VALUES: Mapping[str, Value] = {}
NO_NAMES: Mapping[str, str] = {}


# --- Requests and replies -------------------------------------------------------------------------


class Get(NamedTuple):
    """Read one item, strongly consistent. The reply is the item, or None."""

    key: Key


class BatchGet(NamedTuple):
    """Read items, strongly consistent. The reply is a dict of the keys that exist."""

    keys: tuple[Key, ...]


class Update(NamedTuple):
    """A conditional update. The reply is `Accepted`, `Refused` or `Conflicted`."""

    key: Key
    expression: str
    condition: str
    names: Mapping[str, str]
    values: Mapping[str, Value]


class Put(NamedTuple):
    """Write a whole item without its `None` attributes. Reply: as for an update, without item."""

    key: Key
    item: Mapping[str, Value]
    condition: str = ""
    names: Mapping[str, str] = NO_NAMES
    values: Mapping[str, Value] = NO_VALUES


class Delete(NamedTuple):
    """Delete one item. The reply is that of an update, with no item."""

    key: Key
    condition: str = ""
    names: Mapping[str, str] = NO_NAMES
    values: Mapping[str, Value] = NO_VALUES


class Transact(NamedTuple):
    """All or nothing. The reply is `Accepted`, `Cancelled` or `Conflicted`."""

    actions: tuple[Update | Put | Delete, ...]


class Query(NamedTuple):
    """One partition of the table or of an index. The reply is a `Found`.

    `condition` is the key condition. `filter` is applied after reading. `start` is the `next` of an
    earlier `Found`.
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
    """Write whole items without a condition, in any order. The reply is `Accepted`."""

    items: tuple[tuple[Key, Mapping[str, Value]], ...]


class Pause(NamedTuple):
    """Wait before another attempt (0: do not wait). The reply is the time, Unix milliseconds."""

    attempt: int


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


class Found(NamedTuple):
    """The items of a query, and the key to go on from, None at the end."""

    items: list[Item]
    next: Item | None


Request: TypeAlias = Get | BatchGet | BatchPut | Update | Put | Delete | Transact | Query
Reply: TypeAlias = Accepted | Refused | Conflicted
Returned = TypeVar("Returned")
# Something done in several requests: it yields them, is sent the replies, and returns its outcome.
Operation: TypeAlias = Generator[Any, Any, Returned]


class Unavailable(Exception):
    """DynamoDB did not answer, or throttled, within the bounded retries.

    Whether a write took place is not known. Every write of this product can be repeated.
    """


class NewerFormat(Unavailable):
    """Newer code wrote an item in a format that this code cannot read, so nothing is decided.

    This passes once the newer code runs everywhere, or once the item has the older format again.
    """


class DynamoDBError(Exception):
    """DynamoDB refused a request, and no retry helps: a defect, or a missing right."""
