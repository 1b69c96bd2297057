"""The periods of a usage limit."""

from datetime import datetime
from typing import NamedTuple

from shared.clock import zone_of

DAY = 86_400
DAY_MS = DAY * 1000
SCHEDULES = ("monthly", "never", "on_renewal")


# --- Periods --------------------------------------------------------------------------------------


class Period(NamedTuple):
    """From `start` to before `end`. `end` None: until something else begins a new period."""

    start: int
    end: int | None


def calendar_month(now: int, zone: str) -> Period:
    """The calendar month of a time, from local midnight to local midnight.

    Where clocks change at midnight, it begins with the first moment of the day.
    """
    local = datetime.fromtimestamp(now, zone_of(zone))
    following = (local.year + local.month // 12, local.month % 12 + 1)
    start, end = (
        int(datetime(year, month, 1, tzinfo=local.tzinfo).timestamp())
        for year, month in ((local.year, local.month), following)
    )
    return Period(start, end)
