"""Give a seat back, and the sweep that frees what nobody gave back."""

import time
from typing import Any

from functions.release.sweep import sweep
from shared import http, ledger, telemetry
from shared.http import Request, Response
from shared.ledger import Change


def release_seat(request: Request) -> Response:
    """Give back the grant that the path names."""
    change = Change(request.caller.key_id, request.request_id, request.now_ms)
    released = request.table.run(
        ledger.release(request.path["entitlementId"], request.path["activationId"], change)
    )
    if released:
        telemetry.count("SeatReleased")
    return Response(204)


_context = http.Context()
ROUTES = {"releaseSeat": release_seat}
_serve = http.serve(ROUTES, _context)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A call of the API, or the schedule's tick."""
    if "routeKey" in event:
        return _serve(event, context)
    _context.table.answer_within(context.get_remaining_time_in_millis() / 1000)
    now_ms = time.time_ns() // 1_000_000
    deadline = now_ms + context.get_remaining_time_in_millis() - 5_000
    done = sweep(_context.table, context.aws_request_id, now_ms, deadline)
    telemetry.logger.info("sweep", extra=done)
    telemetry.flush()
    return done
