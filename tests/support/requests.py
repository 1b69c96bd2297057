"""Requests as API Gateway hands them to a function."""

import base64
import json
from typing import Any

from tests.support.seats import unique_numbers

BOOTSTRAP_KEY = "bootstrap." + "b" * 40


def event(
    route: str,
    path: dict[str, str] | None = None,
    body: Any = None,
    *,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    key: str | None = BOOTSTRAP_KEY,
    encoded: bool = False,
) -> dict[str, Any]:
    """An API Gateway event (HTTP API, payload 2.0), as API Gateway makes it of a request."""
    method, url = route.split(" ") if " " in route else ("GET", route)
    for name, value in (path or {}).items():
        url = url.replace("{" + name + "}", value)
    sent = {"content-type": "application/json"} if body is not None else {}
    if key:
        scheme = {"lic_": "License", "plk_": "Portal", "ses_": "Session"}.get(key[:4], "Bearer")
        sent["authorization"] = f"{scheme} {key}"
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    if encoded and text is not None:
        text = base64.b64encode(text.encode()).decode()
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": url,
        "rawQueryString": "",
        "headers": {**sent, **(headers or {})},
        **({"queryStringParameters": query} if query else {}),
        **({"pathParameters": path} if path else {}),
        **({"body": text} if text is not None else {}),
        "requestContext": {
            "requestId": f"req-{next(unique_numbers)}",
            "http": {"method": method, "path": url},
        },
        "isBase64Encoded": encoded,
    }
