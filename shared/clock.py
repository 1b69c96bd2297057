"""Times and durations: RFC 3339 in UTC with `Z`, ISO 8601 weeks to seconds, time zones."""

import re
import time
from datetime import UTC, datetime, timedelta, tzinfo

_DURATION = re.compile(
    r"P(?!$)(?:(\d{1,4})W)?(?:(\d{1,4})D)?(?:T(?!$)(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,9})S)?)?",
    re.ASCII,
)
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# Compact times are counted from here.
EPOCH = 1_735_689_600  # 2025-01-01T00:00:00Z
_LATEST = 253_402_300_799  # 9999-12-31T23:59:59Z


def now_ms() -> int:
    """Unix milliseconds by this machine's clock."""
    return time.time_ns() // 1_000_000


def to_rfc3339(milliseconds: int) -> str:
    """Unix milliseconds as text; whole seconds are written without a fraction."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    precision = "milliseconds" if milliseconds % 1000 else "seconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def from_rfc3339(text: str) -> int:
    """Unix seconds of a time, a fraction dropped, or of a date: its beginning in UTC.

    Raises:
        ValueError: neither a date nor RFC 3339, or without an offset.
    """
    wrong = "must be a time such as 2027-01-31T00:00:00Z (RFC 3339), or a date such as 2027-01-31"
    if _DATE.fullmatch(text):
        text += "T00:00:00Z"
    if not _RFC3339.fullmatch(text):
        raise ValueError(wrong)
    try:
        seconds = datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(wrong) from None
    if not 0 <= seconds <= _LATEST:
        raise ValueError("must not be before 1970 or after 9999")
    return int(seconds)


def from_rfc3339_ms(text: str) -> int:
    """Unix milliseconds of a time that `to_rfc3339` has written."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def in_zone(milliseconds: int, zone: str) -> str:
    """Unix milliseconds as people in a time zone read them: date, hour and minute."""
    return datetime.fromtimestamp(milliseconds / 1000, zone_of(zone)).strftime("%Y-%m-%d %H:%M")


def zone_of(name: str) -> tzinfo:
    """An IANA time zone."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - the hot path never needs one

    return ZoneInfo(name)


def day_of(milliseconds: int, zone: tzinfo) -> int:
    """The beginning of the local day of a time; both in Unix milliseconds."""
    local = datetime.fromtimestamp(milliseconds / 1000, zone)
    midnight = datetime(local.year, local.month, local.day, tzinfo=zone)
    return int(midnight.timestamp()) * 1000


def from_duration(text: str) -> int:
    """Seconds of an ISO 8601 duration in weeks, days, hours, minutes and seconds.

    Raises:
        ValueError: not such a duration; years and months have no fixed length.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError("not an ISO 8601 duration in weeks to seconds, such as PT8H")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    whole = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return int(whole.total_seconds())


def to_duration(seconds: int) -> str:
    """Seconds as an ISO 8601 duration in days, hours, minutes and seconds, such as PT8H."""
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    parts = zip("HMS", (hours, *divmod(rest, 60)), strict=True)
    time = "".join(f"{number}{unit}" for unit, number in parts if number)
    date = f"{days}D" if days else ""
    return f"P{date}{'T' + time if time else ''}" if date or time else "PT0S"


def hours_of(ms: int, decimals: int = 3) -> float:
    """Milliseconds in hours, rounded half up to so many decimals."""
    scale = int(10**decimals)
    return (ms * scale * 2 + 3_600_000) // 7_200_000 / scale
