"""The texts of notification e-mails."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.clock import from_rfc3339_ms, in_zone
from shared.dynamodb.requests import Item
from shared.events import types as event_types
from shared.history.overdraft_notices import ENDED, ENDING, RECOVERED
from shared.history.thresholds import ENTERED, EXHAUSTED
from shared.sales import seat_requests
from shared.seats.seat_usage import SeatUsage
from shared.texts import counted, isolated
from shared.usage.counter import Counter
from shared.usage.views import usage_view

if TYPE_CHECKING:
    from jinja2 import Template

# So many meters are named in the subject of a request.
IN_SUBJECT = 2
PORTAL = "See it in the portal"
NOBODY = "somebody who was erased"


class CountFacts(NamedTuple):
    """One usage limit in an e-mail; `triggered` are its triggered thresholds and limits."""

    key: str
    counter: Counter
    triggered: tuple[int | str, ...]
    denied_attempts: int
    denied_requests: int
    # The largest quantity that was denied, and how much was left then.
    denied_quantity: int = 0
    left: int = 0

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
    happened: Mapping[str, int] = MappingProxyType({})
    thresholds: tuple[int, ...] = ()
    overdraft_names: Sequence[str] = ()
    overdraft_people: int = 0
    denied_attempts: int = 0
    denied_people: int = 0
    denied_names: Sequence[tuple[str, int]] = ()
    counts: Sequence[CountFacts] = ()
    requests: Sequence[Item] = ()
    # In how many days the entitlement ends, if notice of it is given.
    days_left: int | None = None
    # The state of the follow-up, if it is due.
    reminder: Item | None = None
    # The smallest of the numbers of seats left at which to notify that was reached.
    seats_left: int | None = None
    # The overdrafts with a period of which notice is given.
    clocks: Sequence[Item] = ()

    @property
    def has_thresholds(self) -> bool:
        """Whether a threshold of the seats was reached."""
        return bool(self.thresholds) or self.seats_left is not None

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
            "daysLeft": self.days_left,
            "seatsLeft": self.seats_left,
            "overdrafts": [
                {"usageKey": each.get("usageKey"), "notice": each["givenWhat"]}
                for each in self.clocks
            ],
            "seatsRequested": sum(each.get("seats") or 0 for each in self.requests),
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


class Links(NamedTuple):
    """The links of an e-mail; empty: it has none."""

    portal: str = ""
    unsubscribe: str = ""


NO_LINKS = Links()


def render(
    facts: Facts, links: Links = NO_LINKS, vendor: str = "", *, can_reply: bool = False
) -> tuple[str, str, str]:
    """Subject, text and HTML; `vendor` is the sender's name.

    `can_reply`: an answer to this e-mail reaches somebody.
    """
    product, customer = _subject_of(facts)
    subject = f"{product}, {customer}: {_headline(facts)}"
    lines = [
        *_due(facts),
        *_ending(facts),
        *_clock_sentences(facts),
        *_sentences(facts),
        *_next_steps(facts, vendor, can_reply=can_reply),
    ]
    rows = _rows(facts)
    width = max(len(name) for name, _ in rows) + 5
    people = _people(facts)
    zone = facts.document["timeZone"]
    since, until = in_zone(facts.since, zone), in_zone(facts.until, zone)
    span = f"At {since}" if since == until else f"From {since} to {until}"
    period = f"{span} ({zone})."
    footer = _footer(facts, customer)
    text = "\n".join(
        [
            f"{product} - {customer}",
            "",
            *lines,
            "",
            *(f"  {name + ':':<{width}}{value:>9}" for name, value in rows),
            *(line for title, names in people for line in ("", f"{title}:", *_bullets(names))),
            *(["", f"{PORTAL}:", links.portal] if links.portal else []),
            "",
            period,
            "",
            footer,
            *([f"Unsubscribe: {links.unsubscribe}"] if links.unsubscribe else []),
            "",
        ]
    )
    html = _template().render(
        vendor=_one_line(vendor),
        product=product,
        customer=customer,
        headline=_headline(facts),
        lines=lines,
        rows=rows,
        people=people,
        links=links,
        portal=PORTAL,
        period=period,
        footer=footer,
    )
    return subject, text, html


def message_of(facts: Facts) -> dict[str, Any]:
    """The same for a chat channel: a headline, sentences, and use against both limits.

    It names nobody who holds a seat or was denied one.
    """
    now = facts.seat_usage
    limits = []
    if facts.document["seatCount"] is not None:
        limits.append(_limit_of("seats", now.used, now.purchased, now.hard_cap, now.customer_cap))
    for count in facts.counts:
        counter = count.counter
        limits.append(
            _limit_of(
                count.key,
                counter.used,
                counter.purchased,
                counter.hard_cap,
                counter.log.customer_cap,
            )
        )
    return {
        "headline": _headline(facts),
        "sentences": [
            *_due(facts),
            *_ending(facts),
            *_clock_sentences(facts),
            *_sentences(facts),
        ],
        "limits": limits,
    }


def _limit_of(
    name: str, used: int, purchased: int, hard_cap: int | None, customer_cap: int | None
) -> dict[str, Any]:
    limits = {"used": used, "purchased": purchased, "hardCap": hard_cap}
    return {"name": name, **limits, "customerCap": customer_cap}


@lru_cache(maxsize=1)
def _template() -> "Template":
    """The template beside this module; every value is escaped."""
    # Most processes send no e-mail: they do not wait for this import.
    from jinja2 import Environment, FileSystemLoader  # noqa: PLC0415

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return made.get_template("mail.html")


_ROLES = {
    "accountOwner": "account owner for {customer}, at most once an hour",
    "customerAdmin": "license administrator of {customer}, at most once an hour",
    "requests": "account owner for {customer}, or recipient of reports, when the customer asks",
}


def _footer(facts: Facts, customer: str) -> str:
    return f"You receive this as {_ROLES[facts.audience].format(customer=customer)}."


def _next_steps(facts: Facts, vendor: str, *, can_reply: bool) -> list[str]:
    """What the reader should know or do next."""
    if facts.requests:
        return ["The customer expects your answer."]
    if facts.audience != "customerAdmin":
        return []
    owner = (facts.document["contacts"].get("accountOwner") or {}).get("name")
    who = _one_line(owner or vendor or "your vendor")
    steps = []
    if facts.days_left is not None:
        renew = f"reply to this e-mail: {who} can help" if can_reply else f"ask {who}"
        return [f"To renew it, {renew}."]
    if facts.overdraft_people or facts.happened.get(event_types.OVERDRAFT_ENTERED):
        steps.append("Overdraft seats work like any other seat.")
    if facts.denied_people and facts.seat_usage.customer_cap is not None:
        steps.append("Your own cap can be changed in the portal, by its admin.")
    if (
        steps
        or any(each["givenWhat"] != RECOVERED for each in facts.clocks)
        or facts.denied_people
        or facts.counts
        or facts.thresholds
        or facts.seats_left is not None
    ):
        ask = f"reply to this e-mail: {who} can help" if can_reply else f"ask {who}"
        steps.append(f"If you need more, {ask}.")
    return [" ".join(steps)] if steps else []


def _headline(facts: Facts) -> str:
    if facts.requests:
        asked = seat_requests.in_all(facts.requests)
        named = " and ".join([*asked[:IN_SUBJECT], *(["more"] if asked[IN_SUBJECT:] else [])])
        count = len(facts.requests)
        return f"{count} requests for {named}" if count > 1 else f"the customer asks for {named}"
    if facts.reminder:
        return "the follow-up is due"
    if facts.days_left is not None:
        return f"ends in {counted(facts.days_left, 'day', 'days')}"
    return _use_headline(facts)


def _use_headline(facts: Facts) -> str:
    ended = [each for each in facts.clocks if each["givenWhat"] == ENDED]
    if ended or (facts.clocks and not facts.denied_people):
        return _clock_headline(facts, (ended or facts.clocks)[0])
    return _seats_headline(facts)


def _seats_headline(facts: Facts) -> str:
    if facts.denied_people:
        people = counted(facts.denied_people, "person", "people")
        usage = facts.seat_usage
        is_one = usage.clock is None and usage.customer_cap is None
        return f"{people} turned away{' at the hard cap' if is_one else ''}"
    if facts.happened.get(event_types.OVERDRAFT_EXHAUSTED):
        return "the last seat under the hard cap is taken"
    if facts.happened.get(event_types.OVERDRAFT_ENTERED):
        return "more seats in use than purchased"
    if facts.has_thresholds:
        return _threshold_headline(facts)
    if facts.counts:
        return _count_headline(facts.counts)
    return "use is back within what was purchased"


def _count_headline(counts: Sequence[CountFacts]) -> str:
    """The most urgent of what happened to the usage limits."""
    for count in counts:
        if count.denied_requests:
            refused = counted(count.denied_requests, "request", "requests")
            counter = count.counter
            is_one = counter.clock is None and counter.log.customer_cap is None
            return f"{refused} for '{count.key}' refused{' at the hard cap' if is_one else ''}"
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
    _, customer = _subject_of(facts)
    now = facts.seat_usage
    used = _using(facts)
    for each in facts.requests:
        said = f' They write: "{_one_line(each["message"])}"' if each.get("message") else ""
        who = _one_line(each["requester"]) if each.get("requester") else customer
        sentences.append(f"{who} asked for {seat_requests.wanted(each)}.{said}")
        if key := each.get("usageKey"):
            sentences.append(
                f"{customer} used {each['used']:,} of {each['purchased']:,} purchased '{key}' then."
            )
    if any(each.get("usageKey") is None for each in facts.requests):
        sentences.append(f"{used}.")
    if facts.happened.get(event_types.OVERDRAFT_ENTERED):
        extra = now.used - now.purchased
        sentences.append(
            f"{used}. The {extra:,} extra {'was' if extra == 1 else 'were'} granted as overdraft."
            if extra > 0
            else f"{customer} used more seats than purchased for a while. The extra seats were"
            " granted as overdraft."
        )
    if facts.happened.get(event_types.OVERDRAFT_EXHAUSTED):
        sentences.append(_exhausted(now))
    if facts.denied_people:
        sentences.append(
            f"{counted(facts.denied_people, 'person', 'people')} asked for a seat and got none"
            f" ({counted(facts.denied_attempts, 'attempt', 'attempts')})."
        )
    if facts.denied_people and now.customer_cap is not None:
        sentences.append(f"{customer} has set a cap of its own, {now.customer_cap:,}.")
    sentences += _threshold_sentences(facts)
    if facts.happened.get(event_types.OVERDRAFT_EXITED):
        sentences.append(f"Usage is back within the {now.purchased:,} purchased seats.")
    for count in facts.counts:
        sentences += _count_sentences(count)
    return sentences


def _due(facts: Facts) -> list[str]:
    """How the follow-up stands, if it is due."""
    state = facts.reminder
    if not state:
        return []
    due = in_zone(state["dueAt"], facts.document["timeZone"])
    owner = f", owner {_one_line(state['owner'])}" if state.get("owner") else ""
    note = state.get("lastNote") or ""
    said = f' Last note: "{_one_line(note)}"' if note else ""
    return [f"The follow-up ({state['state']}{owner}) is due since {due}.{said}"]


def _using(facts: Facts) -> str:
    """How many of the seats are in use."""
    now, (_, customer) = facts.seat_usage, _subject_of(facts)
    return (
        f"{customer} is using {now.used:,} of {counted(now.purchased, 'seat', 'seats')} purchased"
    )


def _ending(facts: Facts) -> list[str]:
    """When the entitlement ends, and how it is used until then, if notice of it is given."""
    if facts.days_left is None:
        return []
    document = facts.document
    end = in_zone(from_rfc3339_ms(document["validUntil"]), document["timeZone"])
    sentences = [f"The license for {_subject_of(facts)[0]} ends at {end}."]
    if document["seatCount"] is not None:
        sentences.append(f"{_using(facts)}.")
    return sentences


def _clock_headline(facts: Facts, item: Item) -> str:
    """The notice of an overdraft's period."""
    of = f" of '{item['usageKey']}'" if item.get("usageKey") else ""
    if item["givenWhat"] == ENDING:
        end = in_zone(item["givenEndsAt"] * 1000, facts.document["timeZone"])
        return f"the overdraft{of} may last until {end}"
    if item["givenWhat"] == ENDED:
        return f"the overdraft period{of} has ended"
    return f"the overdraft{of} is over"


def _clock_sentences(facts: Facts) -> list[str]:
    """What the notices of overdrafts mean."""
    zone = facts.document["timeZone"]
    sentences = []
    for item in facts.clocks:
        since, end = (in_zone(item[name] * 1000, zone) for name in ("givenSince", "givenEndsAt"))
        key, used, purchased = item.get("usageKey"), item["used"], item["purchased"]
        what = f"purchased '{key}'" if key else "purchased seats"
        numbers = f"The overdraft began at {since}; {used:,} are used of {purchased:,} {what}."
        then = (
            "requests that do not fit under what was purchased are refused"
            if key
            else "nobody else gets a seat above what was purchased; whoever holds a seat keeps it"
        )
        if item["givenWhat"] == ENDING:
            sentences.append(f"{numbers} From {end} on, {then}.")
        elif item["givenWhat"] == ENDED:
            sentences.append(f"{numbers} Since {end}, {then}.")
        else:
            sentences.append(
                f"The overdraft that began at {since} is over; {used:,} are used of {purchased:,}"
                f" {what}. Another one begins a new period."
            )
    return sentences


def _exhausted(now: SeatUsage) -> str:
    """That the hard cap was reached, and whether it still is."""
    if now.hard_cap == 1:
        most, are, were = "The only seat", "is", "was"
    else:
        number = "" if now.hard_cap is None else f" {now.hard_cap:,}"
        most, are, were = f"All{number} seats", "are", "were"
    if now.hard_cap is not None and now.used >= now.hard_cap:
        return f"{most} {are} taken: the next person is turned away."
    return f"{most} {were} taken for a while."


def _threshold_headline(facts: Facts) -> str:
    if facts.seats_left is not None:
        return _seats_left(facts.seats_left)
    return f"{max(facts.thresholds)} % of the purchased seats in use"


def _threshold_sentences(facts: Facts) -> list[str]:
    """The thresholds of the seats that were reached."""
    sentences = []
    if facts.seats_left is not None:
        sentences.append(f"{_using(facts)}: {_seats_left(facts.seats_left)}.")
    if facts.thresholds:
        sentences.append(f"Usage passed {_percents(facts.thresholds)} of the purchased seats.")
    return sentences


def _seats_left(number: int) -> str:
    if not number:
        return "no purchased seat is left"
    return f"{counted(number, 'purchased seat is', 'purchased seats are')} left"


def _left(number: int) -> str:
    if not number:
        return "nothing was left"
    return f"{number:,} {'was' if number == 1 else 'were'} left"


def _percents(thresholds: Sequence[int]) -> str:
    """Percentages as a reader says them: `80 % and 100 %`."""
    *first, last = (f"{percent} %" for percent in thresholds)
    return f"{', '.join(first)} and {last}" if first else last


def _count_sentences(count: CountFacts) -> list[str]:
    sentences = []
    key, counter = count.key, count.counter
    if ENTERED in count.triggered:
        sentences.append(
            f"{counter.used:,} of {counter.purchased:,} purchased '{key}' are used. What exceeds"
            " them was granted as overdraft."
        )
    if EXHAUSTED in count.triggered:
        most = "" if counter.hard_cap is None else f" {counter.hard_cap:,}"
        sentences.append(f"All{most} '{key}' are used: further requests are refused.")
    if count.denied_requests == 1 and count.denied_quantity:
        sentences.append(
            f"A request for {count.denied_quantity:,} '{key}' was refused: {_left(count.left)}"
            f" ({counted(count.denied_attempts, 'attempt', 'attempts')})."
        )
    elif count.denied_requests:
        largest = f", the largest for {count.denied_quantity:,}" if count.denied_quantity else ""
        sentences.append(
            f"{count.denied_requests:,} requests for '{key}' were refused{largest}"
            f" ({counted(count.denied_attempts, 'attempt', 'attempts')})."
        )
    if count.thresholds:
        sentences.append(f"Usage passed {_percents(count.thresholds)} of the purchased '{key}'.")
    return sentences


def _rows(facts: Facts) -> list[tuple[str, str]]:
    now, rows = facts.seat_usage, list[tuple[str, str]]()
    if facts.document["seatCount"] is not None:
        rows = _limit_rows("", now.used, now.purchased, now.hard_cap, now.customer_cap)
    for count in facts.counts:
        counter = count.counter
        limits = (counter.purchased, counter.hard_cap, counter.log.customer_cap)
        rows += _limit_rows(f"{count.key}: ", counter.used, *limits)
    return rows


def _limit_rows(
    name: str, used: int, purchased: int, hard_cap: int | None, customer_cap: int | None
) -> list[tuple[str, str]]:
    own = [] if customer_cap is None else [(f"{name}Customer's own cap", f"{customer_cap:,}")]
    return [
        (f"{name}Purchased", f"{purchased:,}"),
        (f"{name}Used now", f"{used:,}"),
        (f"{name}In overdraft now", f"{max(0, used - purchased):,}"),
        (f"{name}Hard cap", "none" if hard_cap is None else f"{hard_cap:,}"),
        *own,
    ]


def _people(facts: Facts) -> list[tuple[str, list[str]]]:
    people = []
    if facts.denied_names:
        names = [
            f"{name}, {counted(attempts, 'attempt', 'attempts')}"
            for name, attempts in facts.denied_names
        ]
        people.append(("Turned away", _and_more(names, facts.denied_people)))
    if facts.overdraft_names:
        names = _and_more(facts.overdraft_names, facts.overdraft_people)
        people.append(("Granted in overdraft", names))
    return people


def _and_more(names: Sequence[str], count: int) -> list[str]:
    more = count - len(names)
    return [*names, f"and {more} more"] if more > 0 else [*names]


def _bullets(names: list[str]) -> list[str]:
    return [f"  - {name}" for name in names]
