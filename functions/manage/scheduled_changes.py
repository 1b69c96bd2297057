"""Scheduled changes: made, listed and cancelled by the API, applied every minute when they are due.

A change is applied in the transaction that marks it applied. So it is applied once, whatever
crashes, and however many processes run.
"""

from collections.abc import Callable, Mapping
from typing import Any

from functions.manage import entitlements
from functions.manage.entitlements import AppliedBefore, Patch
from shared import observability
from shared.api import idempotency, pagination
from shared.api.idempotency import replayed
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.entitlements import ScheduledChangeInput
from shared.audit import EVIDENCE_SECONDS, Change, Subject, differences, entry_put
from shared.clock import from_rfc3339_ms, to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    DUE_CHANGES,
    SCHEDULED,
    Key,
    entitlement_key,
    scheduled_change_key,
)
from shared.dynamodb.paging import ResultPage, all_of, due_keys, find_in
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import (
    Accepted,
    Get,
    Item,
    Operation,
    Put,
    Query,
    Transact,
    Unavailable,
    Update,
    send,
)
from shared.entitlements.scheduled_changes import APPLIED, CANCELLED, FAILED, PENDING, view
from shared.history.buckets import DAY_MS
from shared.ids import new_id
from shared.problems import ChangeNotPending, Contention, InvalidRequest, NotFound, Problem

# So many changes of one entitlement may be pending.
MOST_PENDING = 50
# The furthest time of a change, from now.
FURTHEST_MS = 1_100 * DAY_MS
# A change that cannot be written is tried every minute for so long.
GIVE_UP_MS = DAY_MS
APPLIER = "schedule"


# --- The API --------------------------------------------------------------------------------------


def create(request: Request) -> Response:
    """Schedule a change of an entitlement, a JSON merge patch."""
    wanted = parse(ScheduledChangeInput, request.body)
    entitlement_id = request.path["entitlementId"]
    kept, _ = idempotency.kept_answer(request)
    if kept:
        return replayed(kept)
    at = from_rfc3339_ms(wanted.effective_at)
    if at <= request.now_ms:
        raise InvalidRequest.at("/effectiveAt", "must be in the future")
    if at > request.now_ms + FURTHEST_MS:
        raise InvalidRequest.at("/effectiveAt", "must be within three years")
    request.dynamodb.run(_check(entitlement_id, wanted.changes, at, request.change))
    change_id = new_id("sch")
    item: Item = {
        "scheduledChangeId": change_id,
        "entitlementId": entitlement_id,
        "effectiveAt": at,
        "changes": wanted.changes,
        "note": wanted.note,
        "status": PENDING,
        "createdAt": request.now_ms,
        "createdBy": request.caller.actor,
        "createdByName": request.change.actor_name,
        "sweepKey": DUE_CHANGES,
        "earliest": -(-at // 1000),
    }
    writes = (
        Put(scheduled_change_key(entitlement_id, at, change_id), item, "attribute_not_exists(pk)"),
        entry_put(
            request.change,
            "scheduled_change.created",
            entitlement_id,
            Subject(change_id),
            differences({}, {"effectiveAt": to_rfc3339(at), **wanted.changes}),
        ),
    )
    response = Response(201, view(item))
    kept, _ = idempotency.write_once(request, writes, response, nonce=change_id)
    return replayed(kept) if kept else response


def _check(
    entitlement_id: str, changes: Mapping[str, Any], at: int, change: Change
) -> Operation[None]:
    """Whether the changes will be valid, once the pending ones before them are applied.

    Raises:
        NotFound, InvalidRequest.
    """
    item = yield from send(Get(entitlement_key(entitlement_id)))
    if item is None or item["status"] == "deleted":
        raise NotFound("No entitlement has this id.")
    scheduled = Query("pk = :pk", {":pk": scheduled_change_key(entitlement_id, 0, "").pk})
    # The first one to take effect comes first.
    pending = [each for each in (yield from all_of(scheduled)) if each["status"] == PENDING]
    if len(pending) >= MOST_PENDING:
        raise InvalidRequest.at(
            "", f"{MOST_PENDING} changes are pending, which is the most: cancel one first"
        )
    for each in pending:
        if each["effectiveAt"] <= at:
            try:
                patch = Patch(entitlement_id, each["changes"], change)
                item = {**item, "document": patch.document(item)}
            except InvalidRequest:  # it will be refused, and this one be applied without it
                continue
    try:
        document = Patch(entitlement_id, changes, change).document(item)
    except InvalidRequest as problem:
        errors: list[dict[str, str]] = problem.extensions["errors"]
        raise InvalidRequest(
            [{**each, "pointer": f"/changes{each['pointer']}"} for each in errors]
        ) from None
    if document == item["document"]:
        raise InvalidRequest.at("/changes", "must change something")


def list_all(request: Request) -> Response:
    """List scheduled changes, the last one to take effect first."""
    return pagination.respond(request, _list(request))


def _list(request: Request) -> Operation[ResultPage]:
    entitlement_id = request.path["entitlementId"]
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    pk = scheduled_change_key(entitlement_id, 0, "").pk
    return (yield from pagination.newest_of(request, pk, SCHEDULED, view))


def read(request: Request) -> Response:
    """Read one scheduled change."""
    return Response(200, view(request.dynamodb.run(_find(request))))


def _find(request: Request) -> Operation[Item]:
    entitlement_id = request.path["entitlementId"]
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    pk = scheduled_change_key(entitlement_id, 0, "").pk
    found = yield from find_in(pk, "scheduledChangeId", request.path["scheduledChangeId"])
    if found is None:
        raise NotFound("No scheduled change of this entitlement has this id.")
    return found


def cancel(request: Request) -> Response:
    """Cancel a scheduled change that is pending; nothing changes if it was cancelled before."""
    request.dynamodb.run(_cancel(request))
    return Response(204)


def _cancel(request: Request) -> Operation[None]:
    item = yield from _find(request)
    on_record = entry_put(
        request.change,
        "scheduled_change.cancelled",
        item["entitlementId"],
        Subject(item["scheduledChangeId"]),
    )
    end = _end(item, CANCELLED, request.change)
    if isinstance((yield from write_with_conflict_retry(Transact((end, on_record)))), Accepted):
        return
    status = (yield from _find(request))["status"]
    if status != CANCELLED:
        raise ChangeNotPending(f"It is {status}.")


def _key_of(item: Item) -> Key:
    return scheduled_change_key(
        item["entitlementId"], item["effectiveAt"], item["scheduledChangeId"]
    )


def _end(item: Item, status: str, change: Change, failure: str | None = None) -> Update:
    """Mark a pending change as ended; it leaves the index and expires in 13 months."""
    failed = ", failure = :failure" if failure else ""
    values = {":failure": failure} if failure else {}
    return Update(
        _key_of(item),
        f"SET #status = :status, endedAt = :at, endedBy = :by, #ttl = :ttl{failed}"
        " REMOVE sweepKey, earliest",
        "#status = :pending",
        {"#status": "status", "#ttl": "ttl"},
        {
            ":status": status,
            ":at": change.now_ms,
            ":by": change.actor,
            ":ttl": change.now + EVIDENCE_SECONDS,
            ":pending": PENDING,
            **values,
        },
    )


# --- When they are due ----------------------------------------------------------------------------


def apply_due(
    dynamodb: DynamoDBClient, request_id: str, clock: Callable[[], int], deadline: int
) -> dict[str, int]:
    """Apply what is due until `deadline` (Unix milliseconds); how many were applied, and failed.

    What remains, and what DynamoDB did not answer in time, is due again in the next run.
    """
    counts = {APPLIED: 0, FAILED: 0, "late": 0}
    for key in due_keys(dynamodb, DUE_CHANGES, clock() // 1000):
        if clock() > deadline:
            break
        try:
            status = dynamodb.run(_apply(key, request_id, clock()))
        except Exception:  # one change must not hold up the others
            observability.logger.exception("scheduled change not applied")
            status = "late"
        if status:
            counts[status] += 1
    return counts


def _apply(key: Key, request_id: str, now_ms: int) -> Operation[str]:
    """Apply a change that is due; its status, empty: somebody else was faster.

    Raises:
        Contention, Unavailable: it is tried again, for a day.
    """
    item = yield from send(Get(key))
    if item is None or item["status"] != PENDING:
        return ""
    change_id = item["scheduledChangeId"]
    change = Change(
        item["createdBy"], f"{request_id}/{change_id}", now_ms, item.get("createdByName")
    )
    patch = Patch(
        item["entitlementId"],
        item["changes"],
        change,
        scheduled_change=change_id,
        applied=(_end(item, APPLIED, change._replace(actor=APPLIER)),),
    )
    try:
        yield from entitlements.apply_patch(patch)
    except AppliedBefore:
        return ""
    except (Contention, Unavailable):
        if now_ms < item["effectiveAt"] + GIVE_UP_MS:
            raise
        return (yield from _fail(item, change, "It could not be written for a day."))
    except Problem as problem:
        return (yield from _fail(item, change, problem.detail or problem.title))
    return APPLIED


def _fail(item: Item, change: Change, failure: str) -> Operation[str]:
    """Put on record that a change was refused; the stream makes an event of it."""
    change = change._replace(actor=APPLIER, actor_name=None)
    end = _end(item, FAILED, change, failure)
    on_record = entry_put(
        change,
        "scheduled_change.failed",
        item["entitlementId"],
        Subject(item["scheduledChangeId"]),
        {"failure": {"before": None, "after": failure}},
    )
    reply = yield from write_with_conflict_retry(Transact((end, on_record)))
    return FAILED if isinstance(reply, Accepted) else ""
