"""Finding entitlements in the deployed stack: what the stream makes searchable, and forgets."""

from functools import partial
from urllib.parse import quote

from tests.integration.conftest import CheckedApi, Customer
from tests.support.waiting import wait_for


def found(api: CheckedApi, query: str) -> list[str]:
    answer = api.expect(200, "GET", f"/v1/entitlements?{query}")
    return [each["entitlementId"] for each in answer["items"]]


def is_found(api: CheckedApi, query: str, customer: Customer) -> bool:
    return found(api, query) == [customer.id]


def test_an_entitlement_is_found_by_its_names_and_not_by_old_ones(api: CheckedApi) -> None:
    name = {"name": "Zoë & Partners Werkzeugbau", "externalId": "crm-90210"}
    owner = {"accountOwner": {"name": "Olaf Quince", "email": "olaf.quince@vendor.example"}}
    customer = Customer(api, customer=name, contacts=owner)
    for text in ("werkz zoe", "WERKZEUG", "90210", "crm-902", "quince"):
        wait_for(partial(is_found, api, f"search={quote(text)}", customer))
    api.expect(200, "PATCH", customer.path, {"customer": {"name": "Initech Drehteile"}})
    wait_for(lambda: found(api, "search=drehteile") == [customer.id])
    assert found(api, "search=werkzeugbau") == []


def test_a_person_is_found_until_they_are_erased(api: CheckedApi) -> None:
    """Somebody who held a seat, and somebody who was only ever denied one."""
    terms = {"seatCount": 1, "overdraftSeatLimit": {"type": "none"}}
    first, second = Customer(api, **terms), Customer(api, **terms)
    for each in (first, second):
        each.take("quentin@acme.com")
    first.take("denise@acme.com", 409)
    both = sorted((first.id, second.id))
    wait_for(lambda: sorted(found(api, "seatId=quentin@acme.com")) == both)
    wait_for(lambda: found(api, "seatId=denise@acme.com") == [first.id])
    assert found(api, "seatId=Quentin@acme.com") == []
    for name in ("quentin@acme.com", "denise@acme.com"):
        api.expect(200, "POST", f"{first.path}/seats/erase", {"seatId": name})
    assert found(api, "seatId=quentin@acme.com") == [second.id]
    assert found(api, "seatId=denise@acme.com") == []


def test_lists_by_overdraft_by_denials_and_by_renewal(api: CheckedApi) -> None:
    terms = {"seatCount": 2, "overdraftSeatLimit": {"type": "absolute", "value": 1}}
    group = {"name": "Ranking Group"}
    calm = Customer(api, **terms, customer=group, validUntil="2100-01-01T00:00:00Z")
    over = Customer(api, **terms, customer=group)
    denied = Customer(api, **terms, customer=group, validUntil="2099-12-31T00:00:00Z")
    for customer, people in ((calm, 1), (over, 3), (denied, 3)):
        for number in range(people):
            customer.take(f"p{number}")
    for _ in range(2):
        denied.take("p9", 409)
    query = f"customer={quote('Ranking Group')}&sort="
    wait_for(lambda: found(api, f"{query}denials") == [denied.id])
    wait_for(lambda: sorted(found(api, f"{query}overdraft")) == sorted([over.id, denied.id]))
    wait_for(lambda: found(api, f"{query}renewal") == [denied.id, calm.id])
    [ranked] = api.expect(200, "GET", f"/v1/entitlements?{query}denials")["items"]
    assert ranked["ranking"] == {
        "overdraftPercent": None,
        "deniedAttempts": 2,
        "deniedToday": 2,
    }
    by_overdraft = api.expect(200, "GET", f"/v1/entitlements?{query}overdraft")["items"]
    assert {each["ranking"]["overdraftPercent"] for each in by_overdraft} == {50}
