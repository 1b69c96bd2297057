"""Commands of entitlements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, cast

import typer

from overdraft import errors
from overdraft.cli import output, terms
from overdraft.cli.app import LIMIT, Most, group
from overdraft.cli.output import seats, when
from overdraft.cli.session import Entitlement, Json, ProfileName, at_most, id_of, stack
from overdraft.vendor import Vendor
from overdraft.vendor.requests import path_of

PRECONDITION_FAILED = 412
entitlements = group("entitlements", "What customers bought.")


@entitlements.command("list")
def list_entitlements(
    *,
    search: Annotated[
        str | None, typer.Option(help="Beginnings of words: customer, product, contacts, ids.")
    ] = None,
    customer: Annotated[str | None, typer.Option(help="Exactly this customer.")] = None,
    status: Annotated[
        Literal["active", "suspended", "expired", "not_yet_valid", "deleted"] | None,
        typer.Option(help="Only this status."),
    ] = None,
    overdraft: Annotated[
        bool | None, typer.Option("--over/--not-over", help="Only those above what they bought.")
    ] = None,
    sort: Annotated[
        Literal["overdraft", "denials", "renewal"] | None,
        typer.Option(help="A ranking: furthest above, most denied, next to end."),
    ] = None,
    month: Annotated[str | None, typer.Option(help="The month of a ranking: 2026-11.")] = None,
    limit: Most = LIMIT,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Find entitlements: newest first, searched for, or ranked."""
    with stack(profile) as vendor:
        found = vendor.list_entitlements(
            search=search,
            customer=customer,
            status=status,
            overdraft=overdraft,
            sort=sort,
            month=month,
        )
        items = at_most(found, limit)
    if as_json:
        return output.show_json(items)
    rows = [
        (
            each["entitlementId"],
            each.get("externalId"),
            each["customer"]["name"],
            each["product"],
            "overdraft" if _is_over(each["seats"]) else each["status"],
            seats(each["seats"]),
            when(each.get("validUntil")),
        )
        for each in items
    ]
    columns = ("entitlement", "external id", "customer", "product", "status", "seats", "until")
    return output.show_table(columns, rows, "No entitlement is like that.")


def _is_over(given: Mapping[str, Any] | None) -> bool:
    return given is not None and given["overdraftUsed"] > 0


@entitlements.command("show")
def show_entitlement(
    entitlement: Entitlement, *, profile: ProfileName = None, as_json: Json = False
) -> None:
    """Show what a customer bought, and what is in use."""
    with stack(profile) as vendor:
        found = vendor.get_entitlement(id_of(vendor, entitlement))
    _show_entitlement(found, as_json=as_json)


def _show_entitlement(found: Any, *, as_json: bool) -> None:
    if as_json:
        return output.show_json(found)
    contacts = found.get("contacts") or {}
    people = [
        f"{each.get('name') or ''} <{each.get('email') or '–'}> ({role})".strip()
        for role, each in (
            ("customer's administrator", contacts.get("customerAdmin")),
            ("account owner", contacts.get("accountOwner")),
        )
        if each
    ]
    limits = [
        f"{each['key']}: {each['limit']:,}"
        + ("" if each["hardCap"] is None else f", cap {each['hardCap']:,}")
        for each in found["usageLimits"]
    ]
    return output.show_members(
        (
            ("entitlement", found["entitlementId"]),
            ("external id", found.get("externalId")),
            ("customer", found["customer"]["name"]),
            ("product", found["product"]),
            ("status", found["status"]),
            ("seats", seats(found["seats"])),
            ("customer's own cap", found.get("customerCap")),
            ("usage limits", "\n".join(limits)),
            ("lease", found.get("leasePeriod")),
            ("from", when(found.get("validFrom"))),
            ("until", when(found.get("validUntil"))),
            ("contacts", "\n".join(people)),
            ("metadata", "\n".join(f"{k}: {v}" for k, v in (found.get("metadata") or {}).items())),
            ("changed", when(found["updatedAt"])),
        )
    )


Seats = Annotated[int | None, typer.Option("--seats", help="Seats purchased.")]
Over = Annotated[
    str | None,
    typer.Option("--overdraft", help="More seats under the hard cap: 20, 20%, none, unlimited."),
]
Usage = Annotated[
    list[str] | None,
    typer.Option("--usage", help="A usage limit: exports=1000, or exports=1000+20%. Repeatable."),
]
Lease = Annotated[
    str | None, typer.Option("--lease", help="How long a seat is held without renewal: PT8H, none.")
]
ExternalId = Annotated[str | None, typer.Option("--external-id", help="Your own id of it.")]
ValidUntil = Annotated[str | None, typer.Option("--until", help="When it ends, or none.")]
BodyFile = Annotated[
    str | None,
    typer.Option("--file", help="Every other member, as JSON in a file; - is the standard input."),
]


def _terms(
    given: dict[str, Any],
    seats_purchased: int | None,
    over: str | None,
    usage: list[str] | None,
    lease: str | None,
    external_id: str | None,
    until: str | None,
) -> dict[str, Any]:
    """The body of a request: what a file has, and on top of it what options say."""
    if seats_purchased is not None:
        given["seatCount"] = seats_purchased
    if over is not None:
        given["overdraftSeatLimit"] = terms.overdraft_limit(over)
    if usage:
        given["usageLimits"] = _merged(given.get("usageLimits", []), usage)
    if lease is not None:
        given["leasePeriod"] = terms.period(lease)
    if external_id is not None:
        given["externalId"] = external_id
    if until is not None:
        given["validUntil"] = terms.period(until)
    return given


@entitlements.command("create")
def create_entitlement(
    *,
    customer: Annotated[str | None, typer.Option(help="The customer's name.")] = None,
    product: Annotated[str | None, typer.Option(help="The product.")] = None,
    seats_purchased: Seats = None,
    over: Over = None,
    usage: Usage = None,
    lease: Lease = None,
    external_id: ExternalId = None,
    until: ValidUntil = None,
    file: BodyFile = None,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Create an entitlement: what a customer bought."""
    given = terms.from_file(file) if file else {}
    if customer is not None:
        given["customer"] = {**given.get("customer", {}), "name": customer}
    if product is not None:
        given["product"] = product
    body = _terms(given, seats_purchased, over, usage, lease, external_id, until)
    with stack(profile) as vendor:
        made = vendor.create_entitlement(cast("Any", body))
    _show_entitlement(made, as_json=as_json)


def _merged(limits: Iterable[Any], usage: list[str]) -> list[dict[str, Any]]:
    """Usage limits, with those that options name: what is not named of each stays."""
    known = {each["key"]: each for each in limits}
    for limit in map(terms.usage_limit, usage):
        known[limit["key"]] = {**known.get(limit["key"], {}), **limit}
    return [
        {name: value for name, value in each.items() if name != "hardCap"}
        for each in known.values()
    ]


def _with_limits(
    vendor: Vendor, entitlement_id: str, body: dict[str, Any], usage: list[str]
) -> Any:
    """Change some usage limits; those that are not named stay."""
    path = path_of("/v1/entitlements/{entitlementId}", entitlement_id)
    read = vendor.request("GET", path)
    body["usageLimits"] = _merged(read.body["usageLimits"], usage)
    # Unless somebody else has changed it meanwhile.
    condition = {"if-match": read.headers["etag"]}
    try:
        return vendor.request("PATCH", path, body=body, headers=condition).body
    except errors.Refused as error:
        if error.status != PRECONDITION_FAILED:
            raise
        # An answer that was lost is repeated, and finds what it has done itself.
        now = vendor.request("GET", path).body
        if _merged(now["usageLimits"], []) == _merged(now["usageLimits"], usage):
            return now
        raise


@entitlements.command("update")
def update_entitlement(
    entitlement: Entitlement,
    *,
    seats_purchased: Seats = None,
    over: Over = None,
    usage: Usage = None,
    lease: Lease = None,
    external_id: ExternalId = None,
    until: ValidUntil = None,
    status: Annotated[
        Literal["active", "suspended"] | None, typer.Option(help="Suspend it, or end that.")
    ] = None,
    file: BodyFile = None,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Change the terms of an entitlement; what is not named stays."""
    given = terms.from_file(file) if file else {}
    # A file's list replaces what is there. Without one, limits that are not named stay.
    replaces = "usageLimits" in given
    named = usage if replaces else None
    body = _terms(given, seats_purchased, over, named, lease, external_id, until)
    if status is not None:
        body["status"] = status
    for each in usage or []:
        terms.usage_limit(each)  # before anything is asked
    if not body and not usage:
        raise typer.BadParameter("say what is to change, such as --seats 120")
    with stack(profile) as vendor:
        entitlement_id = id_of(vendor, entitlement)
        if usage and not replaces:
            changed = _with_limits(vendor, entitlement_id, body, usage)
        else:
            changed = vendor.update_entitlement(entitlement_id, cast("Any", body))
    _show_entitlement(changed, as_json=as_json)
