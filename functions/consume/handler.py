"""Consume of a usage limit: `POST /v1/entitlements/{entitlementId}/usage/{key}`."""

from typing import Any

from cachetools import LRUCache

from shared import observability
from shared.api import app
from shared.api.denial_help import DenialHelp
from shared.api.idempotency import header_of, replayed
from shared.api.request import Request, Response
from shared.problems import InvalidRequest
from shared.usage import sharded
from shared.usage.consumption import Outcome
from shared.usage.counter import MAX_QUANTITY, Counter
from shared.usage.encoding import request_key, time_of
from shared.usage.views import ConsumptionView, consumption_view


class BusyLogs:
    """The limits that this process last saw busy, with the number of their log: a hint only.

    If it is right, it saves a refused write for each request. If it is wrong, it costs one.
    """

    SIZE = 2_000

    def __init__(self) -> None:
        self._seen: LRUCache[tuple[str, str], int] = LRUCache(self.SIZE)

    def get(self, limit: tuple[str, str]) -> int | None:
        """The log number last seen on a limit that was busy."""
        return self._seen.get(limit)

    def note(self, limit: tuple[str, str], counter: Counter, now_ms: int) -> None:
        """Remember whether a counter was busy."""
        self._seen.pop(limit, None)
        if counter.is_busy(now_ms):
            self._seen[limit] = counter.log_number


_busy_logs = BusyLogs()
_cache = sharded.LimitCache()
_denial_help = DenialHelp()


def consume(request: Request) -> Response:
    """Consume a quantity, all or nothing, once per `Idempotency-Key`."""
    quantity = read_quantity(request.body)
    is_dry_run = bool(request.query.get("dryRun"))
    header = header_of(request)
    key = request_key(request.caller.derive("Idempotency-Key"), header) if header else None
    limit = (request.path["entitlementId"], request.path["key"])
    if is_dry_run:
        with _denial_help.added(request):
            outcome = request.dynamodb.run(sharded.preview(*limit, key, quantity, request.change))
        return Response(200, {**_view(limit[1], outcome, request), "dryRun": True})
    if key is None:
        raise InvalidRequest.at(
            "/Idempotency-Key",
            "is required, so that a repeated request consumes once",
            place="header",
        )
    # A key that contains its time needs no look at its archive item.
    busy_log = _busy_logs.get(limit) if time_of(key) is None else None
    with _denial_help.added(request):
        outcome = request.dynamodb.run(
            sharded.consume(*limit, key, quantity, request.change, busy_log=busy_log, cache=_cache)
        )
    if outcome.counter:
        _busy_logs.note(limit, outcome.counter, request.now_ms)
    response = Response(200, _view(limit[1], outcome, request))
    if outcome.is_replay:
        return replayed(response)
    observability.count(
        "UsageOverdraftConsumed" if outcome.consumed.overdraft_quantity else "UsageConsumed"
    )
    return response


def _view(key: str, outcome: Outcome, request: Request) -> ConsumptionView:
    counter = outcome.counter
    clock = counter.as_of(request.now).clock_at(request.now) if counter else None
    return consumption_view(key, outcome.consumed, clock)


def read_quantity(body: dict[str, Any]) -> int:
    """The quantity in a body; checked by hand, as in `activate`, for the sake of start-up.

    Raises:
        InvalidRequest: names every member that is wrong.
    """
    errors = [
        {"pointer": f"/{name[:100]}", "detail": "unknown field"}
        for name in body
        if name != "quantity"
    ]
    quantity: Any = body.get("quantity")
    if quantity is None:
        errors.append({"pointer": "/quantity", "detail": "is required: the quantity to consume"})
    elif type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
        detail = f"must be a whole number from 1 to {MAX_QUANTITY}"
        errors.append({"pointer": "/quantity", "detail": detail})
    if errors:
        raise InvalidRequest(errors)
    return int(quantity)


HANDLERS = {"consumeUsage": consume}
handler = app.serve(HANDLERS)
