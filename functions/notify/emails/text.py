"""The texts of notification e-mails."""

from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

from shared.clock import in_zone
from shared.dynamodb.requests import Item
from shared.events import types as event_types
from shared.history.thresholds import ENTERED, EXHAUSTED
from shared.seats.seat_usage import SeatUsage
from shared.texts import isolated
from shared.usage.counter import Counter
from shared.usage.views import usage_view

NOBODY = "somebody who was erased"


class CountFacts(NamedTuple):
    """One usage limit in an e-mail; `triggered` are its triggered thresholds and limits."""

    key: str
    counter: Counter
    triggered: tuple[int | str, ...]
    denied_attempts: int
    denied_requests: int

    def numbers(self) -> dict[str, Any]:
        """What is stored of it."""
        counter = self.counter
        return {
            "key": self.key,
            **usage_view(counter.used, counter.purchased, counter.hard_cap),
            "deniedAttempts": self.denied_attempts,
            "deniedRequests": self.denied_requests,
            "fired": [str(what) for what in self.triggered],
        }

    @property
    def thresholds(self) -> list[int]:
        """The thresholds reached, in percent."""
        return sorted(what for what in self.triggered if isinstance(what, int))


class Facts(NamedTuple):
    """The content of an e-mail: `happened` counts events by type; times are Unix milliseconds."""

    to: str
    audience: str
    document: Mapping[str, Any]
    seat_usage: SeatUsage
    since: int
    until: int
    happened: Mapping[str, int]
    thresholds: tuple[int, ...]
    overdraft_names: list[str]
    overdraft_people: int
    denied_attempts: int
    denied_people: int
    denied_names: list[tuple[str, int]]
    counts: list[CountFacts]
    requests: list[Item]

    def numbers(self) -> dict[str, Any]:
        """What is stored of it: numbers, and no names."""
        return {
            "used": self.seat_usage.used,
            "purchased": self.seat_usage.purchased,
            "hardCap": self.seat_usage.hard_cap,
            "overdraftUsed": max(0, self.seat_usage.used - self.seat_usage.purchased),
            "overdraftSeatsGranted": self.overdraft_people,
            "deniedAttempts": self.denied_attempts,
            "deniedSeats": self.denied_people,
            "events": dict(self.happened),
            "thresholds": list(self.thresholds),
            "usage": [count.numbers() for count in self.counts],
            "seatsRequested": sum(each["seats"] for each in self.requests),
        }


def name_of(record: Item) -> str:
    """A person as an e-mail names them."""
    seat_id, name = record.get("seatId"), record.get("seatName")
    if not seat_id:
        return NOBODY
    return _one_line(f"{name} ({seat_id})" if name else seat_id)


def _one_line(text: str) -> str:
    """Somebody else's text within a line of ours: it stays on one line and keeps its direction."""
    return isolated(" ".join(text.splitlines()))


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
    width = max(len(name) for name, _ in rows) + 5
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
            *(f"  {name + ':':<{width}}{value:>9}" for name, value in rows),
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
    if facts.requests:
        asked = max(each["seats"] for each in facts.requests)
        return f"the customer asks for {_count(asked, 'more seat', 'more seats')}"
    return _use_headline(facts)


def _use_headline(facts: Facts) -> str:
    if facts.denied_people:
        return f"{_count(facts.denied_people, 'person', 'people')} turned away at the hard cap"
    if facts.happened.get(event_types.OVERDRAFT_EXHAUSTED):
        return "the last seat under the hard cap is taken"
    if facts.happened.get(event_types.OVERDRAFT_ENTERED):
        return "more seats in use than purchased"
    if facts.thresholds:
        return f"{max(facts.thresholds)} % of the purchased seats in use"
    if facts.counts:
        return _count_headline(facts.counts)
    return "use is back within what was purchased"


def _count_headline(counts: list[CountFacts]) -> str:
    """The most urgent of what happened to the usage limits."""
    for count in counts:
        if count.denied_requests:
            return f"requests for '{count.key}' denied at the hard cap"
    for count in counts:
        if EXHAUSTED in count.triggered:
            return f"'{count.key}' is used up to the hard cap"
    for count in counts:
        if ENTERED in count.triggered:
            return f"more of '{count.key}' used than purchased"
    percent, key = max((max(count.thresholds), count.key) for count in counts)
    return f"{percent} % of '{key}' used"


def _sentences(facts: Facts) -> list[str]:
    sentences = []
    for each in facts.requests:
        said = f' They write: "{_one_line(each["message"])}"' if each.get("message") else ""
        asked = _count(each["seats"], "more seat", "more seats")
        sentences.append(f"The customer asked for {asked}.{said}")
    if facts.happened.get(event_types.OVERDRAFT_ENTERED):
        sentences.append(
            "Use rose above what was purchased. The seats beyond it were granted, as overdraft."
        )
    if facts.happened.get(event_types.OVERDRAFT_EXHAUSTED):
        sentences.append(
            "The last seat under the hard cap was taken: whoever comes next is denied."
        )
    if facts.denied_people:
        sentences.append(
            f"{_count(facts.denied_people, 'person', 'people')} asked for a seat and got none"
            f" ({_count(facts.denied_attempts, 'attempt', 'attempts')})."
        )
    if facts.thresholds:
        reached = ", ".join(f"{percent} %" for percent in facts.thresholds)
        sentences.append(f"Use reached {reached} of what was purchased.")
    if facts.happened.get(event_types.OVERDRAFT_EXITED):
        sentences.append("Use fell back to what was purchased.")
    for count in facts.counts:
        sentences += _count_sentences(count)
    return sentences


def _count_sentences(count: CountFacts) -> list[str]:
    sentences = []
    if ENTERED in count.triggered:
        sentences.append(
            f"More of '{count.key}' was used than purchased; it was granted, as overdraft."
        )
    if EXHAUSTED in count.triggered:
        sentences.append(
            f"All of '{count.key}' under the hard cap is used: what comes next is denied."
        )
    if count.denied_requests:
        sentences.append(
            f"{_count(count.denied_requests, 'request', 'requests')} for '{count.key}' did not fit"
            f" under the hard cap ({_count(count.denied_attempts, 'attempt', 'attempts')})."
        )
    if count.thresholds:
        reached = ", ".join(f"{percent} %" for percent in count.thresholds)
        sentences.append(f"Use of '{count.key}' reached {reached} of what was purchased.")
    return sentences


def _rows(facts: Facts) -> list[tuple[str, str]]:
    now, rows = facts.seat_usage, list[tuple[str, str]]()
    if facts.document["seatCount"] is not None:
        rows = _limit_rows("", now.used, now.purchased, now.hard_cap)
    for count in facts.counts:
        counter = count.counter
        rows += _limit_rows(f"{count.key}: ", counter.used, counter.purchased, counter.hard_cap)
    return rows


def _limit_rows(
    name: str, used: int, purchased: int, hard_cap: int | None
) -> list[tuple[str, str]]:
    return [
        (f"{name}Purchased", f"{purchased:,}"),
        (f"{name}Used now", f"{used:,}"),
        (f"{name}In overdraft now", f"{max(0, used - purchased):,}"),
        (f"{name}Hard cap", "none" if hard_cap is None else f"{hard_cap:,}"),
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
