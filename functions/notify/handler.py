"""The stream's reader: ledger pages in, seat records and overdraft marks out.

Records come in order per page, at least once. Every effect is idempotent; seat records carry the
page's `seq`, so a record that comes again, or late, changes nothing. A late record may bring an
overdraft mark back; who lists by marks looks at the page again.
"""

from typing import Any

from functions.notify.changes import SeatChange, seat_changes
from shared import table, telemetry
from shared.table import Delete, Item, Put, Update, item_from_wire, ledger_owner

_door = table.Table.from_environment()
SECONDS_TO_ANSWER = 5
NEWER = "attribute_not_exists(seq) OR seq < :seq"


def handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Process a batch in order, up to the first record that fails or finds no time left.

    Nothing after it is processed, so no later record of the same item overtakes it; Lambda sends
    that record and all after it again.
    """
    _door.answer_within(context.get_remaining_time_in_millis() / 1000 - SECONDS_TO_ANSWER)
    for record in event["Records"]:
        try:
            process(_door, record)
        except Exception:
            sequence = record["dynamodb"]["SequenceNumber"]
            telemetry.logger.exception("record failed", extra={"sequenceNumber": sequence})
            return {"batchItemFailures": [{"itemIdentifier": sequence}]}
    return {"batchItemFailures": []}


def process(door: table.Table, record: dict[str, Any]) -> None:
    """Bring the effects of one stream record about."""
    image = record["dynamodb"]
    pk = image["Keys"]["pk"]["S"]
    if not pk.startswith(table.LEDGER_PREFIX) or "NewImage" not in image:
        return
    old = item_from_wire(image["OldImage"]) if "OldImage" in image else None
    new = item_from_wire(image["NewImage"])
    owner = ledger_owner(pk)
    for change in seat_changes(old, new):
        door.execute(_seat_record(owner, change))
    for write in overdraft_mark(owner, old, new):
        door.execute(write)


def _seat_record(owner: str, change: SeatChange) -> Update:
    sets = {
        "seatKey": change.key,
        "entitlementId": owner,
        "stamp": change.seat.stamp,
        "activatedAt": change.seat.activated_at_ms,
        "isOverdraftSeat": change.seat.is_overdraft,
        "seq": change.seq,
        **change.person,
    }
    removes = []
    if change.kind == "deactivated":
        sets |= {"endedAt": change.at_ms, "endReason": change.reason}
    else:
        sets["lastSeenAt"] = change.at_ms
        removes = ["endedAt", "endReason"]
    if change.kind == "activated":
        # Another grant: what an earlier one was called says nothing about this one.
        removes += [name for name in ("seatName", "attributes") if name not in change.person]
    names = {f"#{number}": name for number, name in enumerate(sets)}
    values = {f":{number}": value for number, value in enumerate(sets.values())}
    assignments = ", ".join(f"#{number} = :{number}" for number in range(len(sets)))
    return Update(
        table.seat_record_key(owner, change.key),
        f"SET {assignments}" + (f" REMOVE {', '.join(removes)}" if removes else ""),
        NEWER,
        names,
        {**values, ":seq": change.seq},
    )


def overdraft_mark(owner: str, old: Item | None, new: Item) -> list[Put | Delete]:
    """Keep the mark by which entitlements in overdraft are listed: written when use crosses.

    Listing looks at the page again, so a mark too many does no harm.
    """
    was_over = old is not None and len(old["seats"]) > old["seatCount"]
    is_over = len(new["seats"]) > new["seatCount"]
    if was_over == is_over:
        return []
    key = table.overdraft_key(owner)
    values = {":seq": new["seq"]}
    if is_over:
        mark = {"seq": new["seq"], "since": new["last"]["at"]}
        return [Put(key, mark, NEWER, values=values)]
    return [Delete(key, NEWER, values=values)]
