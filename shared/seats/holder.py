"""The holder of a seat, as a request names it."""

from collections.abc import Mapping
from typing import NamedTuple


class Holder(NamedTuple):
    """Who asks for a seat. `attributes` are shown to the vendor and decide nothing."""

    seat_id: str
    seat_name: str = ""
    attributes: Mapping[str, str] = {}
