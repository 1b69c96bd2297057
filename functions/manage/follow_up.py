"""The follow-up of an overdraft by sales."""

from typing import Any

from functions.manage import entitlement_lists, entitlements
from shared.api import pagination
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.follow_up import FollowUpPatch
from shared.audit import differences, entry_put
from shared.clock import from_rfc3339_ms, to_rfc3339
from shared.dynamodb.keys import FOLLOW_UP_ENTRY, follow_up_key, follow_up_list
from shared.dynamodb.paging import MAX_READS, ResultPage, list_query, position_of
from shared.dynamodb.requests import Accepted, Get, Item, Operation, Pause, Transact, send
from shared.entitlements.views import EntitlementView
from shared.problems import Contention, InvalidRequest
from shared.sales import follow_up

ROUNDS = 5


def read(request: Request) -> Response:
    """Read the follow-up of an entitlement."""
    item = request.dynamodb.run(_fetch(request.path["entitlementId"]))
    return _respond(request, item)


def update(request: Request) -> Response:
    """Change it. The change is stored with its author, and becomes an event."""
    return _respond(request, request.dynamodb.run(_update(request)))


def _respond(request: Request, item: Item | None) -> Response:
    headers = {"etag": _etag(item)}
    return Response(200, follow_up.view(request.path["entitlementId"], item), headers)


def _etag(item: Item | None) -> str:
    return f'"{item["version"]}"' if item else '"0"'


def _fetch(entitlement_id: str) -> Operation[Item | None]:
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    item = yield from send(Get(follow_up_key(entitlement_id)))
    return item


def _update(request: Request) -> Operation[Item | None]:
    owner = request.path["entitlementId"]
    for attempt in range(1, ROUNDS + 1):
        seen = yield from _fetch(owner)
        entitlements.check_version(request, seen or {"version": 0})
        changed = _changes(request.body, seen, request.now_ms)
        if not changed:
            return seen
        # Clocks differ: a change comes after the one before.
        at = max(request.now_ms, seen["changedAt"] + 1 if seen else 0)
        item = follow_up.change(owner, seen, at, request.caller.actor, changed)
        on_record = entry_put(
            request.change,
            "follow_up.updated",
            owner,
            changes=differences(_shown({n: (seen or {}).get(n) for n in changed}), _shown(changed)),
        )
        writes = follow_up.writes(owner, seen, [item]).actions
        reply = yield from send(Transact((*writes, on_record)))
        if isinstance(reply, Accepted):
            return item
        yield from send(Pause(attempt))
    raise Contention


def _shown(values: dict[str, Any]) -> dict[str, Any]:
    """Members as the audit trail has them: times are texts."""
    due_at = values.get("dueAt")
    return values if due_at is None else {**values, "dueAt": to_rfc3339(due_at)}


def _changes(body: Any, seen: Item | None, now_ms: int) -> dict[str, Any]:
    """What a merge patch changes. A note always changes something.

    Raises:
        InvalidRequest.
    """
    model = parse(FollowUpPatch, body)
    given = model.model_dump(by_alias=True, include=model.model_fields_set)
    known = {"state": None, "owner": None, "dueAt": None, **(seen or {}), "note": None}
    if given.get("dueAt") is not None:
        given["dueAt"] = from_rfc3339_ms(given["dueAt"])
        state = given.get("state", known["state"] or "open")
        if state not in follow_up.UNFINISHED:
            raise InvalidRequest.at("/dueAt", f"goes with one of {', '.join(follow_up.UNFINISHED)}")
        if given["dueAt"] <= now_ms and given["dueAt"] != known["dueAt"]:
            raise InvalidRequest.at("/dueAt", "must be in the future")
    return {name: value for name, value in given.items() if value != known[name]}


class ListedFollowUpView(follow_up.FollowUpView):
    """A follow-up with the entitlement that it is of."""

    etag: str
    entitlement: EntitlementView


def list_all(request: Request) -> Response:
    """List the follow-ups of a state, the last changed first."""
    return pagination.respond(request, _listed(request))


def _listed(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    state = request.query.get("state", "open")
    more: dict[str, Any] = {}
    if "due" in request.query:
        is_due = "dueAt <= :now"
        more["filter"] = is_due if request.query["due"] else f"NOT ({is_due})"
        more["values"] = {":now": request.now_ms}
    query = list_query(
        follow_up_list(state), pagination.MAX_LIMIT if more else limit, start, **more
    )
    items: list[Item] = []
    following = None
    for _ in range(MAX_READS):
        found = yield from send(query)
        items += found.items
        following = position_of(found.next) if found.next else None
        if len(items) > limit:
            items = items[:limit]
            following = position_of(items[-1])
        if len(items) == limit or found.next is None:
            break
        query = query._replace(start=found.next)
    views = yield from entitlement_lists.views_of(
        [item["entitlementId"] for item in items], request.now
    )
    shown: list[ListedFollowUpView] = [
        {
            **follow_up.view(item["entitlementId"], item),
            "etag": _etag(item),
            "entitlement": views[item["entitlementId"]],
        }
        for item in items
        if item["entitlementId"] in views
    ]
    return ResultPage(shown, following)


def entries(request: Request) -> Response:
    """List every change, newest first."""
    return pagination.respond(request, _entries(request))


def _entries(request: Request) -> Operation[ResultPage]:
    owner = request.path["entitlementId"]
    yield from entitlements.require(owner, is_deleted_ok=True)
    pk = follow_up_key(owner).pk
    view = follow_up.entry_view
    return (yield from pagination.newest_of(request, pk, FOLLOW_UP_ENTRY, view))
