"""Releasing a seat, and the sweep that frees what nobody released."""

from typing import Any

from functions.release import expiry_notices, overdraft_notices
from functions.release.due import do_due
from functions.release.reminders import remind
from functions.release.search_backfill import Backfill
from functions.release.sweeper import sweep
from shared import observability
from shared.api import app
from shared.api.request import Request, Response
from shared.clock import now_ms
from shared.dynamodb.keys import DUE_FOLLOW_UPS, DUE_NOTICES, DUE_OVERDRAFTS, heartbeat_key
from shared.dynamodb.requests import Put
from shared.seats.cache import PoolCache
from shared.seats.release import release_grant

_cache = PoolCache()
_backfill = Backfill()


def release_seat(request: Request) -> Response:
    """Release the grant that the path names."""
    entitlement_id, named = request.path["entitlementId"], request.path["activationId"]
    released = request.dynamodb.run(
        release_grant(entitlement_id, named, request.change, cache=_cache)
    )
    if released:
        observability.count("SeatReleased")
    return Response(204)


# What the schedule's tick does besides the sweep.
DUE = (
    ("notices", DUE_NOTICES, expiry_notices.give_notice),
    ("overdrafts", DUE_OVERDRAFTS, overdraft_notices.give_notice),
    ("reminders", DUE_FOLLOW_UPS, remind),
)
_context = app.Context()
HANDLERS = {"releaseSeat": release_seat}
_serve = app.serve(HANDLERS, _context)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A call of the API, or the schedule's tick."""
    if "routeKey" in event:
        return _serve(event, context)
    observability.begin(context)
    now = now_ms()
    deadline = now + context.get_remaining_time_in_millis() - 5_000
    _context.dynamodb.answer_within((deadline - now) / 1000, is_background=True)
    try:
        # `notify` counts it: an alarm rings if it no longer arrives in the stream.
        _context.dynamodb.execute(Put(heartbeat_key(), {"at": now}))
    except Exception:  # the sweep has work of its own, and an alarm of its own
        observability.logger.exception("heartbeat not written")
    done = sweep(_context.dynamodb, context.aws_request_id, now, deadline)
    try:
        for name, partition, work in DUE:
            done[name] = do_due(_context.dynamodb, partition, work, now // 1000, deadline)
    except Exception:  # they are due again a minute later
        observability.logger.exception("notices or reminders not given")
        observability.count("SweepFailed")
    try:
        done["searchable"] = _backfill.run(_context.dynamodb, deadline)
    except Exception:  # it goes on a minute later
        observability.logger.exception("entitlements not made searchable")
    observability.count("SweepRan")
    observability.logger.info("sweep", extra=done)
    observability.flush()
    return done
