"""Signed leases of the deployed stack, verified by a library that knows nothing of us."""

import base64
import json
import time
from typing import Any

import jwt
import pytest

from shared.clock import from_rfc3339, to_rfc3339
from tests.integration.conftest import CheckedApi, Customer

DAY = 86_400


def verified(api: CheckedApi, lease: str) -> dict[str, Any]:
    """The payload of a lease, by the keys that the stack publishes."""
    answer = api.with_credential("").call("GET", "/.well-known/jwks.json")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    header = jwt.get_unverified_header(lease)
    assert (header["alg"], header["typ"]) == ("ES256", "overdraft-lease+jws")
    [key] = [
        each for each in jwt.PyJWKSet(answer.body["keys"]).keys if each.key_id == header["kid"]
    ]
    payload: dict[str, Any] = jwt.decode(lease, key, algorithms=["ES256"])
    head, _, signature = lease.split(".")
    longer = json.dumps({**payload, "exp": payload["exp"] + 1}).encode()
    forged = f"{head}.{base64.urlsafe_b64encode(longer).rstrip(b'=').decode()}.{signature}"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(forged, key, algorithms=["ES256"])
    return payload


def take(customer: Customer, seat_id: str, **more: Any) -> Any:
    return customer.license.call(
        "POST", customer.seats, {"seatId": seat_id, "signed": True, **more}
    )


def test_a_grant_is_signed(api: CheckedApi) -> None:
    customer = Customer(api, leasePeriod="PT1H")
    answer = take(customer, "alice@acme.com")
    assert answer.status == 201
    payload = verified(api, answer.body["signedLease"])
    for name in (
        "entitlementId",
        "activationId",
        "seatId",
        "isOverdraftSeat",
        "leaseExpiry",
        "seats",
    ):
        assert payload[name] == answer.body[name]
    # The cap holds offline too: it is good until the lease ends.
    assert payload["offlineUntil"] == answer.body["leaseExpiry"]
    assert payload["exp"] == from_rfc3339(answer.body["leaseExpiry"])
    assert payload["exp"] - payload["iat"] in range(3_598, 3_602)
    # A heartbeat that writes nothing is not signed, and whoever asks for no signature gets none.
    assert take(customer, "alice@acme.com").body["signedLease"] is None
    assert "signedLease" not in customer.take("bob@acme.com")


def test_a_lost_answer_is_signed_again(api: CheckedApi) -> None:
    customer = Customer(api, leasePeriod="PT1H")
    body, key = {"seatId": "alice", "signed": True}, {"idempotency-key": "first"}
    first = customer.license.call("POST", customer.seats, body, headers=key)
    again = customer.license.call("POST", customer.seats, body, headers=key)
    assert again.headers["idempotency-replayed"] == "true"
    for answer in (first, again):
        payload = verified(api, answer.body["signedLease"])
        assert payload["activationId"] == first.body["activationId"]


def test_a_repetition_makes_nothing_longer(api: CheckedApi) -> None:
    """`offlinePeriod` begins with the lease, and a heartbeat is not signed, however often it is sent."""
    customer = Customer(api, leasePeriod="PT1H", offlinePeriod="PT2H")
    body = {"seatId": "alice", "signed": True}

    def send(key: str) -> Any:
        headers = {"idempotency-key": key}
        return customer.license.call("POST", customer.seats, body, headers=headers)

    first = verified(api, send("first").body["signedLease"])
    time.sleep(1.1)
    again = verified(api, send("first").body["signedLease"])
    assert again["iat"] > first["iat"]
    assert again["exp"] == first["exp"]
    assert send("heartbeat").body["signedLease"] is None
    assert send("heartbeat").body["signedLease"] is None


@pytest.mark.parametrize(
    ("terms", "seconds"),
    [
        ({"leasePeriod": "PT1H", "offlinePeriod": "P3D"}, 3 * DAY),
        ({"leasePeriod": "P2D", "offlinePeriod": "PT1H"}, 2 * DAY),
        ({"leasePeriod": None}, 366 * DAY),
    ],
)
def test_until_when(api: CheckedApi, terms: dict[str, Any], seconds: int) -> None:
    payload = verified(api, take(Customer(api, **terms), "alice").body["signedLease"])
    assert payload["exp"] - payload["iat"] in range(seconds - 2, seconds + 2)


def test_never_after_the_end_of_the_validity(api: CheckedApi) -> None:
    until = "2099-01-01T00:00:00Z"
    customer = Customer(api, leasePeriod=None, validUntil=until)
    assert verified(api, take(customer, "alice").body["signedLease"])["offlineUntil"] != until
    soon = verified(api, take(customer, "alice").body["signedLease"])["iat"] + 60

    customer.api.expect(200, "PATCH", customer.path, {"validUntil": to_rfc3339(soon * 1000)})
    assert verified(api, take(customer, "alice").body["signedLease"])["exp"] == soon


def test_a_borrowed_seat(api: CheckedApi) -> None:
    customer = Customer(
        api, leasePeriod="PT1H", maxLeasePeriod="P14D", maxBorrowedSeats=1, offlinePeriod="PT2H"
    )
    answer = take(customer, "alice", leasePeriod="P7D")
    payload = verified(api, answer.body["signedLease"])
    assert (payload["isBorrowed"], payload["offlineUntil"]) == (True, answer.body["leaseExpiry"])
    refused = take(customer, "bob", leasePeriod="P7D")
    assert (refused.status, refused.body["borrowedSeats"]) == (409, {"used": 1, "max": 1})
    customer.license.call("DELETE", f"{customer.seats}/{answer.body['activationId']}")
    assert take(customer, "bob", leasePeriod="P7D").status == 201


def test_a_pool(api: CheckedApi) -> None:
    """Its shards know how long software may go on."""
    customer = Customer(api, seatCount=300, leasePeriod="PT1H", offlinePeriod="P1D")
    payload = verified(api, take(customer, "alice").body["signedLease"])
    assert payload["exp"] - payload["iat"] in range(DAY - 2, DAY + 2)
    customer.api.call("PATCH", customer.path, {"offlinePeriod": "P2D"})
    payload = verified(api, take(customer, "bob").body["signedLease"])
    assert payload["exp"] - payload["iat"] in range(2 * DAY - 2, 2 * DAY + 2)


def test_a_dry_run_is_not_signed(api: CheckedApi) -> None:
    customer = Customer(api)
    path = f"{customer.seats}?dryRun=true"
    answer = customer.license.call("POST", path, {"seatId": "alice", "signed": True})
    assert answer.body["signedLease"] is None
