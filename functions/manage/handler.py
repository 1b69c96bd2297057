"""The vendor's API: everything that no other function answers."""

import gzip
from functools import lru_cache
from pathlib import Path
from typing import Any

from functions.manage import (
    audit_trail,
    by_external_id,
    console_sessions,
    credentials,
    customer_caps,
    deliveries,
    email_preferences,
    entitlement_lists,
    entitlements,
    events,
    explanations,
    follow_up,
    history,
    lease_keys,
    report_files,
    scheduled_changes,
    seat_requests,
    seats,
    stack,
    true_up,
    usage,
    webhooks,
)
from shared import observability
from shared.api import app, negotiation, request
from shared.api.request import Request, Response
from shared.clock import now_ms
from shared.dynamodb.keys import secret_key
from shared.dynamodb.requests import Get


@lru_cache(maxsize=1)
def _description() -> str:
    # At the root of the repository, and of the function's package.
    return (Path(__file__).parents[2] / "openapi.json").read_text()


@lru_cache(maxsize=1)
def _packed() -> bytes:
    return gzip.compress(_description().encode(), mtime=0)


def _describe(request: Request) -> Response:
    """The description, compressed: API Gateway does not do it."""
    headers = {
        "content-type": "application/json",
        "cache-control": "max-age=300",
        "vary": "accept-encoding",
    }
    if negotiation.encoding(request.headers.get("accept-encoding"), ("gzip",)) is None:
        return Response(200, _description(), headers)
    return Response(200, _packed(), {**headers, "content-encoding": "gzip"})


def _health(request: Request) -> Response:
    request.dynamodb.execute(Get(secret_key("page-token")))
    return Response(200, {"status": "ok"})


HANDLERS: dict[str, request.Handler] = {
    "createEntitlement": entitlements.create,
    "listEntitlements": entitlement_lists.list_entitlements,
    "getEntitlementByExternalId": by_external_id.read,
    "putEntitlementByExternalId": by_external_id.put,
    "getEntitlement": entitlements.read,
    "updateEntitlement": entitlements.update,
    "deleteEntitlement": entitlements.delete,
    "listActivations": entitlement_lists.list_activations,
    "getUsage": usage.read,
    "listUsagePeriods": usage.periods,
    "listDatedConsumptions": usage.dated_consumptions,
    "correctUsage": usage.correct,
    "listCorrections": usage.corrections,
    "listSeats": seats.list_seats,
    "getSeat": seats.read_seat,
    "releaseSeatOf": seats.release,
    "erasePerson": seats.erase,
    "getUsageHistory": history.usage_history,
    "listOverdrafts": history.overdrafts,
    "listDenials": history.denials,
    "explainDenial": explanations.explain,
    "listChanges": audit_trail.of_entitlement,
    "listAudit": audit_trail.of_all,
    "listEmails": history.emails,
    "getFollowUp": follow_up.read,
    "updateFollowUp": follow_up.update,
    "listFollowUpEntries": follow_up.entries,
    "getTrueUp": true_up.read,
    "decideTrueUpLine": true_up.decide,
    "listTrueUpDecisions": true_up.list_decisions,
    "createWebhook": webhooks.create,
    "listWebhooks": webhooks.list_all,
    "getWebhook": webhooks.read,
    "updateWebhook": webhooks.update,
    "deleteWebhook": webhooks.delete,
    "rotateWebhookSecret": webhooks.rotate_secret,
    "testWebhook": webhooks.send_test,
    "listDeliveries": deliveries.list_all,
    "getDelivery": deliveries.read,
    "listDeliveriesOfEvent": deliveries.list_of_event,
    "resendDelivery": deliveries.resend,
    "resendFailedDeliveries": deliveries.resend_failed,
    "listEvents": events.list_all,
    "getStack": stack.read,
    "openReportFile": report_files.open_file,
    "showSubscription": email_preferences.show,
    "unsubscribe": email_preferences.unsubscribe,
    "subscribeAgain": email_preferences.subscribe,
    "createPortalLink": credentials.create_portal_link,
    "listPortalLinks": credentials.list_portal_links,
    "revokePortalLink": credentials.revoke_portal_link,
    "scheduleChange": scheduled_changes.create,
    "listScheduledChanges": scheduled_changes.list_all,
    "getScheduledChange": scheduled_changes.read,
    "cancelScheduledChange": scheduled_changes.cancel,
    "setCustomerCap": customer_caps.update,
    "requestSeats": seat_requests.create,
    "listSeatRequests": seat_requests.list_all,
    "updateSeatRequest": seat_requests.update,
    "createLicenseKey": credentials.create_license_key,
    "listLicenseKeys": credentials.list_license_keys,
    "revokeLicenseKey": credentials.revoke_license_key,
    "createApiKey": credentials.create_api_key,
    "listApiKeys": credentials.list_api_keys,
    "revokeApiKey": credentials.revoke_api_key,
    "getLicense": entitlements.read_own,
    "leaseKeys": lease_keys.read,
    "listFollowUps": follow_up.list_all,
    "createSession": console_sessions.create,
    "listSessions": console_sessions.list_all,
    "endSession": console_sessions.end,
    "getSession": console_sessions.read_own,
    "continueSession": console_sessions.go_on,
    "endOwnSession": console_sessions.end_own,
    "createSignInLink": console_sessions.create_link,
    "health": _health,
    "describe": _describe,
}
_context = app.Context()
_serve = app.serve(HANDLERS, _context)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A call of the API, or the schedule's tick."""
    if "routeKey" in event:
        return _serve(event, context)
    observability.begin(context)
    left_ms = context.get_remaining_time_in_millis() - 5_000
    _context.dynamodb.answer_within(left_ms / 1000, is_background=True)
    done: dict[str, Any] = scheduled_changes.apply_due(
        _context.dynamodb, context.aws_request_id, now_ms, now_ms() + left_ms
    )
    observability.count("ScheduledChangesRan")
    observability.logger.info("scheduled changes", extra=done)
    observability.flush()
    return done
