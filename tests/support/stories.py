"""An entitlement and its use, step by step: every step passes through notify at once."""

from typing import Any

from functions.notify.emails.mailer import Mailer
from functions.notify.report_candidates import ReportCandidates
from shared import problems
from shared.audit import Change, utc_hour
from shared.clock import EPOCH, to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    Key,
    denial_key,
    entitlement_key,
    mail_key,
    scheduled_change_key,
    seat_request_key,
    seat_shard_key,
)
from shared.dynamodb.marshalling import to_wire
from shared.dynamodb.requests import Get, Item, Put, Query
from shared.entitlements.model import entitlement_item, seat_terms
from shared.entitlements.scheduled_changes import FAILED, PENDING
from shared.seats import activation
from shared.seats.encoding import activation_id, seat_key
from shared.seats.holder import Holder
from shared.seats.release import release_grant
from shared.seats.shard import SeatShard
from shared.seats.terms import new_shard_put, shard_terms_update
from tests.support.notifier import Notifier, Recorder
from tests.support.seats import new_id
from tests.support.tables import acting_as

START = 2_500_000_500_000
HOUR = 3_600_000


class Story:
    """An entitlement and its use, step by step, and the mails that follow."""

    def __init__(self, dynamodb: DynamoDBClient, at: int = START, **changes: Any) -> None:
        self.dynamodb = dynamodb
        self.id = new_id()
        self.document: dict[str, Any] = {
            "product": "CAD <Pro>",
            "sku": None,
            "customer": {"name": "Acme", "externalId": None},
            "contacts": {
                "customerAdmin": {"name": None, "email": "admin@acme.example"},
                "accountOwner": {"name": None, "email": "owner@vendor.example"},
            },
            "seatCount": 2,
            "overdraftSeatLimit": {"type": "absolute", "value": 1},
            "usageLimits": [],
            "leasePeriod": None,
            "thresholds": [50, 100],
            "unitPrice": None,
            "timeZone": "Europe/Berlin",
            "validFrom": to_rfc3339(at - 10_000),
            "validUntil": None,
            "status": "active",
            **changes,
        }
        item = entitlement_item(self.id, self.document, version=1, created_at=at, now_ms=at)
        dynamodb.execute(Put(entitlement_key(self.id), item))
        dynamodb.execute(new_shard_put(self.id, seat_terms(self.document), Change("k", "r", at)))
        self.recorder = Recorder()
        self.candidates = ReportCandidates()
        self.recipients: tuple[str, ...] = ()  # of reports
        self._deliver(seat_shard_key(self.id), None, at)

    def _get(self, key: Key) -> Item | None:
        found = self.dynamodb.execute(Get(key))
        return dict(found) if found else None

    def _deliver(self, key: Key, old: Item | None, at: int) -> None:
        new = self._get(key)
        if new is None or new == old:
            return
        images = {"NewImage": new, **({"OldImage": old} if old else {})}
        record = {
            "dynamodb": {
                "Keys": {"pk": {"S": key.pk}, "sk": {"S": key.sk}},
                "SequenceNumber": str(at),
                **{
                    name: {k: to_wire(v) for k, v in image.items()}
                    for name, image in images.items()
                },
            }
        }
        notifier = Notifier(self.dynamodb, self.recorder, now_ms=at, candidates=self.candidates)
        assert notifier.deliver([record]) is None

    def take(self, seat_id: str, at: int) -> str:
        shard = seat_shard_key(self.id)
        key = seat_key(self.id, seat_id)
        denial = denial_key(self.id, key, utc_hour(at // 1000))
        before, denied = self._get(shard), self._get(denial)
        made = Change("k", f"r{at}{seat_id}", at)
        named = ""
        try:
            grant_id = (at - EPOCH * 1000) * 100
            grant = self.dynamodb.run(
                activation.take(self.id, Holder(seat_id, seat_id.title()), made, grant_id)
            )
            named = activation_id(grant.key, grant.held.grant_id)
        except problems.Denied:
            pass
        self._deliver(shard, before, at)
        self._deliver(denial, denied, at)
        return named

    def release(self, activation: str, at: int) -> None:
        shard = seat_shard_key(self.id)
        before = self._get(shard)
        self.dynamodb.run(release_grant(self.id, activation, Change("k", f"r{at}", at)))
        self._deliver(shard, before, at)

    def ask(self, at: int, **asked: Any) -> None:
        """The customer asks for more seats, as the portal's POST writes it."""
        key = seat_request_key(self.id, at, f"req_{at}")
        item = {
            "entitlementId": self.id,
            "requestId": f"req_{at}",
            "requestedAt": at,
            "requestedBy": "plk_test",
            "used": 2,
            "purchased": 2,
            "hardCap": 3,
            **asked,
        }
        self.dynamodb.execute(Put(key, item))
        self._deliver(key, None, at)

    def refuse(self, at: int, failure: str) -> None:
        """A scheduled change is refused when it is due."""
        key = scheduled_change_key(self.id, at, "sch_test")
        item: Item = {
            "scheduledChangeId": "sch_test",
            "entitlementId": self.id,
            "effectiveAt": at,
            "changes": {"seatCount": 9},
            "status": PENDING,
            "createdAt": at,
            "createdBy": "key_test",
        }
        self.dynamodb.execute(Put(key, item))
        before = self._get(key)
        self._deliver(key, None, at)
        failed = {
            **item,
            "status": FAILED,
            "failure": failure,
            "endedAt": at,
            "endedBy": "schedule",
        }
        self.dynamodb.execute(Put(key, failed))
        self._deliver(key, before, at + 1)

    def change(self, at: int, **changes: Any) -> None:
        """New terms, as a PATCH writes them."""
        shard = seat_shard_key(self.id)
        before = self._get(shard)
        self.document |= changes
        item = entitlement_item(self.id, self.document, version=2, created_at=START, now_ms=at)
        self.dynamodb.execute(Put(entitlement_key(self.id), item))
        made = Change("k", f"r{at}", at)
        terms, seen = seat_terms(self.document), SeatShard.of(before or {})
        self.dynamodb.execute(
            shard_terms_update(self.id, terms, made, lease_changed=False, seen=seen)
        )
        self._deliver(shard, before, at)

    def mailer(self) -> Mailer:
        return Mailer(
            self.dynamodb,
            "overdraft@vendor.example",
            "https://api.example",
            "mail",
            recipients=self.recipients,
            vendor="The CAD Company",
            support="help@vendor.example",
        )

    def tick(self, at: int) -> list[dict[str, Any]]:
        """The schedule's run at a time; the mails about this entitlement that it sent."""
        before = len(self.recorder.mails)
        with acting_as("NotifyRole", self.dynamodb):
            self.mailer().send_due(at, at + 60_000)
        return self.recorder.mails[before:]

    def sent(self) -> list[Item]:
        pk = mail_key(self.id, 0, "").pk
        found = self.dynamodb.execute(Query("pk = :pk", {":pk": pk})).items
        return [item for item in found if item["sk"].startswith("SENT#")]
