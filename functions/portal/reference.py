"""The API reference: a viewer's page, as `functions/portal/web` is built into `static/`."""

from functools import lru_cache

from functions.portal.page import STATIC
from shared.api.request import Request, Response

# The viewer sets styles on elements, and draws its icons from data.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "max-age=300",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


@lru_cache(maxsize=1)
def _page() -> str:
    return (STATIC / "reference.html").read_text()


def show(_: Request) -> Response:
    """The page; it reads `openapi.json` by itself."""
    return Response(200, _page(), HEADERS)
