"""Take a seat, renew a seat: `POST /v1/entitlements/{entitlementId}/activations`."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from cachetools import LRUCache

from functions.activate import signed_leases
from functions.activate.body import ActivationBody, read_activation
from shared import observability
from shared.api import app
from shared.api.denial_help import DenialHelp
from shared.api.idempotency import Claim, replayed
from shared.api.request import Request, Response
from shared.clock import to_rfc3339
from shared.dynamodb.keys import entitlement_key
from shared.dynamodb.requests import Get, Operation, Refused, send
from shared.limits import SeatChargeView, UsedView, limit_status
from shared.overdraft_clock import OverdraftView
from shared.seats import activation
from shared.seats.cache import PoolCache
from shared.seats.encoding import GrantIds, activation_id
from shared.seats.holder import Holder
from shared.seats.pending import ActivationResult
from shared.seats.seat_usage import PoolSeatsView
from shared.seats.shard import SeatShard, lease_expiry

_grant_ids = GrantIds()


class ActivationView(TypedDict):
    """A seat that was taken or renewed."""

    activationId: str | None
    entitlementId: str
    seatId: str
    seatName: str | None
    attributes: dict[str, str]
    isOverdraftSeat: bool
    isBorrowed: bool
    activatedAt: str | None
    leaseExpiry: str | None
    status: str
    seats: UsedView | PoolSeatsView
    overdraft: OverdraftView | None
    signedLease: NotRequired[str | None]
    dryRun: NotRequired[bool | None]
    charge: NotRequired[SeatChargeView | None]


class AtLimit:
    """The entitlements that this process last saw at their limit: a hint that decides nothing.

    If it is right, it saves a round trip and a refused write in steady overdraft. If it is wrong,
    it costs one of each: once per process, when usage has fallen back.
    """

    SIZE = 2_000

    def __init__(self) -> None:
        self._seen: LRUCache[str, bool] = LRUCache(self.SIZE)

    def __contains__(self, entitlement_id: str) -> bool:
        return self._seen.get(entitlement_id, False)

    def note(self, entitlement_id: str, shard: SeatShard) -> None:
        """Remember whether a shard was at its limit."""
        self._seen.pop(entitlement_id, None)
        if shard.is_only_shard and shard.used >= shard.purchased:
            self._seen[entitlement_id] = True


_at_limit = AtLimit()
_cache = PoolCache()
_denial_help = DenialHelp()


def take_seat(request: Request) -> Response:
    """Take a seat, or renew the one that the holder has."""
    body = read_activation(request.body)
    if request.query.get("dryRun"):
        return _preview(request, body)
    claim = Claim.of(request)
    return _take_once(request, body, claim) if claim else _take(request, body)


def _take_once(request: Request, body: ActivationBody, claim: Claim) -> Response:
    """With an `Idempotency-Key`, the same grant gets the same answer as the first time.

    The seat shard is asked all the same: a stored answer must not say that somebody holds a seat
    that was released, or removed, since then.
    """
    reply = request.dynamodb.execute(claim.reserve())
    kept = claim.read(reply.item)[0] if isinstance(reply, Refused) else None
    taken = _take(request, body, repeats=kept.body if kept else None)
    # The first answer may have been lost: then its repetition has to be signed as well.
    signed = {"signed": True} if taken.body.get("signedLease") else {}
    grant = {"activationId": taken.body["activationId"], **signed}
    if kept and kept.body["activationId"] == grant["activationId"]:
        return replayed(taken._replace(status=kept.status))
    request.dynamodb.execute(claim.finish(taken._replace(body=grant)))
    return taken


def _take(
    request: Request, body: ActivationBody, *, repeats: Mapping[str, Any] | None = None
) -> Response:
    """`repeats`: what was stored of the answer to the same request."""
    entitlement_id = request.path["entitlementId"]
    operation = activation.take(
        entitlement_id,
        body.holder,
        request.change,
        _grant_ids.next(request.now_ms),
        cache=_cache,
        expect_overdraft=entitlement_id in _at_limit,
        borrow_seconds=body.borrow_seconds,
    )
    with _denial_help.added(request):
        grant = request.dynamodb.run(operation)
    _at_limit.note(entitlement_id, grant.shard)
    if grant.is_new:
        observability.count("OverdraftSeatGranted" if grant.held.is_overdraft else "SeatGranted")
    view = _view(entitlement_id, body.holder, grant)
    if body.wants_signature:
        first = {"activationId": view["activationId"], "signed": True}
        is_repeated = repeats == first
        view["signedLease"] = signed_leases.sign(view, grant, request, is_repeated=is_repeated)
    return Response(201 if grant.is_new else 200, view)


def _preview(request: Request, body: ActivationBody) -> Response:
    entitlement_id = request.path["entitlementId"]
    with _denial_help.added(request):
        preview = activation.preview(entitlement_id, body.holder, request.now, body.borrow_seconds)
        grant = request.dynamodb.run(preview)
    view = _view(entitlement_id, body.holder, grant)
    if body.wants_signature:
        view["signedLease"] = None
    if grant.is_new:
        view |= {"activationId": None, "activatedAt": None, "leaseExpiry": None}
    view["dryRun"] = True
    view["charge"] = request.dynamodb.run(_charge(request, grant))
    return Response(200, view)


def _charge(request: Request, grant: ActivationResult) -> Operation[SeatChargeView | None]:
    """What the seat would add to what the month costs; null if the caller may not know it."""
    # Only dry runs pay for these imports.
    from shared.history.level import Level  # noqa: PLC0415
    from shared.sales import charges  # noqa: PLC0415

    item = yield from send(Get(entitlement_key(request.path["entitlementId"])))
    shows = item is not None and item["document"].get("showCharges", False)
    if item is None or not (shows or request.caller.kind == "api") or not grant.is_new:
        return None
    usage = grant.seat_usage
    # The totals of a pool do not have the seat that would be taken.
    used = usage.used - (usage.as_of_ms is None)
    level = Level(used, usage.purchased, usage.hard_cap)
    return (yield from charges.of_one_more_seat(item, level, request.now_ms))


def _view(entitlement_id: str, holder: Holder, grant: ActivationResult) -> ActivationView:
    seat, seat_usage = grant.held, grant.seat_usage
    return {
        "activationId": activation_id(grant.key, seat.grant_id),
        "entitlementId": entitlement_id,
        "seatId": holder.seat_id,
        "seatName": holder.seat_name or None,
        "attributes": dict(holder.attributes),
        "isOverdraftSeat": seat.is_overdraft,
        "isBorrowed": seat.is_borrowed,
        "activatedAt": to_rfc3339(seat.activated_at_ms),
        "leaseExpiry": lease_expiry(seat.lease_end),
        "status": limit_status(seat_usage.used, seat_usage.purchased),
        "seats": seat_usage.view(),
        "overdraft": seat_usage.overdraft_view(),
    }


HANDLERS = {"takeSeat": take_seat}
handler = app.serve(HANDLERS)
