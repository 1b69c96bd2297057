"""A report as an HTML page, for a browser and for paper. It loads nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Undefined

from functions.report import statement_columns
from functions.report.columns import COLUMNS, meters
from functions.report.exporters import Meta
from functions.report.metrics import LEAST_DAYS
from functions.report.table import Entry, amount_text
from shared.clock import from_rfc3339_ms, hours_of, zone_of
from shared.dynamodb.keys import SEATS
from shared.sales import seat_requests
from shared.texts import isolated

# The most entitlements with a picture of their own.
PICTURES = 100
# The most rows in the table; the CSV and the workbook have all.
ROWS = 1_000
# The most customers in the list of changes.
CHANGES = 100
# The figures in this list, of those that are compared.
_IN_WORDS = {
    "purchased": "purchased",
    "hardCap": "hard cap",
    "peak": "peak",
    "overdraftDays": "days in overdraft",
    "denied": "denied",
    "deniedAttempts": "denied attempts",
    "suggested": "suggested",
    "monthlyValue": "monthly value",
    "status": "status",
    "openRequests": "requested and not answered",
}
_WIDTH, _HEIGHT, _LEFT, _TOP = 720, 150, 34, 14


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates beside this module; every value is escaped."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters["number"] = _number
    made.filters["wanted"] = seat_requests.wanted
    made.filters["sentence"] = Sentence
    made.filters["tel"] = _dialled
    made.filters["hours"] = lambda seconds: _number(hours_of(seconds * 1000, 1))
    return made


class Sentence(str):
    """A sentence of ours: the names in it end their own direction of writing already."""

    __slots__ = ()


def _shown(value: object) -> object:
    """What is written for a value: a name ends its own direction of writing."""
    return isolated(value) if type(value) is str else value


def _number(value: float | str | Undefined | None) -> str:
    if value is None or isinstance(value, Undefined):  # a usage limit has no seat-hours
        return "–"
    if isinstance(value, str):  # an amount of money
        return amount_text(value)
    return f"{round(value, 1) if isinstance(value, float) else value:,}"


def _dialled(phone: str) -> str:
    """A telephone number as a link dials it, without its extension (RFC 3966)."""
    number = phone.partition("x")[0]  # an extension begins with x or ext
    return "".join(sign for sign in number if sign.isdigit() or sign == "+")


class _Page:
    """A page, written at its end from the entries that it shows."""

    def __init__(self, path: Path, meta: Meta) -> None:
        self._path = path
        self._meta = meta
        self._entries: list[Entry] = []
        self._left_out = 0

    def add(self, entry: Entry, _: bytes) -> None:
        """Take one entry."""
        if len(self._entries) < ROWS:
            self._entries.append(entry)
        else:
            self._left_out += 1

    def _write(self, template: str, **facts: Any) -> None:
        """Write the page by a template, with these facts besides those of every page."""
        zone = self._meta["period"]["timeZone"]
        page = environment().get_template(template)
        self._path.write_text(
            page.render(
                meta=self._meta,
                left_out=self._left_out,
                at=lambda time: local(time, zone),
                **facts,
            )
        )


class Page(_Page):
    """The page of the report for sales."""

    def close(self) -> None:
        """Write the page."""
        shown = [
            {
                "entry": entry,
                "meters": list(meters(entry)),
                "wanted": seat_requests.in_all(seat_requests.unanswered(entry["requests"])),
                "chart": _chart_of(entry) if number < PICTURES else None,
            }
            for number, entry in enumerate(self._entries)
        ]
        self._write(
            "page.html",
            shown=shown,
            under_used=[
                (entry, meter)
                for entry in self._entries
                for meter in meters(entry)
                if meter.get("underUse")
            ],
            columns=COLUMNS,
            least_days=LEAST_DAYS,
            titles={column.name: column.title for column in COLUMNS},
            changes=changes_in_words(self._meta),
            month=title_of(self._meta["period"]),
        )


class StatementPage(_Page):
    """The page of a statement."""

    def close(self) -> None:
        """Write the page."""
        self._write(
            "statement.html",
            entries=self._entries,
            columns=statement_columns.COLUMNS,
            part_text=statement_columns.part_text,
            title=title_of(self._meta["period"]),
        )


def changes_in_words(meta: Meta) -> list[dict[str, Any]]:
    """What changed since the version before, by customer, in sentences about what sales act on."""
    shown = []
    for change in meta["changes"]["entitlements"] if meta["changes"] else []:
        sentences = {"added": ["New in the report."], "removed": ["No longer in the report."]}.get(
            change["what"], []
        )
        by_meter: dict[str, list[Mapping[str, Any]]] = {}
        for each in change["figures"]:
            if each["figure"] in _IN_WORDS:
                by_meter.setdefault(each["of"], []).append(each)
        sentences += [_change_in_words(meter, figures) for meter, figures in by_meter.items()]
        if sentences:
            shown.append(
                {
                    "customer": change["customer"],
                    "product": change["product"],
                    "sentences": sentences,
                }
            )
    return shown[:CHANGES]


def _change_in_words(meter: str, figures: Sequence[Mapping[str, Any]]) -> str:
    """What changed of one meter, or of the entitlement itself (`meter` is empty)."""
    name = "Seats" if meter == SEATS else f"'{meter}'"
    limits = next((each for each in figures if each["figure"] == "purchased"), None)
    if limits and limits["before"] is None:
        return f"{name}: new in the report."
    if limits and limits["now"] is None:
        return f"{name}: no longer in the report."
    text = "; ".join(
        f"{_IN_WORDS[each['figure']]} {each['now'] or 'none'}, was {each['before'] or 'none'}"
        for each in figures
    )
    return f"{name}: {text}." if meter else f"{text[:1].upper()}{text[1:]}."


def title_of(period: Mapping[str, Any]) -> str | None:
    """A month or a quarter as people write it: `November 2026` for `2026-11`, `Q4 2026`."""
    if period.get("quarter"):
        year, _, quarter = str(period["quarter"]).partition("-")
        return f"{quarter} {year}"
    if period.get("week"):
        year, _, week = str(period["week"]).partition("-W")
        return f"week {int(week)} of {year}"
    month = period["month"]
    return month and datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).strftime("%B %Y")


def local(time: str, zone: str) -> str:
    """A time as people in a time zone read it, to the minute."""
    moment = datetime.fromtimestamp(from_rfc3339_ms(time) / 1000, zone_of(zone))
    return moment.strftime("%Y-%m-%d %H:%M")


def _chart_of(entry: Entry) -> dict[str, Any] | None:
    if not entry["seats"]:
        return None
    intervals = entry["seats"].get("hours") or entry["seats"]["days"]
    names = ("from", "peak", "purchased", "hardCap", "denied")
    columns = zip(*(intervals[name] for name in names), strict=True)
    return chart([dict(zip(names, each, strict=True)) for each in columns], entry["timeZone"])


def chart(bars: list[dict[str, Any]], zone: str) -> dict[str, Any] | None:
    """The chart of usage against both limits, as coordinates for the template."""
    if not bars:
        return None
    tallest = max(max(bar["peak"], bar["purchased"], bar["hardCap"] or 0) for bar in bars)
    step = min(60, (_WIDTH - _LEFT) / len(bars))
    scale = (_HEIGHT - _TOP) / max(1, tallest)
    drawn = []
    for number, bar in enumerate(bars):
        over = max(0, bar["peak"] - bar["purchased"])
        within = bar["peak"] - over
        moment = datetime.fromtimestamp(from_rfc3339_ms(bar["from"]) / 1000, zone_of(zone))
        cap = bar["hardCap"]
        drawn.append(
            {
                "x": round(_LEFT + number * step, 2),
                "width": round(step * 0.8, 2),
                "step": round(step, 2),
                "within": round(within * scale, 2),
                "withinY": round(_HEIGHT - within * scale, 2),
                "over": round(over * scale, 2),
                "overY": round(_HEIGHT - bar["peak"] * scale, 2),
                "purchasedY": round(_HEIGHT - bar["purchased"] * scale, 2),
                "capY": None if cap is None else round(_HEIGHT - cap * scale, 2),
                "denied": bar["denied"],
                "peak": bar["peak"],
                "purchased": bar["purchased"],
                "label": moment.strftime("%Y-%m-%d %H:%M"),
                "day": moment.strftime("%d" if len(bars) <= 40 else ""),
            }
        )
    # Every second or third name, if all would overlap.
    every = -(-len(bars) // 32)
    return {
        "bars": drawn,
        "tallest": tallest,
        "width": _WIDTH,
        "height": _HEIGHT,
        "every": every,
    }
