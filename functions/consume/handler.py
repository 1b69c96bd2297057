"""Consume of a usage limit: `POST /v1/entitlements/{entitlementId}/usage/{key}`."""

from typing import Any, NamedTuple

from cachetools import LRUCache

from shared import observability
from shared.api import app
from shared.api.denial_help import DenialHelp
from shared.api.idempotency import AHEAD_MS, check_journaled, header_of, replayed
from shared.api.request import Request, Response
from shared.audit import EVIDENCE_SECONDS
from shared.clock import from_rfc3339
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
    body = read_body(request.body, request.now_ms)
    quantity = body.quantity
    is_dry_run = bool(request.query.get("dryRun"))
    header = header_of(request)
    key = request_key(request.caller.derive("Idempotency-Key"), header) if header else None
    if body.is_journaled and (header or not is_dry_run):
        check_journaled(header or "", time_of(key) if key else None, request.now_ms)
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
            sharded.consume(
                *limit,
                key,
                quantity,
                request.change,
                occurred_ms=body.occurred_ms,
                busy_log=busy_log,
                cache=_cache,
            )
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


class ConsumptionBody(NamedTuple):
    """What a body says.

    `is_journaled`: it may be sent late, so its key must be young. `occurred_ms`: when it happened,
    Unix milliseconds; None: not said.
    """

    quantity: int
    is_journaled: bool = False
    occurred_ms: int | None = None


def read_body(body: dict[str, Any], now_ms: int) -> ConsumptionBody:
    """The members of a body; checked by hand, as in `activate`, for the sake of start-up.

    Raises:
        InvalidRequest: names every member that is wrong.
    """
    errors = [
        {"pointer": f"/{name[:100]}", "detail": "unknown field"}
        for name in body
        if name not in ("quantity", "journaled", "occurredAt")
    ]
    quantity: Any = body.get("quantity")
    if quantity is None:
        errors.append({"pointer": "/quantity", "detail": "is required: the quantity to consume"})
    elif type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
        detail = f"must be a whole number from 1 to {MAX_QUANTITY}"
        errors.append({"pointer": "/quantity", "detail": detail})
    is_journaled: Any = body.get("journaled", False)
    if type(is_journaled) is not bool:
        errors.append({"pointer": "/journaled", "detail": "must be true or false"})
    occurred_ms, wrong = _occurred_ms(body.get("occurredAt"), now_ms)
    if wrong:
        errors.append({"pointer": "/occurredAt", "detail": wrong})
    if errors:
        raise InvalidRequest(errors)
    return ConsumptionBody(int(quantity), is_journaled, occurred_ms)


def _occurred_ms(text: object, now_ms: int) -> tuple[int | None, str]:
    """The time in `occurredAt`, and what is wrong with it."""
    if text is None:
        return None, ""
    if not isinstance(text, str):
        return None, "must be a string"
    try:
        occurred_ms = from_rfc3339(text) * 1000
    except ValueError as error:
        return None, str(error)
    if occurred_ms > now_ms + AHEAD_MS:
        return None, "must not be in the future"
    if occurred_ms < now_ms - EVIDENCE_SECONDS * 1000:
        return None, "is too long ago: evidence is stored for 400 days"
    return occurred_ms, ""


HANDLERS = {"consumeUsage": consume}
handler = app.serve(HANDLERS)
