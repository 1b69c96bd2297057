"""The typed calls of the vendor's side, against the real functions."""

import asyncio
from typing import Any

import httpx
import overdraft
import pytest
from overdraft import Retry
from overdraft.vendor import AsyncVendor, Vendor

from shared.api import app
from tests.support.requests import BOOTSTRAP_KEY
from tests.support.seats import NOW_MS
from tests.unit.clients.stack import Network
from tests.unit.conftest import Api

QUICK = Retry(base=0.001, longest=0.002)
URL = "https://licenses.example/"


@pytest.fixture
def network(api: Api, monkeypatch: pytest.MonkeyPatch) -> Network:
    monkeypatch.setattr(app, "now_ms", lambda: NOW_MS)
    return Network(api, lambda: NOW_MS)


@pytest.fixture
def vendor(network: Network) -> Vendor:
    transport = httpx.MockTransport(network.handle)
    return Vendor(URL, BOOTSTRAP_KEY, retry=QUICK, transport=transport)


def test_a_customer_of_the_vendor(vendor: Vendor) -> None:
    with vendor:
        made = vendor.create_entitlement(
            {"product": "CAD Pro", "customer": {"name": "Acme Corp"}, "seatCount": 2}
        )
        key = vendor.create_license_key(made["entitlementId"], {})
        assert key["key"].startswith("lic_")
        changed = vendor.update_entitlement(made["entitlementId"], {"seatCount": 5})
        assert (changed["seatCount"], changed["product"]) == (5, "CAD Pro")
        [found] = vendor.list_entitlements()
        assert found["entitlementId"] == made["entitlementId"]
        assert list(vendor.list_entitlements(overdraft=True)) == []
        with pytest.raises(overdraft.Invalid):
            vendor.create_entitlement({"product": "P", "customer": {"name": ""}, "seatCount": -1})
        assert vendor.delete_entitlement(made["entitlementId"]) is None  # type: ignore[func-returns-value]
        with pytest.raises(overdraft.NotFound):
            next(vendor.get_usage_history("ent_0000000000000000", from_="2026-11-01T00:00:00Z"))


def test_lists_go_through_all_pages(vendor: Vendor, network: Network) -> None:
    made = vendor.put_entitlement_by_external_id(
        "order:1@x", {"product": "P", "customer": {"name": "C"}, "seatCount": 1}
    )
    assert vendor.get_entitlement_by_external_id("order:1@x") == made
    keys = {vendor.create_license_key(made["entitlementId"], {})["keyId"] for _ in range(53)}
    network.seen.clear()
    listed = [each["keyId"] for each in vendor.list_license_keys(made["entitlementId"])]
    assert (set(listed), len(listed), len(network.seen)) == (keys, 53, 2)


def test_a_post_is_done_once(vendor: Vendor, network: Network) -> None:
    network.faults = ["lost", "busy", "lost"]
    body: Any = {"product": "P", "customer": {"name": "C"}, "seatCount": 1}
    vendor.create_entitlement(body)
    assert len(list(vendor.list_entitlements())) == 1
    for _ in range(2):
        vendor.create_entitlement(body, idempotency_key="order-2")
    assert len(list(vendor.list_entitlements())) == 2
    network.is_down = True
    with pytest.raises(overdraft.Unavailable):
        vendor.create_entitlement(body)


@pytest.mark.parametrize("odd", ["", ".", ".."])
def test_an_id_names_no_other_path(vendor: Vendor, network: Network, odd: str) -> None:
    made = vendor.create_entitlement({"product": "P", "customer": {"name": "C"}, "seatCount": 1})
    for ask in (
        lambda: vendor.revoke_license_key(made["entitlementId"], odd),
        lambda: vendor.get_seat(made["entitlementId"], odd),
        lambda: vendor.delete_entitlement(odd),
    ):
        with pytest.raises(ValueError, match="is no id"):
            ask()
    assert vendor.get_entitlement(made["entitlementId"])["status"] == "active"


def test_a_change_can_have_a_condition(vendor: Vendor) -> None:
    made = vendor.create_entitlement({"product": "P", "customer": {"name": "C"}, "seatCount": 1})
    path = f"/v1/entitlements/{made['entitlementId']}"
    read = vendor.request("GET", path)
    assert read.body == made
    condition = {"if-match": read.headers["etag"]}
    vendor.request("PATCH", path, body={"seatCount": 2}, headers=condition)
    with pytest.raises(overdraft.Refused) as refused:
        vendor.request("PATCH", path, body={"seatCount": 3}, headers=condition)
    assert (refused.value.type, refused.value.status) == ("precondition-failed", 412)


def test_the_same_awaited(network: Network) -> None:
    async def work() -> None:
        transport = httpx.MockTransport(network.handle_async)
        async with AsyncVendor(URL, BOOTSTRAP_KEY, retry=QUICK, transport=transport) as vendor:
            made = await vendor.create_entitlement(
                {"product": "P", "customer": {"name": "C"}, "seatCount": 1}
            )
            listed = [each async for each in vendor.list_entitlements()]
            assert [each["entitlementId"] for each in listed] == [made["entitlementId"]]

    asyncio.run(work())


def test_it_has_every_call_of_an_api_key(vendor: Vendor) -> None:
    """By the routes of the functions, not by the description from which it was made."""
    from shared.api.routes import ROUTES

    html = {"showSubscription", "unsubscribe", "subscribeAgain", "openReportFile"}
    keys = {route.id for route in ROUTES.values() if route.scopes and route.only != "session"}
    expected = keys - html
    missing = {
        name
        for name in expected
        if not hasattr(vendor, "".join(f"_{c.lower()}" if c.isupper() else c for c in name))
    }
    assert missing == set()
    assert len(expected) > 50
