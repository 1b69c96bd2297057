"""From a body to a valid document, with errors that point at what is wrong."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from shared import entitlement, ledger
from shared.models import EntitlementInput, Input
from shared.problems import InvalidRequest
from shared.times import to_rfc3339

COMPUTED = ("hardCap", "entitlementId", "seats", "createdAt", "updatedAt")
# Their parts make sense only together, so a patch replaces them whole.
WHOLE = ("overdraftSeatLimit", "unitPrice")
_OVERDRAFT_TYPES = "must have a type: none, absolute, percentage or unlimited"
_TEXTS = {
    "missing": "is required",
    "extra_forbidden": "unknown field",
    "union_tag_invalid": _OVERDRAFT_TYPES,
    "union_tag_not_found": _OVERDRAFT_TYPES,
}
Model = TypeVar("Model", bound=Input)


def parse(model: type[Model], body: Mapping[str, Any]) -> Model:
    """A body as its model.

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


def to_document(body: Mapping[str, Any], *, valid_from: int) -> dict[str, Any]:
    """A complete, valid document; `valid_from` (Unix seconds) is the default of that member.

    Raises:
        InvalidRequest.
    """
    model = parse(EntitlementInput, body)
    document = model.model_dump(by_alias=True)
    if model.seat_count is None and not model.usage_limits:
        raise InvalidRequest.at(
            "/seatCount", "is required, or a usage limit: how many seats were purchased"
        )
    document["validFrom"] = document["validFrom"] or to_rfc3339(valid_from * 1000)
    valid = entitlement.terms(document)
    if valid.valid_until is not None and valid.valid_until <= valid.valid_from:
        raise InvalidRequest.at("/validUntil", "must be after validFrom")
    cap = valid.hard_cap
    if cap is None or cap > ledger.PAGE_SEATS:
        limit = ledger.PAGE_SEATS
        reached = "an unlimited overdraft is" if cap is None else f"a hard cap of {cap} seats is"
        pointer = "/seatCount" if valid.seat_count > limit else "/overdraftSeatLimit"
        raise InvalidRequest.at(
            pointer,
            f"{reached} not supported yet: purchased seats and overdraft together"
            f" are at most {limit}",
        )
    return document


def merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7396) on a document.

    A null for a member that does not exist stays in the result, so that validation can refuse
    an unknown name in a patch as well.
    """
    merged = dict(target)
    for name, value in patch.items():
        if value is None and name in merged:
            del merged[name]
        elif isinstance(value, dict) and isinstance(merged.get(name), dict) and name not in WHOLE:
            merged[name] = merge_patch(merged[name], value)
        else:
            merged[name] = value
    return merged
