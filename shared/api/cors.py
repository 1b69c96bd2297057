"""Cross-origin requests (CORS) of pages of a vendor: only with portal links, on origins it names.

A page in a browser cannot keep a secret: it must not hold an API key or a license key. So no answer
to one of these may be read by a page of another origin. Source: the Fetch standard, section 3.2.
"""

from collections.abc import Collection, Mapping

from shared.api.request import Response
from shared.api.routes import ROUTES, routes_at

# What a page may send and read besides what every page may.
_SENT = "authorization, content-type, idempotency-key, if-match"
_READ = (
    "etag, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, x-request-id"
)
_REMEMBERED_SECONDS = 600


def answer_headers(
    given: Mapping[str, str], route_key: str, origins: Collection[str]
) -> dict[str, str]:
    """The headers with which a page may read an answer; none if it may not.

    `given` are the request's headers, `origins` those that the stack's parameter names.
    """
    origin = given.get("origin")
    route = ROUTES.get(route_key)
    scheme = given.get("authorization", "").partition(" ")[0].lower()
    if origin not in origins or route is None or not route.portal or scheme != "portal":
        return {}
    return {
        "access-control-allow-origin": str(origin),
        "access-control-expose-headers": _READ,
        "vary": "origin",
    }


def preflight(given: Mapping[str, str], path: str, origins: Collection[str]) -> Response | None:
    """The answer to a browser that asks whether a page may send a request; None: it may not."""
    origin, method = given.get("origin"), given.get("access-control-request-method", "")
    if origin not in origins:
        return None
    allowed = {verb for verb, route in routes_at(path).items() if route.portal}
    if ("GET" if method == "HEAD" else method) not in allowed:
        return None
    return Response(
        204,
        headers={
            "access-control-allow-origin": str(origin),
            "access-control-allow-methods": ", ".join(sorted(allowed)),
            "access-control-allow-headers": _SENT,
            "access-control-max-age": str(_REMEMBERED_SECONDS),
            "vary": "origin, access-control-request-method, access-control-request-headers",
        },
    )
