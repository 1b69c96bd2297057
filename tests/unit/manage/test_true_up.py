"""What overdraft costs through the API: worked examples, decisions, dry runs, who sees it."""

import json
import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.api.schemas.events import EVENTS
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import true_up_line_key
from shared.events import builders
from shared.events.enrichment import enrich
from tests.support.priced import E, Priced, clock_of
from tests.support.tables import read_item
from tools import ROOT

BERLIN = ZoneInfo("Europe/Berlin")
GUIDE = (ROOT / "docs/guides/true-up.md").read_text()
TRUE_UP = f"GET {E}/true-up"
DECIDE = f"PUT {E}/true-up/lines/{{lineId}}/decision"
DECISIONS = f"GET {E}/true-up/decisions"
PRICE = {"amount": "12.50", "currency": "EUR", "basis": "peak_seats"}
SEATS = {"seatCount": 3, "overdraftSeatLimit": {"type": "absolute", "value": 5}}


def at(month: int, day: int, hour: int = 12, minute: int = 0) -> int:
    """A time of 2026 in Berlin, Unix milliseconds."""
    return int(datetime(2026, month, day, hour, minute, tzinfo=BERLIN).timestamp()) * 1000


MONTHS = [at(month, 1, 0) for month in range(8, 13)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    return clock_of(monkeypatch, at(9, 1))


def sell(dynamodb: DynamoDBClient, clock: dict[str, int], begins: int, **terms: Any) -> Priced:
    return Priced(dynamodb, clock, begins, MONTHS, **{**SEATS, **terms})


def busy(customer: Priced) -> None:
    """Up to six of three seats in October: four on the 5th, six on the 14th, three on the 20th."""
    for number, when in enumerate((1, 2, 3)):
        customer.take(at(10, when), f"u{number}")
    customer.take(at(10, 5, 9, 30), "u3")
    customer.take(at(10, 14, 10), "u4")
    customer.take(at(10, 14, 11, 15), "u5")
    for name in ("u3", "u4", "u5"):
        customer.release(at(10, 20, 18), name)


def shown_in_guide(number: int) -> Any:
    """A block of JSON of the guide."""
    return json.loads(re.findall(r"^```json\n(.*?)^```$", GUIDE, re.M | re.S)[number])


def amounts(answer: dict[str, Any]) -> dict[str, str]:
    return {line["lineId"]: line["amount"] for line in answer["lines"]}


# --- Worked examples ------------------------------------------------------------------------------


def test_the_answer_in_the_guide(dynamodb: DynamoDBClient, clock: dict[str, int]) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice={**PRICE, "freeSeats": 1})
    busy(customer)
    answer = customer.true_up(at(11, 2), "2026-10")
    assert answer == {**shown_in_guide(0), "entitlementId": customer.id}


EXAMPLES: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    # 3 seats above, 12.50 each, the whole of October.
    ("peak_seats", {"overdraftPrice": PRICE}, {"2026-10": "37.50"}),
    # 1 seat from the 5th to the 13th, 3 from the 14th to the 20th: 9 + 21 = 30 seat-days.
    (
        "seat_days",
        {"overdraftPrice": {**PRICE, "basis": "seat_days", "amount": "0.45"}},
        {"2026-10": "13.50"},
    ),
    # Of the 3 seats 1 is free.
    ("free", {"overdraftPrice": {**PRICE, "freeSeats": 1}}, {"2026-10": "25.00"}),
    # 37.50 is less than the minimum. September has no overdraft, and costs nothing.
    (
        "minimum",
        {"overdraftPrice": {**PRICE, "minimum": "50"}},
        {"2026-09": "0.00", "2026-10": "50.00"},
    ),
    # One from the 5th of October, two more from the 14th: 12.50 x (27/31 + 2) + 25 x (18/31 + 2).
    (
        "to_end_of_term",
        {"overdraftPrice": {**PRICE, "charge": "to_end_of_term"}, "until": at(12, 31, 24 - 1, 59)},
        {"2026-10": "100.40", "2026-11": "0.00"},
    ),
    # Valid from the 10th: 22 of 31 days of 3 seats. 3 x 12.50 x 22/31 = 26.612...
    ("begins inside", {"overdraftPrice": PRICE, "begins": at(10, 10, 8)}, {"2026-10": "26.61"}),
    # Yen have no minor unit: 3 x 1,333 x 22/31 = 2,838.0...
    (
        "yen",
        {
            "overdraftPrice": {**PRICE, "amount": "1333", "currency": "JPY"},
            "begins": at(10, 10, 8),
        },
        {"2026-10": "2838"},
    ),
]


@pytest.mark.parametrize(("name", "terms", "wanted"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
def test_worked_examples(
    dynamodb: DynamoDBClient,
    clock: dict[str, int],
    name: str,
    terms: dict[str, Any],
    wanted: dict[str, str],
) -> None:
    terms = dict(terms)
    begins = terms.pop("begins", at(9, 15, 0))
    customer = sell(dynamodb, clock, begins, **terms)
    if begins < at(10, 1):
        busy(customer)
    else:
        for number in range(6):
            customer.take(at(10, 14, 10, number), f"u{number}")
        for name_ in ("u3", "u4", "u5"):
            customer.release(at(10, 20, 18), name_)
    for month, amount in wanted.items():
        [line] = customer.true_up(at(12, 2), month)["lines"]
        assert line["amount"] == amount
        if month == "2026-10":
            assert amount in GUIDE.replace(",", ""), f"the guide does not show {name}"


LIMIT = {
    "key": "exports",
    "limit": 100,
    "overdraftLimit": {"type": "unlimited"},
    "resetSchedule": "monthly",
    "overdraftPrice": {"amount": "0.15", "currency": "EUR", "freeUnits": 10},
}


def test_units(dynamodb: DynamoDBClient, clock: dict[str, int]) -> None:
    never = {**LIMIT, "key": "stored", "resetSchedule": "never"}
    customer = sell(dynamodb, clock, at(9, 1, 0), usageLimits=[LIMIT, never])
    for key in ("exports", "stored"):
        customer.consume(at(9, 10), key, 120)
        customer.consume(at(10, 20), key, 150)
    # 150 - 100 - 10 free, of a limit that begins anew; 270 - 100 - 10, of which 10 in September.
    assert amounts(customer.true_up(at(11, 2), "2026-10")) == {
        "2026-10.EUR.usage.exports": "6.00",
        "2026-10.EUR.usage.stored": "22.50",
    }
    assert amounts(customer.true_up(at(11, 2), "2026-09")) == {
        "2026-09.EUR.usage.exports": "1.50",
        "2026-09.EUR.usage.stored": "1.50",
    }
    assert "6.00" in GUIDE
    assert "22.50" in GUIDE


def test_one_more_seat_never_makes_a_term_cheaper(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    """Two above for a whole month, a third on its last day, which alone is charged from then."""
    price = {**PRICE, "charge": "to_end_of_term"}
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=price, until=at(11, 1, 0))
    for number in range(5):
        customer.take(at(10, 1, 0, number), f"u{number}")
    assert amounts(customer.true_up(at(10, 30), "2026-10")) == {"2026-10.EUR.seats": "25.00"}
    customer.take(at(10, 31, 9), "u5")
    # 12.50 x 1/31 = 0.403...
    assert amounts(customer.true_up(at(11, 2), "2026-10")) == {"2026-10.EUR.seats": "25.40"}


def test_what_was_charged_to_the_end_stays_when_it_is_deleted(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    price = {**PRICE, "charge": "to_end_of_term"}
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=price, until=at(12, 31, 23, 59))
    busy(customer)
    before = amounts(customer.true_up(at(11, 2), "2026-10"))
    assert customer.call(at(11, 3), f"DELETE {E}")[0] == 204
    assert amounts(customer.true_up(at(11, 4), "2026-10")) == before
    assert amounts(customer.true_up(at(12, 4), "2026-11")) == {"2026-11.EUR.seats": "0.00"}


def test_a_limit_that_is_removed_is_charged_as_it_stands(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    customer = sell(dynamodb, clock, at(9, 1, 0), usageLimits=[LIMIT])
    customer.consume(at(10, 12), "exports", 150)
    customer.call(at(10, 20), f"PATCH {E}", {"usageLimits": []})
    assert amounts(customer.true_up(at(11, 2), "2026-10")) == {"2026-10.EUR.usage.exports": "6.00"}


def test_a_day_old_limit_is_not_projected(dynamodb: DynamoDBClient, clock: dict[str, int]) -> None:
    customer = sell(dynamodb, clock, at(10, 20, 12), usageLimits=[LIMIT])
    customer.consume(at(10, 20, 12, 5), "exports", 150)
    [line] = customer.true_up(at(10, 20, 13), "2026-10")["lines"]
    assert (line["amount"], line["expectedAmount"]) == ("6.00", "6.00")


def test_so_far_and_expected(dynamodb: DynamoDBClient, clock: dict[str, int]) -> None:
    """One seat above since the 11th, and 60 of 100 exports by the middle of the month."""
    price = {**PRICE, "basis": "seat_days", "amount": "2.00"}
    customer = sell(dynamodb, clock, at(9, 1, 0), overdraftPrice=price, usageLimits=[LIMIT])
    for number in range(4):
        customer.take(at(10, 11, 8, number), f"u{number}")
    customer.consume(at(10, 12), "exports", 60)
    answer = customer.true_up(at(10, 16, 12), "2026-10")
    assert not answer["isFinal"]
    assert answer["asOf"] == "2026-10-16T10:00:00Z"
    lines = {line["lineId"]: line for line in answer["lines"]}
    seats = lines["2026-10.EUR.seats"]
    # Six days so far, the 11th to the 16th; fifteen more until the 31st.
    assert (seats["amount"], seats["expectedAmount"]) == ("12.00", "42.00")
    exports = lines["2026-10.EUR.usage.exports"]
    # Half of the month is over (372 of 745 hours): 120 in all, 10 of the 20 above are charged.
    assert (exports["amount"], exports["expectedAmount"]) == ("0.00", "1.50")
    assert answer["totals"] == [{"currency": "EUR", "amount": "12.00", "expectedAmount": "43.50"}]


def test_a_quarter_is_the_sum_of_its_months(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE)
    busy(customer)
    answer = customer.true_up(at(12, 5), "2026-Q4")
    assert [line["month"] for line in answer["lines"]] == ["2026-10", "2026-11", "2026-12"]
    assert answer["totals"][0]["amount"] == "37.50"
    assert not answer["isFinal"]


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "pointer", "detail"),
    [
        ({"overdraftPrice": {**PRICE, "amount": "1.005"}}, "/overdraftPrice/amount", "2 decimals"),
        (
            {"overdraftPrice": {**PRICE, "currency": "JPY"}},
            "/overdraftPrice/amount",
            "JPY has no decimals",
        ),
        (
            {"overdraftPrice": {**PRICE, "currency": "EUX"}},
            "/overdraftPrice/currency",
            "ISO 4217",
        ),
        ({"overdraftPrice": {**PRICE, "currency": "XAU"}}, "/overdraftPrice/currency", "ISO 4217"),
        (
            {"overdraftPrice": {"amount": "1", "basis": "peak_seats"}},
            "/overdraftPrice/currency",
            "is required",
        ),
        (
            {"overdraftPrice": {**PRICE, "minimum": "5.001"}},
            "/overdraftPrice/minimum",
            "2 decimals",
        ),
        (
            {"overdraftPrice": {**PRICE, "charge": "to_end_of_term"}},
            "/overdraftPrice/charge",
            "validUntil",
        ),
        ({"overdraftPrice": {**PRICE, "basis": "units"}}, "/overdraftPrice/basis", "peak_seats"),
        (
            {"seatCount": None, "usageLimits": [LIMIT], "overdraftPrice": PRICE},
            "/overdraftPrice",
            "has none",
        ),
        (
            {"usageLimits": [{**LIMIT, "overdraftPrice": {**PRICE, "basis": "seat_days"}}]},
            "/usageLimits/0/overdraftPrice/basis",
            "units",
        ),
        (
            {"unitPrice": {"amount": "3.999", "currency": "EUR", "per": "month"}},
            "/unitPrice/amount",
            "2 decimals",
        ),
    ],
)
def test_prices_that_cannot_be_charged_are_refused(
    dynamodb: DynamoDBClient,
    clock: dict[str, int],
    terms: dict[str, Any],
    pointer: str,
    detail: str,
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0))
    body = {"product": "P", "customer": {"name": "C"}, "seatCount": 2, **terms}
    status, answer = customer.call(at(9, 16), "POST /v1/entitlements", body)
    assert status == 400
    assert [error["pointer"] for error in answer["errors"]] == [pointer]
    assert detail in answer["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("period", "detail"),
    [
        ("2026-11", "in the future"),
        ("2025-01", "too far back"),
        ("2026-13", "must be a month"),
        ("2026", "must be a month"),
        ("2026-Q5", "must be a month"),
    ],
)
def test_periods_that_cannot_be_read(
    dynamodb: DynamoDBClient, clock: dict[str, int], period: str, detail: str
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE)
    status, answer = customer.call(at(10, 16), TRUE_UP, query={"period": period})
    assert status == 400
    assert detail in answer["errors"][0]["detail"]


# --- Decisions ------------------------------------------------------------------------------------


def decide(
    customer: Priced, when: int, body: dict[str, Any], line: str = "2026-10.EUR.seats", **more: Any
) -> tuple[int, Any]:
    return customer.call(when, DECIDE, body, path={"lineId": line}, **more)


def test_a_decision_is_on_record_with_its_evidence(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE)
    busy(customer)
    billed = {"decision": "billed", "reference": "INV-2026-117"}
    status, made = decide(customer, at(11, 3), billed)
    assert status == 200, made
    assert made["decision"]["amount"] == made["line"]["amount"] == "37.50"
    assert made["decision"]["decidedBy"] == "bootstrap"
    assert decide(customer, at(11, 4), billed) == (200, made), "the same again changes nothing"
    waived = {"decision": "waived", "reason": "a good customer"}
    status, again = decide(customer, at(11, 5), waived)
    assert [each["decision"] for each in again["earlier"]] == ["billed"]
    [line] = customer.true_up(at(11, 6), "2026-10")["lines"]
    assert line["decision"]["reason"] == "a good customer"
    _, listed = customer.call(at(11, 6), DECISIONS)
    assert listed["items"] == [again]
    changes = customer.call(at(11, 6), f"GET {E}/changes", query={"type": "true_up.decided"})[1]
    assert [each["subjectId"] for each in changes["items"]] == ["2026-10.EUR.seats"] * 2
    item = read_item(dynamodb, true_up_line_key(customer.id, "2026-10.EUR.seats"))
    event = enrich(builders.of_decision(item), {})
    EVENTS["entitlement.trueup.decided"].model_validate(event)


def test_a_decision_can_be_taken_back_and_is_safe_against_others(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE)
    busy(customer)
    first = {"if-match": '"0"'}
    status, answer = decide(customer, at(11, 3), {"decision": None})
    assert (status, answer["errors"][0]["pointer"]) == (400, "/decision")
    assert decide(customer, at(11, 3), {"decision": "disputed"}, headers=first)[0] == 200
    status, answer = decide(customer, at(11, 3), {"decision": "billed"}, headers=first)
    assert (status, answer["type"].rpartition("/")[2]) == (412, "precondition-failed")
    status, answer = decide(customer, at(11, 3), {"decision": None}, headers={"if-match": '"1"'})
    assert (status, answer["decision"]["decision"]) == (200, None)


@pytest.mark.parametrize(
    ("line", "status", "problem"),
    [
        ("2026-11.EUR.seats", 409, "true-up-not-final"),
        ("2026-10.USD.seats", 404, "not-found"),
        ("2026-10.EUR.usage.exports", 404, "not-found"),
        ("2025-01.EUR.seats", 404, "not-found"),
        ("2026-13.EUR.seats", 404, "not-found"),
        ("nonsense", 404, "not-found"),
    ],
)
def test_what_cannot_be_decided_about(
    dynamodb: DynamoDBClient, clock: dict[str, int], line: str, status: int, problem: str
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE)
    given, answer = decide(customer, at(11, 3), {"decision": "billed"}, line)
    assert (given, answer["type"].rpartition("/")[2]) == (status, problem)


def test_a_line_is_not_final_before_history_has_everything(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE)
    customer.take(at(10, 5), "u0")
    customer.is_held_back = True
    customer.take(at(10, 30), "u1")
    assert not customer.true_up(at(11, 3), "2026-10")["isFinal"]
    status, answer = decide(customer, at(11, 3), {"decision": "billed"})
    assert (status, answer["type"].rpartition("/")[2]) == (409, "true-up-not-final")
    customer.is_held_back = False
    assert customer.true_up(at(11, 3), "2026-10")["isFinal"] is False
    assert customer.true_up(at(11, 3), "2026-10")["isFinal"]


def test_a_decision_outlives_its_evidence(dynamodb: DynamoDBClient, clock: dict[str, int]) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE)
    busy(customer)
    assert decide(customer, at(11, 3), {"decision": "billed"})[0] == 200
    later = at(11, 3) + 500 * 86_400_000
    status, answer = decide(customer, later, {"decision": "disputed", "reason": "too late"})
    assert (status, answer["line"]["amount"]) == (200, "37.50")
    assert answer["line"]["parts"][0]["level"]["used"] == 6


# --- What the customer sees -----------------------------------------------------------------------


def link(customer: Priced, when: int) -> str:
    status, answer = customer.call(when, f"POST {E}/portal-links", {"role": "viewer"})
    assert status == 201
    return str(answer["url"].partition("#")[2])


def test_the_customer_sees_it_if_the_entitlement_says_so(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE)
    busy(customer)
    decide(customer, at(11, 3), {"decision": "waived", "reason": "ours", "reference": "R-1"})
    token = link(customer, at(11, 4))
    status, _ = customer.call(at(11, 4), TRUE_UP, query={"period": "2026-10"}, credential=token)
    assert status == 404
    customer.change(at(11, 4, 13), showCharges=True)
    status, answer = customer.call(
        at(11, 4, 14), TRUE_UP, query={"period": "2026-10"}, credential=token
    )
    assert status == 200
    [line] = answer["lines"]
    assert line["amount"] == "37.50"
    decision = line["decision"]
    assert (decision["decision"], decision["reference"]) == ("waived", "R-1")
    assert (decision["reason"], decision["decidedBy"]) == (None, None)
    status, _ = customer.call(
        at(11, 4, 14),
        DECIDE,
        {"decision": "waived"},
        path={"lineId": line["lineId"]},
        credential=token,
    )
    assert status == 403


# --- Dry runs -------------------------------------------------------------------------------------


def preview(customer: Priced, when: int, name: str, **more: Any) -> Any:
    route = f"POST {E}/activations"
    status, answer = customer.call(when, route, {"seatId": name}, query={"dryRun": "true"}, **more)
    assert status == 200, answer
    return answer["charge"]


def test_a_dry_run_says_what_the_seat_would_add(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE)
    assert preview(customer, at(10, 1), "u0")["amount"] == "0.00", "within what was purchased"
    busy(customer)
    # Three were above on the 14th: the next three of October cost nothing more.
    assert preview(customer, at(10, 21), "new")["amount"] == "0.00"
    assert preview(customer, at(10, 21), "u0") is None, "who has a seat adds none"
    adds = preview(customer, at(11, 3), "new")
    assert adds == {
        "month": "2026-11",
        "currency": "EUR",
        "amount": "12.50",
        "expectedAmount": "12.50",
        "basis": "peak_seats",
        "charge": "by_month",
    }
    assert customer.call(at(11, 3), f"GET {E}/activations")[1]["items"].__len__() == 3


def test_a_dry_run_by_the_day(dynamodb: DynamoDBClient, clock: dict[str, int]) -> None:
    price = {**PRICE, "basis": "seat_days", "amount": "2.00"}
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=price)
    busy(customer)
    adds = preview(customer, at(10, 29), "new")
    # The 29th, and two days more.
    assert (adds["amount"], adds["expectedAmount"]) == ("2.00", "6.00")


def test_a_license_key_learns_a_price_only_if_charges_are_shown(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE)
    _, made = customer.call(at(9, 16), f"POST {E}/license-keys", {})
    key = made["key"]
    assert preview(customer, at(10, 21), "new", credential=key) is None
    customer.change(at(10, 21, 13), showCharges=True)
    assert preview(customer, at(10, 21, 14), "new", credential=key)["amount"] == "0.00"


def test_a_license_key_reads_no_price_unless_charges_are_shown(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0), overdraftPrice=PRICE, usageLimits=[LIMIT])
    key = customer.call(at(9, 16), f"POST {E}/license-keys", {})[1]["key"]

    def prices(when: int) -> list[Any]:
        _, shown = customer.call(when, f"GET {E}", credential=key)
        return [shown["overdraftPrice"], shown["usageLimits"][0]["overdraftPrice"]]

    assert prices(at(9, 17)) == [None, None]
    customer.change(at(9, 18), showCharges=True)
    assert all(prices(at(9, 19)))


def test_without_a_price_nothing_costs_anything(
    dynamodb: DynamoDBClient, clock: dict[str, int]
) -> None:
    customer = sell(dynamodb, clock, at(9, 15, 0))
    busy(customer)
    assert preview(customer, at(10, 29), "new") is None
    answer = customer.true_up(at(11, 2), "2026-10")
    assert (answer["lines"], answer["totals"]) == ([], [])
