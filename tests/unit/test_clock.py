"""Times and durations on the wire."""

import pytest

from shared.audit import utc_hour
from shared.clock import from_duration, from_rfc3339, to_rfc3339


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1M", 60),
        ("PT8H", 28_800),
        ("P1D", 86_400),
        ("P2W", 1_209_600),
        ("P1DT1H1M1S", 90_061),
        ("PT90M", 5_400),
        ("P1W1D", 691_200),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert from_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1DT",
        "1H",
        "PT1",
        "P1M",
        "P1Y",
        "PT1.5H",
        "-PT1H",
        "pt1h",
        "P1D ",
        "PT1H\n",
        "PT١H",
    ],
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        from_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2027-01-15T08:00:00Z", 1_800_000_000),
        ("2027-01-15T09:00:00.999+01:00", 1_800_000_000),
        ("2027-01-15t08:00:00z", 1_800_000_000),
        ("2027-01-15", 1_800_000_000 - 8 * 3600),
    ],
)
def test_times(text: str, seconds: int) -> None:
    assert from_rfc3339(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2027-02-30",
        "2027-01",
        "2027-01-15T08:00:00",
        "2027-13-15T08:00:00Z",
        "20270115T080000Z",
        "2027-01-15 08:00:00Z",
        "1969-12-31T23:59:59Z",
        "2027-01-15T25:00:00Z",
    ],
)
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some are told by datetime itself
        from_rfc3339(text)


def test_times_are_written_in_utc() -> None:
    assert to_rfc3339(1_800_000_000_000) == "2027-01-15T08:00:00Z"
    assert to_rfc3339(1_800_000_000_120) == "2027-01-15T08:00:00.120Z"
    assert utc_hour(1_800_003_599) == "2027-01-15T08"
