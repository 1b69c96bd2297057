"""A request as a handler sees it, and the checks that every route shares."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from shared import problems
from shared.api.auth import Caller, Credentials
from shared.api.routes import Route
from shared.audit import Change
from shared.clock import from_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.problems import InvalidRequest
from shared.texts import EXTERNAL_ID, PERIOD, USAGE_KEY

JSON_TYPES = ("application/json", "application/merge-patch+json")
ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
# Path parameters that are not ids of ours.
PATH_PARAMETERS = {
    "key": re.compile(USAGE_KEY, re.ASCII),
    "externalId": re.compile(EXTERNAL_ID, re.ASCII),
    "seat": re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,1000}"),
    "lineId": re.compile(
        rf"20[0-9]{{2}}-(0[1-9]|1[0-2])\.[A-Z]{{3}}\.(seats|usage\.{USAGE_KEY[1:-1]})", re.ASCII
    ),
    "file": re.compile(r"[A-Za-z0-9-]{1,40}\.[a-z]{2,4}", re.ASCII),
    "token": re.compile(r"[A-Za-z0-9_-]{20,400}", re.ASCII),
}
_PERIOD = re.compile(PERIOD, re.ASCII)
MAX_DEPTH = 32


class Request(NamedTuple):
    """One call, with everything checked that every route shares.

    `query` has typed values of known parameters only; `headers` have lower-case names; `now_ms` is
    when the call came in, Unix milliseconds. `public_url` is where people reach this API: the
    stack's parameter, or the host that was called, according to API Gateway. `credentials` checks
    others than the one that the call came with.
    """

    route: Route
    url: str
    path: Mapping[str, str]
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    body: Any
    caller: Caller
    request_id: str
    now_ms: int
    dynamodb: DynamoDBClient
    public_url: str
    credentials: Credentials

    @property
    def now(self) -> int:
        """Unix seconds."""
        return self.now_ms // 1000

    @property
    def change(self) -> Change:
        """Who makes changes in this request, and when, for the audit trail."""
        return Change(self.caller.actor, self.request_id, self.now_ms, self.caller.name)

    def period(self, span: int) -> tuple[int, int]:
        """`from` and `to` of the query, Unix milliseconds; by default the last `span` seconds.

        Raises:
            InvalidRequest: `from` is not before `to`.
        """
        until = min(self.query.get("to", self.now + 1), self.now + 1)
        since = self.query.get("from", max(0, until - span))
        if since >= self.query.get("to", since + 1):
            raise InvalidRequest.at("/from", "must be before 'to'", place="query")
        return since * 1000, until * 1000


class Response(NamedTuple):
    """An answer. A `str` or `bytes` is sent as it is, with its content type among the headers."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


Handler = Callable[[Request], Response]


def read_query(given: Mapping[str, str], route: Route) -> dict[str, Any]:
    """The query's known parameters with typed values.

    Raises:
        InvalidRequest: names every parameter that is unknown or wrong.
    """
    known = {parameter.name: parameter.kind for parameter in route.query}
    values: dict[str, Any] = {}
    read = known.keys() & given.keys() if route.any_query else given
    for name in read:
        value, wrong = _value_of(given[name], known.get(name))
        if wrong:
            raise InvalidRequest.at(f"/{name[:100]}", wrong, place="query")
        values[name] = value
    return values


def _value_of(text: str, kind: str | tuple[str, ...] | None) -> tuple[Any, str]:
    """The value of a parameter, and what is wrong with it."""
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
    elif kind == "period" and not _PERIOD.fullmatch(text):
        wrong = "must be a month, such as 2026-11, or a quarter, such as 2026-Q4"
    elif isinstance(kind, tuple) and text not in kind:
        wrong = f"must be one of {', '.join(kind)}"
    elif not text or len(text) > 2_000:
        wrong = "must be 1 to 2,000 characters"
    return value, wrong


def read_body(event: Mapping[str, Any], headers: Mapping[str, str], route: Route) -> Any:
    """The JSON object in the body.

    Raises:
        PayloadTooLarge, UnsupportedMediaType, InvalidRequest.
    """
    raw = event.get("body") or ""
    try:
        data = base64.b64decode(raw) if event.get("isBase64Encoded") else raw.encode()
    except ValueError:
        raise InvalidRequest.at("", "not text in UTF-8") from None
    if len(data) > route.max_body:
        raise problems.PayloadTooLarge(f"At most {route.max_body} bytes.")
    if not data and route.body_optional:
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
    except ValueError:  # Python's own limit on the digits of an integer
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
    """Refuse what no database or log can store: lone surrogates, NUL, endless nesting."""
    if depth == 0:
        raise InvalidRequest.at("", f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        if not _is_storable(value):
            raise InvalidRequest.at(pointer, "contains a lone surrogate or a NUL character")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if not _is_storable(name):
                raise InvalidRequest.at(pointer, "a member's name contains a lone surrogate or NUL")
            escaped = name[:100].replace("~", "~0").replace("/", "~1")
            _check_texts(inner, f"{pointer}/{escaped}", depth - 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check_texts(inner, f"{pointer}/{number}", depth - 1)


def _is_storable(text: str) -> bool:
    return (text.isascii() and "\0" not in text) or not re.search("[\0\ud800-\udfff]", text)
