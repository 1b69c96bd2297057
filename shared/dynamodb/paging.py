"""Reading lists: a page of DynamoDB ends after 1 MB, whatever the number of items."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.dynamodb.keys import LIST_INDEX, SWEEP_INDEX, Key
from shared.dynamodb.requests import Found, Item, Operation, Query, Several, send

if TYPE_CHECKING:
    from shared.dynamodb.client import DynamoDBClient

# The most reads of one filtered page. It then ends early, with a token to go on from.
MAX_READS = 10
_SEPARATOR = "\0"  # before everything that a key may have


class ResultPage(NamedTuple):
    """One page of a list, and where the next one starts (None: there is none)."""

    items: Sequence[Mapping[str, object]]
    next: list[str] | None


def read_page(
    query: Query, limit: int, first: Found | None = None
) -> Operation[tuple[list[Item], bool]]:
    """At most `limit` items of a query without a filter, and whether there are more.

    DynamoDB ends a page after 1 MB, whatever `Limit` says. Reading goes on from there, a bounded
    number of times. So there may be fewer items, but at least one if there is any. `first`: what
    was read already.
    """
    items: list[Item] = []
    for _ in range(MAX_READS):
        found = first or (yield from send(query._replace(limit=limit + 1 - len(items))))
        first = None
        items += found.items
        if len(items) > limit:
            return items[:limit], True
        if found.next is None:
            return items, False
        query = query._replace(start=found.next)
    return items, True


def read_before(query: Query, limit: int, end: str | None) -> Operation[tuple[list[Item], bool]]:
    """The same for a query that ends with the sort key `end`, which was on the page before."""
    items, has_more = yield from read_page(query, limit + 1)
    items = [item for item in items if end is None or item["sk"] < end]
    return items[:limit], has_more or len(items) > limit


def read_filtered(
    query: Query, limit: int, first: Found | None = None
) -> Operation[tuple[list[Item], str | None]]:
    """At most `limit` items of a filtered query, and the sort key after which the next page begins.

    A filter is applied after reading. So a page ends after a bounded number of reads, with fewer
    items or none, and there is a next one. `first`: what was read already.
    """
    items: list[Item] = []
    for _ in range(MAX_READS):
        found = first or (yield from send(query))
        first = None
        items += found.items
        if len(items) > limit:
            return items[:limit], items[limit - 1]["sk"]
        if found.next is None:
            return items, None
        query = query._replace(start=found.next)
    return items, str((query.start or {})["sk"])


def read_merged(
    queries: Sequence[Query], limit: int, end: str | None
) -> Operation[tuple[list[Item], str | None]]:
    """The last `limit` items of several partitions, in one descending order of their sort keys.

    All the queries are descending, and their sort keys are at most `end`, with which the page
    before ended. Also returns the end of this page. It has a sort key, and the partition of its
    item, since two partitions may have the same sort key.
    """
    limited = limit + 1  # one that the page before had
    firsts: tuple[Found, ...] = yield from send(
        Several(
            tuple(query if query.filter else query._replace(limit=limited + 1) for query in queries)
        )
    )
    items: list[Item] = []
    known_to = ""  # every partition has been read up to here
    for query, first in zip(queries, firsts, strict=True):
        if query.filter:
            found, cut = yield from read_filtered(query, limited, first)
            cut = None if cut is None else f"{cut}{_SEPARATOR}"
        else:
            found, has_more = yield from read_page(query, limited, first)
            cut = _place(found[-1]) if has_more else None
        items += found
        known_to = max(known_to, cut or "")
    items = [item for item in items if known_to <= _place(item) and (not end or _place(item) < end)]
    items.sort(key=_place, reverse=True)
    if len(items) > limit:
        return items[:limit], _place(items[limit - 1])
    return items, known_to or None


def _place(item: Item) -> str:
    return f"{item['sk']}{_SEPARATOR}{item['pk']}"


def list_query(list_name: str, limit: int, start: list[str] | None, **more: Any) -> Query:
    """A page of one list of the `list` index, newest first; `more` are parts of the query."""
    values = {":list": list_name, **more.pop("values", {})}
    start_key = dict(zip(("pk", "sk", "listSort"), start, strict=True)) if start else None
    return Query(
        "listKey = :list",
        values,
        index_name=LIST_INDEX,
        limit=limit,
        start={**start_key, "listKey": list_name} if start_key else None,
        descending=True,
        **more,
    )


def position_of(item: Item) -> list[str]:
    """Where a list goes on after this item."""
    return [item["pk"], item["sk"], item["listSort"]]


def all_of(query: Query) -> Operation[list[Item]]:
    """Every item of a query, page by page."""
    items: list[Item] = []
    while True:
        found = yield from send(query)
        items += found.items
        if found.next is None:
            return items
        query = query._replace(start=found.next)


def find_in(pk: str, name: str, value: str) -> Operation[Item | None]:
    """The item of a partition whose attribute `name` has this value; None: there is none.

    For an id that is not in the sort key. The whole partition is read.
    """
    query = Query(
        "pk = :pk", {":pk": pk, ":value": value}, names={"#name": name}, filter="#name = :value"
    )
    return next(iter((yield from all_of(query))), None)


def key_range(pk: str, low: str, high: str) -> Query:
    """The items of one partition whose sort keys are between two, both included."""
    return Query("pk = :pk AND sk BETWEEN :low AND :high", {":pk": pk, ":low": low, ":high": high})


def due_keys(dynamodb: "DynamoDBClient", partition: str, now: int) -> Iterator[Key]:
    """The keys of what is due at `now` (Unix seconds) in a partition of the sweep's index.

    The index follows the table: read the item, and see whether it is due still.
    """
    query = Query(
        "sweepKey = :partition AND earliest <= :now",
        {":partition": partition, ":now": now},
        index_name=SWEEP_INDEX,
        limit=100,
    )
    while True:
        found = dynamodb.execute(query)
        yield from (Key(each["pk"], each["sk"]) for each in found.items)
        if found.next is None:
            return
        query = query._replace(start=found.next)
