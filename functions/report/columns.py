"""The columns of a report: their names, titles and definitions, for all formats.

A row is one meter of one entitlement: its seats, or one usage limit.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from functions.report.entitlement_columns import OF_VENDOR, TERM_ENDS, contact, of_entitlement
from functions.report.metrics import LEAST_DAYS
from functions.report.table import Column, Entry, Table
from shared.clock import hours_of
from shared.sales import seat_requests
from shared.texts import counted


def _hours(name: str) -> Callable[[Entry, Entry], Any]:
    return lambda _, meter: hours_of(meter[name] * 1000) if name in meter else None


def _of(name: str) -> Callable[[Entry, Entry], Any]:
    return lambda _, meter: meter.get(name)


def _clock(name: str) -> Callable[[Entry, Entry], Any]:
    return lambda _, meter: (meter.get("overdraft") or {}).get(name)


def _under_use(name: str) -> Callable[[Entry, Entry], Any]:
    """A figure of a row of under-use. Rows of earlier releases have none."""
    return lambda _, meter: (meter.get("underUse") or {}).get(name)


def _cost(name: str) -> Callable[[Entry, Entry], Any]:
    """An amount of the true-up. Rows of earlier releases have none."""

    def value(_: Entry, meter: Entry) -> Any:
        amount = (meter.get("trueUp") or {}).get(name)
        return None if amount is None else Decimal(amount)

    return value


def _previous(name: str, *, hours: bool = False) -> Callable[[Entry, Entry], Any]:
    def value(_: Entry, meter: Entry) -> Any:
        before = meter["previous"]
        if before is None:
            return None
        return hours_of(before[name] * 1000) if hours else before[name]

    return value


def _suggested(_: Entry, meter: Entry) -> Any:
    # Rows of an earlier release say of no usage limit on how many days it was used.
    if meter["suggested"].get("days", LEAST_DAYS) < LEAST_DAYS:
        return None
    return meter["suggested"].get("seats", meter["suggested"].get("limit"))


def _additional(entry: Entry, meter: Entry) -> Any:
    suggested = _suggested(entry, meter)
    return None if suggested is None else suggested - meter["purchased"]


def _value(entry: Entry, meter: Entry) -> Any:
    worth = entry["monthlyValue"]
    return None if worth is None or "key" in meter else Decimal(worth["amount"])


def _price(part: str) -> Callable[[Entry, Entry], Any]:
    """A part of the list price of a seat. Rows of earlier releases have none."""

    def value(entry: Entry, meter: Entry) -> Any:
        price = entry.get("unitPrice") or entry["monthlyValue"]
        if not price or "key" in meter:
            return None
        return price.get(part)

    return value


def _unit_price(entry: Entry, meter: Entry) -> Any:
    price = entry.get("unitPrice")
    return None if not price or "key" in meter else Decimal(price["amount"])


def _denied(_: Entry, meter: Entry) -> Any:
    return meter.get("deniedSeats", meter.get("deniedRequests"))


def _limits(_: Entry, meter: Entry) -> str:
    return "; ".join(
        f"{each['from']} {each['purchased']}/{_cap(each['hardCap'])}" for each in meter["limits"]
    )


def _cap(cap: int | None) -> str:
    return "unlimited" if cap is None else str(cap)


def sign_text(sign: Entry) -> str:
    """A pattern to check and the facts behind it, in a sentence."""
    if sign["sign"] == "many-devices":
        most = ", ".join(f"{each['seatKey']}: {each['devices']}" for each in sign["most"])
        return f"{counted(sign['seats'], 'person', 'people')} used five devices or more ({most})"
    worst = sign["worst"]
    return (
        "software that retries without waiting in"
        f" {counted(sign['quarterHours'], 'quarter-hour', 'quarter-hours')}; the worst"
        f" {worst['from']}: {counted(worst['deniedAttempts'], 'attempt', 'attempts')} of"
        f" {counted(worst['deniedSeats'], 'person', 'people')}"
    )


def requests_of(entry: Entry) -> list[Entry]:
    """The customer's requests for more, newest first. Rows of earlier releases have one at most."""
    found: list[Entry] = entry["requests"] if "requests" in entry else [entry["request"]]
    return [each for each in found if each]


def _of_meter(entry: Entry, meter: Entry) -> list[Entry]:
    """The requests that a row is about: the open ones, or the newest if none is open."""
    found = [each for each in requests_of(entry) if each.get("usageKey") == meter.get("key")]
    return seat_requests.unanswered(found) or found[:1]


def _request(name: str) -> Callable[[Entry, Entry], Any]:
    """A member of the newest of these requests."""

    def member(entry: Entry, meter: Entry) -> Any:
        return next((each[name] for each in _of_meter(entry, meter)), None)

    return member


def _requests(name: str) -> Callable[[Entry, Entry], Any]:
    """A text of all of these requests, the newest first."""

    def texts(entry: Entry, meter: Entry) -> Any:
        found = [each[name] for each in _of_meter(entry, meter) if each[name]]
        return "; ".join(dict.fromkeys(found)) or None

    return texts


def _requested(entry: Entry, meter: Entry) -> int | None:
    """How much more is requested in all."""
    found = _of_meter(entry, meter)
    return sum(each.get("seats") or each.get("quantity") or 0 for each in found) if found else None


def _signs(entry: Entry, meter: Entry) -> str:
    return "" if "key" in meter else "; ".join(sign_text(each) for each in entry["signs"])


def _follow_up(name: str) -> Callable[[Entry, Entry], Any]:
    return lambda entry, _: entry["followUp"][name]


COLUMNS = (
    Column(
        "score",
        "Score",
        "count",
        "How urgent a call is, 0 to 100; the page says what it is made of.",
        lambda entry, _: entry.get("score"),
    ),
    *of_entitlement("report"),
    Column(
        "customerPhone",
        "Customer's phone",
        "text",
        "The telephone number of the customer's admin.",
        contact("customerAdmin", "phone"),
    ),
    TERM_ENDS,
    Column(
        "daysToEnd",
        "Days to end",
        "count",
        "Whole days from when the report was made to the end of the term.",
        lambda entry, _: entry.get("daysToEnd"),
    ),
    Column(
        "meter",
        "Of",
        "text",
        "What the row counts: seats, or the usage limit of this key.",
        lambda _, meter: meter.get("key", "seats"),
    ),
    Column(
        "purchased",
        "Purchased",
        "count",
        "The soft limit at the end of the period.",
        _of("purchased"),
    ),
    Column(
        "hardCap",
        "Hard cap",
        "count",
        "The hard cap at the end of the period; empty: unlimited.",
        _of("hardCap"),
    ),
    Column(
        "limits",
        "Limits",
        "text",
        "Purchased/hard cap at the period's beginning and after"
        " each change in it, with the time in UTC.",
        _limits,
    ),
    Column("peak", "Peak", "count", "The most that was in use at once.", _of("peak")),
    Column(
        "peakAt",
        "Peak at",
        "time",
        "When use first came to the peak; the period's beginning, if it was so before.",
        _of("peakAt"),
    ),
    Column(
        "overdraftHours",
        "Hours in overdraft",
        "hours",
        "How long more than purchased was in use.",
        _hours("overdraftSeconds"),
    ),
    Column(
        "overdraftDays",
        "Days in overdraft",
        "count",
        "Days, in the entitlement's time zone,"
        " on which more than purchased was in use at any time.",
        _of("overdraftDays"),
    ),
    Column(
        "overdraftSince",
        "Overdraft since",
        "time",
        "Of an overdraft with a period: when it began, as it was when the report was made.",
        _clock("since"),
    ),
    Column(
        "overdraftEndsAt",
        "Overdraft ends",
        "time",
        "When that period ends, or has ended: from then on, what was purchased is the cap.",
        _clock("endsAt"),
    ),
    Column(
        "trueUp",
        "True-up",
        "money",
        "What overdraft costs in the months of the period, as far as they are over, by its"
        " `overdraftPrice`; empty: it has none.",
        _cost("amount"),
    ),
    Column(
        "trueUpToEnd",
        "True-up to term end",
        "money",
        "The same from the beginning of the period to the end of the term, if use goes on as at the"
        " end of the period; empty: no price, or no end.",
        _cost("toEndOfTerm"),
    ),
    Column(
        "trueUpCurrency",
        "Of the true-up",
        "text",
        "The currency of the true-up.",
        lambda _, meter: (meter.get("trueUp") or {}).get("currency"),
    ),
    Column(
        "seatHours",
        "Seat-hours over",
        "hours",
        "Seats above what was purchased, times the hours that they were.",
        _of("seatHours"),
    ),
    Column(
        "episodes",
        "Episodes",
        "count",
        "Overdraft episodes that touch the period.",
        _of("episodes"),
    ),
    Column(
        "overdraftAtStart",
        "Over at start",
        "count",
        "Seats above what was purchased when the period began.",
        _of("overdraftAtStart"),
    ),
    Column(
        "overdraftSeats",
        "People over",
        "count",
        "Different people who took a seat in"
        " overdraft in the period; of a quarter-hour, at most 1,000 are told apart.",
        _of("overdraftSeats"),
    ),
    Column(
        "denied",
        "People denied",
        "count",
        "Different people who were turned away at the hard"
        " cap; of a usage limit, different requests.",
        _denied,
    ),
    Column(
        "deniedAttempts",
        "Attempts denied",
        "count",
        "How often they were turned away, every repetition counted.",
        _of("deniedAttempts"),
    ),
    Column(
        "workingDays",
        "Working days",
        "count",
        "Days from Monday to Friday, in the entitlement's time zone, on which anything was in use.",
        _of("workingDays"),
    ),
    Column(
        "workingDaysAtLimit",
        "Working days at limit",
        "count",
        "Of these, on how many all that was purchased was in use at some time.",
        _of("workingDaysAtLimit"),
    ),
    Column(
        "activatedSeats",
        "People",
        "count",
        "Different people who took a seat in the period;"
        " of a quarter-hour, at most 1,000 are told apart.",
        _of("activatedSeats"),
    ),
    Column(
        "consumed",
        "Consumed",
        "count",
        "What was consumed of a usage limit in the period.",
        _of("consumed"),
    ),
    Column(
        "demand",
        "Demand",
        "count",
        "The most in use together with the people denied under the"
        " same limits, within one quarter-hour; that of the day which only one working day with"
        " use in twenty exceeds (95th percentile, nearest rank).",
        lambda _, meter: meter["suggested"].get("demand"),
    ),
    Column(
        "suggested",
        "Suggested",
        "count",
        "The demand, or what is purchased if that is more;"
        " of a usage limit, its peak: at least, if requests were denied. Empty for fewer than"
        " five days with use.",
        _suggested,
    ),
    Column(
        "average",
        "Average use",
        "hours",
        "Seats in use on average over the period, nights and weekends included, rounded to a"
        " tenth.",
        _of("average"),
    ),
    Column(
        "utilisation",
        "Utilisation",
        "count",
        "The average in percent of what is purchased.",
        _of("utilisation"),
    ),
    Column("additional", "Additional", "count", "Suggested less purchased.", _additional),
    Column(
        "monthlyValue",
        "Monthly value",
        "money",
        "Additional seats at the list price of when"
        " the report was made, a month; a yearly price by twelve, rounded to cents. None without"
        " a price, or once it was deleted.",
        _value,
    ),
    Column(
        "unitPrice",
        "Unit price",
        "money",
        "The list price of one seat when the report was made.",
        _unit_price,
    ),
    Column("pricePer", "Price per", "text", "`month` or `year`.", _price("per")),
    Column("currency", "Currency", "text", "Of the prices.", _price("currency")),
    Column(
        "previousPeak",
        "Peak before",
        "count",
        "The peak of the period before; empty where that reaches behind the evidence of 400 days.",
        _previous("peak"),
    ),
    Column(
        "previousOverdraftHours",
        "Hours over before",
        "hours",
        "Hours in overdraft in the period before.",
        _previous("overdraftSeconds", hours=True),
    ),
    Column(
        "previousDenied",
        "People denied before",
        "count",
        "People denied in the period before.",
        _previous("denied"),
    ),
    Column(
        "requestedSeats",
        "More requested",
        "count",
        "How many more seats, or how much more of the usage limit, the customer asks for: the sum"
        " of the open requests, or the last request since the period began.",
        _requested,
    ),
    Column("requestedAt", "Requested at", "time", "When, the last time.", _request("requestedAt")),
    Column("requester", "Requested by", "text", "Who asked, as they said.", _requests("requester")),
    Column(
        "requestStatus",
        "Request",
        "text",
        "What became of it: open, answered, declined.",
        _request("status"),
    ),
    Column("requestMessage", "Message", "text", "What they wrote.", _requests("message")),
    Column(
        "followUp",
        "Follow-up",
        "text",
        "Where sales stand: open, contacted, quoted, won, dismissed.",
        _follow_up("state"),
    ),
    Column("followUpOwner", "Followed up by", "text", "Who is responsible.", _follow_up("owner")),
    Column("followUpNote", "Note", "text", "The last note.", _follow_up("note")),
    Column(
        "section",
        "Section",
        "text",
        "`overdraft`: near a limit, over it, or denied; `under-use`: in three months never more"
        " than the share that was asked for.",
        lambda _, meter: "under-use" if meter.get("underUse") else "overdraft",
    ),
    Column(
        "highestInThreeMonths",
        "Peak of three months",
        "count",
        "Of a row of under-use: the most that was in use in three months.",
        _under_use("highest"),
    ),
    Column(
        "unused",
        "Unused",
        "count",
        "Of a row of under-use: purchased less that peak.",
        _under_use("unused"),
    ),
    Column(
        "signs",
        "Patterns to check",
        "text",
        "For you, not for the customer: one person on many devices, or software that retries"
        " without waiting, with the facts.",
        _signs,
    ),
    Column(
        "borrowedSeats",
        "Borrowed seats",
        "count",
        "Seats that were borrowed when the report was made; empty: none can be.",
        lambda _, meter: meter.get("borrowed"),
    ),
    *OF_VENDOR,
)


def meters(entry: Entry) -> Iterator[Entry]:
    """The meters of an entry, one for each row."""
    if entry["seats"]:
        yield entry["seats"]
    yield from entry["usage"]


def _summary(meta: Mapping[str, Any]) -> list[tuple[str, str | float]]:
    """What the workbook says of all rows together."""
    summary = meta["summary"]
    return [
        ("Entitlements in this report", summary["entitlements"]),
        ("In overdraft", summary["inOverdraft"]),
        ("That turned somebody away", summary["denied"]),
        ("Seat-hours over", summary["seatHours"]),
        ("People denied", summary["deniedSeats"]),
        ("Requests of usage limits denied", summary["deniedRequests"]),
        ("Attempts denied", summary["deniedAttempts"]),
        ("Entitlements with under-use", summary["underUsed"]),
        *(
            (f"Monthly value, {each['currency']}", float(each["amount"]))
            for each in summary["monthlyValue"]
        ),
    ]


# Figures of changes that are no columns.
FIGURES = {"openRequests": "Requested and not answered", "status": "Status"}
TABLE = Table("Entitlements", COLUMNS, meters, _summary, FIGURES)
