"""A Postman collection of the API, from `openapi.json`: `python -m tools.postman FILE`.

`openapi-to-postmanv2` fills requests with random values. Here they have the guides' examples, and
what one request answers (ids, a license key) is what the next one uses.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tools import ROOT

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
# The variables of the collection; those without a value are filled by answers.
SECRETS = ("apiKey", "licenseKey", "portalToken", "session")
CREDENTIALS = {
    "apiKey": "Bearer {{apiKey}}",
    "licenseKey": "License {{licenseKey}}",
    "portalLink": "Portal {{portalToken}}",
    "session": "Session {{session}}",
}
# Values of the paths that no answer has.
GIVEN = {"externalId": "order-4711", "key": "exports", "seat": "alice@acme.com"}
# Keeps what an answer names: its ids, those of the first item of a list, and new keys.
KEEP = """
const found = pm.response.code < 300 && pm.response.text() ? pm.response.json() : {};
const first = Array.isArray(found.items) ? (found.items[0] || {}) : found;
for (const [name, value] of Object.entries(first)) {
  // The entitlement of a delivery may be that of a test event.
  if (name === "entitlementId" && "deliveryId" in first) continue;
  if (name.endsWith("Id") && typeof value === "string") pm.collectionVariables.set(name, value);
}
if (String(found.key).startsWith("lic_")) pm.collectionVariables.set("licenseKey", found.key);
if (found.session) pm.collectionVariables.set("session", found.session);
if (String(found.url).includes("#plk_")) {
  pm.collectionVariables.set("portalToken", found.url.split("#")[1]);
}
""".strip()


def collection(description: dict[str, Any]) -> dict[str, Any]:
    """The collection of a description, with a folder for each tag."""
    folders: dict[str, list[dict[str, Any]]] = {}
    names: set[str] = set()
    for path, methods in description["paths"].items():
        for method, given in methods.items():
            if not _is_for_programs(given):
                continue
            folders.setdefault(given["tags"][0], []).append(_request(method, path, given))
            names |= {each["name"] for each in given.get("parameters", ()) if each["in"] == "path"}
    return {
        "info": {
            "name": "Overdraft",
            "description": description["info"]["description"],
            "version": description["info"]["version"],
            "schema": SCHEMA,
        },
        "variable": [
            {"key": "baseUrl", "value": "https://licenses.example.com"},
            *({"key": name, "value": "", "type": "secret"} for name in SECRETS),
            *({"key": name, "value": GIVEN.get(name, "")} for name in sorted(names)),
        ],
        "event": [_script("test", KEEP)],
        "item": [{"name": name, "item": requests} for name, requests in folders.items()],
    }


def _is_for_programs(given: dict[str, Any]) -> bool:
    """Whether a request answers JSON, or nothing; the others are pages."""
    return any(
        status == "204" or "application/json" in answer.get("content", {})
        for status, answer in given["responses"].items()
        if status[0] == "2"
    )


def _request(method: str, path: str, given: dict[str, Any]) -> dict[str, Any]:
    parameters = given.get("parameters", ())
    query = [
        {
            "key": each["name"],
            "value": "",
            "description": each.get("description", ""),
            "disabled": True,
        }
        for each in parameters
        if each["in"] == "query"
    ]
    filled = path.replace("{", "{{").replace("}", "}}")
    request: dict[str, Any] = {
        "method": method.upper(),
        "description": given.get("description", ""),
        "auth": {"type": "noauth"},
        "header": [*_credential(given), *map(_header, parameters)],
        "url": {
            "raw": "{{baseUrl}}" + filled,
            "host": ["{{baseUrl}}"],
            "path": filled.strip("/").split("/"),
            "query": query,
        },
    }
    request["header"] = [each for each in request["header"] if each]
    body = given.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        examples: list[Any] = [each["value"] for each in body.get("examples", {}).values()]
        example = examples[0] if examples else {}
        request["header"].append({"key": "Content-Type", "value": "application/json"})
        text = json.dumps(example, indent=2, ensure_ascii=False)
        request["body"] = {"mode": "raw", "raw": text.replace("$API_KEY", "{{apiKey}}")}
    expected = [int(status) for status in given["responses"] if status[0] in "23"]
    name = f"{method.upper()} {path}"
    check = f'pm.test("{name}", () => pm.expect({expected}).to.include(pm.response.code));'
    return {"name": given["summary"], "request": request, "event": [_script("test", check)]}


def _credential(given: dict[str, Any]) -> list[dict[str, Any]]:
    for kind, value in CREDENTIALS.items():
        if {kind: []} in given.get("security", ()):
            return [{"key": "Authorization", "value": value}]
    return []


def _header(parameter: dict[str, Any]) -> dict[str, Any] | None:
    if parameter["in"] != "header":
        return None
    header = {"key": parameter["name"], "description": parameter.get("description", "")}
    if parameter["name"] == "Idempotency-Key":
        return {**header, "value": "{{$guid}}"}
    return {**header, "value": "", "disabled": True}


def _script(listen: str, text: str) -> dict[str, Any]:
    return {"listen": listen, "script": {"type": "text/javascript", "exec": text.splitlines()}}


def write(target: Path) -> None:
    """Write the collection into a file."""
    made = collection(json.loads((ROOT / "openapi.json").read_text()))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
