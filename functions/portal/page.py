"""The portal's page and its files, as `functions/portal/web` is built into `static/`."""

import os
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from pathlib import Path
from string import Template

from shared.api import negotiation
from shared.api.request import Request, Response
from shared.problems import NotFound

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
ENCODINGS = {"br": ".br", "gzip": ".gz"}
# Scripts, styles and data come from this host alone.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors "
)


class Look:
    """The look of the page by the stack's parameters: the vendor's name, accent colour and logo."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.vendor = environ.get("PORTAL_VENDOR_NAME", "")
        self.accent = environ.get("PORTAL_ACCENT_COLOR", "")
        self.logo = environ.get("PORTAL_LOGO", "")
        self.origins = environ.get("PORTAL_EMBED_ORIGINS", "").split()


_look = Look(os.environ)


@lru_cache(maxsize=1)
def _template() -> Template:
    return Template((STATIC / "page.html").read_text())


def _render(look: Look, root: str, ancestors: str) -> Response:
    """The page; `root` leads from its address to that of the API."""
    logo = f'<img class="logo" src="{escape(look.logo)}" alt="">' if look.logo else ""
    body = _template().substitute(
        root=root,
        files=f"{root}portal/",
        vendor=escape(look.vendor),
        accent=escape(look.accent),
        logo=logo,
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": POLICY + ancestors,
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
    }
    if ancestors == "'none'":
        headers["x-frame-options"] = "DENY"
    return Response(200, body, headers)


def show(_: Request) -> Response:
    """The page in a window of its own."""
    return _render(_look, "", "'none'")


def embed(_: Request) -> Response:
    """The page in a frame, on a page of one of the allowed origins."""
    return _render(_look, "../", " ".join(_look.origins) or "'none'")


def read_file(request: Request) -> Response:
    """A script or a style. Its name has a hash of its content: it can be cached for good."""
    path = STATIC / request.path["file"]
    kind = TYPES.get(path.suffix)
    if kind is None or path.parent != STATIC or not path.is_file():
        raise NotFound("The page has no such file.")
    headers = {
        "content-type": kind,
        "cache-control": "public, max-age=31536000, immutable",
        "vary": "accept-encoding",
    }
    name = negotiation.encoding(request.headers.get("accept-encoding"), tuple(ENCODINGS))
    if name is None:
        return Response(200, path.read_text(), headers)
    packed = path.with_name(path.name + ENCODINGS[name])
    return Response(200, packed.read_bytes(), {**headers, "content-encoding": name})
