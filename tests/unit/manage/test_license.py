"""The entitlement of a license key, for software that has nothing but the key."""

from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"


def test_a_license_key_reads_its_own(api: Api) -> None:
    api.create()
    entitlement_id = api.create(metadata={"a": "b"}, overdraftPrice=None)
    path = {"entitlementId": entitlement_id}
    key = api.call(f"POST {E}/license-keys", path, {})[1]["key"]
    status, shown, headers = api.call("GET /v1/license", key=key)
    assert (status, shown["entitlementId"], shown["metadata"]) == (200, entitlement_id, {})
    assert (shown, headers["etag"]) == (api.call(f"GET {E}", path, key=key)[1], '"1"')


def test_nobody_else_has_one(api: Api) -> None:
    path = {"entitlementId": api.create()}
    link = api.call(f"POST {E}/portal-links", path, {})[1]["url"].partition("#")[2]
    for key, status in ((None, 401), (link, 403), ("lic_" + "x" * 16 + "." + "y" * 40, 401)):
        assert api.call("GET /v1/license", key=key)[0] == status
    status, problem, _ = api.call("GET /v1/license")
    assert (status, problem["detail"]) == (403, "This is for license keys only.")
