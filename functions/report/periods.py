"""The period of a report: a month, a quarter, a week, or a range of whole quarter-hours."""

from datetime import UTC, datetime, timedelta, tzinfo

from functions.report.metrics import Period
from shared.api.schemas.reports import ReportInput
from shared.audit import EVIDENCE_SECONDS
from shared.clock import from_rfc3339, zone_of
from shared.history.buckets import BUCKET_MS
from shared.problems import InvalidRequest
from shared.usage.periods import calendar_month

LONGEST_MS = 366 * 86_400_000


def month_of(at: int, zone: tzinfo, ahead: int = 0) -> str:
    """The month of a time in a time zone, `YYYY-MM`, or one so many months later."""
    local = datetime.fromtimestamp(at / 1000, zone)
    return _later(local.year, local.month, ahead)


def _later(year: int, month: int, months: int) -> str:
    """The month so many months later, `YYYY-MM`."""
    year, number = divmod(year * 12 + month - 1 + months, 12)
    return f"{year:04d}-{number + 1:02d}"


def of_month(month: str, zone: str, now_ms: int) -> Period:
    """A month in a time zone, as far as it is over; it is compared with the month before."""
    middle = datetime(int(month[:4]), int(month[5:]), 15, tzinfo=UTC)
    start, end = calendar_month(int(middle.timestamp()), zone)
    assert end is not None  # a month ends
    before = calendar_month(start - 1, zone)
    return Period(start * 1000, end * 1000, min(end * 1000, now_ms), before.start * 1000)


def quarter_of(month: str) -> str | None:
    """The quarter that ends with a month, `YYYY-Qn`; None: none does."""
    number = int(month[5:])
    return None if number % 3 else f"{month[:4]}-Q{number // 3}"


def of_quarter(quarter: str, zone: str, now_ms: int) -> Period:
    """A quarter in a time zone, as far as it is over; it is compared with the quarter before."""
    year, last = int(quarter[:4]), 3 * int(quarter[-1])
    before, start, end = (
        of_month(_later(year, last, months), zone, now_ms).start for months in (-5, -2, 1)
    )
    return Period(start, end, min(end, now_ms), before)


def week_of(at: int, zone: tzinfo, ahead: int = 0) -> str:
    """The ISO week of a time in a time zone, `YYYY-Www`, or one so many weeks later."""
    local = datetime.fromtimestamp(at / 1000, zone) + timedelta(weeks=ahead)
    return f"{local:%G-W%V}"


def of_week(week: str, zone: str, now_ms: int) -> Period:
    """An ISO week in a time zone, from Monday to Sunday, as far as it is over.

    Raises:
        ValueError: the year has no such week.
    """
    monday = datetime.strptime(f"{week}-1", "%G-W%V-%u").replace(tzinfo=zone_of(zone))
    if f"{monday:%G-W%V}" != week:  # a later Python refuses it by itself
        raise ValueError(week)
    before, start, end = (
        int((monday + timedelta(weeks=ahead)).timestamp()) * 1000 for ahead in (-1, 0, 1)
    )
    return Period(start, end, min(end, now_ms), before)


def of_name(name: str, zone: str, now_ms: int) -> Period:
    """A month, `YYYY-MM`, a quarter, `YYYY-Qn`, or a week, `YYYY-Www`.

    Raises:
        ValueError: the year has no such week.
    """
    by_letter = {"Q": of_quarter, "W": of_week}
    return by_letter.get(name[5:6], of_month)(name, zone, now_ms)


def names(name: str | None) -> dict[str, str | None]:
    """The name of a period, as a report has it: that of a month, a quarter, a week, or none."""
    kind = {"Q": "quarter", "W": "week"}.get((name or "")[5:6], "month")
    return {each: name if each == kind else None for each in ("month", "quarter", "week")}


def read(model: ReportInput, zone_name: str, now_ms: int) -> tuple[Period, str | None]:
    """The period of a request, and the name of its month or quarter; by default the last month.

    Raises:
        InvalidRequest: in the future, reversed, too long, not in whole quarter-hours, or older than
            the evidence.
    """
    if model.from_ is None and model.to is not None:
        raise InvalidRequest.at("/from", "is required with 'to'")
    if model.from_ is not None and model.period is not None:
        raise InvalidRequest.at("/period", "must not be given together with 'from'")
    name = None
    if model.from_ is None:
        name = model.period or month_of(now_ms, zone_of(zone_name), -1)
        try:
            period, pointer = of_name(name, zone_name, now_ms), "/period"
        except ValueError:
            raise InvalidRequest.at("/period", "the year has no such week") from None
    else:
        period, pointer = _between(model.from_, model.to, now_ms), "/from"
    if period.start >= now_ms:
        raise InvalidRequest.at(pointer, "is in the future")
    if period.start < now_ms - EVIDENCE_SECONDS * 1000:
        raise InvalidRequest.at(pointer, "is too far back: evidence is stored for 400 days")
    return period, name


def _between(first: str, last: str | None, now_ms: int) -> Period:
    start = from_rfc3339(first) * 1000
    following = now_ms - now_ms % BUCKET_MS + BUCKET_MS
    end = following if last is None else from_rfc3339(last) * 1000
    for pointer, at in (("/from", start), ("/to", end)):
        if at % BUCKET_MS:
            raise InvalidRequest.at(pointer, "must be the beginning of a quarter-hour")
    if last is not None and start >= end:
        raise InvalidRequest.at("/from", "must be before 'to'")
    if last is not None and end > following:
        raise InvalidRequest.at("/to", "is in the future")
    if end - start > LONGEST_MS:
        raise InvalidRequest.at("/from", "a report covers at most 366 days")
    return Period(start, end, min(end, now_ms), start - (end - start))
