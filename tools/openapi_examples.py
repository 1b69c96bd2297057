"""Examples of the API description: the requests and answers of the guides, which a test runs."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from shared.api.routes import ROUTES
from tools import ROOT

# In the order in which a reader meets them: later examples use what earlier ones created.
GUIDES = (
    "access",
    "entitlements",
    "seats",
    "usage-limits",
    "changing-entitlements",
    "history",
    "support",
    "events-and-webhooks",
    "portal",
    "console",
    "reports",
    "every-call",
)
BAD_REQUEST = 400  # its answer is an example, what was sent is none
_BLOCK = re.compile(r"^```(http|json \d+)\n(.*?)^```$", re.M | re.S)


class Example(NamedTuple):
    """A request of a guide, with its status and the text of its answer."""

    guide: str
    request: str
    status: int
    answer: str

    @property
    def route(self) -> str:
        """The route that it calls, such as `GET /v1/webhooks/{webhookId}`."""
        method, path = self.request.splitlines()[0].split(" ")
        parts = path.partition("?")[0].split("/")
        for route in ROUTES:
            verb, pattern = route.split(" ")
            names = pattern.split("/")
            if verb == method and len(names) == len(parts):
                pairs = zip(names, parts, strict=True)
                if all(name == part or name.startswith("{") for name, part in pairs):
                    return route
        raise ValueError(f"no route is {method} {path}")

    @property
    def body(self) -> Any:
        """What the request sends; None without a body."""
        sent = self.request.partition("\n\n")[2]
        return json.loads(sent) if sent.strip() else None


def examples() -> list[Example]:
    """Every example, in the order of the guides."""
    found = []
    for guide in GUIDES:
        blocks = _BLOCK.findall((ROOT / f"docs/guides/{guide}.md").read_text())
        requests, answers = blocks[::2], blocks[1::2]
        assert [kind for kind, _ in requests] == ["http"] * len(answers), guide
        found += [
            Example(guide, request, int(kind.split()[1]), answer)
            for (_, request), (kind, answer) in zip(requests, answers, strict=True)
        ]
    return found


def add(paths: dict[str, dict[str, Any]]) -> None:
    """Add the examples to the operations of a description."""
    for number, example in enumerate(examples(), 1):
        method, path = example.route.split(" ")
        operation = paths[path][method.lower()]
        name = f"guide-{number}"
        if example.body is not None and example.status != BAD_REQUEST:
            for content in operation["requestBody"]["content"].values():
                content.setdefault("examples", {})[name] = {"value": example.body}
        if example.answer.strip():
            for content in _contents(operation, example.status):
                content.setdefault("examples", {})[name] = {"value": json.loads(example.answer)}


def _contents(operation: dict[str, Any], status: int) -> Iterator[dict[str, Any]]:
    yield from operation["responses"][str(status)]["content"].values()
