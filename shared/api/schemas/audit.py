"""The audit trail, and explanations of denials."""

from typing import Any, Literal

from pydantic import Field

from shared.api.schemas.base import Output
from shared.api.schemas.history import LimitReached
from shared.api.schemas.seats import Seats
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
    actor_name: str | None = Field(
        description="The name of that key or link, if it is known. Null in the portal."
    )
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


class ExplainedDenial(Output):
    """A denied attempt, and what was in force then."""

    at: str
    is_exact: bool = Field(
        description="False: not yet reported by the stream. The numbers are those of the last"
        " attempt within that hour."
    )
    attempts_in_hour: int
    used: int
    purchased: int
    hard_cap: int | None
    limit_reached: LimitReached
    next_lease_expiry: str | None = Field(
        description="When the next lease was to end; null: none had an end, or it is not known."
    )


class Explanation(Output):
    """Why a person was denied, and what has changed since."""

    seat_key: str
    seat_id: str | None
    at: str
    summary: str = Field(description="The answer in words, with local times of the entitlement.")
    denial: ExplainedDenial | None = Field(description="Null: none within 12 hours of that time.")
    changes_since: list[Change] = Field(description="Changes of terms since then, at most 20.")
    is_held: bool = Field(description="Whether the person holds a seat now.")
    held_since: str | None
    seats: Seats = Field(description="Now.")
