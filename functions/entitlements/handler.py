"""The vendor's desk: entitlements and keys; who holds seats; the API's description."""

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from functions.entitlements import (
    counts,
    desk,
    docs_page,
    evidence,
    keys,
    listing,
    people,
    report_files,
    sales,
    seat_requests,
    unsubscribe,
    webhooks,
)
from shared.api import app, negotiation, request
from shared.api.request import Request, Response
from shared.dynamodb.keys import secret_key
from shared.dynamodb.requests import Get


@lru_cache(maxsize=1)
def _description() -> str:
    # At the root of the repository, and of the function's package.
    return (Path(__file__).parents[2] / "openapi.json").read_text()


@lru_cache(maxsize=2)
def _packed(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


def _large(request: Request, text: str, headers: dict[str, str]) -> Response:
    """A text that is large and open to everybody: packed, since API Gateway does not do it."""
    headers = {**headers, "cache-control": "max-age=300", "vary": "accept-encoding"}
    if negotiation.encoding(request.headers.get("accept-encoding"), ("gzip",)) is None:
        return Response(200, text, headers)
    return Response(200, _packed(text), {**headers, "content-encoding": "gzip"})


def _describe(request: Request) -> Response:
    return _large(request, _description(), {"content-type": "application/json"})


@lru_cache(maxsize=1)
def _page() -> str:
    description: dict[str, Any] = json.loads(_description())
    return docs_page.render(description)


def _docs(request: Request) -> Response:
    return _large(
        request,
        _page(),
        {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
        },
    )


def _health(request: Request) -> Response:
    request.table.execute(Get(secret_key("page-token")))
    return Response(200, {"status": "ok"})


ROUTES: dict[str, request.Handler] = {
    "createEntitlement": desk.create,
    "listEntitlements": listing.list_entitlements,
    "getEntitlement": desk.read,
    "updateEntitlement": desk.update,
    "deleteEntitlement": desk.delete,
    "listActivations": listing.list_activations,
    "getUsage": counts.read,
    "listUsagePeriods": counts.periods,
    "correctUsage": counts.correct,
    "listCorrections": counts.corrections,
    "listSeats": people.list_seats,
    "getSeat": people.read_seat,
    "eraseSeat": people.erase,
    "getUsageHistory": evidence.usage_history,
    "listOverdrafts": evidence.overdrafts,
    "listDenials": evidence.denials,
    "listEmails": evidence.emails,
    "getFollowUp": sales.read,
    "updateFollowUp": sales.update,
    "listFollowUpEntries": sales.entries,
    "createWebhook": webhooks.create,
    "listWebhooks": webhooks.list_all,
    "getWebhook": webhooks.read,
    "updateWebhook": webhooks.update,
    "deleteWebhook": webhooks.delete,
    "rotateWebhookSecret": webhooks.rotate_secret,
    "testWebhook": webhooks.send_test,
    "listDeliveries": webhooks.list_deliveries,
    "resendDelivery": webhooks.resend,
    "resendFailedDeliveries": webhooks.resend_failed,
    "openReportFile": report_files.open_file,
    "showSubscription": unsubscribe.show,
    "unsubscribe": unsubscribe.unsubscribe,
    "subscribeAgain": unsubscribe.subscribe,
    "createPortalLink": keys.create_portal_link,
    "listPortalLinks": keys.list_portal_links,
    "revokePortalLink": keys.revoke_portal_link,
    "requestSeats": seat_requests.create,
    "listSeatRequests": seat_requests.list_all,
    "createLicenseKey": keys.create_license_key,
    "listLicenseKeys": keys.list_license_keys,
    "revokeLicenseKey": keys.revoke_license_key,
    "createApiKey": keys.create_api_key,
    "listApiKeys": keys.list_api_keys,
    "revokeApiKey": keys.revoke_api_key,
    "health": _health,
    "describe": _describe,
    "readDocs": _docs,
}
handler = app.serve(ROUTES)
