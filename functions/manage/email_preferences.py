"""The link at the end of an e-mail: unsubscribe from them, or subscribe again."""

import html

from shared import signed_tokens
from shared.api.request import Request, Response
from shared.dynamodb.keys import Key, entitlement_key, unsubscribed_key
from shared.dynamodb.requests import Delete, Get, Item, Put
from shared.problems import NotFound
from shared.texts import isolated

_STYLE = "font:18px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem"


def _read(request: Request) -> tuple[str, Key]:
    """The entitlement that a link is about, and the key of what it changes."""
    secret = request.dynamodb.run(signed_tokens.own_secret("unsubscribe"))
    try:
        entitlement_id, address = signed_tokens.unseal(secret, request.path["token"], "unsubscribe")
    except ValueError:
        raise NotFound("This link is not valid, or it is incomplete.") from None
    return entitlement_id, unsubscribed_key(entitlement_id, address)


def show(request: Request) -> Response:
    """Ask first, because mail programs open links by themselves."""
    entitlement_id, key = _read(request)
    gone = request.dynamodb.execute(Get(key))
    return _page(request, entitlement_id, is_gone=gone is not None)


def unsubscribe(request: Request) -> Response:
    """Send no more e-mail about this entitlement to this address (also RFC 8058's one click)."""
    entitlement_id, key = _read(request)
    item: Item = {"at": request.now_ms}
    request.dynamodb.execute(Put(key, item))
    return _page(request, entitlement_id, is_gone=True)


def subscribe(request: Request) -> Response:
    """Send e-mail again."""
    entitlement_id, key = _read(request)
    request.dynamodb.execute(Delete(key))
    return _page(request, entitlement_id, is_gone=False)


def _subject(request: Request, entitlement_id: str) -> str:
    """What the e-mail is about, as HTML: the product and the customer, as far as they are known."""
    item = request.dynamodb.execute(Get(entitlement_key(entitlement_id)))
    if item is None:
        return "this entitlement"
    document = item["document"]
    names = (document["product"], document["customer"]["name"])
    product, customer = (html.escape(isolated(name)) for name in names)
    return f"<b>{product}</b> at <b>{customer}</b>"


def _page(request: Request, entitlement_id: str, *, is_gone: bool) -> Response:
    subject = _subject(request, entitlement_id)
    base = "../" if request.url.endswith("/undo") else ""
    token = request.path["token"]
    if is_gone:
        message = f"You get no more e-mail about {subject}."
        action, label = f"{base}{token}/undo", "Send me mail again"
    else:
        message = f"You get e-mail about {subject} when something happens, at most once an hour."
        action, label = f"{base}{token}", "No more mail"
    return Response(
        200,
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<meta name=robots content=noindex><title>E-mail</title></head>"
        f"<body style='{_STYLE}'><p>{message}</p>"
        f"<form method=post action='{action}'>"
        f"<button style='font:inherit;padding:.4rem 1rem'>{label}</button></form></body></html>",
        {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline';"
            " form-action 'self'; frame-ancestors 'none'",
            "referrer-policy": "no-referrer",
        },
    )
