"""The follow-up of an overdraft by sales: its state, who changed it, and when.

The state is one item. Each change is another item, written in the same transaction, and becomes an
event. A person changes the state through the API. The stream changes it when an overdraft begins,
when somebody is denied, when the customer asks for more, and when more was purchased.
"""

from typing import Any, NamedTuple, TypedDict

from shared.clock import to_rfc3339
from shared.dynamodb.keys import (
    DUE_FOLLOW_UPS,
    follow_up_entry_key,
    follow_up_key,
    follow_up_list,
)
from shared.dynamodb.requests import (
    Accepted,
    Get,
    Item,
    LostRace,
    Operation,
    Pause,
    Put,
    Transact,
    send,
)

STATES = ("open", "contacted", "quoted", "won", "dismissed")
# Somebody works on it: it may have a due date.
UNFINISHED = ("open", "contacted", "quoted")
NOT_WON = ("open", "contacted", "quoted", "dismissed")
# What changes a follow-up automatically.
OVERDRAFT, DENIAL, REQUEST, PURCHASE = REASONS = ("overdraft", "denial", "request", "purchase")
_ROUNDS = 8
_CHANGES = 50  # a transaction has at most a hundred actions


class Move(NamedTuple):
    """What happened to the entitlement, one of `REASONS`; `at` in Unix milliseconds.

    `purchased`: the limit that a purchase led to.
    """

    at: int
    reason: str
    purchased: int = 0


def state_after(state: str | None, reason: str) -> str | None:
    """The state that it leads to; None: it changes nothing.

    A new overdraft and a request for more open what is closed. So does a denial, unless sales has
    dismissed it: who is denied once is denied again and again. A negotiation stays as it is. A
    purchase makes it won.
    """
    if reason == PURCHASE:
        return "won" if state in NOT_WON else None
    closed = (None, "won") if reason == DENIAL else (None, "won", "dismissed")
    return "open" if state in closed else None


def change(
    entitlement_id: str, seen: Item | None, at: int, actor: str, changed: dict[str, Any]
) -> Item:
    """The state's item after a change; `changed` has any of state, owner, note, reason, dueAt.

    A due date ends with the work, and is stored in the index of what is due until then.
    """
    before = seen or {}
    # What the stream delivers may have happened before the last note was written.
    changed_at = max(at, before.get("changedAt", 0))
    state = str(changed.get("state", before.get("state", "open")))
    due_at = changed.get("dueAt", before.get("dueAt")) if state in UNFINISHED else None
    reminded_at = before.get("remindedAt") if due_at == before.get("dueAt") else None
    is_due_later = due_at is not None and reminded_at is None
    return {
        "entitlementId": entitlement_id,
        "version": before.get("version", 0) + 1,
        "state": state,
        "owner": changed.get("owner", before.get("owner")),
        "note": changed.get("note"),
        "lastNote": changed.get("note") or before.get("lastNote", before.get("note")),
        "changedAt": changed_at,
        "stateChangedAt": at if state != before.get("state") else before["stateChangedAt"],
        "changedBy": actor,
        "reason": changed.get("reason"),
        "previousState": before.get("state"),
        "dueAt": due_at,
        "remindedAt": reminded_at,
        "sweepKey": DUE_FOLLOW_UPS if is_due_later else None,
        "earliest": due_at // 1000 if due_at is not None and is_due_later else None,
        **listed(entitlement_id, state, changed_at),
    }


def listed(entitlement_id: str, state: str, changed_at: int) -> dict[str, str]:
    """The place of a follow-up among those of its state, the last changed first."""
    return {
        "listKey": follow_up_list(state),
        "listSort": f"{changed_at:013d}#{entitlement_id}",
    }


def writes(entitlement_id: str, seen: Item | None, changes: list[Item]) -> Transact:
    """Store changes, each as an entry; refused if the state has changed meanwhile."""
    newest = changes[-1]
    condition, values = "attribute_not_exists(pk)", dict[str, Any]()
    if seen is not None:
        condition, values = "version = :seen", {":seen": seen["version"]}
    key = follow_up_key(entitlement_id)
    entries = [
        Put(
            follow_up_entry_key(entitlement_id, each["version"]),
            {**each, "sweepKey": None, "earliest": None, "listKey": None, "listSort": None},
        )
        for each in changes
    ]
    return Transact((Put(key, newest, condition, values=values), *entries))


def move(entitlement_id: str, moves: list[Move]) -> Operation[None]:
    """Apply what happened to the follow-up: once, however often it is delivered.

    What is not later than the last change of the state was applied before, or is outdated.
    """
    attempt = 1
    while moves and attempt <= _ROUNDS:
        seen = yield from send(Get(follow_up_key(entitlement_id)))
        state, changes = seen, list[Item]()
        for each in sorted(moves):
            is_late = state is not None and each.at <= state["stateChangedAt"]
            if is_late or len(changes) == _CHANGES:
                continue
            following = state_after(state["state"] if state else None, each.reason)
            if following:
                changed = {"state": following, "reason": each.reason}
                state = change(entitlement_id, state, each.at, "overdraft", changed)
                changes.append(state)
        if not changes:
            return
        reply = yield from send(writes(entitlement_id, seen, changes))
        if not isinstance(reply, Accepted):
            yield from send(Pause(attempt))
            attempt += 1
    if moves:
        raise LostRace("a follow-up kept changing")


class FollowUpView(TypedDict):
    """The present state of a follow-up."""

    entitlementId: str
    state: str | None
    owner: str | None
    note: str | None
    dueAt: str | None
    changedAt: str | None
    changedBy: str | None
    reason: str | None


class FollowUpEntryView(TypedDict):
    """One change of a follow-up."""

    state: str
    previousState: str | None
    owner: str | None
    note: str | None
    dueAt: str | None
    changedAt: str
    changedBy: str
    reason: str | None


def _time(at: int | None) -> str | None:
    return None if at is None else to_rfc3339(at)


def view(entitlement_id: str, item: Item | None) -> FollowUpView:
    """A follow-up as the API answers it. All is null if the entitlement never had one."""
    item = item or {}
    return {
        "entitlementId": entitlement_id,
        "state": item.get("state"),
        "owner": item.get("owner"),
        "note": item.get("lastNote", item.get("note")),
        "dueAt": _time(item.get("dueAt")),
        "changedAt": _time(item.get("changedAt")),
        "changedBy": item.get("changedBy"),
        "reason": item.get("reason"),
    }


def entry_view(item: Item) -> FollowUpEntryView:
    """One change of a follow-up as the API and events show it."""
    return {
        "state": item["state"],
        "previousState": item.get("previousState"),
        "owner": item.get("owner"),
        "note": item.get("note"),
        "dueAt": _time(item.get("dueAt")),
        "changedAt": to_rfc3339(item["changedAt"]),
        "changedBy": item["changedBy"],
        "reason": item.get("reason"),
    }
