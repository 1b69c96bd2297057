"""Commands of webhooks, and of links to the portal."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

import typer

from overdraft.cli import output
from overdraft.cli.app import LIMIT, Most, group, time_from
from overdraft.cli.output import when
from overdraft.cli.session import Entitlement, Json, ProfileName, at_most, id_of, stack

webhooks = group("webhooks", "Where events are sent.")
links = group("links", "Links to the customer's portal.")

WebhookId = Annotated[str, typer.Argument(help="The endpoint: wh_…")]


@webhooks.command("list")
def list_webhooks(*, profile: ProfileName = None, as_json: Json = False) -> None:
    """List endpoints, and whether they work."""
    with stack(profile) as vendor:
        items = list(vendor.list_webhooks())
    if as_json:
        return output.show_json(items)
    rows = [
        (
            each["webhookId"],
            each["url"],
            each["format"],
            "on" if each["enabled"] else f"off: {each['disabledReason'] or 'by hand'}",
        )
        for each in items
    ]
    return output.show_table(("endpoint", "address", "format", "state"), rows, "No endpoints yet.")


@webhooks.command("deliveries")
def list_deliveries(
    webhook: WebhookId,
    *,
    status: Annotated[
        Literal["pending", "succeeded", "failed"] | None, typer.Option(help="Only these.")
    ] = None,
    limit: Most = LIMIT,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """List deliveries to an endpoint, newest first."""
    with stack(profile) as vendor:
        items = at_most(vendor.list_deliveries(webhook, status=status), limit)
    if as_json:
        return output.show_json(items)
    rows = [
        (
            each["deliveryId"],
            each["type"],
            each["status"],
            len(each["attempts"]),
            _last_answer(each["attempts"]),
            when(each["createdAt"]),
        )
        for each in items
    ]
    columns = ("delivery", "event", "status", "#attempts", "last answer", "event at")
    return output.show_table(columns, rows, "No deliveries.")


def _last_answer(attempts: Any) -> str | None:
    if not attempts:
        return None
    last = attempts[-1]
    return last["error"] or f"HTTP {last['responseStatus']}"


@webhooks.command("resend")
def resend(
    webhook: WebhookId,
    delivery: Annotated[
        str | None, typer.Argument(help="One delivery; or all, with --since.")
    ] = None,
    *,
    since: Annotated[
        str | None, typer.Option(help="All that failed since this time, or so long ago (2d).")
    ] = None,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Send a delivery again, or all that failed since a time."""
    if (delivery is None) == (since is None):
        raise typer.BadParameter("name one delivery, or all that failed: --since 2d")
    with stack(profile) as vendor:
        if delivery is not None:
            accepted = vendor.resend_delivery(webhook, delivery)
        else:
            accepted = vendor.resend_failed_deliveries(webhook, {"since": str(time_from(since))})
    if as_json:
        return output.show_json(accepted)
    return output.say(f"Will be sent again: overdraft webhooks deliveries {webhook}")


@links.command("create")
def create_link(
    entitlement: Entitlement,
    *,
    role: Annotated[
        Literal["viewer", "admin"], typer.Option(help="An admin may free seats, and ask for more.")
    ] = "viewer",
    name: Annotated[str | None, typer.Option(help="For whom it is, for you alone.")] = None,
    expires_in: Annotated[str | None, typer.Option("--expires-in", help="ISO 8601: P30D.")] = None,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Make a link to the customer's portal. It is shown once, and works for anybody who has it."""
    body: dict[str, Any] = {"role": role}
    if name is not None:
        body["name"] = name
    if expires_in is not None:
        body["expiresIn"] = expires_in
    with stack(profile) as vendor:
        made = vendor.create_portal_link(id_of(vendor, entitlement), cast("Any", body))
    if as_json:
        return output.show_json(made)
    output.show_link("link", made["url"])
    output.show_members((("role", made["role"]), ("until", when(made["expiresAt"]))))
    return None
