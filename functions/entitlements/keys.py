"""API keys and license keys: create, list, revoke."""

import secrets
from typing import Any

from functions.entitlements import desk
from shared import idempotency, lists, table
from shared.credentials import hash_key, new_id
from shared.http import Request, Response
from shared.idempotency import replayed
from shared.models import ApiKeyInput, LicenseKeyInput, parse
from shared.problems import NotFound
from shared.times import to_rfc3339

API_LIST = "API_KEY"


def _license_list(entitlement_id: str) -> str:
    return f"LICENSE_KEY#{entitlement_id}"


def create_api_key(request: Request) -> Response:
    """Create an API key; the key itself is only in this answer."""
    model = parse(ApiKeyInput, request.body)
    scopes: list[table.Value] = [*sorted(set(model.scopes))]
    return _create(request, "key", API_LIST, {"kind": "api", "name": model.name, "scopes": scopes})


def create_license_key(request: Request) -> Response:
    """Create a license key of one entitlement; the key itself is only in this answer."""
    model = parse(LicenseKeyInput, request.body)
    entitlement_id = request.path["entitlementId"]
    request.table.run(desk.require(entitlement_id))
    record: dict[str, table.Value] = {
        "kind": "license", "name": model.name, "entitlementId": entitlement_id,
    }  # fmt: skip
    return _create(request, "lic", _license_list(entitlement_id), record)


def _create(request: Request, prefix: str, listed: str, record: dict[str, table.Value]) -> Response:
    nonce = secrets.token_urlsafe(32)
    key_id = new_id(prefix, nonce)
    key = f"{key_id}.{request.caller.derive(nonce)}"
    item = {
        **record,
        "keyId": key_id,
        "hash": hash_key(key),
        "createdAt": request.now_ms,
        "listKey": listed,
        "listSort": f"{request.now_ms:013d}#{key_id}",
    }
    put = table.Put(table.credential_key(key_id), item, "attribute_not_exists(pk)")
    response = Response(201, _view(item))
    kept, kept_nonce = idempotency.write_once(request, (put,), response, nonce=nonce)
    if kept:
        derived = request.caller.derive(kept_nonce)
        return replayed(kept, key=f"{kept.body['keyId']}.{derived}")
    return response._replace(body={**response.body, "key": key})


def list_api_keys(request: Request) -> Response:
    """API keys, newest first, without the keys."""
    return lists.respond(request, lists.newest_first(request, API_LIST, _view))


def list_license_keys(request: Request) -> Response:
    """The license keys of one entitlement, newest first, without the keys."""
    entitlement_id = request.path["entitlementId"]
    request.table.run(desk.require(entitlement_id, is_deleted_ok=True))
    return lists.respond(request, lists.newest_first(request, _license_list(entitlement_id), _view))


def revoke_api_key(request: Request) -> Response:
    """Revoke an API key. Warm processes may know it for another 60 seconds."""
    return _revoke(request, {"kind": "api"})


def revoke_license_key(request: Request) -> Response:
    """Revoke a license key. Warm processes may know it for another 60 seconds."""
    return _revoke(request, {"kind": "license", "entitlementId": request.path["entitlementId"]})


def _revoke(request: Request, expected: dict[str, str]) -> Response:
    key = table.credential_key(request.path["keyId"])
    record = request.table.execute(table.Get(key))
    if record is None or any(record.get(name) != value for name, value in expected.items()):
        raise NotFound("No key has this id.")
    # Without a condition: when the answer is lost, our own repetition finds nothing, and is done.
    request.table.execute(table.Delete(key))
    return Response(204)


def _view(item: Any) -> dict[str, Any]:
    owned = {"entitlementId": item["entitlementId"]} if item["kind"] == "license" else {}
    scopes = {"scopes": item["scopes"]} if item["kind"] == "api" else {}
    return {
        "keyId": item["keyId"],
        **owned,
        "name": item.get("name"),
        **scopes,
        "createdAt": to_rfc3339(item["createdAt"]),
    }
