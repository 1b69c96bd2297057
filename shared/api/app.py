"""The API of every function: routing, credentials, rate limits, input and problems, in one place.

API Gateway has matched the route before a function is called, so `routeKey` names the route and no
router is needed. A function gives `serve` its handlers by route id.
"""

import base64
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from shared import mail_links, observability, problems
from shared.api import cors
from shared.api.auth import USE_EVERY_MS, Caller, Credentials, authorize
from shared.api.rate_limit import RateLimits
from shared.api.request import (
    ID,
    PATH_PARAMETERS,
    Handler,
    Request,
    Response,
    read_body,
    read_query,
)
from shared.api.routes import ROUTES, SCOPES, Route, routes_at
from shared.clock import now_ms
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import credential_key
from shared.dynamodb.requests import NO_NAMES, DynamoDBError, Get, Item, Unavailable, Update
from shared.problems import Problem

# No attempt begins later, so that our own 503 comes before the function's time-out.
REQUEST_SECONDS = 8.0
# A page for people asks about twice a second, and may be open several times.
PAGE_REQUESTS_PER_MINUTE = 1_200
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
LambdaHandler = Callable[[dict[str, Any], object], dict[str, Any]]


_ROUTE_KEYS = {route.id: route_key for route_key, route in ROUTES.items()}


class Context:
    """What a warm process keeps between calls: the client, known keys, counts."""

    def __init__(
        self, environ: Mapping[str, str] = os.environ, dynamodb: DynamoDBClient | None = None
    ) -> None:
        self.dynamodb = dynamodb or DynamoDBClient.from_environment(environ)
        self.origins = frozenset(environ.get("PORTAL_API_ORIGINS", "").split())
        self.public_url = environ.get("PUBLIC_URL", "")
        # Whether links in e-mails are known here: only where such a link may do something.
        self.knows_mail_links = False
        self.credentials = Credentials(
            self._credential, environ.get("BOOTSTRAP_KEY_HASH", ""), self._note_use
        )
        self.rate_limits = RateLimits(
            {
                "api": int(environ.get("API_KEY_REQUESTS_PER_MINUTE", "6000")),
                "license": int(environ.get("LICENSE_KEY_REQUESTS_PER_MINUTE", "3000")),
                "portal": PAGE_REQUESTS_PER_MINUTE,
                "session": PAGE_REQUESTS_PER_MINUTE,
            }
        )

    def _credential(self, key_id: str) -> Item | None:
        """The record of a key or a link by its id."""
        if self.knows_mail_links and key_id.startswith(mail_links.PREFIX):
            return self.dynamodb.run(mail_links.record_of(key_id))
        return self.dynamodb.execute(Get(credential_key(key_id)))

    def _note_use(self, key_id: str, at_ms: int) -> None:
        """Record that an API key is used. A call does not fail because of that."""
        write = Update(
            credential_key(key_id),
            "SET lastUsedAt = :now",
            # Not again within the hour, and not of a key that has been revoked.
            "attribute_exists(pk) AND (attribute_not_exists(lastUsedAt) OR lastUsedAt <= :before)",
            NO_NAMES,
            {":now": at_ms, ":before": at_ms - USE_EVERY_MS},
        )
        try:
            self.dynamodb.execute(write)
        except (Unavailable, DynamoDBError):
            observability.logger.warning("use of a key was not recorded", extra={"keyId": key_id})


def serve(handlers: Mapping[str, Handler], context: Context | None = None) -> LambdaHandler:
    """The Lambda handler of a function that answers these routes (by id).

    `context` is for tests; a deployed function makes its own from the environment.
    """
    warm = context or Context()
    handlers_by_route = {
        _ROUTE_KEYS[operation_id]: handler for operation_id, handler in handlers.items()
    }
    warm.knows_mail_links = any("viewer" in ROUTES[key].portal for key in handlers_by_route)

    def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
        started = time.perf_counter()
        observability.begin(context)
        warm.dynamodb.answer_within(REQUEST_SECONDS)
        received_ms = now_ms()
        request_id = event["requestContext"]["requestId"]
        # HEAD is GET without the content (RFC 9110, 9.3.2); API Gateway routes it by itself.
        route_key = re.sub("^HEAD ", "GET ", event["routeKey"])
        is_head = route_key != event["routeKey"]
        log: dict[str, Any] = {"requestId": request_id, "route": route_key}
        headers: dict[str, str] = {}
        try:
            if warm.origins:
                headers |= cors.answer_headers(event["headers"], route_key, warm.origins)
            if route_key not in handlers_by_route:
                response = _answer_unknown(event, warm)
            else:
                request = _read(event, ROUTES[route_key], warm, received_ms, headers, log)
                response = handlers_by_route[route_key](request)
        except Problem as problem:
            observability.count(type(problem).__name__)
            response = _problem(problem, request_id)
        except Unavailable as error:
            observability.logger.warning("table unavailable", extra={**log, "reason": str(error)})
            observability.count("Unavailable")
            response = _problem(problems.Unavailable(), request_id)
        except Exception:
            # The last line of defence: API Gateway's own 500 would not be a problem (RFC 9457).
            observability.logger.exception("unexpected error", extra=log)
            observability.count("UnexpectedError")
            response = _problem(problems.Internal(), request_id)
        log["status"] = response.status
        log["ms"] = round((time.perf_counter() - started) * 1000, 1)
        observability.logger.info("request", extra=log)
        observability.flush()
        return _write(response, headers, request_id, is_head=is_head)

    return handle


def _read(
    event: Mapping[str, Any],
    route: Route,
    warm: Context,
    received_ms: int,
    headers: dict[str, str],
    log: dict[str, Any],
) -> Request:
    """Check what every route shares, in this order: who calls, what they may do, what they sent."""
    given: Mapping[str, str] = event["headers"]
    path: Mapping[str, str] = event.get("pathParameters") or {}
    caller = _NOBODY
    if not route.is_open:
        caller = warm.credentials.check(given.get("authorization"), received_ms / 1000, SCOPES)
        log["keyId"] = caller.key_id
        headers.update(warm.rate_limits.admit(caller, received_ms // 1000))
        authorize(caller, route, path)
    for name, value in path.items():
        if not PATH_PARAMETERS.get(name, ID).fullmatch(value):
            detail = f"The path has no valid {name}: take it from the answer that made it."
            if name == "activationId":
                detail += " To release by person, use POST /v1/entitlements/{id}/seats/release."
            raise problems.NotFound(detail)
    query = read_query(event.get("queryStringParameters") or {}, route)
    body = read_body(event, given, route) if route.body else None
    return Request(
        route,
        event["rawPath"],
        path,
        query,
        given,
        body,
        caller,
        event["requestContext"]["requestId"],
        received_ms,
        warm.dynamodb,
        warm.public_url or f"https://{event['requestContext'].get('domainName', '')}",
        warm.credentials,
    )


_NOBODY = Caller("", "api", frozenset(), None, b"")


def _answer_unknown(event: Mapping[str, Any], warm: Context) -> Response:
    """The answer to a request that is none of our routes: a browser may ask what it may send.

    Raises:
        MethodNotAllowed, NotFound.
    """
    method, path = event["requestContext"]["http"]["method"], event["rawPath"]
    if method == "OPTIONS":
        answer = cors.preflight(event["headers"], path, warm.origins)
        if answer:
            return answer
    raise _unknown_route(method, path)


def _unknown_route(method: str, path: str) -> Problem:
    allowed = sorted(routes_at(path))
    if "GET" in allowed:
        allowed = sorted([*allowed, "HEAD"])
    if allowed and method not in allowed:
        return problems.MethodNotAllowed(allowed)
    return problems.NotFound("No route of this API matches; see /docs.")


def _problem(problem: Problem, request_id: str) -> Response:
    return Response(
        problem.status,
        problem.body(request_id),
        {"content-type": "application/problem+json", **problem.headers},
    )


def _write(
    response: Response, headers: Mapping[str, str], request_id: str, *, is_head: bool = False
) -> dict[str, Any]:
    body = response.body
    is_binary = isinstance(body, bytes)
    if isinstance(body, bytes):
        body = base64.b64encode(body).decode()
    elif body is not None and not isinstance(body, str):
        body = _encode(body)
    content_type = {} if body is None else {"content-type": "application/json"}
    return {
        "statusCode": response.status,
        "headers": {
            **content_type,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "x-request-id": request_id,
            **headers,
            **response.headers,
        },
        "body": "" if body is None or is_head else body,
        "isBase64Encoded": is_binary and not is_head,
    }
