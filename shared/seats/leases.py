"""Leases that ran out, and leases of earlier terms."""

from typing import Any

from shared.audit import Change
from shared.dynamodb.keys import (
    Key,
    owner_of,
    page_number,
)
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    Cancelled,
    Get,
    Item,
    Operation,
    Pause,
    Reply,
    Transact,
    Update,
)
from shared.seats.encoding import decode_seat, encode_seat
from shared.seats.placement import Place
from shared.seats.shard import Page, earliest_after
from shared.seats.writes import NEXT_VERSION, change_values, deposit, replace


def _give_lease_anew(page_key: Key, page: Page, others: list[str], change: Change) -> Update:
    """The page's own lease, from now on, for seats that have one of earlier terms."""
    seats = dict(page.seats)
    names = {"#last": "last"}
    values = change_values(change, change.record("leased_anew"))
    del values[":now"]
    sets = list[str]()
    for number, key in enumerate(others):
        held = decode_seat(page.seats[key])
        seat = encode_seat(held.stamp, is_overdraft=held.is_overdraft, now=change.now)
        seats[key] = values[f":s{number}"] = seat + page.lease_seconds
        names[f"#s{number}"] = key
        sets.append(f"seats.#s{number} = :s{number}")
    # Never None: there is a seat, and the page's lease is its own now.
    values[":earliest"] = earliest_after(page, seats, change.now)
    return Update(
        page_key,
        f"SET {NEXT_VERSION}, earliest = :earliest, {', '.join(sets)}",
        "seq = :seen AND leaseSeconds = :lease",
        names,
        {**values, ":seen": page.seq, ":lease": page.lease_seconds},
    )


def sweep_page(page_key: Key, change: Change) -> Operation[int]:
    """Free the leases that ran out on one page; how many.

    Where none has, leases of earlier terms are given anew; then `earliest` is corrected, which is
    no change of the page: `seq` stays.
    """
    for attempt in range(1, ROUNDS + 1):
        item: Item | None = yield Get(page_key)
        if item is None:
            return 0
        page = Page.of(item)
        expired = page.expired_keys(change.now)
        place = Place(owner_of(page_key.pk), page_number(page_key.pk), page.pages)
        if expired:
            last = change.record("lease_expired")
            freed = replace(place, page, expired, change, last)
            write: Update | Transact = freed
            if page.is_frozen:
                write = Transact((freed, deposit(place.owner, len(expired))))
        elif others := page.other_leases(change.now):
            write = _give_lease_anew(page_key, page, others, change)
        else:
            earliest = earliest_after(page, page.seats, change.now)
            if earliest == page.earliest:
                return 0
            values: dict[str, Any] = {":seen": page.seq, ":lease": page.lease_seconds}
            if earliest is not None:
                values[":earliest"] = earliest
            write = Update(
                page_key,
                "REMOVE earliest" if earliest is None else "SET earliest = :earliest",
                "seq = :seen AND leaseSeconds = :lease",
                NO_NAMES,
                values,
            )
        reply: Reply | Cancelled = yield write
        if isinstance(reply, Accepted):
            return len(expired)
        change = change.at((yield Pause(attempt)))
    return 0  # A busy page frees its own stale seats; the next sweep looks again.
