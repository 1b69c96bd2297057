"""Seats by person: who held one, when, on which devices; releasing a seat, erasing a person."""

from typing import TypedDict

from functions.manage import entitlements
from shared import observability
from shared.api import pagination
from shared.api.request import Request, Response
from shared.api.schemas.base import parse
from shared.api.schemas.seats import SeatSelector
from shared.audit import Change, Subject, entry_put
from shared.clock import to_rfc3339
from shared.dynamodb.keys import (
    Key,
    person_key,
    seat_record_key,
    seat_shard_key,
)
from shared.dynamodb.paging import ResultPage, read_page
from shared.dynamodb.patterns import ROUNDS, write_with_conflict_retry
from shared.dynamodb.requests import (
    NO_NAMES,
    Delete,
    Get,
    Item,
    Operation,
    Put,
    Query,
    Transact,
    Update,
    send,
)
from shared.history.denials import denials_of_person
from shared.problems import Contention, InvalidRequest, NotFound
from shared.seats.encoding import SEAT_KEY, activation_id, decode_grant, seat_key
from shared.seats.lookup import read_shard_of
from shared.seats.release import release_grant
from shared.seats.shard import SeatShard

UNKNOWN = "Nobody is known by this seatId or seat key."


PastGrantView = TypedDict(
    "PastGrantView", {"from": str, "to": str, "reason": str, "isOverdraftSeat": bool}
)


DeviceView = TypedDict("DeviceView", {"device": str, "from": str, "to": str})


class SeatView(TypedDict):
    """A person's seat."""

    seatKey: str
    seatId: str | None
    seatName: str | None
    attributes: dict[str, str]
    isHeld: bool
    activationId: str | None
    isOverdraftSeat: bool
    activatedAt: str | None
    lastSeenAt: str | None
    endedAt: str | None
    endReason: str | None
    grantCount: int
    grants: list[PastGrantView]
    devices: list[DeviceView]
    erasedAt: str | None


def list_seats(request: Request) -> Response:
    """List everybody who holds or held a seat, in the order of seat keys."""
    return pagination.respond(request, _seats(request))


def _seats(request: Request) -> Operation[ResultPage]:
    limit, start = pagination.limit_of(request), pagination.start_of(request)
    entitlement_id = request.path["entitlementId"]
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    pk = seat_record_key(entitlement_id, "").pk
    query = Query("pk = :pk AND sk > :start", {":pk": pk, ":start": start[0] if start else " "})
    shown, has_more = yield from read_page(query, limit)
    return ResultPage([view(item) for item in shown], [shown[-1]["sk"]] if has_more else None)


def read_seat(request: Request) -> Response:
    """Read one person's seat, by seatId or seat key."""
    return Response(200, request.dynamodb.run(_read(request)))


def _read(request: Request) -> Operation[SeatView]:
    yield from entitlements.require(request.path["entitlementId"], is_deleted_ok=True)
    key, record, denials = yield from _find(request)
    if record is None:
        # Somebody who was only ever denied: the last denial has their names.
        names = ("seatId", "seatName")
        record = {"seatKey": key, **{name: denials[-1].get(name) for name in names}}
    return view(record)


def _find(request: Request) -> Operation[tuple[str, Item | None, list[Item]]]:
    """The seat key of a person, their record and their denials.

    Raises:
        NotFound: nobody is known by this seatId or seat key.
        InvalidRequest: one person's seatId is another one's seat key, and `by` does not say which.
    """
    entitlement_id, given = request.path["entitlementId"], request.path["seat"]
    by = request.query.get("by")
    named: list[str] = []
    if by != "key":
        named.append(seat_key(entitlement_id, given))
    if by != "seatId" and SEAT_KEY.fullmatch(given):
        named.append(given)
    found = []
    for key in named:
        record, denials = yield from _on_record(entitlement_id, key)
        if record is not None or denials:
            found.append((key, record, denials))
    if not found:
        raise NotFound(UNKNOWN)
    if len(found) > 1:
        detail = "is needed: one person's seatId is another one's seat key"
        raise InvalidRequest.at("/by", detail, place="query")
    return found[0]


class ReleasedSeatView(TypedDict):
    """What releasing a person's seat did."""

    seatKey: str
    wasHeld: bool
    activationId: str | None


class ErasedPersonView(TypedDict):
    """What erasing a person did."""

    seatKey: str
    erasedAt: str
    isHeld: bool
    activationId: str | None


def _selected(request: Request) -> str:
    """The seat key of the person whom the body names."""
    wanted = parse(SeatSelector, request.body)
    return key_of(request.path["entitlementId"], wanted.seat_id, wanted.seat_key)


def key_of(entitlement_id: str, seat_id: str | None, key: str | None) -> str:
    """The seat key of a person who is named by one of both."""
    if seat_id is not None:
        return seat_key(entitlement_id, seat_id)
    assert key is not None
    return key


def known(entitlement_id: str, key: str) -> Operation[tuple[Item | None, list[Item]]]:
    """The record of a person, and their denials by hour.

    Raises:
        NotFound: nobody is known by this seat key.
    """
    record, denials = yield from _on_record(entitlement_id, key)
    if record is None and not denials:
        raise NotFound(UNKNOWN)
    return record, denials


def _on_record(entitlement_id: str, key: str) -> Operation[tuple[Item | None, list[Item]]]:
    record = yield from send(Get(seat_record_key(entitlement_id, key)))
    return record, (yield from denials_of_person(entitlement_id, key))


def _held_grant(shard: SeatShard, key: str) -> str | None:
    """The activation id of the grant that a person holds."""
    value = shard.seats.get(key)
    return None if value is None else activation_id(key, decode_grant(value).grant_id)


def release(request: Request) -> Response:
    """Release the seat that a person holds, whichever grant it is. Safe to repeat."""
    key = _selected(request)
    released = request.dynamodb.run(_release(request.path["entitlementId"], key, request.change))
    if released:
        observability.count("SeatReleased")
    result: ReleasedSeatView = {
        "seatKey": key,
        "wasHeld": released is not None,
        "activationId": released,
    }
    return Response(200, result)


def _release(entitlement_id: str, key: str, change: Change) -> Operation[str | None]:
    """Release the grant that is held; its activation id.

    Raises:
        NotFound, Contention.
    """
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    for _ in range(ROUNDS):
        shard = yield from read_shard_of(entitlement_id, key)
        named = _held_grant(shard, key)
        if named is None:
            yield from known(entitlement_id, key)
            return None
        # False: the person has taken another seat since the shard was read.
        if (yield from release_grant(entitlement_id, named, change)):
            return named
    raise Contention


def erase(request: Request) -> Response:
    """Erase a person's data: names and ids go everywhere, counts stay. Safe to repeat."""
    return Response(200, request.dynamodb.run(_erase(request)))


def _erase(request: Request) -> Operation[ErasedPersonView]:
    entitlement_id, key = request.path["entitlementId"], _selected(request)
    yield from entitlements.require(entitlement_id, is_deleted_ok=True)
    shard = yield from read_shard_of(entitlement_id, key)
    held = _held_grant(shard, key)
    record, denials = yield from _on_record(entitlement_id, key)
    if held is None and record is None and not denials:
        raise NotFound(UNKNOWN)
    person = _findable(entitlement_id, record, denials)
    # Data about them that is still in the stream, up to this version, is not stored.
    erased = Update(
        seat_record_key(entitlement_id, key),
        "SET seatKey = :key, entitlementId = :entitlement, seq = if_not_exists(seq, :none),"
        f" erasedAt = :now, erasedSeq = :seq{', person = :person' if person else ''}"
        " REMOVE seatId, seatName, attributes, devices",
        "",
        NO_NAMES,
        {
            ":key": key,
            ":entitlement": entitlement_id,
            ":none": 0,
            ":now": request.now_ms,
            ":seq": shard.seq,
            **({":person": person.pk} if person else {}),
        },
    )
    writes: list[Update | Put] = [erased]
    # Erasing somebody again is not another change.
    if record is None or "erasedAt" not in record:
        writes.append(entry_put(request.change, "person.erased", entitlement_id, Subject(key)))
    yield from write_with_conflict_retry(Transact(tuple(writes)))
    # This is not a new version of the shard: nothing was accepted.
    scrub = Update(
        seat_shard_key(entitlement_id, shard.number),
        "REMOVE #last.seatId, #last.seatName, #last.attributes",
        "#last.#key = :key",
        {"#last": "last", "#key": "key"},
        {":key": key},
    )
    yield from write_with_conflict_retry(scrub)
    for denial in denials:
        yield from write_with_conflict_retry(
            Update(
                Key(denial["pk"], denial["sk"]),
                "REMOVE seatId, seatName",
                "attribute_exists(pk)",
                NO_NAMES,
                {},
            )
        )
    if person:
        # Last: until then, a denial in the stream may make them findable. The record remembers it
        # for whoever repeats this. A person who has come back meanwhile stays findable.
        forget = Update(
            seat_record_key(entitlement_id, key),
            "REMOVE person",
            "erasedAt = :now",
            NO_NAMES,
            {":now": request.now_ms},
        )
        yield from write_with_conflict_retry(Transact((forget, Delete(person))))
    return {
        "seatKey": key,
        "erasedAt": to_rfc3339(request.now_ms),
        "isHeld": held is not None,
        "activationId": held,
    }


def _findable(entitlement_id: str, record: Item | None, denials: list[Item]) -> Key | None:
    """The item by which a person is found; None if there is none."""
    if record and "person" in record:
        return Key(record["person"], entitlement_id)
    seat_ids = [denial["seatId"] for denial in denials if "seatId" in denial]
    return person_key(seat_ids[-1], entitlement_id) if seat_ids else None


def view(item: Item) -> SeatView:
    """A person's seat, by their record."""

    def time_of(name: str) -> str | None:
        return None if item.get(name) is None else to_rfc3339(item[name])

    grant_id = item.get("stamp")
    return {
        "seatKey": item["seatKey"],
        "seatId": item.get("seatId"),
        "seatName": item.get("seatName") or None,
        "attributes": item.get("attributes", {}),
        "isHeld": grant_id is not None and "endedAt" not in item,
        "activationId": None if grant_id is None else activation_id(item["seatKey"], grant_id),
        "isOverdraftSeat": item.get("isOverdraftSeat", False),
        "activatedAt": time_of("activatedAt"),
        "lastSeenAt": time_of("lastSeenAt"),
        "endedAt": time_of("endedAt"),
        "endReason": item.get("endReason"),
        "grantCount": item.get("grantCount", 0),
        "grants": [
            {
                "from": to_rfc3339(grant["from"]),
                "to": to_rfc3339(grant["to"]),
                "reason": grant["reason"],
                "isOverdraftSeat": grant["overdraft"],
            }
            for grant in item.get("grants", [])
        ],
        "devices": [
            {
                "device": device["device"],
                "from": to_rfc3339(device["from"]),
                "to": to_rfc3339(device["to"]),
            }
            for device in item.get("devices", [])
        ],
        "erasedAt": time_of("erasedAt"),
    }
