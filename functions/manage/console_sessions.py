"""Sessions of the console: signing in, going on, signing out; single-use codes of links."""

import hmac
import secrets
from typing import NamedTuple, TypedDict

from functions.manage.sign_in import sign_in
from shared.api import pagination
from shared.api.auth import hash_key
from shared.api.request import Request, Response
from shared.api.routes import SCOPES
from shared.api.schemas.base import parse
from shared.api.schemas.console import SessionInput, SignInLinkInput
from shared.audit import Change, Subject, differences, entry_put
from shared.clock import from_duration, to_rfc3339
from shared.dynamodb.keys import credential_key
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    Delete,
    Get,
    Item,
    Operation,
    Put,
    Transact,
    Update,
    Value,
    send,
)
from shared.ids import SESSIONS, SIGN_IN_CODES, new_id
from shared.problems import InvalidRequest, NotFound, Unauthorized

SESSION_LIST = "SESSION"
SESSION_SECONDS = 8 * 3_600
IDLE_SECONDS = 3_600
# An idle end is moved at most so often.
TOUCH_SECONDS = 300
# How long a used token is remembered: longer than it could be used.
USED_SECONDS = 3_600
# How long an ended session stays on the list.
LISTED_SECONDS = 86_400
CODE_SECONDS = 600
MAX_CODE_SECONDS = 86_400


class SessionView(TypedDict):
    """A session without its secret."""

    sessionId: str
    actor: str
    name: str | None
    scopes: list[str]
    signedInWith: str
    createdAt: str
    idleAt: str
    expiresAt: str


class Entrance(NamedTuple):
    """Who comes in: whom changes are attributed to, with which scopes, and on the strength of what.

    `made_with` is the API key, with the hash of its secret, for as long as which the session goes
    on. `once` is the write that keeps the same proof from being used again.
    """

    kind: str
    actor: str
    name: str | None
    scopes: tuple[str, ...]
    made_with: tuple[str, str] | None
    once: Put | Delete | None


def create(request: Request) -> Response:
    """Sign in; only this answer has the session's credential."""
    model = parse(SessionInput, request.body)
    given = [name for name in ("api_key", "code", "id_token") if getattr(model, name) is not None]
    if len(given) != 1:
        raise InvalidRequest.at("", "must have one of: apiKey, code, idToken")
    if model.api_key is not None:
        entrance = _by_api_key(request, model.api_key)
    elif model.code is not None:
        entrance = _by_code(request, model.code)
    else:
        entrance = _by_token(request, str(model.id_token))
    return Response(201, _begin(request, entrance))


def _by_api_key(request: Request, key: str) -> Entrance:
    caller = request.credentials.check(f"Bearer {key}", request.now, SCOPES)
    made_with = (caller.key_id, hash_key(key.strip()))
    return Entrance(
        "apiKey", caller.key_id, caller.name, tuple(sorted(caller.scopes)), made_with, None
    )


def _by_code(request: Request, code: str) -> Entrance:
    code_id, _, _ = code.partition(".")
    key = credential_key(code_id)
    record = request.dynamodb.execute(Get(key)) if code_id.startswith(SIGN_IN_CODES) else None
    if (
        record is None
        or record["kind"] != "code"
        or not hmac.compare_digest(record["hash"], hash_key(code))
        or request.now >= record["expiresAt"]
        or request.credentials.hash_of(record["madeWith"], request.now) != record["madeWithHash"]
    ):
        raise Unauthorized("The link does not sign in any more: it works once, for a limited time.")
    return Entrance(
        "link",
        record["actor"],
        record.get("name"),
        tuple(record["scopes"]),
        (record["madeWith"], record["madeWithHash"]),
        Delete(key, "attribute_exists(pk)"),
    )


def _by_token(request: Request, token: str) -> Entrance:
    person = sign_in().check(token, request.now)
    used: dict[str, Value] = {"kind": "token", "ttl": request.now + USED_SECONDS}
    once = Put(credential_key(f"used_{person.token}"), used, "attribute_not_exists(pk)")
    return Entrance("openid", person.email, person.name, person.scopes, None, once)


def _begin(request: Request, entrance: Entrance) -> dict[str, object]:
    session_id = new_id(SESSIONS)
    session = f"{session_id}.{secrets.token_urlsafe(32)}"
    scopes: list[Value] = [*entrance.scopes]
    expires_at = request.now + SESSION_SECONDS
    item: Item = {
        "kind": "session",
        "keyId": session_id,
        "hash": hash_key(session),
        "actor": entrance.actor,
        "name": entrance.name,
        "scopes": scopes,
        "signedInWith": entrance.kind,
        "createdAt": request.now_ms,
        "expiresAt": expires_at,
        "idleAt": request.now + IDLE_SECONDS,
        "listKey": SESSION_LIST,
        "listSort": f"{request.now_ms:013d}#{session_id}",
        "ttl": expires_at + LISTED_SECONDS,
    }
    if entrance.made_with:
        item["madeWith"], item["madeWithHash"] = entrance.made_with
    change = Change(entrance.actor, request.request_id, request.now_ms, entrance.name)
    writes = (
        Put(credential_key(session_id), item, "attribute_not_exists(pk)"),
        entry_put(
            change,
            "session.created",
            None,
            Subject(session_id, entrance.name),
            differences({}, {"signedInWith": entrance.kind}),
        ),
        *([entrance.once] if entrance.once else []),
    )
    reply = request.dynamodb.run(write_with_conflict_retry(Transact(writes)))
    if not isinstance(reply, Accepted):
        raise Unauthorized("This was used to sign in before: sign in again.")
    return {**_view(item), "session": session}


def create_link(request: Request) -> Response:
    """Make a link that signs in once, with the scopes of the API key that makes it."""
    model = parse(SignInLinkInput, request.body)
    caller = request.caller
    seconds = from_duration(model.expires_in) if model.expires_in else CODE_SECONDS
    if seconds > MAX_CODE_SECONDS:
        raise InvalidRequest.at("/expiresIn", "must be at most P1D")
    code_id = new_id(SIGN_IN_CODES)
    code = f"{code_id}.{secrets.token_urlsafe(32)}"
    scopes: list[Value] = [*sorted(caller.scopes)]
    item: Item = {
        "kind": "code",
        "keyId": code_id,
        "hash": hash_key(code),
        "actor": caller.actor,
        "name": caller.name,
        "scopes": scopes,
        "madeWith": caller.key_id,
        "madeWithHash": request.credentials.hash_of(caller.key_id, request.now),
        "createdAt": request.now_ms,
        "expiresAt": request.now + seconds,
        "ttl": request.now + seconds,
    }
    writes = (
        Put(credential_key(code_id), item, "attribute_not_exists(pk)"),
        entry_put(request.change, "sign_in_link.created", None, Subject(code_id)),
    )
    request.dynamodb.run(write_with_conflict_retry(Transact(writes)))
    body = {
        # In the fragment, which no browser sends: so it is in no log.
        "url": f"{request.public_url}/console#code={code}",
        "expiresAt": to_rfc3339((request.now + seconds) * 1000),
    }
    return Response(201, body)


def read_own(request: Request) -> Response:
    """Who is signed in, with which scopes, until when."""
    return Response(200, _view(request.dynamodb.run(_fetch(request.caller.key_id))))


def go_on(request: Request) -> Response:
    """Somebody is at the page, so the session is not idle. Its own end stays where it is."""
    return Response(200, _view(request.dynamodb.run(_go_on(request.caller.key_id, request.now))))


def _go_on(session_id: str, now: int) -> Operation[Item]:
    record = yield from _fetch(session_id)
    idle_at = min(now + IDLE_SECONDS, record["expiresAt"])
    if idle_at - record["idleAt"] < TOUCH_SECONDS:
        return record
    reply = yield from write_with_conflict_retry(
        Update(
            credential_key(session_id),
            "SET idleAt = :idle",
            "idleAt > :now",
            NO_NAMES,
            {":idle": idle_at, ":now": now},
        )
    )
    if not isinstance(reply, Accepted):
        raise Unauthorized("The session has ended: sign in again.")
    return {**record, "idleAt": idle_at}


def _fetch(session_id: str) -> Operation[Item]:
    record = yield from send(Get(credential_key(session_id)))
    if record is None or record["kind"] != "session":
        raise Unauthorized("The session has ended: sign in again.")
    found: Item = record
    return found


def end_own(request: Request) -> Response:
    """Sign out."""
    return _end(request, request.caller.key_id)


def end(request: Request) -> Response:
    """End somebody's session. Warm processes may know it for another 60 seconds."""
    return _end(request, request.path["sessionId"])


def _end(request: Request, session_id: str) -> Response:
    key = credential_key(session_id)
    record = request.dynamodb.execute(Get(key))
    if record is None or record["kind"] != "session":
        raise NotFound("No session has this id.")
    subject = Subject(session_id, record.get("name") or record["actor"])
    writes = (
        Delete(key, "attribute_exists(pk)"),
        entry_put(request.change, "session.ended", None, subject),
    )
    request.dynamodb.run(write_with_conflict_retry(Transact(writes)))
    return Response(204)


def list_all(request: Request) -> Response:
    """Sessions, newest first, also those that ended within the last day."""
    return pagination.respond(request, pagination.newest_first(request, SESSION_LIST, _view))


def _view(item: Item) -> SessionView:
    return {
        "sessionId": item["keyId"],
        "actor": item["actor"],
        "name": item.get("name"),
        "scopes": item["scopes"],
        "signedInWith": item["signedInWith"],
        "createdAt": to_rfc3339(item["createdAt"]),
        "idleAt": to_rfc3339(item["idleAt"] * 1000),
        "expiresAt": to_rfc3339(item["expiresAt"] * 1000),
    }
