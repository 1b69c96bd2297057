"""Whom to call: the score by its parts, the reasons and the advice in words."""

from decimal import Decimal
from typing import Any

import pytest

from functions.report.call_list import advice, call, facts_of, reasons, score
from functions.report.html import changes_in_words, environment

UNTIL = 1_796_083_200_000  # 2026-12-01
LARGEST = {"EUR": Decimal(300)}
REQUEST = {
    "status": "open",
    "requester": "Ines",
    "seats": 15,
    "requestedAt": "2026-11-27T01:04:59Z",
}


def seats(**changes: Any) -> dict[str, Any]:
    return {
        "purchased": 10,
        "peak": 10,
        "deniedSeats": 0,
        "deniedAttempts": 0,
        "overdraftDays": 0,
        "workingDays": 20,
        "workingDaysAtLimit": 0,
        "previous": None,
        "days": {"peak": [10] * 20, "denied": [0] * 20},
        "suggested": {"seats": 10, "additional": 0, "demand": 10, "days": 20},
        **changes,
    }


def entry(of_seats: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "entitlementId": "ent_1",
        "status": "active",
        "customer": {"name": "Globex"},
        "product": "CAD",
        "contacts": {"customerAdmin": None, "accountOwner": None},
        "timeZone": "Europe/Berlin",
        "validUntil": None,
        "seats": of_seats or seats(),
        "usage": [],
        "monthlyValue": None,
        "requests": [],
        "followUp": {"state": "open", "owner": None},
        **changes,
    }


OFFERED = "Offer 3 more seats, EUR 90.00 a month at list price"
OFFER = {"seats": 13, "additional": 3, "demand": 13, "days": 20}
EXPORTS = {
    "key": "exports",
    "purchased": 100,
    "peak": 120,
    "deniedRequests": 4,
    "deniedAttempts": 4,
    "overdraftDays": 2,
    "workingDays": 20,
    "workingDaysAtLimit": 10,
    "days": {"peak": [5] * 20},
    "suggested": {"limit": 120, "isAtLeast": True, "days": 20},
}


@pytest.mark.parametrize(
    ("shown", "points"),
    [
        (entry(), 0),
        (entry(requests=[REQUEST]), 30),
        (entry(requests=[{**REQUEST, "status": "answered"}]), 0),
        (entry(seats(deniedSeats=3)), 12),
        (entry(seats(deniedSeats=300)), 20),
        (entry(usage=[EXPORTS]), 8 + 10),
        (entry(seats(workingDaysAtLimit=20)), 20),
        (entry(seats(suggested=OFFER)), 10),  # no price
        (entry(seats(suggested=OFFER), monthlyValue={"amount": "150", "currency": "EUR"}), 10),
        (entry(seats(suggested=OFFER), monthlyValue={"amount": "300", "currency": "EUR"}), 20),
        (entry(validUntil="2027-01-31T00:00:00Z"), 10),
        (entry(validUntil="2027-12-31T00:00:00Z"), 0),
        (entry(validUntil="2026-11-30T00:00:00Z"), 0),  # over
        (entry(seats(deniedSeats=300), status="deleted"), 0),
        (entry(seats(deniedSeats=300), followUp={"state": "dismissed", "owner": None}), 10),
        (entry(requests=[REQUEST], followUp={"state": "won", "owner": None}), 30),
        # Two days with use: two fifths.
        (
            entry(
                seats(
                    workingDays=2,
                    workingDaysAtLimit=2,
                    days={"peak": [0] * 18 + [9, 9], "denied": [0] * 20},
                )
            ),
            8,
        ),
        (
            entry(
                seats(deniedSeats=9, workingDaysAtLimit=20, suggested=OFFER),
                requests=[REQUEST],
                validUntil="2027-01-31T00:00:00Z",
                monthlyValue={"amount": "300", "currency": "EUR"},
            ),
            100,
        ),
    ],
)
def test_the_score_is_the_sum_of_its_parts(shown: dict[str, Any], points: int) -> None:
    assert score(facts_of(shown, UNTIL), LARGEST) == points


def test_the_reasons_are_sentences() -> None:
    days = {"peak": [12] * 20, "denied": [0] * 17 + [1, 2, 5]}
    before = {"peak": 8}
    shown = entry(
        seats(
            peak=12, deniedSeats=6, deniedAttempts=32, overdraftDays=4, days=days, previous=before
        ),
        requests=[REQUEST],
        usage=[EXPORTS],
        validUntil="2026-12-31T00:00:00Z",
    )
    assert reasons(shown, UNTIL) == [
        "Ines asked for 15 more seats on 2026-11-27.",
        "6 people were turned away on 3 days (32 attempts).",
        "Up to 12 seats in use (10 purchased now): more than was purchased at the time on 4 days.",
        "The peak is up from 8 in the period before.",
        "4 requests of 'exports' refused.",
        "'exports': 120 used of 100.",
        "The term ends on 2026-12-31, in 30 days.",
    ]


def test_open_requests_are_listed_and_added_up() -> None:
    exports = {**REQUEST, "seats": None, "usageKey": "exports", "quantity": 400}
    declined = {**REQUEST, "status": "declined", "seats": 90}
    shown = entry(requests=[declined, REQUEST, {**REQUEST, "seats": 5}, exports])
    found = reasons(shown, UNTIL)
    assert [each for each in found if "declined" in each] == [], "somebody has answered it"
    assert "3 requests are open: 20 more seats and 400 more 'exports' in all." in found
    [only] = [each for each in reasons(entry(requests=[declined]), UNTIL) if "asked" in each]
    assert only.endswith("(declined).")


def test_a_name_from_right_to_left_does_not_turn_the_sentence() -> None:
    name = "\u0645\u062f\u064a\u0631"
    [sentence, *_] = reasons(entry(requests=[{**REQUEST, "requester": name}]), UNTIL)
    assert sentence == f"\u2068{name}\u2069 asked for 15 more seats on 2026-11-27."
    made = environment().from_string("{{ text | sentence }}, {{ name }}")
    assert made.render(text=sentence, name=name) == f"{sentence}, \u2068{name}\u2069"
    assert "&lt;b&gt;" in made.render(text="<b>", name="")


def figure(of: str, name: str, before: str | None, now: str | None) -> dict[str, Any]:
    return {"of": of, "figure": name, "before": before, "now": now}


def test_changes_are_listed_by_customer() -> None:
    about = {"entitlementId": "ent_1", "customer": "Globex", "product": "CAD", "what": "changed"}
    figures = [
        figure("", "status", "active", "deleted"),
        figure("", "openRequests", "13 more seats", None),
        figure("seats", "peak", "10", "12"),
        figure("seats", "overdraftHours", "0.5", "0.9"),
        figure("exports", "purchased", None, "102"),
        figure("exports", "denied", None, "0"),
    ]
    ticking = [figure("seats", "overdraftHours", "0.5", "0.9")]
    changed = {
        "count": 2,
        "entitlements": [{**about, "figures": figures}, {**about, "figures": ticking}],
    }
    [change] = changes_in_words({"changes": changed})
    assert (change["customer"], change["product"]) == ("Globex", "CAD")
    assert change["sentences"] == [
        "Status deleted, was active; requested and not answered none, was 13 more seats.",
        "Seats: peak 12, was 10.",
        "'exports': new in the report.",
    ]


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (
            entry(seats(suggested=OFFER), monthlyValue={"amount": "90.00", "currency": "EUR"}),
            f"{OFFERED}: 13 would have been enough on 95 % of the days.",
        ),
        (entry(requests=[REQUEST]), "Answer the request."),
        (
            entry(seats(suggested={**OFFER, "additional": 0, "seats": 10, "days": 1})),
            "1 day with use so far, too few to suggest a number: ask what they plan.",
        ),
        (
            entry(usage=[EXPORTS]),
            "Offer a higher limit: what was refused could not be done.",
        ),
        (entry(), "What is purchased covers the demand: talk about the term."),
    ],
)
def test_what_to_say(shown: dict[str, Any], said: str) -> None:
    assert advice(shown) == said


def test_whom_to_call() -> None:
    # A contact of an earlier release has no telephone number.
    admin = {"name": "Ines", "email": "ines@globex.example"}
    made = call(entry(contacts={"customerAdmin": admin, "accountOwner": None}), 7, UNTIL)
    assert made["contact"] == {**admin, "phone": None}
    assert (made["accountOwner"], made["score"], made["customer"]) == (None, 7, "Globex")
