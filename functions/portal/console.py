"""The vendor's console: its page, as `functions/portal/web` is built into `static/`."""

import os
from functools import lru_cache
from html import escape
from string import Template
from urllib.parse import urlsplit

from functions.portal.page import STATIC, Look
from shared import observability
from shared.api.request import Request, Response
from shared.openid import Description, Provider, Unreachable

# Besides this host, the page asks the provider's token endpoint, while somebody signs in.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'"
)
UNREACHABLE = "unreachable"

_look = Look(os.environ)
_provider = Provider.from_environment(os.environ)


@lru_cache(maxsize=1)
def _template() -> Template:
    return Template((STATIC / "console.html").read_text())


def show(_: Request) -> Response:
    """The page. It names the provider with which people sign in, if the stack has one."""
    return _render(_look, _provider)


def _render(look: Look, provider: Provider | None) -> Response:
    described: Description | None = None
    client_id, state = "", ""
    if provider is not None:
        client_id = provider.client_id
        try:
            described = provider.describe()
        except Unreachable as error:
            state = UNREACHABLE
            observability.logger.warning("no sign-in provider", extra={"problem": str(error)})
    token_endpoint = described["token_endpoint"] if described else ""
    body = _template().substitute(
        vendor=escape(look.vendor),
        accent=escape(look.accent),
        issuer=escape(described["issuer"] if described else state),
        authorize=escape(described["authorization_endpoint"] if described else ""),
        token=escape(token_endpoint),
        client=escape(client_id),
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": f"{POLICY} {_origin(token_endpoint)}".rstrip(),
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "x-frame-options": "DENY",
    }
    return Response(200, body, headers)


def _origin(address: str) -> str:
    """The origin of an address, as a policy names it; characters of a policy itself end it."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    is_plain = all(each.isalnum() or each in ".-:[]" for each in host)
    return f"{parts.scheme}://{host}" if parts.scheme in ("http", "https") and is_plain else ""
