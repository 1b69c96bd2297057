"""Why a person was denied: what was in force then, and what has changed since."""

from typing import Any

import pytest

from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"


def denied(api: Api, **terms: Any) -> str:
    """An entitlement with 2 purchased seats, a cap of 3, and mallory denied."""
    entitlement_id = api.create(
        overdraftSeatLimit={"type": "absolute", "value": 1},
        leasePeriod="PT1H",
        timeZone="Europe/Berlin",
        **terms,
    )
    path = {"entitlementId": entitlement_id}
    for name in ("alice", "bob", "carol"):
        assert api.call(f"POST {E}/activations", path, {"seatId": name})[0] == 201
    assert api.call(f"POST {E}/activations", path, {"seatId": "mallory"})[0] == 409
    return entitlement_id


def explain(api: Api, entitlement_id: str, status: int = 200, **query: str) -> Any:
    got, answer, _ = api.call(f"GET {E}/explain", {"entitlementId": entitlement_id}, query=query)
    assert got == status, answer
    return answer


def test_a_denial_is_explained_in_words_and_numbers(api: Api) -> None:
    entitlement_id = denied(api)
    found = explain(api, entitlement_id, seatId="mallory")
    denial = found["denial"]
    assert (denial["used"], denial["purchased"], denial["hardCap"]) == (3, 2, 3)
    assert (denial["limitReached"], denial["isExact"], denial["attemptsInHour"]) == (
        "hardCap",
        True,
        1,
    )
    _, held, _ = api.call(f"GET {E}/activations", {"entitlementId": entitlement_id})
    assert denial["nextLeaseExpiry"] == min(each["leaseExpiry"] for each in held["items"])
    assert (found["seatId"], found["isHeld"], found["changesSince"]) == ("mallory", False, [])
    assert "all 3 seats were in use, 2 purchased and 1 in overdraft." in found["summary"]
    assert "(Europe/Berlin)" in found["summary"]
    assert "The limits are the same now." in found["summary"]


def test_what_has_changed_since_is_said(api: Api) -> None:
    entitlement_id = denied(api)
    path = {"entitlementId": entitlement_id}
    api.call(f"PATCH {E}", path, {"seatCount": 10})
    found = explain(api, entitlement_id, seatId="mallory")
    [changed] = found["changesSince"]
    assert changed["changes"]["seatCount"] == {"before": 2, "after": 10}
    assert found["seats"]["purchased"] == 10
    assert "Now 10 seats are purchased, with a hard cap of 11." in found["summary"]


def test_a_time_without_a_denial(api: Api) -> None:
    entitlement_id = denied(api)
    found = explain(api, entitlement_id, seatId="mallory", at="2026-01-05T10:00:00Z")
    assert found["denial"] is None
    assert found["summary"].startswith("mallory was not denied within 12 hours of 2026-01-05 11:00")


def test_an_erased_person_has_no_name(api: Api) -> None:
    entitlement_id = denied(api)
    path = {"entitlementId": entitlement_id}
    key = explain(api, entitlement_id, seatId="mallory")["seatKey"]
    api.call(f"POST {E}/seats/erase", path, {"seatId": "mallory"})
    found = explain(api, entitlement_id, seatKey=key)
    assert found["seatId"] is None
    assert "mallory" not in found["summary"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"seatId": "a", "seatKey": "b"}, 400),
        ({"seatId": "nobody"}, 404),
        ({"seatId": "mallory", "at": "yesterday"}, 400),
    ],
)
def test_bad_questions(api: Api, query: dict[str, str], status: int) -> None:
    explain(api, denied(api), status, **query)


@pytest.mark.parametrize(
    ("purchased", "overdraft", "then", "now"),
    [
        (1, 0, "the only seat was in use.", "1 seat is in use."),
        (0, 1, "the only seat was in use, in overdraft.", "1 seat is in use."),
        (0, 0, "there is no seat, because none is purchased.", "No seats are in use."),
    ],
)
def test_few_seats_are_said_in_good_english(
    api: Api, purchased: int, overdraft: int, then: str, now: str
) -> None:
    limit = {"type": "absolute", "value": overdraft} if overdraft else {"type": "none"}
    entitlement_id = api.create(seatCount=purchased, overdraftSeatLimit=limit)
    path = {"entitlementId": entitlement_id}
    if purchased + overdraft:
        assert api.call(f"POST {E}/activations", path, {"seatId": "alice"})[0] == 201
    assert api.call(f"POST {E}/activations", path, {"seatId": "mallory"})[0] == 409
    summary = explain(api, entitlement_id, seatId="mallory")["summary"]
    assert then in summary
    assert now in summary
