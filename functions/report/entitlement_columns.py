"""The columns that every kind of report has: whose entitlement it is, and whom to call."""

import json
from collections.abc import Callable
from typing import Any

from functions.report.table import Column, Entry


def contact(audience: str, name: str = "email") -> Callable[[Entry, Entry], Any]:
    """A member of the contact of an audience; None: it has no such contact."""

    def value(entry: Entry, _: Entry) -> Any:
        contact = entry["contacts"].get(audience) or {}
        return contact.get(name)

    return value


def of_entitlement(what: str) -> tuple[Column, ...]:
    """The columns of an entitlement; `what` was asked for: a report, or a statement."""
    return (
        Column(
            "customer",
            "Customer",
            "text",
            "The customer's name.",
            lambda entry, _: entry["customer"]["name"],
        ),
        Column(
            "customerExternalId",
            "Customer id",
            "text",
            "The customer's id in your CRM.",
            lambda entry, _: entry["customer"]["externalId"],
        ),
        Column("product", "Product", "text", "What was sold.", lambda entry, _: entry["product"]),
        Column("sku", "SKU", "text", "Its stock-keeping unit.", lambda entry, _: entry["sku"]),
        Column(
            "entitlementId",
            "Entitlement",
            "text",
            "The entitlement's id.",
            lambda entry, _: entry["entitlementId"],
        ),
        Column(
            "status",
            "Status",
            "text",
            f"The entitlement's status when the {what} was asked for.",
            lambda entry, _: entry["status"],
        ),
        Column(
            "accountOwner",
            "Account owner",
            "text",
            "The e-mail of the vendor's account owner.",
            contact("accountOwner"),
        ),
        Column(
            "customerAdmin",
            "Customer's admin",
            "text",
            "The e-mail of the customer's admin.",
            contact("customerAdmin"),
        ),
    )


# Rows of earlier releases have no end of the term.
TERM_ENDS = Column(
    "validUntil",
    "Term ends",
    "time",
    "When the entitlement's validity ends; empty: open-ended.",
    lambda entry, _: entry.get("validUntil"),
)
# What the vendor has noted on the entitlement. Rows of earlier releases lack it.
OF_VENDOR = (
    Column(
        "externalId",
        "External id",
        "text",
        "Your own id of the entitlement.",
        lambda entry, _: entry.get("externalId"),
    ),
    Column(
        "metadata",
        "Metadata",
        "text",
        "Your own notes on the entitlement, as JSON.",
        lambda entry, _: _as_json(entry.get("metadata")),
    ),
)


def _as_json(metadata: Entry | None) -> str | None:
    return json.dumps(metadata, ensure_ascii=False, sort_keys=True) if metadata else None
