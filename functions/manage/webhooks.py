"""Webhook endpoints and their deliveries, as the vendor manages them.

A request to send something is stored as an item. The stream passes it on, like everything else.
"""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from typing import Any, TypedDict

from functions.manage import documents, entitlements, webhook_samples
from shared.api import idempotency, pagination
from shared.api.idempotency import replayed
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.webhooks import RotationInput, WebhookInput, WebhookTestInput
from shared.audit import Subject, differences, entry_put
from shared.clock import to_rfc3339
from shared.dynamodb.keys import (
    webhook_key,
    webhook_request_key,
    webhook_secret_key,
    webhook_state_key,
)
from shared.dynamodb.paging import ResultPage, read_page
from shared.dynamodb.patterns import ROUNDS, write_with_conflict_retry
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    Delete,
    Get,
    Item,
    Operation,
    Pause,
    Put,
    Query,
    Transact,
    Update,
    send,
)
from shared.ids import new_id
from shared.problems import Contention, InvalidRequest, NotFound
from shared.webhooks import channels, endpoints, url_policy

WRITTEN = ("url", "format", "eventTypes", "entitlementId", "customer", "description", "enabled")
REQUEST_SECONDS = 86_400
MOST_ENDPOINTS = 1_000  # all of them are read for every event
_insecure = url_policy.insecure_hosts(os.environ.get("INSECURE_WEBHOOK_HOSTS", ""))


def _document(body: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A body as a complete, valid endpoint; `before` is the endpoint until now.

    Raises:
        InvalidRequest: also for an address to which no webhook is sent.
    """
    document = parse(WebhookInput, body).model_dump(by_alias=True)
    if channels.is_channel(document) and not channels.sent_types(document["eventTypes"]):
        known = ", ".join(sorted(channels.JOINED | channels.AT_ONCE))
        detail = f"a channel is told of none of these; it can be told of: {known}"
        raise InvalidRequest.at("/eventTypes", detail)
    if before and document["url"] == before["url"] and document["enabled"] <= before["enabled"]:
        return document  # an endpoint can be disabled even if its host no longer exists
    try:
        url_policy.check_kept(document["url"])
        host = url_policy.check_url(document["url"], _insecure)
        url_policy.check_resolves(host, _insecure)
    except ValueError as error:
        raise InvalidRequest.at("/url", str(error)) from None
    return document


def create(request: Request) -> Response:
    """Create an endpoint; only this answer has its secret."""
    document = _document(request.body)
    if document["entitlementId"] is not None:
        request.dynamodb.run(_require_entitlement(document["entitlementId"]))
    is_new = idempotency.kept_answer(request)[0] is None
    if is_new and len(request.dynamodb.run(endpoints.all_endpoints())) >= MOST_ENDPOINTS:
        detail = f"there are {MOST_ENDPOINTS} endpoints, which is the most: delete one first"
        raise InvalidRequest.at("", detail)
    nonce = secrets.token_urlsafe(32)
    webhook_id = new_id("whk", nonce)
    item = {
        **document,
        "version": 1,
        "createdAt": request.now_ms,
        "updatedAt": request.now_ms,
    }
    secret = _secret(request.caller.derive(nonce))
    writes = (
        Put(webhook_key(webhook_id), item, "attribute_not_exists(pk)"),
        Put(webhook_secret_key(webhook_id), {"current": secret}, "attribute_not_exists(pk)"),
        endpoints.bump_version(),
        _on_record(request, "webhook.created", webhook_id, item, differences({}, document)),
    )
    response = Response(201, _view(webhook_id, item))
    kept, kept_nonce = idempotency.write_once(request, writes, response, nonce=nonce)
    if kept:
        response = replayed(kept, secret=_secret(request.caller.derive(kept_nonce)))
    else:
        response = response._replace(body={**response.body, "secret": secret})
    location = f"/v1/webhooks/{response.body['webhookId']}"
    return response._replace(headers={**response.headers, "location": location})


def _on_record(
    request: Request,
    kind: str,
    webhook_id: str,
    endpoint: Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
) -> Put:
    """The audit entry of a change of an endpoint. An endpoint belongs to no entitlement."""
    subject = Subject(webhook_id, endpoint["url"])
    return entry_put(request.change, kind, None, subject, changes)


def _require_entitlement(entitlement_id: str) -> Operation[None]:
    try:
        yield from entitlements.require(entitlement_id)
    except NotFound:
        detail = "no entitlement has this id"
        raise InvalidRequest.at("/entitlementId", detail) from None


def _secret(derived: str) -> str:
    """A secret of Standard Webhooks, `whsec_` and 32 bytes in base64."""
    raw = base64.urlsafe_b64decode(derived + "=" * (-len(derived) % 4))
    return "whsec_" + base64.b64encode(raw).decode()


def list_all(request: Request) -> Response:
    """List endpoints in the order of their ids, without secrets."""
    return pagination.respond(request, _listed(request))


def _listed(request: Request) -> Operation[ResultPage]:
    shown, start = yield from page_of(request)
    return ResultPage([_view(item["sk"], item) for item in shown], start)


def page_of(request: Request) -> Operation[tuple[list[Item], list[str] | None]]:
    """The endpoints of the page that is asked for, and where the next page begins."""
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    values = {":pk": webhook_key("").pk}
    query = Query(
        "pk = :pk AND sk > :start" if start else "pk = :pk",
        {**values, ":start": start[0]} if start else values,
    )
    shown, has_more = yield from read_page(query, limit)
    return shown, [shown[-1]["sk"]] if has_more else None


def read(request: Request) -> Response:
    """Read one endpoint."""
    item = request.dynamodb.run(fetch(request.path["webhookId"]))
    return Response(200, _view(request.path["webhookId"], item))


def fetch(webhook_id: str) -> Operation[Item]:
    """The item of an endpoint.

    Raises:
        NotFound.
    """
    item = yield from send(Get(webhook_key(webhook_id)))
    if item is None:
        raise NotFound("No webhook endpoint has this id.")
    return item


def update(request: Request) -> Response:
    """Change an endpoint by a JSON merge patch; enabling it clears why it was disabled."""
    item = request.dynamodb.run(_update(request))
    return Response(200, _view(request.path["webhookId"], item))


def _update(request: Request) -> Operation[Item]:
    webhook_id = request.path["webhookId"]
    for attempt in range(1, ROUNDS + 1):
        item = yield from fetch(webhook_id)
        before = {name: item.get(name) for name in WRITTEN}
        before["format"] = channels.format_of(item)
        document = _document(documents.merge_patch(before, request.body), before)
        if document["entitlementId"] not in (None, before["entitlementId"]):
            yield from _require_entitlement(document["entitlementId"])
        if document == before:
            return item
        changed: Item = {
            **document,
            "version": item["version"] + 1,
            "createdAt": item["createdAt"],
            "updatedAt": request.now_ms,
            "previousSecretExpiresAt": item.get("previousSecretExpiresAt"),
        }
        writes: list[Update | Put | Delete] = [
            Put(
                webhook_key(webhook_id),
                changed,
                "version = :seen",
                values={":seen": item["version"]},
            ),
            endpoints.bump_version(),
            _on_record(
                request, "webhook.updated", webhook_id, changed, differences(before, document)
            ),
        ]
        if document["enabled"] and not before["enabled"]:
            writes.append(Delete(webhook_state_key(webhook_id)))
        elif not document["enabled"]:
            # It was disabled because of its answers: the reason stays.
            names = ("disabledReason", "disabledAt")
            changed |= {name: item[name] for name in names if name in item}
        reply = yield from send(Transact(tuple(writes)))
        if isinstance(reply, Accepted):
            return changed
        yield from send(Pause(attempt))
    raise Contention


def delete(request: Request) -> Response:
    """Delete an endpoint; deliveries that wait for it are not sent any more."""
    webhook_id = request.path["webhookId"]
    endpoint = request.dynamodb.run(fetch(webhook_id))
    writes = (
        Delete(webhook_key(webhook_id), "attribute_exists(pk)"),
        Delete(webhook_secret_key(webhook_id)),
        Delete(webhook_state_key(webhook_id)),
        endpoints.bump_version(),
        _on_record(request, "webhook.deleted", webhook_id, endpoint),
    )
    request.dynamodb.run(write_with_conflict_retry(Transact(writes)))
    return Response(204)


def rotate_secret(request: Request) -> Response:
    """Create a new secret; the old one signs beside it for a while."""
    model = parse(RotationInput, request.body)
    webhook_id = request.path["webhookId"]
    endpoint = request.dynamodb.run(fetch(webhook_id))
    until = request.now + model.overlap_seconds
    nonce = secrets.token_urlsafe(32)
    secret = _secret(request.caller.derive(nonce))
    writes = (
        Update(
            webhook_secret_key(webhook_id),
            "SET previous = #current, previousUntil = :until, #current = :new",
            "attribute_exists(pk)",
            {"#current": "current"},
            {":until": until, ":new": secret},
        ),
        Update(
            webhook_key(webhook_id),
            "SET previousSecretExpiresAt = :until, version = version + :one",
            "version = :seen",
            NO_NAMES,
            {":until": until, ":one": 1, ":seen": endpoint["version"]},
        ),
        endpoints.bump_version(),
        _on_record(request, "webhook.secret_rotated", webhook_id, endpoint),
    )
    view = {"webhookId": webhook_id, "previousSecretExpiresAt": to_rfc3339(until * 1000)}
    kept, kept_nonce = idempotency.kept_answer(request)
    if not kept:
        _check_overlap(endpoint, request.now, model.overlap_seconds)
        kept, kept_nonce = idempotency.write_once(request, writes, Response(201, view), nonce=nonce)
    if kept:
        return replayed(kept, secret=_secret(request.caller.derive(kept_nonce)))
    return Response(201, {**view, "secret": secret})


def _check_overlap(endpoint: Item, now: int, overlap: int) -> None:
    """Two secrets at most: none may end before its announced time, unless that is requested."""
    ends = endpoint.get("previousSecretExpiresAt", 0)
    if overlap and ends > now:
        until_text = to_rfc3339(ends * 1000)
        detail = f"an earlier secret signs until {until_text}; 0 ends both earlier ones at once"
        raise InvalidRequest.at("/overlapSeconds", detail)


# --- Requests to send something -------------------------------------------------------------------


def send_test(request: Request) -> Response:
    """Send a made-up event, marked as a test, to this endpoint alone."""
    kind = parse(WebhookTestInput, request.body).type
    webhook_id = request.path["webhookId"]
    event = webhook_samples.sample(webhook_id, kind, request.now_ms, request.request_id)
    command = {"webhookId": webhook_id, "event": event, "attempt": 0}
    delivery_id = endpoints.delivery_id_of(event)
    return ask(request, command, {"eventId": event["id"], "deliveryId": delivery_id})


def ask(request: Request, command: dict[str, Any], answer: dict[str, Any]) -> Response:
    """Store a request to send something, once per `Idempotency-Key`; 202 with the answer.

    Raises:
        NotFound, InvalidRequest, IdempotencyConflict.
    """
    webhook_id = request.path["webhookId"]
    endpoint = request.dynamodb.run(fetch(webhook_id))
    if not endpoint["enabled"]:
        raise InvalidRequest.at("", "the endpoint is disabled: enable it first")
    item: Item = {"command": json.dumps(command), "ttl": request.now + REQUEST_SECONDS}
    kind = "webhook.resent" if "resend" in command else "webhook.tested"
    writes = (
        Put(webhook_request_key(webhook_id, request.request_id), item),
        _on_record(request, kind, webhook_id, endpoint),
    )
    response = Response(202, {"webhookId": webhook_id, **answer})
    kept, _ = idempotency.write_once(request, writes, response, nonce="")
    return replayed(kept) if kept else response


class WebhookView(TypedDict):
    """A webhook endpoint without its secret."""

    webhookId: str
    url: str
    format: str
    eventTypes: list[str]
    entitlementId: str | None
    customer: str | None
    description: str | None
    enabled: bool
    disabledReason: str | None
    disabledAt: str | None
    createdAt: str
    updatedAt: str


def _view(webhook_id: str, item: Mapping[str, Any]) -> WebhookView:
    disabled_at = item.get("disabledAt")
    return {
        "webhookId": webhook_id,
        "url": item["url"],
        "format": channels.format_of(item),
        "eventTypes": item["eventTypes"],
        "entitlementId": item.get("entitlementId"),
        "customer": item.get("customer"),
        "description": item.get("description"),
        "enabled": item["enabled"],
        "disabledReason": item.get("disabledReason"),
        "disabledAt": None if disabled_at is None else to_rfc3339(disabled_at),
        "createdAt": to_rfc3339(item["createdAt"]),
        "updatedAt": to_rfc3339(item["updatedAt"]),
    }
