"""Page tokens of lists: opaque, tamper-proof, and bound to the query and the caller."""

import json
from collections.abc import Callable, Mapping

from shared import signed_tokens
from shared.api.request import Request, Response
from shared.dynamodb.paging import ResultPage, list_query, position_of, read_before, read_page
from shared.dynamodb.requests import Item, Operation, Query
from shared.problems import InvalidRequest
from shared.texts import folded

DEFAULT_LIMIT = 50
MAX_LIMIT = 100


def respond(request: Request, operation: Operation[ResultPage]) -> Response:
    """Run a list's operation, and answer with the token of its next page."""
    result = request.dynamodb.run(operation)
    token = _token(request, result.next) if result.next else None
    return Response(200, {"items": result.items, "nextPageToken": token})


def limit_of(request: Request) -> int:
    """The number of items that is asked for."""
    limit: int = request.query.get("limit", DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest.at("/limit", f"must be 1 to {MAX_LIMIT}", place="query")
    return limit


def searched_id(request: Request) -> str:
    """The beginning of an id that is searched for, as it is searched.

    Raises:
        InvalidRequest: there is nothing to search for, or the caller may see no names.
    """
    text = folded(request.query["search"].strip())
    if request.caller.hides_names:
        raise InvalidRequest.at("/search", "this link shows no names", place="query")
    if not text:
        raise InvalidRequest.at("/search", "must have the beginning of an id", place="query")
    return text


def _token(request: Request, start: list[str]) -> str:
    return signed_tokens.seal(_secret(request), start, _context(request))


def start_of(request: Request) -> list[str] | None:
    """Where the page of a token begins; None for the first page.

    Raises:
        InvalidRequest: it was made up or changed, or it is of another query or caller.
    """
    token = request.query.get("pageToken")
    if token is None:
        return None
    try:
        start: list[str] = signed_tokens.unseal(_secret(request), token, _context(request))
    except ValueError:
        raise InvalidRequest.at(
            "/pageToken", "is not a token of this list, this query and this key", place="query"
        ) from None
    return start


def _context(request: Request) -> str:
    filters = {k: v for k, v in request.query.items() if k not in ("limit", "pageToken")}
    return json.dumps([request.caller.key_id, request.url, filters], sort_keys=True)


def _secret(request: Request) -> str:
    return request.dynamodb.run(signed_tokens.own_secret("page-token"))


def newest_first(
    request: Request, list_name: str, view: Callable[[Item], Mapping[str, object]]
) -> Operation[ResultPage]:
    """The items of one list of the `list` index."""
    limit = limit_of(request)
    query = list_query(list_name, limit, start_of(request))
    items, has_more = yield from read_page(query, limit)
    return ResultPage([view(item) for item in items], position_of(items[-1]) if has_more else None)


def newest_of(
    request: Request, pk: str, prefix: str, view: Callable[[Item], Mapping[str, object]]
) -> Operation[ResultPage]:
    """The items of one partition whose sort keys begin with `prefix`, the last ones first."""
    limit, start = limit_of(request), start_of(request)
    query = Query(
        "pk = :pk AND sk BETWEEN :low AND :high",
        {":pk": pk, ":low": prefix or " ", ":high": start[0] if start else f"{prefix}~"},
        descending=True,
    )
    items, has_more = yield from read_before(query, limit, start[0] if start else None)
    return ResultPage([view(item) for item in items], [items[-1]["sk"]] if has_more else None)
