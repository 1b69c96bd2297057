"""Commands of seats and of those who were turned away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Annotated, Any

import typer

from overdraft.cli import output
from overdraft.cli.app import LIMIT, Most, Since, Until, Yes, app, group, time_from
from overdraft.cli.output import seats, when
from overdraft.cli.session import Entitlement, Json, ProfileName, at_most, id_of, stack

seats_group = group("seats", "Who holds seats.")


@seats_group.command("list")
def list_seats(
    entitlement: Entitlement,
    *,
    search: Annotated[str | None, typer.Option(help="Only holders whose id begins so.")] = None,
    limit: Most = LIMIT,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """List who holds seats."""
    with stack(profile) as vendor:
        found = vendor.list_activations(id_of(vendor, entitlement), search=search)
        items = at_most(found, limit)
    if as_json:
        return output.show_json(items)
    now = datetime.now(timezone.utc)
    rows = [
        (
            each["seatId"] or each["seatKey"],
            each["seatName"],
            "overdraft" if each["isOverdraftSeat"] else "borrowed" if each["isBorrowed"] else "",
            when(each["activatedAt"]),
            output.ago(each["lastSeenAt"], now),
            when(each["leaseExpiry"]),
        )
        for each in items
    ]
    columns = ("holder", "name", "", "since", "last seen", "lease ends")
    return output.show_table(columns, rows, "Nobody holds a seat.")


@seats_group.command("release")
def release_seat(
    entitlement: Entitlement,
    person: Annotated[str, typer.Argument(help="Whose seat: the seat id, such as alice@acme.com.")],
    *,
    yes: Yes = False,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Free the seat that a person holds."""
    if not yes:
        typer.confirm(f"Free the seat of {output.plain(person)}?", abort=True, err=True)
    with stack(profile) as vendor:
        done = vendor.release_seat_of(id_of(vendor, entitlement), {"seatId": person})
    if as_json:
        return output.show_json(done)
    held = "The seat is free." if done["wasHeld"] else f"{person} held no seat."
    return output.say(held)


@app.command()
def denials(
    entitlement: Entitlement,
    *,
    person: Annotated[str | None, typer.Option(help="Only this person: the seat id.")] = None,
    usage_key: Annotated[str | None, typer.Option("--usage", help="Of this usage limit.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Most = LIMIT,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """List who was turned away, by hour, newest first."""
    with stack(profile) as vendor:
        found = vendor.list_denials(
            id_of(vendor, entitlement),
            seat_id=person,
            usage_key=usage_key,
            from_=time_from(since),
            to=time_from(until),
        )
        items: list[Any] = at_most(found, limit)
    if as_json:
        return output.show_json(items)
    rows = [
        (
            when(each["lastAt"]),
            each.get("seatId") or each.get("seatKey") or f"{each['key']}: {each['quantity']:,}",
            each["attempts"],
            seats(
                {"used": each["used"], "purchased": each["purchased"], "hardCap": each["hardCap"]}
            ),
            each["limitReached"],
        )
        for each in items
    ]
    columns = ("last attempt", "who", "#attempts", "in use then", "limit")
    return output.show_table(columns, rows, "Nobody was turned away.")


@app.command()
def why(
    entitlement: Entitlement,
    person: Annotated[
        str, typer.Argument(help="Who was denied: the seat id, such as alice@acme.com.")
    ],
    *,
    at: Annotated[str | None, typer.Option(help="About when; by default, the latest time.")] = None,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Why was she denied? The limits then, who held the seats now, and what has changed since."""
    with stack(profile) as vendor:
        entitlement_id = id_of(vendor, entitlement)
        found = vendor.explain_denial(entitlement_id, seat_id=person, at=time_from(at))
        held = at_most(vendor.list_activations(entitlement_id), LIMIT)
    if as_json:
        return output.show_json({**found, "holders": held})
    output.say(found["summary"])
    denial = found["denial"]
    if denial is not None:
        output.console.print()
        output.show_members(
            (
                ("denied", when(denial["at"])),
                ("in use then", seats({**denial})),
                ("limit reached", denial["limitReached"]),
                ("next lease ended", when(denial["nextLeaseExpiry"])),
                ("attempts that hour", denial["attemptsInHour"]),
                ("holds a seat now", found["isHeld"]),
                ("in use now", seats(found["seats"])),
            )
        )
    if found["changesSince"]:
        output.console.print()
        rows = [
            (when(each["at"]), each["type"], each["actorName"] or each["actor"], _changed(each))
            for each in found["changesSince"]
        ]
        output.show_table(("changed since", "what", "by", "values"), rows, "")
    if held:
        output.console.print()
        holders = [(each["seatId"] or each["seatKey"], when(each["leaseExpiry"])) for each in held]
        output.show_table(("holds a seat now", "lease ends"), holders, "")
    return None


def _changed(change: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}: {values['before']} → {values['after']}"
        for name, values in (change.get("changes") or {}).items()
    )
