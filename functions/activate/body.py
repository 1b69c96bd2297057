"""The body of an activation: who asks for a seat.

It is checked by hand, because pydantic alone would add a third to this function's start-up. A
contract test compares the result with `schemas.seats.ActivationRequest`, from which the API
description is made.
"""

import json
from typing import Any

from shared.problems import InvalidRequest
from shared.seats.holder import Holder
from shared.texts import ATTRIBUTES_BYTES, CONTROL, SEAT_ID_BYTES, SEAT_NAME_BYTES, wrong_id


def read_holder(body: dict[str, Any]) -> Holder:
    """The holder in a body.

    Raises:
        InvalidRequest: names every member that is wrong.
    """
    errors = [
        {"pointer": f"/{name[:100]}", "detail": "unknown field"}
        for name in body
        if name not in ("seatId", "seatName", "attributes")
    ]
    seat_id, seat_name = body.get("seatId"), body.get("seatName")
    attributes = body.get("attributes")
    for pointer, wrong in (
        ("/seatId", _wrong_seat_id(seat_id)),
        ("/seatName", seat_name is not None and _wrong_text(seat_name, SEAT_NAME_BYTES)),
        ("/attributes", attributes is not None and _wrong_attributes(attributes)),
    ):
        if wrong:
            errors.append({"pointer": pointer, "detail": wrong})
    if errors:
        raise InvalidRequest(errors)
    return Holder(str(seat_id), seat_name or "", attributes or {})


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
