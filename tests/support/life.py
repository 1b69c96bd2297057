"""A busy entitlement, lived on DynamoDB Local, and its stream delivered once and clean."""

import copy
import itertools
import random
from datetime import UTC, datetime
from typing import Any

from shared import problems
from shared.audit import Change
from shared.clock import EPOCH, to_rfc3339
from shared.dynamodb.keys import (
    DENIAL_PREFIX,
    FOLLOW_UP_ENTRY,
    FOLLOW_UP_PREFIX,
    SEAT_SHARD_PREFIX,
    USAGE_PREFIX,
    Key,
    change_key,
    entitlement_key,
    seat_shard_key,
    usage_key,
    usage_meter,
    webhook_key,
    webhooks_version_key,
)
from shared.dynamodb.marshalling import item_from_wire
from shared.dynamodb.requests import BatchPut, Item, Put
from shared.entitlements.model import entitlement_item, seat_terms, usage_terms
from shared.history.changes import ChangeRecord
from shared.seats import activation
from shared.seats.encoding import activation_id, seat_key
from shared.seats.holder import Holder
from shared.seats.leases import sweep_shard
from shared.seats.release import release_grant
from shared.seats.shard import SeatShard
from shared.seats.terms import (
    borrowing_writes,
    clear_shard_update,
    new_shard_put,
    shard_terms_update,
)
from shared.usage import consumption, corrections
from shared.usage.counter import Counter
from shared.usage.terms import new_counter, terms_update, under_terms
from tests.support import dynamodb_local
from tests.support.notifier import Notifier, Recorder
from tests.support.tables import create_table, open_client, read_item

# Two days before the clocks change in New York and a fortnight before a month's end.
START = int(datetime(2049, 3, 12, 7, 41, 13, tzinfo=UTC).timestamp() * 1000)
PRIVATE = ("alice", "Alice")
DOCUMENT: dict[str, Any] = {
    "product": "CAD",
    "sku": None,
    "customer": {"name": "Acme", "externalId": "acme-1"},
    "contacts": {
        "customerAdmin": {"name": None, "email": "admin@acme.example"},
        "accountOwner": {"name": None, "email": "owner@vendor.example"},
    },
    "seatCount": 3,
    "overdraftSeatLimit": {
        "type": "absolute",
        "value": 2,
        "period": "PT6H",
        "recovery": "PT10M",
    },
    "usageLimits": [
        {
            "key": "exports",
            "limit": 6,
            "overdraftLimit": {
                "type": "absolute",
                "value": 2,
                "period": "P2D",
                "recovery": "PT1H",
            },
            "resetSchedule": "monthly",
        }
    ],
    "leasePeriod": "PT4H",
    "maxLeasePeriod": "PT6H",
    "maxBorrowedSeats": 9,
    "thresholds": [50, 100],
    "unitPrice": None,
    "timeZone": "America/New_York",
    "validFrom": to_rfc3339(START - 10_000),
    "validUntil": None,
    "status": "active",
}
HISTORY = (
    "HISTORY#",
    "EPISODES#",
    "CHANGES#",
    "SEATS#",
    "PERIODS#",
    "CORRECTIONS#",
    "OVERDRAFT",
    "NOTABLE#",
    "FOLLOWUP#",
    "CLOCK#",
)
EXPORTS = usage_meter("exports")
# When April begins in New York.
MONTH_END = int(datetime(2049, 4, 1, 4, tzinfo=UTC).timestamp() * 1000)


class Life:
    """A busy entitlement: what happened to it, as its stream records show."""

    def __init__(self, url: str, seed: int, steps: int, *, is_deleted: bool = False) -> None:
        self.url = url
        self.name = create_table(url)
        self.dynamodb = open_client(url, self.name)
        self.id = f"ent_life{seed:04d}"
        self._chance = random.Random(seed)
        self._numbers = itertools.count(1)
        self._now = START
        self._held: dict[str, str] = {}
        self._document = copy.deepcopy(DOCUMENT)
        self.denied: list[tuple[int, str]] = []
        self.counted: list[tuple[int, str, int]] = []
        self.requests_denied: list[tuple[int, str]] = []
        made = self._change()
        item = entitlement_item(self.id, self._document, version=1, created_at=START, now_ms=START)
        self.dynamodb.execute(Put(entitlement_key(self.id), item))
        self.dynamodb.execute(new_shard_put(self.id, seat_terms(self._document), made))
        for write in borrowing_writes(self.id, None, seat_terms(self._document)):
            self.dynamodb.execute(write)
        for key, terms in usage_terms(self._document).items():
            self.dynamodb.execute(new_counter(self.id, key, terms, made))
        self._watch()
        for number in range(steps):
            if number == steps * 2 // 3:
                self._now = max(self._now, MONTH_END - 240_000)
            self._step()
        if is_deleted:
            self._delete(item)
        self.end = self._now
        self.records = read_stream(url, self.name)
        self.items = all_items(url, self.name)

    def _delete(self, item: Item) -> None:
        """The entitlement is deleted, with every seat that is held."""
        self._now += 1_000_000
        made = self._change()
        self.dynamodb.execute(clear_shard_update(self.id, "deleted", made))
        seen = Counter.of(read_item(self.dynamodb, usage_key(self.id, "exports")))
        gone = seen._replace(status="deleted")
        write = self.dynamodb.run(terms_update(self.id, "exports", seen, gone, made))
        assert write is not None
        self.dynamodb.execute(write)
        ended = {**item, "status": "deleted", "updatedAt": made.now_ms}
        self.dynamodb.execute(Put(entitlement_key(self.id), ended))

    def _watch(self) -> None:
        """Endpoints, so that queue messages are made as well."""
        for number, types in enumerate((["*"], ["entitlement.overdraft.*"], ["webhook.*"])):
            endpoint: Item = {
                "url": "https://example.com/",
                "eventTypes": types,
                "enabled": True,
                "version": 1,
            }
            self.dynamodb.execute(Put(webhook_key(f"whk_{number}"), endpoint))
        self.dynamodb.execute(Put(webhooks_version_key(), {"version": 3}))

    def _change(self) -> Change:
        # Clocks of processes differ a little.
        skew = self._chance.choice((0, 0, 0, -1500, -20, 700))
        return Change("key_test", f"req-{next(self._numbers)}", self._now + skew)

    def _step(self) -> None:
        waits = (0, 5_000, 90_000, 700_000, 900_000, 5_000_000, 40_000_000)
        self._now += self._chance.choices(waits, (4, 8, 8, 4, 3, 2, 1))[0]
        what = self._chance.choices(
            ("take", "release", "sweep", "limits", "consume", "correct"), (16, 5, 2, 1, 7, 1)
        )[0]
        getattr(self, f"_{what}")()

    def _take(self) -> None:
        seat_id = self._chance.choice(("alice", "bob", "carol", "dave", "erin", "frank", "grace"))
        device = self._chance.choice(("mbp", "pc"))
        made = self._change()
        holder = Holder(seat_id, seat_id.title(), {"device": device})
        grant_id = (made.now_ms - EPOCH * 1000) * 100 + next(self._numbers) % 100
        try:
            borrows = 6 * 3_600 if seat_id == "grace" else None
            taking = activation.take(self.id, holder, made, grant_id, borrow_seconds=borrows)
            grant = self.dynamodb.run(taking)
        except problems.Denied:
            self.denied.append((made.now_ms, seat_key(self.id, seat_id)))
            return
        self._held[seat_id] = activation_id(grant.key, grant.held.grant_id)

    def _release(self) -> None:
        if self._held:
            seat_id = self._chance.choice(sorted(self._held))
            self.dynamodb.run(release_grant(self.id, self._held.pop(seat_id), self._change()))

    def _sweep(self) -> None:
        self.dynamodb.run(sweep_shard(seat_shard_key(self.id), self._change()))

    def _limits(self) -> None:
        self._document["seatCount"] = self._chance.choice((1, 2, 3, 4))
        terms = seat_terms(self._document)
        shard = SeatShard.of(read_item(self.dynamodb, seat_shard_key(self.id)))
        changed = shard_terms_update(
            self.id, terms, self._change(), lease_changed=False, seen=shard
        )
        self.dynamodb.execute(changed)
        self._document["usageLimits"][0]["limit"] = self._chance.choice((5, 6, 7))
        made = self._change()
        seen = Counter.of(read_item(self.dynamodb, usage_key(self.id, "exports")))
        terms_now = usage_terms(self._document)["exports"]
        new = under_terms(seen, terms_now, made.now, is_renewed=False)
        write = self.dynamodb.run(terms_update(self.id, "exports", seen, new, made))
        if write:
            self.dynamodb.execute(write)

    def _consume(self) -> None:
        key, quantity = f"request{next(self._numbers):05d}", self._chance.choice((1, 1, 2))
        made = self._change()
        for _ in range(self._chance.choice((1, 1, 2))):  # some are sent again
            try:
                result = self.dynamodb.run(
                    consumption.consume(self.id, "exports", key, quantity, made)
                )
            except problems.Denied:
                self.requests_denied.append((made.now_ms, key))
                return
            if not result.is_replay:
                self.counted.append((made.now_ms, "consumed", quantity))

    def _correct(self) -> None:
        key, made = f"correct{next(self._numbers):05d}", self._change()
        try:
            self.dynamodb.run(corrections.correct(self.id, "exports", key, -1, "a test", made))
        except problems.InvalidRequest:
            return
        self.counted.append((made.now_ms, "corrected", -1))

    def copy(self) -> str:
        """Another table with everything but what notify makes; its name."""
        name = create_table(self.url)
        dynamodb = open_client(self.url, name)
        puts = tuple((key, strip(item)) for key, item in self.items.items())
        dynamodb.execute(BatchPut(puts))
        return name


def strip(item: Item) -> Item:
    return {name: value for name, value in item.items() if name not in ("pk", "sk")}


PAGES = (SEAT_SHARD_PREFIX, USAGE_PREFIX, DENIAL_PREFIX)


def read_stream(url: str, name: str, prefixes: tuple[str, ...] = PAGES) -> list[dict[str, Any]]:
    """The records that notify is handed: those of shards and denials, in order."""
    return [
        record
        for record in dynamodb_local.stream_records(url, name)
        if record["dynamodb"]["Keys"]["pk"]["S"].startswith(prefixes)
    ]


def all_items(url: str, name: str, prefixes: tuple[str, ...] = ("",)) -> dict[Key, Item]:
    items = [item_from_wire(item) for item in dynamodb_local.scan(url, name)]
    return {Key(item["pk"], item["sk"]): item for item in items if item["pk"].startswith(prefixes)}


def effects(url: str, name: str) -> dict[Key, Item]:
    """What notify has written, but for mails, whose marks say when they are due.

    Of a follow-up, which seats and usage limits move in the order in which they come, its state.
    """
    items = all_items(url, name, HISTORY)
    return {
        key: {"state": item["state"]} if key.pk.startswith(FOLLOW_UP_PREFIX) else item
        for key, item in items.items()
        if not key.sk.startswith(FOLLOW_UP_ENTRY)
    }


def sent(recorder: Recorder) -> set[tuple[str, str]]:
    return {(event["id"], event["type"]) for event in recorder.events}


def queued(recorder: Recorder) -> set[tuple[str, str]]:
    return {(message["webhookId"], message["event"]["id"]) for message in recorder.messages}


class Clean:
    """One clean delivery of a life."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.name = life.copy()
        self.dynamodb = open_client(life.url, self.name)
        self.notifier = Notifier(self.dynamodb)
        self.notifier.deliver_all(life.records)
        self.recorder = self.notifier.recorder
        self.effects = effects(life.url, self.name)
        self.line: list[tuple[int, ChangeRecord]] = []


def timeline(clean: Clean) -> list[tuple[int, ChangeRecord]]:
    """The change records with the time from which each counts."""
    if clean.line:
        return clean.line
    items = [
        item for key, item in clean.effects.items() if key.pk == change_key(clean.life.id, 0, 0).pk
    ]
    changes = sorted((ChangeRecord.of(item) for item in items), key=lambda change: change.seq)
    assert [change.seq for change in changes] == list(range(1, len(changes) + 1))
    times = itertools.accumulate((change.at for change in changes), max)
    clean.line = list(zip(times, changes, strict=True))
    return clean.line


def overlap(a: int, b: int, c: int, d: int) -> int:
    return max(0, min(b, d) - max(a, c))
