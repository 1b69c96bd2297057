"""What all schemas share: the base classes, common types, and reading a body.

Inputs refuse unknown members and convert nothing: a boolean or a float is no count.
"""

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from shared import clock
from shared.problems import InvalidRequest
from shared.texts import (
    CONTROL,
    REASON_BYTES,
)
from shared.usage.counter import MAX_LIMIT

MAX_COUNT = 10_000_000


class Input(BaseModel):
    """What a caller sends."""

    model_config = ConfigDict(
        extra="forbid", strict=True, alias_generator=to_camel, validate_by_alias=True
    )


class Output(BaseModel):
    """What the API answers. Only the description uses it."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


def check_plain(text: str) -> str:
    """Validates a text of one line."""
    if CONTROL.search(text):
        raise ValueError("must not contain control characters")
    if text != text.strip():
        raise ValueError("must not begin or end with white space")
    return text


def _time(text: str) -> str:
    return clock.to_rfc3339(clock.from_rfc3339(text) * 1000)


def _zone(text: str) -> str:
    if text not in _zones():
        raise ValueError("must be an IANA time zone, such as America/New_York")
    return text


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    # The pinned package's own list: the same on every machine.
    names = files("tzdata").joinpath("zones").read_text().split()
    return frozenset(names) - {"Factory"}  # says that no zone was chosen


def sort_distinct(values: list[str]) -> list[str]:
    """The values, sorted, each once."""
    return sorted(set(values))


def check_multiline(text: str) -> str:
    """Validates a text of several lines."""
    if CONTROL.search(text.replace("\n", "")):
        raise ValueError("must not contain control characters other than line feeds")
    return text


def check_not_zero(value: int) -> int:
    """Validates a quantity that may be negative."""
    if value == 0:
        raise ValueError("must not be 0")
    return value


def check_reason(text: str) -> str:
    """Validates the reason of a correction."""
    if len(text.encode()) > REASON_BYTES:
        raise ValueError(f"must be at most {REASON_BYTES} bytes of UTF-8")
    return check_plain(text)


def _composed(text: str) -> str:
    """A text in normal form, so that it is found however it is typed."""
    return unicodedata.normalize("NFC", check_plain(text))


def _address(text: str) -> str:
    """An address that SES sends to: 7-bit ASCII, with an international domain in Punycode."""
    # Only requests that set an address pay for this import.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        found = validate_email(text, allow_smtputf8=False, check_deliverability=False, strict=True)
    except EmailNotValidError as error:
        raise ValueError(f"is not an address that mail can be sent to: {error}") from None
    if not text.isascii():
        raise ValueError(f"must have its domain in Punycode: {found.ascii_email}")
    return text


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_composed)]
Email = Annotated[
    str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$"), AfterValidator(_address)
]
Time = Annotated[
    str, AfterValidator(_time), Field(description="RFC 3339; a fraction of a second is dropped.")
]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
UsageCount = Annotated[int, Field(ge=0, le=MAX_LIMIT)]


class Health(Output):
    """The API answers."""

    status: Literal["ok"]


class ProblemBody(BaseModel):
    """RFC 9457; further members depend on the type."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="The request id.")


# --- Reading a body -----------------------------------------------------------------------------

COMPUTED = ("hardCap", "entitlementId", "seats", "createdAt", "updatedAt")
_OVERDRAFT_TYPES = "must have a type: none, absolute, percentage or unlimited"
_TEXTS = {
    "missing": "is required",
    "extra_forbidden": "unknown field",
    "model_type": "must be an object",
    "union_tag_invalid": _OVERDRAFT_TYPES,
    "union_tag_not_found": _OVERDRAFT_TYPES,
}
Model = TypeVar("Model", bound=Input)


def parse(model: type[Model], body: Mapping[str, Any]) -> Model:
    """Validate a body and return it as its model.

    Raises:
        InvalidRequest: names every member that is wrong.
    """
    try:
        return model.model_validate(body)
    except ValidationError as invalid:
        errors = [
            {"pointer": _pointer(error["loc"], body), "detail": _detail(error)}
            for error in invalid.errors(include_url=False, include_context=False)
        ]
        raise InvalidRequest(errors) from None


def _pointer(loc: tuple[int | str, ...], body: Any) -> str:
    """A JSON pointer for a location; pydantic's also names the variants of a union."""
    pointer, value = "", body
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        if isinstance(value, Mapping) and (part in value or is_last):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        pointer += "/" + str(part)[:100].replace("~", "~0").replace("/", "~1")
    return pointer


def _detail(error: Any) -> str:
    if error["type"] == "extra_forbidden" and error["loc"][-1] in COMPUTED:
        return "is computed and cannot be set"
    text = _TEXTS.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    return str(text)
