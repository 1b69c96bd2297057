"""Checking the ID token of an OpenID provider: who signed in, and in which roles.

The provider is a parameter of the stack. Its description and its keys are read once an hour.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.openid import Provider, Unreachable
from shared.problems import Forbidden, Unauthorized, Unavailable
from shared.texts import CONTROL

if TYPE_CHECKING:
    from jwt import PyJWKClient

# A role of the console, and the scopes that it gives.
ROLES: dict[str, tuple[str, ...]] = {
    "sales": ("report",),
    "support": ("support",),
    "admin": ("admin", "manage", "report", "support"),
}
# Signatures with the provider's public key. None with a shared secret, and never "none".
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
MAX_AGE = 300
# How far the clocks of the provider and of Lambda may be apart.
LEEWAY = 60
KEYS_SECONDS = 3_600
FETCH_SECONDS = 3


class Person(NamedTuple):
    """Who signed in. `token` stands for the token, so that it can be used once."""

    email: str
    name: str | None
    scopes: tuple[str, ...]
    token: str


class SignIn:
    """Sign-in with one provider, by the stack's parameters."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.provider = Provider.from_environment(environ)
        self._claim = environ.get("CONSOLE_ROLES_CLAIM", "") or "roles"
        self._roles = roles_of(environ.get("CONSOLE_ROLES", ""))
        self._keys: PyJWKClient | None = None

    def check(self, token: str, now: int) -> Person:
        """The person behind an ID token at `now`, Unix seconds.

        Raises:
            Unauthorized: no provider, or not a valid, fresh token of it for this console.
            Forbidden: the person has no role here.
            Unavailable: the provider cannot be reached.
        """
        import jwt  # noqa: PLC0415 - with cryptography it takes 60 ms, and few calls need it

        if self.provider is None:
            raise Unauthorized("This stack has no OpenID provider: sign in with an API key.")
        try:
            key = self._key_client().get_signing_key_from_jwt(token)
            claims = jwt.decode(
                token,
                key,
                list(ALGORITHMS),
                audience=self.provider.client_id,
                issuer=self.provider.issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWKClientConnectionError, Unreachable):
            raise Unavailable("The sign-in provider cannot be reached: try again.") from None
        except jwt.PyJWTError:
            raise Unauthorized("The token is not a valid ID token for this console.") from None
        audience, party = claims["aud"], claims.get("azp", self.provider.client_id)
        # OpenID Connect Core 1.0, section 3.1.3.7: a token for several is for the one it names.
        is_shared = isinstance(audience, list) and len(audience) > 1 and "azp" not in claims
        if is_shared or party != self.provider.client_id:
            raise Unauthorized("The token is not a valid ID token for this console.")
        if not now - MAX_AGE - LEEWAY <= claims["iat"] <= now + LEEWAY:
            raise Unauthorized("The token was issued more than five minutes ago: sign in again.")
        return Person(
            _email(claims),
            _name(claims.get("name")),
            self._scopes(claims),
            hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest(),
        )

    def _key_client(self) -> "PyJWKClient":
        from jwt import PyJWKClient  # noqa: PLC0415

        if self._keys is None:
            assert self.provider is not None
            address = self.provider.describe()["jwks_uri"]
            self._keys = PyJWKClient(
                address, cache_keys=False, lifespan=KEYS_SECONDS, timeout=FETCH_SECONDS
            )
        return self._keys

    def _scopes(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        values = values_at(claims, self._claim)
        roles = {self._roles[value] for value in values if value in self._roles}
        scopes = {scope for role in roles for scope in ROLES[role]}
        if not scopes:
            raise Forbidden(
                f"You signed in, but have no role here: the claim '{self._claim}' of your account"
                " has none of the values that ConsoleRoles names. Ask the administrator of this"
                " stack."
            )
        return tuple(sorted(scopes))


def roles_of(text: str) -> dict[str, str]:
    """Which role each value of the claim gives: `Licensing Admins=admin,Helpdesk=support`.

    Without such a map the values are the roles themselves.
    """
    if not text:
        return {role: role for role in ROLES}
    pairs = (each.rpartition("=") for each in text.split(","))
    return {value.strip(): role.strip() for value, _, role in pairs if role.strip() in ROLES}


def values_at(claims: Mapping[str, Any], name: str) -> list[str]:
    """The values of a claim, or of a member of it, such as `realm_access.roles`.

    A claim whose whole name has dots, such as an address, comes first.
    """
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]  # one value, which may have spaces
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _email(claims: Mapping[str, Any]) -> str:
    email = claims.get("email")
    if not isinstance(email, str) or "@" not in email or len(email) > 254 or CONTROL.search(email):
        raise Forbidden(
            "Your account has no e-mail address in the token: the scope email is needed."
        )
    if claims.get("email_verified") in (False, "false"):
        raise Forbidden("The provider has not verified your e-mail address.")
    return email


def _name(name: object) -> str | None:
    if not isinstance(name, str) or CONTROL.search(name):
        return None
    return name.strip()[:200] or None


@lru_cache(maxsize=1)
def sign_in() -> SignIn:
    """The sign-in of this stack."""
    return SignIn(os.environ)
