"""Entitlements: create, read, change, delete. Each change is one transaction."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypedDict, TypeVar

from functions.manage import documents, external_ids
from shared.api import idempotency
from shared.api.idempotency import replayed
from shared.api.request import Request, Response
from shared.audit import Change, ChangedView, Subject, differences, entry, entry_put
from shared.dynamodb.keys import entitlement_key, pool_key, usage_key
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    Accepted,
    BatchGet,
    Cancelled,
    Delete,
    Get,
    Item,
    Operation,
    Pause,
    Put,
    Transact,
    Unavailable,
    Update,
    send,
)
from shared.entitlements.model import entitlement_item, seat_terms, usage_terms
from shared.entitlements.queries import fetch_entitlement, fetch_seat_usage
from shared.entitlements.views import EntitlementView, entitlement_view, for_license
from shared.ids import ENTITLEMENTS, new_id
from shared.problems import Contention, InvalidRequest, NotFound, PreconditionFailed, Problem
from shared.seats import reconcile
from shared.seats.pool import Pool
from shared.seats.seat_usage import SeatUsage
from shared.seats.shard import CLOCK_GRACE, SeatShard
from shared.seats.terms import (
    borrowing_writes,
    closing_writes,
    needs_pool,
    new_pool_put,
    new_shard_put,
    terms_writes,
    usage_under,
)
from shared.usage import allocation
from shared.usage.counter import REMOVED, Counter, UsageTerms
from shared.usage.terms import new_counter, terms_update, under_terms
from shared.usage.views import CurrentUsageView, current_view

# How long a request itself works on a pool; the sweep does the rest.
WORK_MS = 5_000
# The longest time that it takes to take back the allocations of a usage limit.
HOLD_EACH_MS = 300
# The most writes of one transaction. Replacing all usage limits and making a pool at the same time
# would be one more.
MOST_WRITES = 100
# The view of a patched entitlement does not need to know its seats.
NO_SEATS = SeatUsage(0, 0, None)
# Usage limits that are locked until a change is written or given up.
Held = dict[tuple[str, str], Counter]
_Outcome = TypeVar("_Outcome")
_ETAGS = re.compile(r'\s*(?:W/)?"[^"]*"(?:\s*,\s*(?:W/)?"[^"]*")*\s*')


def create(request: Request) -> Response:
    """Create an entitlement, its empty seat shard, and a counter for each usage limit.

    Raises:
        InvalidRequest, ExternalIdTaken, IdempotencyConflict, Contention.
    """
    # Clocks differ: an entitlement must not be "not yet valid" for the next call.
    valid_from = request.now - CLOCK_GRACE
    document = documents.to_document(request.body, valid_from=valid_from)
    entitlement_id = new_id(ENTITLEMENTS)
    item = entitlement_item(
        entitlement_id, document, version=1, created_at=request.now_ms, now_ms=request.now_ms
    )
    terms = seat_terms(document)
    shard = new_shard_put(entitlement_id, terms, request.change)
    seat_usage = SeatUsage.of(SeatShard.of(dict(shard.item)), request.now)
    response = Response(201, entitlement_view(item, seat_usage, request.now))
    is_pool = needs_pool(terms)
    writes = (
        Put(entitlement_key(entitlement_id), item, "attribute_not_exists(pk)"),
        shard,
        *external_ids.writes(entitlement_id, {}, document),
        *borrowing_writes(entitlement_id, None, terms),
        *([new_pool_put(entitlement_id, request.change)] if is_pool else []),
        *(
            new_counter(entitlement_id, key, terms, request.change)
            for key, terms in usage_terms(document).items()
        ),
        entry_put(
            request.change,
            "entitlement.created",
            entitlement_id,
            changes=differences({}, document),
        ),
    )
    try:
        kept, _ = idempotency.write_once(request, writes, response, nonce=entitlement_id)
    except Contention:
        request.dynamodb.run(external_ids.check_free(entitlement_id, {}, document))
        raise
    response = replayed(kept) if kept else response
    if is_pool and not kept:
        # Until then one shard has all the seats, which is right as well.
        request.dynamodb.run(
            reconcile.reconcile_pool(entitlement_id, request.change, request.now_ms + WORK_MS)
        )
    location = f"/v1/entitlements/{response.body['entitlementId']}"
    return response._replace(headers={**response.headers, "etag": '"1"', "location": location})


def read(request: Request) -> Response:
    """Read one entitlement with its seats in use."""
    return read_of(request, request.path["entitlementId"])


def read_own(request: Request) -> Response:
    """Read the entitlement of the license key that asks: software has the key, and no id."""
    return read_of(request, str(request.caller.entitlement_id))


def read_of(request: Request, entitlement_id: str) -> Response:
    """The entitlement with this id, as the caller may see it."""
    item, seat_usage = request.dynamodb.run(fetch_seat_usage(entitlement_id, request.now))
    view = entitlement_view(item, seat_usage, request.now)
    if request.caller.kind == "license":
        view = for_license(view)
    return Response(200, view, _etag(item))


def update(request: Request) -> Response:
    """Change an entitlement by a JSON merge patch; 202 while a pool is still being reconciled."""
    if request.query.get("dryRun"):
        return request.dynamodb.run(_foresee(request))
    return update_of(request, request.path["entitlementId"], request.body)


class ChangeEffectsView(TypedDict):
    """What a change would mean for those who use the entitlement now."""

    changes: dict[str, ChangedView]
    seatsAboveHardCap: int
    usage: list[CurrentUsageView]


class ForeseenView(EntitlementView):
    """An entitlement as a change would make it."""

    dryRun: bool
    effects: ChangeEffectsView


def _foresee(request: Request) -> Operation[Response]:
    """The entitlement as the patch would make it, by the rules by which it is changed."""
    entitlement_id = request.path["entitlementId"]
    item, seen = yield from fetch_seat_usage(entitlement_id, request.now)
    _check_not_deleted(item)
    check_version(request, item)
    before = item["document"]
    document = Patch(entitlement_id, request.body, request.change).document(item)
    yield from external_ids.check_free(entitlement_id, before, document)
    limits = usage_terms(document)
    found = yield from counters(entitlement_id, limits)
    changed = entitlement_item(
        entitlement_id,
        document,
        version=item["version"],
        created_at=item["createdAt"],
        now_ms=request.now_ms,
    )
    seats = usage_under(seen, seat_terms(before), seat_terms(document), request.now)
    effects: ChangeEffectsView = {
        "changes": differences(before, document),
        "seatsAboveHardCap": 0 if seats.hard_cap is None else max(0, seats.used - seats.hard_cap),
        "usage": [
            current_view(key, _foreseen(key, found.get(key), terms, request.change), request.now)
            for key, terms in limits.items()
        ],
    }
    view: ForeseenView = {
        **entitlement_view(changed, seats, request.now),
        "dryRun": True,
        "effects": effects,
    }
    return Response(200, view, _etag(item))


def _foreseen(key: str, counter: Counter | None, terms: UsageTerms, change: Change) -> Counter:
    """A usage limit under new terms. One that does not exist yet is unused."""
    if counter is None:
        return Counter.of(dict(new_counter("", key, terms, change).item))
    return under_terms(counter, terms, change.now, is_renewed=_is_renewed(counter, terms))


def _is_renewed(counter: Counter, terms: UsageTerms) -> bool:
    """Whether the validity goes on for longer. By the counter's own end.

    The limit may have been removed when the validity was moved.
    """
    old, new = counter.valid_until, terms.valid_until
    return old is not None and (new is None or new > old)


def update_of(
    request: Request,
    entitlement_id: str,
    body: Mapping[str, Any],
    check: Callable[[Item], None] = lambda _: None,
) -> Response:
    """Change the entitlement with this id by a merge patch.

    Raises:
        What `apply_patch` raises; what `check` raises of the entitlement as it is.
    """

    def checked(item: Item) -> None:
        check(item)
        check_version(request, item)

    patch = Patch(entitlement_id, body, request.change, checked)
    is_done = request.dynamodb.run(apply_patch(patch))
    response = read_of(request, entitlement_id)
    return response if is_done else response._replace(status=202)


class AppliedBefore(Exception):
    """What a patch should be written together with has been written before."""


class Patch(NamedTuple):
    """A JSON merge patch of an entitlement.

    `check` raises a problem if the entitlement is not as expected. `scheduled_change`: the id of
    the scheduled change that it is, and `applied` the write that marks it, in the same transaction.
    """

    entitlement_id: str
    body: Mapping[str, Any]
    change: Change
    check: Callable[[Item], None] = lambda _: None
    scheduled_change: str = ""
    applied: tuple[Update, ...] = ()

    def document(self, item: Item) -> dict[str, Any]:
        """The document that it makes of an entitlement.

        Raises:
            InvalidRequest.
        """
        # Computed members may be sent back, but for seats in use, which change all the time.
        shown = entitlement_view(item, NO_SEATS, self.change.now)
        patch = documents.without_computed(self.body, shown)
        patch = documents.with_customer_caps(patch, item["document"])
        merged = documents.merge_patch(item["document"], patch)
        valid_from = item["createdAt"] // 1000 - CLOCK_GRACE
        return documents.to_document(merged, valid_from=valid_from, before=item["document"])

    def on_record(self, before: Mapping[str, Any], document: Mapping[str, Any]) -> Put:
        """The audit entry of the change."""
        subject = Subject(self.scheduled_change) if self.scheduled_change else None
        return Put(
            *entry(
                self.change,
                "entitlement.updated",
                self.entitlement_id,
                subject,
                differences(before, document),
                reason="scheduled" if subject else None,
                nonce=self.scheduled_change,
            )
        )


def apply_patch(patch: Patch) -> Operation[bool]:
    """Change an entitlement; False: a pool is still being reconciled.

    Raises:
        InvalidRequest, NotFound, PreconditionFailed, ExternalIdTaken, Contention; AppliedBefore.
    """
    return (yield from _holding(lambda held: _try_update(patch, held)))


def _try_update(patch: Patch, held: Held) -> Operation[bool]:
    entitlement_id, change = patch.entitlement_id, patch.change
    for attempt in range(1, ROUNDS + 1):
        item, shard = yield from fetch_entitlement(entitlement_id)
        _check_not_deleted(item)
        patch.check(item)
        before, document = item["document"], patch.document(item)
        writes: tuple[Put | Update | Delete, ...] = ()
        if document != before:
            yield from external_ids.check_free(entitlement_id, before, document)
            counters = yield from _counter_writes(item, document, change, held)
            # Last, because a pool's totals change all the time.
            changed = yield from _change_writes(item, shard, document, change)
            writes = (
                *changed,
                *counters,
                *external_ids.writes(entitlement_id, before, document),
                patch.on_record(before, document),
            )
        if len(writes) + len(patch.applied) > MOST_WRITES:
            raise InvalidRequest.at(
                "/usageLimits", "change seats and usage limits one by one: together it is too much"
            )
        if not writes and not patch.applied:
            return (yield from _reconcile(entitlement_id, change))
        reply = yield from send(Transact((*patch.applied, *writes)))
        if isinstance(reply, Accepted):
            held.clear()
            return (yield from _reconcile(entitlement_id, change))
        if isinstance(reply, Cancelled) and any(
            is_refused for is_refused, _ in reply.reasons[: len(patch.applied)]
        ):
            raise AppliedBefore
        yield from send(Pause(attempt))
    raise Contention


def _reconcile(entitlement_id: str, change: Change) -> Operation[bool]:
    """Reconcile a pool; True if nothing remains."""
    item = yield from send(Get(pool_key(entitlement_id)))
    if item is None or not Pool.of(item).needs_reconcile:
        return True
    try:
        return (
            yield from reconcile.reconcile_pool(entitlement_id, change, change.now_ms + WORK_MS)
        )
    except Unavailable:
        return False  # the change is made; the sweep does the rest


def _change_writes(
    item: Item, shard: SeatShard, document: dict[str, Any], change: Change
) -> Operation[tuple[Put | Update, ...]]:
    """The new version of the entitlement and, with new terms, of its seat shard or its pool."""
    entitlement_id = item["entitlementId"]
    old, new = seat_terms(item["document"]), seat_terms(document)
    was_closed = shard.status == "expired"
    stays_closed = was_closed and old.valid_until == new.valid_until
    changed = entitlement_item(
        entitlement_id,
        document,
        version=item["version"] + 1,
        created_at=item["createdAt"],
        now_ms=change.now_ms,
        is_closed=stays_closed,
    )
    # The sweep may close the entitlement at this moment, which is not a new version.
    due = "attribute_exists(earliest)" if "earliest" in item else "attribute_not_exists(earliest)"
    put = Put(
        entitlement_key(entitlement_id),
        changed,
        f"version = :seen AND {due}",
        values={":seen": item["version"]},
    )
    if old == new:
        return (put,)
    if stays_closed:
        new = new._replace(status="expired")
    changed_seats = yield from terms_writes(
        entitlement_id,
        shard,
        new,
        change,
        lease_changed=old.leases != new.leases,
        was_closed=was_closed and not stays_closed,
    )
    return (put, *changed_seats, *borrowing_writes(entitlement_id, old, new))


def _counter_writes(
    item: Item, document: dict[str, Any], change: Change, held: Held
) -> Operation[list[Put | Update]]:
    """The writes for the counters of the new version, and of limits that it removed."""
    entitlement_id, before = item["entitlementId"], item["document"]
    terms = usage_terms(document)
    found = yield from counters(entitlement_id, {*terms, *usage_terms(before)})
    patience_ms = _patience_ms(found)
    writes: list[Put | Update] = []
    for key, valid in terms.items():
        if key not in found:
            writes.append(new_counter(entitlement_id, key, valid, change, "added"))
            continue
        is_renewed = _is_renewed(found[key], valid)
        changed = partial(under_terms, terms=valid, now=change.now, is_renewed=is_renewed)
        limit = (entitlement_id, key)
        writes += yield from _change_counter(limit, found[key], changed, change, held, patience_ms)
    for key in found.keys() - terms.keys():
        limit = (entitlement_id, key)
        writes += yield from _change_counter(limit, found[key], _removed, change, held, patience_ms)
    return writes


def _removed(counter: Counter) -> Counter:
    return counter._replace(status=REMOVED)


def _deleted(counter: Counter) -> Counter:
    return counter._replace(status="deleted")


def _patience_ms(found: dict[str, Counter]) -> int:
    """How much longer sharded limits are locked if there are several: they are locked in turn."""
    return HOLD_EACH_MS * sum(counter.shards is not None for counter in found.values())


def _holding(work: Callable[[Held], Operation[_Outcome]]) -> Operation[_Outcome]:
    """Work that locks usage limits. Locks that remain at its end are removed."""
    held = Held()
    try:
        outcome = yield from work(held)
    except (Problem, AppliedBefore):
        yield from _let_go(held)
        raise
    yield from _let_go(held)
    return outcome


def _let_go(held: Held) -> Operation[None]:
    for limit, counter in held.items():
        yield from allocation.unlock(limit, counter)


def _change_counter(
    limit: tuple[str, str],
    counter: Counter,
    changed: Callable[[Counter], Counter],
    change: Change,
    held: Held,
    patience_ms: int,
) -> Operation[list[Update]]:
    """The write that changes a counter, None if nothing changes. A sharded one is locked first.

    The caller has to remove the lock, noted in `held`, if it does not make the write.
    """
    write = yield from terms_update(*limit, counter, changed(counter), change)
    if write and counter.shards is not None:
        counter = held[limit] = yield from allocation.lock(limit, change, patience_ms)
        write = yield from terms_update(*limit, counter, changed(counter), change)
    return [write] if write else []


def counters(entitlement_id: str, keys: Iterable[str]) -> Operation[dict[str, Counter]]:
    """The counters of these usage limits, as far as they exist."""
    wanted = {key: usage_key(entitlement_id, key) for key in keys}
    if not wanted:
        return {}
    found = yield from send(BatchGet(tuple(wanted.values())))
    return {key: Counter.of(found[each]) for key, each in wanted.items() if each in found}


def delete(request: Request) -> Response:
    """Delete an entitlement: mark it, remove its seats, and keep what reports need."""
    request.dynamodb.run(_delete(request))
    return Response(204)


def _delete(request: Request) -> Operation[None]:
    yield from _holding(lambda held: _try_delete(request, held))


def _try_delete(request: Request, held: Held) -> Operation[None]:
    entitlement_id = request.path["entitlementId"]
    for attempt in range(1, ROUNDS + 1):
        item, shard = yield from fetch_entitlement(entitlement_id)
        check_version(request, item)
        if item["status"] == "deleted":
            return
        limits = yield from counters(entitlement_id, usage_terms(item["document"]))
        patience_ms = _patience_ms(limits)
        deleted: list[Update] = []
        for key, counter in limits.items():
            limit = (entitlement_id, key)
            deleted += yield from _change_counter(
                limit, counter, _deleted, request.change, held, patience_ms
            )
        terms = seat_terms(item["document"])
        emptied = yield from closing_writes(entitlement_id, shard, terms, request.change, "deleted")
        reply = yield from send(
            Transact(
                (
                    *deleted,
                    Update(
                        entitlement_key(entitlement_id),
                        "SET #status = :deleted, version = version + :one, updatedAt = :now"
                        " REMOVE earliest",
                        "version = :seen",
                        {"#status": "status"},
                        {
                            ":deleted": "deleted",
                            ":one": 1,
                            ":seen": item["version"],
                            ":now": request.now_ms,
                        },
                    ),
                    *emptied,
                    *external_ids.writes(entitlement_id, item["document"], {}),
                    entry_put(request.change, "entitlement.deleted", entitlement_id),
                )
            )
        )
        if isinstance(reply, Accepted):
            held.clear()
            yield from _reconcile(entitlement_id, request.change)
            return
        yield from send(Pause(attempt))
    raise Contention


def require(entitlement_id: str, *, is_deleted_ok: bool = False) -> Operation[Item]:
    """The item of an entitlement.

    Raises:
        NotFound: there is none with this id, or it is deleted.
    """
    item = yield from send(Get(entitlement_key(entitlement_id)))
    if item is None:
        raise NotFound("No entitlement has this id.")
    if not is_deleted_ok:
        _check_not_deleted(item)
    return item


def _check_not_deleted(item: Item) -> None:
    if item["status"] == "deleted":
        raise NotFound("The entitlement has been deleted.")


def check_version(request: Request, item: Item) -> None:
    """Refuse a change unless the version matches `If-Match`.

    Raises:
        InvalidRequest, PreconditionFailed.
    """
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return
    if not _ETAGS.fullmatch(given):
        raise InvalidRequest.at("/If-Match", 'must be an ETag such as "3"', place="header")
    # A weak tag never matches: RFC 9110, section 13.1.1.
    tags = [tag.strip() for tag in given.split(",")]
    if f'"{item["version"]}"' not in tags:
        raise PreconditionFailed(f'The current ETag is "{item["version"]}".')


def _etag(item: Item) -> dict[str, str]:
    return {"etag": f'"{item["version"]}"'}
