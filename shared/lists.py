"""Lists: pages with a token that is opaque, tamper-proof, and bound to query and caller."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from shared import table, tokens
from shared.http import Request, Response
from shared.problems import InvalidRequest
from shared.table import Item, Query, Steps

DEFAULT_LIMIT = 50
MAX_LIMIT = 100
# How much one filtered page may read: then it ends early, with a token to go on from.
MAX_READS = 10


class Listed(NamedTuple):
    """Items of one page, and where the next one starts (None: there is none)."""

    items: list[dict[str, Any]]
    next: list[str] | None


def respond(request: Request, operation: Steps[Listed]) -> Response:
    """Run a list's operation and answer it with the token of its next page."""
    listed = request.table.run(operation)
    token = _token(request, listed.next) if listed.next else None
    return Response(200, {"items": listed.items, "nextPageToken": token})


def limit_of(request: Request) -> int:
    """How many items are asked for."""
    limit: int = request.query.get("limit", DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest.at("/limit", f"must be 1 to {MAX_LIMIT}", place="query")
    return limit


def _token(request: Request, start: list[str]) -> str:
    return tokens.seal(_secret(request), start, _context(request))


def start_of(request: Request) -> list[str] | None:
    """Where the page begins that a token asks for; None for the first page.

    Raises:
        InvalidRequest: made up, changed, or of another query or caller.
    """
    token = request.query.get("pageToken")
    if token is None:
        return None
    try:
        start: list[str] = tokens.unseal(_secret(request), token, _context(request))
    except ValueError:
        raise InvalidRequest.at(
            "/pageToken", "is not a token of this list, this query and this key", place="query"
        ) from None
    return start


def _context(request: Request) -> str:
    filters = {k: v for k, v in request.query.items() if k not in ("limit", "pageToken")}
    return json.dumps([request.caller.key_id, request.url, filters], sort_keys=True)


def _secret(request: Request) -> str:
    return request.table.run(tokens.own_secret("page-token"))


def read_page(query: Query, limit: int) -> Steps[tuple[list[Item], bool]]:
    """At most `limit` items of a query without a filter, and whether there are more.

    DynamoDB ends a page after 1 MB, whatever `Limit` says: it is read on from there, a bounded
    number of times, so that there may be fewer items, but always one if there is any.
    """
    items: list[Item] = []
    for _ in range(MAX_READS):
        found = yield query._replace(limit=limit + 1 - len(items))
        items += found.items
        if len(items) > limit:
            return items[:limit], True
        if found.next is None:
            return items, False
        query = query._replace(start=found.next)
    return items, True


def newest_first(
    request: Request, listed: str, view: Callable[[Item], dict[str, Any]]
) -> Steps[Listed]:
    """The items of one list of the `list` index."""
    limit = limit_of(request)
    query = list_query(listed, limit, start_of(request))
    items, has_more = yield from read_page(query, limit)
    return Listed([view(item) for item in items], position_of(items[-1]) if has_more else None)


def newest_of(
    request: Request, pk: str, prefix: str, view: Callable[[Item], dict[str, Any]]
) -> Steps[Listed]:
    """The items of one partition whose sort keys begin so, the last ones first."""
    limit, start = limit_of(request), start_of(request)
    query = Query(
        "pk = :pk AND sk BETWEEN :low AND :high",
        {":pk": pk, ":low": prefix, ":high": start[0] if start else f"{prefix}~"},
        descending=True,
    )
    items, has_more = yield from read_before(query, limit, start[0] if start else None)
    return Listed([view(item) for item in items], [items[-1]["sk"]] if has_more else None)


def read_before(query: Query, limit: int, end: str | None) -> Steps[tuple[list[Item], bool]]:
    """The same of a query that ends with the sort key `end`, which the page before has had."""
    items, has_more = yield from read_page(query, limit + 1)
    items = [item for item in items if end is None or item["sk"] < end]
    return items[:limit], has_more or len(items) > limit


def list_query(listed: str, limit: int, start: list[str] | None, **more: Any) -> Query:
    """A page of one list of the `list` index, newest first; `more` are parts of the query."""
    values = {":list": listed, **more.pop("values", {})}
    start_key = dict(zip(("pk", "sk", "listSort"), start, strict=True)) if start else None
    return Query(
        "listKey = :list",
        values,
        index_name=table.LIST_INDEX,
        limit=limit,
        start={**start_key, "listKey": listed} if start_key else None,
        descending=True,
        **more,
    )


def position_of(item: Item) -> list[str]:
    """Where a page goes on that ended with this item."""
    return [item["pk"], item["sk"], item["listSort"]]
