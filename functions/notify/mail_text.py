"""The words of an e-mail: what happened, in numbers that a person reads at a glance."""

from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

from shared import events
from shared.ledger import Page
from shared.table import Item
from shared.times import in_zone

NOBODY = "somebody who was erased"


class Facts(NamedTuple):
    """What a mail tells: `happened` counts events by type; times are Unix milliseconds."""

    to: str
    audience: str
    document: Mapping[str, Any]
    page: Page
    since: int
    until: int
    happened: Mapping[str, int]
    thresholds: tuple[int, ...]
    overdraft_names: list[str]
    overdraft_people: int
    denied_attempts: int
    denied_people: int
    denied_names: list[tuple[str, int]]

    def numbers(self) -> dict[str, Any]:
        """What is kept of it: numbers, and no names."""
        return {
            "used": self.page.used,
            "purchased": self.page.seat_count,
            "hardCap": self.page.hard_cap,
            "overdraftUsed": max(0, self.page.used - self.page.seat_count),
            "overdraftSeatsGranted": self.overdraft_people,
            "deniedAttempts": self.denied_attempts,
            "deniedSeats": self.denied_people,
            "events": dict(self.happened),
            "thresholds": list(self.thresholds),
        }


def name_of(record: Item) -> str:
    """A person as a mail names them."""
    seat_id, name = record.get("seatId"), record.get("seatName")
    if not seat_id:
        return NOBODY
    return _one_line(f"{name} ({seat_id})" if name else seat_id)


def _one_line(text: str) -> str:
    """Without Unicode's line separators, which a seat's id may hold: a name stays one line."""
    return " ".join(text.splitlines())


def _subject_of(facts: Facts) -> tuple[str, str]:
    """Product and customer."""
    document = facts.document
    return _one_line(document["product"]), _one_line(document["customer"]["name"])


def render(facts: Facts, unsubscribe: str) -> tuple[str, str, str]:
    """Subject, text and HTML."""
    product, customer = _subject_of(facts)
    subject = f"{product}, {customer}: {_headline(facts)}"
    lines = [*_sentences(facts)]
    rows = _rows(facts)
    people = _people(facts)
    zone = facts.document["timeZone"]
    period = f"From {in_zone(facts.since, zone)} to {in_zone(facts.until, zone)} ({zone})."
    footer = (
        f"You get this as the {_ROLES[facts.audience]} of this entitlement, at most once an hour."
    )
    text = "\n".join(
        [
            f"{product} - {customer}",
            "",
            *lines,
            "",
            *(f"  {name + ':':<22}{value:>8}" for name, value in rows),
            *(line for title, names in people for line in ("", f"{title}:", *_bullets(names))),
            "",
            period,
            "",
            footer,
            f"No more mail about it: {unsubscribe}",
            "",
        ]
    )
    return subject, text, _html(facts, lines, rows, people, (period, footer, unsubscribe))


_ROLES = {"accountOwner": "account owner", "customerAdmin": "administrator"}


def _headline(facts: Facts) -> str:
    if facts.denied_people:
        return f"{_count(facts.denied_people, 'person', 'people')} turned away at the hard cap"
    if facts.happened.get(events.OVERDRAFT_EXHAUSTED):
        return "the last seat under the hard cap is taken"
    if facts.happened.get(events.OVERDRAFT_ENTERED):
        return "more seats in use than purchased"
    if facts.thresholds:
        return f"{max(facts.thresholds)} % of the purchased seats in use"
    return "use is back within what was purchased"


def _sentences(facts: Facts) -> list[str]:
    told = []
    if facts.happened.get(events.OVERDRAFT_ENTERED):
        told.append("Use rose above what was purchased. The seats beyond it were granted,"
                    " as overdraft.")  # fmt: skip
    if facts.happened.get(events.OVERDRAFT_EXHAUSTED):
        told.append("The last seat under the hard cap was taken: whoever comes next is denied.")
    if facts.denied_people:
        told.append(
            f"{_count(facts.denied_people, 'person', 'people')} asked for a seat and got none"
            f" ({_count(facts.denied_attempts, 'attempt', 'attempts')})."
        )
    if facts.thresholds:
        reached = ", ".join(f"{percent} %" for percent in facts.thresholds)
        told.append(f"Use reached {reached} of what was purchased.")
    if facts.happened.get(events.OVERDRAFT_EXITED):
        told.append("Use fell back to what was purchased.")
    return told


def _rows(facts: Facts) -> list[tuple[str, str]]:
    page = facts.page
    return [
        ("Purchased", str(page.seat_count)),
        ("Used now", str(page.used)),
        ("In overdraft now", str(max(0, page.used - page.seat_count))),
        ("Hard cap", "none" if page.hard_cap is None else str(page.hard_cap)),
    ]


def _people(facts: Facts) -> list[tuple[str, list[str]]]:
    people = []
    if facts.denied_names:
        names = [
            f"{name}, {_count(attempts, 'attempt', 'attempts')}"
            for name, attempts in facts.denied_names
        ]
        people.append(("Turned away", _and_more(names, facts.denied_people)))
    if facts.overdraft_names:
        names = _and_more(facts.overdraft_names, facts.overdraft_people)
        people.append(("Granted in overdraft", names))
    return people


def _and_more(names: list[str], count: int) -> list[str]:
    more = count - len(names)
    return [*names, f"and {more} more"] if more > 0 else names


def _bullets(names: list[str]) -> list[str]:
    return [f"  - {name}" for name in names]


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _html(
    facts: Facts,
    lines: list[str],
    rows: list[tuple[str, str]],
    people: list[tuple[str, list[str]]],
    foot: tuple[str, str, str],
) -> str:
    product, customer = _subject_of(facts)
    period, footer, unsubscribe = foot
    cell = "padding:4px 24px 4px 0;border-bottom:1px solid #ddd"
    table = "".join(
        f"<tr><td style='{cell}'>{escape(name)}</td>"
        f"<td style='{cell};text-align:right'><b>{escape(value)}</b></td></tr>"
        for name, value in rows
    )
    lists = "".join(
        f"<h3 style='margin:20px 0 4px'>{escape(title)}</h3><ul style='margin:0'>"
        + "".join(f"<li>{escape(name)}</li>" for name in names)
        + "</ul>"
        for title, names in people
    )
    small = "color:#666;font-size:13px"
    return (
        "<!doctype html><html lang='en'><body style='font:16px/1.5 sans-serif;color:#222'>"
        f"<h2 style='margin:0 0 8px'>{escape(product)}, {escape(customer)}</h2>"
        + "".join(f"<p>{escape(line)}</p>" for line in lines)
        + f"<table style='border-collapse:collapse'>{table}</table>{lists}"
        f"<p style='{small}'>{escape(period)}<br>{escape(footer)}"
        f" <a href='{escape(unsubscribe)}'>No more mail about it</a></p></body></html>"
    )
