"""The body of an activation: who asks for a seat, and how.

It is checked by hand, because pydantic alone would add a third to this function's start-up. A
contract test compares the result with `schemas.seats.ActivationRequest`, from which the API
description is made.
"""

import json
from typing import Any, NamedTuple

from shared.problems import InvalidRequest
from shared.seats.holder import Holder
from shared.seats.shard import lease_seconds
from shared.texts import ATTRIBUTES_BYTES, CONTROL, SEAT_ID_BYTES, SEAT_NAME_BYTES, wrong_id

_MEMBERS = ("seatId", "seatName", "attributes", "signed", "leasePeriod")


class ActivationBody(NamedTuple):
    """What a body says.

    `wants_signature`: the answer is to have a signed lease. `borrow_seconds`: the seat is to be
    borrowed for so long; None: it gets the entitlement's own lease.
    """

    holder: Holder
    wants_signature: bool = False
    borrow_seconds: int | None = None


def read_activation(body: dict[str, Any]) -> ActivationBody:
    """What a body says.

    Raises:
        InvalidRequest: names every member that is wrong.
    """
    errors = [
        {"pointer": f"/{name[:100]}", "detail": "unknown field"}
        for name in body
        if name not in _MEMBERS
    ]
    seat_id, seat_name = body.get("seatId"), body.get("seatName")
    attributes, signed = body.get("attributes"), body.get("signed", False)
    borrow_seconds, wrong_period = _period(body.get("leasePeriod"))
    for pointer, wrong in (
        ("/seatId", _wrong_seat_id(seat_id)),
        ("/seatName", seat_name is not None and _wrong_text(seat_name, SEAT_NAME_BYTES)),
        ("/attributes", attributes is not None and _wrong_attributes(attributes)),
        ("/signed", "" if type(signed) is bool else "must be true or false"),
        ("/leasePeriod", wrong_period),
    ):
        if wrong:
            errors.append({"pointer": pointer, "detail": wrong})
    if errors:
        raise InvalidRequest(errors)
    holder = Holder(str(seat_id), seat_name or "", attributes or {})
    return ActivationBody(holder, signed, borrow_seconds)


def _period(text: object) -> tuple[int | None, str]:
    """The seconds of a lease period, and what is wrong with it."""
    if text is None:
        return None, ""
    if not isinstance(text, str):
        return None, "must be a string"
    try:
        return lease_seconds(text), ""
    except ValueError as error:
        return None, str(error)


def _wrong_text(value: object, limit: int) -> str:
    if not isinstance(value, str):
        return "must be a string"
    if len(value.encode()) > limit:
        return f"must be at most {limit} bytes of UTF-8"
    if CONTROL.search(value):
        return "must not contain control characters"
    return ""


def _wrong_seat_id(value: object) -> str:
    if value is None:
        return "is required: what identifies the holder, such as an e-mail address or a device id"
    if value == "":
        return "must not be empty"
    return _wrong_text(value, SEAT_ID_BYTES) or wrong_id(str(value))


def _wrong_attributes(value: object) -> str:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        return "must be an object whose values are strings"
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > ATTRIBUTES_BYTES:
        return f"must be at most {ATTRIBUTES_BYTES} bytes of JSON in all"
    if any(CONTROL.search(part) for pair in value.items() for part in pair):
        return "must not contain control characters"
    return ""
