"""Who changed what, in the deployed stack: the API writes it, and the stream what became of seats."""

from shared.seats.encoding import seat_key
from tests.integration.conftest import CheckedApi, Customer
from tests.support.waiting import wait_for


def of_type(customer: Customer, kind: str) -> list[dict[str, object]]:
    answer = customer.api.expect(200, "GET", f"{customer.path}/changes?type={kind}")
    items: list[dict[str, object]] = answer["items"]
    return items


def test_who_released_a_seat_and_an_erased_person_is_anonymous(
    api: CheckedApi, customer: Customer
) -> None:
    link = customer.link("admin", name="Alice of Acme")
    admin = api.with_credential(f"Portal {link['url'].partition('#')[2]}")
    judy, mallory = customer.take("judy@acme.com"), customer.take("mallory@acme.com")
    admin.expect(204, "DELETE", f"{customer.seats}/{judy['activationId']}")
    customer.license.expect(204, "DELETE", f"{customer.seats}/{mallory['activationId']}")
    [released] = wait_for(lambda: of_type(customer, "seat.released"))
    assert (released["actor"], released["actorName"]) == (link["linkId"], "Alice of Acme")
    assert released["subjectId"] == seat_key(customer.id, "judy@acme.com")
    assert released["subjectName"] == "judy@acme.com"

    # The customer's administrator sees it, too; the link's name is the vendor's.
    shown = admin.expect(200, "GET", f"{customer.path}/changes?type=seat.released")["items"]
    assert shown == [{**released, "actorName": None}]

    api.expect(200, "POST", f"{customer.path}/seats/erase", {"seatId": "judy@acme.com"})
    [released] = of_type(customer, "seat.released")
    assert released["subjectName"] is None
    assert [each["subjectId"] for each in of_type(customer, "person.erased")] == [
        seat_key(customer.id, "judy@acme.com")
    ]


def test_a_correction_of_usage_says_why(api: CheckedApi) -> None:
    limit = {"key": "exports", "limit": 10}
    customer = Customer(api, seatCount=None, usageLimits=[limit])
    consumed = customer.license.call(
        "POST",
        f"{customer.path}/usage/exports",
        {"quantity": 5},
        headers={"idempotency-key": "export-1"},
    )
    assert consumed.status == 200
    body = {"quantity": -2, "reason": "counted twice"}
    api.expect(201, "POST", f"{customer.path}/usage/exports/corrections", body)
    [corrected] = wait_for(lambda: of_type(customer, "usage.corrected"))
    assert corrected["changes"] == {"used": {"before": 5, "after": 3}}
    assert (corrected["subjectId"], corrected["reason"]) == ("exports", "counted twice")


def test_the_trail_of_the_whole_stack(api: CheckedApi, customer: Customer) -> None:
    api.expect(200, "PATCH", customer.path, {"seatCount": 3})
    changed = of_type(customer, "entitlement.updated")
    found = api.expect(200, "GET", "/v1/audit?type=entitlement.updated&limit=100")["items"]
    assert changed[0] in found


def test_each_attempt_of_a_person_can_be_explained(customer: Customer) -> None:
    """The cap is 3; between the two attempts of mallory, the limits are changed."""
    for name in ("a", "b", "c"):
        customer.take(name)
    first = customer.take("mallory", 409)
    customer.api.expect(
        200, "PATCH", customer.path, {"overdraftSeatLimit": {"type": "none"}, "seatCount": 1}
    )
    customer.take("mallory", 409)
    assert first["seats"]["hardCap"] == 3

    def explained() -> list[dict[str, object]] | None:
        """Both, once the stream has reported them."""
        path = f"{customer.path}/explain?seatId=mallory"
        latest = customer.api.expect(200, "GET", path)["denial"]
        denials = customer.api.expect(200, "GET", f"{customer.path}/denials?seatId=mallory")
        earliest = denials["items"][-1]["firstAt"]
        found = [customer.api.expect(200, "GET", f"{path}&at={earliest}")["denial"], latest]
        return found if all(each["isExact"] for each in found) else None

    earlier, latest = wait_for(explained)
    assert (earlier["used"], earlier["purchased"], earlier["hardCap"]) == (3, 2, 3)
    assert (latest["used"], latest["purchased"], latest["hardCap"]) == (3, 1, 1)
