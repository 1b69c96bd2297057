"""Webhook endpoints and deliveries."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from shared.api.schemas.base import (
    EVENT_TYPE,
    Input,
    Name,
    Output,
    Time,
    check_plain,
    sort_distinct,
)
from shared.events import types as event_types
from shared.webhooks.channels import FORMATS, STANDARD
from shared.webhooks.endpoints import OVERLAP_SECONDS, covers


def _pattern(text: str) -> str:
    if not any(covers(text, kind) for kind in event_types.TYPES):
        raise ValueError("must be an event type, the beginning of one and '.*', or '*'")
    return text


class WebhookInput(Input):
    """Where events are sent, and which."""

    url: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="https, on a public address."
    )
    format: Literal[FORMATS] = Field(  # type: ignore[valid-type]
        STANDARD,
        description="`standard`: signed events. `slack`, `teams`: messages for people in a channel,"
        " of an entitlement at most one an hour.",
    )
    event_types: Annotated[
        list[Annotated[str, Field(pattern=EVENT_TYPE), AfterValidator(_pattern)]],
        Field(min_length=1, max_length=20),
        AfterValidator(sort_distinct),
    ] = Field(["*"], description="Types, or beginnings such as `entitlement.overdraft.*`.")
    entitlement_id: Annotated[str, Field(max_length=80)] | None = Field(
        None, description="Only events of this entitlement."
    )
    customer: Name | None = Field(
        None, description="Only events of this customer: its exact name or externalId."
    )
    description: Annotated[str, Field(max_length=500), AfterValidator(check_plain)] | None = None
    enabled: bool = True


class WebhookPatch(WebhookInput):
    """A JSON merge patch (RFC 7396)."""


class Webhook(Output):
    """An endpoint, without its secret."""

    webhook_id: str
    url: str
    format: Literal[FORMATS]  # type: ignore[valid-type]
    event_types: list[str]
    entitlement_id: str | None
    customer: str | None
    description: str | None
    enabled: bool
    disabled_reason: Literal["gone", "failing"] | None = Field(
        description="It answered 410, or failed for five days."
    )
    disabled_at: str | None
    created_at: str
    updated_at: str


class NewWebhook(Webhook):
    """An endpoint with its secret, which only this answer has."""

    secret: str


class WebhookList(Output):
    """A page of endpoints."""

    items: list[Webhook]
    next_page_token: str | None


class RotationInput(Input):
    """How long the old secret signs beside the new one."""

    overlap_seconds: Annotated[int, Field(ge=0, le=7 * 86_400)] = OVERLAP_SECONDS


class NewSecret(Output):
    """A new secret, which only this answer has."""

    webhook_id: str
    secret: str
    previous_secret_expires_at: str


class WebhookTestInput(Input):
    """The type of the event to send."""

    type: Literal[event_types.TYPES] = event_types.OVERDRAFT_ENTERED  # type: ignore[valid-type]


class TestSent(Output):
    """A test event is on its way."""

    webhook_id: str
    event_id: str
    delivery_id: str


class ResendInput(Input):
    """The time since which failed deliveries are sent again."""

    since: Time


class ResendAccepted(Output):
    """Deliveries will be made again."""

    webhook_id: str
    delivery_id: str | None = None
    since: str | None = None


class DeliveryAttempt(Output):
    """One attempt: the answer, or what went wrong."""

    at: str
    duration_ms: int
    response_status: int | None
    error: str | None


class Delivery(Output):
    """The delivery of one event to one endpoint."""

    delivery_id: str
    event_id: str
    type: str
    entitlement_id: str | None
    is_test: bool
    status: Literal["pending", "succeeded", "failed"]
    failure: str | None
    attempts: list[DeliveryAttempt]
    next_attempt_at: str | None
    created_at: str = Field(description="The time of the event.")


class DeliveryDetails(Delivery):
    """A delivery with the event and the last answer."""

    event: dict[str, Any] = Field(
        description="The event as it would be sent now: names are read when it is sent."
    )
    answer: str | None = Field(
        description="How the endpoint's last answer begins, up to 500 bytes; null: it had no body."
    )


class EventDelivery(Delivery):
    """A delivery with its endpoint."""

    webhook_id: str
    url: str


class EventDeliveryList(Output):
    """A page of the deliveries of one event. It may have fewer than it could, or none."""

    items: list[EventDelivery]
    next_page_token: str | None


class DeliveryList(Output):
    """A page of deliveries."""

    items: list[Delivery]
    next_page_token: str | None
