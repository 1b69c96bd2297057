"""The audit trail: who changed what, of one entitlement and of all."""

from collections.abc import Iterable
from typing import Any, TypedDict

from functions.manage import entitlements
from shared.api import pagination
from shared.api.request import Request, Response
from shared.audit import EVIDENCE_SECONDS, ChangedView
from shared.clock import to_rfc3339
from shared.dynamodb.keys import (
    AUDIT_SHARDS,
    LIST_INDEX,
    Key,
    audit_key,
    audit_list,
    credential_key,
    seat_record_key,
)
from shared.dynamodb.paging import ResultPage, read_merged
from shared.dynamodb.requests import BatchGet, Item, Operation, Query, send
from shared.history.buckets import months_between
from shared.ids import PORTAL_LINKS

DEFAULT_SPAN = 31 * 86_400
# What a customer may know: these types, of the terms these members, and of a usage limit these.
FOR_CUSTOMERS = (
    "entitlement.created",
    "entitlement.updated",
    "entitlement.deleted",
    "seat.released",
    "person.erased",
    "usage.corrected",
    "seat_request.created",
    "seat_request.updated",
    "portal_link.created",
    "portal_link.revoked",
)
MEMBERS_FOR_CUSTOMERS = (
    "seatCount",
    "overdraftSeatLimit",
    "customerCap",
    "usageLimits",
    "leasePeriod",
    "overdraftLeasePeriod",
    "validFrom",
    "validUntil",
    "status",
    "timeZone",
    "seats",
    "usageKey",
    "quantity",
    "used",
    "note",
)
# What people write may name somebody.
WRITTEN = ("note",)
OF_USAGE_LIMITS = ("key", "limit", "overdraftLimit", "customerCap", "resetSchedule")
# What people do to a person's seat.
ABOUT_PERSONS = ("seat.released", "person.erased")


class ChangeView(TypedDict):
    """A change that somebody made."""

    changeId: str
    at: str
    type: str
    entitlementId: str | None
    actor: str | None
    actorName: str | None
    subjectId: str | None
    subjectName: str | None
    changes: dict[str, ChangedView]
    reason: str | None
    requestId: str


def of_entitlement(request: Request) -> Response:
    """Who changed what of one entitlement, newest first."""
    return pagination.respond(request, _of_entitlement(request))


def _of_entitlement(request: Request) -> Operation[ResultPage]:
    entitlement_id = request.path["entitlementId"]
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    low, high = _range(request, start)
    query = Query(
        "pk = :pk AND sk BETWEEN :low AND :high",
        {":pk": audit_key(entitlement_id, 0, "").pk, ":low": low, ":high": high},
        descending=True,
    )
    found, end = yield from read_merged([_filtered(request, query)], limit, high)
    shown = yield from views(found)
    if request.caller.kind == "portal":
        hides_names = request.caller.hides_names
        shown = [each for view in shown if (each := _for_customer(view, hides_names=hides_names))]
    return ResultPage(shown, [end] if end else None)


def of_all(request: Request) -> Response:
    """Who changed what of every entitlement, of keys and of webhooks, newest first."""
    return pagination.respond(request, _of_all(request))


def _of_all(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    low, high = _range(request, start)
    found: list[Item] = []
    end = None
    for month in reversed(months_between(int(low), int(high.partition("#")[0]))):
        queries = [
            _filtered(
                request,
                Query(
                    "listKey = :list AND listSort BETWEEN :low AND :high",
                    {":list": audit_list(month, shard), ":low": low, ":high": high},
                    index_name=LIST_INDEX,
                    descending=True,
                ),
            )
            for shard in range(AUDIT_SHARDS)
        ]
        of_month, end = yield from read_merged(queries, limit - len(found), high)
        found += of_month
        if end:
            break
        if len(found) == limit:
            end = str(found[-1]["sk"])
            break
    return ResultPage((yield from views(found)), [end] if end else None)


def _range(request: Request, start: list[str] | None) -> tuple[str, str]:
    """The sort keys between which a list is read. The last one was on the page before."""
    since, until = request.period(DEFAULT_SPAN)
    since = max(since, request.now_ms - EVIDENCE_SECONDS * 1000)  # nothing is stored for longer
    return f"{since:013d}", start[0] if start else f"{max(since, until - 1):013d}#~"


def _filtered(request: Request, query: Query) -> Query:
    """The query with the filters that the request names."""
    conditions, values, names = [], dict(query.values), dict[str, str]()
    for name in ("actor", "type"):
        if name in request.query:
            conditions.append(f"#{name} = :{name}")
            names[f"#{name}"] = name
            values[f":{name}"] = request.query[name]
    return query._replace(filter=" AND ".join(conditions), values=values, names=names)


def views(items: list[Item]) -> Operation[list[ChangeView]]:
    """The entries as the API shows them, with the names of keys and persons that still exist."""
    keys: dict[str, Key] = {
        item["actor"]: credential_key(item["actor"]) for item in items if "actorName" not in item
    }
    persons = {_person(item) for item in items if item["type"] in ABOUT_PERSONS}
    wanted = (*keys.values(), *persons)
    found = (yield from send(BatchGet(wanted))) if wanted else {}
    names = {actor: found.get(key, {}).get("name") for actor, key in keys.items()}
    return [
        _view(
            item,
            item.get("actorName") or names.get(item["actor"]),
            found.get(_person(item), {}).get("seatId")
            if item["type"] in ABOUT_PERSONS
            else item.get("subjectName"),
        )
        for item in items
    ]


def _person(item: Item) -> Key:
    return seat_record_key(item["entitlementId"], item["subjectId"])


def _view(item: Item, actor_name: str | None, subject_name: str | None) -> ChangeView:
    return {
        "changeId": item["changeId"],
        "at": to_rfc3339(item["at"]),
        "type": item["type"],
        "entitlementId": item.get("entitlementId"),
        "actor": item["actor"],
        "actorName": actor_name,
        "subjectId": item.get("subjectId"),
        "subjectName": subject_name,
        "changes": item["changes"],
        "reason": item.get("reason"),
        "requestId": item["request"],
    }


def _for_customer(view: ChangeView, *, hides_names: bool) -> ChangeView | None:
    """What the customer may know of a change: none of the vendor's prices, contacts and keys."""
    if view["type"] not in FOR_CUSTOMERS:
        return None
    changes = {
        name: _limits_for_customer(values) if name == "usageLimits" else values
        for name, values in view["changes"].items()
        if name in MEMBERS_FOR_CUSTOMERS and not (hides_names and name in WRITTEN)
    }
    if view["changes"] and not changes:
        return None
    is_theirs = str(view["actor"]).startswith(f"{PORTAL_LINKS}_")
    is_shown = view["type"] in ABOUT_PERSONS and not hides_names
    return {
        **view,
        "actor": view["actor"] if is_theirs else None,
        # A link's name is the vendor's own: only they see it.
        "actorName": None,
        "subjectName": view["subjectName"] if is_shown else None,
        "changes": changes,
        "reason": None,
    }


def _limits_for_customer(values: ChangedView) -> ChangedView:
    return {"before": _limits(values["before"]), "after": _limits(values["after"])}


def _limits(limits: Iterable[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    if limits is None:
        return None
    return [{name: each[name] for name in OF_USAGE_LIMITS if name in each} for each in limits]
