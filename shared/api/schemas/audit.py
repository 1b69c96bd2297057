"""The audit trail."""

from typing import Any, Literal

from pydantic import Field

from shared.api.schemas.base import Output
from shared.audit import ENTRY_TYPES


class ChangedValues(Output):
    """A member before and after a change; null where there was nothing."""

    before: Any
    after: Any


class Change(Output):
    """A change that somebody made through the API, or what they did to a person's seat."""

    change_id: str
    at: str
    type: Literal[ENTRY_TYPES]  # type: ignore[valid-type]
    entitlement_id: str | None = Field(description="Null: of an API key or a webhook endpoint.")
    actor: str | None = Field(
        description="The id of the key or portal link. In the portal null: the vendor."
    )
    actor_name: str | None = Field(description="The name of that key or link, if it is known.")
    subject_id: str | None = Field(
        description="What was changed, besides the entitlement: a seat key, or the id of a key, a"
        " link, a request or an endpoint, or the key of a usage limit."
    )
    subject_name: str | None = Field(
        description="The name of that key or link, the endpoint's URL, or the person's seatId,"
        " which is null once the person has been erased."
    )
    changes: dict[str, ChangedValues] = Field(description="The members that were changed.")
    reason: str | None = Field(description="Of a correction of usage.")
    request_id: str = Field(description="The request that made the change, as in the logs.")


class ChangeList(Output):
    """A page of changes, newest first."""

    items: list[Change]
    next_page_token: str | None
