"""Make `openapi.json` from the operations and the models: `python -m tools.openapi`."""

import importlib
import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared import problems
from shared.api import schemas
from shared.api.routes import PORTAL_ROLES, ROUTES, SCOPES, Parameter, Route
from shared.api.schemas import events
from shared.api.schemas.base import ProblemBody
from shared.texts import PERIOD
from tools import ROOT, VERSION, openapi_examples
from tools.openapi_schemas import tidy

FILE = ROOT / "openapi.json"
HTTP = {200: "OK", 201: "Created", 202: "Accepted", 204: "Done", 302: "Found"}
ABOUT = """Soft license limits: seats beyond what was purchased are granted up to a hard cap, \
marked as overdraft; beyond the cap they are denied, exactly, and the denial is on record.

Errors are problems (RFC 9457, application/problem+json). Unknown members, query parameters \
included, are refused by name. Lists answer items and nextPageToken.

API Gateway itself answers 413, 429 and 503 when a body is over about 6 MB, the stage's \
throttle is exceeded, or it cannot serve; those answers are not problems."""
PATH_PARAMETERS = {
    "entitlementId": "The entitlement.",
    "externalId": "Your own id of the entitlement.",
    "activationId": "The grant, as answered when the seat was taken.",
    "key": "The key of a usage limit, such as `exports`.",
    "keyId": "The key's id, the part before the dot.",
    "seat": "A seatId (percent-encoded) or a seat key.",
    "webhookId": "The webhook endpoint.",
    "deliveryId": "The delivery.",
    "token": "As in the link.",
    "reportId": "The report.",
    "requestId": "The request for more seats.",
    "trueUpId": "The statement.",
    "scheduledChangeId": "The scheduled change.",
    "lineId": "A line of a true-up, such as `2026-10.EUR.seats`.",
    "linkId": "The portal link's id, the part of its token before the dot.",
    "sessionId": "The session's id, the part of its credential before the dot.",
    "file": "As the page names it.",
}
# How the operations are grouped for readers: the resources that their paths name.
TAGS = {
    "Entitlements": ("entitlements", "by-external-id", "scheduled-changes"),
    "Seats": ("activations", "seats", ".well-known"),
    "Usage limits": ("usage",),
    "History": (
        "usage-history",
        "overdrafts",
        "denials",
        "explain",
        "graph",
        "denial-summary",
        "forecast",
    ),
    "Portal": ("portal-links", "seat-requests", "customer-cap", "portal"),
    "Reports": ("reports", "report-files"),
    "Audit": ("changes", "audit"),
    "Follow-up": ("follow-up", "follow-ups"),
    "True-up": ("true-up", "true-ups"),
    "Webhooks": ("webhooks", "deliveries", "events"),
    "E-mail": ("emails", "unsubscribe"),
    "Keys": ("license-keys", "license", "api-keys"),
    "Console": ("console",),
    "Service": ("health", "stack", "openapi.json", "docs"),
}
TAGS_ABOUT = {
    "Entitlements": "What a customer purchased, and on which terms.",
    "Seats": "Take, renew and release seats; who holds and held them.",
    "Usage limits": "Consume and correct what is counted, such as exports.",
    "History": "Usage over time, overdraft episodes and denials, for 13 months.",
    "Portal": "Links for a customer's people, what they see, their requests for more.",
    "Reports": "The report for sales, every month and on demand.",
    "Audit": "Who changed what, for 13 months.",
    "Follow-up": "What sales did about an overdraft.",
    "True-up": "What an overdraft costs, and what was decided about it.",
    "Webhooks": "Events, the endpoints that get them, and their deliveries.",
    "E-mail": "What was mailed, and the page that ends it.",
    "Keys": "API keys of the vendor, license keys of an entitlement.",
    "Console": "The vendor's console: its page, and the sessions of the people who use it.",
    "Service": "Health, how the stack was deployed, and this description.",
}
HEADERS = {
    "Idempotency-Key": "1 to 255 visible ASCII characters, no spaces. The same request with the"
    " same key within 24 hours gets the same answer.",
    "If-None-Match": "Only `*`: create, never change; answers 412 if it exists.",
    "If-Match": "The ETag of the version to change; another version answers 412.",
}


def _problem_types() -> dict[str, type[problems.Problem]]:
    return {kind.type: kind for kind in problems.kinds()}


# Where a header is not optional.
NEEDED = {("consumeUsage", "Idempotency-Key"): " Required, except for a dry run."}


def models() -> dict[str, type[BaseModel]]:
    """Every schema by its name, from all modules of `shared.api.schemas`."""
    found: dict[str, type[BaseModel]] = {}
    for module in pkgutil.iter_modules(schemas.__path__, f"{schemas.__name__}."):
        members = vars(importlib.import_module(module.name))
        found |= {
            name: value
            for name, value in members.items()
            if isinstance(value, type) and issubclass(value, BaseModel)
        }
    return found


def describe() -> dict[str, Any]:
    """The whole description, OpenAPI 3.1."""
    used = {
        name
        for route in ROUTES.values()
        for name in (route.body, *(model for _, model in route.answers))
        if name
    }
    bodies = {route.body for route in ROUTES.values()}
    known = models()
    wanted: list[tuple[type[BaseModel], Any]] = [
        (known[name], "validation" if name in bodies else "serialization") for name in sorted(used)
    ]
    wanted.append((ProblemBody, "serialization"))
    wanted += [(model, "validation") for model in events.EVENTS.values()]
    _, described = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for route_key, route in ROUTES.items():
        method, path = route_key.split(" ")
        paths.setdefault(path, {})[method.lower()] = _operation(path, route)
    openapi_examples.add(paths)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Overdraft", "version": VERSION, "description": ABOUT},
        # Relative to where the description was read from: the stack's own API.
        "servers": [{"url": ".", "description": "The stack that this description comes from."}],
        "tags": [{"name": name, "description": TAGS_ABOUT[name]} for name in TAGS],
        "paths": paths,
        "webhooks": {kind: {"post": _webhook(kind)} for kind in events.EVENTS},
        "components": {
            "schemas": tidy(described["$defs"]),
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `KEY_ID.SECRET`. The header is"
                    " `Authorization: Bearer` and the key; in a form, enter the key alone.",
                },
                "licenseKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "The whole header: the word `License`, a space, and"
                    " the license key, `License KEY_ID.SECRET`.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "The whole header: the word `Session`, a space, and the"
                    " credential of a console session.",
                },
                "portalLink": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "The whole header: the word `Portal`, a space, and the token,"
                    " which is what follows the `#` in a portal link.",
                },
            },
        },
    }


def _webhook(kind: str) -> dict[str, Any]:
    name = events.name_of(kind)
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {
        "operationId": name,
        "summary": kind,
        "description": "Signed by Standard Webhooks. On EventBridge the same is the `detail`.",
        "security": [],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"2XX": {"description": "Any 2xx: it was received."}},
    }


def _operation(path: str, route: Route) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": route.id,
        "summary": route.summary,
        "description": _who(route),
        "tags": [_tag(path)],
    }
    security: list[dict[str, list[str]]] = []
    if route.scopes:
        kinds = {"": ("apiKey", "session"), "api": ("apiKey",), "session": ("session",)}
        security += [{kind: []} for kind in kinds[route.only]]
    if route.license:
        security.append({"licenseKey": []})
    if route.portal:
        security.append({"portalLink": []})
    described["security"] = security
    parameters = [*_parameters(path, route)]
    if parameters:
        described["parameters"] = parameters
    if route.body:
        schema = {"$ref": f"#/components/schemas/{route.body}"}
        types = ["application/json"]
        if route.body.endswith("Patch"):
            types.append("application/merge-patch+json")
        described["requestBody"] = {
            "required": not route.body_optional,
            "content": {kind: {"schema": schema} for kind in types},
        }
    described["responses"] = _responses(route)
    return described


def _tag(path: str) -> str:
    named = [part for part in path.split("/") if part and part != "v1" and part[0] != "{"]
    resource = named[1] if named[0] == "entitlements" and len(named) > 1 else named[0]
    return next(tag for tag, resources in TAGS.items() if resource in resources)


def _who(route: Route) -> str:
    who = []
    if route.scopes:
        kinds = {"": "an API key or a console session", "api": "an API key"}
        kind = kinds.get(route.only, "a console session")
        is_any = route.scopes == SCOPES
        who.append(kind if is_any else f"{kind} with scope {' or '.join(route.scopes)}")
    if route.license:
        who.append("the entitlement's license key")
    if route.portal:
        roles = "" if route.portal == PORTAL_ROLES else f" of role {route.portal[0]}"
        who.append(f"a portal link{roles}")
    return f"Needs {', or '.join(who)}." if who else "Open to everybody."


def _parameters(path: str, route: Route) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": PATH_PARAMETERS[name],
            "schema": {"type": "string"},
        }
    for parameter in route.query:
        yield {
            "name": parameter.name,
            "in": "query",
            "description": parameter.about,
            "schema": _query_schema(parameter),
        }
    for name in route.headers:
        yield {
            "name": name,
            "in": "header",
            "description": HEADERS[name] + NEEDED.get((route.id, name), ""),
            "schema": {"type": "string"},
        }


def _query_schema(parameter: Parameter) -> dict[str, Any]:
    if isinstance(parameter.kind, tuple):
        return {"type": "string", "enum": list(parameter.kind)}
    if parameter.name == "limit":
        return {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}
    if parameter.kind == "time":
        return {"type": "string", "format": "date-time"}
    if parameter.kind == "period":
        return {"type": "string", "pattern": PERIOD}
    return {"type": parameter.kind}


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, model in route.answers:
        response: dict[str, Any] = {"description": HTTP[status]}
        if model:
            schema = {"$ref": f"#/components/schemas/{model}"}
            response["content"] = {"application/json": {"schema": schema}}
        responses[str(status)] = response
    # API Gateway's own throttle, on every route; its answer is no problem.
    responses["429"] = {"description": "Too many requests."}
    types = _problem_types()
    by_status: dict[int, list[str]] = {}
    for name in _problem_names(route):
        by_status.setdefault(types[name].status, []).append(name)
    for status, names in sorted(by_status.items()):
        responses[str(status)] = {
            "description": " ".join(f"{name}: {types[name].title}" for name in names),
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}
            },
        }
    return responses


def _problem_names(route: Route) -> Iterator[str]:
    if route.portal:
        yield "link-expired"
    if not route.is_open:
        yield from ("unauthorized", "forbidden", "throttled", "contention", "unavailable")
        yield "invalid-request"
    if route.body:
        yield from ("payload-too-large", "unsupported-media-type")
    yield from route.problems
    yield "internal"


def text() -> str:
    """The description as it is committed."""
    return json.dumps(describe(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    target.write_text(text())
    print(f"wrote {target}")
