"""API keys, license keys, portal links and console sessions: what each is, and what it may call.

A key is `<key id>.<secret>`. The table holds SHA-256 of the whole key: a secret of 256 random
bits needs no slow hash. The id is public, the secret is shown once.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any

from cachetools import LRUCache

from shared import problems
from shared.api.routes import Route
from shared.problems import LinkExpired, Unauthorized

BOOTSTRAP_ID = "bootstrap"
CACHE_SECONDS = 60
CACHE_SIZE = 2_000
USE_EVERY_MS = 3_600_000  # how exact the last use of an API key is on record
SCHEMES = {"bearer": "api", "license": "license", "portal": "portal", "session": "session"}
_KEY = re.compile(r"([A-Za-z0-9_]{4,40})\.([A-Za-z0-9_-]{20,100})", re.ASCII)


class Caller:
    """Who calls. `kind` is `api`, `session`, `license` or `portal`.

    The last two see one entitlement. `scopes` are an API key's or a session's scopes, or a portal
    link's role; `expires_at` is in Unix seconds. `name` is that of the key, link or person. `actor`
    is whom changes are attributed to: the id of the key or link, or the e-mail address of the
    person who signed in. Answers to a caller who `hides_names` name nobody.
    """

    __slots__ = (
        "_secret",
        "actor",
        "entitlement_id",
        "expires_at",
        "hides_names",
        "key_id",
        "kind",
        "name",
        "scopes",
    )

    def __init__(
        self,
        key_id: str,
        kind: str,
        scopes: frozenset[str],
        entitlement_id: str | None,
        secret: bytes,
        expires_at: int | None = None,
        name: str | None = None,
        *,
        hides_names: bool = False,
        actor: str | None = None,
    ) -> None:
        self.key_id = key_id
        self.actor = actor or key_id
        self.hides_names = hides_names
        self.name = name
        self.kind = kind
        self.scopes = scopes
        self.entitlement_id = entitlement_id
        self.expires_at = expires_at
        self._secret = secret

    def derive(self, nonce: str) -> str:
        """A secret that can be derived again only with this caller's own key and `nonce`.

        So a repeated request is answered with the same new key, although no key is stored.
        """
        digest = hmac.digest(self._secret, nonce.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def hash_key(key: str) -> str:
    """What the table and the deployment parameter store of a key: hex SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()


class Credentials:
    """Checks the `Authorization` header, with a cache of at most 60 seconds.

    `look_up` reads a key's record by its id. `bootstrap_hash` is the hash of the one key that
    exists before any other; empty switches it off. `note_use` records that an API key was used at a
    time (Unix ms); it is called about once an hour for each key.
    """

    def __init__(
        self,
        look_up: Callable[[str], Mapping[str, Any] | None],
        bootstrap_hash: str,
        note_use: Callable[[str, int], None] | None = None,
    ) -> None:
        self._look_up = look_up
        self._note_use = note_use
        self._bootstrap = bootstrap_hash.lower()
        self._cache: LRUCache[str, tuple[float, Mapping[str, Any]]] = LRUCache(CACHE_SIZE)

    def check(self, header: str | None, now: float, all_scopes: tuple[str, ...]) -> Caller:
        """The caller behind a header at `now` (Unix seconds).

        Raises:
            Unauthorized: missing, malformed, unknown, revoked, or a key of another kind.
            LinkExpired: a portal link whose time is over.
        """
        if not header:
            raise Unauthorized(
                "Send 'Authorization: Bearer <API key>', 'License <license key>',"
                " 'Portal <token of a portal link>' or 'Session <console session>'."
            )
        scheme, _, key = header.strip().partition(" ")
        kind = SCHEMES.get(scheme.lower())
        match = _KEY.fullmatch(key.strip())
        if kind is None or match is None:
            raise Unauthorized(
                "The Authorization header is not 'Bearer <API key>', 'License <license key>',"
                " 'Portal <token of a portal link>' or 'Session <console session>'."
            )
        key_id, secret = match.groups()
        offered = hash_key(f"{key_id}.{secret}")
        if key_id == BOOTSTRAP_ID:
            stored, record_kind, scopes, entitlement_id = self._bootstrap, "api", all_scopes, None
            record: Mapping[str, Any] = {}
        else:
            record = self._record(key_id, now)
            stored, record_kind = record.get("hash", ""), record.get("kind", kind)
            scopes, entitlement_id = tuple(record.get("scopes", ())), record.get("entitlementId")
        if not stored or not hmac.compare_digest(stored, offered):
            raise Unauthorized("The key is not known, or it was revoked.")
        if record_kind != kind:
            raise Unauthorized(
                "An API key is sent as 'Bearer', a license key as 'License', a link's token as"
                " 'Portal', a session as 'Session'."
            )
        if kind == "session":
            record = self._session(key_id, record, now)
        expires_at = record.get("expiresAt")
        if expires_at is not None and now >= expires_at:
            raise LinkExpired if kind == "portal" else Unauthorized("The key has expired.")
        if kind == "api" and key_id != BOOTSTRAP_ID:
            self._used(key_id, record, int(now * 1000))
        return Caller(
            key_id,
            kind,
            frozenset(scopes),
            entitlement_id,
            secret.encode(),
            expires_at,
            record.get("name"),
            hides_names=record.get("hidesNames", False),
            actor=record.get("actor"),
        )

    def _used(self, key_id: str, record: Mapping[str, Any], now_ms: int) -> None:
        if self._note_use is None or now_ms - record.get("lastUsedAt", 0) < USE_EVERY_MS:
            return
        self._note_use(key_id, now_ms)
        read_at, _ = self._cache[key_id]
        self._cache[key_id] = (read_at, {**record, "lastUsedAt": now_ms})

    def hash_of(self, key_id: str, now: float) -> str:
        """The hash of an API key's secret, if the key works at `now`; else empty."""
        if key_id == BOOTSTRAP_ID:
            return self._bootstrap
        record = self._record(key_id, now)
        return "" if now >= record.get("expiresAt", now + 1) else str(record.get("hash", ""))

    def _session(self, session_id: str, record: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        """A session's record, if it goes on at `now`.

        Raises:
            Unauthorized: its time is over, nobody used it for too long, or the API key that it was
                made with was revoked.
        """
        if now >= record["idleAt"]:  # as this process knew it; the person may have gone on since
            self._cache.pop(session_id, None)
            record = self._record(session_id, now)
        has_ended = now >= min(record.get("idleAt", 0), record.get("expiresAt", 0))
        key_id = record.get("madeWith")
        # Without its key a session is worth nothing; another secret is another key.
        if has_ended or (key_id and self.hash_of(key_id, now) != record["madeWithHash"]):
            raise Unauthorized("The session has ended: sign in again.")
        return record

    def _record(self, key_id: str, now: float) -> Mapping[str, Any]:
        cached = self._cache.get(key_id)
        if cached and 0 <= now - cached[0] < CACHE_SECONDS:
            return cached[1]
        self._cache.pop(key_id, None)
        record = self._look_up(key_id)
        if record is None:
            return {}
        self._cache[key_id] = (now, record)
        return record


def authorize(caller: Caller, route: Route, path: Mapping[str, str]) -> None:
    """Check that a caller may use a route: scopes, the portal link's role, its own entitlement.

    Raises:
        problems.Forbidden: this kind of caller, or one with these scopes, may not.
        problems.NotFound: the path names an entitlement that is not the caller's.
    """
    if caller.kind == "license":
        if not route.license:
            raise problems.Forbidden("A license key cannot do this.")
        if caller.entitlement_id != path.get("entitlementId", caller.entitlement_id):
            raise problems.NotFound("No entitlement has this id.")
    elif caller.kind == "portal":
        if caller.scopes.isdisjoint(route.portal):
            raise problems.Forbidden(
                "This needs an administrator's link."
                if route.portal
                else "A portal link cannot do this."
            )
        if path.get("entitlementId", caller.entitlement_id) != caller.entitlement_id:
            raise problems.NotFound("No entitlement has this id.")
    else:
        _authorize_vendor(caller, route)


def _authorize_vendor(caller: Caller, route: Route) -> None:
    """Check that an API key or a session may use a route."""
    if not route.scopes:
        whose = "license keys" if route.license else "portal links"
        raise problems.Forbidden(f"This is for {whose} only.")
    if route.only not in ("", caller.kind):
        whose = "sessions of the console" if route.only == "session" else "API keys"
        raise problems.Forbidden(f"This is for {whose} only.")
    if caller.scopes.isdisjoint(route.scopes):
        needed = " or ".join(f"'{scope}'" for scope in route.scopes)
        if caller.kind == "session":
            raise problems.Forbidden(f"This needs scope {needed}, which your role does not have.")
        raise problems.Forbidden(f"This needs an API key with scope {needed}.")
