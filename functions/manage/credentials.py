"""API keys, license keys and portal links: create, list, revoke."""

import secrets
from collections.abc import Callable
from typing import TypedDict

from functions.manage import entitlements
from shared.api import idempotency, pagination
from shared.api.auth import hash_key
from shared.api.idempotency import replayed
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.credentials import ApiKeyInput, LicenseKeyInput, PortalLinkInput
from shared.audit import Subject, entry_put
from shared.clock import from_duration, from_rfc3339, to_rfc3339
from shared.dynamodb.keys import credential_key
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import Delete, Get, Item, Put, Transact, Value
from shared.ids import API_KEYS, LICENSE_KEYS, PORTAL_LINKS, new_id
from shared.problems import Forbidden, InvalidRequest, NotFound
from shared.seats.shard import MAX_LEASE, MIN_LEASE

API_LIST = "API_KEY"
DEFAULT_EXPIRY = "P30D"
# The first half of the types of audit entries.
AUDITED_AS = {"api": "api_key", "license": "license_key", "portal": "portal_link"}
# How long an expired link or key stays on the list.
LISTED_SECONDS = 30 * 86_400


class ApiKeyView(TypedDict):
    """An API key without the key."""

    keyId: str
    name: str
    scopes: list[str]
    createdAt: str
    expiresAt: str | None
    lastUsedAt: str | None


class LicenseKeyView(TypedDict):
    """A license key without the key."""

    keyId: str
    entitlementId: str
    name: str | None
    createdAt: str


class PortalLinkView(TypedDict):
    """A portal link without its token."""

    linkId: str
    entitlementId: str
    name: str | None
    role: str
    hidesNames: bool
    createdAt: str
    expiresAt: str


def _license_list(entitlement_id: str) -> str:
    return f"LICENSE_KEY#{entitlement_id}"


def _portal_list(entitlement_id: str) -> str:
    return f"PORTAL_LINK#{entitlement_id}"


def create_api_key(request: Request) -> Response:
    """Create an API key; only this answer has the key itself."""
    model = parse(ApiKeyInput, request.body)
    scopes: list[Value] = [*sorted(set(model.scopes))]
    record: dict[str, Value] = {"kind": "api", "name": model.name, "scopes": scopes}
    if model.expires_in:
        expires_at = request.now + from_duration(model.expires_in)
        record |= {"expiresAt": expires_at, "ttl": expires_at + LISTED_SECONDS}
    return _create(request, API_KEYS, API_LIST, record, _shown_key)


def create_license_key(request: Request) -> Response:
    """Create a license key of one entitlement; only this answer has the key itself."""
    model = parse(LicenseKeyInput, request.body)
    entitlement_id = request.path["entitlementId"]
    request.dynamodb.run(entitlements.require(entitlement_id))
    record: dict[str, Value] = {
        "kind": "license",
        "name": model.name,
        "entitlementId": entitlement_id,
    }
    return _create(request, LICENSE_KEYS, _license_list(entitlement_id), record, _shown_key)


def create_portal_link(request: Request) -> Response:
    """Create a link to an entitlement's portal; only this answer has its token."""
    model = parse(PortalLinkInput, request.body)
    entitlement_id = request.path["entitlementId"]
    request.dynamodb.run(entitlements.require(entitlement_id))
    expires_at = _expiry(model, request.now)
    if model.role == "admin" and "manage" not in request.caller.scopes:
        # Such a link changes what the customer may use, and outlives who made it.
        raise Forbidden("A link for an admin needs scope 'manage'; a viewer's link does not.")
    if model.hides_names and model.role != "viewer":
        raise InvalidRequest.at("/hidesNames", "is for the role viewer alone")
    record: dict[str, Value] = {
        "kind": "portal",
        "name": model.name,
        "entitlementId": entitlement_id,
        "scopes": [model.role],
        "hidesNames": model.hides_names,
        "expiresAt": expires_at,
        "ttl": expires_at + LISTED_SECONDS,
    }

    def shown(token: str) -> dict[str, str]:
        # In the fragment, which no browser sends: so it is in no log.
        page = f"{request.public_url}/portal"
        return {"url": f"{page}#{token}", "embedUrl": f"{page}/embed#{token}"}

    return _create(request, PORTAL_LINKS, _portal_list(entitlement_id), record, shown)


def _expiry(model: PortalLinkInput, now: int) -> int:
    """When a link expires, Unix seconds."""
    if model.expires_at is None:
        return now + from_duration(model.expires_in or DEFAULT_EXPIRY)
    if model.expires_in is not None:
        raise InvalidRequest.at("/expiresAt", "must not be given together with expiresIn")
    expires_at = from_rfc3339(model.expires_at)
    if not MIN_LEASE <= expires_at - now <= MAX_LEASE:
        raise InvalidRequest.at("/expiresAt", "must be between a minute and 366 days from now")
    return expires_at


def _shown_key(key: str) -> dict[str, str]:
    return {"key": key}


def _create(
    request: Request,
    prefix: str,
    list_name: str,
    record: dict[str, Value],
    shown: Callable[[str], dict[str, str]],
) -> Response:
    """Create a credential; `shown` are the members with the key, which only this answer has."""
    nonce = secrets.token_urlsafe(32)
    key_id = new_id(prefix, nonce)
    key = f"{key_id}.{request.caller.derive(nonce)}"
    item = {
        **record,
        "keyId": key_id,
        "hash": hash_key(key),
        "createdAt": request.now_ms,
        "listKey": list_name,
        "listSort": f"{request.now_ms:013d}#{key_id}",
    }
    writes = (
        Put(credential_key(key_id), item, "attribute_not_exists(pk)"),
        _on_record(request, item, "created"),
    )
    response = Response(201, _view(item))
    kept, kept_nonce = idempotency.write_once(request, writes, response, nonce=nonce)
    if kept:
        derived = request.caller.derive(kept_nonce)
        kept_id = kept.body.get("keyId") or kept.body["linkId"]
        return replayed(kept, **shown(f"{kept_id}.{derived}"))
    return response._replace(body={**response.body, **shown(key)})


def _on_record(request: Request, item: Item, verb: str) -> Put:
    """The audit entry of a credential that is `created` or `revoked`."""
    return entry_put(
        request.change,
        f"{AUDITED_AS[item['kind']]}.{verb}",
        item.get("entitlementId"),
        Subject(item["keyId"], item.get("name")),
    )


def list_api_keys(request: Request) -> Response:
    """API keys, newest first, without the keys."""
    return pagination.respond(request, pagination.newest_first(request, API_LIST, _view))


def list_license_keys(request: Request) -> Response:
    """The license keys of one entitlement, newest first, without the keys."""
    entitlement_id = request.path["entitlementId"]
    request.dynamodb.run(entitlements.require(entitlement_id, is_deleted_ok=True))
    return pagination.respond(
        request, pagination.newest_first(request, _license_list(entitlement_id), _view)
    )


def list_portal_links(request: Request) -> Response:
    """The portal links of one entitlement, newest first, without their tokens."""
    entitlement_id = request.path["entitlementId"]
    request.dynamodb.run(entitlements.require(entitlement_id, is_deleted_ok=True))
    return pagination.respond(
        request, pagination.newest_first(request, _portal_list(entitlement_id), _view)
    )


def revoke_api_key(request: Request) -> Response:
    """Revoke an API key. Warm processes may know it for another 60 seconds."""
    return _revoke(request, request.path["keyId"], {"kind": "api"})


def revoke_license_key(request: Request) -> Response:
    """Revoke a license key. Warm processes may know it for another 60 seconds."""
    owned = {"kind": "license", "entitlementId": request.path["entitlementId"]}
    return _revoke(request, request.path["keyId"], owned)


def revoke_portal_link(request: Request) -> Response:
    """Revoke a portal link. Warm processes may know it for another 60 seconds."""
    owned = {"kind": "portal", "entitlementId": request.path["entitlementId"]}
    return _revoke(request, request.path["linkId"], owned)


def _revoke(request: Request, key_id: str, expected: dict[str, str]) -> Response:
    key = credential_key(key_id)
    record = request.dynamodb.execute(Get(key))
    if record is None or any(record.get(name) != value for name, value in expected.items()):
        kind = "link" if expected["kind"] == "portal" else "key"
        raise NotFound(f"No {kind} has this id.")
    # Of two requests that revoke it at the same time, one is on record.
    writes = (Delete(key, "attribute_exists(pk)"), _on_record(request, record, "revoked"))
    request.dynamodb.run(write_with_conflict_retry(Transact(writes)))
    return Response(204)


def _view(item: Item) -> ApiKeyView | LicenseKeyView | PortalLinkView:
    created_at = to_rfc3339(item["createdAt"])
    if item["kind"] == "portal":
        return {
            "linkId": item["keyId"],
            "entitlementId": item["entitlementId"],
            "name": item.get("name"),
            "role": item["scopes"][0],
            "hidesNames": item.get("hidesNames", False),
            "createdAt": created_at,
            "expiresAt": to_rfc3339(item["expiresAt"] * 1000),
        }
    if item["kind"] == "license":
        return {
            "keyId": item["keyId"],
            "entitlementId": item["entitlementId"],
            "name": item.get("name"),
            "createdAt": created_at,
        }
    return {
        "keyId": item["keyId"],
        "name": item["name"],
        "scopes": item["scopes"],
        "createdAt": created_at,
        "expiresAt": to_rfc3339(item["expiresAt"] * 1000) if "expiresAt" in item else None,
        "lastUsedAt": to_rfc3339(item["lastUsedAt"]) if "lastUsedAt" in item else None,
    }
