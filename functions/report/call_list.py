"""Whom to call, in which order, why, and what to say. Plain functions: no clock, no table."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from functions.report.columns import meters, requests_of
from functions.report.metrics import LEAST_DAYS
from functions.report.table import Entry, amount_text
from shared.clock import from_rfc3339_ms, zone_of
from shared.history.buckets import DAY_MS
from shared.sales import seat_requests
from shared.texts import counted, isolated

# The score, in the words that the report itself has.
ABOUT = (
    "The score orders the calls. It has at most 100 points: 30 for an open request of the customer;"
    " 4 for each person turned away and 2 for each usage request refused, at most 20; up to 20 for"
    " the share of working days on which all that was purchased was in use; up to 20 for the"
    " monthly value, compared with the largest in the same currency, or 10 if there is no price; 10"
    " if the term ends within 90 days. Days and value count by a fifth for each day with use, up to"
    " five. Once sales have won or dismissed it, half counts, unless a request is open."
)
REQUEST, DENIED, DAYS, VALUE, UNPRICED, RENEWAL = 30, 20, 20, 20, 10, 10
PERSON, REFUSED = 4, 2
RENEWAL_MS = 90 * DAY_MS
# How many calls the page, and the e-mail, have.
CALLS, MAILED = 20, 5
# So many requests of a customer are listed one by one.
REQUESTS = 3


class Facts(NamedTuple):
    """What the score of an entry is computed from, once the largest values are known.

    `points` depend on nothing else. `weight` is that of the value, `factor` of everything.
    """

    points: float
    weight: float
    has_offer: bool
    currency: str
    amount: Decimal
    factor: float


def facts_of(entry: Entry, until: int) -> Facts:
    """The facts of an entry; `until` is the time of the report in Unix milliseconds."""
    is_open = _is_open(entry)
    people, refused = _turned_away(entry)
    weight = min(1.0, _days_with_use(entry) / LEAST_DAYS)
    points: float = REQUEST * is_open + min(DENIED, PERSON * people + REFUSED * refused)
    points += weight * DAYS * _share_at_limit(entry)
    points += RENEWAL * (_renews_in(entry, until) is not None)
    is_closed = entry["followUp"]["state"] in ("won", "dismissed") and not is_open
    worth = entry["monthlyValue"] or {"currency": "", "amount": "0"}
    return Facts(
        points,
        weight,
        bool(entry["seats"] and entry["seats"]["suggested"]["additional"]),
        worth["currency"],
        Decimal(worth["amount"]),
        _factor(entry, is_closed=is_closed),
    )


def _factor(entry: Entry, *, is_closed: bool) -> float:
    """How much of the points counts: of what is deleted or hardly used, nothing."""
    if entry["status"] == "deleted" or entry.get("isUnderUse"):
        return 0
    return 0.5 if is_closed else 1


def score(facts: Facts, largest: Mapping[str, Decimal]) -> int:
    """The points of an entry, 0 to 100; see `ABOUT`. What was deleted has none.

    `largest` is the largest monthly value of each currency.
    """
    value = 0.0
    if facts.has_offer:
        most = largest.get(facts.currency)
        value = VALUE * float(facts.amount / most) if most else UNPRICED
    return int(facts.factor * (facts.points + facts.weight * value) + 0.5)


def _is_open(entry: Entry) -> bool:
    return bool(seat_requests.unanswered(requests_of(entry)))


def _turned_away(entry: Entry) -> tuple[int, int]:
    """People who were denied a seat, and usage requests that were refused."""
    people = entry["seats"]["deniedSeats"] if entry["seats"] else 0
    return people, sum(each["deniedRequests"] for each in entry["usage"])


def _days_with_use(entry: Entry) -> int:
    return max(sum(int(peak > 0) for peak in each["days"]["peak"]) for each in meters(entry))


def _share_at_limit(entry: Entry) -> float:
    """The share of working days at the limit, of the meter that has the most."""
    return max(
        float(each["workingDaysAtLimit"] / max(1, each["workingDays"])) for each in meters(entry)
    )


def _renews_in(entry: Entry, until: int) -> int | None:
    """Days to the end of the term, if that is within 90 days."""
    if entry["validUntil"] is None:
        return None
    left = from_rfc3339_ms(entry["validUntil"]) - until
    return int(left // DAY_MS) if 0 <= left <= RENEWAL_MS else None


# --- In words -------------------------------------------------------------------------------------


def call(entry: Entry, points: int, until: int) -> dict[str, Any]:
    """A line of the call list: whom to call, why, and what to say."""
    contacts = entry["contacts"]
    return {
        "entitlementId": entry["entitlementId"],
        "customer": entry["customer"]["name"],
        "product": entry["product"],
        "score": points,
        "reasons": reasons(entry, until),
        "advice": advice(entry),
        "contact": _person(contacts.get("customerAdmin")),
        "accountOwner": _person(contacts.get("accountOwner")),
        "followUp": entry["followUp"]["state"],
        "followUpOwner": entry["followUp"]["owner"],
        "monthlyValue": entry["monthlyValue"],
    }


def _person(contact: Mapping[str, Any] | None) -> dict[str, str | None] | None:
    if not contact:
        return None
    return {name: contact.get(name) for name in ("name", "email", "phone")}


def reasons(entry: Entry, until: int) -> list[str]:
    """Why to call, in sentences, the strongest reason first."""
    found = []
    asked_for = requests_of(entry)
    unanswered = seat_requests.unanswered(asked_for)
    for request in (unanswered or asked_for[:1])[:REQUESTS]:
        who = isolated(request["requester"]) if request["requester"] else "The customer"
        state = "" if seat_requests.is_open(request) else f" ({request['status']})"
        asked, day = seat_requests.wanted(request), _day(request["requestedAt"], entry)
        found.append(f"{who} asked for {asked} on {day}{state}.")
    if len(unanswered) > 1:
        in_all = " and ".join(seat_requests.in_all(unanswered))
        found.append(f"{len(unanswered)} requests are open: {in_all} in all.")
    if seats := entry["seats"]:
        if seats["deniedSeats"]:
            days = sum(number > 0 for number in seats["days"]["denied"])
            found.append(
                f"{counted(seats['deniedSeats'], 'person was', 'people were')} turned away on"
                f" {counted(days, 'day', 'days')}"
                f" ({counted(seats['deniedAttempts'], 'attempt', 'attempts')})."
            )
        if seats["overdraftDays"]:
            found.append(
                f"Up to {counted(seats['peak'], 'seat', 'seats')} in use ({seats['purchased']:,}"
                " purchased now): more than was purchased at the time on"
                f" {counted(seats['overdraftDays'], 'day', 'days')}."
            )
        found += [*_trend(seats), *_clock(seats, entry, until), *_costs(seats, entry)]
    for each in entry["usage"]:
        if each["deniedRequests"]:
            refused = counted(each["deniedRequests"], "request", "requests")
            found.append(f"{refused} of '{each['key']}' refused.")
        if each["overdraftDays"]:
            found.append(f"'{each['key']}': {each['peak']:,} used of {each['purchased']:,}.")
        found += [*_clock(each, entry, until), *_costs(each, entry)]
    if (days := _renews_in(entry, until)) is not None:
        found.append(
            f"The term ends on {_day(entry['validUntil'], entry)},"
            f" in {counted(days, 'day', 'days')}."
        )
    return found


def _clock(meter: Entry, entry: Entry, until: int) -> list[str]:
    """How long the overdraft of a meter may last, if it has a period."""
    clock = meter.get("overdraft")
    if not clock:
        return []
    of = f" of '{meter['key']}'" if "key" in meter else ""
    end = _day(clock["endsAt"], entry)
    if from_rfc3339_ms(clock["endsAt"]) > until:
        return [f"The overdraft{of} may last until {end}: after that, others are turned away."]
    return [f"The overdraft period{of} ended on {end}: others are turned away."]


def _costs(meter: Entry, entry: Entry) -> list[str]:
    """What it costs the customer, and what it will cost to do nothing."""
    cost = meter.get("trueUp")
    if not cost or not Decimal(cost["toEndOfTerm"] or cost["amount"]):
        return []
    of = f" of '{meter['key']}'" if "key" in meter else ""
    so_far = f"The overdraft{of} costs {cost['currency']} {amount_text(cost['amount'])} so far"
    if cost["toEndOfTerm"] is None:
        return [f"{so_far}."]
    end = _day(entry["validUntil"], entry)
    ahead = f"{cost['currency']} {amount_text(cost['toEndOfTerm'])} by the end of the term on {end}"
    return [f"{so_far}; if nothing changes, {ahead}."]


def _trend(seats: Entry) -> list[str]:
    before = seats["previous"]
    if before is None or before["peak"] == seats["peak"]:
        return []
    verb = "up" if seats["peak"] > before["peak"] else "down"
    return [f"The peak is {verb} from {before['peak']:,} in the period before."]


def advice(entry: Entry) -> str:
    """What to say."""
    seats = entry["seats"]
    suggested = seats["suggested"] if seats else None
    offer = ""
    if suggested and suggested["additional"]:
        price = entry["monthlyValue"]
        worth = f", {price['currency']} {price['amount']} a month at list price" if price else ""
        offer = (
            f"{counted(suggested['additional'], 'more seat', 'more seats')}{worth}:"
            f" {suggested['seats']:,} would have been enough on 95 % of the days."
        )
    if _is_open(entry):
        return f"Answer the request. The demand was {offer}" if offer else "Answer the request."
    if offer:
        return f"Offer {offer}"
    if suggested and suggested["days"] < LEAST_DAYS:
        return (
            f"{counted(suggested['days'], 'day', 'days')} with use so far, too few to suggest a"
            " number: ask what they plan."
        )
    if entry["usage"] and any(each["deniedRequests"] for each in entry["usage"]):
        return "Offer a higher limit: what was refused could not be done."
    if entry["usage"] and any(each["overdraftDays"] for each in entry["usage"]):
        return "Offer a higher limit: they use more than they bought."
    return "What is purchased covers the demand: talk about the term."


def _day(time: str, entry: Entry) -> str:
    """A time as a day of the entitlement's time zone."""
    zone = zone_of(entry["timeZone"])
    return f"{datetime.fromtimestamp(from_rfc3339_ms(time) / 1000, zone):%Y-%m-%d}"
