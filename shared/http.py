"""API in, API out: routing, credentials, rate limits, input, problems. Once, for every function.

API Gateway has matched the route before a function is called, so `routeKey` names the operation
and no router is needed. A room hands `serve` its functions by operation id.
"""

import base64
import json
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from shared import problems, table, telemetry
from shared.credentials import Caller, Credentials
from shared.ledger import Change
from shared.operations import OPERATIONS, SCOPES, Operation
from shared.problems import InvalidRequest, Problem
from shared.texts import USAGE_KEY
from shared.times import from_rfc3339, now_ms

JSON_TYPES = ("application/json", "application/merge-patch+json")
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
# Parameters of a path that are no ids of ours.
_PATH = {
    "key": re.compile(USAGE_KEY, re.ASCII),
    "seat": re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,1000}"),
    "file": re.compile(r"[a-z0-9-]{1,40}\.[a-z]{2,4}", re.ASCII),
    "token": re.compile(r"[A-Za-z0-9_-]{20,400}", re.ASCII),
}
MAX_DEPTH = 32
# After this no further attempt is begun, so that our own 503 comes before the function's time-out.
REQUEST_SECONDS = 8.0
# A page of a busy license asks about twice a second; some have it open several times.
PORTAL_REQUESTS_PER_MINUTE = 1_200


class Request(NamedTuple):
    """One call, with everything about it checked that the contract fixes for every route.

    `query` holds typed values of known parameters only; `headers` have lower-case names;
    `now_ms` is when the call came in, Unix milliseconds; `public_url` is where people
    reach this API: as the stack was told, or the host that was called, by API Gateway's own word.
    """

    operation: Operation
    url: str
    path: Mapping[str, str]
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    body: Any
    caller: Caller
    request_id: str
    now_ms: int
    table: table.Table
    public_url: str

    @property
    def now(self) -> int:
        """Unix seconds."""
        return self.now_ms // 1000

    @property
    def change(self) -> Change:
        """What this request changes, for the record: who, in which request, when."""
        return Change(self.caller.key_id, self.request_id, self.now_ms)

    def period(self, span: int) -> tuple[int, int]:
        """`from` and `to` of the query, Unix milliseconds; if not given: the last `span` seconds.

        Raises:
            InvalidRequest: reversed.
        """
        until = min(self.query.get("to", self.now + 1), self.now + 1)
        since = self.query.get("from", max(0, until - span))
        if since >= self.query.get("to", since + 1):
            raise InvalidRequest.at("/from", "must be before 'to'", place="query")
        return since * 1000, until * 1000


class Response(NamedTuple):
    """An answer; a `str` or `bytes` is sent as it is, its content type among the headers."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


Handler = Callable[[Request], Response]
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
LambdaHandler = Callable[[dict[str, Any], object], dict[str, Any]]


_ROUTES = {operation.id: route for route, operation in OPERATIONS.items()}


class RateLimits:
    """Requests a minute and credential, counted in this process only: approximate by design.

    The stage's throttle is the hard bound. `limits` is per kind of credential.
    """

    WINDOW = 60

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def admit(self, caller: Caller, now: int) -> dict[str, str]:
        """Count one request and give its headers (draft-ietf-httpapi-ratelimit-headers).

        Raises:
            Throttled: the credential has used up its minute.
        """
        limit = self._limits[caller.kind]
        window, count = self._counts.get(caller.key_id, (0, 0))
        if window != now // self.WINDOW:
            window, count = now // self.WINDOW, 0
        count += 1
        self._counts[caller.key_id] = (window, count)
        self._counts.move_to_end(caller.key_id)
        if len(self._counts) > 10_000:
            self._counts.popitem(last=False)
        wait = self.WINDOW - now % self.WINDOW
        headers = {
            "ratelimit-policy": f'"default";q={limit};w={self.WINDOW}',
            "ratelimit": f'"default";r={max(0, limit - count)};t={wait}',
        }
        if count > limit:
            raise problems.Throttled(
                f"This credential may call {limit} times a minute.",
                headers={**headers, "retry-after": str(wait)},
            )
        return headers


class Context:
    """What a warm process keeps between calls: the table, known keys, counts."""

    def __init__(
        self, environ: Mapping[str, str] = os.environ, door: table.Table | None = None
    ) -> None:
        self.table = door or table.Table.from_environment(environ)
        self.public_url = environ.get("PUBLIC_URL", "")
        self.credentials = Credentials(
            lambda key_id: self.table.execute(table.Get(table.credential_key(key_id))),
            environ.get("BOOTSTRAP_KEY_HASH", ""),
        )
        self.rate_limits = RateLimits(
            {
                "api": int(environ.get("API_KEY_REQUESTS_PER_MINUTE", "6000")),
                "license": int(environ.get("LICENSE_KEY_REQUESTS_PER_MINUTE", "3000")),
                "portal": PORTAL_REQUESTS_PER_MINUTE,
            }
        )


def serve(handlers: Mapping[str, Handler], context: Context | None = None) -> LambdaHandler:
    """The Lambda handler of a room that answers these operations (by id).

    `context` is for tests; a deployed room makes its own from the environment.
    """
    warm = context or Context()
    routes = {_ROUTES[operation_id]: handler for operation_id, handler in handlers.items()}

    def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
        started = time.perf_counter()
        telemetry.begin(context)
        warm.table.answer_within(REQUEST_SECONDS)
        received_ms = now_ms()
        request_id = event["requestContext"]["requestId"]
        # HEAD is GET without the content (RFC 9110, 9.3.2); API Gateway routes it by itself.
        route = re.sub("^HEAD ", "GET ", event["routeKey"])
        is_head = route != event["routeKey"]
        log: dict[str, Any] = {"requestId": request_id, "route": route}
        headers: dict[str, str] = {}
        try:
            if route not in routes:
                raise _unknown_route(event["requestContext"]["http"]["method"], event["rawPath"])
            request = _read(event, OPERATIONS[route], warm, received_ms, headers, log)
            response = routes[route](request)
        except Problem as problem:
            telemetry.count(type(problem).__name__)
            response = _problem(problem, request_id)
        except table.Unavailable as error:
            telemetry.logger.warning("table unavailable", extra={**log, "reason": str(error)})
            telemetry.count("Unavailable")
            response = _problem(problems.Unavailable(), request_id)
        except Exception:
            # The last line of defence: API Gateway's own 500 would not be a problem (RFC 9457).
            telemetry.logger.exception("unexpected error", extra=log)
            telemetry.count("UnexpectedError")
            response = _problem(problems.Internal(), request_id)
        log["status"] = response.status
        log["ms"] = round((time.perf_counter() - started) * 1000, 1)
        telemetry.logger.info("request", extra=log)
        telemetry.flush()
        return _write(response, headers, request_id, is_head=is_head)

    return handle


def _read(
    event: Mapping[str, Any],
    operation: Operation,
    warm: Context,
    received_ms: int,
    headers: dict[str, str],
    log: dict[str, Any],
) -> Request:
    """Check what every route shares, in this order: who, may they, what they sent."""
    given: Mapping[str, str] = event["headers"]
    path: Mapping[str, str] = event.get("pathParameters") or {}
    caller = _NOBODY
    if operation.scopes or operation.portal:
        caller = warm.credentials.check(given.get("authorization"), received_ms / 1000, SCOPES)
        log["keyId"] = caller.key_id
        headers.update(warm.rate_limits.admit(caller, received_ms // 1000))
        _authorize(caller, operation, path)
    for name, value in path.items():
        if not _PATH.get(name, _ID).fullmatch(value):
            raise problems.NotFound("The id in the path is not one of ours.")
    query = _read_query(event.get("queryStringParameters") or {}, operation)
    body = _read_body(event, given, operation) if operation.body else None
    return Request(
        operation, event["rawPath"], path, query, given, body, caller,
        event["requestContext"]["requestId"], received_ms, warm.table,
        warm.public_url or f"https://{event['requestContext'].get('domainName', '')}",
    )  # fmt: skip


_NOBODY = Caller("", "api", frozenset(), None, b"")


def _authorize(caller: Caller, operation: Operation, path: Mapping[str, str]) -> None:
    if caller.kind == "license":
        if not operation.license:
            raise problems.Forbidden("A license key cannot do this.")
        if caller.entitlement_id != path.get("entitlementId"):
            raise problems.NotFound("No entitlement has this id.")
    elif caller.kind == "portal":
        if caller.scopes.isdisjoint(operation.portal):
            raise problems.Forbidden(
                "This needs an administrator's link."
                if operation.portal
                else "A portal link cannot do this."
            )
        if path.get("entitlementId", caller.entitlement_id) != caller.entitlement_id:
            raise problems.NotFound("No entitlement has this id.")
    elif not operation.scopes:
        raise problems.Forbidden("This is for portal links only.")
    elif caller.scopes.isdisjoint(operation.scopes):
        needed = " or ".join(f"'{scope}'" for scope in operation.scopes)
        raise problems.Forbidden(f"This needs an API key with scope {needed}.")


def _read_query(given: Mapping[str, str], operation: Operation) -> dict[str, Any]:
    known = {parameter.name: parameter.kind for parameter in operation.query}
    values: dict[str, Any] = {}
    for name, text in given.items():
        kind = known.get(name)
        value: Any = text
        wrong = ""
        if kind is None:
            wrong = "unknown parameter"
        elif kind == "boolean":
            value = {"true": True, "false": False}.get(text)
            wrong = "must be true or false" if value is None else ""
        elif kind == "integer":
            value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
            wrong = "must be a whole number" if value is None else ""
        elif kind == "time":
            try:
                value = from_rfc3339(text)
            except ValueError as error:
                wrong = str(error)
        elif isinstance(kind, tuple) and text not in kind:
            wrong = f"must be one of {', '.join(kind)}"
        elif not text or len(text) > 2_000:
            wrong = "must be 1 to 2,000 characters"
        if wrong:
            raise InvalidRequest.at(f"/{name[:100]}", wrong, place="query")
        values[name] = value
    return values


def _read_body(event: Mapping[str, Any], headers: Mapping[str, str], operation: Operation) -> Any:
    raw = event.get("body") or ""
    try:
        data = base64.b64decode(raw) if event.get("isBase64Encoded") else raw.encode()
    except ValueError:
        raise InvalidRequest.at("", "not text in UTF-8") from None
    if len(data) > operation.max_body:
        raise problems.PayloadTooLarge(f"At most {operation.max_body} bytes.")
    if not data and operation.body_optional:
        return {}
    _check_media_type(headers)
    try:
        body = json.loads(data.decode(), parse_constant=_no_constant, object_pairs_hook=_once)
    except RecursionError:
        raise InvalidRequest.at("", f"nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeDecodeError:
        raise InvalidRequest.at("", "not text in UTF-8") from None
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} at character {error.pos}"
        raise InvalidRequest.at("", reason) from None
    except ValueError:  # Python's own bound on the digits of an integer
        raise InvalidRequest.at("", "a number has too many digits") from None
    if not isinstance(body, dict):
        raise InvalidRequest.at("", "must be a JSON object")
    _check_texts(body, "", MAX_DEPTH)
    return body


def _check_media_type(headers: Mapping[str, str]) -> None:
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise problems.UnsupportedMediaType("Send the body as it is, without Content-Encoding.")
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in JSON_TYPES:
        raise problems.UnsupportedMediaType("Send 'Content-Type: application/json'.")


def _no_constant(name: str) -> None:
    raise InvalidRequest.at("", f"not JSON: {name}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidRequest.at("", "an object names a member twice")
    return members


def _check_texts(value: Any, pointer: str, depth: int) -> None:
    """Refuse what no store or log can hold: lone surrogates, NUL, endless nesting."""
    if depth == 0:
        raise InvalidRequest.at("", f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        if not _is_storable(value):
            raise InvalidRequest.at(pointer, "holds a lone surrogate or a NUL character")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if not _is_storable(name):
                raise InvalidRequest.at(pointer, "a member's name holds a lone surrogate or NUL")
            escaped = name[:100].replace("~", "~0").replace("/", "~1")
            _check_texts(inner, f"{pointer}/{escaped}", depth - 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check_texts(inner, f"{pointer}/{number}", depth - 1)


def _is_storable(text: str) -> bool:
    return (text.isascii() and "\0" not in text) or not re.search("[\0\ud800-\udfff]", text)


def _unknown_route(method: str, path: str) -> Problem:
    allowed = sorted(
        known.split(" ")[0]
        for known in OPERATIONS
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known.split(" ")[1]), path)
    )
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
