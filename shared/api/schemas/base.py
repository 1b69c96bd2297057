"""What all schemas share: the base classes, common types, and reading a body.

Inputs refuse unknown members and convert nothing: a boolean or a float is no count.
"""

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from shared import clock
from shared.problems import InvalidRequest
from shared.seats.encoding import SEAT_KEY
from shared.seats.shard import lease_seconds
from shared.texts import (
    CONTROL,
    EXTERNAL_ID,
    METADATA_NAME,
    PERIOD,
    REASON_BYTES,
    REPORT_PERIOD,
    USAGE_KEY,
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


def _length(text: str) -> str:
    lease_seconds(text)
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


Length = Annotated[str, AfterValidator(_length)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_composed)]
EMAIL = r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$"
MONTH = r"^20[0-9]{2}-(0[1-9]|1[0-2])$"
AMOUNT = r"^[0-9]{1,12}(\.[0-9]{1,4})?$"
CURRENCY = r"^[A-Z]{3}$"
# A telephone number as people write it; a plus may precede it, an extension follow.
PHONE = r"^\+?[0-9(][0-9 ()./-]{2,38}[0-9)]( ?(x|ext\.?) ?[0-9]{1,6})?$"
EVENT_TYPE = r"^(\*|[a-z.]+(\.\*)?)$"
Email = Annotated[str, Field(max_length=254, pattern=EMAIL), AfterValidator(_address)]
Time = Annotated[
    str,
    AfterValidator(_time),
    Field(
        description="RFC 3339, a fraction of a second is dropped;"
        " or a date, which is midnight UTC at its beginning."
    ),
]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
UsageCount = Annotated[int, Field(ge=0, le=MAX_LIMIT)]


class Health(Output):
    """The API answers."""

    status: Literal["ok"]


class ProblemBody(BaseModel):
    """RFC 9457; further members depend on the type."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="The request id.")


# --- Reading a body -----------------------------------------------------------------------------

COMPUTED = ("hardCap", "entitlementId", "seats", "createdAt", "updatedAt")
_OVERDRAFT_TYPES = "must have a type: none, absolute, percentage or unlimited"
# What to say for pydantic's types of errors; names in braces are of their context.
_TEXTS = {
    "missing": "is required",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be an array",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "union_tag_invalid": _OVERDRAFT_TYPES,
    "union_tag_not_found": _OVERDRAFT_TYPES,
    "literal_error": "must be one of: {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} items",
}
# What a pattern means, with an example.
_PATTERNS = {
    EMAIL: "must be an e-mail address, such as ann@example.com",
    USAGE_KEY: "must be 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit,"
    " such as exports",
    EXTERNAL_ID: "must be 1 to 100 letters, digits, '.', '_', ':', '@' or '-', such as order-4711",
    METADATA_NAME: "must have a name of 1 to 40 letters, digits, '.', '_', ':' or '-'",
    MONTH: "must be a month, such as 2026-11",
    PERIOD: "must be a month, such as 2026-11, or a quarter, such as 2026-Q4",
    REPORT_PERIOD: "must be a month, such as 2026-11, a quarter, such as 2026-Q4, or a week, such"
    " as 2026-W48",
    AMOUNT: 'must be a decimal in a string with at most four decimals, such as "30.00"',
    PHONE: "must be a telephone number, such as +49 30 901820",
    CURRENCY: "must be three capital letters, such as EUR",
    EVENT_TYPE: "must be an event type, or its beginning such as entitlement.overdraft.*",
    SEAT_KEY.pattern: "must be 12 letters, digits, _ or -, as lists of seats have it",
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
            {"pointer": _pointer(error["loc"], body), "detail": _detail(model, error)}
            for error in invalid.errors(include_url=False)
        ]
        raise InvalidRequest(errors) from None


def _pointer(loc: tuple[int | str, ...], body: Any) -> str:
    """A JSON pointer for a location; pydantic's also names the variants of a union."""
    pointer, value = "", body
    for position, part in enumerate(loc):
        # An error of a variant as a whole ends with its name.
        is_variant = isinstance(value, Mapping) and value.get("type") == part != "type"
        is_last = position == len(loc) - 1 and not is_variant
        if isinstance(value, Mapping) and (part in value or is_last):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        pointer += "/" + str(part)[:100].replace("~", "~0").replace("/", "~1")
    return pointer


def _detail(model: type[BaseModel], error: Any) -> str:
    """What is wrong, and what would be right, in plain words."""
    context = error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        if error["loc"][-1] in COMPUTED:
            return "is computed and cannot be set"
        return f"unknown field; known are: {', '.join(_members_at(model, error['loc'][:-1]))}"
    if error["type"] == "string_pattern_mismatch" and context["pattern"] in _PATTERNS:
        return _PATTERNS[context["pattern"]]
    if error["type"] in _TEXTS:
        return _TEXTS[error["type"]].format(**context)
    return str(error["msg"]).removeprefix("Value error, ")


def _members_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The names of the members that the object at a location of an error may have."""
    found = [model]
    for part in loc:
        fields = [
            field
            for each in found
            for field in each.model_fields.values()
            if part in (field.alias, field.serialization_alias)
        ]
        # Other parts are positions in a list, and the variants of a union.
        if fields:
            found = [inner for field in fields for inner in _models_in(field.annotation)]
        else:
            found = [each for each in found if _is_variant(each, part)] or found
    return sorted({str(field.alias) for each in found for field in each.model_fields.values()})


def _is_variant(model: type[BaseModel], name: int | str) -> bool:
    """Whether a model is the variant of a union with this `type`."""
    kind = model.model_fields.get("type")
    return kind is not None and name in get_args(kind.annotation)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models_in(inner)]
